"""What pages say of a suite that was run: its command, seeds, training, and how much of it is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ltr.bench.text import count, duration, settings

if TYPE_CHECKING:
    from ltr.bench.analysis.results import FrontResults, Results

__all__ = ["was_run", "who_chose"]


def was_run(results: Results | FrontResults) -> dict[str, Any]:
    """title, description, seeds, training, runs and command of a suite, all of them from its files."""
    suite, environment = results.suite, results.environment
    runs = results.runs[results.runs.status != "truth"]
    said = f"{int((runs.status == 'done').sum())} of {len(runs)} runs finished"
    if environment.get("wall_seconds"):
        pool = f"{count(environment['workers'], 'worker')} of {count(environment['threads'], 'thread')}"
        said += f", {duration(environment['wall_seconds'])} with {pool}"
    return {
        "title": suite.title,
        "description": suite.description,
        "seeds": ", ".join(map(str, suite.seeds)),
        "training": settings(suite.training) or "as the defaults say",
        "runs": said,
        "command": environment.get("command", f"ltr bench run {suite.name}"),
    }


def who_chose(folds: list[str]) -> str:
    """Which folds' validation queries chose, of a tuning budget.

    >>> who_chose(["each"]), who_chose(["first"])
    ('each fold for itself', 'the first fold')
    """
    named = {"first": "the first fold", "each": "each fold for itself"}
    return ", ".join(named.get(fold, fold) for fold in folds)
