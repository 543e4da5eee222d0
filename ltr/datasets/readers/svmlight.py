"""Reader of svmlight/LETOR text: `label qid:q index:value ... # comment`, a line a document.

Rules, all of them:

- Features a line does not name are 0. Values become exactly `np.float32(float(text))`. Nothing after the colon, `nan`,
  `NA`, `N/A`, `NULL`, `None` and `?` are missing values (NaN). They and infinities (`inf`, numbers beyond float32) are
  kept (`non_finite="keep"`; the store counts both a column, and the first infinity is named) or refused (`"refuse"`).
- Indices are 1-based unless index 0 stands anywhere in the source; `index_base` overrules. Lines need not be sorted,
  but no index may stand twice in one line.
- Query ids are text: "7" and "07" differ, "7.0" is 7 that travelled as a float. A query that comes back later is
  gathered to its first sight, its documents in file order; `Split.row` then says where each came from.
- A comment keeps the document's id: X of `docid = X`, else its first word.
- Labels are finite and not negative. Empty lines, lines that are only comments, CRLF, tabs, trailing blanks and a
  byte-order mark are skipped over. Gzip, bzip2 and xz are recognised by their first bytes, whatever the file's name;
  other archives and UTF-16 are refused by name. What is too long or too large stands in `limits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from ltr.datasets.memory import free_memory
from ltr.errors import InputError
from ltr.types import Split

from .chunks import chunks, line_feeds, lines_before, plain_size, readable
from .companions import facts_files, group, has_qid, needed_sizes_file, read_facts, read_sizes
from .limits import ID, MOST_FEATURES
from .query_grouping import Block, Gathered
from .table_ids import whole
from .thread_pool import ThreadPool

__all__ = [
    "CHUNK",
    "blocks",
    "read_svmlight",
]

CHUNK = 4 << 20  # bytes of text a worker holds
_MOST_CELLS = 8 << 20  # parsed in one go, so that a wide sparse file cannot blow up the memory
_HARD = 4096
_OF_A_NAME = 256  # bytes that the name and the counts of a feature take, here and in a store


def read_svmlight(
    path,
    n_features: int | None = None,
    *,
    index_base: Literal[0, 1] | None = None,
    objective: str = "relevance",
    non_finite: Literal["keep", "refuse"] = "keep",
    threads: int | None = None,
    name: str = "",
) -> Split:
    """Reads a whole file into memory.

    Args:
        path: text, gzipped or not. Without `qid:` its sizes file must lie beside it (`PATH.query` or `PATH.group`).
            Weights and positions beside it (`PATH.weight`, `PATH.position`) are taken, see `read_facts`.
        n_features: columns of the result; the largest index in the file by default. Declared, it is also a limit.
        index_base: 0 or 1; by default 1 unless index 0 occurs.
        objective: name of the label column.
        non_finite: what to do with nan and inf among the features.
        threads: parser threads; the result does not depend on it. Default: the processor's, at most 4.
        name: name of the split.

    Returns:
        `Split` with features float32 `[documents, feature]` and labels float32 `[documents, 1]`.

    Raises:
        InputError: with file and line, for everything that does not follow the rules above.

    >>> read_svmlight(Path(__file__).parents[3] / "data" / "no-such-file.txt")
    Traceback (most recent call last):
    ltr.errors.InputError: ...
    """
    path = Path(path)
    sizes = None if has_qid(path) else read_sizes(needed_sizes_file(path))
    gathered = Gathered(path=path).read(
        blocks(path, n_features, index_base=index_base, qid=sizes is None, non_finite=non_finite, threads=threads)
    )
    if sizes is not None:
        group(gathered, sizes, path)
    check_width(gathered, n_features, gathered.base, path)
    read_facts(gathered, facts_files(path))
    return gathered.split(n_features=n_features, objectives=(objective,), name=name)


def check_width(gathered: Gathered, n_features: int | None, base: int, path) -> None:
    """Refuses what only the whole source shows: index 0 and index `n_features` both occur."""
    found = gathered.top(base)
    if n_features is not None and found > n_features and gathered.columns([found - 1], base).any():
        raise InputError(
            "feature index out of range",
            file=path,
            expected=f"{n_features} features as declared",
            came=f"indices 0 to {found - 1}",
            do=f"Declare {found} features (n_features), or index base 1 if index 0 is a mistake",
        )


# --- lines to blocks --------------------------------------------------------------------------------------------


@dataclass
class _Shape:
    """What the chunks read so far have taught: columns and base to start the next chunk with, bytes of a line."""

    columns: int = 0
    base: int = 1
    line: float = 0.0


class _Wrong(Exception):
    """A wrong line inside a chunk, before its place in the file is known."""

    def __init__(self, line: int, what: str, expected: str, came: str, do: str = ""):
        self.line, self.what, self.expected, self.came, self.do = line, what, expected, came, do


def blocks(
    path,
    n_features: int | None = None,
    *,
    index_base: Literal[0, 1] | None = None,
    qid: bool = True,
    non_finite: Literal["keep", "refuse"] = "keep",
    threads: int | None = None,
    pool: ThreadPool | None = None,
    chunk: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Block]:
    """Reads a file block by block; memory is a few chunks for each thread, whatever the file's size.

    Args:
        qid: whether every line must carry `qid:` (False: sizes come from a second file).
        pool: threads that are shared with other files, in place of `threads` of its own.
        chunk: bytes of text parsed at a time; `CHUNK` by default.
        progress: called with the bytes of the file read so far.

    The rest as `read_svmlight`; blocks may differ in width and base, `Gathered` makes them one matrix.
    """
    if index_base not in (None, 0, 1):
        raise InputError("index_base", expected="0, 1 or None", came=index_base)
    if non_finite not in ("keep", "refuse"):
        raise InputError("non_finite", expected="'keep' or 'refuse'", came=non_finite)
    path = Path(path)
    if n_features is not None:
        if not isinstance(n_features, int) or n_features < 1:
            raise InputError("n_features", expected="a whole number above 0", came=n_features)
        if n_features > (most := free_memory() // _OF_A_NAME):
            raise InputError(
                "so many features do not fit in memory", file=path, expected=f"at most {most}", came=n_features
            )
    shape = _Shape(n_features or 0, 1 if index_base is None else index_base)

    def parse(text: np.ndarray, pos: int = 0):
        return text, *_parse(text, pos, shape, n_features or 0, index_base is not None, qid, non_finite == "refuse")

    documents, at, size, infinite = 0, 0, plain_size(path), False
    for text, parsed, pos, wrong in (pool or ThreadPool(threads)).ahead(parse, chunks(path, chunk or CHUNK, progress)):
        while True:
            for block in parsed:
                documents += len(block.labels)
                block.done = (at + pos) / size if size else 0.0
                if block.infinite is not None and not infinite:  # the first is named, with its line in the file
                    infinite, (count, line, index) = True, block.infinite
                    where = f"{path.name}:{lines_before(path, at) + int(line)}, feature {index}"
                    block.infinite = count, where
                yield block
            if wrong is not None:
                line = lines_before(path, at) + wrong.line
                raise InputError(
                    wrong.what, file=path, line=line, expected=wrong.expected, came=wrong.came, do=wrong.do
                )
            if pos >= len(text):
                break
            _, parsed, pos, wrong = parse(text, pos)  # the chunk had more rows than one go holds
        at += len(text)
    if documents == 0:
        raise InputError("no documents", file=path, expected="label qid:QUERY index:value ...", came="an empty file")


def _parse(text: np.ndarray, pos: int, shape: _Shape, declared: int, fixed_base: bool, qid: bool, finite: bool):
    """One chunk from `pos` on: (blocks, where they end, `_Wrong` or None); at most about `_MOST_CELLS` in all."""
    from . import spans_kernel
    from . import svmlight_kernel as kernel

    start, end, documents, cells = pos, len(text), 0, 0
    if pos == 0 and (at := _lone_return(text)) is not None:
        do = "Give every line a line feed: tr '\\r' '\\n' < OLD > NEW"
        return [], 0, _Wrong(line_feeds(text[:at]) + 1, "a carriage return within the line", "line feeds", "\\r", do)
    if not shape.line:
        shape.line = end / (line_feeds(text) + 1)
    found: list[Block] = []
    columns, base = shape.columns, shape.base
    if not columns:
        columns = _grown(kernel, text, pos, base, 1)
    hard = [np.empty(_HARD, np.int64) for _ in range(4)]
    while cells < _MOST_CELLS:
        # Room for a few lines more than their usual length promises; should it not suffice, another block follows.
        most = max(1, min(int(1.03 * (end - pos) / shape.line) + 8, _MOST_CELLS // columns))
        features = np.zeros((most, columns), np.float32)
        labels = np.empty(most, np.float32)
        query_at, query_length, doc_at, doc_length = (np.empty(most, np.int64) for _ in range(4))
        infinite = np.zeros(3, np.int64)
        reason, pos, rows, hards, at = kernel.parse(
            text,
            pos,
            end,
            base,
            fixed_base,
            declared,
            qid,
            finite,
            infinite,
            features,
            labels,
            query_at,
            query_length,
            doc_at,
            doc_length,
            *hard,
            np.full(columns, -1, np.int64),
        )
        for first, stop, row, column in zip(*(h[:hards].tolist() for h in hard), strict=True):
            with np.errstate(over="ignore"):  # beyond float32 is inf, as documented
                value = np.float32(float(text[first:stop].tobytes()))
            if column < 0:
                labels[row] = value
            else:
                features[row, column] = value
        if rows:
            block = Block(features[:rows], base, labels[:rows, None], np.zeros(1, np.int64), [""])
            if qid:
                block.run_rows = np.flatnonzero(spans_kernel.new_spans(text, query_at, query_length, rows))
                spans = zip(query_at[block.run_rows].tolist(), query_length[block.run_rows].tolist(), strict=True)
                block.run_ids = [whole(readable(text[a : a + n].tobytes())) for a, n in spans]
            if (doc_length[:rows] > 0).any():
                block.docs = spans_kernel.pack_spans(text, doc_at, doc_length, rows)
            if (odd := _odd_id(text, block, query_at, query_length, doc_at, doc_length)) is not None:
                return found, pos, odd
            if infinite[0]:
                count, line, index = infinite.tolist()
                block.infinite = count, str(line_feeds(text[:line]) + 1), index
            found.append(block)
            documents += rows
            cells += rows * columns
        if reason == kernel.END:
            pos = end
            break
        if reason == kernel.HARD and not rows:  # one line with more hard numbers than there was room for
            hard = [np.empty(2 * len(h), np.int64) for h in hard]
        elif reason == kernel.ZERO:
            base, columns = 0, declared or columns + 1
        elif reason == kernel.WIDE:
            if columns >= MOST_FEATURES:
                wrong = _wrong(kernel, kernel.INDEX_OVER, text, pos, at, MOST_FEATURES, base)
                wrong.do = "Every feature becomes a column; --n-features (n_features=) declares more"
                return found, pos, wrong
            columns = _grown(kernel, text, pos, base, columns)
        elif reason >= kernel.LABEL_MISSING:
            return found, pos, _wrong(kernel, reason, text, pos, at, declared, base)
    # Chunks in flight may each learn something; it only grows, and blocks of different shape are reconciled later.
    shape.base = min(shape.base, base)
    shape.columns = declared or max(shape.columns, columns)
    shape.line = (pos - start) / documents if documents else shape.line
    return found, pos, None


def _lone_return(text: np.ndarray) -> int | None:
    """The first carriage return that does not stand at the end of a line: what follows would be lost in a comment."""
    returns = np.flatnonzero(text == 13)
    after = text[np.minimum(returns + 1, len(text) - 1)]
    lone = returns[(after != 10) & (after != 13)]
    return int(lone[0]) if len(lone) else None


def _odd_id(text, block: Block, query_at, query_length, doc_at, doc_length) -> _Wrong | None:
    """An id that is too long, holds a NUL byte, or cannot be where a blank or a comment was meant, with its line."""
    rows = len(block.labels)
    for k, name in zip(block.run_rows.tolist(), block.run_ids, strict=True):
        if "\\xa0" in name or not name.isprintable() and any(c.isspace() for c in name):
            line = line_feeds(text[: query_at[k]]) + 1
            return _Wrong(line, "white space in the query id", "blanks or tabs between words", name, "Use plain blanks")
    if block.run_ids != [""]:
        ends = query_at[:rows] + query_length[:rows]
        hashed = np.flatnonzero((ends < len(text)) & (text[np.minimum(ends, len(text) - 1)] == ord("#")))
        if len(hashed):
            at = int(query_at[hashed[0]])
            came = text[at : at + 40].tobytes().split(b"\n", 1)[0].decode("utf-8", "replace")
            do = "Rename the query, or put a blank before the comment"
            return _Wrong(line_feeds(text[:at]) + 1, "a # within the query id begins a comment", "qid:QUERY", came, do)
    for what, at, length, nul in (
        ("query", query_at[:rows], query_length[:rows], any("\0" in name for name in block.run_ids)),
        ("document", doc_at[:rows], doc_length[:rows], block.docs is not None and (block.docs[1] == 0).any()),
    ):
        if not nul and length.max(initial=0) <= ID:
            continue
        for a, n in zip(at.tolist(), length.tolist(), strict=True):
            line = line_feeds(text[: max(a, 0)]) + 1
            came = text[a : a + min(n, 60)].tobytes().decode("utf-8", "backslashreplace") if n else ""
            if n > ID:
                return _Wrong(line, f"the {what} id is too long", f"at most {ID} bytes", came)
            if "\0" in came or n and (text[a : a + n] == 0).any():
                return _Wrong(line, f"a NUL byte in the {what} id", "text", came, "Save the file as UTF-8 text")
    return None


def _grown(kernel, text, pos, base, columns) -> int:
    return max(columns, min(kernel.widest(text, pos, len(text)) - base + 1, MOST_FEATURES))


def _wrong(kernel, reason: int, text: np.ndarray, line: int, at: int, limit: int, base: int) -> _Wrong:
    """The message for a wrong line that starts at `line`, its offending word at `at`."""
    words = text[at : at + 200].tobytes().split(b"\n", 1)[0].split(None, 1)
    word = words[0].decode("utf-8", "replace") if words else ""
    pair = "index:value with a whole index and a number"
    what, expected, do = {
        kernel.LABEL_MISSING: ("missing label", "a number before the features", ""),
        kernel.LABEL_TEXT: ("the label is not a number", "a number", ""),
        kernel.LABEL_NOT_FINITE: ("the label is not finite", "a finite grade, 0 or more", "Remove unjudged documents"),
        kernel.LABEL_NEGATIVE: (
            "negative label",
            "a grade, 0 or more",
            "If it means unjudged, remove the line; if grades start below 0, shift them",
        ),
        kernel.QID_MISSING: ("missing qid", "label qid:QUERY index:value ...", ""),
        kernel.QID_REPEATED: ("qid stands twice", "one qid:QUERY a line", ""),
        kernel.QID_EMPTY: ("empty qid", "qid:QUERY", ""),
        kernel.PAIR_TEXT: ("not a feature", pair, ""),
        kernel.VALUE_TEXT: ("the feature's value is not a number", pair, ""),
        kernel.INDEX_ZERO: (
            "feature index out of range",
            "indices from 1",
            "--index-base 0 (index_base=0) if the file counts from 0",
        ),
        kernel.INDEX_OVER: (
            "feature index out of range",
            f"indices from {base} to {limit + base - 1}",
            f"Correct the line or the declared number of features ({limit})",
        ),
        kernel.INDEX_REPEATED: ("feature index stands twice in the line", "every index once", ""),
        kernel.VALUE_NOT_FINITE: (
            "the feature is not finite",
            "a finite number",
            "--non-finite keep (non_finite='keep') lets it in",
        ),
    }[reason]
    return _Wrong(line_feeds(text[:line]) + 1, what, expected, word, do)
