"""How the labels of a run were made, and the same made on other lists.

A method sees labels that were made from raw columns by transforms fitted on train, and so does a ranker of an objective
like "clicks:grade5"; they travel with it (`labelling.json`), so that new data are labelled the same way.
"""

from __future__ import annotations

from pathlib import Path

from ltr.errors import InputError
from ltr.objectives import Labelling, label_objectives
from ltr.objectives.tasks import open_columns
from ltr.types import Task

__all__ = ["labelling_of", "labelling_of_run", "relabelled", "stored_labelling"]


def relabelled(source: str | Path, fold: str | None, labelling: Labelling, **roles) -> Task:
    """Another dataset or fold, with labels made as a method's were; `roles` of its columns as `ltr.load` takes them."""
    return labelling.task(open_columns(source, labelling.objectives, fold, **roles))


def labelling_of(task: Task) -> Labelling:
    """How the labels of a task were made; of one that came from elsewhere: as they stand."""
    return task.facts.get("labelling") or label_objectives(task.objectives, task.train)


def stored_labelling(run: Path | str) -> Labelling | None:
    """How the labels of a run were made, or of what a run keeps; None where they are columns as they stand."""
    places = (Path(run) / inner / "labelling.json" for inner in ("method", "ranker", ""))
    path = next((p for p in places if p.is_file()), None)
    return None if path is None else Labelling.load(path)


def labelling_of_run(run: Path | str) -> Labelling:
    """How the labels of a run of a method were made; of a method's folder too."""
    found = stored_labelling(run)
    if found is None:
        raise InputError(
            "no labelling", file=Path(run), expected="a labelling.json, as a run leaves it beside its method"
        )
    return found
