"""From blocks of source rows to query lists: what every reader hands over and what split and store are built from.

A reader yields `Block`s in source order, never a whole file. `Gathered` keeps per-document facts (labels, ids) in
memory and the features in a list of blocks or in a spool file; `layout` then says where every source row goes so that
the documents of a query lie together, in stable order, queries in the order of their first sight.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ltr.errors import InputError, say_once
from ltr.types import Split

from .cells import MISSING
from .chunks import readable
from .limits import check_room

__all__ = ["EXACT", "FACTS", "Block", "Gathered", "Layout", "odd_features", "ranks_from_one", "wrong_fact"]

EXACT = 1 << 24  # up to here float32 tells whole numbers apart
_ENOUGH = 20  # rows from which a pattern is no accident
_SUMS = re.compile(r"((grand|sub)[ _-]?)?totals?:?|sums?:?|averages?|avg|means?|counts?|(gesamt)?summe|gesamt")
# What may be known of a document beside labels and features -> its values.
FACTS = {"weights": "a finite number, 0 or more", "positions": "a whole number, 0 or more (the rank it was shown at)"}


def wrong_fact(role: str, values: np.ndarray) -> int | None:
    """The first row whose weight or position cannot be one; None where all can."""
    fits = np.isfinite(values) & (values >= 0)
    if role == "positions":
        fits &= (values == np.floor(values)) & (values < EXACT)
    return None if fits.all() else int(np.argmin(fits))


@dataclass(slots=True)
class Block:
    """Consecutive rows of a source.

    Attributes:
        features: float32 `[rows, column]`; column c is the source's index `base + c`.
        base: index of the first column, 0 or 1.
        labels: float32 `[rows, label]`.
        run_rows: int64 `[runs]`, first row of each run of rows with one query id; the first is 0.
        run_ids: query id of each run.
        docs: the rows' document ids as Arrow lays out strings, (offsets int64 `[rows + 1]`, bytes), or None.
        run_parts: what the source says each run belongs to ("train", ...), or None.
        done: share of the source that is read with this block; 0 where nobody knows.
        infinite: how many features are infinite, and where the first stands; None where none is.
        facts: weights and positions of the rows (see `FACTS`), float32 `[rows]` each, where the source has them.
        odd: index of a feature (-1, -2 ... of a label) -> what its values are, where a user should know.
    """

    features: np.ndarray
    base: int
    labels: np.ndarray
    run_rows: np.ndarray
    run_ids: list[str]
    docs: tuple[np.ndarray, np.ndarray] | None = None
    run_parts: list[str] | None = None
    done: float = 0.0
    infinite: tuple[int, str] | tuple[int, str, int] | None = None
    facts: dict[str, np.ndarray] = field(default_factory=dict)
    odd: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where source rows go.

    Attributes:
        offsets: int64 `[queries + 1]` in the new order.
        queries: int64 `[queries]`, index by first sight of the query at each place.
        target: int64 `[documents]`, new row of each source row; None when nothing moves.
    """

    offsets: np.ndarray
    queries: np.ndarray
    target: np.ndarray | None

    def reorder(self, values: np.ndarray) -> np.ndarray:
        """Per-document values from source order to the new order."""
        if self.target is None:
            return values
        moved = np.empty_like(values)
        moved[self.target] = values
        return moved

    @property
    def row(self) -> np.ndarray | None:
        """Source row of each document (`Split.row`); None when nothing moved."""
        return None if self.target is None else np.argsort(self.target)


