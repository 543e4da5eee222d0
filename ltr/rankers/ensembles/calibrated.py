"""A ranker whose scores say something: the share of the top grade that documents with such a score had on validation.

The map is isotonic, so the ranking stays what it was. `ltr.metrics.reliability` and the measures NegECE, NegBrier and
NegLogLoss, with link=identity and max_grade=1, look at it (labels divided by the top grade), or with labels as they are
where max_grade = 1.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ltr.rankers.base import register
from ltr.rankers.config import TrainingConfig, check
from ltr.rankers.training.job import ObjectiveJob
from ltr.types import Split

from .composed import ComposedRanker, Member

__all__ = ["CalibratedConfig", "CalibratedRanker"]


@dataclass(frozen=True)
class CalibratedConfig:
    """Isotonic calibration of another ranker on the validation lists, all their documents together.

    The lists that choose its epoch fit the map, too: where they are few, the shares flatter. Without validation the
    training lists do, and a note says so.

    Attributes:
        first: the ranker; a net says its loss, and what its training needs.
        max_grade: the label that stands for 1, above 0; higher ones count as this one.
    """

    first: Member = field(default_factory=lambda: Member("lightgbm"))
    max_grade: float = 4.0

    def __post_init__(self):
        check(self, max_grade=(self.max_grade > 0, "above 0"))

    @property
    def rankers(self) -> tuple[Member, ...]:
        """What is trained for it."""
        return (self.first,)


# `independent` is a fact of the ranker it calibrates, and here of the default one.
@register(
    "calibrated",
    CalibratedConfig,
    kind="ensemble",
    formula="p = the increasing map of s to E[min(y / max_grade, 1)] on validation, least squares",
    source="isotonic calibration: Zadrozny and Elkan, KDD 2002; centred: Oron and Flournoy, 2017",
    stochastic=True,
)
@dataclass(eq=False, repr=False)
class CalibratedRanker(ComposedRanker):
    """The ranker (also in the subfolder `first` of a saved folder) and the map of its scores.

    Attributes:
        models: the ranker.
    """

    training: Any = None
    _folders = ("first",)

    def _ready(self) -> None:
        from ltr.rankers import score_maps  # noqa: F401  (seconds, the first time)

    def _fit(self, job: ObjectiveJob) -> int:
        from ltr.rankers.score_maps import monotone

        c, began = self.config, time.perf_counter()
        first = c.first.fitted(job, TrainingConfig(), "first", None)
        lists = job.train if job.vali is None else job.vali
        share = np.minimum(lists.label(lists.objectives[job.objective]) / c.max_grade, 1.0)
        found = monotone(first.score(lists), share)
        self.models, self.history = [first], first.history
        self.best = {**first.best, "map": [list(found.x), list(found.y)]}
        documents = self._trained(self.models, began)
        self.notes += ["calibrated on the training lists"] * (job.vali is None)
        return documents

    @property
    def map(self) -> Any:
        """What a score of the ranker is worth, a `score_maps.Monotone`."""
        from ltr.rankers.score_maps import Monotone

        x, y = self.best["map"]
        return Monotone(tuple(x), tuple(y))

    def _score(self, split: Split) -> np.ndarray:
        import torch

        found: np.ndarray = self.map.flat(torch.from_numpy(self.models[0].score(split).astype(np.float64))).numpy()
        return found
