"""What the fronts of a suite cost, and what validation chose on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from ltr.bench.analysis.results import FrontResults
from ltr.bench.analysis.results_io import rows_of
from ltr.bench.analysis.tuning import choices, edges
from ltr.bench.suite.budget import budget_of
from ltr.bench.text import markdown_table, number

__all__ = ["choices_table", "costs_table", "edges_table"]


def costs_table(results: FrontResults, dataset: str, baseline: str) -> str:
    """A row a system: its budget, and what one front took, mean over folds and seeds; cheapest last.

    Args:
        baseline: whose operations are 1.
    """
    runs = results.runs[(results.runs.dataset == dataset) & (results.runs.status == "done")]
    costs = runs.groupby("system")[_columns(runs)].mean()
    one = costs.operations.get(baseline, float("nan")) if "operations" in costs else float("nan")
    rows = []
    for variant in results.suite.variants():
        if variant.label not in costs.index:
            continue
        cost: dict[Any, Any] = costs.loc[variant.label].to_dict()
        operations = cost.get("operations", float("nan"))
        tried = results.suite.tuning.points if variant.grid else 0
        rows.append(
            {
                "system": variant.label,
                "epochs of": _EPOCHS[budget_of(results.suite, variant)] if variant.training else "",
                "models": number(cost["models_trained"], 0),
                "operations": f"{operations:.2g}" if operations == operations else "",
                f"times {baseline}": number(operations / one, 3),
                "with tuning": f"{operations * (1 + tried):.2g}" if operations == operations else "",
                "processor s": number(cost.get("cpu_seconds", float("nan")), 1),
                "wall s": number(cost["fit_seconds"], 1),
                "parameters": f"{cost['parameters']:,.0f}" if cost["parameters"] == cost["parameters"] else "",
            }
        )
    return markdown_table(rows, left=("system", "epochs of"))


_EPOCHS = {"total": "K models", "model": "one model"}


def _columns(runs: pd.DataFrame) -> list[str]:
    names = ("models_trained", "operations", "cpu_seconds", "fit_seconds", "parameters")
    return [name for name in names if name in runs]


def choices_table(results: FrontResults, dataset: str) -> str:
    """A row a system and fold: the point of its grid that was chosen, and the epochs and lambda of its runs."""
    chosen: dict[Any, dict[str, Any]] = {
        (system, scope): values for d, system, scope, values in choices(results) if d == dataset
    }
    runs = results.runs[(results.runs.dataset == dataset) & (results.runs.status == "done")]
    rows = []
    for (system, fold), group in runs.groupby(["system", "fold"], sort=False):
        values = chosen.get((system, fold), chosen.get((system, "shared"), {}))
        kept = list(dict.fromkeys(group.kept)) if "kept" in group else []
        if values or any(kept):
            said = ", ".join(f"{key.split('.', 1)[1]} = {_short(value)}" for key, value in values.items())
            rows.append({"system": system, "fold": fold, "chosen": said, "kept": "; ".join(filter(None, kept))})
    return markdown_table(rows, left=("system", "fold", "chosen", "kept")) if rows else ""


def edges_table(suites: Sequence[FrontResults]) -> str:
    """How often the first or last value of a grid was chosen, over everything that was tuned."""
    rows = [
        {
            "setting": row.key,
            "choices": str(row.choices),
            "lowest value": str(row.lowest),
            "highest value": str(row.highest),
            "at an edge": f"{row.share:.1%}",
        }
        for row in rows_of(edges(suites))
    ]
    return markdown_table(rows, left=("setting",)) if rows else ""


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} {_short(v)}" for k, v in value.items()) + "}"
    return f"{value:g}" if isinstance(value, float) else str(value)
