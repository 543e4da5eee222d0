"""What a front costs: HyperDPO, one net for every preference, beside DPO-LS, one net a preference.

    python -m benchmarks.speed.front_cost [--quick] [--rounds 3] [--device cuda]

Three objectives of the MSLR-shaped synthetic task (136 features), 66 preferences (the lattice of 1/10), an MLP 64-32
that starts from one given reference. Training: whole fits of the same epochs with the same settings; how many epochs
each needs for its front is a question of quality, which benchmarks/FRONTS.md answers. Scoring: the test lists for all
preferences. "Times one preference": the time of 66 preferences over that of one, same net, data and their transform
included; where w enters in one place of several, that place is named, and what it costs everywhere stands beside it.
One thread, processor time (wall time on a GPU), rounds interleaved.
"""

from __future__ import annotations

from benchmarks.speed.measure import Timing, arguments, one_thread, race, row, write

one_thread()

import warnings  # noqa: E402

from ltr.datasets import load  # noqa: E402
from ltr.errors import InputError  # noqa: E402
from ltr.losses import loss  # noqa: E402
from ltr.methods import make_method  # noqa: E402
from ltr.objectives import lattice  # noqa: E402
from ltr.rankers import make_ranker  # noqa: E402
from ltr.rankers.config import TrainingConfig  # noqa: E402

NETS = {
    "mlp 64-32": ("mlp", {"hidden": [64, 32]}),
    "transformer 32, 2 blocks": ("transformer", {"width": 32, "blocks": 2, "heads": 2, "d_ff": 64, "dropout": 0.0}),
    "transformer 64, 2 blocks": ("transformer", {"dropout": 0.0}),  # the default net
}
# What issue 6 wants at 4 times one preference at most: the last block, or the head. The others say what they cost.
CHEAP = {
    "film of the last": ("film", "last"),
    "prompt of the last block": ("prompt", "last"),
    "head": ("head", None),
    "mixture": ("mixture", None),
}
FULL = {"film everywhere": ("film", None), "prompt everywhere": ("prompt", None), "concat": ("concat", None)}
PACKAGES = ("torch", "lightning", "numpy")


class Fronts:
    """The methods on one task, from one reference ranker.

    Args:
        queries: of the task.
        parts: of the lattice; 10 makes 66 preferences.
        epochs: of every training.
        accelerator: cpu or gpu.
    """

    def __init__(self, queries: int, parts: int, epochs: int, accelerator: str):
        self.task, self.preferences = load(f"synthetic:queries={queries},objectives=3"), lattice(3, parts)
        self.accelerator, self.training = accelerator, {"epochs": epochs, "patience": 0}
        self.base = self.reference("mlp", NETS["mlp 64-32"][1])
        self.fitted = {}

    def reference(self, net: str, params: dict):
        settings = {"loss": loss("listnet"), "training": TrainingConfig(epochs=1, patience=0)}
        return make_ranker(net, **settings, **params).fit(self.task.train, self.task.vali, accelerator=self.accelerator)

    def fit(self, label: str, method: str, **params):
        def run() -> None:
            made = make_method(method, ranker_params=NETS["mlp 64-32"][1], training=self.training, **params)
            # One net for all preferences chooses its epoch by a few of them, its default.
            asked = self.preferences if made.claims["preference"] == "fixed" else None
            self.fitted[label] = made.fit(self.task, self.base, preferences=asked, accelerator=self.accelerator)

        return run

    def score(self, label: str):
        # The reference is scored once for all of them, and is not what is compared.
        s_ref = self.base.score(self.task.test)
        return lambda: self.fitted[label]._plain(self.task.test, self.preferences, s_ref)

    def score_one_by_one(self, label: str):
        s_ref, models = self.base.score(self.task.test), self.fitted[label].models
        return lambda: [model.score(self.task.test, self.preferences[:1], reference=s_ref) for model in models]

    def conditioned(self, kind: str, only: str | None, net: str, params: dict):
        """(one preference, all preferences) of a net that w enters by `kind`."""
        how = {"kind": kind} if only is None else {"kind": kind, "only": only}
        # Scoring looks at no weights, so hardly trained ones will do.
        settings = {"conditioning": how, "training": {"epochs": 1, "patience": 0}}
        made = make_method("hyperdpo", ranker=net, ranker_params=params, **settings)
        base = self.reference(net, params)
        made.fit(self.task, base, preferences=self.preferences[:1], accelerator=self.accelerator)
        s_ref, test = made.base.score(self.task.test), self.task.test
        return (
            lambda: made._plain(test, self.preferences[len(self.preferences) // 2][None], s_ref),
            lambda: made._plain(test, self.preferences, s_ref),
        )


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    gpu = args.device == "cuda"
    rounds = args.rounds or 3
    fronts = Fronts(*((60, 2, 1) if args.quick else (120, 10, 3)), "gpu" if gpu else "cpu")
    clock, points = "s" if gpu else "s of processor time", len(fronts.preferences)
    common = {"packages": PACKAGES, "on": args.device, "lower": True}

    def seconds(timing: Timing) -> float:
        return timing.wall if gpu else timing.cpu

    names = {"one": "DPO-LS one after another", "stacked": "DPO-LS stacked"}
    found = race(
        {
            "HyperDPO": fronts.fit("HyperDPO", "hyperdpo"),
            names["one"]: fronts.fit("one", "dpo-ls", stacked=False),
            names["stacked"]: fronts.fit("stacked", "dpo-ls"),
        },
        rounds,
    )
    scored = race(
        {
            "HyperDPO": fronts.score("HyperDPO"),
            names["one"]: fronts.score_one_by_one("one"),
            names["stacked"]: fronts.score("stacked"),
        },
        rounds,
    )
    rows = []
    for what, times in (("train", found), ("score", scored), ("train and score", None)):
        spent = (
            {name: seconds(found[name]) + seconds(scored[name]) for name in found}
            if times is None
            else {name: seconds(timing) for name, timing in times.items()}
        )
        ours, wanted = spent.pop("HyperDPO"), times is None
        for name, factor in ((names["one"], 20.0), (names["stacked"], 5.0)):
            case = f"{what} a front of {points} points, m = 3: HyperDPO and {name}"
            rows.append(row(case, clock, ours, {name: spent[name]}, target_ratio=factor if wanted else None, **common))
        stacked = spent[names["stacked"]]
        rows.append(
            row(
                f"{what} a front of {points} points, m = 3: DPO-LS",
                clock,
                stacked,
                {names["one"]: spent[names["one"]]},
                **common,
            )
        )

    for label, (net, params) in NETS.items():
        for place, (kind, only) in (CHEAP | FULL).items():
            try:
                one, all_of_them = fronts.conditioned(kind, only, net, params)
            except InputError:  # prompts are for list transformers only
                continue
            times = race({"one": one, "all": all_of_them}, rounds)
            ratio = seconds(times["all"]) / seconds(times["one"])
            rows.append(
                row(
                    f"score {points} preferences: {label}, {place}",
                    "times one preference",
                    ratio,
                    target=4.0 if place in CHEAP else None,
                    **common,
                )
            )
    write("front_cost", rows, args.quick)


if __name__ == "__main__":
    main()
