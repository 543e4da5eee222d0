"""One LightGBM for every preference: w stands beside the features, and every list is there several times.

    round     lambda_i = sum_k w_k lambda_k of lambdarank, for each copy of a list at its own w ~ Dir(alpha)
    score     s(x; w) = the trees at [x, w]

What concatenation is to nets (COSMOS), with the mixed lambdas of `lightgbm-ls`; ours. A split on w alone ranks nothing,
so that trees need depth to use it. The training data are `copies` times as large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ltr.rankers.config import check
from ltr.rankers.training.job import told_names
from ltr.rankers.training.validation import ValidationMeasures
from ltr.rankers.trees.forest import Forest
from ltr.rankers.trees.lightgbm import LightGBMConfig
from ltr.rankers.trees.mixed_lambdas import MixedLightGBM
from ltr.rankers.trees.shared import TreeRanker
from ltr.schema import bind
from ltr.seeds import seed_of
from ltr.types import Split

from .base import METHODS, FitContext, Method
from .boosted_trees import BoostedConfig
from .terms import Term

__all__ = ["ConditionedTrees", "ConditionedTreesConfig"]


@dataclass(frozen=True)
class ConditionedTreesConfig(BoostedConfig):
    """One booster.

    Attributes:
        alpha: concentration of the Dirichlet the preferences of the copies are drawn from.
        copies: of each training list, each at a preference of its own.
    """

    alpha: float = 1.0
    copies: int = 8

    def __post_init__(self):
        check(self, alpha=(self.alpha > 0, "above 0"), copies=(self.copies >= 1, "1 or more"))


def beside(split: Split, preferences: np.ndarray) -> Split:
    """The split with the preference of each list, `[queries, objective]`, as further features."""
    told = np.repeat(np.asarray(preferences, np.float32), split.lengths, axis=0)
    named = told_names(split)
    names = named and (*named, *(f"preference {k + 1}" for k in range(told.shape[1])))
    return split.having(features=np.hstack([split.features, told]), feature_names=names)


class _Booster(MixedLightGBM):
    """Mixed lambdas at a preference a list.

    Args:
        by_list: w of the training lists, `[queries, objective]`.
        shown: preferences the rounds are chosen by, `[preference, objective]`; the validation lists stand there once
            for each, one preference after another.
        judged: the validation lists, once.
    """

    def __init__(self, *given, by_list: np.ndarray, shown: np.ndarray, judged: Split | None, **options):
        super().__init__(*given, preference=shown[0], **options)
        self.by_list, self.shown, self.judged = by_list, shown, judged

    def _weighted(self, vali: Split):
        assert self.judged is not None
        measured = ValidationMeasures(self.measures, self.judged)

        def quality(scores: np.ndarray) -> float:
            rows = scores.reshape(len(self.shown), -1)
            return float(np.nansum(measured(rows) * self.shown, axis=1).mean())

        return quality

    def _weights(self, lists: int, seed: int):
        return lambda: self.by_list


@dataclass(frozen=True)
class _At:
    """The booster at a preference."""

    ranker: TreeRanker
    preference: tuple[float, ...]

    @property
    def n_features(self) -> int:
        return (self.ranker.n_features or 0) - len(self.preference)

    def forest(self) -> Forest:
        """The trees with the preference told."""
        return self.ranker.forest().given(self.preference)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Of the features; what the preference gives goes to the expected score."""
        told = np.tile(np.asarray(self.preference, np.float32), (len(features), 1))
        found = self.ranker.contributions(np.hstack([features, told]))
        kept = features.shape[1]
        return np.hstack([found[:, :kept], found[:, kept:].sum(1, keepdims=True)])

    def score(self, split: Split) -> np.ndarray:
        return self.ranker.score(beside(split, np.tile(self.preference, (split.n_queries, 1))))


@METHODS.register(
    "conditioned-trees",
    formula="E_w lambda = sum_k w_k lambda_k of lambdarank at [x, w], w ~ Dir(alpha)",
    source="COSMOS's concatenation with MO-LightGBM's mixed lambdas; ours",
    config=ConditionedTreesConfig,
    preference="continuous",
    models="one",
    trees=True,
    corners=0.6,  # one forest of the size of one of K
)
class ConditionedTrees(Method):
    """One forest."""

    config: ConditionedTreesConfig

    def _fit(self, context: FitContext) -> int:
        c, train, vali = self.config, context.train, context.vali
        generator = np.random.default_rng(seed_of("preferences of lists", context.seed))
        by_list = generator.dirichlet([c.alpha] * len(context.objectives), size=c.copies * train.n_queries)
        shown = context.preferences
        several = lambda split, n: split.take(np.tile(np.arange(split.n_queries), n))  # noqa: E731
        ranker = _Booster(
            "lightgbm",
            bind(LightGBMConfig, c.lightgbm, where=f"{self.name}.lightgbm"),
            seed=context.seed,
            by_list=by_list,
            shown=shown,
            judged=vali,
            gains=self.gains,
            measures=context.measures,
        )
        look = None if vali is None else beside(several(vali, len(shown)), np.repeat(shown, vali.n_queries, axis=0))
        self.models = [ranker.fit(beside(several(train, c.copies), by_list), look, progress=context.progress)]
        return 1

    def terms(self, w: np.ndarray) -> list[Term]:
        return [Term(1.0, _At(self.models[0], tuple(map(float, w))), w)]
