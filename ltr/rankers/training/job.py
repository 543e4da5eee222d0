"""What a training is asked to do, as plain data, and the checks of the splits it is asked to do it on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ltr.errors import InputError
from ltr.types import Split

__all__ = ["FitJob", "ObjectiveJob", "Progress", "check_features", "check_splits", "nothing", "told_names"]


class Progress(NamedTuple):
    """What `progress(event)` hears after an epoch, or after some rounds of boosting.

    Attributes:
        epoch: epochs (rounds) done.
        epochs: epochs (rounds) asked for.
        loss: mean training loss of the epoch; None where the library keeps it to itself.
        vali: selection measure on validation; None without validation lists.
    """

    epoch: int
    epochs: int
    loss: float | None
    vali: float | None


def nothing(scores: np.ndarray) -> float:
    """Selects by nothing: what a job without validation lists is given."""
    return float("nan")


@dataclass(frozen=True, kw_only=True)
class FitJob:
    """One training, checked.

    Attributes:
        train, vali: the splits; `vali` may be None, then nothing is selected.
        select: scores of the validation documents -> the number that selects, NaN where no list counts. Scores of one
            ranking are `[documents]`; trainings that score several at once hand over `[row, documents]`.
        seed: what everything random follows from.
        folder: where a resumable checkpoint is kept; None keeps none.
        on_progress: called with a `Progress`.
        accelerator: of nets: auto, cpu, gpu or mps.
        threads: of boosters.
        callbacks, logger: of Lightning's Trainer, beside ours.
        trainer: a Trainer of the caller's, in place of ours.
    """

    train: Split
    vali: Split | None
    select: Callable[..., Any] = nothing
    seed: int = 0
    folder: Path | None = None
    on_progress: Callable[[Progress], Any] | None = None
    accelerator: str = "auto"
    threads: int = 1
    callbacks: tuple[Any, ...] = ()
    logger: Any = None
    trainer: Any = None

    def report(self, epoch: int, epochs: int, loss: float | None, vali: float | None) -> None:
        if self.on_progress is not None:
            self.on_progress(Progress(epoch, epochs, loss, vali))


@dataclass(frozen=True, kw_only=True)
class ObjectiveJob(FitJob):
    """The training of a ranker that learns one label column.

    Attributes:
        objective: index of the column.
        measure: name of the measure behind `select`.
        loss: of nets; None for rankers that bring their own objective.
        unlabelled: lists whose features alone are looked at; None where nobody gave any.
    """

    objective: int = 0
    measure: str = ""
    loss: Any = None
    unlabelled: Split | None = None

    def hand_to(self, ranker: Any, place: str, train: Split | None = None, **own: Any) -> Any:
        """`ranker`, trained as this job asks, on other lists where they are given; its checkpoints lie in `place`."""
        how = {
            "objective": self.train.objectives[self.objective],
            "select": self.measure,
            "folder": self.folder and self.folder / place,
            "progress": self.on_progress or False,
            "accelerator": self.accelerator,
        }
        return ranker.fit(self.train if train is None else train, self.vali, **how, **own)

    @property
    def labels(self) -> np.ndarray:
        """The column, contiguous float32 `[documents]` of train (the boosters copy others with a warning)."""
        return np.ascontiguousarray(self.train.label(self.train.objectives[self.objective]))


def no_split(given: Any) -> InputError:
    """What is said where lists were expected."""
    task = "ranker.fit(task.train, task.vali), ranker.score(task.test)" if hasattr(given, "train") else ""
    arrays = "Split.from_arrays(features, labels, sizes of the lists), or RankingEstimator, which takes arrays"
    return InputError("lists come as a Split", came=type(given).__name__, do=task or arrays)


def check_splits(train: Split, vali: Split | None, objective: str | None = None) -> int:
    """Index of the label column to learn, after everything that can be wrong with the splits was looked at."""
    for split, role in ((train, "train"), (vali, "vali")):
        if split is None:
            continue
        if not isinstance(split, Split):
            raise no_split(split)
        if split.labels is None:
            raise InputError(f"the {role} split carries no labels")
        if split.n_documents == 0:
            raise InputError(f"the {role} split holds no documents")
        if split.weights is not None and not split.weights.any():
            raise InputError(f"all weights of the {role} split are 0, so nothing counts", expected="one above 0")
        split.label(objective)  # an unknown objective is named there
        if odd := int((~np.isfinite(split.labels)).any(1).sum()):
            what = f"{odd:,} documents of the {role} split have labels that are no finite numbers"
            raise InputError(what, expected="a grade a document", do="Leave unjudged documents out")
        if split.n_features != train.n_features or split.objectives != train.objectives:
            raise InputError(
                "train and vali do not fit together",
                expected=f"{train.n_features} features, objectives {train.objectives}",
                came=(split.n_features, split.objectives),
            )
        check_features(split, train.n_features, told_names(train))
    return 0 if objective is None else train.objectives.index(objective)


def told_names(split: Split) -> tuple[str, ...]:
    """Names of the features where somebody gave them any; none where they are numbered."""
    names = tuple(split.feature_names)
    return () if all(re.fullmatch(r"f\d+", name) for name in names) else names


def check_features(split: Split, n_features: int | None, names: Sequence[str]) -> None:
    """Refuses lists whose features are not those of a training, or stand in another order.

    Args:
        names: of the features of the training; lists or trainings without names go by place.
    """
    do = "Take the columns of the training split, in its order"
    if split.n_features != n_features:
        expected = f"{n_features} features"
        raise InputError(
            "lists of other features than those of the training", expected=expected, came=split.n_features, do=do
        )
    odd = [(a, b) for a, b in zip(names, told_names(split), strict=False) if a != b]
    if odd:
        what = "in another order" if set(names) == set(split.feature_names) else "other features"
        what = (
            f"features of {split.name or 'the lists'!r} are not those of the training: {what}, first at {odd[0][0]!r}"
        )
        raise InputError(what, expected=odd[0][0], came=odd[0][1], do=do)
