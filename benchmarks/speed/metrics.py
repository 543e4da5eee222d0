"""Measures per second, ours beside the libraries that compute them too.

    python benchmarks/speed/metrics.py [--quick] [--device cuda]

Data set S: 2,000 MSLR-shaped lists, 245,360 documents, grades 0-4 (53.5/31.0/12.6/1.9/1.0 %), one thread. Every
library gets its input in its own form before the clock starts, and must return our values under its own convention
before it is timed. Rounds are interleaved; each number is the median round, in queries per second of CPU time (wall
time on an accelerator), because the machine is shared. Writes results/metrics.json; a library that is not installed
stands there as such.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import importlib.metadata
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ltr.metrics import Judgements, evaluate, paired_randomisation

RESULTS = Path(__file__).parent / "results" / "metrics.json"
NDCG = "nDCG(gain=exp2,empty=0)@10"
LINEAR = "nDCG(gain=linear,empty=0)@10"
GRID = [f"{name}@{k}" for name in ("nDCG", "DCG", "ERR", "AP", "RR", "P", "R", "RBP") for k in (1, 5, 10)]
LIBRARIES = ("numpy", "torch", "pytrec_eval-terrier", "scikit-learn", "torchmetrics", "ranx", "scipy")


def data_set_s(n_queries: int = 2000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores float32, labels and offsets of the first lists of data set S."""
    rng = np.random.default_rng(20261121)
    lengths = np.clip(np.round(np.exp(rng.normal(np.log(104), 0.55, 2000))), 1, 900).astype(int)
    lengths[rng.integers(0, 2000, 3)] = [900, 899, 850]
    query = np.repeat(np.arange(2000), lengths)
    level = rng.normal(0, 0.6, 2000)[query] + rng.normal(0, 1, len(query))
    labels = np.searchsorted(np.quantile(level, [0.52, 0.84, 0.97, 0.99]), level)
    labels[np.isin(query, rng.choice(2000, 56, replace=False))] = 0
    scores = (0.6 * labels + np.random.default_rng(0).normal(size=len(labels))).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(lengths[:n_queries])])
    return scores[: offsets[-1]], labels[: offsets[-1]], offsets


# -- peers: each takes the data, returns (what is timed, its values or None, our measure they must equal) -------------


def flat_lexsort(scores, labels, offsets):
    """The six obvious lines of numpy: one lexsort for the scores, one for the gains."""
    query, gains = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), 2.0**labels - 1

    def dcg(key):
        order = np.lexsort((-key, query))
        place = np.arange(len(query)) - offsets[query]
        kept = place < 10
        return np.bincount(query[kept], (gains[order] / np.log2(place + 2))[kept], len(offsets) - 1)

    def run():
        best = dcg(gains)
        return np.divide(dcg(scores), best, out=np.zeros(len(best)), where=best > 0)

    return run, NDCG


def padded_torch(scores, labels, offsets):
    """One padded [queries, longest] tensor and torch.sort, padding sunk by -inf."""
    import torch

    lengths = np.diff(offsets)
    where = np.arange(lengths.max()) < lengths[:, None]
    padded_scores, padded_labels = np.full(where.shape, -np.inf, np.float32), np.zeros(where.shape)
    padded_scores[where], padded_labels[where] = scores, labels
    s, gains = torch.tensor(padded_scores), torch.tensor(2**padded_labels - 1)
    discount = 1 / torch.log2(torch.arange(10) + 2.0).double()

    def run():
        got = (gains.gather(1, s.sort(1, descending=True).indices[:, :10]) * discount).sum(1)
        best = (gains.sort(1, descending=True).values[:, :10] * discount).sum(1)
        return torch.where(best > 0, got / best, 0.0).numpy()

    return run, NDCG


def trec_dicts(scores, labels, offsets):
    run, qrel = {}, {}
    for q, (a, b) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        names = [f"d{i}" for i in range(b - a)]
        run[str(q)] = dict(zip(names, map(float, scores[a:b]), strict=True))
        qrel[str(q)] = dict(zip(names, map(int, labels[a:b]), strict=True))
    return run, qrel


