"""What a step of training several objectives descends: list losses, preferences, and how the two meet.

A criterion draws the preferences of a step, turns scores `[batch, preference, list]` into one number (or into one loss
an objective, where an aggregator combines their gradients), and walks back. `ConditionedModule` calls it.

    Importance    mean over lists and preferences of sum_k w_k l_k        HyperDPO, LS, DPO-LS, YOTO
    OneLabel      the same with one k ~ Categorical(w) a list             SLA
    Scalarised    f(l_1 ... l_m; w) of the batch's mean losses            Chebyshev, COSMOS, epsilon-constraint, UW ...
    Aggregated    sum_k a_k g_k, a made of the gradients                  EPO, WC-MGDA, MGDA, PCGrad ...
    Margins       the loss of one objective, the others as margins        MODPO

Blank objectives drop out of their list and their weight is lost (`objectives/targets.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ltr.errors import InputError
from ltr.losses.base import counts
from ltr.losses.preference.base import PreferenceLoss, dpo, preference_entry
from ltr.losses.preference.modpo import log_targets, margin_rewards, standardise
from ltr.objectives import backward, dirichlet, list_targets, mean_losses, weighted_sum
from ltr.objectives.aggregators import Aggregator
from ltr.objectives.scalarisations import Scalarisation

__all__ = [
    "Aggregated",
    "Combined",
    "Criterion",
    "Dirichlet",
    "Fixed",
    "Importance",
    "LogUniform",
    "Margins",
    "ObjectiveLoss",
    "OneLabel",
    "Scalarised",
    "by_gain",
    "loss_of",
    "objective_values",
]


# ------------------------------------------------------------------------------------------ where preferences come from


@dataclass(frozen=True)
class Fixed:
    """Always this preference."""

    preference: tuple[float, ...]

    def draw(self, lists: int, generator: torch.Generator) -> Tensor:
        return torch.tensor([self.preference], device=generator.device)


@dataclass(frozen=True)
class Dirichlet:
    """w ~ Dir(alpha).

    Attributes:
        alpha: concentration; below 1 favours corners.
        objectives: m.
        number: preferences drawn at once, K.
        by_list: K draws for each list, instead of K for all lists of the step.
    """

    alpha: float
    objectives: int
    number: int = 1
    by_list: bool = True

    def draw(self, lists: int, generator: torch.Generator) -> Tensor:
        size = (lists, self.number) if self.by_list else (self.number,)
        return dirichlet(self.alpha, self.objectives, size, generator=generator)


@dataclass(frozen=True)
class LogUniform:
    """w proportional to e^x, x uniform between log(low) and 0: YOTO's sampling of loss weights, normalised."""

    low: float
    objectives: int
    number: int = 1
    by_list: bool = True

    def draw(self, lists: int, generator: torch.Generator) -> Tensor:
        size = (lists, self.number) if self.by_list else (self.number,)
        x = torch.rand(*size, self.objectives, generator=generator, device=generator.device)
        w = self.low ** (1 - x)
        return w / w.sum(-1, keepdim=True)


# ----------------------------------------------------------------------------------------------------------- the losses


@dataclass(frozen=True)
class ObjectiveLoss(PreferenceLoss):
    """One list loss for objectives that differ in what their labels are worth, or have a loss of their own.

    Attributes:
        gains: "exp2" or "linear", one an objective; empty: the loss's own.
        own: a loss of the catalogue in place of this one, with its defaults, one an objective; empty where this counts.
    """

    gains: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def of(self, k: int) -> PreferenceLoss:
        """The loss of objective k."""
        if self.own and self.own[k]:
            return dpo(self.own[k], **{key: x for key, x in self.params.items() if key == "beta"})
        return PreferenceLoss(self.name, {**self.params, **({"gain": self.gains[k]} if self.gains else {})})

    def __repr__(self) -> str:
        said = [f"with gains {', '.join(self.gains)}"] if self.gains else []
        said += [f"or {name} of objective {k}" for k, name in enumerate(self.own) if name]
        return " ".join([super().__repr__(), *said])


