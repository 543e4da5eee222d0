"""Dataset cards: what is known about a dataset, from where, and how certainly.

A card is `data/NAME/card.toml`, read strictly: an unknown key is an error. It is complete even for data that may not be
shipped: folds, meanings of the labels, licence, sizes, hashes, where to get it, how to cite it. Nothing in it is
guessed; what is not known is left out, and every number says how certain it is:

    read       seen in the primary source: the paper, the official page, the files' own README
    2nd        seen in a secondary source: another library's code, a catalogue, a review
    recalled   from memory, not verified
    derived    worked out from the above
    checked    computed by us from the files themselves
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ltr import paths as places
from ltr import schema
from ltr.errors import InputError, check_name, unknown_name

__all__ = [
    "Card",
    "Certainty",
    "Count",
    "Download",
    "Files",
    "Fold",
    "Licence",
    "Manual",
    "Note",
    "Objective",
    "Table",
    "card_file",
    "card_hash",
    "card_home",
    "cards",
    "load_card",
    "parse_card",
]

Certainty = Literal["read", "2nd", "recalled", "derived", "checked"]
SPLITS = ("train", "vali", "test")


@dataclass(frozen=True)
class Licence:
    """What the owner allows.

    Attributes:
        name: the licence's own name, or "unstated".
        terms: what it asks for, in one or two sentences of ours; not legal advice.
        url: where it stands.
        accept: the owner asks the user to accept it before downloading; `fetch` then asks too.
        certainty: of the above.
    """

    name: str
    terms: str
    certainty: Certainty
    url: str = ""
    accept: bool = False


@dataclass(frozen=True)
class Fold:
    """Files of one official fold, as paths below `raw/`.

    Attributes:
        name: e.g. "Fold1".
        train, test: required; vali: empty where the owner gives none (the store then splits train by query).
    """

    name: str
    train: str
    test: str
    vali: str = ""

    def files(self) -> dict[str, str]:
        """split -> path, of the splits there are."""
        return {split: path for split in SPLITS if (path := getattr(self, split))}


@dataclass(frozen=True)
class Objective:
    """A label column.

    Attributes:
        name: what it is called in tasks, "relevance" for the main one.
        column: where it stands: 0 is the label at the head of an svmlight row, k the feature of index k in the file
            (counted as the file counts them), a string the column of a table.
        direction: "max" when a higher value is better.
        transform: how raw values become labels, see `ltr.objectives`: "identity" for grades, else "grade5", "minmax",
            "log-minmax" or "reciprocal". The default of a task; it may take another.
        labels: value -> meaning, where values have meanings.
        scale: the values in words: "grades 0-4", "counts, heavy tail".
        leaves: feature indices that must leave the inputs of every method when this is an objective: the column itself
            and its near copies.
        note: warnings.
        certainty: of meaning and direction.
    """

    name: str
    column: int | str
    certainty: Certainty
    direction: Literal["max", "min"] = "max"
    transform: Literal["identity", "grade5", "minmax", "log-minmax", "reciprocal"] = "identity"
    labels: dict[str, str] = field(default_factory=dict)
    scale: str = ""
    leaves: tuple[int, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Columns of a dataset that comes as Parquet or CSV.

    Attributes:
        query, document: columns of the ids.
        features: columns that are features; empty for all that are neither ids nor objectives.
    """

    query: str
    document: str = ""
    features: tuple[str, ...] = ()


@dataclass(frozen=True)
class Count:
    """Sizes of a split, or of the whole.

    Attributes:
        queries, documents: lists and query-document pairs.
        blank: lists without a document of positive main label; they decide every NDCG convention.
        certainty: of these numbers.
    """

    certainty: Certainty
    queries: int | None = None
    documents: int | None = None
    blank: int | None = None


@dataclass(frozen=True)
class Download:
    """A file the owner publishes, usually an archive.

    Attributes:
        name: its file name.
        urls: addresses tried in order; empty when it can only be fetched by hand.
        sha256: empty when unknown; size: bytes; source, certainty: of the hash and size.
        note: what is known about the addresses.
    """

    name: str
    urls: tuple[str, ...] = ()
    sha256: str = ""
    size: int | None = None
    source: str = ""
    certainty: Certainty | None = None
    note: str = ""


