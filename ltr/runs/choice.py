"""A choice on the front of a method: the preference that meets bounds on validation, and what it gives on test.

choose(points, objectives, ...)         on any points
choose_on_run(folder, bounds, ...)      on those of a finished run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from ltr.errors import InputError, unknown_name
from ltr.metrics.significance import bootstrap_interval

from .front import Front, front_of_run
from .per_query import join_preference, read_per_query
from .record import open_run

__all__ = ["Choice", "ChoiceOnRun", "choose", "choose_on_run"]


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        index: row of the points: the best that meets the bounds, or the nearest to meeting them.
        met: whether it meets them.
        short: objective -> how much it lacks, where it lacks something.
    """

    index: int
    met: bool
    short: dict[str, float]


def choose(points: np.ndarray, objectives: Sequence[str], at_least: Mapping[str, float], maximise: str) -> Choice:
    """The point that is best in one objective among those that meet the bounds; the nearest where none does.

    Args:
        points: float64 `[preference, objective]`.
        at_least: objective -> smallest value that will do.
        maximise: the objective that decides; equal points are told apart by the sum of the others.

    Raises:
        InputError: an unknown objective, or points that are no numbers.

    >>> points = np.array([[0.5, 0.1], [0.4, 0.3], [0.2, 0.4]])
    >>> choose(points, ["relevance", "clicks"], {"relevance": 0.3}, "clicks").index
    1
    >>> choose(points, ["relevance", "clicks"], {"relevance": 0.7}, "clicks")
    Choice(index=0, met=False, short={'relevance': 0.2})
    """
    names = list(objectives)
    for name in (*at_least, maximise):
        if name not in names:
            raise unknown_name("objective", name, names)
    if not np.isfinite(points).all():
        raise InputError("a front with points that are no numbers", do="An objective counts on no list of the split")
    bounds = np.array([at_least.get(name, -np.inf) for name in names])
    lacking = np.maximum(bounds - points, 0.0)
    worst = lacking.max(1)
    best = points[:, names.index(maximise)]
    # The last key of a lexsort counts first: what is lacking, then the objective, then the others.
    index = int(np.lexsort((-points.sum(1), -best, worst))[0])
    short = {n: round(float(x), 12) for n, x in zip(names, lacking[index], strict=True) if x > 0}
    return Choice(index, not short, short)


@dataclass(frozen=True, eq=False)
class ChoiceOnRun:
    """What `choose_on_run` found.

    Attributes:
        front: of the run.
        choice: by its validation points.
        maximise: the objective that decided.
        preference: the weights of the choice.
        values: objective -> `vali` and `test`, the 95 % interval of test over queries (`low`, `high`), and `at_least`
            where it had a bound.
    """

    front: Front
    choice: Choice
    maximise: str
    preference: tuple[float, ...]
    values: dict[str, dict[str, float]]


def choose_on_run(folder: Path | str, at_least: Mapping[str, float], maximise: str | None = None) -> ChoiceOnRun:
    """The preference of a run that is best in one objective among those that meet bounds on validation.

    Args:
        folder: of a finished run of a method.
        at_least: objective -> smallest value that will do.
        maximise: the objective that decides; the only one without a bound by default.

    Raises:
        InputError: no finished run of a method, a damaged one, an unknown objective, or nothing that decides.
    """
    record = open_run(folder, "per_query/test.parquet")
    front = front_of_run(record)
    for name in at_least:
        if name not in front.objectives:
            raise unknown_name("objective of the run", name, front.objectives)
    if maximise is None:
        free = [name for name in front.objectives if name not in at_least]
        if len(free) != 1:
            raise InputError("which objective decides?", expected=f"--maximise, one of {', '.join(front.objectives)}")
        maximise = free[0]
    choice = choose(front.points["vali"], front.objectives, at_least, maximise)
    table = read_per_query(record.folder / "per_query" / "test.parquet")
    table = join_preference(table, front.preferences[choice.index])
    values: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(front.objectives):
        own = table.filter(pc.equal(table["objective"], name))[front.measures[k]].to_numpy()
        low, high = bootstrap_interval(own) if np.isfinite(own).sum() > 1 else (float("nan"),) * 2
        points = {split: float(front.points[split][choice.index, k]) for split in ("vali", "test")}
        bound = {"at_least": at_least[name]} if name in at_least else {}
        values[name] = {**points, "low": float(low), "high": float(high), **bound}
    preference = tuple(float(f"{x:.6g}") for x in front.preferences[choice.index])
    return ChoiceOnRun(front, choice, maximise, preference, values)
