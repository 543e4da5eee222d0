"""Losses on the list as one event: a distribution over documents, or over whole rankings."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from .. import ops
from ..errors import InputError
from .base import LOSSES, choice, counts, require_gains

__all__ = ["listmle", "listnet", "target_distribution"]

Target = Literal["gain", "lin", "soft"]


def target_distribution(
    labels: Tensor, where: Tensor, target: Target = "gain", *, eps: float = 0.0, temperature: float = 1.0
) -> Tensor:
    """What softmax(scores) should become, `[..., list]`, summing to 1 over the real documents.

    "lin" y / sum y; "gain" (2^y - 1 + eps) / sum (2^y - 1 + eps); "soft" softmax(y / T). Blank lists (no label above 0)
    get all zeros: lin and gain are undefined there, and soft would only pull their scores together.
    """
    if target == "soft":
        z = ops.softmax(labels / temperature, where)
    else:
        worth = ops.gains(labels, "exp2" if target == "gain" else "linear")
        worth = (worth + eps if target == "gain" else worth).masked_fill(~where, 0.0)
        total = worth.sum(-1, keepdim=True)
        z = worth / total.where(total > 0, 1.0)
    return z.masked_fill(~counts(labels, where, "gain").unsqueeze(-1), 0.0)


@LOSSES.register(
    "listnet",
    formula="- sum_i z_i log softmax(s)_i",
    source="Cao et al., ICML 2007 (top-one form; their target is soft, T = 1); gain target: Bruch, 2021",
    needs="gain",
    shift_invariant=True,
    convex=True,
)
def listnet(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    target: Target = "gain",
    eps: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """Softmax cross entropy between a target distribution made of the labels and softmax(scores).

    Args:
        scores, labels, where: `[..., list]`.
        weights: multiply the term of their document, after the target is normalised.
        generator: unused.
        target: "gain" z ~ 2^y - 1, "lin" z ~ y, "soft" z = softmax(y / temperature). The best scores under noisy labels
            are log E[z], so the target says by what lists get sorted: "gain" sorts by the expected gain that NDCG
            counts, hence the default; "soft" is the paper's, nearly uniform on long lists of low grades.
        eps: "gain" only: added to every gain, so that no document is pushed to minus infinity.
        temperature: "soft" only: T.

    Returns:
        `[...]`, one value a list, in nats; never below the entropy of the target; 0 for a blank list.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> [round(listnet(s, y, target=t).item(), 5) for t in ("gain", "lin", "soft")]
    [2.22278, 2.2046, 2.15261]
    """
    choice("target", target, ("gain", "lin", "soft"))
    if eps < 0 or (eps and target != "gain"):
        raise InputError("eps belongs to the gain target and is at least 0", came={"target": target, "eps": eps})
    if not temperature > 0 or (temperature != 1 and target != "soft"):
        came = {"target": target, "temperature": temperature}
        raise InputError("temperature belongs to the soft target and is above 0", came=came)
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    if target != "soft":
        require_gains(labels, f"listnet(target={target!r})", exp2=target == "gain")
    z = target_distribution(labels, where, target, eps=eps, temperature=temperature)
    if weights is not None:
        z = z * weights
    return -(z * ops.log_softmax(scores, where)).sum(-1)


@LOSSES.register(
    "listmle",
    formula="(1/n) sum_t [ log sum_{j >= t} e^{s_(j)} - s_(t) ], (t) the t-th by label (no 1/n: normalise=none)",
    source="Xia et al., ICML 2008, eq. 9: Plackett-Luce likelihood of the sorted list",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
    stochastic="label ties",
)
def listmle(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    generator: torch.Generator | None = None,
    normalise: Literal["documents", "none"] = "documents",
) -> Tensor:
    """Minus the log-likelihood, under Plackett-Luce, of the ranking that sorts the list by label.

    Args:
        scores, labels, where: `[..., list]`.
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
    choice("normalise", normalise, ("documents", "none"))
    scores, labels, where, weights = ops.lists(scores, labels, where, weights)
    order = ops.order(labels, where, generator=generator)
    sorted_scores, real = scores.gather(-1, order), where.gather(-1, order)
    stages = ops.reversed_logcumsumexp(sorted_scores, real) - sorted_scores  # pads hold 0 in both
    if weights is not None:
        stages = stages * weights.gather(-1, order)
    value = stages.sum(-1) * counts(labels, where, "pair")
    return value / where.sum(-1).clamp(min=1) if normalise == "documents" else value
