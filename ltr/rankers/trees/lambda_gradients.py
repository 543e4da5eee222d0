"""Gradients of LightGBM's lambdarank for several objectives at once, mixed list by list; compiled, the GIL released.

    lambda_i = sum_k w_k c_k sum_j  -+ sigma |g^k_i - g^k_j| / IDCG_k |1/D(r_i) - 1/D(r_j)| / far_ij sg(-sigma gap_ij)

over pairs with different gains of which at least one ranks among the first `truncation`, gap_ij the score of the better
document less that of the worse one. c_k = log2(1 + S_k) / S_k, S_k the pull of the whole list, and far = .01 + |s_i -
s_j| come with `norm` (LightGBM's lambdarank_norm), else both are 1. With one objective it is LightGBM's own objective,
but for the table in which that looks its sigmoid up. All objectives share one sort of the list and one exponential a
pair.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numba import njit

__all__ = ["inverse_ideals", "mixed_gradients"]

_AS_ONE = 4_096  # documents below which a second thread costs more than it saves


def _compiled(function: Callable):
    """njit without the GIL, kept on disk where there is a place to write."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # neither the package's nor the user's folder can be written
        return njit(nogil=True)(function)


@_compiled
def _lists(first, last, scores, gains, offsets, inverse, weights, truncation, sigma, norm, gradients, hessians):
    """Lists `first` to `last - 1`, written into `gradients` and `hessians`."""
    objectives = gains.shape[1]
    longest = 0
    for q in range(first, last):
        longest = max(longest, offsets[q + 1] - offsets[q])
    discounts = 1 / np.log2(2.0 + np.arange(longest))
    pull, bend = np.empty((longest, objectives)), np.empty((longest, objectives))
    total = np.empty(objectives)
    for q in range(first, last):
        start, n = offsets[q], offsets[q + 1] - offsets[q]
        if n < 2:
            continue
        s = scores[start : start + n]
        order = np.argsort(-s, kind="mergesort")  # stable: equal scores in the order of the file, as LightGBM
        pull[:n], bend[:n], total[:] = 0, 0, 0
        spread = norm and s[order[0]] != s[order[n - 1]]
        for a in range(min(truncation, n - 1)):
            i = order[a]
            for b in range(a + 1, n):
                j = order[b]
                gap = s[i] - s[j]
                far = 0.01 + gap if spread else 1.0
                # sg(-x) for x >= 0; for the other order of the pair it is 1 minus this.
                e = math.exp(-sigma * gap)
                wrong = e / (1 + e)
                change = discounts[a] - discounts[b]
                for k in range(objectives):
                    more = gains[start + i, k] - gains[start + j, k]
                    if more == 0 or weights[q, k] == 0:
                        continue
                    worth = abs(more) * inverse[q, k] * change / far
                    lost = wrong if more > 0 else 1 - wrong
                    step = sigma * worth * lost
                    sign = 1.0 if more > 0 else -1.0
                    pull[i, k] -= sign * step
                    pull[j, k] += sign * step
                    curve = sigma * sigma * worth * wrong * (1 - wrong)
                    bend[i, k] += curve
                    bend[j, k] += curve
                    total[k] += 2 * step
        for k in range(objectives):
            share = weights[q, k]
            if norm and total[k] > 0:
                share *= math.log2(1 + total[k]) / total[k]
            if share != 0:
                for i in range(n):
                    gradients[start + i] += share * pull[i, k]
                    hessians[start + i] += share * bend[i, k]


@_compiled
def _ideals(gains, offsets, truncation, inverse):
    for q in range(len(offsets) - 1):
        n = offsets[q + 1] - offsets[q]
        for k in range(gains.shape[1]):
            best = np.sort(gains[offsets[q] : offsets[q + 1], k])
            ideal = 0.0
            for r in range(min(truncation, n)):
                ideal += best[n - 1 - r] / math.log2(2.0 + r)
            inverse[q, k] = 1 / ideal if ideal > 0 else 0.0


def inverse_ideals(gains: np.ndarray, offsets: np.ndarray, truncation: int) -> np.ndarray:
    """1 / DCG@truncation of the best order, float64 `[queries, objective]`; 0 where a list is blank.

    Args:
        gains: float64 `[documents, objective]`.
        offsets: int64 `[queries + 1]`.
    """
    inverse = np.empty((len(offsets) - 1, gains.shape[1]))
    _ideals(gains, offsets, truncation, inverse)
    return inverse


def mixed_gradients(
    scores: np.ndarray,
    gains: np.ndarray,
    offsets: np.ndarray,
    inverse: np.ndarray,
    weights: np.ndarray,
    *,
    truncation: int = 30,
    sigma: float = 1.0,
    norm: bool = True,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """sum_k w_k lambda_k and its curvature, float64 `[documents]` each; LightGBM descends along the first.

    Args:
        scores: `[documents]`.
        gains: float64 `[documents, objective]`.
        offsets: int64 `[queries + 1]`.
        inverse: of `inverse_ideals`, for the same truncation.
        weights: float64 `[queries, objective]`; one-hot rows draw one objective a list.
        truncation: pairs count when one of the two ranks among so many.
        sigma: steepness.
        norm: pairs of far scores weigh less, and the pull of a list grows with its logarithm, objective by objective.
        threads: lists are spread over so many.
    """
    scores = np.ascontiguousarray(scores, dtype=np.float64)
    gradients, hessians = np.zeros(len(scores)), np.zeros(len(scores))

    def run(piece: tuple[int, int]) -> None:
        options = (inverse, weights, truncation, sigma, norm)
        _lists(*piece, scores, gains, offsets, *options, gradients, hessians)

    threads = threads if len(scores) > _AS_ONE else 1
    cuts = np.searchsorted(offsets, np.linspace(0, len(scores), threads + 1)[1:-1]).tolist()
    ends = [0, *cuts, len(offsets) - 1]
    pieces = list(zip(ends, ends[1:], strict=False))
    if threads == 1:
        run(pieces[0])
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, pieces))
    return gradients, hessians
