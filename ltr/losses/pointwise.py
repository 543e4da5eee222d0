"""Losses that look at one document at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from .. import ops
from .base import LOSSES

__all__ = ["mse"]


@LOSSES.register(
    "mse",
    formula="(1/n) sum_i (s_i - y_i)^2",
    source="least squares on grades: Cossock and Zhang, COLT 2006",
    needs="document",
    convex=True,
    shift_invariant=False,
)
def mse(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Mean squared error of scores as predictions of the label itself, on the label's own scale.

    Args:
        scores, labels, where: `[..., list]`.
        weights: multiply the squared error of their document; the divisor stays n.
        generator: unused.

    Returns:
        `[...]`, one value a list.

    >>> mse(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # (.2^2 + 2.6^2 + 1.9^2 + 2.3^2) / 4
    tensor(3.9250)
    """
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    errors = (scores - labels).square()
    if weights is not None:
        errors = errors * weights
    return errors.sum(-1) / where.sum(-1).clamp(min=1)
