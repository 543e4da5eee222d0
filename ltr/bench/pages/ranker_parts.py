"""What each part of a ranker is worth: two systems that differ in one thing, the same loss on both sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ltr.bench.analysis.rankers import RankerBoard
from ltr.bench.text import markdown_table
from ltr.metrics.inference import Difference, verdicts

__all__ = ["PARTS", "parts_table"]

# What is asked, a system of `suites/_rankers.toml` and the one it is compared with.
PARTS = (
    ("one net of shared members for an ensemble", "TabM", "MLPs, five bagged"),
    ("shared members", "TabM", "MLP"),
    ("piecewise embeddings, MLP", "MLP, piecewise", "MLP"),
    ("periodic embeddings, MLP", "MLP, periodic", "MLP"),
    ("piecewise embeddings, transformer", "Transformer, piecewise", "Transformer"),
    ("rank and z-score within the list", "MLP, context of the list", "MLP"),
    ("attention over the list", "Transformer", "MLP"),
    ("attention for rank and z-score", "Transformer", "MLP, context of the list"),
    ("induced points for full attention", "Transformer, induced points", "Transformer"),
    ("a net blended with trees", "LightGBM and MLP, blended", "LightGBM"),
    ("a net on the residual of trees", "LightGBM, an MLP on its residual", "LightGBM"),
    ("a small net for trees", "MLP, distilled from LightGBM", "LightGBM"),
    ("a teacher of five nets", "MLP, distilled from five", "MLP"),
)


def parts_table(boards: Sequence[RankerBoard]) -> str:
    """A row a part and loss, a column a dataset; "" where no dataset has both sides of any.

    A cell is a verdict, corrected by Holm over the rows of its column, the difference with its interval, and the
    operations of a training beside those of the other side.
    """
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for board in boards:
        found = _compared(board)
        for (key, gap, cost), word in zip(found, verdicts([gap for _, gap, _ in found]) if found else (), strict=True):
            times = "" if math.isnan(cost) else f"; {cost:.3g} x"
            rows.setdefault(key, {})[board.title] = f"{word}: {gap}{times}"
    order = sorted(rows, key=lambda key: [part for part, *_ in PARTS].index(key[0]))
    titles = [board.title for board in boards]
    table = [
        {"part": part, "systems": pair, "loss": loss, **{t: rows[part, pair, loss].get(t, "") for t in titles}}
        for part, pair, loss in order
    ]
    return markdown_table(table, left=("part", "systems", "loss", *titles)) if table else ""


def _compared(board: RankerBoard) -> list[tuple[tuple[str, str, str], Difference, float]]:
    """Part, pair and loss; the difference; how many times the operations."""
    systems = {(label.removesuffix(loss).strip(), loss): label for label, loss in board.losses.items()}
    found = []
    for part, system, other in PARTS:
        for (name, loss), label in systems.items():
            beside = systems.get((other, loss), systems.get((other, "")))
            if name != system or beside is None or (gap := board.board.difference(label, beside)) is None:
                continue
            mine, its = (board.costs.get(each, {}).get("operations", math.nan) for each in (label, beside))
            found.append(((part, f"{system} less {other}", loss), gap, mine / its if its else math.nan))
    return found
