"""From scores and the labels of the store to numbers.

Labels never come from a scores file: the scores are laid beside the split they claim to score, query by query and
document by document, and what does not fit is an error, not a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ltr.atomic import whole_file
from ltr.errors import InputError
from ltr.metrics import Judgements, evaluate, evaluate_rankings, mean, measure
from ltr.types import Split

from .scores import check_scores, names_of, read_parquet, source_rows

__all__ = [
    "FACTS",
    "join",
    "join_preference",
    "per_query",
    "read_per_query",
    "summarise",
    "table_of",
    "write_per_query",
]

# Columns of per_query that are facts about the list; every other column is a measure.
FACTS = ("query", "objective", "preference", "documents", "blank")

_OTHER = "Were they made from another fold or another version of the data?"


def join(split: Split, scores: pa.Table) -> list[tuple[tuple[float, ...] | None, np.ndarray]]:
    """Scores in the split's order, one entry a preference.

    Returns:
        `(preference, scores [documents])` pairs, of the type the table has: float32 of a run, float64 of a run file
        made elsewhere; preference is None for rankers that take none.

    Raises:
        InputError: a query or document of the split without a score, scored twice, or unknown to the split.
    """
    if len(scores) == 0:
        raise InputError("the scores are empty", expected=f"{split.n_documents} documents of {split.name!r}")
    names = _Names(split)
    if scores["preference"].null_count == len(scores):
        return [(None, _aligned(names, scores))]
    keys, group = _preferences(scores["preference"])
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    if len(starts) == len(keys):  # one block a preference, as runs write them
        ends = np.append(starts[1:], len(group))
        parts = (scores.slice(a, b - a) for a, b in zip(starts, ends, strict=True))
    else:
        parts = (scores.filter(pa.array(group == k)) for k in range(len(keys)))
    return [(key, _aligned(names, part)) for key, part in zip(keys, parts, strict=True)]


def _preferences(column: pa.ChunkedArray) -> tuple[list[tuple[float, ...] | None], np.ndarray]:
    """The different preferences of a column, in the order of their first rows, and the place of each row's among them.

    Raises:
        InputError: preferences of several lengths.
    """
    column = column.combine_chunks()
    there = np.asarray(column.is_valid())
    lengths = np.unique(pc.list_value_length(column.drop_null()).to_numpy())
    if len(lengths) != 1:
        raise InputError("preferences of several lengths", expected="one weight an objective", came=lengths.tolist())
    weights = np.zeros((len(column), lengths[0] + 1), np.float32)
    weights[there, :-1] = column.drop_null().flatten().to_numpy(zero_copy_only=False).reshape(-1, lengths[0])
    weights[:, -1] = ~there
    # Rows of a preference nearly always stand together: only where it changes are there rows to tell apart.
    turns = np.flatnonzero(np.append(True, (weights[1:] != weights[:-1]).any(1)))
    _, first, code = np.unique(weights[turns], axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.argsort(order)
    keys = [None if weights[turns[k], -1] else tuple(weights[turns[k], :-1].tolist()) for k in first[order]]
    return keys, np.repeat(place[code.ravel()], np.diff(np.append(turns, len(weights))))


class _Names:
    """What the documents of a split are called, made once for all rankings of it."""

    def __init__(self, split: Split):
        self.split, self.rows = split, source_rows(split)
        self.order = np.argsort(self.rows, kind="stable")
        self.query, self.doc = names_of(split)


def _aligned(ours: _Names, scores: pa.Table) -> np.ndarray:
    rows, split = scores["row"].to_numpy(), ours.split
    take = None
    if not np.array_equal(rows, ours.rows):
        order = np.argsort(rows, kind="stable")
        if len(rows) != len(ours.rows) or not np.array_equal(rows[order], ours.rows[ours.order]):
            extra, lacking = np.setdiff1d(rows, ours.rows), np.setdiff1d(ours.rows, rows)
            twice = len(rows) - len(np.unique(rows))
            raise InputError(
                f"the scores are not those of {split.name or 'this split'!r}: {len(lacking)} documents without a "
                f"score, {len(extra)} unknown, {twice} scored twice" + _first(split, lacking),
                expected=f"{len(ours.rows)} documents",
                came=len(rows),
                do=_OTHER,
            )
        take = np.empty(len(rows), np.int64)
        take[ours.order] = order  # take[document of the split] = its line in the scores
    _same(split, "query", ours.query, scores["query"], take)
    if split.doc_ids is not None:
        _same(split, "doc", ours.doc, scores["doc"], take)
    found = scores["score"].to_numpy()
    return check_scores(split, found if take is None else found[take])


def _first(split: Split, rows: np.ndarray) -> str:
    return f" (the first is row {rows[0]})" if len(rows) else ""


def _same(split: Split, what: str, ours: pa.Array, theirs: pa.ChunkedArray, take: np.ndarray | None) -> None:
    theirs = theirs if take is None else theirs.take(pa.array(take))
    if theirs.null_count == 0 and theirs.equals(pa.chunked_array([ours])):
        return
    unequal = pc.fill_null(pc.not_equal(theirs, ours), True)
    if pc.any(unequal).as_py():
        at = pc.index(unequal, True).as_py()
        raise InputError(
            f"the scores name another {what} than the data for {pc.sum(unequal).as_py()} documents, "
            f"first for document {at} of {split.name!r}",
            expected=ours[at].as_py(),
            came=theirs[at].as_py(),
            do=_OTHER,
        )


def per_query(
    split: Split,
    scores: pa.Table,
    measures: Sequence[str] | Mapping[str, Sequence[str]],
    objectives: Sequence[str] | None = None,
    *,
    device: str | None = None,
) -> pa.Table:
    """One row a query, objective and preference; one column a measure.

    Args:
        split: the labelled lists.
        scores: their scores, in any order.
        measures: names of measures; or objective -> its measures, where each has its own.
        objectives: label columns to measure; the split's main one by default.
        device: where measures are computed, e.g. "cuda"; numpy by default.

    Returns:
        `query, objective, preference, documents, blank` (no document has a positive label) and one float64 column a
        measure, null where the query does not count or the measure is another objective's.
    """
    asked = _asked(measures, objectives or split.objectives[:1])
    names = list(dict.fromkeys(name for own in asked.values() for name in own))
    # Ideal orders and counts are those of the labels: made once, whatever the number of preferences.
    facts: dict[str, Any] = {"weights": None if split.weights is None else split.query_weights, "device": device}
    judged = {o: Judgements(np.asarray(split.label(o)), split.offsets, split.doc_ids, **facts) for o in asked}
    rows = _Rows(split, asked, names)
    rankings = join(split, scores)
    tables = []
    for (preference, _), values in zip(
        rankings, _values([aligned for _, aligned in rankings], asked, judged), strict=True
    ):
        for objective in asked:
            there = {name: found[rows.there] for name, found in values[objective].items()}
            tables.append(rows.table(objective, preference, there))
    return pa.concat_tables(tables)


def _values(rankings: list[np.ndarray], asked: Mapping[str, Sequence[str]], judged: Mapping[str, Any]) -> list[dict]:
    """Of each ranking: objective -> measure -> value of every query, float64 `[queries]`."""
    # Methods that no preference steers repeat themselves.
    fresh = [i == 0 or not np.array_equal(each, rankings[i - 1]) for i, each in enumerate(rankings)]
    distinct = [each for each, new in zip(rankings, fresh, strict=True) if new]
    if len(distinct) > 1 and all(len(own) == 1 for own in asked.values()):  # a front: one sort for its objectives
        names = [name for (name,) in asked.values()]
        found = evaluate_rankings(names, np.stack(distinct), list(judged.values()))
        found = found if isinstance(found, np.ndarray) else found.cpu().numpy()
        each = [{o: {names[k]: row[:, k]} for k, o in enumerate(asked)} for row in found]
    else:
        each = [{o: evaluate(list(own), one, judged[o]) for o, own in asked.items()} for one in distinct]
    return [each[i] for i in np.cumsum(fresh) - 1]


def table_of(
    split: Split, values: np.ndarray, measures: Sequence[str], preferences, objectives: Sequence[str]
) -> pa.Table:
    """The table `per_query` makes, from values that were measured already.

    Args:
        split: the labelled lists.
        values: float64 `[preference, query, objective]`, NaN where a query does not count; queries with documents only.
        measures: one an objective.
        preferences: `[preference, objective]`.
        objectives: label columns.
    """
    asked = {
        o: own for o, (own,) in _asked(dict(zip(objectives, ([m] for m in measures), strict=True)), objectives).items()
    }
    rows = _Rows(split, asked, list(dict.fromkeys(asked.values())))
    if values.shape != (len(preferences), len(rows.there), len(asked)):
        expected = (len(preferences), len(rows.there), len(asked))
        raise InputError(
            "values of a front", expected=f"[preference, query, objective] = {expected}", came=values.shape
        )
    return pa.concat_tables(
        rows.table(objective, w, {asked[objective]: each[:, k]})
        for w, each in zip(np.asarray(preferences, np.float32).tolist(), values, strict=True)
        for k, objective in enumerate(asked)
    )


class _Rows:
    """What the queries of a split are called and hold, made once for all preferences."""

    def __init__(self, split: Split, objectives: Iterable[str], names: Sequence[str]):
        # A query without documents has nothing to rank and is nobody's average.
        self.there = there = np.flatnonzero(split.lengths > 0)
        self.names, self.absent = names, pa.nulls(len(there), pa.float64())
        query = pa.array(np.asarray(split.query_ids).astype(str)[there].astype(object), pa.string())
        self.facts = {"query": query, "documents": pa.array(split.lengths[there], pa.int64())}
        starts = split.offsets[:-1][there]
        self.blank = {}
        for objective in objectives:
            best = np.maximum.reduceat(np.asarray(split.label(objective)), starts) if len(there) else np.zeros(0)
            self.blank[objective] = pa.array(best <= 0, pa.bool_())

    def table(self, objective: str, preference: Sequence[float] | None, values: Mapping[str, np.ndarray]) -> pa.Table:
        """A row a query with documents; `values` are those of this objective's measures, NaN: does not count."""
        n = len(self.there)
        columns = {
            "query": self.facts["query"],
            "objective": pa.repeat(pa.scalar(objective, pa.string()), n),
            "preference": pa.repeat(pa.scalar(preference, pa.list_(pa.float32())), n),
            "documents": self.facts["documents"],
            "blank": self.blank[objective],
        }
        for name in self.names:
            found = values.get(name)
            columns[name] = self.absent if found is None else pa.array(found, pa.float64(), from_pandas=True)
        return pa.table(columns)


