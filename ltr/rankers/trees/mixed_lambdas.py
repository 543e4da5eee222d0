"""LightGBM on several objectives at once: each round descends sum_k w_k lambda_k, the mixed lambdas of lambdarank.

    ranker = MixedLightGBM("lightgbm", LightGBMConfig(), preference=(0.5, 0.5), gains=("exp2", "exp2"), measures=(...))
    ranker.fit(train, vali)          # saved and loaded as any lightgbm ranker: it differs in its training only

The rest of the booster is LightGBM's, and so are `truncation` and the parameters lambdarank_norm and sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.rankers.training.job import ObjectiveJob
from ltr.rankers.training.validation import ValidationMeasures
from ltr.seeds import seed_of
from ltr.types import Split

from .lightgbm import LightGBM

__all__ = ["MixedLightGBM", "label_gains"]


def label_gains(labels: np.ndarray, gains: tuple[str, ...]) -> np.ndarray:
    """g(y^k), float64 `[documents, objective]`: 2^y - 1 for "exp2", y for "linear"."""
    y = labels.astype(np.float64)
    return np.stack([np.exp2(y[:, k]) - 1 if kind == "exp2" else y[:, k] for k, kind in enumerate(gains)], axis=1)


class MixedLightGBM(LightGBM):
    """One booster for one preference.

    Args:
        preference: w, `[objective]`.
        gains: "exp2" or "linear", one an objective.
        measures: one an objective; their weighted sum chooses the rounds.
        stochastic: each list learns one objective a round, drawn with chances w.
    """

    def __init__(self, *given, preference, gains, measures, stochastic: bool = False, **options):
        super().__init__(*given, **options)
        self.preference, self.gains, self.measures = tuple(preference), tuple(gains), tuple(measures)
        self.stochastic = stochastic
        for key in ("label_gain", "objective"):
            if key in self.config.params:
                raise InputError(f"mixed lambdas set {key!r} themselves", came=self.config.params[key])
        if self.config.objective != "lambdarank":
            raise InputError("mixed lambdas are those of lambdarank", came=self.config.objective)

    def _check_data(self, job: ObjectiveJob) -> None:
        """Gains need no grades, and gradients of our own no limit of the list."""

    def _fit(self, job: ObjectiveJob) -> int:
        return super()._fit(job if job.vali is None else replace(job, select=self._weighted(job.vali)))

    def _weighted(self, vali: Split) -> Callable[[np.ndarray], float]:
        """sum_k w_k measure_k; an objective that no validation list speaks of has no say."""
        measured = ValidationMeasures(self.measures, vali)
        return lambda scores: float(np.nansum(measured(scores) * self.preference))

    def _own(self, job: ObjectiveJob) -> tuple[Mapping[str, Any], Any]:
        from .lambda_gradients import inverse_ideals, mixed_gradients

        c, split = self.config, job.train
        labels = np.stack([split.label(name) for name in split.objectives], axis=1)
        worth, offsets = label_gains(labels, self.gains), np.asarray(split.offsets, dtype=np.int64)
        inverse = inverse_ideals(worth, offsets, c.truncation)
        options = {
            "truncation": c.truncation,
            "sigma": float(c.params.get("sigmoid", 1.0)),
            "norm": bool(c.params.get("lambdarank_norm", True)),
            "threads": job.threads,
        }
        draw = self._weights(split.n_queries, job.seed)
        step = lambda scores, data: mixed_gradients(scores, worth, offsets, inverse, draw(), **options)  # noqa: E731
        return {"objective": "none"}, step

    def _weights(self, lists: int, seed: int) -> Callable[[], np.ndarray]:
        """What each round weighs by, float64 `[queries, objective]`."""
        w = np.asarray(self.preference, dtype=np.float64)
        if not self.stochastic:
            always = np.tile(w, (lists, 1))
            return lambda: always
        generator, one = np.random.default_rng(seed_of("stochastic labels", seed)), np.eye(len(w))
        return lambda: one[generator.choice(len(w), size=lists, p=w / w.sum())]
