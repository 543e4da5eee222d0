"""Values of parameters that a user gave: numbers that are too small, and vectors of one number an objective."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ltr.errors import InputError

__all__ = ["at_least", "vector"]


def at_least(owner: str, low: float, *, strictly: bool = False, **given: float) -> None:
    """Refuses numbers below `low` (or at it, when `strictly`), and NaN."""
    for key, value in given.items():
        if not (value > low if strictly else value >= low):
            raise InputError(f"{owner}: {key}", expected=f"{'above' if strictly else 'at least'} {low:g}", came=value)


def vector(values: Any, like: Tensor, name: str) -> Tensor:
    """One number an objective, `[objective]`, in the type and on the device of `like` `[..., objective]`."""
    numbers = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    if numbers.shape != like.shape[-1:]:
        raise InputError(f"one {name} an objective", expected=f"[{like.shape[-1]}]", came=tuple(numbers.shape))
    return numbers
