"""Where losses and rankers meet: what a config says about both is checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ltr.errors import InputError, unknown_name
from ltr.rankers import RANKERS

__all__ = ["loss_params", "takes_loss"]


def loss_params(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """Every parameter of the loss: its keyword arguments beside the vocabulary all losses share, defaults filled in.

    Raises:
        InputError: an unknown loss or parameter (with its near miss), a value of another type than the default, or
            one that the loss refuses.

    >>> loss_params("listnet", {"eps": 1})
    {'target': 'gain', 'eps': 1.0, 'temperature': 1.0}
    >>> loss_params("ordinal", {"boundaries": [1, 2.5]})
    {'boundaries': (1.0, 2.5)}
    """
    from ltr.losses import LOSSES, loss

    defaults = {key: parameter.default for key, parameter in LOSSES[name].parameters.items()}
    filled = dict(defaults)
    for key, value in params.items():
        if key not in defaults:
            raise unknown_name(f"parameter of loss {name!r}", key, defaults)
        filled[key] = _like(defaults[key], value, f"parameter {key!r} of loss {name!r}")
    filled = {key: value for key, value in filled.items() if value is not None}
    loss(name, **filled)  # tries them on a list of two
    return filled


def _like(default, value, what: str):
    """`value` as the type of the default, so that 1 and 1.0 are one config; None as default takes anything."""
    kind = type(default)
    if default is None or type(value) is kind:
        return value
    if kind is float and type(value) is int:
        return float(value)
    if kind is tuple and isinstance(value, list):  # TOML and JSON have no tuples
        return tuple(_like(default[0], each, what) for each in value) if default else tuple(value)
    raise InputError(f"{what} has the wrong type", expected=f"{kind.__name__}, as its default {default!r}", came=value)


def takes_loss(name: str) -> bool:
    """Whether a ranker is trained with a loss of the catalogue; the others bring their own objective."""
    return bool(RANKERS[name].claims["needs_loss"])
