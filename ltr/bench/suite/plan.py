"""The runs a suite stands for, and what tuning chose for each system.

A run's folder is named by what it is, so that a suite that grows (a seed, a system) finds what it already has:

    runs/<dataset>/<system>/<fold>/seed<k>                     what is reported
    tuning/<dataset>/<system>/point<i>/<fold>/seed<k>          the candidates, judged on validation only
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ltr import schema
from ltr.datasets import open_store
from ltr.datasets.synthetic.task import options_of
from ltr.errors import InputError, check_name
from ltr.rankers.config import TrainingConfig
from ltr.runs.config import DataConfig, LossChoice, MethodChoice, RankerChoice, RunConfig, config_hash

from .budget import with_budget
from .grids import grid_points
from .suite import Suite, Variant, dataset_slug, slug

__all__ = [
    "Resolver",
    "RunJob",
    "choose",
    "dataset_folds",
    "dataset_slug",
    "stackable",
    "folds_of",
    "main_jobs",
    "read_chosen",
    "tuning_jobs",
]


SHARED = "shared"  # one choice for all folds
Chosen = dict[tuple[str, str, str], dict[str, Any]]  # (dataset, system, scope) -> grid point


@dataclass(frozen=True)
class RunJob:
    """One run to do.

    Attributes:
        system: label of the competitor.
        dataset, fold, seed: on what, with which seed.
        folder: where, relative to the suite's folder.
        config: the whole of it; equal configs give equal numbers.
        point: number of the grid point, None for a main run.
        values: what the point changes, `{"training.learning_rate": 0.001}`; empty for a main run.
    """

    system: str
    dataset: str
    fold: str
    seed: int
    folder: str
    config: RunConfig
    point: int | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def folds_of(suite: Suite, dataset: str, known: Sequence[str]) -> tuple[str, ...]:
    """The folds of `dataset` the suite asks for, in the dataset's order of folds."""
    if suite.folds == ("all",):
        return tuple(known)
    for fold in suite.folds:
        check_name(f"fold of {dataset}", fold, known)
    return tuple(f for f in known if f in suite.folds)


def dataset_folds(source: str) -> tuple[str, ...]:
    """Names of the folds of a dataset, given as `ltr.datasets.load` takes it; nothing is generated to say so."""
    if source.partition(":")[0] == "synthetic":
        options_of(source)  # a mistake in the name is said before anything is run
        return ("Fold1",)
    return tuple(open_store(source).folds)


def run_config(suite: Suite, variant: Variant, dataset: str) -> RunConfig:
    """The run of one competitor, on no fold and with no seed yet."""
    if variant.method:
        return _method_config(suite, variant, dataset)
    where = f"training of {variant.label}"
    return RunConfig(
        data=DataConfig(dataset, objective=suite.objective or None, labelled=variant.labelled),
        ranker=RankerChoice(variant.ranker, dict(variant.params)),
        loss=LossChoice(variant.loss, dict(variant.loss_params)) if variant.loss else None,
        training=schema.bind(TrainingConfig, variant.training, where=where),
        measures=suite.measures,
        select=suite.select,
    )


def _at(config: RunConfig, fold: str, seed: int) -> RunConfig:
    return replace(config, seed=seed, data=replace(config.data, fold=fold))


def _method_config(suite: Suite, variant: Variant, dataset: str) -> RunConfig:
    params = dict(variant.params)
    for key in ("loss_params", "training"):
        if getattr(variant, key):
            params[key] = {**params.get(key, {}), **getattr(variant, key)}
    if variant.loss:
        params["loss"] = variant.loss
    params = with_budget(suite, variant, params)
    config = RunConfig(
        data=DataConfig(dataset, objectives=suite.objectives, main=suite.main, labelled=variant.labelled),
        method=MethodChoice(variant.method, params),
        preferences=suite.preferences,
    )
    return replace(config, measures=suite.measures) if suite.measures else config


def main_jobs(suite: Suite, folds: Mapping[str, Sequence[str]], chosen: Chosen | None = None) -> list[RunJob]:
    """Every run that is reported: datasets x systems x folds x seeds.

    Args:
        folds: dataset -> its folds.
        chosen: the grid points in use, from `read_chosen`.
    """
    jobs = []
    for dataset in suite.datasets:
        for variant in suite.variants():
            made: dict[str, RunConfig] = {}  # point -> config
            for fold in folds_of(suite, dataset, folds[dataset]):
                scope = fold if suite.tuning.folds == ("each",) else SHARED
                point = (chosen or {}).get((dataset, variant.label, scope), {})
                if repr(point) not in made:
                    made[repr(point)] = run_config(suite, variant.at(point), dataset)
                for seed in variant.seeds:
                    folder = f"runs/{dataset_slug(dataset)}/{variant.slug}/{slug(fold)}/seed{seed}"
                    config = _at(made[repr(point)], fold, seed)
                    jobs.append(RunJob(variant.label, dataset, fold, seed, folder, config))
    return jobs


