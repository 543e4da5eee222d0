"""The front of a method, one point per preference, as a run left it: chosen on validation, reported on test.

Other lists, or another lattice: `ltr.runs.front_pipeline.chain_on`. A choice on it: `ltr.runs.choice`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ltr.errors import InputError
from ltr.fronts import nondominated
from ltr.fronts.hypervolume import hypervolume
from ltr.objectives import lattice

from .record import Record

__all__ = ["Front", "front_of_run", "main_lines"]


@dataclass(frozen=True, eq=False)
class Front:
    """Points of a method, one per preference.

    Attributes:
        objectives: m names.
        measures: one an objective.
        preferences: float64 `[preference, objective]`.
        points: split -> float64 `[preference, objective]`, NaN where no query counts.
        judge: the split that says which points make the front; all of `points` where it is the one that is shown.
    """

    objectives: tuple[str, ...]
    measures: tuple[str, ...]
    preferences: np.ndarray
    points: dict[str, np.ndarray]
    judge: str

    @property
    def member(self) -> np.ndarray:
        """bool `[preference]`: not dominated on the judging split; none where it has a point that is no number."""
        points = self.points[self.judge]
        if not np.isfinite(points).all():
            return np.zeros(len(points), bool)
        return nondominated(points)

    def hypervolume(self, split: str) -> float:
        """Of the front's points on a split, seen from the origin; NaN where one is no number."""
        points = self.points[split][self.member]
        if len(points) == 0 or not np.isfinite(points).all():
            return float("nan")
        return hypervolume(points, np.zeros(points.shape[1]))

    def lines(self, shown: int | None = None) -> list[str]:
        """What the numbers are, for reading below a table of `shown` rows."""
        reported = list(self.points)[-1]
        judged = "validation" if self.judge == "vali" else self.judge
        measured = ", ".join(f"{name} by {m}" for name, m in zip(self.objectives, self.measures, strict=True))
        if len(set(self.measures)) == 1:
            measured = f"all objectives by {self.measures[0]}"
        some = "" if shown in (None, len(self.preferences)) else f" ({shown} shown, those on the front)"
        return [
            measured,
            f"{len(self.preferences)} preferences{some}; * not dominated on {judged}; "
            f"hypervolume of those on {reported}, seen from the origin: {self.hypervolume(reported):.4f}",
        ]

    def table(self) -> pa.Table:
        """A row a preference: `preference`, a column w_NAME and a column SPLIT_NAME an objective, `front`."""
        columns: dict[str, Any] = {"preference": np.arange(len(self.preferences), dtype=np.int16)}
        columns |= {f"w_{name}": self.preferences[:, k] for k, name in enumerate(self.objectives)}
        for split, points in self.points.items():
            columns |= {
                f"{split}_{name}": pa.array(points[:, k], from_pandas=True) for k, name in enumerate(self.objectives)
            }
        return pa.table({**columns, "front": self.member})


def front_of_run(record: Record, split: str = "test") -> Front:
    """The points of a finished run, those of validation among them: they say which make the front."""
    if "method" not in record.config:
        raise InputError("this run trained a ranker, which has no front", file=record.folder)
    names = tuple(record.config["data"]["objectives"])
    preferences = lattice(len(names), record.config["preferences"])
    points = {name: record.points(name) for name in dict.fromkeys(("vali", split))}
    return Front(names, tuple(record.config["measures"])[: len(names)], preferences, points, "vali")


def main_lines(record: Record, split: str = "test") -> list[str]:
    """What a finished run says of a main label that was kept apart: one sentence, or none."""
    main = record.config["data"].get("main")
    if main is None:
        return []
    means = [r["mean"] for r in record.measures if (r["split"], r["objective"]) == (split, main)]
    counted = [value for value in means if value is not None]
    line = f"main label, kept apart: {main} by {record.config['measures'][-1]} on {split}"
    line += f": {np.mean(counted):.4f}, mean over preferences" if counted else ": no query counts"
    if (own := record.reference.get(split)) is not None:
        line += f"; the reference ranker {own:.4f}"
    return [line]
