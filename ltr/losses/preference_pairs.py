"""Preference losses on pairs: DPO and its relatives, functions of u_w - u_l for a better document w and another l.

    (1/P) sum over pairs of  phi(u_w - u_l)        u = beta (s - s_ref) - margins, see preference.py

They share two options beyond the vocabulary.

    pairs       "all" with y_w > y_l; "best_with_others": w among the documents with the largest label;
                "best_with_worst": l among those with the smallest besides. The code of 2410.04346 has lists with one
                best and one worst; here all documents that share the extreme label take part, and the mean is the
                expectation over a random choice among them
    normalise   "pairs" divides by the number P of pairs in the sum, "none" is the sum of most papers
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .. import ops
from ..errors import InputError
from .base import choice
from .lambdas import lambdarank
from .pairs import PairLoss, logistic, sum_by_label
from .preference import PREFERENCE_LOSSES, constant, implicit_rewards, per_list

__all__ = ["choose_pairs", "focalpo", "ipo", "lipo", "minordpo", "mrpo", "pairwise_dpo"]

Pairs = Literal["all", "best_with_others", "best_with_worst"]
Normalise = Literal["pairs", "none"]


def choose_pairs(labels: Tensor, where: Tensor, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Labels and mask `[..., list]` whose ordered pairs are the chosen ones: a pair loss needs nothing else.

    >>> choose_pairs(torch.tensor([1.0, 3.0, 0.0, 2.0]), torch.ones(4, dtype=torch.bool), "best_with_worst")
    (tensor([0., 1., 0., 0.]), tensor([False,  True,  True, False]))
    """
    choice("pairs", pairs, ("all", "best_with_others", "best_with_worst"))
    if pairs == "all":
        return labels, where
    best = labels >= labels.masked_fill(~where, -math.inf).amax(-1, keepdim=True)
    if pairs == "best_with_worst":
        where = where & (best | (labels <= labels.masked_fill(~where, math.inf).amin(-1, keepdim=True)))
    return (best & where).to(labels.dtype), where


def on_pairs(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None,
    weights: Tensor | None,
    phi: PairLoss,
    *,
    reference: Tensor | None,
    margins: Tensor | None,
    beta: float | Tensor,
    pairs: Pairs,
    normalise: Normalise,
) -> Tensor:
    """The value of a pair loss phi on implicit rewards for each list, `[...]`."""
    choice("normalise", normalise, ("pairs", "none"))
    u = implicit_rewards(scores, reference, where, beta=beta, margins=margins)
    u, labels, where, weights = ops.lists(u, labels, where, weights)
    labels, where = choose_pairs(labels, where, pairs)
    value, count = sum_by_label(u, labels, where, weights, phi)
    return value / count.clamp(min=1) if normalise == "pairs" else value


