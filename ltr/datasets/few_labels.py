"""Few labels: a task whose training lists are labelled for some of the queries only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ltr.errors import InputError
from ltr.types import Task

__all__ = ["few_labels"]


def few_labels(task: Task, share: float, seed: int) -> Task:
    """The task with the labels of a share of its training queries; validation and test stay as they are.

    Args:
        share: in (0, 1]; one query at least.
        seed: draws the queries. Of one seed the queries of a smaller share are among those of a larger one.

    Returns:
        `train` holds the labelled lists, in their order, and `unlabelled` all training lists, without labels.

    >>> import ltr
    >>> few_labels(ltr.load("synthetic:queries=100,features=50"), 0.1, seed=0).train.n_queries
    6
    """
    train, n = task.train, task.train.n_queries
    if not 0 < share <= 1:
        raise InputError("share of labelled queries", expected="a number in (0, 1]", came=share)
    kept = np.sort(np.random.default_rng(seed).permutation(n)[: max(1, round(share * n))])
    note = f"labels of {len(kept):,} of {n:,} training lists are used"
    facts = {**task.facts, "notes": [*task.facts.get("notes", []), note]}
    labelled = train if len(kept) == n else train.take(kept)
    return replace(task, train=labelled, facts=facts, unlabelled=train.having(labels=None))