def by_gain(loss: PreferenceLoss, gains: Sequence[str], own: Sequence[str] = ()) -> PreferenceLoss:
    """The loss with the gain of each objective, or its own; itself where all are exp2, or it takes none or was told."""
    takes = "gain" in preference_entry(loss.name).parameters and loss.params.get("target", "gain") == "gain"
    gains = () if not takes or "gain" in loss.params or set(gains) == {"exp2"} else tuple(gains)
    return ObjectiveLoss(loss.name, loss.params, gains, tuple(own)) if gains or any(own) else loss


def loss_of(loss: PreferenceLoss, k: int) -> PreferenceLoss:
    """The loss of objective k, where they differ and where they do not."""
    return loss.of(k) if isinstance(loss, ObjectiveLoss) else loss


def objective_values(
    loss: PreferenceLoss,
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    *,
    reference: Tensor | None = None,
    beta: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    by_objective: bool = False,
) -> tuple[Tensor, Tensor]:
    """Losses of every objective `[batch, preference, objective]`, and which lists count for it `[batch, objective]`.

    Args:
        loss: its value on a list, and which lists it needs.
        scores: `[batch, preference, list]`.
        labels: `[batch, list, objective]`.
        where: `[batch, list]`.
        reference: s_ref `[batch, list]`.
        beta: in place of the loss's own: `[preference]` or `[batch, preference]`, or with a last axis `[objective]`
            where `by_objective`.
        weights: of the documents, `[batch, list]`, as the loss takes them.
        generator: of a loss that draws.
        by_objective: every objective has its own beta.
    """
    seen = where.unsqueeze(1).expand_as(scores)
    told = {"reference": reference, "weights": weights}
    given = {key: x.unsqueeze(1).expand_as(scores) for key, x in told.items() if x is not None}
    each: list[dict[str, Tensor]] = [{}] * labels.shape[-1]
    if beta is not None:
        betas = beta.unbind(-1) if by_objective else [beta] * len(each)
        each = [{"beta": b.expand(scores.shape[:-1])} for b in betas]
    values = [
        loss_of(loss, k)(scores, y.unsqueeze(1).expand_as(scores), seen, generator=generator, **given, **each[k])
        for k, y in enumerate(labels.unbind(-1))
    ]
    counted = torch.stack([counts(y, where, loss_of(loss, k).needs) for k, y in enumerate(labels.unbind(-1))], -1)
    return torch.stack(values, -1), counted


