"""`ltr predict` and `ltr export`: scores of new lists, and what a run left in a form others read."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ltr.errors import InputError

from . import show
from .evaluate import open_task
from .options import Command, Device, option


@dataclass(frozen=True)
class Predict:
    """Score new lists with the ranker or method of a run.

    A line for each row of the input, in the order of the input: query, document, score. Labels in the file are not
    looked at, and a table needs none.

    Attributes:
        run: run folder, or a saved ranker or method.
        file: svmlight text (gzipped or not), Parquet or CSV.
        preference: weights of a method's objectives, in their order, with sum 1.
        out: file, by its ending .csv, .tsv, .parquet or .run (TREC); CSV on stdout by default.
        query: query column of a table, where its name does not say so.
        document: document column of a table, likewise.
        names: document names of a TREC run, the file's own or row<i>.
        device: where it is computed.
    """

    run: Path
    file: Path
    preference: tuple[float, ...] = option((), metavar="WEIGHT")
    out: Path | None = option(None, metavar="FILE")
    query: str | None = option(None, metavar="COLUMN")
    document: str | None = option(None, metavar="COLUMN")
    names: Literal["auto", "row"] = "auto"
    device: Device = "auto"


def predict(options: Predict) -> int:
    """Writes one score a row."""
    import numpy as np

    from ltr.runs import systems
    from ltr.runs.input_columns import read_lists
    from ltr.runs.record import open_run
    from ltr.runs.scores import scores_table
    from ltr.runs.trec import write_run

    out, folder = options.out, options.run
    if out is not None and out.suffix not in (".csv", ".tsv", ".parquet", ".run"):
        raise InputError("no such format", file=out, expected=".csv, .tsv, .parquet or .run")
    if (folder / "record.json").is_file() or (folder / "DONE").is_file():
        folder = folder / ("method" if "method" in open_run(folder, "method", "ranker").config else "ranker")
    if options.names != "auto" and (out is None or out.suffix != ".run"):
        raise InputError("--names says how a TREC run calls documents", expected="--out FILE.run")
    model, w = systems.load(folder, options.device), options.preference
    if systems.is_method(folder):
        if not w:
            names = ", ".join(model.objectives)
            raise InputError(f"a method is asked with a preference for {names}", expected="--preference W W ...")
        width = model.models[0].n_features
    else:
        if w:
            raise InputError("this is a ranker; it takes no preference", file=folder, came=list(w))
        width = model.n_features
    # What was saved by hand tells no names: its columns are the file's, in the file's order.
    by_place = {"names": [], "width": width, "columns": range(width), "index_base": None}
    inputs = systems.read_log(folder).get("inputs", by_place)
    split = read_lists(options.file, inputs, query=options.query, document=options.document)
    scores = model.score(split, w)[0] if w else model.score(split)
    if out is not None and out.suffix == ".run":
        write_run(out, split, scores, tag=model.name, names=options.names)
    else:
        table = scores_table(split, scores)
        table = table.take(np.argsort(table["row"].to_numpy(), kind="stable")).select(["query", "doc", "score"])
        if out is None:
            show.write_text(table, ".csv", sys.stdout)
            return 0
        show.write_table(out, table)
    show.remark(f"{split.n_documents:,} scores in {out}")
    return 0


_EXPORT = """\
examples:
  ltr export RUN                                       scores of the test split as a TREC run
  ltr export RUN --as onnx --preference 0.7 0.3        a net or trees, with transform and preference inside
  ltr export RUN --as opensearch --tag titles          trees for OpenSearch or Elasticsearch, linear models too
