"""Rows that are added to the results of a suite of rankers, measured from a ranking of the test queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from .results_io import COST

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ltr.types import Task

    from .results import Results

__all__ = ["Found", "numbers_of", "with_row"]


@dataclass(frozen=True, eq=False)
class Found:
    """What is known of a ranking of the test queries of one fold.

    Attributes:
        run: a row of the table of runs.
        values: rows of the table of values; per_query: values of its queries; scores: what they were measured from.
    """

    run: dict[str, Any]
    values: Sequence[dict[str, Any]] = ()
    per_query: pd.DataFrame | None = None
    scores: pa.Table | None = None


def numbers_of(results: Results, task: Task, scores: pa.Table, key: Mapping[str, Any]) -> Found:
    """The suite's measures of a table of scores; `key` is dataset, system, fold and seed."""
    from ltr.runs.per_query import per_query, summarise

    suite, split = results.suite, task.test
    table = per_query(split, scores, suite.measures, [suite.objective or split.objectives[0]])
    names = ("measure", "mean", "queries", "blank")
    values = [{**key, "split": "test", **{n: m[n] for n in names}} for m in summarise(table)]
    kept = [c for c in results.per_query.columns if c in table.column_names and c != "query"]
    frame = table.select(["query", *kept]).to_pandas().astype(dict.fromkeys(kept, "float32")).assign(**key)
    run = {**key, "test_queries": len(table), "test_blank": sum(table["blank"].to_pylist())}
    return Found(run, values, frame, scores)


def with_row(results: Results, found: Found) -> Results:
    """The results with a row; folds of its dataset that it has no scores of are rows without numbers."""
    import pandas as pd

    runs, run = results.runs, found.run
    mine = (runs.dataset == run["dataset"]) & (runs.system == run["system"])
    runs = runs[~(mine & (runs.fold == run["fold"]) & (runs.status == "missing"))]
    have = {*runs.fold[mine.reindex(runs.index)], run["fold"]}
    lacking = [fold for fold in dict.fromkeys(runs.fold[runs.dataset == run["dataset"]]) if fold not in have]
    rows = [run, *({**run, "fold": f, "status": "missing", "reason": "no scores of this fold"} for f in lacking)]
    for each in rows[1:]:
        each.update(dict.fromkeys((*COST, "test_queries", "test_blank", "store_hash", "command")))
    # All-empty columns of a few rows change no type of the others.
    kinds = {name: kind for name, kind in runs.dtypes.items() if kind.kind == "f" or str(kind).startswith("str")}
    runs = pd.concat([runs, pd.DataFrame(rows).reindex(columns=runs.columns).astype(kinds)], ignore_index=True)
    values, tables = results.values, results.per_query
    if found.values:
        values = pd.concat([values, pd.DataFrame(found.values)[list(values.columns)]], ignore_index=True)
    if found.per_query is not None:
        tables = pd.concat([tables, found.per_query[list(tables.columns)]], ignore_index=True)
    return replace(results, values=values, runs=runs, per_query=tables)
