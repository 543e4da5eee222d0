"""The frontboard: whose front is larger on the test queries, by how much, how surely, and at what cost.

What the numbers are, for one dataset of a suite of methods:

    point           of a preference: each objective's mean over all test queries of all folds. With official folds every
                    query is tested once; the queries of the folds are pooled, as on the leaderboard.
    chosen          the preferences that make a front are those whose validation points are not dominated, decided for
                    each system and seed, validation queries pooled likewise. Test queries have no say in it.
    hypervolume     of the chosen preferences' test points, for each seed; the mean over seeds is reported, under every
                    kind of reference point (`ltr.fronts.normalisation`). Ideal and nadir are facts of the task
                    (benchmarks/reference_points.toml), made from single-objective models on validation.
    difference      to the yardstick DPO-LS: percentile interval of a paired bootstrap. A draw resamples queries
                    (Poisson weights) and seeds, the same for all systems. There is no interval of a hypervolume by
                    itself: noise of any sign enlarges a front, which biases it; differences are nearly free of that.
    IGD+, epsilon   to the union of all systems' chosen points of the seed, normalised, test
    wanted, worst   mean over the preferences that are no corner of sum_k w_k measure_k, and of the mean over lists of
                    the smallest measure among the list's objectives
    control         does w get what it asks for: see `ltr.fronts.control`; over all preferences, not only chosen ones
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ltr.errors import InputError, unknown_name
from ltr.seeds import seed_of

from .reference_points import TaskPoints

if TYPE_CHECKING:
    import pandas as pd

    from ltr.bench.suite.suite import Variant

    from .results import FrontResults

__all__ = ["KINDS", "QUANTITIES", "Cube", "Difference", "Frontboard", "asks", "cube", "frontboard"]

KINDS = ("normalised", "zero", "base")  # of reference points; the first one ranks
QUANTITIES = {
    "hypervolume": "normalised hypervolume",
    "wanted": "mean of what w asked for",
    "worst": "mean of each list's worst objective",
}


class Difference(NamedTuple):
    """a less b, with the ends of its interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether a is above b: "yes", "no" (below), or "cannot tell"."""
        if self.low > 0:
            return "yes"
        return "no" if self.high < 0 else "cannot tell"

    def __str__(self) -> str:
        return f"{self.value:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass(frozen=True, eq=False)
class Cube:
    """One dataset's results as arrays; what is not there is NaN.

    Attributes:
        systems, seeds, objectives: the axes by name; the test queries are (fold, query) pairs.
        vali, test: `[system, seed, point, objective]`, means over the pooled queries of all folds.
        values: `[system, seed, point, query, objective]`, test.
        complete: `[system, seed]`, every fold is there.
    """

    systems: tuple[str, ...]
    seeds: tuple[int, ...]
    objectives: tuple[str, ...]
    vali: np.ndarray
    test: np.ndarray
    values: np.ndarray
    complete: np.ndarray


@dataclass(frozen=True, eq=False)
class Frontboard:
    """One dataset's table.

    Attributes:
        dataset, objectives, measures: what was traded off, each by its measure.
        partition, lattice: H, and the preferences `[point, objective]`.
        points: ideal, nadir and their version.
        yardstick: system the others are compared with; "" where it has no results.
        table: a row a system, largest normalised hypervolume first; what a column is, see the page.
        cube: the arrays behind it.
        members: bool `[system, seed, point]`, chosen on validation.
        values: quantity -> `[system, seed]`; draws: quantity -> `[draw, system, seed]`, see QUANTITIES.
        seed_weights: `[draw, seed]`, how often a draw took a seed.
        queries: test queries; blank: objective -> those without a document of any worth.
        truth: kind of reference point -> hypervolume of the true front, where it is known.
    """

    dataset: str
    objectives: tuple[str, ...]
    measures: tuple[str, ...]
    partition: int
    lattice: np.ndarray
    points: TaskPoints
    yardstick: str
    table: pd.DataFrame
    cube: Cube
    members: np.ndarray
    values: dict[str, np.ndarray]
    draws: dict[str, np.ndarray]
    seed_weights: np.ndarray
    queries: int
    blank: dict[str, int]
    level: float = 0.95
    truth: dict[str, float] = field(default_factory=dict)

    def has(self, system: str) -> bool:
        """Whether there is a whole front of it."""
        return system in self.cube.systems and bool(self.cube.complete[self.cube.systems.index(system)].any())

    def mean(self, system: str, quantity: str = "hypervolume") -> float:
        """Mean over its seeds; NaN where there is none."""
        return _mean(self.values[quantity][self.cube.systems.index(system)]) if self.has(system) else float("nan")

    def difference(
        self, a: str | Sequence[str], b: str | Sequence[str], quantity: str = "hypervolume"
    ) -> Difference | None:
        """a less b over the seeds both have; of groups, the mean over their systems. None where nothing is shared.

        Raises:
            InputError: an unknown quantity.
        """
        if quantity not in self.values:
            raise unknown_name("quantity of the frontboard", quantity, list(self.values))
        groups = [[each] if isinstance(each, str) else list(each) for each in (a, b)]
        if not all(groups) or not all(self.has(s) for group in groups for s in group):
            return None
        rows = [[self.cube.systems.index(s) for s in group] for group in groups]
        shared = self.cube.complete[rows[0] + rows[1]].all(0)
        if not shared.any():
            return None
        value, drawn = self.values[quantity], self.draws[quantity]
        gap = value[rows[0]].mean(0) - value[rows[1]].mean(0)
        gaps = drawn[:, rows[0]].mean(1) - drawn[:, rows[1]].mean(1)
        weights = np.where(shared, self.seed_weights, 0.0)
        total = weights.sum(1)
        gaps = (np.where(shared, gaps, 0.0) * weights).sum(1)[total > 0] / total[total > 0]
        low, high = np.quantile(gaps, [(1 - self.level) / 2, (1 + self.level) / 2])
        return Difference(float(gap[shared].mean()), float(low), float(high))


def asks(variant: Variant) -> str:
    """What w asks of a system: "importance", "balance", "direction", or "none"."""
    from ltr.methods import METHODS

    # The one method whose question is a setting: PHN with EPO inside equalises, with a linear sum it does not.
    return "balance" if variant.params.get("inner") == "epo" else METHODS[variant.method].claims["means"]


def frontboard(
    results: FrontResults,
    dataset: str | None = None,
    points: TaskPoints | None = None,
    *,
    draws: int = 1000,
    level: float = 0.95,
) -> Frontboard:
    """The frontboard of one dataset.

    Args:
        dataset: the suite's first by default.
        points: ideal and nadir of its task; those of benchmarks/reference_points.toml by default.
        draws: of the paired bootstrap.
        level: of the intervals.

    Raises:
        InputError: an unknown dataset, no reference points for the task, or a point that is not a number.
    """
    from ltr.fronts import chosen, hypervolumes, normalise, three_hypervolumes
    from ltr.objectives import lattice as lattice_of

    from .reference_points import points_of

    suite = results.suite
    dataset = dataset or suite.datasets[0]
    if dataset not in suite.datasets:
        raise unknown_name("dataset of the results", dataset, suite.datasets)
    measures = measures_of(results, dataset)
    points = points or points_of(dataset, suite.objectives, measures)
    partition = suite.preferences
    lattice = lattice_of(len(suite.objectives), partition)
    data = cube(results, dataset, len(lattice))
    at = np.argwhere(data.complete)
    members = np.zeros(data.vali.shape[:3], bool)
    for s, e in at:
        members[s, e] = chosen(data.vali[s, e])
    ideal, nadir = np.array(points.ideal), np.array(points.nadir)
    scaled = _where_complete(data, lambda cells: normalise(cells, ideal, nadir))
    cells = tuple(at.T)
    volumes = three_hypervolumes(data.test[cells], points.reference_points, partition, where=members[cells])
    found = {kind: _scatter(data, at, getattr(volumes, kind)) for kind in KINDS}
    found["nadir"] = _scatter(data, at, hypervolumes(scaled[cells], 0.0, where=members[cells]))
    values, resampled = _quantities(data, at, members, lattice, (ideal, nadir, -1 / partition), draws, dataset)
    values["hypervolume"] = found["normalised"]
    generator = np.random.default_rng(seed_of("frontboard seeds", dataset))
    n = len(data.seeds)
    seed_weights = generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)
    labels = [v.label for v in suite.variants() if v.method == "dpo-ls"]
    yardstick = labels[0] if labels else ""
    board = Frontboard(
        dataset,
        tuple(suite.objectives),
        measures,
        partition,
        lattice,
        points,
        yardstick,
        None,
        data,
        members,
        values,
        resampled,
        seed_weights,
        data.values.shape[3],
        _blank(data),
        level,
        _true_volumes(points, partition),
    )
    table = _table(results, board, found, scaled)
    return Frontboard(**{**board.__dict__, "table": table, "yardstick": yardstick if board.has(yardstick) else ""})


def measures_of(results: FrontResults, dataset: str) -> tuple[str, ...]:
    """The measure of each objective, in the suite's order.

    Raises:
        InputError: the results hold nothing of the dataset.
    """
    mine = results.fronts[results.fronts.dataset == dataset].drop_duplicates("objective")
    table = dict(zip(mine.objective, mine.measure, strict=True))
    missing = [o for o in results.suite.objectives if o not in table]
    if missing:
        raise InputError(f"no numbers of {dataset}", expected="at least one run that finished", came=missing)
    return tuple(table[o] for o in results.suite.objectives)


# ---------------------------------------------------------------------------------------------------- the arrays


def cube(results: FrontResults, dataset: str, size: int) -> Cube:
    """The arrays of one dataset.

    Args:
        size: of the lattice.
    """
    suite = results.suite
    objectives = tuple(suite.objectives)
    systems = tuple(v.label for v in suite.variants())
    seeds = tuple(dict.fromkeys(seed for v in suite.variants() for seed in v.seeds))
    fronts = results.fronts[results.fronts.dataset == dataset]
    runs = results.runs[results.runs.dataset == dataset]
    planned = max(runs.fold.nunique(), 1)
    done = runs[runs.status == "done"].groupby(["system", "seed"]).fold.nunique()
    complete = np.array([[done.get((s, e), 0) == planned for e in seeds] for s in systems], bool)
    shape = (len(systems), len(seeds), size, len(objectives))
    vali, test = (_pooled(fronts[fronts.split == name], systems, seeds, objectives, shape) for name in ("vali", "test"))
    values = _per_query(results.per_query[results.per_query.dataset == dataset], systems, seeds, objectives, size)
    for array in (vali, test, values):
        array[~complete] = np.nan
    data = Cube(systems, seeds, objectives, vali, test, values, complete)
    for name in ("vali", "test"):
        bad = complete & ~np.isfinite(getattr(data, name)).all((2, 3))
        if bad.any():
            s, e = np.argwhere(bad)[0]
            raise InputError(
                f"a front has a hole: {systems[s]}, seed {seeds[e]}, {name}",
                came=dataset,
                expected=f"{size} preferences x {len(objectives)} objectives, all numbers",
            )
    return data


def _pooled(frame, systems, seeds, objectives, shape) -> np.ndarray:
    """Means over the queries of all folds: the folds' means, weighted by the queries that count."""
    at = _places(frame, systems, seeds, objectives)
    total, count = np.zeros(shape), np.zeros(shape)
    n = frame.queries.to_numpy(np.float64)
    mean = frame["mean"].to_numpy(np.float64)
    counts = n > 0  # an objective that is blank on a whole fold has no mean there
    np.add.at(total, tuple(a[counts] for a in at), (mean * n)[counts])
    np.add.at(count, tuple(a[counts] for a in at), n[counts])
    return np.divide(total, count, out=np.full(shape, np.nan), where=count > 0)


