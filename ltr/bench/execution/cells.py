"""Who works on which run of a suite, when many workers on many machines share its folder and nothing else.

    out/.cells/CELL.lease          whose it is: made atomically, touched as long as its worker lives
    out/.cells/CELL.at-HOST-TOKEN  where that worker makes it; its last act is to rename it to the run's folder
    out/.cells/CELL.failed         a line for every failure

A lease is taken over when its heartbeat has stood still for its whole length on the clock of the one who looks (no two
clocks are ever compared), or its process is gone from this machine. The heir renames the work to a name of its own and
continues it. So whoever lost a lease and does not know yet (a machine that slept) has no place left to write to: what
it still writes lands nowhere, and its own rename finds nothing. Every run is done once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from filelock import SoftFileLease, Timeout

from ltr.atomic import HOST, Busy, lock

__all__ = ["LEASE", "TRIES", "Cell", "Cells", "Lease", "name_of"]

LEASE = 60.0  # seconds without a heartbeat after which work passes to another; all workers of a folder agree on it
_MOMENT = 2.0  # seconds a launcher has to see that a worker of its own is dead
TRIES = 3  # failures that end a run; a worker that was told to stop has not failed


class Lease(Protocol):
    """What a worker holds.

    Attributes:
        token: tells it from any other.
        compromise: None as long as its heart is not seen to have failed.
        lost: whether the one before was never given back.
    """

    lost: bool

    @property
    def token(self) -> str | None: ...

    @property
    def compromise(self) -> Any: ...

    def mine(self) -> bool:
        """Whether it still is this worker's; looks where all look."""

    def release(self) -> None: ...


class _FileLease(SoftFileLease):
    lost = False  # seen by what the worker before left in the folder

    def mine(self) -> bool:
        owner = self.owner
        return self.compromise is None and owner is not None and owner.token == self.token


@dataclass(frozen=True)
class Cell:
    """A run this worker holds.

    Attributes:
        folder: its folder, relative to that of the suite.
        final: where it will lie; place: where it is made.
        lost: whether a worker was lost at it.
    """

    cells: Cells
    folder: str
    final: Path
    place: Path
    lease: Lease
    lost: bool = False

    def mine(self) -> bool:
        """Whether the lease is still this worker's."""
        return self.lease.mine()

    def put(self) -> bool:
        """Gives the cell back, with what was made of it; False where it is another's by now, and nothing is kept."""
        mine = self.mine()
        try:
            if mine and any(path.name != ".lock" for path in self.place.iterdir()):
                mine = self.cells.publish(self)
        except OSError:  # the place is gone: the lease was lost a moment ago
            mine = False
        finally:
            shutil.rmtree(self.place, ignore_errors=True)
            self.lease.release()
        return mine


