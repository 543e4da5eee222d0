"""How near the plug-in rule comes to the true front, by size of data: `python benchmarks/plug_in_share.py`.

The synthetic task knows its law, so the front of the ranker that knows the law but not the drawn grades is the best
there can be (`Truth.front`, expected over the grades). A system's share is the hypervolume of its front over that of
the true front, on the same test lists, both in expectation and above the point of a random ranking. Two objectives, 11
preferences, one seed; every size is a task of its own, 60 % of its queries in train and 20 % in validation; all are
tested on the same lists. Rounds, leaves and epochs are those below, untuned.

Writes results/plug-in-share/share.json, system by system (what lies there is not run again), and share.png beside it.
About ten minutes of one core, most of them for the largest size.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from ltr.atomic import whole_file
from ltr.datasets import load
from ltr.fronts.hypervolume import hypervolume
from ltr.methods import make_method
from ltr.objectives import lattice
from ltr.plot_style import LINE, MARKERS, PALETTE, SOFT, canvas
from ltr.types import Split, Task

SIZES = (250, 1_000, 4_000, 16_000)
TREES = {"ranker": "lightgbm", "ranker_params": {"rounds": 100, "leaves": 31}}
SYSTEMS: dict[str, dict[str, Any]] = {
    "trees, squared": {**TREES, "form": "squared"},
    "trees, softmax": {**TREES, "form": "softmax"},
    "trees, mixture": {**TREES, "form": "mixture"},
    "net, softmax": {"ranker": "mlp", "ranker_params": {"hidden": [64, 32]}, "form": "softmax"},
}
STEPS = 800  # of a net's training, 16 lists each, as epochs: small data are seen more often
W = lattice(2, 10)
HOME = Path(__file__).with_name("results") / "plug-in-share"


def training(lists: int) -> dict[str, Any]:
    """Settings of the nets."""
    epochs = max(4, round(STEPS * 16 / lists))
    return {"epochs": epochs, "patience": 0, "batch_size": 16, "learning_rate": 0.004, "schedule": "cosine"}


def measured(name: str, task: Task, test: Split, reference: np.ndarray, best: float) -> dict[str, Any]:
    """The row of a system."""
    params, seed = SYSTEMS[name], task.facts["seed"]
    net = {"training": training(task.train.n_queries)} if params["ranker"] == "mlp" else {}
    method = make_method("plug-in", seed=seed, **params, **net).fit(task, accelerator="cpu")
    points = task.facts["truth"].expected(test, method.score(test, W))
    row = {
        "system": name,
        "queries": task.facts["queries"],
        "seed": seed,
        "train": task.train.n_queries,
        "share": hypervolume(points, reference) / best,
        "cpu_seconds": method.cost["cpu_seconds"],
        "operations": method.cost["operations"],
        "points": points.tolist(),
    }
    print(f"{row['queries']:>7,} queries  {name:<16} {row['share']:.3f}  {row['cpu_seconds']:.0f} s", flush=True)
    return row


def draw(rows: list[dict], path: Path) -> None:
    """Share against queries, a line a system."""
    with canvas(5.2, 3.4) as (figure, ((axes,),)):
        for i, name in enumerate(SYSTEMS):
            own = sorted((r["queries"], r["share"]) for r in rows if r["system"] == name)
            axes.plot(*zip(*own, strict=True), color=PALETTE[i], marker=MARKERS[i], label=name)
        axes.axhline(1, color=SOFT, linewidth=0.8, linestyle="--")
        axes.set_xscale("log")
        ticks = sorted({r["queries"] for r in rows})
        axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
        axes.minorticks_off()
        axes.grid(axis="y", color=LINE)
        axes.set_xlabel("queries of the task")
        axes.set_ylabel("share of the true front's hypervolume")
        axes.set_title("Plug-in rule, synthetic task, m = 2")
        axes.legend(loc="lower right")
        figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="queries of the tasks")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--to", type=Path, default=HOME, help="folder of the results")
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    file = asked.to / "share.json"
    rows = json.loads(file.read_text())["rows"] if file.is_file() else []
    held = load("synthetic:queries=1000,features=50,seed=1000")  # grades and documents of no task above
    test, truth = held.test, held.facts["truth"]
    shuffled = np.random.default_rng(0).random((20, test.n_documents))
    reference = truth.expected(test, shuffled).mean(0)
    front = truth.front(test, W, expected=True)
    facts = {"reference": reference.tolist(), "true_front": front.tolist(), "preferences": W.tolist()}
    for queries in asked.sizes:
        there = {row["system"] for row in rows if (row["queries"], row["seed"]) == (queries, asked.seed)}
        missing = [name for name in SYSTEMS if name not in there]
        task = load(f"synthetic:queries={queries},features=50,seed={asked.seed}") if missing else held
        for name in missing:
            rows.append(measured(name, task, test, reference, hypervolume(front, reference)))
            with whole_file(file) as beside:
                beside.write_text(json.dumps({**facts, "rows": rows}, indent=1) + "\n")
            draw(rows, asked.to / "share.png")
    print(f"wrote {file} and share.png")


if __name__ == "__main__":
    main()
