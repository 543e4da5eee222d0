"""The best possible ranker as a row of the leaderboard, for tasks that know their truth.

A synthetic task carries its generative model in `facts["truth"]`. The ranker that knows the model but not the drawn
labels is the best there can be in expectation; what others lack to it on the same queries is their regret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ltr.datasets import load
from ltr.metrics import measure

from .measured_rows import numbers_of, with_row

if TYPE_CHECKING:
    from ltr.types import Task

    from .results import Results

__all__ = ["BEST_POSSIBLE", "with_best_possible"]

BEST_POSSIBLE = "best possible"


def with_best_possible(results: Results, data: Mapping[str, str] | None = None) -> Results:
    """The results with a row "best possible" for every fold whose task knows its truth; else as they are.

    Args:
        data: dataset -> where it is read from, as in `run_suite`.
    """
    for dataset in results.suite.datasets:
        folds = dict.fromkeys(results.runs.fold[results.runs.dataset == dataset])
        for fold in folds:
            task = load((data or {}).get(dataset, dataset), fold=fold)
            if task.facts.get("truth") is None:
                break
            results = _with_fold(results, dataset, fold, task)
    return results


def _with_fold(results: Results, dataset: str, fold: str, task: Task) -> Results:
    from ltr.runs.scores import scores_table

    objective = results.suite.objective or task.objectives[0]
    preference = np.array([o == objective for o in task.objectives], float)
    # nDCG at the headline's own cut-off; for other measures the ranking by expected nDCG@10 stands for the best.
    headline = measure(results.suite.headline)
    options = {"k": headline.cutoff or 10, "measure": "dcg" if headline.name == "DCG" else "ndcg"}
    scores = scores_table(task.test, task.facts["truth"].best_scores(task.test, preference, **options), double=True)
    found = numbers_of(results, task, scores, {"dataset": dataset, "system": BEST_POSSIBLE, "fold": fold, "seed": 0})
    run = {**found.run, "status": "truth", "reason": "knows the model behind the labels"}
    return with_row(results, replace(found, run=run))
