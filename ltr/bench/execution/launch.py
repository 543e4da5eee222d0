"""Works a suite off: tuning first, then what is reported, on worker processes; every call continues the last one.

out/tuning/...      runs that only choose
out/chosen.toml     what they chose, with the validation value of every candidate
out/runs/...        what is reported
"""

from __future__ import annotations

import shutil
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ltr import schema
from ltr.atomic import whole_folder
from ltr.bench.suite.plan import Chosen, Resolver, RunJob, choose, chosen_table, stackable, tuning_jobs
from ltr.bench.suite.suite import Suite
from ltr.bench.text import count
from ltr.errors import InputError
from ltr.runs.config import differences
from ltr.runs.record import check

from .display import Display
from .workers import Event, Setting, WorkerPool

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Launch", "check_jobs"]

_LOOK_EVERY = 1.0  # seconds between looks at runs that another launcher holds


@dataclass
class Launch:
    """One call of `run_suite`: what it was asked, and what it saw.

    Attributes:
        suite: what this call does; whole: the suite, of which that may be a part.
        named: the suite as it was asked for, its file or its name.
        words: the options that leave out part of the suite, as words of a command line.
        ended: folder of a job -> (status, reason), for the jobs of this call.
        seconds: label of a system -> seconds of its finished runs, for the order of the next ones.
        peaks: worker -> its peak memory in bytes.
        ran: runs that were not finished before.
    """

    suite: Suite
    whole: Suite
    setting: Setting
    pool: WorkerPool
    console: Console
    named: str = ""
    words: tuple[str, ...] = ()
    resolved: Resolver = field(default_factory=Resolver)
    ended: dict[str, tuple[str, str]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    peaks: dict[int, int] = field(default_factory=dict)
    ran: int = 0

    def work_off(self, jobs: Sequence[RunJob], what: str) -> None:
        """Does those of `jobs` that are not done, the longest first as far as known.

        A damaged run is left as it is, for its owner to look at, and named.

        Raises:
            InputError: a folder holds a run of another config: the suite was edited since; the two are never mixed.
        """
        waiting = [job for job in jobs if not self._stands(job)]
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

            together = stackable(waiting) if self.suite.limits.stacked else [(job,) for job in waiting]
            ordered = sorted(together, key=self._expected, reverse=True)
            self.pool.work(ordered, tell)
        self.ran -= len(self.busy(waiting))

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
                file=self.setting.out,
                do="The suite was edited since: give another --out, or delete the folders of the old runs",
            )
        if record.done:
            self.seconds[job.system].append(record.cost.get("fit_seconds") or 0.0)
            self.ended[job.folder] = ("done", "")
        return record.done

    def _expected(self, group: Sequence[RunJob]) -> float:
        """Seconds these will take; systems nobody has timed yet go first, in the order of the suite."""
        known = self.seconds.get(group[0].system)
        return len(group) * sum(known) / len(known) if known else float("inf")

    def busy(self, jobs: Iterable[RunJob]) -> list[RunJob]:
        """Those in whose folders another process works."""
        return [job for job in jobs if self.ended.get(job.folder, ("",))[0] == "busy"]

    def tune(self, folds: Mapping[str, Sequence[str]]) -> Chosen:
        """Runs the candidates of this call and writes what is chosen to chosen.toml, with what earlier calls chose.

        Where another launcher holds a candidate this one waits for it: without its value the choice would be another.
        """
        out = self.setting.out
        jobs = tuning_jobs(self.suite, folds)
        self.work_off(jobs, "Tuning")
        if held := self.busy(jobs):
            self.console.print(f"[yellow]Waiting for {count(len(held), 'tuning run')} of another launcher.[/]")
        while held:
            time.sleep(_LOOK_EVERY)
            self.work_off(held, "Tuning")
            held = self.busy(held)
        mine = {job.folder for job in jobs}
        candidates = tuning_jobs(self.whole, folds)
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

        chosen, values = choose(self.whole, judged, vali_of)
        schema.write_toml(out / "chosen.toml", chosen_table(self.whole, chosen, values))
        return chosen

    def take_over(self, jobs: Sequence[RunJob], tuned: Sequence[RunJob]) -> None:
        """A reported run that tuning has made already, config for config, is copied instead of trained again."""
        out = self.setting.out
        made = {(job.system, self.resolved.hash(job)): out / job.folder for job in tuned}
        for job in jobs if made else ():
            source, target = made.get((job.system, self.resolved.hash(job))), out / job.folder
            if source is not None and check(source).usable and check(target).status == "missing":
                with whole_folder(target) as beside:
                    shutil.copytree(source, beside, dirs_exist_ok=True)

    def look_again(self, jobs: Sequence[RunJob], what: str) -> None:
        """Runs that another launcher held are looked at once more: it may have finished them, or died."""
        held = self.busy(jobs)
        if held:
            self.work_off(held, what)
            if held := self.busy(held):
                self.console.print(f"[yellow]{count(len(held), 'run')} left to another launcher, which works on it.[/]")


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
