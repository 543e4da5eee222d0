"""Cells of text as numbers: what is missing, what is a number, and what a comma in a number means.

A column of text is counted whole before it is read (`Census`), because one look at its first cells proves nothing:

- missing: empty, NA, N/A, NaN, NULL, None, nil, <NA>, #N/A, \\N and ?, in any case and with blanks around them;
- numbers: digits with a point, a sign, an exponent, or inf; and true and false (1 and 0);
- a comma is the decimal point where a cell allows nothing else ("0,64", "12,5"), it groups thousands where a cell
  allows nothing else ("1,234,567", "1,234.5"), and a column where every comma could be either is refused;
- numbers with a unit or grouped by something else ("50%", "$5", "1 000", "0x1F") are refused with their place;
- a column where at least half of the cells are numbers is one of numbers, and the others are mistakes that are refused
  with their place; where fewer are, it is text.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

__all__ = ["MISSING", "UNITS", "Census", "Style", "category_code", "numbers"]

MISSING = ("", "na", "n/a", "#n/a", "#na", "nan", "+nan", "-nan", "null", "none", "nil", "<na>", "\\n", "?")
Style = Literal["point", "decimal comma", "thousands"]

_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^[+-]?(?i:inf|infinity)$|^(?i:true|false)$"
_SWALLOWED = 64  # cells that may hold rows are kept, to be looked at when the columns are known
UNITS = "a number with a unit, or grouped by something else than commas"
_GAP = r"[ '\x{2019}\x{a0}\x{202f}]"
_UNITS = (
    r"^[+\x{2212}-]?[$€£¥]?[+\x{2212}-]?([0-9]+|[0-9]{1,3}(" + _GAP + r"[0-9]{3})+)([.,][0-9]+)? ?[%‰$€£¥]?$"
    r"|^0[xX][0-9a-fA-F]{1,16}$"
)
_FORMS = {  # the first that fits counts
    "grouped": r"^[+-]?[1-9][0-9]{0,2}(,[0-9]{3}){2,}(\.[0-9]*)?$|^[+-]?[1-9][0-9]{0,2},[0-9]{3}\.[0-9]*$",
    "either": r"^[+-]?[1-9][0-9]{0,2},[0-9]{3}$",
    "european": r"^[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+,[0-9]*$",
    "decimal": r"^[+-]?([0-9]*,[0-9]+|[0-9]+,)([eE][+-]?[0-9]+)?$",
}


@dataclass
class Census:
    """What the cells of a text column are, counted block by block.

    Attributes:
        cells, missing, numbers, points, units, commas: how many; points are numbers with a decimal point, commas the
            counts of the four forms of a number with a comma.
        first: the first row of each kind of cell ("text" for what is no number at all) with the cell.
        shape: of CSV: place of the column, number of columns, and what parts them.
        swallowed: rows whose cell could hold whole rows of the file, with the cell: a quote that is never closed takes
            all that follows up to the next one.
    """

    cells: int = 0
    missing: int = 0
    numbers: int = 0
    points: int = 0
    units: int = 0
    commas: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_FORMS, 0))
    first: dict[str, tuple[int, str]] = field(default_factory=dict)
    shape: tuple[int, int, str] | None = None
    swallowed: list[tuple[int, str]] = field(default_factory=list)

    def see(self, column: Any, row: int) -> None:
        """Takes an Arrow array of text (`string` or `large_string`) whose first row is `row`."""
        import pyarrow.compute as pc

        self.cells += len(column)
        column, missing = _trimmed(column)
        self.missing += missing
        try:
            pc.cast(column, "float64")
            good = len(column) - column.null_count
            self.numbers += good
            # Only a decimal comma elsewhere makes the points matter: count them as long as that is open.
            self.points += pc.sum(pc.match_substring(column, ".")).as_py() or 0
            return
        except ValueError:
            pass
        number = pc.match_substring_regex(column, _NUMBER)
        self.numbers += pc.sum(number).as_py() or 0
        self.points += pc.sum(pc.and_(number, pc.match_substring(column, "."))).as_py() or 0
        other = pc.fill_null(pc.invert(number), False)
        left = np.flatnonzero(other.to_numpy(zero_copy_only=False))
        if not len(left):
            return
        rest = column.take(left)
        if self.shape is not None and len(self.swallowed) < _SWALLOWED:
            broken = np.flatnonzero(pc.match_substring(rest, "\n").to_numpy(zero_copy_only=False))
            cells = ((row + int(left[k]), rest[k].as_py()) for k in broken.tolist())
            self.swallowed += [(at, cell) for at, cell in cells if self._rows_in(cell) is not None]
        known = np.zeros(len(left), bool)
        for form, pattern in _FORMS.items():
            hit = pc.match_substring_regex(rest, pattern).to_numpy(zero_copy_only=False).astype(bool) & ~known
            known |= hit
            self._note(form, hit, left, rest, row)
            self.commas[form] += int(hit.sum())
        unit = pc.match_substring_regex(rest, _UNITS).to_numpy(zero_copy_only=False).astype(bool) & ~known
        self.units += int(unit.sum())
        self._note("unit", unit, left, rest, row)
        self._note("text", ~known & ~unit, left, rest, row)

    def _rows_in(self, cell: str) -> list[dict[int, str]] | None:
        """Place of a column -> its cell, of the rows a cell holds; None where its lines have not the cells of rows."""
        assert self.shape is not None
        place, columns, delimiter = self.shape
        first, *middle, last = (line.split(delimiter) for line in cell.split("\n"))
        if len(first) != columns - place or len(last) != place + 1 or any(len(line) != columns for line in middle):
            return None
        return [dict(enumerate(first[1:], place + 1)), *map(dict, map(enumerate, middle)), dict(enumerate(last[:-1]))]

    def swallows(self, numeric: Collection[int]) -> tuple[int, str] | None:
        """The first cell that holds rows with numbers where the table has columns of numbers, given by their places."""
        for row, cell in self.swallowed:
            there = [text for held in self._rows_in(cell) or () for k, text in held.items() if k in numeric]
            if there and all(re.match(_NUMBER, t.strip()) or t.strip().lower() in MISSING for t in there):
                return row, cell
        return None

    def _note(self, kind: str, hit: np.ndarray, left: np.ndarray, rest, row: int) -> None:
        if kind not in self.first and hit.any():
            k = int(np.argmax(hit))
            self.first[kind] = (row + int(left[k]), rest[k].as_py())

    @property
    def text(self) -> int:
        """Cells that are no numbers in any style."""
        return self.cells - self.missing - self.numbers - sum(self.commas.values())

    @property
    def is_text(self) -> bool:
        """Whether fewer than half of the cells that are there are numbers."""
        there = self.cells - self.missing
        return there > 0 and 2 * (there - self.text + self.units) < there

    def style(self, semicolons: bool = False) -> Style | None:
        """What a comma means in this column; None where the cells do not say, or say both.

        Args:
            semicolons: cells are separated by semicolons, which is done where the comma is the decimal point.
        """
        decimal = self.commas["decimal"] + self.commas["european"]
        grouped, either = self.commas["grouped"], self.commas["either"]
        if not decimal + grouped + either:
            return "point"
        if decimal and not grouped and not self.points:
            return "decimal comma"
        if decimal:
            return None
        if grouped or self.points:
            return "thousands"
        return "decimal comma" if semicolons else None

    def wrong(self, semicolons: bool = False) -> tuple[int, str, str] | None:
        """(row, cell, what is wrong with it) of the first cell that cannot be read; None where all can."""
        odd = [
            (*self.first[kind], what)
            for kind, what in (("text", "not a number"), ("unit", UNITS))
            if kind in self.first
        ]
        if odd:
            return min(odd)
        if self.style(semicolons) is None:
            form = next(form for form in ("either", "grouped", "decimal", "european") if form in self.first)
            if form == "either":
                return *self.first[form], "a comma that may group thousands or be the decimal point"
            return *self.first[form], "a comma and a point are both used as the decimal point"
        return None


def _trimmed(column):
    """(the cells without blanks around them, null where missing; how many are missing)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(pc.utf8_lower(column), value_set=pa.array(MISSING, column.type))
    column = pc.if_else(missing, pa.scalar(None, column.type), column)
    return column, column.null_count


