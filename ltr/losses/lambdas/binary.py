"""LambdaRank for measures of relevant or not (a label above 0 or not): precision, reciprocal rank, average precision.

The frame and the options: `frame.py`.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor

from ltr import ops

from .frame import Ranked, lambda_loss

__all__ = ["lambdamap", "lambdamrr", "lambdaprecision"]

_binary = partial(lambda_loss, needs="contrast", gains="linear", binary=True)


@_binary(
    "lambdaprecision",
    formula="sum_{i relevant, j not, one of r_i, r_j <= k} log_b(1 + e^{-sigma (s_i - s_j)})",
    source="TF-Ranking's precision lambda weight; k times the change of Precision@k",
)
def lambdaprecision(lists: Ranked, *, k: int = 5) -> Tensor:
    """Pairs whose swap changes Precision@k: one document among the k first, the other below.

    Args:
        weights, generator, sigma, base, at: as in `frame.py`.
        k: the cut-off. Lists of at most k documents have nothing to gain and value 0.

    >>> lambdaprecision(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]), k=2)
    tensor(5.7802)
    """
    labels, below = lists.labels, (lists.place > k).to(lists.scores.dtype)

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        return (i(labels) - j(labels)).abs_().mul_(j(below))

    return lists.sum(omega, k)


@_binary(
    "lambdamrr",
    formula="sum_{i relevant, j not} |change of RR@k when i and j swap| log_b(1 + e^{-sigma (s_i - s_j)})",
    source="LambdaRank for the reciprocal rank: Donmez, Svore, Burges, SIGIR 2009 (recalled); weights derived",
)
def lambdamrr(lists: Ranked, *, k: int | None = None) -> Tensor:
    """Pairs weighted by how much the reciprocal rank of the first relevant document changes when they swap.

    Args:
        weights, generator, sigma, base, at: as in `frame.py`.
        k: the reciprocal rank is 0 beyond rank k; None: no cut-off.

    >>> lambdamrr(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(3.6859)
    """
    labels, place, relevant = lists.labels, lists.place, lists.labels > 0
    reciprocal = (1 / place).masked_fill(place > (math.inf if k is None else k), 0.0)
    value = torch.where(relevant, reciprocal, 0.0)
    best = value.amax(-1, keepdim=True)  # RR now, and that of the second relevant document
    is_first = relevant & (relevant.cumsum(-1) == 1)
    second = value.masked_fill(is_first, 0.0).amax(-1, keepdim=True)
    # i above j. A relevant j that rises to i: RR becomes 1/r_i if that is more. The first relevant one that falls to j:
    # RR becomes that of the second one, or of j.
    best, second, is_first = best.expand_as(labels), second.expand_as(labels), is_first.to(labels.dtype)

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        rise = (i(reciprocal) - i(best)).clamp(min=0) * (1 - i(labels)) * j(labels)
        fall = i(best) - torch.maximum(i(second), j(reciprocal))
        return rise.add_(fall.mul_(i(is_first)).mul_(1 - j(labels)))

    return lists.sum(omega, k)


@_binary(
    "lambdamap",
    formula="sum_{i relevant, j not} |change of AP when i and j swap| log_b(1 + e^{-sigma (s_i - s_j)})",
    source="LambdaRank for average precision: Donmez, Svore, Burges, SIGIR 2009 (recalled); weights derived",
)
def lambdamap(lists: Ranked) -> Tensor:
    """Pairs weighted by how much average precision changes when they swap.

    Args:
        weights, generator, sigma, base, at: as in `frame.py`.

    >>> lambdamap(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(2.1480)
    """
    labels, place = lists.labels, lists.place
    count = labels.cumsum(-1)  # relevant documents down to here
    harmonic = (labels / place).cumsum(-1)  # what each of them adds to AP for one more relevant document above it
    above = (count + 1 - labels) / place - harmonic  # precision at i with a relevant document there, and H_i
    below = count / place - harmonic + labels / place  # precision at j with one there, and H_{j-1}
    total = labels.sum(-1)[..., None, None].clamp(min=1)

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        # The relevant one of the pair stands at i instead of j: precision at i, minus precision at j, and every
        # relevant document between them sees one more above it: H_{j-1} - H_i.
        w = (i(above) - j(below)).clamp_(min=0)
        return w.mul_((i(labels) - j(labels)).abs_()).div_(total)

    return lists.sum(omega)
