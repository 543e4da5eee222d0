"""Measures made smooth, as functions on functions.

A measure is written once, as a function of ranks (`ndcg`, `reciprocal_rank`, `average_precision`); what differs between
the losses is the ranks it is given.

    exact   ranks that jump: the measure itself
    approx  1 + sum_j f((s_i - s_j) / T): the measure's approximation, differentiable in the scores
    bound   ranks that are never too small: 1 minus the measure is never underestimated
    gumbel  any loss, averaged over noisy copies of the scores

`approx(measure)` and `bound(measure)` return losses like every other; those of the usual measures are registered.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES, choice, counts, require_gains
from .base import loss as by_name

__all__ = [
    "Ranks",
    "approx",
    "approxap",
    "approxmrr",
    "approxndcg",
    "average_precision",
    "bound",
    "boundmrr",
    "boundndcg",
    "exact",
    "gumbel",
    "ndcg",
    "perturbed",
    "reciprocal_rank",
    "softrank",
]


class Ranks(NamedTuple):
    """Ranks as a measure asks for them.

    Attributes:
        among: `among(mask)` is the rank `[..., list]` of every document among the documents of a mask.
        inside: `inside(rank, k)`, in [0, 1], says whether a rank is within a cut-off.
    """

    among: Callable[[Tensor], Tensor]
    inside: Callable[[Tensor, int], Tensor]


# A measure: (ranks, labels, where, **options) -> what each document adds to it, and its share of the 1 of a perfect
# list; both `[..., list]`, 0 at pads. In two parts, so that weights can multiply documents.
Measure = Callable[..., tuple[Tensor, Tensor]]


def ndcg(
    ranks: Ranks, labels: Tensor, where: Tensor, *, gain: ops.Gain = "exp2", k: int | None = None
) -> tuple[Tensor, Tensor]:
    """sum_i G_i / log2(1 + r_i), documents beyond rank k left out."""
    worth = ops.gains(labels, gain)
    ideal = ops.ideal_dcg(labels, where, gain=gain, k=k).unsqueeze(-1)
    rank = ranks.among(where)
    added = worth / ideal.where(ideal > 0, 1.0) * ops.discounts(rank)
    return (added if k is None else added * ranks.inside(rank, k)), _share(worth)


def reciprocal_rank(ranks: Ranks, labels: Tensor, where: Tensor, *, k: int | None = None) -> tuple[Tensor, Tensor]:
    """sum_i y_i / r_i / sum_i y_i: the reciprocal rank of the relevant document where there is one, a mean where there
    are more."""
    share, rank = _share(labels), ranks.among(where)
    added = share / rank
    return (added if k is None else added * ranks.inside(rank, k)), share


def average_precision(ranks: Ranks, labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the relevant documents (label above 0) of their rank among themselves over their rank among all."""
    relevant = (labels > 0) & where
    share = _share(relevant.to(labels.dtype))
    return share * ranks.among(relevant) / ranks.among(where), share


def _share(worth: Tensor) -> Tensor:
    total = worth.sum(-1, keepdim=True)
    return worth / total.where(total > 0, 1.0)


# ------------------------------------------------------------------------------------------------------------ ranks


def exact(scores: Tensor) -> Ranks:
    """The ranks themselves, no gradient: equal scores share the smallest rank."""

    def among(mask: Tensor) -> Tensor:
        return 1 + ops.count_lower(-scores, mask) + _above_of_others(scores, mask)

    return Ranks(lambda mask: among(mask).to(scores.dtype), lambda rank, k: (rank <= k).to(scores.dtype))


def _above_of_others(scores: Tensor, mask: Tensor) -> Tensor:
    """Documents of the mask above each document that is not in it (`count_lower` gives 0 there)."""
    key = (-scores).masked_fill(~mask, math.inf).sort(dim=-1).values
    return torch.searchsorted(key, (-scores).contiguous(), right=False).masked_fill(mask, 0)


