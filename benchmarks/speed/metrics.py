"""Measures per second, ours beside the libraries that compute them too.

    python -m benchmarks.speed.metrics [--quick] [--device cuda]

Data set S: 2,000 MSLR-shaped lists, 245,360 documents, grades 0-4 (53.5/31.0/12.6/1.9/1.0 %), one thread. Every
library gets its input in its own form before the clock starts, and must return our values under its own convention
before it is timed. Queries per second of processor time (of wall time on an accelerator, where peers stay on the CPU).
"""

from __future__ import annotations

from benchmarks.speed.measure import Timing, arguments, one_thread, race, row, write

one_thread()

import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from functools import partial  # noqa: E402

import numpy as np  # noqa: E402

from ltr.metrics import Judgements, bootstrap_interval, evaluate, group_letters, holm, paired_randomisation  # noqa: E402

NDCG = "nDCG(gain=exp2,empty=0)@10"
LINEAR = "nDCG(gain=linear,empty=0)@10"
TEN = ("nDCG", "DCG", "nDCG(gain=linear)", "DCG(gain=linear)", "ERR", "AP", "RR", "P", "R", "RBP")
GRID = [f"{name}@{k}" for name in TEN for k in (1, 5, 10)]
PACKAGES = (
    "numpy",
    "numba",
    "torch",
    "pytrec_eval-terrier",
    "ir-measures",
    "scikit-learn",
    "torchmetrics",
    "ranx",
    "scipy",
)


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


def compiled_loop(scores, labels, offsets):
    """A loop over lists compiled by numba: sort one list, add up ten discounted gains."""
    import numba

    @numba.njit
    def best_first(key, offsets, gains, weights):
        out = np.zeros(len(offsets) - 1)
        for q in range(len(out)):
            a, b = offsets[q], offsets[q + 1]
            order = np.argsort(-key[a:b])
            for r in range(min(10, b - a)):
                out[q] += gains[a + order[r]] * weights[r]
        return out

    gains, weights = 2.0**labels - 1, 1 / np.log2(np.arange(10) + 2.0)

    def run():
        best = best_first(gains, offsets, gains, weights)
        return np.divide(best_first(scores, offsets, gains, weights), best, out=np.zeros(len(best)), where=best > 0)

    return run, NDCG


def padded_torch(scores, labels, offsets):
    """One padded [queries, longest] tensor and torch.sort, padding sunk by -inf."""
    import torch

    lengths = np.diff(offsets)
    where = np.arange(lengths.max()) < lengths[:, None]
    padded_scores, padded_labels = np.full(where.shape, -np.inf, np.float32), np.zeros(where.shape)
    padded_scores[where], padded_labels[where] = scores, labels
    s, gains = torch.tensor(padded_scores), torch.tensor(2**padded_labels - 1)
    k = min(10, where.shape[1])
    discount = 1 / torch.log2(torch.arange(k) + 2.0).double()

    def run():
        got = (gains.gather(1, s.sort(1, descending=True).indices[:, :k]) * discount).sum(1)
        best = (gains.sort(1, descending=True).values[:, :k] * discount).sum(1)
        return torch.where(best > 0, got / best, 0.0).numpy()

    return run, NDCG


def bucketed_torch(scores, labels, offsets):
    """The same in batches of 64 lists of like length, as allRank's measure would be fed at best."""
    order = np.argsort(np.diff(offsets), kind="stable")
    parts = []
    for at in range(0, len(order), 64):
        lists = order[at : at + 64]
        rows = np.concatenate([np.arange(offsets[q], offsets[q + 1]) for q in lists])
        cut = np.concatenate([[0], np.cumsum(np.diff(offsets)[lists])])
        parts.append(padded_torch(scores[rows], labels[rows], cut)[0])

    def run():
        out = np.empty(len(order))
        out[order] = np.concatenate([part() for part in parts])
        return out

    return run, NDCG


