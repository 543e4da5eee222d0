"""Scores as tensors: those of a reference that are added, and those that come out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ltr.errors import InputError
from ltr.types import Batch

__all__ = ["asked", "at", "finite", "output", "padded"]


def padded(flat: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Flat scores `[documents]` as a tensor with a 0 behind them: padding carries row -1."""
    if isinstance(flat, np.ndarray):
        return torch.from_numpy(np.append(flat, np.float32(0))).to(device)
    flat = flat.to(device, torch.float32)
    return torch.cat([flat, flat.new_zeros(1)])


def at(flat: Tensor | None, batch: Batch) -> Tensor | None:
    """Padded scores of a split at the documents of a batch, `[batch, list]`; None stays None."""
    return None if flat is None else flat[batch.document]


def asked(reference: Tensor | None) -> Tensor:
    """The scores of a reference, of a net that adds to them.

    Raises:
        InputError: there are none.
    """
    if reference is None:
        raise InputError("an augmented net adds to the scores of a reference", do="Pass reference=")
    return reference.float()


def output(scores: Tensor, where: Tensor, scale: float, augmented: bool, reference: Tensor | None) -> Tensor:
    """`scale` times the scores `[batch, preference, list]`, plus the reference `[batch, list]` if augmented."""
    scores = scores if scale == 1.0 else scale * scores
    return scores if not augmented else scores + asked(reference).masked_fill(~where, 0.0).unsqueeze(1)


def finite(scores: Tensor) -> Tensor:
    """The scores.

    Raises:
        InputError: one of them is not finite.
    """
    if not scores.isfinite().all():
        raise InputError("scores are not finite", do="Check the features for huge values")
    return scores
