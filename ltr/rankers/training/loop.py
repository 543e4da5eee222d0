"""The training loop of the neural rankers: a LightningModule and the Trainer around it.

The epoch is the unit. Everything random in an epoch (order and samples of lists, dropout, noise, draws of the loss)
follows from (seed, epoch), and the learning rate is a function of time, so what a training must remember between two
epochs is small: weights, optimiser state, the best epoch so far. `State` is exactly that, written atomically after
every epoch; a training that continues from it ends bit for bit where the uninterrupted one does (on one machine and
device, where torch's kernels are deterministic, as on a CPU).

This is the only file of the rankers that imports Lightning.
"""

from __future__ import annotations

import copy
import logging
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from torch import Tensor, nn

from ltr.atomic import whole_file
from ltr.datasets.batching.batches import Batches
from ltr.datasets.batching.datamodule import ListDataModule
from ltr.errors import InputError
from ltr.rankers.base import Job
from ltr.rankers.config import TrainingConfig, rate
from ltr.seeds import seed_of
from ltr.types import Batch

__all__ = ["ListModule", "State", "train"]

_CHECKPOINT = "last.ckpt"


@dataclass
class State:
    """A training between two epochs.

    Attributes:
        identity: what the training is (settings, seed, data); a checkpoint of another training is refused.
        epoch: epochs done.
        net, optimiser: state dicts after them.
        best: `{"epoch", "vali", "net"}` of the best epoch on validation; empty before there is one.
        history: one dict an epoch: epoch, loss, vali.
        seconds: spent so far.
        step_seconds: one number an epoch: the time of its steps over their number, making the batches included;
            processor time on a CPU, because a machine is shared, wall time on an accelerator.
        done: nothing is left to train.
    """

    identity: str
    epoch: int = 0
    net: dict[str, Any] = field(default_factory=dict)
    optimiser: dict[str, Any] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    step_seconds: list[float] = field(default_factory=list)
    done: bool = False

    def save(self, folder: Path) -> None:
        with whole_file(folder / _CHECKPOINT) as beside:
            # A shallow dict of plain values and tensors, so that it loads with weights_only=True.
            torch.save({name: getattr(self, name) for name in self.__dataclass_fields__}, beside)

    @classmethod
    def load(cls, folder: Path, identity: str) -> State | None:
        """The state kept in a folder, None when there is none.

        Raises:
            InputError: it belongs to another training.
        """
        path = folder / _CHECKPOINT
        if not path.is_file():
            return None
        state = cls(**torch.load(path, map_location="cpu", weights_only=True))
        if state.identity != identity:
            raise InputError(
                "this checkpoint belongs to another training",
                file=path,
                do="Delete it to start anew, or train into another folder",
            )
        return state


