"""What all rankers share: the catalogue, the two verbs with their checks, the folder a ranker is kept in."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ltr import __version__
from ltr.atomic import whole_folder
from ltr.catalogue import Catalogue
from ltr.errors import InputError, say_once
from ltr.metrics import measure
from ltr.progress import listener
from ltr.schema import bind, changed, to_dict
from ltr.types import Split

from .config import HEADLINE
from .devices import asked_device, peak_memory, thread_count
from .notes import blank_lists, tied_scores
from .operations import counted
from .sealed import broken_facts, read_sealed, seal
from .training.job import ObjectiveJob, Progress, check_features, check_splits, no_split, nothing, told_names
from .training.validation import ValidationMeasure, measure_split

__all__ = ["RANKERS", "FittedRanker", "ObjectiveJob", "Progress", "load_ranker", "measure_split", "register"]

_FAMILIES = (
    *("baselines", "neural", "trees.lightgbm", "trees.xgboost", "trees.catboost"),
    *("ensembles.bagged", "ensembles.blend", "ensembles.distilled", "ensembles.residual", "ensembles.calibrated"),
    "ensembles.pretrained",
)
RANKERS = Catalogue("ranker", [f"ltr.rankers.{family}" for family in _FAMILIES])
_FORMAT, _MARK = 1, "ranker.json"


def register(name: str, config: type, *, kind: str, formula: str = "", source: str = "", **claims: Any) -> Callable:
    """Decorator: a child of `FittedRanker` under a name in the catalogue.

    Args:
        name: in configs and on the command line.
        config: dataclass of its parameters.
        kind: neural, trees, baseline or ensemble.
        formula, source: for the page of methods.
        claims: `training`, the dataclass of its training's settings; `needs_loss`; `stochastic`, the seed matters under
            the default config; `independent`, the score of a document does not depend on the rest of its list;
            `equivariant`, shuffling a list shuffles its scores alike; `learns`, it follows the labels. The tests prove
            them.
    """
    defaults = {"needs_loss": False, "stochastic": False, "independent": True, "equivariant": True, "learns": True}

    def keep(cls: type[FittedRanker]) -> type[FittedRanker]:
        def make(config: Any, **options: Any) -> FittedRanker:
            return cls(name, config, **options)

        make.__module__ = cls.__module__  # the catalogue lists its families in their order
        RANKERS.register(name, formula=formula, source=source, config=config, kind=kind, **{**defaults, **claims})(make)
        return cls

    return keep


@dataclass(eq=False, repr=False)
class FittedRanker(ABC):
    """Base of the rankers. A child writes `_fit(job)`, `_score(split)`, `_write(folder)`, `_read(folder, facts)`.

    Attributes:
        name: in the catalogue.
        config: its parameters.
        training: settings of its training, None where it has none.
        loss: default of `fit(loss=...)`.
        seed: default of `fit(seed=...)`, and after it the one that was used.
        n_features: features it was fitted on; None before.
        feature_names: of these, where the training lists had names; lists with others are not scored.
        objective: label column it learned.
        best: what validation chose, e.g. `{"epoch": 12, "vali": 0.51}`; the last epoch without validation.
        history: one dict an epoch: epoch, loss, vali.
        cost: seconds, documents_per_second (trained on, per second), peak_memory (bytes: of the GPU where one was used,
            else the high-water mark of the process), operations (of all that learns inside, see operations.py),
            cpu_seconds (processor time of all threads, of this call alone where a training was resumed), and of nets
            step_seconds (a step of training, its batch included; median over epochs; processor time of all threads on a
            CPU, wall time on an accelerator).
        notes: sentences a user should read before believing the ranker: training lists that teach nothing, scores that
            are all equal, a checkpoint that was damaged. Whoever called `fit` says them.
    """

    name: str
    config: Any
    training: Any = None
    loss: Callable | str | None = None
    seed: int = 0
    n_features: int | None = field(default=None, init=False)
    feature_names: tuple[str, ...] = field(default=(), init=False)
    objective: str = field(default="", init=False)
    best: dict[str, Any] = field(default_factory=dict, init=False)
    history: list[dict[str, Any]] = field(default_factory=list, init=False)
    cost: dict[str, Any] = field(default_factory=dict, init=False)
    notes: list[str] = field(default_factory=list, init=False)

    def fit(
        self,
        train: Split,
        vali: Split | None = None,
        *,
        loss: Callable | str | None = None,
        objective: str | None = None,
        select: Any = HEADLINE,
        seed: int | None = None,
        folder: Path | str | None = None,
        progress: Callable[[Progress], Any] | bool | None = None,
        threads: int | None = None,
        accelerator: str = "auto",
        device: Any = None,
        callbacks: Sequence[Any] = (),
        logger: Any = None,
        trainer: Any = None,
        unlabelled: Split | None = None,
    ) -> FittedRanker:
        """Trains on `train`, stops and selects on `vali`, and returns itself.

        Args:
            train: labelled lists.
            vali: labelled lists that choose the epoch, the number of trees or the column; None chooses nothing.
            loss: a name in the catalogue of losses, a function of one's own (see `ltr.loss`), or what either makes:
                `loss(scores, labels, where, generator=...)` -> one value a list, with an attribute
                `reduce(values, labels, where)` -> scalar. Neural rankers need one, the others bring their own.
            objective: name of the label column to learn; the main one by default.
            select: measure of the selection: a name or a function, see `ltr.measure`.
            seed: the one given to the constructor by default.
            folder: neural rankers leave a checkpoint there after each epoch and continue from it, bit for bit as if
                nothing had happened.
            progress: hears a `Progress` after each epoch. By default a bar, in a notebook and on a terminal; False
                shows none.
            threads: of the boosters; see `thread_count`.
            accelerator, device: of the neural rankers, one or the other: auto, cpu, gpu, cuda:1, mps, a torch device.
            callbacks, logger: Lightning's, of the neural rankers; what is logged is `train/loss` and `vali/MEASURE`.
            trainer: a Lightning Trainer of one's own: its epochs, device, precision and clipping count then.
            unlabelled: lists whose features alone are looked at, by `pretrained` rankers and what is made of them;
                those of `train` are not added to them.

        Raises:
            InputError: no labels, an unknown objective, no loss or one too many, splits that do not fit together.
        """
        column = check_splits(train, vali, objective)
        if unlabelled is not None:
            if RANKERS[self.name].claims["kind"] != "ensemble":
                do = "Leave them out, or train ranker 'pretrained'"
                raise InputError(f"ranker {self.name!r} learns nothing from unlabelled lists", do=do)
            if unlabelled.n_features != train.n_features:
                expected = f"{train.n_features} features, as train has"
                raise InputError("unlabelled lists of other features", expected=expected, came=unlabelled.n_features)
        lightning = {"callbacks": tuple(callbacks), "logger": logger, "trainer": trainer}
        if RANKERS[self.name].claims["kind"] != "neural" and any(lightning.values()):
            raise InputError(f"ranker {self.name!r} is not trained by Lightning", do="Leave its arguments out")
        if trainer is not None:
            device, progress = device or trainer.strategy.root_device, progress or False
        select = select if isinstance(select, str) else repr(measure(select))
        job = ObjectiveJob(
            train=train,
            vali=vali,
            select=nothing if vali is None else ValidationMeasure(select, vali, column),
            seed=self.seed if seed is None else seed,
            folder=None if folder is None else Path(folder),
            accelerator=asked_device(accelerator, device),
            threads=thread_count() if threads is None else threads,
            objective=column,
            measure=select,
            loss=self._check_loss(loss or self.loss),
            unlabelled=unlabelled,
            **lightning,
        )
        self._ready()
        self.n_features, self.feature_names = train.n_features, told_names(train)
        self.objective, self.seed = train.objectives[column], job.seed
        self.history, self.best, self.cost, self.notes = [], {}, {}, blank_lists(train, [column], vali)
        start, busy = time.perf_counter(), time.process_time()
        with listener(progress, self.name) as heard, counted() as counter:
            documents = self._fit(replace(job, on_progress=heard))
        # Those who know more than this call (a resumed training was stopped before) have said so.
        seconds = self.cost.get("seconds", time.perf_counter() - start)
        known = {
            "documents_per_second": documents / seconds if seconds > 0 else 0.0,
            "peak_memory": peak_memory(),
            "operations": counter.operations,
            "cpu_seconds": time.process_time() - busy,
        }
        self.cost = {"seconds": seconds, **known, **self.cost}
        if RANKERS[self.name].claims["learns"]:
            self.notes += tied_scores(self._score, train, self.name + self._why_tied())
        return self

    def __repr__(self) -> str:
        own = f"{self.name}({changed(self.config)})"
        if self.n_features is None:
            return f"{own}, not fitted"
        chosen = [f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in self.best.items()]
        return ", ".join([f"{own}, fitted to {self.objective} on {self.n_features} features", *chosen])

    def plot_history(self, ax: Any = None) -> Any:
        """Training loss and selection measure by epoch; returns the matplotlib axes, `ax` if given.

        Raises:
            InputError: there is no history: nothing was fitted, or not by epochs.
        """
        from .pictures import history_picture

        return history_picture(self.history, self.best, ax)

    def score(self, split: Split, preference=None) -> np.ndarray:
        """float32 `[documents]` in the split's order, higher is better; labels are not looked at.

        Raises:
            InputError: not fitted yet, another number of features, or a preference (only conditioned rankers take one).
        """
        self._check_input(split, preference)
        self._say_unseen(split)
        scores = np.ascontiguousarray(self._score(split), dtype=np.float32)
        if not np.isfinite(scores).all():
            raise self._not_finite()
        return scores

    def _check_input(self, split: Split, preference=None) -> None:
        if self.n_features is None:
            raise InputError(f"ranker {self.name!r} is not fitted", do="Call fit, or load a ranker that was saved")
        if not isinstance(split, Split):
            raise no_split(split)
        if preference is not None:
            raise InputError(f"ranker {self.name!r} takes no preference", came=preference)
        check_features(split, self.n_features, self.feature_names)

    def _say_unseen(self, split: Split) -> None:
        """Says which columns of categories hold none of those that training knows, of trees or of a net's transform."""
        levels = getattr(self, "levels", None) or getattr(getattr(self, "transform", None), "levels", None) or {}
        for column, values in levels.items():
            cells = split.features[:, column]
            if new := int((~np.isin(cells, values) & ~np.isnan(cells)).sum()):
                name = split.feature_names[column]
                say_once(
                    f"feature {name!r}: {new:,} of {len(cells):,} cells are no category that training has a place for"
                )

    def _not_finite(self) -> InputError:
        return InputError(f"scores of ranker {self.name!r} are not finite", do="Check the features for huge values")

    def save(self, folder: Path | str) -> None:
        """Writes the folder `load_ranker` reads: ranker.json and the model. It appears whole or not at all."""
        if self.n_features is None:
            raise InputError(f"ranker {self.name!r} is not fitted, there is nothing to save")
        with whole_folder(folder, _MARK) as beside:
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
                "notes": self.notes,
                "versions": _versions(),
                **({"feature_names": list(self.feature_names)} if self.feature_names else {}),
                **(self._write(beside) or {}),
            }
            seal(beside, _MARK, facts)

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
        return None

    @abstractmethod
    def _fit(self, job: ObjectiveJob) -> int:
        """Learns from `job`; fills `history`, `best` and what it knows better of `cost`.

        Returns the documents trained on, repeats counted.
        """

    @abstractmethod
    def _score(self, split: Split) -> np.ndarray:
        """float32 `[documents]`, higher is better."""

    def _write(self, folder: Path) -> Mapping[str, Any] | None:
        """Writes the model; returns what ranker.json should carry besides."""
        return None

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """Reads what `_write` wrote."""
        return None

    def importances(self) -> np.ndarray | None:
        """What each feature is worth to the ranker, `[feature]`: gains of boosted trees; None where nobody says."""
        return None

    def _why_tied(self) -> str:
        """What is said after the name where all scores of a list are equal, e.g. " found no split"."""
        return ""

    def _check_loss(self, loss: Callable | str | None) -> Callable | None:
        if RANKERS[self.name].claims["needs_loss"]:
            if loss is None:
                raise InputError(f"ranker {self.name!r} is trained with a loss, and none is given", do="Pass loss=")
            return named_loss(loss)
        elif loss is not None:
            raise InputError(f"ranker {self.name!r} brings its own objective and takes no loss")
        return None


