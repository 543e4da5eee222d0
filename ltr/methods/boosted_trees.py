"""LightGBM, one booster a preference: the lambdas of the objectives mixed, round by round, or their labels.

    lightgbm-ls     sum_k w_k lambda_k        linear scalarisation of lambdarank, the baseline of MO-LightGBM
    lightgbm-sla    lambda_k, k ~ Categorical(w) a list and round        the same in expectation

lambda_k is the gradient of LightGBM's lambdarank on objective k, divided by that objective's own ideal DCG; so the sum
steers sum_k w_k nDCG_k, where mixing labels has one ideal for the mix. MO-LightGBM's scripts run with
params = {lambdarank_norm = false}, 600 to 1000 rounds, learning rate .25, 50 leaves, 1000 documents a leaf at least.

    label-mixing    gain_i = sum_k w_k g(y^k_i)        lambdarank with these gains (`label_gain`)

The mix is exact, each distinct value its own grade: 5 grades and m objectives make at most 5^m values. What is
optimised is the NDCG of the mixed gain, divided by one ideal for all objectives; the sum sum_k w_k nDCG_k divides each
by its own (T7 of our notes). Rounds are chosen by the NDCG of the mixed gain.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError
from ltr.rankers import FittedRanker, make_ranker
from ltr.rankers.trees.lightgbm import LightGBMConfig
from ltr.rankers.trees.mixed_lambdas import MixedLightGBM, label_gains
from ltr.schema import bind
from ltr.types import Split

from .base import METHODS, FitContext, Method

__all__ = ["Boosted", "BoostedConfig", "LabelMixing", "LabelMixingConfig", "LambdaMixing", "mixed_gains"]


class Boosted(Method):
    """A booster for every preference; a child writes `_one(context, w)`."""

    @abstractmethod
    def _one(self, context: FitContext, w: np.ndarray) -> FittedRanker:
        """The fitted booster of preference w."""

    def _fit(self, context: FitContext) -> int:
        self.models = [self._one(context, w) for w in context.preferences]
        return len(self.models)


@dataclass(frozen=True)
class BoostedConfig:
    """Settings of one booster, repeated for every preference.

    Attributes:
        lightgbm: parameters of the ranker `lightgbm`; its objective is lambdarank.
        measures: one an objective; the rounds are chosen by their weighted sum on validation (of label mixing: by the
            NDCG of the mixed gain). Empty: nDCG(gain=...,empty=skip)@10, with the objective's gain.
    """

    lightgbm: dict[str, Any] = field(default_factory=dict)
    measures: tuple[str, ...] = ()


class LambdaMixing(Boosted):
    """Mixed lambdas; `stochastic`: each list learns one objective a round."""

    config: BoostedConfig
    stochastic = False

    def _one(self, context: FitContext, w: np.ndarray) -> FittedRanker:
        config = bind(LightGBMConfig, self.config.lightgbm, where=f"{self.name}.lightgbm")
        options: dict[str, Any] = {
            "preference": w,
            "gains": self.gains,
            "measures": context.measures,
            "stochastic": self.stochastic,
        }
        ranker = MixedLightGBM("lightgbm", config, seed=context.seed, **options)
        return ranker.fit(context.train, context.vali, progress=context.progress)


class StochasticLambdas(LambdaMixing):
    """Stochastic label aggregation."""

    stochastic = True


_LARGEST_GRADE = 9_999  # so many different values are a quantity, not grades


@dataclass(frozen=True)
class LabelMixingConfig(BoostedConfig):
    """Settings of one booster, repeated for every preference.

    Attributes:
        gain: g, "exp2" 2^y - 1 or "linear" y; one for all objectives, or one each; None: those of the task.
        k: cut-off of the NDCG of the mixed gain, which chooses the rounds.
    """

    gain: Literal["exp2", "linear"] | tuple[Literal["exp2", "linear"], ...] | None = None
    k: int = 10


def mixed_gains(labels: Any, preference: np.ndarray, gain: str | Sequence[str] = "exp2") -> np.ndarray:
    """sum_k w_k g(y^k), float64 `[documents]`.

    Args:
        labels: `[documents, objective]`.
        preference: `[objective]`.
        gain: one for all objectives or one each.

    >>> mixed_gains(np.array([[1, 3], [3, 0], [0, 1]]), np.array([0.5, 0.5])).tolist()
    [4.0, 3.5, 0.5]
    """
    kinds = (gain,) * labels.shape[1] if isinstance(gain, str) else tuple(gain)
    if len(kinds) != labels.shape[1]:
        raise InputError("one gain an objective", expected=f"{labels.shape[1]}", came=list(kinds))
    # Rounded, so that equal mixes are equal numbers, whatever the order of their sums.
    return np.round(label_gains(labels, kinds) @ preference, 9)


class LabelMixing(Boosted):
    """LightGBM on mixed labels."""

    config: LabelMixingConfig

    def _one(self, context: FitContext, w: np.ndarray) -> FittedRanker:
        c = self.config
        gain = c.gain or self.gains
        values, grades = np.unique(mixed_gains(context.train.labels, w, gain), return_inverse=True)
        if len(values) > _LARGEST_GRADE:
            raise InputError(
                "label mixing makes a grade of every distinct mix",
                expected=f"at most {_LARGEST_GRADE}",
                came=len(values),
                do="Regrade the objectives (grade5).",
            )
        gains = values.tolist()
        if gains[0] != 0:  # no document of train is worthless; LightGBM's grade 0 need not be either
            grades, gains = grades + 1, [0.0, *gains]
        vali = None if context.vali is None else _labelled(context.vali, mixed_gains(context.vali.labels, w, gain))
        params = dict(c.lightgbm)
        own = {**params.pop("params", {}), "label_gain": gains}
        ranker = make_ranker("lightgbm", seed=context.seed, params=own, **params)
        select = f"nDCG(gain=linear,empty=skip)@{c.k}"
        return ranker.fit(_labelled(context.train, grades), vali, select=select, progress=context.progress)


def _labelled(split: Split, column: np.ndarray) -> Split:
    return replace(split, labels=column.astype(np.float32)[:, None], objectives=("mixed",))


for _name, _class, _config, _formula, _source, _draws in (
    (
        "label-mixing",
        LabelMixing,
        LabelMixingConfig,
        "lambdarank on sum_k w_k g(y^k)",
        "linear label aggregation for trees, e.g. Carmel et al., WWW 2020; baseline of MO-LightGBM, 2207.03060",
        False,
    ),
    (
        "lightgbm-ls",
        LambdaMixing,
        BoostedConfig,
        "lambda = sum_k w_k lambda_k of lambdarank",
        "MO-LightGBM, 2207.03060",
        False,
    ),
    (
        "lightgbm-sla",
        StochasticLambdas,
        BoostedConfig,
        "lambda = lambda_k of lambdarank, k ~ Categorical(w) a list and round",
        "Carmel et al., WWW 2020",
        True,
    ),
):
    METHODS.register(
        _name,
        formula=_formula,
        source=_source,
        config=_config,
        preference="fixed",
        models="preference",
        trees=True,
        draws=_draws,
    )(_class)