@dataclass
class Cells:
    """The cells of a suite's folder, as one worker sees them, and where its files lie; `StoreCells` is the other kind.

    Attributes:
        out: folder of the suite.
        seconds: length of a lease, the same for all.
    """

    out: Path
    seconds: float = LEASE
    _leases: dict[str, _FileLease] = field(default_factory=dict)  # held by others: each watches a heartbeat
    _sighted: dict[str, float] = field(default_factory=dict)  # leases that were there when looked for -> since when

    @property
    def place(self) -> Path:
        return self.out / ".cells"

    def ended(self, folder: str) -> bool:
        """Whether nothing is left to do: it is finished, or has failed for good."""
        return (self.out / folder / "DONE").is_file() or self._failures(folder)[1]

    def finished_at(self, folder: str) -> float | None:
        """When a run was finished, by the clock of who keeps the files; None where it is not."""
        try:
            return (self.out / folder / "DONE").stat().st_mtime
        except FileNotFoundError:
            return None

    def finished(self, under: str, fold: str) -> Iterator[Path]:
        """Folders of finished runs of a fold."""
        return (done.parent for done in (self.out / under).rglob(f"{fold}/*/DONE"))

    def tries(self, folder: str) -> int:
        """How often it failed."""
        return self._failures(folder)[0]

    def _failures(self, folder: str) -> tuple[int, bool]:
        try:
            lines = (self.place / f"{name_of(folder)}.failed").read_text().splitlines()
        except FileNotFoundError:
            return 0, False
        return len(lines), len(lines) >= TRIES or any(line.startswith("final") for line in lines)

    def fail(self, folder: str, reason: str, final: bool = False) -> None:
        """Remembers a failure; a final one would come again."""
        with open(self.place / f"{name_of(folder)}.failed", "a") as file:
            file.write(f"{'final' if final else 'again'}, {HOST}: {' '.join(reason.split())}\n")

    def forget(self, folders: set[str]) -> None:
        """Failures of earlier calls do not count: somebody asked again."""
        names = {f"{name_of(folder)}.failed" for folder in folders}
        for path in self.place.glob("*.failed"):
            if path.name in names:
                path.unlink(missing_ok=True)

    def owners(self) -> dict[str, tuple[str, int]]:
        """Name of a cell -> host and process of its worker, for those that are held."""
        held = {
            path.stem: SoftFileLease(path, lease_duration=self.seconds).owner for path in self.place.glob("*.lease")
        }
        return {name: (it.hostname.partition("?")[0], it.pid) for name, it in held.items() if it is not None}

    def newly_held(self, folder: str) -> bool:
        """Whether a lease is there that was first seen a moment ago: another's, most likely at work. To try it costs
        more than a look, and if its worker has just died, who started that one should count the death first."""
        name = name_of(folder)
        if not (self.place / f"{name}.lease").exists():
            self._sighted.pop(name, None)
            return False
        return time.monotonic() - self._sighted.setdefault(name, time.monotonic()) < _MOMENT

    def hold(self, name: str) -> Lease | None:
        """A lease of this name, or None where another has it."""
        self.place.mkdir(parents=True, exist_ok=True)
        lease = self._leases.get(name) or _FileLease(
            self.place / f"{name}.lease", lease_duration=self.seconds, timeout=0, thread_local=False
        )
        try:
            lease.acquire()
        except Timeout:
            self._leases[name] = lease
            return None
        self._leases.pop(name, None)
        return lease

    def take(self, folder: str) -> Cell | None:
        """A cell to work on, with all that was made of it before; None where another has it, or it has ended."""
        lease = self.hold(name_of(folder))
        if lease is None:
            return None
        try:
            cell = self._at(folder, lease)
        except BaseException:
            lease.release()
            raise
        if cell is None:
            lease.release()
        return cell

    def _at(self, folder: str, lease: Lease) -> Cell | None:
        name, final = name_of(folder), self.out / folder
        place, lost = self.place / f"{name}.at-{HOST}-{str(lease.token)[:8]}", lease.lost
        while not self.ended(folder):
            try:
                for other in [path for path in self.place.glob(f"{name}.at-*") if path != place]:
                    aside, lost = place.with_name(f"{place.name}.old"), True
                    os.rename(other, aside)
                    # A run writes its config first: without it, this is what a sleeper wrote into nowhere.
                    if (aside / "config.toml").is_file() and not place.exists() and not final.exists():
                        (aside / ".lock").unlink(missing_ok=True)  # the sleeper's
                        os.rename(aside, place)
                    else:
                        shutil.rmtree(aside, ignore_errors=True)
                if final.is_dir():
                    with lock(final):  # against `ltr train` in that folder
                        os.rename(final, place)
            except FileNotFoundError:  # its worker woke, and was faster
                continue
            except Busy:
                return None
            place.mkdir(parents=True, exist_ok=True)
            return Cell(self, folder, final, place, lease, lost)
        return None

    def publish(self, cell: Cell) -> bool:
        """Puts what a worker made of its cell where all see it; False where the cell is another's by now."""
        cell.final.parent.mkdir(parents=True, exist_ok=True)
        os.rename(cell.place, cell.final)
        return True

    # Where all see the folder itself, its files need not go anywhere.

    def fetch(self, *names: str) -> None:
        """Brings files or folders of the suite here, those that are not."""

    def pull(self) -> None:
        """Brings here what is finished: what results are read from, and all that belongs to no run."""

    def send(self, *names: str) -> None:
        """Puts files or folders that were made here where all see them; of a run's folder DONE last."""

    def remove(self, name: str) -> None:
        """Removes a file, for all."""
        (self.out / name).unlink(missing_ok=True)


def name_of(folder: str) -> str:
    """The name of a cell: its folder on one line, short enough for every file system."""
    name = folder.replace("/", ".")
    return name if len(name) < 180 else f"{name[:160]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
