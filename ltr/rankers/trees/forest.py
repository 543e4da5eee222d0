"""A sum of trees that belongs to no library: what is exported to engines that know neither of the boosters.

    node    left where x < threshold, float32; a missing value (NaN) left where `missing` says so, else right
    score   bias + sum of the leaves a document ends in

Each booster makes one of its model (`TreeRanker.forest`), with the rules it decides by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Forest", "above"]


def above(threshold: float) -> np.float32:
    """The smallest float32 above a number: x <= threshold is x < above(threshold) for every float32 x.

    >>> bool(np.float32(0.1) < above(0.1)), bool(np.float32(0.3) < above(0.1))
    (False, False)
    """
    if threshold >= float(np.finfo(np.float32).max):
        return np.float32(np.inf)
    # The nearest float32 of .1 lies above .1 itself.
    near = np.float32(threshold)
    return near if float(near) > threshold else np.nextafter(near, np.float32(np.inf))


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees as arrays over all their nodes.

    Attributes:
        roots: int64 `[tree]`.
        feature: int64 `[node]`; of a leaf 0.
        threshold: float32 `[node]`; of a leaf 0.
        missing: bool `[node]`, whether a missing value goes left.
        left, right: int64 `[node]`; of a leaf the leaf itself.
        value: float64 `[node]`; of an inner node 0.
        bias: what is added to every score.
        n_features: of the documents.
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    missing: np.ndarray
    left: np.ndarray
    right: np.ndarray
    value: np.ndarray
    bias: float
    n_features: int

    @property
    def depth(self) -> int:
        """Splits on the longest way down."""
        level, deepest = self.roots, 0
        while len(level := level[self.left[level] != level]):
            level = np.concatenate([self.left[level], self.right[level]])
            deepest += 1
        return deepest

    @classmethod
    def of_nodes(cls, trees: Sequence[Sequence[tuple]], bias: float, n_features: int) -> Forest:
        """From the nodes of each tree, the root first.

        Args:
            trees: of each tree a tuple a node: `(value,)` of a leaf, `(feature, threshold, missing, left, right)` of a
                split, the last two places in its tree.
        """
        starts = np.concatenate([[0], np.cumsum([len(tree) for tree in trees])]).astype(np.int64)
        size = int(starts[-1])
        feature, left = np.zeros(size, np.int64), np.arange(size)
        threshold, missing, value = np.zeros(size, np.float32), np.zeros(size, bool), np.zeros(size)
        right = left.copy()
        for start, tree in zip(starts.tolist(), trees):
            for at, node in enumerate(tree, start):
                if len(node) == 1:
                    value[at] = node[0]
                else:
                    feature[at], threshold[at], missing[at] = node[:3]
                    left[at], right[at] = start + node[3], start + node[4]
        return cls(starts[:-1], feature, threshold, missing, left, right, value, float(bias), n_features)

    def given(self, values: Sequence[float]) -> Forest:
        """With the last features fixed to these values: splits on them are decided, and passed over."""
        kept = self.n_features - len(values)
        told = np.zeros(self.n_features, np.float32)
        told[kept:] = values
        decided = (self.feature >= kept) & (self.left != np.arange(len(self.left)))
        chosen = np.where(told[self.feature] < self.threshold, self.left, self.right)
        to = np.where(decided, chosen, np.arange(len(self.left)))
        while (to[to] != to).any():
            to = to[to]
        feature = np.where(decided, 0, self.feature)  # nobody comes by there any more
        return Forest(
            to[self.roots],
            feature,
            self.threshold,
            self.missing,
            to[self.left],
            to[self.right],
            self.value,
            self.bias,
            kept,
        )

    @classmethod
    def sum(cls, forests: Sequence[tuple[float, Forest]]) -> Forest:
        """sum_i share_i forest_i, as one."""
        starts = np.cumsum([0, *(len(forest.value) for _, forest in forests)])[:-1]
        moved = {
            name: np.concatenate([getattr(f, name) + start for start, (_, f) in zip(starts, forests)])
            for name in ("roots", "left", "right")
        }
        same = {
            name: np.concatenate([getattr(f, name) for _, f in forests]) for name in ("feature", "threshold", "missing")
        }
        value = np.concatenate([share * f.value for share, f in forests])
        bias = float(sum(share * f.bias for share, f in forests))
        return cls(**moved, **same, value=value, bias=bias, n_features=forests[0][1].n_features)
