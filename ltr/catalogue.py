"""One small catalogue: name -> (function, where it comes from, what is claimed of it).

A decorator stores the entry and returns the function unchanged, so a registered function stays an ordinary function.
Claims are mathematics; `tests/battery.py` walks the catalogue and proves each claim for each entry.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from .errors import InputError, near_miss, renamed, unknown_name

__all__ = ["Catalogue", "Entry"]

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered function or class.

    Attributes:
        name: its name in configs and on the command line.
        function: the thing itself.
        formula: one line of mathematics.
        source: paper and equation, or who the formula was checked against.
        claims: proven facts, e.g. `shift_invariant=True`, `convex=True`, `bounds="1-ndcg"`, `stochastic=True`.
        kind: what the catalogue holds ("loss", "aggregator", ...), for messages.
        shared: names of the arguments every entry of the catalogue takes; all others are parameters a user may set.
    """

    name: str
    function: Callable[..., Any]
    formula: str = ""
    source: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    kind: str = "entry"
    shared: tuple[str, ...] = ()

    @property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """What a user may set: the arguments of the function beyond those all entries share."""
        known = inspect.signature(self.function).parameters
        return {name: parameter for name, parameter in known.items() if name not in self.shared}

    def bind(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The given parameters, once their names are known to be right.

        Raises:
            InputError: a parameter the entry does not have (the near miss is named), or one it needs and was not given.
        """
        known = self.parameters
        for key in given:
            if key not in known:
                hit = near_miss(key, known)
                has = f"It has: {', '.join(known)}" if known else "It has no parameters"
                raise InputError(
                    f"{self.kind} {self.name!r} has no parameter {key!r}",
                    do=(f"Did you mean {hit!r}? " if hit else "") + has,
                )
        missing = [key for key, p in known.items() if p.default is p.empty and key not in given]
        if missing:
            raise InputError(f"{self.kind} {self.name!r} needs {', '.join(missing)}")
        return dict(given)


class Catalogue:
    """Entries of one kind ("loss", "ranker", ...), in the order of their families and of registration.

    Args:
        kind: what an entry is called in messages.
        families: modules whose import registers entries. They are imported when the catalogue is first asked for
            anything, so that naming a catalogue costs nothing and a worker process finds every entry.
        shared: arguments that every entry takes, see `Entry.shared`.
        aliases: former names -> names of today. A former name still works, and says the new one once.
    """

    def __init__(
        self,
        kind: str,
        families: Sequence[str] = (),
        *,
        shared: Sequence[str] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.families = tuple(families)
        self.shared = tuple(shared)
        self.aliases = dict(aliases or {})
        self._entries: dict[str, Entry] = {}
        self._filled = not families

    def register(self, name: str, *, formula: str = "", source: str = "", **claims: Any) -> Callable[[T], T]:
        """Decorator: stores the entry under `name` and returns what it decorates unchanged.

        An entry with the claim `own` is a user's: it replaces one of that name, but none of the suite's.
        """
        if claims.get("own"):
            self._fill()

        def keep(function: T) -> T:
            held = self._entries.get(name)
            if held is not None and not (claims.get("own") and held.claims.get("own")):
                if claims.get("own"):
                    raise InputError(f"{name!r} is a {self.kind} of the suite", do="Give yours another name")
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = Entry(name, function, formula, source, claims, self.kind, self.shared)
            return function

        return keep

    def _fill(self) -> dict[str, Entry]:
        if not self._filled:
            self._filled = True  # first, so that a family may look into the catalogue while it registers
            try:
                for family in self.families:
                    importlib.import_module(family)
            except BaseException:
                self._filled = False
                raise
            # The order of the families, whichever of them somebody imported first.
            rank = {family: i for i, family in enumerate(self.families)}
            last = len(rank)
            ordered = sorted(self._entries.items(), key=lambda item: rank.get(item[1].function.__module__, last))
            self._entries = dict(ordered)
        return self._entries

    def __getitem__(self, name: str) -> Entry:
        entries = self._fill()
        if name in entries:
            return entries[name]
        if name in self.aliases:
            renamed(self.kind, name, self.aliases[name])
            return entries[self.aliases[name]]
        raise unknown_name(self.kind, name, entries)

    def __contains__(self, name: object) -> bool:
        return name in self._fill() or name in self.aliases

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._fill().values())

    def __len__(self) -> int:
        return len(self._fill())

    def names(self) -> list[str]:
        return list(self._fill())
