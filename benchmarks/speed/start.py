"""How long one waits before anything happens: import, help, and the quickstart.

    python -m benchmarks.speed.start [--quick]

Every start is a fresh interpreter, its files in the page cache; beside it, in the same rounds, a bare interpreter and
one that imports torch. The quickstart is the README's command, from an empty folder to its report, once (left out with
--quick). Its wall time means something on two cores that are free.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

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
    """A fresh interpreter; tells the processor time of the child and of what it started."""

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
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime}

    return run


def quickstart(*options: str) -> tuple[float, dict]:
    """Wall seconds and facts of `ltr bench quickstart` in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        words = ["-m", "ltr", "bench", "quickstart", "--out", str(out), "--quiet", *options]
        wall, _, facts = once(started(words, LTR_DATA=str(Path(folder) / "data")))
        if not list(out.rglob("*.html")):
            raise SystemExit("the quickstart wrote no report")
    return wall, facts


def main() -> None:
    args = arguments(__doc__).parse_args()
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
    if not args.quick:
        wall, facts = quickstart()
        note = f"{facts['cpu']:.0f} s of processor time"
        rows.append(
            row(
                "ltr bench quickstart, all of it",
                "s",
                wall,
                lower=True,
                target=180,
                note=note,
                threads=2,
                packages=packages,
            )
        )
    write("start", rows, args.quick)


if __name__ == "__main__":
    main()
