"""The smoothed measures that are losses by name: NDCG, reciprocal rank, average precision at ranks of `ranks.py`, and
the squared error of these ranks."""

from __future__ import annotations

from functools import partial
from typing import Literal

from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.base import LOSSES

from .ranks import approx_ranks, average_precision, bound_ranks, missed, ndcg, reciprocal_rank

__all__ = ["adrmse", "approxap", "approxmrr", "approxndcg", "boundmrr", "boundndcg", "softrank"]

_smooth = partial(LOSSES.register, shift_invariant=True, convex=False)


def _positive(loss: str, **scales: float) -> None:
    for name, value in scales.items():
        if not value > 0:
            raise InputError(f"{loss} needs {name} > 0", came=value)


def _cut_off(loss: str, k: int | None) -> None:
    if k is not None and k < 1:
        raise InputError(f"{loss} needs k >= 1", came=k)


@_smooth(
    "approxndcg",
    formula="1 - sum_i G_i / log2(1 + rho_i), rho_i = 1 + sum_{j != i} sg((s_j - s_i) / T)",
    source="Qin, Liu, Li, Inf. Retr. 2010; Bruch et al., SIGIR 2019",
    needs="pair",
    gains=True,
)
def approxndcg(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    temperature: float = 0.1,
    cut: float = 0.5,
) -> Tensor:
    """One minus NDCG at soft ranks.

    Args:
        weights: multiply the gain of their document.
        gain: "exp2" 2^y - 1 or "linear" y.
        k: cut-off, softened by sg((k + 1/2 - rho) / cut); None: none.
        temperature: T > 0 in units of the scores. 0.1 as in TF-Ranking: at 1 (allRank) scores of ordinary size hardly
            have ranks, far below 0.1 only near ties have a gradient.
        cut: temperature of the cut-off, > 0, in ranks; 1/2: a rank above the cut-off counts 73 %, one below 27 %.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - approxndcg(s, y, temperature=1.0), 1 - approxndcg(s, y)  # the NDCG is .57735
    (tensor(0.5979), tensor(0.5773))
    """
    _positive("approxndcg", temperature=temperature, cut=cut)
    _cut_off("approxndcg", k)
    ranks = approx_ranks(scores, temperature=temperature, cut=cut)
    return missed(ndcg, ranks, labels, where, weights, gain=gain, k=k)


