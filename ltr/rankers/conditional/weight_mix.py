"""Nets whose weights are a mix of m nets: theta(w) = sum_k w_k theta_k, trained together.

A conditioned net like those of conditioning.py, with w in the weights themselves. One preference costs one pass of a
plain net, the same in training; the nets of all objectives have one shape and start from the same weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from ltr.errors import InputError
from ltr.rankers.nets import build

from .ranker import ConditionedRanker
from .tensors import output

__all__ = ["WeightMix", "WeightMixRanker"]


class WeightMix(nn.Module):
    """m nets of one config as one.

    Args:
        net: config of the net.
        conditioning: `start` and nothing else is read from it; its kind is "none".
        n_features, n_objectives: sizes of the inputs.
        scale: the output is multiplied by it.
    """

    def __init__(self, net, conditioning, n_features: int, n_objectives: int, scale: float = 1.0):
        super().__init__()
        self.config, self.n_objectives, self.scale = conditioning, n_objectives, scale
        self.net = build(net, n_features)
        self.names = tuple(name.replace(".", "/") for name, _ in self.net.named_parameters())
        own = [torch.stack([p.detach()] * n_objectives) for p in self.net.parameters()]
        self.corners = nn.ParameterDict({k: nn.Parameter(p) for k, p in zip(self.names, own, strict=True)})
        self.net.requires_grad_(False)  # a shape to pour the mixed weights into
        self._silence()

    def forward(self, features: Tensor, where: Tensor, preferences: Tensor, *, beta=None, reference=None) -> Tensor:
        """Scores float32 `[batch, preference, list]`, pads 0; arguments as `Conditioned.forward`."""
        if preferences.dim() != 2:
            raise InputError("mixed weights are those of one preference for all lists", came=tuple(preferences.shape))
        scores = torch.stack([self._mixed(features, where, w) for w in preferences], 1)
        return output(scores, where, self.scale, self.config.start == "augmented", reference)

    def score_many(self, features: Tensor, where: Tensor, preferences: Tensor, *, beta=None, reference=None) -> Tensor:
        """Scores float32 `[preference, document]` without the pads; arguments as `Conditioned.score_many`."""
        return self.forward(features, where, preferences, beta=beta, reference=reference).transpose(0, 1)[:, where]

    def _mixed(self, features: Tensor, where: Tensor, w: Tensor) -> Tensor:
        if not self.corners:
            return self.net(features, where)
        weights = {name.replace("/", "."): torch.tensordot(w, self.corners[name], 1) for name in self.names}
        return torch.func.functional_call(self.net, weights, (features, where))

    def fix(self, w: Tensor) -> None:
        """From here on the plain net with the weights of the preference w `[objective]`: any other gets its scores."""
        with torch.no_grad():
            for name, own in zip(self.names, self.net.parameters(), strict=True):
                own.copy_(torch.tensordot(w, self.corners[name], 1))
        self.corners = nn.ParameterDict()

    def start_from(self, weights: Mapping[str, Tensor]) -> None:
        """All m nets take over the weights of a net of the same config; an augmented head starts at 0."""
        self.net.load_state_dict(weights)
        with torch.no_grad():
            for name in self.names:
                self.corners[name].copy_(weights[name.replace("/", ".")].expand_as(self.corners[name]))
        self._silence()

    def _silence(self) -> None:
        if self.config.start == "augmented":
            for name in ("head/linear/weight", "head/linear/bias"):
                nn.init.zeros_(self.corners[name])


class WeightMixRanker(ConditionedRanker):
    """A `ConditionedRanker` with a `WeightMix` inside."""

    network: ClassVar[type] = WeightMix

    @property
    def n_parameters(self) -> int:
        return 0 if self.net is None else sum(p.numel() for p in self.net.corners.parameters())
