"""The training loop of the neural rankers: a LightningModule and the Trainer around it.

The epoch is the unit. Everything random in an epoch (order and samples of lists, dropout, noise, draws of the loss)
follows from (seed, epoch), and the learning rate is a function of time, so what a training must remember between two
epochs is small: weights, optimiser state, the best epoch so far. `State` is exactly that, written after every epoch; a
training that continues from it ends bit for bit where the uninterrupted one does (on one machine and device, where
torch's kernels are deterministic, as on a CPU).

Plain, conditioned and stacked trainings are modules of one kind: they say what a step and a validation batch are, and
leave optimiser, schedule, epochs, checkpoint and the choice of the best epoch to `ListModule`. Under somebody else's
Trainer (`ltr.lightning`) the same module leaves epochs, checkpoint and the best epoch to it and its callbacks.

This is the only file of the rankers that imports Lightning.
"""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ltr.datasets.batching.datamodule import ListDataModule
from ltr.errors import InputError, quiet
from ltr.lazy import lightning_alone
from ltr.rankers.config import TrainingConfig, rate
from ltr.rankers.tabm import scored
from ltr.seeds import seed_of
from ltr.types import Batch, Split

from .checkpoint import State
from .job import FitJob, ObjectiveJob
from .prepare import Prepared

with lightning_alone():
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.callbacks import Checkpoint, ModelSummary, ProgressBar
    from lightning.pytorch.plugins.environments import LightningEnvironment

__all__ = ["ListModule", "train"]


