"""Files of stores, runs and suites are harmed one at a time, and everything that reads them is asked again."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

from .outcomes import Case, Seen, Tally, look, place
from .subjects import Command, Subject, make

_OFTEN = {"stopped": 0.25, "bench": 0.25}  # of a file: to train on or to write a page takes ten times as long
_OTHER = (None, True, -1, 0, 1.5, 1e400, "x", "", [], [[]], {}, {"a": 1}, 2**70, "\x00")


class Tree:
    """A folder as it was: what a case changed is put back."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bytes = {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
        self._stamps = {p: self._stamp(p) for p in self.bytes}

    @staticmethod
    def _stamp(path: Path):
        stat = path.stat()
        return stat.st_size, stat.st_mtime_ns, stat.st_ino

    def restore(self) -> None:
        for path in sorted(self.folder.rglob("*"), reverse=True):
            if path not in self.bytes and (path.is_file() or not any(path.iterdir())):
                path.unlink() if path.is_file() else path.rmdir()
        for path, whole in self.bytes.items():
            if not path.is_file() or self._stamp(path) != self._stamps[path]:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(whole)
                self._stamps[path] = self._stamp(path)


# ------------------------------------------------------------------------------------------------------ what is done


def _truncated(whole: bytes, rng: random.Random, _: bytes) -> bytes:
    return whole[: rng.randrange(len(whole))]


def _emptied(*_) -> bytes:
    return b""


def _flipped(whole: bytes, rng: random.Random, _: bytes) -> bytes:
    at = rng.randrange(len(whole))
    return whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]


def _overwritten(whole: bytes, rng: random.Random, _: bytes) -> bytes:
    at = rng.randrange(len(whole))
    return whole[:at] + rng.randbytes(rng.randint(1, 64)) + whole[at + 32 :]


def _swapped(whole: bytes, rng: random.Random, other: bytes) -> bytes:
    return other


def _no_text(whole: bytes, rng: random.Random, _: bytes) -> bytes:
    at = rng.randrange(len(whole) + 1)
    return whole[:at] + rng.choice([b"\xff\xfe", b"\xc3\x28", b"\x00", b"\xed\xa0\x80"]) + whole[at:]


def _retyped(whole: bytes, rng: random.Random, _: bytes) -> bytes:
    """One value of a JSON or TOML file is of another type, or gone."""
    text = whole.decode()
    try:
        facts, json_file = json.loads(text), True
    except ValueError:  # a table of TOML begins with [, too
        facts, json_file = tomllib.loads(text), False
    nodes = [(facts, k) for k in (facts if isinstance(facts, dict) else range(len(facts)))]
    for holder, key in nodes:
        inner = holder[key]
        if isinstance(inner, dict | list):
            nodes += [(inner, k) for k in (inner if isinstance(inner, dict) else range(len(inner)))]
    if not nodes:
        return whole + b" 1"
    holder, key = rng.choice(nodes)
    if rng.random() < 0.2:
        del holder[key]
    else:
        holder[key] = rng.choice(_OTHER)
    if json_file:
        return json.dumps(facts, indent=1).encode()
    import tomli_w

    try:
        return tomli_w.dumps(facts).encode()
    except (TypeError, ValueError):  # TOML has no null
        return tomli_w.dumps({"x": 1}).encode()


MUTATIONS: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    "truncated": _truncated,
    "emptied": _emptied,
    "a bit flipped": _flipped,
    "overwritten": _overwritten,
    "swapped": _swapped,
    "bytes that are no text": _no_text,
    "another type": _retyped,
}


def _harmed(subject: Subject, path: Path, whole: bytes, rng: random.Random) -> tuple[str, bytes]:
    """A mutation that fits the file, and the bytes it leaves."""
    other = Path(subject.sibling, path.relative_to(subject.name))
    if not other.is_file():  # parts of a store are called by their hash
        same = sorted(Path(subject.sibling).rglob(path.name))
        other = same[0] if same else path
    names = [n for n in MUTATIONS if whole or n not in ("truncated", "a bit flipped", "overwritten", "emptied")]
    if path.suffix not in (".json", ".toml"):
        names.remove("another type")
    name = rng.choice(names)
    return name, MUTATIONS[name](whole, rng, other.read_bytes() if other.is_file() else b"")


# -------------------------------------------------------------------------------------------------- what comes of it


def group_of(path: Path) -> str:
    """The kind of a file: what it is to its folder."""
    kind = re.sub(r"(fold|seed|point|model)\d+", r"\1", path.name)
    return f"{path.parent.name}/{kind}" if path.parent.name in ("scores", "per_query", "report") else kind


def _numbers(command: Command, seen: Seen) -> str:
    try:
        return command.numbers(Path(), seen.out) if command.numbers else seen.out
    except (OSError, ValueError) as error:
        return f"none: {error}"


