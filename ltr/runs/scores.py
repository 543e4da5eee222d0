"""scores.parquet: what a ranker said about every document of a split.

Columns: `query` (string), `doc` (string, null where the source names no documents), `row` (int64, the document's row in
the source file), `score` (float32), `preference` (list of float32, null for rankers that take none). One row a
document, or one row a document and preference: all documents with the first preference, then all with the second.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ltr.atomic import whole_file
from ltr.errors import InputError
from ltr.types import Split

__all__ = [
    "SCHEMA",
    "check_scores",
    "names_of",
    "read_parquet",
    "read_scores",
    "scores_table",
    "source_rows",
    "write_scores",
]

SCHEMA = pa.schema(
    [
        ("query", pa.string()),
        ("doc", pa.string()),
        ("row", pa.int64()),
        ("score", pa.float32()),
        ("preference", pa.list_(pa.float32())),
    ]
)


def source_rows(split: Split) -> np.ndarray:
    """int64 `[documents]`: the row of each document in its source file."""
    return np.arange(split.n_documents, dtype=np.int64) if split.row is None else np.asarray(split.row, np.int64)


def check_scores(split: Split, scores) -> np.ndarray:
    """`[documents]`: the scores if they are one finite number a document, else an error that counts the others.

    float64 stays float64 (scores made elsewhere may differ by less than float32 can say), all else becomes float32. A
    document without a score has no place in a ranking, and every evaluator treats NaN in its own way.
    """
    scores = np.asarray(scores)
    scores = scores if scores.dtype == np.float64 else scores.astype(np.float32)
    if scores.shape != (split.n_documents,):
        raise InputError(
            f"scores of {split.name or 'the split'!r} do not fit",
            expected=f"[documents={split.n_documents}]",
            came=scores.shape,
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        query = split.query_ids[np.searchsorted(split.offsets, bad[0], side="right") - 1]
        raise InputError(
            f"{len(bad)} of {len(scores)} scores are not finite, the first in query {query!s}",
            expected="one finite number a document",
            came=float(scores[bad[0]]),
            do="Training may have diverged: try a smaller learning rate or another transform",
        )
    return scores


def scores_table(split: Split, scores, preference=None, *, double: bool = False) -> pa.Table:
    """The table of one split's scores.

    Args:
        split: `[documents]` in lists.
        scores: `[documents]`, or `[preference, documents]`; finite.
        preference: `[objective]` weights the ranker was asked with, or `[preference, objective]`, or None.
        double: whether the column of scores is float64, as run files need, and not float32, as rankers give them.
    """
    weights = SCHEMA.field("preference").type
    kind = pa.float64() if double else pa.float32()
    scores = np.asarray(scores, kind.to_pandas_dtype())
    if preference is None:
        blocks = [check_scores(split, scores)]
        asked = [pa.nulls(split.n_documents, weights)]
    else:
        blocks, asked = _rankings(split, scores, np.atleast_2d(np.asarray(preference, np.float32)))
    # The same names for every preference: one block in memory, repeated by reference.
    shared = (*names_of(split), pa.array(source_rows(split), pa.int64()))
    columns = [pa.chunked_array([each] * len(blocks)) for each in shared]
    columns += [pa.chunked_array(blocks, kind), pa.chunked_array(asked, weights)]
    return pa.table(columns, schema=SCHEMA.set(SCHEMA.get_field_index("score"), pa.field("score", kind)))


def names_of(split: Split) -> tuple[pa.Array, pa.Array]:
    """What the query of each document and the document itself are called; null where documents have no names."""
    query = np.repeat(np.asarray(split.query_ids).astype(str).astype(object), split.lengths)
    if split.doc_ids is None:
        return pa.array(query, pa.string()), pa.nulls(split.n_documents, pa.string())
    return pa.array(query, pa.string()), pa.array(np.asarray(split.doc_ids).astype(str).astype(object), pa.string())


def _rankings(split: Split, scores: np.ndarray, preferences: np.ndarray) -> tuple[list[np.ndarray], list[pa.Array]]:
    """Blocks of scores and of the preference they were asked with."""
    scores = scores if scores.ndim == 2 else scores[None]
    if len(scores) != len(preferences):
        raise InputError("scores of one ranking a preference", expected=f"{len(preferences)}", came=scores.shape)
    n, m = split.n_documents, preferences.shape[1]
    ends = np.arange(0, (n + 1) * m, m, dtype=np.int32)
    repeated = [pa.ListArray.from_arrays(ends, np.tile(w, n)) for w in preferences]
    return [check_scores(split, row) for row in scores], repeated


def write_scores(path: Path, split: Split, scores, preference=None) -> None:
    """Writes `scores_table` whole or not at all."""
    with whole_file(path) as beside:
        # Names come in runs. Scores do not repeat, but split into bytes their exponents do; rows mostly count up.
        encoding: dict[str, Any] = {
            "use_dictionary": ["query", "doc", "preference.list.element"],
            "compression": "zstd",
        }
        encoding["column_encoding"] = {"score": "BYTE_STREAM_SPLIT", "row": "DELTA_BINARY_PACKED"}
        pq.write_table(scores_table(split, scores, preference), beside, write_page_checksum=True, **encoding)


def read_parquet(path: Path | str, what: str) -> pa.Table:
    """A Parquet file of a run; `what` it holds stands in the errors.

    Raises:
        InputError: no such file, or a damaged one.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no {what}", file=path, expected=f"the {path.parent.name} of a finished run")
    try:
        # Not read_table, which is many times as slow and makes columns of folders that are called "a=b".
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read()
    except (pa.ArrowException, OSError, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"broken {what}: {error}", file=path, do="Restore it from a copy, or run it anew") from None


def read_scores(path: Path | str) -> pa.Table:
    """The table of a scores file; checks its columns and their types."""
    table = read_parquet(path, "scores")
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise InputError(
            f"scores lack {', '.join(missing)}", file=path, expected=", ".join(SCHEMA.names), came=table.column_names
        )
    try:
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(
            f"a column has the wrong type: {error}", file=path, expected=str(SCHEMA).replace("\n", ", ")
        ) from None
