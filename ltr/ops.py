"""Masked list primitives: what every loss needs, written once, as pure functions of `[..., list]` tensors.

Rules that hold for every function here.

- `where` is boolean `[..., list]`, True for a real document; None means that all are real. What stands in a padded
  cell (NaN included) never reaches a value or a gradient: pads are filled *before* any arithmetic.
- Half precision (float16, bfloat16) is computed in float32 and returned so; float32 and float64 stay what they are.
- Nothing of size `[..., list, list]` is kept: `pair_sum` walks pairs in blocks, value and gradient in one pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .errors import InputError, unknown_name

__all__ = [
    "Step",
    "count_lower",
    "differences",
    "discounts",
    "exact",
    "gains",
    "gumbel",
    "ideal_dcg",
    "list_target",
    "lists",
    "log_softmax",
    "logistic",
    "logsumexp",
    "no_autocast",
    "order",
    "pair_sum",
    "ranks",
    "reversed_logcumsumexp",
    "soft_ranks",
    "softmax",
    "some",
    "sort_by",
]


def exact(x: Tensor) -> Tensor:
    """`x` in a type to compute in: float32 for half precision and integers, else unchanged."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def no_autocast(x: Tensor) -> torch.autocast:
    """A context in which products of matrices on the device of `x` keep the precision of their factors."""
    return torch.autocast(x.device.type, enabled=False)


def _mask(x: Tensor, where: Tensor | None) -> Tensor:
    return torch.ones_like(x, dtype=torch.bool) if where is None else where


def _real(x: Tensor, where: Tensor | None) -> Tensor:
    """`x` with pads 0. On a CPU `where` is half again as fast as `masked_fill`, forward and backward."""
    return x if where is None else torch.where(where, x, 0.0)


def some(mask: Tensor, keepdim: bool = False) -> Tensor:
    """Whether anything along the list axis is True, bool `[...]`: `any`, by a reduction that a CPU vectorises."""
    return mask.amax(-1, keepdim) if mask.shape[-1] else mask.any(-1, keepdim)


