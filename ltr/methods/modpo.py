"""MODPO (2310.03708), list form: one objective is learned, what the others want enters as margins.

    minimise  CE(z^k, softmax((beta (s - s_ref) - sum_{l != k} w_l R^l) / w_k))    k the objective with the largest w

One model a preference. The scale of R sets the trade-off; with R^l = log z^l it ends at the geometric mix of the
targets on free scores, where DPO-LS ends at the arithmetic one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ltr.losses.preference.base import preference_loss

from .base import METHODS
from .criteria import Criterion, Fixed, Margins
from .reference import ReferenceConfig
from .scalarised import DPOLS

__all__ = ["MODPO", "MODPOConfig"]


@dataclass(frozen=True)
class MODPOConfig(ReferenceConfig):
    """Settings of one training, repeated for every preference.

    Attributes:
        rewards: R of the others: "targets" log z^l, or "labels", standardised per list.
        eps: added to targets that hold zeros, for their logarithm.
    """

    rewards: Literal["targets", "labels"] = "targets"
    eps: float = 1e-3


@METHODS.register(
    "modpo",
    formula="CE(z^k, softmax((beta (s - s_ref) - sum_{l != k} w_l R^l) / w_k)), k = argmax w",
    source="2310.03708, list form ours",
    config=MODPOConfig,
    preference="fixed",
    means="importance",
    base=True,
    models="preference",
)
class MODPO(DPOLS):
    """The list form: `loss` is the cross entropy in any case, `loss_params` its target, eps, temperature."""

    config: MODPOConfig

    def _criterion(self, source: Fixed) -> Criterion:
        loss = preference_loss("modpo-list", beta=self.config.beta, **self.config.loss_params)
        return Margins(self._by_gain(loss), source, self.config.rewards, self.config.eps)
