"""XGBoost behind the two verbs."""

from __future__ import annotations

import contextlib
import json
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError
from ltr.rankers.base import register
from ltr.rankers.devices import thread_count
from ltr.rankers.training.job import ObjectiveJob
from ltr.types import Split

from .forest import Forest
from .shared import EarlyStopping, TreeRanker, TreesConfig, list_sizes, weighed, weights_of_lists

__all__ = ["XGBoost", "XGBoostConfig"]

# Second names of parameters that are given here: of two names for one XGBoost takes the other.
_FIRST = {"eta": "learning_rate", "reg_lambda": "lambda", "n_jobs": "nthread", "random_state": "seed"}


@dataclass(frozen=True)
class XGBoostConfig(TreesConfig):
    """XGBoost (Chen and Guestrin 2016), histogram method.

    What has no field here goes by `params`: lambdarank_normalization and lambdarank_score_normalization (both on),
    and lambdarank_bias_norm of `debias`.

    Attributes:
        objective: rank:ndcg (lambdas), rank:pairwise, rank:map (labels become y > 0) or reg:squarederror.
        depth: of a tree; 0 sets no limit.
        leaves: of a tree; 0 sets no limit, otherwise the tree grows leaf-wise.
        min_child_weight: sum of hessians of a leaf at least.
        pairs: topk: pairs with one of them among the first `truncation` ranks; mean: `truncation` sampled partners a
            document.
        truncation: see `pairs`.
        max_bin: histogram bins of a feature.
        feature_fraction: share of the columns each tree may use.
        bagging_fraction: share of the documents each tree sees.
        l2: penalty on leaf values.
        debias: lambdarank_unbiased (Hu et al., WWW 2019), for labels that are clicks (0 or 1): documents go in
            the order of their positions; of rank:ndcg, rank:pairwise and rank:map.
    """

    objective: Literal["rank:ndcg", "rank:pairwise", "rank:map", "reg:squarederror"] = "rank:ndcg"
    depth: int = 6
    leaves: int = 0
    min_child_weight: float = 1.0
    pairs: Literal["topk", "mean"] = "topk"
    truncation: int = 32
    max_bin: int = 256
    feature_fraction: float = 1.0
    bagging_fraction: float = 1.0
    l2: float = 1.0
    debias: bool | None = None  # as of LightGBM


