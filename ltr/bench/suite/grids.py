"""Tuning grids: what a system may choose from, and the points of it that it gets to try."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Mapping, Sequence
from typing import Any

from ltr.errors import InputError, unknown_name
from ltr.seeds import seed_of

__all__ = ["SECTIONS", "flat_grid", "grid_points", "grid_size"]

SECTIONS = ("params", "loss_params", "training")  # of a system, where a grid may change values


def flat_grid(grid: Mapping[str, Any], where: str = "") -> dict[str, list]:
    """Nested or dotted keys to dotted ones, each with its list of values, in the order of the file.

    >>> flat_grid({"training": {"learning_rate": [0.1, 0.2]}, "params.hidden": [8]})
    {'training.learning_rate': [0.1, 0.2], 'params.hidden': [8]}
    """
    flat: dict[str, list] = {}
    for key, value in grid.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{k}": v for k, v in value.items()}
        else:
            flat[key] = value
    for path, values in flat.items():
        if path.split(".", 1)[0] not in SECTIONS or "." not in path:
            raise unknown_name(
                f"section of {where} grid" if where else "section of a grid", path, [f"{s}.*" for s in SECTIONS]
            )
        if not isinstance(values, (list, tuple)) or not values:
            raise InputError(f"grid key {path!r} of {where}", expected="a list of values", came=values)
        if any(value in values[:at] for at, value in enumerate(values)):
            raise InputError(f"grid key {path!r} of {where}", expected="every value once", came=list(values))
    return {path: list(values) for path, values in flat.items()}


def grid_size(grid: Mapping[str, Sequence]) -> int:
    """Points of the product; 0 for no grid."""
    size = 1 if grid else 0
    for values in grid.values():
        size *= len(values)
    return size


def grid_points(grid: Mapping[str, Sequence], n: int, seed: int = 0) -> list[dict[str, Any]]:
    """At most `n` points of the product of a grid: all of it, or a seeded sample without repetition.

    The sample is a Latin hypercube: the values of every key are tried equally often, but for remainders, so that few
    points see the whole range of each. The draw depends on the grid and the seed alone, so systems that share a grid
    (one net, several losses) try the same points and differ in nothing else.

    >>> grid_points({"training.learning_rate": [1, 2], "params.depth": [3]}, 2)
    [{'training.learning_rate': 1, 'params.depth': 3}, {'training.learning_rate': 2, 'params.depth': 3}]
    """
    if not grid or n < 1:
        return []
    if grid_size(grid) <= n:
        return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    draw = random.Random(seed_of("tuning", seed, json.dumps(grid, default=str)))
    points: dict[tuple[int, ...], None] = {}  # in the order they were drawn
    while len(points) < n:  # a point that came twice is drawn again, with all that are still missing
        columns = [_spread(len(values), n - len(points), draw) for values in grid.values()]
        points |= dict.fromkeys(zip(*columns, strict=True))
    return [dict(zip(grid, map(list.__getitem__, map(list, grid.values()), at), strict=True)) for at in sorted(points)]


def _spread(levels: int, n: int, draw: random.Random) -> list[int]:
    """`n` of the numbers below `levels`, each as often as the others but for remainders, shuffled."""
    start = draw.random()
    found = [int((i + start) * levels / n) % levels for i in range(n)]
    draw.shuffle(found)
    return found
