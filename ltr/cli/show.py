"""What the terminal sees: tables and data on stdout, progress and remarks on stderr."""

from __future__ import annotations

import csv
import json
import math
import os
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ltr.errors import InputError

__all__ = [
    "console",
    "for_programs",
    "front",
    "machine",
    "means",
    "number",
    "remark",
    "size",
    "table",
    "training_progress",
    "write_table",
    "write_text",
]


def console(stderr: bool = False):
    """A console that never cuts a cell where nobody looks at its width."""
    from rich.console import Console

    found = Console(stderr=stderr, highlight=False, markup=False, soft_wrap=True)
    if not found.is_terminal and "COLUMNS" not in os.environ:
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


def means(rows: Sequence[dict[str, Any]], title: str | None = None) -> None:
    """A row a measure, the splits side by side, with the counts a mean needs (the last split's)."""
    many = len({(row["objective"], str(row["preference"])) for row in rows}) > 1
    lines: dict[tuple, dict[str, Any]] = {}
    counts: dict[tuple, dict[str, int]] = {}
    for row in rows:
        key = (row["objective"], str(row["preference"]), row["measure"])
        whose = {"objective": row["objective"]} if many else {}
        if row["preference"] is not None:
            whose["preference"] = " ".join(f"{w:g}" for w in row["preference"])
        split = "validation" if row["split"] == "vali" else row["split"]
        lines.setdefault(key, {**whose, "measure": row["measure"]})[split] = row["mean"]
        counts[key] = {"queries": row["queries"], "skipped": row["blank"]}
    shown = [{**line, **counts[key]} for key, line in lines.items()]
    table(shown, title=title, right=("train", "validation", "test", "queries", "skipped"))


def front(found, most: int | None = None) -> None:
    """A row a preference: its weights, and each objective's measure on every split; * marks the front.

    Args:
        found: a `ltr.runs.front.Front`.
        most: where there are more preferences, only those on the front.
    """
    shown = list(range(len(found.preferences)))
    if most is not None and len(shown) > most:
        shown = [i for i in shown if found.member[i]]
    rows = []
    for i in shown:
        row = {"": i, **{f"w {name}": f"{w:g}" for name, w in zip(found.objectives, found.preferences[i], strict=True)}}
        for split, points in found.points.items():
            shown_as = "validation" if split == "vali" else split
            row |= {f"{shown_as} {name}": float(v) for name, v in zip(found.objectives, points[i], strict=True)}
        rows.append({**row, "front": "*" if found.member[i] else ""})
    table(rows, right=[name for name in (rows[0] if rows else ()) if name != "front"])
    for line in found.lines(len(rows)):
        print(line)


def write_table(path: Path, table, suffix: str | None = None) -> None:
    """An Arrow table as .parquet, .csv or .tsv, whole or not at all."""
    import pyarrow.parquet as pq

    from ltr.atomic import whole_file

    suffix = suffix or path.suffix
    if suffix not in (".parquet", ".csv", ".tsv"):
        raise InputError("no such format", file=path, expected=".parquet, .csv or .tsv")
    with whole_file(path) as beside:
        if suffix == ".parquet":
            pq.write_table(table, beside)
        else:
            with open(beside, "w", encoding="utf-8", newline="") as file:
                write_text(table, suffix, file)


def write_text(table, suffix: str, file) -> None:
    """Rows of an Arrow table as CSV or TSV; a preference becomes "w1;w2", what is absent stays empty."""
    columns = []
    for name in table.column_names:
        column = table[name]
        if column.type.num_fields:  # a list of weights
            columns.append([None if p is None else ";".join(map(str, p)) for p in column.to_pylist()])
        elif name == "score":  # a float32 printed as a double would show digits nobody computed
            columns.append(column.to_numpy().astype(str).tolist())
        else:
            columns.append(column.to_pylist())
    writer = csv.writer(file, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
    writer.writerow(table.column_names)
    writer.writerows(zip(*columns, strict=True))


def for_programs(rows: Any, options: Any) -> bool:
    """Rows on stdout as JSON or CSV where `--json` or `--csv` asks for them; whether one did."""
    form = "json" if options.json else "csv" if getattr(options, "csv", False) else ""
    if form:
        machine(rows, form)
    return bool(form)


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
    """A `progress(stage, done, total, note)` for `ltr.runs.execute`: one live line on a terminal, nothing elsewhere."""
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
