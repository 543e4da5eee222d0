"""What rankers that are made of others share: where the others are kept, what they cost, what they have to say."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ltr.rankers.base import FittedRanker, load_ranker, register
from ltr.rankers.config import TrainingConfig
from ltr.types import Split

__all__ = ["ComposedRanker", "register_composed"]


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
