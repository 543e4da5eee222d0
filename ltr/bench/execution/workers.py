"""A worker: pulls runs of a suite, one after another, until all have ended, with as many others as there are.

A run that fails is a record. Runs that train together are one piece of work, and end one by one.
"""

from __future__ import annotations

import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ltr.atomic import HOST, Busy
from ltr.bench.object_store import named
from ltr.bench.suite.plan import RunJob
from ltr.datasets import load
from ltr.errors import InputError
from ltr.runs import read_record
from ltr.runs.config import DataConfig
from ltr.runs.environment import data_hashes, peak_memory
from ltr.runs.record import write_record
from ltr.schema import bind
from ltr.types import Task

from .cells import LEASE, TRIES, Cell, Cells
from .store_cells import cells_at

__all__ = ["Event", "Group", "Setting", "Worker"]

_TASKS_KEPT = 2
_TELL_EVERY = 0.2  # seconds between progress messages of a run
_PAUSES = 0.05, 1.0  # seconds between looks at what others hold, at first and at last

Group = tuple[RunJob, ...]  # runs that train together; most are of one


@dataclass(frozen=True)
class Setting:
    """What every worker needs to know.

    Attributes:
        out: the suite's folder.
        threads: threads of a worker.
        device: as `ltr.runs.execute` takes it.
        data: dataset -> store or folder to read it from instead of the usual place.
        gpus: the GPU each worker of this machine sees, in turn; all see all where it is empty.
        until: `time.monotonic()` at which workers stop; what they were at goes on elsewhere.
        lease: seconds without a heartbeat after which a run passes to another worker.
        url: of the suite where it lies in an object store; `out` is then where it is worked on here.
    """

    out: Path
    threads: int = 1
    device: str = "auto"
    data: Mapping[str, str] = field(default_factory=dict)
    gpus: tuple[str, ...] = ()
    until: float | None = None
    lease: float = LEASE
    url: str = ""

    def cells(self) -> Cells:
        return cells_at(self.out, self.url, self.lease)

    def named(self, path: Path | str) -> str:
        """A path below `out` as the user knows it."""
        return named(path, self.out, self.url)

    @property
    def late(self) -> bool:
        """Whether the time of the workers is up."""
        return self.until is not None and time.monotonic() >= self.until


