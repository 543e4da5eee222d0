"""Objectives: label transforms, preferences, list targets, blank objectives and the oracle ranking."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.datasets import synthetic
from ltr.errors import InputError
from ltr.losses import loss
from ltr.metrics import evaluate
from ltr.objectives import (
    Labelling,
    Objective,
    arithmetic_mix,
    check_preference,
    counting,
    dirichlet,
    geometric_mix,
    label_objectives,
    lattice,
    list_targets,
    mean_losses,
    oracle_scores,
    weighted_sum,
)
from ltr.objectives.label_transforms import NAMES, LabelTransform, fit
from ltr.ops import ideal_dcg, log_softmax
from ltr.types import Split, Task

WORKED = torch.tensor([[1.0, 3.0], [3.0, 0.0], [0.0, 1.0], [2.0, 1.0]])  # y and y2 of the hand-worked list
HALF = torch.tensor([0.5, 0.5])


# --------------------------------------------------------------------------------------------------- label transforms


def graded(values, **options):
    values = np.asarray(values, dtype=np.float32)
    return fit("grade5", values, **options).apply(values, np.array([0, len(values)]))


def test_grade5_of_a_column_with_zeros():
    """Zeros stay 0; eight positive values fall into quartiles of two."""
    assert graded([0, 5, 0, 1, 2, 8, 3, 7, 4, 6]).tolist() == [0, 3, 0, 1, 1, 4, 2, 4, 2, 3]


def test_grade5_of_a_column_that_is_never_zero():
    values = np.random.default_rng(0).permutation(np.arange(1, 1001))
    counts = np.bincount(graded(values).astype(int))
    assert counts.tolist() == [500, 250, 150, 70, 30]  # below the quantiles 50, 75, 90, 97


def test_grade5_turned_round():
    """Lower is better: the best 3 % are the smallest, zeros included."""
    values = np.arange(1000)
    grades = graded(values, direction="min")
    assert np.bincount(grades.astype(int)).tolist() == [500, 250, 150, 70, 30]
    assert (np.diff(grades) <= 0).all() and grades[0] == 4


def test_grade5_gives_equal_values_equal_grades_and_never_reverses():
    rng = np.random.default_rng(1)
    for rule in ("positives", "all"):
        values = rng.choice([0.0, 0.1, 1 / 3, 2.5, 1e6, 65534.0], size=500, p=[0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
        order = np.argsort(values, kind="stable")
        grades = graded(values, rule=rule)[order]
        assert (np.diff(grades) >= 0).all()
        assert all(len(set(grades[values[order] == v])) == 1 for v in set(values))


def test_grade5_knows_train_only():
    """Values outside the range of train clamp to the end grades, and applying never looks at quantiles again."""
    transform = fit("grade5", np.array([0.0, 1, 2, 3, 4], np.float32))
    assert transform.apply(np.array([100.0, 0.5, -1.0]), np.array([0, 3])).tolist() == [4, 1, 0]


def test_minmax_by_hand():
    values, offsets = np.array([2.0, 4, 3, 7, 7, 0, 5]), np.array([0, 3, 5, 5, 7])  # the third list is empty
    assert fit("minmax", values).apply(values, offsets).tolist() == [0, 1, 0.5, 0, 0, 0, 1]
    assert fit("minmax", values, direction="min").apply(values, offsets).tolist() == [1, 0, 0.5, 0, 0, 1, 0]


def test_log_minmax_by_hand():
    values = np.array([0.0, math.e - 1, math.e**4 - 1])
    labels = fit("log-minmax", values).apply(values, np.array([0, 3]))
    np.testing.assert_allclose(labels, [0, 0.25, 1], rtol=1e-6)
    turned = fit("log-minmax", values, direction="min").apply(values, np.array([0, 3]))
    np.testing.assert_allclose(turned, [1, 0.75, 0], rtol=1e-6)


def test_reciprocal_of_ranks():
    one = fit("reciprocal", np.array([1.0, 2.0]), direction="min")
    assert one.apply(np.array([4.0, np.nan, 1.0]), np.array([0, 3])).tolist() == [0.25, 0.0, 1.0]
    for wrong, direction, said in ((0.0, "min", "begins at 1"), (1.0, "max", "first rank is the best")):
        with pytest.raises(InputError, match=said):
            fit("reciprocal", np.ones(1), direction=direction).apply(np.array([wrong]), np.array([0, 1]))


def test_minmax_of_no_list():
    assert fit("minmax", np.zeros(0)).apply(np.zeros(0), np.array([0])).shape == (0,)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("direction", ["max", "min"])
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_better_raw_value_never_gets_a_lower_label(name, direction, data):
    """Within a list labels follow the direction; labels are finite, at least 0 for raw values that are."""
    if (name, direction) in (("identity", "min"), ("reciprocal", "max")):
        return
    lengths = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=5).filter(sum))
    number = st.one_of(st.integers(0, 5), st.floats(0, 1e7, width=32))
    values = np.array(data.draw(st.lists(number, min_size=sum(lengths), max_size=sum(lengths))), np.float32)
    offsets = np.cumsum([0, *lengths])
    values += name == "reciprocal"  # ranks begin at 1
    try:
        labels = fit(name, values, direction=direction).apply(values, offsets)
    except InputError as error:
        assert name == "grade5" and "grade5" in error.what
        return
    assert labels.dtype == np.float32 and np.isfinite(labels).all() and (labels >= 0).all()
    for a, b in itertools.pairwise(offsets):
        better = values[a:b] if direction == "max" else -values[a:b]
        assert (np.diff(labels[a:b][np.argsort(better, kind="stable")]) >= 0).all()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: fit("minmx", np.ones(3)), "Did you mean 'minmax'"),
        (lambda: fit("minmax", np.ones(3), direction="up"), "direction"),
        (lambda: fit("identity", np.ones(3), direction="min"), "better when lower"),
        (lambda: fit("minmax", np.ones(3), rule="all"), "belongs to grade5"),
        (lambda: fit("grade5", np.ones(3), rule="most"), "rule of grade5"),
        (lambda: fit("grade5", np.zeros(3)), "no positive value"),
        (lambda: fit("grade5", np.full(3, 7.0)), "grade 0"),
        (lambda: fit("grade5", np.zeros(0)), "no value"),
        (lambda: fit("grade5", np.array([1.0, np.nan])), "row 1"),
        (lambda: fit("minmax", np.ones(2)).apply(np.array([1.0, np.inf]), np.array([0, 2])), "not finite"),
        (lambda: fit("minmax", np.ones(2)).apply(np.ones(3), np.array([0, 2])), "[2]"),
        (lambda: LabelTransform("grade5"), "not a fitted"),
        (lambda: LabelTransform("grade5", "max", "all", (1.0,)), "not a fitted"),
        (lambda: Objective(""), "name"),
        (lambda: Objective("x", transform="grade"), "grade5"),
        (lambda: Objective("x", gain="exp"), "exp2"),
    ],
)
def test_errors_of_labels(call, says):
    with pytest.raises(InputError, match=".*") as caught:
        call()
    assert says in str(caught.value)


# ------------------------------------------------------------------------------------------------------- labelling


def raw_split(seed=0, scale=1.0, name="train"):
    rng = np.random.default_rng(seed)
    lengths = np.array([4, 1, 7, 3])
    columns = np.stack(
        [rng.integers(0, 5, 15), rng.integers(0, 3, 15) * rng.random(15) * scale, rng.integers(1, 255, 15)], 1
    )
    return Split(
        rng.random((15, 2), np.float32),
        columns.astype(np.float32),
        np.cumsum([0, *lengths]),
        np.arange(4).astype(str),
        objectives=("relevance", "clicks", "badness"),
        name=name,
    )


CHOSEN = (
    "relevance",
    Objective("popular", column="clicks", transform="grade5"),
    Objective("good", column="badness", direction="min", transform="minmax"),
)


def test_labelling_of_a_task(tmp_path):
    task = Task("raw", "Fold1", raw_split(0), raw_split(1, name="vali"), raw_split(2, scale=50, name="test"))
    labelling = label_objectives(CHOSEN, task.train)
    turned = labelling.task(task)
    assert turned.objectives == labelling.names == ("relevance", "popular", "good")
    assert [o.gain for o in labelling.objectives] == ["exp2", "exp2", "linear"]
    assert turned.train.features is task.train.features and turned.name == "raw"
    np.testing.assert_array_equal(turned.test.labels[:, 0], task.test.label("relevance"))
    # Thresholds are those of train: clicks of test are fifty times as many, and mostly of the best grade.
    clicks = turned.test.label("popular")
    assert set(clicks[task.test.label("clicks") > 0]) == {4.0} and set(clicks) == {0.0, 4.0}
    labelling.save(tmp_path / "labels.json")
    loaded = Labelling.load(tmp_path / "labels.json")
    assert loaded == labelling and [p.name for p in tmp_path.iterdir()] == ["labels.json"]
    np.testing.assert_array_equal(loaded.apply(task.vali).labels, turned.vali.labels)


def test_labels_that_do_not_fit_their_gain():
    split = raw_split()
    with pytest.raises(InputError, match="objective 'badness'.*grade5"):
        label_objectives(["badness"], split).apply(split)
    label_objectives([Objective("badness", gain="linear")], split).apply(split)


@pytest.mark.parametrize(
    ("objectives", "says"),
    [
        ([], "at least one"),
        ("relevance", "sequence"),
        (["relevance", "relevance"], "none twice"),
        (["relevanc"], "Did you mean 'relevance'"),
        ([Objective("a", column="click")], "Did you mean 'clicks'"),
    ],
)
def test_errors_of_labelling(objectives, says):
    with pytest.raises(InputError) as caught:
        label_objectives(objectives, raw_split())
    assert says in str(caught.value)


def test_errors_of_saved_labellings(tmp_path):
    path = tmp_path / "labels.json"
    for text in ("{", "{}", "[1]", '{"objectives": [3]}'):
        path.write_text(text)
        with pytest.raises(InputError, match="not a saved labelling"):
            Labelling.load(path)
    row = {"objective": {"name": "a", "gian": "exp2"}, "transform": {"name": "identity"}}
    path.write_text(json.dumps({"objectives": [row]}))
    with pytest.raises(InputError, match="Did you mean 'gain'"):
        Labelling.load(path)


# ------------------------------------------------------------------------------------------------------ preferences


@pytest.mark.parametrize(("m", "partition", "count"), [(2, 10, 11), (3, 10, 66), (4, 5, 56), (5, 4, 70), (6, 3, 56)])
def test_lattice_of_the_protocol(m, partition, count):
    w = lattice(m)
    assert w.shape == (count, m) and count == math.comb(partition + m - 1, m - 1)
    assert (w >= 0).all() and np.allclose(w.sum(1), 1, atol=1e-15)
    steps = w * partition
    np.testing.assert_allclose(steps, steps.round(), atol=1e-12)
    rows = [tuple(r) for r in steps.round().astype(int)]
    assert len(set(rows)) == count and rows == sorted(rows, reverse=True)
    assert rows[0] == (partition,) + (0,) * (m - 1) and rows[-1] == (0,) * (m - 1) + (partition,)
    everything = itertools.product(range(partition + 1), repeat=m)
    assert set(rows) == {r for r in everything if sum(r) == partition}


def test_lattice_elsewhere():
    assert lattice(1).tolist() == [[1.0]] and lattice(2, 1).tolist() == [[1, 0], [0, 1]]
    assert lattice(8, 1).tolist() == np.eye(8).tolist()
    for m, partition in ((0, None), (7, None), (2, 0)):
        with pytest.raises(InputError):
            lattice(m, partition)


@pytest.mark.parametrize("alpha", [0.2, 1.0, [0.5, 2.0, 3.5]])
def test_dirichlet_has_its_moments(alpha, device):
    generator = torch.Generator(device).manual_seed(0)
    w = dirichlet(alpha, 3, (20_000,), generator=generator)
    assert w.dtype == torch.float32 and w.device.type == torch.device(device).type
    assert (w >= 0).all() and (w.sum(-1) - 1).abs().max() < 1e-6
    a = torch.tensor(np.broadcast_to(alpha, 3), dtype=torch.float32, device=w.device)
    mean = a / a.sum()
    torch.testing.assert_close(w.mean(0), mean, rtol=0, atol=0.01)
    torch.testing.assert_close(w.var(0), mean * (1 - mean) / (a.sum() + 1), rtol=0.05, atol=0)


def test_dirichlet_is_seeded_and_leaves_the_global_generator_alone():
    state = torch.get_rng_state()
    first, second = (dirichlet(0.5, 2, (3, 4), generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    assert dirichlet(0.5, 2, (), generator=torch.Generator().manual_seed(5)).shape == (2,)
    tiny = dirichlet(0.01, 3, (2000,), generator=torch.Generator().manual_seed(1))
    assert tiny.isfinite().all() and (tiny.max(-1).values > 0.99).float().mean() > 0.9


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), [1.0, 1.0], [1.0, 0.0, 1.0]])
def test_dirichlet_refuses(alpha):
    with pytest.raises(InputError, match="alpha"):
        dirichlet(alpha, 3)


def test_check_preference_accepts():
    for given_ in ([0.2, 0.8], np.array([0.2, 0.8], np.float32), torch.tensor([0.2, 0.8]), (0.2, 0.80001)):
        w = check_preference(given_, 2)
        assert w.dtype == np.float64 and abs(w.sum() - 1) < 1e-15
    assert check_preference(lattice(3), 3).shape == (66, 3)
    assert check_preference([1, 0], ["a", "b"]).tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("preference", "says"),
    [
        ([0.5, 0.5], "3 weights"),
        ([0.5, 0.2, 0.2, 0.1], "3 weights"),
        (0.5, "3 weights"),
        ([0.5, float("nan"), 0.5], "weight of clicks is not a number"),
        ([0.5, float("inf"), 0.5], "weight of clicks is infinite"),
        ([0.75, 0.5, -0.25], "weight of trust is negative"),
        ([2, 1, 1], "sum to 4"),
        ([2, 1, 1], "[0.5, 0.25, 0.25]"),
        ([0, 0, 0], "sum to 0"),
        ([[1, 0, 0], [0.5, 0.5, 0.5]], "sum to 1.5"),
        (["a", "b", "c"], "numbers"),
        ([[1, 0, 0], [1, 0]], "numbers"),
    ],
)
def test_check_preference_refuses(preference, says):
    with pytest.raises(InputError) as caught:
        check_preference(preference, ["relevance", "clicks", "trust"])
    assert says in str(caught.value) and "relevance, clicks, trust" in str(caught.value)


# ---------------------------------------------------------------------------------------------------------- targets


def padded(seed=0, lists=5, length=7, m=3):
    """Labels with blank objectives, pads that hold NaN, and an all-pad list; the mask; and a preference a list."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 4, (lists, length, m), generator=generator).double()
    labels[1, :, 0] = 0
    labels[2] = 0
    where = torch.arange(length) < torch.tensor([length, 3, 5, 2, 0][:lists])[:, None]
    labels[~where] = float("nan")
    return labels, where, dirichlet(1.0, m, (lists,), generator=generator).double()


