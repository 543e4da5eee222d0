"""What a run trains and measures, as a value: a ranker with its loss, or a method for several objectives."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ltr.atomic import read_json, whole_folder
from ltr.datasets.clicks import debias
from ltr.datasets.few_labels import few_labels
from ltr.datasets.pairs import pair_lists, read_pairs
from ltr.errors import InputError
from ltr.objectives import Labelling
from ltr.rankers.neural import pick_device
from ltr.runs.config import RunConfig
from ltr.runs.environment import code
from ltr.runs.input_columns import input_facts
from ltr.runs.record import finite
from ltr.seeds import seed_of
from ltr.types import Split, Task

__all__ = ["System", "Trained", "place_model", "read_log"]

# A fitted ranker or method, and what its training left to tell: seconds, selection, history ...
Trained = tuple[Any, dict[str, Any]]
# progress(done, total, note), after each epoch or some rounds.
Heard = Callable[[int, int, str], None]


@dataclass(frozen=True)
class System(ABC):
    """One kind of thing a run can train, by the config of the run.

    Attributes:
        config: of the run.
        place: the folder inside a run's that keeps what was trained.
    """

    config: RunConfig
    place: ClassVar[str]

    @property
    @abstractmethod
    def name(self) -> str:
        """The ranker's or method's name in its catalogue."""

    @abstractmethod
    def resolved(self) -> RunConfig:
        """The config with every name and parameter checked and every default filled in."""

    def load_task(self, source: str | Path | None = None) -> Task:
        """The data with the labels the config names; from `source` instead of the dataset's usual place."""
        task, how, pairs = self._load_task(source), self.config.data.debias, self.config.data.pairs
        if pairs is not None:
            stated = read_pairs(pairs)
            note = f"trained on {len(stated):,} comparisons in place of {task.train.n_queries:,} lists"
            task = replace(
                pair_lists(task, stated), facts={**task.facts, "notes": [*task.facts.get("notes", []), note]}
            )
        if how is None:
            return task
        clicks = self.config.data.clicks
        task = debias(task, how, objective=clicks if clicks in task.objectives else None)
        note = f"clicked documents weigh by inverse propensities of their ranks: {task.facts['propensities']}"
        return replace(task, facts={**task.facts, "notes": [*task.facts.get("notes", []), note]})

    def labelled(self, task: Task) -> Task:
        """The task with the labels that may be used, the same for every system of a seed and repetition."""
        config = self.config
        if config.data.labelled is None:
            return task
        return few_labels(task, config.data.labelled, seed_of("labelled", config.seed, config.repetition))

    @abstractmethod
    def _load_task(self, source: str | Path | None) -> Task:
        """As `load_task`, its documents not yet weighed."""

    @abstractmethod
    def measures(self, task: Task) -> dict[str, tuple[str, ...]]:
        """Objective -> the measures it is reported by."""

    @property
    def preferences(self) -> np.ndarray | None:
        """`[preference, objective]` the run is scored for; None where a ranking takes none."""
        return None

    @abstractmethod
    def fit(self, task: Task, seed: int, folder: Path, device: str, progress: Heard) -> Trained:
        """Trains, continuing from the checkpoints in `folder`."""

    def keep(self, model: Any, log: Mapping[str, Any], task: Task, folder: Path) -> None:
        """Saves what was trained, and what its training left to tell, in the run's folder; whole or not at all."""
        with whole_folder(folder / self.place) as beside:
            model.save(beside)
            if (labelling := self.labelling(task)) is not None:
                labelling.save(beside / "labelling.json")
            told = {**log, "inputs": input_facts(task), "code": code()["sources"]}
            (beside / "training.json").write_text(json.dumps(finite(told), indent=1, allow_nan=False) + "\n")

    def labelling(self, task: Task) -> Labelling | None:
        """How the labels of the task were made, where not by taking columns as they stand."""
        return None

    @abstractmethod
    def load(self, folder: Path | str, device: str = "auto") -> Any:
        """What `keep` saved, on a device. `folder` is the run's, or the place inside it."""

    def cost(self, model: Any, log: Mapping[str, Any]) -> dict[str, Any]:
        """What the record says of its size."""
        return {"parameters": int(model.n_parameters)}

    def latency(self, model: Any, split: Split) -> float | None:
        """Seconds to score one list of 100 documents; None where what is scored is no single ranking."""
        return None

    def selection(self, points: Any) -> dict[str, Any]:
        """What chose between runs of this kind, of the validation points `[preference, objective]`; {}: the log says.

        Points are an array, or a tensor of the device they were measured on.
        """
        return {}

    def reference(self, model: Any, task: Task) -> dict[str, Any]:
        """How the reference ranker of what was trained ranks by the main label, for the record; {} without the two."""
        return {}

    def file_hashes(self) -> dict[str, str]:
        """Hashes of the files the config names, for the record; one that is not there is refused."""
        return {}

    @property
    def stack_key(self) -> str | None:
        """Equal for resolved configs whose nets train stacked: they differ in seed, rate, weight decay or loss.

        None where there is no net, or what is trained stacks nets of its own.
        """
        return None

    @abstractmethod
    def warm_up(self) -> None:
        """Imports what training needs, before a clock starts."""


def place_model(model: Any, device: str) -> Any:
    """Moves every net of a ranker or method to a device; returns it."""
    for each in (model, *getattr(model, "models", ()), getattr(model, "base", None)):
        if hasattr(each, "to"):  # only nets have a device, and loading puts them where it is fastest
            each.to(pick_device(device))
        elif hasattr(each, "net"):
            each.net.to(pick_device(device))
    return model


def read_log(folder: Path) -> dict[str, Any]:
    """What a training left to tell, from the place of a run; {} where nothing was left (a ranker saved by hand).

    Raises:
        InputError: training.json is there and not what `System.keep` wrote.
    """
    path = folder / "training.json"
    if not path.is_file():
        return {}
    again = f"Delete {folder}; the command of the run trains again"
    log = read_json(path, do=again)
    try:
        inputs = log["inputs"]
        whole = isinstance(log["selection"], dict) and isinstance(log["seconds"], int | float)
        whole &= isinstance(inputs["width"], int) and all(isinstance(k, int) for k in inputs["columns"])
        whole &= inputs["index_base"] in (None, 0, 1) and all(isinstance(name, str) for name in inputs["names"])
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise InputError("damaged: not what a training leaves", file=path, do=again)
    return log
