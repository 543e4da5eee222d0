"""Losses on pairs of documents with different labels: the better one should score higher.

Lists are sorted by label once, so that the better document of a pair stands first: blocks of pairs below the diagonal,
and rows of documents that are better than nobody, are never formed.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .. import ops
from ..errors import InputError
from .base import LOSSES, choice, require_gains

__all__ = ["ranknet"]


def _pairs(labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor, int]:
    """Order by label, number of ordered pairs `[...]`, and how many rows of the sorted lists stand above anything."""
    lower = ops.count_lower(labels, where)
    # On a GPU the count would have to travel to the host; forming all rows is cheaper than waiting for it.
    rows = int((lower > 0).sum(-1).max()) if lower.device.type == "cpu" and lower.numel() else labels.shape[-1]
    return ops.order(labels, where), lower.sum(-1), rows


@LOSSES.register(
    "ranknet",
    formula="(1/P) sum_{y_i > y_j} v_ij log(1 + e^{-sigma (s_i - s_j)}), P ordered pairs (P = 1: normalise=none)",
    source="Burges et al., ICML 2005, eq. 3; labeldiff is ARP-Loss2 of Wang et al., CIKM 2018",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
def ranknet(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    weighting: Literal["none", "labeldiff", "squarediff"] = "none",
    normalise: Literal["pairs", "none"] = "pairs",
    sigma: float = 1.0,
) -> Tensor:
    """Logistic loss on every pair with different labels: the cross entropy of "i beats j" with chance sg(s_i - s_j).

    Args:
        scores, labels, where: `[..., list]`.
        weights: multiply the pairs in which their document is the better one (the inverse propensity of a click).
        generator: unused.
        weighting: v_ij is 1 ("none"), y_i - y_j ("labeldiff") or y_i^2 - y_j^2 ("squarediff").
        normalise: "pairs" divides by the number of ordered pairs, "none" is the paper's sum. Pairs grow with the square
            of the list, so that under the sum a list of 900 documents outweighs one of 90 a hundredfold; the mean gives
            every query the same say, as the measures do, and a learning rate that fits short and long lists.
        sigma: steepness of the logistic, > 0.

    Returns:
        `[...]`, one value a list, natural logarithm; 0 without an ordered pair.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> ranknet(s, y), ranknet(s, y, normalise="none")  # six pairs
    (tensor(1.3976), tensor(8.3854))
    """
    choice("weighting", weighting, ("none", "labeldiff", "squarediff"))
    choice("normalise", normalise, ("pairs", "none"))
    if not sigma > 0:
        raise InputError("ranknet needs sigma > 0", came=sigma)
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    order, pairs, rows = _pairs(labels, where)
    if weighting == "squarediff":
        require_gains(labels, "ranknet(weighting='squarediff')")
        labels = labels.square()
    scores, labels, where = (t.gather(-1, order) for t in (scores, labels, where))
    weights = None if weights is None else weights.gather(-1, order)
    # As the better document a pad is worse than all, as the other one it is better than all: it is in no pair.
    better, other = labels.masked_fill(~where, -math.inf), labels.masked_fill(~where, math.inf)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        if weighting == "none" and weights is None:  # +inf is a pair won for sure: value and slope are exactly 0
            return ops.logistic(x.masked_fill_(i(better) <= j(other), math.inf))
        value, slope = ops.logistic(x)
        v = (i(better) > j(other)).to(x.dtype) if weighting == "none" else (i(better) - j(other)).clamp_(min=0)
        if weights is not None:
            v = v * i(weights)
        return value.mul_(v), slope.mul_(v)

    value = ops.pair_sum(sigma * scores, term, rows=rows, upper=True)
    return value / pairs.clamp(min=1) if normalise == "pairs" else value
