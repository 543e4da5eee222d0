"""Files and folders that appear whole or not at all: written beside their place, then renamed into it.

    with whole_file(path) as beside:
        beside.write_text(text)                     # `path` is the old file or the new one, never half of one

A temporary is called `.partial-HOST-TOKEN.NAME` (its ending is that of the target, which writers go by) and is locked
by its writer as long as that one lives. So `sweep` tells the litter of a killed process from the work of a living one
without trusting process ids, which other machines and containers that share a folder use too. What was there before
is moved to `.replaced-HOST-TOKEN.NAME` while a folder takes its place; `sweep` moves it back where a kill fell between.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .errors import InputError

try:
    import fcntl
except ImportError:  # no advisory locks on this platform: one writer a folder is the user's care, nothing is swept
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "HOST",
    "Busy",
    "fingerprints",
    "lock",
    "meant",
    "read_facts",
    "read_json",
    "scratch_folder",
    "sha256",
    "sweep",
    "whole_file",
    "whole_folder",
    "write_text",
]

HOST = re.sub(r"[^A-Za-z0-9]", "", os.uname().nodename if hasattr(os, "uname") else "")[:16] or "host"
_OURS = re.compile(r"\.(partial|replaced)-([A-Za-z0-9]+)-[0-9a-f]{8}\.(.+)", re.DOTALL)
_OLD = re.compile(r"\..+\.(part|partial)")  # of versions before 0.2, which held no lock
_WEEK, _DAY = 7 * 86_400, 86_400
_BLOCK = 1 << 20  # bytes hashed at a time: they stay in the processor's cache
_SMALL = 1 << 16  # bytes that are read in one go
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SWEPT: set[Path] = set()


class Busy(InputError):
    """Another process holds the folder."""


# ----------------------------------------------------------------------------------------------------------- writing


@contextlib.contextmanager
def whole_file(path: Path | str, *, durable: bool = True) -> Iterator[Path]:
    """Yields a path to write to; it takes the place of `path` when the block ends without an error.

    Args:
        path: its folder is made.
        durable: the bytes are on the disk before the file takes its place, so that a power cut costs nothing (5 ms);
            not needed for what is made again in a moment, as pictures and pages.

    Raises:
        InputError: the disk is full; what was at `path` before is untouched.
    """
    path = Path(path)
    _make(path.parent)
    with _space(path), _temporary(path, folder=False) as beside:
        yield beside
        if durable:
            _flush(beside)
        os.replace(beside, path)
        if durable:
            _flush(path.parent)


def write_text(path: Path | str, text: str, *, durable: bool = True) -> None:
    """Text as UTF-8 with plain line ends, whole or not at all; arguments as `whole_file`."""
    with whole_file(path, durable=durable) as beside:
        beside.write_text(text, encoding="utf-8", newline="\n")


@contextlib.contextmanager
def whole_folder(folder: Path | str, mark: str | None = None, *, durable: bool = True) -> Iterator[Path]:
    """Yields an empty folder to fill; it takes the place of `folder` when the block ends without an error.

    Inside a folder that is itself being filled this way, the outer one makes it whole: `folder` is yielded as it is.

    Args:
        mark: file every folder of this kind holds, e.g. "method.json": a folder that is there already is replaced only
            if it is empty or holds it, because a mistyped path must not cost somebody a folder. None: replaced always.
        durable: as for `whole_file`, of every file.

    Raises:
        InputError: the folder there holds no `mark`, or the disk is full; what was there before is untouched.
    """
    folder = Path(folder)
    if any(_OURS.fullmatch(part) for part in folder.absolute().parts):
        with _space(folder):
            folder.mkdir(parents=True, exist_ok=True)
            yield folder
        return
    _make(folder.parent)
    _replaceable(folder, mark)
    with _space(folder), _temporary(folder, folder=True) as beside:
        yield beside
        if durable:
            for inner in beside.rglob("*"):
                _flush(inner)
            _flush(beside)
        _replaceable(folder, mark)  # something may have come while we wrote
        _exchange(beside, folder)
        if durable:
            _flush(folder.parent)


@contextlib.contextmanager
def scratch_folder(beside: Path | str) -> Iterator[Path]:
    """An empty folder on the disk of `beside`, for work that moves into place piece by piece; gone at the end."""
    beside = Path(beside)
    _make(beside.parent)
    with _space(beside), _temporary(beside, folder=True) as folder:
        yield folder


def _replaceable(folder: Path, mark: str | None) -> None:
    there = folder.is_symlink() or folder.exists()
    if mark is None or not there or (folder.is_dir() and ((folder / mark).is_file() or not any(folder.iterdir()))):
        return
    raise InputError(f"will not be overwritten, it holds no {mark}", file=folder, do="Choose another folder")


def _exchange(beside: Path, folder: Path) -> None:
    """Renames `beside` to `folder`; a folder cannot be renamed over a full one, so that one steps aside first."""
    if not folder.exists():
        os.rename(beside, folder)
        return
    if not folder.is_dir() or folder.is_symlink():
        os.unlink(folder)
        os.rename(beside, folder)
        return
    aside = folder.with_name(_name("replaced", folder))
    with _held(folder):
        os.rename(folder, aside)
        try:
            os.rename(beside, folder)
        except BaseException:
            os.rename(aside, folder)
            raise
        shutil.rmtree(aside, ignore_errors=True)


def _name(kind: str, target: Path) -> str:
    return f".{kind}-{HOST}-{secrets.token_hex(4)}.{target.name}"


def _make(folder: Path) -> None:
    """The folder that is written into, made or else cleared of what killed processes left: once a process."""
    folder.mkdir(parents=True, exist_ok=True)
    if folder not in _SWEPT:
        _SWEPT.add(folder)
        sweep(folder)


@contextlib.contextmanager
def _temporary(target: Path, *, folder: bool) -> Iterator[Path]:
    """An empty temporary beside `target`, locked by us; gone at the end unless it was renamed."""
    while True:
        beside = target.with_name(_name("partial", target))
        if folder:
            beside.mkdir()
        else:
            os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        with _held(beside) as still_there:
            if not still_there:  # swept in the moment between its making and its lock
                continue
            try:
                yield beside
            finally:
                _remove(beside)
            return


@contextlib.contextmanager
def _held(path: Path) -> Iterator[bool]:
    """Holds a file or folder by an advisory lock; yields whether it is there."""
    if fcntl is None:
        yield True
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        with contextlib.suppress(OSError):  # a file system without locks: `sweep` gets none there either
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield path.exists()
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Has the system put a file's bytes, or a folder's names, on the disk."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _space(path: Path) -> Iterator[None]:
    """Says which file was being written when the disk ran full; libraries say it without a name, or not at all."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        code = getattr(error, "errno", None)
        text = str(error)
        full = code in _FULL or "No space left" in text
        if not full and isinstance(error, RuntimeError) and "writ" in text:  # torch.save: "failed writing file"
            full = shutil.disk_usage(path.parent).free < 1 << 20
        if not full:
            raise
        reason = os.strerror(code) if code in _FULL else "No space left on device"
        what = f"cannot be written: {reason}"
        raise InputError(what, file=path, do="Free some space and run the same command again") from error


