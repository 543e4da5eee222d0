"""Measures made smooth, as functions of ranks.

A measure is written once, as a function of ranks (`ndcg`, `reciprocal_rank`, `average_precision`); what differs between
the losses of `measures.py` is the ranks it is given.

    approx_ranks   1 + sum_j f((s_i - s_j) / T): the measure's approximation, differentiable in the scores
    bound_ranks    ranks that are never too small: 1 minus the measure is never underestimated, if it falls with every
                   rank (`ndcg`, `reciprocal_rank`; average precision has ranks in its numerators, too)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ltr import ops
from ltr.losses.base import Needs, counts

__all__ = ["Ranks", "approx_ranks", "average_precision", "bound_ranks", "missed", "ndcg", "reciprocal_rank"]


class Ranks(NamedTuple):
    """Ranks as a measure asks for them.

    Attributes:
        among: `among(mask)` is the rank `[..., list]` of every document among the documents of a mask.
        inside: `inside(rank, k)`, in [0, 1], says whether a rank is within a cut-off.
    """

    among: Callable[[Tensor], Tensor]
    inside: Callable[[Tensor, int], Tensor]


# A measure: (ranks, labels, where, **options) -> what each document adds to it, and its share of the 1 of a perfect
# list; both `[..., list]`, 0 at pads. In two parts, so that weights can multiply documents.
Measure = Callable[..., tuple[Tensor, Tensor]]


def ndcg(
    ranks: Ranks, labels: Tensor, where: Tensor, *, gain: ops.Gain = "exp2", k: int | None = None
) -> tuple[Tensor, Tensor]:
    """sum_i G_i / log2(1 + r_i), documents beyond rank k left out."""
    worth = ops.gains(labels, gain)
    ideal = ops.ideal_dcg(labels, where, gain=gain, k=k).unsqueeze(-1)
    rank = ranks.among(where)
    added = worth / ideal.where(ideal > 0, 1.0) * ops.discounts(rank)
    return (added if k is None else added * ranks.inside(rank, k)), _share(worth)


def reciprocal_rank(ranks: Ranks, labels: Tensor, where: Tensor, *, k: int | None = None) -> tuple[Tensor, Tensor]:
    """sum_i y_i / r_i / sum_i y_i: the reciprocal rank of the relevant document where there is one, a mean where there
    are more."""
    share, rank = _share(labels), ranks.among(where)
    added = share / rank
    return (added if k is None else added * ranks.inside(rank, k)), share


def average_precision(ranks: Ranks, labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the relevant documents (label above 0) of their rank among themselves over their rank among all."""
    relevant = (labels > 0) & where
    share = _share(relevant.to(labels.dtype))
    return share * ranks.among(relevant) / ranks.among(where), share


def _share(worth: Tensor) -> Tensor:
    total = worth.sum(-1, keepdim=True)
    return worth / total.where(total > 0, 1.0)


# ------------------------------------------------------------------------------------------------------------ ranks


def _logistic(temperature: float) -> ops.Step:
    """sg(-x / T) = 1/2 - tanh(x / 2T) / 2."""
    quarter = 0.25 / temperature
    return ops.Step(0.5 / temperature, torch.tanh_, 0.5, -0.5, lambda x: x.tanh_().square_(), -quarter, quarter)


def _gaussian(deviation: float) -> ops.Step:
    """Phi(-x / (sd sqrt 2)) = 1/2 - erf(x / 2 sd) / 2."""

    def slope(x: Tensor) -> Tensor:
        return x.square_().neg_().exp_()

    return ops.Step(0.5 / deviation, torch.erf_, 0.5, -0.5, slope, 0.0, -0.5 / (deviation * math.sqrt(math.pi)))


def _hinge(margin: float) -> ops.Step:
    """max(0, 1 - x / margin)."""
    return ops.Step(
        1 / margin, lambda x: x.neg_().add_(1).clamp_(min=0), 0.0, 1.0, lambda x: (x < 1).to(x.dtype), 0.0, -1 / margin
    )


def _logistic2(temperature: float) -> ops.Step:
    """log2(1 + e^{-x / T})."""
    unit = 1 / math.log(2)
    value, slope = (lambda x: ops.logistic(x)[0]), (lambda x: ops.logistic(x)[1])
    return ops.Step(1 / temperature, value, 0.0, unit, slope, 0.0, unit / temperature)


def approx_ranks(
    scores: Tensor, *, temperature: float = 0.1, deviation: float | None = None, cut: float = 0.5
) -> Ranks:
    """1 + sum over j != i of the chance that j beats i.

    Args:
        temperature: of the logistic chance sg((s_j - s_i) / T).
        deviation: instead, the chance under normal noise of this standard deviation on every score.
        cut: temperature of the soft cut-off sg((k + 1/2 - r) / cut), in ranks.
    """
    step = _logistic(temperature) if deviation is None else _gaussian(deviation)
    return Ranks(lambda mask: ops.soft_ranks(scores, mask, step), lambda rank, k: torch.sigmoid((k + 0.5 - rank) / cut))


def bound_ranks(scores: Tensor, *, kind: Literal["hinge", "logistic"] = "hinge", scale: float = 1.0) -> Ranks:
    """1 plus a count of lost pairs that is too large if anything: max(0, 1 - x) or log2(1 + e^-x), 1 or more at x <= 0,
    x = (s_i - s_j) / scale."""
    step = _hinge(scale) if kind == "hinge" else _logistic2(scale)
    # Never above 1[true rank <= k].
    return Ranks(lambda mask: ops.soft_ranks(scores, mask, step), lambda rank, k: (k + 1 - rank).clamp(0.0, 1.0))


# ----------------------------------------------------------------------------------------------------------- losses


def missed(
    measure: Measure,
    ranks: Ranks,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    needs: Needs = "pair",
    **options: Any,
) -> Tensor:
    """One minus the measure at these ranks, `[...]`, a document's part multiplied by its weight.

    Args:
        measure: a function of ranks, such as `ndcg`, with its `options`.
        labels, where, weights: `[..., list]`, pads 0.
        needs: which lists have a value; see `LOSSES`.
    """
    added, share = measure(ranks, labels, where, **options)
    part = (share - added).masked_fill(~where, 0.0)
    if weights is not None:
        part = part * weights
    return part.sum(-1) * counts(labels, where, needs)