def pytrec(scores, labels, offsets):
    import pytrec_eval

    run, qrel = trec_dicts(scores, labels, offsets)
    evaluator = pytrec_eval.RelevanceEvaluator(qrel, {"ndcg_cut.10"})
    return lambda: np.array([x["ndcg_cut_10"] for x in evaluator.evaluate(run).values()]), LINEAR


def pytrec_grid(scores, labels, offsets):
    """The measures of the grid that trec_eval has, at the same cut-offs: 4 of our 8, and reciprocal rank."""
    import pytrec_eval

    run, qrel = trec_dicts(scores, labels, offsets)
    asked = {f"{name}.1,5,10" for name in ("ndcg_cut", "map_cut", "P", "recall")} | {"recip_rank"}
    evaluator = pytrec_eval.RelevanceEvaluator(qrel, asked)
    return lambda: evaluator.evaluate(run), None


def scikit_learn(scores, labels, offsets):
    from sklearn.metrics import ndcg_score

    cuts = [(labels[None, a:b], scores[None, a:b]) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]

    def run():
        return np.array([ndcg_score(y, s, k=10) for y, s in cuts])

    return run, LINEAR


def torch_metrics(scores, labels, offsets):
    import torch
    from torchmetrics.retrieval import RetrievalNormalizedDCG

    query = torch.repeat_interleave(torch.arange(len(offsets) - 1), torch.tensor(np.diff(offsets)))
    s, y = torch.tensor(scores), torch.tensor(labels)

    def run():
        metric = RetrievalNormalizedDCG(top_k=10)
        metric.update(s, y, indexes=query)
        return np.array([metric.compute().item()])

    return run, LINEAR


def ranx(scores, labels, offsets):
    import ranx

    run, qrel = trec_dicts(scores, labels, offsets)
    run, qrel = ranx.Run(run), ranx.Qrels(qrel)
    return lambda: np.asarray(ranx.evaluate(qrel, run, "ndcg_burges@10", return_mean=False)), NDCG


def scipy_permutation(values, draws):
    from scipy.stats import permutation_test

    def run():
        return permutation_test(
            (values[0], values[1]),
            lambda a, b, axis: (a - b).mean(axis),
            vectorized=True,
            n_resamples=draws,
            permutation_type="samples",
            batch=100,
            rng=0,
        )

    return run, None


# -- the clock -------------------------------------------------------------------------------------------------------


