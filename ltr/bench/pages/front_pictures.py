"""The pictures of a task with several objectives: the fronts, and their hypervolume against what they cost.

The page on fronts and the report of a suite draw the same ones. They take plain points, so that a task whose ideal and
nadir nobody has committed yet is drawn too; only the label of its hypervolumes is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.bench.analysis.results_io import rows_of
from ltr.bench.text import count, short_measure, unmath
from ltr.fronts import cost_picture as draw_costs
from ltr.fronts import front_picture
from ltr.metrics.significance import holm
from ltr.plot_style import PALETTE, canvas

from .facts import dataset_title
from .picture import Picture
from .pictures import cheapest

if TYPE_CHECKING:
    import pandas as pd

    from ltr.bench.analysis.front_leaderboard import FrontLeaderboard

__all__ = ["SHOWN", "Drawn", "cost_picture", "fronts_picture", "looks", "of_board", "payoff_picture", "title_of"]

# Drawn where not all can be; they come first, so that a system looks alike on every page and picture.
SHOWN = ("DPO-LS", "Plug-in", "Plug-in, trees", "HyperDPO", "HyperDPO mixture")

MOST = 5  # systems on a picture of fronts: more are nobody's any more
NAMED = 16  # systems with a name on a picture of cost; of more, those that are not asked for are grey


def looks(systems: Sequence[str]) -> dict[str, int]:
    """System -> number of its colour and marker, the same on every picture and page; systems in the suite's order."""
    return {s: i for i, s in enumerate([*SHOWN, *(s for s in systems if s not in SHOWN)])}


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the pictures of one dataset show.

    Attributes:
        title: of the pictures.
        objectives, measures: one name and one measure an objective.
        fronts: system -> its seeds, each `[point, objective]`: test points of the preferences chosen on validation.
            Largest hypervolume first; a system without numbers is not there.
        volumes: system -> `[seed]` hypervolumes.
        operations: system -> of training for all of its points, counted, mean over runs; NaN where they were not.
        label: what the hypervolumes are.
        seeds: of the suite.
        base, ideal, nadir, reference: `[objective]`: single points, where they are known.
        truth: `[point, objective]`: of the best possible ranker, where it is known.
        free: systems that no preference steers; pictures of cost leave them out.
        presets: system -> `[preset, objective]`: its mean test point where all objectives count alike, or only one.
        p: of the difference in hypervolume of every pair of systems, corrected by Holm; None where not known.
    """

    title: str
    objectives: Sequence[str]
    measures: Sequence[str]
    fronts: Mapping[str, Sequence[np.ndarray]]
    volumes: Mapping[str, np.ndarray]
    operations: Mapping[str, float]
    label: str
    seeds: int
    base: Sequence[float] | None = None
    ideal: Sequence[float] | np.ndarray | None = None
    nadir: Sequence[float] | np.ndarray | None = None
    reference: Sequence[float] | np.ndarray | None = None
    truth: Sequence[Sequence[float]] = ()
    free: frozenset[str] = frozenset()
    presets: Mapping[str, np.ndarray] = field(default_factory=dict)
    p: pd.DataFrame | None = None

    def mean(self, system: str) -> float:
        return float(np.mean(self.volumes[system]))


def title_of(dataset: str, objectives: int) -> str:
    """Of a picture, in words.

    >>> title_of("mq2008", 2)
    'MQ2008, two objectives'
    """
    numbers = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")
    return f"{dataset_title(dataset)}, {numbers[objectives] if objectives < len(numbers) else objectives} objectives"


def of_board(board: FrontLeaderboard, title: str) -> Drawn:
    """What the pictures of a leaderboard show: normalised hypervolumes, and the base model beside the fronts."""
    import pandas as pd

    fronts, volumes, operations, presets = {}, {}, {}, {}
    corners = [int(np.argmax(board.lattice[:, k])) for k in range(len(board.objectives))]
    wanted = [int(np.argmin(np.ptp(board.lattice, axis=1))), *corners]
    for row in rows_of(board.table):
        s = board.cube.systems.index(row.system)
        seeds = np.flatnonzero(board.cube.complete[s])
        if not len(seeds):
            continue
        fronts[row.system] = [board.cube.test[s, e][board.members[s, e]] for e in seeds]
        volumes[row.system] = board.values["hypervolume"][s, seeds]
        operations[row.system] = row.operations
        presets[row.system] = board.cube.test[s, seeds][:, wanted].mean(0)
    at = [board.cube.systems.index(s) for s in fronts]
    p = pd.DataFrame(holm(board.errors["hypervolume"].p()[np.ix_(at, at)]), index=list(fronts), columns=list(fronts))
    points = board.points
    ideal, nadir = np.array(points.ideal), np.array(points.nadir)
    return Drawn(
        title,
        board.objectives,
        board.measures,
        fronts,
        volumes,
        operations,
        "normalised hypervolume",
        len(board.cube.seeds),
        points.payoff[0],
        ideal,
        nadir,
        nadir - (ideal - nadir) / board.partition,
        points.truth if points.truth_partition == board.partition else (),
        frozenset(row.system for row in rows_of(board.table) if row.asks == "none"),
        presets,
        p,
    )


def fronts_picture(
    drawn: Drawn, name: str, shown: Sequence[str] = (), numbers: Mapping[str, int] | None = None
) -> Picture | None:
    """Fronts of a few systems on test; None where there is nothing to draw.

    Two objectives as staircases with bands over seeds, three as pairs, more side by side: see `ltr.fronts.pictures`.

    Args:
        name: of the file.
        shown: systems to draw, in this order, as far as they are there; the largest follow, up to `MOST`.
        numbers: system -> number of its colour and marker; in the order of `drawn` by default.
    """
    asked = [s for s in shown if s in drawn.fronts]
    shown = [*asked, *(s for s in drawn.fronts if s not in drawn.free and s not in asked)][: max(MOST, len(asked))]
    if not shown:
        return None
    rest, filled = len(drawn.fronts) - len(shown), len(shown) - len(asked)
    rule = "the systems that every page shows" if asked else ""
    if filled:
        rule += f", and the {filled} largest of the others" if asked else f"the {filled} largest"
    known = {"base model": drawn.base, "ideal": drawn.ideal, "nadir": drawn.nadir}
    marks = {name: point for name, point in known.items() if point is not None} if len(drawn.objectives) == 2 else None
    options: dict[str, Any] = {"note": f"{rule}; {rest} more in the table" if rest else ""}
    if len(drawn.objectives) == 2:
        options |= {"truth": drawn.truth, "reference": drawn.reference}
    elif len(drawn.objectives) == 3 and drawn.base is not None:
        marks = {"base model": drawn.base}
    objectives = [unmath(f"{o}, {short_measure(m)}") for o, m in zip(drawn.objectives, drawn.measures, strict=True)]
    if len(objectives) > 3:  # axes side by side: no room for measures
        objectives = [unmath(o) for o in drawn.objectives]
    fronts, numbers = {unmath(s): drawn.fronts[s] for s in shown}, _numbers(drawn, numbers)
    figure = front_picture(fronts, objectives, title=unmath(drawn.title), marks=marks, numbers=numbers, **options)
    best = max(shown, key=drawn.mean)
    text = (
        f"Fronts on test of {', '.join(shown)} on {drawn.title}, {count(drawn.seeds, 'seed')}. Largest {drawn.label} "
        f"of these: {best}, {drawn.mean(best):.4f}."
    )
    return Picture(name, "Fronts", text, figure)


def cost_picture(
    drawn: Drawn, name: str, named: Sequence[str] = (), numbers: Mapping[str, int] | None = None
) -> Picture | None:
    """Hypervolume against counted operations of training for the whole front; None where none were counted.

    Args:
        name, numbers: as of `fronts_picture`.
        named: of more than `NAMED` systems only these and those that nothing cheaper beats have a name; the `MOST`
            largest by default.
    """
    systems = [s for s in drawn.fronts if drawn.operations.get(s, np.nan) > 0 and s not in drawn.free]
    if not systems:
        return None
    operations = np.array([drawn.operations[s] for s in systems])
    named = [s for s in named if s in drawn.fronts] or list(drawn.fronts)[:MOST]
    figure = draw_costs(
        [unmath(s) for s in systems],
        operations,
        [drawn.volumes[s] for s in systems],
        title=unmath(drawn.title),
        label=drawn.label,
        unit="operations of training for the whole front",
        numbers=_numbers(drawn, numbers),
        named=None if len(systems) <= NAMED else [unmath(s) for s in named],
    )
    cheap = ", ".join(systems[i] for i in cheapest(operations, np.array([drawn.mean(s) for s in systems])))
    text = f"Hypervolume against operations of training of the whole front on {drawn.title}. Nothing cheaper beats"
    return Picture(name, "Hypervolume and cost", f"{text} {cheap}.", figure)


def payoff_picture(drawn: Drawn, name: str, shown: Sequence[str] = ()) -> Picture | None:
    """Four objectives or more: what each has where all count alike and where one alone does, a panel a system.

    Dark is the ideal, pale the nadir of the task. None with fewer objectives, or where ideal and nadir are not known.
    """
    shown = [s for s in shown if s in drawn.presets] or [s for s in drawn.presets if s not in drawn.free][:MOST]
    if len(drawn.objectives) < 4 or drawn.ideal is None or drawn.nadir is None or not shown:
        return None
    from matplotlib.patches import Rectangle

    low, high = np.asarray(drawn.nadir), np.asarray(drawn.ideal)
    asked = ["all alike", *(f"only {o}" for o in drawn.objectives)]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    size = (1.4 + 2.3 * columns, 1.0 + (0.9 + 0.28 * len(asked)) * rows)
    with canvas(*size, rows, columns, sharex=True, sharey=True) as (figure, axes):
        for ax in axes.flat[len(shown) :]:
            ax.set_visible(False)
        for i, (ax, system) in enumerate(zip(axes.flat, shown, strict=False)):
            shares = np.clip((drawn.presets[system] - low) / (high - low), 0, 1)
            for (y, x), share in np.ndenumerate(shares):
                ax.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, color=PALETTE[0], alpha=0.75 * share, linewidth=0))
                ax.text(x, y, f"{drawn.presets[system][y, x]:.2f}", ha="center", va="center", fontsize=7.5)
            ax.set(xlim=(-0.5, len(low) - 0.5), ylim=(len(asked) - 0.5, -0.5))
            ax.set_title(unmath(system), fontsize=9)
            ax.set_yticks(range(len(asked)), [unmath(text) for text in asked], fontsize=8)
            ax.set_xticks(range(len(low)), [unmath(o) for o in drawn.objectives], fontsize=8, rotation=40, ha="right")
            ax.tick_params(length=0, labelbottom=i + columns >= len(shown))
        figure.suptitle(unmath(drawn.title), x=0.01, ha="left", fontsize=10, fontweight="bold")
        figure.supxlabel(
            "measure on test, by what the preference asks for; dark: the task's ideal, pale: its nadir", fontsize=8
        )
    gained = [f"{s} {drawn.presets[s][0].mean():.4f}" for s in shown]
    return Picture(name, "Pay-off", f"Mean of the objectives where all count alike: {', '.join(gained)}.", figure)


def _numbers(drawn: Drawn, numbers: Mapping[str, int] | None) -> Mapping[str, int]:
    found = {s: i for i, s in enumerate(drawn.fronts)} if numbers is None else numbers
    return {unmath(s): i for s, i in found.items()}
