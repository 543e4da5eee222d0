"""Why a document scores as it does: what each feature gives, and why one document stands above another.

    trees    the library's own SHAP values; of two documents their difference
    nets     integrated gradients (Sundararajan et al., ICML 2017) of s_A - s_B, along the straight line of the net's
             inputs from the middle between the two documents, where they are alike and tie, to A and B themselves

No baseline has to be made up for two documents: whatever a net makes of the rest of the list, two equal documents of it
score the same. The sum over the features is s_A - s_B (completeness), and what is left is told. One document alone is
compared with the mean document of its list (nets) or the expected score (trees). Columns a transform adds to a feature,
whether it is missing and how it stands in its list, count as the feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltr.errors import InputError, unknown_name
from ltr.types import Split

from .base import Method
from .export import FixedRanker, MappedPart, PlainPart, TreesPart, fixed

__all__ = ["Explanation", "explain"]

_STEPS = (32, 128, 512, 2048)  # points on the line; more where the sum is not yet what it should be
_CLOSE = 1e-3
_DOCUMENTS = 1 << 15  # scored at once


@dataclass(frozen=True, eq=False)
class Explanation:
    """What each feature gives.

    Attributes:
        documents: names of the one or two documents, A first.
        scores: of them.
        total: what is explained: s_A - s_B, or s_A less the score it is compared with.
        features: their names.
        values: of the documents, float32 `[document, feature]`.
        contributions: float64 `[feature]`; their sum is `total - rest`.
        rest: what no feature got: what a preference gives by itself, and the error of the integral.
    """

    documents: tuple[str, ...]
    scores: tuple[float, ...]
    total: float
    features: tuple[str, ...]
    values: np.ndarray
    contributions: np.ndarray
    rest: float

    def rows(self, most: int | None = None) -> list[dict[str, Any]]:
        """`feature`, its value in each document and `contribution`, the largest first."""
        order = np.argsort(-np.abs(self.contributions), kind="stable")[:most]
        return [
            {
                "feature": self.features[k],
                **{name: float(self.values[i, k]) for i, name in enumerate(self.documents)},
                "contribution": float(self.contributions[k]),
            }
            for k in order
        ]

    def __repr__(self) -> str:
        first = ", ".join(f"{row['feature']} {row['contribution']:+.4f}" for row in self.rows(5))
        what = f"{self.documents[0]} above {self.documents[1]}" if len(self.documents) == 2 else self.documents[0]
        return f"Explanation({what}: {self.total:+.4f} = {first}, ...)"


def explain(model: Any, split: Split, query: str, documents: Sequence[str] = (), preference: Any = None) -> Explanation:
    """What each feature gives to a score, or to the difference of two.

    Args:
        model: fitted ranker (net, bag of nets, boosted trees) or method.
        split: lists the query is one of.
        query: its id.
        documents: one or two of its documents: names, or, where the data name none, numbers in the list from 0. By
            default the two that rank first.
        preference: `[objective]`, of a method.

    Raises:
        InputError: no such query or document, a preference that is wrong, or a model that nothing is known of.

    >>> import ltr
    >>> task = ltr.load("synthetic:queries=20,features=50,objectives=1")
    >>> ranker = ltr.make_ranker("linear", loss="listnet", epochs=2).fit(task.train)
    >>> why = ltr.explain(ranker, task.test, task.test.query_ids[0])
    >>> bool(abs(why.contributions.sum() - (why.scores[0] - why.scores[1])) < 1e-3)
    True
    """
    queries = [str(q) for q in split.query_ids]
    if str(query) not in queries:
        raise unknown_name("query of the split", str(query), queries[:1000])
    one = split.take([queries.index(str(query))])
    if one.n_documents < 2:
        raise InputError("a list of one document has no order to explain", came=str(query))
    module = fixed(model, preference)
    scores = model.score(one, preference)[0] if isinstance(model, Method) else model.score(one)
    names = [str(d) for d in (range(one.n_documents) if one.doc_ids is None else one.doc_ids)]
    places = [_place(str(d), names) for d in documents] or np.argsort(-scores, kind="stable")[:2].tolist()
    if len(places) > 2 or len(set(places)) < len(places):
        raise InputError("one document is explained, or why one stands above another", came=list(documents))
    features = torch.from_numpy(np.array(one.features, np.float32))[None]
    contributions, total = _contributions(module, features, places)
    found = one.feature_names or tuple(f"f{k + 1}" for k in range(one.n_features))
    return Explanation(
        tuple(names[i] for i in places),
        tuple(float(scores[i]) for i in places),
        total,
        tuple(found),
        np.asarray(one.features)[places],
        contributions,
        total - float(contributions.sum()),
    )


def _place(document: str, names: Sequence[str]) -> int:
    if document not in names:
        raise unknown_name("document of the list", document, names)
    return names.index(document)


def _contributions(module: FixedRanker, features: Tensor, places: list[int]) -> tuple[np.ndarray, float]:
    """Of each feature, float64 `[feature]`, and what all of them explain."""
    where = torch.ones(features.shape[:2], dtype=torch.bool)
    nets: list[Any] = [m for m in module.modules() if isinstance(m, PlainPart)]
    trees: list[Any] = [m for m in module.modules() if isinstance(m, TreesPart)]
    if any(isinstance(m, MappedPart) and isinstance(m.part, TreesPart) for m in module.modules()):
        raise InputError("scores of trees that go through a map have no contributions", do="Take another form of it")
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    with torch.no_grad():
        ends = [part.inputs(features, where) for part in nets]
        grown = [part(features, where) for part in trees]
    line = _Line(module, features, where, places, nets, ends, trees, grown)
    found, shares = np.zeros(features.shape[-1]), list[torch.Tensor]()
    total = line.moved()
    for steps in _STEPS if nets else (1,):
        found, shares = line.integral(steps)
        if abs(total - found.sum()) <= _CLOSE * max(np.abs(found).sum(), 1e-9):
            break
    for part, share in zip(trees, shares, strict=True):
        each = share[places].double().numpy() @ part.ranker.contributions(features[0, places].numpy())
        found = found + each[:-1]
        total += float(each.sum() if len(places) == 2 else each[:-1].sum())
    return found, total


class _Line:
    """The difference of two scores (or one score) while what the nets see goes from one end of a line to the other.

    Trees stay where they are; what they give is explained by their library, times how much of it arrives in the scores.
    """

    def __init__(
        self,
        module: FixedRanker,
        features: Tensor,
        where: Tensor,
        places: list[int],
        nets: list[Any],
        ends: list[Tensor],
        trees: list[Any],
        grown: list[Tensor],
    ):
        self.module, self.features, self.where, self.places = module, features, where, places
        self.nets, self.ends, self.trees, self.grown = nets, ends, trees, grown
        self.starts = [x.clone() for x in ends]
        for start, x in zip(self.starts, ends, strict=True):
            start[:, places] = (x[:, places] if len(places) == 2 else x).mean(1, keepdim=True)

    def _difference(self, t: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """At places `[t]` of the line: the difference, and what the nets see and the trees give there."""
        seen = [(a + t[:, None, None] * (b - a)).requires_grad_() for a, b in zip(self.starts, self.ends, strict=True)]
        given = [g.repeat(len(t), 1).requires_grad_() for g in self.grown]
        try:
            for net, x in zip(self.nets, seen, strict=True):
                net.inputs = lambda features, where, x=x: x
            for part, g in zip(self.trees, given, strict=True):
                part.forward = lambda *_, g=g: g
            scores = self.module(self.features.expand(len(t), -1, -1), self.where.expand(len(t), -1))
        finally:
            for part, name in [*((n, "inputs") for n in self.nets), *((p, "forward") for p in self.trees)]:
                part.__dict__.pop(name, None)
        a, *b = self.places
        return scores[:, a] - (scores[:, b[0]] if b else 0.0), seen, given

    def moved(self) -> float:
        """The difference at the end less that at the start."""
        with torch.no_grad():
            start, end = self._difference(torch.tensor([0.0, 1.0]))[0].double().tolist()
        return end - start

    def integral(self, steps: int) -> tuple[np.ndarray, list[Tensor]]:
        """Midpoint rule: contributions of the nets' features, and how much of each tree part arrives, `[list]`."""
        found = np.zeros(self.features.shape[-1])
        shares = [torch.zeros(self.features.shape[1]) for _ in self.trees]
        points = (torch.arange(steps) + 0.5) / steps
        for t in points.split(max(1, _DOCUMENTS // self.features.shape[1])):
            difference, seen, given = self._difference(t)
            slopes = torch.autograd.grad(difference.sum(), [*seen, *given], allow_unused=True)
            for net, slope, a, b in zip(self.nets, slopes, self.starts, self.ends):
                if slope is not None:
                    columns = (slope * (b - a)).double().sum((0, 1)).numpy() / steps
                    found += np.bincount(_features_of(net.transform, len(found)), columns, minlength=len(found))
            for k, slope in enumerate(slopes[len(self.nets) :]):
                if slope is not None:
                    shares[k] += slope.sum(0) / steps
        return found, shares


def _features_of(transform: Any, n: int) -> np.ndarray:
    """The feature each column of a transform's output tells of."""
    own = np.arange(n)
    coded = [np.full(len(values), column) for column, values in transform.levels.items()]
    return np.concatenate([own, transform.missing, *coded, *((own, own) if transform.context else ())]).astype(np.int64)
