"""How large the data of a run are, without reading or generating them: from a store's manifest, a card, or a name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ltr.datasets import load, transforms
from ltr.datasets.cards.card import Card, card_file, card_home, load_card
from ltr.datasets.store.store import Store
from ltr.datasets.synthetic.generator import MEAN_LENGTH
from ltr.datasets.synthetic.task import options_of
from ltr.errors import InputError, unknown_name
from ltr.objectives.tasks import is_made, open_columns, task_objectives
from ltr.types import Task

__all__ = ["Sizes", "sizes_of", "sizes_of_task"]

_SHARES = {"train": 0.6, "vali": 0.2, "test": 0.2}


@dataclass(frozen=True)
class Sizes:
    """What a run would open.

    Attributes:
        queries, documents: split -> count.
        features: columns.
        longest: documents of the longest training list, where it is known.
        source: how it is known.
        missing: columns that miss values in train; of a store those that do anywhere, of a card 0: it does not say.
    """

    queries: dict[str, int]
    documents: dict[str, int]
    features: int
    longest: int | None = None
    source: str = "counted"
    missing: int = 0

    @property
    def list_length(self) -> int:
        """Documents of a training list, on average."""
        return max(1, round(self.documents["train"] / max(1, self.queries["train"])))

    def labelled(self, share: float) -> Sizes:
        """Of the same data with the labels of a share of the training queries."""
        if share == 1:
            return self
        queries, documents = (
            {**counts, "train": max(1, round(share * counts["train"]))} for counts in (self.queries, self.documents)
        )
        return replace(self, queries=queries, documents=documents)


def sizes_of_task(task: Task) -> Sizes:
    """Sizes of data that are open."""
    splits = {name: task.split(name) for name in _SHARES}
    return Sizes(
        {name: split.n_queries for name, split in splits.items()},
        {name: split.n_documents for name, split in splits.items()},
        task.train.n_features,
        int(task.train.lengths.max(initial=1)),
        missing=len(transforms.fit("none", task.train.features).missing),
    )


def sizes_of(data: str | Path, fold: str | None = None, objectives: Sequence[str] = (), **roles) -> Sizes:
    """Sizes of a dataset's fold; only files nobody has converted yet are opened.

    Args:
        data: as `ltr.load` takes it.
        fold: the first by default.
        objectives: label columns, for files that must be opened.
        roles: of the columns of data given by path, as `ltr.load` takes them.

    Raises:
        InputError: no such data or fold, a damaged store, or a card that does not say how large its dataset is.
    """
    name = str(data)
    if name.partition(":")[0] == "synthetic":
        asked = options_of(name)
        queries = {split: round(share * asked["queries"]) for split, share in _SHARES.items()}
        documents = {split: round(count * MEAN_LENGTH) for split, count in queries.items()}
        return Sizes(queries, documents, asked["features"], 900, "as its name says")
    card = load_card(name) if card_file(name) is not None else None
    home = card_home(name)
    stores = [home / "store"] if card is not None else []
    for folder in (Path(name), *stores):
        if (folder / "manifest.json").is_file():
            return _of_store(Store.open(folder), fold)
    if card is not None and not (home / "raw").is_dir():
        return _of_card(card, fold)
    if any(is_made(objective) for objective in objectives):
        return sizes_of_task(open_columns(name, task_objectives(name, objectives), fold, **roles))
    return sizes_of_task(load(data, fold=fold, objectives=list(objectives) or None, **roles))


def _of_store(store: Store, fold: str | None) -> Sizes:
    if fold is not None and fold not in store.folds:
        raise unknown_name("fold", fold, store.folds, file=store.folder)
    splits, features = store.manifest["folds"][fold or store.folds[0]], store.manifest["features"]
    infinite = features.get("infinite", {})  # stores of early versions count both together
    try:
        return Sizes(
            {name: int(splits[name]["n_queries"]) for name in _SHARES},
            {name: int(splits[name]["n_documents"]) for name in _SHARES},
            int(features["count"]),
            int(splits["train"]["lengths"]["max"]),
            "of its store",
            sum(count > infinite.get(name, 0) for name, count in features["non_finite"].items()),
        )
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "its manifest does not say how large this fold is", file=store.folder, came=fold, do="Look: ltr data info"
        ) from None


def _of_card(card: Card, fold: str | None) -> Sizes:
    name = fold or next((f.name for f in card.folds), "Fold1")
    known = [*(card.splits.get(f"{name}/{split}") for split in _SHARES), card.counts]
    length = next((c.documents / c.queries for c in known if c is not None and c.documents and c.queries), None)
    queries, documents = {}, {}
    for (split, share), own in zip(_SHARES.items(), known, strict=False):
        count = own or card.counts
        if count is None or count.queries is None or length is None:
            raise InputError(
                f"the card of {card.name!r} does not say how large {name}/{split} is",
                do=f"Run: ltr data fetch {card.name}",
            )
        queries[split] = count.queries if own else round(share * count.queries)
        said = own.documents if own else None
        documents[split] = round(queries[split] * length) if said is None else said
    return Sizes(queries, documents, card.n_features, None, "on its card; the data are not here")
