"""What every measurement of this folder shares: clocks, interleaved rounds, processes of one side, rows, files.

A measurement `NAME.py` ends in `write("NAME", rows, quick)`, a row a case:

    {case, unit, ours, peers: {name: value or why there is none}, ratio_to_best_peer, target, met, note,
     threads, versions, device, command}

`ours`, the ratio and the target may be None. A ratio above 1 is in our favour, whether more or less of the unit is
better. A peer that is missing stands in `peers` with a sentence instead of a number.

Two ways to race, both interleaved (every contestant in every round, so that a busy machine is busy for all) and both
reporting medians: `race` in this process, and `race_sides`, where each side lives in a process of its own (another
interpreter, other threads, its own peak of memory) that builds its step once and repeats it on request:

    if args.serve:               # the child: make(case) -> a callable, timed; it may return a dict of facts
        return serve(make)
    sides = {name: Side("NAME", name, threads=1) for name in ("ltr", "peer")}
    times = race_sides(sides, {"lists": 64}, rounds=5)   # name -> Timing, or the sentence why there is none

Processor time is the clock for ratios on a machine that is shared; wall time for what waits for disks and devices.
Nothing here imports numpy or torch, so `one_thread()` can come before they do.
"""

from __future__ import annotations

import argparse
import functools
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ltr.atomic import whole_file

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).with_name("results")
KEYS = (
    "case",
    "unit",
    "ours",
    "peers",
    "ratio_to_best_peer",
    "target",
    "met",
    "note",
    "threads",
    "versions",
    "device",
    "command",
)


# ------------------------------------------------------------------------------------------------- command line, facts


def arguments(doc: str) -> argparse.ArgumentParser:
    """--quick, --rounds and the hidden --serve of every measurement; `doc` is its docstring."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a small form, written to results/quick instead")
    parser.add_argument("--rounds", type=int, help="rounds, each with every contestant")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser


def command(name: str) -> str:
    """What was typed, as it can be typed again."""
    typed = [a for a in sys.argv[1:] if not a.startswith("--serve")]
    return " ".join(["python", "-m", f"benchmarks.speed.{name}", *typed])


def one_thread(threads: int = 1) -> None:
    """Asks every library that is imported after this for so many threads."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = str(threads)


def versions(*packages: str, python: str = sys.executable) -> dict[str, str]:
    """Versions of Python and of packages, as an interpreter sees them; "not installed" where it does not."""
    if python != sys.executable:
        code = f"from benchmarks.speed.measure import versions; import json; print(json.dumps(versions(*{packages})))"
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, cwd=ROOT)
        return json.loads(done.stdout) if done.returncode == 0 else dict.fromkeys(packages, "not installed")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@functools.cache
def device(name: str = "cpu") -> str:
    """The processor with its cores, or the name of an accelerator."""
    if name != "cpu":
        import torch

        return torch.cuda.get_device_name(name)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {os.cpu_count()} cores"


# --------------------------------------------------------------------------------------------------------------- clocks


@dataclass
class Timing:
    """Seconds of every round; the attributes are medians.

    Attributes:
        walls, cpus: a number a round; cpu is the processor time of all threads of the process.
        told: what a round returned beside, where it is a dict of numbers (a value, documents, peak memory).
    """

    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)
    told: list[dict[str, float]] = field(default_factory=list)

    @property
    def wall(self) -> float:
        return statistics.median(self.walls)

    @property
    def cpu(self) -> float:
        return statistics.median(self.cpus)

    def fact(self, name: str) -> float:
        """Median of what the rounds told under this name."""
        return statistics.median(each[name] for each in self.told)

    def add(self, wall: float, cpu: float, told: Any = None) -> None:
        self.walls.append(wall)
        self.cpus.append(cpu)
        if isinstance(told, dict):
            self.told.append(told)


def once(run: Callable[[], Any]) -> tuple[float, float, Any]:
    """(wall seconds, processor seconds, what it returned)."""
    wall, cpu = time.perf_counter(), time.process_time()
    value = run()
    return time.perf_counter() - wall, time.process_time() - cpu, value


