"""Fronts: hypervolume and its kin against brute force, against moocore, and against what must always hold."""

from __future__ import annotations

import math

import moocore
import numpy as np
import pytest
import reference_fronts as slow
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ltr import fronts
from ltr.errors import InputError
from ltr.fronts.hypervolume_batched import SWEEPS
from ltr.plot_style import FAINT


def some(n, d, seed=0, batch=()):
    """Points on and off a front, some of them beyond the reference 0 and some equal to another."""
    rng = np.random.default_rng(seed)
    points = rng.normal(0.4, 0.4, (*batch, n, d))
    if n > 3:
        points[..., 3, :] = points[..., 0, :]  # equal points
        points[..., 2, 0] = points[..., 1, 0]  # equal in one objective
    return points


def lattice_fronts(d, n, batch=200, seed=0):
    """What the suite resamples: points of a concave front at preferences, all moved a little."""
    rng = np.random.default_rng(seed)
    w = rng.dirichlet(np.ones(d), n)
    base, span = rng.uniform(0.3, 0.5, d), rng.uniform(0.02, 0.1, d)
    return base + span * (1 - (1 - w) ** 2) + rng.normal(size=(batch, n, d)) * 0.05 * span, base - 0.1 * span


whole_points = st.integers(1, 4).flatmap(
    lambda d: arrays.arrays(np.int64, st.tuples(st.integers(0, 7), st.just(d)), elements=st.integers(-1, 5))
)


# -- dominance -------------------------------------------------------------------------------------------------------


@given(whole_points)
@settings(max_examples=60, deadline=None)
def test_nondominated_is_what_no_other_point_dominates(points):
    expected = slow.nondominated(points.tolist())
    assert fronts.nondominated(points).tolist() == expected
    assert fronts.nondominated(torch.tensor(points)).tolist() == expected
    assert fronts.nondominated(np.stack([points, points])).tolist() == [expected, expected]


@pytest.mark.parametrize("d", [1, 2, 3, 5])
@pytest.mark.parametrize("duplicates", ["keep", "first"])
def test_nondominated_in_batches_agrees_with_moocore(d, duplicates, device):
    points = some(30, d, batch=(5, 2))
    got = fronts.nondominated(torch.tensor(points, device=device), duplicates=duplicates)
    assert got.shape == (5, 2, 30) and got.device.type == torch.device(device).type
    for i in np.ndindex(5, 2):
        expected = moocore.is_nondominated(points[i], maximise=True, keep_weakly=duplicates == "keep")
        assert got[i].tolist() == expected.tolist()


def test_nondominated_looks_only_where_it_is_told(device):
    points = np.array([[[1.0, 1.0], [np.nan, np.inf], [2.0, 2.0]], [[1.0, 1.0], [0.0, 3.0], [2.0, 2.0]]])
    where = np.array([[True, False, False], [True, True, True]])
    expected = [[True, False, False], [False, True, True]]
    assert fronts.nondominated(points, where).tolist() == expected
    tensors = torch.tensor(points, device=device), torch.tensor(where, device=device)
    assert fronts.nondominated(*tensors).tolist() == expected


def test_duplicates_have_two_rules():
    with pytest.raises(InputError, match="duplicates"):
        fronts.nondominated([[1, 2]], duplicates="last")


# -- what points must be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "judge",
    [
        lambda p: fronts.nondominated(p),
        lambda p: fronts.hypervolume(p, 0),
        lambda p: fronts.hypervolumes(p, 0),
        lambda p: fronts.hypervolumes(torch.tensor(p), 0),
        lambda p: fronts.n_outside(p, 0),
    ],
)
def test_points_that_are_not_finite_are_errors_that_name_the_point(bad, judge):
    with pytest.raises(InputError, match=r"point 1 is not finite"):
        judge(np.array([[1.0, 2.0], [bad, 1.0]]))


def test_large_points_are_finite():
    for points in (np.full((3, 2), 1e308), torch.full((3, 2), 1e308, dtype=torch.float64)):  # their sum is not
        assert fronts.nondominated(points).all()
    with pytest.raises(InputError, match="point 0 is not finite"):
        fronts.nondominated([[np.inf, 1.0], [-np.inf, 1.0]])  # a sum of them alone would not say which


def test_the_point_of_a_batch_is_named():
    points = np.ones((2, 3, 2))
    points[1, 2, 0] = np.nan
    with pytest.raises(InputError, match=r"point \[1, 2\] is not finite"):
        fronts.hypervolumes(points, 0)


