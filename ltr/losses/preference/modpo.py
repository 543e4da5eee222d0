"""MODPO: a preference loss on one objective in which what the others want enters as rewards in the bracket.

    v = (beta (s - s_ref) - sum_{l != k} w_l R^l) / w_k        2310.03708

Rewards R^l: `standardise(labels)`, `log_targets(z)` or beta (s_l - s_ref) of a model trained on objective l. Their
scale sets the trade-off. On free scores the list form with log targets ends at the geometric mix prod_k (z^k)^{w_k},
where weighted sums of losses end at the arithmetic mix sum_k w_k z^k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.base import counts
from ltr.losses.listwise import listnet
from ltr.losses.pairs import logistic

from .base import PREFERENCE_LOSSES, per_list
from .pairs import Normalise, Pairs, on_pairs

__all__ = ["log_targets", "margin_rewards", "modpo", "modpo_list", "standardise"]


# ------------------------------------------------------------------------------------------------------- rewards


def standardise(labels: Tensor, where: Tensor | None = None) -> Tensor:
    """Labels with mean 0 and standard deviation 1 (divisor n) over the real documents of each list, `[..., list]`.

    A list whose labels are all equal becomes 0: it has nothing to say. Pads are 0. `where` may broadcast, so that
    several objectives go at once: `standardise(labels.mT, where.unsqueeze(-2)).mT`.

    >>> standardise(torch.tensor([1.0, 3.0, 0.0, 2.0]))
    tensor([-0.4472,  1.3416, -1.3416,  0.4472])
    """
    if labels.shape[-1] == 0:
        return ops.exact(labels)
    where = torch.ones_like(labels, dtype=torch.bool) if where is None else where
    labels = ops.exact(labels).masked_fill(~where, 0.0)
    n = where.sum(-1, keepdim=True).clamp(min=1)
    centred = (labels - labels.sum(-1, keepdim=True) / n).masked_fill(~where, 0.0)
    # By the labels, not by a variance that rounding keeps above 0.
    spread = counts(labels, where, "pair").unsqueeze(-1)
    deviation = (centred.square().sum(-1, keepdim=True) / n).sqrt()
    return (centred / deviation.where(spread, 1.0)).masked_fill(~spread, 0.0)


def log_targets(targets: Tensor, where: Tensor | None = None, *, eps: float = 0.0) -> Tensor:
    """log(z + eps), the scores a list loss with target z would end at, `[..., list]`; 0 at pads and on blank lists.

    Args:
        targets: `[..., list]`, z >= 0; all 0 on a list where the objective is blank.
        where: `[..., list]`, or broadcasting to it (targets of several objectives: `targets.mT, where.unsqueeze(-2)`).
        eps: added where z has zeros, which have no logarithm. How far below the others such a document is wanted is a
            choice this number makes; targets made of gains + eps, or soft ones, need none here.

    >>> log_targets(torch.tensor([[0.75, 0.25], [0.0, 0.0]]))
    tensor([[-0.2877, -1.3863],
            [ 0.0000,  0.0000]])
    """
    where = torch.ones_like(targets, dtype=torch.bool) if where is None else where.expand_as(targets)
    z = ops.exact(targets.detach()).masked_fill(~where, 0.0)
    heard = where & (z > 0).any(-1, keepdim=True)
    z = z + eps
    if z.device.type == "cpu" and not bool((z > 0).masked_select(heard).all()):
        raise InputError("a target of 0 has no logarithm", came=z.masked_select(heard).min().item(), do="Give eps > 0.")
    return z.masked_fill(~heard, 1.0).log()


def margin_rewards(rewards: Tensor, preference: Tensor, main: int) -> Tensor:
    """sum_{l != main} w_l R^l, `[..., list]`: the margins of MODPO.

    Args:
        rewards: `[..., list, objective]`, R^l of every objective (what stands at `main` is not read).
        preference: `[objective]` or `[..., objective]`, w on the simplex.
        main: index of the objective whose labels the loss gets.

    >>> margin_rewards(torch.tensor([[1.0, 5.0], [0.0, 3.0]]), torch.tensor([0.25, 0.75]), main=0)
    tensor([3.7500, 2.2500])
    """
    if preference.shape[-1:] != rewards.shape[-1:]:
        expected, came = f"[..., objective={rewards.shape[-1]}]", tuple(preference.shape)
        raise InputError("preference and rewards differ in their objectives", expected=expected, came=came)
    others = torch.arange(rewards.shape[-1], device=rewards.device) != main % rewards.shape[-1]
    return torch.where(others, rewards * preference.to(rewards.dtype).unsqueeze(-2), 0.0).sum(-1)


# --------------------------------------------------------------------------------------------------------- MODPO


def _shared_out(u: Tensor, share: float | Tensor, floor: float, loss: str) -> Tensor:
    """v = u / max(share, floor)."""
    if not 0 < floor <= 1:
        raise InputError(f"{loss} needs a floor in (0, 1]", came=floor)
    share = torch.as_tensor(share, dtype=u.dtype, device=u.device).clamp(min=floor)
    return u / per_list(share, u, "share")


@PREFERENCE_LOSSES.register_rewards(
    "modpo",
    formula="(1/P) sum over pairs of -log sg([beta (Delta_w - Delta_l) - sum_{l != k} w_l (R^l_w - R^l_l)] / w_k)",
    source="2310.03708, as in the code ZHZisZZ/modpo; hinge option of the same code",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
def modpo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    share: float | Tensor = 1.0,
    floor: float = 0.05,
    curve: Literal["logistic", "hinge"] = "logistic",
    pairs: Pairs = "all",
    normalise: Normalise = "pairs",
) -> Tensor:
    """DPO on one objective in which the others speak as margins: a document they like needs less reward to win.

    Args:
        labels: of the main objective k.
        margins: `[..., list]`, sum_{l != k} w_l R^l, by `margin_rewards`; None: 0.
        weights: multiply the pairs in which their document is the better one.
        share: w_k, a number or `[...]`, one a list; 1 without margins is DPO.
        floor: w_k counts as at least this. Dividing by w_k makes gradients explode as it goes to 0, so that below the
            floor the loss answers for w_k = floor; better, let a heavier objective be the main one.
        curve: "logistic", or "hinge" max(0, 1 - .).
        pairs, normalise: as in pairs.py.

    >>> s, y, wanted = torch.tensor([1.0, 0.0]), torch.tensor([1, 0]), torch.tensor([0.0, 1.0])
    >>> modpo(s, y, margins=0.5 * wanted, share=0.5)  # -log sg((1 - .5 (0 - 1)) / .5) = log(1 + e^-3)
    tensor(0.0486)
    """
    v = _shared_out(u, share, floor, "modpo")

    def hinge(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        missing = x.neg_().add_(1).clamp_(min=0)
        return missing, (missing > 0).to(x.dtype).neg_()

    phi = logistic if curve == "logistic" else hinge
    return on_pairs(v, labels, where, weights, phi, pairs=pairs, normalise=normalise)


@PREFERENCE_LOSSES.register_rewards(
    "modpo-list",
    formula="CE(z^k, softmax((beta Delta - sum_{l != k} w_l R^l) / w_k))",
    source="list form of 2310.03708, ours",
    needs="pair",
    shift_invariant=True,
    convex=True,
)
def modpo_list(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    share: float | Tensor = 1.0,
    floor: float = 0.05,
    target: ops.Target = "gain",
    eps: float = 0.0,
    temperature: float = 1.0,
    gain: ops.Gain | None = None,
) -> Tensor:
    """ListNet on the bracket of MODPO. With margins log z^l its optimum is beta Delta = sum_k w_k log z^k + const.

    Args:
        labels: of the main objective k.
        margins, share, floor: as in `modpo`.
        weights: multiply the term of their document, after the target is normalised.
        target, eps, temperature, gain: as in `listnet`; "lin" takes labels that are a target already as they are.

    Returns:
        `[...]`, one value a list, in nats; 0 where all main labels are equal.
    """
    v = _shared_out(u, share, floor, "modpo-list")
    of: dict[str, Any] = {"weights": weights, "target": target, "eps": eps, "temperature": temperature, "gain": gain}
    return listnet(v, labels, where, **of)
