"""The training of one ranker with one loss, as a LightningModule of plain arguments: under our Trainer or a user's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ltr.datasets.transforms import Transform
from ltr.errors import InputError, say_once
from ltr.rankers.base import RANKERS, named_loss
from ltr.rankers.config import TrainingConfig
from ltr.rankers.nets import OwnNet, build, check_net
from ltr.rankers.notes import blank_lists
from ltr.schema import bind, to_dict
from ltr.types import Batch, Split

from .job import ObjectiveJob, check_splits
from .loop import ListModule
from .prepare import seeded
from .validation import ValidationMeasure

__all__ = ["OPTIMISATION", "RankingModule", "TrainerFace"]

# Settings of a module; those of the batches are the data's, those of the loop the Trainer's.
OPTIMISATION = (
    *("optimiser", "learning_rate", "weight_decay", "momentum", "schedule", "step_at", "step_factor", "warmup"),
    *("epochs",),
)


class TrainerFace(ListModule, ABC):
    """What a module adds that is trained by a Trainer of the user's, with the data of a `RankingDataModule`.

    A child has `n_features`, inputs of the net, in its hyperparameters, and writes `_build(width, objectives)`,
    `_job(train, vali)` and `_measured(scores, split, stage)`.
    """

    transform: Transform | None = None
    _data: Any = None

    @abstractmethod
    def _build(self, width: int, objectives: Sequence[str]) -> None:
        """Builds the net and what it is trained with."""

    @abstractmethod
    def _job(self, train: Split, vali: Split | None) -> Any:
        """The lists, as the training core takes them."""

    @abstractmethod
    def _measured(self, scores: np.ndarray, split: Split, stage: str) -> Mapping[str, float]:
        """What is logged of scores `[documents]`, name -> value."""

    def setup(self, stage: str) -> None:
        if self.keeps_books:
            return
        data: Any = getattr(self.trainer, "datamodule", None)
        if not hasattr(data, "splits"):
            raise InputError("no data to train on", expected="Trainer.fit(module, datamodule=RankingDataModule(...))")
        self._data, self.transform = data, data.transform
        train, vali = data.splits["train"], data.splits["vali"]
        if train is not None:
            self.job = self._job(train, vali)
            columns = [self.job.objective] if hasattr(self.job, "objective") else range(len(train.objectives))
            for each in blank_lists(train, columns, vali):
                say_once(f"note: {each}")
        if self.net is None:
            with seeded(self.hparams["seed"]):
                self._build(data.width, train.objectives)
            data.ready.prepare([self.net])
        if (inputs := self.hparams["n_features"]) not in (None, data.width):
            raise InputError("a net of other inputs than the data have", expected=f"{inputs} features", came=data.width)
        if isinstance(self.net, OwnNet):
            check_net(self.net, data.width, type(self.net.net).__name__)
        self.hparams["n_features"] = data.width
        epochs = self.trainer.max_epochs or 0
        if epochs > 0:  # the schedules end with the training
            self.settings = bind(TrainingConfig, {**to_dict(self.settings), "epochs": epochs})

    # Each process scores its share of the lists; all of them measure all lists, and find the same.

    def on_validation_epoch_start(self) -> None:
        super().on_validation_epoch_start()
        self._begin("vali")

    def on_test_epoch_start(self) -> None:
        self._begin("test")

    def _begin(self, role: str) -> None:
        self.scores = None
        if not self.keeps_books:
            self.scored = self._data.splits[role]
            self.measured_rows = torch.zeros(self.scored.n_documents + 1, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if not self.keeps_books:
            self.measured_rows[batch.document] = 1

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        self._end("vali")

    def on_test_epoch_end(self) -> None:
        self._end("test")

    def _end(self, stage: str) -> None:
        if self.trainer.sanity_checking or self.scores is None:
            return
        scores, split = self.validation_scores(), cast(Split, self.scored)
        if not self.keeps_books:  # limit_val_batches, fast_dev_run: the lists that were scored
            seen = self.trainer.strategy.reduce(self.measured_rows, reduce_op="sum")[:-1].cpu().numpy() > 0
            whole = np.append(seen, True)[split.offsets[:-1]] & (split.lengths > 0)
            if not seen.all():
                split, scores = split.take(np.flatnonzero(whole)), scores[..., seen]
        found = self._measured(scores, split, stage)
        counted = {f"{stage}/{name}": value for name, value in found.items() if value == value}
        self.measured = counted.get(f"{stage}/{next(iter(found))}") if stage == "vali" else self.measured
        self.log_dict(counted)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Rows of the split and their scores, `[documents of the batch]` (`[documents, row]` of several rankings)."""
        with torch.autocast(self.device.type, enabled=False):
            scores = self.score_validation(batch)
        return {"document": batch.document[batch.where], "score": scores[batch.where].float()}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.transform is not None:  # without it the weights mean nothing
            arrays = {key: torch.from_numpy(np.array(value)) for key, value in self.transform.arrays.items()}
            missing = [int(column) for column in self.transform.missing]
            levels = {column: values.tolist() for column, values in self.transform.levels.items()}
            kept = {"name": self.transform.name, "missing": missing, "arrays": arrays, "levels": levels}
            checkpoint["ltr_transform"] = kept

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        kept = checkpoint.get("ltr_transform")
        if kept is not None:
            arrays = {key: value.numpy() for key, value in kept["arrays"].items()}
            self.transform = Transform(kept["name"], arrays, kept["missing"], levels=kept.get("levels"))


