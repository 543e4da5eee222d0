"""The plug-in rule: on free scores it is the oracle, and each of its estimators has a witness."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from ltr.datasets import load
from ltr.errors import InputError
from ltr.losses import loss
from ltr.methods import load_method, make_method
from ltr.methods.plug_in import normalised_gains
from ltr.objectives import lattice, oracle_scores
from ltr.rankers import HEADLINE
from ltr.rankers.score_maps import ListSoftmax, monotone
from ltr.rankers.training.validation import measured, weighted_mean
from ltr.types import Split, Task

FORMS = ("squared", "centred", "softmax", "mixture", "isotonic")
TRAINING = {"epochs": 5, "learning_rate": 0.02, "batch_size": 8, "patience": 0}
NET = {"ranker_params": {"hidden": [8]}, "training": TRAINING}
TREES = {"rounds": 20, "min_data_in_leaf": 5, "leaves": 8}
W, MEASURES = lattice(2, 4), (HEADLINE, HEADLINE)


@pytest.fixture(scope="module")
def task():
    return load("synthetic:queries=60,objectives=2,features=50")


@dataclasses.dataclass(eq=False)
class Reached:
    """A regressor at its optimum."""

    column: np.ndarray

    def score(self, split):
        return self.column


def by_list(split):
    return [slice(a, b) for a, b in itertools.pairwise(split.offsets)]


def at_optimum(form: str, worth: np.ndarray, split: Split, temperature: float = 1.0) -> tuple[np.ndarray, dict]:
    """Free scores `[documents, objective]` at which a form has nothing left to learn, and what it remembers then."""
    free, sums = worth.copy(), np.array([worth[own].sum(0) for own in by_list(split)])
    how: dict = {"form": form, "scale": [1.0] * worth.shape[1]}
    if form == "centred":
        for own in by_list(split):
            free[own] -= worth[own].mean(0)
        how["scale"] = np.sqrt((free**2).mean(0)).tolist()
        free /= how["scale"]
    elif form in ("softmax", "mixture"):
        free = temperature * np.log(np.maximum(worth, 1e-30))  # up to a constant a list, which the softmax drops
        how["temperature"] = temperature
        if form == "softmax":
            how["scale"] = sums.mean(0).tolist()
    elif form == "isotonic":
        free = np.expm1(3 * worth)
        maps = [monotone(a, g) for a, g in zip(free.T, worth.T, strict=True)]
        how["maps"] = [[each.x, each.y] for each in maps]
    return free, how


def permuted(task: Task) -> Split:
    """The test lists, every objective with the grades of the first in another order: all sums of G^k are equal."""
    labels, draw = task.test.labels.copy(), np.random.default_rng(0)
    for own in by_list(task.test):
        labels[own, 1] = draw.permutation(labels[own, 0])
    return dataclasses.replace(task.test, labels=labels)


@pytest.mark.parametrize("gains", [("exp2", "exp2"), ("exp2", "linear")])
@pytest.mark.parametrize("form", FORMS)
def test_on_free_scores_it_is_the_oracle(task, form, gains):
    """At every w it scores every list as `oracle_scores`, up to a constant and a factor of the list."""
    soft = form in ("softmax", "mixture")
    if soft and len(set(gains)) > 1:
        pytest.skip("the sums of gains differ, see the next test")
    test = permuted(task) if soft else task.test
    worth = normalised_gains(test.labels, test.offsets, gains, 10)
    method = make_method("plug-in")
    free, how = at_optimum(form, worth, test, temperature=2.0)
    method.models, method.objectives, method.memory = [Reached(a) for a in free.T], task.objectives, how
    shares = lattice(2, 10)
    scores = method.score(test, shares)
    for own in by_list(test):
        labels = torch.from_numpy(test.labels[own].astype(np.float64))
        for w, ours in zip(shares, scores, strict=True):
            best = np.asarray(oracle_scores(labels, torch.from_numpy(w), k=10, gain=gains))
            ours = ours[own]
            if form == "centred":
                ours = ours - ours.mean() + best.mean()
            elif soft and best.any():
                ours = ours * (best.sum() / ours.sum())
            if best.any() or not soft:
                np.testing.assert_allclose(ours, best, atol=2e-6)


def test_softmax_knows_the_level_of_a_list_on_average_only():
    """Two lists whose sums of G^k stand to each other differently: the oracle at the corners, not between them."""
    labels = np.array([[3.0, 0], [0, 1], [0, 1], [0, 1], [1, 3], [1, 0], [1, 0], [0, 0]])
    split = Split.from_arrays(np.zeros((8, 1), np.float32), labels, [4, 4], objectives=("a", "b"))
    worth = normalised_gains(split.labels, split.offsets, ("linear", "linear"), 10)
    method = make_method("plug-in")
    free, how = at_optimum("softmax", worth, split)
    method.models, method.objectives, method.memory = [Reached(a) for a in free.T], ("a", "b"), how
    found = []
    for w in W:
        order = [np.argsort(-s[own], kind="stable").tolist() for s in method.score(split, w) for own in by_list(split)]
        best = [np.argsort(-(worth[own] @ w), kind="stable").tolist() for own in by_list(split)]
        found.append(order == best)
    assert found[0] and found[-1] and not all(found)


# ------------------------------------------------------------------------------------------------------ its estimators


def saturated():
    """Lists in which a model can tell every document: the features name it."""
    draw, lengths = np.random.default_rng(3), [6, 5, 7, 6]
    labels = draw.integers(0, 4, (sum(lengths), 2)).astype(np.float32)
    names = np.eye(sum(lengths), dtype=np.float32)
    split = Split.from_arrays(names, labels, lengths, objectives=("a", "b"))
    return Task("free", split, split, split, {})


@pytest.mark.parametrize("ranker", ["lightgbm", "xgboost", "linear"])
def test_trained_to_the_end_it_reaches_the_oracle(ranker):
    """Squared error, centred and not, at every preference; softmax at the corners, close to it between them."""
    task = dataclasses.replace(saturated(), vali=None)  # which would stop at the first epoch that ranks the corners
    if ranker in ("lightgbm", "xgboost"):
        pytest.importorskip(ranker, reason="extra 'trees' is not installed")
        shape = {"lightgbm": {"leaves": 31, "min_data_in_leaf": 1, "min_sum_hessian": 0}}
        shape["xgboost"] = {"depth": 0, "leaves": 31, "min_child_weight": 0, "l2": 0}
        settings = {"ranker": ranker, "ranker_params": {"rounds": 60, "learning_rate": 0.3, **shape[ranker]}}
        if ranker == "lightgbm":
            settings["ranker_params"]["params"] = {"min_data_in_bin": 1, "feature_pre_filter": False}
    else:
        training = {"transform": "none", "epochs": 150, "learning_rate": 0.2, "schedule": "cosine"}
        settings = {"ranker": "linear", "training": training, "nets": "one"}
    worth = normalised_gains(task.train.labels, task.train.offsets, ("exp2", "exp2"), 10)
    best = measured(task.train, W @ worth.T, MEASURES)
    for form in ("squared", "centred", "softmax"):
        reached = measured(
            task.train, make_method("plug-in", form=form, **settings).fit(task).score(task.train, W), MEASURES
        )
        short = ((best - reached) * W).sum(1)
        assert short.max() < (0.02 if form == "softmax" else 2e-3), form
        assert short[[0, -1]].max() < 2e-3, form


def test_gradients_of_the_trees_are_those_of_the_losses():
    """Autograd of the catalogue's losses: list-centred squared error is n/4 of pairwise squared error."""
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    from ltr.rankers.trees.list_targets import GRADIENTS

    draw, offsets = np.random.default_rng(0), np.array([0, 4, 5, 8])
    scores, worth = draw.normal(size=8), draw.random(8)
    worth[5:] = 0  # blank
    for form, value in (
        ("centred", lambda s, y: len(s) / 4 * loss("pairwisemse")(s, y)),
        ("softmax", lambda s, y: loss("listnet", gain="linear")(s, y)),
    ):
        gradients, hessians = GRADIENTS[form](scores, worth, offsets)
        for a, b in itertools.pairwise(offsets):
            s, y = torch.from_numpy(scores[a:b]), torch.from_numpy(worth[a:b])
            first = torch.autograd.functional.jacobian(lambda s, y=y, value=value: value(s, y), s)
            second = torch.autograd.functional.hessian(lambda s, y=y, value=value: value(s, y), s).diagonal()
            np.testing.assert_allclose(gradients[a:b], first, atol=1e-12)
            np.testing.assert_allclose(hessians[a:b], second, atol=1e-12)


