"""Small real things to harm: stores, runs of three kinds, a stopped run, suites; each with a sibling that differs.

Everything lies in one folder and is made by the command line, in this process. Names are relative to that folder.
"""

from __future__ import annotations

import csv
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from unittest import mock

from .outcomes import look

LISTS = "lists.csv"
RANKING = "ranking.run"
_NET = ["--ranker", "mlp", "--ranker.params.hidden", "[4]", "--loss", "listnet", "--training.epochs", "3"]
_TREES = ["--ranker", "lightgbm", "--ranker.params.rounds", "4", "--ranker.params.leaves", "4"]
_METHOD = ["--data.objectives", "relevance", "clicks", "--method", "ls", "--method.params.ranker", "linear"]
_METHOD += ["--training.epochs", "1", "--preferences", "1"]
TRAININGS = {"net": _NET, "trees": _TREES, "method": _METHOD}
SUITE = """
title = "Tiny"
datasets = ["store"]
seeds = [{seed}]
measures = ["nDCG@10", "AP"]

[[systems]]
label = "Linear"
ranker = "linear"
losses = ["listnet"]
training = {{ epochs = 1 }}
grid = {{ training.learning_rate = [0.01, 0.1] }}

[[systems]]
label = "Best feature"
ranker = "feature"
baseline = true

[tuning]
points = 2

[limits]
workers = 1
threads = 1
"""


@dataclass(frozen=True)
class Command:
    """A command line over a subject.

    Attributes:
        words: the line.
        numbers: folder -> what must not change, where it is not what is printed.
        makes: what it writes beside the subject; removed afterwards.
        expected: the numbers, where they are known before the subject is read whole.
    """

    words: tuple[str, ...]
    numbers: Callable[[Path, str], str] | None = None
    makes: tuple[str, ...] = ()
    expected: str = ""


@dataclass(frozen=True)
class Subject:
    """A folder to harm, its sibling, and the commands that read it."""

    name: str
    sibling: str
    commands: tuple[Command, ...]
    skip: tuple[str, ...] = field(default=())


def raw_lists(folder: Path, seed: int) -> None:
    """train, vali and test as CSV: two label columns, four features, lists of 3 to 7 documents."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for split, queries in (("train", 16), ("vali", 6), ("test", 6)):
        with open(folder / f"{split}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["query", "document", "relevance", "clicks", "f1", "f2", "f3", "f4"])
            for q in range(queries):
                for d in range(rng.randint(3, 7)):
                    x = [round(rng.gauss(0, 1), 3) for _ in range(4)]
                    grades = (min(4, max(0, int(2 + x[0] + x[1]))), max(0, int(3 + 2 * x[1] + x[2])))
                    rows.writerow([f"{split}{q}", f"d{q}-{d}", *grades, *x])


def train(kind: str, out: str, seed: int = 0, store: str = "store") -> list[str]:
    """The line that trains one of the three kinds of system."""
    return ["train", "--data", store, *TRAININGS[kind], "--seed", str(seed), "--out", out, "-q", "--json"]


def measures(seen_out: str) -> str:
    """The numbers in what `train --json` prints."""
    import json

    found = json.loads(seen_out) if seen_out.strip() else {}
    return json.dumps([found.get("status"), found.get("measures")])


def page_numbers(folder: Path) -> str:
    """The tables of measures of a suite's page; not its seconds, memory and machine."""
    text = (folder / "report" / "report.md").read_text(encoding="utf-8", errors="replace")
    lines = text.partition("## Environment")[0].splitlines()
    keep = []
    for line in lines:
        cells = [cell.strip() for cell in line.split("|")]
        # The leaderboard: rank, system, mean, interval, group; seconds, speed and memory follow.
        keep.append(" | ".join(cells[:6] if len(cells) > 9 else cells) if line.startswith("|") else "")
    return "\n".join(filter(None, keep))


