"""What scores for several preferences are worth: the measures of every objective, a row a preference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ltr.rankers.training.validation import ValidationMeasures
from ltr.types import Split

__all__ = ["measured", "weighted_mean"]


def measured(split: Split, scores: np.ndarray, measures: Sequence[str]) -> np.ndarray:
    """Means over the lists that count, float64 `[preference, objective]`; NaN where no list does.

    Args:
        split: with labels.
        scores: `[preference, documents]`.
        measures: one an objective.
    """
    return ValidationMeasures(measures, split)(scores)


def weighted_mean(split: Split, scores: np.ndarray, preferences: np.ndarray, measures: Sequence[str]) -> float:
    """Mean over preferences of sum_k w_k measure_k: every preference judged by what it asked for."""
    return float(np.nansum(measured(split, scores, measures) * preferences, axis=1).mean())
