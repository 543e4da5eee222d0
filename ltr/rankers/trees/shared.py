"""What the three boosters share: parameters, the choice of the number of trees, and the checks before they train.

The libraries differ in their NDCG (blank lists, ties, gain), so none of them chooses its own number of trees: the
validation lists are scored every few rounds and measured by `ltr.metrics`, the same rule for all three. Everything
else is the library's own: with `select_rounds=False` the model equals the library called by hand with `native()`.

Features are handed over as arrays and lists as sizes, unscaled; a tree does not care. Parameters that have no field
here go into `params` under the library's own name and win over ours. Of a column of categories the libraries get the
place among the values of train, most frequent first, and are told that these are categories. A value that was not seen
is one place more: in no set of a split, and without statistics for CatBoost (XGBoost sends it left, which is where all
but one value go in columns of up to 64). A missing one is NaN, to LightGBM the same, to CatBoost a category of its own.
"""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np

from ltr.datasets.transforms import levels_of
from ltr.errors import InputError, MissingExtra
from ltr.rankers.base import FittedRanker
from ltr.rankers.config import check
from ltr.rankers.operations import forest_operations, report
from ltr.rankers.training.job import ObjectiveJob
from ltr.types import Split

from .forest import Forest

__all__ = ["EarlyStopping", "TreeRanker", "TreesConfig", "list_sizes"]

_CHUNK = 65_536  # rows looked at at once


@dataclass(frozen=True)
class TreesConfig:
    """What the three libraries share.

    Attributes:
        rounds: trees at most.
        learning_rate: shrinkage of each tree.
        select_rounds: keep the number of rounds with the best selection measure on validation; off keeps all rounds.
        select_every: rounds between two looks at validation.
        patience: rounds without a better look before the rest is dropped; 0 looks at all of them.
        params: the library's own parameters, handed over as they are.
    """

    rounds: int = 500
    learning_rate: float = 0.1
    select_rounds: bool = True
    select_every: int = 10
    patience: int = 100
    params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check(
            self,
            rounds=(self.rounds >= 1, "1 or more"),
            learning_rate=(self.learning_rate > 0, "a positive number"),
            select_every=(self.select_every >= 1, "1 or more"),
            patience=(self.patience >= 0, "0 (off) or more"),
        )


def weights_of_lists(split: Split, library: str) -> np.ndarray | None:
    """The weight of each list that has documents, for a library that knows no others; None without weights.

    Raises:
        InputError: documents of a list differ in weight.
    """
    if split.weights is None:
        return None
    first = split.weights[split.offsets[:-1][split.lengths > 0]]
    if not np.array_equal(np.repeat(first, split.lengths[split.lengths > 0]), split.weights):
        do = "For clicks of shown positions: debias = true, with lightgbm or xgboost; or weigh documents with a net"
        raise InputError(f"{library} weighs whole lists", expected="one weight for all documents of a query", do=do)
    return first


def weighed(gradients, weights: np.ndarray | None):
    """Gradients of our own, each document's multiplied by its weight, as LightGBM does with those of its objectives."""
    if gradients is None or weights is None:
        return gradients
    return lambda scores, data: tuple(weights * x for x in gradients(scores, data))


class EarlyStopping:
    """Chooses the number of rounds on validation, by the measure every ranker is chosen by.

    Attributes:
        history: one dict a look: epoch (rounds), vali.
        best: the look with the highest measure, the earliest of equals; empty before the first that counts.
    """

    def __init__(self, job: ObjectiveJob, config: TreesConfig):
        self.job, self.config = job, config
        self.on = config.select_rounds and job.vali is not None
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self._sum: np.ndarray | float = 0.0

    @property
    def features(self) -> np.ndarray:
        """Of the validation documents, `[documents, feature]`."""
        assert self.job.vali is not None  # nobody asks where it is off
        return self.job.vali.features

    def due(self, rounds: int) -> bool:
        """Whether validation is looked at after so many rounds."""
        return self.on and (rounds % self.config.select_every == 0 or rounds == self.config.rounds)

    def add(self, rounds: int, scores: np.ndarray) -> bool:
        """Adds what the rounds since the last look give to each document; True when patience is at its end."""
        whole = self._sum = self._sum + np.asarray(scores, dtype=np.float64)
        return self.look(rounds, whole)

    def look(self, rounds: int, scores: np.ndarray) -> bool:
        """Measures whole scores after so many rounds; True when patience is at its end."""
        number = float(self.job.select(np.asarray(scores, dtype=np.float32)))
        value = None if np.isnan(number) else number
        self.history.append({"epoch": rounds, "loss": None, "vali": value})
        self.job.report(rounds, self.config.rounds, None, value)
        if value is not None and (not self.best or value > self.best["vali"]):
            self.best = {"epoch": rounds, "vali": value}
        return bool(self.best) and 0 < self.config.patience <= rounds - self.best["epoch"]


