"""Dropout and attention in the forms a CPU is fast at.

Products of matrices take half of a transformer's training step on a CPU; what surrounds them is worth care. Dropout
draws four values at once and after a relu keeps no mask. Attention of lists that lie one after another pads none of
them, and up to a few hundred documents is two products and a softmax that stay in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from ltr.ops import no_autocast

__all__ = ["ACTIVATION", "Dropout", "Keys", "attend", "attention_mask", "on_documents", "padded"]

ACTIVATION = {"relu": nn.ReLU, "gelu": nn.GELU, "elu": nn.ELU, "silu": nn.SiLU, "tanh": nn.Tanh}

Keys = Tensor | list[int]
"""Who attends to whom: `attention_mask` of padded lists, or the lengths of lists that lie one after another."""

# Up to this length torch's fused attention is slower on a CPU than the products (by a fifth at 120 documents); beyond,
# the weights leave the cache, and memory grows with their square.
_FUSED = 256


def on_documents(features: Tensor, where: Tensor) -> tuple[Tensor, Tensor | None]:
    """On a CPU the documents of padded lists one after another, `[..., document, feature]`, and their cells.

    Elsewhere all cells, `[..., batch x list, feature]`, and None: how many documents there are only the device knows,
    and a graph that is exported or compiled has no number there.
    """
    flat = features.flatten(-3, -2)
    if features.device.type != "cpu" or torch.compiler.is_compiling():
        return flat, None
    cells = where.flatten().nonzero().squeeze(1)
    return flat.index_select(-2, cells), cells


def padded(scores: Tensor, cells: Tensor | None, where: Tensor) -> Tensor:
    """Scores `[..., document]` of what `on_documents` gave, as `[..., batch, list]`, pads 0."""
    if cells is None:
        return scores.unflatten(-1, where.shape).masked_fill(~where, 0.0)
    return scores.new_zeros(*scores.shape[:-1], where.numel()).index_copy(-1, cells, scores).unflatten(-1, where.shape)


class Dropout(nn.Module):
    """Zeroes each value with probability p in training and divides the others by 1 - p; nothing otherwise.

    On a CPU torch draws one number a value, which takes longer than the matrix product before it. Sixteen random bits
    decide as well (p is rounded to 1 / 65,536, and the division with it), so one 64-bit draw serves four values.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        return x * _mask(x, self.p) if x.device.type == "cpu" else F.dropout(x, self.p)

    def after(self, activation: nn.Module, z: Tensor) -> Tensor:
        """Dropout of activation(z). After a relu the backward pass needs no mask: what was dropped is 0."""
        if self.training and self.p > 0 and z.device.type == "cpu" and isinstance(activation, nn.ReLU):
            return _ReluDropout.apply(z, self.p)
        return self(activation(z))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def attention_mask(where: Tensor) -> Tensor:
    """Which documents may be attended to, bool `[batch, 1, 1, list]`.

    A list without documents may look everywhere: softmax over nothing is NaN, and NaN times 0 stays NaN in gradients.
    """
    return (where | ~where.any(-1, keepdim=True))[:, None, None, :]


def attend(qkv: Tensor, lengths: Sequence[int], p: float = 0.0) -> Tensor:
    """Attention within each of the lists that lie one after another, on a CPU.

    Args:
        qkv: `[..., document, 3, head, size]`.
        lengths: of the lists; their sum is the number of documents.
        p: dropout of the attention weights, as `Dropout` does it.

    Returns:
        `[..., document, head, size]`.
    """
    if p == 0 and max(lengths, default=0) > _FUSED:
        return torch.cat([_fused(*each.transpose(-4, -2).unbind(-3)) for each in qkv.split(lengths, -4)], -3)
    return _Attend.apply(qkv, lengths, p)


def _fused(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One list `[..., head, document, size]` -> `[..., document, head, size]`; torch fuses four dimensions only."""
    each = [t.reshape(-1, *t.shape[-3:]) for t in (q, k, v)]
    mixed = F.scaled_dot_product_attention(each[0], each[1], each[2])
    return mixed.view(q.shape).transpose(-3, -2)


class _Attend(torch.autograd.Function):
    """Written down with its backward pass because the gradients of q, k and v then need no putting together."""

    @staticmethod
    def forward(ctx, qkv: Tensor, lengths: Sequence[int], p: float) -> Tensor:
        mixed = qkv.new_empty(*qkv.shape[:-3], *qkv.shape[-2:])
        weights, masks = [], []
        with no_autocast(qkv):  # one type in both directions
            for (q, k, v), out in zip(_lists(qkv, lengths), mixed.split(lengths, -3), strict=True):
                w = (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1)
                weights.append(w)
                if p > 0:
                    masks.append(_mask(w, p))
                    w = w * masks[-1]
                out.copy_((w @ v).transpose(-3, -2))
        ctx.save_for_backward(qkv, *weights, *masks)
        ctx.lengths = lengths
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None]:
        qkv, *kept = ctx.saved_tensors
        n, gradient = len(ctx.lengths), torch.empty_like(qkv)
        masks = kept[n:] or [None] * n
        each = zip(
            _lists(qkv, ctx.lengths), _lists(gradient, ctx.lengths), upstream.split(ctx.lengths, -3), strict=True
        )
        for ((q, k, v), (to_q, to_k, to_v), g), w, mask in zip(each, kept[:n], masks, strict=True):
            g, scale = g.transpose(-3, -2), q.shape[-1] ** -0.5
            slope = g @ v.mT if mask is None else (g @ v.mT).mul_(mask)
            slope = torch.ops.aten._softmax_backward_data(slope, w, -1, w.dtype).mul_(scale)
            to_q.copy_(slope @ k)
            to_k.copy_(slope.mT @ q)
            to_v.copy_((w if mask is None else w * mask).mT @ g)
        return gradient, None, None


def _lists(qkv: Tensor, lengths: Sequence[int]) -> list[tuple[Tensor, ...]]:
    """(q, k, v) of each list, views `[..., head, document, size]`."""
    return [each.transpose(-4, -2).unbind(-3) for each in qkv.split(lengths, -4)]


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z: Tensor, p: float) -> Tensor:
        y = z.relu().mul_(_mask(z, p))
        ctx.save_for_backward(y)
        ctx.factor = _factor(p)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None]:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.threshold_backward(upstream, y, 0).mul_(ctx.factor), None


def _dropped(p: float) -> int:
    """Of 65,536 values."""
    return min(round(p * 65_536), 65_535)


def _factor(p: float) -> float:
    return 65_536 / (65_536 - _dropped(p))


def _mask(x: Tensor, p: float) -> Tensor:
    """0 where a value is dropped, and the factor of the others, in the shape and type of `x`, on a CPU."""
    n = x.numel()
    bits = torch.empty(-(-n // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)[:n].view(x.shape)
    return torch.ge(bits, _dropped(p) - 32_768, out=torch.empty(x.shape, dtype=x.dtype)).mul_(_factor(p))
