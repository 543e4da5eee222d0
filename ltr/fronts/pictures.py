"""Fronts drawn: two objectives as staircases with bands over seeds, three as pairs, more as parallel coordinates.

All take fronts as a mapping from a system's name to its seeds, one `[point, objective]` a seed (points of two seeds
need not correspond), maximised, and return a matplotlib figure that no window knows of. A system keeps its colour and
marker from picture to picture where `numbers` says which. Systems beyond five get a panel each, with the others as
grey lines behind, because bands of many on one another are no longer anybody's.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import InputError
from ltr.plot_style import FAINT, INK, LINE, MARKERS, PALETTE, SOFT, canvas

from .attainment import attainment_surface, staircase
from .dominance import Floats, as_points, nondominated
from .indicators import knee

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["front_picture", "pairs_picture", "parallel_picture", "plane_picture"]

Fronts = Mapping[str, Sequence[Any]]
TOGETHER = 5  # systems that share a panel
MARKS = "xPd1"  # of points that are nobody's front


def front_picture(fronts: Fronts, objectives: Sequence[str], **options: Any) -> Figure:
    """The picture that fits the number of objectives: `plane_picture`, `pairs_picture` or `parallel_picture`.

    Args:
        fronts: system -> its seeds, each `[point, objective]`.
        objectives: names of the axes; say the measure where the reader does not know it.
        options: title, marks, numbers: as of the three.

    >>> front_picture({"ours": [[[0.4, 0.2], [0.3, 0.3]]]}, ["relevance", "clicks"]).axes[0].get_xlabel()
    'relevance'
    """
    if len(objectives) < 2:
        raise InputError("a picture of a front", expected="two or more objectives", came=list(objectives))
    draw = {2: plane_picture, 3: pairs_picture}.get(len(objectives), parallel_picture)
    return draw(fronts, objectives, **options)


def plane_picture(
    fronts: Fronts,
    objectives: Sequence[str],
    *,
    title: str = "",
    marks: Mapping[str, Sequence[float]] | None = None,
    numbers: Mapping[str, int] | None = None,
    truth: Any = None,
    reference: Sequence[float] | None = None,
    note: str = "",
) -> Figure:
    """Two objectives. Line: what half of the seeds attain; band: between what every seed and what any seed attains.

    Args:
        fronts: system -> its seeds, each `[point, 2]`.
        objectives: two names.
        title: above the picture.
        marks: single points by name (base model, ideal).
        numbers: system -> number of its colour and marker; None: in the order of `fronts`.
        truth: `[point, 2]`, the best that can be reached, where it is known: dashed.
        reference: point that hypervolumes are seen from; that of the first system is shaded.
        note: which systems these are, if not all.
    """
    if len(objectives) != 2:
        raise InputError("objectives of the picture", expected="2", came=list(objectives))
    marks = {**(marks or {}), **({} if reference is None else {"reference point": reference})}
    systems, numbers, places = _checked(fronts, objectives, numbers, marks)
    best = None if truth is None or not len(truth) else np.asarray(truth, dtype=np.float64)
    low, high = _limits([*_all(systems), *(p[None] for p in places.values()), *([] if best is None else [best])])
    panels = [list(systems)] if len(systems) <= TOGETHER else [[s] for s in systems]
    columns = 4 if len(panels) in (7, 8) else min(len(panels), 3)  # hardly an empty place below
    rows = -(-len(panels) // columns)
    size = (7.2, 4.8) if len(panels) == 1 else (7.2, 0.9 + (2.2 if columns < 4 else 1.9) * rows)
    with canvas(*size, rows, columns, sharex=True, sharey=True) as (figure, axes):
        for ax, named in itertools.zip_longest(axes.flat, panels):
            if named is None:
                ax.set_visible(False)
                continue
            _panel(ax, systems, named, numbers, places, low, high)
            if best is not None:
                line = staircase(best, low)
                ax.plot(*line.T, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=4)
                ax.annotate("true front", line[len(line) // 3], (6, 6), **_BESIDE, color=INK)
            if reference is not None:
                _shade(ax, systems[named[0]], places["reference point"], numbers[named[0]])
            if len(panels) == 1:
                _named(ax, {name: _median(systems[name], low) for name in named}, numbers)
            if len(panels) > 1:
                ax.set_title(named[0], fontsize=9)
        for i, ax in enumerate(axes.flat[: len(panels)]):
            if i + columns >= len(panels):  # the lowest of its column, which need not be in the last row
                ax.set_xlabel(objectives[0])
                ax.xaxis.set_tick_params(labelbottom=True)
        for ax in axes[:, 0]:
            ax.set_ylabel(objectives[1])
        seeds = max(len(s) for s in systems.values())
        several = f"line: what half of the {seeds} seeds attain; band: from every seed to any" if seeds > 1 else ""
        shaded = f"shaded: the hypervolume of {panels[0][0]}" if reference is not None and len(panels) == 1 else ""
        _around(figure, title, axes[0, 0], [], note, several, shaded)
    return figure


def pairs_picture(
    fronts: Fronts,
    objectives: Sequence[str],
    *,
    title: str = "",
    marks: Mapping[str, Sequence[float]] | None = None,
    numbers: Mapping[str, int] | None = None,
    note: str = "",
) -> Figure:
    """Every pair of objectives: points of all seeds, and the staircase that half of the seeds attain in that plane.

    A point inside a staircase may be on the front all the same: a third objective holds it there.

    Args:
        fronts: system -> its seeds, each `[point, objective]`, two objectives or more.
        objectives, title, marks, numbers, note: as of `plane_picture`.
    """
    systems, numbers, places = _checked(fronts, objectives, numbers, marks)
    low, high = _limits([*_all(systems), *(p[None] for p in places.values())])
    pairs = list(itertools.combinations(range(len(objectives)), 2))
    panels = [list(systems)] if len(systems) <= TOGETHER else [[s] for s in systems]
    rows = len(panels)
    height = 3.2 if rows == 1 else 0.9 + 2.0 * rows
    with canvas(max(7.2, 2.4 * len(pairs)), height, rows, len(pairs), sharex="col", sharey="col") as (figure, axes):
        for row, named in enumerate(panels):
            for ax, pair in zip(axes[row], pairs, strict=True):
                both = list(pair)
                flat = {name: [seed[:, both] for seed in seeds] for name, seeds in systems.items()}
                marked = {name: place[both] for name, place in places.items()}
                _panel(ax, flat, named, numbers, marked, low[both], high[both], band=False)
                if row == rows - 1:
                    ax.set_xlabel(objectives[pair[0]])
                ax.set_ylabel(objectives[pair[1]])
            if rows > 1:
                axes[row, 0].set_title(named[0], fontsize=9)
        seeds = max(len(s) for s in systems.values())
        several = f", what half of the {seeds} seeds attain" if seeds > 1 else ""
        drawn = f"points: every seed; line: outline of the points in this plane{several}"
        _around(figure, title, axes[0, 0], [*(systems if rows == 1 else ()), *places], note, drawn)
    return figure


def parallel_picture(
    fronts: Fronts,
    objectives: Sequence[str],
    *,
    title: str = "",
    marks: Mapping[str, Sequence[float]] | None = None,
    numbers: Mapping[str, int] | None = None,
    note: str = "",
) -> Figure:
    """A panel a system, an axis an objective, a line a non-dominated point of any seed; the knee of all drawn thick.

    All panels share the axes, from the worst to the best of any system, written at their ends; the dashed line is the
    best of any system, objective by objective.

    Args:
        fronts: system -> its seeds, each `[point, objective]`.
        objectives, title, marks, numbers, note: as of `plane_picture`.
    """
    systems, numbers, places = _checked(fronts, objectives, numbers, marks)
    points = {name: _pooled(seeds) for name, seeds in systems.items()}
    every = np.concatenate([*points.values(), *(p[None] for p in places.values())])
    low, high = every.min(0), every.max(0)
    best = np.concatenate(list(points.values())).max(0)
    axis = np.arange(len(objectives))

    def scaled(values: Floats) -> Floats:
        shares: Floats = (values - low) / np.where(high > low, high - low, 1.0)
        return shares

    columns = 1 if len(systems) == 1 else 2
    rows = -(-len(systems) // columns)
    with canvas(7.2, 0.7 + 2.4 * rows, rows, columns, sharex=True, sharey=True) as (figure, axes):
        for ax, name in itertools.zip_longest(axes.flat, points):
            if name is None:
                ax.set_visible(False)
                continue
            colour, lines = PALETTE[numbers[name] % len(PALETTE)], scaled(points[name])
            for x in axis:
                ax.plot([x, x], [0, 1], color=LINE, linewidth=0.8, zorder=0)  # its ends are written at its ends
                ax.annotate(f"{high[x]:.3g}", (x, 1), (0, 3), textcoords="offset points", **_END, va="bottom")
                ax.annotate(f"{low[x]:.3g}", (x, 0), (0, -3), textcoords="offset points", **_END, va="top")
            ax.plot(axis, scaled(best), color=SOFT, linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
            if len(lines):
                alpha = float(np.clip(12 / len(lines), 0.12, 0.8))
                ax.plot(axis, lines.T, color=colour, linewidth=0.8, alpha=alpha, zorder=2)
                chosen = lines[knee(points[name])]
                marker = _marker(numbers[name])
                ax.plot(axis, chosen, color=INK, linewidth=2.6, zorder=3, solid_capstyle="round")
                ax.plot(axis, chosen, color=colour, linewidth=1.6, marker=marker, markersize=5, zorder=4)
            for mark, shape in zip(places, itertools.cycle(MARKS)):
                ax.plot(axis, scaled(places[mark]), shape, color=INK, markersize=5, linestyle="none", label=mark)
            seeds = f" of {len(systems[name])} seeds" if len(systems[name]) > 1 else ""
            ax.set_title(f"{name}: {len(lines)} points{seeds}\n", fontsize=9)
            ax.set_xlim(-0.25, len(objectives) - 0.75)
            ax.set_ylim(-0.14, 1.02)
            ax.set_yticks([])
            ax.set_xticks(axis, objectives, fontsize=8)
            ax.tick_params(axis="x", length=0, labelcolor=INK)
            for side in ("left", "bottom"):
                ax.spines[side].set_visible(False)
        drawn = "thick: the knee; dashed: the best of any system, objective by objective"
        _around(figure, title, axes[0, 0], list(places), note, drawn)
    return figure


_BESIDE: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
_END: dict[str, Any] = {"ha": "center", "fontsize": 7, "color": SOFT}


# -- what the pictures share -----------------------------------------------------------------------------------------


def _checked(
    fronts: Fronts,
    objectives: Sequence[str],
    numbers: Mapping[str, int] | None,
    marks: Mapping[str, Sequence[float]] | None,
) -> tuple[dict[str, list[Floats]], dict[str, int], dict[str, Floats]]:
    """The seeds of each system as arrays, the number of its colour, and single points by name."""
    if not fronts:
        raise InputError("a picture needs fronts", expected="one system or more")
    found = {}
    for name, seeds in fronts.items():
        found[name] = [np.asarray(as_points(seed, what=f"front of {name}")) for seed in seeds]
        for seed in found[name]:
            if seed.ndim != 2 or seed.shape[1] != len(objectives):
                wanted = f"a list of seeds, each [point, objective={len(objectives)}]"
                raise InputError(f"front of {name}", expected=wanted, came=seed.shape)
        if not found[name]:
            raise InputError(f"front of {name}", expected="one seed or more", came=0)
    if not sum(len(seed) for seeds in found.values() for seed in seeds):
        raise InputError("a picture needs points", expected="one point or more", came=0)
    places = {name: np.asarray(point, dtype=np.float64) for name, point in (marks or {}).items()}
    return found, _numbers(found, numbers), places


def _numbers(systems: Iterable[str], numbers: Mapping[str, int] | None) -> dict[str, int]:
    return {name: (numbers or {}).get(name, i) for i, name in enumerate(systems)}


def _marker(number: int) -> str:
    """Past eight systems colours come again, with another marker."""
    return MARKERS[(number + number // len(PALETTE)) % len(MARKERS)]


def _all(systems: Mapping[str, list[Floats]]) -> list[Floats]:
    return [seed for seeds in systems.values() for seed in seeds]


def _pooled(seeds: list[Floats]) -> Floats:
    """Non-dominated points of each seed, all seeds together."""
    return np.concatenate([seed[nondominated(seed)] for seed in seeds])


def _limits(sets: list[Floats]) -> tuple[Floats, Floats]:
    """Ends of the axes: room of 7 % around all points."""
    points = np.concatenate(sets)
    low, high = points.min(0), points.max(0)
    room = 0.07 * np.where(high > low, high - low, np.maximum(np.abs(high), 1.0))
    return low - room, high + room


def _median(seeds: list[Floats], low: Floats) -> Floats:
    return staircase(attainment_surface(seeds, 0.5), low)


def _panel(
    ax: Axes,
    systems: Mapping[str, list[Floats]],
    named: Sequence[str],
    numbers: Mapping[str, int],
    places: Mapping[str, Floats],
    low: Floats,
    high: Floats,
    band: bool = True,
) -> None:
    """Two objectives: fronts of the named systems, the others as grey lines behind them, single points, axes."""
    for other in (name for name in systems if name not in named):
        ax.plot(*_median(systems[other], low).T, color=FAINT, linewidth=0.7, zorder=1)
    for name in named:
        _front(ax, systems[name], low, numbers[name], name, band)
    for (name, place), shape in zip(places.items(), itertools.cycle(MARKS)):
        ax.plot(*place, shape, color=INK, markersize=6, zorder=5, linestyle="none", label=name)
        ax.annotate(name, (place[0], place[1]), (6, -9), **_BESIDE, color=SOFT)
    ax.set_xlim(low[0], high[0])
    ax.set_ylim(low[1], high[1])
    ax.locator_params(nbins=5)
    ax.grid(True)


def _front(ax: Axes, seeds: list[Floats], low: Floats, number: int, name: str, band: bool = True) -> None:
    """Points of all seeds, the median staircase, and the band between what every seed and any seed attains."""
    colour, marker = PALETTE[number % len(PALETTE)], _marker(number)
    if band and len(seeds) > 1:
        any_, every = (staircase(attainment_surface(seeds, share), low) for share in (1 / len(seeds), 1))
        inner = every[::-1] if len(every) else low[None]
        ax.fill(*np.concatenate([any_, inner]).T, color=colour, alpha=0.16, linewidth=0, zorder=2)
    points = np.concatenate(seeds)
    few = len(points) <= 40
    ax.plot(
        *points.T,
        marker,
        color=colour,
        markersize=4.5 if few else 3,
        alpha=0.9 if few else 0.35,
        markeredgewidth=0,
        linestyle="none",
        zorder=3,
    )
    ax.plot(*_median(seeds, low).T, color=colour, linewidth=1.5, zorder=4)
    ax.plot([], [], color=colour, marker=marker, markersize=5, linewidth=1.5, label=name)  # for the legend


def _named(ax: Axes, lines: Mapping[str, Floats], numbers: Mapping[str, int]) -> None:
    """Names beside the lines, up and right of them, where a front leaves the panel empty; each at another place."""
    for i, (name, line) in enumerate(lines.items()):
        if not len(line):  # a front without points
            continue
        at = line[round((i + 1) / (len(lines) + 1) * (len(line) - 1))]
        colour = PALETTE[numbers[name] % len(PALETTE)]
        arrow = {"arrowstyle": "-", "color": colour, "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2}
        ax.annotate(name, at, (16, 14), **_BESIDE, color=colour, fontweight="bold", arrowprops=arrow)


def _shade(ax: Axes, seeds: list[Floats], reference: Floats, number: int) -> None:
    """What lies between the reference point and the front that half of the seeds attain."""
    median = attainment_surface(seeds, 0.5)
    above = median[(median > reference).all(1)]
    if len(above):
        region = np.concatenate([staircase(above, reference), reference[None]])
        ax.fill(*region.T, color=PALETTE[number % len(PALETTE)], alpha=0.07, linewidth=0, zorder=1)


def _around(figure: Figure, title: str, ax: Axes, names: Sequence[str], *notes: str) -> None:
    """The title; and below the panels, where they cover nothing, a legend of these names, and what lines mean."""
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    found = dict(zip(*reversed(ax.get_legend_handles_labels()), strict=True))
    note = fill("; ".join(filter(None, notes)), round(figure.get_figwidth() * 17))
    room = 0.13 * len(note.splitlines()) + 0.04 if note else 0.0  # inches
    if len(names) > 1 or any(found[name].get_linestyle() == "None" for name in names):
        columns = min(len(names), 5)
        anchor = (0.5, room / figure.get_figheight())
        figure.legend(
            [found[n] for n in names], names, loc="lower center", bbox_to_anchor=anchor, ncols=columns, fontsize=8
        )
        room += 0.12 + 0.18 * -(-len(names) // columns)
    figure.text(0.995, 0.003, note, ha="right", va="bottom", fontsize=7, color=SOFT)
    share = room / figure.get_figheight()
    figure.set_layout_engine("constrained", rect=(0, share, 1, 1 - share))
