"""Results as a few tidy files: everything a page says is computed from them, without the run folders.

    results.parquet      a row a run x split x measure: mean, queries that count, queries skipped (blank)
    runs.parquet         a row a run: status and reason, cost, selection, hashes; failed and missing runs too
    per_query.parquet    a row a run x test query: a float32 column for each measure that is kept
    curves.parquet       a row a run x epoch or iteration: the select measure on validation
    suite.toml           the suite with every default written out
    chosen.toml          what tuning tried and chose
    environment.json     machine, versions, wall time, the command

Names are dictionary-encoded and the files compressed: 300 runs over 784 queries take about 1 MB. Those of a suite of
methods: front_results.py; what the two share: results_io.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ltr.atomic import read_json
from ltr.bench.suite.plan import RunJob
from ltr.bench.suite.suite import Suite
from ltr.errors import InputError

from .front_results import FrontResults, collect_fronts, holds_fronts, load_front_results
from .results_io import COST, KEYS, FoundRun, Tidy, find_runs

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FrontResults", "Results", "collect", "collect_fronts", "load_any", "load_front_results", "load_results"]

# "stacked": of a run that trained with others, how many they were: its seconds are a share
_COST = (*COST, "operations", "cpu_seconds", "latency_seconds", "stacked")


@dataclass(frozen=True, eq=False)
class Results(Tidy):
    """What a suite found.

    Attributes:
        suite: as it was run.
        values: columns dataset, system, fold, seed, split, measure, mean, queries, blank.
        runs: columns dataset, system, fold, seed, status, reason, test_queries, test_blank, train_queries, the cost
            columns, selected
            (value on validation), config_hash, store_hash, command.
        per_query: columns dataset, system, fold, seed, query and a column a measure; NaN where a query is skipped.
        curves: columns dataset, system, fold, seed, step, value.
        chosen: the table of chosen.toml; empty where nothing was tuned.
        environment: machine, versions, wall time, command.
    """

    FILES: ClassVar = {
        "values": "results.parquet",
        "runs": "runs.parquet",
        "per_query": "per_query.parquet",
        "curves": "curves.parquet",
    }

    suite: Suite
    values: pd.DataFrame
    runs: pd.DataFrame
    per_query: pd.DataFrame
    curves: pd.DataFrame
    chosen: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def systems(self) -> list[str]:
        """Labels in the order of the suite; what the suite does not name (the best possible ranker) comes last."""
        named = [v.label for v in self.suite.variants()]
        return [*named, *(s for s in dict.fromkeys(self.values.system) if s not in named)]


def load_results(folder: Path | str) -> Results:
    """The results in a folder, or in its `report` folder.

    Raises:
        InputError: no results there, naming the files that are missing.
    """
    if holds_fronts(folder):
        raise InputError(
            "these are results of methods for several objectives", file=folder, do="Read them with load_front_results"
        )
    found = Results.load(folder)
    runs = found.runs.rename(columns={"fleet": "stacked"})  # results are older than what is recorded now
    runs[[c for c in ("train_queries", *_COST) if c not in runs]] = math.nan
    return replace(found, runs=runs)


def load_any(folder: Path | str) -> Results | FrontResults:
    """The results in a folder, of rankers or of methods."""
    return load_front_results(folder) if holds_fronts(folder) else load_results(folder)


def collect(
    suite: Suite,
    out: Path | str,
    jobs: Iterable[RunJob],
    *,
    chosen: dict | None = None,
    ended: Mapping[str, tuple[str, str]] | None = None,
) -> Results:
    """Reads the run folders of `jobs` below `out`.

    Args:
        ended: folder of a job -> (status, reason) as the launcher saw it end; says more than the folder where a worker
            died or nothing was written.

    A job without a folder is a row with status "missing"; a folder that holds a run of another config (the suite was
    edited since) is "stale", one whose files are not those the run left "damaged": none of their numbers are taken.
    """
    import pandas as pd
    import pyarrow as pa

    kept = [m for m in suite.measures if m in {suite.headline, *suite.per_query}]
    values, runs, tables, curves = [], [], [], []
    for row, parts in find_runs(Path(out), jobs, _COST, ended or {}, lambda run: _read(run, kept)):
        runs.append(row)
        if parts is not None:
            values += parts[0]
            tables.append(parts[1])
            curves += parts[2]
    columns = [*KEYS, "status", "reason", "test_queries", "test_blank", "train_queries", *_COST]
    columns += ["selected", "config_hash", "store_hash", "command"]
    return Results(
        suite,
        pd.DataFrame(values, columns=[*KEYS, "split", "measure", "mean", "queries", "blank"]),
        pd.DataFrame(runs, columns=columns).astype(dict.fromkeys(_COST, "float64")),
        pa.concat_tables(tables).to_pandas() if tables else pd.DataFrame(columns=[*KEYS, "query", *kept]),
        pd.DataFrame(curves, columns=[*KEYS, "step", "value"]),
        chosen or {},
    )


def _read(found: FoundRun, kept: Sequence[str]) -> tuple[list[dict], pa.Table, list[dict]]:
    """Means, values a query and learning curve of a finished run, each with its key."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from ltr.runs.per_query import read_per_query

    key, record = found.key, found.record
    main = found.job.config.data.objective or record.measures[0]["objective"]
    values = []
    for m in record.measures:
        if m["objective"] == main:
            mean = math.nan if m["mean"] is None else m["mean"]
            values.append({**key, **{k: m[k] for k in ("split", "measure", "queries", "blank")}, "mean": mean})
    table = read_per_query(found.folder / "per_query" / "test.parquet")
    alone = pc.and_(pc.equal(table["objective"], main), pc.is_null(table["preference"]))
    table = table.select(["query", "blank", *kept]).filter(alone)
    found.row.update(test_queries=len(table), test_blank=pc.sum(table["blank"]).as_py() or 0)
    found.row.update(train_queries=record.data["splits"]["train"]["queries"])
    columns = {name: table[name].cast(pa.float32()) for name in kept}
    same = {name: pa.repeat(pa.scalar(value), len(table)) for name, value in key.items()}
    curve = [{**key, "step": step, "value": value} for step, value in _curve(found.folder)]
    return values, pa.table({**same, "query": table["query"], **columns}), curve


def _curve(folder: Path) -> list[tuple[int, float]]:
    """(epoch or iteration, select measure on validation) of a run, as its ranker left it; empty for baselines."""
    path = folder / "ranker" / "training.json"
    try:
        history = read_json(path).get("history", [])
        return [
            (int(h.get("epoch", h.get("iteration", i))), float(h["vali"]))
            for i, h in enumerate(history)
            if h.get("vali") is not None
        ]
    except FileNotFoundError:
        return []
    except InputError:
        raise
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError("broken history of a training", file=path, came=str(error)) from None
