"""Measures of scores against labels over ragged lists, one float64 value per list.

    judged = Judgements(labels, offsets)                # once per dataset: ideal orders, counts, validation
    evaluate(["nDCG@10", "AP"], scores, judged)         # once per score vector: one sort for all measures

On a CPU it needs numpy only. Tensors on another device are evaluated there, by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from ltr.errors import InputError

from .backends import Lists, Numpy
from .judgements import Judgements, device_of, shaped, to_numpy
from .measure import Measure, measure
from .measures import MEASURES

__all__ = ["Order", "count", "count_blank", "evaluate", "mean"]


def evaluate(
    measures: str | Measure | Iterable[str | Measure], scores, labels, offsets=None, *, doc_ids=None, device=None
) -> dict[str, np.ndarray]:
    """Values of measures, one per list.

    Args:
        measures: names or measures, or one of them.
        scores: `[documents]`, higher is better; array or tensor, finite.
        labels: `[documents]`, finite and not negative; or `Judgements`, which keep what no score changes.
        offsets: `[lists + 1]`; list q is documents `offsets[q]:offsets[q + 1]`. Not with `Judgements`.
        doc_ids: `[documents]`, for measures with ties=docid. Not with `Judgements`.
        device: where to compute; the tensors' own device by default, numpy for arrays and CPU tensors.

    Returns:
        The measure's repr -> float64 `[lists]`; NaN where empty=skip leaves the list out. A list's values have the
        same bits whatever other lists and measures are asked for.

    Raises:
        InputError: for shapes that do not fit, a score that is not finite or a label that is negative or not finite
            (the query is named), labels too large for the gain, or an unknown measure.

    >>> values = evaluate("nDCG@2", [1.2, 0.4, 1.9, -0.3], [1, 3, 0, 2], [0, 4])
    >>> {name: value.round(5).tolist() for name, value in values.items()}
    {'nDCG(gain=exp2,empty=skip)@2': [0.07095]}
    """
    if isinstance(labels, Judgements):
        judged = labels
        if offsets is not None or doc_ids is not None or device is not None:
            raise InputError("offsets, doc_ids and device belong to the Judgements", do="Give them to Judgements(...)")
    else:
        if offsets is None:
            raise InputError("labels need offsets", expected="evaluate(measures, scores, labels, offsets)")
        judged = Judgements(labels, offsets, doc_ids, device=device_of(scores, labels) if device is None else device)
    one = isinstance(measures, (str, Measure))
    asked = [measure(m) for m in ([measures] if one else measures)]
    ranking = Order(judged, _scores(judged, scores))
    return {repr(m): judged.xp.host(value_of(m, ranking)) for m in asked}


def value_of(m: Measure, ranking: Order):
    """One measure of a ranking under its rules for ties, blank and short lists, float64 `[lists]` on its device."""
    entry, judged = MEASURES[m.name], ranking.judged
    value = entry.function(ranking.under(m.ties), m)
    if m.short == "0":
        value = judged.xp.where(judged.lists.lengths < m.cutoff, 0.0, value)
    filler = {"skip": float("nan"), "0": 0.0, "1": 1.0}[m.empty]
    return judged.xp.where(judged.blank(entry.claims["blank"], m.rel), filler, value)


def mean(values) -> float:
    """Mean over the lists that count (not NaN); NaN, never 0, when none does.

    >>> mean([0.5, float("nan"), 1.0])
    0.75
    """
    values = np.asarray(values, dtype=np.float64)
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else float("nan")


def count(values) -> int:
    """How many lists `mean` is a mean of.

    >>> count([0.5, float("nan"), 1.0])
    2
    """
    return int(np.count_nonzero(~np.isnan(np.asarray(values, dtype=np.float64))))


def count_blank(labels, offsets, rel: float = 1) -> int:
    """Lists without a document of label `rel` or higher, empty ones included.

    >>> count_blank([0, 0, 1, 0], [0, 2, 4])
    1
    """
    judged = Judgements(labels, offsets)
    return int(judged.blank("relevant", rel).sum())


class Order:
    """Every list's documents by falling score, under one tie rule.

    Attributes:
        row: int64 `[documents]`, the document at each slot.
        tied: bool `[documents]`, True where a slot's score equals that of the slot before it.
        groups: tie groups as `Lists` where measures take the expectation over their orders; None where the order of
            `row` counts, or where nothing is tied.
    """

    def __init__(self, judged: Judgements, scores, rule: str = "order"):
        self.judged, self.xp, self.lists = judged, judged.xp, judged.lists
        self._scores, self._rules, self.groups = scores, {}, None
        if rule == "order":
            self.row, self.tied = self.lists.descending(scores)
        else:
            first = judged.tie_order(rule)
            row, self.tied = self.lists.descending(scores[first])
            self.row = first[row]
        self._means: dict = {}
        self._gathered: dict = {}
        self._ties: list[Lists] = []  # the tie groups once they were asked for, which no label changes

    @cached_property
    def has_ties(self) -> bool:
        return bool(self.tied.any())

    def under(self, rule: str) -> Order:
        """The same scores under another tie rule, made once; without ties all rules are one."""
        if rule.startswith("docid"):
            self.judged.tie_order(rule)  # missing ids are an error even when nothing is tied
        if not self.has_ties or rule == "order":
            return self
        if rule not in self._rules:
            if rule == "mean":
                if not self._ties:
                    self._ties.append(self.lists.groups(self.tied))
                other = self._with(groups=self._ties[0])
            else:
                other = Order(self.judged, self._scores, rule)
            self._rules[rule] = other
        return self._rules[rule]

    def judged_by(self, judged: Judgements) -> Order:
        """The same order with other labels of the same lists: sorted, and looked through for ties, once for all."""
        _ = self.has_ties
        return self._with(judged=judged)

    def _with(self, **own) -> Order:
        other = Order.__new__(Order)
        other.__dict__.update(self.__dict__, _rules={}, _means={}, _gathered={}, **own)
        return other

    def expected(self, name, top: Lists):
        """`judged.values(name)` of the document at each slot of `top`, in expectation where scores are tied.

        Kept: measures of one gain, and all of them at one cut-off, gather once.
        """
        key = (name, top.longest)  # cuts of one set of lists differ in their longest
        if key not in self._gathered:
            values = self.judged.values(name)
            if self.groups is None:
                self._gathered[key] = values[self._at("row", self.row, top)]
            else:
                if name not in self._means:
                    self._means[name] = self.groups.sum(values[self.row]) / self.groups.lengths
                self._gathered[key] = self._means[name][self._at("group", self.groups.query, top)]
        return self._gathered[key]

    def _at(self, what: str, of, top: Lists):
        """`of` at the slots of `top`, kept."""
        key = (what, top.longest)
        if key not in self._gathered:
            self._gathered[key] = of[top.slots]
        return self._gathered[key]


def _scores(judged: Judgements, scores):
    """Scores as float32 or float64 on the device of the judgements, finite and one a document."""
    scores = shaped("scores", scores)
    if len(scores) != judged.lists.size:
        raise InputError("one score a document", expected=f"[documents={judged.lists.size}]", came=tuple(scores.shape))
    if isinstance(judged.xp, Numpy):
        scores = to_numpy(scores)
        scores = scores if scores.dtype == np.float32 else scores.astype(np.float64, copy=False)
    else:
        scores = judged.xp.torch.as_tensor(scores, device=judged.xp.device)
        small = scores.dtype.is_floating_point and scores.dtype.itemsize <= 4
        scores = scores.float() if small else scores.double()
    with np.errstate(over="ignore", invalid="ignore"):
        total = scores.sum()  # one pass that sees every NaN and infinity; finite scores may overflow it
    if not abs(total) < float("inf"):
        bad = ~(abs(scores) < float("inf"))
        if not bad.any():
            return scores
        raise InputError(
            f"score of {judged.place(bad)}",
            expected="a finite number",
            came=float(scores[bad][0]),
            do="A ranker that diverged has no measure; it is not ranked last in silence",
        )
    return scores
