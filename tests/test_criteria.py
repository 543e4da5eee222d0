"""What a step descends: the claims about sums of list losses, sampled labels and preferences, on free scores."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from ltr import ops
from ltr.errors import InputError
from ltr.losses.preference.base import dpo, preference_loss
from ltr.methods.criteria import (
    Aggregated,
    Dirichlet,
    Fixed,
    Importance,
    LogUniform,
    Margins,
    OneLabel,
    Scalarised,
    by_gain,
    objective_values,
)
from ltr.methods.gdpo import GroupPolicy
from ltr.objectives import aggregator, arithmetic_mix, list_targets, mean_losses, scalarisation

W = torch.tensor([[0.7, 0.3], [0.2, 0.8], [1.0, 0.0]])


@pytest.fixture
def lists():
    """Four lists of 6, 5, 6 and 4 documents; the third is blank in its second objective, the last in both."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 4, (4, 6, 2), generator=draw).float()
    labels[2, :, 1] = 0
    labels[3] = 0
    where = torch.arange(6) < torch.tensor([6, 5, 6, 4])[:, None]
    scores, reference = torch.randn(4, 3, 6, generator=draw), torch.randn(4, 6, generator=draw)
    return scores, labels.masked_fill(~where[..., None], 0.0), where, reference


def mixed(u, z, where):
    """CE(sum_k w_k z^k, softmax(u)) of each list."""
    return -(z * ops.log_softmax(u, where)).sum(-1)


def test_the_weighted_sum_is_one_cross_entropy(lists):
    """T2: sum_k w_k CE(z^k, p) = CE(sum_k w_k z^k, p), for every preference at once; weights of blanks are lost."""
    scores, labels, where, reference = lists
    value = Importance(dpo("listnet", beta=2.0), None)(scores, labels, where, W, reference=reference)
    z = list_targets(labels, where)
    by_hand = [mixed(2 * (scores[:, k] - reference), arithmetic_mix(z, w), where) for k, w in enumerate(W)]
    torch.testing.assert_close(value, torch.stack(by_hand)[:, :3].mean())  # the blank list leaves the mean


def test_a_preference_for_each_list(lists):
    scores, labels, where, _ = lists
    w = Dirichlet(0.5, 2, 3).draw(4, torch.Generator().manual_seed(1))
    together = Importance(dpo("listnet"), None)(scores, labels, where, w)
    z = list_targets(labels, where)
    alone = [mixed(scores[i, k], arithmetic_mix(z[i], w[i, k]), where[i]) for i in range(3) for k in range(3)]
    torch.testing.assert_close(together, torch.stack(alone).mean())


@pytest.mark.parametrize("target", ["lin", "gain", "soft"])
def test_the_first_loss_of_an_augmented_net_is_log_n(lists, target):
    """At s = s_ref every objective costs log n, whatever the target and the preference."""
    _, labels, where, reference = lists
    at = reference[:2, None].expand(-1, 3, -1)
    value = Importance(dpo("listnet", target=target), None)(at, labels[:2], where[:2], W, reference=reference[:2])
    torch.testing.assert_close(value.item(), (math.log(6) + math.log(5)) / 2)


def test_an_objective_with_a_loss_of_its_own(lists):
    """Each objective's values, and which lists count for it, are those of its loss."""
    scores, labels, where, reference = lists
    both = by_gain(dpo("lambdarank", beta=2.0), ("linear", "exp2"), ("", "exposureparity"))
    values, counted = objective_values(both, scores, labels, where, reference=reference)
    for k, alone in enumerate((dpo("lambdarank", beta=2.0, gain="linear"), dpo("exposureparity", beta=2.0))):
        expected, heard = objective_values(alone, scores, labels, where, reference=reference)
        assert torch.equal(values[..., k], expected[..., k]) and torch.equal(counted[:, k], heard[:, k])
    assert "exposureparity of objective 1" in repr(both)


