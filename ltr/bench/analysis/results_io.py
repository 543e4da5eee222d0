"""What results of rankers and of methods share: run folders read one by one, frames and facts written and read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr import paths, schema
from ltr.atomic import read_json, sha256, whole_file
from ltr.bench.suite.plan import Resolver, RunJob
from ltr.bench.suite.reading import check as check_suite
from ltr.bench.suite.suite import Suite
from ltr.errors import InputError, kept_by_ltr
from ltr.rankers.config import trained_in_todays_words
from ltr.runs.record import READ, check

if TYPE_CHECKING:
    import pandas as pd

    from ltr.runs import Record

__all__ = [
    "COST",
    "KEYS",
    "FoundRun",
    "asked_or_committed",
    "damaged",
    "find_runs",
    "note",
    "read_facts",
    "read_frame",
    "rows_of",
    "tidy_folder",
    "write_facts",
    "write_frame",
]

_AGAIN = "The command of the suite writes it again: ltr bench run SUITE --out FOLDER"
KEYS = ("dataset", "system", "fold", "seed")
COST = (
    "fit_seconds",
    "score_seconds",
    "score_documents_per_second",
    "train_documents_per_second",
    "train_step_seconds",
    "parameters",
    "peak_memory_bytes",
)


@dataclass(frozen=True)
class FoundRun:
    """A job and what its folder holds.

    Attributes:
        key: dataset, system, fold, seed.
        row: of the table of runs: the key, status, reason, the cost columns, selected, hashes, command.
        record: of a finished run; None for one without numbers.
    """

    job: RunJob
    key: dict[str, Any]
    row: dict[str, Any]
    record: Record | None


def find_runs(
    out: Path, jobs: Iterable[RunJob], cost: Sequence[str], ended: Mapping[str, tuple[str, str]]
) -> Iterator[FoundRun]:
    """Every job with its row. Arguments as `collect`; `cost` are the columns taken from the record's cost."""
    resolved = Resolver()
    for job in jobs:
        key = {"dataset": job.dataset, "system": job.system, "fold": job.fold, "seed": job.seed}
        found = check(out / job.folder, *READ)
        record = found.record
        if found.status == "damaged":
            yield FoundRun(job, key, {**key, "status": "damaged", "reason": found.reason}, None)
        elif record is None or not record.done and job.folder in ended:
            status, reason = ended.get(job.folder, ("missing", "not run yet"))
            yield FoundRun(job, key, {**key, "status": status, "reason": reason}, None)
        elif record.config_hash != resolved.hash(job):
            reason = "the folder holds a run of another config"
            yield FoundRun(job, key, {**key, "status": "stale", "reason": reason}, None)
        else:
            row = {**key, "status": record.status, "reason": record.reason}
            row |= {name: record.cost.get(name) for name in cost}
            row |= {"selected": record.selection.get("value"), "config_hash": record.config_hash}
            row |= {"store_hash": record.hashes.get("store"), "command": record.command}
            yield FoundRun(job, key, row, record if record.done else None)


def damaged(found: FoundRun, error: Exception) -> FoundRun:
    """A finished run whose files cannot be read after all."""
    reason = error.what if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
    return FoundRun(found.job, found.key, {**found.key, "status": "damaged", "reason": reason}, None)


def tidy_folder(folder: Path | str, files: Sequence[str]) -> Path:
    """The folder that holds the tidy files: this one, or its `report`.

    Raises:
        InputError: no results there, naming the files that are missing.
    """
    folder = Path(folder)
    if not (folder / files[0]).is_file() and (folder / "report" / files[0]).is_file():
        folder = folder / "report"
    missing = [name for name in files if not (folder / name).is_file()]
    if len(missing) == len(files):
        raise InputError(
            "no results of a suite here",
            file=folder,
            expected="the folder of a suite that ran, or of its results",
            do="Run one: ltr bench run SUITE --out FOLDER",
        )
    if missing:
        raise InputError("results of a suite with files missing", file=folder, expected=files, came=f"no {missing[0]}")
    return folder


