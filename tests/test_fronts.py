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
from ltr.fronts.sweeps import SWEEPS


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
