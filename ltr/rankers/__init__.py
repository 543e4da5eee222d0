"""Rankers: what scores the documents of a list. Two verbs, `fit` and `score`, and a folder each can be kept in.

    ranker = make_ranker("mlp", hidden=(64, 32), epochs=50)
    ranker.fit(task.train, task.vali, loss=listnet, seed=0)
    scores = ranker.score(task.test)                            # float32 [documents]

A module of your own becomes a ranker with one decorator: `register_net`.

Many nets of one shape train as one program, each as if it were alone: `fit_stacked`, `score_stacked`.

Names and parameters are known without torch, Lightning or the boosters; those are imported when a ranker is fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from inspect import signature
from typing import Any

from ltr.errors import InputError, renamed
from ltr.lazy import lazily
from ltr.schema import bind, in_todays_words, to_dict, unknown_keys

from .base import RANKERS, FittedRanker, Progress, load_ranker, named_loss
from .config import HEADLINE, TrainingConfig
from .ensembles.bagged import BaggedRanker
from .neural import register_net
from .own import own_ranker

__all__ = [
    "HEADLINE",
    "RANKERS",
    "BaggedRanker",
    "FittedRanker",
    "Progress",
    "TrainingConfig",
    "fit_stacked",
    "load_ranker",
    "make_ranker",
    "register_net",
    "resolve_params",
    "score_stacked",
]

_stacked = lazily(__name__, {"ensembles.stacked": ["fit_stacked", "score_stacked"]})  # they need torch
_FORMER = {"fit_fleet": "fit_stacked", "score_fleet": "score_stacked"}


def __getattr__(name: str) -> Any:
    if name in _FORMER:
        renamed("function", name, _FORMER[name])
    return _stacked(_FORMER.get(name, name))


def make_ranker(
    name: str | Callable,
    *,
    loss: Callable | str | None = None,
    seed: int = 0,
    training: TrainingConfig | Mapping[str, Any] | None = None,
    **params,
) -> FittedRanker:
    """A ranker that is not fitted yet.

    Args:
        name: linear, mlp, tabm, transformer, dasalc or bagged (neural, need a loss); lightgbm, xgboost or catboost;
            blend, distilled, residual, calibrated or pretrained (made of others); feature, random or constant. Or
            yours: an `nn.Module` (a copy is trained), a class of modules, or a function that scores
            `(features [batch, list, feature], where [batch, list])`; see `ltr.rankers.own.own_ranker`.
        loss: default of `fit(loss=...)`, for rankers that need one.
        seed: default of `fit(seed=...)`.
        training: settings of the training; rankers that have none leave them alone.
        params: parameters of the ranker, and settings of the training by their own names.

    Raises:
        InputError: an unknown ranker or parameter (with its near miss), or a value of the wrong type or range.

    >>> make_ranker("mlp", hidden=(8,), epochs=3).training.epochs
    3
    >>> make_ranker("mlp", hiden=(8,), epocs=3)
    Traceback (most recent call last):
    ...
    ltr.errors.InputError: unknown keys 'hiden', 'epocs' in [mlp]. Did you mean 'hiden' -> 'hidden', 'epocs' -> ...
    """
    if not isinstance(name, str):
        name = own_ranker(name)
    entry = RANKERS[name]
    schema = entry.claims.get("training")
    own = {f.name for f in fields(entry.claims["config"])}
    settings = {f.name for f in fields(schema)} if schema else set()
    former = set(getattr(entry.claims["config"], "RENAMED", ()))
    params = in_todays_words(schema, params) if schema else params
    unknown = [key for key in params if key not in own | settings | former]
    if unknown:
        later = [key for key in unknown if key in signature(FittedRanker.fit).parameters]
        if later:
            raise InputError(
                f"{', '.join(later)} belongs to fit, not to the ranker", do=f"Call fit(..., {later[0]}=...)"
            )
        raise unknown_keys(unknown, own | settings | {"seed"}, None, name)
    if isinstance(loss, str):
        loss = named_loss(loss)
    if schema is None:
        return entry.function(bind(entry.claims["config"], params, where=name), loss=loss, seed=seed)
    flat = {k: params.pop(k) for k in list(params) if k not in own | former}
    given: Any = training or {}
    bound = bind(schema, given, where="training")
    if flat:
        bound = bind(schema, {**to_dict(bound), **flat}, where="training")
    return entry.function(bind(entry.claims["config"], params, where=name), training=bound, loss=loss, seed=seed)


def resolve_params(name: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """A ranker's parameters, checked, with every default filled in; plain values that TOML and JSON can carry."""
    return to_dict(bind(RANKERS[name].claims["config"], params, where=name))
