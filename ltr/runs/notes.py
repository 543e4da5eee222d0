"""What somebody should know before believing a run's numbers: said once on the terminal, and kept in the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ltr.types import Split, Task

__all__ = ["notes_of", "notes_of_scores"]

_LARGE_GRADE = 5  # the gain of a grade above it, 2^y - 1, is worth more than a list of all others


def notes_of(task: Task, model: Any) -> list[str]:
    """Of the data and of what was trained on them: what the task, the models and their losses carry as `notes`, and
    what is seen in the labels here."""
    found = [str(text) for text in task.facts.get("notes", ())]
    for each in (model, *getattr(model, "models", ()), getattr(model, "base", None)):
        found += [str(text) for text in getattr(each, "notes", ())]
        found += [str(text) for text in getattr(getattr(each, "loss", None), "notes", ())]
    found += _of_labels(task.train, task.facts.get("gains"))
    return list(dict.fromkeys(found))


def _of_labels(train: Split, gains: Any) -> Iterator[str]:
    if train.labels is None or not train.n_documents:
        return
    there = train.lengths > 0
    for k, name in enumerate(train.objectives):
        labels = np.asarray(train.label(name))
        best = np.maximum.reduceat(labels, train.offsets[:-1][there])
        without = int((best <= 0).sum())
        if without:
            yield f"{without:,} of {len(best):,} training lists hold no relevant document by {name!r}"
        highest = float(labels.max())
        if (gains is None or gains[k] == "exp2") and highest > _LARGE_GRADE and highest == round(highest):
            worth = f"{2**highest - 1:,.0f}"
            yield f"labels of {name!r} go up to {highest:g}: with gain 2^y - 1 the largest is worth {worth}"


def notes_of_scores(name: str, scores: np.ndarray) -> list[str]:
    """Of scores `[..., documents]` of a split: none of them says anything where all are equal."""
    flat = scores.reshape(-1, scores.shape[-1])
    if flat.shape[-1] > 1 and bool((flat == flat[:, :1]).all()):
        return [f"all scores of {name} are equal: nothing was learned, and every order is as good as another"]
    return []
