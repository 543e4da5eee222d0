"""Flat ragged arrays: lists one after another, cut by offsets, and the few operations measures are made of.

Nothing is padded and nothing loops over queries. Every operation gives a list the same bits whether it is computed
alone or among a million others: per-list sums are segment sums, running sums are scans that never cross a border,
and flat cumulative sums are taken of whole numbers only, where they are exact.

`NumpyBackend` and `TorchBackend` are the same dozen operations on two kinds of arrays; everything else uses operators
and indexing, which both kinds share.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property, wraps
from typing import Any, TypeAlias

import numpy as np

from ltr.errors import InputError

__all__ = ["Array", "Backend", "Lists", "NumpyBackend", "TorchBackend", "kept"]

Array: TypeAlias = Any
"""A numpy array or a tensor: whichever kind the backend works on, used through what both kinds share."""


Operation: TypeAlias = Callable[..., Array]


class NumpyBackend:
    """float64 and int64 numpy arrays on the CPU."""

    device = "cpu"
    arange: Operation = staticmethod(np.arange)
    repeat: Operation = staticmethod(np.repeat)
    cumsum: Operation = staticmethod(np.cumsum)
    nonzero: Operation = staticmethod(np.flatnonzero)
    where: Operation = staticmethod(np.where)
    minimum: Operation = staticmethod(np.minimum)
    exp: Operation = staticmethod(np.exp)
    log: Operation = staticmethod(np.log)

    def floats(self, x: Any) -> Array:
        return np.asarray(x, dtype=np.float64)

    def ints(self, x: Any) -> Array:
        return np.asarray(x, dtype=np.int64)

    def host(self, x: Array) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = x
        return found

    def zeros(self, *shape: int) -> Array:
        return np.zeros(shape)

    def repeated(self, x: Array, times: int) -> Array:
        """A read-only view `[times, n]` of x `[n]`."""
        return np.broadcast_to(x, (times, len(x)))

    def concat(self, *parts: Array) -> Array:
        return np.concatenate(parts)

    def sort(self, keys: Array) -> Array:
        keys.sort()  # in place, and unstable on purpose: AVX-512/AVX2 on 64-bit integers, and keys are unique
        return keys

    def scan_step(self, x: Array, distance: int, inside: Array, product: bool) -> Array:
        """x combined with x so many slots before, where `inside` (bool `[slots - distance]`) allows it."""
        out = x.copy()
        (np.multiply if product else np.add)(x[distance:], x[:-distance], out=out[distance:], where=inside)
        return out

    def negative_bits(self, x: Array) -> Array | None:
        """int32 bit pattern of -x as float32 where nothing is lost by that, else None."""
        if x.dtype != np.float32:
            with np.errstate(over="ignore"):  # too large for float32 becomes inf and fails the comparison
                single = x.astype(np.float32)
            if not np.array_equal(single, x):
                return None
            x = single
        return (np.float32(0) - x).view(np.int32)  # 0 - x and not -x: both zeros become +0

    def codes(self, x: Array) -> Array:
        """Dense ranks of x, int64, equal for equal values and ascending."""
        order = np.argsort(x)
        ascending = x[order]
        rank = np.empty(len(x), np.int64)
        rank[order] = np.cumsum(np.concatenate([[False], ascending[1:] != ascending[:-1]])[: len(x)])
        return rank

    def segment_sum(self, x: Array, offsets: Array) -> Array:
        lengths = offsets[1:] - offsets[:-1]
        if lengths.all():
            return np.add.reduceat(x, offsets[:-1], dtype=np.float64) if len(lengths) else np.zeros(0)
        out = np.zeros(len(lengths))  # reduceat gives an empty segment the value of its neighbour
        some = lengths > 0
        if some.any():
            out[some] = np.add.reduceat(x, offsets[:-1][some], dtype=np.float64)
        return out


class TorchBackend:
    """The same operations on float64 and int64 tensors of one device."""

    def __init__(self, device: Any) -> None:
        import torch

        self.torch, self.device = torch, torch.device(device)
        self.repeat, self.where, self.exp, self.log = torch.repeat_interleave, torch.where, torch.exp, torch.log

    def floats(self, x: Any) -> Array:
        return self.torch.as_tensor(x, device=self.device).to(self.torch.float64)

    def ints(self, x: Any) -> Array:
        return self.torch.as_tensor(x, device=self.device).to(self.torch.int64)

    def floats_as_given(self, x: Any) -> Array:
        """A tensor of this device in its own type."""
        return self.torch.as_tensor(x, device=self.device)

    def host(self, x: Array) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = x.cpu().numpy()
        return found

    def arange(self, n: int) -> Array:
        return self.torch.arange(n, device=self.device)

    def zeros(self, *shape: int) -> Array:
        return self.torch.zeros(shape, dtype=self.torch.float64, device=self.device)

    def repeated(self, x: Array, times: int) -> Array:
        return x.expand(times, -1)

    def cumsum(self, x: Array) -> Array:
        return self.torch.cumsum(x, 0)

    def nonzero(self, mask: Array) -> Array:
        return self.torch.nonzero(mask).squeeze(-1)

    def concat(self, *parts: Array) -> Array:
        return self.torch.cat(parts)

    def minimum(self, x: Array, bound: int) -> Array:
        return x.clamp(max=bound)

    def sort(self, keys: Array) -> Array:
        return self.torch.sort(keys).values

    def scan_step(self, x: Array, distance: int, inside: Array, product: bool) -> Array:
        here, back = x[distance:], x[:-distance]
        return self.torch.cat([x[:distance], self.torch.where(inside, here * back if product else here + back, here)])

    def negative_bits(self, x: Array) -> Array | None:
        single = x.to(self.torch.float32)
        if x.dtype == self.torch.float64 and not bool((single == x).all()):
            return None
        return (0 - single).view(self.torch.int32)

    def codes(self, x: Array) -> Array:
        return self.torch.unique(x, return_inverse=True)[1]

    def segment_sum(self, x: Array, offsets: Array) -> Array:
        return self.torch.segment_reduce(x.to(self.torch.float64), "sum", offsets=offsets, axis=0, initial=0.0)


Backend: TypeAlias = NumpyBackend | TorchBackend


def kept(method: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: what a method gives for some arguments is computed once, and kept in `_memo` of its object."""

    @wraps(method)
    def once(self: Any, *args: Hashable) -> Any:
        key = (method.__name__, *args)
        if key not in self._memo:
            self._memo[key] = method(self, *args)
        return self._memo[key]

    return once


