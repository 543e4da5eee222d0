"""The answers at the top of the page on fronts: what a team should take, and which goals of the study were reached."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ltr.bench.analysis.front_choice import SHARES, Choice, few_models
from ltr.bench.analysis.front_questions import Found, by_comparison, tally
from ltr.bench.analysis.front_results import FrontResults
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.analysis.tuning import edges
from ltr.bench.text import count, markdown_table, number, plain

__all__ = ["answer", "goals_table", "taken_table"]

_TAKEN = ("task", "largest front", "of the true one", "cheapest that is not below it", "its operations")
_COUNTED = ("as good", "below", "cannot tell")
# Nets that are told a preference by prompts -> the same steered by film, which they are to come up to.
_PROMPTS = {
    "HyperDPO prompt": "HyperDPO",
    "HyperDPO prefix": "HyperDPO",
    "Weight-COS-DPO prompt": "Weight-COS-DPO film",
    "Weight-COS-DPO prompt, equal total": "Weight-COS-DPO film, equal total",
}


def taken_table(taken: Sequence[Choice | None], titles: Sequence[str]) -> str:
    """A row a task: the largest front, and the cheapest system that is not below it."""
    rows = []
    for choice, title in zip(taken, titles, strict=True):
        if choice is None:
            continue
        cheap, share, times = choice.level[0], choice.share(choice.best), choice.times(choice.level[0])
        level, below = len(choice.level), len(choice.below)
        cells = (
            title,
            f"{choice.best} ({number(choice.board.mean(choice.best), 4)})",
            f"{share:.1%}" if np.isfinite(share) else "",
            cheap,
            f"{times:.2g} times {choice.board.baseline}" if np.isfinite(times) else "",
            *(str(n) for n in (level, below, len(choice.models) - level - below)),
        )
        rows.append(dict(zip(_TAKEN + _COUNTED, cells, strict=True)))
    return markdown_table(rows, left=_TAKEN) if rows else ""


def answer(taken: Sequence[Choice | None], first: Sequence[Found], systems: int) -> str:
    """For the README: verdicts beside one model a preference, which is the first question, and the largest fronts."""
    beside = "; ".join(f"{plain(what.a[0])} {tally(found)}" for what, found in by_comparison(first).items())
    largest = Counter(choice.best for choice in taken if choice is not None)
    best = ", ".join(f"{plain(name)} on {n}" for name, n in largest.most_common())
    return (
        f"**Several objectives:** {systems} systems on {count(sum(largest.values()), 'task')}. "
        + (f"Beside one model a preference (DPO-LS), at its total cost or less: {beside}. " if beside else "")
        + f"Largest front: {best} (`ltr bench fronts`: [all of it](benchmarks/FRONTS.md))."
    )


def goals_table(taken: Sequence[Choice | None], titles: Sequence[str], suites: Sequence[FrontResults]) -> str:
    """What was set out to be shown, what came, and whether that reaches it."""
    there = [(choice, title) for choice, title in zip(taken, titles, strict=True) if choice is not None]
    rows = []

    def goal(what: str, came: str, reached: bool) -> None:
        rows.append({"goal": what, "came": came, "reached": "yes" if reached else "no"})

    few = [(title, result) for choice, title in there if (result := few_models(choice)) is not None]
    if few:
        came = "; ".join(f"{title}: {text}" for title, (_, text) in few)
        yes = sum(reached for _, (reached, _) in few)
        what = "few models at or above one a preference at a tenth of its operations, on three tasks of four"
        goal(what, f"{yes} of {count(len(few), 'task')}. {came}", yes >= 0.75 * len(few))
    for choice, title in there:
        wanted, share = SHARES.get(len(choice.board.objectives)), choice.share(choice.best)
        if wanted is not None and np.isfinite(share):
            goal(f"{wanted:.0%} of the true front on {title}", f"{choice.best}: {share:.1%}", share >= wanted)
        for prompt, film in _PROMPTS.items():
            gap = choice.board.difference(prompt, film)
            if gap is not None:
                goal(f"{prompt} within {gap.margin:.4f} of film on {title}", str(gap), gap.not_below)
    for row in rows_of(edges(suites)):
        came = f"{row.share:.1%} of {row.choices}"
        goal(f"{row.key} chosen at an edge of its grid in under 10 %", came, row.share < 0.1)
    return markdown_table(rows, left=("goal", "came", "reached")) if rows else ""
