"""The measures, one function each, from the formula in the same order.

A kernel maps `RankedLists` (every list's documents by falling score, under one tie rule) and a `Measure` to one float64
value per list, flat and without loops over queries. Lists on which a measure is undefined (`blank`: no positive
"gain", no "relevant" document, no "pair" of different labels) may come out as anything: `evaluate` replaces them.

Expectation over tied orders. A tie group of n documents stands on slots t+1 ... t+n and every order of it is equally
likely. Where a measure is linear in what stands at each slot (DCG, P, R, RBP, MeanNDCG) the expectation puts the
group's mean on each slot (McSherry and Najork, ECIR 2008); AP and RR have closed forms, ERR a recursion.

r is the rank from 1, y_r the label at rank r, g the gain, d the discount, rel_r = 1[y_r >= rel], k the cut-off (the
whole list without one).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from ltr.catalogue import Catalogue

from .backends import Array, Backend, Lists

if TYPE_CHECKING:
    from .measure import Measure
    from .ranked_lists import RankedLists

__all__ = ["MEASURES", "TINY", "chunks", "discount", "discounted"]

MEASURES = Catalogue("measure", [f"ltr.metrics.{family}" for family in ("measures", "diversity", "calibration")])
_of_relevance = partial(MEASURES.register, arguments=("empty", "ties", "rel"), blank="relevant")


def discount(kind: str, rank: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """What a gain at each rank counts: "log2" 1/log2(1 + rank); "letor" 1 at ranks 1 and 2, then 1/log2(rank).

    >>> discount("letor", np.array([1.0, 2.0, 4.0])).tolist()
    [1.0, 1.0, 0.5]
    """
    weight: np.ndarray[Any, Any] = 1 / np.log2(rank + 1 if kind == "log2" else np.maximum(rank, 2))
    return weight


def discounted(lists: Lists, kind: str) -> Array:
    """`discount` at each slot."""
    return lists.by_rank(("discount", kind), partial(discount, kind))


@MEASURES.register(
    "nDCG",
    formula="DCG@k / max over orders of DCG@k",
    source="Jarvelin and Kekalainen, TOIS 2002; exp2 gain Burges et al., ICML 2005",
    arguments=("gain", "empty", "ties", "discount", "short"),
    cutoff="optional",
    blank="gain",
    ideal=1.0,
)
def ndcg(ranked: RankedLists, measure: Measure) -> Array:
    best = ranked.judged.ideal_dcg(measure.gain, measure.discount, measure.cutoff)
    return dcg(ranked, measure) / best.clip(min=TINY)


TINY = 1e-300  # denominators of blank lists, whose value is replaced anyway


@MEASURES.register(
    "DCG",
    formula="sum_{r<=k} g(y_r) d(r)",
    source="Jarvelin and Kekalainen, TOIS 2002; exp2 gain Burges et al., ICML 2005",
    arguments=("gain", "empty", "ties", "discount"),
    cutoff="optional",
    blank="gain",
)
def dcg(ranked: RankedLists, measure: Measure) -> Array:
    top = ranked.lists.top(measure.cutoff)
    return top.sum(ranked.expected(measure.gain, top) * discounted(top, measure.discount))


@MEASURES.register(
    "MeanNDCG",
    formula="(1/n) sum_{k=1..n} nDCG@k",
    source="the LETOR evaluation scripts; Qin et al., LETOR, Information Retrieval 2010",
    arguments=("gain", "empty", "ties", "discount"),
    cutoff="none",
    blank="gain",
    ideal=1.0,
)
def mean_ndcg(ranked: RankedLists, measure: Measure) -> Array:
    lists, weight = ranked.lists, discounted(ranked.lists, measure.discount)
    reached = lists.running(ranked.expected(measure.gain, lists) * weight)
    best = ranked.judged.ideal_running_dcg(measure.gain, measure.discount)
    return lists.sum(reached / best.clip(min=TINY)) / lists.lengths.clip(min=1)


@MEASURES.register(
    "ERR",
    formula="sum_{r<=k} (1/r) R_r prod_{i<r} (1 - R_i), R = (2^y - 1) / 2^max_grade",
    source="Chapelle et al., CIKM 2009, eq. 4 and 5",
    arguments=("empty", "ties", "max_grade"),
    cutoff="optional",
    blank="gain",
)
def err(ranked: RankedLists, measure: Measure) -> Array:
    top = ranked.lists.top(measure.cutoff)
    return _cascade(top, _expected_stops(ranked, ("stop", measure.max_grade), top))


def _stopping(top: Lists, stop: Array) -> Array:
    """Probability that a reader stops at slot r who stops there, once there, with probability stop_r."""
    reading_on = top.running(1 - stop, product=True)
    before = top.xp.concat(reading_on[:1], reading_on[:-1])  # one slot earlier; 1 at the head of each list
    before = top.xp.where(top.position == 0, 1.0, before)
    return stop * before


def _cascade(top: Lists, stop: Array) -> Array:
    """E[1 / the rank at which that reader stops]."""
    return top.sum(_stopping(top, stop) / top.rank)


def _expected_stops(ranked: RankedLists, stops: Hashable, top: Lists) -> Array:
    """Probability to stop at a slot, given that it was reached; in expectation over the orders of tied documents.

    With survivals u_i = 1 - R_i of a group, the chance to survive its first j slots is a_j = e_j(u) / C(n, j), the
    mean of all products of j of them (e_j elementary symmetric), so slot j stops with 1 - a_j / a_{j-1}. Adding the
    (i+1)-th document: a_j <- a_j (i+1-j)/(i+1) + u a_{j-1} j/(i+1), a convex combination, stable for any n.
    """
    xp, groups, k = ranked.xp, ranked.groups, top.longest
    if groups is None:
        return ranked.expected(stops, top)
    stop = ranked.judged.values(stops)[ranked.row]
    head = ranked.lists.position[groups.starts]
    mixed = (groups.sum(stop != stop[groups.first]) > 0) & (head < k)
    some = xp.nonzero(mixed)
    starts, sizes = groups.starts[some], groups.lengths[some]
    widths = xp.minimum(xp.where(sizes < k - head[some], sizes, k - head[some]), k)
    stop = stop + 0  # a copy: slots of mixed groups are overwritten
    for part in chunks(sizes, widths):
        slot, value = _survivals(xp, stop, starts[part], sizes[part], widths[part])
        stop[slot] = value
    return stop[top.slots]


def chunks(sizes: Array, widths: Array, cells: int = 1 << 20) -> Iterator[Array]:
    """Indices of groups, longest first, in chunks whose table [groups, width + 1] stays under so many cells."""
    order = (-sizes).argsort()
    at = 0
    while at < len(order):
        take = max(1, cells // (int(widths[order[at:]].max()) + 1))
        yield order[at : at + take]
        at += take


def _survivals(xp: Backend, stop: Array, starts: Array, sizes: Array, widths: Array) -> tuple[Array, Array]:
    """Slots of mixed groups (longest first) and the conditional stops that the recursion above puts on them."""
    width = int(widths.max())
    a = xp.zeros(len(starts), width + 1)
    a[:, 0] = 1
    j = xp.floats(xp.arange(width + 1))[1:]
    longest_first = xp.host(sizes)
    for i in range(int(longest_first[0])):
        active = int(np.searchsorted(-longest_first, -i))  # groups of more than i documents
        w = min(i + 1, width)
        u = 1 - stop[starts[:active] + i]
        a[:active, 1 : w + 1] = a[:active, 1 : w + 1] * ((i + 1 - j[:w]) / (i + 1)) + u[:, None] * a[:active, :w] * (
            j[:w] / (i + 1)
        )
    # A survival that underflowed to 0 is never reached: its slot may say anything finite.
    conditional = 1 - a[:, 1:] / a[:, :-1].clip(min=TINY)
    inside = xp.arange(width)[None, :] < widths[:, None]
    return (starts[:, None] + xp.arange(width)[None, :])[inside], conditional[inside]


@_of_relevance(
    "AP",
    formula="sum_{r<=k} rel_r P@r / number of relevant documents (all of them, also with a cut-off)",
    source="trec_eval map and map_cut",
    cutoff="optional",
    ideal=1.0,
)
def ap(ranked: RankedLists, measure: Measure) -> Array:
    # A tied slot j of a group (n documents, m relevant) is relevant with m/n; if it is, the slots of the group above
    # it hold (j-1)(m-1)/(n-1) more in expectation.
    lists, top, groups = ranked.lists, ranked.lists.top(measure.cutoff), ranked.groups
    if groups is None:
        rel = ranked.expected(("rel", measure.rel), top)
        above = ranked.xp.cumsum(rel) - rel  # whole numbers: exact
        precision = (above - above[top.first] + 1) / top.rank
        return top.sum(rel * precision) / ranked.judged.relevant(measure.rel).clip(min=1)
    rel = ranked.judged.values(("rel", measure.rel))[ranked.row]
    above = ranked.xp.cumsum(rel) - rel
    group = groups.query[top.slots]
    n, m, j = groups.lengths[group], groups.sum(rel)[group], groups.position[top.slots]
    above = (above[groups.first] - above[lists.first])[top.slots]
    precision = (above + 1 + j * (m - 1) / (n - 1).clip(min=1)) / top.rank
    return top.sum(m / n * precision) / ranked.judged.relevant(measure.rel).clip(min=1)


@_of_relevance(
    "RR",
    formula="1 / rank of the first relevant document, 0 beyond k",
    source="trec_eval recip_rank",
    cutoff="optional",
    ideal=1.0,
)
def rr(ranked: RankedLists, measure: Measure) -> Array:
    top = ranked.lists.top(measure.cutoff)
    return _cascade(top, _first_relevant(ranked, measure, top))


def _first_relevant(ranked: RankedLists, measure: Measure, top: Lists) -> Array:
    """Chance of a relevant document at each slot after none above it: 0 or 1 without ties.

    In a tie group of which m of n documents are relevant, slot j has one with m / (n - j + 1).
    """
    if ranked.groups is None:
        return ranked.expected(("rel", measure.rel), top)
    groups, rel = ranked.groups, ranked.judged.values(("rel", measure.rel))[ranked.row]
    group = groups.query[top.slots]
    left = groups.lengths[group] - groups.position[top.slots]
    return (groups.sum(rel)[group] / left).clip(max=1)


@_of_relevance(
    "Success",
    formula="1 if one of the first k documents is relevant, else 0",
    source="trec_eval success",
    cutoff="required",
    ideal=1.0,
)
def success(ranked: RankedLists, measure: Measure) -> Array:
    top = ranked.lists.top(measure.cutoff)
    return top.sum(_stopping(top, _first_relevant(ranked, measure, top)))


@_of_relevance(
    "P",
    formula="(1/k) sum_{r<=k} rel_r, over k also where the list is shorter",
    source="trec_eval P",
    cutoff="required",
)
def precision(ranked: RankedLists, measure: Measure) -> Array:
    top = ranked.lists.top(measure.cutoff)
    return top.sum(ranked.expected(("rel", measure.rel), top)) / measure.cutoff


@_of_relevance(
    "R",
    formula="sum_{r<=k} rel_r / number of relevant documents",
    source="trec_eval recall",
    cutoff="required",
)
def recall(ranked: RankedLists, measure: Measure) -> Array:
    top = ranked.lists.top(measure.cutoff)
    return top.sum(ranked.expected(("rel", measure.rel), top)) / ranked.judged.relevant(measure.rel).clip(min=1)


@MEASURES.register(
    "RBP",
    formula="(1 - p) sum_{r<=k} rel_r p^(r-1)",
    source="Moffat and Zobel, TOIS 2008, eq. 4",
    arguments=("empty", "ties", "rel", "p"),
    cutoff="optional",
    blank="relevant",
)
def rbp(ranked: RankedLists, measure: Measure) -> Array:
    top, p = ranked.lists.top(measure.cutoff), measure.p
    patience = top.by_rank(("patience", p), lambda rank: p ** (rank - 1))
    return (1 - p) * top.sum(ranked.expected(("rel", measure.rel), top) * patience)


@MEASURES.register(
    "OPA",
    formula="share of the pairs with y_i > y_j that have s_i > s_j, an equal score counting 1/2",
    source="1 - (normalised) Kendall distance between scores and labels; the area under the ROC curve for two grades",
    arguments=("empty", "ties"),
    cutoff="none",
    blank="pair",
    ideal=1.0,
)
def opa(ranked: RankedLists, measure: Measure) -> Array:
    pairs = ranked.judged.pairs
    if ranked.groups is None:
        return _pairs_in_order(ranked) / pairs.clip(min=1)
    worst = ranked.under("worst")  # no tied pair is in order there
    return (_pairs_in_order(worst) + 0.5 * _tied_pairs(worst)) / pairs.clip(min=1)


def _tied_pairs(worst: RankedLists) -> Array:
    """Pairs of equal score and different labels in each list: tied documents stand there by rising label."""
    label = worst.judged.label_levels[worst.row]
    groups = worst.lists.groups(worst.tied)
    same = worst.xp.concat(worst.tied[:1], worst.tied[1:] & (label[1:] == label[:-1]))
    runs = worst.lists.groups(same)
    return worst.lists.sum(runs.first - groups.first)  # documents of the group above, with lower labels


def _pairs_in_order(ranked: RankedLists) -> Array:
    """Pairs (i above j, y_i > y_j) of each list, by the bits of the label's level from the highest down.

    Two different levels first differ in one bit. Documents that agree on all higher bits form a node, still in ranked
    order; in it every document whose bit says "worse" is in order with each one above it whose bit says "better".
    Splitting each node stably by the bit makes the nodes of the next one: log2(levels) passes of cumulative counts.
    Where the nodes lie depends on the labels only.
    """
    xp, lists, judged = ranked.xp, ranked.lists, ranked.judged
    level, pairs = judged.label_levels[ranked.row], xp.zeros(len(lists))
    for bit in reversed(range(judged.level_bits)):
        node, middle = judged.label_nodes(bit)
        worse = (level >> bit) & 1  # level 0 is the best label
        above = xp.cumsum(worse)
        above -= worse
        above -= above[node.first]
        better_above = node.position - above
        pairs += lists.sum(worse * better_above)
        if bit:
            above += middle
            better_above += node.first
            moved = xp.arange(lists.size)
            moved[xp.where(worse == 1, above, better_above)] = level
            level = moved
    return pairs
