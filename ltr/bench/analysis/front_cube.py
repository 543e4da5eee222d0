"""Results of methods as arrays: `[system, seed, preference, objective]`, what is not there NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ltr.bench.text import short_measure
from ltr.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from .results import FrontResults

__all__ = ["Cube", "cube", "main_head", "main_of", "measures_of", "over_queries", "points_of_all"]


@dataclass(frozen=True, eq=False)
class Cube:
    """One dataset's results as arrays; what is not there is NaN.

    Attributes:
        systems, seeds, objectives: the axes by name.
        vali, test: `[system, seed, point, objective]`, means over the pooled queries of all folds.
        complete: `[system, seed]`, every fold is there.
        values: `[system, seed, point, query, objective]`, test; the queries are (fold, query) pairs.
    """

    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    objectives: tuple[str, ...]
    vali: np.ndarray
    test: np.ndarray
    complete: np.ndarray
    values: np.ndarray


def measures_of(results: FrontResults, dataset: str) -> tuple[str, ...]:
    """The measure of each objective, in the suite's order.

    Raises:
        InputError: the results hold nothing of the dataset.
    """
    mine = results.fronts[results.fronts.dataset == dataset].drop_duplicates("objective")
    table = dict(zip(mine.objective, mine.measure, strict=True))
    missing = [o for o in results.suite.objectives if o not in table]
    if missing:
        raise InputError(f"no numbers of {dataset}", expected="at least one run that finished", came=missing)
    return tuple(table[o] for o in results.suite.objectives)


def main_head(results: FrontResults, dataset: str) -> str:
    """The main label that is kept apart, with its measure, as the head of a column; "" without one.

    >>> from types import SimpleNamespace as Made; import pandas as pd
    >>> row = {"dataset": ["d"], "objective": ["relevance"], "measure": ["nDCG(gain=exp2,empty=skip)@10"]}
    >>> main_head(Made(suite=Made(main="relevance"), fronts=pd.DataFrame(row)), "d")
    'main: relevance nDCG@10'
    """
    mine = results.fronts[(results.fronts.dataset == dataset) & (results.fronts.objective == results.suite.main)]
    return f"main: {results.suite.main} {short_measure(mine.measure.iloc[0])}" if len(mine) else ""


def main_of(results: FrontResults, dataset: str) -> np.ndarray:
    """What every system has on the main label that is kept apart, test, `[system, seed, point]`; NaN without one."""
    labels = (results.suite.main,) if results.suite.main else tuple(results.suite.objectives)
    found = points_of_all(results, dataset, labels).test[..., 0]
    return found if results.suite.main else np.full_like(found, np.nan)


def points_of_all(results: FrontResults, dataset: str, labels: Sequence[str] = ()) -> Cube:
    """The points of every system and seed, of parts of their folds too where some are not there; no values a query.

    Args:
        labels: the label columns; the suite's objectives by default.
    """
    suite, objectives = results.suite, tuple(labels or results.suite.objectives)
    fronts = results.fronts[(results.fronts.dataset == dataset) & results.fronts.objective.isin(objectives)]
    runs = results.runs[results.runs.dataset == dataset]
    systems = tuple(dict.fromkeys([*(v.label for v in suite.variants()), *fronts.system]))
    seeds = tuple(dict.fromkeys([*(seed for v in suite.variants() for seed in v.seeds), *fronts.seed]))
    planned = max(runs.fold.nunique(), 1)
    done = runs[runs.status == "done"].groupby(["system", "seed"]).fold.nunique()
    there = fronts.groupby(["system", "seed"]).fold.nunique()
    complete = [[done.get((s, e), 0) == there.get((s, e), 0) == planned for e in seeds] for s in systems]
    shape = (len(systems), len(seeds), len(results.lattice), len(objectives))
    axes = {"system": systems, "seed": seeds, "objective": objectives}
    vali, test = (_pooled(fronts[fronts.split == name], axes, shape) for name in ("vali", "test"))
    return Cube(systems, seeds, objectives, vali, test, np.array(complete, bool), np.empty((*shape[:3], 0, shape[3])))


def cube(results: FrontResults, dataset: str) -> Cube:
    """The arrays of one dataset: whole fronts only, every fold there, with the values of every test query.

    Raises:
        InputError: a point of a whole front is not a number.
    """
    data = points_of_all(results, dataset)
    for name in ("vali", "test"):
        points = getattr(data, name)
        bad = data.complete & ~np.isfinite(points).all((2, 3))
        if bad.any():
            s, e = np.argwhere(bad)[0]
            raise InputError(
                f"a front has a hole: {data.systems[s]}, seed {data.seeds[e]}, {name}",
                came=dataset,
                expected=f"{points.shape[2]} preferences x {points.shape[3]} objectives, all numbers",
            )
        points[~data.complete] = np.nan
    frame = results.per_query[results.per_query.dataset == dataset]
    keys = frame.fold.astype(str) + "\n" + frame["query"].astype(str)
    names = sorted(set(keys))
    values = np.full((*data.test.shape[:3], len(names), len(data.objectives)), np.nan)
    at = (_numbers(frame.system, data.systems), _numbers(frame.seed, data.seeds), frame.preference.to_numpy(np.int64))
    values[(*at, _numbers(keys, names))] = frame[list(data.objectives)].to_numpy(np.float64)
    values[~data.complete] = np.nan
    return replace(data, values=values)


def _numbers(column: pd.Series, names: Sequence) -> np.ndarray:
    return column.map({name: i for i, name in enumerate(names)}).to_numpy(np.int64)


def over_queries(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Sums over counts, NaN where nothing counts."""
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _pooled(frame: pd.DataFrame, axes: Mapping[str, Sequence], shape: tuple[int, ...]) -> np.ndarray:
    """Means over the queries of all folds: the folds' means, weighted by the queries that count."""
    n = frame.queries.to_numpy(np.float64)
    mean = frame["mean"].to_numpy(np.float64)
    counts = (n > 0) & np.isfinite(mean)  # an objective without relevant documents on a whole fold has no mean there
    # What a hole in one fold leaves is a hole, not the mean of the other folds.
    hole = (n > 0) & ~np.isfinite(mean)
    at = [_numbers(frame[name], names) for name, names in axes.items()]
    at.insert(2, frame.preference.to_numpy(np.int64))
    total, count = np.zeros(shape), np.zeros(shape)
    np.add.at(total, tuple(a[counts] for a in at), (mean * n)[counts])
    np.add.at(count, tuple(a[counts] for a in at), n[counts])
    found = over_queries(total, count)
    found[tuple(a[hole] for a in at)] = np.nan
    return found
