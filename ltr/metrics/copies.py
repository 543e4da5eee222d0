"""Judgements of many copies of the same lists, one copy a ranking: what labels decide is computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property

from .backends import Array, Lists
from .judgements import Judgements

__all__ = ["Copies"]


class Copies(Judgements):
    """Judgements of `times` copies of the same lists, one after another; what labels decide is computed once.

    Args:
        one: of the lists themselves.
        times: copies, from 1.
        lists: those of another `Copies` of the same lists, which may be shared.
    """

    def __init__(self, one: Judgements, times: int, lists: Lists | None = None) -> None:
        self.xp, self.one, self.times = one.xp, one, times
        if lists is None:
            starts = one.xp.arange(times)[:, None] * one.lists.size + one.lists.starts
            lists = Lists(one.xp, one.xp.concat(starts.reshape(-1), one.xp.ints([times * one.lists.size])))
        self.lists, self.bounds = lists, one.bounds
        self._memo = {}

    def _tiled(self, x: Array, step: int = 0) -> Array:
        """`[times * n]` of `[n]`; each copy `step` higher than the one before it."""
        tiled = self.xp.repeated(x, self.times)
        return tiled + self.xp.arange(self.times)[:, None] * step if step else tiled

    def _kept(self, key: Hashable, make: Callable[[], Array], step: int = 0) -> Array:
        if key not in self._memo:
            self._memo[key] = self._tiled(make(), step).reshape(-1)
        return self._memo[key]

    @cached_property
    def labels(self) -> Array:
        return self._tiled(self.one.labels).reshape(-1)

    def weights(self) -> Array:
        return self._kept("weights", self.one.weights)

    def place(self, bad: Array) -> str:
        """Document and query of the first True, and which ranking it is in, all counted from 0."""
        bad = bad.reshape(self.times, -1)
        ranking = int(self.xp.nonzero(bad.any(1))[0])
        return f"{self.one.place(bad[ranking])}, ranking {ranking} of {self.times}"

    def values(self, name: Hashable) -> Array:
        return self._kept(("values", name), lambda: self.one.values(name))

    @cached_property
    def _ideal(self) -> tuple[Array, Array]:
        row, tied = self.one._ideal
        return self._tiled(row, self.one.lists.size).reshape(-1), self._tiled(tied).reshape(-1)

    def ideal_gains(self, gain: str) -> Array:
        return self._kept(("ideal", gain), lambda: self.one.ideal_gains(gain))

    def ideal_dcg(self, gain: str, kind: str, k: int | None) -> Array:
        return self._kept(("ideal", gain, kind, k), lambda: self.one.ideal_dcg(gain, kind, k))

    def ideal_running_dcg(self, gain: str, kind: str) -> Array:
        return self._kept(("ideal running", gain, kind), lambda: self.one.ideal_running_dcg(gain, kind))

    def relevant(self, rel: float) -> Array:
        return self._kept(("relevant", rel), lambda: self.one.relevant(rel))

    def blank(self, kind: str, rel: float | None = None) -> Array:
        return self._kept(("blank", kind, rel), lambda: self.one.blank(kind, rel))

    @cached_property
    def label_levels(self) -> Array:
        return self._tiled(self.one.label_levels).reshape(-1)

    @property
    def level_bits(self) -> int:
        return self.one.level_bits

    @cached_property
    def pairs(self) -> Array:
        return self._tiled(self.one.pairs).reshape(-1)

    def tie_order(self, rule: str) -> Array:
        return self._kept(rule, lambda: self.one.tie_order(rule), self.one.lists.size)
