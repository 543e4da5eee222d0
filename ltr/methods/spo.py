"""SPO, sequential preference optimisation (2405.12739): one objective after another, each round from the last model.

    round t   CE(z^t, softmax(beta (s - s_{t-1}) - sum_{i<t} a beta (s_i - s_{i-1})))        s_0 the reference

With one a and one beta for all rounds the sum telescopes, and the bracket is beta (s - r_t) with

    r_t = s_{t-1} + a (s_{t-1} - s_0)

so that a round is DPO from an extrapolated reference; a = 0 is plain fine-tuning of the last model. The net of a round
starts at r_t, where the bracket is 0. On free scores d_t = beta (s_t - s_{t-1}) ends at log z^t + sum_{i<t} a d_i.

The idea is from a secondary source, the formula [recalled], the sign of its second term after MODPO. w has no place in
it: one chain gives one point, and the order of the objectives is a setting. Show all orders for m = 2 and 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ltr.errors import InputError
from ltr.rankers.config import check
from ltr.types import Split

from .base import METHODS, Work, on_host
from .reference import ReferenceConfig, ReferenceMethod, train_plain

__all__ = ["SPO", "SPOConfig", "next_reference"]


@dataclass(frozen=True)
class SPOConfig(ReferenceConfig):
    """A round for each objective. The epoch of round t is chosen by the mean measure of objectives 1 to t.

    Attributes:
        order: names of the objectives in the order of the rounds; empty: that of the task.
        alpha: a, how much of what earlier rounds have learned stays spoken for.
    """

    order: tuple[str, ...] = ()
    alpha: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check(self, alpha=(self.alpha >= 0, "0 or more"))


def next_reference(first, last, alpha: float):
    """r_t = s_{t-1} + a (s_{t-1} - s_0), arrays or tensors of one shape."""
    return last + alpha * (last - first)


class SPO(ReferenceMethod):
    """A chain of nets, one a round; all of them are run to score."""

    config: SPOConfig

    def _asked(self, m: int) -> np.ndarray:
        return np.full((1, m), 1 / m)

    def _train(self, work: Work) -> int:
        from dataclasses import replace

        from ltr.losses.preference.base import dpo

        from .criteria import Fixed, Importance

        c, names = self.config, work.objectives
        order = c.order or names
        if sorted(order) != sorted(names):
            raise InputError("the order of SPO names every objective once", expected=list(names), came=list(order))
        loss = self._by_gain(dpo(c.loss, beta=c.beta, **c.loss_params))
        first = last = work.references
        self.models, seen = [], np.zeros(len(names))
        for t, name in enumerate(order):
            k = names.index(name)
            seen[k] = 1
            w = tuple(np.eye(len(names))[k])
            references = tuple(
                None if a is None else next_reference(a, b, c.alpha).astype(np.float32)
                for a, b in zip(first, last, strict=True)
            )
            here = replace(work, references=references, weights=work.weights if t == 0 else None)
            criterion = Importance(loss, Fixed(w))
            ranker = train_plain(self, here, criterion, (seen / seen.sum())[None], f"round{t}")
            self.models.append(ranker)
            last = tuple(
                None if split is None else on_host(self._round(ranker, split, r))
                for split, r in zip((work.train, work.vali), references, strict=True)
            )
        return len(self.models)

    def _round(self, ranker, split: Split, reference):
        one = np.eye(len(self.objectives))[:1]  # a plain net is told of no preference
        return ranker.score_tensor(split, one, reference=reference if self.config.augmented else None)[0]

    def _plain(self, split: Split, preferences: np.ndarray, s_ref):
        scores = s_ref = self._here(s_ref)
        for ranker in self.models:
            scores = self._round(ranker, split, next_reference(s_ref, scores, self.config.alpha))
        return scores.expand(len(preferences), -1)


@METHODS.register(
    "spo",
    formula="CE(z^t, softmax(beta (s - s_{t-1}) - sum_{i<t} a beta (s_i - s_{i-1}))), t = 1 ... m",
    source="2405.12739: idea [2nd], formula [recalled]; list form ours",
    config=SPOConfig,
    steers="none",
    means="none",
    base=True,
)
def spo(config: SPOConfig, **options) -> SPO:
    return SPO("spo", config, **options)