def test_worked_targets():
    assert list_targets(WORKED, kind="lin")[:, 0].tolist() == pytest.approx([1 / 6, 1 / 2, 0, 1 / 3])
    assert list_targets(WORKED)[:, 0].tolist() == pytest.approx([1 / 11, 7 / 11, 0, 3 / 11])
    soft = list_targets(WORKED, kind="soft")
    assert arithmetic_mix(soft, HALF).tolist() == pytest.approx([0.42223, 0.34081, 0.06727, 0.16969], abs=5e-6)
    assert geometric_mix(soft, HALF).tolist() == pytest.approx([0.41048, 0.24897, 0.09159, 0.24897], abs=5e-6)
    mixed = list_targets(WORKED, gain=("exp2", "linear"), eps=1.0)
    assert mixed[:, 0].tolist() == pytest.approx([2 / 15, 8 / 15, 1 / 15, 4 / 15])
    assert mixed[:, 1].tolist() == pytest.approx([4 / 9, 1 / 9, 2 / 9, 2 / 9])


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "lin"},
        {"kind": "gain"},
        {"kind": "gain", "eps": 1e-3},
        {"kind": "soft"},
        {"kind": "soft", "temperature": 0.5},
    ],
)
def test_targets_are_those_of_listnet_column_by_column(options, device):
    labels, where, _ = (t.to(device) for t in padded())
    z = list_targets(labels, where, **options)
    counts = counting(labels, where)
    assert (z[~where] == 0).all() and (z >= 0).all()
    torch.testing.assert_close(z.sum(-2), counts.double())
    rest = {k: v for k, v in options.items() if k != "kind"}
    for k in range(labels.shape[-1]):
        params = {"target": options["kind"], **rest}
        scores = torch.zeros_like(labels[..., k]).requires_grad_()
        loss("listnet", **params)(scores, labels[..., k].nan_to_num(), where).sum().backward()
        # The gradient of a cross entropy is softmax(scores) - target, and equal scores give 1/n.
        even = (where / where.sum(-1, keepdim=True)).nan_to_num()
        torch.testing.assert_close(z[..., k], (even * counts[..., None, k] - scores.grad))


