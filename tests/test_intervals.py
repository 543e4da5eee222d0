"""Intervals over queries and trainings: by hand where that is possible, and how often they cover where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from ltr.errors import InputError
from ltr.metrics import Difference, errors_of_draws, errors_of_values, verdicts


def made(systems=6, seeds=2, queries=40, ratio=1.0, shared=0.5, seed=0):
    """`[system, seed, query]`, all means 0: the query error of a mean is 1 / sqrt(queries), `shared` of its variance
    common to all trainings, and the seed error `ratio` times that."""
    generator = np.random.default_rng(seed)
    b = generator.normal(size=(systems, 1, queries)) * shared**0.5
    e = generator.normal(size=(systems, seeds, queries)) * ((1 - shared) * seeds) ** 0.5
    return b + e + generator.normal(size=(systems, seeds, 1)) * ratio * (seeds / queries) ** 0.5


def test_one_training_a_system_is_the_paired_t_test():
    values = made(3, seeds=1)[:, 0]
    errors = errors_of_values(values)
    assert errors.scope == "nets" and errors.difference(0, 1).scope == "nets"
    expected = ttest_rel(values[0], values[1])
    found = errors.difference(0, 1)
    assert found.p == pytest.approx(expected.pvalue) and errors.p()[0, 1] == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert errors.p()[0, 0] == 1 and errors.interval(0).low < values[0].mean() < errors.interval(0).high


def test_where_trainings_make_all_the_difference_it_is_the_t_test_of_seeds():
    """Every query says the same: the interval is that of the five differences of the seeds."""
    levels = np.random.default_rng(0).normal(size=(2, 5))
    found = errors_of_values(np.repeat(levels[:, :, None], 30, axis=2)).difference(0, 1)
    expected = ttest_rel(levels[0], levels[1])
    assert found.scope == "methods" and found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_systems_no_seed_changes_know_queries_only():
    one = made(2, seeds=1)
    same = errors_of_values(np.repeat(one, 3, axis=1)).difference(0, 1)
    assert same.scope == "methods" and same.p == pytest.approx(errors_of_values(one).difference(0, 1).p)


def test_trainings_of_folds_are_counted_apart():
    """Two seeds of five folds are ten trainings: five degrees of freedom in place of one."""
    values, folds = made(2, queries=50, ratio=3.0), np.arange(50) % 5
    assert errors_of_values(values, folds).freedom.tolist() == pytest.approx([5.0, 5.0])
    assert errors_of_values(values).freedom.tolist() == [1.0, 1.0]
    values[0, 1, folds == 2] = np.nan  # a training that is not there
    assert errors_of_values(values, folds).freedom.tolist() == pytest.approx([4.0, 5.0])


def test_draws_say_what_values_say():
    """A mean over queries as a quantity of which only resamples are known."""
    values = made(4, seeds=3, queries=60)
    times = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60), size=6000)
    draws = np.einsum("dq,esq->des", times, values) / 60
    exact, drawn = errors_of_values(values), errors_of_draws(values.mean(2), draws, 60)
    for name in ("means", "query", "training", "noise", "freedom"):
        np.testing.assert_allclose(getattr(drawn, name), getattr(exact, name), atol=0.002, err_msg=name)
    assert drawn.difference(0, 1).p == pytest.approx(exact.difference(0, 1).p, abs=0.02)
    group = exact.contrast([0.5, 0.5, -0.5, -0.5])
    assert group.value == pytest.approx(values[:2].mean() - values[2:].mean())


def test_a_table_lends_what_two_seeds_do_not_know():
    """The more alike the systems' spreads are the more; never more than all of them know together."""
    few, many = (errors_of_values(made(systems, 5, ratio=2.0)) for systems in (6, 40))
    assert few.strength == 0 and many.strength > 5 and many.most == 160
    unlike = made(40, 5, ratio=2.0) * np.geomspace(0.05, 20, 40)[:, None, None]
    assert errors_of_values(unlike).strength < 2
    values = list(made(40, ratio=2.0))
    alone = errors_of_values([values[0][:1], values[1][:1], *values[2:]])
    assert alone.scope == "methods" and alone.difference(0, 1).scope == "methods"
    nets = errors_of_values([values[0][:1], values[1][:1]]).difference(0, 1)
    assert nets.high - nets.low < alone.difference(0, 1).high - alone.difference(0, 1).low


@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize("systems", [6, 16])
def test_intervals_cover(systems, seeds):
    """benchmarks/coverage.py does it at length."""
    above = np.triu_indices(systems, 1)
    for ratio, shared in ((0.5, 0.5), (1.5, 1.0), (1.5, 0.0)):
        trials = [errors_of_values(made(systems, seeds, 30, ratio, shared, i)).p()[above] for i in range(60)]
        assert 0.92 < (np.array(trials) >= 0.05).mean() < 0.985


def test_verdicts():
    above, alike, wide = (
        Difference(0.1, 0.05, 0.15, p=1e-4),
        Difference(0.0, -0.01, 0.01, p=0.9, p_equal=0.01, margin=0.02),
        Difference(0.0, -1.0, 1.0, p=0.9, p_equal=0.9, margin=0.02),
    )
    below = Difference(-0.1, -0.15, -0.05, p=1e-4, margin=0.02)
    words = ["above", "below", "equal within the margin", "cannot tell"]
    assert verdicts([above, below, alike, wide]) == words and [x.verdict for x in (above, below, alike, wide)] == words
    assert [x.not_below for x in (above, below, alike, wide)] == [True, False, True, False]
    assert verdicts([alike] * 4) == ["equal within the margin"] * 4 and verdicts([alike] * 6) == ["cannot tell"] * 6
    assert verdicts([]) == []


def test_the_margin_is_tested_where_the_interval_lies_within_it():
    errors = errors_of_values(made(2, queries=200, ratio=0.0))
    for margin in (0.05, 0.2, 0.3, 0.5):
        found = errors.difference(0, 1, margin=margin)
        assert (found.p_equal < 0.05) == (-margin < found.low and found.high < margin)
    assert errors.difference(0, 1).p_equal == 1


def test_what_cannot_be_judged():
    one = errors_of_values([[0.1], [0.9]])
    assert one.p()[0, 1] == 1 and np.isnan(one.difference(0, 1).low) and one.difference(0, 1).verdict == "cannot tell"
    same = errors_of_values([[0.1, 0.2], [0.1, 0.2]])
    assert same.difference(0, 1).p == 1 and errors_of_values([[0.1, 0.2], [0.2, 0.3]]).difference(0, 1).p == 0
    for bad in ([[0.1, 0.2], [0.1]], [[0.1, np.nan], [0.1, 0.2]], [[0.1, np.inf], [0.1, 0.2]]):
        with pytest.raises(InputError):
            errors_of_values(bad)
    with pytest.raises(InputError, match="draws"):
        errors_of_draws(np.zeros((2, 3)), np.zeros((10, 2, 2)), 5)
    with pytest.raises(InputError, match="level"):
        same.difference(0, 1, level=95)
