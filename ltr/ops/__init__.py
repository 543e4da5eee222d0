"""Masked list primitives: what every loss needs, written once, as pure functions of `[..., list]` tensors.

Rules that hold for every function here.

- `where` is boolean `[..., list]`, True for a real document; None means that all are real. What stands in a padded
  cell (NaN included) never reaches a value or a gradient: pads are filled *before* any arithmetic.
- Half precision (float16, bfloat16) is computed in float32 and returned so; float32 and float64 stay what they are.
- Nothing of size `[..., list, list]` is kept: `pair_sum` walks pairs in blocks, value and gradient in one pass.
"""

from __future__ import annotations

from .lists import (
    Gain,
    Target,
    count_lower,
    differ,
    discounts,
    exact,
    gains,
    gumbel,
    ideal_dcg,
    in_order,
    list_target,
    lists,
    log_softmax,
    no_autocast,
    order,
    reversed_logcumsumexp,
    softmax,
    some,
)
from .pairs import Pick, Step, Term, logistic, pair_sum, soft_ranks

__all__ = [
    "Gain",
    "Pick",
    "Step",
    "Target",
    "Term",
    "count_lower",
    "differ",
    "discounts",
    "exact",
    "gains",
    "gumbel",
    "ideal_dcg",
    "in_order",
    "list_target",
    "lists",
    "log_softmax",
    "logistic",
    "no_autocast",
    "order",
    "pair_sum",
    "reversed_logcumsumexp",
    "soft_ranks",
    "softmax",
    "some",
]
