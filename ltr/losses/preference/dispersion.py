"""The dispersion index of a query: how much its preferences agree, from an entropy in [0, 1].

    D = -scale log(entropy)        0: one document takes all, 1: nobody agrees on anything

The public code of MallowsPO (2405.14953) uses the mean token entropy of the reference over log |V| and scale .29. In
ranking there are two: the entropy of the reference scorer over the list, and that of the labels. On long lists the
first lies near 1, where all D fall toward 0: hence its temperature, and a clamp.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError

__all__ = ["dispersion_index", "label_entropy", "reference_entropy"]


def reference_entropy(reference: Tensor, where: Tensor | None = None, *, temperature: float = 1.0) -> Tensor:
    """Entropy of softmax(s_ref / T) over log n, `[...]` in [0, 1]; 1 for a list of one document or none.

    >>> reference_entropy(torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    tensor([1.0000, 0.0022])
    """
    if not temperature > 0:
        raise InputError("reference_entropy needs temperature > 0", came=temperature)
    scores, _, where, _ = ops.lists(reference.detach(), torch.zeros_like(reference), where)
    log_p = ops.log_softmax(scores / temperature, where)
    n = where.sum(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)  # pads hold log p = 0
    return torch.where(n > 1, entropy / n.clamp(min=2).log(), 1.0).clamp(0, 1)


def label_entropy(labels: Tensor, where: Tensor | None = None, *, grades: int) -> Tensor:
    """Entropy of the grades of each list over the logarithm of the number of grades there are, `[...]` in [0, 1].

    Args:
        labels, where: `[..., list]`.
        grades: how many grades the data set has, at least 2 (a list alone cannot know).

    >>> label_entropy(torch.tensor([[0, 0, 1, 1], [2, 2, 2, 2]]), grades=4)
    tensor([0.5000, 0.0000])
    """
    if not grades >= 2:
        raise InputError("label_entropy needs grades >= 2", came=grades)
    labels = ops.exact(labels)
    _, labels, where, _ = ops.lists(torch.zeros_like(labels), labels, where)
    alike = where.sum(-1, keepdim=True) - ops.count_lower(labels, where) - ops.count_lower(-labels, where)
    n = where.sum(-1)
    within = alike.clamp(min=1).to(labels.dtype).log().masked_fill(~where, 0.0).sum(-1)
    return ((n.clamp(min=1).log() - within / n.clamp(min=1)) / math.log(grades)).clamp(0, 1)


def dispersion_index(entropy: Tensor, *, scale: float | Tensor = 1.0, low: float = 0.05, high: float = 0.99) -> Tensor:
    """D = -scale log(entropy clamped to [low, high]), `[...]`, always above 0.

    Args:
        entropy: `[...]` in [0, 1], of `reference_entropy` or `label_entropy`.
        scale: 1 / mean(-log entropy) over the training queries gives an index around 1, which leaves beta its meaning;
            .29 is the constant of the public code (which clamps nothing).
        low, high: 0 < low < high < 1.

    >>> dispersion_index(torch.tensor([0.0, 0.5, 1.0]))
    tensor([2.9957, 0.6931, 0.0101])
    """
    if not 0 < low < high < 1:
        raise InputError("dispersion_index needs 0 < low < high < 1", came=(low, high))
    return -scale * entropy.clamp(low, high).log()
