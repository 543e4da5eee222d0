"""LightGBM, XGBoost and CatBoost behind the same two verbs.

The libraries differ in their NDCG (blank lists, ties, gain), so none of them chooses its own number of trees: the
validation lists are scored every few rounds and measured by `ltr.metrics`, the same rule for all three. Everything
else is the library's own: with `select_rounds=False` the model equals the library called by hand with `native()`.

Features are handed over as arrays and lists as sizes, unscaled; a tree does not care. Parameters that have no field
here go into `params` under the library's own name and win over ours.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError, MissingExtra
from ltr.rankers.base import RANKERS, FittedRanker, Job, thread_count
from ltr.rankers.config import check
from ltr.types import Split

__all__ = ["CatBoost", "CatBoostConfig", "LightGBM", "LightGBMConfig", "TreesConfig", "XGBoost", "XGBoostConfig"]


@dataclass(frozen=True)
class TreesConfig:
    """What the three libraries share.

    Attributes:
        rounds: trees at most.
        learning_rate: shrinkage of each tree.
        select_rounds: keep the number of rounds with the best selection measure on validation; off keeps all rounds.
        select_every: rounds between two looks at validation.
        patience: rounds without a better look before the rest is dropped; 0 looks at all of them.
        params: the library's own parameters, handed over as they are.
    """

    rounds: int = 500
    learning_rate: float = 0.1
    select_rounds: bool = True
    select_every: int = 10
    patience: int = 100
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check(
            self,
            rounds=(self.rounds >= 1, "1 or more"),
            learning_rate=(self.learning_rate > 0, "a positive number"),
            select_every=(self.select_every >= 1, "1 or more"),
            patience=(self.patience >= 0, "0 (off) or more"),
        )


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
        bagging_fraction: share of the documents each tree sees, drawn anew every round when below 1.
        l2: penalty on leaf values.
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


@dataclass(frozen=True)
class XGBoostConfig(TreesConfig):
    """XGBoost (Chen and Guestrin 2016), histogram method.

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


@dataclass(frozen=True)
class CatBoostConfig(TreesConfig):
    """CatBoost (Prokhorenkova et al. 2018), symmetric trees.

    All rounds are always trained: the library cannot be asked for scores in between.

    Attributes:
        objective: loss_function of the library with its options, e.g. YetiRank, YetiRank:mode=NDCG, YetiRankPairwise,
            PairLogit, QueryRMSE, RMSE.
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


class Selection:
    """Chooses the number of rounds on validation, by the measure every ranker is chosen by.

    Attributes:
        history: one dict a look: epoch (rounds), vali.
        best: the look with the highest measure, the earliest of equals; empty before the first that counts.
    """

    def __init__(self, job: Job, config: TreesConfig):
        self.job, self.config = job, config
        self.on = config.select_rounds and job.vali is not None
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self._sum = 0.0

    def due(self, rounds: int) -> bool:
        """Whether validation is looked at after so many rounds."""
        return self.on and (rounds % self.config.select_every == 0 or rounds == self.config.rounds)

    def add(self, rounds: int, scores: np.ndarray) -> bool:
        """Adds what the rounds since the last look give to each document; True when patience is at its end."""
        self._sum = self._sum + np.asarray(scores, dtype=np.float64)
        return self.look(rounds, self._sum)

    def look(self, rounds: int, scores: np.ndarray) -> bool:
        """Measures whole scores after so many rounds; True when patience is at its end."""
        value = self.job.measure(np.asarray(scores, dtype=np.float32))
        value = None if np.isnan(value) else value
        self.history.append({"epoch": rounds, "loss": None, "vali": value})
        self.job.report(rounds, self.config.rounds, None, value)
        if value is not None and (not self.best or value > self.best["vali"]):
            self.best = {"epoch": rounds, "vali": value}
        return bool(self.best) and 0 < self.config.patience <= rounds - self.best["epoch"]


class TreeRanker(FittedRanker):
    """A boosted ensemble. A child names its library and file, writes `native`, `_boost`, `_score`, `_read`."""

    module = ""
    file = ""
    model: Any = None

    @property
    def library(self):
        """The library's module.

        Raises:
            MissingExtra: it is not installed.
        """
        try:
            return importlib.import_module(self.module)
        except ImportError:
            raise MissingExtra(self.module, "trees", f"ranker {self.name!r}") from None

    def native(self, seed: int = 0, threads: int = 1) -> dict[str, Any]:
        """The library's parameters for this config; called by hand with them, it gives the same model."""
        raise NotImplementedError

    def _ready(self) -> None:
        _ = self.library  # a missing one is named before any work

    def _fit(self, job: Job) -> int:
        self._check_labels(job.train.labels[:, job.objective])
        selection = Selection(job, self.config)
        rounds = self._boost(job, selection)
        self.history = selection.history
        self.best = selection.best or {"epoch": rounds, "vali": None}
        return rounds * job.train.n_documents

    def _boost(self, job: Job, selection: Selection) -> int:
        """Trains `model`, cut to the selected rounds; returns the rounds that were trained."""
        raise NotImplementedError

    def _check_labels(self, labels: np.ndarray) -> None:
        if (labels < 0).any():
            raise InputError(f"{self.name} takes no negative labels", came=float(labels.min()))

    def _check_grades(self, labels: np.ndarray, largest: int, way_out: str) -> None:
        """Integer grades up to `largest`, as objectives with gain 2^y - 1 need them."""
        whole = labels == np.round(labels)
        if not whole.all():
            came = float(labels[~whole][0])
            raise InputError(f"objective {self.config.objective!r} takes integer grades", came=came, do=way_out)
        if labels.max() > largest:
            raise InputError(
                f"objective {self.config.objective!r} takes grades up to {largest} (gain 2^y - 1)",
                came=float(labels.max()),
                do=way_out,
            )

    def _write(self, folder: Path) -> Mapping[str, Any]:
        self.model.save_model(str(folder / self.file))
        return {"n_parameters": self.n_parameters}


