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

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.objectives import counting, list_targets
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import check

from .base import METHODS, FitContext, Method, MethodConfig
from .criteria import Criterion
from .terms import Term

__all__ = ["Levels", "RiC", "RiCConfig", "desired_levels"]


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
                kind.kind not in ("none", "mixture", "outputs") and kind.start == "scratch",
                'a kind that takes inputs, start = "scratch"',
            ),
            losses=(not self.losses, "none: there is no list loss"),
            loss=(
                self.loss == "listnet" and not self.loss_params,
                "left alone, it is a cross entropy of its own",
            ),
            high=(self.low < self.high, "above low"),
            sampled=(self.sampled >= 1, "1 or more"),
        )


class Levels(Criterion):
    """Find the documents that have the labels one is told. Preferences are levels: labels over the best of train.

    Args:
        best: best label of train, one an objective.
        gains: what labels are worth, one an objective; they say which documents are drawn.
        sampled: documents drawn from a list at once.
    """

    def __init__(self, best: Sequence[float], gains: Sequence[str], sampled: int = 1):
        super().__init__(None, None)
        self.best, self.gains, self.sampled = tuple(best), tuple(gains), sampled

    def levels(self, labels: Tensor) -> Tensor:
        return labels.float() / labels.new_tensor(self.best, dtype=torch.float32)

    def draw(self, labels: Tensor, where: Tensor, generator: torch.Generator) -> tuple[Tensor, None]:
        """Levels `[batch, preference, objective]` of documents drawn with chances mean_k z^k (any real one of a list
        that is blank in all objectives, which then counts for nothing)."""
        chances = list_targets(labels.float(), where, gain=self.gains).sum(-1)
        chances = torch.where((chances > 0).any(-1, keepdim=True), chances, where.float())
        chances = chances + (~where.any(-1, keepdim=True)).float()  # a list without documents
        d = torch.multinomial(chances, self.sampled, replacement=True, generator=generator)
        return self.levels(labels).gather(1, d.unsqueeze(-1).expand(-1, -1, labels.shape[-1])), None

    def forward(
        self, scores, labels, where, preferences, *, beta=None, reference=None, weights=None, generator=None
    ) -> Tensor:
        alike = (self.levels(labels).unsqueeze(1) == preferences.unsqueeze(2)).all(-1) & where.unsqueeze(1)
        target = alike.to(scores.dtype)
        target = target / target.sum(-1, keepdim=True).clamp(min=1)
        target = target if weights is None else target * weights.unsqueeze(1)
        values = -(target * ops.log_softmax(scores, where.unsqueeze(1).expand_as(scores))).sum(-1)
        counted = counting(labels, where).any(-1)
        return values.where(counted.unsqueeze(-1), 0.0).sum() / (counted.sum() * scores.shape[1]).clamp(min=1)

    def extra_repr(self) -> str:
        return f"best={self.best}, gains={self.gains}, sampled={self.sampled}"


def desired_levels(preferences: np.ndarray, norm: str = "l2", low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """low + (high - low) w / norm(w), `[preference, objective]`.

    >>> desired_levels(np.array([[1.0, 0.0], [0.5, 0.5]]), "linf").tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    order = {"l2": 2, "linf": np.inf, "l1": 1}[norm]
    w = np.asarray(preferences, dtype=np.float64)
    return low + (high - low) * w / np.linalg.norm(w, ord=order, axis=-1, keepdims=True)


@METHODS.register(
    "ric",
    formula="CE(1[labels of x are v], softmax(s(x; v))), v the labels of a document; v = low + (high - low) w / |w|",
    source="RiC, 2402.10207; form for lists ours",
    config=RiCConfig,
    preference="continuous",
    models="one",
)
class RiC(Method):
    """One net."""

    config: RiCConfig

    def _fit(self, context: FitContext) -> int:
        c, best = self.config, np.asarray(context.train.labels).max(0)
        if not (best > 0).all():
            blank = [name for name, b in zip(context.objectives, best, strict=True) if not b > 0]
            raise InputError("no label above 0 in train", came=blank, do="Leave these objectives out.")
        ranker = ConditionedRanker(c.ranker, c.ranker_params, c.conditioning, c.training, seed=context.seed)
        context.fit_conditioned(
            ranker,
            criterion=Levels(tuple(best.tolist()), self.gains, c.sampled),
            preferences=self._levels(context.preferences),
            # The net is told levels; an epoch is judged by the weights they stand for.
            quality=lambda values, _: float(np.nansum(values * context.preferences, axis=1).mean()),
        )
        self.models = [ranker]
        return 1

    def _levels(self, preferences: np.ndarray) -> np.ndarray:
        return desired_levels(preferences, self.config.norm, self.config.low, self.config.high)

    def terms(self, w: np.ndarray) -> list[Term]:
        return [Term(1.0, self.models[0], self._levels(w))]
