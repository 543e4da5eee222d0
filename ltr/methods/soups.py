"""One model an objective, merged: a preference costs nothing.

    soup   theta(w) = sum_k w_k theta_k        weights averaged; all fine-tuned from one start (DPO soup, rewarded soup)
    mod    s_w = s_ref + sum_k w_k (s_k - s_ref)        scores averaged (MOD)
    pamal  minimise E_{w ~ Dir(alpha)} mean over lists of sum_k w_k l_k(theta(w))        a soup trained as one

theta_k of the first two minimises CE(z^k, softmax(beta (s - s_ref))) alone. On free scores these end at the geometric
mix of the targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.conditional.weight_mix import WeightMixRanker
from ltr.rankers.config import check

from .base import METHODS, FitContext, Method, MethodConfig
from .criteria import Dirichlet, Fixed, Importance
from .reference import ReferenceConfig, ReferenceMethod, train_each
from .terms import MixedWeights, Term

__all__ = ["MOD", "PaMaL", "PaMaLConfig", "Soup"]


class Merged(ReferenceMethod):
    """A model for each objective, in their order."""

    def _train(self, context: FitContext) -> int:
        loss, corners = self._loss(), np.eye(len(context.objectives))
        criteria = [Importance(loss, Fixed(tuple(w))) for w in corners]
        self.models = train_each(self, context, criteria, corners, "model")
        return len(self.models)


@METHODS.register(
    "mod",
    formula="s_w = s_ref + sum_k w_k (s_k - s_ref)",
    source="multi-objective decoding, 2406.18853",
    config=ReferenceConfig,
    preference="continuous",
    base=True,
    models="objective",
)
class MOD(Merged):
    """Scores averaged. All m models are run."""

    def terms(self, w: np.ndarray) -> list[Term]:
        return [Term(float(share), net, w) for share, net in zip(w, self.models, strict=True)]


@METHODS.register(
    "soup",
    formula="theta(w) = sum_k w_k theta_k",
    source="DPO soup, baseline of 2410.08316; rewarded soups, 2306.04488",
    config=ReferenceConfig,
    preference="continuous",
    base=True,
    models="objective",
)
class Soup(Merged):
    """Weights averaged. One model is run a preference."""

    def terms(self, w: np.ndarray) -> list[Term]:
        return [Term(1.0, MixedWeights(tuple(self.models), tuple(map(float, w))), w)]


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
    """m nets of one shape in one training.

    Every step descends the weighted loss at the mixed weights, so that it is the mix that learns to be good; a soup
    trains its corners alone and hopes. m times the parameters, one plain net a preference. All corners start from the
    same weights (the paper's start, and its balancing of gradients, are not verified here).
    """

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
