"""The leaderboard of fronts: whose front is larger on the test queries, by how much, how surely, and at what cost.

What the numbers are, for one dataset of a suite of methods:

    point           of a preference: each objective's mean over all test queries of all folds. With official folds every
                    query is tested once; the queries of the folds are pooled, as on the leaderboard.
    chosen          the preferences that make a front are those whose validation points are not dominated, decided for
                    each system and seed, validation queries pooled likewise. Test queries have no say in it.
    hypervolume     of the chosen preferences' test points, for each seed; the mean over seeds is reported, under every
                    kind of reference point (`ltr.fronts.normalisation`). Ideal and nadir are facts of the task
                    (benchmarks/reference_points.toml), made from single-objective models on validation.
    difference      to the baseline DPO-LS, with its interval over other queries and other trainings
                    (`ltr.metrics.inference`): queries by a paired bootstrap (Poisson weights, the same for all),
                    trainings by the spread of the seeds. There is no interval of a hypervolume by itself: noise of any
                    sign enlarges a front, which biases it; differences are nearly free of that.
    verdict         "above", "below", "equal within the margin" or "cannot tell", corrected by Holm over the systems
    margin          a fiftieth of what lies between a random ranking and the best system: less does not matter
    IGD+, epsilon   to the union of all systems' chosen points of the seed, normalised, test
    weighted, worst mean over the preferences that are no corner of sum_k w_k measure_k, and of the mean over lists of
                    the smallest measure among the list's objectives
    correlation     of preferences with what they ask for: see `ltr.fronts.control`; over all preferences, not only
                    chosen ones
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.errors import check_name
from ltr.fronts import (
    chosen,
    control,
    epsilon,
    hypervolumes,
    igd_plus,
    n_outside,
    normalise,
    paired_hypervolumes,
    poisson_weights,
    rank_flips,
    three_hypervolumes,
    union_front,
)
from ltr.metrics.inference import Difference, Errors, errors_of_draws, verdicts
from ltr.seeds import seed_of

from .front_cube import Cube, cube, main_head, main_of, measures_of
from .reference_points import TaskPoints, points_for
from .results_io import note

if TYPE_CHECKING:
    import pandas as pd

    from ltr.bench.suite.suite import Variant

    from .results import FrontResults

__all__ = ["KINDS", "QUANTITIES", "FrontLeaderboard", "asks", "front_leaderboard"]

KINDS = ("normalised", "zero", "random")  # of reference points; the first one ranks
QUANTITIES = {
    "hypervolume": "normalised hypervolume",
    "weighted": "mean weighted sum",
    "worst": "mean of each list's worst objective",
}


@dataclass(frozen=True, eq=False)
class FrontLeaderboard:
    """One dataset's table.

    Attributes:
        suite: name of the suite.
        dataset, objectives, measures: what was traded off, each by its measure.
        partition, lattice: H, and the preferences `[point, objective]`.
        points: ideal, nadir and their version.
        baseline: system the others are compared with; "" where it has no results.
        table: a row a system, largest normalised hypervolume first; what a column is, see the page.
        cube: the arrays behind it.
        members: bool `[system, seed, point]`, chosen on validation.
        values: quantity -> `[system, seed]`, see QUANTITIES; errors: quantity -> those of the systems' means.
        margins: quantity -> differences below it do not matter.
        queries: test queries; unjudged: objective -> those without a relevant document.
        truth: kind of reference point -> hypervolume of the true front, where it is known.
        main: head of the column of the main label that is kept apart; "" where none is.
    """

    suite: str
    dataset: str
    objectives: tuple[str, ...]
    measures: tuple[str, ...]
    partition: int
    lattice: np.ndarray
    points: TaskPoints
    baseline: str
    table: pd.DataFrame
    cube: Cube
    members: np.ndarray
    values: dict[str, np.ndarray]
    errors: dict[str, Errors]
    margins: dict[str, float]
    queries: int
    unjudged: dict[str, int]
    level: float = 0.95
    truth: dict[str, float] = field(default_factory=dict)
    main: str = ""

    def has(self, system: str) -> bool:
        """Whether there is a whole front of it."""
        return system in self.cube.systems and bool(self.cube.complete[self.cube.systems.index(system)].any())

    def mean(self, system: str, quantity: str = "hypervolume") -> float:
        """Mean over its seeds; NaN where there is none."""
        return _mean(self.values[quantity][self.cube.systems.index(system)]) if self.has(system) else float("nan")

    def difference(
        self, a: str | Sequence[str], b: str | Sequence[str], quantity: str = "hypervolume"
    ) -> Difference | None:
        """The difference of a to b, of groups that of the means over their systems; None where a front is missing.

        Raises:
            InputError: an unknown quantity.
        """
        check_name("quantity of the leaderboard", quantity, self.values)
        groups = [[each] if isinstance(each, str) else list(each) for each in (a, b)]
        if not all(groups) or not all(self.has(s) for group in groups for s in group):
            return None
        weights = np.zeros(len(self.cube.systems))
        for group, sign in zip(groups, (1.0, -1.0), strict=True):
            for system in group:
                weights[self.cube.systems.index(system)] += sign / len(group)
        return self.errors[quantity].contrast(weights, self.level, self.margins[quantity])

    def verdicts(self) -> dict[str, str]:
        """Each system's hypervolume beside the baseline's, in one of the words of `ltr.metrics.VERDICTS`; all of them
        hold together. Empty without a baseline."""
        found = {s: self.difference(s, self.baseline) for s in self.cube.systems if s != self.baseline}
        there = {s: each for s, each in found.items() if each is not None}
        return dict(zip(there, verdicts(list(there.values()), 1 - self.level), strict=True))


def asks(variant: Variant) -> str:
    """What w asks of a system: "importance", "balance", "direction", or "none"."""
    from ltr.methods import METHODS

    # The one method whose question is a setting: PHN with EPO inside equalises, with a linear sum it does not.
    return "balance" if variant.params.get("inner") == "epo" else METHODS[variant.method].claims["means"]


def front_leaderboard(
    results: FrontResults,
    dataset: str | None = None,
    points: TaskPoints | None = None,
    *,
    draws: int = 1000,
    level: float = 0.95,
) -> FrontLeaderboard:
    """The leaderboard of one dataset.

    Args:
        dataset: the suite's first by default.
        points: ideal and nadir of its task; those of benchmarks/reference_points.toml by default.
        draws: of the paired bootstrap.
        level: of the intervals.

    Raises:
        InputError: an unknown dataset, no reference points for the task, or a point that is not a number.
    """
    import pandas as pd

    suite = results.suite
    dataset = dataset or suite.datasets[0]
    check_name("dataset of the results", dataset, suite.datasets)
    measures = measures_of(results, dataset)
    points = points or points_for(results, dataset)
    partition = suite.preferences
    lattice = results.lattice
    data = cube(results, dataset)
    at = np.argwhere(data.complete)
    members = np.zeros(data.vali.shape[:3], bool)
    for s, e in at:
        members[s, e] = chosen(data.vali[s, e])
    ideal, nadir = np.array(points.ideal), np.array(points.nadir)
    scaled = np.full(data.test.shape, np.nan)
    scaled[data.complete] = normalise(data.test[data.complete], ideal, nadir)
    cells = tuple(at.T)
    volumes = three_hypervolumes(data.test[cells], points.reference_points, partition, where=members[cells])
    found = {kind: _scatter(data, at, getattr(volumes, kind)) for kind in KINDS}
    found["nadir"] = _scatter(data, at, hypervolumes(scaled[cells], 0.0, where=members[cells]))
    values, resampled = _quantities(data, at, members, lattice, (ideal, nadir, -1 / partition), draws, dataset)
    values["hypervolume"] = found["normalised"]
    queries = data.values.shape[3]
    errors = {name: errors_of_draws(values[name], drawn, queries) for name, drawn in resampled.items()}
    labels = [v.label for v in suite.variants() if v.method == "dpo-ls"]
    baseline = labels[0] if labels else ""
    board = FrontLeaderboard(
        suite.name,
        dataset,
        tuple(suite.objectives),
        measures,
        partition,
        lattice,
        points,
        baseline,
        pd.DataFrame(),  # made from the rest, below
        data,
        members,
        values,
        errors,
        _margins(values, points, lattice, partition),
        queries,
        _unjudged(data),
        level,
        _true_volumes(points, partition),
        main_head(results, dataset),
    )
    table = _table(results, board, found, scaled)
    return replace(board, table=table, baseline=baseline if board.has(baseline) else "")


# ------------------------------------------------------------------------------------------- values and their draws


def _scatter(data: Cube, at: np.ndarray, values) -> np.ndarray:
    """`[..., cell]` of the complete cells back into `[..., system, seed]`."""
    values = np.asarray(values)
    out = np.full((*values.shape[:-1], *data.complete.shape), np.nan)
    out[..., at[:, 0], at[:, 1]] = values
    return out


def _unjudged(data: Cube) -> dict[str, int]:
    """Test queries that do not count, by objective; labels decide it, so any whole front says the same."""
    whole = data.values[data.complete]
    if not len(whole):
        return dict.fromkeys(data.objectives, 0)
    return dict(zip(data.objectives, np.isnan(whole[0, 0]).sum(0).tolist(), strict=True))


def _quantities(data: Cube, at, members, lattice, space, draws: int, dataset: str):
    """Values `[system, seed]` and draws `[draw, system, seed]` of every quantity (hypervolume: draws only)."""
    ideal, nadir, corner = space
    seed = seed_of("frontboard queries", dataset)
    cells = data.values[tuple(at.T)]
    # Means of normalised values are the normalised means: the map is affine.
    scaled = (cells - nadir) / (ideal - nadir)
    volumes = paired_hypervolumes(scaled, members[tuple(at.T)], corner, draws=draws, seed=seed)
    drawn = {"hypervolume": _scatter(data, at, volumes)}
    values = {}
    between = lattice.max(1) < 1
    asked, worst = cells[:, between], _smallest(cells[:, between])
    parts = np.einsum("cpqk,pk->ckq", asked, lattice[between]) / max(int(between.sum()), 1)
    for name, rows in (("weighted", parts), ("worst", worst.mean(1)[:, None])):
        values[name] = _scatter(data, at, np.nanmean(rows, axis=-1).sum(1))
        flat = _resampled(rows.reshape(-1, rows.shape[-1]), draws, seed).reshape(draws, *rows.shape[:2])
        drawn[name] = _scatter(data, at, flat.sum(2))
    return values, drawn


def _margins(
    values: dict[str, np.ndarray], points: TaskPoints, lattice: np.ndarray, partition: int
) -> dict[str, float]:
    """A fiftieth of what lies between a random ranking and the best system, by quantity."""
    random = np.array(points.random)
    between = lattice[lattice.max(1) < 1]
    scaled = normalise(random, np.array(points.ideal), np.array(points.nadir))
    floor = {
        "hypervolume": float(hypervolumes(scaled[None], -1 / partition)),
        "weighted": float((between @ random).mean()) if len(between) else 0.0,
        "worst": float(random.min()),  # a list's worst objective is no more than that on average: no wider a margin
    }
    best = {name: max((_mean(v) for v in found if np.isfinite(v).any()), default=0.0) for name, found in values.items()}
    return {name: max(best[name] - floor[name], 0.0) / 50 for name in values}


def _smallest(values: np.ndarray) -> np.ndarray:
    """The smallest measure among the objectives that count on a list; NaN where none does."""
    lowest = np.where(np.isnan(values), np.inf, values).min(-1)
    return np.where(np.isinf(lowest), np.nan, lowest)


def _resampled(rows: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Means of rows `[row, query]` over resampled queries, `[draw, row]`, NaN left out.

    The resamples are those that `paired_hypervolumes` sees at this seed, but for draws it must make again.
    """
    weights = poisson_weights(draws, rows.shape[1], np.random.default_rng(seed)).astype(np.float64)
    there = np.isfinite(rows)
    total = weights @ there.T.astype(np.float64)
    return np.divide(weights @ np.where(there, rows, 0.0).T, total, out=np.full(total.shape, np.nan), where=total > 0)


