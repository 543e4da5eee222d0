"""What the plug-in rule trains: regressors of the worth of documents, or rankers, one an objective or one for all.

squared    squared error on G^k
centred    the same after the mean of the list is taken off both: pairwise squared error, 2 var(s - G^k) a list
softmax    cross entropy of softmax(s) with the targets G^k / sum G^k
ranking    any ranking loss on the grades themselves
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ltr.errors import InputError
from ltr.losses import LOSSES, Loss, loss
from ltr.rankers import RANKERS, FittedRanker, make_ranker
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.trees.lightgbm import LightGBMConfig
from ltr.rankers.trees.list_targets import joint_trees, list_trees
from ltr.rankers.trees.mixed_lambdas import MixedLightGBM, label_gains
from ltr.schema import bind
from ltr.types import Split

from .base import FitContext
from .criteria import Criterion

__all__ = ["KINDS", "Kind", "Regression", "normalised_gains"]

Kind = Literal["squared", "centred", "softmax", "ranking"]
KINDS: tuple[Kind, ...] = ("squared", "centred", "softmax", "ranking")
_SQUARED = {"lightgbm": "regression", "xgboost": "reg:squarederror", "catboost": "RMSE"}
_RANKING = {
    "lightgbm": {"lambdarank": "lambdarank", "xendcg": "rank_xendcg"},
    "xgboost": {"lambdarank": "rank:ndcg", "ranknet": "rank:pairwise"},
    "catboost": {"lambdarank": "LambdaMart", "ranknet": "PairLogit", "listnet": "QuerySoftMax"},
}


def normalised_gains(labels: np.ndarray, offsets: np.ndarray, gains: Sequence[str], k: int) -> np.ndarray:
    """G^k, float64 `[documents, objective]`: gains over the ideal DCG@k of their list, 0 where a list has none.

    Args:
        labels: `[documents, objective]`.
        offsets: `[lists + 1]`, where lists begin and end.
        gains: "exp2" or "linear", one an objective.
        k: cut-off.

    >>> normalised_gains(np.array([[1.0], [0.0], [2.0], [0.0]]), np.array([0, 3, 4]), ["linear"], 1).ravel().tolist()
    [0.5, 0.0, 1.0, 0.0]
    """
    worth = label_gains(labels, tuple(gains))
    discount = 1 / np.log2(np.arange(2, k + 2))
    for first, last in zip(offsets[:-1], offsets[1:], strict=True):
        here = worth[first:last]
        best = -np.sort(-here, axis=0)[:k]
        ideal = discount[: len(best)] @ best
        here /= np.where(ideal > 0, ideal, 1.0)
    return worth


class EachOutput(Criterion):
    """sum_k l_k(a_k), one output of the net an objective; a list counts for those objectives it has a label of.

    Args:
        losses: one an objective.
    """

    def __init__(self, losses: Sequence[Loss]):
        super().__init__(None, None)
        self.losses = tuple(losses)

    def draw(self, labels: Tensor, where: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        return torch.eye(len(self.losses), device=labels.device), None

    def forward(
        self, scores, labels, where, preferences, *, beta=None, reference=None, weights=None, generator=None
    ) -> Tensor:
        total = scores.new_zeros(())
        for each, a, y in zip(self.losses, scores.unbind(1), labels.unbind(-1), strict=True):
            total = total + each.reduce(each(a, y, where, weights=weights, generator=generator), y, where)
        return total

    def extra_repr(self) -> str:
        return ", ".join(map(repr, self.losses))


@dataclass
class Regression:
    """Trains what a form needs.

    Attributes:
        config: of the method (`PlugInConfig`).
        gains: one an objective.
        context: of the fit.
        worth: G^k of train, float64 `[documents, objective]`.
    """

    config: Any
    gains: tuple[str, ...]
    context: FitContext

    def __post_init__(self):
        c, train = self.config, self.context.train
        self.worth = self.worth_of(train)
        takes_loss = RANKERS[c.ranker].claims["needs_loss"]
        if not takes_loss and c.ranker not in _SQUARED:
            raise InputError("no regressor", expected="a net, lightgbm, xgboost or catboost", came=c.ranker)
        self.trees = not takes_loss

    def worth_of(self, split: Split) -> np.ndarray:
        return normalised_gains(np.asarray(split.labels), split.offsets, self.gains, self.config.k)

    def scale(self, kind: Kind) -> np.ndarray:
        """What the outputs are worth, `[objective]`: s_w = sum_k w_k scale_k map(a_k)."""
        lengths, starts = self.context.train.lengths, self.context.train.offsets[:-1]
        lengths, starts = lengths[lengths > 0], starts[lengths > 0]
        if kind == "softmax":
            return self.worth.sum(0) / len(lengths)
        if kind == "ranking" or (kind == "squared" and self.config.nets == "each"):
            return np.ones(self.worth.shape[1])
        left = self.worth - self.worth.mean(0)
        if kind == "centred":
            means = np.add.reduceat(self.worth, starts, axis=0) / lengths[:, None]
            left = self.worth - np.repeat(means, lengths, axis=0)
        sd = np.sqrt((left**2).mean(0))
        return np.where(sd > 0, sd, 1.0)

    def train(self, kind: Kind) -> list[Any]:
        """The models: one, or one an objective in their order."""
        train, vali = self.context.train, self.context.vali
        if kind != "ranking":
            scale = np.ones(1) if kind == "softmax" else self.scale(kind)
            train = self._labelled(train, scale)
            vali = None if vali is None else self._labelled(vali, scale)
        if self.config.nets == "one":
            return [self._joint(kind, train, vali)]
        return [self._alone(kind, k, train, vali) for k in range(len(self.gains))]

    def _labelled(self, split: Split, scale: np.ndarray) -> Split:
        return replace(split, labels=(self.worth_of(split) / scale).astype(np.float32))

    def _measure(self, kind: Kind, k: int) -> str:
        # A list's nDCG does not change when its gains are divided by one number.
        return f"nDCG(gain={self.gains[k] if kind == 'ranking' else 'linear'},empty=skip)@{self.config.k}"

    def _loss(self, kind: Kind, k: int) -> Loss:
        if kind == "squared":
            return loss("mse")
        if kind == "centred":
            return loss("pairwisemse")
        if kind == "softmax":
            return loss("listnet", gain="linear")
        takes = "gain" in LOSSES[self.config.loss].parameters
        return loss(self.config.loss, **({"gain": self.gains[k]} if takes else {}))

    def _folder(self, kind: Kind, k: int):
        below = f"model{k}" if kind == "squared" else f"{kind}{k}"
        return None if self.context.folder is None else self.context.folder / below

    # -------------------------------------------------------------------------------------------- one an objective

    def _alone(self, kind: Kind, k: int, train: Split, vali: Split | None) -> FittedRanker:
        c, context = self.config, self.context
        if self.trees:
            ranker = self._booster(kind, k)
        else:
            ranker = make_ranker(
                c.ranker, loss=self._loss(kind, k), seed=context.seed, training=c.training, **c.ranker_params
            )
        name = context.objectives[k]
        if isinstance(ranker, MixedLightGBM):  # which would look at all columns
            train, vali = _column(train, k), None if vali is None else _column(vali, k)
        return ranker.fit(
            train,
            vali,
            objective=name,
            select=self._measure(kind, k),
            folder=self._folder(kind, k),
            progress=context.progress,
            accelerator=context.accelerator,
        )

    def _booster(self, kind: Kind, k: int) -> FittedRanker:
        name, seed, params = self.config.ranker, self.context.seed, self._tree_params()
        if kind == "squared":
            return make_ranker(name, seed=seed, **{**params, "objective": _SQUARED[name]})
        if kind != "ranking":
            return list_trees(name, kind, params, seed)
        known = _RANKING[name]
        if self.config.loss not in known:
            raise InputError(f"{name} has no such objective", expected=", ".join(known), came=self.config.loss)
        objective, own = known[self.config.loss], params.pop("params", {})
        if objective == "lambdarank":  # takes any gain, as lightgbm-ls does
            config = bind(LightGBMConfig, {**params, "params": own}, where=name)
            mixed: dict[str, Any] = {
                "preference": (1.0,),
                "gains": (self.gains[k],),
                "measures": (self._measure(kind, k),),
            }
            return MixedLightGBM(name, config, seed=seed, **mixed)
        if objective == "rank:ndcg":
            own = {"ndcg_exp_gain": self.gains[k] == "exp2", **own}
        return make_ranker(name, seed=seed, **{**params, "objective": objective, "params": own})

    def _tree_params(self) -> dict[str, Any]:
        """Those of the trees but for the objective, which the form says; a resolved config holds the default one."""
        name, params = self.config.ranker, dict(self.config.ranker_params)
        default = RANKERS[name].claims["config"]().objective
        came = params.pop("objective", default)
        if came not in (default, _SQUARED[name]):
            raise InputError("the form says what trees descend", came=came, do="Leave ranker_params.objective out.")
        return params

    # ---------------------------------------------------------------------------------------------- one for all

    def _joint(self, kind: Kind, train: Split, vali: Split | None) -> Any:
        c, context, m = self.config, self.context, len(self.gains)
        if self.trees:
            if kind != "squared":
                raise InputError(f"one booster for all objectives learns by squared error, not by {kind!r}")
            booster = joint_trees(c.ranker, self._tree_params(), context.seed)
            return booster.fit(train, vali, select=self._measure(kind, 0), progress=context.progress)
        ranker = ConditionedRanker(
            c.ranker, c.ranker_params, ConditioningConfig("outputs", "scratch"), c.training, seed=context.seed
        )
        return ranker.fit(
            train,
            vali,
            criterion=EachOutput([self._loss(kind, k) for k in range(m)]),
            measures=[self._measure(kind, k) for k in range(m)],
            preferences=np.eye(m),
            seed=context.seed,
            folder=self._folder(kind, 0),
            progress=context.progress,
            accelerator=context.accelerator,
        )


def _column(split: Split, k: int) -> Split:
    labels = np.asarray(split.labels)[:, [k]]
    return replace(split, labels=labels, objectives=(split.objectives[k],))
