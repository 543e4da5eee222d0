"""Systems from outside a suite as rows of its results, measured here from their scores.

    FOLDER/outside/<dataset>/<system>/<fold>/seed<k>/scores.parquet     as of any run
                                                    row.toml            label, cost, where it came from

The scores are kept beside the results, so that a suite that runs again measures them again. No number is taken over
from whoever made them but what they cost.
"""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ltr import schema
from ltr.atomic import sha256, whole_folder
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.suite.suite import slug
from ltr.errors import InputError, check_name, say_once
from ltr.runs.config import DataConfig, RankerChoice, RunConfig
from ltr.runs.environment import data_hashes

from .measured_rows import Found, numbers_of, with_row
from .oracle import BEST_POSSIBLE
from .results import Results, load_any
from .results_io import COST, KEYS, place_of

__all__ = [
    "Outside",
    "add",
    "copy_scores",
    "measured",
    "one_of",
    "outside_systems",
    "remove",
    "with_outside",
]

_FOLDER = "outside"
_AGAIN = "Remove it and add it again: ltr bench remove, ltr bench add"


@dataclass(frozen=True)
class Outside:
    """Scores of one system on the test queries of one fold.

    Attributes:
        label: the system's name in tables.
        dataset, fold, seed: on what, and which of its trainings.
        cost: columns of the table of runs, as its makers say.
        file: what it was read from, without its folder; sha256: of that file.
        scores: sha256 of the scores that are kept.
    """

    label: str
    dataset: str
    fold: str
    seed: int = 0
    cost: dict[str, float] = field(default_factory=dict)
    file: str = ""
    sha256: str = ""
    scores: str = ""

    def __post_init__(self) -> None:
        if not self.label.strip() or not self.label.isprintable():
            raise InputError("label of a system", expected="a name that can be read", came=self.label)
        if self.seed < 0:
            raise InputError("the seed of a training", expected="0 or more", came=self.seed)
        for name, value in self.cost.items():
            check_name("cost of a run", name, COST)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"cost {name}", expected="0 or more", came=value)

    @property
    def place(self) -> str:
        """Folder below that of the results."""
        return f"{_FOLDER}/{dataset_slug(self.dataset)}/{slug(self.label)}/{slug(self.fold)}/seed{self.seed}"

    @property
    def key(self) -> dict[str, Any]:
        return {"dataset": self.dataset, "system": self.label, "fold": self.fold, "seed": self.seed}

    @property
    def command(self) -> str:
        """What adds it again."""
        words = ["--label", self.label, "--dataset", self.dataset, "--fold", self.fold, "--seed", str(self.seed)]
        words += ["--cost", *(f"{k}={v:g}" for k, v in self.cost.items())] if self.cost else []
        return shlex.join(["ltr", "bench", "add", "FOLDER", self.file, *words])


def outside_systems(results: Results) -> list[str]:
    """Labels of rows that are no systems of the suite."""
    named = {BEST_POSSIBLE, *(v.label for v in results.suite.variants())}
    return [label for label in dict.fromkeys(results.runs.system) if label not in named]


def add(
    folder: Path | str,
    file: Path | str,
    label: str,
    *,
    dataset: str | None = None,
    fold: str | None = None,
    seed: int = 0,
    cost: Mapping[str, float] | None = None,
    data: Mapping[str, str] | None = None,
) -> Results:
    """Measures a file of scores on the suite's test queries, keeps it, and writes the tidy files with its row.

    Args:
        folder: a suite's folder, or a folder of its tidy results.
        file: as `ltr.runs.rankings.read_ranking` takes it: every test document of the fold scored, and no other.
        label: the row's name; several folds and seeds of a label are one system.
        dataset, fold: what was ranked; the suite's where there is one.
        seed: which training of the system.
        cost: column of the table of runs -> number.
        data: dataset -> where it is read from.

    Returns:
        The results with the row.

    Raises:
        InputError: results of methods; a name that is taken or unknown; a document unknown or missing; other data than
            the suite's.
    """
    results = _results(folder)
    suite = results.suite
    added = [each for each in outside_systems(results) if each != label]  # other folds and seeds are welcome
    taken = [BEST_POSSIBLE, *(v.label for v in suite.variants()), *added]
    if not label.strip() or any(slug(each) == slug(label) for each in taken):
        raise InputError(
            "the label is taken, but for case and signs, or empty", came=label, expected="a name of its own"
        )
    dataset = one_of("dataset", dataset, list(suite.datasets))
    fold = one_of("fold", fold, list(dict.fromkeys(results.runs.fold[results.runs.dataset == dataset])))
    for name in data or {}:
        one_of("dataset", name, list(suite.datasets))
    file = Path(file)
    row = Outside(label, dataset, fold, seed, dict(cost or {}), file.name)
    same = (results.runs[list(KEYS)] == list(row.key.values())).all(axis=1)
    there = results.runs[same & (results.runs.status == "done")]
    if len(there):
        raise InputError(
            f"{label!r} has a row for {dataset} {fold} with seed {seed} already",
            do="Take it out first: ltr bench remove",
        )
    found = measured(results, row, file, data or {})
    place = _root(folder) / row.place
    with whole_folder(place) as beside:
        _keep(beside, row, file, found)
    results = with_row(results, found)
    results.save(place_of(folder))
    return results


