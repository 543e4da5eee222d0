"""What a training should not keep to itself although nothing is wrong enough to stop it: the `notes` of a ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ltr.types import Split

__all__ = ["blank_lists", "tied_scores"]

_LISTS = (20, 2_000)  # looked at for ties: a few, and more where those few are ties


def blank_lists(train: Split, columns: Iterable[int]) -> list[str]:
    """A note for each label column in which training lists have no relevant document: there they teach no order."""
    starts = train.offsets[:-1][train.lengths > 0]
    found = []
    for k in columns:
        blank = int((np.maximum.reduceat(train.label(train.objectives[k]), starts) <= 0).sum()) if len(starts) else 0
        if blank:
            name = train.objectives[k]
            found.append(f"{blank:,} of {len(starts):,} training lists hold no relevant document by {name!r}")
    return found


def tied_scores(score: Callable[[Split], np.ndarray], train: Split, whose: str) -> list[str]:
    """A note where all documents of a list get one score, in every training list that is looked at.

    Args:
        score: lists -> scores `[documents]`.
        train: the lists.
        whose: beginning of the sentence.
    """
    several = np.flatnonzero(train.lengths > 1)
    for number in _LISTS:
        if len(several) == 0:
            return []
        lists = train.take(several[:number])
        scores, starts = score(lists), lists.offsets[:-1]
        if (np.maximum.reduceat(scores, starts) != np.minimum.reduceat(scores, starts)).any():
            return []
    return [f"{whose}: all scores of a list are equal, which ranks nothing"]
