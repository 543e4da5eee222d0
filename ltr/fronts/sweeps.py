"""Hypervolumes of many fronts at once, for one, two and three objectives, on the device of the points.

Each takes heights over the reference point, float64 `[front, point, objective]`, all >= 0 and finite, and gives
float64 `[front]`. A point with a height of 0 has no volume, which is how a point is left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["SWEEPS", "area", "length", "volume"]

# Numbers of one table of the three-objective sweep that a CPU works on at once: five such tables stay in its cache.
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
    if not above.shape[1]:
        return above.new_zeros(len(above))
    # The fronts are the inner axis: the running best is then one vector operation a point.
    x, order = above[..., 0].t().contiguous().sort(0, descending=True)
    y = above[..., 1].t().gather(0, order)
    widths = _steps(x)
    best, total = torch.zeros_like(y[0]), torch.zeros_like(y[0])
    for i in range(len(x)):
        torch.maximum(best, y[i], out=best)
        total.addcmul_(best, widths[i])
    return total


def volume(above: Tensor) -> Tensor:
    """Three objectives: a plane falls along z; on it M(x) is the highest y of the points above the plane.

    With x_1 >= x_2 >= ... and M kept at every x_i, the point (x, y, z) the plane meets raises M(x_i) to y where
    x_i <= x, and

        HV = sum_i (x_i - x_{i+1}) sum_j (z_j - z_{j+1}) M_j(x_i).

    O(n^2) a front in 4 n vector operations for all fronts, without a [n, n] table.

    >>> volume(torch.tensor([[[2.0, 1.0, 1.0], [1.0, 2.0, 2.0]]])).tolist()  # 2 + 4, less the 1 they share
    [5.0]
    """
    if not above.shape[1]:
        return above.new_zeros(len(above))
    at_once = max(32, _CACHED // above.shape[1]) if above.device.type == "cpu" else max(len(above), 1)
    parts = [_volume(part) for part in above.split(at_once)]
    return torch.cat(parts) if parts else above.new_zeros(0)


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


def _steps(falling: Tensor) -> Tensor:
    """Each value less the next below it, the last less 0."""
    return torch.cat([falling[:-1] - falling[1:], falling[-1:]])


SWEEPS = {1: length, 2: area, 3: volume}
