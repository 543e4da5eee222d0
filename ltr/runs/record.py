"""One run: a folder that is finished when DONE is there.

    config.toml               the resolved config: alone, it repeats the run
    checkpoints/              while training; gone when the run is done
    ranker/                   the trained ranker, and training.json, what its training left to tell
    scores/{vali,test}.parquet        query, doc, row, score, preference
    per_query/{vali,test}.parquet     one column a measure, from scores and the labels of the STORE
    record.json               config, hashes, seeds, environment, cost, selection, means
    DONE                      sha256 of record.json

A finished run is a no-op, an interrupted one continues where it stood, a failed or skipped one is a record with its
reason and is tried again on the next call. Every file is whole or absent.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, MissingExtra
from ..strict import read_toml, to_dict, write_toml
from .config import RunConfig, command, config_hash, differences, resolve, seeds
from .files import fingerprints, lock, sha256, whole_file, whole_folder

if TYPE_CHECKING:
    from ..types import Split, Task

__all__ = ["Progress", "Record", "execute", "read_record", "verify"]

# progress(stage, done, total, note): stage is "data", "fit", "score" or "measure"; done of total steps of that stage.
Progress = Callable[[str, int, int, str], None]
_SPLITS = ("vali", "test")
# Not artefacts: what is gone when the run is done, what comes after, and what a user exported into the folder.
_LOOSE = ("checkpoints", "record.json", "DONE", "export")


@dataclass(frozen=True)
class Record:
    """What a run left behind; `record.json` as a value.

    Attributes:
        folder: the run's folder (not stored: folders move).
        status: "done", "failed", "skipped", "interrupted" (Ctrl-C; continues) or "running" (alive, or killed: continues).
        reason: why it failed, was skipped or stopped; "" when done.
        error: type and last lines of the traceback of a failed run; `user` is True where the input was to blame.
        config: the resolved config, as tables.
        config_hash: its hash (`ltr.runs.config_hash`).
        hashes: of the card, the store (or the data itself), the code (sources of ltr, and the git commit if known).
        seeds: axis -> seed.
        environment: python, library versions, device, cpu count, threads.
        cost: `fit_seconds`, `score_seconds`, `train_documents_per_second`, `score_documents_per_second`,
            `peak_memory_bytes` (of the process; `peak_gpu_memory_bytes` beside it on a GPU), `parameters`, `attempts`.
        selection: `measure`, `value`, `epoch` or `iteration`, `split` (always "vali").
        measures: rows of `split`, `objective`, `preference`, `measure`, `mean`, `queries` (counted in the mean),
            `blank` (left out of it); `mean` is None where no query counts.
        artefacts: relative path -> sha256 of every file the run left.
        command: the shell command that repeats the run.
    """

    folder: Path
    status: str
    reason: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    hashes: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)
    measures: list[dict[str, Any]] = field(default_factory=list)
    artefacts: dict[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def done(self) -> bool:
        return self.status == "done"

    def mean(self, measure: str, split: str = "test", objective: str | None = None) -> float:
        """The mean of one measure; of the trained objective by default. NaN where no query counts."""
        name = measure_name(measure)
        objective = objective or self.measures[0]["objective"]
        for row in self.measures:
            if (row["split"], row["objective"], row["measure"]) == (split, objective, name):
                return math.nan if row["mean"] is None else row["mean"]
        known = sorted({r["measure"] for r in self.measures})
        raise InputError(
            f"the run did not report {name} of {objective!r} on {split!r}",
            file=self.folder,
            do=f"Reported: {', '.join(known)}",
        )


def measure_name(text: str) -> str:
    """The full name of a measure."""
    from ..metrics import measure

    return repr(measure(text))


def execute(
    config: RunConfig,
    folder: Path | str,
    *,
    progress: Progress | None = None,
    task: Task | None = None,
    device: str = "auto",
) -> Record:
    """Runs a config into a folder, or continues it there, or returns what is already finished.

    Args:
        config: what to run; it is resolved first, so a bad name or parameter raises before anything is written.
        folder: the run's folder, made if absent.
        progress: called as `progress(stage, done, total, note)`.
        task: the data, where the caller holds it already; else `config.data` is loaded.
        device: "auto", "cpu", "cuda", "mps": a matter of the machine, recorded but not part of the config.

    Returns:
        The record: done, or failed or skipped with the reason (neither raises, so that a suite goes on).

    Raises:
        InputError: a bad config; the folder holds another config; another process works in it.
        KeyboardInterrupt: passed on, with the folder left so that the next call continues.
    """
    config, folder = resolve(config), Path(folder)
    found = _same_config(config, folder)
    if found is not None and found.done:
        return found
    with lock(folder):
        # Only the holder of the lock may believe what it reads: another process may just have finished.
        found = _same_config(config, folder)
        if found is not None and found.done:
            return found
        return _attempt(config, folder, found, progress or (lambda *_: None), task, device)


def _same_config(config: RunConfig, folder: Path) -> Record | None:
    """The record in the folder; refuses a folder that belongs to another config."""
    path = folder / "config.toml"
    if path.is_file():
        there = read_toml(path)
        changed = differences(config, there)
        if changed:
            raise InputError(
                f"the folder holds a run of another config ({len(changed)} keys differ; {'; '.join(changed[:3])})",
                file=folder, do="Choose another folder, or delete this one",
            )  # fmt: skip
    elif folder.is_dir() and any(not p.name.startswith(".") for p in folder.iterdir()):
        raise InputError("the folder holds files and is no run", file=folder, do="Choose an empty or a new folder")
    return read_record(folder)


def _attempt(config: RunConfig, folder: Path, found: Record | None, progress: Progress, task, device: str) -> Record:
    from .environment import code, environment

    write_toml(folder / "config.toml", config)
    record = Record(
        folder, "running", config=to_dict(config), config_hash=config_hash(config), seeds=seeds(config),
        command=command(config), environment=environment(device), hashes={"code": code()},
        cost={"attempts": 1 + (found.cost.get("attempts", 0) if found else 0)},
    )  # fmt: skip
    _write(record)
    try:
        record = _steps(record, config, progress, task, device)
    except KeyboardInterrupt:
        _write(replace(record, status="interrupted", reason="stopped by the user; the same call continues it"))
        raise
    except MissingExtra as error:
        record = replace(record, status="skipped", reason=str(error))
    except Exception as error:
        last = traceback.format_exc().strip().splitlines()[-30:]
        record = replace(
            record, status="failed", reason=f"{error}" or type(error).__name__,
            error={"type": type(error).__name__, "user": isinstance(error, InputError), "traceback": last},
        )  # fmt: skip
    _write(record)
    if record.done:
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        with whole_file(folder / "DONE") as path:
            path.write_text(sha256(folder / "record.json") + "\n")
    return record


def _steps(record: Record, config: RunConfig, progress: Progress, task: Task | None, device: str) -> Record:
    from ..rankers import load_ranker
    from ..rankers.neural import pick_device
    from .environment import peak_memory, reset_peak_memory
    from .inputs import input_facts

    folder = record.folder
    if task is None:
        from ..datasets import load

        progress("data", 0, 1, config.data.name)
        task = load(config.data.name, fold=config.data.fold, objectives=_objectives(config) or None)
        progress("data", 1, 1, task.fold)
    record = replace(record, hashes={**record.hashes, **data_hashes(task)})
    reset_peak_memory()

    trained = folder / "ranker"
    if not trained.is_dir():
        from ..methods.single import train

        ranker, log = train(
            task.train, task.vali, ranker=config.ranker.name, ranker_params=config.ranker.params,
            loss=config.loss and config.loss.name, loss_params=config.loss and config.loss.params, training=config.training,
            objective=(_objectives(config) or (None,))[0], select=config.select, seed=record.seeds["run"],
            folder=folder / "checkpoints", accelerator=device, progress=lambda *event: progress("fit", *event),
        )  # fmt: skip
        with whole_folder(trained) as beside:
            ranker.save(beside)
            log = {**log, "inputs": input_facts(task)}
            (beside / "training.json").write_text(json.dumps(_finite(log), indent=1, allow_nan=False) + "\n")
    # Scores come from what was saved: what a user loads later is what was measured.
    ranker = load_ranker(trained)
    if hasattr(ranker, "to"):  # only nets have a device, and loading puts them where it is fastest
        ranker.to(pick_device(device))
    log = json.loads((trained / "training.json").read_text())

    seconds, documents = _score(ranker, task, folder, progress)
    measures = _measure(config, task, folder, progress)
    cost = {
        **record.cost,
        "fit_seconds": log["seconds"], "score_seconds": seconds,
        "train_documents_per_second": log.get("documents_per_second"),
        "score_documents_per_second": documents / max(seconds, 1e-9),
        "parameters": int(ranker.n_parameters), **peak_memory(),
    }  # fmt: skip
    selection = {"measure": config.select, "split": "vali", **log["selection"]}
    artefacts = fingerprints(folder, skip=_LOOSE)
    return replace(record, status="done", cost=cost, selection=selection, measures=measures, artefacts=artefacts)


def _objectives(config: RunConfig) -> tuple[str, ...]:
    """The label columns the config names, the trained one first; none for the dataset's main one."""
    return tuple(dict.fromkeys(filter(None, (config.data.objective, *config.data.objectives))))


