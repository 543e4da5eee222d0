"""Plackett-Luce: documents are drawn one by one without replacement, each time with chance softmax(scores) of the rest.

A ranking's chance is a product of stages. The losses here are minus the log-likelihood of the ranking the labels ask
for, or the expected measure of a ranking that the scores draw.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES, counts, normalised_gains

__all__ = ["listmle", "plackettluce", "plistmle", "plrank"]

_drawn = partial(LOSSES.register, needs="pair", shift_invariant=True, convex=True, ordinal=True)


def _stages(
    scores: Tensor, labels: Tensor, where: Tensor, generator: torch.Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Minus log chance of each stage that draws the documents by label, the order, and which stages are real."""
    order = ops.order(labels, where, generator=generator)
    drawn, real = scores.gather(-1, order), where.gather(-1, order)
    return ops.reversed_logcumsumexp(drawn, real) - drawn, order, real  # pads hold 0 in both


@_drawn(
    "listmle",
    formula="(1/n) sum_t [ log sum_{j >= t} e^{s_(j)} - s_(t) ], (t) the t-th by label (no 1/n: normalise=none)",
    source="Xia et al., ICML 2008, eq. 9: Plackett-Luce likelihood of the sorted list",
    stochastic="label ties",
)
def listmle(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    generator: torch.Generator | None,
    normalise: Literal["documents", "none"] = "documents",
) -> Tensor:
    """Minus the log-likelihood, under Plackett-Luce, of the ranking that sorts the list by label.

    Args:
        weights: multiply the stage that draws their document.
        generator: equal labels are drawn in a random order, anew at each call; None: they keep the order of the list.
        normalise: "documents" divides by the length of the list, "none" is the paper's sum. The n stages cost about
            log n each at the start, so that under the sum long lists dominate the mean over lists.

    Returns:
        `[...]`, one value a list, in nats; 0 for a list whose labels are all equal (there is nothing to sort).

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> listmle(s, y), listmle(s, y, normalise="none")
    (tensor(1.4706), tensor(5.8824))
    """
    stages, order, _ = _stages(scores, labels, where, generator)
    if weights is not None:
        stages = stages * weights.gather(-1, order)
    value = stages.sum(-1) * counts(labels, where, "pair")
    return value / where.sum(-1).clamp(min=1) if normalise == "documents" else value


# The largest exponent of 2 a stage of p-ListMLE may weigh in float32.
_LONGEST = 120


@_drawn(
    "plistmle",
    formula="(1/c) sum_t (2^{n-t} - 1) [ log sum_{j >= t} e^{s_(j)} - s_(t) ], c the sum of these weights "
    "(c = 1: normalise=none)",
    source="Lan et al., UAI 2014; weights as in TF-Ranking",
    stochastic="label ties",
)
def plistmle(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    generator: torch.Generator | None,
    normalise: Literal["stages", "none"] = "stages",
) -> Tensor:
    """Position-aware ListMLE: every stage weighs about half of the one before, so that the top of the list decides.

    Args:
        weights: multiply the stage that draws their document.
        generator: equal labels are drawn in a random order, anew at each call; None: they keep the order of the list.
        normalise: "stages" divides by the sum of the stage weights, so that the length of a list does not set its say;
            "none" is the paper's sum, 2^n large, and refused for more than 120 documents, where it overflows.

    Returns:
        `[...]`, one value a list, in nats; 0 for a list whose labels are all equal.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> plistmle(s, y), plistmle(s, y, normalise="none")  # weights 7, 3, 1, 0
    (tensor(2.1690), tensor(23.8592))
    """
    if normalise == "none" and scores.shape[-1] > _LONGEST:
        do = 'Take normalise="stages", the default.'
        raise InputError("2^n overflows", expected=f"at most {_LONGEST} documents a list", came=scores.shape[-1], do=do)
    stages, order, real = _stages(scores, labels, where, generator)
    n = where.sum(-1, keepdim=True).to(scores.dtype)
    place = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    # Over the common factor 2^n: (2^{n-t} - 1) / 2^n needs no large number.
    share = (torch.exp2(-place) - torch.exp2(-n)).masked_fill(~real, 0.0)
    total = share.sum(-1, keepdim=True)
    share = share / total.where(total > 0, 1.0) if normalise == "stages" else share * torch.exp2(n)
    if weights is not None:
        share = share * weights.gather(-1, order)
    return (stages * share).sum(-1) * counts(labels, where, "pair")