def test_the_isotonic_map_is_the_minimax_formula():
    """max over a <= i of min over b >= i of the mean of y_a ... y_b (Ayer et al. 1955), at the centres of blocks."""
    draw = np.random.default_rng(1)
    for n in (2, 3, 12, 40):
        x, y = np.sort(draw.normal(size=n)), draw.random(n) + np.linspace(0, 1, n)
        mean = lambda a, b, y=y: y[a : b + 1].mean()  # noqa: E731
        fitted = [max(min(mean(a, b) for b in range(i, n)) for a in range(i + 1)) for i in range(n)]
        found = monotone(x, y)
        values, block = np.unique(np.round(fitted, 9), return_inverse=True)
        np.testing.assert_allclose(found.y, values, atol=1e-8)
        np.testing.assert_allclose(found.x, [x[block == b].mean() for b in range(len(values))])
        asked = np.sort(draw.normal(size=200) * 2)
        mapped = found.flat(torch.from_numpy(asked)).numpy()
        inside = (asked >= found.x[0]) & (asked <= found.x[-1])
        np.testing.assert_allclose(mapped[inside], np.interp(asked, found.x, found.y)[inside])
        assert len(values) == 1 or (np.diff(mapped) > 0).all()  # no order changes, beyond the knots either


def test_maps_are_the_same_flat_and_padded():
    draw = torch.Generator().manual_seed(0)
    scores, where = torch.randn(3, 5, generator=draw), torch.arange(5) < torch.tensor([[5], [2], [1]])
    for each in (ListSoftmax(0.5), monotone(np.arange(6.0), np.array([0, 2, 1, 1, 3, 4.0]) / 4)):
        flat = each.flat(scores[where], np.array([0, 5, 7, 8]))
        padded = each.padded(scores, where)
        torch.testing.assert_close(padded[where], flat)
        assert (padded[~where] == 0).all()
    for row, n in zip(ListSoftmax(0.5).padded(scores, where), (5, 2, 1), strict=True):
        torch.testing.assert_close((row[:n]), (scores[where.sum(1) == n][0, :n] / 0.5).softmax(0))


