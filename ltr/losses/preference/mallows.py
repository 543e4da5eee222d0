"""Mallows models: how much a query's preferences agree, and losses that listen to it.

    P(mu) ~ phi^d(mu, mu_0)        phi in (0, 1) the dispersion of a query, 1: no consensus        MallowsPO, 2405.14953

Every loss here takes `dispersion` D = -2 log phi, a number or one `[...]` a list: 1 is DPO (phi = e^{-1/2}), more means
more agreement. Two words make it of the query itself, by `dispersion_index`:

    dispersion="reference"   of the entropy of softmax(s_ref / entropy_temperature) over the list
    dispersion="labels"      of the entropy of the list's grades, of which the data set has `grades`

`dispersion_scale` is 1 / mean(-log entropy) over the training queries, for D around 1; methods find it themselves. The
model, its two forms and their link are recalled from the paper; what the public code has of them was read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.base import ListLoss, check_choices, own_parameters, signed
from ltr.losses.pairs import logistic, soft_step, sum_by_label

from .base import PREFERENCE_LOSSES, one_each, per_list
from .dpo import ipo_phi
from .pairs import Normalise, Pairs, on_pairs

__all__ = [
    "dispersion_index",
    "kendall_link",
    "label_entropy",
    "log_normaliser",
    "mallows",
    "mallowspo",
    "mallowspo_phi",
    "reference_entropy",
]

Acts = Literal["temperature", "weight"]
Dispersion = float | Tensor | Literal["reference", "labels"]


# ------------------------------------------------------------------------------------------- the dispersion of a query
#
# D = -scale log(entropy), from an entropy in [0, 1]        0: one document takes all, 1: nobody agrees on anything
#
# The public code of MallowsPO uses the mean token entropy of the reference over log |V| and scale .29. In ranking there
# are two: the entropy of the reference scorer over the list, and that of the labels. On long lists the first lies near
# 1, where all D fall toward 0: hence its temperature, and a clamp.


def reference_entropy(reference: Tensor, where: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
    """Entropy of softmax(s_ref / T) over log n, `[...]` in [0, 1]; 1 for a list of one document or none.

    >>> reference_entropy(torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    tensor([1.0000, 0.0022])
    """
    if not temperature > 0:
        raise InputError("reference_entropy needs temperature > 0", came=temperature)
    scores, _, where, _ = ops.lists(reference.detach(), torch.zeros_like(reference), where)
    log_p = ops.log_softmax(scores / temperature, where)
    n = where.sum(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)  # pads hold log p = 0
    return torch.where(n > 1, entropy / n.clamp(min=2).log(), 1.0).clamp(0, 1)


def label_entropy(labels: Tensor, where: Tensor | None = None, *, grades: int) -> Tensor:
    """Entropy of the grades of each list over the logarithm of the number of grades there are, `[...]` in [0, 1].

    Args:
        labels, where: `[..., list]`.
        grades: how many grades the data set has, at least 2 (a list alone cannot know).

    >>> label_entropy(torch.tensor([[0, 0, 1, 1], [2, 2, 2, 2]]), grades=4)
    tensor([0.5000, 0.0000])
    """
    if not grades >= 2:
        raise InputError("label_entropy needs grades >= 2", came=grades)
    labels = ops.exact(labels)
    _, labels, where, _ = ops.lists(torch.zeros_like(labels), labels, where)
    alike = where.sum(-1, keepdim=True) - ops.count_lower(labels, where) - ops.count_lower(-labels, where)
    n = where.sum(-1)
    within = alike.clamp(min=1).to(labels.dtype).log().masked_fill(~where, 0.0).sum(-1)
    return ((n.clamp(min=1).log() - within / n.clamp(min=1)) / math.log(grades)).clamp(0, 1)


def dispersion_index(entropy: Tensor, *, scale: float | Tensor = 1.0, low: float = 0.05, high: float = 0.99) -> Tensor:
    """D = -scale log(entropy clamped to [low, high]), `[...]`, always above 0.

    Args:
        entropy: `[...]` in [0, 1], of `reference_entropy` or `label_entropy`.
        scale: 1 / mean(-log entropy) over the training queries gives an index around 1, which leaves beta its meaning;
            .29 is the constant of the public code (which clamps nothing).
        low, high: 0 < low < high < 1.

    >>> dispersion_index(torch.tensor([0.0, 0.5, 1.0]))
    tensor([2.9957, 0.6931, 0.0101])
    """
    if not 0 < low < high < 1:
        raise InputError("dispersion_index needs 0 < low < high < 1", came=(low, high))
    return -scale * entropy.clamp(low, high).log()


def _mallows(name: str, **facts: Any) -> Callable[[ListLoss], ListLoss]:
    """Decorator: `register_rewards` for `f(u, labels, where, weights, dispersion, ...)`, D a number or `[...]`.

    It takes dispersion and what makes one of the query, as at the top of this file.
    """

    def made(of_dispersion: ListLoss) -> ListLoss:
        own = own_parameters(of_dispersion, ("u", "labels", "where", "weights", "dispersion", "beta"))

        def body(
            u: Tensor,
            labels: Tensor,
            where: Tensor,
            weights: Tensor | None,
            *,
            beta: float | Tensor,
            reference: Tensor | None,
            dispersion: Dispersion = 1.0,
            entropy_temperature: float = 1.0,
            grades: int = 5,
            dispersion_scale: float = 1.0,
            **given: Any,
        ) -> Tensor:
            if isinstance(dispersion, str):
                check_choices({"dispersion": dispersion}, {"dispersion": ("reference", "labels")})
                if dispersion == "labels":
                    entropy = label_entropy(labels, where, grades=grades)
                else:  # without a reference all its scores are equal
                    flat = torch.zeros_like(labels) if reference is None else reference
                    entropy = reference_entropy(flat, where, temperature=entropy_temperature)
                dispersion = dispersion_index(entropy, scale=dispersion_scale)
            if reference is not None:  # the entry leaves it out of u where a loss asks for it
                u = u - per_list(beta, u, "beta") * reference
            return of_dispersion(u, labels, where, weights, dispersion, beta=beta, **given)

        return PREFERENCE_LOSSES.register_rewards(name, **facts)(signed(body, of_dispersion, own, first=True))

    return made


# --------------------------------------------------------------------------------------------------------- on pairs


@_mallows(
    "mallowspo",
    formula="theta: (1/P) sum over pairs of -log sg(D (u_w - u_l)), D = -2 log phi; ipo: (D Delta - 1/(2 beta))^2",
    source="2405.14953; forms as in the code haoxian-chen/MallowsPO, the model [recalled]",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
def mallowspo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    dispersion: float | Tensor,
    *,
    beta: float | Tensor,
    form: Literal["theta", "ipo"] = "theta",
    acts: Acts = "temperature",
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """MallowsPO-theta (Spearman distance): DPO, or IPO, whose steepness is the query's dispersion.

    The public code has beta 10 with length-normalised scores.

    Args:
        weights: multiply the pairs in which their document is the better one.
        dispersion: D > 0, a number or `[...]`; 1 is DPO, -2 log(phi) the paper's, `dispersion_index(H, scale=.29)` the
            code's. "reference" or "labels": of each query, as above.
        form: "theta" logistic, "ipo" squared.
        acts: "temperature" multiplies u, as published: the best scores are s_ref + u*/(beta D), so that a query of
            small D moves further although it pulls less. "weight" multiplies the loss: the best scores stay, the mix
            of queries changes.
        pairs, normalise: as in pairs.py.

    >>> s, y = torch.tensor([1.0, 0.0]), torch.tensor([1, 0])
    >>> mallowspo(s, y), mallowspo(s, y, dispersion=2.0), mallowspo(s, y, dispersion=2.0, acts="weight")
    (tensor(0.3133), tensor(0.1269), tensor(0.6265))
    """
    if acts == "temperature":
        u = per_list(dispersion, u, "dispersion") * u
    phi = logistic if form == "theta" else ipo_phi
    value = on_pairs(u, labels, where, weights, phi, pairs=pairs, normalise=normalise)
    if form == "ipo":  # ((D u - 1/2) / beta)^2
        value = value / one_each(beta, u, "beta") ** 2
    return value * one_each(dispersion, u, "dispersion") if acts == "weight" else value


def _log_tail(t: Tensor, decay: Tensor | float) -> tuple[Tensor, Tensor]:
    """log Q(t) and its slope for t >= 1: the chance that a document t places below another is ranked above it.

    Q(t) = k(t) - k(t+1) with k(t) = t / (e^{decay t} - 1): a difference of terms of one size, taken in logarithms.
    """

    def log_k(t: Tensor) -> tuple[Tensor, Tensor]:
        x = decay * t
        rest = -torch.expm1(-x)
        return t.log() - x - rest.log(), 1 / t - decay / rest

    (now, slope_now), (then, slope_then) = log_k(t), log_k(t + 1)
    ratio = torch.exp(then - now)
    fall = -torch.expm1(then - now)
    return now + fall.log(), (slope_now - ratio * slope_then) / fall


def kendall_link(t: Tensor, dispersion: Tensor | float) -> tuple[Tensor, Tensor]:
    """-log P(w before l) and its slope, for a gap t = u_w - u_l in a Mallows model with Kendall's distance.

    With phi = e^{-D/2}: P = (t+1)/(1-phi^{t+1}) - t/(1-phi^t) for t > 0, and 1 - P(|t|) for t < 0. Gaps of rankings are
    whole numbers, and the formula jumps at 0 (from 1/2 to about 1/2 - log(phi)/12): between -1 and 1 it is replaced by
    the cubic 1/2 + a t + b t^3 that meets it at 1 in value and slope. That smoothing is ours, not the paper's.

    >>> value, _ = kendall_link(torch.tensor([1.0, 0.0, -1.0]), 1.0)  # t = 1: one document above the other, 1/(1+phi)
    >>> torch.exp(-value)
    tensor([0.6225, 0.5000, 0.3775])
    """
    kind, t = t.dtype, t.double()  # near phi = 1 the tail is a small difference of numbers that are not
    decay = 0.5 * torch.as_tensor(dispersion, dtype=t.dtype, device=t.device)
    size = t.abs()
    log_q, slope_q = _log_tail(size.clamp(1.0, 1e6), decay)  # where the tail is e^{-1e6 D / 2} nobody counts
    log_q = log_q - decay * (size - 1e6).clamp(min=0).where(size.isfinite(), 0.0)
    q = log_q.exp()
    far = torch.where(t > 0, -torch.log1p(-q), -log_q)
    far_slope = torch.where(t > 0, slope_q * q / (1 - q), slope_q)
    edge, edge_slope = _log_tail(torch.ones_like(decay), decay)
    lead, rate = 0.5 - edge.exp(), -edge_slope * edge.exp()  # P(1) - 1/2 and P'(1)
    b = (rate - lead) / 2
    a = lead - b
    near = t.clamp(-1.0, 1.0)
    p = 0.5 + near * (a + b * near.square())
    inside = size < 1
    value = torch.where(inside, -p.log(), far)
    slope = torch.where(inside, -(a + 3 * b * near.square()) / p, far_slope)
    sure = t == math.inf
    return value.masked_fill(sure, 0.0).to(kind), slope.masked_fill(sure, 0.0).to(kind)


@_mallows(
    "mallowspo-phi",
    formula="(1/P) sum over pairs of -log P(u_w - u_l), P(t) = (t+1)/(1-phi^{t+1}) - t/(1-phi^t), t > 0",
    source="2405.14953 [recalled]; P confirmed by enumeration; smooth between -1 and 1 by our cubic",
    needs="pair",
    shift_invariant=True,
    convex=False,
    ordinal=True,
)
def mallowspo_phi(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    dispersion: float | Tensor,
    *,
    beta: float | Tensor,
    acts: Acts = "temperature",
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """MallowsPO-phi (Kendall's distance): u counts places in the centre ranking; see `kendall_link`.

    Args:
        weights: multiply the pairs in which their document is the better one.
        dispersion: D = -2 log phi > 0, a number or `[...]`; "reference" or "labels": of each query, as above.
        acts: "temperature": phi = e^{-D/2}; "weight": phi = e^{-1/2} and the loss times D.
        pairs, normalise: as in pairs.py.

    Returns:
        `[...]`, one value a list; log 2 at s = s_ref; 0 without an ordered pair.

    >>> mallowspo_phi(torch.tensor([2.0, 0.0]), torch.tensor([1, 0]))
    tensor(0.3600)
    """
    given: float | Tensor = 1.0
    if acts == "temperature":
        given = per_list(dispersion, u, "dispersion")
        given = given.unsqueeze(-1) if isinstance(given, Tensor) and given.ndim else given
    phi = lambda x, gap: kendall_link(x, given)  # noqa: E731
    value = on_pairs(u, labels, where, weights, phi, pairs=pairs, normalise=normalise)
    return value * one_each(dispersion, u, "dispersion") if acts == "weight" else value


# --------------------------------------------------------------------------------------------------------- on lists


def log_normaliser(labels: Tensor, where: Tensor | None, decay: Tensor | float) -> Tensor:
    """log of the sum over all rankings of phi^(inverted pairs), phi = e^-decay, `[...]`.

    prod_i (1-phi^i)/(1-phi) for i = 1..n when all labels differ; equal labels are in no pair, so that each grade of m
    documents divides it by the same product over 1..m: what remains counts sorted lists, not rankings within a grade.
    """
    where = torch.ones_like(labels, dtype=torch.bool) if where is None else where
    order = ops.order(labels, where, descending=False)
    lower, real = (t.gather(-1, order) for t in (ops.count_lower(labels, where), where))
    place = torch.arange(1, labels.shape[-1] + 1, device=labels.device).expand_as(lower)
    decay = torch.as_tensor(decay, dtype=labels.dtype, device=labels.device)

    def log_bracket(i: Tensor) -> Tensor:  # log((1 - phi^i) / (1 - phi))
        return torch.log(-torch.expm1(-i.clamp(min=1) * decay)) - torch.log(-torch.expm1(-decay))

    return (log_bracket(place) - log_bracket(place - lower)).masked_fill(~real, 0.0).sum(-1)


@_mallows(
    "mallows",
    formula="(1/P) [(D/2) sum_{y_i > y_j} sg((u_j - u_i) / tau) + log Z], phi = e^{-D/2}, Z the sum over rankings",
    source="Mallows' model with a smoothed Kendall distance; ours",
    needs="pair",
    shift_invariant=True,
    convex=False,
    ordinal=True,
)
def mallows(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    dispersion: float | Tensor,
    *,
    beta: float | Tensor,
    tau: float = 1.0,
    normalise: Normalise = "pairs",
) -> Tensor:
    """Listwise Mallows: minus the log-likelihood of the labels' order, with the order of u as the centre.

    The number of inverted pairs is smoothed as sum sg((u_j - u_i) / tau). log Z is constant to the scores and matters
    where the dispersion is learned: without it phi would collapse to 1.

    Args:
        weights: multiply the pairs in which their document is the better one; log Z is multiplied by their mean.
        dispersion: D = -2 log phi > 0, a number or `[...]`; the gradient flows into it. "reference" or "labels": of
            each query, as above.
        tau: > 0, width of the smoothing.
        normalise: "pairs" divides by the number of ordered pairs, "none" is the likelihood of the list.

    Returns:
        `[...]`, one value a list, in nats; 0 without an ordered pair.

    >>> mallows(torch.tensor([9.0, 0.0]), torch.tensor([1, 0]), tau=0.1)  # log(1 + phi)
    tensor(0.4741)
    """
    if not tau > 0:
        raise InputError("mallows needs tau > 0", came=tau)
    u = u / tau
    per_list(dispersion, u, "dispersion")  # looked at; used below with its gradient
    decay = 0.5 * torch.as_tensor(dispersion, dtype=u.dtype, device=u.device)

    inverted, count = sum_by_label(u, labels, where, weights, soft_step)
    log_z = log_normaliser(labels, where, decay.unsqueeze(-1) if decay.ndim else decay)
    if weights is not None:
        log_z = log_z * (weights.sum(-1) / where.sum(-1).clamp(min=1))
    value = decay * inverted + log_z
    return value / count.clamp(min=1) if normalise == "pairs" else value