def race(contestants: Mapping[str, Callable[[], Any]], rounds: int, warm: bool = True) -> dict[str, Timing]:
    """Every contestant in every round, in this process; each runs once before the clock starts."""
    times = {name: Timing() for name in contestants}
    for run in contestants.values() if warm else ():
        run()
    for _ in range(rounds):
        for name, run in contestants.items():
            times[name].add(*once(run))
    return times


def peak() -> float:
    """Peak resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def private() -> float:
    """Resident memory of this process that is not pages of files, MB: what a memory map does not count in."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    entry = next(line for line in lines if line.startswith("RssAnon:"))
    return int(entry.split()[1]) / 1024


# ------------------------------------------------------------------------------------------- a side in its own process


def serve(make: Callable[..., Callable[[], Any]]) -> None:
    """Answers requests `{"case": {...}, "warm": bool}`, one JSON a line, until the other end closes.

    Args:
        make: the case's entries by name -> the step. It is called once a case and its step is kept; steps that return
            a dict of numbers report them. What a side cannot do it raises, and the answer is that sentence.
    """
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is not an answer
    steps: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        asked = json.loads(line)
        key = json.dumps(asked["case"], sort_keys=True)
        try:
            if key not in steps:
                steps[key] = make(**asked["case"])
                if asked["warm"]:
                    steps[key]()
            wall, cpu, value = once(steps[key])
            facts = {k: v for k, v in value.items() if isinstance(v, int | float)} if isinstance(value, dict) else {}
            answer = {"wall": wall, "cpu": cpu, "facts": facts | {"peak": peak()}}
        except Exception as problem:  # noqa: BLE001  any failure of a peer is a row of the table
            answer = {"missing": why(problem)}
        print(json.dumps(answer), file=out, flush=True)


def why(problem: Exception) -> str:
    """Why a side has no number, in a line."""
    if isinstance(problem, ModuleNotFoundError):
        return "not installed"
    return f"{type(problem).__name__}: {problem}".split("\n")[0][:160]