def _true_volumes(points: TaskPoints, partition: int) -> dict[str, float]:
    """Hypervolumes of the true front on the test queries, where the task knows it at this lattice."""
    if not points.truth or points.truth_partition != partition:
        return {}
    return three_hypervolumes(points.truth, points.reference_points, partition)._asdict()


# ----------------------------------------------------------------------------------------------------- the table


_ENDS = {"difference": "value", "low": "low", "high": "high"}


def _table(
    results: FrontResults, board: FrontLeaderboard, found: dict[str, np.ndarray], scaled: np.ndarray
) -> pd.DataFrame:
    import pandas as pd

    data, suite, words = board.cube, results.suite, board.verdicts() if board.has(board.baseline) else {}
    near, main = _nearness(board, scaled), main_of(results, board.dataset)
    rows = []
    for s, variant in enumerate(suite.variants()):
        mine = results.runs[(results.runs.dataset == board.dataset) & (results.runs.system == variant.label)]
        done = mine[mine.status == "done"]
        complete = data.complete[s]
        row: dict[str, Any] = {"system": variant.label, "method": variant.method, "asks": asks(variant)}
        row |= {kind: _mean(values[s]) for kind, values in found.items()}
        row["seed_sd"] = float(np.nanstd(found["normalised"][s], ddof=1)) if complete.sum() > 1 else np.nan
        gap = board.difference(variant.label, board.baseline) if board.baseline else None
        row |= {name: np.nan if gap is None else getattr(gap, at) for name, at in _ENDS.items()}
        row["verdict"] = words.get(variant.label, "")
        row |= {f"share_{kind}": row[kind] / v for kind, v in board.truth.items() if v > 0}
        row |= {name: _mean(values[s]) for name, values in near.items()}
        row |= {"weighted": _mean(board.values["weighted"][s]), "worst": _mean(board.values["worst"][s])}
        row |= _correlation(board, s, scaled, row["asks"])
        # Of a main label the mean over all preferences; else what the first objective has where it alone is asked for.
        row["main"] = _mean((main[s, complete] if board.main else data.test[s, complete, 0, 0]).ravel())
        row |= {
            name: done[name].mean() if name in done and len(done) else np.nan
            for name in ("models_trained", "operations", "fit_seconds", "seconds_a_point", "parameters", "reference")
        }
        row |= {"done": len(done), "planned": len(mine), "note": note(mine)}
        rows.append(row)
    table = pd.DataFrame(rows)
    table["flips"] = _flips(table)
    return table.sort_values("normalised", ascending=False, kind="stable", na_position="last", ignore_index=True)