@_drawn(
    "plackettluce",
    formula="- (1/n) log P(every document is drawn before all documents of a smaller label) (no 1/n: normalise=none)",
    source="Plackett-Luce with ties as partial rankings; the integral is the exponential race, derived here",
)
def plackettluce(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    normalise: Literal["documents", "none"] = "documents",
) -> Tensor:
    """ListMLE that leaves ties tied: the chance that the grades come out in order, in whatever order within a grade.

    ListMLE asks for one order of equal documents, an arbitrary one, and spends most of its value on it where a list has
    many zeros. Here e^-value (normalise="none") is the sum of the Plackett-Luce chances of *all* rankings that sort the
    list by label. That sum has m! terms for a grade of m documents, but Plackett-Luce is a race of exponential clocks,
    and "all of the grade before all of the rest" is one integral over the time t at which the rest starts to ring:

        P = int prod_{i in grade} (1 - e^{-e^{s_i} t}) d(1 - e^{-R t}),   R the sum of e^{s_j} over smaller labels

    which the trapezoidal rule in log t gives to 1e-10, at the cost of about a hundred evaluations a document. Convex,
    because Gumbel noise is log-concave and "these before those" is a convex set of perturbed scores (Prekopa).

    Args:
        weights: the term of a grade is multiplied by the mean weight of its documents.
        normalise: "documents" divides by the length of the list, as in `listmle`; "none" is the log-likelihood.

    Returns:
        `[...]`, one value a list, in nats; 0 for a list whose labels are all equal. ListMLE where no labels are equal.

    >>> s = torch.tensor([1.2, 0.4, 1.9, -0.3])
    >>> plackettluce(s, torch.tensor([1, 3, 0, 2]), normalise="none")  # no ties: ListMLE
    tensor(5.8824)
    >>> plackettluce(s, torch.tensor([1, 1, 0, 0]), normalise="none")
    tensor(2.4885)
    """
    order = ops.order(labels, where)
    scores, labels, real = (t.gather(-1, order) for t in (scores, labels, where))
    lower = ops.count_lower(labels, real)
    n = where.sum(-1, keepdim=True)
    # A grade is a run of equal labels; the sum over all smaller labels stands where the next run begins.
    rest = ops.reversed_logcumsumexp(scores, real).gather(-1, (n - lower).clamp(max=scores.shape[-1] - 1))
    active = real & (lower > 0)  # the lowest grade is drawn last whatever happens
    starts = torch.ones_like(real)
    starts[..., 1:] = (labels[..., 1:] != labels[..., :-1]) | ~real[..., 1:]
    grade = starts.long().cumsum(-1) - 1
    ahead = (scores - rest).masked_fill(~active, 0.0)
    chances: Tensor = _GradeFirst.apply(ahead, grade, active)  # type: ignore[no-untyped-call]
    share = active.to(scores.dtype)
    share = share / _per_grade(share, grade).gather(-1, grade).clamp(min=1)
    if weights is not None:
        share = share * weights.gather(-1, order)
    value = -(share * chances.gather(-1, grade)).sum(-1)
    return value / n.squeeze(-1).clamp(min=1) if normalise == "documents" else value


_FAR = 30.0  # beyond e^-30 an exponential clock is a straight line to the precision of float64


def _per_grade(each: Tensor, grade: Tensor) -> Tensor:
    """Sums `[..., list]` over the documents of each grade, at the place of the grade's number."""
    return torch.zeros_like(each).scatter_add_(-1, grade, each)


