"""A suite of 10,000 finished cells: what a second call costs before it trains anything, and what its pages cost.

    python -m benchmarks.speed.resume [--quick]

One cell is run, the others are copies of it under their own seed, as whole as those a suite leaves (hashes and DONE).
Clocks are processor time of one process; everything is in the page cache.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import arguments, one_thread, row, write

CELLS, QUICK = 10_000, 200
TARGETS = {"resume scan": 5.0, "nothing to do": 3.0, "report": 60.0}
DATA = "synthetic:queries=40,objectives=1,features=50"


def cells(out: Path, count: int):
    """A suite of so many cells, all finished in `out`."""
    from ltr.atomic import sha256
    from ltr.bench.suite import Suite, System, check
    from ltr.bench.suite.plan import Resolver, main_jobs
    from ltr.runs import execute

    system = System("Random", "random", baseline=True)
    suite = check(Suite("Cells", (DATA,), (system,), name="cells", seeds=tuple(range(count)), measures=("nDCG@10",)))
    jobs, resolved = main_jobs(suite, {DATA: ("Fold1",)}), Resolver()
    first = out / jobs[0].folder
    if execute(jobs[0].config, first, device="cpu").status != "done":
        raise SystemExit("the first cell failed")
    record, config = json.loads((first / "record.json").read_text()), (first / "config.toml").read_text()
    names = [p.relative_to(first) for p in first.rglob("*") if p.is_file() and p.name[0] != "."]
    for job in jobs[1:]:
        folder = out / job.folder
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name.name not in ("record.json", "config.toml", "DONE"):
                os.link(first / name, folder / name)
        (folder / "config.toml").write_text(config.replace("seed = 0\n", f"seed = {job.seed}\n"))
        own = {"config_hash": resolved.hash(job), "config": {**record["config"], "seed": job.seed}}
        hashes = {**record["artefacts"], "config.toml": sha256(folder / "config.toml")}
        (folder / "record.json").write_text(json.dumps({**record, **own, "artefacts": hashes}, indent=1) + "\n")
        (folder / "DONE").write_text(sha256(folder / "record.json") + "\n")
    return suite


def timed(step: Callable[[], Any]) -> tuple[float, float]:
    """Wall and processor seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    args = arguments(__doc__).parse_args()
    one_thread()
    count = QUICK if args.quick else CELLS
    from ltr.bench import run_suite

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        suite = cells(out, count)
        steps = {
            "resume scan": lambda: _scan(suite, out),
            "report": lambda: run_suite(suite, out, workers=1, progress=False),  # nothing is trained
            "nothing to do": lambda: run_suite(suite, out, workers=1, progress=False),
        }
        rows = []
        for name, step in steps.items():
            wall, cpu = timed(step)
            rows.append(
                row(
                    f"{name}, {count:,} finished cells",
                    "s of processor time",
                    cpu,
                    lower=True,
                    target=None if args.quick else TARGETS[name],
                    note=f"{wall:.1f} s of wall time" + ("; all pages" if name == "report" else ""),
                    packages=("pyarrow", "pandas", "matplotlib"),
                    name="resume",
                )
            )
        write("resume", rows, args.quick)  # before ten thousand folders are taken away


def _scan(suite, out: Path) -> None:
    """What a call with something left to do looks at before it trains: every cell."""
    from rich.console import Console

    from ltr.bench.execution.launch import Launch
    from ltr.bench.execution.plan_file import Plan
    from ltr.bench.execution.pool import WorkerPool
    from ltr.bench.execution.workers import Setting
    from ltr.bench.suite.plan import main_jobs

    setting = Setting(out)
    plan = Plan(suite, suite, {DATA: ("Fold1",)}, {})
    launch = Launch(plan, setting, WorkerPool(setting, 1), Console(quiet=True))
    launch.work_off(main_jobs(replace(suite), {DATA: ("Fold1",)}), "Runs")
    if launch.ran:
        raise SystemExit("a cell is not finished")


if __name__ == "__main__":
    main()
