"""Blends: weighted means of rankers of any kind, trees and nets, whose weights validation chooses."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ltr.rankers.config import check
from ltr.rankers.training.job import ObjectiveJob
from ltr.types import Split

from .composed import ComposedRanker, Member, register_composed, spread

__all__ = ["BlendConfig", "BlendRanker", "by_loss", "by_measure"]


@dataclass(frozen=True)
class BlendConfig:
    """Weighted mean of the scores of several rankers; the weights are 0 or more and sum to 1.

    A member's scores count in units of their spread (the root mean square of what is left when the mean of each list
    is taken off, over validation), so that a weight is a share of the say. The lists that chose the members' epochs
    and trees choose the weights, too.

    Attributes:
        members: what is blended; at least one. Nets are trained with the loss and the training of the blend, unless a
            member says otherwise.
        weights: measure (the multiple of 1/`parts` with the best selection measure on validation), loss (the least mean
            of the blend's loss on validation, a convex problem where the loss is convex) or equal. Without validation
            all are equal.
        parts: of measure, into how many the sum is divided. Two members are searched through; of more, parts are moved
            between two at a time until no move helps.
    """

    members: tuple[Member, ...] = field(default_factory=lambda: (Member("lightgbm"), Member("mlp")))
    weights: Literal["measure", "loss", "equal"] = "measure"
    parts: int = 20

    def __post_init__(self):
        check(self, members=(len(self.members) >= 1, "one or more"), parts=(self.parts >= 1, "1 or more"))

    @property
    def rankers(self) -> tuple[Member, ...]:
        """What is trained for it."""
        return self.members


@register_composed(
    "blend",
    BlendConfig,
    formula="s = sum_b w_b s_b / spread(s_b), w_b >= 0, sum_b w_b = 1, w by validation",
    source="stacking with non-negative weights: Breiman, Machine Learning 24 (1996), Stacked Regressions",
)
class BlendRanker(ComposedRanker):
    """The blend of fitted rankers. One member alone scores as it does by itself.

    `best` has the weights, and what each member reaches by itself on validation.

    Attributes:
        models: the members; also in the subfolders `member-0`, ... of a saved folder.
    """

    @property
    def factors(self) -> np.ndarray:
        """What the raw scores of each member are multiplied with, `[member]`; they sum to 1."""
        return np.array(self.best["factors"])

    @property
    def _folders(self) -> list[str]:
        return [f"member-{b}" for b in range(len(self.config.members))]

    def _fit(self, job: ObjectiveJob) -> int:
        c, began = self.config, time.perf_counter()
        self.models = [
            member.fitted(job, self.training, name, job.loss)
            for member, name in zip(c.members, self._folders, strict=True)
        ]
        lists = job.train if job.vali is None else job.vali
        scores = np.stack([model.score(lists).astype(np.float64) for model in self.models])
        spreads = np.array([spread(each, lists) for each in scores])
        weights = np.full(len(scores), 1 / len(scores))
        if job.vali is not None and c.weights == "measure":
            weights = by_measure(job.select, scores / spreads[:, None], c.parts)
        elif job.vali is not None and c.weights == "loss":
            labels = job.vali.label(job.vali.objectives[job.objective])
            weights = by_loss(job.loss, scores / spreads[:, None], labels, job.vali.lengths)
        factors = weights / spreads
        self.best = {
            "epoch": 1,
            "vali": None,
            "weights": weights.tolist(),
            "factors": (factors / factors.sum()).tolist(),
        }
        if job.vali is not None:
            value = float(job.select(self._score(job.vali)))
            alone = [float(job.select(each)) for each in scores]
            self.best |= {"vali": None if np.isnan(value) else value, "alone": np.nan_to_num(alone).tolist()}
        self.history = [{"epoch": 1, "loss": None, "vali": self.best["vali"]}]
        return self._trained(self.models, began)

    def _score(self, split: Split) -> np.ndarray:
        total = sum(
            f * model.score(split).astype(np.float64) for f, model in zip(self.factors, self.models, strict=True)
        )
        return np.asarray(total, np.float32)


def by_measure(measure: Callable[[np.ndarray], np.ndarray], scores: np.ndarray, parts: int) -> np.ndarray:
    """Weights `[member]`, multiples of 1/parts, of the blend of scores `[member, documents]` that measures best.

    From the best member, or from equal weights where they are better, parts move from one member to another as long as
    that helps; of equally good moves the first is made. Two members: the best of all multiples.

    >>> by_measure(lambda s: -abs(s - 0.3).sum(-1), np.array([[0.0], [1.0]]), 10)
    array([0.7, 0.3])
    """
    n = len(scores)
    equal = parts // n + (np.arange(n) < parts % n)
    starts = np.stack([*(parts * np.eye(n, dtype=int)), equal])
    values = np.nan_to_num(measure(starts / parts @ scores), nan=-np.inf)
    best, reached = starts[np.argmax(values)], values.max()
    unit = np.eye(n, dtype=int)
    while n > 1:
        pairs = [(i, j, k) for i in range(n) for j in range(n) if i != j for k in range(1, best[i] + 1)]
        moves = np.stack([best + k * (unit[j] - unit[i]) for i, j, k in pairs])
        values = np.nan_to_num(measure(moves / parts @ scores), nan=-np.inf)
        if not values.max() > reached:
            break
        best, reached = moves[np.argmax(values)], values.max()
    return best / parts


def by_loss(loss: Any, scores: np.ndarray, labels: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Weights `[member]` of the blend with the least mean loss: min of l(sum_b u_b s_b) over u >= 0, w = u / sum u.

    The sum of u is free, because a loss minds the scale of scores and a ranking does not. Where no u but 0 helps, the
    weights are equal.

    Args:
        loss: one value a list, with its `reduce`; its gradient must be that of its value, which lambdas are not.
        scores: float64 `[member, documents]`.
        labels: `[documents]`.
        lengths: documents of each list.
    """
    import torch
    from scipy.optimize import minimize

    where = torch.arange(int(lengths.max())) < torch.as_tensor(np.asarray(lengths))[:, None]
    padded = lambda x: torch.zeros(where.shape, dtype=torch.float64).masked_scatter_(where, torch.as_tensor(x))  # noqa: E731
    columns, graded = torch.stack([padded(each) for each in scores]), padded(np.asarray(labels, np.float64))

    def value(u: np.ndarray) -> tuple[float, np.ndarray]:
        weights = torch.tensor(u, requires_grad=True)
        generator = torch.Generator().manual_seed(0)  # the same draws, of a loss that draws, for every u
        values = loss(torch.einsum("b,bql->ql", weights, columns), graded, where, generator=generator)
        total = loss.reduce(values, graded, where)
        (gradient,) = torch.autograd.grad(total, weights)
        return total.item(), gradient.numpy()

    n = len(scores)
    found = minimize(value, np.full(n, 1 / n), jac=True, method="L-BFGS-B", bounds=[(0, None)] * n)
    weights = np.asarray(found.x)
    return weights / weights.sum() if weights.sum() > 0 else np.full(n, 1 / n)
