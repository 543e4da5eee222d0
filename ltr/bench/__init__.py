"""The benchmark: a suite of systems run over folds and seeds, and the leaderboard that comes out of it.

    suite/       what to run: suite.toml -> systems, grids, the runs they stand for
    execution/   who runs it: workers that leave run folders, and what it would cost
    analysis/    what came out: run folders -> tidy files -> means, intervals, significance, fronts
    pages/       what people see: Markdown, pictures, one HTML page
    run.py       all of it: a suite into a folder

Arrows point down only: execution and analysis know the suite, pages know the analysis. Nothing heavy is imported until
a function is called.
"""

from __future__ import annotations

from .analysis.leaderboard import leaderboard, per_query_values
from .analysis.losses import cells_of, family, overview
from .analysis.results import load_front_results, load_results
from .execution.engines import Engine
from .execution.status import status
from .pages.report import report
from .run import quickstart, run_suite, work_suite
from .suite.reading import load_suite

__all__ = ["Engine", "cells_of", "family", "leaderboard", "load_front_results", "load_results", "load_suite"]
__all__ += ["overview", "per_query_values", "quickstart", "report", "run_suite", "status", "work_suite"]
