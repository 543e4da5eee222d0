"""Weights of documents and queries: through splits and batches into losses and boosters, and into means."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from toy_lists import toy

import ltr
from ltr.cli import main
from ltr.datasets.batching.batches import Batches
from ltr.datasets.readers.svmlight import read_svmlight
from ltr.errors import InputError
from ltr.losses.preference.base import dpo, preference_loss
from ltr.methods.criteria import Fixed, Importance, Margins, OneLabel, Scalarised
from ltr.methods.gdpo import GroupPolicy
from ltr.methods.plug_in_training import EachOutput
from ltr.methods.ric import Levels
from ltr.metrics import evaluate, mean, measure
from ltr.objectives import scalarisation
from ltr.rankers import fit_stacked, make_ranker
from ltr.rankers.training.validation import ValidationMeasure
from ltr.types import Split, Task

ALL, TEST = toy(60, seed=0), toy(20, seed=2)
# Lists that count for every loss, an even number of them.
TRAIN = ALL.take([q for q, (a, b) in enumerate(zip(ALL.offsets, ALL.offsets[1:])) if np.ptp(ALL.label()[a:b])][:40])
HALF = np.arange(TRAIN.n_queries) % 2  # every second list counts
PARAMS = {
    "epochs": 4,
    "learning_rate": 0.05,
    "batch_size": 100,
    "transform": "none",
    "optimiser": "sgd",
    "momentum": 0.0,
}


def weighed(weights) -> Split:
    return TRAIN.having(weights=np.repeat(np.asarray(weights, np.float32), TRAIN.lengths))


def test_they_go_with_their_documents():
    weights = np.arange(TRAIN.n_documents, dtype=np.float32)
    split = TRAIN.having(weights=weights)
    assert np.array_equal(split.take([3, 1]).weights, np.concatenate([weights[a:b] for a, b in rows(3, 1)]))
    for resident in (True, False):
        for batch in Batches(split, batch_size=7, shuffle=True, list_size=6, resident=resident):
            assert torch.equal(batch.weights[batch.where], batch.document[batch.where].float())
            assert not batch.weights[~batch.where].any() and batch.to("cpu").weights is not None
    assert next(iter(Batches(TRAIN, batch_size=7))).weights is None
    assert np.array_equal(weighed(HALF).query_weights, HALF) and (TRAIN.query_weights == 1).all()
    made = Split.from_arrays(TRAIN.features, TRAIN.labels, TRAIN.lengths, weights=HALF)
    assert np.array_equal(made.weights, weighed(HALF).weights)
    for wrong in (-weights, weights[1:], weights * np.nan):
        with pytest.raises(InputError, match="weights do not fit"):
            TRAIN.having(weights=wrong)


def rows(*lists):
    return [TRAIN.offsets[[q, q + 1]] for q in lists]


def test_a_list_of_weight_zero_teaches_nothing():
    """One batch of all lists: half of them at weight 2 give the gradient of that half alone."""
    with pytest.raises(InputError, match="all weights of the train split are 0"):
        make_ranker("linear", loss="listnet", **PARAMS).fit(weighed(0 * HALF))
    some = TRAIN.take(np.flatnonzero(HALF))
    for loss in ("listnet", "lambdarank", "mse"):
        alone = make_ranker("linear", loss=loss, **PARAMS).fit(some).score(TEST)
        doubled = make_ranker("linear", loss=loss, **PARAMS).fit(weighed(2 * HALF)).score(TEST)
        np.testing.assert_allclose(doubled, alone, atol=1e-4)
        assert np.abs(make_ranker("linear", loss=loss, **PARAMS).fit(TRAIN).score(TEST) - alone).max() > 1e-3
    nets = [make_ranker("linear", loss=ltr.loss("listnet"), seed=s, **PARAMS) for s in (0, 1)]
    one = make_ranker("linear", loss="listnet", **PARAMS).fit(weighed(2 * HALF)).score(TEST)
    np.testing.assert_allclose(fit_stacked(nets, weighed(2 * HALF))[0].score(TEST), one, atol=1e-6)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_boosters_take_them(name):
    pytest.importorskip(name)
    one = make_ranker(name, rounds=5).fit(TRAIN).score(TEST)
    same = make_ranker(name, rounds=5).fit(weighed(np.ones(TRAIN.n_queries))).score(TEST)
    other = make_ranker(name, rounds=5).fit(weighed(0.01 + HALF)).score(TEST)
    np.testing.assert_allclose(same, one, atol=1e-5)
    assert np.abs(other - one).max() > 1e-3
    mixed = TRAIN.having(weights=np.linspace(0, 1, TRAIN.n_documents).astype(np.float32))
    if name == "lightgbm":
        make_ranker(name, rounds=1).fit(mixed)
    else:
        with pytest.raises(InputError, match="weighs whole lists"):
            make_ranker(name, rounds=1).fit(mixed)


def test_the_estimator_and_the_means_take_them():
    weights = np.repeat(2.0 * HALF, TRAIN.lengths)
    options = {"loss": "listnet", **PARAMS}
    fitted = ltr.RankingEstimator("linear", **options).fit(
        TRAIN.features, TRAIN.label(), TRAIN.lengths, sample_weight=weights
    )
    by_hand = make_ranker("linear", loss="listnet", **PARAMS).fit(weighed(2 * HALF))
    assert np.array_equal(fitted.predict(TEST.features, TEST.lengths), by_hand.score(TEST))
    assert mean([1.0, np.nan, 0.0], weights=[1, 9, 3]) == 0.25 and np.isnan(mean([1.0], weights=[0]))


CRITERIA = {
    "weighted sum": lambda source: Importance(dpo("listnet"), source),
    "one label": lambda source: OneLabel(dpo("listnet"), source),
    "lambdas": lambda source: Importance(dpo("lambdarank"), source),
    "chebyshev": lambda source: Scalarised(dpo("listnet"), source, scalarisation("chebyshev", 2)),
    "margins": lambda source: Margins(preference_loss("modpo"), source, rewards="labels"),
    "policy": lambda source: GroupPolicy(source, ("exp2", "exp2"), samples=4),
    "levels": lambda source: Levels((3.0, 3.0), ("exp2", "exp2")),
    "outputs": lambda source: EachOutput([ltr.loss("listnet"), ltr.loss("mse")]),
}


def test_criteria_of_methods_weigh():
    """Lists of weight 2 beside as many of weight 0 are those lists alone, whatever a method makes of their losses."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (8, 5, 2), generator=draw).float()
    labels[:, 0], labels[:, 1] = 0.0, 3.0  # every list counts for every loss
    where, half = torch.ones(8, 5, dtype=torch.bool), torch.arange(8) % 2 == 1
    weights = 2.0 * half[:, None].expand(8, 5)
    for name, make in CRITERIA.items():
        criterion = make(Fixed((1.0, 0.0)))
        w = torch.eye(2) if name == "outputs" else torch.tensor([[1.0, 0.0]])
        scores = torch.randn(8, len(w), 5, generator=draw, requires_grad=True)
        if name == "levels":
            w = torch.ones(8, 1, 2) * torch.tensor([1.0, 1 / 3])
            labels[:, 2] = torch.tensor([3.0, 1.0])

        def gradient(rows, **more):
            options = {"generator": torch.Generator().manual_seed(1), **more}
            given = w[rows] if w.dim() == 3 else w  # noqa: B023
            value = criterion(scores[rows], labels[rows], where[rows], given, **options)  # noqa: B023
            return torch.autograd.grad(value, scores)[0][half]  # noqa: B023

        every = torch.ones(8, dtype=torch.bool)
        if name == "policy":  # draws for all lists at once: the same draws, half of them in vain
            both, twice = gradient(every), gradient(every, weights=weights)
            torch.testing.assert_close(twice, 2 * both)
            continue
        torch.testing.assert_close(gradient(every, weights=weights), gradient(half), msg=name)
        assert not torch.allclose(gradient(every), gradient(half)), name


