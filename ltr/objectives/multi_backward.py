"""One step with several losses: gradients of each, combined by an aggregator, written to `.grad`.

Two spaces. A listwise loss sees the network only through the scores, so its gradient can be looked at there:

    "scores"      g_k = d l_k / d scores. The network is walked back once, with d = sum_k a_k g_k at its output: the
                  cost of a plain step (1.02 / 1.05 / 1.20 of it at m = 2 / 3 / 5). The default.
    "parameters"  g_k = d l_k / d theta, what the papers mean. The network is walked back m times (1.7 / 2.4 / 3.8).

Both descend sum_k a_k l_k; they differ in the Gramian that a is made from. Where the network's Jacobian is orthogonal
they agree. Half precision: Gramians are summed in float64, and a common scale (a gradient scaler's) changes no a.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ltr.errors import InputError, unknown_name

from .aggregators import Aggregator

__all__ = ["Step", "backward", "gramian_of", "separate_gradients"]


@dataclass(frozen=True)
class Step:
    """What a step was made of, for logs.

    Attributes:
        coefficients: a, float64 `[objective]`; None for an aggregator that returns the direction itself.
        gramian: M, float64 `[objective, objective]`; of the gradients before any preference.
    """

    coefficients: Tensor | None
    gramian: Tensor


def separate_gradients(losses: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of each loss, stacked: one tensor `[objective, *input.shape]` for each input.

    The graph above the inputs is kept until the last loss has been walked back. An input no loss depends on gets zeros.

    Args:
        losses: m scalars. The entries of one vector work too, but then each walk passes through the graphs of all.
        inputs: tensors of the graph.
    """
    rows = []
    for k, each in enumerate(losses):
        if not each.requires_grad:  # blank on the whole batch, say
            rows.append(tuple(torch.zeros_like(x) for x in inputs))
            continue
        found = torch.autograd.grad(each, inputs, retain_graph=k < len(losses) - 1, allow_unused=True)
        rows.append(tuple(torch.zeros_like(x) if g is None else g for g, x in zip(found, inputs, strict=True)))
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def gramian_of(gradients: Iterable[Tensor]) -> Tensor:
    """M_kl = g_k . g_l over all inputs, float64 `[objective, objective]`, from tensors `[objective, ...]`.

    >>> gramian_of([torch.tensor([[1.0, 0.0], [1.0, 2.0]])])
    tensor([[1., 1.],
            [1., 5.]], dtype=torch.float64)
    """
    flat = [g.detach().reshape(len(g), -1).double() for g in gradients]
    return torch.stack([g @ g.mT for g in flat]).sum(0)


def backward(
    losses: Tensor | Sequence[Tensor],
    scores: Tensor | Sequence[Tensor] | None,
    parameters: Iterable[Tensor] | None,
    aggregator: Aggregator,
    preference: Tensor | None = None,
    *,
    space: Literal["scores", "parameters"] = "scores",
    generator: torch.Generator | None = None,
) -> Step:
    """Accumulates sum_k a_k g_k into `.grad`, in place of `sum(losses).backward()`.

    Args:
        losses: m scalars (a sequence, or a vector; see `separate_gradients`), one an objective.
        scores: for "scores": what the losses were computed from, any shape, one tensor or several, attached to the
            network. Everything the losses depend on must come through them.
        parameters: for "parameters": what the gradients are taken of; those that require none are left out.
        aggregator: what makes a of the Gramian.
        preference: `[objective]`, handed to the aggregator: its weights where it knows any, else factors of the losses.
        space: "scores" or "parameters".
        generator: of aggregators that draw.

    Raises:
        InputError: unknown space, or nothing to take gradients of.
    """
    if space == "scores":
        inputs = [scores] if isinstance(scores, Tensor) else list(scores or ())
    elif space == "parameters":
        inputs = [p for p in parameters or () if p.requires_grad]
    else:
        raise unknown_name("space", str(space), ("scores", "parameters"))
    if not inputs or not all(x.requires_grad for x in inputs):
        raise InputError(f"no {space} to take gradients of", expected="tensors that require gradients")
    each = list(losses.unbind()) if isinstance(losses, Tensor) else list(losses)
    gradients = separate_gradients(each, inputs)
    gramian = gramian_of(gradients)
    if aggregator.makes_direction:
        coefficients = None
        flat = torch.cat([g.reshape(len(g), -1) for g in gradients], 1)
        direction = aggregator(flat, preference=preference, generator=generator)
        pieces = direction.split([x.numel() for x in inputs])
        steps = [d.reshape(x.shape).to(x.dtype) for d, x in zip(pieces, inputs, strict=True)]
    else:
        values = torch.stack([v.detach() for v in each])
        coefficients = aggregator(gramian, losses=values, preference=preference, generator=generator)
        steps = [torch.tensordot(coefficients.to(g.dtype), g, dims=1) for g in gradients]
    if space == "scores":
        torch.autograd.backward(inputs, steps)
    else:
        for p, d in zip(inputs, steps, strict=True):
            p.grad = d if p.grad is None else p.grad + d
    return Step(coefficients, gramian)
