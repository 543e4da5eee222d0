"""Losses of a list whose scores keep a scale of their own: a ranking, and an estimate of the label besides.

A softmax cross entropy leaves a constant a list free, so that its scores say nothing of a document by itself. Here the
best scores do: e^s is the expected label (calibratedsoftmax), or sg(s) the expected share of the top grade (rcr), as
`ltr.metrics.reliability` and the measures NegECE, NegBrier and NegLogLoss look at it.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES
from .pointwise import bce

__all__ = ["calibratedsoftmax", "rcr"]


@LOSSES.register(
    "calibratedsoftmax",
    formula="- sum_i y_i log(e^{s_i} / Z) - anchor log(1 / Z), Z = 1 + sum_j e^{s_j}",
    source="Yan et al., KDD 2022, scale calibration; as calibrated_softmax of TF-Ranking (both recalled)",
    needs="document",
    gains="linear",
    convex=True,
    shift_invariant=False,
)
def calibratedsoftmax(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, anchor: float = 1.0
) -> Tensor:
    """Softmax cross entropy with one more document, whose score is 0 and whose label is the anchor.

    The best scores are log(E[y_i] / anchor): ranks, and a scale, which lists without a positive label teach too.

    Args:
        weights: multiply the term of their document, and their mean the anchor's.
        anchor: the expected label that a score of 0 stands for, > 0.

    Returns:
        `[...]`, one value a list, in nats.

    >>> calibratedsoftmax(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(16.2820)
    """
    if not anchor > 0:
        raise InputError("calibratedsoftmax needs anchor > 0", came=anchor)
    zero, real = scores.new_zeros(*scores.shape[:-1], 1), where.new_ones(*scores.shape[:-1], 1)
    logp = ops.log_softmax(torch.cat([scores, zero], -1), torch.cat([where, real], -1))
    share = labels if weights is None else labels * weights
    held: Tensor | float = anchor
    if weights is not None:
        held = anchor * weights.sum(-1) / where.sum(-1).clamp(min=1)
    return -(share * logp[..., :-1]).sum(-1) - held * logp[..., -1]


@LOSSES.register(
    "rcr",
    formula="(1 - share) BCE + share ListCE, BCE that of bce, ListCE = - sum_i z_i log(sg(s_i) / sum_j sg(s_j)), "
    "z = t / sum t, t_i = min(y_i / top, 1)",
    source="regression compatible ranking: Bai et al., CIKM 2023, 2211.01494 (recalled); shares for grades are ours",
    needs="document",
    gains="linear",
    convex=False,
    shift_invariant=False,
)
def rcr(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    share: float = 0.5,
    top: float = 4.0,
) -> Tensor:
    """Logistic regression, and a softmax of log sg(s) instead of s: both parts are at their best at sg(s) = E[t].

    Args:
        weights: multiply the terms of their document, after z is normalised; the divisor of bce stays n.
        share: of the list's part, in [0, 1].
        top: the label that stands for certainty, as of bce.

    Returns:
        `[...]`, one value a list, in nats.

    >>> rcr(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(1.3473)
    """
    if not 0 <= share <= 1:
        raise InputError("rcr needs a share between 0 and 1", came=share)
    by_document: Tensor = bce(scores, labels, where, weights=weights, top=top)
    t = (labels / top).clamp(max=1.0).masked_fill(~where, 0.0)
    total = t.sum(-1, keepdim=True)
    z = t / total.where(total > 0, 1.0)
    z = z if weights is None else z * weights
    by_list = -(z * ops.log_softmax(logsigmoid(scores), where)).sum(-1)
    return (1 - share) * by_document + share * by_list
