"""The store: raw files converted once, memory-mapped afterwards.

    STORE/manifest.json
    STORE/parts/<first 16 hex digits of the raw file's sha256>/...      see shard.py

A part is a raw file, so Fold1/test and Fold2/vali of a five-fold set are stored once. The manifest says which part, or
which queries of it, each split of each fold is, and how it was made. A conversion works in a folder beside the target
and renames it at the end: there is no half-written store.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ltr.atomic import sha256
from ltr.errors import InputError, unknown_name
from ltr.types import Split, Task

from . import shard as parts
from .splitting import SPLITS

__all__ = ["SCHEMA", "Objective", "Store", "convert", "convert_folder"]  # noqa: F822 (see __getattr__)

SCHEMA = 1


def __getattr__(name: str):
    # Opening a store needs no reader; `store.convert` still is where one looks for it.
    if name in ("convert", "convert_folder", "Objective"):
        from . import convert

        return getattr(convert, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
            InputError: there is no store, or one of another version.
        """
        path = Path(folder) / "manifest.json"
        if not path.is_file():
            raise InputError(
                "no store here", file=folder, expected="a folder with manifest.json", do="Run: ltr data convert"
            )
        try:
            manifest = json.loads(path.read_text("utf-8"))
            schema = manifest["schema"]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError("not a store's manifest", file=path, came=str(error)) from None
        if schema != SCHEMA:
            raise InputError(
                "a store of another version",
                file=path,
                expected=f"schema {SCHEMA}",
                came=schema,
                do="Convert the raw files again",
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
        if fold not in self.manifest["folds"]:
            raise unknown_name("fold", fold, self.folds, file=self.folder)
        if split not in self.manifest["folds"][fold]:
            raise unknown_name("split", split, self.manifest["folds"][fold], file=self.folder)
        entry = self.manifest["folds"][fold][split]
        part = entry["part"]
        if part not in self._parts:
            self._parts[part] = parts.read(
                self.folder / "parts" / part, self.objectives, self.feature_names, self.manifest["parts"][part]
            )
        found = replace(_pieces(self._parts[part], entry["queries"]), name=split)
        if objectives is None:
            return found
        if not objectives:
            raise InputError("no objective", expected=f"at least one of {', '.join(self.objectives)}")
        for name in objectives:
            if name not in self.objectives:
                raise unknown_name("objective", name, self.objectives, file=self.folder)
        columns = [self.objectives.index(name) for name in objectives]
        return replace(found, labels=found.labels[:, columns], objectives=tuple(objectives))

    def task(self, fold: str | None = None, objectives: Sequence[str] | None = None) -> Task:
        """A fold with its three splits; the first fold by default."""
        fold = self.folds[0] if fold is None else fold
        train, vali, test = (self.split(fold, s, objectives) for s in SPLITS)
        return Task(self.name, fold, train, vali, test, facts={"store": str(self.folder), "manifest": self.manifest})

    def verify(self) -> list[str]:
        """What is wrong with the files, a sentence each; empty when every size and hash is the manifest's."""
        wrong = []
        for part, facts in self.manifest["parts"].items():
            for name, expected in facts["files"].items():
                path = self.folder / "parts" / part / name
                if not path.is_file():
                    wrong.append(f"{path}: missing")
                elif path.stat().st_size != expected["bytes"]:
                    wrong.append(f"{path}: expected {expected['bytes']} bytes, came {path.stat().st_size}")
                elif (came := sha256(path)) != expected["sha256"]:
                    wrong.append(f"{path}: expected sha256 {expected['sha256']}, came {came}")
        return wrong


def _pieces(whole: Split, ranges: list[list[int]]) -> Split:
    """The queries of these ranges: views where one range suffices, else a copy in memory."""
    if ranges == [[0, whole.n_queries]]:
        return whole
    if whole.row is None:
        whole = replace(whole, row=np.arange(whole.n_documents))
    if len(ranges) > 1:
        return whole.take(np.concatenate([np.arange(a, b) for a, b in ranges]))
    (a, b), offsets = ranges[0], whole.offsets
    rows = slice(offsets[a], offsets[b])
    return replace(
        whole,
        features=whole.features[rows],
        labels=whole.labels[rows],
        offsets=offsets[a : b + 1] - offsets[a],
        query_ids=whole.query_ids[a:b],
        doc_ids=None if whole.doc_ids is None else whole.doc_ids[rows],
        row=whole.row[rows],
    )
