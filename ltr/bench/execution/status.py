"""How far a suite is, from its folder alone: nobody is asked, and no clocks are compared but the file server's own."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ltr.bench.object_store import is_url, working_folder
from ltr.errors import InputError
from ltr.runs.record import read_record

from .cells import Cells, name_of
from .plan_file import NAME, Piece, read_plan
from .store_cells import cells_at

__all__ = ["Status", "status"]

_LAST = 100  # finished runs the rate is taken from


@dataclass(frozen=True)
class Status:
    """Where the runs of a suite stand.

    Attributes:
        runs: stage ("tuning", "runs") -> state ("done", "running", "waiting", "failed", "skipped") -> number.
        hosts: host -> runs its workers hold.
        rate: runs that were finished an hour, over the last hundred; None where fewer than two are.
        seconds_left: at that rate, long runs counted as such where the plan says their time; None where unknown.
    """

    runs: dict[str, dict[str, int]]
    hosts: dict[str, int]
    rate: float | None
    seconds_left: float | None


def status(out: Path | str) -> Status:
    """Looks at the folder of a suite, or at its URL; `ltr bench run` has prepared it.

    Raises:
        InputError: no plan there.
    """
    with working_folder(out) as folder:
        cells = cells_at(folder, str(out) if is_url(out) else "")
        cells.fetch(NAME)
        return _status(cells)


def _status(cells: Cells) -> Status:
    _, pieces = read_plan(cells.out)
    owners = cells.owners()
    runs: dict[str, Counter[str]] = {}
    hosts: Counter[str] = Counter()
    ended: list[tuple[float, float]] = []  # when a run was finished, and the seconds it was to take
    left = 0.0
    for piece in pieces:
        for folder in piece.runs:
            when = cells.finished_at(folder)
            state = "done" if when is not None else _state(cells, folder, name_of(folder) in owners)
            runs.setdefault(piece.stage, Counter())[state] += 1
            if when is not None:
                ended.append((when, _weight(piece)))
            elif state in ("running", "waiting"):
                left += _weight(piece)
            if state == "running":
                hosts[owners[name_of(folder)][0]] += 1
    ended = sorted(ended)[-_LAST:]
    span = ended[-1][0] - ended[0][0] if len(ended) > 1 else 0.0
    known = span > 0
    return Status(
        {stage: dict(counts) for stage, counts in runs.items()},
        dict(hosts),
        3600 * (len(ended) - 1) / span if known else None,
        left * span / sum(weight for _, weight in ended[1:]) if known else None,
    )


def _state(cells: Cells, folder: str, held: bool) -> str:
    if not cells.ended(folder):
        return "running" if held else "waiting"
    cells.fetch(f"{folder}/record.json")
    try:
        record = read_record(cells.out / folder)
    except InputError:
        record = None
    return record.status if record is not None and record.status == "skipped" else "failed"


def _weight(piece: Piece) -> float:
    return piece.seconds or 1.0
