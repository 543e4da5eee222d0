"""What all rankers share: the catalogue, the two verbs with their checks, the folder a ranker is kept in."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ltr.atomic import whole_folder
from ltr.catalogue import Catalogue
from ltr.errors import InputError
from ltr.schema import bind, to_dict
from ltr.types import Split

from .config import HEADLINE

__all__ = ["RANKERS", "FittedRanker", "Job", "Progress", "load_ranker", "peak_memory", "thread_count"]

RANKERS = Catalogue(
    "ranker", [f"ltr.rankers.{family}" for family in ("baselines", "neural", "trees.boosters", "ensembles.bagged")]
)
_FORMAT = 1


class Progress(NamedTuple):
    """What `progress(event)` hears after an epoch, or after some rounds of boosting.

    Attributes:
        epoch: epochs (rounds) done.
        epochs: epochs (rounds) asked for.
        loss: mean training loss of the epoch; None where the library keeps it to itself.
        vali: selection measure on validation; None without validation lists.
    """

    epoch: int
    epochs: int
    loss: float | None
    vali: float | None


@dataclass(frozen=True)
class Job:
    """One call of `fit`, checked.

    Attributes:
        train, vali: the splits; `vali` may be None, then nothing is selected.
        objective: index of the label column that is learned.
        loss: callable of the neural rankers, None for the others.
        select: measure of the selection on `vali`.
        seed: what everything random follows from.
        folder: where a resumable checkpoint is kept; None keeps none.
        progress: called with a `Progress`.
        threads: of the boosters.
        accelerator: of the neural rankers: auto, cpu, gpu or mps.
    """

    train: Split
    vali: Split | None
    objective: int
    loss: Callable | None
    select: str
    seed: int
    folder: Path | None
    progress: Callable[[Progress], Any] | None
    threads: int
    accelerator: str

    def report(self, epoch: int, epochs: int, loss: float | None, vali: float | None) -> None:
        if self.progress is not None:
            self.progress(Progress(epoch, epochs, loss, vali))

    def measure(self, scores: np.ndarray) -> float:
        """The selection measure of flat scores `[documents]` of the validation split; NaN where no list counts."""
        return measure_split(self.select, scores, self.vali, self.objective)


def measure_split(select: str, scores: np.ndarray, split: Split, objective: int) -> float:
    """One measure of flat scores, its mean over the lists of a split that count."""
    from ltr import metrics

    values = metrics.evaluate([select], scores, split.labels[:, objective], split.offsets)
    return float(metrics.mean(next(iter(values.values()))))


@dataclass(eq=False)
class FittedRanker:
    """Base of the rankers. A child writes `_fit(job)`, `_score(split)`, `_write(folder)`, `_read(folder, facts)`.

    Attributes:
        name: in the catalogue.
        config: its parameters.
        training: settings of its training, None where it has none.
        loss: default of `fit(loss=...)`.
        seed: default of `fit(seed=...)`, and after it the one that was used.
        n_features: features it was fitted on; None before.
        objective: label column it learned.
        best: what validation chose, e.g. `{"epoch": 12, "vali": 0.51}`; the last epoch without validation.
        history: one dict an epoch: epoch, loss, vali.
        cost: seconds, documents_per_second (trained on, per second), peak_memory (bytes: of the GPU where one was used,
            else the high-water mark of the process), and of nets step_seconds (a step of training, its batch included;
            median over epochs; processor time of all threads on a CPU, wall time on an accelerator).
    """

    name: str
    config: Any
    training: Any = None
    loss: Callable | None = None
    seed: int = 0
    n_features: int | None = field(default=None, init=False)
    objective: str = field(default="", init=False)
    best: dict[str, Any] = field(default_factory=dict, init=False)
    history: list[dict[str, Any]] = field(default_factory=list, init=False)
    cost: dict[str, Any] = field(default_factory=dict, init=False)

    def fit(
        self,
        train: Split,
        vali: Split | None = None,
        *,
        loss: Callable | None = None,
        objective: str | None = None,
        select: str = HEADLINE,
        seed: int | None = None,
        folder: Path | str | None = None,
        progress: Callable[[Progress], Any] | None = None,
        threads: int | None = None,
        accelerator: str = "auto",
    ) -> FittedRanker:
        """Trains on `train`, stops and selects on `vali`, and returns itself.

        Args:
            train: labelled lists.
            vali: labelled lists that choose the epoch, the number of trees or the column; None chooses nothing.
            loss: `loss(scores, labels, where, generator=...)` -> one value a list, with an attribute
                `reduce(values, labels, where)` -> scalar. Neural rankers need one, the others bring their own.
            objective: name of the label column to learn; the main one by default.
            select: measure of the selection.
            seed: the one given to the constructor by default.
            folder: neural rankers leave a checkpoint there after each epoch and continue from it, bit for bit as if
                nothing had happened.
            progress: hears a `Progress` after each epoch.
            threads: of the boosters; see `thread_count`.
            accelerator: of the neural rankers: auto, cpu, gpu or mps.

        Raises:
            InputError: no labels, an unknown objective, no loss or one too many, splits that do not fit together.
        """
        job = Job(
            train,
            vali,
            _check_splits(train, vali, objective),
            self._check_loss(loss or self.loss),
            select,
            self.seed if seed is None else seed,
            None if folder is None else Path(folder),
            progress,
            thread_count() if threads is None else threads,
            accelerator,
        )
        self._ready()
        self.n_features, self.objective, self.seed = train.n_features, train.objectives[job.objective], job.seed
        self.history, self.best, self.cost = [], {}, {}
        start = time.perf_counter()
        trained = self._fit(job)
        # What a resumed training spent before it was stopped belongs to the cost, too.
        seconds = time.perf_counter() - start + self.cost.pop("seconds_before", 0.0)
        self.cost = {
            "seconds": seconds,
            "documents_per_second": trained / seconds if seconds > 0 else 0.0,
            "peak_memory": self.cost.pop("peak_memory", 0) or peak_memory(),
            **self.cost,
        }
        return self

    def score(self, split: Split, preference=None) -> np.ndarray:
        """float32 `[documents]` in the split's order, higher is better; labels are not looked at.

        Raises:
            InputError: not fitted yet, another number of features, or a preference (only conditioned rankers take one).
        """
        self._check_input(split, preference)
        scores = np.ascontiguousarray(self._score(split), dtype=np.float32)
        if not np.isfinite(scores).all():
            raise self._not_finite()
        return scores

    def _check_input(self, split: Split, preference=None) -> None:
        if self.n_features is None:
            raise InputError(f"ranker {self.name!r} is not fitted", do="Call fit, or load a ranker that was saved")
        if preference is not None:
            raise InputError(f"ranker {self.name!r} takes no preference", came=preference)
        if split.n_features != self.n_features:
            raise InputError(
                f"ranker {self.name!r} was fitted on other features",
                expected=f"{self.n_features} features",
                came=split.n_features,
                do="Score lists with the columns of the training split, in its order",
            )

    def _not_finite(self) -> InputError:
        return InputError(f"scores of ranker {self.name!r} are not finite", do="Check the features for huge values")

    def save(self, folder: Path | str) -> None:
        """Writes the folder `load_ranker` reads: ranker.json and the model. It appears whole or not at all."""
        if self.n_features is None:
            raise InputError(f"ranker {self.name!r} is not fitted, there is nothing to save")
        with whole_folder(folder, "ranker.json") as beside:
            facts = {
                "format": _FORMAT,
                "name": self.name,
                "config": to_dict(self.config),
                "training": None if self.training is None else to_dict(self.training),
                "seed": self.seed,
                "n_features": self.n_features,
                "objective": self.objective,
                "best": self.best,
                "history": self.history,
                "versions": _versions(),
                **(self._write(beside) or {}),
            }
            (beside / "ranker.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path | str) -> FittedRanker:
        """The ranker kept in a folder, which must be of this class; `load_ranker` takes any."""
        ranker = load_ranker(folder)
        if not isinstance(ranker, cls):
            raise InputError(f"a saved {type(ranker).__name__}", file=folder, expected=f"a saved {cls.__name__}")
        return ranker

    @property
    def n_parameters(self) -> int:
        """Learned numbers: weights of a net, leaves of the trees, 0 of a baseline."""
        return 0

    # ------------------------------------------------------------------------------------------ for the children

    def _ready(self) -> None:
        """Imports what `_fit` needs, before the clock starts."""

    def _fit(self, job: Job) -> int:
        """Learns from `job`; fills `history` and `best`; returns the documents trained on, repeats counted."""
        raise NotImplementedError

    def _score(self, split: Split) -> np.ndarray:
        raise NotImplementedError

    def _write(self, folder: Path) -> Mapping[str, Any] | None:
        """Writes the model; returns what ranker.json should carry besides."""

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Reads what `_write` wrote."""

    def _check_loss(self, loss: Callable | None) -> Callable | None:
        if RANKERS[self.name].claims["needs_loss"]:
            if loss is None:
                raise InputError(f"ranker {self.name!r} is trained with a loss, and none is given", do="Pass loss=")
        elif loss is not None:
            raise InputError(f"ranker {self.name!r} brings its own objective and takes no loss")
        return loss