def _logistic(temperature: float) -> ops.Step:
    """sg(-x / T) = 1/2 - tanh(x / 2T) / 2."""
    quarter = 0.25 / temperature
    return ops.Step(0.5 / temperature, torch.tanh_, 0.5, -0.5, lambda x: x.tanh_().square_(), -quarter, quarter)


def _gaussian(deviation: float) -> ops.Step:
    """Phi(-x / (sd sqrt 2)) = 1/2 - erf(x / 2 sd) / 2."""

    def slope(x: Tensor) -> Tensor:
        return x.square_().neg_().exp_()

    return ops.Step(0.5 / deviation, torch.erf_, 0.5, -0.5, slope, 0.0, -0.5 / (deviation * math.sqrt(math.pi)))


def _hinge(margin: float) -> ops.Step:
    """max(0, 1 - x / margin)."""
    return ops.Step(
        1 / margin, lambda x: x.neg_().add_(1).clamp_(min=0), 0.0, 1.0, lambda x: (x < 1).to(x.dtype), 0.0, -1 / margin
    )


def _logistic2(temperature: float) -> ops.Step:
    """log2(1 + e^{-x / T})."""
    unit = 1 / math.log(2)
    value, slope = (lambda x: ops.logistic(x)[0]), (lambda x: ops.logistic(x)[1])
    return ops.Step(1 / temperature, value, 0.0, unit, slope, 0.0, unit / temperature)


def _smooth(scores: Tensor, step: ops.Step, inside: Callable[[Tensor, int], Tensor]) -> Ranks:
    return Ranks(lambda mask: ops.soft_ranks(scores, mask, step), inside)


def _missed(
    measure: Measure, ranks: Callable[[Tensor], Ranks], scores, labels, where, weights, needs, **options
) -> Tensor:
    """One minus the measure at these ranks, a document's part multiplied by its weight."""
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    require_gains(labels, measure.__name__, exp2=options.get("gain") == "exp2")
    added, share = measure(ranks(scores), labels, where, **options)
    part = (share - added).masked_fill(~where, 0.0)
    if weights is not None:
        part = part * weights
    return part.sum(-1) * counts(labels, where, needs)


def _positive(loss: str, **scales: float) -> None:
    for name, value in scales.items():
        if not value > 0:
            raise InputError(f"{loss} needs {name} > 0", came=value)


def _cut_off(loss: str, k: int | None) -> None:
    if k is not None and k < 1:
        raise InputError(f"{loss} needs k >= 1", came=k)


def approx(
    measure: Measure, *, needs: str = "pair", temperature: float = 0.1, deviation: float | None = None, cut: float = 0.5
) -> Callable[..., Tensor]:
    """The loss 1 - measure at soft ranks, 1 + sum over j != i of the chance that j beats i.

    Args:
        measure: a function of ranks, such as `ndcg`.
        needs: which lists have a value; see `LOSSES`.
        temperature: of the logistic chance sg((s_j - s_i) / T).
        deviation: instead, the chance under normal noise of this standard deviation on every score.
        cut: temperature of the soft cut-off sg((k + 1/2 - r) / cut), in ranks.

    >>> worked = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - approx(ndcg, temperature=0.01)(*worked)  # the NDCG is .57735
    tensor(0.5774)
    """
    step = _logistic(temperature) if deviation is None else _gaussian(deviation)

    def inside(rank: Tensor, k: int) -> Tensor:
        return torch.sigmoid((k + 0.5 - rank) / cut)

    def approximated(scores, labels, where=None, *, weights=None, generator=None, **options) -> Tensor:
        ranks = lambda s: _smooth(s, step, inside)  # noqa: E731
        return _missed(measure, ranks, scores, labels, where, weights, needs, **options)

    return approximated


