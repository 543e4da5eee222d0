"""SPO: one objective after another, each round from the scores of the last, with what was learned before as margins.

u = beta (s - s_{t-1}) - sum_{i<t} alpha_i beta_i (s_i - s_{i-1})        2405.12739, recalled
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ltr.errors import InputError
from ltr.losses.base import ListLoss, own_parameters, signed
from ltr.losses.listwise import listnet

from .base import PREFERENCE_LOSSES, implicit_rewards
from .dpo import pairwise_dpo

__all__ = ["earlier_rewards", "spo", "spo_list"]


def earlier_rewards(earlier: Tensor, alpha: float | Tensor = 1.0, beta: float | Tensor = 1.0) -> Tensor:
    """sum_{i<t} alpha_i beta_i (s_i - s_{i-1}), `[..., list]`: what the rounds before t have learned, for SPO.

    Args:
        earlier: `[..., list, round]`, scores s_0 (the reference of round 1) to s_{t-1}.
        alpha, beta: a number or `[round - 1]`, one for each finished round.
    """
    steps = earlier.detach().diff(dim=-1)
    shape = steps.shape[-1:]
    for name, value in (("alpha", alpha), ("beta", beta)):
        if isinstance(value, Tensor) and value.ndim and value.shape != shape:
            expected = f"a number or one for each of the {shape[0]} finished rounds"
            raise InputError(f"{name} does not fit the rounds", expected=expected, came=tuple(value.shape))
    factor = torch.as_tensor(alpha * beta, dtype=steps.dtype, device=steps.device)
    return torch.where(factor != 0, steps * factor, 0.0).sum(-1)


def _next_round(
    reference: Tensor | None,
    margins: Tensor | None,
    earlier: Tensor | None,
    alpha: float | Tensor,
    beta_earlier: float | Tensor,
) -> tuple[Tensor | None, Tensor | None]:
    """Reference and margins of a round: the last scores, and alpha beta times all the steps before them."""
    if earlier is None:
        return reference, margins
    if reference is not None:
        raise InputError("spo takes its reference from earlier (the last round): give one of the two")
    learned = earlier_rewards(earlier, alpha, beta_earlier)
    return earlier[..., -1], learned if margins is None else margins + learned


def _with_parameters_of(other: ListLoss) -> Callable[[ListLoss], ListLoss]:
    """Decorator: what a function takes as `**...` and passes to `other` becomes part of its signature."""

    def made(function: ListLoss) -> ListLoss:
        words = function.__name__, function.__doc__
        signed(function, other, own_parameters(other, tuple(inspect.signature(function).parameters)))
        function.__name__, function.__doc__ = words
        return function

    return made


@PREFERENCE_LOSSES.register(
    "spo",
    formula="(1/P) sum over pairs of -log sg(u_w - u_l), u = beta Delta^t - sum_{i<t} a_i beta_i Delta^i, "
    "Delta^i = s_i - s_{i-1}",
    source="2405.12739: idea from a secondary source, formula [recalled]; sign of the second term after MODPO",
    needs="pair",
    shift_invariant=True,
    convex=True,
    ordinal=True,
)
@_with_parameters_of(pairwise_dpo)
def spo(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    earlier: Tensor | None = None,
    alpha: float | Tensor = 1.0,
    beta_earlier: float | Tensor = 1.0,
    **of_dpo: Any,
) -> Tensor:
    """Round t of sequential preference optimisation: DPO from the last model, earlier rounds' rewards as margins.

    Pairs on which earlier rounds agree with this label get more gradient, conflicting pairs less. Neither the formula
    nor the sign of its second term has been read in the paper. alpha = 0 is DPO on the last model.

    Args:
        scores, labels, where: `[..., list]`; labels of the objective of this round.
        earlier: `[..., list, round]`, scores s_0, ..., s_{t-1}; the last is the reference. None: round 1, from
            `reference`.
        alpha, beta_earlier: a number or `[round - 1]`; weight and beta of each finished round.
        reference, margins, beta: as in base.py.
        weights: multiply the pairs in which their document is the better one.
        generator: unused: nothing is drawn.
        pairs, normalise: as in pairs.py.

    Returns:
        `[...]`, one value a list; 0 without an ordered pair.
    """
    reference, margins = _next_round(reference, margins, earlier, alpha, beta_earlier)
    return pairwise_dpo(scores, labels, where, reference=reference, margins=margins, **of_dpo)


@PREFERENCE_LOSSES.register(
    "spo-list",
    formula="CE(z^t, softmax(beta Delta^t - sum_{i<t} a_i beta_i Delta^i))",
    source="list form of 2405.12739, ours",
    needs="pair",
    shift_invariant=True,
    convex=True,
)
@_with_parameters_of(listnet)
def spo_list(
    scores: Tensor,
    labels: Tensor,
    where: Tensor | None = None,
    *,
    reference: Tensor | None = None,
    margins: Tensor | None = None,
    earlier: Tensor | None = None,
    alpha: float | Tensor = 1.0,
    beta_earlier: float | Tensor = 1.0,
    beta: float | Tensor = 1.0,
    **of_listnet: Any,
) -> Tensor:
    """ListNet on the bracket of SPO.

    On free scores d_t = beta_t Delta^t ends at log z^t + sum_{i<t} a_i d_i, up to a shift.

    Args:
        scores, labels, where: `[..., list]`; labels of the objective of this round.
        earlier, alpha, beta_earlier: as in `spo`.
        reference, margins, beta: as in base.py.
        weights: multiply the term of their document, after the target is normalised.
        generator: unused: nothing is drawn.
        target, eps, temperature, gain: as in `listnet`.

    Returns:
        `[...]`, one value a list, in nats; 0 where all labels of this objective are equal.
    """
    reference, margins = _next_round(reference, margins, earlier, alpha, beta_earlier)
    u = implicit_rewards(scores, reference, where, beta=beta, margins=margins)
    return listnet(u, labels, where, **of_listnet)
