"""What keeps imports cheap: names of a package that are imported when they are first used, and Lightning alone."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["lazily", "lightning_alone"]


class _Package(ModuleType):
    """A package in which a promised name is what it promises, also where a module of that name was imported before:
    `ltr.runs.per_query` is the function, in whatever order things are imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in self.__dict__.get("_promised", ())):
            super().__setattr__(name, value)


def lazily(package: str, home: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package's `__init__.py` (PEP 562).

    Args:
        package: its `__name__`.
        home: module, relative to the package -> the names it defines.

    >>> import ltr.runs
    >>> ltr.runs.RunConfig.__module__
    'ltr.runs.config'
    """

    module_of = {name: module for module, names in home.items() for name in names}
    there = sys.modules[package]
    there.__class__ = _Package
    there.__dict__["_promised"] = frozenset(module_of)

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f".{module_of[name]}", package), name)
        setattr(sys.modules[package], name, value)  # found once
        return value

    return find


@contextmanager
def lightning_alone() -> Iterator[None]:
    """While Lightning is imported: torchmetrics, which it imports, finds a stand-in of scipy.signal.

    torchmetrics loads scipy.signal only to give it a name that SRMRpy (speech) asks for, which takes a third of the
    time that Lightning takes to load, in every process that trains. Where somebody loaded the real one, or SRMRpy is
    installed, nothing is replaced; afterwards `import scipy.signal` loads the real one.
    """
    name = "scipy.signal"
    if name in sys.modules or "torchmetrics" in sys.modules or importlib.util.find_spec("srmrpy") is not None:
        yield
        return
    stand_in = ModuleType(name)
    stand_in.__dict__["hamming"] = None
    sys.modules[name] = stand_in
    try:
        yield
    finally:
        if sys.modules.get(name) is stand_in:
            del sys.modules[name]
        parent = vars(sys.modules.get("scipy", stand_in))
        if parent.get("signal") is stand_in:
            del parent["signal"]
