"""Opening data by name, path or value: cards, stores, raw files (converted once), tables in memory, synthetic tasks.

Raw files and tables in memory become a store in `paths.data_root()/stores`, named by what they are and by what was
asked of them; the next call opens it. The first reading says, on stderr, what it took each column for.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ltr import paths
from ltr.errors import InputError, say_once, unknown_name

from . import synthetic
from .cards.card import card_file, card_home, cards, load_card
from .readers.companions import beside
from .readers.frames import is_frame, write_frame
from .store.convert import convert, convert_folder
from .store.store import SCHEMA, Store

if TYPE_CHECKING:
    from ltr.types import Split, Task

    from .cards.card import Card
    from .store.store import Store

__all__ = ["Reading", "is_raw", "known_card", "load", "open_store"]


_SINGLE = ("query", "document", "split", "weights", "positions", "clicks")


@dataclass(frozen=True)
class Reading:
    """How raw files are read; of a store that is there already, and of a card, nothing is left to say.

    Attributes:
        query, document, split: columns of a table.
        weights, positions: likewise: what a document counts in the losses, and the rank it was shown at.
        clicks: likewise: a label column, and the main one.
        labels: label columns of a table, the first is the main one; names or patterns.
        features: feature columns of a table; names or patterns.
        drop: columns or features that leave the inputs, by name, pattern or index.
        categories: feature columns of a table that are categories, of text or numbers; names or patterns.
        n_features, index_base: of svmlight text.
    """

    query: str | None = None
    document: str | None = None
    split: str | None = None
    labels: Sequence[str] | None = None
    features: Sequence[str] | None = None
    drop: Sequence[int | str] = ()
    n_features: int | None = None
    index_base: Literal[0, 1] | None = None
    weights: str | None = None
    positions: str | None = None
    clicks: str | None = None
    categories: Sequence[str] | None = None

    def columns(self) -> dict[str, Any]:
        """What is said of a table's columns."""
        found: dict[str, Any] = {}
        for key in (*_SINGLE, "labels", "features", "categories"):
            value = getattr(self, key)
            if value is None:
                continue
            if key in _SINGLE:
                found[key] = _column(value)
                continue
            found[key] = [_column(name) for name in ([value] if isinstance(value, str | int) else value)]
            if not found[key]:
                raise InputError(f"{key} names no column", expected="one or more names", came=value)
        return found

    def said(self) -> dict[str, Any]:
        """Everything that is said."""
        rest = {key: value for key in ("n_features", "index_base") if (value := getattr(self, key)) is not None}
        drop = [self.drop] if isinstance(self.drop, int | str) else list(self.drop)
        return {**self.columns(), **({"drop": drop} if drop else {}), **rest}

    def options(self) -> dict[str, Any]:
        """As options of `store.convert`."""
        said = self.said()
        return {
            "columns": self.columns(),
            **{key: said[key] for key in ("drop", "n_features", "index_base") if key in said},
        }

    def none_for(self, what: str, do: str) -> None:
        """Refuses options where nothing is read that they could change."""
        if said := self.said():
            raise InputError(f"{', '.join(said)}: {what}", do=do)


