"""The report of a suite: Markdown with pictures, and one HTML page that needs nothing but itself.

Both are written from the tidy files alone (see `results`), say nothing that is not in them, and come out byte for byte
the same when they are written again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr import __version__
from ltr.atomic import write_text
from ltr.bench.analysis.leaderboard import Leaderboard, Rule, leaderboard, short_names
from ltr.bench.analysis.outside import outside_systems
from ltr.bench.analysis.published import uncompared, verdict_rows
from ltr.bench.analysis.results import FrontResults, Results, load_any
from ltr.bench.analysis.results_io import place_of, rows_of
from ltr.bench.analysis.samples import FILE, Sample, collect, read_samples, write_samples
from ltr.bench.object_store import ObjectStore, is_url, working_folder
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.text import count, plain
from ltr.errors import InputError

from .explorer import drill, pack
from .facts import how_tuned, scale_of
from .pictures import pictures
from .report_fronts import front_section, print_section

if TYPE_CHECKING:
    from rich.console import Console

    from ltr.bench.suite.suite import Suite

__all__ = ["page_context", "report", "section_of", "write_page"]

_NAMED = 5  # folders of runs that a page cannot show; more are counted


def report(
    folder: Path | str,
    to: Path | str | None = None,
    *,
    rule: Rule = "queries",
    draws: int | None = None,
    console: Console | None = None,
) -> Path | str:
    """Writes report.md, its pictures and report.html, one page that needs nothing but itself; returns report.md's path.

    Args:
        folder: a suite's folder or a folder of tidy results; or the URL of a suite, where the pages go too by default.
        to: where the pages and a copy of the tidy files go; beside the tidy files by default.
        rule: "queries" or "folds"; see `ltr.bench.analysis.leaderboard`.
        draws: of the bootstrap of hypervolumes, 1,000 by default; means need none.
        console: prints the leaderboards on it.

    Raises:
        InputError: no results in `folder`.
    """
    if draws is not None and draws < 1:
        raise InputError("draws of a bootstrap", expected="1 or more", came=draws)
    with working_folder(folder) as here:
        if not is_url(folder):
            return _report(here, to, rule, draws, console)
        store = ObjectStore(str(folder))
        store.get(store.list("report"), here)
        page = _report(here, to, rule, draws, console)
        if to is not None:
            return page
        for path in sorted((here / "report").iterdir()):
            store.put(path, f"report/{path.name}")
        return f"{store.url}/report/{page.name}"


def _report(folder: Path, to: Path | str | None, rule: Rule, draws: int | None, console: Console | None) -> Path:
    folder = place_of(folder)
    results = load_any(folder)
    to = results.save(to) if to is not None and Path(to).resolve() != folder.resolve() else folder
    if isinstance(results, FrontResults):
        samples = {d: _samples(results, folder, d) for d in results.suite.datasets}
        if any(samples.values()):
            write_samples(samples, Path(to) / FILE)
        sections = [
            front_section(
                results,
                d,
                samples[d],
                to=to,
                draws=1000 if draws is None else draws,
                tuning=tuning_rows(results.chosen, d),
            )
            for d in results.suite.datasets
        ]
        if console is not None:
            for section in sections:
                print_section(section, console)
    else:
        boards = [leaderboard(results, dataset, rule=rule) for dataset in results.suite.datasets]
        if console is not None:
            for board in boards:
                console.print(board.to_rich(console.width))
                console.print(board.caption(), style="dim")
        sections = [section_of(results, board, Path(to)) for board in boards]
    context = page_context(results, sections)
    write_page(Path(to) / "report.html", "report.html.j2", context)
    return write_page(Path(to) / "report.md", "report.md.j2", context)


def _samples(results: FrontResults, folder: Path, dataset: str) -> list[Sample]:
    """Sample queries with their best documents, of the run folders or as an earlier report kept them."""
    try:
        found = collect(results, folder.parent, dataset)
    except InputError:  # the data is elsewhere now: a page without documents is a page
        found = []
    return found or read_samples(folder / FILE, dataset)


def write_page(path: Path, template: str, context: dict[str, Any]) -> Path:
    """Fills a template of `templates/` in and puts it at `path`, whole or not at all."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=".html" in template,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["plain"] = plain
    write_text(path, environment.get_template(template).render(context), durable=False)
    return path


def _draw(results: Results, board: Leaderboard, to: Path) -> list[dict[str, str]]:
    drawn = pictures(results, board, dataset_slug(board.dataset))
    return [{"title": p.title, "text": p.text, "file": p.save_png(to).name, "svg": p.svg()} for p in drawn]


