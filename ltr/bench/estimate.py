"""What a suite would cost, said before it is paid: its runs counted, its time and memory estimated from measured steps.

Nets: one step of the real net and loss (`ltr.runs.estimate`), times the steps of all epochs; stopping early makes it
less. Trees: two short fits on a sample tell the price of a round and of the start, both taken to grow with documents.
Where the data are not on this machine, lists of the sizes on the dataset's card stand in for them. An estimate is off
by a factor of two easily; it tells minutes from days.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ltr.errors import InputError
from ltr.seeds import seed_of
from ltr.types import Split, Task

from .matrix import Suite, Variant
from .plan import main_jobs, run_config, tuning_jobs

if TYPE_CHECKING:
    from rich.console import Console

    from ltr.datasets.card import Card

__all__ = ["Cost", "Plan", "plan", "print_plan", "stand_in"]

_SAMPLE = 10_000  # documents a probe of the trees is fitted on
_PROBES = (2, 6)  # rounds of the two fits whose difference is the price of a round
_PROCESS = 400e6  # bytes of a process with torch before it reads anything


@dataclass(frozen=True)
class Cost:
    """One system on one dataset: runs that tune, runs that are reported, seconds and bytes of one run at most."""

    dataset: str
    system: str
    tuning: int
    runs: int
    seconds: float
    memory: float


@dataclass(frozen=True)
class Plan:
    """What would be run.

    Attributes:
        costs: a row a dataset and system.
        sources: dataset -> what was measured: the data itself, or lists of the size on its card.
        workers: processes the time is divided by.
    """

    costs: tuple[Cost, ...]
    sources: dict[str, str]
    workers: int

    @property
    def runs(self) -> int:
        return sum(c.tuning + c.runs for c in self.costs)

    @property
    def seconds(self) -> float:
        """Wall time with all workers busy to the end."""
        return sum((c.tuning + c.runs) * c.seconds for c in self.costs) / self.workers

    @property
    def memory(self) -> float:
        """Bytes, when the most demanding systems meet in all workers, the launching process included."""
        largest = sorted((c.memory for c in self.costs), reverse=True)
        return _PROCESS + sum((largest * self.workers)[: self.workers] if largest else [])


def plan(suite: Suite, *, data: Mapping[str, str] | None = None, workers: int | None = None) -> Plan:
    """Counts the runs of a suite and estimates their cost; trains nothing but the short probes.

    Args:
        data: dataset -> where it is read from, as in `run_suite`.
        workers: the suite's number by default.
    """
    costs, sources = [], {}
    for dataset in suite.datasets:
        task, folds, sources[dataset] = _task_of(dataset, (data or {}).get(dataset, dataset))
        only = replace(suite, datasets=(dataset,))
        tuning, runs = tuning_jobs(only, {dataset: folds}), main_jobs(only, {dataset: folds})
        for variant in suite.variants():
            seconds, memory = _price(suite, variant, dataset, task)
            counts = (sum(j.system == variant.label for j in jobs) for jobs in (tuning, runs))
            costs.append(Cost(dataset, variant.label, *counts, seconds, memory))
    return Plan(tuple(costs), sources, workers or suite.limits.workers)


def print_plan(suite: Suite, *, data: Mapping[str, str], workers: int, console: Console) -> Plan:
    """The plan on the terminal."""
    from rich import box
    from rich.table import Table

    from .display import duration

    found = plan(suite, data=data, workers=workers)
    console.print(f"[bold]{suite.title}[/]", highlight=False)
    for dataset, source in found.sources.items():
        table = Table(title=f"{dataset} ({source})", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("system")
        for head in ("tuning runs", "runs", "a run at most", "all", "GiB"):
            table.add_column(head, justify="right")
        for c in found.costs:
            if c.dataset == dataset:
                whole = duration((c.tuning + c.runs) * c.seconds)
                memory = f"{c.memory / 2**30:.1f}"
                table.add_row(c.system, str(c.tuning), str(c.runs), duration(c.seconds), whole, memory)
        console.print(table)
    console.print(
        f"{found.runs} runs; about {duration(found.seconds)} with {workers} worker{'s' * (workers != 1)} "
        f"and {found.memory / 2**30:.1f} GiB of memory. This is an estimate from a few measured steps on this machine, "
        f"without early stopping; nothing was run."
    )
    return found


def _task_of(dataset: str, source: str) -> tuple[Task, Sequence[str], str]:
    """The first fold's task, the folds, and what it is: the data, or a stand-in of the sizes on the card."""
    from ltr.datasets import load

    from .launch import dataset_folds

    try:
        folds = dataset_folds(source)
        return load(source, fold=folds[0]), folds, "measured on the data"
    except InputError as absent:
        from ltr.datasets.card import cards, load_card

        if source != dataset or dataset not in cards():
            raise
        card = load_card(dataset)
        if not card.counts and not card.splits:
            raise absent from None
        folds = [f.name for f in card.folds] or ["Fold1"]
        return stand_in(card, folds[0]), folds, "not on this machine: lists of the size on its card stand in"


