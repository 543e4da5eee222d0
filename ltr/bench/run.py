"""The front door: a suite is run into a folder, and its results and pages written; nothing is done twice.

out/runs, out/tuning, out/chosen.toml     see `execution.launch`
out/report/                               the tidy files and the pages
out/finished.json                         what the last call found to be finished, so that the next says so at once
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ltr import schema
from ltr.atomic import read_json, write_text
from ltr.errors import InputError, check_name, renamed
from ltr.runs.environment import code, environment, peak_memory
from ltr.runs.record import READ
from ltr.runs.record import check as check_run

from .analysis.oracle import with_best_possible
from .analysis.outside import with_outside
from .analysis.results import FrontResults, Results, collect, collect_fronts, load_any
from .analysis.samples import most_finished
from .execution.cells import LEASE
from .execution.engines import Engine, EnginePool
from .execution.estimate import print_plan
from .execution.launch import Launch, check_jobs
from .execution.plan_file import NAME, Plan, read_plan
from .execution.pool import WorkerPool
from .execution.store_cells import cells_at
from .execution.workers import Setting
from .object_store import is_url, working_folder
from .pages.picture import get_ready
from .pages.report import report
from .suite.narrow import narrowed, run_folders, shown, words_of
from .suite.plan import RunJob, dataset_folds, main_jobs, tuning_jobs
from .suite.reading import check, find_suite, load_suite, read_suite
from .suite.suite import Suite
from .text import count, duration

__all__ = ["quickstart", "run_suite", "work_suite"]


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
    stacked: bool | None = None,
    gpus: Sequence[str] = (),
    engine: Engine | None = None,
    lease: float = LEASE,
    dry_run: bool = False,
    progress: bool = True,
    fleet: bool | None = None,
) -> Results | FrontResults | None:
    """Runs a suite into the folder `out` and returns its results; a second call does only what is not done.

    The pages show all runs of the suite that lie in the folder, those of earlier calls too.

    Args:
        suite: a suite, its file, or the name of one that travels with the package.
        out: folder of the runs and the report, or a URL that fsspec opens (s3://bucket/run): see `bench.object_store`.
        workers: processes that train at the same time; the suite's number by default. 1 trains in this process;
            with more, a script needs the usual `if __name__ == "__main__":`.
        threads: threads of each; the suite's number by default.
        data: dataset -> store, folder or file to read it from, instead of the usual place.
        only: labels of systems (or beginnings of labels) to run.
        seeds: instead of the suite's.
        device: "auto", "cpu", "cuda".
        stacked: train seeds and candidates together or one by one, whatever the suite says (`Limits.stacked`);
            `fleet` is its former name.
        gpus: each worker sees one of these (ids as in CUDA_VISIBLE_DEVICES), in turn; a worker each by default. More
            workers than GPUs share them.
        engine: who starts workers instead, on other machines that see `out` under the same path; this process waits for
            them. Of 0 copies the folder is prepared for `work_suite`, and None returned.
        lease: seconds without a heartbeat after which a run passes to another worker.
        dry_run: only prints the plan with an estimate of time and memory; returns None.
        progress: shows progress, the leaderboard, wall time and peak memory on the terminal.

    Raises:
        InputError: a mistake in the suite, found before anything is trained; data that is not there.
        KeyboardInterrupt: after the workers have stopped and the terminal says how to continue.
    """
    from rich.console import Console

    if fleet is not None:
        renamed("argument", "fleet", "stacked")
        stacked = fleet
    with working_folder(out) as folder:
        began, url = time.perf_counter(), str(out) if is_url(out) else ""
        sources = {name: str(path) for name, path in (data or {}).items()}
        console = Console(quiet=not progress, highlight=False)
        stamp = _Stamp(suite, folder, [sources, list(only), None if seeds is None else list(seeds), stacked])
        if not dry_run and (done := stamp.finished()):
            page = folder / "report" / "report.md"
            with contextlib.suppress(InputError):  # of results that somebody changed: they are made again
                found = load_any(folder)
                console.print(f"Nothing to do: {done}. Report: {page}", soft_wrap=True)
                return found
        named = (suite.name or "SUITE.toml") if isinstance(suite, Suite) else str(suite)
        whole = load_suite(suite) if not isinstance(suite, Suite) else check(suite)
        whole = whole if stacked is None else replace(whole, limits=replace(whole.limits, stacked=stacked))
        part = narrowed(whole, only, seeds)
        words = (*(("--seeds", *map(str, seeds)) if seeds is not None else ()), *(("--only", *only) if only else ()))
        words += () if stacked is None else ("--stacked" if stacked else "--no-stacked",)
        for name in sources:
            check_name("dataset of the suite", name, whole.datasets)
        if dry_run:
            print_plan(part, data=sources, workers=workers or part.limits.workers, console=console)
            return None
        folds = {dataset: dataset_folds(sources.get(dataset, dataset)) for dataset in whole.datasets}
        places = {d: _anywhere(sources.get(d, d)) for d in whole.datasets}
        plan = Plan(part, whole, folds, places, named, words, float(lease))
        setting = Setting(folder, threads or part.limits.threads, device, sources, tuple(gpus), None, lease, url)
        work = functools.partial(
            work_suite, url or folder.absolute(), progress=False, **(engine.work if engine else {})
        )
        pool = (
            EnginePool(setting, engine, work)
            if engine
            else WorkerPool(setting, workers or len(gpus) or part.limits.workers)
        )
        launch = Launch(plan, setting, pool, console)
        jobs = [*tuning_jobs(part, folds), *main_jobs(part, folds)]
        begins = not all((folder / job.folder / "DONE").is_file() for job in jobs)
        if begins and isinstance(pool, WorkerPool):
            pool.get_ready(nets=any(v.loss or v.method for v in part.variants()))
        check_jobs(jobs)
        if begins:
            _check_labels(jobs, sources)
        folder.mkdir(parents=True, exist_ok=True)
        launch.prepare()
        if engine is not None and not engine.copies:
            console.print(f"Prepared; workers are started with: ltr bench work {out}", soft_wrap=True)
            return None
        if begins:
            get_ready()  # while the workers do
        try:
            with pool:
                jobs = launch.carry_out()
        except KeyboardInterrupt:
            again = _command(launch, words, here=True)
            console.print(
                f"[yellow]Stopped.[/] Finished runs are kept; the same command continues: {again}", soft_wrap=True
            )
            raise
        there = shown(whole, folds, launch.chosen, jobs, folder)
        results = _results(launch, *there, time.perf_counter() - began)
        stamp.write([*tuning_jobs(part, folds), *there[1]])
        return results


def work_suite(
    out: Path | str,
    *,
    until: float | None = None,
    workers: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    gpus: Sequence[str] = (),
    data: Mapping[str, str | Path] | None = None,
    progress: bool = True,
) -> int:
    """Takes part in a suite that `run_suite` has prepared in `out`, here or on another machine, until all is done.

    Args:
        out: its folder, or its URL.
        until: seconds after which it ends; what it was at is given back, and goes on elsewhere.
        workers: of this machine; 1 by default, or one a GPU.
        data: dataset -> where it is read from on this machine.
        threads, device, gpus, progress: as in `run_suite`.

    Returns:
        How many runs its workers have ended.

    Raises:
        InputError: nothing is prepared there.
        KeyboardInterrupt: Ctrl-C, or SIGTERM on the command line, after its runs were given back: no failure of theirs.
    """
    from rich.console import Console

    end, url = None if until is None else time.monotonic() + until, str(out) if is_url(out) else ""
    with working_folder(out) as folder:
        cells_at(folder, url).fetch(NAME)
        plan, pieces = read_plan(folder)
        console = Console(quiet=not progress, highlight=False)
        sources = {**plan.data, **{name: str(path) for name, path in (data or {}).items()}}
        threads = threads or plan.suite.limits.threads
        setting = Setting(folder, threads, device, sources, tuple(gpus), end, plan.lease, url)
        pool = WorkerPool(setting, workers or len(gpus) or 1)
        launch = Launch(plan, setting, pool, console, pieces)
        with pool:
            launch.carry_out()
    what = "Its time is up" if setting.late else "Nothing is left to do"
    console.print(f"{what}; {count(launch.ran, 'run')} by this worker. How far it is: ltr bench status {out}")
    return launch.ran


def _check_labels(jobs: Sequence[RunJob], sources: Mapping[str, str]) -> None:
    """Refuses labels that a dataset does not have, or of which what was asked cannot be made, before any run fails."""
    from ltr.runs.systems import load_task  # and torch with it

    for dataset, job in {job.dataset: job for job in reversed(jobs)}.items():
        named = job.config.data.objective or job.config.data.objectives
        if named and dataset.partition(":")[0] != "synthetic":  # which are not made to look at them
            load_task(job.config, sources.get(dataset))


def _anywhere(source: str) -> str:
    """Where data lie, for workers that start in another folder."""
    return os.path.abspath(source) if os.path.exists(source) else source


def quickstart(out: Path | str = "runs/quickstart", **options) -> Results | FrontResults | None:
    """The main job on the embedded synthetic task: no download, less than a minute on two free cores.

    Takes the options of `run_suite`.
    """
    return run_suite("quickstart", out, **options)


def _results(
    launch: Launch, suite: Suite, jobs: Sequence[RunJob], others: Sequence[str], seconds: float
) -> Results | FrontResults:
    """Collects, adds the best possible ranker where it is known, writes tidy files and pages, says what it cost."""
    out, console = launch.setting.out, launch.console
    chosen = schema.read_toml(out / "chosen.toml") if suite.tuning.points and (out / "chosen.toml").is_file() else {}
    results: Results | FrontResults
    if suite.of_methods:
        results = collect_fronts(suite, out, jobs, chosen=chosen, ended=launch.ended)
        for dataset in results.runs[results.runs.status == "done"].dataset.unique():
            shown_of = (dataset, *most_finished(results, dataset))
            scored = [job.folder for job in jobs if (job.dataset, job.fold, job.seed) == shown_of]
            launch.cells.fetch(*(f"{folder}/scores/test.parquet" for folder in scored))
    else:
        results = collect(suite, out, jobs, chosen=chosen, ended=launch.ended)
        results = with_best_possible(results, launch.setting.data)
        results = with_outside(results, out, launch.setting.data)

    # The workers' peaks need not fall together: their sum is what the machine had to have at most.
    peak = peak_memory()["peak_memory_bytes"] + (sum(launch.peaks.values()) if launch.pool.workers > 1 else 0)
    results = replace(results, environment=_environment(launch, suite, others, seconds, peak))
    results.save(out / "report")
    page = Path(report(out, console=None if console.quiet else console))
    launch.cells.send("report")
    said = launch.setting.named
    console.print(f"Report: {said(page)} and {said(page.with_name('report.html'))}", soft_wrap=True)
    lost = results.failures[results.failures.status != "truth"]
    if len(lost):
        console.print(f"[yellow]{count(len(lost), 'run')} without numbers[/]; the report says why.")
    memory = f"peak memory {peak / 2**30:.1f} GiB over all processes"
    pool = count(launch.pool.workers, "worker")
    console.print(f"{count(launch.ran, 'run')} in {duration(seconds)} with {pool}; {memory}.")
    return results


def _environment(launch: Launch, suite: Suite, others: Sequence[str], seconds: float, peak: int) -> dict[str, Any]:
    """Machine, versions and cost. Calls that continue add their time; a call that ran nothing changes little."""
    path, before = launch.setting.out / "report" / "environment.json", {}
    try:
        before = read_json(path) if path.is_file() else {}
    except InputError as error:
        launch.console.print(f"{error}. It is written anew; the time of earlier calls is lost.", soft_wrap=True)
    plan = launch.plan
    words = (*words_of(suite, plan.whole), *(word for word in plan.words if word in ("--stacked", "--no-stacked")))
    said = {"command": _command(launch, words), "not_shown": list(others)}
    if before and not launch.ran:
        return {**before, **said} if others or words_of(plan.suite, plan.whole) else {**before, "not_shown": []}
    there = environment(launch.setting.device)
    return {
        **said,
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "wall_seconds": round(seconds + before.get("wall_seconds", 0.0), 1),
        "peak_memory_gib": max(round(peak / 2**30, 2), before.get("peak_memory_gib", 0.0)),
        "workers": launch.pool.workers,
        "threads": launch.setting.threads,
        **{key: value for key, value in there.items() if key != "threads"},  # those of this process, not of the workers
        "code": code(),
    }


def _command(launch: Launch, words: Sequence[str], here: bool = False) -> str:
    """The command that makes these numbers; on a page, places of this machine are left to the reader to fill in.

    Args:
        words: the options that leave out part of the suite.
        here: for this machine and this folder: everything as it was given.
    """

    def place(path: str | Path) -> str:
        if here or not (Path(path).is_absolute() or is_url(path)):
            return str(path) if is_url(path) else Path(path).as_posix()
        return Path(path).name

    data = [f"{name}={path if here else 'PATH'}" for name, path in launch.setting.data.items()]
    options = [*words, *(word for pair in data for word in ("--data", pair))]
    out = place(launch.setting.named(launch.setting.out))
    return shlex.join(["ltr", "bench", "run", place(launch.plan.named), *options, "--out", out])


# ------------------------------------------------------------------------------------------------------- nothing to do


@dataclass(frozen=True)
class _Stamp:
    """What the last call into a folder found to be finished: with it a call that has nothing to do opens no data,
    resolves no config, imports no torch.

    Attributes:
        suite, out, asked: the call: suite, folder, and the options that decide what is run.
    """

    suite: Suite | str | Path
    out: Path
    asked: list[Any]

    @property
    def path(self) -> Path:
        return self.out / "finished.json"

    def key(self) -> str:
        """Equal for calls that ask for the same, by the same code."""
        suite = schema.to_dict(self.suite) if isinstance(self.suite, Suite) else read_suite(find_suite(self.suite))
        text = json.dumps([suite, self.asked, code()["sources"]], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def finished(self) -> str:
        """How many runs are finished, and how many skipped; "" where something is left to do, or was changed since."""
        try:
            said = json.loads(self.path.read_text())
            runs, pages = said["runs"], said["pages"]
            if said["key"] != self.key() or run_folders(self.out) != set(said["shown"]):
                return ""
            runs = dict(runs)
        except (OSError, ValueError, KeyError, TypeError, InputError):
            return ""
        there = all((self.out / "report" / page).is_file() for page in pages)
        if not (there and all((stat and self._stat(run) == stat) or self._ended(run) for run, stat in runs.items())):
            return ""
        skipped = sum(not stat for stat in runs.values())
        if not skipped:
            return f"all {count(len(runs), 'run')} are finished"
        done = len(runs) - skipped
        verb = "is" if done == 1 else "are"
        return f"{count(done, 'run')} {verb} finished, {skipped} skipped whose libraries are not installed"

    def _ended(self, run: str) -> bool:
        """Whether it is done, or skipped for a library that is still not here."""
        found = check_run(self.out / run, *READ)
        return found.status == "done" or (found.record is not None and found.record.lacks_library)

    def _stat(self, run: str) -> str:
        """Size and times of what results are read from: where the system says they are the same, nobody hashes them.
        "" of a run that is not done, which is looked at every time."""
        if not (self.out / run / "DONE").is_file():
            return ""
        found = hashlib.sha256()
        for name in ("DONE", "record.json", "config.toml", *READ):
            with contextlib.suppress(OSError):
                stat = os.stat(f"{self.out}/{run}/{name}")
                found.update(f"{name} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino} ".encode())
        return found.hexdigest()[:32]

    def write(self, jobs: Sequence[RunJob]) -> None:
        """Remembers a call after which no run is left to do; forgets any other."""
        runs = sorted({job.folder for job in jobs})
        if not all(map(self._ended, runs)):
            self.path.unlink(missing_ok=True)
            return
        pages = sorted(path.name for path in (self.out / "report").iterdir() if not path.name.startswith("."))
        stats = {run: self._stat(run) for run in runs}
        said = {"key": self.key(), "runs": stats, "shown": sorted(run_folders(self.out)), "pages": pages}
        write_text(self.path, json.dumps(said, indent=1) + "\n")
