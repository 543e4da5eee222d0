"""Several epochs of one training as one net: each preference is scored by the epoch that suits it.

What a shared net learns for one preference it may have forgotten for another by the epoch that is best on average, the
more so where one objective overfits while another still learns. An epoch stays while it is the best of some preference
that validation looks at; any other preference takes the epoch of the nearest of these.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Checkpoints", "KeptEpochs"]


class KeptEpochs:
    """The best epoch of every preference so far, in a mapping that a checkpoint on disk carries.

    Args:
        kept: what was kept before, and where more is: epochs and values `[preference]`, epoch 0 before there is one;
            and nets, epoch -> state.
        preferences: how many.
    """

    def __init__(self, kept: dict[str, Any], preferences: int):
        if not kept:
            kept.update(epochs=[0] * preferences, values=[float("-inf")] * preferences, nets={})
        self.kept = kept

    @property
    def last(self) -> int:
        """The newest epoch that is best for a preference."""
        return max(self.kept["epochs"])

    def offer(self, epoch: int, values: Sequence[float], net: nn.Module) -> None:
        """Another epoch, with its value for each preference; NaN where none can be said."""
        epochs, best = self.kept["epochs"], self.kept["values"]
        better = [i for i, value in enumerate(values) if value > best[i]]
        for i in better:
            epochs[i], best[i] = epoch, float(values[i])
        if better:
            self.kept["nets"][epoch] = copy.deepcopy(net.state_dict())
            self.kept["nets"] = {e: state for e, state in self.kept["nets"].items() if e in epochs}

    def net(self, net: nn.Module, preferences: Tensor, otherwise: Mapping[str, Any]) -> tuple[Checkpoints, list[int]]:
        """The kept epochs as one net, and the epoch of each preference.

        Args:
            net: of the shape of all.
            preferences: `[preference, objective]`.
            otherwise: epoch and state of the best epoch on average, for preferences that validation cannot judge.
        """
        states = {otherwise["epoch"]: otherwise["net"], **self.kept["nets"]}
        epochs = [e or otherwise["epoch"] for e in self.kept["epochs"]]
        order = sorted(set(epochs))
        made = Checkpoints(net, len(order), preferences, [order.index(e) for e in epochs])
        for each, epoch in zip(made.nets, order, strict=True):
            each.load_state_dict(states[epoch])
        return made, epochs


class Checkpoints(nn.Module):
    """Nets of one shape, one for each preference and all that are nearest to it.

    Args:
        net: of their shape; copied.
        number: of nets.
        preferences: `[preference, objective]`.
        choice: the net of each.
    """

    preferences: Tensor
    choice: Tensor

    def __init__(self, net: nn.Module, number: int, preferences: Tensor, choice: Sequence[int]):
        super().__init__()
        self.nets = nn.ModuleList(copy.deepcopy(net) for _ in range(number))
        self.register_buffer("preferences", preferences.detach().clone().float())
        self.register_buffer("choice", torch.tensor(choice, device=preferences.device))

    @property
    def net(self) -> Any:
        """The inner net of the first."""
        return self.nets[0].net

    def chosen(self, preferences: Tensor) -> Tensor:
        """The net of each preference `[preference, objective]`, `[preference]`."""
        apart = (preferences.float().unsqueeze(1) - self.preferences).square().sum(-1)
        return self.choice[apart.argmin(-1)]  # the first of several that are as near

    def of(self, preference: Tensor) -> nn.Module:
        """The one net of a preference `[objective]`."""
        return self.nets[int(self.chosen(preference.unsqueeze(0)))]

    def score_many(
        self,
        features: Tensor,
        where: Tensor,
        preferences: Tensor,
        *,
        beta: Tensor | None = None,
        reference: Tensor | None = None,
    ) -> Tensor:
        """Scores float32 `[preference, document]`; arguments as `Conditioned.score_many`."""
        chosen = self.chosen(preferences)
        scores = features.new_empty((len(preferences), int(where.sum())), dtype=torch.float32)
        for i in chosen.unique().tolist():
            rows = (chosen == i).nonzero().squeeze(1)
            given: dict[str, Any] = {"beta": None if beta is None else beta[rows], "reference": reference}
            scores[rows] = self.nets[i].score_many(features, where, preferences[rows], **given)
        return scores