def bound(
    measure: Measure, *, needs: str = "pair", kind: Literal["hinge", "logistic"] = "hinge", scale: float = 1.0
) -> Callable[..., Tensor]:
    """The loss 1 - measure at ranks that are too large if anything, so that it is never below 1 minus the true measure.

    A rank is 1 plus a count of lost pairs, and max(0, 1 - x) and log2(1 + e^-x) are at least 1 where x <= 0. The claim
    holds for measures that fall with every rank: `ndcg` and `reciprocal_rank`, not `average_precision`, whose
    numerators are ranks too, and which is refused.
    """
    choice("kind", kind, ("hinge", "logistic"))
    if measure is average_precision:
        raise InputError(
            "average precision has ranks in its numerators: no bound follows from ranks that are too large",
            do="Bound NDCG or the reciprocal rank, or take approx(average_precision).",
        )
    step = _hinge(scale) if kind == "hinge" else _logistic2(scale)

    def inside(rank: Tensor, k: int) -> Tensor:  # never above 1[true rank <= k]
        return (k + 1 - rank).clamp(0.0, 1.0)

    def bounded(scores, labels, where=None, *, weights=None, generator=None, **options) -> Tensor:
        ranks = lambda s: _smooth(s, step, inside)  # noqa: E731
        return _missed(measure, ranks, scores, labels, where, weights, needs, **options)

    return bounded


# ------------------------------------------------------------------------------------------------------- registered


@LOSSES.register(
    "approxndcg",
    formula="1 - sum_i G_i / log2(1 + rho_i), rho_i = 1 + sum_{j != i} sg((s_j - s_i) / T)",
    source="Qin, Liu, Li, Inf. Retr. 2010; Bruch et al., SIGIR 2019",
    needs="pair",
    shift_invariant=True,
    convex=False,
)
def approxndcg(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    temperature: float = 0.1,
    cut: float = 0.5,
) -> Tensor:
    """One minus NDCG at soft ranks.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the gain of their document.
        generator: unused.
        gain: "exp2" 2^y - 1 or "linear" y.
        k: cut-off, softened by sg((k + 1/2 - rho) / cut); None: none.
        temperature: T > 0 in units of the scores. 0.1 as in TF-Ranking: at 1 (allRank) scores of ordinary size hardly
            have ranks, far below 0.1 only near ties have a gradient.
        cut: temperature of the cut-off, > 0, in ranks; 1/2: a rank above the cut-off counts 73 %, one below 27 %.

    Returns:
        `[...]`, one value a list; 0 for a list whose labels are all equal.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - approxndcg(s, y, temperature=1.0), 1 - approxndcg(s, y)  # the NDCG is .57735
    (tensor(0.5979), tensor(0.5773))
    """
    _positive("approxndcg", temperature=temperature, cut=cut)
    _cut_off("approxndcg", k)
    f = approx(ndcg, temperature=temperature, cut=cut)
    return f(scores, labels, where, weights=weights, gain=gain, k=k)


@LOSSES.register(
    "softrank",
    formula="1 - sum_i G_i / log2(1 + rho_i), rho_i = 1 + sum_{j != i} Phi((s_j - s_i) / (sd sqrt 2))",
    source="expected ranks of SoftRank: Taylor et al., WSDM 2008 (recalled)",
    needs="pair",
    shift_invariant=True,
    convex=False,
)
def softrank(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    deviation: float = 0.1,
    cut: float = 0.5,
) -> Tensor:
    """One minus NDCG at the ranks expected when every score carries normal noise.

    rho is exactly the expected rank. The paper goes on to the whole distribution of each rank, at a cost of n^3, and
    takes the expected discount; here it is the discount of the expected rank. On the worked list that is .5934 where
    the paper's is .6191 at sd 1, and both are .5774, the NDCG itself, at 0.1.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the gain of their document.
        generator: unused.
        gain: "exp2" 2^y - 1 or "linear" y.
        k, cut: as in `approxndcg`.
        deviation: sd > 0 of the noise, in units of the scores; 0.1 as the temperature of `approxndcg`.

    Returns:
        `[...]`, one value a list; 0 for a list whose labels are all equal.

    >>> 1 - softrank(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]), deviation=1.0)
    tensor(0.5934)
    """
    _positive("softrank", deviation=deviation, cut=cut)
    _cut_off("softrank", k)
    f = approx(ndcg, deviation=deviation, cut=cut)
    return f(scores, labels, where, weights=weights, gain=gain, k=k)


