"""Measures of scores against labels over ragged lists, one float64 value per list.

    judged = Judgements(labels, offsets)                # once per dataset: ideal orders, counts, validation
    evaluate(["nDCG@10", "AP"], scores, judged)         # once per score vector: one sort for all measures

On a CPU it needs numpy only. Tensors on another device are evaluated there, by the same code.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from functools import cached_property

import numpy as np

from ltr.errors import InputError

from .kernels import MEASURES, discount
from .measure import Measure, measure
from .ragged import Lists, Numpy, Torch

__all__ = ["Judgements", "Order", "count", "count_blank", "evaluate", "mean"]


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

    >>> evaluate("nDCG@2", [1.2, 0.4, 1.9, -0.3], [1, 3, 0, 2], [0, 4])
    {'nDCG(gain=exp2,empty=skip)@2': array([0.07094896])}
    """
    if isinstance(labels, Judgements):
        judged = labels
        if offsets is not None or doc_ids is not None or device is not None:
            raise InputError("offsets, doc_ids and device belong to the Judgements", do="Give them to Judgements(...)")
    else:
        if offsets is None:
            raise InputError("labels need offsets", expected="evaluate(measures, scores, labels, offsets)")
        judged = Judgements(labels, offsets, doc_ids, device=_device_of(scores, labels) if device is None else device)
    one = isinstance(measures, (str, Measure))
    asked = [measure(m) for m in ([measures] if one else measures)]
    ranking = Order(judged, _scores(judged, scores))
    values = {}
    for m in asked:
        entry = MEASURES[m.name]
        value = entry.function(ranking.under(m.ties), m)
        if m.short == "0":
            value = judged.xp.where(judged.lists.lengths < m.cutoff, 0.0, value)
        filler = {"skip": float("nan"), "0": 0.0, "1": 1.0}[m.empty]
        value = judged.xp.where(judged.blank(entry.claims["blank"], m.rel), filler, value)
        values[repr(m)] = judged.xp.host(value)
    return values


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


