"""One model an objective, merged after training: a preference costs nothing.

    soup   theta(w) = sum_k w_k theta_k        weights averaged; all fine-tuned from one start (DPO soup, rewarded soup)
    mod    s_w = s_ref + sum_k w_k (s_k - s_ref)        scores averaged (MOD)

theta_k minimises CE(z^k, softmax(beta (s - s_ref))) alone. On free scores both end at the geometric mix of the targets.
"""

from __future__ import annotations

import numpy as np

from .base import METHODS, FitContext
from .criteria import Fixed, Importance
from .reference import ReferenceConfig, ReferenceMethod, train_each
from .terms import MixedWeights, Term

__all__ = ["MOD", "Soup"]


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
