"""A net on the residual of another ranker: s = s_first + lambda net(x), trees first and a net on their scores, say."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.config import check
from ltr.rankers.training.job import ObjectiveJob
from ltr.types import Split

from .composed import ComposedRanker, Member, NetConfig, register_composed

__all__ = ["ResidualConfig", "ResidualRanker"]


@dataclass(frozen=True, kw_only=True)
class ResidualConfig(NetConfig):
    """A net (linear, mlp or transformer) that starts at 0 and is added to the scores of a ranker trained before.

    The loss sees the sum, on training lists that the first ranker has seen, too: where it knows them by heart, little
    is left to learn. `controls` says how much of the net stays.

    Attributes:
        first: who is trained before; a net with the loss and training of the whole, unless it says otherwise.
        controls: lambda, by the selection measure on validation; the first of the best. 0 leaves the first ranker
            alone; without validation it is the last.
    """

    first: Member = field(default_factory=lambda: Member("lightgbm"))
    controls: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0)

    def __post_init__(self):
        super().__post_init__()
        check(self, controls=(len(self.controls) >= 1 and min(self.controls, default=0) >= 0, "numbers, 0 or more"))

    @property
    def rankers(self) -> tuple[Member, ...]:
        """What is trained for it, beside the net."""
        return (self.first,)


@register_composed(
    "residual",
    ResidualConfig,
    formula="s = s_first + lambda net(x), net trained on the loss l(s_first + net(x), y)",
    source="boosting with another kind of learner; the augmented start of our reference methods, for one objective",
)
class ResidualRanker(ComposedRanker):
    """The first ranker and the net on its residual.

    Attributes:
        models: both; also in the subfolders `first` and `net` of a saved folder.
    """

    _folders = ("first", "net")

    def _ready(self) -> None:
        from ltr.rankers.conditional import ranker  # noqa: F401  (seconds, the first time)

    def _fit(self, job: ObjectiveJob) -> int:
        from ltr.rankers.conditional.ranker import ConditionedRanker

        c, began = self.config, time.perf_counter()
        first = c.first.fitted(job, self.training, "first", job.loss)
        net = ConditionedRanker(c.base, c.net, ConditioningConfig("none", "augmented"), self.training, seed=job.seed)
        net.fit(
            _of_one(job.train, job.objective),
            None if job.vali is None else _of_one(job.vali, job.objective),
            criterion=_OneLoss(job.loss),
            measures=(job.measure,),
            references=(first.score(job.train), None if job.vali is None else first.score(job.vali)),
            controls=c.controls,
            folder=job.folder and job.folder / "net",
            progress=job.on_progress,
            accelerator=job.accelerator,
        )
        self.models, self.history, control = [first, net], net.history, c.controls[-1]
        if job.vali is not None:
            reached = [float(job.select(self._controlled(job.vali, each))) for each in c.controls]
            control = c.controls[int(np.argmax(np.nan_to_num(reached, nan=-np.inf)))]
        self.best = {**net.best, "control": control}
        return self._trained(self.models, began)

    def _controlled(self, split: Split, control: float) -> np.ndarray:
        first, net = self.models
        s_ref = first.score(split)
        moved = net.score(split, np.ones((1, 1), np.float32), reference=s_ref)[0] - s_ref
        return np.asarray(s_ref + np.float32(control) * moved)

    def _score(self, split: Split) -> np.ndarray:
        return self._controlled(split, self.best["control"])

    def _read_model(self, folder: Path) -> Any:
        from ltr.rankers.conditional.ranker import ConditionedRanker

        return ConditionedRanker.load(folder) if folder.name == "net" else super()._read_model(folder)


@dataclass(frozen=True, repr=False)
class _OneLoss:
    """A list loss as conditioned nets descend one: all of the only preference is for the only objective."""

    loss: Any
    looks_back: ClassVar = False

    def draw(self, labels: Any, where: Any, generator: Any) -> tuple[Any, None]:
        return labels.new_ones(1, 1), None

    def __call__(self, scores, labels, where, preferences, *, beta, reference, weights, generator):
        weighed = {} if weights is None else {"weights": weights}
        values = self.loss(scores[:, 0], labels[..., 0], where, generator=generator, **weighed)
        return self.loss.reduce(values, labels[..., 0], where)

    def backward(self, losses, scores, preferences, parameters, generator) -> None:
        losses.backward()

    def update(self, after: Any) -> None:
        """Nothing is remembered."""

    def __repr__(self) -> str:
        from ltr.rankers.training.prepare import loss_name

        return loss_name(self.loss)


def _of_one(split: Split, objective: int) -> Split:
    """The lists with one of their labels."""
    assert split.labels is not None
    return split.having(labels=split.labels[:, [objective]], objectives=(split.objectives[objective],))
