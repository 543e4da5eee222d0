"""LambdaRank and its family: logistic pair losses, weighted by what a pair means to a measure.

    L = sum over pairs of  omega_ij log_b(1 + e^{-sigma (s_i - s_j)})          Wang et al., CIKM 2018, eq. 10

omega depends on the ranks r of the current scores and is a constant to the gradient. Lists are sorted by score once, so
that ranks are positions, and a cut-off at k forms k rows of pairs instead of all.

The values are sums, as in the papers: omega already says what a pair is worth to the measure. Options that mean the
same in every loss of this file:

    weights     multiply the pairs in which their document is the better one
    generator   equal scores are ranked in a random order, anew at each call; None: in the order of the list
    gain        "exp2" 2^y - 1 or "linear" y; G is the gain divided by the ideal DCG (cut at k)
    sigma       steepness of the logistic, > 0; 1 everywhere in the literature
    base        of the logarithm, > 1. 2, as in the paper: then a lost pair costs at least its weight, which is why
                some of these values bound their measure; e gives the gradients of LightGBM
    at          scores that say the ranks, `[..., list]`; None: the scores themselves. LambdaLoss is an EM algorithm:
                its E step ranks the documents by the current scores, its M step lowers the loss with these ranks
                fixed, which is convex in the scores. `at` is what separates the two; without it the steps alternate
                at every gradient
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES, choice, require_gains
from .pairs import logistic, sum_by_label, sum_by_score

__all__ = [
    "arploss1",
    "arploss2",
    "lambdamap",
    "lambdamrr",
    "lambdaprecision",
    "lambdarank",
    "lambdarank_lightgbm",
    "ndcgloss1",
    "ndcgloss2",
    "ndcgloss2pp",
]

Truncation = Literal["discount", "either", "both"]
Truncation2 = Literal["either", "both", "rescale"]


class _Ranked(NamedTuple):
    """Lists in the order of their ranks, pads last; all `[..., list]` but `place`, the ranks 1..n, `[list]`."""

    scores: Tensor
    labels: Tensor
    where: Tensor
    weights: Tensor | None
    worth: Tensor  # G, the gain over the ideal DCG, or the label where no gain is asked for
    place: Tensor


def _ranked(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None,
    weights: Tensor | None,
    generator: torch.Generator | None,
    at: Tensor | None,
    *,
    loss: str,
    sigma: float = 1.0,
    base: float = 2.0,
    k: int | None = None,
    gain: ops.Gain | None = None,
) -> _Ranked:
    if not sigma > 0 or not base > 1 or (k is not None and k < 1):
        raise InputError(f"{loss} needs sigma > 0, base > 1 and k >= 1", came={"sigma": sigma, "base": base, "k": k})
    if at is not None and at.shape != scores.shape:
        raise InputError("at and scores differ in shape", expected=str(tuple(scores.shape)), came=tuple(at.shape))
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    require_gains(labels, loss, exp2=gain == "exp2")
    worth = labels
    if gain is not None:
        ideal = ops.ideal_dcg(labels, where, gain=gain, k=k).unsqueeze(-1)
        worth = ops.gains(labels, gain) / ideal.where(ideal > 0, 1.0)
    order = ops.order(scores if at is None or at.shape[-1] == 0 else at, where, generator=generator)
    scores, labels, where, worth = (t.gather(-1, order) for t in (scores, labels, where, worth))
    weights = None if weights is None else weights.gather(-1, order)
    place = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    return _Ranked(scores, labels, where, weights, worth, place)


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
    at: Tensor | None = None,
) -> Tensor:
    """RankNet weighted by how much NDCG changes when the two documents swap places.

    With base 2, no cut-off and any sigma the value is at least 1 - NDCG.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights, generator, gain, sigma, base, at: as at the top of this file.
        k: cut-off; None: none. Costs k x n pairs instead of n x n.
        truncation: what k cuts. "discount": 1/D = 0 beyond rank k, so that the weight is the change of NDCG@k
            (TF-Ranking); "either": pairs with one document in the top k, discounts whole (LightGBM's truncation level);
            "both": pairs with both documents in the top k (allRank).

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> lambdarank(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(1.8450)
    """
    choice("truncation", truncation, ("discount", "either", "both"))
    options = {"loss": "lambdarank", "sigma": sigma, "base": base, "k": k, "gain": gain}
    scores, labels, where, weights, worth, place = _ranked(scores, labels, where, weights, generator, at, **options)
    discount = ops.discounts(place, k if truncation == "discount" else None)
    if k is not None and truncation == "both":
        where = where & (place <= k)

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:  # i ranks above j: its discount is the larger one
        return (i(worth) - j(worth)).abs_().mul_(i(discount) - j(discount))

    return sum_by_score(sigma * scores, labels, where, weights, logistic, omega, rows=k) / math.log(base)


@LOSSES.register(
    "lambdarank_lightgbm",
    formula="c sum_{y_i > y_j, min(r_i, r_j) <= k} |G_i - G_j| |1/D(r_i) - 1/D(r_j)| / (.01 + |s_i - s_j|) "
    "log(1 + e^{-sigma (s_i - s_j)}), c = log2(1 + S) / S, S twice the sum of the |gradients| of the pairs",
    source="LightGBM 4, objective lambdarank with lambdarank_norm=true (recalled); its gradients are the witness",
    needs="pair",
    shift_invariant=True,
    convex=False,
    stochastic="score ties",
    surrogate=True,
)
def lambdarank_lightgbm(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    k: int | None = 30,
    sigma: float = 1.0,
    at: Tensor | None = None,
) -> Tensor:
    """The lambdarank objective of LightGBM with its default normalisation, so that a net and trees share one objective.

    Pairs of far scores weigh less, and the pull of a whole list grows with its logarithm. Both factors are constants to
    the gradient although they depend on the scores: the *gradient* is what LightGBM defines, the value only says
    how much is left to sort. Gain 2^y - 1 and the natural logarithm, as there.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the pairs in which their document is the better one, after the normalisation. (LightGBM
            multiplies the finished gradient of a document by its weight; that is no loss function of the scores.)
        generator, sigma, at: as at the top of this file.
        k: pairs with one document in the top k, and the ideal DCG cut there; 30 is LightGBM's
            lambdarank_truncation_level; None: all pairs.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> lambdarank_lightgbm(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(0.8963)
    """
    options = {"loss": "lambdarank_lightgbm", "sigma": sigma, "k": k, "gain": "exp2"}
    scores, labels, where, weights, worth, place = _ranked(scores, labels, where, weights, generator, at, **options)
    discount, now = ops.discounts(place), scores.detach()
    high, low = now.masked_fill(~where, -math.inf).amax(-1), now.masked_fill(~where, math.inf).amin(-1)
    spread = (high > low).to(scores.dtype)[..., None, None]  # a list of equal scores is not normalised by them

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        far = (i(now) - j(now)).abs_().add_(0.01)
        return (i(worth) - j(worth)).abs_().mul_(i(discount) - j(discount)).div_(far.where(spread > 0, 1.0))

    def steepness(x: Tensor, gap) -> tuple[Tensor, Tensor]:
        slope = ops.logistic(x)[1]
        return -slope, slope

    pull = 2 * sigma * sum_by_score(sigma * now, labels, where, None, steepness, omega, rows=k)
    norm = torch.log2(1 + pull) / pull.where(pull > 0, 1.0)
    return norm * sum_by_score(sigma * scores, labels, where, weights, logistic, omega, rows=k)


def _sum_over_first(scores: Tensor, where: Tensor, first: Tensor) -> Tensor:
    """sum over all i != j of first_i log(1 + e^{-(s_i - s_j)}), `[...]`; `first` is 0 at pads."""
    real = where.to(scores.dtype)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        # Both orders of a pair at once: log(1 + e^x) = log(1 + e^-x) + x.
        back = i(real) * j(first)
        both = (i(first) * j(real)).add_(back)
        back[..., : back.shape[-2]].triu_()
        both[..., : both.shape[-2]].triu_()
        value, slope = ops.logistic(x)
        return value.mul_(both).addcmul_(back, x), slope.mul_(both).add_(back)

    return ops.pair_sum(scores, term, upper=True)


@LOSSES.register(
    "ndcgloss1",
    formula="sum_{i != j} G_i / D(r_i) log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Wang et al., CIKM 2018, eq. 15",
    needs="gain",
    shift_invariant=True,
    convex=False,
    bounds="1-ndcg",
    stochastic="score ties",
)
def ndcgloss1(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    gain: ops.Gain = "exp2",
    sigma: float = 1.0,
    base: float = 2.0,
    at: Tensor | None = None,
) -> Tensor:
    """Every document against every other one, weighted by its discounted gain: a bound on 1 - NDCG, and a loose one.

    Documents of equal label push each other too. i = j would only add a constant and is left out (allRank and
    pytorchltr count it: theirs is larger by NDCG). There is no cut-off: a document below it would have weight 0, and
    nothing could lift it again.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the terms in which their document is i.
        generator, gain, sigma, base, at: as at the top of this file.

    Returns:
        `[...]`, one value a list; 0 for a blank list and for one document.

    >>> ndcgloss1(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(2.9374)
    """
    options = {"loss": "ndcgloss1", "sigma": sigma, "base": base, "gain": gain}
    scores, labels, where, weights, worth, place = _ranked(scores, labels, where, weights, generator, at, **options)
    first = worth * ops.discounts(place)
    if weights is not None:
        first = first * weights
    return _sum_over_first(sigma * scores, where, first) / math.log(base)


def _loss2(
    scores, labels, where, weights, generator, at, *, loss, gain, k, truncation, sigma, base, mu: float | None
) -> Tensor:
    choice("truncation", truncation, ("either", "both", "rescale"))
    options = {"loss": loss, "sigma": sigma, "base": base, "k": k, "gain": gain}
    scores, labels, where, weights, worth, place = _ranked(scores, labels, where, weights, generator, at, **options)
    discount = ops.discounts(place)
    delta = torch.cat([place.new_zeros(1), discount[:-1] - discount[1:]])  # delta[d], d the distance of two ranks
    if k is not None and truncation == "both":
        where = where & (place <= k)
    beyond = torch.ones_like(discount)
    if k is not None and truncation == "rescale":
        beyond = torch.where(place > k, 1 / (1 - discount), 1.0)
    index = place.long()

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        w = delta[(j(index) - i(index)).clamp_(min=0)].mul_(j(beyond))  # [r, c]: the same for every list
        if mu is not None:
            w = w.mul_(mu).add_(i(discount) - j(discount))
        return (i(worth) - j(worth)).abs_().mul_(w)

    rows = None if truncation == "rescale" else k
    return sum_by_score(sigma * scores, labels, where, weights, logistic, omega, rows=rows) / math.log(base)


@LOSSES.register(
    "ndcgloss2",
    formula="sum_{y_i > y_j} |G_i - G_j| delta(|r_i - r_j|) log_b(1 + e^{-sigma (s_i - s_j)}), "
    "delta(d) = 1/D(d) - 1/D(d+1)",
    source="Wang et al., CIKM 2018, eq. 18",
    needs="pair",
    shift_invariant=True,
    convex=False,
    bounds="1-ndcg",
    stochastic="score ties",
)
def ndcgloss2(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    truncation: Truncation2 = "either",
    sigma: float = 1.0,
    base: float = 2.0,
    at: Tensor | None = None,
) -> Tensor:
    """Pairs weighted by how near their ranks are to each other: the tightest of the family as a bound on 1 - NDCG.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights, generator, gain, sigma, base, at: as at the top of this file.
        k: cut-off; None: none.
        truncation: what k cuts. "either": pairs with one document in the top k, k x n of them; "both": pairs with both
            in the top k (allRank); "rescale": none, but delta is divided by 1 - 1/D of the lower rank where that rank
            is beyond k (Jagerman et al., 2022, the rule of rax and of TF-Ranking's V2).

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> ndcgloss2(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(0.9339)
    """
    options = {"gain": gain, "k": k, "truncation": truncation, "sigma": sigma, "base": base}
    return _loss2(scores, labels, where, weights, generator, at, loss="ndcgloss2", mu=None, **options)


@LOSSES.register(
    "ndcgloss2pp",
    formula="sum_{y_i > y_j} |G_i - G_j| (|1/D(r_i) - 1/D(r_j)| + mu delta(|r_i - r_j|)) "
    "log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Wang et al., CIKM 2018, eq. 19",
    needs="pair",
    shift_invariant=True,
    convex=False,
    bounds="1-ndcg",
    stochastic="score ties",
)
def ndcgloss2pp(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    truncation: Truncation2 = "either",
    sigma: float = 1.0,
    base: float = 2.0,
    mu: float = 10.0,
    at: Tensor | None = None,
) -> Tensor:
    """LambdaRank plus mu times NDCG-Loss2.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights, generator, gain, sigma, base, at: as at the top of this file.
        k, truncation: as in `ndcgloss2`; "rescale" touches the part of NDCG-Loss2 only.
        mu: the weight of NDCG-Loss2, >= 0; 10 as in the paper.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> ndcgloss2pp(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(11.1836)
    """
    if not mu >= 0:
        raise InputError("ndcgloss2pp needs mu >= 0", came=mu)
    options = {"gain": gain, "k": k, "truncation": truncation, "sigma": sigma, "base": base}
    return _loss2(scores, labels, where, weights, generator, at, loss="ndcgloss2pp", mu=mu, **options)


@LOSSES.register(
    "arploss1",
    formula="sum_{i != j} y_i log_b(1 + e^{-sigma (s_i - s_j)})",
    source="Wang et al., CIKM 2018, section 5.2; ARP is the average relevance position sum y_i r_i / sum y_i",
    needs="gain",
    shift_invariant=True,
    convex=True,
    bounds="rank sum",
)
def arploss1(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    sigma: float = 1.0,
    base: float = 2.0,
) -> Tensor:
    """Every document against every other one, weighted by its label: a bound on the average relevance position.

    No ranks are needed, so that it is convex. i = j is left out (pytorchltr counts it: larger by sum y).

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the terms in which their document is i.
        generator: unused.
        sigma, base: as at the top of this file.

    Returns:
        `[...]`, one value a list; 0 for a blank list and for one document.

    >>> arploss1(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(31.3385)
    """
    options = {"loss": "arploss1", "sigma": sigma, "base": base}
    scores, _, where, weights, labels, _ = _ranked(scores, labels, where, weights, None, None, **options)
    first = labels if weights is None else labels * weights
    return _sum_over_first(sigma * scores, where, first) / math.log(base)


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
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    sigma: float = 1.0,
    base: float = 2.0,
) -> Tensor:
    """Pairs weighted by the difference of their labels: a bound on how far sum y_i r_i is above its smallest value.

    It is RankNet with weighting="labeldiff", normalise="none" and a logarithm to base 2.

    Args:
        scores, labels, where: `[..., list]`.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        sigma, base: as at the top of this file.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> arploss2(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(22.0219)
    """
    if not sigma > 0 or not base > 1:
        raise InputError("arploss2 needs sigma > 0 and base > 1", came={"sigma": sigma, "base": base})
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    value, _ = sum_by_label(sigma * scores, labels, where, weights, logistic, worth=labels)
    return value / math.log(base)


# ------------------------------------------------------------------------------------- measures of relevant or not


def _binary(scores, labels, where, weights, generator, at, **options) -> tuple[_Ranked, Tensor]:
    """The ranked lists with labels 1 and 0, and the same as a mask: a document is relevant if its label is above 0."""
    lists = _ranked(scores, labels, where, weights, generator, at, **options)
    relevant = lists.labels > 0
    return lists._replace(labels=relevant.to(lists.scores.dtype)), relevant


@LOSSES.register(
    "lambdaprecision",
    formula="sum_{i relevant, j not, one of r_i, r_j <= k} log_b(1 + e^{-sigma (s_i - s_j)})",
    source="TF-Ranking's precision lambda weight; k times the change of Precision@k",
    needs="contrast",
    shift_invariant=True,
    convex=False,
    stochastic="score ties",
)
def lambdaprecision(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    k: int = 5,
    sigma: float = 1.0,
    base: float = 2.0,
    at: Tensor | None = None,
) -> Tensor:
    """Pairs whose swap changes Precision@k: one document among the k first, the other below.

    Args:
        scores, labels, where: `[..., list]`; a label above 0 is relevant.
        weights, generator, sigma, base, at: as at the top of this file.
        k: the cut-off. Lists of at most k documents have nothing to gain and value 0.

    Returns:
        `[...]`, one value a list.

    >>> lambdaprecision(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]), k=2)
    tensor(5.7802)
    """
    options = {"loss": "lambdaprecision", "sigma": sigma, "base": base, "k": k}
    lists, _ = _binary(scores, labels, where, weights, generator, at, **options)
    labels = lists.labels
    below = (lists.place > k).to(labels.dtype)

    def omega(i: ops.Pick, j: ops.Pick) -> Tensor:
        return (i(labels) - j(labels)).abs_().mul_(j(below))

    value = sum_by_score(sigma * lists.scores, labels, lists.where, lists.weights, logistic, omega, rows=k)
    return value / math.log(base)


@LOSSES.register(
    "lambdamrr",
    formula="sum_{i relevant, j not} |change of RR@k when i and j swap| log_b(1 + e^{-sigma (s_i - s_j)})",
    source="LambdaRank for the reciprocal rank: Donmez, Svore, Burges, SIGIR 2009 (recalled); weights derived",
    needs="contrast",
    shift_invariant=True,
    convex=False,
    stochastic="score ties",
)
def lambdamrr(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    k: int | None = None,
    sigma: float = 1.0,
    base: float = 2.0,
    at: Tensor | None = None,
) -> Tensor:
    """Pairs weighted by how much the reciprocal rank of the first relevant document changes when they swap.

    Args:
        scores, labels, where: `[..., list]`; a label above 0 is relevant.
        weights, generator, sigma, base, at: as at the top of this file.
        k: the reciprocal rank is 0 beyond rank k; None: no cut-off.

    Returns:
        `[...]`, one value a list.

    >>> lambdamrr(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(3.6859)
    """
    options = {"loss": "lambdamrr", "sigma": sigma, "base": base, "k": k}
    lists, relevant = _binary(scores, labels, where, weights, generator, at, **options)
    labels, place = lists.labels, lists.place
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

    value = sum_by_score(sigma * lists.scores, labels, lists.where, lists.weights, logistic, omega, rows=k)
    return value / math.log(base)


@LOSSES.register(
    "lambdamap",
    formula="sum_{i relevant, j not} |change of AP when i and j swap| log_b(1 + e^{-sigma (s_i - s_j)})",
    source="LambdaRank for average precision: Donmez, Svore, Burges, SIGIR 2009 (recalled); weights derived",
    needs="contrast",
    shift_invariant=True,
    convex=False,
    stochastic="score ties",
)
def lambdamap(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    sigma: float = 1.0,
    base: float = 2.0,
    at: Tensor | None = None,
) -> Tensor:
    """Pairs weighted by how much average precision changes when they swap.

    Args:
        scores, labels, where: `[..., list]`; a label above 0 is relevant.
        weights, generator, sigma, base, at: as at the top of this file.

    Returns:
        `[...]`, one value a list.

    >>> lambdamap(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(2.1480)
    """
    options = {"loss": "lambdamap", "sigma": sigma, "base": base}
    lists, _ = _binary(scores, labels, where, weights, generator, at, **options)
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

    return sum_by_score(sigma * lists.scores, labels, lists.where, lists.weights, logistic, omega) / math.log(base)
