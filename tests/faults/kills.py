"""SIGKILL at any moment of a command, then the same command again: the end is that of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .outcomes import Case, Tally
from .processes import Process, finished, warm
from .subjects import SUITE, page_numbers, raw_lists, train

LITTER = re.compile(r"\.(partial|replaced)-.*|.*\.(part|partial|tmp)")


@dataclass(frozen=True)
class Job:
    """A command that writes `out`.

    Attributes:
        words: the line.
        end: out -> what must be the same at the end, as text.
        reads: a line that reads `out`: refused, or right, at any moment.
    """

    words: tuple[str, ...]
    end: Callable[[Path], str]
    reads: tuple[str, ...]


def _store(out: Path) -> str:
    """Every byte, but for what the system said of the raw files."""
    import hashlib

    files = sorted(p for p in out.rglob("*") if p.is_file() and p.name != ".sources.json")
    return "\n".join(f"{p.relative_to(out)} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in files)


def _run(out: Path) -> str:
    """Measures, scores and values per query; not the seconds."""
    import pyarrow.parquet as pq

    record = json.loads((out / "record.json").read_text())
    tables = [pq.read_table(p).to_pylist() for part in ("scores", "per_query") for p in sorted(out.glob(f"{part}/*"))]
    return json.dumps([record["status"], record["measures"], tables], default=str)


def jobs(out: str = "out") -> dict[str, Job]:
    """Job by name."""
    convert = ("data", "convert", "raw", "--to", out, "--labels", "relevance", "clicks", "--overwrite", "-q")
    found = {"convert": Job(convert, _store, ("data", "info", out, "--json"))}
    for kind in ("net", "trees", "method"):
        found[kind] = Job(tuple(train(kind, out)), _run, ("export", out, "--as", "csv", "--out", "made.csv"))
    found["bench"] = Job(("bench", "run", "tiny.toml", "--out", out, "-q"), page_numbers, ("data", "list", "--json"))
    return found


def prepare(root: Path, names: tuple[str, ...]) -> dict[str, tuple[str, float, str]]:
    """Undisturbed runs in `root`, which becomes the working folder: name -> (end, seconds, what `reads` wrote)."""
    warm()
    root.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    raw_lists(Path("raw"), 0)
    Path("tiny.toml").write_text(SUITE.format(seed=0))
    whole = {}
    known = jobs()
    _undisturbed(Job((*jobs("store")["convert"].words,), _store, ()))
    for name in names:
        seconds = _undisturbed(known[name])
        whole[name] = (known[name].end(Path("out")), seconds, _read(known[name])[1])
        shutil.rmtree("out")
    return whole


def _undisturbed(job: Job) -> float:
    start = time.monotonic()
    done = finished(job.words, Path("log.txt"))
    if done.code != 0:
        raise RuntimeError(f"ltr {' '.join(job.words)}: exit {done.code}: {done.said[-500:]}")
    return time.monotonic() - start


def _read(job: Job) -> tuple[int, str, str]:
    """Exit code, what was read, and what was said."""
    made = Path("made.csv")
    made.unlink(missing_ok=True)
    done = finished(job.reads, Path("read.txt"))
    said = done.said
    if job.reads[0] == "export":
        return done.code, made.read_text() if made.is_file() else "", said
    return done.code, said, said


def judged(job: Job, whole: tuple[str, float, str], code: int, said: str, hung: bool) -> tuple[str, str]:
    """Outcome of the command that came after, and what there is to tell."""
    if hung:
        return "hang", "the same command does not end"
    if "Traceback" in said or "a mistake of ltr" in said or code == 99:
        return "traceback", said[-600:]
    if code != 0:
        return "traceback", f"the same command ends with {code}: {said[-400:]}"
    out = Path("out")
    if job.end(out) != whole[0]:
        return "silent wrong", "the end is not that of an undisturbed run"
    litter = [str(p) for p in Path(".").rglob("*") if LITTER.fullmatch(p.name)]
    return ("silent wrong", f"litter: {litter}") if litter else ("right", "")


def run(
    tally: Tally,
    seed: int,
    *,
    until: float,
    cases: int,
    root: Path,
    kinds: tuple[str, ...] = ("convert", "net", "trees", "method", "bench"),
) -> None:
    """Kills until the time is over or so many kills are done; arguments as `damage.run`."""
    whole, known, k = prepare(root, kinds), jobs(), 0
    while k < cases and time.monotonic() < until:
        name = kinds[k % len(kinds)]
        job, rng, what = known[name], random.Random(seed + k), f"seed {seed + k}: ltr {' '.join(known[name].words)}"
        for turn in range(rng.choice((1, 1, 1, 2, 3))):
            process = Process(job.words, Path("log.txt"))
            moment = rng.random() ** 1.5 * whole[name][1] * 1.1
            time.sleep(moment)
            process.send(signal.SIGKILL)
            process.wait()
            tally.commands["kills"] += 1
            k += 1
            what += f", killed after {moment:.3f} s"
            code, read, said = _read(job)
            if name != "bench" and code == 0 and read != whole[name][2]:
                tally.add(Case("kills", name, "silent wrong", what, f"read before it was done: {read[:200]!r}"))
            elif code not in (0, 2):
                tally.add(Case("kills", name, "traceback", what, f"read after the kill: exit {code}: {said[-400:]}"))
            elif turn:
                tally.add(Case("kills", name, "right"))
        after = finished(job.words, Path("log.txt"))
        outcome, told = judged(job, whole[name], after.code, after.said, after.hung)
        tally.add(Case("kills", name, outcome, what, told))
        shutil.rmtree("out", ignore_errors=True)
