"""Raw files to a store: read once, written beside the target, renamed at the end."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ltr.atomic import sha256, whole_folder
from ltr.datasets.readers import companions, svmlight
from ltr.datasets.readers import folder as folders
from ltr.datasets.readers import tables as table
from ltr.datasets.readers.column_roles import role_lines
from ltr.datasets.readers.query_grouping import EXACT, Gathered, ranks_from_one
from ltr.datasets.readers.thread_pool import Stopped, ThreadPool
from ltr.errors import InputError, say_once

from . import checks, manifest, shard
from . import label_columns as labels
from .label_columns import Matrix, Objective
from .splitting import SPLITS, Shard, divide
from .store import Store

if TYPE_CHECKING:
    from ltr.datasets.cards.card import Card

__all__ = ["convert", "convert_folder"]

Progress = Callable[[str, int, int], None]
_SHOWN = 8  # features that are odd


def convert_folder(path, target, *, name: str | None = None, card: Card | None = None, files=None, **options) -> Store:
    """Converts a folder of raw files, or one file, found by the card's folds or else by `folder.find`.

    Args:
        name: of the dataset; the card's, else the folder's.
        files: split -> file, where names do not speak for themselves (see `folder.find`).
        **options: as `convert`.
    """
    path = Path(path)
    sources = card.sources(path) if card is not None and card.folds else folders.find(path, files)
    if name is None:
        own = path.resolve().name
        name = card.name if card is not None else own.split(".")[0] if path.is_file() else own
    return convert(sources, target, name=name, card=card, root=path if path.is_dir() else path.parent, **options)


def convert(
    sources: Mapping[str, Mapping[str, Path]],
    folder,
    *,
    name: str,
    objectives: Sequence[str | Objective] | Mapping[str, Any] | None = None,
    drop: Sequence[int | str] = (),
    card: Card | None = None,
    root: Path | None = None,
    n_features: int | None = None,
    index_base: Literal[0, 1] | None = None,
    columns: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = say_once,
    non_finite: Literal["keep", "refuse"] = "keep",
    threads: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
) -> Store:
    """Converts raw files into a store.

    A fold without vali gives it 20 % of the queries of its train file; a fold with nothing but the split "all" (one
    table or text file) becomes five folds by query: S1..S5, fold i tests on S_i, selects on the next and trains on the
    rest, as LETOR does; or, where a table has a split column, one fold as it says. Both divisions are seeded by the
    content of the file and stated in the manifest.

    Args:
        sources: fold -> split (train, vali, test, or only all) -> file: svmlight text, with qid or with a sizes file
            beside it, gzipped or not; Parquet; CSV.
        folder: the store to write; its parent is made.
        name: of the dataset.
        objectives: label columns, the first is the main one. Names: of the card's objectives, of a table's label
            columns, of features ("f41"), or a name for the label of svmlight text. Or a mapping, name ->
            `{"column": ...}` as `Objective` says. Default: the card's main one; "relevance"; a table's label columns.
        drop: further features that leave the inputs, by index as the file counts or by name.
        card: gives index base, number and names of features, table columns, and what leaves with an objective.
        root: paths in the manifest are relative to it.
        n_features: columns of svmlight text; the largest index of any file by default.
        index_base: 0 or 1; by default 1 unless an index 0 stands in any file.
        columns: roles of a table's columns, as `column_roles.Roles` takes them: query, document, split, labels,
            features. A mistake for svmlight text.
        say: called with what a user should read once: the table of roles, what lies beside the files, what is odd.
        non_finite: whether nan and inf among the features are kept (and listed in the manifest) or refused.
        threads: how many are ever busy; files are read side by side, and the threads that are left parse chunks of
            them. The store does not depend on it. Default: the processor's, at most 4.
        progress: called with (what, bytes done, bytes in all), one call at a time, from any thread.
        overwrite: replace what lies at `folder` (only a store is ever replaced).

    Returns:
        The store, opened.

    Raises:
        InputError: with file and line for bad data (of several bad files: of the first); nothing is left behind.
    """
    folder = Path(folder)
    _check_target(folder, overwrite)
    _check_sources(sources, root)
    if n_features is not None and (not isinstance(n_features, int) or n_features < 1):
        raise InputError("n_features", expected="a whole number above 0", came=n_features)
    wanted = _Wanted(objectives, drop, card, n_features, index_base, columns or {}, non_finite, progress, say)
    # Not durable: a store is made again from its raw files, and a block that a power cut lost is noticed by its hash.
    with whole_folder(folder, "manifest.json", durable=False) as work:
        before = {
            manifest.source(Path(p), root): checks.described(Path(p))
            for given in sources.values()
            for p in given.values()
        }
        said = _build(sources, work, name, wanted, root, ThreadPool(threads))
        checks.remember(work, before)
        (work / "manifest.json").write_text(json.dumps(said, indent=1, allow_nan=False) + "\n", "utf-8")
        _check_target(folder, overwrite)  # it may have come while we worked
    for text in manifest.said(said["notes"]):
        say(text)
    return Store.open(folder)


@dataclass(frozen=True)
class _Wanted:
    """What the caller asked for, with what the card fills in."""

    objectives: Any
    drop: Sequence[int | str]
    card: Card | None
    n_features: int | None
    index_base: Literal[0, 1] | None
    columns: Mapping[str, Any]
    non_finite: Literal["keep", "refuse"]
    progress: Progress | None
    say: Callable[[str], None]

    @property
    def declared(self) -> int | None:
        return self.n_features or (self.card.n_features if self.card else None)

    @property
    def base(self) -> Literal[0, 1] | None:
        if self.index_base is not None or self.card is None:
            return self.index_base
        return 0 if self.card.index_base == 0 else 1

    def roles(self) -> table.Roles:
        """Roles of a table's columns: the card's, overruled by the caller's."""
        drop = list(self.drop)
        if self.card is not None and self.card.table is not None:
            of_card = self.card.table
            raw = [o.column for o in self.card.objectives if isinstance(o.column, str) and o.transform != "identity"]
            options = {
                "query": of_card.query,
                "document": of_card.document or None,
                "features": of_card.features or None,
                "labels": [o.column for o in self.card.objectives if isinstance(o.column, str)] or None,
                "raw": frozenset(raw),
            }
        else:
            # What is named as an objective is a label, also where its name says nothing or speaks of an outcome.
            named = [] if self.objectives is None else labels.listed(self.objectives)
            wanted = {o.name if o.column is None else o.column: o.raw for o in named}
            options = {
                "wanted": [c for c in wanted if isinstance(c, str)],
                "raw": frozenset(c for c, raw in wanted.items() if raw and isinstance(c, str)),
            }
        return table.Roles(**{"drop": drop, **options, **self.columns})


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / "manifest.json").is_file():
        raise InputError("the target is there and is no store", file=folder, do="Name a folder that does not exist")
    if not overwrite:
        raise InputError("the store is there already", file=folder, do="Overwrite it: --overwrite, or overwrite=True")


