"""Losses of what a list as a whole shows, for labels that are groups or categories: see the measures of that name.

As objectives they need no gain: `losses` of a method names them beside the ranking loss of its other objectives, and
`measures` what they are judged by (ExposureParity, alphaNDCG).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES
from .smooth.ranks import Ranks, approx_ranks, missed

__all__ = ["alphandcg", "exposureparity"]


@LOSSES.register(
    "exposureparity",
    formula="(e_0 - e_1)^2 / e^2, e_g, e the means of 1 / log2(1 + rho_i) over i in g and over all, rho_i = 1 + "
    "sum_{j != i} sg((s_j - s_i) / T)",
    source="demographic parity of exposure: Singh and Joachims, KDD 2018; the soft ranks of ApproxNDCG are ours",
    needs="contrast",
    shift_invariant=True,
    convex=False,
    sorts=False,
)
def exposureparity(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, temperature: float = 0.1
) -> Tensor:
    """What keeps the mean attention to a group's documents from that to the others, over the mean of all.

    Args:
        labels: the group is where they are above 0.
        weights: multiply what their document adds to the gap, in one of its two factors.
        temperature: T > 0, as in `approxndcg`.

    >>> exposureparity(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 1, 0, 0]))  # e_0, e_1, e: .715, .565, .64
    tensor(0.0546)
    """
    if not temperature > 0:
        raise InputError("exposureparity needs temperature > 0", came=temperature)
    inside = (labels > 0) & where
    n, n_1 = (mask.sum(-1, keepdim=True).to(scores.dtype) for mask in (where, inside))
    seen = ops.discounts(approx_ranks(scores, temperature=temperature).among(where)).masked_fill(~where, 0.0)
    share = torch.where(inside, -n / n_1.clamp(min=1), n / (n - n_1).clamp(min=1)) * ((n_1 > 0) & (n_1 < n))
    added = share * seen / seen.sum(-1, keepdim=True).clamp(min=torch.finfo(seen.dtype).tiny)
    return added.sum(-1) * (added if weights is None else added * weights).sum(-1)


@LOSSES.register(
    "alphandcg",
    formula="1 - sum_i [y_i > 0] (1 - alpha)^{rho_i(own) - 1} / log2(1 + rho_i) / ideal, rho_i(A) = 1 + "
    "sum_{j in A, j != i} sg((s_j - s_i) / T), own: documents with the category y_i",
    source="Yan et al., WWW 2021 (DALETOR), one category a document (recalled); the measure Clarke et al., SIGIR 2008",
    needs="pair",
    gains="linear",
    shift_invariant=True,
    convex=False,
    sorts=False,
)
def alphandcg(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    alpha: float = 0.5,
    k: int | None = None,
    temperature: float = 0.1,
    cut: float = 0.5,
) -> Tensor:
    """One minus alpha-nDCG at soft ranks: documents of one category push each other down.

    A batch takes memory of its (list, category) pairs times the largest of them.

    Args:
        labels: numbers of categories, 0 of none.
        weights: multiply what their document adds.
        alpha: how much less each further document of a category counts, 0 < alpha < 1.
        k, temperature, cut: as in `approxndcg`.

    Returns:
        `[...]`, one value a list; 0 for a list of one category.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 2, 1, 0])
    >>> 1 - alphandcg(s, y), 1 - alphandcg(s, y, temperature=0.01)  # the alpha-nDCG is .9652
    (tensor(0.9646), tensor(0.9652))
    """
    if not 0 < alpha < 1:
        raise InputError("alphandcg needs alpha between 0 and 1, both excluded", came=alpha)
    if not (temperature > 0 and cut > 0 and (k is None or k >= 1)):
        raise InputError("alphandcg needs temperature > 0, cut > 0, k >= 1", came=(temperature, cut, k))
    own, place = _within_category(scores, labels, where, temperature)
    useful = ((labels > 0) & where).to(scores.dtype)

    def measure(ranks: Ranks, labels: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        rank = ranks.among(where)
        added = (1 - alpha) ** (own - 1) * useful * ops.discounts(rank)
        added = added if k is None else added * ranks.inside(rank, k)
        alone = ((1 - alpha) ** place * useful).sort(dim=-1, descending=True).values
        slots = torch.arange(1, alone.shape[-1] + 1, device=alone.device, dtype=alone.dtype)
        ideal = (alone * ops.discounts(slots, k)).sum(-1, keepdim=True)
        share = useful / useful.sum(-1, keepdim=True).clamp(min=1)
        return added / ideal.where(ideal > 0, 1.0), share

    ranks = approx_ranks(scores, temperature=temperature, cut=cut)
    return missed(measure, ranks, labels, where, weights)


def _within_category(scores: Tensor, labels: Tensor, where: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Soft rank of each document among those of its list and category, and its place among them as they lie, from 0."""
    order = labels.masked_fill(~where, torch.inf).argsort(dim=-1, stable=True)
    s, y, real = (x.gather(-1, order) for x in (scores, labels, where))
    head = torch.ones_like(real)
    head[..., 1:] = (y[..., 1:] != y[..., :-1]) | (real[..., 1:] != real[..., :-1])
    starts = head.flatten().nonzero().squeeze(-1)
    run = head.flatten().cumsum(0) - 1
    place = torch.arange(len(run), device=run.device) - starts[run] if len(run) else run
    size = (len(starts), int(place.max()) + 1 if len(place) else 0)
    box = s.new_zeros(size).index_put((run, place), s.flatten())
    held = real.new_zeros(size).index_put((run, place), real.flatten())
    among = approx_ranks(box, temperature=temperature).among(held)[run, place].view_as(s)
    back = order.argsort(-1)
    return among.gather(-1, back), place.view_as(order).gather(-1, back).to(scores.dtype)
