"""How a front varies over seeds: which places what share of the seeds attains.

A front attains a place z where one of its points is nowhere worse than z. The empirical attainment function is the
share of fronts that do; its level set at a share is a front again, the median attainment surface at one half.
Source: Grunert da Fonseca, Fonseca and Hall, EMO 2001. Two and three objectives: the number of corners grows too fast
beyond (Fonseca, Guerreiro, Lopez-Ibanez and Paquete, EMO 2011).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ltr.errors import InputError

from .dominance import Floats, Points, as_points, nondominated

__all__ = ["attained", "attainment_surface", "staircase"]


def _seeds(given: Sequence[Points]) -> list[Floats]:
    fronts: list[Floats] = [np.asarray(as_points(front, what=f"front {i}")) for i, front in enumerate(given)]
    if not fronts or any(f.ndim != 2 or f.shape[1] != fronts[0].shape[1] for f in fronts):
        came = [f.shape for f in fronts]
        raise InputError("fronts of the seeds", expected="one or more [point, objective]", came=came)
    return fronts


def attained(fronts: Sequence[Points], places: Points) -> Floats:
    """Share of the fronts that attain each place, float64 `[place]`, in any number of objectives.

    Args:
        fronts: one `[point, objective]` a seed.
        places: `[place, objective]`.

    >>> attained([[[2, 1]], [[1, 2]], [[2, 2]]], places=[[1, 1], [2, 1], [2, 2], [3, 0]]).tolist()
    [1.0, 0.6666666666666666, 0.3333333333333333, 0.0]
    """
    places = np.asarray(as_points(places, what="places"))
    share: Floats = np.mean([(front[:, None] >= places).all(-1).any(0) for front in _seeds(fronts)], axis=0)
    return share


def attainment_surface(fronts: Sequence[Points], share: float = 0.5) -> Floats:
    """Corners of the surface that at least this share of the fronts attains, `[corner, objective]`, by falling first
    objective; none of them dominates another.

    Args:
        fronts: one `[point, objective]` a seed, two or three objectives; an empty one attains nothing.
        share: above 0, at most 1. Of n fronts, the surface of ceil(share n): 1 is what every seed attains, 1/n what
            any does.

    Raises:
        InputError: other numbers of objectives, or a share outside.

    >>> attainment_surface([[[2, 1]], [[1, 2]], [[2, 2]]], share=0.5).tolist()  # two of three
    [[2.0, 1.0], [1.0, 2.0]]
    >>> attainment_surface([[[2, 1]], [[1, 2]], [[2, 2]]], share=1).tolist()
    [[1.0, 1.0]]
    """
    import moocore

    fronts = _seeds(fronts)
    objectives = fronts[0].shape[1]
    if objectives not in (2, 3):
        do = "Beyond three, look at `attained` in places you name, or at parallel coordinates"
        raise InputError("attainment surfaces", expected="two or three objectives", came=objectives, do=do)
    if not 0 < share <= 1:
        raise InputError("share of an attainment surface", expected="above 0 and at most 1", came=share)
    needed = math.ceil(share * len(fronts) - 1e-9)  # 0.6 of 5 is 3, whatever 0.6 is in binary
    there = [i for i, front in enumerate(fronts) if len(front)]
    if len(there) < needed:
        return np.empty((0, objectives))
    points = np.concatenate([fronts[i] for i in there])
    sets = np.repeat(np.arange(len(there)), [len(fronts[i]) for i in there])
    # Percentiles are of the fronts that have points; half a front below the whole number is safe from rounding.
    corners = moocore.eaf(-points, sets, percentiles=[100 * (needed - 0.5) / len(there)])[:, :objectives]
    corners = 0.0 - corners  # not -corners: 0 stays 0.0
    corners = corners[nondominated(corners, duplicates="first")]
    ordered: Floats = corners[np.lexsort(corners.T[::-1])[::-1]]
    return ordered


def staircase(points: Points, low: Any) -> Floats:
    """The outline of what two-objective points dominate above `low`, `[vertex, 2]`, from the left to the bottom.

    Args:
        points: `[point, 2]`; dominated ones are passed over.
        low: a number or `[2]`; points that are not above it in both have no step. No points: no vertices.

    >>> staircase([[2, 1], [1, 2]], low=0).tolist()
    [[0.0, 2.0], [1.0, 2.0], [1.0, 1.0], [2.0, 1.0], [2.0, 0.0]]
    """
    points = np.asarray(as_points(points))
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError("points of a staircase", expected="[point, 2]", came=points.shape)
    low = np.broadcast_to(np.asarray(low, dtype=np.float64), 2)
    front = points[(points > low).all(1)]
    front = front[nondominated(front, duplicates="first")]
    if not len(front):
        return np.empty((0, 2))
    x, y = front[np.argsort(front[:, 0])].T
    outline = np.empty((2 * len(x) + 1, 2))
    outline[0::2, 0], outline[0::2, 1] = [low[0], *x], [*y, low[1]]  # the inner corners and both ends
    outline[1::2] = np.stack([x, y], 1)
    return outline
