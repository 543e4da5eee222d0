"""Scores for many preferences, without gradients: the arithmetic that makes a front cheap.

`Conditioned.shared` has computed what no preference changes. The rest is done here for blocks of preferences x
documents that stay in a processor's cache, and wherever it is exact, what comes from w is moved into weights, where it
costs something once a preference and not once a document. With v, c the weights and the bias of the last layer:

    head, or FiLM after the last hidden layer    (a z + d) . v + c = (a v) . z + (d . v + c), a product for all w
    mixture                                      log sum_k w_k p^k = log (w . e^{log p - top}) + top, likewise
    FiLM in front of a layer norm                mean and variance of a z + d are quadratic in z: products
    FiLM of a hidden layer                       a (W h + b) + d = (a W) h + (a b + d)
    prompts of the last block                    documents attend to documents once; a prompt is one more term of their
                                                 softmax, beside e^lse of the documents

What is left where attention itself depends on w (FiLM, prompts or pairs from the first block on, concat, tokens that
read a list) takes whole lists through the blocks, in pieces of lists of like length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltr import ops
from ltr.rankers.nets import Head, Linear, MaskedBatchNorm, attention_mask

from .config import STEERING

__all__ = ["score_many"]

# Numbers of the widest intermediate result in a block: two of them fill the cache of a processor's core (2 MB of
# float32); a GPU wants to be filled.
_ROOM = {"cpu": 1 << 18}
_ROOM_ELSEWHERE = 1 << 26
_DOCUMENTS = 512  # of a block on a processor: products with fewer rows are slower

Finish = Callable[[slice, slice], Tensor]  # (preferences, documents) -> scores [preference, document]


@torch.no_grad()
def score_many(net, shared: Tensor, where: Tensor, w: Tensor) -> Tensor:
    """Scores float32 `[preference, document]`: the real documents of the batch, one list after another.

    Equal to the net's own `forward` up to rounding; neither its scale nor a reference is in them.

    Args:
        net: a `Conditioned` in evaluation mode.
        shared: what its `shared` gave, `[batch, 1, list, width]`.
        where: `[batch, list]`.
        w: what its map is given, `[preference, input]`.
    """
    room = _ROOM.get(shared.device.type, _ROOM_ELSEWHERE)
    out = shared.new_empty((len(w), int(where.sum())), dtype=torch.float32)
    kind, blocks = net.config.kind, len(net.net.blocks) if net.listwise else 0
    if net.listwise and (kind in ("concat", *STEERING) or (kind in ("film", "prompt") and blocks > net.entry + 1)):
        return _through_lists(net, shared, where, w, room, out)
    finish, width = _after_lists(net, shared.squeeze(1), where, w, room)
    cells = max(room // width, 1)
    step = min(out.shape[1], _DOCUMENTS if shared.device.type == "cpu" else cells) or 1
    for documents in _slices(out.shape[1], step):
        for preferences in _slices(len(w), max(cells // step, 1)):
            out[preferences, documents] = finish(preferences, documents)
    return out


def _after_lists(net, shared: Tensor, where: Tensor, w: Tensor, room: int) -> tuple[Finish, int]:
    """What is left for a document and a preference, and the width of its widest result."""
    kind, inner = net.config.kind, net.net
    if kind == "mixture":
        return _mixed(net, shared, where, w)
    if kind == "prompt" and len(inner.blocks):
        return _prompted(net, shared, where, w, room)
    z = shared[where].float()
    if kind == "outputs":
        outputs = inner.head.bound(inner.head.linear(z) + net.corners(z)).mT
        return lambda k, n: w[k] @ outputs[:, n], 1
    if kind == "none":
        return _linear(net, z)
    if kind == "prompt":  # to a transformer without blocks prompts say nothing
        return _linear(net, inner.norm(z))
    if kind == "head":
        return _linear(net, z, net.head(w))
    if kind == "concat":
        return _shifted(net, z, w)
    film = _film(net, w)
    if net.listwise:
        return _normalised(net, z, *film[0])
    if isinstance(inner, Linear) or len(inner.tower.linears) == 0:
        (a, d), v = film[0], inner.head.linear.weight
        return _linear(net, z, (a - 1) * v, d @ v.mT)
    return _modulated(net, z, film)


def _slices(n: int, step: int) -> Iterator[slice]:
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


# ------------------------------------------------- w meets documents: how to finish, and the widest result on the way


def _linear(net, z: Tensor, change: Tensor | None = None, constant: Tensor | None = None) -> tuple[Finish, int]:
    """Scores (v + change) . z + c + constant, of `[preference, width]` and `[preference, 1]`."""
    head = net.net.head
    v, c = head.linear.weight, head.linear.bias.unsqueeze(1)
    v = v if change is None else v + change
    c = c if constant is None else c + constant

    def finish(k: slice, n: slice) -> Tensor:
        own = [each[k] if len(each) > 1 else each for each in (c, v)]
        return head.bound(torch.addmm(own[0], own[1], z[n].mT))  # one row where all preferences have the same scores

    return finish, 1


def _mixed(net, h: Tensor, where: Tensor, w: Tensor) -> tuple[Finish, int]:
    m, head = net.n_objectives, net.net.head
    corners = head.bound(head.linear(h) + net.corners(h)).float().mT  # [batch, objective, list]
    apart = ops.log_softmax(corners, where.unsqueeze(1).expand_as(corners))
    apart = (apart + where.sum(-1).clamp(min=1).log()[:, None, None]).transpose(0, 1)[:, where]  # [objective, document]
    top = apart.amax(0)
    p = (apart - top).exp()
    weights = w[:, :m] / w[:, :m].sum(-1, keepdim=True)
    beta = w[:, m:].exp() if net.config.temperature else None  # log beta -> beta

    def finish(k: slice, n: slice) -> Tensor:
        sums = weights[k] @ p[:, n]
        # Where w leaves out all that prefer a document, its share may be less than float32 can hold.
        faint = (sums < 1e-30).any(0).nonzero().squeeze(1)
        scores = sums.log_().add_(top[n])
        if len(faint):
            scores[:, faint] = torch.logsumexp(weights[k].log().unsqueeze(-1) + apart[:, n][:, faint], 1)
        return scores if beta is None else scores.div_(beta[k])

    return finish, 1


def _film(net, w: Tensor) -> list[tuple[Tensor, Tensor]]:
    """(a, d) of every place, `[preference, width]` each."""
    pairs = (each.chunk(2, -1) for each in net.film(w).split([2 * width for width in net.widths], -1))
    return [(1 + gamma, delta) for gamma, delta in pairs]


def _modulated(net, z: Tensor, film: list[tuple[Tensor, Tensor]]) -> tuple[Finish, int]:
    """Hidden layers from the first modulated one on; z stands before its FiLM."""
    tower, read = net.net.tower, _last_layer(net.net.head)
    activate, (a, d) = _in_place(tower.activation), film[0]
    layers: list[tuple[int | None, Tensor, Tensor]] = []
    for i, (scale, shift) in enumerate(film[1:], net.entry + 1):
        linear, norm = tower.linears[i], None if tower.norms is None else tower.norms[i]
        if isinstance(norm, nn.LayerNorm):
            layers.append((i, scale.unsqueeze(1), shift.unsqueeze(1)))
            continue
        if isinstance(norm, MaskedBatchNorm):  # affine, too, once its statistics stand
            by = norm.weight * torch.rsqrt(norm.variance + norm.eps)
            scale, shift = scale * by, shift + scale * (norm.bias - norm.mean * by)
        weights = (scale.unsqueeze(1) * linear.weight.mT).contiguous()
        layers.append((None, weights, (scale * linear.bias + shift).unsqueeze(1)))

    def finish(k: slice, n: slice) -> Tensor:
        u = activate(torch.addcmul(d[k].unsqueeze(1), z[n], a[k].unsqueeze(1)))
        for i, weights, shift in layers:
            if i is None:
                u = activate(torch.baddbmm(shift[k], u, weights[k]))
            else:
                u = activate(torch.addcmul(shift[k], tower.layer(i, u, None), weights[k]))
        return read(u)

    return finish, max(net.widths)


def _shifted(net, z: Tensor, w: Tensor) -> tuple[Finish, int]:
    tower, read = net.net.tower, _last_layer(net.net.head)
    activate, shift = _in_place(tower.activation), net.shift(w).unsqueeze(1)

    def finish(k: slice, n: slice) -> Tensor:
        u = activate(z[n] + shift[k])
        for i in range(1, len(tower.linears)):
            u = activate(tower.layer(i, u, None))
        return read(u)

    return finish, max(linear.out_features for linear in tower.linears)


def _normalised(net, x: Tensor, a: Tensor, d: Tensor) -> tuple[Finish, int]:
    """FiLM after the last block, then the layer norm and the last layer.

    With c = x - mean(x), u = a x + d leaves u - mean(u) = a c - mean(a c) + mean(x) (a - mean(a)) + (d - mean(d)). Its
    parts are as large as the whole unless they cancel, so that float32 is enough for their squares.
    """
    norm, linear, bound = net.net.norm, net.net.head.linear, net.net.head.bound
    middle, width = x.mean(-1, keepdim=True), x.shape[-1]
    c = x - middle
    v = linear.weight[0] * norm.weight
    v, constant = v - v.mean(), linear.bias + linear.weight[0] @ norm.bias
    a_apart, d_apart = a - a.mean(-1, keepdim=True), d - d.mean(-1, keepdim=True)
    one = torch.ones_like(middle)
    squares = torch.cat([c.square(), middle * c, c, middle.square(), middle, one], 1)
    by_width = torch.cat([a.square(), 2 * a_apart * a, 2 * d_apart * a], 1)
    constants = torch.stack([a_apart.square(), 2 * a_apart * d_apart, d_apart.square()], 1).sum(-1)
    of_squares = torch.cat([by_width, constants], 1) / width
    values, of_values = torch.cat([c, middle, one], 1), torch.cat([v * a, (a @ v)[:, None], (d @ v)[:, None]], 1)

    def finish(k: slice, n: slice) -> Tensor:
        variance = (of_squares[k] @ squares[n].mT).sub_((a[k] @ c[n].mT).div_(width).square_()).clamp_(min=0)
        return bound((of_values[k] @ values[n].mT).mul_(variance.add_(norm.eps).rsqrt_()).add_(constant))

    return finish, 1


def _prompted(net, x: Tensor, where: Tensor, w: Tensor, room: int) -> tuple[Finish, int]:
    """The last block with prompts in front of the list; x stands before it.

    A head of a document that gives the other documents exp(lse) in all, and mixes them to o, gives prompt p
    exp(q . k_p). So o counts 1 / (1 + sum_p t_p) of the result and v_p counts t_p / (1 + sum_p t_p),
    t_p = exp(q . k_p - lse). The attention's last product comes before this mixing: once a document, once a prompt.

    The block's results are kept less their mean over the width: no layer norm sees it, and none has to take it off.
    """
    block, inner = net.net.blocks[-1], net.net
    attend, heads, width = block.attend, block.attend.heads, x.shape[-1]
    whole = attend.out.in_features  # heads x size
    out = (attend.out.weight - attend.out.weight.mean(0)).unflatten(1, (heads, -1))  # [width, head, size]

    of_lists: list[tuple[Tensor, Tensor]] = []  # queries, and what documents mix, list after list
    for lists, longest in _pieces(where, room // heads):
        q, key, value = attend.qkv(block.norm1(x[lists, :longest])).unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
        real = where[lists, :longest]
        q = q * (whole // heads) ** -0.5
        logits = (q @ key.mT).masked_fill_(~attention_mask(real), -torch.inf)
        top = logits.amax(-1, keepdim=True)
        e = logits.sub_(top).exp_()
        every = e.sum(-1, keepdim=True)
        lse = (top + every.log()).squeeze(-1)
        asked = torch.cat([q.transpose(1, 2).flatten(2)[real], -lse.mT[real]], 1)
        of_lists.append((asked, ((e @ value) / every).transpose(1, 2)[real]))
    queries, mixed = (torch.cat(each) for each in zip(*of_lists, strict=True))
    own = torch.einsum("nhs,dhs->hnd", mixed, out).contiguous()
    base = _centred(x[where] + attend.out.bias)

    prompts = block.norm1(net.prompt(w).unflatten(-1, (net.config.prompts, -1)))
    both = F.linear(prompts, attend.qkv.weight[whole:], attend.qkv.bias[whole:]).unflatten(-1, (2, heads, -1))
    key, value = both.permute(2, 0, 3, 1, 4)  # [preference, head, prompt, size]
    # Products of all heads and - lse at once: every head has its own columns, 0 in those of others.
    mine = torch.eye(heads, device=x.device)
    keys = torch.einsum("khps,hg->khpgs", key, mine).flatten(3)
    keys = torch.cat([keys, mine[:, None].expand(len(w), -1, net.config.prompts, -1)], -1)
    values = torch.einsum("khps,dhs->khpd", value, out).flatten(1, 2).contiguous()

    wide, narrow = block.wide, block.narrow
    widen = (wide.weight * block.norm2.weight).mT.contiguous()
    activate, missing = _shifted_activation(block.activation, wide.bias + wide.weight @ block.norm2.bias)
    narrowing = (narrow.weight - narrow.weight.mean(0)).mT.contiguous()
    narrower = _centred(narrow.bias) + missing @ narrowing
    last, bound = inner.head.linear, inner.head.bound
    v, constant = last.weight[0] * inner.norm.weight, last.bias + last.weight[0] @ inner.norm.bias

    def by_spread(y: Tensor, eps: float) -> Tensor:
        """What a layer norm multiplies by, of results without mean."""
        return torch.linalg.vector_norm(y, dim=-1).square_().div_(width).add_(eps).rsqrt_()

    def finish(k: slice, n: slice) -> Tensor:
        t = (keys[k].flatten(0, 2) @ queries[n].mT).view(-1, heads, net.config.prompts, n.stop - n.start)
        top = t.amax(2).clamp_(min=0)
        t.sub_(top.unsqueeze(2)).exp_()
        documents = top.neg_().exp_()
        every = t.sum(2).add_(documents)
        t.div_(every.unsqueeze(2))
        documents.div_(every)
        y = base[n]
        for h in range(heads):
            y = torch.addcmul(y, documents[:, h].unsqueeze(-1), own[h, n])
        y = y.baddbmm_(t.flatten(1, 2).mT, values[k]).flatten(0, 1)
        u = activate((y * by_spread(y, block.norm2.eps).unsqueeze(-1)) @ widen)
        y = y.addmm_(u, narrowing).add_(narrower)
        return bound(y.mv(v).mul_(by_spread(y, inner.norm.eps)).add_(constant)).view(-1, n.stop - n.start)

    return finish, max(width, wide.out_features)


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


def _last_layer(head: Head) -> Callable[[Tensor], Tensor]:
    def read(u: Tensor) -> Tensor:
        return head.bound(u.flatten(0, 1).mv(head.linear.weight[0]).add_(head.linear.bias)).view(u.shape[:2])

    return read


def _in_place(activation: nn.Module) -> Callable[[Tensor], Tensor]:
    if isinstance(activation, nn.ReLU):
        return torch.relu_
    if isinstance(activation, nn.Tanh):
        return torch.tanh_
    return activation


def _shifted_activation(activation: nn.Module, bias: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """activation(z + bias) in place but for a constant, and the constant: relu(z + b) is max(z, -b) + b, one pass."""
    if isinstance(activation, nn.ReLU):
        low = -bias
        return lambda z: torch.maximum(z, low, out=z), bias
    activate = _in_place(activation)
    return lambda z: activate(z.add_(bias)), torch.zeros_like(bias)


# --------------------------------------------------------------------------------------------------- whole lists


def _through_lists(net, shared: Tensor, where: Tensor, w: Tensor, room: int, out: Tensor) -> Tensor:
    block = net.net.blocks[0] if len(net.net.blocks) else None
    width = shared.shape[-1] if block is None else max(block.attend.qkv.out_features, block.wide.out_features)
    start, cells = 0, max(room // width, 1)
    together = cells // len(w)  # documents of a piece, each once a preference
    if net.config.kind == "readout":  # ... or once, beside the tokens of all preferences and what they look at
        n, tokens = where.shape[1], len(w) * net.config.prompts
        together = min(cells * n // (n + tokens), room // (tokens * (1 if block is None else block.attend.heads)))
    for lists, longest in _pieces(where, together, linear=True):
        real = where[lists, :longest]
        documents = slice(start, start + int(real.sum()))
        start = documents.stop
        at_once = cells // (len(real) * net.config.prompts if net.config.kind == "readout" else real.numel())
        for k in _slices(len(w), max(at_once, 1)):
            scores = net._score(shared[lists, :, :longest], real, w[None, k])
            out[k, documents] = scores.transpose(0, 1)[:, real]
    return out


def _pieces(where: Tensor, room: int, linear: bool = False) -> Iterator[tuple[slice, int]]:
    """Neighbouring lists and the longest of them, lists x longest (or, of attention, squared) within `room`.

    A list without documents opens no piece; one too long for the room is a piece.
    """
    places = torch.arange(1, where.shape[1] + 1, device=where.device)
    lengths = (where * places).amax(-1).tolist() if where.numel() else []
    start, longest = 0, 0
    for i, length in enumerate(lengths):
        wider = max(longest, length)
        if i > start and (i + 1 - start) * (wider if linear else wider**2) > room:
            if longest:
                yield slice(start, i), longest
            start, wider = i, length
        longest = wider
    if longest:
        yield slice(start, len(lengths)), longest
