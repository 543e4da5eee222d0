"""What a suite would cost, said before it is paid: its runs counted, its time and memory estimated from short runs.

Every system is run for a few epochs (or rounds) on a sample of the lists, twice, through the same door as in earnest:
the difference is the price of an epoch, the rest that of everything around it. Both are taken to grow with documents.
Where the data are not on this machine, lists of the sizes on the dataset's card stand in for them. A method that trains
a model a preference is probed with one an objective. An estimate is easily off by a factor of two; it tells minutes
from days. Stopping early makes a run shorter than said, and so does a fleet; how many there are is said.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ltr.bench.suite.plan import fleets, main_jobs, run_config, tuning_jobs
from ltr.bench.suite.suite import Suite, Variant
from ltr.errors import InputError
from ltr.runs import execute, resolve
from ltr.runs.config import RunConfig
from ltr.seeds import seed_of
from ltr.types import Split, Task

if TYPE_CHECKING:
    from rich.console import Console

    from ltr.datasets.cards.card import Card

__all__ = ["Cost", "Plan", "plan", "print_plan", "stand_in"]

_SAMPLE = 2_500  # training documents of a probe: the largest published nets take seconds for an epoch of them
_EPOCHS, _ROUNDS = (1, 3), (10, 30)  # of the two probes


@dataclass(frozen=True)
class Cost:
    """One system on one dataset: runs that tune, runs that are reported, seconds and bytes of one run at most; how many
    pieces of work these are, which is less where runs train together."""

    dataset: str
    system: str
    tuning: int
    runs: int
    seconds: float
    memory: float
    pieces: int = 0


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
    def together(self) -> int:
        """Pieces of work they are: a fleet is one."""
        return sum(c.pieces for c in self.costs)

    @property
    def seconds(self) -> float:
        """Wall time with all workers busy to the end."""
        return sum((c.tuning + c.runs) * c.seconds for c in self.costs) / self.workers

    @property
    def memory(self) -> float:
        """Bytes, when the most demanding systems meet in all workers, the launching process included."""
        largest = sorted((c.memory for c in self.costs), reverse=True)
        launcher = min(largest, default=0.0)
        return launcher + sum((largest * self.workers)[: self.workers])


def plan(
    suite: Suite,
    *,
    data: Mapping[str, str] | None = None,
    workers: int | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> Plan:
    """Counts the runs of a suite and estimates their cost; trains nothing but the short probes.

    Args:
        data: dataset -> where it is read from, as in `run_suite`.
        workers: the suite's number by default.
        tell: hears what is being measured.
    """
    costs, sources = [], {}
    for dataset in suite.datasets:
        task, folds, sources[dataset] = _task_of(dataset, (data or {}).get(dataset, dataset), suite.objectives)
        only = replace(suite, datasets=(dataset,))
        tuning, runs = tuning_jobs(only, {dataset: folds}), main_jobs(only, {dataset: folds})
        sample = _sample(task)
        for variant in suite.variants():
            tell(f"measuring {variant.label} on {dataset}")
            seconds, memory = _price(suite, variant, dataset, task, sample)
            own = [[j for j in jobs if j.system == variant.label] for jobs in (tuning, runs)]
            pieces = sum(len(fleets(jobs)) if suite.limits.fleet else len(jobs) for jobs in own)
            costs.append(Cost(dataset, variant.label, *map(len, own), seconds, memory, pieces))
    return Plan(tuple(costs), sources, workers or suite.limits.workers)


def print_plan(suite: Suite, *, data: Mapping[str, str], workers: int, console: Console) -> Plan:
    """The plan on the terminal."""
    from rich import box
    from rich.table import Table

    from .display import duration

    with console.status("measuring") as status:
        found = plan(suite, data=data, workers=workers, tell=status.update)
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
    trained = f", trained as {found.together}" if found.together < found.runs else ""
    also = " and as if each were trained alone" if trained else ""
    console.print(
        f"{found.runs} runs{trained}; about {duration(found.seconds)} with {workers} worker{'s' * (workers != 1)} "
        f"and {found.memory / 2**30:.1f} GiB of memory. This is an estimate from short runs on a sample, without early "
        f"stopping{also}; nothing was kept."
    )
    return found


def _task_of(dataset: str, source: str, objectives: Sequence[str] = ()) -> tuple[Task, Sequence[str], str]:
    """The first fold's task, the folds, and what it is: the data, or a stand-in of the sizes on the card."""
    from ltr.datasets import load
    from ltr.objectives.tasks import load_multi

    from .launch import dataset_folds

    try:
        folds = dataset_folds(source)
        task = load_multi(source, objectives, folds[0])[0] if objectives else load(source, fold=folds[0])
        return task, folds, "measured on the data"
    except InputError as absent:
        from ltr.datasets.cards.card import cards, load_card

        if source != dataset or dataset not in cards():
            raise
        card = load_card(dataset)
        if not card.counts and not card.splits:
            raise absent from None
        folds = [f.name for f in card.folds] or ["Fold1"]
        return (
            stand_in(card, folds[0], objectives),
            folds,
            "not on this machine: lists of the size on its card stand in",
        )


