"""The site of a board: static pages made of files alone, the same bytes each time.

    index.html          mean ranks over all datasets, who submitted what, what is missing, history by version
    DATASET.html        the report of one dataset, submissions among the reference systems; DATASET.csv: its table
    SUITE-DATASET.html  the same of methods for several objectives
    archive/VERSION.*   the tables of earlier versions as they were frozen

`freeze` keeps today's tables beside board.toml under its version; a frozen table is never written again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr import __version__
from ltr.atomic import read_json, write_text
from ltr.bench.analysis.leaderboard import Leaderboard, leaderboard
from ltr.bench.analysis.mean_ranks import MeanRanks, mean_ranks
from ltr.bench.analysis.merging import merged
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.analysis.submission import Board, Submission, on_board
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.suite.suite import slug
from ltr.bench.text import count, number, unmath
from ltr.errors import InputError
from ltr.plot_style import INK, PALETTE, SOFT, canvas

from .board_pages import dataset_page, methods_of
from .picture import Picture
from .report import write_page

if TYPE_CHECKING:
    from ltr.bench.analysis.results import Results

__all__ = ["build", "freeze", "ranks_picture"]

_REFERENCE = "reference"


def build(board: Board, to: Path | str, *, frozen: bool = False) -> Path:
    """Writes the site into `to` and returns its index.html.

    Args:
        board: see `ltr.bench.analysis.submission`; every submission in its folder is shown, with numbers where `accept`
            kept them.
        frozen: keep today's tables under the board's version, before the pages are written.

    Raises:
        InputError: results that cannot be read, or a version that was frozen with other numbers.
    """
    to = Path(to)
    tables, states, shown = _tables(board)
    boards = [leaderboard(results, dataset) for dataset, results in tables.items()]
    ranks = mean_ranks(boards)
    methods = methods_of(board, to)
    today = _state(board, boards, ranks, states)
    if methods.tasks:
        today["methods"] = {row["system"]: row["values"] for row in methods.rows}
    if frozen:
        freeze(board, today)
    methods.write(board, to)
    for each in boards:
        dataset_page(board, tables[each.dataset], each, states, to)
    history = [state for state in _archived(board) if state["version"] != board.version] + [today]
    for state in history[:-1]:
        name = slug(state["version"])
        write_text(to / "archive" / f"{name}.json", _json(state), durable=False)
        facts: dict[str, Any] = {"title": f"{board.title}, {state['version']}", "state": state, "file": f"{name}.json"}
        facts |= {"number": number, "version": state["ltr"]}
        write_page(to / "archive" / f"{name}.html", "archive.html.j2", facts)
    runs = [results.runs[results.runs.dataset == dataset] for dataset, results in tables.items()]
    failures = [row._asdict() for part in runs for row in rows_of(part[~part.status.isin(("done", "truth"))])]
    context = {
        "title": board.title,
        "board": board,
        "rows": [_row(row, boards, states) for row in rows_of(ranks.table)],
        "ranked": int(ranks.table["rank"].notna().sum()),
        "datasets": [(b.dataset, f"{dataset_slug(b.dataset)}.html") for b in boards],
        "methods": methods,
        "difference": ranks.difference,
        "level": f"{ranks.level:.0%}",
        "picture": ranks_picture(ranks, "ranks").svg(),
        "submissions": shown,
        "failures": failures,
        "history": history,
        "systems": list(ranks.table.system),
        "places": {state["version"]: {row["system"]: row for row in state["ranks"]} for state in history},
        "archive": {state["version"]: f"archive/{slug(state['version'])}.html" for state in history[:-1]},
        "number": number,
        "version": __version__,
    }
    return write_page(to / "index.html", "board.html.j2", context)


def freeze(board: Board, state: dict[str, Any]) -> None:
    """Keeps the tables of the board's version beside it.

    Raises:
        InputError: that version was frozen with other numbers.
    """
    path = Path(board.folder) / board.archive / f"{slug(board.version)}.json"
    text = _json(state)
    if path.is_file() and path.read_text() != text:
        raise InputError("this version is frozen with other numbers", file=path, do="Add a version to board.toml")
    write_text(path, text)


def ranks_picture(ranks: MeanRanks, name: str) -> Picture:
    """Mean ranks with intervals, best on top; bars at the right join systems within the critical difference."""
    table = ranks.ranked
    datasets = count(ranks.table.shape[1] - 4, "dataset")
    with canvas(7.2, 1.3 + 0.24 * max(len(table), 2)) as (figure, axes):
        ax = axes[0, 0]
        for y, row in enumerate(rows_of(table)):
            ax.plot([row.low, row.high], [y, y], color=PALETTE[0], linewidth=2, alpha=0.45, solid_capstyle="butt")
            ax.plot(row.rank, y, "o", color=PALETTE[0], markersize=5.5)
        most = len(table)
        for i, (first, last) in enumerate(ranks.groups()):
            ax.plot([most + 1 + 0.5 * i] * 2, [first - 0.25, last + 0.25], color=INK, linewidth=2.5)
        known = np.isfinite(ranks.difference)
        if known:
            ax.plot([1, min(1 + ranks.difference, most)], [-1.1] * 2, color=INK, linewidth=1.5, marker="|")
            ax.annotate(
                f"critical difference {ranks.difference:.2f}", (1, -1.1), (0, 5), textcoords="offset points", fontsize=8
            )
        ax.set_yticks(range(most), [unmath(s) for s in table.system])
        ax.set_ylim(most - 0.4, -2)
        ax.tick_params(axis="y", length=0)
        ax.grid(axis="x")
        ax.set_xlabel(f"mean rank over {datasets}, {ranks.level:.0%} interval over queries", color=SOFT)
        ax.set_title("Who ranks where, over all datasets")
    best = f"Best mean rank: {table.system.iloc[0]}, {table['rank'].iloc[0]:.2f}." if most else "No system ran on all."
    joined = " Bars join systems within the critical difference." if known else ""
    return Picture(name, "Mean ranks", best + joined, figure)


# --------------------------------------------------------------------------------------------------------- inside


def _tables(board: Board) -> tuple[dict[str, Results], dict[str, str], list[tuple[Submission, str]]]:
    """Dataset -> results with all submissions; system -> what is known of it; every submission with that word."""
    tables = board.reference()
    reference, shown = dict(tables), []
    states = {s: _REFERENCE for results in tables.values() for s in results.systems}
    for folder in board.folders():
        submission, found, state = on_board(folder, reference)
        if found and submission.label in states:
            found, state = {}, "its label is taken"
        shown.append((submission, state))
        if found:
            states[submission.label] = state
        for dataset, results in found.items():
            tables[dataset] = merged(tables[dataset], results)
    return tables, states, shown


def _row(row, boards: Sequence[Leaderboard], states: dict[str, str]) -> dict[str, Any]:
    """A row of the page over all: ranks, and the mean on each dataset."""
    means = {}
    for board in boards:
        mine = board.table[board.table.system == row.system]
        means[board.dataset] = number(mine["mean"].iloc[0], 4) if len(mine) else ""
    interval = f"{row.low:.1f} – {row.high:.1f}" if np.isfinite(row.low) else ""
    return {
        "system": row.system,
        "rank": number(row.rank, 2),
        "interval": interval,
        "means": means,
        "state": states.get(row.system, ""),
        "missing": [dataset for dataset, mean in means.items() if not mean],
    }


def _state(board: Board, boards: Sequence[Leaderboard], ranks: MeanRanks, states: dict[str, str]) -> dict[str, Any]:
    """Today's tables as plain values of four digits: what is frozen, and what history compares."""
    today = board.versions[-1]
    datasets = {
        each.dataset: {
            "measure": each.measure,
            "rows": [
                {
                    "system": row.system,
                    **{n: _rounded(getattr(row, n)) for n in ("mean", "low", "high")},
                    "group": row.letters,
                    "state": states.get(row.system, ""),
                }
                for row in rows_of(each.table)
            ],
        }
        for each in boards
    }
    places = [
        {"system": row.system, **{n: _rounded(getattr(row, n)) for n in ("rank", "low", "high")}}
        for row in rows_of(ranks.table)
    ]
    facts = {"version": today.version, "date": today.date, "what": today.what, "ltr": __version__}
    return {**facts, "datasets": datasets, "ranks": places}


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _archived(board: Board) -> list[dict[str, Any]]:
    """In the order of board.toml; versions that were not frozen have no tables."""
    paths = [Path(board.folder) / board.archive / f"{slug(each.version)}.json" for each in board.versions]
    return [read_json(path) for path in paths if path.is_file()]


def _json(state: dict[str, Any]) -> str:
    return json.dumps(state, indent=1, ensure_ascii=False) + "\n"
