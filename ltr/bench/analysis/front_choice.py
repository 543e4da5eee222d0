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

__all__ = ["Choice", "choose_system"]


@dataclass(frozen=True)
class Choice:
    """The choice on one task.

    Attributes:
        board: the task's leaderboard.
        best: system with the largest normalised hypervolume of those that follow a preference.
        level: systems that are not below it, itself included, cheapest first.
        operations: system -> counted operations of one front; NaN where none were counted.
        one_net, each: the largest fronts among systems of one net (or booster) for all preferences, of one model an
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
