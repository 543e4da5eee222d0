"""Quality of rankers against the number of training queries: where nets and trees cross."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ltr.bench.analysis.oracle import BEST_POSSIBLE
from ltr.bench.analysis.rankers import curves
from ltr.bench.text import short_measure, unmath
from ltr.plot_style import MARKERS, PALETTE, SOFT, canvas

from .pictures import Picture

if TYPE_CHECKING:
    from ltr.bench.analysis.rankers import RankerBoard

__all__ = ["sizes_picture"]


def sizes_picture(group: Sequence[RankerBoard], name: str) -> Picture:
    """A line a system over the sizes of one task, with its intervals; trees dashed, the best possible ranker dotted.

    Args:
        group: boards of one task, smallest first.
        name: of the file.
    """
    found = curves(group)
    kinds = {label: kind for board in group for label, kind in board.kinds.items()}
    learners = [label for label in found if label != BEST_POSSIBLE]
    last = lambda label: found[label][-1][1]  # noqa: E731
    with canvas(7.2, 4.2) as (figure, axes):
        ax = axes[0, 0]
        for n, label in enumerate(sorted(learners, key=last, reverse=True)):
            x, mean, low, high = zip(*found[label], strict=True)
            colour, line = PALETTE[n % len(PALETTE)], "--" if kinds[label] == "trees" else "-"
            shift = [each * (1 + 0.02 * (n - len(learners) / 2)) for each in x]  # intervals beside one another
            ax.plot(
                shift, mean, line, color=colour, marker=MARKERS[n % len(MARKERS)], markersize=5, label=unmath(label)
            )
            ax.vlines(shift, low, high, color=colour, linewidth=1.2, alpha=0.5)
        if BEST_POSSIBLE in found:
            x, mean, _, _ = zip(*found[BEST_POSSIBLE], strict=True)
            ax.plot(x, mean, ":", color=SOFT, linewidth=1.1)
            ax.annotate(BEST_POSSIBLE, (x[0], mean[0]), (0, 5), textcoords="offset points", color=SOFT, fontsize=8)
        sizes = [board.train_queries for board in group]
        ax.set_xscale("log")
        ax.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        ax.minorticks_off()
        ax.set_xlabel("training queries")
        ax.set_ylabel(f"{short_measure(group[0].board.measure)} on test")
        ax.grid(axis="y")
        figure.legend(loc="outside upper center", ncols=3, fontsize=8)
    ends = "; ".join(f"{label}: {found[label][0][1]:.3f} to {last(label):.3f}" for label in learners)
    text = f"Quality by number of training queries, {sizes[0]:,.0f} to {sizes[-1]:,.0f}. {ends}."
    return Picture(name, "Quality by size", text, figure)
