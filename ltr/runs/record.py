"""A run is a folder that is finished when DONE is there.

    config.toml               the resolved config: alone, it repeats the run
    checkpoints/              while training; gone when the run is done
    ranker/ or method/        what was trained, and training.json, what its training left to tell;
                              beside a method labelling.json, how its labels were made
    scores/{vali,test}.parquet        query, doc, row, score, preference
    per_query/{vali,test}.parquet     one column a measure, from scores and the labels of the STORE
    record.json               config, hashes, seeds, environment, cost, selection, means
    DONE                      sha256 of record.json

`execute` makes it; this module reads and writes its record, and says whether the files are those the run left.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.atomic import fingerprints, read_json, sha256, write_text
from ltr.errors import InputError, say_once
from ltr.metrics import measure as parse

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LOOSE", "READ", "Check", "Record", "check", "finite", "open_run", "read_record", "verify", "write_record"]

# Not artefacts: what is gone when the run is done, what comes after, and what a user exported into the folder.
LOOSE = ("checkpoints", "record.json", "DONE", "export")
READ = ("per_query/test.parquet", "ranker/training.json")  # what results are read from, beside the record
STATUSES = ("done", "failed", "skipped", "interrupted", "running")


@dataclass(frozen=True)
class Record:
    """What a run left behind; `record.json` as a value.

    Attributes:
        folder: the run's folder (not stored: folders move).
        status: "done", "failed", "skipped", "interrupted" (Ctrl-C) or "running" (alive, or killed).
        reason: why it failed, was skipped or stopped; "" when done.
        error: type and last lines of the traceback of a failed run; `user` is True where the input was to blame. Of a
            skipped one the `library` it needs.
        config: the resolved config, as tables.
        config_hash: its hash (`ltr.runs.config_hash`).
        data: `name` and `fold` of the task that was opened, and split -> its queries and documents.
        hashes: of the card, the store (or the data itself), the code (sources of ltr, and the git commit if known).
        seeds: axis -> seed.
        environment: python, library versions, device, cpu count, threads.
        cost: `fit_seconds`, `score_seconds`, `measure_seconds`, `train_documents_per_second`, `train_step_seconds` (of
            a net's training step, its batch included, median over epochs; processor time of all threads on a CPU, wall
            time on an accelerator), `score_documents_per_second`, `peak_memory_bytes` (of the process;
            `peak_gpu_memory_bytes` beside it on a GPU), `parameters`, `attempts`; `stacked` where it was one of so many
            that were trained together: seconds and speeds of training are then its share, the memory that of all. Of a
            ranker also `operations` of its training (see `ltr.rankers.operations`), its `cpu_seconds`, and
            `latency_seconds` of one list of 100 documents. Of a method also `models_trained`, `seconds_a_point`
            (fit_seconds over the preferences it is scored for) and `stages`: seconds of score, measure and front alone
            (no files; `measure_seconds` holds reading and writing them) and where they ran, `on` "host" or "cuda".
        selection: `measure`, `value`, `epoch` or `iteration`, `split` (always "vali").
        measures: rows of `split`, `objective`, `preference`, `measure`, `mean`, `queries` (counted in the mean),
            `blank` (left out of it); `mean` is None where no query counts. Preferences in the order of the lattice.
        reference: of a method's run with a main label: how its reference ranker does on it: `objective`, `measure`, and
            the means `vali` and `test`; {} otherwise.
        notes: what a reader should know before believing the numbers, e.g. lists without a relevant document.
        artefacts: relative path -> sha256 of every file the run left.
        command: the shell command that repeats the run.
    """

    folder: Path
    status: str
    reason: str = ""
    error: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    config_hash: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    hashes: dict[str, Any] = field(default_factory=dict)
    seeds: dict[str, int] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=dict)
    cost: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)
    measures: list[dict[str, Any]] = field(default_factory=list)
    reference: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    artefacts: dict[str, str] = field(default_factory=dict)
    command: str = ""

    @property
    def done(self) -> bool:
        return self.status == "done"

    @property
    def lacks_library(self) -> bool:
        """Whether the run was skipped for an optional library that is still not installed."""
        library = self.error.get("library") if self.status == "skipped" else None
        return library is not None and importlib.util.find_spec(str(library).partition(".")[0]) is None

    def mean(self, measure: str, split: str = "test", objective: str | None = None) -> float:
        """The mean of one measure; of the trained objective by default. NaN where no query counts."""
        name = repr(parse(measure))
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

    def points(self, split: str = "test") -> np.ndarray:
        """The front of a method's run: means, float64 `[preference, objective]`, rows in the order of the lattice.

        NaN where no query counts; a main label that is kept apart is no part of it.
        """
        main = self.config.get("data", {}).get("main")
        rows = [r for r in self.measures if r["split"] == split and r["objective"] != main]
        names = list(dict.fromkeys(r["objective"] for r in rows))
        means = [math.nan if r["mean"] is None else r["mean"] for r in rows]
        if "method" not in self.config or not rows:
            raise InputError(f"the run has no front on {split!r}", file=self.folder, expected="a finished method run")
        return np.array(means, np.float64).reshape(-1, len(names))


_KINDS = {
    f.name: {"str": str, "dict": dict, "list": list}[str(f.type).partition("[")[0]]
    for f in fields(Record)
    if f.name != "folder"
}


def write_record(record: Record) -> None:
    """Writes record.json, whole or not at all."""
    plain = {f.name: getattr(record, f.name) for f in fields(record) if f.name != "folder"}
    text = json.dumps({"format": 1, **finite(plain)}, indent=1, allow_nan=False)
    write_text(record.folder / "record.json", text + "\n")


def finite(value):
    """JSON has no NaN: what is not a number is null."""
    if isinstance(value, Mapping):
        return {str(k): finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(v) for v in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_record(folder: Path | str) -> Record | None:
    """The record of a run folder, or None where no run has started.

    A record that says "done" without DONE was cut off between the two writes: it reads as "running" and is continued.
    Nothing is compared here: `check` and `open_run` say whether the files of a run are those it left.

    Raises:
        InputError: record.json is there and is no record.
    """
    return _read_record(Path(folder))[0]


def _read_record(folder: Path) -> tuple[Record | None, str]:
    """The record, and the hash of its file."""
    path = folder / "record.json"
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    plain = read_json(path, do=lambda: _way_out(folder), text=text)
    if plain.pop("format", None) != 1:
        raise InputError(
            "a record of another format",
            file=path,
            expected="format 1",
            do="Read it with the version of ltr that wrote it",
        )
    known = {name: plain[name] for name in _KINDS if name in plain}
    wrong = [name for name, value in known.items() if not isinstance(value, _KINDS[name])]
    if (
        wrong
        or known.get("status") not in STATUSES
        or not all(isinstance(row, dict) for row in known.get("measures", []))
    ):
        at = wrong[0] if wrong else "status" if known.get("status") not in STATUSES else "measures"
        raise InputError(f"broken record: {at}", file=path, came=known.get(at), do=_way_out(folder))
    record = Record(folder=folder, **known)
    if record.done and not (folder / "DONE").is_file():
        record = replace(record, status="running")
    return record, hashlib.sha256(text).hexdigest()


def _way_out(folder: Path) -> str:
    """What to do about a damaged run."""
    if not (folder / "DONE").is_file():
        return "Delete record.json; the command of the run continues it"
    again = f": ltr train --config {folder / 'config.toml'} --out NEW" if (folder / "config.toml").is_file() else ""
    return f"Restore the folder from a copy, or run it anew in another one{again}"


@dataclass(frozen=True)
class Check:
    """What `check` found in a folder.

    Attributes:
        status: "done" (finished, and what was looked at is what the run left), "not checked" (finished by a version
            that kept no hashes), "damaged", "missing" (no run), or an unfinished run's own status.
        reason: which file is wrong and how, or why the run is not finished.
        record: what the folder says of itself, where it can be read; of a damaged run it is not to be believed.
    """

    status: str
    reason: str = ""
    record: Record | None = None

    @property
    def usable(self) -> bool:
        return self.status in ("done", "not checked")


def check(folder: Path | str, *parts: str) -> Check:
    """Whether a finished run still is what it left: its record against DONE, its config, and the parts asked for.

    Costs a hash of each file that is looked at; nothing is opened but the record.

    Args:
        folder: of the run.
        parts: files or folders of it, e.g. "per_query", "scores/test.parquet", "ranker"; those that the record does not
            know are passed over.

    Returns:
        Never raises for what a file holds.
    """
    folder = Path(folder)
    try:
        record, digest = _read_record(folder)
    except InputError as error:
        return Check("damaged", f"record.json: {error.what}")
    if record is None:
        return Check("damaged", "record.json is missing") if (folder / "DONE").is_file() else Check("missing", "no run")
    if not record.done:
        return Check(record.status, record.reason, record)
    wrong = _wrong_files(record, ("config.toml", *parts))
    said = (folder / "DONE").read_bytes().strip()
    if said and said != digest.encode():
        wrong.insert(0, "record.json is not the one DONE was written for")
    if wrong:
        return Check("damaged", "; ".join(wrong), record)
    if not said or not record.artefacts:
        return Check("not checked", "the run kept no hashes of its files", record)
    return Check("done", "", record)


def _wrong_files(record: Record, parts: Sequence[str]) -> list[str]:
    """What of some files and folders of a run differs from what its record says; one sentence a file."""
    wrong = []
    for name, there in sorted(record.artefacts.items()):
        if any(name == part or name.startswith(f"{part}/") for part in parts):
            path = record.folder / name
            if not path.is_file():
                wrong.append(f"{name} is missing")
            elif sha256(path) != there:
                wrong.append(f"{name} was changed after the run")
    return wrong


def open_run(folder: Path | str, *parts: str) -> Record:
    """The record of a finished run whose record, config and asked parts are what it left; arguments as `check`.

    A run that kept no hashes opens, and a note says that it was not checked.

    Raises:
        InputError: no run, one that is not finished, or a damaged one; it says which file and the way out.
    """
    folder = Path(folder)
    found = check(folder, *parts)
    if found.status == "missing":
        raise InputError("no run", file=folder, expected="a run folder, as `ltr train` leaves it")
    if found.status == "damaged":
        raise InputError(f"the run is damaged: {found.reason}", file=folder, do=_way_out(folder))
    record = found.record
    assert record is not None
    if not record.done:
        raise InputError(f"the run is not done: {record.status}", file=folder, do=record.reason)
    if found.status == "not checked":
        say_once(f"{folder}: {found.reason}; they are not checked")
    return record


def verify(folder: Path | str) -> list[str]:
    """What of a finished run is not as its record says: one sentence a file, nothing when all is well."""
    folder = Path(folder)
    found = check(folder)
    if found.record is None or not found.record.done:
        raise InputError("no finished run", file=folder, expected="a folder with DONE", do=found.reason)
    record = found.record
    wrong = ["record.json was changed after the run"] if "record.json is" in found.reason else []
    there = fingerprints(folder, skip=LOOSE)
    for name in sorted({*there, *record.artefacts}):
        if name not in there:
            wrong.append(f"{name} is missing")
        elif name not in record.artefacts:
            wrong.append(f"{name} does not belong to the run")
        elif there[name] != record.artefacts[name]:
            wrong.append(f"{name} was changed after the run")
    return wrong