def _check_sources(sources, root: Path | None) -> None:
    if not sources:
        raise InputError("no folds to convert", expected="fold -> split -> file")
    for fold, given in sources.items():
        known = set(given)
        if known != {"all"} and not {"train", "test"} <= known <= set(SPLITS):
            raise InputError(
                f"splits of {fold or 'the source'}",
                file=root,
                expected="train and test, with or without vali; or only all",
                came=sorted(known),
                do="Name the missing file; one file that holds everything is divided when it stands alone",
            )
        if "all" in known and len(sources) > 1:
            raise InputError("one file to divide and folds beside it", came=list(sources))
        for path in given.values():
            if not Path(path).is_file():
                raise InputError("no such file", file=path)


def _build(sources, work: Path, name: str, wanted: _Wanted, root: Path | None, pool: ThreadPool) -> dict:
    """Reads everything, writes the parts, returns the manifest."""
    where, by_path, roles = _read(sources, work, wanted, pool)
    found = list({part.id: part for part in by_path.values()}.values())
    matrix = _matrix(found, wanted)
    # What a table drops by name was never read.
    columns = found[0].columns
    drop = [c for c in wanted.drop if columns is None or not isinstance(c, str) and str(c) not in columns.left_out]
    objectives, leaving = labels.choose(wanted.objectives, drop, wanted.card, matrix)
    keep = np.setdiff1d(np.arange(matrix.width), leaving)
    if len(keep) == 0:
        expected, came = "inputs beside objectives and what is dropped", f"all {matrix.width} leave"
        raise InputError("no features are left", file=found[0].path, expected=expected, came=came)

    def finish(part: Shard, check) -> shard.FeatureFacts:
        check()
        own = labels.values(part.gathered, objectives, matrix, part.path)
        names = [o.name for o in objectives]
        width = matrix.width
        shard.write(part.folder, part.gathered, part.layout, own, names, base=matrix.base, width=width, keep=keep)
        part.labels = part.layout.reorder(own)
        part.sealed = shard.sealed(part.folder, check)
        return part.sealed.features

    seen = shard.FeatureFacts.together(pool.each(finish, found, size=lambda part: part.gathered.documents))
    for k, objective in enumerate(objectives):
        if (most := max(float(part.labels[:, k].max()) for part in found)) > EXACT:
            wanted.say(f"labels {objective.name!r} reach {most:,.0f}; above {EXACT:,} float32 makes some of them equal")
    if len(seen.constant()) == len(keep):
        wanted.say("every feature is constant: to a ranker all documents look the same")
    for index, what in sorted(found[0].gathered.odd.items())[:_SHOWN]:
        if index - matrix.base in keep:
            name_of = matrix.names[index - matrix.base]
            wanted.say(f"feature {name_of!r} {what}: --drop {name_of!r} (drop= in Python) leaves it out")
        if index < 0:
            wanted.say(f"label {matrix.labels[-1 - index]!r} {what}: take its smallest value away")
    facts = manifest.of(name, wanted.card, objectives, matrix, keep, where, by_path, seen, root, roles)
    return checks.seal(facts)


