"""How often intervals and verdicts are right: simulated tables of equal systems, written to COVERAGE.md.

    python benchmarks/coverage.py [--worlds 200]

The error of a system's mean has two parts: queries (a share of it common to all its trainings, the rest each
training's own) and trainings. `ratio`: standard deviation of the second over that of the first, both of the mean that
is reported. Counted is how often a 95 % interval of `ltr.metrics.inference` holds the true difference, 0. Of means the
chance of that is known once the interval's width is (a normal mean does not depend on its estimated error), which takes
far fewer tables; of hypervolumes it is counted. Beside them stands what the pages did before.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np

from ltr.bench.analysis.results import load_results
from ltr.bench.text import markdown_table
from ltr.fronts import hypervolumes, paired_hypervolumes
from ltr.metrics import errors_of_draws, errors_of_values, paired_randomisation

HERE = Path(__file__).resolve().parent
SEEDS, RATIOS, COMMON = (2, 3, 5, 10), (0.0, 0.5, 1.0, 1.5, 2.0), (1.0, 0.5, 0.0)
SMALL, LARGE = 6, 12  # systems of a table: too few to lend, enough to
UNLIKE = 0.5  # standard deviation of the logarithm of a system's own training error, on large tables
QUERIES, POINTS, DRAWS = {"mean": 40, "hypervolume": 150}, 5, 150  # pages draw 1,000 resamples

Floats = np.ndarray[Any, Any]


def table(rng, systems: int, seeds: int, queries: int, ratio: float, common: float, points: int = 1):
    """Values `[system, seed, query, point]` around 0, of which a mean has query error 1, and each mean's true variance,
    `[system]`."""
    shared = rng.normal(size=(systems, 1, queries, points)) * common**0.5
    own = rng.normal(size=(systems, seeds, queries, points)) * ((1 - common) * seeds) ** 0.5
    # Noise enlarges fronts: with more of it for some, systems of several points would not be equal.
    unlike = systems >= LARGE and points == 1
    times = np.exp(UNLIKE * rng.normal(size=systems) - UNLIKE**2) if unlike else np.ones(systems)
    trained = rng.normal(size=(systems, seeds, 1, points)) * times[:, None, None, None] * ratio * seeds**0.5
    return (shared + own) * queries**0.5 + trained, 1 + (times * ratio) ** 2


def chance(half: Any, variance: Floats) -> float:
    """That intervals of these half widths around normal differences of pairs (0, 1), (2, 3), ... hold 0."""
    from scipy.special import ndtr

    return float((2 * ndtr(np.asarray(half) / (variance[0::2] + variance[1::2]) ** 0.5) - 1).mean())


def of_means(values: Floats, variance: Floats) -> float:
    errors = errors_of_values(values[..., 0])
    found = [errors.difference(i, i + 1) for i in range(0, len(values), 2)]
    return chance([(each.high - each.low) / 2 for each in found], variance)


def of_hypervolumes(values: Floats, seed: int) -> float:
    """Fronts of a few points in two objectives; what the points differ by is small beside them, as on pages."""
    systems, seeds, queries, points = values.shape
    angle = np.linspace(0.1, 0.9, points) * np.pi / 2
    front = 0.4 + 0.4 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cells = front[:, None] + 0.01 * values.transpose(0, 1, 3, 2)[..., None] * np.array([1.0, 0.8])
    members = np.ones((systems, seeds, points), dtype=bool)
    drawn = paired_hypervolumes(cells, members, 0.2, draws=DRAWS, seed=seed, threads=1)
    p = errors_of_draws(hypervolumes(cells.mean(3), 0.2), drawn, queries).p()
    return float((p[np.triu_indices(systems, 1)] >= 0.05).mean())


def before(values: Floats, variance: Floats, rng, resample: bool) -> float:
    """Percentiles over queries of the seeds' mean, or over queries and seeds, of 400 draws."""
    gaps = values[0::2, ..., 0] - values[1::2, ..., 0]  # [pair, seed, query]
    _, seeds, queries = gaps.shape
    drawn = np.einsum("psq,dq->dps", gaps, rng.multinomial(queries, np.full(queries, 1 / queries), size=400) / queries)
    even = np.full((400, seeds), 1 / seeds)
    taken = rng.multinomial(seeds, even[0], size=400) / seeds if resample else even
    low, high = np.quantile(np.einsum("dps,ds->dp", drawn, taken), [0.025, 0.975], axis=0)
    return chance((high - low) / 2, variance)


