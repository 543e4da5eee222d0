"""Reader of Parquet and CSV tables: a row a document, columns for query, labels, features and, optionally, document.

Which column is what, unless the caller says so (names are compared without case, the first of each list wins):

- query: qid, query_id, queryid, query, topic_id, topic, srch_id, search_id, session_id.
- labels: the relevance judgement (relevance, rel, label, grade, relevance_label, rating, y, target), and every other
  column with the name of a human judgement (`JUDGEMENTS`), which must not leak into the inputs.
- document: doc_id, docid, document_id, document, doc, docno, url.
- split: split, subset, partition, with values like train, vali/valid/validation/dev, test.
- features: all remaining numeric and boolean columns; what is left is ignored, and the store's manifest lists it.

A missing feature is NaN, a missing label or query id an error. Query ids are text; a query that comes back later is
gathered to its first sight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.types import Split

from .query_grouping import Block, Gathered

__all__ = ["Columns", "blocks", "is_table", "read_table", "roles"]

QUERY = ("qid", "query_id", "queryid", "query", "topic_id", "topic", "srch_id", "search_id", "session_id")
RELEVANCE = ("relevance", "rel", "label", "grade", "relevance_label", "rating", "y", "target")
JUDGEMENTS = ("understandability", "under", "trust", "trustworthiness", "credibility", "readability", "usefulness")
DOCUMENT = ("doc_id", "docid", "document_id", "document", "doc", "docno", "url")
SPLIT = ("split", "subset", "partition")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "vali": "vali",
    "valid": "vali",
    "validation": "vali",
    "val": "vali",
    "dev": "vali",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "heldout": "test",
}
_ROWS = 16384


@dataclass(frozen=True, slots=True)
class Columns:
    """The role of each column of a table; `ignored` are the ones with none."""

    query: str
    labels: tuple[str, ...]
    features: tuple[str, ...]
    document: str | None = None
    split: str | None = None
    ignored: tuple[str, ...] = ()


def is_table(path) -> bool:
    """Whether the file's name is that of a table.

    >>> is_table("judged.parquet"), is_table("a.csv.gz"), is_table("train.txt")
    (True, True, False)
    """
    return re.search(r"\.(parquet|pq|[ct]sv(\.gz)?)$", str(path).lower()) is not None


def _is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def roles(
    path,
    *,
    query: str | None = None,
    labels: Sequence[str] | None = None,
    more_labels: Sequence[str] = (),
    features: Sequence[str] | None = None,
    document: str | None = None,
    split: str | None = None,
) -> Columns:
    """Decides what each column of the table is, by the rules above and by what the caller says.

    Args:
        more_labels: label columns beside those that the rules find.
        query, labels, features, document, split: take the place of the rules.

    Raises:
        InputError: a column that was named does not exist, or no query or label column can be found.
    """
    path = Path(path)
    kinds = _kinds(path)

    def named(role: str, name: str) -> str:
        if name not in kinds:
            raise unknown_name(f"{role} column", name, kinds, file=path)
        return name

    def guess(names: Sequence[str]) -> str | None:
        folded = {c.lower(): c for c in reversed(kinds)}
        return next((folded[n] for n in names if n in folded), None)

    query = named("query", query) if query else guess(QUERY)
    if query is None:
        raise InputError(
            "no query column",
            file=path,
            expected=f"one of {', '.join(QUERY)}",
            came=list(kinds),
            do="Name it with query=",
        )
    if labels:
        labels = tuple(named("label", c) for c in labels)
    else:
        main = guess(RELEVANCE)
        if main is None and not more_labels:
            raise InputError(
                "no label column",
                file=path,
                expected=f"one of {', '.join(RELEVANCE)}",
                came=list(kinds),
                do="Name it with labels=",
            )
        labels = tuple(c for c in (main, *(c for c in kinds if c.lower() in JUDGEMENTS)) if c)
    labels = tuple(dict.fromkeys([*labels, *(named("label", c) for c in more_labels)]))
    document = named("document", document) if document else guess([n for n in DOCUMENT if n != query.lower()])
    split = named("split", split) if split else guess(SPLIT)
    taken = {query, document, split, *labels}
    if features is not None:
        features = tuple(named("feature", c) for c in features)
        for c in features:
            if c in taken or kinds[c] != "number":
                raise InputError(
                    f"column {c!r} cannot be a feature",
                    file=path,
                    expected="a numeric column with no other role",
                    came=kinds[c] if c not in taken else "a query, label, document or split column",
                )
    else:
        features = tuple(c for c, kind in kinds.items() if c not in taken and kind == "number")
    for c in labels:
        if kinds[c] != "number":
            raise InputError(
                f"label column {c!r} holds no numbers", file=path, expected="a numeric column", came=kinds[c]
            )
    if not features:
        raise InputError(
            "no feature columns", file=path, expected="numeric columns beside query and labels", came=list(kinds)
        )
    ignored = tuple(c for c in kinds if c not in taken and c not in features)
    return Columns(query, labels, features, document, split, ignored)


def _kinds(path: Path) -> dict[str, str]:
    """Column -> "number" or its Arrow type, in the file's order."""
    import pyarrow as pa

    with _told(path):
        if _is_parquet(path):
            import pyarrow.parquet as pq

            schema = pq.read_schema(path)
        else:
            with _csv(path) as reader:
                schema = reader.schema
    if len(set(schema.names)) != len(schema.names):
        twice = next(n for n in schema.names if schema.names.count(n) > 1)
        raise InputError(f"column {twice!r} stands twice", file=path, expected="every column once")
    is_number = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return {f.name: "number" if any(check(f.type) for check in is_number) else str(f.type) for f in schema}


