"""What an objective is, and the labels of a task made from the raw columns of its store.

The store keeps columns as they came; an experiment says what it makes of them:

    Objective("relevance")                                                     # grades, gain 2^y - 1
    Objective("clicks", column="url-clicks", transform="grade5")               # quantiles of train -> 0-4, gain 2^y - 1
    Objective("length", column="url_length", direction="min", transform="minmax")   # per list to [0, 1], gain y

`label_objectives(objectives, train)` fits what there is to fit on the train split and gives a `Labelling`, which turns
any split, or the whole task, and travels with the run as one JSON file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ltr.atomic import write_text
from ltr.errors import InputError, check_name, unknown_name
from ltr.schema import bind
from ltr.types import Split, Task

from . import label_transforms
from .label_transforms import Direction, LabelTransform, Name

__all__ = ["GAINS", "Gain", "Labelling", "Objective", "label_objectives"]

Gain = Literal["exp2", "linear"]
GAINS: tuple[Gain, ...] = ("exp2", "linear")
_LARGEST_GRADE = 31  # 2^31: the last power of two whose sums over a list are harmless in float32


@dataclass(frozen=True)
class Objective:
    """One thing a ranking should be good at.

    Attributes:
        name: what it is called in configs, tables and preferences.
        column: label column of the split it is made from; empty: the column of its own name.
        direction: whether a higher ("max") or a lower ("min") raw value is better.
        transform: how raw values become labels, see `label_transforms`.
        rule: of grade5: "positives", "all", or "auto" (by whether train holds zeros).
        gain: what a label is worth to the measure, "exp2" 2^y - 1 or "linear" y; None: exp2 for grades (identity,
            grade5), linear for values in [0, 1].
    """

    name: str
    column: str = ""
    direction: Direction = "max"
    transform: Name = "identity"
    rule: Literal["auto", "positives", "all"] = "auto"
    gain: Gain | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise InputError("an objective needs a name")
        if self.transform == "grade5":
            check_name("direction", self.direction, ("max", "min"))
        else:
            LabelTransform(self.transform, self.direction)  # refuses what cannot be
        if not self.column:
            object.__setattr__(self, "column", self.name)
        if self.gain is None:
            object.__setattr__(self, "gain", "exp2" if self.transform in ("identity", "grade5") else "linear")
        elif self.gain not in GAINS:
            raise unknown_name("gain", str(self.gain), GAINS)

    def measure(self, k: int = 10) -> str:
        """The measure it is reported by; blank lists are skipped, objective by objective.

        >>> Objective("clicks", transform="minmax").measure()
        'nDCG(gain=linear,empty=skip)@10'
        """
        return f"nDCG(gain={self.gain},empty=skip)@{k}"


@dataclass(frozen=True)
class Labelling:
    """Objectives with their fitted transforms: raw label columns in, labels `[documents, objective]` out.

    Attributes:
        objectives: in the order of the label axis and of every preference.
        transforms: one for each.
    """

    objectives: tuple[Objective, ...]
    transforms: tuple[LabelTransform, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(o.name for o in self.objectives)

    @property
    def gains(self) -> tuple[Gain, ...]:
        """What a label is worth, one an objective."""
        return tuple(o.gain or "exp2" for o in self.objectives)

    def measures(self, k: int = 10) -> tuple[str, ...]:
        """One measure an objective."""
        return tuple(o.measure(k) for o in self.objectives)

    def apply(self, split: Split) -> Split:
        """The split with these objectives as its labels; everything else is shared, not copied.

        Raises:
            InputError: a column is missing, or a label cannot be what its gain needs (negative, or too large for 2^y).
        """
        labels = np.empty((split.n_documents, len(self.objectives)), np.float32)
        for k, (objective, transform) in enumerate(zip(self.objectives, self.transforms, strict=True)):
            labels[:, k] = transform.apply(split.label(objective.column), split.offsets)
            low, high = (float(f(labels[:, k], initial=0)) for f in (np.min, np.max))
            if low < 0 or (objective.gain == "exp2" and high > _LARGEST_GRADE):
                raise InputError(
                    f"objective {objective.name!r}: labels do not fit the gain {objective.gain}",
                    expected=f"0 to {_LARGEST_GRADE}" if objective.gain == "exp2" else "0 or more",
                    came=low if low < 0 else high,
                    do="Take transform='grade5' or 'minmax', or gain='linear'.",
                )
        return split.having(labels=labels, objectives=self.names)

    def task(self, task: Task) -> Task:
        """The task with these objectives in all three splits, and their gains in `facts["gains"]`, which methods read.

        The truth of a synthetic task is left behind where it speaks of other labels than these.
        """
        train, vali, test = (self.apply(task.split(name)) for name in ("train", "vali", "test"))
        facts = {**task.facts, "gains": self.gains}
        if any((o.column, o.transform, o.gain) != (o.name, "identity", "exp2") for o in self.objectives):
            facts.pop("truth", None)
        return replace(task, facts=facts, train=train, vali=vali, test=test)

    def save(self, path: Path | str) -> None:
        """Writes one JSON file, atomically."""
        rows = [
            {"objective": asdict(o), "transform": asdict(t)}
            for o, t in zip(self.objectives, self.transforms, strict=True)
        ]
        write_text(path, json.dumps({"objectives": rows}, indent=1) + "\n")

    @classmethod
    def load(cls, path: Path | str) -> Labelling:
        """Reads what `save` wrote.

        Raises:
            InputError: the file is not a saved labelling.
        """
        try:
            rows: list[dict[str, Any]] = json.loads(Path(path).read_text())["objectives"]
            objectives = tuple(bind(Objective, r["objective"], file=path, where="objective") for r in rows)
            transforms = tuple(bind(LabelTransform, r["transform"], file=path, where="transform") for r in rows)
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
            raise InputError("not a saved labelling", file=path, expected="the JSON of Labelling.save") from error
        return cls(objectives, transforms)


def label_objectives(objectives: Sequence[str | Objective], train: Split) -> Labelling:
    """Fits the label transforms of the objectives on the train split.

    Args:
        objectives: in the order preferences will have; a bare name is a label column as it stands.
        train: the split to fit on; vali and test must not be seen here.

    Raises:
        InputError: no objective, two of one name, an unknown column, or a column its transform cannot be fitted on.
    """
    if isinstance(objectives, str):
        raise InputError("objectives", expected="a sequence of names or objectives", came=objectives)
    chosen = [Objective(o) if isinstance(o, str) else o for o in objectives]
    names = [o.name for o in chosen]
    if not chosen or len(set(names)) < len(names):
        raise InputError("objectives need names of their own", expected="at least one, none twice", came=names)
    fitted = []
    for o in chosen:
        try:
            raw = train.label(o.column)
            fitted.append(label_transforms.fit(o.transform, raw, direction=o.direction, rule=o.rule))
        except InputError as error:
            raise error.but(what=f"objective {o.name!r}: {error.what}") from error
    return Labelling(tuple(chosen), tuple(fitted))
