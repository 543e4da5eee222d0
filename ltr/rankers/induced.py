"""Set attention through learned points: linear in the length of a list (Lee et al., ICML 2019, ISAB).

    h = attention of m learned queries over the documents          m x n
    y = attention of the documents over h                          n x m

Every document hears of every other through m vectors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import Keys

__all__ = ["InducedAttention"]


class InducedAttention(nn.Module):
    """In the place of `nets.Attention`; the norm, residual and feed-forward part of a block stay around it."""

    def __init__(self, width: int, heads: int, points: int):
        super().__init__()
        self.heads = heads
        self.points = nn.Parameter(torch.randn(points, width))
        self.documents = nn.Linear(width, 3 * width)  # keys and values for the points, queries of the points
        self.told = nn.Linear(width, 2 * width)  # keys and values that the points offer
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        """`[batch, list, width]` with the mask of `attention_mask`, or `[document, width]` with the lists' lengths."""
        k, v, q = self._heads(self.documents(x), 3)
        if isinstance(keys, Tensor):
            return self.out(self._mixed(k, v, q, keys).transpose(-3, -2).flatten(-2))
        lists = zip(*(each.split(keys, -2) for each in (k, v, q)), strict=True)
        return self.out(torch.cat([self._mixed(*each) for each in lists], -2).transpose(-3, -2).flatten(-2))

    def _heads(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """`[..., head, document, size]` of each part."""
        return x.unflatten(-1, (parts, self.heads, -1)).movedim(-3, 0).transpose(-3, -2).unbind(0)

    def _mixed(self, k: Tensor, v: Tensor, q: Tensor, keys: Tensor | None = None) -> Tensor:
        scale = q.shape[-1] ** -0.5
        asked = self.points.unflatten(-1, (self.heads, -1)).transpose(0, 1)
        logits = scale * asked @ k.mT
        if keys is not None:
            logits = logits.masked_fill(~keys, -torch.inf)
        h = (logits.softmax(-1) @ v).transpose(-3, -2).flatten(-2)
        own, given = self._heads(self.told(h), 2)
        return (scale * q @ own.mT).softmax(-1) @ given
