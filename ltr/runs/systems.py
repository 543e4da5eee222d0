"""What a run trains, a ranker or a method: fitted, kept in its folder, and back from it.

    fit(config, task, seed, checkpoints, device, progress) -> (ranker or method, what its training left to tell)
    fit_fleet([config, ...], task, [seed, ...], checkpoints, device, progress) -> [(ranker, log), ...]
    load(folder, device) -> ranker or method

All score `score(split)` or `score(split, preferences)`, and both `save(folder)`.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.atomic import fingerprints, whole_file
from ltr.errors import InputError
from ltr.schema import to_dict

from .load import label_columns, labelling_of

if TYPE_CHECKING:
    from ltr.types import Task

    from .config import RunConfig

__all__ = [
    "PLACES",
    "fit",
    "fit_fleet",
    "fleet_key",
    "is_method",
    "load",
    "place",
    "reference_folder",
    "reference_hash",
]

PLACES = ("ranker", "method")  # the folder inside a run's


def place(config: RunConfig) -> str:
    """Which of `PLACES` a run keeps what it trained in."""
    return "ranker" if config.method is None else "method"


def is_method(folder: Path | str) -> bool:
    """Whether a folder keeps a method."""
    from ltr.methods.base import MARK

    return (Path(folder) / MARK).is_file()


def fit(
    config: RunConfig, task: Task, seed: int, checkpoints: Path, device: str, progress: Callable[[int, int, str], None]
) -> tuple[Any, dict[str, Any]]:
    """Trains what the config names, continuing from `checkpoints`.

    Args:
        progress: hears (epoch, epochs, note) after each epoch, or some rounds.
    """
    return (_fit_ranker if config.method is None else _fit_method)(config, task, seed, checkpoints, device, progress)


def fleet_key(config: RunConfig) -> str | None:
    """Equal for resolved configs whose nets one fleet can train: they differ in seed, learning rate, weight decay or
    loss. None where there is no net, or the method or ensemble has fleets of its own (`fleet` of its parameters)."""
    from ltr.rankers import RANKERS

    if config.method is not None or config.training is None or config.loss is None:
        return None
    if RANKERS[config.ranker.name].claims["kind"] != "neural":
        return None
    training = replace(config.training, learning_rate=1.0, weight_decay=0.0)
    return json.dumps(to_dict(replace(config, training=training, loss=None, seed=0, repetition=0)), sort_keys=True)


def fit_fleet(
    configs: Sequence[RunConfig],
    task: Task,
    seeds: Sequence[int],
    checkpoints: Path,
    device: str,
    progress: Callable[[int, int, str], None],
) -> list[tuple[Any, dict[str, Any]]]:
    """Trains the rankers of configs that have one `fleet_key` side by side, continuing from `checkpoints`.

    Raises:
        InputError: they make no fleet after all, or one of them cannot be trained.
    """
    from ltr.methods.stacked import train_together

    first = configs[0]
    members = [
        {
            "ranker": config.ranker.name,
            "ranker_params": config.ranker.params,
            "loss": config.loss.name,
            "loss_params": config.loss.params,
            "training": config.training,
            "seed": seed,
        }
        for config, seed in zip(configs, seeds, strict=True)
    ]
    return train_together(
        task.train,
        task.vali,
        members,
        objective=(label_columns(first) or (None,))[0],
        select=first.select,
        folder=checkpoints,
        accelerator=device,
        progress=progress,
    )


def load(folder: Path | str, device: str = "auto"):
    """The ranker or method kept in a folder, on a device."""
    from ltr.methods import load_method
    from ltr.rankers import load_ranker
    from ltr.rankers.neural import pick_device

    found = load_method(folder) if is_method(folder) else load_ranker(folder)
    for model in (found, *getattr(found, "models", ()), getattr(found, "base", None)):
        if hasattr(model, "to"):  # only nets have a device, and loading puts them where it is fastest
            model.to(pick_device(device))
        elif hasattr(model, "net"):
            model.net.to(pick_device(device))
    return found


def reference_folder(config: RunConfig) -> Path | None:
    """Where the reference scorer lies that the config names; None where the method trains its own.

    Raises:
        InputError: neither a finished run of a ranker nor a saved ranker lies there.
    """
    from .record import read_record

    if config.method is None or config.method.base is None:
        return None
    folder = Path(config.method.base)
    record = read_record(folder)
    saved = folder if record is None else folder / PLACES[0]
    if record is not None and not record.done:
        raise InputError("the reference scorer's run is not finished", file=folder, came=record.status)
    if not (saved / "ranker.json").is_file():
        raise InputError(
            "no reference scorer here",
            file=folder,
            expected="the run folder of a ranker, or a saved ranker",
            do="Train one on the same inputs: ltr train --ranker NAME with the same --data and --data.objectives",
        )
    return saved


def reference_hash(config: RunConfig) -> dict[str, str]:
    """`base` -> sha256 over the reference scorer's files, for the record; empty where the method trains its own."""
    folder = reference_folder(config)
    if folder is None:
        return {}
    found = json.dumps(fingerprints(folder), sort_keys=True)
    return {"base": hashlib.sha256(found.encode()).hexdigest()}