@dataclass(frozen=True)
class Event:
    """Something a worker tells: `kind` is "start", "progress", "end", "seen" (another worker ended it) or "again" (the
    run failed or its worker died, and it is tried once more at the end).

    Attributes:
        worker: number of the worker, from 0.
        job: the run it is about.
        stage, done, total, note: of a "progress".
        status, reason, seconds: of an "end"; seconds of a run that trained with others hold its share of that.
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


class Worker:
    """Runs one job after another, keeping the tasks it read last.

    Worker(setting).work(groups)
    """

    def __init__(self, setting: Setting, number: int = 0, send: Callable[[Event], None] = lambda event: None):
        self.setting, self.number, self.send, self.peak = setting, number, send, 0
        self.cells = setting.cells()
        self.tasks: OrderedDict[tuple[Any, ...], Any] = OrderedDict()

    def work(self, groups: Sequence[Group]) -> None:
        """Takes what nobody has, in this order, until every run has ended, here or elsewhere, or the time is up.

        What failed comes last. What others hold is looked at now and then: they may be gone.
        """
        waiting, later = deque(groups), list[Group]()
        again, pause, looked = False, _PAUSES[0], time.monotonic()
        with self.thread_limit():
            while (waiting or later) and not self.setting.late:
                if not waiting:
                    again = True
                    waiting.extend(later)
                    later.clear()
                elif later and time.monotonic() - looked > self.setting.lease:
                    looked = time.monotonic()
                    waiting.extendleft(later)
                    later.clear()
                left, worked = self._piece(waiting.popleft(), again)
                if left:
                    later.append(left)
                if worked:
                    pause = _PAUSES[0]
                elif not waiting:  # nothing to do for now
                    time.sleep(pause)
                    pause = min(2 * pause, _PAUSES[1])

    def _piece(self, group: Group, again: bool) -> tuple[Group, bool]:
        """What of a group has not ended yet, after it was worked on if it could be; and whether it was."""
        left = []
        for job in group:
            if self.cells.ended(job.folder):
                self.send(Event("seen", self.number, job))
            else:
                left.append(job)
        fresh = [job for job in left if not self.cells.tries(job.folder)]
        if not fresh and left and again:
            # One at a time on this machine: what it failed of may be the memory of the others.
            alone = self.cells.hold(f"again-{HOST}")
            if alone is not None:
                try:
                    return self._work(left[:1], left, again)
                finally:
                    alone.release()
        return self._work(fresh, left, again)

    def _work(self, jobs: Sequence[RunJob], left: Sequence[RunJob], again: bool) -> tuple[Group, bool]:
        held = []
        for job in jobs:
            cell = None if self.cells.newly_held(job.folder) else self._take(job)
            if cell is not None:
                held.append((job, cell))
            elif not again:  # whoever has it is taking its group: two workers that begin at once do not split it
                break
        ended = self._run(held) if held else set()
        return tuple(job for job in left if job.folder not in ended), bool(held)

    def _take(self, job: RunJob) -> Cell | None:
        """The cell of a job; who finds that it was lost with its worker says so, and leaves it for later if twice."""
        cell = self.cells.take(job.folder)
        if cell is None or not cell.lost:
            return cell
        lost = self.cells.tries(job.folder) + 1
        self.bury(job, cell, f"its worker was lost, {lost} times by now; out of memory? fewer workers may help")
        if lost < 2:
            return cell
        cell.put()
        return None

    def bury(self, job: RunJob, cell: Cell, reason: str) -> None:
        """Counts the loss of a worker; the last one that counts is a failed run."""
        self.cells.fail(job.folder, reason)
        if self.cells.ended(job.folder):
            from ltr.runs import resolve
            from ltr.runs.execution import begun

            record = read_record(cell.place) or begun(resolve(job.config), cell.place, self.setting.device, TRIES)
            write_record(replace(record, status="failed", reason=reason))
            self.send(Event("end", self.number, job, status="failed", reason=reason))

    def _run(self, held: Sequence[tuple[RunJob, Cell]]) -> set[str]:
        """Runs what is held and tells of each; gives every cell back. Returns the folders of those that have ended."""
        tell, waiting = _Teller(self.number, self.send), list(held)
        ended: set[str] = set()
        dropped = False

        def progress(stage: str, done: int, total: int, note: str) -> None:
            nonlocal dropped
            dropped = self.setting.late or any(cell.lease.compromise is not None for _, cell in waiting)
            if dropped:
                raise KeyboardInterrupt  # what it was at goes on elsewhere
            tell.progress(stage, done, total, note)

        try:
            self.warm_up(held[0][0])
            tell.start(held[0][0])
            began = time.perf_counter()
            if len(held) > 1:
                self.together(held, progress)
            shared = (time.perf_counter() - began) / len(held)
            while waiting:
                job, cell = waiting[0]
                tell.start(job)
                began = time.perf_counter()
                status, reason, final = self.one(job, cell.place, progress)
                reason = self.setting.named(reason.replace(str(cell.place), str(cell.final)))
                if status not in ("done", "busy") and cell.mine():
                    self.cells.fail(job.folder, reason, final)
                waiting.pop(0)
                if not cell.put() or status == "busy":
                    continue
                seconds = time.perf_counter() - began + shared
                if self.cells.ended(job.folder):
                    ended.add(job.folder)
                    tell("end", status=status, reason=reason, seconds=seconds, peak_memory=self.peak)
                else:
                    tell("again", reason=reason, seconds=seconds)
        except KeyboardInterrupt:  # Ctrl-C and SIGTERM are no failures: what is there goes on elsewhere
            if not dropped:
                raise
        finally:
            for _, cell in waiting:
                cell.put()
        return ended

    def together(self, held: Sequence[tuple[RunJob, Cell]], progress) -> None:
        """Trains those that are not trained yet; what cannot be trained so is left to its own run, which says why."""
        from ltr.runs import train_stacked

        with contextlib.suppress(Exception):  # data that cannot be read, which every run will say for itself
            configs, folders = [job.config for job, _ in held], [cell.place for _, cell in held]
            train_stacked(configs, folders, progress=progress, task=self.task(held[0][0]), device=self.setting.device)

    def one(self, job: RunJob, folder: Path, progress) -> tuple[str, str, bool]:
        """Status and reason of a run, and whether a failure would come again."""
        from ltr.runs import execute

        try:
            # A finished run needs no data: resuming a suite opens nothing.
            found = read_record(folder)
            task = None if found is not None and found.done else self.task(job)
            record = execute(job.config, folder, progress=progress, task=task, device=self.setting.device)
            told = record.status, record.reason, record.status == "skipped" or record.error.get("type") == "InputError"
        except Busy as error:
            told = "busy", error.what, False
        except Exception as error:  # data or a folder that cannot be used: this run fails, its neighbours go on
            told = "failed", str(error) or type(error).__name__, isinstance(error, InputError)
        self.peak = max(self.peak, peak_memory()["peak_memory_bytes"])
        return told

    def task(self, job: RunJob):
        from ltr.runs import load_task

        data = job.config.data
        key = (job.dataset, job.fold, data.objective, data.objectives, data.main)
        if key not in self.tasks:
            source = self.setting.data.get(job.dataset, job.dataset)
            # Without a word about labels, all rankers share one task with every label column of the store.
            task = load_task(job.config, source) if data.columns else load(source, fold=job.fold)
            self._same_data(job, task)
            self.tasks[key] = task
            while len(self.tasks) > _TASKS_KEPT:
                self.tasks.popitem(last=False)
        self.tasks.move_to_end(key)
        return self.tasks[key]

    def _same_data(self, job: RunJob, task: Task) -> None:
        """Refuses data that are not those of a finished run on the same fold: a table never mixes the two."""
        stage, dataset, *_, fold, _ = Path(job.folder).parts
        for done in self.cells.finished(f"{stage}/{dataset}", fold):
            record = read_record(done)
            if record is None or bind(DataConfig, record.config["data"]) != job.config.data:
                continue
            if record.hashes.get("store") != data_hashes(task)["store"]:
                raise InputError(
                    f"{job.dataset} holds other data than the run in {done.relative_to(self.setting.out)}",
                    do="Give another --out, or delete the runs of before",
                )
            return

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
