"""One part of a store: what a raw file became, in three files that any tool can open.

    features.npy        float32 [documents, feature], opened by memory map
    documents.parquet   a float32 column an objective, `row` in the source file, `doc_id` where the source has them,
                        `_weights` and `_positions` likewise
    queries.parquet     query_id, offset, length

Documents of a query are contiguous. Queries stand in the order of their first sight, unless the store divides the part
(a validation split cut from train, folds cut from a table): then the pieces follow one another, each in that order.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ltr.atomic import sha256
from ltr.datasets.readers.query_grouping import Gathered, Layout
from ltr.errors import InputError
from ltr.types import Deferred, Split

from .checks import AGAIN, Blocks, check_features, check_file
from .overlaps import document_hashes

__all__ = ["HEADER", "SPOOL", "FeatureFacts", "Sealed", "label_facts", "length_facts", "read", "sealed", "write"]

HEADER = 128  # bytes before the numbers of features.npy; fixed, so that it can be written when the shape is known
SPOOL = "features.spool"  # beside features.npy while the file is read; becomes it where nothing moves
FACTS: dict[str, type] = {"weights": np.float32, "positions": np.int32}  # of a document, where the source has them
_BLOCK = 1 << 20  # bytes hashed or looked at in one go: they stay in the processor's cache


def _header(shape: tuple[int, int]) -> bytes:
    """The head of a .npy file (format 1.0), padded to HEADER bytes."""
    facts = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape[0]}, {shape[1]}), }}"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + facts.ljust(HEADER - 11).encode() + b"\n"


def write(
    folder: Path,
    gathered: Gathered,
    layout: Layout,
    labels: np.ndarray,
    objectives: Sequence[str],
    *,
    base: int,
    width: int,
    keep: np.ndarray,
) -> None:
    """Writes the part's files; `gathered` was spooled to `folder/SPOOL` with HEADER bytes before.

    Args:
        labels: float32 `[documents, objective]` in the source's order.
        base, width: the full matrix of the source: index of its first column, number of columns.
        keep: columns of the full matrix that are inputs, ascending.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    spool, features = folder / SPOOL, folder / "features.npy"
    shape = (gathered.documents, len(keep))
    if layout.target is None and len(keep) == width and gathered.segments == [(shape[0], width, base)]:
        with open(spool, "r+b") as file:
            file.write(_header(shape))
        os.rename(spool, features)
    else:
        with open(features, "wb") as file:
            file.write(_header(shape))
            _reserve(file, HEADER + 4 * shape[0] * shape[1])
        out = np.load(features, mmap_mode="r+")
        gathered.fill(out, layout, base, keep)
        del out
        spool.unlink()

    columns = {name: pa.array(layout.reorder(labels[:, k])) for k, name in enumerate(objectives)}
    row = layout.row
    columns["row"] = pa.array(np.arange(shape[0]) if row is None else row)
    docs = gathered.doc_ids()
    if docs is not None:
        columns["doc_id"] = docs if row is None else docs.take(pa.array(row))
    for role, values in gathered.facts.items():
        columns[f"_{role}"] = pa.array(layout.reorder(values.astype(FACTS[role])))
    pq.write_table(
        pa.table(columns),
        folder / "documents.parquet",
        compression="zstd",
        use_dictionary=[*objectives],
        column_encoding={"row": "DELTA_BINARY_PACKED"},
        write_page_checksum=True,
    )
    pq.write_table(
        pa.table(
            {
                "query_id": pa.array([gathered.query_ids[q] for q in layout.queries.tolist()], pa.string()),
                "offset": layout.offsets[:-1],
                "length": np.diff(layout.offsets),
            }
        ),
        folder / "queries.parquet",
        compression="zstd",
        write_page_checksum=True,
    )


def _reserve(file: BinaryIO, size: int) -> None:
    """Makes room on the disk: a write through a memory map has no way to say that the disk is full, it kills."""
    file.truncate(size)
    if hasattr(os, "posix_fallocate"):
        file.flush()
        os.posix_fallocate(file.fileno(), 0, size)


def read(folder: Path, objectives: Sequence[str], names: Sequence[str], facts: Mapping[str, Any]) -> Split:
    """The whole part; features stay on disk, and are checked before anybody looks at them.

    Args:
        names: of the features.
        facts: the part's entry in the manifest.

    Raises:
        InputError: a file is missing or is not what the manifest says.
    """
    import pyarrow.parquet as pq

    files = facts["files"]
    for name in ("documents.parquet", "queries.parquet"):
        check_file(folder / name, files[name])
    columns = [*objectives, *(["row"] if facts["reordered"] else []), *(["doc_id"] if facts["doc_ids"] else [])]
    columns += [f"_{role}" for role in facts.get("facts", ())]
    checked = {"page_checksum_verification": True}
    documents = pq.read_table(folder / "documents.parquet", columns=columns, **checked)
    queries = pq.read_table(folder / "queries.parquet", columns=["query_id", "offset"], **checked)
    path = folder / "features.npy"
    if not path.is_file():
        raise InputError("the store is damaged: a file is missing", file=path, do=AGAIN)

    def features() -> np.ndarray:
        check_features(path, files[path.name]["bytes"], facts["blocks"])
        return np.load(path, mmap_mode="r")

    lazily: Any = Deferred((documents.num_rows, len(names)), features)
    labels = np.empty((documents.num_rows, len(objectives)), np.float32)
    for k, name in enumerate(objectives):
        labels[:, k] = documents[name].to_numpy()
    return Split(
        lazily,
        labels,
        np.append(queries["offset"].to_numpy(), documents.num_rows),
        np.array(queries["query_id"].to_pylist(), dtype=np.str_),
        doc_ids=np.array(documents["doc_id"].to_pylist(), dtype=np.str_) if facts["doc_ids"] else None,
        objectives=tuple(objectives),
        feature_names=tuple(names),
        row=documents["row"].to_numpy() if facts["reordered"] else None,
        **{role: documents[f"_{role}"].to_numpy() for role in facts.get("facts", ())},
    )


