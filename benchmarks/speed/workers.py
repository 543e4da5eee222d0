"""What it costs that many workers share a suite through nothing but its folder: sleeping runs, one worker and four.

    python -m benchmarks.speed.workers [--quick] [--cells 10000 --sleep 0.1]

A run sleeps and leaves three small files; all else is that of a suite: looking what has ended, a lease, a place of its
own, a rename. The overhead is processor time, so that a busy machine does not stretch it; contention is what four
workers spend on a run beyond one alone, and how often they found a lease taken.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.speed.measure import arguments, one_thread, row, write

CELLS, SLEEP, QUICK = 1_000, 0.02, 40
WORKERS = 4
DATA = "synthetic:queries=40,objectives=1,features=50"


def work(out: Path, cells: int, sleep: float, start: Any, told: Any) -> None:
    """One worker of them: what it spent, from the moment all were ready."""
    import ltr.runs
    from ltr.bench.execution.workers import Setting, Worker
    from ltr.bench.suite import Suite, System, check
    from ltr.bench.suite.plan import main_jobs

    suite = check(Suite("Cells", (DATA,), (System("Random", "random"),), name="cells", seeds=tuple(range(cells))))
    jobs = main_jobs(suite, {DATA: ("Fold1",)})
    record = ltr.runs.Record(out, "done")

    def execute(config, folder: Path, **options):
        (folder / "config.toml").write_text("")
        time.sleep(sleep)
        (folder / "record.json").write_text(json.dumps({"format": 1, "status": "done"}))
        (folder / "DONE").write_text("")
        return replace(record, folder=folder)

    worker = Worker(Setting(out))
    worker.task = lambda job: None  # type: ignore[method-assign]
    worker.warm_up = lambda job: None  # type: ignore[method-assign]
    worker.thread_limit = contextlib.nullcontext  # type: ignore[method-assign,assignment]
    ltr.runs.execute = execute
    taken, lost, hold = 0, 0, worker.cells.hold

    def counted(name: str):
        nonlocal taken, lost
        lease = hold(name)
        taken, lost = taken + (lease is not None), lost + (lease is None)
        return lease

    worker.cells.hold = counted  # type: ignore[method-assign]
    start.wait()
    wall, cpu = time.perf_counter(), time.process_time()
    worker.work([(job,) for job in jobs])
    spent = time.perf_counter() - wall, time.process_time() - cpu
    told.put((*spent, taken, lost))


def together(workers: int, cells: int, sleep: float) -> dict[str, float]:
    """Totals over the workers; the wall time is that of the slowest."""
    context = multiprocessing.get_context("spawn")
    start, told = context.Barrier(workers), context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (Path(folder), cells, sleep, start, told)
        processes = [context.Process(target=work, args=arguments) for _ in range(workers)]
        for process in processes:
            process.start()
        found = [told.get() for _ in processes]
        for process in processes:
            process.join()
        done = sum(1 for _ in Path(folder).glob("runs/*/*/*/*/DONE"))
    if done != cells:
        raise SystemExit(f"{done} of {cells} cells are done")
    walls, cpus, taken, lost = map(list, zip(*found))
    return {"wall": max(walls), "cpu": sum(cpus), "taken": sum(taken), "lost": sum(lost)}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--sleep", type=float, default=SLEEP)
    args = parser.parse_args()
    one_thread()
    cells, sleep = (QUICK, 0.001) if args.quick else (args.cells, args.sleep)
    rows, alone = [], 0.0
    for workers in (1, WORKERS):
        found = together(workers, cells, sleep)
        each = 1000 * found["cpu"] / cells
        ideal = cells * sleep / workers
        note = f"{found['wall']:.1f} s of wall time where {ideal:.1f} s are slept; {found['lost']} of "
        note += f"{found['taken'] + found['lost']} tries found the lease taken"
        case = f"{cells:,} runs of {sleep:g} s, {workers} worker{'s' * (workers > 1)}"
        options: dict[str, Any] = {"lower": True, "packages": ("filelock",), "name": "workers"}
        rows.append(row(case, "ms of processor time a run", each, target=10.0, note=note, **options))
        alone = alone or each
    more = {"lower": True, "packages": ("filelock",), "name": "workers"}
    rows.append(row("contention of four workers", "x the processor time of one", each / alone, target=2.0, **more))
    write("workers", rows, args.quick)


if __name__ == "__main__":
    main()
