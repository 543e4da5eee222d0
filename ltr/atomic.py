"""Files of a run are whole or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import InputError

__all__ = ["fingerprints", "lock", "sha256", "whole_file", "whole_folder"]


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a path to write to; it takes the place of `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields an empty folder to fill; it takes the place of `path` when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        if path.exists():  # a folder cannot be renamed over a full one
            shutil.rmtree(path)
        os.rename(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprints(folder: Path, skip: tuple[str, ...] = ()) -> dict[str, str]:
    """Relative path -> sha256 of every file below `folder`; hidden files and the names in `skip` are left out."""
    found = {}
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        inner = path.relative_to(folder)
        if inner.parts[0] not in skip and not any(part.startswith(".") for part in inner.parts):
            found[inner.as_posix()] = sha256(path)
    return found


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; a second writer is refused. A dead process holds nothing."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no advisory locks on this platform: one writer a folder is the user's care
        yield
        return
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                "another process is working in this run folder", file=folder, do="Wait for it, or choose another folder"
            ) from None
        yield
