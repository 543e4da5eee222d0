"""Which points are dominated, and what a set of points must be before anything is said about it.

Points are float64 `[point, objective]` or batches `[..., point, objective]`, every objective to be maximised. a
dominates b where a is nowhere worse and somewhere better; equal points do not dominate each other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ltr.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Floats", "Points", "as_points", "as_reference", "n_outside", "nondominated"]

Points: TypeAlias = Any
"""Array-like or tensor of points; what a function gives back is of the kind it got."""
Floats: TypeAlias = np.ndarray[Any, Any]

_CELLS = 1 << 24  # comparisons held at once: 16 MB of booleans


def is_tensor(values: object) -> bool:
    """Is it a tensor? Asked without importing torch: numpy callers should not wait for it."""
    return type(values).__module__.split(".")[0] == "torch" or hasattr(values, "is_cuda")


def as_points(points: Points, where: Any = None, what: str = "points") -> Any:
    """Points as float64 `[..., point, objective]`, of the kind they came in (array or tensor, on its device).

    Args:
        points: array-like or tensor. An empty front is `[0, objective]`.
        where: bool `[..., point]`; what stands where it is False is not looked at.
        what: their name in errors.

    Raises:
        InputError: not `[..., point, objective]`, or a point that is NaN or infinite. Libraries for fronts skip such
            points in silence, and a front with a hole looks like a worse one.

    >>> as_points([[1, 2], [3, 4]]).dtype
    dtype('float64')
    """
    expected = "[..., point, objective] with at least one objective"
    if is_tensor(points):
        points = points.detach().double()
    else:
        try:
            points = np.ma.filled(np.ma.asarray(points, dtype=np.float64), np.nan)  # what is masked is no number
        except (TypeError, ValueError) as error:
            raise InputError(f"{what} are numbers", expected=expected, came=points) from error
    if points.ndim < 2 or points.shape[-1] < 1:
        raise InputError(f"{what} have the wrong shape", expected=expected, came=tuple(points.shape))
    with np.errstate(over="ignore", invalid="ignore"):
        total = float(points.sum())
    if math.isfinite(total):  # one pass without a table: NaN and infinity survive every sum
        return points
    finite = points.isfinite() if is_tensor(points) else np.isfinite(points)
    if where is not None:
        finite = finite | ~where[..., None]
    bad = (~finite).any(-1)
    if bool(bad.any()):  # a sum can also overflow
        found = bad.nonzero()[0].tolist() if is_tensor(bad) else np.argwhere(bad)[0].tolist()
        place = found[0] if len(found) == 1 else found
        raise InputError(
            f"{what}: point {place} is not finite",
            expected="finite numbers",
            came=points[tuple(found)].tolist(),
            do="A measure without lists that count is NaN: leave the point out by name, or the run failed",
        )
    return points


def as_reference(reference: Any, objectives: int) -> Floats:
    """The reference point as float64 `[objective]`.

    >>> as_reference(0, 2).tolist()
    [0.0, 0.0]
    """
    try:
        given: Floats = np.asarray(reference.detach().cpu() if is_tensor(reference) else reference, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError("the reference point", expected="numbers, one an objective", came=reference) from error
    if given.ndim == 0:
        given = np.full(objectives, float(given))
    if given.shape != (objectives,) or not np.isfinite(given).all():
        expected = f"a finite number, or {objectives} of them, one an objective"
        raise InputError("the reference point", expected=expected, came=given.tolist())
    return given


def nondominated(points: Points, where: Any = None, *, duplicates: str = "keep") -> Any:
    """Which points no other point dominates, bool `[..., point]`, an array or a tensor as the points are.

    Args:
        points: float64 `[..., point, objective]`, maximised, array or tensor (then on its device).
        where: bool `[..., point]`, points that take part; None: all. The others are never on the front.
        duplicates: "keep": of equal points all are on the front; "first": only the first of them.

    Raises:
        InputError: a point is NaN or infinite.

    >>> nondominated([[3, 1], [2, 2], [1, 1], [2, 2]]).tolist()
    [True, True, False, True]
    >>> nondominated([[3, 1], [2, 2], [1, 1], [2, 2]], duplicates="first").tolist()
    [True, True, False, False]
    """
    if duplicates not in ("keep", "first"):
        raise InputError("duplicates on a front", expected='"keep" or "first"', came=duplicates)
    points = as_points(points, where)
    *batch, n, _ = points.shape
    if not is_tensor(points) and not batch and where is None and n:
        import moocore  # O(n log n) for d = 2 and 3, and Kung's method beyond

        return moocore.is_nondominated(points, maximise=True, keep_weakly=duplicates == "keep")
    return _pairwise(points, where, duplicates == "first")


def _pairwise(points: Any, where: Any, first: bool) -> Any:
    """By comparing all pairs: O(n^2 d), every front of a batch at once."""
    if not is_tensor(points):
        import torch

        taking_part = None if where is None else torch.from_numpy(np.array(where, dtype=bool))
        return _pairwise(torch.from_numpy(np.ascontiguousarray(points)), taking_part, first).numpy()
    import torch

    *batch, n, objectives = points.shape
    flat = points.reshape(math.prod(batch), n, objectives)
    there = points.new_ones(flat.shape[:2], dtype=torch.bool)
    if where is not None:
        there = torch.as_tensor(where, device=points.device).expand(*batch, n).reshape(there.shape)
        flat = torch.where(there[..., None], flat, -torch.inf)  # below all others: it dominates nobody
    earlier = torch.ones(n, n, dtype=torch.bool, device=points.device).triu(1)  # [other, one]
    kept: list[Tensor] = []
    step = max(1, _CELLS // max(n * n, 1))
    for part in flat.split(step):
        no_worse = torch.ones(len(part), n, n, dtype=torch.bool, device=points.device)  # [front, other, one]
        for k in range(objectives):
            no_worse &= part[:, :, None, k] >= part[:, None, :, k]
        beats = no_worse & ~no_worse.mT
        if first:
            beats |= no_worse & no_worse.mT & earlier
        kept.append(~beats.any(1))
    return (torch.cat(kept) & there if kept else there).reshape(*batch, n)


def n_outside(points: Points, reference: Any) -> Any:
    """How many points are not better than the reference point in every objective: they add no hypervolume.

    Args:
        points: float64 `[..., point, objective]`, maximised.
        reference: a number or `[objective]`.

    Returns:
        A whole number, or an integer array or tensor `[...]` of a batch.

    >>> n_outside([[1, 2], [0, 5], [3, 3]], reference=0)
    1
    """
    points = as_points(points)
    reference = as_reference(reference, points.shape[-1])
    if is_tensor(points):
        counted = (points <= points.new_tensor(reference)).any(-1).sum(-1)
        return int(counted) if counted.ndim == 0 else counted
    counted = (points <= reference).any(-1).sum(-1)
    return int(counted) if np.ndim(counted) == 0 else counted
