"""`ltr list`: the losses, rankers, methods, measures and datasets there are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from . import show
from .options import Command, option


@dataclass(frozen=True)
class List:
    """List the losses, rankers, methods, measures or datasets there are.

    Attributes:
        kind: losses, rankers, methods, measures or datasets.
        json: as JSON on stdout.
        csv: as CSV on stdout.
    """

    kind: Literal["losses", "rankers", "methods", "measures", "datasets"] = option(metavar="KIND")
    json: bool = False
    csv: bool = False


def _list(options: List) -> None:
    from ltr.listing import rows

    found = rows(options.kind)
    if not show.for_programs(found, options):
        show.table(found)


COMMANDS = [
    Command(("list",), List, _list, "KIND [--json | --csv]", "e.g.  ltr list losses\n      ltr list rankers --csv")
]
