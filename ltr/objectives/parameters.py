"""Parameters a user gave to something of a catalogue: which it has, and the error for one it has not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ltr.catalogue import Entry
from ltr.errors import InputError, near_miss

__all__ = ["at_least", "own_parameters", "refuse_unknown", "vector"]


def own_parameters(function: Callable, shared: Sequence[str]) -> dict[str, inspect.Parameter]:
    """Parameters of a function or class beyond the vocabulary its kind shares."""
    return {k: p for k, p in inspect.signature(function).parameters.items() if k not in shared}


def refuse_unknown(kind: str, entry: Entry, given: Mapping[str, Any], shared: Sequence[str]) -> None:
    """Raises InputError for a parameter the entry does not have, naming the near miss, or one it needs and lacks."""
    known = own_parameters(entry.function, shared)
    for key in given:
        if key not in known:
            hit = near_miss(key, known)
            raise InputError(
                f"{kind} {entry.name!r} has no parameter {key!r}",
                do=(f"Did you mean {hit!r}? " if hit else "")
                + (f"It has: {', '.join(known)}" if known else "It has no parameters"),
            )
    missing = [key for key, p in known.items() if p.default is p.empty and key not in given]
    if missing:
        raise InputError(f"{kind} {entry.name!r} needs {', '.join(missing)}")


def at_least(owner: str, low: float, *, strictly: bool = False, **given: float) -> None:
    """Refuses numbers below `low` (or at it, when `strictly`), and NaN."""
    for key, value in given.items():
        if not (value > low if strictly else value >= low):
            raise InputError(f"{owner}: {key}", expected=f"{'above' if strictly else 'at least'} {low:g}", came=value)


def vector(values, like: Tensor, name: str) -> Tensor:
    """One number an objective, `[objective]`, in the type and on the device of `like` `[..., objective]`."""
    values = torch.as_tensor(values, dtype=like.dtype, device=like.device)
    if values.shape != like.shape[-1:]:
        raise InputError(f"one {name} an objective", expected=f"[{like.shape[-1]}]", came=tuple(values.shape))
    return values
