"""Many rankings at once against one after another: every measure, every convention, both kinds of arrays."""

from __future__ import annotations

import numpy as np
import pytest
from battery import about
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.errors import InputError
from ltr.metrics import Judgements, evaluate, evaluate_rankings, measure
from ltr.metrics.backends import TorchBackend
from ltr.metrics.copies import Copies
from ltr.metrics.evaluation import _rankings_at_once

EVERY = [
    "nDCG@10",
    "nDCG@1",
    "nDCG",
    "nDCG(gain=linear,empty=0)@3",
    "nDCG(empty=1)@5",
    "nDCG(short=0,discount=letor)@4",
    "DCG@5",
    "DCG(gain=linear,empty=0)",
    "MeanNDCG",
    "MeanNDCG(gain=linear,discount=letor)",
    "ERR@3",
    "ERR(max_grade=6,empty=0)",
    "AP",
    "AP(rel=2)@3",
    "RR",
    "RR(rel=3,empty=0)@2",
    "P(rel=2)@3",
    "R@4",
    "RBP(p=0.5)",
    "OPA",
    "OPA(empty=1)",
]
RULES = ["mean", "order", "worst", "docid", "random(3)"]


def ruled(text: str, rule: str):
    m = measure(text)
    arguments = {**m.arguments, "ties": rule}
    cutoff = "" if m.cutoff is None else f"@{m.cutoff}"
    return measure(f"{m.name}({','.join(f'{k}={v}' for k, v in arguments.items())}){cutoff}")


def made(rng, rankings: int, objectives: int, *, longest: int = 12, lists: int = 9, grades: int = 5, levels: int = 6):
    """Scores `[ranking, document]` with ties (few levels), labels `[document, objective]`, offsets; some lists are
    empty, of one document, blank for an objective, or shorter than any cut-off."""
    lengths = rng.integers(0, longest + 1, lists)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    labels = rng.integers(0, grades, (offsets[-1], objectives)).astype(np.float64)
    for k in range(objectives):
        for q in np.flatnonzero(rng.random(lists) < 0.25):
            labels[offsets[q] : offsets[q + 1], k] = 0
    scores = rng.integers(0, levels, (rankings, offsets[-1])) / 4 - rng.integers(0, 2, (rankings, 1)) * rng.random()
    return scores, labels, offsets


def one_by_one(measures, scores, labels, offsets, doc_ids=None):
    """numpy, a ranking and an objective at a time: what the suite has always done."""
    judged = [Judgements(labels[:, k], offsets, doc_ids) for k in range(labels.shape[1])]
    rows = [[next(iter(evaluate([m], s, j).values())) for m, j in zip(measures, judged, strict=True)] for s in scores]
    return np.array(rows).reshape(len(scores), len(measures), len(offsets) - 1).swapaxes(1, 2)


@pytest.fixture(params=["numpy", "torch"])
def where(request, device):
    """Both kinds of arrays; tensors on the device of the tests."""
    if request.param == "numpy":
        return "cpu"
    pytest.importorskip("torch")
    return TorchBackend(device)


def on_host(values) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


@pytest.mark.parametrize("name", EVERY)
def test_every_measure_under_every_rule(name, where):
    for rule in RULES:
        with about(rule):
            _at_once_is_one_by_one(name, rule, where)


def _at_once_is_one_by_one(name, rule, where):
    rng = np.random.default_rng([EVERY.index(name), RULES.index(rule)])
    scores, labels, offsets = made(rng, 4, 2)
    doc_ids = rng.permutation(offsets[-1]).astype(str)
    asked = [ruled(name, rule)] * 2
    judged = [Judgements(labels[:, k], offsets, doc_ids, device=where) for k in range(2)]
    for documents in (None, 1, 2 * offsets[-1]):  # all at once, one by one, and a rest of another size
        found = on_host(evaluate_rankings(asked, scores, judged, documents=documents))
        np.testing.assert_allclose(found, one_by_one(asked, scores, labels, offsets, doc_ids), rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    objectives=st.sampled_from([1, 2, 3, 5]),
    rankings=st.integers(1, 7),
    levels=st.sampled_from([1, 3, 1000]),
    single=st.booleans(),
)
def test_random_fronts_on_tensors(seed, objectives, rankings, levels, single, device):
    pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    scores, labels, offsets = made(rng, rankings, objectives, levels=levels)
    scores = scores.astype(np.float32) if single else scores + 1e-12  # what float32 cannot hold goes by its ranks
    asked = [ruled(rng.choice(EVERY), rng.choice(["mean", "order", "worst"])) for _ in range(objectives)]
    judged = [Judgements(labels[:, k], offsets, device=TorchBackend(device)) for k in range(objectives)]
    found = evaluate_rankings(asked, scores, judged, documents=int(rng.integers(1, 200)))
    assert str(found.device).startswith(device) and found.dtype.itemsize == 8
    np.testing.assert_allclose(on_host(found), one_by_one(asked, scores, labels, offsets), rtol=0, atol=1e-12)


