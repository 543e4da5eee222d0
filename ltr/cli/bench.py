"""`ltr bench`: run a suite of many runs, see its leaderboard."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ltr.errors import InputError, say_once

from . import show
from .options import Command, Device, option, pairs


@dataclass(frozen=True)
class Run:
    """Run a suite: tune, train, measure, write the report.

    The same command again does only what is not done; the report shows all runs of the suite in the folder.

    Attributes:
        suite: suite file, or the name of one that comes with ltr (see: ltr bench list).
        out: folder of runs and report (default: runs/SUITE); or a URL in an object store, as s3://bucket/run.
        data: read a dataset of the suite from this store, folder or file.
        workers: processes that train at the same time; the suite's number by default.
        threads: threads of each; the suite's number by default.
        only: systems to run, by label, or its beginning where none is called so.
        seeds: instead of the suite's.
        device: where it is computed.
        stacked: train the seeds of a system together, and its candidates, whatever the suite says: the same numbers.
        no_stacked: train every run by itself.
        gpus: each worker sees one of these GPUs (CUDA_VISIBLE_DEVICES), a worker each by default.
        per_gpu: workers that share a GPU.
        engine: who starts the workers: this machine, Slurm (by submitit) or dask.
        copies: workers it starts; 0 only prepares the folder for `ltr bench work`.
        dry_run: print the plan with an estimate of time and memory, and run nothing.
        quiet: no progress and no leaderboard.
    """

    suite: str
    out: str | None = option(None, metavar="FOLDER")
    data: tuple[str, ...] = option((), metavar="NAME=PATH")
    workers: int | None = None
    threads: int | None = None
    only: tuple[str, ...] = option((), metavar="LABEL")
    seeds: tuple[int, ...] = ()
    device: Device = "auto"
    stacked: bool = False
    no_stacked: bool = False
    gpus: tuple[str, ...] = option((), metavar="ID")
    per_gpu: int = 1
    engine: Literal["local", "submitit", "dask"] = "local"
    copies: int | None = None
    dry_run: bool = False
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Work:
    """Take part in a suite that was prepared in a folder, from this machine or any other that sees it.

    `ltr bench run SUITE --copies 0` prepares one; `ltr bench run SUITE` beside it works on the same. Every run is done
    by one worker; what a machine that dies was at, another continues.

    Attributes:
        folder: a suite's folder, or its URL in an object store (s3://bucket/run).
        until: stop after this time (90s, 225m, 6h); runs that are stopped go on elsewhere.
        workers: processes of this machine that train at the same time (default: 1, or one a GPU).
        threads: threads of each; the suite's number by default.
        data: read a dataset of the suite from this store, folder or file.
        device: where it is computed.
        gpus: each worker sees one of these GPUs (CUDA_VISIBLE_DEVICES).
        per_gpu: workers that share a GPU.
        quiet: no progress.
    """

    folder: str
    until: str = option("", metavar="TIME")
    workers: int | None = None
    threads: int | None = None
    data: tuple[str, ...] = option((), metavar="NAME=PATH")
    device: Device = "auto"
    gpus: tuple[str, ...] = option((), metavar="ID")
    per_gpu: int = 1
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class StatusOf:
    """Say how far a suite is: its runs by state, who works on them, how fast, and the time that is left.

    Attributes:
        folder: a suite's folder, or its URL in an object store (s3://bucket/run).
        json: as JSON on stdout.
    """

    folder: str
    json: bool = False


@dataclass(frozen=True)
class Quickstart:
    """Run the main job on the embedded synthetic task: no download, minutes.

    Attributes:
        out: folder of runs and report.
        workers: processes that train at the same time; the suite's number by default.
        threads: threads of each; the suite's number by default.
        only: systems to run, by label, or its beginning where none is called so.
        seeds: instead of the suite's.
        device: where it is computed.
        dry_run: print the plan with an estimate of time and memory, and run nothing.
        quiet: no progress and no leaderboard.
    """

    out: Path = option(Path("runs/quickstart"), metavar="FOLDER")
    workers: int | None = None
    threads: int | None = None
    only: tuple[str, ...] = option((), metavar="LABEL")
    seeds: tuple[int, ...] = ()
    device: Device = "auto"
    dry_run: bool = False
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Report:
    """Write the pages of a suite again from its files.

    report.md, its pictures and report.html, every number recomputed.

    Attributes:
        folder: a suite's folder or URL, or a folder of its tidy results.
        to: where the pages go (default: beside the results).
        rule: mean over all queries, or over folds.
        draws: resamples of hypervolumes (default: 1,000); means need none.
        quiet: print no leaderboard.
    """

    folder: str
    to: Path | None = option(None, metavar="FOLDER")
    rule: Literal["queries", "folds"] = "queries"
    draws: int | None = None
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Losses:
    """Write the page on losses again from its files.

    LOSSES.md and losses.png: every loss with every net on every dataset, side by side.

    Attributes:
        results: folders of results (default: benchmarks/results/losses-* of the checkout).
        to: folder of the page (default: benchmarks of the checkout).
        draws: without effect, since nothing is drawn any more; it goes with the next version.
    """

    results: tuple[str, ...] = option((), metavar="FOLDER")
    to: Path | None = option(None, metavar="FOLDER")
    draws: int | None = None


@dataclass(frozen=True)
class Rankers:
    """Write the page on rankers again from its files.

    RANKERS.md and its picture: every ranker on every dataset, quality beside cost, and what was not run.

    Attributes:
        results: folders of results (default: benchmarks/results/rankers-* and pretraining-* of the checkout).
        to: folder of the page (default: benchmarks of the checkout).
    """

    results: tuple[str, ...] = option((), metavar="FOLDER")
    to: Path | None = option(None, metavar="FOLDER")


@dataclass(frozen=True)
class Fronts:
    """Write the page on fronts again from its files.

    FRONTS.md and its pictures: every method for several objectives on every task, and the questions they answer.

    Attributes:
        results: folders of results (default: core-*, transformer-* and cosdpo-* in benchmarks/results).
        to: folder of the page (default: benchmarks of the checkout).
        name: of the page.
        draws: draws of the paired bootstrap.
    """

    results: tuple[str, ...] = option((), metavar="FOLDER")
    to: Path | None = option(None, metavar="FOLDER")
    name: str = "FRONTS.md"
    draws: int = 1000


@dataclass(frozen=True)
class ReferencePoints:
    """Make ideal and nadir of tasks from the single-objective models of their suites.

    Written to benchmarks/reference_points.toml. Numbers that stand there do not change unless a new version is asked
    for. The data must lie here: random rankings are measured on it.

    Attributes:
        results: folders of results (default: core-*, transformer-* and cosdpo-* in benchmarks/results).
        data: read a dataset from this store, folder or file.
        file: instead of benchmarks/reference_points.toml.
        new_version: where numbers differ from those of the file, put them there with the version counted up.
    """

    results: tuple[str, ...] = option((), metavar="FOLDER")
    data: tuple[str, ...] = option((), metavar="NAME=PATH")
    file: Path | None = None
    new_version: bool = False


@dataclass(frozen=True)
class List:
    """List the suites that come with ltr.

    Attributes:
        json: as JSON on stdout.
    """

    json: bool = False


def run(options: Run, keys: dict[str, Any]) -> int:
    from ltr.bench import Engine, run_suite

    if options.engine == "local" and keys:
        raise InputError("this machine has no such options", came=f"--{next(iter(keys))}", do="Name an --engine")
    copies = None if options.copies is None else _at_least("copies", options.copies, 0)
    engine, given = None, {**_given(options), **_gpus(options)}
    if options.engine != "local" or copies == 0:
        own = {name: value for name, value in given.items() if name in ("threads", "device", "gpus", "workers")}
        named = {key.removeprefix("engine."): value for key, value in keys.items()}
        engine = Engine(options.engine, 1 if copies is None else copies, named, own)
    elif copies:
        given["workers"] = copies
    data = pairs("data", options.data, "NAME=PATH")
    out = options.out or Path("runs") / Path(options.suite).stem
    if options.stacked and options.no_stacked:
        raise InputError("--stacked and --no-stacked exclude each other")
    stacked = options.stacked if options.stacked or options.no_stacked else None
    return _ended(run_suite(options.suite, out, data=data, stacked=stacked, engine=engine, **given))


def work(options: Work) -> int:
    from ltr.bench import work_suite

    given = {"threads": options.threads, "device": options.device, **_gpus(options), **_workers(options)}
    data = pairs("data", options.data, "NAME=PATH")
    until = _seconds(options.until) if options.until else None
    work_suite(options.folder, until=until, data=data, progress=not options.quiet, **given)
    return 0


def status(options: StatusOf) -> int:
    from dataclasses import asdict

    from ltr.bench import status
    from ltr.bench.text import duration

    found = status(options.folder)
    if show.for_programs(asdict(found), options):
        return 0
    states = ("done", "running", "waiting", "failed", "skipped")
    rows = [{"stage": stage, **{s: counts.get(s, 0) for s in states}} for stage, counts in found.runs.items()]
    show.table(rows, right=states)
    for host, number in sorted(found.hosts.items()):
        print(f"{host}: {number} running")
    if found.rate is not None and found.seconds_left:
        print(f"{found.rate:,.1f} runs an hour; {duration(found.seconds_left)} left")
    return 0


def _seconds(text: str) -> float:
    """Of a time as 90s, 225m or 6h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise InputError("--until says how long", expected="a time as 90s, 225m or 6h", came=text)
    return float(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


def _at_least(name: str, value: int, least: int) -> int:
    if value < least:
        raise InputError(f"--{name.replace('_', '-')} is out of range", expected=f"{least} or more", came=value)
    return value


def _gpus(options: Run | Work) -> dict[str, Any]:
    """The GPU of every worker, each as often as workers share it."""
    return {"gpus": options.gpus * _at_least("per_gpu", options.per_gpu, 1)}


def _workers(options: Run | Work) -> dict[str, Any]:
    return {} if options.workers is None else {"workers": _at_least("workers", options.workers, 1)}


def quickstart(options: Quickstart) -> int:
    from ltr.bench import quickstart

    return _ended(quickstart(options.out, **_given(options)))


def _given(options: Run | Quickstart) -> dict[str, Any]:
    """What was asked for, as `run_suite` takes it."""
    for name in ("workers", "threads"):
        if (value := getattr(options, name)) is not None:
            _at_least(name, value, 1)
    return {
        "workers": options.workers,
        "threads": options.threads,
        "only": options.only,
        "seeds": options.seeds or None,
        "device": options.device,
        "dry_run": options.dry_run,
        "progress": not options.quiet,
    }


def _ended(results) -> int:
    """1 where a run of the suite failed or is damaged: the pages are there, and say which."""
    if results is None:
        return 0
    counts = {status: int((results.runs["status"] == status).sum()) for status in ("failed", "damaged")}
    said = " and ".join(f"{n} {status}" for status, n in counts.items() if n)
    if said:
        show.remark(f"ltr: of {len(results.runs)} runs {said}; the report says why")
    return 1 if said else 0


def report(options: Report) -> int:
    from ltr.bench import report

    console = None if options.quiet else show.console()
    page = report(options.folder, options.to, rule=options.rule, draws=options.draws, console=console)
    show.remark(f"wrote {page}")
    return 0


def losses(options: Losses) -> int:
    from ltr.bench.pages.losses_page import losses_page

    if options.draws is not None:
        say_once("--draws of ltr bench losses has no effect: nothing is drawn any more; it goes with the next version")
    show.remark(f"wrote {losses_page(options.results, options.to)}")
    return 0


def rankers(options: Rankers) -> int:
    from ltr.bench.pages.rankers_page import rankers_page

    show.remark(f"wrote {rankers_page(options.results, options.to)}")
    return 0


def fronts(options: Fronts) -> int:
    from ltr.bench.pages.front_page import fronts_page

    show.remark(f"wrote {fronts_page(options.results, options.to, name=options.name, draws=options.draws)}")
    return 0


def reference_points(options: ReferencePoints) -> int:
    from ltr.bench.analysis.reference_points import make_all

    said = make_all(
        options.results, options.file, data=pairs("data", options.data, "NAME=PATH"), new_version=options.new_version
    )
    for task, words in said.items():
        show.remark(f"{task}: {words}")
    return 0


def names(options: List) -> int:
    from ltr.bench.suite import load_suite, suite_names

    rows = []
    for name in suite_names():
        suite = load_suite(name)
        rows.append(
            {
                "suite": name,
                "datasets": ", ".join(suite.datasets),
                "objectives": ", ".join(suite.objectives) or None,
                "systems": len(suite.variants()),
                "title": suite.title,
            }
        )
    if not show.for_programs(rows, options):
        show.table(rows, right=("systems",))
    return 0


_ENGINES = """\
on many machines that see --out under the same path:
  ltr bench run SUITE --engine submitit --copies 40 --engine.slurm_partition cpu --engine.timeout_min 240
  ltr bench run SUITE --engine dask --copies 8 --engine.address tcp://scheduler:8786
  ltr bench run SUITE --copies 0        prepares the folder; `ltr bench work FOLDER` on each machine does the rest
without a folder that all see, --out and FOLDER may be a URL that fsspec opens (s3://bucket/run, gs://bucket/run):
runs are made in a temporary folder (TMPDIR says where), and uploaded when they are finished"""

COMMANDS = [
    Command(
        ("bench", "run"),
        Run,
        run,
        "SUITE [--out FOLDER] [--data NAME=PATH ...] [--engine NAME --copies N] [--dry-run]",
        _ENGINES,
        config=lambda: {},
        free="engine",
        former={"--fleet": "--stacked", "--no-fleet": "--no-stacked"},
    ),
    Command(("bench", "work"), Work, work, "FOLDER [--until TIME] [--workers N] [--gpus ID ...]"),
    Command(("bench", "status"), StatusOf, status, "FOLDER [--json]"),
    Command(("bench", "quickstart"), Quickstart, quickstart, "[--out FOLDER]"),
    Command(("bench", "report"), Report, report, "FOLDER [--to FOLDER] [--rule {queries,folds}]"),
    Command(("bench", "losses"), Losses, losses, "[--results FOLDER ...] [--to FOLDER]"),
    Command(("bench", "rankers"), Rankers, rankers, "[--results FOLDER ...] [--to FOLDER]"),
    Command(("bench", "fronts"), Fronts, fronts, "[--results FOLDER ...] [--to FOLDER]"),
    Command(
        ("bench", "reference-points"),
        ReferencePoints,
        reference_points,
        "[--results FOLDER ...] [--data NAME=PATH ...] [--new-version]",
    ),
    Command(("bench", "list"), List, names, "[--json]"),
]
