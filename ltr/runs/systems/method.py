"""A run of a method for several objectives: it is scored for a lattice of preferences and leaves a front."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ltr.atomic import write_text
from ltr.errors import InputError
from ltr.fronts import hypervolumes
from ltr.fronts.hypervolume import hypervolume
from ltr.losses import LOSSES, PREFERENCE_LOSSES
from ltr.methods import METHODS, Method, load_method, make_method
from ltr.metrics import evaluate, mean, measure
from ltr.objectives import Labelling, lattice
from ltr.objectives.preferences import PARTITIONS
from ltr.objectives.tasks import load_multi, task_objectives
from ltr.rankers import resolve_params
from ltr.runs.config import HEADLINE, HYPERVOLUME, MEASURES, MethodChoice, RunConfig
from ltr.runs.labels import labelling_of
from ltr.schema import bind, to_dict
from ltr.types import Task

from .base import Heard, System, Trained, place_model
from .reference import reference_hash, reference_of

__all__ = ["MethodSystem"]


@dataclass(frozen=True)
class MethodSystem(System):
    """The method of a config, with what it trades off."""

    place: ClassVar[str] = "method"

    @property
    def method(self) -> MethodChoice:
        assert self.config.method is not None
        return self.config.method

    @property
    def name(self) -> str:
        return self.method.name

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.config.data.objectives

    @property
    def labels(self) -> tuple[str, ...]:
        """The label columns that are measured: the objectives, and behind them the main label that is kept apart."""
        main = self.config.data.main
        return self.objectives if main is None else (*self.objectives, main)

    def resolved(self) -> RunConfig:
        config, data, names = self.config, self.config.data, self.objectives
        entry = METHODS[self.name]
        what = f"method {entry.name!r}"
        for key in ("loss", "training"):
            if getattr(config, key) is not None:
                raise InputError(f"{key} of {what} is one of its parameters", expected=f"method.params.{key}")
        if data.objective is not None:
            raise InputError(
                f"{what} trains all of its objectives", do="Leave data.objective out.", came=data.objective
            )
        if len(names) < 2 or len(set(names)) < len(names):
            raise InputError(
                f"{what} trades objectives off", expected="data.objectives: at least two, none twice", came=list(names)
            )
        if data.main in names:
            raise InputError(
                "the main label is kept apart", expected="data.main: none of data.objectives", came=data.main
            )
        own = tuple(o.measure() for o in task_objectives(data.name, self.labels))  # an unknown one is named there
        if "measures" in self.method.params:
            raise InputError(f"the measures of {what} are those of the run", expected="measures: one an objective")
        asked = own if config.measures == MEASURES else config.measures
        asked = (*asked, *own[len(names) :]) if len(asked) == len(names) else asked
        if len(asked) != len(own):
            raise InputError("one measure an objective", expected=f"{len(names)}: {', '.join(names)}", came=list(asked))
        if config.select not in (HEADLINE, HYPERVOLUME):
            raise InputError(
                f"{what} is selected by its front", expected=f"select = {HYPERVOLUME!r}", came=config.select
            )
        if self.method.base is not None and not entry.claims["base"]:
            raise InputError(f"{what} starts from no reference scorer", do="Leave method.base out.")
        return replace(
            config,
            method=replace(self.method, name=entry.name, params=self._params(entry.claims["config"])),
            measures=tuple(repr(measure(m)) for m in asked),
            select=HYPERVOLUME,
            preferences=_partition(config.preferences, len(names)),
        )

    def _params(self, schema: type) -> dict[str, Any]:
        """The method's parameters, checked and filled in."""
        params = to_dict(bind(schema, self.method.params, where="method.params"))
        params.pop("measures", None)  # the run's own
        if "loss" in params and not (METHODS[self.name].claims["base"] and params["loss"] in PREFERENCE_LOSSES):
            LOSSES[params["loss"]]  # an unknown one is named here; its parameters are the method's to judge
        if "ranker" in params:
            params["ranker_params"] = resolve_params(params["ranker"], params.get("ranker_params", {}))
        return params

    def _load_task(self, source: str | Path | None) -> Task:
        data = self.config.data
        roles = {} if source else data.roles
        task, labelling = load_multi(source or data.name, self.labels, data.fold, **roles)
        return replace(task, facts={**task.facts, "labelling": labelling})

    def measures(self, task: Task) -> dict[str, tuple[str, ...]]:
        return {name: (own,) for name, own in zip(task.objectives, self.config.measures, strict=True)}

    @property
    def preferences(self) -> np.ndarray:
        return lattice(len(self.objectives), self.config.preferences)

    def fit(self, task: Task, seed: int, folder: Path, device: str, progress: Heard) -> Trained:
        method = make_method(self.name, seed=seed, **self.method.params)
        if hasattr(method.config, "measures"):
            method.config = replace(method.config, measures=self.config.measures)
        base = None if self.method.base is None else reference_of(self.method.base, task, device)
        # One model a preference: those that will be asked for. The others choose by the few of their own default.
        asked, main = self.preferences if method.claims["preference"] == "fixed" else None, self.config.data.main
        clock = _Clock(folder / "seconds.json")
        with clock:
            told = _Trainings(folder, progress, clock)
            method.fit(task, base, main=main, preferences=asked, folder=folder, progress=told, accelerator=device)
        log = {
            "seconds": clock.seconds,
            "cpu_seconds": clock.cpu_seconds,
            "models_trained": method.models_trained,
            "selection": _kept(method),
            "models": [{k: getattr(model, k, None) for k in ("best", "history", "cost")} for model in method.models],
            "labelling": [o.name for o in labelling_of(task).objectives],
        }
        return method, log

    def labelling(self, task: Task) -> Labelling:
        return labelling_of(task)

    def load(self, folder: Path | str, device: str = "auto") -> Method:
        inner = Path(folder) / self.place
        return place_model(load_method(inner if inner.is_dir() else folder), device)

    def cost(self, model: Method, log: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "parameters": int(model.cost["n_parameters"]),
            "models_trained": log["models_trained"],
            "operations": model.cost.get("operations"),
            "cpu_seconds": log.get("cpu_seconds"),
            "seconds_a_point": log["seconds"] / len(self.preferences),
        }

    def selection(self, points: Any) -> dict[str, Any]:
        """Hypervolume of the points, seen from the origin; None without a judged list: nothing to compare by."""
        points = points[:, : len(self.objectives)]  # the main label chooses nothing
        if isinstance(points, np.ndarray):
            value = hypervolume(points, np.zeros(points.shape[1])) if np.isfinite(points).all() else None
        else:
            value = float(hypervolumes(points, 0.0)) if bool(points.isfinite().all()) else None
        return {"measure": "hypervolume(reference=0)", "value": value}

    def reference(self, model: Method, task: Task) -> dict[str, Any]:
        main = self.config.data.main
        if main is None or model.base is None:
            return {}
        name = self.config.measures[-1]
        found = {}
        for place in ("vali", "test"):
            split = task.split(place)
            values = evaluate([name], model.base.score(split), split.label(main), split.offsets)[name]
            found[place] = mean(values) if np.isfinite(values).any() else float("nan")
        return {"objective": main, "measure": name, **found}

    def file_hashes(self) -> dict[str, str]:
        return {} if self.method.base is None else {"base": reference_hash(self.method.base)}

    def warm_up(self) -> None:
        import ltr.methods.catalogue
        import ltr.rankers.conditional.training  # noqa: F401


