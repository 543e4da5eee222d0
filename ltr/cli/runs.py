"""`ltr train`, `evaluate`, `predict` and `export`: one run, from its config to files others can read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from . import show
from .options import add_fields, new_parser

__all__ = ["register"]

_TRAIN_EXAMPLES = """\
examples:
  ltr train --data mq2008 --ranker mlp --loss listnet
  ltr train --config run.toml --training.epochs 5 --ranker.params.hidden '[64, 32]' --out runs/small
  ltr train --data synthetic --ranker lightgbm --dry-run > run.toml

Parameters of the ranker and the loss: --ranker.params.KEY VALUE, --loss.params.KEY VALUE (a list as '[64, 32]').
The run folder holds config.toml, the ranker, scores, per-query values and record.json. The same command again does
nothing when the run is done, and continues it when it was stopped."""


def register(commands, registered) -> None:
    from ..rankers.config import TrainingConfig
    from ..runs.config import DataConfig, RunConfig

    train = new_parser(
        "Trains one ranker and measures it.",
        usage="ltr train [--config FILE.toml] [--KEY VALUE ...] [--out FOLDER]",
        epilog=_TRAIN_EXAMPLES,
    )
    train.add_argument("--config", type=Path, help="TOML file; options given beside it win", metavar="FILE.toml")
    train.add_argument(
        "--out", type=Path, help="run folder (default: runs/DATA/FOLD/RANKER-LOSS-HASH)", metavar="FOLDER"
    )
    group = train.add_argument_group("data (--data, --fold and --objective are short for these)")
    add_fields(group, DataConfig, "data.", skip=("objectives",))
    group.add_argument(
        "--data.objectives",
        type=str,
        nargs="+",
        metavar="NAME",
        help="label columns that are measured; the trained one by default.",
    )
    group = train.add_argument_group("ranker and loss (short: --ranker, --loss)")
    group.add_argument(
        "--ranker.name",
        type=str,
        metavar="NAME",
        help="linear, mlp, transformer, dasalc, lightgbm, xgboost, catboost, feature, random, constant",
    )
    group.add_argument(
        "--loss.name",
        type=str,
        metavar="NAME",
        help="mse, ranknet, lambdarank, listnet, listmle; trees and baselines take none",
    )
    add_fields(
        train.add_argument_group("training of neural rankers"), TrainingConfig, "training.", default=TrainingConfig()
    )
    group = train.add_argument_group("run")
    add_fields(group, RunConfig, "", skip=("data", "ranker", "loss", "training", "measures"))
    group.add_argument(
        "--measures", type=str, nargs="+", metavar="MEASURE", default=RunConfig.measures, help="what is reported"
    )
    group.add_argument(
        "--device",
        type=Literal["auto", "cpu", "cuda", "mps"],
        default="auto",
        metavar="{auto,cpu,cuda,mps}",
        help="where it is computed",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="print the resolved config and its size, and train nothing"
    )
    _output(group, json=True)
    commands.add_subcommand("train", train, help="train one ranker and measure it")
    registered[("train",)] = (train, _train)

    evaluate = new_parser(
        "Recomputes the numbers of a run, or measures a TREC run file made elsewhere. Labels come from the data, never from the scores.",
        usage="ltr evaluate RUN [--split test] [--measures M ...]\n       ltr evaluate FILE.run --data NAME [--fold F] [--measures M ...]",
    )
    evaluate.add_argument(
        "run", type=Path, help="run folder, or TREC run file (qid Q0 docid rank score tag)", metavar="RUN"
    )
    _data_options(evaluate)
    evaluate.add_argument(
        "--split",
        type=Literal["train", "vali", "test"],
        default="test",
        metavar="{vali,test}",
        help="what is measured; train for a TREC run only",
    )
    evaluate.add_argument(
        "--measures",
        type=str,
        nargs="+",
        metavar="MEASURE",
        help="instead of the run's own, e.g. nDCG@10 AP 'nDCG(gain=linear,empty=0)@5'",
    )
    evaluate.add_argument(
        "--missing",
        type=Literal["error", "last"],
        default="error",
        metavar="{error,last}",
        help="documents a TREC run does not rank: refuse, or put last",
    )
    evaluate.add_argument(
        "--unknown",
        type=Literal["error", "drop"],
        default="error",
        metavar="{error,drop}",
        help="documents the data does not have: refuse, or leave out",
    )
    evaluate.add_argument(
        "--per-query", type=Path, metavar="FILE", help="also write one row a query (.parquet or .csv)"
    )
    _output(evaluate, json=True, csv=True)
    commands.add_subcommand("evaluate", evaluate, help="measure a run, or a TREC run file")
    registered[("evaluate",)] = (evaluate, _evaluate)

    predict = new_parser(
        "Scores new lists with the ranker of a run, a line for each input row, in the order of the input. Labels in the file are not looked at.",
        usage="ltr predict RUN FILE [--out FILE.csv]",
    )
    predict.add_argument("run", type=Path, help="run folder, or a saved ranker", metavar="RUN")
    predict.add_argument("file", type=Path, help="svmlight text (gzipped or not), Parquet or CSV", metavar="FILE")
    predict.add_argument(
        "--out",
        type=Path,
        help="by its ending: .csv, .tsv, .parquet or .run (TREC); CSV on stdout by default",
        metavar="FILE",
    )
    predict.add_argument(
        "--query", type=str, help="query column of a table, where its name does not say so", metavar="COLUMN"
    )
    predict.add_argument("--document", type=str, help="document column of a table, likewise", metavar="COLUMN")
    predict.add_argument(
        "--device",
        type=Literal["auto", "cpu", "cuda", "mps"],
        default="auto",
        metavar="{auto,cpu,cuda,mps}",
        help="where it is computed",
    )
    commands.add_subcommand("predict", predict, help="score new lists")
    registered[("predict",)] = (predict, _predict)

    export = new_parser(
        "Writes what a run left in a form others read.",
        usage="ltr export RUN --as {run,qrels,csv,parquet} [--split test] [--out FILE]",
    )
    export.add_argument("run", type=Path, help="run folder", metavar="RUN")
    export.add_argument(
        "--as",
        type=Literal["run", "qrels", "csv", "parquet"],
        default="run",
        metavar="{run,qrels,csv,parquet}",
        help="TREC run, TREC qrels, or the scores as a table",
    )
    export.add_argument(
        "--split", type=Literal["vali", "test"], default="test", metavar="{vali,test}", help="which split"
    )
    export.add_argument("--out", type=Path, help="file (default: RUN/export/SPLIT.ENDING)", metavar="FILE")
    export.add_argument("--tag", type=str, help="tag of a TREC run (default: the ranker's name)", metavar="WORD")
    export.add_argument(
        "--names",
        type=Literal["auto", "row"],
        default="auto",
        metavar="{auto,row}",
        help="document names: the data's own, or row<i>",
    )
    _data_options(export)
    commands.add_subcommand("export", export, help="write a run as TREC files or a table")
    registered[("export",)] = (export, _export)


def _data_options(parser) -> None:
    parser.add_argument(
        "--data.name", type=str, metavar="NAME", help="(or --data) dataset, store or folder, instead of the run's own"
    )
    parser.add_argument("--data.fold", type=str, metavar="FOLD", help="(or --fold) instead of the run's own")
    parser.add_argument(
        "--data.objective", type=str, metavar="NAME", help="(or --objective) label column that is measured"
    )


def _output(parser, json: bool = False, csv: bool = False) -> None:
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress and no table")
    if json:
        parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    if csv:
        parser.add_argument("--csv", action="store_true", help="the result as CSV on stdout")


# ---------------------------------------------------------------------------------------------------------- train


def _train(args: dict[str, Any]) -> int:
    from ..runs import execute, read_config, read_record

    own = {name: args.pop(name) for name in ("config", "out", "device", "dry_run", "quiet", "json") if name in args}
    path = own.get("config")
    if path is None and "data.name" not in args:
        raise InputError(
            "what is ranked, and with what?",
            expected="--config FILE.toml, or --data NAME --ranker NAME [--loss NAME]",
            do="See: ltr train --help",
        )
    config = read_config(path, args)
    if own.get("dry_run"):
        return _dry_run(config, own.get("json", False))
    folder = own.get("out") or default_folder(config)
    quiet = own.get("quiet", False)
    before = read_record(folder)
    try:
        with show.training_progress(quiet) as progress:
            record = execute(config, folder, progress=progress, device=own.get("device", "auto"))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_kept(folder)) from None
    if own.get("json"):
        show.machine(_facts(record), "json")
    elif record.done and not quiet:
        _show(record, again=before is not None and before.done)
    if record.status == "failed":
        print(f"ltr: the run failed: {record.reason}", file=sys.stderr)
        print(f"ltr: traceback in {folder / 'record.json'}; the same command tries again", file=sys.stderr)
        return 2 if record.error.get("user") else 1
    if record.status == "skipped":
        print(f"ltr: skipped: {record.reason}", file=sys.stderr)
        return 2
    return 0


def default_folder(config) -> Path:
    """runs/DATA/FOLD/RANKER-LOSS-HASH: equal configs meet in one folder, others never."""
    from ..runs import config_hash

    parts = [config.ranker.name, *([config.loss.name] if config.loss else []), config_hash(config)[:8]]
    return (
        Path("runs") / Path(config.data.name).stem.replace(":", "-") / (config.data.fold or "first") / "-".join(parts)
    )


def _kept(folder: Path) -> str:
    """What a stopped run left, and how to go on."""
    if (folder / "ranker").is_dir():
        what = "the trained ranker is kept, only scoring is left"
    elif any((folder / "checkpoints").rglob("*.*")):
        what = "the last finished epoch is kept"
    else:
        what = "nothing was trained yet"
    return f"stopped; {what} in {folder}. The same command continues; or: ltr train --config {folder / 'config.toml'} --out {folder}"


def _facts(record) -> dict[str, Any]:
    return {
        "folder": str(record.folder), "status": record.status, "reason": record.reason, "selection": record.selection,
        "measures": record.measures, "cost": record.cost, "command": record.command,
    }  # fmt: skip


def _means(rows, objective: bool) -> list[dict[str, Any]]:
    """A row a measure, the splits side by side, with the counts that a mean means nothing without."""
    found: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        key = (row["objective"], row["measure"])
        line = found.setdefault(
            key, {**({"objective": row["objective"]} if objective else {}), "measure": row["measure"]}
        )
        line[row["split"]] = row["mean"]
        line |= {"queries": row["queries"], "left out": row["blank"]}
    return list(found.values())


def _show(record, again: bool) -> None:
    many = len({r["objective"] for r in record.measures}) > 1
    title = f"{record.folder}" + (" (done before)" if again else "")
    show.table(_means(record.measures, many), title=title, right=("vali", "test", "queries", "left out"))
    cost, selection = record.cost, record.selection
    step = next((f", {k} {v}" for k, v in selection.items() if k not in ("measure", "value", "split")), "")
    print(
        f"selected on vali by {selection['measure']}{step}; queries are those of the test split\n"
        f"fit {cost['fit_seconds']:.1f} s, {show.number(round(cost['train_documents_per_second'] or 0))} documents/s; "
        f"scoring {show.number(round(cost['score_documents_per_second']))} documents/s; {cost['parameters']:,} parameters; "
        f"peak memory {show.size(cost['peak_memory_bytes'])}"
    )


def _dry_run(config, json: bool) -> int:
    """The resolved config as TOML, its size in comments: what is printed is a config."""
    import tomli_w

    from ..runs.estimate import estimate
    from ..strict import to_dict

    found = estimate(config)
    if json:
        show.machine({"config": to_dict(config), "estimate": found.facts()}, "json")
        return 0
    print("\n".join(f"# {line}" for line in found.lines()))
    print()
    print(tomli_w.dumps(to_dict(config)), end="")
    return 0


# ------------------------------------------------------------------------------------------------------- evaluate


def _task(args: dict[str, Any], config: dict[str, Any] | None):
    """The data named on the command line, or the run's own."""
    from ..datasets import load

    data = (config or {}).get("data", {})
    name = args.get("data.name", data.get("name"))
    if name is None:
        raise InputError("a TREC run does not say what it ranks", expected="--data NAME [--fold FOLD]")
    fold = args.get("data.fold", data.get("fold"))
    wanted = (
        [args["data.objective"]] if "data.objective" in args else [data.get("objective"), *data.get("objectives", [])]
    )
    return load(name, fold=fold, objectives=list(dict.fromkeys(filter(None, wanted))) or None)


