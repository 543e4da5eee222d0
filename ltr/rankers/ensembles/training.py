"""The training loop of a fleet: many nets of one shape, one batch, one optimiser; every member as if it were alone.

Members meet the same batches. A step goes through the fleet squad by squad (forward, losses, backward), so that what is
in flight fits the caches of a processor; on an accelerator the squad is the fleet. Losses are summed over members,
whose gradients therefore do not mix; Adam, decay and momentum are elementwise; what is not (the norm that clips, the
learning rate, the decay, the best epoch, the end) is kept for each member. One that has ended leaves its squad.

Plain rankers meet their own batches, in the order and with the noise they would have alone. They go through their nets
one after another (see `Squad.windows`); the loop, the optimiser, the data and validation are shared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from torch import Tensor, nn

from ltr.datasets.batching.batches import Batches
from ltr.errors import InputError
from ltr.rankers.base import Job
from ltr.rankers.config import TrainingConfig, rate
from ltr.rankers.training.loop import ListModule, State, _run
from ltr.seeds import seed_of
from ltr.types import Batch

from .net_stack import Squad, draws, member_of, widest

__all__ = ["FleetJob", "FleetModule", "ListLosses", "SideBySide", "squads_of", "train_fleet"]

# Activations of the widest layer a squad has at once for a document: a processor is fastest while they stay in its
# second cache (8 members of width 64; measured, benchmarks/speed/fleets.py). An accelerator wants to be filled.
_WIDTH = {"cpu": 512}


@dataclass(frozen=True)
class FleetJob(Job):
    """One call of `fit_fleet`, checked. `loss` is the criterion of the fleet, see fleet.py.

    Attributes:
        judge: `judge(scores [row, documents], members)` of the validation split -> the number that selects the epoch,
            one a member.
        seeds: of each member, for what its loss draws.
        rates: learning rate of each member at its peak.
        references: s_ref of train and vali, float32 `[documents]`; None where there is none.
        orders: which of the batches of a `SideBySide` each member meets; empty where all meet the one there is, and go
            through the stacked net together.
        times: float32 `[member, query]`, how often each training list counts for each plain ranker; None: once.
        trainings: of plain rankers, the settings of each; squads hold members of one rate and decay.
    """

    judge: Callable[[np.ndarray, Sequence[int]], Sequence[float]] | None = None
    seeds: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()
    references: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    orders: tuple[int, ...] = ()
    trainings: tuple[TrainingConfig, ...] = ()
    times: np.ndarray | None = None


class SideBySide:
    """Lists in several orders at once: a step has one batch of each. All have the same number of batches.

    Args:
        orders: of the same lists, with different seeds; they share what lies in memory.
    """

    def __init__(self, orders: Sequence[Batches]):
        self.orders, self.device, self.wanted = list(orders), orders[0].device, set(range(len(orders)))

    def __len__(self) -> int:
        return len(self.orders[0])

    def set_epoch(self, epoch: int) -> None:
        for each in self.orders:
            each.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[Batch | None, ...]]:
        """None stands for the batch of an order that is not in `wanted`."""
        each = (iter(o) if i in self.wanted else repeat(None, len(self)) for i, o in enumerate(self.orders))
        return zip(*each, strict=True)


class Fleet(nn.Module):
    """Squads, and the criterion they are trained with."""

    def __init__(self, squads: Sequence[Squad], criterion: nn.Module):
        super().__init__()
        self.squads, self.criterion = nn.ModuleList(squads), criterion

    def parts(self) -> list[Squad]:
        """The squads that still have members."""
        return [squad for squad in self.squads if squad.members]

    def members(self) -> list[int]:
        """Who still trains, in the order in which the squads are scored."""
        return [i for squad in self.squads for i in squad.members]

    def snapshot(self) -> dict:
        return {"members": [list(squad.members) for squad in self.squads], "state": self.state_dict()}

    def restore(self, snapshot: dict) -> None:
        for squad, members in zip(self.squads, snapshot["members"], strict=True):
            squad.keep(members)
        self.load_state_dict(snapshot["state"])


class FleetModule(ListModule):
    """Trains a `Fleet`. In `state`, `best` and the rows of `history` hold one entry a member."""

    job: FleetJob
    net: Fleet

    def __init__(
        self, net: Fleet, job: FleetJob, training: TrainingConfig, state: State, batches: Batches | SideBySide
    ):
        super().__init__(net, job, training, state)
        self.batches = batches
        self.shared = [job.trainings[squad.first] for squad in net.squads] if job.trainings else []

    def learned(self):
        if not self.shared:
            return super().learned()
        return [
            {"params": list(squad.parameters()), "lr": each.learning_rate, "weight_decay": each.weight_decay}
            for squad, each in zip(self.net.squads, self.shared, strict=True)
        ]

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        now = self.current_epoch + (batch_idx + 1) / self.trainer.num_training_batches
        for group, each in zip(self.trainer.optimizers[0].param_groups, self.shared, strict=False):
            group["lr"] = rate(each, now)

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.noisy = bool(self.job.orders) and draws(self.net.parts()[0].windows()[0])
        pad = lambda flat: None if flat is None else torch.from_numpy(np.append(flat, np.float32(0))).to(self.device)  # noqa: E731
        self.references = [pad(each) for each in self.job.references]  # padding carries row -1, the last one
        self.generators = [torch.Generator(self.device) for _ in self.job.seeds]
        self.times = None if self.job.times is None else torch.from_numpy(self.job.times).to(self.device)
        self._count()

    def _count(self) -> None:
        """Members changed: where each squad's numbers lie, and the learning rates where they differ."""
        rates, most = self.job.rates, max(self.job.rates)
        self.rows = [torch.tensor(squad.members, device=self.device) for squad in self.net.parts()]
        self.ratios = None
        if not self.shared and min(rates) != most:
            ratio = torch.tensor(rates, device=self.device) / most
            self.ratios = [ratio[rows] for rows in self.rows]
        if self.job.orders:  # nobody is left who would meet the others
            self.batches.wanted = {self.job.orders[i] for i in self.net.members()}

    def on_train_epoch_start(self) -> None:
        epoch = self.current_epoch
        torch.manual_seed(seed_of("noise", self.job.seed, epoch))  # dropout and input noise
        for generator, seed in zip(self.generators, self.job.seeds, strict=True):
            generator.manual_seed(seed_of("loss", seed, epoch))
        if self.noisy:
            self.noise = []
            for seed in self.job.seeds:
                torch.manual_seed(seed_of("noise", seed, epoch))
                self.noise.append(self._noise())
        self.total = torch.zeros(len(self.job.seeds), device=self.device)
        self.epoch_began = self._clock()

    def _drawn(self, batch: Batch, members: Tensor | int) -> dict[str, Tensor]:
        """What a criterion is told besides where the lists of a batch do not count alike; `[member, batch]`."""
        return {} if self.times is None else {"times": self.times[members, batch.query]}

    def _noise(self) -> Tensor:
        """Where the stream stands that dropout draws from."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()

    def _set_noise(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)

    def _apart(self, batches: tuple[Batch | None, ...]) -> Tensor:
        """The step of members that meet batches of their own: one net after another, gradients into the stack."""
        for squad, rows in zip(self.net.parts(), self.rows, strict=True):
            nets, losses = squad.windows(), []
            squad.clear()
            for net, i in zip(nets, squad.members, strict=True):
                batch = batches[self.job.orders[i]]
                if self.noisy:
                    self._set_noise(self.noise[i])
                scores = net(batch.features, batch.where)
                if self.noisy:
                    self.noise[i] = self._noise()
                with torch.autocast(self.device.type, enabled=False):
                    loss = self.net.criterion(
                        scores.unsqueeze(1),
                        batch.labels,
                        batch.where,
                        [i],
                        generators=[self.generators[i]],
                        **self._drawn(batch, torch.tensor([[i]])),
                    )
                    loss.sum().backward()
                losses.append(loss.detach())
            self.total.index_add_(0, rows, torch.cat(losses))
        return self.total.sum()

    def training_step(self, batch: Batch | tuple[Batch | None, ...], batch_idx: int) -> Tensor:
        """Forward and backward of every squad; what is returned only tells Lightning that there was a step."""
        if self.job.orders:
            return self._apart(batch)
        reference = None if self.references[0] is None else self.references[0][batch.document]
        # Squad by squad the graph is made and used up, which Lightning's order (zero, backward) has no place for.
        self.trainer.optimizers[0].zero_grad(set_to_none=True)
        for squad, rows in zip(self.net.parts(), self.rows, strict=True):
            scores = squad(batch.features, batch.where, reference)
            with torch.autocast(self.device.type, enabled=False):
                losses = self.net.criterion(
                    scores,
                    batch.labels,
                    batch.where,
                    squad.members,
                    reference=reference,
                    generators=[self.generators[i] for i in squad.members],
                    **self._drawn(batch, rows.unsqueeze(1)),
                )
                losses.sum().backward()
            self.total.index_add_(0, rows, losses.detach())
        return self.total.sum()

    def optimizer_zero_grad(self, *args) -> None:
        """The step did it."""

    def backward(self, *args, **kwargs) -> None:
        """The step did it."""

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Each member by the norm of its own gradient, as `torch.nn.utils.clip_grad_norm_` does for one."""
        for squad in self.net.parts() if gradient_clip_val else ():
            gradients = [p.grad for p in squad.parameters() if p.grad is not None]
            norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
            factor = (gradient_clip_val / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(_rowwise(factor, g))

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure=None) -> None:
        if self.ratios is None:
            optimizer.step(closure=optimizer_closure)
            return
        # A step of sgd, adam or adamw is proportional to its learning rate: take the largest, and a share of it.
        parameters = [
            (p, ratio) for squad, ratio in zip(self.net.parts(), self.ratios, strict=True) for p in squad.parameters()
        ]
        before = [p.detach().clone() for p, _ in parameters]
        optimizer.step(closure=optimizer_closure)
        with torch.no_grad():
            for (p, ratio), old in zip(parameters, before, strict=True):
                p.copy_(torch.lerp(old, p, _rowwise(ratio, p)))

    def on_train_batch_end(self, outputs, batch: Batch, batch_idx: int) -> None:
        self.net.criterion.update(self.net.members())
        super().on_train_batch_end(outputs, batch, batch_idx)

    def on_validation_epoch_start(self) -> None:
        self.scores = torch.zeros(self.job.vali.n_documents + 1, sum(map(len, self.rows)), device=self.device)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        reference = None if self.references[1] is None else self.references[1][batch.document]
        with torch.autocast(self.device.type, enabled=False):
            scores = [squad(batch.features, batch.where, reference) for squad in self.net.parts()]
        self.scores[batch.document] = torch.cat(scores, 1).mT

    def on_validation_epoch_end(self) -> None:
        flat, members = self.scores[:-1].T.contiguous().cpu().numpy(), self.net.members()
        values = zip(members, self.job.judge(flat, members), strict=True)
        self.measured = {i: None if math.isnan(value) else float(value) for i, value in values}

    def on_train_epoch_end(self) -> None:
        state, epoch = self.state, self.current_epoch + 1
        losses = [total / self.trainer.num_training_batches for total in self.total.tolist()]
        vali = [(self.measured or {}).get(i) for i in range(len(losses))]
        state.best = state.best or {"epoch": [0] * len(losses), "vali": [None] * len(losses), "net": [{}] * len(losses)}
        state.epoch = epoch
        row = {"epoch": epoch, "loss": [None] * len(losses), "vali": vali}
        for squad in self.net.parts():
            stay, weights = [], None
            for j, i in enumerate(squad.members):
                if not math.isfinite(losses[i]):
                    raise InputError(
                        f"training diverged: the loss of epoch {epoch} is {losses[i]} for member {i} of the fleet",
                        do="Lower learning_rate, set clip, or standardise the features",
                    )
                row["loss"][i], best = losses[i], state.best
                better = vali[i] is not None and (best["vali"][i] is None or vali[i] > best["vali"][i])
                # Without a choice the last epoch is the one.
                if better or best["vali"][i] is None:
                    weights = squad.net.state_dict() if weights is None else weights
                    best["epoch"][i], best["vali"][i], best["net"][i] = epoch, vali[i], member_of(weights, j)
                waited = epoch - best["epoch"][i]
                if not 0 < self.settings.patience <= waited:
                    stay.append(i)
            if stay != squad.members:
                squad.keep(stay, self.trainer.optimizers[0])
        self._count()
        stop = not self.net.parts()
        state.history.append(row)
        state.done = stop or epoch >= self.settings.epochs
        state.seconds = time.perf_counter() - self.began
        if self.job.folder is not None:
            state.net, state.optimiser = self.net.snapshot(), self.trainer.optimizers[0].state_dict()
            state.save(self.job.folder)
        self.trainer.should_stop = stop
        heard = [each for each in vali if each is not None]
        trained = [each for each in row["loss"] if each is not None]
        mean = sum(heard) / len(heard) if heard else None
        self.job.report(epoch, self.settings.epochs, sum(trained) / len(trained), mean)