# ---------------------------------------------------------------------------------------------------------- sweeping


def meant(path: object) -> str:
    """The path a temporary of ours stands for; any other as it is.

    >>> meant("runs/.partial-host-0123abcd.scores.csv")
    'runs/scores.csv'
    """
    folder, slash, name = str(path).rpartition("/")
    hit = _OURS.fullmatch(name)
    return folder + slash + (hit[3] if hit else name)


def sweep(folder: Path | str, *, deep: bool = False) -> int:
    """Removes what killed processes left in a folder; what a living one writes is locked by it and stays.

    Args:
        deep: in the folders below as well.

    Returns:
        How many temporaries went. Errors are passed over: litter must not keep anyone from working.
    """
    if fcntl is None:
        return 0
    swept, inner = 0, []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _litter(entry):
                    swept += _swept(Path(entry.path))
                elif deep and entry.is_dir(follow_symlinks=False):
                    inner.append(entry.path)
    except OSError:
        return swept
    return swept + sum(sweep(path, deep=True) for path in inner)


def _litter(entry: os.DirEntry[str]) -> bool:
    """Whether it looks like one; those of other machines, whose locks may not reach us, after a week."""
    ours = _OURS.fullmatch(entry.name)
    if ours is None and not _OLD.fullmatch(entry.name):
        return False
    if ours is not None and ours[2] == HOST:
        return True
    with contextlib.suppress(OSError):
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > (_DAY if ours is None else _WEEK)
    return False


