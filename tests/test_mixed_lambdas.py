"""LightGBM on mixed lambdas: the gradients against LightGBM's own and our losses, the boosters against LightGBM's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ltr.datasets import load
from ltr.errors import InputError
from ltr.losses import loss
from ltr.methods import make_method
from ltr.rankers import make_ranker
from ltr.rankers.training.validation import measured
from ltr.rankers.trees.lambda_gradients import inverse_ideals, mixed_gradients
from ltr.rankers.trees.mixed_lambdas import label_gains

lightgbm = pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")

GOLDEN = Path(__file__).parent / "golden"
SETTINGS = {"rounds": 20, "min_data_in_leaf": 5, "leaves": 8}


@pytest.fixture(scope="module")
def task():
    return load("synthetic:queries=60,objectives=2,features=50")


@pytest.fixture(scope="module")
def lists():
    """40 lists of 1 to 30 documents, three objectives, some of them blank on a list; every third list has ties."""
    draw = np.random.default_rng(3)
    lengths = draw.integers(1, 31, 40)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = draw.integers(0, 5, (offsets[-1], 3)).astype(np.float64)
    labels[np.repeat(draw.random(40) < 0.2, lengths), 1] = 0
    labels[:, 2] = draw.random(len(labels))
    scores = draw.normal(size=len(labels))
    return scores, labels, offsets, draw.dirichlet(np.ones(3), 40)


def gradients_of(lists, weights, *, threads=1, **options):
    scores, labels, offsets, _ = lists
    gains = label_gains(labels, ("exp2", "exp2", "linear"))
    inverse = inverse_ideals(gains, offsets, options.get("truncation", 30))
    return mixed_gradients(scores, gains, offsets, inverse, weights, threads=threads, **options)


def test_gradients_are_those_of_lightgbm():
    """The witness looks its sigmoid up in a table, hence the tolerance (tests/golden/ask_lightgbm.py)."""
    record = json.loads((GOLDEN / "losses_lightgbm.json").read_text())
    offsets = np.concatenate([[0], np.cumsum(record["groups"])])
    gains = label_gains(np.array(record["labels"])[:, None], ("exp2",))
    for answer in record["answers"]:
        k = answer["lambdarank_truncation_level"]
        options = {"truncation": k, "sigma": answer["sigmoid"], "norm": answer["lambdarank_norm"]}
        inverse, one = inverse_ideals(gains, offsets, k), np.ones((len(offsets) - 1, 1))
        ours, _ = mixed_gradients(np.array(record["scores"]), gains, offsets, inverse, one, **options)
        np.testing.assert_allclose(ours, answer["gradients"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("truncation", [3, 30])
def test_gradients_are_those_of_our_loss_mixed(lists, truncation):
    """sum_k w_k of the gradients that autograd takes of lambdarank_lightgbm; its gain is exp2, so the others are fed
    through labels of the same gain."""
    scores, labels, offsets, weights = lists
    ours, _ = gradients_of(lists, weights, truncation=truncation)
    same = np.column_stack([labels[:, :2], np.log2(1 + labels[:, 2])])
    for q, (a, b) in enumerate(zip(offsets, offsets[1:], strict=False)):
        s = torch.tensor(scores[a:b], requires_grad=True)
        y = torch.tensor(same[a:b])
        total = sum(w * loss("lambdarank_lightgbm", k=truncation)(s, y[:, k]) for k, w in enumerate(weights[q]))
        total.backward()
        np.testing.assert_allclose(ours[a:b], s.grad.numpy(), rtol=1e-6, atol=1e-9)


def test_curvatures_are_derivatives_of_the_gradients():
    """Without `norm` the pair weights are constants while the order stands: the Hessian of one document of a pair."""
    gains, offsets, one = np.array([[3.0], [0.0]]), np.array([0, 2]), np.ones((1, 1))
    inverse = inverse_ideals(gains, offsets, 30)
    at = lambda x: mixed_gradients(np.array([x, 0.0]), gains, offsets, inverse, one, sigma=1.7, norm=False)  # noqa: E731
    step = 1e-5
    slope = (at(0.4 + step)[0] - at(0.4 - step)[0]) / (2 * step)
    np.testing.assert_allclose(at(0.4)[1][0], slope[0], rtol=1e-6)
    assert at(0.4)[1][0] == at(0.4)[1][1]


def test_the_mix_is_linear_and_threads_change_nothing(lists):
    one = np.eye(3)
    parts = [gradients_of(lists, np.tile(one[k], (40, 1))) for k in range(3)]
    weights = lists[3]
    rows = np.repeat(weights, np.diff(lists[2]), axis=0)
    for which in (0, 1):
        whole = gradients_of(lists, weights)[which]
        np.testing.assert_allclose(whole, sum(rows[:, k] * parts[k][which] for k in range(3)), atol=1e-12)
    big = [np.tile(lists[0], 12), np.tile(lists[1], (12, 1)), None, np.tile(weights, (12, 1))]
    big[2] = np.concatenate([[0], np.cumsum(np.tile(np.diff(lists[2]), 12))])
    for alone, together in zip(gradients_of(big, big[3]), gradients_of(big, big[3], threads=3), strict=True):
        assert len(alone) > 4_096
        np.testing.assert_array_equal(alone, together)


@pytest.mark.parametrize("norm", [True, False])
def test_at_a_corner_it_is_lightgbms_lambdarank(task, norm):
    """The same trees but for the sigmoid table (1e-5 in a gradient), which may turn a split that is nearly a tie."""
    settings = {**SETTINGS, "rounds": 5, "select_rounds": False, "params": {"lambdarank_norm": norm}}
    method = make_method("lightgbm-ls", lightgbm=settings).fit(task, preferences=np.eye(2))
    for k, objective in enumerate(task.objectives):
        alone = make_ranker("lightgbm", **settings).fit(task.train, task.vali, objective=objective)
        np.testing.assert_allclose(method.models[k].score(task.test), alone.score(task.test), rtol=0, atol=1e-4)


def test_stochastic_labels_are_the_mix_in_expectation(task):
    """Many rounds of small steps: SLA and LS reach the same measures within .03, and corners are the same trees."""
    settings = {**SETTINGS, "rounds": 60, "learning_rate": 0.05, "select_rounds": False}
    asked = [[0.5, 0.5], [1.0, 0.0]]
    ls, sla = (make_method(n, lightgbm=settings).fit(task, preferences=asked) for n in ("lightgbm-ls", "lightgbm-sla"))
    measures = ("nDCG(gain=exp2,empty=skip)@10",) * 2
    a, b = (measured(task.train, m.score(task.train, asked), measures) for m in (ls, sla))
    np.testing.assert_allclose(a[0], b[0], atol=0.03)
    np.testing.assert_array_equal(a[1], b[1])
    assert not np.array_equal(ls.score(task.test, asked[0]), sla.score(task.test, asked[0]))


def test_rounds_are_chosen_by_what_the_preference_asks(task):
    settings = {**SETTINGS, "rounds": 40, "select_every": 5}
    ranker = make_method("lightgbm-ls", lightgbm=settings).fit(task, preferences=[[0.3, 0.7]]).models[0]
    measures = ("nDCG(gain=exp2,empty=skip)@10",) * 2
    values = measured(task.vali, ranker.score(task.vali)[None], measures)[0]
    assert ranker.best["vali"] == pytest.approx(0.3 * values[0] + 0.7 * values[1], abs=1e-6)
    assert ranker.best["vali"] == max(look["vali"] for look in ranker.history)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "regression"}, "lambdarank"),
        ({"params": {"label_gain": [0, 1]}}, "label_gain"),
        ({"leafs": 3}, "Did you mean 'leaves'"),
    ],
)
def test_what_it_does_not_take(task, settings, message):
    with pytest.raises(InputError, match=message):
        make_method("lightgbm-ls", lightgbm=settings).fit(task, preferences=[[0.5, 0.5]])