def classed(command: Command, seen: Seen, expected: tuple[int | None, str], names: tuple[str, ...]) -> str:
    """The outcome of a command over a damaged file.

    Args:
        expected: exit code and numbers of the whole one.
        names: words that name the damage: the file, and its folder.
    """
    if seen.broken:
        return seen.broken
    if seen.code == 2 or (seen.code == 1 and command.words[1] == "verify"):
        return "refused"
    found = (seen.code, _numbers(command, seen))
    if found == expected:
        return "right"
    words = seen.err + (seen.out if command.words[0] == "bench" else "")
    page = Path("bench/report/report.md")
    if command.words[0] == "bench" and page.is_file():
        words += page.read_text(errors="replace")
    if re.search(r"damaged|was changed|is not the one|missing|broken", words) and any(n in words for n in names):
        return "said"
    if seen.code == 1 and re.search(r"the run failed|runs failed", seen.err):
        return "traceback" if not seen.err.startswith("ltr: ") else "said"
    return "silent wrong"


def run(tally: Tally, seed: int, *, until: float, cases: int, root: Path, kinds: tuple[str, ...] = ()) -> None:
    """Harms files until the time is over or so many cases are done.

    Args:
        until: in seconds of `time.monotonic`.
        cases: files to harm, at most.
        root: where the subjects are made; they are kept there.
        kinds: of subjects; all by default.
    """
    from matplotlib.figure import Figure

    savefig = Figure.savefig
    Figure.savefig = _no_picture  # pictures hold no numbers, and take seconds
    try:
        subjects = make(root, *([kinds] if kinds else []))
        _harm(tally, subjects, seed, until, cases)
    finally:
        Figure.savefig = savefig


def _no_picture(self, to, **_) -> None:
    if hasattr(to, "write"):
        to.write('<svg width="1pt" height="1pt" viewBox="0 0 1 1"></svg>')
    else:
        Path(to).write_bytes(b"")


def _harm(tally: Tally, subjects: list[Subject], seed: int, until: float, cases: int) -> None:
    expected, trees = {}, {}
    for subject in subjects:
        tree = trees[subject.name] = Tree(Path(subject.name))
        for command in subject.commands:
            if not command.expected:
                seen = look(command.words)
                if seen.broken or seen.code != 0:
                    raise RuntimeError(f"ltr {' '.join(command.words)} fails before any harm: {seen}")
                expected[command] = (0, _numbers(command, seen))
                _clear(command)
                tree.restore()
            else:
                expected[command] = (0, command.expected)
    for k in range(cases):
        if time.monotonic() > until:
            return
        case_seed = seed + k
        rng = random.Random(case_seed)
        subject = rng.choices(subjects, [_OFTEN.get(s.name, 1.0) for s in subjects])[0]
        tree = trees[subject.name]
        files = [p for p in tree.bytes if p.name != ".lock" and p.suffix not in subject.skip]
        path = rng.choice(files)
        name, harmed = _harmed(subject, path, tree.bytes[path], rng)
        if harmed == tree.bytes[path]:
            continue
        command = rng.choice(subject.commands)
        _one(tally, subject, tree, path, harmed, command, expected[command], f"seed {case_seed}: {path} {name}")
        tally.counts["damage", "files", "harmed"] += 1


def _one(tally, subject, tree, path, harmed, command, expected, what) -> None:
    path.write_bytes(harmed)
    seen = look(command.words)
    tally.commands["damage"] += 1
    outcome = classed(command, seen, expected, (path.name, subject.name))
    failure = _failure(command) if outcome in ("right", "said", "refused", "silent wrong") else ""
    if failure:
        outcome = "traceback"
    told = ""
    if outcome in ("silent wrong", "traceback", "hang"):
        told = failure or seen.escaped or (place(command.words) if outcome == "traceback" else seen.err[-300:])
        if outcome == "silent wrong":
            told = f"exit {seen.code}; {told} {_difference(expected[1], _numbers(command, seen))}"
    repeat = f"{what}, then: ltr {' '.join(command.words)}"
    tally.add(Case("damage", f"{subject.name}: {group_of(path)}", outcome, repeat, told))
    _clear(command)
    tree.restore()


def _difference(expected: str, came: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(expected, came)) if a != b), min(len(expected), len(came)))
    return f"expected ...{expected[max(0, at - 40) : at + 40]!r}, came ...{came[max(0, at - 40) : at + 40]!r}"


def _failure(command: Command) -> str:
    """The exception, if the command trained a run that failed on one of ours that nobody foresaw."""
    if command.words[0] != "train":
        return ""
    path = Path(command.words[command.words.index("--out") + 1]) / "record.json"
    try:
        error = json.loads(path.read_text()).get("error") or {}
    except (OSError, ValueError, AttributeError):
        return ""
    if not isinstance(error, dict) or error.get("user") is not False:
        return ""
    return " ".join(str(error.get("traceback", error)).split())[-300:]


def _clear(command: Command) -> None:
    for name in command.makes:
        shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink(missing_ok=True)