def test_on_numpy_not_a_bit_differs():
    scores, labels, offsets = made(np.random.default_rng(5), 6, 3, longest=40)
    asked = ["nDCG@10", "AP", "ERR@5"]
    judged = [Judgements(labels[:, k], offsets) for k in range(3)]
    expected = one_by_one([measure(m) for m in asked], scores, labels, offsets)
    for documents in (1, 300, None):
        np.testing.assert_array_equal(evaluate_rankings(asked, scores, judged, documents=documents), expected)


@pytest.mark.parametrize("lengths", [[], [0, 0], [1], [0, 3, 0]])
def test_nothing_to_rank(lengths, where):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    labels, scores = np.ones((offsets[-1], 2)), np.zeros((3, offsets[-1]))
    judged = [Judgements(labels[:, k], offsets, device=where) for k in range(2)]
    found = on_host(evaluate_rankings(["nDCG@10", "AP"], scores, judged))
    assert found.shape == (3, len(lengths), 2)
    assert (np.isnan(found) == (np.array(lengths) == 0)[:, None]).all()
    assert on_host(evaluate_rankings(["nDCG@10", "AP"], scores[:0], judged)).shape == (0, len(lengths), 2)


def test_copies_say_what_judgements_of_tiled_labels_would(where):
    rng = np.random.default_rng(8)
    _, labels, offsets = made(rng, 1, 1)
    n = int(offsets[-1])
    one = Judgements(labels[:, 0], offsets, device=where)
    tiled = Judgements(
        np.tile(labels[:, 0], 3), np.append((np.arange(3)[:, None] * n + offsets[:-1]).ravel(), 3 * n), device=where
    )
    copies = Copies(one, 3)
    same = lambda a, b: np.testing.assert_array_equal(on_host(a), on_host(b))  # noqa: E731
    for key in ("exp2", "linear", ("rel", 2.0), ("stop", 4)):
        same(copies.values(key), tiled.values(key))
    same(copies.ideal_gains("exp2"), tiled.ideal_gains("exp2"))
    same(copies.ideal_dcg("linear", "log2", 3), tiled.ideal_dcg("linear", "log2", 3))
    same(copies.ideal_running_dcg("exp2", "letor"), tiled.ideal_running_dcg("exp2", "letor"))
    same(copies.relevant(2), tiled.relevant(2))
    same(copies.labels, tiled.labels)
    same(copies.label_levels, tiled.label_levels)
    same(copies.tie_order("worst"), tiled.tie_order("worst"))
    for kind, rel in (("gain", None), ("relevant", 3), ("pair", None)):
        same(copies.blank(kind, rel), tiled.blank(kind, rel))


def test_what_does_not_fit_is_said(where):
    one, other = (Judgements([1.0, 0.0, 2.0], offsets, device=where) for offsets in ([0, 3], [0, 1, 3]))
    with pytest.raises(InputError, match="one measure an objective"):
        evaluate_rankings(["nDCG@10"], np.zeros((1, 3)), [one, one])
    with pytest.raises(InputError, match="objectives of different lists"):
        evaluate_rankings(["AP", "AP"], np.zeros((1, 3)), [one, other])
    with pytest.raises(InputError, match="scores of several rankings"):
        evaluate_rankings(["AP"], np.zeros(3), [one])
    scores = np.zeros((4, 3))
    scores[2, 1] = np.nan
    with pytest.raises(InputError, match="document 0 of query 1, ranking 2 of 4"):
        evaluate_rankings(["AP"], scores, [other])


@pytest.mark.parametrize("queries", [1, 700, 6306, 1 << 20])
@pytest.mark.parametrize("longest", [1, 900, 1 << 20])
def test_no_block_is_too_large_for_the_keys_of_one_sort(queries, longest):
    class Shape:
        size = queries * longest

        def __len__(self):
            return queries

    lists = Shape()
    lists.longest = longest
    for documents in (1, 1 << 23, 1 << 60):
        times = _rankings_at_once(lists, documents)
        bits = (times * queries).bit_length() + longest.bit_length() + 32
        assert times == 1 or (bits <= 63 and times * lists.size <= documents)
    assert times > 1 or queries * longest >= 1 << 29, "memory is no reason here, and the keys have room"
