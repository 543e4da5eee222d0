"""How sure a difference is, and of what: these nets on other queries, or the methods trained again.

A mean over test queries and trainings has two errors: other queries would give another, and so would other trainings.
For a contrast c of the systems' means (a less b; one group less another; one system alone)

    variance  =  max(0, c'Qc - c'Nc)  +  T,      T = (d_0 tau^2 sum_i c_i^2 / S_i  +  d c'Kc) / (d_0 + d)

    Q    covariance of the systems' means over resampled queries, trainings averaged, all systems on the same resample
    K    covariance of the means over trainings, as the spread of the seeds shows it. With folds a training is a fold
         and a seed: sum_f w_f^2 (covariance over the fold's seeds) / S, w_f the fold's share of the queries
    N    what Q and K both hold: what a training does by chance on these queries (the query x training interaction)
    d    degrees of freedom of K: seeds less one, times folds of equal size

Of two seeds a variance has one degree of freedom, and next to nothing can be told. A table of eight systems or more
lends each contrast what all say together of a training's variance (tau^2, worth d_0 degrees of freedom, the more alike
the systems' own variances are the more; Smyth, Stat. Appl. Genet. Mol. Biol. 3, 2004). Systems that do not depend on
the seed stand aside there: they have no variance.

The interval is that of Student's t. Satterthwaite's degrees of freedom (Biometrics Bulletin 2, 1946) are too many where
few trainings make most of the variance: the chance that makes the spread small also makes them many. In their place

    1 / freedom  =  q^2 / (n - 1) + (1 - q) / (D (1 - q + 0.5 q))       q: the share of the first term in the variance
                                                                        n: queries; D: degrees of freedom of T

The 0.5 comes from simulation; benchmarks/COVERAGE.md says what 95 % intervals cover.

With one training a system nothing is known of other trainings: intervals speak of these nets then (`scope`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ltr.errors import InputError

from .significance import Interval, holm

__all__ = ["VERDICTS", "Difference", "Errors", "errors_of_draws", "errors_of_values", "verdicts"]

Floats = np.ndarray[Any, Any]
Scope = Literal["methods", "nets"]
VERDICTS = ("above", "below", "equal within the margin", "cannot tell")
_BETWEEN = 0.5  # see the module
_ROUNDING = 1e-9  # differences that are equal in exact arithmetic


@dataclass(frozen=True)
class Difference:
    """A difference with what can be said of it.

    Attributes:
        value: a less b.
        low, high: its interval.
        p: two-sided, of no difference.
        p_equal: of a difference of `margin` or more, either way: twice the larger one-sided p, so that it is below
            alpha where the interval at 1 - alpha lies within the margin. 1 without a margin.
        margin: differences below it do not matter; 0 where none is stated.
        scope: "methods": over other queries and other trainings; "nets": over other queries, for these nets.
    """

    value: float
    low: float
    high: float
    p: float
    p_equal: float = 1.0
    margin: float = 0.0
    scope: Scope = "methods"

    @property
    def verdict(self) -> str:
        """Of this one by itself; of several that are read together see `verdicts`."""
        return verdicts([self])[0]

    @property
    def not_below(self) -> bool:
        """Whether b is at most the margin above a: the interval ends above -margin. No verdict of "cannot tell" is."""
        return self.low > -self.margin

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def verdicts(found: Sequence[Difference], alpha: float = 0.05) -> list[str]:
    """One of VERDICTS for each difference, such that all of them hold together but for a chance of alpha.

    Each is tested for "no difference" and for "a margin or more"; one of the two is false whatever holds, so Holm's
    correction over the smaller p of each pays for as many tests as there are differences. "above" and "below" go before
    "equal": a difference that is sure and small is a difference.

    >>> one = Difference(0.2, 0.1, 0.3, p=0.03)
    >>> verdicts([one]), verdicts([one, one])
    (['above'], ['cannot tell', 'cannot tell'])
    """
    smaller = np.array([min(each.p, each.p_equal) for each in found])
    words = []
    for each, least, adjusted in zip(found, smaller, holm(smaller), strict=True):
        times = adjusted / least if least > 0 else 1.0
        if each.p * times < alpha and adjusted < alpha:
            words.append("above" if each.value > 0 else "below")
        else:
            words.append("equal within the margin" if adjusted < alpha else "cannot tell")
    return words


@dataclass(frozen=True, eq=False)
class Errors:
    """The errors of the means of a table's systems; see the module for what they are.

    Attributes:
        means: float64 `[system]`.
        query, training, noise: float64 `[system, system]`, Q, K and N; the last two 0 where `scope` is "nets".
        freedom: float64 `[system]`, d; infinite for systems that no seed changes, 0 where only others say anything.
        lent: float64 `[system]`, tau^2 / S; 0 for those.
        strength: d_0; 0 where nothing is lent.
        most: degrees of freedom of all systems together, which no T has more of.
        queries: n; fewer than two know no error.
        scope: what intervals speak of.
    """

    means: Floats
    query: Floats
    training: Floats
    noise: Floats
    freedom: Floats
    lent: Floats
    strength: float
    most: float
    queries: int
    scope: Scope = "methods"

    def contrast(self, weights: ArrayLike, level: float = 0.95, margin: float = 0.0) -> Difference:
        """The weighted sum of the systems' means, `weights` `[system]`: 1 and -1 for a difference of two."""
        c = np.asarray(weights, dtype=np.float64)
        query, training, noise = (c @ matrix @ c for matrix in (self.query, self.training, self.noise))
        lent, least = c**2 @ self.lent, self.freedom[c != 0].min(initial=np.inf)
        error, freedom = self._error(query, training, noise, lent, least)
        low, high, p, equal = _student(c @ self.means, error, freedom, level, margin)
        return Difference(float(c @ self.means), float(low), float(high), float(p), float(equal), margin, self.scope)

    def difference(self, a: int, b: int, level: float = 0.95, margin: float = 0.0) -> Difference:
        """Of system a to system b."""
        weights = np.zeros(len(self.means))
        weights[a] += 1
        weights[b] -= 1
        return self.contrast(weights, level, margin)

    def interval(self, system: int, level: float = 0.95) -> Interval:
        """Of one system's mean."""
        found = self.contrast(np.arange(len(self.means)) == system, level)
        return Interval(found.low, found.high)

    def p(self) -> Floats:
        """Two-sided p of every pair, `[system, system]`, 1 on the diagonal, not adjusted."""
        query, training, noise = (
            np.diag(matrix)[:, None] + np.diag(matrix) - 2 * matrix
            for matrix in (self.query, self.training, self.noise)
        )
        lent, least = self.lent[:, None] + self.lent, np.minimum(self.freedom[:, None], self.freedom)
        error, freedom = self._error(query, training, noise, lent, least)
        p = _student(self.means[:, None] - self.means, error, freedom, 0.95, 0.0)[2]
        np.fill_diagonal(p, 1.0)
        return np.minimum(p, p.T)  # equal but for the order of sums

    def _error(self, query: Any, training: Any, noise: Any, lent: Any, freedom: Any) -> tuple[Floats, Floats]:
        """Standard error and degrees of freedom of contrasts."""
        query = np.maximum(query - noise, 0.0)
        strength = np.where(np.isfinite(freedom), self.strength, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            own = np.where(np.isfinite(freedom), freedom / (strength + freedom), 1.0)
            training = (1 - own) * lent + own * np.maximum(training, 0.0)
            freedom = np.minimum(strength + freedom, np.maximum(self.most, freedom))
            total = query + training
            share = np.where(total > 0, query / total, 1.0)
            of_trainings = np.where(training > 0, (1 - share) / (freedom * (1 - share + _BETWEEN * share)), 0.0)
            found = 1 / (share**2 / max(self.queries - 1, 0) + of_trainings)
        return np.sqrt(total) if self.queries > 1 else np.full_like(total, np.nan), found


def _student(
    value: Any, error: Any, freedom: Any, level: float, margin: float
) -> tuple[Floats, Floats, Floats, Floats]:
    """Ends of the interval, p of no difference and p of a margin or more."""
    from scipy.special import stdtr, stdtrit

    if not 0 < level < 1:
        raise InputError("level of the interval", expected="a number between 0 and 1", came=level)
    value, error, freedom = (np.asarray(each, dtype=np.float64) for each in (value, error, freedom))
    half = stdtrit(freedom, (1 + level) / 2) * error
    known = np.isfinite(error)
    error = np.where(known, np.maximum(error, 1e-300), 1.0)
    p = np.where(known & (abs(value) > _ROUNDING), 2 * stdtr(freedom, -abs(value) / error), 1.0)
    beyond = 2 * stdtr(freedom, (abs(value) - margin) / error)
    equal = np.where(known & (margin > 0), np.minimum(beyond, 1.0), 1.0)
    return value - half, value + half, p, equal


# ----------------------------------------------------------------------------------------- from what was measured


def errors_of_values(values: Sequence[ArrayLike], folds: ArrayLike | None = None) -> Errors:
    """Errors of means over queries.

    Args:
        values: a `[queries]` or `[seeds, queries]` array a system, without queries that do not count. A row is a seed,
            the same one in all systems that have it; NaN is a training that is not there, all queries of a fold.
        folds: `[queries]`, whichever names them: trainings of another fold are others. None: one fold.

    Raises:
        InputError: other queries in one system than in another, or a query nobody was trained for.
    """
    rows = [np.atleast_2d(np.asarray(v, dtype=np.float64)) for v in values]
    if any(each.ndim != 2 for each in rows) or len({each.shape[1] for each in rows}) != 1:
        shapes = [each.shape for each in rows]
        raise InputError("systems must be measured on the same queries", expected="[seeds, queries] each", came=shapes)
    n, seeds = rows[0].shape[1], max(len(each) for each in rows)
    cube = np.full((len(rows), seeds, n), np.nan)
    for i, each in enumerate(rows):
        cube[i, : len(each)] = each
    there = ~np.isnan(cube)
    if np.isinf(cube).any() or not there.any(1).all():
        raise InputError("values of queries", expected="a number for every query, from one training or more")
    names = np.zeros(n, dtype=np.int64) if folds is None else np.unique(np.asarray(folds), return_inverse=True)[1]
    filled = np.where(there, cube, 0.0)
    averaged = filled.sum(1) / there.sum(1)
    query = np.cov(averaged).reshape(len(rows), len(rows)) / n if n > 1 else np.zeros((len(rows),) * 2)
    found = _Trainings(len(rows))
    for f in range(int(names.max(initial=-1)) + 1):
        part = names == f
        size = int(part.sum())
        whole = there[:, :, part].all(2)
        means = np.where(whole, filled[:, :, part].sum(2), 0.0) / n  # of all queries: the fold's share is in them
        left = np.where(whole[:, :, None], filled[:, :, part] - averaged[:, None, part], 0.0) / n
        level = left.mean(2, keepdims=True)
        left = (left - np.where(whole[:, :, None], level, 0.0)) * (size / max(size - 1, 1)) ** 0.5
        found.add(means, left, whole, size / n)
    return found.errors(averaged.mean(1), query, n)


def errors_of_draws(values: ArrayLike, draws: ArrayLike, queries: int) -> Errors:
    """Errors of quantities that are no means over queries, such as hypervolumes, from resamples of the queries.

    Args:
        values: `[system, seed]`, NaN where there is none; of a system without any nothing is said.
        draws: `[draw, system, seed]`, the same under resampled queries (`ltr.fronts.paired_hypervolumes`).
        queries: how many were resampled.
    """
    values = np.asarray(values, dtype=np.float64)
    resampled: Floats = np.asarray(draws, dtype=np.float64)
    if values.ndim != 2 or resampled.shape[1:] != values.shape or len(resampled) < 2:
        expected = "[system, seed] and [draw, system, seed]"
        raise InputError("draws of a quantity", expected=expected, came=(values.shape, resampled.shape))
    there = np.isfinite(values)
    resampled = resampled[np.isfinite(resampled[:, there]).all(1)]  # in small sets a draw may hold no query that counts
    seeds = np.maximum(there.sum(1), 1)
    filled, drawn = np.where(there, values, 0.0), np.where(there, resampled, 0.0)
    averaged = drawn.sum(2) / seeds
    query = np.cov(averaged.T).reshape(len(values), len(values))
    left = np.where(there, drawn - averaged[:, :, None], 0.0)
    left = (left - left.mean(0)).transpose(1, 2, 0) / max(len(resampled) - 1, 1) ** 0.5
    found = _Trainings(len(values))
    found.add(filled, left, there, 1.0)
    return found.errors(filled.sum(1) / seeds, query, queries)


class _Trainings:
    """Sums over folds of what their seeds say."""

    def __init__(self, systems: int):
        self.covariance, self.noise = np.zeros((systems, systems)), np.zeros((systems, systems))
        self.tau, self.seen, self.fourth, self.squares, self.effective = np.zeros((5, systems))

    def add(self, means: Floats, left: Floats, there: Floats, weight: float) -> None:
        """Means `[system, seed]` weighted by the fold's share; the same less what queries and trainings explain,
        `[system, seed, query or draw]`, scaled so that its squares sum to variances."""
        seeds = there.sum(1)
        centred = np.where(there, means - (means.sum(1) / np.maximum(seeds, 1))[:, None], 0.0)
        both = there.astype(np.float64) @ there.T  # seeds that two systems share
        scale = np.where(both > 1, 1 / np.maximum(seeds[:, None] * seeds * (both - 1) / np.maximum(both, 1), 1), 0.0)
        self.covariance += (centred @ centred.T) * scale
        flat = left.reshape(len(left), -1)
        self.noise += (flat @ flat.T) * scale
        known = seeds > 1
        self.tau += np.where(known, (centred**2).sum(1) / np.maximum(seeds - 1, 1), 0.0)
        self.seen += np.where(known, weight**2, 0.0)
        self.fourth += np.where(known, weight**4 / np.maximum(seeds - 1, 1), 0.0)
        self.squares += weight**2
        self.effective += weight**2 / np.maximum(seeds, 1)

    def errors(self, means: Floats, query: Floats, queries: int) -> Errors:
        known = self.seen > 0
        zeros, nothing = np.zeros(len(means)), np.zeros_like(query)
        fixed = known & (self.tau <= _ROUNDING**2)  # no seed changes them
        free = known & ~fixed
        if not free.any():
            scope: Scope = "methods" if known.any() else "nets"
            return Errors(means, query, nothing, nothing, zeros + np.inf, zeros, 0.0, np.inf, queries, scope)
        with np.errstate(divide="ignore", invalid="ignore"):
            freedom = np.where(free, self.seen**2 / self.fourth, np.inf)
            missing = np.where(known, self.squares / self.seen, 1.0)  # folds of one seed are taken for like the others
            tau = self.tau * missing
        seeds = self.squares / self.effective
        common, strength = _prior(tau[free], freedom[free])
        lent = np.where(fixed, 0.0, common / seeds)
        scale = missing**0.5
        training = self.covariance * scale * scale[:, None]
        noise = self.noise * scale * scale[:, None]
        # Of whom there is one training nothing is known but what the others say.
        alone = np.flatnonzero(~known)
        training[alone, alone] = lent[alone]
        noise[alone, alone] = np.mean((np.diag(noise) * seeds)[free]) / seeds[alone]
        most = float(freedom[free].sum())
        freedom[alone] = 0.0 if strength else most
        return Errors(means, query, training, noise, freedom, lent, strength, most, queries)


_LENDERS = 8  # systems from which on a table says how alike their variances are
_MOST = 1e6  # degrees of freedom of variances that are all alike


def _prior(variances: Floats, freedom: Floats) -> tuple[float, float]:
    """tau^2 and d_0 of the scaled inverse chi-square law of variances, from the moments of their logarithms.

    Source: Smyth, 2004, section 6.2.
    """
    from scipy.special import digamma, polygamma

    average = float((freedom * variances).sum() / freedom.sum())
    if len(variances) < _LENDERS:
        return average, 0.0
    logs = np.log(variances) - digamma(freedom / 2) + np.log(freedom / 2)
    excess = float(logs.var(ddof=1) - polygamma(1, freedom / 2).mean())
    low, high = 1e-2, _MOST
    if excess <= polygamma(1, high / 2):
        return average, high
    for _ in range(60):  # trigamma falls: halve the interval, by logarithms
        middle = (low * high) ** 0.5
        low, high = (middle, high) if polygamma(1, middle / 2) > excess else (low, middle)
    return float(np.exp(logs.mean() + digamma(low / 2) - np.log(low / 2))), low
