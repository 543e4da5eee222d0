"""What a running suite shows: a bar over all runs and a line a worker, or plain lines where nobody watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from .workers import Event

__all__ = ["Display"]


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

        self.console, self.what, self.total, self.before = console, what, total, done
        self.ended: set[str] = set()  # folders
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

    @property
    def done(self) -> int:
        return self.before + len(self.ended)

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
        if event.kind == "again":
            text = f"{self.what} {job.dataset} {name}: {event.reason}; tried again at the end"
            self.console.print(text, style="yellow", markup=False, soft_wrap=True)
        if event.kind in ("end", "seen"):
            self.ended.add(job.folder)
        if event.kind == "end":
            failed = event.status not in ("done", "skipped")
            if failed or self.progress is None:
                reason = f": {event.reason.splitlines()[0]}" if event.reason else ""
                colour = "red" if failed else "yellow" if event.status == "skipped" else "dim"
                text = f"{self.what} {self.done}/{self.total} {job.dataset} {name} {event.status} {event.seconds:.1f} s"
                self.console.print(text + reason, style=colour, markup=False, soft_wrap=True)
        if self.progress is None:
            return
        if event.kind == "seen":  # by a worker elsewhere
            self.progress.update(self.all, completed=self.done)
            return
        if event.worker not in self.workers:
            self.workers[event.worker] = self.progress.add_task("", total=None, note="")
        line = self.workers[event.worker]
        if event.kind in ("end", "again"):
            self.progress.update(self.all, completed=self.done)
            self.progress.update(line, description="", note="", completed=0, total=None)
        else:
            known: dict[str, Any] = (
                {"completed": event.done, "total": event.total or None}
                if event.kind == "progress"
                else {"completed": 0, "total": None}
            )
            self.progress.update(line, description=f"  {name}", note=f"{event.stage} {event.note}".strip(), **known)
