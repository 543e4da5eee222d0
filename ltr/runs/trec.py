"""TREC files, the field's exchange format, written and read.

    run    qid Q0 docid rank score tag
    qrels  qid 0 docid grade

Documents the data does not name are called `row<i>`, after their row in the source file. Lines of a run stand in the
order trec_eval would rank them: by score, equal scores by document name, the later name first. Fields are parted by
blanks and tabs, and a score is a double: what differs in the file differs in the ranking, unless it is said. A file
that is read may be packed (gzip, bzip2, xz); the scores count, and where its ranks say something else, that is said.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa

from ltr.atomic import whole_file
from ltr.datasets.readers.chunks import opened, told
from ltr.errors import InputError, say_once
from ltr.types import Split

from .scores import check_scores, scores_table, source_rows

__all__ = ["document_names", "read_qrels", "read_run", "scores_of_run", "write_qrels", "write_run"]

Names = Literal["auto", "row"]
_LONGEST = 1 << 20  # bytes of a line: names and numbers, not documents
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_LARGEST = 2**63 - 1


def document_names(split: Split, names: Names = "auto") -> np.ndarray:
    """str `[documents]`: the data's own names, or `row<i>` where it has none or `names="row"` asks for them.

    Raises:
        InputError: a name with white space, which the format cannot carry, or twice in one query.
    """
    if split.doc_ids is None or names == "row":
        return np.char.add("row", source_rows(split).astype(str)) if split.n_documents else np.zeros(0, str)
    found = np.asarray(split.doc_ids).astype(str)
    for start, end, query in zip(split.offsets[:-1], split.offsets[1:], split.query_ids, strict=True):
        inside = found[start:end]
        if len(np.unique(inside)) < len(inside):
            values, counts = np.unique(inside, return_counts=True)
            raise InputError(
                f"query {query!s} of {split.name!r} names a document twice",
                came=str(values[counts.argmax()]),
                do="A TREC file cannot tell them apart; ask for row names: --names row",
            )
    _check_words(found, "document")
    return found


def query_names(split: Split, names: Names = "auto") -> np.ndarray:
    """str `[queries]`: the data's own names; `query<i>`, by its place, where `names="row"` and one has white space."""
    found = np.asarray(split.query_ids).astype(str)
    if names == "row":
        words = all(_is_word(name) for name in found.tolist())
        return found if words else np.char.add("query", np.arange(len(found)).astype(str))
    _check_words(found, "query")
    return found


def _is_word(name: str) -> bool:
    return bool(name) and "\0" not in name and len(name.split()) == 1 and name == name.strip()


def _check_words(names: np.ndarray, kind: str) -> None:
    broken = next((name for name in names.tolist() if not _is_word(name)), None)
    if broken is not None:
        raise InputError(
            f"a TREC file cannot carry this {kind} name",
            expected="a name without white space",
            came=broken,
            do="Ask for row names, --names row, or write a table: --as csv of `ltr export`, --out FILE.csv of "
            "`ltr predict`",
        )


def write_run(path: Path | str, split: Split, scores, *, tag: str = "ltr", names: Names = "auto") -> None:
    """Writes a run file: `qid Q0 docid rank score tag`, ranks from 1, scores with the digits that tell them apart."""
    if not _is_word(tag):
        raise InputError("the tag of a run is one word", came=tag)
    scores, name, queries = check_scores(split, scores), document_names(split, names), query_names(split, names)
    with whole_file(Path(path)) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for query, start, end in zip(queries, split.offsets[:-1], split.offsets[1:], strict=True):
            by_name = np.argsort(name[start:end], kind="stable")[::-1]
            order = by_name[np.argsort(-scores[start:end][by_name], kind="stable")]
            for rank, at in enumerate(order + start, 1):
                file.write(f"{query} Q0 {name[at]} {rank} {scores[at]!s} {tag}\n")


