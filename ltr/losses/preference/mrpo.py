"""DPO from two reference scorers at once: MRPO, and the mean of two DPO losses that it is compared with."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import PREFERENCE_LOSSES, constant, per_list
from .pairs import Normalise, Pairs, choose_pairs

__all__ = ["mrpo"]


@PREFERENCE_LOSSES.register_rewards(
    "mrpo",
    formula="(1/P) sum over pairs of -log sg(beta ((s - log ref)_w - (s - log ref)_l)), "
    "log ref = log p1 + log p2 - log(c p1 + (1-c) p2), p_k = softmax(s_ref,k)",
    source="2405.16388, as in the code thaihungle/MRPO; the softmax over the list is ours",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
def mrpo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    beta: float | Tensor,
    reference: Tensor | None,
    reference2: Tensor | None = None,
    form: Literal["mixed", "multi"] = "mixed",
    mix: float | None = None,
    eta: float = 0.1,
    clipping: Literal["adaptive", "fixed"] = "adaptive",
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """DPO from two reference scorers, of any two scales: both are mapped to log softmax over the list.

    The first is clipped toward the second, then they are mixed pair by pair (a_k is the reference's own margin):

        log p1 into [(1 + eta) log p2, (1 - eta) log p2],      c = |a1| / (|a1| + |a2| + 1e-6),   a from before the clip
        mixed: 1/ref = c/p2 + (1-c)/p1       multi: c DPO(first) + (1-c) DPO(second)

    Note who gets c: the reference that is surer of the pair decides the loss in "multi", and yields to the other in
    "mixed"; both branches are as coded, and the code is all that says so. One good reference often does as well.

    Args:
        reference: `[..., list]`, the first; None: 0, a uniform p1.
        reference2: `[..., list]`, the second; None: the first again, which is DPO from log softmax(reference).
        margins, beta: as in base.py.
        weights: multiply the pairs in which their document is the better one.
        form: "mixed" is MRPO, "multi" is Multi-DPO, its naive rival.
        mix: a fixed c in [0, 1]; None: by pair, as above.
        eta: >= 0, the relative width of the clip in log space.
        clipping: "adaptive" splits eta between the two documents of a pair in proportion to their |log p1 + log p2|, as
            the published runs do; "fixed" gives both all of it.
        pairs, normalise: as in pairs.py.

    >>> s, y, tree = torch.tensor([1.0, 0.0]), torch.tensor([1, 0]), torch.tensor([2.0, 0.0])
    >>> mrpo(s, y), mrpo(s, y, reference=s, reference2=tree)  # the second margin goes from 1 to about -.9
    (tensor(0.3133), tensor(1.2251))
    """
    if not eta >= 0 or (mix is not None and not 0 <= mix <= 1):
        raise InputError("mrpo needs eta >= 0 and mix in [0, 1]", came={"eta": eta, "mix": mix})
    p1 = ops.log_softmax(torch.zeros_like(u) if reference is None else reference, where).detach()
    p2 = p1
    if reference2 is not None and reference2.shape[-1]:
        p2 = ops.log_softmax(constant(reference2, u, where, "reference2"), where).detach()
    labels, where = choose_pairs(labels, where, pairs)
    count = ops.count_lower(labels, where).sum(-1)
    order = ops.order(labels, where)
    u, labels, where, weights, p1, p2 = ops.in_order(order, u, labels, where, weights, p1, p2)
    better, other = labels.masked_fill(~where, -math.inf), labels.masked_fill(~where, math.inf)
    scale = per_list(beta, u, "beta")
    scale = scale.unsqueeze(-1) if isinstance(scale, Tensor) and scale.ndim else scale

    def clip(one: Tensor, two: Tensor, width: float | Tensor) -> Tensor:
        return torch.minimum(torch.maximum(one, two * (1 + width)), two * (1 - width))

    def mixed(one: Tensor, two: Tensor, c: Tensor) -> Tensor:
        return one + two - torch.logaddexp(torch.log(c) + one, torch.log1p(-c) + two)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        nobody = i(better) <= j(other)
        a1, a2 = (i(p1) - j(p1)).abs(), (i(p2) - j(p2)).abs()
        c = a1 / (a1 + a2 + 1e-6) if mix is None else torch.full_like(x, mix)
        width: float | Tensor = eta
        if clipping == "adaptive":
            b1, b2 = (i(p1) + i(p2)).abs(), (j(p1) + j(p2)).abs()
            width = eta * b1 / (b1 + b2).clamp(min=1e-12)
        one_w, two_w = clip(i(p1), i(p2), width), i(p2)
        one_l, two_l = clip(j(p1), j(p2), eta - width if clipping == "adaptive" else eta), j(p2)
        if form == "mixed":
            moved = x - scale * (mixed(one_w, two_w, c) - mixed(one_l, two_l, c))
            value, slope = ops.logistic(moved.masked_fill_(nobody, math.inf))
        else:
            from_one = ops.logistic((x - scale * (one_w - one_l)).masked_fill_(nobody, math.inf))
            from_two = ops.logistic((x - scale * (two_w - two_l)).masked_fill_(nobody, math.inf))
            value, slope = (c * a + (1 - c) * b for a, b in zip(from_one, from_two, strict=True))
        return (value, slope) if weights is None else (value * i(weights), slope * i(weights))

    value = ops.pair_sum(u, term, upper=True)
    return value / count.clamp(min=1) if normalise == "pairs" else value
