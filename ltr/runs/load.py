"""The data of a run: a ranker's label columns as the store has them, a method's objectives as its labels.

A method sees labels that were made from raw columns by transforms fitted on train; they travel with it
(`labelling.json`), so that new data are labelled the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ltr.objectives import Labelling
    from ltr.types import Task

    from .config import RunConfig

__all__ = ["label_columns", "labelling_of", "load_task", "own_measures", "relabelled"]


def load_task(config: RunConfig, source: str | Path | None = None) -> Task:
    """The data of a run, with the labels its config names; of a method with `facts["labelling"]`.

    Args:
        source: store, folder or file to read instead of the dataset's usual place.
    """
    where, fold = source or config.data.name, config.data.fold
    if config.method is None:
        from ltr.datasets import load

        return load(where, fold=fold, objectives=label_columns(config) or None)
    from ltr.objectives.tasks import load_multi

    task, labelling = load_multi(where, config.data.objectives, fold)
    return replace(task, facts={**task.facts, "labelling": labelling})


def relabelled(source: str | Path, fold: str | None, labelling: Labelling) -> Task:
    """Another dataset or fold, with labels made as a method's were."""
    from ltr.datasets import load

    columns = list(dict.fromkeys(o.column for o in labelling.objectives))
    return labelling.task(load(source, fold=fold, objectives=columns, exact=True))


def labelling_of(task: Task) -> Labelling:
    """How the labels of a task were made; of one that came from elsewhere: as they stand."""
    from ltr.objectives import label_objectives

    return task.facts.get("labelling") or label_objectives(task.objectives, task.train)


def label_columns(config: RunConfig) -> tuple[str, ...]:
    """The label columns the config names, the trained one first; none for the dataset's main one."""
    return tuple(dict.fromkeys(filter(None, (config.data.objective, *config.data.objectives))))


def own_measures(dataset: str, names: Sequence[str]) -> tuple[str, ...]:
    """The measure every objective of a dataset is reported by.

    Raises:
        InputError: an objective the dataset does not have (with its near miss).
    """
    from ltr.objectives.tasks import task_objectives

    return tuple(objective.measure() for objective in task_objectives(dataset, names))