def _asked(measures, objectives: Sequence[str]) -> dict[str, list[str]]:
    """Objective -> full names of its measures."""
    each = measures if isinstance(measures, Mapping) else dict.fromkeys(objectives, measures)
    return {objective: [repr(measure(m)) for m in each[objective]] for objective in objectives}


def summarise(table: pa.Table, measures: Mapping[str, Sequence[str]] | None = None) -> list[dict[str, Any]]:
    """Means of a per-query table: rows of `objective, preference, measure, mean, queries, blank`.

    `queries` counts the queries in the mean and `blank` those the measure leaves out of it; `mean` is NaN where none
    counts.

    Args:
        table: from `per_query`.
        measures: objective -> its measures, as `per_query` was given them; every column by default.
    """
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in FACTS}
    objective = table["objective"].combine_chunks().dictionary_encode()
    codes = [objective.indices.to_numpy()]
    group: list[tuple[float, ...] | None] = [None]
    if table["preference"].null_count < len(table):
        group, code = _preferences(table["preference"])
        codes.append(code)
    else:
        codes.append(np.zeros(len(table), np.int64))
    known = objective.dictionary.to_pylist()
    asked = None if measures is None else _asked(measures, known)
    both = codes[0] + len(known) * codes[1]
    order = np.argsort(both, kind="stable")
    ends = np.flatnonzero(np.diff(both[order], append=-1)) + 1
    rows = []
    for lines in sorted(np.split(order, ends[:-1]), key=lambda lines: lines[0]):
        name, preference = known[codes[0][lines[0]]], group[codes[1][lines[0]]]
        for column in columns if asked is None else asked[name]:
            values = columns[column][lines]
            counted = int(np.isfinite(values).sum())
            rows.append(
                {
                    "objective": name,
                    "preference": None if preference is None else _readable(preference),
                    "measure": column,
                    "mean": float(mean(values)) if counted else float("nan"),
                    "queries": counted,
                    "blank": len(values) - counted,
                }
            )
    return rows


