"""What a run will cost, before it is paid: memory and time from counted operations and one probe of this machine.

Nothing is trained and no data are read. Of a net, two steps are taken: one on a few made-up lists of the data's mean
length, one on next to nothing. The first says what a document costs, the second what a step costs whatever is in it,
which members of a stack share. Of trees, the operations of their histograms are counted, and what one costs here is
measured once a process. Times are processor time of one thread, so that a busy machine does not stretch them.

They come as a range, of two reasons. What was counted is right up to `_LOOSE`. Where early stopping may end a training,
the share of its epochs or rounds that are trained lies between the least and 1, taken as equally likely on a log scale;
many trainings stop early and late, so that their sum is known better than each: the range holds nine sums of ten.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.optim.adam import adam  # the step alone: making an optimiser imports torch's compiler, for seconds

from ltr import losses
from ltr.methods import METHODS
from ltr.methods.gradient_methods import AdaptiveConfig
from ltr.methods.plug_in import PlugInConfig, trainings
from ltr.rankers import RANKERS, resolve_params
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
_LOOP = 2e-3  # seconds of a step outside of net, loss and optimiser: the trainer, and the batch it takes
# How far the truth may lie from what was counted: nine of ten runs of the study of fronts lie there.
_LOOSE = (0.6, 1.8)


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
        course: seconds of processor time of all trainings to their ends, of everything else, and the share of a
            training's epochs or rounds after which it may stop.
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
    course: tuple[float, float, float]
    trainings: int = 1

    @property
    def seconds(self) -> tuple[float, float]:
        """Of the whole run, at least and at most."""
        return self.of(1)

    def of(self, runs: int) -> tuple[float, float]:
        """Seconds of so many runs of this kind, at least and at most."""
        whole, rest, least = self.course
        low, high = _stopped(least, runs * self.trainings)
        return _LOOSE[0] * runs * (low * whole + rest), _LOOSE[1] * runs * (high * whole + rest)

    def facts(self) -> dict[str, Any]:
        return {**asdict(self), "seconds": self.seconds}

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
    whole = sizes or sizes_of(config.data.name, config.data.fold, columns, **config.data.roles)
    sizes = whole.labelled(config.data.labelled or 1.0)
    m = max(1, len(config.data.objectives))
    data = 4 * sum(sizes.documents.values()) * (sizes.features + m + 1)
    facts: dict[str, Any] = {"cells": 0, "batches": 0, "epochs": 0, "parameters": None, "memory_bytes": data}
    work, least, together = 0.0, 1.0, [1]  # seconds of all trainings; how many of them go side by side
    alone = config
    if isinstance(system, MethodSystem):
        together, alone = _trainings(system), _alone(system)
    inside = [estimate(each, whole) for each in _inside(alone)]
    if alone.training is not None and alone.loss is not None and _has_net(alone):
        # A regressor of the plug-in method learns one form at a time; the others weigh a loss an objective.
        one = not isinstance(system, MethodSystem) or METHODS[system.name].claims["config"] is PlugInConfig
        net, document, step = _net(alone, sizes, data, 1 if one else m)
        facts |= net
        backward = (1 + m) / 2 if _combines_gradients(system) else 1.0  # they want each objective's by itself
        seen = net["cells"] + _SCORING * sizes.documents["vali"]
        work = alone.training.epochs * backward * sum(net["batches"] * step + k * seen * document for k in together)
        patience = alone.training.patience
        least = min(1.0, (patience + 1) / alone.training.epochs) if patience else 1.0
    elif alone.ranker is not None and "rounds" in alone.ranker.params:
        params = alone.ranker.params
        copies = system.method.params.get("copies", 1) if isinstance(system, MethodSystem) else 1
        forest, seconds = _trees(params, sizes, data, copies)
        facts |= forest
        work = sum(together) * seconds
        stops = params.get("patience", 50) + params.get("select_every", 10)
        least = min(1.0, stops / params["rounds"]) if params.get("patience", 50) else 1.0
    work += sum(each.course[0] for each in inside)
    least = min([least, *(each.course[2] for each in inside)])
    facts["memory_bytes"] = max(facts["memory_bytes"], *(each.memory_bytes for each in inside), 0)
    points = 1 if system.preferences is None else len(system.preferences)
    # Scores and measures of every preference: sorting, and a few passes over the labels.
    after = _START + points * m * 3e-7 * (sizes.documents["vali"] + sizes.documents["test"])
    return Estimate(
        dict(sizes.queries),
        dict(sizes.documents),
        sizes.features,
        **facts,
        course=(work, after, least),
        trainings=sum(together),
    )


def _chosen(config: RunConfig) -> Any:
    """The ranker's parameters as its own class."""
    assert config.ranker is not None
    return bind(RANKERS[config.ranker.name].claims["config"], config.ranker.params, where=config.ranker.name)


def _has_net(config: RunConfig) -> bool:
    """Whether a ranker is a net, or trains one beside the rankers it is made of."""
    assert config.ranker is not None
    return RANKERS[config.ranker.name].claims["kind"] == "neural" or hasattr(_chosen(config), "net")


def _inside(config: RunConfig) -> list[RunConfig]:
    """The trainings of the rankers that a ranker is made of."""
    found = []
    for each in getattr(_chosen(config), "rankers", ()) if config.ranker else ():
        loss, training = None, None
        if each.takes_loss:
            loss = LossChoice(each.loss, each.loss_params) if each.loss else config.loss
            training = each.settings(config.training)
        # What comes before the labels sees all lists.
        before = config.ranker is not None and config.ranker.name == "pretrained"
        data = replace(config.data, labelled=None) if before else config.data
        if each.ranker:
            choice = RankerChoice(each.ranker, each.params)
            found.append(replace(config, data=data, ranker=choice, loss=loss, training=training))
    return found


