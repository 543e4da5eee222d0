"""A text file, gzipped or not, chunk by chunk, cut at line feeds."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ltr.errors import InputError

__all__ = ["chunks", "line_feeds", "lines_before", "opened", "plain_size", "told"]


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
    rest = np.zeros(0, np.uint8)
    with opened(path) as (file, raw):
        start = True
        while True:
            # Of a gzip stream that breaks, what came is told by its line feeds: nothing else may stand there.
            text = (np.empty if file is raw else np.zeros)(len(rest) + size, np.uint8)
            text[: len(rest)] = rest
            with told(path, lambda text=text, lines=lines: lines + line_feeds(text)):
                got = _fill(file, memoryview(text)[len(rest) :])
            if progress:
                progress(raw.tell())
            filled = len(rest) + got
            if start:
                start = False
                if text[:3].tobytes() == b"\xef\xbb\xbf":
                    text[:3] = ord(" ")
            whole = filled if got < size else _last_line(text, filled)
            rest = text[whole:filled].copy()
            if whole:
                if file is not raw:
                    lines += line_feeds(text[:whole])
                yield text[:whole]
            if got < size:
                return


def lines_before(path: Path, at: int) -> int:
    """Line feeds in the first `at` bytes of the text: read again, because only an error asks."""
    found = 0
    with opened(path) as (file, _):
        while at > 0 and (text := file.read(min(at, 1 << 20))):
            found += text.count(b"\n")
            at -= len(text)
    return found


def plain_size(path: Path) -> int:
    """Bytes of the text; 0 for gzip, which does not tell."""
    with opened(path) as (file, raw):
        return path.stat().st_size if file is raw else 0


def line_feeds(text: np.ndarray) -> int:
    """How many; numpy's comparison and count are vectorised, a compiled loop is not."""
    return int(np.count_nonzero(text == 10))


def _last_line(text: np.ndarray, end: int) -> int:
    """Where the last, unfinished line of text[:end] begins."""
    step = 1 << 12
    while True:
        first = max(0, end - step)
        at = text[first:end].tobytes().rfind(b"\n")
        if at >= 0 or first == 0:
            return first + at + 1
        step *= 16


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