def _labels(job: Job) -> np.ndarray:
    return np.ascontiguousarray(job.train.labels[:, job.objective])  # a strided column is copied with a warning


def _groups(split: Split) -> np.ndarray:
    """Documents of each list; the libraries know no list without documents."""
    lengths = split.lengths
    return lengths[lengths > 0]


def _register(name: str, cls: type, config: type, formula: str, source: str, stochastic: bool) -> None:
    """`stochastic`: whether the seed matters under the default config."""

    @RANKERS.register(
        name,
        formula=formula,
        source=source,
        config=config,
        kind="trees",
        needs_loss=False,
        stochastic=stochastic,
        independent=True,
        equivariant=True,
        learns=True,
    )
    def make(config, **options) -> TreeRanker:
        return cls(name, config, **options)


# ---------------------------------------------------------------------------------------------------------- LightGBM


class LightGBM(TreeRanker):
    """`model` is a `lightgbm.Booster`; saved as its text file."""

    module, file = "lightgbm", "model.txt"

    def native(self, seed: int = 0, threads: int = 1) -> dict[str, Any]:
        c = self.config
        truncation = {"lambdarank_truncation_level": c.truncation} if c.objective == "lambdarank" else {}
        bagging = {"bagging_fraction": c.bagging_fraction, "bagging_freq": 1} if c.bagging_fraction < 1 else {}
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
            **c.params,
        }

    def _check_labels(self, labels: np.ndarray) -> None:
        super()._check_labels(labels)
        if self.config.objective != "regression":
            gains = self.config.params.get("label_gain")
            self._check_grades(
                labels,
                30 if gains is None else len(gains) - 1,
                "Regrade the labels, give params.label_gain one gain a grade, or use objective regression",
            )

    def _boost(self, job: Job, selection: Selection) -> int:
        return self._rounds(job, selection)

    def _rounds(self, job: Job, selection: Selection, own: Mapping[str, Any] | None = None, gradients=None) -> int:
        """The rounds.

        Args:
            own: parameters in place of those of `native`.
            gradients: `gradients(scores, data)` -> gradients and Hessians `[documents]`; None: the library's objective.
        """
        params = {**self.native(job.seed, job.threads), **(own or {})}
        labels = _labels(job)
        data = self.library.Dataset(job.train.features, labels, group=_groups(job.train), params=params)
        booster = self.library.Booster(params, data)
        done = seen = 0
        for done in range(1, self.config.rounds + 1):
            booster.update(fobj=gradients)
            if selection.due(done):
                part = booster.predict(
                    job.vali.features,
                    start_iteration=seen,
                    num_iteration=done - seen,
                    raw_score=True,
                    num_threads=job.threads,
                )
                seen = done
                if selection.add(done, part):
                    break
        keep = selection.best.get("epoch", done)
        # From text: the booster that trained holds on to the data, the one that is kept needs the trees only.
        self.model = self.library.Booster(model_str=booster.model_to_string(num_iteration=keep))
        return done

    def _score(self, split: Split) -> np.ndarray:
        return self.model.predict(split.features, raw_score=True, num_threads=thread_count())

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.model = self.library.Booster(model_file=str(folder / self.file))

    @property
    def n_parameters(self) -> int:
        if self.model is None:
            return 0
        return sum(int(n) for n in re.findall(r"^num_leaves=(\d+)$", self.model.model_to_string(), re.MULTILINE))


