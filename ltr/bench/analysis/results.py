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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr.atomic import read_json
from ltr.bench.suite.plan import RunJob
from ltr.bench.suite.suite import Suite
from ltr.errors import InputError

from .front_results import FrontResults, collect_fronts, holds_fronts, load_front_results
from .results_io import (
    COST,
    KEYS,
    FoundRun,
    damaged,
    find_runs,
    read_facts,
    read_frame,
    tidy_folder,
    write_facts,
    write_frame,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["FrontResults", "Results", "collect", "collect_fronts", "load_any", "load_front_results", "load_results"]

_FILES = ("results.parquet", "runs.parquet", "per_query.parquet", "curves.parquet", "suite.toml", "environment.json")

# "stacked": of a run that trained with others, how many they were: its seconds are a share
_COST = (*COST, "operations", "cpu_seconds", "latency_seconds", "stacked")


@dataclass(frozen=True, eq=False)
class Results:
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

    suite: Suite
    values: pd.DataFrame
    runs: pd.DataFrame
    per_query: pd.DataFrame
    curves: pd.DataFrame
    chosen: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def failures(self) -> pd.DataFrame:
        """Runs without numbers, with the reason."""
        return self.runs[self.runs.status != "done"]

    @property
    def systems(self) -> list[str]:
        """Labels in the order of the suite; what the suite does not name (the best possible ranker) comes last."""
        named = [v.label for v in self.suite.variants()]
        return [*named, *(s for s in dict.fromkeys(self.values.system) if s not in named)]

    def save(self, folder: Path | str) -> Path:
        """Writes the tidy files into `folder`, each whole or not at all."""
        folder = Path(folder)
        write_frame(self.values, folder / "results.parquet")
        write_frame(self.runs, folder / "runs.parquet")
        write_frame(self.per_query, folder / "per_query.parquet")
        write_frame(self.curves, folder / "curves.parquet")
        write_facts(folder, self.suite, self.chosen, self.environment)
        return folder


def load_results(folder: Path | str) -> Results:
    """The results in a folder, or in its `report` folder.

    Raises:
        InputError: no results there, naming the files that are missing.
    """
    if holds_fronts(folder):
        raise InputError(
            "these are results of methods for several objectives", file=folder, do="Read them with load_front_results"
        )
    folder = tidy_folder(folder, _FILES)
    values, runs, per_query, curves = (read_frame(folder / name) for name in _FILES[:4])
    runs = runs.rename(columns={"fleet": "stacked"})  # results are older than what is recorded now
    runs[[c for c in ("train_queries", *_COST) if c not in runs]] = math.nan
    suite, chosen, environment = read_facts(folder)
    return Results(suite, values, runs, per_query, curves, chosen, environment)


def load_any(folder: Path | str) -> Results | FrontResults:
    """The results in a folder, of rankers or of methods."""
    return load_front_results(folder) if holds_fronts(folder) else load_results(folder)


def collect(
    suite: Suite,
    out: Path | str,
    jobs: Iterable[RunJob],
    *,
    chosen: dict | None = None,
    environment: dict | None = None,
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

    out = Path(out)
    kept = [m for m in suite.measures if m in {suite.headline, *suite.per_query}]
    values, runs, tables, curves = [], [], [], []
    for found in find_runs(out, jobs, _COST, ended or {}):
        if found.record is not None:
            try:
                read = _read(found, out / found.job.folder, kept)
            except Exception as error:  # a file without a hash that is no Parquet file, or not of these columns
                found = damaged(found, error)
            else:
                values += read[0]
                tables.append(read[1])
                curves += read[2]
        runs.append(found.row)
    return Results(
        suite,
        pd.DataFrame(values, columns=[*KEYS, "split", "measure", "mean", "queries", "blank"]),
        pd.DataFrame(
            runs,
            columns=[
                *KEYS,
                "status",
                "reason",
                "test_queries",
                "test_blank",
                "train_queries",
                *_COST,
                "selected",
                "config_hash",
                "store_hash",
                "command",
            ],
        ).astype(dict.fromkeys(_COST, "float64")),
        pa.concat_tables(tables).to_pandas() if tables else pd.DataFrame(columns=[*KEYS, "query", *kept]),
        pd.DataFrame(curves, columns=[*KEYS, "step", "value"]),
        chosen or {},
        environment or {},
    )


def _read(found: FoundRun, folder: Path, kept: Sequence[str]) -> tuple[list[dict], pa.Table, list[dict]]:
    """Means, values a query and learning curve of a finished run, each with its key."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from ltr.runs.per_query import read_per_query

    key, record = found.key, found.record
    assert record is not None
    main = found.job.config.data.objective or record.measures[0]["objective"]
    values = []
    for m in record.measures:
        if m["objective"] == main:
            mean = math.nan if m["mean"] is None else m["mean"]
            values.append({**key, **{k: m[k] for k in ("split", "measure", "queries", "blank")}, "mean": mean})
    table = read_per_query(folder / "per_query" / "test.parquet")
    alone = pc.and_(pc.equal(table["objective"], main), pc.is_null(table["preference"]))
    table = table.select(["query", "blank", *kept]).filter(alone)
    found.row.update(test_queries=len(table), test_blank=pc.sum(table["blank"]).as_py() or 0)
    found.row.update(train_queries=record.data["splits"]["train"]["queries"])
    columns = {name: table[name].cast(pa.float32()) for name in kept}
    same = {name: pa.repeat(pa.scalar(value), len(table)) for name, value in key.items()}
    curve = [{**key, "step": step, "value": value} for step, value in _curve(folder)]
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
