"""What a store's manifest says, from the parts that were written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import shard as parts
from .label_columns import Matrix, Objective
from .splitting import Part, splits
from .store import SCHEMA

if TYPE_CHECKING:
    from ltr.datasets.cards.card import Card

__all__ = ["of"]


def of(
    name: str,
    card: Card | None,
    objectives: Sequence[Objective],
    matrix: Matrix,
    keep: np.ndarray,
    where: dict[str, dict[str, Part]],
    seen: parts.FeatureFacts,
    root: Path | None,
    table: Sequence[dict],
) -> dict:
    """The manifest as it goes into manifest.json.

    Args:
        matrix: the full matrix of the source; `keep` are the places of its columns that are inputs, ascending.
        where: fold -> split -> part.
        seen: facts of the inputs over all parts.
        root: paths are relative to it.
        table: the table of roles of a table's columns; empty for svmlight text.
    """
    from ltr import __version__

    found = {part.id: part for given in where.values() for part in given.values()}
    roles = next(iter(found.values())).columns
    kept = [matrix.names[k] for k in keep]
    folds: dict[str, dict] = {}
    for fold, split, part, ranges, made in splits(where):
        folds.setdefault(fold, {})[split] = _split_facts(part, ranges, made, objectives)
    return {
        "schema": SCHEMA,
        "name": name,
        "made_by": f"ltr {__version__}",
        "card": _card_facts(card),
        "objectives": [{"name": o.name, "column": o.column, "raw": o.raw} for o in objectives],
        "features": {
            "count": len(keep),
            "names": kept,
            "left_out": [matrix.names[k] for k in np.setdiff1d(np.arange(matrix.width), keep)],
            "ignored": list(roles.ignored) if roles else [],
            "index_base": None if roles else matrix.base,
            "constant": [kept[k] for k in seen.constant()],
            "non_finite": {kept[k]: int(seen.non_finite[k]) for k in np.flatnonzero(seen.non_finite)},
        },
        "columns": roles
        and {"query": roles.query, "labels": list(roles.labels), "document": roles.document, "split": roles.split},
        "roles": list(table),
        "folds": folds,
        "parts": {part.id: _part_facts(part, objectives, root) for part in found.values()},
    }


def _card_facts(card: Card | None) -> dict | None:
    if card is None:
        return None
    from ltr.datasets.cards import card as cards

    return {"name": card.name, "sha256": cards.card_hash(card.name) if card.name in cards.cards() else None}


def _split_facts(part: Part, ranges, made: str, objectives: Sequence[Objective]) -> dict:
    offsets = part.layout.offsets
    queries = np.concatenate([np.arange(a, b) for a, b in ranges])
    rows = np.concatenate([np.arange(offsets[a], offsets[b]) for a, b in ranges])
    cut = np.concatenate([[0], np.cumsum(np.diff(offsets)[queries])])
    return {
        "part": part.id,
        "queries": [list(r) for r in ranges],
        "made": made,
        "n_queries": len(queries),
        "n_documents": len(rows),
        "lengths": parts.length_facts(cut),
        "labels": {o.name: parts.label_facts(part.labels[rows, k], cut) for k, o in enumerate(objectives)},
    }


def _part_facts(part: Part, objectives: Sequence[Objective], root: Path | None) -> dict:
    below = root is not None and part.path.is_relative_to(root)  # a store is handed on: no paths of this machine
    return {
        "source": (part.path.relative_to(root) if below else Path(part.path.name)).as_posix(),
        "sha256": part.sha256,
        "bytes": part.path.stat().st_size,
        "sizes": part.sizes.name if part.sizes else None,
        "n_documents": part.gathered.documents,
        "n_queries": len(part.gathered.query_ids),
        "reordered": part.layout.target is not None,
        "doc_ids": part.gathered.names_documents,
        "lengths": parts.length_facts(part.layout.offsets),
        "labels": {o.name: parts.label_facts(part.labels[:, k], part.layout.offsets) for k, o in enumerate(objectives)},
        "files": part.files,
    }
