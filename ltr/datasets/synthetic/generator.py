"""The world of the synthetic task: columns of the kinds web data has, and utilities hidden in some of them.

Every column shows a latent normal variable h in one of eight kinds (a count, a tf-idf-like sum, a log-probability ...).
*Carriers* decide the utilities. What counts is the value as stored, so a count that lost the digits of its h loses
nothing of the utility: u is a function of the float32 columns, exactly. The other columns are near-copies of carriers,
noisy views of a utility (what a BM25 is to relevance), noise, query statistics and a constant.

Every objective has eight carriers of its own in four terms, each standardised, with these shares of the variance:

    linear  .42   weighted sum of three carriers
    pair    .22   product of two
    gated   .20   one carrier in queries of one type, another in those of the other (the type is a column too)
    bump    .16   a carrier should be neither small nor large

So a linear ranker stays well below the best, and nets and trees have something to find. Terms v^k of different
objectives are independent; `_CONFLICT` is the correlation of the u^k mixed from them, and u^k needs v^1..v^k only, so
the first objectives are the same however many a task asks for. A query effect, visible in a column, moves all grades
of a list and no order.

A sixth objective, engagement, has the same four terms of carriers that it borrows from the others (`_BORROWED`): it
needs no columns and no other world. With it a label can stay apart from five objectives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ltr.errors import InputError
from ltr.seeds import seed_of

__all__ = ["MEAN_LENGTH", "OBJECTIVES", "World", "check_width", "draw_lengths", "the_world"]

_OWNERS = ("relevance", "quality", "freshness", "popularity", "trust")  # objectives with carriers of their own
OBJECTIVES = (*_OWNERS, "engagement")
_CONFLICT = np.array(
    [
        [1.00, -0.30, -0.35, -0.20, -0.25],
        [-0.30, 1.00, -0.25, -0.30, 0.30],
        [-0.35, -0.25, 1.00, -0.30, -0.20],
        [-0.20, -0.30, -0.30, 1.00, -0.20],
        [-0.25, 0.30, -0.20, -0.20, 1.00],
    ]
)
_SHARES = {"linear": 0.42, "pair": 0.22, "gated": 0.20, "bump": 0.16}
_LINEAR = np.array([0.7, 0.55, 0.45])  # weights of the three linear carriers
_QUERY_EFFECT = 0.5  # sd of what moves a whole list
_QUERY_SHARE = 0.19  # of the variance of a document column that its query explains

# kind -> (from the latent normal to the column, from the column to a coordinate of about unit size)
_KINDS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "count": (lambda h: np.floor(np.exp(1.1 * h + 1)), np.log1p),
    "tfidf": (lambda h: np.maximum(h + 0.8, 0) * 12, lambda x: x / 12),
    "bounded": (lambda h: 1 / (1 + np.exp(-1.5 * h)), lambda x: 3 * x),
    "logprob": (lambda h: np.minimum(4 * h - 14, 0), lambda x: x / 4),
    "heavy": (lambda h: np.floor(np.exp(2.6 * h + 5)), lambda x: np.log1p(x) / 2.6),
    "ratio": (lambda h: np.exp(np.minimum(1.2 * h - 4, 0)), lambda x: np.log(x) / 1.2),
    "binary": (lambda h: (h > 0.4).astype(h.dtype), lambda x: 2 * x),
    "idf": (lambda h: 10 + 2 * h, lambda x: (x - 10) / 2),
    "constant": (np.zeros_like, np.zeros_like),  # never a carrier, as the flags
}
# Kinds of the carriers of one objective, in the order linear (3), pair (2), gated (2), bump (1). A pair of smooth kinds
# and a bump on a smooth kind keep the hard terms learnable from tens of thousands of documents.
_OWN_KINDS = ("count", "tfidf", "logprob", "bounded", "heavy", "ratio", "count", "logprob")
_OWN = len(_OWN_KINDS)
# All carriers: the own ones objective by objective, a query effect for each objective, the type of the query.
_BORROWED = np.array([0, 1, 2, 3, 4, 0, 1, 2])  # whose carrier engagement takes, place by place
_CARRIER_KINDS = (*_OWN_KINDS * len(_OWNERS), *("idf",) * len(_OWNERS), "idf")
_CARRIERS = len(_CARRIER_KINDS)
_OTHER_KINDS = ("count", "tfidf", "bounded", "count", "logprob", "heavy", "tfidf", "ratio", "binary", "count")


MEAN_LENGTH = round(104 * math.exp(0.55**2 / 2))  # documents of a list, before the ends are cut


def check_width(n_features: int) -> None:
    """Refuses fewer columns than the objectives need."""
    if n_features < _CARRIERS + 4:
        raise InputError("too few synthetic features", expected=f"at least {_CARRIERS + 4}", came=n_features)


def draw_lengths(n_queries: int, generator: np.random.Generator) -> np.ndarray:
    """Documents of each list as web search has them: log-normal, median 104, sd of the log .55, 1 to 900."""
    lengths = np.exp(generator.normal(np.log(104), 0.55, n_queries))
    return np.clip(np.round(lengths), 1, 900).astype(np.int64)


@lru_cache(maxsize=4)
def the_world(n_features: int) -> World:
    """The world with this many columns. There is one: seeds draw documents from it, they do not change its laws.

    Raises:
        InputError: fewer columns than the objectives need.
    """
    check_width(n_features)
    generator = np.random.default_rng(seed_of("synthetic world", n_features))
    m, others = len(_OWNERS), n_features - _CARRIERS
    kinds = list(_CARRIER_KINDS)
    # A third of the rest are near-copies; two columns an objective, while places last, are views of its utility; the
    # last is constant, the four before it are query statistics, and the others are noise.
    source = np.full(n_features, -1)
    view = np.full(n_features, -1)
    copies = others // 3
    for j in range(_CARRIERS, n_features):
        place = j - _CARRIERS
        if place < copies:
            source[j] = generator.integers(m * _OWN)
            kinds.append(kinds[source[j]])
        elif place - copies < min(2 * m, others - copies - 2):
            view[j] = (place - copies) % m
            kinds.append("tfidf" if place - copies < m else "logprob")
        elif j == n_features - 1:
            kinds.append("constant")
        elif j >= n_features - 5:
            kinds.append("idf")
        else:
            kinds.append(_OTHER_KINDS[j % len(_OTHER_KINDS)])
    return World(tuple(kinds), source, view, generator.permutation(n_features))


@dataclass(frozen=True, eq=False)
class World:
    """Columns of a synthetic task, carriers first; `place` is where they stand in the feature matrix.

    Attributes:
        kinds: kind of each column, a key of `_KINDS`.
        source: the carrier a near-copy copies, -1 for other columns.
        view: the objective whose utility a column shows noisily, -1 for other columns.
        place: column j of this list is feature `place[j]`.
    """

    kinds: tuple[str, ...]
    source: np.ndarray
    view: np.ndarray
    place: np.ndarray

    @property
    def objectives(self) -> tuple[str, ...]:
        return OBJECTIVES

    @property
    def n_features(self) -> int:
        return len(self.kinds)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Kind and 1-based number, in the order of the matrix; roles stay hidden."""
        return tuple(f"{self.kinds[j]}_{i + 1}" for i, j in enumerate(np.argsort(self.place)))

    def draw(self, lengths: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """Documents of lists with these lengths, float32 `[documents, feature]`."""
        n, columns = int(lengths.sum()), self.n_features
        latent = np.empty((columns, n))
        for j, h in enumerate(self._latent(lengths, generator)):
            latent[j] = h if self.source[j] < 0 else 0.95 * latent[self.source[j]] + np.sqrt(1 - 0.95**2) * h
        stored = np.stack([_KINDS[kind][0](h) for kind, h in zip(self.kinds, latent, strict=True)])
        utility = self.standard_utility(stored[:_CARRIERS]).astype(np.float32)
        for j in map(int, np.flatnonzero(self.view >= 0)):
            h = 0.45 * utility[self.view[j]] + np.sqrt(1 - 0.45**2) * latent[j]
            stored[j] = _KINDS[self.kinds[j]][0](h)
        features = np.empty((n, columns), np.float32)
        features[:] = stored[np.argsort(self.place)].T
        return features

    def _latent(self, lengths: np.ndarray, generator: np.random.Generator) -> Iterator[np.ndarray]:
        """Column after column, float64 `[documents]`, of the latent normals before any is copied: one stays in the
        cache."""
        own = generator.standard_normal((self.n_features, lengths.sum()), dtype=np.float32)
        query = generator.standard_normal((self.n_features, len(lengths)), dtype=np.float32)
        for j, kind in enumerate(self.kinds):
            shared = np.repeat(query[j], lengths).astype(np.float64)
            yield shared if kind == "idf" else np.sqrt(1 - _QUERY_SHARE) * own[j] + np.sqrt(_QUERY_SHARE) * shared

    def utility(self, features: np.ndarray) -> np.ndarray:
        """u^k of documents, float64 `[documents, 6]`, from `[documents, feature]` alone."""
        carriers = self.place[:_CARRIERS]
        return self._utility(len(features), lambda rows: np.asarray(features[rows])[:, carriers].T)

    def draw_utility(self, n: int, generator: np.random.Generator) -> np.ndarray:
        """u^k of n documents, each a list of its own, float64 `[documents, 6]`: those of `draw`, without the columns
        that bear none."""
        latent = self._latent(np.ones(n, np.int64), generator)
        stored = [_KINDS[kind][0](h).astype(np.float32) for kind, h in zip(_CARRIER_KINDS, latent, strict=False)]
        return self._utility(n, lambda rows: np.stack([column[rows] for column in stored]))

    def _utility(self, n: int, carriers: Callable[[slice], np.ndarray]) -> np.ndarray:
        """u^k of n documents, some thousand at a time."""
        out = np.empty((n, len(OBJECTIVES)))
        for start in range(0, n, 65_536):
            rows = slice(start, start + 65_536)
            out[rows] = self.standard_utility(carriers(rows)).T
        return out

    def standard_utility(self, stored: np.ndarray) -> np.ndarray:
        """u^k, float64 `[6, documents]`, from the carriers as stored, `[carrier, documents]`."""
        terms, effects = _terms(stored)
        scales = _calibration()
        v = sum(np.sqrt(share) * (terms[t] - scales[t][0]) / scales[t][1] for t, share in _SHARES.items())
        m = len(_OWNERS)
        own = np.linalg.cholesky(_CONFLICT) @ v[:m] + _QUERY_EFFECT * effects
        return np.concatenate([own, v[m:] + _QUERY_EFFECT * effects.sum(0, keepdims=True) / math.sqrt(m)])


def _terms(stored) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Raw terms, each `[6, documents]`, and query effects `[5, documents]`, from the carriers as stored."""
    m = len(_OWNERS)
    scales = _coordinates()
    c = np.stack(
        [
            (_KINDS[kind][1](x.astype(np.float64)) - scales[kind][0]) / scales[kind][1]
            for kind, x in zip(_CARRIER_KINDS, stored, strict=True)
        ]
    )
    own = c[: m * _OWN].reshape(m, _OWN, -1)
    own = np.concatenate([own, own[_BORROWED, np.arange(_OWN)][None]])
    effects, query_type = c[m * _OWN : m * (_OWN + 1)], c[-1]
    gate = 1 / (1 + np.exp(-3 * query_type))
    terms = {
        "linear": np.einsum("c,mcd->md", _LINEAR, own[:, :3]),
        "pair": own[:, 3] * own[:, 4],
        "gated": gate * own[:, 5] + (1 - gate) * own[:, 6],
        "bump": -np.abs(own[:, 7]),
    }
    return terms, effects


@lru_cache(maxsize=1)
def _coordinates() -> dict[str, tuple[float, float]]:
    """Mean and sd of the coordinate of each kind of carrier, by quadrature over the latent normal."""
    h = np.linspace(-6, 6, 100_001)
    weight = np.exp(-0.5 * h**2)
    weight /= weight.sum()
    scales = {}
    for kind in set(_CARRIER_KINDS):
        store, decode = _KINDS[kind]
        c = decode(store(h))
        mean = weight @ c
        scales[kind] = float(mean), float(np.sqrt(weight @ (c - mean) ** 2))
    return scales


@lru_cache(maxsize=1)
def _calibration() -> dict[str, tuple[float, float]]:
    """Mean and sd of each term, from a fixed large sample; objectives obey equal laws, so theirs are pooled."""
    generator = np.random.default_rng(seed_of("synthetic calibration"))
    latent = generator.standard_normal((_CARRIERS, 100_000), dtype=np.float32)
    terms, _ = _terms([_KINDS[kind][0](h) for kind, h in zip(_CARRIER_KINDS, latent, strict=True)])
    own = {name: term[: len(_OWNERS)] for name, term in terms.items()}
    return {name: (float(term.mean()), float(term.std())) for name, term in own.items()}
