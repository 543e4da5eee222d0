"""The protocol of front comparisons, in code: fixed reference points, one normalisation, choice on validation.

1. A task's ideal and nadir come from single-objective models on validation, once, and carry a version. They are never
   taken from the methods compared: with a reference point of its own each, a front that is dominated can win.
2. Points are normalised to nadir = 0, ideal = 1, and the hypervolume is taken above -1/H, H the lattice partition
   (Ishibuchi, Imada, Setoguchi and Nojima, Evol. Comput. 26, 2018). It stands beside the one above 0 and the one above
   a random ranking; where two systems change places between them (`rank_flips`), the order is one of reference points.
3. All methods answer the same lattice. Which points are on a front is decided on validation (`chosen`), and that set
   is scored on test.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ltr.errors import InputError, unknown_name

from .dominance import Floats, Points, as_points, is_tensor, nondominated
from .hypervolume import hypervolumes

__all__ = [
    "KINDS",
    "Payoff",
    "ReferencePoints",
    "ThreeHypervolumes",
    "chosen",
    "normalise",
    "payoff",
    "rank_flips",
    "reference",
    "three_hypervolumes",
]

KINDS = ("zero", "base", "normalised", "nadir", "random")


@dataclass(frozen=True)
class ReferencePoints:
    """What a task's fronts are measured against, in the task's own measures (one number an objective).

    Attributes:
        task: its name.
        version: changes whenever a number does; numbers of two versions never share a table.
        objectives: names, in the order of the numbers.
        measures: the measure of each objective.
        ideal: the best that single-objective models reach.
        nadir: what is left of each objective in the worst of them.
        random: a random ranking.
        base: the base model that preference methods start from; where a task has none, its random ranking.
    """

    task: str
    version: str
    objectives: tuple[str, ...]
    measures: tuple[str, ...]
    ideal: tuple[float, ...]
    nadir: tuple[float, ...]
    random: tuple[float, ...]
    base: tuple[float, ...]

    def __post_init__(self) -> None:
        m = len(self.objectives)
        for name in ("measures", "ideal", "nadir", "random", "base"):
            came = getattr(self, name)
            if len(came) != m or (name != "measures" and not np.isfinite(came).all()):
                expected = f"{m} {'names' if name == 'measures' else 'finite numbers'}, one an objective"
                raise InputError(f"{name} of the reference points of {self.task}", expected=expected, came=came)
        for k, name in enumerate(self.objectives):
            if not self.ideal[k] > self.nadir[k]:
                expected = f"an ideal above the nadir {self.nadir[k]:g}: objectives in conflict"
                raise InputError(f"{self.task}: ideal of {name}", expected=expected, came=self.ideal[k])

    @property
    def box(self) -> float:
        """Volume between nadir and ideal: a hypervolume in the task's measures / box = the normalised one.

        >>> ReferencePoints("t", "1", ("a", "b"), ("x", "x"), (0.6, 0.5), (0.4, 0.4), (0, 0), (0, 0)).box
        0.01999999999999999
        """
        return float(np.prod(np.subtract(self.ideal, self.nadir)))


class Payoff(NamedTuple):
    """The pay-off table of single-objective models.

    Attributes:
        table: float64 `[model, objective]`, mean over seeds; row j is the model trained for objective j.
        ideal: float64 `[objective]`, best of each column.
        nadir: float64 `[objective]`, worst of each column.
    """

    table: Floats
    ideal: Floats
    nadir: Floats


def payoff(values: Any) -> Payoff:
    """Ideal and nadir from single-objective models, measured on validation.

    Args:
        values: `[model, objective]` or `[seed, model, objective]`, one model an objective.

    >>> p = payoff([[[0.5, 0.1], [0.2, 0.4]], [[0.7, 0.1], [0.2, 0.6]]])
    >>> p.ideal.round(3).tolist(), p.nadir.round(3).tolist()
    ([0.6, 0.5], [0.2, 0.1])
    """
    values = np.asarray(as_points(values, what="the pay-off table"))
    if values.ndim > 3 or values.shape[-1] != values.shape[-2]:
        expected = "[seed, model, objective], one model an objective"
        raise InputError("the pay-off table", expected=expected, came=values.shape)
    table = values if values.ndim == 2 else values.mean(0)
    return Payoff(table, table.max(0), table.min(0))


def normalise(points: Points, ideal: Any, nadir: Any) -> Any:
    """(points - nadir) / (ideal - nadir), `[..., objective]`: 0 at the nadir, 1 at the ideal; not cut off at either.

    Args:
        points: an array or tensor.
        ideal, nadir: `[objective]`.

    >>> normalise([[0.5, 0.25]], ideal=[0.6, 0.5], nadir=[0.4, 0.0]).round(9).tolist()
    [[0.5, 0.5]]
    """
    ideal, nadir = np.asarray(ideal, dtype=np.float64), np.asarray(nadir, dtype=np.float64)
    if not (ideal > nadir).all():
        raise InputError("the ideal", expected=f"above the nadir {nadir.tolist()}", came=ideal.tolist())
    if is_tensor(points):
        points = points.double()
        return (points - points.new_tensor(nadir)) / points.new_tensor(ideal - nadir)
    return (np.asarray(points, dtype=np.float64) - nadir) / (ideal - nadir)


def reference(kind: str, points: ReferencePoints, partition: int | None = None) -> Floats:
    """A reference point in the task's own measures, float64 `[objective]`.

    Args:
        kind: "zero"; "base", the base model; "nadir"; "random"; "normalised": -1/H of the way from nadir to ideal,
            above which a hypervolume divided by `points.box` is the normalised one.
        points: of the task.
        partition: H of the lattice, needed by "normalised".

    >>> task = ReferencePoints("t", "1", ("a", "b"), ("x", "x"), (0.6, 0.5), (0.4, 0.0), (0.1, 0.1), (0.3, 0.2))
    >>> reference("normalised", task, 10).round(9).tolist()
    [0.38, -0.05]
    """
    if kind not in KINDS:
        raise unknown_name("reference point", kind, KINDS)
    if kind == "zero":
        return np.zeros(len(points.objectives))
    if kind == "normalised":
        if partition is None or partition < 1:
            raise InputError("the normalised reference point is -1/H", expected="H, 1 or more", came=partition)
        ideal, nadir = np.asarray(points.ideal, float), np.asarray(points.nadir, float)
        point: Floats = nadir - (ideal - nadir) / partition
        return point
    return np.asarray(getattr(points, kind), dtype=np.float64)


class ThreeHypervolumes(NamedTuple):
    """Above 0 and above a random ranking in the task's measures; above -1/H in normalised ones. Numbers, or `[...]`.

    Not above the base model: it is the best one for the main objective, so next to nothing lies above it.
    """

    zero: float | Floats
    random: float | Floats
    normalised: float | Floats


def three_hypervolumes(points: Points, task: ReferencePoints, partition: int, where: Any = None) -> ThreeHypervolumes:
    """The hypervolume above each reference point of the protocol.

    Args:
        points: `[..., point, objective]` in the task's measures.
        task: its reference points.
        partition: H of the lattice.
        where: bool `[..., point]`, the chosen points; None: all.

    >>> task = ReferencePoints("t", "1", ("a", "b"), ("x", "x"), (0.6, 0.5), (0.4, 0.0), (0.1, 0.1), (0.3, 0.2))
    >>> [round(v, 6) for v in three_hypervolumes([[0.6, 0.5]], task, 10)]  # .6 x .5, .5 x .4, 1.1 x 1.1
    [0.3, 0.2, 1.21]
    """
    points = as_points(points, where)
    if points.shape[-1] != len(task.objectives):
        expected = f"[..., point, objective={len(task.objectives)}]"
        raise InputError(f"points of {task.task}", expected=expected, came=tuple(points.shape))

    def above(kind: str) -> Any:
        found = hypervolumes(points, reference(kind, task, partition), where)
        found = found / task.box if kind == "normalised" else found
        return float(found) if found.ndim == 0 else found

    return ThreeHypervolumes(above("zero"), above("random"), above("normalised"))


def rank_flips(values: Any, tolerance: float = 0.0) -> Floats:
    """Pairs of systems whose order depends on the reference point, bool `[system, system]`, symmetric.

    Args:
        values: `[system, reference point]`, hypervolumes.
        tolerance: differences up to it, relative to the larger value, are no order.

    >>> rank_flips([[3.0, 1.0], [2.0, 2.0], [1.0, 0.5]])[0].tolist()
    [False, True, False]
    """
    values = np.asarray(as_points(values, what="hypervolumes"))
    gaps = values[:, None] - values[None]
    slack = tolerance * np.maximum(np.abs(values[:, None]), np.abs(values[None]))
    flips: Floats = (gaps > slack).any(-1) & (gaps < -slack).any(-1)
    return flips


def chosen(validation_points: Points) -> Floats:
    """Which points are a system's front: those that nothing dominates on validation, bool `[..., point]`.

    The test split then scores this set, dominated there or not. A front chosen on the split that scores it is chosen
    for its noise too, and its hypervolume is too large.

    >>> chosen([[0.5, 0.1], [0.4, 0.1], [0.1, 0.5]]).tolist()
    [True, False, True]
    """
    front: Floats = nondominated(validation_points)
    return front
