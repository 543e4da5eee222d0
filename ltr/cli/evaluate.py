"""`ltr evaluate`: the numbers of a run or of a run file, from its scores and the labels of the data."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ltr.errors import InputError, check_name

from . import show
from .options import Command, option


@dataclass(frozen=True)
class Evaluate:
    """Measure a run, or a TREC run file or table of scores made elsewhere.

    Labels come from the data, never from the scores.

    Attributes:
        run: run folder, TREC run file (qid Q0 docid rank score tag), or a table of query, doc, score (.csv, .parquet).
        data: dataset, store or folder the scores are of; a run's own by default.
        fold: its fold; a run's own by default.
        objective: label column that is measured; a run's own by default, else the main one.
        split: what is measured; train for a TREC run only.
        measures: what is reported, e.g. nDCG@10 AP 'nDCG(gain=linear,empty=0)@5', or a preset such as letor3, letor4,
            trec_eval or lightgbm; a run's own by default.
        missing: documents a run file does not rank: refuse, or put last.
        unknown: documents the data does not have: refuse, or leave out.
        per_query: also write one row a query (.parquet, .csv or .tsv).
        query: query column of a table given as data.
        document: its document column.
        labels: its label columns.
        features: its feature columns.
        drop: its columns that are no inputs.
        quiet: no table.
        json: the result as JSON on stdout.
        csv: the result as CSV on stdout.
    """

    run: Path
    data: str | None = None
    fold: str | None = None
    objective: str | None = None
    split: Literal["train", "vali", "test"] = "test"
    measures: tuple[str, ...] = option((), metavar="MEASURE")
    missing: Literal["error", "last"] = "error"
    unknown: Literal["error", "drop"] = "error"
    per_query: Path | None = option(None, metavar="FILE")
    query: str | None = option(None, metavar="COLUMN")
    document: str | None = option(None, metavar="COLUMN")
    labels: tuple[str, ...] = option((), metavar="COLUMN")
    features: tuple[str, ...] = option((), metavar="COLUMN")
    drop: tuple[str, ...] = option((), metavar="COLUMN")
    quiet: bool = option(False, short="-q")
    json: bool = False
    csv: bool = False


def evaluate(options: Evaluate) -> int:
    """Joins scores and labels, and prints the means."""
    from ltr.metrics.presets import spelled
    from ltr.runs.config import MEASURES
    from ltr.runs.per_query import per_query, summarise

    config: dict[str, Any] = {}
    if options.run.is_dir():
        for name in ("missing", "unknown"):
            if getattr(options, name) != "error":
                raise InputError(f"--{name} is for run files: a run scores every document", file=options.run)
        split, scores, title, config = _of_run(options)
    elif options.run.is_file():
        split, scores, title = _of_file(options)
    else:
        raise InputError("no such run", file=options.run, expected="a run folder, a TREC run file or a table of scores")
    objectives = wanted(options.objective, config) or split.objectives[:1]
    own = dict(zip(wanted(None, config), config["measures"], strict=True)) if "method" in config else {}
    # Each objective of a method has a measure of its own, unless some are asked for.
    asked = spelled(options.measures) or config.get("measures", MEASURES)
    measures = {name: (own[name],) if own and not options.measures else asked for name in objectives}
    table = per_query(split, scores, measures, objectives)
    rows = [{"split": options.split, **row} for row in summarise(table, measures)]
    if options.per_query is not None:
        show.write_table(options.per_query, table)
    if not show.for_programs(rows, options) and not options.quiet:
        show.means(rows, title=title)
    return 0


def _of_run(options: Evaluate):
    from ltr.runs import open_run, read_scores

    if options.split == "train":
        raise InputError("a run keeps no scores of its training lists", expected="--split vali or test")
    file = f"scores/{options.split}.parquet"
    config = open_run(options.run, file).config
    task = open_task(options.data, options.fold, options.objective, config, options.run, _said(options))
    scores = read_scores(options.run / file)
    return task.split(options.split), scores, f"{options.run} on {task.name} {task.fold}", config


def _of_file(options: Evaluate):
    from ltr.runs.rankings import read_ranking

    task = open_task(options.data, options.fold, options.objective, {}, None, _said(options))
    split = task.split(options.split)
    scores = read_ranking(options.run, split, missing=options.missing, unknown=options.unknown)
    return split, scores, f"{options.run} on {task.name} {task.fold}"


def _said(options: Evaluate) -> dict[str, Any]:
    """What the command line says of a table's columns."""
    return roles({key: getattr(options, key) or None for key in ("query", "document", "labels", "features", "drop")})


def open_task(
    data: str | None,
    fold: str | None,
    objective: str | None,
    config: dict[str, Any],
    run: Path | None = None,
    columns: dict[str, Any] | None = None,
):
    """The data named on the command line, or the run's own; with the labels as those of the folder `run` were made."""
    from ltr.datasets import load
    from ltr.datasets.cards.card import cards
    from ltr.runs.labels import relabelled, stored_labelling

    own = config.get("data", {})
    name = data or own.get("name")
    if name is None:
        raise InputError("a run file does not say what it ranks", expected="--data NAME [--fold FOLD]")
    said = {**({} if data else roles(own)), **(columns or {})}
    labelling = None if run is None else stored_labelling(run)
    if labelling is not None and objective is not None:
        check_name("objective of the run", objective, labelling.names)
    try:
        if labelling is not None:
            return relabelled(name, fold or own.get("fold"), labelling, **said)
        return load(name, fold=fold or own.get("fold"), objectives=wanted(objective, config) or None, **said)
    except InputError as error:
        if data is None and name not in cards() and not os.path.exists(name) and not name.startswith("synthetic"):
            what = f"the data of the run, {name!r}, are not here; a relative path is of the folder it was trained in"
            raise InputError(what, file=run, do="Say where they lie: --data PATH") from error
        raise


def roles(data: dict[str, Any]) -> dict[str, Any]:
    """What the config of a run said of the columns of its data, as `ltr.load` takes it."""
    from ltr.runs.config import DataConfig
    from ltr.schema import bind

    return bind(DataConfig, {"name": "", **data}, where="data").roles


def wanted(objective: str | None, config: dict[str, Any]) -> tuple[str, ...]:
    """The label columns to measure: the one asked for, or the run's own; none for the main one."""
    own = config.get("data", {})
    every = (own.get("objective"), *own.get("objectives", []), own.get("main"))
    return (objective,) if objective else tuple(dict.fromkeys(filter(None, every)))


COMMANDS = [
    Command(
        ("evaluate",),
        Evaluate,
        evaluate,
        "RUN [--split test] [--measures M ...]\n       ltr evaluate FILE.run --data NAME [--fold F] [--measures M ...]",
    )
]