def _read(
    sources, work: Path, wanted: _Wanted, pool: ThreadPool
) -> tuple[dict[str, dict[str, Shard]], dict[Path, Shard], list[dict]]:
    """Every raw file once, features spooled; fold -> split -> part, file -> part, and roles of a table's columns."""
    paths = list(dict.fromkeys(Path(p) for given in sources.values() for p in given.values()))
    told = _Told(wanted.progress, {p: p.stat().st_size for p in paths})

    def hashed(path: Path, check) -> str:
        def tell(at: int) -> None:
            check()
            told(f"hash {path.name}", path, at)

        tell(0)
        return sha256(path, tell)

    def read(part: Shard, check) -> None:
        def tell(at: int) -> None:
            check()
            told(f"read {part.path.name}", part.path, told.sizes[part.path] + at)

        part.gathered = _gather(part, wanted, pool, tell)
        divide(part, divided.get(part.id, "whole"))
        for path in same[part.id]:
            told(f"read {path.name}", path, 2 * told.sizes[path])

    columns, roles = _roles(paths, wanted)
    by_path: dict[Path, Shard] = {}
    by_id: dict[str, Shard] = {}
    same: dict[str, list[Path]] = {}
    for path, digest in zip(paths, pool.each(hashed, paths, size=told.sizes.__getitem__), strict=True):
        part = _open(path, digest, work, columns.get(path))
        by_path[path] = by_id.setdefault(part.id, part)  # the same bytes may come under several names
        if unused := [p.name for p in companions.beside(path) if p not in part.beside]:
            wanted.say(f"beside {path.name}, and not used: {', '.join(unused)}")
        same.setdefault(part.id, []).append(path)
    where = {fold: {split: by_path[Path(p)] for split, p in given.items()} for fold, given in sources.items()}
    divided = {g["train"].id: "vali" for g in where.values() if "train" in g and "vali" not in g}
    divided |= {g["all"].id: "all" for g in where.values() if "all" in g}
    pool.each(read, by_id.values(), size=lambda part: told.sizes[part.path])
    for sentence in ranks_from_one([part.gathered for part in by_id.values()]):
        wanted.say(sentence)
    for part in by_id.values():
        if part.gathered.infinite[0]:
            wanted.say("{:,} infinite values among the features, the first at {}".format(*part.gathered.infinite))
    return where, by_path, roles