def _kept(method: Method) -> dict[str, Any]:
    """What validation chose inside the method: the epoch (or round) of each model, and lambda where there is one."""
    epochs = [(getattr(model, "best", None) or {}).get("epoch") for model in method.models]
    control = method.memory.get("control")
    return {"epochs": epochs} | ({} if control is None else {"control": control})


def _partition(asked: int | None, m: int) -> int:
    """H of the lattice; the protocol's where nothing was asked."""
    if asked is None and m not in PARTITIONS:
        raise InputError(
            "the protocol has no lattice for so many objectives", expected="preferences = H", came=f"{m} objectives"
        )
    found = PARTITIONS[m] if asked is None else asked
    if found < 1:
        raise InputError("preferences are multiples of 1/H", expected="H of 1 or more", came=found)
    return found


class _Clock:
    """Seconds of a fit, and those of the processor, interrupted attempts included: they are noted while it runs."""

    EVERY = 1.0

    def __init__(self, path: Path):
        self.path, self.before, self.cpu_before = path, 0.0, 0.0
        if path.is_file():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # damaged: seconds are lost, and nothing else
                noted = json.loads(path.read_bytes())
                self.before, self.cpu_before = float(noted["seconds"]), float(noted.get("cpu_seconds", 0.0))

    @property
    def seconds(self) -> float:
        return self.before + time.perf_counter() - self.began

    @property
    def cpu_seconds(self) -> float:
        return self.cpu_before + time.process_time() - self.cpu_began

    def __enter__(self) -> _Clock:
        self.began = self.noted = time.perf_counter()
        self.cpu_began = time.process_time()
        return self

    def __exit__(self, *exception) -> None:
        self.note()

    def tick(self) -> None:
        if time.perf_counter() - self.noted >= self.EVERY:
            self.note()

    def note(self) -> None:
        self.noted = time.perf_counter()
        write_text(self.path, json.dumps({"seconds": self.seconds, "cpu_seconds": self.cpu_seconds}))


class _Trainings:
    """Turns the epochs of one training after another into progress that says which of them is running."""

    def __init__(self, checkpoints: Path, progress: Heard, clock: _Clock):
        self.checkpoints, self.progress, self.clock = checkpoints, progress, clock
        self.number, self.epoch = 0, np.inf

    def __call__(self, event) -> None:
        if event.epoch <= self.epoch:
            # A training that continues finds the folders of those that are done; each leaves one.
            there = sum(p.is_dir() for p in self.checkpoints.iterdir()) if self.checkpoints.is_dir() else 0
            self.number = max(self.number + 1, there)
        self.epoch = event.epoch
        self.clock.tick()
        vali = "" if event.vali is None else f", validation {event.vali:.4f}"
        self.progress(event.epoch, event.epochs, f"training {self.number}{vali}")
