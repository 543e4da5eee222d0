"""One model a preference: the losses of the objectives become one number, which a plain net descends.

    ls                   sum_k w_k l_k
    dpo-ls               the same with list losses on beta (s - s_ref)
    sla                  the same in expectation: one label a list, drawn with chances w
    chebyshev            max_k w_k l~_k
    smooth-chebyshev     mu log sum_k exp(w_k l~_k / mu)
    epsilon-constraint   l~_1 subject to l~_k <= 1 - w_k for the others

l~ is l measured from the ideal point in units of the pay-off spread: m models of one objective each are trained first,
l~_k is 0 for the best of them on objective k and 1 for the worst. Without it a floor all losses share (the entropy of
the targets) would drown what a preference for balance asks for. Those m trainings count as trained models.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.rankers.ensembles.stacked import fleet_scores
from ltr.types import Batch, Split

from .base import METHODS, Method, MethodConfig, Work
from .reference import ReferenceConfig, ReferenceMethod, train_each

__all__ = ["DPOLS", "EachConfig", "OneEach", "balance", "model_of", "payoff"]

_EPOCHS = 8  # of drawn documents in a mean loss; nothing is trained or scored for them


@dataclass(frozen=True)
class EachConfig(MethodConfig):
    """Settings of one training, repeated for every preference.

    Attributes:
        rule: parameters of the scalarisation or aggregator, e.g. mu of smooth-chebyshev.
    """

    rule: dict[str, Any] = field(default_factory=dict)


def balance(values: np.ndarray, preferences: np.ndarray) -> float:
    """- max_k w_k (1 - v_k), mean over preferences: what selects where w asks for balance."""
    return float(-np.nanmax(preferences * (1 - values), axis=1).mean())


def model_of(method: Method, preferences: np.ndarray) -> list[int]:
    """Which model each preference has, for methods that train one for each.

    Raises:
        InputError: a preference that `fit` was not given.
    """
    found = []
    for w in preferences:
        distance = np.abs(method.preferences - w).max(1)
        nearest = int(distance.argmin())
        if distance[nearest] > 1e-6:
            raise InputError(
                f"method {method.name!r} has one model a preference, and none for this one",
                came=w.tolist(),
                do=f"Give it to fit, or take the nearest: {method.preferences[nearest].round(6).tolist()}",
            )
        found.append(nearest)
    return found


def _score_each(method: Method, split: Split, preferences: np.ndarray, s_ref=None):
    which = model_of(method, preferences)
    return fleet_scores([method.models[i] for i in which], split, reference=s_ref)


def payoff(method: Method, work: Work) -> tuple[np.ndarray, np.ndarray]:
    """Ideal point and spread of the training losses, `[objective]` each, from one model an objective.

    On lists cut as training cuts them: the loss of a list grows with its length, and an ideal point of whole lists
    would lie above everything that training sees.
    """
    import torch

    from ltr.losses.preference.base import preference_loss

    from .criteria import Fixed, Importance, objective_values

    c, m = method.config, len(work.objectives)
    loss = method._by_gain(preference_loss(f"{c.loss}-dpo", **c.loss_params))
    table, corners = [], np.eye(m)
    alone = train_each(method, work, [Importance(loss, Fixed(tuple(w))) for w in corners], corners, "alone")
    for ranker, w in zip(alone, corners, strict=True):
        total, number = 0.0, 0
        scores = torch.from_numpy(np.append(ranker.score(work.train, w[None])[0], np.float32(0)))
        for batch in _batches(work.train, c.training.list_size, work.seed):
            values, heard = objective_values(loss, scores[batch.document].unsqueeze(1), batch.labels, batch.where)
            total = total + values.squeeze(1).where(heard, 0.0).sum(0).double()
            number += int(heard.any(-1).sum())
        table.append(np.asarray(total) / max(number, 1))
    table = np.array(table)
    ideal, spread = table.min(0), table.max(0) - table.min(0)
    if not (spread > 0).all():
        raise InputError("the objectives do not differ: a model of one is the best of another", came=table.tolist())
    return ideal, spread


def _batches(split: Split, list_size: int | None, seed: int) -> Iterator[Batch]:
    """Labels only (the features were scored already), of as many epochs as make the sampled documents no matter."""
    from dataclasses import replace

    from ltr.datasets.batching.batches import Batches

    bare = replace(split, features=np.zeros((split.n_documents, 1), np.float32))
    batches = Batches(bare, list_size=list_size, seed=seed)
    for epoch in range(_EPOCHS if list_size is not None and (split.lengths > list_size).any() else 1):
        batches.set_epoch(epoch)
        yield from batches


class OneEach(Method):
    """A plain net for every preference.

    Args:
        make: `make(method, work, w)` -> the criterion of preference w.
        judge: quality that selects the epoch; None: the weighted sum of the measures.
        normalised: whether the pay-off table is made first, into `memory`.
    """

    make: Callable[..., Any]
    judge: Callable[[np.ndarray, np.ndarray], float] | None = None
    normalised: bool = False

    def _fit(self, work: Work) -> int:
        extra = 0
        if self.normalised:
            ideal, spread = payoff(self, work)
            self.memory, extra = {"ideal": ideal.tolist(), "spread": spread.tolist()}, len(work.objectives)
        criteria = [self.make(work, w) for w in work.preferences]
        self.models = train_each(self, work, criteria, work.preferences, "model", self.judge)
        return extra + len(self.models)

    def _score(self, split: Split, preferences: np.ndarray):
        return _score_each(self, split, preferences)

    def _loss(self):
        from ltr.losses.preference.base import preference_loss

        return self._by_gain(preference_loss(f"{self.config.loss}-dpo", **self.config.loss_params))

    def _scale(self) -> dict[str, Any]:
        return {"ideal": tuple(self.memory["ideal"]), "spread": tuple(self.memory["spread"])} if self.normalised else {}


class LS(OneEach):
    """Linear scalarisation; with `stochastic` labels, in expectation."""

    stochastic = False

    def make(self, work: Work, w: np.ndarray):
        from .criteria import Fixed, Importance, OneLabel

        return (OneLabel if self.stochastic else Importance)(self._loss(), Fixed(tuple(w)))


class SLA(LS):
    """Stochastic label aggregation."""

    stochastic = True


class Chebyshev(OneEach):
    """A scalarisation of normalised losses that asks for balance."""

    normalised = True
    judge = staticmethod(balance)

    def make(self, work: Work, w: np.ndarray):
        from ltr.objectives import scalarisation

        from .criteria import Fixed, Scalarised

        function = scalarisation(self.name, len(w), **self.config.rule)
        return Scalarised(self._loss(), Fixed(tuple(w)), function, **self._scale())


class EpsilonConstraint(OneEach):
    """The first objective under bounds 1 - w_k (at least .01) on the normalised losses of the others."""

    normalised = True

    def make(self, work: Work, w: np.ndarray):
        from ltr.objectives import scalarisation

        from .criteria import Fixed, Scalarised

        bounds = tuple(float(max(1 - each, 0.01)) for each in w[1:])
        function = scalarisation("epsilon-constraint", len(w), bounds=bounds, **self.config.rule)
        return Scalarised(self._loss(), Fixed(tuple(w)), function, **self._scale())


class DPOLS(ReferenceMethod):
    """Linear scalarisation of list losses on beta (s - s_ref), one net a preference."""

    def _train(self, work: Work) -> int:
        from .criteria import Fixed

        criteria = [self._criterion(Fixed(tuple(w))) for w in work.preferences]
        self.models = train_each(self, work, criteria, work.preferences, "model")
        return len(self.models)

    def _criterion(self, source):
        from ltr.losses.preference.base import dpo

        from .criteria import Importance

        loss = dpo(self.config.loss, beta=self.config.beta, **self.config.loss_params)
        return Importance(self._by_gain(loss), source)

    def _plain(self, split: Split, preferences: np.ndarray, s_ref):
        return _score_each(self, split, preferences, s_ref if self.config.augmented else None)


def _register(name: str, cls: type, formula: str, source: str, means: str, config: type = EachConfig) -> None:
    @METHODS.register(
        name,
        formula=formula,
        source=source,
        config=config,
        steers="fitted",
        means=means,
        base=issubclass(config, ReferenceConfig),
    )
    def make(config, **options) -> Method:
        return cls(name, config, **options)


_register("ls", LS, "sum_k w_k l_k", "weighted sum", "importance")
_register(
    "dpo-ls",
    DPOLS,
    "sum_k w_k CE(z^k, softmax(beta (s - s_ref)))",
    "baseline of 2410.08316",
    "importance",
    ReferenceConfig,
)
_register("sla", SLA, "l_k, k ~ Categorical(w) a list and step", "Carmel et al., WWW 2020", "importance")
_register("chebyshev", Chebyshev, "max_k w_k l~_k", "weighted Chebyshev", "balance")
_register(
    "smooth-chebyshev", Chebyshev, "mu log sum_k exp(w_k l~_k / mu)", "Lin et al., ICML 2024, 2402.19078", "balance"
)
_register("epsilon-constraint", EpsilonConstraint, "l~_1 s.t. l~_k <= 1 - w_k", "Momma et al., WWW 2020", "importance")
