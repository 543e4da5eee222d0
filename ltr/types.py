"""The data every room shares: ragged splits, padded batches, and the ranker's contract.

Shapes. A split is ragged: documents of all queries one after another, `offsets` cut them into lists. A batch is
padded: `[batch, list, ...]` with a boolean `where` that is True for real documents. Objectives are the last axis of
labels in both. Padding is never a label value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from .errors import InputError, unknown_name

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Batch", "Deferred", "Ranker", "Split", "Task", "in_another_order", "unmasked"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded lists on one device.

    Attributes:
        features: float32 `[batch, list, feature]`; zeros where padded.
        labels: float32 `[batch, list, objective]`; zeros where padded, which `where` says, not the value.
        where: bool `[batch, list]`, True for a real document.
        query: int64 `[batch]`, index of the list in its split.
        document: int64 `[batch, list]`, row of the document in its split; -1 where padded.
        weights: float32 `[batch, list]`, 0 where padded; None where the split has none.
    """

    features: Tensor
    labels: Tensor
    where: Tensor
    query: Tensor
    document: Tensor
    weights: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Batch:
        def moved(x: Any) -> Any:
            return None if x is None else x.to(device, non_blocking=non_blocking)

        return Batch(**{k: moved(getattr(self, k)) for k in self.__dataclass_fields__})


