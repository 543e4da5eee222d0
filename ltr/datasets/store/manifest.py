"""What a store's manifest says, from the parts that were written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr import __version__
from ltr.datasets.cards import card as cards

from . import shard
from .label_columns import Matrix, Objective
from .overlaps import between, list_hashes
from .splitting import VALI, Shard, splits
from .store import SCHEMA

if TYPE_CHECKING:
    from ltr.datasets.cards.card import Card

__all__ = ["of", "said", "source"]


def of(
    name: str,
    card: Card | None,
    objectives: Sequence[Objective],
    matrix: Matrix,
    keep: np.ndarray,
    where: dict[str, dict[str, Shard]],
    by_path: dict[Path, Shard],
    seen: shard.FeatureFacts,
    root: Path | None,
    table: Sequence[dict],
) -> dict:
    """The manifest as it goes into manifest.json.

    Args:
        matrix: the full matrix of the source; `keep` are the places of its columns that are inputs, ascending.
        where: fold -> split -> part; by_path: raw file -> part.
        seen: facts of the inputs over all parts.
        root: paths are relative to it.
        table: the table of roles of a table's columns; empty for svmlight text.
    """
    found = {part.id: part for given in where.values() for part in given.values()}
    roles = next(iter(found.values())).columns
    kept = [matrix.names[k] for k in keep]
    folds: dict[str, dict] = {}
    lists: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for fold, split, part, ranges, made in splits(where):
        folds.setdefault(fold, {})[split] = _split_facts(part, ranges, made, objectives)
        lists.setdefault(fold, {})[split] = _lists(part, ranges)
    notes = {fold: [*_cut(folds[fold]), *between(lists[fold])] for fold in folds}
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
            **({"categories": [c for c in kept if c in roles.categories]} if roles and roles.categories else {}),
            "constant": [kept[k] for k in seen.constant()],
            "non_finite": {kept[k]: int(seen.non_finite[k]) for k in np.flatnonzero(seen.non_finite)},
            "infinite": {kept[k]: int(seen.infinite[k]) for k in np.flatnonzero(seen.infinite)},
        },
        "columns": roles
        and {
            **{"query": roles.query, "labels": list(roles.labels), "document": roles.document, "split": roles.split},
            **roles.facts,
        },
        "roles": list(table),
        "folds": folds,
        "notes": {fold: texts for fold, texts in notes.items() if texts},
        "sources": _sources(by_path, root),
        "parts": {part.id: _part_facts(part, objectives, root) for part in found.values()},
    }


def source(path: Path, root: Path | None) -> str:
    """What the manifest calls a raw file: a store is handed on, so no paths of this machine."""
    return (path.relative_to(root) if root is not None and path.is_relative_to(root) else Path(path.name)).as_posix()


def _sources(by_path: dict[Path, Shard], root: Path | None) -> dict[str, dict[str, Any]]:
    """Every raw file with its size and hash; the bytes of a part may come under several names."""
    found = {}
    for path, part in by_path.items():
        found[source(path, root)] = {"bytes": path.stat().st_size, "sha256": part.sha256}
        for other, digest in part.beside.items():
            found[source(other, root)] = {"bytes": other.stat().st_size, "sha256": digest}
    return found


def _lists(part: Shard, ranges) -> tuple[np.ndarray, np.ndarray]:
    """Ids and list hashes of the queries of a split."""
    queries = np.concatenate([np.arange(a, b) for a, b in ranges])
    # Lists of a sizes file have no names of their own: each file counts from 1.
    of = "" if part.sizes is None else f"{part.path.name}:"
    ids = np.array([of + part.gathered.query_ids[q] for q in part.layout.queries[queries].tolist()], dtype=np.str_)
    return ids, list_hashes(part.sealed.documents, part.layout.offsets)[queries]


def _cut(splits: dict[str, dict]) -> list[str]:
    """Says so where validation was cut from the training queries without anybody asking."""
    if not splits["vali"]["made"].startswith(f"{VALI:.0%}"):
        return []
    n, rest = splits["vali"]["n_queries"], splits["train"]["n_queries"]
    return [f"no validation split was given: {n:,} of the {n + rest:,} queries of train serve as one and leave train"]


def said(notes: dict[str, list[str]]) -> list[str]:
    """The notes of all folds for the terminal: the first of each kind, with how many more stand in the manifest."""
    kinds: dict[str, list[str]] = {}
    for fold, texts in notes.items():
        for text in texts:
            kind = re.sub(r".* by query id, .*", "id", re.sub(r".* with the same documents .*", "documents", text))
            kinds.setdefault(re.sub(r"\d", "", kind), []).append(f"{fold}: {text}" if len(notes) > 1 else text)
    return [
        found[0] + (f" (and {len(found) - 1} more such remarks, in the store's manifest)" if found[1:] else "")
        for found in kinds.values()
    ]


def _card_facts(card: Card | None) -> dict | None:
    if card is None:
        return None

    return {"name": card.name, "sha256": cards.card_hash(card.name) if card.name in cards.cards() else None}


def _split_facts(part: Shard, ranges, made: str, objectives: Sequence[Objective]) -> dict:
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
        "lengths": shard.length_facts(cut),
        "labels": {o.name: shard.label_facts(part.labels[rows, k], cut) for k, o in enumerate(objectives)},
    }


def _part_facts(part: Shard, objectives: Sequence[Objective], root: Path | None) -> dict:
    return {
        "source": source(part.path, root),
        "sha256": part.sha256,
        "bytes": part.path.stat().st_size,
        "sizes": part.sizes.name if part.sizes else None,
        "n_documents": part.gathered.documents,
        "n_queries": len(part.gathered.query_ids),
        "reordered": part.layout.target is not None,
        "doc_ids": part.gathered.names_documents,
        **({"facts": sorted(part.gathered.facts)} if part.gathered.facts else {}),
        "lengths": shard.length_facts(part.layout.offsets),
        "labels": {o.name: shard.label_facts(part.labels[:, k], part.layout.offsets) for k, o in enumerate(objectives)},
        "files": part.sealed.files,
        "blocks": part.sealed.blocks,
    }
