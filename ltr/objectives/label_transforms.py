"""Label transforms: from a raw column (clicks, PageRank, a percentile) to labels a loss and a measure can use.

    identity     the column itself
    grade5       grades 0-4 by quantiles of train, two rules:
                   positives  0 -> 0, positive values by their quartiles -> 1, 2, 3, 4   (columns with zeros)
                   all        quantiles 50, 75, 90, 97 of all values -> 0 ... 4          (columns that are never 0)
    minmax       (x - min) / (max - min) of the list, in [0, 1]; a constant list becomes 0
    log-minmax   minmax of sign(x) log(1 + |x|)
    reciprocal   1 / x of a rank x = 1, 2, ... in another ranking; 0 where that ranking left the document out (NaN)

A column that is better when lower is turned round before anything else (x -> -x), so that a higher label is always the
better one; its zeros are then its best values, and grade5 takes the rule "all".

Only grade5 is fitted, on train alone. A threshold is a value that occurs in train (the inverse of the empirical
distribution function), and a grade counts the thresholds that lie strictly below a value: equal values get equal
grades, and float32 columns are graded without rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ltr.errors import InputError, check_name

__all__ = ["NAMES", "Direction", "LabelTransform", "Name", "Rule", "fit"]

Name = Literal["identity", "grade5", "minmax", "log-minmax", "reciprocal"]
Direction = Literal["max", "min"]
Rule = Literal["positives", "all"]
NAMES: tuple[Name, ...] = ("identity", "grade5", "minmax", "log-minmax", "reciprocal")
_QUANTILES = {"positives": (0.25, 0.5, 0.75), "all": (0.5, 0.75, 0.9, 0.97)}


@dataclass(frozen=True)
class LabelTransform:
    """A fitted label transform, a plain value: equal fields, equal labels.

    Attributes:
        name: one of `NAMES`.
        direction: whether a higher ("max") or a lower ("min") raw value is better.
        rule: of grade5; None for the others.
        thresholds: of grade5, ascending, of the column turned so that higher is better.
    """

    name: Name
    direction: Direction = "max"
    rule: Rule | None = None
    thresholds: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_name("label transform", self.name, NAMES)
        check_name("direction", self.direction, ("max", "min"))
        if self.name == "identity" and self.direction == "min":
            raise InputError(
                "a column that is better when lower is no label by itself",
                came="identity, direction min",
                do="Take grade5, minmax or log-minmax, which turn it round.",
            )
        if self.name == "reciprocal" and self.direction == "max":
            raise InputError("the first rank is the best one", came="reciprocal, direction max", expected="min")
        wanted = len(_QUANTILES.get(self.rule or "", ())) if self.name == "grade5" else 0
        if (self.name == "grade5") != (self.rule is not None) or len(self.thresholds) != wanted:
            expected = f"{wanted} thresholds of a rule for grade5, none for the others"
            raise InputError("not a fitted label transform", expected=expected, came=self)

    def apply(self, values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        """Labels float32 `[documents]` of a raw column `[documents]`; `offsets` `[queries + 1]` cut it into lists."""
        values = np.asarray(values)
        if values.ndim != 1 or offsets[-1] != len(values):
            raise InputError("one raw value a document", expected=f"[{offsets[-1]}]", came=values.shape)
        if self.name == "reciprocal":
            return _reciprocal(values.astype(np.float64))
        _finite(values)
        if self.name == "identity":
            return values.astype(np.float32)
        values = values.astype(np.float64) * (1 if self.direction == "max" else -1)
        if self.name == "grade5":
            grades = np.searchsorted(np.asarray(self.thresholds), values, side="left")
            if self.rule == "positives":
                grades = np.where(values > 0, 1 + grades, 0)
            return grades.astype(np.float32)
        if self.name == "log-minmax":
            values = np.sign(values) * np.log1p(np.abs(values))
        return _minmax(values, np.asarray(offsets)).astype(np.float32)


def fit(
    name: Name, values: np.ndarray, *, direction: Direction = "max", rule: Literal["auto", "positives", "all"] = "auto"
) -> LabelTransform:
    """The transform of that name, fitted on a raw column of the train split.

    Args:
        name: one of `NAMES`.
        values: `[documents]` of train.
        direction: "max" or "min", which raw values are better.
        rule: of grade5. "auto" takes "positives" when train holds a value of 0 or less and higher is better.

    Raises:
        InputError: unknown name, values that are not finite, or a column that cannot be graded: without a positive
            value ("positives"), or whose median is its best value ("all").

    >>> clicks = np.array([0, 0, 0, 1, 2, 3, 40, 0], dtype=np.float32)
    >>> fit("grade5", clicks).apply(clicks, np.array([0, 8])).tolist()
    [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0]
    """
    check_name("rule of grade5", rule, ("auto", "positives", "all"))
    if name != "grade5":
        if rule != "auto":
            raise InputError("a rule belongs to grade5", came={"transform": name, "rule": rule})
        return LabelTransform(name, direction)
    values = np.asarray(values).astype(np.float64) * (-1 if direction == "min" else 1)
    _finite(values)
    if rule == "auto":
        rule = "positives" if direction == "max" and len(values) and values.min() <= 0 else "all"
    graded = values[values > 0] if rule == "positives" else values
    if len(graded) == 0:
        what = "no positive value in train" if rule == "positives" else "no value in train"
        raise InputError(f"grade5 finds {what}", do="Choose another column, or rule='all'.")
    thresholds = np.quantile(graded, _QUANTILES[rule], method="inverted_cdf")
    if rule == "all" and not graded.max() > thresholds[0]:
        expected = "a median below the best value"
        raise InputError("grade5 would give every document of train grade 0", expected=expected, came=thresholds[0])
    return LabelTransform(name, direction, rule, tuple(thresholds.tolist()))


def _finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise InputError("a raw label is not finite", came=f"{values[row]} in row {row}")


def _reciprocal(ranks: np.ndarray) -> np.ndarray:
    out = np.isnan(ranks)
    bad = ~out & ~(ranks >= 1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError("a rank begins at 1", expected="1, 2, ..., or missing", came=f"{ranks[row]} in row {row}")
    return np.where(out, 0.0, 1 / np.where(out, 1.0, ranks)).astype(np.float32)


def _minmax(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    lengths = np.diff(offsets)
    starts = offsets[:-1][lengths > 0]  # reduceat has no value for an empty list
    if len(starts) == 0:
        return values
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    low, spread = (np.repeat(each, lengths[lengths > 0]) for each in (low, high - low))
    scaled: np.ndarray = np.divide(values - low, spread, out=np.zeros_like(values), where=spread > 0)
    return scaled
