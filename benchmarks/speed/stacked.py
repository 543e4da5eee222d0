"""Fleets: many small nets trained as one batched program, beside the same nets one after another.

    python -m benchmarks.speed.stacked [--quick] [--rounds 3] [--device cuda]

The MSLR-shaped synthetic task (136 features), 11 or 4 preferences between two objectives (a GPU: 64), linear
scalarisation of ListNet, whole fits of the same epochs: reading the lists, labels, Lightning, validation and all.
"A step" is the median step of those fits, its share a member. One thread, processor time (wall time on a GPU), rounds
interleaved. Every contestant ends with the same nets; `tests/test_stacked_training.py` holds the members to that.

Seeds of a leaderboard have their own orders of the lists and go through their nets one by one (bit for bit what they
are alone), or share the order of the first. "A leaderboard" is a whole suite, `ltr bench run`, also with --stacked:
linear and MLP, five seeds, with reading, scoring, measuring, records and pages.
"""

from __future__ import annotations

from benchmarks.speed.measure import Timing, arguments, one_thread, race, row, write

one_thread()

import tempfile  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

from ltr.bench import run_suite  # noqa: E402
from ltr.bench.suite import Suite, System, check  # noqa: E402
from ltr.datasets import load  # noqa: E402
from ltr.losses import loss  # noqa: E402
from ltr.losses.preference.base import preference_loss  # noqa: E402
from ltr.rankers import make_ranker  # noqa: E402
from ltr.rankers.conditional.config import ConditioningConfig  # noqa: E402
from ltr.rankers.conditional.ranker import ConditionedRanker  # noqa: E402
from ltr.rankers.config import TrainingConfig  # noqa: E402
from ltr.rankers.ensembles.stacked import fit_stacked, score_stacked  # noqa: E402

NETS = (  # name, config, the ratio to one after another that is asked for
    ("linear", {}, 1.5),
    ("mlp", {"hidden": (64, 32)}, 1.5),
    ("mlp", {"hidden": (256, 128)}, None),
    ("transformer", {"width": 32, "blocks": 1, "heads": 2, "d_ff": 64, "dropout": 0.0}, None),
)
PACKAGES = ("torch", "lightning", "numpy")


class Contest:
    """One net, its preferences, and both ways to train and score it.

    Args:
        task: lists with two objectives.
        net, params: name and config of the ranker.
        members: preferences, evenly between the corners.
        accelerator: cpu or gpu.
    """

    def __init__(self, task, net: str, params: dict, members: int, epochs: int, accelerator: str):
        self.task, self.net, self.params = task, net, params
        self.training = TrainingConfig(epochs=epochs, patience=0)
        share = np.linspace(0, 1, members)
        self.preferences = np.stack([share, 1 - share], 1)
        self.accelerator, self.trained = accelerator, task.train.n_documents * epochs * members

    def _rankers(self) -> list[ConditionedRanker]:
        how = ConditioningConfig("none", "scratch")
        return [ConditionedRanker(self.net, self.params, how, self.training) for _ in self.preferences]

    def _criteria(self) -> list:
        from ltr.methods.criteria import Fixed, Importance

        return [Importance(preference_loss("listnet-dpo"), Fixed(tuple(w))) for w in self.preferences.tolist()]

    def alone(self) -> dict[str, float]:
        self.one_by_one = [
            ranker.fit(
                self.task.train, self.task.vali, criterion=criterion, preferences=w[None], accelerator=self.accelerator
            )
            for ranker, criterion, w in zip(self._rankers(), self._criteria(), self.preferences, strict=True)
        ]
        return {"step": self.one_by_one[-1].cost["step_seconds"]}

    def together(self) -> dict[str, float]:
        from ltr.methods.stacked import StackedCriterion

        self.stacked = fit_stacked(
            self._rankers(),
            self.task.train,
            self.task.vali,
            criterion=StackedCriterion(self._criteria()),
            preferences=self.preferences,
            accelerator=self.accelerator,
        )
        return {"step": self.stacked[-1].cost["step_seconds"]}

    def score_alone(self) -> None:
        for ranker in self.one_by_one:
            ranker.score(self.task.test, self.preferences[:1])

    def score_together(self) -> None:
        score_stacked(self.stacked, self.task.test)