def _reference(config: RunConfig, task: Task, device: str):
    """The reference scorer, on a device; one that reads other columns than the task has is refused."""
    folder = reference_folder(config)
    if folder is None:
        return None
    base = load(folder, device)
    seen, there = getattr(base, "n_features", None), task.train.n_features
    if seen is not None and seen != there:
        raise InputError(
            "the reference scorer was trained on other inputs",
            file=folder,
            expected=f"{there} features",
            came=seen,
            do="Objectives leave the inputs: train it with the same --data.objectives",
        )
    return base


def _fit_ranker(config: RunConfig, task: Task, seed: int, checkpoints: Path, device: str, progress):
    from ltr.methods.single import train

    return train(
        task.train,
        task.vali,
        ranker=config.ranker.name,
        ranker_params=config.ranker.params,
        loss=config.loss and config.loss.name,
        loss_params=config.loss and config.loss.params,
        training=config.training,
        objective=(label_columns(config) or (None,))[0],
        select=config.select,
        seed=seed,
        folder=checkpoints,
        accelerator=device,
        progress=progress,
    )


def _fit_method(config: RunConfig, task: Task, seed: int, checkpoints: Path, device: str, progress):
    from ltr.methods import make_method
    from ltr.objectives import lattice

    method = make_method(config.method.name, seed=seed, **config.method.params)
    if hasattr(method.config, "measures"):
        method.config = replace(method.config, measures=config.measures)
    points = lattice(len(task.objectives), config.preferences)
    # One model a preference: those that will be asked for. The others choose by the few of their own default.
    asked = points if method.claims["steers"] == "fitted" else None
    clock = _Clock(checkpoints / "seconds.json")
    hear = _Trainings(checkpoints, progress, clock)
    with clock:
        method.fit(
            task,
            _reference(config, task, device),
            preferences=asked,
            folder=checkpoints,
            progress=hear,
            accelerator=device,
        )
    models = [{key: getattr(model, key, None) for key in ("best", "history", "cost")} for model in method.models]
    log = {
        "seconds": clock.seconds,
        "models_trained": method.models_trained,
        "selection": {},
        "models": models,
        "labelling": [o.name for o in labelling_of(task).objectives],
    }
    return method, log


class _Clock:
    """Seconds of a fit, those of interrupted attempts included: they are noted while it runs."""

    EVERY = 1.0

    def __init__(self, path: Path):
        self.path, self.before = path, 0.0
        if path.is_file():
            self.before = float(json.loads(path.read_text())["seconds"])

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    def __enter__(self) -> _Clock:
        self.began = self.noted = time.perf_counter()
        return self

    def __exit__(self, *exception) -> None:
        self.note()

    def tick(self) -> None:
        if time.perf_counter() - self.noted >= self.EVERY:
            self.note()

    def note(self) -> None:
        self.noted = time.perf_counter()
        with whole_file(self.path) as beside:
            beside.write_text(json.dumps({"seconds": self.seconds}))


class _Trainings:
    """Turns the epochs of one training after another into progress that says which of them is running."""

    def __init__(self, checkpoints: Path, progress: Callable[[int, int, str], None], clock: _Clock):
        self.checkpoints, self.progress, self.clock = checkpoints, progress, clock
        self.number, self.epoch = 0, np.inf

    def __call__(self, event) -> None:
        if event.epoch <= self.epoch:
            # A training that continues finds the folders of those that are done; each leaves one.
            there = sum(p.is_dir() for p in self.checkpoints.iterdir()) if self.checkpoints.is_dir() else 0
            self.number = max(self.number + 1, there)
        self.epoch = event.epoch
        self.clock.tick()
        vali = "" if event.vali is None else f", vali {event.vali:.4f}"
        self.progress(event.epoch, event.epochs, f"training {self.number}{vali}")
