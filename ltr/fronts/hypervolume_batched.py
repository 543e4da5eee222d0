"""Hypervolumes of many fronts at once, for one, two and three objectives, on the device of the points.

Each takes heights over the reference point, float64 `[front, point, objective]`, all >= 0 and finite, and gives
float64 `[front]`. A point with a height of 0 has no volume, which is how a point is left out.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["SWEEPS", "area", "length", "volume"]

# Numbers of one table that a CPU works on at once: the five tables of the three-objective sweep stay in its cache.
_CACHED = 1 << 14


def length(above: Tensor) -> Tensor:
    """One objective: the best point.

    >>> length(torch.tensor([[[3.0], [5.0]]])).tolist()
    [5.0]
    """
    if not above.shape[1]:
        return above.new_zeros(len(above))
    return above[..., 0].amax(1)


def area(above: Tensor) -> Tensor:
    """Two objectives: points by falling x; each adds (x_i - x_{i+1}) times the best y so far.

    O(n log n) a front.

    >>> area(torch.tensor([[[3.0, 1.0], [2.0, 2.0]]])).tolist()  # (3 - 2) 1 + (2 - 0) 2
    [5.0]
    """
    return _in_parts(_area, above)


def _area(above: Tensor) -> Tensor:
    x, order = above[..., 0].sort(1, descending=True)
    best = above[..., 1].gather(1, order).cummax(1).values
    x[:, :-1] -= x[:, 1:].clone()
    return x.mul_(best).sum(1)


def volume(above: Tensor) -> Tensor:
    """Three objectives: a plane falls along z; on it M(x) is the highest y of the points above the plane.

    With x_1 >= x_2 >= ... and M kept at every x_i, the point (x, y, z) the plane meets raises M(x_i) to y where
    x_i <= x, and

        HV = sum_i (x_i - x_{i+1}) sum_j (z_j - z_{j+1}) M_j(x_i).

    O(n^2) a front in 4 n vector operations for all fronts, without a [n, n] table.

    >>> volume(torch.tensor([[[2.0, 1.0, 1.0], [1.0, 2.0, 2.0]]])).tolist()  # 2 + 4, less the 1 they share
    [5.0]
    """
    return _in_parts(_volume, above)


def _volume(above: Tensor) -> Tensor:
    z, order = above[..., 2].t().contiguous().sort(0, descending=True)
    x, y = (above[..., k].t().gather(0, order) for k in (0, 1))
    edges = x.sort(0, descending=True).values
    heights = _steps(z)
    best, deep, reach = torch.zeros_like(x), torch.zeros_like(x), torch.empty_like(x)
    for j in range(len(z)):
        # A comparison written as 0.0 and 1.0, times y: three times as fast as a boolean and `where`.
        torch.le(edges, x[j], out=reach)
        torch.maximum(best, reach.mul_(y[j]), out=best)
        deep.addcmul_(best, heights[j])
    return (deep * _steps(edges)).sum(0)


def _in_parts(sweep: Callable[[Tensor], Tensor], above: Tensor) -> Tensor:
    """A CPU takes as many fronts at once as its cache holds, an accelerator all of them."""
    if not above.numel():
        return above.new_zeros(len(above))
    at_once = max(32, _CACHED // above.shape[1]) if above.device.type == "cpu" else len(above)
    return torch.cat([sweep(part) for part in torch.split(above, at_once)])


def _steps(falling: Tensor) -> Tensor:
    """Each value less the next below it, the last less 0."""
    return torch.cat([falling[:-1] - falling[1:], falling[-1:]])


SWEEPS = {1: length, 2: area, 3: volume}
