"""Published numbers and the three verdicts: OK, near, OFF.

`benchmarks/expected.toml` holds what papers and documentations print, under their own conventions, with source and
certainty. `compare` puts the results of a suite beside them. A verdict is about one number under one measure; nothing
is converted here, and nothing typed by hand into a page.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ltr import paths, schema
from ltr.bench.suite.plan import dataset_slug
from ltr.datasets.cards.card import Certainty, load_card
from ltr.errors import InputError

if TYPE_CHECKING:
    from .results import Results

__all__ = ["Comparison", "Row", "Table", "Verdict", "compare", "load_expected", "uncompared", "verdict", "verdict_rows"]

Kind = Literal["reproduce", "baseline", "bound"]
Verdict = Literal["OK", "near", "OFF"]


@dataclass(frozen=True)
class Row:
    """A system of a source.

    Attributes:
        system: as the source calls it.
        values: one a measure of the table, in the table's unit; NaN where the source prints none.
        ours: label of the system in the table's suite that is the same system; "" where there is none yet.
        reason: why ours is OFF, once that is known.
        note: what is special about it.
    """

    system: str
    values: tuple[float, ...]
    ours: str = ""
    reason: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """One source on one dataset. See the head of expected.toml for the kinds and their verdicts.

    Attributes:
        id, title, source, certainty, note: for people; certainties: one a measure, where they differ.
        dataset: name of a card; folds: names, or "all"; split: "test" or "vali". A number of several folds is the mean
            over folds of the mean over seeds.
        kind: how it is judged; tolerance: in the measure's own unit, e.g. .004; reason: why ours is OFF, once known.
        measures: full names of our measures.
        rows: the numbers.
        unit: 0.01 where the source prints per cent.
        suite: the suite whose systems `ours` names: the config that belongs to the number.
    """

    id: str
    title: str
    dataset: str
    kind: Kind
    tolerance: float
    measures: tuple[str, ...]
    rows: tuple[Row, ...]
    source: str
    certainty: Certainty
    folds: tuple[str, ...] = ("all",)
    split: Literal["test", "vali"] = "test"
    certainties: tuple[Certainty, ...] = ()
    unit: float = 1.0
    suite: str = ""
    note: str = ""
    reason: str = ""

    def __post_init__(self):
        for row in self.rows:
            if len(row.values) != len(self.measures):
                raise InputError(
                    f"{self.id}: {row.system}", expected=f"{len(self.measures)} values, one a measure", came=row.values
                )
            if row.ours and (self.kind != "reproduce" or not self.suite):
                raise InputError(f"{self.id}: {row.system}: `ours` needs kind = 'reproduce' and a suite")
        if len(self.certainties) not in (0, len(self.measures)):
            raise InputError(f"{self.id}: certainties", expected="one a measure, or none", came=self.certainties)
        if not self.rows or not self.measures:
            raise InputError(f"{self.id} is empty", expected="measures and rows")
        wrong = [v for row in self.rows for v in row.values if not math.isnan(v) and not 0 <= v * self.unit <= 1]
        if wrong or self.tolerance <= 0:
            raise InputError(f"{self.id}: a value outside [0, 1], or no tolerance", expected="unit = 0.01?", came=wrong)

    def column(self, measure: str) -> dict[str, float]:
        """system -> published value of a measure, in the measure's own unit."""
        at = self.measures.index(measure)
        return {row.system: row.values[at] * self.unit for row in self.rows if not math.isnan(row.values[at])}

    def certainty_of(self, measure: str) -> Certainty:
        return self.certainties[self.measures.index(measure)] if self.certainties else self.certainty


@dataclass(frozen=True)
class _File:
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Comparison:
    """One of our numbers beside a published one.

    Attributes:
        table: where the published one stands.
        measure, split: what was measured.
        system, ours: ours; published, by: theirs.
        verdict: see the kinds of tables.
        reason: for OFF; says so when none is recorded. For the others what there is to know.
    """

    table: Table
    measure: str
    system: str
    ours: float
    by: str
    published: float
    verdict: Verdict
    reason: str


