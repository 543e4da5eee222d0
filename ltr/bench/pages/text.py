"""Facts of a suite in the words of a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["count", "machine", "settings"]


def settings(table: dict[str, Any]) -> str:
    """Without the section of a dotted key.

    >>> settings({"epochs": 20, "training.learning_rate": [0.1, 0.2], "conditioning": {"kind": "film"}})
    'epochs = 20, learning_rate = [0.1, 0.2], kind = film'
    """
    return ", ".join(f"{key.rsplit('.', 1)[-1]} = {_plain(value)}" for key, value in _flat(table))


def _flat(table: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        yield from _flat(value) if isinstance(value, dict) else [(key, value)]


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return f"({settings(value)})"
    return f"[{', '.join(map(_plain, value))}]" if isinstance(value, (list, tuple)) else str(value)


def count(n: int, what: str) -> str:
    """
    >>> count(1, "fold"), count(3, "seed")
    ('1 fold', '3 seeds')
    """
    return f"{n} {what}{'s' * (n != 1)}"


def machine(environment: dict[str, Any]) -> str:
    """Platform, device, versions and date of `environment.json`, as far as it knows them."""
    libraries = environment.get("libraries", {})
    parts = [
        environment.get("platform", ""),
        environment.get("device", ""),
        f"Python {environment['python']}" if "python" in environment else "",
    ]
    parts += [f"{name} {libraries[name]}" for name in ("torch", "numpy") if name in libraries]
    parts += [environment.get("date", "")]
    return ", ".join(filter(None, parts))
