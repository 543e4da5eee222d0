"""The nets: pure modules from padded lists to scores.

    forward(features [batch, list, feature], where [batch, list]) -> scores float32 [batch, list]

Padding is never looked at: it is masked out of attention and of batch statistics, and its scores are 0. All nets are
permutation equivariant: shuffling the documents of a list shuffles their scores alike. `Linear` and `MLP` score a
document by itself; `ListTransformer` and `DASALC` see the whole list, and on a CPU work on the documents alone, put
one after another. (On a GPU that would wait for the device: how many there are, only it knows; and a graph that is
exported or compiled has no number there.)

The last layer runs in float32 under mixed precision too: bfloat16 has 8 bits of mantissa, and the scores of a list
would tie.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltr.errors import InputError
from ltr.types import Batch

from .config import DASALCConfig, LinearConfig, MLPConfig, OwnNetConfig, TabMConfig, TransformerConfig
from .embeddings import Inputs, Noise
from .induced import InducedAttention
from .layers import ACTIVATION, Dropout, Keys, attend, attention_mask, on_documents, padded
from .tabm import TabM

__all__ = [
    "DASALC",
    "MLP",
    "NETS",
    "Linear",
    "ListTransformer",
    "MaskedBatchNorm",
    "OwnNet",
    "build",
    "check_net",
    "score_batch",
]

_OUTPUT: dict[str, type[nn.Module]] = {"none": nn.Identity, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def build(config, n_features: int) -> nn.Module:
    """The net a config describes, with fresh weights from torch's global generator."""
    return config.build(n_features) if isinstance(config, OwnNetConfig) else NETS[type(config)](config, n_features)


def check_net(net: nn.Module, n_features: int, name: str) -> None:
    """Whether a module of a user gives one score a document, tried on two small lists.

    Raises:
        InputError: it does not.
    """
    where, learns = torch.tensor([[True, True, False], [True, True, True]]), net.training
    at = next((p.device for p in net.parameters()), where.device)
    try:
        with torch.no_grad():
            scores = net.eval()(torch.zeros(2, 3, n_features, device=at), where.to(at))
    except (RuntimeError, TypeError) as error:
        what = f"net {name!r} does not take features [batch, list, {n_features}] and where [batch, list]"
        raise InputError(f"{what}: {str(error).splitlines()[0]}") from error
    else:
        came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        if came != (2, 3):
            expected = "[batch, list], here (2, 3)"
            raise InputError(f"net {name!r} must give one score a document", expected=expected, came=came)
        if not _blind_to_pads(net, n_features, at):
            raise InputError(
                f"net {name!r} gives documents other scores where the list is padded",
                do="Take a second argument where [batch, list] and leave out what is False there",
            )
    finally:
        net.train(learns)
    if not any(p.requires_grad for p in net.parameters()):
        raise InputError(f"net {name!r} has nothing to learn", do="A function of (features, where) scores as it is")


def _blind_to_pads(net: nn.Module, n_features: int, device: torch.device) -> bool:
    """Whether two documents have the scores alone that they have beside padding; so if they cannot be scored."""
    two = torch.tensor([[0.0], [1.0]], device=device).expand(2, n_features)[None]
    padded = torch.cat([two, torch.zeros_like(two[:, :1])], 1)
    where = torch.tensor([[True, True, False]], device=device)
    try:
        with torch.no_grad():
            alone, beside = net(two, where[:, :2]), net(padded, where)[:, :2]
    except Exception:  # these values may be no categories of the net, or so few documents no batch
        return True
    return torch.allclose(alone, beside, rtol=1e-3, atol=1e-4, equal_nan=True)