def _finished(folder: Path):
    from ..runs import read_record

    record = read_record(folder)
    if record is None:
        raise InputError("no run", file=folder, expected="a run folder, as `ltr train` leaves it")
    if not record.done:
        raise InputError(f"the run is not done: {record.status}", file=folder, do=record.reason)
    return record


def _evaluate(args: dict[str, Any]) -> int:
    from ..runs import per_query, read_scores, summarise
    from ..runs.config import RunConfig
    from ..runs.trec import read_run, scores_of_run

    path, name = args["run"], args.get("split", "test")
    if path.is_dir():
        record = _finished(path)
        if name == "train":
            raise InputError("a run keeps no scores of its training lists", expected="--split vali or test")
        task = _task(args, record.config)
        scores = read_scores(path / "scores" / f"{name}.parquet")
        measures = record.config["measures"]
    elif path.is_file():
        task = _task(args, None)
        scores = scores_of_run(
            task.split(name),
            read_run(path),
            missing=args.get("missing", "error"),
            unknown=args.get("unknown", "error"),
            file=path,
        )
        measures = RunConfig.measures
    else:
        raise InputError("no such run", file=path, expected="a run folder or a TREC run file")
    split = task.split(name)
    objectives = _measured(args, record.config if path.is_dir() else None, split)
    table = per_query(split, scores, args.get("measures") or measures, objectives)
    rows = [{"split": name, **row} for row in summarise(table)]
    if "per_query" in args:
        _write_table(args["per_query"], table)
    if args.get("json") or args.get("csv"):
        show.machine(rows, "json" if args.get("json") else "csv")
    elif not args.get("quiet"):
        show.table(
            _means(rows, len(objectives) > 1),
            title=f"{path} on {task.name} {task.fold}",
            right=(name, "queries", "left out"),
        )
    return 0


