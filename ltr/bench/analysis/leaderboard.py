"""The leaderboard: who is better on the test queries, by how much, how surely, and at what cost.

What the numbers are, for one dataset and one measure:

    mean        rule "queries": over all test queries of all folds (with official folds every query is tested once),
                each query's value averaged over seeds first; queries the measure skips do not count.
                rule "folds": the mean of the folds' means, as the LETOR scripts and most papers report it.
    interval    of the mean, over other queries and other trainings (`ltr.metrics.inference`); where every system was
                trained once, over other queries for these nets
    letters     systems that share a letter do not differ: every pair on the same queries by the same inference,
                Holm-corrected over all pairs
    margin      a fiftieth of the way from a random ranking, or the last system where none was run, to the best one:
                what is less does not matter
    seed sd     standard deviation, over seeds, of the mean
    regret      difference of the best possible ranker's mean to that of the system, where the truth of the task is
                known
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ltr.bench.text import markdown_table, number, terminal_table, thousands
from ltr.errors import InputError, check_name
from ltr.metrics import measure as parse
from ltr.metrics.inference import Difference, Errors, errors_of_values
from ltr.metrics.significance import group_letters, holm

from .oracle import BEST_POSSIBLE
from .results_io import note, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from .results import Results

__all__ = ["Leaderboard", "leaderboard", "per_query_values", "short_names"]

Rule = Literal["queries", "folds"]


@dataclass(frozen=True, eq=False)
class Leaderboard:
    """One dataset's table.

    Attributes:
        dataset, measure, rule: what is ranked by.
        table: a row a system, best first: system, baseline, mean, low, high, letters, train_queries (of a fold, whose
            labels were used; NaN where all used the same), seed_sd, regret, fit_seconds, step_seconds,
            documents_per_second, parameters, peak_memory_bytes, done, planned, note, whole (tested on all
            folds that others were; who was not stands last, without a rank). Costs are means over runs (of memory
            the largest).
        all_measures: a row a system, a column a measure, by the same rule.
        p: Holm-corrected p value of every pair of complete systems.
        queries: test queries; counted: those in the mean; unjudged: those without relevant documents.
        errors: of the means of the complete systems, in the order of `p`; None where values a query were not kept.
        margin: see the module.
        exact: systems that share no letter do differ; with many systems letters are runs of neighbours, see
            `ltr.metrics.group_letters`.
    """

    dataset: str
    measure: str
    rule: Rule
    table: pd.DataFrame
    all_measures: pd.DataFrame
    p: pd.DataFrame
    queries: int
    counted: int
    unjudged: int
    errors: Errors | None = None
    margin: float = 0.0
    level: float = 0.95
    alpha: float = 0.05
    exact: bool = True

    def difference(self, a: str, b: str) -> Difference | None:
        """Of system a to system b over all test queries; None where one of them is not complete."""
        there = list(self.p.index)
        if self.errors is None or a not in there or b not in there:
            return None
        return self.errors.difference(there.index(a), there.index(b), self.level, self.margin)

    @property
    def speaks_of(self) -> str:
        """What intervals and letters speak of."""
        if self.errors is not None and self.errors.scope == "nets":
            return "over other queries, for these nets: each system was trained once"
        return "over other queries and other trainings"

    def caption(self) -> str:
        """What stands in the table, in a sentence or three."""
        over = "over all test queries" if self.rule == "queries" else "over folds of the mean over their queries"
        runs = (
            " There are too many groups for a letter each: letters mark runs of neighbours none of which differ, and "
            "systems that share none need not differ either."
        )
        return (
            f"Mean {over}, seeds averaged first; {self.queries} test queries, {self.unjudged} of them without relevant "
            f"documents, {self.queries - self.counted or 'none'} skipped by the measure. "
            f"Interval: {self.level:.0%}, {self.speaks_of}. Systems that share a letter do not differ significantly "
            f"(the same for differences, Holm over all pairs, alpha = {self.alpha:g})."
        ) + ("" if self.exact else runs)

    def rows(self) -> list[dict[str, str]]:
        """The table as text, one dictionary a row, for every page and terminal alike."""
        left = [] if self.table.regret.notna().any() else ["regret"]
        left += [] if self.table.train_queries.notna().any() else ["labelled"]
        rows = []
        place = 0
        for row in rows_of(self.table):
            ranked = bool(np.isfinite(row.mean)) and row.whole and not row.best_possible
            place += ranked
            text = {
                "#": str(place) if ranked else "",
                "system": row.system,
                "mean": number(row.mean, 4),
                "interval": f"{number(row.low, 4)} – {number(row.high, 4)}" if np.isfinite(row.low) else "",
                "group": row.letters,
                "labelled": thousands(row.train_queries),
                "seed sd": number(row.seed_sd, 4),
                "regret": number(row.regret, 4),
                "fit s": number(row.fit_seconds, 1),
                "docs/s": thousands(row.documents_per_second),
                "parameters": thousands(row.parameters),
                "peak MiB": thousands(row.peak_memory_bytes / 2**20),
                "runs": f"{row.done}/{row.planned}" if row.planned else "",
                "note": row.note if row.whole or not np.isfinite(row.mean) else f"not ranked, folds lack; {row.note}",
            }
            rows.append({k: v for k, v in text.items() if k not in left})
        return rows

    def to_markdown(self) -> str:
        """A Markdown table with its caption."""
        return f"{markdown_table(self.rows(), left=('system', 'note', 'group'))}\n\n{self.caption()}\n"

    def measures_markdown(self) -> str:
        """Every measure, with a legend of the conventions behind the short names."""
        short, legend = short_names(list(self.all_measures.columns))
        rows = [
            {"system": str(s), **{short[str(m)]: number(v, 4) for m, v in values.items()}}
            for s, values in self.all_measures.iterrows()
        ]
        return f"{markdown_table(rows, left=('system',))}\n\n" + "\n".join(f"- {line}" for line in legend) + "\n"

    def to_rich(self, width: int = 80) -> Table:
        """The table for a terminal of `width` columns; what there is no room for is named below it."""
        rows = self.rows()
        for row in rows:  # three digits of an interval say as much as four
            row["interval"] = re.sub(r"(\d\.\d{3})\d", r"\1", row["interval"]).replace(" ", "")
        order = (*_NEEDED, "regret", "fit s", *_WIDE)
        faint = [facts.baseline or facts.best_possible for facts in rows_of(self.table)]
        title = f"{self.dataset}: {self.measure}"
        return terminal_table(title, rows, order, _NEEDED, width, left=("system", "group", "note"), faint=faint)


_MOST_LETTERS = 26  # more cannot be read

# Columns of the terminal's table: these always, those where it is wide.
_NEEDED = ("#", "system", "mean", "interval", "group", "note")
_WIDE = ("parameters", "seed sd", "docs/s", "peak MiB", "runs")


def leaderboard(
    results: Results,
    dataset: str | None = None,
    measure: str | None = None,
    *,
    systems: Sequence[str] | None = None,
    rule: Rule = "queries",
    level: float = 0.95,
    alpha: float = 0.05,
) -> Leaderboard:
    """The leaderboard of one dataset.

    Args:
        results: from `run_suite` or `load_results`.
        dataset: the suite's first by default.
        measure: what to rank by; the suite's headline by default. Intervals and letters need a measure whose values
            a query were kept (the headline and the suite's `per_query`).
        systems: labels to compare, all by default. Holm's correction is for the pairs of these.
        rule: "queries" or "folds"; see the module. The interval and the tests are over queries either way.
        level: of the interval.
        alpha: family-wise error rate of the letters.

    Raises:
        InputError: an unknown dataset or measure.
    """
    import pandas as pd

    dataset = dataset or results.suite.datasets[0]
    measure = repr(parse(measure)) if measure else results.suite.headline
    check_name("dataset of the results", dataset, results.suite.datasets)
    if rule not in ("queries", "folds"):
        raise InputError("unknown rule for the mean", expected="'queries' or 'folds'", came=rule)
    wanted = list(results.systems if systems is None else systems)
    values = results.values[(results.values.dataset == dataset) & (results.values.split == "test")]
    values = values[values.system.isin(wanted)]
    runs = results.runs[(results.runs.dataset == dataset) & results.runs.system.isin(wanted)]
    known = list(dict.fromkeys(values.measure)) or list(results.suite.measures)
    check_name("measure of the results", measure, known)

    means = _means(values, rule)
    labels = [s for s in results.systems if s in set(runs.system)]
    trained = _trainings(results, dataset, measure, wanted)
    complete = [s for s in labels if _complete(runs[runs.system == s]) and s in trained and s != BEST_POSSIBLE]
    complete = [s for s in complete if trained[s].columns.equals(trained[complete[0]].columns)]
    errors = _errors([trained[s] for s in complete])
    variants = {v.label: v for v in results.suite.variants()}
    tested = set(runs[runs.status == "done"].fold)  # by anyone, so far
    some_labels = runs.groupby("fold").train_queries.nunique().max() > 1
    rows = []
    for label in labels:
        mine = runs[runs.system == label]
        done = mine[mine.status == "done"]
        row: dict[str, Any] = {
            "system": label,
            "baseline": label in variants and variants[label].baseline,
            "best_possible": label == BEST_POSSIBLE,
        }
        row["mean"] = means.get((label, measure), np.nan)
        own, at = (errors, complete.index(label)) if label in complete else (_errors([trained.get(label)]), 0)
        row["low"], row["high"] = (np.nan, np.nan) if own is None else own.interval(at, level)
        row["seed_sd"] = _seed_sd(values[(values.system == label) & (values.measure == measure)], rule)
        row["regret"] = means.get((BEST_POSSIBLE, measure), np.nan) - row["mean"]
        row |= {
            "train_queries": done.train_queries.mean() if some_labels else np.nan,
            "fit_seconds": done.fit_seconds.mean(),
            "step_seconds": done.train_step_seconds.mean(),
            "documents_per_second": done.score_documents_per_second.mean(),
            "parameters": done.parameters.mean(),
            "peak_memory_bytes": done.peak_memory_bytes.max(),
            "done": len(done),
            "planned": 0 if row["best_possible"] else len(mine),
            "note": note(mine),
            "whole": row["best_possible"] or set(done.fold) == tested,
        }
        row["regret"] = row["regret"] if row["whole"] else np.nan
        rows.append(row)
    p, letters = _groups(errors, complete, alpha)
    alike = {(a, b): float(p.at[a, b]) >= alpha for a in letters for b in letters}  # type: ignore[arg-type]
    exact = all(bool(set(letters[a]) & set(letters[b])) == same for (a, b), same in alike.items())
    table = pd.DataFrame(rows)
    table["letters"] = [letters.get(s, "") for s in table.system]
    # Who lacks a fold that others have has a mean of other queries, easier ones perhaps: last, without a rank.
    table = table.sort_values(["whole", "mean"], ascending=False, na_position="last", ignore_index=True)
    ordered = [m for m in results.suite.measures if m in known]
    everything = pd.DataFrame(
        {m: [means.get((s, m), np.nan) for s in table.system] for m in ordered}, index=list(table.system)
    )
    counts = runs[runs.status == "done"].drop_duplicates("fold") if len(runs) else runs
    counted = values[values.measure == measure].drop_duplicates("fold").queries.sum()
    return Leaderboard(
        dataset,
        measure,
        rule,
        table,
        everything,
        p,
        int(counts.test_queries.sum()),
        int(counted),
        int(counts.test_blank.sum()),
        errors,
        _margin(means, measure, complete, [s for s in complete if s in variants and variants[s].ranker == "random"]),
        level,
        alpha,
        exact,
    )


def _means(values: pd.DataFrame, rule: Rule) -> dict[tuple[str, str], float]:
    """(system, measure) -> mean. Which queries count depends on labels alone, so the mean over a fold's queries of
    seed-averaged values is the mean over seeds of the fold's means, weighted by the queries that count."""
    folds = (
        values.groupby(["system", "measure", "fold"], sort=False)
        .agg(mean=("mean", "mean"), queries=("queries", "first"))
        .reset_index()
    )
    found = {}
    for (system, name), part in folds.groupby(["system", "measure"], sort=False):
        part = part[part["mean"].notna()]
        weights = part.queries if rule == "queries" else None
        found[str(system), str(name)] = float(np.average(part["mean"], weights=weights)) if len(part) else float("nan")
    return found


def _seed_sd(values: pd.DataFrame, rule: Rule) -> float:
    """Spread of the mean over the seeds that finished every fold."""
    counted = values[values["mean"].notna()]
    weights = counted.queries.to_numpy(float) if rule == "queries" else np.ones(len(counted))
    runs, folds = values.groupby("seed").fold.nunique(), values.fold.nunique()
    sums = (
        counted.assign(weight=weights, weighted=weights * counted["mean"]).groupby("seed")[["weighted", "weight"]].sum()
    )
    means = (sums.weighted / sums.weight).reindex(runs[runs == folds].index)
    return float(np.std(means, ddof=1)) if len(means) > 1 else float("nan")


def per_query_values(
    results: Results, dataset: str, measure: str, systems: Sequence[str] | None = None
) -> dict[str, pd.Series]:
    """System -> seed-averaged value of each (fold, query) that counts; empty where values a query were not kept."""
    table = results.per_query
    if measure not in table.columns:
        return {}
    table = table[table.dataset == dataset]
    if systems is not None:
        table = table[table.system.isin(systems)]
    found = {}
    for label, mine in table.groupby("system", sort=False):
        series = mine.astype({measure: "float64"}).groupby(["fold", "query"], sort=True)[measure].mean().dropna()
        if len(series):
            found[str(label)] = series
    return found


def _trainings(results: Results, dataset: str, measure: str, systems: Sequence[str]) -> dict[str, pd.DataFrame]:
    """System -> values, a row a seed and a column a (fold, query) that counts; NaN where a training is not there."""
    table = results.per_query
    if measure not in table.columns:
        return {}
    table = table[(table.dataset == dataset) & table.system.isin(systems)].astype({measure: "float64"})
    found = {}
    for label, mine in table.groupby("system", sort=False, observed=True):
        wide = mine.pivot_table(index="seed", columns=["fold", "query"], values=measure, observed=True)
        if wide.shape[1]:
            found[str(label)] = wide
    return found


def _errors(systems: Sequence[pd.DataFrame | None]) -> Errors | None:
    """Rows of all systems are the same seeds."""
    tables = [each for each in systems if each is not None]
    if not tables:
        return None
    seeds = sorted({seed for each in tables for seed in each.index})
    values = [each.reindex(seeds).to_numpy() for each in tables]
    return errors_of_values(values, tables[0].columns.get_level_values(0).to_numpy())


def _groups(errors: Errors | None, complete: list[str], alpha: float) -> tuple[pd.DataFrame, dict[str, str]]:
    """Holm-corrected p values and the letters of the systems that were measured on the same queries."""
    import pandas as pd

    if errors is None or len(complete) < 2:
        return pd.DataFrame(np.ones((len(complete),) * 2), index=complete, columns=complete), {}
    adjusted = holm(errors.p())
    letters = group_letters(errors.means, adjusted, alpha=alpha, most=_MOST_LETTERS)
    return pd.DataFrame(adjusted, index=complete, columns=complete), dict(zip(complete, letters, strict=True))


def _margin(means: dict[tuple[str, str], float], measure: str, complete: list[str], random: list[str]) -> float:
    values = [means[s, measure] for s in complete]
    return (max(values) - (means[random[0], measure] if random else min(values))) / 50 if values else 0.0


def _complete(runs: pd.DataFrame) -> bool:
    """Every fold has a finished run, so the system was tested on every query."""
    return set(runs[runs.status == "done"].fold) == set(runs.fold)


_NAME = re.compile(r"(?P<name>\w+)(?:\((?P<convention>.*)\))?(?:@(?P<cut>\d+))?$")


def short_names(measures: list[str]) -> tuple[dict[str, str], list[str]]:
    """Short column heads for measures, and the legend that gives each convention back.

    >>> short, legend = short_names(["nDCG(gain=exp2,empty=skip)@5", "RR(empty=0)"])
    >>> short["RR(empty=0)"], legend[1]
    ('RR [2]', '[2] `RR(empty=0)`')
    """
    conventions: dict[tuple[str, str], list[str]] = {}
    for text in measures:
        match = _NAME.match(text)
        key = (match["name"], match["convention"] or "") if match else (text, "")
        conventions.setdefault(key, []).append(text)
    short, legend = {}, []
    for at, ((name, convention), members) in enumerate(conventions.items(), start=1):
        for text in members:
            match = _NAME.match(text)
            cut = f"@{match['cut']}" if match and match["cut"] else ""
            short[text] = f"{name}{cut} [{at}]"
        legend.append(f"[{at}] `{name}({convention})`" if convention else f"[{at}] `{name}`")
    return short, legend