@PREFERENCE_LOSSES.register(
    "dpo",
    formula="(1/P) sum over pairs of -log sg(u_w - u_l)",
    source="Rafailov et al., NeurIPS 2023, eq. 7; choices of pairs: 2410.04346",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
def pairwise_dpo(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    beta: float | Tensor = 1.0,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """Direct preference optimisation: RankNet on implicit rewards, on all pairs of a list or some.

    It has no finite optimum on free scores: only capacity and early stopping end it.

    Args:
        scores, labels, where: `[..., list]`.
        reference, margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        pairs, normalise: as at the top of this file.

    Returns:
        `[...]`, one value a list, in nats; log 2 at s = s_ref; 0 without an ordered pair.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> s_ref = torch.tensor([0.5, 0.5, 1.0, 0.0])
    >>> [round(pairwise_dpo(s, y, reference=s_ref, beta=2.0, pairs=p, normalise="none").item(), 5)
    ...  for p in ("all", "best_with_others", "best_with_worst")]
    [9.95062, 4.42384, 2.12693]
    """
    options = {"reference": reference, "margins": margins, "beta": beta, "pairs": pairs, "normalise": normalise}
    return on_pairs(scores, labels, where, weights, logistic, **options)


def ipo_phi(x: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
    """(x - 1/2)^2, and 0 at x = inf, where no pair is."""
    x = x.sub_(0.5)
    x.masked_fill_(x == math.inf, 0.0)
    return x.square(), x.mul_(2)


@PREFERENCE_LOSSES.register(
    "ipo",
    formula="(1/P) sum over pairs of ((u_w - u_l) / beta - 1/(2 beta))^2",
    source="Azar et al., AISTATS 2024; as in the code haoxian-chen/MallowsPO",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
def ipo(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    beta: float | Tensor = 1.0,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """Squared distance of each pair's gain over the reference from 1/(2 beta): a finite optimum on any labels.

    On a chain of grades the distances contradict each other; the optimum spaces documents by how many they beat:
    beta Delta_i = (documents below i - documents above i) / (2 n) when all labels differ.

    Args:
        scores, labels, where: `[..., list]`.
        reference, margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        pairs, normalise: as at the top of this file.

    Returns:
        `[...]`, one value a list; 1/(2 beta)^2 at s = s_ref; 0 without an ordered pair.

    >>> ipo(torch.tensor([0.75, 0.25]), torch.tensor([1, 0]), beta=0.5)  # won by .5, wanted by 1
    tensor(0.2500)
    """
    options = {"reference": reference, "margins": margins, "beta": beta, "pairs": pairs, "normalise": normalise}
    value = on_pairs(scores, labels, where, weights, ipo_phi, **options)
    beta = per_list(beta, value.unsqueeze(-1), "beta")
    return value / (beta.squeeze(-1) if isinstance(beta, Tensor) and beta.ndim else beta) ** 2


@PREFERENCE_LOSSES.register(
    "focalpo",
    formula="(1/P) sum over pairs of -sg(u_w - u_l)^gamma log sg(u_w - u_l)",
    source="2501.06645 [recalled]; gradients relative to DPO checked",
    needs="pair",
    shift_invariant=True,
    convex=False,
    ordinal=True,
)
def focalpo(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    beta: float | Tensor = 1.0,
    gamma: float = 0.05,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """DPO that trusts the pairs that are right already: the pull of a pair is DPO's times p^gamma (1 + gamma log p).

    At gamma = .05 that factor is .65 for a pair lost by 4, .93 at 0 and 1 for one won by 4. A pair lost by more than
    about 1/gamma is pushed the wrong way: the price of giving up on what looks like noise. The formula is recalled from
    the paper, not read in it.

    Args:
        scores, labels, where: `[..., list]`.
        reference, margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        gamma: >= 0; 0 is DPO.
        pairs, normalise: as at the top of this file.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> focalpo(torch.zeros(2), torch.tensor([1, 0]))  # log 2 / 2^.05
    tensor(0.6695)
    """
    if not gamma >= 0:
        raise InputError("focalpo needs gamma >= 0", came=gamma)

    def phi(x: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        lost, slope = ops.logistic(x)  # -log p and -(1 - p)
        trust = torch.exp(-gamma * lost)
        return lost * trust, slope.mul_(trust).mul_(lost.mul_(-gamma).add_(1))

    options = {"reference": reference, "margins": margins, "beta": beta, "pairs": pairs, "normalise": normalise}
    return on_pairs(scores, labels, where, weights, phi, **options)


@PREFERENCE_LOSSES.register(
    "minordpo",
    formula="(1/P) sum over pairs of -log sg(u_w - max(0, u_l))",
    source="2408.09834 [recalled]",
    needs="pair",
    shift_invariant=False,
    convex=True,
    ordinal=True,
)
def minordpo(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    beta: float | Tensor = 1.0,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """DPO that stops pushing a worse document down once it scores below the reference.

    The only one of the family that is not shift-invariant: 0 means "as the reference said". At s = s_ref exactly the
    worse document has no gradient yet. The formula is recalled from the paper, not read in it.

    Args:
        scores, labels, where: `[..., list]`.
        reference, margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        pairs, normalise: as at the top of this file.

    Returns:
        `[...]`, one value a list; log 2 at s = s_ref; 0 without an ordered pair.

    >>> minordpo(torch.tensor([1.0, -5.0]), torch.tensor([1, 0]))  # as if the second stood at 0
    tensor(0.3133)
    """
    choice("normalise", normalise, ("pairs", "none"))
    u = implicit_rewards(scores, reference, where, beta=beta, margins=margins)
    u, labels, where, weights = ops.lists(u, labels, where, weights)
    labels, where = choose_pairs(labels, where, pairs)
    count = ops.count_lower(labels, where).sum(-1)
    order = ops.order(labels, where)
    u, labels, where = (each.gather(-1, order) for each in (u, labels, where))
    weights = None if weights is None else weights.gather(-1, order)
    # Worse documents above the reference are pairs; those below it are all one document at 0, and need only counting.
    low = where & (u <= 0)
    better, other = labels.masked_fill(~where, -math.inf), labels.masked_fill(~where | low, math.inf)
    below = torch.searchsorted(labels.masked_fill(~low, math.inf).sort(-1).values, labels)
    alone = torch.nn.functional.softplus(-u) * below.masked_fill(~where, 0)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        value, slope = ops.logistic(x.masked_fill_(i(better) <= j(other), math.inf))
        return (value, slope) if weights is None else (value.mul_(i(weights)), slope.mul_(i(weights)))

    value = ops.pair_sum(u, term, upper=True) + (alone if weights is None else alone * weights).sum(-1)
    return value / count.clamp(min=1) if normalise == "pairs" else value


@PREFERENCE_LOSSES.register(
    "lipo",
    formula="(1/P) sum_{y_i > y_j} |G_i - G_j| |1/D(r_i) - 1/D(r_j)| (-log sg(u_i - u_j)), ranks r by u",
    source="LiPO-lambda, 2402.01878; as in the public code of 2410.04346",
    needs="pair",
    shift_invariant=True,
    convex=False,
    stochastic="score ties",
)
def lipo(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    beta: float | Tensor = 1.0,
    gain: ops.Gain = "exp2",
    normalise: Normalise = "pairs",
) -> Tensor:
    """LambdaRank on implicit rewards, natural logarithm, mean over the ordered pairs.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        reference, margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one.
        generator: equal u are ranked in a random order, anew at each call; None: in the order of the list. At s = s_ref
            all of them are equal, so that without one the first steps weigh pairs by the order of the file.
        gain: "exp2" or "linear".
        normalise: "pairs" is the published mean, "none" the sum.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> lipo(s, y, reference=torch.tensor([0.5, 0.5, 1.0, 0.0]), beta=2.0, normalise="none")
    tensor(1.5357)
    """
    choice("normalise", normalise, ("pairs", "none"))
    u = implicit_rewards(scores, reference, where, beta=beta, margins=margins)
    options = {"weights": weights, "generator": generator, "gain": gain, "base": math.e}
    value = lambdarank(u, labels, where, **options)
    if normalise == "none":
        return value
    _, labels, where, _ = ops.lists(u, labels, where)
    return value / ops.count_lower(labels, where).sum(-1).clamp(min=1)


@PREFERENCE_LOSSES.register(
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
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    reference2: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    beta: float | Tensor = 1.0,
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
        scores, labels, where: `[..., list]`.
        reference: `[..., list]`, the first; None: 0, a uniform p1.
        reference2: `[..., list]`, the second; None: the first again, which is DPO from log softmax(reference).
        margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        form: "mixed" is MRPO, "multi" is Multi-DPO, its naive rival.
        mix: a fixed c in [0, 1]; None: by pair, as above.
        eta: >= 0, the relative width of the clip in log space.
        clipping: "adaptive" splits eta between the two documents of a pair in proportion to their |log p1 + log p2|, as
            the published runs do; "fixed" gives both all of it.
        pairs, normalise: as at the top of this file.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> s, y, tree = torch.tensor([1.0, 0.0]), torch.tensor([1, 0]), torch.tensor([2.0, 0.0])
    >>> mrpo(s, y), mrpo(s, y, reference=s, reference2=tree)  # the second margin goes from 1 to about -.9
    (tensor(0.3133), tensor(1.2251))
    """
    choice("form", form, ("mixed", "multi"))
    choice("clipping", clipping, ("fixed", "adaptive"))
    choice("normalise", normalise, ("pairs", "none"))
    if not eta >= 0 or (mix is not None and not 0 <= mix <= 1):
        raise InputError("mrpo needs eta >= 0 and mix in [0, 1]", came={"eta": eta, "mix": mix})
    empty = scores.shape[-1:] == (0,)
    u = implicit_rewards(scores, None, where, beta=beta, margins=margins)
    u, labels, where, weights = ops.lists(u, labels, where, weights)
    first = None if empty else constant(reference, u, where, "reference")
    second = None if empty else constant(reference2, u, where, "reference2")
    first = torch.zeros_like(u) if first is None else first
    p1 = ops.log_softmax(first, where).detach()
    p2 = p1 if second is None else ops.log_softmax(second, where).detach()
    labels, where = choose_pairs(labels, where, pairs)
    count = ops.count_lower(labels, where).sum(-1)
    order = ops.order(labels, where)
    u, labels, where, p1, p2 = (each.gather(-1, order) for each in (u, labels, where, p1, p2))
    weights = None if weights is None else weights.gather(-1, order)
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
        width = eta
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
