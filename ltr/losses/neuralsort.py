"""NeuralSort: sorting as a matrix of softmax rows, and the NDCG of what it sorts.

    P[i, j] = softmax_j( ((n + 1 - 2i) s_j - sum_l |s_j - s_l|) / tau ),  i = 1..n        Grover et al., ICLR 2019

Row i says which document stands at rank i. For tau -> 0 it is the permutation that sorts the list, so that both losses
here become 1 - NDCG. Rows sum to 1; columns do not, so that gains are counted more or less than once; NeuralNDCG
scales the matrix until they do, PiRank does not.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

from .base import LOSSES, counts, normalised_gains

__all__ = ["neuralndcg", "pirank"]

_sorted = partial(LOSSES.register, needs="pair", gains=True, shift_invariant=True, convex=False)


def _gains(
    loss: str,
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    gain: ops.Gain,
    k: int | None,
    temperature: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Lists sorted by score, pads last: scores, where, G; and for each list the 1 of 1 - NDCG and whether it counts."""
    if not temperature > 0 or (k is not None and k < 1):
        raise InputError(f"{loss} needs temperature > 0 and k >= 1", came={"temperature": temperature, "k": k})
    worth, perfect = normalised_gains(labels, where, weights, gain, k)
    ordered = counts(labels, where, "pair")
    order = ops.order(scores, where)
    scores, where, worth = ops.in_order(order, scores, where, worth)
    return scores, where, worth, perfect, ordered


# ------------------------------------------------------------------------------------------------------- NeuralNDCG


