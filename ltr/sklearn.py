"""The face for people who have arrays or data frames: scikit-learn's verbs over the rankers and losses of the
catalogue."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from ltr.datasets.readers.column_roles import is_outcome
from ltr.errors import InputError, unknown_name
from ltr.losses import loss as make_loss
from ltr.metrics import evaluate, mean
from ltr.rankers import HEADLINE, RANKERS, TrainingConfig, make_ranker
from ltr.schema import bind
from ltr.types import Split

__all__ = ["RankingEstimator"]

_OWN = ("ranker", "loss", "seed", "select", "single_list")
_TRAINING = tuple(f.name for f in fields(TrainingConfig))
_QUERY = ("qid", "query_id", "queryid")  # columns of a data frame, in any case, that say the query and are no features
_SAID: set[str] = set()


class RankingEstimator(BaseEstimator):
    """Ranks documents from arrays or data frames.

    Parameters:
        ranker: name in the catalogue of rankers.
        loss: name in the catalogue of losses, or None for rankers that bring their own objective (they ignore it).
        seed: everything random follows from it.
        select: measure that picks the epoch or iteration, when `fit` gets an `eval_set`.
        single_list: rows that come with neither `group` nor `qid` are one list; otherwise that is an error.
        **params: parameters of the ranker (`hidden=(64,)`, `rounds=200`), of the training loop (`epochs=20`,
            `learning_rate=1e-3`) and, as `loss_params={...}`, of the loss. What is not given keeps its default.

    Attributes:
        ranker_: the fitted ranker of the suite; `ranker_.save(folder)` keeps it, `ranker_.notes` is what it has to say.
        log_: what its training left to tell: seconds, selection, history and speeds.
        n_features_in_: columns of `X`.
        feature_names_in_: their names, where `X` was a data frame with names.

    Example:
        >>> import numpy as np
        >>> X = np.array([[1.2], [0.4], [1.9], [-0.3], [2.0], [1.0]], dtype=np.float32)
        >>> y = [1, 0, 2, 0, 1, 0]
        >>> model = RankingEstimator("linear", loss="listnet", epochs=3, transform="none").fit(X, y, group=[4, 2])
        >>> model.predict(X, group=[4, 2]).shape
        (6,)
    """

    def __init__(
        self,
        ranker: str = "mlp",
        loss: str | None = "listnet",
        seed: int = 0,
        select: str = HEADLINE,
        single_list: bool = False,
        **params,
    ):
        self.ranker = ranker
        self.loss = loss
        self.seed = seed
        self.select = select
        self.single_list = single_list
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
        single_list: bool | None = None,
        groups: Sequence | None = None,
    ) -> RankingEstimator:
        """Trains on lists.

        Args:
            X: `[documents, feature]`, an array or a data frame; NaN and missing values are allowed where the ranker
                allows them. Columns of a data frame go by their names, and one called qid says the query.
            y: `[documents]` grades, 0 and up.
            group: documents of each query, in the order of the rows, summing to `len(X)`.
            qid: `[documents]` query of each row, in any order, instead of `group`.
            eval_set: `(X, y, group)` that picks the epoch or iteration; without it the last one is kept. `group` is a
                `qid` there when `qid` is one here, and left out when a column says it.
            accelerator: "auto", "cpu", "gpu" or "mps".
            single_list: in place of the parameter of that name.
            groups: is refused; the name other libraries have for `qid`.

        Raises:
            InputError: shapes or types that do not fit, missing ids, rows without a query, negative grades, unknown
                names or parameters.
        """
        single = self.single_list if single_list is None else single_list
        X = _frame(X)
        lists, _ = _lists(X, y, group, qid, "train", groups=groups, single=single)
        named = bool(_names(X))
        if len(infinite := np.argwhere(np.isinf(lists.features))):
            row, column = int(lists.row[infinite[0, 0]]), lists.feature_names[infinite[0, 1]]
            _say(f"{len(infinite):,} infinite values among the features, the first in row {row}, column {column}")
        if outcomes := [repr(n) for n in lists.feature_names if named and is_outcome(n)]:
            _say(f"features whose names speak of a judgement or an outcome: {', '.join(outcomes)}")
        known = lists.feature_names if named else None
        vali = None
        if eval_set is not None:
            if not isinstance(eval_set, tuple | list) or len(eval_set) not in (2, 3):
                came = f"{len(eval_set)} items" if hasattr(eval_set, "__len__") else type(eval_set).__name__
                raise InputError("eval_set is a triple", expected="(X, y, group)", came=came)
            Xv, yv, *by = eval_set
            Xv = _frame(Xv)
            own = {"qid": by[0]} if by and qid is not None else {"group": by[0]} if by else {}
            vali, _ = _lists(Xv, yv, own.get("group"), own.get("qid"), "vali", known=known, single=single)
        params, training, loss_params = self._sorted_params()
        needs = RANKERS[self.ranker].claims["needs_loss"]
        bound = make_loss(self.loss, **loss_params) if needs and self.loss is not None else None
        settings = {} if training is None else {"training": training}
        ranker = make_ranker(self.ranker, loss=bound, seed=self.seed, **settings, **params)
        self.ranker_ = ranker.fit(lists, vali, select=self.select, accelerator=accelerator)
        best = dict(ranker.best)
        keys = ("seconds", "documents_per_second", "step_seconds")
        self.log_ = {
            **{key: ranker.cost.get(key) for key in keys},
            "selection": {"value": best.pop("vali", None), **best},
            "history": list(ranker.history),
        }
        self.n_features_in_ = lists.n_features
        if named:
            self.feature_names_in_ = np.array(lists.feature_names, dtype=object)
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        for note in ranker.notes:
            _say(note)
        return self

    def predict(
        self, X, group: Sequence[int] | None = None, *, qid: Sequence | None = None, single_list: bool | None = None
    ) -> np.ndarray:
        """Scores in the order of the rows, higher is better.

        Args:
            X: `[documents, feature]` as in `fit`; a data frame may have its columns in another order.
            group, qid, single_list: lists, as in `fit`. A ranker that scores each document by itself needs none.

        Returns:
            float32 `[documents]`.
        """
        check_is_fitted(self, "ranker_")
        alone = RANKERS[self.ranker_.name].claims["independent"]
        single = alone or (self.single_list if single_list is None else single_list)
        lists, order = _lists(_frame(X), None, group, qid, "X", known=self._known(), single=single)
        scores = np.empty(lists.n_documents, np.float32)
        scores[order] = self.ranker_.score(lists)
        return scores

    def score(
        self,
        X,
        y,
        group: Sequence[int] | None = None,
        *,
        qid: Sequence | None = None,
        measure: str | None = None,
        single_list: bool | None = None,
    ) -> float:
        """Mean of a measure (the selection measure by default) of the predictions for `X`.

        scikit-learn's searches hand no `qid` over to this method: there the rows of a fold count as one list, which is
        said, unless `X` is a data frame with a column qid.
        """
        check_is_fitted(self, "ranker_")
        X = _frame(X)
        given = group is not None or qid is not None or bool(set(_QUERY) & set(_names(X)))
        if not given and not (self.single_list if single_list is None else single_list):
            _say("score: all rows count as one list, because no query came with them; give X a column qid")
        lists, _ = _lists(X, y, group, qid, "X", known=self._known(), single=True)
        values = evaluate([measure or self.select], self.ranker_.score(lists), lists.label(), lists.offsets)
        return float(mean(next(iter(values.values()))))

    def _known(self) -> tuple[str, ...] | None:
        return tuple(self.feature_names_in_) if hasattr(self, "feature_names_in_") else None

    def _sorted_params(self) -> tuple[dict, TrainingConfig | None, dict]:
        """Parameters of the ranker, of the training loop and of the loss, each with whom it belongs to."""
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


def _say(note: str) -> None:
    """Once a process, on stderr where nobody has set the logger "ltr" up."""
    if note not in _SAID:
        _SAID.add(note)
        logging.getLogger("ltr").warning("ltr: %s", note)


# ------------------------------------------------------------------------------------------- rows that become lists


def _lists(
    X, y, group, qid, role: str, *, groups=None, known: tuple[str, ...] | None = None, single: bool = False
) -> tuple[Split, np.ndarray]:
    """The rows as lists, and the row each document came from.

    Args:
        known: names of the columns, of a model that was fitted on a data frame.
        single: rows without a query are one list.
    """
    if groups is not None:
        raise InputError(f"{role}: there is no argument groups", do="Did you mean qid, the query of each row?")
    matrix, names, column = _features(X, role, known)
    rows = len(matrix)
    for what, values in (("y", y), ("qid", qid)):
        if _is_shuffled(X, values):
            raise InputError(
                f"{role}: the rows of {what} stand in another order than those of X",
                do=f"Rows go by their place, not by their index: pass {what}.loc[X.index]",
            )
    y = None if y is None else _grades(y, rows, role)
    if group is not None and qid is not None:
        raise InputError(f"{role}: group and qid say the same thing twice", expected="one of them")
    if group is None and qid is None and column is None:
        if not single:
            raise InputError(
                f"{role}: no query came with the rows, so nobody knows which documents are ranked together",
                do="Give group (documents of each query), qid (query of each row, also as a column of X), or set "
                "single_list=True",
            )
        group = [rows]
    order, ids = np.arange(rows), None
    if group is None:
        which, ids = _queries(column if qid is None else qid, rows, role)
        if qid is not None and column is not None and not np.array_equal(_queries(column, rows, role)[0], which):
            raise InputError(f"{role}: qid and the column of X that says the query disagree")
        # Queries in the order of their first row: the order of lists decides batches, so it must be the user's own.
        order, group = np.argsort(which, kind="stable"), np.bincount(which)
    else:
        group = _sizes(group, rows, role)
        if column is not None:
            runs = np.flatnonzero(np.diff(_queries(column, rows, role)[0], prepend=-1))
            if not np.array_equal(np.diff(runs, append=rows), group[group > 0]):
                raise InputError(f"{role}: group and the column of X that says the query disagree")
    split = Split.from_arrays(matrix[order], None if y is None else y[order], group, name=role)
    split = replace(split, row=order, feature_names=names or split.feature_names)
    return split if ids is None else replace(split, query_ids=np.array([_text(i) for i in ids])), order


def _is_shuffled(X, values) -> bool:
    """Whether a data frame and a series have the same index in another order."""
    index, other = getattr(X, "index", None), getattr(values, "index", None)
    if not hasattr(index, "equals") or not hasattr(other, "equals") or len(index) != len(other) or index.equals(other):
        return False
    return bool(index.is_unique and other.is_unique and index.isin(other).all())


def _frame(X):
    """Tables of other libraries (polars, Arrow) as a pandas data frame, names as text; what is none stays as it is."""
    X = X.to_pandas() if hasattr(X, "to_pandas") and not hasattr(X, "iloc") else X
    names = _names(X)
    return X if all(isinstance(name, str) for name in names) else X.set_axis([str(name) for name in names], axis=1)


def _names(X) -> list[Any]:
    """Names of the columns of a data frame; none where they are only counted, as of an array."""
    columns = list(getattr(X, "columns", ()))
    return columns if hasattr(X, "iloc") and columns != list(range(len(columns))) else []


def _features(X, role: str, known: tuple[str, ...] | None) -> tuple[np.ndarray, tuple[str, ...], Any]:
    """float32 `[documents, feature]`, the names of its columns (empty: they have none), and the column of queries."""
    if not hasattr(X, "iloc"):
        matrix = _numbers(X, f"{role}: X")
        if matrix.ndim != 2 or matrix.size == 0:
            raise InputError(
                f"{role}: X must be a matrix with rows and columns", expected="[documents, feature]", came=matrix.shape
            )
        return matrix, known or (), None
    if getattr(X, "ndim", 2) != 2 or len(X) == 0:
        raise InputError(f"{role}: X must be a matrix with rows", expected="[documents, feature]", came=X.shape)
    names, column = _names(X), None
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{role}: two columns of X have one name", came=twice)
    said = [name for name in names if str(name).lower() in _QUERY and name not in (known or ())]
    if len(said) > 1:
        raise InputError(f"{role}: two columns of X say the query", came=said, do="Leave one of them out")
    for query in said:
        column = X[query]
        names.remove(query)
        if not names:
            raise InputError(f"{role}: X has no features beside {query!r}")
    if known is not None and names:
        missing, extra = [n for n in known if n not in names], [n for n in names if n not in known]
        if missing or extra:
            said = [f"{what} {', '.join(map(repr, n))}" for what, n in (("without", missing), ("with", extra)) if n]
            raise InputError(
                f"{role}: other columns than the model was fitted on, {' and '.join(said)}",
                do="Give it the columns of the training, in any order",
            )
        names = list(known)
    each = [X[name] for name in names] if names else [X.iloc[:, j] for j in range(X.shape[1])]
    labels = names or range(X.shape[1])
    columns = [_numbers(value, f"{role}: column {name!r} of X") for name, value in zip(labels, each, strict=True)]
    return np.stack(columns, axis=1) if columns else np.zeros((len(X), 0), np.float32), tuple(names), column


def _numbers(values, what: str) -> np.ndarray:
    """As float32, missing values as NaN.

    Raises:
        InputError: text, dates, complex numbers, ragged rows, or a number that float32 cannot hold.
    """
    expected = "numbers (a missing one as NaN)"
    if hasattr(values, "toarray"):
        raise InputError(f"{what} is a sparse matrix", expected="a dense one", do="Call its toarray()")
    try:
        if isinstance(values, np.ma.MaskedArray):
            values = values.astype(np.float64).filled(np.nan)
        if hasattr(values, "iloc"):  # a series, whose own missing value may be pandas.NA
            if getattr(values.dtype, "kind", "O") not in "biufO":
                raise InputError(f"{what} holds no numbers", expected=expected, came=str(values.dtype))
            kind = object if getattr(values.dtype, "kind", "O") == "O" else np.float64
            values = values.to_numpy(dtype=kind, na_value=np.nan)
        array = np.asarray(values)
        if array.ndim == 0:
            raise InputError(f"{what} is no array", expected=expected, came=type(values).__name__)
        if array.dtype == object:
            text = next((v for v in array.ravel() if isinstance(v, str | bytes)), None)
            if text is not None:
                raise InputError(f"{what} holds text", expected=expected, came=text)
            array = np.where(np.frompyfunc(_missing, 1, 1)(array).astype(bool), np.nan, array).astype(np.float64)
        if array.dtype.kind not in "biuf":
            raise InputError(f"{what} holds no numbers", expected=expected, came=str(array.dtype))
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"{what} cannot be read as numbers: {error}", expected=expected) from None
    with np.errstate(over="ignore"):
        small = np.ascontiguousarray(array, dtype=np.float32)
    if array.dtype.itemsize > 4 and np.isinf(small).sum() != np.isinf(array).sum():
        raise InputError(f"{what} holds a number that float32 cannot hold", expected="at most 3.4e38")
    return small


def _text(query: Any) -> str:
    """An id as text: 101.0, which a column with missing values makes of 101, is 101."""
    return str(int(query)) if isinstance(query, float) and query == int(query) else str(query)


def _missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType") or bool(value != value)


def _no_id(value: Any) -> bool:
    """Whether this can be no query id: missing, empty, or a float beyond 2^53, which is several whole numbers."""
    return _missing(value) or value == "" or isinstance(value, float) and not abs(value) <= 2**53


def _grades(y, rows: int, role: str) -> np.ndarray:
    y = _numbers(y if getattr(y, "ndim", 1) == 1 or hasattr(y, "toarray") else np.asarray(y), f"{role}: y")
    if y.shape != (rows,):
        raise InputError(f"{role}: one label a row", expected=f"[documents={rows}]", came=y.shape)
    if not np.isfinite(y).all():
        row = int(np.argmin(np.isfinite(y)))
        raise InputError(f"{role}: labels must be finite", came=f"{y[row]} in row {row}", do="Leave out unjudged rows")
    if (y < 0).any():
        raise InputError(
            f"{role}: grades are 0 and up", came=float(y.min()), do="Leave out unjudged rows, or give them grade 0"
        )
    return y


def _sizes(group, rows: int, role: str) -> np.ndarray:
    sizes = np.asarray(_numbers(group, f"{role}: group"), dtype=np.float64)
    if sizes.ndim != 1 or (sizes != np.round(sizes)).any() or (sizes < 0).any() or sizes.sum() != rows:
        hint = "Did you mean qid, the query of each row?" if sizes.shape == (rows,) else ""
        expected, came = f"sizes that sum to {rows}", float(sizes.sum()) if sizes.ndim == 1 else sizes.shape
        raise InputError(f"{role}: group sizes do not cover the rows", expected=expected, came=came, do=hint)
    return sizes.astype(np.int64)


def _queries(qid, rows: int, role: str) -> tuple[np.ndarray, list[Any]]:
    """The number of each row's query, in the order of their first rows, and the ids of these queries."""
    # A list keeps the types of its ids: numpy would make text of a number beside a text.
    if not hasattr(qid, "__iter__") or isinstance(qid, str):
        raise InputError(f"{role}: one query a row", expected=f"[documents={rows}]", came=qid)
    ids = np.asarray(qid) if hasattr(qid, "dtype") else np.array(list(qid), dtype=object)
    if ids.shape != (rows,):
        raise InputError(f"{role}: one query a row", expected=f"[documents={rows}]", came=ids.shape)
    if ids.dtype.kind in "fcOUS":
        missing = np.frompyfunc(_no_id, 1, 1)(ids).astype(bool)
        if missing.any():
            row = int(np.argmax(missing))
            raise InputError(
                f"{role}: a row without a query id",
                expected="text or a whole number that is exact",
                came=f"{ids[row]} in row {row}",
                do="Leave such rows out",
            )
    if ids.dtype == object and len({isinstance(i, str) for i in ids}) > 1:
        raise InputError(f"{role}: query ids are text and numbers", expected="one kind")
    if ids.dtype == object:
        number: dict[Any, int] = {}
        try:
            return np.array([number.setdefault(i, len(number)) for i in ids]), list(number)
        except TypeError as error:
            raise InputError(f"{role}: query ids cannot be compared: {error}") from None
    _, first, which = np.unique(ids, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[which.reshape(-1)], ids[np.sort(first)].tolist()