def _roles(paths: Sequence[Path], wanted: _Wanted) -> tuple[dict[Path, table.Columns], list[dict]]:
    """What the columns of the tables are."""
    tables = [p for p in paths if table.is_table(p)]
    for path in (p for p in paths if p not in tables):
        if asked := [role for role, value in wanted.columns.items() if value]:
            raise InputError(
                f"{', '.join(asked)}: svmlight text has no columns with names",
                file=path,
                expected="a table (CSV, Parquet or Arrow) where columns are named",
                do="Its label stands at the head of each line; objectives and drop name features by index (f7)",
            )
    if not tables:
        return {}, []
    for option, value in (("n_features", wanted.n_features), ("index_base", wanted.index_base)):
        if value is not None:
            raise InputError(f"{option} is of svmlight text; a table has columns with names", file=tables[0])
    columns, roles = table.agreed(tables, wanted.roles())
    wanted.say("\n     ".join(["columns of " + ", ".join(dict.fromkeys(p.name for p in tables)), *role_lines(roles)]))
    return columns, roles


class _Told:
    """Progress over all files, each counted twice: it is hashed, then read.

    Args:
        progress: of the caller, or None.
        sizes: bytes of each file.
    """

    def __init__(self, progress: Progress | None, sizes: dict[Path, int]):
        self.progress, self.sizes, self.total = progress, sizes, 2 * sum(sizes.values())
        self._at = dict.fromkeys(sizes, 0)
        self._done, self._over, self._lock = 0, False, threading.Lock()

    def __call__(self, what: str, path: Path, at: int) -> None:
        """So many of the 2 x size bytes of `path` are done."""
        if self.progress is None:
            return
        with self._lock:
            if self._over:
                raise Stopped
            self._done += max(0, at - self._at[path])
            self._at[path] = max(at, self._at[path])
            try:
                self.progress(what, self._done, self.total)
            except BaseException:  # also how a caller stops us: it is not called again
                self._over = True
                raise


def _open(path: Path, digest: str, work: Path, columns: table.Columns | None) -> Shard:
    sizes = None
    if columns is None and not companions.has_qid(path):
        sizes = companions.needed_sizes_file(path)
    own = columns.facts if columns is not None else ()
    facts = {role: file for role, file in companions.facts_files(path).items() if role not in own}
    beside = {file: sha256(file) for file in ([] if sizes is None else [sizes]) + list(facts.values())}
    identity = hashlib.sha256(" ".join([digest, *beside.values()]).encode()).hexdigest() if beside else digest
    part = Shard(identity[:16], path, digest, work / "parts" / identity[:16], sizes, beside, facts, columns)
    part.folder.mkdir(parents=True, exist_ok=True)
    return part


def _gather(part: Shard, wanted: _Wanted, pool: ThreadPool, progress: Callable[[int], None]) -> Gathered:
    gathered = Gathered(part.folder / shard.SPOOL, shard.HEADER, part.path)
    if part.columns is not None:
        gathered.read(table.blocks(part.path, part.columns, progress=progress))
        _read_facts(part, gathered, wanted)
        return gathered
    gathered.read(
        svmlight.blocks(
            part.path,
            wanted.declared,
            index_base=wanted.base,
            qid=part.sizes is None,
            non_finite=wanted.non_finite,
            pool=pool,
            progress=progress,
        )
    )
    if part.sizes is not None:
        companions.group(gathered, companions.read_sizes(part.sizes), part.path)
    _read_facts(part, gathered, wanted)
    return gathered


def _read_facts(part: Shard, gathered: Gathered, wanted: _Wanted) -> None:
    """Weights and positions from the files beside; a set whose files were passed over before is told so."""
    for role, of in companions.read_facts(gathered, part.facts_files).items():
        name, use = (
            part.facts_files[role].name,
            "losses weigh by them" if role == "weights" else "for clicks, when asked",
        )
        wanted.say(
            f"{role} of {of} of {part.path.name} from {name} ({use}); until 0.2 it was not read: move it to go on so"
        )


def _matrix(found: list[Shard], wanted: _Wanted) -> Matrix:
    """One matrix for all parts: the same columns, the same index base."""
    roles = found[0].columns
    if odd := next((part for part in found[1:] if (part.columns is None) != (roles is None)), None):
        raise InputError("a table and svmlight text in one source", file=odd.path, came=found[0].path.name)
    if roles:
        return Matrix(roles.features, 1, roles.labels)
    base = wanted.base if wanted.base is not None else min(part.gathered.base for part in found)
    for part in found:
        svmlight.check_width(part.gathered, wanted.declared, base, part.path)
    width = wanted.declared or max(part.gathered.top(base) for part in found)
    names = wanted.card.feature_names if wanted.card else ()
    return Matrix(names if len(names) == width else tuple(f"f{k + base}" for k in range(width)), base)
