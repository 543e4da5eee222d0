"""The preference that explains a user's choices between rankings best, by likelihood.

    P(a chosen over b) = 1 / (1 + e^{-beta sum_k w_k (f_k(a) - f_k(b))}),   w on the simplex, beta >= 0

f_k(a) is the measure of objective k of ranking a: Bradley and Terry's model (Biometrika 39, 1952) with strengths linear
in the measures. beta, how surely somebody chooses, is fitted for every w of a fine lattice; the weights explain the
choices as well as the best ones do where twice the difference of the log-likelihoods stays below the quantile of
chi-squared with m - 1 degrees of freedom (profile likelihood).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit
from scipy.stats import chi2

from ltr.datasets.pairs import read_choices
from ltr.errors import InputError
from ltr.objectives import lattice

__all__ = ["Explained", "explain_choices", "read_pairs"]

_PARTITIONS = {2: 200, 3: 50, 4: 20}  # H of the lattice: 201, 1326, 1771 weights; 10 for more objectives


@dataclass(frozen=True, eq=False)
class Explained:
    """What choices say of the weights.

    Attributes:
        weights: `[objective]`, the best; the middle of them where several are.
        low, high: `[objective]`, between them lies the weight in all that explain the choices about as well.
        beta: how surely is chosen: a difference of d in sum_k w_k f_k has odds e^(beta d); infinite where the best
            weights explain every choice.
        pairs: how many choices; of them `agree` as the best weights have it.
        informative: False where chance explains the choices about as well: they say nothing.
    """

    weights: np.ndarray
    low: np.ndarray
    high: np.ndarray
    beta: float
    pairs: int
    agree: int
    informative: bool


def explain_choices(
    differences: np.ndarray, sure: np.ndarray | None = None, counts: np.ndarray | None = None, level: float = 0.95
) -> Explained:
    """The weights that explain choices best.

    Args:
        differences: `[pair, objective]`, measures of what was chosen minus those of what was not.
        sure: `[pair]`, with what probability it was chosen; 1 by default.
        counts: `[pair]`, how often; 1 by default.
        level: of the intervals.

    Raises:
        InputError: no choice, or values that are no numbers.

    >>> found = explain_choices(np.array([[0.2, -0.1], [0.1, 0.05], [-0.05, 0.1], [-0.2, 0.1]]))
    >>> found.agree, bool(found.low[0] <= found.weights[0] <= found.high[0])
    (3, True)
    """
    d = np.asarray(differences, np.float64)
    if d.ndim != 2 or not len(d) or not np.isfinite(d).all():
        raise InputError("choices between rankings", expected="finite [pair, objective], one or more", came=d.shape)
    n, m = d.shape
    counts = np.ones(n) if counts is None else np.asarray(counts, np.float64)
    sure = np.ones(n) if sure is None else np.asarray(sure, np.float64)
    weights = lattice(m, _PARTITIONS.get(m, 10))
    # A choice of probability p is p choices one way and 1 - p the other; equal ones are one that counts more.
    of = np.concatenate([counts * sure, counts * (1 - sure)])
    if not of.any():
        raise InputError("choices between rankings", expected="one or more of a weight above 0", came="all of weight 0")
    rows, code = np.unique(np.concatenate([d, -d])[of > 0].round(12), axis=0, return_inverse=True)
    of = np.bincount(code.reshape(-1), of[of > 0])
    z = (rows @ weights.T).round(12)  # equal measures are equal, whatever their last digits
    betas = _betas(z, of)
    with np.errstate(invalid="ignore"):
        gain = np.where(z == 0, 0.0, betas * z)
    fits = -(of[:, None] * np.logaddexp(0, -gain)).sum(0)
    best = fits >= fits.max() - 1e-9 * max(1.0, of.sum())
    middle = weights[best].mean(0)
    chosen = int(np.argmin(np.abs(weights[best] - middle).sum(1)))
    near = weights[2 * (fits.max() - fits) <= chi2.ppf(level, m - 1)]
    chance = -of.sum() * np.log(2)
    w = weights[best][chosen]
    return Explained(
        w,
        near.min(0),
        near.max(0),
        float(betas[best][chosen]),
        n,
        int((np.where(sure >= 0.5, 1, -1) * (d @ w) > 0).sum()),
        bool(2 * (fits.max() - chance) > chi2.ppf(level, m)),
    )


def _betas(z: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The beta >= 0 of the largest likelihood of every column of z `[choice, weights]`, by bisection of its slope."""

    def slope(beta: np.ndarray) -> np.ndarray:
        return (of[:, None] * z * expit(-beta * z)).sum(0)

    low = np.zeros(z.shape[1])
    high = np.full(z.shape[1], 1.0)
    agreed = (z >= 0).all(0)  # no choice against: the likelihood grows for ever, or does not move
    rising = ~agreed & (slope(low) > 0)
    while (more := rising & (slope(high) > 0)).any():
        high[more] *= 2
    for _ in range(40):
        middle = (low + high) / 2
        up = slope(middle) > 0
        low, high = np.where(up, middle, low), np.where(up, high, middle)
    found = np.where(rising, low, 0.0)
    found[agreed & (z > 0).any(0)] = np.inf
    return found


def read_pairs(path: Path | str, preferences: int) -> dict[str, np.ndarray]:
    """Choices from a table, `[pair]` each: `winner` and `loser`, int64, rows of the front; `p` and `weight`, float64, 1
    where there is none; and, where it has such a column, `query`.

    Raises:
        InputError: no such file, a missing column, or a value out of range.
    """
    found = read_choices(path, ("winner", "loser"))
    if not len(found["winner"]):
        raise InputError("a table of choices without choices", file=path)
    for name in ("winner", "loser"):
        texts = found[name].tolist()
        known = {str(row): row for row in range(preferences)}
        wrong = next((at for at, text in enumerate(texts) if text not in known), None)
        if wrong is not None:
            expected = f"the number of a preference, 0 to {preferences - 1}, as `ltr front` says"
            raise InputError(f"row {wrong + 1}, column {name!r}", file=path, expected=expected, came=texts[wrong])
        found[name] = np.array([known[text] for text in texts])
    same = np.flatnonzero(found["winner"] == found["loser"])
    if len(same):
        what = f"row {same[0] + 1}, a preference is compared with itself"
        raise InputError(what, file=path, expected="two preferences", came=found["winner"][same[0]])
    return found
