"""The order of an epoch: which lists share a batch, which batch comes when, which documents of a long list stay.

Pure functions of (seed, epoch): sort lists by length with a little jitter, cut where longest x lists would pass the
budget, shuffle the batches. Nothing here knows features.

Features that memory does not hold are read in windows. A window is `BLOCKS` blocks of consecutive lists, drawn from all
over the file; lists meet within it, as if it were the set. Which lists it has never changes, so every epoch has as many
batches as the others; which window comes when is drawn anew each epoch, for all seeds alike, so that trainings that go
side by side are in the same one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ltr.seeds import seed_of

__all__ = ["BLOCKS", "Plan", "cuts", "plan", "sample", "window_order", "windows"]

BLOCKS = 128  # of a window: one of 512 MiB is read 4 MiB at a time


@dataclass(frozen=True, slots=True)
class Plan:
    """An epoch on the host.

    Attributes:
        order: int64 `[lists]`, places in the array of lengths; batch b holds `order[cut[b]:cut[b + 1]]`.
        cut: batches + 1 places in `order`.
        width: longest list of each batch, after list_size cuts.
        longest: longest list of each batch, before them.
        sequence: the batches in the order they come.
        window: of each batch.
    """

    order: np.ndarray
    cut: list[int]
    width: list[int]
    longest: list[int]
    sequence: list[int]
    window: list[int]


def windows(first: np.ndarray, size: int | None, shuffle: bool) -> np.ndarray:
    """The window of each list: int64 `[lists]`, from 0; all 0 where `size` is None.

    Args:
        first: the document each list starts with, `[lists]`, rising.
        size: about how many documents a window has.
        shuffle: draw the blocks of a window from all over the file, not from one place.
    """
    if size is None or len(first) == 0:
        return np.zeros(len(first), np.int64)
    block = np.unique(first // max(1, size // BLOCKS), return_inverse=True)[1]
    count = int(block[-1]) + 1
    place = np.random.default_rng(seed_of("blocks")).permutation(count) if shuffle else np.arange(count)
    return place[block] * -(-count // BLOCKS) // count  # as many blocks in each, but for one


def window_order(count: int, epoch: int | None) -> np.ndarray:
    """The windows in the order in which an epoch meets them; None: in their own."""
    return np.arange(count) if epoch is None else np.random.default_rng(seed_of("windows", epoch)).permutation(count)


def cuts(
    lengths: np.ndarray, cells: int | None, batch_size: int | None, jitter: float, window: np.ndarray | None = None
) -> np.ndarray:
    """Where to cut the sorted lists into batches: int64 `[batches + 1]`, the same in every epoch; no list is empty.

    Lists of one `window` stand together, in the order of the windows; None: all are of one.

    Jittered keys n (1 + u), |u| <= j, sorted falling, obey key_(i) <= n_(i) (1 + j), so no list at or after place i
    is longer than n_(i) (1 + j) / (1 - j) in any epoch. Cutting for this bound keeps every batch of every epoch within
    the budget while the number of batches, and so of training steps, never changes.

    >>> cuts(np.array([5, 3, 3, 2, 1]), cells=6, batch_size=None, jitter=0.0).tolist()
    [0, 1, 3, 5]
    """
    if window is not None and len(window) and window.any():
        parts = [np.zeros(1, np.int64)]
        for w in range(int(window.max()) + 1):
            parts.append(parts[-1][-1] + cuts(lengths[window == w], cells, batch_size, jitter)[1:])
        return np.concatenate(parts)
    falling = np.sort(lengths)[::-1]
    if len(falling) == 0:
        return np.zeros(1, np.int64)
    bound = np.minimum(np.floor(falling * (1 + jitter) / (1 - jitter) + 1e-9), falling[0]).astype(np.int64).tolist()
    cut = [0]
    while cut[-1] < len(falling):
        count = len(falling) if cells is None else max(1, cells // bound[cut[-1]])
        count = count if batch_size is None else min(count, batch_size)
        cut.append(min(cut[-1] + count, len(falling)))
    return np.array(cut, dtype=np.int64)


def plan(
    lengths: np.ndarray,
    full: np.ndarray,
    cut: np.ndarray,
    seed: int,
    epoch: int,
    jitter: float | None,
    window: np.ndarray | None = None,
) -> Plan:
    """Draws an epoch.

    Args:
        lengths: documents of each list that will be used, `[lists]`.
        full: documents each list has, `[lists]`.
        cut: from `cuts`, with the same jitter and windows.
        jitter: relative jitter of the lengths; None keeps longest first, without any shuffling.
        window: of each list, from `windows`; None: all are of one.
    """
    window = np.zeros(len(lengths), np.int64) if window is None else window
    sequence = np.arange(len(cut) - 1)
    if jitter is None:
        order = np.lexsort((-lengths, window))
    else:
        generator = np.random.default_rng(seed_of("order", seed, epoch))
        key = lengths * (1 + jitter * generator.uniform(-1, 1, len(lengths)))
        order = np.lexsort((generator.random(len(key)), -key, window))  # random keys part ties of a jitter of 0
        generator.shuffle(sequence)
    starts = cut[:-1]
    of_batch = window[order][starts]
    if jitter is not None and len(starts):
        turn = np.argsort(window_order(int(of_batch[-1]) + 1, epoch))
        sequence = sequence[np.argsort(turn[of_batch[sequence]], kind="stable")]
    width, longest = (np.maximum.reduceat(n[order], starts).tolist() if len(starts) else [] for n in (lengths, full))
    return Plan(order, cut.tolist(), width, longest, sequence.tolist(), of_batch.tolist())


def sample(query: Tensor, length: Tensor, width: int, longest: int, base: int) -> Tensor:
    """Positions of `width` documents of each list, drawn without replacement, rising: int64 `[batch, width]`.

    Lists not longer than `width` keep all; positions from `length` on are padding. The draw depends on `base`, the
    query and the position only: not on the batch the list travels in, and not on the device.

    Args:
        query: int64 `[batch]`.
        length: int64 `[batch]`, documents of the lists.
        width: how many to keep.
        longest: the largest of `length`, known to the host without asking the device.
        base: a seed.
    """
    position = torch.arange(longest, device=query.device)
    key = _hash(query[:, None], position, base)
    key = key.masked_fill(position >= length[:, None], torch.iinfo(torch.int64).max)
    return key.topk(width, dim=1, largest=False, sorted=False).indices.sort(dim=1).values


def _hash(query: Tensor, position: Tensor, base: int) -> Tensor:
    """A non-negative int64 for each (base, query, position), alike on every device: splitmix64 (Steele et al. 2014)."""
    golden = -0x61C8864680B583EB  # 0x9E3779B97F4A7C15 as int64; products wrap
    return _logical_shift(_mix(_mix(query * golden + base) + position * golden), 1)


def _mix(x: Tensor) -> Tensor:
    x = (x ^ _logical_shift(x, 30)) * -0x40A7B892E31B1A47  # 0xBF58476D1CE4E5B9
    x = (x ^ _logical_shift(x, 27)) * -0x6B2FB644ECCEEE15  # 0x94D049BB133111EB
    return x ^ _logical_shift(x, 31)


def _logical_shift(x: Tensor, bits: int) -> Tensor:
    return (x >> bits) & ((1 << (64 - bits)) - 1)  # >> of int64 copies the sign
