"""What the fronts say to the open questions of the field: paired differences, and words that follow from intervals.

The questions stand in `benchmarks/questions.toml`. A verdict is one of `ltr.metrics.VERDICTS`: "above", "below", "equal
within the margin", or "cannot tell", which is none of the others. Those of one comparison on all tasks are tallied
together, so Holm's correction is over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ltr import paths, schema
from ltr.errors import check_name
from ltr.metrics.inference import VERDICTS, Difference, verdicts

from .front_leaderboard import QUANTITIES

if TYPE_CHECKING:
    from .front_leaderboard import FrontLeaderboard

__all__ = ["Comparison", "Found", "Question", "ask", "by_comparison", "load_questions", "tally"]

Group = tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Is `a` above `b`? Groups are compared by the mean over their systems.

    Attributes:
        quantity: of the leaderboard, see `QUANTITIES`.
        claim: who says so, where somebody does.
    """

    a: Group
    b: Group
    quantity: str = "hypervolume"
    claim: str = ""

    def __post_init__(self) -> None:
        check_name("quantity of the leaderboard", self.quantity, QUANTITIES)

    @property
    def text(self) -> str:
        return f"{_names(self.a)} above {_names(self.b)}, {QUANTITIES[self.quantity]}"


@dataclass(frozen=True)
class Question:
    """A heading, what there is to know before the numbers, and the comparisons that answer it."""

    title: str
    text: str
    comparisons: tuple[Comparison, ...]


@dataclass(frozen=True)
class _File:
    questions: tuple[Question, ...]


def load_questions() -> tuple[Question, ...]:
    """The questions in the order of the page; the README tells the answer to the first."""
    path = paths.suites() / "questions.toml"
    return schema.bind(_File, schema.read_toml(path), file=path).questions


@dataclass(frozen=True)
class Found:
    """One comparison on one board.

    Attributes:
        board: its number among those that were asked.
        verdict: corrected over the boards.
    """

    board: int
    comparison: Comparison
    difference: Difference
    verdict: str

    @property
    def text(self) -> str:
        return str(self.difference)


def ask(question: Question, boards: Sequence[FrontLeaderboard]) -> list[Found]:
    """The comparisons of a question on every board that has both sides, by comparison, then by board."""
    found = []
    for comparison in question.comparisons:
        sides = [board.difference(comparison.a, comparison.b, comparison.quantity) for board in boards]
        there = {i: difference for i, difference in enumerate(sides) if difference is not None}
        words = verdicts(list(there.values()))
        found += [Found(i, comparison, gap, word) for (i, gap), word in zip(there.items(), words, strict=True)]
    return found


def by_comparison(found: Sequence[Found]) -> dict[Comparison, list[Found]]:
    groups: dict[Comparison, list[Found]] = {}
    for each in found:
        groups.setdefault(each.comparison, []).append(each)
    return groups


def tally(found: Sequence[Found]) -> str:
    """`above on 2 of 5 tasks, below on 1, cannot tell on 2`

    >>> one = Found(0, Comparison(("Plug-in",), ("LS",)), Difference(1.0, 0.5, 1.5, p=0.001), "above")
    >>> tally([one, one])
    'above on 2 of 2 tasks'
    """
    counts = Counter(each.verdict for each in found)
    parts = [f"{word} on {counts[word]}" for word in VERDICTS if counts[word]]
    return ", ".join([f"{parts[0]} of {len(found)} task{'s' * (len(found) != 1)}", *parts[1:]]) if parts else ""


def _names(group: Group) -> str:
    return group[0] if len(group) == 1 else f"mean of {', '.join(group)}"