def test_blank_objectives():
    labels, where, w = padded()
    assert counting(labels, where).tolist()[:3] == [[True] * 3, [False, True, True], [False] * 3]
    z = list_targets(labels, where, "soft")
    assert (z[1, :, 0] == 0).all() and (z[2] == 0).all() and (z[4] == 0).all()
    # Arithmetic: the weight of the blank objective is lost. Geometric: the others' powers alone, normalised.
    torch.testing.assert_close(arithmetic_mix(z, w).sum(-1)[:2], torch.stack([torch.ones(()).double(), w[1, 1:].sum()]))
    p = geometric_mix(z, w)
    torch.testing.assert_close(p.sum(-1), torch.tensor([1.0, 1, 0, 1, 0]).double())
    by_hand = (z[1, :3, 1] ** w[1, 1]) * (z[1, :3, 2] ** w[1, 2])
    torch.testing.assert_close(p[1, :3], by_hand / by_hand.sum())
    corner = torch.tensor([1.0, 0, 0]).double()
    assert geometric_mix(z, corner).sum(-1).tolist()[1] == 0  # all weight on an objective that says nothing here


def test_arithmetic_favours_specialists_geometric_compromises():
    """T10 of our notes."""
    z = torch.tensor([[0.60, 0.02], [0.02, 0.60], [0.25, 0.25], [0.13, 0.13]])
    assert arithmetic_mix(z, HALF).tolist() == pytest.approx([0.31, 0.31, 0.25, 0.13])
    assert geometric_mix(z, HALF).tolist() == pytest.approx([0.183, 0.183, 0.417, 0.217], abs=5e-4)
    zero = torch.tensor([[0.5, 0.0], [0.5, 0.5], [0.0, 0.5]])
    assert geometric_mix(zero, HALF).tolist() == [0, 1, 0]  # T8: zeros wherever any z^k is 0
    assert geometric_mix(zero, torch.tensor([1.0, 0.0])).tolist() == [0.5, 0.5, 0]


