"""Datasets: cards, readers, the store, batches, synthetic tasks. `load` is the door."""

from __future__ import annotations

from ltr.lazy import lazily

__all__ = ["Store", "load", "open_store", "read_svmlight", "read_table", "roles"]

_HOME = {
    "opening": ["load", "open_store"],
    "store.store": ["Store"],
    "readers.svmlight": ["read_svmlight"],
    "readers.tables": ["read_table", "roles"],
}


__getattr__ = lazily(__name__, _HOME)


def __dir__() -> list[str]:
    return __all__