def lists(
    scores: Tensor, labels: Tensor, where: Tensor | None = None, weights: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The first line of every loss: shapes checked, types made equal, pads filled with 0.

    Args:
        scores: `[..., list]`, higher is better.
        labels: `[..., list]`, floating or integer.
        where: `[..., list]` bool; None: every document is real.
        weights: `[..., list]`, one weight a document; None stays None.

    Returns:
        scores, labels, where, weights with pads 0, in the type of `exact(scores)`; an empty list axis becomes one pad.

    Raises:
        InputError: shapes differ, `where` is not boolean, or scores are integers.
    """
    if not scores.is_floating_point():
        raise InputError("scores must be floating point", came=scores.dtype)
    if scores.ndim == 0:
        raise InputError("scores have no list axis", expected="shape [..., list]", came=tuple(scores.shape))
    for name, tensor in (("labels", labels), ("where", where), ("weights", weights)):
        if tensor is not None and tensor.shape != scores.shape:
            raise InputError(
                f"{name} and scores differ in shape",
                expected=f"[..., list] = {tuple(scores.shape)} as scores",
                came=tuple(tensor.shape),
                do="Labels of several objectives [..., list, objective] go in one column at a time."
                if name == "labels" and tensor.ndim == scores.ndim + 1
                else "",
            )
    if where is not None and where.dtype != torch.bool:
        raise InputError("where must be boolean", expected="torch.bool, True for a real document", came=where.dtype)
    padded, where = where, _mask(scores, where)
    scores = exact(scores)
    labels = labels.detach().to(scores.dtype)
    weights = None if weights is None else weights.detach().to(scores.dtype)
    if scores.shape[-1] == 0:  # reductions such as max have no value over nothing
        one = (*scores.shape[:-1], 1)
        scores = torch.cat([scores, scores.new_zeros(one)], -1)
        labels, where = labels.new_zeros(one), where.new_zeros(one)
        weights = None if weights is None else weights.new_zeros(one)
        padded = where
    return _real(scores, padded), _real(labels, padded), where, None if weights is None else _real(weights, padded)


# ---------------------------------------------------------------------------------------------------- order and ranks


def order(
    key: Tensor, where: Tensor | None = None, *, descending: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    """Indices `[..., list]` that sort each list by `key` (finite numbers); padded documents come last.

    Ties keep the order of the list, or, with a generator, come in a random order that is drawn anew at each call.
    """
    key = exact(key.detach())
    if where is not None:
        key = key.masked_fill(~where, -math.inf if descending else math.inf)
    if generator is None:
        return key.argsort(dim=-1, descending=descending, stable=True)
    shuffle = torch.rand(key.shape, generator=generator, device=generator.device).to(key.device).argsort(dim=-1)
    return shuffle.gather(-1, key.gather(-1, shuffle).argsort(dim=-1, descending=descending, stable=True))


def sort_by(
    key: Tensor,
    *tensors: Tensor,
    where: Tensor | None = None,
    descending: bool = True,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, ...]:
    """`tensors` `[..., list]`, each sorted by `key` as `order` says; the gradient flows through them, not the key.

    >>> sort_by(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]))
    (tensor([0, 1, 3, 2]),)
    """
    index = order(key, where, descending=descending, generator=generator)
    return tuple(t.gather(-1, index) for t in tensors)


def ranks(scores: Tensor, where: Tensor | None = None, *, generator: torch.Generator | None = None) -> Tensor:
    """1-based ranks `[..., list]` (int64) by descending score; ties as in `order`; pads rank behind all documents.

    >>> ranks(torch.tensor([1.2, 0.4, 1.9, -0.3]))
    tensor([2, 3, 1, 4])
    """
    index = order(scores, where, generator=generator)
    places = torch.arange(1, index.shape[-1] + 1, device=index.device).expand_as(index)
    return torch.empty_like(index).scatter_(-1, index, places)


def count_lower(labels: Tensor, where: Tensor | None = None) -> Tensor:
    """Documents of the list with a strictly smaller label, for each document: int64 `[..., list]`, 0 at pads.

    Its sum over a list is the number of ordered pairs, at the cost of a sort.

    >>> count_lower(torch.tensor([1, 3, 0, 2, 0]))
    tensor([2, 4, 0, 3, 0])
    """
    where = _mask(labels, where)
    labels = exact(labels.detach()).masked_fill(~where, math.inf)
    below = torch.searchsorted(labels.sort(dim=-1).values, labels.contiguous(), right=False)
    return below.masked_fill(~where, 0)


# ------------------------------------------------------------------------------------------- sums of exponentials


def _before_softmax(scores: Tensor, where: Tensor | None) -> Tensor:
    """Pads so low that their exponential is 0, yet finite: in a list of pads only, softmax and its gradient exist."""
    scores = exact(scores)
    return scores if where is None else torch.where(where, scores, torch.finfo(scores.dtype).min / 4)


def softmax(scores: Tensor, where: Tensor | None = None) -> Tensor:
    """Softmax over the real documents of each list; 0 at pads."""
    return _real(torch.softmax(_before_softmax(scores, where), -1), where)


def log_softmax(scores: Tensor, where: Tensor | None = None) -> Tensor:
    """Logarithm of `softmax`; pads hold 0, not -inf, so that weighted sums over the list need no second mask."""
    return _real(torch.log_softmax(_before_softmax(scores, where), -1), where)


def logsumexp(scores: Tensor, where: Tensor | None = None) -> Tensor:
    """log sum_j e^{s_j} over the real documents, `[...]`; -inf for a list without any, with gradient 0."""
    value = torch.logsumexp(_before_softmax(scores, where), -1)
    return value if where is None else value.masked_fill(~where.any(-1), -math.inf)


def reversed_logcumsumexp(scores: Tensor, where: Tensor | None = None) -> Tensor:
    """log sum_{j >= t} e^{s_j} for every place t, `[..., list]`, over real documents; pads stand last and come back 0.

    The denominators of Plackett-Luce, for scores sorted into the order in which documents are drawn.
    """
    scores = exact(scores)
    if where is not None:
        # Finite and e^-100 times the smallest term: no effect in float64, while -inf makes the gradient NaN.
        low = scores.detach().masked_fill(~where, math.inf).amin(-1, keepdim=True) - 100.0
        scores = torch.where(where, scores, low.masked_fill(~where.any(-1, keepdim=True), 0.0))
    if scores.device.type == "cpu" and _spread(scores) < 600:
        # In float64 plain exponentials reach as far, at a fifth of the time of logcumsumexp and its gradient.
        top = scores.detach().amax(-1, keepdim=True)
        sums = (scores - top).double().exp().flip(-1).cumsum(-1).flip(-1).log().to(scores.dtype) + top
    else:
        sums = scores.flip(-1).logcumsumexp(-1).flip(-1)
    return sums if where is None else sums.masked_fill(~where, 0.0)


def _spread(scores: Tensor) -> float:
    """The largest difference of two scores of one list."""
    if scores.numel() == 0:
        return 0.0
    low, high = scores.detach().aminmax(dim=-1)
    return (high - low).max().item()


def gumbel(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Standard Gumbel noise, float32, on the generator's device. Sorting scores plus noise is a Plackett-Luce draw."""
    uniform = torch.rand(shape, generator=generator, device=generator.device)
    return -torch.log(-torch.log(uniform.clamp(2.0**-30, 1 - 2.0**-24)))


