"""Operations of training, counted: the measure of cost that neither a busy machine nor its make changes.

    a net      6 for each of its weights and each document that is trained on: a multiplication and an addition forward,
               twice as many backward (the usual count, e.g. Kaplan et al. 2020, 2001.08361); attention adds
               12 x width x list length a document and block
    a forest   an addition for each document, feature and level whose histograms are made (half of the documents below
               the first, since siblings are subtracted), and the pairs of each list

Dropout, norms, losses, optimiser and validation are left out: small, or the same for all. Both kinds are called
operations, but an addition into a histogram waits for memory where a matrix product does not: beside the count stands
processor time.

Whoever wants to know what a piece of work cost opens a counter around it; every training inside reports to it, with
what earlier attempts of a resumed training did.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

__all__ = ["Counter", "counted", "forest_operations", "net_operations", "report"]


@dataclass
class Counter:
    """Attributes:
    operations: of the trainings that ended inside.
    """

    operations: float = 0.0


_OPEN: ContextVar[tuple[Counter, ...]] = ContextVar("open counters", default=())


@contextmanager
def counted() -> Iterator[Counter]:
    """A counter of what is trained inside; counters may be nested.

    >>> with counted() as outer, counted() as inner:
    ...     _ = report(5.0)
    >>> outer.operations, inner.operations
    (5.0, 5.0)
    """
    counter = Counter()
    token = _OPEN.set((*_OPEN.get(), counter))
    try:
        yield counter
    finally:
        _OPEN.reset(token)


def report(operations: float) -> float:
    """Adds to every open counter; returns the number."""
    for counter in _OPEN.get():
        counter.operations += operations
    return operations


def net_operations(weights: float, documents: float, *, width: int = 0, length: float = 0.0) -> float:
    """Operations of training a net.

    Args:
        weights: learned numbers a document passes through.
        documents: trained on, repeats and preferences a document is scored for counted.
        width: sum over the attention blocks of their widths; 0 without attention.
        length: mean length of the lists.

    >>> net_operations(1_000, 10)
    60000.0
    """
    return documents * (6.0 * weights + 12.0 * width * length)


def forest_operations(rounds: float, documents: float, features: int, *, leaves: int, length: float = 0.0) -> float:
    """Operations of boosting.

    Args:
        rounds: trees that were trained, dropped ones too.
        documents, features: of the training lists.
        leaves: of a tree.
        length: mean length of the lists, for objectives that compare pairs; 0 without.

    >>> forest_operations(10, 100, 5, leaves=4)
    10000.0
    """
    histograms = documents * features * (1 + 0.5 * math.log2(max(2, leaves)))
    return rounds * (histograms + 10 * documents * min(length, 30.0))