def test_validation_chooses_form_and_temperature(task):
    """Each alternative is fitted alone and measured by hand."""
    method = make_method("plug-in", form=["squared", "softmax", "mixture", "isotonic"], **NET).fit(task)
    value = lambda m: weighted_mean(measured(task.vali, m.score(task.vali, m.preferences), MEASURES), m.preferences)  # noqa: E731
    alone = {form: make_method("plug-in", form=form, **NET).fit(task) for form in ("squared", "softmax", "mixture")}
    for form, fitted in alone.items():
        assert method.memory["judged"][form] == pytest.approx(value(fitted), abs=1e-6)
    told = method.memory["judged"]
    assert set(told) == {"squared", "softmax", "mixture", "isotonic"}
    assert told[method.memory["form"]] == max(told.values()) and method.models_trained == 6 and len(method.models) == 2
    for form in ("softmax", "mixture"):
        by = {}
        for t in alone[form].config.temperatures:
            alone[form].memory, chosen = {**alone[form].memory, "temperature": t}, alone[form].memory["temperature"]
            by[t] = value(alone[form])
            alone[form].memory["temperature"] = chosen
        assert by[chosen] == max(by.values()) and len(set(by.values())) > 1


def test_scales_written_out(task):
    train = task.train
    worth = normalised_gains(train.labels, train.offsets, ("exp2", "exp2"), 10)
    kept = {
        form: make_method("plug-in", ranker="linear", form=form, nets=nets, training={**TRAINING, "epochs": 1})
        .fit(task)
        .memory["scale"]
        for form, nets in (("squared", "one"), ("centred", "each"), ("softmax", "each"), ("mixture", "each"))
    }
    left = np.concatenate([worth[own] - worth[own].mean(0) for own in by_list(train)])
    np.testing.assert_allclose(kept["squared"], worth.std(0))
    np.testing.assert_allclose(kept["centred"], np.sqrt((left**2).mean(0)))
    np.testing.assert_allclose(kept["softmax"], np.mean([worth[own].sum(0) for own in by_list(train)], 0))
    assert kept["mixture"] == [1.0, 1.0]