class ListModule(LightningModule):
    """Trains a net with a list loss, one value a list, reduced by the loss's own rule.

    Args:
        net: features `[batch, list, feature]`, where `[batch, list]` -> scores `[batch, list]`.
        job: data, seed, what selects, who listens; a child of this class reads no label column or loss from it.
        settings: of the training.
    """

    def __init__(self, net: nn.Module, job: FitJob, settings: TrainingConfig):
        super().__init__()
        self.net, self.job, self.settings, self.state = net, job, settings, State()
        self.measured: Any = None
        self.keeps_books = False  # of epochs and checkpoints; a user's Trainer has its own

    shares = False  # whether several processes may share the lists of a batch

    # -------------------------------------------------------------------------------------- what children may replace

    def resume(self, state: State) -> None:
        """Stands where the state does; a fresh one is the beginning."""
        self.state, self.began, self.keeps_books = state, time.perf_counter() - state.seconds, True
        if state.net:
            self.net.load_state_dict(state.net)

    def keep_best(self) -> None:
        """Takes over the weights of the best epoch, or stays at the last one where nothing was selected."""
        if self.state.best:
            self.net.load_state_dict(self.state.best["net"])
        self.net.eval()

    def snapshot(self) -> dict[str, Any]:
        """What `resume` needs of the net."""
        return self.net.state_dict()

    def learned(self):
        """What the optimiser moves, as it takes it: parameters, or groups of them with settings of their own."""
        return self.net.parameters()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        job = cast(ObjectiveJob, self.job)
        scores, batch = scored(self.net, batch)
        labels = batch.labels[..., job.objective]
        with torch.autocast(self.device.type, enabled=False):
            weighed = {} if batch.weights is None else {"weights": batch.weights}
            values = job.loss(scores, labels, batch.where, generator=self.generator, **weighed)
            loss = self.reduced(job.loss, values, labels, batch.where)
        self.total += loss.detach()  # stays on the device: no step waits for the host
        return loss

    def reduced(self, loss: Any, values: Tensor, labels: Tensor, where: Tensor) -> Tensor:
        """The loss's own mean over the lists of the batch; where processes share a batch, over all of its lists."""
        return loss.reduce(values, labels, where)

    def score_validation(self, batch: Batch) -> Tensor:
        """Scores `[batch, list]`, or `[batch, list, row]` of several rankings at once."""
        return self.net(batch.features, batch.where)

    def on_validation_epoch_end(self) -> None:
        # All lists at once: a mean of batch means would weigh the lists of a small batch more.
        self.measured = _none_for_nan(self.job.select(self.validation_scores()))  # NaN: no list counts
        if self.measured is not None:
            self.log("vali/selection", self.measured)

    def validation_scores(self) -> np.ndarray:
        """`[documents]`, or `[row, documents]` of several rankings."""
        scores = self.trainer.strategy.reduce(cast(Tensor, self.scores), reduce_op="sum")  # each from one process
        return cast(Tensor, scores)[:-1].movedim(-1, 0).contiguous().cpu().numpy()

    def on_train_epoch_end(self) -> None:
        state, epoch, vali = self.state, self.current_epoch + 1, self.measured
        loss = self.finite_loss(self.total.item() / self.trainer.num_training_batches)
        if not self.keeps_books:
            self.log("train/loss", loss)
            return
        if vali is not None and (not state.best or vali > state.best["vali"]):
            state.best = {"epoch": epoch, "vali": vali, "net": copy.deepcopy(self.net.state_dict())}
        waited = epoch - self.last_gain() if state.best else 0
        self.close_epoch({"epoch": epoch, "loss": loss, "vali": vali}, 0 < self.settings.patience <= waited, loss, vali)

    def last_gain(self) -> int:
        """The epoch that patience counts from."""
        return cast(int, self.state.best["epoch"])

    # -------------------------------------------------------------------------------------- what all trainings share

    def finite_loss(self, loss: float, whose: str = "") -> float:
        """The loss of this epoch.

        Raises:
            InputError: it is not finite.
        """
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged: the loss of epoch {self.current_epoch + 1} is {loss}{whose}",
                do="Lower learning_rate, set clip, or standardise the features",
            )
        return loss

    def close_epoch(self, row: dict[str, Any], stop: bool, loss: float | None, vali: float | None) -> None:
        """Writes down the epoch, leaves a checkpoint, and tells who listens.

        Args:
            row: of the history.
            stop: patience is at its end.
            loss, vali: for the listener.
        """
        state, job = self.state, self.job
        if loss is not None:
            self.log("train/loss", loss)
        stop = stop or self.trainer.should_stop  # a callback's decision
        state.epoch = row["epoch"]
        state.history.append(row)
        state.done = stop or state.epoch >= self.settings.epochs
        state.seconds = time.perf_counter() - self.began
        if job.folder is not None:
            state.net, state.optimiser = self.snapshot(), self.trainer.optimizers[0].state_dict()
            state.save(job.folder)
        self.trainer.should_stop = stop
        job.report(state.epoch, self.settings.epochs, loss, vali)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        optimiser: torch.optim.Optimizer
        if settings.optimiser == "sgd":
            optimiser = torch.optim.SGD(self.learned(), momentum=settings.momentum, **common)
        else:
            kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimiser]
            optimiser = kind(self.learned(), **common)
        if self.state.optimiser:
            optimiser.load_state_dict(self.state.optimiser)
        return optimiser

    def on_fit_start(self) -> None:
        if self.keeps_books:
            progress: Any = self.trainer.fit_loop.epoch_progress.current
            progress.ready = progress.started = progress.processed = progress.completed = self.state.epoch
        self.generator = torch.Generator(self.device)

    def on_train_epoch_start(self) -> None:
        epoch = self.current_epoch
        torch.manual_seed(seed_of("noise", self.job.seed, epoch))  # dropout and input noise
        self.generator.manual_seed(seed_of("loss", self.job.seed, epoch))
        self.total = torch.zeros((), device=self.device)
        self.epoch_began = self._clock()

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        now = rate(self.settings, self.progress_at(batch_idx))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = now

    def progress_at(self, batch_idx: int) -> float:
        """Epochs done at the end of this step, e.g. 2.5."""
        return self.current_epoch + (batch_idx + 1) / self.trainer.num_training_batches

    def on_train_batch_end(self, outputs, batch: Any, batch_idx: int) -> None:
        steps = self.trainer.num_training_batches
        if batch_idx + 1 == steps:
            self.total.sum().item()  # waits for the device, once an epoch: its steps are over now
            self.state.step_seconds.append((self._clock() - self.epoch_began) / steps)

    def _clock(self) -> float:
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        fits = self.trainer.state.fn == "fit" and not self.trainer.sanity_checking
        if fits and self.total.ndim == 0:  # before scores that are no numbers are what is told
            self.finite_loss(self.total.item() / self.trainer.num_training_batches)
        self.scores: Tensor | None = None
        self.scored = self.job.vali

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # as `score` does it, whatever the training's precision
            scores = self.score_validation(batch)
        if self.scores is None:
            # One row more than documents: padding carries row -1, so what is computed for it lands there.
            shape = (cast(Split, self.scored).n_documents + 1, *scores.shape[2:])
            self.scores = torch.zeros(shape, device=self.device)
        self.scores[batch.document] = scores


