"""HPO: a preference loss with a second cross entropy, toward an auxiliary label, beside it."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.listwise import listnet

from .base import PREFERENCE_LOSSES, constant
from .modpo import standardise

__all__ = ["hpo"]


@PREFERENCE_LOSSES.register_rewards(
    "hpo",
    formula="CE(z, softmax(u)) + gamma CE(softmax(A / a), softmax(s)), A the standardised auxiliary label",
    source="2405.17956, list form [recalled]; the optimum checked",
    needs="pair",
    shift_invariant=True,
    convex=True,
)
def hpo(
    u: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    scores: Tensor,
    auxiliary: Tensor | None = None,
    gamma: float = 1.0,
    spread: float = 1.0,
    on: Literal["scores", "rewards"] = "scores",
    target: ops.Target = "gain",
    eps: float = 0.0,
    temperature: float = 1.0,
    gain: ops.Gain | None = None,
) -> Tensor:
    """Hybrid preference optimisation: ListNet on implicit rewards plus a cross entropy toward an auxiliary label.

    With q = softmax(A / a), where both terms see the same scores (on="rewards", or no reference and beta 1), the
    optimum is softmax(u) = (z + gamma q) / (1 + gamma): arithmetic again. The formula is recalled from the paper, not
    read in it.

    Args:
        auxiliary: `[..., list]`, any real label; standardised per list ("reward minus value"). A list on which it is
            constant has no second term; None: nor has any.
        gamma: >= 0, weight of the second term.
        spread: a > 0, its temperature.
        on: what the second term acts on: "scores" as in the formula, "rewards" u.
        weights: multiply the terms of their document, in both sums.
        target, eps, temperature, gain: of the first term, as in `listnet`.

    Returns:
        `[...]`, one value a list, in nats; 0 where all main labels are equal.
    """
    if not gamma >= 0 or not spread > 0:
        raise InputError("hpo needs gamma >= 0 and spread > 0", came={"gamma": gamma, "spread": spread})
    of: dict[str, Any] = {"weights": weights, "target": target, "eps": eps, "temperature": temperature, "gain": gain}
    value = listnet(u, labels, where, **of)
    if auxiliary is None or auxiliary.shape[-1] == 0:
        return value
    s = u if on == "rewards" else scores
    advantage = standardise(constant(auxiliary, s, where, "auxiliary"), where)
    q = ops.softmax(advantage / spread, where)
    heard = ops.differ(labels, where) & (advantage != 0).any(-1)
    terms = q * ops.log_softmax(s, where)
    terms = terms if weights is None else terms * weights
    return value - gamma * terms.sum(-1) * heard
