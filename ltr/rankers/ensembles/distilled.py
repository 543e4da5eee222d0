"""Distillation: a small net that learns the scores of another ranker, an ensemble say, in place of labels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.rankers.base import FittedRanker, load_ranker, register
from ltr.rankers.config import TrainingConfig
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.training.job import ObjectiveJob
from ltr.types import Split

from .member import Member, NetConfig, centred, spread

__all__ = ["DistilledConfig", "DistilledRanker"]


@dataclass(frozen=True, kw_only=True)
class DistilledConfig(NetConfig):
    """A net (the student) trained on what a teacher says of the training lists, and selected by the labels.

    The loss is the student's, and its labels are the teacher's scores: 0 in the mean of each list, in units of their
    spread. `listnet` with target = "soft" is the list softmax of the teacher, whose `temperature` says how sharp;
    `adrmse` looks at the teacher's order alone; `mse` and `pairwisemse` learn the scores themselves.

    Attributes:
        teacher: who is learned from; one that is a net, or has nets in it, says its own loss.
    """

    teacher: Member = field(default_factory=lambda: Member("lightgbm"))

    def __post_init__(self):
        super().__post_init__()
        if self.teacher.takes_loss and self.teacher.loss is None:
            do = f'Add one: teacher = {{ ranker = "{self.teacher.ranker}", loss = "lambdarank" }}'
            raise InputError("a teacher that is trained with a loss says which", do=do)

    @property
    def rankers(self) -> tuple[Member, ...]:
        """What is trained for it, beside the net."""
        return (self.teacher,)


# `independent` is a fact of the net, and here of the default one.
@register(
    "distilled",
    DistilledConfig,
    kind="ensemble",
    formula="s trained on the loss l(s, t), t the scores of a teacher",
    source="Hinton et al. 2015, 1503.02531; of lists: Schlatt et al., 2405.07920 (ADR-MSE)",
    training=TrainingConfig,
    needs_loss=True,
    stochastic=True,
)
@dataclass(eq=False, repr=False)
class DistilledRanker(FittedRanker):
    """The student; the teacher is needed in training only and is not kept.

    Attributes:
        models: the student alone, an ordinary net; also in the subfolder `student` of a saved folder.
    """

    training: TrainingConfig = field(default_factory=TrainingConfig)
    models: list[Any] = field(default_factory=list, init=False)

    @property
    def n_parameters(self) -> int:
        """Of the student."""
        return sum(model.n_parameters for model in self.models)

    def _ready(self) -> None:
        from ltr.rankers.training import ranking  # noqa: F401  (seconds, the first time)

    def _fit(self, job: ObjectiveJob) -> int:
        c, began = self.config, time.perf_counter()
        teacher = c.teacher.fitted(job, self.training, "teacher", None)
        labels = np.array(job.train.labels, np.float32)
        labels[:, job.objective] = taught = _standard(teacher.score(job.train), job.train)
        student = NeuralRanker(c.base, c.net, self.training, loss=job.loss, seed=job.seed)
        student.fit(
            job.train.having(labels=labels),
            job.vali,
            objective=job.train.objectives[job.objective],
            select=job.measure,
            folder=job.folder and job.folder / "student",
            progress=job.on_progress or False,
            accelerator=job.accelerator,
        )
        self.models, self.history, self.best = [student], student.history, dict(student.best)
        self.best["agreement"] = float(np.mean(taught * _standard(student.score(job.train), job.train)))  # correlation
        self.notes = list(dict.fromkeys([*teacher.notes, *student.notes]))
        spent = (teacher.cost.get("seconds", 0.0), student.cost["seconds"])
        self.cost = {"seconds": max(time.perf_counter() - began, sum(spent))}
        return round(sum(m.cost["documents_per_second"] * m.cost["seconds"] for m in (teacher, student) if m.cost))

    def _score(self, split: Split) -> np.ndarray:
        scores: np.ndarray = self.models[0].score(split)
        return scores

    def _write(self, folder: Path) -> Mapping[str, Any]:
        self.models[0].save(folder / "student")
        return {"n_parameters": self.n_parameters}

    def _read(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.models = [load_ranker(folder / "student")]


def _standard(scores: np.ndarray, split: Split) -> np.ndarray:
    """Scores as a student learns them, float32 `[documents]`."""
    return np.asarray(centred(scores, split) / spread(scores, split), np.float32)
