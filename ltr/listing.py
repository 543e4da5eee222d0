"""What there is, by name: losses, rankers, methods, measures and datasets as one kind of table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ltr.catalogue import Catalogue, Entry
from ltr.datasets.cards.card import cards, load_card
from ltr.errors import unknown_name
from ltr.metrics import MEASURES
from ltr.rankers import RANKERS

__all__ = ["KINDS", "list", "rows"]

KINDS = ("losses", "rankers", "methods", "measures", "datasets")
# Claims that are machinery: classes, blocks of memory.
_SILENT = {"config", "training", "memory", "own", "kind", "needs_loss", "blank"}


def list(kind: str = "losses") -> Any:
    """The entries of a catalogue as a pandas data frame: name, family, source, claims.

    Args:
        kind: losses, rankers, methods, measures or datasets.

    >>> list("rankers").loc["mlp", "family"]
    'neural'
    >>> list("measures").loc["nDCG", "source"].split(",")[0]
    'Jarvelin and Kekalainen'
    """
    import pandas as pd

    return pd.DataFrame(rows(kind)).set_index("name")


def rows(kind: str) -> Any:
    """The same as plain rows."""
    if kind == "datasets":
        return [_dataset(name) for name in cards()]
    if kind not in KINDS:
        raise unknown_name("kind of thing", kind, KINDS)
    return [_entry(entry) for entry in _catalogue(kind)]


def _catalogue(kind: str) -> Catalogue:
    if kind == "rankers":
        return RANKERS
    if kind == "measures":
        return MEASURES
    if kind == "losses":
        from ltr.losses import LOSSES

        return LOSSES
    from ltr.methods import METHODS

    return METHODS


def _entry(entry: Entry) -> dict[str, str]:
    module = entry.function.__module__.removeprefix("ltr.").split(".")[1:]
    family = "yours" if entry.claims.get("own") else entry.claims.get("kind") or " ".join(module).replace("_", " ")
    return {"name": entry.name, "family": family, "source": entry.source, "claims": ", ".join(_claims(entry.claims))}


def _claims(claims: Mapping[str, Any]) -> Iterable[str]:
    for name, value in claims.items():
        if name not in _SILENT and value not in (False, None, "", ()):
            word = name.replace("_", " ")
            yield word if value is True else f"{word}: {' '.join(value) if isinstance(value, tuple) else value}"


def _dataset(name: str) -> dict[str, str]:
    card = load_card(name)
    known = card.counts
    counts: Sequence[tuple[int | None, str]] = [(card.n_features, "features")]
    if known is not None:
        counts = [(known.queries, "queries"), (known.documents, "documents"), *counts]
    size = ", ".join(f"{count:,} {what}" for count, what in counts if count)
    objectives = ", ".join(o.name for o in card.objectives)
    return {"name": name, "family": card.licence.name, "source": card.homepage, "claims": f"{size}; {objectives}"}