def test_shapes_and_reference_points_that_do_not_fit():
    with pytest.raises(InputError, match="wrong shape"):
        fronts.hypervolume([1.0, 2.0], 0)
    with pytest.raises(InputError, match="one front"):
        fronts.hypervolume([[[1.0, 2.0]]], 0)
    with pytest.raises(InputError, match="numbers"):
        fronts.nondominated([["a", "b"]])
    for reference in ([0, 0, 0], [0, np.nan], np.inf):
        with pytest.raises(InputError, match="reference point"):
            fronts.hypervolume([[1.0, 2.0]], reference)


# -- hypervolume -----------------------------------------------------------------------------------------------------


@given(whole_points)
@settings(max_examples=60, deadline=None)
def test_hypervolume_counts_cells(points):
    reference = np.zeros(points.shape[1])
    expected = slow.cells(points.tolist(), [0] * points.shape[1]) if len(points) else 0
    assert fronts.hypervolume(points, reference) == pytest.approx(expected, abs=1e-12)
    assert fronts.hypervolumes(points[None], reference)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3, 4, 5])
def test_hypervolume_is_inclusion_and_exclusion(d, device):
    points = some(9, d, seed=d, batch=(4,))
    reference = np.linspace(-0.1, 0.2, d)
    expected = [slow.hypervolume(p.tolist(), reference.tolist()) for p in points]
    np.testing.assert_allclose(fronts.hypervolumes(points, reference), expected, rtol=1e-10)
    np.testing.assert_allclose([fronts.hypervolume(p, reference) for p in points], expected, rtol=1e-10)
    got = fronts.hypervolumes(torch.tensor(points, device=device), torch.tensor(reference))
    assert got.device.type == torch.device(device).type and got.dtype == torch.float64
    np.testing.assert_allclose(got.cpu(), expected, rtol=1e-10)


@pytest.mark.parametrize("d, n", [(2, 1), (2, 11), (2, 66), (3, 10), (3, 66), (3, 300)])
def test_batched_hypervolumes_are_moocores_to_1e_12(d, n, device):
    points, reference = lattice_fronts(d, n, batch=60)
    points[0] = reference - 1  # one front with nothing above the reference
    got = fronts.hypervolumes(torch.tensor(points, device=device), reference).cpu().numpy()
    expected = np.array([moocore.hypervolume(p, ref=reference, maximise=True) for p in points])
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-18)
    assert got[0] == 0


@pytest.mark.parametrize("d, n", [(4, 20), (5, 20), (6, 12)])
def test_threads_change_nothing(d, n):
    points, reference = lattice_fronts(d, n, batch=7)
    alone = fronts.hypervolumes(points, reference, threads=1)
    assert np.array_equal(fronts.hypervolumes(points, reference, threads=3), alone)
    assert np.array_equal(fronts.hypervolumes(torch.tensor(points), reference).numpy(), alone)
    expected = [moocore.hypervolume(p, ref=reference, maximise=True) for p in points]
    np.testing.assert_allclose(alone, expected, rtol=1e-10)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_empty_fronts_and_batches(d, device):
    assert fronts.hypervolume(np.empty((0, d)), 0) == 0
    assert fronts.hypervolumes(np.empty((3, 0, d)), 0).tolist() == [0, 0, 0]
    assert fronts.hypervolumes(torch.empty(0, 5, d, device=device), 0).shape == (0,)
    assert fronts.hypervolumes(np.ones((2, 4, d)), 0, where=np.zeros((2, 4), dtype=bool)).tolist() == [0, 0]
    assert fronts.nondominated(np.empty((0, d))).tolist() == []
    assert fronts.nondominated(np.empty((2, 0, d))).shape == (2, 0)


@pytest.mark.parametrize("d", [1, 2, 3, 4])
def test_points_left_out_are_as_if_absent(d, device):
    points = some(8, d, batch=(3,))
    where = np.arange(8) < 5
    points[:, 6] = np.nan  # what is left out is not looked at
    expected = fronts.hypervolumes(points[:, :5], 0)
    np.testing.assert_allclose(fronts.hypervolumes(points, 0, where), expected, rtol=1e-12)
    on_device = torch.tensor(points, device=device), 0, torch.tensor(where, device=device)
    np.testing.assert_allclose(fronts.hypervolumes(*on_device).cpu(), expected, rtol=1e-12)


def test_points_beyond_the_reference_add_nothing_and_are_counted():
    inside, outside = [[1.0, 2.0], [2.0, 1.0]], [[5.0, 0.0], [-1.0, 9.0]]
    assert fronts.hypervolume(inside + outside, 0) == fronts.hypervolume(inside, 0) == 3
    assert fronts.n_outside(inside + outside, 0) == 2
    assert fronts.n_outside(torch.tensor([inside, outside]), 0).tolist() == [0, 2]
    assert fronts.n_outside(np.array([inside, outside]), [0, 0]).tolist() == [0, 2]


