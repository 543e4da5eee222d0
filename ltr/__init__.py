"""ltr: a learning-to-rank benchmark suite.

Names are imported when they are first used, so that `import ltr` costs nothing before torch is needed.
"""

from __future__ import annotations

__version__ = "0.1.0"

# name -> module that defines it
_HOME = {
    "load": "ltr.datasets",
    "loss": "ltr.losses",
    "make_ranker": "ltr.rankers",
    "RankingEstimator": "ltr.methods",
    "measure": "ltr.metrics",
    "evaluate": "ltr.metrics",
    "mean": "ltr.metrics",
    "Batch": "ltr.types",
    "Split": "ltr.types",
    "Task": "ltr.types",
}
__all__ = [
    "Batch",
    "RankingEstimator",
    "Split",
    "Task",
    "__version__",
    "evaluate",
    "load",
    "loss",
    "make_ranker",
    "mean",
    "measure",
]


def __getattr__(name: str):
    if name in _HOME:
        import importlib

        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'ltr' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
