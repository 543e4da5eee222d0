"""GDPO-like: the policy gradient of Plackett-Luce on the measures of all objectives, each normalised by itself.

    draw S rankings of the list from PL(s);  r_k = NDCG_k@K of each
    descend  - (1/S) sum over rankings of  A log P(ranking),   A = sum_k w_k (r_k - mean r_k) / sd r_k   over the S

Normalised before they are summed, an objective whose measure hardly varies among the rankings of a list counts as much
as one that varies a lot; normalising the sum (GRPO) would leave it unheard. An objective that is equal for all
rankings, as where its labels are, says nothing. GDPO itself (group reward-decoupled normalisation, for language models)
is [recalled]; rankings in place of answers and the front are ours. No clipping: each draw is used once. Of weights the
mean of a list counts: within a list the rewards are normalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltr import ops
from ltr.losses.base import normalised_gains
from ltr.objectives import counting
from ltr.rankers.config import check

from .base import METHODS, FitContext, MethodConfig
from .criteria import Criterion, Fixed
from .scalarised import OneEach

__all__ = ["GDPO", "GDPOConfig", "GroupPolicy"]


class GroupPolicy(Criterion):
    """The criterion above.

    Args:
        gains: "exp2" or "linear", one an objective.
        samples: S, rankings drawn of each list.
        k: K, cut-off of the measures; documents below it have no part in the chance of a ranking.
    """

    def __init__(self, source: Any, gains, samples: int = 16, k: int = 10):
        super().__init__(None, source)
        self.gains, self.samples, self.k = tuple(gains), samples, k

    def forward(
        self, scores, labels, where, preferences, *, beta=None, reference=None, weights=None, generator=None
    ) -> Tensor:
        s = ops.exact(scores).unsqueeze(2).expand(-1, -1, self.samples, -1)  # [batch, preference, sample, list]
        real = where[:, None, None].expand_as(s)
        generator = generator or torch.Generator(s.device).manual_seed(0)
        order = ops.order(s.detach() + ops.gumbel(s.shape, generator).to(s), real)
        drawn, real = s.gather(-1, order), real.gather(-1, order)
        chance = (drawn - ops.reversed_logcumsumexp(drawn, real))[..., : self.k].sum(-1)  # pads hold 0
        discount = ops.discounts(torch.arange(1, s.shape[-1] + 1, device=s.device), self.k)
        advantage = torch.zeros_like(chance)
        for label, gain, w in zip(labels.unbind(-1), self.gains, preferences.unbind(-1), strict=True):
            worth = normalised_gains(label.to(s.dtype).masked_fill(~where, 0.0), where, None, gain, self.k)[0]
            reward = (worth[:, None, None].expand_as(s).gather(-1, order) * real * discount).sum(-1)
            moved, spread = reward - reward.mean(-1, keepdim=True), reward.std(-1, correction=0, keepdim=True)
            heard = spread > 1e-6  # rounding leaves a spread where all rankings are worth the same
            advantage = advantage + w.unsqueeze(-1) * moved * heard / spread.where(heard, 1.0)
        values = -(advantage.detach() * chance).mean(-1)
        if weights is not None:
            values = values * (weights.sum(-1) / where.sum(-1).clamp(min=1)).unsqueeze(-1)
        counted = counting(labels, where).any(-1)
        return values.where(counted.unsqueeze(-1), 0.0).sum() / (counted.sum() * values.shape[1]).clamp(min=1)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, gains={self.gains}, samples={self.samples}, k={self.k}"


@dataclass(frozen=True)
class GDPOConfig(MethodConfig):
    """Settings of one training, repeated for every preference; the loss is the policy gradient.

    Attributes:
        samples: rankings drawn of each list at each step.
        k: cut-off of the NDCG that rewards them.
    """

    samples: int = 16
    k: int = 10

    def __post_init__(self):
        check(
            self,
            losses=(not self.losses, "none: there is no list loss"),
            loss=(
                self.loss == "listnet" and not self.loss_params,
                "left alone, it is a policy gradient",
            ),
            samples=(self.samples >= 2, "2 or more"),
            k=(self.k >= 1, "1 or more"),
        )


@METHODS.register(
    "gdpo",
    formula="- E_{ranking ~ PL(s)} sum_k w_k (r_k - mean r_k) / sd r_k log P(ranking), r_k = NDCG_k@K",
    source="group reward-decoupled normalisation (GDPO) [recalled] on Plackett-Luce rankings; ours",
    config=GDPOConfig,
    preference="fixed",
    models="preference",
    corners=0.6,  # the noise of sampled rankings
)
class GDPO(OneEach):
    """One net a preference."""

    config: GDPOConfig

    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        return GroupPolicy(Fixed(tuple(w)), self.gains, self.config.samples, self.config.k)