def load(
    source: Any,
    fold: str | None = None,
    objectives: str | Sequence[str] | Mapping[str, Any] | None = None,
    *,
    exact: bool = False,
    **reading: Any,
) -> Task:
    """A dataset's fold, ready to train on.

    Args:
        source: "synthetic" (options after a colon, see `synthetic.from_name`); the name of a card, whose store or raw
            files lie under `paths.data_root()`, or the path of one; the folder of a store; a folder of raw files, or
            one file (svmlight text, CSV, Parquet, Arrow); a table in memory (pandas, Arrow, polars); or a mapping from
            train, vali and test to files or tables. What is no store is converted once into `data_root()/stores`.
        fold: the first by default.
        objectives: which label columns, the first is the main one. A name or several; or for raw files also the mapping
            that `store.convert` takes. Features that become objectives leave the inputs.
        exact: of a dataset with a card: from its inputs must be gone exactly what the card says leaves with these
            objectives. By default a store that was converted for more objectives will do.
        **reading: how raw files are read: `query`, `document`, `split`, `labels`, `features`, `drop`, `weights`,
            `positions`, `clicks`, `categories`, `n_features`, `index_base`, see `Reading`.

    Raises:
        InputError: nothing of that name, or nothing fetched yet (and what to run).

    >>> load("synthetic:queries=40,features=50", objectives=["relevance"]).train
    Split(train: 24 queries, ... documents, 50 features, objectives relevance)
    """
    objectives = [objectives] if isinstance(objectives, str) else objectives
    text = str(source) if isinstance(source, str | Path) else ""
    if text == "synthetic" or text.startswith("synthetic:"):
        _reading(reading).none_for("a synthetic task has no files", "Leave them out")
        return _chosen(synthetic.from_name(text), fold, objectives)
    store = open_store(source, objectives, exact=exact, **reading)
    return store.task(fold, None if objectives is None else list(objectives))


def open_store(
    source: Any, objectives: Sequence[str] | Mapping[str, Any] | None = None, *, exact: bool = False, **reading: Any
) -> Store:
    """The store behind a name, a path or tables, converting them on the first call. Arguments as `load`.

    >>> open_store("mslr-web30")
    Traceback (most recent call last):
    ...
    ltr.errors.InputError: unknown dataset 'mslr-web30'. Did you mean ...
    """
    how = _reading(reading)
    if isinstance(source, Mapping):
        return _of_splits(source, objectives, how)
    if is_frame(source):
        return _of_splits({"all": source}, objectives, how)
    if not isinstance(source, str | Path):
        raise InputError(
            "what is this data?", expected="a name, a path, a table or splits of them", came=type(source).__name__
        )
    if source == "":
        raise InputError("an empty name of data", expected="a name, a path, a table or splits of them")
    path = Path(source)
    if (path / "manifest.json").is_file():
        how.none_for(
            f"{path} is a store, its columns are decided", "Convert the raw files again with them: ltr data convert"
        )
        store = Store.open(path)
        _check_known(store, objectives)
        return store

    if card_file(source) is not None:
        card = load_card(source)
        how.none_for(f"the card of {card.name} says what its columns are", f"See: ltr data convert {card.name} --help")
        return _of_card(card, card_home(source), objectives, exact)
    if not path.exists():
        if isinstance(source, str) and len(path.parts) == 1 and path.suffix == "":
            raise unknown_name("dataset", source, cards())
        raise InputError("no such file or folder", file=path, do="Give a dataset's name, a store, or raw files")
    return _cached(path, None, objectives, how)


def is_raw(source: str | Path) -> bool:
    """Whether these are files to be read: no store, no card, no synthetic task."""
    path = Path(source)
    return path.exists() and not (path / "manifest.json").is_file() and card_file(source) is None


def known_card(dataset: str | Path) -> Card | None:
    """The card of a dataset by name or path, or of the dataset a store was made from; None where there is none."""
    if str(dataset).partition(":")[0] == "synthetic":
        return load_card("synthetic")
    folder = Path(dataset)
    if not (folder / "manifest.json").is_file():
        return load_card(dataset) if card_file(dataset) is not None else None
    name = (Store.open(folder).manifest.get("card") or {}).get("name", "")
    beside = folder.parent / "card.toml"  # of a card that is known by its path only
    found = name if card_file(name) is not None else beside
    return load_card(found) if name and card_file(found) is not None else None


def _column(name: Any) -> str:
    """A column's name; those of a data frame may be whole numbers."""
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise InputError("the name of a column", expected="text", came=name)
    return str(name)


def _reading(options: Mapping[str, Any]) -> Reading:
    for key in options:
        if key not in Reading.__dataclass_fields__:
            raise unknown_name("argument", key, [*Reading.__dataclass_fields__, "fold", "objectives", "exact"])
    return Reading(**options)


