"""A model card: what somebody should read who is handed a model, as Markdown, from the record of its run.

Data and their licence, measures with intervals, the preference, which features in which order, what was exported how.
Every number is computed again from the run's files. (The idea: Mitchell et al., Model Cards, FAT* 2019.)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ltr import __version__
from ltr.datasets.cards.card import cards, load_card
from ltr.metrics.significance import bootstrap_interval
from ltr.objectives import lattice

from .per_query import FACTS, join_preference, read_per_query
from .record import Record

__all__ = ["model_card"]


def model_card(
    record: Record,
    *,
    file: Path,
    form: str,
    command: str,
    names: Sequence[str],
    preference: Sequence[float] = (),
    transforms: Sequence[str] = (),
    inside: bool = True,
    notes: Sequence[str] = (),
) -> str:
    """The text of a card.

    Args:
        record: of the finished run.
        file: what was exported.
        form: which format it is, in words.
        command: the line that exported it.
        names: of the features, in the order the model expects.
        preference: of a method, one weight an objective.
        transforms: of the features, those of every net; none of trees.
        inside: whether the file applies them itself.
        notes: what the format leaves to whoever serves it.
    """
    choice = record.config.get("method") or record.config["ranker"]
    data = record.config["data"]
    lines = [f"# {choice['name']}, trained on {record.data['name']}", "", f"`{file.name}`: {form}.", ""]
    lines += [f"- exported: `{command}` (ltr {__version__})"]
    lines += [f"- trained: `{record.command}`"] if record.command else []
    lines += [f"- config {record.config_hash}, seed {record.config.get('seed', 0)}", "", "## What it ranks for", ""]
    if preference:
        each = zip(data["objectives"], preference, strict=True)
        lines += ["The preference " + ", ".join(f"{name} {w:g}" for name, w in each) + "; it is fixed in the file."]
    else:
        objective = data.get("objective") or record.measures[0]["objective"]
        lines += [f"One objective: {objective}."]
    lines += ["", *_measures(record, preference), "", "## Data", "", *_data(record), "", "## What goes in", ""]
    lines += [f"{len(names)} features a document, float32, in this order:", "", "```", *_wrapped(names), "```", ""]
    lines += [_transforms(transforms, inside)]
    said = [*notes, *record.notes]
    lines += ["", "## What to know", "", *(f"- {note}" for note in said)] if said else []
    return "\n".join(lines) + "\n"


def _measures(record: Record, preference: Sequence[float]) -> list[str]:
    """Means on test with 95 % intervals over queries."""
    table = read_per_query(record.folder / "per_query" / "test.parquet")
    said = "Means on test, 95 % percentile bootstrap over queries:"
    if preference:
        asked = lattice(len(preference), record.config["preferences"])
        distance = np.abs(asked - np.asarray(preference)).max(1)
        nearest = asked[int(distance.argmin())]
        table = join_preference(table, nearest)
        if distance.min() > 1e-5:
            shown = " ".join(f"{x:g}" for x in nearest)
            said = (
                f"The run was not measured at this preference; at the nearest it was, {shown}, "
                + said[0].lower()
                + said[1:]
            )
    rows = ["| objective | measure | mean | 95 % interval | queries |", "|---|---|---|---|---|"]
    for objective in dict.fromkeys(table["objective"].to_pylist()):
        own = table.filter(pc.equal(table["objective"], objective))
        for name in (n for n in own.column_names if n not in FACTS and own[n].null_count < len(own)):
            rows.append(_row(objective, name, own[name]))
    return [said, "", *rows]


def _row(objective: str, name: str, column: pa.ChunkedArray) -> str:
    values = column.drop_null().to_numpy()
    values = values[np.isfinite(values)]
    low, high = bootstrap_interval(values)
    return f"| {objective} | {name} | {values.mean():.4f} | {low:.4f} to {high:.4f} | {len(values):,} |"


def _data(record: Record) -> list[str]:
    fold, splits = record.data.get("fold"), record.data.get("splits", {})
    sizes = [f"{name} {s['queries']:,} queries, {s['documents']:,} documents" for name, s in splits.items()]
    lines = [f"{record.data['name']}{f', {fold}' if fold else ''}: {'; '.join(sizes)}.", ""]
    if record.data["name"] not in cards():
        return [*lines, "No card says what the owner of these data allows: ask before the model leaves the house."]
    card = load_card(record.data["name"])
    url = f" <{card.licence.url}>" if card.licence.url else ""
    return [*lines, f"{card.title}. Licence of the data: {card.licence.name}. {card.licence.terms}{url}"]


def _transforms(transforms: Sequence[str], inside: bool) -> str:
    different = list(dict.fromkeys(t for t in transforms if t != "none"))
    if not different:
        return "They go in as they are in the data: the model transforms nothing."
    if inside:
        return f"They go in as they are in the data: the transform ({', '.join(different)}) is inside the file."
    return f"They go in as they are in the data: the transform ({', '.join(different)}) is part of the weights."


def _wrapped(names: Sequence[str], width: int = 110) -> list[str]:
    lines, line = [], ""
    for name in names:
        if line and len(line) + len(name) + 2 > width:
            lines.append(line + ",")
            line = ""
        line = f"{line}, {name}" if line else name
    return [*lines, line]
