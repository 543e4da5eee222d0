"""A module, a class of modules or a function of a user's as a ranker of the catalogue."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.types import Split

from .base import FittedRanker, register
from .baselines import ConstantConfig
from .neural import register_net
from .training.job import ObjectiveJob

__all__ = ["FunctionRanker", "own_ranker"]


def own_ranker(thing: Callable[..., Any]) -> str:
    """Registers what a user wrote under its own name, which replaces what had that name, and returns the name.

    Args:
        thing: an `nn.Module`, whose copy is trained from the weights it has; a class of modules, or a function whose
            first argument is `n_features`, which makes one (see `register_net`); any other function of
            `(features [batch, list, feature], where [batch, list])` scores as it is, with nothing to learn.

    Raises:
        InputError: no name, or that of a ranker of the suite.
    """
    name = getattr(thing, "__name__", type(thing).__name__)
    if not callable(thing) or name == "<lambda>":
        raise InputError("a ranker is a name, a module or a named function", came=thing)
    if not isinstance(thing, type) and hasattr(thing, "state_dict"):
        register_net(name)(_copies_of(thing))
    elif isinstance(thing, type) or next(iter(inspect.signature(thing).parameters), "") == "n_features":
        register_net(name)(thing)
    else:
        own = type(f"{name}Ranker", (FunctionRanker,), {"function": staticmethod(thing)})
        keep = register(
            name, ConstantConfig, kind="baseline", formula=f"s = {name}(x)", own=True, independent=False, learns=False
        )
        keep(own)
    return name


def _copies_of(module: Any) -> Callable[..., Any]:
    """Makes copies that take features and where; one that takes features alone, or ends in `[..., 1]`, is wrapped."""

    def copies(n_features: int):
        from .nets import OwnNet

        return OwnNet(copy.deepcopy(module))

    copies.__module__, copies.__doc__ = type(module).__module__, f"Copies of a {type(module).__name__}"
    return copies


class FunctionRanker(FittedRanker):
    """Scores by a function that is what it is; `fit` remembers the number of features. Kept by its name alone."""

    function: Callable[..., Any]

    def _fit(self, job: ObjectiveJob) -> int:
        return job.train.n_documents

    def _score(self, split: Split) -> np.ndarray:
        from ltr.datasets.batching.batches import Batches

        found = Batches(split).gather(lambda batch: type(self).function(batch.features, batch.where))
        return np.zeros(0, np.float32) if found is None else found.cpu().numpy()
