"""What a method's scores are made of: a fixed combination of nets, `terms(w)`, from which scoring and export follow.

s(x; w) = sum_i share_i map_i(net_i(x; told_i))               + (1 - sum_i share_i) s_ref(x), with a reference
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.conditional.weight_mix import WeightMixRanker
from ltr.rankers.ensembles.stacked import stacked_scores
from ltr.rankers.neural import NeuralRanker
from ltr.rankers.score_maps import ScoreMap
from ltr.types import Split

__all__ = ["MixedWeights", "Term", "combined", "is_conditioned", "is_net", "on_host"]


@dataclass(frozen=True)
class MixedWeights:
    """A net whose weights are sum_k shares_k weights_k of nets of one shape; made when it is asked for."""

    nets: tuple[ConditionedRanker, ...]
    shares: tuple[float, ...]

    def made(self) -> ConditionedRanker:
        states = [ranker.net.state_dict() for ranker in self.nets]
        mixed = copy.copy(self.nets[0])
        mixed.net = copy.deepcopy(self.nets[0].net)
        pairs = list(zip(self.shares, states, strict=True))
        mixed.net.load_state_dict({key: sum(a * state[key] for a, state in pairs) for key in states[0]})
        return mixed


class Term(NamedTuple):
    """One net of a combination.

    Attributes:
        share: what its scores are multiplied with.
        net: a ranker: a conditioned or plain net, mixed weights, or trees.
        told: the preference (or levels) `[objective]` it is conditioned on; a net without conditioning ignores it.
        beta: the temperature (or one an objective) it is conditioned on, if it is.
        map: what its scores go through before they are multiplied, e.g. a softmax over the list; None: nothing.
        output: which column, of trees that score `[documents, output]`.
    """

    share: float
    net: Any
    told: np.ndarray
    beta: float | tuple[float, ...] | None = None
    map: ScoreMap | None = None
    output: int | None = None


def is_net(ranker: Any) -> bool:
    """Whether a term is a net; trees score on the host."""
    return isinstance(ranker, ConditionedRanker | NeuralRanker | MixedWeights)


def is_conditioned(ranker: Any) -> bool:
    """Whether it scores otherwise for another preference."""
    return isinstance(ranker, WeightMixRanker) or (
        isinstance(ranker, ConditionedRanker) and ranker.conditioning.kind != "none"
    )


def combined(
    terms: Sequence[Sequence[Term]], split: Split, *, s_ref: Tensor | None = None, augmented: bool = False
) -> Tensor | np.ndarray:
    """Scores `[preference, documents]` of the terms of each preference: of nets a tensor where they are, else an array.

    Every net is run once for all it is told; nets without conditioning run stacked, mixed weights one at a time.

    Args:
        s_ref: scores of the reference `[documents]`, which gets what the shares leave of 1.
        augmented: whether the nets add to the reference.
    """
    asked: dict[Hashable, Term] = {}
    for term in (term for row in terms for term in row):
        asked.setdefault(_scored(term), term)
    reference = s_ref if augmented else None
    found: dict[Hashable, Any] = {}
    plain: list[Hashable] = []
    conditioned: dict[Hashable, list[Hashable]] = {}
    trees: dict[Hashable, list[Hashable]] = {}
    for key, term in asked.items():
        if isinstance(term.net, MixedWeights):
            found[key] = term.net.made().score_tensor(split, term.told[None], reference=reference)[0]
        elif is_conditioned(term.net):
            conditioned.setdefault((id(term.net), term.beta), []).append(key)
        elif is_net(term.net):
            plain.append(key)
        else:
            trees.setdefault(id(term.net), []).append(key)
    for keys in trees.values():
        scores = asked[keys[0]].net.score(split)
        found.update({key: scores if (k := asked[key].output) is None else scores[:, k] for key in keys})
    if plain:
        found.update(zip(plain, stacked_scores([asked[key].net for key in plain], split, reference=reference)))
    for keys in conditioned.values():
        first, told = asked[keys[0]], np.stack([asked[key].told for key in keys])
        scores = first.net.score_tensor(split, told, reference=reference, beta=first.beta)
        found.update(zip(keys, scores, strict=True))
    each = {_key(term): term for row in terms for term in row}
    return _mixed(terms, {key: _mapped(found[_scored(term)], term, split) for key, term in each.items()}, s_ref)


def _scored(term: Term) -> Hashable:
    """Equal for terms of equal scores, before any map."""
    net = term.net if isinstance(term.net, MixedWeights) else id(term.net)
    return net, term.told.tobytes() if is_conditioned(term.net) else b"", term.beta, term.output


def _key(term: Term) -> Hashable:
    """Equal for terms that are equal but for their shares."""
    return _scored(term) if term.map is None else (_scored(term), term.map)


def _mapped(scores: Any, term: Term, split: Split) -> Any:
    """The scores after the map of the term: a tensor where they are one, else an array."""
    if term.map is None:
        return scores
    if isinstance(scores, np.ndarray):
        return term.map.flat(torch.from_numpy(scores.astype(np.float64)), split.offsets).numpy()
    return term.map.flat(scores, split.offsets)


def _mixed(
    terms: Sequence[Sequence[Term]], scores: Mapping[Hashable, Any], s_ref: Tensor | None
) -> Tensor | np.ndarray:
    if all(len(row) == 1 and row[0].share == 1 for row in terms):
        rows = [scores[_key(term)] for (term,) in terms]
        return np.stack(rows) if isinstance(rows[0], np.ndarray) else torch.stack(rows)
    column = {key: i for i, key in enumerate(scores)}
    shares = np.zeros((len(terms), len(scores)))
    for row, here in zip(shares, terms, strict=True):
        for term in here:
            row[column[_key(term)]] += term.share
    if isinstance(next(iter(scores.values())), np.ndarray):
        return shares @ np.stack(list(scores.values()))
    each = torch.stack(list(scores.values()))
    mixed = torch.tensor(shares, dtype=torch.float32, device=each.device) @ each
    rest = 1 - shares.sum(1)
    if s_ref is None or np.abs(rest).max() < 1e-9:
        return mixed
    return mixed + torch.tensor(rest, dtype=torch.float32, device=each.device).unsqueeze(-1) * s_ref


def on_host(scores) -> np.ndarray:
    """Array or tensor as an array."""
    return scores if isinstance(scores, np.ndarray) else scores.cpu().numpy()
