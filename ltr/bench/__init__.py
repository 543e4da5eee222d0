"""The benchmark: a suite of systems run over folds and seeds, and the leaderboard that comes out of it.

    suite.toml -> matrix (runs to do) -> launch (workers, resume) -> run folders -> results (tidy files)
    -> leaderboard (means, intervals, significance, cost) -> report (Markdown, pictures, one HTML page)

Names are imported when first used, so that `ltr --help` does not wait for torch.
"""

from __future__ import annotations

# name -> module that defines it
_HOME = {
    "leaderboard": "ltr.bench.leaderboard",
    "load_results": "ltr.bench.results",
    "load_suite": "ltr.bench.matrix",
    "quickstart": "ltr.bench.launch",
    "report": "ltr.bench.report",
    "run_suite": "ltr.bench.launch",
}
__all__ = sorted(_HOME)


def __getattr__(name: str):
    if name in _HOME:
        import importlib

        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ltr.bench' has no attribute {name!r}")


def __dir__():
    return __all__
