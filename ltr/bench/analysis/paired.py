"""Two systems on the same queries: how far apart, how surely, and on how many queries which of them is ahead."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import InputError, check_name, say_once
from ltr.metrics import measure as parse
from ltr.metrics.inference import Difference, Errors, errors_of_values
from ltr.runs.record import open_run

from .front_leaderboard import QUANTITIES, front_leaderboard
from .leaderboard import leaderboard, per_query_values
from .results import FrontResults, Results

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

__all__ = ["Paired", "Values", "compare_systems", "compare_values", "values_of_runs", "values_of_table"]

_ALIKE = 1e-6  # values a query are kept as float32


@dataclass(frozen=True)
class Paired:
    """What is known of a beside b.

    Attributes:
        a, b: what they are called.
        dataset, measure: on what, and by what.
        mean_a, mean_b: over the queries both were measured on.
        difference: of a to b.
        queries: how many count; 0 where the quantity is not one of single queries, as a hypervolume.
        ahead, behind: queries on which a's value (seeds averaged) is above, and below, that of b.
    """

    a: str
    b: str
    dataset: str
    measure: str
    mean_a: float
    mean_b: float
    difference: Difference
    queries: int = 0
    ahead: int = 0
    behind: int = 0

    def sentence(self) -> str:
        """What it comes to."""
        d = self.difference
        word = {"above": "is above", "below": "is below"}.get(d.verdict)
        if d.verdict == "equal within the margin":
            return f"{self.a} equals {self.b} within the margin of {d.margin:.4f}."
        if word is None:
            beyond = (
                f" and exceeds the margin of {d.margin:.4f}." if d.margin else "; --margin says what does not matter."
            )
            return f"Cannot tell {self.a} from {self.b}: the interval contains 0{beyond}"
        return f"{self.a} {word} {self.b} by {abs(d.value):.4f}."


def compare_systems(
    results: Results | FrontResults,
    a: str,
    b: str,
    *,
    dataset: str | None = None,
    measure: str | None = None,
    margin: float | None = None,
) -> Paired:
    """Two systems of a suite, by the numbers of its page: the same intervals and margin.

    Args:
        dataset, measure: the suite's first, its headline; methods are compared by normalised hypervolume.
        margin: differences below it do not matter; the page's by default.

    Raises:
        InputError: an unknown label, or a system without all its runs.
    """
    for label in (a, b):
        check_name("system of the results", label, results.systems)
    if isinstance(results, FrontResults):
        return _fronts(results, a, b, dataset, measure, margin)
    board = leaderboard(results, dataset, measure)
    there = list(board.p.index)
    for label in (a, b):
        if board.errors is None or label not in there:
            raise InputError(
                f"{label!r} was not measured on every test query of {board.dataset}, or its values a query by "
                f"{board.measure} were not kept",
                do=f"Whole: {', '.join(there) or 'none'}",
            )
    assert board.errors is not None
    values = per_query_values(results, board.dataset, board.measure, [a, b])
    i, j = there.index(a), there.index(b)
    difference = board.errors.difference(i, j, board.level, board.margin if margin is None else margin)
    return _paired((a, b), board.dataset, board.measure, board.errors, (i, j), difference, values[a] - values[b])


def _fronts(
    results: FrontResults, a: str, b: str, dataset: str | None, measure: str | None, margin: float | None
) -> Paired:
    board = front_leaderboard(results, dataset)
    quantity = measure or "hypervolume"
    difference = board.difference(a, b, quantity)
    if difference is None:
        lost = [s for s in (a, b) if not board.has(s)]
        raise InputError(f"no whole front of {' and '.join(lost)} on {board.dataset}")
    if margin is not None:
        weights = np.array([(s == a) - float(s == b) for s in board.cube.systems])
        difference = board.errors[quantity].contrast(weights, board.level, margin)
    means = board.mean(a, quantity), board.mean(b, quantity)
    return Paired(a, b, board.dataset, QUANTITIES[quantity], *means, difference)


@dataclass(frozen=True, eq=False)
class Values:
    """What one side of a comparison was measured to be.

    Attributes:
        table: a row a seed and a column a (fold, query) that counts.
        measure, objective: by what, and by which label column.
        documents: (fold, query) -> how many were ranked.
        stores: fold -> hash of the data.
        config: of one of the runs; empty for a run file.
    """

    table: pd.DataFrame
    measure: str
    objective: str
    documents: pd.Series
    stores: dict[str, str]
    config: dict[str, Any]


def compare_values(
    names: tuple[str, str], sides: tuple[Values, Values], *, dataset: str, margin: float = 0.0
) -> Paired:
    """Two sides, as `values_of_runs` and `values_of_table` make them, on the folds that both have.

    Raises:
        InputError: other label columns, no fold in common, or other queries or lists in one than in the other.
    """
    if sides[0].objective != sides[1].objective:
        said = " and ".join(f"{name} by {side.objective}" for name, side in zip(names, sides, strict=True))
        raise InputError(f"measured by different labels: {said}", expected="one label column")
    tables = [side.table for side in sides]
    folds = [set(table.columns.get_level_values(0)) for table in tables]
    both = folds[0] & folds[1]
    if not both:
        raise InputError("nothing to compare: no fold in common", expected=sorted(folds[0]), came=sorted(folds[1]))
    if left := sorted(folds[0] ^ folds[1]):
        say_once(f"compared on {', '.join(sorted(both))} only: {', '.join(left)} is not of both")
    a, b = (table.loc[:, table.columns.get_level_values(0).isin(both)].sort_index(axis=1) for table in tables)
    odd = a.columns.symmetric_difference(b.columns)
    what = "other queries: {} are in one only"
    if not len(odd):
        sizes = [side.documents.reindex(a.columns) for side in sides]
        odd, what = a.columns[sizes[0] != sizes[1]], "other lists: {} have more documents in one"
    if len(odd):
        raise InputError(
            f"{names[0]} and {names[1]} were measured on {what.format(len(odd))}, the first is "
            f"{odd[0][1]!r} of {odd[0][0]}",
            do="Were they made from another version of the data?",
        )
    if any(sides[0].stores[fold] != sides[1].stores[fold] for fold in both):
        say_once(
            f"{names[0]} and {names[1]} were made from different versions of {dataset}: queries and lengths of lists "
            f"are the same, whether features and labels are is not known"
        )
    measure = sides[0].measure
    seeds = sorted({*a.index, *b.index})
    errors = errors_of_values([t.reindex(seeds).to_numpy() for t in (a, b)], a.columns.get_level_values(0).to_numpy())
    difference = errors.difference(0, 1, margin=margin)
    return _paired(names, dataset, measure, errors, (0, 1), difference, a.mean() - b.mean())


def _paired(
    names: tuple[str, str],
    dataset: str,
    measure: str,
    errors: Errors,
    at: tuple[int, int],
    difference: Difference,
    gaps: pd.Series,
) -> Paired:
    ahead, behind = int((gaps > _ALIKE).sum()), int((gaps < -_ALIKE).sum())
    a, b = (float(errors.means[i]) for i in at)
    return Paired(*names, dataset, measure, a, b, difference, errors.queries, ahead, behind)


def values_of_runs(folder: Path, measure: str | None = None) -> Values:
    """Values of the test queries of a run, or of all the runs below a folder (its folds and seeds).

    Args:
        measure: the one that chose its epoch by default, else the first that was reported.

    Raises:
        InputError: no finished run, a measure it did not report, a run of a method, one (fold, seed) twice, or runs of
            several systems.
    """
    import pandas as pd

    from ltr.runs.per_query import read_per_query

    found = [folder] if (folder / "record.json").is_file() else sorted(p.parent for p in folder.rglob("record.json"))
    if not found:
        raise InputError("no run", file=folder, expected="a run folder, a folder of runs, or a run file")
    parts: dict[tuple[str, int], pd.Series] = {}
    systems: dict[str, dict] = {}
    sizes: dict[str, pd.Series] = {}
    stores: dict[str, str] = {}
    config: dict = {}
    objective = ""
    for each in found:
        record = open_run(each, "per_query/test.parquet")
        config = record.config
        if "method" in config:
            raise InputError(
                "a run of a method has a ranking a preference", file=each, do="Compare its suite: --results FOLDER"
            )
        measure = repr(parse(measure or record.selection.get("measure") or record.measures[0]["measure"]))
        record.mean(measure)  # says which are there
        key = (str(record.data["fold"]), int(config.get("seed", 0)))
        if key in parts:
            raise InputError(f"two runs of {key[0]} with seed {key[1]}", file=folder, do="Name one system's folder")
        objective = record.measures[0]["objective"]
        # Folds may have been tuned each by itself: of one system are runs that differ in seed, and there in parameters.
        system = {name: value for name, value in config.items() if name not in ("seed", "repetition")}
        if systems.setdefault(key[0], system) != system or _who(next(iter(systems.values()))) != _who(system):
            raise InputError("runs of several systems", file=folder, came=each.name, do="Name one system's folder")
        table = read_per_query(each / "per_query" / "test.parquet")
        parts[key] = _series(table, measure, objective)
        sizes[key[0]], stores[key[0]] = _series(table, "documents", objective), str(record.hashes.get("store"))
    wide = {s: pd.concat({f: v for (f, t), v in parts.items() if t == s}) for s in sorted({s for _, s in parts})}
    assert measure is not None
    return Values(_wide(wide), measure, objective, pd.concat(sizes), stores, config)


def _who(config: dict[str, Any]) -> list[Any]:
    """What is the same in all runs of a system, whatever was tuned."""
    names = [(config.get(part) or {}).get("name") for part in ("data", "ranker", "loss")]
    return [*names, *(config["data"].get(key) for key in ("objective", "labelled"))]


def values_of_table(table: pa.Table, measure: str, fold: str, store: str) -> Values:
    """Values of one ranking, from `ltr.runs.per_query.per_query`, as `values_of_runs` gives them."""
    import pandas as pd

    objective = table["objective"][0].as_py()
    values, sizes = (pd.concat({fold: _series(table, name, objective)}) for name in (measure, "documents"))
    return Values(_wide({0: values}), measure, objective, sizes, {fold: store}, {})


def _series(table: pa.Table, column: str, objective: str) -> pd.Series:
    frame = table.select(["query", "objective", column]).to_pandas()
    return frame[frame.objective == objective].set_index("query")[column].dropna()


def _wide(series: dict[int, pd.Series]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(series).T.sort_index(axis=1)
