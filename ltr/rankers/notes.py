"""What a training should not keep to itself although nothing is wrong enough to stop it: the `notes` of a ranker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ltr.types import Split

__all__ = ["blank_lists", "tied_scores"]

_LISTS = (20, 2_000)  # looked at for ties: a few, and more where those few are ties


def blank_lists(train: Split, columns: Iterable[int], vali: Split | None = None) -> list[str]:
    """A note for each label column in which training lists have no relevant document (there they teach no order), in
    which no list has two different labels, or by which no validation list can select."""
    found = []
    for k in columns:
        name = train.objectives[k]
        least, most = _extremes(train, name)
        if blank := int((most <= 0).sum()):
            found.append(f"{blank:,} of {len(most):,} training lists hold no relevant document by {name!r}")
        if (least == most).all() and (most > 0).any():
            found.append(f"no training list holds two different labels by {name!r}: they teach no order")
        if vali is not None and (_extremes(vali, name)[1] <= 0).all():
            found.append(f"no validation list holds a relevant document by {name!r}: nothing is selected by it")
    return found


def _extremes(split: Split, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest label of each list with documents."""
    starts, label = split.offsets[:-1][split.lengths > 0], split.label(name)
    if not len(starts):
        return np.zeros(0), np.zeros(0)
    return np.minimum.reduceat(label, starts), np.maximum.reduceat(label, starts)


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
