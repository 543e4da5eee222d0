"""Any loss, averaged over copies of the scores with Gumbel noise."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ltr import ops
from ltr.errors import InputError
from ltr.losses.base import LOSSES
from ltr.losses.base import loss as by_name

__all__ = ["gumbel"]


@LOSSES.register(
    "gumbel",
    formula="(1/N) sum_n f(s + scale Gumbel_n), f any loss of the catalogue",
    source="Bruch, Han, Bendersky, Najork, WSDM 2020; as in rax",
    needs="pair",
    wraps="of",
    shift_invariant=True,
    stochastic=True,
)
def gumbel(
    scores: Tensor,
    labels: Tensor,
    where: Tensor,
    weights: Tensor | None,
    *,
    generator: torch.Generator | None,
    of: str = "approxndcg",
    samples: int = 8,
    scale: float = 1.0,
    params: dict[str, Any] | None = None,
) -> Tensor:
    """Any loss, averaged over copies of the scores with Gumbel noise: rankings drawn from Plackett-Luce, not one alone.

    Claims are those of the default; which lists count is up to the loss that is wrapped.

    Args:
        weights: as in the wrapped loss.
        generator: draws the noise; None: no noise, the wrapped loss itself.
        of: name of the wrapped loss.
        samples: N copies, 8 as in rax and TF-Ranking. The cost grows with it.
        scale: of the noise, in units of the scores; at 1 sorting the noisy scores is a Plackett-Luce draw.
        params: parameters of the wrapped loss.

    >>> gumbel(torch.tensor([1.2, 0.4, 1.9, -0.3]), torch.tensor([1, 3, 0, 2]), of="ranknet")  # no generator, no noise
    tensor(1.3976)
    """
    if samples < 1 or not scale > 0:
        raise InputError("gumbel needs samples >= 1 and scale > 0", came={"samples": samples, "scale": scale})
    if of == "gumbel":
        raise InputError("gumbel wraps another loss, not itself", came=of)
    inner = by_name(of, **(params or {}))
    if generator is None:
        return inner(scores, labels, where, weights=weights)
    noise = ops.gumbel((samples, *scores.shape), generator).to(scores.device, scores.dtype)
    labels, where = labels.expand(noise.shape), where.expand(noise.shape)
    weights = None if weights is None else weights.expand(noise.shape)
    return inner(scores + scale * noise, labels, where, weights=weights, generator=generator).mean(0)