# --- cards ------------------------------------------------------------------------------------------------------


def _of_card(card: Card, home: Path, objectives, exact: bool) -> Store:
    named = objectives is not None and not isinstance(objectives, Mapping)
    if (home / "store" / "manifest.json").is_file():
        store = Store.open(home / "store")
        fits = objectives is None or (named and set(objectives) <= set(store.objectives))
        if fits and (not exact or objectives is None or _left_out(store) == _leaving(card, objectives)):
            if changed := store.touched(home / "raw"):
                raise InputError(
                    "was changed after the store was made of it",
                    file=changed[0],
                    do=f"Run: ltr data convert {card.name} --overwrite",
                )
            return store
    if (home / "raw").is_dir():
        # One store for all objectives that take the same columns away, in whatever order they are asked for.
        return _cached(home / "raw", card, _companions(card, objectives) if named and exact else objectives, Reading())
    if named and (home / "store").is_dir():
        raise InputError(
            f"the store of {card.name!r} was not made for these objectives, and its raw files are not here",
            file=home / "store",
            expected=f"{', '.join(objectives)}, with columns {sorted(_leaving(card, objectives)) or 'none'} left out",
            came=f"{', '.join(store.objectives)}, with columns {sorted(_left_out(store)) or 'none'} left out",
            do=f"Run: ltr data fetch {card.name}",
        )
    raise InputError(
        f"the dataset {card.name!r} is not on this machine",
        file=home,
        do=f"Run: ltr data fetch {card.name} && ltr data convert {card.name}",
    )


def _left_out(store: Store) -> set[str]:
    return set(store.manifest["features"]["left_out"])


def _leaving(card: Card, objectives: Sequence[str]) -> set[str]:
    """Names of the features that leave the inputs with these objectives of the card."""
    columns = {*card.leaving(objectives), *(card.objective(name).column for name in objectives)}
    names = card.feature_names or tuple(f"f{k + card.index_base}" for k in range(card.n_features))
    places = {c - card.index_base for c in columns if isinstance(c, int) and c != 0}
    return {names[k] for k in places} | {c for c in columns if c in names}


def _companions(card: Card, objectives: Sequence[str]) -> list[str]:
    """These objectives and all others of the card that take no further column away, in the card's order."""
    gone = _leaving(card, objectives)
    return [o.name for o in card.objectives if _leaving(card, [o.name]) <= gone]


def _check_known(store: Store, objectives) -> None:
    for name in objectives or ():
        if name not in store.objectives:
            raise unknown_name("objective of the store", name, store.objectives, file=store.folder)


# --- raw files and tables -----------------------------------------------------------------------------------------


