"""What somebody should know before believing a run's numbers: said once on the terminal, and kept in the record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ltr.types import Split, Task

__all__ = ["notes_of"]

_LARGE_GRADE = 5  # the gain of a grade above it is worth more than a list of all others


def notes_of(task: Task, model: Any) -> list[str]:
    """What the task, the models and their losses carry as `notes`, and what the labels say of their gain."""
    found = [str(text) for text in task.facts.get("notes", ())]
    for each in (model, *getattr(model, "models", ()), getattr(model, "base", None)):
        found += [str(text) for text in getattr(each, "notes", ())]
        found += [str(text) for text in getattr(getattr(each, "loss", None), "notes", ())]
    return list(dict.fromkeys([*found, *_large_grades(task.train, task.facts.get("gains"))]))


def _large_grades(train: Split, gains: Any) -> Iterator[str]:
    if train.labels is None or not train.n_documents:
        return
    for k, name in enumerate(train.objectives):
        highest = float(np.max(train.label(name)))
        if (gains is None or gains[k] == "exp2") and _LARGE_GRADE < highest == round(highest):
            worth = f"{2**highest - 1:,.0f}" if highest < 50 else f"{2**highest:.3g}"
            yield (
                f"labels of {name!r} go up to {highest:g}: with gain 2^y - 1 the largest is worth {worth}, "
                "more than all others of its list; gain=linear counts y"
            )