@given(
    arrays.arrays(
        np.float64,
        st.tuples(st.integers(1, 6), st.integers(1, 3)),
        elements=st.floats(-1, 1, allow_subnormal=False),
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=80, deadline=None)
def test_what_holds_of_every_hypervolume(points, random):
    n, d = points.shape
    whole = fronts.hypervolumes(points, -0.5)
    near = {"rtol": 1e-12, "atol": 1e-15}
    np.testing.assert_allclose(whole, fronts.hypervolume(points, -0.5), **near)
    order = random.sample(range(n), n)
    np.testing.assert_allclose(fronts.hypervolumes(points[order], -0.5), whole, **near)  # no order
    assert fronts.hypervolumes(points[1:], -0.5) <= whole + 1e-15  # monotone
    np.testing.assert_allclose(fronts.hypervolumes(points[fronts.nondominated(points)], -0.5), whole, **near)
    np.testing.assert_allclose(fronts.hypervolumes(points * 2 + 3, -0.5 * 2 + 3), whole * 2**d, rtol=1e-9, atol=1e-12)
    columns = random.sample(range(d), d)
    np.testing.assert_allclose(fronts.hypervolumes(points[:, columns], -0.5), whole, **near)  # objectives are equals
    assert whole <= math.prod(np.maximum(points.max(0) + 0.5, 0)) * (1 + 1e-12)


@pytest.mark.parametrize("d", SWEEPS)
def test_a_sweep_is_the_same_in_parts(d):
    """A batch larger than what the cache holds equals its fronts alone."""
    above = np.abs(some(70, d, batch=(500,)))
    whole = SWEEPS[d](torch.tensor(above))
    np.testing.assert_allclose(whole[::50], torch.cat([SWEEPS[d](torch.tensor(p[None])) for p in above[::50]]))


# -- indicators ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 3, 4])
def test_indicators_are_their_formulas(d):
    a, b, c = (some(7, d, seed) for seed in (1, 2, 3))
    union = fronts.union_front([a, b, c])
    assert all(slow.nondominated(union.tolist())) and len(np.unique(union, axis=0)) == len(union)
    for front in (a, b, c):
        listed = front.tolist(), union.tolist()
        assert fronts.igd_plus(front, union) == pytest.approx(slow.igd_plus(*listed), rel=1e-12)
        assert fronts.igd_plus(front, union) == pytest.approx(moocore.igd_plus(front, union, maximise=True), rel=1e-12)
        assert fronts.epsilon(front, union) == pytest.approx(slow.epsilon(*listed), rel=1e-12)
        expected = moocore.epsilon_additive(front, union, maximise=True)
        assert fronts.epsilon(front, union) == pytest.approx(expected, rel=1e-12)
        weights = np.random.default_rng(0).dirichlet(np.ones(d), 5)
        ideal = np.linspace(1, 1.2, d)
        expected = slow.r2(front.tolist(), ideal.tolist(), weights.tolist())
        assert fronts.r2(front, ideal, weights) == pytest.approx(expected, rel=1e-12)


@given(whole_points.filter(len))
@settings(max_examples=40, deadline=None)
def test_distances_are_zero_on_the_union_and_never_prefer_the_dominated(points):
    union = fronts.union_front([points])
    assert fronts.igd_plus(points, union) == fronts.epsilon(points, union) == 0
    worse = points - 1
    assert fronts.igd_plus(worse, union) > 0 and fronts.epsilon(worse, union) == 1
    assert fronts.igd_plus(points[:1], union) >= 0
    weights = np.eye(points.shape[1])
    assert fronts.r2(points, points.max(0), weights) == 0
    assert fronts.r2(worse, points.max(0), weights) == 1
    assert fronts.spread(points) == pytest.approx(fronts.spread(worse))


def test_indicators_of_empty_fronts():
    none, union = np.empty((0, 2)), [[1.0, 2.0]]
    assert fronts.igd_plus(none, union) == fronts.epsilon(none, union) == fronts.r2(none, 1, [[1, 0]]) == np.inf
    assert fronts.spread(none) == 0
    for broken in (lambda: fronts.igd_plus(union, none), lambda: fronts.knee(none), lambda: fronts.union_front([])):
        with pytest.raises(InputError):
            broken()
    with pytest.raises(InputError, match="union front"):
        fronts.igd_plus([[1.0, 2.0]], [[1.0, 2.0, 3.0]])
    with pytest.raises(InputError, match="weights"):
        fronts.r2(union, 1, [[-1, 2]])


def test_the_knee_is_where_the_front_bends():
    angle = np.linspace(0, np.pi / 2, 21)
    circle = np.stack([np.cos(angle), np.sin(angle)], 1)
    assert fronts.knee(circle) == 10
    assert fronts.knee(circle * [1, 100] + 7) == 10  # units do not matter
    assert fronts.knee(np.concatenate([[[-50.0, -80.0]], circle])) == 11  # nor does what is dominated


def test_control_tells_who_obeys():
    w = np.stack([np.linspace(1, 0, 11), np.linspace(0, 1, 11)], 1)
    points = 1 - (1 - w) ** 2
    obeys, reversed_, deaf = (fronts.control(w, p) for p in (points, points[::-1], np.full((11, 2), 0.75)))
    assert obeys.spearman.tolist() == [1, 1] and reversed_.spearman.tolist() == [-1, -1]
    assert deaf.spearman.tolist() == [0, 0]
    assert obeys.switching == pytest.approx(0) and deaf.switching == 0 and reversed_.switching > 0.2
    assert obeys.regret < deaf.regret < reversed_.regret
    assert reversed_.regret == pytest.approx(np.mean([max(w[i] * (1 - points[10 - i])) for i in range(11)]))
    assert reversed_.worst_regret == 1  # all weight on what it has none of
    assert obeys.worst_regret == pytest.approx(0.147)  # w = (0.7, 0.3) gets (0.91, 0.51): 0.3 x 0.49


def test_spearman_is_scipys():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    w, points = rng.dirichlet(np.ones(3), 30).round(1), rng.random((30, 3)).round(1)  # with ties
    expected = [spearmanr(w[:, k], points[:, k]).statistic for k in range(3)]
    np.testing.assert_allclose(fronts.control(w, points).spearman, expected, rtol=1e-12)
    assert np.isnan(fronts.control(np.full((4, 2), 0.5), rng.random((4, 2))).spearman).all()


def test_nonuniformity_is_the_aggregators():
    """0 where all w_k l_k are equal, and what EPO descends elsewhere."""
    from ltr.objectives.preference_aggregators import nonuniformity

    rng = np.random.default_rng(0)
    w, losses = rng.dirichlet(np.ones(3), 20), rng.uniform(0.1, 1, (20, 3))
    expected = nonuniformity(torch.tensor(losses), torch.tensor(w)).mean().item()
    assert fronts.control(w, 1 - losses).nonuniformity == pytest.approx(expected, rel=1e-9)
    assert fronts.control(w, 1 - 0.1 / w).nonuniformity == pytest.approx(0, abs=1e-12)
    assert fronts.control(np.eye(3), np.zeros((3, 3))).nonuniformity == 0  # one objective asked for is equal to itself


# -- protocol --------------------------------------------------------------------------------------------------------


def a_task(**changed):
    facts = {
        "task": "toy",
        "version": "1",
        "objectives": ("a", "b"),
        "measures": ("nDCG@10", "nDCG@10"),
        "ideal": (0.6, 0.5),
        "nadir": (0.4, 0.1),
        "random": (0.2, 0.1),
        "base": (0.5, 0.2),
    }
    return fronts.ReferencePoints(**facts | changed)


def test_three_hypervolumes_are_three_references():
    task, points = a_task(), np.array([[0.6, 0.1], [0.55, 0.3], [0.4, 0.5]])
    got = fronts.three_hypervolumes(points, task, 10)
    assert got.zero == pytest.approx(fronts.hypervolume(points, 0))
    assert got.random == pytest.approx(fronts.hypervolume(points, task.random))
    normal = fronts.normalise(points, task.ideal, task.nadir)
    assert got.normalised == pytest.approx(fronts.hypervolume(normal, -0.1))
    both = fronts.three_hypervolumes(torch.tensor(np.stack([points, points])), task, 10, where=torch.tensor([True] * 3))
    np.testing.assert_allclose(both.normalised, [got.normalised] * 2, rtol=1e-12)
    for kind, expected in {"nadir": task.nadir, "random": task.random, "zero": (0, 0)}.items():
        assert tuple(fronts.reference(kind, task)) == expected
    assert fronts.hypervolume([task.ideal], fronts.reference("nadir", task)) / task.box == pytest.approx(1)


def test_reference_points_say_what_is_wrong():
    with pytest.raises(InputError, match="ideal of b"):
        a_task(ideal=(0.6, 0.1))
    with pytest.raises(InputError, match="nadir of the reference points of toy"):
        a_task(nadir=(0.4,))
    with pytest.raises(InputError, match="base"):
        a_task(base=(0.4, np.nan))
    with pytest.raises(InputError, match="Did you mean 'normalised'"):
        fronts.reference("normalized", a_task(), 10)
    with pytest.raises(InputError, match="-1/H"):
        fronts.reference("normalised", a_task())
    with pytest.raises(InputError, match="points of toy"):
        fronts.three_hypervolumes(np.ones((2, 3)), a_task(), 10)
    with pytest.raises(InputError, match="pay-off"):
        fronts.payoff(np.ones((3, 2)))
    with pytest.raises(InputError, match="above the nadir"):
        fronts.normalise([[1.0, 1.0]], [1, 1], [0, 1])


def test_reference_points_are_a_table_of_toml():
    from ltr.schema import bind, to_dict

    assert bind(fronts.ReferencePoints, to_dict(a_task())) == a_task()


def test_a_far_reference_point_turns_the_order_and_is_flagged():
    """Wide and worse beside narrow and better: measured in the order of the reference point, not of the fronts."""
    x = np.linspace(0, 0.04, 11)
    wide = np.stack([0.5 + x, 0.54 - x], 1)
    narrow = wide[3:8] + 0.004
    values = [[fronts.hypervolume(p, r) for r in (0.5, 0.0)] for p in (wide, narrow)]
    assert fronts.rank_flips(values).tolist() == [[False, True], [True, False]]
    assert not fronts.rank_flips(values, tolerance=0.05).any()  # 17 % one way, 3 % the other
    assert not fronts.rank_flips([[1, 2, 3], [2, 3, 4], [0, 0, 0]]).any()


def test_the_front_is_chosen_on_validation():
    vali = np.array([[0.5, 0.1], [0.3, 0.3], [0.2, 0.2]])
    assert fronts.chosen(vali).tolist() == [True, True, False]
    assert fronts.chosen(np.stack([vali, vali[::-1]])).tolist() == [[True, True, False], [False, True, True]]


# -- bootstrap -------------------------------------------------------------------------------------------------------


def some_values(systems=3, points=4, queries=30, objectives=2, seed=0, blank=0.2):
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 1, (systems, points, queries, objectives))
    values[..., rng.random((queries, objectives)) < blank] = np.nan
    return values, rng.random((systems, points)) < 0.7


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_bootstrap_is_weighted_means_and_their_hypervolumes(objectives, device):
    values, members = some_values(objectives=objectives)
    weights = fronts.poisson_weights(6, 30, np.random.default_rng(5))
    expected = [
        [
            slow.hypervolume(slow.resampled_points(values[s, members[s]].tolist(), w.tolist()), [0.1] * objectives)
            for s in range(3)
        ]
        for w in weights
    ]
    got = fronts.paired_hypervolumes(values, members, 0.1, draws=6, seed=5)
    np.testing.assert_allclose(got, expected, rtol=1e-10)
    tensors = torch.tensor(values, device=device), torch.tensor(members, device=device)
    np.testing.assert_allclose(fronts.paired_hypervolumes(*tensors, 0.1, draws=6, seed=5), expected, rtol=1e-10)
    np.testing.assert_allclose(fronts.paired_hypervolumes(values, members, 0.1, 6, 5, device), expected, rtol=1e-10)


