"""Multi-objective tasks by name: which columns, what is made of them, and which columns leave the inputs.

    task, labelling = load_multi("mslr-head", ["relevance", "url-clicks"])              # as the card says: grade5
    task, labelling = load_multi("mslr-head", ["relevance", "url-clicks:minmax"])       # the same column otherwise
    task, labelling = load_multi("synthetic:objectives=3", ["relevance", "trust"])

An objective is named by the card of its dataset, or, where there is none, by its label column. ":TRANSFORM" behind the
name takes another label transform, ":GAIN" (exp2 or linear) another gain, "stars:grade5:linear" both; they belong to
the name, so that tables say what was measured. From the inputs of every task go the columns that the card says leave
with any of its objectives, whatever store lies on the machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ltr.datasets.cards.card import Card
from ltr.datasets.opening import is_raw, known_card, load
from ltr.datasets.store.label_columns import Objective as Column
from ltr.errors import InputError, unknown_name
from ltr.types import Split, Task

from .label_transforms import NAMES, Name
from .objective import GAINS, Gain, Labelling, Objective, label_objectives

__all__ = ["blank_lists", "is_made", "load_multi", "open_columns", "task_objectives"]


def task_objectives(dataset: str | Path, names: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives of a dataset by name, in this order.

    Args:
        dataset: as `ltr.datasets.load` takes it. The card of a dataset, or of a store that was made from one, says
            column, direction and transform; without a card a name is a label column as it stands.
        names: "page-rank", or with another transform "page-rank:minmax" (identity, grade5, minmax, log-minmax,
            reciprocal) or gain "page-rank:linear".

    Raises:
        InputError: unknown names, none, or one twice.

    >>> [o.measure() for o in task_objectives("mslr-head", ["relevance", "url-clicks", "url-clicks:minmax"])]
    ['nDCG(gain=exp2,empty=skip)@10', 'nDCG(gain=exp2,empty=skip)@10', 'nDCG(gain=linear,empty=skip)@10']
    """
    if isinstance(names, str) or not names or len(set(names)) < len(names):
        raise InputError("objectives need names of their own", expected="at least one, none twice", came=names)
    card = known_card(dataset)
    return tuple(_objective(name, card) for name in names)


def load_multi(
    dataset: str | Path, names: Sequence[str], fold: str | None = None, **roles: Any
) -> tuple[Task, Labelling]:
    """A fold with these objectives as its labels `[documents, objective]`; `task.objectives` are the names as given.

    Args:
        dataset: as `ltr.datasets.load` takes it.
        names: as `task_objectives`.
        fold: the first by default.
        roles: of the columns of data given by path, as `ltr.datasets.load` takes them.

    Returns:
        The task, whose label transforms were fitted on train, `facts["gains"]` among its facts; and the labelling,
        which gives the measures and turns further splits.

    Raises:
        InputError: unknown names, a dataset that is not here, or a column its transform cannot take.

    >>> task, labelling = load_multi("synthetic:queries=20,features=50", ["quality", "relevance"])
    >>> task.objectives, task.train.labels.shape[1]
    (('quality', 'relevance'), 2)
    """
    objectives = task_objectives(dataset, names)
    task = open_columns(dataset, objectives, fold, **roles)
    labelling = label_objectives(objectives, task.train)
    return labelling.task(task), labelling


def open_columns(dataset: str | Path, objectives: Sequence[Objective], fold: str | None = None, **roles: Any) -> Task:
    """A fold with the raw columns of these objectives as its labels; arguments as `load_multi`."""
    columns = list(dict.fromkeys(o.column for o in objectives))
    raw = {o.column for o in objectives if o.transform != "identity"}
    if not is_raw(dataset):
        return load(dataset, fold, columns, exact=True, **roles)
    # Raw files: no card says which columns are quantities.
    return load(dataset, fold, {c: Column(c, None, c in raw) for c in columns}, **roles)


def blank_lists(split: Split) -> dict[str, int]:
    """Lists without a label above 0, an objective each: `empty=skip` leaves them out of that objective's measure."""
    of = np.repeat(np.arange(split.n_queries), split.lengths)
    found = {}
    for name in split.objectives:
        said = np.zeros(split.n_queries, dtype=bool)
        said[of[split.label(name) > 0]] = True
        found[name] = int((~said).sum())
    return found


def is_made(name: str) -> bool:
    """Whether a name asks for a transform or gain of its own.

    >>> is_made("clicks:grade5"), is_made("clicks")
    (True, False)
    """
    return ":" in name


def _objective(given: str, card: Card | None) -> Objective:
    name, *words = given.split(":")
    asked: Name | None = None
    gain: Gain | None = None
    for word in words:
        transform = next((known for known in NAMES if known == word), None)
        worth = next((known for known in GAINS if known == word), None)
        if transform is None and worth is None:
            raise unknown_name(f"transform of the objective {name!r}", word, (*NAMES, *GAINS))
        if (transform and asked) or (worth and gain):
            raise InputError(f"objective {given!r}", expected="at most one transform and one gain", came=words)
        asked, gain = transform or asked, worth or gain
    if card is None:
        return Objective(given, name, transform=asked or "identity", gain=gain)
    own = card.objective(name)
    return Objective(given, name, own.direction, asked or own.transform, gain=gain)
