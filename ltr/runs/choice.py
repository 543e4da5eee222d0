"""A choice on the front of a method, made on validation, and what it gives on test.

choose(points, objectives, ...)         best in one objective among the points that meet bounds on the others
at_most_loss(points, ...)               best in the others at a small loss of one
choose_on_run(folder, ...)              these, the knee, or what a user's choices say, on a finished run
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ltr.errors import InputError, check_name, unknown_name
from ltr.fronts import knee as knee_of
from ltr.metrics.significance import bootstrap_interval

from .front import Front, front_of_run
from .per_query import join_preference, read_per_query
from .record import Record, open_run
from .stated_pairs import Explained, explain_choices, read_pairs

__all__ = ["Choice", "ChoiceOnRun", "at_most_loss", "choose", "choose_on_run", "objective_named"]


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
        check_name("objective", name, names)
    for name, bound in at_least.items():
        if not np.isfinite(bound):
            raise InputError(f"the bound of {name}", expected="a finite number", came=bound)
    _check_finite(points, len(names))
    bounds = np.array([at_least.get(name, -np.inf) for name in names])
    lacking = np.maximum(bounds - points, 0.0)
    worst = lacking.max(1)
    best = points[:, names.index(maximise)]
    # The last key of a lexsort counts first: what is lacking, then the objective, then the others.
    index = int(np.lexsort((-points.sum(1), -best, worst))[0])
    short = {n: round(float(x), 12) for n, x in zip(names, lacking[index], strict=True) if x > 0}
    return Choice(index, not short, short)


def at_most_loss(points: np.ndarray, main: int, loss: float) -> int:
    """The point with the largest gain in the other objectives among those that lose little of the main one.

    Little: at most `loss` of the main objective's largest value. The gain is the mean of the other objectives, each
    scaled to [0, 1] over the points; of equal ones that with more of the main objective.

    Args:
        points: float64 `[preference, objective]`.
        main: the column that may lose.
        loss: a share, 0 to 1.

    >>> at_most_loss(np.array([[0.50, 0.1], [0.49, 0.3], [0.48, 0.35], [0.2, 0.4]]), main=0, loss=0.05)
    2
    """
    if not 0 <= loss < 1:
        raise InputError("a loss is a share of the best value", expected="0 or more and below 1", came=loss)
    _check_finite(points)
    low, high = points.min(0), points.max(0)
    gain = np.delete((points - low) / np.where(high > low, high - low, 1.0), main, axis=1).mean(1)
    own = points[:, main]
    return int(np.lexsort((-own, -gain, own < own.max() - loss * abs(own.max()) - 1e-12))[0])


def objective_named(name: str, known: Sequence[str]) -> str:
    """The objective of this name, of this label column, or the only one whose name starts so; case does not matter.

    Raises:
        InputError: none, or several.

    >>> objective_named("clicks", ["stars:linear", "clicks:grade5:linear"])
    'clicks:grade5:linear'
    """
    folded = name.casefold()
    each = [str(k).casefold() for k in known]
    for fits in (
        [k == folded for k in each],
        [k.split(":")[0] == folded for k in each],
        [k.startswith(folded) for k in each],
    ):
        hits = [k for k, fit in zip(known, fits, strict=True) if fit]
        if name in hits or len(hits) == 1:
            return name if name in hits else hits[0]
        if hits and name:
            raise InputError(f"{name!r} may be several objectives", expected=f"one of {', '.join(hits)}")
    raise unknown_name("objective of the run", name, known)


@dataclass(frozen=True, eq=False)
class ChoiceOnRun:
    """What `choose_on_run` found.

    Attributes:
        front: of the run.
        choice: by its validation points.
        rule: what decided, in words.
        preference: the weights of the choice.
        values: objective -> `vali` and `test`, the 95 % interval of test over queries (`low`, `high`), and `at_least`
            where it had a bound.
        maximise: the objective that decided; None where none alone did.
        explained: of a user's choices.
    """

    front: Front
    choice: Choice
    rule: str
    preference: tuple[float, ...]
    values: dict[str, dict[str, float]]
    maximise: str | None = None
    explained: Explained | None = None


def choose_on_run(
    folder: Path | str,
    at_least: Mapping[str, float] | None = None,
    maximise: str | None = None,
    *,
    knee: bool = False,
    at_most_loss: float | None = None,
    main: str | None = None,
    from_pairs: Path | str | None = None,
) -> ChoiceOnRun:
    """A preference of a run, chosen on validation by one of four rules. Objectives may be named by their label column.

    Args:
        folder: of a finished run of a method.
        at_least: objective -> smallest value that will do: best in `maximise` among the preferences that meet them.
        maximise: the objective that decides; the only one without a bound by default.
        knee: where the front bends: giving there costs most elsewhere (`ltr.fronts.knee`).
        at_most_loss: the share the main objective may lose of its best value, see the function of this name.
        main: the objective that may lose; the first by default.
        from_pairs: a table of choices between rankings of this run: columns `winner` and `loser`, numbers of its
            preferences, `query` where the rankings of a validation query were compared and not means, `p` and
            `weight` if any (stated_pairs.py). The preference is that whose point is worth most by the weights that
            explain them best.

    Raises:
        InputError: no finished run of a method, a damaged one, an unknown objective, or not one rule.
    """
    record = open_run(folder, "per_query/test.parquet", *(("per_query/vali.parquet",) if from_pairs else ()))
    front = front_of_run(record)
    points, names = front.points["vali"], front.objectives
    rules = [at_least or maximise, knee, at_most_loss is not None, from_pairs]
    if sum(map(bool, rules)) > 1:
        raise InputError("one rule chooses", expected="bounds and what to maximise, a knee, a largest loss, or pairs")
    if main is not None and at_most_loss is None:
        raise InputError("main says what may lose", expected="a largest loss beside it", came=main)
    bounds: dict[str, float] = {}
    for asked, bound in (at_least or {}).items():
        if (name := objective_named(asked, names)) in bounds:
            raise InputError(f"{name} has two bounds", expected="one", came=[bounds[name], bound])
        bounds[name] = bound
    maximise = None if maximise is None else objective_named(maximise, names)
    explained = None
    if knee:
        _check_finite(points)
        choice, rule = Choice(knee_of(points), True, {}), "the knee of the front on validation"
    elif at_most_loss is not None:
        k = 0 if main is None else names.index(objective_named(main, names))
        choice = Choice(_by_loss(points, k, at_most_loss), True, {})
        rule = (
            f"largest gain in the others on validation, {names[k]} loses at most {100 * at_most_loss:g} % of its best"
        )
    elif from_pairs:
        _check_finite(points)
        explained = _explained(record, front, Path(from_pairs))
        choice = Choice(int(np.argmax(points @ explained.weights)), True, {})
        rule = "worth most on validation by the weights that explain the choices best"
    else:
        if maximise is None:
            free = [name for name in names if name not in bounds]
            if len(free) != 1:
                raise InputError("which objective decides?", expected=f"--maximise, one of {', '.join(names)}")
            maximise = free[0]
        choice = choose(points, names, bounds, maximise)
        said = " and ".join(f"{name} >= {bound:g}" for name, bound in bounds.items()) or "no bound"
        rule = f"{maximise} is largest on validation, {said}"
    preference = tuple(float(f"{x:.6g}") for x in front.preferences[choice.index])
    return ChoiceOnRun(front, choice, rule, preference, _values(record, front, choice, bounds), maximise, explained)


_by_loss = at_most_loss  # the keyword has its name


def _values(record: Record, front: Front, choice: Choice, bounds: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """What a choice gives, objective by objective."""
    table = read_per_query(record.folder / "per_query" / "test.parquet")
    table = join_preference(table, front.preferences[choice.index])
    values: dict[str, dict[str, Any]] = {}
    for k, name in enumerate(front.objectives):
        own = table.filter(pc.equal(table["objective"], name))[front.measures[k]].to_numpy()
        low, high = bootstrap_interval(own) if np.isfinite(own).sum() > 1 else (float("nan"),) * 2
        points = {split: float(front.points[split][choice.index, k]) for split in ("vali", "test")}
        bound = {"at_least": bounds[name]} if name in bounds else {}
        values[name] = {**points, "low": float(low), "high": float(high), **bound}
    return values


def _explained(record: Record, front: Front, path: Path) -> Explained:
    """What the choices of a table say, between means on validation or between the rankings of its queries."""
    found = read_pairs(path, len(front.preferences))
    winner, loser, query = found["winner"], found["loser"], found.get("query")
    if query is None:
        points = front.points["vali"]
        return explain_choices(points[winner] - points[loser], found["p"], found["weight"])
    table = read_per_query(record.folder / "per_query" / "vali.parquet")
    queries = list(dict.fromkeys(table["query"].to_pylist()))
    strange = [q for q in query if q not in set(queries)]
    if strange:
        raise InputError("no query of validation", file=path, came=strange[0], do="Choices see validation queries only")
    values = np.empty((len(front.preferences), len(queries), len(front.objectives)))
    for i, w in enumerate(front.preferences):
        rows = join_preference(table, w)
        for k, (name, measure) in enumerate(zip(front.objectives, front.measures, strict=True)):
            values[i, :, k] = _by_query(rows, name, measure, queries)
    at = np.array([queries.index(q) for q in query])
    differences = values[winner, at] - values[loser, at]
    # A list without a positive label has no value of an objective, whatever its order: nothing to tell apart there.
    return explain_choices(np.nan_to_num(differences, nan=0.0), found["p"], found["weight"])


def _by_query(rows: pa.Table, objective: str, measure: str, queries: Sequence[str]) -> np.ndarray:
    own = rows.filter(pc.equal(rows["objective"], objective))
    assert own["query"].to_pylist() == list(queries)  # as a run writes them
    values: np.ndarray = own[measure].to_numpy()
    return values


def _check_finite(points: np.ndarray, objectives: int | None = None) -> None:
    if np.ndim(points) != 2 or not len(points) or objectives not in (None, points.shape[1]):
        expected = f"[preference, objective{'' if objectives is None else f'={objectives}'}], one or more"
        raise InputError("points of a front", expected=expected, came=np.shape(points))
    if not np.isfinite(points).all():
        raise InputError("a front with points that are no numbers", do="An objective counts on no list of the split")
