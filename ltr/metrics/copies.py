"""Judgements of many copies of the same lists, one copy a ranking: what labels decide is computed once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property

from .backends import Array, Lists, kept
from .judgements import Judgements

__all__ = ["Copies"]


def _of_one(name: str) -> Callable[..., Array]:
    """The method of that name: what it gives for the lists themselves, once a copy."""

    def method(self: Copies, *args: Hashable) -> Array:
        return self._tiled(getattr(self.one, name)(*args))

    method.__name__ = name
    return kept(method)


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
        return (tiled + self.xp.arange(self.times)[:, None] * step if step else tiled).reshape(-1)

    @cached_property
    def labels(self) -> Array:
        return self._tiled(self.one.labels)

    @cached_property
    def label_levels(self) -> Array:
        return self._tiled(self.one.label_levels)

    @cached_property
    def pairs(self) -> Array:
        return self._tiled(self.one.pairs)

    @cached_property
    def _ideal(self) -> tuple[Array, Array]:
        row, tied = self.one._ideal
        return self._tiled(row, self.one.lists.size), self._tiled(tied)

    @property
    def level_bits(self) -> int:
        return self.one.level_bits

    weights, values, relevant, blank = map(_of_one, ("weights", "values", "relevant", "blank"))
    ideal_gains, ideal_dcg = map(_of_one, ("ideal_gains", "ideal_dcg"))
    ideal_running_dcg = _of_one("ideal_running_dcg")

    @kept
    def tie_order(self, rule: str) -> Array:
        return self._tiled(self.one.tie_order(rule), self.one.lists.size)

    def place(self, bad: Array) -> str:
        """Document and query of the first True, and which ranking it is in, all counted from 0."""
        bad = bad.reshape(self.times, -1)
        ranking = int(self.xp.nonzero(bad.any(1))[0])
        return f"{self.one.place(bad[ranking])}, ranking {ranking} of {self.times}"