_register("lightgbm", LightGBM, LightGBMConfig, "sum of leaf-wise trees", "Ke et al. 2017", False)


# ----------------------------------------------------------------------------------------------------------- XGBoost


class XGBoost(TreeRanker):
    """`model` is an `xgboost.Booster`; saved as its JSON file."""

    module, file = "xgboost", "model.json"

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
            "seed": seed,
            "nthread": threads,
            "verbosity": 0,
            "disable_default_eval_metric": True,
            **c.params,
        }

    def _check_labels(self, labels: np.ndarray) -> None:
        super()._check_labels(labels)
        if self.config.objective == "rank:ndcg" and self.config.params.get("ndcg_exp_gain", True):
            way_out = "Regrade the labels, or set params.ndcg_exp_gain = false for linear gain"
            self._check_grades(labels, 31, way_out)

    def _boost(self, job: Job, selection: Selection) -> int:
        params = self.native(job.seed, job.threads)
        labels = _labels(job)
        if self.config.objective == "rank:map":
            labels = (labels > 0).astype(np.float32)
        data = self.library.QuantileDMatrix(
            job.train.features, labels, group=_groups(job.train), max_bin=params["max_bin"], nthread=job.threads
        )
        vali = self.library.DMatrix(job.vali.features, nthread=job.threads) if selection.on else None
        booster = self.library.Booster(params, [data])
        done = seen = 0
        for done in range(1, self.config.rounds + 1):
            booster.update(data, done - 1)
            if selection.due(done):
                # Each part carries the base score once more: a constant, which does not rank.
                part = booster.predict(vali, iteration_range=(seen, done), output_margin=True)
                seen = done
                if selection.add(done, part):
                    break
        self.model = booster[: selection.best.get("epoch", done)]
        return done

    def _score(self, split: Split) -> np.ndarray:
        self.model.set_param({"nthread": thread_count()})
        return self.model.predict(self.library.DMatrix(split.features, nthread=thread_count()), output_margin=True)

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.model = self.library.Booster(model_file=str(folder / self.file))

    @property
    def n_parameters(self) -> int:
        return 0 if self.model is None else sum(tree.count("leaf=") for tree in self.model.get_dump())


_register("xgboost", XGBoost, XGBoostConfig, "sum of depth-wise trees", "Chen and Guestrin 2016", False)


# ---------------------------------------------------------------------------------------------------------- CatBoost


class CatBoost(TreeRanker):
    """`model` is a `catboost.CatBoost`; saved as its binary file."""

    module, file = "catboost", "model.cbm"

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

    def _boost(self, job: Job, selection: Selection) -> int:
        rounds = self.config.rounds
        labels = _labels(job)
        lists = np.repeat(np.arange(job.train.n_queries), job.train.lengths)
        data = self.library.Pool(job.train.features, labels, group_id=lists)
        self.model = self.library.CatBoost(self.native(job.seed, job.threads))
        try:
            self.model.fit(data, callbacks=[_Rounds(job, rounds, self.config.select_every)])
        except self.library.CatBoostError as error:
            raise InputError(f"CatBoost: {error}", do="Its documentation says what the objective demands") from None
        done = self.model.tree_count_
        if selection.on:
            every = self.config.select_every
            staged = self.model.staged_predict(
                self.library.Pool(job.vali.features),
                prediction_type="RawFormulaVal",
                eval_period=every,
                thread_count=job.threads,
            )
            for look, scores in enumerate(staged, 1):
                if selection.look(min(look * every, done), scores):
                    break
        if selection.best.get("epoch", done) < done:
            self.model.shrink(selection.best["epoch"])
        return done

    def _score(self, split: Split) -> np.ndarray:
        data = self.library.Pool(split.features)
        return self.model.predict(data, prediction_type="RawFormulaVal", thread_count=thread_count())

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.model = self.library.CatBoost()
        self.model.load_model(str(folder / self.file))

    @property
    def n_parameters(self) -> int:
        return 0 if self.model is None else int(np.sum(self.model.get_tree_leaf_counts()))


class _Rounds:
    """Tells the progress while CatBoost trains; its validation is looked at afterwards."""

    def __init__(self, job: Job, rounds: int, every: int):
        self.job, self.rounds, self.every = job, rounds, every

    def after_iteration(self, info) -> bool:
        if info.iteration % self.every == 0:
            self.job.report(info.iteration, self.rounds, None, None)
        return True  # go on


_register("catboost", CatBoost, CatBoostConfig, "sum of symmetric trees", "Prokhorenkova et al. 2018", True)
