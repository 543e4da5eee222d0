"""The face for people who have arrays or data frames: scikit-learn's verbs over the rankers and losses of the
catalogue, folds of whole queries, and a scorer that knows the lists.

    estimator.py        `RankingEstimator`: fit, predict, score
    model_selection.py  `GroupFolds`, `RankingScorer`: for GridSearchCV, cross_val_score and their like
    rows.py             rows that become lists
"""

from __future__ import annotations

from .estimator import RankingEstimator
from .model_selection import GroupFolds, RankingScorer

__all__ = ["GroupFolds", "RankingEstimator", "RankingScorer"]
