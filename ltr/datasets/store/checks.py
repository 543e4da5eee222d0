"""Whether a store is what was written, asked where the answer is cheap.

the manifest             by the hash it carries of itself, whenever a store is opened
documents, queries       by their hashes when they are read, once a process: a few bytes a document
features.npy             by a CRC-32 a block, once a process, before anybody uses them: .5 GB a second (measured on
                         two cores that ten processes shared), a fraction of what a training does with them;
                         opening a store reads none of them
raw files                by their hashes when the system says that they were touched since (size, times, inode)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ltr.atomic import sha256, whole_file
from ltr.errors import InputError

__all__ = [
    "AGAIN",
    "BLOCK",
    "Blocks",
    "check_features",
    "check_file",
    "described",
    "remember",
    "seal",
    "sealed_hash",
    "touched",
]

BLOCK = 16 << 20  # bytes of features.npy that one checksum covers
AGAIN = "Convert the raw files again: ltr data convert ... --overwrite; a store below stores/ can just be deleted"
_SOURCES = ".sources.json"  # of this machine, so beside the manifest and not in it
_CHECKED: set[tuple[Any, ...]] = set()  # files that were found right, as the system describes them


def sealed_hash(manifest: Mapping[str, Any]) -> str:
    """The hash of a manifest's facts, its own entry `sha256` left out."""
    facts = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def seal(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its own hash in it."""
    return {**manifest, "sha256": sealed_hash(manifest)}


class Blocks:
    """CRC-32 of every `BLOCK` bytes of a file that comes in pieces."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._crc = self._have = 0

    def see(self, piece: bytes | memoryview) -> None:
        view = memoryview(piece)
        while len(view):
            part = view[: BLOCK - self._have]
            self._crc, self._have, view = zlib.crc32(part, self._crc), self._have + len(part), view[len(part) :]
            if self._have == BLOCK:
                self._done.append(self._crc)
                self._crc = self._have = 0

    def facts(self) -> dict[str, Any]:
        """As the manifest holds them: bytes a block, and the checksums in hex digits."""
        found = [*self._done, self._crc] if self._have else self._done
        return {"bytes": BLOCK, "crc32": [f"{crc:08x}" for crc in found]}


def described(path: Path) -> tuple[Any, ...]:
    """What changes when a file is written to. The change time cannot be set back, as the others can."""
    stat = path.stat()
    return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def _damaged(path: Path, what: str, expected: str, came: object) -> InputError:
    return InputError(f"the store is damaged: {what}", file=path, expected=expected, came=came, do=AGAIN)


def check_file(path: Path, expected: Mapping[str, Any]) -> None:
    """Compares a file with the manifest's `bytes` and `sha256`, once a process.

    Raises:
        InputError: it is missing, or another file.
    """
    try:
        seen = (str(path.resolve()), expected["sha256"], *described(path))
        if seen in _CHECKED:
            return
        if seen[2] != expected["bytes"]:
            raise _damaged(path, "a file has another size", f"{expected['bytes']:,} bytes", seen[2])
        if (came := sha256(path)) != expected["sha256"]:
            raise _damaged(path, "a file was changed", f"sha256 {expected['sha256']}", came)
    except OSError as error:
        raise _damaged(path, "a file cannot be read", "what the manifest lists", error.strerror or str(error)) from None
    _CHECKED.add(seen)


def check_features(path: Path, size: int, blocks: Mapping[str, Any]) -> None:
    """Compares every block of features.npy with its checksum, once a process, on two threads.

    Args:
        size: bytes of the file.
        blocks: as `Blocks.facts` gave them.

    Raises:
        InputError: with the bytes that differ.
    """
    step, expected = int(blocks["bytes"]), blocks["crc32"]
    try:
        seen = (str(path.resolve()), *expected, *described(path))
        if seen in _CHECKED:
            return
        if path.stat().st_size != size:
            raise _damaged(path, "a file has another size", f"{size:,} bytes", path.stat().st_size)

        def crc(k: int) -> str:
            with open(path, "rb", buffering=0) as file:
                file.seek(k * step)
                value, left = 0, step
                while left and (piece := file.read(min(left, 1 << 20))):
                    value, left = zlib.crc32(piece, value), left - len(piece)
            return f"{value:08x}"

        with ThreadPoolExecutor(2, thread_name_prefix="ltr-check") as crew:
            for k, came in enumerate(crew.map(crc, range(len(expected)))):
                if came != expected[k]:
                    where = f"bytes {k * step:,} to {min(size, (k + 1) * step):,} were changed"
                    raise _damaged(path, where, f"CRC-32 {expected[k]}", came)
    except OSError as error:
        raise _damaged(path, "a file cannot be read", "what the manifest lists", error.strerror or str(error)) from None
    _CHECKED.add(seen)


# -------------------------------------------------------------------------------------------------------- raw files


def remember(folder: Path, described: Mapping[str, tuple[Any, ...]]) -> None:
    """Writes down what the system said of the raw files when a store was made of them: source -> `described`."""
    with contextlib.suppress(OSError), whole_file(folder / _SOURCES, durable=False) as beside:
        beside.write_text(json.dumps(described, indent=1) + "\n", encoding="utf-8")


def touched(folder: Path, sources: Mapping[str, tuple[Path, str]], *, check: bool = False) -> list[Path]:
    """The raw files that are no longer what a store was made of; those that are not there are nobody's concern.

    Args:
        folder: of the store.
        sources: source -> file and its sha256 in the manifest.
        check: hash all of them; else only those that the system describes otherwise than when the store was made.
    """
    known: dict[str, list[int]] = {}
    with contextlib.suppress(OSError, ValueError):
        read = json.loads((folder / _SOURCES).read_text(encoding="utf-8"))
        known = read if isinstance(read, dict) else {}
    here = {source: entry for source, entry in sources.items() if entry[0].is_file()}
    doubtful = {s: entry for s, entry in here.items() if check or known.get(s) != list(described(entry[0]))}
    now = {source: described(path) for source, (path, _) in here.items()}
    changed = [path for path, expected in doubtful.values() if sha256(path) != expected]
    if doubtful and not changed and os.access(folder, os.W_OK):
        remember(folder, now)
    return changed
