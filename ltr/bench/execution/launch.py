"""Works a suite off: tuning first, then what is reported; every call continues the last.

out/plan.jsonl      what is to do, for workers that come from elsewhere
out/tuning/...      runs that only choose
out/chosen.toml     what they chose, with the validation value of every candidate
out/runs/...        what is reported
out/.cells/         who is at what
"""

from __future__ import annotations

import contextlib
import math
import shutil
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ltr import schema
from ltr.atomic import whole_folder, write_text
from ltr.bench.suite.plan import (
    Chosen,
    Resolver,
    RunJob,
    choose,
    main_jobs,
    read_chosen,
    stackable,
    tuning_jobs,
)
from ltr.bench.suite.suite import Suite
from ltr.errors import InputError
from ltr.runs.config import differences
from ltr.runs.record import check

from .display import Display
from .engines import EnginePool
from .estimate import plan as estimates
from .plan_file import NAME, Piece, Plan, read_plan, write_plan
from .pool import WorkerPool
from .workers import Event, Group, Setting

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Launch", "check_jobs"]

_LOOK_EVERY = 0.2  # seconds between looks at who closes tuning
_TUNED = ".cells/tuned"  # key of the plan whose tuning is over
_ESTIMATED = 40  # pieces of work from which on an estimate pays: it takes seconds of imports and probes


