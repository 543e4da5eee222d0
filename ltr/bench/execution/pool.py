"""The workers of one machine: one in this process, or several of their own, each as `ltr bench work` is one.

Each is started once and ends when its launcher does. Where one dies (killed for memory, a crash in a library), another
takes its place, and what it held is tried again at the end.

What training imports takes seconds. On Linux one process without threads imports it, and workers are forked from that
one; elsewhere, and where each worker sees a GPU of its own, every worker imports it for itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, cast

from ltr.bench.suite.plan import RunJob
from ltr.errors import InputError

from .cells import name_of
from .workers import Event, Group, Setting, Worker

__all__ = ["WorkerPool", "environment_of"]

# None of them starts a thread, which a fork would lose (Arrow does).
_IMPORTS, _LIGHTNING = ["torch", "ltr.bench.execution.workers"], "ltr.rankers.training.loop"
_SILENT = 5  # workers in a row that may die without a word
# Libraries read these when they are loaded, so a worker must be born with them.
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def environment_of(setting: Setting, number: int) -> dict[str, str]:
    """What a worker finds in its environment: its threads, and its GPU where each sees its own."""
    found = dict.fromkeys(_THREAD_VARIABLES, str(setting.threads))
    return found | ({"CUDA_VISIBLE_DEVICES": setting.gpus[number % len(setting.gpus)]} if setting.gpus else {})


class WorkerPool:
    """Workers for as long as the `with` block lasts.

    One worker runs in this process, unless it sees a GPU of its own; more are started when there is work for them, so a
    script that asks for more needs the usual `if __name__ == "__main__":`. When the block is left by an exception
    (Ctrl-C), the workers are stopped; what they were doing can be continued.

        with WorkerPool(setting, workers=2) as pool:
            pool.work(jobs, tell)
    """

    def __init__(self, setting: Setting, workers: int):
        self.setting, self.workers, self.started = setting, workers, 0
        self.own = Worker(setting) if workers == 1 and not setting.gpus else None
        forks = sys.platform == "linux" and not setting.gpus
        self.context: Any = multiprocessing.get_context("forkserver" if forks else "spawn")
        self.alive: dict[Connection, tuple[int, BaseProcess]] = {}  # our end of the pipe -> (number, process)

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *exception) -> None:
        for pipe, (_, process) in self.alive.items():
            if exception[0] is None:
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

    def work(self, jobs: Sequence[RunJob | Group], tell: Callable[[Event], None]) -> None:
        """Works off `jobs`; returns when all have ended, here or elsewhere, or the time is up.

        Raises:
            InputError: what a worker says of the folder or store of the suite, or workers that die without a word.
        """
        groups = [(job,) if isinstance(job, RunJob) else tuple(job) for job in jobs]
        if self.own is not None:
            self.own.send = tell
            self.own.work(groups)
            return
        while len(self.alive) < min(self.workers, len(groups)):
            self._start()
        busy, silent = set(self.alive), 0  # who has not said that all have ended; who died without a word
        for pipe in busy:
            self._hand(pipe, groups)
        while busy:
            for pipe in cast(list[Connection], multiprocessing.connection.wait(list(busy))):
                try:
                    event = pipe.recv()
                except (EOFError, OSError):
                    busy.remove(pipe)
                    reason, silent = self._bury(pipe, groups, tell), silent + 1
                    if silent > _SILENT:
                        raise InputError(reason, do="Try it with --workers 1, which shows the error") from None
                    busy.add(again := self._start())
                    self._hand(again, groups)
                    continue
                silent = 0
                if isinstance(event, InputError):  # no run's: the folder or store of the suite cannot be used
                    raise event
                if event is None:
                    busy.remove(pipe)
                else:
                    tell(event)

    def get_ready(self, nets: bool = True) -> None:
        """Begins to import what workers will need (Lightning only for `nets`); their launcher need not wait for it."""
        if self.own is not None or self.context.get_start_method() != "forkserver":
            return
        self.context.set_forkserver_preload([*_IMPORTS, *([_LIGHTNING] if nets else [])])
        # Ctrl-C and the end of a terminal are the launcher's to hear.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGHUP))
        try:
            with _environment(environment_of(self.setting, 0)):
                multiprocessing.forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _hand(self, pipe: Connection, groups: Sequence[Group]) -> None:
        with contextlib.suppress(OSError):  # died meanwhile: its end of the pipe says so in the next wait
            pipe.send(groups)

    def _start(self) -> Connection:
        if self.setting.url.startswith("memory:"):
            raise InputError("memory:// is of one process", do="Give --workers 1, or a store that others see")
        number, self.started = self.started, self.started + 1
        ours, theirs = self.context.Pipe()
        self.get_ready()
        with _environment(environment_of(self.setting, number)):
            arguments = number, theirs, self.setting, dict(os.environ)
            process = self.context.Process(target=_worker, args=arguments, daemon=True)
            process.start()
        theirs.close()
        self.alive[ours] = (number, process)
        return ours

    def _bury(self, pipe: Connection, groups: Sequence[Group], tell: Callable[[Event], None]) -> str:
        """Puts back what a dead worker held; returns how it died."""
        number, process = self.alive.pop(pipe)
        pipe.close()
        process.join(10)
        code = process.exitcode
        why = f"exit code {code}"
        if code is not None and code < 0:
            why = f"killed by signal {-code} ({signal.strsignal(-code)})"
        hint = "; out of memory? fewer workers may help" if code == -signal.SIGKILL else ""
        reason = f"the worker process died: {why}{hint}"
        undertaker = Worker(self.setting, number, tell)
        held = {name for name, (_, pid) in undertaker.cells.owners().items() if pid == process.pid}
        theirs = [job for group in groups for job in group if name_of(job.folder) in held]
        for job, cell in [(job, undertaker.cells.take(job.folder)) for job in theirs]:  # before another worker does
            if cell is not None:  # on another machine a process may have the same number
                undertaker.bury(job, cell, reason)
                cell.put()
                if not undertaker.cells.ended(job.folder):
                    tell(Event("again", number, job, reason=reason))
        return reason


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _worker(number: int, pipe: Connection, setting: Setting, environment: dict[str, str]) -> None:
    os.environ.clear()  # it may be that of an earlier call
    os.environ.update(environment)
    # Ctrl-C and the end of a terminal reach the whole process group; the parent decides, so that nobody prints a
    # traceback. Its SIGTERM has us give back what we hold.
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker = Worker(setting, number, pipe.send)
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):  # the parent is gone, or wants us to go
        while (groups := pipe.recv()) is not None:
            try:
                worker.work(groups)
                pipe.send(None)
            except InputError as error:
                pipe.send(error)


def _end_with_parent() -> None:
    """Ends this process as soon as its launcher is gone, killed ones included: nobody is left to tell."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)
