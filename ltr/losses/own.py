"""A function of a user's as a loss: what it takes is read off its signature, what it gives is checked."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from ltr.errors import InputError

__all__ = ["adapted", "fingerprint", "name_of"]

_KNOWN = ("where", "weights", "generator")


def name_of(function: Callable[..., Any]) -> str:
    """What a function, or the class of a module, is called."""
    name: str = getattr(function, "__name__", type(function).__name__)
    if name == "<lambda>":
        raise InputError("a loss needs a name", expected='ltr.loss("mine", lambda scores, labels: ...)')
    return name


def adapted(function: Callable[..., Tensor], name: str) -> Callable[..., Tensor]:
    """The function as a body of the catalogue (see `base`).

    Args:
        function: of `(scores, labels)`, perhaps a third for the mask, and any of where, weights and generator by name;
            what else has a default is a parameter of the loss. It sees `[batch, list]` with pads 0.
        name: for messages.
    """
    called = function.forward if isinstance(function, nn.Module) else function
    given = list(inspect.signature(called).parameters.values())
    by_place = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(by_place) < 2:
        raise InputError(f"loss {name!r} takes too little", expected="(scores, labels, ...)", came=str(given))
    third = by_place[2] if len(by_place) > 2 and by_place[2].default is inspect.Parameter.empty else None
    mask = None if third is None or third.name in _KNOWN else third.name
    takes = {p.name for p in given} & set(_KNOWN)
    own = [p for p in given if p not in by_place[:2] and p.name not in (*_KNOWN, mask)]
    own = [p.replace(annotation=Any) for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]

    def body(scores: Tensor, labels: Tensor, where: Tensor, weights: Tensor | None, **params: Any) -> Tensor:
        if weights is not None and "weights" not in takes:
            raise InputError(f"loss {name!r} takes no weights", do=f"Give {name} an argument weights")
        shape, last = scores.shape[:-1], scores.shape[-1]
        flat = [None if x is None else x.reshape(-1, last) for x in (scores, labels, where, weights)]
        options = {key: x for key, x in (("where", flat[2]), ("weights", flat[3])) if key in takes}
        values = function(*flat[:2], *([flat[2]] if mask else []), **options, **params)
        came = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        if came != tuple(flat[0].shape[:1]):  # type: ignore[union-attr]
            raise InputError(
                f"loss {name!r} must give one value a list",
                expected=f"[batch], here {tuple(flat[0].shape[:1])}",  # type: ignore[union-attr]
                came=came,
                do="Reduce over the last axis, the documents, only",
            )
        if scores.requires_grad and not values.requires_grad:
            raise InputError(
                f"loss {name!r} does not depend on the scores: nothing is learned from it",
                do="Stay within torch: detach, numpy, item and ranks cut the gradient",
            )
        return values.reshape(shape)

    shared = [p for p in inspect.signature(body).parameters.values() if p.kind is not p.VAR_KEYWORD]
    drawn = [inspect.Parameter("generator", inspect.Parameter.KEYWORD_ONLY)] if "generator" in takes else []
    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    body.__signature__ = inspect.Signature([*shared, *drawn, *keyword])  # type: ignore[attr-defined]
    body.__annotations__ |= {p.name: Any for p in own}
    body.__name__, body.__doc__ = name, inspect.getdoc(function)
    return body


def fingerprint(function: Callable[..., Any]) -> str:
    """Eight digits of its source: another function under an old name continues no checkpoint of that."""
    try:
        source = inspect.getsource(type(function) if isinstance(function, nn.Module) else function)
    except (OSError, TypeError):  # typed into a bare interpreter
        source = repr(getattr(getattr(function, "__code__", None), "co_code", function))
    return hashlib.sha256(source.encode()).hexdigest()[:8]
