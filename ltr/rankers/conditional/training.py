"""A training step of a conditioned net: draw preferences, score the lists, descend what a criterion makes of that.

Everything else (epochs, seeds, checkpoints, the best epoch) is the loop of `ListModule`. The criterion comes from above
(methods/), so that this room knows no loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltr.rankers.base import Job
from ltr.rankers.training.loop import ListModule
from ltr.rankers.training.validation import Selection
from ltr.types import Batch

__all__ = ["ConditionedJob", "ConditionedModule", "Trainee"]


class Trainee(nn.Module):
    """The net and the criterion it is trained with: what a criterion learns or remembers is kept and resumed, too."""

    def __init__(self, scorer: nn.Module, criterion: nn.Module):
        super().__init__()
        self.scorer, self.criterion = scorer, criterion


@dataclass(frozen=True)
class ConditionedJob(Job):
    """One call of `fit`, checked.

    Attributes:
        measures: one an objective.
        quality: `quality(values [preference, objective], preferences)` -> the number that selects the epoch.
        preferences: float32 `[preference, objective]` the validation lists are scored for.
        beta: what the net is told of the temperature there; None: it does not ask.
        references: s_ref of train and vali, float32 `[documents]`; None where there is none.
        controls: an epoch is judged at the best of these lambda, s_ref + lambda (s - s_ref), since that is how it will
            be used; judged at lambda = 1, an epoch that has left the reference far enough would look late.
    """

    measures: tuple[str, ...] = ()
    quality: Any = None
    preferences: np.ndarray | None = None
    beta: float | None = None
    references: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    controls: tuple[float, ...] = (1.0,)

    def measure(self, scores: np.ndarray) -> float:
        """From flat scores `[documents, preference]` of the validation split; NaN where no list counts."""
        return self.judged(self.values(np.ascontiguousarray(scores.T)))

    def values(self, scores: np.ndarray) -> np.ndarray:
        """Every measure after every control, `[control, row, objective]`, of scores `[row, documents]`."""
        s_ref = np.float32(0) if self.references[1] is None else self.references[1]
        moved = scores - s_ref
        each = [scores if c == 1 else s_ref + np.float32(c) * moved for c in self.controls]
        return np.array([[selection(rows) for selection in self._selections] for rows in each]).mT

    def judged(self, values: np.ndarray) -> float:
        """The number that selects, of values `[control, preference, objective]`."""
        heard = [v for v in values if not np.isnan(v).all()]
        return max((float(self.quality(v, self.preferences)) for v in heard), default=float("nan"))

    @cached_property
    def _selections(self) -> list[Selection]:
        return [Selection(measure, self.vali, k) for k, measure in enumerate(self.measures)]


class ConditionedModule(ListModule):
    """Trains a `Trainee`."""

    job: ConditionedJob

    def on_fit_start(self) -> None:
        super().on_fit_start()
        pad = lambda flat: None if flat is None else torch.from_numpy(np.append(flat, np.float32(0))).to(self.device)  # noqa: E731
        # Padding carries row -1, the last one.
        self.references = [pad(each) for each in self.job.references]
        self.preferences = torch.as_tensor(self.job.preferences, dtype=torch.float32, device=self.device)
        told = self.job.beta
        self.beta = None if told is None else self.preferences.new_full((len(self.preferences),), told)

    def _reference(self, part: int, batch: Batch) -> Tensor | None:
        return None if self.references[part] is None else self.references[part][batch.document]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        criterion, reference = self.net.criterion, self._reference(0, batch)
        preferences, beta = criterion.draw(batch.labels, batch.where, self.generator)
        asks = self.net.scorer.config.temperature
        scores = self.net.scorer(
            batch.features, batch.where, preferences, beta=beta if asks else None, reference=reference
        )
        given = (batch.labels, batch.where, preferences)
        with torch.autocast(self.device.type, enabled=False):
            losses = criterion(scores, *given, beta=beta, reference=reference, generator=self.generator)
        self.seen = (scores, preferences, given, reference, losses)
        self.total += losses.detach().mean()
        return losses

    def backward(self, losses: Tensor, *args, **kwargs) -> None:
        scores, preferences = self.seen[:2]
        self.net.criterion.backward(losses, scores, preferences, self.net.scorer.parameters(), self.generator)

    def on_train_batch_end(self, outputs, batch: Batch, batch_idx: int) -> None:
        criterion, (_, preferences, given, reference, _) = self.net.criterion, self.seen
        after = None
        if criterion.looks_back:
            with torch.no_grad():
                scores = self.net.scorer(batch.features, batch.where, preferences, reference=reference)
                after = criterion.objectives(scores, *given[:2], reference=reference, generator=self.generator)
        criterion.update(after)
        self.seen = None
        super().on_train_batch_end(outputs, batch, batch_idx)

    def on_validation_epoch_start(self) -> None:
        rows = self.job.vali.n_documents + 1
        self.scores = torch.zeros(rows, len(self.preferences), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):
            scores = self.net.scorer(
                batch.features, batch.where, self.preferences, beta=self.beta, reference=self._reference(1, batch)
            )
        self.scores[batch.document] = scores.mT
