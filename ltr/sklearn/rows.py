"""Rows of arrays and data frames that become query lists."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np

from ltr.datasets.readers.cells import category_code
from ltr.errors import InputError, say_once
from ltr.types import Split, in_another_order, unmasked

__all__ = ["QUERY", "frame", "lists_of", "names_of", "queries"]

QUERY = ("qid", "query_id", "queryid")  # columns of a data frame, in any case, that say the query and are no features


def lists_of(
    X,
    y,
    group,
    qid,
    role: str,
    *,
    groups=None,
    known: tuple[str, ...] | None = None,
    width: int | None = None,
    single: bool = False,
    weights=None,
    kinds: tuple[str, ...] = (),
) -> tuple[Split, np.ndarray]:
    """The rows as lists, and the row each document came from.

    Args:
        known: names of the columns, of a model that was fitted on a data frame.
        width: features of a model that was fitted.
        kinds: names of its columns of categories.
        weights: `[documents]`, of the rows.
        single: rows without a query are one list.
    """
    if groups is not None:
        raise InputError(f"{role}: there is no argument groups", do="Did you mean qid, the query of each row?")
    matrix, names, column, categories = _features(X, role, known, kinds, width)
    rows = len(matrix)
    if width is not None and matrix.shape[1] != width:
        what = f"{role} has {matrix.shape[1]} features, but RankingEstimator is expecting {width} features as input"
        raise InputError(what)
    for what, values in (("y", y), ("qid", qid), ("sample_weight", weights)):
        if in_another_order(X, values):
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
        which, ids = queries(column if qid is None else qid, rows, role)
        if qid is not None and column is not None and not np.array_equal(queries(column, rows, role)[0], which):
            raise InputError(f"{role}: qid and the column of X that says the query disagree")
        # Queries in the order of their first row: the order of lists decides batches, so it must be the user's own.
        order, group = np.argsort(which, kind="stable"), np.bincount(which)
    else:
        group = _sizes(group, rows, role)
        if column is not None:
            runs = np.flatnonzero(np.diff(queries(column, rows, role)[0], prepend=-1))
            if not np.array_equal(np.diff(runs, append=rows), group[group > 0]):
                raise InputError(f"{role}: group and the column of X that says the query disagree")
    split = Split.from_arrays(matrix[order], None if y is None else y[order], group, name=role)
    weights = None if weights is None else _weights(weights, rows, role)[order]
    names = names or split.feature_names
    split = replace(split, row=order, feature_names=names, weights=weights, categories=categories)
    return split if ids is None else replace(split, query_ids=np.array([_text(i) for i in ids])), order


def frame(X):
    """Tables of other libraries (polars, Arrow) as a pandas data frame, names as text; what is none stays as it is."""
    X = _in_place(X.to_pandas() if hasattr(X, "to_pandas") and not hasattr(X, "iloc") else X)
    names = names_of(X)
    return X if all(isinstance(name, str) for name in names) else X.set_axis([str(name) for name in names], axis=1)


def _in_place(X):
    """A data frame whose columns are counted (0, 1, ...), in the order of the count."""
    labels = list(X.columns) if hasattr(X, "iloc") and hasattr(X, "columns") else []
    counted = all(isinstance(label, Integral) for label in labels) and sorted(labels) == list(range(len(labels)))
    return X[sorted(labels)] if labels and counted else X


def names_of(X) -> list[Any]:
    """Names of the columns of a data frame; none where they are only counted, as of an array."""
    columns = list(getattr(X, "columns", ()))
    return columns if hasattr(X, "iloc") and columns != list(range(len(columns))) else []


def _features(
    X, role: str, known: tuple[str, ...] | None, kinds: tuple[str, ...], width: int | None
) -> tuple[np.ndarray, tuple[str, ...], Any, tuple[int, ...]]:
    """float32 `[documents, feature]`, the names of its columns (empty: they have none), the column of queries, and the
    places of those that are categories."""
    if not hasattr(X, "iloc"):
        matrix = _numbers(X, f"{role}: X")
        if matrix.ndim != 2 or matrix.size == 0:
            raise InputError(
                f"{role}: X must be a matrix with rows and columns", expected="[documents, feature]", came=matrix.shape
            )
        return matrix, known or (), None, ()
    if getattr(X, "ndim", 2) != 2 or len(X) == 0:
        raise InputError(f"{role}: X must be a matrix with rows", expected="[documents, feature]", came=X.shape)
    names, column = names_of(X), None
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{role}: two columns of X have one name", came=twice)
    said = [name for name in names if str(name).lower() in QUERY and name not in (known or ())]
    if len(said) > 1:
        raise InputError(f"{role}: two columns of X say the query", came=said, do="Leave one of them out")
    for query in said:
        column = X[query]
        names.remove(query)
        if not names:
            raise InputError(f"{role}: X has no features beside {query!r}")
    if known is not None and not names and all(name.isdigit() for name in known):
        names = [str(name) for name in X.columns]  # of another table whose columns are counted
    if width is not None and known is None and names:
        if all(name.isdigit() for name in names):
            raise InputError(f"{role}: other columns than the model was fitted on", came=names)
        say_once("the model was fitted without names of columns: those of a table count nothing, their places do")
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
    asked = lambda name, value: name in kinds if known is not None else str(value.dtype) == "category"  # noqa: E731
    coded = tuple(k for k, (name, value) in enumerate(zip(labels, each, strict=True)) if asked(name, value))
    columns = [
        _codes(value) if k in coded else _numbers(value, f"{role}: column {name!r} of X")
        for k, (name, value) in enumerate(zip(labels, each, strict=True))
    ]
    matrix = np.stack(columns, axis=1) if columns else np.zeros((len(X), 0), np.float32)
    return matrix, tuple(names), column, coded


def _codes(values) -> np.ndarray:
    """Codes of categories, as of those in a table: of their text, whole numbers without a point."""
    codes = {value: np.nan if _missing(value) else category_code(_text(value)) for value in values.unique()}
    return np.array([codes.get(value, np.nan) for value in values], np.float32)


def _numbers(values, what: str) -> np.ndarray:
    """As float32, missing values as NaN.

    Raises:
        InputError: text, dates, complex numbers, ragged rows, or a number that float32 cannot hold.
    """
    expected = "numbers (a missing one as NaN)"
    if hasattr(values, "toarray"):
        raise InputError(f"{what} is a sparse matrix", expected="a dense one", do="Call its toarray()")
    try:
        values = unmasked(values)
        series = hasattr(values, "iloc")
        if series:  # a series, whose own missing value may be pandas.NA
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
                do = 'Categories: X[column] = X[column].astype("category")' if series and "column" in what else ""
                raise InputError(f"{what} holds text", expected=expected, came=text, do=do)
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


def _weights(weights, rows: int, role: str) -> np.ndarray:
    weights = _numbers(weights, f"{role}: sample_weight")
    if weights.shape != (rows,):
        raise InputError(f"{role}: one weight a row", expected=f"[documents={rows}]", came=weights.shape)
    return weights


def _sizes(group, rows: int, role: str) -> np.ndarray:
    sizes = np.asarray(_numbers(group, f"{role}: group"), dtype=np.float64)
    if sizes.ndim != 1 or (sizes != np.round(sizes)).any() or (sizes < 0).any() or sizes.sum() != rows:
        hint = "Did you mean qid, the query of each row?" if sizes.shape == (rows,) else ""
        expected, came = f"sizes that sum to {rows}", float(sizes.sum()) if sizes.ndim == 1 else sizes.shape
        raise InputError(f"{role}: group sizes do not cover the rows", expected=expected, came=came, do=hint)
    return sizes.astype(np.int64)


def queries(qid, rows: int, role: str) -> tuple[np.ndarray, list[Any]]:
    """The number of each row's query, in the order of their first rows, and the ids of these queries."""
    # A list keeps the types of its ids: numpy would make text of a number beside a text.
    if not hasattr(qid, "__iter__") or isinstance(qid, str | dict | set | frozenset):
        raise InputError(f"{role}: one query a row", expected=f"[documents={rows}]", came=qid)
    if isinstance(qid, np.ma.MaskedArray):
        hidden = np.ma.getmaskarray(qid).tolist()
        qid = [None if mask else each for each, mask in zip(qid.data.tolist(), hidden, strict=True)]
    ids = np.asarray(qid) if hasattr(qid, "dtype") else np.array(list(qid), dtype=object)
    if ids.shape != (rows,):
        raise InputError(f"{role}: one query a row", expected=f"[documents={rows}]", came=ids.shape)
    if ids.dtype.kind in "fcOUSMm":
        missing = np.frompyfunc(_no_id, 1, 1)(ids).astype(bool)
        if ids.dtype.kind == "f":  # beyond this, one number stands for several ids
            missing |= ~(np.abs(ids) <= 2 ** (np.finfo(ids.dtype).nmant + 1))
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
