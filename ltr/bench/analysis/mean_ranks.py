"""Over several datasets: each system's mean rank, how sure it is, and how far two must be apart to differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ltr.errors import InputError
from ltr.seeds import seed_of

from .leaderboard import Leaderboard

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MeanRanks", "critical_difference", "mean_ranks"]


@dataclass(frozen=True, eq=False)
class MeanRanks:
    """Ranks over datasets, 1 for the best; equal means share the mean of their places.

    Attributes:
        table: a row a system, best first: rank, low, high, and a column a dataset; systems that are not complete on
            every dataset come after the others and have no mean rank, for a rank among others compares with nothing.
        difference: mean ranks that are further apart differ (`critical_difference`); infinite on one dataset.
        level: of the intervals, which speak of other queries of these datasets and, where systems were trained more
            than once, of other trainings; not of other datasets. That is what `difference` speaks of.
    """

    table: pd.DataFrame
    difference: float
    level: float = 0.95

    @property
    def ranked(self) -> pd.DataFrame:
        return self.table[self.table["rank"].notna()]

    def groups(self) -> list[tuple[int, int]]:
        """First and last place, from 0, of each longest run of ranked systems that do not differ."""
        ranks = self.ranked["rank"].to_numpy()
        found: list[tuple[int, int]] = []
        for first in range(len(ranks)):
            last = int(np.searchsorted(ranks, ranks[first] + self.difference, side="right")) - 1
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def critical_difference(systems: int, datasets: int, alpha: float = 0.05) -> float:
    """By how much two mean ranks must differ: q sqrt(k (k + 1) / (6 N)), the test of Nemenyi after Friedman's, as in
    Demsar, JMLR 7, 2006. Infinite on fewer than two datasets.

    >>> round(critical_difference(4, 14), 3)  # his example: 2.569 sqrt(20 / 84)
    1.254
    """
    from scipy.stats import studentized_range

    if datasets < 2 or systems < 2:
        return float("inf")
    q = float(studentized_range.ppf(1 - alpha, systems, np.inf)) / math.sqrt(2)
    return q * math.sqrt(systems * (systems + 1) / (6 * datasets))


def mean_ranks(boards: Sequence[Leaderboard], level: float = 0.95, draws: int = 2000) -> MeanRanks:
    """Mean ranks over the leaderboards of several datasets.

    The interval resamples each dataset's means from a normal distribution with their errors (`ltr.metrics.inference`),
    all systems together, and ranks them again.

    Raises:
        InputError: no leaderboard.
    """
    import pandas as pd
    from scipy.stats import rankdata

    if not boards:
        raise InputError("mean ranks of no dataset", expected="one leaderboard or more")
    complete = [list(board.p.index) for board in boards]
    everywhere = [system for system in complete[0] if all(system in names for names in complete)]
    ranks, drawn = [], []
    generator = np.random.default_rng(seed_of("mean ranks", *(board.dataset for board in boards)))
    for board, names in zip(boards, complete, strict=True):
        at = [names.index(system) for system in everywhere]
        means = np.array([board.table.set_index("system")["mean"][system] for system in everywhere])
        ranks.append(rankdata(-means.round(12)))
        if board.errors is not None and at:
            spread = board.errors.query - board.errors.noise + board.errors.training
            values, vectors = np.linalg.eigh(spread[np.ix_(at, at)])
            noise = generator.standard_normal((draws, len(at))) * np.sqrt(values.clip(min=0))
            drawn.append(rankdata(-(means + noise @ vectors.T), axis=1))
    every = dict.fromkeys(s for board in boards for s in board.table.system[~board.table.best_possible])
    table = pd.DataFrame(index=pd.Index(list(every), name="system"), columns=["rank", "low", "high"], dtype=float)
    for board, found in zip(boards, ranks, strict=True):
        table[board.dataset] = pd.Series(found, index=everywhere).reindex(table.index)
    if everywhere:
        table.loc[everywhere, "rank"] = np.mean(ranks, axis=0)
        if len(drawn) == len(boards):
            ends = np.quantile(np.mean(drawn, axis=0), [(1 - level) / 2, (1 + level) / 2], axis=0)
            table.loc[everywhere, ["low", "high"]] = ends.T
    table = table.sort_values("rank", kind="stable", na_position="last").reset_index()
    return MeanRanks(table, critical_difference(len(everywhere), len(boards)), level)