def asked_or_committed(asked: Sequence[Path | str], patterns: Sequence[str], what: str, suites: str) -> list[Path]:
    """The folders of results that a page is made of: those asked for, or those that were committed.

    Args:
        patterns: names of folders below benchmarks/results, in the order of the page.
        what: the results are of; suites: an example, for the message.

    Raises:
        InputError: none asked for and none there.
    """
    place = paths.suites() / "results"
    found = [Path(f) for f in asked] or [folder for pattern in patterns for folder in sorted(place.glob(pattern))]
    if not found:
        do = f"Run the suites (ltr bench run {suites}, ...) and name their folders"
        raise InputError(f"no results of {what} here", file=place, expected=f"folders {', '.join(patterns)}", do=do)
    return found


def rows_of(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows as named tuples. Which columns a table has and what is in them, its own page says, and no checker."""
    return iter(frame.itertuples())


def write_facts(folder: Path, suite: Suite, chosen: Mapping[str, Any], environment: Mapping[str, Any]) -> None:
    """suite.toml, chosen.toml where something was tuned, environment.json, which holds the hashes of the other two."""
    schema.write_toml(folder / "suite.toml", suite)
    if chosen:
        schema.write_toml(folder / "chosen.toml", chosen)
    else:
        (folder / "chosen.toml").unlink(missing_ok=True)  # of an earlier suite
    facts = dict(environment) | {"sha256": {path.name: sha256(path) for path in _told(folder)}}
    with whole_file(folder / "environment.json") as path:
        path.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")


def _told(folder: Path) -> list[Path]:
    """The files of a suite's facts that are there."""
    return [folder / name for name in ("suite.toml", "chosen.toml") if (folder / name).is_file()]


def read_facts(folder: Path) -> tuple[Suite, dict[str, Any], dict[str, Any]]:
    """What `write_facts` wrote: suite, chosen, environment.

    Raises:
        InputError: a file that is broken, or that is not the one the results were written with.
    """
    environment = read_json(folder / "environment.json", do=_AGAIN)
    hashes = environment.pop("sha256", None)
    if hashes is not None:  # results of 0.1 have none
        for path in _told(folder):
            if not isinstance(hashes, dict) or hashes.get(path.name) != sha256(path):
                raise InputError("the file is not the one these results were written with", file=path, do=_AGAIN)
    with kept_by_ltr():
        told = trained_in_todays_words(schema.read_toml(folder / "suite.toml"))
        suite = check_suite(schema.bind(Suite, told, file=folder / "suite.toml"))
    chosen = schema.read_toml(folder / "chosen.toml") if (folder / "chosen.toml").is_file() else {}
    return suite, chosen, environment


def write_frame(frame: pd.DataFrame, path: Path, **encoding) -> None:
    """A frame as Parquet, whole or not at all; `encoding` as pyarrow takes it."""
    # Names become dictionaries (a system's name is stored once, not a row), numbers keep their type.
    names = {c: "category" for c in frame.columns if frame[c].dtype == object or str(frame[c].dtype).startswith("str")}
    with whole_file(path) as beside:
        frame.astype(names).to_parquet(beside, index=False, compression="zstd", write_page_checksum=True, **encoding)


def read_frame(path: Path) -> pd.DataFrame:
    """What `write_frame` wrote, names as text.

    Raises:
        InputError: a damaged file; the checksums of its pages are looked at.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        frame = pd.read_parquet(path, engine="pyarrow", page_checksum_verification=True)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("damaged, it cannot be read", file=path, came=type(error).__name__, do=_AGAIN) from None
    return frame.astype({c: "str" for c in frame.columns if str(frame[c].dtype) == "category"})


def note(runs: pd.DataFrame) -> str:
    """What did not work in these runs: status, how often, the first reason. Else whether they were trained together."""
    parts = []
    for status, group in runs[~runs.status.isin(["done", "truth"])].groupby("status", sort=False):
        reason = next((r for r in group.reason if isinstance(r, str) and r), "")
        parts.append(f"{len(group)} {status}" + (f": {reason}" if reason else ""))
    together = runs["stacked"].max() if "stacked" in runs else math.nan
    if not parts and together > 1:
        return f"up to {together:.0f} trained together; times are shares"
    return "; ".join(parts)
