"""Two walks over the pairs of a list that pair losses and lambda losses share; both form half of the pairs at most.

`sum_by_label` sorts by label, so that the better document of a pair stands first; `sum_by_score` sorts by score, so
that ranks are positions and a cut-off at k forms k rows. A pair's loss is a function `phi(x, gap)` of the margin x of
the better document over the other; `gap()` gives the difference of their labels, at least 0. It returns value and slope
in x, is 0 with slope 0 at x = inf, and may overwrite x.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ltr import ops

__all__ = ["PairLoss", "logistic", "soft_step", "sum_by_label", "sum_by_score"]

PairLoss = Callable[[Tensor, Callable[[], Tensor]], tuple[Tensor, Tensor]]


def logistic(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """log(1 + e^{-x}); the labels do not matter."""
    return ops.logistic(x)


def soft_step(x: Tensor, gap: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """sg(-x), the smoothed 1[x < 0]; the labels do not matter."""
    value = x.neg_().sigmoid_()
    return value, value * (value - 1)


def sum_by_label(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    phi: PairLoss,
    *,
    worth: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """sum over y_i > y_j of v_ij phi(s_i - s_j, y_i - y_j), and the number of these pairs; both `[...]`.

    v_ij is worth_i - worth_j, worth `[..., list]` increasing in the label, or 1 without; times the weight of i.
    """
    lower = ops.count_lower(labels, where)
    # Rows of documents that are better than nobody are not formed. On a GPU their count would have to travel to the
    # host; forming all rows is cheaper than waiting for it.
    rows = int((lower > 0).sum(-1).max()) if lower.device.type == "cpu" and lower.numel() else labels.shape[-1]
    scores, labels, where, worth, weights = ops.in_order(
        ops.order(labels, where), scores, labels, where, worth, weights
    )
    # As the better document a pad is worse than all, as the other one it is better than all: it is in no pair.
    better, other = labels.masked_fill(~where, -math.inf), labels.masked_fill(~where, math.inf)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        # No pair is a pair won for sure: value and slope are exactly 0, whatever they are multiplied with.
        x = x.masked_fill_(i(better) <= j(other), math.inf)
        value, slope = phi(x, lambda: (i(labels) - j(labels)).clamp_(min=0))
        for v in (None if worth is None else i(worth) - j(worth), None if weights is None else i(weights)):
            if v is not None:
                value, slope = value.mul_(v), slope.mul_(v)
        return value, slope

    return ops.pair_sum(scores, term, rows=rows, upper=True), lower.sum(-1)


def sum_by_score(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    phi: PairLoss,
    omega: Callable[[ops.Pick, ops.Pick], Tensor] | None = None,
    *,
    rows: int | None = None,
) -> Tensor:
    """sum over pairs of different labels of omega_ij phi(margin, gap), `[...]`; lists sorted by score, pads last.

    `omega(i, j)` gives the weights of a block for i ranked above j, whichever of the two is better: a new tensor
    `[..., r, c]`, 0 where the labels are equal; None: 1 where they differ. `rows`: only pairs with one document among
    that many first.
    """
    real = where.to(scores.dtype)

    def term(x: Tensor, i: ops.Pick, j: ops.Pick) -> tuple[Tensor, Tensor]:
        gap = i(labels) - j(labels)
        w = (gap != 0).to(x.dtype) if omega is None else omega(i, j)
        w = w.mul_(j(real))
        w[..., : w.shape[-2]].triu_()  # the block starts one column right of the diagonal
        if weights is not None:
            w *= torch.where(gap > 0, i(weights), j(weights))
        sign = gap.sign()  # turns x into the margin of the better document over the other
        value, slope = phi(x.mul_(sign), gap.abs)
        return value.mul_(w), slope.mul_(w.mul_(sign))

    return ops.pair_sum(scores, term, rows=rows, upper=True)
