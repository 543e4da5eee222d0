"""The data every room shares: ragged splits, padded batches, and the ranker's contract.

Shapes. A split is ragged: documents of all queries one after another, `offsets` cut them into lists. A batch is
padded: `[batch, list, ...]` with a boolean `where` that is True for real documents. Objectives are the last axis of
labels in both. Padding is never a label value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from .errors import InputError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Batch", "Ranker", "Split", "Task"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded lists on one device.

    Attributes:
        features: float32 `[batch, list, feature]`; zeros where padded.
        labels: float32 `[batch, list, objective]`; zeros where padded, which `where` says, not the value.
        where: bool `[batch, list]`, True for a real document.
        query: int64 `[batch]`, index of the list in its split.
        document: int64 `[batch, list]`, row of the document in its split; -1 where padded.
    """

    features: Tensor
    labels: Tensor
    where: Tensor
    query: Tensor
    document: Tensor

    def to(self, device, non_blocking: bool = True) -> Batch:
        move = {k: getattr(self, k).to(device, non_blocking=non_blocking) for k in self.__dataclass_fields__}
        return Batch(**move)


@dataclass(frozen=True, eq=False)
class Split:
    """Query lists of one split, ragged; arrays may be memory-mapped.

    Attributes:
        features: float32 `[documents, feature]`, documents of a query contiguous.
        labels: float32 `[documents, objective]`; None where nobody judged (prediction on new data).
        offsets: int64 `[queries + 1]`; list q is rows `offsets[q]:offsets[q + 1]`.
        query_ids: str `[queries]`, in the order of the file's first sight of them.
        doc_ids: str `[documents]`, or None where the source names no documents.
        objectives: name of each label column; the first is the main one.
        feature_names: name of each feature column.
        row: int64 `[documents]`, the document's row in the source file (0-based), so that predictions can be
            written in input order; None means source order equals ours.
        name: "train", "vali", "test" or what the source calls it.
    """

    features: np.ndarray
    labels: np.ndarray | None
    offsets: np.ndarray
    query_ids: np.ndarray
    doc_ids: np.ndarray | None = None
    objectives: tuple[str, ...] = ("relevance",)
    feature_names: tuple[str, ...] = ()
    row: np.ndarray | None = None
    name: str = ""

    def __post_init__(self):
        documents = self.features.shape[0]
        if self.features.ndim != 2:
            raise InputError("features must be a matrix", expected="[documents, feature]", came=self.features.shape)
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != documents:
            raise InputError(
                "offsets do not cover the documents",
                expected=f"0 ... {documents}",
                came=np.asarray(self.offsets)[[0, -1]].tolist() if len(self.offsets) else [],
            )
        if len(self.query_ids) != len(self.offsets) - 1:
            raise InputError("one query id a list", expected=f"{len(self.offsets) - 1} ids", came=len(self.query_ids))
        if self.labels is not None and self.labels.shape != (documents, len(self.objectives)):
            raise InputError(
                "labels do not fit",
                expected=f"[documents={documents}, objective={len(self.objectives)}]",
                came=self.labels.shape,
            )

    @property
    def n_queries(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_documents(self) -> int:
        return int(self.offsets[-1])

    @property
    def n_features(self) -> int:
        return self.features.shape[1]

    @property
    def lengths(self) -> np.ndarray:
        """Documents of each list, int64 `[queries]`."""
        return np.diff(self.offsets)

    def label(self, objective: str | None = None) -> np.ndarray:
        """One label column, float32 `[documents]`; the main one by default."""
        if self.labels is None:
            raise InputError(f"split {self.name!r} carries no labels", do="Only scoring works on unjudged lists")
        if objective is None:
            return self.labels[:, 0]
        if objective not in self.objectives:
            raise unknown_name("objective", objective, self.objectives)
        return self.labels[:, self.objectives.index(objective)]

    def take(self, queries: Sequence[int] | np.ndarray) -> Split:
        """The lists at these indices, in this order (copies their rows)."""
        queries = np.asarray(queries, dtype=np.int64)
        lengths = self.lengths[queries]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(self.offsets[queries] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return replace(
            self,
            features=self.features[rows],
            labels=None if self.labels is None else self.labels[rows],
            offsets=offsets,
            query_ids=self.query_ids[queries],
            doc_ids=None if self.doc_ids is None else self.doc_ids[rows],
            row=None if self.row is None else self.row[rows],
        )

    @classmethod
    def from_arrays(cls, X, y=None, group=None, *, objectives: Sequence[str] = ("relevance",), name: str = "") -> Split:
        """Lists from arrays as the boosters take them.

        Args:
            X: `[documents, feature]`, documents of a query contiguous.
            y: `[documents]` or `[documents, objective]`, or None.
            group: documents of each query, summing to `len(X)`; one list when None.
        """
        X = np.ascontiguousarray(X, dtype=np.float32)
        group = np.asarray([len(X)] if group is None else group, dtype=np.int64)
        if group.ndim != 1 or (group < 0).any() or group.sum() != len(X):
            raise InputError(
                "group sizes do not cover the rows", expected=f"sizes that sum to {len(X)}", came=int(group.sum())
            )
        if y is not None:
            y = np.ascontiguousarray(y, dtype=np.float32)
            y = y[:, None] if y.ndim == 1 else y
            if not np.isfinite(y).all():
                raise InputError("labels must be finite", came="NaN or infinity in y")
            if y.shape[1] != len(objectives):
                objectives = tuple(f"objective{k}" for k in range(y.shape[1]))
        return cls(
            X,
            y,
            np.concatenate([[0], np.cumsum(group)]),
            np.arange(len(group)).astype(str),
            objectives=tuple(objectives),
            feature_names=tuple(f"f{i}" for i in range(1, X.shape[1] + 1)),
            name=name,
        )


@dataclass(frozen=True, eq=False)
class Task:
    """A dataset's fold: what is trained on, what is selected on, what is reported.

    Attributes:
        name: dataset, e.g. "mq2008".
        fold: e.g. "Fold1".
        train, vali, test: the splits; selection reads `vali` only, reports read `test`.
        facts: what is known about the task (card values, or the truth of a synthetic task).
    """

    name: str
    fold: str
    train: Split
    vali: Split
    test: Split
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.train.objectives

    def split(self, name: str) -> Split:
        if name not in ("train", "vali", "test"):
            raise unknown_name("split", name, ("train", "vali", "test"))
        return getattr(self, name)


@runtime_checkable
class Ranker(Protocol):
    """What scores documents. Two verbs, `fit` and `score`, and a folder it can be kept in."""

    def fit(self, train: Split, vali: Split | None = None, **options) -> Ranker:
        """Trains on `train`, stops and selects on `vali`; returns itself."""

    def score(self, split: Split, preference=None) -> np.ndarray:
        """float32 `[documents]` in the split's order, higher is better."""

    def save(self, folder: Path) -> None:
        """Writes everything `load` needs to score."""

    @property
    def n_parameters(self) -> int:
        """Learned numbers: weights of a net, leaves of the trees, 0 of a baseline."""