class ListLosses(nn.Module):
    """The criterion of plain rankers: each member's loss on one label column."""

    def __init__(self, losses: Sequence[Callable], column: int):
        super().__init__()
        self.losses, self.column = losses, column

    def forward(self, scores, labels, where, members, *, reference=None, generators, times=None) -> Tensor:
        """`times` `[member, batch]`: a list that counts c times is c lists of the mean; with c = 0 it is none."""
        y, means = labels[..., self.column], []
        for j, i in enumerate(members):
            reduce, values = self.losses[i].reduce, self.losses[i](scores[:, j], y, where, generator=generators[j])
            if times is None:
                means.append(reduce(values, y, where))
                continue
            # Both are means over the lists that count for the loss, so their number cancels, whatever `reduce` counts.
            number = reduce(times[j], y, where)
            means.append(reduce(times[j] * values, y, where) / number.where(number > 0, 1.0))
        return torch.stack(means)

    def update(self, members: Sequence[int]) -> None:
        """Losses remember nothing."""


def _rowwise(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (like.dim() - 1))


def squads_of(
    nets: Sequence[nn.Module], scale: float, augmented: bool, device: torch.device, kinds: Sequence | None = None
) -> list[Squad]:
    """The nets in groups of the size this device likes; each of one of the `kinds`, where every net has one."""
    size = len(nets)
    if device.type in _WIDTH:
        size = max(1, _WIDTH[device.type] // widest(nets[0]))
    of_kind: dict = {}
    for i in range(len(nets)):
        of_kind.setdefault(None if kinds is None else kinds[i], []).append(i)
    groups = [each[a : a + size] for each in of_kind.values() for a in range(0, len(each), size)]
    return [Squad([nets[i] for i in group], group, scale, augmented).to(device) for group in groups]


def train_fleet(
    squads: Sequence[Squad],
    job: FleetJob,
    training: TrainingConfig,
    batches: Batches | SideBySide,
    vali: Batches | None,
    identity: str,
) -> tuple[State, float]:
    """Trains from the checkpoint in `job.folder` where there is one; `state.best` then holds each member's weights.

    Returns the final state and the seconds that were spent before the checkpoint it continued from.

    Raises:
        KeyboardInterrupt, InputError: as `lightning_module.train`.
    """
    state = (State.load(job.folder, identity) if job.folder is not None else None) or State(identity)
    before = state.seconds
    fleet = Fleet(squads, job.loss)
    if state.net:
        fleet.restore(state.net)
    if not state.done:
        _run(FleetModule(fleet, job, training, state, batches), batches, vali)
    return state, before