def load_expected(path: Path | None = None) -> tuple[Table, ...]:
    """The tables of expected.toml.

    Raises:
        InputError: unknown keys, wrong types, a row with too few values, two tables of one id.
    """
    path = paths.suites() / "expected.toml" if path is None else path
    tables = schema.bind(_File, schema.read_toml(path), file=path).tables
    ids = [t.id for t in tables]
    twice = sorted({i for i in ids if ids.count(i) > 1})
    if twice:
        raise InputError("two tables share an id", file=path, came=twice)
    return tables


def verdict(kind: Kind, ours: float, published: float, tolerance: float) -> Verdict:
    """The verdict on one number; the borders themselves count as the better verdict.

    >>> verdict("reproduce", 0.5210, 0.5243, 0.004), verdict("reproduce", 0.5170, 0.5243, 0.004)
    ('OK', 'near')
    >>> verdict("baseline", 0.49, 0.48, 0.01), verdict("baseline", 0.475, 0.48, 0.01)
    ('OK', 'near')
    >>> verdict("bound", 0.505, 0.51, 0.01), verdict("bound", 0.53, 0.51, 0.01)
    ('OK', 'OFF')
    """
    if not (math.isfinite(ours) and math.isfinite(published)):
        raise InputError("a verdict needs two numbers", came=(ours, published))
    above, slack = ours - published, 1e-9  # .30 - .29 is a little more than .01
    if kind == "reproduce":
        ok, near = abs(above) <= tolerance + slack, abs(above) <= 2 * tolerance + slack
    elif kind == "baseline":
        ok, near = above >= -slack, above >= -tolerance - slack
    else:
        ok = -tolerance - slack <= above <= slack
        near = -2 * tolerance - slack <= above <= tolerance + slack
    return "OK" if ok else "near" if near else "OFF"


def compare(results: Results, dataset: str, tables: Iterable[Table] | None = None) -> list[Comparison]:
    """Our results on a dataset beside every published number that was measured the same way.

    Numbers whose measure, folds or system the suite did not run are not compared: nothing is concluded from a part, nor
    from other data under the dataset's name. Why not says `uncompared`.
    """
    return [each for each in _beside(results, dataset, tables) if isinstance(each, Comparison)]


def uncompared(results: Results, dataset: str, tables: Iterable[Table] | None = None) -> list[dict[str, str]]:
    """Published numbers of a dataset that `compare` leaves out: rows of table and reason, equal reasons once."""
    found = [each for each in _beside(results, dataset, tables) if isinstance(each, _Not)]
    rows: dict[tuple[str, str], list[str]] = {}
    for each in found:
        rows.setdefault((each.table.title, each.why), []).append(each.measure)
    return [
        {"table": title, "reason": f"{', '.join(dict.fromkeys(measures))}: {why}" if any(measures) else why}
        for (title, why), measures in rows.items()
    ]


@dataclass(frozen=True)
class _Not:
    """A published number, or a whole table, that nothing of ours stands beside."""

    table: Table
    why: str
    measure: str = ""


def _beside(results: Results, dataset: str, tables: Iterable[Table] | None) -> Iterator[Comparison | _Not]:
    for table in load_expected() if tables is None else tables:
        if dataset_slug(table.dataset) != dataset_slug(dataset):
            continue
        other = _other_data(results, dataset, table)
        if other:
            yield _Not(table, other)
            continue
        best = "" if table.kind == "reproduce" else _best_on_validation(results, dataset)
        pairs = [(row, row.ours) for row in table.rows if row.ours] if table.kind == "reproduce" else [(None, best)]
        if not pairs:
            yield _Not(table, "no system of ours is the same as one of these yet")
        elif not any(system for _, system in pairs):
            yield _Not(table, "no system finished every fold")
        for measure in table.measures:
            for row, system in pairs:
                published = table.column(measure)
                by = row.system if row else max(published, key=published.__getitem__, default="")
                if not system or by not in published:
                    continue
                ours = _mean(results, dataset, system, table, measure)
                if isinstance(ours, str):
                    yield _Not(table, ours, "" if ours.startswith("system") else measure)
                else:
                    yield _comparison(table, row, measure, system, ours, by, published[by])


