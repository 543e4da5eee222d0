"""`ltr bench`: suites of runs, and the pages made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from . import show
from .options import new_parser

__all__ = ["register"]


def register(commands, registered) -> None:
    bench = new_parser("Suites: many runs, one leaderboard.", usage="ltr bench COMMAND ...")
    # jsonargparse wants the outer level first.
    commands.add_subcommand("bench", bench, help="run a suite, see its leaderboard")
    below = bench.add_subcommands(required=False, dest="command", metavar="COMMAND", title="commands")

    run = new_parser(
        "Runs a suite: tunes, trains, measures, writes the report. The same command again does only what is not done.",
        usage="ltr bench run SUITE [--out FOLDER] [--data NAME=PATH ...] [--dry-run]",
    )
    run.add_argument(
        "suite",
        type=str,
        help="suite file, or the name of one that comes with ltr (see: ltr bench list)",
        metavar="SUITE",
    )
    run.add_argument("--out", type=Path, help="folder of runs and report (default: runs/SUITE)", metavar="FOLDER")
    _run_options(run)
    run.add_argument(
        "--data",
        type=str,
        nargs="+",
        metavar="NAME=PATH",
        help="read a dataset of the suite from this store, folder or file",
    )
    below.add_subcommand("run", run, help="run a suite")
    registered[("bench", "run")] = (run, _run)

    quick = new_parser(
        "The main job on the embedded synthetic task: no download, under three minutes on two cores.",
        usage="ltr bench quickstart [--out FOLDER]",
    )
    quick.add_argument(
        "--out", type=Path, default=Path("runs/quickstart"), help="folder of runs and report", metavar="FOLDER"
    )
    _run_options(quick)
    below.add_subcommand("quickstart", quick, help="the two-minute tour, no download")
    registered[("bench", "quickstart")] = (quick, _quickstart)

    report = new_parser(
        "Writes the pages of a suite again from its files: report.md, pictures, report.html.",
        usage="ltr bench report FOLDER [--to FOLDER] [--rule queries|folds]",
    )
    report.add_argument("folder", type=Path, help="a suite's folder, or a folder of its tidy results", metavar="FOLDER")
    report.add_argument("--to", type=Path, help="where the pages go (default: beside the results)", metavar="FOLDER")
    report.add_argument(
        "--rule",
        type=Literal["queries", "folds"],
        default="queries",
        metavar="{queries,folds}",
        help="mean over all queries, or over folds",
    )
    report.add_argument(
        "--draws", type=int, default=10_000, metavar="INT", help="draws of bootstrap and randomisation test"
    )
    report.add_argument("--quiet", "-q", action="store_true", help="print no leaderboard")
    below.add_subcommand("report", report, help="write the pages of a suite again")
    registered[("bench", "report")] = (report, _report)

    names = new_parser("Suites that come with ltr.", usage="ltr bench list [--json]")
    names.add_argument("--json", action="store_true", help="as JSON on stdout")
    below.add_subcommand("list", names, help="suites that come with ltr")
    registered[("bench", "list")] = (names, _list)


def _run_options(parser) -> None:
    parser.add_argument(
        "--workers", type=int, metavar="INT", help="processes that train at the same time (default: the suite's)"
    )
    parser.add_argument("--threads", type=int, metavar="INT", help="threads of each (default: the suite's)")
    parser.add_argument(
        "--only", type=str, nargs="+", metavar="LABEL", help="systems to run, by label or its beginning"
    )
    parser.add_argument("--seeds", type=int, nargs="+", metavar="INT", help="instead of the suite's")
    parser.add_argument(
        "--device",
        type=Literal["auto", "cpu", "cuda", "mps"],
        default="auto",
        metavar="{auto,cpu,cuda,mps}",
        help="where it is computed",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the plan with an estimate of time and memory, and run nothing"
    )
    parser.add_argument("--quiet", "-q", action="store_true", help="no progress and no leaderboard")


def _options(args: dict[str, Any]) -> dict[str, Any]:
    for name in ("workers", "threads"):
        if args.get(name, 1) < 1:
            raise InputError(f"--{name} is out of range", expected="1 or more", came=args[name])
    options = {
        name: args[name] for name in ("workers", "threads", "only", "seeds", "device", "dry_run") if name in args
    }
    return {**options, "progress": not args.get("quiet", False)}


def _run(args: dict[str, Any]) -> int:
    from ..bench import run_suite

    data = {}
    # `--data` alone is short for `--data.name` elsewhere; here it names a place.
    for pair in args.get("data", []):
        name, equals, path = pair.partition("=")
        if not equals or not path:
            raise InputError("--data says where a dataset lies", expected="NAME=PATH", came=pair)
        data[name] = path
    out = args.get("out") or Path("runs") / Path(args["suite"]).stem
    return _ended(run_suite(args["suite"], out, data=data, **_options(args)))


def _quickstart(args: dict[str, Any]) -> int:
    from ..bench import quickstart

    return _ended(quickstart(args.get("out", Path("runs/quickstart")), **_options(args)))


def _ended(results) -> int:
    """1 where a run of the suite failed: the pages are there, and say which."""
    if results is None:
        return 0
    failed = int((results.runs["status"] == "failed").sum())
    if failed:
        show.remark(f"ltr: {failed} of {len(results.runs)} runs failed; the report says why")
    return 1 if failed else 0


def _report(args: dict[str, Any]) -> int:
    from ..bench import report

    options = {name: args[name] for name in ("rule", "draws") if name in args}
    page = report(args["folder"], args.get("to"), console=None if args.get("quiet") else show.console(), **options)
    show.remark(f"wrote {page}")
    return 0


def _list(args: dict[str, Any]) -> int:
    from ..bench.matrix import load_suite, suite_names

    rows = []
    for name in suite_names():
        suite = load_suite(name)
        rows.append(
            {
                "suite": name,
                "datasets": ", ".join(suite.datasets),
                "systems": len(suite.variants()),
                "title": suite.title,
            }
        )
    if args.get("json"):
        show.machine(rows, "json")
    else:
        show.table(rows, right=("systems",))
    return 0
