"""What a team should take: the largest front of a task, and the cheapest system that is not shown to be below it.

"Not below" is a statement and not the lack of one: the whole interval of the difference to the largest front lies above
the negative margin (`ltr.metrics.Difference.not_below`). Cost is counted operations of training one front. Largest of
many is favoured by chance, so that a system that is as good may well be missing here; none is here by chance alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .front_leaderboard import FrontLeaderboard
from .results import FrontResults

__all__ = ["SHARES", "Choice", "choose_system", "few_models"]


SHARES = {2: 0.97, 3: 0.95}  # objectives -> share of the true front's hypervolume that was set as a goal
_TENTH = 0.1


@dataclass(frozen=True)
class Choice:
    """The choice on one task.

    Attributes:
        board: the task's leaderboard.
        best: system with the largest normalised hypervolume of those that follow a preference.
        level: systems that are not below it, itself included, cheapest first.
        operations: system -> counted operations of one front; NaN where none were counted.
        one_net, per_objective, each: the largest fronts among systems of one model for all preferences, of one model an
            objective, and of one model a preference; "" where there is none.
    """

    board: FrontLeaderboard
    best: str
    level: tuple[str, ...]
    operations: dict[str, float]
    one_net: str
    per_objective: str
    each: str

    def times(self, system: str) -> float:
        """Operations of a system, those of the baseline being 1."""
        return self.operations.get(system, np.nan) / self.operations.get(self.board.baseline, np.nan)

    def share(self, system: str) -> float:
        """Of the true front's normalised hypervolume; NaN where that is not known."""
        truth = self.board.truth.get("normalised", np.nan)
        return self.board.mean(system) / truth


def choose_system(results: FrontResults, board: FrontLeaderboard) -> Choice | None:
    """The choice of one task; None where no system that follows a preference has a whole front."""
    from ltr.methods import METHODS

    claims = {v.label: METHODS[v.method].claims for v in results.suite.variants()}
    steered = [s for s, c in claims.items() if c["preference"] != "ignored" and c["means"] != "none" and board.has(s)]
    if not steered:
        return None
    best = _largest(board, steered)
    runs = results.runs[(results.runs.dataset == board.dataset) & (results.runs.status == "done")]
    counted = runs.groupby("system").operations.mean().to_dict() if "operations" in runs else {}
    operations = {str(system): float(value) for system, value in counted.items()}
    gaps = {s: board.difference(s, best) for s in steered if s != best}
    level = [best, *(s for s, gap in gaps.items() if gap is not None and gap.not_below)]
    level.sort(key=lambda s: operations.get(s, np.inf))
    kinds = {kind: _largest(board, (s for s in steered if claims[s]["models"] == kind)) for kind in _KINDS}
    return Choice(board, best, tuple(level), operations, *(kinds[kind] for kind in _KINDS))


_KINDS = ("one", "objective", "preference")


def _largest(board: FrontLeaderboard, systems: Iterable[str]) -> str:
    return max(systems, key=board.mean, default="")


def few_models(choice: Choice) -> tuple[bool, str] | None:
    """Whether a system of one model, or one an objective, is at or above the largest front of one model a preference
    with a tenth of its operations, and what came; None where one side is missing, or operations were not counted.

    "At or above" is judged by the means, as the goal was set; the difference with its interval is in what came.
    """
    claims = [s for s in (choice.one_net, choice.per_objective) if s]
    board = choice.board
    if not choice.each or not claims:
        return None
    best = _largest(board, claims)
    gap = board.difference(best, choice.each)
    ratio = choice.operations.get(best, np.nan) / choice.operations.get(choice.each, np.nan)
    if gap is None or not np.isfinite(ratio):
        return None
    reached = gap.value >= 0 and ratio <= _TENTH
    return reached, f"{best} to {choice.each}: {gap}, {ratio:.2g} times the operations"
