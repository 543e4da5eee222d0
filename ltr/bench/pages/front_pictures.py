"""The two pictures of a task with several objectives: the fronts, and their hypervolume against what they cost.

The page on fronts and the report of a suite draw the same ones. They take plain points, so that a task whose ideal and
nadir nobody has committed yet is drawn too; only the label of its hypervolumes is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ltr.bench.analysis.results_io import rows_of
from ltr.bench.text import count, short_measure, unmath
from ltr.fronts import cost_picture as draw_costs
from ltr.fronts import front_picture

from .pictures import Picture

if TYPE_CHECKING:
    from ltr.bench.analysis.front_leaderboard import FrontLeaderboard

__all__ = ["Drawn", "cost_picture", "fronts_picture", "of_board"]

MOST = 8  # systems on a picture of fronts: a colour each
NAMED = 16  # systems with a name on a picture of cost; of more, those that are not asked for are grey


@dataclass(frozen=True, eq=False)
class Drawn:
    """What the pictures of one dataset show.

    Attributes:
        title: of the pictures.
        objectives, measures: one name and one measure an objective.
        fronts: system -> its seeds, each `[point, objective]`: test points of the preferences chosen on validation.
            Largest hypervolume first; a system without numbers is not there.
        volumes: system -> `[seed]` hypervolumes.
        seconds: system -> seconds of training for all of its points, mean over runs; NaN where not recorded.
        label: what the hypervolumes are.
        seeds: of the suite.
        base: `[objective]`: the base model, where it is known.
    """

    title: str
    objectives: Sequence[str]
    measures: Sequence[str]
    fronts: Mapping[str, Sequence[np.ndarray]]
    volumes: Mapping[str, np.ndarray]
    seconds: Mapping[str, float]
    label: str
    seeds: int
    base: Sequence[float] | None = None

    def mean(self, system: str) -> float:
        return float(np.mean(self.volumes[system]))


def of_board(board: FrontLeaderboard, title: str) -> Drawn:
    """What the pictures of a leaderboard show: normalised hypervolumes, and the base model beside the fronts."""
    fronts, volumes, seconds = {}, {}, {}
    for row in rows_of(board.table):
        s = board.cube.systems.index(row.system)
        seeds = np.flatnonzero(board.cube.complete[s])
        if not len(seeds):
            continue
        fronts[row.system] = [board.cube.test[s, e][board.members[s, e]] for e in seeds]
        volumes[row.system] = board.values["hypervolume"][s, seeds]
        seconds[row.system] = row.fit_seconds
    return Drawn(
        title,
        board.objectives,
        board.measures,
        fronts,
        volumes,
        seconds,
        "normalised hypervolume",
        len(board.cube.seeds),
        board.points.payoff[0],
    )


def fronts_picture(
    drawn: Drawn, name: str, shown: Sequence[str] = (), numbers: Mapping[str, int] | None = None
) -> Picture | None:
    """Fronts of a few systems on test; None where there is nothing to draw.

    Two objectives as staircases with bands over seeds, three as pairs, more side by side: see `ltr.fronts.pictures`.

    Args:
        name: of the file.
        shown: systems to draw, in this order, as far as they are there; the `MOST` largest by default.
        numbers: system -> number of its colour and marker; in the order of `drawn` by default.
    """
    shown = [s for s in shown if s in drawn.fronts] or list(drawn.fronts)[:MOST]
    if not shown:
        return None
    marks = None if drawn.base is None else {"base model": drawn.base}
    objectives = [unmath(f"{o}, {short_measure(m)}") for o, m in zip(drawn.objectives, drawn.measures, strict=True)]
    if len(objectives) > 3:  # axes side by side: no room for measures, and a mark on each is nobody's line
        objectives, marks = [unmath(o) for o in drawn.objectives], None
    fronts, numbers = {unmath(s): drawn.fronts[s] for s in shown}, _numbers(drawn, numbers)
    figure = front_picture(fronts, objectives, title=unmath(drawn.title), marks=marks, numbers=numbers)
    best = max(shown, key=drawn.mean)
    text = (
        f"Fronts on test of {', '.join(shown)} on {drawn.title}, {count(drawn.seeds, 'seed')}. Largest {drawn.label} "
        f"of these: {best}, {drawn.mean(best):.4f}."
    )
    return Picture(name, "Fronts", text, figure)


def cost_picture(
    drawn: Drawn, name: str, named: Sequence[str] = (), numbers: Mapping[str, int] | None = None
) -> Picture | None:
    """Hypervolume against seconds of training for the whole front; None where no cost is known.

    Args:
        name, numbers: as of `fronts_picture`.
        named: of more than `NAMED` systems only these and those that nothing cheaper beats have a name; the `MOST`
            largest by default.
    """
    systems = [s for s in drawn.fronts if drawn.seconds.get(s, np.nan) > 0]
    if not systems:
        return None
    seconds = np.array([drawn.seconds[s] for s in systems])
    named = [s for s in named if s in drawn.fronts] or list(drawn.fronts)[:MOST]
    figure = draw_costs(
        [unmath(s) for s in systems],
        seconds,
        [drawn.volumes[s] for s in systems],
        title=unmath(drawn.title),
        label=drawn.label,
        numbers=_numbers(drawn, numbers),
        named=None if len(systems) <= NAMED else [unmath(s) for s in named],
    )
    # Nothing cheaper is larger: from the cheapest on, who exceeds all before.
    best = -np.inf
    cheap: list[str] = []
    for system in sorted(systems, key=lambda s: drawn.seconds[s]):
        if drawn.mean(system) > best:
            best, cheap = drawn.mean(system), [*cheap, system]
    text = f"Hypervolume against seconds of training of the whole front on {drawn.title}. Nothing cheaper beats "
    return Picture(name, "Hypervolume and cost", text + f"{', '.join(cheap)}.", figure)


def _numbers(drawn: Drawn, numbers: Mapping[str, int] | None) -> Mapping[str, int]:
    found = {s: i for i, s in enumerate(drawn.fronts)} if numbers is None else numbers
    return {unmath(s): i for s, i in found.items()}
