"""The page on rankers: what every ranker reaches on every dataset, what it costs, and how that goes with the size.

Written from the results of suites of rankers (`benchmarks/suites/rankers-*.toml`): a table for each dataset, a picture
where a task was run at several sizes, a table of shares of labels (`pretraining-*`), and what was not run. Like a
report it comes from the tidy files alone and is the same, byte for byte, when it is written again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ltr import paths
from ltr.bench.analysis.rankers import RankerBoard, boards_of, sizes_of_task
from ltr.bench.analysis.results import Results, load_results
from ltr.bench.analysis.results_io import asked_or_committed
from ltr.bench.suite import load_suite, suite_names
from ltr.bench.text import count, machine, markdown_table, number, thousands

from .facts import board_rows, dataset_title, put_between, suite_run
from .few_labels import few_labels
from .ranker_parts import parts_table
from .rankers_picture import sizes_picture
from .report import write_page

__all__ = ["rankers_page"]


def rankers_page(folders: Sequence[Path | str] = (), to: Path | str | None = None) -> Path:
    """Writes RANKERS.md and its picture, and returns the path of the page.

    Args:
        folders: results of suites; those that were committed as `benchmarks/results/rankers-*` and `pretraining-*` by
            default.
        to: folder of the page; `benchmarks` of the checkout by default.

    Raises:
        InputError: no results.
    """
    folders = asked_or_committed(folders, ["rankers-*", "pretraining-*"], "rankers", "rankers-mq2008-small")
    given = [load_results(folder) for folder in folders]
    found = [results for results in given if not results.suite.labelled]
    few = [results for results in given if results.suite.labelled]
    boards = [board for results in found for board in boards_of(results)]
    to = paths.suites() if to is None else Path(to)
    tasks = sizes_of_task(boards)
    pictures = [sizes_picture(group, f"rankers-sizes{'' if len(tasks) == 1 else n}") for n, group in enumerate(tasks)]
    learners = {label for board in boards for label in board.ranked()}
    context = {
        "learners": len(learners),
        "suites": [_was_run(results) for results in given],
        "not_run": _not_run(given),
        "answers": [_answer(board) for board in boards],
        "parts": parts_table(boards),
        "pictures": [{"file": p.save_png(to).name, "text": p.text} for p in pictures],
        "few": [few_labels(results, dataset) for results in few for dataset in results.suite.datasets],
        "boards": [{"title": b.title, "table": _table(b), "caption": b.board.caption()} for b in boards],
        "margins": [f"{b.board.margin:.4f} in {b.title}" for b in boards],
        "measures": list(dict.fromkeys(m for b in boards for m in b.board.all_measures.columns)),
        "machines": list(dict.fromkeys(machine(results.environment) for results in given)),
        "command": "ltr bench rankers",
    }
    if to == paths.suites():
        put_between(to.parent / "README.md", "rankers", _tally(boards))
    return write_page(to / "RANKERS.md", "rankers.md.j2", context)


def _table(board: RankerBoard) -> str:
    rows = []
    for label, text, measured in board_rows(board.board):
        loss = board.losses.get(label, "")
        learns = board.kinds.get(label, "") not in ("", "baseline")
        cost = board.costs.get(label, {})
        trained = {key: cost.get(key, math.nan) if learns else math.nan for key in ("operations", "cpu_seconds")}
        rows.append(
            {
                "#": text["#"],
                "ranker": (label.removesuffix(loss).strip() if learns else f"({label})"),
                "loss": loss,
                **measured,
                "seed sd": text["seed sd"],
                "Gop": number(trained["operations"] / 1e9, 1),
                "cpu s": number(trained["cpu_seconds"], 1),
                "ms/list": number(1e3 * cost.get("latency_seconds", math.nan), 2),
                "parameters": text["parameters"] if learns else "",
                "note": text["note"],
            }
        )
    return markdown_table(rows, left=("ranker", "loss", "group", "note"))


def _verdict(board: RankerBoard) -> str:
    """Of the best net beside the best trees; "" where one of them is not there."""
    gap = board.best_beside("neural", "trees")
    if gap is None:
        return ""
    return "the net is better" if gap.low > 0 else "the trees are better" if gap.high < 0 else "cannot tell"


def _answer(board: RankerBoard) -> str:
    """The best net beside the best trees, in a sentence."""
    title = dataset_title(board.dataset)
    gap = board.best_beside("neural", "trees")
    if gap is None:
        return f"{title}: nets and trees cannot be compared"
    train = "" if math.isnan(board.train_queries) else f", {thousands(board.train_queries)} training queries"
    return (
        f"{title}{train}: the best net, {board.ranked('neural')[0]}, less the best trees, {board.ranked('trees')[0]}: "
        f"{gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}), {_verdict(board)}"
    )


def _tally(boards: Sequence[RankerBoard]) -> str:
    """The answers in a sentence, for the README."""
    words = [verdict for board in boards if (verdict := _verdict(board))]
    counted = [f"{word} on {words.count(word)}" for word in dict.fromkeys(words)]
    text = f"the best net beside the best trees on {count(len(words), 'task')}: {', '.join(counted)}"
    return f"**Rankers:** {text} (`ltr bench rankers`: [all of it](benchmarks/RANKERS.md))."


def _was_run(results: Results) -> dict[str, Any]:
    """One suite in words, and what of it is left."""
    suite = results.suite
    whole = load_suite(suite.name) if suite.name in suite_names() else suite
    done = {v.label for v in suite.variants()}
    left = [v.label for v in whole.variants() if v.label not in done]
    seeds = [str(seed) for seed in whole.seeds if seed not in suite.seeds]
    said = {"name": suite.name, "left": left, "left_seeds": seeds, "whole": f"ltr bench run {suite.name}"}
    return suite_run(results) | said


def _not_run(found: Sequence[Results]) -> list[dict[str, str]]:
    """Suites of rankers without results."""
    there = {results.suite.name for results in found}
    names = [name for name in suite_names() if name.startswith(("rankers-", "pretraining-")) and name not in there]
    return [{"title": load_suite(name).title, "command": f"ltr bench run {name}"} for name in names]