def test_bootstrap_is_deterministic_and_shares_its_resamples():
    values, members = some_values()
    whole = fronts.paired_hypervolumes(values, members, 0, draws=300, seed=1)
    assert np.array_equal(whole, fronts.paired_hypervolumes(values, members, 0, draws=300, seed=1))
    assert not np.array_equal(whole, fronts.paired_hypervolumes(values, members, 0, draws=300, seed=2))
    for s in range(3):  # alone, a system sees the same weights as in company
        alone = fronts.paired_hypervolumes(values[s : s + 1], members[s : s + 1], 0, draws=300, seed=1)
        np.testing.assert_allclose(alone[:, 0], whole[:, s], rtol=1e-12)
    twice = fronts.paired_hypervolumes(np.stack([values[0]] * 2), np.stack([members[0]] * 2), 0, draws=50)
    np.testing.assert_allclose(twice[:, 0], twice[:, 1], rtol=1e-12)  # other columns of one product
    seeds = fronts.paired_hypervolumes(values[None].repeat(2, 0), members[None].repeat(2, 0), 0, draws=300, seed=1)
    assert seeds.shape == (300, 2, 3)
    np.testing.assert_allclose(seeds[:, 0], whole, rtol=1e-12)


def test_what_is_not_a_member_is_not_looked_at(tmp_path):
    values, members = some_values()
    spoilt = values.copy()
    spoilt[~members] = np.inf
    expected = fronts.paired_hypervolumes(values, members, 0, draws=20)
    assert np.array_equal(fronts.paired_hypervolumes(spoilt, members, 0, draws=20), expected)
    np.save(tmp_path / "values.npy", values.astype(np.float32))
    mapped = np.load(tmp_path / "values.npy", mmap_mode="r")  # read-only
    np.testing.assert_allclose(fronts.paired_hypervolumes(mapped, members, 0, draws=20), expected, rtol=1e-6)
    members[1] = False
    without = fronts.paired_hypervolumes(values, members, 0, draws=20)
    assert (without[:, 1] == 0).all()
    np.testing.assert_allclose(without[:, [0, 2]], expected[:, [0, 2]], rtol=1e-12)  # products of another width
    assert (fronts.paired_hypervolumes(values, members & False, 0, draws=20) == 0).all()


