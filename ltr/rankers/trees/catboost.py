"""CatBoost behind the two verbs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltr.rankers.base import register
from ltr.rankers.devices import thread_count
from ltr.rankers.training.job import ObjectiveJob

from .shared import EarlyStopping, TreeRanker, TreesConfig, weights_of_lists

__all__ = ["CatBoost", "CatBoostConfig"]


@dataclass(frozen=True)
class CatBoostConfig(TreesConfig):
    """CatBoost (Prokhorenkova et al. 2018), symmetric trees.

    All rounds are always trained: the library cannot be asked for scores in between.

    Attributes:
        objective: loss_function of the library with its options, e.g. YetiRank, YetiRank:mode=NDCG, YetiRankPairwise,
            PairLogit, QueryRMSE, RMSE. The modes of YetiRank and YetiRankPairwise (Classic, DCG, NDCG, MRR, ERR, MAP)
            work on a CPU; on a GPU the library takes Classic, and a note says so.
        depth: of a tree.
        l2: penalty on leaf values.
        max_bin: borders of a feature, border_count.
        random_strength: of the noise on split scores.
    """

    objective: str = "YetiRank"
    depth: int = 6
    l2: float = 3.0
    max_bin: int = 254
    random_strength: float = 1.0


@register(
    "catboost",
    CatBoostConfig,
    kind="trees",
    formula="sum of symmetric trees",
    source="Prokhorenkova et al. 2018",
    stochastic=True,
)
class CatBoost(TreeRanker):
    """`model` is a `catboost.CatBoost`; saved as its binary file."""

    module, file = "catboost", "model.cbm"
    way_out = "the features may be constant"

    def native(self, seed: int = 0, threads: int = 1) -> dict[str, Any]:
        c = self.config
        return {
            "loss_function": c.objective,
            "iterations": c.rounds,
            "learning_rate": c.learning_rate,
            "depth": c.depth,
            "l2_leaf_reg": c.l2,
            "border_count": c.max_bin,
            "random_strength": c.random_strength,
            "random_seed": seed,
            "thread_count": threads,
            "logging_level": "Silent",
            "allow_writing_files": False,
            **c.params,
        }

    def _boost(self, job: ObjectiveJob, stopping: EarlyStopping) -> int:
        rounds = self.config.rounds
        lists = np.repeat(np.arange(job.train.n_queries), job.train.lengths)
        weighed = {}
        if weights_of_lists(job.train, "CatBoost") is not None:
            weighed["group_weight"] = job.train.weights
        data = self.library.Pool(job.train.features, job.labels, group_id=lists, **weighed)
        native = self.native(job.seed, job.threads)
        self.notes += _ignored_mode(native)
        self.model = self.library.CatBoost(native)
        self.model.fit(data, callbacks=[_Rounds(job, rounds, self.config.select_every)])
        done = self.model.tree_count_
        if stopping.on:
            every = self.config.select_every
            staged = self.model.staged_predict(
                self.library.Pool(stopping.features),
                prediction_type="RawFormulaVal",
                eval_period=every,
                thread_count=job.threads,
            )
            for look, scores in enumerate(staged, 1):
                if stopping.look(min(look * every, done), scores):
                    break
        if stopping.best.get("epoch", done) < done:
            self.model.shrink(stopping.best["epoch"])
        return done

    def _predict(self, features: np.ndarray) -> np.ndarray:
        data = self.library.Pool(features)
        return self.model.predict(data, prediction_type="RawFormulaVal", thread_count=thread_count())

    def importances(self) -> np.ndarray:
        return np.asarray(self.model.get_feature_importance(type="PredictionValuesChange"), dtype=np.float64)

    def _read_model(self, library: Any, path: str) -> None:
        self.model = library.CatBoost()
        self.model.load_model(path)

    @property
    def n_parameters(self) -> int:
        return 0 if self.model is None else int(np.sum(self.model.get_tree_leaf_counts()))


def _ignored_mode(native: dict[str, Any]) -> list[str]:
    """What there is to say of a mode of YetiRank that will not be looked at."""
    mode = re.match(r"YetiRank(?:Pairwise)?:.*mode=(\w+)", str(native["loss_function"]))
    if native.get("task_type") != "GPU" or mode is None or mode[1] == "Classic":
        return []
    return [f"catboost ignores mode={mode[1]} of YetiRank on a GPU and trains mode=Classic"]


class _Rounds:
    """Tells the progress while CatBoost trains; its validation is looked at afterwards."""

    def __init__(self, job: ObjectiveJob, rounds: int, every: int):
        self.job, self.rounds, self.every = job, rounds, every

    def after_iteration(self, info) -> bool:
        if info.iteration % self.every == 0:
            self.job.report(info.iteration, self.rounds, None, None)
        return True  # go on
