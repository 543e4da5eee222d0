"""What the fronts say to the open questions of the field: paired differences, and words that follow from intervals.

Systems are named by their labels in `benchmarks/suites/_fronts.toml`. A verdict is one of `ltr.metrics.VERDICTS`:
"above", "below", "equal within the margin", or "cannot tell", which is none of the others. Those of one comparison on
all tasks are tallied together, so Holm's correction is over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ltr.metrics.inference import VERDICTS, Difference, verdicts

from .front_leaderboard import QUANTITIES

if TYPE_CHECKING:
    from .front_leaderboard import FrontLeaderboard

__all__ = ["QUESTIONS", "TARGETS", "Comparison", "Found", "Question", "ask", "tally", "targets"]

Group = tuple[str, ...]

ARITHMETIC: Group = ("DPO-LS", "SLA", "HyperDPO")
GEOMETRIC: Group = ("MOD", "Soup", "MODPO")


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

    @property
    def text(self) -> str:
        return f"{_names(self.a)} above {_names(self.b)}, {QUANTITIES[self.quantity]}"


@dataclass(frozen=True)
class Question:
    """A heading, what there is to know before the numbers, and the comparisons that answer it."""

    title: str
    text: str
    comparisons: tuple[Comparison, ...]


def _pair(a: str, b: str, quantity: str = "hypervolume", claim: str = "") -> Comparison:
    return Comparison((a,), (b,), quantity, claim)


QUESTIONS = (
    Question(
        "Does one conditioned model match one model per preference?",
        "No conditioned model has a better optimum at a preference than a model trained for it alone; what "
        "it gains comes from sharing, what it loses from having to serve all preferences with one net.",
        (
            _pair("HyperDPO", "DPO-LS"),
            _pair("HyperDPO", "DPO-LS", "weighted"),
            _pair("HyperDPO mixture", "DPO-LS"),
            _pair("HyperDPO mixture", "DPO-LS", "weighted"),
            _pair("HyperDPO mixture", "HyperDPO"),
            _pair("PaMaL", "DPO-LS"),
        ),
    ),
    Question(
        "Do arithmetic mixes of the targets beat geometric ones?",
        "On free scores DPO-LS, SLA and HyperDPO end at the arithmetic mix of the objectives' targets, MOD, soups and "
        "list MODPO at the geometric one. The arithmetic mix favours documents that are best for one objective, the "
        "geometric one documents that are good for all; so the worst objective of each list is compared too.",
        (
            Comparison(ARITHMETIC, GEOMETRIC),
            Comparison(ARITHMETIC, GEOMETRIC, "weighted"),
            Comparison(ARITHMETIC, GEOMETRIC, "worst"),
            *(_pair("DPO-LS", each, quantity) for each in GEOMETRIC for quantity in ("hypervolume", "worst")),
        ),
    ),
    Question(
        "Do listwise preference losses beat pairwise ones?",
        "The same methods with the same reference, settings and budget, and another loss of the same implicit rewards: "
        "ListNet or Plackett-Luce over the list, or the logistic loss of every pair.",
        (
            _pair("DPO-LS", "DPO-LS pairwise"),
            _pair("DPO-LS", "DPO-LS pairwise", "weighted"),
            _pair("HyperDPO", "HyperDPO pairwise"),
            _pair("HyperDPO Plackett-Luce", "HyperDPO pairwise"),
            _pair("HyperDPO", "HyperDPO Plackett-Luce"),
        ),
    ),
    Question(
        "What does control after training give for nothing?",
        "Once trained, s_ref + lambda (s - s_ref) gives the model of every other temperature; lambda is chosen on "
        "validation, which costs no training. The same system is held to lambda = 1.",
        (
            _pair("HyperDPO", "HyperDPO, lambda = 1"),
            _pair("HyperDPO", "HyperDPO, lambda = 1", "weighted"),
            _pair("Soup", "Soup, lambda = 1"),
            _pair("MOD", "MOD, lambda = 1"),
        ),
    ),
    Question(
        "What do papers claim, and is it reached here?",
        "Claims of papers on their data, with their budgets, from summaries or recalled where it says so. A no is a "
        "method that fails to reach here what is claimed for it; why is not said.",
        (
            _pair("HyperDPO", "DPO-LS", claim="2410.08316 (summary): +24 % on MSLR-WEB10K"),
            _pair("DPO-LS", "Soup", claim="2410.08316 (summary): +12 %"),
            _pair("Soup", "MODPO", claim="2410.08316 (summary): +16 %"),
            _pair("Smooth Chebyshev", "Chebyshev", claim="2402.19078 (recalled): smooth is easier to descend"),
            _pair("PHN-EPO", "PHN-LS", claim="2010.04104 (recalled): EPO inside, better fronts"),
            _pair("PaMaL", "Soup", claim="PaMaL (recalled): trained together, better than averaged after"),
            _pair("COSMOS", "PHN-LS", claim="2103.13392 (recalled): at least as good, for less"),
        ),
    ),
)


@dataclass(frozen=True)
class Found:
    """One comparison on one dataset."""

    dataset: str
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
        sides = {board.dataset: board.difference(comparison.a, comparison.b, comparison.quantity) for board in boards}
        there = {dataset: difference for dataset, difference in sides.items() if difference is not None}
        words = verdicts(list(there.values()))
        found += [Found(d, comparison, gap, word) for (d, gap), word in zip(there.items(), words, strict=True)]
    return found


def tally(found: Sequence[Found]) -> str:
    """`above on 2 of 5 tasks, below on 1, cannot tell on 2`

    >>> one = Found("a", QUESTIONS[0].comparisons[0], Difference(1.0, 0.5, 1.5, p=0.001), "above")
    >>> tally([one, one])
    'above on 2 of 2 tasks'
    """
    counts = Counter(each.verdict for each in found)
    parts = [f"{word} on {counts[word]}" for word in VERDICTS if counts[word]]
    return ", ".join([f"{parts[0]} of {len(found)} task{'s' * (len(found) != 1)}", *parts[1:]]) if parts else ""


# ------------------------------------------------------------------------------------------------------- targets


TARGETS = {2: 0.95, 3: 0.90}  # objectives -> share of the true front's hypervolume that HyperDPO shall reach
_ONE_SHOT, _EACH = ("HyperDPO", "HyperDPO mixture"), "DPO-LS"
# One model a preference, side by side (a fleet) or one after another -> how many times cheaper HyperDPO shall be.
CHEAPER = {_EACH: 5.0, f"{_EACH}, one by one": 10.0}


def targets(board: FrontLeaderboard) -> list[dict[str, str]]:
    """What was set out to be shown of HyperDPO on one board: target, what came, verdict. Rows of text."""
    return [row for system in _ONE_SHOT if board.has(system) for row in _targets_of(board, system)]


def _targets_of(board: FrontLeaderboard, system: str) -> list[dict[str, str]]:
    rows = []
    table = board.table.set_index("system")
    mine: Any = table.loc[system]

    def target(what: str, goal: str, came: str, reached: str) -> None:
        row = {"task": board.dataset, "system": system, "what": what, "goal": goal, "came": came, "reached": reached}
        rows.append(row)

    if "share_zero" in table:
        goal = TARGETS.get(len(board.objectives))
        came = f"{mine.share_zero:.1%} above 0, {mine.share_normalised:.1%} normalised"
        reached = "" if goal is None else _reached(mine.share_zero >= goal, mine.share_normalised >= goal)
        target("share of the true front's hypervolume", f"{goal:.0%}" if goal else "", came, reached)
    gap = board.difference(system, _EACH)
    if gap is None:
        return rows
    within = {"above": "yes, above it", "below": "no"}.get(gap.verdict, "yes" if gap.not_below else "cannot tell")
    within = "yes" if gap.not_below and within == "no" else within  # below it by less than the margin
    target(f"within the margin of {_EACH}, {gap.margin:.4f}", "not below", str(gap), within)
    points = len(board.lattice)
    for rival, goal in CHEAPER.items():
        if not board.has(rival):
            continue
        other = table.loc[rival]
        ratio = other.fit_seconds / mine.fit_seconds
        came = f"{ratio:.1f} times at {points} preferences, {mine.fit_seconds:.0f} s and {other.fit_seconds:.0f} s"
        if points != _AT:
            # A model more costs what a model costs; the base is trained once in both.
            ratio = (other.fit_seconds + (_AT - points) * other.fit_seconds / other.models_trained) / mine.fit_seconds
            came += f"; {ratio:.1f} times at {_AT}, were further models as dear"
        target(f"cheaper than {rival}", f"{goal:g} times at {_AT}", came, "yes" if ratio >= goal else "no")
    return rows


_AT = 21  # preferences at which cost is compared


def _reached(zero: bool, normalised: bool) -> str:
    return "yes" if zero and normalised else ("above 0 only" if zero else "no")


def _names(group: Group) -> str:
    return group[0] if len(group) == 1 else f"mean of {', '.join(group)}"