class OwnNet(nn.Module):
    """A module of a user's, which may take features alone and may end in `[..., 1]`, as a net."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net
        places = [p for p in inspect.signature(net.forward).parameters.values() if p.default is p.empty]
        # nn.Sequential and its like call what they are given `input`, and take nothing else.
        self.takes_where = len([p for p in places if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]) > 1

    @classmethod
    def of(cls, net: nn.Module) -> nn.Module:
        """The module itself where it is one of ours."""
        return net if type(net) in NETS.values() or isinstance(net, cls) else cls(net)

    def forward(self, features: Tensor, where: Tensor) -> Tensor:
        scores = self.net(features, where) if self.takes_where else self.net(features)
        if not isinstance(scores, Tensor):
            return scores  # refused by `check_net`
        scores = scores.float() if scores.dtype == torch.float64 else scores
        return scores.squeeze(-1) if scores.shape == (*where.shape, 1) else scores


class Linear(nn.Module):
    """s = w . x + b; features + 1 parameters."""

    def __init__(self, config: LinearConfig, n_features: int):
        super().__init__()
        self.inputs, self.head = Inputs(config, n_features), Head(n_features)

    def forward(self, features: Tensor, where: Tensor) -> Tensor:
        return self.head(self.inputs(features), where)


class MLP(nn.Module):
    """Fully connected layers on each document; parameter count in `MLPConfig`."""

    def __init__(self, config: MLPConfig, n_features: int):
        super().__init__()
        self.inputs = Inputs(config, n_features)
        self.tower = Tower(self.inputs.width, config.hidden, config.activation, config.norm, config.dropout)
        self.head = Head((self.inputs.width, *config.hidden)[-1], config.output)

    def hidden(self, x: Tensor, where: Tensor, keys: Keys | None = None) -> Tensor:
        """What the last layer sees of every document, `[..., width]`."""
        return self.tower(self.inputs(x), where)

    def forward(self, features: Tensor, where: Tensor) -> Tensor:
        return self.head(self.hidden(features, where), where)


class ListWise(nn.Module, ABC):
    """Nets that see a whole list: `hidden(x, where, keys)` of padded lists, or of documents one after another.

    With D real documents in the batch the second form is x `[document, feature]`, where `[document]`, all True, and
    keys the lengths of the lists: what costs the same for every cell then costs nothing for padding.
    """

    head: Head

    @abstractmethod
    def hidden(self, x: Tensor, where: Tensor, keys: Keys) -> Tensor:
        """What the last layer sees of every document, `[..., width]`, in the form of `where`."""

    def scores(self, x: Tensor, where: Tensor, keys: Keys) -> Tensor:
        """One score a document, in the form of `where`."""
        return self.head.scores(self.hidden(x, where, keys))

    def forward(self, features: Tensor, where: Tensor) -> Tensor:
        if features.device.type != "cpu" or torch.compiler.is_compiling():
            return self.scores(features, where, attention_mask(where)).masked_fill(~where, 0.0)
        x, cells = on_documents(features, where)
        return padded(self.scores(x, where.new_ones(x.shape[-2]), where.sum(-1).tolist()), cells, where)


class ListTransformer(ListWise):
    """Self-attention over the documents of a list; parameter count in `TransformerConfig`.

    Pobrotyn et al. 2020 (arXiv 2005.10084): x -> fully connected -> blocks of (attention, feed-forward), both pre-norm
    with residuals -> norm -> linear. Glorot weights as in the paper's code.
    """

    def __init__(self, config: TransformerConfig, n_features: int):
        super().__init__()
        inputs = Inputs(config, n_features)
        self.tower = Tower(inputs.width, config.layers, config.activation, "none", 0.0)
        self.project = nn.Linear((inputs.width, *config.layers)[-1], config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.width)
        self.head = Head(config.width, config.output)
        _glorot(self)
        self.inputs = inputs  # embeddings keep the weights they start with

    def hidden(self, x: Tensor, where: Tensor, keys: Keys) -> Tensor:
        x = self.project(self.tower(self.inputs(x), where))
        for block in self.blocks:
            x = block(x, keys)
        return self.norm(x)


class DASALC(ListWise):
    """Data-augmented self-attentive latent cross network (Qin et al., ICLR 2021), layer by layer as TF-Ranking's code.

    h: batch norm, noise, layers of (linear, relu, batch norm, dropout), linear.
    a: noise, linear to `head_size`, relu, post-norm self-attention layers, batch norm, linear.
    s = linear(dropout(relu(h + h * a))).
    """

    def __init__(self, config: DASALCConfig, n_features: int):
        super().__init__()
        width = config.hidden[-1]
        self.noise, self.dropout = Noise(config.noise), Dropout(config.dropout)
        self.input_norm = MaskedBatchNorm(n_features)
        self.tower = nn.ModuleList()
        for inputs, outputs in zip((n_features, *config.hidden), config.hidden, strict=False):
            self.tower.append(nn.ModuleDict({"linear": nn.Linear(inputs, outputs), "norm": MaskedBatchNorm(outputs)}))
        self.document = nn.Linear(width, width)
        self.project = nn.Linear(n_features, config.head_size)
        self.attention = nn.ModuleList(
            nn.ModuleDict(
                {
                    "attend": Attention(config.head_size, config.heads, config.head_size, config.dropout),
                    "norm": nn.LayerNorm(config.head_size),
                }
            )
            for _ in range(config.blocks)
        )
        self.context_norm = MaskedBatchNorm(config.head_size)
        self.context = nn.Linear(config.head_size, width)
        self.head = Head(width)
        _glorot(self)

    def hidden(self, x: Tensor, where: Tensor, keys: Keys) -> Tensor:
        h = self.noise(self.input_norm(x, where))
        for layer in cast(list[nn.ModuleDict], self.tower):
            h = self.dropout(layer["norm"](F.relu(layer["linear"](h)), where))
        h = self.document(h)

        a = F.relu(self.project(self.noise(x)))
        for layer in cast(list[nn.ModuleDict], self.attention):
            a = layer["norm"](a + self.dropout(layer["attend"](a, keys)))
        a = self.context(self.context_norm(a, where))

        return self.dropout(F.relu(h + h * a))


def score_batch(net: nn.Module, batch: Batch) -> Tensor:
    """Scores of a batch in evaluation mode, float32 `[batch, list]`; the net is left in that mode."""
    net.eval()
    with torch.inference_mode():
        return net(batch.features, batch.where)


# ------------------------------------------------------------------------------------------------------------- parts


class Head(nn.Module):
    """The last linear layer in float32, a bound if asked for, and 0 for padding."""

    def __init__(self, width: int, output: str = "none"):
        super().__init__()
        self.linear, self.bound = nn.Linear(width, 1), _OUTPUT[output]()

    def scores(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.bound(self.linear(x.float()).squeeze(-1))

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        return self.scores(x).masked_fill(~where, 0.0)


class Tower(nn.Module):
    """Layers of (linear, norm, activation, dropout)."""

    def __init__(self, inputs: int, hidden: Sequence[int], activation: str, norm: str, dropout: float):
        super().__init__()
        norms: dict[str, Any] = {"batch": MaskedBatchNorm, "layer": nn.LayerNorm}
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in zip((inputs, *hidden), hidden, strict=False))
        self.norms = nn.ModuleList(norms[norm](width) for width in hidden) if norm != "none" else None
        self.activation, self.dropout = ACTIVATION[activation](), Dropout(dropout)

    def layer(self, i: int, x: Tensor, where: Tensor) -> Tensor:
        """Layer i up to its activation."""
        x = self.linears[i](x)
        if self.norms is None:
            return x
        norm = self.norms[i]
        return norm(x, where) if isinstance(norm, MaskedBatchNorm) else norm(x)

    def leave(self, z: Tensor) -> Tensor:
        """A layer from its activation on."""
        return self.dropout.after(self.activation, z)

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        for i in range(len(self.linears)):
            x = self.leave(self.layer(i, x, where))
        return x


class Attention(nn.Module):
    """Multi-head self-attention, heads of any size; 4 width (width + 1) parameters where heads x head_size = width."""

    def __init__(self, width: int, heads: int, head_size: int, dropout: float):
        super().__init__()
        self.heads, self.p = heads, dropout
        self.qkv = nn.Linear(width, 3 * heads * head_size)
        self.out = nn.Linear(heads * head_size, width)

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        if not isinstance(keys, Tensor):
            return self.out(attend(qkv, keys, self.p if self.training else 0.0).flatten(-2))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # [batch, head, list, size]
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=self.p if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        width = config.width
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend: Any = (
            Attention(width, config.heads, width // config.heads, config.attention_dropout)
            if config.induced is None
            else InducedAttention(width, config.heads, config.induced)
        )
        self.wide, self.narrow = nn.Linear(width, config.d_ff), nn.Linear(config.d_ff, width)
        self.activation, self.dropout = ACTIVATION[config.activation](), Dropout(config.dropout)

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        return self.feed(x + self.dropout(self.attend(self.norm1(x), keys)))

    def feed(self, x: Tensor) -> Tensor:
        """The part on single documents, from what attention has left."""
        return x + self.dropout(self.narrow(self.dropout.after(self.activation, self.wide(self.norm2(x)))))


class MaskedBatchNorm(nn.Module):
    """Batch normalisation over the real documents of a batch: padding moves neither the statistics nor the gradient.

    Equals `nn.BatchNorm1d` on the documents put one after another.

    Args:
        width: features.
        momentum: weight of the new batch in the running statistics.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int, momentum: float = 0.1, eps: float = 1e-5):
        super().__init__()
        self.momentum, self.eps = momentum, eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # sums over thousands of documents want float32
            x = x.float()
            mean, variance = self.mean, self.variance
            if self.training:
                real, documents = where.expand(x.shape[:-1]).unsqueeze(-1), tuple(range(x.dim() - 1))
                n = real.sum().clamp(min=1)
                mean = torch.where(real, x, 0.0).sum(documents) / n
                variance = torch.where(real, x - mean, 0.0).square().sum(documents) / n
                with torch.no_grad():
                    seen = variance * (n / (n - 1).clamp(min=1))  # the running variance is the unbiased one
                    self.mean.lerp_(mean, self.momentum)
                    self.variance.lerp_(seen, self.momentum)
            return (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias


def _glorot(net: nn.Module) -> None:
    """Glorot-uniform matrices, zero biases; q, k and v count as three matrices though they share a product."""
    for name, parameter in net.named_parameters():
        if parameter.dim() == 2:
            for part in parameter.chunk(3) if name.endswith("qkv.weight") else (parameter,):
                nn.init.xavier_uniform_(part)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)


NETS: dict[type, type] = {
    LinearConfig: Linear,
    MLPConfig: MLP,
    TransformerConfig: ListTransformer,
    DASALCConfig: DASALC,
    TabMConfig: TabM,
}
