"""Baselines: random and constant scores, and the best single feature (BM25 where a set carries it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.seeds import seed_of
from ltr.types import Split

from .base import FittedRanker, register
from .config import check
from .training.job import ObjectiveJob
from .training.validation import ValidationMeasure

__all__ = ["Constant", "ConstantConfig", "Feature", "FeatureConfig", "Random", "RandomConfig"]


@dataclass(frozen=True)
class RandomConfig:
    """Uniform scores, drawn for each query id: the same list gets the same scores in any split and order of queries."""


@register(
    "random",
    RandomConfig,
    kind="baseline",
    formula="s_i ~ U(0, 1)",
    stochastic=True,
    independent=False,
    equivariant=False,
    learns=False,
)
class Random(FittedRanker):
    """Scores from (seed, query id, place in the list)."""

    def _fit(self, job: ObjectiveJob) -> int:
        return job.train.n_documents

    def _score(self, split: Split) -> np.ndarray:
        base = np.array([seed_of("random", self.seed, str(q)) for q in split.query_ids], dtype=np.uint64)
        place = np.arange(split.n_documents) - np.repeat(split.offsets[:-1], split.lengths)
        with np.errstate(over="ignore"):  # splitmix64 (Steele et al. 2014) wraps by design
            x = np.repeat(base, split.lengths) * np.uint64(0x9E3779B97F4A7C15) + place.astype(np.uint64)
            x = x * np.uint64(0x9E3779B97F4A7C15)
            for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
                x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
        x ^= x >> np.uint64(31)
        return ((x >> np.uint64(40)) / np.float64(1 << 24)).astype(np.float32)  # 24 bits fill a float32


@dataclass(frozen=True)
class ConstantConfig:
    """Every document gets 0. Under a measure that averages over ties this is the expectation of a random ranking."""


@register("constant", ConstantConfig, kind="baseline", formula="s_i = 0", learns=False)
class Constant(FittedRanker):
    """All scores 0."""

    def _fit(self, job: ObjectiveJob) -> int:
        return job.train.n_documents

    def _score(self, split: Split) -> np.ndarray:
        return np.zeros(split.n_documents, np.float32)


@dataclass(frozen=True)
class FeatureConfig:
    """One column of the features, up or down.

    Attributes:
        column: its name, its number counted from 1 as in the files, or "best": the column (and, with sign auto, the
            direction) with the highest selection measure on the training lists.
        sign: up (larger is better), down, or auto: the better of the two on the training lists.
        queries: training lists the choice looks at, drawn with the seed where there are more.
    """

    column: str | int = "best"
    sign: Literal["auto", "up", "down"] = "auto"
    queries: int = 2_000

    def __post_init__(self):
        check(self, queries=(self.queries >= 1, "1 or more"))


@register("feature", FeatureConfig, kind="baseline", formula="s_i = +-x_ic")
class Feature(FittedRanker):
    """Scores by one column; a value that is not finite goes to the end of its list.

    `best` names the column, its sign, and their measure on train; ranker.json carries it, and that is all there is.
    """

    def _fit(self, job: ObjectiveJob) -> int:
        train = job.train
        columns = range(train.n_features) if self.config.column == "best" else [self._column(train)]
        signs = {"auto": (1, -1), "up": (1,), "down": (-1,)}[self.config.sign]
        lists = train
        if train.n_queries > self.config.queries:
            draw = np.random.default_rng(seed_of("feature queries", job.seed))
            lists = train.take(np.sort(draw.choice(train.n_queries, self.config.queries, replace=False)))
        tried = [(column, sign) for column in columns for sign in signs]
        measure = ValidationMeasure(job.measure, lists, job.objective)
        values = [float(measure(_scores(lists, c, s))) for c, s in tried]
        # nanargmax would raise where no list counts (all blank); then the first column stands.
        chosen = int(np.argmax(np.nan_to_num(values, nan=-np.inf)))
        column, sign = tried[chosen]
        names = train.feature_names
        self.best = {
            "column": column + 1,
            "name": names[column] if names else str(column + 1),
            "sign": sign,
            "train": None if np.isnan(values[chosen]) else values[chosen],
        }
        return train.n_documents

    def _column(self, split: Split) -> int:
        asked = self.config.column
        if asked in split.feature_names:
            return split.feature_names.index(asked)
        if isinstance(asked, int) or (asked.isdecimal() and len(asked) < 10):
            number = int(asked)
            if 1 <= number <= split.n_features:
                return number - 1
            raise InputError("no such column", expected=f"1 to {split.n_features}", came=number)
        raise unknown_name("feature", asked, [*split.feature_names, "best"])

    def _score(self, split: Split) -> np.ndarray:
        return _scores(split, self.best["column"] - 1, self.best["sign"])


def _scores(split: Split, column: int, sign: int) -> np.ndarray:
    scores = sign * np.array(split.features[:, column], dtype=np.float32)
    finite = np.isfinite(scores)
    if not finite.all():
        scores[~finite] = np.min(scores, where=finite, initial=0.0) - 1.0
    return scores
