"""The benchmark: a suite of systems run over folds and seeds, and the leaderboard that comes out of it.

    suite.toml -> matrix, plan (runs to do) -> launch, workers (resume) -> run folders -> results (tidy files)
    -> leaderboard (means, intervals, significance, cost) -> report (Markdown, pictures, one HTML page)

Nothing heavy is imported until a function is called.
"""

from __future__ import annotations

# Not lazily: a function that is called like its module must be bound before anybody imports the module, or the name
# `ltr.bench.report` would mean the one or the other by the order of imports.
from .launch import quickstart, run_suite
from .leaderboard import leaderboard
from .matrix import load_suite
from .report import report
from .results import load_front_results, load_results

__all__ = ["leaderboard", "load_front_results", "load_results", "load_suite", "quickstart", "report", "run_suite"]