@dataclass
class Launch:
    """One call of `run_suite` or `work_suite`: what it was asked, and what it saw.

    Attributes:
        plan: what this call does, and its pieces, in their order.
        chosen: the points in use, once tuning is over.
        ended: folder of a job -> (status, reason), for the jobs of this call.
        seconds: label of a system -> seconds of its finished runs, for the order of the next ones.
        peaks: worker -> its peak memory in bytes.
        ran: runs that workers of this call have ended.
    """

    plan: Plan
    setting: Setting
    pool: WorkerPool | EnginePool
    console: Console
    pieces: list[Piece] = field(default_factory=list)
    chosen: Chosen = field(default_factory=dict)
    resolved: Resolver = field(default_factory=Resolver)
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    peaks: dict[int, int] = field(default_factory=dict)
    ran: int = 0

    def __post_init__(self) -> None:
        self.cells = self.setting.cells()

    @property
    def suite(self) -> Suite:
        return self.plan.suite

    @property
    def folds(self) -> Mapping[str, Sequence[str]]:
        return self.plan.folds

    def prepare(self) -> None:
        """Writes the plan, where it is not there yet; failures of earlier calls are forgotten."""
        out, stages = self.setting.out, {"tuning": tuning_jobs(self.suite, self.folds)}
        stages["runs"] = main_jobs(self.suite, self.folds)
        self.cells.forget({job.folder for jobs in stages.values() for job in jobs})
        self.cells.remove(_TUNED)
        self.cells.fetch(NAME)
        with contextlib.suppress(InputError):
            there, self.pieces = read_plan(out)
            if there.key == self.plan.key:
                return
        together = stackable if self.suite.limits.stacked else zip
        groups = [(stage, tuple(group)) for stage, jobs in stages.items() for group in together(jobs)]
        seconds = self._estimates() if len(groups) >= _ESTIMATED else {}
        pieces = [Piece(s, tuple(j.folder for j in g), seconds.get((g[0].dataset, g[0].system))) for s, g in groups]
        self.pieces = sorted(pieces, key=lambda p: (p.stage != "tuning", -len(p.runs) * (p.seconds or math.inf)))
        write_plan(out, self.plan, self.pieces)
        self.cells.send(NAME)

    def _estimates(self) -> dict[tuple[str, str], float]:
        """Seconds of a run of every system on every dataset, by the estimate a dry run shows."""
        found = estimates(self.suite, data=self.plan.data)
        return {(cost.dataset, cost.system): round(sum(cost.seconds) / 2, 1) for cost in found.costs}

    def carry_out(self) -> list[RunJob]:
        """Tunes, chooses and runs; returns the jobs that are reported, with what was chosen.

        Where the time of the workers is up earlier, what is left is left.
        """
        self.cells.pull()
        self.work_off(tuning_jobs(self.suite, self.folds), "Tuning")
        if not self.setting.late:
            self.chosen = self.close_tuning()
            self.work_off(main_jobs(self.suite, self.folds, self.chosen), "Runs")
            self.cells.pull()
        return main_jobs(self.suite, self.folds, self.chosen)

    def work_off(self, jobs: Sequence[RunJob], what: str) -> None:
        """Does those of `jobs` that are not done, the longest first as far as known.

        A damaged run is left as it is, for its owner to look at, and named.

        Raises:
            InputError: a folder holds a run of another config: the suite was edited since; the two are never mixed.
        """
        waiting = [job for job in jobs if not self._stands(job)]
        if not waiting:
            return
        with Display(self.console, what, len(jobs), len(jobs) - len(waiting)) as display:

            def tell(event: Event) -> None:
                display(event)
                if event.kind == "end":
                    self.ran += 1
                    self.ended[event.job.folder] = (event.status, event.reason)
                    self.seconds[event.job.system].append(event.seconds)
                    self.peaks[event.worker] = max(event.peak_memory, self.peaks.get(event.worker, 0))

            self.pool.work(self._in_order(waiting), tell)

    def _in_order(self, jobs: Sequence[RunJob]) -> list[Group]:
        """Jobs in the pieces of the plan, the longest first; what nobody has timed is first of all."""
        job_of, groups = {job.folder: job for job in jobs}, []
        for piece in self.pieces:
            group = tuple(job_of.pop(folder) for folder in piece.runs if folder in job_of)
            if group:
                known = self.seconds.get(group[0].system)
                each = sum(known) / len(known) if known else piece.seconds or math.inf
                groups.append((-len(group) * each, group))
        groups += [(-math.inf, (job,)) for job in job_of.values()]
        return [group for _, group in sorted(groups, key=lambda pair: pair[0])]

    def _stands(self, job: RunJob) -> bool:
        """Whether there is nothing to do for a job; sees how it ended."""
        found = check(self.setting.out / job.folder)
        record = found.record
        if found.status == "damaged":
            self.ended[job.folder] = ("damaged", found.reason)
            text = f"{job.folder} is damaged and left as it is: {found.reason}. Delete the folder to have it run again."
            self.console.print(text, style="red", markup=False, soft_wrap=True)
            return True
        if record is None:
            return False
        if record.config_hash != self.resolved.hash(job):
            changed = differences(self.resolved(job), record.config)
            raise InputError(
                f"{job.folder} holds a run of another config ({'; '.join(changed[:3])})",
                file=self.setting.named(self.setting.out),
                do="The suite was edited since: give another --out, or delete the folders of the old runs",
            )
        if record.done:
            self.seconds[job.system].append(record.cost.get("fit_seconds") or 0.0)
        if record.done or record.lacks_library:
            self.ended[job.folder] = (record.status, record.reason)
        return job.folder in self.ended

    def close_tuning(self) -> Chosen:
        """What tuning chose: one worker writes it to chosen.toml, with what earlier calls chose; all others read it."""
        jobs, out = tuning_jobs(self.suite, self.folds), self.setting.out
        if not jobs:
            return self._choose([])
        while (lease := self.cells.hold("tuning")) is None:
            time.sleep(_LOOK_EVERY)
        try:
            self.cells.pull()
            if (out / _TUNED).is_file() and (out / _TUNED).read_text() == self.plan.key:
                return read_chosen(schema.read_toml(out / "chosen.toml"))
            chosen = self._choose(jobs)
            self._take_over(main_jobs(self.suite, self.folds, chosen), jobs)
            write_text(out / _TUNED, self.plan.key)
            self.cells.send("chosen.toml", _TUNED)
            return chosen
        finally:
            lease.release()

    def _choose(self, jobs: Sequence[RunJob]) -> Chosen:
        out, whole = self.setting.out, self.plan.whole
        mine = {job.folder for job in jobs}
        candidates = tuning_jobs(whole, self.folds)
        found = {job.folder: check(out / job.folder) for job in candidates}
        ended = ("done", "not checked", "failed", "skipped", "damaged")
        begun = {j.system for j in candidates if j.folder not in mine and found[j.folder].status not in ended}
        judged = [job for job in candidates if job.folder in mine or job.system not in begun]
        if not judged:
            return {}

        def vali_of(job: RunJob) -> tuple[float | None, str]:
            it = found[job.folder]
            if not it.usable or it.record is None:
                return None, self.ended.get(job.folder, ("", it.reason or "not finished"))[1]
            value = it.record.selection.get("value")
            return it.record.mean(self.suite.select, "vali") if value is None else value, ""

        table = choose(whole, judged, vali_of)
        schema.write_toml(out / "chosen.toml", table)
        return read_chosen(table)

    def _take_over(self, jobs: Sequence[RunJob], tuned: Sequence[RunJob]) -> None:
        """A reported run that tuning has made already, config for config, is copied instead of trained again."""
        out = self.setting.out
        made = {(job.system, self.resolved.hash(job)): out / job.folder for job in tuned}
        for job in jobs if made else ():
            source, target = made.get((job.system, self.resolved.hash(job))), out / job.folder
            if source is not None and check(source).usable and check(target).status == "missing":
                self.cells.fetch(source.relative_to(out).as_posix())
                with whole_folder(target) as beside:
                    shutil.copytree(source, beside, dirs_exist_ok=True)
                self.cells.send(job.folder)


def check_jobs(jobs: Sequence[RunJob]) -> None:
    """Every config with every name and parameter resolved, so that a typo costs seconds and not a night."""
    resolved, seen = Resolver(), set()
    for job in jobs:
        key = (job.dataset, job.system, job.point)
        if key not in seen:
            seen.add(key)
            try:
                resolved(job)
            except InputError as error:
                at = "" if job.point is None else f", grid point {job.point}"
                raise InputError(f"system {job.system!r}{at}: {error}") from None
