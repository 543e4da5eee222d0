"""The bounds of LambdaLoss (Wang et al., CIKM 2018): NDCG-Loss1, 2 and 2++, ARP-Loss1 and 2.

The frame and the options: `frame.py`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.base import LOSSES
from ltr.losses.pairs import logistic, sum_by_label

from .frame import Ranked, lambda_loss, ranked

__all__ = ["arploss1", "arploss2", "ndcgloss1", "ndcgloss2", "ndcgloss2pp"]


Truncation = Literal["either", "both", "rescale"]


def _sum_over_first(lists: Ranked, first: Tensor) -> Tensor:
    """sum over all i != j of first_i log_b(1 + e^{-sigma (s_i - s_j)}), `[...]`; `first` is 0 at pads."""
    first = first * ops.differ(lists.labels, lists.where, keepdim=True)
    first = first if lists.weights is None else first * lists.weights
    real = lists.where.to(lists.scores.dtype)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        # Both orders of a pair at once: log(1 + e^x) = log(1 + e^-x) + x.
        back = i(real) * j(first)
        both = (i(first) * j(real)).add_(back)
        back[..., : back.shape[-2]].triu_()
        both[..., : both.shape[-2]].triu_()
        value, slope = ops.logistic(x)
        return value.mul_(both).addcmul_(back, x), slope.mul_(both).add_(back)

    return ops.pair_sum(lists.sigma * lists.scores, term, upper=True) / math.log(lists.base)


@lambda_loss(
    "ndcgloss1",
    formula="sum_{i != j} G_i / D(r_i) log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Wang et al., CIKM 2018, eq. 15",
    needs="pair",
    gains=True,
    bounds="1-ndcg",
)
def ndcgloss1(lists: Ranked, *, gain: ops.Gain = "exp2") -> Tensor:
    """Every document against every other one, weighted by its discounted gain: a bound on 1 - NDCG, and a loose one.

    Documents of equal label push each other too. i = j would only add a constant and is left out (allRank and
    pytorchltr count it: theirs is larger by NDCG). There is no cut-off: a document below it would have weight 0, and
    nothing could lift it again.

    Args:
        weights: multiply the terms in which their document is i.
        generator, gain, sigma, base, at: as in `frame.py`.

    >>> ndcgloss1(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(2.9374)
    """
    return _sum_over_first(lists, lists.worth * ops.discounts(lists.place))


def _by_distance(lists: Ranked, k: int | None, truncation: Truncation, mu: float | None) -> Tensor:
    """sum |G_i - G_j| (1/D(r_i) - 1/D(r_j) + mu delta) log_b(...), or with delta alone where mu is None."""
    worth, place = lists.worth, lists.place
    discount = ops.discounts(place)
    delta = torch.cat([place.new_zeros(1), discount[:-1] - discount[1:]])  # delta[d], d the distance of two ranks
    if k is not None and truncation == "both":
        lists = lists.among_first(k)
    beyond = torch.ones_like(discount)
    if k is not None and truncation == "rescale":
        beyond = torch.where(place > k, 1 / (1 - discount), 1.0)
    index = place.long()

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        w = delta[(j(index) - i(index)).clamp_(min=0)].mul_(j(beyond))  # [r, c]: the same for every list
        if mu is not None:
            w = w.mul_(mu).add_(i(discount) - j(discount))
        return (i(worth) - j(worth)).abs_().mul_(w)

    return lists.sum(omega, None if truncation == "rescale" else k)


@lambda_loss(
    "ndcgloss2",
    formula="sum_{y_i > y_j} |G_i - G_j| delta(|r_i - r_j|) log_b(1 + e^{-sigma (s_i - s_j)}), "
    "delta(d) = 1/D(d) - 1/D(d+1)",
    source="Wang et al., CIKM 2018, eq. 18",
    needs="pair",
    gains=True,
    bounds="1-ndcg",
)
def ndcgloss2(
    lists: Ranked, *, gain: ops.Gain = "exp2", k: int | None = None, truncation: Truncation = "either"
) -> Tensor:
    """Pairs weighted by how near their ranks are to each other: the tightest of the family as a bound on 1 - NDCG.

    Args:
        weights, generator, gain, sigma, base, at: as in `frame.py`.
        k: cut-off; None: none.
        truncation: what k cuts. "either": pairs with one document in the top k, k x n of them; "both": pairs with both
            in the top k (allRank); "rescale": none, but delta is divided by 1 - 1/D of the lower rank where that rank
            is beyond k (Jagerman et al., 2022, the rule of rax and of TF-Ranking's V2).

    >>> ndcgloss2(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(0.9339)
    """
    return _by_distance(lists, k, truncation, None)


@lambda_loss(
    "ndcgloss2pp",
    formula="sum_{y_i > y_j} |G_i - G_j| (|1/D(r_i) - 1/D(r_j)| + mu delta(|r_i - r_j|)) "
    "log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Wang et al., CIKM 2018, eq. 19",
    needs="pair",
    gains=True,
    bounds="1-ndcg",
)
def ndcgloss2pp(
    lists: Ranked, *, gain: ops.Gain = "exp2", k: int | None = None, truncation: Truncation = "either", mu: float = 10.0
) -> Tensor:
    """LambdaRank plus mu times NDCG-Loss2.

    Args:
        weights, generator, gain, sigma, base, at: as in `frame.py`.
        k, truncation: as in `ndcgloss2`; "rescale" touches the part of NDCG-Loss2 only.
        mu: the weight of NDCG-Loss2, >= 0; 10 as in the paper.

    >>> ndcgloss2pp(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(11.1836)
    """
    if not mu >= 0:
        raise InputError("ndcgloss2pp needs mu >= 0", came=mu)
    return _by_distance(lists, k, truncation, mu)


@LOSSES.register(
    "arploss1",
    formula="sum_{i != j} y_i log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Wang et al., CIKM 2018, section 5.2; ARP is the average relevance position sum y_i r_i / sum y_i",
    needs="pair",
    gains="linear",
    shift_invariant=True,
    convex=True,
    bounds="rank sum",
)
def arploss1(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, sigma: float = 1.0, base: float = 2.0
) -> Tensor:
    """Every document against every other one, weighted by its label: a bound on the average relevance position.

    No ranks are needed, so that it is convex. i = j is left out (pytorchltr counts it: larger by sum y).

    Args:
        weights: multiply the terms in which their document is i.
        sigma, base: as in `frame.py`.

    >>> arploss1(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(31.3385)
    """
    lists = ranked(scores, labels, where, weights, None, None, loss="arploss1", sigma=sigma, base=base)
    return _sum_over_first(lists, lists.labels)


@LOSSES.register(
    "arploss2",
    formula="sum_{y_i > y_j} (y_i - y_j) log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Wang et al., CIKM 2018, section 5.2",
    needs="pair",
    shift_invariant=True,
    convex=True,
    bounds="rank sum regret",
)
def arploss2(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, sigma: float = 1.0, base: float = 2.0
) -> Tensor:
    """Pairs weighted by the difference of their labels: a bound on how far sum y_i r_i is above its smallest value.

    It is RankNet with weighting="labeldiff", normalise="none" and a logarithm to base 2.

    Args:
        weights: multiply the pairs in which their document is the better one.
        sigma, base: as in `frame.py`.

    >>> arploss2(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(22.0219)
    """
    if not sigma > 0 or not base > 1:
        raise InputError("arploss2 needs sigma > 0 and base > 1", came={"sigma": sigma, "base": base})
    value, _ = sum_by_label(sigma * scores, labels, where, weights, logistic, worth=labels)
    return value / math.log(base)
