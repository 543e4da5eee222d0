"""Tables in memory (pandas, Arrow, polars and whatever speaks Arrow's C stream) as Arrow files the readers know."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ltr.errors import InputError

__all__ = ["is_frame", "write_frame"]


def is_frame(value: Any) -> bool:
    """Whether this is a table in memory."""
    pandas = sys.modules.get("pandas")  # whoever holds a DataFrame has imported it
    return hasattr(value, "__arrow_c_stream__") or (pandas is not None and isinstance(value, pandas.DataFrame))


def write_frame(value: Any, path: Path, what: str) -> None:
    """Writes a table in memory as an Arrow file.

    Args:
        path: of the file, `.arrow`.
        what: what to call the table in errors.

    Raises:
        InputError: a column Arrow cannot hold, or two of one name.
    """
    import pyarrow as pa

    pandas = sys.modules.get("pandas")
    try:
        if pandas is not None and isinstance(value, pandas.DataFrame):
            table = _of_pandas(value, what)
        else:
            table = value if isinstance(value, pa.Table) else pa.table(value)
        table = table.unify_dictionaries()  # of chunks with categories of their own, which a file cannot hold
    except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} cannot be read: {error}", expected="a column a name, of numbers or text") from None
    for k, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if isinstance(kind, pa.BaseExtensionType):  # intervals, periods: no numbers, and not every reader takes them
            cells = [None if c is None else _words(c, kind) for c in table.column(k).to_pylist()]
            table = table.set_column(k, field.name, pa.array(cells, pa.large_string()))
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _of_pandas(frame, what: str):
    import pyarrow as pa

    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"column {twice!r} stands twice in {what}", expected="every column once")
    frame = frame.set_axis(names, axis="columns")
    try:
        return pa.Table.from_pandas(frame)
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    # A column of numbers and text is what nobody wants: as text it is looked at cell by cell, as in a CSV file.
    plain = {}
    for name in names:
        try:
            pa.array(frame[name], from_pandas=True)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            plain[name] = [None if cell is None or cell != cell else str(cell) for cell in frame[name]]
    return pa.Table.from_pandas(frame.assign(**plain))


def _words(cell: Any, kind: Any) -> str:
    """A cell of an extension type; what is stored as a number, as a month is, is none."""
    return f"{kind.extension_name} {cell}" if isinstance(cell, int | float) else str(cell)
