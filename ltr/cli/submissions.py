"""`ltr board`: check submissions to an open leaderboard, and write its pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ltr import paths
from ltr.errors import InputError

from . import show
from .options import Command, option, pairs

if TYPE_CHECKING:
    from ltr.bench.analysis.leaderboard import Leaderboard


@dataclass(frozen=True)
class Check:
    """Measure a submission and compare it with the reference systems.

    Refuses unknown or missing documents, mixed folds, hashes that differ, and measures that were not computed here.

    Attributes:
        submission: folder with a submission.toml and the files it names.
        board: board.toml (default: benchmarks/board/board.toml of the checkout).
        data: read a dataset of the board from this store, folder or file.
        repeat: train every file again from its config and compare; a submission that repeats is "verified".
        accept: keep the measured rows beside the submission, for `ltr board build`.
    """

    submission: Path
    board: Path | None = option(None, metavar="FILE.toml")
    data: tuple[str, ...] = option((), metavar="NAME=PATH")
    repeat: bool = False
    accept: bool = False


@dataclass(frozen=True)
class Build:
    """Write the site of a board, from files alone.

    Attributes:
        to: folder of the pages.
        board: board.toml (default: benchmarks/board/board.toml of the checkout).
        freeze: keep today's tables under the board's version, too.
    """

    to: Path | None = option(None, metavar="FOLDER")
    board: Path | None = option(None, metavar="FILE.toml")
    freeze: bool = False


def check(options: Check) -> int:
    from ltr.bench.analysis import submission

    board = submission.read_board(_file(options.board))
    data = pairs("data", options.data)
    checked = submission.check(options.submission, board, data)
    for each in checked.boards():
        _compare(each, checked.submission.label)
    failed = submission.repeat(checked, data) if options.repeat else []
    for line in failed:
        show.remark(f"ltr: not repeated: {line}")
    if options.repeat and not failed:
        print("verified: training again gives the same scores")
    if options.accept:
        show.remark(f"wrote {submission.accept(checked, board, repeated=options.repeat and not failed)}")
    return 1 if failed else 0


def _compare(board: Leaderboard, label: str) -> None:
    """Beside every reference system: the difference and what it says."""
    from ltr.bench.analysis.results_io import rows_of
    from ltr.metrics.inference import verdicts

    mean = board.table.set_index("system")["mean"][label]
    print(f"{board.dataset}: {label} has {board.measure} {mean:.4f}")
    others = [row for row in rows_of(board.table) if row.system != label and not row.best_possible]
    found = {row.system: board.difference(label, row.system) for row in others}
    known = {system: each for system, each in found.items() if each is not None}
    words = dict(zip(known, verdicts(list(known.values())), strict=True))
    rows = [
        {
            "reference system": row.system,
            "mean": show.number(row.mean),
            "difference and 95 % interval": str(known.get(row.system, "")),
            "verdict": words.get(row.system, ""),
        }
        for row in others
    ]
    show.table(rows, right=("mean", "difference and 95 % interval"))


def build(options: Build) -> int:
    from ltr.bench.analysis.submission import read_board
    from ltr.bench.pages.board_site import build as write

    if options.to is None:
        raise InputError("into which folder?", expected="--to FOLDER")
    show.remark(f"wrote {write(read_board(_file(options.board)), options.to, frozen=options.freeze)}")
    return 0


def _file(asked: Path | None) -> Path:
    return asked or paths.suites() / "board" / "board.toml"


COMMANDS = [
    Command(
        ("board", "check"), Check, check, "SUBMISSION/ [--board FILE.toml] [--data NAME=PATH] [--repeat] [--accept]"
    ),
    Command(("board", "build"), Build, build, "--to FOLDER [--board FILE.toml] [--freeze]"),
]
