"""Which columns a ranker was trained on, and how to take the same ones out of a new file.

A store may have left columns out of the inputs (objectives and their near copies). A raw file still carries them, so a
run remembers, beside its ranker, where each of its inputs stands in a raw row.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ltr.datasets.cards.card import cards, load_card
from ltr.datasets.readers import tables
from ltr.datasets.readers.chunks import lines, opened
from ltr.datasets.readers.companions import sizes_file
from ltr.datasets.readers.query_grouping import Gathered
from ltr.datasets.readers.svmlight import read_svmlight
from ltr.datasets.readers.tables import is_table
from ltr.errors import InputError, say_once

if TYPE_CHECKING:
    from ltr.types import Split, Task

__all__ = ["input_facts", "read_lists"]


def input_facts(task: Task) -> dict[str, Any]:
    """Where the inputs stand in a raw row: `names` of the inputs, the raw rows' `width`, the `columns` (0-based places)
    that are inputs, and the `index_base` of svmlight text (None: by the reader's rule)."""
    names = list(task.train.feature_names)
    facts = task.facts.get("manifest", {}).get("features", {})
    left_out, base = facts.get("left_out", []), facts.get("index_base")
    width = task.train.n_features + len(left_out)
    every = _all_names(task, [*names, *left_out], width, base)
    columns = [every.index(name) for name in names] if left_out else list(range(width))
    categories = [names[k] for k in task.train.categories]
    found = {"names": names, "width": width, "columns": columns, "index_base": base}
    return {**found, "categories": categories} if categories else found


def _all_names(task: Task, known: list[str], width: int, base: Literal[0, 1] | None) -> list[str]:
    """Names of all raw columns, in the file's order."""
    card = task.facts.get("manifest", {}).get("card")
    if card:
        if card["name"] in cards():
            named = list(load_card(card["name"]).feature_names)
            if set(named) == set(known):
                return named
    numbered = [f"f{k + (1 if base is None else base)}" for k in range(width)]
    return numbered if set(numbered) == set(known) else known


def read_lists(
    path: Path | str, inputs: Mapping[str, Any], *, query: str | None = None, document: str | None = None
) -> Split:
    """Lists to be scored, from svmlight text or a table, with the columns a ranker was trained on.

    Args:
        path: svmlight text (gzipped or not), Parquet or CSV. Labels are ignored, and need not be there.
        inputs: from `input_facts`.
        query, document: columns of a table, where their names do not speak for themselves. It needs no label column.

    Returns:
        Lists without labels; `row` is the place in the file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError("no such file", file=path, expected="svmlight text, Parquet or CSV")
    if is_table(path):
        split = _from_table(path, inputs, query, document)
    else:
        split = _from_text(path, inputs["width"], inputs["index_base"])
        if len(inputs["columns"]) < split.n_features:
            split = replace(
                split,
                features=np.ascontiguousarray(split.features[:, inputs["columns"]]),
                feature_names=tuple(inputs["names"]),
            )
    for k in np.flatnonzero(np.isnan(split.features).all(0)):
        name = split.feature_names[k] if split.feature_names else k + 1
        say_once(f"{path}: feature {name} has no value in any row")
    return replace(split, labels=None)


def _from_text(path: Path, width: int, base: Literal[0, 1] | None) -> Split:
    with opened(path) as (file, _):
        first = next((line for _, line in lines(file, path) if not _blank(line)), b"")
    if not first or b":" not in first.split(maxsplit=1)[0]:
        try:
            return read_svmlight(path, width, index_base=base, name=path.name)
        except InputError as error:
            if "label" not in error.what:
                raise
    # The format asks for grades, people who want scores have none: a copy gets a 0 a line, lines keep their number.
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "lists.txt"
        with opened(path) as (file, _), open(copy, "wb") as out:
            for _, line in lines(file, path):
                if not _blank(line):
                    first, *rest = line.split(maxsplit=1)
                    line = b"0 " + (line if b":" in first else b"".join(rest) or b"\n")
                out.write(line)
        if (sizes := sizes_file(path)) is not None:
            shutil.copy(sizes, copy.with_name(copy.name + ".query"))
        try:
            return read_svmlight(copy, width, index_base=base, name=path.name)
        except InputError as error:
            raise error.but(file=path) from None


def _blank(line: bytes) -> bool:
    return not line.split(b"#", 1)[0].strip()


def _from_table(path: Path, inputs: Mapping[str, Any], query: str | None, document: str | None) -> Split:
    features, categories = list(inputs["names"]), inputs.get("categories", ())
    columns = tables.inputs(path, features, query=query, document=document, categories=categories)
    gathered = Gathered(path=path).read(tables.blocks(path, columns))
    return gathered.split(objectives=(), names=tuple(features), name=path.name)