def race(contestants: dict[str, Callable], rounds: int, clock: Callable[[], float]) -> dict[str, float]:
    """Median seconds of each, all of them in every round."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for run in contestants.values():
        run()  # warm
    for _ in range(rounds):
        for name, run in contestants.items():
            start = clock()
            run()
            times[name].append(clock() - start)
    return {name: statistics.median(t) for name, t in times.items()}


def prepared(
    peers: dict[str, Callable], data, expected: dict[str, np.ndarray]
) -> tuple[dict[str, Callable], dict[str, str]]:
    """Peers ready to run whose values are right, and those that are not installed."""
    ready, absent = {}, {}
    for name, make in peers.items():
        try:
            run, convention = make(*data)
        except ImportError:
            absent[name] = "not installed"
            continue
        ready[name] = run
        if convention:
            values, ours = np.asarray(run()), expected[convention]
            np.testing.assert_allclose(
                values, ours if len(values) == len(ours) else ours.mean(), rtol=2e-5, err_msg=name
            )
    return ready, absent


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="300 lists, 3 rounds; results are printed, not written")
    parser.add_argument("--device", default="cpu", help="where ours runs; peers stay on the CPU")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # a peer's deprecations are not our result
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        pass
    on_cpu = options.device == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    scores, labels, offsets = data = data_set_s(300 if options.quick else 2000)
    rounds, n = (3, len(offsets) - 1) if options.quick else (7, len(offsets) - 1)
    expected = {text: value for text, (value,) in ((t, evaluate(t, *data).values()) for t in (NDCG, LINEAR))}
    rows = []

    def row(case: str, unit: str, ours: Callable, peers: dict, size: float, rounds: int = rounds):
        ready, absent = prepared(peers, data, expected)
        seconds = race({"ours": ours, **ready}, rounds, clock)
        rates = {name: round(size / s, 1) for name, s in seconds.items()}
        ours_rate = rates.pop("ours")
        rows.append(
            {
                "case": case,
                "unit": unit,
                "ours": ours_rate,
                "peers": rates | absent,
                "ratio_to_best_peer": round(ours_rate / max(rates.values()), 2) if rates else None,
                "threads": 1,
                "versions": versions(),
                "device": options.device,
            }
        )
        print(
            f"{case}: ours {ours_rate:,.0f} {unit}; "
            + "; ".join(
                f"{name} {rate if isinstance(rate, str) else format(rate, ',.0f')}"
                for name, rate in (rates | absent).items()
            ),
            flush=True,
        )

    if on_cpu:
        mine = data
    else:
        mine = tuple(torch.as_tensor(x, device=options.device) for x in data)
    judged = Judgements(mine[1], mine[2])
    per_second = "queries/CPU s" if on_cpu else "queries/s"
    row(
        "nDCG@10, new labels (ideal included)",
        per_second,
        lambda: evaluate(NDCG, *mine),
        {
            "numpy lexsort, 6 lines": flat_lexsort,
            "torch, padded": padded_torch,
            "pytrec_eval": pytrec,
            "ranx": ranx,
            "torchmetrics": torch_metrics,
            "scikit-learn": scikit_learn,
        },
        n,
    )
    row(
        "nDCG@10, labels seen before",
        per_second,
        lambda: evaluate(NDCG, mine[0], judged),
        {"torch, padded": padded_torch, "pytrec_eval": pytrec},
        n,
    )
    double = (
        mine[0] + 1e-9 * (mine[0] * 7.3 % 1)
        if not on_cpu
        else scores + 1e-9 * np.random.default_rng(1).random(len(scores))
    )
    row("nDCG@10, float64 scores, labels seen before", per_second, lambda: evaluate(NDCG, double, judged), {}, n)
    tied = (mine[0] * 4).round() / 4
    row("nDCG@10, tied scores, labels seen before", per_second, lambda: evaluate(NDCG, tied, judged), {}, n)
    row(
        "8 measures at 3 cut-offs (pytrec_eval: 4 and RR), labels seen before",
        per_second,
        lambda: evaluate(GRID, mine[0], judged),
        {"pytrec_eval": pytrec_grid},
        n,
    )
    for text in ("OPA", "MeanNDCG", "ERR", "AP"):
        row(
            f"{text}, whole lists, labels seen before",
            per_second,
            lambda text=text: evaluate(text, mine[0], judged),
            {},
            n,
        )

    rng = np.random.default_rng(0)
    base = rng.beta(2, 2, 6306)
    systems = np.stack([np.clip(base + rng.normal(0.002 * i, 0.08, 6306), 0, 1) for i in range(8)])
    draws = 500 if options.quick else 10_000
    theirs = 100 if options.quick else 1000
    ready, absent = {}, {}
    try:
        ready["scipy permutation_test"] = scipy_permutation(systems, theirs)[0]
    except ImportError:
        absent["scipy permutation_test"] = "not installed"
    seconds = race({"ours": lambda: paired_randomisation(systems[:2], draws), **ready}, 3, time.process_time)
    ours = round(draws / seconds.pop("ours"), 1)
    rates = {name: round(theirs / s, 1) for name, s in seconds.items()}
    rows.append(
        {
            "case": "paired randomisation, one pair, 6,306 queries",
            "unit": "draws/CPU s",
            "ours": ours,
            "peers": rates | absent,
            "ratio_to_best_peer": round(ours / max(rates.values()), 2) if rates else None,
            "threads": 1,
            "versions": versions(),
            "device": "cpu",
        }
    )
    print(f"paired randomisation: ours {ours:,.0f} draws/CPU s; {rates | absent}")
    if not options.quick:
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        target = RESULTS if on_cpu else RESULTS.with_name(f"metrics-{options.device.split(':')[0]}.json")
        partial = target.with_suffix(".partial")
        partial.write_text(json.dumps(rows, indent=1) + "\n")
        os.replace(partial, target)
        print(f"written: {target}")


if __name__ == "__main__":
    main()