@LOSSES.register(
    "approxmrr",
    formula="1 - sum_i y_i / rho_i / sum_i y_i, rho_i = 1 + sum_{j != i} sg((s_j - s_i) / T)",
    source="Qin, Liu, Li, Inf. Retr. 2010; as in TF-Ranking",
    needs="pair",
    shift_invariant=True,
    convex=False,
)
def approxmrr(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 0.1,
) -> Tensor:
    """One minus the reciprocal rank at soft ranks; with several relevant documents, their mean by label.

    No cut-off: softened, it leaves local minima in which a worse document holds the first place for good.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the term of their document.
        generator: unused.
        temperature: as in `approxndcg`.

    Returns:
        `[...]`, one value a list; 0 for a list whose labels are all equal.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - approxmrr(s, y, temperature=1.0), 1 - approxmrr(s, y)
    (tensor(0.3517), tensor(0.3333))
    """
    _positive("approxmrr", temperature=temperature)
    return approx(reciprocal_rank, temperature=temperature)(scores, labels, where, weights=weights)


@LOSSES.register(
    "approxap",
    formula="1 - mean over relevant i of rho_i(relevant) / rho_i(all), rho_i(A) = 1 + sum_{j in A, j != i} "
    "sg((s_j - s_i) / T)",
    source="Qin, Liu, Li, Inf. Retr. 2010 (ApproxAP)",
    needs="contrast",
    shift_invariant=True,
    convex=False,
)
def approxap(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    temperature: float = 0.1,
) -> Tensor:
    """One minus average precision at soft ranks; a document is relevant if its label is above 0.

    Args:
        scores, labels, where: `[..., list]`.
        weights: multiply the precision at their document.
        generator: unused.
        temperature: as in `approxndcg`.

    Returns:
        `[...]`, one value a list; 0 for a list that is all relevant or all not.

    >>> 1 - approxap(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # (1/2 + 2/3 + 3/4) / 3
    tensor(0.6390)
    """
    _positive("approxap", temperature=temperature)
    return approx(average_precision, needs="contrast", temperature=temperature)(scores, labels, where, weights=weights)


@LOSSES.register(
    "boundndcg",
    formula="1 - sum_i G_i / log2(1 + r_i^+), r_i^+ = 1 + sum_{j != i} max(0, 1 - (s_i - s_j) / scale) >= r_i",
    source="the bound of rax (bound_t12n), with the 1 that makes it one",
    needs="pair",
    shift_invariant=True,
    convex=False,
    bounds="1-ndcg",
)
def boundndcg(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    gain: ops.Gain = "exp2",
    kind: Literal["hinge", "logistic"] = "hinge",
    scale: float = 1.0,
) -> Tensor:
    """One minus NDCG at ranks that are too large if anything: never below 1 - NDCG.

    `bound(ndcg)` takes a cut-off and stays a bound with it, but documents whose rank bound lies beyond it have no
    gradient left, so that none is offered here.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the gain of their document.
        generator: unused.
        gain: "exp2" 2^y - 1 or "linear" y.
        kind: what stands for a lost pair: "hinge" max(0, 1 - x / scale) or "logistic" log2(1 + e^{-x / scale}).
        scale: > 0, in units of the scores; smaller is tighter.

    Returns:
        `[...]`, one value a list; 0 for a list whose labels are all equal.

    >>> boundndcg(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # 1 - NDCG is .42265
    tensor(0.5732)
    """
    _positive("boundndcg", scale=scale)
    return bound(ndcg, kind=kind, scale=scale)(scores, labels, where, weights=weights, gain=gain)


