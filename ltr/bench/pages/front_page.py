"""The page on fronts: every method for several objectives on every task, and what they say to the field's questions.

Written from the results of suites of methods (`front_results.STUDY`) and the reference points beside them: what to
take, an overview, the questions with their paired intervals, tables and pictures of each task. Like a report it comes
from committed files alone and is the same, byte for byte, when it is written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr import paths as places
from ltr.bench.analysis.front_choice import choose_system
from ltr.bench.analysis.front_cube import measures_of
from ltr.bench.analysis.front_leaderboard import FrontLeaderboard, front_leaderboard
from ltr.bench.analysis.front_questions import ask, by_comparison, load_questions, tally
from ltr.bench.analysis.front_results import FrontResults, load_front_results, study_folders
from ltr.bench.analysis.reference_points import COMMAND, points_of
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.suite.budget import budget_of
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.text import count, machine, markdown_table, number, plain, settings, told

from .facts import how_tuned, put_between, was_run
from .front_answers import answer, goals_table, taken_table
from .front_costs import choices_table, costs_table, edges_table
from .front_pictures import SHOWN, cost_picture, fronts_picture, looks, of_board, payoff_picture, title_of
from .report import write_page

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["fronts_page", "overview"]


def fronts_page(
    folders: Sequence[Path | str] = (),
    to: Path | str | None = None,
    *,
    name: str = "FRONTS.md",
    draws: int = 1000,
    points: Path | str | None = None,
) -> Path:
    """Writes the page and its pictures, and returns its path.

    Args:
        folders: results of suites; those of the study that were committed by default.
        to: folder of the page; `benchmarks` of the checkout by default.
        name: of the page.
        draws: of the paired bootstrap.
        points: file of reference points; benchmarks/reference_points.toml by default.

    Raises:
        InputError: no results, or no reference points for one of their tasks.
    """
    asked = " ".join(map(str, folders))
    to = places.suites() if to is None else Path(to)
    questions = load_questions()
    suites, tasks, boards, taken = [], [], [], []
    found = [load_front_results(folder) for folder in study_folders(folders)]
    for results in found:
        mine = []
        for dataset in results.suite.datasets:
            task = points_of(dataset, results.suite.objectives, measures_of(results, dataset), points)
            mine.append(front_leaderboard(results, dataset, task, draws=draws))
            tasks.append(_task(results, mine[-1], to))
            taken.append(choose_system(results, mine[-1]))
        suites.append(_was_run(results, mine))
        boards += mine
    systems = {s for board in boards for s in board.cube.systems}
    titles = [task["title"] for task in tasks]
    context = {
        "systems": len(systems),
        "unequal": [each.suite.name for each in found if not _at_equal_cost(each)],
        "suites": suites,
        "systems_lines": list(dict.fromkeys(line for text in suites for line in text["systems"])),
        "machines": list(dict.fromkeys(machine(text["environment"]) for text in suites)),
        "overview": markdown_table(_overview_rows(boards, titles), left=("system", "method")),
        "taken": taken_table(taken, titles),
        "goals": goals_table(taken, titles, found),
        "questions": [_question(question, boards, titles) for question in questions],
        "tasks": tasks,
        "edges": edges_table(found),
        "one_seed": [t for t, board in zip(titles, boards, strict=True) if len(board.cube.seeds) == 1],
        "draws": f"{draws:,}",
        "margins": [f"{b.margins['hypervolume']:.4f} on {t}" for t, b in zip(titles, boards, strict=True)],
        "level": f"{boards[0].level:.0%}",
        "command": " ".join(filter(None, ["ltr bench fronts", asked and f"--results {asked} --name {name}"])),
        "points_command": COMMAND,
    }
    if to == places.suites() and name == "FRONTS.md":
        put_between(to.parent / "README.md", "fronts", answer(taken, ask(questions[0], boards), len(systems)))
    return write_page(to / name, "fronts.md.j2", context)


def _at_equal_cost(results: FrontResults) -> bool:
    return any(budget_of(results.suite, variant) == "total" for variant in results.suite.variants())


# ------------------------------------------------------------------------------------------------------ the overview


def overview(boards: Sequence[FrontLeaderboard]) -> pd.DataFrame:
    """Normalised hypervolume, a row a system and a column a board, and "rank", the mean rank; best first.

    A rank is the share of the board's systems with a larger hypervolume, 0 for the best. The mean is over boards that
    at least half of all systems ran on: a rank among five compares with nothing. Those that missed one of these boards
    come after those that ran on all; a system without numbers on a board that it ran on stands last.
    """
    import pandas as pd

    columns = {i: board.table.set_index("system").normalised for i, board in enumerate(boards)}
    means = pd.DataFrame(columns)
    ran = pd.DataFrame({i: pd.Series(True, index=list(board.cube.systems)) for i, board in enumerate(boards)})
    ran = ran.reindex(means.index).notna()
    ranks = (means.rank(ascending=False) - 1) / (means.count() - 1).clip(lower=1)
    broad = ran.columns[ran.sum() >= len(ran) / 2]
    lost = (ran & means.isna()).any(axis=1)
    means["rank"] = ranks[broad].mean(axis=1).where(~lost)
    means["missed"] = (~ran[broad]).sum(axis=1).where(~lost, len(boards))
    return means.sort_values(["missed", "rank"], kind="stable", na_position="last").drop(columns="missed")


def _overview_rows(boards: Sequence[FrontLeaderboard], titles: Sequence[str]) -> list[dict[str, str]]:
    """With the verdict beside the baseline, where there is one."""
    means, words = overview(boards), [board.verdicts() for board in boards]
    methods = {row.system: row.method for board in boards for row in rows_of(board.table)}
    rows = []
    for label, values in means.iterrows():
        system = str(label)
        on = sum(system in board.cube.systems for board in boards)
        row = {"system": system, "method": methods[system], "mean rank": number(values["rank"], 2), "tasks": str(on)}
        for i in range(len(boards)):
            row[titles[i]] = told(number(values[i], 4), words[i].get(system, ""))
        rows.append(row)
    return rows


def _kind(board: FrontLeaderboard) -> str:
    """Of a suite that is not the study's own: the nets it is about, as its name begins."""
    kind = board.suite.split("-")[0]
    return "" if kind in ("core", "fronts", board.suite) else kind