class Side:
    """A process that runs one side of a comparison: `python -m benchmarks.speed.MODULE --serve NAME`.

    Args:
        module: the measurement whose `serve` it runs.
        name: which side it is.
        python: another interpreter, where a peer needs one.
        threads: of the numeric libraries.
        environment: more variables.
    """

    def __init__(self, module: str, name: str, *, python: str = sys.executable, threads: int = 1, environment=()):
        wanted = {
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "NUMBA_NUM_THREADS": str(threads),
            "PYTHONWARNINGS": "ignore",
        }
        if threads == 1:
            wanted["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"
        self.name = name
        self.process = subprocess.Popen(
            [python, "-m", f"benchmarks.speed.{module}", "--serve", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | wanted | dict(environment),
        )

    def ask(self, case: Mapping[str, Any], warm: bool = True) -> dict[str, Any]:
        """One timed step: {"wall", "cpu", "facts"} or {"missing": why}."""
        try:
            self.process.stdin.write(json.dumps({"case": dict(case), "warm": warm}) + "\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            return {"missing": f"its process ended with code {self.process.wait()}"}

    def close(self) -> None:
        if not self.process.stdin.closed:
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *problem) -> None:
        self.close()


def race_sides(
    sides: Mapping[str, Side], case: Mapping[str, Any], rounds: int, warm: bool = True
) -> dict[str, Timing | str]:
    """Every side in every round: name -> its timings, or why it has none."""
    found: dict[str, Timing | str] = {name: Timing() for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            if isinstance(found[name], str):
                continue
            answer = side.ask(case, warm)
            if "missing" in answer:
                found[name] = answer["missing"]
            else:
                found[name].add(answer["wall"], answer["cpu"], answer["facts"])
    return found


# ---------------------------------------------------------------------------------------------------------- rows, files


def row(
    case: str,
    unit: str,
    ours: float | None,
    peers: Mapping[str, float | str] | None = None,
    *,
    lower: bool = False,
    target: float | None = None,
    target_ratio: float | None = None,
    target_peer: str = "",
    note: str = "",
    threads: int = 1,
    packages: Mapping[str, str] | Iterable[str] = (),
    on: str = "cpu",
    name: str = "",
) -> dict[str, Any]:
    """A row of a results file, printed as it is made.

    Args:
        case: what is measured; with `unit` it names the row.
        unit: of `ours`, of the peers and of `target`; say what clock ("documents/s of processor time").
        ours: our number, None where it could not be measured (say why in `note`).
        peers: name -> number, or a sentence saying why there is none.
        lower: less of the unit is better (times, memory).
        target: what `ours` should reach.
        target_ratio: what the ratio to the best peer, or to `target_peer`, should reach.
        note: what a reader must know beside the number.
        packages: versions, or names of packages to look up.
        on: "cpu", or the torch device ours ran on.
        name: of the measurement, for the command; the running script's by default.
    """
    peers = {k: _short(v) for k, v in (peers or {}).items()}
    numbers = [v for v in peers.values() if not isinstance(v, str)]
    ratio = None
    if ours and numbers and all(numbers):
        ratio = min(numbers) / ours if lower else ours / max(numbers)
    met = None
    if ours is not None and target is not None:
        met = ours <= target if lower else ours >= target
    elif target_ratio is not None:
        beside = peers.get(target_peer) if target_peer else ratio
        if ours and beside and not isinstance(beside, str):
            against = beside if not target_peer else beside / ours if lower else ours / beside
            met = against >= target_ratio
    wanted = None
    if target is not None:
        wanted = f"{'at most' if lower else 'at least'} {target:,g} {unit}"
    elif target_ratio is not None:
        wanted = f"{target_ratio:g} x {target_peer or 'the best peer'}"
    made = {
        "case": case,
        "unit": unit,
        "ours": _short(ours),
        "peers": peers,
        "ratio_to_best_peer": _short(ratio),
        "target": wanted,
        "met": met,
        "note": note,
        "threads": threads,
        "versions": dict(packages) if isinstance(packages, Mapping) else versions(*packages),
        "device": device(on),
        "command": command(name or Path(sys.argv[0]).stem),
    }
    said = "; ".join(f"{k} {v if isinstance(v, str) else format(v, ',g')}" for k, v in peers.items())
    mine = "-" if ours is None else f"{_short(ours):,g}"
    verdict = "" if met is None else ("  [met]" if met else f"  [MISSED: {wanted}]")
    print(f"{case}: {mine} {unit}" + (f"; {said}; ratio {_short(ratio)}" if peers else "") + verdict, flush=True)
    return made


def write(name: str, rows: list[dict[str, Any]], quick: bool = False) -> Path:
    """Writes results/NAME.json (results/quick/NAME.json for a quick run), whole or not at all."""
    target = (RESULTS / "quick" if quick else RESULTS) / f"{name}.json"
    check(rows, target)
    with whole_file(target) as beside:
        beside.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"written: {target.relative_to(ROOT)}")
    return target


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a results file."""
    rows = json.loads(path.read_text(encoding="utf-8"))
    check(rows, path)
    return rows


def check(rows: Any, file: Path) -> None:
    """Raises ValueError where rows are not what this folder's files hold."""
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{file}: expected a list of rows")
    for each in rows:
        if not isinstance(each, dict) or tuple(each) != KEYS:
            raise ValueError(f"{file}: expected the keys {', '.join(KEYS)}; came {', '.join(each)}")
        for value in (each["ours"], *each["peers"].values()):
            if isinstance(value, bool) or not isinstance(value, int | float | str | None):
                raise ValueError(f"{file}: {each['case']}: expected a number, a sentence or nothing; came {value!r}")
    named = [(each["case"], each["unit"], each["device"]) for each in rows]
    if len(set(named)) != len(named):
        raise ValueError(f"{file}: a case occurs twice with the same unit and device")


def _short(value):
    """Four digits: more would be noise."""
    if not isinstance(value, float) or value != value or value in (float("inf"), float("-inf")):
        return value
    digits = float(f"{value:.4g}")
    return int(digits) if digits.is_integer() and abs(digits) >= 1000 else digits
