"""`ltr data`: what datasets there are, how to get them, what is in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from . import show
from .options import new_parser

__all__ = ["register"]

_CONVERT = """\
examples:
  ltr data convert mq2008                               fetched files of a card, into the data folder
  ltr data convert my/letor --to my/store               Fold*/train|vali|test or single svmlight files
  ltr data convert clicks.parquet --to my/store --query session --labels clicked --document url
A store converted once is opened by memory map afterwards: `--data my/store` in every other command."""


def register(commands, registered) -> None:
    data = new_parser(
        "Datasets: cards, download, conversion, checks.", usage="ltr data COMMAND ...",
        epilog="Data lies in $LTR_DATA, else in data/ of a checkout, else in the user's data folder.",
    )  # fmt: skip
    # jsonargparse wants the outer level first.
    commands.add_subcommand("data", data, help="datasets: list, info, fetch, convert, verify")
    below = data.add_subcommands(required=False, dest="command", metavar="COMMAND", title="commands")

    names = new_parser("Datasets that have a card.", usage="ltr data list [--json|--csv]")
    names.add_argument("--json", action="store_true", help="as JSON on stdout")
    names.add_argument("--csv", action="store_true", help="as CSV on stdout")
    below.add_subcommand("list", names, help="datasets that have a card")
    registered[("data", "list")] = (names, _list)

    info = new_parser(
        "What is known about a dataset: its card, and its store where there is one.",
        usage="ltr data info NAME|STORE [--json]",
    )
    info.add_argument("name", type=str, help="dataset, or folder of a store", metavar="NAME|STORE")
    info.add_argument("--json", action="store_true", help="as JSON on stdout")
    below.add_subcommand("info", info, help="what is known about a dataset")
    registered[("data", "info")] = (info, _info)

    fetch = new_parser(
        "Gets the raw files of a dataset, or takes them from what you downloaded by hand.",
        usage="ltr data fetch NAME [--from PATH] [--accept-licence]",
    )
    fetch.add_argument("name", type=str, help="dataset with a card", metavar="NAME")
    fetch.add_argument("--from", type=Path, help="archive or folder that holds the files", metavar="PATH")
    fetch.add_argument("--accept-licence", action="store_true", help="you have read the owner's licence and accept it")
    fetch.add_argument("--quiet", "-q", action="store_true", help="no progress")
    below.add_subcommand("fetch", fetch, help="get the raw files")
    registered[("data", "fetch")] = (fetch, _fetch)

    convert = new_parser(
        "Converts raw files into a store, once.", usage="ltr data convert NAME|PATH [--to STORE]", epilog=_CONVERT
    )
    convert.add_argument(
        "source", type=str, help="dataset with a card, or a folder or file of query lists", metavar="NAME|PATH"
    )
    convert.add_argument(
        "--to", type=Path, help="the store (default for a dataset: its place in the data folder)", metavar="STORE"
    )
    convert.add_argument("--name", type=str, help="name of the dataset, when the source has no card", metavar="NAME")
    convert.add_argument(
        "--objectives", type=str, nargs="+", help="label columns, by name; the first is the main one", metavar="NAME"
    )
    convert.add_argument(
        "--drop", type=str, nargs="+", help="features that leave the inputs, by name or index", metavar="FEATURE"
    )
    convert.add_argument("--query", type=str, help="query column of a table", metavar="COLUMN")
    convert.add_argument("--document", type=str, help="document column of a table", metavar="COLUMN")
    convert.add_argument("--labels", type=str, nargs="+", help="label columns of a table", metavar="COLUMN")
    convert.add_argument("--features", type=str, nargs="+", help="feature columns of a table", metavar="COLUMN")
    convert.add_argument(
        "--index-base", type=Literal[0, 1], help="index of the first feature in svmlight text", metavar="{0,1}"
    )
    convert.add_argument(
        "--non-finite",
        type=Literal["keep", "refuse"],
        default="keep",
        help="nan and inf among the features",
        metavar="{keep,refuse}",
    )
    convert.add_argument("--overwrite", action="store_true", help="replace the store that lies there")
    convert.add_argument("--quiet", "-q", action="store_true", help="no progress")
    below.add_subcommand("convert", convert, help="convert raw files into a store")
    registered[("data", "convert")] = (convert, _convert)

    verify = new_parser(
        "Hashes raw files against the card, and the store against its manifest. Exit code 1 when something differs.",
        usage="ltr data verify NAME|STORE",
    )
    verify.add_argument("name", type=str, help="dataset, or folder of a store", metavar="NAME|STORE")
    verify.add_argument("--json", action="store_true", help="as JSON on stdout")
    below.add_subcommand("verify", verify, help="check files against their hashes")
    registered[("data", "verify")] = (verify, _verify)


def _list(args: dict[str, Any]) -> int:
    from ..datasets.card import cards, load_card

    rows = []
    for name in cards():
        card, counts = load_card(name), load_card(name).counts
        rows.append({
            "name": name, "title": card.title, "queries": counts and counts.queries, "documents": counts and counts.documents,
            "features": card.n_features, "folds": len(card.folds) or None, "here": _here(card),
        })  # fmt: skip
    if args.get("json") or args.get("csv"):
        show.machine(rows, "json" if args.get("json") else "csv")
    else:
        show.table(rows, right=("queries", "documents", "features", "folds"))
    return 0


def _here(card) -> str:
    """What of the dataset is on this machine."""
    from ..datasets.fetch import raw_folder

    if card.format == "generated":
        return "made on demand"
    raw = raw_folder(card)
    if (raw.parent / "store" / "manifest.json").is_file():
        return "store"
    return "raw files" if raw.is_dir() else "no"


def _store_folder(name: str) -> Path | None:
    """The store a name or path stands for, where there is one."""
    from .. import places

    for folder in (Path(name), places.data_root() / name / "store"):
        if (folder / "manifest.json").is_file():
            return folder
    return None


def _info(args: dict[str, Any]) -> int:
    from ..datasets.card import cards, load_card
    from ..datasets.card_page import page
    from ..datasets.store import Store
    from ..strict import to_dict

    name, found = args["name"], _store_folder(args["name"])
    card = None if found is not None and found == Path(name) else load_card(name)
    store = None if found is None else Store.open(found)
    if args.get("json"):
        show.machine({"card": card and to_dict(card), "store": store and store.manifest}, "json")
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
        _show_store(store)
    elif card is None and name not in cards():
        raise InputError("no such dataset or store", came=name)
    return 0


def _show_store(store) -> None:
    """The manifest as a table: a row a split."""
    rows = []
    for fold, splits in store.manifest["folds"].items():
        for split, facts in splits.items():
            labels = facts["labels"][store.objectives[0]]
            grades = " ".join(f"{grade}:{count:,}" for grade, count in labels.get("counts", {}).items())
            rows.append({
                "fold": fold, "split": split, "queries": facts["n_queries"], "documents": facts["n_documents"], "blank": labels["blank"],
                "list length": "{min:.0f} to {max:.0f}, median {median:.0f}".format(**facts["lengths"]), "labels": grades or "numbers",
            })  # fmt: skip
    features = store.manifest["features"]
    show.table(rows, title=f"{store.folder}", right=("queries", "documents", "blank"))
    print(f"{features['count']} features, {len(features['constant'])} of them constant, {len(features['non_finite'])} with nan or inf; "
          f"objectives: {', '.join(store.objectives)}" + (f"; left out: {', '.join(features['left_out'])}" if features["left_out"] else ""))  # fmt: skip


def _fetch(args: dict[str, Any]) -> int:
    from ..datasets.card import load_card
    from ..datasets.fetch import fetch

    quiet = args.get("quiet", False)
    card = load_card(args["name"])
    raw = fetch(card, source=args.get("from"), progress=not quiet, accept=args.get("accept_licence", False))
    if not quiet:
        show.remark(f"{card.name}: raw files in {raw}. Next: ltr data convert {card.name}")
    return 0


def _convert(args: dict[str, Any]) -> int:
    from ..datasets.card import cards, load_card
    from ..datasets.fetch import raw_folder
    from ..datasets.store import convert_folder

    name, target = args["source"], args.get("to")
    options = {key: args[key] for key in ("objectives", "index_base", "non_finite", "overwrite") if key in args}
    options["drop"] = [int(f) if f.isdigit() else f for f in args.get("drop", [])]
    columns = {key: args[key] for key in ("query", "document", "labels", "features") if key in args}
    card, path = None, Path(name)
    if name in cards():
        card = load_card(name)
        path = raw_folder(card)
        if not path.is_dir():
            raise InputError(f"the raw files of {name} are not there", file=path, do=f"Run: ltr data fetch {name}")
        target = target or path.parent / "store"
    elif not path.exists():
        from ..errors import near_miss

        hit = near_miss(name, cards())
        raise InputError(
            "no such dataset, folder or file", came=name, do=f"Did you mean {hit!r}?" if hit else "See: ltr data list"
        )
    if target is None:
        raise InputError("where shall the store lie?", expected="--to FOLDER")
    if "name" in args:
        options["name"] = args["name"]
    with _bytes_progress(args.get("quiet", False)) as progress:
        store = convert_folder(path, target, card=card, columns=columns or None, progress=progress, **options)
    if not args.get("quiet"):
        _show_store(store)
    return 0


def _bytes_progress(quiet: bool):
    """progress(what, bytes done, bytes in all) on the terminal."""
    from contextlib import contextmanager

    @contextmanager
    def shown():
        if quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=show.console(stderr=True), transient=True) as bar:
            task = bar.add_task("reading")
            yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)

    return shown()


def _verify(args: dict[str, Any]) -> int:
    from ..datasets.card import load_card
    from ..datasets.fetch import raw_folder, verify
    from ..datasets.store import Store

    name, found = args["name"], _store_folder(args["name"])
    rows = []
    if found is None or found != Path(name):
        card = load_card(name)
        if card.format == "generated":
            show.remark(f"{name} is generated: nothing to verify")
            return 0
        if raw_folder(card).is_dir() or found is None:
            rows += [
                {"file": c.path, "status": c.status, "sha256": c.sha256, "expected": c.expected} for c in verify(card)
            ]
    if found is not None:
        wrong = Store.open(found).verify()
        rows += [{"file": what, "status": "BAD", "sha256": "", "expected": ""} for what in wrong]
        rows += [] if wrong else [{"file": str(found), "status": "OK", "sha256": "", "expected": "as its manifest"}]
    if args.get("json"):
        show.machine(rows, "json")
    else:
        show.table(rows)
    return 1 if any(row["status"] in ("BAD", "missing") for row in rows) else 0
