"""HyperDPO (2410.08316; COS-DPO): one net for every preference, fine-tuned from a reference ranker.

    minimise  E_{w ~ Dir(alpha)}  mean over lists of  sum_k w_k CE(z^k, softmax(beta (s_theta(x; w) - s_ref(x))))

With ListNet the best scores are s_ref + log(z_w) / beta (T1 of our notes): the reference stays in them as a bias,
however much is learned. On the synthetic tasks validation therefore chooses the largest lambda of `controls`, which
leaves next to nothing of it. The conditioning "mixture" has the form of that optimum.

What is read of the paper: Plackett-Luce and list losses in place of Bradley-Terry, conditioning by a prompt made of w,
sampling of w, control after training. The loss in this form is from a secondary source, the defaults are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ltr.errors import InputError
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import CheckpointsKept, check

from .base import METHODS, FitContext
from .criteria import Dirichlet, Importance
from .reference import ReferenceConfig, ReferenceMethod
from .terms import Term

__all__ = ["HyperDPO", "HyperDPOConfig"]


@dataclass(frozen=True)
class HyperDPOConfig(ReferenceConfig):
    """One shot, conditioned on the weights.

    Attributes:
        conditioning: where w enters: any kind but none. (`start` and `temperature` are set from here.)
        alpha: concentration of the Dirichlet the preferences of a step are drawn from.
        sampled: preferences drawn at once.
        by_list: draw them for each list, instead of once a step.
        temperature: two betas: beta is drawn log-uniformly between them in training and an input of the net
            (temperature-conditioned); `score(..., beta=...)` then chooses, `beta` otherwise.
        temperature_by: "objective": every objective has its own beta_k, drawn and told by itself, and
            `score(..., beta=...)` takes one an objective, too. Multiplied by one number they obey the scaling law
            like a single beta; apart they steer beside w. Default: one beta for all.
        checkpoints: "one": the best epoch for all preferences; "per-preference": the epochs that were the best of some
            preference of `fit` on validation are kept (at most as many), and a preference is scored by the epoch of the
            nearest of them. Default: one.
    """

    conditioning: ConditioningConfig = ConditioningConfig()
    alpha: float = 1.0
    sampled: int = 1
    by_list: bool = True
    temperature: tuple[float, float] | None = None
    temperature_by: Literal["objective"] | None = None  # None stays out of tables: configs keep the hash they had
    checkpoints: CheckpointsKept = None

    def __post_init__(self):
        super().__post_init__()
        check(
            self,
            conditioning=(self.conditioning.kind != "none", "a kind that takes w"),
            alpha=(self.alpha > 0, "above 0"),
            sampled=(self.sampled >= 1, "1 or more"),
            temperature=(
                self.temperature is None or 0 < self.temperature[0] < self.temperature[1],
                "two numbers above 0, the smaller one first",
            ),
            temperature_by=(self.temperature_by is None or self.temperature is not None, "temperature = [low, high]"),
        )


@METHODS.register(
    "hyperdpo",
    formula="E_w sum_k w_k CE(z^k, softmax(beta (s(x; w) - s_ref))), w ~ Dir(alpha)",
    source="HyperDPO / COS-DPO, 2410.08316; the loss [2nd], list form of the prompt ours",
    config=HyperDPOConfig,
    preference="continuous",
    base=True,
    models="one",
)
class HyperDPO(ReferenceMethod):
    """One net; `score(..., control=..., beta=...)` steers it further."""

    config: HyperDPOConfig

    @property
    def conditioned_on_temperature(self) -> bool:
        """Whether beta is an input of the net."""
        return self.config.temperature is not None

    def _train(self, context: FitContext) -> int:
        c = self.config
        asks = self.conditioned_on_temperature
        conditioning = replace(
            c.conditioning, start=c.start, temperature=asks, temperature_by=c.temperature_by if asks else None
        )
        ranker = ConditionedRanker(
            c.ranker,
            c.ranker_params,
            conditioning,
            c.training,
            seed=context.seed,
            # A net that has beta for an input finds the division by it itself.
            scale=1 / c.beta if c.augmented and not self.conditioned_on_temperature else 1.0,
        )
        source = Dirichlet(c.alpha, len(context.objectives), c.sampled, c.by_list)
        criterion = Importance(self._loss(), source, c.temperature, c.temperature_by is not None)
        context.fit_conditioned(
            ranker,
            criterion=criterion,
            references=context.references,
            weights=context.weights if c.augmented else None,
            beta=self._beta(),
            checkpoints=c.checkpoints,
            controls=c.controls,
        )
        self.models = [ranker]
        return 1

    def _beta(self, beta: float | Sequence[float] | None = None) -> float | tuple[float, ...] | None:
        """What the net is told where `beta` is asked for, by default that of the config."""
        if not self.conditioned_on_temperature:
            return None
        asked, by_objective = np.asarray(self.config.beta if beta is None else beta, float), self.config.temperature_by
        shapes = [(), (len(self.objectives),)] if by_objective else [()]
        if asked.shape not in shapes or not (asked > 0).all():
            expected = f"a number above 0{' or one an objective' if by_objective else ''}"
            raise InputError("beta is out of range", expected=expected, came=beta)
        return tuple(np.broadcast_to(asked, shapes[-1]).tolist()) if by_objective else float(asked)

    def terms(self, w: np.ndarray, *, beta: float | Sequence[float] | None = None) -> list[Term]:
        if not self.conditioned_on_temperature:
            if beta is not None:
                what = "this net is not conditioned on the temperature"
                raise InputError(what, do="Set temperature before fit, or use control.")
            return [Term(1.0, self.models[0], w)]
        return [Term(1.0, self.models[0], w, self._beta(beta))]
