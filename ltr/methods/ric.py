"""RiC, rewards in context (2402.10207), for lists: a net is told the labels a document should have, and finds it.

    training    draw a document d of the list with chances mean_k z^k, and tell the net its levels v = labels / best
                label of train; minimise CE(uniform on the documents with these levels, softmax(s(x; v)))
    scoring     v = low + (high - low) w / norm(w)

With everything known the scores end at log P(labels of x are v) + const. So v asks for a kind of document and not for
a trade-off: at a corner, for one that is good at its objective and at the level `low` in all others. What is read of
the paper: supervised training on rewards given as inputs, and the map from preferences to desired levels; a list and a
document drawn from it in place of a prompt and its answer are ours, and its second, online stage is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ltr.errors import InputError
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import ConditioningConfig, check
from ltr.types import Split

from .base import METHODS, Method, MethodConfig, Work

__all__ = ["RiC", "RiCConfig", "desired_levels"]


@dataclass(frozen=True)
class RiCConfig(MethodConfig):
    """One training; the loss is the cross entropy above.

    Attributes:
        conditioning: where the levels enter; the net starts from scratch.
        norm: of w in the map to levels: "l2", "linf" or "l1" (linear).
        low, high: levels of an objective that is not asked for, and of one that is asked for alone.
        sampled: documents drawn from a list at once.
    """

    conditioning: ConditioningConfig = ConditioningConfig("film", "scratch")
    norm: Literal["l2", "linf", "l1"] = "l2"
    low: float = 0.0
    high: float = 1.0
    sampled: int = 4

    def __post_init__(self):
        kind = self.conditioning
        check(
            self,
            conditioning=(
                kind.kind not in ("none", "mixture") and kind.start == "scratch",
                'a kind that takes inputs, start = "scratch"',
            ),
            loss=(self.loss == "listnet" and not self.loss_params, "left alone, it is a cross entropy of its own"),
            high=(self.low < self.high, "above low"),
            sampled=(self.sampled >= 1, "1 or more"),
        )


def desired_levels(preferences: np.ndarray, norm: str = "l2", low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """low + (high - low) w / norm(w), `[preference, objective]`.

    >>> desired_levels(np.array([[1.0, 0.0], [0.5, 0.5]]), "linf").tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    order = {"l2": 2, "linf": np.inf, "l1": 1}[norm]
    w = np.asarray(preferences, dtype=np.float64)
    return low + (high - low) * w / np.linalg.norm(w, ord=order, axis=-1, keepdims=True)


class RiC(Method):
    """One net."""

    config: RiCConfig

    def _fit(self, work: Work) -> int:
        from .levels import Levels

        c, best = self.config, work.train.labels.max(0)
        if not (best > 0).all():
            blank = [name for name, b in zip(work.objectives, best, strict=True) if not b > 0]
            raise InputError("no label above 0 in train", came=blank, do="Leave these objectives out.")
        ranker = ConditionedRanker(c.ranker, c.ranker_params, c.conditioning, c.training, seed=work.seed)
        ranker.fit(
            work.train,
            work.vali,
            criterion=Levels(tuple(best.tolist()), self.gains, c.sampled),
            measures=work.measures,
            preferences=self._levels(work.preferences),
            # The net is told levels; an epoch is judged by the weights they stand for.
            quality=lambda values, _: float(np.nansum(values * work.preferences, axis=1).mean()),
            seed=work.seed,
            folder=work.folder and work.folder / "model0",
            progress=work.progress,
            accelerator=work.accelerator,
        )
        self.models = [ranker]
        return 1

    def _levels(self, preferences: np.ndarray) -> np.ndarray:
        return desired_levels(preferences, self.config.norm, self.config.low, self.config.high)

    def _score(self, split: Split, preferences: np.ndarray):
        return self.models[0].score_tensor(split, self._levels(preferences))


@METHODS.register(
    "ric",
    formula="CE(1[labels of x are v], softmax(s(x; v))), v the labels of a document; v = low + (high - low) w / |w|",
    source="RiC, 2402.10207; form for lists ours",
    config=RiCConfig,
    steers="any",
    means="importance",
    base=False,
)
def ric(config: RiCConfig, **options) -> RiC:
    return RiC("ric", config, **options)
