"""The command line: `ltr data`, `train`, `evaluate`, `predict`, `export`, `front`, `choose`, `bench`.

Exit codes: 0 done; 1 a run failed or a check did not hold; 2 bad input, told in one message; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ltr.errors import InputError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code; nothing is raised for a user's mistake (unless `--debug`)."""
    from .options import parse

    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    try:
        return parse([w for w in words if w != "--debug"])() or 0
    except SystemExit as stop:  # --help and --version
        return int(stop.code or 0)
    except InputError as error:
        if debug:
            raise
        print(f"ltr: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        if debug:
            raise
        print(f"\nltr: {stop}" if str(stop) else "\nltr: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `ltr ... | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # no such folder, no permission, disk full: the machine's answer, not our mistake
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"ltr: {where}{error.strerror or error}", file=sys.stderr)
        return 2