def stand_in(card: Card, fold: str, objectives: Sequence[str] = ()) -> Task:
    """A task of the size of a dataset that is not here: list lengths, features and grades are drawn, of each objective.

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
        size = round(scale * count.queries), scale * count.documents, card.n_features
        splits[name] = _drawn(*size, name, generator, tuple(objectives) or ("relevance",))
    return Task(card.name, fold, **splits)


def _drawn(queries: int, documents: float, n_features: int, name: str, generator, objectives) -> Split:
    lengths = np.maximum(1, generator.gamma(2.0, documents / queries / 2.0, queries).round()).astype(np.int64)
    offsets = np.concatenate([[0], lengths.cumsum()])
    features = np.zeros((offsets[-1], n_features), np.float32)
    real = min(len(features), 2 * _SAMPLE)
    features[:real] = generator.standard_normal((real, n_features), np.float32)
    size = (offsets[-1], len(objectives))
    labels = generator.choice(5, size=size, p=[0.52, 0.32, 0.13, 0.02, 0.01]).astype(np.float32)
    return Split(features, labels, offsets, np.arange(queries).astype(str), name=name, objectives=objectives)


def _sample(task: Task) -> Task:
    """The first lists of each split, the same share of all three."""
    lists = max(2, int(np.searchsorted(task.train.offsets, _SAMPLE)))
    share = min(1.0, lists / task.train.n_queries)
    splits = {name: task.split(name) for name in ("train", "vali", "test")}
    return replace(
        task,
        **{
            name: split.take(np.arange(min(split.n_queries, max(2, round(share * split.n_queries)))))
            for name, split in splits.items()
        },
    )


def _price(suite: Suite, variant: Variant, dataset: str, task: Task, sample: Task) -> tuple[float, float]:
    """Seconds and bytes of one run at most; nothing for a run that will be skipped."""
    from ltr.runs.estimate import estimate
    from ltr.runs.sizes import sizes_of_task

    config = resolve(run_config(suite, variant, dataset, task.fold, variant.seeds[0]))
    growth = task.train.n_documents / sample.train.n_documents
    _probe(config, sample, 0)  # imports, caches
    cheap, dear = (_probe(config, sample, n) for n in (0, 1))
    if dear is None or cheap is None:
        return 0.0, 0.0
    one, more = cheap.seconds, dear.seconds
    few, many, all_steps = _steps(config)
    a_step = max(more - one, 0.0) / max(many - few, 1)
    seconds = growth * (max(one - few * a_step, 0.0) + all_steps * a_step) * _more_models(config, dear.models)
    # Beside its own size, what the process holds anyway is seen in the probe.
    return seconds, dear.memory + estimate(config, sizes_of_task(task)).memory_bytes


def _more_models(config: RunConfig, probed: int) -> float:
    """How many times the models of the probe a run trains: a model a preference, where the probe had the corners."""
    from ltr.methods import METHODS
    from ltr.objectives import lattice

    if config.method is None or METHODS[config.method.name].claims["steers"] != "fitted":
        return 1.0
    m = len(config.data.objectives)
    return 1 + (len(lattice(m, config.preferences)) - m) / max(probed, 1)


def _steps(config: RunConfig) -> tuple[int, int, int]:
    """Epochs or rounds of the two probes and of the run; a ranker without either is run as it is."""
    if config.method is not None:
        training = config.method.params.get("training")
        return (*_EPOCHS, training["epochs"]) if training else (0, 0, 0)
    if config.training is not None:
        return (*_EPOCHS, config.training.epochs)
    if "rounds" in config.ranker.params:
        return (*_ROUNDS, config.ranker.params["rounds"])
    return 0, 0, 0


class Probe(NamedTuple):
    """A short run: its seconds, the peak memory of the process, and the models it trained."""

    seconds: float
    memory: float
    models: int = 1


def _probe(config: RunConfig, sample: Task, which: int) -> Probe | None:
    """A short run on the sample; None where it does not run."""
    steps = _steps(config)[which]
    if config.method is not None:
        params = dict(config.method.params)
        if steps:
            params["training"] = {**params["training"], "epochs": steps, "patience": 0, "warmup": 0.0}
        config = replace(config, method=replace(config.method, params=params), preferences=1)
    elif config.training is not None:
        config = replace(config, training=replace(config.training, epochs=steps, patience=0, warmup=0))
    elif steps:
        params = {**config.ranker.params, "rounds": steps, "patience": 0}
        config = replace(config, ranker=replace(config.ranker, params=params))
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        record = execute(config, Path(folder) / "probe", task=sample)
        seconds = time.perf_counter() - began
    if not record.done:
        return None
    return Probe(seconds, float(record.cost["peak_memory_bytes"]), record.cost.get("models_trained", 1))
