"""What losses on pairs share: functions of u_w - u_l for a better document w and another l.

    (1/P) sum over pairs of  phi(u_w - u_l)        u = beta (s - s_ref) - margins, see base.py

They have two options beyond the vocabulary.

    pairs       "all" with y_w > y_l; "best_with_others": w among the documents with the largest label;
                "best_with_worst": l among those with the smallest besides. The code of 2410.04346 has lists with one
                best and one worst; here all documents that share the extreme label take part, and the mean is the
                expectation over a random choice among them
    normalise   "pairs" divides by the number P of pairs in the sum, "none" is the sum of most papers
"""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from ltr.losses.pairs import PairLoss, sum_by_label

__all__ = ["Normalise", "Pairs", "choose_pairs", "on_pairs"]

Pairs = Literal["all", "best_with_others", "best_with_worst"]
Normalise = Literal["pairs", "none"]


def choose_pairs(labels: Tensor, where: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Labels and mask `[..., list]` whose ordered pairs are the chosen ones: a pair loss needs nothing else.

    >>> import torch
    >>> choose_pairs(torch.tensor([1.0, 3.0, 0.0, 2.0]), torch.ones(4, dtype=torch.bool), "best_with_worst")
    (tensor([0., 1., 0., 0.]), tensor([False,  True,  True, False]))
    """
    if pairs == "all":
        return labels, where
    best = labels >= labels.masked_fill(~where, -math.inf).amax(-1, keepdim=True)
    if pairs == "best_with_worst":
        where = where & (best | (labels <= labels.masked_fill(~where, math.inf).amin(-1, keepdim=True)))
    return (best & where).to(labels.dtype), where


def on_pairs(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    phi: PairLoss,
    *,
    pairs: Pairs,
    normalise: Normalise,
) -> Tensor:
    """The value of a pair loss phi on implicit rewards for each list, `[...]`."""
    labels, where = choose_pairs(labels, where, pairs)
    value, count = sum_by_label(u, labels, where, weights, phi)
    return value / count.clamp(min=1) if normalise == "pairs" else value
