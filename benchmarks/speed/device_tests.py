"""The tests that run on a device, for device.py: which they are, how they are started, what came of them.

Also a plugin of pytest (`-p benchmarks.speed.device_tests`) that writes down every outcome as it comes, so that a run
that is stopped in the middle has its numbers.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.speed.measure import ROOT

TESTS = ROOT / "tests"
QUICK = "test_ops.py"
OUTCOMES = "LTR_TEST_OUTCOMES"  # the plugin's file
MERCY = 10  # seconds a run that is stopped may take to end


class Outcome(NamedTuple):
    """What is known of a run, or was when it was stopped.

    Attributes:
        passed, skipped: numbers of tests.
        failed: names of tests that failed, and of files that could not be read.
        files: how many files were asked.
        seconds: so far.
        ended: whether pytest came to its end.
    """

    passed: int
    skipped: int
    failed: list[str]
    files: int
    seconds: float
    ended: bool = False


def device_files(quick: bool = False) -> list[Path]:
    """Test files with a test that LTR_TEST_DEVICE moves, or that asks for a GPU; only one of them for a quick run."""
    takes = re.compile(r"def test_\w+\([^)]*\bdevice\b|\bdef on_the_test_device\b|pytest\.mark\.gpu\b")
    files = sorted(path for path in TESTS.glob("test_*.py") if takes.search(path.read_text(encoding="utf-8")))
    return [path for path in files if path.name == QUICK] or files[:1] if quick else files


def run(gpu: bool, quick: bool, seconds: float, hear: Callable[[Outcome], None]) -> Outcome:
    """Runs them with the GPU, or the CPU, as their device; `hear` is told every two seconds how it stands."""
    files, workers = device_files(quick), min(12, len(os.sched_getaffinity(0)))
    folder = tempfile.TemporaryDirectory()
    log = Path(folder.name) / "outcomes.jsonl"
    log.touch()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-m",
        "device or gpu",
        "-p",
        "no:cacheprovider",
        "-p",
        "benchmarks.speed.device_tests",
        "--continue-on-collection-errors",
        *map(str, files),
    ]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    environment |= {"LTR_TEST_DEVICE": "cuda" if gpu else "cpu", OUTCOMES: str(log)}
    if not quick and workers > 1 and importlib.util.find_spec("xdist"):
        command[4:4] = ["-n", str(workers), "--dist", "worksteal"]
        environment |= {"OMP_NUM_THREADS": "1"}
    began, stopped = time.monotonic(), False
    end = began + max(seconds - MERCY, 1.0)
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=sys.stderr, process_group=0)

    def outcome() -> Outcome:
        return read(log, len(files), time.monotonic() - began, process.poll() is not None and not stopped)

    with folder:
        try:
            while time.monotonic() < end and process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(max(0.1, min(2.0, end - time.monotonic())))
                hear(outcome())
            if process.poll() is None:
                stopped = True
                process.send_signal(signal.SIGINT)  # it then says what failed
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(MERCY)
        finally:
            kill(process)
        return outcome()


def read(log: Path, files: int, seconds: float, ended: bool) -> Outcome:
    """From the plugin's file; the last line may be half a line."""
    worst: dict[str, str] = {}
    for line in log.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            name, outcome = json.loads(line)
            if worst.get(name) != "failed":
                worst[name] = outcome
    names = {outcome: [name for name, each in worst.items() if each == outcome] for outcome in set(worst.values())}
    passed, skipped = len(names.get("passed", ())), len(names.get("skipped", ()))
    return Outcome(passed, skipped, sorted(names.get("failed", ())), files, seconds, ended)


def kill(process: subprocess.Popen) -> None:
    """The process and its group, which it leads."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


# ---------------------------------------------------------------------------------------------------------- the plugin


def pytest_runtest_logreport(report) -> None:
    if report.when == "call" or report.outcome != "passed":  # what fails or is skipped before or after counts too
        _note(report)


def pytest_collectreport(report) -> None:
    if report.outcome == "failed":
        _note(report)


def _note(report) -> None:
    with open(os.environ[OUTCOMES], "a", encoding="utf-8") as file:
        file.write(json.dumps([report.nodeid, report.outcome]) + "\n")