def _places(frame, systems, seeds, objectives) -> tuple[np.ndarray, ...]:
    def numbers(column, names):
        return column.map({name: i for i, name in enumerate(names)}).to_numpy(np.int64)

    return (
        numbers(frame.system, systems),
        numbers(frame.seed, seeds),
        frame.preference.to_numpy(np.int64),
        numbers(frame.objective, objectives),
    )


def _per_query(frame, systems, seeds, objectives, size: int) -> np.ndarray:
    keys = frame.fold.astype(str) + "\n" + frame["query"].astype(str)
    names = sorted(set(keys))
    query = keys.map({name: i for i, name in enumerate(names)}).to_numpy(np.int64)
    out = np.full((len(systems), len(seeds), size, len(names), len(objectives)), np.nan)
    s = frame.system.map({name: i for i, name in enumerate(systems)}).to_numpy(np.int64)
    e = frame.seed.map({name: i for i, name in enumerate(seeds)}).to_numpy(np.int64)
    out[s, e, frame.preference.to_numpy(np.int64), query] = frame[list(objectives)].to_numpy(np.float64)
    return out


def _where_complete(data: Cube, function) -> np.ndarray:
    out = np.full(data.test.shape, np.nan)
    out[data.complete] = function(data.test[data.complete])
    return out


