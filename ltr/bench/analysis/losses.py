"""What every loss reaches with every net on every dataset: cells of one net on one dataset, and all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ltr.bench.suite.plan import dataset_slug
from ltr.metrics.significance import holm

from .leaderboard import Leaderboard, leaderboard
from .results import Results

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Cell", "beside_best", "cells_of", "family", "overview"]


@dataclass(frozen=True, eq=False)
class Cell:
    """One net on one dataset.

    Attributes:
        dataset, net: the label of the suite's system.
        losses: label in the leaderboard -> loss; who is not in it is a baseline or the best possible ranker.
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


def cells_of(results: Results) -> list[Cell]:
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
            board = leaderboard(results, dataset, systems=[*losses, *beside])
            step = {str(s): ms for s, ms in (1e3 * cost.train_step_seconds).to_dict().items()}
            peak = {str(s): mib for s, mib in (cost.peak_memory_bytes / 2**20).to_dict().items()}
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
    """Mean of the headline, a row a loss and a column a cell, best mean rank first; the column "rank" is that mean.

    A loss that has no number in some cell has no mean rank and stands last.
    """
    import pandas as pd

    columns = {}
    for i, cell in enumerate(cells):
        table = cell.board.table.set_index("system")
        whole = table["mean"].where(table["whole"].astype(bool))
        columns[i] = pd.Series({loss: whole[label] for label, loss in cell.losses.items() if label in whole})
    means = pd.DataFrame(columns)
    means["rank"] = means.rank(ascending=False).mean(axis=1, skipna=False)
    return means.sort_values("rank", kind="stable", na_position="last")


def beside_best(cell: Cell) -> dict[str, str]:
    """Loss -> what is known of it beside the best loss of the cell: "best", "below", "equal within the margin" or
    "cannot tell". Losses without a mean over all queries are not there.

    "below" is corrected for all pairs of the cell, because the best one is found by looking; "equal" for its losses.
    """
    board = cell.board
    there = [label for label in board.table.system if label in cell.losses and label in board.p.index]
    found = [board.difference(label, there[0]) for label in there[1:]]
    equal = holm([each.p_equal for each in found if each is not None])
    words = {cell.losses[there[0]]: "best"} if there else {}
    for label, p in zip(there[1:], equal, strict=True):
        below = board.p.loc[there[0], label] < board.alpha
        words[cell.losses[label]] = (
            "below" if below else ("equal within the margin" if p < board.alpha else "cannot tell")
        )
    return words