def test_a_beta_for_each_preference(lists):
    scores, labels, where, reference = lists
    beta = torch.tensor([0.5, 1.0, 4.0])
    options = {"reference": reference, "beta": beta}
    told, _ = objective_values(dpo("listnet"), scores, labels, where, **options)
    for k, each in enumerate(beta):
        alone, _ = objective_values(
            dpo("listnet", beta=each.item()), scores[:, k : k + 1], labels, where, reference=reference
        )
        torch.testing.assert_close(told[:, k : k + 1], alone)


def test_one_label_is_the_weighted_sum_in_expectation(lists):
    scores, labels, where, _ = lists
    draw, loss = torch.Generator().manual_seed(0), dpo("listnet")
    sampled, whole = OneLabel(loss, None), Importance(loss, None)
    values = torch.stack([sampled(scores, labels, where, W[:2].repeat(2, 1)[:3], generator=draw) for _ in range(4000)])
    expected = whole(scores, labels, where, W[:2].repeat(2, 1)[:3])
    assert abs(values.mean() - expected) < 4 * values.std() / math.sqrt(4000)


def test_scalarised_is_the_scalarisation_of_mean_losses(lists):
    scores, labels, where, _ = lists
    f = scalarisation("chebyshev", 2)
    value = Scalarised(dpo("listnet"), None, f, ideal=(1.0, 1.2), spread=(0.5, 2.0))(scores, labels, where, W)
    by_hand = []
    for k, w in enumerate(W):
        values, heard = objective_values(dpo("listnet"), scores[:, k : k + 1], labels, where)
        losses = mean_losses(values[:, 0], heard)
        by_hand.append(f((losses - torch.tensor([1.0, 1.2])) / torch.tensor([0.5, 2.0]), w))
    torch.testing.assert_close(value, torch.stack(by_hand).mean())


@pytest.mark.parametrize("space", ["scores", "parameters"])
def test_a_linear_aggregator_steps_as_the_weighted_sum(lists, space):
    _, labels, where, _ = lists
    weight = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(3))
    steps = []
    for criterion in (
        Importance(dpo("listnet"), None),
        Aggregated(dpo("listnet"), None, aggregator("linear", 2), space),
    ):
        theta = torch.tensor([0.5, -1.0, 0.2], requires_grad=True)
        scores = (weight @ theta)[:, None]
        losses = criterion(scores, labels, where, W[:1])
        criterion.backward(losses, scores, W[:1], [theta], None)
        steps.append(theta.grad)
    torch.testing.assert_close(*steps)


RULES = "mgda pcgrad cagrad nash-mtl imtl-g graddrop sdmgrad epo wc-mgda".split()


def test_steps_of_aggregators_in_either_space(lists):
    """The step by the parameters is that of a loop over torch.autograd.grad. By the scores it is the same one where the
    Jacobian is orthogonal, but for GradDrop, and another one elsewhere, as a rule."""
    _, labels, where, _ = lists
    draw, w, other = torch.Generator().manual_seed(3), torch.tensor([[0.4, 0.6]]), set()
    narrow = torch.randn(4, 6, 5, generator=draw, dtype=torch.float64)
    square = 3 * torch.linalg.qr(torch.randn(24, 24, generator=draw, dtype=torch.float64))[0].view(4, 6, 24)
    for name in RULES:
        for x in (narrow, square):
            steps = {}
            for space in ("scores", "parameters", "loop"):
                theta = torch.linspace(-1, 1, x.shape[-1], dtype=torch.float64).requires_grad_()
                scores = (x @ theta)[:, None]
                criterion = Aggregated(
                    dpo("listnet"), None, aggregator(name, 2), "scores" if space == "scores" else "parameters"
                )
                losses = criterion(scores, labels.double(), where, w)
                seed = torch.Generator().manual_seed(0)
                if space != "loop":
                    criterion.backward(losses, scores, w, [theta], seed)
                    steps[space] = theta.grad
                    continue
                rows = torch.stack([torch.autograd.grad(each, theta, retain_graph=True)[0] for each in losses])
                f, given = criterion.function, {"preference": w[0] if name in ("sdmgrad", "epo", "wc-mgda") else None}
                if name == "graddrop":
                    steps[space] = f(rows, generator=seed)
                else:
                    steps[space] = f(rows @ rows.mT, losses=losses, generator=seed, **given) @ rows
            torch.testing.assert_close(steps["parameters"], steps["loop"], msg=lambda m, n=name: f"{n}: {m}")
            alike = torch.allclose(steps["scores"], steps["parameters"], rtol=1e-5, atol=1e-7)
            if x is square:
                assert alike == (name != "graddrop"), name
            elif not alike:
                other.add(name)
    assert {"mgda", "cagrad", "nash-mtl", "imtl-g"} <= other


