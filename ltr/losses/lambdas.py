"""LambdaRank and its family: logistic pair losses, weighted by what swapping the pair would do to a measure.

    L = sum over pairs of  omega_ij log_b(1 + e^{-sigma (s_i - s_j)})        Wang et al., CIKM 2018

omega depends on the ranks of the current scores and is a constant to the gradient. Lists are sorted by score once, so
that ranks are positions and a cut-off at k forms k rows of pairs instead of all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from .. import ops
from ..errors import InputError
from .base import LOSSES, choice, require_gains

__all__ = ["lambdarank"]

Truncation = Literal["discount", "either", "both"]


def _weighted_logistic(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    omega: Callable[[ops.Pick, ops.Pick], Tensor],
    *,
    rows: int | None,
    sigma: float,
) -> Tensor:
    """sum over y_i > y_j of omega_ij log(1 + e^{-sigma (s_i - s_j)}), lists sorted by score, pads last.

    `omega(i, j)` gives the weights of a block for i ranked above j, whichever of the two is better: a new tensor
    `[..., r, c]`, 0 where the labels are equal.
    """
    real = where.to(scores.dtype)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        gap = i(labels) - j(labels)
        w = omega(i, j).mul_(j(real))
        w[..., : w.shape[-2]].triu_()  # the block starts one column right of the diagonal
        if weights is not None:
            w *= torch.where(gap > 0, i(weights), j(weights))
        # x >= 0 wherever w is not 0: turned into the margin of the better document over the worse one.
        value, slope = ops.logistic(torch.copysign(x, gap))
        return value.mul_(w), slope.mul_(w.copysign_(gap))

    return ops.pair_sum(sigma * scores, term, rows=rows, upper=True)


@LOSSES.register(
    "lambdarank",
    formula="sum_{y_i > y_j} |G_i - G_j| |1/D(r_i) - 1/D(r_j)| log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Burges, Ragno, Le, NIPS 2006; as a bound: Wang et al., CIKM 2018, eq. 14",
    needs="pair",
    shift_invariant=True,
    convex=False,
    bounds="1-ndcg",
    stochastic="score ties",
)
def lambdarank(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    truncation: Truncation = "discount",
    sigma: float = 1.0,
    base: float = 2.0,
) -> Tensor:
    """RankNet weighted by how much NDCG changes when the two documents swap places.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the pairs in which their document is the better one.
        generator: equal scores are ranked in a random order, anew at each call; None: in the order of the list.
        gain: "exp2" 2^y - 1 or "linear" y; G is the gain divided by the ideal DCG (cut at k).
        k: cut-off; None: none. Costs k x n pairs instead of n x n.
        truncation: what k cuts. "discount": 1/D = 0 beyond rank k, so that the weight is the change of NDCG@k
            (TF-Ranking); "either": pairs with one document in the top k, discounts whole (LightGBM's truncation level);
            "both": pairs with both documents in the top k (allRank).
        sigma: steepness of the logistic, > 0.
        base: of the logarithm, > 1. With 2, no cut-off and sigma > 0 the value is at least 1 - NDCG; e gives the
            gradients of LightGBM (lambdarank_norm=false).

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> lambdarank(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(1.8450)
    """
    choice("truncation", truncation, ("discount", "either", "both"))
    if not sigma > 0 or not base > 1 or (k is not None and k < 1):
        raise InputError("lambdarank needs sigma > 0, base > 1 and k >= 1", came={"sigma": sigma, "base": base, "k": k})
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    require_gains(labels, "lambdarank", exp2=gain == "exp2")
    ideal = ops.ideal_dcg(labels, where, gain=gain, k=k).unsqueeze(-1)
    worth = ops.gains(labels, gain) / ideal.where(ideal > 0, 1.0)
    order = ops.order(scores, where, generator=generator)
    scores, labels, where, worth = (t.gather(-1, order) for t in (scores, labels, where, worth))
    weights = None if weights is None else weights.gather(-1, order)
    place = torch.arange(1, scores.shape[-1] + 1, device=scores.device)
    discount = ops.discounts(place.to(scores.dtype), k if truncation == "discount" else None).expand_as(scores)
    if k is not None and truncation == "both":
        where = where & (place <= k)

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:  # i ranks above j: its discount is the larger one
        return (i(worth) - j(worth)).abs_().mul_(i(discount) - j(discount))

    return _weighted_logistic(scores, labels, where, weights, omega, rows=k, sigma=sigma) / math.log(base)