def _scatter(data: Cube, at: np.ndarray, values) -> np.ndarray:
    """`[..., cell]` of the complete cells back into `[..., system, seed]`."""
    values = np.asarray(values)
    out = np.full((*values.shape[:-1], *data.complete.shape), np.nan)
    out[..., at[:, 0], at[:, 1]] = values
    return out


def _blank(data: Cube) -> dict[str, int]:
    """Test queries that do not count, by objective; labels decide it, so any whole front says the same."""
    whole = data.values[data.complete]
    if not len(whole):
        return dict.fromkeys(data.objectives, 0)
    return dict(zip(data.objectives, np.isnan(whole[0, 0]).sum(0).tolist(), strict=True))


# ------------------------------------------------------------------------------------------- values and their draws


def _quantities(data: Cube, at, members, lattice, space, draws: int, dataset: str):
    """Values `[system, seed]` and draws `[draw, system, seed]` of every quantity (hypervolume: draws only)."""
    from ltr.fronts import paired_hypervolumes

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
    for name, rows in (("wanted", parts), ("worst", worst.mean(1)[:, None])):
        values[name] = _scatter(data, at, np.nanmean(rows, axis=-1).sum(1))
        flat = _resampled(rows.reshape(-1, rows.shape[-1]), draws, seed).reshape(draws, *rows.shape[:2])
        drawn[name] = _scatter(data, at, flat.sum(2))
    return values, drawn