def test_large_batches_are_worked_in_parts(monkeypatch):
    from ltr.fronts import bootstrap

    values, members = some_values(systems=5)
    whole = fronts.paired_hypervolumes(values, members, 0, draws=100)
    monkeypatch.setattr(bootstrap, "_VALUES", 500)
    monkeypatch.setattr(bootstrap, "_CELLS", 64)
    np.testing.assert_allclose(fronts.paired_hypervolumes(values, members, 0, draws=100), whole, rtol=1e-12)


def test_a_draw_without_a_list_is_drawn_again():
    values = np.full((1, 1, 5, 2), np.nan)
    values[0, 0, 0] = [0.5, 0.25]  # one list counts: 37 % of the draws miss it
    got = fronts.paired_hypervolumes(values, [[True]], 0, draws=400)
    np.testing.assert_allclose(got, 0.125)


def test_bootstrap_refuses_what_cannot_be_paired():
    values, members = some_values(blank=0)
    for spoil, match in (
        (np.nan, "query 7 is blank .* for objective 1"),
        (np.inf, "finite"),
    ):
        bad = values.copy()
        bad[1, members[1].argmax(), 7, 1] = spoil
        with pytest.raises(InputError, match=match):
            fronts.paired_hypervolumes(bad, members, 0, draws=5)
    bad = values.copy()
    bad[..., 0] = np.nan
    with pytest.raises(InputError, match="objective 0 has no list"):
        fronts.paired_hypervolumes(bad, members, 0, draws=5)
    with pytest.raises(InputError, match="members"):
        fronts.paired_hypervolumes(values, members[:, :2], 0, draws=5)
    with pytest.raises(InputError, match="values of fronts"):
        fronts.paired_hypervolumes(values[0, 0], members, 0, draws=5)
    with pytest.raises(InputError, match="draws"):
        fronts.paired_hypervolumes(values, members, 0, draws=0)


