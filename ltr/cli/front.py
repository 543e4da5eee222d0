"""`ltr front` and `ltr choose`: what a method offers, and the trade-off one takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ltr.errors import InputError, unknown_name

from . import show
from .evaluate import finished
from .options import Command, Device, option

_FRONT = """\
examples:
  ltr front runs/mq2008/Fold1/hyperdpo-1a2b3c4d --picture front.png --out front.csv
  ltr front RUN --preferences 20                       a finer lattice, scored anew in one pass
  ltr front RUN/method --data mq2008 --fold Fold2      the same method on other lists, labelled as its own were
Points that make the front (*) are those not dominated on validation; the numbers to report are those of test."""

_CHOOSE = """\
examples:
  ltr choose RUN --at-least relevance=0.45 --maximise clicks
  ltr choose RUN --at-least relevance=0.45 trust=0.3 --maximise clicks --json
The choice sees validation queries only. Exit code 1: no preference meets the bounds, and the nearest is named."""


@dataclass(frozen=True)
class Front:
    """Show the front of a method: a point a preference.

    A run's own points by default. With other data or another lattice the method scores them anew, all preferences in
    one pass.

    Attributes:
        run: run folder of a method, or a saved method.
        data: dataset, store or folder to score instead of the run's own.
        fold: its fold; a run's own by default.
        split: what is reported.
        preferences: H of the lattice, all weights that are multiples of 1/H; a run's own by default.
        out: also write the table (.csv, .tsv or .parquet).
        picture: also draw it (.png, .svg or .pdf).
        device: where it is computed.
        quiet: no table.
        json: the result as JSON on stdout.
        csv: the result as CSV on stdout.
    """

    run: Path
    data: str | None = None
    fold: str | None = None
    split: Literal["train", "vali", "test"] = "test"
    preferences: int | None = None
    out: Path | None = option(None, metavar="FILE")
    picture: Path | None = option(None, metavar="FILE.png")
    device: Device = "auto"
    quiet: bool = option(False, short="-q")
    json: bool = False
    csv: bool = False


def front(options: Front) -> int:
    """Prints, writes and draws the points."""
    if options.out is not None and options.out.suffix not in (".csv", ".tsv", ".parquet"):
        raise InputError("no such format", file=options.out, expected=".csv, .tsv or .parquet")
    if options.picture is not None and options.picture.suffix not in (".png", ".svg", ".pdf"):
        raise InputError("no such format", file=options.picture, expected=".png, .svg or .pdf")
    if options.preferences is not None and options.preferences < 1:
        raise InputError("--preferences is out of range", expected="1 or more", came=options.preferences)
    found = _points(options)
    if options.out is not None:
        show.write_table(options.out, found.table())
        show.remark(f"wrote {options.out}")
    if options.picture is not None:
        _draw(found, options.split, options.picture)
        show.remark(f"wrote {options.picture}")
    if options.json or options.csv:
        show.machine(found.table().to_pylist(), "json" if options.json else "csv")
    elif not options.quiet:
        print(f"{options.run}")
        show.front(found)
    return 0


def _points(options: Front):
    from ltr.runs.front import chain_on, front_of_run, labelling_of_run
    from ltr.runs.load import relabelled
    from ltr.runs.systems import is_method

    folder, config = options.run, None
    if not is_method(folder):
        record = finished(folder)
        if "method" not in record.config:
            raise InputError("this run trained a ranker, which has no front", file=folder)
        config, folder = record.config, folder / "method"
        own = (options.data, options.fold, options.preferences) == (None, None, None)
        if own and options.split != "train":
            return front_of_run(record, options.split)
    elif options.data is None:
        raise InputError("a saved method does not say what it ranks", expected="--data NAME [--fold FOLD]")
    labelling = labelling_of_run(folder)
    of_run = {} if config is None else config["data"]
    task = relabelled(options.data or of_run["name"], options.fold or of_run.get("fold"), labelling)
    measures = [o.measure() for o in labelling.objectives] if config is None else config["measures"]
    splits = {name: task.split(name) for name in dict.fromkeys(("vali", options.split))}
    partition = options.preferences or (config and config["preferences"])
    found = chain_on(folder, splits, measures, partition=partition, device=options.device)
    if not options.quiet:
        took = ", ".join(f"{stage} {seconds:.3g} s" for stage, seconds in found.seconds.items())
        show.remark(f"scored anew on the {'CPU' if found.on == 'host' else found.on}: {took}")
    return found.front


def _draw(found, split: str, path: Path) -> None:
    """The points that make the front, on the split that is reported."""
    from ltr.atomic import whole_file
    from ltr.fronts.pictures import front_picture

    points = found.points[split][found.member]
    measured = f", {found.measures[0]}" if len(set(found.measures)) == 1 else ""
    title = f"{split}{measured}: {len(points)} of {len(found.preferences)} preferences"
    figure = front_picture({split: [points]}, found.objectives, title=title)
    with whole_file(path) as beside:
        figure.savefig(beside, format=path.suffix[1:])


@dataclass(frozen=True)
class Choose:
    """Choose a preference on validation, and see what it gives on test.

    Attributes:
        run: run folder of a method.
        at_least: bounds on the measures of objectives.
        maximise: the objective that decides among the preferences that meet them; the only one without a bound by
            default.
        json: the result as JSON on stdout.
    """

    run: Path
    at_least: tuple[str, ...] = option((), metavar="NAME=VALUE")
    maximise: str | None = None
    json: bool = False


def choose(options: Choose) -> int:
    """Prints one preference with its values."""
    from ltr.runs.front import choose, front_of_run

    record = finished(options.run)
    found = front_of_run(record)
    bounds = _bounds(options.at_least, found.objectives)
    maximise = options.maximise
    if maximise is None:
        free = [name for name in found.objectives if name not in bounds]
        if len(free) != 1:
            raise InputError("which objective decides?", expected=f"--maximise, one of {', '.join(found.objectives)}")
        maximise = free[0]
    choice = choose(found.points["vali"], found.objectives, bounds, maximise)
    w = [float(f"{x:.6g}") for x in found.preferences[choice.index]]
    values = {
        name: {
            "vali": float(found.points["vali"][choice.index, k]),
            **_on_test(record, found, choice.index, k),
            **({"at_least": bounds[name]} if name in bounds else {}),
        }
        for k, name in enumerate(found.objectives)
    }
    if options.json:
        facts = {"preference": w, "index": choice.index, "met": choice.met, "short": choice.short, "values": values}
        show.machine({"run": str(options.run), "maximise": maximise, **facts}, "json")
    else:
        _tell(options.run, found, choice, w, values, bounds, maximise)
    return 0 if choice.met else 1


def _bounds(given: tuple[str, ...], objectives: tuple[str, ...]) -> dict[str, float]:
    """Objective -> its bound."""
    bounds = {}
    for text in given:
        name, equals, value = text.rpartition("=")  # a name may hold a colon, hardly an equals sign
        try:
            bounds[name] = float(value)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError("--at-least says how much of what", expected="NAME=VALUE", came=text)
        if name not in objectives:
            raise unknown_name("objective of the run", name, objectives)
    return bounds


def _on_test(record, found, index: int, k: int) -> dict[str, Any]:
    """The test value of one objective at one preference, with the interval over queries."""
    import numpy as np
    import pyarrow.compute as pc

    from ltr.metrics.significance import bootstrap_interval
    from ltr.runs.per_query import join_preference, read_per_query

    table = read_per_query(record.folder / "per_query" / "test.parquet")
    table = table.filter(pc.equal(table["objective"], found.objectives[k]))
    values = join_preference(table, found.preferences[index])[found.measures[k]].to_numpy()
    low, high = bootstrap_interval(values) if np.isfinite(values).sum() > 1 else (float("nan"),) * 2
    return {"test": float(found.points["test"][index, k]), "low": float(low), "high": float(high)}


def _tell(run: Path, found, choice, w, values, bounds, maximise) -> None:
    asked = " and ".join(f"{name} >= {bound:g}" for name, bound in bounds.items()) or "no bound"
    said = " ".join(f"{x:g}" for x in w)
    if choice.met:
        print(f"preference {choice.index} ({said}): {maximise} is largest on vali, {asked}")
    else:
        lack = ", ".join(f"{name} lacks {x:.4f}" for name, x in choice.short.items())
        show.remark(f"ltr: none of {len(found.preferences)} preferences has {asked} on vali")
        print(f"the nearest is preference {choice.index} ({said}): {lack}")
    rows = [
        {
            "objective": name,
            "measure": measure,
            "weight": f"{weight:g}",
            "at least": facts.get("at_least"),
            "vali": facts["vali"],
            "test": facts["test"],
            "95 % interval": f"{show.number(facts['low'])} to {show.number(facts['high'])}",
        }
        for (name, facts), measure, weight in zip(values.items(), found.measures, w, strict=True)
    ]
    show.table(rows, right=("weight", "at least", "vali", "test", "95 % interval"))
    for name, bound in bounds.items():
        lacking = bound - values[name]["test"]
        if choice.met and lacking > 0:
            print(f"{name} was met on vali and lacks {lacking:.4f} on test: the choice saw vali only")
    print(f"to use it: ltr predict {run} FILE --preference {said}")


COMMANDS = [
    Command(
        ("front",), Front, front, "RUN [--preferences H] [--data NAME] [--out FILE.csv] [--picture FILE.png]", _FRONT
    ),
    Command(("choose",), Choose, choose, "RUN [--at-least NAME=VALUE ...] [--maximise NAME]", _CHOOSE),
]
