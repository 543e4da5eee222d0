"""CatBoost behind the two verbs."""

from __future__ import annotations

import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ltr.rankers.base import register
from ltr.rankers.devices import thread_count
from ltr.rankers.training.job import ObjectiveJob

from .forest import Forest, above
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
        data = self._pool(job.train.features, label=job.labels, group_id=lists, **weighed)
        native = self.native(job.seed, job.threads)
        self.notes += _ignored_mode(native)
        self.model = self.library.CatBoost(native)
        self.model.fit(data, callbacks=[_Rounds(job, rounds, self.config.select_every)])
        done = self.model.tree_count_
        if stopping.on:
            every = self.config.select_every
            staged = self.model.staged_predict(
                self._pool(stopping.features),
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

    def _pool(self, features: np.ndarray, **given: Any) -> Any:
        """The library's data; it takes categories as whole numbers among objects only; -1 is a missing one."""
        if self.levels:
            given["cat_features"], features = list(self.levels), features.astype(object)
            for column in self.levels:
                features[:, column] = [-1 if x != x else int(x) for x in features[:, column]]
        return self.library.Pool(features, **given)

    def _predict(self, features: np.ndarray) -> np.ndarray:
        data = self._pool(features)
        return self.model.predict(data, prediction_type="RawFormulaVal", thread_count=thread_count())

    def _forest(self) -> Forest:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.json"
            self.model.save_model(str(path), format="json")
            model = json.loads(path.read_text())
        scale, bias = model["scale_and_bias"]
        if "oblivious_trees" not in model or len(bias) != 1:
            raise self._only_library("trees that are not symmetric, or several outputs")
        if any(
            s["split_type"] != "FloatFeature" for tree in model["oblivious_trees"] for s in tree.get("splits") or []
        ):
            raise self._only_library("splits on categories")
        columns = model["features_info"].get("float_features", ())
        high = {each["feature_index"]: each["nan_value_treatment"] == "AsTrue" for each in columns}
        trees = [_symmetric(tree, scale, high) for tree in model["oblivious_trees"]]
        return Forest.of_nodes(trees, bias[0], self.n_features or 0)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        found = self.model.get_feature_importance(self._pool(features), type="ShapValues")
        return np.asarray(found, np.float64)

    def importances(self) -> np.ndarray:
        return np.asarray(self.model.get_feature_importance(type="PredictionValuesChange"), dtype=np.float64)

    def _read_model(self, library: Any, path: str) -> None:
        self.model = library.CatBoost()
        self.model.load_model(path)

    @property
    def n_parameters(self) -> int:
        return 0 if self.model is None else int(np.sum(self.model.get_tree_leaf_counts()))


def _symmetric(tree: dict[str, Any], scale: float, high: dict[int, bool]) -> list[tuple]:
    """Nodes of a tree whose levels ask one question each; bit i of a leaf's place is the answer x > border of split i.

    Args:
        high: of each feature, whether missing values count as large; as small otherwise.
    """
    splits = tree.get("splits") or []
    depth, nodes = len(splits), []
    for level in range(depth):  # the last split is asked first, so that the ways down count up
        split = splits[depth - 1 - level]
        feature, threshold = split["float_feature_index"], above(split["border"])
        first = 2 ** (level + 1) - 1
        nodes += [(feature, threshold, not high[feature], first + 2 * k, first + 2 * k + 1) for k in range(2**level)]
    return nodes + [(scale * value,) for value in tree["leaf_values"]]


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