def page_context(results: Results | FrontResults, sections: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Everything the templates say, as text: they hold no arithmetic."""
    suite = results.suite
    done = int((results.runs.status == "done").sum())
    planned = int((results.runs.status != "truth").sum())
    return {
        "title": suite.title,
        "home": "",
        "description": suite.description.strip(),
        "command": results.environment.get("command", f"ltr bench run {suite.name}"),
        "summary": _summary(results, done, planned),
        "sections": sections,
        "failures": [
            {
                **{k: str(getattr(r, k)) for k in ("dataset", "system", "fold", "seed", "status")},
                "reason": str(r.reason),
            }
            for r in rows_of(results.runs[~results.runs.status.isin(("done", "truth"))])
        ],
        "environment": _environment(results.environment),
        "version": __version__,
        "select": suite.select,
        "tuning": how_tuned(results.chosen.get("budget")),
    }


def _summary(results: Results | FrontResults, done: int, planned: int) -> list[str]:
    suite = results.suite
    counts = {str(d): part.fold.nunique() for d, part in results.runs.groupby("dataset", sort=False)}
    folds = ", ".join(f"{d}: {count(n, 'fold')}" for d, n in counts.items())
    seeds = ", ".join(map(str, suite.seeds))
    lines = [
        f"{len(suite.variants())} systems; {folds}; seeds {seeds}; {done} of {planned} runs finished.",
        f"{_chosen_by(suite)} on validation; test queries are only reported.",
    ]
    lines.append(f"Tuning: {how_tuned(results.chosen.get('budget'))}.")
    if isinstance(results, Results) and (added := outside_systems(results)):
        lines.append(f"From outside the suite, measured here from their scores: {', '.join(added)}.")
    others = results.environment.get("not_shown", [])
    if others:
        named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
        lines.append(
            f"Not on this page, because they belong to no system of the suite: {count(len(others), 'run')} in {named}."
        )
    return lines


def _chosen_by(suite: Suite) -> str:
    """What chose: a method's epochs are not chosen by what its hyperparameters are."""
    if not suite.of_methods:
        return f"Epochs and hyperparameters are chosen by {suite.select}"
    return (
        "Epochs are chosen by the weighted sum of the objectives' measures at the preferences of a training, "
        "hyperparameters by the hypervolume of all points"
    )


def section_of(results: Results, board: Leaderboard, to: Path) -> dict[str, Any]:
    """What the templates say about one dataset of a suite of rankers; writes its pictures into `to`."""
    short, legend = short_names(list(board.all_measures.columns))
    ranked = board.table[~board.table.baseline & ~board.table.best_possible]
    at = scale_of((ranked if len(ranked) else board.table)[["mean", "low", "high"]].to_numpy(float))
    compared = drill(results, board)
    rows: list[dict[str, Any]] = []
    for text, facts in zip(board.rows(), rows_of(board.table), strict=True):
        bar = {"mean": at(facts.mean), "low": at(facts.low), "high": at(facts.high)}
        faint = bool(facts.baseline or facts.best_possible)
        rows.append({"text": text, "bar": bar, "faint": faint, "baseline": bool(facts.baseline), "free": False})
    return {
        "dataset": board.dataset,
        "id": dataset_slug(board.dataset),
        "of": [board.measure],
        "ranked_by": "mean",
        "bar": {"after": "mean", "head": "mean and interval"},
        "heads": {},
        "caption": board.caption(),
        "columns": [c for c in (rows[0]["text"] if rows else {}) if any(r["text"][c] for r in rows)],
        "first": ("#", "system", "mean", "interval", "group", "fit s", "docs/s", "state", "note"),
        "rows": rows,
        "markdown": board.to_markdown(),
        "measures_markdown": board.measures_markdown(),
        "measures_title": "All measures",
        "measures": {
            "heads": [(m, short[m]) for m in board.all_measures.columns],
            "rows": [
                (s, [f"{v:.4f}" if np.isfinite(v) else "" for v in values])
                for s, values in board.all_measures.iterrows()
            ],
            "legend": legend,
        },
        "verdicts": verdict_rows(results, board.dataset),
        "uncompared": uncompared(results, board.dataset),
        "tuning": tuning_rows(results.chosen, board.dataset),
        "pictures": _draw(results, board, to),
        "explorer": False,
        "payload": "" if compared is None else pack(compared),
    }


def tuning_rows(chosen: dict[str, Any], dataset: str) -> list[dict[str, str]]:
    """A row a system: what was chosen (how often, where folds chose), the mean validation value of best and worst."""
    rows = []
    for system, scopes in chosen.get("systems", {}).get(dataset, {}).items():
        entries = list(scopes.values())
        values = [[c["vali"] for c in e["candidates"] if "vali" in c] for e in entries]
        finished = [v for v in values if v]
        reasons = (c["reason"] for e in entries for c in e["candidates"] if c.get("reason"))
        row = {"system": system, "tried": str(max(len(e["candidates"]) for e in entries))}
        row["chosen"] = _choices([e["chosen"] for e in entries])
        row["validation"] = f"{np.mean([max(v) for v in finished]):.4f}" if finished else ""
        row["worst"] = f"{np.mean([min(v) for v in finished]):.4f}" if finished else ""
        row["note"] = next(reasons, "")
        rows.append(row)
    return rows


def _choices(chosen: list[dict[str, Any]]) -> str:
    """`learning_rate = 0.1 (3), 0.2 (2)`; counts only where several folds chose."""
    parts = []
    for key in dict.fromkeys(k for c in chosen for k in c):
        counts = Counter(str(c[key]) for c in chosen if key in c)
        shown = [value if len(chosen) == 1 else f"{value} ({n})" for value, n in counts.most_common()]
        parts.append(f"{key} = {', '.join(shown)}")
    return "; ".join(parts) or "as written"


def _environment(environment: dict[str, Any]) -> list[tuple[str, str]]:
    """Key and text, nested tables on one line."""
    rows = []
    for key, value in environment.items():
        if key in ("command", "not_shown") or value in (None, ""):
            continue
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
        rows.append((key.replace("_", " ").replace("gib", "GiB"), text))
    return rows
