"""From scores and the labels of the store to numbers.

Labels never come from a scores file: the scores are laid beside the split they claim to score, query by query and
document by document, and what does not fit is an error, not a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..errors import InputError
from .files import whole_file
from .scores import check_scores, source_rows

if TYPE_CHECKING:
    import pandas as pd

    from ..types import Split

__all__ = ["FACTS", "join", "per_query", "read_per_query", "summarise", "to_frame", "write_per_query"]

# Columns of per_query that are facts about the list; every other column is a measure.
FACTS = ("query", "objective", "preference", "documents", "blank")

_OTHER = "Were they made from another fold or another version of the data?"


def join(split: Split, scores: pa.Table) -> list[tuple[tuple[float, ...] | None, np.ndarray]]:
    """Scores in the split's order, one entry a preference.

    Returns:
        `(preference, scores [documents])` pairs; preference is None for rankers that take none.

    Raises:
        InputError: a query or document of the split without a score, scored twice, or unknown to the split.
    """
    if len(scores) == 0:
        raise InputError("the scores are empty", expected=f"{split.n_documents} documents of {split.name!r}")
    # Grouped by their text: a float32 list is no key of its own in Arrow, and a run has tens of preferences at most.
    keys = (
        [None if p is None else tuple(p) for p in scores["preference"].to_pylist()]
        if scores["preference"].null_count < len(scores)
        else None
    )
    if keys is None:
        return [(None, _aligned(split, scores))]
    found = []
    for key in dict.fromkeys(keys):
        rows = np.fromiter((k == key for k in keys), bool, len(keys))
        found.append((key, _aligned(split, scores.filter(pa.array(rows)))))
    return found


def _aligned(split: Split, scores: pa.Table) -> np.ndarray:
    rows, ours = scores["row"].to_numpy(), source_rows(split)
    order, mine = np.argsort(rows, kind="stable"), np.argsort(ours, kind="stable")
    if len(rows) != len(ours) or not np.array_equal(rows[order], ours[mine]):
        extra, lacking = np.setdiff1d(rows, ours), np.setdiff1d(ours, rows)
        twice = len(rows) - len(np.unique(rows))
        raise InputError(
            f"the scores are not those of {split.name or 'this split'!r}: {len(lacking)} documents without a score, "
            f"{len(extra)} unknown, {twice} scored twice" + _first(split, lacking),
            expected=f"{len(ours)} documents",
            came=len(rows),
            do=_OTHER,
        )
    take = np.empty(len(rows), np.int64)
    take[mine] = order  # take[document of the split] = its line in the scores
    query = np.repeat(np.asarray(split.query_ids).astype(str), split.lengths)
    _same(split, "query", query, scores["query"], take)
    if split.doc_ids is not None:
        _same(split, "doc", np.asarray(split.doc_ids).astype(str), scores["doc"], take)
    return check_scores(split, scores["score"].to_numpy()[take])


def _first(split: Split, rows: np.ndarray) -> str:
    return f" (the first is row {rows[0]})" if len(rows) else ""


def _same(split: Split, what: str, ours: np.ndarray, theirs: pa.ChunkedArray, take: np.ndarray) -> None:
    ours = pa.array(ours.astype(object), pa.string())
    theirs = theirs.take(pa.array(take))
    unequal = pc.fill_null(pc.not_equal(theirs, ours), True)
    if pc.any(unequal).as_py():
        at = pc.index(unequal, True).as_py()
        raise InputError(
            f"the scores name another {what} than the data for {pc.sum(unequal).as_py()} documents, "
            f"first for document {at} of {split.name!r}",
            expected=ours[at].as_py(),
            came=theirs[at].as_py(),
            do=_OTHER,
        )


def per_query(
    split: Split, scores: pa.Table, measures: Sequence[str], objectives: Sequence[str] | None = None
) -> pa.Table:
    """One row a query, objective and preference; one column a measure.

    Args:
        split: the labelled lists.
        scores: their scores, in any order.
        measures: names of measures.
        objectives: label columns to measure; the split's main one by default.

    Returns:
        `query, objective, preference, documents, blank` (no document has a positive label) and one float64 column a
        measure, null where the query does not count.
    """
    from ..metrics import evaluate, measure

    names = [repr(measure(m)) for m in measures]
    # A query without documents has nothing to rank and is nobody's average.
    there = np.flatnonzero(split.lengths > 0)
    query = pa.array(np.asarray(split.query_ids).astype(str)[there].astype(object), pa.string())
    tables = []
    for preference, aligned in join(split, scores):
        for objective in objectives or split.objectives[:1]:
            labels = np.asarray(split.label(objective))
            values = evaluate(names, aligned, labels, split.offsets)
            blank = np.maximum.reduceat(labels, split.offsets[:-1][there]) <= 0 if len(there) else np.zeros(0, bool)
            columns = {
                "query": query,
                "objective": pa.array([objective] * len(there), pa.string()),
                "preference": pa.array([preference] * len(there), pa.list_(pa.float32())),
                "documents": pa.array(split.lengths[there], pa.int64()),
                "blank": pa.array(blank, pa.bool_()),
            }
            for name in names:
                columns[name] = pa.array(values[name][there], pa.float64(), from_pandas=True)  # NaN: does not count
            tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def summarise(table: pa.Table) -> list[dict[str, Any]]:
    """Means of a per-query table: rows of `objective, preference, measure, mean, queries, blank`.

    `queries` counts the queries in the mean and `blank` those the measure leaves out of it; `mean` is NaN where none
    counts.
    """
    from ..metrics import mean

    rows = []
    groups = list(zip(table["objective"].to_pylist(), map(_hashable, table["preference"].to_pylist()), strict=True))
    for group in dict.fromkeys(groups):
        part = table.filter(pa.array([g == group for g in groups]))
        for name in (c for c in table.column_names if c not in FACTS):
            values = part[name].to_numpy()
            counted = int(np.isfinite(values).sum())
            rows.append(
                {
                    "objective": group[0],
                    "preference": None if group[1] is None else list(group[1]),
                    "measure": name,
                    "mean": float(mean(values)) if counted else float("nan"),
                    "queries": counted,
                    "blank": len(values) - counted,
                }
            )
    return rows


def _hashable(preference: Iterable[float] | None):
    return None if preference is None else tuple(preference)


def write_per_query(path: Path, table: pa.Table) -> None:
    """Writes the table whole or not at all."""
    with whole_file(path) as beside:
        pq.write_table(table, beside)


def read_per_query(path: Path | str) -> pa.Table:
    """A per-query table of a run."""
    path = Path(path)
    if not path.is_file():
        raise InputError("no per-query values", file=path, expected="a per_query parquet of a finished run")
    return pq.read_table(path)


def to_frame(table: pa.Table) -> pd.DataFrame:
    """A scores or per-query table as a pandas frame; null is NaN in number columns."""
    return table.to_pandas()
