"""What theory says of methods for several objectives, on free scores: T5 and T7 to T10 of our notes.

Free scores are those of one list without any model behind them: what a net that can do everything would end at.
T1 to T4 and T6 stand beside the code they speak of: test_preference.py, test_criteria.py, test_objectives.py and
test_methods.py.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.datasets import synthetic
from ltr.fronts import hypervolume
from ltr.losses.preference.base import dpo, preference_loss
from ltr.methods.criteria import Fixed, Importance, Margins
from ltr.objectives import arithmetic_mix, geometric_mix, lattice, list_targets, oracle_scores
from ltr.ops import gains, ideal_dcg

Z = torch.tensor([[0.60, 0.02], [0.02, 0.60], [0.25, 0.25], [0.13, 0.13]], dtype=torch.float64)
HALF = torch.tensor([0.5, 0.5], dtype=torch.float64)
ALL = torch.ones(1, 4, dtype=torch.bool)


def minimise(value, start: torch.Tensor) -> torch.Tensor:
    """Where `value(scores)` is least; it is convex in all that is asked here."""
    s = start.clone().requires_grad_()
    options = {"max_iter": 500, "tolerance_grad": 1e-12, "tolerance_change": 1e-15, "line_search_fn": "strong_wolfe"}
    optimiser = torch.optim.LBFGS([s], **options)

    def step():
        optimiser.zero_grad()
        loss = value(s)
        loss.backward()
        return loss

    optimiser.step(step)
    return s.detach()


def cross_entropies(u: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """CE(z^k, softmax(u)), `[objective]`, of u `[list]` and z `[list, objective]`."""
    return -(z * u.log_softmax(-1).unsqueeze(-1)).sum(-2)


# ------------------------------------------------------------------------------------------------------------------ T5


FIVE = torch.tensor([[0.70, 0.05], [0.15, 0.05], [0.05, 0.10], [0.05, 0.20], [0.05, 0.60]], dtype=torch.float64)


def nearest_mix(scores: torch.Tensor, mix) -> float:
    """Least distance of softmax(c s) to a mix of FIVE, over c and the weights of the mix."""
    v = torch.linspace(0, 1, 201, dtype=torch.float64)
    mixes = torch.stack([mix(FIVE, torch.stack([each, 1 - each])) for each in v])
    c = torch.logspace(-1, 1, 201, dtype=torch.float64)
    reached = (c.unsqueeze(-1) * scores).softmax(-1)
    return (reached.unsqueeze(1) - mixes).abs().amax(-1).min().item()


def weighted_at(betas: tuple[float, float], w: torch.Tensor) -> torch.Tensor:
    """The best Delta of sum_k w_k CE(z^k, softmax(beta_k Delta))."""
    losses = [dpo("listnet", beta=beta, target="lin") for beta in betas]

    def value(s):
        return sum(a * f(s, FIVE[:, k]) for k, (a, f) in enumerate(zip(w, losses, strict=True)))

    return minimise(value, torch.zeros(5, dtype=torch.float64))


def test_t5_unequal_betas_are_no_mix_of_labels():
    """No weights and no common beta make one mixed label of it, arithmetic or geometric. With equal betas they do, the
    weights themselves."""
    w = torch.tensor([0.7, 0.3], dtype=torch.float64)
    equal, unequal = weighted_at((1.0, 1.0), w), weighted_at((0.5, 4.0), w)
    torch.testing.assert_close(equal.softmax(-1), arithmetic_mix(FIVE, w), atol=1e-6, rtol=0)
    assert nearest_mix(equal, arithmetic_mix) < 1e-6  # w is a point of the grid
    assert nearest_mix(unequal, arithmetic_mix) > 0.005
    assert nearest_mix(unequal, geometric_mix) > 0.01


# ------------------------------------------------------------------------------------------------------------------ T7


def ndcgs(scores: torch.Tensor, labels: torch.Tensor, k: int = 10) -> torch.Tensor:
    """NDCG@k of every objective, `[objective]`; 0 where blank."""
    order = scores.argsort(descending=True)[:k]
    discount = 1 / torch.log2(torch.arange(len(order)) + 2.0).double()
    reached = (gains(labels[order]) * discount.unsqueeze(-1)).sum(0)
    ideal = ideal_dcg(labels.mT, k=k)
    return torch.where(ideal > 0, reached / ideal.where(ideal > 0, 1.0), 0.0)


@given(st.integers(0, 10_000), st.sampled_from([1, 3, 10]))
@settings(max_examples=60, deadline=None)
def test_t7_no_scorer_beats_the_oracle_at_its_own_preference(seed, k):
    """On every list and for every w: random scores, a single label, and both mixes of every target."""
    draw = torch.Generator().manual_seed(seed)
    n, m = int(torch.randint(2, 15, (), generator=draw)), int(torch.randint(2, 5, (), generator=draw))
    labels = torch.randint(0, 5, (n, m), generator=draw).double()
    w = torch.rand(m, generator=draw).double()
    w = w / w.sum()
    best = (w * ndcgs(oracle_scores(labels, w, k=k), labels, k)).sum()
    rivals = [torch.randn(n, generator=draw).double(), *labels.unbind(-1)]
    for kind in ("lin", "gain", "soft"):
        z = list_targets(labels, kind=kind)
        rivals += [arithmetic_mix(z, w), geometric_mix(z, w)]
    for scores in rivals:
        assert (w * ndcgs(scores, labels, k)).sum() <= best + 1e-12


def test_t7_the_oracle_front_is_the_baseline():
    """Hypervolume of 11 points on 60 lists: oracle > arithmetic > geometric for each target, and the gap is smaller
    for soft targets than for those with (nearly) zeros. What a mix loses here is lost by the family, not by a net."""
    task = synthetic.make(n_queries=300)
    split, preferences = task.test, torch.as_tensor(lattice(2, 10))
    lists = [torch.as_tensor(split.labels[a:b]).double() for a, b in itertools.pairwise(split.offsets)]
    lists = [y for y in lists if (y > 0).any(0).all()]

    def volume(scorer) -> float:
        points = [torch.stack([ndcgs(scorer(y, w), y) for y in lists]).mean(0) for w in preferences]
        return hypervolume(torch.stack(points).numpy(), np.zeros(2))

    oracle, volumes = volume(lambda y, w: oracle_scores(y, w, k=10)), {}
    for kind, options in (("soft", {}), ("gain", {"eps": 1e-3})):
        for mix in (arithmetic_mix, geometric_mix):
            volumes[kind, mix] = volume(lambda y, w, m=mix, k=kind, o=options: m(list_targets(y, kind=k, **o), w))
        assert oracle > volumes[kind, arithmetic_mix] > volumes[kind, geometric_mix]
    lost = {kind: volumes[kind, geometric_mix] / volumes[kind, arithmetic_mix] for kind in ("soft", "gain")}
    assert 0.7 < lost["gain"] < lost["soft"] < 1


# ------------------------------------------------------------------------------------------------------------------ T8


def test_t8_eps_is_a_setting_of_geometric_methods_only():
    """Two zeros: the arithmetic mix moves with eps by at most n eps / sum g, the geometric one as far as it likes, and
    the implicit reward of MOD and MODPO grows without end as eps shrinks."""
    labels = torch.tensor([[3.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    exact = list_targets(labels)
    assert (geometric_mix(exact, HALF) == torch.tensor([0, 0, 1, 0])).all()
    assert (arithmetic_mix(exact, HALF)[:3] > 0).all()
    rewards, distances = [], []
    for eps in (1e-1, 1e-2, 1e-3, 1e-4):
        z = list_targets(labels, eps=eps)
        bound = 4 * eps / gains(labels).sum(0).min()
        assert (arithmetic_mix(z, HALF) - arithmetic_mix(exact, HALF)).abs().max() <= bound
        distances.append((geometric_mix(z, HALF) - geometric_mix(exact, HALF)).abs().max().item())
        rewards.append((z.log() @ HALF).max() - (z.log() @ HALF)[0])
    assert min(distances) > 0.01 and max(distances) > 0.3
    assert all(b - a == pytest.approx(math.log(10) / 2, abs=0.1) for a, b in itertools.pairwise(rewards))


# ------------------------------------------------------------------------------------------------------------------ T9


def test_t9_a_conditioned_model_has_no_better_optimum_than_one_model_a_preference():
    """min over s(.) of the mean over w is the mean of the minima, the entropies of z_w: free conditioned scores end
    there and not below; scores that are linear in w cannot bend enough and end above."""
    preferences = torch.as_tensor(lattice(2, 4))
    expected = torch.stack([torch.special.entr(arithmetic_mix(Z, w)).sum() for w in preferences])
    labels, where = Z.unsqueeze(0), ALL
    conditioned = Importance(dpo("listnet", target="lin"), None)

    def together(s):
        return conditioned(s.unsqueeze(0), labels, where, preferences)

    free = minimise(together, torch.zeros(5, 4, dtype=torch.float64))
    alone = [
        minimise(lambda s, w=w: conditioned(s[None, None], labels, where, w[None]), torch.zeros(4, dtype=torch.float64))
        for w in preferences
    ]
    for s in (free, torch.stack(alone)):
        reached = torch.stack([(w * cross_entropies(u, Z)).sum() for u, w in zip(s, preferences, strict=True)])
        torch.testing.assert_close(reached, expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(free.softmax(-1), torch.stack(alone).softmax(-1), atol=1e-4, rtol=0)

    line = minimise(lambda corners: together(preferences @ corners), torch.zeros(2, 4, dtype=torch.float64))
    short = together(preferences @ line) - expected.mean()
    assert short > 0.005


# ----------------------------------------------------------------------------------------------------------------- T10


def test_t10_arithmetic_favours_specialists_and_geometric_compromises():
    """The two families trained to their ends: DPO-LS, and MODPO whose margins are log targets."""
    labels, start = Z.unsqueeze(0), torch.zeros(4, dtype=torch.float64)
    w = HALF.unsqueeze(0)
    ls = Importance(dpo("listnet", target="lin"), None)
    modpo = Margins(preference_loss("modpo-list", target="lin"), Fixed((0.5, 0.5)), eps=0.0)
    ends = [minimise(lambda s, f=f: f(s[None, None], labels, ALL, w), start).softmax(-1) for f in (ls, modpo)]
    torch.testing.assert_close(ends[0], torch.tensor([0.31, 0.31, 0.25, 0.13]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(ends[1], torch.tensor([0.183, 0.183, 0.417, 0.217]).double(), atol=5e-4, rtol=0)
    assert ends[0].argmax() != 2 and ends[1].argmax() == 2  # the third document is second best for both