def _nearness(board: FrontLeaderboard, scaled: np.ndarray) -> dict[str, np.ndarray]:
    """igd, epsilon, front and beyond, `[system, seed]`: chosen points, each once, and those of them that are not above
    the reference point."""
    complete = board.cube.complete
    found = {name: np.full(complete.shape, np.nan) for name in ("igd", "epsilon", "front", "beyond")}
    for e in range(complete.shape[1]):
        fronts = {s: scaled[s, e][board.members[s, e]] for s in np.flatnonzero(complete[:, e])}
        union = union_front(list(fronts.values())) if fronts else None
        for s, front in fronts.items():
            found["igd"][s, e], found["epsilon"][s, e] = igd_plus(front, union), epsilon(front, union)
            # Who is steered by no preference gives every one of them the same point.
            front = np.unique(front, axis=0)
            found["front"][s, e], found["beyond"][s, e] = len(front), n_outside(front, -1 / board.partition)
    return found


def _correlation(board: FrontLeaderboard, s: int, scaled: np.ndarray, asked: str) -> dict[str, float]:
    """Means over seeds. Who is steered by no preference follows none."""
    found = dict.fromkeys(("spearman", "switching", "regret", "nonuniformity"), np.nan)
    seeds = np.flatnonzero(board.cube.complete[s])
    if asked == "none" or not len(seeds):
        return found
    each = [control(board.lattice, scaled[s, e]) for e in seeds]
    found["spearman"] = float(np.mean([c.spearman for c in each]))
    for name in ("switching", "regret", *(("nonuniformity",) if asked == "balance" else ())):
        found[name] = float(np.mean([getattr(c, name) for c in each]))
    return found


def _flips(table: pd.DataFrame) -> list[int]:
    """How many systems each one changes places with when the reference point changes."""
    volumes = table[list(KINDS)].to_numpy(float)
    there = np.isfinite(volumes).all(1)
    counts = np.zeros(len(table), int)
    if there.any():
        counts[there] = rank_flips(volumes[there]).sum(1)
    return counts.tolist()


def _mean(values: np.ndarray) -> float:
    values = np.asarray(values, dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else float("nan")
