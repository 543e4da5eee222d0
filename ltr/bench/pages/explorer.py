"""What the pages let a reader play with, as plain data: values a query for the drill-down, points for the explorer.

A payload is nested lists and dictionaries of strings and whole numbers (measures in ten-thousandths, preferences in
parts of the lattice, None where there is no value), so that a test reads it as the page does. `pack` makes it the text
that is embedded: JSON, deflated, base64. Twenty methods at 66 preferences over three objectives take about 2 MB.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.bench.analysis.front_cube import measures_of, over_queries, points_of_all
from ltr.bench.analysis.front_leaderboard import asks
from ltr.bench.analysis.leaderboard import per_query_values
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.suite.suite import slug
from ltr.fronts import nondominated
from ltr.seeds import seed_of

from .front_pictures import looks

if TYPE_CHECKING:
    import pandas as pd

    from ltr.bench.analysis.leaderboard import Leaderboard
    from ltr.bench.analysis.reference_points import TaskPoints
    from ltr.bench.analysis.results import FrontResults, Results
    from ltr.bench.analysis.samples import Sample

__all__ = ["SCALE", "drill", "front", "pack", "unpack"]

SCALE = 10_000  # measures are embedded as whole numbers of this fraction: the four digits that tables print
# Values a query that a page embeds. Above it the drill-down shows a seeded sample of the queries, and says so.
MOST_VALUES = 600_000


def pack(payload: Any) -> str:
    """The text a page embeds; the browser inflates it."""
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode("ascii"), 9)).decode("ascii")


def unpack(text: str) -> Any:
    """The payload of `pack`.

    >>> unpack(pack({"preference": [7, 3], "mean": None}))
    {'preference': [7, 3], 'mean': None}
    """
    return json.loads(zlib.decompress(base64.b64decode(text)))


def drill(results: Results, board: Leaderboard, most: int = MOST_VALUES) -> dict[str, Any] | None:
    """Values a query of every ranked system, for the comparison of any two of them; None with fewer than two.

    Args:
        results, board: a suite of rankers and the leaderboard of one of its datasets.
        most: values to embed at most.

    Returns:
        kind "single", measure, scale, systems (in the leaderboard's order), start (the two compared first: the best,
        and the next of another ranker), queries (see `_queries`), values `[system][query]`, averaged over seeds, p
        `[system][system]`, of the leaderboard's test, None for systems it left out.
    """
    values = per_query_values(results, board.dataset, board.measure)
    systems = [row.system for row in rows_of(board.table) if row.system in values and not row.best_possible]
    if len(systems) < 2:
        return None
    index = values[systems[0]].index
    for system in systems[1:]:
        index = index.union(values[system].index)
    kept = _sample(len(index), len(systems), most, board.dataset)
    ranker = {v.label: v.ranker for v in results.suite.variants()}
    others = (i for i, s in enumerate(systems) if ranker.get(s) != ranker.get(systems[0]))
    return {
        "kind": "single",
        "measure": board.measure,
        "scale": SCALE,
        "systems": systems,
        "start": [0, next(others, 1)],
        "queries": _queries(index[kept], len(index)),
        "values": [_whole(values[s].reindex(index).to_numpy()[kept]) for s in systems],
        "p": _whole(board.p.reindex(index=systems, columns=systems).to_numpy()),
    }


def front(
    results: FrontResults,
    dataset: str,
    *,
    systems: Sequence[str] = (),
    samples: Sequence[Sample] = (),
    points: TaskPoints | None = None,
    baseline: str = "",
    most: int = MOST_VALUES,
) -> dict[str, Any] | None:
    """The points of every system at every preference, and its values a query; None without finished runs.

    A point is the mean over all queries of all folds, seeds averaged first.

    Args:
        results: a suite of methods.
        dataset: one of its datasets.
        systems: labels in the order of the page; as the results have them by default.
        samples: queries whose best documents are shown.
        points: of the task: its true front, ideal, nadir and reference point, where they are known.
        baseline: system that the first one is compared with; the second one without.
        most: values a query to embed at most.

    Returns:
        kind "front", dataset, scale, objectives, measures (one an objective), partition H, lattice
        `[preference][objective]` in parts of H, systems: name, look (number of its colour and marker, as on pictures),
        run (folder of one of its runs), free (whether no preference steers it), points {vali, test}
        `[preference][objective]`, sd over seeds of the test points (None with one seed), front (1 where the validation
        point is non-dominated among the system's own); start (the two compared first), baseline (its number or None),
        truth `[preference][objective]`, marks {ideal, nadir, reference} `[objective]` (None where not known), queries,
        values `[system][preference][objective][query]`, samples (see `_sample_payload`).
    """
    table = results.fronts[results.fronts.dataset == dataset]
    if not len(table):
        return None
    objectives = list(results.suite.objectives)
    named = [s for s in dict.fromkeys(table.system) if s not in systems]
    systems = [s for s in systems if s in set(table.system)] + named
    weights, partition = results.lattice, results.suite.preferences
    data = points_of_all(results, dataset)
    numbers = looks([v.label for v in results.suite.variants()])
    unsteered = {v.label for v in results.suite.variants() if asks(v) == "none"}
    folds = dict(zip(table.system, table.fold, strict=True))
    place = f"runs/{results.suite.name}/runs/{dataset_slug(dataset)}"
    described = []
    for system in systems:
        s = data.systems.index(system)
        means = {name: _over_seeds(getattr(data, name)[s]) for name in ("vali", "test")}
        judged, _ = means["vali"]
        finite = np.isfinite(judged).all(1)
        member = np.zeros(len(judged), bool)
        member[finite] = nondominated(judged[finite])
        seeds = int(np.isfinite(data.test[s]).any((1, 2)).sum())
        described.append(
            {
                "name": system,
                "look": numbers.get(system, len(numbers)),
                "run": f"{place}/{slug(system)}/{slug(str(folds[system]))}/seed{results.suite.seeds[0]}",
                "free": system in unsteered,
                "points": {name: _whole(mean) for name, (mean, _) in means.items()},
                "sd": _whole(means["test"][1]) if seeds > 1 else None,
                "seeds": seeds,
                "front": member.astype(int).tolist(),
            }
        )
    steered = [i for i, system in enumerate(systems) if system not in unsteered] or [0]
    against = systems.index(baseline) if baseline in systems else None
    second = next((i for i in steered[1:] if i != against), min(1, len(systems) - 1))
    queries, values = _front_values(results, dataset, systems, objectives, len(weights), samples, most)
    return {
        "kind": "front",
        "dataset": dataset,
        "scale": SCALE,
        "objectives": objectives,
        "measures": list(measures_of(results, dataset)),
        "partition": partition,
        "lattice": np.rint(weights * partition).astype(int).tolist(),
        "systems": described,
        "start": [steered[0], second if against in (None, steered[0]) else against],
        "baseline": against,
        "truth": _whole(np.array(points.truth)) if points and points.truth_partition == partition else [],
        "marks": _marks(points, partition) if points else None,
        "queries": queries,
        "values": values,
        "samples": [_sample_payload(sample, systems) for sample in samples],
    }


def _marks(points: TaskPoints, partition: int) -> dict[str, list[int]]:
    """Of the task, in the units of its measures; the reference point is -1/H of the way from the nadir to the ideal."""
    ideal, nadir = np.array(points.ideal), np.array(points.nadir)
    return {"ideal": _whole(ideal), "nadir": _whole(nadir), "reference": _whole(nadir - (ideal - nadir) / partition)}


def _over_seeds(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the seeds that are there, of `[seed, preference, objective]`."""
    there = np.isfinite(points)
    n = there.sum(0)
    mean = over_queries(np.where(there, points, 0.0).sum(0), n)
    square = np.where(there, (points - mean) ** 2, 0.0).sum(0)
    return mean, np.sqrt(over_queries(square, np.where(n > 1, n - 1, 0)))


def _front_values(
    results: FrontResults,
    dataset: str,
    systems: Sequence[str],
    objectives: Sequence[str],
    points: int,
    samples: Sequence[Sample],
    most: int,
) -> tuple[dict[str, Any], list]:
    """The queries that are shown and their values `[system][preference][objective][query]`, averaged over seeds."""
    import pandas as pd

    table = results.per_query
    table = table[(table.dataset == dataset) & table.system.isin(systems)]
    groups = table.groupby(["fold", "query"], sort=True)
    number = groups.ngroup().to_numpy()
    keys: list[Any] = list(groups.groups)
    index = pd.MultiIndex.from_tuples(keys, names=["fold", "query"])
    kept = _sample(len(index), len(systems) * points * len(objectives), most, dataset)
    shown = [key for key in ((s.fold, s.query) for s in samples) if key in index]
    kept = np.union1d(kept, index.get_indexer(pd.MultiIndex.from_tuples(shown))) if shown else kept
    place = np.full(len(index), -1)
    place[kept] = np.arange(len(kept))
    row = place[number]
    table, row = table[row >= 0], row[row >= 0]
    total, count = np.zeros((2, len(systems), points, len(objectives), len(kept)))
    number = table.system.map({s: i for i, s in enumerate(systems)}).to_numpy(int)
    preference = table.preference.to_numpy(int)
    for k, objective in enumerate(objectives):
        values = table[objective].to_numpy(float)
        there = np.isfinite(values)
        place_of = (number[there], preference[there], k, row[there])
        np.add.at(total, place_of, values[there])
        np.add.at(count, place_of, 1.0)
    values = over_queries(total, count)
    return _queries(index[kept], len(index)), _whole(values)


def _sample_payload(sample: Sample, systems: Sequence[str]) -> dict[str, Any]:
    """Plain lists, with the documents somebody ranks among the best; a system without scores is None."""
    shown = np.unique(np.concatenate([sample.best[s].ravel() for s in systems if s in sample.best]))
    number = np.full(len(sample.documents), -1)
    number[shown] = np.arange(len(shown))
    return {
        "fold": sample.fold,
        "query": sample.query,
        "seed": sample.seed,
        "of": len(sample.documents),
        "documents": [str(sample.documents[d]) for d in shown],
        "labels": [[round(float(v), 3) for v in sample.labels[d]] for d in shown],
        "best": [number[sample.best[s]].tolist() if s in sample.best else None for s in systems],
        "values": [_whole(sample.values[s]) if s in sample.values else None for s in systems],
    }


def _sample(queries: int, values_a_query: int, most: int, name: str) -> np.ndarray:
    """Which queries are shown, ascending: all of them where there is room."""
    room = max(1, most // values_a_query)
    if queries <= room:
        return np.arange(queries)
    chosen = np.random.default_rng(seed_of("drill", name)).choice(queries, room, replace=False)
    return np.sort(chosen)


def _queries(index: pd.Index, of: int) -> dict[str, Any]:
    """Names of the queries that are shown: ids, folds, fold (its number, a query) and how many there are in all."""
    folds = list(dict.fromkeys(index.get_level_values("fold").astype(str)))
    number: Mapping[str, int] = {f: i for i, f in enumerate(folds)}
    return {
        "ids": [str(q) for q in index.get_level_values("query")],
        "folds": folds,
        "fold": [number[str(f)] for f in index.get_level_values("fold")],
        "of": of,
    }


def _whole(values: np.ndarray) -> list:
    """Nested lists of whole numbers, None where there is no value."""
    found = np.rint(np.asarray(values, float) * SCALE)
    return _lists(found)


def _lists(found: np.ndarray) -> list:
    if found.ndim > 1:
        return [_lists(part) for part in found]
    return [int(v) if np.isfinite(v) else None for v in found]