@LOSSES.register(
    "boundmrr",
    formula="1 - sum_i y_i / r_i^+ / sum_i y_i, r_i^+ = 1 + sum_{j != i} max(0, 1 - (s_i - s_j) / scale) >= r_i",
    source="the bound of rax (bound_t12n), with the 1 that makes it one",
    needs="pair",
    shift_invariant=True,
    convex=False,
    bounds="1-mrr",
)
def boundmrr(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    kind: Literal["hinge", "logistic"] = "hinge",
    scale: float = 1.0,
) -> Tensor:
    """One minus the reciprocal rank at ranks that are too large if anything: never below one minus the true one.

    With several relevant documents it is their mean by label, as in `approxmrr`.

    Args:
        scores, labels, where: `[..., list]`; labels >= 0.
        weights: multiply the term of their document.
        generator: unused.
        kind, scale: as in `boundndcg`.

    Returns:
        `[...]`, one value a list; 0 for a list whose labels are all equal.

    >>> boundmrr(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(0.8136)
    """
    _positive("boundmrr", scale=scale)
    return bound(reciprocal_rank, kind=kind, scale=scale)(scores, labels, where, weights=weights)


# ------------------------------------------------------------------------------------------------------------- noise


def perturbed(f: Callable[..., Tensor], *, samples: int = 8, scale: float = 1.0) -> Callable[..., Tensor]:
    """The loss f averaged over `samples` copies of the scores with Gumbel noise; without a generator, f itself."""

    def noisy(scores, labels, where=None, *, weights=None, generator=None, **options) -> Tensor:
        if generator is None:
            return f(scores, labels, where, weights=weights, **options)
        scores = ops.exact(scores)
        noise = ops.gumbel((samples, *scores.shape), generator).to(scores.device, scores.dtype)
        wide = [None if t is None else t.expand(noise.shape) for t in (labels, where, weights)]
        values = f(scores + scale * noise, wide[0], wide[1], weights=wide[2], generator=generator, **options)
        return values.mean(0)

    return noisy


@LOSSES.register(
    "gumbel",
    formula="(1/N) sum_n f(s + scale Gumbel_n), f any loss of the catalogue",
    source="Bruch, Han, Bendersky, Najork, WSDM 2020; as in rax",
    needs="pair",
    wraps="of",
    shift_invariant=True,
    stochastic=True,
)
def gumbel(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    of: str = "approxndcg",
    samples: int = 8,
    scale: float = 1.0,
    params: dict[str, Any] | None = None,
) -> Tensor:
    """Any loss, averaged over copies of the scores with Gumbel noise: rankings drawn from Plackett-Luce, not one alone.

    Claims are those of the default; which lists count is up to the loss that is wrapped.

    Args:
        scores, labels, where: `[..., list]`.
        weights: as in the wrapped loss.
        generator: draws the noise; None: no noise, the wrapped loss itself.
        of: name of the wrapped loss.
        samples: N copies, 8 as in rax and TF-Ranking. The cost grows with it.
        scale: of the noise, in units of the scores; at 1 sorting the noisy scores is a Plackett-Luce draw.
        params: parameters of the wrapped loss.

    Returns:
        `[...]`, one value a list.

    >>> gumbel(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]), of="ranknet")  # no generator, no noise
    tensor(1.3976)
    """
    if samples < 1 or not scale > 0:
        raise InputError("gumbel needs samples >= 1 and scale > 0", came={"samples": samples, "scale": scale})
    if of == "gumbel":
        raise InputError("gumbel wraps another loss, not itself", came=of)
    inner = by_name(of, **(params or {}))
    return perturbed(inner, samples=samples, scale=scale)(scores, labels, where, weights=weights, generator=generator)