# ------------------------------------------------------------------------------------------------ gains and discounts

Gain = Literal["exp2", "linear"]


def gains(labels: Tensor, gain: Gain = "exp2") -> Tensor:
    """What a document of each label is worth: "exp2" 2^y - 1, "linear" y.

    >>> gains(torch.tensor([1.0, 3.0, 0.0, 2.0]))
    tensor([1., 7., 0., 3.])
    """
    if gain == "exp2":
        return torch.exp2(exact(labels)) - 1.0
    if gain == "linear":
        return exact(labels)
    raise unknown_name("gain", str(gain), ("exp2", "linear"))


def discounts(ranks: Tensor, k: int | None = None) -> Tensor:
    """1 / log2(1 + rank), and 0 beyond rank `k`."""
    d = 1.0 / torch.log2(1.0 + exact(ranks))
    return d if k is None else d.masked_fill(ranks > k, 0.0)


def ideal_dcg(labels: Tensor, where: Tensor | None = None, *, gain: Gain = "exp2", k: int | None = None) -> Tensor:
    """DCG of the list sorted by its labels, `[...]`: the largest any ranking reaches; cut off at `k` when given."""
    worth = gains(labels, gain)
    if where is not None:
        worth = worth.masked_fill(~where, 0.0)
    if k is not None and k < worth.shape[-1]:
        best = worth.topk(k, dim=-1).values
    else:
        best = worth.sort(dim=-1, descending=True).values
    places = torch.arange(1, best.shape[-1] + 1, device=best.device)
    return (best * discounts(places.to(best.dtype))).sum(-1)


Target = Literal["gain", "lin", "soft"]


