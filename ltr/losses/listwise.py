"""Losses on a distribution over the documents of a list: softmax(scores) against what the labels say."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES, require_gains

__all__ = ["listnet", "polysoftmax", "uniquesoftmax", "xendcg"]


def _target(
    loss: str, labels: Tensor, where: Tensor | None, target: ops.Target, gain: ops.Gain | None, **options: Any
) -> Tensor:
    if gain is not None and target != "gain":
        raise InputError(f"{loss}: gain belongs to the gain target", came={"target": target, "gain": gain})
    gain = gain or "exp2"
    if target != "soft":
        require_gains(labels, f"{loss}(target={target!r})", exp2=(target, gain) == ("gain", "exp2"))
    return ops.list_target(labels, where, target, gain=gain, **options)


@LOSSES.register(
    "listnet",
    formula="- sum_i z_i log softmax(s)_i",
    source="Cao et al., ICML 2007 (top-one form; their target is soft, T = 1); gain target: Bruch, 2021",
    needs="pair",
    shift_invariant=True,
    convex=True,
)
def listnet(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    padded: bool,
    target: ops.Target = "gain",
    eps: float = 0.0,
    temperature: float = 1.0,
    gain: ops.Gain | None = None,
) -> Tensor:
    """Softmax cross entropy between a target distribution made of the labels and softmax(scores).

    Args:
        weights: multiply the term of their document, after the target is normalised.
        target: "gain" z ~ g(y), "lin" z ~ y, "soft" z = softmax(y / temperature). The best scores under noisy labels
            are log E[z], so the target says by what lists get sorted: "gain" sorts by the expected gain that NDCG
            counts, hence the default; "soft" is the paper's, nearly uniform on long lists of low grades.
        eps: "gain" only: added to every gain, so that no document is pushed to minus infinity.
        temperature: "soft" only: T.
        gain: "gain" only: g is 2^y - 1 ("exp2", the default) or y ("linear").

    Returns:
        `[...]`, one value a list, in nats; never below the entropy of the target; 0 where all labels are equal.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> [round(listnet(s, y, target=t).item(), 5) for t in ("gain", "lin", "soft")]
    [2.22278, 2.2046, 2.15261]
    """
    mask = where if padded else None
    z = _target("listnet", labels, mask, target, gain, eps=eps, temperature=temperature)
    if weights is not None:
        z = z * weights
    return -(z * ops.log_softmax(scores, mask)).sum(-1)


@LOSSES.register(
    "polysoftmax",
    formula="- sum_i z_i log softmax(s)_i + eps (1 - sum_i z_i softmax(s)_i)",
    source="Leng et al., ICLR 2022 (PolyLoss), as in rax and TF-Ranking (poly1 softmax)",
    needs="pair",
    shift_invariant=True,
)
def polysoftmax(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    padded: bool,
    target: ops.Target = "gain",
    eps: float = 1.0,
    gain: ops.Gain | None = None,
) -> Tensor:
    """ListNet with more weight on the first term of the logarithm's series: a stronger pull near the target.

    Args:
        weights: multiply the terms of their document, after the target is normalised.
        target, gain: as in `listnet`.
        eps: how much more of the first term, >= -1; 1 as in rax and TF-Ranking; 0 is ListNet.

    >>> polysoftmax(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(3.1040)
    """
    if not eps >= -1:
        raise InputError("polysoftmax needs eps >= -1", came=eps)
    mask = where if padded else None
    z = _target("polysoftmax", labels, mask, target, gain)
    if weights is not None:
        z = z * weights
    logp = ops.log_softmax(scores, mask)
    return (z * (eps * (1 - logp.exp()) - logp)).sum(-1)


@LOSSES.register(
    "uniquesoftmax",
    formula="(1/c) sum_i g_i [ log( e^{s_i} + sum_{y_j < y_i} e^{s_j} ) - s_i ], c = sum g (c = 1: normalise=none)",
    source="Zhu and Klabjan, WSDM 2020; as in rax",
    needs="pair",
    gains=True,
    shift_invariant=True,
    convex=True,
)
def uniquesoftmax(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    gain: ops.Gain = "exp2",
    normalise: Literal["gains", "none"] = "gains",
) -> Tensor:
    """Every document competes with the documents of smaller labels only, never with its equals.

    A sort and a running sum, n log n: the sums over smaller labels are shared by all documents.

    Args:
        weights: multiply the term of their document.
        gain: g is 2^y - 1 ("exp2") or y ("linear").
        normalise: "gains" divides by the sum of g, "none" is the paper's sum, in which a list with a grade 4 weighs
            fifteen times one with a grade 1.

    Returns:
        `[...]`, one value a list, in nats; 0 without an ordered pair.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> uniquesoftmax(s, y), uniquesoftmax(s, y, normalise="none")
    (tensor(2.1690), tensor(23.8592))
    """
    worth = ops.gains(labels, gain)
    if normalise == "gains":
        total = worth.sum(-1, keepdim=True)
        worth = worth / total.where(total > 0, 1.0)
    order = ops.order(labels, where)
    scores, labels, where, weights, worth = ops.in_order(order, scores, labels, where, weights, worth)
    lower = ops.count_lower(labels, where)
    sums = ops.reversed_logcumsumexp(scores, where)  # over the documents from here down: those below stand at n - lower
    first = (where.sum(-1, keepdim=True) - lower).clamp(max=scores.shape[-1] - 1)
    terms = torch.nn.functional.softplus(sums.gather(-1, first) - scores).masked_fill(lower == 0, 0.0)
    value: Tensor = terms * worth * (1.0 if weights is None else weights)
    return value.sum(-1)


@LOSSES.register(
    "xendcg",
    formula="- sum_i phi_i log softmax(s)_i, phi_i ~ 2^{y_i} - c_i, c_i uniform in [0, 1] anew at each call",
    source="Bruch, WWW 2021 (XE_NDCG); LightGBM's rank_xendcg",
    needs="pair",
    gains="exp2",
    shift_invariant=True,
    convex=True,
    stochastic=True,
)
def xendcg(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, generator: torch.Generator | None
) -> Tensor:
    """Softmax cross entropy with a randomised gain target; convex, and tied to NDCG by a bound of the paper (recalled).

    Args:
        weights: multiply the term of their document, after the target is normalised.
        generator: draws c, one number a document; None: c = 1/2, its mean.

    Returns:
        `[...]`, one value a list, in nats; 0 where all labels are equal (LightGBM pulls scores together there).

    >>> xendcg(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(2.1431)
    """
    c: float | Tensor = 0.5
    if generator is not None:
        c = torch.rand(scores.shape, generator=generator, device=generator.device).to(scores.device, scores.dtype)
    phi = (torch.exp2(labels) - c).masked_fill(~where, 0.0)
    phi = phi / phi.sum(-1, keepdim=True).clamp(min=0.5) * ops.differ(labels, where, keepdim=True)
    if weights is not None:
        phi = phi * weights
    return -(phi * ops.log_softmax(scores, where)).sum(-1)