class TreeRanker(FittedRanker):
    """A boosted ensemble. A child names its library and file, writes `native`, `_boost`, `_predict`, `_read_model`.

    Attributes:
        model: the library's own; None before `fit`.
        levels: column of categories -> its values in train, most frequent first.
        way_out: what to set where no tree finds a split.
    """

    module: ClassVar[str]
    file: ClassVar[str]
    way_out: ClassVar[str]
    model: Any = None
    levels: Mapping[int, np.ndarray] = MappingProxyType({})

    @property
    def library(self):
        """The library's module.

        Raises:
            MissingExtra: it is not installed.
        """
        try:
            return importlib.import_module(self.module)
        except ImportError:
            raise MissingExtra(self.module, "trees", f"ranker {self.name!r}") from None

    @abstractmethod
    def native(self, seed: int = 0, threads: int = 1) -> dict[str, Any]:
        """The library's parameters for this config; called by hand with them, it gives the same model."""

    def _ready(self) -> None:
        _ = self.library  # a missing one is named before any work

    def _fit(self, job: ObjectiveJob) -> int:
        self.levels = levels_of(job.train.features, job.train.categories, 1 << 24)
        if self.levels:
            coded = lambda split: split.having(features=self._coded(split.features))  # noqa: E731
            job = replace(job, train=coded(job.train), vali=None if job.vali is None else coded(job.vali))
        self._check_data(job)
        stopping = EarlyStopping(job, self.config)
        with self._library_errors("cannot be trained on this"):
            rounds = self._boost(job, stopping)
        self.history = stopping.history
        self.best = stopping.best or {"epoch": rounds, "vali": None}
        self.cost["operations"] = report(self._operations(job, rounds))
        return rounds * job.train.n_documents

    def _operations(self, job: ObjectiveJob, rounds: int) -> float:
        train, leaves = job.train, getattr(self.config, "leaves", 0) or 2 ** min(getattr(self.config, "depth", 6), 16)
        length = train.n_documents / max(1, train.n_queries)
        return forest_operations(rounds, train.n_documents, train.n_features, leaves=leaves, length=length)

    @abstractmethod
    def _boost(self, job: ObjectiveJob, stopping: EarlyStopping) -> int:
        """Trains `model`, cut to the selected rounds; returns the rounds that were trained."""

    def _own(self, job: ObjectiveJob) -> tuple[Mapping[str, Any], Any]:
        """Of a booster that differs in its training only: parameters in place of those of `native`, and
        `gradients(scores, data)` -> gradients and Hessians `[documents]` in place of the library's objective."""
        return {}, None

    def _rounds(
        self, stopping: EarlyStopping, step: Callable[[int], Any], part: Callable[[int, int], np.ndarray]
    ) -> tuple[int, int]:
        """Boosts until patience ends it: the rounds that were trained, and those to keep.

        Args:
            step: makes the round of this number.
            part: what the rounds after the first number, up to the second, give to the validation documents.
        """
        done = seen = 0
        for done in range(1, self.config.rounds + 1):
            step(done)
            if stopping.due(done):
                scores, seen = part(seen, done), done
                if stopping.add(done, scores):
                    break
        return done, stopping.best.get("epoch", done)

    def _score(self, split: Split) -> np.ndarray:
        self._check_features(split)
        with self._library_errors("cannot score this"):
            return self._predict(self._coded(split.features))

    def _coded(self, features: np.ndarray) -> np.ndarray:
        """Features with the places of categories in place of their codes."""
        features = np.array(features, dtype=np.float32) if self.levels else features
        for column, values in self.levels.items():
            order = np.argsort(values)
            found = np.searchsorted(values, features[:, column], sorter=order).clip(max=max(len(values) - 1, 0))
            place = order[found] if len(values) else found
            seen = values[place] == features[:, column] if len(values) else np.zeros(len(place), bool)
            missing = np.isnan(features[:, column])
            features[:, column] = np.where(seen, place, np.where(missing, np.nan, len(values)))
        return features

    @abstractmethod
    def _predict(self, features: np.ndarray) -> np.ndarray:
        """Raw scores `[documents]`."""

    def forest(self) -> Forest:
        """The trees without their library.

        Raises:
            InputError: trees of a kind that only the library knows: categories, several outputs, no trees at all.
        """
        if self.levels:
            raise self._only_library("columns of categories")
        return self._forest()

    @abstractmethod
    def _forest(self) -> Forest:
        """The trees, as tables of nodes."""

    @abstractmethod
    def contributions(self, features: np.ndarray) -> np.ndarray:
        """The library's SHAP values `[documents, feature + 1]`, whose last column is the expected score.

        Their sum is a document's score (TreeSHAP: Lundberg et al., Nature Machine Intelligence 2020).
        """

    def _only_library(self, what: str) -> InputError:
        return InputError(f"{self.name} has {what}, which its library alone can score", do="Score with ltr predict.")

    # ---------------------------------------------------------------------------------------- checks, before the work

    def _check_data(self, job: ObjectiveJob) -> None:
        """What the library would refuse in the middle of its work, or misread.

        Raises:
            InputError: naming the query, or the column.
        """
        labels = job.labels
        self._refuse(
            job.train, labels < 0, labels, "takes no negative labels", "", "Leave the documents out, or regrade"
        )
        self._check_features(job.train)

    def _check_features(self, split: Split) -> None:
        """Values the library cannot take; nothing here."""

    def _check_debias(self, job: ObjectiveJob, ranks: bool) -> None:
        """Positions and a ranking objective, where the library shall learn the bias of positions."""
        if not self.config.debias:
            return
        if not ranks:
            raise InputError("debias is of ranking objectives", came=self.config.objective)
        if job.train.positions is None:
            do = "Name their column: --positions, positions=; or put a .position file beside svmlight text"
            raise InputError("debias needs the positions of the documents", do=do)

    def _check_grades(self, job: ObjectiveJob, largest: int, way_out: str) -> None:
        """Integer grades up to `largest`, as objectives with gain 2^y - 1 need them."""
        labels, objective = job.labels, f"objective {self.config.objective!r}"
        self._refuse(job.train, labels != np.round(labels), labels, "takes integer grades", objective, way_out)
        what = f"takes grades up to {largest} (gain 2^y - 1)"
        self._refuse(job.train, labels > largest, labels, what, objective, way_out)

    def _refuse(self, split: Split, wrong: np.ndarray, values: np.ndarray, what: str, who: str, do: str) -> None:
        """Raises for the first document that is wrong, and names its query."""
        if wrong.any():
            document = int(np.argmax(wrong))
            query = split.query_ids[np.searchsorted(split.offsets, document, side="right") - 1]
            came = float(values[document])
            raise InputError(f"{who or self.name} {what} (query {query})", came=came, do=do)

    def _check_infinite(self, split: Split) -> None:
        """For a library that dies of an infinite feature."""
        for start in range(0, split.n_documents, _CHUNK):
            rows, columns = np.nonzero(np.isinf(split.features[start : start + _CHUNK]))
            if len(rows):
                row, column = start + int(rows[0]), int(columns[0])
                names = split.feature_names
                query = split.query_ids[np.searchsorted(split.offsets, row, side="right") - 1]
                raise InputError(
                    f"{self.name} takes no infinite feature "
                    f"(column {names[column] if names else column + 1}, query {query})",
                    came=float(split.features[row, column]),
                    do="Put a missing value (NaN) or a large number there, or use lightgbm, which takes infinity",
                )

    @contextmanager
    def _library_errors(self, what: str) -> Iterator[None]:
        """The library's own complaints, its first line only: what follows is a trace of its machinery."""
        try:
            yield
        except InputError:
            raise
        except Exception as error:
            if type(error).__module__.split(".")[0].strip("_") != self.module:
                raise
            said = (str(error).strip() or type(error).__name__).splitlines()[0]
            do = f"The documentation of {self.module} says what it demands"
            raise InputError(f"{self.name} {what}: {said}", do=do) from None

    def _why_tied(self) -> str:
        return f" found no split ({self.way_out})"

    # ----------------------------------------------------------------------------------------------------- its folder

    def _write(self, folder: Path) -> Mapping[str, Any]:
        self.model.save_model(str(folder / self.file))
        levels = {str(column): values.tolist() for column, values in self.levels.items()}
        return {"n_parameters": self.n_parameters, **({"levels": levels} if levels else {})}

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.levels = {int(c): np.array(values, np.float32) for c, values in facts.get("levels", {}).items()}
        path, do = folder / self.file, "Train it anew, or take the folder from a copy"
        if not path.is_file():
            raise InputError("this file is missing", file=path, do=do)
        library = self.library
        try:
            self._read_model(library, str(path))
        except Exception as error:  # each library has errors of its own
            raise InputError("damaged, it holds no model", file=path, came=type(error).__name__, do=do) from None

    @abstractmethod
    def _read_model(self, library: Any, path: str) -> None:
        """Puts `model` back."""


def list_sizes(split: Split) -> np.ndarray:
    """Documents of each list; the libraries know no list without documents."""
    lengths = split.lengths
    return lengths[lengths > 0]
