"""What a list says of its documents' features: the rank and the z-score of each value within its list.

    rank    share of the list's documents below, ties counted half, minus 1/2: from -1/2 to 1/2
    z       (x - mean of the list) / sd of the list; 0 where the list has one value

A cheap rival of attention: a net that scores documents one by one then knows how they stand among the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["fill_context", "list_context"]

_LISTS = 64  # looked at together; neighbours differ in length, and padding costs


def list_context(x: Tensor, where: Tensor) -> Tensor:
    """Ranks and z-scores `[batch, list, 2 x feature]` of transformed features `[batch, list, feature]`; pads 0.

    >>> import torch
    >>> list_context(torch.tensor([[[1.0], [3.0], [3.0]]]), torch.ones(1, 3, dtype=torch.bool))[0].round(decimals=2)
    tensor([[-0.3300, -1.4100],
            [ 0.1700,  0.7100],
            [ 0.1700,  0.7100]])
    """
    import torch

    real = where.unsqueeze(-1)
    n = where.sum(-1)[:, None, None].clamp(min=1).to(x.dtype)
    if torch.compiler.is_compiling():  # not every runtime of an exported graph can search
        pairs = x.unsqueeze(1), x.unsqueeze(2)  # others, own
        counted = where[:, None, :, None]
        below = ((pairs[0] < pairs[1]) & counted).sum(2) + ((pairs[0] <= pairs[1]) & counted).sum(2)
    else:
        columns = x.mT.contiguous()
        ordered = columns.masked_fill(~where.unsqueeze(1), torch.inf).sort(-1).values
        below = (torch.searchsorted(ordered, columns) + torch.searchsorted(ordered, columns, right=True)).mT
    rank = below.to(x.dtype) / (2 * n) - 0.5
    away = torch.where(real, x, 0.0)
    for _ in range(2):  # the second time takes away what rounding left
        away = torch.where(real, away - away.sum(1, keepdim=True) / n, 0.0)
    spread = (away.square().sum(1, keepdim=True) / n).sqrt()
    most = torch.where(real, x, -torch.inf).amax(1, keepdim=True)
    varies = torch.where(real, x, torch.inf).amin(1, keepdim=True) < most
    z = torch.where(varies, away / torch.where(varies, spread, 1.0), 0.0)
    return torch.where(real, torch.cat([rank, z], -1), 0.0)


def fill_context(features: Tensor, n_features: int, offsets: np.ndarray) -> None:
    """Writes the context of the first columns of lists that lie one after another into the last columns.

    Args:
        features: `[documents, column]`, whose last 2 x `n_features` columns are written.
        n_features: how many columns have a context.
        offsets: `[query + 1]`, where the lists begin and end.
    """
    import torch

    for a in range(0, len(offsets) - 1, _LISTS):
        ends = torch.as_tensor(np.array(offsets[a : a + _LISTS + 1]), device=features.device)
        lengths = ends.diff()
        where = torch.arange(int(lengths.max()), device=features.device) < lengths.unsqueeze(1)
        own = slice(int(ends[0]), int(ends[-1]))
        x = features.new_zeros(*where.shape, n_features)
        x[where] = features[own, :n_features]
        features[own, -2 * n_features :] = list_context(x, where)[where]
