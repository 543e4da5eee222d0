"""ltr: a learning-to-rank benchmark suite.

Names are imported when they are first used, so that `import ltr` costs nothing before torch is needed. Rooms are
attributes, too: `ltr.metrics`, `ltr.losses`, `ltr.fronts` and the others need no import of their own.
"""

from __future__ import annotations

import importlib
from typing import Any

from .lazy import lazily

__version__ = "0.2.0"

# module -> the names of it that are public here
_HOME = {
    "datasets": ["load", "open_store", "read_svmlight", "read_table"],
    "datasets.clicks": ["debias", "propensities", "simulate_clicks"],
    "datasets.pairs": ["bradley_terry", "pair_lists", "read_pairs"],
    "losses": ["loss", "preference_loss"],
    "rankers": ["fit_stacked", "load_ranker", "make_ranker", "register_net", "score_stacked"],
    "rankers.comparison": ["compare"],
    "methods": ["explain", "load_method", "make_method", "steering_report"],
    "objectives": ["lattice", "load_multi"],
    "fronts": ["front_picture", "hypervolume"],
    "sklearn": ["GroupFolds", "RankingEstimator", "RankingScorer"],
    "listing": ["list"],
    "metrics": ["evaluate", "mean", "measure"],
    "plot_style": ["PALETTE"],
    "types": ["Batch", "Split", "Task"],
}
_ROOMS = (
    *("bench", "datasets", "errors", "fronts", "losses", "methods", "metrics", "objectives", "ops", "paths"),
    *("lightning", "rankers", "runs", "sklearn", "types"),
)
# `from ltr import *` leaves Python's own list alone.
__all__ = ["__version__", *sorted(name for names in _HOME.values() for name in names if name != "list")]

_name = lazily(__name__, _HOME)


def __getattr__(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}") if name in _ROOMS else _name(name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_ROOMS, "list"])
