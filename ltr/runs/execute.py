"""Carries out one run: data, fit, scores, measures, record.

A finished run is a no-op, an interrupted one continues where it stood, a failed or skipped one is a record with its
reason and is tried again on the next call. What each step leaves is whole or absent, and a step that left it is not
repeated where repeating would cost: training continues from its checkpoint, a trained ranker is loaded.
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltr.atomic import fingerprints, lock, sha256, whole_file, whole_folder
from ltr.errors import InputError, MissingExtra
from ltr.schema import read_toml, to_dict, write_toml

from .config import RunConfig, command, config_hash, differences, resolve, seeds
from .load import label_columns, labelling_of, load_task
from .record import LOOSE, Record, finite, read_record, write_record

if TYPE_CHECKING:
    from ltr.types import Task

    from .front_pipeline import Clock

__all__ = ["Progress", "execute", "load_task"]

# progress(stage, done, total, note): stage is "data", "fit", "score" or "measure"; done of total steps of that stage.
Progress = Callable[[str, int, int, str], None]
_SPLITS = ("vali", "test")


def execute(
    config: RunConfig,
    folder: Path | str,
    *,
    progress: Progress | None = None,
    task: Task | None = None,
    device: str = "auto",
    tensors: bool | None = None,
) -> Record:
    """Runs a config into a folder, or continues it there, or returns what is already finished.

    Args:
        config: what to run; it is resolved first, so a bad name or parameter raises before anything is written.
        folder: the run's folder, made if absent.
        progress: called as `progress(stage, done, total, note)`.
        task: the data, where the caller holds it already; else `config.data` is loaded.
        device: "auto", "cpu", "cuda", "mps": a matter of the machine, recorded but not part of the config.
        tensors: whether a method's rankings are measured as tensors of the device, without a visit to the host; by
            default on an NVIDIA GPU (`ltr.runs.front_pipeline`).

    Returns:
        The record: done, or failed or skipped with the reason (neither raises, so that a suite goes on).

    Raises:
        InputError: a bad config; the folder holds another config; another process works in it.
        KeyboardInterrupt: passed on, with the folder left so that the next call continues.
    """
    from .systems import reference_folder

    config, folder = resolve(config), Path(folder)
    found = same_config(config, folder)
    if found is not None and found.done:
        return found
    reference_folder(config)  # a wrong path is said before anything is written
    with lock(folder):
        # Only the holder of the lock may believe what it reads: another process may just have finished.
        found = same_config(config, folder)
        if found is not None and found.done:
            return found
        return _attempt(config, folder, found, progress or (lambda *_: None), task, device, tensors)


def same_config(config: RunConfig, folder: Path) -> Record | None:
    """The record in the folder; refuses a folder that belongs to another config."""
    path = folder / "config.toml"
    if path.is_file():
        there = read_toml(path)
        changed = differences(config, there)
        if changed:
            raise InputError(
                f"the folder holds a run of another config ({len(changed)} keys differ; {'; '.join(changed[:3])})",
                file=folder,
                do="Choose another folder, or delete this one",
            )
    elif folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise InputError("the folder holds files and is no run", file=folder, do="Choose an empty or a new folder")
    return read_record(folder)


def _attempt(
    config: RunConfig, folder: Path, found: Record | None, progress: Progress, task, device: str, tensors: bool | None
) -> Record:
    record = begun(config, folder, device, 1 + (found.cost.get("attempts", 0) if found else 0))
    try:
        record = _steps(record, config, progress, task, device, tensors)
    except KeyboardInterrupt:
        interrupted(record)
        raise
    except MissingExtra as error:
        record = replace(record, status="skipped", reason=str(error))
    except Exception as error:
        last = traceback.format_exc().strip().splitlines()[-30:]
        record = replace(
            record,
            status="failed",
            reason=f"{error}" or type(error).__name__,
            error={"type": type(error).__name__, "user": isinstance(error, InputError), "traceback": last},
        )
    write_record(record)
    if record.done:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        with whole_file(folder / "DONE") as path:
            path.write_text(sha256(folder / "record.json") + "\n")
    return read_record(folder)  # what any later reader will see


def begun(config: RunConfig, folder: Path, device: str, attempts: int) -> Record:
    """The record of a run that starts, written into its folder beside its config."""
    from .environment import code, environment
    from .systems import reference_hash

    write_toml(folder / "config.toml", config)
    record = Record(
        folder,
        "running",
        config=to_dict(config),
        config_hash=config_hash(config),
        seeds=seeds(config),
        command=command(config),
        environment=environment(device),
        hashes={"code": code(), **reference_hash(config)},
        cost={"attempts": attempts},
    )
    write_record(record)
    return record


def interrupted(record: Record) -> None:
    """Says in its record that a run was stopped by Ctrl-C."""
    write_record(replace(record, status="interrupted", reason="stopped by the user; the same call continues it"))


def keep(model, log: dict, config: RunConfig, task: Task, folder: Path) -> None:
    """Saves what was trained, and what its training left to tell, in the run's folder; whole or not at all."""
    from .environment import code
    from .input_columns import input_facts
    from .systems import place

    with whole_folder(folder / place(config)) as beside:
        model.save(beside)
        if config.method is not None:
            labelling_of(task).save(beside / "labelling.json")
        log = {**log, "inputs": input_facts(task), "code": code()["sources"]}
        (beside / "training.json").write_text(json.dumps(finite(log), indent=1, allow_nan=False) + "\n")