def _stopped(least: float, trainings: int) -> tuple[float, float]:
    """What share of all epochs these trainings take together, at least and at most, when each stops between `least` and
    1 with equal chances on a log scale: nine sums of ten lie between them."""
    if least >= 1.0:
        return 1.0, 1.0
    log = math.log(1 / least)
    mean = (1 - least) / log
    wide = 1.64 * math.sqrt(((1 - least**2) / (2 * log) - mean**2) / trainings)
    return max(least, mean - wide), min(1.0, mean + wide)


def _combines_gradients(system: object) -> bool:
    return isinstance(system, MethodSystem) and METHODS[system.name].claims["config"] is AdaptiveConfig


def _trainings(system: MethodSystem) -> list[int]:
    """What can be said before a method has run: its models, the base it starts from, and those of a pay-off table; how
    many of them are trained side by side each time."""
    claims, m = METHODS[system.name].claims, len(system.objectives)
    models = {"preference": len(system.preferences), "objective": m, "one": 1}[claims["models"]]
    if claims["config"] is PlugInConfig:  # its forms, one net for all
        models = trainings(bind(PlugInConfig, system.method.params), m)
    own_base = [1] if claims["base"] and system.method.base is None else []
    stacked = system.method.params.get("stacked", False) and not _combines_gradients(system)
    groups = [models, m] if claims.get("payoff") else [models]
    return own_base + [size for k in groups for size in ([k] if stacked else [1] * k)]


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


def _net(config: RunConfig, sizes: Sizes, data: int, objectives: int) -> tuple[dict[str, Any], float, float]:
    """What the net of a config takes, seconds a document of a training step, and those of a step without any."""
    assert config.ranker is not None and config.training is not None and config.loss is not None
    settings, length = config.training, sizes.list_length
    length = min(length, settings.list_size) if settings.list_size else length
    lists = max(1, min(_LISTS, settings.batch_size, settings.cells // max(1, length), _PROBE // length or 1))
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        chosen = _chosen(config)
        # Of a bag, whose members are trained and kept alike.
        members = getattr(chosen, "members", 1) if hasattr(chosen, "net") else 1
        # The transform puts a column behind the others for each that misses values.
        width = sizes.features + (0 if settings.missing == "mean" else sizes.missing)
        width += 0 if settings.context is None else 2 * sizes.features
        net = build(getattr(chosen, "net", chosen), width)
        features = torch.randn(lists, length, width, generator=generator)
        labels = torch.randint(0, 5, (lists, length), generator=generator).float()
        where = torch.ones(lists, length, dtype=torch.bool)
        loss = losses.loss(config.loss.name, **config.loss.params)
        kept, seconds = _measured(net, loss, features, labels, where, objectives)
        _, least = _measured(net, loss, features[:1, :2], labels[:1, :2], where[:1, :2], objectives, steps=True)
    parameters = members * sum(p.numel() for p in net.parameters())
    # Lists of one batch are of like length (buckets): a tenth is padding where they are not all the same.
    cells = round(sizes.queries["train"] * length * 1.1)
    full = min(settings.cells, settings.batch_size * min(sizes.longest or 4 * length, settings.list_size or 1 << 60))
    batches = math.ceil(cells / max(1, min(settings.cells, settings.batch_size * length)))
    probed = lists * length
    document = max(seconds - least, 0.2 * seconds) / probed
    facts = {
        "cells": cells,
        "batches": batches,
        "epochs": settings.epochs,
        "parameters": parameters,
        # A full batch keeps as much a cell as the probe did; weights, gradients and two moments are four copies.
        "memory_bytes": int(data + 16 * parameters + kept * full / probed),
    }
    return facts, members * document, members * (least + _LOOP)


def _measured(
    net: torch.nn.Module,
    loss: Any,
    features: torch.Tensor,
    labels: torch.Tensor,
    where: torch.Tensor,
    objectives: int,
    steps: bool = False,
) -> tuple[int, float]:
    """Bytes a step of training keeps for its way back, and its seconds, with the optimiser's where it `steps`."""
    kept, seconds = 0, math.inf
    moments = {p: (torch.zeros_like(p), torch.zeros_like(p), torch.zeros(())) for p in net.parameters()}

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
        if steps:
            _step({p: moments[p] for p in moments if p.grad is not None})
        seconds = min(seconds, time.process_time() - began)
    return kept, seconds


@torch.no_grad()
def _step(moments: Mapping[torch.nn.Parameter, tuple[torch.Tensor, ...]]) -> None:
    """Adam's, by nothing: parameter -> mean and square of its gradients, and number of steps."""
    first, second, steps = map(list, zip(*moments.values(), strict=True)) if moments else ([], [], [])
    rates: dict[str, Any] = {"lr": 0.0, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
    gradients = [p.grad for p in moments if p.grad is not None]
    adam([*moments], gradients, first, second, [], steps, amsgrad=False, maximize=False, **rates)


def _trees(params: Mapping[str, Any], sizes: Sizes, data: int, copies: int) -> tuple[dict[str, Any], float]:
    """What a forest takes, and its seconds: histograms of every feature level by level, and lambdas of every list."""
    leaves = params.get("leaves") or 2 ** min(params.get("depth") or 6, 16)
    documents, rounds = copies * sizes.documents["train"], params["rounds"]
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
