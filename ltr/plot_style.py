"""How pictures look, whoever draws them: colours, markers, type, and a canvas of its own for each.

Colours are the eight of Okabe and Ito (2008), told apart with any colour vision; a system is never told by colour
alone: it carries its label or a marker of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FAINT", "INK", "LINE", "MARKERS", "PALETTE", "PAPER", "SOFT", "STYLE", "canvas", "logarithmic"]

# Hex values are the names by which `ltr.bench.pages.pictures` finds what to hand over to the page's style sheet.
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a6f00", "#5a5a5a")
MARKERS = "osD^vP*X"
INK, SOFT, LINE = "#1b1b1d", "#66666b", "#d9d9de"
FAINT, PAPER = "#b4b4ba", "#ffffff"  # lines behind the others; what a hollow mark is filled with
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "xtick.color": SOFT,
    "ytick.color": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be read aloud
}


@contextmanager
def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Figure, np.ndarray]]:
    """A figure that no window and no global state knows of."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, figure.subplots(rows, columns, squeeze=False, **options)


def logarithmic(ax: Axes) -> None:
    """A logarithmic horizontal axis with plain numbers: powers of ten and, of few powers, 2 and 5 of each."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    ax.set_xscale("log")
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e5 * low else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_locator(NullLocator())
