"""What a running suite shows: a bar over all runs and a line a worker, or plain lines where nobody watches."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from .front_results import FrontResults
    from .workers import Event

__all__ = ["Display", "duration", "front_rows", "print_fronts"]


def duration(seconds: float) -> str:
    """Words a person would use.

    >>> duration(95), duration(4000)
    ('1 min 35 s', '1 h 6 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s" if seconds < 10 else f"{rest} s"


class Display:
    """Progress: a bar over all runs and a line a worker; a plain line a run where nobody watches a terminal."""

    def __init__(self, console: Console, what: str, total: int, done: int):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.console, self.what, self.total, self.done = console, what, total, done
        columns = (
            TextColumn("{task.description}"),
            BarColumn(24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("[dim]{task.fields[note]}"),
        )
        self.progress = (
            Progress(*columns, console=console, transient=True) if console.is_terminal and not console.quiet else None
        )
        self.workers: dict[int, Any] = {}

    def __enter__(self) -> Display:
        if self.progress is not None:
            self.progress.start()
            self.all = self.progress.add_task(self.what, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *exception) -> None:
        if self.progress is not None:
            self.progress.stop()

    def __call__(self, event: Event) -> None:
        job = event.job
        name = f"{job.system} {job.fold} seed {job.seed}" + ("" if job.point is None else f" point {job.point}")
        if event.kind == "end":
            self.done += 1
            failed = event.status not in ("done", "skipped")
            if failed or self.progress is None:
                reason = f": {event.reason.splitlines()[0]}" if event.reason else ""
                colour = "red" if failed else "yellow" if event.status == "skipped" else "dim"
                text = f"{self.what} {self.done}/{self.total} {job.dataset} {name} {event.status} {event.seconds:.1f} s"
                self.console.print(text + reason, style=colour, markup=False, soft_wrap=True)
        if self.progress is None:
            return
        if event.worker not in self.workers:
            self.workers[event.worker] = self.progress.add_task("", total=None, note="")
        line = self.workers[event.worker]
        if event.kind == "end":
            self.progress.update(self.all, completed=self.done)
            self.progress.update(line, description="", note="", completed=0, total=None)
        else:
            known = (
                {"completed": event.done, "total": event.total or None}
                if event.kind == "progress"
                else {"completed": 0, "total": None}
            )
            self.progress.update(line, description=f"  {name}", note=f"{event.stage} {event.note}".strip(), **known)


def front_rows(results: FrontResults, dataset: str) -> list[dict[str, Any]]:
    """A row a system, the largest front first: hypervolume of its test points seen from the origin, and its cost.

    The points that count are those no other dominates on validation; means are over the runs that finished.
    """
    import numpy as np

    from ltr.fronts import hypervolume, nondominated

    rows = []
    for system in results.systems:
        mine = results.runs[(results.runs.dataset == dataset) & (results.runs.system == system)]
        done, volumes = mine[mine.status == "done"], []
        for run in done.itertuples():
            vali, test = (results.points(dataset, system, run.fold, run.seed, split) for split in ("vali", "test"))
            if np.isfinite(vali).all() and np.isfinite(test).all():
                volumes.append(hypervolume(test[nondominated(vali)], np.zeros(test.shape[1])))
        cost = {
            "hypervolume": float(np.mean(volumes)) if volumes else math.nan,
            "on vali": float(done.selected.astype(float).mean()) if len(done) else math.nan,
            **{name: float(done[name].mean()) for name in ("models_trained", "fit_seconds", "seconds_a_point")},
        }
        rows.append({"system": system, **cost, "done": len(done), "planned": len(mine)})
    return sorted(rows, key=lambda row: -row["hypervolume"] if row["hypervolume"] == row["hypervolume"] else math.inf)


def print_fronts(results: FrontResults, console: Console) -> None:
    """A table a dataset on the terminal."""
    from rich import box
    from rich.table import Table

    def shown(value: float, digits: int) -> str:
        return "-" if math.isnan(value) else f"{value:.{digits}f}"

    for dataset in results.suite.datasets:
        title = f"{dataset}: {', '.join(results.suite.objectives)}"
        table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("system")
        for head in ("hypervolume", "on vali", "models", "fit s", "s a point", "runs"):
            table.add_column(head, justify="right")
        for row in front_rows(results, dataset):
            table.add_row(
                row["system"], shown(row["hypervolume"], 4), shown(row["on vali"], 4), shown(row["models_trained"], 1),
                shown(row["fit_seconds"], 1), shown(row["seconds_a_point"], 2), f"{row['done']}/{row['planned']}",
            )  # fmt: skip
        console.print(table)
    console.print(
        f"hypervolume: of the test points of {len(results.lattice)} preferences, seen from the origin, those chosen "
        "that are not dominated on validation; means over runs",
        style="dim",
    )
