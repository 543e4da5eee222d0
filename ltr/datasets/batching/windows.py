"""The features of a split that memory does not hold, a window at a time (which lists are one: bucketing.py).

While one window is trained on, the next is read, piece by piece in the order of the file. Memory is that of two
windows, whatever the split, and is used again for those that follow.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ltr.datasets.transforms import Transform

__all__ = ["Windows", "memory_map", "read"]

_PIECE = 4 << 20  # bytes read at once
_ROWS = 1_024  # transformed at once on a CPU: they stay in its cache
_AHEAD = 4  # pieces the system is told of before they are read


class Windows:
    """Features of the documents of a window, and where each list lies in them.

    Args:
        features: float32 `[documents, feature]`.
        first, length: first document and number of documents of each list, `[lists]`.
        window: of each list, `[lists]`.
        transform, width: applied when a window is read, and how many columns come out.
        device: where the windows lie.

    Attributes:
        shift: int64 `[lists]`, what is added to the number of a document to find it in its window.
    """

    def __init__(
        self,
        features: np.ndarray,
        first: np.ndarray,
        length: np.ndarray,
        window: np.ndarray,
        transform: Transform | None,
        width: int,
        device: torch.device,
    ):
        self.features, self.transform, self.width, self.device = features, transform, width, device
        self.runs: list[list[tuple[int, int]]] = []  # documents from, to
        self.shift = np.empty(len(first), np.int64)
        for w in range(int(window.max()) + 1):
            (lists,) = np.nonzero(window == w)
            start, end = first[lists], first[lists] + length[lists]
            self.shift[lists] = np.cumsum(length[lists]) - end
            new = np.flatnonzero(np.append(True, start[1:] != end[:-1]))
            ends = end[np.append(new[1:], len(end)) - 1]
            self.runs.append(list(zip(start[new].tolist(), ends.tolist(), strict=True)))
        self._held: dict[int, tuple[Future[None], Tensor]] = {}
        self._free: list[Tensor] = []

    def get(self, window: int, then: int) -> Tensor:
        """A window, `[documents + 1 or more, column]`, the last row zeros; good until another is asked for.

        Args:
            then: the one to read meanwhile.
        """
        for other in self._held.keys() - {window, then}:
            reading, room = self._held.pop(other)
            reading.exception()  # waits
            self._free.append(room)
        for w in (window, then):
            if w not in self._held:
                crew = ThreadPoolExecutor(1, thread_name_prefix="ltr-windows")
                room = self._free.pop() if self._free else self._room()
                self._held[w] = crew.submit(read, self.features, self.runs[w], self.transform, room), room
                crew.shutdown(wait=False)
        reading, room = self._held[window]
        reading.result()
        return room

    def _room(self) -> Tensor:
        rows = max(sum(b - a for a, b in runs) for runs in self.runs)
        return torch.zeros((rows + 1, self.width), dtype=torch.float32, device=self.device)


def read(features: np.ndarray, runs: Sequence[tuple[int, int]], transform: Transform | None, out: Tensor) -> None:
    """Writes the documents of these runs, transformed, into the first rows and columns of `out`."""
    step = max(1, _PIECE // max(1, 4 * features.shape[1]))
    pieces = [(a, min(a + step, end)) for start, end in runs for a in range(start, end, step)]
    raw = torch.empty((step, features.shape[1]))
    plain = transform is None and out.device.type == "cpu"
    source, at = _File(features), 0
    for k, (a, b) in enumerate(pieces):
        for ahead in pieces[k + _AHEAD : k + _AHEAD + 1] if k else pieces[1 : _AHEAD + 1]:
            source.expect(*ahead)
        x = out[at : at + b - a] if plain else raw[: b - a]
        source.read(a, b, x.numpy())
        if not plain:
            n = _ROWS if out.device.type == "cpu" else b - a
            for i in range(0, b - a, n):
                some = x[i : i + n].to(out.device)
                some = some if transform is None else transform.apply(some)
                out[at + i : at + i + len(some), : some.shape[1]] = some
        at += b - a


def memory_map(features: np.ndarray) -> np.memmap | None:
    """The map an array is a view of."""
    root = features
    while isinstance(root.base, np.ndarray):
        root = root.base
    return root if isinstance(root, np.memmap) else None


class _File:
    """Documents of a memory map read past its pages, which costs half of what touching each for the first time does
    and leaves the process no larger; of another array, copied."""

    def __init__(self, features: np.ndarray):
        self.features, self.file, root = features, -1, memory_map(features)
        plain = features.dtype == np.float32 and features.flags.c_contiguous and hasattr(os, "preadv")
        if plain and root is not None and root.filename is not None:
            self.row, self.start = 4 * features.shape[1], root.offset + features.ctypes.data - root.ctypes.data
            self.file = os.open(root.filename, os.O_RDONLY)
            weakref.finalize(self, os.close, self.file)

    def expect(self, a: int, b: int) -> None:
        if self.file >= 0 and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self.file, self.start + a * self.row, (b - a) * self.row, os.POSIX_FADV_WILLNEED)

    def read(self, a: int, b: int, out: np.ndarray) -> None:
        if self.file < 0:
            np.copyto(out, self.features[a:b])
            return
        view, at = out.data.cast("B"), self.start + a * self.row
        while len(view):
            got = os.preadv(self.file, [view], at)
            if not got:
                raise OSError(f"{self.features.shape}: the file ended while it was read")
            view, at = view[got:], at + got