@register("xgboost", XGBoostConfig, kind="trees", formula="sum of depth-wise trees", source="Chen and Guestrin 2016")
class XGBoost(TreeRanker):
    """`model` is an `xgboost.Booster`; saved as its JSON file."""

    module, file = "xgboost", "model.json"
    way_out = "lower min_child_weight"

    def native(self, seed: int = 0, threads: int = 1) -> dict[str, Any]:
        c = self.config
        pairs = {"lambdarank_pair_method": c.pairs, "lambdarank_num_pair_per_sample": c.truncation}
        return {
            "objective": c.objective,
            "learning_rate": c.learning_rate,
            "tree_method": "hist",
            "max_depth": c.depth,
            "max_leaves": c.leaves,
            "grow_policy": "lossguide" if c.leaves else "depthwise",
            "min_child_weight": c.min_child_weight,
            "max_bin": c.max_bin,
            "colsample_bytree": c.feature_fraction,
            "subsample": c.bagging_fraction,
            "lambda": c.l2,
            **(pairs if c.objective.startswith("rank:") else {}),
            **({"lambdarank_unbiased": True} if c.debias else {}),
            # One value against the rest, among which a new one is; of sets the library puts it into the left one.
            **({"max_cat_to_onehot": 64} if self.levels else {}),
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
            "disable_default_eval_metric": True,
            **{_FIRST.get(name, name): value for name, value in c.params.items()},
        }

    def _check_data(self, job: ObjectiveJob) -> None:
        super()._check_data(job)
        self._check_params()
        self._check_debias(job, self.config.objective.startswith("rank:"))
        if job.vali is not None:
            self._check_features(job.vali)
        if self.config.objective == "rank:ndcg" and self.config.params.get("ndcg_exp_gain", True):
            way_out = "Regrade the labels, or set params.ndcg_exp_gain = false for linear gain"
            self._check_grades(job, 31, way_out)

    def _check_params(self) -> None:
        """Refuses a name that XGBoost does not know, of which it only warns."""
        if not self.config.params:
            return
        two = self.library.DMatrix(np.zeros((2, 1)), label=[0, 1], group=[2])
        with warnings.catch_warnings(record=True) as said, contextlib.suppress(self.library.core.XGBoostError):
            warnings.simplefilter("always")
            self.library.Booster({**self.native(), "verbosity": 1, "validate_parameters": True}, [two]).update(two, 0)
        for name in self.config.params:
            if any(f'"{name}"' in str(each.message).partition("Parameters:")[2] for each in said):
                do = "Its documentation lists them; rounds, patience and select_every are fields of the ranker"
                raise InputError("unknown parameter of XGBoost", came=name, do=do)

    def _check_features(self, split: Split) -> None:
        self._check_infinite(split)

    def _boost(self, job: ObjectiveJob, stopping: EarlyStopping) -> int:
        own, gradients = self._own(job)
        params = {**self.native(job.seed, job.threads), **own}
        features, labels = job.train.features, job.labels
        if self.config.debias:  # the library knows a position by the order of the rows
            lists = np.repeat(np.arange(job.train.n_queries), job.train.lengths)
            order = np.lexsort((np.asarray(job.train.positions), lists))
            features, labels = features[order], labels[order]
        if self.config.objective == "rank:map":
            labels = (labels > 0).astype(np.float32)
        ranks, weights = params["objective"].startswith("rank:"), job.train.weights
        gradients = weighed(gradients, weights)
        data = self.library.QuantileDMatrix(
            features,
            labels,
            group=list_sizes(job.train) if ranks else None,
            weight=weights_of_lists(job.train, "XGBoost") if ranks else weights,
            max_bin=params["max_bin"],
            nthread=job.threads,
            **self._kinds(features.shape[1]),
        )
        vali = self._matrix(stopping.features, job.threads) if stopping.on else None
        booster = self.library.Booster(params, [data])
        # Each part carries the base score once more: a constant, which does not rank.
        part = lambda *rounds: booster.predict(vali, iteration_range=rounds, output_margin=True)  # noqa: E731
        done, keep = self._rounds(stopping, lambda done: booster.update(data, done - 1, fobj=gradients), part)
        self.model = booster[:keep]
        return done

    def _kinds(self, features: int) -> dict[str, Any]:
        """Of the columns, where some are categories."""
        kinds = ["c" if k in self.levels else "q" for k in range(features)]
        return {"feature_types": kinds, "enable_categorical": True} if self.levels else {}

    def _matrix(self, features: np.ndarray, threads: int) -> Any:
        return self.library.DMatrix(features, nthread=threads, **self._kinds(features.shape[1]))

    def _predict(self, features: np.ndarray) -> np.ndarray:
        self.model.set_param({"nthread": thread_count()})
        return self.model.predict(self._matrix(features, thread_count()), output_margin=True)

    def _forest(self) -> Forest:
        learner = json.loads(self.model.save_raw("json"))["learner"]
        model, facts = learner["gradient_booster"]["model"], learner["learner_model_param"]
        if learner["gradient_booster"]["name"] != "gbtree":
            raise self._only_library("no plain trees")
        trees = model["trees"]
        if any(tree["tree_param"]["size_leaf_vector"] not in ("0", "1") or tree["categories"] for tree in trees):
            raise self._only_library("leaves of several outputs, or splits on categories")
        # Of a leaf, the condition is its value.
        each = ("left_children", "right_children", "split_conditions", "split_indices", "default_left")
        nodes = [
            [
                (value,) if left < 0 else (feature, value, missing, left, right)
                for left, right, value, feature, missing in zip(*(tree[key] for key in each))
            ]
            for tree in trees
        ]
        return Forest.of_nodes(nodes, float(facts["base_score"].strip("[]")), int(facts["num_feature"]))

    def contributions(self, features: np.ndarray) -> np.ndarray:
        data = self._matrix(features, thread_count())
        return np.asarray(self.model.predict(data, pred_contribs=True), np.float64)

    def importances(self) -> np.ndarray:
        gains = self.model.get_score(importance_type="total_gain")
        return np.array([gains.get(f"f{i}", 0.0) for i in range(self.n_features or 0)])

    def _read_model(self, library: Any, path: str) -> None:
        self.model = library.Booster(model_file=path)

    @property
    def n_parameters(self) -> int:
        return 0 if self.model is None else sum(tree.count("leaf=") for tree in self.model.get_dump())
