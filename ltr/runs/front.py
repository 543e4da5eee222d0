"""The front of a method: a point a preference, from a finished run or by scoring data anew, and a choice on it.

front_of_run(record)                    the points a run left, chosen on validation and reported on test
front_on(folder, splits, measures)      the points on other data, or on another lattice, in one pass of scoring
chain_on(folder, splits, measures)      the same with measures of every query, resamples, and seconds by stage
choose(points, objectives, ...)         the preference that meets bounds and is best in one objective
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import InputError, unknown_name

if TYPE_CHECKING:
    import pyarrow as pa

    from ltr.objectives import Labelling
    from ltr.types import Split

    from .front_pipeline import Chain
    from .record import Record

__all__ = ["Choice", "Front", "chain_on", "choose", "front_of_run", "front_on", "labelling_of_run"]


@dataclass(frozen=True, eq=False)
class Front:
    """Points of a method, one a preference.

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
        from ltr.fronts import nondominated

        points = self.points[self.judge]
        if not np.isfinite(points).all():
            return np.zeros(len(points), bool)
        return nondominated(points)

    def hypervolume(self, split: str) -> float:
        """Of the front's points on a split, seen from the origin; NaN where one is no number."""
        from ltr.fronts import hypervolume

        points = self.points[split][self.member]
        if len(points) == 0 or not np.isfinite(points).all():
            return float("nan")
        return hypervolume(points, np.zeros(points.shape[1]))

    def lines(self, shown: int | None = None) -> list[str]:
        """What the numbers are, for reading below a table of `shown` rows."""
        reported = list(self.points)[-1]
        measured = ", ".join(f"{name} by {m}" for name, m in zip(self.objectives, self.measures, strict=True))
        if len(set(self.measures)) == 1:
            measured = f"all objectives by {self.measures[0]}"
        some = "" if shown in (None, len(self.preferences)) else f" ({shown} shown, those on the front)"
        return [
            measured,
            f"{len(self.preferences)} preferences{some}; * not dominated on {self.judge}; "
            f"hypervolume of those on {reported}, seen from the origin: {self.hypervolume(reported):.4f}",
        ]

    def table(self) -> pa.Table:
        """A row a preference: `preference`, a column w_NAME and a column SPLIT_NAME an objective, `front`."""
        import pyarrow as pa

        columns: dict[str, Any] = {"preference": np.arange(len(self.preferences), dtype=np.int16)}
        columns |= {f"w_{name}": self.preferences[:, k] for k, name in enumerate(self.objectives)}
        for split, points in self.points.items():
            columns |= {
                f"{split}_{name}": pa.array(points[:, k], from_pandas=True) for k, name in enumerate(self.objectives)
            }
        return pa.table({**columns, "front": self.member})


def labelling_of_run(run: Path | str) -> Labelling:
    """How the labels of a run of a method were made; of a method's folder too."""
    from ltr.objectives import Labelling

    folder = Path(run)
    folder = folder / "method" if (folder / "method").is_dir() else folder
    path = folder / "labelling.json"
    if not path.is_file():
        raise InputError("no labelling", file=folder, expected="a labelling.json, as a run leaves it beside its method")
    return Labelling.load(path)


def front_of_run(record: Record, split: str = "test") -> Front:
    """The points of a finished run, those of validation among them: they say which make the front."""
    from ltr.objectives import lattice

    if "method" not in record.config:
        raise InputError("this run trained a ranker, which has no front", file=record.folder)
    names = tuple(record.config["data"]["objectives"])
    preferences = lattice(len(names), record.config["preferences"])
    points = {name: record.points(name) for name in dict.fromkeys(("vali", split))}
    return Front(names, tuple(record.config["measures"]), preferences, points, "vali")


def front_on(folder: Path | str, splits: Mapping[str, Split], measures: Sequence[str], **options) -> Front:
    """The points of a kept method on labelled lists, all preferences scored in one pass; arguments as `chain_on`."""
    return chain_on(folder, splits, measures, **options).front


def chain_on(
    folder: Path | str,
    splits: Mapping[str, Split],
    measures: Sequence[str],
    *,
    partition: int | None = None,
    device: str = "auto",
    **options,
) -> Chain:
    """`chain` for a kept method: on a GPU scores and measures stay there, and only the points come to the host.

    Args:
        folder: of the method, as a run keeps it.
        splits: name -> lists with the method's labels; "vali" says which points make the front where it is there.
        measures: one an objective.
        partition: H of the lattice; by default the protocol's, or the preferences it has models for.
        device: where it is computed.
        options: of `ltr.runs.front_pipeline.chain`: reference, draws, seed, tensors.
    """
    from ltr.objectives import lattice

    from .front_pipeline import chain
    from .systems import load

    method = load(folder, device)
    names = tuple(method.objectives)
    if partition is None and method.claims["steers"] == "fitted":
        preferences = np.asarray(method.preferences, np.float64)
    else:
        preferences = lattice(len(names), partition)
    return chain(method, splits, measures, preferences, device=device, **options)


@dataclass(frozen=True)
class Choice:
    """What `choose` found.

    Attributes:
        index: row of the points: the best that meets the bounds, or the nearest to meeting them.
        met: whether it meets them.
        short: objective -> how much it lacks, where it lacks something.
    """

    index: int
    met: bool
    short: dict[str, float]


def choose(points: np.ndarray, objectives: Sequence[str], at_least: Mapping[str, float], maximise: str) -> Choice:
    """The point that is best in one objective among those that meet the bounds; the nearest where none does.

    Args:
        points: float64 `[preference, objective]`.
        at_least: objective -> smallest value that will do.
        maximise: the objective that decides; equal points are told apart by the sum of the others.

    Raises:
        InputError: an unknown objective, or points that are no numbers.

    >>> points = np.array([[0.5, 0.1], [0.4, 0.3], [0.2, 0.4]])
    >>> choose(points, ["relevance", "clicks"], {"relevance": 0.3}, "clicks").index
    1
    >>> choose(points, ["relevance", "clicks"], {"relevance": 0.7}, "clicks")
    Choice(index=0, met=False, short={'relevance': 0.2})
    """
    names = list(objectives)
    for name in (*at_least, maximise):
        if name not in names:
            raise unknown_name("objective", name, names)
    if not np.isfinite(points).all():
        raise InputError("a front with points that are no numbers", do="An objective counts on no list of the split")
    bounds = np.array([at_least.get(name, -np.inf) for name in names])
    lacking = np.maximum(bounds - points, 0.0)
    worst = lacking.max(1)
    best = points[:, names.index(maximise)]
    # The last key of a lexsort counts first: what is lacking, then the objective, then the others.
    index = int(np.lexsort((-points.sum(1), -best, worst))[0])
    short = {n: round(float(x), 12) for n, x in zip(names, lacking[index], strict=True) if x > 0}
    return Choice(index, not short, short)
