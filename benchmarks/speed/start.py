"""How long one waits before anything happens: import, help, and the quickstart.

    python -m benchmarks.speed.start [--quick]

Every start is a fresh interpreter, its files in the page cache and compiled, as pip leaves them; beside it, in the
same rounds, a bare interpreter and one that imports torch. Then, once and left out with --quick, what a user of a suite
waits for: the README's command from an empty folder to its page, the same again, its price, and the pages of 500 runs.
40 s of processor time are the 20 s that the two workers of the quickstart may take on two cores that are free.
"""

from __future__ import annotations

import compileall
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import ltr
from benchmarks.speed.measure import Timing, arguments, once, row, versions, write

STARTS = {
    "python -c pass": ["-c", "pass"],
    "import ltr": ["-c", "import ltr"],
    "ltr --help": ["-m", "ltr", "--help"],
    "import torch": ["-c", "import torch"],
}
TARGETS = {"import ltr": 0.3, "ltr --help": 0.5}
PACKAGES = ("torch", "lightning", "jsonargparse")


def started(arguments: list[str], **environment: str) -> Callable[[], dict]:
    """A fresh interpreter; tells the processor time of the child and of all it started, also of what outlived it."""

    def run() -> dict:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
            text=True,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)} ended with code {done.returncode}: {done.stderr[-500:].strip()}")
        _wait_for_orphans()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}

    return run


def _adopt_orphans() -> None:
    """What a child leaves behind becomes ours and not init's, so that its time is counted: workers of a suite are
    children of a process that ends a moment after their launcher."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER


def _wait_for_orphans() -> None:
    for _ in range(1000):
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.01)
        except ChildProcessError:
            return
    raise SystemExit("a process that was started does not end")


# What a user waits for, of everything that runs meanwhile: seconds of processor time at most.
FELT = {"quickstart": 40.0, "quickstart again": 3.0, "quickstart --dry-run": 5.0, "report of 500 runs": 5.0}


def felt() -> dict[str, tuple[float, dict]]:
    """Name -> wall seconds and facts of what a user of a suite waits for, from an empty folder on."""
    from benchmarks.speed.resume import cells

    with tempfile.TemporaryDirectory() as folder:
        out, many, data = Path(folder) / "out", Path(folder) / "many", str(Path(folder) / "data")

        def timed(*words: str) -> tuple[float, dict]:
            wall, _, facts = once(started(["-m", "ltr", "bench", *words], LTR_DATA=data))
            return wall, facts

        first = ("quickstart", "--out", str(out), "--quiet")
        found = {"quickstart": timed(*first), "quickstart again": timed(*first)}
        if not list(out.rglob("*.html")):
            raise SystemExit("the quickstart wrote no report")
        found["quickstart --dry-run"] = timed("quickstart", "--dry-run", "--out", str(many))
        from ltr.bench import run_suite

        run_suite(cells(many, 500), many, workers=1, progress=False)  # nothing is trained
        found["report of 500 runs"] = timed("report", str(many), "--quiet")
    return found


def main() -> None:
    args = arguments(__doc__).parse_args()
    _adopt_orphans()
    compileall.compile_dir(Path(ltr.__file__).parent, quiet=1)
    packages, rows = versions(*PACKAGES), []
    times = {name: Timing() for name in STARTS}
    for number in range((args.rounds or (3 if args.quick else 7)) + 1):
        for name, words in STARTS.items():
            timed = once(started(words))
            if number:  # the first round warms the page cache
                times[name].add(*timed)
    bare, torch = times["python -c pass"], times["import torch"]
    for name, target in TARGETS.items():
        timing = times[name]
        said = "bare Python {:.2f}, import torch {:.2f}".format
        rows.append(
            row(
                name,
                "s of processor time",
                timing.fact("cpu"),
                lower=True,
                target=target,
                note=said(bare.fact("cpu"), torch.fact("cpu")),
                packages=packages,
            )
        )
        rows.append(
            row(name, "s", timing.wall, lower=True, target=target, note=said(bare.wall, torch.wall), packages=packages)
        )
    for name, (wall, facts) in ({} if args.quick else felt()).items():
        unit = "s of processor time, two workers" if name == "quickstart" else "s of processor time"
        note = f"{wall:.1f} s of wall time; import torch {torch.fact('cpu'):.2f}"  # how fast the machine is that day
        options = {"target": FELT[name], "note": note, "packages": packages}
        rows.append(row(f"ltr bench {name}", unit, facts["cpu"], lower=True, threads=2, **options))
    write("start", rows, args.quick)


if __name__ == "__main__":
    main()
