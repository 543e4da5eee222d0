"""Files beside a source, as LightGBM and XGBoost keep them: list sizes, weights, positions.

PATH.query or PATH.group   documents of each query, where the lines carry no `qid:`
PATH.weight                what each document counts (LightGBM), or each query (XGBoost)
PATH.position              the rank at which each document was shown (LightGBM)
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ltr.errors import InputError

from .chunks import lines, opened
from .query_grouping import FACTS, Gathered, wrong_fact

__all__ = [
    "beside",
    "facts_files",
    "group",
    "has_qid",
    "needed_sizes_file",
    "read_facts",
    "read_sizes",
    "sizes_file",
]


def beside(path: Path, endings: Sequence[str] = (".query", ".group", ".weight", ".position", ".init")) -> list[Path]:
    """Files beside `path` that boosters would read with it: TRAIN.txt.query, TRAIN.query, and so on."""
    bare = path.with_suffix("") if path.suffix in (".gz", ".bz2", ".xz") else path
    names = [f"{one.name}{ending}" for one in (path, bare, bare.with_suffix("")) for ending in endings]
    return [found for name in dict.fromkeys(names) if (found := path.with_name(name)) != path and found.is_file()]


def sizes_file(path: Path) -> Path | None:
    """The file of list sizes beside `path`, or None."""
    return next(iter(beside(path, (".query", ".group"))), None)


def needed_sizes_file(path: Path) -> Path:
    """The same where there must be one: the file's lines carry no qid."""
    if (beside := sizes_file(path)) is not None:
        return beside
    with opened(path) as (file, _):
        number, line = _first_document(file, path)
    raise InputError(
        "missing qid",
        file=path,
        line=number,
        expected="label qid:QUERY index:value ...",
        came=line.decode("utf-8", "replace"),
        do=_advice(line, path.name),
    )


def _advice(line: bytes, name: str) -> str:
    """What to do about a first line without qid, by what it looks like."""
    words = line.split(b"#", 1)[0].split()
    if any(re.match(rb"(?i)(qid|query|query_id|group):", word) for word in words):
        return "Write the query of each line as qid:QUERY"
    if not any(re.match(rb"\d+:", word) for word in words):
        if line.startswith((b"<", b"{", b"[")):
            return "This looks like a web page, XML or JSON: save the data as svmlight text, CSV or Parquet"
        if re.search(rb"[,;\t|]", line):
            return "This looks like a table: name it .csv or .tsv, with the names of its columns in the first line"
        return "This does not look like svmlight text"
    return f"Add qid: to every line, or write the number of documents of each query, a line each, to {name}.query"


def read_sizes(path: Path) -> list[int]:
    """Documents of each query, from a file with one size a line; Python integers, for nobody has checked them."""
    sizes: list[int] = []
    with opened(path) as (file, _):
        for number, line in lines(file, path):
            text = line.strip()
            if not text:
                continue
            if not text.isdigit() or len(text) > 18 or int(text) == 0:
                raise InputError(
                    "not a list size",
                    file=path,
                    line=number,
                    expected="a whole number above 0",
                    came=text[:100].decode("utf-8", "replace"),
                )
            sizes.append(int(text))
    return sizes


def group(gathered: Gathered, sizes: Sequence[int], path) -> None:
    """Cuts what was read without qid into lists of these sizes."""
    if sum(sizes) != gathered.documents:
        raise InputError(
            "list sizes do not fit the documents",
            file=sizes_file(Path(path)) or path,
            expected=f"sizes that sum to the {gathered.documents} documents of {Path(path).name}",
            came=sum(sizes),
            do="A line each query: how many documents it has, not the query of each document",
        )
    gathered.group(np.array(sizes, np.int64))


def facts_files(path: Path) -> dict[str, Path]:
    """The files of weights and positions beside a source, as LightGBM names them: "weights" -> PATH.weight, ..."""
    each = {"weights": beside(path, (".weight",)), "positions": beside(path, (".position",))}
    return {role: found[0] for role, found in each.items() if found}


def read_facts(gathered: Gathered, files: Mapping[str, Path]) -> dict[str, str]:
    """Reads weights and positions, a line each, in place of those the source itself has.

    As many lines as documents: one a document (LightGBM). As many as queries: one a query, in the order of their first
    sight (XGBoost), for all of its documents.

    Returns:
        What was read of each file: "weights" -> "documents" or "queries".

    Raises:
        InputError: another number of lines, or a line that is none.
    """
    told = {}
    for role, file in files.items():
        with opened(file) as (stream, _):
            found = [(number, text) for number, line in lines(stream, file) if (text := line.strip())]
        values = np.full(len(found), np.nan, np.float32)
        for k, (_, text) in enumerate(found):
            with contextlib.suppress(ValueError):
                values[k] = np.nan if b"_" in text else float(text)  # Python reads 1_0 as 10
        if (bad := wrong_fact(role, values)) is not None:
            number, text = found[bad]
            came = text[:100].decode("utf-8", "replace")
            raise InputError(f"none of the {role}", file=file, line=number, expected=FACTS[role], came=came)
        queries = len(gathered.query_ids)
        told[role] = "documents" if len(values) == gathered.documents else "queries"
        if told[role] == "queries" and (len(values) != queries or role == "positions"):
            either = f"{gathered.documents:,} lines, one a document" + (
                f", or {queries:,}, one a query" if role == "weights" else ""
            )
            what = f"{role} do not fit {Path(gathered.path or file).name}"
            raise InputError(what, file=file, expected=either, came=f"{len(values):,} lines")
        gathered.facts[role] = values if told[role] == "documents" else values[gathered.queries_of_rows()]
    return told


def has_qid(path) -> bool:
    """Whether the first document of the file carries `qid:`.

    Raises:
        InputError: the file holds no document.
    """
    with opened(Path(path)) as (file, _):
        _, line = _first_document(file, path)
    return any(word.startswith(b"qid:") for word in line.split(b"#", 1)[0].split())


def _first_document(file, path) -> tuple[int, bytes]:
    for number, line in lines(file, path):
        line = line.strip()
        if line and not line.startswith(b"#"):
            return number, line
    raise InputError("no documents", file=path, expected="label qid:QUERY index:value ...", came="an empty file")
