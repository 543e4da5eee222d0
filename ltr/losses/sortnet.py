"""A differentiable sorting network: a fixed wiring of compare-and-swap, each a mixture of both outcomes."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES, counts, normalised_gains

__all__ = ["sortnetndcg"]


@LOSSES.register(
    "sortnetndcg",
    formula="1 - sum_{i <= k} (X g)_i / D(i) / IDCG@k, X the product of the layers of soft swaps",
    source="networks: Petersen et al., 2021 and 2022 (diffsort); as NDCG: diffNDCG, 2410.18127",
    needs="pair",
    gains=True,
    shift_invariant=True,
    convex=False,
)
def sortnetndcg(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    steepness: float = 10.0,
    swap: Literal["cauchy", "logistic"] = "cauchy",
) -> Tensor:
    """One minus the NDCG of a list sorted by a bitonic network whose swaps are soft.

    A swap of a and b leaves f a + (1 - f) b on the upper wire and the rest on the lower one, f the chance that a
    belongs above. X, the product of all layers, is doubly stochastic by construction, but it is never formed: the gains
    ride through the network beside the scores, n log^2 n time and memory where X would need n^2 a layer.

    The result depends on which wire a document enters. Documents enter sorted by label, the worst first, and by score
    within a label, so that the loss is a continuous function of the list as a set; a network fed in file order is not.

    Args:
        weights: multiply the gain of their document.
        gain: "exp2" 2^y - 1 or "linear" y.
        k: cut-off of the NDCG; None: none.
        steepness: of a swap, > 0, per unit of score; 10 as in diffsort. For larger ones the loss becomes 1 - NDCG.
        swap: f(x) is 1/2 + atan(steepness x) / pi ("cauchy", diffsort's default, whose gradient fades slowly) or
            1 / (1 + e^{-steepness x}) ("logistic").

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - sortnetndcg(s, y), 1 - sortnetndcg(s, y, steepness=1000.0)  # the NDCG is .57735
    (tensor(0.5845), tensor(0.5774))
    """
    if not steepness > 0 or (k is not None and k < 1):
        raise InputError("sortnetndcg needs steepness > 0 and k >= 1", came={"steepness": steepness, "k": k})
    worth, perfect = normalised_gains(labels, where, weights, gain, k)
    ordered = counts(labels, where, "pair")
    index = ops.order(scores, where, descending=False)
    index = index.gather(-1, ops.order(labels.gather(-1, index), where.gather(-1, index), descending=False))
    scores, where, worth = ops.in_order(index, scores, where, worth)
    worth = _sort_gains(scores, where, worth, steepness, swap)
    place = torch.arange(1, worth.shape[-1] + 1, device=worth.device, dtype=worth.dtype)
    gained = (worth * ops.discounts(place, k)).sum(-1)
    return (perfect - gained) * ordered


def _sort_gains(scores: Tensor, where: Tensor, gains: Tensor, steepness: float, swap: str) -> Tensor:
    """The gains after the network has sorted the scores, the largest first; pads stand last and stay there.

    Every comparison points the same way, so that a pad on the last wires never moves. A list only takes part in the
    stages its own length asks for: the wider ones, there for longer lists of the batch, would mix it again.
    """
    n = scores.shape[-1]
    width = 1 << max(n - 1, 0).bit_length()
    extra = (0, width - n)
    wires = torch.stack([torch.nn.functional.pad(t, extra) for t in (scores, gains)])  # [2, ..., width]
    real = torch.nn.functional.pad(where, extra)
    length = where.sum(-1)
    wire = torch.arange(width, device=scores.device)
    for stage in range(1, int(math.log2(width)) + 1):
        block = 1 << stage
        takes_part = (length > block // 2).unsqueeze(-1)
        for step in range(stage, 0, -1):
            # First each wire against its mirror image in the block, then against the one half a sub-block away.
            partner = wire ^ (block - 1) if step == stage else wire ^ (1 << (step - 1))
            other = wires[..., partner]
            x = wires[0] - other[0]  # odd in the exchange of the two, so that both wires agree on f
            above = wire < partner
            f = torch.atan(steepness * x) / math.pi + 0.5 if swap == "cauchy" else torch.sigmoid(steepness * x)
            keep = torch.where(above, f, 1 - f)  # the chance that a wire keeps what it has
            active = real & real[..., partner] & takes_part
            wires = torch.where(active, keep * wires + (1 - keep) * other, wires)
    return wires[1][..., :n]
