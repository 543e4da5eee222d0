"""Runs a suite: tuning first, then what is reported, on worker processes; every call continues the last one.

out/tuning/...      runs that only choose
out/chosen.toml     what they chose, with the validation value of every candidate
out/runs/...        what is reported
out/report/         the tidy files and the pages
"""

from __future__ import annotations

import json
import shlex
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr import schema
from ltr.bench.analysis.results import FrontResults, Results, collect, collect_fronts
from ltr.bench.suite.plan import Job, choose, chosen_table, fleets, main_jobs, tuning_jobs
from ltr.bench.suite.suite import Suite, check, load_suite
from ltr.errors import InputError, unknown_name

from .display import Display, duration
from .workers import Crew, Event, Setting

if TYPE_CHECKING:
    from rich.console import Console

    from ltr.runs import Record

__all__ = ["Launch", "dataset_folds", "quickstart", "run_suite"]


@dataclass
class Launch:
    """One call of `run_suite`: what it was asked, and what it saw.

    Attributes:
        named: the suite as it was asked for, its file or its name.
        narrowed: the options that leave out part of the suite, as words of a command line.
        ended: folder of a job -> (status, reason), for the jobs of this call.
        seconds: label of a system -> seconds of its finished runs, for the order of the next ones.
        peaks: worker -> its peak memory in bytes.
        ran: runs that were not finished before.
    """

    suite: Suite
    setting: Setting
    crew: Crew
    console: Console
    named: str = ""
    narrowed: tuple[str, ...] = ()
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    peaks: dict[int, int] = field(default_factory=dict)
    ran: int = 0

    def work_off(self, jobs: Sequence[Job], what: str) -> None:
        """Does those of `jobs` that are not done, the longest first as far as known."""
        waiting = []
        for job in jobs:
            record = _found(job, self.setting.out)
            if record is not None and record.done:
                self.seconds[job.system].append(record.cost.get("fit_seconds") or 0.0)
                self.ended[job.folder] = ("done", "")
            else:
                waiting.append(job)
        if not waiting:
            return
        self.ran += len(waiting)
        with Display(self.console, what, len(jobs), len(jobs) - len(waiting)) as display:

            def tell(event: Event) -> None:
                display(event)
                if event.kind == "end":
                    self.ended[event.job.folder] = (event.status, event.reason)
                    self.seconds[event.job.system].append(event.seconds)
                    self.peaks[event.worker] = max(event.peak_memory, self.peaks.get(event.worker, 0))

            together = fleets(waiting) if self.suite.limits.fleet else [(job,) for job in waiting]
            self.crew.work(sorted(together, key=self._expected, reverse=True), tell)

    def _expected(self, fleet: Sequence[Job]) -> float:
        """Seconds these will take; systems nobody has timed yet go first, in the order of the suite."""
        known = self.seconds.get(fleet[0].system)
        return len(fleet) * sum(known) / len(known) if known else float("inf")


def run_suite(
    suite: Suite | str | Path,
    out: Path | str,
    *,
    workers: int | None = None,
    threads: int | None = None,
    data: Mapping[str, str | Path] | None = None,
    only: Sequence[str] = (),
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    fleet: bool | None = None,
    dry_run: bool = False,
    progress: bool = True,
) -> Results | FrontResults | None:
    """Runs a suite into the folder `out` and returns its results; a second call does only what is not done.

    Args:
        suite: a suite, its file, or the name of one that travels with the package.
        out: folder of the runs and the report.
        workers: processes that train at the same time; the suite's number by default. 1 trains in this process;
            with more, a script needs the usual `if __name__ == "__main__":`.
        threads: threads of each; the suite's number by default.
        data: dataset -> store, folder or file to read it from, instead of the usual place.
        only: labels of systems (or beginnings of labels) to run; the others stay out of plan and report.
        seeds: instead of the suite's.
        device: "auto", "cpu", "cuda".
        fleet: train seeds and candidates together or one by one, whatever the suite says (`Limits.fleet`).
        dry_run: only prints the plan with an estimate of time and memory; returns None.
        progress: shows progress, the leaderboard, wall time and peak memory on the terminal.

    Raises:
        InputError: a mistake in the suite, found before anything is trained; data that is not there.
        KeyboardInterrupt: after the workers have stopped and the terminal says how to continue.
    """
    from rich.console import Console

    began = time.perf_counter()
    named = (suite.name or "SUITE.toml") if isinstance(suite, Suite) else str(suite)
    suite = load_suite(suite) if not isinstance(suite, Suite) else check(suite)
    suite = _narrowed(suite, only, seeds)
    suite = suite if fleet is None else replace(suite, limits=replace(suite.limits, fleet=fleet))
    words = (*(("--seeds", *map(str, seeds)) if seeds is not None else ()), *(("--only", *only) if only else ()))
    words += () if fleet is None else ("--fleet" if fleet else "--no-fleet",)
    out = Path(out)
    console = Console(quiet=not progress, highlight=False)
    data = {name: str(path) for name, path in (data or {}).items()}
    for name in data:
        if name not in suite.datasets:
            raise unknown_name("dataset of the suite", name, suite.datasets)
    if dry_run:
        from .estimate import print_plan

        print_plan(suite, data=data, workers=workers or suite.limits.workers, console=console)
        return None
    folds = {dataset: dataset_folds(data.get(dataset, dataset)) for dataset in suite.datasets}
    setting = Setting(out, threads or suite.limits.threads, device, data)
    launch = Launch(suite, setting, Crew(setting, workers or suite.limits.workers), console, named, words)
    _check_jobs([*tuning_jobs(suite, folds), *main_jobs(suite, folds)])
    out.mkdir(parents=True, exist_ok=True)
    try:
        with launch.crew:
            chosen = _tune(launch, folds)
            jobs = main_jobs(suite, folds, chosen)
            _take_over(jobs, tuning_jobs(suite, folds), out)
            launch.work_off(jobs, "Runs")
    except KeyboardInterrupt:
        console.print(
            f"[yellow]Stopped.[/] Finished runs are kept; the same command continues: {command_of(launch, here=True)}",
            soft_wrap=True,
        )
        raise
    return _finish(launch, jobs, time.perf_counter() - began)


