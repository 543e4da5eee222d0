"""Measures of scores against labels over ragged lists, one float64 value a list.

    judged = Judgements(labels, offsets)                # once per dataset: ideal orders, counts, validation
    evaluate(["nDCG@10", "AP"], scores, judged)         # once per score vector: one sort for all measures
    evaluate_rankings(["nDCG@10"] * m, scores, [judged_1, ..., judged_m])   # many rankings, labels of m objectives

On a CPU it needs numpy only. Tensors on another device are evaluated there, by the same code. Many rankings of the same
lists are as many copies of the lists, one after another: one sort orders them all, nothing loops over lists, and a list
has the bits it has alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ltr.errors import InputError
from ltr.types import Split, in_another_order

from .backends import Array, Backend, Lists, NumpyBackend
from .copies import Copies
from .judgements import Judgements, device_of, list_weights, shaped, to_numpy
from .measure import Asked, Measure, measure
from .measures import MEASURES
from .ranked_lists import RankedLists, checked_scores

__all__ = ["count", "count_blank", "evaluate", "evaluate_rankings", "mean"]

# Documents sorted at once: a processor works from its caches; a GPU wants to be filled, and holds some twenty arrays of
# eight bytes a document meanwhile.
_DOCUMENTS, _DOCUMENTS_ON_DEVICE = 1 << 17, 1 << 23
_KEPT = 2  # sets of copies: the full block, and what is left after the full ones


def evaluate(
    measures: Asked | Iterable[Asked],
    scores: Any,
    labels: Any,
    offsets: Any = None,
    *,
    doc_ids: Any = None,
    weights: Any = None,
    device: Any = None,
) -> dict[str, np.ndarray[Any, Any]]:
    """Values of measures, one a list.

    Args:
        measures: names, measures or functions (see `measure`), or one of them.
        scores: `[..., documents]`, higher is better; array or tensor, finite. Leading axes: rankings of the same lists.
        labels: `[documents]`, finite and not negative; or a split, whose main label, lists, ids and weights are taken;
            or `Judgements`, which keep what no score changes.
        offsets: `[lists + 1]`; list q is documents `offsets[q]:offsets[q + 1]`. With labels alone, as the next two.
        doc_ids: `[documents]`, for measures with ties=docid.
        weights: `[lists]`, for measures with weights=query, e.g. `split.query_weights`.
        device: where to compute; the tensors' own device by default, numpy for arrays and CPU tensors.

    Returns:
        The measure's repr -> float64 `[..., lists]`; NaN where empty=skip leaves the list out. A list's values have the
        same bits whatever other lists, rankings and measures are asked for.

    Raises:
        InputError: for shapes that do not fit, a score that is not finite or a label that is negative or not finite
            (the query is named), labels too large for the gain, or an unknown measure.

    >>> values = evaluate("nDCG@2", [1.2, 0.4, 1.9, -0.3], [1, 3, 0, 2], [0, 4])
    >>> {name: value.round(5).tolist() for name, value in values.items()}
    {'nDCG(gain=exp2,empty=skip)@2': [0.07095]}
    >>> evaluate("RR", [[1.2, 0.4, 1.9, -0.3], [0.0, 3.0, 1.0, 2.0]], [0, 0, 1, 0], [0, 4])["RR(empty=skip)"].tolist()
    [[1.0], [0.3333333333333333]]
    """
    if hasattr(scores, "score") or isinstance(scores, Split):
        raise InputError("a measure is of scores", came=scores, do="evaluate(measures, ranker.score(split), split)")
    if isinstance(labels, Judgements | Split) and any(x is not None for x in (offsets, doc_ids, weights)):
        own = type(labels).__name__
        raise InputError(f"offsets, doc_ids and weights belong to the {own}", do=f"Give them to the {own}, or arrays")
    if isinstance(labels, Judgements):
        judged = labels
        if device is not None:
            raise InputError("the device belongs to the Judgements", do="Give it to Judgements(...)")
    else:
        if isinstance(labels, Split):
            offsets, doc_ids, weights = labels.offsets, labels.doc_ids, labels.query_weights
            labels = labels.label()
        if offsets is None:
            expected = "evaluate(measures, scores, labels, offsets) or evaluate(measures, scores, split)"
            raise InputError("labels need offsets", expected=expected)
        if in_another_order(scores, labels):
            do = "They go by their place, not by their index: scores.loc[labels.index]"
            raise InputError("the rows of scores stand in another order than those of labels", do=do)
        device = device_of(scores, labels) if device is None else device
        judged = Judgements(labels, offsets, doc_ids, weights=weights, device=device)
    asked = [
        measure(m) for m in ([measures] if isinstance(measures, str | Measure) or callable(measures) else measures)
    ]
    scores = shaped("scores", scores, leading=True)
    if scores.ndim == 1:
        ranking = RankedLists(judged, checked_scores(judged, scores))
        return {repr(m): judged.xp.host(value_of(m, ranking)) for m in asked}
    documents, lists = judged.lists.size, len(judged.lists)
    if scores.shape[-1] != documents:
        raise InputError(
            "scores of the wrong shape",
            expected=f"[..., documents={documents}], all lists one after another",
            came=tuple(scores.shape),
            do="Padded lists: take the real documents, x[where]",
        )
    axes = tuple(scores.shape[:-1])
    values = {repr(m): np.zeros((int(np.prod(axes)), lists)) for m in asked}
    for at, ranking, _ in _blocks([judged], _matrix(judged.xp, scores.reshape(-1, documents), documents)):
        for m in asked:
            values[repr(m)][at] = judged.xp.host(value_of(m, ranking)).reshape(at.stop - at.start, lists)
    return {name: value.reshape(*axes, lists) for name, value in values.items()}


def evaluate_rankings(
    measures: Sequence[Asked], scores: Any, judged: Sequence[Judgements], *, documents: int | None = None
) -> Array:
    """Value of every ranking, list and objective, float64 `[ranking, list, objective]`: the points of a front.

    Args:
        measures: one an objective, any of `MEASURES` with any of its conventions.
        scores: `[ranking, documents]`, finite; array or tensor. They go where the judgements are.
        judged: one an objective: labels of the same lists, on one device.
        documents: sorted at once, at least one ranking's; by default what suits the device. No value depends on it.

    Returns:
        An array, or a tensor on the judgements' device where that is no CPU; NaN where empty=skip leaves a list out.
        With judgements on a GPU nothing visits the host but a few counts.

    Raises:
        InputError: not one measure an objective, other shapes, judgements of different lists, and what `evaluate`
            raises for scores and labels.

    >>> judged = [Judgements(labels, [0, 4]) for labels in ([1, 3, 0, 2], [0, 0, 1, 0])]
    >>> values = evaluate_rankings(["nDCG@2", "RR"], [[1.2, 0.4, 1.9, -0.3], [0.0, 3.0, 1.0, 2.0]], judged)
    >>> values.shape, values[:, 0].round(3).tolist()
    ((2, 1, 2), [[0.071, 1.0], [1.0, 0.333]])
    """
    asked = [measure(m) for m in measures]
    if not judged or len(asked) != len(judged):
        raise InputError("one measure an objective", expected=f"{len(judged)}", came=[repr(m) for m in asked])
    first = judged[0]
    xp, lists = first.xp, first.lists
    if any(not np.array_equal(each.bounds, first.bounds) or each.xp.device != xp.device for each in judged[1:]):
        raise InputError("objectives of different lists", expected="judgements with the same offsets on one device")
    scores = _matrix(xp, scores, lists.size)
    out = xp.zeros(len(scores), len(lists), len(asked))
    for at, ranking, copies in _blocks(judged, scores, documents):
        for k, (m, own) in enumerate(zip(asked, copies, strict=True)):
            out[at, :, k] = value_of(m, ranking.judged_by(own)).reshape(at.stop - at.start, len(lists))
    return out


def _blocks(
    judged: Sequence[Judgements], scores: Array, documents: int | None = None
) -> Iterator[tuple[slice, RankedLists, list[Copies]]]:
    """Rankings a block at a time: which of them, the copies of the lists in their order, and the copies' judgements."""
    xp, lists = judged[0].xp, judged[0].lists
    step = _rankings_at_once(lists, documents or (_DOCUMENTS if isinstance(xp, NumpyBackend) else _DOCUMENTS_ON_DEVICE))
    for at in range(0, len(scores), step):
        block = scores[at : at + step]
        copies = _copies(judged, len(block))
        yield slice(at, at + len(block)), RankedLists(copies[0], checked_scores(copies[0], block.reshape(-1))), copies