class RankingModule(TrainerFace):
    """A net that ranks, and how it learns: a LightningModule of plain arguments.

    It logs `train/loss`, and `vali/MEASURE` and `test/MEASURE` measured once over all lists, whatever the batches and
    the number of processes. Everything random in an epoch follows from (seed, epoch): a resumed training is the
    uninterrupted one.

    Args:
        ranker: linear, mlp, transformer, dasalc, a net of `register_net`, or an `nn.Module` from features
            `[batch, list, feature]` (and where `[batch, list]`) to scores `[batch, list]`.
        loss: name in the catalogue of losses, or a function of your own (see `ltr.loss`).
        n_features: inputs of the net; found in the data by default, and kept in the checkpoint.
        objective: label column; the main one by default.
        measures: what is logged, under the names given here; the first selects in the suite's own training.
        ranker_params, loss_params: their parameters.
        seed: of weights, dropout and draws of the loss.
        optimiser, learning_rate, weight_decay, momentum: see `TrainingConfig`.
        schedule, step_at, step_factor, warmup: of the learning rate, over the Trainer's `max_epochs`.
        epochs: length of the schedule where the Trainer has no `max_epochs`.
    """

    shares = True

    def __init__(
        self,
        ranker: str | nn.Module = "mlp",
        loss: str | Callable = "lambdarank",
        *,
        n_features: int | None = None,
        objective: str | None = None,
        measures: Sequence[str] = ("nDCG@10",),
        ranker_params: dict[str, Any] | None = None,
        loss_params: dict[str, Any] | None = None,
        seed: int = 0,
        optimiser: str = "adam",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        momentum: float = 0.9,
        schedule: str = "constant",
        step_at: float = 0.5,
        step_factor: float = 0.1,
        warmup: float = 0.0,
        epochs: int = 100,
    ):
        given = {name: value for name, value in locals().items() if name in OPTIMISATION}
        super().__init__(cast(nn.Module, None), cast(Any, None), bind(TrainingConfig, given, where="module"))
        self.save_hyperparameters(ignore=["ranker", "loss", "loss_params"])
        self.loss: Any = named_loss(loss, **(loss_params or {}))
        named = hasattr(self.loss, "params")
        chosen: Any = self.loss
        known = {
            "loss": chosen.name if named else type(chosen).__name__,
            "loss_params": dict(chosen.params) if named else {},
            "ranker": ranker if isinstance(ranker, str) else type(ranker).__name__,
            "measures": [measures] if isinstance(measures, str) else list(measures),
        }
        self.save_hyperparameters(known)  # added to the others; loggers show what was saved, not what was set
        if isinstance(ranker, str):
            entry = RANKERS[ranker]
            if entry.claims["kind"] != "neural":
                nets = [each.name for each in RANKERS if each.claims["kind"] == "neural"]
                raise InputError(f"ranker {ranker!r} is no net", expected=f"{', '.join(nets)}, or a module")
            self.config = bind(entry.claims["config"], ranker_params or {}, where=ranker)
            if n_features is not None:
                with seeded(seed):
                    self._build(n_features, ())
        else:
            self.net = OwnNet.of(ranker)

    def _build(self, width: int, objectives: Sequence[str]) -> None:
        self.net = build(self.config, width)

    def _job(self, train: Split, vali: Split | None) -> ObjectiveJob:
        column = check_splits(train, vali, self.hparams["objective"])
        return ObjectiveJob(train=train, vali=vali, seed=self.hparams["seed"], objective=column, loss=self.loss)

    def _measured(self, scores: np.ndarray, split: Split, stage: str) -> dict[str, float]:
        if self.keeps_books:
            return {self.job.measure: float(self.job.select(scores))}  # type: ignore[attr-defined]
        column = split.objectives.index(self.hparams["objective"] or split.objectives[0])
        return {name: float(ValidationMeasure(name, split, column)(scores)) for name in self.hparams["measures"]}

    def reduced(self, loss: Any, values: Tensor, labels: Tensor, where: Tensor) -> Tensor:
        world = self.trainer.world_size
        if world == 1:
            return loss.reduce(values, labels, where)
        # The mean over the lists of all processes, through which only this one's have a gradient. DDP takes the mean of
        # the gradients where their sum is wanted.
        alone: list[Any] = [self.all_gather(x) for x in (values.detach(), labels, where)]
        alone[0][self.global_rank] = values
        return loss.reduce(*(x.flatten(0, 1) for x in alone)) * world

    def on_train_epoch_end(self) -> None:
        self.total = self.total / self.trainer.world_size
        super().on_train_epoch_end()


assert set(OPTIMISATION) <= {f.name for f in fields(TrainingConfig)}