def _score(ranker, task: Task, folder: Path, progress: Progress) -> tuple[float, int]:
    from .scores import write_scores

    seconds, documents = 0.0, 0
    for done, name in enumerate(_SPLITS):
        split = task.split(name)
        progress("score", done, len(_SPLITS), name)
        started = time.perf_counter()
        scores = ranker.score(split)
        seconds += time.perf_counter() - started
        documents += split.n_documents
        write_scores(folder / "scores" / f"{name}.parquet", split, scores)
    progress("score", len(_SPLITS), len(_SPLITS), "")
    return seconds, documents


def _measure(config: RunConfig, task: Task, folder: Path, progress: Progress) -> list[dict]:
    from .evaluate import per_query, summarise, write_per_query
    from .scores import read_scores

    objectives = _objectives(config) or task.objectives[:1]
    rows = []
    for done, name in enumerate(_SPLITS):
        progress("measure", done, len(_SPLITS), name)
        table = per_query(
            task.split(name), read_scores(folder / "scores" / f"{name}.parquet"), config.measures, objectives
        )
        write_per_query(folder / "per_query" / f"{name}.parquet", table)
        rows += [{"split": name, **row} for row in summarise(table)]
    progress("measure", len(_SPLITS), len(_SPLITS), "")
    return rows


