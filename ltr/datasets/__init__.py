"""Datasets: cards, readers, the store, batches, synthetic tasks. `load` is the door."""

from __future__ import annotations

from ltr.lazy import lazily

__all__ = ["Store", "load", "open_store", "read_svmlight", "read_table"]

_HOME = {
    "opening": ["load", "open_store"],
    "store.store": ["Store"],
    "readers.svmlight": ["read_svmlight"],
    "readers.tables": ["read_table"],
}


__getattr__ = lazily(__name__, _HOME)