def _csv(path: Path, types: dict | None = None):
    import pyarrow.csv as csv

    delimiter = "\t" if path.name.lower().removesuffix(".gz").endswith(".tsv") else ","
    return csv.open_csv(
        path,
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(column_types=types, include_columns=list(types) if types else None),
        read_options=csv.ReadOptions(use_threads=False),  # rows in their order, and errors with their row
    )


class _told:
    """Turns what Arrow raises on a broken file into an error with its line, where Arrow tells it."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        import pyarrow as pa

        if isinstance(error, (pa.ArrowException, OSError)) and not isinstance(error, InputError):
            text = str(error)
            row = re.search(r"Row #(\d+)", text)
            raise InputError(
                "not a readable table",
                file=self.path,
                line=int(row[1]) if row else None,
                expected="Parquet" if _is_parquet(self.path) else "CSV with a header line",
                came=value[1] if (value := re.search(r"invalid value '(.*)'", text)) else text,
            ) from None
        return False


def blocks(path, columns: Columns, *, progress: Callable[[int], None] | None = None) -> Iterator[Block]:
    """Reads the table block by block.

    Args:
        columns: from `roles`.
        progress: called after each block with about the bytes of the file read so far.
    """
    import pyarrow as pa

    path = Path(path)
    texts = [c for c in (columns.query, columns.document, columns.split) if c]
    numbers = [*columns.labels, *columns.features]
    row = 0
    with _told(path):
        if _is_parquet(path):
            import pyarrow.parquet as pq

            file = pq.ParquetFile(path)
            rows = max(1, file.metadata.num_rows)
            batches = file.iter_batches(batch_size=_ROWS, columns=[*texts, *numbers])
        else:
            rows = None
            # float64 first: float32(float64(text)) is what the svmlight reader gives
            file = _csv(path, {**dict.fromkeys(texts, pa.string()), **dict.fromkeys(numbers, pa.float64())})
            batches = iter(file)
        with file:
            size, taken = path.stat().st_size, 0
            for batch in batches:
                if batch.num_rows:
                    yield _block(path, columns, batch, row)
                row += batch.num_rows
                taken += batch.nbytes
                if progress:  # text takes about the room of its numbers, packed text less: the end is told below
                    progress(size * row // rows if rows else min(size, taken))
    if row == 0:
        raise InputError("no documents", file=path, expected="a row a document", came="an empty table")
    if progress:
        progress(size)


def _block(path: Path, columns: Columns, batch, first: int) -> Block:
    import pyarrow as pa
    import pyarrow.compute as pc

    def place(row: int) -> dict:
        # A Parquet file has no lines; a CSV file's first row is line 2.
        return {"line": first + row + 2} if not _is_parquet(path) else {}

    def matrix(names) -> np.ndarray:
        out = np.empty((batch.num_rows, len(names)), np.float32)
        with np.errstate(over="ignore"):  # beyond float32 is inf, as in the svmlight reader
            for k, name in enumerate(names):
                column = batch.column(name)
                if not pa.types.is_floating(column.type):
                    column = column.cast(pa.float64())
                out[:, k] = column.to_numpy(zero_copy_only=False)
        return out

    labels = matrix(columns.labels)
    wrong = np.argwhere(~(np.isfinite(labels) & (labels >= 0)))
    if len(wrong):
        row, k = wrong[0].tolist()
        came = batch.column(columns.labels[k])[row].as_py()
        raise InputError(
            f"row {first + row + 1}, label column {columns.labels[k]!r}: not a grade",
            file=path,
            **place(row),
            expected="a finite grade, 0 or more",
            came="a missing value" if came is None else came,
            do="Remove unjudged documents; shift grades that start below 0",
        )
    codes, names = _text(batch.column(columns.query))
    empty = np.flatnonzero((codes < 0) | np.isin(codes, [k for k, n in enumerate(names) if n == ""]))
    if len(empty):
        row = int(empty[0])
        raise InputError(
            f"row {first + row + 1}: missing query id", file=path, **place(row), expected="a query id", came=None
        )
    change = np.diff(codes, prepend=-1) != 0
    parts = None
    if columns.split:
        part_codes, part_names = _text(batch.column(columns.split))
        change |= np.diff(part_codes, prepend=-1) != 0
        known = [SPLIT_NAMES.get(str(n).strip().lower()) for n in part_names]
        wrong = np.flatnonzero((part_codes < 0) | np.isin(part_codes, [k for k, n in enumerate(known) if n is None]))
        if len(wrong):
            row = int(wrong[0])
            raise InputError(
                f"row {first + row + 1}: unknown split",
                file=path,
                **place(row),
                expected="train, vali or test",
                came=part_names[part_codes[row]] if part_codes[row] >= 0 else None,
            )
        parts = [known[k] for k in part_codes[change].tolist()]
    docs = None
    if columns.document:
        column = pc.fill_null(batch.column(columns.document).cast(pa.large_string()), "")
        docs = _arrow_strings(column)
    run_rows = np.flatnonzero(change)
    return Block(
        matrix(columns.features), 1, labels, run_rows, [names[k] for k in codes[run_rows].tolist()], docs, parts
    )


def _text(column) -> tuple[np.ndarray, list[str]]:
    """(code of each row, -1 where null; text of each code)."""
    import pyarrow as pa

    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    values = encoded.dictionary.to_pylist()
    # Whole numbers that travelled as floats ("101.0") are ids without the ".0".
    return codes, [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values]


def _arrow_strings(column) -> tuple[np.ndarray, np.ndarray]:
    _, offsets, data = column.buffers()
    offsets = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.zeros(0, np.uint8)
    return offsets - offsets[0], data


def read_table(path, *, name: str = "", **columns) -> Split:
    """Reads a whole table into memory.

    Args:
        name: name of the split.
        **columns: query, labels, features, document, split as `roles` takes them.

    Returns:
        `Split`, an objective a label column.
    """
    chosen = roles(path, **columns)
    gathered = Gathered().read(blocks(path, chosen))
    return gathered.split(objectives=chosen.labels, names=chosen.features, name=name)
