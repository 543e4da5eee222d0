"""Distillation: a small net that learns the scores of another ranker, an ensemble say, in place of labels."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np

from ltr.errors import InputError
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.training.job import ObjectiveJob
from ltr.types import Split

from .composed import ComposedRanker, Member, NetConfig, centred, register_composed, spread

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


@register_composed(
    "distilled",
    DistilledConfig,
    formula="s trained on the loss l(s, t), t the scores of a teacher",
    source="Hinton et al. 2015, 1503.02531; of lists: Schlatt et al., 2405.07920 (ADR-MSE)",
)
class DistilledRanker(ComposedRanker):
    """The student; the teacher is needed in training only and is not kept.

    Attributes:
        models: the student alone, an ordinary net; also in the subfolder `student` of a saved folder.
    """

    _folders = ("student",)

    def _fit(self, job: ObjectiveJob) -> int:
        c, began = self.config, time.perf_counter()
        teacher = c.teacher.fitted(job, self.training, "teacher", None)
        labels = np.array(job.train.labels, np.float32)
        labels[:, job.objective] = taught = _standard(teacher.score(job.train), job.train)
        student = NeuralRanker(c.base, c.net, self.training, loss=job.loss, seed=job.seed)
        job.hand_to(student, "student", job.train.having(labels=labels))
        self.models, self.history, self.best = [student], student.history, dict(student.best)
        self.best["agreement"] = float(np.mean(taught * _standard(student.score(job.train), job.train)))  # correlation
        return self._trained([teacher, student], began)


def _standard(scores: np.ndarray, split: Split) -> np.ndarray:
    """Scores as a student learns them, float32 `[documents]`."""
    return np.asarray(centred(scores, split) / spread(scores, split), np.float32)