def _readable(preference: Iterable[float]) -> list[float]:
    """Weights that were kept as float32, with the fewest digits that say which."""
    return [float(str(np.float32(w))) for w in preference]


def write_per_query(path: Path, table: pa.Table) -> None:
    """Writes the table whole or not at all."""
    with whole_file(path) as beside:
        pq.write_table(table, beside, write_page_checksum=True)


def read_per_query(path: Path | str) -> pa.Table:
    """A per-query table of a run; checks its columns and their types.

    Raises:
        InputError: no such file, or it holds something else.
    """
    table = read_parquet(path, "per-query values")
    kinds = [pa.string(), pa.string(), None, pa.int64(), pa.bool_()]
    for name, kind in zip(FACTS, kinds, strict=True):
        there = table.schema.field(name).type if name in table.column_names else None
        if there is None or (kind is not None and there != kind):
            raise InputError(
                "no per-query values of a run", file=path, expected=f"a column {name}: {kind}", came=str(there)
            )
    for name in set(table.column_names) - set(FACTS):
        if table.schema.field(name).type != pa.float64():
            raise InputError(f"measure {name!r} is no column of numbers", file=path, came=str(table[name].type))
    return table


def join_preference(table: pa.Table, preference: Sequence[float]) -> pa.Table:
    """The rows of one preference of a scores or per-query table, found to the precision of float32."""
    keys, group = _preferences(table["preference"])
    w = np.asarray(preference, np.float64)
    near = [i for i, key in enumerate(keys) if key is not None and np.allclose(key, w, rtol=0, atol=1e-5)]
    if not near:
        raise InputError("no row has this preference", came=w.tolist())
    return table.filter(pa.array(group == near[0]))
