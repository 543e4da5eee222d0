"""Many nets of one shape as one net: every leaf holds the weights of all members, and multiplies them in one product.

    net = stack([net_1, ..., net_M])
    net(features [1, batch, list, feature], where [batch, list]) -> scores [member, batch, list]
    net.state_dict()[key][i]                                      what net_i.state_dict()[key] was

The member axis is the first one of everything that differs between members; what is still the same for all of them (the
features, and whatever no weight has touched) has size 1 there and is computed once. Dropout draws a mask for each
member; noise on the features is drawn once, so members hear the same noise, as nets do that are trained alone with
one seed.

Members that meet different batches, or must draw their noise as they would alone, share no product. They go through
windows: nets of their own whose weights, gradients and statistics lie in the stack, so that whatever is done to the
stack (the optimiser's step, validation, what is kept) is done to them.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltr.errors import InputError
from ltr.rankers.conditional.tensors import output
from ltr.rankers.embeddings import Noise, Periodic, Piecewise
from ltr.rankers.induced import InducedAttention
from ltr.rankers.layers import Dropout, Keys, attend
from ltr.rankers.nets import NETS, Attention, MaskedBatchNorm
from ltr.rankers.tabm import TabM

__all__ = ["NetStack", "draws", "has_stacked_form", "member_of", "stack", "stacks_of"]

# Activations of the widest layer a stack has at once for a document: a processor is fastest while they stay in its
# second cache (8 members of width 64; measured, benchmarks/speed/stacked.py). An accelerator wants to be filled.
_WIDTH = {"cpu": 512}


def stack(nets: Sequence[nn.Module]) -> nn.Module:
    """One net of all of them; their state dicts, stacked, are its own.

    Args:
        nets: of one config; those of `nets.py` can be called afterwards, others only hold what their windows look at.

    Raises:
        InputError: nets of different shapes, or with parameters that two of their parts share.
    """
    keys = [{key: value.shape for key, value in net.state_dict().items()} for net in nets]
    if not nets or any(each != keys[0] for each in keys):
        raise InputError("nets of one shape can be stacked", came=f"{len(nets)} nets")
    if len(list(nets[0].named_parameters(remove_duplicate=False))) > len(list(nets[0].parameters())):
        raise InputError(f"{type(nets[0]).__name__} shares parameters between its parts, so it trains alone only")
    return _stacked(nets)


def member_of(state: Mapping[str, Tensor], i: int) -> dict[str, Tensor]:
    """The state of net i alone, copied out of that of the stack."""
    return {key: value[i].detach().clone() for key, value in state.items()}


def has_stacked_form(net: nn.Module) -> bool:
    """Whether many of these can be one net: true of those of `nets.py`, whose every part knows the member axis."""
    return type(net) in NETS.values() and not isinstance(net, TabM)  # TabM has an axis of its own members there


def draws(net: nn.Module) -> bool:
    """Whether a net in training draws random numbers; of a net that is not ours nobody knows."""
    return not has_stacked_form(net) or any(
        (isinstance(part, Noise) and part.sd > 0) or (isinstance(part, Dropout | Attention) and part.p > 0)
        for part in net.modules()
    )


def _widest(net: nn.Module) -> int:
    """Largest number of activations a document has at once in a net: the width of its widest layer."""
    return max((getattr(leaf, "out_features", 1) for leaf in net.modules()), default=1)


class NetStack(nn.Module):
    """Members that are scored in one pass.

    Args:
        nets: theirs.
        members: their numbers among all that are trained together.
        scale, augmented: as of `Conditioned`: scores are `scale` net(x), plus s_ref if augmented.

    Attributes:
        one_pass: all members are scored by products of stacked weights; nets that are not of `nets.py` go one by one.
    """

    def __init__(self, nets: Sequence[nn.Module], members: Sequence[int], scale: float = 1.0, augmented: bool = False):
        super().__init__()
        self.net, self.members, self.scale, self.augmented = stack(nets), list(members), scale, augmented
        self.first = self.members[0]  # whoever stays
        self.one_pass = has_stacked_form(nets[0])
        self._shape = (copy.deepcopy(nets[0]),)  # a tuple hides it from state dicts and optimisers
        self._windows: list[nn.Module] = []
        self._gradients: dict[nn.Parameter, Tensor] = {}

    def forward(self, features: Tensor, where: Tensor, reference: Tensor | None = None) -> Tensor:
        """Scores float32 `[batch, member, list]`, pads 0; `reference` `[batch, list]` is s_ref."""
        if self.one_pass:
            scores = self.net(features.unsqueeze(0), where).transpose(0, 1)
        else:
            scores = torch.stack([net(features, where) for net in self.windows()], 1)
        return output(scores, where, self.scale, self.augmented, reference)

    def windows(self) -> list[nn.Module]:
        """A net for each member: its weights, gradients and buffers are views of the stack's, its mode the stack's.

        They hold until members leave or the stack moves to another device.
        """
        if len(self._windows) != len(self.members):
            self._gradients = {p: torch.zeros_like(p) for p in self.net.parameters()}
            self._windows = [self._window(j) for j in range(len(self.members))]
        return [net.train(self.training) for net in self._windows]

    def _window(self, j: int) -> nn.Module:
        net = copy.deepcopy(self._shape[0])
        parts, stacked = dict(net.named_modules()), dict(self.net.named_modules())
        for path, part in parts.items():
            for name, parameter in stacked[path]._parameters.items():
                if parameter is not None:
                    view = nn.Parameter(parameter.data[j], requires_grad=parameter.requires_grad)
                    view.grad = self._gradients[parameter][j]
                    part._parameters[name] = view
            for name, buffer in stacked[path]._buffers.items():
                part._buffers[name] = None if buffer is None else buffer[j]
        return net

    def clear(self) -> None:
        """Gradients of all members to zero, in the place that their windows look at."""
        for parameter, gradient in self._gradients.items():
            parameter.grad = gradient.zero_()  # a trainer may have dropped it

    def keep(self, members: Sequence[int], optimiser: torch.optim.Optimizer | None = None) -> None:
        """Goes on with these members only; the optimiser forgets the others. Between steps: no graph may be alive."""
        rows, self._windows = [self.members.index(i) for i in members], []
        for module in self.net.modules():
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else buffer[rows]
        for parameter in self.net.parameters():
            number = len(parameter)
            parameter.data, parameter.grad = parameter.data[rows], None
            state = {} if optimiser is None else optimiser.state.get(parameter, {})
            for key, value in state.items():
                if isinstance(value, Tensor) and value.dim() and len(value) == number:
                    state[key] = value[rows]
        self.members = list(members)


# ------------------------------------------------------------------------------------------------------------- leaves


def _stacked(nets: Sequence[nn.Module]) -> nn.Module:
    first = nets[0]
    if type(first) in _FORMS:
        return _FORMS[type(first)](nets)
    shell = copy.copy(first)  # settings are shared, children are replaced
    own = {name: None if p is None else _together(nets, name) for name, p in first._parameters.items()}
    held = {name: None if b is None else _each(nets, name) for name, b in first._buffers.items()}
    children = {
        name: None if child is None else _stacked([getattr(net, name) for net in nets])
        for name, child in first._modules.items()
    }
    shell._parameters, shell._buffers, shell._modules = own, held, children
    return shell


def _each(leaves: Sequence[nn.Module], name: str) -> Tensor:
    return torch.stack([getattr(leaf, name) for leaf in leaves])


def _together(leaves: Sequence[nn.Module], name: str) -> nn.Parameter:
    each = [getattr(leaf, name) for leaf in leaves]
    return nn.Parameter(torch.stack([p.detach() for p in each]), requires_grad=each[0].requires_grad)


def _beside(weight: Tensor, like: Tensor) -> Tensor:
    """`[member, width]` as `[member, 1 ..., width]`."""
    return weight.view(len(weight), *(1,) * (like.dim() - 2), -1)


class GroupedLinear(nn.Module):
    """`nn.Linear` of every member: weight `[member, out, in]`, input `[member or 1, ..., in]`."""

    def __init__(self, leaves: Sequence[nn.Linear]):
        super().__init__()
        self.weight = _together(leaves, "weight")
        self.bias = None if leaves[0].bias is None else _together(leaves, "bias")

    def forward(self, x: Tensor) -> Tensor:
        members, outputs, inputs = self.weight.shape
        if len(x) == 1 and (members == 1 or outputs == 1):  # one matrix product; with one output it is the columns
            bias = None if self.bias is None else self.bias.flatten()
            return F.linear(x[0], self.weight.flatten(0, 1), bias).unflatten(-1, (members, outputs)).movedim(-2, 0)
        flat = x.reshape(len(x), -1, inputs).expand(members, -1, -1)
        if self.bias is None:
            y = torch.bmm(flat, self.weight.mT)
        else:
            y = torch.baddbmm(self.bias.unsqueeze(1), flat, self.weight.mT)
        return y.view(members, *x.shape[1:-1], outputs)


class GroupedLayerNorm(nn.Module):
    """`nn.LayerNorm` of every member."""

    def __init__(self, leaves: Sequence[nn.LayerNorm]):
        super().__init__()
        affine = leaves[0].weight is not None  # nets that are not ours may hold one without
        self.weight = _together(leaves, "weight") if affine else None
        self.bias = _together(leaves, "bias") if affine and leaves[0].bias is not None else None
        self.shape, self.eps = leaves[0].normalized_shape, leaves[0].eps

    def forward(self, x: Tensor) -> Tensor:
        normal = F.layer_norm(x, self.shape, None, None, self.eps)
        assert self.weight is not None and self.bias is not None  # as those of `nets.py` are
        return torch.addcmul(_beside(self.bias, x), normal, _beside(self.weight, x))


class GroupedBatchNorm(MaskedBatchNorm):
    """`MaskedBatchNorm` of every member, with statistics of its own."""

    def __init__(self, leaves: Sequence[MaskedBatchNorm]):
        nn.Module.__init__(self)
        self.momentum, self.eps = leaves[0].momentum, leaves[0].eps
        self.weight, self.bias = _together(leaves, "weight"), _together(leaves, "bias")
        for name in ("mean", "variance"):
            self.register_buffer(name, _each(leaves, name))

    def forward(self, x: Tensor, where: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            mean, variance = _beside(self.mean, x), _beside(self.variance, x)
            if self.training:
                real, documents = where.expand(x.shape[:-1]).unsqueeze(-1), tuple(range(1, x.dim() - 1))
                n = where.sum().clamp(min=1)
                mean = torch.where(real, x, 0.0).sum(documents, keepdim=True) / n
                variance = torch.where(real, x - mean, 0.0).square().sum(documents, keepdim=True) / n
                with torch.no_grad():
                    seen = variance * (n / (n - 1).clamp(min=1))  # the running variance is the unbiased one
                    for running, now in ((self.mean, mean), (self.variance, seen)):
                        running.lerp_(now.flatten(1).expand_as(running), self.momentum)
            return (x - mean) * torch.rsqrt(variance + self.eps) * _beside(self.weight, x) + _beside(self.bias, x)


class GroupedAttention(nn.Module):
    """`nets.Attention` of every member; the lists of all members are one batch to the attention itself."""

    def __init__(self, leaves: Sequence[Attention]):
        super().__init__()
        self.heads, self.p = leaves[0].heads, leaves[0].p
        self.qkv = GroupedLinear([leaf.qkv for leaf in leaves])
        self.out = GroupedLinear([leaf.out for leaf in leaves])

    def forward(self, x: Tensor, keys: Keys) -> Tensor:
        qkv = self.qkv(x)
        if not isinstance(keys, Tensor):
            lists = qkv.unflatten(-1, (3, self.heads, -1))
            return self.out(attend(lists, keys, self.p if self.training else 0.0).flatten(-2))
        members = len(qkv)
        q, k, v = qkv.flatten(0, 1).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        keys = keys.expand(members, *keys.shape).flatten(0, 1)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=keys, dropout_p=self.p if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).flatten(-2).unflatten(0, (members, -1)))


class ByMember(nn.Module):
    """Any leaf without chance in it, of every member: torch's vmap of what one does."""

    def __init__(self, leaves: Sequence[nn.Module]):
        super().__init__()
        self._leaf = (leaves[0],)  # a tuple hides it from state dicts
        for name in leaves[0]._parameters:
            self.register_parameter(name, _together(leaves, name))
        for name, _ in leaves[0].named_children():
            self.add_module(name, _stacked([getattr(leaf, name) for leaf in leaves]))
        for name in leaves[0]._buffers:
            self.register_buffer(name, _each(leaves, name))

    def forward(self, x: Tensor, other: Tensor | list[int]) -> Tensor:
        """`other` is for each member, as x is, or who attends to whom, which is the same for all."""
        weights = {**self._parameters, **self._buffers, **dict(self.named_parameters())}
        members = len(next(iter(weights.values())))  # type: ignore[arg-type]
        floats = [each for each in (x, other) if isinstance(each, Tensor) and _is_float(each)]
        given = [each.expand(members, *each.shape[1:]) for each in floats]
        own = () if _is_float(other) else (other,)
        one = lambda weights, *x: torch.func.functional_call(self._leaf[0], weights, (*x, *own))  # noqa: E731
        return torch.vmap(one)(weights, *given)


def _is_float(x: Tensor | list[int]) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


_FORMS = {
    InducedAttention: ByMember,
    Periodic: ByMember,
    Piecewise: ByMember,
    nn.Linear: GroupedLinear,
    nn.LayerNorm: GroupedLayerNorm,
    MaskedBatchNorm: GroupedBatchNorm,
    Attention: GroupedAttention,
}


def stacks_of(
    nets: Sequence[nn.Module], scale: float, augmented: bool, device: torch.device, kinds: Sequence | None = None
) -> list[NetStack]:
    """The nets in groups of the size this device likes; each of one of the `kinds`, where every net has one."""
    size = len(nets)
    if device.type in _WIDTH:
        size = max(1, _WIDTH[device.type] // _widest(nets[0]))
    of_kind: dict = {}
    for i in range(len(nets)):
        of_kind.setdefault(None if kinds is None else kinds[i], []).append(i)
    groups = [each[a : a + size] for each in of_kind.values() for a in range(0, len(each), size)]
    return [NetStack([nets[i] for i in group], group, scale, augmented).to(device) for group in groups]