def make(root: Path, kinds: tuple[str, ...] = ("store", "net", "trees", "method", "stopped", "bench")) -> list[Subject]:
    """Makes the subjects of these kinds in `root` and changes into it."""
    root.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    made = Path("made.txt")  # what is here already, from a run with --keep
    if not (made.is_file() and set(kinds) <= set(made.read_text().split())):
        _make(kinds)
        made.write_text(" ".join(kinds))
    found = {"store": _store, "bench": _bench, "stopped": _stopped} | {k: partial(_run, k) for k in TRAININGS}
    return [found[kind]() for kind in kinds]


def _make(kinds: tuple[str, ...]) -> None:
    for name, seed in (("", 0), ("2", 1)):
        raw_lists(Path(f"raw{name}"), seed)
        _done(["data", "convert", f"raw{name}", "--to", f"store{name}", "--labels", "relevance", "clicks", "-q"])
    shutil.copy("raw/test.csv", LISTS)
    with open(LISTS) as file, open(RANKING, "w") as run:
        for k, row in enumerate(csv.DictReader(file)):
            run.write(f"{row['query']} Q0 {row['document']} 1 {(k * 37) % 11} tag\n")
    for kind in set(TRAININGS) & set(kinds):
        for name, seed in ((kind, 0), (f"{kind}2", 1)):
            _done(train(kind, name, seed))
    if "stopped" in kinds:
        Path("whole.json").write_text(measures(_done(train("net", "whole"))))
        for name, seed in (("stopped", 0), ("stopped2", 1)):
            _stop(train("net", name, seed))
    if "bench" in kinds:
        for name, seed in (("bench", 0), ("bench2", 1)):
            Path(f"{name}.toml").write_text(SUITE.format(seed=seed))
            _done(["bench", "run", f"{name}.toml", "--out", name, "-q"])


def _stopped() -> Subject:
    again = Command(
        tuple(train("net", "stopped")), lambda _, out: measures(out), expected=Path("whole.json").read_text()
    )
    return Subject("stopped", "stopped2", (again,))


def _store() -> Subject:
    feature = ["train", "--data", "store", "--ranker", "feature", "--out", "made", "-q", "--json"]
    return Subject(
        "store",
        "store2",
        (
            Command(("data", "info", "store", "--json")),
            Command(("data", "verify", "store", "--json")),
            Command(("evaluate", RANKING, "--data", "store", "--json")),
            Command(tuple(feature), lambda _, out: measures(out), makes=("made",)),
            Command((*feature, "--dry-run"), lambda *_: ""),  # an estimate: no number of the data
        ),
    )


def _run(kind: str) -> Subject:
    w = ["--preference", "0", "1"] if kind == "method" else []
    commands = [
        Command(("evaluate", kind, "--json"))
        if kind != "method"
        else Command(("choose", kind, "--maximise", "clicks", "--json")),
        Command(("predict", kind, LISTS, *w)),
        Command(("export", kind, "--out", "made.run", *w), lambda f, _: _text(f / "made.run"), makes=("made.run",)),
        Command(tuple(train(kind, kind)), lambda _, out: measures(out)),
    ]
    if kind == "method":
        commands.insert(1, Command(("front", kind, "--csv")))
    return Subject(kind, f"{kind}2", tuple(commands))


def _bench() -> Subject:
    return Subject(
        "bench",
        "bench2",
        (
            Command(("bench", "report", "bench", "--draws", "100", "-q"), lambda f, _: page_numbers(f / "bench")),
            Command(
                ("bench", "run", "bench.toml", "--out", "bench", "-q"),
                lambda f, _: page_numbers(f / "bench"),
            ),
        ),
        skip=(".png", ".html", ".md"),
    )


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def _done(words: list[str]) -> str:
    seen = look(words, 300)
    if seen.code != 0:
        raise RuntimeError(f"a subject could not be made: ltr {' '.join(words)}: {seen.err}{seen.escaped}")
    return seen.out


def _stop(words: list[str]) -> None:
    """Trains until the first checkpoint is written, and stops there as Ctrl-C does."""
    from ltr.rankers.training.checkpoint import State

    save = State.save

    def once(self, folder):
        save(self, folder)
        raise KeyboardInterrupt

    with mock.patch.object(State, "save", once):
        seen = look(words, 300)
    if seen.code != 130:
        raise RuntimeError(f"a training was not stopped: ltr {' '.join(words)}: {seen.err}{seen.escaped}")
