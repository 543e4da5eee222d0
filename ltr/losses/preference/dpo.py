"""DPO and its relatives on pairs (the frame and its options: pairs.py), and LambdaRank on implicit rewards."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.lambdas.lambdarank import lambdarank
from ltr.losses.pairs import logistic

from .base import PREFERENCE_LOSSES, one_each
from .pairs import Normalise, Pairs, choose_pairs, on_pairs

__all__ = ["focalpo", "ipo", "ipo_phi", "lipo", "minordpo", "pairwise_dpo"]

_on_pairs = partial(PREFERENCE_LOSSES.register_rewards, needs="pair", shift_invariant=True, convex=True, ordinal=True)


@_on_pairs(
    "dpo",
    formula="(1/P) sum over pairs of -log sg(u_w - u_l)",
    source="Rafailov et al., NeurIPS 2023, eq. 7; choices of pairs: 2410.04346",
)
def pairwise_dpo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """Direct preference optimisation: RankNet on implicit rewards, on all pairs of a list or some.

    It has no finite optimum on free scores: only capacity and early stopping end it.

    Args:
        weights: multiply the pairs in which their document is the better one.
        pairs, normalise: as in pairs.py.

    Returns:
        `[...]`, one value a list, in nats; log 2 at s = s_ref; 0 without an ordered pair.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> s_ref = torch.tensor([0.5, 0.5, 1.0, 0.0])
    >>> [round(pairwise_dpo(s, y, reference=s_ref, beta=2.0, pairs=p, normalise="none").item(), 5)
    ...  for p in ("all", "best_with_others", "best_with_worst")]
    [9.95062, 4.42384, 2.12693]
    """
    return on_pairs(u, labels, where, weights, logistic, pairs=pairs, normalise=normalise)


def ipo_phi(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """(x - 1/2)^2, and 0 at x = inf, where no pair is."""
    x = x.sub_(0.5)
    x.masked_fill_(x == math.inf, 0.0)
    return x.square(), x.mul_(2)


@_on_pairs(
    "ipo",
    formula="(1/P) sum over pairs of ((u_w - u_l) / beta - 1/(2 beta))^2",
    source="Azar et al., AISTATS 2024; as in the code haoxian-chen/MallowsPO",
)
def ipo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    beta: float | Tensor,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """Squared distance of each pair's gain over the reference from 1/(2 beta): a finite optimum on any labels.

    On a chain of grades the distances contradict each other; the optimum spaces documents by how many they beat:
    beta Delta_i = (documents below i - documents above i) / (2 n) when all labels differ.

    Args:
        weights: multiply the pairs in which their document is the better one.
        pairs, normalise: as in pairs.py.

    Returns:
        `[...]`, one value a list; 1/(2 beta)^2 at s = s_ref; 0 without an ordered pair.

    >>> ipo(torch.tensor([0.75, 0.25]), torch.tensor([1, 0]), beta=0.5)  # won by .5, wanted by 1
    tensor(0.2500)
    """
    return (
        on_pairs(u, labels, where, weights, ipo_phi, pairs=pairs, normalise=normalise) / one_each(beta, u, "beta") ** 2
    )


@_on_pairs(
    "focalpo",
    formula="(1/P) sum over pairs of -sg(u_w - u_l)^gamma log sg(u_w - u_l)",
    source="2501.06645 [recalled]; gradients relative to DPO checked",
    convex=False,
)
def focalpo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    gamma: float = 0.05,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """DPO that trusts the pairs that are right already: the pull of a pair is DPO's times p^gamma (1 + gamma log p).

    At gamma = .05 that factor is .65 for a pair lost by 4, .93 at 0 and 1 for one won by 4. A pair lost by more than
    about 1/gamma is pushed the wrong way: the price of giving up on what looks like noise. The formula is recalled from
    the paper, not read in it.

    Args:
        weights: multiply the pairs in which their document is the better one.
        gamma: >= 0; 0 is DPO.
        pairs, normalise: as in pairs.py.

    >>> focalpo(torch.zeros(2), torch.tensor([1, 0]))  # log 2 / 2^.05
    tensor(0.6695)
    """
    if not gamma >= 0:
        raise InputError("focalpo needs gamma >= 0", came=gamma)

    def phi(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        lost, slope = ops.logistic(x)  # -log p and -(1 - p)
        trust = torch.exp(-gamma * lost)
        return lost * trust, slope.mul_(trust).mul_(lost.mul_(-gamma).add_(1))

    return on_pairs(u, labels, where, weights, phi, pairs=pairs, normalise=normalise)


@_on_pairs(
    "minordpo",
    formula="(1/P) sum over pairs of -log sg(u_w - max(0, u_l))",
    source="2408.09834 [recalled]",
    shift_invariant=False,
)
def minordpo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """DPO that stops pushing a worse document down once it scores below the reference.

    The only one of the family that is not shift-invariant: 0 means "as the reference said". At s = s_ref exactly the
    worse document has no gradient yet. The formula is recalled from the paper, not read in it.

    Args:
        weights: multiply the pairs in which their document is the better one.
        pairs, normalise: as in pairs.py.

    Returns:
        `[...]`, one value a list; log 2 at s = s_ref; 0 without an ordered pair.

    >>> minordpo(torch.tensor([1.0, -5.0]), torch.tensor([1, 0]))  # as if the second stood at 0
    tensor(0.3133)
    """
    labels, where = choose_pairs(labels, where, pairs)
    count = ops.count_lower(labels, where).sum(-1)
    order = ops.order(labels, where)
    u, labels, where, weights = ops.in_order(order, u, labels, where, weights)
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


@PREFERENCE_LOSSES.register_rewards(
    "lipo",
    formula="(1/P) sum_{y_i > y_j} |G_i - G_j| |1/D(r_i) - 1/D(r_j)| (-log sg(u_i - u_j)), ranks r by u",
    source="LiPO-lambda, 2402.01878; as in the public code of 2410.04346",
    needs="pair",
    shift_invariant=True,
    convex=False,
    stochastic="score ties",
)
def lipo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    generator: torch.Generator | None,
    gain: ops.Gain = "exp2",
    normalise: Normalise = "pairs",
) -> Tensor:
    """LambdaRank on implicit rewards, natural logarithm, mean over the ordered pairs.

    Args:
        weights: multiply the pairs in which their document is the better one.
        generator: equal u are ranked in a random order, anew at each call; None: in the order of the list. At s = s_ref
            all of them are equal, so that without one the first steps weigh pairs by the order of the file.
        gain: "exp2" or "linear".
        normalise: "pairs" is the published mean, "none" the sum.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> lipo(s, y, reference=torch.tensor([0.5, 0.5, 1.0, 0.0]), beta=2.0, normalise="none")
    tensor(1.5357)
    """
    of: dict[str, Any] = {"weights": weights, "generator": generator, "gain": gain, "base": math.e}
    value = lambdarank(u, labels, where, **of)
    if normalise == "none":
        return value
    return value / ops.count_lower(labels, where).sum(-1).clamp(min=1)