def quickstart(out: Path | str = "runs/quickstart", **options) -> Results | None:
    """The main job on the embedded synthetic task: no download, under three minutes on two cores.

    Takes the options of `run_suite`.
    """
    return run_suite("quickstart", out, **options)


def dataset_folds(source: str) -> tuple[str, ...]:
    """Names of the folds of a dataset, given as `ltr.datasets.load` takes it."""
    from ltr.datasets import load, open_store

    if source.partition(":")[0] == "synthetic":  # made, not stored
        return (load(source).fold,)
    return tuple(open_store(source).folds)


# ---------------------------------------------------------------------------------------------------- phases


def _narrowed(suite: Suite, only: Sequence[str], seeds: Sequence[int] | None) -> Suite:
    """The suite with some of its systems and other seeds."""
    if seeds is not None:
        systems = tuple(replace(s, seeds=tuple(x for x in s.seeds if x in seeds) or s.seeds[:1]) for s in suite.systems)
        suite = replace(suite, seeds=tuple(seeds), systems=systems)
    if not only:
        return suite
    labels = [v.label for v in suite.variants()]
    systems = []
    for wanted in only:
        if not any(label.lower().startswith(wanted.lower()) for label in labels):
            raise unknown_name("system of the suite", wanted, labels)
    for system in suite.systems:
        fits = {
            loss: any(f"{system.label} {loss}".strip().lower().startswith(w.lower()) for w in only)
            for loss in system.losses or ("",)
        }
        if any(fits.values()):
            systems.append(replace(system, losses=tuple(loss for loss in system.losses if fits[loss])))
    return check(replace(suite, systems=tuple(systems)))


def _found(job: Job, out: Path) -> Record | None:
    """The record in a job's folder; a run of another config there means that the suite was edited since.

    Raises:
        InputError: it was; the two are never mixed.
    """
    from ltr.runs import config_hash, read_record, resolve
    from ltr.runs.config import differences

    record = read_record(out / job.folder)
    if record is None or record.config_hash == config_hash(resolve(job.config)):
        return record
    changed = differences(resolve(job.config), record.config)
    raise InputError(
        f"{job.folder} holds a run of another config ({'; '.join(changed[:3])})",
        file=out,
        do="The suite was edited since: give another --out, or delete the folders of the old runs",
    )


def _check_jobs(jobs: Sequence[Job]) -> None:
    """Every config with every name and parameter resolved, so that a typo costs seconds and not a night."""
    from ltr.runs import resolve

    seen = set()
    for job in jobs:
        key = (job.system, job.point)
        if key not in seen:
            seen.add(key)
            try:
                resolve(job.config)
            except InputError as error:
                at = "" if job.point is None else f", grid point {job.point}"
                raise InputError(f"system {job.system!r}{at}: {error}") from None