def trec_dicts(scores, labels, offsets):
    run, qrel = {}, {}
    for q, (a, b) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        query, names = f"q{q:06}", [f"d{i}" for i in range(b - a)]  # some libraries return queries sorted by name
        run[query] = dict(zip(names, map(float, scores[a:b]), strict=True))
        qrel[query] = dict(zip(names, map(int, labels[a:b]), strict=True))
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


def irmeasures(scores, labels, offsets):
    import ir_measures

    run, qrel = trec_dicts(scores, labels, offsets)
    asked = [ir_measures.nDCG @ 10]
    return lambda: np.array([m.value for m in ir_measures.iter_calc(asked, qrel, run)]), LINEAR


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


def scipy_permutation(systems, draws):
    from scipy.stats import permutation_test

    return lambda: permutation_test(
        (systems[0], systems[1]),
        lambda a, b, axis: (a - b).mean(axis),
        vectorized=True,
        n_resamples=draws,
        permutation_type="samples",
        batch=100,
        rng=0,
    )


def scipy_bootstrap(systems, draws):
    from scipy.stats import bootstrap

    return lambda: bootstrap(
        tuple(systems),
        lambda *s, axis: np.stack([x.mean(axis) for x in s]),
        vectorized=True,
        paired=True,
        n_resamples=draws,
        batch=100,
        method="percentile",
        rng=0,
    )


# -- ours beside them --------------------------------------------------------------------------------------------------


class Race:
    """Data set S and what every case does with it: check the peers' values, race, make a row."""

    def __init__(self, lists: int, rounds: int, device: str):
        self.data, self.rounds, self.device = data_set_s(lists), rounds, device
        self.lists = len(self.data[2]) - 1
        self.unit = "queries/s of processor time" if device == "cpu" else "queries/s"
        self.mine = self.data
        if device != "cpu":
            import torch

            self.mine = tuple(torch.as_tensor(x, device=device) for x in self.data)
        self.judged = Judgements(self.mine[1], self.mine[2])
        self.expected = {text: next(iter(evaluate(text, *self.data).values())) for text in (NDCG, LINEAR)}

    def seconds(self, timing: Timing) -> float:
        return timing.cpu if self.device == "cpu" else timing.wall

    def row(self, case: str, ours: Callable, peers: dict[str, Callable] | None = None, **options) -> dict:
        ready, values = {"ours": ours}, {}
        for name, make in (peers or {}).items():
            try:
                ready[name] = self._checked(name, *make(*self.data))
            except ImportError:
                values[name] = "not installed"
        found = race(ready, self.rounds)
        rates = {name: self.lists / self.seconds(timing) for name, timing in found.items()}
        mine = rates.pop("ours")
        return row(case, self.unit, mine, rates | values, packages=PACKAGES, on=self.device, **options)

    def _checked(self, name: str, run: Callable, convention: str | None) -> Callable:
        if convention:
            values, ours = np.asarray(run()), self.expected[convention]
            if len(values) != len(ours):  # a library that only tells the mean
                ours = ours.mean()
            np.testing.assert_allclose(values, ours, rtol=2e-5, err_msg=name)
        return run


