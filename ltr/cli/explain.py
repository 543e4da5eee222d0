"""`ltr explain`: what each feature gives to a score, and why one document stands above another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ltr.errors import InputError

from . import show
from .evaluate import open_task
from .options import Command, option


@dataclass(frozen=True)
class Explain:
    """Say why a document stands above another, feature by feature.

    Boosted trees by their own SHAP values, nets by integrated gradients; the sum over the features is the difference of
    the scores. One document alone is compared with the mean document of its list (nets) or the expected score (trees).

    Attributes:
        run: run folder.
        query: its id; the first of the split by default.
        documents: one or two of its documents, by name, or where the data name none by number in the list from 0; the
            two that rank first by default.
        preference: weights of a method's objectives, in their order, with sum 1.
        split: where the query is.
        data: dataset, store or folder the query is in; the run's own by default.
        fold: its fold; a run's own by default.
        top: features shown, the largest contributions first.
        json: all of it as JSON on stdout.
    """

    run: Path
    query: str | None = option(None, metavar="ID")
    documents: tuple[str, ...] = option((), metavar="ID")
    preference: tuple[float, ...] = option((), metavar="WEIGHT")
    split: Literal["train", "vali", "test"] = "test"
    data: str | None = None
    fold: str | None = None
    top: int = 15
    json: bool = False


def explain(options: Explain) -> int:
    """Prints a table."""
    from ltr.methods.explanation import explain as explained
    from ltr.runs import systems
    from ltr.runs.record import open_run

    if options.top < 1:
        raise InputError("--top is out of range", expected="1 or more", came=options.top)
    record = open_run(options.run, "method", "ranker")
    model = systems.load(options.run / ("method" if "method" in record.config else "ranker"), "cpu")
    split = open_task(options.data, options.fold, None, record.config, options.run).split(options.split)
    if not split.n_queries:
        raise InputError(f"the split {options.split!r} has no queries", file=options.run)
    query = str(split.query_ids[0]) if options.query is None else options.query
    found = explained(model, split, query, options.documents, options.preference or None)
    if options.json:
        facts = {"query": query, "documents": found.documents, "scores": found.scores, "total": found.total}
        show.machine({**facts, "rest": found.rest, "features": found.rows()}, "json")
        return 0
    a, *b = [f"{name} ({score:.4f})" for name, score in zip(found.documents, found.scores, strict=True)]
    if b:
        print(f"query {query}: {a} {'above' if found.total >= 0 else 'below'} {b[0]} by {abs(found.total):.4f}")
    else:
        print(f"query {query}: {a}, {abs(found.total):.4f} {'above' if found.total >= 0 else 'below'} what is expected")
    rows = found.rows(options.top)
    show.table(rows, right=list(rows[0])[1:])
    left = len(found.features) - len(rows)
    others = found.total - found.rest - sum(row["contribution"] for row in rows)
    more = f"{left} more features give {others:+.4f}; " if left else ""
    print(f"{more}all together {found.total - found.rest:+.4f}, and {found.rest:+.4f} that no feature got")
    return 0


COMMANDS = [
    Command(("explain",), Explain, explain, "RUN [--query ID] [--documents A B] [--preference W W ...] [--top N]"),
]
