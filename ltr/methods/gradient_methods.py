"""Steps made of the gradients of all objectives, by an aggregator.

    epo, wc-mgda     one model a preference, w_k l~_k made equal
    unconditioned    one model in all: MGDA, PCGrad, CAGrad, Nash-MTL, UW, DWA, FAMO ... (`rule`)

All of them come in two spaces (`space`), and a result should say which. "parameters": g_k is the gradient of l_k by the
weights of the net, which is what the papers mean; a step costs 2.4 plain ones at m = 3. "scores", the default: by the
scores of the batch, at 1.05 plain steps; where the Jacobian of the net is orthogonal both are the same step, but not of
GradDrop, which decides by coordinates and is another algorithm there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.objectives import AGGREGATORS, SCALARISATIONS, aggregator, scalarisation

from .base import METHODS, FitContext
from .criteria import Aggregated, Criterion, Fixed, Importance, Scalarised
from .scalarised import EachConfig, OneEach, balance

__all__ = ["AdaptiveConfig", "Aggregating", "Unconditioned", "UnconditionedConfig"]


@dataclass(frozen=True)
class AdaptiveConfig(EachConfig):
    """Settings of one training, repeated for every preference.

    Attributes:
        space: what gradients are taken by, "scores" or, as in the papers, "parameters"; the name of a result should say
            which.
    """

    space: Literal["scores", "parameters"] = "scores"


class Aggregating(OneEach):
    """EPO and WC-MGDA on normalised losses. For EPO a weight is at least .01: at 0 its balance has no direction."""

    normalised = True
    judge = staticmethod(balance)

    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        function = aggregator(self.name, len(w), **self.config.rule)
        return Aggregated(self._loss(), Fixed(tuple(w)), function, self.config.space, **self._scale())


@dataclass(frozen=True)
class UnconditionedConfig(AdaptiveConfig):
    """One training.

    Attributes:
        by: the rule, a scalarisation or an aggregator that no preference steers, or "linear" for equal weights.
        rule: its parameters.
    """

    by: str = "mgda"
    rule: dict[str, Any] = field(default_factory=dict)


class Unconditioned(OneEach):
    """One point: the rule alone decides the trade-off; every preference gets the same scores."""

    config: UnconditionedConfig

    def _asked(self, m: int) -> np.ndarray:
        return np.full((1, m), 1 / m)

    def _fit(self, context: FitContext) -> int:
        m = len(context.objectives)
        if not np.allclose(context.preferences, 1 / m):
            raise InputError(f"rule {self.config.by!r} is steered by no preference", do="Leave preferences out.")
        return super()._fit(context)

    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        c, m = self.config, len(w)
        if c.by == "linear":
            return Importance(self._loss(), Fixed(tuple(w)))
        unsteered = lambda catalogue: [e.name for e in catalogue if e.claims["preference"] != "steers"]  # noqa: E731
        rules = [*unsteered(SCALARISATIONS), *unsteered(AGGREGATORS)]
        if c.by not in rules or c.by == "epsilon-constraint":
            raise unknown_name("rule that no preference steers", c.by, ["linear", *rules])
        if c.by in SCALARISATIONS:
            return Scalarised(self._loss(), Fixed(tuple(w)), scalarisation(c.by, m, **c.rule))
        return Aggregated(self._loss(), Fixed(tuple(w)), aggregator(c.by, m, **c.rule), c.space)


for _name, _formula, _source in (
    (
        "epo",
        "sum_k a_k g_k, a towards equal w_k l~_k; g_k by the scores, or by the parameters",
        "Mahapatra and Rajan, ICML 2020 and 2108.00597",
    ),
    (
        "wc-mgda",
        "sum_k a_k g_k, a of weighted Chebyshev and MGDA; g_k by the scores, or by the parameters",
        "Momma et al., ICML 2022",
    ),
):
    METHODS.register(
        _name,
        formula=_formula,
        source=_source,
        config=AdaptiveConfig,
        preference="fixed",
        means="balance",
        models="preference",
        payoff=True,
    )(Aggregating)
METHODS.register(
    "unconditioned",
    formula="a rule that no preference steers: mgda, pcgrad, cagrad ... of gradients by the scores, or by the "
    "parameters; uw, dwa, famo ... of losses",
    source="see objectives/",
    config=UnconditionedConfig,
    preference="ignored",
    means="none",
    models="one",
)(Unconditioned)
