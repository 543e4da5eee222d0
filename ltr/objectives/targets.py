"""Targets of a list, one an objective, and what happens where an objective says nothing about a list.

Shapes: labels and targets `[..., list, objective]`, values of losses `[..., objective]`, a preference `[objective]` or
one a list, `[..., objective]`. Pads are excluded by `where` `[..., list]`, never by a label.

**Blank objectives.** An objective whose labels are all equal on a list (all 0, or any other grade) has nothing to say
there: every ranking is worth the same to it (`ops.differ`). It drops out of that list's sum and the remaining weights
are *not* renormalised: else w would mean something else from list to list. Its target is all zeros, so that a cross
entropy against it is 0 with gradient 0 by itself; a uniform target would pull scores together. The best order of a
weighted sum is the same either way, since a uniform share adds a constant. Public code leaves out lists of zeros only
(rax, TF-Ranking) or none (allRank); the papers do not say.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

__all__ = [
    "arithmetic_mix",
    "counting",
    "geometric_mix",
    "list_targets",
    "mean_losses",
    "oracle_scores",
    "weighted_sum",
]


def counting(labels: Tensor, where: Tensor | None = None) -> Tensor:
    """Which objectives say something about which list, bool `[..., objective]`: those whose labels differ.

    >>> counting(torch.tensor([[[1.0, 0.0], [2.0, 0.0]]]))
    tensor([[ True, False]])
    """
    return ops.differ(labels.mT, None if where is None else where.unsqueeze(-2))


def list_targets(
    labels: Tensor,
    where: Tensor | None = None,
    kind: ops.Target = "gain",
    *,
    gain: ops.Gain | Sequence[ops.Gain] = "exp2",
    eps: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """z^k of every objective, `[..., list, objective]`: at least 0, sums to 1 over the list, all 0 where blank.

    Args:
        labels: `[..., list, objective]`.
        where: `[..., list]`; None: every document is real.
        kind, eps, temperature: as `ops.list_target`.
        gain: g of "gain", one for all objectives or one each.

    >>> list_targets(torch.tensor([[1.0, 3.0], [3.0, 0.0], [0.0, 1.0], [2.0, 0.0]]), kind="lin")[:, 0]
    tensor([0.1667, 0.5000, 0.0000, 0.3333])
    """
    given = {"eps": eps, "temperature": temperature}
    return torch.stack([ops.list_target(y, where, kind, gain=g, **given) for y, g in _with_gains(labels, gain)], -1)


def weighted_sum(values: Tensor, preference: Tensor, counts: Tensor | None = None) -> Tensor:
    """sum_k w_k l_k over the objectives that count, `[...]`; the weights of the others are lost, not shared out.

    Args:
        values: `[..., objective]`, one value a list and objective.
        preference: `[objective]` or `[..., objective]`.
        counts: bool `[..., objective]`, of `counting`; None: all count.
    """
    values = values if counts is None else values.where(counts, 0.0)
    return (values * preference).sum(-1)


def mean_losses(values: Tensor, counts: Tensor | None = None) -> Tensor:
    """l_k over a batch, `[objective]`: the sum over the lists where k counts, divided by the lists where any counts.

    The divisor is one for all objectives, so that sum_k w_k l_k is the mean of `weighted_sum` over those lists: a step
    on the vector of losses and a step on their sum are the same step. 0, connected to the graph, when nothing counts.

    Args:
        values: `[..., objective]`, one value a list and objective.
        counts: bool `[..., objective]`; None: all count.
    """
    values = values.reshape(-1, values.shape[-1])
    if counts is None:
        return values.sum(0) / max(len(values), 1)
    counts = counts.reshape(values.shape)
    return values.where(counts, 0.0).sum(0) / counts.any(-1).sum().clamp(min=1)


def arithmetic_mix(targets: Tensor, preference: Tensor) -> Tensor:
    """sum_k w_k z^k, `[..., list]`: what linear scalarisation, DPO-LS, SLA and HyperDPO at this w all aim at.

    Blank objectives are all zeros and leave a sum below 1, as their weight is lost.
    """
    return (targets * preference.unsqueeze(-2)).sum(-1)


def geometric_mix(targets: Tensor, preference: Tensor) -> Tensor:
    """prod_k (z^k)^{w_k}, normalised over the list, `[..., list]`: where MOD, ideal soups and list MODPO end up.

    A zero of any z^k with w_k > 0 is a zero of the mix. An objective that is blank on the list (z^k all zeros) drops
    out. The mix is all zeros where no document is left, or no weight.
    """
    blank = (targets == 0).all(-2, keepdim=True)
    w = preference.unsqueeze(-2) * ~blank
    # 0 log 0 = 0: an objective of weight 0 has no say, zeros or not.
    logs = torch.xlogy(w, targets).sum(-1)
    possible = (logs > -torch.inf) & (w.sum(-1) > 0)
    return ops.softmax(logs.masked_fill(~possible, 0.0), possible)


def oracle_scores(
    labels: Tensor,
    preference: Tensor,
    where: Tensor | None = None,
    *,
    k: int | None = None,
    gain: ops.Gain | Sequence[ops.Gain] = "exp2",
) -> Tensor:
    """Scores `[..., list]` whose ranking maximises sum_k w_k NDCG_k@k on every list.

        a_i = sum_k w_k g(y^k_i) / IDCG_k@k

    The oracle knows the labels: no scorer has a larger weighted sum at this w (T7 of our notes; the sum is linear in
    a_i / D(r_i), so sorting is optimal by rearrangement). An objective blank on a list adds nothing there.

    Args:
        labels: `[..., list, objective]`.
        preference: `[objective]` or `[..., objective]`.
        where: `[..., list]`; pads score 0.
        k: cut-off of the NDCG; None: whole lists.
        gain: one for all objectives or one each.

    >>> y = torch.tensor([[1.0, 3.0], [3.0, 0.0], [0.0, 1.0], [2.0, 1.0]])
    >>> oracle_scores(y, torch.tensor([0.5, 0.5])).argsort(descending=True).tolist()
    [0, 1, 3, 2]
    """
    worth = _gains(ops.exact(labels), gain)
    worth = worth if where is None else worth.masked_fill(~where.unsqueeze(-1), 0.0)
    ideal = ops.ideal_dcg(worth.mT, gain="linear", k=k)
    return (worth / ideal.where(ideal > 0, 1.0).unsqueeze(-2) * preference.unsqueeze(-2)).sum(-1)


def _gains(labels: Tensor, gain: ops.Gain | Sequence[ops.Gain]) -> Tensor:
    return torch.stack([ops.gains(y, g) for y, g in _with_gains(labels, gain)], -1)


def _with_gains(labels: Tensor, gain: ops.Gain | Sequence[ops.Gain]) -> list[tuple[Tensor, ops.Gain]]:
    columns = labels.unbind(-1)
    gains: tuple[ops.Gain, ...] = (gain,) * len(columns) if isinstance(gain, str) else tuple(gain)
    if len(gains) != len(columns):
        raise InputError("one gain an objective", expected=f"{len(columns)} gains", came=gains)
    return list(zip(columns, gains, strict=True))
