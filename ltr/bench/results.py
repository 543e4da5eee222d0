"""Results as a few tidy files: everything a page says is computed from them, without the run folders.

    results.parquet      a row a run x split x measure: mean, queries that count, queries left out
    runs.parquet         a row a run: status and reason, cost, selection, hashes; failed and missing runs too
    per_query.parquet    a row a run x test query: a float32 column for each measure that is kept
    curves.parquet       a row a run x epoch or iteration: the select measure on validation
    suite.toml           the suite with every default written out
    chosen.toml          what tuning tried and chose
    environment.json     machine, versions, wall time, the command

Names are dictionary-encoded and the files compressed: 300 runs over 784 queries take about 1 MB.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr import strict
from ltr.errors import InputError
from ltr.runs.files import whole_file

from .matrix import Suite, check
from .plan import Job

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Results", "collect", "load_results"]

KEYS = ("dataset", "system", "fold", "seed")
COST = (
    "fit_seconds",
    "score_seconds",
    "score_documents_per_second",
    "train_documents_per_second",
    "train_step_seconds",
    "parameters",
    "peak_memory_bytes",
)
_FILES = ("results.parquet", "runs.parquet", "per_query.parquet", "curves.parquet", "suite.toml", "environment.json")


@dataclass(frozen=True, eq=False)
class Results:
    """What a suite found.

    Attributes:
        suite: as it was run.
        values: columns dataset, system, fold, seed, split, measure, mean, queries, blank.
        runs: columns dataset, system, fold, seed, status, reason, test_queries, test_blank, the cost columns, selected
            (value on validation), config_hash, store_hash, command.
        per_query: columns dataset, system, fold, seed, query and a column a measure; NaN where a query is left out.
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
        _write_frame(self.values, folder / "results.parquet")
        _write_frame(self.runs, folder / "runs.parquet")
        _write_frame(self.per_query, folder / "per_query.parquet")
        _write_frame(self.curves, folder / "curves.parquet")
        strict.write_toml(folder / "suite.toml", self.suite)
        if self.chosen:
            strict.write_toml(folder / "chosen.toml", self.chosen)
        with whole_file(folder / "environment.json") as path:
            path.write_text(json.dumps(self.environment, indent=1, sort_keys=True) + "\n")
        return folder


def load_results(folder: Path | str) -> Results:
    """The results in a folder, or in its `report` folder.

    Raises:
        InputError: no results there, naming the files that are missing.
    """
    import pandas as pd

    folder = Path(folder)
    if not (folder / "results.parquet").is_file() and (folder / "report" / "results.parquet").is_file():
        folder = folder / "report"
    missing = [name for name in _FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            "no results of a suite here", file=folder, expected=", ".join(_FILES), do=f"Missing: {', '.join(missing)}"
        )
    frames = [pd.read_parquet(folder / name) for name in _FILES[:4]]
    frames[1][[c for c in COST if c not in frames[1]]] = math.nan  # results are older than what is recorded now
    suite = check(strict.bind(Suite, strict.read_toml(folder / "suite.toml"), file=folder / "suite.toml"))
    chosen = strict.read_toml(folder / "chosen.toml") if (folder / "chosen.toml").is_file() else {}
    return Results(
        suite, *(_plain_names(f) for f in frames), chosen, json.loads((folder / "environment.json").read_text())
    )


def collect(
    suite: Suite,
    out: Path | str,
    jobs: Iterable[Job],
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
    edited since) is "stale" and none of its numbers are taken.
    """
    import pandas as pd

    from ltr.runs import config_hash, read_record, resolve
    from ltr.runs.evaluate import read_per_query, to_frame

    out = Path(out)
    kept = [m for m in suite.measures if m in {suite.headline, *suite.per_query}]
    values, runs, tables, curves = [], [], [], []
    for job in jobs:
        key = {"dataset": job.dataset, "system": job.system, "fold": job.fold, "seed": job.seed}
        record = read_record(out / job.folder)
        if record is None or not record.done and job.folder in (ended or {}):
            status, reason = (ended or {}).get(job.folder, ("missing", "not run yet"))
            runs.append({**key, "status": status, "reason": reason})
            continue
        if record.config_hash != config_hash(resolve(job.config)):
            runs.append({**key, "status": "stale", "reason": "the folder holds a run of another config"})
            continue
        row = {name: record.cost.get(name) for name in COST}
        row |= {"selected": record.selection.get("value"), "config_hash": record.config_hash}
        row |= {"store_hash": record.hashes.get("store"), "command": record.command}
        run = {**key, "status": record.status, "reason": record.reason, **row}
        runs.append(run)
        if not record.done:
            continue
        main = job.config.data.objective or record.measures[0]["objective"]
        for m in record.measures:
            if m["objective"] == main:
                mean = math.nan if m["mean"] is None else m["mean"]
                values.append({**key, **{k: m[k] for k in ("split", "measure", "queries", "blank")}, "mean": mean})
        table = to_frame(read_per_query(out / job.folder / "per_query" / "test.parquet"))
        table = table[(table.objective == main) & table.preference.isna()]
        run |= {"test_queries": len(table), "test_blank": int(table.blank.sum())}
        tables.append(table[["query", *kept]].astype(dict.fromkeys(kept, "float32")).assign(**key))
        curves += [{**key, "step": step, "value": value} for step, value in _curve(out / job.folder)]
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
                *COST,
                "selected",
                "config_hash",
                "store_hash",
                "command",
            ],
        ).astype(dict.fromkeys(COST, "float64")),
        pd.concat(tables, ignore_index=True)[[*KEYS, "query", *kept]]
        if tables
        else pd.DataFrame(columns=[*KEYS, "query", *kept]),
        pd.DataFrame(curves, columns=[*KEYS, "step", "value"]),
        chosen or {},
        environment or {},
    )


def _curve(folder: Path) -> list[tuple[int, float]]:
    """(epoch or iteration, select measure on validation) of a run, as its ranker left it; empty for baselines."""
    path = folder / "ranker" / "training.json"
    history = json.loads(path.read_text()).get("history", []) if path.is_file() else []
    return [
        (int(h.get("epoch", h.get("iteration", i))), float(h["vali"]))
        for i, h in enumerate(history)
        if h.get("vali") is not None
    ]


def _write_frame(frame: pd.DataFrame, path: Path) -> None:
    # Names become dictionaries (a system's name is stored once, not a row), numbers keep their type.
    names = {c: "category" for c in frame.columns if frame[c].dtype == object or str(frame[c].dtype).startswith("str")}
    with whole_file(path) as beside:
        frame.astype(names).to_parquet(beside, index=False, compression="zstd")


def _plain_names(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.astype({c: "str" for c in frame.columns if str(frame[c].dtype) == "category"})
