"""The outcomes of a case, how a command line is watched, and the tally."""

from __future__ import annotations

import contextlib
import io
import signal
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# refused: InputError, exit code 2, or a check that names what it found. right: the numbers of an undisturbed run, be it
# that the damage was mended or that nobody read it. said: another result, and a message that names the damage.
OUTCOMES = ("refused", "said", "right", "silent wrong", "traceback", "hang")
MISTAKES = OUTCOMES[3:]
_NOT_OURS = "a mistake of ltr"  # how the last line of defence of `ltr.cli` calls what it did not expect


class Hang(BaseException):
    """The time of a case is over."""


@dataclass(frozen=True)
class Case:
    """One case: what was done to what, and how it ended."""

    kind: str
    group: str
    outcome: str
    repeat: str = ""
    told: str = ""


@dataclass
class Tally:
    """Cases by kind, group and outcome; those that are mistakes are kept whole.

    Attributes:
        counts: (kind, group, outcome) -> cases.
        mistakes: the cases that are mistakes, in order.
        commands: command lines, inputs or processes that were looked at, by kind.
    """

    counts: Counter = field(default_factory=Counter)
    mistakes: list[Case] = field(default_factory=list)
    commands: Counter = field(default_factory=Counter)

    def add(self, case: Case) -> None:
        self.counts[case.kind, case.group, case.outcome] += 1
        if case.outcome in MISTAKES:
            self.mistakes.append(case)
            print(f"{case.outcome.upper()}  {case.kind}: {case.group}: {case.repeat}\n    {case.told}", flush=True)


@dataclass(frozen=True)
class Seen:
    """What a command line did: its exit code (None: something escaped, or time was over) and words."""

    code: int | None
    out: str = ""
    err: str = ""
    escaped: str = ""
    hung: bool = False

    @property
    def broken(self) -> str:
        """ "hang", "traceback" or ""."""
        if self.hung:
            return "hang"
        return "traceback" if self.escaped or _NOT_OURS in self.err or "Traceback" in self.err else ""


@contextlib.contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raises `Hang` in what takes longer: so many seconds of the processor, or ten times as many by the clock."""
    work, clock = time.process_time(), time.monotonic()

    def ring(*_):
        if time.process_time() - work > seconds or time.monotonic() - clock > 10 * seconds:
            raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds / 2)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def look(words: Sequence[str | Path], seconds: float = 60.0) -> Seen:
    """Runs a command line in this process as if it were a new one, and says what it did."""
    from ltr.cli import main

    _forget()
    keep_parsers()
    out, err = io.StringIO(), io.StringIO()
    code, escaped, hung = None, "", False
    try:
        with (
            alarm(seconds),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            code = main([str(word) for word in words])
    except Hang:
        hung = True
    except BaseException as error:
        escaped = where(error)
    return Seen(code, out.getvalue(), err.getvalue(), escaped, hung)


def _forget() -> None:
    """What a process remembers of files it checked and words it said."""
    from ltr import atomic, errors
    from ltr.datasets.store import checks

    for memory in (errors._SAID, atomic._SWEPT, checks._CHECKED):
        memory.clear()


def keep_parsers() -> None:
    """From here on the parser of a command is made once: that takes longer than what most lines do."""
    from ltr.cli import parser

    make, made = parser._parsers, {}
    if make.__name__ == "kept":
        return

    def kept(commands, rooms, wanted):
        if wanted not in made:
            made[wanted] = make(commands, rooms, wanted)
        return made[wanted]

    parser._parsers = kept


def place(words: Sequence[str | Path]) -> str:
    """Where the exception of a command line arises."""
    from ltr.cli import main

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), alarm(60):
            main([*(str(word) for word in words), "--debug"])
    except BaseException as error:
        return where(error)
    return "(not the second time)"


def where(error: BaseException) -> str:
    """An exception in a line: its text, and the innermost places of ltr."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/ltr/" in f.filename]
    at = " < ".join(f"{f.filename.rpartition('/ltr/')[2]}:{f.lineno}" for f in reversed(frames[-2:]))
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]} at {at or 'no frame of ltr'}"
