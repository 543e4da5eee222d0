"""Methods that start from a reference ranker: how dear it is to leave it, and the control after training they share.

In the augmented form s = s_ref + net(x) / beta: the net learns the implicit reward u = beta (s - s_ref) itself, which
makes it the same net for every beta. The scaling law (T6 of our notes) is then exact: s_ref + lambda (s - s_ref) is
what training at beta / lambda would have given. So beta is chosen after training, for nothing: lambda from `controls`,
by validation, with one rule for all methods: an epoch is judged at its best lambda, and one lambda is kept for all
preferences. (APO, 2410.06293, extrapolates the same way: lambda = 1 + a.)
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch

from ltr.losses.preference.base import PreferenceLoss, dpo
from ltr.losses.preference.mallows import dispersion_index, label_entropy, reference_entropy
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import check
from ltr.rankers.ensembles.stacked import fit_stacked
from ltr.rankers.training.validation import ValidationMeasures, weighted_mean
from ltr.types import Split

from .base import FitContext, Method, MethodConfig
from .reference_choice import ReferenceChoice
from .stacked import StackedCriterion, can_stack
from .terms import combined, on_host

__all__ = ["ReferenceConfig", "ReferenceMethod", "train_each", "train_plain"]


@dataclass(frozen=True)
class ReferenceConfig(MethodConfig):
    """What methods with a reference share.

    Attributes:
        beta: how dear it is to leave the reference.
        start: "augmented": s = s_ref + a net that starts at 0; "scratch": a net that knows s_ref from its loss only.
        reference: what s_ref is, trained before: any ranker or method (reference_choice.py); by default the ranker,
            loss and training of the method itself, on the first objective. What `fit` is given comes before it.
        controls: lambda after training, s_ref + lambda (s - s_ref); the one with the best validation measure is kept.
        reference_epochs: of the reference ranker, where the method trains its own; None: those of `training`.
    """

    beta: float = 1.0
    start: Literal["augmented", "scratch"] = "augmented"
    controls: tuple[float, ...] = (1.0, 4.0, 16.0, 64.0)
    reference_epochs: int | None = None  # None stays out of tables: configs keep the hash they had
    reference: ReferenceChoice | None = None  # None stays out of tables: configs keep the hash they had

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
    """A child writes `_train(context)`, and `terms`: the scores before any control.

    `memory["control"]` is the lambda that was chosen; `score(..., control=...)` takes another.
    """

    config: ReferenceConfig
    _dispersion: Mapping[str, float] = MappingProxyType({})

    @abstractmethod
    def _train(self, context: FitContext) -> int:
        """Fills `models`; returns how many trainings it ran."""

    def _loss(self) -> PreferenceLoss:
        return self._by_gain(dpo(self.config.loss, beta=self.config.beta, **self.config.loss_params))

    def _by_gain(self, loss: PreferenceLoss) -> PreferenceLoss:
        """With the scale of a dispersion by query, too, where the loss has one and was not told it."""
        return replace(super()._by_gain(loss), params={**self._dispersion, **loss.params})

    def _agreement(self, context: FitContext) -> dict[str, float]:
        """`dispersion_scale` of MallowsPO with a dispersion by query: 1 / mean(-log entropy) over the training lists
        (of labels: and objectives), so that beta keeps its meaning."""
        params, train = self.config.loss_params, context.train
        of, grades = params.get("dispersion"), params.get("grades", 5)
        if of == "reference":
            columns = [context.references[0]]
        elif of == "labels":
            columns = list(np.asarray(train.labels).T)
        else:
            return {}
        where = torch.arange(int(train.lengths.max())) < torch.as_tensor(np.asarray(train.lengths))[:, None]
        found = []
        for column in columns:
            lists = torch.zeros(where.shape).masked_scatter_(where, torch.tensor(column, dtype=torch.float32))
            if of == "labels":
                entropy = label_entropy(lists, where, grades=grades)
            else:
                entropy = reference_entropy(lists, where, temperature=params.get("entropy_temperature", 1.0))
            found.append(dispersion_index(entropy))
        return {"dispersion_scale": 1 / torch.stack(found).mean().item()}

    @property
    def control(self) -> float:
        """lambda, as it was chosen."""
        return self.memory["control"]

    def _plain(self, split: Split, preferences: np.ndarray, s_ref, **options):
        """A tensor where the nets are; `s_ref` is an array or a tensor."""
        terms = [self.terms(w, **options) for w in preferences]
        return combined(terms, split, s_ref=self._here(s_ref), augmented=self.config.augmented)

    def _fit(self, context: FitContext) -> int:
        self._dispersion = self._agreement(context)
        trained = self._train(context)
        controls = self.config.controls
        control = controls[0]
        if len(controls) > 1 and context.vali is not None:
            s_ref = context.references[1]
            moved = on_host(self._plain(context.vali, context.preferences, s_ref)) - s_ref
            measure = ValidationMeasures(context.measures, context.vali)
            reached = [weighted_mean(measure(s_ref + x * moved), context.preferences) for x in controls]
            control = controls[int(np.argmax(reached))]
        self.memory = {**self.memory, "control": float(control)}
        return trained

    def _score(self, split: Split, preferences: np.ndarray, *, control: float | None = None, **options):
        s_ref = self._reference(split)
        moved = self._plain(split, preferences, s_ref, **options) - s_ref
        return s_ref + float(np.float32(self.control if control is None else control)) * moved


def train_plain(
    method: Method, context: FitContext, criterion, preferences: np.ndarray, name: str, quality=None
) -> ConditionedRanker:
    """One plain net of the method's config for the preferences `[1, objective]`, chosen by `quality` at them.

    All trainings of a fit have the seed of the fit: the same first weights and the same data order.
    """
    own = {"criterion": criterion, "preferences": preferences, **_options(method, context, quality)}
    return context.fit_conditioned(_plain_net(method, context), name, **own)


def train_each(
    method: Method, context: FitContext, criteria: Sequence, preferences: np.ndarray, name: str, quality=None
) -> list[ConditionedRanker]:
    """A plain net for each criterion and preference `[objective]`: stacked where the method's config and the criteria
    allow it, else one `train_plain` after another.
    """
    if not (method.config.stacked and can_stack(criteria)):
        return [
            train_plain(method, context, criterion, w[None], f"{name}{i}", quality)
            for i, (criterion, w) in enumerate(zip(criteria, preferences, strict=True))
        ]
    return fit_stacked(
        [_plain_net(method, context) for _ in criteria],
        context.train,
        context.vali,
        criterion=StackedCriterion(criteria),
        measures=context.measures,
        preferences=preferences,
        folder=context.folder and context.folder / f"{name}s",
        progress=context.progress,
        accelerator=context.accelerator,
        **_options(method, context, quality),
    )


def _plain_net(method: Method, context: FitContext) -> ConditionedRanker:
    c = method.config
    start: Any = getattr(c, "start", "scratch")
    return ConditionedRanker(
        c.ranker,
        c.ranker_params,
        ConditioningConfig(kind="none", start=start),
        c.training,
        scale=1 / c.beta if start == "augmented" else 1.0,
        seed=context.seed,
    )


def _options(method: Method, context: FitContext, quality) -> dict[str, Any]:
    c = method.config
    options: dict[str, Any] = {"references": context.references}
    if quality is not None:
        options["quality"] = quality
    if getattr(c, "start", "scratch") == "augmented":
        options["weights"] = context.weights
    return {"controls": getattr(c, "controls", (1.0,)), **options}
