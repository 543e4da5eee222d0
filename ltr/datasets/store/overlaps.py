"""Queries that stand in more than one split of a fold: what is trained on is then selected or reported on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import combinations

import numpy as np

from ltr.seeds import seed_of

__all__ = ["between", "document_hashes", "list_hashes"]


@lru_cache(maxsize=8)
def _weights(columns: int) -> np.ndarray:
    weights = np.random.default_rng(seed_of("document hash")).integers(0, 2**63, columns, dtype=np.uint64)
    return weights * np.uint64(2) + np.uint64(1)  # odd: no change of one value is lost


def document_hashes(features: np.ndarray) -> np.ndarray:
    """A hash of each row of float32 `[documents, feature]`, uint64 `[documents]`; 0 for a row of zeros.

    Multilinear in the bits of the values, modulo 2^64: 2 GB a second, where a cryptographic hash makes .3.
    """
    bits = np.ascontiguousarray(features, dtype=np.float32)
    words = bits.view(np.uint64 if bits.shape[1] % 2 == 0 else np.uint32)
    sums = np.einsum("ij,j->i", words, _weights(words.shape[1]), dtype=np.uint64, casting="unsafe")
    return _mixed(sums)


def _mixed(x: np.ndarray) -> np.ndarray:
    """Bits well mixed (splitmix64's finisher), so that sums over documents tell lists apart; 0 stays 0."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def list_hashes(documents: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """A hash of each list, whatever the order of its documents: uint64 `[queries]`; 0 where all features are 0."""
    total = np.concatenate([np.zeros(1, np.uint64), np.cumsum(documents, dtype=np.uint64)])
    return total[offsets[1:]] - total[offsets[:-1]]


def between(splits: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[str]:
    """Sentences about the queries that two splits share.

    Args:
        splits: name -> ids of its queries and their list hashes.
    """
    for (one, (ids, lists)), (other, (more_ids, more_lists)) in combinations(splits.items(), 2):
        same = np.isin(more_lists, lists) & (more_lists != 0)
        if same.any():
            yield (
                f"{_count(int(same.sum()), len(same), other)} also in {one} with the same documents "
                f"({_named(more_ids[same])}): {other} measures what was learnt by heart"
            )
        twice = np.isin(more_ids, ids) & ~same
        if twice.any():
            yield (
                f"{_count(int(twice.sum()), len(twice), other)} also in {one} by query id, with other documents "
                f"({_named(more_ids[twice])}): a leak, unless every file counts its queries for itself"
            )


def _count(some: int, total: int, split: str) -> str:
    return f"{some:,} of {total:,} queries of {split} {'is' if some == 1 else 'are'}"


def _named(ids: np.ndarray) -> str:
    shown = ", ".join(str(i) for i in ids[:3])
    return f"query {shown}" if len(ids) == 1 else f"queries {shown}{', ...' if len(ids) > 3 else ''}"
