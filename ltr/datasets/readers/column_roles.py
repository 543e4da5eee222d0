"""Which column of a table is what: query, document, label, feature, split, or left out, and why.

The caller's word first; else by name (without case, the first of each list that is there):

- query: qid, query_id, queryid, query, topic_id, topic, srch_id, search_id, session_id;
- label: relevance, rel, label, grade, relevance_label, rating, y, target; and every further human judgement
  (`JUDGEMENTS`), for they must not leak into the inputs;
- document: doc_id, docid, document_id, document, doc, docno, url;
- split: split, subset, partition, with values like train, vali/valid/validation/dev, test;
- left out, and said: a row index; a second column with a name of the above; a column whose name speaks of an outcome
  (clicks, purchases, dwell time, the position it was shown at, a score of another ranker); text, dates and lists;
- weights, positions: only as said: what a document (or a query, whose documents all have it) counts, and the rank at
  which it was shown;
- features: all other columns of numbers and truth values.

Names may be patterns (`emb_*`) wherever the caller lists columns.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ltr.errors import InputError, unknown_name

from .cells import UNITS, Style

__all__ = [
    "DOCUMENT",
    "QUERY",
    "RELEVANCE",
    "SPLIT_NAMES",
    "Column",
    "Columns",
    "Kind",
    "Roles",
    "decide",
    "check_cells",
    "is_outcome",
    "matching",
    "no_feature",
    "role_lines",
]

QUERY = ("qid", "query_id", "queryid", "query", "topic_id", "topic", "srch_id", "search_id", "session_id")
RELEVANCE = ("relevance", "rel", "label", "grade", "relevance_label", "rating", "y", "target")
JUDGEMENTS = ("understandability", "under", "trust", "trustworthiness", "credibility", "readability", "usefulness")
DOCUMENT = ("doc_id", "docid", "document_id", "document", "doc", "docno", "url")
SPLIT = ("split", "subset", "partition")
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "vali": "vali",
    "valid": "vali",
    "validation": "vali",
    "val": "vali",
    "dev": "vali",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "heldout": "test",
}

_INDEX = re.compile(
    r"unnamed: \d+(_level_\d+)?(\.\d+)*|__index_level_\d+__|level_\d+|id|_id|uid|guid|uuid|"
    r"(row|line|record)s?[ _.-]?(id|no|nr|num|number|index|idx)?|(df[ _.-]?)?(index|idx)(_?\d+|_)?|rownum"
)
_OUTCOMES = """click clicks clicked clickthrough clickthroughs ctr purchase purchases purchased buy buys bought booking
bookings booked dwell dwelltime watch watched watchtime conversion conversions converted converts cvr revenue revenues
gmv sale sales sold order orders ordered reorder reordered cart carts basket baskets atc checkout checkouts payment
payments paid profit profits spend spent impression impressions install installs download downloads downloaded like
likes liked dislike dislikes disliked vote votes voted upvote upvotes downvote downvotes reply replies replied react
reaction reactions play plays played listen listens skip skips skipped bounce bounced refund refunds refunded signup
signups subscribed viewed completed satisfied satisfaction reward rewards engagement engagements judgement judgements
judgment judgments judged judge annotation annotations annotator annotators annotated qrel qrels relevant relevance
outcome outcomes propensity propensities""".split()
_WHOLE = """position positions pos rank ranks ranking score scores rating ratings grade grades label labels target
targets gain gains truth pred preds prediction predictions predicted helpful helpfulness""".split()
_FILLING = """n num number no count counts total sum avg mean max min is has was bool flag int float user users final
old new previous prev displayed display shown original initial logged model ranker baseline result results serp srp
list item items doc document value y ground expert human""".split()
_OTHERWISE = ("ytrue", "ypred", "yhat", "ytest", "sampleweight", "instanceweight")

Kind = Literal["number", "text", "other"]
Role = Literal["query", "document", "split", "label", "weights", "positions", "feature", "left out"]


@dataclass(frozen=True, slots=True)
class Column:
    """What a reader found out about a column before anybody says what it is for.

    Attributes:
        name: of the column.
        kind: "number" (truth values and columns without any value too), "text", or "other" (dates, lists, ...).
        type: in words, for the table of roles.
        style: what a comma in its cells means, where it is text that holds numbers.
        wrong: (place in words, line, cell, what is wrong) of the first cell of text that is no number.
        index: the file itself says that it is a row index.
    """

    name: str
    kind: Kind
    type: str = ""
    style: Style = "point"
    wrong: tuple[str, int | None, str, str] | None = None
    index: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """The roles of a table's columns, and how their cells are read.

    Attributes:
        query, document, split, labels, features, weights, positions: names of columns.
        raw: labels that are quantities, any finite number; the others are grades, 0 or more.
        left_out: name -> why.
        styles: of the columns of text that hold numbers.
        categories: features that are read as categories, see `cells.category_code`.
    """

    query: str
    labels: tuple[str, ...]
    features: tuple[str, ...]
    document: str | None = None
    split: str | None = None
    raw: frozenset[str] = frozenset()
    left_out: Mapping[str, str] = field(default_factory=dict)
    styles: Mapping[str, Style] = field(default_factory=dict)
    weights: str | None = None
    positions: str | None = None
    categories: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, str]:
        """What is known of a document beside its labels and features -> its column."""
        return {key: column for key in ("weights", "positions") if (column := getattr(self, key))}

    @property
    def ignored(self) -> tuple[str, ...]:
        """Names of the columns that were left out."""
        return tuple(self.left_out)

    def table(self, why: Mapping[str, str]) -> list[dict[str, str]]:
        """The table of roles: a dict of column, role and why each; `why` -> reasons of the columns in use."""
        roles: list[tuple[str, Role]] = [(self.query, "query")]
        roles += [(self.document, "document")] if self.document else []
        roles += [(self.split, "split")] if self.split else []
        roles += [(c, "label") for c in self.labels]
        roles += [(self.weights, "weights")] if self.weights else []
        roles += [(self.positions, "positions")] if self.positions else []
        roles += [(c, "feature") for c in self.features]
        table = [{"column": c, "role": role, "why": why.get(c, "")} for c, role in roles]
        return table + [{"column": c, "role": "left out", "why": reason} for c, reason in self.left_out.items()]


@dataclass(frozen=True)
class Roles:
    """What the caller says about columns; what is None is decided by name.

    Attributes:
        query, document, split, weights, positions: a column.
        clicks: a column that is a label, and the main one.
        labels, features: columns or patterns; features may be columns that would be left out by their name.
        categories: columns or patterns that are features, of text or numbers, and categories.
        drop: columns or patterns that are no features; a number is the column of that name, where there is one.
        wanted: columns that are labels if they are there, beside those the rules find (the objectives asked for).
        raw: those among the labels that are quantities.
    """

    query: str | None = None
    document: str | None = None
    split: str | None = None
    labels: Sequence[str] | None = None
    features: Sequence[str] | None = None
    drop: Sequence[int | str] = ()
    wanted: Sequence[str] = ()
    raw: frozenset[str] = frozenset()
    weights: str | None = None
    positions: str | None = None
    clicks: str | None = None
    categories: Sequence[str] = ()


def matching(names: Sequence[str], known: Sequence[str], what: str, path=None) -> tuple[str, ...]:
    """The columns that names and patterns stand for, each once.

    Raises:
        InputError: one that fits no column, with its near miss.

    >>> matching(["a", "emb_*"], ["emb_0", "a", "emb_1"], "feature column")
    ('a', 'emb_0', 'emb_1')
    """
    if isinstance(names, str):
        names = [names]
    found: list[str] = []
    for name in names:
        hits = [name] if name in known else [c for c in known if fnmatch.fnmatchcase(c, str(name))]
        if not hits:
            raise unknown_name(what, str(name), known, file=path)
        found += hits
    return tuple(dict.fromkeys(found))


def decide(columns: Sequence[Column], said: Roles, path: Path | str) -> tuple[Columns, list[dict[str, str]]]:
    """The roles of the columns, and the table that tells them.

    Raises:
        InputError: a column that was named does not exist or cannot be what it shall be; no query, label or feature
            column; a cell of a label or feature column that is no number, with its place.
    """
    names = [c.name for c in columns]
    categories = matching(said.categories, names, "category column", path)
    coded = {c: Column(c, "number", "categories") for c in categories}  # their cells are codes, not numbers
    there = {c.name: c for c in columns} | coded
    why: dict[str, str] = dict.fromkeys(categories, "categories, as said")

    def named(role: str, name: str) -> str:
        if name not in there:
            raise unknown_name(f"{role} column", name, there, file=path)
        why[name] = "as said"
        return name

    def guess(usual: Iterable[str]) -> str | None:
        folded = {c.strip().lower(): c for c in reversed(names) if c not in dropped}
        return next((folded[n] for n in usual if n in folded), None)

    drop = [str(c) for c in said.drop if isinstance(c, str) or str(c) in there]  # other numbers count features
    by_pattern = matching([c for c in drop if c not in there], names, "column to drop", path)
    dropped = {c for c in drop if c in there}
    said_for = {said.query, said.document, said.split, said.weights, said.positions, said.clicks}
    said_for |= {*(said.labels or ()), *categories}
    if hit := dropped & said_for:
        raise InputError(f"column {min(hit)!r} is dropped and named as something else", file=path)
    query = named("query", said.query) if said.query else guess(QUERY)
    if query is None:
        raise _without("query", QUERY, names, path)
    labels = _labels(said, names, guess, why, path)
    document = named("document", said.document) if said.document else guess(n for n in DOCUMENT if n != query.lower())
    split = named("split", said.split) if said.split else guess(SPLIT)
    facts = {role: named(role, c) for role in ("weights", "positions") if (c := getattr(said, role))}
    single: dict[str, Iterable[str | None]] = {
        "query": [query],
        "document": [said.document],
        "split": [said.split],
        "label": labels,
    }
    _check_single({**single, **{role: [c] for role, c in facts.items()}, "categories": categories}, path)
    document, split = (None if c in (*labels, *facts.values(), query) else c for c in (document, split))
    taken = {query, document, split, *labels, *facts.values()}
    if by_pattern and taken.issuperset(by_pattern):
        what = f"the pattern of drop takes no feature but {by_pattern[0]!r}, which has another role"
        raise InputError(what, file=path)
    dropped |= set(by_pattern) - taken - {*categories}  # patterns speak of features only
    if said.features is not None:
        features = tuple(c for c in matching(said.features, names, "feature column", path) if c not in dropped)
        patterns = not set(said.features) <= set(names)
        features = tuple(c for c in features if not patterns or (c not in taken and there[c].kind == "number"))
        why = {**dict.fromkeys(features, "as said"), **why}
        features = tuple(dict.fromkeys([*features, *categories]))
        left = {c: "dropped, as said" if c in dropped else "not among the features that were named" for c in names}
    else:
        left = {c: "dropped, as said" if c in dropped else no_feature(there[c]) for c in names if c not in taken}
        left |= {c: "" for c in categories if c in left}
        features = tuple(c for c in names if c not in taken and not left[c])
    for c in features:
        if c in taken or there[c].kind != "number":
            raise InputError(
                f"column {c!r} cannot be a feature",
                file=path,
                expected="a column of numbers with no other role",
                came=there[c].type if c not in taken else "a column with another role",
            )
    needed = {**dict.fromkeys(labels, "label"), **{c: role for role, c in facts.items()}}
    for c, role in needed.items():
        if there[c].kind != "number":
            place, line, cell, _ = there[c].wrong or ("", None, there[c].type, "")
            what = f"{role} column {c!r} holds no numbers"
            do = "Write the grades as numbers: 0 for the worst, then 1, 2, ..." if role == "label" else ""
            raise InputError(what, file=path, line=line, expected="a column of numbers", came=cell, do=do)
    for c in (*needed, *features):
        check_cells(there[c], path, needed=c in needed)
    if not features:
        expected = "columns of numbers beside query and labels" + (", not all dropped" if said.drop else "")
        raise InputError("no feature columns", file=path, expected=expected, came=names)
    used = (*needed, *features)
    for c in used:
        if there[c].style != "point":
            comma = (
                "its comma is the decimal point" if there[c].style == "decimal comma" else "its commas group thousands"
            )
            why[c] = f"{why[c]}; {comma}" if why.get(c) else comma
    chosen = Columns(
        query,
        labels,
        features,
        document,
        split,
        said.raw,
        {c: left[c] for c in names if c not in taken and c not in features},
        {c: there[c].style for c in used if there[c].style != "point"},
        **facts,
        categories=categories,
    )
    return chosen, chosen.table(why)


def _check_single(roles: Mapping[str, Iterable[str | None]], path) -> None:
    """Refuses a column with two roles."""
    found: dict[str, str] = {}
    for role, columns in roles.items():
        for column in columns:
            if column is not None and found.setdefault(column, role) != role:
                raise InputError(
                    f"column {column!r} is named as {found[column]} and as {role}",
                    file=path,
                    expected="one role a column",
                )


def _labels(said: Roles, names: Sequence[str], guess, why: dict[str, str], path) -> tuple[str, ...]:
    wanted = [c for c in said.wanted if c in names]
    why.update(dict.fromkeys(wanted, "asked for as an objective"))
    clicks: tuple[str, ...] = ()
    if said.clicks:
        clicks = matching([said.clicks], names, "clicks column", path)
        why[said.clicks] = "clicks, as said"
    if said.labels:
        for name, colon, transform in (label.partition(":") for label in said.labels):
            if colon and name in names and f"{name}:{transform}" not in names:
                raise InputError(
                    f"a label is a column as it stands, {name!r}",
                    file=path,
                    came=f"{name}:{transform}",
                    do=f"What is made of it belongs to the objective: --objective {name}:{transform} (or objectives)",
                )
        labels = matching(said.labels, names, "label column", path)
        why.update(dict.fromkeys(labels, "as said"))
    else:
        main = guess(RELEVANCE)
        if main is None and not wanted and not clicks:
            raise _without("label", RELEVANCE, names, path)
        further = [c for c in names if c.lower() in JUDGEMENTS and guess([c.lower()]) == c]
        labels = tuple(c for c in (main, *further) if c)
    return tuple(dict.fromkeys([*clicks, *labels, *wanted]))


def _without(role: str, usual: Sequence[str], names: Sequence[str], path) -> InputError:
    option = "labels" if role == "label" else role
    do = f"Name it: --{option} COLUMN, or {option}= in Python"
    if 2 * sum(re.fullmatch(r"[+-]?[\d.,eE+-]+|", n) is not None for n in names) > len(names):
        do = "The first line looks like data: a table needs a line with the names of its columns"
    elif len(names) == 1:
        do = f"There is one column only: columns are separated by comma, semicolon, tab or |. {do}"
    return InputError(f"no {role} column", file=path, expected=f"one of {', '.join(usual)}", came=list(names), do=do)


def no_feature(column: Column) -> str:
    """Why a column without a role is no feature; empty where it is one."""
    name = column.name.strip().lower()
    if not name:
        return "a column without a name, as a row index is"
    if column.index or _INDEX.fullmatch(name):
        return "a row index" if column.index or not name.endswith("id") else "an identifier, as a row index"
    if column.kind != "number":
        return column.type
    for what, usual in (
        ("query", QUERY),
        ("document", DOCUMENT),
        ("split", (*SPLIT, "fold", "is_train", "is_vali", "is_valid", "is_test")),
    ):
        if name in usual:
            return f"its name speaks of a {what}; --{what} or --features ({what}=, features=) take it"
    if is_outcome(column.name):
        own = next((o for o in ("weights", "positions", "clicks") if o[:-1] in name), None)
        also, kwarg = (f", --{own}", f", {own}=") if own else ("", "")
        what = "its name speaks of a judgement or an outcome"
        return f"{what}; --labels{also} or --features (labels={kwarg}, features=) take it"
    return ""


def is_outcome(name: str) -> bool:
    """Whether a name speaks of what happened after the ranking, or of what another ranker made of it.

    >>> [is_outcome(n) for n in ("clicks", "n_purchases", "dwellTime", "gross_bookings_usd", "srp_position", "y_true")]
    [True, True, True, True, True, True]
    >>> [is_outcome(n) for n in ("page_rank", "bm25_score", "price", "title_length", "borders", "in_stock")]
    [False, False, False, False, False, False]
    """
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = re.findall(r"[a-z]+|\d+", spaced.lower())
    if any(word in _OUTCOMES for word in words) or name.strip().lower() in (*RELEVANCE, *JUDGEMENTS):
        return True
    core = [word for word in words if word not in _FILLING and not word.isdigit()]
    return "".join(words) in _OTHERWISE or bool(core) and all(word in _WHOLE for word in core)


def check_cells(column: Column, path, *, needed: bool = False) -> None:
    """Refuses a column with a cell that is no number, with its place; `needed` columns cannot be left out."""
    if column.wrong is None:
        return
    place, line, cell, what = column.wrong
    comma = "comma" in what or what == UNITS
    raise InputError(
        f"{place}, column {column.name!r}: {what}",
        file=path,
        line=line,
        expected="digits, one decimal point and nothing else"
        if comma
        else "a number; empty, NA, NULL, None or ? where missing",
        came=cell,
        do=f"Correct the {'column' if comma else 'cell'}"
        + ("" if needed else f", or leave it out: --drop {column.name!r} (drop= in Python)"),
    )


def role_lines(table: Sequence[Mapping[str, Any]], most: int = 12) -> list[str]:
    """The table of roles as lines of text: a role a line, what was left out with its reason a column a line.

    Args:
        table: dicts of column, role and why, as the manifest keeps them under "roles".
        most: columns shown by name where nothing is to be said of them.
    """
    lines = []
    for role in ("query", "document", "split", "label", "weights", "positions", "feature", "left out"):
        rows = [row for row in table if row["role"] == role]
        reasons: dict[str, list[str]] = {}
        for row in rows:
            reasons.setdefault(row["why"], []).append(row["column"] or "''")
        for why, columns in reasons.items():
            shown = ", ".join(columns[:most]) + (f", ... ({len(columns):,} in all)" if len(columns) > most else "")
            lines.append(f"{role:<9} {shown}" + (f": {why}" if why else ""))
    return lines
