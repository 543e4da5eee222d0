"""What LambdaRank and its family share: logistic pair losses, weighted by what a pair means to a measure.

    L = sum over pairs of  omega_ij log_b(1 + e^{-sigma (s_i - s_j)})          Wang et al., CIKM 2018, eq. 10

omega depends on the ranks r of the current scores and is a constant to the gradient. Lists are sorted by score once, so
that ranks are positions, and a cut-off at k forms k rows of pairs instead of all.

The values are sums, as in the papers: omega already says what a pair is worth to the measure. Options that mean the
same in every loss of the family (`lambdarank.py`, `lambdaloss.py`, `binary.py`), most of which `lambda_loss` makes from
a function of the ranked lists:

    weights     multiply the pairs in which their document is the better one
    generator   equal scores are ranked in a random order, anew at each call; None: in the order of the list
    gain        "exp2" 2^y - 1 or "linear" y; G is the gain divided by the ideal DCG (cut at k)
    sigma       steepness of the logistic, > 0; 1 everywhere in the literature
    base        of the logarithm, > 1. 2, as in the paper: then a lost pair costs at least its weight, which is why
                some of these values bound their measure; e gives the gradients of LightGBM
    at          scores that say the ranks, `[..., list]`; None: the scores themselves. LambdaLoss is an EM algorithm:
                its E step ranks the documents by the current scores, its M step lowers the loss with these ranks
                fixed, which is convex in the scores. `at` is what separates the two; without it the steps alternate
                at every gradient
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.base import LOSSES, ListLoss, own_parameters, signed
from ltr.losses.pairs import logistic, sum_by_score

__all__ = ["Ranked", "lambda_loss", "ranked"]


class Ranked(NamedTuple):
    """Lists in the order of their ranks, pads last; all `[..., list]` but `place`, the ranks 1..n, `[list]`.

    `sigma` and `base` are those of the loss.
    """

    scores: Tensor
    labels: Tensor
    where: Tensor
    weights: Tensor | None
    worth: Tensor  # G, the gain over the ideal DCG, or the label where no gain is asked for
    place: Tensor
    sigma: float
    base: float

    def among_first(self, k: int) -> Ranked:
        """The same without the documents beyond rank k."""
        return self._replace(where=self.where & (self.place <= k))

    def sum(self, omega: Callable[[ops.Pick, ops.Pick], Tensor], k: int | None = None) -> Tensor:
        """The loss of the family, `[...]`, for these weights of pairs (see `sum_by_score`), k rows of them."""
        value = sum_by_score(self.sigma * self.scores, self.labels, self.where, self.weights, logistic, omega, rows=k)
        return value / math.log(self.base)


def lambda_loss(name: str, *, binary: bool = False, **facts: Any) -> Callable[[Callable[..., Tensor]], ListLoss]:
    """Decorator: a loss of the family from `f(lists, *, ...)`, its value for ranked lists.

    Of its own parameters, `k` is a cut-off and `gain` makes the lists' worth. It takes generator, sigma, base and at.

    Args:
        binary: labels become 1 above 0, else 0.
        facts: of the catalogue.
    """

    def made(of_lists: Callable[..., Tensor]) -> ListLoss:
        own = own_parameters(of_lists, ("lists",))

        def body(
            scores: Tensor,
            labels: Tensor,
            where: Tensor,
            weights: Tensor | None,
            *,
            generator: torch.Generator | None,
            sigma: float = 1.0,
            base: float = 2.0,
            at: Tensor | None = None,
            **given: Any,
        ) -> Tensor:
            given = {key: p.default for key, p in own.items()} | given
            asked: dict[str, Any] = {key: given.get(key) for key in ("k", "gain")}
            lists = ranked(
                *(scores, labels, where, weights, generator, at),
                loss=name,
                sigma=sigma,
                base=base,
                binary=binary,
                **asked,
            )
            return of_lists(lists, **given)

        claims = {"shift_invariant": True, "convex": False, **facts, "stochastic": "score ties"}
        return LOSSES.register(name, **claims)(signed(body, of_lists, own, first=True))

    return made


def ranked(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    generator: torch.Generator | None,
    at: Tensor | None,
    *,
    loss: str,
    sigma: float = 1.0,
    base: float = 2.0,
    k: int | None = None,
    gain: ops.Gain | None = None,
    binary: bool = False,
) -> Ranked:
    """The lists sorted by score (by `at`), and what a document is worth.

    Args:
        loss: who asks, for messages.
        gain: worth is the gain over the ideal DCG at k; None: the label.
        binary: labels become 1 above 0, else 0.

    Raises:
        InputError: sigma, base, k or the shape of `at` is wrong.
    """
    if not sigma > 0 or not base > 1 or (k is not None and k < 1):
        raise InputError(f"{loss} needs sigma > 0, base > 1 and k >= 1", came={"sigma": sigma, "base": base, "k": k})
    if at is not None and at.shape[-1] == 0:  # the empty lists of the caller are one pad here
        at = None
    if at is not None and at.shape != scores.shape:
        raise InputError("at and scores differ in shape", expected=str(tuple(scores.shape)), came=tuple(at.shape))
    worth = labels
    if gain is not None:
        ideal = ops.ideal_dcg(labels, where, gain=gain, k=k).unsqueeze(-1)
        worth = ops.gains(labels, gain) / ideal.where(ideal > 0, 1.0)
    order = ops.order(scores if at is None else at, where, generator=generator)
    scores, labels, where, weights, worth = ops.in_order(order, scores, labels, where, weights, worth)
    labels = (labels > 0).to(scores.dtype) if binary else labels
    place = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
    return Ranked(scores, labels, where, weights, worth, place, sigma, base)
