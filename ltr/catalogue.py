"""One small catalogue: name -> (function, where it comes from, what is claimed of it).

A decorator stores the entry and returns the function unchanged, so a registered function stays an ordinary function.
Claims are mathematics; `tests/battery.py` walks the catalogue and proves each claim for each entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from .errors import unknown_name

__all__ = ["Catalogue", "Entry"]


@dataclass(frozen=True)
class Entry:
    """A registered function or class.

    Attributes:
        name: its name in configs and on the command line.
        function: the thing itself.
        formula: one line of mathematics.
        source: paper and equation, or who the formula was checked against.
        claims: proven facts, e.g. `shift_invariant=True`, `convex=True`, `bounds="1-ndcg"`, `stochastic=True`.
    """

    name: str
    function: Callable
    formula: str = ""
    source: str = ""
    claims: dict[str, Any] = field(default_factory=dict)


class Catalogue:
    """Entries of one kind ("loss", "ranker", ...), in order of registration."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, *, formula: str = "", source: str = "", **claims) -> Callable:
        """Decorator: stores the entry under `name` and returns what it decorates unchanged."""

        def keep(function: Callable) -> Callable:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = Entry(name, function, formula, source, claims)
            return function

        return keep

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def names(self) -> list[str]:
        return list(self._entries)
