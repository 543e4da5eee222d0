"""The section of a report that shows one dataset of a suite of methods: its table, the explorer, the drill-down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.bench.analysis.front_cube import main_head, main_of, points_of_all
from ltr.bench.analysis.front_leaderboard import front_leaderboard
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.text import count, markdown_table, number, plain, terminal_table
from ltr.errors import InputError
from ltr.fronts import chosen
from ltr.fronts.hypervolume import hypervolume

from .explorer import front, pack
from .facts import scale_of
from .front_pictures import Drawn, cost_picture, fronts_picture, looks, of_board, payoff_picture, title_of
from .pairs_picture import pairs_picture

if TYPE_CHECKING:
    from rich.console import Console

    from ltr.bench.analysis.results import FrontResults
    from ltr.bench.analysis.samples import Sample

__all__ = ["front_section", "print_section", "text_rows"]

_REFERENCE = "of its reference ranker"
_LEFT = ("system", "method", "note")
# Shown before a reader asks for more; whoever reads six columns has read what the table says.
FIRST = ("#", "system", "hypervolume", "interval", "verdict", "fit s", "note")


def front_section(
    results: FrontResults,
    dataset: str,
    samples: Sequence[Sample] = (),
    *,
    to: Path | str,
    draws: int = 1000,
    tuning: Sequence[dict] = (),
) -> dict[str, Any]:
    """What the templates say about one dataset; tables as text, tools as packed payloads. Writes its pictures.

    Args:
        samples: queries whose best documents are shown.
        to: folder of the pictures.
        draws: of the paired bootstrap.
        tuning: rows of its table.
    """
    rows, against, caption, drawn, points = _rows(results, dataset, draws)
    names = [row["text"]["system"] for row in rows]
    data = front(results, dataset, systems=names, samples=samples, points=points, baseline=against)
    text = [row["text"] for row in rows]
    measures = _per_objective(data) if data else None
    return {
        "dataset": dataset,
        "id": dataset_slug(dataset),
        "of": _of(data) if data else [],
        "caption": caption,
        "ranked_by": "hypervolume",
        "bar": {"after": f"difference to {against}", "head": "difference and interval"},
        "heads": {f"difference to {against}": "difference in hypervolume to the suite's baseline"},
        "columns": [c for c in (text[0] if text else {}) if any(r[c] for r in text)],
        "first": (*FIRST, f"difference to {against}") if against else (*FIRST, "seed sd", "front"),
        "rows": rows,
        "markdown": f"{markdown_table(text, left=_LEFT)}\n\n{plain(caption)}\n",
        "measures": measures,
        "measures_markdown": _objectives_markdown(measures) if measures else "",
        "measures_title": "Best of each objective",
        "verdicts": [],
        "uncompared": [],
        "tuning": tuning,
        "pictures": _pictures(
            drawn, dataset_slug(dataset), looks([v.label for v in results.suite.variants()]), Path(to)
        ),
        "explorer": bool(data),
        "payload": pack(data) if data else "",
    }


def _pictures(drawn: Drawn, name: str, numbers: Mapping[str, int], to: Path) -> list[dict[str, str]]:
    """Of fronts, cost and who differs; a system's colour and marker are those it has in the explorer."""
    found = [
        fronts_picture(drawn, f"fronts-{name}", (), numbers),
        payoff_picture(drawn, f"payoff-{name}"),
        cost_picture(drawn, f"cost-{name}", (), numbers),
        None if drawn.p is None else pairs_picture(drawn.p, drawn.label, drawn.title, f"pairs-{name}"),
    ]
    return [
        {"title": p.title, "text": p.text, "file": p.save_png(to).name, "svg": p.svg()} for p in found if p is not None
    ]


def print_section(section: dict[str, Any], console: Console) -> None:
    """The table on a terminal, with the columns there is room for."""
    rows = [row["text"] for row in section["rows"]]
    needed = ("#", "system", "hypervolume")
    console.print(terminal_table(section["dataset"], rows, section["columns"], needed, console.width, left=_LEFT))
    console.print(section["caption"], style="dim")


def _of(data: dict[str, Any]) -> list[str]:
    """What is measured: a line a measure, with the objectives that it judges."""
    names: dict[str, list[str]] = {}
    for objective, measure in zip(data["objectives"], data["measures"], strict=True):
        names.setdefault(measure, []).append(objective)
    return [f"{', '.join(objectives)}: {measure}" for measure, objectives in names.items()]


def text_rows(results: FrontResults, dataset: str, draws: int = 1000) -> list[dict[str, str]]:
    """The page's table as text, a row a system."""
    return [row["text"] for row in _rows(results, dataset, draws)[0]]