# ----------------------------------------------------------------------------------------------------------- its models


@pytest.mark.parametrize("ranker", ["lightgbm", "xgboost", "catboost", "mlp", "transformer"])
def test_every_model_takes_every_form(task, ranker, tmp_path):
    """Saved and loaded it scores the same; preferences move the front; at a corner a form ranks as its model does."""
    each, joint = FORMS, ()
    if ranker in ("mlp", "transformer"):
        shape = {"hidden": [8]} if ranker == "mlp" else {"width": 8, "heads": 1, "blocks": 1, "d_ff": 8}
        settings = {"training": TRAINING, "ranker_params": shape}
        each, joint = (("centred", "isotonic"), FORMS) if ranker == "mlp" else ((), ("softmax",))
    else:
        pytest.importorskip(ranker, reason="extra 'trees' is not installed")
        shape = TREES if ranker == "lightgbm" else {"rounds": 20, "depth": 3}
        settings, joint = {"ranker_params": shape}, () if ranker == "lightgbm" else ("squared",)
    for form, nets in (*((form, "each") for form in each), *((form, "one") for form in joint)):
        method = make_method("plug-in", ranker=ranker, form=form, nets=nets, **settings).fit(task)
        assert method.models_trained == len(method.models) == (1 if nets == "one" else 2)
        scores = method.score(task.test, W)
        method.save(tmp_path / f"{form}-{nets}")
        np.testing.assert_array_equal(load_method(tmp_path / f"{form}-{nets}").score(task.test, W), scores)
        reached = measured(task.train, method.score(task.train, np.eye(2)), MEASURES)
        assert reached[0, 0] > reached[1, 0] and reached[1, 1] > reached[0, 1], (form, nets)
        if nets == "each":
            for k, model in enumerate(method.models):
                own = [np.argsort(-model.score(task.test)[one], kind="stable") for one in by_list(task.test)]
                ours = [np.argsort(-scores[-k][one], kind="stable") for one in by_list(task.test)]
                same = np.mean([np.array_equal(a, b) for a, b in zip(own, ours, strict=True)])
                assert same > 0.9, (form, k)  # but for ties that rounding makes


def test_what_no_library_does_is_refused(task):
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    for params, message in (
        ({"nets": "one"}, "trees of lightgbm have one output"),
        ({"ranker": "xgboost", "nets": "one", "form": "softmax"}, "learns by squared error"),
        ({"form": "mixture", "loss": "ranknet"}, "no such objective"),
        ({"ranker_params": {"objective": "rank_xendcg"}}, "the form says what trees descend"),
        ({"ranker": "random"}, "no regressor"),
    ):
        with pytest.raises(InputError, match=message):
            make_method("plug-in", **{"ranker": "lightgbm", **params}).fit(task)
    for params in ({"form": ["squared", "soft"]}, {"form": []}, {"temperatures": [0.0]}):
        with pytest.raises(InputError):
            make_method("plug-in", **params)


