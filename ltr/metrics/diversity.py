"""Measures of what a list as a whole shows: how many categories, and whose documents get the attention.

Exposure, ExposureParity     labels are a group (1) and the others (0), or grades: the group is where they are `rel` or
                             more. A column that says who is in it is an objective like others: losses lift the group,
                             exposureparity balances the two, fronts trade it off.
alphaNDCG, ERR-IA, nDCG-IA   labels are numbers of categories (intents), 0 where a document has none or is of no use.
                             The loss alphandcg learns from them. ties=worst puts low numbers first there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .backends import Array, Backend, Lists
from .measures import MEASURES, TINY, chunks, discounted

if TYPE_CHECKING:
    from .measure import Measure
    from .ranked_lists import RankedLists

__all__ = ["alpha_ndcg", "err_ia", "exposure", "exposure_parity", "ndcg_ia"]

_of_intents = partial(MEASURES.register, cutoff="optional", blank="gain", categories=True)


@MEASURES.register(
    "Exposure",
    formula="sum_{r<=k} rel_r d(r) / sum_{r<=k} d(r): the group's share of the attention; a label >= rel is the group",
    source="Singh and Joachims, KDD 2018; in expectation over ties Diaz et al., CIKM 2020",
    arguments=("empty", "ties", "discount", "rel"),
    cutoff="optional",
    blank="relevant",
)
def exposure(ranked: RankedLists, measure: Measure) -> Array:
    # Linear in what stands at each slot. The mean over lists is the group's share amortised over all of them.
    top = ranked.lists.top(measure.cutoff)
    weight = discounted(top, measure.discount)
    return top.sum(ranked.expected(("rel", measure.rel), top) * weight) / top.sum(weight).clip(min=TINY)


@MEASURES.register(
    "ExposureParity",
    formula="min(e_1, e_0) / max(e_1, e_0), e_g the mean of d(r) over the documents of the group (y >= rel) and of the "
    "others, 0 beyond k",
    source="parity of exposure: Singh and Joachims, KDD 2018; ties: e_g is expected first, Diaz et al., CIKM 2020",
    arguments=("empty", "ties", "discount", "rel"),
    cutoff="optional",
    blank="contrast",
    categories=True,
)
def exposure_parity(ranked: RankedLists, measure: Measure) -> Array:
    top, n = ranked.lists.top(measure.cutoff), ranked.lists.lengths
    weight, n_1 = discounted(top, measure.discount), ranked.judged.relevant(measure.rel)
    seen = top.sum(ranked.expected(("rel", measure.rel), top) * weight)
    group, others = seen / n_1.clip(min=1), (top.sum(weight) - seen).clip(min=0) / (n - n_1).clip(min=1)
    less = ranked.xp.where(group < others, group, others)
    return less / ranked.xp.where(group < others, others, group).clip(min=TINY)


@_of_intents(
    "alphaNDCG",
    formula="sum_{r<=k} [y_r > 0] (1 - alpha)^(documents of category y_r above r) d(r) / the same of the best order",
    source="Clarke et al., SIGIR 2008, one category a document",
    arguments=("empty", "ties", "discount", "alpha"),
)
def alpha_ndcg(ranked: RankedLists, measure: Measure) -> Array:
    lists = ranked.lists
    top = lists.top(measure.cutoff)
    # With one category a document the best order takes the documents by falling gain, whatever stands above.
    alone = _gains(ranked.xp, lists, ranked.judged.labels, 1 - measure.alpha)
    best = top.sum(alone[lists.descending(alone)[0]][top.slots] * discounted(top, measure.discount))
    return _reached(ranked, measure, discounted(lists, measure.discount)) / best.clip(min=TINY)


@_of_intents(
    "ERR-IA",
    formula="(1/C) sum_{r<=k} (1/r) [y_r > 0] alpha (1 - alpha)^(documents of category y_r above r), C categories",
    source="Chapelle et al., Information Retrieval 2011; all intents alike and alpha the chance to stop, as in ndeval",
    arguments=("empty", "ties", "alpha"),
)
def err_ia(ranked: RankedLists, measure: Measure) -> Array:
    reached = measure.alpha * _reached(ranked, measure, 1 / ranked.lists.rank)
    return reached / _intents(ranked).clip(min=1)


@_of_intents(
    "nDCG-IA",
    formula="(1/C) sum_c nDCG@k for the labels [y = c], C categories above 0",
    source="Agrawal et al., WSDM 2009; all intents alike",
    arguments=("empty", "ties", "discount"),
)
def ndcg_ia(ranked: RankedLists, measure: Measure) -> Array:
    # Linear in what stands at each slot: a document of category c is worth 1 / IDCG_c there.
    top = ranked.lists.top(measure.cutoff)
    worth = ranked.expected(("intent", measure.discount, measure.cutoff), top)
    return top.sum(worth * discounted(top, measure.discount)) / _intents(ranked).clip(min=1)


def _intents(ranked: RankedLists) -> Array:
    """Categories above 0 of each list."""
    labels, lists = ranked.judged.labels, ranked.lists
    return lists.sum(ranked.xp.floats((labels > 0) & (_same_above(lists, labels) == 0)))


def _reached(ranked: RankedLists, measure: Measure, weight: Array) -> Array:
    """sum_{r<=k} [y_r > 0] (1 - alpha)^(documents of category y_r above r) weight_r, `[lists]`."""
    lists, left = ranked.lists, 1 - measure.alpha
    labels = ranked.judged.labels[ranked.row]
    if ranked.groups is not None:
        return _expected(ranked, labels, measure, weight)
    top = lists.top(measure.cutoff)
    return top.sum((_gains(ranked.xp, lists, labels, left) * weight)[top.slots])


def _same_above(lists: Lists, labels: Array) -> Array:
    """Documents of the same label above each slot of its list, int64."""
    place, same = lists.descending(labels)
    above = lists.xp.arange(lists.size)
    above[place] = lists.groups(same).position
    return above


def _gains(xp: Backend, lists: Lists, labels: Array, left: float) -> Array:
    return xp.where(labels > 0, left ** xp.floats(_same_above(lists, labels)), 0.0)


def _expected(ranked: RankedLists, labels: Array, measure: Measure, weight: Array) -> Array:
    """`_reached`, the mean over the orders of tied documents.

    In a tie group of n documents, m of one category, slot j (from 0) has one of them with m / n, and of the j above it
    in the group as many are of the category as a draw without replacement from the n - 1 others finds.
    """
    xp, lists, groups, left = ranked.xp, ranked.lists, ranked.groups, 1 - measure.alpha
    assert groups is not None
    place, same = groups.descending(labels)
    pairs = groups.groups(same)  # the documents of one category in one tie group; the first of them stands highest
    head = place[pairs.starts]
    group = groups.query[head]
    n, m, start = groups.lengths[group], pairs.lengths, groups.starts[group]
    reach = n
    if measure.cutoff is not None:
        below = measure.cutoff - lists.position[start]
        reach = xp.where(n < below, n, below)
    counted = xp.nonzero((labels[head] > 0) & (reach > 0))
    n, m, start, reach = n[counted], m[counted], start[counted], reach[counted]
    before = left ** xp.floats(_same_above(lists, labels)[head][counted])
    value = xp.zeros(len(pairs))
    for part in chunks(m, reach):
        inside, table = _drawn(xp, n[part], m[part], reach[part], left)
        slot = (start[part][:, None] + xp.arange(table.shape[1])[None, :])[inside]
        each = Lists.of(xp, reach[part]).sum(table[inside] * weight[slot])
        value[counted[part]] = each * before[part] * m[part] / n[part]
    first = xp.zeros(lists.size)
    first[pairs.starts] = 1
    return Lists.of(xp, xp.ints(lists.sum(first))).sum(value)


def _drawn(xp: Backend, n: Array, m: Array, reach: Array, left: float) -> tuple[Array, Array]:
    """Which cells count, and E[left^J], J of j draws without replacement from n - 1 documents, m - 1 of them counted.

    E is the mean of all products of j of n - 1 factors, m - 1 of them `left`, the others 1. It is 1 while there are
    only ones; one factor more, the (i+1)-th, makes a_j <- a_j (i+1-j)/(i+1) + left a_{j-1} j/(i+1).

    Args:
        n, m, reach: int64 `[pair]`, m falling.
    """
    width = int(reach.max())
    j = xp.floats(xp.arange(width))[None, :]
    ones = xp.floats(n - m)
    a = xp.floats(j <= ones[:, None])
    falling = xp.host(m)
    for step in range(int(falling[0]) - 1):
        active = int((falling > step + 1).sum())
        i, rows = ones[:active, None] + step + 1, a[:active]
        shifted = xp.zeros(active, width)
        shifted[:, 1:] = rows[:, :-1]
        a[:active] = rows * ((i - j) / i).clip(min=0) + left * shifted * (j / i)
    return j < xp.floats(reach)[:, None], a
