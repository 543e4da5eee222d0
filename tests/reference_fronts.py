"""Slow, obvious forms of the front indicators: loops over points and subsets, for comparison.

Nothing here is shared with the package, so that a mistake would have to be made twice.
"""

from __future__ import annotations

import itertools
import math


def dominates(a, b):
    return all(x >= y for x, y in zip(a, b, strict=True)) and any(x > y for x, y in zip(a, b, strict=True))


def nondominated(points):
    return [not any(dominates(b, a) for b in points) for a in points]


def hypervolume(points, reference):
    """Inclusion and exclusion over all subsets of boxes: exact, and only for a dozen points."""
    above = [[max(0.0, x - r) for x, r in zip(p, reference, strict=True)] for p in points]
    total = 0.0
    for size in range(1, len(above) + 1):
        for subset in itertools.combinations(above, size):
            total += (-1) ** (size + 1) * math.prod(min(corner) for corner in zip(*subset, strict=True))
    return total


def cells(points, reference):
    """Hypervolume of whole-numbered points: unit cells counted one by one."""
    top = [max(axis) for axis in zip(*points, strict=True)]
    spans = [range(r, t) for r, t in zip(reference, top, strict=True)]
    return sum(any(all(p[k] > cell[k] for k in range(len(cell))) for p in points) for cell in itertools.product(*spans))


def igd_plus(points, union):
    def behind(u, a):
        return math.sqrt(sum(max(x - y, 0.0) ** 2 for x, y in zip(u, a, strict=True)))

    return sum(min(behind(u, a) for a in points) for u in union) / len(union)


def epsilon(points, union):
    return max(min(max(x - y for x, y in zip(u, a, strict=True)) for a in points) for u in union)


def r2(points, ideal, weights):
    return sum(min(max(w[k] * (ideal[k] - a[k]) for k in range(len(a))) for a in points) for w in weights) / len(
        weights
    )


def resampled_points(values, weights):
    """`[point][objective]` of one resample: sum_i N_i v_ik / sum_i N_i over the lists that count."""
    return [
        [
            sum(n * row[k] for n, row in zip(weights, rows, strict=True) if not math.isnan(row[k]))
            / sum(n for n, row in zip(weights, rows, strict=True) if not math.isnan(row[k]))
            for k in range(len(rows[0]))
        ]
        for rows in values
    ]


def attained(fronts, place):
    """By how many fronts a place is attained: some point of the front is nowhere worse."""
    return sum(any(all(x >= y for x, y in zip(p, place, strict=True)) for p in front) for front in fronts)