class Deferred:
    """A matrix that is made (read, checked, copied) when somebody looks at it first.

    Args:
        shape: known before.
        make: called once.
    """

    def __init__(self, shape: tuple[int, int], make: Callable[[], np.ndarray]):
        self.shape, self.ndim = shape, len(shape)
        self._make: Callable[[], np.ndarray] | None = make
        self._made: np.ndarray | None = None

    def __call__(self) -> np.ndarray:
        if self._made is None:
            assert self._make is not None
            self._made, self._make = self._make(), None
        return self._made

    def __reduce__(self) -> tuple[Any, ...]:
        return (np.asarray, (self(),))  # another process gets the numbers


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """Query lists of one split, ragged; arrays may be memory-mapped.

    Attributes:
        features: float32 `[documents, feature]`, documents of a query contiguous; may be given as `Deferred`.
        labels: float32 `[documents, objective]`; None where nobody judged (prediction on new data).
        offsets: int64 `[queries + 1]`; list q is rows `offsets[q]:offsets[q + 1]`.
        query_ids: str `[queries]`, in the order of the file's first sight of them.
        doc_ids: str `[documents]`, or None where the source names no documents.
        objectives: name of each label column; the first is the main one.
        feature_names: name of each feature column.
        row: int64 `[documents]`, the document's row in the source file (0-based), so that predictions can be
            written in input order; None means source order equals ours.
        name: "train", "vali", "test" or what the source calls it.
        weights: float32 `[documents]`, finite, 0 and up: what a document counts in the loss of its list. The same
            number for a whole list is the weight of the query. Training looks at them, measures do not unless asked
            (`ltr.mean(values, weights=split.query_weights)`). None: all count alike.
        positions: int32 `[documents]`, from 1: the rank at which the document was shown when its clicks were counted;
            see `ltr.datasets.clicks`. None where nobody says.
        categories: places of the feature columns that hold codes of categories, whose order and distance mean nothing.
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
    weights: np.ndarray | None = None
    positions: np.ndarray | None = None
    categories: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = self._held.shape
        if len(shape) != 2:
            raise InputError("features must be a matrix", expected="[documents, feature]", came=shape)
        documents = shape[0]
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != documents:
            raise InputError(
                "offsets do not cover the documents",
                expected=f"0 ... {documents}",
                came=np.asarray(self.offsets)[[0, -1]].tolist() if len(self.offsets) else [],
            )
        if (np.diff(self.offsets) < 0).any():
            raise InputError("a list ends before it starts", expected="offsets that never fall")
        for what in ("doc_ids", "row"):
            if (values := getattr(self, what)) is not None and len(values) != documents:
                raise InputError(f"{what} do not fit", expected=f"[documents={documents}]", came=len(values))
        if len(self.query_ids) != len(self.offsets) - 1:
            raise InputError("one query id a list", expected=f"{len(self.offsets) - 1} ids", came=len(self.query_ids))
        if self.weights is not None:
            fits = self.weights.shape == (documents,)
            if not fits or not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
                came = self.weights[~(self.weights >= 0)][:1].tolist() or "infinity" if fits else self.weights.shape
                expected = f"[documents={documents}] finite numbers from 0"
                raise InputError("weights do not fit", expected=expected, came=came)
        if self.positions is not None:
            fits = self.positions.shape == (documents,) and np.issubdtype(self.positions.dtype, np.integer)
            if not fits or (self.positions < 1).any():
                came = self.positions.min() if fits else (self.positions.dtype, self.positions.shape)
                raise InputError("positions do not fit", expected=f"[documents={documents}] ranks from 1", came=came)
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
        return int(self._held.shape[1])

    @property
    def _held(self) -> np.ndarray | Deferred:
        held: np.ndarray | Deferred = self.__dict__["features"]
        return held

    def __repr__(self) -> str:
        unjudged = "" if self.labels is not None else ", unjudged"
        objectives = "" if self.labels is None else f", objectives {', '.join(self.objectives)}"
        size = f"{self.n_queries:,} queries, {self.n_documents:,} documents, {self.n_features:,} features"
        return f"Split({self.name or 'unnamed'}: {size}{objectives}{unjudged})"

    @property
    def lengths(self) -> np.ndarray:
        """Documents of each list, int64 `[queries]`."""
        return np.diff(self.offsets)

    @property
    def query_weights(self) -> np.ndarray:
        """What each list counts, `[queries]`: the mean weight of its documents, 0 of none; 1 where there are none."""
        if self.weights is None:
            return np.ones(self.n_queries)
        lists = np.repeat(np.arange(self.n_queries), self.lengths)
        total: np.ndarray = np.bincount(lists, weights=self.weights, minlength=self.n_queries)
        mean: np.ndarray = total / np.maximum(self.lengths, 1)
        return mean

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
        queries = np.arange(self.n_queries)[queries]  # also a mask, and negative ones
        lengths = self.lengths[queries]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.repeat(self.offsets[queries] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return self.having(
            features=Deferred((len(rows), self.n_features), lambda: self.features[rows]),
            labels=None if self.labels is None else self.labels[rows],
            offsets=offsets,
            query_ids=self.query_ids[queries],
            doc_ids=None if self.doc_ids is None else self.doc_ids[rows],
            row=None if self.row is None else self.row[rows],
            weights=None if self.weights is None else self.weights[rows],
            positions=None if self.positions is None else self.positions[rows],
        )

    def having(self, **changes: Any) -> Split:
        """A copy with other attributes; unlike `dataclasses.replace` it does not look at deferred features."""
        unknown = changes.keys() - {f.name for f in fields(self)}
        if unknown:
            raise TypeError(f"a split has no {', '.join(sorted(unknown))}")
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__ | changes)
        other.__post_init__()
        return other

    @classmethod
    def from_arrays(
        cls,
        X: Any,
        y: Any = None,
        group: Any = None,
        *,
        objectives: Sequence[str] = ("relevance",),
        weights: Any = None,
        name: str = "",
    ) -> Split:
        """Lists from arrays as the boosters take them.

        Args:
            X: `[documents, feature]`, documents of a query contiguous.
            y: `[documents]` or `[documents, objective]`, or None.
            group: documents of each query, summing to `len(X)`; one list when None.
            weights: `[documents]`, or `[queries]`, one a list.
        """
        for what, other in (("y", y), ("weights", weights)):
            if in_another_order(X, other):
                raise InputError(f"the rows of {what} stand in another order than those of X", do="They go by place")
        X, y, weights = unmasked(X), unmasked(y), unmasked(weights)
        X = np.ascontiguousarray(X, dtype=np.float32)
        if X.ndim != 2:
            raise InputError("features must be a matrix", expected="[documents, feature]", came=X.shape)
        sizes = np.asarray([len(X)] if group is None else group)
        total = sum(sizes.ravel().tolist())  # Python's numbers do not wrap round
        group = sizes.astype(np.int64)
        if group.ndim != 1 or (group != sizes).any() or (group < 0).any() or total != len(X):
            expected = f"whole sizes that sum to {len(X)}"
            do = "Sizes of lists, not the query of each row" if group.shape == (len(X),) else ""
            raise InputError("group sizes do not cover the rows", expected=expected, came=total, do=do)
        if weights is not None:
            weights = np.asarray(weights, dtype=np.float32)
            weights = np.repeat(weights, group) if weights.shape == group.shape != X.shape[:1] else weights
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
            weights=weights,
        )


class _Features:
    """`Split.features`: an array, or a deferred one made now."""

    def __get__(self, split: Split, owner: type | None = None) -> np.ndarray:
        held = split._held
        if isinstance(held, Deferred):
            split.__dict__["features"] = held = held()
        return held

    def __set__(self, split: Split, value: np.ndarray | Deferred) -> None:
        split.__dict__["features"] = value  # only __init__ gets here: the class is frozen


# After the class, whose fields dataclass reads: as a default it would make `features` optional.
setattr(Split, "features", _Features())  # noqa: B010


@dataclass(frozen=True, eq=False, repr=False)
class Task:
    """A dataset's fold: what is trained on, what is selected on, what is reported.

    Attributes:
        name: dataset, e.g. "mq2008".
        fold: e.g. "Fold1".
        train, vali, test: the splits; selection reads `vali` only, reports read `test`.
        facts: what is known about the task (card values, or the truth of a synthetic task).
        unlabelled: all training lists without their labels, where `train` holds some of them only; see `few_labels`.
    """

    name: str
    fold: str
    train: Split
    vali: Split
    test: Split
    facts: dict[str, Any] = field(default_factory=dict)
    unlabelled: Split | None = None

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.train.objectives

    def __repr__(self) -> str:
        splits = "".join(f"\n  {self.split(name)!r}" for name in ("train", "vali", "test"))
        return f"Task({self.name}, {self.fold}){splits}"

    def split(self, name: str) -> Split:
        if name not in ("train", "vali", "test"):
            raise unknown_name("split", name, ("train", "vali", "test"))
        split: Split = getattr(self, name)
        return split


@runtime_checkable
class Ranker(Protocol):
    """What scores documents. Two verbs, `fit` and `score`, and a folder it can be kept in."""

    def fit(self, train: Split, vali: Split | None = None, **options: Any) -> Ranker:
        """Trains on `train`, stops and selects on `vali`; returns itself."""

    def score(self, split: Split, preference: Any = None) -> np.ndarray:
        """float32 `[documents]` in the split's order, higher is better."""

    def save(self, folder: Path) -> None:
        """Writes everything `load` needs to score."""

    @property
    def n_parameters(self) -> int:
        """Learned numbers: weights of a net, leaves of the trees, 0 of a baseline."""


def in_another_order(rows: Any, values: Any) -> bool:
    """Whether a data frame or series and a series have the same index in another order."""
    index: Any = getattr(rows, "index", None)
    other: Any = getattr(values, "index", None)
    if not hasattr(index, "equals") or not hasattr(other, "equals") or len(index) != len(other) or index.equals(other):
        return False
    return bool(index.is_unique and other.is_unique and index.isin(other).all())


def unmasked(x: Any) -> Any:
    """A masked array with NaN where it is masked, for numpy would take the numbers below the mask; else `x` itself."""
    return np.ma.filled(x.astype(np.float64), np.nan) if isinstance(x, np.ma.MaskedArray) else x
