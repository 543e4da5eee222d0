"""Quality against cost of every loss: a panel for each net on each dataset."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from ltr.bench.analysis.losses import family
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.text import short_measure, unmath
from ltr.plot_style import MARKERS, PALETTE, SOFT, canvas

from .pictures import Picture, cheapest

if TYPE_CHECKING:
    from matplotlib.lines import Line2D

    from ltr.bench.analysis.losses import Cell

__all__ = ["losses_picture"]


def losses_picture(cells: Sequence[Cell], name: str) -> Picture:
    """Mean of the headline against milliseconds of a training step, rows of nets, columns of datasets.

    Named is what nothing cheaper beats. Losses far below the others are said in words.
    """
    nets = list(dict.fromkeys(c.net for c in cells))
    datasets = list(dict.fromkeys(c.dataset for c in cells))
    families = list(dict.fromkeys(family(loss) for c in cells for loss in c.losses.values()))
    said = []
    with canvas(3.6 * len(datasets) + 0.3, 3.3 * len(nets) + 0.6, len(nets), len(datasets)) as (figure, axes):
        for ax in axes.flat:
            ax.set_visible(False)
        marks: dict[str, Line2D] = {}
        for cell in cells:
            ax = axes[nets.index(cell.net), datasets.index(cell.dataset)]
            ax.set_visible(True)
            names = _panel(ax, cell, families, marks)
            said.append(f"{cell.title}: {', '.join(names) or 'none'}")
            ax.set_title(unmath(cell.title), fontsize=9)
        for ax in axes[:, 0]:
            ax.set_ylabel(short_measure(cells[0].board.measure), fontsize=8)
        figure.supxlabel("milliseconds of processor time of a training step (log scale)", fontsize=9)
        shown = [f for f in families if f in marks]
        columns = min(len(shown), 3 * len(datasets))
        figure.legend([marks[f] for f in shown], shown, loc="outside upper center", ncols=columns, fontsize=8)
    text = f"Quality against cost of every loss. Nothing cheaper beats, in {'; in '.join(said)}."
    return Picture(name, "Quality and cost", text, figure)


def _panel(ax, cell: Cell, families: list[str], marks: dict[str, Line2D]) -> list[str]:
    """Draws one cell; returns the losses that nothing cheaper beats, the cheapest first."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    table = cell.board.table
    trained = [r for r in rows_of(table) if r.system in cell.losses]
    rows = [r for r in trained if np.isfinite([r.mean, cell.step_ms.get(r.system, np.nan)]).all()]
    if not rows:
        return []
    labels = [cell.losses[r.system] for r in rows]
    x = np.array([cell.step_ms[r.system] for r in rows])
    y = np.array([r.mean for r in rows])
    # What learned next to nothing must not press the rest into a line: it is said in words instead.
    floor = max(y.min(), np.median(y) - 3 * (y.max() - np.median(y)))
    for i in np.flatnonzero(y >= floor):
        n = families.index(family(labels[i])) % len(PALETTE)
        (mark,) = ax.plot(x[i], y[i], MARKERS[n], color=PALETTE[n], markersize=5, linestyle="none")
        marks.setdefault(family(labels[i]), mark)
    front = cheapest(x, y)
    drawn = [i for i in front if y[i] >= floor]
    ax.step([*x[drawn], x[y >= floor].max()], [*y[drawn], y.max()], where="post", color=SOFT, linewidth=0.9, zorder=0)
    last, room = np.inf, 0.05 * (y.max() - floor)
    for at in reversed(drawn):  # names that would touch the one above are left to the table
        if last - y[at] > room:
            ax.annotate(labels[at], (x[at], y[at]), (-5, 3), textcoords="offset points", ha="right", fontsize=7)
            last = y[at]
    for row in rows_of(table):
        if row.baseline and row.mean >= floor:
            ax.axhline(row.mean, color=SOFT, linewidth=0.8, linestyle=":")
            ax.annotate(
                row.system,
                (1, row.mean),
                (-2, 2),
                xycoords=("axes fraction", "data"),
                textcoords="offset points",
                ha="right",
                fontsize=6,
                color=SOFT,
            )
    below = [f"{labels[i]} {y[i]:.2f}" for i in np.argsort(-y) if y[i] < floor]
    if below:
        text = "below: " + ", ".join(below)
        ax.text(0.99, 0.01, fill(text, 48), transform=ax.transAxes, ha="right", va="bottom", fontsize=6, color=SOFT)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.margins(x=0.12, y=0.13)
    low, high = ax.get_xlim()
    ax.set_xlim(low * (low / high) ** 0.35, high)  # room for the names
    ax.grid(True)
    ax.tick_params(labelsize=7)
    return [labels[i] for i in front]
