"""Methods that start from a reference ranker: how dear it is to leave it, and the control after training they share.

In the augmented form s = s_ref + net(x) / beta: the net learns the implicit reward u = beta (s - s_ref) itself, which
makes it the same net for every beta. The scaling law (T6 of our notes) is then exact: s_ref + lambda (s - s_ref) is
what training at beta / lambda would have given. So beta is chosen after training, for nothing: lambda from `controls`,
by validation, with one rule for all methods: an epoch is judged at its best lambda, and one lambda is kept for all
preferences. (APO, 2410.06293, extrapolates the same way: lambda = 1 + a.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import ConditioningConfig, check
from ltr.rankers.ensembles.stacked import fit_fleet
from ltr.types import Split

from .base import Method, MethodConfig, Work, on_host
from .quality import weighted_mean

__all__ = ["ReferenceConfig", "ReferenceMethod", "train_each", "train_plain"]


@dataclass(frozen=True)
class ReferenceConfig(MethodConfig):
    """What methods with a reference share.

    Attributes:
        beta: how dear it is to leave the reference.
        start: "augmented": s = s_ref + a net that starts at 0; "scratch": a net that knows s_ref from its loss only.
        controls: lambda after training, s_ref + lambda (s - s_ref); the one with the best validation measure is kept.
    """

    beta: float = 1.0
    start: Literal["augmented", "scratch"] = "augmented"
    controls: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0)

    def __post_init__(self):
        check(
            self,
            beta=(self.beta > 0, "above 0"),
            controls=(len(self.controls) > 0 and min(self.controls, default=0) >= 0, "numbers, 0 or more"),
        )

    @property
    def augmented(self) -> bool:
        return self.start == "augmented"


class ReferenceMethod(Method):
    """A child writes `_train(work)` and `_plain(split, preferences, s_ref)`, the scores before any control.

    `memory["control"]` is the lambda that was chosen; `score(..., control=...)` takes another.
    """

    config: ReferenceConfig

    def _train(self, work: Work) -> int:
        raise NotImplementedError

    def _plain(self, split: Split, preferences: np.ndarray, s_ref, **options):
        """A tensor where the nets are; `s_ref` is an array or a tensor."""
        raise NotImplementedError

    def _fit(self, work: Work) -> int:
        trained = self._train(work)
        controls = self.config.controls
        control = controls[0]
        if len(controls) > 1 and work.vali is not None:
            s_ref = work.references[1]
            moved = on_host(self._plain(work.vali, work.preferences, s_ref)) - s_ref
            reached = [weighted_mean(work.vali, s_ref + x * moved, work.preferences, work.measures) for x in controls]
            control = controls[int(np.argmax(reached))]
        self.memory = {**self.memory, "control": float(control)}
        return trained

    def _score(self, split: Split, preferences: np.ndarray, *, control: float | None = None, **options):
        s_ref = self._reference(split)
        moved = self._plain(split, preferences, s_ref, **options) - s_ref
        return s_ref + float(np.float32(self.memory["control"] if control is None else control)) * moved


def train_plain(
    method: Method, work: Work, criterion, preferences: np.ndarray, name: str, quality=None
) -> ConditionedRanker:
    """One plain net of the method's config for the preferences `[1, objective]`, chosen by `quality` at them.

    All trainings of a fit have the seed of the fit: the same first weights and the same data order.
    """
    return _plain_net(method, work).fit(
        work.train,
        work.vali,
        criterion=criterion,
        measures=work.measures,
        preferences=preferences,
        references=work.references,
        seed=work.seed,
        folder=work.folder and work.folder / name,
        progress=work.progress,
        accelerator=work.accelerator,
        **_options(method, work, quality),
    )


def train_each(
    method: Method, work: Work, criteria: Sequence, preferences: np.ndarray, name: str, quality=None
) -> list[ConditionedRanker]:
    """A plain net for each criterion and preference `[objective]`: as a fleet where the method's config and the
    criteria allow it, else one `train_plain` after another.
    """
    from .stacked import Together, fits_a_fleet

    if not (method.config.fleet and fits_a_fleet(criteria)):
        return [
            train_plain(method, work, criterion, w[None], f"{name}{i}", quality)
            for i, (criterion, w) in enumerate(zip(criteria, preferences, strict=True))
        ]
    return fit_fleet(
        [_plain_net(method, work) for _ in criteria],
        work.train,
        work.vali,
        criterion=Together(criteria),
        measures=work.measures,
        preferences=preferences,
        references=work.references,
        folder=work.folder and work.folder / f"{name}s",
        progress=work.progress,
        accelerator=work.accelerator,
        **_options(method, work, quality),
    )


def _plain_net(method: Method, work: Work) -> ConditionedRanker:
    c = method.config
    start = getattr(c, "start", "scratch")
    return ConditionedRanker(
        c.ranker,
        c.ranker_params,
        ConditioningConfig(kind="none", start=start),
        c.training,
        scale=1 / c.beta if start == "augmented" else 1.0,
        seed=work.seed,
    )


def _options(method: Method, work: Work, quality) -> dict[str, Any]:
    c = method.config
    options = {} if quality is None else {"quality": quality}
    if getattr(c, "start", "scratch") == "augmented":
        options["weights"] = work.weights
    return {"controls": getattr(c, "controls", (1.0,)), **options}
