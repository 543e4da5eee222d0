"""`ltr data`: list, fetch, convert and check datasets."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ltr.errors import InputError, near_miss, say_once

from . import show
from .options import Command, option

_CONVERT = """\
examples:
  ltr data convert mq2008                               fetched files of a card, into the data folder
  ltr data convert my/letor --to my/store               Fold*/train|vali|test or single svmlight files
  ltr data convert clicks.parquet --to my/store --query session --labels clicked --document url --drop 'emb_*'
A store converted once is opened by memory map afterwards: `--data my/store` in every other command."""


@dataclass(frozen=True)
class List:
    """List the datasets that have a card.

    Attributes:
        json: as JSON on stdout.
        csv: as CSV on stdout.
    """

    json: bool = False
    csv: bool = False


@dataclass(frozen=True)
class Info:
    """Show what is known about a dataset: its card, and its store where there is one.

    Attributes:
        name: dataset, or folder of a store.
        json: as JSON on stdout.
    """

    name: str = option(metavar="NAME|STORE")
    json: bool = False


@dataclass(frozen=True)
class Fetch:
    """Get the raw files of a dataset, or take them from what you downloaded by hand.

    Attributes:
        name: dataset with a card.
        source: archive or folder that holds the files.
        accept_licence: you have read the owner's licence and accept it.
        quiet: no progress.
    """

    name: str
    source: Path | None = option(None, flag="--from")
    accept_licence: bool = False
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Convert:
    """Convert raw files into a store, once.

    Attributes:
        source: dataset with a card, the path of a card, or a folder or file of query lists.
        to: the store; its place in the data folder by default, for a dataset with a card.
        name: name of the dataset, when the source has no card.
        objectives: label columns by name, the first is the main one.
        drop: features or columns that leave the inputs, by name, pattern (emb_*) or index.
        query: query column of a table.
        document: document column of a table.
        weights: column of a table, what a document counts in the losses.
        positions: column of a table, the rank a document was shown at.
        clicks: label column of a table, and the main one.
        labels: label columns of a table; names or patterns.
        features: feature columns of a table; names or patterns, also those that are left out by their name.
        categories: feature columns of a table that are categories; names or patterns.
        index_base: index of the first feature in svmlight text.
        n_features: number of features of svmlight text; the largest index by default.
        non_finite: nan and inf among the features.
        threads: threads that read files side by side; the processor's by default, at most 4.
        overwrite: replace the store that lies there.
        quiet: no progress and no table.
    """

    source: str = option(metavar="NAME|PATH")
    to: Path | None = option(None, metavar="STORE")
    name: str | None = None
    objectives: tuple[str, ...] = ()
    drop: tuple[str, ...] = option((), metavar="FEATURE")
    query: str | None = option(None, metavar="COLUMN")
    document: str | None = option(None, metavar="COLUMN")
    weights: str | None = option(None, metavar="COLUMN")
    positions: str | None = option(None, metavar="COLUMN")
    clicks: str | None = option(None, metavar="COLUMN")
    labels: tuple[str, ...] = option((), metavar="COLUMN")
    features: tuple[str, ...] = option((), metavar="COLUMN")
    categories: tuple[str, ...] = option((), metavar="COLUMN")
    index_base: Literal[0, 1] | None = None
    n_features: int | None = None
    non_finite: Literal["keep", "refuse"] = "keep"
    threads: int | None = None
    overwrite: bool = False
    quiet: bool = option(False, short="-q")


@dataclass(frozen=True)
class Verify:
    """Check raw files against the card, and the store against its manifest.

    The exit code is 1 when something differs or is missing.

    Attributes:
        name: dataset, or folder of a store.
        check: look at the size of the features only (reading them takes two seconds a GB); default: read them.
        json: as JSON on stdout.
    """

    name: str = option(metavar="NAME|STORE")
    check: bool = True
    json: bool = False


def names(options: List) -> int:
    from ltr.datasets.cards.card import cards, load_card

    keys = ("name", "title", "queries", "documents", "features", "folds", "here")
    rows: list[dict[str, Any]] = []
    for name in cards():
        row = dict.fromkeys(keys) | {"name": name, "here": "card"}
        try:
            card = load_card(name)
        except InputError as error:  # somebody's own card: the others are listed all the same
            rows.append(row | {"title": f"broken card: {error}"})
            continue
        if card.counts is not None:
            row |= {"queries": card.counts.queries, "documents": card.counts.documents}
        row |= {"features": card.n_features, "folds": len(card.folds) or None, "here": _here(card)}
        rows.append(row | {"title": card.title})
    if not show.for_programs(rows, options):
        show.table(rows, right=("queries", "documents", "features", "folds"))
    return 0


def _here(card) -> str:
    """What of the dataset is on this machine."""
    from ltr.datasets.cards.card import card_home

    if card.format == "generated":
        return "made on demand"
    home = card_home(card.name)
    if (home / "store" / "manifest.json").is_file():
        return "store"
    return "raw files" if (home / "raw").is_dir() else "no"


def _store_folder(name: str) -> Path | None:
    """The store a name or path stands for, where there is one."""
    from ltr.datasets.cards.card import card_home

    for folder in (Path(name), card_home(name) / "store"):
        if (folder / "manifest.json").is_file():
            return folder
    return None


def info(options: Info) -> int:
    from ltr.datasets.cards.card import card_file, load_card
    from ltr.datasets.cards.page import page
    from ltr.datasets.store.store import Store
    from ltr.schema import to_dict

    name, found = options.name, _store_folder(options.name)
    if found is None and card_file(name) is None and Path(name).exists():
        raise InputError(
            "raw files tell nothing by themselves", file=name, do=f"Convert them: ltr data convert {name} --to STORE"
        )
    card = None if found is not None and found == Path(name) else load_card(name)
    store = None if found is None else Store.open(found)
    if show.for_programs({"card": card and to_dict(card), "store": store and store.manifest}, options):
        return 0
    if card is not None:
        text = page(card)
        if sys.stdout.isatty():
            from rich.markdown import Markdown

            show.console().print(Markdown(text), soft_wrap=False)
        else:
            print(text)
        if card.format != "generated" and store is None:
            print(f"Not converted yet: ltr data fetch {name} && ltr data convert {name}")
    if store is not None:
        _show_store(store, roles=True)
    return 0


def _show_store(store, roles: bool = False) -> None:
    """The manifest as a table: a row a split; and the roles of a table's columns."""
    from ltr.datasets.readers.column_roles import role_lines

    rows = []
    for fold, splits in store.manifest["folds"].items():
        for split, facts in splits.items():
            labels = facts["labels"][store.objectives[0]]
            grades = " ".join(f"{grade}:{count:,}" for grade, count in labels.get("counts", {}).items())
            rows.append(
                {
                    "fold": fold,
                    "split": split,
                    "queries": facts["n_queries"],
                    "documents": facts["n_documents"],
                    "no relevant": labels["blank"],
                    "list length": "{min:.0f}-{max:.0f}, median {median:.0f}".format(**facts["lengths"]),
                    "labels": grades or "numbers",
                }
            )
    features = store.manifest["features"]
    show.table(rows, title=f"{store.folder}", right=("queries", "documents", "no relevant"))
    left_out = f"; left out: {', '.join(features['left_out'])}" if features["left_out"] else ""
    print(f"{features['count']} features; objectives: {', '.join(store.objectives)}{left_out}")
    infinite = features.get("infinite", {})
    missing = {name: n - infinite.get(name, 0) for name, n in features["non_finite"].items()}
    _show_columns("constant", dict.fromkeys(features["constant"], 0))
    _show_columns("with missing values", {name: n for name, n in missing.items() if n})
    _show_columns("with infinite values", infinite)
    if roles and (table := store.manifest.get("roles")):
        print("columns of the table:")
        print("\n".join(f"  {line}" for line in role_lines(table, most=1000)))


