"""Boosters that regress on the worth of documents, list by list: their gradients, and one booster for all objectives.

    centred    sum_i ((s_i - y_i) - mean of the list)^2 / 2      g_i = r_i - mean r, r = s - y       h_i = 1 - 1/n
    softmax    - sum_i z_i log p_i,  z = y / sum y               g_i = p_i - z_i, p = softmax(s)     h_i = p_i (1 - p_i)

LightGBM and XGBoost take them as gradients of our own; CatBoost has both objectives (QueryRMSE, QuerySoftMax). All are
saved and loaded as any ranker of their library: they differ in their training only. A booster for all objectives
(`nets = "one"`) is one of XGBoost, whose trees carry a vector in each leaf, or CatBoost's MultiRMSE; it scores
`[documents, objective]`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.metrics import mean
from ltr.rankers.base import RANKERS, FittedRanker
from ltr.rankers.training.job import ObjectiveJob
from ltr.rankers.training.validation import ValidationMeasure
from ltr.schema import bind
from ltr.types import Split

from .catboost import CatBoost
from .lightgbm import LightGBM
from .shared import TreeRanker
from .xgboost import XGBoost

__all__ = ["GRADIENTS", "centred", "joint_trees", "list_trees", "softmax"]

ListGradients = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def centred(scores: np.ndarray, worth: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients and Hessians `[documents]` of list-centred squared error.

    Args:
        scores, worth: `[documents]`.
        offsets: `[lists + 1]`; no list is empty.
    """
    lengths = np.diff(offsets)
    left = scores - worth
    mean = np.add.reduceat(left, offsets[:-1]) / lengths
    return left - np.repeat(mean, lengths), np.repeat(1 - 1 / lengths, lengths)


def softmax(scores: np.ndarray, worth: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Gradients and Hessians of softmax cross entropy, as `centred`; both 0 on a list without worth."""
    lengths, starts = np.diff(offsets), offsets[:-1]
    e = np.exp(scores - np.repeat(np.maximum.reduceat(scores, starts), lengths))
    total = np.add.reduceat(worth, starts)
    p = e / np.repeat(np.add.reduceat(e, starts), lengths)
    z = worth / np.repeat(np.where(total > 0, total, 1.0), lengths)
    counts = np.repeat(total > 0, lengths)
    return np.where(counts, p - z, 0.0), np.where(counts, p * (1 - p), 0.0)


GRADIENTS: dict[str, ListGradients] = {"centred": centred, "softmax": softmax}
_CATBOOST = {"centred": "QueryRMSE", "softmax": "QuerySoftMax"}


def _step(job: ObjectiveJob, form: str):
    """(scores, data) -> gradients, Hessians, as both libraries ask for them."""
    worth, lengths = job.labels.astype(np.float64), job.train.lengths
    offsets = np.concatenate([[0], np.cumsum(lengths[lengths > 0])])
    return lambda scores, data: GRADIENTS[form](scores.astype(np.float64), worth, offsets)


class ListLightGBM(LightGBM):
    """LightGBM with gradients of `GRADIENTS`."""

    form = ""

    def _own(self, job: ObjectiveJob) -> tuple[Mapping[str, Any], Any]:
        return {"objective": "none"}, _step(job, self.form)


class ListXGBoost(XGBoost):
    """XGBoost with gradients of `GRADIENTS`."""

    form = ""

    def _own(self, job: ObjectiveJob) -> tuple[Mapping[str, Any], Any]:
        return {"base_score": 0.0}, _step(job, self.form)


def list_trees(name: str, form: str, params: dict[str, Any], seed: int) -> FittedRanker:
    """A booster that is fitted to a worth of documents by a form of `GRADIENTS`.

    Raises:
        InputError: a parameter of the ranker is wrong.
    """
    if name == "catboost":
        return CatBoost(name, _config(name, {**params, "objective": _CATBOOST[form]}), seed=seed)
    regression = {"lightgbm": "regression", "xgboost": "reg:squarederror"}[name]
    kind: Callable[..., ListLightGBM | ListXGBoost] = ListLightGBM if name == "lightgbm" else ListXGBoost
    ranker = kind(name, _config(name, {**params, "objective": regression}), seed=seed)
    ranker.form = form
    return ranker


def _config(name: str, params: dict[str, Any]) -> Any:
    return bind(RANKERS[name].claims["config"], params, where=name)


@dataclass(frozen=True, kw_only=True)
class _AllObjectives(ObjectiveJob):
    """A training on all label columns at once."""

    @property
    def labels(self) -> np.ndarray:
        """`[documents, objective]`."""
        return np.ascontiguousarray(np.stack([self.train.label(name) for name in self.train.objectives], axis=1))


class _Joint(TreeRanker):
    """One booster for all objectives; the mean of their measures chooses the rounds."""

    def _fit(self, job: ObjectiveJob) -> int:
        given = {each.name: getattr(job, each.name) for each in fields(job)}
        if job.vali is not None:
            given["select"] = _mean_of(job.measure, job.vali)
        return super()._fit(_AllObjectives(**given))


def _mean_of(measure: str, vali: Split) -> Callable[[np.ndarray], float]:
    each = [ValidationMeasure(measure, vali, k) for k in range(len(vali.objectives))]
    return lambda scores: mean([one(column) for one, column in zip(each, scores.T, strict=True)])


class JointXGBoost(_Joint, XGBoost):
    """Vector-leaf trees."""

    def _own(self, job: ObjectiveJob) -> tuple[Mapping[str, Any], Any]:
        return {"multi_strategy": "multi_output_tree"}, None


class JointCatBoost(_Joint, CatBoost):
    """MultiRMSE."""


def joint_trees(name: str, params: dict[str, Any], seed: int) -> FittedRanker:
    """A booster with one output an objective, squared error.

    Raises:
        InputError: a library whose trees have one output.
    """
    kinds = {"xgboost": (JointXGBoost, "reg:squarederror"), "catboost": (JointCatBoost, "MultiRMSE")}
    if name not in kinds:
        raise InputError(
            f"trees of {name} have one output", expected="xgboost or catboost", do='Take nets = "each" for it.'
        )
    kind, objective = kinds[name]
    return kind(name, _config(name, {**params, "objective": objective}), seed=seed)
