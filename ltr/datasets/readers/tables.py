"""Reader of tables: a row a document, columns for query, labels, features and, optionally, document and split.

Parquet, Arrow files (.arrow, .feather) and CSV (separated by comma, semicolon, tab or |; packed with gzip, bzip2 or xz
or not). Which column is what stands in `column_roles`; how text becomes numbers, in `cells`. Every column of text is
looked at from end to end before it is decided on, so that no column is lost to one odd cell or to empty first rows.

A missing feature is NaN, a missing label or query id an error. Query ids are text; a query that comes back later is
gathered to its first sight.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.types import Split

from .cells import Census, category_code, numbers
from .column_roles import DOCUMENT, QUERY, SPLIT_NAMES, Column, Columns, Kind, Roles, check_cells, decide
from .limits import check_room
from .query_grouping import EXACT, FACTS, Block, Gathered, wrong_fact
from .table_files import arrow_errors, as_text, is_text, open_table
from .table_ids import check_ids, ids_of, strings

__all__ = ["Columns", "Roles", "agreed", "blocks", "columns_of", "inputs", "is_table", "read_table", "roles"]


_SOME = 20  # rows whose values are not alike by chance
_LEVELS = 256  # steps of float32 between the ends of a column: with fewer, its values are hardly told apart


def is_table(path) -> bool:
    """Whether the file's name is that of a table.

    >>> is_table("judged.parquet"), is_table("a.csv.gz"), is_table("train.txt")
    (True, True, False)
    """
    return re.search(r"\.(parquet|pq|arrow|feather|[ct]sv(\.(gz|bz2|xz))?)$", str(path).lower()) is not None


# --- roles ------------------------------------------------------------------------------------------------------


def columns_of(path, only: Sequence[str] | None = None, categories: Sequence[str] = ()) -> list[Column]:
    """What every column of the table is, columns of text counted from end to end.

    Args:
        only: names of the columns of text that are looked at (all of CSV, whose quotes may swallow rows); the others
            are taken for what their type says.
        categories: those whose cells are codes, whatever they are.
    """
    import pyarrow as pa

    source = open_table(Path(path))
    kinds = pa.types
    text = [
        name for name, kind in source.types.items() if source.csv or is_text(kind) and (only is None or name in only)
    ]
    shape = {name: (k, len(text), source.delimiter) for k, name in enumerate(text)} if source.csv else {}
    census = {name: Census(shape=shape.get(name)) for name in text}
    row = 0
    if text:
        batches = source.batches(text)
        while True:
            with arrow_errors(source):
                batch = next(batches, None)
            if batch is None:
                break
            for name in text:
                census[name].see(as_text(batch.column(name)), row)
            row += batch.num_rows
    number = (kinds.is_integer, kinds.is_floating, kinds.is_boolean, kinds.is_decimal, kinds.is_null)
    found = []
    for name, kind in source.types.items():
        if name in categories:
            found.append(Column(name, "number", "categories"))
            continue
        index = name in source.index
        kind = kind.value_type if kinds.is_dictionary(kind) else kind
        if name not in census:
            is_number = not source.csv and any(check(kind) for check in number)
            what: Kind = "number" if is_number else "text" if source.csv or is_text(kind) else "other"
            found.append(Column(name, what, f"no numbers but {kind}", index=index))
            continue
        seen, semicolons = census[name], source.delimiter == ";"
        there, first = seen.cells - seen.missing, seen.wrong(semicolons)
        wrong = None if first is None else (*source.place(first[0]), *first[1:])
        some = f", {there - seen.text:,} of {there:,} cells are numbers" if seen.text < there else ""
        what = "text" if seen.is_text else "number"
        words = f"text{some}" if seen.is_text else "numbers"
        found.append(Column(name, what, words, seen.style(semicolons) or "point", wrong, index))
    numeric = {k for k, column in enumerate(found) if column.kind == "number"}
    for name, seen in census.items():
        if (swallowed := seen.swallows(numeric)) is not None:
            place, line = source.place(swallowed[0])
            raise InputError(
                f"{place}, column {name!r}: the cell holds whole rows, as where a quote is never closed",
                file=source.path,
                line=line,
                expected='quotes in pairs, and "" for one within a cell',
                came=swallowed[1],
                do="Double the quotes within cells, or take them away",
            )
    return found


def roles(path, said: Roles | None = None, **options) -> Columns:
    """The roles of a table's columns: `column_roles.decide` of what `columns_of` finds.

    Args:
        said: what the caller says; or as options: query, labels, features, drop, document, split.
    """
    return decide(columns_of(path), said or Roles(**options), path)[0]


def agreed(paths: Sequence[Path], said: Roles) -> tuple[dict[Path, Columns], list[dict[str, str]]]:
    """The roles of the columns of several tables that are one source: the first decides, the others must follow.

    Returns:
        (columns of each file, the table of roles).

    Raises:
        InputError: as `column_roles.decide`, or a label or feature is not in every file, or not numbers everywhere.
    """
    first, *others = paths
    chosen, table = decide(columns_of(first), said, first)
    found = {first: chosen}
    used = (*chosen.labels, *chosen.features)
    facts = tuple(chosen.facts.values())
    for path in others:
        there = {c.name: c for c in columns_of(path, (*used, *facts), chosen.categories)}
        own = {role: c for role, c in chosen.facts.items() if c in there}  # test lists often have none
        for name in (chosen.query, *used, *own.values()):
            column = there.get(name)
            if column is None or (name != chosen.query and column.kind != "number"):
                raise InputError(
                    f"column {name!r} of {first.name} is {'not here' if column is None else 'no numbers here'}",
                    file=path,
                    expected="the columns of the first file",
                    came=list(there) if column is None else column.type,
                    do="Correct the file"
                    + (
                        f", or leave the column out everywhere: --drop {name!r} (drop=)"
                        if name in chosen.features
                        else ""
                    ),
                )
            if name != chosen.query:
                check_cells(column, path, needed=name not in chosen.features)
        known = {*used, *facts, *chosen.left_out, chosen.query, chosen.document, chosen.split}
        new = [c for c in there if c not in known]
        table += [{"column": c, "role": "left out", "why": f"only in {path.name}, not in {first.name}"} for c in new]
        found[path] = replace(
            chosen,
            document=chosen.document if chosen.document in there else None,
            split=chosen.split if chosen.split in there else None,
            styles={n: there[n].style for n in (*used, *own.values()) if there[n].style != "point"},
            weights=own.get("weights"),
            positions=own.get("positions"),
        )
    return found, table


def inputs(path, features, *, query=None, document=None, categories: Sequence[str] = ()) -> Columns:
    """The columns of a table that shall be scored: these features, a query, no labels.

    Raises:
        InputError: a feature that is not there or holds something else than numbers, no query column.
    """
    path = Path(path)
    there = {c.name: c for c in columns_of(path, features, categories)}
    for name in (query, document):
        if name is not None and name not in there:
            raise unknown_name("column", name, there, file=path)
    missing = [name for name in features if name not in there]
    if missing:
        raise InputError(
            f"{len(missing)} of the ranker's {len(features)} features are not in the table, first {missing[0]!r}",
            file=path,
            do="A table is scored by the names of its columns; they must be those of the training data",
        )
    folded = {c.lower(): c for c in reversed(list(there))}
    query = query or next((folded[n] for n in QUERY if n in folded), None)
    if query is None:
        raise InputError(
            "no query column",
            file=path,
            expected=f"one of {', '.join(QUERY)}",
            came=list(there),
            do="Name it: --query COLUMN",
        )
    document = document or next(
        (folded[n] for n in DOCUMENT if n in folded and folded[n] not in (query, *features)), None
    )
    for name in features:
        check_cells(there[name], path, needed=True)
        if there[name].kind == "other":
            raise InputError(
                f"column {name!r} cannot be a feature", file=path, expected="a column of numbers", came=there[name].type
            )
    styles = {name: there[name].style for name in features if there[name].style != "point"}
    return Columns(query, (), tuple(features), document, styles=styles, categories=tuple(categories))


# --- blocks -----------------------------------------------------------------------------------------------------


def blocks(path, columns: Columns, *, progress: Callable[[int], None] | None = None) -> Iterator[Block]:
    """Reads the table block by block.

    Args:
        columns: from `roles` or `inputs`.
        progress: called after each block with about the bytes of the file read so far.
    """
    path = Path(path)
    source = open_table(path)
    numbers_of = [*columns.labels, *columns.features, *columns.facts.values()]
    names = list(dict.fromkeys([*(c for c in (columns.query, columns.document, columns.split) if c), *numbers_of]))
    if source.rows is not None:
        check_room(source.rows, len(numbers_of), path, disk=None)
    size, taken, row = path.stat().st_size, 0, 0
    batches = source.batches(names)
    while True:
        with arrow_errors(source):
            batch = next(batches, None)
        if batch is None:
            break
        if batch.num_rows:
            yield _block(source, columns, batch, row)
        row += batch.num_rows
        taken += batch.nbytes
        if progress:  # text takes about the room of its numbers, packed text less: the end is told below
            progress(size * row // source.rows if source.rows else min(size, taken))
    if row == 0:
        raise InputError("no documents", file=path, expected="a row a document", came="an empty table")
    if progress:
        progress(size)


def _block(source, columns: Columns, batch, first: int) -> Block:
    labels = _matrix(columns.labels, columns, batch, source)
    grades = np.array([c not in columns.raw for c in columns.labels], bool)
    wrong = np.argwhere(~(np.isfinite(labels) & ((labels >= 0) | ~grades)))
    if len(wrong):
        row, k = wrong[0].tolist()
        place, line = source.place(first + row)
        came = _cell(batch.column(columns.labels[k])[row])
        raise InputError(
            f"{place}, label column {columns.labels[k]!r}: not a {'grade' if grades[k] else 'number'}",
            file=source.path,
            line=line,
            expected="a finite grade, 0 or more" if grades[k] else "a finite number",
            came="a missing value" if came is None or np.isnan(labels[row, k]) else came,
            do="Remove unjudged documents; shift grades that start below 0, or ask for a transform: NAME:minmax"
            if grades[k]
            else "Remove such documents",
        )
    codes, names = ids_of(batch.column(columns.query), source)
    check_ids("query", codes, names, source, first, needed=True)
    change = np.diff(codes, prepend=-1) != 0
    parts = None
    if columns.split:
        part_codes, part_names = ids_of(batch.column(columns.split), source)
        change |= np.diff(part_codes, prepend=-2) != 0
        known = [SPLIT_NAMES.get(n.strip().lower()) for n in part_names]
        bad = np.flatnonzero((part_codes < 0) | np.isin(part_codes, [k for k, n in enumerate(known) if n is None]))
        if len(bad):
            place, line = source.place(first + int(bad[0]))
            raise InputError(
                f"{place}: unknown split",
                file=source.path,
                line=line,
                expected="train, vali or test",
                came=part_names[part_codes[bad[0]]] if part_codes[bad[0]] >= 0 else None,
            )
        parts = [known[k] for k in part_codes[change].tolist()]
    docs = None
    if columns.document:
        docs = strings(batch.column(columns.document), source, first)
    runs = np.flatnonzero(change)
    block = Block(
        _matrix(columns.features, columns, batch, source),
        1,
        labels,
        runs,
        [names[k] for k in codes[runs].tolist()],
        docs,
        parts,
        facts=_facts(source, columns, batch, first),
    )
    for own, kept, sign in ((columns.features, block.features, 1), (columns.labels, labels, -1)):
        found = _hardly_apart(own, columns, batch, kept, first)
        block.odd |= {sign * (1 + k): what for k, what in found.items()}
    with np.errstate(invalid="ignore"):
        large = np.abs(block.features) >= EXACT
    if not large.any():
        return block
    infinite = np.isinf(block.features)
    if infinite.any():
        row, k = np.argwhere(infinite)[0].tolist()
        block.infinite = (
            int(infinite.sum()),
            f"{source.path.name}, row {first + row + 1}, column {columns.features[k]!r}",
        )
    for k in np.flatnonzero((large & ~infinite).any(0)).tolist():
        given, kept = _doubles(columns.features[k], columns, batch, np.longdouble), block.features[:, k]
        lost = np.flatnonzero(np.isfinite(kept) & (given != kept) & (given == np.floor(given)))
        if len(lost):
            row = int(lost[0])
            block.odd[1 + k] = f"holds whole numbers that float32 rounds (row {first + row + 1}: {int(given[row])})"
    return block


def _hardly_apart(names: Sequence[str], columns: Columns, batch, kept: np.ndarray, first: int) -> dict[int, str]:
    """Place of a column -> what it holds, where float32 leaves little or nothing of the differences of its values."""
    if not names or len(kept) < _SOME:
        return {}
    low, high = np.fmin.reduce(kept), np.fmax.reduce(kept)
    with np.errstate(invalid="ignore", over="ignore"):
        tight = high - low < _LEVELS * np.spacing(np.maximum(np.abs(low), np.abs(high)))
    found = {}
    for k in np.flatnonzero(tight).tolist():
        if names[k] in columns.categories:
            continue
        given = _doubles(names[k], columns, batch)
        if np.fmax.reduce(given) > np.fmin.reduce(given) and (rounded := np.flatnonzero(given != kept[:, k])).size:
            row = int(rounded[0])
            found[k] = f"holds numbers that float32 hardly tells apart (row {first + row + 1}: {given[row]:.17g})"
    return found


def _facts(source, columns: Columns, batch, first: int) -> dict[str, np.ndarray]:
    """Weights and positions of the rows, each float32 `[rows]`."""
    found = {}
    for role, name in columns.facts.items():
        values = found[role] = _matrix([name], columns, batch, source)[:, 0]
        if (bad := wrong_fact(role, values)) is not None:
            place, line = source.place(first + bad)
            came = _cell(batch.column(name)[bad])
            what = f"{place}, column {name!r}: none of the {role}"
            raise InputError(what, file=source.path, line=line, expected=FACTS[role], came=came)
    return found


def _matrix(names: Sequence[str], columns: Columns, batch, source) -> np.ndarray:
    """Columns of numbers as float32 `[rows, column]`, NaN where missing."""
    out = np.empty((batch.num_rows, len(names)), np.float32)
    with np.errstate(over="ignore"):  # beyond float32 is inf, as in the svmlight reader
        for k, name in enumerate(names):
            if name in columns.categories:
                codes, texts = ids_of(batch.column(name), source)
                out[:, k] = np.array([*map(category_code, texts), np.nan], np.float32)[codes]  # -1 is no value
                continue
            out[:, k] = _doubles(name, columns, batch)
    return out


def _doubles(name: str, columns: Columns, batch, whole: type = np.float64) -> np.ndarray:
    """A column of numbers as float32 or float64, whole numbers as `whole`; NaN where missing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = batch.column(name)
    if is_text(column.type):
        return numbers(as_text(column), columns.styles.get(name, "point"))
    if pa.types.is_null(column.type):
        return np.full(len(column), np.nan)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type) and whole is not np.float64:
        return pc.fill_null(column, 0).to_numpy(zero_copy_only=False).astype(whole)
    if not pa.types.is_float32(column.type):
        column = pc.cast(column, pa.float64(), safe=False)  # whole numbers beyond 2**53 are rounded
    return column.to_numpy(zero_copy_only=False)


def _cell(scalar) -> Any:
    try:
        value = scalar.as_py()
    except (ValueError, OverflowError):  # a date that Python's own types cannot hold
        return str(scalar.type)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def read_table(path, *, name: str = "", **columns) -> Split:
    """Reads a whole table into memory.

    Args:
        name: name of the split.
        **columns: query, labels, features, drop, document, split as `roles` takes them.

    Returns:
        `Split`, an objective a label column.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
    ...     print("qid,label,price,stars", "a,1,9.5,4", "a,0,7,2", sep="\\n", file=file, flush=True)
    ...     read_table(file.name)
    Split(unnamed: 1 queries, 2 documents, 2 features, objectives label)
    """
    chosen = roles(path, **columns)
    gathered = Gathered(path=Path(path)).read(blocks(path, chosen))
    return gathered.split(objectives=chosen.labels, names=chosen.features, name=name)
