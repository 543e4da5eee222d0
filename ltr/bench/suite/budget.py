"""How long a method of a suite trains, so that fronts are compared at equal cost.

    model    every model gets the epochs the suite says, however many models a method trains
    total    every front gets the epochs of K models, K the number of preferences: what one model a preference takes.
             A method of one model an objective, or of one for all preferences, trains each so many times longer

Preferences drawn at once count as so many passes, unless they meet the net at its end and share all that lies before.
A reference ranker is trained with the epochs of one model under both. Trees have rounds, not epochs: their grid says
how many, and their page what that came to (`ltr.rankers.operations`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ltr.rankers.config import TrainingConfig
from ltr.schema import bind

from .suite import Suite, Variant

__all__ = ["budget_of", "with_budget"]


def budget_of(suite: Suite, variant: Variant) -> str:
    """The budget a system is held to, "model" or "total"."""
    return variant.budget or suite.budget or "model"


def with_budget(suite: Suite, variant: Variant, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a method with the epochs that its budget gives each of its models."""
    from ltr.methods import METHODS
    from ltr.methods.plug_in import PlugInConfig, trainings
    from ltr.objectives import lattice

    found, claims = dict(params), METHODS[variant.method].claims
    if budget_of(suite, variant) == "model" or "training" not in claims["config"].__dataclass_fields__:
        return found
    m = len(suite.objectives)
    preferences = len(lattice(m, suite.preferences))
    models = {"one": 1, "objective": m, "preference": preferences}[claims["models"]]
    if claims["config"] is PlugInConfig:  # every form that is tried, and one net for all objectives
        models = trainings(bind(PlugInConfig, found), m)
    training = dict(found.get("training", {}))
    epochs = training.get("epochs", TrainingConfig().epochs)
    longer = max(1, preferences // (models * _passes(found)))
    found["training"] = training | {"epochs": longer * epochs}
    if claims["base"] and longer > 1:
        found.setdefault("reference_epochs", epochs)
    return found


def _passes(params: Mapping[str, Any]) -> int:
    """How often a step goes through the net."""
    from ltr.rankers.conditional.nets import AT_THE_END

    kind = params.get("conditioning", {}).get("kind")
    return 1 if kind in AT_THE_END else params.get("sampled", 1)
