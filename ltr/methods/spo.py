"""SPO, sequential preference optimisation (2405.12739): one objective after another, each round from the last model.

    round t   CE(z^t, softmax(beta (s - s_{t-1}) - sum_{i<t} a beta (s_i - s_{i-1})))        s_0 the reference

With one a and one beta for all rounds the sum telescopes, and the bracket is beta (s - r_t) with

    r_t = s_{t-1} + a (s_{t-1} - s_0)

so that a round is DPO from an extrapolated reference; a = 0 is plain fine-tuning of the last model. The net of a round
starts at r_t, where the bracket is 0. On free scores d_t = beta (s_t - s_{t-1}) ends at log z^t + sum_{i<t} a d_i.

a is the multiplier lambda of the constraint: maximising E[R^t + lambda R^{t-1}] - beta KL(p || p_{t-1}), with
the reward R^{t-1} = beta (s_{t-1} - s_{t-2}) of the round before, ends at R^t = beta (s_t - s_{t-1}) - lambda R^{t-1},
which is the bracket, sign included. It is free; 1 is our default.

The idea is from a secondary source, the formula [recalled], the sign of its second term derived. w has no place in
it: one chain gives one point, and the order of the objectives is a setting. Show all orders for m = 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.rankers.config import check

from .base import METHODS, FitContext
from .criteria import Fixed, Importance
from .reference import ReferenceConfig, ReferenceMethod, train_plain
from .terms import Term

__all__ = ["SPO", "SPOConfig", "next_reference"]


@dataclass(frozen=True)
class SPOConfig(ReferenceConfig):
    """A round for each objective. The epoch of round t is chosen by the mean measure of objectives 1 to t.

    Attributes:
        order: names of the objectives in the order of the rounds; empty: that of the task.
        alpha: a, the multiplier lambda: how much of what earlier rounds have learned stays spoken for.
    """

    order: tuple[str, ...] = ()
    alpha: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check(self, alpha=(self.alpha >= 0, "0 or more"))


def next_reference(first, last, alpha: float):
    """r_t = s_{t-1} + a (s_{t-1} - s_0), arrays or tensors of one shape."""
    return last + alpha * (last - first)


@METHODS.register(
    "spo",
    formula="CE(z^t, softmax(beta (s - s_{t-1}) - sum_{i<t} a beta (s_i - s_{i-1}))), t = 1 ... m",
    source="2405.12739: idea [2nd], formula [recalled]; list form ours",
    config=SPOConfig,
    preference="ignored",
    means="none",
    base=True,
    models="objective",
    scaling=False,
)
class SPO(ReferenceMethod):
    """A chain of nets, one a round; all of them are run to score."""

    config: SPOConfig

    def _asked(self, m: int) -> np.ndarray:
        return np.full((1, m), 1 / m)

    def _train(self, context: FitContext) -> int:
        c, names = self.config, context.objectives
        order = c.order or names
        if sorted(order) != sorted(names):
            raise InputError("the order of SPO names every objective once", expected=list(names), came=list(order))
        loss = self._loss()
        first = last = context.references
        one = np.eye(len(names))[:1]  # a plain net is told of no preference
        self.models, seen = [], np.zeros(len(names))
        for t, name in enumerate(order):
            k = names.index(name)
            seen[k] = 1
            w = tuple(np.eye(len(names))[k])
            references: Any = tuple(
                None if a is None else next_reference(a, b, c.alpha).astype(np.float32)
                for a, b in zip(first, last, strict=True)
            )
            here = replace(context, references=references, weights=context.weights if t == 0 else None)
            criterion = Importance(loss, Fixed(w))
            ranker = train_plain(self, here, criterion, (seen / seen.sum())[None], f"round{t}")
            self.models.append(ranker)
            last = tuple(  # type: ignore[assignment]  # of two
                None if split is None else ranker.score(split, one, reference=r if c.augmented else None)[0]
                for split, r in zip((context.train, context.vali), references, strict=True)
            )
        return len(self.models)

    def terms(self, w: np.ndarray) -> list[Term]:
        """s_{t+1} adds to r_{t+1}, in which all that was learned before counts 1 + a times."""
        if not self.config.augmented:  # the last net knows the earlier rounds from its loss only
            return [Term(1.0, self.models[-1], w)]
        rounds = len(self.models)
        return [Term((1 + self.config.alpha) ** (rounds - 1 - t), net, w) for t, net in enumerate(self.models)]