def test_poisson_weights_are_poisson():
    weights = fronts.poisson_weights(500, 2000, np.random.default_rng(0))
    shares = np.bincount(weights.ravel(), minlength=8)[:8] / weights.size
    expected = [math.exp(-1) / math.factorial(k) for k in range(8)]
    spread = np.sqrt(np.array(expected) / weights.size)
    assert (np.abs(shares - expected) < 5 * spread).all()
    one_row = fronts.poisson_weights(1, 2000, np.random.default_rng(0))
    assert np.array_equal(one_row[0], weights[0])  # a stream of draws, whatever their number


def test_intervals_of_differences():
    a = np.random.default_rng(0).normal(1, 1, (1000, 5))
    b = a - 0.5
    low, high = fronts.difference_interval(a, b)
    assert low == pytest.approx(0.5) == high  # what they share cancels
    assert fronts.difference_interval(a[:, 0], b[:, 0]).low == pytest.approx(0.5)
    c = np.random.default_rng(1).normal(0, 1, (1000, 1)) + np.arange(5) * 2.0
    narrow, wide = (fronts.difference_interval(c, a, resample_seeds=r) for r in (False, True))
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low), "five seeds 2 apart"
    assert wide.low < 3 < wide.high
    for broken in (
        lambda: fronts.difference_interval(a, b[:5]),
        lambda: fronts.difference_interval(a, b, level=1),
        lambda: fronts.difference_interval(a, b[:, :3], resample_seeds=True),
        lambda: fronts.difference_interval(a * np.nan, b),
    ):
        with pytest.raises(InputError):
            broken()


