"""Folds of whole queries, and a scorer that ranks the lists of a fold: for scikit-learn's searches."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.model_selection import BaseCrossValidator

from ltr.errors import InputError
from ltr.metrics import evaluate, mean, measure
from ltr.rankers import HEADLINE

from .rows import QUERY, frame, lists_of, names_of, queries

__all__ = ["GroupFolds", "RankingScorer"]


class GroupFolds(BaseCrossValidator):
    """Cross-validation whose folds hold whole queries, about equally many each.

    Args:
        n_splits: folds.
        seed: of the draw of queries; None keeps them in their order.

    >>> [test.tolist() for _, test in GroupFolds(2, seed=None).split(np.zeros((5, 1)), groups=[1, 1, 2, 3, 3])]
    [[0, 1, 2], [3, 4]]
    """

    __metadata_request__split = {"groups": True}

    def __init__(self, n_splits: int = 5, *, seed: int | None = 0):
        self.n_splits, self.seed = n_splits, seed

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        return self.n_splits

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Rows of train and test of each fold.

        Args:
            X: rows; a data frame with a column qid says the queries itself.
            groups: `[rows]`, the query of each row.

        Raises:
            InputError: nothing says the queries, or there are fewer of them than folds.
        """
        if groups is None:
            X = frame(X)
            name = next((n for n in names_of(X) if n.lower() in QUERY), None)
            if name is None:
                raise InputError("no query came with the rows", do="Give groups (query of each row) or a column qid")
            groups = X[name]
        which, ids = queries(groups, getattr(groups if X is None else X, "shape", [len(groups)])[0], "groups")
        if not isinstance(self.n_splits, Integral) or not 2 <= self.n_splits <= len(ids):
            raise InputError("folds hold a query each at least", expected=f"2 to {len(ids)}", came=self.n_splits)
        order = np.arange(len(ids)) if self.seed is None else np.random.default_rng(self.seed).permutation(len(ids))
        for fold in np.array_split(order, self.n_splits):
            test = np.isin(which, fold)
            yield np.flatnonzero(~test), np.flatnonzero(test)


class RankingScorer(BaseEstimator):
    """`scoring=` of a search: the mean of a measure over the lists of a fold, ranked as lists.

    With scikit-learn's metadata routing (`sklearn.set_config(enable_metadata_routing=True)`) the query of each row
    reaches fit and scorer as `qid`; without it X is a data frame with a column qid.

        search = GridSearchCV(RankingEstimator("mlp"), grid, cv=GroupFolds(5), scoring=RankingScorer("nDCG@10"))
        search.fit(X, y, qid=qid, groups=qid)

    Args:
        measure: a name, a measure or a function, see `ltr.measure`.

    >>> RankingScorer("NDCG@5")
    RankingScorer(measure='NDCG@5')
    """

    __metadata_request__score = {"qid": True}

    def __init__(self, measure: Any = HEADLINE):
        self.measure = measure

    def __call__(self, estimator: Any, X: Any, y: Any, *, qid: Any = None) -> float:
        return self.score(estimator, X, y, qid=qid)

    def score(self, estimator: Any, X: Any, y: Any, *, qid: Any = None) -> float:
        """The mean over the lists that count; NaN where none does."""
        X = frame(X)
        lists, order = lists_of(X, y, None, qid, "X")
        scores = estimator.predict(X) if qid is None else estimator.predict(X, qid=qid)
        name = repr(measure(self.measure))
        return mean(evaluate(name, np.asarray(scores)[order], lists.label(), lists.offsets)[name])