def _measured(args: dict[str, Any], config: dict[str, Any] | None, split) -> tuple[str, ...]:
    """The label columns to measure: the one asked for, the run's own, or the main one."""
    if "data.objective" in args:
        return (args["data.objective"],)
    data = (config or {}).get("data", {})
    own = dict.fromkeys(filter(None, [data.get("objective"), *data.get("objectives", [])]))
    return tuple(own) or split.objectives[:1]


def _write_table(path: Path, table) -> None:
    """An Arrow table as .parquet, .csv or .tsv, whole or not at all."""
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet as pq

    from ..runs.files import whole_file

    if path.suffix not in (".parquet", ".csv", ".tsv"):
        raise InputError("no such format", file=path, expected=".parquet, .csv or .tsv")
    with whole_file(path) as beside:
        if path.suffix == ".parquet":
            pq.write_table(table, beside)
            return
        # Text has no lists: a preference becomes w1;w2, and stays empty for rankers that take none.
        if "preference" in table.column_names:
            text = [None if p is None else ";".join(map(str, p)) for p in table["preference"].to_pylist()]
            table = table.set_column(table.column_names.index("preference"), "preference", pa.array(text, pa.string()))
        options = pyarrow.csv.WriteOptions(delimiter="\t" if path.suffix == ".tsv" else ",", quoting_style="needed")
        pyarrow.csv.write_csv(table, beside, options)


