"""Primitives along the list axis: what is real, order and ranks, sums of exponentials, gains and discounts."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from ltr.errors import InputError, unknown_name

__all__ = [
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
    "no_autocast",
    "order",
    "reversed_logcumsumexp",
    "softmax",
    "some",
]


def exact(x: Tensor) -> Tensor:
    """`x` in a type to compute in: float32 for half precision and integers, else unchanged."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def no_autocast(x: Tensor) -> torch.autocast:
    """A context in which products of matrices on the device of `x` keep the precision of their factors."""
    return torch.autocast(x.device.type, enabled=False)


def mask_of(x: Tensor, where: Tensor | None) -> Tensor:
    """`where`, or all True."""
    return torch.ones_like(x, dtype=torch.bool) if where is None else where


def _real(x: Tensor, where: Tensor | None) -> Tensor:
    """`x` with pads 0. On a CPU `where` is half again as fast as `masked_fill`, forward and backward."""
    return x if where is None else torch.where(where, x, 0.0)


def some(mask: Tensor, keepdim: bool = False) -> Tensor:
    """Whether anything along the list axis is True, bool `[...]`: `any`, by a reduction that a CPU vectorises."""
    return mask.amax(-1, keepdim) if mask.shape[-1] else mask.any(-1, keepdim)


def differ(labels: Tensor, where: Tensor | None = None, keepdim: bool = False) -> Tensor:
    """Which lists have something to teach a ranking, bool `[...]`: those whose labels are not all equal.

    Where they are, every ranking is as good as any other (its nDCG is 1), so that no list loss and no list target may
    pull there. This is the only place that says so.

    >>> differ(torch.tensor([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]]))
    tensor([False, False,  True])
    """
    if labels.shape[-1] == 0:
        return labels.new_zeros((*labels.shape[:-1], *[1] * keepdim), dtype=torch.bool)
    labels = exact(labels)
    low = high = labels
    if where is not None:
        high, low = torch.where(where, labels, -math.inf), torch.where(where, labels, math.inf)
    return high.amax(-1, keepdim) > low.amin(-1, keepdim)


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
    padded, where = where, mask_of(scores, where)
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
    random = torch.rand(key.shape, generator=generator, device=generator.device).to(key.device)
    if key.dtype == torch.float32:  # both in one integer, the random one has 24 bits: one sort for two
        bits = (0.0 - key if descending else key + 0.0).view(torch.int32)
        bits = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # two's complement integers in the order of the floats
        return ((bits.to(torch.int64) << 24) + (random * 2**24).to(torch.int64)).argsort(dim=-1, stable=True)
    shuffle = random.argsort(dim=-1)
    return shuffle.gather(-1, key.gather(-1, shuffle).argsort(dim=-1, descending=descending, stable=True))


def in_order(index: Tensor, *each: Tensor | None) -> Any:
    """The tensors `[..., list]` with their documents in this order, as `order` gives one; None stays None."""
    return tuple(None if x is None else x.gather(-1, index) for x in each)


def count_lower(labels: Tensor, where: Tensor | None = None) -> Tensor:
    """Documents of the list with a strictly smaller label, for each document: int64 `[..., list]`, 0 at pads.

    Its sum over a list is the number of ordered pairs, at the cost of a sort.

    >>> count_lower(torch.tensor([1, 3, 0, 2, 0]))
    tensor([2, 4, 0, 3, 0])
    """
    where = mask_of(labels, where)
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

    All 0 where the labels are all equal (`differ`): with only zeros lin and gain are undefined, and a uniform target
    would pull scores together for nothing.

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
    counted = differ(labels, where, keepdim=True)
    if kind == "soft":
        tempered = labels if temperature == 1 else labels / temperature
        return torch.softmax(_before_softmax(tempered, where), -1) * counted
    worth = gains(labels, "linear" if kind == "lin" else gain)
    if eps:
        worth = _real(worth + eps, where)
    return worth * (counted / worth.sum(-1, keepdim=True).where(counted, 1.0))
