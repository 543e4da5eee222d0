"""The runs a suite stands for, and what tuning chose for each system.

A run's folder is named by what it is, so that a suite that grows (a seed, a system) finds what it already has:

    runs/<dataset>/<system>/<fold>/seed<k>                     what is reported
    tuning/<dataset>/<system>/point<i>/<fold>/seed<k>          the candidates, judged on validation only
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ltr import strict
from ltr.errors import InputError, unknown_name
from ltr.rankers.config import TrainingConfig
from ltr.runs.config import DataConfig, LossChoice, RankerChoice, RunConfig

from .grids import grid_points
from .matrix import Suite, Variant, slug

__all__ = ["Candidate", "Job", "candidates", "choose", "dataset_slug", "expand", "folds_of", "main_jobs", "tuning_jobs"]


@dataclass(frozen=True)
class Job:
    """One run to do.

    Attributes:
        system: label of the competitor.
        dataset, fold, seed: on what, with which seed.
        folder: where, relative to the suite's folder.
        config: the whole of it; equal configs give equal numbers.
        point: number of the grid point, None for a main run.
    """

    system: str
    dataset: str
    fold: str
    seed: int
    folder: str
    config: RunConfig
    point: int | None = None


@dataclass(frozen=True)
class Candidate:
    """A grid point of one system on one dataset, and how it did on validation.

    Attributes:
        values: `{"training.learning_rate": 0.001, ...}`.
        vali: mean of the select measure over the tuning folds and seeds; None where a run did not finish.
        reason: why it has no value.
    """

    system: str
    dataset: str
    point: int
    values: dict[str, Any]
    vali: float | None = None
    reason: str = ""


def dataset_slug(name: str) -> str:
    """Folder name of a dataset given by name or path."""
    return slug(Path(name).name if "/" in name else name)


def folds_of(suite: Suite, dataset: str, known: Sequence[str]) -> tuple[str, ...]:
    """The folds of `dataset` the suite asks for, in the dataset's order of folds."""
    if suite.folds == ("all",):
        return tuple(known)
    for fold in suite.folds:
        if fold not in known:
            raise unknown_name(f"fold of {dataset}", fold, known)
    return tuple(f for f in known if f in suite.folds)


def run_config(suite: Suite, variant: Variant, dataset: str, fold: str, seed: int) -> RunConfig:
    """The run of one competitor on one fold with one seed."""
    where = f"training of {variant.label}"
    return RunConfig(
        data=DataConfig(dataset, fold=fold, objective=suite.objective or None),
        ranker=RankerChoice(variant.ranker, dict(variant.params)),
        loss=LossChoice(variant.loss, dict(variant.loss_params)) if variant.loss else None,
        training=strict.bind(TrainingConfig, variant.training, where=where),
        seed=seed,
        measures=suite.measures,
        select=suite.select,
    )


def main_jobs(
    suite: Suite, folds: Mapping[str, Sequence[str]], chosen: Mapping[tuple[str, str], Mapping[str, Any]] | None = None
) -> list[Job]:
    """Every run that is reported: datasets x systems x folds x seeds.

    Args:
        folds: dataset -> its folds.
        chosen: (dataset, system) -> grid point in use, from `choose`.
    """
    jobs = []
    for dataset in suite.datasets:
        for variant in suite.variants():
            tuned = variant.at((chosen or {}).get((dataset, variant.label), {}))
            for fold in folds_of(suite, dataset, folds[dataset]):
                for seed in variant.seeds:
                    folder = f"runs/{dataset_slug(dataset)}/{variant.slug}/{slug(fold)}/seed{seed}"
                    config = run_config(suite, tuned, dataset, fold, seed)
                    jobs.append(Job(variant.label, dataset, fold, seed, folder, config))
    return jobs


def candidates(suite: Suite, dataset: str) -> list[Candidate]:
    """The grid points every system with a grid gets: `tuning.points` each, no more and no fewer."""
    return [
        Candidate(variant.label, dataset, i, point)
        for variant in suite.variants()
        for i, point in enumerate(grid_points(variant.grid, suite.tuning.points, suite.tuning.seed))
    ]


