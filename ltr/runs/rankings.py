"""Scores made elsewhere, laid beside the split they rank: a TREC run file, or a table as Parquet, CSV or TSV.

A table has the columns `query`, `score`, and what says which document: `doc` (or `document`, `docid`), or `row`, its
row in the source file; without either a line is a document, in the order of the source file. What `ltr predict` and
`ltr export` write is such a table, and so is the scores.parquet of a run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ltr.datasets.readers.table_files import open_table, read_columns
from ltr.errors import InputError
from ltr.types import Split

from .per_query import join
from .scores import scores_table, source_rows
from .trec import read_run, scores_of_run

__all__ = ["read_ranking"]

_DOCUMENT = ("doc", "document", "docid")
_KINDS = {"query": pa.string(), "score": pa.float64(), "row": pa.int64(), "preference": pa.string()}
_KINDS |= dict.fromkeys(_DOCUMENT, pa.string())


def read_ranking(
    path: Path | str,
    split: Split,
    *,
    missing: Literal["error", "last"] = "error",
    unknown: Literal["error", "drop"] = "error",
) -> pa.Table:
    """The scores table of `split` from a file, one float64 score a document; see the module for the formats.

    Args:
        missing, unknown: documents a file that names documents does not rank, or that the data does not have, as
            `ltr.runs.trec.scores_of_run` takes them.

    Raises:
        InputError: a broken file, a document without a score, scored twice, or unknown to the split, a score that is no
            finite number, or rankings for several preferences.
    """
    path = Path(path)
    if path.suffix not in (".parquet", ".csv", ".tsv"):
        return scores_of_run(split, read_run(path), missing=missing, unknown=unknown, file=path)
    table = _table(path)
    if "doc" in table.column_names and "row" not in table.column_names:
        keys = table.group_by(["query", "doc"]).aggregate([([], "count_all")])
        twice = keys.filter(pc.greater(keys["count_all"], 1))
        if len(twice):
            name = f"document {twice['doc'][0].as_py()!r} of query {twice['query'][0].as_py()!r}"
            raise InputError(f"{len(twice)} documents are scored twice, the first is {name}", file=path)
        return scores_of_run(split, table, missing=missing, unknown=unknown, file=path)
    if "row" not in table.column_names:
        if len(table) != split.n_documents:
            raise InputError(
                "scores without names of documents must be one a document, in the order of the data",
                file=path,
                expected=f"{split.n_documents} lines, or a column doc or row",
                came=len(table),
            )
        table = table.append_column("row", pa.array(np.sort(source_rows(split))))
    names = split.doc_ids if "doc" in table.column_names else None
    absent = {"doc": pa.string(), "preference": pa.list_(pa.float32())}
    for name, kind in absent.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), kind))
    try:
        scores = join(replace(split, doc_ids=names), table)[0][1]
    except InputError as error:  # it speaks of a table; only here is known which
        raise error.but(file=path) from None
    return scores_table(split, scores, double=True)


def _table(path: Path) -> pa.Table:
    """Columns query, score, and doc and row where they say something, of the types they have in a scores table."""
    columns, there = read_columns(path, _KINDS)
    if lacking := [name for name in ("query", "score") if name not in columns]:
        expected = "columns query, score, and doc or row"
        raise InputError(f"no column {lacking[0]}", file=path, expected=expected, came=there)
    if "preference" in columns and any(columns["preference"].drop_null().to_pylist()):
        raise InputError("rankings for preferences, and one ranking was asked for", file=path, do="Write one of them")
    found = {name: columns[name] for name in ("query", "score")}
    document = next((name for name in _DOCUMENT if name in columns), None)
    if document is not None and any(columns[document].cast(pa.string()).drop_null().to_pylist()):
        found["doc"] = columns[document]
    if "row" in columns and columns["row"].null_count == 0:
        found["row"] = columns["row"]
    if not len(found["score"]):
        raise InputError("a table of scores without scores", file=path)
    table = pa.table({name: _cast(path, name, column) for name, column in found.items()})
    finite = pc.fill_null(pc.is_finite(table["score"]), False)
    if not pc.all(finite).as_py():
        raise _wrong_cell(path, "score", found["score"], pc.index(finite, False).as_py())
    return table


def _cast(path: Path, name: str, column: pa.Array) -> pa.Array:
    """The column as the type it has in a scores table; an error has the first cell that cannot be."""
    try:
        return column.cast(_KINDS[name])
    except pa.ArrowException:
        good, bad = 0, len(column)  # rows that can be read before the first that cannot
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                column[good:middle].cast(_KINDS[name])
                good = middle
            except pa.ArrowException:
                bad = middle
        raise _wrong_cell(path, name, column, good) from None


def _wrong_cell(path: Path, name: str, column: pa.Array, row: int) -> InputError:
    where, line = open_table(path).place(row)
    expected = {"score": "a finite number", "row": "a whole number"}.get(name, "text or a number")
    return InputError(f"{where}, column {name!r}", file=path, line=line, expected=expected, came=column[row].as_py())
