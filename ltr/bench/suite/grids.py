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
    return {path: list(values) for path, values in flat.items()}


def grid_size(grid: Mapping[str, Sequence]) -> int:
    """Points of the product; 0 for no grid."""
    size = 1 if grid else 0
    for values in grid.values():
        size *= len(values)
    return size


def grid_points(grid: Mapping[str, Sequence], n: int, seed: int = 0) -> list[dict[str, Any]]:
    """At most `n` points of the product of a grid: all of it, or a seeded sample without repetition.

    The draw depends on the grid and the seed alone, so systems that share a grid (one net, several losses) try the
    same points and differ in nothing else.

    >>> grid_points({"training.learning_rate": [1, 2], "params.depth": [3]}, 2)
    [{'training.learning_rate': 1, 'params.depth': 3}, {'training.learning_rate': 2, 'params.depth': 3}]
    """
    size = grid_size(grid)
    draw = random.Random(seed_of("tuning", seed, json.dumps(grid, default=str)))
    chosen = set(draw.sample(range(size), min(n, size)))
    points = itertools.product(*grid.values()) if grid else ()
    return [dict(zip(grid, values, strict=True)) for i, values in enumerate(points) if i in chosen]