def stand_in(card: Card, fold: str) -> Task:
    """A task of the size of a dataset that is not here: list lengths, features and grades are drawn.

    Features beyond the first lists are zero pages the system never allocates, so that a data set larger than the
    memory can be estimated.
    """
    generator = np.random.default_rng(seed_of("stand-in", card.name))
    shares = {"train": 0.6, "vali": 0.2, "test": 0.2}
    splits = {}
    for name, share in shares.items():
        count = card.splits.get(f"{fold}/{name}") or card.counts
        scale = 1.0 if f"{fold}/{name}" in card.splits else share
        if count is None or count.queries is None or count.documents is None:
            raise InputError(
                f"the card of {card.name!r} does not say how large {fold}/{name} is", do="Fetch the data first"
            )
        splits[name] = _drawn(round(scale * count.queries), scale * count.documents, card.n_features, name, generator)
    return Task(card.name, fold, **splits)


def _drawn(queries: int, documents: float, n_features: int, name: str, generator) -> Split:
    lengths = np.maximum(1, generator.gamma(2.0, documents / queries / 2.0, queries).round()).astype(np.int64)
    offsets = np.concatenate([[0], lengths.cumsum()])
    features = np.zeros((offsets[-1], n_features), np.float32)
    real = min(len(features), 2 * _SAMPLE)
    features[:real] = generator.standard_normal((real, n_features), np.float32)
    labels = generator.choice(5, size=(offsets[-1], 1), p=[0.52, 0.32, 0.13, 0.02, 0.01]).astype(np.float32)
    return Split(features, labels, offsets, np.arange(queries).astype(str), name=name)


def _price(suite: Suite, variant: Variant, dataset: str, task: Task) -> tuple[float, float]:
    """Seconds and bytes of one run at most."""
    from ltr.errors import MissingExtra
    from ltr.runs.estimate import estimate

    config = run_config(suite, variant, dataset, task.fold, variant.seeds[0])
    found = estimate(config, task)
    seconds = found.seconds
    if seconds is None:
        try:
            seconds = _probe(variant, task, suite.select)
        except MissingExtra:  # it will be skipped, which costs nothing
            seconds = 0.0
    else:
        # Validation after every epoch: a forward pass, about a third of a training step, over its documents.
        seconds *= 1 + found.documents["vali"] / max(found.documents["train"], 1) / 3
    return seconds, found.memory_bytes + _PROCESS


def _probe(variant: Variant, task: Task, select: str) -> float:
    """Seconds of a whole fit of a ranker without a training loop of ours, from short fits on some lists."""
    from ltr.rankers import make_ranker, resolve_params

    lists = max(2, int(np.searchsorted(task.train.offsets, _SAMPLE)))
    sample = task.train.take(np.arange(min(lists, task.train.n_queries)))
    growth = task.train.n_documents / sample.n_documents
    rounds = resolve_params(variant.ranker, variant.params).get("rounds")
    if rounds is None:
        return growth * _timed(make_ranker(variant.ranker, **variant.params), sample, select)
    params = {**variant.params, "select_rounds": False}
    few, more = (_timed(make_ranker(variant.ranker, **{**params, "rounds": r}), sample, select) for r in _PROBES)
    a_round = max(more - few, 0.0) / (_PROBES[1] - _PROBES[0])
    return growth * (max(few - _PROBES[0] * a_round, 0.0) + rounds * a_round)


def _timed(ranker, sample: Split, select: str) -> float:
    began = time.perf_counter()
    ranker.fit(sample, None, select=select)
    return time.perf_counter() - began
