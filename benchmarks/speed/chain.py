"""From scores to the bootstrap of a front, stage by stage: as arrays, as tensors of a device, one ranking at a time.

    python -m benchmarks.speed.chain [--quick] [--rounds 3] [--device cuda] [--queries 500]

A HyperDPO net (MLP 64-32) is scored for every preference of the lattice on MSLR-shaped synthetic test lists (136
features). Rankings of that shape, each between noisy opinions of the objectives, are measured by every objective's
nDCG@10 on every query; the points that are not dominated make the front; its hypervolume is taken for 1,000 resamples
of the queries. Stages: `ltr.runs.front_pipeline`, which a run and `ltr front` use. Ours: tensors on a GPU, arrays on
a CPU. "One at a time" sorts each ranking for each objective. All must say the same to 1e-9 from the same scores before
anything is timed. Processor time of one thread; wall time on a GPU, whose peers are arrays on the CPU.
"""

from __future__ import annotations

from benchmarks.speed.measure import Timing, arguments, one_thread, race, row, write

one_thread()

import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402

import numpy as np  # noqa: E402
import torch  # noqa: E402

from ltr.datasets import load  # noqa: E402
from ltr.fronts import hypervolumes, nondominated, paired_hypervolumes  # noqa: E402
from ltr.methods import make_method  # noqa: E402
from ltr.metrics import Judgements, evaluate  # noqa: E402
from ltr.objectives import lattice  # noqa: E402
from ltr.runs.front_pipeline import Clock, home_of, measured, points_of, scored  # noqa: E402

PACKAGES = ("torch", "numpy", "moocore")
MEASURE = "nDCG(gain=exp2,empty=skip)@10"
CASES = ((2, 10), (3, 10), (5, 4))  # objectives, H of the lattice: 11, 66 and 70 points
QUICK = ((2, 4), (3, 2))


class Front:
    """One method on one task, and its stages from what the stage before left.

    Args:
        objectives, partition: of the task and the lattice.
        queries: of the test lists.
        draws: of the bootstrap.
        device: cpu or cuda.
    """

    def __init__(self, objectives: int, partition: int, queries: int, draws: int, device: str):
        self.w, self.draws, self.device = lattice(objectives, partition), draws, device
        # Scoring looks at no weights, so a net that has hardly seen a list will do; test is a fifth of the queries.
        small, large = (load(f"synthetic:queries={n},objectives={objectives}") for n in (60, 5 * queries))
        params = {"ranker_params": {"hidden": [64, 32]}, "training": {"epochs": 1, "patience": 0}}
        self.method = make_method("hyperdpo", **params).fit(small, accelerator="gpu" if device == "cuda" else "cpu")
        self.split, self.names = large.test, large.objectives
        self.measures = [MEASURE] * objectives
        home = home_of(device, True)
        self.sides = {"arrays": None, "tensors": home}
        self.scores, self.values = {}, {}
        # What is measured are rankings as trained nets of these preferences leave them: all different.
        noise = np.random.default_rng(0).normal(size=(objectives, self.split.n_documents))
        opinions = 0.6 * np.stack([self.split.label(name) for name in self.names]) + noise
        steered = (self.w @ opinions).astype(np.float32)
        for name, where in self.sides.items():
            self.scores[name] = steered if where is None else torch.from_numpy(steered).to(where)
            self.values[name] = measured(self.split, self.scores[name], self.names, self.measures, where)
        self.member = nondominated(points_of(self.values["arrays"]))
        self.check()

    def check(self) -> None:
        """Every way finds the same."""
        expected = self.values["arrays"]
        for found in (self.values["tensors"].cpu().numpy(), self.one_at_a_time()):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
        draws = {name: self.bootstrap(name)() for name in self.sides}
        np.testing.assert_allclose(draws["tensors"], draws["arrays"], rtol=0, atol=1e-9)

    @property
    def what(self) -> str:
        m, points = len(self.names), len(self.w)
        return f"{points} points, m = {m}, {self.split.n_queries:,} queries, {self.split.n_documents:,} documents"

    def one_at_a_time(self) -> np.ndarray:
        """What a loop over `evaluate` costs; ideal orders are made once an objective."""
        judged = [Judgements(np.asarray(self.split.label(name)), self.split.offsets) for name in self.names]
        rows = [[evaluate(MEASURE, scores, each)[MEASURE] for each in judged] for scores in self.scores["arrays"]]
        return np.array(rows).swapaxes(1, 2)

    def timed(self, name: str, run: Callable[[], object]) -> Callable[[], None]:
        """A device has finished when its stage ends."""
        clock = Clock(self.sides[name])

        def stage() -> None:
            with clock.stage("it"):
                run()

        return stage

    def score(self, name: str):
        return self.timed(name, lambda: scored(self.method, self.split, self.w, self.sides[name]))

    def measure(self, name: str):
        given = (self.split, self.scores[name], self.names, self.measures, self.sides[name])
        return self.timed(name, lambda: measured(*given))

    def front(self, name: str):
        def run() -> None:
            points = points_of(self.values[name])
            inside = points[nondominated(points)]
            float(hypervolumes(inside, 0.0))

        return self.timed(name, run)

    def bootstrap(self, name: str):
        return lambda: paired_hypervolumes(self.values[name], self.member, 0.0, self.draws)

    def stages(self, ours: str, other: str) -> dict[str, dict[str, Callable]]:
        """stage -> contestant -> what it runs; "one" is one ranking and objective at a time."""
        # The nets of both sides lie on the one device, so scores that come over as arrays are no peer of their own.
        return {
            "score": {ours: self.score(ours)},
            "measure": {ours: self.measure(ours), other: self.measure(other), "one": self.one_at_a_time},
            "front": {ours: self.front(ours), other: self.front(other)},
            "bootstrap": {ours: self.bootstrap(ours), other: self.bootstrap(other)},
        }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--queries", type=int, help="of the test lists; 500, or 12 with --quick")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    gpu, rounds = args.device == "cuda", args.rounds or 3
    ours, other = ("tensors", "arrays") if gpu else ("arrays", "tensors")
    peer = {"arrays": "arrays on the CPU", "tensors": "tensors on the CPU"}[other]

    def seconds(timing: Timing) -> float:
        return timing.wall if gpu else timing.cpu

    rows = []
    for objectives, partition in QUICK if args.quick else CASES:
        front = Front(
            objectives, partition, args.queries or (12 if args.quick else 500), 50 if args.quick else 1000, args.device
        )
        stages = front.stages(ours, other)
        for stage, contestants in stages.items():
            times = {name: seconds(timing) for name, timing in race(contestants, rounds).items()}
            names = {other: peer, "one": "one ranking and objective at a time"}
            rows.append(
                row(
                    f"{stage}: {front.what}",
                    "ms" if gpu else "ms of processor time",
                    1e3 * times.pop(ours),
                    {names[name]: 1e3 * value for name, value in times.items()},
                    lower=True,
                    packages=PACKAGES,
                    on=args.device,
                    name="chain",
                )
            )
    write("chain-cuda" if gpu else "chain", rows, args.quick)


if __name__ == "__main__":
    main()
