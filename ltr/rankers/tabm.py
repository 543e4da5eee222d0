"""TabM: MLPs that share most weights and all batches (Gorishniy, Kotelnikov and Babenko, ICLR 2025).

Member i of k computes, layer by layer, z_i = s_i * W(r_i * h_i) + b_i, and has a last layer of its own:

    plain     r, s and b of every member in every layer; W is shared. Only r of the first layer differs at the start.
    mini      r in the first layer alone; all else but the last layer is shared
    packed    W of every member: k nets side by side

The score is the mean of the members' scores. A training looks at the scores of each member, or at their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltr.types import Batch

from .config import TabMConfig
from .embeddings import Inputs
from .layers import ACTIVATION, Dropout, on_documents, padded

__all__ = ["MemberLinear", "TabM", "scored"]


class MemberLinear(nn.Module):
    """A linear layer of k members: `[document, in]` of all, or `[member, document, in]` -> `[member, document, out]`.

    Args:
        members, inputs, outputs: sizes.
        form: "packed": a matrix for each; "plain": one matrix, and for each a factor of every input and output;
            "mini": one matrix and factors of the inputs; "shared": one matrix, nothing else.
        chunks: widths of the groups of inputs that share one normal factor at the start, in a layer whose members
            differ there; one input a group takes a random sign. None: factors start at 1.
    """

    def __init__(self, members: int, inputs: int, outputs: int, form: str, chunks: Sequence[int] | None = None):
        super().__init__()
        own, each = (members,) if form == "packed" else (), (members,) if form in ("packed", "plain") else ()
        self.members, self.out_features = members, members * outputs
        self.weight = nn.Parameter(torch.empty(*own, outputs, inputs).uniform_(-(inputs**-0.5), inputs**-0.5))
        bias = torch.empty(*own, outputs).uniform_(-(inputs**-0.5), inputs**-0.5)
        self.bias = nn.Parameter(bias.expand(*each, outputs).clone())  # plain: the same start for all
        self.r = self.s = None
        if form in ("plain", "mini"):
            self.r = nn.Parameter(torch.ones(members, inputs) if chunks is None else _factors(members, chunks))
        if form == "plain":
            self.s = nn.Parameter(torch.ones(members, outputs))

    def forward(self, x: Tensor) -> Tensor:
        if self.r is None and self.weight.dim() == 2:
            return F.linear(x, self.weight, self.bias)
        # The factors go into the matrix: k x in x out numbers, where the inputs of a batch would be more.
        weight: Tensor = self.weight
        bias: Tensor = self.bias if self.bias.dim() == 2 else self.bias.expand(self.members, -1)
        if self.r is not None:
            weight = weight * self.r.unsqueeze(-2)
        if self.s is not None:
            weight = weight * self.s.unsqueeze(-1)
        if x.dim() == 3:
            return torch.baddbmm(bias.unsqueeze(1), x, weight.mT)
        wide = F.linear(x, weight.flatten(0, 1), bias.flatten())
        return wide.unflatten(-1, (self.members, -1)).movedim(-2, 0)


class TabM(nn.Module):
    """The net of `TabMConfig`."""

    def __init__(self, config: TabMConfig, n_features: int):
        super().__init__()
        self.inputs, self.by_member = Inputs(config, n_features), config.loss_on == "members"
        widths, k = (self.inputs.width, *config.hidden), config.members
        form = {"mini": "shared"}.get(config.form, config.form)
        chunks = (self.inputs.width // n_features,) * n_features
        self.layers = nn.ModuleList(
            MemberLinear(k, a, b, form if i else config.form, None if i or form == "packed" else chunks)
            for i, (a, b) in enumerate(zip(widths, config.hidden, strict=False))
        )
        self.activation, self.dropout = ACTIVATION[config.activation](), Dropout(config.dropout)
        self.head = MemberLinear(k, widths[-1], 1, "packed")

    def member_scores(self, features: Tensor, where: Tensor) -> Tensor:
        """Of each member, float32 `[member, batch, list]`, pads 0."""
        x, cells = on_documents(features, where)
        h = self.inputs(x)
        for layer in self.layers:
            h = self.dropout.after(self.activation, layer(h))
        with torch.autocast(h.device.type, enabled=False):  # bfloat16 would tie the scores of a list
            return padded(self.head(h.float()).squeeze(-1), cells, where)

    def forward(self, features: Tensor, where: Tensor) -> Tensor:
        return self.member_scores(features, where).mean(0)


def scored(net: nn.Module, batch: Batch) -> tuple[Tensor, Batch]:
    """The scores `[list, document]` that a loss looks at, and the lists they are of.

    Each list comes once for every member where the loss is one of members: the mean over all is the members' mean.
    """
    if not (isinstance(net, TabM) and net.by_member):
        return net(batch.features, batch.where), batch
    scores = net.member_scores(batch.features, batch.where)
    k = len(scores)
    labels, where = batch.labels.repeat(k, 1, 1), batch.where.repeat(k, 1)
    weights = None if batch.weights is None else batch.weights.repeat(k, 1)
    made = replace(batch, labels=labels, where=where, query=batch.query.repeat(k), weights=weights)
    return scores.flatten(0, 1), made


def _factors(members: int, chunks: Sequence[int]) -> Tensor:
    """Factors that make members differ: random signs of single inputs, one normal number for each wider group."""
    if set(chunks) == {1}:
        return torch.empty(members, len(chunks)).bernoulli_(0.5).mul_(2).sub_(1)
    return torch.randn(members, len(chunks)).repeat_interleave(torch.tensor(chunks), 1)
