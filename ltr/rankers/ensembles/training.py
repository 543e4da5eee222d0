"""The training of many nets of one shape: one batch, one optimiser, every member as if it were alone.

Members meet the same batches. A step goes through them stack by stack (forward, losses, backward), so that what is in
flight fits the caches of a processor; on an accelerator there is one stack. Losses are summed over members, whose
gradients therefore do not mix; Adam, decay and momentum are elementwise; what is not (the norm that clips, the learning
rate, the decay, the best epoch, the end) is kept for each member. One that has ended leaves its stack.

Plain rankers meet their own batches, in the order and with the noise they would have alone. They go through their nets
one after another (see `NetStack.windows`); the loop, the optimiser, the data and validation are shared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltr.datasets.batching.batches import Batches
from ltr.rankers.conditional.tensors import at, padded
from ltr.rankers.config import TrainingConfig, rate
from ltr.rankers.tabm import scored
from ltr.rankers.training.checkpoint import State
from ltr.rankers.training.job import FitJob
from ltr.rankers.training.loop import ListModule
from ltr.seeds import seed_of
from ltr.types import Batch

from .net_stack import NetStack, draws, member_of

__all__ = ["ListLosses", "Members", "SideBySide", "StackedModule", "StackedNets"]


@dataclass(frozen=True)
class Members:
    """Who is trained together.

    Attributes:
        trainings: settings of each; they differ in learning rate, those of plain rankers also in weight decay.
        seeds: of each member, for what its loss draws.
        plain: plain rankers, whose stacks hold members of one rate and decay.
        orders: which of the batches of a `SideBySide` each member meets; empty where all meet the one there is, and go
            through the stacked net together.
        times: float32 `[member, query]`, how often each training list counts for each plain ranker; None: once.
        references: s_ref of train and vali, float32 `[documents]`; None where there is none.
    """

    trainings: tuple[TrainingConfig, ...]
    seeds: tuple[int, ...]
    plain: bool
    orders: tuple[int, ...] = ()
    times: np.ndarray | None = None
    references: tuple[np.ndarray | None, np.ndarray | None] = (None, None)

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def rates(self) -> tuple[float, ...]:
        """Learning rate of each at its peak."""
        return tuple(each.learning_rate for each in self.trainings)

    @property
    def kinds(self) -> list[tuple[float, float]] | None:
        """What members of one stack have in common besides their net; None where any go together."""
        return [(each.learning_rate, each.weight_decay) for each in self.trainings] if self.plain else None


class SideBySide:
    """Lists in several orders at once: a step has one batch of each. All have the same number of batches.

    Args:
        orders: of the same lists, with different seeds; they share what lies in memory.
    """

    def __init__(self, orders: Sequence[Batches]):
        self.orders, self.device, self.wanted = list(orders), orders[0].device, set(range(len(orders)))
        self.n_documents = orders[0].n_documents

    def __len__(self) -> int:
        return len(self.orders[0])

    def set_epoch(self, epoch: int) -> None:
        for each in self.orders:
            each.set_epoch(epoch)

    def __iter__(self) -> Iterator[tuple[Batch | None, ...]]:
        """None stands for the batch of an order that is not in `wanted`."""
        each = (iter(o) if i in self.wanted else repeat(None, len(self)) for i, o in enumerate(self.orders))
        return zip(*each, strict=True)


class StackedNets(nn.Module):
    """Stacks, and the criterion they are trained with."""

    stacks: Any  # an nn.ModuleList of NetStack
    criterion: Any

    def __init__(self, stacks: Sequence[NetStack], criterion: nn.Module):
        super().__init__()
        self.stacks, self.criterion = nn.ModuleList(stacks), criterion

    def parts(self) -> list[NetStack]:
        """The stacks that still have members."""
        return [stack for stack in self.stacks if stack.members]

    def members(self) -> list[int]:
        """Who still trains, in the order in which the stacks are scored."""
        return [i for stack in self.stacks for i in stack.members]


class StackedModule(ListModule):
    """Trains `StackedNets`. In `state`, `best` and the rows of `history` hold one entry a member.

    Args:
        net: the stacks and their criterion.
        job: its `select` takes scores `[row, documents]` and the members they are of, and gives one number a row.
        settings: what the members have in common.
        members: what they have of their own.
        batches: what a step meets.
    """

    net: StackedNets

    def __init__(
        self,
        net: StackedNets,
        job: FitJob,
        settings: TrainingConfig,
        members: Members,
        batches: Batches | SideBySide,
    ):
        super().__init__(net, job, settings)
        self.each, self.batches = members, batches
        self.own = [members.trainings[stack.first] for stack in net.stacks] if members.plain else []

    def resume(self, state: State) -> None:
        snapshot, state.net = state.net, {}
        super().resume(state)
        if snapshot:
            for stack, members in zip(self.net.stacks, snapshot["members"], strict=True):
                stack.keep(members)
            self.net.load_state_dict(snapshot["state"])

    def snapshot(self) -> dict[str, Any]:
        return {"members": [list(stack.members) for stack in self.net.stacks], "state": self.net.state_dict()}

    def keep_best(self) -> None:
        """Each member's weights lie in `state.best`; who built the nets hands them out."""

    def learned(self):
        if not self.own:
            return super().learned()
        return [
            {"params": list(stack.parameters()), "lr": each.learning_rate, "weight_decay": each.weight_decay}
            for stack, each in zip(self.net.stacks, self.own, strict=True)
        ]

    def on_train_batch_start(self, batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        for group, each in zip(self.trainer.optimizers[0].param_groups, self.own, strict=False):
            group["lr"] = rate(each, self.progress_at(batch_idx))

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.noisy = bool(self.each.orders) and draws(self.net.parts()[0].windows()[0])
        self.references = [None if flat is None else padded(flat, self.device) for flat in self.each.references]
        self.generators = [torch.Generator(self.device) for _ in self.each.seeds]
        self.times = None if self.each.times is None else torch.from_numpy(self.each.times).to(self.device)
        self._count()

    def _count(self) -> None:
        """Members changed: where each stack's numbers lie, and the learning rates where they differ."""
        rates, most = self.each.rates, max(self.each.rates)
        self.rows = [torch.tensor(stack.members, device=self.device) for stack in self.net.parts()]
        self.ratios = None
        if not self.own and min(rates) != most:
            ratio = torch.tensor(rates, device=self.device) / most
            self.ratios = [ratio[rows] for rows in self.rows]
        if isinstance(self.batches, SideBySide):  # nobody is left who would meet the others
            self.batches.wanted = {self.each.orders[i] for i in self.net.members()}

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        epoch = self.current_epoch
        for generator, seed in zip(self.generators, self.each.seeds, strict=True):
            generator.manual_seed(seed_of("loss", seed, epoch))
        if self.noisy:
            self.noise = []
            for seed in self.each.seeds:
                torch.manual_seed(seed_of("noise", seed, epoch))
                self.noise.append(self._noise())
        self.total = torch.zeros(len(self.each), device=self.device)

    def _noise(self) -> Tensor:
        """Where the stream stands that dropout draws from."""
        return torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else torch.get_rng_state()

    def _set_noise(self, state: Tensor) -> None:
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(state, self.device)
        else:
            torch.set_rng_state(state)

    def _losses(self, scores: Tensor, batch: Batch, members: list[int], reference: Tensor | None = None) -> Tensor:
        """The losses `[member]` of scores `[batch, member, list]`, after their backward pass."""
        more = {}
        if self.times is not None:  # lists do not count alike; [member, batch]
            more["times"] = self.times[torch.tensor(members, device=self.device).unsqueeze(1), batch.query]
        if batch.weights is not None:
            more["weights"] = batch.weights
        with torch.autocast(self.device.type, enabled=False):
            generators = [self.generators[i] for i in members]
            losses = self.net.criterion(
                scores, batch.labels, batch.where, members, reference=reference, generators=generators, **more
            )
            losses.sum().backward()
        return losses.detach()

    def _apart(self, stack: NetStack, batches: tuple[Batch | None, ...]) -> Tensor:
        """The step of members that meet batches of their own: one net after another, gradients into the stack."""
        nets, losses = stack.windows(), []
        stack.clear()
        for net, i in zip(nets, stack.members, strict=True):
            batch = batches[self.each.orders[i]]
            assert batch is not None  # `wanted` says so
            if self.noisy:
                self._set_noise(self.noise[i])
            scores, batch = scored(net, batch)
            if self.noisy:
                self.noise[i] = self._noise()
            losses.append(self._losses(scores.unsqueeze(1), batch, [i]))
        return torch.cat(losses)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Forward and backward of every stack; what is returned only tells Lightning that there was a step.

        Stack by stack the graph is made and used up, which Lightning's order (zero, backward) has no place for.
        """
        if not self.each.orders:
            self.trainer.optimizers[0].zero_grad(set_to_none=True)
        for stack, rows in zip(self.net.parts(), self.rows, strict=True):
            if self.each.orders:
                losses = self._apart(stack, batch)
            else:
                reference = at(self.references[0], batch)
                losses = self._losses(stack(batch.features, batch.where, reference), batch, stack.members, reference)
            self.total.index_add_(0, rows, losses)
        return self.total.sum()

    def optimizer_zero_grad(self, *args) -> None:
        """The step did it."""

    def backward(self, *args, **kwargs) -> None:
        """The step did it."""

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None) -> None:
        """Each member by the norm of its own gradient, as `torch.nn.utils.clip_grad_norm_` does for one."""
        for stack in self.net.parts() if gradient_clip_val else ():
            gradients = [p.grad for p in stack.parameters() if p.grad is not None]
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
            (p, ratio) for stack, ratio in zip(self.net.parts(), self.ratios, strict=True) for p in stack.parameters()
        ]
        before = [p.detach().clone() for p, _ in parameters]
        optimizer.step(closure=optimizer_closure)
        with torch.no_grad():
            for (p, ratio), old in zip(parameters, before, strict=True):
                p.copy_(torch.lerp(old, p, _rowwise(ratio, p)))

    def on_train_batch_end(self, outputs, batch: Any, batch_idx: int) -> None:
        self.net.criterion.update(self.net.members())
        super().on_train_batch_end(outputs, batch, batch_idx)

    def score_validation(self, batch: Batch) -> Tensor:
        reference = at(self.references[1], batch)
        return torch.cat([stack(batch.features, batch.where, reference) for stack in self.net.parts()], 1).mT

    def on_validation_epoch_end(self) -> None:
        flat, members = self.validation_scores(), self.net.members()
        values = zip(members, self.job.select(flat, members), strict=True)
        self.measured = {i: None if math.isnan(value) else float(value) for i, value in values}

    def on_train_epoch_end(self) -> None:
        state, epoch, size = self.state, self.current_epoch + 1, len(self.each)
        losses = [total / self.trainer.num_training_batches for total in self.total.tolist()]
        vali = [(self.measured or {}).get(i) for i in range(size)]
        best = state.best = state.best or {"epoch": [0] * size, "vali": [None] * size, "net": [{}] * size}
        trained: list[float | None] = [None] * size
        for stack in self.net.parts():
            stay, weights = [], None
            for j, i in enumerate(stack.members):
                trained[i] = self.finite_loss(losses[i], f" for member {i} of those trained together")
                better = vali[i] is not None and (best["vali"][i] is None or vali[i] > best["vali"][i])
                # Without a choice the last epoch is the one.
                if better or best["vali"][i] is None:
                    weights = stack.net.state_dict() if weights is None else weights
                    best["epoch"][i], best["vali"][i], best["net"][i] = epoch, vali[i], member_of(weights, j)
                if not 0 < self.settings.patience <= epoch - best["epoch"][i]:
                    stay.append(i)
            if stay != stack.members:
                stack.keep(stay, self.trainer.optimizers[0])
        self._count()
        means = [_mean([value for value in values if value is not None]) for values in (trained, vali)]
        self.close_epoch({"epoch": epoch, "loss": trained, "vali": vali}, not self.net.parts(), *means)


class ListLosses(nn.Module):
    """The criterion of plain rankers: each member's loss on one label column."""

    def __init__(self, losses: Sequence[Callable], column: int):
        super().__init__()
        self.losses, self.column = losses, column

    def forward(
        self, scores, labels, where, members, *, reference=None, generators, times=None, weights=None
    ) -> Tensor:
        """`times` `[member, batch]`: a list that counts c times is c lists of the mean; with c = 0 it is none."""
        y, means = labels[..., self.column], []
        weighed = {} if weights is None else {"weights": weights}
        for j, i in enumerate(members):
            reduce, loss = self.losses[i].reduce, self.losses[i]
            values = loss(scores[:, j], y, where, generator=generators[j], **weighed)
            if times is None:
                means.append(reduce(values, y, where))
                continue
            # Both are means over the lists that count for the loss, so their number cancels, whatever `reduce` counts.
            number = reduce(times[j], y, where)
            means.append(reduce(times[j] * values, y, where) / number.where(number > 0, 1.0))
        return torch.stack(means)

    def update(self, members: Sequence[int]) -> None:
        """Losses remember nothing."""


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _rowwise(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *(1,) * (like.dim() - 1))