def _tune(launch: Launch, folds) -> dict[tuple[str, str], dict[str, Any]]:
    """Runs the candidates and writes what they chose to chosen.toml."""
    from ltr.runs import read_record

    suite, out = launch.suite, launch.setting.out
    jobs = tuning_jobs(suite, folds)
    if not jobs:
        return {}
    launch.work_off(jobs, "Tuning")

    def vali_of(job: Job) -> tuple[float | None, str]:
        record = read_record(out / job.folder)
        if record is None or not record.done:
            return None, launch.ended.get(job.folder, ("", "not finished"))[1]
        if record.selection.get("value") is not None:
            return record.selection["value"], ""
        return record.mean(suite.select, "vali"), ""

    chosen, judged = choose(suite, jobs, vali_of)
    schema.write_toml(out / "chosen.toml", chosen_table(suite, chosen, judged))
    return chosen


def _take_over(jobs: Sequence[Job], tuned: Sequence[Job], out: Path) -> None:
    """A reported run that tuning has already made, config for config, is copied instead of trained a second time."""
    from ltr.atomic import whole_folder
    from ltr.runs import config_hash, read_record

    made = {(job.system, config_hash(job.config)): out / job.folder for job in tuned}
    for job in jobs:
        source, target = made.get((job.system, config_hash(job.config))), out / job.folder
        record = None if source is None else read_record(source)
        if record is not None and record.done and read_record(target) is None:
            with whole_folder(target) as beside:
                shutil.copytree(source, beside, dirs_exist_ok=True)


def _finish(launch: Launch, jobs: Sequence[Job], seconds: float) -> Results | FrontResults:
    """Collects, adds the best possible ranker where it is known, writes tidy files and pages, says what it cost."""
    from ltr.bench.analysis.oracle import with_best_possible
    from ltr.bench.pages.report import report
    from ltr.runs.environment import peak_memory

    suite, out, console, data = launch.suite, launch.setting.out, launch.console, launch.setting.data
    chosen = schema.read_toml(out / "chosen.toml") if suite.tuning.points and (out / "chosen.toml").is_file() else {}
    if suite.of_methods:
        results = collect_fronts(suite, out, jobs, chosen=chosen, ended=launch.ended)
    else:
        results = with_best_possible(collect(suite, out, jobs, chosen=chosen, ended=launch.ended), data)
    # The workers' peaks need not fall together: their sum is what the machine had to have at most.
    peak = peak_memory()["peak_memory_bytes"] + (sum(launch.peaks.values()) if launch.crew.workers > 1 else 0)
    results = replace(results, environment=_environment(launch, seconds, peak))
    results.save(out / "report")
    page = report(out, console=None if console.quiet else console)
    console.print(f"Report: {page} and {page.with_name('report.html')}", soft_wrap=True)
    lost = results.failures[results.failures.status != "truth"]
    if len(lost):
        console.print(f"[yellow]{len(lost)} runs without numbers[/]; the report says why.")
    crew = f"{launch.crew.workers} worker{'s' * (launch.crew.workers != 1)}"
    memory = f"peak memory {peak / 2**30:.1f} GiB over all processes"
    console.print(f"{launch.ran} runs in {duration(seconds)} with {crew}; {memory}.")
    return results


def _environment(launch: Launch, seconds: float, peak: int) -> dict[str, Any]:
    """Machine, versions and cost. Calls that continue add their time; a call that ran nothing changes nothing."""
    from ltr.runs.environment import code, environment

    path = launch.setting.out / "report" / "environment.json"
    before = json.loads(path.read_text()) if path.is_file() else {}
    if before and not launch.ran:
        return before
    there = environment(launch.setting.device)
    return {
        "command": command_of(launch),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "wall_seconds": round(seconds + before.get("wall_seconds", 0.0), 1),
        "peak_memory_gib": max(round(peak / 2**30, 2), before.get("peak_memory_gib", 0.0)),
        "workers": launch.crew.workers,
        "threads": launch.setting.threads,
        **{key: value for key, value in there.items() if key != "threads"},  # those of this process, not of the workers
        "code": code(),
    }


def command_of(launch: Launch, here: bool = False) -> str:
    """The command that makes these numbers; on a page, places of this machine are left to the reader to fill in.

    Args:
        here: for this machine and this folder: everything as it was given.
    """

    def place(path: str | Path) -> str:
        return Path(path).as_posix() if here or not Path(path).is_absolute() else Path(path).name

    data = [(name, path if here else "PATH") for name, path in launch.setting.data.items()]
    words = ["ltr", "bench", "run", place(launch.named), *launch.narrowed]
    words += [word for name, path in data for word in ("--data", f"{name}={path}")]
    return shlex.join([*words, "--out", place(launch.setting.out)])