def test_a_weighted_sum_of_cross_entropies_is_the_cross_entropy_of_the_mix():
    """T2: the same loss surface, blank objectives included, for scores anywhere; and the two reductions agree."""
    labels, where, w = padded()
    scores = torch.randn(5, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    z = list_targets(labels, where, "gain", eps=1e-3)
    logp = log_softmax(scores, where)
    values = -(z * logp.unsqueeze(-1)).sum(-2)
    counts = counting(labels, where)
    assert (values[~counts] == 0).all()
    each = weighted_sum(values, w, counts)
    torch.testing.assert_close(each, -(arithmetic_mix(z, w) * logp).sum(-1))
    one = w[0]
    lists = counts.any(-1)
    joint = weighted_sum(values, one, counts)[lists].mean()
    torch.testing.assert_close((mean_losses(values, counts) * one).sum(), joint)
    gradients = [
        torch.autograd.grad(f, scores, retain_graph=True)[0] for f in (joint, mean_losses(values, counts) @ one)
    ]
    torch.testing.assert_close(*gradients)


def test_means_over_nothing():
    values = torch.ones(3, 2, requires_grad=True)
    losses = mean_losses(values, torch.zeros(3, 2, dtype=torch.bool))
    assert losses.tolist() == [0, 0]
    losses.sum().backward()
    assert (values.grad == 0).all()
    assert mean_losses(torch.ones(0, 2)).tolist() == [0, 0]
    assert mean_losses(torch.tensor([[1.0, 4.0], [3.0, 0.0]])).tolist() == [2, 2]


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "hard"},
        {"gain": "exp"},
        {"gain": ("exp2",)},
        {"eps": -1.0},
        {"kind": "soft", "eps": 1e-3},
        {"kind": "soft", "temperature": 0.0},
        {"kind": "lin", "temperature": 2.0},
    ],
)
def test_targets_refuse(options):
    with pytest.raises(InputError):
        list_targets(WORKED, **options)


