"""How the labels of a method's run were made, and the same made on other lists.

A method sees labels that were made from raw columns by transforms fitted on train; they travel with it
(`labelling.json`), so that new data are labelled the same way.
"""

from __future__ import annotations

from pathlib import Path

from ltr.errors import InputError
from ltr.objectives import Labelling, label_objectives
from ltr.objectives.tasks import open_columns
from ltr.types import Task

__all__ = ["labelling_of", "labelling_of_run", "relabelled"]


def relabelled(source: str | Path, fold: str | None, labelling: Labelling, **roles) -> Task:
    """Another dataset or fold, with labels made as a method's were; `roles` of its columns as `ltr.load` takes them."""
    return labelling.task(open_columns(source, labelling.objectives, fold, **roles))


def labelling_of(task: Task) -> Labelling:
    """How the labels of a task were made; of one that came from elsewhere: as they stand."""
    return task.facts.get("labelling") or label_objectives(task.objectives, task.train)


def labelling_of_run(run: Path | str) -> Labelling:
    """How the labels of a run of a method were made; of a method's folder too."""
    folder = Path(run)
    folder = folder / "method" if (folder / "method").is_dir() else folder
    path = folder / "labelling.json"
    if not path.is_file():
        raise InputError("no labelling", file=folder, expected="a labelling.json, as a run leaves it beside its method")
    return Labelling.load(path)
