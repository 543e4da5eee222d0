"""Everything worth knowing about a GPU in one command of a few minutes, and the CPU beside it.

    bash benchmarks/device.sh [--quick] [--minutes 8] [--only SECTION ...]

The tests that run on a device, then the sections of device_sections.py, each on the GPU and in small on the CPU. There
is a budget of minutes: a section that would not fit is skipped and one that outlives its share is stopped, with the
reason in the file. A section that fails stops no other. results/device.json (or $OUT/device.json) is written after
every row, so that a run that is killed leaves what it had.

Sections run in one process of their own, which is started anew after a failure: a CUDA error stays with its process.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.speed import device_tests, page
from benchmarks.speed.measure import RESULTS, ROOT, device, row, versions, why

SPARE = 10  # seconds of the budget that are kept for the table and for taking processes down


class Section(NamedTuple):
    """What a section wants.

    Attributes:
        title: for the page.
        needs: seconds under which it is not begun.
        share: of the budget at most, unless sections before it left more.
    """

    title: str
    needs: float
    share: float


SECTIONS = {
    "tests": Section("Tests on the device", 40, 0.3),
    "ceilings": Section("What the device can do", 5, 0.04),
    "losses": Section("Losses, forward and backward, beside eager forms", 20, 0.16),
    "training": Section("Training list transformers", 20, 0.22),
    "scoring": Section("Scoring whole lists", 10, 0.1),
    "stacked": Section("Nets trained as one stack", 20, 0.18),
    "chain": Section("From scores to the bootstrap of a front", 25, 0.2),
    "compiled": Section("Losses through torch.compile", 30, 0.15),
}


# ---------------------------------------------------------------------------------------------------------- the report


@dataclass
class Report:
    """What is known so far, written after every change."""

    path: Path
    facts: dict[str, Any]

    @classmethod
    def begin(cls, path: Path, quick: bool, minutes: float, names: list[str]) -> Report:
        typed = " ".join(["bash", "benchmarks/device.sh", *sys.argv[1:]])
        sections = {
            name: {
                "title": SECTIONS[name].title,
                "status": "waiting",
                "reason": "not reached",
                "seconds": 0.0,
                "rows": [],
            }
            for name in names
        }
        now = datetime.datetime.now(datetime.UTC)
        return cls(
            path,
            {
                "date": now.date().isoformat(),
                "commit": commit(),
                "command": typed,
                "quick": quick,
                "minutes": minutes,
                "seconds": 0.0,
                "device": None,
                "cpu": device("cpu"),
                "threads": None,
                "versions": versions("torch", "triton", "lightning", "numpy", "moocore"),
                "sections": sections,
            },
        )

    def add(self, name: str, each: dict[str, Any]) -> None:
        """A row; one of the same case, unit and device takes the place of the one before."""
        rows, key = self.facts["sections"][name]["rows"], ("case", "unit", "device")
        for i, there in enumerate(rows):
            if all(there[k] == each[k] for k in key):
                rows[i] = each
                break
        else:
            rows.append(each)
        self.save()

    def close(self, name: str, status: str, reason: str = "", seconds: float = 0.0) -> None:
        self.facts["sections"][name] |= {"status": status, "reason": reason, "seconds": round(seconds, 1)}
        print(f"== {name}: {status}{f', {reason}' if reason else ''} ({seconds:.0f} s)", file=sys.stderr, flush=True)
        self.save()

    def save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        beside.write_text(json.dumps(self.facts, indent=1) + "\n", encoding="utf-8")
        os.replace(beside, self.path)


def commit() -> str:
    """The commit of the checkout; $COMMIT where it travels without git."""
    asked = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    with contextlib.suppress(OSError):
        done = subprocess.run(asked, capture_output=True, text=True)
        if done.returncode == 0:
            return done.stdout.strip()
    return os.environ.get("COMMIT", "unknown")


# ---------------------------------------------------------------------------------------------------------- the worker


def serve(quick: bool) -> None:
    """Answers requests {"section", "seconds"} with rows and an end, one JSON a line, until the other end closes."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer

    def say(**message) -> None:
        print(json.dumps(message), file=out, flush=True)

    import warnings

    import torch

    from benchmarks.speed.device_sections import SECTIONS as RUN
    from benchmarks.speed.device_sections import Budget, Home

    warnings.simplefilter("ignore")
    gpu = torch.cuda.is_available()
    threads = 1 if quick else len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    say(device=device("cuda") if gpu else None, threads=threads)
    for line in sys.stdin:
        asked = json.loads(line)
        budget = Budget(asked["seconds"])
        try:
            for home in ("cuda", "cpu") if gpu else ("cpu",):
                budget.where = " on the CPU" if gpu and home == "cpu" else ""
                for each in RUN[asked["section"]](Home(home, quick, threads), budget):
                    say(row=each)
            say(done=True, left_out=budget.left_out)
        except Exception as problem:  # noqa: BLE001  a section that fails stops no other
            traceback.print_exc()
            say(failed=str(problem) if isinstance(problem, ModuleNotFoundError) else why(problem))


