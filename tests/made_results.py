"""Results of a suite made by hand, for tests of what comes after the runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ltr.bench.analysis.results import COST, KEYS, Results
from ltr.bench.suite import Suite, System, Tuning, check

NDCG, AP, LETOR = "nDCG(gain=exp2,empty=skip)@10", "AP(empty=skip)", "AP(empty=0,ties=order)"


def made_suite(**changes) -> Suite:
    facts = {
        "title": "A made suite",
        "description": "Two nets and a baseline.",
        "name": "made",
        "datasets": ("made-data",),
        "seeds": (0, 1),
        "measures": (NDCG, AP, LETOR),
        "systems": (
            System("Net", "mlp", losses=("mse", "listnet"), grid={"training.learning_rate": [0.1, 0.2]}),
            System("Random", "random", baseline=True),
        ),
        "tuning": Tuning(points=2),
    }
    return check(Suite(**{**facts, **changes}))


def made_results(values: dict[str, np.ndarray], suite: Suite | None = None, lost: dict | None = None) -> Results:
    """Results whose values a query are given.

    Args:
        values: system -> `[fold, seed, query]`, NaN where the query is left out; every measure gets the same values.
        lost: (system, fold, seed) -> (status, reason) of runs without numbers.
    """
    suite = suite or made_suite()
    rows, runs, tables, curves = [], [], [], []
    for system, cube in values.items():
        for f, s in np.ndindex(cube.shape[:2]):
            key = dict(zip(KEYS, (suite.datasets[0], system, f"Fold{f + 1}", s), strict=True))
            if (system, f, s) in (lost or {}):
                status, reason = lost[system, f, s]
                runs.append({**key, "status": status, "reason": reason})
                continue
            v = cube[f, s]
            counted = int(np.isfinite(v).sum())
            for split in ("vali", "test"):
                for m in suite.measures:
                    facts = {"queries": counted, "blank": len(v) - counted, "mean": float(np.nanmean(v))}
                    rows.append({**key, "split": split, "measure": m, **facts})
            cost = dict.fromkeys(COST, 1.0 + f)
            sizes = {"test_queries": len(v), "test_blank": len(v) - counted, "train_queries": 3 * len(v)}
            runs.append({**key, "status": "done", "reason": "", **sizes, **cost})
            table = {"query": [f"q{i}" for i in range(len(v))], NDCG: v.astype("float32")}
            tables.append(pd.DataFrame({**key, **table}))
            curves += [{**key, "step": e, "value": 0.1 * e} for e in (1, 2, 3)]
    chosen = {
        "budget": {"points": 2, "folds": ["first"], "seeds": [0], "measure": NDCG, "split": "vali"},
        "systems": {
            suite.datasets[0]: {
                "Net mse": {
                    "shared": {
                        "chosen": {"training.learning_rate": 0.2},
                        "candidates": [
                            {"point": 0, "vali": 0.4, "values": {"training.learning_rate": 0.1}},
                            {"point": 1, "vali": 0.5, "values": {"training.learning_rate": 0.2}},
                        ],
                    }
                }
            }
        },
    }
    sizes = ["test_queries", "test_blank", "train_queries"]
    columns = [*KEYS, "status", "reason", *sizes, *COST, "selected", "config_hash", "store_hash"]
    return Results(
        suite,
        pd.DataFrame(rows),
        pd.DataFrame(runs, columns=[*columns, "command"]),
        pd.concat(tables, ignore_index=True),
        pd.DataFrame(curves),
        chosen,
        {"command": "ltr bench run made --out runs/made", "workers": 2, "libraries": {"numpy": "2"}},
    )


def three_systems(queries: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    """Two folds, two seeds: "Net mse" clearly best, "Net listnet" and "Random" alike; one query in six left out."""
    generator = np.random.default_rng(seed)
    base = generator.uniform(0.2, 0.6, (2, 1, queries))
    noise = generator.normal(0, 0.02, (3, 2, 2, queries))
    cubes = {"Net mse": base + 0.3 + noise[0], "Net listnet": base + noise[1], "Random": base + noise[2]}
    for cube in cubes.values():
        cube[:, :, ::6] = np.nan
    return cubes
