"""Ids of a table's rows, of queries, documents and splits: text, whatever type the column has.

Whole numbers that travelled as floats get their old name back ("101.0" is "101"); those that lost digits on their way,
ids that are too long, hold a NUL byte or are missing where one is needed are refused.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ltr.errors import InputError

from .limits import ID, check_id
from .table_files import as_text, is_text

__all__ = ["check_ids", "id_text", "ids_of", "strings", "whole"]


_NOT_PLAIN = r"\.0$|[eE]\+\d+$|^\x{feff}"  # names of documents that are another's, or have lost their digits


def id_text(value: Any) -> str:
    """An id as text: without blanks around it, and without the ".0" of whole numbers that travelled as floats.

    >>> id_text(" 101.0"), id_text("101.00"), id_text("007"), id_text("1.5")
    ('101', '101', '007', '1.5')
    """
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return whole(str(value).strip().removeprefix("\ufeff").strip())  # the mark of a file that was joined on to another


def whole(name: str) -> str:
    """An id that is a whole number without its zeros after the point."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", name) if name.endswith("0") else name


def ids_of(column, source) -> tuple[np.ndarray, list[str]]:
    """(code of each row, -1 where null; text of each code)."""
    import pyarrow as pa

    if is_text(column.type):
        column = as_text(column, ids=True)
    elif pa.types.is_null(column.type):
        return np.full(len(column), -1, np.int64), []
    elif pa.types.is_nested(column.type):
        raise InputError(
            "a column of ids holds lists or structures", file=source.path, expected="text or numbers", came=column.type
        )
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    try:
        values = encoded.dictionary.to_pylist()
    except (ValueError, OverflowError, pa.ArrowException) as error:  # dates that Python's own types cannot hold
        raise InputError(
            "a column of ids that cannot be read", file=source.path, expected="text or numbers", came=str(error)
        ) from None
    names = ["" if v is None or v != v else id_text(v) for v in values]
    # Up to here a floating-point number of this width tells whole numbers apart.
    kind = encoded.dictionary.type
    exact = 2 ** ({16: 11, 32: 24}.get(kind.bit_width, 53) if pa.types.is_floating(kind) else 53)
    lost = (str(v) for v, name in zip(values, names, strict=True) if _has_lost_digits(v, name, exact))
    if came := next(lost, None):
        raise InputError(
            "ids that were numbers have lost their last digits",
            file=source.path,
            expected="text or whole numbers",
            came=came,
            do="Write the ids again as text: so large, a floating-point number is several ids",
        )
    known: dict[str, int] = {}
    same = np.array([known.setdefault(name, k) if name else -1 for k, name in enumerate(names)] + [-1], np.int64)
    return same[codes], names


def _has_lost_digits(value: Any, name: str, exact: int) -> bool:
    if isinstance(value, float):
        return abs(value) > exact
    return re.fullmatch(r"[+-]?\d(\.\d+)?[eE]\+\d+", name) is not None


def check_ids(what: str, codes: np.ndarray, names: list[str], source, first: int, needed: bool) -> None:
    bad = np.isin(codes, [k for k, name in enumerate(names) if "\0" in name or len(name) > ID])
    if needed:
        bad |= codes < 0
    if not bad.any():
        return
    row = int(np.argmax(bad))
    place, line = source.place(first + row)
    if codes[row] < 0:
        raise InputError(f"{place}: missing {what} id", file=source.path, line=line, expected=f"a {what} id")
    check_id(what, len(names[codes[row]].encode()), source.path, line)
    raise InputError(f"{place}: a NUL byte in the {what} id", file=source.path, line=line, came=names[codes[row]])


def strings(column, source, first: int) -> tuple[np.ndarray, np.ndarray]:
    """Document ids as Arrow lays out strings: (offsets int64 `[rows + 1]`, bytes); "" where there is none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = is_text(column.type)
    if text:
        column = pc.utf8_trim_whitespace(as_text(column, ids=True).cast(pa.large_string()))
    if not text or pc.any(pc.match_substring_regex(column, _NOT_PLAIN)).as_py():
        codes, names = ids_of(column, source)
        column = pa.array(["" if code < 0 else names[code] for code in codes.tolist()], pa.large_string())
    column = pc.fill_null(column, "")
    _, offsets, data = column.buffers()
    offsets = np.frombuffer(offsets, np.int64)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.zeros(0, np.uint8)
    if len(data) and ((data == 0).any() or np.diff(offsets).max() > ID):
        check_ids("document", *ids_of(column, source), source, first, needed=False)
    return offsets - offsets[0], data
