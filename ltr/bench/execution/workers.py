"""Processes that work off a list of runs.

Each worker is started once, imports torch once and keeps the last tasks it read. A run that fails is a record; a
worker that dies (killed for memory, a crash in a library) costs the runs it held, and another takes its place. Runs
that train as a fleet are one piece of work, and end one by one.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltr.bench.suite.plan import Job
from ltr.errors import MissingExtra

__all__ = ["Crew", "Event", "Setting"]

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
    """Something a worker tells: `kind` is "start", "progress" or "end".

    Attributes:
        worker: number of the worker, from 0.
        job: the run it is about.
        stage, done, total, note: of a "progress".
        status, reason, seconds: of an "end"; seconds of a run that trained in a fleet hold its share of that.
        peak_memory: bytes, the worker's high-water mark so far; of an "end".
    """

    kind: str
    worker: int
    job: Job
    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    status: str = ""
    reason: str = ""
    seconds: float = 0.0
    peak_memory: int = 0


class Crew:
    """Workers for as long as the `with` block lasts.

    One worker runs in this process; more are spawned when there is work for them, so a script that asks for more needs
    the usual `if __name__ == "__main__":`. When the block is left by an exception (Ctrl-C), the workers are stopped;
    what they were doing can be continued.

        with Crew(setting, workers=2) as crew:
            crew.work(jobs, tell)
    """

    def __init__(self, setting: Setting, workers: int):
        self.setting, self.workers = setting, workers
        self._runner = _Runner(setting) if workers <= 1 else None
        self._pool = _Pool(setting, workers)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *exception) -> None:
        self._pool.close(orderly=exception[0] is None)

    def work(self, jobs: Sequence[Job | Fleet], tell: Callable[[Event], None]) -> None:
        """Works off `jobs` in their order; returns when all have ended, one way or another."""
        fleets = [(job,) if isinstance(job, Job) else tuple(job) for job in jobs]
        if self._runner is None:
            self._pool.work(deque(fleets), tell)
            return
        with self._runner.thread_limit():
            for fleet in fleets:
                self._runner(fleet, _Teller(0, tell))


Fleet = tuple[Job, ...]  # runs that train together; most are of one


class _Teller:
    """Sends the events of a worker; progress no more often than anyone can read."""

    def __init__(self, worker: int, send: Callable[[Event], None]):
        self.worker, self.send, self.job, self.last = worker, send, None, 0.0

    def start(self, job: Job) -> None:
        if job is not self.job:  # the first of a fleet has started with it
            self.job, self.last = job, 0.0
            self("start")

    def __call__(self, kind: str, **facts) -> None:
        self.send(Event(kind, self.worker, self.job, **facts))

    def progress(self, stage: str, done: int, total: int, note: str) -> None:
        now = time.perf_counter()
        if now - self.last >= _TELL_EVERY:
            self.last = now
            self("progress", stage=stage, done=done, total=total, note=note)


class _Runner:
    """Runs one job after another, keeping the tasks it read last."""

    def __init__(self, setting: Setting):
        self.setting, self.tasks, self.peak = setting, OrderedDict(), 0

    def __call__(self, fleet: Fleet, tell: _Teller) -> None:
        """Runs them and tells of each."""
        self.warm_up(fleet[0])
        tell.start(fleet[0])
        began = time.perf_counter()
        if len(fleet) > 1:
            self.together(fleet, tell)
        shared = (time.perf_counter() - began) / len(fleet)
        for job in fleet:
            tell.start(job)
            began = time.perf_counter()
            facts = self.one(job, tell.progress)
            tell("end", seconds=time.perf_counter() - began + shared, **facts)

    def together(self, fleet: Fleet, tell: _Teller) -> None:
        """Trains those that are not trained yet; what cannot be trained so is left to its own run, which says why."""
        from ltr.runs import train_fleet

        with contextlib.suppress(Exception):  # data that cannot be read, which every run will say for itself
            configs, folders = [job.config for job in fleet], [self.setting.out / job.folder for job in fleet]
            train_fleet(configs, folders, progress=tell.progress, task=self.task(fleet[0]), device=self.setting.device)

    def one(self, job: Job, progress) -> dict[str, Any]:
        from ltr.runs import execute, read_record
        from ltr.runs.environment import peak_memory

        folder = self.setting.out / job.folder
        try:
            # A finished run needs no data: resuming a suite opens nothing.
            found = read_record(folder)
            task = None if found is not None and found.done else self.task(job)
            record = execute(job.config, folder, progress=progress, task=task, device=self.setting.device)
            status, reason = record.status, record.reason
        except Exception as error:  # data or a folder that cannot be used: this run fails, its neighbours go on
            status, reason = "failed", str(error) or type(error).__name__
        self.peak = max(self.peak, peak_memory()["peak_memory_bytes"])
        return {"status": status, "reason": reason, "peak_memory": self.peak}

    def task(self, job: Job):
        from ltr.datasets import load
        from ltr.runs import load_task

        data = job.config.data
        key = (job.dataset, job.fold, data.objectives)
        if key not in self.tasks:
            source = self.setting.data.get(job.dataset, job.dataset)
            # All rankers share one task with every label column of the store; a method's labels are its own.
            self.tasks[key] = load_task(job.config, source) if data.objectives else load(source, fold=job.fold)
            while len(self.tasks) > _TASKS_KEPT:
                self.tasks.popitem(last=False)
        self.tasks.move_to_end(key)
        return self.tasks[key]

    def warm_up(self, job: Job) -> None:
        """Imports what training needs before the clock of the first run starts."""
        if job.config.method is not None:
            import ltr.fronts.hypervolume
            import ltr.methods.catalogue
            import ltr.rankers.conditional.training  # noqa: F401
        elif job.config.loss is not None:
            import ltr.rankers.training.loop  # noqa: F401
        else:
            from ltr.rankers import make_ranker

            with contextlib.suppress(MissingExtra):
                getattr(make_ranker(job.config.ranker.name), "library", None)

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
        self.alive: dict[Any, tuple[int, Any]] = {}  # our end of the pipe -> (number, process)
        self.holding: dict[Any, tuple[list[Job], float]] = {}  # what has not ended yet of a pipe's fleet

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

    def _start(self) -> Any:
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

    def work(self, fleets: deque[Fleet], tell: Callable[[Event], None]) -> None:
        while len(self.alive) < min(self.workers, len(fleets)):
            self._start()
        for pipe in list(self.alive):
            self._hand(pipe, fleets)
        while self.holding:
            for pipe in multiprocessing.connection.wait(list(self.holding)):
                try:
                    event = pipe.recv()
                except (EOFError, OSError):
                    for lost in self._bury(pipe):
                        tell(lost)
                    if fleets:
                        self._hand(self._start(), fleets)
                    continue
                tell(event)
                if event.kind == "end":
                    left, _ = self.holding[pipe]
                    left[:] = [job for job in left if job.folder != event.job.folder]
                    if not left:
                        del self.holding[pipe]
                        self._hand(pipe, fleets)

    def _hand(self, pipe, fleets: deque[Fleet]) -> None:
        if fleets:
            fleet = fleets.popleft()
            self.holding[pipe] = (list(fleet), time.perf_counter())
            with contextlib.suppress(OSError):  # died meanwhile: its end of the pipe says so in the next wait
                pipe.send(fleet)

    def _bury(self, pipe) -> list[Event]:
        """The ends of the runs a dead worker held."""
        number, process = self.alive.pop(pipe)
        jobs, began = self.holding.pop(pipe)
        pipe.close()
        process.join(10)
        code = process.exitcode
        why = (
            f"killed by signal {-code} ({signal.strsignal(-code)})"
            if code is not None and code < 0
            else f"exit code {code}"
        )
        hint = "; out of memory? fewer workers may help" if code == -signal.SIGKILL else ""
        seconds = (time.perf_counter() - began) / len(jobs)
        reason = f"the worker process died: {why}{hint}"
        return [Event("end", number, job, status="failed", reason=reason, seconds=seconds) for job in jobs]


def _worker(number: int, pipe, setting: Setting) -> None:
    # Ctrl-C reaches the whole process group; the parent decides, so that nobody prints a traceback.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runner = _Runner(setting)
    with contextlib.suppress(EOFError, BrokenPipeError), runner.thread_limit():  # the parent is gone: so are we
        while (fleet := pipe.recv()) is not None:
            runner(fleet, _Teller(number, pipe.send))
