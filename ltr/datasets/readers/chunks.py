"""A text file, plain or packed (gzip, bzip2, xz), chunk by chunk, cut at line feeds."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ltr.errors import InputError, say_once

from .limits import LINE, PACKED, PACKED_FROM, check_line

__all__ = ["chunks", "line_feeds", "lines", "lines_before", "opened", "plain_size", "readable", "told"]

_PACKED: dict[bytes, Callable[[BinaryIO], Any]] = {
    b"\x1f\x8b": lambda raw: gzip.GzipFile(fileobj=raw),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
_NO_TEXT = {
    b"\xff\xfe\0\0": ("UTF-32 text", "Save it as UTF-8: iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    b"\0\0\xfe\xff": ("UTF-32 text", "Save it as UTF-8: iconv -f UTF-32 -t UTF-8 OLD > NEW"),
    b"\xff\xfe": ("UTF-16 text", "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    b"\xfe\xff": ("UTF-16 text", "Save it as UTF-8: iconv -f UTF-16 -t UTF-8 OLD > NEW"),
    b"PK\x03\x04": ("a zip archive or a workbook", "Unpack it, or save the workbook as CSV"),
    b"\xd0\xcf\x11\xe0": ("a workbook", "Save it as CSV"),
    b"\x04\x22\x4d\x18": ("compressed with lz4", "Unpack it (lz4 -d), or compress it with gzip"),
    b"\x1f\x9d": ("compressed with compress", "Unpack it (uncompress), or compress it with gzip"),
    b"version https://git-lfs": ("the pointer of a file kept in Git LFS", "Fetch the file itself: git lfs pull"),
    b"\x28\xb5\x2f\xfd": ("compressed with zstd", "Unpack it (zstd -d), or compress it with gzip"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "Unpack it"),
    b"Rar!": ("a rar archive", "Unpack it"),
    b"PAR1": ("a Parquet file", "Name it .parquet"),
    b"ARROW1": ("an Arrow file", "Name it .arrow"),
    b"\x89HDF": ("an HDF5 file", "Save it as Parquet, CSV or svmlight text"),
    b"\x93NUMPY": ("a NumPy file", "Save it as Parquet, CSV or svmlight text"),
}
_HEAD = 4096  # bytes that are looked at before anything is believed


class _Guarded(io.RawIOBase):
    """A packed stream that stops where it unpacks to more than its size can mean."""

    def __init__(self, stream, raw: BinaryIO, path: Path):
        self.stream, self.raw, self.path, self.total = stream, raw, path, 0

    def readable(self) -> bool:
        return True

    def readinto(self, view) -> int:
        got = self.stream.readinto(view)
        self.total += got
        if self.total > PACKED_FROM and self.total > PACKED * max(self.raw.tell(), 1):
            raise InputError(
                "the packed file unpacks to far more than a text of numbers can",
                file=self.path,
                expected=f"at most {PACKED} times its size",
                came=f"{self.total >> 20} MB from {self.raw.tell()} bytes",
                do="If this is right, unpack it yourself and read the plain text",
            )
        return got


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[Any, BinaryIO]]:
    """(stream of text, raw file): the raw file's position tells the progress.

    Raises:
        InputError: it cannot be read, or what it begins with is no text (UTF-16, an archive, another format).
    """
    try:
        raw = open(path, "rb")
        head = raw.read(8)
        raw.seek(0)
    except OSError as error:
        raise InputError(f"cannot read the file ({error.strerror})", file=path) from None
    with raw, contextlib.ExitStack() as stack:
        packed = next((make for magic, make in _PACKED.items() if head.startswith(magic)), None)
        if packed is None:
            _check_text(raw.read(_HEAD), path)
            raw.seek(0)
            yield raw, raw
            return
        with told(path):
            stream = stack.enter_context(packed(raw))
            _check_text(stream.read(_HEAD), path)
            stream.seek(0)
        yield io.BufferedReader(_Guarded(stream, raw, path), 1 << 16), raw


def _check_text(head: bytes, path: Path) -> None:
    """Refuses what is no UTF-8 text by its name, so that nobody is told to mend line 1 of an archive."""
    for magic, (what, do) in _NO_TEXT.items():
        if head.startswith(magic):
            raise InputError(f"this is {what}", file=path, expected="text in UTF-8, plain, gzip, bzip2 or xz", do=do)
    if head[257:262] == b"ustar":
        raise InputError("this is a tar archive", file=path, expected="text in UTF-8", do="Unpack it: tar xf FILE")
    if b"\0" in head:
        even, odd = head[::2].count(0), head[1::2].count(0)
        wide = max(even, odd) > len(head) // 4  # every other byte of Latin text in UTF-16
        raise InputError(
            "this is UTF-16 text without a byte order mark" if wide else "this is a binary file: it holds NUL bytes",
            file=path,
            line=1 + head[: head.index(0)].count(b"\n"),
            expected="text in UTF-8, plain, gzip, bzip2 or xz",
            do="Save it as UTF-8 text",
        )


@contextlib.contextmanager
def told(path, line: Callable[[], int] | None = None):
    """Turns what a broken packed stream raises into an error with its place."""
    try:
        yield
    except InputError:
        raise
    except (EOFError, zlib.error, lzma.LZMAError, OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:  # the disk's fault, or the user's rights
            raise InputError(f"cannot read the file ({error.strerror})", file=path) from None
        raise InputError(
            "truncated or damaged gzip, bzip2 or xz file",
            file=path,
            line=line() if line else None,
            expected="a whole stream",
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
            # Of a packed stream that breaks, what came is told by its line feeds: nothing else may stand there.
            text = (np.empty if file is raw else np.zeros)(len(rest) + size, np.uint8)
            text[: len(rest)] = rest
            with told(path, partial(_line_in, text, lines)):
                got = _fill(file, text[len(rest) :].data, file is not raw)
            if progress:
                progress(raw.tell())
            filled = len(rest) + got
            if start:
                start = False
                if text[:3].tobytes() == b"\xef\xbb\xbf":
                    text[:3] = ord(" ")
            whole = filled if got < size else _last_line(text, filled)
            rest = text[whole:filled].copy()
            if len(rest) > LINE:
                check_line(len(rest), path, lines_before(path, raw.tell() - len(rest)) + 1 if file is raw else lines)
            if whole:
                if file is not raw:
                    lines += line_feeds(text[:whole])
                yield text[:whole]
            if got < size:
                return


def _line_in(text: np.ndarray, before: int) -> int:
    return before + line_feeds(text)


def lines(file, path) -> Iterator[tuple[int, bytes]]:
    """(number, line) of a stream from `opened`, each at most `LINE` bytes, no byte order mark."""
    number = 0
    with told(path):
        while line := file.readline(LINE + 1):
            number += 1
            check_line(len(line), path, number)
            yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line


def lines_before(path: Path, at: int) -> int:
    """Line feeds in the first `at` bytes of the text: read again, because only an error asks."""
    found = 0
    with opened(path) as (file, _):
        while at > 0 and (text := file.read(min(at, 1 << 20))):
            found += text.count(b"\n")
            at -= len(text)
    return found


def readable(raw: bytes) -> str:
    """An id as text; the bytes of one in another encoding stay readable, and that is said."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        do = "save the file as UTF-8: iconv -f LATIN1 -t UTF-8 OLD > NEW"
        say_once(f"some ids are no UTF-8 text: their bytes are kept as \\xe9 and the like; {do}")
        return raw.decode("utf-8", "backslashreplace")


def plain_size(path: Path) -> int:
    """Bytes of the text; 0 for a packed one, which does not tell."""
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


def _fill(file, view: memoryview, packed: bool) -> int:
    """Reads until the view is full or the file ends; bytes read."""
    # When a packed stream breaks, what came before is there and its lines are counted.
    at, step = 0, 1 << 16 if packed else len(view)
    while at < len(view):
        got = file.readinto1(view[at : at + step])
        if not got:
            break
        at += got
    return at
