"""SIGINT, SIGTERM and SIGHUP at any moment of a command: its exit code, its words, and the same command again."""

from __future__ import annotations

import random
import re
import shutil
import signal
import time
from pathlib import Path

from .kills import Job, jobs, judged, prepare
from .outcomes import Case, Tally
from .processes import Process, finished

NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    tally: Tally,
    seed: int,
    *,
    until: float,
    cases: int,
    root: Path,
    kinds: tuple[str, ...] = ("net", "trees", "method", "bench", "convert"),
) -> None:
    """Signals until the time is over or so many were sent; arguments as `damage.run`."""
    whole, known = prepare(root, kinds), jobs()
    for k in range(cases):
        if time.monotonic() > until:
            return
        name = kinds[k % len(kinds)]
        rng, job = random.Random(seed + k), known[name]
        number, twice = NUMBERS[(k // len(kinds)) % len(NUMBERS)], rng.random() < 0.2
        process = Process(job.words, Path("log.txt"))
        moment = 0.03 + rng.random() * whole[name][1]
        time.sleep(moment)
        process.send(number)
        if twice:
            time.sleep(0.02)
            process.send(number)
        code = process.wait()
        tally.commands["signals"] += 1
        what = f"seed {seed + k}: ltr {' '.join(job.words)}, {'twice ' * twice}{number.name} after {moment:.3f} s"
        outcome, told = _ended(job, whole[name], number, code, process, twice)
        after = finished(job.words, Path("log.txt"))
        if outcome == "right":
            outcome, told = judged(job, whole[name], after.code, after.said, after.hung)
        tally.add(Case("signals", f"{name} {number.name}", outcome, what, told))
        shutil.rmtree("out", ignore_errors=True)


def _ended(
    job: Job, whole: tuple[str, float, str], number: signal.Signals, code: int, process: Process, twice: bool
) -> tuple[str, str]:
    """How the command took the signal."""
    if process.hung:
        return "hang", "it does not end"
    # A signal that falls into a finaliser is Python's to print, and to forget.
    said = re.sub(r"Exception ignored in:.*?\nKeyboardInterrupt:? *(\n|$)", "", process.said, flags=re.DOTALL)
    if "Traceback" in said or code == 99:
        return "traceback", process.said[-600:]
    if code == 128 + number and "ltr: " in said and "stopped" in said:
        return "right", ""
    if code == 0 and Path("out").exists() and job.end(Path("out")) == whole[0]:
        return "right", "it was done before"
    if twice and code == -number:  # the second one comes when the handlers are given back
        return "right", ""
    return "traceback", f"exit {code}, expected {128 + number}: {process.said[-300:]}"
