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

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from ltr.datasets.batching.batches import Batches
from ltr.errors import InputError
from ltr.objectives import scalarisation
from ltr.types import Batch, Split

from .base import METHODS, FitContext, Method, MethodConfig
from .criteria import Criterion, Fixed, Importance, OneLabel, Scalarised, objective_values
from .reference import ReferenceConfig, ReferenceMethod, train_each

__all__ = ["DPOLS", "EachConfig", "OneEach", "balance", "payoff"]

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


def payoff(method: Method, context: FitContext) -> tuple[np.ndarray, np.ndarray]:
    """Ideal point and spread of the training losses, `[objective]` each, from one model an objective.

    On lists cut as training cuts them: the loss of a list grows with its length, and an ideal point of whole lists
    would lie above everything that training sees.
    """
    c, m = method.config, len(context.objectives)
    loss = method._loss()
    rows, corners = [], np.eye(m)
    alone = train_each(method, context, [Importance(loss, Fixed(tuple(w))) for w in corners], corners, "alone")
    for ranker, w in zip(alone, corners, strict=True):
        total, number = torch.zeros(m, dtype=torch.float64), 0
        scores = torch.from_numpy(np.append(ranker.score(context.train, w[None])[0], np.float32(0)))
        for batch in _batches(context.train, c.training.list_size, context.seed):
            given = (scores[batch.document].unsqueeze(1), batch.labels, batch.where)
            values, counted = objective_values(loss, *given, weights=batch.weights)
            total = total + values.squeeze(1).where(counted, 0.0).sum(0).double()
            number += int(counted.any(-1).sum())
        rows.append(np.asarray(total) / max(number, 1))
    table = np.array(rows)
    ideal, spread = table.min(0), table.max(0) - table.min(0)
    if not (spread > 0).all():
        same = [name for name, differs in zip(context.objectives, spread > 0, strict=True) if not differs]
        what = f"the objectives do not differ: every model is as good as the others by {', '.join(same)}"
        raise InputError(what, came=table.tolist(), do="Leave out an objective without relevant documents.")
    return ideal, spread


def _batches(split: Split, list_size: int | None, seed: int) -> Iterator[Batch]:
    """Labels only (the features were scored already), of as many epochs as make the sampled documents no matter."""
    bare = replace(split, features=np.zeros((split.n_documents, 1), np.float32))
    batches = Batches(bare, list_size=list_size, seed=seed)
    for epoch in range(_EPOCHS if list_size is not None and (split.lengths > list_size).any() else 1):
        batches.set_epoch(epoch)
        yield from batches


class OneEach(Method):
    """A plain net for every preference; a child writes `make`.

    Attributes:
        judge: quality that selects the epoch; None: the weighted sum of the measures.
        normalised: whether the pay-off table is made first, into `memory`.
    """

    judge: Callable[[np.ndarray, np.ndarray], float] | None = None
    normalised: bool = False

    @abstractmethod
    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        """What the model of preference w descends."""

    def _fit(self, context: FitContext) -> int:
        extra = self._payoff(context)
        criteria = [self.make(context, w) for w in context.preferences]
        self.models = train_each(self, context, criteria, context.preferences, "model", self.judge)
        return extra + len(self.models)

    def _payoff(self, context: FitContext) -> int:
        """Remembers the pay-off table, where there is to be one; how many trainings it took."""
        if not self.normalised:
            return 0
        ideal, spread = payoff(self, context)
        self.memory = {"ideal": ideal.tolist(), "spread": spread.tolist()}
        return len(ideal)

    def _scale(self) -> dict[str, Any]:
        return {"ideal": tuple(self.memory["ideal"]), "spread": tuple(self.memory["spread"])} if self.normalised else {}


class LS(OneEach):
    """Linear scalarisation; with `stochastic` labels, in expectation."""

    stochastic = False

    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        return (OneLabel if self.stochastic else Importance)(self._loss(), Fixed(tuple(w)))


class SLA(LS):
    """Stochastic label aggregation."""

    stochastic = True


class Chebyshev(OneEach):
    """A scalarisation of normalised losses that asks for balance."""

    normalised = True
    judge = staticmethod(balance)

    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        function = scalarisation(self.name, len(w), **self.config.rule)
        return Scalarised(self._loss(), Fixed(tuple(w)), function, **self._scale())


class EpsilonConstraint(OneEach):
    """The first objective under bounds 1 - w_k (at least .01) on the normalised losses of the others."""

    normalised = True

    def make(self, context: FitContext, w: np.ndarray) -> Criterion:
        bounds = tuple(float(max(1 - each, 0.01)) for each in w[1:])
        function = scalarisation("epsilon-constraint", len(w), bounds=bounds, **self.config.rule)
        return Scalarised(self._loss(), Fixed(tuple(w)), function, **self._scale())


class DPOLS(ReferenceMethod):
    """Linear scalarisation of list losses on beta (s - s_ref), one net a preference."""

    def _train(self, context: FitContext) -> int:
        criteria = [self._criterion(Fixed(tuple(w))) for w in context.preferences]
        self.models = train_each(self, context, criteria, context.preferences, "model")
        return len(self.models)

    def _criterion(self, source: Fixed) -> Criterion:
        return Importance(self._loss(), source)


_BALANCE = {"means": "balance", "payoff": True}
for _name, _class, _formula, _source, _more in (
    ("ls", LS, "sum_k w_k l_k", "weighted sum", {}),
    ("dpo-ls", DPOLS, "sum_k w_k CE(z^k, softmax(beta (s - s_ref)))", "baseline of 2410.08316", {"base": True}),
    ("sla", SLA, "l_k, k ~ Categorical(w) a list and step", "Carmel et al., WWW 2020", {}),
    ("chebyshev", Chebyshev, "max_k w_k l~_k", "weighted Chebyshev", _BALANCE),
    ("smooth-chebyshev", Chebyshev, "mu log sum_k exp(w_k l~_k / mu)", "Lin et al., ICML 2024, 2402.19078", _BALANCE),
    (
        "epsilon-constraint",
        EpsilonConstraint,
        "l~_1 s.t. l~_k <= 1 - w_k",
        "Momma et al., WWW 2020",
        {"payoff": True, "corners": 0.6},  # a bound has no corner: its multiplier must first grow
    ),
):
    _shared: dict[str, Any] = {"preference": "fixed", "models": "preference"}
    _config = ReferenceConfig if _more.get("base") else EachConfig
    METHODS.register(_name, formula=_formula, source=_source, config=_config, **(_shared | _more))(_class)
