"""Hypervolume: the volume that a front dominates above a reference point.

    HV(P, r) = volume of the union over p in P of the boxes [r, p]

Source: Zitzler and Thiele, IEEE Trans. Evol. Comput. 3, 1999. Rules that hold everywhere here: objectives are
maximised; NaN and infinite points are errors; an empty front has volume 0; a point that is not better than the
reference point in every objective adds nothing (`n_outside` counts them); dominated and repeated points change nothing.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ltr.errors import InputError

from .dominance import Floats, Points, as_points, as_reference, is_tensor

__all__ = ["hypervolume", "hypervolumes"]


def hypervolume(points: Points, reference: Any) -> float:
    """Exact hypervolume of one front.

    Args:
        points: `[point, objective]`, array or tensor, maximised.
        reference: a number or `[objective]`.

    Raises:
        InputError: a point is NaN or infinite, or the reference point does not fit.

    >>> hypervolume([[3, 1], [2, 2], [1, 1]], reference=0)  # 3 x 1 + 2 x 2 less the 2 x 1 they share
    5.0
    >>> hypervolume(np.empty((0, 3)), reference=0)
    0.0
    """
    if is_tensor(points):
        points = points.detach().cpu()
    points = np.asarray(as_points(points))
    if points.ndim != 2:
        raise InputError("one front", expected="[point, objective]", came=points.shape, do="Batches: `hypervolumes`")
    return _exact(_above(points, as_reference(reference, points.shape[-1])))


def hypervolumes(points: Points, reference: Any, where: Any = None, *, threads: int | None = None) -> Any:
    """Exact hypervolumes of many fronts against one reference point, float64 `[...]`.

    Up to three objectives by sweeps over all fronts at once where the points live (`sweeps`); from four by moocore, a
    front at a time on threads, on the CPU.

    Args:
        points: `[..., point, objective]`, maximised; an array, or a tensor on any device.
        reference: a number or `[objective]`.
        where: bool `[..., point]` (or what broadcasts to it), points that take part; None: all.
        threads: of the fronts from four objectives; None: one a processor.

    Returns:
        An array or tensor (on the points' device) as the points are.

    Raises:
        InputError: a point that takes part is NaN or infinite, or the reference point does not fit.

    >>> hypervolumes([[[3, 1], [2, 2]], [[1, 1], [0, 9]]], reference=0).tolist()
    [5.0, 1.0]
    >>> hypervolumes([[[3, 1], [2, 2]]], reference=0, where=[[True, False]]).tolist()
    [3.0]
    """
    if where is not None and not is_tensor(where):
        where = np.asarray(where, dtype=bool)
        if is_tensor(points):
            import torch

            where = torch.as_tensor(where, device=points.device)
    points = as_points(points, where)
    batch, objectives = points.shape[:-2], points.shape[-1]
    reference = as_reference(reference, objectives)
    if is_tensor(points):
        import torch

        above = (points - points.new_tensor(reference)).clamp_(min=0)
        if where is not None:
            above = torch.where(where[..., None], above, 0.0)
    else:
        above = _above(points, reference)
        if where is not None:
            above = np.where(where[..., None], above, 0.0)
    above = above.reshape(math.prod(batch), *above.shape[-2:])
    if objectives <= 3:
        import torch

        from .hypervolume_batched import SWEEPS

        tensor = above if is_tensor(above) else torch.from_numpy(np.ascontiguousarray(above))
        volumes = SWEEPS[objectives](tensor)
        return volumes.reshape(batch) if is_tensor(above) else volumes.numpy().reshape(batch)
    counted = _on_threads(above.detach().cpu().numpy() if is_tensor(above) else above, threads)
    return above.new_tensor(counted).reshape(batch) if is_tensor(above) else counted.reshape(batch)


def _above(points: Floats, reference: Floats) -> Floats:
    """Height over the reference point; 0 in a coordinate means a box without volume."""
    above: Floats = points - reference
    np.maximum(above, 0.0, out=above)
    return above


def _exact(above: Floats) -> float:
    """Hypervolume over the origin of one front, `[point, objective]`."""
    return _of_boxes(-above[(above > 0).all(-1)], np.zeros(above.shape[-1]))


def _of_boxes(depths: Floats, origin: Floats) -> float:
    """moocore minimises: points below the origin, turned for all fronts at once, save it half of a short call."""
    import moocore

    if not len(depths):
        return 0.0
    if depths.shape[-1] == 1:
        return float(-depths.min())
    return float(moocore.hypervolume(depths, ref=origin))


def _on_threads(above: Floats, threads: int | None) -> Floats:
    threads = min(threads or os.cpu_count() or 1, max(len(above), 1))
    inside: Floats = np.asarray((above > 0).all(-1))
    whole: list[bool] = np.asarray(inside.all(-1)).tolist()
    depths: Floats = np.negative(above)
    origin = np.zeros(above.shape[-1])

    def work(part: range) -> list[float]:  # moocore lets go of the interpreter while it counts
        return [_of_boxes(depths[i] if whole[i] else depths[i][inside[i]], origin) for i in part]

    if threads == 1:
        return np.array(work(range(len(above))), dtype=np.float64)
    parts = [range(at, len(above), threads) for at in range(threads)]
    volumes = np.empty(len(above))
    with ThreadPoolExecutor(threads) as pool:
        for part, found in zip(parts, pool.map(work, parts), strict=True):
            volumes[part.start :: threads] = found
    return volumes