def train(module: ListModule, data: Prepared, identity: str) -> tuple[float, list[str]]:
    """Trains a module, from the checkpoint in the job's folder where there is one; its net ends at its best epoch.

    Args:
        module: what a step is; its `state` tells afterwards what happened.
        data: the batches.
        identity: of the training, see `Prepared.identity`.

    Returns:
        The seconds that were spent before the checkpoint it continued from, and what a user should hear of it.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the trainer was taken down; the checkpoint of the last whole epoch is there.
        InputError: the loss diverged, or the checkpoint belongs to another training.
    """
    state, note = State.load(data.job.folder, identity)
    before = state.seconds
    module.resume(state)
    if not state.done:
        _run(module, data)
    module.keep_best()
    return before, data.notes + ([note] if note else [])


def _none_for_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _run(module: ListModule, data: Prepared) -> None:
    device, settings, job = data.device, data.settings, data.job
    has = lambda kind: any(isinstance(each, kind) for each in job.callbacks)  # noqa: E731
    with (
        _quiet(),
        _held_signals() as look,
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        interrupts = _Interrupts(look)
        trainer = job.trainer or Trainer(
            accelerator={"cuda": "gpu"}.get(device.type, device.type),
            devices=1 if device.index is None or device.type == "cpu" else [device.index],
            precision=settings.precision,
            max_epochs=settings.epochs,
            gradient_clip_val=settings.clip or None,
            callbacks=list(job.callbacks),
            plugins=[LightningEnvironment()],  # one process, whatever a scheduler's variables suggest
            logger=job.logger or False,
            log_every_n_steps=max(1, min(50, len(data.batches))),
            num_sanity_val_steps=0,
            limit_val_batches=0 if data.vali is None else 1.0,
            enable_checkpointing=has(Checkpoint),
            enable_progress_bar=has(ProgressBar),
            enable_model_summary=has(ModelSummary),
        )
        cast(Any, trainer).callbacks.append(interrupts)
        module.net.train()
        try:
            trainer.fit(module, datamodule=ListDataModule(data.batches, data.vali))
        except SystemExit:
            look()  # at the end of an epoch Lightning makes a silent exit of a SIGTERM that waits here
            if interrupts.caught is None:
                raise
        finally:
            cast(Any, trainer).callbacks.remove(interrupts)
        if interrupts.caught is not None:
            # Lightning turns Ctrl-C into an exit or swallows it, depending on its version; callers want to see it.
            raise KeyboardInterrupt from interrupts.caught


class _Interrupts(Callback):
    """Looks for signals between batches, and remembers a KeyboardInterrupt that the trainer handles."""

    def __init__(self, look: Callable[[], None]):
        self.look = look
        self.caught: KeyboardInterrupt | None = None

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.look()

    def on_validation_batch_start(self, trainer, pl_module, batch, batch_idx, dataloader_idx=0) -> None:
        self.look()

    def on_exception(self, trainer, pl_module, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            self.caught = exception


@contextmanager
def _held_signals() -> Iterator[Callable[[], None]]:
    """While it lasts, Ctrl-C, SIGTERM and SIGHUP wait until somebody looks; a second one is not held.

    Python prints and forgets what a handler raises within a finaliser, of which a training runs many. Afterwards the
    handlers are the caller's again: Lightning leaves Ctrl-C ignored after an interrupt.
    """
    waiting: list[int] = []
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield lambda: None
        return
    numbers = [n for name in ("SIGINT", "SIGTERM", "SIGHUP") if (n := getattr(signal, name, None)) is not None]
    before = {n: handler for n in numbers if callable(handler := signal.getsignal(n))}

    def hold(number: int, frame: FrameType | None) -> None:
        if waiting:
            before[number](number, frame)
        waiting.append(number)

    def look() -> None:
        if waiting:
            before[waiting[0]](waiting[0], None)

    for number in before:
        signal.signal(number, hold)
    try:
        yield look
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    look()  # it came after the last batch


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's banner, tips and remarks about its own defaults stay away; its errors are exceptions."""
    with quiet("lightning.pytorch", "lightning.fabric"), warnings.catch_warnings():
        # Lightning 2.6 asks torch 2.13's pytree in a way that torch is about to drop; nobody here can change it.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
        yield
