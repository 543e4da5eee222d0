"""`ltr bench show`, `compare`, `add`, `remove`, `merge`, `table`: the rows of a suite's results."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ltr.errors import InputError, check_name

from . import show
from .evaluate import open_task, roles
from .options import Command, numbers, option, pairs


@dataclass(frozen=True)
class Show:
    """Print the command that repeats a run, or the runs of rows of a table.

    Attributes:
        run: run folder, or a suite's folder, or a folder of its tidy results.
        system: of results: the row's label.
        dataset: of results: only this dataset.
        fold: of results: only this fold.
        seed: of results: only this seed.
    """

    run: Path
    system: tuple[str, ...] = option((), metavar="LABEL")
    dataset: str | None = None
    fold: str | None = None
    seed: int | None = None


@dataclass(frozen=True)
class Compare:
    """Compare two systems, runs or run files on the same queries.

    Above, below, equal within the margin, or cannot tell.

    Attributes:
        a: label of a system (with --results), a run folder, a folder of one system's runs, or a run file or table of
            scores.
        b: what it is compared with.
        results: the suite's folder, or a folder of its tidy results, whose systems are compared.
        data: dataset, store or folder that run files rank; that of the other side's run by default.
        dataset: of results: which one; the first by default.
        fold: of the data; the other side's by default.
        measure: by what; the suite's headline, or what chose the run's epoch, by default. Of methods: hypervolume,
            weighted or worst.
        margin: differences below it do not matter; of results the page's, else none.
        json: as JSON on stdout.
    """

    a: str
    b: str
    results: Path | None = option(None, metavar="FOLDER")
    data: str | None = None
    dataset: str | None = None
    fold: str | None = None
    measure: str | None = None
    margin: float | None = None
    json: bool = False


@dataclass(frozen=True)
class Add:
    """Make an outside system a row of a suite's results, measured from its scores.

    Every test document of the fold needs a score, and no other may have one.

    Attributes:
        folder: the suite's folder, or a folder of its tidy results.
        file: TREC run file, or a table of query, doc, score (.csv, .tsv, .parquet).
        label: its name in tables.
        dataset: what the scores rank; of a suite of one dataset that.
        fold: which fold's test queries; of a dataset of one fold that.
        seed: which training of the system.
        cost: what it took, e.g. fit_seconds=12 parameters=1000 score_documents_per_second=5e4.
        data: read a dataset of the suite from this store, folder or file.
        quiet: print no leaderboard.
    """

    folder: Path
    file: Path
    label: str = option("", metavar="NAME")
    dataset: str | None = None
    fold: str | None = None
    seed: int = 0
    cost: tuple[str, ...] = option((), metavar="NAME=NUMBER")
    data: tuple[str, ...] = option((), metavar="NAME=PATH")
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Remove:
    """Take an outside system out of a suite's results.

    Attributes:
        folder: the suite's folder, or a folder of its tidy results.
        label: its name in tables.
        dataset: only there.
        quiet: print no leaderboard.
    """

    folder: Path
    label: str
    dataset: str | None = None
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Merge:
    """Merge results of one suite that was run in several places.

    Other systems, folds, seeds or datasets; the measures must be the same. A run that both have is taken once.

    Attributes:
        a: a suite's folder, or a folder of tidy results.
        b: the other one.
        to: folder of the merged results and pages.
        quiet: print no leaderboard.
    """

    a: Path
    b: Path
    to: Path | None = option(None, metavar="FOLDER")
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Table:
    """Print the table of a suite's results, for a paper or a program.

    Attributes:
        folder: the suite's folder, or a folder of its tidy results.
        form: LaTeX (booktabs) and Markdown with rounded numbers, CSV and JSON with all digits.
        dataset: which one; the first by default.
        measure: what to rank by; the suite's headline by default.
    """

    folder: Path
    form: Literal["latex", "markdown", "csv", "json"] = option("markdown", flag="--as")
    dataset: str | None = None
    measure: str | None = None


def show_run(options: Show) -> int:
    from ltr.bench.analysis.results import load_any
    from ltr.runs import read_record

    record = read_record(options.run)
    if record is not None:
        print(record.command)
        return 0
    runs = load_any(options.run).runs
    for name in ("system", "dataset", "fold", "seed"):
        asked = getattr(options, name)
        asked = list(asked) if isinstance(asked, tuple) else [asked] if asked is not None else []
        for each in asked:
            check_name(f"{name} of the results", each, set(runs[name]))
        runs = runs[runs[name].isin(asked)] if asked else runs
    runs = runs[runs.status != "truth"]
    for row in runs.to_dict("records"):
        told = row["command"] if isinstance(row["command"], str) else f"({row['status']}: {row['reason']})"
        print(f"# {row['dataset']}, {row['system']}, {row['fold']}, seed {row['seed']}\n{told}")
    return 0


def compare(options: Compare) -> int:
    from ltr.bench.analysis.paired import compare_systems
    from ltr.bench.analysis.results import load_any

    if options.margin is not None and not 0 <= options.margin < math.inf:
        raise InputError("--margin is out of range", expected="0 or more, and finite", came=options.margin)
    silent = ("data", "fold") if options.results is not None else ("dataset",)
    if said_nothing := [f"--{name}" for name in silent if getattr(options, name) is not None]:
        whose = "systems of a suite" if options.results is not None else "runs and run files"
        raise InputError(f"{said_nothing[0]} says nothing of {whose}", do="Leave it out")
    if options.results is not None:
        results = load_any(options.results)
        said = {name: getattr(options, name) for name in ("dataset", "measure", "margin")}
        found = compare_systems(results, options.a, options.b, **said)
    else:
        found = _compare_files(options)
    d = found.difference
    if show.for_programs({**asdict(found), "verdict": d.verdict}, options):
        return 0
    tied = found.queries - found.ahead - found.behind
    sides = [
        {"": found.a, "mean": found.mean_a, "queries ahead": found.ahead},
        {"": found.b, "mean": found.mean_b, "queries ahead": found.behind},
    ]
    if not found.queries:
        sides = [{key: value for key, value in row.items() if key != "queries ahead"} for row in sides]
    print(f"{found.dataset}: {found.measure}")
    show.table(sides, right=("mean", "queries ahead"))
    over = "over other queries and other trainings" if d.scope == "methods" else "over other queries, for these nets"
    print(f"difference {d}, p = {d.p:.3g}; 95 % interval {over}" + (f"; {tied} queries tie" if found.queries else ""))
    print(found.sentence())
    return 0


def _compare_files(options: Compare):
    """Of what lies in folders and files; a run file is measured on the data it ranks."""
    from ltr.bench.analysis.paired import Values, compare_values, values_of_runs, values_of_table
    from ltr.metrics import measure as parse
    from ltr.rankers.config import HEADLINE
    from ltr.runs.environment import data_hashes
    from ltr.runs.per_query import per_query
    from ltr.runs.rankings import read_ranking

    sides = [Path(options.a), Path(options.b)]
    for path in sides:
        if not path.exists():
            raise InputError(
                "no such run", file=path, expected="a run folder or a run file", do="Labels of a suite need --results"
            )
    measure: str | None = options.measure
    found: dict[int, Values] = {}
    config: dict[str, Any] = {}
    for i in sorted(range(2), key=lambda i: sides[i].is_file()):  # runs first: they say what files rank
        if sides[i].is_dir():
            found[i] = values_of_runs(sides[i], measure)
            measure, config = found[i].measure, found[i].config
            continue
        measure = repr(parse(measure or HEADLINE))
        folds = [*next(iter(found.values())).stores] if found else []
        fold = options.fold or (folds[0] if len(folds) == 1 else None)
        task = open_task(options.data, fold, None, config, columns=roles({}))
        scores = read_ranking(sides[i], task.test)
        store = data_hashes(task)["store"]
        found[i] = values_of_table(per_query(task.test, scores, [measure]), measure, task.fold, store)
    dataset = options.data or config["data"]["name"]
    return compare_values((options.a, options.b), (found[0], found[1]), dataset=dataset, margin=options.margin or 0.0)


def add(options: Add) -> int:
    from ltr.bench.analysis import outside

    if not options.label:
        raise InputError("a row needs a name", expected="--label NAME")
    given: dict[str, Any] = {"dataset": options.dataset, "fold": options.fold, "seed": options.seed}
    given |= {"cost": numbers("cost", options.cost), "data": pairs("data", options.data)}
    results = outside.add(options.folder, options.file, options.label, **given)
    runs = results.runs[results.runs.system == options.label]
    if len(lacking := runs[runs.status != "done"]):
        said = ", ".join(f"{row['dataset']} {row['fold']}" for row in lacking.to_dict("records"))
        show.remark(f"ltr: {options.label} has no scores of {said}: its mean is over fewer queries than others'")
    return _pages(options.folder, options.quiet)


def remove(options: Remove) -> int:
    from ltr.bench.analysis import outside

    outside.remove(options.folder, options.label, options.dataset)
    return _pages(options.folder, options.quiet)


def merge(options: Merge) -> int:
    from ltr.bench.analysis.merging import merge_folders

    if options.to is None:
        raise InputError("into which folder?", expected="--to FOLDER")
    merge_folders((options.a, options.b), options.to)
    return _pages(options.to, options.quiet)


def table(options: Table) -> int:
    from ltr.bench.analysis.front_leaderboard import front_leaderboard
    from ltr.bench.analysis.leaderboard import leaderboard
    from ltr.bench.analysis.results import Results, load_any
    from ltr.bench.pages.report_fronts import text_rows
    from ltr.bench.text import latex_table, markdown_table

    results = load_any(options.folder)
    plain = options.form in ("csv", "json")
    rows: Any
    if isinstance(results, Results):
        board = leaderboard(results, options.dataset, options.measure)
        rows = board.table.to_dict("records") if plain else board.rows()
    elif options.measure:
        raise InputError("a suite of methods is ranked by hypervolume", came=f"--measure {options.measure}")
    elif plain:
        rows = front_leaderboard(results, options.dataset).table.to_dict("records")
    else:
        rows = text_rows(results, options.dataset or results.suite.datasets[0])
    if plain:
        show.machine(rows, options.form)
    else:
        form = latex_table if options.form == "latex" else markdown_table
        print(form(rows, left=("system", "note", "group", "verdict", "asks")))
    return 0


def _pages(folder: Path, quiet: bool) -> int:
    from ltr.bench import report

    show.remark(f"wrote {report(folder, console=None if quiet else show.console())}")
    return 0


COMMANDS = [
    Command(("bench", "show"), Show, show_run, "RUN  (or FOLDER [--system LABEL] [--fold F] [--seed S])"),
    Command(
        ("bench", "compare"),
        Compare,
        compare,
        "A B [--results FOLDER] [--measure M] [--margin X]\n"
        "       ltr bench compare A.run B.run --data NAME [--fold F]",
    ),
    Command(("bench", "add"), Add, add, "FOLDER FILE --label NAME [--fold F] [--seed S] [--cost NAME=NUMBER ...]"),
    Command(("bench", "remove"), Remove, remove, "FOLDER LABEL"),
    Command(("bench", "table"), Table, table, "FOLDER [--as {latex,markdown,csv,json}] [--measure M]"),
    Command(("bench", "merge"), Merge, merge, "A B --to FOLDER"),
]
