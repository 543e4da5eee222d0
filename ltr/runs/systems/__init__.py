"""What runs train: `system_of(config)` is a ranker or a method, with fit, keep, load and measures of its own.

system = system_of(config)
model, log = system.fit(task, seed, folder / "checkpoints", device, progress)
system.keep(model, log, task, folder)
system.load(folder).score(split)                       # of a method: score(split, preferences)
"""

from __future__ import annotations

from pathlib import Path

from ltr.errors import InputError
from ltr.methods import load_method
from ltr.methods.base import MARK
from ltr.rankers import load_ranker
from ltr.runs.config import RunConfig
from ltr.types import Task

from .base import System, place_model, read_log
from .method import MethodSystem
from .ranker import RankerSystem, fit_together
from .reference import reference_folder

__all__ = [
    "MethodSystem",
    "RankerSystem",
    "System",
    "fit_together",
    "is_method",
    "load",
    "load_task",
    "read_log",
    "reference_folder",
    "system_of",
]


def system_of(config: RunConfig) -> System:
    """What the config of a run names.

    Raises:
        InputError: it names both a ranker and a method, or neither.
    """
    if (config.ranker is None) == (config.method is None):
        came = [choice.name for choice in (config.ranker, config.method) if choice is not None]
        raise InputError("a run has a ranker or a method", expected="one of the two", came=came)
    return RankerSystem(config) if config.method is None else MethodSystem(config)


def load_task(config: RunConfig, source: str | Path | None = None) -> Task:
    """The data of a run, with the labels its config names; of a method with `facts["labelling"]`.

    Args:
        source: store, folder or file to read instead of the dataset's usual place.
    """
    return system_of(config).load_task(source)


def is_method(folder: Path | str) -> bool:
    """Whether a folder keeps a method."""
    return (Path(folder) / MARK).is_file()


def load(folder: Path | str, device: str = "auto"):
    """The ranker or method kept in a folder, on a device.

    Raises:
        InputError: none is kept there, or its files cannot be read.
    """
    try:
        return place_model(load_method(folder) if is_method(folder) else load_ranker(folder), device)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # whatever a damaged file makes a library say
        raise InputError(
            f"what is kept here cannot be read ({type(error).__name__}: {error})",
            file=folder,
            do="Restore it from a copy, or train it anew",
        ) from error
