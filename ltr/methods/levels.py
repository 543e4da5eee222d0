"""The criterion of RiC: find the documents that have the labels one is told."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ltr import ops
from ltr.objectives import counting, list_targets

from .criteria import Criterion

__all__ = ["Levels"]


class Levels(Criterion):
    """Preferences are levels v, labels divided by the best label of their objective.

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

    def forward(self, scores, labels, where, preferences, *, beta=None, reference=None, generator=None) -> Tensor:
        alike = (self.levels(labels).unsqueeze(1) == preferences.unsqueeze(2)).all(-1) & where.unsqueeze(1)
        target = alike.to(scores.dtype)
        target = target / target.sum(-1, keepdim=True).clamp(min=1)
        values = -(target * ops.log_softmax(scores, where.unsqueeze(1).expand_as(scores))).sum(-1)
        heard = counting(labels, where).any(-1)
        return values.where(heard.unsqueeze(-1), 0.0).sum() / (heard.sum() * scores.shape[1]).clamp(min=1)

    def extra_repr(self) -> str:
        return f"best={self.best}, gains={self.gains}, sampled={self.sampled}"
