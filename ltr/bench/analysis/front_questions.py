"""What the fronts say to the open questions of the field: paired differences, and words that follow from intervals.

Systems are named by their labels in `_core.toml`, `_transformer.toml` and `_fronts.toml`. A verdict is one of
`ltr.metrics.VERDICTS`: "above", "below", "equal within the margin", or "cannot tell", which is none of the others.
Those of one comparison on all tasks are tallied together, so Holm's correction is over them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ltr.metrics.inference import VERDICTS, Difference, verdicts

from .front_leaderboard import QUANTITIES

if TYPE_CHECKING:
    from .front_leaderboard import FrontLeaderboard

__all__ = ["QUESTIONS", "Comparison", "Found", "Question", "ask", "tally"]

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
        "Does one model an objective match one model a preference?",
        "The plug-in rule estimates what each document is worth to each objective and sorts by the weighted sum: the "
        "ranking that is best for the expected weighted nDCG, were the estimates exact (T11 of our notes). Under equal "
        "total cost its models train longer; short has the epochs of one model.",
        (
            _pair("Plug-in", "LS"),
            _pair("Plug-in", "DPO-LS"),
            _pair("Plug-in", "LS", "weighted"),
            _pair("Plug-in short", "LS"),
            _pair("Plug-in, trees", "LS, trees"),
            _pair("Plug-in, trees", "DPO-LS"),
        ),
    ),
    Question(
        "Does one conditioned model match one model per preference?",
        "No conditioned model has a better optimum at a preference than a model trained for it alone; what "
        "it gains comes from sharing, what it loses from having to serve all preferences with one net. With the cost "
        "of all models of DPO-LS, and, where it says short, with that of one of them.",
        (
            _pair("HyperDPO", "DPO-LS"),
            _pair("HyperDPO", "DPO-LS", "weighted"),
            _pair("HyperDPO short", "DPO-LS"),
            _pair("HyperDPO head", "DPO-LS"),
            _pair("HyperDPO mixture", "DPO-LS"),
            _pair("HyperDPO mixture", "DPO-LS", "weighted"),
            _pair("HyperDPO mixture short", "DPO-LS"),
            _pair("HyperDPO mixture", "HyperDPO"),
            _pair("COSMOS", "LS"),
            _pair("YOTO", "LS"),
            _pair("Conditioned trees", "LS, trees"),
            _pair("PaMaL", "DPO-LS"),
        ),
    ),
    Question(
        "Does the prompt?",
        "Hyper Prompt Tuning makes the preference a prompt. In the paper's form prompts stand as documents in front "
        "of the list; prefix has pairs of keys and values with a softmax of their own, and prompts that read the list "
        "out. Film multiplies the layers instead.",
        (
            _pair("HyperDPO prompt", "HyperDPO"),
            _pair("HyperDPO prefix", "HyperDPO"),
            _pair("HyperDPO prefix", "HyperDPO prompt"),
            _pair("HyperDPO head", "HyperDPO"),
        ),
    ),
    Question(
        "What does the reference give?",
        "Methods that leave a reference ranker, beside the same losses without one; and a reference of trees in place "
        "of a net.",
        (_pair("DPO-LS", "LS"), _pair("HyperDPO on trees", "HyperDPO"), _pair("HyperDPO on trees", "LS, trees")),
    ),
    Question(
        "The published experiment: a main label, and preferences over auxiliary objectives",
        "COS-DPO (2410.08316) trains its reference ranker on a main label and spans the front over the others alone. "
        "One conditioned net, with the epochs of one model unless it says equal total, beside one model a preference, "
        "a soup and MODPO in pairs.",
        (
            _pair("Weight-COS-DPO prompt", "DPO-LS"),
            _pair("Weight-COS-DPO film", "DPO-LS"),
            _pair("Weight-COS-DPO film, equal total", "DPO-LS"),
            _pair("Weight-COS-DPO prompt, equal total", "DPO-LS"),
            _pair("Weight-COS-DPO prompt, equal total", "Weight-COS-DPO film, equal total"),
            _pair("Plug-in softmax, equal total", "Weight-COS-DPO film, equal total"),
            _pair("Weight-COS-DPO prompt", "DPO soup"),
            _pair("Weight-COS-DPO prompt", "MODPO pairwise"),
            _pair("Weight-COS-DPO prompt", "Weight-COS-DPO film"),
            _pair("Weight-COS-DPO prefix", "Weight-COS-DPO prompt"),
            _pair("Weight-COS-DPO concat", "Weight-COS-DPO film"),
            _pair("Temperature-COS-DPO", "Weight-COS-DPO film"),
            _pair("Plug-in", "Weight-COS-DPO film"),
            _pair("Plug-in softmax", "Weight-COS-DPO film"),
            _pair("Plug-in softmax", "LS"),
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
            _pair("MODPO", "MODPO pairwise"),
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


def tally(found: Sequence[Found]) -> str:
    """`above on 2 of 5 tasks, below on 1, cannot tell on 2`

    >>> one = Found(0, QUESTIONS[0].comparisons[0], Difference(1.0, 0.5, 1.5, p=0.001), "above")
    >>> tally([one, one])
    'above on 2 of 2 tasks'
    """
    counts = Counter(each.verdict for each in found)
    parts = [f"{word} on {counts[word]}" for word in VERDICTS if counts[word]]
    return ", ".join([f"{parts[0]} of {len(found)} task{'s' * (len(found) != 1)}", *parts[1:]]) if parts else ""


def _names(group: Group) -> str:
    return group[0] if len(group) == 1 else f"mean of {', '.join(group)}"