class Judgements:
    """Labels of query lists, checked once, and everything about them that no score changes.

    Args:
        labels: `[documents]`, finite and not negative.
        offsets: `[lists + 1]`; list q is documents `offsets[q]:offsets[q + 1]`.
        doc_ids: `[documents]`, for ties=docid; compared as text.
        device: where to compute; the labels' own device by default.
    """

    def __init__(self, labels, offsets, doc_ids=None, *, device=None):
        xp = self.xp = _arrays(device if device is not None else _device_of(labels))
        offsets, labels = _numpy(offsets), _shaped("labels", labels)
        _check_offsets(offsets, len(labels))
        self.lists = Lists(xp, xp.ints(offsets))
        self.labels = xp.floats(labels)
        self._offsets, self._memo = offsets, {}
        if self.lists.size and (bad := ~(self.labels >= 0) | (self.labels == float("inf"))).any():
            raise InputError(
                f"label of {self.place(bad)}", expected="a finite number from 0", came=float(self.labels[bad][0]),
                do="Leave unjudged and padded documents out; a label is never a marker",
            )
        if doc_ids is not None and len(doc_ids) != len(labels):
            raise InputError("one document id a document", expected=f"{len(labels)} ids", came=len(doc_ids))
        self._doc_ids = doc_ids

    def place(self, bad) -> str:
        """ "document 3 of query 7" for the first True, both counted from 0."""
        at = int(self.xp.nonzero(bad)[0])
        query = int(np.searchsorted(self._offsets, at, side="right")) - 1
        return f"document {at - int(self._offsets[query])} of query {query}"

    def values(self, name):
        """What each document is worth, float64 `[documents]`.

        Args:
            name: "exp2" (2^y - 1), "linear" (y), ("rel", t) (1 where y >= t), ("stop", G) ((2^y - 1) / 2^G).
        """
        if name not in self._memo:
            self._memo[name] = self._value(name)
        return self._memo[name]

    def _value(self, name):
        match name:
            case "linear":
                return self.labels
            case "exp2":
                self._at_most(52, "gain=exp2", "2^y - 1 is not exact above it; use gain=linear or rescale the labels")
                return 2.0**self.labels - 1
            case ("rel", threshold):
                return self.xp.floats(self.labels >= threshold)
            case ("stop", grade):
                self._at_most(grade, f"ERR(max_grade={grade})", "Set max_grade to the highest label of the dataset")
                return (2.0**self.labels - 1) / 2.0**grade
        raise KeyError(name)

    def _at_most(self, limit: float, who: str, do: str):
        bad = self.labels > limit
        if bad.any():
            raise InputError(
                f"label of {self.place(bad)} is too large for {who}", expected=f"at most {limit}",
                came=float(self.labels[bad][0]), do=do,
            )

    @cached_property
    def ideal(self) -> Order:
        """Every list by falling label; its tie groups are the documents of one label."""
        return Order(self, self.labels)

    def ideal_gains(self, gain: str):
        """Gains in ideal order, `[documents]`."""
        key = ("ideal", gain)
        if key not in self._memo:
            self._memo[key] = self.values(gain)[self.ideal.row]
        return self._memo[key]

    def ideal_dcg(self, gain: str, kind: str, k: int | None):
        """DCG@k of the best order, `[lists]`."""
        key = ("ideal", gain, kind, k)
        if key not in self._memo:
            top = self.lists.top(k)
            weight = top.by_rank(("discount", kind), lambda rank: discount(kind, rank))
            self._memo[key] = top.sum(self.ideal_gains(gain)[top.slots] * weight)
        return self._memo[key]

    def relevant(self, rel: float):
        """Documents of label `rel` or higher in each list, `[lists]`."""
        key = ("relevant", rel)
        if key not in self._memo:
            self._memo[key] = self.lists.sum(self.values(("rel", rel)))
        return self._memo[key]

    def blank(self, kind: str, rel: float | None = None):
        """Lists, bool `[lists]`, without a positive label ("gain"), a label >= rel ("relevant"), or a "pair"."""
        key = ("blank", kind, rel)
        if key not in self._memo:
            what = {
                "gain": lambda: self.lists.sum(self.xp.floats(self.labels > 0)),
                "relevant": lambda: self.relevant(rel),
                "pair": lambda: self.pairs,
            }[kind]()
            self._memo[key] = what == 0
        return self._memo[key]

    @cached_property
    def _label_groups(self) -> Lists:
        return self.lists.groups(self.ideal.tied)

    @cached_property
    def label_levels(self):
        """int64 `[documents]`: 0 for the best label of its list, 1 for the next lower one, ..."""
        group = self._label_groups.query
        levels = self.xp.arange(self.lists.size)
        levels[self.ideal.row] = group - group[self.lists.first]
        return levels

    @cached_property
    def level_bits(self) -> int:
        return int(self.label_levels.max()).bit_length() if self.lists.size else 0

    @cached_property
    def pairs(self):
        """Pairs of documents with different labels in each list, float64 `[lists]`."""
        return self.lists.sum(self._label_groups.first - self.lists.first)  # documents of higher label, summed

    def tie_order(self, rule: str):
        """Rows rearranged inside their lists, so that a stable sort by score breaks ties by the rule."""
        if rule not in self._memo:
            self._memo[rule] = self.lists.descending(self._tie_key(rule))[0]
        return self._memo[rule]

    def _tie_key(self, rule: str):
        if rule == "worst":
            return -self.labels
        if seed := re.fullmatch(r"random\((\d+)\)", rule):
            return self.xp.floats(np.random.default_rng(int(seed[1])).random(self.lists.size))
        if self._doc_ids is None:
            raise InputError("ties=docid needs the documents' ids", do="Give doc_ids=... to evaluate or Judgements")
        text = np.asarray(self._doc_ids).astype(str)
        return self.xp.floats(np.unique(text, return_inverse=True)[1])


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
                other = Order.__new__(Order)
                other.__dict__.update(self.__dict__, groups=self.lists.groups(self.tied), _rules={}, _means={})
            else:
                other = Order(self.judged, self._scores, rule)
            self._rules[rule] = other
        return self._rules[rule]

    def expected(self, name, top: Lists):
        """`judged.values(name)` of the document at each slot of `top`, in expectation where scores are tied."""
        values = self.judged.values(name)
        if self.groups is None:
            return values[self.row[top.slots]]
        if name not in self._means:
            self._means[name] = self.groups.sum(values[self.row]) / self.groups.lengths
        return self._means[name][self.groups.query[top.slots]]


