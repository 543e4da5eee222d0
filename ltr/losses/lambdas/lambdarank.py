"""LambdaRank, and the form of it that LightGBM has. The frame and the options: `frame.py`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.losses.base import LOSSES
from ltr.losses.pairs import logistic, sum_by_score

from .frame import Ranked, lambda_loss, ranked

__all__ = ["lambdarank", "lambdarank_lightgbm"]


@lambda_loss(
    "lambdarank",
    formula="sum_{y_i > y_j} |G_i - G_j| |1/D(r_i) - 1/D(r_j)| log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Burges, Ragno, Le, NIPS 2006; as a bound: Wang et al., CIKM 2018, eq. 14",
    needs="pair",
    gains=True,
    bounds="1-ndcg",
)
def lambdarank(
    lists: Ranked,
    *,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    truncation: Literal["discount", "either", "both"] = "discount",
) -> Tensor:
    """RankNet weighted by how much NDCG changes when the two documents swap places.

    With base 2, no cut-off and any sigma the value is at least 1 - NDCG.

    Args:
        weights, generator, gain, sigma, base, at: as in `frame.py`.
        k: cut-off; None: none. Costs k x n pairs instead of n x n.
        truncation: what k cuts. "discount": 1/D = 0 beyond rank k, so that the weight is the change of NDCG@k
            (TF-Ranking); "either": pairs with one document in the top k, discounts whole (LightGBM's truncation level);
            "both": pairs with both documents in the top k (allRank).

    >>> lambdarank(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(1.8450)
    """
    worth, discount = lists.worth, ops.discounts(lists.place, k if truncation == "discount" else None)
    if k is not None and truncation == "both":
        lists = lists.among_first(k)

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:  # i ranks above j: its discount is the larger one
        return (i(worth) - j(worth)).abs_().mul_(i(discount) - j(discount))

    return lists.sum(omega, k)


@LOSSES.register(
    "lambdarank_lightgbm",
    formula="c sum_{y_i > y_j, min(r_i, r_j) <= k} |G_i - G_j| |1/D(r_i) - 1/D(r_j)| / (.01 + |s_i - s_j|) "
    "log(1 + e^{-sigma (s_i - s_j)}), c = log2(1 + S) / S, S twice the sum of the |gradients| of the pairs",
    source="LightGBM 4, objective lambdarank with lambdarank_norm=true (recalled); its gradients are the witness",
    needs="pair",
    gains="exp2",
    shift_invariant=True,
    convex=False,
    stochastic="score ties",
    surrogate=True,
)
def lambdarank_lightgbm(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    generator: torch.Generator | None,
    k: int | None = 30,
    sigma: float = 1.0,
    at: Tensor | None = None,
) -> Tensor:
    """The lambdarank objective of LightGBM with its default normalisation, so that a net and trees share one objective.

    Pairs of far scores weigh less, and the pull of a whole list grows with its logarithm. Both factors are constants to
    the gradient although they depend on the scores: the *gradient* is what LightGBM defines, the value only says
    how much is left to sort. Gain 2^y - 1 and the natural logarithm, as there.

    Args:
        weights: multiply the pairs in which their document is the better one, after the normalisation. (LightGBM
            multiplies the finished gradient of a document by its weight; that is no loss function of the scores.)
        generator, sigma, at: as in `frame.py`.
        k: pairs with one document in the top k, and the ideal DCG cut there; 30 is LightGBM's
            lambdarank_truncation_level; None: all pairs.

    >>> lambdarank_lightgbm(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(0.8963)
    """
    of: dict[str, Any] = {"loss": "lambdarank_lightgbm", "sigma": sigma, "k": k, "gain": "exp2"}
    lists = ranked(scores, labels, where, weights, generator, at, **of)
    scores, labels, where, weights, worth, place = lists[:6]
    discount, now = ops.discounts(place), scores.detach()
    high, low = now.masked_fill(~where, -math.inf).amax(-1), now.masked_fill(~where, math.inf).amin(-1)
    spread = (high > low).to(scores.dtype)[..., None, None]  # a list of equal scores is not normalised by them

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        far = (i(now) - j(now)).abs_().add_(0.01)
        return (i(worth) - j(worth)).abs_().mul_(i(discount) - j(discount)).div_(far.where(spread > 0, 1.0))

    def steepness(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        slope = ops.logistic(x)[1]
        return -slope, slope

    pull = 2 * sigma * sum_by_score(sigma * now, labels, where, None, steepness, omega, rows=k)
    norm = torch.log2(1 + pull) / pull.where(pull > 0, 1.0)
    return norm * sum_by_score(sigma * scores, labels, where, weights, logistic, omega, rows=k)
