"""What a suite would cost, said before it is paid: its runs are counted, `ltr.runs.estimate` prices one of each system.

Nothing is trained and no data are opened: sizes come from stores' manifests, cards or names. A range says how far early
stopping, caches and odd lists may move it; it tells minutes from days. What trains together takes less than said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ltr.bench.suite.plan import Resolver, dataset_folds, main_jobs, stackable, tuning_jobs
from ltr.bench.suite.suite import Suite
from ltr.bench.text import count, duration, terminal_table
from ltr.datasets.cards.card import cards, load_card
from ltr.errors import InputError
from ltr.runs.sizes import sizes_of

if TYPE_CHECKING:
    from rich.console import Console

    from ltr.runs.estimate import Estimate

__all__ = ["Cost", "Plan", "plan", "print_plan"]

_PROCESS = 4e8  # bytes a process with torch holds before it does anything
Range = tuple[float, float]


@dataclass(frozen=True)
class Cost:
    """One system on one dataset.

    Attributes:
        tuning, runs: runs that only choose, and runs that are reported.
        one: what is said of one run.
        memory: bytes of one run.
        pieces: pieces of work these runs are; less where some train together.
    """

    dataset: str
    system: str
    tuning: int
    runs: int
    one: Estimate
    memory: float
    pieces: int = 0

    @property
    def seconds(self) -> Range:
        """Of processor time of one run, at least and at most."""
        return self.one.seconds

    @property
    def all_seconds(self) -> Range:
        """Of all of its runs, one after another."""
        return self.one.of(self.tuning + self.runs)


@dataclass(frozen=True)
class Plan:
    """What would be run.

    Attributes:
        costs: a row a dataset and system.
        sources: dataset -> how its size is known.
        workers: processes the time is divided by.
    """

    costs: tuple[Cost, ...]
    sources: dict[str, str]
    workers: int

    @property
    def runs(self) -> int:
        return sum(c.tuning + c.runs for c in self.costs)

    @property
    def pieces(self) -> int:
        """Pieces of work they are: what trains together is one."""
        return sum(c.pieces for c in self.costs)

    @property
    def seconds(self) -> Range:
        """With all workers busy to the end."""
        low, high = (sum(c.all_seconds[end] for c in self.costs) / self.workers for end in (0, 1))
        return low, high

    @property
    def memory(self) -> float:
        """Bytes, when the most demanding systems meet in all workers, the launching process included."""
        largest = sorted((c.memory for c in self.costs), reverse=True)
        return _PROCESS + sum((largest * self.workers)[: self.workers])


def plan(
    suite: Suite,
    *,
    data: Mapping[str, str] | None = None,
    workers: int | None = None,
    tell: Callable[[str], None] = lambda what: None,
) -> Plan:
    """Counts the runs of a suite and prices them.

    Args:
        data: dataset -> where it is read from, as in `run_suite`.
        workers: the suite's number by default.
        tell: hears what is being priced.

    Raises:
        InputError: a mistake in the suite, or data whose size nothing tells.
    """
    from ltr.runs.estimate import estimate

    costs, sources, resolved = [], {}, Resolver()
    for dataset in suite.datasets:
        source = (data or {}).get(dataset, dataset)
        folds = {dataset: _folds(dataset, source)}
        only = replace(suite, datasets=(dataset,))
        tuning, runs = tuning_jobs(only, folds), main_jobs(only, folds)
        sizes = sizes_of(source, runs[0].fold, [*suite.objectives, *filter(None, [suite.main])])
        sources[dataset] = sizes.source
        for variant in suite.variants():
            tell(f"{variant.label} on {dataset}")
            own = [[j for j in jobs if j.system == variant.label] for jobs in (tuning, runs)]
            one = estimate(resolved(own[1][0]), sizes)
            pieces = sum(len(stackable(jobs)) if suite.limits.stacked else len(jobs) for jobs in own)
            memory = _PROCESS + one.memory_bytes
            costs.append(Cost(dataset, variant.label, len(own[0]), len(own[1]), one, memory, pieces))
    return Plan(tuple(costs), sources, workers or suite.limits.workers)


def _folds(dataset: str, source: str) -> tuple[str, ...]:
    """The folds of the data, or of its card where they are not on this machine."""
    try:
        return dataset_folds(source)
    except InputError:
        if source != dataset or dataset not in cards():
            raise
        return tuple(fold.name for fold in load_card(dataset).folds) or ("Fold1",)


def print_plan(suite: Suite, *, data: Mapping[str, str], workers: int, console: Console) -> Plan:
    """The plan on the terminal."""
    from rich.markup import escape

    with console.status("counting") as status:
        found = plan(suite, data=data, workers=workers, tell=lambda what: status.update(escape(what)))
    console.print(f"[bold]{escape(suite.title)}[/]", highlight=False)
    for dataset, source in found.sources.items():
        rows = [
            {
                "system": c.system,
                "tuning runs": str(c.tuning),
                "runs": str(c.runs),
                "a run": _between(c.seconds),
                "all": _between(c.all_seconds),
                "GiB": f"{c.memory / 2**30:.1f}",
            }
            for c in found.costs
            if c.dataset == dataset
        ]
        heads = tuple(rows[0]) if rows else ()
        title = f"{dataset} (sizes: {source})"
        console.print(terminal_table(title, rows, heads, heads, console.width, left=("system",)))
    together = f", trained as {found.pieces}" if found.pieces < found.runs else ""
    alone = ", as if each were trained alone" if together else ""
    console.print(
        f"{count(found.runs, 'run')}{together}; {_between(found.seconds)} with {count(workers, 'worker')} and "
        f"{found.memory / 2**30:.1f} GiB of memory. This is an estimate from counted operations and a probe of this "
        f"machine{alone}; nothing was trained."
    )
    return found


def _between(seconds: Range) -> str:
    low, high = map(duration, seconds)
    return low if low == high else f"{low} to {high}"
