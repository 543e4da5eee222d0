"""`ltr train`: one run, from its config to its numbers."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr.errors import InputError, say_once, unknown_name

from . import show
from .options import Command, Device, option

if TYPE_CHECKING:
    from ltr.runs.config import RunConfig

_EXAMPLES = """\
examples:
  ltr train --data mq2008 --ranker mlp --loss listnet
  ltr train --config run.toml --training.epochs 5 --ranker.params.hidden '[64, 32]' --out runs/small
  ltr train --data synthetic --ranker lightgbm --dry-run > run.toml
  ltr train --data mq2008 --data.objectives relevance page-rank --method hyperdpo --training.epochs 30
  ltr train --data mslr-head --data.objectives quality url-clicks --main relevance --method hyperdpo
  ltr train --data shop.csv --query session --labels bought --drop price --ranker lightgbm
  ltr train --data shop.csv --data.objectives relevance clicks:grade5 --method hyperdpo

Parameters: --ranker.params.KEY VALUE, --loss.params.KEY VALUE, --method.params.KEY VALUE (a list as '[64, 32]'); a
wrong name tells the right ones. Net and loss of a method are its parameters: --method.params.ranker mlp,
--method.params.loss listnet; --training.KEY sets those of its training. The run folder holds config.toml, the ranker
or method, scores, per-query values and record.json.
The same command again does nothing when the run is done, and continues it when it was stopped."""


@dataclass(frozen=True)
class Train:
    """Train one ranker, or one method for several objectives, and measure it.

    Attributes:
        config: TOML file; options given beside it win.
        out: run folder (default: runs/DATA/FOLD/RANKER-LOSS-HASH or METHOD-HASH).
        device: where it is computed.
        dry_run: print the resolved config and an estimate of its size, and train nothing.
        quiet: no progress and no table.
        json: the result as JSON on stdout.
    """

    config: Path | None = option(None, metavar="FILE.toml")
    out: Path | None = option(None, metavar="FOLDER")
    device: Device = "auto"
    dry_run: bool = False
    quiet: bool = option(False, short="-q")
    json: bool = False


def train(options: Train, keys: dict[str, Any]) -> int:
    """Runs the config that the file and the keys make."""
    from ltr.runs import execute, load_task, read_config, read_record

    _check_given(options.config, keys)
    config = read_config(options.config, keys)
    if options.dry_run:
        return _dry_run(config, options.json)
    folder = options.out or default_folder(config)
    before = read_record(folder)
    done = before is not None and before.done
    # Data that is not there is the user's to mend, before a folder tells of a failed run.
    task = None if done else load_task(config)
    try:
        with show.training_progress(options.quiet) as progress:
            record = execute(config, folder, progress=progress, task=task, device=options.device)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_kept(folder)) from None
    if not done:
        for text in record.notes:
            say_once(f"note: {text}")
    if options.json:
        show.machine(_facts(record), "json")
    elif record.done and not options.quiet:
        _show(record, again=done)
    if record.status == "failed":
        show.remark(f"ltr: the run failed: {record.reason}")
        show.remark(f"ltr: traceback in {folder / 'record.json'}; the same command tries again")
        return 2 if record.error.get("user") else 1
    if record.status == "skipped":
        show.remark(f"ltr: skipped: {record.reason}")
        return 2
    return 0


def _check_given(file: Path | None, keys: dict[str, Any]) -> None:
    """What is wrong with a line by itself, the most particular first: a name nobody knows, then what is missing.

    Raises:
        InputError: unknown data, ranker, loss or method; or no word of what is ranked, or with what.
    """
    if "data.name" in keys:
        _check_data(keys["data.name"])
    if {"ranker.name", "loss.name", "method.name"} & set(keys) and file is None:
        from ltr.losses import LOSSES
        from ltr.methods import METHODS
        from ltr.rankers import RANKERS

        for key, known in (("ranker.name", RANKERS), ("loss.name", LOSSES), ("method.name", METHODS)):
            if key in keys:
                known[keys[key]]
    data, trained = "data.name" in keys, {"ranker.name", "method.name"} & set(keys)
    if file is not None or (data and trained):
        return
    missing = "what is ranked, and with what?" if not data and not trained else "what is ranked?"
    expected = "--data NAME" if trained else "--ranker NAME [--loss NAME], or --data.objectives A B --method NAME"
    if not data and not trained:
        expected = "--config FILE.toml, or --data NAME --ranker NAME [--loss NAME], or "
        expected += "--data NAME --data.objectives A B --method NAME"
    raise InputError(missing if not data else "with what is it ranked?", expected=expected, do="See: ltr train --help")


def _check_data(name: str) -> None:
    """Refuses data that cannot be: neither generated, nor a card, nor there."""
    from ltr.datasets.cards.card import cards

    path = Path(name)
    if name.partition(":")[0] == "synthetic" or path.exists() or name in cards():
        return
    if len(path.parts) > 1 or path.suffix:
        raise InputError("no such file or folder", file=path, do="Give a dataset's name, a store, or raw files")
    raise unknown_name("dataset", name, [*cards(), "synthetic"])


def default_folder(config: RunConfig) -> Path:
    """runs/DATA/FOLD/RANKER-LOSS-HASH or METHOD-HASH: equal configs meet in one folder, others never."""
    from ltr.runs import config_hash

    choices = (config.ranker, config.method, config.loss)
    parts = [*(choice.name for choice in choices if choice is not None), config_hash(config)[:8]]
    data = Path(config.data.name).stem.replace(":", "-")
    return Path("runs") / data / (config.data.fold or "first") / "-".join(parts)


def _kept(folder: Path) -> str:
    """What a stopped run left, and how to go on."""
    if (folder / "ranker").is_dir() or (folder / "method").is_dir():
        what = "what was trained is kept, only scoring is left"
    elif any(not p.name.startswith(".") for p in (folder / "checkpoints").rglob("*.ckpt")):
        what = "the last finished epoch is kept"
    else:
        what = "nothing was trained yet"
    again = f"ltr train --config {folder / 'config.toml'} --out {folder}"
    return f"stopped; {what} in {folder}. The same command continues; or: {again}"


def _facts(record) -> dict[str, Any]:
    names = ("status", "reason", "data", "selection", "measures", "notes", "cost", "command")
    return {"folder": str(record.folder), **{name: getattr(record, name) for name in names}}


def _show(record, again: bool) -> None:
    title = f"{record.folder}" + (" (done before)" if again else "")
    if "method" in record.config:
        _show_front(record, title)
        return
    show.means(record.measures, title=title)
    cost, selection = record.cost, record.selection
    step = next((f", {k} {v}" for k, v in selection.items() if k not in ("measure", "value", "split")), "")
    print(
        f"selected on validation by {selection['measure']}{step}; queries are those of the test split", file=sys.stdout
    )
    print(
        f"fit {cost['fit_seconds']:.1f} s, {show.number(round(cost['train_documents_per_second'] or 0))} documents/s; "
        f"scoring {show.number(round(cost['score_documents_per_second']))} documents/s; "
        f"{cost['parameters']:,} parameters; peak memory {show.size(cost['peak_memory_bytes'])}"
    )


def _show_front(record, title: str) -> None:
    """Validation and test side by side, of the preferences that make the front where there are many."""
    from ltr.runs.front import front_of_run, main_lines

    front = front_of_run(record)
    print(title)
    show.front(front, most=20)
    for line in main_lines(record):
        print(line)
    cost = record.cost
    print(
        f"{cost['models_trained']} trainings in {cost['fit_seconds']:.1f} s, {cost['seconds_a_point']:.2f} s a "
        f"preference; {cost['parameters']:,} parameters; peak memory {show.size(cost['peak_memory_bytes'])}"
    )


def _dry_run(config: RunConfig, json: bool) -> int:
    """The resolved config as TOML, its size in comments: what is printed is a config."""
    import tomli_w

    from ltr.runs.estimate import estimate
    from ltr.schema import to_dict

    found = estimate(config)
    if json:
        show.machine({"config": to_dict(config), "estimate": found.facts()}, "json")
        return 0
    print("\n".join(f"# {line}" for line in found.lines()))
    print()
    print(tomli_w.dumps(to_dict(config)), end="")
    return 0


def _config() -> dict[str, tuple[str, type, tuple[str, ...]]]:
    """The parts of a run's config, group by group."""
    from ltr.rankers.config import TrainingConfig
    from ltr.runs.config import DataConfig, LossChoice, MethodChoice, RankerChoice, RunConfig

    return {
        "data (short: --data, --fold, --objective, --main, --labels, --weights ... for each)": (
            "data.",
            DataConfig,
            (),
        ),
        "ranker (short: --ranker)": ("ranker.", RankerChoice, ("params",)),
        "loss (short: --loss)": ("loss.", LossChoice, ("params",)),
        "method for several objectives (short: --method)": ("method.", MethodChoice, ("params",)),
        "training of neural rankers": ("training.", TrainingConfig, ()),
        "run": ("", RunConfig, ("data", "ranker", "loss", "training", "method")),
    }


def _alias() -> dict[str, str]:
    from ltr.runs.config import SHORT

    return {short: f"--{key}" for key, short in SHORT.items()}


COMMANDS = [
    Command(
        ("train",),
        Train,
        train,
        "[--config FILE.toml] [--KEY VALUE ...] [--out FOLDER]",
        _EXAMPLES,
        config=_config,
        alias=_alias,
    )
]
