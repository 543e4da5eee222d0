"""The page on losses: what every loss reaches with every net on every dataset, and what a step of it costs.

Written from the results of suites that train the same nets with many losses (`benchmarks/suites/losses-*.toml`): a
section for each net on each dataset, an overview over all of them, and one picture. Like a report it comes from the
tidy files alone and is the same, byte for byte, when it is written again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr import paths
from ltr.bench.analysis.leaderboard import Leaderboard, leaderboard, markdown_table, number
from ltr.bench.analysis.results import Results, load_results
from ltr.bench.execution.display import duration
from ltr.bench.suite.plan import dataset_slug
from ltr.errors import InputError

from .pictures import board_short
from .report import write_page
from .text import count, machine, settings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "cells_of", "family", "losses_page", "overview", "unbeaten"]


@dataclass(frozen=True, eq=False)
class Cell:
    """One net on one dataset.

    Attributes:
        dataset, net: the label of the suite's system.
        losses: label in the leaderboard -> loss; who is not in it is a baseline or yardstick.
        board: the leaderboard of this net's losses and of the baselines.
        step_ms: label -> milliseconds of a training step (see `ltr.runs.Record`), median over runs.
        peak_mib: label -> resident memory of the process at its largest, MiB, median over runs.
    """

    dataset: str
    net: str
    losses: dict[str, str]
    board: Leaderboard
    step_ms: dict[str, float] = field(default_factory=dict)
    peak_mib: dict[str, float] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return f"{dataset_slug(self.dataset)}, {self.net}"


def cells_of(results: Results, draws: int = 10_000) -> list[Cell]:
    """A cell for every dataset and every system that is trained with losses, in the order of the suite."""
    suite, cells = results.suite, []
    for dataset in suite.datasets:
        runs = results.runs[(results.runs.dataset == dataset) & (results.runs.status == "done")]
        cost = runs.groupby("system")[["train_step_seconds", "peak_memory_bytes"]].median()
        # Whoever is trained with no loss (baselines, the best possible ranker) stands beside every net.
        trained = {f"{s.label} {loss}" for s in suite.systems for loss in s.losses}
        beside = [label for label in results.systems if label not in trained]
        for system in (s for s in suite.systems if s.losses):
            losses = {f"{system.label} {loss}": loss for loss in system.losses}
            board = leaderboard(results, dataset, systems=[*losses, *beside], draws=draws)
            step, peak = (1e3 * cost.train_step_seconds).to_dict(), (cost.peak_memory_bytes / 2**20).to_dict()
            cells.append(Cell(dataset, system.label, losses, board, step, peak))
    return cells


def family(loss: str) -> str:
    """The file or folder its function stands in, which is how the house sorts losses; "" where none is registered.

    >>> family("ranknet")
    'pairwise'
    """
    from ltr.losses import LOSSES

    return LOSSES[loss].function.__module__.split(".")[2] if loss in LOSSES else ""


def overview(cells: Sequence[Cell]) -> pd.DataFrame:
    """Mean of the headline, a row a loss and a column a cell, best mean place first; the column "place" is that mean.

    A loss that has no number in some cell has no mean place and stands last.
    """
    import pandas as pd

    columns = {}
    for i, cell in enumerate(cells):
        table = cell.board.table.set_index("system")["mean"]
        columns[i] = pd.Series({loss: table[label] for label, loss in cell.losses.items() if label in table})
    means = pd.DataFrame(columns)
    means["place"] = means.rank(ascending=False).mean(axis=1, skipna=False)
    return means.sort_values("place", kind="stable", na_position="last")


def unbeaten(cell: Cell) -> list[str]:
    """The losses of a cell that are not shown to differ from its best one, the best first."""
    p = cell.board.p
    there = [label for label in cell.board.table.system if label in cell.losses and label in p.index]
    return [cell.losses[label] for label in there if p.loc[there[0], label] >= cell.board.alpha]


def losses_page(folders: Sequence[Path | str] = (), to: Path | str | None = None, *, draws: int = 10_000) -> Path:
    """Writes LOSSES.md and losses.png, and returns the path of the page.

    Args:
        folders: results of suites; those that were committed as `benchmarks/results/losses-*` by default.
        to: folder of the page; `benchmarks` of the checkout by default.
        draws: as in `leaderboard`.

    Raises:
        InputError: no results, or results in which nothing is trained with a loss.
    """
    from .losses_picture import losses_picture

    folders = [Path(f) for f in folders] or sorted(paths.suites().glob("results/losses-*"))
    if not folders:
        raise InputError(
            "no results of losses here",
            file=paths.suites() / "results",
            expected="folders losses-*",
            do="Run the suites (ltr bench run losses-mq2008, ...) and name their folders",
        )
    found = [load_results(folder) for folder in folders]
    cells = [cell for results in found for cell in cells_of(results, draws)]
    if not cells:
        raise InputError("nothing was trained with a loss in these results", came=[str(f) for f in folders])
    to = paths.suites() if to is None else Path(to)
    picture = losses_picture(cells, "losses")
    context = {
        "suites": [_was_run(results) for results in found],
        "nets": _nets(found),
        "losses": len(overview(cells)),
        "overview": _overview_table(cells),
        "picture": {"file": picture.save_png(to).name, "text": picture.text},
        "cells": [{"title": c.title, "table": _table(c), "caption": c.board.caption()} for c in cells],
        "measures": list(dict.fromkeys(m for c in cells for m in c.board.all_measures.columns)),
        "machines": list(dict.fromkeys(machine(results.environment) for results in found)),
        "command": "ltr bench losses",
    }
    return write_page(to / "LOSSES.md", "losses.md.j2", context)


# --------------------------------------------------------------------------------------------- what stands on the page


def _table(cell: Cell) -> str:
    heads = _heads(list(cell.board.all_measures.columns))
    rows = []
    for text, facts in zip(cell.board.rows(), cell.board.table.itertuples(), strict=True):
        label = facts.system
        measures = cell.board.all_measures.loc[label]
        loss = cell.losses.get(label, "")
        rows.append(
            {
                "#": text["#"],
                "loss": loss or f"({label})",
                "family": family(loss) if loss else "",
                heads[cell.board.measure]: text["mean"],
                "interval": text["interval"],
                "group": text["group"],
                **{heads[m]: number(v, 4) for m, v in measures.items() if m != cell.board.measure},
                "regret": text.get("regret", ""),
                "ms/step": number(cell.step_ms.get(label) if loss else None, 2),
                "peak MiB": number(cell.peak_mib.get(label) if loss else None, 0),
                "note": text["note"],
            }
        )
    return markdown_table(rows, left=("loss", "family", "group", "note"))


def _overview_table(cells: Sequence[Cell]) -> str:
    """Bold: not shown to be worse than the best loss of the column."""
    means = overview(cells)
    bold = [unbeaten(cell) for cell in cells]
    rows = []
    for loss, values in means.iterrows():
        row = {"loss": loss, "family": family(loss), "mean place": number(values["place"], 1)}
        for i, cell in enumerate(cells):
            text = number(values[i], 4)
            row[cell.title] = f"**{text}**" if text and loss in bold[i] else text
        rows.append(row)
    return markdown_table(rows, left=("loss", "family"))


def _heads(measures: list[str]) -> dict[str, str]:
    """Short heads where they are clear; the page says the conventions once."""
    short = [board_short(m) for m in measures]
    return {m: s if short.count(s) == 1 else m for m, s in zip(measures, short, strict=True)}


def _nets(found: Sequence[Results]) -> list[str]:
    """Each net with its settings, once for all suites that use it alike."""
    lines = []
    for results in found:
        for system in (s for s in results.suite.systems if s.losses):
            own = settings({**system.params, **system.training})
            lines.append(f"{system.label}: `{system.ranker}`" + (f" with {own}" if own else ""))
    return list(dict.fromkeys(lines))


def _was_run(results: Results) -> dict[str, Any]:
    """One suite in words and numbers, all of them from its files."""
    suite, environment = results.suite, results.environment
    runs = results.runs[results.runs.status != "truth"]
    sizes = []
    for dataset in suite.datasets:
        mine = runs[runs.dataset == dataset]
        queries = mine[mine.status == "done"].drop_duplicates("fold").test_queries.sum()
        sizes.append(f"{dataset}: {int(queries)} test queries, {count(mine.fold.nunique(), 'fold')}")
    grids = dict.fromkeys(settings(s.grid) for s in suite.systems if s.losses and s.grid)
    budget = results.chosen.get("budget")
    tuned = "nothing was tuned"
    if budget and grids:
        who = "each fold for itself" if tuple(budget["folds"]) == ("each",) else ", ".join(budget["folds"])
        tuned = f"{count(budget['points'], 'point')} of {' or '.join(grids)}, chosen on validation queries, {who}"
    said = {f"`{loss}`": settings(params) for loss, params in suite.loss_params.items()}
    facts = {
        "what": "; ".join(sizes),
        "seeds": ", ".join(map(str, suite.seeds)),
        "training": settings(suite.training) or "as the defaults say",
        "tuning": tuned,
        "loss_params": "; ".join(f"{loss} {text}" for loss, text in said.items()),
        "runs": f"{int((runs.status == 'done').sum())} of {len(runs)} runs finished",
        "command": environment.get("command", f"ltr bench run {suite.name}"),
    }
    if environment.get("wall_seconds"):
        crew = f"{count(environment['workers'], 'worker')} of {count(environment['threads'], 'thread')}"
        facts["runs"] += f", {duration(environment['wall_seconds'])} with {crew}"
    return facts