def remove(folder: Path | str, label: str, dataset: str | None = None) -> Results:
    """Takes a system from outside out of the results and its scores out of the folder; returns what is left.

    Args:
        dataset: only there; everywhere by default.

    Raises:
        InputError: no such system, or one of the suite's own.
    """
    results = _results(folder)
    if label in {v.label for v in results.suite.variants()}:
        raise InputError(
            f"{label!r} is a system of the suite", do="Take it out of the suite's file, and run the suite again"
        )
    check_name("system from outside", label, outside_systems(results))
    if dataset is not None:
        one_of("dataset", dataset, list(dict.fromkeys(results.runs.dataset[results.runs.system == label])))
    frames = {}
    for name in ("values", "runs", "per_query"):
        frame = getattr(results, name)
        gone = (frame.system == label) & (True if dataset is None else frame.dataset == dataset)
        frames[name] = frame[~gone].reset_index(drop=True)
    results = replace(results, **frames)
    results.save(place_of(folder))
    for each in (dataset,) if dataset else results.suite.datasets:
        shutil.rmtree(_root(folder) / _FOLDER / dataset_slug(each) / slug(label), ignore_errors=True)
    return results


def with_outside(results: Results, folder: Path | str, data: Mapping[str, str] | None = None) -> Results:
    """The results with every system from outside that is kept in `folder`, measured again.

    Args:
        data: dataset -> where it is read from.

    What cannot be measured any more is a row with the reason.
    """
    for path in sorted(Path(folder).glob(f"{_FOLDER}/*/*/*/seed*/row.toml")):
        row = schema.bind(Outside, schema.read_toml(path), file=path)
        known = results.runs[(results.runs.dataset == row.dataset) & (results.runs.fold == row.fold)]
        if not len(known):
            say_once(f"{path.parent}: the suite has no {row.dataset} {row.fold} any more; its scores stay aside")
            continue
        try:
            scores = path.parent / "scores.parquet"
            if not scores.is_file() or sha256(scores) != row.scores:
                raise InputError("the scores are not those that were added", file=scores, do=_AGAIN)
            found = measured(results, row, scores, data or {})
        except InputError as error:
            found = Found({**row.key, "status": "damaged", "reason": error.what})
        results = with_row(results, found)
    return results


def copy_scores(folder: Path | str, to: Path) -> None:
    """The scores of systems from outside that are kept in `folder`, beside those in `to`."""
    if (there := _root(folder) / _FOLDER).is_dir():
        shutil.copytree(there, to / _FOLDER, dirs_exist_ok=True)


# --------------------------------------------------------------------------------------------------------- inside


def _results(folder: Path | str) -> Results:
    results = load_any(folder)
    if not isinstance(results, Results):
        raise InputError("only suites of rankers take systems from outside; this one is of methods", file=folder)
    return results


def _root(folder: Path | str) -> Path:
    """The suite's folder, or that of the tidy results where these are all there is."""
    folder = Path(folder)
    return folder.parent if folder.name == "report" and (folder.parent / "runs").is_dir() else folder


def one_of(what: str, asked: str | None, known: list[str]) -> str:
    if asked is None and len(known) == 1:
        return known[0]
    if asked is None:
        raise InputError(f"which {what} do the scores rank?", expected=f"--{what} {' or '.join(known)}")
    check_name(f"{what} of the results", asked, known)
    return asked


def measured(results: Results, row: Outside, file: Path, data: Mapping[str, str]) -> Found:
    """The row's numbers from its scores and the labels of the suite's data."""
    from ltr.runs.rankings import read_ranking
    from ltr.runs.systems import load_task

    suite = results.suite
    config = RunConfig(DataConfig(row.dataset, row.fold, objective=suite.objective or None), RankerChoice("random"))
    task = load_task(config, data.get(row.dataset))
    store, ours = data_hashes(task)["store"], results.runs
    known = set(ours.store_hash[(ours.dataset == row.dataset) & (ours.fold == row.fold)].dropna())
    if known and store not in known:
        raise InputError(
            f"the data of {row.dataset} {row.fold} here is not what these results were made on",
            expected=f"{min(known)[:12]}...",
            came=f"{store[:12]}...",
            do="Convert it again, or say where it lies: --data NAME=PATH",
        )
    try:
        scores = read_ranking(file, task.test)
    except InputError as error:
        do = "A row needs one score for every test document of the fold, and for no other"
        raise error.but(file=file, do=do) from None
    found = numbers_of(results, task, scores, row.key)
    run = {**found.run, "status": "done", "reason": "", "store_hash": store, "command": row.command, **row.cost}
    return replace(found, run=run)


def _keep(folder: Path, row: Outside, file: Path, found: Found) -> None:
    import pyarrow.parquet as pq

    pq.write_table(found.scores, folder / "scores.parquet", compression="zstd", write_page_checksum=True)
    row = replace(row, sha256=sha256(file), scores=sha256(folder / "scores.parquet"))
    schema.write_toml(folder / "row.toml", row)
