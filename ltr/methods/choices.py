"""Where losses and rankers meet: names and parameters of a config become checked values and callables."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import InputError, unknown_name
from ..strict import bind, to_dict

if TYPE_CHECKING:
    from torch import Generator, Tensor

__all__ = ["BoundLoss", "bind_loss", "loss_params", "ranker_params", "takes_loss"]

_VOCABULARY = ("scores", "labels", "where", "weights", "generator")


@dataclass(frozen=True)
class BoundLoss:
    """A loss of the catalogue with its parameters, as the rankers take it.

    >>> loss = bind_loss("mse")
    >>> import torch
    >>> scores, labels = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1.0, 3.0, 0.0, 2.0])
    >>> round(loss(scores, labels).item(), 4)
    3.925
    """

    name: str
    params: dict[str, Any] = field(default_factory=dict)

    def __call__(self, scores: Tensor, labels: Tensor, where: Tensor | None = None, *, generator: Generator | None = None) -> Tensor:
        """One value a list: `[..., list]` -> `[...]`."""
        return self._entry.function(scores, labels, where, generator=generator, **self.params)

    def reduce(self, values: Tensor, labels: Tensor, where: Tensor | None = None) -> Tensor:
        """Mean over the lists that count for this loss; 0, connected to the graph, when none does."""
        from .. import losses

        return losses.reduce(values, labels, where, self._entry.claims["needs"])

    @property
    def _entry(self):
        from ..losses import LOSSES

        return LOSSES[self.name]


def bind_loss(name: str, params: Mapping[str, Any] | None = None) -> BoundLoss:
    """The loss by name with checked parameters."""
    return BoundLoss(name, loss_params(name, params or {}))


def loss_params(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the loss: its keyword arguments beside the vocabulary all losses share, defaults filled in.

    Raises:
        InputError: an unknown loss or parameter (with its near miss), or a value of another type than the default.
    """
    from ..losses import LOSSES

    defaults = {
        key: parameter.default
        for key, parameter in inspect.signature(LOSSES[name].function).parameters.items()
        if key not in _VOCABULARY and parameter.default is not parameter.empty
    }
    filled = dict(defaults)
    for key, value in params.items():
        if key not in defaults:
            raise unknown_name(f"parameter of loss {name!r}", key, defaults)
        filled[key] = _like(defaults[key], value, f"parameter {key!r} of loss {name!r}")
    return {key: value for key, value in filled.items() if value is not None}


def _like(default, value, what: str):
    """`value` as the type of the default; None as default takes anything."""
    kind = type(default)
    if default is None or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    raise InputError(f"{what} has the wrong type", expected=f"{kind.__name__}, as the default {default!r}", came=value)


def ranker_params(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the ranker, defaults filled in, as plain values.

    Raises:
        InputError: an unknown ranker or parameter (with its near miss), or a value out of range.
    """
    from ..rankers import RANKERS

    return to_dict(bind(RANKERS[name].claims["config"], params, where="ranker.params"))


def takes_loss(name: str) -> bool:
    """Whether a ranker is trained with a loss of the catalogue; the others bring their own objective."""
    from ..rankers import RANKERS

    return bool(RANKERS[name].claims["needs_loss"])