@dataclass(frozen=True)
class Files:
    """What `raw/` holds.

    Attributes:
        sha256: path -> hash, "" where nobody has published one; `ltr data verify` prints the user's own.
        source, certainty: of the hashes.
    """

    sha256: dict[str, str]
    source: str = ""
    certainty: Certainty | None = None


@dataclass(frozen=True)
class Manual:
    """How to get it by hand.

    Attributes:
        steps: what to do, one sentence each, ending before `ltr data fetch NAME --from PATH`.
        expects: the file or folder one then has.
        certainty: that the steps work today.
    """

    steps: tuple[str, ...]
    expects: str
    certainty: Certainty


@dataclass(frozen=True)
class Note:
    """A fact with its source, or a trap."""

    fact: str
    source: str
    certainty: Certainty


@dataclass(frozen=True)
class Card:
    """A dataset. Paths are relative to its `raw/` folder.

    Attributes:
        name: folder name and name in configs.
        title, summary, homepage, citation: for people; citation is BibTeX.
        format: "svmlight" (LETOR text), "groups" (svmlight without qid, group sizes in `FILE.query`), "table" (Parquet
            or CSV), or "generated" (no files).
        n_features: features of a row, before any leaves for an objective.
        index_base: index of the first feature in the files.
        normalised: how the published features are scaled, "" for raw values.
        licence: see `Licence`.
        objectives: the first is the main label.
        folds: official folds; empty where there are none (the store then makes query-grouped folds).
        table: for format "table".
        counts: the whole; splits: "Fold1/train" -> its size.
        downloads: what the owner publishes; files: what `raw/` holds afterwards.
        manual: how to get it by hand.
        notes: facts and traps.
        feature_names: in the order of the file, where published.
    """

    name: str
    title: str
    summary: str
    homepage: str
    citation: str
    format: Literal["svmlight", "groups", "table", "generated"]
    n_features: int
    licence: Licence
    objectives: tuple[Objective, ...]
    index_base: int = 1
    normalised: str = ""
    folds: tuple[Fold, ...] = ()
    table: Table | None = None
    counts: Count | None = None
    splits: dict[str, Count] = field(default_factory=dict)
    downloads: tuple[Download, ...] = ()
    files: Files | None = None
    manual: Manual | None = None
    notes: tuple[Note, ...] = ()
    feature_names: tuple[str, ...] = ()

    def __post_init__(self):
        _check(self)

    @property
    def hashes(self) -> dict[str, str]:
        """Files below `raw/` -> sha256, "" where nobody has published one."""
        return self.files.sha256 if self.files else {}

    @property
    def paths(self) -> tuple[str, ...]:
        """Files below `raw/`."""
        return tuple(self.hashes)

    @property
    def by_hand(self) -> Manual:
        """How to get it by hand; every dataset with files says so."""
        if self.manual is None:
            raise InputError(f"{self.name} is generated, there is nothing to fetch")
        return self.manual

    def objective(self, name: str) -> Objective:
        found = {o.name: o for o in self.objectives}
        check_name(f"objective of {self.name}", name, found)
        return found[name]

    def leaving(self, objectives: Sequence[str]) -> tuple[int, ...]:
        """Feature indices that leave the inputs of all methods when these are the objectives, sorted."""
        return tuple(sorted({column for name in objectives for column in self.objective(name).leaves}))

    def sources(self, raw: Path) -> dict[str, dict[str, Path]]:
        """fold -> split -> file, for `store.convert`; a fold without vali has no such key."""
        return {f.name: {split: raw / path for split, path in f.files().items()} for f in self.folds}