def test_margins_are_modpo(lists):
    """Each preference trains its heaviest objective; on free scores log-target margins end at the geometric mix."""
    _, labels, where, reference = lists
    labels, where, reference = labels[:2], where[:2], reference[:2]
    w = torch.tensor([[0.3, 0.7]])
    loss = preference_loss("modpo-list", eps=0.1)
    criterion = Margins(loss, Fixed((0.3, 0.7)))
    s = reference.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [s], max_iter=200, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def step():
        optimiser.zero_grad()
        value = criterion(s[:, None], labels, where, w, reference=reference)
        value.backward()
        return value

    optimiser.step(step)
    z = list_targets(labels, where, eps=0.1)
    wanted = ops.softmax((z.masked_fill(~where[..., None], 1.0).log() * w[0]).sum(-1), where)
    torch.testing.assert_close(ops.softmax((s - reference).detach(), where), wanted, atol=1e-3, rtol=0)


def test_modpo_in_pairs_is_its_formula(lists):
    """-log sg([beta (Delta_i - Delta_j) - sum_l w_l (R^l_i - R^l_j)] / w_k), pair by pair, for rewards of all kinds."""
    scores, labels, where, reference = lists
    w, beta, z = torch.tensor([[0.3, 0.7]]), 0.8, list_targets(labels, where)
    told = torch.randn(labels.shape, generator=torch.Generator().manual_seed(5))
    for rewards, main in (("models", None), ("models", 0), ("targets", None), ("labels", None)):
        loss = preference_loss("modpo", beta=beta)
        criterion = Margins(loss, Fixed((0.3, 0.7)), rewards, 0.01, main)
        given = torch.cat([labels, told], -1) if rewards == "models" else labels
        k, values = (1 if main is None else main), []
        other = 1 - k
        for b in range(4):
            n = int(where[b].sum())
            s, ref, y = scores[b, 0, :n].tolist(), reference[b, :n].tolist(), labels[b, :n, k].tolist()
            R = {
                "models": told[b, :n, other],
                "targets": (z[b, :n, other] + 0.01).log() if z[b].any(0)[other] else torch.zeros(n),
                "labels": labels[b, :n, other] / labels[b, :n, other].std(correction=0).clamp(min=1e-9),
            }[rewards].tolist()
            brackets = [
                (beta * ((s[i] - ref[i]) - (s[j] - ref[j])) - w[0, other].item() * (R[i] - R[j])) / w[0, k].item()
                for i in range(n)
                for j in range(n)
                if y[i] > y[j]
            ]
            if brackets:
                values.append(sum(math.log(1 + math.exp(-x)) for x in brackets) / len(brackets))
        value = criterion(scores[:, :1], given, where, w, reference=reference)
        assert value.item() == pytest.approx(sum(values) / len(values), rel=1e-5), rewards


