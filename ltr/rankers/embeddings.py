"""What meets the features first: noise, and numeric embeddings (Gorishniy, Rubachev and Babenko, NeurIPS 2022).

An embedding makes a vector of every input by itself, and what follows sees these vectors one after another:

    piecewise    e_j = a_j x_j + b_j + V_j t(x_j),  t_b = (x - q_b) / (q_{b+1} - q_b), from 0 to 1 but at the ends
    periodic     e_j = relu(V_j [cos 2 pi c x_j, sin 2 pi c x_j] + b_j),  c_j learned

The ends q of the bins are quantiles of the training lists. V starts at 0 in the first kind, whose embedding then is
linear ("version B", Gorishniy, Kotelnikov and Babenko, ICLR 2025). A column that misses values has an indicator beside
it (datasets/transforms.py): where it is 1 the embedding of the column is 0 and that of the indicator speaks, which is a
bin of its own for missing values.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Embedding", "Inputs", "Noise", "Periodic", "Piecewise"]


class Noise(nn.Module):
    """Gaussian noise in training, nothing otherwise."""

    def __init__(self, sd: float):
        super().__init__()
        self.sd = sd

    def forward(self, x: Tensor) -> Tensor:
        return x + self.sd * torch.randn_like(x) if self.training and self.sd > 0 else x

    def extra_repr(self) -> str:
        return f"sd={self.sd}"


class Embedding(nn.Module, ABC):
    """`[..., input]` and the same without noise -> `[..., input x size]`.

    Attributes:
        indicator: int64 `[input]`: the input that says where this one is missing; itself where none does.
        out_features: inputs x size.
    """

    indicator: Tensor

    def __init__(self, inputs: int, size: int):
        super().__init__()
        self.out_features = inputs * size
        self.register_buffer("indicator", torch.arange(inputs))

    def prepare(self, x: Tensor, indicator: Tensor) -> None:
        """Takes from train what is not learned.

        Args:
            x: inputs of training documents, `[document, input]`.
            indicator: as the attribute.
        """
        self.indicator.copy_(indicator)

    @abstractmethod
    def vectors(self, x: Tensor) -> Tensor:
        """`[..., input, size]`."""

    def forward(self, x: Tensor, clean: Tensor) -> Tensor:
        own = torch.arange(len(self.indicator), device=x.device)
        missing = clean[..., self.indicator] * (self.indicator != own)
        return (self.vectors(x) * (1 - missing).unsqueeze(-1)).flatten(-2)


class Piecewise(Embedding):
    """Piecewise-linear encoding by quantiles, and a linear map of each input beside it."""

    knots: Tensor

    def __init__(self, inputs: int, size: int, bins: int):
        super().__init__(inputs, size)
        self.register_buffer("knots", torch.linspace(0, 1, bins + 1).repeat(inputs, 1))
        self.slope, self.bias = nn.Parameter(torch.empty(inputs, size)), nn.Parameter(torch.empty(inputs, size))
        self.weight = nn.Parameter(torch.zeros(inputs, bins, size))
        for parameter in (self.slope, self.bias):
            nn.init.uniform_(parameter, -(size**-0.5), size**-0.5)

    def prepare(self, x: Tensor, indicator: Tensor) -> None:
        """Equal quantiles are one knot (half of a column may be 0); free places repeat the last, as bins of width 0."""
        super().prepare(x, indicator)
        levels = torch.linspace(0, 1, self.knots.shape[1], dtype=torch.float64)
        for j, says in enumerate(indicator.tolist()):
            known = x[:, j] if says == j else x[x[:, says] == 0, j]
            if len(known):
                ends = torch.quantile(known.double(), levels).to(x.dtype).unique()
                self.knots[j, : len(ends)], self.knots[j, len(ends) :] = ends, ends[-1]

    def encoding(self, x: Tensor) -> Tensor:
        """`[..., input, bin]`; the first bin goes on below the values of train, the last one above them."""
        width = self.knots.diff(dim=-1)
        real = width > 0
        t = (x.unsqueeze(-1) - self.knots[..., :-1]) * torch.where(real, 1 / torch.where(real, width, 1.0), 0.0)
        bins = torch.arange(width.shape[-1], device=x.device)
        low = torch.where(bins > 0, 0.0, -math.inf)
        high = torch.where(bins + 1 < real.sum(-1, keepdim=True), 1.0, math.inf)
        return torch.minimum(torch.maximum(t, low), high)

    def vectors(self, x: Tensor) -> Tensor:
        linear = torch.addcmul(self.bias, x.unsqueeze(-1), self.slope)
        return linear + torch.einsum("...fb,fbd->...fd", self.encoding(x), self.weight)


class Periodic(Embedding):
    """Cosines and sines of learned frequencies, a linear layer for each input, relu."""

    def __init__(self, inputs: int, size: int, frequencies: int, scale: float):
        super().__init__(inputs, size)
        self.frequency = nn.Parameter(torch.empty(inputs, frequencies))
        self.weight = nn.Parameter(torch.empty(inputs, 2 * frequencies, size))
        self.bias = nn.Parameter(torch.empty(inputs, size))
        nn.init.trunc_normal_(self.frequency, 0.0, scale, -3 * scale, 3 * scale)
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -((2 * frequencies) ** -0.5), (2 * frequencies) ** -0.5)

    def vectors(self, x: Tensor) -> Tensor:
        angle = 2 * math.pi * self.frequency * x.unsqueeze(-1)
        waves = torch.cat([angle.cos(), angle.sin()], -1)
        return F.relu(torch.einsum("...fb,fbd->...fd", waves, self.weight) + self.bias)


class Inputs(nn.Module):
    """Noise, and the embedding that a config asks for.

    Attributes:
        width: what comes out for each document.
    """

    embed: Embedding | None

    def __init__(self, config: Any, n_features: int):
        super().__init__()
        self.noise, self.width, self.embed = Noise(config.noise), n_features, None
        kind = getattr(config, "embeddings", None)
        if kind == "piecewise":
            self.embed = Piecewise(n_features, config.vector, config.n_bins)
        elif kind == "periodic":
            self.embed = Periodic(n_features, config.vector, *config.waves)
        if self.embed is not None:
            self.width = self.embed.out_features

    def forward(self, x: Tensor) -> Tensor:
        noisy = self.noise(x)
        return noisy if self.embed is None else self.embed(noisy, x)