def seeds(task, number: int, epochs: int, accelerator: str):
    """Seeds of a leaderboard, plain rankers of one objective: alone, together, and together in one order."""

    def rankers():
        training = TrainingConfig(epochs=epochs, patience=0)
        return [make_ranker("mlp", loss=loss("lambdarank"), training=training, seed=s) for s in range(number)]

    def alone() -> None:
        for ranker in rankers():
            ranker.fit(task.train, task.vali, accelerator=accelerator)

    def together(order: str) -> Callable[[], Any]:
        return lambda: fit_stacked(rankers(), task.train, task.vali, order=order, accelerator=accelerator)

    return alone, together("own"), together("first")


def board(queries: int, epochs: int, device: str) -> tuple[dict[str, Callable[[], None]], int]:
    """A small leaderboard as one suite: the two ways to run it, and how many runs it is."""
    data = f"synthetic:queries={queries},objectives=1"
    systems = (System("Linear", "linear", losses=("listnet",)), System("MLP", "mlp", losses=("lambdarank",)))
    training = {"epochs": epochs, "patience": 0}
    suite = check(Suite("Speed", (data,), systems, name="speed", seeds=tuple(range(5)), training=training))

    def run(stacked: bool) -> Callable[[], None]:
        def step() -> None:
            with tempfile.TemporaryDirectory() as out:
                run_suite(suite, out, workers=1, threads=1, device=device, stacked=stacked, progress=False)

        return step

    return {"one after another": run(False), "stacked": run(True)}, len(systems) * len(suite.seeds)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    gpu = args.device == "cuda"
    rounds, accelerator = args.rounds or 3, "gpu" if gpu else "cpu"
    queries, epochs = (100, 2) if args.quick else (300, 3)
    asked = 4 if args.quick else 64 if gpu else 11
    task = load(f"synthetic:queries={queries},objectives=2")
    clock = "" if gpu else " of processor time"
    common = {"packages": PACKAGES, "on": args.device}

    def seconds(timing: Timing) -> float:
        return timing.wall if gpu else timing.cpu

    def beside(case: str, found: dict[str, Timing], work: float, wanted: float | None) -> dict:
        ours, peer = seconds(found["stacked"]), seconds(found["one after another"])
        return row(
            case,
            f"documents/s{clock}",
            work / ours,
            {"one after another": work / peer},
            target_ratio=wanted and (20.0 if gpu else wanted),
            **common,
        )

    rows = []
    for net, params, wanted in NETS:
        members = asked if wanted or gpu else 4  # those without a target take minutes on a processor
        contest = Contest(task, net, params, members, epochs, accelerator)
        name = f"{net} {'-'.join(map(str, params['hidden']))}" if "hidden" in params else net
        found = race({"one after another": contest.alone, "stacked": contest.together}, rounds, warm=True)
        rows.append(beside(f"fit {members} preferences: {name}", found, contest.trained, wanted))
        steps = {key: 1e3 * timing.fact("step") for key, timing in found.items()}
        peer = {"one after another": steps["one after another"]}
        rows.append(
            row(
                f"a step of one of {members} members: {name}",
                f"ms{clock}",
                steps["stacked"],
                peer,
                lower=True,
                **common,
            )
        )
        found = race({"one after another": contest.score_alone, "stacked": contest.score_together}, rounds)
        rows.append(beside(f"score {members} members: {name}", found, task.test.n_documents * members, None))
    number = 4 if args.quick else 8
    alone, own, first = seeds(task, number, epochs, accelerator)
    found = race({"one after another": alone, "stacked": own, "first": first}, rounds)
    trained = task.train.n_documents * epochs * number
    rows.append(beside(f"fit {number} seeds of lambdarank: mlp 64-32", found, trained, None))
    found["stacked"] = found["first"]
    rows.append(beside(f"fit {number} seeds of lambdarank in one order: mlp 64-32", found, trained, None))
    suites, runs = board(queries, 5 if args.quick else 20, args.device)
    took = {name: seconds(timing) for name, timing in race(suites, rounds).items()}
    peer = {"one after another": took["one after another"] / runs}
    case = "a run of a leaderboard: linear and mlp, 5 seeds"
    rows.append(row(case, f"s{clock}", took["stacked"] / runs, peer, lower=True, **common))
    write("stacked", rows, args.quick)


if __name__ == "__main__":
    main()