def write_qrels(path: Path | str, split: Split, objective: str | None = None, *, names: Names = "auto") -> None:
    """Writes the labels as qrels: `qid 0 docid grade`; grades must be whole numbers."""
    grades, name = np.asarray(split.label(objective)), document_names(split, names)
    broken = np.flatnonzero(grades != np.round(grades))
    if len(broken):
        raise InputError(
            f"objective {objective or split.objectives[0]!r} has grades that are not whole numbers",
            expected="integers, as qrels carry them",
            came=float(grades[broken[0]]),
        )
    query = np.repeat(query_names(split, names), split.lengths)
    with whole_file(Path(path)) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{q} 0 {d} {int(g)}\n" for q, d, g in zip(query, name, grades, strict=True))


def _lines(path: Path, fields: int, form: str) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of every line that is not blank."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise InputError(what, file=path, expected=f"lines of {form}")
    number = 0
    with opened(path) as (file, _), told(path):
        while line := file.readline(_LONGEST + 1):
            number += 1
            if len(line) > _LONGEST:
                raise InputError("a line without end", file=path, line=number, expected=form)
            if number == 1:
                line = line.removeprefix(codecs.BOM_UTF8)
            parts = line.split()  # at blanks and tabs only: other white space of Unicode may stand in a name
            if not parts:
                continue
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                raise InputError("not UTF-8 text", file=path, line=number, expected=f"UTF-8, lines of {form}") from None
            if len(parts) != fields or "\0" in text:
                raise InputError("not a line of the format", file=path, line=number, expected=form, came=text.strip())
            yield number, [part.decode("utf-8") for part in parts]


def _double(text: str) -> float | None:
    """A finite number in ASCII digits, or None."""
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if math.isfinite(value) else None


def _whole(text: str, what: str, lowest: int, path: Path, line: int) -> int:
    """A whole number in ASCII digits that fits 64 bits."""
    value = int(text) if re.fullmatch(r"-?\d{1,19}", text, re.ASCII) else None
    if value is None or not lowest <= value <= _LARGEST:
        expected = "0, 1, 2 ... up to 2^63 - 1" if lowest == 0 else "an integer of 64 bits"
        raise InputError(f"the {what} is not a whole number", file=path, line=line, expected=expected, came=text)
    return value


def read_run(path: Path | str) -> pa.Table:
    """`query, doc, rank, score, tag` of a run file, in the file's order.

    Raises:
        InputError: with file and line: a line without six fields, a score or rank that is no number, a document ranked
            twice for one query.
    """
    path = Path(path)
    rows: list[tuple[str, str, int, float, str]] = []
    seen = set()
    long: dict[tuple[str, float], str] = {}  # scores with more digits than a double keeps
    for number, (q, _, d, r, s, t) in _lines(path, 6, "qid Q0 docid rank score tag"):
        value = _double(s)
        if value is not None and len(s) > 15 and Decimal(long.setdefault((q, value), s)) != Decimal(s):
            say_once(
                f"{path}:{number}: the scores {long[q, value]} and {s} of query {q} are one double: they tie. "
                f"Make the differences larger where the order matters"
            )
        if value is None:
            raise InputError("the score is not a finite number", file=path, line=number, expected="a number", came=s)
        place = _whole(r, "rank", 0, path, number)
        if (q, d) in seen:
            raise InputError(f"document {d!r} is ranked twice for query {q!r}", file=path, line=number)
        seen.add((q, d))
        rows.append((q, d, place, value, t))
    if not rows:
        raise InputError("the file is empty", file=path, expected="lines of qid Q0 docid rank score tag")
    if odd := _odd_queries(rows):
        say_once(
            f"{path}: the ranks of {len(odd)} queries, first {odd[0]}, are not those of the scores; the scores count"
        )
    kinds = {"query": pa.string(), "doc": pa.string(), "rank": pa.int64(), "score": pa.float64(), "tag": pa.string()}
    return pa.table(
        [pa.array(v, k) for v, k in zip(zip(*rows, strict=True), kinds.values(), strict=True)], names=list(kinds)
    )


