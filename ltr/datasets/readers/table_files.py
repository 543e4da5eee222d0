"""Files of tables: CSV, Parquet and Arrow, opened to names, types and batches of columns.

A CSV file may be separated by comma, semicolon, tab or |, packed or not; its cells come as bytes, for what they are is
decided when all of them were seen. Whatever a damaged file makes Arrow raise becomes an `InputError` with its place.
"""

from __future__ import annotations

import codecs
import contextlib
import csv as plain_csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ltr.errors import InputError

from .chunks import opened, readable, told
from .limits import LINE

__all__ = ["arrow_errors", "as_text", "is_text", "open_table", "read_columns"]

_ROWS = 16384  # of one batch
_CELLS = 8 << 20  # of one batch
_COLUMNAR = (".parquet", ".pq", ".arrow", ".feather")
_DELIMITERS = (",", ";", "\t", "|")


class _Csv:
    """A CSV file: its names and batches; every column is text until somebody knows better."""

    csv = True

    def __init__(self, path: Path):
        self.path = path
        with opened(path) as (file, _), told(path):
            head = file.readline(LINE)
        try:
            header = head.removeprefix(codecs.BOM_UTF8).decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                "the header is not UTF-8 text",
                file=path,
                line=1,
                expected="names of columns in UTF-8",
                came=head[error.start : error.start + 20],
                do="Save the file as UTF-8: iconv -f LATIN1 -t UTF-8 OLD > NEW",
            ) from None
        if header.lstrip().startswith(("<", "{", "[")):
            do = "Save the data as CSV, Parquet or svmlight text"
            raise InputError("this looks like a web page, XML or JSON", file=path, expected="CSV", do=do)
        # csv.reader knows what is quoted; the first of the most frequent separators is the one.
        with contextlib.suppress(plain_csv.Error):
            fields = {d: len(next(plain_csv.reader([header], delimiter=d), [])) for d in _DELIMITERS}
            tabs = ".tsv" in path.name.lower() and fields["\t"] > 1  # then its commas are of the names
            self.delimiter = "\t" if tabs else max(fields, key=lambda d: fields[d])
        self.delimiter = getattr(self, "delimiter", ",")
        self.block = min(LINE, max(4 << 20, 8 * len(head)))
        self.rows: int | None = None
        self.index: set[str] = set()
        with arrow_errors(self), self._open() as reader:
            self.types = {f.name: f.type for f in _once(reader.schema, path)}

    @contextlib.contextmanager
    def _open(self, columns: Sequence[str] | None = None):
        import pyarrow as pa
        import pyarrow.csv as csv

        # Bytes, not strings: what is no UTF-8 is told by those who need the column.
        types = {} if columns is None else dict.fromkeys(columns, pa.binary())
        with opened(self.path) as (file, raw):
            reader = csv.open_csv(
                # Arrow unpacks by the name, the file says itself what it is.
                str(self.path) if file is raw and self.path.suffix in (".csv", ".tsv") else pa.PythonFile(file, "r"),
                parse_options=csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
                convert_options=csv.ConvertOptions(
                    column_types=types, include_columns=columns, null_values=[], strings_can_be_null=False
                ),
                read_options=csv.ReadOptions(use_threads=False, block_size=self.block),
            )
            with reader:
                yield reader

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        with self._open(list(columns)) as reader:
            yield from reader

    def place(self, row: int) -> tuple[str, int | None]:
        """(the row in words, its line in the file) of a 0-based row."""
        return f"row {row + 1}", self.line(row)

    def line(self, row: int) -> int | None:
        """The line where a row begins; read again, because only an error asks."""
        try:
            with opened(self.path) as (file, _):
                text = io.TextIOWrapper(file, "utf-8", errors="replace", newline="")
                reader, before, seen = plain_csv.reader(text, delimiter=self.delimiter), 0, -1
                for record in reader:
                    if record:  # empty lines are no rows
                        if seen == row:
                            return before + 1
                        seen += 1
                    before = reader.line_num
        except (plain_csv.Error, InputError, ValueError, OSError):
            pass
        return None


