"""Does a preference steer? How far scores and rankings move with w, and what attention gives to a prompt made of it.

    report = ltr.steering_report(method, task.test)
    print(report)

A net that is told w may ignore it, and nothing in its training loss says so. A prompt among documents, for one, holds a
share of their attention that falls with the length of the list.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltr.datasets.batching.batches import Batches
from ltr.objectives import lattice
from ltr.rankers.conditional.checkpoints import Checkpoints
from ltr.rankers.conditional.config import STEERING
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.types import Split

from .base import Method

__all__ = ["SteeringReport", "moved", "steering_report", "swapped"]


def moved(scores: np.ndarray, offsets: np.ndarray) -> float:
    """How far scores move with the preference, in units of how far documents of a list lie apart.

    sqrt(variance over preferences / variance over documents), each the mean over all documents, of scores less the mean
    of their list; 0 where no preference changes anything, and a constant added to a list counts for nothing.

    Args:
        scores: `[preference, documents]`.
        offsets: `[lists + 1]`, where lists begin and end.

    >>> moved(np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 2.0, 0.0]]), np.array([0, 2, 4]))  # one of two lists turns
    0.4472...
    """
    lengths = np.diff(offsets)
    sums = np.add.reduceat(np.append(scores, np.zeros((len(scores), 1)), 1), offsets[:-1], axis=1)
    sums = np.where(lengths > 0, sums, 0.0)
    centred = scores - np.repeat(sums / np.maximum(lengths, 1), lengths, axis=1)
    apart = float(np.square(centred).mean())
    return float(np.sqrt(centred.var(axis=0).mean() / apart)) if apart > 0 else 0.0


def swapped(scores: np.ndarray, offsets: np.ndarray) -> float:
    """Share of the document pairs of a list that two preferences order otherwise; mean over lists and preferences.

    Args:
        scores: `[preference, documents]`.
        offsets: `[lists + 1]`.

    >>> swapped(np.array([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 2.0, 0.0]]), np.array([0, 2, 4]))
    0.5
    """
    found = []
    for first, last in zip(offsets[:-1], offsets[1:], strict=True):
        if last - first < 2:
            continue
        above, below = np.triu_indices(last - first, 1)
        here = scores[:, first:last]
        order = np.sign(here[:, above] - here[:, below])
        found += [float((a * b < 0).mean()) for a, b in combinations(order, 2)]
    return float(np.mean(found)) if found else 0.0


@dataclass(frozen=True)
class SteeringReport:
    """What `steering_report` found.

    Attributes:
        moved: of the scores over all preferences, see `moved`.
        swapped: of the rankings at the corners of the simplex, see `swapped`.
        attention: one dict a block that w enters, empty for kinds without attention to it. "prompts": the share of the
            attention of documents that prompts among them hold. "pairs": the size of what pairs add over what
            attention to documents gives (root mean squares). "list": the share of the attention of read-out tokens that
            documents hold; the rest is on themselves. Means over documents or tokens, heads and preferences.
    """

    moved: float
    swapped: float
    attention: tuple[dict[str, float], ...]

    def __str__(self) -> str:
        lines = [
            f"scores move by {self.moved:.2f} of what lies between documents; "
            f"{self.swapped:.1%} of pairs are ordered otherwise at another corner"
        ]
        for i, block in enumerate(self.attention, 1):
            lines.append(f"  block {i}: " + ", ".join(f"{name} {value:.3f}" for name, value in block.items()))
        return "\n".join(lines)


def steering_report(method: Method, split: Split, preferences: np.ndarray | None = None) -> SteeringReport:
    """How far a fitted method follows the preference.

    Args:
        method: fitted; one that trains a model a preference needs the corners among them.
        split: lists; labels are not looked at.
        preferences: `[preference, objective]` of `moved` and of the attention; by default the corners and the middle.

    >>> import ltr
    >>> task = ltr.load("synthetic:queries=20,features=50")
    >>> method = ltr.make_method("soup", ranker="linear", training={"epochs": 1}).fit(task)
    >>> steering_report(method, task.test).attention
    ()
    """
    m = len(method.objectives)
    corners = lattice(m, 1)
    w = np.concatenate([corners, np.full((1, m), 1 / m)]) if preferences is None else np.atleast_2d(preferences)
    sums: list[dict[str, float]] = []
    with torch.inference_mode():
        for ranker in method.models:
            if isinstance(ranker, ConditionedRanker) and ranker.conditioning.kind in (*STEERING, "prompt"):
                sums += _attention(method, ranker, split, w)
    apart = swapped(method.score(split, corners), split.offsets)
    return SteeringReport(moved(method.score(split, w), split.offsets), apart, tuple(sums))


def _attention(method: Method, ranker: ConditionedRanker, split: Split, w: np.ndarray) -> list[dict[str, float]]:
    """Means by block, the documents or tokens of all batches and preferences counting alike."""
    found: list[list[dict[str, float]]] = []
    sizes: list[int] = []
    for each in w:
        (term,) = [t for t in method.terms(each) if t.net is ranker]
        told = torch.as_tensor(term.told, dtype=torch.float32, device=ranker.device)
        net: Any = (ranker.net.of(told) if isinstance(ranker.net, Checkpoints) else ranker.net).eval()
        beta = None if term.beta is None else told.new_tensor(term.beta)[None]
        for batch in Batches(split, device=ranker.device, transform=ranker.transform):
            shared = net.shared(batch.features, batch.where)
            found.append(list(_looks(net, shared, batch.where, net._inputs(shared, told[None], beta))))
            sizes.append(int(batch.where.sum()))
    return [
        {key: float(np.average([blocks[i][key] for blocks in found], weights=sizes)) for key in found[0][i]}
        for i in range(len(found[0]))
    ]


def _looks(net: Any, x: Tensor, where: Tensor, w: Tensor) -> Iterator[dict[str, float]]:
    """What attention does in each block, for one preference."""
    if net.config.kind == "prompt":
        seen: list[Any] = []
        n, masses = net.config.prompts, []
        blocks = net.net.blocks[net.entry :]
        hooks = [b.attend.register_forward_hook(lambda module, given, _: seen.append((module, *given))) for b in blocks]
        try:
            net._score(x, where, w)
        finally:
            for hook in hooks:
                hook.remove()
        for attend, documents, keys in seen:
            q, k, _ = attend.qkv(documents).unflatten(-1, (3, attend.heads, -1)).permute(2, 0, 3, 1, 4)
            weights = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~keys, -torch.inf).softmax(-1)
            masses.append(weights[..., n:, :n].sum(-1).mean(1)[where])
        yield from ({"prompts": float(each.mean())} for each in masses)
        return
    looks: list[dict[str, Tensor]] = []
    net.steering(net.net, x, where, w, looks)
    for look in looks:
        block = {"list": 1 - float(look["itself"].mean())}
        if look["pairs"] is not None:
            told, mixed = (look[key][:, 0].transpose(1, 2)[where].square().mean() for key in ("pairs", "documents"))
            block = {"pairs": float((told / mixed).sqrt()), **block}
        yield block
