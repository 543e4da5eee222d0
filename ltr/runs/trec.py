"""TREC files, the field's exchange format, written and read.

    run    qid Q0 docid rank score tag
    qrels  qid 0 docid grade

Documents the data does not name are called `row<i>`, after their row in the source file. Lines of a run stand in the
order trec_eval would rank them: by score, equal scores by document name, the later name first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from ltr.atomic import whole_file
from ltr.errors import InputError

from .scores import check_scores, scores_table, source_rows

if TYPE_CHECKING:
    from ltr.types import Split

__all__ = ["document_names", "looks_like_run", "read_qrels", "read_run", "scores_of_run", "write_qrels", "write_run"]

Names = Literal["auto", "row"]


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
                do="A TREC file cannot tell them apart; ask for row names instead",
            )
    spaced = next((name for name in found.tolist() if not name or len(name.split()) != 1 or name != name.strip()), None)
    if spaced is not None:
        raise InputError(
            "a TREC file cannot carry this document name", expected="a name without white space", came=spaced
        )
    return found


def write_run(path: Path | str, split: Split, scores, *, tag: str = "ltr", names: Names = "auto") -> None:
    """Writes a run file: `qid Q0 docid rank score tag`, ranks from 1, scores so that reading gives the same float32."""
    if not tag or len(tag.split()) != 1:
        raise InputError("the tag of a run is one word", came=tag)
    scores, name = check_scores(split, scores), document_names(split, names)
    with whole_file(Path(path)) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        for query, start, end in zip(split.query_ids, split.offsets[:-1], split.offsets[1:], strict=True):
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
    query = np.repeat(np.asarray(split.query_ids).astype(str), split.lengths)
    with whole_file(Path(path)) as beside, open(beside, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{q} 0 {d} {int(g)}\n" for q, d, g in zip(query, name, grades, strict=True))


def looks_like_run(path: Path | str) -> bool:
    """Whether the first line that is not empty has the six fields of a run."""
    try:
        with open(path, encoding="utf-8") as file:
            first = next((line.split() for line in file if line.strip()), [])
    except (OSError, UnicodeDecodeError):
        return False
    return len(first) == 6 and _number(first[4]) is not None


def _lines(path: Path, fields: int, form: str) -> Iterator[tuple[int, list[str]]]:
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                parts = line.split()
                if not parts:
                    continue
                if len(parts) != fields:
                    raise InputError(
                        "not a line of the format", file=path, line=number, expected=form, came=line.strip()
                    )
                yield number, parts
    except FileNotFoundError:
        raise InputError("no such file", file=path, expected=f"lines of {form}") from None
    except UnicodeDecodeError:
        raise InputError("not a text file", file=path, expected=f"lines of {form}") from None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def read_run(path: Path | str) -> pa.Table:
    """`query, doc, rank, score, tag` of a run file, in the file's order.

    Raises:
        InputError: with file and line: a line without six fields, a score or rank that is no number, a document ranked
            twice for one query.
    """
    path = Path(path)
    query, doc, rank, score, tag, seen = [], [], [], [], [], set()
    for number, (q, _, d, r, s, t) in _lines(path, 6, "qid Q0 docid rank score tag"):
        value = _number(s)
        if value is None:
            raise InputError("the score is not a finite number", file=path, line=number, expected="a number", came=s)
        if not r.isdigit():
            raise InputError("the rank is not a whole number", file=path, line=number, expected="0, 1, 2 ...", came=r)
        if (q, d) in seen:
            raise InputError(f"document {d!r} is ranked twice for query {q!r}", file=path, line=number)
        seen.add((q, d))
        query.append(q), doc.append(d), rank.append(int(r)), score.append(value), tag.append(t)
    if not query:
        raise InputError("the file is empty", file=path, expected="lines of qid Q0 docid rank score tag")
    kinds = {"query": pa.string(), "doc": pa.string(), "rank": pa.int64(), "score": pa.float64(), "tag": pa.string()}
    return pa.table(
        [pa.array(v, k) for v, k in zip((query, doc, rank, score, tag), kinds.values(), strict=True)], names=list(kinds)
    )


def read_qrels(path: Path | str) -> pa.Table:
    """`query, doc, grade` of a qrels file, in the file's order; errors name file and line."""
    path = Path(path)
    query, doc, grade, seen = [], [], [], set()
    for number, (q, _, d, g) in _lines(path, 4, "qid 0 docid grade"):
        if not g.lstrip("-").isdigit():
            raise InputError("the grade is not a whole number", file=path, line=number, expected="an integer", came=g)
        if (q, d) in seen:
            raise InputError(f"document {d!r} is judged twice for query {q!r}", file=path, line=number)
        seen.add((q, d))
        query.append(q), doc.append(d), grade.append(int(g))
    return pa.table(
        {"query": pa.array(query, pa.string()), "doc": pa.array(doc, pa.string()), "grade": pa.array(grade, pa.int64())}
    )


def scores_of_run(
    split: Split,
    run: pa.Table,
    *,
    missing: Literal["error", "last"] = "error",
    unknown: Literal["error", "drop"] = "error",
    file=None,
) -> pa.Table:
    """A run file as a scores table of `split`, joined by query id and document name.

    Args:
        split: the lists the run ranks.
        run: from `read_run`.
        missing: a document of the split the run does not rank: an error, or "last" below all that it ranks (tied).
        unknown: a document the split does not have (unjudged): an error, or "drop" (the condensed list).
        file: where the run was read, for messages.
    """
    query = np.repeat(np.asarray(split.query_ids).astype(str), split.lengths).tolist()
    at = {key: i for i, key in enumerate(zip(query, document_names(split).tolist(), strict=True))}
    scores = np.full(split.n_documents, np.nan, np.float32)
    strangers: list[tuple[str, str]] = []
    # float32 is what scores.parquet holds; two doubles that fall together there become a tie, which measures declare.
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
            do="Another fold or split? Or drop them: --unknown drop",
        )
    lacking = np.flatnonzero(np.isnan(scores))
    if len(lacking):
        if missing == "error":
            name = document_names(split)[lacking[0]]
            raise InputError(
                f"{len(lacking)} of {split.n_documents} documents of {split.name!r} are not ranked, "
                f"the first is {name!s} of query {query[lacking[0]]!r}",
                file=file,
                do="Another fold or split? Or put them last: --missing last",
            )
        scores[lacking] = np.nextafter(np.nanmin(scores), np.float32(-np.inf), dtype=np.float32)
    return scores_table(split, scores)
