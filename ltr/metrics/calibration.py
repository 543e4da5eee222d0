"""How well scores say what labels are: measures on the scale of the scores, and the reliability of all documents.

A label is a share t = y / max_grade of certainty, a score its prediction p: link=sigmoid p = 1 / (1 + e^-s), as losses
of log-odds leave them (bce, rcr; not softmax losses, whose lists float); link=identity p = s / max_grade, for scores on
the scale of the labels (mse), and with max_grade=1 for shares (the ranker `calibrated`).

Measures are higher where better, as all are: the losses with their sign changed, as scikit-learn names them. NegECE
looks at each list by itself, as in the papers on ranking; with few documents a bin that is mostly chance, and never
better than that of all documents together, which `reliability` gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .backends import Array
from .evaluation import value_of
from .judgements import Judgements
from .measure import Measure
from .measures import MEASURES
from .ranked_lists import RankedLists, checked_scores

__all__ = ["Reliability", "reliability"]

_calibration = partial(MEASURES.register, cutoff="none", blank="document", scale=True)
_LEAST = 1e-7  # of a predicted share in a logarithm: about the resolution of float32 below 1


def _shares(ranked: RankedLists, measure: Measure) -> tuple[Array, Array]:
    """Predicted and true shares `[documents]`."""
    xp, scores = ranked.xp, ranked.xp.floats(ranked.scores)
    true = ranked.judged.values(("share", measure.max_grade))
    if measure.link == "identity":
        return scores / measure.max_grade, true
    small = xp.exp(-abs(scores))
    return xp.where(scores >= 0, 1.0, small) / (1 + small), true


def _mean(ranked: RankedLists, each: Array) -> Array:
    return ranked.lists.sum(each) / ranked.lists.lengths.clip(min=1)


@_calibration(
    "NegBrier",
    formula="- (1/n) sum_i (p_i - t_i)^2",
    source="Brier, 1950; neg_brier_score of scikit-learn",
    arguments=("empty", "max_grade", "link"),
)
def neg_brier(ranked: RankedLists, measure: Measure) -> Array:
    p, t = _shares(ranked, measure)
    return -_mean(ranked, (p - t) ** 2)


@_calibration(
    "NegLogLoss",
    formula="(1/n) sum_i t_i log p_i + (1 - t_i) log(1 - p_i), p_i within [1e-7, 1 - 1e-7]",
    source="logarithmic score: Good, 1952; neg_log_loss of scikit-learn",
    arguments=("empty", "max_grade", "link"),
)
def neg_log_loss(ranked: RankedLists, measure: Measure) -> Array:
    p, t = _shares(ranked, measure)
    p = p.clip(_LEAST, 1 - _LEAST)
    return _mean(ranked, t * ranked.xp.log(p) + (1 - t) * ranked.xp.log(1 - p))


@_calibration(
    "NegECE",
    formula="- sum_b (n_b / n) |mean p - mean t over the n_b documents of bin b|, bins of equal width over p in [0, 1]",
    source="Naeini et al., AAAI 2015; a list at a time: Yan et al., KDD 2022 (recalled; theirs has bins of equal size)",
    arguments=("empty", "max_grade", "link", "bins"),
)
def neg_ece(ranked: RankedLists, measure: Measure) -> Array:
    # Bins of width, not of size: documents of one score are never parted, and empty bins add nothing.
    xp, lists = ranked.xp, ranked.lists
    p, t = _shares(ranked, measure)
    total = xp.zeros(len(lists))
    at = _bins(xp, p, measure.bins)
    for b in range(measure.bins):
        total = total + abs(lists.sum(xp.where(at == b, p - t, 0.0)))
    return -total / lists.lengths.clip(min=1)


def _bins(xp: Any, p: Array, bins: int) -> Array:
    """The bin of each share: [b / bins, (b + 1) / bins), the first also below 0, the last with 1 and beyond."""
    return xp.ints((p * bins).clip(0, bins - 1))


@dataclass(frozen=True)
class Reliability:
    """What all documents together say of predicted shares.

    Attributes:
        ece: sum_b (n_b / n) |mean p - mean t| over the bins.
        brier, log_loss: means over the documents.
        count: documents of each bin, `[bin]`.
        predicted, true: mean share of each bin, `[bin]`; NaN where it is empty.
    """

    ece: float
    brier: float
    log_loss: float
    count: np.ndarray[Any, Any]
    predicted: np.ndarray[Any, Any]
    true: np.ndarray[Any, Any]


def reliability(scores: Any, labels: Any, *, max_grade: int = 4, link: str = "sigmoid", bins: int = 10) -> Reliability:
    """Calibration of all documents as one list: ECE, Brier score, log loss, and the diagram's table.

    Args:
        scores, labels: `[documents]`.
        max_grade, link, bins: as of the measures NegECE, NegBrier, NegLogLoss.

    Raises:
        InputError: as `evaluate`.

    >>> r = reliability([0.0, 0.0, 0.9, 0.9], [0, 0, 1, 0], max_grade=1, link="identity", bins=2)
    >>> round(r.ece, 6), round(r.brier, 6), r.count.tolist(), r.true.tolist()
    (0.2, 0.205, [2, 2], [0.0, 0.5])
    """
    judged = Judgements(labels, [0, len(labels)])
    ranked = RankedLists(judged, checked_scores(judged, scores))
    how: dict[str, Any] = {"max_grade": max_grade, "link": link}
    asked = Measure("NegECE", bins=bins, **how), Measure("NegBrier", **how), Measure("NegLogLoss", **how)
    ece, brier, log_loss = (-float(value_of(m, ranked)[0]) for m in asked)
    p, t = (ranked.xp.host(x) for x in _shares(ranked, asked[0]))
    at = ranked.xp.host(_bins(ranked.xp, p, asked[0].bins))
    count, *sums = (np.bincount(at, x, asked[0].bins) for x in (np.ones(len(p)), p, t))
    with np.errstate(invalid="ignore"):
        predicted, true = (x / count for x in sums)
    return Reliability(ece, brier, log_loss, count.astype(np.int64), predicted, true)