class Worker:
    """The process that measures; `answers` waits no longer than it is told to."""

    def __init__(self, quick: bool, module: str = "benchmarks.speed.device"):
        self.command = [sys.executable, "-m", module, "--serve", *(["--quick"] if quick else [])]
        self.process: subprocess.Popen | None = None

    def start(self, seconds: float) -> dict[str, Any]:
        """Starts it and says what device it found."""
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, process_group=0
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True).start()
        return self._next(time.monotonic() + seconds)

    @staticmethod
    def _read(stream, lines: queue.Queue) -> None:
        with stream:
            for line in stream:
                lines.put(line)
        lines.put(None)

    def answers(self, section: str, seconds: float) -> Iterator[dict[str, Any]]:
        """Its messages, the last of which is an end.

        Raises:
            TimeoutError: it is still at it.
            RuntimeError: its process ended.
        """
        end = time.monotonic() + seconds
        asked = {"section": section, "seconds": 0.9 * seconds}  # so that it can end by itself
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(asked) + "\n")
            self.process.stdin.flush()
        while True:
            message = self._next(end)
            yield message
            if "row" not in message:
                return

    def _next(self, end: float) -> dict[str, Any]:
        try:
            line = self.lines.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if line is None:
            raise RuntimeError(f"its process ended with code {self.process.wait()}")
        return json.loads(line)

    def stop(self) -> None:
        """Takes it down with all it has started."""
        if self.process is not None:
            device_tests.kill(self.process)
            self.process.stdin.close()
            self.process = None


# ---------------------------------------------------------------------------------------------------------- the driver


def limits(names: list[str], at: int, total: float, left: float) -> tuple[float, str]:
    """(seconds the section may take, "") or (0, why it is skipped), given what those after it need."""
    asked = SECTIONS[names[at]]
    if left < asked.needs:
        return 0.0, f"needs {asked.needs:.0f} s, and {max(left, 0.0):.0f} s of the budget are left"
    later = sum(SECTIONS[name].needs for name in names[at + 1 :])
    owed = sum(SECTIONS[name].share for name in names[at + 1 :])
    spare = left - owed * total  # what sections before it did not use is its own
    return max(asked.needs, min(max(asked.share * total, spare), left - later)), ""


def run_tests(report: Report, gpu: bool, quick: bool, seconds: float) -> tuple[str, str]:
    """The tests on the device: their numbers as rows, then the section's status and its reason."""

    def hear(found: device_tests.Outcome) -> None:
        failed = f"; failed: {'; '.join(found.failed[:20])}" if found.failed else ""
        where = {"device": report.facts["device"] or report.facts["cpu"]}
        for case, unit, value, note in (
            ("tests that pass", "tests", found.passed, f"of {found.files} files; {found.skipped:,} skipped{failed}"),
            ("tests that fail", "tests", len(found.failed), ""),
            ("running them", "s", found.seconds, ""),
        ):
            with contextlib.redirect_stdout(io.StringIO()):  # they come every two seconds
                made = row(case, unit, value, note=note, packages=("torch", "pytest"), name="device")
            report.add("tests", made | where)

    found = device_tests.run(gpu, quick, seconds, hear)
    hear(found)
    if found.failed:
        return "failed", f"{len(found.failed):,} of {found.passed + len(found.failed):,} tests failed"
    if not found.ended:
        return "stopped", f"stopped after {found.seconds:.0f} s, its share of the budget; tests that ran are counted"
    return ("done", "") if found.passed else ("failed", "no test ran")


def run_section(report: Report, worker: Worker, name: str, seconds: float) -> tuple[str, str]:
    """A section by the worker; a new one is started where there is none."""
    began = time.monotonic()
    try:
        if worker.process is None:
            worker.start(seconds)  # what it imports counts
        for message in worker.answers(name, seconds - (time.monotonic() - began)):
            if "row" in message:
                report.add(name, message["row"])
            elif "failed" in message:
                worker.stop()
                return "failed", message["failed"]
            elif message["left_out"]:
                return "stopped", f"no time was left for {', '.join(message['left_out'])}"
    except TimeoutError:
        worker.stop()
        return "stopped", f"stopped after {seconds:.0f} s, its share of the budget"
    except RuntimeError as problem:
        worker.stop()
        return "failed", str(problem)
    return "done", ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/device.sh", description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, on a CPU too; the file goes to results/quick")
    parser.add_argument("--minutes", type=float, default=8.0, help="budget of the whole run")
    parser.add_argument("--only", nargs="+", choices=tuple(SECTIONS), metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.quick)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is taken down
    total, began = 60 * args.minutes - SPARE, time.monotonic()
    names = [name for name in SECTIONS if name in (args.only or SECTIONS)]
    folder = Path(os.environ["OUT"]) if os.environ.get("OUT") else RESULTS / "quick" if args.quick else RESULTS
    report, worker = Report.begin(folder / "device.json", args.quick, args.minutes, names), Worker(args.quick)
    try:
        try:
            found = worker.start(max(total, 120.0))
        except (TimeoutError, RuntimeError) as problem:
            print(f"the measuring process did not start: {problem}", file=sys.stderr)
            return 2
        if found["device"] is None and not args.quick:
            print("This machine has no GPU that torch can use; --quick runs tiny sizes on the CPU.", file=sys.stderr)
            return 2
        report.facts |= found
        for at, name in enumerate(names):
            now = time.monotonic()
            seconds, skipped = limits(names, at, total, total - (now - began))
            if skipped:
                report.close(name, "skipped", skipped)
                continue
            print(f"== {name}, at most {seconds:.0f} s", file=sys.stderr, flush=True)
            if name == "tests":
                status = run_tests(report, found["device"] is not None, args.quick, seconds)
            else:
                status = run_section(report, worker, name, seconds)
            report.close(name, *status, time.monotonic() - now)
    finally:
        worker.stop()
    report.facts["seconds"] = round(time.monotonic() - began, 1)
    report.save()
    print(page.gpu(report.path))
    print(f"written: {report.path.name}, {report.facts['seconds']:.0f} s")
    return 1 if any(each["status"] == "failed" for each in report.facts["sections"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
