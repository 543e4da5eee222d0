"""The section of a report that shows one dataset of a suite of methods: its table, the explorer, the drill-down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import InputError

from .explorer import front, pack
from .leaderboard import markdown_table, number
from .plan import dataset_slug

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from .results import FrontResults
    from .samples import Sample

__all__ = ["HEADS", "front_section"]

# What a head means; the table's columns stay short.
HEADS = {
    "hypervolume": "of the points chosen on validation, measured on test; mean over seeds",
    "HV at 0": "the same with reference point 0",
    "HV at nadir": "the same with the task's nadir as reference point",
    "less yardstick": "difference in hypervolume to the yardstick of the suite",
    "IGD+": "how far the best points of all systems lie from its own, normalised; less is better",
    "epsilon": "by how much the best points of all systems beat its own at most, normalised; less is better",
    "front": "points chosen on validation, mean over seeds",
    "outside": "of those, how many lie below the nadir in an objective",
    "control": "rank correlation of a preference's weight with the measure it asks for, mean over objectives",
    "first objective": "the first objective's measure where the preference asks for nothing else",
    "models": "trained for the whole front, mean over runs",
    "fit s": "seconds of training, mean over runs",
    "s/point": "seconds of training, a point of the front",
}
_LEFT = ("system", "method", "note")


def front_section(
    results: FrontResults,
    dataset: str,
    samples: Sequence[Sample] = (),
    *,
    draws: int = 1000,
    tuning: Sequence[dict] = (),
) -> dict[str, Any]:
    """What the templates say about one dataset; tables as text, tools as packed payloads.

    Args:
        samples: queries whose best documents are shown.
        draws: of the paired bootstrap.
        tuning: rows of its table.
    """
    rows, ranked, caption = _rows(results, dataset, draws)
    data = front(results, dataset, systems=[row["text"]["system"] for row in rows], samples=samples)
    text = [row["text"] for row in rows]
    measures = _per_objective(data) if data else None
    return {
        "dataset": dataset,
        "id": dataset_slug(dataset),
        "of": [f"{o}: {m}" for o, m in zip(data["objectives"], data["measures"], strict=True)] if data else [],
        "caption": caption,
        "ranked_by": ranked,
        "bar": {"after": "less yardstick", "head": "difference and interval"},
        "columns": [c for c in (text[0] if text else {}) if any(r[c] for r in text)],
        "rows": rows,
        "markdown": f"{markdown_table(text, left=_LEFT)}\n\n{caption}\n",
        "measures": measures,
        "measures_markdown": _objectives_markdown(measures) if measures else "",
        "measures_title": "Best of each objective",
        "verdicts": [],
        "tuning": tuning,
        "pictures": [],
        "explorer": bool(data),
        "explorer_text": (
            "Every point is one preference, scored on all test queries, seeds averaged. Filled points are not "
            "dominated on validation within their system. The sliders move in steps of the lattice; a click on a point "
            "chooses it."
        ),
        "payload": pack(data) if data else "",
        "drill_text": "Two systems at the preference chosen above, each query's value averaged over seeds.",
    }


def print_section(section: dict[str, Any], console: Console) -> None:
    """The table on a terminal, with the columns there is room for."""
    from rich import box
    from rich.table import Table

    table = Table(title=section["dataset"], box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    taken, columns = 0, []
    for column in section["columns"]:
        width = max(len(column), *(min(30, len(row["text"][column])) for row in section["rows"])) + 3
        if column in ("#", "system", "hypervolume") or taken + width <= console.width:
            taken, columns = taken + width, [*columns, column]
    for column in columns:
        table.add_column(column, justify="left" if column in _LEFT else "right", no_wrap=column != "note")
    for row in section["rows"]:
        table.add_row(*(row["text"][c] for c in columns))
    console.print(table)
    console.print(section["caption"], style="dim")


def _rows(results: FrontResults, dataset: str, draws: int) -> tuple[list[dict[str, Any]], str, str]:
    """Rows of the table, the column it is ranked by, its caption."""
    from .frontboard import frontboard

    try:
        board = frontboard(results, dataset, draws=draws)
    except InputError:  # no reference points of this task, or a system without a whole front
        return _plain_rows(results, dataset)
    table = board.table
    span = table[["difference", "low", "high"]].to_numpy(float)
    finite = span[np.isfinite(span)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)

    def at(value: float) -> float | None:
        return round(100 * (value - low) / max(high - low, 1e-12), 1) if np.isfinite(value) else None

    rows, place = [], 0
    for row in table.itertuples():
        place += bool(np.isfinite(row.normalised))
        gap = row.system != board.yardstick and np.isfinite(row.difference)
        text = {
            "#": str(place) if np.isfinite(row.normalised) else "",
            "system": row.system,
            "method": row.method,
            "hypervolume": number(row.normalised, 4),
            "less yardstick": f"{row.difference:+.4f}" if gap else "",
            "interval": f"{row.low:+.4f} – {row.high:+.4f}" if gap else "",
            "seed sd": number(row.seed_sd, 4),
            "HV at 0": number(row.zero, 4),
            "HV at nadir": number(row.nadir, 4),
            "IGD+": number(row.igd, 4),
            "epsilon": number(row.epsilon, 4),
            "front": number(row.front, 1),
            "outside": number(row.outside, 1),
            "control": number(row.spearman, 2),
            "first objective": number(row.main, 4),
            **_cost(row),
        }
        bar = {name: at(getattr(row, name)) if gap else None for name in ("low", "high")}
        rows.append({"text": text, "bar": {"mean": at(row.difference) if gap else None, **bar}, "faint": False})
    yardstick = f" The yardstick is {board.yardstick}." if board.yardstick else ""
    caption = (
        f"Normalised hypervolume, reference point -1/{board.partition}, of the points that are not dominated on "
        f"validation; {board.queries} test queries, {len(board.cube.seeds)} seeds.{yardstick} Interval: "
        f"{board.level:.0%} paired bootstrap over queries and seeds of the difference, {draws:,} draws."
    )
    return rows, "hypervolume", caption


def _plain_rows(results: FrontResults, dataset: str) -> tuple[list[dict[str, Any]], str, str]:
    """A task without committed ideal and nadir points: hypervolumes at 0, no normalised numbers."""
    from ltr.fronts import hypervolume, nondominated

    values = {}
    for (system, _), part in results.fronts[results.fronts.dataset == dataset].groupby(["system", "seed"], sort=False):
        vali, test = (_matrix(part[part.split == split], results.suite.objectives) for split in ("vali", "test"))
        if not (np.isfinite(vali).all() and np.isfinite(test).all() and len(vali)):
            continue
        chosen = nondominated(vali)
        values.setdefault(system, []).append((hypervolume(test[chosen], 0.0), chosen.sum(), test[0, 0]))
    rows = []
    for system in dict.fromkeys(results.runs[results.runs.dataset == dataset].system):
        runs = results.runs[(results.runs.dataset == dataset) & (results.runs.system == system)]
        done = runs[runs.status == "done"]
        mean = np.mean(values[system], axis=0) if system in values else np.full(3, np.nan)
        spread = np.std([v[0] for v in values[system]], ddof=1) if len(values.get(system, ())) > 1 else np.nan
        costs = {c: done[c].mean() for c in ("models_trained", "fit_seconds", "seconds_a_point") if c in done}
        reasons = [str(r) for r in runs[runs.status != "done"].reason if r]
        text = {
            "#": "", "system": system, "hypervolume": number(mean[0], 4), "seed sd": number(spread, 4),
            "front": number(mean[1], 1), "first objective": number(mean[2], 4),
            **_cost(_Row(**costs, done=len(done), planned=len(runs), note=reasons[0] if reasons else "")),
        }  # fmt: skip
        rows.append({"text": text, "bar": {"mean": None}, "faint": False, "key": -mean[0] if mean[0] == mean[0] else 1})
    rows.sort(key=lambda row: row["key"])
    for place, row in enumerate(rows, start=1):
        row["text"]["#"] = str(place) if row["text"]["hypervolume"] else ""
    caption = (
        "Hypervolume at reference point 0 of the points that are not dominated on validation, measured on test; mean "
        "over seeds. Ideal and nadir of this task are not known here, so nothing is normalised."
    )
    return rows, "hypervolume", caption


class _Row:
    """Costs of a system by name; NaN where they were not recorded."""

    models_trained = fit_seconds = seconds_a_point = float("nan")

    def __init__(self, **values):
        self.__dict__.update(values)


def _cost(row) -> dict[str, str]:
    return {
        "models": number(row.models_trained, 0),
        "fit s": number(row.fit_seconds, 1),
        "s/point": number(row.seconds_a_point, 2),
        "runs": f"{row.done}/{row.planned}" if row.planned else "",
        "note": row.note,
    }


def _matrix(part: pd.DataFrame, objectives: Sequence[str]) -> np.ndarray:
    """`[preference, objective]` over the queries of all folds."""
    part = part[part.queries > 0]
    weighted = (part["mean"] * part.queries).groupby([part.preference, part.objective]).sum()
    counted = part.queries.groupby([part.preference, part.objective]).sum()
    return (weighted / counted).unstack().reindex(columns=list(objectives)).to_numpy(float)


def _per_objective(data: dict[str, Any]) -> dict[str, Any]:
    """A row a system: the best test value of each objective at any preference."""
    rows = []
    for system in data["systems"]:
        points = np.array(system["points"]["test"], float) / data["scale"]
        best = [np.nan if np.isnan(column).all() else np.nanmax(column) for column in points.T]
        rows.append((system["name"], [number(v, 4) for v in best]))
    heads = [(m, o) for m, o in zip(data["measures"], data["objectives"], strict=True)]
    return {"heads": heads, "rows": rows, "legend": ["The largest test mean over all preferences, seeds averaged."]}


def _objectives_markdown(measures: dict[str, Any]) -> str:
    names = [name for _, name in measures["heads"]]
    rows = [{"system": system, **dict(zip(names, values, strict=True))} for system, values in measures["rows"]]
    legend = "".join(f"- {line}\n" for line in measures["legend"])
    return f"{markdown_table(rows, left=('system',))}\n\n{legend}"
