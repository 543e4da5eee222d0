"""Small query lists and a small loss for the tests of rankers: they depend on nothing but numpy and torch."""

from __future__ import annotations

import numpy as np
import torch

from ltr.types import Split


def toy(queries: int = 60, features: int = 6, seed: int = 0, longest: int = 14, name: str = "") -> Split:
    """Lists whose grade grows along a fixed direction, with noise: a ranker that learns beats a random one."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(3, longest + 1, queries)
    X = draw.normal(size=(lengths.sum(), features)).astype(np.float32)
    direction = np.linspace(2.0, 0.2, features)
    signal = X @ direction / np.linalg.norm(direction) + 0.2 * draw.normal(size=len(X))
    grades = np.digitize(signal, [0.2, 0.9, 1.5, 2.1])
    return Split.from_arrays(X, grades, lengths, name=name)


class SoftmaxCE:
    """ListNet with linear targets, as the methods room hands losses in: one value a list, and their mean."""

    def __call__(self, scores, labels, where, weights=None, generator=None):
        logp = scores.masked_fill(~where, -torch.inf).log_softmax(-1).masked_fill(~where, 0.0)
        labels = labels.masked_fill(~where, 0.0)
        return -(labels / labels.sum(-1, keepdim=True).clamp(min=1e-9) * logp).sum(-1)

    def reduce(self, values, labels, where):
        counts = ((labels > 0) & where).any(-1)
        return values.where(counts, 0.0).sum() / counts.sum().clamp(min=1)


class Jittered(SoftmaxCE):
    """Draws from the generator at every call, as the sampled losses do."""

    def __call__(self, scores, labels, where, weights=None, generator=None):
        noise = torch.rand(scores.shape, generator=generator, device=scores.device)
        return super().__call__(scores + 0.1 * noise, labels, where)
