"""Workers of a suite on machines that somebody else hands out: Slurm by submitit, everything else by dask.distributed.

An engine starts so many calls of `work_suite` and says whether they have ended; who does which run they settle in the
suite's folder, which all of them must see under the same path.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ltr.bench.suite.plan import RunJob
from ltr.errors import InputError, MissingExtra
from ltr.runs.record import read_record

from .workers import Event, Group, Setting

__all__ = ["Engine", "EnginePool"]

_LOOK_EVERY = 0.5  # seconds between looks at what has ended elsewhere
_LAST_WORDS = 30.0  # seconds for processes of this machine to end by themselves


@dataclass(frozen=True)
class Engine:
    """Who runs the workers.

    Attributes:
        name: "submitit" (Slurm, or processes of this machine where there is none) or "dask"; "local" starts none.
        copies: workers; 0 prepares the folder and starts none.
        options: of submitit those of its executor (`slurm_partition`, `timeout_min`, `gpus_per_node`, `cluster`); of
            dask those of its `Client` (`address`), without an address those of a `LocalCluster`.
        work: what each worker does: options of `work_suite`.
    """

    name: Literal["submitit", "dask", "local"]
    copies: int
    options: Mapping[str, Any] = field(default_factory=dict)
    work: Mapping[str, Any] = field(default_factory=dict)


class EnginePool:
    """The workers of an engine for as long as the `with` block lasts; to a launch, a `WorkerPool` like the other.

    Where the block is left by Ctrl-C, workers of dask end with their client; jobs of Slurm go on.
    """

    def __init__(self, setting: Setting, engine: Engine, work: Callable[[], Any]):
        self.setting, self.engine, self.work_elsewhere, self.workers = setting, engine, work, engine.copies
        self.over: Callable[[], list[str] | None] = lambda: None
        self.close: Callable[[], Any] = lambda: None

    def __enter__(self) -> EnginePool:
        if self.setting.url and self.engine.name == "submitit":
            do = f"Prepare it with --copies 0, and have Slurm start: ltr bench work {self.setting.url}"
            raise InputError("submitit hands its workers a folder that all of them see", file=self.setting.url, do=do)
        start = {"submitit": _submitit, "dask": _dask}[self.engine.name]
        self.over, self.close = start(self.setting.out.absolute(), self.engine, _Work(self.work_elsewhere))
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def work(self, jobs: Sequence[RunJob | Group], tell: Callable[[Event], None]) -> None:
        """Waits until all have ended.

        Raises:
            InputError: every worker has ended before.
        """
        cells = self.setting.cells()
        left = [job for group in jobs for job in ((group,) if isinstance(group, RunJob) else group)]
        while left:
            reasons = self.over()  # before the look: what they did last is seen
            waiting = []
            for job in left:
                if cells.ended(job.folder):
                    cells.fetch(f"{job.folder}/record.json", f"{job.folder}/DONE")
                    tell(self._end(job))
                else:
                    waiting.append(job)
            left = waiting
            if left and reasons is not None:
                what = f"all workers have ended, and {len(left)} runs have not"
                raise InputError(what, came="; ".join(reasons) or None, do="The same command starts new ones")
            if left:
                time.sleep(_LOOK_EVERY)

    def _end(self, job: RunJob) -> Event:
        try:
            record = read_record(self.setting.out / job.folder)
        except InputError:  # damaged: the page says so
            record = None
        if record is None:
            return Event("end", 0, job, status="failed")
        seconds = sum(record.cost.get(f"{stage}_seconds") or 0.0 for stage in ("fit", "score", "measure"))
        return Event("end", 0, job, status=record.status, reason=record.reason, seconds=seconds)


@dataclass(frozen=True)
class _Work:
    """What a worker of submitit runs; where Slurm takes its machine away, it is put into the queue again."""

    work: Callable[[], Any]

    def __call__(self) -> Any:
        return self.work()

    def checkpoint(self) -> Any:
        import submitit

        return submitit.helpers.DelayedSubmission(self)


Started = tuple[Callable[[], list[str] | None], Callable[[], Any]]  # reasons, once all have ended; how to close


def _submitit(out: Path, engine: Engine, work: _Work) -> Started:
    try:
        import submitit
    except ImportError:
        raise MissingExtra("submitit", "slurm", "--engine submitit") from None
    options = dict(engine.options)
    executor = submitit.AutoExecutor(out / ".cells" / "submitit", cluster=options.pop("cluster", None))
    try:
        executor.update_parameters(name="ltr", **options)
    except NameError as error:  # what submitit raises for a parameter it does not know
        raise InputError("an option of submitit", came=str(error)) from None
    jobs = [executor.submit(work) for _ in range(engine.copies)]

    def over() -> list[str] | None:
        if not all(job.done() for job in jobs):
            return None
        return sorted({str(job.exception()).strip().splitlines()[-1] for job in jobs if job.exception() is not None})

    def close() -> None:
        end = time.monotonic() + _LAST_WORDS
        while executor.cluster == "local" and over() is None and time.monotonic() < end:
            time.sleep(_LOOK_EVERY)  # processes of ours: they end when nothing is left to do

    return over, close


def _dask(out: Path, engine: Engine, work: _Work) -> Started:
    try:
        import distributed
    except ImportError:
        raise MissingExtra("dask.distributed", "dask", "--engine dask") from None
    options = dict(engine.options)
    if "address" not in options:
        options = {"n_workers": engine.copies, "threads_per_worker": 1, "dashboard_address": None, **options}
    client = distributed.Client(**options)
    futures = [client.submit(work, pure=False) for _ in range(engine.copies)]

    def over() -> list[str] | None:
        if not all(future.done() for future in futures):
            return None
        return sorted({str(future.exception()) for future in futures if future.status == "error"})

    return over, client.close
