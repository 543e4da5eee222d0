"""A text file, gzipped or not, chunk by chunk, cut at line feeds."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError

__all__ = ["chunks", "opened", "told"]


@contextlib.contextmanager
def opened(path: Path):
    """(stream of text, raw file): the raw file's position tells the progress."""
    try:
        raw = open(path, "rb")
    except OSError as error:
        raise InputError(f"cannot read the file ({error.strerror})", file=path) from None
    with raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if packed:
            with gzip.GzipFile(fileobj=raw) as file:
                yield file, raw
        else:
            yield raw, raw


@contextlib.contextmanager
def told(path, line: Callable[[], int] | None = None):
    """Turns what a broken gzip raises into an error with its place."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            "truncated or damaged gzip file",
            file=path,
            line=line() if line else None,
            expected="a whole gzip stream",
            came=str(error),
            do="Fetch the file again",
        ) from None


def chunks(path: Path, size: int, progress: Callable[[int], None] | None) -> Iterator[np.ndarray]:
    """The text as uint8 arrays that end after a line feed (the last one where the file ends)."""
    lines = 1
    rest = b""
    with opened(path) as (file, raw):
        start = True
        while True:
            text = bytearray(len(rest) + size)
            text[: len(rest)] = rest
            with told(path, lambda text=text, lines=lines: lines + text.count(b"\n")):
                got = _fill(file, memoryview(text)[len(rest) :])
            if progress:
                progress(raw.tell())
            if start:
                start = False
                if text.startswith(b"\xef\xbb\xbf"):
                    text[:3] = b"   "
            filled = len(rest) + got
            whole = filled if got < size else text.rfind(b"\n", 0, filled) + 1
            rest = text[whole:filled]
            if whole:
                if file is not raw:  # only a gzip stream breaks in the middle, and then says in which line
                    lines += text.count(b"\n", 0, whole)
                yield np.frombuffer(text, np.uint8)[:whole]
            if got < size:
                return


def _fill(file, view: memoryview) -> int:
    """Reads until the view is full or the file ends; bytes read."""
    at, step = 0, len(view)
    if isinstance(file, gzip.GzipFile):
        step = 65536  # when the stream breaks, what came before is there and its lines are counted
    while at < len(view):
        got = file.readinto1(view[at : at + step])
        if not got:
            break
        at += got
    return at
