"""Inputs that a fuzzer looks for by the branches they reach (atheris, Apache 2.0), judged as those of `fuzz` are.

The fuzzer takes its process over and ends it, so every target gets processes of its own:
`python -m tests.faults.guided TARGET SEED SECONDS CASES FOLDER` counts in FOLDER/counts.json.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from . import fuzz
from .outcomes import Case, Tally

_TURN = 60.0  # seconds of a process
_WRITTEN = 200  # inputs between two writings of the counts: what a killed process has tried is not lost


def is_there() -> bool:
    return importlib.util.find_spec("atheris") is not None


def run(tally: Tally, seed: int, *, until: float, cases: int, root: Path, targets: tuple[str, ...] = ()) -> None:
    """Every target in turn until the time is over or so many inputs were tried; arguments as `fuzz.run`."""
    names = list(targets or fuzz.TARGETS)
    left = (until - time.monotonic()) / len(names)
    turn, done, k = max(2.0, min(_TURN, left)), 0, 0
    while done < cases and time.monotonic() < until:
        name, folder = names[k % len(names)], root / names[k % len(names)].replace(" ", "-")
        (folder / "corpus").mkdir(parents=True, exist_ok=True)
        counts = folder / "counts.json"
        counts.unlink(missing_ok=True)
        words = [name, str(seed + k), str(turn), str(cases - done), str(folder)]
        here = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-m", "tests.faults.guided", *words]
        ended = subprocess.run(command, cwd=here, capture_output=True, text=True, errors="replace")
        found = json.loads(counts.read_text()) if counts.is_file() else {"counts": {}, "told": []}
        for outcome, n in found["counts"].items():
            tally.counts["guided", name, outcome] += n
            done += n
        for outcome, told, repeat in found["told"]:
            tally.counts["guided", name, outcome] -= 1  # counted above
            tally.add(Case("guided", name, outcome, repeat, told))
        if ended.returncode != 0:
            tally.add(Case("guided", name, "traceback", " ".join(command[1:]), ended.stderr[-600:]))
        tally.commands["guided"] += sum(found["counts"].values())
        k += 1


class _Judge:
    """Counts what comes of each input, and ends the process when the time is over."""

    def __init__(self, name: str, until: float, cases: int, folder: Path):
        self.target, self.until, self.cases, self.folder = fuzz.TARGETS[name][1], until, cases, folder
        self.name, self.counts, self.told = name, Counter(), {}

    def __call__(self, data: bytes) -> None:
        outcome, told = fuzz.one(self.target, data, self.folder)
        self.counts[outcome] += 1
        if told and told[:80] not in self.told:
            repeat = f"fuzz.one(fuzz.TARGETS[{self.name!r}][1], {data[:300]!r}, Path('.'))"
            self.told[told[:80]] = (outcome, told, repeat)
        done = sum(self.counts.values())
        over = done >= self.cases or time.monotonic() > self.until
        if over or done % _WRITTEN == 0:
            beside = self.folder / "counts.new"
            beside.write_text(json.dumps({"counts": self.counts, "told": list(self.told.values())}))
            os.replace(beside, self.folder / "counts.json")
        if over:
            os._exit(0)


def _fuzz(name: str, seed: int, seconds: float, cases: int, folder: Path) -> None:
    import atheris

    make, judge, _ = fuzz.TARGETS[name]
    valid = make(f"{seed}-{name}", 20)
    for k, whole in enumerate(valid):
        (folder / "corpus" / f"{seed}-{k}").write_bytes(whole)
    # Machine code is made of the kernels' own bytecode; everything else of ltr tells where it has been.
    with atheris.instrument_imports(
        include=["ltr"], exclude=[f"ltr.datasets.readers.{name}" for name in ("svmlight_kernel", "spans_kernel")]
    ):
        for whole in valid[:5]:
            fuzz.one(judge, whole, folder)
    counted = _Judge(name, time.monotonic() + seconds, cases, folder)
    options = [
        f"-seed={seed}",
        "-max_len=4096",
        "-timeout=0",
        "-rss_limit_mb=0",
        "-print_final_stats=0",
        "-verbosity=0",
    ]
    atheris.Setup(["guided", *options, str(folder / "corpus")], counted)
    atheris.Fuzz()


if __name__ == "__main__":
    _fuzz(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), Path(sys.argv[5]))
