"""PaMaL, Pareto manifold learning: a soup whose ingredients are trained together.

    minimise  E_{w ~ Dir(alpha)}  mean over lists of  sum_k w_k l_k(theta(w)),      theta(w) = sum_k w_k theta_k

Every step descends the weighted loss at the mixed weights, so that it is the mix that learns to be good; a soup
(soups.py) trains its corners alone and hopes. One training, m times the parameters, one plain net a preference. All
corners start from the same weights (the paper's start, and its balancing of gradients, are not verified here).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.conditional.weight_mix import WeightMixRanker
from ltr.rankers.config import check

from .base import METHODS, FitContext, Method, MethodConfig
from .criteria import Dirichlet, Importance

__all__ = ["PaMaL", "PaMaLConfig"]


@dataclass(frozen=True)
class PaMaLConfig(MethodConfig):
    """One training.

    Attributes:
        alpha: of the Dirichlet; 1 is uniform on the simplex.
        sampled: preferences drawn a step; each costs a pass.
    """

    alpha: float = 1.0
    sampled: int = 1

    def __post_init__(self):
        check(self, alpha=(self.alpha > 0, "above 0"), sampled=(self.sampled >= 1, "1 or more"))


@METHODS.register(
    "pamal",
    formula="E_w sum_k w_k l_k at theta(w) = sum_k w_k theta_k, w ~ Dir(alpha)",
    source="Pareto manifold learning, Dimitriadis et al., ICML 2023 (nik-dim/pamal)",
    config=PaMaLConfig,
    preference="continuous",
    models="one",
)
class PaMaL(Method):
    """m nets of one shape in one training."""

    config: PaMaLConfig

    def _fit(self, context: FitContext) -> int:
        c = self.config
        source = Dirichlet(c.alpha, len(context.objectives), c.sampled, by_list=False)
        plain = ConditioningConfig(kind="none", start="scratch")
        ranker = WeightMixRanker(c.ranker, c.ranker_params, plain, c.training, seed=context.seed)
        self.models = [context.fit_conditioned(ranker, criterion=Importance(self._loss(), source))]
        return 1

    def _load_model(self, folder: Path) -> ConditionedRanker:
        return WeightMixRanker.load(folder)