class _Columnar:
    """A Parquet or Arrow file."""

    csv = False

    def __init__(self, path: Path):
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path, self.delimiter, self.rows = path, "", None
        self.parquet = path.suffix.lower() in (".parquet", ".pq")
        with arrow_errors(self):
            if self.parquet:
                with pq.ParquetFile(path) as file:
                    schema, self.rows = file.schema_arrow, file.metadata.num_rows
            else:
                with pa.memory_map(str(path)) as file:
                    schema = pa.ipc.open_file(file).schema
            self.types = {f.name: f.type for f in _once(schema, path)}
            said = (schema.pandas_metadata or {}).get("index_columns", [])
            self.index = {name for name in said if isinstance(name, str)}

    def batches(self, columns: Sequence[str]) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        most = max(1, min(_ROWS, _CELLS // max(1, len(columns))))
        if self.parquet:
            with pq.ParquetFile(self.path, page_checksum_verification=True) as file:
                for batch in file.iter_batches(batch_size=most, columns=list(columns)):
                    batch.validate(full=True)  # a column of text may hold anything
                    yield batch
            return
        with pa.memory_map(str(self.path)) as file:
            reader = pa.ipc.open_file(file)
            for k in range(reader.num_record_batches):
                batch = reader.get_batch(k).select(list(columns))
                batch.validate(full=True)  # offsets of a damaged file point anywhere
                for first in range(0, batch.num_rows, most):
                    yield batch.slice(first, most)

    def place(self, row: int) -> tuple[str, int | None]:
        return f"row {row + 1}", None


def open_table(path: Path):
    if not path.is_file():
        raise InputError("no such file", file=path, expected="CSV, Parquet or Arrow")
    name = path.name.lower()
    columnar = name.endswith(_COLUMNAR) or not re.search(r"\.[ct]sv", name)
    return _Columnar(path) if columnar else _Csv(path)


def read_columns(path: Path, names: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """Columns of a small table, text as Arrow strings, those of `names` that are there; and the names of all it has."""
    import pyarrow as pa

    source = open_table(path)
    found = {name: source.types[name] for name in names if name in source.types}
    with arrow_errors(source):
        batches = list(source.batches(list(found)))
    columns = {}
    for name, kind in found.items():
        column = pa.chunked_array([batch.column(name) for batch in batches], None if batches else kind).combine_chunks()
        columns[name] = as_text(column) if is_text(column.type) else column
    return columns, list(source.types)


def _once(schema, path: Path):
    """The fields, if every name stands once."""
    names = list(schema.names)
    if len(set(names)) != len(names):
        twice = next(n for n in names if names.count(n) > 1)
        do = "" if twice else "Name the columns in the first line, or take the empty ones away"
        do = "Does the first line hold the names of the columns?" if re.fullmatch(r"[\d.,+-]+", twice) else do
        raise InputError(f"column {twice!r} stands twice", file=path, expected="every column once", do=do)
    return schema


@contextlib.contextmanager
def arrow_errors(source):
    """Turns whatever Arrow raises on a broken file into an error with its line, where Arrow tells it."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # a damaged file makes Arrow and its Python side raise nearly anything
        text = str(error)
        if "straddling" in text:
            raise InputError(
                "a line is too long, or a quote is never closed",
                file=source.path,
                expected=f"at most {source.block >> 20} MB a line",
            ) from None
        if text.startswith(("Empty CSV", "CSV parse error: Empty CSV")):
            raise InputError("the file is empty", file=source.path, expected="CSV with a header line") from None
        row = re.search(r"Row #(\d+)", text)
        line = None
        if row and source.csv:
            line = source.line(int(row[1]) - 2) or int(row[1])
        counts = re.search(r"Expected (\d+) columns, got (\d+): (.*)", text, re.DOTALL)
        raise InputError(
            "a line with another number of cells" if counts else "not a readable table",
            file=source.path,
            line=line,
            expected=f"{counts[1]} cells, as the header has"
            if counts
            else "CSV with a header line"
            if source.csv
            else "a whole Parquet or Arrow file",
            came=f"{counts[2]}: {counts[3]}" if counts else text or type(error).__name__,
            do=_advice(source, text, counts),
        ) from None


def _advice(source, text: str, counts) -> str:
    if counts and int(counts[1]) < min(3, int(counts[2])):
        return "Its first line must be the names of the columns, with nothing before it"
    if "Not an Arrow file" in text:
        return "Arrow's streams and the first version of Feather are not read: write it with to_feather, or as Parquet"
    return ""


def is_text(kind) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(
        check(kind)
        for check in (
            pa.types.is_string,
            pa.types.is_large_string,
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_string_view,
            pa.types.is_binary_view,
        )
    )


def as_text(column, ids: bool = False):
    """A column of text or bytes as Arrow strings; bytes that are no UTF-8 stay readable, which is said of `ids`."""
    import pyarrow as pa

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:
        read = readable if ids else lambda raw: raw.decode("utf-8", "backslashreplace")
        cells = [v if v is None or isinstance(v, str) else read(v) for v in column.to_pylist()]
        return pa.array(cells, pa.large_string())
