"""The page on losses: what every loss reaches with every net on every dataset, and what a step of it costs.

Written from the results of suites that train the same nets with many losses (`benchmarks/suites/losses-*.toml`): a
section for each net on each dataset, an overview over all of them, and one picture. Like a report it comes from the
tidy files alone and is the same, byte for byte, when it is written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ltr import paths
from ltr.bench.analysis.losses import Cell, beside_best, cells_of, family, overview
from ltr.bench.analysis.results import Results, load_results
from ltr.bench.analysis.results_io import asked_or_committed
from ltr.bench.text import count, machine, markdown_table, number, plain, settings, told
from ltr.errors import InputError

from .facts import board_rows, put_between, suite_run
from .losses_picture import losses_picture
from .report import write_page

__all__ = ["cells_of", "family", "losses_page", "overview"]


def losses_page(folders: Sequence[Path | str] = (), to: Path | str | None = None) -> Path:
    """Writes LOSSES.md and losses.png, and returns the path of the page.

    Args:
        folders: results of suites; those that were committed as `benchmarks/results/losses-*` by default.
        to: folder of the page; `benchmarks` of the checkout by default.

    Raises:
        InputError: no results, or results in which nothing is trained with a loss.
    """
    folders = asked_or_committed(folders, ["losses-*"], "losses", "losses-mq2008")
    found = [load_results(folder) for folder in folders]
    cells = [cell for results in found for cell in cells_of(results)]
    if not cells:
        raise InputError("nothing was trained with a loss in these results", came=[str(f) for f in folders])
    to = paths.suites() if to is None else Path(to)
    picture = losses_picture(cells, "losses")
    context = {
        "suites": [suite_run(results) for results in found],
        "nets": _nets(found),
        "losses": len(overview(cells)),
        "overview": _overview_table(cells),
        "picture": {"file": picture.save_png(to).name, "text": picture.text},
        "cells": [{"title": c.title, "table": _table(c), "caption": c.board.caption()} for c in cells],
        "margins": [f"{c.board.margin:.4f} in {c.title}" for c in cells],
        "measures": list(dict.fromkeys(m for c in cells for m in c.board.all_measures.columns)),
        "machines": list(dict.fromkeys(machine(results.environment) for results in found)),
        "command": "ltr bench losses",
    }
    if to == paths.suites():
        put_between(to.parent / "README.md", "losses", _answer(cells))
    return write_page(to / "LOSSES.md", "losses.md.j2", context)


def _answer(cells: Sequence[Cell]) -> str:
    """The overview in a sentence, for the README."""
    means, words = overview(cells), [beside_best(cell) for cell in cells]
    level = [str(loss) for loss in means.index if all(each.get(str(loss), "") != "below" for each in words)]
    first = ", ".join(f"`{loss}`" for loss in level[:3])
    nets, sets = len({c.net for c in cells}), len({c.dataset for c in cells})
    text = f"of {len(means)} losses with {count(nets, 'net')} on {count(sets, 'dataset')}, {len(level) or 'none'} "
    text += ("is" if len(level) == 1 else "are") + " nowhere shown to be below the best"
    text += f", {first} first by mean rank" if level else ""
    return f"**One objective:** {text} (`ltr bench losses`: [all of it](benchmarks/LOSSES.md))."


# --------------------------------------------------------------------------------------------- what stands on the page


def _table(cell: Cell) -> str:
    rows = []
    for label, text, measured in board_rows(cell.board):
        loss = cell.losses.get(label, "")
        rows.append(
            {
                "#": text["#"],
                "loss": loss or f"({label})",
                "family": family(loss) if loss else "",
                **measured,
                "ms/step": number(cell.step_ms.get(label) if loss else None, 2),
                "peak MiB": number(cell.peak_mib.get(label) if loss else None, 0),
                "note": text["note"],
            }
        )
    return markdown_table(rows, left=("loss", "family", "group", "note"))


def _overview_table(cells: Sequence[Cell]) -> str:
    """Bold: the best loss of the column, and who equals it within the margin; "below" is said."""
    means = overview(cells)
    words = [beside_best(cell) for cell in cells]
    rows = []
    for label, values in means.iterrows():
        loss = str(label)
        row = {"loss": loss, "family": family(loss), "mean rank": number(values["rank"], 1)}
        for i, cell in enumerate(cells):
            row[cell.title] = told(number(values[i], 4), words[i].get(loss, ""))
        rows.append(row)
    return markdown_table(rows, left=("loss", "family"))


def _nets(found: Sequence[Results]) -> list[str]:
    """Each net with its settings, once for all suites that use it alike."""
    lines = []
    for results in found:
        for system in (s for s in results.suite.systems if s.losses):
            own = settings({**system.params, **system.training})
            lines.append(f"{plain(system.label)}: `{system.ranker}`" + (f" with {plain(own)}" if own else ""))
    return list(dict.fromkeys(lines))
