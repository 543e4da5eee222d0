"""The store: raw files converted once, memory-mapped afterwards.

    STORE/manifest.json
    STORE/parts/<first 16 hex digits of the raw file's sha256>/...      see shard.py

A part is a raw file, so Fold1/test and Fold2/vali of a five-fold set are stored once. The manifest says which part, or
which queries of it, each split of each fold is, and how it was made. A conversion works in a folder beside the target
and renames it at the end: there is no half-written store.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ltr.atomic import read_json, sha256, sweep
from ltr.errors import InputError, check_name
from ltr.types import Deferred, Split, Task

from . import checks, shard
from .splitting import SPLITS

__all__ = ["SCHEMA", "Store"]

SCHEMA = 2


class Store:
    """An opened store.

    Args:
        folder: where `convert` wrote it.

    Attributes:
        manifest: everything known about it, as manifest.json holds it.
    """

    def __init__(self, folder: Path, manifest: dict[str, Any]):
        self.folder, self.manifest = Path(folder), manifest
        self._parts: dict[str, Split] = {}

    @classmethod
    def open(cls, folder) -> Store:
        """Opens a store; reads the manifest and nothing else.

        Raises:
            InputError: there is no store, one of another version, or a damaged manifest.
        """
        path = Path(folder) / "manifest.json"
        if not path.is_file():
            sweep(path.parent.parent)  # a kill while it was replaced left the old one beside its place
        try:
            manifest = read_json(path, do=checks.AGAIN)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(
                "no store here", file=folder, expected="a folder with manifest.json", do="Run: ltr data convert"
            ) from None
        if manifest.get("schema") != SCHEMA:
            raise InputError(
                "a store of another version",
                file=path,
                expected=f"schema {SCHEMA}",
                came=manifest.get("schema"),
                do=checks.AGAIN,
            )
        if manifest.get("sha256") != checks.sealed_hash(manifest):
            raise InputError("the manifest was changed or damaged", file=path, do=checks.AGAIN)
        parts = [path.parent / "parts" / str(part) for part in manifest["parts"]]
        if not any(part.is_dir() for part in parts):
            raise InputError(
                "the manifest is that of another store, whose parts are not here", file=path, do=checks.AGAIN
            )
        return cls(Path(folder), manifest)

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def folds(self) -> list[str]:
        return list(self.manifest["folds"])

    @cached_property
    def objectives(self) -> tuple[str, ...]:
        return tuple(o["name"] for o in self.manifest["objectives"])

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(self.manifest["features"]["names"])

    def split(self, fold: str, split: str, objectives: Sequence[str] | None = None) -> Split:
        """One split; features are memory-mapped.

        Args:
            objectives: which label columns, in which order (the first is the main one); all by default.
        """
        check_name("fold", fold, self.folds, file=self.folder)
        check_name("split", split, self.manifest["folds"][fold], file=self.folder)
        entry = self.manifest["folds"][fold][split]
        part = entry["part"]
        if part not in self._parts:
            self._parts[part] = shard.read(
                self.folder / "parts" / part, self.objectives, self.feature_names, self.manifest["parts"][part]
            )
        coded = self.manifest["features"].get("categories", ())
        categories = tuple(k for k, name in enumerate(self.feature_names) if name in coded)
        found = _pieces(self._parts[part], entry["queries"]).having(name=split, categories=categories)
        if objectives is None:
            return found
        if not objectives:
            raise InputError("no objective", expected=f"at least one of {', '.join(self.objectives)}")
        for name in objectives:
            check_name("objective", name, self.objectives, file=self.folder)
        columns = [self.objectives.index(name) for name in objectives]
        return found.having(labels=_labels(found)[:, columns], objectives=tuple(objectives))

    def task(self, fold: str | None = None, objectives: Sequence[str] | None = None) -> Task:
        """A fold with its three splits; the first fold by default."""
        fold = self.folds[0] if fold is None else fold
        train, vali, test = (self.split(fold, s, objectives) for s in SPLITS)
        notes = list(self.manifest["notes"].get(fold, []))
        if infinite := self.manifest["features"].get("infinite"):
            shown = ", ".join(list(infinite)[:5]) + (", ..." if len(infinite) > 5 else "")
            notes.append(f"{sum(infinite.values()):,} infinite values among the features, of {shown}")
        facts = {"store": str(self.folder), "manifest": self.manifest, "notes": notes}
        return Task(self.name, fold, train, vali, test, facts=facts)

    def verify(self, *, check: bool = True, raw: Path | str | None = None) -> list[str]:
        """What is wrong with the files, a sentence each; empty when every size and hash is the manifest's.

        Args:
            check: read everything; else sizes, and the hashes of what is small.
            raw: folder of the raw files, which are compared with what the store was made of.
        """
        wrong = []
        for part, facts in self.manifest["parts"].items():
            for name, expected in facts["files"].items():
                path = self.folder / "parts" / part / name
                if not path.is_file():
                    wrong.append(f"{path}: missing")
                elif path.stat().st_size != expected["bytes"]:
                    wrong.append(f"{path}: expected {expected['bytes']} bytes, came {path.stat().st_size}")
                elif (check or name != "features.npy") and (came := sha256(path)) != expected["sha256"]:
                    wrong.append(f"{path}: expected sha256 {expected['sha256']}, came {came}")
        for path in self.touched(raw, check=check) if raw is not None else ():
            wrong.append(f"{path}: was changed after the store was made of it")
        return wrong

    def unchecked(self, *, check: bool = True, raw: Path | str | None = None) -> list[str]:
        """What `verify` with these arguments does not look at, a sentence each."""
        left = []
        if not check:
            size = sum(facts["files"]["features.npy"]["bytes"] for facts in self.manifest["parts"].values())
            left.append(f"the features ({size / 2**30:.1f} GiB) but for their size: they are checked before their use")
        absent = [s for s in self.manifest["sources"] if raw is None or not (Path(raw) / s).is_file()]
        if absent:
            named = ", ".join(absent[:3]) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
            left.append(f"raw files that are not here: {named}")
        return left

    def touched(self, raw: Path | str, *, check: bool = False) -> list[Path]:
        """Raw files that are no longer what the store was made of.

        Args:
            raw: their folder.
            check: hash all of them; else only those that were written to since (a file whose time was set back was).
        """
        sources = {s: (Path(raw) / s, facts["sha256"]) for s, facts in self.manifest["sources"].items()}
        return checks.touched(self.folder, sources, check=check)


def _labels(split: Split) -> np.ndarray:
    assert split.labels is not None  # a store is made of judged lists
    return split.labels


def _pieces(whole: Split, ranges: list[list[int]]) -> Split:
    """The queries of these ranges: views where one range suffices, else a copy, made when its features are used."""
    if ranges == [[0, whole.n_queries]]:
        return whole
    row = np.arange(whole.n_documents) if whole.row is None else whole.row
    whole = whole.having(row=row)
    if len(ranges) > 1:
        return whole.take(np.concatenate([np.arange(a, b) for a, b in ranges]))
    (a, b), offsets = ranges[0], whole.offsets
    rows = slice(offsets[a], offsets[b])
    shape = (int(offsets[b] - offsets[a]), whole.n_features)
    return whole.having(
        features=Deferred(shape, lambda: whole.features[rows]),
        labels=_labels(whole)[rows],
        offsets=offsets[a : b + 1] - offsets[a],
        query_ids=whole.query_ids[a:b],
        doc_ids=None if whole.doc_ids is None else whole.doc_ids[rows],
        row=row[rows],
        weights=None if whole.weights is None else whole.weights[rows],
        positions=None if whole.positions is None else whole.positions[rows],
    )
