"""Training on lists without labels: a net learns what documents look like before it learns which are relevant.

Of the inputs x of a batch some values are replaced, and the net, but for its last layer, makes h of what is left:

    denoising    g(h) is to be x again, the mean squared error of all inputs
                 (denoising autoencoders, Vincent et al., ICML 2008; of tables VIME, Yoon et al., NeurIPS 2020)
    contrast     twice; z = g(h) of a document is to be nearer to its other view than to the views of the other
                 documents of its list (SimCLR, Chen et al., ICML 2020, 2002.05709; of tables SCARF, Bahri et al., ICLR
                 2022, 2106.15147; with negatives of the list alone SimCLR-Rank, Hou et al., 2308.00177)

g, a layer, a relu and a layer, is thrown away afterwards. That SimCLR-Rank takes its negatives from the list is read in
the paper's abstract and reviews; the formula is SimCLR's, and the defaults are ours.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltr.rankers.layers import attention_mask
from ltr.types import Batch

from .loop import ListModule

__all__ = ["Pretrainer", "PretrainingModule", "contrastive_loss", "corrupted", "denoising_loss"]


def corrupted(x: Tensor, where: Tensor, rate: float, how: str, generator: torch.Generator | None = None) -> Tensor:
    """Inputs with some values replaced, each by itself.

    Args:
        x: `[batch, list, input]`.
        where: `[batch, list]`.
        rate: chance of a value to be replaced.
        how: swap (by the same input of a document of the batch, drawn anew for each value) or zero.
    """
    replaced = torch.rand(x.shape, device=x.device, generator=generator) < rate
    if how == "zero":
        return x.masked_fill(replaced, 0.0)
    documents = x[where]
    drawn = torch.randint(len(documents), x.shape, device=x.device, generator=generator)
    others = documents.gather(0, drawn.flatten(0, 1)).view_as(x)
    return torch.where(replaced & where.unsqueeze(-1), others, x)


def denoising_loss(decoded: Tensor, x: Tensor, where: Tensor) -> Tensor:
    """(1 / n F) sum_i sum_j (decoded_ij - x_ij)^2 over the n documents and F inputs of a list, `[batch]`; 0 of an empty
    list.

    Args:
        decoded, x: `[batch, list, input]`.
        where: `[batch, list]`.
    """
    errors = (decoded - x).square().mean(-1)
    return errors.masked_fill(~where, 0.0).sum(-1) / where.sum(-1).clamp(min=1)


def contrastive_loss(one: Tensor, other: Tensor, where: Tensor, temperature: float) -> Tensor:
    """-(1 / 2n) sum_a log(e^(z_a . z_a' / t) / sum_{b != a} e^(z_a . z_b / t)), `[batch]`; 0 of less than two.

    a and b go over the 2n views of the n documents of a list, a' is the other view of a's document, z have length 1.

    Args:
        one, other: the views, `[batch, list, size]`, of any length.
        where: `[batch, list]`.
        temperature: t.
    """
    n = where.shape[-1]
    z, real = F.normalize(torch.cat([one, other], 1), dim=-1), where.repeat(1, 2)
    itself = torch.eye(2 * n, dtype=torch.bool, device=z.device)
    near = (z @ z.mT / temperature).masked_fill(itself | ~real.unsqueeze(1), torch.finfo(z.dtype).min)
    positive = torch.cat([near.diagonal(n, 1, 2), near.diagonal(-n, 1, 2)], -1)
    terms = (near.logsumexp(-1) - positive).masked_fill(~real, 0.0)
    return terms.sum(-1) / real.sum(-1).clamp(min=1)


class Pretrainer(nn.Module):
    """A net with g in the place of its last layer.

    Args:
        net: with `hidden` and `head`.
        inputs: of it.
        config: `PretrainedConfig`.
    """

    def __init__(self, net: nn.Module, inputs: int, config: Any):
        super().__init__()
        self.net, self.config = net, config
        width = cast(Any, net).head.linear.in_features
        outputs = inputs if config.pretext == "denoising" else width
        self.g = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs))

    def losses(self, x: Tensor, where: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """The loss of every list, and which lists it can be had of, `[batch]` each."""
        c, views = self.config, 1 if self.config.pretext == "denoising" else 2
        made = []
        for _ in range(views):
            seen = corrupted(x, where, c.corruption_rate, c.corruption, generator)
            made.append(self.g(cast(Any, self.net).hidden(seen, where, attention_mask(where))).float())
        with torch.autocast(x.device.type, enabled=False):
            if views == 1:
                return denoising_loss(made[0], x, where), where.any(-1)
            return contrastive_loss(made[0], made[1], where, c.temperature), where.sum(-1) > 1


class PretrainingModule(ListModule):
    """The training of a `Pretrainer`: no label and no validation list is looked at, and the last epoch is kept."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        values, counts = cast(Pretrainer, self.net).losses(batch.features, batch.where, self.generator)
        loss = (values * counts).sum() / counts.sum().clamp(min=1)
        self.total += loss.detach()
        return loss
