"""One model an objective, merged after training: a preference costs nothing.

    soup   theta(w) = sum_k w_k theta_k        weights averaged; all fine-tuned from one start (DPO soup, rewarded soup)
    mod    s_w = s_ref + sum_k w_k (s_k - s_ref)        scores averaged (MOD)

theta_k minimises CE(z^k, softmax(beta (s - s_ref))) alone. On free scores both end at the geometric mix of the targets.
"""

from __future__ import annotations

import copy

import numpy as np

from ltr.rankers.ensembles.stacked import fleet_scores
from ltr.types import Split

from .base import METHODS, Work
from .reference import ReferenceConfig, ReferenceMethod, train_each

__all__ = ["MOD", "Soup"]


class Merged(ReferenceMethod):
    """A model for each objective, in their order."""

    def _train(self, work: Work) -> int:
        from ltr.losses.preference.base import dpo

        from .criteria import Fixed, Importance

        c = self.config
        loss = self._by_gain(dpo(c.loss, beta=c.beta, **c.loss_params))
        corners = np.eye(len(work.objectives))
        criteria = [Importance(loss, Fixed(tuple(w))) for w in corners]
        self.models = train_each(self, work, criteria, corners, "model")
        return len(self.models)


class MOD(Merged):
    """Scores averaged. All m models are run."""

    def _plain(self, split: Split, preferences: np.ndarray, s_ref):
        scores = fleet_scores(self.models, split, reference=s_ref if self.config.augmented else None)
        return self._here(preferences) @ scores  # weights sum to 1, so s_ref comes through whole


class Soup(Merged):
    """Weights averaged. One model is run a preference."""

    def _plain(self, split: Split, preferences: np.ndarray, s_ref):
        import torch

        one = np.eye(len(self.objectives))[:1]
        reference = s_ref if self.config.augmented else None
        weights = [model.net.state_dict() for model in self.models]
        mixed = copy.copy(self.models[0])
        mixed.net = copy.deepcopy(self.models[0].net)
        scores = []
        for w in preferences:
            mixed.net.load_state_dict(
                {key: sum(float(a) * state[key] for a, state in zip(w, weights, strict=True)) for key in weights[0]}
            )
            scores.append(mixed.score_tensor(split, one, reference=reference)[0])
        return torch.stack(scores)


@METHODS.register(
    "soup",
    formula="theta(w) = sum_k w_k theta_k",
    source="DPO soup, baseline of 2410.08316; rewarded soups, 2306.04488",
    config=ReferenceConfig,
    steers="any",
    means="importance",
    base=True,
)
def soup(config: ReferenceConfig, **options) -> Soup:
    return Soup("soup", config, **options)


@METHODS.register(
    "mod",
    formula="s_w = s_ref + sum_k w_k (s_k - s_ref)",
    source="multi-objective decoding, 2406.18853",
    config=ReferenceConfig,
    steers="any",
    means="importance",
    base=True,
)
def mod(config: ReferenceConfig, **options) -> MOD:
    return MOD("mod", config, **options)
