"""What a front is measured by: a random ranking, and the models of one objective each.

    random             s_i = 0, whose measures are expectations over all orders (ties=mean, the default), or drawn
    single-objective   s_w = s_k, k = argmax w, of m rankers trained on one objective each

The second front is m points: at a preference inside the simplex stands the model of the heaviest objective (the first
of several). No trade-off is made, so that whatever does not lie above these points did not need several objectives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ltr.rankers import RANKERS, make_ranker

from .base import METHODS, FitContext, Method, TrainedConfig
from .terms import Term

__all__ = ["RandomConfig", "RandomRanking", "SingleObjective"]


@dataclass(frozen=True)
class RandomConfig:
    """A random ranking.

    Attributes:
        drawn: False: every document scores 0, and a measure that averages over ties says what a random ranking is
            worth, without noise; True: one ranking a seed, drawn for each query id.
        measures: not asked.
    """

    drawn: bool = False
    measures: tuple[str, ...] = ()


@METHODS.register(
    "random",
    formula="s_i = 0 with ties averaged, or s_i ~ U(0, 1)",
    source="floor of every front",
    config=RandomConfig,
    preference="ignored",
    means="none",
    models="one",
    draws=False,
    learns=False,
)
class RandomRanking(Method):
    """The floor: one point, the same for all preferences."""

    config: RandomConfig

    def _fit(self, context: FitContext) -> int:
        ranker = make_ranker("random" if self.config.drawn else "constant", seed=context.seed)
        self.models = [ranker.fit(context.train, context.vali)]
        return 1


@METHODS.register(
    "single-objective",
    formula="s_w = s_k, k = argmax w",
    source="one model an objective; the corners of linear scalarisation",
    config=TrainedConfig,
    preference="continuous",
    models="objective",
)
class SingleObjective(Method):
    """A ranker for each objective, in their order; one of them is run."""

    config: TrainedConfig

    def _fit(self, context: FitContext) -> int:
        c = self.config
        for k, name in enumerate(context.objectives):
            net: dict[str, Any] = (
                {"loss": self._plain_loss(self.gains[k], name), "training": c.training}
                if RANKERS[c.ranker].claims["needs_loss"]
                else {}
            )
            ranker = make_ranker(c.ranker, seed=context.seed, **net, **c.ranker_params)
            self.models.append(context.fit(ranker, f"model{k}", objective=name, select=context.measures[k]))
        return len(self.models)

    def terms(self, w: np.ndarray) -> list[Term]:
        return [Term(1.0, self.models[int(np.argmax(w))], w)]
