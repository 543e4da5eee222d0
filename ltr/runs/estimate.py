"""What a run will cost, before it is paid: memory and time from counted operations and one probe of this machine.

Nothing is trained and no data are read. Of a net, one step is taken on a few made-up lists of the data's mean length;
an epoch is that many documents more. Of trees, the operations of their histograms are counted, and what one costs here
is measured once a process. Times are processor time of one thread, so that a busy machine does not stretch them, and
come as a range: early stopping, caches and several threads make a run shorter than said, odd lists longer.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from ltr import losses
from ltr.methods import METHODS
from ltr.methods.plug_in import PlugInConfig, trainings
from ltr.rankers import RANKERS, make_ranker, resolve_params
from ltr.rankers.config import TrainingConfig
from ltr.rankers.nets import build
from ltr.schema import bind

from .config import LossChoice, RankerChoice, RunConfig
from .resolving import resolve
from .sizes import Sizes, sizes_of
from .systems import MethodSystem, system_of

__all__ = ["Estimate", "estimate"]

_PROBE = 4096  # documents of the measured step at most
_LISTS = 32  # and lists
_SCORING = 0.35  # of a training step, what scoring the same lists costs
_START = 0.5  # seconds of a run that nothing else accounts for: files, checkpoints, the record
_LOOSE = (0.4, 2.5)  # how far the truth may lie from what was counted


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
        seconds: of the whole run, at least and at most.
        trainings: of a method at least; those that are stacked take less than their sum.
    """

    queries: dict[str, int]
    documents: dict[str, int]
    features: int
    cells: int
    batches: int
    epochs: int
    parameters: int | None
    memory_bytes: int
    seconds: tuple[float, float]
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
        low, high = (f"{s:,.0f}" if s >= 10 else f"{s:.1f}" for s in self.seconds)
        each = "" if self.trainings == 1 else f", {self.trainings} trainings or more"
        shown.append(f"time: {low} to {high} s{each}, by counted operations and a probe of this machine")
        return shown


def estimate(config: RunConfig, sizes: Sizes | None = None) -> Estimate:
    """Sizes, memory and time of a run.

    Args:
        config: the run.
        sizes: of its data, where they are known already (`ltr.runs.sizes`).
    """
    config = resolve(config)
    system = system_of(config)
    columns = [] if isinstance(system, MethodSystem) else config.data.columns
    sizes = sizes or sizes_of(config.data.name, config.data.fold, columns, **config.data.roles)
    m = max(1, len(config.data.objectives))
    data = 4 * sum(sizes.documents.values()) * (sizes.features + m + 1)
    facts: dict[str, Any] = {"cells": 0, "batches": 0, "epochs": 0, "parameters": None, "memory_bytes": data}
    work = (_START, _START)  # seconds of the shortest and the longest course
    trainings = 1
    alone = config
    if isinstance(system, MethodSystem):
        trainings, alone = _trainings(system), _alone(system)
    if alone.training is not None and alone.loss is not None:
        # A regressor of the plug-in method learns one form at a time; the others weigh a loss an objective.
        one = not isinstance(system, MethodSystem) or METHODS[system.name].claims["config"] is PlugInConfig
        net, step = _net(alone, sizes, data, 1 if one else m)
        facts |= net
        work = _epochs(alone.training, net["cells"] * step, sizes, step)
    elif alone.ranker is not None and "rounds" in alone.ranker.params:
        forest, seconds = _trees(alone.ranker.params, sizes, data)
        facts |= forest
        work = (seconds * min(1.0, 60 / alone.ranker.params["rounds"]), seconds)
    points = 1 if system.preferences is None else len(system.preferences)
    # Scores and measures of every preference: sorting, and a few passes over the labels.
    after = _START + points * m * 3e-7 * (sizes.documents["vali"] + sizes.documents["test"])
    low, high = (trainings * each + after for each in work)
    return Estimate(
        dict(sizes.queries),
        dict(sizes.documents),
        sizes.features,
        **facts,
        seconds=(_LOOSE[0] * low, _LOOSE[1] * high),
        trainings=trainings,
    )


def _trainings(system: MethodSystem) -> int:
    """What can be said before a method has run: its models, the base it starts from, and those of a pay-off table."""
    claims, m = METHODS[system.name].claims, len(system.objectives)
    models = {"preference": len(system.preferences), "objective": m, "one": 1}[claims["models"]]
    if claims["config"] is PlugInConfig:  # its forms, one net for all
        models = trainings(bind(PlugInConfig, system.method.params), m)
    own_base = bool(claims["base"]) and system.method.base is None
    return models + own_base + (m if claims.get("payoff") else 0)


def _alone(system: MethodSystem) -> RunConfig:
    """One training of a method, with one objective: what its parameters say of net, loss and training."""
    data, params = system.config.data, system.method.params
    if "lightgbm" in params:
        return RunConfig(data, RankerChoice("lightgbm", resolve_params("lightgbm", params["lightgbm"])))
    if "ranker" not in params:  # a random ranking
        return RunConfig(data, RankerChoice("constant"))
    ranker = RankerChoice(params["ranker"], params["ranker_params"])
    if not RANKERS[ranker.name].claims["needs_loss"]:  # a regressor of the plug-in method may be trees
        return RunConfig(data, ranker)
    # The parameters of the loss are those of its form in the method; they do not change what a step costs.
    # Most forms of the plug-in method cost what squared error does; losses with a reference are on pairs.
    name = "mse" if METHODS[system.name].claims["config"] is PlugInConfig else params.get("loss", "mse")
    loss = LossChoice(name if name in losses.LOSSES else "ranknet")
    return RunConfig(data, ranker, loss, bind(TrainingConfig, params["training"]))