# ----------------------------------------------------------------------------------------------------- the questions


def _question(question, boards: Sequence[FrontLeaderboard], titles: Sequence[str]) -> dict[str, Any]:
    """Title, text, a sentence of verdicts a comparison, and the table behind them."""
    groups = by_comparison(ask(question, boards))
    rows = []
    for comparison, members in groups.items():
        row = {"is ... ?": comparison.text, "said by": comparison.claim}
        row |= dict.fromkeys(titles, "")
        row |= {titles[each.board]: f"{each.verdict}: {each.text}" for each in members}
        rows.append(row)
    answers = [f"{comparison.text}: {tally(members)}." for comparison, members in groups.items()]
    return {
        "title": question.title,
        "text": question.text,
        "answers": answers,
        "table": markdown_table(rows, left=("is ... ?", "said by", *titles)) if rows else "",
    }


# -------------------------------------------------------------------------------------------------------- a task


def _task(results: FrontResults, board: FrontLeaderboard, to: Path) -> dict[str, Any]:
    name = results.suite.name
    if len(results.suite.datasets) > 1:
        name += f"-{dataset_slug(board.dataset)}"
    kind = _kind(board)
    drawn = of_board(board, title_of(board.dataset, len(board.objectives)) + (f" ({kind})" if kind else ""))
    numbers = looks(board.cube.systems)
    pictures = [
        fronts_picture(drawn, f"{name}-front", SHOWN, numbers),
        payoff_picture(drawn, f"{name}-payoff", SHOWN),
        cost_picture(drawn, f"{name}-cost", SHOWN, numbers),
    ]
    measures = list(dict.fromkeys(board.measures))
    return {
        "title": (f"{kind}: " if kind else "") + f"{dataset_slug(board.dataset)}, m = {len(board.objectives)}",
        "what": results.suite.title,
        "objectives": ", ".join(board.objectives),
        "measures": measures,
        "quality": _quality(board),
        "preferences": _preferences_table(board),
        "costs": costs_table(results, board.dataset, board.baseline),
        "choices": choices_table(results, board.dataset),
        "caption": _caption(board),
        "pictures": [{"file": p.save_png(to).name, "text": p.text} for p in pictures if p is not None],
    }


