"""Every loss with every net on every dataset: one row a loss, sorted, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ltr.bench.analysis.losses import family, overview
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.text import short_measure, unmath
from ltr.plot_style import LINE, MARKERS, PALETTE, SOFT, canvas

from .facts import dataset_title
from .picture import Picture

if TYPE_CHECKING:
    from ltr.bench.analysis.losses import Cell

__all__ = ["losses_picture"]


def losses_picture(cells: Sequence[Cell], name: str) -> Picture:
    """Means of the headline with their intervals, a column a net and dataset, a row a loss, best mean rank on top.

    The span of a column is that of its better half and as much again below; what lies lower stands at the edge as an
    arrow, with its number. Colour and marker are the loss's family's; the dotted line is the best baseline.
    """
    order = [str(loss) for loss in overview(cells).index]
    families = list(dict.fromkeys(family(loss) for loss in sorted(order, key=lambda loss: family(loss))))
    height = 1.5 + 0.19 * len(order)
    with canvas(1.6 + 1.75 * len(cells), height, 1, len(cells), sharey=True) as (figure, axes):
        for ax, cell in zip(axes[0], cells, strict=True):
            _column(ax, cell, order, families)
            ax.set_title(unmath(f"{dataset_title(cell.dataset)},\n{cell.net}"), fontsize=8.5)
        axes[0, 0].set_yticks(range(len(order)), order, fontsize=8)
        axes[0, 0].set_ylim(len(order) - 0.4, -0.6)
        for label in axes[0, 0].get_yticklabels():
            label.set_color(PALETTE[families.index(family(label.get_text())) % len(PALETTE)])
        measure = short_measure(cells[0].board.measure)
        figure.supxlabel(f"{measure} on test, mean and interval; dotted: the best baseline", fontsize=9)
        marks = [
            axes[0, 0].plot([], [], MARKERS[n % 8], color=PALETTE[n % 8], markersize=5, linestyle="none")[0]
            for n in range(len(families))
        ]
        figure.legend(marks, families, loc="outside upper center", ncols=min(len(families), 8), fontsize=8)
    best = "; ".join(f"{cell.title}: {_best(cell)}" for cell in cells)
    return Picture(name, "Every loss", f"Means and intervals of every loss. Best in {best}.", figure)


def _best(cell: Cell) -> str:
    """The best loss, which may stand below a baseline."""
    return next((cell.losses[row.system] for row in rows_of(cell.board.table) if row.system in cell.losses), "none")


def _column(ax, cell: Cell, order: list[str], families: list[str]) -> None:
    rows = {cell.losses[r.system]: r for r in rows_of(cell.board.table) if r.system in cell.losses}
    rows = {loss: row for loss, row in rows.items() if np.isfinite(row.mean)}
    if not rows:
        return
    means = np.array([row.mean for row in rows.values()])
    baselines = [r.mean for r in rows_of(cell.board.table) if r.baseline and np.isfinite(r.mean)]
    top = max([*(r.high for r in rows.values() if np.isfinite(r.high)), means.max()])
    floor = max(means.min(), means.max() - 2.5 * (means.max() - np.median(means))) if len(means) > 3 else means.min()
    lows = [row.low for row in rows.values() if row.mean >= floor and np.isfinite(row.low)]
    left = max(min([floor, *lows]), floor - 0.3 * max(top - floor, 1e-9))
    for y, loss in enumerate(order):
        if (row := rows.get(loss)) is None:
            continue
        n = families.index(family(loss)) % len(PALETTE)
        if row.mean < floor:
            ax.plot(left, y, "<", color=PALETTE[n], markersize=4)
            ax.annotate(f"{row.mean:.3f}", (left, y), (5, 0), textcoords="offset points", va="center", fontsize=7)
            continue
        if np.isfinite(row.low):
            ax.plot([max(row.low, left), row.high], [y, y], color=PALETTE[n], linewidth=1.3, alpha=0.5)
        ax.plot(row.mean, y, MARKERS[n % len(MARKERS)], color=PALETTE[n], markersize=4.5)
    if baselines and max(baselines) >= left:
        ax.axvline(max(baselines), color=SOFT, linewidth=0.9, linestyle=":", zorder=0)
    ax.set_xlim(left - 0.04 * (top - left), top + 0.04 * (top - left))
    ax.grid(axis="x")
    for y in range(0, len(order), 2):
        ax.axhspan(y - 0.5, y + 0.5, color=LINE, alpha=0.25, linewidth=0, zorder=0)
    ax.tick_params(labelsize=7.5)
    ax.tick_params(axis="y", length=0)
    ax.locator_params(axis="x", nbins=3)
