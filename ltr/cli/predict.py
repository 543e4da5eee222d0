"""`ltr predict` and `ltr export`: scores of new lists, and what a run left in a form others read."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError
from . import show
from .evaluate import finished, open_task
from .options import Command, Device, option


@dataclass(frozen=True)
class Predict:
    """Score new lists with the ranker of a run.

    A line for each row of the input, in the order of the input: query, document, score. Labels in the file are not
    looked at, and a table needs none.

    Attributes:
        run: run folder, or a saved ranker.
        file: svmlight text (gzipped or not), Parquet or CSV.
        out: file, by its ending .csv, .tsv, .parquet or .run (TREC); CSV on stdout by default.
        query: query column of a table, where its name does not say so.
        document: document column of a table, likewise.
        device: where it is computed.
    """

    run: Path
    file: Path
    out: Path | None = option(None, metavar="FILE")
    query: str | None = option(None, metavar="COLUMN")
    document: str | None = option(None, metavar="COLUMN")
    device: Device = "auto"


def predict(options: Predict) -> int:
    """Writes one score a row."""
    import numpy as np

    from ..rankers import load_ranker
    from ..rankers.neural import pick_device
    from ..runs.inputs import read_lists
    from ..runs.scores import scores_table
    from ..runs.trec import write_run

    out, folder = options.out, options.run
    if out is not None and out.suffix not in (".csv", ".tsv", ".parquet", ".run"):
        raise InputError("no such format", file=out, expected=".csv, .tsv, .parquet or .run")
    if (folder / "record.json").is_file():
        folder = finished(folder).folder / "ranker"
    ranker = load_ranker(folder)
    if hasattr(ranker, "to"):
        ranker.to(pick_device(options.device))
    log = folder / "training.json"
    # A ranker saved by hand tells no names: its columns are the file's, in the file's order.
    inputs = {"names": [], "width": ranker.n_features, "columns": range(ranker.n_features), "index_base": None}
    if log.is_file():
        inputs = json.loads(log.read_text())["inputs"]
    split = read_lists(options.file, inputs, query=options.query, document=options.document)
    scores = ranker.score(split)
    if out is not None and out.suffix == ".run":
        write_run(out, split, scores, tag=ranker.name)
    else:
        table = scores_table(split, scores)
        table = table.take(np.argsort(table["row"].to_numpy(), kind="stable")).select(["query", "doc", "score"])
        if out is None:
            show.write_text(table, ".csv", sys.stdout)
            return 0
        show.write_table(out, table)
    show.remark(f"{split.n_documents:,} scores in {out}")
    return 0


@dataclass(frozen=True)
class Export:
    """Write a run as TREC files or a table.

    Attributes:
        run: run folder.
        form: TREC run, TREC qrels, or the scores as a table.
        split: which split.
        out: file (default: RUN/export/SPLIT.ENDING).
        tag: tag of a TREC run; the ranker's name by default.
        names: document names, the data's own or row<i>.
        data: dataset, store or folder the run is of, where it is not at its usual place.
        objective: label column of the qrels; the trained one by default.
    """

    run: Path
    form: Literal["run", "qrels", "csv", "parquet"] = option("run", flag="--as")
    split: Literal["vali", "test"] = "test"
    out: Path | None = option(None, metavar="FILE")
    tag: str | None = option(None, metavar="WORD")
    names: Literal["auto", "row"] = "auto"
    data: str | None = None
    objective: str | None = None


def export(options: Export) -> int:
    """Writes one file."""
    from ..runs import read_scores, write_qrels, write_run
    from ..runs.evaluate import join

    record = finished(options.run)
    scores = read_scores(options.run / "scores" / f"{options.split}.parquet")
    out = options.out or options.run / "export" / f"{options.split}.{options.form}"
    if options.form in ("csv", "parquet"):
        show.write_table(out, scores, f".{options.form}")
    else:
        own = record.config["data"]
        split = open_task(options.data, None, options.objective, record.config).split(options.split)
        if options.form == "qrels":
            write_qrels(out, split, options.objective or own.get("objective"), names=options.names)
        else:
            [(_, aligned), *more] = join(split, scores)
            if more:
                raise InputError("this run has one ranking a preference", file=options.run, expected="--as parquet")
            write_run(out, split, aligned, tag=options.tag or record.config["ranker"]["name"], names=options.names)
    show.remark(f"wrote {out}")
    return 0


COMMANDS = [
    Command(("predict",), Predict, predict, "RUN FILE [--out FILE.csv]"),
    Command(("export",), Export, export, "RUN [--as {run,qrels,csv,parquet}] [--split test] [--out FILE]"),
]