# ----------------------------------------------------------------------------------------------------------- oracle


def ndcg(order, labels, k, gain):
    """NDCG@k of one list in this order, by hand."""
    worth = [2**y - 1 if gain == "exp2" else y for y in labels]
    ideal = sum(g / math.log2(r + 2) for r, g in enumerate(sorted(worth, reverse=True)[:k]))
    return sum(worth[i] / math.log2(r + 2) for r, i in enumerate(order[:k])) / ideal if ideal else 0.0


@pytest.mark.parametrize("k", [None, 1, 3])
def test_no_ranking_beats_the_oracle(k):
    """T7: all 120 rankings of lists of five, two gains, a blank objective among them."""
    rng = np.random.default_rng(0)
    for trial in range(8):
        labels = rng.integers(0, 4, (5, 3)).astype(float)
        labels[:, 2] = 0 if trial == 0 else labels[:, 2] / 3
        w, gains = rng.dirichlet(np.ones(3)), ("exp2", "exp2", "linear")
        value = {
            order: sum(w[j] * ndcg(order, labels[:, j], k, gains[j]) for j in range(3))
            for order in itertools.permutations(range(5))
        }
        scores = oracle_scores(torch.as_tensor(labels), torch.as_tensor(w), k=k, gain=gains)
        assert value[tuple(scores.argsort(descending=True).tolist())] == pytest.approx(max(value.values()), abs=1e-12)


