"""Commands: `ltr data`, `train`, `evaluate`, `predict`, `export`, `explain`, `front`, `choose`, `bench`, `list`.

Exit codes: 0 done; 1 a run failed or a check did not hold; 2 bad input, told in one message; 130 stopped by Ctrl-C (129
and 143 by SIGHUP and SIGTERM, which end a run the same way).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType

from ltr.atomic import meant
from ltr.errors import InputError

from . import bench, board, data, evaluate, explain, front, listing, predict, submissions, train

__all__ = ["main"]

_PACKAGE = str(Path(__file__).resolve().parent.parent)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; nothing is raised for a user's mistake (unless `--debug`)."""
    from .parser import parse

    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    modules = (data, train, evaluate, predict, explain, front, bench, board, submissions, listing)
    commands = [command for module in modules for command in module.COMMANDS]
    rooms = {"data": data.__doc__, "bench": bench.__doc__, "board": submissions.__doc__}
    with _stopped_like_ctrl_c() as received:
        try:
            command = parse([w for w in words if w != "--debug"], commands, rooms)
            return command() or 0
        except SystemExit as stop:  # --help and --version
            return int(stop.code or 0)
        except BrokenPipeError:  # `ltr ... | head`: the reader has what it wanted
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except KeyboardInterrupt as stop:
            if debug:
                raise
            with _deaf():  # pressed twice: the first one is being told
                print(f"\nltr: {stop}" if str(stop) else "\nltr: stopped", file=sys.stderr)
            return 128 + (received[0] if received else signal.SIGINT)
        except Exception as error:
            if debug:
                raise
            code, text = _told(error)
            print(f"ltr: {text}", file=sys.stderr)
            return code


def _told(error: Exception) -> tuple[int, str]:
    """Exit code and message of what ended a command."""
    if isinstance(error, InputError):
        return 2, str(error)
    file = _file_of(error.__traceback__)
    if isinstance(error, OSError):  # no such folder, no permission, disk full: the machine's answer, not our mistake
        where = meant(error.filename) if error.filename is not None else file
        return 2, f"{where}: {error.strerror or error}" if where else str(error.strerror or error)
    if isinstance(error, MemoryError):
        return 1, f"out of memory{f' at {file}' if file else ''}; try fewer lists at a time, or a machine with more"
    where = f"{file}: damaged, or a mistake of ltr" if file else "a mistake of ltr"
    what = " ".join(f"{type(error).__name__}: {error}".split())
    return 1, f"{where} ({what[:300]}). The same line with --debug shows where it happened"


def _file_of(at: TracebackType | None) -> Path | None:
    """The file that was worked on when an error rose: a path the innermost function of ours held."""
    found = None
    while at is not None:
        frame: FrameType = at.tb_frame
        if frame.f_code.co_filename.startswith(_PACKAGE):
            held = [v for name in ("path", "file", "folder") if isinstance(v := frame.f_locals.get(name), Path)]
            found = held[0] if held else found
        at = at.tb_next
    return found


@contextmanager
def _deaf() -> Iterator[None]:
    """While it lasts, the signals that stop a command are not heard."""
    here = threading.current_thread() is threading.main_thread()
    names = ("SIGINT", "SIGTERM", "SIGHUP") if here else ()
    before = {s: signal.signal(s, signal.SIG_IGN) for n in names if (s := getattr(signal, n, None)) is not None}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _stopped_like_ctrl_c() -> Iterator[list[int]]:
    """While it lasts, SIGTERM and SIGHUP stop what runs as Ctrl-C does; yields the signals that came.

    A signal that somebody else handles or ignores (nohup) is left as it is.
    """
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    ours = []
    if threading.current_thread() is threading.main_thread():
        signals = [s for name in ("SIGTERM", "SIGHUP") if (s := getattr(signal, name, None)) is not None]
        ours = [each for each in signals if signal.getsignal(each) is signal.SIG_DFL]
    for each in ours:
        signal.signal(each, stop)
    try:
        yield received
    finally:
        for each in ours:
            signal.signal(each, signal.SIG_DFL)
