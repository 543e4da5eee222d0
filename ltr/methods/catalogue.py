"""Every method by its name: make one, or load one that was saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ltr.atomic import read_facts
from ltr.losses import loss
from ltr.rankers.base import load_ranker
from ltr.rankers.own import own_ranker
from ltr.schema import bind

from .base import FORMAT, MARK, METHODS, Method
from .reference_choice import MARK as REFERENCE
from .reference_choice import MethodAsRanker

__all__ = ["METHODS", "load_method", "make_method"]


def make_method(name: str, *, seed: int = 0, **params) -> Method:
    """A method that is not fitted yet.

    Args:
        name: in the catalogue of methods.
        seed: default of `fit(seed=...)`.
        params: its parameters. `loss` may be a loss or a function of one's own (see `ltr.loss`), `ranker` a module
            (see `make_ranker`).

    Raises:
        InputError: an unknown method or parameter (with its near miss), or a value of the wrong type or range.

    >>> make_method("hyperdpo", alpha=0.5).config.alpha
    0.5
    >>> make_method("hyperdpo", alfa=0.5)
    Traceback (most recent call last):
    ...
    ltr.errors.InputError: unknown key 'alfa' in [hyperdpo]. Did you mean 'alpha'? Known: ...
    """
    entry = METHODS[name]
    if callable(params.get("loss")):
        bound = loss(params["loss"])
        params |= {"loss": bound.name, "loss_params": {**bound.params, **params.get("loss_params", {})}}
    if callable(params.get("ranker")):
        params["ranker"] = own_ranker(params["ranker"])
    return entry.function(entry.name, bind(entry.claims["config"], params, where=entry.name), seed=seed)


def load_method(folder: Path | str) -> Method:
    """The method kept in a folder, ready to score.

    Raises:
        InputError: no method there, or one of another format.

    >>> import ltr, tempfile
    >>> task, folder = ltr.load("synthetic:queries=20,features=50"), tempfile.mkdtemp()
    >>> make_method("soup", ranker="linear", training={"epochs": 1}).fit(task).save(f"{folder}/kept")
    >>> load_method(f"{folder}/kept").score(task.test, [[0.5, 0.5]]).shape == (1, task.test.n_documents)
    True
    """
    folder = Path(folder)
    facts = read_facts(folder, MARK, FORMAT)
    method = make_method(facts["name"], seed=facts["seed"], **facts["config"])
    method.objectives, method.cost, method.memory = tuple(facts["objectives"]), facts["cost"], facts["memory"]
    method.preferences = np.array(facts["preferences"])
    method.models = [method._load_model(folder / f"model{i}") for i in range(facts["models"])]
    method.base = _load_base(folder / "base") if facts["base"] else None
    return method


def _load_base(folder: Path) -> Any:
    return MethodAsRanker.load(folder, load_method) if (folder / REFERENCE).is_file() else load_ranker(folder)