def data_hashes(task: Task) -> dict[str, Any]:
    """`card`: sha256 of the card's file, None without one. `store`: of what the store's manifest says about content (files,
    folds, columns), which is the same wherever and whenever it was converted; of the arrays for a task without a store."""
    manifest = task.facts.get("manifest")
    if manifest is None:
        return {"card": None, "store": _hash_of([task.train, task.vali, task.test])}
    parts = {key: {"raw": part["sha256"], "files": part["files"]} for key, part in manifest["parts"].items()}
    facts = [manifest["objectives"], manifest["features"], manifest["folds"], parts]
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return {"card": (manifest.get("card") or {}).get("sha256"), "store": hashlib.sha256(text.encode()).hexdigest()}


def _hash_of(splits: list[Split]) -> str:
    import numpy as np

    digest = hashlib.sha256()
    for split in splits:
        for array in (split.features, split.labels, split.offsets):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        digest.update("\x1f".join(split.query_ids.astype(str)).encode())
    return digest.hexdigest()


def _write(record: Record) -> None:
    plain = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "folder"}
    with whole_file(record.folder / "record.json") as path:
        path.write_text(json.dumps({"format": 1, **_finite(plain)}, indent=1, allow_nan=False) + "\n")


def _finite(value):
    """JSON has no NaN: what is not a number is null."""
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(folder: Path | str) -> Record | None:
    """The record of a run folder, or None where no run has started.

    A record that says "done" without DONE was cut off between the two writes: it reads as "running" and is continued.
    """
    folder = Path(folder)
    path = folder / "record.json"
    if not path.is_file():
        return None
    try:
        plain = json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"broken record: {error}", file=path, expected="JSON") from None
    if plain.pop("format", None) != 1:
        raise InputError(
            "a record of another format",
            file=path,
            expected="format 1",
            do="Read it with the version of ltr that wrote it",
        )
    record = Record(folder=folder, **{f.name: plain[f.name] for f in fields(Record) if f.name in plain})
    return replace(record, status="running") if record.done and not (folder / "DONE").is_file() else record


def verify(folder: Path | str) -> list[str]:
    """What of a finished run is not as its record says: one sentence a file, nothing when all is well."""
    folder = Path(folder)
    record = read_record(folder)
    if record is None or not record.done:
        raise InputError("no finished run", file=folder, expected="a folder with DONE")
    wrong = []
    if (folder / "DONE").read_text().strip() != sha256(folder / "record.json"):
        wrong.append("record.json was changed after the run")
    there = fingerprints(folder, skip=_LOOSE)
    for name in sorted({*there, *record.artefacts}):
        if name not in there:
            wrong.append(f"{name} is missing")
        elif name not in record.artefacts:
            wrong.append(f"{name} does not belong to the run")
        elif there[name] != record.artefacts[name]:
            wrong.append(f"{name} was changed after the run")
    return wrong