class _Grown:
    """Rows in one array that grows in place: the system moves its pages, and nothing is held twice.

    Attributes:
        values: float32 `[rows, column]`, after `trim`.
    """

    def __init__(self, columns: int):
        self.values, self._rows = np.empty((0, columns), np.float32), 0

    def add(self, rows: np.ndarray, done: float) -> None:
        """Takes rows; `done` as `Block` has it, so that there is room for all of them from the first time on."""
        total = self._rows + len(rows)
        room = max(total, int(1.02 * total / done) if done else 5 * len(self.values) // 4)
        if not self._rows:
            self.values = np.empty((room, rows.shape[1]), np.float32)  # what is not written to is not there
        elif total > len(self.values):
            self._resize(room)
        self.values[self._rows : total] = rows
        self._rows = total

    def trim(self) -> None:
        self._resize(self._rows)

    def _resize(self, rows: int) -> None:
        self.values.resize((rows, self.values.shape[1]), refcheck=False)  # no view of it exists before `trim`


def odd_features(block: Block) -> dict[int, str]:
    """Index of a feature -> what it looks like: a count of the rows, or the label once more."""
    if len(block.features) < _ENOUGH:
        return {}
    step, labels = block.features[:_ENOUGH], block.labels
    found = {}
    with np.errstate(invalid="ignore", over="ignore"):  # infinities have no difference, and count nothing
        for c in np.flatnonzero((np.diff(step, axis=0) == 1).all(0)).tolist():
            if (np.diff(block.features[:, c]) == 1).all():
                found[c + block.base] = "counts the rows, as a row index does"
    if not labels.shape[1] or labels[:, 0].min() == labels[:, 0].max():  # lists to be scored have none
        return found
    for c in np.flatnonzero((step == labels[:_ENOUGH, :1]).all(0)).tolist():
        if (block.features[:, c] == labels[:, 0]).all():
            found[c + block.base] = "equals the label"
    return found


class Gathered:
    """Everything read from one source.

    Args:
        spool: file the features go to; in memory when None.
        header: bytes left free at its head.
        path: the source, for messages.

    Attributes:
        segments: (rows, columns, base) of stretches of equal shape, in source order.
        query_ids: in the order of first sight.
        query_parts: what the source says each query belongs to; empty when it says nothing.
        labels: float32 `[documents, label]` in source order, after `close`.
        infinite: how many features are infinite, and where the first stands.
        odd: index of a feature -> what its values are or (those of the first block) look like, where that is odd.
        facts: weights and positions, float32 `[documents]` each in source order, where the source has them.
    """

    def __init__(self, spool: Path | None = None, header: int = 0, path: Path | None = None):
        self.spool, self.header, self.path = spool, header, path
        self.segments: list[tuple[int, int, int]] = []
        self.query_ids: list[str] = []
        self.query_parts: list[str] = []
        self.labels = np.zeros((0, 1), np.float32)
        self.documents = 0
        self.infinite: tuple[int, str] = (0, "")
        self.odd: dict[int, str] = {}
        self.facts: dict[str, np.ndarray] = {}
        self._facts: dict[str, list[np.ndarray]] = {}
        self._index: dict[str, int] = {}
        self._grown: list[_Grown] = []  # one a segment
        self._labels: list[np.ndarray] = []
        self._docs: list[tuple[int, tuple[np.ndarray, np.ndarray] | None]] = []
        self._runs: list[int] = []
        self._starts: list[np.ndarray] = []

    def read(self, blocks: Iterable[Block]) -> Gathered:
        """Takes every block and closes."""
        file = None
        try:
            if self.spool is not None:
                file = open(self.spool, "wb")
                file.write(b"\0" * self.header)
            for block in blocks:
                self._add(block, file)
        finally:
            if file is not None:
                file.close()
        for grown in self._grown:
            grown.trim()
        self._run_query = np.array(self._runs, np.int64)
        starts = np.concatenate([*self._starts, [self.documents]]).astype(np.int64)
        self._run_start, self._run_length = starts[:-1], np.diff(starts)
        self._runs, self._starts = [], []
        self._check_queries()
        if self._labels:
            self.labels = np.concatenate(self._labels)
            self._labels = []
        self.facts = {role: np.concatenate(values) for role, values in self._facts.items()}
        self._facts = {}
        return self

    def _add(self, block: Block, file) -> None:
        rows, columns = block.features.shape
        if rows == 0:
            return
        if not self.documents or self.segments[-1][1] != columns or not block.done:
            # What all of it will take, as far as this block knows.
            rows_in_all = int((self.documents + rows) / block.done) if block.done else self.documents + rows
            check_room(rows_in_all, columns, self.path, disk=None if self.spool is None else self.spool.parent)
        if not self.documents:
            self.odd = odd_features(block)
        self.odd = block.odd | self.odd
        if self.segments and self.segments[-1][1:] == (columns, block.base):
            self.segments[-1] = (self.segments[-1][0] + rows, columns, block.base)
        else:
            self.segments.append((rows, columns, block.base))
        if file is None:
            if len(self._grown) < len(self.segments):
                self._grown.append(_Grown(columns))
            self._grown[-1].add(block.features, block.done)
        else:
            file.write(np.ascontiguousarray(block.features).data.cast("B"))
        if block.infinite is not None:
            self.infinite = self.infinite[0] + block.infinite[0], self.infinite[1] or str(block.infinite[1])
        self._labels.append(block.labels)
        for role, values in block.facts.items():
            self._facts.setdefault(role, []).append(values)
        self._docs.append((rows, block.docs))
        self._starts.append(block.run_rows + self.documents)
        for k, query in enumerate(block.run_ids):
            q = self._index.setdefault(query, len(self.query_ids))
            part = block.run_parts[k] if block.run_parts else None
            if q == len(self.query_ids):
                self.query_ids.append(query)
                if part is not None:
                    self.query_parts.append(part)
            elif part is not None and self.query_parts[q] != part:
                raise InputError(
                    f"query {query!r} stands in two splits",
                    file=self.path,
                    expected="all documents of a query in one split",
                    came=f"{self.query_parts[q]} and {part}",
                )
            self._runs.append(q)
        self.documents += rows

    def _check_queries(self) -> None:
        """Refuses an id that is a missing value, or a last row of sums, among ids that hold digits."""
        words = [q for q, name in enumerate(self.query_ids) if not any(c.isdigit() for c in name)]
        if len(words) > 2 or len(words) == len(self.query_ids):  # the words of searches
            return
        for q in words:
            runs, came = np.flatnonzero(self._run_query == q), self.query_ids[q]
            row, name = int(self._run_start[runs[0]]) + 1, came.strip().lower()
            if name in MISSING:
                raise InputError(f"row {row}: missing query id", file=self.path, expected="a query id", came=came)
            if row == self.documents and _SUMS.fullmatch(name):
                what, do = "the last row looks like one of sums", "Take the row away, or rename its query"
                raise InputError(f"row {row}: {what}", file=self.path, expected="a document a row", came=came, do=do)

    @property
    def base(self) -> int:
        """Index of the first column: 0 once any index 0 was seen, else 1."""
        return min((base for _, _, base in self.segments), default=1)

    def top(self, base: int) -> int:
        """Columns needed when the first one is index `base`."""
        return max((columns + b - base for _, columns, b in self.segments), default=0)

    def group(self, sizes: np.ndarray) -> None:
        """Cuts the rows into lists of these sizes, named "1", "2", ... (sources that keep sizes in a second file)."""
        self.query_ids = [str(k) for k in range(1, len(sizes) + 1)]
        self._run_query = np.arange(len(sizes))
        self._run_length = sizes
        self._run_start = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)

    def queries_of_rows(self) -> np.ndarray:
        """The query of each row, int64 `[documents]`, counted in the order of first sight."""
        return np.repeat(self._run_query, self._run_length)

    def layout(self, place: np.ndarray | None = None) -> Layout:
        """Documents of a query together, in stable order.

        Args:
            place: int64 `[queries]`, new place of each query; the order of first sight when None.
        """
        queries = len(self.query_ids)
        place = np.arange(queries) if place is None else np.asarray(place)
        run_place = place[self._run_query]
        lengths = np.zeros(queries, np.int64)
        np.add.at(lengths, run_place, self._run_length)
        order = np.argsort(run_place, kind="stable")
        moved = np.empty_like(self._run_start)
        moved[order] = np.concatenate([[0], np.cumsum(self._run_length[order])[:-1]])
        target = None
        if not np.array_equal(moved, self._run_start):
            target = np.repeat(moved - self._run_start, self._run_length) + np.arange(self.documents)
        return Layout(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.argsort(place), target)

    def blocks(self, most: int = 1 << 22) -> Iterator[tuple[int, np.ndarray, int]]:
        """(first source row, features `[rows, column]`, base) in source order, at most about `most` cells each."""
        row = 0
        if self.spool is None:
            for grown, (rows, _, base) in zip(self._grown, self.segments, strict=True):
                yield row, grown.values, base
                row += rows
            return
        at = self.header
        for rows, columns, base in self.segments:
            step = max(1, most // max(1, columns))
            for first in range(0, rows, step):
                n = min(step, rows - first)
                yield row, np.fromfile(self.spool, np.float32, n * columns, offset=at).reshape(n, columns), base
                at += n * columns * 4
                row += n

    def fill(self, out: np.ndarray, layout: Layout, base: int, keep: np.ndarray | None = None) -> None:
        """Writes the features in the new order.

        Args:
            out: float32 `[documents, feature]`, zeros; may be memory-mapped; columns beyond it are left out.
            base: index of the first column of the full matrix.
            keep: columns of the full matrix that go to `out`, ascending; all when None.
        """
        for row, features, own in self.blocks():
            rows = (
                slice(row, row + len(features)) if layout.target is None else layout.target[row : row + len(features)]
            )
            shift = own - base
            if keep is None:
                out[rows, shift : shift + features.shape[1]] = features[:, : out.shape[1] - shift]
                continue
            here = np.flatnonzero((keep >= shift) & (keep < shift + features.shape[1]))
            if len(here):  # ascending, so a slice of out
                taken = keep[here] - shift
                whole = taken[-1] - taken[0] + 1 == len(taken)  # then a view: nothing is copied twice
                out[rows, here[0] : here[-1] + 1] = features[:, slice(taken[0], taken[-1] + 1) if whole else taken]

    def columns(self, columns: Sequence[int], base: int) -> np.ndarray:
        """Columns of the full matrix as float32 `[documents, len(columns)]`, in source order."""
        values = np.zeros((self.documents, len(columns)), np.float32)
        if len(columns):
            for row, features, own in self.blocks():
                for k, column in enumerate(columns):
                    at = column - (own - base)
                    if 0 <= at < features.shape[1]:
                        values[row : row + len(features), k] = features[:, at]
        return values

    @property
    def names_documents(self) -> bool:
        return any(docs is not None for _, docs in self._docs)

    def doc_ids(self):
        """Arrow `large_string` array `[documents]` in source order ("" where a row names none); None without any."""
        import pyarrow as pa

        if not self.names_documents:
            return None
        pieces = []
        for rows, docs in self._docs:
            offsets, data = docs if docs is not None else (np.zeros(rows + 1, np.int64), np.zeros(0, np.uint8))
            piece = pa.LargeStringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(data))
            try:
                piece.validate(full=True)
            except pa.ArrowInvalid:  # not UTF-8: keep the bytes readable
                raw = data.tobytes()
                piece = pa.array(
                    [readable(raw[a:b]) for a, b in zip(offsets, offsets[1:], strict=False)],
                    pa.large_string(),
                )
            pieces.append(piece)
        return pa.concat_arrays(pieces)

    def split(self, *, n_features: int | None = None, objectives=("relevance",), names=None, name: str = "") -> Split:
        """Everything in memory as one split; infinite features are said."""
        if self.infinite[0]:
            say_once("{:,} infinite values among the features, the first at {}".format(*self.infinite))
        layout, base = self.layout(), self.base
        width = self.top(base) if n_features is None else n_features
        if layout.target is None and len(self._grown) == 1 and self._grown[0].values.shape[1] == width:
            features = self._grown[0].values
        else:
            check_room(self.documents, width, self.path)
            features = np.zeros((self.documents, width), np.float32)
            self.fill(features, layout, base)
        docs = self.doc_ids()
        for sentence in ranks_from_one([self]):
            say_once(sentence)
        positions = self.facts.get("positions")
        return Split(
            features,
            layout.reorder(self.labels),
            layout.offsets,
            np.array(self.query_ids, dtype=np.str_),
            doc_ids=None if docs is None else layout.reorder(docs.to_numpy(zero_copy_only=False).astype(np.str_)),
            objectives=tuple(objectives),
            feature_names=tuple(names) if names is not None else tuple(f"f{k + base}" for k in range(width)),
            row=layout.row,
            name=name,
            weights=layout.reorder(self.facts["weights"]) if "weights" in self.facts else None,
            positions=None if positions is None else layout.reorder(positions.astype(np.int32)),
        )


def ranks_from_one(sources: Sequence[Gathered]) -> list[str]:
    """Positions of a source count from 1 afterwards, in all of its files.

    Returns:
        What a user should know: that they counted from 0, and that a query has documents at one position.
    """
    told = [each for each in sources if "positions" in each.facts]
    said = []
    if any((each.facts["positions"] == 0).any() for each in told):
        said.append("positions counted from 0; they count from 1 here")
        for each in told:
            each.facts["positions"] = each.facts["positions"] + 1
    keys = [each.queries_of_rows() * EXACT * 2 + each.facts["positions"].astype(np.int64) for each in told]
    if twice := sum(len(key) - len(np.unique(key)) for key in keys):
        said.append(f"{twice:,} documents were shown at a position that another document of their query has")
    return said