forms: run qrels csv parquet (scores); onnx pt2 lightgbm-json xgboost-ubj solr opensearch (the model and its card)"""


@dataclass(frozen=True)
class Export:
    """Write what a run trained for those who serve it, or its scores as TREC files or a table.

    A model is one file with a preference fixed, and a model card (Markdown) beside it.

    Attributes:
        run: run folder.
        form: TREC run, TREC qrels, or the scores as a table; or the model, as ONNX, a torch.export program, LightGBM's
            or XGBoost's own file, or a model of Solr's or OpenSearch's (Elasticsearch's) Learning to Rank.
        split: which split of scores.
        out: file (default: RUN/export/SPLIT.ENDING, of a model RUN/export/model.ENDING).
        tag: tag of a TREC run, or what a search engine calls the model; the ranker's name by default.
        names: document names, the data's own or row<i>.
        data: dataset, store or folder the run is of, where it is not at its usual place.
        objective: label column of the qrels; the trained one by default.
        preference: which ranking of a method's run: weights of its objectives, in their order.
    """

    run: Path
    form: Literal[
        "run", "qrels", "csv", "parquet", "onnx", "pt2", "lightgbm-json", "xgboost-ubj", "solr", "opensearch"
    ] = option("run", flag="--as", metavar="FORM")
    split: Literal["vali", "test"] = "test"
    out: Path | None = option(None, metavar="FILE")
    tag: str | None = option(None, metavar="WORD")
    names: Literal["auto", "row"] = "auto"
    data: str | None = None
    objective: str | None = None
    preference: tuple[float, ...] = option((), metavar="WEIGHT")


def export(options: Export) -> int:
    """Writes one file, of a model two."""
    table, model = options.form in ("csv", "parquet"), options.form not in ("run", "qrels", "csv", "parquet")
    silent = {
        "split": model and options.split != "test",
        "names": (model or table) and options.names != "auto",
        "data": (model or table) and options.data is not None,
        "objective": options.form != "qrels" and options.objective is not None,
        "tag": (table or options.form == "qrels") and options.tag is not None,
        "preference": options.form == "qrels" and bool(options.preference),
    }
    for name, said in silent.items():
        if said:
            raise InputError(f"--{name} says nothing of --as {options.form}", do="Leave it out")
    if options.form in ("run", "qrels", "csv", "parquet"):
        return _export_scores(options)
    return _export_model(options)


def _export_model(options: Export) -> int:
    import shlex

    from ltr.atomic import write_text
    from ltr.methods.export_formats import FORMS, export
    from ltr.runs import systems
    from ltr.runs.model_card import model_card
    from ltr.runs.record import open_run

    record = open_run(options.run, "method", "ranker", "per_query/test.parquet")
    place = "method" if "method" in record.config else "ranker"
    model, form = systems.load(options.run / place, "cpu"), FORMS[options.form]
    out = options.out or options.run / "export" / form.ending
    names = systems.read_log(options.run / place).get("inputs", {}).get("names", ())
    w = options.preference or None
    found = export(model, out, options.form, w, names, options.tag or model.name)
    card = out.with_name(f"{out.name}.md")
    words = ["ltr", "export", str(options.run), "--as", options.form]
    words += ["--preference", *(f"{x:g}" for x in options.preference)] if options.preference else []
    words += ["--out", str(options.out)] if options.out else []
    nets = [model, getattr(model, "base", None), *getattr(model, "models", ())]
    text = model_card(
        record,
        file=out,
        form=form.what,
        command=shlex.join(words),
        names=names,
        preference=options.preference,
        transforms=[net.transform.name for net in nets if hasattr(net, "transform")],
        inside=options.form in ("onnx", "pt2"),
        notes=found.notes,
    )
    write_text(card, text)
    for note in found.notes:
        show.remark(f"ltr: {note}")
    show.remark(f"wrote {out} and {card}")
    return 0


def _export_scores(options: Export) -> int:
    from ltr.runs import open_run, read_scores, write_qrels, write_run
    from ltr.runs.per_query import join

    record = open_run(options.run, f"scores/{options.split}.parquet")
    scores = read_scores(options.run / "scores" / f"{options.split}.parquet")
    out = options.out or options.run / "export" / f"{options.split}.{options.form}"
    if options.form in ("csv", "parquet"):
        if options.preference:
            scores = _at_preference(options, record.config, scores)
        show.write_table(out, scores, f".{options.form}")
    else:
        own = record.config["data"]
        split = open_task(options.data, None, options.objective, record.config, options.run).split(options.split)
        if options.form == "qrels":
            write_qrels(out, split, options.objective or own.get("objective"), names=options.names)
        else:
            aligned = _ranking(options, record.config, join(split, scores))
            choice = record.config.get("method") or record.config["ranker"]
            write_run(out, split, aligned, tag=options.tag or choice["name"], names=options.names)
    show.remark(f"wrote {out}")
    return 0


def _at_preference(options: Export, config: dict, scores):
    """The rows of a scores table that are of the preference asked for."""
    from ltr.objectives import check_preference
    from ltr.runs.per_query import join_preference

    if "method" not in config:
        raise _took_none(options)
    try:
        return join_preference(scores, check_preference(options.preference, config["data"]["objectives"]))
    except InputError as error:
        do = error.do or "`ltr front RUN` lists those it was scored for; `ltr predict` takes any"
        raise error.but(file=options.run, do=do) from None


def _took_none(options: Export) -> InputError:
    return InputError("this run took no preference", file=options.run, came=list(options.preference))


def _ranking(options: Export, config: dict, rankings: list):
    """The scores that were asked for: the only ones, or those of a preference of the run's lattice."""
    import numpy as np

    from ltr.objectives import check_preference

    if "method" not in config:
        if options.preference:
            raise _took_none(options)
        return rankings[0][1]
    objectives = config["data"]["objectives"]
    if not options.preference:
        raise InputError(
            f"this run has one ranking a preference for {', '.join(objectives)}",
            file=options.run,
            expected="--preference W W ..., or --as parquet for all",
        )
    w = check_preference(options.preference, objectives)
    distance = [float(np.abs(np.asarray(there) - w).max()) for there, _ in rankings]
    nearest = int(np.argmin(distance))
    if distance[nearest] > 1e-5:
        raise InputError(
            "the run was not scored for this preference",
            file=options.run,
            came=w.tolist(),
            do=f"The nearest is {[round(float(x), 6) for x in rankings[nearest][0]]}; `ltr predict` takes any",
        )
    return rankings[nearest][1]


COMMANDS = [
    Command(("predict",), Predict, predict, "RUN FILE [--preference W W ...] [--out FILE.csv]"),
    Command(("export",), Export, export, "RUN --as FORM [--preference W W ...] [--split test] [--out FILE]", _EXPORT),
]