def _check_splits(train: Split, vali: Split | None, objective: str | None) -> int:
    """Index of the label column to learn, after everything that can be wrong with the splits was looked at."""
    for split, role in ((train, "train"), (vali, "vali")):
        if split is None:
            continue
        if split.labels is None:
            raise InputError(f"the {role} split carries no labels")
        if split.n_documents == 0:
            raise InputError(f"the {role} split holds no documents")
        split.label(objective)  # an unknown objective is named there
        if split.n_features != train.n_features or split.objectives != train.objectives:
            raise InputError(
                "train and vali do not fit together",
                expected=f"{train.n_features} features, objectives {train.objectives}",
                came=(split.n_features, split.objectives),
            )
    return 0 if objective is None else train.objectives.index(objective)


def load_ranker(folder: Path | str) -> FittedRanker:
    """The ranker kept in a folder, ready to score.

    Raises:
        InputError: no ranker there, or one of a newer format.
    """
    folder = Path(folder)
    path = folder / "ranker.json"
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no saved ranker", file=folder, expected="a folder with a ranker.json") from None
    except json.JSONDecodeError as error:
        raise InputError("broken JSON", file=path, line=error.lineno) from None
    if facts.get("format") != _FORMAT:
        raise InputError("a ranker of another format", file=path, expected=_FORMAT, came=facts.get("format"))
    entry = RANKERS[facts["name"]]
    ranker = entry.function(bind(entry.claims["config"], facts["config"], file=path, where="config"))
    if entry.claims.get("training") is not None:
        ranker.training = bind(entry.claims["training"], facts["training"], file=path, where="training")
    for key in ("seed", "n_features", "objective", "best", "history"):
        setattr(ranker, key, facts[key])
    ranker._read(folder, facts)
    return ranker


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    from ltr import __version__

    used = {"torch": "torch", "lightgbm": "lightgbm", "catboost": "catboost", "numpy": "numpy"}
    found = {"ltr": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
    found |= {name: version(package) for name, package in used.items() if name in sys.modules}
    if "xgboost" in sys.modules:  # two distributions carry this module
        found["xgboost"] = sys.modules["xgboost"].__version__
    return found


def peak_memory() -> int:
    """High-water mark of the process's resident memory in bytes; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def thread_count() -> int:
    """Threads of a booster: torch's setting where torch is loaded, else $OMP_NUM_THREADS, else the cores we may use."""
    if "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
