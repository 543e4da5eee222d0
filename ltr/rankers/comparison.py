"""Rankers beside each other on one split: means with intervals, and which of them differ."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.metrics import (
    Difference,
    Errors,
    Judgements,
    errors_of_values,
    evaluate,
    group_letters,
    holm,
    measure,
)
from ltr.plot_style import PALETTE
from ltr.types import Split, Task

from .config import HEADLINE

__all__ = ["Comparison", "RankerComparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """Rankers beside each other on one measure; all arrays in the order they came.

    Attributes:
        means: float64 `[ranker]`, over the queries that count.
        low, high: float64 `[ranker]`, interval of each mean.
        p: float64 `[ranker, ranker]`, not adjusted.
        p_adjusted: the same after Holm over all pairs.
        letters: rankers that share a letter do not differ significantly.
        queries: how many queries count.
    """

    means: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p: np.ndarray
    p_adjusted: np.ndarray
    letters: list[str]
    queries: int


@dataclass(frozen=True, repr=False)
class RankerComparison:
    """What `compare` found; shown as its table.

    Attributes:
        names: of the rankers, in the order they came.
        on: what they were measured on.
        found: the measure's repr -> means, low, high, p, p_adjusted, letters, queries, see `Comparison`.
        errors: the measure's repr -> where intervals and p come from, see `ltr.metrics.Errors`.
        level: of the intervals.
    """

    names: tuple[str, ...]
    on: str
    found: dict[str, Comparison]
    errors: dict[str, Errors]
    level: float

    @property
    def table(self) -> Any:
        """A pandas data frame, a row a ranker and measure: mean, low, high, letters, queries; best mean first."""
        import pandas as pd

        rows = []
        for name, c in self.found.items():
            for i in np.argsort(-c.means, kind="stable"):
                one = {"measure": name, "ranker": self.names[i], "mean": c.means[i], "low": c.low[i]}
                rows.append({**one, "high": c.high[i], "differs": c.letters[i], "queries": c.queries})
        return pd.DataFrame(rows).set_index(["measure", "ranker"])

    def _name(self, of: Any) -> str:
        name = next(iter(self.found)) if of is None else repr(measure(of))
        if name not in self.found:
            raise InputError("not measured", expected=", ".join(self.found), came=name)
        return name

    def difference(self, a: str, b: str, of: Any = None, *, margin: float = 0.0) -> Difference:
        """Of ranker a to ranker b on a measure (the first by default), with its interval and verdict.

        Args:
            margin: differences below it do not matter.
        """
        for name in (a, b):
            if name not in self.names:
                raise unknown_name("ranker of this comparison", name, self.names)
        found = self.errors[self._name(of)]
        return found.difference(self.names.index(a), self.names.index(b), self.level, margin)

    def p(self, of: Any = None) -> Any:
        """p of every pair of rankers on a measure (the first by default) after Holm, a pandas data frame."""
        import pandas as pd

        name = self._name(of)
        return pd.DataFrame(self.found[name].p_adjusted, index=self.names, columns=self.names)

    @property
    def _said(self) -> str:
        over = {"methods": "other queries and trainings", "nets": "other queries, for these very rankers"}
        scope = over[next(iter(self.errors.values())).scope]
        return (
            f"On {self.on}; {self.level:.0%} intervals over {scope}; rankers that share a letter do not differ "
            "significantly (Student's t, Holm)."
        )

    def __repr__(self) -> str:
        return f"{self.table.round(4).to_string()}\n{self._said}"

    def _repr_html_(self) -> str:
        return f"{self.table.round(4).to_html()}<p>{self._said}</p>"

    def plot(self, of: Any = None, ax: Any = None) -> Any:
        """Means with their intervals and letters on a measure (the first by default); returns the matplotlib axes."""
        import matplotlib.pyplot as plt

        name = self._name(of)
        c = self.found[name]
        order = np.argsort(-c.means, kind="stable")[::-1]  # the best on top
        if ax is None:
            ax = plt.subplots(figsize=(6, 0.6 + 0.35 * len(order)), layout="constrained")[1]
        ax.hlines(range(len(order)), c.low[order], c.high[order], color=PALETTE[0])
        ax.plot(c.means[order], range(len(order)), "o", color=PALETTE[0])
        ax.set_yticks(range(len(order)), [f"{self.names[i]}  {c.letters[i]}" for i in order])
        ax.set_xlabel(name)
        return ax


def compare(
    rankers: Mapping[str, Any],
    data: Task | Split,
    measures: Any = HEADLINE,
    *,
    objective: str | None = None,
    level: float = 0.95,
    alpha: float = 0.05,
) -> RankerComparison:
    """Rankers beside each other: means with intervals, and letters that say which of them differ.

    Args:
        rankers: name -> a fitted ranker, its scores `[documents]`, or a list of either: the same ranker from several
            seeds. Where there are several, intervals speak of other trainings too, else of other queries only.
        data: a task, measured on its test split, or a labelled split.
        measures: names, measures or functions, or one of them; see `ltr.measure`.
        objective: label column; the main one by default.
        level: of the intervals.
        alpha: of the letters.

    Raises:
        InputError: fewer than one ranker, a ranker that is not fitted, scores of other lists.

    >>> import ltr
    >>> task = ltr.load("synthetic:queries=40,features=50")
    >>> bm = {"first": ltr.make_ranker("feature", column=1), "none": ltr.make_ranker("constant")}
    >>> found = compare({name: r.fit(task.train) for name, r in bm.items()}, task, ["NDCG@10", "MAP"])
    >>> found.table.loc["AP(empty=skip)"].index.tolist(), found.p("map").shape
    (['first', 'none'], (2, 2))
    """
    split = data.test if isinstance(data, Task) else data
    if not isinstance(rankers, Mapping) or not rankers:
        raise InputError("rankers to compare", expected='{"name": ranker, ...}', came=rankers)
    if not isinstance(split, Split):
        raise InputError("lists to compare on", expected="a task or a labelled split", came=type(data).__name__)
    if empty := [name for name, of in rankers.items() if not len(_each(of))]:
        raise InputError(f"nothing stands under {empty[0]!r}", expected="a ranker, its scores, or several of them")
    if not 0 < alpha < 1:
        raise InputError("alpha of the letters", expected="a number between 0 and 1", came=alpha)
    one = isinstance(measures, str) or callable(measures) or not isinstance(measures, Iterable)
    asked = [measure(m) for m in ([measures] if one else measures)]
    if not asked:
        raise InputError("measures to compare by", expected="one or more")
    judged = Judgements(
        split.label(objective), split.offsets, weights=None if split.weights is None else split.query_weights
    )
    values = [evaluate(asked, np.stack([_scores(r, split) for r in _each(of)]), judged) for of in rankers.values()]
    errors = {name: _errors([each[name] for each in values]) for name in map(repr, asked)}
    found = {}
    for name, each in errors.items():
        low, high = np.array([each.interval(i, level) for i in range(len(values))]).T
        p = each.p()
        adjusted = holm(p)
        letters = group_letters(each.means, adjusted, alpha)
        found[name] = Comparison(each.means, low, high, p, adjusted, letters, each.queries)
    on = f"{data.name}, {data.fold}, test" if isinstance(data, Task) else split.name or "these lists"
    return RankerComparison(tuple(rankers), on, found, errors, level)


def _errors(values: list[np.ndarray]) -> Errors:
    """Of `[seed, query]` a ranker; a list that does not count, counts in none."""
    counted = ~np.isnan(np.concatenate(values)).any(0)
    return errors_of_values([each[:, counted] for each in values])


def _each(of: Any) -> list[Any]:
    """The runs of one system."""
    if isinstance(of, np.ndarray):
        return list(np.atleast_2d(of))
    if isinstance(of, list | tuple) and of and all(isinstance(each, int | float | np.number) for each in of):
        return [np.array(of)]  # scores of one ranking
    return list(of) if isinstance(of, list | tuple) else [of]


def _scores(ranker: Any, split: Split) -> np.ndarray:
    return np.asarray(ranker.score(split) if hasattr(ranker, "score") else ranker)