def named_loss(loss: Callable | str, **params: Any) -> Callable:
    """A loss by its name or from a user's function; one that knows how to reduce stays what it is."""
    if not isinstance(loss, str) and hasattr(loss, "reduce") and not params:
        return loss
    from ltr.losses import loss as find

    found: Callable = find(loss, **params)
    return found


def load_ranker(folder: Path | str) -> FittedRanker:
    """The ranker kept in a folder, ready to score.

    Raises:
        InputError: no ranker there, a damaged one, or one of another format.

    >>> import ltr, tempfile
    >>> task, folder = ltr.load("synthetic:queries=20,features=50"), tempfile.mkdtemp()
    >>> ltr.make_ranker("feature", column=2).fit(task.train).save(f"{folder}/kept")
    >>> load_ranker(f"{folder}/kept")
    feature(column=2), fitted to relevance on 50 features, column 2, ...
    """
    folder = Path(folder)
    path = folder / _MARK
    if not path.is_file():
        raise InputError("no saved ranker", file=folder, expected=f"a folder with a {_MARK}")
    facts = read_sealed(folder, _MARK, _FORMAT)
    with broken_facts(path):
        entry = RANKERS[facts["name"]]
        ranker = entry.function(bind(entry.claims["config"], facts["config"], file=path, where="config"))
        if entry.claims.get("training") is not None:
            ranker.training = bind(entry.claims["training"], facts["training"], file=path, where="training")
        for key in ("seed", "n_features", "objective", "best", "history"):
            setattr(ranker, key, facts[key])
        ranker.notes, ranker.feature_names = facts.get("notes", []), tuple(facts.get("feature_names", ()))
        ranker._read(folder, facts)
    return ranker


def _versions() -> dict[str, str]:
    used = {"torch": "torch", "lightgbm": "lightgbm", "catboost": "catboost", "numpy": "numpy"}
    found = {"ltr": __version__, "python": ".".join(map(str, sys.version_info[:3]))}
    found |= {name: version(package) for name, package in used.items() if name in sys.modules}
    if "xgboost" in sys.modules:  # two distributions carry this module
        found["xgboost"] = sys.modules["xgboost"].__version__
    return found
