"""What a source may ask for: every size is checked as a Python integer before anything is allocated for it.

A tiny file can name a feature 65535 on each of its lines, unpack to terabytes or claim 2**63 documents in a list. None
of that may take the machine down: it is refused, in seconds and in little memory, with the numbers that were asked for.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ltr.datasets.memory import free_memory
from ltr.errors import InputError

__all__ = ["ID", "LINE", "MOST_FEATURES", "PACKED", "PACKED_FROM", "check_id", "check_line", "check_room"]

LINE = 64 << 20  # bytes of one line of text
MOST_FEATURES = 1 << 16  # rows are dense: an index beyond this is a mistake unless n_features declares it
ID = 4096  # bytes of a query's or document's id
PACKED = 200  # a packed text may grow by this factor; numbers as text grow 3 to 30 times
PACKED_FROM = 256 << 20  # bytes of plain text from which the factor is looked at
_SHARE = 0.9  # of what is free


def check_line(length: int, path, line: int | None) -> None:
    """Refuses a line of more than `LINE` bytes; `length` are those seen so far."""
    if length > LINE:
        raise InputError(
            "the line is too long",
            file=path,
            line=line,
            expected=f"at most {LINE >> 20} MB a line",
            came=f"{length >> 20} MB without a line feed",
            do="Look whether this is a text file with a document a line",
        )


def check_id(what: str, length: int, path, line: int | None) -> None:
    """Refuses an id of more than `ID` bytes: ids are kept in arrays as wide as the longest."""
    if length > ID:
        raise InputError(
            f"the {what} id is too long", file=path, line=line, expected=f"at most {ID} bytes", came=length
        )


def check_room(rows: int, columns: int, path, *, disk: Path | None = None) -> None:
    """Refuses a float32 matrix that the machine cannot hold.

    Args:
        rows, columns: its shape, as Python integers.
        path: the source, for the message.
        disk: a folder on the disk it goes to; None for memory.
    """
    needed = 4 * int(rows) * int(columns)
    free = free_memory() if disk is None else shutil.disk_usage(disk).free
    if needed > _SHARE * free:
        raise InputError(
            f"{rows:,} documents of {columns:,} features do not fit {'in memory' if disk is None else 'on disk'}",
            file=path,
            expected=f"at most {_SHARE * free / 2**30:,.1f} GiB",
            came=f"{needed / 2**30:,.1f} GiB",
            do="Rows are stored dense: number the features without gaps, or leave the highest ones out",
        )
