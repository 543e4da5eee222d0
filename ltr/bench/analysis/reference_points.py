"""Ideal and nadir of a task: facts, versioned, in benchmarks/reference_points.toml; never made from what is compared.

    payoff[j, k]    measure of objective k, on validation, of the model trained on objective j alone: mean over seeds,
                    the validation queries of all folds pooled
    ideal_k         the best of column k
    nadir_k         the worst of column k, or what random rankings reach where that is more

Single-objective models are a system of the suite that enters no comparison (method `single-objective`), tuned as the
others are; suites without one take linear scalarisation at w = e_j, which trains on objective j alone. A task is a
dataset, its objectives in their order, and the measure of each. What stands in the file stays: numbers that come out
differently are refused unless a new version is asked for, because every normalised hypervolume changes with them.

Beside them, for tasks whose law is known: the points of the best possible ranker on the test queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ltr import paths, schema
from ltr.bench.text import count
from ltr.errors import InputError
from ltr.fronts import ReferencePoints, payoff
from ltr.metrics import measure
from ltr.objectives.tasks import load_multi
from ltr.rankers.training.validation import measured
from ltr.seeds import seed_of

from .front_cube import cube, measures_of
from .front_results import load_front_results, study_folders

if TYPE_CHECKING:
    from ltr.fronts import ReferencePoints

    from .results import FrontResults

__all__ = [
    "COMMAND",
    "TaskPoints",
    "make_all",
    "make_points",
    "points_for",
    "points_of",
    "read_points",
    "update_points",
]

COMMAND = "ltr bench reference-points"
_DIGITS = 6  # of what stands in the file
_ALONE = ("single-objective", "ls")  # methods whose corners are single-objective models, the first one there is


@dataclass(frozen=True)
class TaskPoints:
    """The reference points of one task. All points are float, one number an objective.

    Attributes:
        dataset, objectives, measures: the task.
        version: counts up when the numbers change.
        ideal, nadir: see the module.
        payoff: `[trained on, objective]`.
        random: measures of random rankings, on validation.
        truth: points of the best possible ranker at every preference of the lattice, on test; empty where the law of
            the task is not known.
        truth_partition: H of that lattice.
        source: the suite they come from, its seeds, folds and validation queries, in words.
    """

    dataset: str
    objectives: tuple[str, ...]
    measures: tuple[str, ...]
    version: int
    ideal: tuple[float, ...]
    nadir: tuple[float, ...]
    payoff: tuple[tuple[float, ...], ...]
    random: tuple[float, ...]
    truth: tuple[tuple[float, ...], ...] = ()
    truth_partition: int = 0
    source: str = ""

    def __post_init__(self):
        m = len(self.objectives)
        rows = {"measures": [self.measures], "ideal": [self.ideal], "nadir": [self.nadir], "payoff": self.payoff}
        rows |= {"random": [self.random], "truth": self.truth}
        for name, found in rows.items():
            if any(len(row) != m for row in found):
                raise InputError(f"{name} of {self.dataset} has the wrong length", expected=f"{m} numbers", came=found)
        if not all(a > b for a, b in zip(self.ideal, self.nadir, strict=True)):
            raise InputError(
                f"the ideal point of {self.dataset} is not above its nadir",
                came=[self.ideal, self.nadir],
                expected="objectives that differ: the model of one is not the best of another",
            )

    @property
    def task(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        return self.dataset, self.objectives, self.measures

    @property
    def reference_points(self) -> ReferencePoints:
        """As the room of fronts takes them; the base model, where preference methods start, is that of objective 1."""
        return ReferencePoints(
            self.dataset,
            str(self.version),
            self.objectives,
            self.measures,
            self.ideal,
            self.nadir,
            self.random,
            self.payoff[0],
        )


@dataclass(frozen=True)
class _File:
    """The file.

    Attributes:
        command: writes it.
        tasks: one table a task.
    """

    command: str
    tasks: tuple[TaskPoints, ...] = ()


def _path(file: Path | str | None) -> Path:
    return paths.suites() / "reference_points.toml" if file is None else Path(file)


def read_points(file: Path | str | None = None) -> list[TaskPoints]:
    """All tasks of the file; benchmarks/reference_points.toml by default.

    Raises:
        InputError: an unknown key, a wrong type or length, a task that stands there twice, a nadir above its ideal.
    """
    path = _path(file)
    found = schema.bind(_File, schema.read_toml(path), file=path).tasks
    seen = set()
    for each in found:
        if each.task in seen:
            raise InputError("a task stands there twice", file=path, came=f"{each.dataset}: {each.objectives}")
        seen.add(each.task)
    return list(found)


def points_of(
    dataset: str, objectives: Sequence[str], measures: Sequence[str], file: Path | str | None = None
) -> TaskPoints:
    """The reference points of a task.

    Raises:
        InputError: the file has none for it.
    """
    path = _path(file)
    for each in read_points(path) if path.is_file() else []:
        if each.task == (dataset, tuple(objectives), tuple(measures)):
            return each
    raise InputError(
        f"no reference points for {dataset} with {', '.join(objectives)}",
        file=path,
        expected=f"a task with measures {', '.join(measures)}",
        do=f"Make them: {COMMAND} --results FOLDER",
    )


def points_for(results: FrontResults, dataset: str, file: Path | str | None = None) -> TaskPoints:
    """The reference points of a dataset's task: those of the file, or what the suite's own single-objective models say.

    Raises:
        InputError: the file has none for it, and none can be made of these results.
    """
    measures = measures_of(results, dataset)
    try:
        return points_of(dataset, results.suite.objectives, measures, file)
    except InputError as missing:
        if not any(v.method == _ALONE[0] for v in results.suite.variants()):
            raise
        try:
            made = make_points(results, dataset)
        except InputError as error:
            raise InputError(f"{missing.what}, and none come from its own results: {error}", do=missing.do) from error
    return replace(made, source=f"{made.source} (made with these results, no committed version)")


def make_points(results: FrontResults, dataset: str, data: str | None = None) -> TaskPoints:
    """The reference points that results stand for, as version 1.

    Args:
        data: where the dataset is read from, for random rankings and the true front; by its own name by default. Only
            the payoff table comes from the results.

    Raises:
        InputError: the suite has no linear scalarisation, or its runs are not complete.
    """
    suite = results.suite
    alone = [v.label for method in _ALONE for v in suite.variants() if v.method == method]
    if not alone:
        raise InputError(
            "reference points come from single-objective models",
            expected=f"a system with method = {_ALONE[0]!r}",
            came=[v.label for v in suite.variants()],
        )
    lattice = results.lattice
    arrays = cube(results, dataset)
    s = arrays.systems.index(alone[0])
    seeds = np.flatnonzero(arrays.complete[s])
    if not len(seeds):
        raise InputError(f"{alone[0]!r} has no whole front on {dataset}", do="Finish its runs: ltr bench run")
    corners = [int(lattice[:, k].argmax()) for k in range(lattice.shape[1])]
    table = payoff(arrays.vali[s, seeds][:, corners])
    runs = results.runs[(results.runs.dataset == dataset) & (results.runs.system == alone[0])]
    folds = runs[runs.status == "done"].fold.nunique()
    source = (
        f"{alone[0]} at the corners in suite {suite.name}: seeds {', '.join(str(arrays.seeds[e]) for e in seeds)}, "
        f"{count(folds, 'fold')}, validation"
    )
    random, truth = _of_the_data(suite, dataset, measures_of(results, dataset), lattice, runs, data)
    return TaskPoints(
        dataset,
        tuple(suite.objectives),
        measures_of(results, dataset),
        1,
        _row(table.ideal),
        _row(np.maximum(table.nadir, random)),
        tuple(_row(r) for r in table.table),
        random,
        truth,
        suite.preferences if truth else 0,
        source,
    )


def make_all(
    folders: Sequence[Path | str] = (),
    file: Path | str | None = None,
    *,
    data: Mapping[str, str] | None = None,
    new_version: bool = False,
) -> Mapping[str, str]:
    """Reference points of every dataset of these results, put into the file. Returns dataset -> what happened.

    Args:
        folders: results of suites; those that were committed by default (`front_results.STUDY`).
        data: dataset -> where it is read from.
        file, new_version: as in `update_points`.

    Raises:
        InputError: no results, or as `make_points` and `update_points`.
    """
    found = []
    for results in map(load_front_results, study_folders(folders)):
        found += [make_points(results, each, (data or {}).get(each)) for each in results.suite.datasets]
    return update_points(found, file, new_version=new_version)


def _of_the_data(suite, dataset: str, measures, lattice, runs, data):
    """Random rankings on validation, and the true front on test where the task knows its law."""
    generator = np.random.default_rng(seed_of("random rankings", dataset))
    folds = list(dict.fromkeys(runs.fold))
    points, sizes = [], []
    truth: tuple[tuple[float, ...], ...] = ()
    for fold in folds:
        task, _ = load_multi(data or dataset, suite.objectives, fold=fold)
        scores = generator.random((_RANDOM, task.vali.n_documents), dtype=np.float32)
        points.append(measured(task.vali, scores, measures).mean(0))
        sizes.append(task.vali.n_queries)
        law = task.facts.get("truth")
        known = all(measure(m) == measure(_OF_THE_TRUTH) for m in measures)
        if law is not None and len(folds) == 1 and known:
            truth = tuple(_row(r) for r in law.front(task.test, lattice))
    return _row(np.average(points, axis=0, weights=sizes)), truth


_OF_THE_TRUTH = "nDCG(gain=exp2,empty=skip)@10"  # what `Truth.front` says
_RANDOM = 100  # random rankings a fold


def _row(values) -> tuple[float, ...]:
    return tuple(round(float(v), _DIGITS) for v in values)


def update_points(
    found: Sequence[TaskPoints], file: Path | str | None = None, *, new_version: bool = False
) -> Mapping[str, str]:
    """Puts tasks into the file. Returns dataset -> what happened, in words.

    A task that is not there is added. One that is there with the same numbers stays. Other numbers are refused, all
    tasks of the call with them, unless `new_version`: then they stand there with the version counted up.

    Raises:
        InputError: numbers differ from those of the file and no new version was asked for.
    """
    path = _path(file)
    there = {each.task: each for each in (read_points(path) if path.is_file() else [])}
    said = {}
    for new in found:
        old = there.get(new.task)
        if old is None:
            there[new.task], said[new.dataset] = replace(new, version=1), "added as version 1"
        elif _numbers(old) == _numbers(new):
            said[new.dataset] = f"version {old.version} stays: the same numbers"
        elif not new_version:
            raise InputError(
                f"the reference points of {new.dataset} came out differently from version {old.version}",
                file=path,
                expected=_changed(old, old, new),
                came=_changed(new, old, new),
                do="Every normalised hypervolume of the task depends on them. If that is meant: --new-version",
            )
        else:
            there[new.task] = replace(new, version=old.version + 1)
            said[new.dataset] = f"version {old.version + 1}, was {old.version}: {_changed(new, old, new)}"
    results = sorted(there.values(), key=lambda each: (each.dataset, each.objectives))
    schema.write_toml(path, _File(COMMAND, tuple(results)))
    return said


_NUMBERS = ("ideal", "nadir", "payoff", "random", "truth", "truth_partition")


def _numbers(points: TaskPoints) -> tuple:
    return tuple(getattr(points, name) for name in _NUMBERS)


def _changed(shown: TaskPoints, old: TaskPoints, new: TaskPoints) -> str:
    """The fields that differ, with the values of `shown`; long ones by name only."""
    names = [name for name in _NUMBERS if getattr(old, name) != getattr(new, name)]
    return "; ".join(n if n in ("payoff", "truth") else f"{n} = {getattr(shown, n)}" for n in names)
