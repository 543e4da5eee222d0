"""PaMaL and RiC: what is theirs, beside the contract that tests/test_methods.py holds every method to."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from ltr.datasets import load
from ltr.errors import InputError
from ltr.methods import load_method, make_method
from ltr.methods.ric import Levels, desired_levels
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.weight_mix import WeightMix
from ltr.rankers.config import MLPConfig
from ltr.rankers.nets import build

TRAINING = {"epochs": 2, "learning_rate": 0.02, "batch_size": 8, "patience": 0}
SCRATCH = ConditioningConfig(kind="none", start="scratch")
W = torch.tensor([[1.0, 0.0], [0.3, 0.7]])


@pytest.fixture(scope="module")
def task():
    return load("synthetic:queries=30,objectives=2,features=50")


@pytest.fixture
def lists():
    draw = torch.Generator().manual_seed(0)
    where = torch.arange(6) < torch.tensor([6, 3, 5, 0])[:, None]
    labels = torch.randint(0, 3, (4, 6, 2), generator=draw).float() * where.unsqueeze(-1)
    labels[1] = 0  # blank
    return torch.randn(4, 6, 5, generator=draw), labels, where


# --------------------------------------------------------------------------------------------------------------- PaMaL


@pytest.fixture
def mix():
    torch.manual_seed(0)
    net = WeightMix(MLPConfig(hidden=(4,)), SCRATCH, 5, 2)
    with torch.no_grad():
        for p in net.corners.values():
            p[1].add_(torch.randn(p[1].shape))
    return net


def test_the_scores_are_those_of_a_plain_net_with_mixed_weights(mix, lists):
    x, _, where = lists
    scores = mix(x, where, W)
    plain = build(MLPConfig(hidden=(4,)), 5)
    for k, w in enumerate(W):
        plain.load_state_dict({n.replace("/", "."): torch.tensordot(w, p, 1) for n, p in mix.corners.items()})
        torch.testing.assert_close(scores[:, k], plain(x, where))
    assert (scores[~where.unsqueeze(1).expand_as(scores)] == 0).all()
    assert not torch.allclose(scores[:, 0], scores[:, 1])


def test_every_corner_learns_in_the_share_it_has(mix, lists):
    """d theta(w) / d theta_k = w_k: the gradient of a corner is that of the mix, times its weight."""
    x, _, where = lists
    mix(x, where, W[1:]).square().sum().backward()
    for p in mix.corners.values():
        torch.testing.assert_close(p.grad[0] * 0.7, p.grad[1] * 0.3)
        assert p.grad.abs().max() > 0
    assert all(p.grad is None for p in mix.net.parameters())


def test_an_augmented_mix_starts_at_the_reference(lists):
    x, _, where = lists
    plain = build(MLPConfig(hidden=(4,)), 5)
    net = WeightMix(MLPConfig(hidden=(4,)), ConditioningConfig(kind="none", start="augmented"), 5, 2)
    net.start_from(plain.state_dict())
    reference = torch.randn(4, 6) * where
    torch.testing.assert_close(net(x, where, W, reference=reference), reference.unsqueeze(1).expand(-1, 2, -1))
    with pytest.raises(InputError, match="reference"):
        net(x, where, W)


def test_weights_of_a_list_are_refused(mix, lists):
    x, _, where = lists
    with pytest.raises(InputError, match="one preference for all lists"):
        mix(x, where, W.expand(4, -1, -1))


def test_pamal_has_one_training_and_m_nets(task, tmp_path):
    method = make_method("pamal", ranker_params={"hidden": [8]}, training=TRAINING).fit(task)
    one = 50 * 8 + 8 + 8 + 1
    assert (method.models_trained, method.cost["n_parameters"]) == (1, 2 * one)
    corners = method.models[0].net.corners
    assert any(not torch.equal(p[0], p[1]) for p in corners.values())
    method.save(tmp_path / "m")
    back = load_method(tmp_path / "m").models[0]
    assert type(back) is type(method.models[0]) and back.n_parameters == 2 * one


def test_pamal_of_linear_nets_mixes_scores(task):
    method = make_method("pamal", ranker="linear", training=TRAINING).fit(task)
    a, b, middle = method.score(task.test, [[1, 0], [0, 1], [0.25, 0.75]])
    np.testing.assert_allclose(middle, 0.25 * a + 0.75 * b, rtol=1e-3, atol=1e-3)


# ----------------------------------------------------------------------------------------------------------------- RiC


def test_desired_levels():
    w = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])
    np.testing.assert_allclose(desired_levels(w, "l1"), w)
    np.testing.assert_allclose(desired_levels(w, "linf"), [[1, 0], [1, 1], [0.25, 1]])
    np.testing.assert_allclose(np.linalg.norm(desired_levels(w), axis=1), 1)
    np.testing.assert_allclose(desired_levels(w, "l1", 0.5, 0.9), 0.5 + 0.4 * w)


def test_levels_are_those_of_documents_drawn_by_their_targets(lists):
    _, labels, where = lists
    criterion = Levels((2.0, 2.0), ("exp2", "linear"), 20_000)
    v, beta = criterion.draw(labels, where, torch.Generator().manual_seed(0))
    assert beta is None and v.shape == (4, 20_000, 2)
    gains = torch.stack([2 ** labels[0, :, 0] - 1, labels[0, :, 1]], -1)
    chances = (gains / gains.sum(0)).mean(-1)
    for d in range(6):
        same = (labels[0] == labels[0, d]).all(-1)
        share = (v[0] == labels[0, d] / 2).all(-1).float().mean()
        assert share == pytest.approx(chances[same].sum().item(), abs=0.015)
    assert (v[1] == 0).all()


def test_the_optimum_is_uniform_on_the_documents_that_were_meant(lists):
    _, labels, where = lists
    criterion = Levels((2.0, 2.0), ("exp2", "exp2"), 3)
    v, _ = criterion.draw(labels, where, torch.Generator().manual_seed(1))
    alike = (labels.unsqueeze(1) / 2 == v.unsqueeze(2)).all(-1) & where.unsqueeze(1)
    best = torch.where(alike, 0.0, -40.0).requires_grad_()
    value = criterion(best, labels, where, v)
    value.backward()
    assert best.grad.abs().max() < 1e-6
    heard = torch.tensor([True, False, True, False])  # blank, and no documents
    assert value.item() == pytest.approx(alike.sum(-1)[heard].float().log().mean().item(), abs=1e-4)


def test_lists_that_say_nothing_are_left_out(lists):
    _, labels, where = lists
    criterion = Levels((2.0, 2.0), ("exp2", "exp2"))
    v, _ = criterion.draw(labels, where, torch.Generator().manual_seed(1))
    scores = torch.randn(4, 1, 6)
    changed = copy.deepcopy(scores)
    changed[[1, 3]] += 5 * torch.randn(2, 1, 6)
    assert criterion(scores, labels, where, v) == criterion(changed, labels, where, v)
    assert criterion(scores[1:2], labels[1:2], where[1:2], v[1:2]) == 0


def test_what_ric_does_not_take(task):
    with pytest.raises(InputError, match="loss"):
        make_method("ric", loss="ranknet")
    with pytest.raises(InputError, match="conditioning"):
        make_method("ric", conditioning={"kind": "none", "start": "scratch"})
    with pytest.raises(InputError, match="high"):
        make_method("ric", low=1.0)