@_sorted(
    "neuralndcg",
    formula="1 - sum_{i <= k} (S g)_i / D(i) / IDCG@k, S the doubly stochastic scaling of NeuralSort's P",
    source="Pobrotyn and Bialobrzeski, 2021 (2102.07831), eqs. 10-13",
    memory="square",
)
def neuralndcg(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """One minus the NDCG of a list sorted by a doubly stochastic matrix, scaled to convergence.

    The paper's transposed form, which computes expected discounts per document instead of expected gains per rank, is
    the same number, d' S g read from the other end, and is not a second loss.

    S is the only matrix diag(u) P diag(v) whose rows and columns sum to 1. Sinkhorn's iteration finds it by turns and
    needs about four times the length of the list in rounds (929 at 240 normal scores, for sums within 1e-6; public code
    stops at 50); here Newton's method on v finds it in about seven. The gradient is the implicit one: at the solution
    neither the path to it nor NeuralSort's sum of |s_j - s_l| matters (v absorbs it). A few lists at a time are solved,
    in float64: the memory of a batch is that of a few of its lists.

    Args:
        weights: multiply the gain of their document.
        gain: "exp2" 2^y - 1 or "linear" y.
        k: cut-off of the NDCG; None: none. It does not change the cost, columns need all ranks.
        temperature: tau, in units of the scores times ranks; 1 as in the paper. Larger is smoother and further
            from NDCG.

    Returns:
        `[...]`, one value a list; 0 for a list whose labels are all equal, whose NDCG no ranking changes.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - neuralndcg(s, y), 1 - neuralndcg(s, y, temperature=0.1)  # the NDCG is .57735
    (tensor(0.6092), tensor(0.5774))
    """
    lists = _gains("neuralndcg", scores, labels, where, weights, gain, k, temperature)
    scores, where, worth, perfect, ordered = lists
    sorted_gain: Tensor = _ScaledSort.apply(scores, where, worth, k, temperature)  # type: ignore[no-untyped-call]
    return (perfect - sorted_gain) * ordered


_ROUNDS = 60  # about seven are needed

# Cells of the matrices solved at a time: half a megabyte of float64, inside the second-level cache; on a GPU half a
# gigabyte.
_CELLS = {"cpu": 1 << 16, "cuda": 1 << 26}


class _ScaledSort(torch.autograd.Function):
    """d' S g, `[...]`, with d = 1/D up to k and g `[..., list]`; scores sorted descending, pads last."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, where: Tensor, worth: Tensor, k: int | None, temperature: float) -> Tensor:
        n = scores.shape[-1]
        flat = [t.reshape(-1, n) for t in (scores.double(), where, worth.double())]
        value, gradient = flat[0].new_zeros(flat[0].shape[0]), torch.zeros_like(flat[0])
        lengths = flat[1].sum(-1)
        by_length = lengths.argsort()  # lists of a block share its width
        tolerance = 1e-12 if scores.dtype == torch.float64 else 1e-6
        cells, start = _CELLS.get(scores.device.type, _CELLS["cuda"]), 0
        while start < len(by_length):
            # How far the block reaches depends on the lengths of its lists, which only a CPU can look at for free.
            width = n if scores.is_cuda else max(int(lengths[by_length[start]]), 1)
            rows = by_length[start : start + max(cells // width**2, 1)]
            width = n if scores.is_cuda else max(int(lengths[rows[-1]]), 1)
            s, real, g = (t[rows, :width] for t in flat)
            with ops.no_autocast(scores):
                value[rows], gradient[rows, :width] = _solve(s, real, g, k, temperature, tolerance)
            start += len(rows)
        ctx.gradient = gradient.reshape(scores.shape).to(scores.dtype)
        return value.reshape(scores.shape[:-1]).to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream.unsqueeze(-1) * ctx.gradient, None, None, None, None


def _solve(s: Tensor, real: Tensor, g: Tensor, k: int | None, tau: float, tolerance: float) -> tuple[Tensor, Tensor]:
    """Value `[lists]` and gradient `[lists, n]` of d' S g for sorted scores, all float64.

    S = diag(u) P diag(v), u = 1 / (P v), and b = log v such that the columns c of S sum to 1. That is the minimum of
    the convex sum_i log (P v)_i - sum_j b_j, with gradient c - 1 and Hessian diag(c) - S'S. P is formed once;
    everything else multiplies it with vectors, but for the inverse Hessian, kept in float32 as long as it serves.
    """
    place = torch.arange(1, s.shape[-1] + 1, device=s.device, dtype=s.dtype)
    count, ones = real.sum(-1, keepdim=True).double(), real.to(s.dtype)
    steep = (count + 1 - 2 * place) / tau
    offset = (-_distances(s, real) / tau).masked_fill_(~real & real.any(-1, keepdim=True), -torch.inf)
    z = torch.addcmul(offset.unsqueeze(-2), steep.unsqueeze(-1), s.unsqueeze(-2))
    # What is nothing becomes 0: the processor takes a hundred times as long for numbers too small to be normal.
    sort = torch.threshold_(torch.softmax(z, -1), 1e-18, 0.0)
    sort32 = sort.float()
    free = (ones / count.clamp(min=1).sqrt()).float()  # moving all b together does nothing
    free = free.unsqueeze(-1) * free.unsqueeze(-2)
    ridge = torch.where(real, 1e-6, 1.0)

    def down(x: Tensor) -> Tensor:  # P'x
        return (x.unsqueeze(-2) @ sort).squeeze(-2)  # several times as fast as sort.mT @ x

    def across(x: Tensor) -> Tensor:  # P x
        return (sort @ x.unsqueeze(-1)).squeeze(-1)

    def scale(b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        v = b.exp() * ones
        u = ones / across(v).clamp(min=1e-300)
        c = v * down(u)
        return u, v, c, (c - ones).abs().amax(-1)

    def inverse_hessian(u: Tensor, v: Tensor, c: Tensor) -> Tensor:
        m = (sort32 * u.float().unsqueeze(-1)).mul_(v.float().unsqueeze(-2))
        hessian = torch.baddbmm(free, m.mT, m, alpha=-1)
        hessian.diagonal(dim1=-2, dim2=-1).add_((c + ridge).float())
        return torch.cholesky_inverse(torch.linalg.cholesky_ex(hessian)[0])  # it is applied about ten times

    def newton(inverse: Tensor, x: Tensor) -> Tensor:
        return (x.float().unsqueeze(-2) @ inverse).squeeze(-2).double()

    b = torch.zeros_like(s)
    u, v, c, error = scale(b)
    inverse, fresh = inverse_hessian(u, v, c), True
    for _ in range(_ROUNDS):
        if error.max() < tolerance:
            break
        ahead = b + newton(inverse, ones - c)
        there = scale(ahead)
        failed = ~(there[3] < (2.0 if fresh else 0.5) * error) & (error >= tolerance)
        if failed.any():
            if not fresh:  # it serves until it brings too little; then it is renewed where the lists stand
                inverse, fresh = inverse_hessian(u, v, c), True
                continue
            # A step of Sinkhorn never leads away from the solution: it stands in where Newton's failed.
            back = (b - c.clamp(min=1e-300).log()) * ones
            ahead = torch.where(failed.unsqueeze(-1), back, ahead)
            there = scale(ahead)
        b, (u, v, c, error) = ahead, there
        fresh = bool(failed.any())
        if fresh:
            inverse = inverse_hessian(u, v, c)

    d = ops.discounts(place, k).expand_as(s) * ones
    p, q = d * u * across(v * g), g * v * down(u * d)
    # The adjoint of "rows and columns sum to 1": (diag(c) - S'S) mu = q - S'p, by the inverse at hand, refined.
    right = q - v * down(u * p)
    mu, size = torch.zeros_like(right), right.abs().amax(-1)
    for _ in range(_ROUNDS):
        rest = right - c * mu + v * down(u * u * across(v * mu))
        if (rest.abs().amax(-1) <= tolerance * size + 1e-16).all():
            break
        mu = mu + newton(inverse, rest)
    la = p - u * across(v * mu)
    # ds_j = sum_i (n + 1 - 2i) / tau S_ij (d_i g_j - la_i - mu_j)
    pull = (u.unsqueeze(-2) * torch.stack([steep * d, steep * la, steep], -2)) @ sort
    return p.sum(-1), v * (pull[..., 0, :] * g - pull[..., 1, :] - pull[..., 2, :] * mu)


def _distances(s: Tensor, real: Tensor) -> Tensor:
    """sum_l |s_j - s_l| over the real documents, for scores sorted descending, pads last; `[..., list]`."""
    s = s.masked_fill(~real, 0.0)
    place = torch.arange(1, s.shape[-1] + 1, device=s.device, dtype=s.dtype)
    count = real.sum(-1, keepdim=True)
    before = s.cumsum(-1)  # of the scores down to here
    total = before[..., -1:]
    return (before - place * s + (count - place) * s - (total - before)).masked_fill(~real, 0.0)


# ----------------------------------------------------------------------------------------------------------- PiRank


@_sorted(
    "pirank",
    formula="1 - sum_{i <= k} (P g)_i / D(i) / IDCG@k, P NeuralSort's matrix as it is",
    source="Swezey et al., 2020 (2012.06731)",
    sorts=False,
)
def pirank(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    gain: ops.Gain = "exp2",
    k: int | None = None,
    temperature: float = 1.0,
    straight_through: bool = False,
) -> Tensor:
    """One minus the NDCG of a list sorted by NeuralSort's matrix, of which only the first k rows are needed.

    Without Sinkhorn the columns of P do not sum to 1, so that the gain of a document can be counted more than once:
    free scores that descend this loss keep the best documents within a temperature of each other, in any order, and
    its value can fall below 0 (measured on five documents).

    Values per list are averaged by whoever reduces; the paper's code divides the DCG of a batch by the ideal DCG of the
    batch, in which long lists with many relevant documents decide.

    Args:
        weights: multiply the gain of their document.
        gain: "exp2" 2^y - 1 or "linear" y.
        k: cut-off of the NDCG, and the rows that are formed; None: all. (15 for lists of 100 in the paper.)
        temperature: tau; 1 as in `neuralndcg`, 5 in the paper.
        straight_through: the value is that of the sorted list, 1 - NDCG@k itself (ties in the order of the list), and
            the gradient that of the soft one, as in the paper's experiments.

    >>> s, y = torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2])
    >>> 1 - pirank(s, y), 1 - pirank(s, y, straight_through=True)
    (tensor(0.6326), tensor(0.5774))
    """
    lists = _gains("pirank", scores, labels, where, weights, gain, k, temperature)
    scores, where, worth, perfect, ordered = lists
    sorted_gain: Tensor = _SoftSort.apply(scores, where, worth, k, temperature)  # type: ignore[no-untyped-call]
    if straight_through:
        place = torch.arange(1, scores.shape[-1] + 1, device=scores.device, dtype=scores.dtype)
        sorted_gain = (worth * ops.discounts(place, k)).sum(-1) + sorted_gain - sorted_gain.detach()
    return (perfect - sorted_gain) * ordered


class _SoftSort(torch.autograd.Function):
    """d' P g, `[...]`, value and gradient in one pass over blocks of rows; scores sorted descending, pads last."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, where: Tensor, worth: Tensor, k: int | None, tau: float) -> Tensor:
        # float64 products are no business of autocast
        s, g, ones = scores.double(), worth.double(), where.double()
        n = s.shape[-1]
        count = ones.sum(-1, keepdim=True)
        place = torch.arange(1, n + 1, device=s.device, dtype=s.dtype)
        steep = (count + 1 - 2 * place) / tau
        d = ops.discounts(place, k).expand_as(s) * ones
        offset = (-_distances(s, where) / tau).masked_fill(~where & where.any(-1, keepdim=True), -torch.inf)
        total, direct, through = s.new_zeros(s.shape[:-1]), torch.zeros_like(s), torch.zeros_like(s)
        last = n if k is None else min(k, n)
        step = max(_CELLS.get(s.device.type, _CELLS["cuda"]) // max(s.numel(), 1), 1)
        for a in range(0, last, step):
            rows = slice(a, min(a + step, last))
            p = torch.softmax(steep[..., rows, None] * s.unsqueeze(-2) + offset.unsqueeze(-2), -1)
            gained = (p @ g.unsqueeze(-1)).squeeze(-1)
            total += (d[..., rows] * gained).sum(-1)
            pull = p.mul_(g.unsqueeze(-2) - gained.unsqueeze(-1)).mul_(d[..., rows, None])
            direct += (steep[..., None, rows] @ pull).squeeze(-2)
            through -= pull.sum(-2) / tau  # by way of the distances
        # d|s_j - s_l| is the sign of s_j - s_l, 0 for equal scores: differences of sums over strictly lower and higher.
        lower, higher = ops.count_lower(s, where), ops.count_lower(-s, where)
        sums = torch.cat([torch.zeros_like(through[..., :1]), through.cumsum(-1)], -1)
        above, upto = sums.gather(-1, higher), sums.gather(-1, count.long() - lower)
        gradient = direct + through * (lower - higher) + (sums[..., -1:] - upto) - above
        ctx.gradient = gradient.masked_fill(~where, 0.0).to(scores.dtype)
        return total.to(scores.dtype)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return upstream.unsqueeze(-1) * ctx.gradient, None, None, None, None
