"""LightGBM, one booster a preference: the lambdas of the objectives mixed, round by round.

    lightgbm-ls     sum_k w_k lambda_k        linear scalarisation of lambdarank, the baseline of MO-LightGBM
    lightgbm-sla    lambda_k, k ~ Categorical(w) a list and round        the same in expectation

lambda_k is the gradient of LightGBM's lambdarank on objective k, divided by that objective's own ideal DCG; so the sum
steers sum_k w_k nDCG_k, where mixing labels (mixing.py) has one ideal for the mix. MO-LightGBM's scripts run with
params = {lambdarank_norm = false}, 600 to 1000 rounds, learning rate .25, 50 leaves, 1000 documents a leaf at least.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltr.rankers.base import load_ranker
from ltr.types import Split

from .base import METHODS, Method, Work
from .scalarised import model_of

__all__ = ["Boosted", "LambdaMixing", "LambdaMixingConfig"]


class Boosted(Method):
    """A booster for every preference; a child writes `_one(work, w)`."""

    def _one(self, work: Work, w: np.ndarray):
        raise NotImplementedError

    def _fit(self, work: Work) -> int:
        self.models = [self._one(work, w) for w in work.preferences]
        return len(self.models)

    def _score(self, split: Split, preferences: np.ndarray) -> np.ndarray:
        which = model_of(self, preferences)
        scores = {i: self.models[i].score(split) for i in set(which)}
        return np.stack([scores[i] for i in which])

    def _load_model(self, folder: Path):
        return load_ranker(folder)


@dataclass(frozen=True)
class LambdaMixingConfig:
    """Settings of one booster, repeated for every preference.

    Attributes:
        lightgbm: parameters of the ranker `lightgbm`; its objective is lambdarank.
        measures: one an objective; the rounds are chosen by their weighted sum on validation. Empty:
            nDCG(gain=...,empty=skip)@10, with the objective's gain.
    """

    lightgbm: dict[str, Any] = field(default_factory=dict)
    measures: tuple[str, ...] = ()


class LambdaMixing(Boosted):
    """Mixed lambdas; `stochastic`: each list learns one objective a round."""

    config: LambdaMixingConfig
    stochastic = False

    def _one(self, work: Work, w: np.ndarray):
        from ltr.rankers.trees.lightgbm import LightGBMConfig
        from ltr.rankers.trees.mixed_lambdas import MixedLightGBM
        from ltr.schema import bind

        config = bind(LightGBMConfig, self.config.lightgbm, where=f"{self.name}.lightgbm")
        options = {"preference": w, "gains": self.gains, "measures": work.measures, "stochastic": self.stochastic}
        ranker = MixedLightGBM("lightgbm", config, seed=work.seed, **options)
        return ranker.fit(work.train, work.vali, progress=work.progress)


class StochasticLambdas(LambdaMixing):
    """Stochastic label aggregation."""

    stochastic = True


def _register(name: str, cls: type, formula: str, source: str) -> None:
    @METHODS.register(
        name, formula=formula, source=source, config=LambdaMixingConfig, steers="fitted", means="importance", base=False
    )
    def make(config: LambdaMixingConfig, **options) -> LambdaMixing:
        return cls(name, config, **options)


_register("lightgbm-ls", LambdaMixing, "lambda = sum_k w_k lambda_k of lambdarank", "MO-LightGBM, 2207.03060")
_register(
    "lightgbm-sla",
    StochasticLambdas,
    "lambda = lambda_k of lambdarank, k ~ Categorical(w) a list and round",
    "Carmel et al., WWW 2020",
)
