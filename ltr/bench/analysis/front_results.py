"""Results of a suite of methods as a few tidy files; every front, interval and picture is computed from them.

    fronts.parquet             a row a run x split x preference x objective: measure, mean, queries, skipped (blank)
    per_query_fronts.parquet   a row a run x test query x preference: a float32 column an objective, NaN where skipped
                               (a main label that is kept apart has its rows and its column in both under its own name)
    runs.parquet               a row a run: status and reason, cost, selection, hashes; failed and missing runs too
    suite.toml, chosen.toml, environment.json     as of any suite, see results.py

A preference is its row in `ltr.objectives.lattice(m, suite.preferences)`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ltr.bench.suite.plan import RunJob
from ltr.bench.suite.suite import Suite
from ltr.errors import InputError

from .results_io import COST, KEYS, FoundRun, Tidy, asked_or_committed, find_runs, place_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = [
    "FRONT_COST",
    "STUDY",
    "FrontResults",
    "collect_fronts",
    "holds_fronts",
    "lattice_rows",
    "load_front_results",
    "study_folders",
]

STUDY = ("core-*", "transformer-*", "cosdpo-*")  # results that the page on fronts is made of
FRONT_COST = (*COST, "models_trained", "seconds_a_point", "operations", "cpu_seconds")
_POINT = ("split", "preference", "objective", "measure", "mean", "queries", "blank")


@dataclass(frozen=True, eq=False)
class FrontResults(Tidy):
    """What a suite of methods found.

    Attributes:
        suite: as it was run.
        fronts: columns dataset, system, fold, seed, split ("vali" or "test"), preference (int16), objective, measure,
            mean (NaN where no query counts), queries, blank.
        per_query: columns dataset, system, fold, seed, query, preference and a float32 column an objective; test only.
        runs: columns dataset, system, fold, seed, status, reason, test_queries, the cost columns with models_trained,
            seconds_a_point, operations and cpu_seconds, selected (hypervolume on validation, seen from the origin),
            kept (what validation chose inside the run, in words), config_hash, store_hash, command; of a suite with a
            main label also reference, what the reference ranker has on it (test).
        chosen: the table of chosen.toml; empty where nothing was tuned.
        environment: machine, versions, wall time, command.
    """

    FILES: ClassVar = {"fronts": "fronts.parquet", "per_query": "per_query_fronts.parquet", "runs": "runs.parquet"}

    suite: Suite
    fronts: pd.DataFrame
    per_query: pd.DataFrame
    runs: pd.DataFrame
    chosen: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)

    @property
    def lattice(self) -> np.ndarray:
        """float64 `[preference, objective]`."""
        from ltr.objectives import lattice

        return lattice(len(self.suite.objectives), self.suite.preferences)

    @property
    def systems(self) -> list[str]:
        """Labels in the order of the suite."""
        return [v.label for v in self.suite.variants()]

    def points(self, dataset: str, system: str, fold: str, seed: int, split: str = "test") -> np.ndarray:
        """The front of one run, float64 `[preference, objective]`; NaN where there is none."""
        f = self.fronts
        keys = (f.dataset == dataset) & (f.system == system) & (f.fold == fold) & (f.seed == seed) & (f.split == split)
        table = f[keys].pivot(index="preference", columns="objective", values="mean")
        return table.reindex(index=range(len(self.lattice)), columns=list(self.suite.objectives)).to_numpy(np.float64)

    def encoding(self, name: str) -> dict[str, Any]:
        if name != "per_query":
            return {}
        # Values do not repeat: split into bytes they compress, as a dictionary they do not.
        values = _labels(self.suite)
        names = [c for c in self.per_query.columns if c not in values]
        return {"use_dictionary": names, "column_encoding": dict.fromkeys(values, "BYTE_STREAM_SPLIT")}


def study_folders(asked: Sequence[Path | str] = ()) -> list[Path]:
    """The folders asked for, or the committed results of the study.

    Raises:
        InputError: none asked for and none there.
    """
    return asked_or_committed(asked, STUDY, "fronts", "core-synthetic2")


def holds_fronts(folder: Path | str) -> bool:
    """Whether results of methods lie in a folder, or in its `report` folder."""
    return (place_of(folder) / FrontResults.FILES["fronts"]).is_file()


def load_front_results(folder: Path | str) -> FrontResults:
    """The results in a folder, or in its `report` folder.

    Raises:
        InputError: no results there, naming the files that are missing.
    """
    return FrontResults.load(folder)


def lattice_rows(preferences, lattice: np.ndarray) -> np.ndarray:
    """int16 row of the lattice of each preference `[..., objective]`, given with float32 precision or better.

    Raises:
        InputError: one that is not on the lattice.
    """
    w = np.asarray(preferences, np.float64)
    if w.shape[-1] != lattice.shape[1]:
        raise InputError("preferences of another number of objectives", expected=f"{lattice.shape[1]}", came=w.shape)
    distance = np.abs(w[..., None, :] - lattice).max(-1)
    found = distance.argmin(-1)
    off = np.take_along_axis(distance, found[..., None], -1)[..., 0] > 1e-5
    if off.any():
        raise InputError("a preference that is not on the lattice", came=w[off][0].tolist())
    return found.astype(np.int16)


def collect_fronts(
    suite: Suite,
    out: Path | str,
    jobs: Iterable[RunJob],
    *,
    chosen: dict | None = None,
    ended: Mapping[str, tuple[str, str]] | None = None,
) -> FrontResults:
    """Reads the run folders of `jobs` below `out`; arguments and rules as `ltr.bench.analysis.results.collect`."""
    import pandas as pd

    from ltr.objectives import lattice as lattice_of

    names, lattice = _labels(suite), lattice_of(len(suite.objectives), suite.preferences)
    fronts, runs, tables = [], [], []
    for row, parts in find_runs(Path(out), jobs, FRONT_COST, ended or {}, lambda run: _read(run, names, lattice)):
        runs.append({"kept": "", **row})
        if parts is not None:
            fronts += parts[0]
            tables.append(parts[1])
    columns = [*KEYS, "status", "reason", "test_queries", *FRONT_COST]
    columns += ["selected", "kept", "config_hash", "store_hash", "command", *(["reference"] if suite.main else [])]
    numbers = [*FRONT_COST, *columns[columns.index("command") + 1 :]]
    wide = [*KEYS, "query", "preference", *names]
    return FrontResults(
        suite,
        pd.DataFrame(fronts, columns=[*KEYS, *_POINT]).astype({"preference": "int16", "mean": "float64"}),
        pd.concat(tables, ignore_index=True)[wide] if tables else pd.DataFrame(columns=wide),
        pd.DataFrame(runs, columns=columns).astype(dict.fromkeys(numbers, "float64")),
        chosen or {},
    )


def _labels(suite: Suite) -> list[str]:
    """The label columns that were measured: objectives, and behind them the main label that is kept apart."""
    return [*suite.objectives, *filter(None, [suite.main])]


def kept(selection: Mapping[str, Any]) -> str:
    """What validation chose inside a run, in words: epochs (rounds of trees) of its models, and lambda.

    >>> kept({"epochs": [12, 3, None], "control": 16.0})
    'epoch 3 to 12, lambda 16'
    """
    epochs = sorted({int(e) for e in selection.get("epochs", []) if e is not None})
    parts = [f"epoch {epochs[0]}" + (f" to {epochs[-1]}" if len(epochs) > 1 else "")] if epochs else []
    return ", ".join(parts + ([f"lambda {selection['control']:g}"] if "control" in selection else []))


def _read(found: FoundRun, names: list[str], lattice: np.ndarray) -> tuple[list[dict], pd.DataFrame]:
    """Points and values a query of a finished run, each with its key."""
    from ltr.runs.per_query import read_per_query

    rows, record = found.record.measures, found.record
    at = lattice_rows([m["preference"] for m in rows], lattice)
    means = [math.nan if m["mean"] is None else m["mean"] for m in rows]
    points = [{**found.key, **m, "preference": p, "mean": mean} for m, p, mean in zip(rows, at, means, strict=True)]
    measures = {m["objective"]: m["measure"] for m in rows}
    table = _wide(read_per_query(found.folder / "per_query" / "test.parquet"), measures, names, lattice)
    found.row.update(test_queries=table["query"].nunique(), kept=kept(record.selection))
    found.row["reference"] = record.reference.get("test")
    return points, table.assign(**found.key)


def _wide(table: pa.Table, measures: Mapping[str, str], names: list[str], lattice: np.ndarray) -> pd.DataFrame:
    """A per-query table with a column an objective."""
    import pandas as pd
    import pyarrow.compute as pc

    parts = {name: table.filter(pc.equal(table["objective"], name)) for name in names}
    first = parts[names[0]]
    weights = first["preference"].combine_chunks().flatten().to_numpy().reshape(-1, lattice.shape[1])
    columns = {"query": first["query"].to_pandas(), "preference": lattice_rows(weights, lattice)}
    for name, part in parts.items():
        # Rows of an objective stand in the same order, preference by preference and query by query.
        columns[name] = part[measures[name]].to_numpy().astype(np.float32)
    return pd.DataFrame(columns)
