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
        below: the others that are, by an interval each; of the rest nobody can tell.
        models: system -> what it trains: "one" for all preferences, one an "objective", or one a "preference".
        operations: system -> counted operations of one front; NaN where none were counted.
    """

    board: FrontLeaderboard
    best: str
    level: tuple[str, ...]
    below: tuple[str, ...]
    models: dict[str, str]
    operations: dict[str, float]

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
    gaps = {s: gap for s in steered if s != best and (gap := board.difference(s, best)) is not None}
    level = [best, *(s for s, gap in gaps.items() if gap.not_below)]
    level.sort(key=lambda s: operations.get(s, np.inf))
    below = tuple(s for s, gap in gaps.items() if gap.verdict == "below" and s not in level)
    models = {s: str(claims[s]["models"]) for s in steered}
    return Choice(board, best, tuple(level), below, models, operations)


def _largest(board: FrontLeaderboard, systems: Iterable[str]) -> str:
    return max(systems, key=board.mean, default="")


def few_models(choice: Choice) -> tuple[bool, str] | None:
    """Whether a system of one model, or one an objective, that costs a tenth of the operations of the largest front of
    one model a preference is at or above it, and what came; None where there is no such front, or nothing was counted.

    "At or above" is judged by the means, as the goal was set; the difference with its interval is in what came.
    """
    board, models = choice.board, choice.models
    each = _largest(board, (s for s, kind in models.items() if kind == "preference"))
    limit = choice.operations.get(each, np.nan) * _TENTH
    if not np.isfinite(limit):
        return None
    best = _largest(
        board, (s for s, kind in models.items() if kind != "preference" and choice.operations.get(s, np.inf) <= limit)
    )
    if not best or (gap := board.difference(best, each)) is None:
        return False, f"nothing costs a tenth of {each}"
    share = choice.operations[best] / choice.operations[each]
    return gap.value >= 0, f"{best} to {each}: {gap}, {share:.2g} times the operations"