class ListModule(LightningModule):
    """Trains a net with a list loss, one value a list, reduced by the loss's own rule.

    Args:
        net: features `[batch, list, feature]`, where `[batch, list]` -> scores `[batch, list]`.
        job: loss, objective, seed, selection measure, progress.
        training: settings.
        state: where to start; changed in place.
    """

    def __init__(self, net: nn.Module, job: Job, training: TrainingConfig, state: State):
        super().__init__()
        self.net, self.job, self.settings, self.state = net, job, training, state
        self.measured: float | None = None
        self.began = time.perf_counter() - state.seconds

    def learned(self):
        """What the optimiser moves, as it takes it: parameters, or groups of them with settings of their own."""
        return self.net.parameters()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        settings = self.settings
        common = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
        if settings.optimiser == "sgd":
            optimiser = torch.optim.SGD(self.learned(), momentum=settings.momentum, **common)
        else:
            kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimiser]
            optimiser = kind(self.learned(), **common)
        if self.state.optimiser:
            optimiser.load_state_dict(self.state.optimiser)
        return optimiser

    def on_fit_start(self) -> None:
        progress = self.trainer.fit_loop.epoch_progress.current
        progress.ready = progress.started = progress.processed = progress.completed = self.state.epoch
        self.generator = torch.Generator(self.device)

    def on_train_epoch_start(self) -> None:
        epoch = self.current_epoch
        torch.manual_seed(seed_of("noise", self.job.seed, epoch))  # dropout and input noise
        self.generator.manual_seed(seed_of("loss", self.job.seed, epoch))
        self.total = torch.zeros((), device=self.device)
        self.epoch_began = self._clock()

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        now = rate(self.settings, self.current_epoch + (batch_idx + 1) / self.trainer.num_training_batches)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = now

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        scores = self.net(batch.features, batch.where)
        labels = batch.labels[..., self.job.objective]
        with torch.autocast(self.device.type, enabled=False):
            values = self.job.loss(scores, labels, batch.where, generator=self.generator)
            loss = self.job.loss.reduce(values, labels, batch.where)
        self.total += loss.detach()  # stays on the device: no step waits for the host
        return loss

    def on_train_batch_end(self, outputs, batch: Batch, batch_idx: int) -> None:
        steps = self.trainer.num_training_batches
        if batch_idx + 1 == steps:
            self.total.sum().item()  # waits for the device, once an epoch: its steps are over now
            self.state.step_seconds.append((self._clock() - self.epoch_began) / steps)

    def _clock(self) -> float:
        return time.process_time() if self.device.type == "cpu" else time.perf_counter()

    def on_validation_epoch_start(self) -> None:
        # One row more than documents: padding carries row -1, so what is computed for it lands there.
        self.scores = torch.zeros(self.job.vali.n_documents + 1, device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        with torch.autocast(self.device.type, enabled=False):  # as `score` does it, whatever the training's precision
            self.scores[batch.document] = self.net(batch.features, batch.where)

    def on_validation_epoch_end(self) -> None:
        # All lists at once: a mean of batch means would weigh the lists of a small batch more.
        measured = self.job.measure(self.scores[:-1].cpu().numpy())
        self.measured = None if math.isnan(measured) else measured  # NaN: no list counts, nothing can be selected

    def on_train_epoch_end(self) -> None:
        state, epoch, vali = self.state, self.current_epoch + 1, self.measured
        loss = self.total.item() / self.trainer.num_training_batches
        if not math.isfinite(loss):
            raise InputError(
                f"training diverged: the loss of epoch {epoch} is {loss}",
                do="Lower learning_rate, set clip, or standardise the features",
            )
        state.epoch = epoch
        state.history.append({"epoch": epoch, "loss": loss, "vali": vali})
        if vali is not None and (not state.best or vali > state.best["vali"]):
            state.best = {"epoch": epoch, "vali": vali, "net": copy.deepcopy(self.net.state_dict())}
        waited = epoch - state.best["epoch"] if state.best else 0
        stop = 0 < self.settings.patience <= waited
        state.done = stop or epoch >= self.settings.epochs
        state.seconds = time.perf_counter() - self.began
        if self.job.folder is not None:
            state.net, state.optimiser = self.net.state_dict(), self.trainer.optimizers[0].state_dict()
            state.save(self.job.folder)
        self.trainer.should_stop = stop
        self.job.report(epoch, self.settings.epochs, loss, vali)


def train(
    net: nn.Module,
    job: Job,
    training: TrainingConfig,
    batches: Batches,
    vali: Batches | None,
    identity: str,
    module: type[ListModule] = ListModule,
) -> tuple[State, float]:
    """Trains `net` in place, from the checkpoint in `job.folder` where there is one; `module` says what a step is.

    Returns the final state and the seconds that were spent before the checkpoint it continued from.

    The net ends with the weights of the best epoch, or of the last one where nothing was selected.

    Raises:
        KeyboardInterrupt: Ctrl-C, after the trainer was taken down; the checkpoint of the last whole epoch is there.
        InputError: the loss diverged, or the checkpoint belongs to another training.
    """
    state = (State.load(job.folder, identity) if job.folder is not None else None) or State(identity)
    before = state.seconds
    if state.net:
        net.load_state_dict(state.net)
    if not state.done:
        _run(module(net, job, training, state), batches, vali)
    if state.best:
        net.load_state_dict(state.best["net"])
    net.eval()
    return state, before


def _run(module: ListModule, batches: Batches, vali: Batches | None) -> None:
    device, training = batches.device, module.settings
    interrupts = _Interrupts()
    with _quiet(), _signals(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        trainer = Trainer(
            accelerator={"cuda": "gpu"}.get(device.type, device.type),
            devices=1 if device.index is None or device.type == "cpu" else [device.index],
            precision=training.precision,
            max_epochs=training.epochs,
            gradient_clip_val=training.clip or None,
            callbacks=[interrupts],
            plugins=[LightningEnvironment()],  # one process, whatever a scheduler's variables suggest
            logger=False,
            num_sanity_val_steps=0,
            limit_val_batches=0 if vali is None else 1.0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        module.net.train()
        try:
            trainer.fit(module, datamodule=ListDataModule(batches, vali))
        except SystemExit:
            if interrupts.caught is None:
                raise
        if interrupts.caught is not None:
            # Lightning turns Ctrl-C into an exit or swallows it, depending on its version; callers want to see it.
            raise KeyboardInterrupt from interrupts.caught


class _Interrupts(Callback):
    """Remembers a KeyboardInterrupt that the trainer handles."""

    caught: KeyboardInterrupt | None = None

    def on_exception(self, trainer, pl_module, exception: BaseException) -> None:
        if isinstance(exception, KeyboardInterrupt):
            self.caught = exception


@contextmanager
def _signals() -> Iterator[None]:
    """Gives Ctrl-C back to the caller: Lightning leaves it ignored after an interrupt."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's banner, tips and remarks about its own defaults stay away; its errors are exceptions."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 asks torch 2.13's pytree in a way that torch is about to drop; nobody here can change it.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
