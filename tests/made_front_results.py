"""Results of a suite of methods made by hand: a real suite, points that are known; for tests of the frontboard."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ltr.bench.analysis.reference_points import TaskPoints
from ltr.bench.analysis.results import FrontResults
from ltr.bench.suite import Suite, System, check
from ltr.objectives import lattice

NDCG = "nDCG(gain=exp2,empty=skip)@10"
OBJECTIVES = ("relevance", "freshness", "clicks", "trust", "diversity")
SYSTEMS = {
    "DPO-LS": "dpo-ls",
    "HyperDPO": "hyperdpo",
    "LS": "ls",
    "Soup": "soup",
    "EPO": "epo",
    "Equal weights": "free",
}


def made_suite(objectives: int = 2, partition: int = 4, seeds=(0, 1), dataset="made-data", systems=None) -> Suite:
    params = {"free": {"by": "linear"}}
    listed = tuple(System(label, method=m, params=params.get(m, {})) for label, m in (systems or SYSTEMS).items())
    return check(
        Suite(
            "Made fronts",
            (dataset,),
            listed,
            name="made",
            objectives=OBJECTIVES[:objectives],
            preferences=partition,
            seeds=tuple(seeds),
        )
    )


def made_points(suite: Suite, ideal: float = 0.6, nadir: float = 0.2, truth: float | None = None) -> TaskPoints:
    """Every objective has the same ideal and nadir; `truth`: what the true front lies above `front`."""
    m = len(suite.objectives)
    payoff = np.where(np.eye(m) > 0, ideal, nadir)
    true = () if truth is None else tuple(map(tuple, (front(suite) + truth).tolist()))
    return TaskPoints(
        suite.datasets[0],
        suite.objectives,
        (NDCG,) * m,
        1,
        (ideal,) * m,
        (nadir,) * m,
        tuple(map(tuple, payoff.tolist())),
        (nadir / 2,) * m,
        true,
        suite.preferences if true else 0,
        "made by hand",
    )


def front(suite: Suite) -> np.ndarray:
    """0.2 to 0.6, concave: `[preference, objective]`."""
    return 0.2 + 0.4 * np.sqrt(lattice(len(suite.objectives), suite.preferences))


def made_front_results(
    suite: Suite | None = None,
    shift: dict[str, float] | None = None,
    *,
    queries: int = 40,
    folds: int = 1,
    noise: float = 0.02,
    lost: dict | None = None,
    points: dict[str, np.ndarray] | None = None,
    seed: int = 0,
) -> FrontResults:
    """Every system's points are `front` plus its shift; queries have a level of their own that all systems share.

    Args:
        shift: system -> what is added to every objective; 0 by default.
        noise: standard deviation of what a system, seed, query and point has for itself.
        lost: (system, fold number, seed) -> (status, reason) of runs without numbers.
        points: system -> `[preference, objective]` instead of `front`.
        seed: of the queries and the noise.

    Every sixth query is blank for the second objective. Fold 2 has twice the queries of fold 1. On validation the
    values are those of test, less .01.
    """
    suite = suite or made_suite()
    names, weights = list(suite.objectives), lattice(len(suite.objectives), suite.preferences)
    generator = np.random.default_rng(seed)
    fronts, tables, runs = [], [], []
    for f in range(folds):
        size = queries * (f + 1)
        level = generator.uniform(-0.1, 0.1, (size, len(names)))
        level -= level.mean(0)
        level[::6, 1] = np.nan
        level[:, 1] -= np.nanmean(level[:, 1])
        for number, variant in enumerate(suite.variants()):
            steered = front(suite)
            if variant.method == "free":  # one point, the same for every preference
                steered = np.repeat(steered[[len(weights) // 2]], len(weights), axis=0)
            means = (points or {}).get(variant.label, steered) + (shift or {}).get(variant.label, 0.0)
            for repetition in variant.seeds:
                key = {
                    "dataset": suite.datasets[0],
                    "system": variant.label,
                    "fold": f"Fold{f + 1}",
                    "seed": repetition,
                }
                if (variant.label, f, repetition) in (lost or {}):
                    status, reason = lost[variant.label, f, repetition]
                    runs.append({**key, "status": status, "reason": reason})
                    continue
                own = generator.normal(0, noise, (len(weights), size, len(names))) if noise else 0.0
                values = means[:, None] + level + own
                models = {"hyperdpo": 2, "free": 1, "soup": 1 + len(names)}.get(variant.method, len(weights))
                cost = {
                    "fit_seconds": 2.0 * models,
                    "models_trained": models,
                    "operations": 1e9 * models,
                    "parameters": 100.0 * (number + 1),
                }
                runs.append(
                    {
                        **key,
                        "status": "done",
                        "reason": "",
                        "test_queries": size,
                        **cost,
                        "seconds_a_point": cost["fit_seconds"] / len(weights),
                    }
                )
                for split in ("vali", "test"):
                    mean = np.nanmean(values, axis=1) - 0.01 * (split == "vali")
                    for k, name in enumerate(names):
                        counted = int(np.isfinite(values[0, :, k]).sum())
                        fronts.append(
                            pd.DataFrame(
                                {
                                    **key,
                                    "split": split,
                                    "preference": np.arange(len(weights), dtype=np.int16),
                                    "objective": name,
                                    "measure": NDCG,
                                    "mean": mean[:, k],
                                    "queries": counted,
                                    "blank": size - counted,
                                }
                            )
                        )
                flat = values.reshape(-1, len(names)).astype("float32")
                tables.append(
                    pd.DataFrame(
                        {
                            **key,
                            "query": np.tile([f"q{i}" for i in range(size)], len(weights)),
                            "preference": np.repeat(np.arange(len(weights), dtype=np.int16), size),
                            **{name: flat[:, k] for k, name in enumerate(names)},
                        }
                    )
                )
    return FrontResults(
        suite,
        pd.concat(fronts, ignore_index=True),
        pd.concat(tables, ignore_index=True),
        pd.DataFrame(runs),
        {},
        {
            "command": "ltr bench run made --out runs/made",
            "workers": 2,
            "threads": 1,
            "wall_seconds": 60.0,
            "device": "cpu",
            "python": "3.11",
            "platform": "Linux",
            "libraries": {"torch": "2", "numpy": "2"},
        },
    )
