"""Losses on pairs of documents with different labels: the better one should score higher.

    (1/P) sum_{y_i > y_j} v_ij phi(s_i - s_j)        P the number of pairs in the sum

They differ in phi alone: each is written as a function of its own parameters that gives phi and the scale of the scores
it is asked at. The rest is `_pair_loss`, and these options, which every one of them takes.

    weighting   v_ij: 1 ("none"), y_i - y_j ("labeldiff") or y_i^2 - y_j^2 ("squarediff")
    normalise   "pairs" divides by P, "none" is the plain sum of most papers. Pairs grow with the square of the list, so
                that under the sum a list of 900 documents outweighs one of 90 a hundredfold; the mean gives every query
                the same say, as the measures do, and a learning rate that fits short and long lists
    k           only pairs with one document among the k highest scores: what can still change the top of the ranking,
                at the cost of k x n pairs (LightGBM's truncation level, applied to any pair loss); None: all pairs. The
                ranks move with the scores, so that a loss with a cut-off is not convex
    generator   with k, equal scores are ranked in a random order, anew at each call; without one, or without k: unused
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES, ListLoss, own_parameters, require_gains, signed
from .pairs import PairLoss, soft_step, sum_by_label, sum_by_score
from .pairs import logistic as logistic_pair

__all__ = ["exponential", "hinge", "pairwisemse", "ranknet", "softzeroone"]

Weighting = Literal["none", "labeldiff", "squarediff"]
Normalise = Literal["pairs", "none"]


def _pair_loss(name: str, *, convex: bool, **facts: str) -> Callable[[Callable[..., tuple[PairLoss, float]]], ListLoss]:
    """Decorator: the loss phi(scale (s_i - s_j), y_i - y_j) from a function of its own parameters -> (phi, scale)."""

    def made(phi_of: Callable[..., tuple[PairLoss, float]]) -> ListLoss:
        def body(
            scores: Tensor,
            labels: Tensor,
            where: Tensor,
            weights: Tensor | None,
            *,
            generator: torch.Generator | None,
            weighting: Weighting = "none",
            normalise: Normalise = "pairs",
            k: int | None = None,
            **own: Any,
        ) -> Tensor:
            phi, scale = phi_of(**own)
            if k is not None and k < 1:
                raise InputError(f"{name} needs k >= 1", came=k)
            if weighting == "squarediff":
                require_gains(labels, f"{name}(weighting='squarediff')")
            worth = {"none": None, "labeldiff": labels, "squarediff": labels.square()}[weighting]
            if k is None:
                value, pairs = sum_by_label(scale * scores, labels, where, weights, phi, worth=worth)
            else:
                order = ops.order(scores, where, generator=generator)
                scores, labels, where, weights, worth = ops.in_order(order, scores, labels, where, weights, worth)
                omega = None if worth is None else lambda i, j: (i(worth) - j(worth)).abs_()
                value = sum_by_score(scale * scores, labels, where, weights, phi, omega, rows=k)
                tail = ops.count_lower(labels[..., k:], where[..., k:]).sum(-1)
                pairs = ops.count_lower(labels, where).sum(-1) - tail
            return value / pairs.clamp(min=1) if normalise == "pairs" else value

        keep = LOSSES.register(name, needs="pair", shift_invariant=True, convex=convex, ordinal=True, **facts)
        return keep(signed(body, phi_of, own_parameters(phi_of, ()), first=True))

    return made


@_pair_loss(
    "ranknet",
    formula="(1/P) sum_{y_i > y_j} v_ij log(1 + e^{-sigma (s_i - s_j)}), P ordered pairs (P = 1: normalise=none)",
    source="Burges et al., ICML 2005, eq. 3; labeldiff is ARP-Loss2 of Wang et al., CIKM 2018",
    convex=True,
)
def ranknet(sigma: float = 1.0) -> tuple[PairLoss, float]:
    """Logistic loss on every pair with different labels: the cross entropy of "i beats j" with chance sg(s_i - s_j).

    Args:
        weights: multiply the pairs in which their document is the better one (the inverse propensity of a click).
        generator, weighting, normalise, k: as at the top of this file.
        sigma: steepness of the logistic, > 0. 1: the scale of the scores is the ranker's business.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> ranknet(s, y), ranknet(s, y, normalise="none")  # six pairs
    (tensor(1.3976), tensor(8.3854))
    """
    if not sigma > 0:
        raise InputError("ranknet needs sigma > 0", came=sigma)
    return logistic_pair, sigma


@_pair_loss(
    "hinge",
    formula="(1/P) sum_{y_i > y_j} v_ij max(0, m_ij - (s_i - s_j))^power, m_ij = margin, or margin (y_i - y_j)",
    source="Herbrich, Graepel, Obermayer, 2000; Joachims, KDD 2002 (ranking SVM)",
    convex=True,
)
def hinge(
    margin: float = 1.0, per: Literal["pair", "grade"] = "pair", power: Literal[1, 2] = 1
) -> tuple[PairLoss, float]:
    """Pairs that are not won by a margin lose what is missing, or its square; pairs won by the margin are left alone.

    Args:
        weights: multiply the pairs in which their document is the better one.
        generator, weighting, normalise, k: as at the top of this file.
        margin: by how much to win, > 0. It fixes the scale of the scores, so that any number does; 1 by custom.
        per: the margin is asked of every "pair" alike, or once for each "grade" between the two labels, which spaces
            the scores of a list like its grades.
        power: 1, or 2 for the squared hinge, whose gradient fades toward the margin.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> hinge(s, y), hinge(s, y, normalise="none")
    (tensor(2.), tensor(12.))
    >>> hinge(s, y, per="grade", normalise="none")
    tensor(16.)
    """
    if not margin > 0 or power not in (1, 2):
        raise InputError("hinge needs margin > 0 and power 1 or 2", came={"margin": margin, "power": power})

    def phi(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        missing = gap().mul_(margin).sub_(x) if per == "grade" else x.neg_().add_(margin)
        missing.clamp_(min=0)
        return (missing, (missing > 0).to(x.dtype).neg_()) if power == 1 else (missing.square(), missing.mul_(-2))

    return phi, 1.0


# A pair lost by more than this goes on along the tangent: e^30 is far beyond any use, and e^89 is no float32.
_STEEPEST = 30.0


@_pair_loss(
    "exponential",
    formula="(1/P) sum_{y_i > y_j} v_ij e^{-(s_i - s_j)}",
    source="RankBoost: Freund, Iyer, Schapire, Singer, JMLR 2003",
    convex=True,
)
def exponential() -> tuple[PairLoss, float]:
    """The exponential loss of RankBoost: the pairs that are lost worst own the gradient.

    A pair lost by more than 30 continues along the tangent there (still convex), where e^30 would turn into infinity
    soon after. RankBoost lowers this sum one weak ranker at a time; here the gradient goes to whatever made the scores.

    Args:
        weights: multiply the pairs in which their document is the better one (RankBoost's start distribution).
        generator, weighting, normalise, k: as at the top of this file.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> exponential(s, y)  # (e^-.7 + e^.8 + e^1.5 + e^1.5 + e^2.2 + e^.7) / 6
    tensor(3.7874)
    """

    def phi(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        beyond = (-_STEEPEST - x).clamp_(min=0)
        steep = x.clamp_(min=-_STEEPEST).neg_().exp_()
        return steep * beyond.add_(1), steep.neg_()

    return phi, 1.0


@_pair_loss(
    "softzeroone",
    formula="(1/P) sum_{y_i > y_j} v_ij sg(-sigma (s_i - s_j))",
    source="the smoothed count of misordered pairs, as in rax and TF-Ranking (pairwise soft zero-one)",
    convex=False,
)
def softzeroone(sigma: float = 1.0) -> tuple[PairLoss, float]:
    """The share of misordered pairs, smoothed: close to (1 - Kendall's tau) / 2 for steep sigma.

    Args:
        weights: multiply the pairs in which their document is the better one.
        generator, weighting, normalise, k: as at the top of this file.
        sigma: steepness, > 0. Pairs lost by much more than 1/sigma no longer pull: the price of a bounded loss.

    Returns:
        `[...]`, one value a list, at most 1 with the defaults; 0 without an ordered pair.

    >>> softzeroone(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(0.7042)
    """
    if not sigma > 0:
        raise InputError("softzeroone needs sigma > 0", came=sigma)
    return soft_step, sigma


@LOSSES.register(
    "pairwisemse",
    formula="(1/n^2) sum_{i,j} ((y_i - y_j) - (s_i - s_j))^2 = 2 var(y - s)",
    source="TF-Ranking and rax form all pairs; the closed form is linear in n",
    needs="document",
    shift_invariant=True,
    convex=True,
)
def pairwisemse(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, normalise: Normalise = "pairs"
) -> Tensor:
    """Differences of scores as predictions of differences of labels: a regression that forgives a shift of the list.

    Pairs of equal labels count too: they should have equal scores.

    Args:
        weights: multiply the pairs in which their document stands first (each unordered pair stands there twice).
        normalise: "pairs" divides by n^2, "none" is the sum; as at the top of this file.

    >>> pairwisemse(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(6.8700)
    """
    n = where.sum(-1, keepdim=True)
    errors = labels - scores
    centred = (errors - errors.sum(-1, keepdim=True) / n.clamp(min=1)).masked_fill(~where, 0.0)
    squares = centred.square()
    sums = n * squares + squares.sum(-1, keepdim=True)  # sum_j (e_i - e_j)^2
    sums = sums.masked_fill(~where, 0.0) if weights is None else sums * weights
    value = sums.sum(-1)
    return value / n.squeeze(-1).clamp(min=1).square() if normalise == "pairs" else value