def test_methods_train_with_weights():
    two = TRAIN.having(labels=np.hstack([TRAIN.labels, 4 - TRAIN.labels]), objectives=("a", "b"))
    heavy = two.having(weights=weighed(0.01 + HALF).weights)
    settings = {"epochs": 2, "learning_rate": 0.05, "transform": "none"}
    w = np.array([[0.5, 0.5]])
    for name, params in (
        ("ls", {"ranker": "linear", "training": settings}),
        ("hyperdpo", {"ranker": "linear", "training": settings}),
        ("epo", {"ranker": "linear", "training": settings}),
        ("lightgbm-ls", {"lightgbm": {"rounds": 3, "min_data_in_leaf": 5}}),
    ):
        if name.startswith("lightgbm"):
            pytest.importorskip("lightgbm")
        plain, other = (
            ltr.make_method(name, **params).fit(Task("two", "one", lists, two, two), preferences=w).score(TEST, w)
            for lists in (two, heavy)
        )
        assert np.isfinite(other).all() and np.abs(other - plain).max() > 1e-4, name


def test_a_measure_that_weighs_says_so():
    assert repr(measure("nDCG(weights=query)@10")) == "nDCG(gain=exp2,empty=skip,weights=query)@10"
    assert measure(repr(measure("RR(weights=query)"))) == measure("RR(weights=query)")
    with pytest.raises(InputError, match="weights of RR"):
        measure("RR(weights=documents)")
    weights = np.linspace(0, 3, ALL.n_queries)
    split = ALL.having(weights=np.repeat(weights, ALL.lengths).astype(np.float32))
    scores = np.stack([ALL.features[:, 0], ALL.features[:, 1]])
    plain = evaluate(["nDCG@3"], scores, ALL.label(), ALL.offsets)["nDCG(gain=exp2,empty=skip)@3"]
    expected = [mean(row, split.query_weights) for row in plain]
    name = "nDCG(gain=exp2,empty=skip,weights=query)@3"
    own = evaluate(name, scores, split.label(), split.offsets, weights=split.query_weights)[name]
    np.testing.assert_allclose([mean(row) for row in own], expected)
    np.testing.assert_allclose(ValidationMeasure(name, split, 0)(scores), expected)
    assert np.isnan(plain).any() and np.array_equal(np.isnan(plain), np.isnan(own))
    with pytest.raises(InputError, match="needs weights of the queries"):
        ValidationMeasure(name, ALL, 0)(scores)
    nothing = evaluate(name, scores[0], split.label(), split.offsets, weights=np.zeros(ALL.n_queries))
    assert np.isnan(nothing[name]).all()