def simulate(worlds: int, seed: int = 0) -> dict[str, Any]:
    """Coverage: table -> seeds -> ratio -> one for each of COMMON (of hypervolumes for the middle one)."""
    found: dict[str, Any] = {}
    for name, systems, how in (
        (f"means, {SMALL} systems", SMALL, "mean"),
        (f"means, {LARGE} systems", LARGE, "mean"),
        (f"hypervolumes, {SMALL} systems", SMALL, "hypervolume"),
        (f"hypervolumes, {LARGE} systems", LARGE, "hypervolume"),
        ("before: queries", SMALL, "queries"),
        ("before: queries and seeds drawn again", SMALL, "seeds"),
    ):
        times = max({"queries": worlds // 4, "seeds": worlds // 4}.get(how, worlds) * SMALL // systems, 2)
        for seeds, ratio in product(SEEDS, RATIOS):
            cells = []
            for common in COMMON[1:2] if how == "hypervolume" else COMMON:
                rng = np.random.default_rng([seed, seeds, int(10 * ratio), int(10 * common)])
                size = (systems, seeds, QUERIES.get(how, QUERIES["mean"]), ratio, common)
                rows = []
                for i in range(times):
                    values, variance = table(rng, *size, points=POINTS if how == "hypervolume" else 1)
                    if how == "mean":
                        rows.append(of_means(values, variance))
                    elif how == "hypervolume":
                        rows.append(of_hypervolumes(values, i))
                    else:
                        rows.append(before(values, variance, rng, how == "seeds"))
                cells.append(round(float(np.mean(rows)), 4))
            found.setdefault(name, {}).setdefault(str(seeds), {})[f"{ratio:g}"] = cells
    return found


def two_seeds_of_one_loss(folders: list[Path]) -> list[dict[str, Any]]:
    """How often two trainings of one loss, each called a loss, are told apart (p < .05, each pair by itself).

    Beside them stands the rest of the table, which knows what trainings of such nets differ by.
    """
    rows = []
    for folder in folders:
        results = load_results(folder)
        flips, ours = [], []
        for system in (s for s in results.suite.systems if s.losses):
            labels = [f"{system.label} {loss}" for loss in system.losses]
            table = results.per_query[results.per_query.system.isin(labels)]
            wide = table.astype({results.suite.headline: "float64", "system": str}).pivot_table(
                index=["system", "seed"], columns=["fold", "query"], values=results.suite.headline, observed=True
            )
            wide = wide.dropna(axis=1)
            values = wide.to_numpy().reshape(*wide.index.levshape, -1)
            folds = wide.columns.get_level_values(0).to_numpy()
            pairs = combinations(range(values.shape[1]), 2)
            for i, (a, b) in product(range(len(values)), pairs):
                others = [rest for k, rest in enumerate(values) if k != i]
                ours.append(errors_of_values([values[i, [a]], values[i, [b]], *others], folds).p()[0, 1])
                flips.append(paired_randomisation(values[i, [a, b]], draws=1000)[0, 1])
        name = folder.name.removeprefix("losses-")
        apart = {key: float((np.array(p) < 0.05).mean()) for key, p in (("flips", flips), ("ours", ours))}
        rows.append({"results": name, "pairs": len(ours), **apart})
    return rows


def page(found: dict[str, Any], losses: list[dict[str, Any]], worlds: int) -> str:
    inside = [c for name, part in found.items() if "before" not in name for row in part.values() for c in row.values()]
    low, high = min(map(min, inside)), max(map(max, inside))
    parts = [
        f"""# How often intervals are right

Simulated tables of systems that are all equal: how often the 95 % interval of a pair holds the true difference, 0. The
error of a mean has two parts, queries and trainings; ratio is the second over the first. Of means a cell has the lowest
and the highest of three kinds of query error: common to all trainings of a system, half of it, or each training's own;
of hypervolumes it is the middle kind. In tables of {LARGE} systems each lends from all, and of means some vary more
from training to training than others (a standard deviation of {UNLIKE} in the logarithm); tables of {SMALL} are too
small to lend.
The formulas stand in `ltr/metrics/inference.py`. Written by

```bash
python benchmarks/coverage.py --worlds {worlds}
```

Over all cells of means and hypervolumes: {low:.1%} to {high:.1%}.
"""
    ]
    for name, part in found.items():
        old = "before" in name
        text = f"What the pages said before{name.removeprefix('before')}, means" if old else name.capitalize()
        rows = [{"seeds": seeds, **{f"ratio {r}": _range(c) for r, c in row.items()}} for seeds, row in part.items()]
        parts.append(f"## {text}\n\n{markdown_table(rows, left=())}\n")
    if losses:
        shown = {"flips": "sign flips over queries", "ours": "queries and trainings"}
        rows = [
            {"results": row["results"], "pairs": str(row["pairs"]), **{h: f"{row[k]:.1%}" for k, h in shown.items()}}
            for row in losses
        ]
        parts.append(
            f"""## Two seeds of one loss

The committed results: two trainings of one loss, each called a system, in the table of the other losses. How often p is
below 5 %:

{markdown_table(rows, left=("results",))}
"""
        )
    return "\n".join(parts)


def _range(cells: list[float]) -> str:
    low, high = (f"{100 * c:.1f}" for c in (min(cells), max(cells)))
    return low if low == high else f"{low} – {high}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=200, help="tables a cell")
    parser.add_argument("--to", type=Path, default=HERE, help="folder of COVERAGE.md and results/coverage.json")
    options = parser.parse_args()
    found = simulate(options.worlds)
    losses = two_seeds_of_one_loss(sorted((HERE / "results").glob("losses-*")))
    (options.to / "results").mkdir(parents=True, exist_ok=True)
    facts = {"worlds": options.worlds, "coverage": found, "two seeds of one loss": losses}
    (options.to / "results" / "coverage.json").write_text(json.dumps(facts, indent=1) + "\n")
    (options.to / "COVERAGE.md").write_text(page(found, losses, options.worlds))


if __name__ == "__main__":
    main()