def tuning_jobs(suite: Suite, folds: Mapping[str, Sequence[str]]) -> list[RunJob]:
    """Every run that only chooses: datasets x grid points x tuning folds x tuning seeds.

    Every system with a grid gets `tuning.points` of its points, no more and no fewer.
    """
    jobs = []
    for dataset in suite.datasets:
        for variant in suite.variants():
            for i, point in enumerate(grid_points(variant.grid, suite.tuning.points, suite.tuning.seed)):
                config = run_config(suite, variant.at(point), dataset)
                for fold in _tuned_on(suite, dataset, folds[dataset]):
                    for seed in suite.tuning.seeds:
                        folder = f"tuning/{dataset_slug(dataset)}/{variant.slug}/point{i}/{slug(fold)}/seed{seed}"
                        own = (folder, _at(config, fold, seed), i, point)
                        jobs.append(RunJob(variant.label, dataset, fold, seed, *own))
    return jobs


class Resolver:
    """Resolved configs of many jobs, and their hashes. Fold and seed decide nothing of the rest, so jobs that differ in
    these only are resolved once: ten thousand runs are looked through in seconds."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[RunConfig, dict[str, Any]]] = {}

    def __call__(self, job: RunJob) -> RunConfig:
        """The resolved config of a job.

        Raises:
            InputError: an unknown name or parameter.
        """
        found, _ = self._resolved(job.config)
        return replace(found, seed=job.config.seed, data=replace(found.data, fold=job.config.data.fold))

    def hash(self, job: RunJob) -> str:
        """Its `config_hash`."""
        _, plain = self._resolved(job.config)
        fold = {} if job.config.data.fold is None else {"fold": job.config.data.fold}
        return config_hash({**plain, "seed": job.config.seed, "data": {**plain["data"], **fold}})

    def _resolved(self, config: RunConfig) -> tuple[RunConfig, dict[str, Any]]:
        """The config without fold and seed, resolved; and as a table."""
        from ltr.runs import resolve

        alike = replace(config, seed=0, data=replace(config.data, fold=None))
        key = repr(alike)
        if key not in self._known:
            found = resolve(alike)
            self._known[key] = found, schema.to_dict(found)
        return self._known[key]


def stackable(jobs: Sequence[RunJob]) -> list[tuple[RunJob, ...]]:
    """The jobs in groups that can train together: a system's on one fold whose configs one program can train.

    Groups stand where their first job stood; who trains alone is a group of one.
    """
    from ltr.runs.systems import system_of

    groups: dict[Any, list[RunJob]] = {}
    resolved = Resolver()
    for job in jobs:
        key = system_of(resolved(job)).stack_key
        groups.setdefault(job.folder if key is None else (job.system, job.dataset, job.fold, key), []).append(job)
    return [tuple(group) for group in groups.values()]


def _tuned_on(suite: Suite, dataset: str, known: Sequence[str]) -> Sequence[str]:
    """The folds of a dataset whose validation queries choose."""
    asked = suite.tuning.folds
    if asked == ("each",):
        return folds_of(suite, dataset, known)
    if asked == ("first",):
        return known[:1]
    for fold in asked:
        if fold in ("each", "first"):
            raise InputError(f"tuning fold {fold!r} stands alone", came=list(asked))
        check_name(f"tuning fold of {dataset}", fold, [*known, "first", "each"])
    return asked


def choose(
    suite: Suite, jobs: Sequence[RunJob], vali_of: Callable[[RunJob], tuple[float | None, str]]
) -> dict[str, Any]:
    """The point of each system with the best validation mean; the earlier point wins a tie.

    Test numbers are not an argument: `vali_of` gives a run's value of the select measure on validation, or None and
    the reason. A candidate with an unfinished run has no mean and cannot win; a system none of whose candidates
    finished keeps the values as written, and its main runs will say what is wrong with it.

    Returns:
        What goes into chosen.toml: the budget, and dataset.system.scope (a fold, or SHARED) with what was chosen, and
        all candidates with their means over tuning folds and seeds.
    """
    each = suite.tuning.folds == ("each",)
    runs: dict[tuple[str, str, str, int], list[RunJob]] = {}
    for job in jobs:
        assert job.point is not None  # a candidate
        runs.setdefault((job.dataset, job.system, job.fold if each else SHARED, job.point), []).append(job)
    systems: dict[str, Any] = {}
    best: dict[tuple[str, str, str], float] = {}
    for (dataset, system, scope, point), group in runs.items():
        scopes = systems.setdefault(dataset, {}).setdefault(system, {})
        entry = scopes.setdefault(scope, {"chosen": {}, "candidates": []})
        found = [vali_of(job) for job in group]
        reasons = [reason or "no value" for value, reason in found if value is None or math.isnan(value)]
        facts: dict[str, Any] = {"point": point, "reason": reasons[0]} if reasons else {"point": point}
        if not reasons:
            facts["vali"] = vali = sum(value for value, _ in found if value is not None) / len(found)
            if vali > best.get((dataset, system, scope), -math.inf):
                best[dataset, system, scope], entry["chosen"] = vali, dict(group[0].values)
        entry["candidates"].append({**facts, "values": dict(group[0].values)})
    tuning = suite.tuning
    budget = {"points": tuning.points, "folds": tuning.folds, "seeds": tuning.seeds, "measure": suite.select}
    return {"budget": {**budget, "split": "vali"}, "systems": systems}


def read_chosen(table: Mapping[str, Any]) -> Chosen:
    """The choices in what `choose` made."""
    return {
        (dataset, system, scope): entry["chosen"]
        for dataset, systems in table["systems"].items()
        for system, scopes in systems.items()
        for scope, entry in scopes.items()
        if entry["chosen"]
    }