def _device_of(*inputs) -> str:
    """The accelerator one of the tensors lives on, else "cpu"."""
    torch = sys.modules.get("torch")  # nobody can hand in a tensor before torch is imported
    for x in inputs:
        if torch is not None and isinstance(x, torch.Tensor) and x.device.type != "cpu":
            return str(x.device)
    return "cpu"


def _arrays(device):
    if isinstance(device, (Numpy, Torch)):
        return device
    # Apple's GPU has no float64: its tensors are brought home.
    return Numpy() if str(device).startswith(("cpu", "mps")) else Torch(device)


def _numpy(x) -> np.ndarray:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu()
        return (x.float() if x.dtype in (torch.bfloat16, torch.float16) else x).numpy()
    return np.asarray(x)


def _shaped(what: str, x):
    """A numeric `[documents]` array or tensor."""
    torch = sys.modules.get("torch")
    x = x.detach() if torch is not None and isinstance(x, torch.Tensor) else np.asarray(x)
    if x.ndim != 1:
        raise InputError(
            f"{what} of the wrong shape", expected="[documents], all lists one after another", came=tuple(x.shape),
            do="Padded lists: take the real documents, x[where]",
        )
    if isinstance(x, np.ndarray) and x.dtype.kind not in "fiub":
        if x.size == 0:
            return x.astype(np.float64)
        raise InputError(f"{what} are not numbers", expected="floats or integers", came=str(x.dtype))
    return x


def _scores(judged: Judgements, scores):
    """Scores as float32 or float64 on the device of the judgements, finite and one a document."""
    scores = _shaped("scores", scores)
    if len(scores) != judged.lists.size:
        raise InputError("one score a document", expected=f"[documents={judged.lists.size}]", came=tuple(scores.shape))
    if isinstance(judged.xp, Numpy):
        scores = _numpy(scores)
        scores = scores if scores.dtype == np.float32 else scores.astype(np.float64, copy=False)
    else:
        scores = judged.xp.torch.as_tensor(scores, device=judged.xp.device)
        small = scores.dtype.is_floating_point and scores.dtype.itemsize <= 4
        scores = scores.float() if small else scores.double()
    bad = ~(abs(scores) < float("inf"))
    if bad.any():
        raise InputError(
            f"score of {judged.place(bad)}", expected="a finite number", came=float(scores[bad][0]),
            do="A ranker that diverged has no measure; it is not ranked last in silence",
        )
    return scores


def _check_offsets(offsets: np.ndarray, documents: int):
    if offsets.ndim != 1 or len(offsets) == 0 or offsets.dtype.kind not in "iu":
        raise InputError("offsets of the wrong kind", expected="whole numbers [lists + 1]", came=offsets)
    if offsets[0] != 0 or offsets[-1] != documents:
        raise InputError(
            "offsets do not cover the documents", expected=f"0 ... {documents}", came=f"{offsets[0]} ... {offsets[-1]}"
        )
    down = np.flatnonzero(offsets[1:] < offsets[:-1])
    if len(down):
        pair = offsets[down[0] : down[0] + 2].tolist()
        raise InputError(f"list {down[0]} ends before it starts", expected="offsets that never fall", came=pair)