def tuning_jobs(suite: Suite, folds: Mapping[str, Sequence[str]]) -> list[Job]:
    """Every run that only chooses: datasets x candidates x tuning folds x tuning seeds."""
    variants = {v.label: v for v in suite.variants()}
    jobs = []
    for dataset in suite.datasets:
        tuned_on = tuple(folds[dataset][:1]) if suite.tuning.folds == ("first",) else suite.tuning.folds
        for fold in tuned_on:
            if fold not in folds[dataset]:
                raise unknown_name(f"tuning fold of {dataset}", fold, folds[dataset])
        for candidate in candidates(suite, dataset):
            variant = variants[candidate.system]
            at_point = variant.at(candidate.values)
            for fold in tuned_on:
                for seed in suite.tuning.seeds:
                    folder = (
                        f"tuning/{dataset_slug(dataset)}/{variant.slug}/point{candidate.point}/{slug(fold)}/seed{seed}"
                    )
                    config = run_config(suite, at_point, dataset, fold, seed)
                    jobs.append(Job(variant.label, dataset, fold, seed, folder, config, candidate.point))
    return jobs


def expand(suite: Suite, folds: Mapping[str, Sequence[str]]) -> tuple[list[Job], list[Job]]:
    """(tuning runs, main runs); the main runs as written, before tuning has chosen."""
    return tuning_jobs(suite, folds), main_jobs(suite, folds)


def choose(
    suite: Suite, jobs: Sequence[Job], vali_of: Callable[[Job], tuple[float | None, str]]
) -> tuple[dict[tuple[str, str], dict[str, Any]], list[Candidate]]:
    """The point of each system with the best validation mean; the earlier point wins a tie.

    Test numbers are not an argument: `vali_of` gives a run's value of the select measure on validation, or None and
    the reason. A candidate with an unfinished run has no mean and cannot win; a system none of whose candidates
    finished keeps the values as written, and its main runs will say what is wrong with it.

    Returns:
        (dataset, system) -> grid point, and every candidate with its value.
    """
    seen: dict[tuple[str, str, int], list[tuple[float | None, str]]] = {}
    for job in jobs:
        seen.setdefault((job.dataset, job.system, job.point), []).append(vali_of(job))
    judged = []
    for candidate in (c for dataset in suite.datasets for c in candidates(suite, dataset)):
        values = seen.get((candidate.dataset, candidate.system, candidate.point), [(None, "not run")])
        reasons = [reason or "no value" for value, reason in values if value is None or math.isnan(value)]
        vali = None if reasons else sum(v for v, _ in values) / len(values)
        judged.append(replace(candidate, vali=vali, reason=reasons[0] if reasons else ""))
    chosen: dict[tuple[str, str], dict[str, Any]] = {}
    best: dict[tuple[str, str], float] = {}
    for candidate in judged:
        key = (candidate.dataset, candidate.system)
        if candidate.vali is not None and candidate.vali > best.get(key, -math.inf):
            best[key], chosen[key] = candidate.vali, candidate.values
    return chosen, judged


def chosen_table(suite: Suite, chosen: Mapping, judged: Sequence[Candidate]) -> dict[str, Any]:
    """What goes into chosen.toml: the budget, and for every system all candidates with their values."""
    systems: dict[str, Any] = {}
    for candidate in judged:
        entry = systems.setdefault(candidate.dataset, {}).setdefault(candidate.system, {"chosen": {}, "candidates": []})
        entry["chosen"] = dict(chosen.get((candidate.dataset, candidate.system), {}))
        entry["candidates"].append(
            {
                "point": candidate.point,
                **({} if candidate.vali is None else {"vali": candidate.vali}),
                **({"reason": candidate.reason} if candidate.reason else {}),
                "values": candidate.values,
            }
        )
    budget = {
        "points": suite.tuning.points,
        "folds": suite.tuning.folds,
        "seeds": suite.tuning.seeds,
        "measure": suite.select,
        "split": "vali",
    }
    return {"budget": budget, "systems": systems}


def read_chosen(table: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """(dataset, system) -> grid point, back from chosen.toml."""
    if "systems" not in table:
        raise InputError("not a chosen.toml", expected="a table `systems`", came=list(table))
    return {(d, s): dict(entry["chosen"]) for d, systems in table["systems"].items() for s, entry in systems.items()}
