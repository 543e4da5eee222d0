"""What pages say of a suite that was run: its command, seeds, training, and how much of it is done."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.atomic import write_text
from ltr.bench.text import count, duration, number, plain, settings, short_measure
from ltr.datasets.cards.card import cards, load_card

if TYPE_CHECKING:
    from ltr.bench.analysis.leaderboard import Leaderboard
    from ltr.bench.analysis.results import FrontResults, Results

__all__ = ["board_rows", "dataset_title", "how_tuned", "put_between", "scale_of", "suite_run", "was_run"]


def put_between(file: Path, mark: str, text: str) -> None:
    """Writes text between `<!-- mark ... -->` and `<!-- /mark -->` of a Markdown file, where it has them."""
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    after = re.sub(
        rf"(<!-- {mark}\b[^\n]*-->\n).*?(<!-- /{mark} -->)", lambda m: f"{m[1]}{text}\n{m[2]}", before, flags=re.S
    )
    if after != before:
        write_text(file, after)


def dataset_title(name: str) -> str:
    """A dataset in words: the title of its card without what stands in brackets.

    >>> dataset_title("mq2008"), dataset_title("synthetic:queries=8000,objectives=2"), dataset_title("my-lists")
    ('MQ2008', 'Synthetic lists, 8,000 queries', 'my-lists')
    """
    kind, _, options = name.partition(":")
    if kind == "synthetic":
        said = dict(part.split("=", 1) for part in options.split(",") if "=" in part)
        queries = said.get("queries", "")
        return f"Synthetic lists, {int(queries):,} queries" if queries.isdigit() else "Synthetic lists"
    return re.sub(r" *\(.*\)", "", load_card(name).title) if name in cards() else name


def scale_of(values: np.ndarray) -> Callable[[float], float | None]:
    """Value -> its place in the span of `values`, per cent, for the little pictures of a table; a value outside, a
    random ranking's say, stands at the end, and NaN has no place.

    >>> at = scale_of(np.array([1.0, 3.0]))
    >>> at(2.0), at(-7.0), at(float("nan"))
    (50.0, 0.0, None)
    """
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 1.0)

    def at(value: float) -> float | None:
        if not np.isfinite(value):
            return None
        return round(min(max(100 * (value - low) / max(high - low, 1e-12), 0.0), 100.0), 1)

    return at


def was_run(results: Results | FrontResults) -> dict[str, Any]:
    """title, description, seeds, training, runs and command of a suite, all of them from its files."""
    suite, environment = results.suite, results.environment
    runs = results.runs[results.runs.status != "truth"]
    said = f"{int((runs.status == 'done').sum())} of {len(runs)} runs finished"
    if environment.get("wall_seconds"):
        pool = f"{count(environment['workers'], 'worker')} of {count(environment['threads'], 'thread')}"
        said += f", {duration(environment['wall_seconds'])} with {pool}"
    return {
        "title": suite.title,
        "description": suite.description,
        "seeds": ", ".join(map(str, suite.seeds)),
        "training": settings(suite.training) or "as the defaults say",
        "runs": said,
        "command": environment.get("command", f"ltr bench run {suite.name}"),
    }


def suite_run(results: Results) -> dict[str, Any]:
    """One suite of rankers in words and numbers, all of them from its files."""
    suite = results.suite
    runs = results.runs[results.runs.status != "truth"]
    sizes = []
    for dataset in suite.datasets:
        mine = runs[runs.dataset == dataset]
        queries = mine[mine.status == "done"].drop_duplicates("fold").test_queries.sum()
        sizes.append(f"{dataset}: {int(queries)} test queries, {count(mine.fold.nunique(), 'fold')}")
    said = {f"`{loss}`": settings(params) for loss, params in suite.loss_params.items()}
    return was_run(results) | {
        "what": "; ".join(sizes),
        "tuning": how_tuned(results.chosen.get("budget")),
        "loss_params": "; ".join(f"{loss} {plain(text)}" for loss, text in said.items()),
    }


def board_rows(board: Leaderboard) -> Iterator[tuple[str, dict[str, str], dict[str, str]]]:
    """System, the texts of its row, and of these what pages of rankers say alike: all measures, interval and group.

    Measures have short heads where they are clear; the page says the conventions once.
    """
    names = [str(m) for m in board.all_measures.columns]
    short = [short_measure(m) for m in names]
    heads = {m: s if short.count(s) == 1 else m for m, s in zip(names, short, strict=True)}
    for text in board.rows():
        every: dict[str, Any] = {str(m): v for m, v in board.all_measures.loc[text["system"]].items()}
        others = {heads[m]: number(every[m], 4) for m in names if m != board.measure}
        measured = {heads[board.measure]: text["mean"], "interval": text["interval"], "group": text["group"]}
        yield text["system"], text, {**measured, **others, "regret": text.get("regret", "")}


def how_tuned(budget: dict[str, Any] | None) -> str:
    """What tuning did, of the budget in chosen.toml. Grids differ by system: the suite's file says them.

    >>> how_tuned({"points": 6, "measure": "nDCG@10", "folds": ["each"], "seeds": [0]})
    '6 points a system of its grid in suite.toml, chosen by nDCG@10 on validation queries, each fold for itself, seed 0'
    """
    if not budget:
        return "nothing was tuned"
    named = {"first": "the first fold", "each": "each fold for itself"}
    folds, seeds = ", ".join(named.get(fold, fold) for fold in budget["folds"]), ", ".join(map(str, budget["seeds"]))
    points = count(budget["points"], "point")
    return (
        f"{points} a system of its grid in suite.toml, chosen by {budget['measure']} on validation queries, {folds}, "
        f"seed {seeds}"
    )
