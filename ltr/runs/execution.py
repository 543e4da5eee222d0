"""Carries out one run: data, fit, scores, measures, record.

A finished run is a no-op, an interrupted one continues where it stood, a failed or skipped one is a record with its
reason and is tried again on the next call. What each step leaves is whole or absent, and a step that left it is not
repeated where repeating would cost: training continues from its checkpoint, a trained ranker is loaded.
"""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ltr.atomic import fingerprints, lock, sha256, write_text
from ltr.datasets.readers.folder import find
from ltr.errors import InputError, MissingExtra, say_once
from ltr.schema import read_toml, to_dict, write_toml
from ltr.types import Task

from .config import RunConfig, config_hash, differences, seeds
from .environment import code, data_hashes, environment, peak_memory, reset_peak_memory
from .front_pipeline import Clock, home_of, measured, points_of, scored
from .notes import notes_of
from .per_query import per_query, summarise, table_of, write_per_query
from .record import LOOSE, Record, check, open_run, read_record, write_record
from .resolving import command, resolve
from .scores import read_scores, write_scores
from .systems import System, read_log, system_of

__all__ = ["Progress", "begun", "execute", "found_run", "interrupted"]

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
        InputError: a bad config; the folder holds another config or a damaged run; another process works in it.
        KeyboardInterrupt: passed on, with the folder left so that the next call continues.
    """
    config, folder = resolve(config), Path(folder)
    found = found_run(config, folder)
    if found is not None and found.done:
        if changed := _changed_since(found):
            do = "another folder (--out) takes the data of today"
            say_once(f"{changed} was written to after the run in {folder} was finished, whose numbers these are; {do}")
        return found
    system, told = system_of(config), progress or (lambda *_: None)
    system.file_hashes()  # a wrong path is said before anything is written
    with lock(folder):
        # Only the holder of the lock may believe what it reads: another process may just have finished.
        found = found_run(config, folder)
        if found is not None and found.done:
            return found
        record = begun(config, folder, device, 1 + (found.cost.get("attempts", 0) if found else 0))
        try:
            if task is None:
                told("data", 0, 1, config.data.name)
                task = system.load_task()
                told("data", 1, 1, task.fold)
            record = replace(record, hashes={**record.hashes, **data_hashes(task)})
            task = system.labelled(task)
            record = _with_data(record, task)
            reset_peak_memory()
            if not (folder / system.place).is_dir():
                hear = lambda *event: told("fit", *event)  # noqa: E731
                model, log = system.fit(task, record.seeds["run"], folder / "checkpoints", device, hear)
                system.keep(model, {**log, "notes": notes_of(task, model)}, task, folder)
            record = _measured(record, system, task, told, device, tensors)
        except KeyboardInterrupt:
            interrupted(record)
            raise
        except MissingExtra as error:
            record = replace(record, status="skipped", reason=str(error), error={"library": error.library})
        except Exception as error:
            record = _failed(record, error)
        write_record(record)
        if record.done:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            write_text(folder / "DONE", sha256(folder / "record.json") + "\n")
        found = read_record(folder)  # what any later reader will see
        assert found is not None
        return found


def found_run(config: RunConfig, folder: Path) -> Record | None:
    """The record in the folder; refuses a folder that belongs to another config, or whose finished run is damaged."""
    path = folder / "config.toml"
    if path.is_file():
        changed = differences(config, read_toml(path))
        if changed:
            raise InputError(
                f"the folder holds a run of another config ({len(changed)} keys differ; {'; '.join(changed[:3])})",
                file=folder,
                do="Choose another folder, or delete this one",
            )
    elif folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise InputError("the folder holds files and is no run", file=folder, do="Choose an empty or a new folder")
    if check(folder).status in ("done", "not checked", "damaged"):
        record = open_run(folder)
        if record.config_hash and record.config_hash != config_hash(config):
            raise InputError(
                "the run is damaged: record.json is that of another config", file=folder, do="Restore it from a copy"
            )
        return record
    return read_record(folder)


def _changed_since(record: Record) -> Path | None:
    """The file or store the run read, where it was written to after the run was finished; of a folder, any of its data.

    Data of a card are not asked: they are checked against their store whenever they are opened.
    """
    path = Path(record.config["data"]["name"])
    try:
        done = (record.folder / "DONE").stat().st_mtime
        if path.is_dir():
            store = path / "manifest.json"
            given = {"": {"": store}} if store.is_file() else find(path)
            files = [file for splits in given.values() for file in splits.values()]
        else:
            files = [path] if path.is_file() else []
        return next((file for file in files if file.stat().st_mtime > done), None)
    except (OSError, InputError):  # gone, or no data any more: nobody's numbers change by that
        return None


def begun(config: RunConfig, folder: Path, device: str, attempts: int) -> Record:
    """The record of a run that starts, written into its folder beside its config."""
    write_toml(folder / "config.toml", config)
    record = Record(
        folder,
        "running",
        config=to_dict(config),
        config_hash=config_hash(config),
        seeds=seeds(config),
        command=command(config),
        environment=environment(device),
        hashes={"code": code(), **system_of(config).file_hashes()},
        cost={"attempts": attempts},
    )
    write_record(record)
    return record


def interrupted(record: Record) -> None:
    """Says in its record that a run was stopped by Ctrl-C."""
    write_record(replace(record, status="interrupted", reason="stopped by the user; the same call continues it"))


def _failed(record: Record, error: Exception) -> Record:
    """The record of a run that ended with an error; `user` where the input or the machine is to blame, not ltr."""
    last = traceback.format_exc().strip().splitlines()[-30:]
    reason = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.filename is None and error.errno is not None:
        reason = f"{record.folder}: {error.strerror}"  # a full disk does not say which
    user = isinstance(error, InputError | OSError)
    return replace(
        record,
        status="failed",
        reason=reason,
        error={"type": type(error).__name__, "user": user, "traceback": last},
    )


def _with_data(record: Record, task: Task) -> Record:
    splits = {
        s: {"queries": task.split(s).n_queries, "documents": task.split(s).n_documents} for s in ("train", *_SPLITS)
    }
    if task.unlabelled is not None:  # those of train among them
        splits["unlabelled"] = {"queries": task.unlabelled.n_queries, "documents": task.unlabelled.n_documents}
    return replace(record, data={"name": task.name, "fold": task.fold, "splits": splits})


def _measured(
    record: Record, system: System, task: Task, progress: Progress, device: str, tensors: bool | None
) -> Record:
    """The record of a run whose model is trained and kept: scored, measured, and what it cost."""
    folder, kept = record.folder, record.folder / system.place
    # Scores come from what was saved: what a user loads later is what was measured.
    model, log = system.load(kept, device), read_log(kept)

    # A front is tens of rankings: measured where they were scored. Rankers keep the bits they always had.
    clock = Clock(None if system.preferences is None else home_of(device, tensors))
    documents, values = _score(system, model, task, folder, progress, clock)
    started = time.perf_counter()
    measures = _measure(system, task, folder, progress, values, clock)
    measuring = time.perf_counter() - started
    selection = {"measure": system.config.select, "split": "vali", **log["selection"]}
    if system.preferences is not None:
        with clock.stage("front"):
            points = points_of(values["vali"]) if values else replace(record, measures=measures).points("vali")
            selection |= system.selection(points)
    seconds = clock.seconds["score"]
    cost = {
        **record.cost,
        "fit_seconds": log["seconds"],
        "score_seconds": seconds,
        "measure_seconds": measuring + (clock.seconds["measure"] if values else 0.0),
        "train_documents_per_second": log.get("documents_per_second"),
        "train_step_seconds": log.get("step_seconds"),
        "score_documents_per_second": documents / max(seconds, 1e-9),
        **system.cost(model, log),
        **({} if (latency := system.latency(model, task.split("test"))) is None else {"latency_seconds": latency}),
        **({} if system.preferences is None else {"stages": {"on": clock.on, **clock.seconds}}),
        **({"stacked": log["stacked"]} if "stacked" in log else {}),
        # Nets that were trained together were so before this run began: their peak is in the log.
        **{key: max(peak, log.get(key) or 0) for key, peak in peak_memory().items()},
    }
    return replace(
        record,
        status="done",
        cost=cost,
        selection=selection,
        measures=measures,
        reference=system.reference(model, task),
        notes=list(log.get("notes", [])),
        artefacts=fingerprints(folder, skip=LOOSE),
    )


def _score(
    system: System, model: Any, task: Task, folder: Path, progress: Progress, clock: Clock
) -> tuple[int, dict[str, Any]]:
    """Writes the scores of both splits, for every preference where there are any.

    Returns:
        (documents scored, split -> measures of every query, where the clock's home is a device: taken before the
        scores leave it).
    """
    documents, values, points = 0, {}, system.preferences
    for done, name in enumerate(_SPLITS):
        split = task.split(name)
        progress("score", done, len(_SPLITS), name)
        with clock.stage("score"):
            scores = model.score(split) if points is None else scored(model, split, points, clock.home)
        if clock.home is not None:
            with clock.stage("measure"):
                values[name] = measured(split, scores, task.objectives, system.config.measures, clock.home)
            scores = scores.cpu().numpy()
        documents += scores.size
        write_scores(folder / "scores" / f"{name}.parquet", split, scores, points)
    progress("score", len(_SPLITS), len(_SPLITS), "")
    return documents, values


def _measure(
    system: System, task: Task, folder: Path, progress: Progress, values: dict[str, Any], clock: Clock
) -> list[dict[str, Any]]:
    """Writes the measures of both splits: of the scores that lie there, or those that were measured with them."""
    measures, rows = system.measures(task), []
    for done, name in enumerate(_SPLITS):
        progress("measure", done, len(_SPLITS), name)
        split = task.split(name)
        if name in values:
            table = table_of(
                split, values[name].cpu().numpy(), system.config.measures, system.preferences, list(measures)
            )
        else:
            scores = read_scores(folder / "scores" / f"{name}.parquet")
            with clock.stage("measure"):
                table = per_query(split, scores, measures, list(measures))
        write_per_query(folder / "per_query" / f"{name}.parquet", table)
        rows += [{"split": name, **row} for row in summarise(table, measures)]
    progress("measure", len(_SPLITS), len(_SPLITS), "")
    return rows
