"""What every ranker reaches on every dataset, what it costs, and how that goes with the number of training queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ltr.bench.suite.plan import dataset_slug
from ltr.metrics.inference import Difference
from ltr.rankers import RANKERS

from .leaderboard import Leaderboard, leaderboard
from .oracle import BEST_POSSIBLE
from .results import Results
from .results_io import rows_of

_COSTS = ("operations", "cpu_seconds", "latency_seconds")

__all__ = ["RankerBoard", "boards_of", "curves", "sizes_of_task"]


@dataclass(frozen=True, eq=False)
class RankerBoard:
    """One dataset of a suite of rankers.

    Attributes:
        dataset: its name.
        suite: name of the suite.
        board: the leaderboard of all systems.
        kinds: label -> kind in the catalogue: neural, trees, ensemble, baseline; "" of the best possible ranker.
        losses: label -> loss; "" of those that bring their own objective.
        costs: label -> operations, cpu_seconds (of a training) and latency_seconds, medians over runs.
        train_queries: of a fold, the mean; NaN where results do not say.
    """

    dataset: str
    suite: str
    board: Leaderboard
    kinds: dict[str, str]
    losses: dict[str, str]
    costs: dict[str, dict[str, float]]
    train_queries: float

    @property
    def title(self) -> str:
        return dataset_slug(self.dataset)

    def ranked(self, *kinds: str) -> list[str]:
        """Labels of these kinds that were measured on all queries, best mean first; of all that learn by default."""
        kinds = kinds or ("neural", "trees", "ensemble")
        return [s for s in self.board.table.system if self.kinds.get(s, "") in kinds and s in self.board.p.index]

    def best_beside(self, kind: str, other: str) -> Difference | None:
        """The best of a kind less the best of another; None where one of them is not there."""
        a, b = self.ranked(kind)[:1], self.ranked(other)[:1]
        return self.board.difference(a[0], b[0]) if a and b else None


def boards_of(results: Results) -> list[RankerBoard]:
    """A board for every dataset of a suite."""
    variants = {v.label: v for v in results.suite.variants()}
    kinds = {label: str(RANKERS[v.ranker].claims["kind"]) for label, v in variants.items()}
    boards = []
    for dataset in results.suite.datasets:
        runs = results.runs[(results.runs.dataset == dataset) & (results.runs.status == "done")]
        medians = runs.groupby("system")[list(_COSTS)].median()
        boards.append(
            RankerBoard(
                dataset,
                results.suite.name,
                leaderboard(results, dataset),
                kinds,
                {label: v.loss for label, v in variants.items()},
                {str(label): {str(k): float(v) for k, v in row.items()} for label, row in medians.iterrows()},
                float(runs.drop_duplicates("fold").train_queries.mean()),
            )
        )
    return boards


def sizes_of_task(boards: Iterable[RankerBoard]) -> list[list[RankerBoard]]:
    """Boards of the same task with several numbers of training queries, smallest first, a list a task.

    Tasks are the same where nothing but `queries=` tells their names apart.
    """
    tasks: dict[str, list[RankerBoard]] = {}
    for board in boards:
        kind, _, options = board.dataset.partition(":")
        rest = [part for part in options.split(",") if part and not part.startswith("queries=")]
        tasks.setdefault(":".join([kind, *rest]), []).append(board)
    several = [sorted(group, key=lambda each: each.train_queries) for group in tasks.values()]
    return [group for group in several if len({each.train_queries for each in group}) > 1]


def curves(group: Sequence[RankerBoard]) -> dict[str, list[tuple[float, float, float, float]]]:
    """System -> (training queries, mean, low, high) at every size it was measured at; one size alone is no curve.

    Systems that learn, and the best possible ranker.
    """
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for each in group:
        shown = {*each.ranked(), BEST_POSSIBLE}
        for row in rows_of(each.board.table):
            if row.system in shown:
                found.setdefault(row.system, []).append((each.train_queries, row.mean, row.low, row.high))
    return {label: points for label, points in found.items() if len(points) > 1}