def test_group_policy_is_the_gradient_of_normalised_measures():
    """All 24 rankings of four documents: the step is sum_k w_k grad E[NDCG_k] / sd NDCG_k; equal labels have
    no say, nor has a pad."""
    s = torch.tensor([0.3, -0.4, 0.8, 0.1], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[1.0, 3, 0], [3, 0, 0], [0, 1, 0], [2, 0, 0]], dtype=torch.float64)
    w, gains, k = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), ("exp2", "linear", "exp2"), 2
    orders = torch.tensor(list(itertools.permutations(range(4))))
    drawn = s[orders]
    chances = (drawn - drawn.flip(-1).logcumsumexp(-1).flip(-1)).sum(-1).exp()
    wanted = torch.zeros_like(s)
    for j in (0, 1):
        g = ops.gains(y[:, j], gains[j])
        rewards = (g[orders[:, :k]] * ops.discounts(torch.arange(1, k + 1))).sum(-1) / ops.ideal_dcg(
            g, gain="linear", k=k
        )
        mean = (chances * rewards).sum()
        sd = (chances * (rewards - mean) ** 2).sum().sqrt().detach()
        wanted -= w[j] * torch.autograd.grad(mean, s, retain_graph=True)[0] / sd
    criterion = GroupPolicy(Fixed(tuple(w.tolist())), gains, 60_000, k)
    padded = torch.cat([s, torch.tensor([9.0])])[None, None]
    labels, where = torch.cat([y, torch.full((1, 3), 4.0)])[None], torch.tensor([[True] * 4 + [False]])
    value = criterion(padded, labels, where, w[None], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.autograd.grad(value, s)[0], wanted, atol=0.01, rtol=0)
    assert wanted.abs().max() > 0.1


def test_sources_draw_preferences():
    draw = torch.Generator().manual_seed(0)
    for source, shape in (
        (Fixed((0.25, 0.75)), (1, 2)),
        (Dirichlet(0.2, 2, 5), (7, 5, 2)),
        (Dirichlet(0.2, 2, 5, by_list=False), (5, 2)),
        (LogUniform(0.01, 2, 3), (7, 3, 2)),
    ):
        w = source.draw(7, draw)
        assert w.shape == shape
        assert (w >= 0).all()
        torch.testing.assert_close(w.sum(-1), torch.ones(shape[:-1]))
    ratio = LogUniform(0.01, 2, 4000).draw(1, draw)
    ratio = (ratio[..., 0] / ratio[..., 1]).log10()
    assert ratio.abs().max() <= 2 and abs(ratio.mean()) < 0.1 and ratio.std() > 0.7  # triangular on [-2, 2]: .82


def test_beta_is_drawn_between_its_bounds():
    criterion = Importance(dpo("listnet"), Dirichlet(1.0, 2, 500), (0.1, 10.0))
    w, beta = criterion.draw(torch.zeros(4, 3, 2), torch.ones(4, 3) > 0, torch.Generator().manual_seed(0))
    assert beta.shape == w.shape[:-1]
    assert beta.min() >= 0.1 and beta.max() <= 10
    assert abs(beta.log10().mean()) < 0.05


def test_what_a_batch_cannot_be_scalarised_with(lists):
    scores, labels, where, _ = lists
    by_list = W.expand(4, -1, -1)
    with pytest.raises(InputError, match="one preference"):
        Scalarised(dpo("listnet"), None, scalarisation("chebyshev", 2))(scores, labels, where, by_list)
    with pytest.raises(InputError, match="one preference"):
        Aggregated(dpo("listnet"), None, aggregator("mgda", 2))(scores, labels, where, W)


def test_a_batch_below_the_ideal_point_still_learns(lists):
    """The value is floored, for those that need positive losses; the gradient is that of the loss without a floor."""
    scores, labels, where, _ = lists
    gradients = []
    for ideal in ((0.0, 0.0), (9.0, 9.0)):
        s = scores.clone().requires_grad_()
        f = Scalarised(dpo("listnet"), None, scalarisation("linear", 2), ideal=ideal, spread=(1.0, 2.0))
        value = f(s, labels, where, W)
        gradients.append(torch.autograd.grad(value, s)[0])
    assert value.item() == pytest.approx(1e-3)  # weights sum to 1
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)