def _check(card: Card) -> None:
    """What types alone cannot say."""
    if not card.objectives:
        raise InputError("a card needs an objective", expected="at least the main label")
    for kind, names in (("objective", [o.name for o in card.objectives]), ("fold", [f.name for f in card.folds])):
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise InputError(f"{kind} named twice", came=twice)
    named = {path for fold in card.folds for path in fold.files().values()}
    if card.format == "groups":
        named |= {f"{path}.query" for path in named}
    missing = sorted(named - set(card.paths))
    if missing:
        raise InputError("folds name files that [files] does not list", came=missing)
    for path, sha256 in (*card.hashes.items(), *((d.name, d.sha256) for d in card.downloads)):
        if not path or path.startswith("/") or ".." in Path(path).parts:
            raise InputError("a file must lie below raw/", came=path)
        if sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise InputError(f"{path}: not a sha256", expected="64 hexadecimal digits", came=sha256)
    claims: list[tuple[str, Files | Download]] = []
    if card.files is not None and any(card.hashes.values()):
        claims.append(("[files]", card.files))
    claims += [(f"download {d.name}", d) for d in card.downloads if d.sha256 or d.size]
    for what, stated in claims:
        if not (stated.certainty and stated.source):
            raise InputError(f"{what}: a hash or size needs its source and certainty", expected="source, certainty")
    ours = {f"{fold.name}/{split}" for fold in card.folds for split in fold.files()}
    for key in card.splits:
        if key not in ours:
            raise InputError("counts of a split that no fold has", expected="FOLD/train and the like", came=key)
    if (card.format == "table") != (card.table is not None):
        raise InputError("[table] goes with format 'table'", came=card.format)
    if card.format != "generated" and not (card.files and card.manual):
        raise InputError("a dataset with files says what they are and how to get them", expected="[files] and [manual]")
    last = card.index_base + card.n_features - 1
    for objective in card.objectives:
        columns = [*objective.leaves, *([objective.column] if isinstance(objective.column, int) else [])]
        wrong = [c for c in columns if c != 0 and not card.index_base <= c <= last]
        if wrong:
            raise InputError(f"objective {objective.name!r}: no such column", expected=f"0 to {last}", came=wrong)
        if (objective.transform, objective.direction) == ("identity", "min"):
            raise InputError(
                f"objective {objective.name!r} is better when lower and no label by itself",
                do="Take the transform grade5, minmax or log-minmax, which turn it round.",
            )
    if len(card.feature_names) not in (0, card.n_features):
        raise InputError("feature_names", expected=f"{card.n_features} names", came=len(card.feature_names))


def cards() -> list[str]:
    """Names of the datasets that have a card: the package's, and the user's own in the data folder."""
    return sorted({p.parent.name for home in _homes() for p in home.glob("*/card.toml")})


def _homes() -> list[Path]:
    return list(dict.fromkeys([places.cards(), places.data_root()]))


def card_file(name: str | Path) -> Path | None:
    """The file of a card; None where there is none.

    Args:
        name: of a dataset; or the path of a card.toml, or of the folder that holds one.

    Raises:
        InputError: the user's data folder has another card of a name that the package uses.
    """
    if isinstance(name, str) and name and len(Path(name).parts) == 1:
        found = [file for home in _homes() if (file := home / name / "card.toml").is_file()]
        if len(found) > 1 and found[0].read_bytes() != found[1].read_bytes():
            raise InputError(
                f"two different cards are named {name!r}", file=found[1], came=found[0], do="Give your own another name"
            )
        if found:
            return found[0]
    path = Path(name)
    if path.is_dir() and not (path / "manifest.json").is_file():
        path = path / "card.toml"
    return path if path.name == "card.toml" and path.is_file() else None


def card_home(name: str | Path) -> Path:
    """The folder that holds `raw` and `store` of a dataset: in the data folder, or beside a card given by its path."""
    file = card_file(name)
    if file is not None and file.parent.parent not in _homes():
        return file.resolve().parent
    return places.data_root() / (name if file is None else file.parent.name)


def load_card(name: str | Path) -> Card:
    """The card of a dataset by name, or by the path of its file or folder.

    Raises:
        InputError: unknown dataset (naming the near miss), or a broken card.
    """
    file = card_file(name)
    if file is None:
        raise unknown_name("dataset", str(name), cards())
    return parse_card(file)


def parse_card(path: Path) -> Card:
    """A card from a file; its name must be its folder's."""
    card = schema.bind(Card, schema.read_toml(path), file=path)
    folder = path.resolve().parent.name
    if card.name != folder:
        raise InputError("a card is named as its folder", file=path, expected=folder, came=card.name)
    return card


def card_hash(name: str | Path) -> str:
    """sha256 of a card's file, for records of runs."""
    load_card(name)  # the near-miss error for a wrong name
    file = card_file(name)
    assert file is not None
    return hashlib.sha256(file.read_bytes()).hexdigest()
