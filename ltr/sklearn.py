"""The face for people who have arrays: scikit-learn's verbs over the rankers and losses of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from .errors import InputError, unknown_name
from .methods.single import train
from .rankers.config import HEADLINE, TrainingConfig
from .schema import bind
from .types import Split

__all__ = ["RankingEstimator"]

_OWN = ("ranker", "loss", "seed", "select")
_TRAINING = tuple(f.name for f in fields(TrainingConfig))


class RankingEstimator(BaseEstimator):
    """Ranks documents from arrays.

    Parameters:
        ranker: name in the catalogue of rankers.
        loss: name in the catalogue of losses, or None for rankers that bring their own objective (they ignore it).
        seed: everything random follows from it.
        select: measure that picks the epoch or iteration, when `fit` gets an `eval_set`.
        **params: parameters of the ranker (`hidden=(64,)`, `n_estimators=200`), of the training loop (`epochs=20`,
            `learning_rate=1e-3`) and, as `loss_params={...}`, of the loss. What is not given keeps its default.

    Attributes:
        ranker_: the fitted ranker of the suite; `ranker_.save(folder)` keeps it.
        log_: what its training left to tell.
        n_features_in_: columns of `X`.

    Example:
        >>> import numpy as np
        >>> X = np.array([[1.2], [0.4], [1.9], [-0.3], [2.0], [1.0]], dtype=np.float32)
        >>> y = [1, 0, 2, 0, 1, 0]
        >>> model = RankingEstimator("linear", loss="listnet", epochs=3, transform="none").fit(X, y, group=[4, 2])
        >>> model.predict(X, group=[4, 2]).shape
        (6,)
    """

    def __init__(
        self, ranker: str = "mlp", loss: str | None = "listnet", seed: int = 0, select: str = HEADLINE, **params
    ):
        self.ranker = ranker
        self.loss = loss
        self.seed = seed
        self.select = select
        self._params = dict(params)

    # scikit-learn reads parameters from the signature; those of the catalogues are known by name only.
    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """All parameters that were given, by name."""
        return {**{name: getattr(self, name) for name in _OWN}, **self._params}

    def set_params(self, **params) -> RankingEstimator:
        """Sets parameters by name; names are checked when `fit` knows the ranker."""
        for name, value in params.items():
            if name in _OWN:
                setattr(self, name, value)
            else:
                self._params[name] = value
        return self

    def fit(
        self,
        X,
        y,
        group: Sequence[int] | None = None,
        *,
        qid: Sequence | None = None,
        eval_set: tuple | None = None,
        accelerator: str = "auto",
    ) -> RankingEstimator:
        """Trains on lists.

        Args:
            X: `[documents, feature]`; NaN is allowed where the ranker allows it.
            y: `[documents]` grades, 0 and up.
            group: documents of each query, in the order of the rows, summing to `len(X)`; one list when None.
            qid: `[documents]` query of each row, in any order, instead of `group`.
            eval_set: `(X, y, group)` that picks the epoch or iteration; without it the last one is kept. `group` is a
                `qid` there when `qid` is one here.
            accelerator: "auto", "cpu", "gpu" or "mps".

        Raises:
            InputError: shapes that do not fit, negative grades, unknown names or parameters.
        """
        lists, _ = _split(X, y, group, qid, "train")
        vali = None
        if eval_set is not None:
            if len(eval_set) != 3:
                raise InputError("eval_set is a triple", expected="(X, y, group)", came=f"{len(eval_set)} items")
            Xv, yv, gv = eval_set
            vali, _ = _split(Xv, yv, *((None, gv) if qid is not None else (gv, None)), "vali")
        params, training, loss_params = self._sorted_params()
        self.ranker_, self.log_ = train(
            lists,
            vali,
            ranker=self.ranker,
            ranker_params=params,
            loss=self._loss(),
            loss_params=loss_params,
            training=training,
            select=self.select,
            seed=self.seed,
            accelerator=accelerator,
        )
        self.n_features_in_ = lists.n_features
        return self

    def predict(self, X, group: Sequence[int] | None = None, *, qid: Sequence | None = None) -> np.ndarray:
        """Scores in the order of the rows, higher is better.

        Args:
            X: `[documents, feature]` as in `fit`.
            group, qid: lists, as in `fit`; they matter to rankers that look at a whole list.

        Returns:
            float32 `[documents]`.
        """
        check_is_fitted(self, "ranker_")
        lists, order = _split(X, None, group, qid, "X")
        scores = np.empty(lists.n_documents, np.float32)
        scores[order] = self.ranker_.score(lists)
        return scores

    def score(
        self, X, y, group: Sequence[int] | None = None, *, qid: Sequence | None = None, measure: str | None = None
    ) -> float:
        """Mean of a measure (the selection measure by default) of the predictions for `X`."""
        from .metrics import evaluate, mean

        check_is_fitted(self, "ranker_")
        lists, _ = _split(X, y, group, qid, "X")
        values = evaluate([measure or self.select], self.ranker_.score(lists), lists.label(), lists.offsets)
        return float(mean(next(iter(values.values()))))

    def _loss(self) -> str | None:
        from .methods.loss_config import takes_loss

        return self.loss if takes_loss(self.ranker) else None

    def _sorted_params(self) -> tuple[dict, TrainingConfig | None, dict]:
        """Parameters of the ranker, of the training loop and of the loss, each with whom it belongs to."""
        from .rankers import RANKERS

        claims = RANKERS[self.ranker].claims
        own = [f.name for f in fields(claims["config"])]
        loop = _TRAINING if claims.get("training") else ()
        loss = ("loss_params",) if claims["needs_loss"] else ()
        for name in self._params:
            if name not in (*own, *loop, *loss):
                raise unknown_name(f"parameter of {self.ranker!r}", name, (*own, *loop, *loss, *_OWN))
        pick = lambda names: {n: v for n, v in self._params.items() if n in names}  # noqa: E731
        training = bind(TrainingConfig, pick([n for n in loop if n not in own])) if loop else None
        return pick(own), training, self._params.get("loss_params") or {}


def _split(X, y, group, qid, name: str) -> tuple[Split, np.ndarray]:
    """The rows as lists, and the row each document came from."""
    X = np.asarray(X)
    if X.ndim != 2 or len(X) == 0:
        raise InputError(f"{name}: X must be a matrix with rows", expected="[documents, feature]", came=X.shape)
    if y is not None:
        y = np.asarray(y, dtype=np.float32)
        if y.shape != (len(X),):
            raise InputError(f"{name}: one label a row", expected=f"[documents={len(X)}]", came=y.shape)
        if (y < 0).any():
            raise InputError(
                f"{name}: grades are 0 and up", came=float(y.min()), do="Leave out unjudged rows, or give them grade 0"
            )
    order = np.arange(len(X))
    if qid is not None:
        if group is not None:
            raise InputError(f"{name}: group and qid say the same thing twice", expected="one of them")
        qid = np.asarray(qid)
        if qid.shape != (len(X),):
            raise InputError(f"{name}: one query a row", expected=f"[documents={len(X)}]", came=qid.shape)
        # Queries in the order of their first row: the order of lists decides batches, so it must be the user's own.
        _, first, which = np.unique(qid, return_index=True, return_inverse=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first)] = np.arange(len(first))
        order = np.argsort(rank[which], kind="stable")
        group = np.bincount(rank[which])
        X, y = X[order], None if y is None else y[order]
    return replace(Split.from_arrays(X, y, group, name=name), row=order), order
