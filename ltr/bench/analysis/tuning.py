"""Whether the grids were wide enough: how often tuning chose the first or the last value of a range.

A choice at an edge says that better settings may lie beyond it. Counted for every key whose values are numbers in
ascending order, three or more; what has no order (a form, a net) has no edge, and nothing lies below 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from .results import FrontResults, Results

__all__ = ["choices", "edges"]


def choices(results: FrontResults | Results) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """(dataset, system, fold, chosen values) of everything that was tuned; `shared` stands for all folds."""
    for dataset, systems in results.chosen.get("systems", {}).items():
        for system, scopes in systems.items():
            for scope, entry in scopes.items():
                yield dataset, system, scope, entry["chosen"]


def edges(suites: Iterable[FrontResults | Results]) -> pd.DataFrame:
    """A row a key: key, choices, lowest, highest (how often it was the first or last value), share of both."""
    import pandas as pd

    counts: dict[str, list[int]] = {}
    for results in suites:
        grids = {v.label: v.grid for v in results.suite.variants()}
        for _, system, _, values in choices(results):
            for key, value in values.items():
                tried = grids.get(system, {}).get(key, [])
                if _is_range(tried):
                    count = counts.setdefault(key, [0, 0, 0])
                    count[0] += 1
                    count[1] += value == tried[0] != 0
                    count[2] += value == tried[-1]
    rows = [(key, n, low, high, (low + high) / n) for key, (n, low, high) in counts.items()]
    return pd.DataFrame(rows, columns=["key", "choices", "lowest", "highest", "share"])


def _is_range(values: list[Any]) -> bool:
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    return numbers and len(values) >= 3 and values == sorted(values)
