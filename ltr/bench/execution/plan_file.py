"""The plan in a suite's folder: what a worker from elsewhere must know to take part, and every piece of work.

{"format": 1, "suite": {...}, "whole": {...}, "folds": {...}, "data": {...}, ...}      who was asked for what
{"stage": "tuning", "seconds": 12.5, "runs": ["tuning/.../seed0", "tuning/.../seed1"]}  trained together
{"stage": "runs", "seconds": 40.1, "runs": ["runs/.../seed0"]}                          the longest first
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltr import schema
from ltr.atomic import write_text
from ltr.bench.suite.suite import Suite
from ltr.errors import InputError

from .cells import LEASE

__all__ = ["Piece", "Plan", "read_plan", "write_plan"]

NAME = "plan.jsonl"


@dataclass(frozen=True)
class Piece:
    """Runs that train together, as folders relative to the suite's; seconds they will take, None where unknown."""

    stage: str
    runs: tuple[str, ...]
    seconds: float | None = None


@dataclass(frozen=True)
class Plan:
    """What was asked for.

    Attributes:
        suite: what is done; whole: the suite, of which that may be a part.
        folds: dataset -> its folds; data: dataset -> where it is read from instead of the usual place.
        named, words: the command that asked, for messages.
        lease: seconds, see `Setting`.
    """

    suite: Suite
    whole: Suite
    folds: dict[str, tuple[str, ...]]
    data: dict[str, str]
    named: str = ""
    words: tuple[str, ...] = ()
    lease: float = LEASE

    @property
    def key(self) -> str:
        """Equal for plans of the same."""
        return hashlib.sha256(json.dumps(self.facts(), sort_keys=True).encode()).hexdigest()[:16]

    def facts(self) -> dict[str, Any]:
        return {"format": 1, **schema.to_dict(self)}


def write_plan(out: Path, plan: Plan, pieces: Sequence[Piece]) -> None:
    """Writes out/plan.jsonl, whole or not at all."""
    rows = [plan.facts(), *({"stage": p.stage, "seconds": p.seconds, "runs": p.runs} for p in pieces)]
    write_text(out / NAME, "".join(json.dumps(row) + "\n" for row in rows))


def read_plan(out: Path) -> tuple[Plan, list[Piece]]:
    """What lies in out/plan.jsonl.

    Raises:
        InputError: no plan there, or none of this format.
    """
    path = out / NAME
    try:
        head, *rows = (json.loads(line) for line in path.read_text().splitlines())
        if head.pop("format") != 1:
            raise InputError("a plan of another format", file=path, do="Run it with the version of ltr that wrote it")
        pieces = [Piece(row["stage"], tuple(row["runs"]), row["seconds"]) for row in rows]
        return schema.bind(Plan, head, file=path), pieces
    except FileNotFoundError:
        do = "Prepare one with: ltr bench run SUITE --out FOLDER --engine local --copies 0"
        raise InputError("no plan of a suite", file=out, expected=f"a folder with a {NAME}", do=do) from None
    except InputError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        do = "Delete it; the command of the suite writes it again"
        raise InputError("broken plan", file=path, came=str(error), do=do) from None