class Lists:
    """Where lists lie in a flat array: list q is slots `offsets[q]:offsets[q + 1]`.

    Attributes:
        offsets: int64 `[lists + 1]`, from 0 upwards.
        slots: of lists cut by `top`, the slot of the uncut array that each of theirs is; `slice(None)` when uncut.
    """

    def __init__(self, xp: Backend, offsets: Array, slots: Any = slice(None)) -> None:
        self.xp, self.offsets, self.slots = xp, offsets, slots
        self.starts, self.lengths = offsets[:-1], offsets[1:] - offsets[:-1]
        self.longest = int(self.lengths.max()) if len(self.lengths) else 0
        self._memo: dict[Hashable, Any] = {}

    @classmethod
    def of(cls, xp: Backend, lengths: Array) -> Lists:
        """Lists of these lengths, int64 `[lists]`."""
        return cls(xp, _offsets(xp, lengths))

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def size(self) -> int:
        """Documents of all lists together."""
        return int(self.offsets[-1])

    @cached_property
    def query(self) -> Array:
        """The list of each slot."""
        return self.xp.repeat(self.xp.arange(len(self)), self.lengths)

    @cached_property
    def first(self) -> Array:
        """The first slot of each slot's list."""
        return self.xp.repeat(self.starts, self.lengths)

    @cached_property
    def position(self) -> Array:
        """Place of each slot in its list, from 0."""
        return self.xp.arange(self.size) - self.first

    @cached_property
    def rank(self) -> Array:
        """Rank of each slot in its list, from 1, as float64."""
        return self.xp.floats(self.position + 1)

    def by_rank(self, name: Hashable, function: Callable[[Any], Any]) -> Array:
        """`function(rank)` at each slot; `function` maps a float64 numpy array of ranks and is kept under `name`."""
        if name not in self._memo:
            table = self.xp.floats(function(np.arange(1, self.longest + 1, dtype=np.float64)))
            self._memo[name] = table[self.position]
        return self._memo[name]

    def top(self, k: int | None) -> Lists:
        """The first k slots of every list; the lists themselves when none is longer or k is None."""
        found: Lists = self if k is None or k >= self.longest else self._cut(k)
        return found

    @kept
    def _cut(self, k: int) -> Lists:
        lengths = self.xp.minimum(self.lengths, k)
        offsets = _offsets(self.xp, lengths)
        slots = self.xp.repeat(self.starts - offsets[:-1], lengths) + self.xp.arange(int(offsets[-1]))
        return Lists(self.xp, offsets, slots)

    def sum(self, x: Array) -> Array:
        """Sum of each list, float64 `[lists]`; 0 of an empty one."""
        return self.xp.segment_sum(x, self.offsets)

    def running(self, x: Array, product: bool = False) -> Array:
        """Running sum (or product) along each list, its own slot included.

        A scan by doubling distances: log2(longest) passes, and the order of additions inside a list depends on that
        list only, which a flat cumulative sum with differences could not say.
        """
        distance = 1
        while distance < self.longest:
            x = self.xp.scan_step(x, distance, self._inside(distance), product)
            distance *= 2
        return x

    @kept
    def _inside(self, distance: int) -> Array:
        return self.position[distance:] >= distance

    @cached_property
    def _key_bits(self) -> tuple[int, int]:
        return len(self).bit_length(), self.longest.bit_length()

    @kept
    def _key(self, for_value: int) -> Array:
        """Key of every document at value 0: query, then so many bits for the value, then its place in the list."""
        for_query, for_position = self._key_bits
        if for_query + for_value + for_position > 63:
            raise InputError(
                "too many documents for one 64-bit key a document",
                expected="bits of queries + values + longest list <= 63",
                came=self._key_bits,
                do="Evaluate the queries in several parts; no value depends on the other lists",
            )
        query = self.xp.arange(len(self)) << (for_value + for_position)
        return self.xp.repeat(query - self.starts, self.lengths) + self.xp.arange(self.size)

    def descending(self, values: Array) -> tuple[Array, Array]:
        """Orders every list by value, highest first, rows in given order where values are equal.

        Query, value and position of a document go into one 64-bit integer (order-preserving bits of the float32, or
        the dense rank of a float64 that float32 cannot hold), so one plain sort of integers does it.

        Args:
            values: `[documents]`, floats without NaN.

        Returns:
            row: int64 `[documents]`, the row that stands at each slot.
            tied: bool `[documents]`, True where a slot's value equals that of the slot before it in its list.
        """
        xp, for_position = self.xp, self._key_bits[1]
        bits = xp.negative_bits(values) if sum(self._key_bits) + 32 <= 63 else None
        if bits is not None:
            bits ^= (bits >> 31) & 0x7FFFFFFF  # two's complement integers in the order of the floats
            key, base = xp.ints(bits), self._key(32) + (2**31 << for_position)
        else:
            key, base = self.size - 1 - xp.codes(values), self._key(self.size.bit_length())
        key <<= for_position
        key += base
        key = xp.sort(key)
        row = key & ((1 << for_position) - 1)
        row += self.first
        key >>= for_position
        tied = xp.concat(key[:1] != key[:1], key[1:] == key[:-1])
        return row, tied

    def groups(self, tied: Array) -> Lists:
        """Runs of tied slots as lists of their own (`tied` as `descending` returns it)."""
        starts = self.xp.nonzero(~tied)
        return Lists(self.xp, self.xp.concat(starts, self.offsets[-1:]))


def _offsets(xp: Backend, lengths: Array) -> Array:
    return xp.concat(xp.arange(1), xp.cumsum(lengths))
