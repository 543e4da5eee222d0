"""`ltr front` and `ltr choose`: what a method offers, and the trade-off one takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ltr.errors import InputError

from . import show
from .evaluate import roles
from .options import Command, Device, numbers, option

if TYPE_CHECKING:
    from ltr.runs.choice import ChoiceOnRun
    from ltr.runs.stated_pairs import Explained

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
  ltr choose RUN --knee                                where the front bends
  ltr choose RUN --at-most-loss 5% --main relevance     most of the others at a small loss of relevance
  ltr choose RUN --from-pairs pairs.csv                winner,loser: numbers of preferences somebody chose between
Objectives go by their label column, too: clicks for clicks:grade5:linear. The choice sees validation queries only.
Exit code 1: no preference meets the bounds, and the nearest is named."""


@dataclass(frozen=True)
class Front:
    """Show the front of a method, one point per preference.

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
    if not show.for_programs(found.table().to_pylist(), options) and not options.quiet:
        print(f"{options.run}")
        show.front(found)
    return 0


def _points(options: Front):
    from ltr.runs.front import front_of_run
    from ltr.runs.front_pipeline import chain_on
    from ltr.runs.labels import labelling_of_run, relabelled
    from ltr.runs.record import open_run
    from ltr.runs.systems import is_method

    folder, config = options.run, None
    if not is_method(folder):
        own = (options.data, options.fold, options.preferences) == (None, None, None) and options.split != "train"
        record = open_run(folder, *(() if own else ("method",)))
        if "method" not in record.config:
            raise InputError("this run trained a ranker, which has no front", file=folder)
        if own:
            return front_of_run(record, options.split)
        config, folder = record.config, folder / "method"
    elif options.data is None:
        raise InputError("a saved method does not say what it ranks", expected="--data NAME [--fold FOLD]")
    labelling = labelling_of_run(folder)
    of_run = {} if config is None else config["data"]
    own_roles = {} if config is None or options.data else roles(of_run)
    task = relabelled(options.data or of_run["name"], options.fold or of_run.get("fold"), labelling, **own_roles)
    each = [o.measure() for o in labelling.objectives] if config is None else config["measures"]
    measures = dict(zip(labelling.names, each, strict=True))
    splits = {name: task.split(name) for name in dict.fromkeys(["vali", str(options.split)])}
    partition = options.preferences if config is None else options.preferences or config["preferences"]
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
        knee: the preference where the front bends, so that giving costs most elsewhere.
        at_most_loss: the largest gain in the other objectives at such a loss of the main one, relative to its best,
            e.g. 5%.
        main: the objective that may lose so much; the first by default.
        from_pairs: a table of choices between preferences of the run (winner, loser; query, p and weight if any):
            the weights that explain them best choose.
        json: the result as JSON on stdout.
    """

    run: Path
    at_least: tuple[str, ...] = option((), metavar="NAME=VALUE")
    maximise: str | None = None
    knee: bool = False
    at_most_loss: str | None = option(None, metavar="SHARE")
    main: str | None = None
    from_pairs: Path | None = option(None, metavar="FILE")
    json: bool = False


def choose(options: Choose) -> int:
    """Prints one preference with its values."""
    from ltr.runs.choice import choose_on_run

    found = choose_on_run(
        options.run,
        numbers("at-least", options.at_least),
        options.maximise,
        knee=options.knee,
        at_most_loss=None if options.at_most_loss is None else _share(options.at_most_loss),
        main=options.main,
        from_pairs=options.from_pairs,
    )
    choice, said = found.choice, found.explained
    facts: dict[str, Any] = {"run": str(options.run), "rule": found.rule, "maximise": found.maximise}
    facts |= {"preference": list(found.preference), "index": choice.index, "met": choice.met, "short": choice.short}
    if said is not None:
        facts["explained"] = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in vars(said).items()}
    if not show.for_programs({**facts, "values": found.values}, options):
        _tell(options.run, found)
    return 0 if choice.met else 1


def _share(text: str) -> float:
    """5% or 0.05."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError("--at-most-loss is a share", expected="e.g. 5% or 0.05", came=text) from None


def _tell(run: Path, found: ChoiceOnRun) -> None:
    front, choice = found.front, found.choice
    bounds = {name: facts["at_least"] for name, facts in found.values.items() if "at_least" in facts}
    said = " ".join(f"{x:g}" for x in found.preference)
    if found.explained is not None:
        _tell_explained(front.objectives, found.explained)
    if choice.met:
        print(f"preference {choice.index} ({said}): {found.rule}")
    else:
        asked = " and ".join(f"{name} >= {bound:g}" for name, bound in bounds.items())
        lack = ", ".join(f"{name} lacks {x:.4f}" for name, x in choice.short.items())
        show.remark(f"ltr: none of {len(front.preferences)} preferences has {asked} on validation")
        print(f"the nearest is preference {choice.index} ({said}): {lack}")
    rows = [
        {
            "objective": name,
            "measure": measure,
            "weight": f"{weight:g}",
            "at least": facts.get("at_least"),
            "validation": facts["vali"],
            "test": facts["test"],
            "95 % interval": f"{show.number(facts['low'])} to {show.number(facts['high'])}",
        }
        for (name, facts), measure, weight in zip(found.values.items(), front.measures, found.preference, strict=True)
    ]
    show.table(rows, right=("weight", "at least", "validation", "test", "95 % interval"))
    for name, bound in bounds.items():
        lacking = bound - found.values[name]["test"]
        if choice.met and lacking > 0:
            print(f"{name} was met on validation and lacks {lacking:.4f} on test: the choice saw validation only")
    print(f"to use it: ltr predict {run} FILE --preference {said}")


def _tell_explained(objectives: tuple[str, ...], said: Explained) -> None:
    each = zip(objectives, said.weights, said.low, said.high, strict=True)
    weights = ", ".join(f"{name} {w:.3g} ({low:.3g} to {high:.3g})" for name, w, low, high in each)
    print(f"{said.pairs} choices, {said.agree} of them as these weights have it, with 95 % intervals: {weights}")
    if not said.informative:
        show.remark("ltr: chance explains these choices about as well; they say nothing of a preference")


COMMANDS = [
    Command(
        ("front",), Front, front, "RUN [--preferences H] [--data NAME] [--out FILE.csv] [--picture FILE.png]", _FRONT
    ),
    Command(
        ("choose",),
        Choose,
        choose,
        "RUN [--at-least NAME=VALUE ... --maximise NAME | --knee | --at-most-loss SHARE | --from-pairs FILE]",
        _CHOOSE,
    ),
]
