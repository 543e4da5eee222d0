"""Mallows models: how much a query's preferences agree, and losses that listen to it.

    P(mu) ~ phi^d(mu, mu_0)        phi in (0, 1) the dispersion of a query, 1: no consensus        MallowsPO, 2405.14953

Every loss here takes `dispersion` D = -2 log phi, a number or one `[...]` a list: 1 is DPO (phi = e^{-1/2}), more means
more agreement; dispersion.py makes one for each query. The model, its two forms and their link are recalled from the
paper; what the public code has of them was read.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.base import choice
from ltr.losses.pairs import sum_by_label

from .base import PREFERENCE_LOSSES, implicit_rewards, per_list
from .pairs import Normalise, Pairs, ipo, on_pairs, pairwise_dpo

__all__ = ["kendall_link", "log_normaliser", "mallows", "mallowspo", "mallowspo_phi"]

Acts = Literal["temperature", "weight"]


# --------------------------------------------------------------------------------------------------------- on pairs


def _tempered(value: Tensor, dispersion: float | Tensor) -> Tensor:
    """A loss times its query's dispersion: form (B)."""
    factor = per_list(dispersion, value.unsqueeze(-1), "dispersion")
    return value * (factor.squeeze(-1) if isinstance(factor, Tensor) and factor.ndim else factor)