def _steps(
    record: Record, config: RunConfig, progress: Progress, task: Task | None, device: str, tensors: bool | None
) -> Record:
    from . import systems as trained
    from .environment import data_hashes, peak_memory, reset_peak_memory
    from .front_pipeline import Clock, home_of

    folder = record.folder
    if task is None:
        progress("data", 0, 1, config.data.name)
        task = load_task(config)
        progress("data", 1, 1, task.fold)
    splits = {
        s: {"queries": task.split(s).n_queries, "documents": task.split(s).n_documents} for s in ("train", *_SPLITS)
    }
    data = {"name": task.name, "fold": task.fold, "splits": splits}
    record = replace(record, data=data, hashes={**record.hashes, **data_hashes(task)})
    reset_peak_memory()

    kept = folder / trained.place(config)
    if not kept.is_dir():
        model, log = trained.fit(
            config,
            task,
            record.seeds["run"],
            folder / "checkpoints",
            device,
            lambda *event: progress("fit", *event),
        )
        keep(model, log, config, task, folder)
    # Scores come from what was saved: what a user loads later is what was measured.
    model = trained.load(kept, device)
    log = json.loads((kept / "training.json").read_text())
    points = None if config.method is None else _lattice(config)

    # A front is tens of rankings: measured where they were scored. Rankers keep the bits they always had.
    clock = Clock(None if points is None else home_of(device, tensors))
    documents, values = _score(config, model, task, points, folder, progress, clock)
    started = time.perf_counter()
    measures = _measure(config, task, folder, progress, points, values, clock)
    measuring = time.perf_counter() - started
    selection = {"measure": config.select, "split": "vali", **log["selection"]}
    if points is not None:
        with clock.stage("front"):
            selection = {**selection, **_front_of(replace(record, measures=measures), values)}
    seconds = clock.seconds["score"]
    cost = {
        **record.cost,
        "fit_seconds": log["seconds"],
        "score_seconds": seconds,
        "measure_seconds": measuring + (clock.seconds["measure"] if values else 0.0),
        "train_documents_per_second": log.get("documents_per_second"),
        "train_step_seconds": log.get("step_seconds"),
        "score_documents_per_second": documents / max(seconds, 1e-9),
        **({"parameters": int(model.n_parameters)} if points is None else _method_cost(model, log, len(points))),
        **({} if points is None else {"stages": {"on": clock.on, **clock.seconds}}),
        **({"fleet": log["fleet"]} if "fleet" in log else {}),
        # A fleet was trained before this run began: its peak is in the log.
        **{key: max(peak, log.get(key) or 0) for key, peak in peak_memory().items()},
    }
    artefacts = fingerprints(folder, skip=LOOSE)
    return replace(record, status="done", cost=cost, selection=selection, measures=measures, artefacts=artefacts)


def _lattice(config: RunConfig):
    from ltr.objectives import lattice

    return lattice(len(config.data.objectives), config.preferences)


def _method_cost(method, log: dict, points: int) -> dict:
    return {
        "parameters": int(method.cost["n_parameters"]),
        "models_trained": log["models_trained"],
        "seconds_a_point": log["seconds"] / points,
    }


def _front_of(record: Record, values: dict) -> dict:
    """The selection of a method: hypervolume of its validation points, seen from the origin."""
    from ltr.fronts import hypervolume, hypervolumes

    from .front_pipeline import points_of

    if values:  # tensors: the volume is made where they are
        points = points_of(values["vali"])
        value = float(hypervolumes(points, 0.0)) if bool(points.isfinite().all()) else None
    else:
        points = record.points("vali")
        there = np.isfinite(points).all()  # without a judged list there is nothing to compare by
        value = hypervolume(points, np.zeros(points.shape[1])) if there else None
    return {"measure": "hypervolume(reference=0)", "value": value}


def _score(
    config: RunConfig, model, task: Task, points, folder: Path, progress: Progress, clock: Clock
) -> tuple[int, dict]:
    """Writes the scores of both splits; of a method, of every preference `points`.

    Returns:
        (documents scored, split -> measures of every query, where the clock's home is a device: taken before the
        scores leave it).
    """
    from .front_pipeline import measured, scored
    from .scores import write_scores

    documents, values = 0, {}
    for done, name in enumerate(_SPLITS):
        split = task.split(name)
        progress("score", done, len(_SPLITS), name)
        with clock.stage("score"):
            scores = model.score(split) if points is None else scored(model, split, points, clock.home)
        if clock.home is not None:
            with clock.stage("measure"):
                values[name] = measured(split, scores, task.objectives, config.measures, clock.home)
            scores = scores.cpu().numpy()
        documents += scores.size
        write_scores(folder / "scores" / f"{name}.parquet", split, scores, points)
    progress("score", len(_SPLITS), len(_SPLITS), "")
    return documents, values


def _measure(
    config: RunConfig, task: Task, folder: Path, progress: Progress, points, values: dict, clock
) -> list[dict]:
    """Writes the measures of both splits: of the scores that lie there, or those that were measured with them."""
    from .per_query import per_query, summarise, table_of, write_per_query
    from .scores import read_scores

    if config.method is None:
        measures, objectives = config.measures, label_columns(config) or task.objectives[:1]
    else:
        objectives = task.objectives
        measures = {name: (measure,) for name, measure in zip(objectives, config.measures, strict=True)}
    rows = []
    for done, name in enumerate(_SPLITS):
        progress("measure", done, len(_SPLITS), name)
        split = task.split(name)
        if name in values:
            table = table_of(split, values[name].cpu().numpy(), config.measures, points, objectives)
        else:
            scores = read_scores(folder / "scores" / f"{name}.parquet")
            with clock.stage("measure"):
                table = per_query(split, scores, measures, objectives)
        write_per_query(folder / "per_query" / f"{name}.parquet", table)
        own = measures if isinstance(measures, dict) else None
        rows += [{"split": name, **row} for row in summarise(table, own)]
    progress("measure", len(_SPLITS), len(_SPLITS), "")
    return rows
