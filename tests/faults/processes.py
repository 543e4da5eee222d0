"""Command lines in processes of their own: forked from one that has imported everything, so that a start is cheap.

Nothing is computed in the parent before: a fork takes over no threads.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import select
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

_LONGEST = 240.0


class Process:
    """A command line that runs; its words lie in the file `log`."""

    def __init__(self, words: Sequence[str], log: Path):
        self.words, self.log, self.hung = list(words), log, False
        ours, theirs = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(ours)
            _command(self.words, log, theirs)
        os.close(theirs)
        select.select([ours], [], [], _LONGEST)  # it has begun
        os.close(ours)
        self.began = time.monotonic()

    def send(self, number: int) -> None:
        os.kill(self.pid, number)  # not waited for yet, so the id is still its own

    def wait(self) -> int:
        """The exit code; minus the signal that ended it."""
        while time.monotonic() < self.began + _LONGEST:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.005)
        self.hung = True
        self.send(signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.is_file() else ""


def _command(words: list[str], log: Path, ready: int) -> None:
    code = 99
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        handle = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666)
        os.dup2(handle, 1), os.dup2(handle, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        from ltr.cli import main

        os.write(ready, b"x")
        code = main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def finished(words: Sequence[str], log: Path) -> Process:
    """The command line, waited for; its exit code is `code`."""
    process = Process(words, log)
    process.code = process.wait()
    return process


def warm() -> None:
    """Imports what commands import, and computes nothing."""
    import ltr

    for name in ("lightgbm", "lightning", "scipy.stats", "sklearn.preprocessing", "pyarrow.parquet", "pandas", "rich"):
        importlib.import_module(name)
    with contextlib.redirect_stderr(io.StringIO()):  # modules of old names say that they are
        for module in pkgutil.walk_packages(ltr.__path__, "ltr."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
