"""What validation says of one score vector, or of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ltr.metrics import Judgements, evaluate, evaluate_rankings, mean
from ltr.types import Split

__all__ = ["PreferenceQuality", "ValidationMeasure", "ValidationMeasures", "measure_split", "measured", "weighted_mean"]


def _judged(split: Split, objective: str) -> Judgements:
    weights = None if split.weights is None else split.query_weights
    return Judgements(split.label(objective), split.offsets, weights=weights)


class ValidationMeasure:
    """One measure of one objective on a split; what no score changes (ideal orders, gains) is computed once.

    Args:
        measure: its name.
        split: with labels.
        objective: index of the label column.
    """

    def __init__(self, measure: str, split: Split, objective: int):
        self.measure, self.judged = measure, _judged(split, split.objectives[objective])

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """The mean over the lists that count, float64 `[...]`, of scores `[..., documents]`; NaN where none does."""
        (values,) = evaluate(self.measure, scores, self.judged).values()
        return np.array([mean(row) for row in values.reshape(-1, values.shape[-1])]).reshape(values.shape[:-1])[()]


class ValidationMeasures:
    """One measure an objective on a split: each ranking is sorted once for all of them.

    Args:
        measures: one an objective.
        split: with labels.
    """

    def __init__(self, measures: Sequence[str], split: Split):
        self.measures = tuple(measures)
        self.judged = [_judged(split, name) for name in split.objectives[: len(self.measures)]]

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Means over the lists that count, float64 `[..., objective]`, of scores `[..., documents]`; NaN where none."""
        rows = scores.reshape(-1, scores.shape[-1])
        values = evaluate_rankings(self.measures, rows, self.judged).transpose(0, 2, 1)
        found = np.array([mean(row) for row in values.reshape(-1, values.shape[-1])])
        return found.reshape(*scores.shape[:-1], len(self.measures))


def measure_split(measure: str, scores: np.ndarray, split: Split, objective: int) -> float:
    """One measure of flat scores, its mean over the lists of a split that count; NaN where none does."""
    return float(ValidationMeasure(measure, split, objective)(scores))


def measured(split: Split, scores: np.ndarray, measures: Sequence[str]) -> np.ndarray:
    """Means over the lists that count, float64 `[preference, objective]`, of scores `[preference, documents]`, by one
    measure an objective; NaN where no list counts."""
    return ValidationMeasures(measures, split)(scores)


def weighted_mean(values: np.ndarray, preferences: np.ndarray) -> float:
    """Mean over preferences of sum_k w_k v_k; an objective that counts on no list leaves the sum."""
    return float(np.nansum(values * preferences, axis=1).mean())


class PreferenceQuality:
    """What selects where several objectives are measured under preferences.

    Args:
        measures: one an objective.
        vali: with labels.
        quality: `quality(values [preference, objective], preferences)` -> a number, larger is better.
        preferences: float32 `[preference, objective]`, those the validation lists are scored for.
        reference: s_ref of validation, float32 `[documents]`; None where there is none.
        controls: judged at the best of these lambda, s_ref + lambda (s - s_ref), since that is how it will be used;
            judged at lambda = 1, an epoch that has left the reference far enough would look late.
    """

    def __init__(
        self, measures: Sequence[str], vali: Split, quality, preferences: np.ndarray, reference=None, controls=(1.0,)
    ):
        self.measures, self.vali, self.quality, self.preferences = tuple(measures), vali, quality, preferences
        self.reference, self.controls = reference, tuple(controls)

    @cached_property
    def _measured(self) -> ValidationMeasures:
        return ValidationMeasures(self.measures, self.vali)

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Every measure after every control, `[control, row, objective]`, of scores `[row, documents]`."""
        s_ref = np.float32(0) if self.reference is None else self.reference
        moved = scores - s_ref
        return self._measured(np.stack([scores if c == 1 else s_ref + np.float32(c) * moved for c in self.controls]))

    def judged(self, values: np.ndarray, preferences: np.ndarray) -> float:
        """The number that selects, of values `[control, preference, objective]`."""
        counted = [v for v in values if not np.isnan(v).all()]
        return max((float(self.quality(v, preferences)) for v in counted), default=float("nan"))

    def __call__(self, scores: np.ndarray) -> float:
        """Of one net that was scored for all preferences, `[preference, documents]`; NaN where no list counts."""
        return self.judged(self.values(scores), self.preferences)

    def of_members(self, scores: np.ndarray, members: Sequence[int]) -> list[float]:
        """Of nets with one preference each, `[member, documents]`: a number for each of these members."""
        values = self.values(scores)
        return [self.judged(values[:, j : j + 1], self.preferences[i : i + 1]) for j, i in enumerate(members)]
