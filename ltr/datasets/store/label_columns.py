"""Objectives: where each label column of a store comes from, and which columns leave the inputs for it.

The store keeps columns as they came. What an experiment makes of a raw one (grades by quantiles, values in [0, 1],
turned round where lower is better) is said and done in `ltr.objectives`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.datasets.readers.column_roles import matching
from ltr.datasets.readers.query_grouping import Gathered
from ltr.errors import InputError, check_name, unknown_name

if TYPE_CHECKING:
    from ltr.datasets.cards.card import Card

__all__ = ["Matrix", "Objective", "choose", "listed", "values"]


@dataclass(frozen=True)
class Objective:
    """Where a label column of the store comes from.

    Attributes:
        name: its name in tasks.
        column: 0 for the label itself (the head of an svmlight line, a table's main label); k for the feature of index
            k, counted as the file counts; or the name of a label column or feature (feature 0 of a file that counts
            from 0 is "f0"); None for what `name` means by itself. A feature that is an objective leaves the inputs.
        raw: a quantity that is turned into labels later: any finite value. Otherwise grades: finite, 0 or more.
    """

    name: str
    column: int | str | None = 0
    raw: bool = False


@dataclass(frozen=True)
class Matrix:
    """The full matrix of a source, before any column leaves.

    Attributes:
        names: of its columns.
        base: index of the first column as the file counts; 1 for tables.
        labels: the label columns of a table; empty for svmlight text, which has one without a name.
    """

    names: tuple[str, ...]
    base: int
    labels: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return len(self.names)

    def is_label(self, objective: Objective) -> bool:
        return objective.column == 0 or objective.column in self.labels

    def column(self, column: int | str | None) -> int:
        """A feature's place, from its index as the file counts or from its name."""
        if isinstance(column, str):
            check_name("feature", column, self.names)
            return self.names.index(column)
        if column is None or not self.base <= column < self.base + self.width:
            last = self.base + self.width - 1
            raise InputError("no such feature", expected=f"an index from {self.base} to {last}", came=column)
        return column - self.base


def listed(objectives: Sequence[str | Objective] | Mapping[str, Any]) -> list[Objective]:
    """The caller's objectives as a list; what a bare name means (column None) is decided later."""
    if isinstance(objectives, str):
        raise InputError("objectives", expected="a sequence of names, or a mapping", came=objectives)
    if not isinstance(objectives, Mapping):
        return [Objective(o, None) if isinstance(o, str) else o for o in objectives]
    found: list[Objective] = []
    for name, spec in objectives.items():
        if isinstance(spec, Objective):
            found.append(replace(spec, name=name))
            continue
        spec = spec if isinstance(spec, Mapping) else {"column": spec}
        for key in spec:
            check_name(f"key of the objective {name!r}:", key, ("column", "raw"))
        if not isinstance(spec.get("raw", False), bool):
            raise InputError(f"raw of the objective {name!r}", expected="true or false", came=spec["raw"])
        found.append(Objective(name, spec.get("column", 0), spec.get("raw", False)))
    return found


def choose(
    given: Any, drop: Sequence[int | str], card: Card | None, matrix: Matrix
) -> tuple[list[Objective], list[int]]:
    """The objectives, and the places of the columns that leave the inputs, ascending.

    Args:
        given: what the caller asked for, see `store.convert`; None for the card's main one, else all labels.
        drop: further features that leave.
    """
    if given is None:
        given = [o.name for o in card.objectives[:1]] if card else list(matrix.labels or ("relevance",))
    chosen = [_by_name(o, card, matrix) if o.column is None else o for o in listed(given)]
    if not chosen:
        raise InputError("no objective", expected="at least one")
    leaving = {matrix.column(c) for c in drop if not isinstance(c, str)}
    leaving |= {matrix.column(c) for c in matching([c for c in drop if isinstance(c, str)], matrix.names, "feature")}
    for k, o in enumerate(chosen):
        before = [p.name for p in chosen[:k]]
        if o.name in ("row", "doc_id", "_weights", "_positions", "", *before):
            expected = "not row, not doc_id, not twice"
            raise InputError("an objective needs a name of its own", expected=expected, came=o.name)
        if any(matrix.is_label(o) and o.column == p.column for p in chosen[:k]) and not matrix.labels:
            raise InputError(
                "two objectives, one label column",
                expected="a feature for each further objective",
                came=[*before, o.name],
                do="For example {'relevance': {'column': 0}, 'pagerank': {'column': 41}}",
            )
        if card is not None and o.name in {c.name for c in card.objectives}:
            leaving |= {matrix.column(c) for c in card.leaving([o.name])}
        if not matrix.is_label(o):
            leaving.add(matrix.column(o.column))
    return chosen, sorted(leaving)


def _by_name(o: Objective, card: Card | None, matrix: Matrix) -> Objective:
    """What a bare name means: the card's objective, a label column, a feature, or the name of svmlight's label."""
    if card is not None:
        own = card.objective(o.name)
        return Objective(o.name, own.column, o.raw or own.transform != "identity")
    if o.name in matrix.labels or o.name in matrix.names:
        return replace(o, column=o.name)
    if matrix.labels:
        raise unknown_name("label or feature column", o.name, [*matrix.labels, *matrix.names])
    return replace(o, column=0)


def values(gathered: Gathered, objectives: Sequence[Objective], matrix: Matrix, path: Path) -> np.ndarray:
    """The label columns, float32 `[documents, objective]`, in the source's order."""
    features = [k for k, o in enumerate(objectives) if not matrix.is_label(o)]
    out = np.empty((gathered.documents, len(objectives)), np.float32)
    out[:, features] = gathered.columns([matrix.column(objectives[k].column) for k in features], matrix.base)
    for k, o in enumerate(objectives):
        if k not in features:
            out[:, k] = gathered.labels[:, matrix.labels.index(o.column) if o.column != 0 else 0]
    wrong = np.argwhere(~(np.isfinite(out) & ((out >= 0) | np.array([o.raw for o in objectives]))))
    if len(wrong):
        row, k = wrong[0].tolist()
        raw = objectives[k].raw
        raise InputError(
            f"objective {objectives[k].name!r}, document {row + 1}: not a {'number' if raw else 'grade'}",
            file=path,
            expected="a finite value" if raw else "a finite value, 0 or more",
            came=float(out[row, k]),
            do="Choose another column" if raw else "Choose another column, or a label transform that takes it as it is",
        )
    return out
