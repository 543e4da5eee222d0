"""Every list's documents by falling score, under one rule for ties: what measures look at."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any

import numpy as np

from ltr.errors import InputError

from .backends import Array, Lists, NumpyBackend
from .judgements import Judgements, shaped, to_numpy

__all__ = ["RankedLists", "checked_scores"]


class RankedLists:
    """Every list's documents by falling score, under one tie rule.

    Attributes:
        scores: `[documents]`, in the order of the rows.
        row: int64 `[documents]`, the document at each slot.
        tied: bool `[documents]`, True where a slot's score equals that of the slot before it.
        groups: tie groups as `Lists` where measures take the expectation over their orders; None where the order of
            `row` counts, or where nothing is tied.
    """

    def __init__(self, judged: Judgements, scores: Array, rule: str = "order") -> None:
        self.judged, self.xp, self.lists = judged, judged.xp, judged.lists
        self.scores = scores
        self._rules: dict[str, RankedLists] = {}
        self.groups: Lists | None = None
        if rule == "order":
            self.row, self.tied = self.lists.descending(scores)
        else:
            first = judged.tie_order(rule)
            row, self.tied = self.lists.descending(scores[first])
            self.row = first[row]
        self._means: dict[Hashable, Array] = {}
        self._gathered: dict[Hashable, Array] = {}
        self._ties: list[Lists] = []  # the tie groups once they were asked for, which no label changes

    @cached_property
    def has_ties(self) -> bool:
        return bool(self.tied.any())

    def under(self, rule: str) -> RankedLists:
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
                other = RankedLists(self.judged, self.scores, rule)
            self._rules[rule] = other
        return self._rules[rule]

    def judged_by(self, judged: Judgements) -> RankedLists:
        """The same order with other labels of the same lists: sorted, and looked through for ties, once for all."""
        _ = self.has_ties
        return self._with(judged=judged)

    def _with(self, **own: Any) -> RankedLists:
        other = RankedLists.__new__(RankedLists)
        other.__dict__.update(self.__dict__, _rules={}, _means={}, _gathered={}, **own)
        return other

    def expected(self, name: Hashable, top: Lists) -> Array:
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

    def _at(self, what: str, of: Array, top: Lists) -> Array:
        """`of` at the slots of `top`, kept."""
        key = (what, top.longest)
        if key not in self._gathered:
            self._gathered[key] = of[top.slots]
        return self._gathered[key]


def checked_scores(judged: Judgements, scores: Any) -> Array:
    """Scores as float32 or float64 on the device of the judgements, finite and one a document."""
    scores = shaped("scores", scores)
    if len(scores) != judged.lists.size:
        raise InputError("one score a document", expected=f"[documents={judged.lists.size}]", came=tuple(scores.shape))
    if isinstance(judged.xp, NumpyBackend):
        scores = to_numpy(scores)
        if scores.dtype.itemsize > 4 and scores.dtype != np.float64 and scores.size:
            # Whole numbers beyond 2^53, and long doubles, may be one double: their ranks are not.
            exact = abs(scores).max() <= 2**53 if scores.dtype.kind in "iu" else not np.isfinite(scores).all()
            scores = scores if exact else np.unique(scores, return_inverse=True)[1]
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
