"""What results of rankers and of methods share: run folders read one by one, frames and facts written and read."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from ltr import paths, schema
from ltr.atomic import read_json, sha256, whole_file, write_text
from ltr.bench.suite.plan import Resolver, RunJob
from ltr.bench.suite.reading import check as check_suite
from ltr.bench.suite.suite import Suite
from ltr.errors import InputError, kept_by_ltr
from ltr.rankers.config import trained_in_todays_words
from ltr.runs.record import READ, check

if TYPE_CHECKING:
    import pandas as pd

    from ltr.runs import Record

__all__ = ["COST", "KEYS", "FoundRun", "Tidy", "asked_or_committed", "find_runs", "note", "place_of", "read_frame"]
__all__ += ["rows_of", "write_frame"]

T = TypeVar("T")

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


class Tidy:
    """What results of rankers and of methods share: frames, a Parquet file each, and the facts of the suite beside.

    Attributes:
        FILES: frame -> its file.
    """

    FILES: ClassVar[Mapping[str, str]]
    suite: Suite
    runs: pd.DataFrame
    chosen: dict[str, Any]
    environment: dict[str, Any]

    @property
    def failures(self) -> pd.DataFrame:
        """Runs without numbers, with the reason."""
        return self.runs[self.runs.status != "done"]

    def save(self, folder: Path | str) -> Path:
        """Writes the tidy files into `folder`, each whole or not at all."""
        folder = Path(folder)
        for name, file in self.FILES.items():
            write_frame(getattr(self, name), folder / file, **self.encoding(name))
        _write_facts(folder, self.suite, self.chosen, self.environment, [*self.FILES.values()])
        return folder

    def encoding(self, name: str) -> dict[str, Any]:
        """How pyarrow is to encode a frame."""
        return {}

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """The results in a folder, or in its `report` folder.

        Raises:
            InputError: no results there, naming the files that are missing.
        """
        place, files = place_of(folder), [*cls.FILES.values(), "suite.toml", "environment.json"]
        missing = [name for name in files if not (place / name).is_file()]
        if len(missing) == len(files):
            raise InputError(
                "no results of a suite here",
                file=folder,
                expected="the folder of a suite that ran, or of its results",
                do="Run one: ltr bench run SUITE --out FOLDER",
            )
        if missing:
            what = "results of a suite with files missing"
            raise InputError(what, file=place, expected=files, came=f"no {missing[0]}")
        facts = _read_facts(place)
        return cls(**facts, **{name: read_frame(place / file) for name, file in cls.FILES.items()})


def place_of(folder: Path | str) -> Path:
    """Where the tidy files lie: in `folder`, or in its `report`."""
    folder = Path(folder)
    here = any((folder / name).is_file() for name in ("results.parquet", "fronts.parquet"))
    return folder if here or not (folder / "report").is_dir() else folder / "report"


@dataclass(frozen=True)
class FoundRun:
    """A finished run.

    Attributes:
        key: dataset, system, fold, seed.
        row: of the table of runs: the key, status, reason, the cost columns, selected, hashes, command.
    """

    job: RunJob
    folder: Path
    key: dict[str, Any]
    row: dict[str, Any]
    record: Record


def find_runs(
    out: Path,
    jobs: Iterable[RunJob],
    cost: Sequence[str],
    ended: Mapping[str, tuple[str, str]],
    read: Callable[[FoundRun], T],
) -> Iterator[tuple[dict[str, Any], T | None]]:
    """Every job's row of the table of runs, and what was read of it: None where there are no numbers.

    Args:
        out, jobs, ended: as `collect` takes them.
        cost: columns taken from the record's cost.
        read: reads a finished run, and may add to its row; what cannot be read after all makes the run a damaged one.
    """
    resolved = Resolver()
    for job in jobs:
        key = {"dataset": job.dataset, "system": job.system, "fold": job.fold, "seed": job.seed}
        found = check(out / job.folder, *READ)
        record, parts = found.record, None
        if found.status == "damaged":
            row = {**key, "status": "damaged", "reason": found.reason}
        elif record is None or not record.done and job.folder in ended:
            status, reason = ended.get(job.folder, ("missing", "not run yet"))
            row = {**key, "status": status, "reason": reason}
        elif record.config_hash != resolved.hash(job):
            row = {**key, "status": "stale", "reason": "the folder holds a run of another config"}
        else:
            row = {**key, "status": record.status, "reason": record.reason}
            row |= {name: record.cost.get(name) for name in cost}
            row |= {"selected": record.selection.get("value"), "config_hash": record.config_hash}
            row |= {"store_hash": record.hashes.get("store"), "command": record.command}
            try:
                parts = read(FoundRun(job, out / job.folder, key, row, record)) if record.done else None
            except Exception as error:  # a file without a hash that is no Parquet file, or not of these columns
                reason = error.what if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                row = {**key, "status": "damaged", "reason": reason}
        yield row, parts


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


def _write_facts(
    folder: Path, suite: Suite, chosen: Mapping[str, Any], environment: Mapping[str, Any], frames: Sequence[str]
) -> None:
    """suite.toml, chosen.toml where something was tuned, environment.json, which holds the hashes of all the others."""
    schema.write_toml(folder / "suite.toml", suite)
    if chosen:
        schema.write_toml(folder / "chosen.toml", chosen)
    else:
        (folder / "chosen.toml").unlink(missing_ok=True)  # of an earlier suite
    written = [*_told(folder), *(folder / name for name in frames)]
    facts = dict(environment) | {"sha256": {path.name: sha256(path) for path in written}}
    write_text(folder / "environment.json", json.dumps(facts, indent=1, sort_keys=True) + "\n")


def _told(folder: Path) -> list[Path]:
    """The files of a suite's facts that are there."""
    return [folder / name for name in ("suite.toml", "chosen.toml") if (folder / name).is_file()]


def _read_facts(folder: Path) -> dict[str, Any]:
    """What `_write_facts` wrote: suite, chosen, environment.

    Raises:
        InputError: a file that is broken, or that is not the one the results were written with.
    """
    environment = read_json(folder / "environment.json", do=_AGAIN)
    hashes = environment.pop("sha256", None)
    if hashes is not None:  # results of 0.1 have none
        hashes = hashes if isinstance(hashes, dict) else {}
        frames = [folder / name for name in hashes if name.endswith(".parquet")]  # those of 0.2 alone have them
        for path in (*_told(folder), *frames):
            if not path.is_file() or hashes.get(path.name) != sha256(path):
                raise InputError("the file is not the one these results were written with", file=path, do=_AGAIN)
    with kept_by_ltr():
        told = trained_in_todays_words(schema.read_toml(folder / "suite.toml"))
        suite = check_suite(schema.bind(Suite, told, file=folder / "suite.toml"))
    chosen = schema.read_toml(folder / "chosen.toml") if (folder / "chosen.toml").is_file() else {}
    return {"suite": suite, "chosen": chosen, "environment": environment}


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
