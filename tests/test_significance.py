"""Intervals that cover, tests that keep their level, letters that say exactly what the p values say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference_metrics as witness
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.errors import InputError
from ltr.metrics import bootstrap_interval, group_letters, holm, paired_randomisation


def test_interval_of_a_normal_mean():
    values = np.random.default_rng(0).normal(0.4, 0.2, 2000)
    low, high = bootstrap_interval(values)
    half = 1.96 * values.std() / math.sqrt(2000)
    assert low == pytest.approx(values.mean() - half, abs=0.05 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.05 * half)
    assert (low, high) == bootstrap_interval(values) != bootstrap_interval(values, seed=1)
    narrow = bootstrap_interval(values, level=0.5)
    assert low < narrow.low < values.mean() < narrow.high < high


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(300):
        low, high = bootstrap_interval(rng.exponential(1, 80), level=0.9, draws=500)
        hits += low <= 1 <= high
    assert 0.82 < hits / 300 < 0.95  # percentile intervals of skewed values cover a little less


def test_interval_averages_seeds_first_and_drops_skipped_queries():
    rng = np.random.default_rng(2)
    one = rng.random(50)
    opposite = np.stack([one, 1 - one])  # the mean of the two seeds is .5 on every query
    assert bootstrap_interval(opposite) == pytest.approx((0.5, 0.5))
    assert bootstrap_interval(np.stack([one, one, one])) == pytest.approx(bootstrap_interval(one))
    with_skipped = np.insert(one, [3, 17], np.nan)
    assert bootstrap_interval(with_skipped) == bootstrap_interval(one)
    assert np.isnan(bootstrap_interval([np.nan, np.nan])).all() and np.isnan(bootstrap_interval([])).all()
    assert bootstrap_interval([0.3]) == pytest.approx((0.3, 0.3))


@pytest.mark.parametrize(
    ("values", "options"),
    [([1.0, 2.0], {"level": 1.0}), ([[1.0, np.nan], [1.0, 2.0]], {}), ([np.inf], {}), (3.0, {})],
)
def test_interval_refuses(values, options):
    with pytest.raises(InputError):
        bootstrap_interval(values, **options)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9))
def test_few_queries_are_tested_exactly(pairs):
    a, b = ([x / 4 for x in side] for side in zip(*pairs, strict=True))
    p = paired_randomisation([a, b])
    assert p[0, 1] == p[1, 0] == pytest.approx(witness.sign_flip_p(a, b), abs=1e-15)
    assert p[0, 0] == p[1, 1] == 1


def test_random_draws_come_near_the_exact_test():
    rng = np.random.default_rng(3)
    a = rng.random((3, 13))
    exact, drawn = paired_randomisation(a, draws=2**13), paired_randomisation(a, draws=8000)
    assert (abs(exact - drawn) <= 5 * np.sqrt(exact * (1 - exact) / 8000) + 2e-4).all()
    np.testing.assert_array_equal(drawn, drawn.T)
    np.testing.assert_array_equal(drawn, paired_randomisation(a, draws=8000))
    assert not np.array_equal(drawn, paired_randomisation(a, draws=8000, seed=1))


def test_p_values_of_no_difference_are_uniform_and_of_a_large_one_minimal():
    rng = np.random.default_rng(4)
    p = [paired_randomisation(rng.normal(size=(2, 40)), draws=400)[0, 1] for _ in range(400)]
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(np.array(p) <= level) - level) < 4 * math.sqrt(level * (1 - level) / 400)
    sure = paired_randomisation(np.stack([np.full(60, 0.9), rng.random(60) * 0.1]), draws=999)
    assert sure[0, 1] == 1 / 1000  # never 0: the observed relabelling is one of them


def test_randomisation_sees_pairs_not_levels():
    """A difference far below the spread of the queries, but on each of them."""
    base = np.random.default_rng(5).random(100)
    assert paired_randomisation([base, base + 1e-3])[0, 1] < 1e-3
    assert paired_randomisation([base, base])[0, 1] == 1
    np.testing.assert_array_equal(
        paired_randomisation([base, base[::-1]]), paired_randomisation([base + 1e3, base[::-1] + 1e3])
    )


def test_systems_may_have_seeds_and_skipped_queries():
    rng = np.random.default_rng(6)
    a, b = rng.random((3, 30)), rng.random(30)
    p = paired_randomisation([a, b])
    np.testing.assert_array_equal(p, paired_randomisation([a.mean(0), b]))
    skipped = np.insert(np.stack([a.mean(0), b]), 4, np.nan, axis=1)
    np.testing.assert_array_equal(p, paired_randomisation(skipped))
    with pytest.raises(InputError, match="query 1 is left out"):
        paired_randomisation([[0.1, np.nan], [0.1, 0.2]])
    with pytest.raises(InputError, match="same queries"):
        paired_randomisation([[0.1, 0.2], [0.1]])
    with pytest.raises(InputError):
        paired_randomisation([])


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm(p):
    adjusted = holm(p)
    np.testing.assert_allclose(adjusted, witness.holm_steps(p), rtol=1e-12)
    assert (adjusted >= np.asarray(p)).all()


def test_holm_of_a_matrix_corrects_for_its_pairs():
    p = np.array([[1, 0.01, 0.04], [0.01, 1, 0.03], [0.04, 0.03, 1]])
    np.testing.assert_allclose(holm(p), [[1, 0.03, 0.06], [0.03, 1, 0.06], [0.06, 0.06, 1]])
    for bad in ([[1, 0.1], [0.2, 1]], [0.5, 1.5], [np.nan]):
        with pytest.raises(InputError):
            holm(bad)


@st.composite
def significance(draw):
    n = draw(st.integers(1, 9))
    means = draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    p = np.ones((n, n))
    for i in range(n):
        for j in range(i):
            p[i, j] = p[j, i] = draw(st.sampled_from([0.001, 0.5]))
    return means, p


@settings(deadline=None)
@given(significance())
def test_systems_share_a_letter_if_and_only_if_they_do_not_differ(case):
    """For any matrix, also one no ordering explains; and no letter is superfluous."""
    means, p = case
    letters = group_letters(means, p)
    for i, a in enumerate(letters):
        assert a == "".join(sorted(a)) and a
        for j, b in enumerate(letters):
            assert bool(set(a) & set(b)) == (p[i, j] >= 0.05)
    assert "a" in letters[int(np.argmax(means))]
    members = {letter: {i for i, a in enumerate(letters) if letter in a} for letter in set("".join(letters))}
    assert not any(x < y for x in members.values() for y in members.values())


def test_letters_of_runs_where_there_are_too_many_groups():
    """Twelve pairs of twins, of which only twins differ, need 2^12 groups: each holds one of every pair."""
    means, p = -np.arange(24.0), np.ones((24, 24))
    for i in range(0, 24, 2):
        p[i, i + 1] = p[i + 1, i] = 0.01
    letters = group_letters(means, p)
    shared = [[bool(set(a) & set(b)) for b in letters] for a in letters]
    assert not any(shared[i][j] for i in range(24) for j in range(24) if p[i, j] < 0.05)
    assert letters[0] == "a" and letters[1] == letters[2] == "b" and letters[-1] == "m"
    small = np.ones((4, 4))
    small[0, 1] = small[1, 0] = small[2, 3] = small[3, 2] = 0.01
    assert group_letters([4, 3, 2, 1], small) == ["ab", "cd", "ac", "bd"]
    assert group_letters([4, 3, 2, 1], small, most=3) == ["a", "b", "b", "c"]


def test_letters_in_the_order_of_the_means():
    p = np.array([[1, 0.2, 0.01], [0.2, 1, 0.2], [0.01, 0.2, 1]])
    assert group_letters([0.1, 0.2, 0.3], p) == ["b", "ab", "a"]
    assert group_letters([0.1, 0.2, 0.3], np.ones((3, 3))) == ["a", "a", "a"]
    assert group_letters([], np.ones((0, 0))) == []
    with pytest.raises(InputError):
        group_letters([1, 2], np.ones((3, 3)))
    with pytest.raises(InputError):
        group_letters([1, 2], np.full((2, 2), np.nan))
