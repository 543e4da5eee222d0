"""Results of a suite of methods made by hand, for tests of what comes after the runs."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ltr.bench.analysis.front_results import FRONT_COST, FrontResults
from ltr.bench.analysis.samples import Sample, best_documents
from ltr.bench.suite import Suite, System, check
from ltr.objectives import lattice

OBJECTIVES = ("relevance", "freshness", "clicks", "margin", "trust", "diversity")
NDCG = "nDCG(gain=exp2,empty=skip)@10"


def made_fronts(systems: int = 4, objectives: int = 3, queries: int = 40, seeds=(0, 1), partition=None, folds=1):
    """Concave fronts, the first system's largest; a preference's weight raises what it asks for; every sixth query is
    blank for the second objective."""
    names = OBJECTIVES[:objectives]
    weights = lattice(objectives, partition)
    labels = ["HyperDPO", "DPO-LS", "Soups", "MODPO", *(f"Method {i}" for i in range(5, systems + 1))][:systems]
    generator = np.random.default_rng(0)
    fronts, tables, runs = [], [], []
    for f in range(folds):
        base = generator.uniform(-0.15, 0.15, (queries, objectives))
        for s, system in enumerate(labels):
            for seed in seeds:
                key = {"dataset": "made-data", "system": system, "fold": f"Fold{f + 1}", "seed": seed}
                cost = {
                    "fit_seconds": 10.0 + s,
                    "models_trained": 1 + s,
                    "operations": 1e9 * (1 + s),
                    "seconds_a_point": (10.0 + s) / len(weights),
                }
                facts = {"status": "done", "reason": "", "test_queries": queries}
                runs.append({**key, **facts, **dict.fromkeys(FRONT_COST, np.nan), **cost})
                means = 0.35 + (0.3 - 0.02 * s) * np.sqrt(weights) + 0.01 * s * weights[:, ::-1]
                values = means[:, None] + base + generator.normal(0, 0.04, (len(weights), queries, objectives))
                values[:, ::6, 1] = np.nan
                for split in ("vali", "test"):
                    shown = values if split == "test" else values - 0.01
                    mean = np.nanmean(shown, axis=1)
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
                                    "blank": queries - counted,
                                }
                            )
                        )
                flat = values.reshape(-1, objectives).astype("float32")
                tables.append(
                    pd.DataFrame(
                        {
                            **key,
                            "query": np.tile([f"q{i}" for i in range(queries)], len(weights)),
                            "preference": np.repeat(np.arange(len(weights), dtype=np.int16), queries),
                            **{name: flat[:, k] for k, name in enumerate(names)},
                        }
                    )
                )
    methods = dict(zip(labels, ("hyperdpo", "dpo-ls", "soup", "modpo")))
    suite = check(
        Suite(
            "Made fronts",
            ("made-data",),
            tuple(System(s, method=methods.get(s, "ls")) for s in labels),
            description="Methods made by hand.",
            name="made",
            seeds=seeds,
            objectives=names,
            preferences=partition or 0,
        )
    )
    return FrontResults(
        suite,
        pd.concat(fronts, ignore_index=True),
        pd.concat(tables, ignore_index=True),
        pd.DataFrame(runs),
        {},
        {"command": "ltr bench run made", "workers": 2},
    )


def made_samples(results, count: int = 3, documents: int = 24) -> list[Sample]:
    """Documents with labels of every objective; a system's score is the weighted label, with noise of its own."""
    weights = results.lattice
    generator = np.random.default_rng(1)
    samples = []
    for q in range(1, count + 1):
        labels = generator.integers(0, 5, (documents, weights.shape[1])).astype(float)
        noise = generator.normal(0, 0.4, (len(results.suite.variants()), documents))
        best = {v.label: best_documents(weights @ labels.T + e) for v, e in zip(results.suite.variants(), noise)}
        values = {system: np.sqrt(weights) * 0.5 + 0.2 for system in best}
        names = [f"d{i:02d}" for i in range(documents)]
        samples.append(Sample("Fold1", f"q{q}", 0, names, labels, best, values))
    return samples
