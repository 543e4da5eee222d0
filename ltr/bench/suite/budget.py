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
    config, m = bind(claims["config"], found), len(suite.objectives)
    preferences = len(lattice(m, suite.preferences))
    models = {"one": 1, "objective": m, "preference": preferences}[claims["models"]]
    if isinstance(config, PlugInConfig):  # every form that is tried, and one net for all objectives
        models = trainings(config, m)
    longer = max(1, preferences // (models * _passes(config)))
    found["training"] = {**found.get("training", {}), "epochs": longer * config.training.epochs}
    if claims["base"] and longer > 1:
        found.setdefault("reference_epochs", config.training.epochs)
    return found


def _passes(config: Any) -> int:
    """How often a step goes through the net."""
    from ltr.rankers.conditional.nets import DOCUMENTS_ONCE

    once = getattr(getattr(config, "conditioning", None), "kind", "") in DOCUMENTS_ONCE
    return 1 if once else getattr(config, "sampled", 1)