@_smooth(
    "softrank",
    formula="1 - sum_i G_i / log2(1 + rho_i), rho_i = 1 + sum_{j != i} Phi((s_j - s_i) / (sd sqrt 2))",
    source="expected ranks of SoftRank: Taylor et al., WSDM 2008 (recalled)",
    needs="pair",
    gains=True,
)
def softrank(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
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
        weights: multiply the gain of their document.
        gain: "exp2" 2^y - 1 or "linear" y.
        k, cut: as in `approxndcg`.
        deviation: sd > 0 of the noise, in units of the scores; 0.1 as the temperature of `approxndcg`.

    >>> 1 - softrank(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]), deviation=1.0)
    tensor(0.5934)
    """
    _positive("softrank", deviation=deviation, cut=cut)
    _cut_off("softrank", k)
    ranks = approx_ranks(scores, deviation=deviation, cut=cut)
    return missed(ndcg, ranks, labels, where, weights, gain=gain, k=k)


@_smooth(
    "approxmrr",
    formula="1 - sum_i y_i / rho_i / sum_i y_i, rho_i = 1 + sum_{j != i} sg((s_j - s_i) / T)",
    source="Qin, Liu, Li, Inf. Retr. 2010; as in TF-Ranking",
    needs="pair",
    gains="linear",
)
def approxmrr(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, temperature: float = 0.1
) -> Tensor:
    """One minus the reciprocal rank at soft ranks; with several relevant documents, their mean by label.

    No cut-off: softened, it leaves local minima in which a worse document holds the first place for good.

    Args:
        weights: multiply the term of their document.
        temperature: as in `approxndcg`.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - approxmrr(s, y, temperature=1.0), 1 - approxmrr(s, y)
    (tensor(0.3517), tensor(0.3333))
    """
    _positive("approxmrr", temperature=temperature)
    return missed(reciprocal_rank, approx_ranks(scores, temperature=temperature), labels, where, weights)


@_smooth(
    "approxap",
    formula="1 - mean over relevant i of rho_i(relevant) / rho_i(all), rho_i(A) = 1 + sum_{j in A, j != i} "
    "sg((s_j - s_i) / T)",
    source="Qin, Liu, Li, Inf. Retr. 2010 (ApproxAP)",
    needs="contrast",
    gains="linear",
)
def approxap(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, temperature: float = 0.1
) -> Tensor:
    """One minus average precision at soft ranks; a document is relevant if its label is above 0.

    Args:
        weights: multiply the precision at their document.
        temperature: as in `approxndcg`.

    >>> 1 - approxap(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # (1/2 + 2/3 + 3/4) / 3
    tensor(0.6390)
    """
    _positive("approxap", temperature=temperature)
    return missed(average_precision, approx_ranks(scores, temperature=temperature), labels, where, weights, "contrast")


@_smooth(
    "boundndcg",
    formula="1 - sum_i G_i / log2(1 + r_i^+), r_i^+ = 1 + sum_{j != i} max(0, 1 - (s_i - s_j) / scale) >= r_i",
    source="the bound of rax (bound_t12n), with the 1 that makes it one",
    needs="pair",
    gains=True,
    bounds="1-ndcg",
)
def boundndcg(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    gain: ops.Gain = "exp2",
    kind: Literal["hinge", "logistic"] = "hinge",
    scale: float = 1.0,
) -> Tensor:
    """One minus NDCG at ranks that are too large if anything: never below 1 - NDCG.

    With a cut-off it would stay a bound, but documents whose rank bound lies beyond it would have no gradient left, so
    that none is offered.

    Args:
        weights: multiply the gain of their document.
        gain: "exp2" 2^y - 1 or "linear" y.
        kind: what stands for a lost pair: "hinge" max(0, 1 - x / scale) or "logistic" log2(1 + e^{-x / scale}).
        scale: > 0, in units of the scores; smaller is tighter.

    >>> boundndcg(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # 1 - NDCG is .42265
    tensor(0.5732)
    """
    _positive("boundndcg", scale=scale)
    return missed(ndcg, bound_ranks(scores, kind=kind, scale=scale), labels, where, weights, gain=gain)


@_smooth(
    "boundmrr",
    formula="1 - sum_i y_i / r_i^+ / sum_i y_i, r_i^+ = 1 + sum_{j != i} max(0, 1 - (s_i - s_j) / scale) >= r_i",
    source="the bound of rax (bound_t12n), with the 1 that makes it one",
    needs="pair",
    gains="linear",
    bounds="1-mrr",
)
def boundmrr(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    kind: Literal["hinge", "logistic"] = "hinge",
    scale: float = 1.0,
) -> Tensor:
    """One minus the reciprocal rank at ranks that are too large if anything: never below one minus the true one.

    With several relevant documents it is their mean by label, as in `approxmrr`.

    Args:
        weights: multiply the term of their document.
        kind, scale: as in `boundndcg`.

    >>> boundmrr(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(0.8136)
    """
    _positive("boundmrr", scale=scale)
    return missed(reciprocal_rank, bound_ranks(scores, kind=kind, scale=scale), labels, where, weights)


@_smooth(
    "adrmse",
    formula="(1/n) sum_i (r_i - rho_i)^2 / log2(1 + r_i), r_i the rank by label, rho_i = 1 + sum_{j != i} "
    "sg((s_j - s_i) / T)",
    source="ADR-MSE of Rank-DistiLLM: Schlatt et al., 2405.07920; as in sentence-transformers; ties are ours",
    needs="pair",
    ordinal=True,
)
def adrmse(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, temperature: float = 1.0
) -> Tensor:
    """Squared error of smooth ranks, most at the top: distils the order of a teacher, whatever its scores mean.

    Args:
        labels: any numbers, of which only the order counts.
        weights: multiply the term of their document; the divisor stays n.
        temperature: T > 0 of the smooth ranks.

    Returns:
        `[...]`, one value a list, 0 where all labels are equal; equal labels share the mean of their ranks.

    >>> adrmse(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(1.8499)
    """
    _positive("adrmse", temperature=temperature)
    rho = approx_ranks(scores, temperature=temperature).among(where)
    n = where.sum(-1, keepdim=True)
    rank = (n + 1 + ops.count_lower(-labels, where) - ops.count_lower(labels, where)).to(rho.dtype) / 2
    terms = ((rank - rho).square() * ops.discounts(rank)).where(where & ops.differ(labels, where, keepdim=True), 0.0)
    terms = terms if weights is None else terms * weights
    return terms.sum(-1) / n.squeeze(-1).clamp(min=1)
