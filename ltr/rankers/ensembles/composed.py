"""What rankers that are made of others share, and the others: trained for it, or kept in a folder.

members = [{ ranker = "lightgbm", params = { rounds = 300 } }, { ranker = "mlp", loss = "listnet" }]
teacher = { folder = "runs/bagged/ranker" }
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.rankers.base import RANKERS, FittedRanker, load_ranker, named_loss, register
from ltr.rankers.config import TrainingConfig, check
from ltr.rankers.training.job import ObjectiveJob
from ltr.schema import bind, in_todays_words, to_dict
from ltr.seeds import seed_of
from ltr.types import Split

__all__ = ["ComposedRanker", "Member", "NetConfig", "centred", "register_composed", "spread"]


@dataclass(frozen=True)
class Member:
    """One of `ranker` and `folder` is given.

    Attributes:
        ranker: a name of the catalogue.
        params: its parameters.
        loss: of a net; that of the whole by default.
        loss_params: of that loss.
        training: of a net, over the settings of the whole.
        folder: a saved ranker, trained on the same features; it stays as it is.
    """

    ranker: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    loss: str | None = None
    loss_params: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    folder: str | None = None

    def __post_init__(self):
        check(self, ranker=((self.ranker is None) != (self.folder is None), "a ranker, or a folder"))
        if self.ranker is not None:
            object.__setattr__(self, "params", to_dict(self.config))  # with every default written out
            object.__setattr__(self, "training", dict(in_todays_words(TrainingConfig, self.training)))
            self.settings(TrainingConfig())  # a mistyped key is named here

    @property
    def config(self) -> Any:
        """The config of the ranker."""
        assert self.ranker is not None
        return bind(RANKERS[self.ranker].claims["config"], self.params, where="params")

    @property
    def takes_loss(self) -> bool:
        """Whether it is trained here, with a loss."""
        return self.ranker is not None and RANKERS[self.ranker].claims["needs_loss"]

    def settings(self, whole: TrainingConfig) -> TrainingConfig:
        """Of its training."""
        return bind(TrainingConfig, {**to_dict(whole), **self.training}, where="training")

    def fitted(self, job: ObjectiveJob, whole: TrainingConfig, place: str, loss: Callable | None) -> FittedRanker:
        """The ranker, trained on the lists of a job.

        Args:
            job: of the whole; the seed of the member is made of its seed and `place`.
            whole: settings of the whole's training.
            place: name of the member, and of its folder of checkpoints.
            loss: of the whole, for a member that takes one and says none.
        """
        if self.ranker is None:
            return load_ranker(str(self.folder))
        own: dict[str, Any] = {}
        if RANKERS[self.ranker].claims.get("training"):
            own = {"training": self.settings(whole)}
        if self.takes_loss:
            own["loss"] = named_loss(self.loss, **self.loss_params) if self.loss else loss
        ranker: FittedRanker = RANKERS[self.ranker].function(self.config, seed=seed_of(place, job.seed), **own)
        unlabelled = job.unlabelled if RANKERS[self.ranker].claims["kind"] == "ensemble" else None
        return job.hand_to(ranker, place, threads=job.threads, unlabelled=unlabelled)


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """A net that another ranker trains.

    Attributes:
        base: the net: linear, mlp, tabm, transformer or dasalc.
        base_params: its parameters, e.g. `{"hidden": [32]}`.
    """

    base: str = "mlp"
    base_params: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if RANKERS[self.base].claims["kind"] != "neural":
            nets = [entry.name for entry in RANKERS if entry.claims["kind"] == "neural"]
            raise InputError("base is no net", expected=", ".join(nets), came=self.base)
        object.__setattr__(self, "base_params", to_dict(self.net))  # with every default written out

    @property
    def net(self) -> Any:
        """Config of the net."""
        return bind(RANKERS[self.base].claims["config"], self.base_params, where="base_params")


# Of those that are trained with a loss. `independent` is a fact of what they are made of, and here of the defaults.
register_composed = partial(register, kind="ensemble", training=TrainingConfig, needs_loss=True, stochastic=True)


@dataclass(eq=False, repr=False)
class ComposedRanker(FittedRanker):
    """Base of them. A child writes `_fit`, names the folders of its models, and says what their scores make.

    Attributes:
        models: the rankers that scoring needs, in the order of `_folders`.
    """

    training: Any = field(default_factory=TrainingConfig)
    models: list[Any] = field(default_factory=list, init=False)

    @property
    def n_parameters(self) -> int:
        """Of all models."""
        return sum(model.n_parameters for model in self.models)

    def to(self, device: Any) -> ComposedRanker:
        """Moves the models that lie on a device; returns itself."""
        for model in self.models:
            if hasattr(model, "to"):
                model.to(device)
        return self

    @property
    @abstractmethod
    def _folders(self) -> Sequence[str]:
        """Names of the subfolders in which the models are kept, one a model."""

    def _ready(self) -> None:
        from ltr.rankers.training import ranking  # noqa: F401  (seconds, the first time)

    def _trained(self, trained: Sequence[Any], began: float) -> int:
        """Cost and notes of the whole, from the rankers that were trained for it since `began`; the documents of their
        trainings, repeats counted. One that was read from a folder cost nothing."""
        costs = [model.cost for model in trained if model.cost]
        # With what came before a checkpoint, where a training was resumed.
        self.cost = {"seconds": max(time.perf_counter() - began, sum(cost["seconds"] for cost in costs))}
        self.notes = list(dict.fromkeys(note for model in trained for note in model.notes))
        return round(sum(cost["documents_per_second"] * cost["seconds"] for cost in costs))

    def _write(self, folder: Path) -> Mapping[str, Any]:
        for name, model in zip(self._folders, self.models, strict=True):
            model.save(folder / name)
        return {"n_parameters": self.n_parameters}

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.models = [self._read_model(folder / name) for name in self._folders]

    def _read_model(self, folder: Path) -> Any:
        return load_ranker(folder)

    def _score(self, split: Split) -> np.ndarray:
        """Those of the first model, where one alone is kept."""
        scores: np.ndarray = self.models[0].score(split)
        return scores


def centred(scores: np.ndarray, split: Split) -> np.ndarray:
    """Scores `[documents]` less the mean of their list: a constant a list moves no ranking."""
    lists = np.repeat(np.arange(split.n_queries), split.lengths)
    mean = np.bincount(lists, weights=scores, minlength=split.n_queries) / np.maximum(split.lengths, 1)
    return scores - mean[lists]


def spread(scores: np.ndarray, split: Split) -> float:
    """Root mean square of the centred scores: the scale of a ranker; 1 of one whose scores are all equal."""
    return float(np.sqrt(np.mean(np.square(centred(scores, split))))) or 1.0