class _GradeFirst(torch.autograd.Function):
    """log int prod_i (1 - e^{-e^{z_i + x}}) e^{x - e^x} dx of each grade, `[..., list]` by the grade's number.

    z `[..., list]` is a document's score minus the log-sum-exp of all documents below its grade. The integrand h is
    log-concave: its slope is at most m + 1 - e^x for m documents, which gives brackets for its peak and its right end;
    the left end is bisected. One pass over the nodes, memory O(list).
    """

    NODES, DROP = 96, 34.0  # the integrand is followed down to e^-34 of its peak

    @staticmethod
    def forward(ctx: Any, ahead: Tensor, grade: Tensor, active: Tensor) -> Tensor:
        z = ahead.double()
        size = _per_grade(active.double(), grade)

        def at(x: Tensor) -> tuple[Tensor, Tensor]:
            """h `[..., list]` by grade, and each document's share of its slope, e^a / (e^{e^a} - 1) for a = z + x."""
            a = z + x.gather(-1, grade)
            rate = a.clamp(-_FAR, 4.0).exp()  # from e^4 on both terms are 0; below e^-30 log(1 - e^-rate) is a
            chance = -torch.expm1(-rate)
            logs = torch.where(a < -_FAR, a, chance.log()).masked_fill(~active, 0.0)
            return _per_grade(logs, grade) + x - x.exp(), (rate / chance - rate).masked_fill(~active, 0.0)

        low, high = torch.zeros_like(size), torch.log1p(size)
        for _ in range(12):  # the peak: where the slope is 0
            middle = (low + high) / 2
            rising = _per_grade(at(middle)[1], grade) + 1 > middle.exp()
            low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
        peak = (low + high) / 2
        floor = at(peak)[0] - _GradeFirst.DROP
        x = _GradeFirst.DROP / (1 + size)
        right = torch.log((1 + size) * (1 + (2 * x).sqrt() + x))
        low, high = peak - _GradeFirst.DROP - 4.0, peak
        for _ in range(10):  # the left end, to a percent of the way
            middle = (low + high) / 2
            below = at(middle)[0] < floor
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        left, step = low, (right - low) / (_GradeFirst.NODES - 1)
        total, slope = torch.zeros_like(size), torch.zeros_like(z)
        top = floor + _GradeFirst.DROP
        for node in range(_GradeFirst.NODES):
            h, q = at(left + node * step)
            mass = (h - top).exp()
            total += mass
            slope += mass.gather(-1, grade) * q
        ctx.save_for_backward((slope / total.gather(-1, grade)).to(ahead.dtype), grade)
        return (top + (total * step).log()).masked_fill(size == 0, 0.0).to(ahead.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        slope, grade = ctx.saved_tensors
        return upstream.gather(-1, grade) * slope, None, None


@LOSSES.register(
    "plrank",
    formula="1 - mean over sampled rankings of NDCG@k; the gradient is an unbiased estimate of that of 1 - E[NDCG@k]",
    source="PL-Rank: Oosterhuis, SIGIR 2021 (recalled); proven unbiased by enumeration in the tests",
    needs="pair",
    gains=True,
    shift_invariant=True,
    convex=False,
    stochastic=True,
    surrogate=True,
)
def plrank(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    generator: torch.Generator | None,
    samples: int = 8,
    gain: ops.Gain = "exp2",
    k: int | None = 10,
) -> Tensor:
    """Policy gradient: the expected NDCG of a ranking drawn from the scores, by sampling.

    For every prefix of a sampled ranking the gain of the next place is averaged over all documents that could be drawn
    there, not only over the one that was, which is what sets PL-Rank apart from REINFORCE:

        dE/ds_d = E[ rest_d + sum_{t <= r_d} P(d | first t - 1) (G_d / D(t) - reward from place t on) ]

    with rest_d the reward below d. Value and gradient are estimates from the same samples; the gradient is not that of
    the value.

    Args:
        weights: multiply the gain of their document.
        generator: draws the rankings, anew at each call; None: one ranking, the sorted one. That
            is the value to look at in validation; its gradient is not an unbiased one.
        samples: rankings to draw.
        gain: as in `lambdarank`.
        k: the reward ends at rank k; 10, because the cost is samples x k x n and what is drawn below is hardly ever
            looked at. None: no cut-off.

    >>> plrank(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))  # without samples: 1 - NDCG
    tensor(0.4226)
    """
    if samples < 1 or (k is not None and k < 1):
        raise InputError("plrank needs samples >= 1 and k >= 1", came={"samples": samples, "k": k})
    worth, perfect = normalised_gains(labels, where, weights, gain, k)
    noise = torch.zeros((1, *scores.shape), dtype=scores.dtype, device=scores.device)
    if generator is not None:
        noise = ops.gumbel((samples, *scores.shape), generator).to(noise)
    reward: Tensor = _SampledReward.apply(scores, noise, worth, where, k)  # type: ignore[no-untyped-call]
    return (perfect - reward) * counts(labels, where, "pair")


class _SampledReward(torch.autograd.Function):
    """Mean DCG@k, `[...]`, of the rankings that sort scores + noise `[samples, ..., list]`; PL-Rank's gradient."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, noise: Tensor, worth: Tensor, where: Tensor, k: int | None) -> Tensor:
        samples, n = noise.shape[0], scores.shape[-1]
        k = n if k is None else min(k, n)
        wide = [t.expand(samples, *t.shape) for t in (scores, worth, where)]
        order = ops.order(wide[0] + noise, wide[2])
        s, g, real = (t.gather(-1, order) for t in wide)
        discount = ops.discounts(torch.arange(1, n + 1, device=s.device).to(s.dtype), k)
        earned = g * discount
        onward = earned.flip(-1).cumsum(-1).flip(-1)  # reward from each place on
        if ctx.needs_input_grad[0]:
            left = ops.reversed_logcumsumexp(s, real)
            slope = onward - earned
            for t in range(k):  # a stage at a time: memory O(samples x list)
                chance = (s[..., t:] - left[..., t : t + 1]).exp().masked_fill(~real[..., t:], 0.0)
                slope[..., t:] += chance * (g[..., t:] * discount[t] - onward[..., t : t + 1])
            slope = slope.masked_fill(~real, 0.0)
            ctx.slope = torch.zeros_like(slope).scatter_(-1, order, slope).mean(0)
        return onward[..., 0].mean(0)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream.unsqueeze(-1) * ctx.slope, None, None, None, None