def _rows(results: FrontResults, dataset: str, draws: int) -> tuple[list[dict[str, Any]], str, str, Drawn, Any]:
    """Rows of the table, whom it compares all with, its caption, what pictures show of it, and the task's points."""
    try:
        board = front_leaderboard(results, dataset, draws=draws)
    except InputError:  # no reference points of this task, or a system without a whole front
        return _plain_rows(results, dataset)
    table = board.table
    span = table[table.asks != "none"][["difference", "low", "high"]].to_numpy(float)
    at = scale_of(np.append(span, 0.0))  # the little pictures show where no difference is
    rows, place = [], 0
    for row in rows_of(table):
        place += bool(np.isfinite(row.normalised))
        gap = row.system != board.baseline and np.isfinite(row.difference)
        text = {
            "#": str(place) if np.isfinite(row.normalised) else "",
            "system": row.system,
            "method": row.method,
            "hypervolume": number(row.normalised, 4),
            f"difference to {board.baseline}": f"{row.difference:+.4f}" if gap else "",
            "interval": f"{row.low:+.4f} to {row.high:+.4f}" if gap else "",
            "verdict": row.verdict,
            "seed sd": number(row.seed_sd, 4),
            "HV at 0": number(row.zero, 4),
            "HV at nadir": number(row.nadir, 4),
            "IGD+": number(row.igd, 4),
            "epsilon": number(row.epsilon, 4),
            "front": number(row.front, 1),
            "beyond the reference point": number(row.beyond, 1),
            "preference correlation": number(row.spearman, 2),
            board.main or "first objective": number(row.main, 4),
            **({_REFERENCE: number(row.reference, 4)} if board.main else {}),
            **_cost(row),
        }
        bar = {name: at(getattr(row, name)) if gap else None for name in ("low", "high")}
        bar |= {"mean": at(row.difference) if gap else None, "nought": at(0.0)}
        free = row.asks == "none"
        rows.append({"text": text, "bar": bar, "faint": free, "baseline": row.system == board.baseline, "free": free})
    baseline = f" The baseline is {board.baseline}." if board.baseline else ""
    nets = board.errors["hypervolume"].scope == "nets"
    over = "over other queries for these nets" if nets else "over other queries and other trainings"
    caption = (
        f"Normalised hypervolume, reference point -1/{board.partition}, of the points that are not dominated on "
        f"validation; {board.queries} test queries, {count(len(board.cube.seeds), 'seed')}.{baseline} Interval: "
        f"{board.level:.0%} of the difference, {over}, {draws:,} draws; verdicts are corrected by Holm over the "
        f"systems, the margin of equality is {board.margins['hypervolume']:.4f}."
    )
    drawn = of_board(board, title_of(dataset, len(board.objectives)))
    return rows, board.baseline, caption, drawn, board.points


def _plain_rows(results: FrontResults, dataset: str) -> tuple[list[dict[str, Any]], str, str, Drawn, Any]:
    """A task without committed ideal and nadir points: hypervolumes at 0, no normalised numbers."""
    points, first = _whole_fronts(results, dataset)
    volumes = {s: np.array([hypervolume(seed, 0.0) for seed in seeds]) for s, seeds in points.items()}
    ranked = sorted(points, key=lambda s: -volumes[s].mean())
    every = results.runs[results.runs.dataset == dataset]
    rows, operations, head = [], {}, main_head(results, dataset) or "first objective"
    own = [_REFERENCE] if results.suite.main else []
    for system in [*ranked, *(s for s in dict.fromkeys(every.system) if s not in points)]:
        runs = every[every.system == system]
        done = runs[runs.status == "done"]
        kept = ("models_trained", "fit_seconds", "seconds_a_point")
        costs = {name: done[name].mean() if name in done else np.nan for name in kept}
        operations[system] = done.operations.mean() if "operations" in done else np.nan
        note = next((str(r) for r in runs[runs.status != "done"].reason if r), "")
        cost = _cost(SimpleNamespace(**costs, done=len(done), planned=len(runs), note=note))
        text = dict.fromkeys(("#", "system", "hypervolume", "seed sd", "front", head, *own), "") | cost
        text["system"] = system
        if system in points:
            sd = volumes[system].std(ddof=1) if len(volumes[system]) > 1 else np.nan
            text["#"] = str(ranked.index(system) + 1)
            text["hypervolume"], text["seed sd"] = number(float(volumes[system].mean()), 4), number(sd, 4)
            text["front"] = number(float(np.mean([len(np.unique(seed, axis=0)) for seed in points[system]])), 1)
            text[head] = number(float(np.mean(first[system])), 4)
            text |= {name: number(done.reference.mean(), 4) for name in own}
        rows.append({"text": text, "bar": {"mean": None}, "faint": False, "baseline": False, "free": False})
    caption = (
        "Hypervolume at reference point 0 of the points that are not dominated on validation, measured on test; mean "
        "over seeds. Ideal and nadir of this task are not known here, so nothing is normalised."
    )
    table = results.fronts[results.fronts.dataset == dataset].drop_duplicates("objective").set_index("objective")
    measures = [str(table.measure[o]) for o in results.suite.objectives] if len(table) else []
    drawn = Drawn(
        title_of(dataset, len(measures)),
        results.suite.objectives,
        measures,
        {s: points[s] for s in ranked},
        volumes,
        operations,
        "hypervolume above 0",
        max((len(v) for v in volumes.values()), default=0),
    )
    return rows, "", caption, drawn, None


def _whole_fronts(results: FrontResults, dataset: str) -> tuple[dict[str, list[np.ndarray]], dict[str, list[float]]]:
    """Chosen test points of each system's seeds, and its first objective where the preference asks for nothing else:
    or the mean over preferences of a main label that is kept apart.

    As on the leaderboard: a seed whose folds are not all there is skipped, its queries would be others'.
    """
    data, main = points_of_all(results, dataset), main_of(results, dataset)
    points: dict[str, list[np.ndarray]] = {}
    first: dict[str, list[float]] = {}
    there = data.complete & np.isfinite(data.vali).all((2, 3)) & np.isfinite(data.test).all((2, 3))
    for s, e in np.argwhere(there):
        points.setdefault(data.systems[s], []).append(data.test[s, e][chosen(data.vali[s, e])])
        first.setdefault(data.systems[s], []).append(main[s, e].mean() if results.suite.main else data.test[s, e, 0, 0])
    return points, first


def _cost(row) -> dict[str, str]:
    return {
        "models": number(row.models_trained, 0),
        "fit s": number(row.fit_seconds, 1),
        "s/point": number(row.seconds_a_point, 2),
        "runs": f"{row.done}/{row.planned}" if row.planned else "",
        "note": row.note,
    }


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
