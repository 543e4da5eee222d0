"""Who works on which run of a suite that lies in an object store, and how what is finished gets there.

    .cells/CELL/claim-000001   whose it is: the highest number counts; whoever made that object has it
    .cells/CELL/again-TOKEN    a failure; final-TOKEN one that would come again
    runs/..., tuning/...       as in a folder; uploaded file by file, DONE last: what lacks DONE is not there

A claim is made by exclusive creation, so one worker gets it, at once. Its heartbeat makes the object grow; one that has
not grown for the whole length of a lease, on the clock of the one who looks, passes to whoever makes the next number
(no two clocks are ever compared). One byte says that it was given back. Before each file it uploads, a worker looks
whether the next number is there: then it has lost the run, and drops what it made.

So a run is done once, with one exception: a request that was under way when its worker fell asleep for a whole lease
arrives after all. Results would be the same (they follow from config and seeds), times would not: the record is then
not the one DONE was written for, which every reader sees by the hash, and the run is called damaged, not believed.

What is finished is known by listing, never by asking for every run; a listing may be old, a claim may not.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ltr.bench.object_store import ObjectStore
from ltr.errors import InputError
from ltr.runs.record import READ

from .cells import LEASE, TRIES, Cell, Cells, Lease, name_of

__all__ = ["StoreCells", "cells_at"]

_FRESH = 1.0  # seconds a listing is believed at least, and ten times as long as it took
_BEATS = 3  # of a heart in the length of a lease
_GIVEN_BACK = 1  # bytes of a claim nobody holds any more; 0 has one that is just being made
_AGAIN = (2.0, 10.0, 50.0)  # seconds before an upload is tried again
_RECORD = ("config.toml", "record.json")
_CHANGING = ("chosen.toml", ".cells/tuned")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")  # what stores call when a file was written

Seen = tuple[int, int]  # number and size of a claim


def cells_at(out: Path, url: str = "", seconds: float = LEASE) -> Cells:
    """The cells of the suite in the folder `out`, or of the one at a URL that is worked on there."""
    return StoreCells(out, seconds, url=url) if url else Cells(out, seconds)


class Claim:
    """One number of a name, which nobody else can make.

    Args:
        seen: name -> claim as last listed; what this one knows better it writes there.
        lost: whether the one before was never given back.
    """

    def __init__(self, store: ObjectStore, name: str, number: int, seconds: float, seen: dict[str, Seen], lost: bool):
        self.store, self.name, self.number = store, name, number
        self.seconds, self.seen, self.lost = seconds, seen, lost
        self.token = secrets.token_hex(8)
        self.compromise: str | None = None  # who has it instead
        self._over, self._heart = threading.Event(), threading.Thread(target=self._beat, daemon=True)

    def acquire(self) -> bool:
        self.seen[self.name] = self.number, 0
        # The next number may be there already: what was listed is old, and the first number was given back meanwhile.
        if not self.store.create(_path(self.name, self.number), self._text(0)) or not self.mine():
            return False
        self._heart.start()
        return True

    def mine(self) -> bool:
        """Whether nobody has taken over; asks the store."""
        after = _path(self.name, self.number + 1)
        if self.compromise is None and self.store.exists(after):
            self.compromise = after
        return self.compromise is None

    def release(self) -> None:
        self._over.set()
        self._heart.join()
        if not self.mine():
            return
        if self.number == 1:  # before it was nobody who may still be asleep
            self.store.remove(_path(self.name, 1))
        else:
            self.store.write(_path(self.name, self.number), b"-" * _GIVEN_BACK)
        self.seen[self.name] = (0 if self.number == 1 else self.number), _GIVEN_BACK

    def _text(self, beats: int) -> bytes:
        return f"{socket.gethostname()} {os.getpid()} {self.token} {'.' * beats}".encode()

    def _beat(self) -> None:
        beats = 0
        while not self._over.wait(self.seconds / _BEATS):
            beats += 1
            with contextlib.suppress(InputError):  # out of reach for now
                self.store.write(_path(self.name, self.number), self._text(beats))
                self.mine()


def _path(name: str, number: int) -> str:
    return f".cells/{name}/claim-{number:06d}"


class _Listing:
    """What a store holds: every file, finished runs, claims, failures."""

    def __init__(self, store: ObjectStore):
        self.began = time.monotonic()
        self.files = store.list()
        self.ended = time.monotonic()
        self.done = {path.removesuffix("/DONE") for path in self.files if path.endswith("/DONE")}
        self.claims: dict[str, Seen] = {}
        self.failures: dict[str, list[str]] = {}
        for path, info in self.files.items():
            match path.split("/"):
                case ".cells", name, mark if mark.startswith("claim-"):
                    seen = int(mark.removeprefix("claim-")), int(info.get("size") or 0)
                    self.claims[name] = max(seen, self.claims.get(name, seen))
                case ".cells", name, _:
                    self.failures.setdefault(name, []).append(path)

    @property
    def old(self) -> bool:
        return time.monotonic() - self.began > max(_FRESH, 10 * (self.ended - self.began))


@dataclass
class StoreCells(Cells):
    """The cells of a suite in an object store, as one worker sees them; `out` is where it works on them.

    Attributes:
        url: of the suite.
    """

    url: str = ""
    _listed: _Listing | None = None
    _still: dict[str, tuple[Seen, float]] = field(
        default_factory=dict
    )  # claims -> since when they were seen as they are
    _checked: bool = False

    def __post_init__(self) -> None:
        self.store = ObjectStore(self.url)

    def _listing(self, anew: bool = False) -> _Listing:
        if self._listed is None or anew or self._listed.old:
            self._listed = _Listing(self.store)
        return self._listed

    # ------------------------------------------------------------------------------------------------ how a run stands

    def ended(self, folder: str) -> bool:
        return folder in self._listing().done or self._failures(folder)[1]

    def finished_at(self, folder: str) -> float | None:
        found = self._listing().files.get(f"{folder}/DONE")
        when: Any = (
            next((found[key] for key in _TIMES if found.get(key) is not None), 0.0) if found is not None else None
        )
        when = datetime.fromisoformat(when) if isinstance(when, str) else when
        return when.timestamp() if isinstance(when, datetime) else when

    def finished(self, under: str, fold: str) -> Iterator[Path]:
        for folder in sorted(self._listing().done):
            if folder.startswith(f"{under}/") and folder.split("/")[-2] == fold:
                self._bring([folder])
                yield self.out / folder

    def _failures(self, folder: str) -> tuple[int, bool]:
        marks = self._listing().failures.get(name_of(folder), [])
        return len(marks), len(marks) >= TRIES or any("/final-" in mark for mark in marks)

    def fail(self, folder: str, reason: str, final: bool = False) -> None:
        mark = f".cells/{name_of(folder)}/{'final' if final else 'again'}-{secrets.token_hex(8)}"
        self.store.write(mark, f"{socket.gethostname()}: {' '.join(reason.split())}\n".encode())
        self._listing().failures.setdefault(name_of(folder), []).append(mark)

    def forget(self, folders: set[str]) -> None:
        failures = self._listing(anew=True).failures
        for folder in folders:
            self.store.remove(*failures.pop(name_of(folder), []))

    # -------------------------------------------------------------------------------------------------- whose a run is

    def owners(self) -> dict[str, tuple[str, int]]:
        found = {}
        for name, (number, size) in self._listing().claims.items():
            if size != _GIVEN_BACK:
                with contextlib.suppress(FileNotFoundError, ValueError):  # given back, or being made
                    host, pid, *_ = self.store.read(_path(name, number)).decode().split()
                    found[name] = host, int(pid)
        return found

    def newly_held(self, folder: str) -> bool:
        """Whether another has it; one more listing tells when it is over, so nothing is tried in vain."""
        return self._held(name_of(folder))

    def _held(self, name: str) -> bool:
        """Whether a claim stands that has not stood still for the length of a lease, between two listings of ours."""
        listing = self._listing()
        seen = listing.claims.get(name)
        if seen is None or seen[1] == _GIVEN_BACK:
            self._still.pop(name, None)
            return False
        if self._still.get(name, (None,))[0] != seen:
            self._still[name] = seen, listing.ended
        return listing.began - self._still[name][1] < self.seconds

    def hold(self, name: str) -> Lease | None:
        if self._held(name):
            return None
        if not self._checked:
            self.store.check_creation()
            self._checked = True
        claims = self._listing().claims
        number, size = claims.get(name, (0, _GIVEN_BACK))
        claim = Claim(self.store, name, number + 1, self.seconds, claims, lost=size != _GIVEN_BACK)
        return claim if claim.acquire() else None

    def _at(self, folder: str, lease: Lease) -> Cell | None:
        if self.store.exists(f"{folder}/DONE"):  # since it was listed
            self._listing().done.add(folder)
            return None
        return super()._at(folder, lease)

    # ----------------------------------------------------------------------------------------------------- to and fro

    def publish(self, cell: Cell) -> bool:
        """Uploads a finished run, DONE last; of one that failed for good its record; of others nothing."""
        if (cell.place / "DONE").is_file():
            names = _files(cell.place)
        else:
            names = [name for name in _RECORD if self.ended(cell.folder) and (cell.place / name).is_file()]
        for pause in (*_AGAIN, None):
            try:
                if not all(cell.mine() and self._put(cell.place, name, cell.folder) for name in names):
                    return False
                break
            except InputError:
                if pause is None:
                    raise
                time.sleep(pause)
        if "DONE" in names:
            self._listing().done.add(cell.folder)
        # Another process of this machine may have brought it here meanwhile.
        return cell.final.exists() or super().publish(cell)

    def _put(self, place: Path, name: str, folder: str) -> bool:
        self.store.put(place / name, f"{folder}/{name}")
        return True

    def fetch(self, *names: str) -> None:
        wanted = [path for name in names for path in self.store.list(name)]
        self.store.get([path for path in wanted if not (self.out / path).exists()], self.out)

    def pull(self) -> None:
        listing = self._listing(anew=True)
        self._bring(sorted(listing.done))
        files = listing.files
        failed = [path for path in files if path.endswith(_RECORD) and self._failures(path.rpartition("/")[0])[1]]
        others = [path for path in files if path.partition("/")[0] not in ("runs", "tuning", ".cells")]
        self.store.get([path for path in (*failed, *others) if not (self.out / path).exists()], self.out)
        self.store.get([path for path in _CHANGING if path in files], self.out)

    def _bring(self, folders: Sequence[str]) -> None:
        """Downloads what results are read from, of finished runs."""
        files = self._listing().files
        paths = [f"{folder}/{name}" for folder in folders for name in (*_RECORD, *READ, "DONE")]
        self.store.get([path for path in paths if path in files and not (self.out / path).exists()], self.out)

    def send(self, *names: str) -> None:
        for name in names:
            path = self.out / name
            if path.is_file():
                self.store.put(path, name)
            elif path.is_dir():
                for inner in _files(path):
                    self.store.put(path / inner, f"{name}/{inner}")

    def remove(self, name: str) -> None:
        self.store.remove(name)
        super().remove(name)


def _files(folder: Path) -> list[str]:
    """Every file below a folder that is not hidden; the record last but one, DONE last."""
    found = [p.relative_to(folder) for p in folder.rglob("*") if p.is_file()]
    names = [path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)]
    return sorted(names, key=lambda name: (name == "DONE", name == "record.json", name))
