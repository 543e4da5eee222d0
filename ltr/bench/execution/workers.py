"""Processes that work off a list of runs.

Each worker is started once, imports torch once and keeps the last tasks it read, and ends when its launcher does. A run
that fails is a record. Where a worker dies (killed for memory, a crash in a library), another takes its place, and what
it held is tried once more alone, when all else has ended. Runs that train together are one piece of work, and end one
by one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from ltr.atomic import Busy
from ltr.bench.suite.plan import RunJob
from ltr.datasets import load
from ltr.errors import InputError
from ltr.runs import read_record
from ltr.runs.environment import peak_memory

__all__ = ["Event", "Setting", "WorkerPool"]

# Libraries read these when they are loaded, so a worker must be born with them.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
_TASKS_KEPT = 2
_TELL_EVERY = 0.2  # seconds between progress messages of a run


@dataclass(frozen=True)
class Setting:
    """What every worker needs to know.

    Attributes:
        out: the suite's folder.
        threads: threads of a worker.
        device: as `ltr.runs.execute` takes it.
        data: dataset -> store or folder to read it from instead of the usual place.
    """

    out: Path
    threads: int = 1
    device: str = "auto"
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Event:
    """Something a worker tells: `kind` is "start", "progress", "lost" (it died; the run is tried once more) or "end".

    Attributes:
        worker: number of the worker, from 0.
        job: the run it is about.
        stage, done, total, note: of a "progress".
        status, reason, seconds: of an "end"; seconds of a run that trained with others hold its share of that. Beside
            the statuses of a record "busy": another process works in the run's folder.
        peak_memory: bytes, the worker's high-water mark so far; of an "end".
    """

    kind: str
    worker: int
    job: RunJob
    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    status: str = ""
    reason: str = ""
    seconds: float = 0.0
    peak_memory: int = 0


class WorkerPool:
    """Workers for as long as the `with` block lasts.

    One worker runs in this process; more are spawned when there is work for them, so a script that asks for more needs
    the usual `if __name__ == "__main__":`. When the block is left by an exception (Ctrl-C), the workers are stopped;
    what they were doing can be continued.

        with WorkerPool(setting, workers=2) as pool:
            pool.work(jobs, tell)
    """

    def __init__(self, setting: Setting, workers: int):
        self.setting, self.workers = setting, workers
        self._runner = _Runner(setting) if workers <= 1 else None
        self._pool = _Pool(setting, workers)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception) -> None:
        self._pool.close(orderly=exception[0] is None)

    def work(self, jobs: Sequence[RunJob | Group], tell: Callable[[Event], None]) -> None:
        """Works off `jobs` in their order; returns when all have ended, one way or another."""
        groups = [(job,) if isinstance(job, RunJob) else tuple(job) for job in jobs]
        if self._runner is None:
            self._pool.work(groups, tell)
            return
        with self._runner.thread_limit():
            for group in groups:
                self._runner(group, _Teller(0, tell))


Group = tuple[RunJob, ...]  # runs that train together; most are of one


class _Teller:
    """Sends the events of a worker; progress no more often than anyone can read."""

    def __init__(self, worker: int, send: Callable[[Event], None]):
        self.worker, self.send, self.last = worker, send, 0.0
        self.job: RunJob | None = None

    def start(self, job: RunJob) -> None:
        if job is not self.job:  # the first of a group has started with it
            self.job, self.last = job, 0.0
            self("start")

    def __call__(self, kind: str, **facts) -> None:
        assert self.job is not None  # it has started
        self.send(Event(kind, self.worker, self.job, **facts))

    def progress(self, stage: str, done: int, total: int, note: str) -> None:
        now = time.perf_counter()
        if now - self.last >= _TELL_EVERY:
            self.last = now
            self("progress", stage=stage, done=done, total=total, note=note)


class _Runner:
    """Runs one job after another, keeping the tasks it read last."""

    def __init__(self, setting: Setting):
        self.setting, self.peak = setting, 0
        self.tasks: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def __call__(self, group: Group, tell: _Teller) -> None:
        """Runs them and tells of each."""
        self.warm_up(group[0])
        tell.start(group[0])
        began = time.perf_counter()
        if len(group) > 1:
            self.together(group, tell)
        shared = (time.perf_counter() - began) / len(group)
        for job in group:
            tell.start(job)
            began = time.perf_counter()
            facts = self.one(job, tell.progress)
            tell("end", seconds=time.perf_counter() - began + shared, **facts)

    def together(self, group: Group, tell: _Teller) -> None:
        """Trains those that are not trained yet; what cannot be trained so is left to its own run, which says why."""
        from ltr.runs import train_stacked

        with contextlib.suppress(Exception):  # data that cannot be read, which every run will say for itself
            configs, folders = [job.config for job in group], [self.setting.out / job.folder for job in group]
            train_stacked(
                configs, folders, progress=tell.progress, task=self.task(group[0]), device=self.setting.device
            )

    def one(self, job: RunJob, progress) -> dict[str, Any]:
        from ltr.runs import execute

        folder = self.setting.out / job.folder
        try:
            # A finished run needs no data: resuming a suite opens nothing.
            found = read_record(folder)
            task = None if found is not None and found.done else self.task(job)
            record = execute(job.config, folder, progress=progress, task=task, device=self.setting.device)
            status, reason = record.status, record.reason
        except Busy as error:
            status, reason = "busy", error.what
        except Exception as error:  # data or a folder that cannot be used: this run fails, its neighbours go on
            status, reason = "failed", str(error) or type(error).__name__
        self.peak = max(self.peak, peak_memory()["peak_memory_bytes"])
        return {"status": status, "reason": reason, "peak_memory": self.peak}

    def task(self, job: RunJob):
        from ltr.runs import load_task

        data = job.config.data
        key = (job.dataset, job.fold, data.objective, data.objectives, data.main)
        if key not in self.tasks:
            source = self.setting.data.get(job.dataset, job.dataset)
            # Without a word about labels, all rankers share one task with every label column of the store.
            self.tasks[key] = load_task(job.config, source) if data.columns else load(source, fold=job.fold)
            while len(self.tasks) > _TASKS_KEPT:
                self.tasks.popitem(last=False)
        self.tasks.move_to_end(key)
        return self.tasks[key]

    def warm_up(self, job: RunJob) -> None:
        """Imports what training needs before the clock of the first run starts."""
        from ltr.runs import resolve
        from ltr.runs.systems import system_of

        with contextlib.suppress(InputError):  # which the run itself will say
            system_of(resolve(job.config)).warm_up()

    @contextlib.contextmanager
    def thread_limit(self) -> Iterator[None]:
        """The threads torch may use here, given back afterwards (the process may be a user's notebook)."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.setting.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


class _Pool:
    """Worker processes, one pipe each, so that the death of one is seen and hurts no other."""

    def __init__(self, setting: Setting, workers: int):
        self.setting, self.context = setting, multiprocessing.get_context("spawn")
        self.workers, self.started = workers, 0
        self.alive: dict[Connection, tuple[int, BaseProcess]] = {}  # our end of the pipe -> (number, process)
        self.holding: dict[Connection, tuple[list[RunJob], float]] = {}  # what has not ended yet of a pipe's group

    def close(self, orderly: bool) -> None:
        for pipe, (_, process) in self.alive.items():
            if orderly:
                with contextlib.suppress(OSError):
                    pipe.send(None)
            else:
                process.terminate()
        for pipe, (_, process) in self.alive.items():
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
            pipe.close()
        self.alive.clear()

    def _start(self) -> Connection:
        number, self.started = self.started, self.started + 1
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_worker, args=(number, theirs, self.setting), daemon=True)
        before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
        os.environ.update(dict.fromkeys(_THREAD_VARIABLES, str(self.setting.threads)))
        try:
            process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()
        self.alive[ours] = (number, process)
        return ours

    def work(self, groups: Sequence[Group], tell: Callable[[Event], None]) -> None:
        for job, _ in self._through(groups, self.workers, tell):
            self.close(orderly=True)  # alone on the machine: what it died of may be the memory of the others
            for again, event in self._through([(job,)], 1, tell):
                tell(replace(event, kind="end", job=again, reason=f"{event.reason}; it was tried twice"))

    def _through(
        self, groups: Sequence[Group], workers: int, tell: Callable[[Event], None]
    ) -> list[tuple[RunJob, Event]]:
        """Works them off with so many workers; returns what was lost with a worker that died, and how it was lost."""
        waiting, lost = deque(groups), []
        while len(self.alive) < min(workers, len(waiting)):
            self._start()
        for pipe in list(self.alive):
            self._hand(pipe, waiting)
        while self.holding:
            for pipe in cast(list[Connection], multiprocessing.connection.wait(list(self.holding))):  # some of them
                try:
                    event = pipe.recv()
                except (EOFError, OSError):
                    for event in self._bury(pipe):
                        tell(event)
                        lost.append((event.job, event))
                    if waiting:
                        self._hand(self._start(), waiting)
                    continue
                tell(event)
                if event.kind == "end":
                    left, _ = self.holding[pipe]
                    left[:] = [job for job in left if job.folder != event.job.folder]
                    if not left:
                        del self.holding[pipe]
                        self._hand(pipe, waiting)
        return lost

    def _hand(self, pipe: Connection, waiting: deque[Group]) -> None:
        if waiting:
            group = waiting.popleft()
            self.holding[pipe] = (list(group), time.perf_counter())
            with contextlib.suppress(OSError):  # died meanwhile: its end of the pipe says so in the next wait
                pipe.send(group)

    def _bury(self, pipe: Connection) -> list[Event]:
        """What a dead worker held, and how it died."""
        number, process = self.alive.pop(pipe)
        jobs, began = self.holding.pop(pipe)
        pipe.close()
        process.join(10)
        code = process.exitcode
        why = f"exit code {code}"
        if code is not None and code < 0:
            why = f"killed by signal {-code} ({signal.strsignal(-code)})"
        hint = "; out of memory? fewer workers may help" if code == -signal.SIGKILL else ""
        seconds = (time.perf_counter() - began) / len(jobs)
        reason = f"the worker process died: {why}{hint}"
        return [Event("lost", number, job, status="failed", reason=reason, seconds=seconds) for job in jobs]


def _worker(number: int, pipe: Connection, setting: Setting) -> None:
    # Ctrl-C and the end of a terminal reach the whole process group; the parent decides, so that nobody prints a
    # traceback.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    runner = _Runner(setting)
    with contextlib.suppress(EOFError, BrokenPipeError), runner.thread_limit():  # the parent is gone: so are we
        while (group := pipe.recv()) is not None:
            runner(group, _Teller(number, pipe.send))


def _end_with_parent() -> None:
    """Ends this process as soon as its launcher is gone, killed ones included: nobody is left to tell."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
