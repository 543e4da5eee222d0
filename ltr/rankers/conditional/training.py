"""A training step of a conditioned net: draw preferences, score the lists, descend what a criterion makes of that.

Everything else (epochs, seeds, checkpoints, the best epoch) is the loop of `ListModule`. The criterion comes from above
(methods/), so that this room knows no loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ltr.rankers.config import TrainingConfig
from ltr.rankers.training.job import FitJob
from ltr.rankers.training.loop import ListModule
from ltr.rankers.training.validation import PreferenceQuality
from ltr.types import Batch

from .checkpoints import KeptEpochs
from .tensors import at, padded

__all__ = ["ConditionedModule", "Trainee"]


class Trainee(nn.Module):
    """The net and the criterion it is trained with: what a criterion learns or remembers is kept and resumed, too."""

    scorer: Any  # a net that scores for preferences
    criterion: Any

    def __init__(self, scorer: nn.Module, criterion: nn.Module):
        super().__init__()
        self.scorer, self.criterion = scorer, criterion


class ConditionedModule(ListModule):
    """Trains a `Trainee`.

    Args:
        net, job, settings: as of `ListModule`.
        preferences: float32 `[preference, objective]` the validation lists are scored for.
        beta: temperature they are scored at, for a net that is conditioned on it.
        references: s_ref of train and vali, float32 `[documents]`; None where there is none.
        each: keep the best epoch of every preference, too.
    """

    net: Trainee

    def __init__(
        self,
        net: Trainee,
        job: FitJob,
        settings: TrainingConfig,
        preferences: np.ndarray,
        beta: float | Sequence[float] | None,
        references: tuple[np.ndarray | None, np.ndarray | None],
        each: bool = False,
    ):
        super().__init__(net, job, settings)
        self.shown, self.temperature, self.flat, self.each = preferences, beta, references, each

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.references = [None if flat is None else padded(flat, self.device) for flat in self.flat]
        self.preferences = torch.as_tensor(self.shown, dtype=torch.float32, device=self.device)
        beta, many = self.temperature, len(self.preferences)
        self.beta = None if beta is None else self.preferences.new_tensor(beta).expand(many, *np.shape(beta))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        criterion, reference = self.net.criterion, at(self.references[0], batch)
        preferences, beta = criterion.draw(batch.labels, batch.where, self.generator)
        asks = self.net.scorer.config.temperature
        scores = self.net.scorer(
            batch.features, batch.where, preferences, beta=beta if asks else None, reference=reference
        )
        given = (batch.labels, batch.where, preferences)
        with torch.autocast(self.device.type, enabled=False):
            told = {"reference": reference, "weights": batch.weights, "generator": self.generator}
            losses = criterion(scores, *given, beta=beta, **told)
        self.seen = (scores, preferences, given, told)
        self.total += losses.detach().mean()
        return losses

    def backward(self, loss: Tensor, *args, **kwargs) -> None:
        scores, preferences = self.seen[:2]
        self.net.criterion.backward(loss, scores, preferences, self.net.scorer.parameters(), self.generator)

    def on_train_batch_end(self, outputs, batch: Batch, batch_idx: int) -> None:
        criterion, (_, preferences, given, told) = self.net.criterion, self.seen
        after = None
        if criterion.looks_back:
            with torch.no_grad():
                scores = self.net.scorer(batch.features, batch.where, preferences, reference=told["reference"])
                after = criterion.objectives(scores, *given[:2], **told)
        criterion.update(after)
        del self.seen
        super().on_train_batch_end(outputs, batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        if not self.each:
            return super().on_validation_epoch_end()
        quality = cast(PreferenceQuality, self.job.select)
        values, every = quality.values(self.validation_scores()), range(len(self.shown))
        whole = quality.judged(values, self.shown)
        self.measured = None if math.isnan(whole) else whole
        self.of_each = [quality.judged(values[:, i : i + 1], self.shown[i : i + 1]) for i in every]
        for i in every:  # what a preference asks for counts on no list: validation cannot judge it
            if np.isnan(values[:, i, self.shown[i] > 0]).all():
                self.of_each[i] = math.nan
        return None

    def on_train_epoch_end(self) -> None:
        if self.each:
            self.kept.offer(self.current_epoch + 1, self.of_each, self.net.scorer)
        super().on_train_epoch_end()

    @property
    def kept(self) -> KeptEpochs:
        """The best epochs of the preferences so far."""
        return KeptEpochs(self.state.kept, len(self.shown))

    def last_gain(self) -> int:
        return max(super().last_gain(), self.kept.last if self.each else 0)

    def chosen(self) -> tuple[nn.Module, dict[str, Any]]:
        """The net to score with, and what validation chose: epoch and value of the best, and the epochs of each."""
        state, scorer = self.state, self.net.scorer
        best = {k: v for k, v in (state.best or state.history[-1]).items() if k in ("epoch", "vali")}
        if not (self.each and state.best):
            return scorer, best
        otherwise = {"epoch": state.best["epoch"], "net": scorer.state_dict()}
        shown = torch.as_tensor(self.shown, device=next(scorer.parameters()).device)
        net, epochs = self.kept.net(scorer, shown, otherwise)
        return net.eval(), {**best, "epochs": epochs}

    def score_validation(self, batch: Batch) -> Tensor:
        reference = at(self.references[1], batch)
        scores = self.net.scorer(batch.features, batch.where, self.preferences, beta=self.beta, reference=reference)
        return scores.mT