class Criterion(nn.Module, ABC):
    """Base. A child writes `forward`.

    Args:
        loss: list loss of every objective.
        source: where preferences come from.
        betas: draw beta log-uniformly between these two, anew with every preference; None: the loss's own.
        by_objective: draw one an objective.
    """

    looks_back = False

    def __init__(
        self,
        loss: PreferenceLoss | None,
        source: Any,
        betas: tuple[float, float] | None = None,
        by_objective: bool = False,
    ):
        super().__init__()
        self.loss: Any = loss
        self.source, self.betas, self.by_objective = source, betas, by_objective

    @property
    def passes(self) -> float:
        """How often a step sends the documents through the net, forward and backward, per preference it draws."""
        return 4 / 3 if self.looks_back else 1.0  # the look back is another way forward, a third of a pass

    def draw(self, labels: Tensor, where: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Preferences of a step, and beta; what they are drawn from may look at the lists, but for RiC nothing does."""
        w = self.source.draw(len(where), generator)
        if self.betas is None:
            return w, None
        low, high = self.betas
        size = w.shape if self.by_objective else w.shape[:-1]
        x = torch.rand(size, generator=generator, device=generator.device)
        return w, low * (high / low) ** x

    @abstractmethod
    def forward(
        self, scores, labels, where, preferences, *, beta=None, reference=None, weights=None, generator=None
    ) -> Tensor:
        """The number to descend; arguments as of `objective_values`, preferences `[batch, preference, objective]`."""

    def backward(
        self, losses: Tensor, scores: Tensor, preferences: Tensor, parameters: Iterable[Tensor], generator
    ) -> None:
        """Writes `.grad`."""
        losses.backward()

    def objectives(self, scores, labels, where, *, reference=None, weights=None, generator=None) -> Tensor:
        """l_k of the batch, `[objective]`, for one preference a step."""
        options = {"reference": reference, "weights": weights, "generator": generator}
        values, counted = objective_values(self.loss, scores, labels, where, **options)
        return mean_losses(values.squeeze(1), counted)

    def update(self, after: Tensor | None) -> None:
        """Called when the step was made; `after` are the losses after it, where `looks_back`."""

    def extra_repr(self) -> str:
        own = ", one an objective" if self.by_objective else ""
        return f"{self.loss!r}, {self.source!r}, betas={self.betas}{own}"


class Combined(Criterion):
    """Base of those that combine the loss of every objective; a child writes `combine`."""

    def forward(
        self, scores, labels, where, preferences, *, beta=None, reference=None, weights=None, generator=None
    ) -> Tensor:
        options = {"reference": reference, "weights": weights, "beta": beta, "generator": generator}
        values, counted = objective_values(self.loss, scores, labels, where, **options, by_objective=self.by_objective)
        return self.combine(values, counted, preferences, generator)

    @abstractmethod
    def combine(self, values: Tensor, counted: Tensor, preferences: Tensor, generator=None) -> Tensor:
        """The number to descend, from what `objective_values` gave."""


class Importance(Combined):
    """sum_k w_k l_k, every list with its own preferences where they differ."""

    def combine(self, values, counted, preferences, generator=None) -> Tensor:
        total = weighted_sum(values, preferences, counted.unsqueeze(1)).sum()
        return total / (counted.any(-1).sum() * values.shape[1]).clamp(min=1)


class OneLabel(Combined):
    """Stochastic label aggregation (Carmel et al., WWW 2020): each list learns one objective, drawn with chances w."""

    def combine(self, values, counted, preferences, generator=None) -> Tensor:
        w = preferences.expand(*values.shape[:2], -1)
        k = torch.multinomial(w.flatten(0, 1), 1, generator=generator).view(*values.shape[:2], 1)
        total = values.where(counted.unsqueeze(1), 0.0).gather(-1, k).sum()
        # The divisor of the weighted sum, for the same expectation: a list on which any objective counts.
        return total / (counted.any(-1).sum() * values.shape[1]).clamp(min=1)


class Scalarised(Combined):
    """f(l; w), l the mean losses of the batch, measured from an ideal point in units of the pay-off spread.

    Args:
        function: a `Scalarisation`.
        ideal, spread: l_k counts as (l_k - ideal_k) / spread_k; None leaves it alone.
    """

    def __init__(self, loss, source, function: Scalarisation | Aggregator, ideal=None, spread=None):
        super().__init__(loss, source)
        self.function: Any
        self.function, self.ideal, self.spread = function, ideal, spread
        self.looks_back = bool(function.entry.claims.get("looks_back", False))
        self.last: Tensor | None = None

    def normalised(self, losses: Tensor) -> Tensor:
        if self.ideal is None:
            return losses
        scaled = (losses - losses.new_tensor(self.ideal)) / losses.new_tensor(self.spread)
        # A batch may do better than the ideal of the whole split. What needs positive losses must not see that, and it
        # must not stop learning either: the gradient of a clamped loss is 0 for good where all batches lie below.
        return scaled.where(scaled > 1e-3, 1e-3 + (scaled - scaled.detach()))

    def objectives(self, *given, **options) -> Tensor:
        return self.normalised(super().objectives(*given, **options))

    def combine(self, values, counted, preferences, generator=None) -> Tensor:
        each = torch.stack([mean_losses(v, counted) for v in values.unbind(1)])  # [preference, objective]
        each = self.normalised(each)
        self.last = each.detach().mean(0)
        w = preferences if self.function.entry.claims["preference"] == "steers" else None
        if w is not None and w.dim() == 3:
            raise InputError("the losses of a batch are scalarised with one preference for all of its lists")
        return self.function(each, w, generator=generator).mean()

    def update(self, after: Tensor | None) -> None:
        self.function.update(self.last, after)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, ideal={self.ideal}, spread={self.spread}"


class Aggregated(Scalarised):
    """The gradients of l_1 ... l_m, combined by an aggregator; one preference a step.

    Args:
        function: an `Aggregator`.
        space: "scores" or "parameters", where the gradients are compared.
    """

    # EPO's balance has no direction at a weight of 0, and its descent would go anywhere.
    FLOORS = {"epo": 0.01}

    def __init__(self, loss, source, function: Aggregator, space: str = "scores", ideal=None, spread=None):
        super().__init__(loss, source, function, ideal, spread)
        self.space, self.floor = space, self.FLOORS.get(function.entry.name, 0.0)

    def forward(
        self, scores, labels, where, preferences, *, beta=None, reference=None, weights=None, generator=None
    ) -> Tensor:
        if scores.shape[1] != 1:
            raise InputError("an aggregator steps for one preference", came=scores.shape[1])
        return self.objectives(scores, labels, where, reference=reference, weights=weights, generator=generator)

    def backward(self, losses, scores, preferences, parameters, generator) -> None:
        w = None
        if self.function.entry.claims["preference"] in ("steers", "optional"):
            w = preferences.reshape(-1).clamp(min=self.floor)
            w = w / w.sum()
        backward(losses, scores, parameters, self.function, w, space=self.space, generator=generator)

    @property
    def passes(self) -> float:
        m = self.function.objectives
        return super().passes + (2 * (m - 1) / 3 if self.space == "parameters" else 0.0)  # m ways back

    def update(self, after: Tensor | None) -> None:
        """Aggregators remember by themselves."""

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, space={self.space}"


class Margins(Criterion):
    """MODPO (2310.03708): one objective is learned, the others speak as margins.

    Args:
        loss: modpo (pairs) or modpo-list.
        rewards: what the others say: "targets" log z^l of the loss's own target, "labels", standardised per list, or
            "models": what stands in further columns of the labels, behind those of the objectives, one for each.
        eps: added to targets that hold zeros.
        main: index of the objective that is learned; None: the one with the largest weight, so that the loss, divided
            by that weight, never explodes.
        gains: of targets, one an objective; None: those of the loss.
    """

    def __init__(self, loss, source: Fixed, rewards="targets", eps: float = 1e-3, main: int | None = None, gains=None):
        super().__init__(loss, source)
        self.rewards, self.eps, self.main, self.gains = rewards, eps, main, gains

    def forward(
        self, scores, labels, where, preferences, *, beta=None, reference=None, weights=None, generator=None
    ) -> Tensor:
        w = preferences.reshape(-1)
        main = int(w.argmax()) if self.main is None else self.main
        labels, told = labels[..., : len(w)], labels[..., len(w) :]
        if self.rewards == "models":
            rewards = told
        elif self.rewards == "labels":
            rewards = standardise(labels.mT, where.unsqueeze(-2)).mT
        else:
            kind, eps = (self.loss.params.get(key, default) for key, default in (("target", "gain"), ("eps", 0.0)))
            temperature = self.loss.params.get("temperature", 1.0)
            gains = self.gains or getattr(self.loss, "gains", self.loss.params.get("gain") or "exp2")
            z = list_targets(labels, where, kind, gain=gains, eps=eps, temperature=temperature)
            zeros = kind == "lin" or (kind == "gain" and eps == 0)
            rewards = log_targets(z.mT, where.unsqueeze(-2), eps=self.eps if zeros else 0.0).mT
        y, s = labels[..., main], scores[:, 0]
        margins = margin_rewards(rewards, w, main)
        options = {"reference": reference, "margins": margins, "weights": weights, "generator": generator}
        loss = loss_of(self.loss, main)
        return loss.reduce(loss(s, y, where, share=w[main], **options), y, where)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rewards={self.rewards}, eps={self.eps}, main={self.main}"