# ----------------------------------------------------------------------------------------------------- from files


LINES = [f"{k % 3} qid:{q} 1:{k + 0.5} 2:{k % 4}\n" for k, q in enumerate([1, 2, 1, 2, 3, 3, 4, 4, 5, 5])]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    return tmp_path


def whole(task: Task, what: str) -> dict:
    """Feature 1 (which tells documents apart) -> a fact, of all three splits."""
    return {
        float(x): float(value)
        for split in (task.train, task.vali, task.test)
        for x, value in zip(split.features[:, 0], getattr(split, what), strict=True)
    }


def test_files_beside_svmlight_text(home, capsys):
    path = home / "set.txt"
    path.write_text("".join(LINES))
    plain = ltr.load(path)
    assert plain.train.weights is None and plain.train.positions is None
    (home / "set.txt.weight").write_text("".join(f"{k}\n" for k in range(10)))
    (home / "set.txt.position").write_text("0\n0\n1\n1\n" + "0\n1\n" * 3)
    task = ltr.load(path)  # not the store of before
    assert whole(task, "weights") == {k + 0.5: k for k in range(10)}
    assert whole(task, "positions") == {k + 0.5: p for k, p in enumerate([1, 1, 2, 2, 1, 2, 1, 2, 1, 2])}
    said = capsys.readouterr().err
    assert "weights of documents of set.txt from set.txt.weight (losses weigh by them)" in said
    assert "positions counted from 0; they count from 1 here" in said
    assert "1 documents were shown at a position" not in said
    own = read_svmlight(path)
    assert own.weights.tolist() == [0, 2, 1, 3, *range(4, 10)] and own.positions.tolist() == [1, 2] * 5
    (home / "set.txt.weight").write_text("1\n2\n3\n4\n5\n")  # XGBoost's: one a query, which come back later
    assert whole(ltr.load(path), "weights") == {k + 0.5: q for k, q in enumerate([1, 2, 1, 2, 3, 3, 4, 4, 5, 5])}
    splits = {"train": path, "vali": path, "test": path}
    assert ltr.load(splits).train.query_weights.tolist() == [1, 2, 3, 4, 5]
    for text, message in (
        ("1\n" * 7, "10 lines, one a document, or 5, one a query"),
        ("1\n-1\n" * 5, "set.txt.weight:2"),
        ("1\n1_0\n" * 5, "set.txt.weight:2"),
    ):
        (home / "set.txt.weight").write_text(text)
        with pytest.raises(InputError, match=message):
            ltr.load(path)
    (home / "set.txt.weight").unlink()
    (home / "set.txt.position").write_text("1\n" * 5)
    with pytest.raises(InputError, match="10 lines, one a document"):
        ltr.load(path)


