"""Clicks at positions: simulated, their propensities, and rankers that learn relevance from them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import ltr
from ltr import errors
from ltr.cli import main
from ltr.datasets.clicks import Propensities, debias, looked_and_relevant, power_law, propensities, simulate_clicks
from ltr.errors import InputError
from ltr.rankers import make_ranker
from ltr.rankers.training.validation import measure_split
from ltr.types import Split


@pytest.fixture(scope="module")
def task():
    return ltr.load("synthetic:queries=200,features=50", objectives=["relevance"])


@pytest.fixture(scope="module")
def clicked(task):
    return simulate_clicks(task, sessions=60, shown=10, noise=0.02, seed=0)


def test_the_simulator_is_the_position_based_model(task, clicked):
    train, split = task.train, clicked.train
    assert split.n_queries == 60 * train.n_queries and (split.lengths == 10).all()
    assert split.positions.tolist() == list(range(1, 11)) * split.n_queries and split.query_ids[-1].endswith("/60")
    assert clicked.vali.label().max() > 1 and np.array_equal(clicked.test.label(), task.test.label())
    again = simulate_clicks(task, sessions=60, shown=10, noise=0.02, seed=0)
    assert np.array_equal(again.train.labels, split.labels)
    # All sessions of a query show the same documents: as often clicked as theta gamma says.
    graded = simulate_clicks(train, train.label(), sessions=400, shown=3, eta=0.5, noise=0.1, seed=1)
    rate = graded.labels.reshape(400, -1).mean(0)
    order = np.concatenate([np.sort(train.label()[a:b])[::-1][:3] for a, b in itertools.pairwise(train.offsets)])
    gamma = 0.1 + 0.9 * (2**order - 1) / (2 ** train.label().max() - 1)
    expected = np.tile(power_law(3, 0.5), train.n_queries) * gamma
    assert np.abs(rate - expected).max() < 5 * np.sqrt(0.25 / 400) and abs((rate - expected).mean()) < 0.004
    assert simulate_clicks(train, sessions=1, eta=0, noise=1).labels.all()
    with pytest.raises(InputError, match="scores of the old ranking; expected .* finite"):
        simulate_clicks(train, np.full(train.n_documents, np.nan))
    with pytest.raises(InputError, match="scores of the old ranking"):
        simulate_clicks(train, train.label()[1:])
    with pytest.raises(InputError, match="sessions of simulated clicks"):
        simulate_clicks(train, sessions=0)


def test_the_e_step_is_bayes():
    """P(E | c) and P(R | c) by the four states of (E, R)."""
    theta, gamma = np.array([0.9, 0.4, 0.01]), np.array([0.2, 0.7, 0.999])
    for click in (False, True):
        joint = {
            (e, r): (theta if e else 1 - theta) * (gamma if r else 1 - gamma)
            for e, r in itertools.product((0, 1), repeat=2)
            if (e and r) == click
        }
        whole = sum(joint.values())
        looked, relevant = looked_and_relevant(np.full(3, click), theta, gamma)
        np.testing.assert_allclose(looked, sum(p for (e, _), p in joint.items() if e) / whole)
        np.testing.assert_allclose(relevant, sum(p for (_, r), p in joint.items() if r) / whole)


def test_propensities_of_documents_alike_are_their_rates_of_clicks():
    """Where nothing tells documents apart, the likelihood is at its top with theta_k proportional to the rate at k."""
    draw = np.random.default_rng(0)
    positions = np.tile(np.arange(1, 6), 400).astype(np.int32)
    clicks = draw.random(2000) < 0.6 * power_law(5, 0.7)[positions - 1]
    split = Split.from_arrays(np.zeros((2000, 2)), clicks, [5] * 400).having(positions=positions)
    found = propensities("em", split, tolerance=1e-7, rounds=2000)
    rates = np.array([clicks[positions == k].mean() for k in range(1, 6)])
    np.testing.assert_allclose(found.theta, rates / rates.max(), rtol=1e-3)


def test_given_propensities(tmp_path, task, clicked, capsys):
    split = clicked.train
    errors._SAID.clear()
    assert propensities("power:2", split).theta[:3].tolist() == [1, 0.25, 1 / 9]
    (tmp_path / "theta.txt").write_text("1\n0.5\n0.2\n")
    given = propensities(tmp_path / "theta.txt")
    assert given.at(np.array([1, 2, 3, 9])).tolist() == [1, 0.5, 0.2, 0.2]
    weighed = debias(split, given, least=0.4)
    first = {(c, p): w for c, p, w in zip(split.label(), split.positions, weighed.weights, strict=True)}
    assert first[1, 2] == 2 and first[1, 3] == 2.5 and first[0, 3] == 1
    assert debias(weighed, given, least=0.4).weights.max() == 2.5**2  # on top of the weights that were there
    for how, on, message in (
        ("em", split.having(positions=None), "carry no positions"),
        ("em", split.having(labels=0 * split.labels), "there are none"),
        ("power:x", split, "power:ETA"),
        ("no-such-file", split, "power:ETA"),
        ([0.5, 0.0], split, "numbers above 0"),
    ):
        with pytest.raises(InputError, match=message):
            propensities(how, on)
    with pytest.raises(InputError, match="ranks from 1"):
        split.having(positions=split.positions - 1)
    with pytest.raises(InputError, match="ranks of a list, up to 1,000,000; came 2000000"):
        propensities("power:1", split.having(positions=split.positions * 0 + 2_000_000))
    with pytest.raises(InputError, match="least of propensities"):
        debias(split, given, least=float("nan"))
    assert "those below have the last one's" in capsys.readouterr().err
    for how, message in (
        ({"sessions": 1.5}, "a whole number"),
        ({"sessions": 10**9}, "at most"),
        ({"shown": 0}, "1 or"),
    ):
        with pytest.raises(InputError, match=message):
            simulate_clicks(task.train, **how)
    with pytest.raises(InputError, match="0 to 52; came -1.0"):
        simulate_clicks(task.train.having(labels=task.train.labels - 1))


def ndcg(task, ranker) -> float:
    return measure_split("nDCG@10", ranker.score(task.test), task.test, 0)


def test_weighed_clicks_teach_relevance_and_plain_ones_the_old_ranking(clicked):
    """On the true grades: .36 without weights, .51 with estimated propensities, .53 with the true ones."""
    found = propensities("em", clicked.train)
    assert np.abs(np.log(found.theta / power_law(10, 1.0))).max() < 0.6  # within a factor of 1.8 at every rank

    def trained(data) -> float:
        how = {"epochs": 4, "learning_rate": 0.02, "batch_size": 400, "cells": 100_000, "seed": 0}
        return ndcg(data, make_ranker("linear", loss="listnet", **how).fit(data.train, data.vali, progress=False))

    naive, estimated, true = (trained(data) for data in (clicked, debias(clicked, found), debias(clicked, "power:1")))
    assert min(estimated, true) > naive + 0.08, (naive, estimated, true)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost"])
def test_boosters_learn_the_bias_of_positions(name, clicked):
    library = pytest.importorskip(name)
    mixed = np.random.default_rng(0).permuted(np.arange(10 * 800).reshape(-1, 10), axis=1).reshape(-1)
    train = clicked.train.take(np.arange(800))
    train = train.having(  # not in the order of their positions
        features=train.features[mixed], labels=train.labels[mixed], positions=train.positions[mixed]
    )
    ranker = make_ranker(name, rounds=8, debias=True).fit(train, progress=False)
    params = ranker.native(0, 1)
    if name == "lightgbm":
        options = {"group": train.lengths, "position": train.positions, "params": params}
        data = library.Dataset(train.features, train.label(), **options)
        by_hand = library.train(params, data, 8).predict(clicked.test.features, raw_score=True)
    else:
        assert params["lambdarank_unbiased"]
        order = np.argsort(mixed)
        data = library.QuantileDMatrix(train.features[order], train.label()[order], group=train.lengths)
        booster = library.train(params, data, 8)
        by_hand = booster.predict(library.DMatrix(clicked.test.features), output_margin=True)
    np.testing.assert_allclose(ranker.score(clicked.test), by_hand, rtol=1e-5, atol=1e-6)
    assert np.abs(make_ranker(name, rounds=8).fit(train, progress=False).score(clicked.test) - by_hand).max() > 1e-3
    with pytest.raises(InputError, match="debias needs the positions"):
        make_ranker(name, debias=True).fit(train.having(positions=None))
    with pytest.raises(InputError, match="debias is of ranking objectives"):
        regression = {"lightgbm": "regression", "xgboost": "reg:squarederror"}[name]
        make_ranker(name, debias=True, objective=regression).fit(train)


def test_a_run_on_a_log(tmp_path, monkeypatch, clicked):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    split = clicked.train.take(np.arange(40))
    rows = zip(np.repeat(split.query_ids, 10), split.label(), split.positions, split.features[:, 5], strict=True)
    log = tmp_path / "log.csv"
    log.write_text("session,click,rank,x\n" + "".join(f"{q},{c:g},{p},{x}\n" for q, c, p, x in rows))
    columns = ["--query", "session", "--clicks", "click", "--positions", "rank"]
    shared = ["--ranker", "linear", "--loss", "listnet", "--training.epochs", "1", "-q", "--out", str(tmp_path / "run")]
    assert main(["train", "--data", str(log), *columns, "--debias", "power:1", *shared]) == 0
    record = ltr.runs.read_record(tmp_path / "run")
    assert any("inverse propensities of their ranks: Propensities(1, 0.5" in note for note in record.notes)
    assert "--clicks click --debias power:1" in record.command
    with pytest.raises(InputError, match="propensities"):
        Propensities(np.array([]))
