"""What stands around a conditioned net: what it starts from, which epochs it keeps, and whether it follows w at all."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from ltr.datasets import load
from ltr.errors import InputError
from ltr.losses.preference.base import dpo
from ltr.methods import load_method, make_method, steering_report
from ltr.methods.criteria import objective_values
from ltr.methods.export import fixed
from ltr.methods.reference_choice import ReferenceChoice
from ltr.methods.steering import moved, swapped
from ltr.rankers.conditional.checkpoints import KeptEpochs
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.nets import Conditioned
from ltr.rankers.config import MLPConfig
from ltr.schema import to_dict

TRAINING = {"epochs": 4, "learning_rate": 0.05, "batch_size": 8, "patience": 0, "transform": "log1p-standardise"}
NET = {"ranker_params": {"hidden": [8]}, "training": TRAINING}
LISTWISE = {
    "ranker": "transformer",
    "ranker_params": {"width": 8, "heads": 2, "blocks": 2, "d_ff": 8, "dropout": 0.0},
    "training": TRAINING,
}
W = np.array([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])


@pytest.fixture(scope="module")
def task():
    return load("synthetic:queries=24,objectives=2,features=50")


def test_a_reference_is_any_ranker_or_method(task, tmp_path):
    plug_in = {"method": "plug-in", "params": NET, "preference": [0.25, 0.75]}
    fixed_ones = {"method": "ls", "params": NET}
    for i, (reference, trained) in enumerate(
        (
            ({"ranker": "linear", "objective": task.objectives[1], "params": {"training": {"epochs": 2}}}, 2),
            ({"ranker": "feature"}, 2),
            (plug_in, 3),
            (fixed_ones, 2),
        )
    ):
        method = make_method("hyperdpo", **NET, reference=reference).fit(task, accelerator="cpu")
        assert method.models_trained == trained
        s_ref = method.base.score(task.test)
        np.testing.assert_array_equal(method.score(task.test, W, control=0.0), np.tile(s_ref, (3, 1)))
        scores = method.score(task.test, W)
        assert np.abs(scores[0] - scores[2]).max() > 1e-3
        method.save(tmp_path / str(i))
        np.testing.assert_array_equal(load_method(tmp_path / str(i)).score(task.test, W), scores)
        if reference is plug_in:
            alone = make_method("plug-in", **NET).fit(task, accelerator="cpu")
            np.testing.assert_array_equal(alone.score(task.test, [0.25, 0.75])[0], s_ref)
            first = slice(task.test.offsets[0], task.test.offsets[1])
            x = torch.tensor(task.test.features[first])[None]
            shipped = fixed(method, W[0])(x, torch.ones(x.shape[:2], dtype=torch.bool)).detach()
            np.testing.assert_allclose(shipped[0], scores[0, first], rtol=1e-4, atol=1e-4)


def test_what_a_reference_cannot_be_is_said(task):
    assert "reference" not in to_dict(make_method("dpo-ls").config)  # configs keep the hash they had
    for wrong in ({}, {"ranker": "mlp", "method": "ls"}, {"ranker": "mlp", "preference": [1.0, 0.0]}):
        with pytest.raises(InputError, match="out of range"):
            make_method("dpo-ls", reference=wrong)
    with pytest.raises(InputError, match="no such label"):
        ReferenceChoice(ranker="mlp", objective="speed").learned(("a", "b"))
    assert ReferenceChoice(ranker="mlp").learned(("a", "b"), "b") == "b"
    assert ReferenceChoice(method="ls").asked(("a", "b"), "b").tolist() == [0, 1]
    assert ReferenceChoice(method="ls").asked(("a", "b")).tolist() == [0.5, 0.5]


# ------------------------------------------------------------------------------------------------ several checkpoints


def test_an_epoch_stays_while_it_is_the_best_of_some_preference():
    torch.manual_seed(0)
    net = Conditioned(MLPConfig(hidden=(4,)), ConditioningConfig("film", "scratch"), 3, 2).eval()
    epochs = [copy.deepcopy(net) for _ in range(4)]
    for each in epochs:
        for parameter in each.parameters():
            torch.nn.init.normal_(parameter)
    state: dict = {}
    for epoch, values in enumerate(((0.5, 0.1, np.nan), (0.4, 0.3, np.nan), (0.6, 0.2, np.nan)), 1):
        KeptEpochs(state, 3).offer(epoch, values, epochs[epoch])
    assert state["epochs"] == [3, 2, 0] and sorted(state["nets"]) == [2, 3] and KeptEpochs(state, 3).last == 3
    shown = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.0, 1.0]])
    made, chosen = KeptEpochs(state, 3).net(net, shown, {"epoch": 1, "net": epochs[1].state_dict()})
    assert chosen == [3, 2, 1]
    w = torch.tensor([[0.9, 0.1], [0.0, 1.0], [0.6, 0.4], [0.1, 0.9]])
    x, where = torch.randn(2, 5, 3), torch.ones(2, 5, dtype=torch.bool)
    expected = torch.cat([epochs[e].score_many(x, where, w[i : i + 1]) for i, e in enumerate((3, 1, 2, 1))])
    torch.testing.assert_close(made.score_many(x, where, w), expected)
    torch.testing.assert_close(made.of(w[2]).score_many(x, where, w[2:3]), expected[2:3])


def without_vali(task):
    return replace(task, vali=None)


@pytest.mark.parametrize("name", ["hyperdpo", "yoto"])
def test_every_preference_is_scored_by_its_own_epoch(task, name, tmp_path):
    class Stop(Exception):
        pass

    def stop(event):
        if event.epoch == 5:
            raise Stop

    settings = {**NET, "training": {**TRAINING, "epochs": 8}}
    one = make_method(name, **settings).fit(task, preferences=W, accelerator="cpu")
    each = make_method(name, **settings, checkpoints="per-preference")
    each.fit(task, preferences=W, folder=tmp_path / "training", accelerator="cpu")
    ranker = each.models[0]
    epochs = ranker.best["epochs"]
    assert len(epochs) == 3 and ranker.best["epoch"] == one.models[0].best["epoch"]
    assert len(set(epochs)) > 1, "else this test shows nothing"
    assert each.cost["n_parameters"] == len(set(epochs)) * one.cost["n_parameters"]
    for i, epoch in enumerate(epochs):  # the weights of a training that ends there
        base = each.base
        short = make_method(name, **{**settings, "training": {**TRAINING, "epochs": epoch}})
        own = ranker.net.of(torch.tensor(W[i], dtype=torch.float32)).state_dict()
        short.fit(without_vali(task), base, preferences=W, accelerator="cpu")
        assert all(torch.equal(own[key], value) for key, value in short.models[0].net.state_dict().items())
    scores = each.score(task.test, W)
    each.save(tmp_path / "saved")
    np.testing.assert_array_equal(load_method(tmp_path / "saved").score(task.test, W), scores)
    first = slice(task.test.offsets[0], task.test.offsets[1])
    x = torch.tensor(task.test.features[first])[None]
    for w, expected in zip(W, scores, strict=True):
        shipped = fixed(each, w)(x, torch.ones(x.shape[:2], dtype=torch.bool)).detach()
        np.testing.assert_allclose(shipped[0], expected[first], rtol=1e-4, atol=1e-4)
    again = make_method(name, **settings, checkpoints="per-preference")
    with pytest.raises(Stop):
        again.fit(task, preferences=W, folder=tmp_path / "again", progress=stop, accelerator="cpu")
    again.fit(task, preferences=W, folder=tmp_path / "again", accelerator="cpu")
    np.testing.assert_array_equal(again.score(task.test, W), scores)


# ------------------------------------------------------------------------------------------------- does it steer


def test_numbers_of_the_report():
    offsets = np.array([0, 3, 3, 5])
    scores = np.array([[3.0, 2.0, 1.0, 1.0, 0.0], [1.0, 2.0, 3.0, 1.0, 0.0]])
    assert swapped(scores, offsets) == 0.5  # all pairs of one list, none of the other
    centred = np.array([[1, 0, -1, 0.5, -0.5], [-1, 0, 1, 0.5, -0.5]])
    assert moved(scores + [[5], [7]], offsets) == pytest.approx(np.sqrt(0.4 / np.square(centred).mean()))
    assert moved(np.ones((3, 5)), offsets) == swapped(np.ones((3, 5)), offsets) == 0


@pytest.mark.parametrize("kind", ["prompt", "prefix", "readout"])
def test_the_report_sees_what_attention_does(task, kind):
    method = make_method("hyperdpo", **LISTWISE, conditioning={"kind": kind}).fit(task, accelerator="cpu")
    report = steering_report(method, task.test)
    assert report.moved > 0 and 0 < report.swapped < 1
    assert [sorted(block) for block in report.attention] == 2 * [
        {"prompt": ["prompts"], "prefix": ["list", "pairs"], "readout": ["list"]}[kind]
    ]
    assert all(0 < value < 1 for block in report.attention for name, value in block.items() if name != "pairs")
    assert "pairs are ordered otherwise" in str(report) and "block 2" in str(report)
    net = method.models[0].net
    with torch.no_grad():  # a net that no longer hears w
        if kind == "prompt":
            net.prompt.layers[-1].weight.zero_()
        else:
            for each in (net.steering.out, *([net.steering.pairs.layers[-1]] if kind == "prefix" else [])):
                for parameter in each.parameters():
                    parameter.zero_()
    silent = steering_report(method, task.test)
    assert silent.moved < 1e-6 and silent.swapped == 0
    if kind == "prefix":
        assert all(block["pairs"] == 0 for block in silent.attention)


def test_a_share_of_attention_is_that_of_the_prompts(task):
    """Queries of 0 look everywhere alike: prompts hold 4 / (n + 4) of a list of n."""
    method = make_method("hyperdpo", **LISTWISE, conditioning={"kind": "prompt"}).fit(task, accelerator="cpu")
    with torch.no_grad():
        for block in method.models[0].net.net.blocks:
            block.attend.qkv.weight[:8].zero_()
            block.attend.qkv.bias[:8].zero_()
    lengths = task.test.lengths
    expected = np.average(4 / (lengths + 4), weights=lengths)
    for block in steering_report(method, task.test).attention:
        assert block["prompts"] == pytest.approx(expected, rel=1e-5)


def test_each_objective_meets_its_own_beta():
    torch.manual_seed(0)
    scores, reference = torch.randn(2, 3, 5), torch.randn(2, 5)
    labels, where = torch.randint(0, 3, (2, 5, 2)).float(), torch.ones(2, 5, dtype=torch.bool)
    beta = torch.rand(2, 3, 2) + 0.5
    given = (dpo("listnet"), scores, labels, where)
    values, _ = objective_values(*given, reference=reference, beta=beta, by_objective=True)
    for k in range(2):
        alone, _ = objective_values(*given, reference=reference, beta=beta[..., k])
        torch.testing.assert_close(values[..., k], alone[..., k])