def _show_columns(what: str, counts: dict[str, int], most: int = 8) -> None:
    """A line that says which columns are odd, and how often."""
    if counts:
        shown = [f"{name} ({n:,})" if n else name for name, n in list(counts.items())[:most]]
        more = f", and {len(counts) - most:,} more" if len(counts) > most else ""
        print(f"{len(counts):,} {what}: {', '.join(shown)}{more}")


def fetch(options: Fetch) -> int:
    from ltr.datasets.cards.card import card_home, load_card
    from ltr.datasets.cards.fetch import fetch

    card, root = load_card(options.name), card_home(options.name).parent
    raw = fetch(card, root, options.source, progress=not options.quiet, accept=options.accept_licence)
    if not options.quiet:
        show.remark(f"{card.name}: raw files in {raw}. Next: ltr data convert {options.name}")
    return 0


def convert(options: Convert) -> int:
    from ltr.datasets.cards.card import card_file, card_home, cards, load_card
    from ltr.datasets.store.convert import convert_folder

    name, target = options.source, options.to
    said = ("query", "document", "labels", "features", "weights", "positions", "clicks", "categories")
    columns = {role: value for role in said if (value := getattr(options, role))}
    card, path = None, Path(name)
    if card_file(name) is not None:
        card = load_card(name)
        path = card_home(name) / "raw"
        if not path.is_dir():
            raise InputError(f"the raw files of {name} are not there", file=path, do=f"Run: ltr data fetch {name}")
        target = target or path.parent / "store"
    elif not path.exists():
        hit = near_miss(name, cards())
        raise InputError(
            "no such dataset, folder or file", came=name, do=f"Did you mean {hit!r}?" if hit else "See: ltr data list"
        )
    if target is None:
        raise InputError("where shall the store lie?", expected="--to FOLDER")
    with _bytes_progress(options.quiet) as progress:
        store = convert_folder(
            path,
            target,
            name=options.name,
            card=card,
            objectives=options.objectives or None,
            drop=[int(f) if f.isdecimal() and f.isascii() and len(f) < 10 else f for f in options.drop],
            columns=columns or None,
            index_base=options.index_base,
            n_features=options.n_features,
            say=(lambda text: None) if options.quiet else say_once,
            non_finite=options.non_finite,
            threads=options.threads,
            overwrite=options.overwrite,
            progress=progress,
        )
    if not options.quiet:
        _show_store(store)
    return 0