def test_the_interval_of_a_difference_covers():
    """Two systems with true fronts known: 95 % intervals of the difference hold the truth in 87 to 100 % of 60 worlds.

    (Of 60 draws with probability 0.95, fewer than 52 or so happen once in 200.)
    """
    rng = np.random.default_rng(7)
    w = np.linspace(0, 1, 5)
    true = np.stack([np.stack([0.5 + 0.1 * w, 0.6 - 0.1 * w**2], 1), np.stack([0.49 + 0.1 * w, 0.6 - 0.1 * w], 1)])
    difference = np.subtract(*fronts.hypervolumes(true, 0.45))
    covered, worlds, queries = 0, 60, 400
    for world in range(worlds):
        shared = rng.normal(0, 0.2, (1, 1, queries, 2))
        values = true[:, :, None] + shared + rng.normal(0, 0.05, (2, 5, queries, 2))
        draws = fronts.paired_hypervolumes(values, np.ones((2, 5), bool), 0.45, draws=300, seed=world)
        low, high = fronts.difference_interval(draws[:, 0], draws[:, 1])
        covered += low <= difference <= high
    assert covered >= 52


# -- attainment ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("share, needed", [(0.2, 1), (0.5, 3), (0.6, 3), (1, 5)])
def test_a_surface_bounds_what_so_many_seeds_attain(d, share, needed):
    rng = np.random.default_rng(d)
    seeds = [rng.integers(0, 5, (4, d)).astype(float) for _ in range(5)]
    corners = fronts.attainment_surface(seeds, share)
    assert all(slow.nondominated(corners.tolist()))
    grid = np.stack(np.meshgrid(*[np.arange(-1, 6)] * d), -1).reshape(-1, d)
    enough = [slow.attained([s.tolist() for s in seeds], place) >= needed for place in grid.tolist()]
    below = [any((c >= place).all() for c in corners) for place in grid]
    assert below == enough
    shares = fronts.attained(seeds, grid)
    assert shares.tolist() == [slow.attained([s.tolist() for s in seeds], place) / 5 for place in grid.tolist()]


def test_seeds_without_points_attain_nothing():
    seeds = [[[2.0, 1.0]], np.empty((0, 2)), [[1.0, 2.0]]]
    assert fronts.attainment_surface(seeds, 0.5).tolist() == [[1, 1]]
    assert fronts.attainment_surface(seeds, 1).shape == (0, 2)
    assert fronts.attained(seeds, [[1, 1]])[0] == pytest.approx(2 / 3)
    for broken in (
        lambda: fronts.attainment_surface([np.ones((2, 4))]),
        lambda: fronts.attainment_surface(seeds, 0),
        lambda: fronts.attainment_surface([]),
        lambda: fronts.attainment_surface([np.ones((2, 2)), np.ones((2, 3))]),
    ):
        with pytest.raises(InputError):
            broken()


@given(arrays.arrays(np.int64, st.tuples(st.integers(0, 6), st.just(2)), elements=st.integers(0, 5)))
@settings(max_examples=40, deadline=None)
def test_the_area_under_a_staircase_is_the_hypervolume(points):
    outline = fronts.staircase(points, 0)
    x, y = outline.T
    area = np.sum((x[1:] - x[:-1]) * y[1:]) if len(outline) else 0  # vertical pieces have no width
    assert area == pytest.approx(fronts.hypervolume(points, 0))


# -- pictures --------------------------------------------------------------------------------------------------------


def drawn(m, systems=2, seeds=3, points=12):
    rng = np.random.default_rng(m)
    return {f"system {s}": [rng.random((points, m)) for _ in range(seeds)] for s in range(systems)}


def texts(figure):
    import matplotlib.text

    return {t.get_text().strip() for t in figure.findobj(matplotlib.text.Text) if t.get_text().strip()}


@pytest.mark.parametrize("m, names", [(2, "xy"), (3, "xyz"), (5, "abcde")])
@pytest.mark.parametrize("systems", [1, 3, 6])
@pytest.mark.parametrize("seeds", [1, 3])
def test_pictures_name_everything(m, names, systems, seeds, tmp_path):
    figure = fronts.front_picture(
        drawn(m, systems, seeds), list(names), title="a title", marks={"base model": [0.1] * m}
    )
    figure.savefig(tmp_path / "front.png")
    found = texts(figure)
    assert set(names) | {"a title", "base model"} <= found
    if systems > 1:
        for s in range(systems):
            assert any(t.split(":")[0] == f"system {s}" for t in found)
    assert (tmp_path / "front.png").stat().st_size > 5000