def _other_data(results: Results, dataset: str, table: Table) -> str:
    """Why these are not the data of the table: the test queries do not number as the card says, if it does."""
    splits = load_card(table.dataset).splits
    runs = results.runs[(results.runs.dataset == dataset) & (results.runs.status == "done")]
    for fold, queries in runs.groupby("fold", observed=True)["test_queries"].max().items():
        known = splits.get(f"{fold}/test")
        if known is not None and known.queries is not None and known.queries != queries:
            return f"other data under this name: {queries:.0f} test queries in {fold}, the dataset has {known.queries}"
    return ""


def _comparison(table: Table, row: Row | None, measure, system, ours, by, published) -> Comparison:
    said = verdict(table.kind, ours, published, table.tolerance)
    reason = (row.reason if row else "") or table.reason
    if said == "OFF" and not reason:
        reason = "no reason recorded yet in expected.toml"
    elif said != "OFF":
        reason = {"reproduce": "", "baseline": "", "bound": "theirs was chosen on test"}[table.kind]
    return Comparison(table, measure, system, ours, by, published, said, reason)


def _mean(results: Results, dataset: str, system: str, table: Table, measure: str) -> float | str:
    """Mean over folds of the mean over seeds; why there is none where a fold of the table was not run."""
    v = results.values
    v = v[(v.dataset == dataset) & (v.split == table.split)]
    if measure not in set(v.measure):
        return "not a measure of this suite"
    v = v[v.system == system]
    if not len(v):
        return f"system {system!r} was not run here"
    by_fold = v[v.measure == measure].groupby("fold", observed=True)["mean"].mean()
    folds = _all_folds(table) if table.folds == ("all",) else table.folds
    missing = [fold for fold in folds if fold not in by_fold.index or math.isnan(by_fold[fold])]
    if missing or not folds:
        return f"system {system!r} has no numbers for {', '.join(missing) or 'any fold'}"
    return float(by_fold[list(folds)].mean())


def _all_folds(table: Table) -> Sequence[str]:
    # What the dataset has, not what the suite ran: a mean over two of five folds is not the published statistic.
    return [fold.name for fold in load_card(table.dataset).folds]


def _best_on_validation(results: Results, dataset: str) -> str:
    """Our system with the best mean of the headline on validation, baselines aside; "" for none.

    Chosen on validation because the best of thirty on test would be biased upward by the choice.
    """
    competitors = {variant.label for variant in results.suite.variants() if not variant.baseline}
    v = results.values
    v = v[(v.dataset == dataset) & (v.split == "vali") & (v.measure == results.suite.headline)]
    by_fold = v[v.system.isin(competitors)].groupby(["system", "fold"], observed=True)["mean"].mean().unstack("fold")
    by_fold = by_fold.dropna()  # who did not finish every fold does not compete
    return "" if by_fold.empty else str(by_fold.mean(axis=1).idxmax())


def verdict_rows(results: Results, dataset: str) -> list[dict[str, str]]:
    """The comparisons as the report prints them: measure, ours, system, published, by, verdict, reason."""
    return [
        {
            "measure": c.measure if c.table.split == "test" else f"{c.measure} ({c.table.split})",
            "ours": f"{c.ours:.4f}",
            "system": c.system,
            "published": f"{c.published:.4f} [{c.table.certainty_of(c.measure)}]",
            "by": f"{c.by}, {c.table.title}",
            "verdict": c.verdict,
            "reason": c.reason,
        }
        for c in compare(results, dataset)
    ]
