"""Is the difference real? Intervals over queries, paired randomisation, Holm's correction, group letters.

The query is the unit: seeds and folds of one system are averaged per query first, because runs of one system on one
query are not independent looks at the difference. Everything is deterministic given its seed.
"""

from __future__ import annotations

import math
import string
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ltr.errors import InputError

__all__ = ["Interval", "bootstrap_interval", "group_letters", "holm", "paired_randomisation"]

_CELLS = 1 << 20  # random numbers drawn at once: 8 MB of float64


class Interval(NamedTuple):
    """Ends of an interval."""

    low: float
    high: float


def bootstrap_interval(values: ArrayLike, level: float = 0.95, draws: int = 10_000, seed: int = 0) -> Interval:
    """Percentile interval of the mean over queries, queries drawn with replacement.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3; for retrieval Sakai, SIGIR 2006.

    Args:
        values: `[queries]`, or `[..., queries]`: seeds (folds, ...) are averaged per query first. NaN queries (left
            out by the measure) are dropped; a query must be NaN in all rows or in none.
        level: coverage, between 0 and 1.
        draws: resamples; the interval's ends move by about 1 % of its width between seeds at 10,000.
        seed: of the resamples.

    Returns:
        (low, high); both NaN when no query counts.

    >>> bootstrap_interval([1.0, 1.0, 1.0])
    Interval(low=1.0, high=1.0)
    """
    if not 0 < level < 1:
        raise InputError("level of the interval", expected="a number between 0 and 1", came=level)
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 0:
        raise InputError("values of an interval", expected="[queries] or [..., queries]", came=values.shape)
    per_query = _counted(_rows(values)).mean(0)
    n = len(per_query)
    if n == 0:
        return Interval(math.nan, math.nan)
    centre = per_query.mean()
    deviations = per_query - centre  # means of deviations: nothing is lost to a common level
    generator, means, step = np.random.default_rng(seed), np.empty(draws), max(1, _CELLS // n)
    for at in range(0, draws, step):
        drawn = generator.integers(0, n, size=(min(step, draws - at), n), dtype=np.int32)
        means[at : at + step] = deviations[drawn].mean(1)
    low, high = centre + np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def paired_randomisation(values: ArrayLike, draws: int = 10_000, seed: int = 0) -> np.ndarray[Any, Any]:
    """Two-sided p of every pair of systems: how often random relabelling differs as much as what was observed.

    If two systems are the same, their values of a query may be swapped: the sign of each query's difference is a fair
    coin. p = (1 + draws at least as extreme) / (1 + draws); where all 2^queries sign patterns are no more than
    `draws`, all are taken and p is exact. All pairs share the coins, so one matrix product serves all of them.

    Source: Fisher, 1935; for retrieval Smucker, Allan and Carterette, CIKM 2007; the +1 Phipson and Smyth, 2010.

    Args:
        values: `[systems, queries]`; or `[systems, ..., queries]`, averaged per query first. A query NaN in all is
            dropped.
        draws: random sign patterns; the smallest p is 1 / (1 + draws).
        seed: of the signs.

    Returns:
        p, float64 `[systems, systems]`, symmetric, 1 on the diagonal.

    >>> p = paired_randomisation([[0.9, 0.8, 0.7, 0.9, 0.8], [0.1, 0.2, 0.1, 0.2, 0.1]])
    >>> float(p[0, 1])  # 2 of 32 patterns: all signs as observed, or all reversed
    0.0625
    """
    matrix = _per_query(values)
    systems, n = matrix.shape
    if draws < 1:
        raise InputError("draws of a randomisation test", expected="a whole number from 1", came=draws)
    centred = (matrix - matrix.mean(0)).T if n else matrix.T  # differences stay, rounding shrinks
    total = centred.sum(0)
    observed = np.abs(total[:, None] - total[None, :])
    enough = observed - 1e-9 * n  # equal in exact arithmetic counts as extreme
    exact = n < 63 and 2**n <= draws
    patterns = 2**n if exact else draws
    generator = np.random.default_rng(seed)
    extreme = np.zeros((systems, systems), dtype=np.int64)
    step = max(1, _CELLS // max(n, systems**2, 1))
    for at in range(0, patterns, step):
        rows = min(step, patterns - at)
        flip: np.ndarray[Any, Any]
        if exact:
            flip = (np.arange(at, at + rows)[:, None] >> np.arange(n)) & 1
        else:
            flip = np.unpackbits(generator.integers(0, 256, (rows, -(-n // 8)), dtype=np.uint8), axis=1, count=n)
        # Signs 1 - 2 flip: the flipped sum of a difference is the difference of the flipped sums.
        sums = total - 2 * (flip.astype(np.float64) @ centred)
        for a in range(systems):
            extreme[a] += (np.abs(sums[:, a, None] - sums) >= enough[a]).sum(0)
    p: np.ndarray[Any, Any] = extreme / patterns if exact else (1 + extreme) / (1 + patterns)
    np.fill_diagonal(p, 1.0)
    return p


def holm(p: ArrayLike) -> np.ndarray[Any, Any]:
    """Holm's step-down adjustment: rejecting adjusted p <= alpha keeps the family-wise error at alpha.

    The i-th smallest of m becomes max over the smaller ones of (m - i + 1) p, at most 1. Source: Holm, 1979.

    Args:
        p: `[comparisons]`, or a symmetric matrix `[systems, systems]`, whose pairs are the comparisons.

    Returns:
        Adjusted p in the same shape; the diagonal of a matrix is 1.

    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted: np.ndarray[Any, Any]
    if p.ndim == 2 and p.shape[0] == p.shape[1]:
        if not np.array_equal(p, p.T):
            raise InputError("p of pairs", expected="a symmetric matrix")
        above = np.triu_indices(len(p), 1)
        adjusted = np.ones_like(p)
        adjusted[above] = adjusted.T[above] = holm(p[above])
        return adjusted
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError("p to adjust", expected="numbers in [0, 1], [comparisons] or [systems, systems]", came=p.shape)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


_ALPHABET = string.ascii_lowercase + string.ascii_uppercase + "".join(map(chr, range(0x3B1, 0x3CA)))


def group_letters(
    means: ArrayLike, p_adjusted: ArrayLike, alpha: float = 0.05, most: int = len(_ALPHABET)
) -> list[str]:
    """Letters such that two systems share one if and only if they do not differ significantly.

    Insert and absorb: one group of all systems; every significant pair splits each group that holds both into two
    that hold one; a group inside another is dropped. "a" belongs to the best system. Source: Piepho, J. Comput.
    Graph. Stat. 13, 2004.

    The number of groups can grow exponentially with that of systems. Where it passes `most`, groups are runs of
    neighbours in the order of the means, none of which differ: there are no more of them than systems, sharing a
    letter still says that two systems do not differ, but sharing none says nothing.

    Args:
        means: `[systems]`, higher is better; they only order the letters.
        p_adjusted: `[systems, systems]`, symmetric; p < alpha differs significantly.
        most: groups at most, up to 77 (Latin and Greek letters).

    Returns:
        The letters of each system, in the order given.

    >>> group_letters([0.9, 0.5, 0.7], [[1, 0.01, 0.2], [0.01, 1, 0.3], [0.2, 0.3, 1]])
    ['a', 'b', 'ab']
    """
    means, p = np.asarray(means, dtype=np.float64), np.asarray(p_adjusted, dtype=np.float64)
    if means.ndim != 1 or p.shape != (len(means), len(means)):
        raise InputError("p of the systems", expected=f"[systems={len(means)}, systems={len(means)}]", came=p.shape)
    if np.isnan(p).any() or not np.array_equal(p, p.T):
        raise InputError("p of the systems", expected="a symmetric matrix without NaN")
    place = {int(system): i for i, system in enumerate(np.argsort(-means, kind="stable"))}
    pairs = [(place[int(a)], place[int(b)]) for a, b in zip(*np.nonzero(np.triu(p < alpha, 1)), strict=True)]
    cliques = _cliques(len(means), pairs, most)
    groups = _runs(len(means), pairs) if cliques is None else cliques
    letters = [""] * len(means)
    # Runs beyond the alphabet stay without a letter, which says nothing wrong.
    for letter, group in zip(_ALPHABET, sorted(groups, key=sorted), strict=False):
        for i in group:
            letters[i] += letter
    return [letters[place[system]] for system in range(len(means))]


def _cliques(n: int, pairs: list[tuple[int, int]], most: int) -> set[frozenset[int]] | None:
    """The largest sets of 0 ... n - 1 that hold no pair; None once there are more than `most`."""
    groups = {frozenset(range(n))} if n else set()
    for a, b in pairs:
        both = {g for g in groups if a in g and b in g}
        groups -= both
        halves = {g - {x} for g in both for x in (a, b)}
        groups |= {h for h in halves if not any(h < g for g in groups | halves)}
        if len(groups) > most:
            return None
    return groups


def _runs(n: int, pairs: list[tuple[int, int]]) -> list[frozenset[int]]:
    """The longest runs of neighbours that hold no pair."""
    end = [n] * n  # where the run that starts at i ends: before the first that differs from anyone in it
    for a, b in pairs:
        low, high = min(a, b), max(a, b)
        end[low] = min(end[low], high)
    for i in reversed(range(n - 1)):
        end[i] = min(end[i], end[i + 1])
    return [frozenset(range(i, end[i])) for i in range(n) if i == 0 or end[i] > end[i - 1]]


def _per_query(values: Any) -> np.ndarray[Any, Any]:
    """`[systems, counted queries]` from one `[..., queries]` array a system."""
    systems = [np.asarray(v, dtype=np.float64) for v in values]
    if not systems or any(s.ndim == 0 for s in systems):
        raise InputError("values to compare", expected="[systems, queries], one row a system", came=np.shape(values))
    rows = [_rows(s) for s in systems]
    if len({r.shape[1] for r in rows}) > 1:
        lengths = [r.shape[1] for r in rows]
        raise InputError("systems must be measured on the same queries", expected="rows of one length", came=lengths)
    ends = np.cumsum([len(r) for r in rows])[:-1]
    kept = np.split(_counted(np.concatenate(rows)), ends)
    return np.stack([r.mean(0) for r in kept])


def _rows(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`[..., queries]` as a matrix."""
    return values.reshape(math.prod(values.shape[:-1]), values.shape[-1])


def _counted(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Without the queries that are NaN in all rows."""
    if np.isinf(rows).any():
        raise InputError("values of queries", expected="finite numbers, or NaN for a query left out", came=math.inf)
    out = np.isnan(rows)
    odd = out.any(0) & ~out.all(0)
    if odd.any():
        raise InputError(
            f"query {int(np.flatnonzero(odd)[0])} is left out (NaN) in some rows and counted in others",
            do="Rows must be one measure on the same labels",
        )
    return rows[:, ~out.any(0)]
