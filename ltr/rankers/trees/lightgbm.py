"""LightGBM behind the two verbs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.rankers.base import register
from ltr.rankers.devices import thread_count
from ltr.rankers.training.job import ObjectiveJob

from .forest import Forest, above
from .shared import EarlyStopping, TreeRanker, TreesConfig, list_sizes, weighed

__all__ = ["LightGBM", "LightGBMConfig"]

_LONGEST = 10_000  # documents of a list its ranking objectives take


@dataclass(frozen=True)
class LightGBMConfig(TreesConfig):
    """LightGBM (Ke et al. 2017). Leaf-wise trees; the defaults are the library's.

    Attributes:
        objective: lambdarank (Burges 2010), rank_xendcg (Bruch 2021) or regression.
        leaves: of a tree at most.
        min_data_in_leaf: documents of a leaf at least.
        min_sum_hessian: of a leaf at least.
        truncation: lambdarank looks at pairs with one of them among so many first ranks; a little more than the cut-off
            of the measure serves it best.
        max_bin: histogram bins of a feature.
        feature_fraction: share of the columns each tree may use.
        bagging_fraction: share of the lists each tree sees, drawn anew every round when below 1; `params =
            { bagging_by_query = false }` draws documents.
        l2: penalty on leaf values.
        debias: learn the bias of the positions beside the trees (Dataset(position=...)), for labels that are clicks; of
            lambdarank and rank_xendcg.
    """

    objective: Literal["lambdarank", "rank_xendcg", "regression"] = "lambdarank"
    leaves: int = 31
    min_data_in_leaf: int = 20
    min_sum_hessian: float = 1e-3
    truncation: int = 30
    max_bin: int = 255
    feature_fraction: float = 1.0
    bagging_fraction: float = 1.0
    l2: float = 0.0
    debias: bool | None = None  # said by few, and None stays out of tables: configs keep the hash they had


@register("lightgbm", LightGBMConfig, kind="trees", formula="sum of leaf-wise trees", source="Ke et al. 2017")
class LightGBM(TreeRanker):
    """`model` is a `lightgbm.Booster`; saved as its text file."""

    module, file = "lightgbm", "model.txt"
    way_out = "lower min_data_in_leaf or min_sum_hessian"

    def native(self, seed: int = 0, threads: int = 1) -> dict[str, Any]:
        c = self.config
        truncation = {"lambdarank_truncation_level": c.truncation} if c.objective == "lambdarank" else {}
        bagging = {"bagging_fraction": c.bagging_fraction, "bagging_freq": 1, "bagging_by_query": True}
        bagging = bagging if c.bagging_fraction < 1 else {}
        return {
            "objective": c.objective,
            "metric": "none",
            "learning_rate": c.learning_rate,
            "num_leaves": c.leaves,
            "min_data_in_leaf": c.min_data_in_leaf,
            "min_sum_hessian_in_leaf": c.min_sum_hessian,
            "max_bin": c.max_bin,
            "feature_fraction": c.feature_fraction,
            "lambda_l2": c.l2,
            **truncation,
            **bagging,
            "seed": seed,
            "num_threads": threads,
            "deterministic": True,
            "force_row_wise": True,
            "verbosity": -1,
            **self._own_params(),
        }

    def _own_params(self) -> dict[str, Any]:
        """The config's `params` by the first name LightGBM has for each: of two names for one it takes the first.

        Raises:
            InputError: a name it does not know and would pass over, or one of those that the rounds are counted by.
        """
        every = self.library.basic._ConfigAliases._get_all_param_aliases()
        first = {name: main for main, names in every.items() for name in (main, *names)}
        for name in self.config.params:
            if name not in first:
                raise unknown_name("parameter of LightGBM", name, every)
            if first[name] in ("num_iterations", "early_stopping_round"):
                raise InputError(f"params.{name} has no effect here", do="Set rounds, patience and select_every")
        return {first[name]: value for name, value in self.config.params.items()}

    def _check_data(self, job: ObjectiveJob) -> None:
        super()._check_data(job)
        self._check_debias(job, self.config.objective != "regression")
        if self.config.objective == "regression":
            return
        gains = self.config.params.get("label_gain")
        self._check_grades(
            job,
            30 if gains is None else len(gains) - 1,
            "Regrade the labels, give params.label_gain one gain a grade, or use objective regression",
        )
        longest = int(np.argmax(job.train.lengths))
        if job.train.lengths[longest] > _LONGEST:
            raise InputError(
                f"{self.name} ranks lists of up to {_LONGEST:,} documents (query {job.train.query_ids[longest]})",
                came=int(job.train.lengths[longest]),
                do="Split or sample the list, use objective regression, or take xgboost or catboost",
            )

    def _boost(self, job: ObjectiveJob, stopping: EarlyStopping) -> int:
        own, gradients = self._own(job)
        params = {**self.native(job.seed, job.threads), **own}
        weights = job.train.weights
        gradients = weighed(gradients, weights)
        data = self.library.Dataset(
            job.train.features,
            job.labels,
            weight=weights,
            group=list_sizes(job.train),
            position=job.train.positions if self.config.debias else None,
            categorical_feature=list(self.levels) or "auto",
            params=params,
        )
        booster = self.library.Booster(params, data)
        raw: dict[str, Any] = {"raw_score": True, "num_threads": job.threads}
        part = lambda seen, done: booster.predict(  # noqa: E731
            stopping.features, start_iteration=seen, num_iteration=done - seen, **raw
        )
        done, keep = self._rounds(stopping, lambda _: booster.update(fobj=gradients), part)
        # From text: the booster that trained holds on to the data, the one that is kept needs the trees only.
        self.model = self.library.Booster(model_str=booster.model_to_string(num_iteration=keep))
        return done

    def _predict(self, features: np.ndarray) -> np.ndarray:
        return self.model.predict(features, raw_score=True, num_threads=thread_count())

    def _forest(self) -> Forest:
        dump = self.model.dump_model()
        if dump["num_tree_per_iteration"] != 1 or dump["average_output"]:
            raise self._only_library("several trees a round")
        trees = [self._nodes(tree["tree_structure"]) for tree in dump["tree_info"]]
        return Forest.of_nodes(trees, 0.0, dump["max_feature_idx"] + 1)

    def _nodes(self, root: Mapping[str, Any]) -> list[tuple]:
        nodes: list[tuple] = [()]
        left = [(0, root)]
        for at, node in left:  # grows while it is walked
            if "leaf_value" in node:
                nodes[at] = (node["leaf_value"],)
                continue
            if node["decision_type"] != "<=" or node["missing_type"] == "Zero":
                raise self._only_library("splits on categories, or zeros that are missing values")
            # Where training met no missing value, LightGBM takes one for 0.
            goes = node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0
            nodes[at] = (node["split_feature"], above(node["threshold"]), goes, len(nodes), len(nodes) + 1)
            left += [(len(nodes), node["left_child"]), (len(nodes) + 1, node["right_child"])]
            nodes += [(), ()]
        return nodes

    def contributions(self, features: np.ndarray) -> np.ndarray:
        return np.asarray(self.model.predict(features, pred_contrib=True, num_threads=thread_count()), np.float64)

    def importances(self) -> np.ndarray:
        return np.asarray(self.model.feature_importance("gain"), dtype=np.float64)

    def _read_model(self, library: Any, path: str) -> None:
        self.model = library.Booster(model_file=path)

    @property
    def n_parameters(self) -> int:
        if self.model is None:
            return 0
        return sum(int(n) for n in re.findall(r"^num_leaves=(\d+)$", self.model.model_to_string(), re.MULTILINE))