# --- facts for the manifest ---------------------------------------------------------------------------------------


class FeatureFacts:
    """Which columns never change, which hold nan or inf and which inf, over every block it is shown."""

    def __init__(self, features: int):
        self.least = np.full(features, np.inf, np.float32)
        self.most = np.full(features, -np.inf, np.float32)
        self.non_finite = np.zeros(features, np.int64)
        self.infinite = np.zeros(features, np.int64)

    @classmethod
    def together(cls, each: Iterable[FeatureFacts]) -> FeatureFacts:
        """Facts of several parts as one."""
        first, *others = each
        for other in others:
            np.minimum(first.least, other.least, out=first.least)
            np.maximum(first.most, other.most, out=first.most)
            first.non_finite += other.non_finite
            first.infinite += other.infinite
        return first

    def see(self, block: np.ndarray) -> None:
        """Takes rows, float32 `[rows, feature]`."""
        # Least and most carry every NaN and infinity with them: they decide whether to look closer.
        least, most = block.min(axis=0), block.max(axis=0)
        if not (np.isfinite(least).all() and np.isfinite(most).all()):
            bad = ~np.isfinite(block)
            self.non_finite += bad.sum(axis=0)
            self.infinite += np.isinf(block).sum(axis=0)
            least, most = np.where(bad, np.inf, block).min(axis=0), np.where(bad, -np.inf, block).max(axis=0)
        np.minimum(self.least, least, out=self.least)
        np.maximum(self.most, most, out=self.most)

    def constant(self) -> np.ndarray:
        """Columns of one value (or none that is finite)."""
        return np.flatnonzero((self.least >= self.most) & (self.non_finite == 0) | (self.least > self.most))


@dataclass(frozen=True)
class Sealed:
    """What is known of a part's files once they are written.

    Attributes:
        files: name -> bytes and sha256.
        blocks: checksums of features.npy, see `checks.Blocks`.
        features: facts of the columns.
        documents: a hash of each document's features, uint64 `[documents]`.
    """

    files: dict[str, dict[str, Any]]
    blocks: dict[str, Any]
    features: FeatureFacts
    documents: np.ndarray


def sealed(folder: Path, check: Callable[[], None] = lambda: None) -> Sealed:
    """Reads a part's files, each once.

    Args:
        check: called between blocks; may raise.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.iterdir()):
        alone = "" if path.name == "features.npy" else sha256(path)
        files[path.name] = {"bytes": path.stat().st_size, "sha256": alone}
    path = folder / "features.npy"
    rows, columns = np.load(path, mmap_mode="r").shape
    seen, digest, blocks = FeatureFacts(columns), hashlib.sha256(), Blocks()
    documents = np.empty(rows, np.uint64)
    block = np.empty((max(1, _BLOCK // (4 * columns)), columns), np.float32)
    view = memoryview(block.data).cast("B")
    with open(path, "rb", buffering=0) as file:
        head = file.read(HEADER)
        digest.update(head)
        blocks.see(head)
        for first in range(0, rows, len(block)):
            check()
            n = min(len(block), rows - first)
            _fill(file, view[: 4 * n * columns])
            digest.update(view[: 4 * n * columns])
            blocks.see(view[: 4 * n * columns])
            seen.see(block[:n])
            documents[first : first + n] = document_hashes(block[:n])
    files[path.name]["sha256"] = digest.hexdigest()
    return Sealed(files, blocks.facts(), seen, documents)


def _fill(file, view: memoryview) -> None:
    while len(view):
        got = file.readinto(view)
        if not got:
            raise OSError(f"{file.name}: ended while it was read")
        view = view[got:]


def length_facts(offsets: np.ndarray) -> dict:
    """Quantiles of the list lengths."""
    lengths = np.diff(offsets)
    names = {"min": 0, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95, "max": 1}
    return {**{n: float(np.quantile(lengths, q)) for n, q in names.items()}, "mean": float(lengths.mean())}


def label_facts(labels: np.ndarray, offsets: np.ndarray) -> dict:
    """What is known of one label column: how often each grade stands (or its spread), and the blank lists."""
    values, counts = np.unique(labels, return_counts=True)
    positive = np.add.reduceat(labels > 0, offsets[:-1], dtype=np.int64)
    facts: dict = {"blank": int((positive == 0).sum())}
    if len(values) <= 32:
        facts["counts"] = {f"{v:g}": int(c) for v, c in zip(values, counts, strict=True)}
    else:
        names = {"min": 0, "q25": 0.25, "median": 0.5, "q75": 0.75, "max": 1}
        facts["distinct"] = len(values)
        facts["spread"] = {n: float(np.quantile(labels, q)) for n, q in names.items()}
    return facts
