"""What the terminal sees: tables and data on stdout, progress and remarks on stderr."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["machine", "number", "remark", "size", "table", "training_progress"]


def console(stderr: bool = False):
    """A console that never cuts a cell where nobody looks at its width."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
    if not found.is_terminal:
        found.width = max(found.width, 200)
    return found


def remark(text: str) -> None:
    """A sentence beside the result."""
    print(text, file=sys.stderr)


def number(value: Any, digits: int = 4) -> str:
    """A measure or a cost for reading; a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    return f"{value:.{digits}f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def size(count: float | None) -> str:
    """Bytes for reading."""
    if count is None:
        return "-"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return ""


def table(rows: Sequence[dict[str, Any]], title: str | None = None, right: Sequence[str] = ()) -> None:
    """Rows of one shape as a table; columns in `right` are aligned to the right."""
    from rich.table import Table

    grid = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for name in rows[0] if rows else ():
        grid.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    for row in rows:
        grid.add_row(*(number(v) for v in row.values()))
    console().print(grid, soft_wrap=False)


def machine(rows: Any, form: str) -> None:
    """Rows as JSON or CSV on stdout; JSON has null where there is no number."""
    if form == "json":
        print(json.dumps(_plain(rows), indent=1, allow_nan=False))
        return
    writer = csv.DictWriter(sys.stdout, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(_plain(rows))


def _plain(value):
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def training_progress(quiet: bool):
    """A `progress(stage, done, total, note)` for `runs.execute`: one live line on a terminal, nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        lines: dict[str, Any] = {}

        def hear(stage: str, done: int, total: int, note: str) -> None:
            if stage not in lines:
                lines[stage] = bar.add_task(stage, total=total, note=note)
            bar.update(lines[stage], completed=done, total=total, note=note)

        yield hear
