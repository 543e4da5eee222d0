"""The gain of an objective travels from its labels to the losses, the measures and the trees that learn it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from ltr.datasets import load
from ltr.errors import InputError
from ltr.losses import preference_loss
from ltr.methods import make_method
from ltr.methods.criteria import Fixed, Importance, Margins, ObjectiveLoss, by_gain, loss_of, objective_values
from ltr.objectives import Objective, label_objectives, list_targets
from ltr.rankers.training.validation import ValidationMeasures

NET = {"ranker_params": {"hidden": [8]}, "training": {"epochs": 2, "batch_size": 8, "patience": 0}}
GAINS = ("exp2", "linear")
W = [[0.5, 0.5]]


@pytest.fixture(scope="module")
def task():
    """Grades, and values in [0, 1]."""
    whole = load("synthetic:queries=40,objectives=2,features=50")
    objectives = [Objective("relevance"), Objective("good", "quality", transform="minmax")]
    return label_objectives(objectives, whole.train).task(whole)


@pytest.fixture
def lists():
    draw = torch.Generator().manual_seed(0)
    labels = torch.stack([torch.randint(0, 5, (4, 9), generator=draw), torch.rand(4, 9, generator=draw)], -1).double()
    where = torch.arange(9) < torch.tensor([9, 5, 7, 9])[:, None]
    return torch.randn(4, 1, 9, generator=draw, dtype=torch.float64), labels, where


def test_targets_are_those_of_each_gain(lists):
    scores, labels, where = lists
    loss = by_gain(preference_loss("listnet-dpo", eps=1e-3), GAINS)
    values, _ = objective_values(loss, scores, labels, where)
    logp = scores.masked_fill(~where.unsqueeze(1), -torch.inf).log_softmax(-1).masked_fill(~where.unsqueeze(1), 0)
    z = list_targets(labels, where, gain=GAINS, eps=1e-3)
    torch.testing.assert_close(values, -(z.mT.unsqueeze(1) * logp.unsqueeze(2)).sum(-1))
    assert not torch.allclose(z, list_targets(labels, where, eps=1e-3), atol=0.01)


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("listnet-dpo", {}, True),
        ("lambdarank-dpo", {}, True),
        ("neuralndcg-dpo", {"temperature": 0.5}, True),
        ("modpo-list", {}, True),
        ("listnet-dpo", {"target": "lin"}, False),
        ("listnet-dpo", {"target": "soft"}, False),
        ("listnet-dpo", {"gain": "exp2"}, False),
        ("ranknet-dpo", {}, False),
        ("listmle-dpo", {}, False),
    ],
    ids=str,
)
def test_which_losses_are_told(name, params, told):
    loss = preference_loss(name, **params)
    assert by_gain(loss, ("exp2", "exp2")) is loss
    assert isinstance(by_gain(loss, GAINS), ObjectiveLoss) == told
    want = {**params, "gain": "linear"} if told else params
    assert loss_of(by_gain(loss, GAINS), 1).params == want


def test_it_is_said_in_the_name_a_checkpoint_is_kept_under():
    one, two = (Importance(by_gain(preference_loss("listnet-dpo"), g), Fixed((0.5, 0.5))) for g in (GAINS, GAINS[::-1]))
    assert "with gains exp2, linear" in repr(one)
    assert repr(one) != repr(two)


@pytest.mark.parametrize("main", [0, 1])
def test_margins_end_at_the_geometric_mix_of_their_own_targets(lists, main):
    _, labels, where = lists
    w = torch.tensor([0.7, 0.3]).double().roll(main)
    criterion = Margins(by_gain(preference_loss("modpo-list", eps=1e-2), GAINS), Fixed(tuple(w.tolist())))
    z = list_targets(labels, where, gain=GAINS, eps=1e-2)
    best = (torch.log(z.masked_fill(~where.unsqueeze(-1), 1.0)) * w).sum(-1).unsqueeze(1).requires_grad_()
    criterion(best, labels, where, w[None]).backward()
    torch.testing.assert_close(best.grad, torch.zeros_like(best), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["hyperdpo", "ls", "dpo-ls", "modpo", "chebyshev", "soup", "spo", "cosmos", "phn"])
def test_methods_know_the_gains_of_their_task(task, name, monkeypatch):
    """A method that took 2^y - 1 for all would be blind to what is changed here: nothing but the gains."""
    asked = W if name in ("ls", "dpo-ls", "modpo", "chebyshev") else None
    plain = dataclasses.replace(task, facts={})
    linear, exp2 = (make_method(name, **NET).fit(each, preferences=asked) for each in (task, plain))
    assert (linear.gains, exp2.gains) == (GAINS, ("exp2", "exp2"))
    assert np.abs(linear.score(task.test, W) - exp2.score(task.test, W)).max() > 1e-6


def test_validation_measures_by_the_gain_of_each_objective(task, monkeypatch):
    seen = []
    whole = ValidationMeasures.__init__
    monkeypatch.setattr(ValidationMeasures, "__init__", lambda self, m, *a: seen.append(tuple(m)) or whole(self, m, *a))
    make_method("mod", **NET).fit(task)
    assert set(seen) == {("nDCG(gain=exp2,empty=skip)@10", "nDCG(gain=linear,empty=skip)@10")}


def test_the_base_learns_the_first_objective_with_its_gain(task):
    turned = dataclasses.replace(task, facts={"gains": ("linear", "exp2")})
    a, b = (make_method("mod", **NET).fit(each).base.score(task.test) for each in (task, turned))
    assert np.abs(a - b).max() > 1e-6


def test_too_few_gains(task):
    with pytest.raises(InputError, match="one gain an objective"):
        make_method("ls", **NET).fit(dataclasses.replace(task, facts={"gains": ("exp2",)}))
