"""What a run will cost, before it is paid: sizes from the data, memory and time of a net from one measured step.

Nothing is trained. The step is one batch of real lists through the real net and loss on this machine; an epoch is that
many cells more. Early stopping can only make it shorter. Trees say nothing before they grow: their time is left open.
Of a method one training is estimated, as if it learned one objective, and the trainings are counted.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.rankers.config import TrainingConfig
from ltr.schema import bind

from .config import LossChoice, RankerChoice, RunConfig
from .resolving import resolve
from .systems import load_task

if TYPE_CHECKING:
    from ltr.types import Split, Task

__all__ = ["Estimate", "estimate"]

_PROBE = 64  # lists of the measured step at most


@dataclass(frozen=True)
class Estimate:
    """Sizes of one run.

    Attributes:
        queries, documents: split -> count.
        features: columns.
        cells: padded documents of a training epoch; 0 where nothing is padded (trees, baselines).
        batches: optimiser steps of an epoch.
        epochs: at most.
        parameters: of the net; of trees at most (leaves), None where unknown.
        memory_bytes: of data, weights with gradients and moments, and activations of a full batch; not of the process
            itself, about 0.4 GB with torch.
        seconds: of one training, all epochs; None where unknown.
        trainings: of a method at least; those that share a fleet take less than their sum.
    """

    queries: dict[str, int]
    documents: dict[str, int]
    features: int
    cells: int
    batches: int
    epochs: int
    parameters: int | None
    memory_bytes: int
    seconds: float | None
    trainings: int = 1

    def facts(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> list[str]:
        """The estimate for reading."""
        shown = [f"{name}: {self.queries[name]:,} queries, {self.documents[name]:,} documents" for name in self.queries]
        shown.append(f"features: {self.features:,}")
        if self.cells:
            padding = 1 - min(1.0, self.documents["train"] / self.cells)
            shown.append(
                f"an epoch: {self.batches:,} batches, {self.cells:,} cells"
                + (f" ({padding:.0%} padding)" if padding > 0 else "")
            )
        if self.parameters is not None:
            shown.append(f"parameters: {self.parameters:,}")
        shown.append(f"memory: about {self.memory_bytes / 1e9:.2f} GB beside the process's own 0.4 GB")
        if self.seconds is not None:
            seconds = f"{self.seconds:,.0f}" if self.seconds >= 10 else f"{self.seconds:.1f}"
            each = "training" if self.trainings == 1 else f"each of {self.trainings} trainings or more"
            shown.append(f"{each}: about {seconds} s for {self.epochs} epochs, by one measured step on this machine")
        elif self.trainings > 1:
            shown.append(f"{self.trainings} trainings or more")
        return shown


def estimate(config: RunConfig, task: Task | None = None) -> Estimate:
    """Sizes, memory and time of a run.

    Args:
        config: the run.
        task: its data, where it is open already.
    """
    config = resolve(config)
    if task is None:
        task = load_task(config)
    splits = {"train": task.train, "vali": task.vali, "test": task.test}
    documents = {name: s.n_documents for name, s in splits.items()}
    data = 4 * sum(documents.values()) * (task.train.n_features + len(task.objectives) + 1)
    facts: dict[str, Any] = {
        "cells": 0,
        "batches": 0,
        "epochs": 0,
        "parameters": None,
        "seconds": None,
        "memory_bytes": data,
    }
    if config.method is not None:
        facts["trainings"] = _trainings(config)
        if "training" in config.method.params:
            facts |= _net(_alone(config), task.train, data)
    elif config.training is not None:
        facts |= _net(config, task.train, data)
    elif "rounds" in config.ranker.params:
        leaves = config.ranker.params.get("leaves") or 2 ** min(config.ranker.params.get("depth") or 6, 16)
        # A byte a binned value beside the floats, and gradient, hessian and score a document.
        facts["memory_bytes"] = data + documents["train"] * (task.train.n_features + 24)
        facts["parameters"] = config.ranker.params["rounds"] * leaves
    return Estimate({name: s.n_queries for name, s in splits.items()}, documents, task.train.n_features, **facts)


def _trainings(config: RunConfig) -> int:
    """What can be said before a method has run: a model a preference, or one, and the base it starts from."""
    from ltr.methods import METHODS
    from ltr.objectives import lattice

    claims = METHODS[config.method.name].claims
    models = len(lattice(len(config.data.objectives), config.preferences)) if claims["steers"] == "fitted" else 1
    return models + bool(claims["base"])


def _alone(config: RunConfig) -> RunConfig:
    """The net of a method with one objective: what its parameters say of net, loss and training."""
    params = config.method.params
    training = bind(TrainingConfig, params["training"])
    # The parameters of the loss are those of its form in the method; they do not change what a step costs.
    return RunConfig(
        config.data, RankerChoice(params["ranker"], params["ranker_params"]), LossChoice(params["loss"]), training
    )


def _net(config: RunConfig, train: Split, data: int) -> dict[str, Any]:
    import torch

    from ltr import losses
    from ltr.datasets.batching.batches import Batches
    from ltr.rankers import make_ranker
    from ltr.rankers.nets import build

    settings = config.training
    shape = {"cells": settings.cells, "lists": settings.lists, "list_size": settings.list_size or None, "shuffle": True}
    whole = Batches(train, **shape, resident=False)
    cells = round(whole.n_documents / (1 - whole.padding)) if whole.n_documents else 0
    with torch.random.fork_rng(devices=[]):
        chosen = make_ranker(config.ranker.name, training=settings, **config.ranker.params).config
        members = getattr(chosen, "members", 1)  # of a bag, whose members are trained and kept alike
        net = build(getattr(chosen, "net", chosen), train.n_features)
    parameters = members * sum(p.numel() for p in net.parameters())
    probe = Batches(train.take(np.arange(min(train.n_queries, _PROBE))), **{**shape, "shuffle": False}, resident=False)
    batch = next(iter(probe), None)
    if batch is None:
        return {"parameters": parameters}
    loss = losses.loss(config.loss.name, **config.loss.params)
    kept, seconds = 0, 0.0

    def weigh(tensor):
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    # Features are squashed: raw ones may be so large that an untransformed net overflows, which is slow on some CPUs.
    labels, features = batch.labels[..., 0], batch.features.nan_to_num().tanh()
    for _ in range(2):  # the first pass warms up; the second is the one that counts
        kept, began = 0, time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
            values = loss(net(features, batch.where), labels, batch.where)
            loss.reduce(values, labels, batch.where).backward()
        seconds = time.perf_counter() - began
    probed = batch.where.numel()
    # A full batch keeps as much a cell as the probe did; weights, gradients and two moments are four copies.
    activations = kept * min(settings.cells, settings.lists * batch.where.shape[1]) / probed
    return {
        "cells": cells,
        "batches": len(whole),
        "epochs": settings.epochs,
        "parameters": parameters,
        "memory_bytes": int(data + 16 * parameters + activations),
        "seconds": members * seconds / probed * cells * settings.epochs,
    }
