"""Splits that the files do not give: validation queries cut from train, folds cut from one file.

A division is by query, never by document, and seeded by the content of the file, so that it is the same wherever the
file lies and in whichever fold it serves. Pieces lie one after another in the part, so a split is a range of queries,
or a few, and opens by memory map.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ltr.datasets.readers import tables as table
from ltr.datasets.readers.query_grouping import Gathered, Layout
from ltr.errors import InputError
from ltr.seeds import seed_of

from .shard import Sealed

__all__ = ["FOLDS", "SPLITS", "VALI", "Shard", "divide", "splits"]

SPLITS = ("train", "vali", "test")
VALI = 0.2  # of the queries of train, where a fold has no vali
FOLDS = 5  # where the source has no splits at all

Ranges = list[tuple[int, int]]


@dataclass
class Shard:
    """A raw file on its way into a store; what is not known at first is set as it is read, divided and written.

    Attributes:
        id: first 16 hex digits of its hash (of all hashes where sizes, weights or positions lie in files beside it).
        columns: roles of a table's columns; None for svmlight text.
        beside: files that were read with it -> their hashes; facts_files: those of weights and positions.
        layout: where its rows go; pieces: name -> range of queries, for a divided file.
        labels: float32 `[documents, objective]` in the store's order.
        sealed: what is known of the files that were written.
    """

    id: str
    path: Path
    sha256: str
    folder: Path
    sizes: Path | None = None
    beside: dict[Path, str] = field(default_factory=dict)
    facts_files: dict[str, Path] = field(default_factory=dict)
    columns: table.Columns | None = None
    gathered: Gathered = field(init=False)
    layout: Layout = field(init=False)
    pieces: dict[str, tuple[int, int]] = field(init=False)
    labels: np.ndarray = field(init=False)
    sealed: Sealed = field(init=False)

    @property
    def split_column(self) -> str | None:
        """The column of a table that names the split of each document, where there is one."""
        return None if self.columns is None else self.columns.split


def divide(part: Shard, how: str) -> None:
    """Orders the queries so that the pieces lie one after another; sets `layout` and `pieces`.

    Args:
        how: "whole" (not at all), "vali" (train and vali) or "all" (by the split column, else into `FOLDS` pieces).
    """
    gathered = part.gathered
    n = len(gathered.query_ids)
    piece = np.zeros(n, np.int64)
    names = ["whole"]
    if how == "vali":
        piece[_some(part, n)] = 1
        names = ["train", "vali"]
    elif how == "all" and part.split_column is not None:
        names = list(SPLITS)
        piece = np.array([SPLITS.index(s) for s in gathered.query_parts])
        present = [s for k, s in enumerate(SPLITS) if (piece == k).any()]
        if not {"train", "test"} <= set(present):
            expected = "train and test, with or without vali"
            raise InputError(f"split column {part.split_column!r}", file=part.path, expected=expected, came=present)
        if "vali" not in present:
            train = np.flatnonzero(piece == 0)
            piece[train[_some(part, len(train))]] = 1
    elif how == "all":
        k = min(FOLDS, n)
        if k < 3:
            raise InputError("too few queries to make folds of", file=part.path, expected="at least 3 queries", came=n)
        piece[np.random.default_rng(seed_of("folds", part.sha256)).permutation(n)] = np.arange(n) * k // n
        names = [f"S{i + 1}" for i in range(k)]
    place = np.empty(n, np.int64)
    place[np.argsort(piece, kind="stable")] = np.arange(n)
    part.layout = gathered.layout(place)
    ends = np.cumsum(np.bincount(piece, minlength=len(names))).tolist()
    part.pieces = dict(zip(names, zip([0, *ends[:-1]], ends, strict=True), strict=True))


def _some(part: Shard, n: int) -> np.ndarray:
    """The seeded 20 % of n queries that become vali."""
    if n < 2:
        raise InputError("too few queries to cut vali from", file=part.path, expected="at least 2 in train", came=n)
    return np.random.default_rng(seed_of("vali", part.sha256)).permutation(n)[: max(1, round(VALI * n))]


def splits(where: dict[str, dict[str, Shard]]) -> Iterator[tuple[str, str, Shard, Ranges, str]]:
    """(fold, split, part, ranges of its queries, how it was made) of every split of the store.

    Args:
        where: fold -> split -> part, as the source gives them.
    """
    for fold, given in where.items():
        if "all" in given:
            yield from _of_one_file(given["all"])
            continue
        for split in SPLITS:
            part = given.get(split, given["train"])
            if "vali" in given or split == "test":
                yield fold, split, part, [(0, len(part.gathered.query_ids))], "its own file"
            else:
                share = VALI if split == "vali" else 1 - VALI
                made = f"{share:.0%} of the queries of {part.path.name}, seed_of('vali', sha256 of the file)"
                yield fold, split, part, [part.pieces[split]], made


def _of_one_file(part: Shard) -> Iterator[tuple[str, str, Shard, Ranges, str]]:
    if part.split_column is not None:
        says = f"column {part.split_column!r}"
        cut = "vali" not in part.gathered.query_parts
        for split in SPLITS:
            made = f"{VALI:.0%} of the queries of train, seed_of('vali', sha256 of the file)"
            yield "Fold1", split, part, [part.pieces[split]], made if cut and split == "vali" else says
        return
    names = list(part.pieces)
    k = len(names)
    for i in range(k):  # LETOR's scheme
        chosen = {"train": [(i + 2 + j) % k for j in range(k - 2)], "vali": [(i + 1) % k], "test": [i]}
        for split in SPLITS:
            pieces = [names[j] for j in sorted(chosen[split])]
            made = f"{' '.join(pieces)} of {k} pieces by query, seed_of('folds', sha256 of the file)"
            yield f"Fold{i + 1}", split, part, _joined([part.pieces[p] for p in pieces]), made


def _joined(ranges: Ranges) -> Ranges:
    """Neighbouring ranges as one."""
    joined: Ranges = []
    for a, b in ranges:
        if joined and joined[-1][1] == a:
            joined[-1] = (joined[-1][0], b)
        else:
            joined.append((a, b))
    return joined
