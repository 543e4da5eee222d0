"""Preferences as people and models state them, "A beats B": into lists any loss learns from, and into labels.

    query, winner, loser [, p, weight, objective]       a row a comparison: a table file, a frame, or columns by name

p is the chance that the winner wins (1 by default). A comparison becomes a list of its two documents with labels 1 and
0, of weight p times its own, and, where p < 1, the list the other way round with the rest. So a loss on pairs gives
weight (p phi(s_w - s_l) + (1 - p) phi(s_l - s_w)): with ranknet the cross entropy of p, with dpo that of conservative
DPO; and listwise losses, boosters and methods for several objectives learn from comparisons, too. What looks at a list
as a whole (a list transformer, the context of a list) sees the two documents only; `bradley_terry` makes labels for it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ltr.errors import InputError, say_once, unknown_name
from ltr.types import Deferred, Split, Task

from .readers.table_files import read_columns
from .readers.table_ids import id_text

__all__ = ["Pairs", "bradley_terry", "pair_lists", "read_choices", "read_pairs"]

_NEEDED, _MORE = ("query", "winner", "loser"), ("p", "weight", "objective")
_Data = TypeVar("_Data", Split, Task)


@dataclass(frozen=True, eq=False, repr=False)
class Pairs:
    """Comparisons.

    Attributes:
        query, winner, loser: str `[pairs]`.
        p: float64 `[pairs]`, chance that the winner wins.
        weight: float64 `[pairs]`, what a comparison counts.
        objective: str `[pairs]`, the label column it speaks of; None: the main one.
    """

    query: np.ndarray
    winner: np.ndarray
    loser: np.ndarray
    p: np.ndarray
    weight: np.ndarray
    objective: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.query)

    def __repr__(self) -> str:
        return f"Pairs({len(self):,} comparisons of {len(np.unique(self.query)):,} queries)"


def read_pairs(source: Any) -> Pairs:
    """Comparisons from a table.

    Args:
        source: CSV, Parquet or Arrow file; a frame; or a mapping, column -> values. `query`, `winner` and `loser` are
            needed, `p`, `weight` and `objective` may be there.

    Raises:
        InputError: a column is missing, or a cell cannot be what it shall be, with its row.

    >>> read_pairs({"query": ["q1", "q1"], "winner": ["a", "b"], "loser": ["b", "c"], "p": [1.0, 0.8]})
    Pairs(2 comparisons of 1 queries)
    """
    if isinstance(source, Pairs):
        return source
    found = read_choices(source, _NEEDED)
    found["winner"], found["loser"] = (np.array([id_text(v) for v in found[side]]) for side in ("winner", "loser"))
    same = found["winner"] == found["loser"]
    if same.any():
        row = int(np.argmax(same))
        what = f"row {row + 1}, a document is compared with itself"
        raise InputError(what, file=_file(source), expected="two documents", came=str(found["winner"][row]))
    if not len(same):
        raise InputError("a table of comparisons without comparisons", file=_file(source))
    sure = np.flatnonzero(found["p"] > 0.5)
    query, winner, loser = (found[name][sure].tolist() for name in _NEEDED)
    stated = set(zip(query, winner, loser, strict=True))
    if against := sum(key in stated for key in zip(query, loser, winner, strict=True)):
        say_once(f"{against:,} of {len(same):,} comparisons contradict others of the same two documents")
    return Pairs(**{name: found[name] for name in (*_NEEDED, "p", "weight")}, objective=found.get("objective"))


def _file(source: Any) -> Path | None:
    return Path(source) if isinstance(source, str | Path) else None


def read_choices(source: Any, needed: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a table of choices, `[row]` each: ids as text, p and weight as float64, 1 where there is none.

    Args:
        source: as `read_pairs` takes it.
        needed: columns that must be there.

    Raises:
        InputError: as `read_pairs`.
    """
    import pyarrow as pa

    columns: Any
    there: Any
    file, known = _file(source), (*_NEEDED, *_MORE)
    if file is not None:
        columns, there = read_columns(file, known)
    else:
        try:
            columns = source if isinstance(source, Mapping) else pa.table(source)
        except (TypeError, ValueError, pa.ArrowException):
            expected = "a file, a data frame, or columns by name"
            raise InputError("comparisons", expected=expected, came=type(source).__name__) from None
        there = list(columns) if isinstance(columns, Mapping) else columns.column_names
    for name in needed:
        if name not in there:
            expected = (
                f"columns {', '.join(needed)}, and if there are any {', '.join(c for c in known if c not in needed)}"
            )
            raise InputError(f"no column {name!r} of comparisons", file=file, expected=expected, came=there)
    if left := [
        str(name) for name in there if name not in known and not re.fullmatch(r"__index_level_\d+__|", str(name))
    ]:
        say_once(f"columns of comparisons that are left out: {', '.join(left)}; known are {', '.join(known)}")
    cells = {
        name: getattr(columns[name], "to_pylist", lambda n=name: list(columns[n]))() for name in known if name in there
    }
    if len(set(map(len, cells.values()))) > 1:
        lengths = {name: len(values) for name, values in cells.items()}
        raise InputError("columns of comparisons", file=file, expected="all of one length", came=lengths)
    found: dict[str, Any] = {
        name: np.array(["" if v is None or v != v else id_text(v) for v in values], dtype=np.str_)
        for name, values in cells.items()
    }
    for name in needed:
        if (found[name] == "").any():
            row = int(np.argmax(found[name] == ""))
            raise InputError(f"row {row + 1}, column {name!r} is empty", file=file, expected="an id")
    for name, expected, most in (
        ("p", "a chance, 0 to 1", 1.0),
        ("weight", "a finite number from 0", np.finfo(np.float32).max),
    ):
        values = np.array([_number(v) for v in found[name]]) if name in found else np.ones(len(found[needed[0]]))
        wrong = ~((values >= 0) & (values <= most))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InputError(
                f"row {row + 1}, column {name!r}", file=file, expected=expected, came=str(found[name][row])
            )
        found[name] = values
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _rows(split: Split, pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the split of winners and losers, int64 `[pairs]` each."""
    if split.doc_ids is None:
        raise InputError("comparisons name documents, and these lists do not", do="Name their column: --document")
    lists = np.repeat(split.query_ids, split.lengths)
    place = {key: row for row, key in enumerate(zip(lists.tolist(), split.doc_ids.tolist(), strict=True))}
    queries = set(split.query_ids.tolist())
    found = np.empty((2, len(pairs)), np.int64)
    for k, (query, *two) in enumerate(
        zip(*(x.tolist() for x in (pairs.query, pairs.winner, pairs.loser)), strict=True)
    ):
        for side, document in enumerate(two):
            row = place.get((query, document))
            if row is None:
                unknown = f"document {document!r} of query {query!r}" if query in queries else f"query {query!r}"
                raise InputError(f"comparison {k + 1} is of {unknown}, which is not in split {split.name!r}")
            found[side, k] = row
    return found[0], found[1]


def pair_lists(data: _Data, pairs: Any) -> _Data:
    """Lists of two documents from comparisons, see the top of this file.

    Args:
        data: a task, of which the training lists give way to comparisons of their documents (validation and test stay
            lists with labels); or a split.
        pairs: as `read_pairs` takes them.

    Returns:
        A list a comparison and direction, with labels 1 and 0 of the objective it speaks of and 0 of the others.

    Raises:
        InputError: an unknown query, document or objective.

    >>> lists = Split.from_arrays(np.eye(3)).having(query_ids=np.array(["q1"]), doc_ids=np.array(["a", "b", "c"]))
    >>> pair_lists(lists, {"query": ["q1", "q1"], "winner": ["a", "b"], "loser": ["b", "c"]}).label().tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    if isinstance(data, Task):
        task: Any = data
        return replace(task, train=pair_lists(task.train, pairs))
    found = read_pairs(pairs)
    winner, loser = _rows(data, found)
    rows = np.stack([winner, loser], 1)
    column = np.zeros(len(found), np.int64)
    if found.objective is not None:
        for k, name in enumerate(found.objective.tolist()):
            if name not in data.objectives:
                raise unknown_name("objective", name, data.objectives)
            column[k] = data.objectives.index(name)
    # First as stated, then what is left of each the other way round.
    chance = np.concatenate([found.p, 1 - found.p])
    rows, column = np.concatenate([rows, rows[:, ::-1]]), np.tile(column, 2)
    keep = np.flatnonzero(chance > 0)
    rows, column, weights = rows[keep], column[keep], (chance * np.tile(found.weight, 2))[keep]
    flat = rows.reshape(-1)
    labels = np.zeros((len(flat), len(data.objectives)), np.float32)
    labels[np.arange(0, len(flat), 2), column] = 1
    names = [
        f"{found.query[k % len(found)]}/{k % len(found) + 1}{'' if k < len(found) else '~'}" for k in keep.tolist()
    ]
    assert data.doc_ids is not None
    return data.having(
        features=Deferred((len(flat), data.n_features), lambda: data.features[flat]),
        labels=labels,
        offsets=np.arange(0, len(flat) + 1, 2),
        query_ids=np.array(names, dtype=np.str_),
        doc_ids=data.doc_ids[flat],
        row=None,
        weights=np.repeat(weights, 2).astype(np.float32),
        positions=None,
    )


def bradley_terry(split: Split, pairs: Any, *, prior: float = 0.5, tolerance: float = 1e-10) -> np.ndarray:
    """Labels from comparisons: the chance of each document to beat an average one.

    The strengths maximise sum over comparisons of weight (p log sg(b_w - b_l) + (1 - p) log sg(b_l - b_w)), to which
    each document adds `prior` wins and as many losses against a document of strength 0; without these, one that never
    loses would have no finite strength. By minorisation (Hunter, Annals of Statistics 2004).

    Args:
        split: the lists.
        pairs: comparisons of their documents, as `read_pairs` takes them.
        prior: above 0.
        tolerance: largest change of a label in a round at which it stops.

    Returns:
        float32 `[documents]`, sg(b) in (0, 1); .5 where nothing is known.

    >>> lists = Split.from_arrays(np.eye(3)).having(query_ids=np.array(["q1"]), doc_ids=np.array(["a", "b", "c"]))
    >>> bradley_terry(lists, {"query": ["q1", "q1"], "winner": ["a", "b"], "loser": ["b", "c"]}).round(2).tolist()
    [0.75, 0.5, 0.25]
    """
    if not 0 < prior < math.inf:
        raise InputError("prior of Bradley-Terry", expected="a finite number above 0", came=prior)
    found = read_pairs(pairs)
    w, losers = _rows(split, found)
    n = split.n_documents
    wins = np.bincount(w, found.p * found.weight, n) + np.bincount(losers, (1 - found.p) * found.weight, n) + prior
    strength = np.ones(n)
    for _ in range(10_000):
        met = found.weight / (strength[w] + strength[losers])
        before = strength
        strength = wins / (np.bincount(w, met, n) + np.bincount(losers, met, n) + 2 * prior / (strength + 1))
        if np.abs(strength / (1 + strength) - before / (1 + before)).max(initial=0) < tolerance:
            break
    return (strength / (1 + strength)).astype(np.float32)