def list_target(
    labels: Tensor,
    where: Tensor | None = None,
    kind: Target = "gain",
    *,
    gain: Gain = "exp2",
    eps: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """What softmax(scores) should become, `[..., list]`: at least 0, summing to 1 over the real documents.

    All 0 where no label is above 0: lin and gain are undefined there, and soft, uniform, would only pull scores
    together.

    Args:
        labels: `[..., list]`.
        where: `[..., list]`; None: every document is real.
        kind: "lin" y / sum y; "gain" (g(y) + eps) / sum (g(y) + eps); "soft" softmax(y / temperature).
        gain: g of "gain".
        eps: of "gain": keeps every target above 0, so that the best scores, log z, are finite.
        temperature: of "soft".

    Raises:
        InputError: unknown kind or gain, eps below 0, temperature not above 0, or either given to another kind.

    >>> list_target(torch.tensor([1.0, 3.0, 0.0, 2.0]), kind="lin")
    tensor([0.1667, 0.5000, 0.0000, 0.3333])
    """
    if kind not in ("lin", "gain", "soft"):
        raise unknown_name("list target", str(kind), ("lin", "gain", "soft"))
    if eps < 0 or (eps and kind != "gain"):
        raise InputError("eps belongs to the gain target and is at least 0", came={"target": kind, "eps": eps})
    if not temperature > 0 or (temperature != 1 and kind != "soft"):
        came = {"target": kind, "temperature": temperature}
        raise InputError("temperature belongs to the soft target and is above 0", came=came)
    labels = _real(exact(labels), where)
    counted = some(labels > 0, keepdim=True)
    if kind == "soft":
        tempered = labels if temperature == 1 else labels / temperature
        return torch.softmax(_before_softmax(tempered, where), -1) * counted
    worth = gains(labels, "linear" if kind == "lin" else gain)
    if eps:
        worth = _real(worth + eps, where)
    return worth * (counted / worth.sum(-1, keepdim=True).where(counted, 1.0))


# ----------------------------------------------------------------------------------------------------------- pairs


def differences(x: Tensor) -> Tensor:
    """x_i - x_j for all pairs, `[..., list, list]`, i the row. For short lists; long ones go through `pair_sum`."""
    return x.unsqueeze(-1) - x.unsqueeze(-2)


Pick = Callable[[Tensor], Tensor]
Term = Callable[[Tensor, Pick, Pick], tuple[Tensor, Tensor]]

# Cells of one block of pairs. On a CPU the dozen temporaries of a term then stay in the second-level cache (four times
# the blocks is 1.5x slower at 64 lists x 240 documents); on a GPU launches cost more than memory.
_CELLS = {"cpu": 1 << 16, "cuda": 1 << 23}


def pair_sum(
    scores: Tensor, term: Term, *, rows: int | None = None, upper: bool = False, cells: int | None = None
) -> Tensor:
    """sum_ij f(s_i - s_j; i, j) of each list, value and gradient in one pass over blocks of pairs.

    Memory is O(list) plus one block, so lists of thousands of documents are a matter of time only. The gradient is kept
    from the forward pass; differentiating twice is refused.

    Args:
        scores: `[..., list]`, pads filled.
        term: `term(x, i, j)` gets x = s_i - s_j `[..., r, c]` of one block and two functions that pick the rows and the
            columns of that block from a `[..., list]` tensor (`i(t)` is `[..., r, 1]`, `j(t)` is `[..., 1, c]`). It
            returns the value and its derivative with respect to x, both `[..., r, c]`, without touching autograd; x
            may be overwritten. Masks and weights are its own business; weights are constants (no gradient).
        rows: only the first `rows` documents stand as i; None: all.
        upper: blocks wholly on or below the diagonal are skipped. The term must be 0 for the pairs j <= i of the
            blocks that remain, for example because documents are sorted by label and it asks y_i > y_j.
        cells: pairs in one block, over all lists; None: by device.

    Returns:
        `[...]`, one sum a list.

    >>> s = torch.tensor([1.2, 0.4, 1.9, -0.3], requires_grad=True)
    >>> round(pair_sum(s, lambda x, i, j: (x.square(), 2 * x)).item(), 4)  # 2 n^2 times the variance of the scores
    21.92
    """
    return _PairSum.apply(scores, term, rows, upper, cells)


class _PairSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, term, rows, upper, cells):
        n = scores.shape[-1]
        many = max(scores.numel() // max(n, 1), 1)
        cells = cells or _CELLS.get(scores.device.type, _CELLS["cuda"])
        rows = n if rows is None else min(rows, n)
        total = scores.new_zeros(scores.shape[:-1])
        gradient = torch.zeros_like(scores) if ctx.needs_input_grad[0] else None
        a = 0
        while a < rows:
            c = a + 1 if upper else 0
            if c >= n:
                break
            b = min(rows, a + max(cells // (many * (n - c)), 1))
            i, j = _picks(a, b, c)
            value, slope = term(i(scores) - j(scores), i, j)
            total += value.sum((-2, -1))
            if gradient is not None:
                gradient[..., a:b] += slope.sum(-1)
                gradient[..., c:] -= slope.sum(-2)
            a = b
        ctx.gradient = gradient
        return total

    @staticmethod
    def backward(ctx, upstream):
        if torch.is_grad_enabled():  # create_graph=True: the pairs' share of a second derivative would silently be 0
            raise RuntimeError("pair_sum keeps its gradient as a constant and is differentiated once (no create_graph)")
        return upstream.unsqueeze(-1) * ctx.gradient, None, None, None, None


def _picks(a: int, b: int, c: int) -> tuple[Pick, Pick]:
    return (lambda t: t[..., a:b, None]), (lambda t: t[..., None, c:])


def logistic(x: Tensor) -> tuple[Tensor, Tensor]:
    """log(1 + e^{-x}) and its derivative -sg(-x), finite and never flat for x far below 0.

    Both come from one exponential, three times as fast as softplus and sigmoid. The value of a pair won by a wide
    margin is exact to the precision of 1, its slope to its own.
    """
    e = x.abs().neg_().exp_()
    one = e + 1
    slope = torch.where(x >= 0, e, 1.0).div_(one).neg_()
    return one.log_().sub_(x.clamp(max=0)), slope


# -------------------------------------------------------------------------------------------------------- soft ranks


class Step(NamedTuple):
    """A smooth f(x) for 1[x < 0], x = s_i - s_j: what document j adds to the rank of i. In parts, for few passes.

    f(x) = offset + factor * value(scale * x) and f'(x) = slope_offset + slope_factor * slope(scale * x); `value` and
    `slope` may overwrite their block.
    """

    scale: float
    value: Callable[[Tensor], Tensor]
    offset: float
    factor: float
    slope: Callable[[Tensor], Tensor]
    slope_offset: float
    slope_factor: float


def soft_ranks(scores: Tensor, among: Tensor | None, step: Step, *, cells: int | None = None) -> Tensor:
    """1 + sum_{j != i} f(s_i - s_j), j among the documents of a mask, for every document i; `[..., list]`.

    With f(x) = 1[x < 0] it would be the rank among them. Memory is O(list) plus one block of pairs: the backward pass
    forms the pairs again.

    Args:
        scores: `[..., list]`, pads filled.
        among: bool `[..., list]`, the documents that count as j; None: all.
        step: f and its derivative.
        cells: pairs in one block, over all lists; None: by device.

    >>> logistic = Step(0.5, torch.tanh, 0.5, -0.5, lambda x: torch.tanh(x).square(), -0.25, 0.25)
    >>> soft_ranks(torch.tensor([1.2, 0.4, 1.9, -0.3]), None, logistic)
    tensor([2.1606, 2.8394, 1.6140, 3.3860])
    """
    return _SoftRanks.apply(scores, _mask(scores, among), step, cells)


class _SoftRanks(torch.autograd.Function):
    @staticmethod
    def _blocks(scores: Tensor, cells: int | None):
        n = scores.shape[-1]
        cells = cells or _CELLS.get(scores.device.type, _CELLS["cuda"])
        rows = max(cells // max(scores.numel(), 1), 1)
        return [slice(a, min(a + rows, n)) for a in range(0, n, rows)]

    @staticmethod
    def forward(ctx, scores, among, step, cells):
        ctx.save_for_backward(scores, among)
        ctx.step, ctx.cells = step, cells
        counted, scaled = among.to(scores.dtype), step.scale * scores
        sums = torch.empty_like(scores)
        with no_autocast(scores):
            for rows in _SoftRanks._blocks(scores, cells):
                ahead = step.value(scaled[..., rows, None] - scaled[..., None, :])
                sums[..., rows] = (ahead @ counted.unsqueeze(-1)).squeeze(-1)
        sums -= counted * step.value(scores.new_zeros(1))  # i is not its own rival
        rivals = counted.sum(-1, keepdim=True) - counted
        return sums.mul_(step.factor).add_(rivals, alpha=step.offset).add_(1)

    @staticmethod
    def backward(ctx, upstream):
        if torch.is_grad_enabled():
            raise RuntimeError("soft_ranks is differentiated once (no create_graph)")
        scores, among = ctx.saved_tensors
        step = ctx.step
        counted, scaled = among.to(scores.dtype), step.scale * scores
        # d/ds_i: upstream_i sum_j f'(s_i - s_j) m_j - m_i sum_j f'(s_j - s_i) upstream_j
        toward, away = torch.empty_like(scores), torch.zeros_like(scores)
        with no_autocast(scores):
            for rows in _SoftRanks._blocks(scores, ctx.cells):
                slope = step.slope(scaled[..., rows, None] - scaled[..., None, :])
                toward[..., rows] = (slope @ counted.unsqueeze(-1)).squeeze(-1)
                away += (upstream[..., None, rows] @ slope).squeeze(-2)
        gradient = step.slope_factor * (upstream * toward - counted * away)
        if step.slope_offset:
            flat = upstream * counted.sum(-1, keepdim=True) - counted * upstream.sum(-1, keepdim=True)
            gradient = gradient + step.slope_offset * flat
        return gradient, None, None, None
