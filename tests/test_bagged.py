"""Bagging: members are nets trained on their queries, stacked or alone, and the ensemble is their mean."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from toy_lists import Jittered, SoftmaxCE, toy

from ltr.errors import InputError
from ltr.metrics import evaluate, mean
from ltr.rankers import HEADLINE, load_ranker, make_ranker
from ltr.rankers.base import RANKERS
from ltr.rankers.ensembles.bagged import drawn
from ltr.rankers.ensembles.stacked import fit_stacked

TRAIN, VALI, TEST = toy(seed=0), toy(30, seed=1), toy(40, seed=2)
SETTINGS = {"epochs": 4, "learning_rate": 0.02, "batch_size": 8, "patience": 2}
BASES = {
    "linear": {},
    "mlp": {"hidden": (8,), "dropout": 0.2, "noise": 0.1},
    "transformer": {"width": 8, "blocks": 1, "d_ff": 8},
}
# One batch with all lists in it, and features as they are: what a bootstrap sample can be trained on literally.
# Plain descent, because the first steps of Adam look at signs and would hide a wrong weight.
WHOLE = {"optimiser": "sgd", "learning_rate": 0.3, "epochs": 6, "batch_size": 1000, "transform": "none", "patience": 0}


def bag(base="mlp", members=3, train=TRAIN, vali=VALI, loss=None, **params):
    params = SETTINGS | {"base": base, "base_params": BASES[base]} | params
    return make_ranker("bagged", members=members, loss=loss or SoftmaxCE(), seed=7, **params).fit(
        train, vali, accelerator="cpu"
    )


def centred(ranker):
    """Scores less their mean: a list loss leaves the constant to rounding, which Adam follows."""
    return ranker.score(TEST) - ranker.score(TEST).mean()


@pytest.fixture(scope="module")
def fitted():
    return bag()


def test_a_sample_is_n_draws_out_of_n():
    counts = np.stack([drawn(200, seed) for seed in range(300)])
    assert counts.dtype.kind == "i" and (counts.sum(1) == 200).all()
    # Binomial(n, 1/n): mean 1, variance 1 - 1/n, never drawn with (1 - 1/n)^n; five standard errors each.
    assert counts.var() == pytest.approx(1 - 1 / 200, abs=5 * 1.5 / np.sqrt(counts.size))
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 200) ** 200, abs=5 * 0.5 / np.sqrt(counts.size))
    assert np.abs(counts.mean(0) - 1).max() < 5 / np.sqrt(300)
    assert not np.array_equal(counts[0], counts[1]) and np.array_equal(counts[0], drawn(200, 0))


@pytest.mark.parametrize("base", BASES)
def test_a_stack_is_its_members_one_after_another(base):
    """With dropout, noise and draws of the loss: each member is bit for bit the ranker it is alone, on a CPU."""
    ours, theirs = bag(base, loss=Jittered()), bag(base, loss=Jittered(), stacked=False)
    np.testing.assert_allclose(ours.score(TEST), theirs.score(TEST), atol=1e-5)
    for a, b in zip(ours.models, theirs.models, strict=True):
        assert a.seed == b.seed and a.best == b.best
        np.testing.assert_allclose([r["loss"] for r in a.history], [r["loss"] for r in b.history], atol=1e-5)
    assert [model.cost["stacked"] for model in ours.models] == [3] * 3
    assert [model.cost["stacked"] for model in theirs.models] == [1] * 3


@pytest.mark.parametrize("order", ["own", "first"])
@pytest.mark.parametrize("base", ["linear", "mlp"])
def test_a_member_is_a_net_trained_on_its_sample(base, order):
    """The witness: an ordinary ranker on a split in which every list stands as often as it was drawn."""
    silent = toy(60, seed=3)
    labels = silent.labels.copy()
    labels[: silent.offsets[5]] = 0  # lists the loss does not count
    silent = dataclasses.replace(silent, labels=labels)
    params = {"hidden": (8,)} if base == "mlp" else {}
    ours = bag(base, train=silent, vali=None, order=order, base_params=params, **WHOLE)
    for model in ours.models:
        sample = silent.take(np.repeat(np.arange(silent.n_queries), drawn(silent.n_queries, model.seed)))
        alone = make_ranker(base, loss=SoftmaxCE(), seed=model.seed, **params, **WHOLE)
        alone.fit(sample, accelerator="cpu")
        np.testing.assert_allclose(centred(model), centred(alone), atol=2e-4 * centred(alone).std())
        losses = [[row["loss"] for row in each.history] for each in (model, alone)]
        np.testing.assert_allclose(*losses, rtol=1e-5)
        whole = make_ranker(base, loss=SoftmaxCE(), seed=model.seed, **params, **WHOLE).fit(silent, accelerator="cpu")
        assert not np.allclose(centred(model), centred(whole), atol=1e-2 * centred(whole).std())


@pytest.mark.parametrize("order", ["own", "first"])
def test_queries_that_were_not_drawn_have_no_influence(order):
    before = bag(order=order)
    counts = [drawn(TRAIN.n_queries, model.seed) for model in before.models]
    # Not drawn for the first member, drawn for the second.
    queries = np.flatnonzero((counts[0] == 0) & (counts[1] > 0))
    assert len(queries) > 5
    labels = TRAIN.labels.copy()
    for q, (a, b) in enumerate(zip(TRAIN.offsets, TRAIN.offsets[1:], strict=False)):
        if q in queries:
            labels[a:b] = 0 if q == queries[0] else 4 - labels[a:b]  # one of them does not count for the loss any more
    after = bag(order=order, train=dataclasses.replace(TRAIN, labels=labels))
    scores = [[centred(model) for model in each.models[:2]] for each in (before, after)]
    np.testing.assert_allclose(scores[0][0], scores[1][0], atol=1e-4)
    assert np.abs(scores[0][1] - scores[1][1]).max() > 0.05


def test_scores_are_the_mean_of_the_members(fitted):
    each = np.stack([model.score(TEST) for model in fitted.models])
    np.testing.assert_allclose(fitted.score(TEST), each.mean(0), atol=1e-6)
    assert np.abs(each[0] - each[1]).max() > 0.1, "members differ"
    assert fitted.n_parameters == 3 * fitted.models[0].n_parameters == 3 * (6 * 8 + 8 + 8 + 1)


def test_validation_chooses_the_epoch_of_each_member(fitted):
    for model in fitted.models:
        values = evaluate([HEADLINE], model.score(VALI), VALI.label(), VALI.offsets)[HEADLINE]
        assert model.best["vali"] == pytest.approx(mean(values), abs=1e-6)
        assert model.best["vali"] == max(row["vali"] for row in model.history)


def test_more_members_begin_with_those_of_fewer(fitted):
    more = bag(members=4)
    np.testing.assert_allclose(more.models[2].score(TEST), fitted.models[2].score(TEST), atol=1e-5)


def test_a_folder_holds_members_that_are_rankers(fitted, tmp_path):
    fitted.save(tmp_path / "bag")
    back, second = load_ranker(tmp_path / "bag"), load_ranker(tmp_path / "bag" / "member-1")
    assert np.array_equal(back.to("cpu").score(TEST), fitted.score(TEST))
    assert np.array_equal(second.to("cpu").score(TEST), fitted.models[1].score(TEST))
    assert back.config == fitted.config and back.config.base_params["hidden"] == [8]


@pytest.mark.parametrize("stacked", [True, False])
def test_a_stopped_training_continues(stacked, fitted, tmp_path):
    """The process dies, and the same folder goes on from there: nothing is trained twice, and nothing is different."""

    class Stop(Exception):
        pass

    def die(event):
        heard.append(event)
        if len(heard) == 3:
            raise Stop

    heard, params = [], {"base_params": BASES["mlp"], "stacked": stacked, **SETTINGS, "patience": 0}
    fresh = lambda: make_ranker("bagged", members=2, loss=SoftmaxCE(), seed=7, **params)  # noqa: E731
    with pytest.raises(Stop):
        fresh().fit(TRAIN, VALI, folder=tmp_path, progress=die, accelerator="cpu")
    torch.manual_seed(99)
    resumed = fresh().fit(TRAIN, VALI, folder=tmp_path, progress=heard.append, accelerator="cpu")
    assert len(heard) == (4 if stacked else 8)
    straight = fresh().fit(TRAIN, VALI, accelerator="cpu")
    assert np.array_equal(resumed.score(TEST), straight.score(TEST))
    assert resumed.cost["seconds"] >= sum(model.cost["seconds"] for model in resumed.models)


def test_refuses_what_is_no_ensemble():
    with pytest.raises(InputError, match="members is out of range; expected 1 or more; came 0"):
        make_ranker("bagged", members=0)
    for base in ("lightgbm", "random", "bagged"):
        with pytest.raises(InputError, match="base is no net"):
            make_ranker("bagged", base=base)
    with pytest.raises(InputError, match="Did you mean 'mlp'"):
        make_ranker("bagged", base="mpl")
    with pytest.raises(InputError, match="Did you mean 'hidden'"):
        make_ranker("bagged", base_params={"hiden": [8]})
    with pytest.raises(InputError, match="order is out of range"):
        make_ranker("bagged", stacked=False, order="first")


def test_a_stack_refuses_times_that_do_not_fit():
    rankers = [make_ranker("linear", loss=SoftmaxCE(), seed=seed, **SETTINGS) for seed in (0, 1)]
    for times in (np.ones((2, 3)), np.full((2, TRAIN.n_queries), -1), np.full((2, TRAIN.n_queries), np.nan)):
        with pytest.raises(InputError, match="times are numbers of 0 and more"):
            fit_stacked(rankers, TRAIN, VALI, times=times)
    once = fit_stacked(rankers, TRAIN, VALI, times=np.ones((2, TRAIN.n_queries)), accelerator="cpu")
    plain = make_ranker("linear", loss=SoftmaxCE(), seed=1, **SETTINGS).fit(TRAIN, VALI, accelerator="cpu")
    np.testing.assert_allclose(once[1].score(TEST), plain.score(TEST), atol=1e-5)


def test_a_bag_runs_and_is_estimated(tmp_path):
    from ltr.runs.estimate import estimate
    from ltr.runs.execution import execute
    from ltr.runs.resolving import read_config
    from ltr.runs.systems import system_of

    given = {
        "data.name": "synthetic:queries=30",
        "ranker.name": "bagged",
        "loss.name": "listnet",
        "training.epochs": 2,
        "ranker.params": {"members": 2, "base": "linear"},
        "measures": ["nDCG@10"],
    }
    config = read_config(None, given)
    record = execute(config, tmp_path / "run")
    assert record.done and record.selection["value"] is not None
    assert estimate(config).parameters == record.cost["parameters"]
    assert system_of(config).stack_key is None, "it trains stacked itself"


def test_stands_in_the_catalogue_with_its_source():
    entry = RANKERS["bagged"]
    assert "Breiman" in entry.source and "Multinomial" in entry.formula