def test_the_plane_shows_the_median_and_the_band():
    seeds = [np.array([[2.0, 1.0]]), np.array([[1.0, 2.0]]), np.array([[2.0, 2.0]])]
    ax = fronts.plane_picture({"s": seeds}, ["x", "y"]).axes[0]
    low = np.array([ax.get_xlim()[0], ax.get_ylim()[0]])
    line = next(line for line in ax.lines if line.get_linestyle() == "-" and len(line.get_xdata()))
    np.testing.assert_allclose(line.get_xydata(), fronts.staircase([[2, 1], [1, 2]], low))
    band = ax.patches[0].get_path()
    assert band.contains_point([1.5, 1.5]) and not band.contains_point([2.1, 1.0])
    assert not band.contains_point(low + 0.5 * (1 - low))  # every seed attains it: below the band
    assert [p.get_xydata().tolist() for p in ax.lines if p.get_linestyle() == "None"] == [[[2, 1], [1, 2], [2, 2]]]


def test_pairs_are_all_pairs_and_systems_keep_their_looks():
    figure = fronts.pairs_picture(drawn(3, 2), list("xyz"), numbers={"system 1": 4, "system 0": 9})
    assert [(ax.get_xlabel(), ax.get_ylabel()) for ax in figure.axes] == [("x", "y"), ("x", "z"), ("y", "z")]
    from ltr.plot_style import PALETTE

    lines = dict(zip(*reversed(figure.axes[0].get_legend_handles_labels()), strict=True))
    assert lines["system 1"].get_color() == PALETTE[4] and lines["system 0"].get_color() == PALETTE[1]
    nine = [fronts.pictures._marker(i) + PALETTE[i % 8] for i in range(40)]
    assert len(set(nine)) == 40  # colours come again with another marker


def test_cost_joins_what_nothing_cheaper_beats():
    names = ["cheap", "dear and worse", "dear and best"]
    figure = fronts.cost_picture(names, [1.0, 50.0, 100.0], [[0.4, 0.6], [0.4, 0.4], [0.9, 0.7]])
    stairs = figure.axes[0].lines[0].get_xydata()
    np.testing.assert_allclose(stairs, [[1, 0.5], [100, 0.8], [100, 0.8]])
    assert set(names) <= texts(figure)


def test_pictures_refuse_what_they_cannot_draw():
    for broken in (
        lambda: fronts.front_picture({}, ["x", "y"]),
        lambda: fronts.front_picture(drawn(2), ["x"]),
        lambda: fronts.plane_picture(drawn(3), ["x", "y"]),
        lambda: fronts.front_picture({"s": []}, ["x", "y"]),
        lambda: fronts.front_picture({"s": [np.empty((0, 2))]}, ["x", "y"]),
        lambda: fronts.front_picture({"s": [np.array([[np.nan, 1.0]])]}, ["x", "y"]),
        lambda: fronts.cost_picture(["a"], [0.0], [1.0]),
        lambda: fronts.cost_picture(["a"], [1.0], [np.nan]),
    ):
        with pytest.raises(InputError):
            broken()


def test_a_system_without_points_is_an_empty_panel():
    for m in (2, 3, 4):
        data = drawn(m, 2) | {"nothing": [np.empty((0, m))]}
        assert fronts.front_picture(data, [f"o{k}" for k in range(m)]) is not None


def test_pictures_leave_no_window_behind():
    from matplotlib import _pylab_helpers

    fronts.front_picture(drawn(2), ["x", "y"])
    assert not _pylab_helpers.Gcf.figs


@pytest.mark.parametrize("objectives", [2, 3])
def test_grey_lines_behind_are_drawn_in_the_order_of_the_systems(objectives):
    """In the order of a set, which Python shuffles from call to call, pictures would differ where lines cross."""
    draw = np.random.default_rng(0)
    made = {f"system {i}": [draw.random((4, objectives)) for _ in range(2)] for i in range(6)}
    figure = fronts.front_picture(made, [f"objective {k}" for k in range(objectives)])
    panels = [ax for ax in figure.axes if ax.get_visible()][:: 3 if objectives == 3 else 1]
    alone = {}  # system -> its grey outline, as the first panel that has it behind draws it
    orders = []
    for ax in panels:
        faint = [tuple(map(tuple, line.get_xydata())) for line in ax.lines if line.get_color() == FAINT]
        assert len(faint) == 5
        orders.append(faint)
    for own, order in enumerate(orders):
        for i, outline in enumerate(order):
            system = i if i < own else i + 1
            assert alone.setdefault(system, outline) == outline
    assert len(set(alone.values())) == 6


def test_masked_points_and_words_for_a_reference_are_refused():
    masked = np.ma.array([[1.0, 2], [3, 4]], mask=[[False, True], [False, False]])
    for look in (lambda: fronts.hypervolume(masked, 0), lambda: fronts.nondominated(masked)):
        with pytest.raises(InputError, match="point 0 is not finite"):
            look()
    with pytest.raises(InputError, match="the reference point; expected numbers"):
        fronts.hypervolume([[1, 2]], "worst")