@contextmanager
def _bytes_progress(quiet: bool):
    """progress(what, bytes done, bytes in all) on the terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=show.console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading")
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def verify(options: Verify) -> int:
    from ltr.datasets.cards.card import card_home, load_card
    from ltr.datasets.cards.fetch import verify
    from ltr.datasets.store.store import Store

    name, found = options.name, _store_folder(options.name)
    rows: list[dict] = []
    if found is None or found != Path(name):
        card, home = load_card(name), card_home(name)
        if card.format == "generated":
            show.remark(f"{name} is generated: nothing to verify")
            return 0
        if (home / "raw").is_dir() or found is None:
            checks = verify(card, home.parent)
            rows += [{"file": c.path, "status": c.status, "sha256": c.sha256, "expected": c.expected} for c in checks]
    if found is not None:
        store, raw = Store.open(found), found.parent / "raw"
        beside = raw if raw.is_dir() else None
        wrong = store.verify(check=options.check, raw=beside)
        rows += [{"file": what, "status": "BAD", "sha256": "", "expected": ""} for what in wrong]
        rows += [] if wrong else [{"file": str(found), "status": "OK", "sha256": "", "expected": "as its manifest"}]
        for what in store.unchecked(check=options.check, raw=beside):
            show.remark(f"Not checked: {what}")
    if not show.for_programs(rows, options):
        show.table(rows)
    return 1 if any(row["status"] in ("BAD", "missing") for row in rows) else 0


COMMANDS = [
    Command(("data", "list"), List, names, "[--json|--csv]"),
    Command(("data", "info"), Info, info, "NAME|STORE [--json]"),
    Command(("data", "fetch"), Fetch, fetch, "NAME [--from PATH] [--accept-licence]"),
    Command(("data", "convert"), Convert, convert, "NAME|PATH [--to STORE]", _CONVERT),
    Command(("data", "verify"), Verify, verify, "NAME|STORE [--no-check]"),
]
