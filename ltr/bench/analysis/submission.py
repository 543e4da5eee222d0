"""Submissions to a board: one system's run files and what its makers say of it, everything measured here.

    SUBMISSION/submission.toml      who, what, with which data, on what machine; a table a run file
               *.run, *.parquet     scores, as `ltr.runs.rankings.read_ranking` takes them
               *.toml               configs of ltr that repeat them, where it was ltr
               measured/<dataset>/  tidy results of this system alone: written by `accept`, never by hand

A board (`board.toml`) names the results its reference systems come from, and where submissions lie. Nothing that
somebody else computed is taken over: what a submission says it reaches must be what comes out here.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ltr import __version__, schema
from ltr.atomic import sha256, whole_folder
from ltr.bench.suite.plan import dataset_slug
from ltr.bench.suite.suite import slug
from ltr.errors import InputError, check_name, unknown_name
from ltr.metrics import measure as parse

from .leaderboard import Leaderboard, leaderboard
from .measured_rows import Found, with_row
from .merging import merged
from .oracle import BEST_POSSIBLE
from .outside import Outside, measured
from .results import Results, load_results

__all__ = [
    "Board",
    "Checked",
    "ScoreFile",
    "Submission",
    "Version",
    "accept",
    "check",
    "on_board",
    "read_board",
    "repeat",
]

_BESIDE = ("submission.toml", "README.md", "LICENSE")  # files of a submission that it need not name
_MEASURED = "measured"
_DIGITS = 5e-5  # what a submission says it reaches has four digits
_SAME = 1e-6  # measures are kept as float32


@dataclass(frozen=True)
class ScoreFile:
    """Scores of the test documents of one fold.

    Attributes:
        file: run file or table of scores, in the submission's folder; sha256: of it.
        dataset, fold, seed: what was ranked, by which training.
        config: config of `ltr train` that gives these scores again, in the same folder.
        values: measure -> mean that its makers found; refused where it is not what comes out here.
    """

    file: str
    sha256: str
    dataset: str
    fold: str
    seed: int = 0
    config: str = ""
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Submission:
    """What submission.toml says.

    Attributes:
        label: the system's name in tables.
        authors: who made it.
        code: where its code lies, with the revision.
        trained_on: all data that training, tuning and selection used, e.g. "train and validation of each fold".
        hardware: what it was trained on.
        files: a table a run file; every fold of a dataset with the same seeds.
        description: a sentence or two.
        cost: columns of the table of runs, e.g. fit_seconds, as its makers say.
    """

    label: str
    authors: tuple[str, ...]
    code: str
    trained_on: str
    hardware: str
    files: tuple[ScoreFile, ...]
    description: str = ""
    cost: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        for name in ("label", "authors", "code", "trained_on", "hardware", "files"):
            value = getattr(self, name)
            if not value or isinstance(value, str) and not value.strip():
                raise InputError(f"{name} is empty", expected="what a reader of the board must know")


@dataclass(frozen=True)
class Version:
    """One state of the board: its number, its date, and what is new in it."""

    version: str
    date: str
    what: str


@dataclass(frozen=True)
class Board:
    """What board.toml says. Paths are relative to its folder.

    Attributes:
        title: of the site.
        versions: oldest first; the last is that of today.
        results: folders of tidy results of suites of rankers, whose systems are the reference.
        fronts: folders of tidy results of suites of methods: tables of their own, of hypervolumes.
        submissions, archive: folders of submissions, and of the tables of earlier versions.
        description: a paragraph.
        folder: where it was read.
    """

    title: str
    versions: tuple[Version, ...]
    results: tuple[str, ...]
    fronts: tuple[str, ...] = ()
    submissions: str = "submissions"
    archive: str = "archive"
    description: str = ""
    folder: str = ""

    @property
    def version(self) -> str:
        return self.versions[-1].version

    def reference(self) -> dict[str, Results]:
        """Dataset -> the results that hold it."""
        found: dict[str, Results] = {}
        for place in self.results:
            results = load_results(Path(self.folder) / place)
            for dataset in results.suite.datasets:
                if dataset in found:
                    raise InputError(f"two results of the board hold {dataset}", file=place, expected="one of them")
                found[dataset] = results
        return found

    def folders(self) -> list[Path]:
        """Of submissions, by name."""
        return sorted(path.parent for path in (Path(self.folder) / self.submissions).glob("*/submission.toml"))


@dataclass(frozen=True, eq=False)
class Checked:
    """A submission whose every number was computed here.

    Attributes:
        submission: what it says; folder: where it lies.
        results: dataset -> the board's results with its rows.
    """

    submission: Submission
    folder: Path
    results: dict[str, Results]

    def boards(self) -> list[Leaderboard]:
        return [leaderboard(results, dataset) for dataset, results in self.results.items()]


def read_board(file: Path | str) -> Board:
    """A board.toml.

    Raises:
        InputError: a broken file, or no version, or one twice.
    """
    file = Path(file)
    board = schema.bind(Board, schema.read_toml(file), file=file)
    names = [each.version for each in board.versions]
    if not names or len(set(names)) < len(names) or not all(slug(name) for name in names):
        raise InputError("versions of a board", file=file, expected="one or more, each once", came=names)
    return replace(board, folder=str(file.parent))


def check(folder: Path | str, board: Board, data: Mapping[str, str] | None = None) -> Checked:
    """Measures everything in a submission on the board's data, and refuses what does not hold together.

    Args:
        folder: the submission.
        board: what it is submitted to.
        data: dataset -> where it is read from.

    Raises:
        InputError: files that are not named, or have another hash; a label that is taken; a dataset, fold or measure
            that the board does not have; a document unknown or missing, or of another fold; folds with different seeds;
            a value, or a table in measured/, that is not what comes out here.
    """
    folder = Path(folder)
    submission = _read(folder)
    reference, found = board.reference(), {}
    taken = {slug(name) for results in reference.values() for name in (BEST_POSSIBLE, *results.systems)}
    others = [_read(path) for path in board.folders() if path.resolve() != folder.resolve()]
    if slug(submission.label) in taken | {slug(each.label) for each in others}:
        raise InputError("the label is taken, but for case and signs", came=submission.label, expected="its own name")
    for each in submission.files:
        check_name("dataset of the board", each.dataset, reference)
    for dataset in dict.fromkeys(each.dataset for each in submission.files):
        results = reference[dataset]
        files = [each for each in submission.files if each.dataset == dataset]
        _check_grid(files, results, dataset)
        for each in files:
            row = Outside(submission.label, dataset, each.fold, each.seed, submission.cost, each.file, each.sha256)
            new = measured(results, row, folder / each.file, data or {})
            _check_values(each, new, results, folder)
            results = with_row(results, new)
        found[dataset] = results
    if (folder / _MEASURED).exists():
        for dataset, results in found.items():
            _check_measured(folder, submission, dataset, results)
    return Checked(submission, folder, found)


def accept(checked: Checked, board: Board, repeated: bool = False) -> Path:
    """Keeps what was measured beside the submission, so that the site is built without the data; returns the folder.

    Args:
        repeated: `repeat` found the same: the board says "verified".
    """
    place, submission = checked.folder / _MEASURED, checked.submission
    hashes = {each.file: each.sha256 for each in submission.files}
    facts = {"files": hashes, "board": board.version, "ltr": __version__, "verified": repeated}
    with whole_folder(place) as beside:
        for dataset, results in checked.results.items():
            _alone(results, submission.label, dataset, facts).save(beside / dataset_slug(dataset))
    return place


def on_board(folder: Path, reference: Mapping[str, Results]) -> tuple[Submission, dict[str, Results], str]:
    """A submission as the site shows it: what it says, dataset -> its measured rows, and what is known of it.

    Without the data: from what `accept` kept. "verified", "measured", or why there are no numbers.
    """
    submission = _read(folder)
    found, state = {}, "measured"
    for dataset in dict.fromkeys(each.dataset for each in submission.files):
        place = folder / _MEASURED / dataset_slug(dataset)
        if not place.is_dir():
            return submission, {}, "not measured yet"
        if dataset not in reference:
            return submission, {}, f"the board has no {dataset} any more"
        try:
            results = load_results(place)
        except InputError as error:
            return submission, {}, f"its measures cannot be read: {error.what}"
        if results.environment.get("files") != {each.file: each.sha256 for each in submission.files}:
            return submission, {}, "its files changed since it was measured"
        try:
            merged(reference[dataset], results)
        except InputError as error:
            return submission, {}, f"measured on another state of the board: {error.what}"
        state = "verified" if results.environment.get("verified") else state
        found[dataset] = results
    return submission, found, state


def repeat(checked: Checked, data: Mapping[str, str] | None = None) -> list[str]:
    """Trains every run file again from its config; returns what is not repeated, a line each, nothing if all is."""
    from ltr.runs import execute, load_task, read_config

    failed = []
    for each in checked.submission.files:
        if not each.config:
            failed.append(f"{each.file}: no config of ltr repeats it")
            continue
        config = read_config(checked.folder / each.config)
        said = {"dataset": config.data.name, "fold": config.data.fold, "seed": config.seed}
        if said != (wanted := {name: getattr(each, name) for name in said}):
            failed.append(f"{each.config}: of {said}, and the scores are of {wanted}")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            task = load_task(config, (data or {}).get(each.dataset))
            record = execute(config, Path(scratch) / "run", task=task)
            if not record.done:
                failed.append(f"{each.config}: {record.status}: {record.reason}")
                continue
            row = Outside(checked.submission.label, each.dataset, each.fold, each.seed)
            again = measured(
                checked.results[each.dataset], row, Path(scratch) / "run/scores/test.parquet", data or {}
            ).per_query
        mine = checked.results[each.dataset].per_query
        mine = mine[(mine.system == row.label) & (mine.fold == each.fold) & (mine.seed == each.seed)]
        if not _alike(mine, again):
            failed.append(f"{each.file}: training it again ranks otherwise")
    return failed


# --------------------------------------------------------------------------------------------------------- inside


def _read(folder: Path) -> Submission:
    """What it says, and that its files are those it names."""
    file = folder / "submission.toml"
    submission = schema.bind(Submission, schema.read_toml(file), file=file)
    if submission.label in (BEST_POSSIBLE, ""):
        raise InputError("the label is taken", file=file, came=submission.label)
    named = {each.file: each.sha256 for each in submission.files}
    if len(named) < len(submission.files):
        raise InputError("a file is named twice", file=file, expected="one file a fold and seed")
    wanted = {*named, *(each.config for each in submission.files if each.config)}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if not p.is_dir() or p.is_symlink()}
    there = {name for name in there if not name.startswith(f"{_MEASURED}/")}
    for name in sorted(wanted):
        inside = name in there and not (folder / name).is_symlink()
        if not inside or not (folder / name).resolve().is_relative_to(folder.resolve()):
            raise InputError("no such file in the submission's folder", file=file, came=name)
    if extra := sorted(there - wanted - set(_BESIDE)):
        raise InputError("a file that submission.toml does not name", file=folder / extra[0], do="Name it or remove it")
    for name, said in named.items():
        if (found := sha256(folder / name)) != said.lower():
            raise InputError("the hash differs", file=folder / name, expected=said[:12] or "a sha256", came=found[:12])
    return submission


def _check_grid(files: Sequence[ScoreFile], results: Results, dataset: str) -> None:
    """Every fold of the dataset, each with the same seeds: else means mix trainings of different queries."""
    folds = list(dict.fromkeys(results.runs.fold[results.runs.dataset == dataset]))
    seeds: dict[str, list[int]] = {fold: [] for fold in folds}
    for each in files:
        check_name(f"fold of {dataset}", each.fold, folds)
        if each.seed in seeds[each.fold]:
            raise InputError(f"two files of {dataset} {each.fold}, seed {each.seed}", came=each.file)
        seeds[each.fold].append(each.seed)
    if missing := [fold for fold in folds if not seeds[fold]]:
        raise InputError(f"no scores of {dataset} {', '.join(missing)}", expected="every fold of a dataset")
    if len({tuple(sorted(each)) for each in seeds.values()}) > 1:
        raise InputError(f"folds of {dataset} have different seeds", expected="the same for each", came=seeds)


def _check_values(each: ScoreFile, new: Found, results: Results, folder: Path) -> None:
    ours = {value["measure"]: value["mean"] for value in new.values}
    for name, said in each.values.items():
        measure = repr(parse(name))
        if measure not in ours:
            raise unknown_name("measure of the board", name, results.suite.measures)
        if not abs(ours[measure] - said) <= _DIGITS:
            raise InputError(
                f"{name} of the submission is not what is measured here",
                file=folder / each.file,
                expected=f"{ours[measure]:.4f}",
                came=said,
            )


def _alone(results: Results, label: str, dataset: str, facts: dict[str, Any]) -> Results:
    frames = {}
    for name in ("values", "runs", "per_query", "curves"):
        frame = getattr(results, name)
        kept = frame[(frame.system == label) & (frame.dataset == dataset)]
        frames[name] = kept.sort_values([c for c in ("fold", "seed") if c in kept], kind="stable", ignore_index=True)
    return replace(results, chosen={}, environment=facts, **frames)


def _check_measured(folder: Path, submission: Submission, dataset: str, ours: Results) -> None:
    """What lies in measured/ must be what comes out here."""
    place = folder / _MEASURED / dataset_slug(dataset)
    try:
        theirs, mine = load_results(place), _alone(ours, submission.label, dataset, {})
    except InputError as error:
        raise error.but(do="Remove the folder measured") from None
    values = [r.values.set_index(["system", "fold", "seed", "split", "measure"])["mean"] for r in (theirs, mine)]
    same = values[0].index.equals(values[1].index) and np.allclose(
        values[0], values[1], rtol=0, atol=_SAME, equal_nan=True
    )
    if not same or not _alike(theirs.per_query, mine.per_query):
        raise InputError("measures that were not computed here", file=place, do="Remove the folder measured")


def _alike(a: Any, b: Any) -> bool:
    """Whether two tables of values a query say the same."""
    key = ["fold", "seed", "query"]
    a, b = (each.drop(columns=["dataset", "system"]).set_index(key).sort_index() for each in (a, b))
    return a.index.equals(b.index) and np.allclose(a, b[a.columns], rtol=0, atol=_SAME, equal_nan=True)