def _smallest(values: np.ndarray) -> np.ndarray:
    """The smallest measure among the objectives that count on a list; NaN where none does."""
    lowest = np.where(np.isnan(values), np.inf, values).min(-1)
    return np.where(np.isinf(lowest), np.nan, lowest)


def _resampled(rows: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Means of rows `[row, query]` over resampled queries, `[draw, row]`, NaN left out.

    The resamples are those that `paired_hypervolumes` sees at this seed, but for draws it must make again.
    """
    from ltr.fronts import poisson_weights

    weights = poisson_weights(draws, rows.shape[1], np.random.default_rng(seed)).astype(np.float64)
    there = np.isfinite(rows)
    total = weights @ there.T.astype(np.float64)
    return np.divide(weights @ np.where(there, rows, 0.0).T, total, out=np.full(total.shape, np.nan), where=total > 0)


def _true_volumes(points: TaskPoints, partition: int) -> dict[str, float]:
    """Hypervolumes of the true front on the test queries, where the task knows it at this lattice."""
    from ltr.fronts import three_hypervolumes

    if not points.truth or points.truth_partition != partition:
        return {}
    return three_hypervolumes(points.truth, points.reference_points, partition)._asdict()


# ----------------------------------------------------------------------------------------------------- the table


def _table(results: FrontResults, board: Frontboard, found: dict[str, np.ndarray], scaled: np.ndarray) -> pd.DataFrame:
    import pandas as pd

    data, suite = board.cube, results.suite
    near = _nearness(board, scaled)
    rows = []
    for s, variant in enumerate(suite.variants()):
        mine = results.runs[(results.runs.dataset == board.dataset) & (results.runs.system == variant.label)]
        done = mine[mine.status == "done"]
        complete = data.complete[s]
        row = {"system": variant.label, "method": variant.method, "asks": asks(variant)}
        row |= {kind: _mean(values[s]) for kind, values in found.items()}
        row["seed_sd"] = float(np.nanstd(found["normalised"][s], ddof=1)) if complete.sum() > 1 else np.nan
        gap = board.difference(variant.label, board.yardstick) if board.yardstick else None
        row |= dict(zip(("difference", "low", "high"), gap or (np.nan,) * 3, strict=True))
        row |= {f"share_{kind}": row[kind] / v for kind, v in board.truth.items() if v > 0}
        row |= {name: _mean(values[s]) for name, values in near.items()}
        row |= {"wanted": _mean(board.values["wanted"][s]), "worst": _mean(board.values["worst"][s])}
        row |= _control(board, s, scaled, row["asks"])
        row["main"] = float(data.test[s, complete, 0, 0].mean()) if complete.any() else np.nan
        row |= {
            name: done[name].mean() if name in done and len(done) else np.nan
            for name in ("models_trained", "fit_seconds", "seconds_a_point", "parameters")
        }
        row |= {"done": len(done), "planned": len(mine), "note": _note(mine)}
        rows.append(row)
    table = pd.DataFrame(rows)
    table["flips"] = _flips(table)
    return table.sort_values("normalised", ascending=False, kind="stable", na_position="last", ignore_index=True)


def _nearness(board: Frontboard, scaled: np.ndarray) -> dict[str, np.ndarray]:
    """igd, epsilon, front and outside, `[system, seed]`: chosen points, each once, and those of them that are not above
    the reference point."""
    from ltr.fronts import epsilon, igd_plus, n_outside, union_front

    complete = board.cube.complete
    found = {name: np.full(complete.shape, np.nan) for name in ("igd", "epsilon", "front", "outside")}
    for e in range(complete.shape[1]):
        fronts = {s: scaled[s, e][board.members[s, e]] for s in np.flatnonzero(complete[:, e])}
        union = union_front(list(fronts.values())) if fronts else None
        for s, front in fronts.items():
            found["igd"][s, e], found["epsilon"][s, e] = igd_plus(front, union), epsilon(front, union)
            # Who is steered by no preference gives every one of them the same point.
            front = np.unique(front, axis=0)
            found["front"][s, e], found["outside"][s, e] = len(front), n_outside(front, -1 / board.partition)
    return found


def _control(board: Frontboard, s: int, scaled: np.ndarray, asked: str) -> dict[str, float]:
    """Means over seeds. Who is steered by no preference has no control to speak of."""
    from ltr.fronts import control

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
    from ltr.fronts import rank_flips

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


def _note(runs: pd.DataFrame) -> str:
    """What did not work, in words: status, how often, the first reason."""
    bad = runs[runs.status != "done"]
    parts = []
    for status, group in bad.groupby("status", sort=False):
        reason = next((str(r) for r in group.reason if isinstance(r, str) and r), "")
        parts.append(f"{len(group)} {status}" + (f": {reason}" if reason else ""))
    return "; ".join(parts)
