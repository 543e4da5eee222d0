"""A prompt that steers a list transformer: pairs beside its attention, and tokens that read a list and meet it.

    u = m w - 1;   (K_l, V_l) = pairs(u), for every block l;   c = tokens(u) [R, width]
    document i, a head     softmax(q_i K_docs^T / sqrt(size)) V_docs + softmax(q_i K_l^T / sqrt(size)) V_l
    token                  the same blocks; its first softmax is over itself and the documents, and no document sees it
    r(w, list)             A concat(norm c) / sqrt(R width)
    s_i                    head(norm x_i) + norm(x_i) . r

Prompts that stand among the documents hold a share of the attention that falls with the length of the list, and give
every document much the same. Pairs have a softmax of their own, which no length dilutes and which takes nothing from
the documents; tokens meet what the net knows of a document by a product. V and A start at 0: the net starts as it is.
(Measured in the notes; prefix pairs: prefix tuning, 2101.00190, there in one softmax with the documents.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltr.rankers.layers import attention_mask
from ltr.rankers.nets import Attention, ListTransformer

__all__ = ["PreferenceMap", "Steering"]


class PreferenceMap(nn.Module):
    """w -> layers with SiLU -> numbers.

    Args:
        inputs, hidden, outputs: widths.
        silent: start at 0 for every w.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int, silent: bool):
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in zip((inputs, *hidden), hidden, strict=False):
            layers += [nn.Linear(a, b), nn.SiLU()]
        last = nn.Linear((inputs, *hidden)[-1], outputs)
        if silent:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, w: Tensor) -> Tensor:
        return self.layers(w)


class Steering(nn.Module):
    """What w brings to a transformer's blocks and to its last layer.

    Args:
        net: the transformer; its weights stay its own.
        inputs: width of what the maps are given.
        hidden: of the maps.
        tokens: R, those that read the list.
        pairs: keys and values a block; 0 has none, and the documents are then the same for every w.
        entry: the first block with pairs.
    """

    def __init__(self, net: ListTransformer, inputs: int, hidden: Sequence[int], tokens: int, pairs: int, entry: int):
        super().__init__()
        width = net.project.out_features
        self.n_tokens, self.n_pairs, self.entry = tokens, pairs, entry
        self.tokens = PreferenceMap(inputs, hidden, tokens * width, False)
        self.out = nn.Linear(tokens * width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        if pairs:
            half = (len(net.blocks) - entry) * pairs * width
            self.pairs = PreferenceMap(inputs, hidden, 2 * half, False)
            last: Any = self.pairs.layers[-1]
            with torch.no_grad():
                last.weight[half:].zero_()
                last.bias[half:].zero_()
                last.bias[:half].normal_()

    def forward(self, net: Any, x: Tensor, where: Tensor, w: Tensor, seen: list[dict[str, Any]] | None = None):
        """Scores `[batch, preference, list]`, pads 0.

        Args:
            net: the transformer.
            x: documents before its first block, `[batch, 1, list, width]`.
            where: `[batch, list]`.
            w: `[batch or 1, preference, input]`.
            seen: is given what attention did in each block (`ltr.methods.steering` makes a report of it).
        """
        c = self.tokens(w).unflatten(-1, (self.n_tokens, -1)).to(x.dtype)
        pairs = self._pairs(net, w)
        for block, own in zip(net.blocks, pairs, strict=True):
            x, c = self._through(block, x, where, c, own, seen)
        x, read = net.norm(x), net.norm(c).flatten(-2)
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            r = self.out(read.float()) * self.out.in_features**-0.5  # [batch or 1, preference, width]
            if x.shape[1] == 1:  # documents are the same for all preferences: one product
                met = r @ x.squeeze(1).mT
            else:
                met = (x @ r.unsqueeze(-1)).squeeze(-1)
            scores = net.head.bound(net.head.linear(x).squeeze(-1) + met)
        return scores.masked_fill(~where.unsqueeze(1), 0.0)

    def _pairs(self, net: Any, w: Tensor) -> list[tuple[Tensor, Tensor] | None]:
        """Keys and values of each block, `[batch or 1, preference, head, pair, size]` each."""
        none: list[tuple[Tensor, Tensor] | None] = [None] * (self.entry if self.n_pairs else len(net.blocks))
        if not self.n_pairs:
            return none
        heads, steered = net.blocks[0].attend.heads, len(net.blocks) - self.entry
        key, value = self.pairs(w).unflatten(-1, (2, steered, heads, self.n_pairs, -1)).unbind(2)
        return none + list(zip(key.unbind(2), value.unbind(2), strict=True))

    @staticmethod
    def _through(block: Any, x: Tensor, where: Tensor, c: Tensor, pairs, seen) -> tuple[Tensor, Tensor]:
        """One block: documents `[batch, 1 or preference, list, width]`, tokens `[batch or 1, preference, R, width]`."""
        attend, copies = block.attend, x.shape[1]
        q, k, v = _heads(attend, block.norm1(x))
        mask = attention_mask(where)
        keys = mask.unsqueeze(1).expand(-1, copies, -1, -1, -1).flatten(0, 1)
        p = attend.p if block.training else 0.0
        lists = [each.flatten(0, 1) for each in (q, k, v)]
        mixed = F.scaled_dot_product_attention(lists[0], lists[1], lists[2], attn_mask=keys, dropout_p=p)
        mixed = mixed.unflatten(0, q.shape[:2])

        asks, own_key, own_value = _heads(attend, block.norm1(c))
        scale = asks.shape[-1] ** -0.5
        own = (asks * own_key).sum(-1, keepdim=True)  # each token and itself
        together = (lambda t: t) if copies == c.shape[1] else _side_by_side
        logits = together(asks) @ k.mT
        logits = logits.masked_fill(~where[:, None, None, None, :], -torch.inf)
        own = together(own).expand(*logits.shape[:-1], 1)
        weights = (torch.cat([own, logits], -1) * scale).softmax(-1)
        read = weights[..., 1:] @ v + weights[..., :1] * together(own_value)
        if copies != c.shape[1]:
            read = read.squeeze(1).unflatten(2, (c.shape[1], -1)).transpose(1, 2)
        told = None if pairs is None else _told(q, *pairs)
        if seen is not None:
            seen.append({"itself": weights[..., 0], "documents": mixed, "pairs": told})
        if pairs is not None:
            mixed, read = mixed + told, read + _told(asks, *pairs)
        return _finish(block, x, mixed), _finish(block, c, read)


def _heads(attend: Attention, x: Tensor) -> tuple[Tensor, ...]:
    """q, k and v of `[batch, preference, place, width]`, `[batch, preference, head, place, size]` each."""
    return attend.qkv(x).unflatten(-1, (3, attend.heads, -1)).permute(3, 0, 1, 4, 2, 5).unbind(0)


def _side_by_side(t: Tensor) -> Tensor:
    """`[batch, preference, head, R, size]` -> `[batch, 1, head, preference R, size]`, to meet one copy of a list."""
    return t.transpose(1, 2).flatten(2, 3).unsqueeze(1)


def _told(q: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return ((q * q.shape[-1] ** -0.5) @ key.mT).softmax(-1) @ value


def _finish(block: Any, x: Tensor, mixed: Tensor) -> Tensor:
    """The rest of a block, from what its attention mixed, `[batch, preference, head, place, size]`."""
    return block.feed(x + block.dropout(block.attend.out(mixed.transpose(-3, -2).flatten(-2))))
