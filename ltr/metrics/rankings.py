"""Measures of many rankings of the same lists at once: the points of a front, one a preference, for every objective.

    judged = [Judgements(labels[:, k], offsets, device=device) for k in range(m)]
    evaluate_rankings(["nDCG@10"] * m, scores, judged)          # [ranking, list, objective], an array or a tensor

The kernels are those of `evaluate`: K rankings are K copies of the lists, one after another, so one sort orders all of
them for all objectives, nothing loops over lists, and a list has the bits it has alone. With judgements on a GPU the
scores are tensors that are there already and so are the values; between them nothing visits the host but a few counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ltr.errors import InputError

from .backends import Lists, Numpy
from .judgements import Judgements
from .measure import Measure, measure
from .ranking import Order, _scores, value_of

__all__ = ["Copies", "evaluate_rankings"]

# Documents sorted at once: a processor works from its caches; a GPU wants to be filled, and holds some twenty arrays of
# eight bytes a document meanwhile.
_DOCUMENTS, _DOCUMENTS_ON_DEVICE = 1 << 17, 1 << 23


def evaluate_rankings(
    measures: Sequence[str | Measure], scores, judged: Sequence[Judgements], *, documents: int | None = None
):
    """Value of every ranking, list and objective, float64 `[ranking, list, objective]`.

    Args:
        measures: one an objective, any of `MEASURES` with any of its conventions.
        scores: `[ranking, documents]`, finite; array or tensor. They go where the judgements are.
        judged: one an objective: labels of the same lists, on one device.
        documents: sorted at once, at least one ranking's; by default what suits the device. No value depends on it.

    Returns:
        An array, or a tensor on the judgements' device where that is no CPU; NaN where empty=skip leaves a list out.

    Raises:
        InputError: not one measure an objective, other shapes, judgements of different lists, and what `evaluate`
            raises for scores and labels.

    >>> judged = [Judgements(labels, [0, 4]) for labels in ([1, 3, 0, 2], [0, 0, 1, 0])]
    >>> values = evaluate_rankings(["nDCG@2", "RR"], [[1.2, 0.4, 1.9, -0.3], [0.0, 3.0, 1.0, 2.0]], judged)
    >>> values.shape, values[:, 0].round(3).tolist()
    ((2, 1, 2), [[0.071, 1.0], [1.0, 0.333]])
    """
    asked = [measure(m) for m in measures]
    if not judged or len(asked) != len(judged):
        raise InputError("one measure an objective", expected=f"{len(judged)}", came=[repr(m) for m in asked])
    first = judged[0]
    xp, lists = first.xp, first.lists
    if any(not np.array_equal(each._offsets, first._offsets) or each.xp.device != xp.device for each in judged[1:]):
        raise InputError("objectives of different lists", expected="judgements with the same offsets on one device")
    scores = _matrix(xp, scores, lists.size)
    out = xp.zeros(len(scores), len(lists), len(asked))
    step = _rankings_at_once(lists, documents or (_DOCUMENTS if isinstance(xp, Numpy) else _DOCUMENTS_ON_DEVICE))
    copies: dict[int, list[Copies]] = {}
    for at in range(0, len(scores), step):
        block = scores[at : at + step]
        times = len(block)
        if times not in copies:  # the full step, and what is left of it
            shared = Copies(first, times)
            copies = {times: [shared, *(Copies(each, times, shared.lists) for each in judged[1:])]}
        ranking = Order(copies[times][0], _scores(copies[times][0], block.reshape(-1)))
        for k, (m, own) in enumerate(zip(asked, copies[times], strict=True)):
            out[at : at + times, :, k] = value_of(m, ranking.judged_by(own)).reshape(times, -1)
    return out


def _matrix(xp, scores, documents: int):
    scores = np.asarray(scores) if isinstance(xp, Numpy) and not hasattr(scores, "detach") else scores
    if not isinstance(xp, Numpy):
        scores = xp.torch.as_tensor(scores, device=xp.device)
    elif hasattr(scores, "detach"):
        scores = scores.detach().cpu().numpy()
    if scores.ndim != 2 or scores.shape[1] != documents:
        expected = f"[ranking, documents={documents}]"
        raise InputError("scores of several rankings", expected=expected, came=tuple(scores.shape))
    return scores


def _rankings_at_once(lists: Lists, documents: int) -> int:
    """As many as `documents` allow, and as fit into the 64-bit keys of one sort (see `Lists.descending`)."""
    in_keys = 1 << max(0, 30 - lists.longest.bit_length())  # lists of all copies: 63 bits less score and position
    return max(1, min(documents // max(lists.size, 1), in_keys // max(len(lists), 1)))


class Copies(Judgements):
    """Judgements of `times` copies of the same lists, one after another; what labels decide is computed once.

    Args:
        one: of the lists themselves.
        times: copies, from 1.
        lists: those of another `Copies` of the same lists, which may be shared.
    """

    def __init__(self, one: Judgements, times: int, lists: Lists | None = None):
        self.xp, self.one, self.times = one.xp, one, times
        if lists is None:
            starts = one.xp.arange(times)[:, None] * one.lists.size + one.lists.starts
            lists = Lists(one.xp, one.xp.concat(starts.reshape(-1), one.xp.ints([times * one.lists.size])))
        self.lists, self._offsets, self._memo = lists, one._offsets, {}

    def _tiled(self, x, step: int = 0):
        """`[times * n]` of `[n]`; each copy `step` higher than the one before it."""
        tiled = self.xp.repeated(x, self.times)
        return tiled + self.xp.arange(self.times)[:, None] * step if step else tiled

    def _kept(self, key, make, step: int = 0):
        if key not in self._memo:
            self._memo[key] = self._tiled(make(), step).reshape(-1)
        return self._memo[key]

    @cached_property
    def labels(self):
        return self._tiled(self.one.labels).reshape(-1)

    def place(self, bad) -> str:
        """Document and query of the first True, and which ranking it is in, all counted from 0."""
        bad = bad.reshape(self.times, -1)
        ranking = int(self.xp.nonzero(bad.any(1))[0])
        return f"{self.one.place(bad[ranking])}, ranking {ranking} of {self.times}"

    def values(self, name):
        return self._kept(("values", name), lambda: self.one.values(name))

    @cached_property
    def _ideal(self):
        row, tied = self.one._ideal
        return self._tiled(row, self.one.lists.size).reshape(-1), self._tiled(tied).reshape(-1)

    def ideal_gains(self, gain: str):
        return self._kept(("ideal", gain), lambda: self.one.ideal_gains(gain))

    def ideal_dcg(self, gain: str, kind: str, k: int | None):
        return self._kept(("ideal", gain, kind, k), lambda: self.one.ideal_dcg(gain, kind, k))

    def ideal_running_dcg(self, gain: str, kind: str):
        return self._kept(("ideal running", gain, kind), lambda: self.one.ideal_running_dcg(gain, kind))

    def relevant(self, rel: float):
        return self._kept(("relevant", rel), lambda: self.one.relevant(rel))

    def blank(self, kind: str, rel: float | None = None):
        return self._kept(("blank", kind, rel), lambda: self.one.blank(kind, rel))

    @cached_property
    def label_levels(self):
        return self._tiled(self.one.label_levels).reshape(-1)

    @property
    def level_bits(self) -> int:
        return self.one.level_bits

    @cached_property
    def pairs(self):
        return self._tiled(self.one.pairs).reshape(-1)

    def tie_order(self, rule: str):
        return self._kept(rule, lambda: self.one.tie_order(rule), self.one.lists.size)
