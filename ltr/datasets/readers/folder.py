"""Finds the splits in a folder of raw files.

Recognised, in this order:

1. fold folders, `Fold1`, `fold_2`, ..., each with a file a split;
2. files of one fold: any name with train; vali, valid, validation, val or dev; test, heldout or eval as a word between
   dots, dashes or underscores (`train.txt`, `rank.test`, `set1.valid.txt.gz`); `.query` and `.group` files
   belong to their namesakes;
3. one table or one text file, which the store divides by query;
4. a folder with nothing but one folder: the same within.

Two files for the same split are an error that shows both; `files=` names the right ones, `{fold}` standing for the
fold's folder, e.g. `{"train": "set1.train.txt", "vali": "set1.valid.txt", "test": "set1.test.txt"}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ltr.errors import InputError

from .column_roles import SPLIT_NAMES
from .tables import is_table

__all__ = ["Sources", "find", "split_of"]

Sources = dict[str, dict[str, Path]]  # fold -> split -> file; the split "all" is divided by the store
_FOLD = re.compile(r"fold[ _-]?(\d+)", re.IGNORECASE)
_TEXT = {"", ".txt", ".svm", ".svmlight", ".libsvm", ".letor", ".dat", ".data"}


def split_of(name: str) -> str | None:
    """The split a file's name speaks of, or None.

    >>> split_of("set1.valid.txt"), split_of("rank.train"), split_of("README.md"), split_of("rank.train.query")
    ('vali', 'train', None, None)
    """
    name = name.lower().removesuffix(".gz")
    words = re.split(r"[^a-z0-9]+", name)
    known = {SPLIT_NAMES[w] for w in words if w in SPLIT_NAMES}
    ending = Path(name).suffix
    if len(known) != 1 or not (ending in _TEXT or ending[1:] in SPLIT_NAMES or is_table(name)):
        return None
    return known.pop()


def find(path, files: Mapping[str, str] | None = None) -> Sources:
    """Fold -> split -> file.

    Args:
        path: a folder, or one file (text or table) to be divided by query.
        files: split -> file name relative to `path`, when the names do not speak for themselves.

    Raises:
        InputError: nothing is found, or two files claim one split.
    """
    path = Path(path)
    if path.is_file():
        return {"": {"all": path}}
    if not path.is_dir():
        raise InputError("no such file or folder", file=path)
    if files:
        return _named(path, files)
    if folds := _folds(path):
        return {p.name: _splits(p) or _nothing(p) for p in folds}
    if splits := _splits(path):
        return {"Fold1": splits}
    visible = [p for p in sorted(path.iterdir()) if not p.name.startswith((".", "_"))]
    single = [p for p in visible if p.is_file() and _is_data(p)]
    if len(single) == 1:
        return {"": {"all": single[0]}}
    folders = [p for p in visible if p.is_dir()]
    if len(folders) == 1 and not single:
        return find(folders[0])
    return _nothing(path)


def _folds(path: Path) -> list[Path]:
    """The fold folders, in the order of their numbers."""
    found = [(int(hit[1]), p.name, p) for p in path.iterdir() if p.is_dir() and (hit := _FOLD.fullmatch(p.name))]
    return [p for _, _, p in sorted(found)]


def _is_data(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return is_table(path) or (
        Path(name).suffix in _TEXT - {""} and not re.match(r"readme|licen[cs]e|citation|notes?\b|changelog", name)
    )


def _splits(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        split = split_of(file.name)
        if split in found:
            raise InputError(
                f"two files for the split {split!r}",
                file=folder,
                expected="one file a split",
                came=f"{found[split].name} and {file.name}",
                do="Keep one of them, or name them in Python: ltr.load({'train': PATH, 'vali': PATH, 'test': PATH})",
            )
        if split:
            found[split] = file
    return {s: found[s] for s in ("train", "vali", "test") if s in found}


def _named(path: Path, files: Mapping[str, str]) -> Sources:
    for split in files:
        if split not in ("train", "vali", "test", "all"):
            raise InputError(f"unknown split {split!r} in files", expected="train, vali, test or all", came=split)
    folds = [""]
    if any("{fold}" in pattern for pattern in files.values()):
        folds = [p.name for p in _folds(path)]
        if not folds:
            return _nothing(path)
    sources: Sources = {}
    for fold in folds:
        chosen = {split: path / pattern.replace("{fold}", fold) for split, pattern in files.items()}
        for split, file in chosen.items():
            if not file.is_file():
                raise InputError(f"the file of the split {split!r} is missing", file=file)
        sources[fold or ("" if "all" in chosen else "Fold1")] = chosen
    return sources


def _nothing(folder: Path):
    names = sorted(p.name for p in folder.iterdir())
    raise InputError(
        "no data found",
        file=folder,
        expected="Fold*/train|vali|test files, train|vali|test files, or one table",
        came=names[:8],
        do="Name them so, or say which is which in Python: ltr.load({'train': PATH, 'vali': PATH, 'test': PATH})",
    )