def numbers(column, style: Style = "point") -> np.ndarray:
    """float64 `[rows]` of an Arrow array of text, NaN where a cell is missing.

    Raises:
        ValueError: a cell is no number in this style (`Census.wrong` says which).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column, _ = _trimmed(column)
    if style == "decimal comma":
        column = pc.replace_substring(pc.replace_substring(column, ".", ""), ",", ".")
    elif style == "thousands":
        column = pc.replace_substring(column, ",", "")
    try:
        found = pc.cast(column, pa.float64())
    except ValueError:  # signs and truth values, which Arrow does not take
        column = pc.replace_substring_regex(column, r"^\+", "")
        for word, value in (("true", "1"), ("false", "0")):
            column = pc.replace_substring_regex(column, f"^(?i:{word})$", value)
        found = pc.cast(column, pa.float64())
    return found.to_numpy(zero_copy_only=False)


def category_code(text: str) -> float:
    """What stands for a category in a matrix of numbers: 24 bits of a CRC-32, which float32 holds; NaN where missing.

    The same text has the same code in every file and every process, so nothing has to be remembered to read it again.
    Of a thousand categories two share a code with a chance of 3 %; they are one category then.

    >>> category_code("tea"), category_code("NA")
    (8837042.0, nan)
    """
    return float("nan") if text.strip().lower() in MISSING else float(zlib.crc32(text.encode()) & 0xFFFFFF)