def test_oracle_of_padded_lists_and_a_preference_each():
    labels, where, w = padded()
    scores = oracle_scores(labels, w, where, k=3)
    assert (scores[~where] == 0).all() and scores.isfinite().all()
    for row in range(5):
        alone = oracle_scores(labels[row][where[row]], w[row], k=3)
        torch.testing.assert_close(scores[row][where[row]], alone)
    one = scores.new_tensor([0.0, 1, 0])
    mine = 2 ** labels[0, :, 1] - 1
    torch.testing.assert_close(oracle_scores(labels[0], one, k=3), mine / ideal_dcg(labels[0, :, 1], k=3))


def test_oracle_front_is_that_of_the_synthetic_truth():
    """Two codes, one fact: the measured NDCG of our oracle scores is the front the synthetic task states."""
    task = synthetic.make(40, 2, seed=3)
    split, truth = task.test, task.facts["truth"]
    preferences = np.array([[0.618, 0.382], [0.137, 0.863]])  # no two unlike documents tie at these
    stated = truth.front(split, preferences, 10, ranker="oracle")
    for w, expected in zip(torch.as_tensor(preferences), stated, strict=True):
        lists = [torch.as_tensor(split.labels[a:b]).double() for a, b in itertools.pairwise(split.offsets)]
        scores = np.concatenate([oracle_scores(y, w, k=10).numpy() for y in lists])
        for name, value in zip(split.objectives, expected, strict=True):
            (measured,) = evaluate(["nDCG@10"], scores, split.label(name), split.offsets).values()
            assert np.nanmean(measured) == pytest.approx(value, abs=1e-9)