TABLE = "qid,doc,relevance,click,shown,w,x\n" + "".join(
    f"q{q},d{k},{k % 3},{k % 2},{k % 4 + 1},{k / 2},{k}\n" for k, q in enumerate([1, 2, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6])
)


def test_columns_of_a_table(home, capsys):
    path = home / "log.csv"
    path.write_text(TABLE)
    assert ltr.load(path).train.feature_names == ("shown", "w", "x")  # nothing is taken by its name
    capsys.readouterr()
    task = ltr.load(path, weights="w", positions="shown", clicks="click")
    assert task.objectives == ("click", "relevance") and task.train.feature_names == ("x",)
    assert whole(task, "weights") == {k: k / 2 for k in range(12)}
    assert whole(task, "positions") == {k: k % 4 + 1 for k in range(12)}
    said = capsys.readouterr().err
    assert re.search(r"weights +w: as said\n +positions shown: as said", said) and "click: clicks, as said" in said
    frame = ltr.load(pytest.importorskip("pandas").read_csv(path), weights="w", positions="shown")
    assert whole(frame, "weights") == whole(task, "weights")
    bare = home / "graded.csv"  # test lists that carry neither
    bare.write_text("qid,doc,relevance,click,x\nq1,a,1,0,3\nq1,b,0,1,2\n")
    three = ltr.load({"train": path, "vali": bare, "test": bare}, weights="w", positions="shown", clicks="click")
    assert three.train.weights is not None and three.test.weights is None and three.test.positions is None
    assert main(["data", "convert", str(path), "--to", str(home / "st"), "--weights", "w", "--positions", "shown"]) == 0
    assert ltr.load(home / "st").train.positions is not None
    for options, message in (
        ({"weights": "doc"}, "weights column 'doc' holds no numbers"),
        ({"weights": "x", "positions": "x"}, "named as weights and as positions"),
        ({"positions": "w"}, "row 2, column 'w': none of the positions"),
        ({"weights": "ww"}, "Did you mean 'w'"),
    ):
        with pytest.raises(InputError, match=message):
            ltr.load(path, **options)


def test_a_run_takes_them(home):
    path = home / "log.csv"
    path.write_text(TABLE)
    shared = ["--data", str(path), "--ranker", "linear", "--loss", "listnet", "--training.epochs", "1", "-q"]
    how = ["--weights", "w", "--measures", "nDCG(weights=query)@10", "--out", str(home / "run")]
    assert main(["train", *shared, *how]) == 0
    record = ltr.runs.read_record(home / "run")
    assert "--weights w" in record.command
    assert {row["measure"] for row in record.measures} == {"nDCG(gain=exp2,empty=skip,weights=query)@10"}


def test_two_documents_at_one_position_are_said(home, capsys):
    rows = [f"{q},{k % 2},{q + k},{1 if q == 0 else k + 1}" for q in range(6) for k in range(4)]
    path = home / "shown.csv"
    path.write_text("\n".join(["qid,label,x,shown", *rows]))
    ltr.load(path, positions="shown")
    assert "3 documents were shown at a position that another document of their query has" in capsys.readouterr().err
