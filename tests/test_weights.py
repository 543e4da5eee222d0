"""Weights of documents and queries: through splits and batches into losses and boosters, and into means."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_lists import toy

import ltr
from ltr.datasets.batching.batches import Batches
from ltr.errors import InputError
from ltr.metrics import mean
from ltr.rankers import fit_stacked, make_ranker
from ltr.types import Split, Task

ALL, TEST = toy(60, seed=0), toy(20, seed=2)
# Lists that count for every loss, an even number of them.
TRAIN = ALL.take([q for q, (a, b) in enumerate(zip(ALL.offsets, ALL.offsets[1:])) if np.ptp(ALL.label()[a:b])][:40])
HALF = np.arange(TRAIN.n_queries) % 2  # every second list counts
PARAMS = {"epochs": 4, "learning_rate": 0.05, "lists": 100, "transform": "none", "optimiser": "sgd", "momentum": 0.0}


def weighed(weights) -> Split:
    return TRAIN.having(weights=np.repeat(np.asarray(weights, np.float32), TRAIN.lengths))


def test_they_go_with_their_documents():
    weights = np.arange(TRAIN.n_documents, dtype=np.float32)
    split = TRAIN.having(weights=weights)
    assert np.array_equal(split.take([3, 1]).weights, np.concatenate([weights[a:b] for a, b in rows(3, 1)]))
    for resident in (True, False):
        for batch in Batches(split, lists=7, shuffle=True, list_size=6, resident=resident):
            assert torch.equal(batch.weights[batch.where], batch.document[batch.where].float())
            assert not batch.weights[~batch.where].any() and batch.to("cpu").weights is not None
    assert next(iter(Batches(TRAIN, lists=7))).weights is None
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


def test_who_takes_none_says_so():
    split = weighed(HALF)
    with pytest.raises(InputError, match="takes no weights"):
        make_ranker("feature").fit(split)
    two = split.having(labels=np.repeat(split.labels, 2, 1), objectives=("a", "b"))
    with pytest.raises(InputError, match="take no weights"):
        ltr.make_method("ls", ranker="linear").fit(Task("two", "one", two, two, two))