def _copies(judged: Sequence[Judgements], times: int) -> list[Copies]:
    """Copies of the lists under every objective. The last are kept: a training asks for the same after every epoch."""
    kept = judged[0].kept_copies
    key = (times, *map(id, judged))
    if key not in kept:
        shared = Copies(judged[0], times)
        copies = [shared, *(Copies(each, times, shared.lists) for each in judged[1:])]
        if not isinstance(judged[0].xp, NumpyBackend):  # larger blocks there, and memory that others want
            return copies
        if len(kept) >= _KEPT:
            kept.pop(next(iter(kept)))
        kept[key] = copies  # they hold the judgements whose ids the key is made of
    return kept[key]


def _matrix(xp: Backend, scores: Any, documents: int) -> Array:
    """Scores `[ranking, documents]` where the judgements are."""
    if not isinstance(xp, NumpyBackend):
        scores = xp.floats_as_given(scores)
    elif hasattr(scores, "detach"):
        scores = scores.detach().cpu().numpy()
    else:
        scores = np.asarray(scores)
    if scores.ndim != 2 or scores.shape[1] != documents:
        expected = f"[ranking, documents={documents}]"
        raise InputError("scores of several rankings", expected=expected, came=tuple(scores.shape))
    return scores


def _rankings_at_once(lists: Lists, documents: int) -> int:
    """As many as `documents` allow, and as fit into the 64-bit keys of one sort (see `Lists.descending`)."""
    in_keys = 1 << max(0, 30 - lists.longest.bit_length())  # lists of all copies: 63 bits less score and position
    return max(1, min(documents // max(lists.size, 1), in_keys // max(len(lists), 1)))


def value_of(m: Measure, ranking: RankedLists) -> Array:
    """One measure of a ranking under its rules for ties, blank and short lists, float64 `[lists]` on its device."""
    if m.weights:
        value, weights = value_of(replace(m, weights=None), ranking), ranking.judged.weights()
        counts = value == value
        counted = weights[counts]
        mean = float(counted.sum()) / max(len(counted), 1)
        return ranking.judged.xp.where(counts, value * weights / mean if mean > 0 else float("nan"), float("nan"))
    entry, judged = MEASURES[m.name], ranking.judged
    if entry.claims.get("own"):  # a function of a user says itself which lists count
        own: Array = entry.function(ranking, m)
        return own
    value = entry.function(ranking.under(m.ties or "order"), m)
    if m.short == "0":
        value = judged.xp.where(judged.lists.lengths < m.cutoff, 0.0, value)
    filler = {"skip": float("nan"), "0": 0.0, "1": 1.0}[m.empty]
    return judged.xp.where(judged.blank(entry.claims["blank"], m.rel), filler, value)


def mean(values: Any, weights: Any = None) -> float:
    """Mean over the lists that count (not NaN); NaN, never 0, when none does.

    Args:
        values: `[lists]`.
        weights: `[lists]`, what each list counts, e.g. `split.query_weights`; all alike by default.

    >>> mean([0.5, float("nan"), 1.0]), mean([0.5, float("nan"), 1.0], weights=[3, 5, 1])
    (0.75, 0.625)
    """
    if isinstance(values, Mapping):
        raise InputError("a mean is of the values of one measure", do="mean(values[name]) for name in values")
    values = to_numpy(shaped("values", values, leading=weights is None)).astype(np.float64)
    counted = values[~np.isnan(values)]
    if weights is not None:
        own = list_weights(weights, len(values))[~np.isnan(values)]
        return float(counted @ own / own.sum()) if own.sum() > 0 else float("nan")
    return float(counted.mean()) if counted.size else float("nan")


def count(values: Any) -> int:
    """How many lists `mean` is a mean of.

    >>> count([0.5, float("nan"), 1.0])
    2
    """
    return int(np.count_nonzero(~np.isnan(np.asarray(values, dtype=np.float64))))


def count_blank(labels: Any, offsets: Any, rel: float = 1) -> int:
    """Lists without a document of label `rel` or higher, empty ones included.

    >>> count_blank([0, 0, 1, 0], [0, 2, 4])
    1
    """
    judged = Judgements(labels, offsets)
    return int(judged.blank("relevant", rel).sum())