def _epochs(training: TrainingConfig, epoch: float, sizes: Sizes, step: float) -> tuple[float, float]:
    """Seconds of the shortest and the longest training; `step` are those of one document."""
    validation = _SCORING * step * sizes.documents["vali"]
    patience = training.patience
    least = min(training.epochs, patience + 1) if patience else training.epochs
    scoring = _SCORING * step * (sizes.documents["vali"] + sizes.documents["test"])
    return least * (epoch + validation) + scoring, training.epochs * (epoch + validation) + scoring


def _net(config: RunConfig, sizes: Sizes, data: int, objectives: int) -> tuple[dict[str, Any], float]:
    """What the net of a config takes, and seconds a document of a training step."""
    assert config.ranker is not None and config.training is not None and config.loss is not None
    settings, length = config.training, sizes.list_length
    length = min(length, settings.list_size) if settings.list_size else length
    lists = max(1, min(_LISTS, settings.lists, settings.cells // max(1, length), _PROBE // length or 1))
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        chosen = make_ranker(config.ranker.name, training=settings, **config.ranker.params).config
        members = chosen.members if hasattr(chosen, "net") else 1  # of a bag, whose members are trained and kept alike
        # The transform puts a column behind the others for each that misses values.
        width = sizes.features + (0 if settings.missing == "mean" else sizes.missing)
        width += 0 if settings.context is None else 2 * sizes.features
        net = build(getattr(chosen, "net", chosen), width)
        features = torch.randn(lists, length, width, generator=generator)
        labels = torch.randint(0, 5, (lists, length), generator=generator).float()
        where = torch.ones(lists, length, dtype=torch.bool)
        loss = losses.loss(config.loss.name, **config.loss.params)
        kept, seconds = _measured(net, loss, features, labels, where, objectives)
    parameters = members * sum(p.numel() for p in net.parameters())
    # Lists of one batch are of like length (buckets): a tenth is padding where they are not all the same.
    cells = round(sizes.queries["train"] * length * 1.1)
    full = min(settings.cells, settings.lists * min(sizes.longest or 4 * length, settings.list_size or 1 << 60))
    batches = math.ceil(cells / max(1, min(settings.cells, settings.lists * length)))
    probed = lists * length
    facts = {
        "cells": cells,
        "batches": batches,
        "epochs": settings.epochs,
        "parameters": parameters,
        # A full batch keeps as much a cell as the probe did; weights, gradients and two moments are four copies.
        "memory_bytes": int(data + 16 * parameters + kept * full / probed),
    }
    return facts, members * seconds / probed


def _measured(
    net: torch.nn.Module,
    loss: Any,
    features: torch.Tensor,
    labels: torch.Tensor,
    where: torch.Tensor,
    objectives: int,
) -> tuple[int, float]:
    """Bytes a step of training keeps for its way back, and its seconds of processor time."""
    kept, seconds = 0, math.inf

    def weigh(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    for _ in range(3):  # the first pass warms up
        kept, began = 0, time.process_time()
        with torch.autograd.graph.saved_tensors_hooks(weigh, lambda tensor: tensor):
            scores = net(features, where)
            total = sum(loss.reduce(loss(scores, labels, where), labels, where) for _ in range(objectives))
            total.backward()
        seconds = min(seconds, time.process_time() - began)
    return kept, seconds


def _trees(params: Mapping[str, Any], sizes: Sizes, data: int) -> tuple[dict[str, Any], float]:
    """What a forest takes, and its seconds: histograms of every feature level by level, and lambdas of every list."""
    leaves = params.get("leaves") or 2 ** min(params.get("depth") or 6, 16)
    documents, rounds = sizes.documents["train"], params["rounds"]
    # The smaller child of a split is counted, the other one subtracted: half of the documents on a level.
    histograms = documents * sizes.features * (1 + 0.5 * math.log2(max(2, leaves)))
    lambdas = 10 * documents * min(sizes.list_length, 30)
    scans = leaves * sizes.features * 255
    facts = {
        # A byte a binned value beside the floats, and gradient, hessian and score a document.
        "memory_bytes": data + documents * (sizes.features + 24),
        "parameters": rounds * leaves,
    }
    return facts, rounds * (histograms + lambdas + scans) * _an_operation()


@functools.cache
def _an_operation() -> float:
    """Seconds of processor time of adding one value to its bin, on this machine."""
    values = np.random.default_rng(0).integers(0, 255, 200_000)
    weights = np.ones(len(values))
    count: Callable[[], Any] = lambda: np.bincount(values, weights, 255)  # noqa: E731
    count()
    took = []
    for _ in range(3):
        began = time.process_time()
        count()
        took.append(time.process_time() - began)
    return min(took) / len(values)