def _quality(board: FrontLeaderboard) -> str:
    rows, place = [], 0
    for row in rows_of(board.table):
        ranked = bool(np.isfinite(row.normalised))
        place += ranked
        gap = board.difference(row.system, board.baseline) if ranked and board.baseline else None
        itself = row.system == board.baseline
        text = {
            "#": str(place) if ranked else "",
            "system": row.system,
            "hypervolume": number(row.normalised, 4),
            "seed sd": number(row.seed_sd, 4),
            f"difference to {board.baseline or 'baseline'}": "" if gap is None or itself else f"{gap.value:+.4f}",
            "interval": "" if gap is None or itself else f"{gap.low:+.4f} – {gap.high:+.4f}",
            "verdict": row.verdict,
            "above 0": number(row.zero, 4),
            "above random": number(row.random, 4),
            "flips": str(row.flips) if ranked and row.flips else "",
        }
        if board.truth:
            text["of true, above 0"] = f"{row.share_zero:.1%}" if ranked else ""
            text["of true"] = f"{row.share_normalised:.1%}" if ranked else ""
        text |= {
            "IGD+": number(row.igd, 4),
            "epsilon": number(row.epsilon, 4),
            "front": number(row.front, 1),
            "beyond the reference point": number(row.beyond, 1),
            "note": row.note,
        }
        rows.append(text)
    return markdown_table(rows, left=("system", "note"))


def _preferences_table(board: FrontLeaderboard) -> str:
    rows = []
    for row in rows_of(board.table):
        text = {
            "system": row.system,
            "w asks for": row.asks,
            board.main or board.objectives[0]: number(row.main, 4),
            **({"of its reference ranker": number(row.reference, 4)} if board.main else {}),
            "weighted sum": number(row.weighted, 4),
            "worst of list": number(row.worst, 4),
            "preference correlation": number(row.spearman, 2),
            "switching": number(row.switching, 3),
            "regret": number(row.regret, 3),
            "nonuniformity": number(row.nonuniformity, 3),
            "runs": f"{row.done}/{row.planned}",
        }
        rows.append(text)
    return markdown_table(rows, left=("system", "w asks for"))


def _caption(board: FrontLeaderboard) -> str:
    points = board.points
    without = ", ".join(f"{n} for {name}" for name, n in board.unjudged.items() if n) or "none"
    lines = [
        f"{count(len(board.lattice), 'preference')} (H = {board.partition}), {count(len(board.cube.seeds), 'seed')}, "
        f"{board.queries} test queries; queries without relevant documents, which are skipped: {without}.",
        f"Reference points, version {points.version}, from {points.source}: ideal {_numbers(points.ideal)}, nadir "
        f"{_numbers(points.nadir)}, base model {_numbers(points.payoff[0])}, random rankings "
        f"{_numbers(points.random)}.",
    ]
    if board.truth:
        lines.append(
            f"The best possible ranker's front on the same queries and preferences has {board.truth['normalised']:.4f} "
            f"normalised, {board.truth['zero']:.4f} above 0."
        )
    if board.main:
        lines.append(
            f"{board.main.removeprefix('main: ')} is no objective: reference rankers learn it; the column is its mean "
            "over all preferences."
        )
    flipped = [row.system for row in rows_of(board.table) if row.flips]
    total = int(board.table.flips.sum()) // 2
    if total:
        lines.append(
            f"{count(total, 'pair')} of systems, of {len(flipped)} systems, change{'s' * (total == 1)} places with the "
            "reference point: their order is one of reference points."
        )
    return " ".join(lines)


def _numbers(values) -> str:
    return f"({', '.join(f'{v:.3f}' for v in values)})"


# --------------------------------------------------------------------------------------------- what was run


def _was_run(results: FrontResults, boards: Sequence[FrontLeaderboard]) -> dict[str, Any]:
    """One suite in words and numbers, all of them from its files."""
    suite, runs = results.suite, results.runs
    sizes = [
        f"{board.dataset}: {', '.join(board.objectives)}; {count(len(board.lattice), 'preference')}; "
        f"{board.queries} test queries, {count(runs[runs.dataset == board.dataset].fold.nunique(), 'fold')}"
        for board in boards
    ]
    return was_run(results) | {
        "what": "; ".join(sizes),
        "tuning": how_tuned(results.chosen.get("budget")),
        "systems": _systems(suite),
        "environment": results.environment,
    }


def _systems(suite) -> list[str]:
    """What all nets share, then every system with what it has for itself."""
    nets = [v for v in suite.variants() if "ranker_params" in v.params]
    shared = {}
    if nets:
        first = nets[0].params["ranker_params"]
        shared = {k: v for k, v in first.items() if all(n.params["ranker_params"].get(k) == v for n in nets)}
    lines = [f"all nets: `{nets[0].params.get('ranker', 'mlp')}` with {plain(settings(shared))}"] if shared else []
    for variant in suite.variants():
        own = dict(variant.params)
        if "ranker_params" in own:
            own["ranker_params"] = {k: v for k, v in own["ranker_params"].items() if k not in shared}
        said = settings(own)
        lines.append(f"{plain(variant.label)}: `{variant.method}`" + (f" with {plain(said)}" if said else ""))
    return lines
