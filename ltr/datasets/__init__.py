"""Datasets: readers, the store, cards, synthetic tasks, batches. `load` is the door."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ltr import paths
from ltr.errors import InputError, say_once, unknown_name
from ltr.lazy import lazily

if TYPE_CHECKING:
    from ltr.types import Task

    from .store.store import Store

__all__ = ["Store", "load", "open_store", "read_svmlight", "read_table"]

_HOME = {
    "store.store": ["Store"],
    "readers.svmlight": ["read_svmlight"],
    "readers.tables": ["read_table"],
}


__getattr__ = lazily(__name__, _HOME)


def load(
    name_or_path,
    fold: str | None = None,
    objectives: Sequence[str] | Mapping[str, Any] | None = None,
    *,
    exact: bool = False,
) -> Task:
    """A dataset's fold, ready to train on.

    Args:
        name_or_path: "synthetic" (options after a colon, see `synthetic.from_name`); the name of a card, whose store or
            raw files lie under `paths.data_root()`; the folder of a store; a folder of raw files, or one file, which
            is converted once into `data_root()/stores`.
        fold: the first by default.
        objectives: which label columns, the first is the main one. Names, or for raw files also the mapping that
            `store.convert` takes; features that become objectives leave the inputs.
        exact: of a dataset with a card: from its inputs must be gone exactly what the card says leaves with these
            objectives. By default a store that was converted for more objectives will do.

    Raises:
        InputError: nothing of that name, or nothing fetched yet (and what to run).
    """
    text = str(name_or_path)
    if text == "synthetic" or text.startswith("synthetic:"):
        from . import synthetic

        return _chosen(synthetic.from_name(text), fold, objectives)
    store = open_store(name_or_path, objectives, exact=exact)
    return store.task(fold, None if objectives is None else list(objectives))


def open_store(
    name_or_path, objectives: Sequence[str] | Mapping[str, Any] | None = None, *, exact: bool = False
) -> Store:
    """The store behind a name or path, converting raw files on the first call. Arguments as `load`."""
    from .store.store import Store

    path = Path(name_or_path)
    looks_like_path = isinstance(name_or_path, Path) or len(path.parts) > 1 or path.suffix != ""
    if not looks_like_path:
        from .cards import card as cards

        if str(name_or_path) in cards.cards():
            return _of_card(cards.load_card(str(name_or_path)), objectives, exact)
        if not path.exists():
            raise unknown_name("dataset", str(name_or_path), cards.cards())
    if (path / "manifest.json").is_file():
        store = Store.open(path)
        _known(store, objectives)
        return store
    if not path.exists():
        raise InputError("no such file or folder", file=path, do="Give a dataset's name, a store, or raw files")
    return _cached(path, None, objectives)


def _of_card(card, objectives, exact: bool) -> Store:
    from .store.store import Store

    home = paths.data_root() / card.name
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
        return _cached(home / "raw", card, _companions(card, objectives) if named and exact else objectives)
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


def _leaving(card, objectives: Sequence[str]) -> set[str]:
    """Names of the features that leave the inputs with these objectives of the card."""
    columns = {*card.leaving(objectives), *(card.objective(name).column for name in objectives)}
    names = card.feature_names or tuple(f"f{k + card.index_base}" for k in range(card.n_features))
    return {names[c - card.index_base] for c in columns if isinstance(c, int) and c != 0} | (columns & set(names))


def _companions(card, objectives: Sequence[str]) -> list[str]:
    """These objectives and all others of the card that take no further column away, in the card's order."""
    gone = _leaving(card, objectives)
    return [o.name for o in card.objectives if _leaving(card, [o.name]) <= gone]


def _known(store: Store, objectives) -> None:
    for name in objectives or ():
        if name not in store.objectives:
            raise unknown_name("objective of the store", name, store.objectives, file=store.folder)


def _cached(path: Path, card, objectives) -> Store:
    """The store of raw files in `data_root()/stores`, made when it is not there for these very files and objectives."""
    from .store.convert import convert_folder
    from .store.store import SCHEMA, Store

    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    # List sizes lie beside a file that is given by itself.
    files += [
        p for ending in (".query", ".group") if path.is_file() and (p := path.with_name(path.name + ending)).is_file()
    ]
    facts = [[str(p.relative_to(path.parent)), p.stat().st_size, p.stat().st_mtime_ns] for p in files]
    spec = list(objectives.items()) if isinstance(objectives, Mapping) else objectives and list(objectives)
    # What a conversion reads of the card, so that an edited one does not find the store of yesterday.
    columns = [(o.name, o.column, o.leaves, o.transform != "identity") for o in card.objectives] if card else None
    shape = ("name", "index_base", "n_features", "folds", "table", "feature_names")
    of_card = card and [*(getattr(card, key) for key in shape), columns]
    key = json.dumps([SCHEMA, str(path.resolve()), of_card, spec, facts], default=str)
    target = paths.data_root() / "stores" / hashlib.sha256(key.encode()).hexdigest()[:16]
    if not (target / "manifest.json").is_file():
        try:
            convert_folder(path, target, card=card, objectives=objectives)
        except InputError:
            if not (target / "manifest.json").is_file():  # else another process was faster
                raise
    try:
        store = Store.open(target)
        if not store.touched(path if path.is_dir() else path.parent):
            return store
    except InputError as error:
        say_once(f"{error.file}: {error.what}; it is made again")
    # Other raw files of the same size and time, or a damaged manifest.
    return convert_folder(path, target, card=card, objectives=objectives, overwrite=True)


def _chosen(task: Task, fold: str | None, objectives) -> Task:
    """The task with these objectives only."""
    from dataclasses import replace

    if fold is not None and fold != task.fold:
        raise unknown_name("fold", fold, [task.fold])
    if objectives is None or tuple(objectives) == task.objectives:
        return task
    for name in objectives:
        if name not in task.objectives:
            raise unknown_name("objective", name, task.objectives)
    columns = [task.objectives.index(name) for name in objectives]

    def cut(split):
        return split.having(labels=split.labels[:, columns], objectives=tuple(objectives))

    return replace(task, train=cut(task.train), vali=cut(task.vali), test=cut(task.test))