def test_the_default_objective_of_a_resolved_config_is_no_choice(task):
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    plain, resolved = (
        make_method("plug-in", ranker="lightgbm", ranker_params={**TREES, **more}).fit(task).score(task.test, W)
        for more in ({}, {"objective": "lambdarank"})
    )
    np.testing.assert_array_equal(plain, resolved)


# ------------------------------------------------------------------------------------------------- lists with no say


def test_without_validation_one_form_is_trained(task):
    bare = dataclasses.replace(task, vali=None)
    net = {"ranker": "linear", "training": {**TRAINING, "epochs": 1}}
    assert make_method("plug-in", form="softmax", **net).fit(bare).memory["temperature"] == 1.0
    for form in ("isotonic", "validation"):
        with pytest.raises(InputError, match="validation chooses the form"):
            make_method("plug-in", form=form, **net).fit(bare)


def test_blank_lists_and_missing_values(task):
    """An objective without any relevant document, a column with holes: every form still scores."""
    features = task.train.features.copy()
    features[::7, 3] = np.nan
    nothing = dataclasses.replace(task.train, labels=task.train.labels * np.float32([1, 0]), features=features)
    net = {"ranker": "linear", "nets": "one", "training": {**TRAINING, "epochs": 1}}
    for form in FORMS:
        method = make_method("plug-in", form=form, **net).fit(dataclasses.replace(task, train=nothing))
        assert np.isfinite(method.score(task.test, W)).all()


def test_a_blank_list_is_skipped_by_softmax_and_learned_by_squared_error(task):
    labels = task.train.labels.copy()
    labels[: task.train.offsets[5]] = 0
    small = np.sign(task.train.features) * np.log1p(np.abs(task.train.features)) / 10
    blank = dataclasses.replace(task.train, labels=labels, features=small)
    kept = blank.take(np.arange(5, blank.n_queries))
    step = {
        "epochs": 1,
        "batch_size": 999,
        "list_size": 0,
        "transform": "none",
        "optimiser": "sgd",
        "learning_rate": 0.1,
    }
    net = {"ranker": "linear", "training": step}
    for form in ("softmax", "squared"):
        with_them, without = (
            make_method("plug-in", form=form, **net).fit(dataclasses.replace(task, train=train, vali=None))
            for train in (blank, kept)
        )
        weights = [m.models[0].net.state_dict()["head.linear.weight"] for m in (with_them, without)]
        assert torch.allclose(*weights, rtol=1e-5, atol=1e-6) == (form == "softmax")
        if form == "softmax":  # but in the mean of sum G^k they count
            share = kept.n_queries / blank.n_queries
            np.testing.assert_allclose(with_them.memory["scale"], np.multiply(without.memory["scale"], share))


def test_one_objective_needs_no_trade_off(task):
    alone = dataclasses.replace(
        task,
        **{
            s: dataclasses.replace(task.split(s), labels=task.split(s).labels[:, :1], objectives=("relevance",))
            for s in ("train", "vali", "test")
        },
    )
    with pytest.raises(InputError, match="trades objectives off"):
        make_method("plug-in").fit(alone)


# ------------------------------------------------------------------------------------------------------------ its claim


def test_at_every_preference_at_or_above_ls_with_a_model_each(task):
    """m models against K = 5, within a hundredth at each preference, above on average."""
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    large = load("synthetic:queries=250,objectives=2,features=50")
    ours = make_method("plug-in", ranker="lightgbm", ranker_params=TREES, form=["softmax", "mixture"]).fit(large)
    theirs = make_method("lightgbm-ls", lightgbm=TREES).fit(large, preferences=W)
    gain = np.subtract(*((measured(large.test, m.score(large.test, W), MEASURES) * W).sum(1) for m in (ours, theirs)))
    assert gain.mean() > 0 and gain.min() > -0.01