@PREFERENCE_LOSSES.register(
    "mallowspo",
    formula="theta: (1/P) sum over pairs of -log sg(D (u_w - u_l)), D = -2 log phi; ipo: (D Delta - 1/(2 beta))^2",
    source="2405.14953; forms as in the code haoxian-chen/MallowsPO, the model [recalled]",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
def mallowspo(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    dispersion: float | Tensor = 1.0,
    form: Literal["theta", "ipo"] = "theta",
    acts: Acts = "temperature",
    beta: float | Tensor = 1.0,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """MallowsPO-theta (Spearman distance): DPO, or IPO, whose steepness is the query's dispersion.

    Args:
        scores, labels, where: `[..., list]`.
        reference, margins, beta: as in preference.py; the public code has beta 10 with length-normalised scores.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        dispersion: D > 0, a number or `[...]`; 1 is DPO, -2 log(phi) the paper's, `dispersion_index(H, scale=.29)` the
            code's.
        form: "theta" logistic, "ipo" squared.
        acts: "temperature" multiplies u, as published: the best scores are s_ref + u*/(beta D), so that a query of
            small D moves further although it pulls less. "weight" multiplies the loss: the best scores stay, the mix
            of queries changes.
        pairs, normalise: as in preference_pairs.py.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.

    >>> s, y = torch.tensor([1.0, 0.0]), torch.tensor([1, 0])
    >>> mallowspo(s, y), mallowspo(s, y, dispersion=2.0), mallowspo(s, y, dispersion=2.0, acts="weight")
    (tensor(0.3133), tensor(0.1269), tensor(0.6265))
    """
    choice("form", form, ("theta", "ipo"))
    choice("acts", acts, ("temperature", "weight"))
    u = implicit_rewards(scores, reference, where, beta=beta, margins=margins)
    if acts == "temperature":
        u = per_list(dispersion, u, "dispersion") * u
    options = {"weights": weights, "pairs": pairs, "normalise": normalise}
    if form == "theta":
        value = pairwise_dpo(u, labels, where, **options)
    else:  # ((D u - 1/2) / beta)^2
        value = ipo(u, labels, where, **options)
        scale = per_list(beta, value.unsqueeze(-1), "beta")
        value = value / (scale.squeeze(-1) if isinstance(scale, Tensor) and scale.ndim else scale) ** 2
    return _tempered(value, dispersion) if acts == "weight" else value


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


@PREFERENCE_LOSSES.register(
    "mallowspo-phi",
    formula="(1/P) sum over pairs of -log P(u_w - u_l), P(t) = (t+1)/(1-phi^{t+1}) - t/(1-phi^t), t > 0",
    source="2405.14953 [recalled]; P confirmed by enumeration; smooth between -1 and 1 by our cubic",
    needs="pair",
    shift_invariant=True,
    convex=False,
    ordinal=True,
)
def mallowspo_phi(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    dispersion: float | Tensor = 1.0,
    acts: Acts = "temperature",
    beta: float | Tensor = 1.0,
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """MallowsPO-phi (Kendall's distance): u counts places in the centre ranking; see `kendall_link`.

    Args:
        scores, labels, where: `[..., list]`.
        reference, margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one.
        generator: unused.
        dispersion: D = -2 log phi > 0, a number or `[...]`.
        acts: "temperature": phi = e^{-D/2}; "weight": phi = e^{-1/2} and the loss times D.
        pairs, normalise: as in preference_pairs.py.

    Returns:
        `[...]`, one value a list; log 2 at s = s_ref; 0 without an ordered pair.

    >>> mallowspo_phi(torch.tensor([2.0, 0.0]), torch.tensor([1, 0]))
    tensor(0.3600)
    """
    choice("acts", acts, ("temperature", "weight"))
    options = {"reference": reference, "margins": margins, "beta": beta, "pairs": pairs, "normalise": normalise}
    given = 1.0
    if acts == "temperature":
        shape = torch.zeros((*scores.shape[:-1], 1), dtype=ops.exact(scores).dtype, device=scores.device)
        given = per_list(dispersion, shape, "dispersion")
        given = given.unsqueeze(-1) if isinstance(given, Tensor) and given.ndim else given
    value = on_pairs(scores, labels, where, weights, lambda x, gap: kendall_link(x, given), **options)
    return _tempered(value, dispersion) if acts == "weight" else value


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


@PREFERENCE_LOSSES.register(
    "mallows",
    formula="(1/P) [(D/2) sum_{y_i > y_j} sg((u_j - u_i) / tau) + log Z], phi = e^{-D/2}, Z the sum over rankings",
    source="Mallows' model with a smoothed Kendall distance; ours",
    needs="pair",
    shift_invariant=True,
    convex=False,
    ordinal=True,
)
def mallows(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    dispersion: float | Tensor = 1.0,
    tau: float = 1.0,
    beta: float | Tensor = 1.0,
    normalise: Normalise = "pairs",
) -> Tensor:
    """Listwise Mallows: minus the log-likelihood of the labels' order, with the order of u as the centre.

    The number of inverted pairs is smoothed as sum sg((u_j - u_i) / tau). log Z is constant to the scores and matters
    where the dispersion is learned: without it phi would collapse to 1.

    Args:
        scores, labels, where: `[..., list]`.
        reference, margins, beta: as in preference.py.
        weights: multiply the pairs in which their document is the better one; log Z is multiplied by their mean.
        generator: unused.
        dispersion: D = -2 log phi > 0, a number or `[...]`; the gradient flows into it.
        tau: > 0, width of the smoothing.
        normalise: "pairs" divides by the number of ordered pairs, "none" is the likelihood of the list.

    Returns:
        `[...]`, one value a list, in nats; 0 without an ordered pair.

    >>> mallows(torch.tensor([9.0, 0.0]), torch.tensor([1, 0]), tau=0.1)  # log(1 + phi)
    tensor(0.4741)
    """
    choice("normalise", normalise, ("pairs", "none"))
    if not tau > 0:
        raise InputError("mallows needs tau > 0", came=tau)
    u = implicit_rewards(scores, reference, where, beta=beta, margins=margins)
    u, labels, where, weights = ops.lists(u / tau, labels, where, weights)
    per_list(dispersion, u, "dispersion")  # looked at; used below with its gradient
    decay = 0.5 * torch.as_tensor(dispersion, dtype=u.dtype, device=u.device)

    def phi(x: Tensor, gap: Tensor) -> tuple[Tensor, Tensor]:
        value = x.neg_().sigmoid_()
        return value, value * (value - 1)

    inverted, count = sum_by_label(u, labels, where, weights, phi)
    log_z = log_normaliser(labels, where, decay.unsqueeze(-1) if decay.ndim else decay)
    if weights is not None:
        log_z = log_z * (weights.sum(-1) / where.sum(-1).clamp(min=1))
    value = decay * inverted + log_z
    return value / count.clamp(min=1) if normalise == "pairs" else value
