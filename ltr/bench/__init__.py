"""The benchmark: a suite of systems run over folds and seeds, and the leaderboard that comes out of it.

    suite.toml -> matrix, plan (runs to do) -> launch, workers (resume) -> run folders -> results (tidy files)
    -> leaderboard (means, intervals, significance, cost) -> report (Markdown, pictures, one HTML page)

Nothing heavy is imported until a function is called.
"""

from __future__ import annotations

from .analysis.leaderboard import leaderboard
from .analysis.results import load_front_results, load_results

# Not lazily: a function that is called like its module must be bound before anybody imports the module, or the name
# `ltr.bench.pages.report` would mean the one or the other by the order of imports.
from .execution.launch import quickstart, run_suite
from .pages.report import report
from .suite.suite import load_suite

__all__ = ["leaderboard", "load_front_results", "load_results", "load_suite", "quickstart", "report", "run_suite"]
