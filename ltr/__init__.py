"""ltr: a learning-to-rank benchmark suite.

Names are imported when they are first used, so that `import ltr` costs nothing before torch is needed.
"""

from __future__ import annotations

from .lazy import lazily

__version__ = "0.2.0"

# module -> the names of it that are public here
_HOME = {
    "datasets": ["load"],
    "losses": ["loss"],
    "rankers": ["make_ranker"],
    "sklearn": ["RankingEstimator"],
    "metrics": ["evaluate", "mean", "measure"],
    "types": ["Batch", "Split", "Task"],
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


__getattr__ = lazily(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