def measures(lists: int, rounds: int, device: str) -> list[dict]:
    """Queries per second of one measure and of many."""
    it = Race(lists, rounds, device)
    scores, judged = it.mine[0], it.judged
    double = judged.xp.floats(scores)
    double = double + 1e-9 * (double * 7.3 % 1)  # what float32 cannot hold
    tied = (scores * 4).round() / 4
    prepared = {"a compiled loop over lists": compiled_loop, "torch, batches of 64 by length": bucketed_torch}
    libraries = {
        "pytrec_eval": pytrec,
        "ir-measures": irmeasures,
        "ranx": ranx,
        "torchmetrics": torch_metrics,
        "scikit-learn": scikit_learn,
    }
    plain = {"numpy lexsort, 6 lines": flat_lexsort, "torch, one padded tensor": padded_torch}
    rows = [
        it.row(
            "nDCG@10, new labels (the ideal order included)",
            lambda: evaluate(NDCG, *it.mine),
            prepared | plain | libraries,
            target=100_000,
        ),
        it.row("nDCG@10, labels seen before", lambda: evaluate(NDCG, scores, judged), {"pytrec_eval": pytrec}),
        it.row("nDCG@10, float64 scores, labels seen before", lambda: evaluate(NDCG, double, judged)),
        it.row("nDCG@10, tied scores, labels seen before", lambda: evaluate(NDCG, tied, judged)),
        it.row(
            "10 measures at 3 cut-offs, labels seen before",
            lambda: evaluate(GRID, scores, judged),
            {"pytrec_eval (4 of them, and RR)": pytrec_grid},
        ),
        *(
            it.row(f"{text}, whole lists, labels seen before", partial(evaluate, text, scores, judged))
            for text in ("OPA", "MeanNDCG", "ERR", "AP")
        ),
    ]
    parts = {"all": lambda: evaluate(GRID, scores, judged), "sort": lambda: judged.lists.descending(scores)}
    found = {name: it.seconds(timing) for name, timing in race(parts, rounds).items()}
    note = "what all 30 values of a query cost, in units of the one sort that they share"
    times = row(
        "10 measures at 3 cut-offs, labels seen before",
        "times the sort alone",
        found["all"] / found["sort"],
        lower=True,
        note=note,
        packages=PACKAGES,
        on=device,
    )
    return [*rows, times]


def significance(quick: bool) -> list[dict]:
    """8 systems on 6,306 queries, the size of WEB30K's test part."""
    rng = np.random.default_rng(0)
    base = rng.beta(2, 2, 6306)
    systems = np.stack([np.clip(base + rng.normal(0.002 * i, 0.08, 6306), 0, 1) for i in range(8)])
    draws, theirs = (500, 100) if quick else (10_000, 1000)

    def compared() -> None:
        for system in systems:
            bootstrap_interval(system, draws=draws)
        group_letters(systems.mean(1), holm(paired_randomisation(systems, draws)))

    peers, missing = {}, {}
    for name, make in (("scipy permutation_test", scipy_permutation), ("scipy bootstrap", scipy_bootstrap)):
        try:
            peers[name] = make(systems, theirs)
        except ImportError:
            missing[name] = "not installed"
    found = race(
        {
            "all": compared,
            "pair": lambda: paired_randomisation(systems[:2], draws),
            **peers,
        },
        3,
    )
    rate = {name: theirs / found[name].cpu for name in peers} | missing
    note = f"{draws:,} draws of ours, {theirs:,} of the peer"
    return [
        row(
            f"paired bootstrap, {draws:,} resamples, 8 systems: intervals, and p of all 28 pairs",
            "s of processor time",
            found["all"].cpu,
            {},
            lower=True,
            target=1.0,
            packages=PACKAGES,
        ),
        row(
            "paired bootstrap of 8 systems",
            "resamples/s of processor time",
            draws / found["all"].cpu,
            {k: v for k, v in rate.items() if "bootstrap" in k},
            packages=PACKAGES,
            note=f"{note}; ours with the p values of all pairs",
        ),
        row(
            "paired randomisation, one pair",
            "draws/s of processor time",
            draws / found["pair"].cpu,
            {k: v for k, v in rate.items() if "permutation" in k},
            packages=PACKAGES,
            note=note,
        ),
    ]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu", help="where ours runs; peers stay on the CPU")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # a peer's deprecations are not our result
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        pass
    lists, rounds = (300, args.rounds or 3) if args.quick else (2000, args.rounds or 7)
    rows = measures(lists, rounds, args.device)
    on_cpu = args.device == "cpu"
    write(
        "metrics" if on_cpu else f"metrics-{args.device.split(':')[0]}",
        [*rows, *(significance(args.quick) if on_cpu else [])],
        args.quick,
    )


if __name__ == "__main__":
    main()
