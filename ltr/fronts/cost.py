"""Hypervolume against the cost of a whole front, drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import InputError
from ltr.plot_style import PALETTE, PAPER, SOFT, canvas, logarithmic

from .dominance import as_points, nondominated
from .pictures import _BESIDE, _around, _marker, _numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["cost_picture"]


def cost_picture(
    systems: Sequence[str],
    costs: Any,
    hypervolumes: Sequence[Any],
    *,
    title: str = "",
    label: str = "hypervolume",
    unit: str = "seconds of training for the whole front",
    numbers: Mapping[str, int] | None = None,
    named: Sequence[str] | None = None,
) -> Figure:
    """Hypervolume against the cost of the whole front; the stairs join what nothing cheaper beats.

    Args:
        systems: their names.
        costs: `[system]`: training of all models that the front's points need; above 0 (the axis is logarithmic).
        hypervolumes: one a system, or a row of seeds a system (rows may differ in length); the mark is the mean, the
            bar goes from the least to the most.
        title, numbers: as of `plane_picture`.
        label: what the hypervolume is of.
        unit: what the costs are.
        named: systems with a colour and a name, besides those on the stairs; the others are small grey marks. All by
            default.
    """
    costs = np.asarray(costs, dtype=np.float64)
    values = [np.asarray(row, dtype=np.float64).reshape(-1) for row in hypervolumes]
    fits = len(values) == len(systems) and all(len(row) for row in values)
    if not fits or costs.shape != (len(systems),) or not (costs > 0).all():
        expected = f"{len(systems)} costs above 0 and as many rows of hypervolumes"
        raise InputError("costs of systems", expected=expected, came=(costs.shape, [len(row) for row in values]))
    numbers = _numbers(systems, numbers)
    means = np.array([row.mean() for row in values])
    as_points(np.stack([costs, means], 1), what="costs and hypervolumes")
    with canvas(7.2, 4.2) as (figure, axes):
        ax = axes[0, 0]
        best = np.flatnonzero(nondominated(np.stack([-costs, means], 1), duplicates="first"))
        cheap: list[int] = best[np.argsort(costs[best])].tolist()
        stairs = [*costs[cheap], costs.max()], [*means[cheap], means[cheap[-1]]]
        ax.step(*stairs, where="post", color=SOFT, linewidth=1, zorder=0)
        shown = {*(systems if named is None else named), *(systems[i] for i in cheap)}
        rest = [i for i, name in enumerate(systems) if name not in shown]
        if rest:
            ax.plot(costs[rest], means[rest], "o", color=SOFT, alpha=0.45, markersize=4, markeredgewidth=0)
        for i, name in enumerate(systems):
            if name not in shown:
                continue
            colour = PALETTE[numbers[name] % len(PALETTE)]
            ax.plot([costs[i]] * 2, [values[i].min(), values[i].max()], color=colour, linewidth=1.6, alpha=0.6)
            ax.plot(
                costs[i],
                means[i],
                _marker(numbers[name]),
                color=colour,
                markersize=7,
                label=name,
                markerfacecolor=colour if i in cheap else PAPER,
                markeredgewidth=1.4,
                linestyle="none",
            )
        logarithmic(ax)
        ax.margins(x=0.12, y=0.1)
        ax.grid(True)
        ax.set_xlabel(f"{unit} (log scale)")
        ax.set_ylabel(label)
        ax.set_title(title)
        _beside(ax, {name: (costs[i], means[i]) for i, name in enumerate(systems) if name in shown}, numbers)
        drawn = "filled: nothing cheaper is better; bars: from the least to the most of the seeds"
        _around(figure, "", ax, [], drawn, f"small: {len(rest)} others" if rest else "")
    return figure


def _beside(ax: Axes, places: Mapping[str, tuple[float, float]], numbers: Mapping[str, int]) -> None:
    """Names beside marks on a logarithmic axis: right of those at the left, left of those at the right, none on
    another."""
    (left, right), (low, high) = np.log(ax.get_xlim()), ax.get_ylim()
    points = 230 / (high - low)  # of type, a unit of the vertical axis: about the height of the panel
    last = {True: -np.inf, False: -np.inf}
    ground = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 0.6}
    for name, (x, y) in sorted(places.items(), key=lambda item: item[1][1]):
        late = bool((np.log(x) - left) / (right - left) > 0.6)
        height = max(y * points, last[late] + 9.5)
        last[late] = height
        colour, shift = PALETTE[numbers[name] % len(PALETTE)], (-8 if late else 8, height - y * points)
        ax.annotate(
            name,
            (x, y),
            shift,
            **_BESIDE | {"ha": "right" if late else "left", "va": "center"},
            color=colour,
            bbox=ground,
        )