def _odd_queries(rows: Sequence[tuple[str, str, int, float, str]]) -> list[str]:
    """Queries whose ranks contradict the scores, or order documents that are all scored alike."""
    lists: dict[str, list[tuple[int, float]]] = {}
    for query, _, rank, score, _ in rows:
        lists.setdefault(query, []).append((rank, score))
    odd = []
    for query, ranked in lists.items():
        ranked.sort(key=lambda pair: (pair[0], -pair[1]))
        ranks, scores = zip(*ranked, strict=True)
        against = any(a > b and p < q for (p, b), (q, a) in pairwise(ranked))
        if against or (len(ranked) > 1 and ranks[0] < ranks[-1] and min(scores) == max(scores)):
            odd.append(query)
    return odd


def read_qrels(path: Path | str) -> pa.Table:
    """`query, doc, grade` of a qrels file, in the file's order; errors name file and line."""
    path = Path(path)
    rows: list[tuple[str, str, int]] = []
    seen = set()
    for number, (q, _, d, g) in _lines(path, 4, "qid 0 docid grade"):
        value = _whole(g, "grade", -_LARGEST - 1, path, number)
        if (q, d) in seen:
            raise InputError(f"document {d!r} is judged twice for query {q!r}", file=path, line=number)
        seen.add((q, d))
        rows.append((q, d, value))
    kinds = {"query": pa.string(), "doc": pa.string(), "grade": pa.int64()}
    columns = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.table([pa.array(v, k) for v, k in zip(columns, kinds.values(), strict=True)], names=list(kinds))


def scores_of_run(
    split: Split,
    run: pa.Table,
    *,
    missing: Literal["error", "last"] = "error",
    unknown: Literal["error", "drop"] = "error",
    file=None,
) -> pa.Table:
    """A run file as a scores table of `split`, joined by query id and document name; scores are float64.

    Args:
        split: the lists the run ranks.
        run: from `read_run`.
        missing: a document of the split the run does not rank: an error, or "last" below all that it ranks (tied).
        unknown: a document the split does not have (unjudged): an error, or "drop" (the condensed list).
        file: where the run was read, for messages.
    """
    query, name, at = _keys(split, run)
    scores = np.full(split.n_documents, np.nan)
    strangers: list[tuple[str, str]] = []
    for q, d, s in zip(run["query"].to_pylist(), run["doc"].to_pylist(), run["score"].to_pylist(), strict=True):
        if (q, d) in at:
            scores[at[q, d]] = s
        else:
            strangers.append((q, d))
    if strangers and (unknown == "error" or len(strangers) == len(run)):
        raise InputError(
            f"{len(strangers)} of {len(run)} lines rank a document that {split.name!r} does not have, "
            f"the first is {strangers[0][1]!r} of query {strangers[0][0]!r}",
            file=file,
            do="Another fold or split? `ltr evaluate --unknown drop` leaves them out",
        )
    lacking = np.isnan(scores)
    if lacking.any():
        if missing == "error":
            first = int(lacking.argmax())
            raise InputError(
                f"{lacking.sum()} of {split.n_documents} documents of {split.name!r} are not ranked, "
                f"the first is {name[first]!s} of query {query[first]!r}",
                file=file,
                do="Another fold or split? `ltr evaluate --missing last` puts them last",
            )
        # Ranks of the values say the same as the values, and there is always one below them.
        scores[~lacking] = np.unique(scores[~lacking], return_inverse=True)[1]
        scores[lacking] = -1.0
    return scores_table(split, scores, double=True)


def _keys(split: Split, run: pa.Table) -> tuple[list[str], list[str], dict[tuple[str, str], int]]:
    """Query and name of every document, as the run calls them, and their places.

    The data's own names; those of `--names row` where the run knows none of the others.
    """
    known = set(zip(run["query"].to_pylist(), run["doc"].to_pylist(), strict=True))
    ways: tuple[Names, ...] = ("auto", "row")
    found = []
    for way in ways:
        try:
            query = np.repeat(query_names(split, way), split.lengths).tolist()
            name = document_names(split, way).tolist()
        except InputError:  # names no run file can carry
            continue
        found.append((query, name, {key: i for i, key in enumerate(zip(query, name, strict=True))}))
        if not known.isdisjoint(found[-1][2]):
            return found[-1]
    return found[0]  # nothing fits: what is said speaks of the data's own names