def _cached(path: Path, card: Card | None, objectives, how: Reading) -> Store:
    """The store of a file or folder, made when it is not there for these very files and this reading of them."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    if path.is_file():  # list sizes lie beside a file that is given by itself
        files += beside(path)
    facts = [[str(p.relative_to(path.parent)), *_stamp(p), *_since(p)] for p in files]
    target = _place(str(path.resolve()), card, objectives, how, facts)
    return _opened(
        target,
        lambda again: convert_folder(path, target, card=card, objectives=objectives, overwrite=again, **how.options()),
        path if path.is_dir() else path.parent,
    )


def _of_splits(sources: Mapping[str, Any], objectives, how: Reading) -> Store:
    """The store of files or tables in memory, a split each; or of one table that is "all"."""
    known = ("train", "vali", "test", "all")
    if wrong := next((split for split in sources if split not in known), None):
        raise unknown_name("split", str(wrong), known)
    with tempfile.TemporaryDirectory(prefix="ltr-") as folder:
        files: dict[str, Path] = {}
        names: dict[Path, str] = {}
        for split, value in sources.items():
            if is_frame(value):
                files[split] = Path(folder) / f"{split}.arrow"
                names[files[split]] = "the table" if split == "all" else f"the table of {split}"
                write_frame(value, files[split], names[files[split]])
            elif isinstance(value, str | Path):
                files[split] = Path(value)
                if not files[split].is_file():
                    raise InputError(f"no such file for {split}", file=value)
            else:
                expected = "a table (pandas, Arrow, polars) or a file"
                raise InputError(f"what is the data of {split}?", expected=expected, came=type(value).__name__)
        facts = [
            [split, *([_digest(p)] if p in names else [str(p.resolve()), *_stamp(p), p.stat().st_ctime_ns])]
            for split, p in files.items()
        ]
        others = [p for split, own in files.items() if own not in names for p in beside(own)]
        facts += [[str(p.resolve()), *_stamp(p), *_since(p)] for p in others]
        target = _place("tables", None, objectives, how, facts)

        def tell(sentence: str) -> None:
            for file, name in names.items():
                sentence = sentence.replace(file.name, name)
            say_once(sentence)

        fold = {"" if set(files) == {"all"} else "Fold1": files}
        try:
            return _opened(
                target,
                lambda again: convert(
                    fold, target, name="tables", objectives=objectives, say=tell, overwrite=again, **how.options()
                ),
            )
        except InputError as error:
            if error.file is None or Path(error.file) not in names:
                raise
            what = f"{names[Path(error.file)]}: {error.what}"  # its file is gone before anybody reads this
            for file, name in names.items():
                what = what.replace(file.name, name)
            raise InputError(what, expected=error.expected, came=error.came, do=error.do) from None


def _opened(target: Path, make: Callable[[bool], Store], raw: Path | None = None) -> Store:
    """The store at `target`, made (`make(overwrite)`) where there is none, or none of these very files."""
    if not (target / "manifest.json").is_file():
        try:
            return make(False)
        except InputError:
            if not (target / "manifest.json").is_file():  # else another process was faster
                raise
    try:
        store = Store.open(target)
        if raw is None or not store.touched(raw):
            return store
    except InputError as error:
        say_once(f"{error.file}: {error.what}; it is made again")
    return make(True)


def _stamp(path: Path) -> list[int]:
    """Size and time; the store itself notices a file that was edited and got its old time back."""
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _since(path: Path) -> list[str]:
    """Of files that older versions passed over: a store they made is not opened in place of one with them."""
    return ["read"] if path.suffix in (".weight", ".position") else []


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(what: str, card: Card | None, objectives, how: Reading, facts: list) -> Path:
    """The folder of a store in `data_root()/stores`, named by all that decides what is in it."""
    spec = list(objectives.items()) if isinstance(objectives, Mapping) else objectives and list(objectives)
    # What a conversion reads of the card, so that an edited one does not find the store of yesterday.
    shape = ("name", "index_base", "n_features", "folds", "table", "feature_names")
    columns = [(o.name, o.column, o.leaves, o.transform != "identity") for o in card.objectives] if card else None
    of_card = card and [*(getattr(card, key) for key in shape), columns]
    key = json.dumps([SCHEMA, what, of_card, spec, how.said(), facts], default=str)
    return paths.data_root() / "stores" / hashlib.sha256(key.encode()).hexdigest()[:16]


# --- synthetic tasks ----------------------------------------------------------------------------------------------


def _chosen(task: Task, fold: str | None, objectives) -> Task:
    """The task with these objectives only."""
    if fold is not None and fold != task.fold:
        raise unknown_name("fold", fold, [task.fold])
    if objectives is None or tuple(objectives) == task.objectives:
        return task
    for name in objectives:
        if name not in task.objectives:
            raise unknown_name("objective", name, task.objectives)
    columns = [task.objectives.index(name) for name in objectives]

    def cut(split: Split) -> Split:
        assert split.labels is not None
        return split.having(labels=split.labels[:, columns], objectives=tuple(objectives))

    return replace(task, train=cut(task.train), vali=cut(task.vali), test=cut(task.test))