def _swept(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = _OURS.fullmatch(path.name)
        target = path.with_name(ours[3]) if ours else path
        if ours and ours[1] == "replaced" and not target.exists():
            os.rename(path, target)
        else:
            _remove(path)
        return not path.exists()
    except OSError:
        return False
    finally:
        os.close(handle)


@contextlib.contextmanager
def lock(folder: Path | str, *, wait: bool = False, what: str = "another process is working in this run folder"):
    """Holds a folder for this process and sweeps it. A dead process holds nothing.

    Args:
        folder: made where it is missing; the lock is the file `.lock` in it.
        wait: for the other process to end, instead of being refused.
        what: the sentence of the refusal.

    Raises:
        Busy: another process holds it.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:  # others: a file system without such locks
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise Busy(what, file=folder, do="Wait for it, or choose another folder") from None
        sweep(folder, deep=True)
        yield


# ----------------------------------------------------------------------------------------------------------- reading


def sha256(path: Path | str, progress: Callable[[int], None] | None = None) -> str:
    """Hash of a file, in hex digits.

    Args:
        progress: called with the bytes hashed so far.
    """
    with open(path, "rb", buffering=0) as file:
        head = file.read(_SMALL)
        digest, done = hashlib.sha256(head), len(head)
        if progress:
            progress(done)
        buffer = memoryview(bytearray(_BLOCK if done == _SMALL else 1))  # of a small file, nothing is left
        while got := file.readinto(buffer):
            digest.update(buffer[:got])
            done += got
            if progress:
                progress(done)
    return digest.hexdigest()


def fingerprints(folder: Path, skip: tuple[str, ...] = ()) -> dict[str, str]:
    """Relative path -> sha256 of every file below `folder`; hidden files and the names in `skip` are left out."""
    found = {}
    for path in sorted(p for p in Path(folder).rglob("*") if p.is_file()):
        inner = path.relative_to(folder)
        if inner.parts[0] not in skip and not any(part.startswith(".") for part in inner.parts):
            found[inner.as_posix()] = sha256(path)
    return found


def read_json(path: Path | str, *, do: str | Callable[[], str] = "", text: bytes | None = None) -> dict[str, Any]:
    """The table in a JSON file.

    Args:
        do: the way out, where the file is damaged, or what says it.
        text: what the file holds, where it was read already.

    Raises:
        InputError: not UTF-8, not JSON, or no table; `FileNotFoundError` is the caller's.
    """
    path = Path(path)
    try:
        facts = json.loads((path.read_bytes() if text is None else text).decode("utf-8"))
        if isinstance(facts, dict):
            return facts
        told: dict[str, Any] = {"expected": "a table", "came": facts}
    except json.JSONDecodeError as error:
        told = {"line": error.lineno}
    except (ValueError, RecursionError) as error:  # no UTF-8, thousands of brackets, numbers of thousands of digits
        told = {"came": str(error)}
    raise InputError("broken JSON", file=path, do=do if isinstance(do, str) else do(), **told)


def read_facts(folder: Path | str, mark: str, form: int) -> dict[str, Any]:
    """The JSON file `mark` of a folder, of format `form`.

    Raises:
        InputError: no such file, broken JSON, or another format.
    """
    path = Path(folder) / mark
    try:
        facts = read_json(path)
    except FileNotFoundError:
        raise InputError("nothing saved here", file=folder, expected=f"a folder with a {mark}") from None
    if facts.get("format") != form:
        raise InputError("saved in another format", file=path, expected=str(form), came=facts.get("format"))
    return facts