# -------------------------------------------------------------------------------------------------------- predict


def _predict(args: dict[str, Any]) -> int:
    import numpy as np

    from ..rankers import load_ranker
    from ..rankers.neural import pick_device
    from ..runs.inputs import read_lists
    from ..runs.scores import scores_table
    from ..runs.trec import write_run

    folder, path, out = args["run"], args["file"], args.get("out")
    if out is not None and out.suffix not in (".csv", ".tsv", ".parquet", ".run"):
        raise InputError("no such format", file=out, expected=".csv, .tsv, .parquet or .run")
    if (folder / "record.json").is_file():
        _finished(folder)
        folder = folder / "ranker"
    ranker = load_ranker(folder)
    if hasattr(ranker, "to"):
        ranker.to(pick_device(args.get("device", "auto")))
    log = json.loads((folder / "training.json").read_text()) if (folder / "training.json").is_file() else {}
    plain = {"names": [], "width": ranker.n_features, "columns": range(ranker.n_features), "index_base": None}
    split = read_lists(path, log.get("inputs", plain), query=args.get("query"), document=args.get("document"))
    scores = ranker.score(split)
    if out is not None and out.suffix == ".run":
        write_run(out, split, scores, tag=ranker.name)
        return 0
    table = scores_table(split, scores)
    table = table.take(np.argsort(table["row"].to_numpy(), kind="stable")).select(["query", "doc", "score"])
    if out is None:
        import pyarrow.csv

        options = pyarrow.csv.WriteOptions(quoting_style="needed")
        sys.stdout.flush()
        pyarrow.csv.write_csv(table, _Text(), options)
    else:
        _write_table(out, table)
        show.remark(f"{len(table):,} scores in {out}")
    return 0


class _Text:
    """A binary file that writes to today's sys.stdout, as text."""

    closed = False

    def write(self, data) -> int:
        return sys.stdout.write(bytes(data).decode())

    def flush(self) -> None:
        sys.stdout.flush()


# --------------------------------------------------------------------------------------------------------- export


def _export(args: dict[str, Any]) -> int:
    from ..runs import read_scores, write_qrels, write_run
    from ..runs.evaluate import join

    record = _finished(args["run"])
    form, name = args.get("as", "run"), args.get("split", "test")
    ending = {"run": "run", "qrels": "qrels", "csv": "csv", "parquet": "parquet"}[form]
    out = args.get("out") or args["run"] / "export" / f"{name}.{ending}"
    names = args.get("names", "auto")
    scores = read_scores(args["run"] / "scores" / f"{name}.parquet")
    if form in ("csv", "parquet"):
        _write_table(out.with_suffix(f".{form}") if out.suffix not in (".csv", ".tsv", ".parquet") else out, scores)
    else:
        split = _task(args, record.config).split(name)
        if form == "qrels":
            write_qrels(out, split, args.get("data.objective") or record.config["data"].get("objective"), names=names)
        else:
            [(preference, aligned), *more] = join(split, scores)
            if more:
                raise InputError(
                    "a TREC run holds one ranking, this run has one a preference",
                    file=args["run"],
                    expected="--as parquet",
                )
            write_run(out, split, aligned, tag=args.get("tag") or record.config["ranker"]["name"], names=names)
    show.remark(f"wrote {out}")
    return 0
