"""Losses that look at one document at a time: regression on the label, or a model of the grade given the score.

All of them give a mean over the documents of a list, so that every query has the same say; weights multiply the terms
and the divisor stays n. None is invariant to a shift of the scores: a score is a prediction here, with a scale of its
own.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import softplus

from ltr.errors import InputError

from .base import LOSSES

__all__ = ["bce", "gradedce", "huber", "mae", "mse", "ordinal"]

# Boundaries between the grades 0 to 4 of the field's data sets, where a regression on the grade would round.
BOUNDARIES = (0.5, 1.5, 2.5, 3.5)

_regression = partial(LOSSES.register, needs="document", convex=True, shift_invariant=False)


def _mean(each: Tensor, where: Tensor, weights: Tensor | None) -> Tensor:
    """Mean over the real documents; weights multiply the terms, the divisor stays n."""
    each = each.masked_fill(~where, 0.0)
    if weights is not None:
        each = each * weights
    return each.sum(-1) / where.sum(-1).clamp(min=1)


@_regression("mse", formula="(1/n) sum_i (s_i - y_i)^2", source="least squares on grades: Cossock and Zhang, COLT 2006")
def mse(scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None) -> Tensor:
    """Mean squared error of scores as predictions of the label itself, on the label's own scale.

    Args:
        weights: multiply the squared error of their document.

    >>> mse(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # (.2^2 + 2.6^2 + 1.9^2 + 2.3^2) / 4
    tensor(3.9250)
    """
    return _mean((scores - labels).square(), where, weights)


@_regression("mae", formula="(1/n) sum_i |s_i - y_i|", source="least absolute deviations; no ranking paper of its own")
def mae(scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None) -> Tensor:
    """Mean absolute error: the best score under noisy labels is their median, which for most documents is grade 0.

    Args:
        weights: multiply the error of their document.

    >>> mae(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # (.2 + 2.6 + 1.9 + 2.3) / 4
    tensor(1.7500)
    """
    return _mean((scores - labels).abs(), where, weights)


@_regression(
    "huber",
    formula="(1/n) sum_i h(s_i - y_i), h(e) = e^2/2 for |e| <= delta, else delta (|e| - delta/2)",
    source="Huber, 1964",
)
def huber(scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, delta: float = 1.0) -> Tensor:
    """Squared error for small errors, absolute error for large ones: one wild label does not own the gradient.

    Args:
        weights: multiply the term of their document.
        delta: where the two meet, > 0, in units of the label. 1: an error of up to one grade is squared.

    >>> huber(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # (.02 + 2.1 + 1.4 + 1.8) / 4
    tensor(1.3300)
    """
    if not delta > 0:
        raise InputError("huber needs delta > 0", came=delta)
    error = (scores - labels).abs()
    small = error.clamp(max=delta)
    return _mean(small * (error - small / 2), where, weights)


@_regression(
    "bce",
    formula="(1/n) sum_i log(1 + e^{s_i}) - t_i s_i, t_i = min(y_i / top, 1)",
    source="logistic regression; with grades as soft targets in rax and allRank",
    gains="linear",
)
def bce(scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, top: float = 4.0) -> Tensor:
    """Binary cross entropy of scores as log-odds, the label as a share of the top grade.

    Args:
        weights: multiply the term of their document.
        top: the label that stands for certainty, > 0; larger ones count as this one, because a target above 1 would
            have no smallest value. 4: the top grade of the field's graded sets; 1 for binary labels.

    Returns:
        `[...]`, one value a list, in nats.

    >>> bce(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(1.1300)
    """
    if not top > 0:
        raise InputError("bce needs top > 0", came=top)
    return _mean(softplus(scores) - (labels / top).clamp(max=1.0) * scores, where, weights)


def _check(boundaries: Sequence[float], loss: str) -> None:
    if len(boundaries) == 0 or any(b <= a for a, b in zip(boundaries, boundaries[1:])):
        raise InputError(
            f"{loss} needs boundaries between grades", expected="at least one, increasing", came=tuple(boundaries)
        )


@_regression(
    "ordinal",
    formula="(1/n) sum_i sum_k BCE(s_i - b_k, 1[y_i >= k]), k = 1..K; BCE(a, t) = log(1 + e^a) - t a",
    source="cumulative logits: McCullagh, 1980; one shared score: CORAL, Cao, Mirjalili, Raschka, 2020 (recalled)",
)
def ordinal(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, boundaries: Sequence[float] = BOUNDARIES
) -> Tensor:
    """K yes-or-no questions "is the grade at least k?", all answered by one score: P(y_i >= k) = sg(s_i - b_k).

    One score means that the answers cannot contradict each other, and that sorting by it sorts by each answer and by
    the expected grade. The boundaries are stated, not learned: a boundary that learns belongs to the ranker. In nats,
    summed over k.

    Args:
        weights: multiply the terms of their document.
        boundaries: b_1 < ... < b_K, on the scale of the scores: where a grade k - 1 turns into a grade k; higher grades
            than K count as K. The default is for grades 0 to 4 and puts scores on the scale of the grades, as in a
            regression.

    >>> ordinal(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(3.0114)
    """
    _check(boundaries, "ordinal")
    total = torch.zeros_like(scores)
    for k, boundary in enumerate(boundaries, 1):  # one at a time: K is small, and [..., list, K] need not exist
        logit = scores - boundary
        total = total + softplus(logit) - (labels >= k).to(scores.dtype) * logit
    return _mean(total, where, weights)


@_regression(
    "gradedce",
    formula="(1/n) sum_i - log P(y_i | s_i), P(k | s) ~ exp(k s - b_1 - ... - b_k), k = 0..K",
    source="softmax over grades: McRank, Li, Burges, Wu, NIPS 2007; adjacent-category logits on one score: Andrich, "
    "1978 (both recalled)",
)
def gradedce(
    scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, *, boundaries: Sequence[float] = BOUNDARIES
) -> Tensor:
    """Cross entropy of the grade under a softmax over grades whose logits are lines in one score.

    b_k is the score at which grades k - 1 and k are equally likely. The default boundaries make P(k | s) a normal curve
    of variance 1 around s, read off at the grades. The expected grade grows with s, so sorting by one sorts by the
    other; a scorer with K + 1 free outputs (McRank) has no such guarantee. Labels outside 0..K are moved to the nearest
    of these ends; one between two grades is a mixture of both. In nats.

    Args:
        weights: multiply the term of their document.
        boundaries: b_1 < ... < b_K, on the scale of the scores. Default: for grades 0 to 4, on the scale of the grades.

    >>> gradedce(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    tensor(2.6867)
    """
    _check(boundaries, "gradedce")
    labels = labels.clamp(0.0, len(boundaries))
    normaliser, chosen, offset = torch.zeros_like(scores), torch.zeros_like(scores), 0.0
    for k, boundary in enumerate(boundaries, 1):
        offset += boundary
        normaliser = torch.logaddexp(normaliser, k * scores - offset)
        chosen = chosen + (labels - (k - 1)).clamp(0.0, 1.0) * (scores - boundary)
    return _mean(normaliser - chosen, where, weights)
