"""Conditioned nets: one pass for K preferences, padding and order as in every net, and where each one starts."""

from __future__ import annotations

import math

import pytest
import torch

from ltr import ops
from ltr.errors import InputError
from ltr.rankers.conditioning import Conditioned, mixture
from ltr.rankers.config import ConditioningConfig, DASALCConfig, LinearConfig, MLPConfig, TransformerConfig
from ltr.rankers.nets import build

FEATURES, OBJECTIVES = 5, 3
NETS = {
    "linear": LinearConfig(),
    "mlp": MLPConfig(hidden=(8, 4), activation="tanh"),
    "mlp-batch": MLPConfig(hidden=(8, 4), norm="batch"),
    "mlp-layer": MLPConfig(hidden=(8,), norm="layer"),
    "transformer": TransformerConfig(width=8, heads=2, d_ff=12, dropout=0.0),
    "transformer-fc": TransformerConfig(layers=(7,), width=8, heads=1, blocks=1, d_ff=12, dropout=0.0),
}
POSSIBLE = [
    (net, kind)
    for net in NETS
    for kind in ("none", "concat", "film", "prompt", "head", "mixture")
    if not (kind == "prompt" and not net.startswith("transformer")) and not (kind == "concat" and net == "linear")
]
PREFERENCES = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0], [0.1, 0.1, 0.8]])


@pytest.fixture(params=POSSIBLE, ids="-".join)
def case(request):
    return request.param


@pytest.fixture
def batch(device):
    """Three lists of 6, 4 and 0 documents."""
    torch.manual_seed(1)
    where = torch.arange(6)[None, :] < torch.tensor([6, 4, 0])[:, None]
    features = torch.randn(3, 6, FEATURES) * where[..., None]
    return features.to(device), where.to(device)


def make(case, device, start="scratch", wake=True, **options):
    """A conditioned net; awake, every weight is random, so that what starts at 0 cannot hide a mistake."""
    torch.manual_seed(0)
    net = Conditioned(
        NETS[case[0]], ConditioningConfig(kind=case[1], start=start, hidden=(6,), **options), FEATURES, OBJECTIVES
    )
    if wake:
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return net.to(device).eval()


def by_document(case):
    return not case[0].startswith("transformer") and case[1] != "mixture"  # which is normalised over the list


def test_shapes_and_pads(case, batch, device):
    features, where = batch
    scores = make(case, device)(features, where, PREFERENCES.to(device))
    assert scores.shape == (3, 4, 6)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()
    assert (scores.masked_select(~where[:, None]) == 0).all()


def test_many_preferences_at_once_are_one_by_one(case, batch, device):
    features, where = batch
    net, w = make(case, device), PREFERENCES.to(device)
    alone = torch.cat([net(features, where, each[None]) for each in w], 1)
    torch.testing.assert_close(net(features, where, w), alone)


def test_preferences_may_differ_by_list(case, batch, device):
    features, where = batch
    net = make(case, device)
    w = torch.distributions.Dirichlet(torch.ones(OBJECTIVES)).sample((3, 2)).to(device)
    alone = torch.cat([net(features[i : i + 1], where[i : i + 1], w[i]) for i in range(3)])
    torch.testing.assert_close(net(features, where, w), alone)


def test_scores_depend_on_the_preference(case, batch, device):
    features, where = batch
    scores = make(case, device)(features, where, PREFERENCES.to(device))[0]
    same = torch.allclose(scores[0] - scores[0].mean(), scores[2] - scores[2].mean(), atol=1e-4)
    assert same == (case[1] == "none")


def test_rubbish_in_pads_changes_nothing(case, batch, device):
    features, where = batch
    net = make(case, device).train()
    clean = net(features, where, PREFERENCES.to(device))
    dirty = net(features.masked_fill(~where[..., None], 7.0), where, PREFERENCES.to(device))
    torch.testing.assert_close(dirty, clean)


def test_scores_follow_shuffled_documents(case, batch, device):
    features, where = batch
    net, w = make(case, device), PREFERENCES.to(device)
    order = torch.tensor([3, 0, 5, 1, 4, 2], device=device)
    shuffled = net(features[:, order], where[:, order], w)
    torch.testing.assert_close(shuffled, net(features, where, w)[..., order])


def test_documents_see_their_list_only_in_transformers(case, batch, device):
    features, where = batch
    net, w = make(case, device), PREFERENCES.to(device)
    alone = net(features[:1, :1], where[:1, :1], w)
    assert torch.allclose(alone, net(features, where, w)[:1, :, :1], atol=1e-4) == by_document(case)


@pytest.mark.parametrize("take", [True, False])
def test_augmented_starts_at_the_reference_exactly(case, batch, device, take):
    features, where = batch
    net = make(case, device, start="augmented", wake=False)
    reference = torch.randn(where.shape, device=device)
    if take:
        torch.manual_seed(5)
        net.start_from(build(NETS[case[0]], FEATURES).state_dict())
    scores = net(features, where, PREFERENCES.to(device), reference=reference)
    expected = reference.masked_fill(~where, 0.0)[:, None].expand(-1, 4, -1)
    assert torch.equal(scores, expected)


def test_from_a_reference_all_preferences_start_at_its_body(batch, device):
    """Concat, film and head say nothing about w at first: scratch nets given weights score as the plain net does."""
    features, where = batch
    for name in ("mlp", "mlp-batch", "transformer"):
        torch.manual_seed(5)
        plain = build(NETS[name], FEATURES).to(device).eval()
        expected = plain(features, where)[:, None].expand(-1, 4, -1)
        for kind in ("none", "concat", "film", "head", "mixture"):
            net = make((name, kind), device, wake=False)
            net.start_from(plain.state_dict())
            scores = net(features, where, PREFERENCES.to(device))
            if kind == "mixture":  # up to a constant a list
                scores, up_to = (ops.log_softmax(x, where[:, None].expand_as(x)) for x in (scores, expected))
                torch.testing.assert_close(scores, up_to)
                continue
            torch.testing.assert_close(scores, expected)


def test_concat_is_concatenation(batch, device):
    """[W V] (x, m w - 1) + b: the same first layer, written out."""
    features, where = batch
    net = make(("mlp", "concat"), device)
    w = PREFERENCES.to(device)
    wide = build(NETS["mlp"], FEATURES + OBJECTIVES).to(device).eval()
    weights = net.net.state_dict()
    weights["tower.linears.0.weight"] = torch.cat([weights["tower.linears.0.weight"], net.shift.weight], 1)
    wide.load_state_dict(weights)
    for k, each in enumerate(w):
        beside = (OBJECTIVES * each - 1).expand(*where.shape, -1)
        together = wide(torch.cat([features, beside], -1), where)
        torch.testing.assert_close(net(features, where, w)[:, k], together)


def test_prompts_are_documents_in_front(batch, device):
    """The transformer itself, run on the projected list with prompts as its first documents."""
    features, where = batch
    net = make(("transformer", "prompt"), device, prompts=2)
    w = PREFERENCES[1:2].to(device)
    tokens = net.prompt(OBJECTIVES * w - 1).reshape(2, 8)
    plain = net.net
    x = torch.cat([tokens.expand(3, -1, -1), plain.project(features)], 1)
    keys = torch.cat([torch.ones(3, 2, dtype=torch.bool, device=device), where], 1)[:, None, None, :]
    for block in plain.blocks:
        x = block(x, keys)
    expected = plain.head(plain.norm(x)[:, 2:], where)
    torch.testing.assert_close(net(features, where, w)[:, 0], expected)


def test_gradients_reach_every_weight(case, batch, device):
    features, where = batch
    net = make(case, device).train()
    scores = net(features, where, PREFERENCES.to(device))
    (scores.log_softmax(-1)[..., 0].sum() + scores.square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_silent_start_learns(case, batch, device):
    """Zeros are no dead end: after some steps every weight has moved."""
    features, where = batch
    net = make(case, device, start="augmented", wake=False).train()
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    optimiser = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(4):
        optimiser.zero_grad()
        scores = net(features, where, PREFERENCES.to(device), reference=torch.zeros_like(features[..., 0]))
        (scores * torch.arange(6, device=device) * torch.arange(1, 5, device=device)[:, None]).sum().backward()
        optimiser.step()
    still = [n for n, p in net.named_parameters() if torch.equal(p, before[n])]
    assert still == []


def test_a_frozen_net_stays_as_it_was(device):
    net = make(("transformer", "prompt"), device, start="augmented", frozen=True)
    learning = {name.split(".")[0] + "." + name.split(".")[1] for name, p in net.named_parameters() if p.requires_grad}
    assert learning == {"prompt.layers", "net.head"}


def test_scale_multiplies_what_the_net_adds(batch, device):
    features, where = batch
    net = make(("mlp", "film"), device, start="augmented")
    w, reference = PREFERENCES.to(device), torch.randn(where.shape, device=device)
    base = reference.masked_fill(~where, 0.0)[:, None]
    once = net(features, where, w, reference=reference) - base
    net.scale = 4.0
    torch.testing.assert_close(net(features, where, w, reference=reference) - base, 4 * once)


def test_mixture_is_the_mean_of_the_corners(device):
    """softmax(s(w)) = sum_k w_k softmax(s(e_k)), written out; 0 where nothing prefers a document."""
    torch.manual_seed(2)
    where = torch.arange(7)[None] < torch.tensor([7, 3, 0])[:, None]
    corners = 30 * torch.randn(3, OBJECTIVES, 7)  # far apart: the weight of 0 meets probabilities of 0
    scores = mixture(corners.to(device), where.to(device), PREFERENCES.to(device)[None]).cpu()
    for b, n in ((0, 7), (1, 3)):
        p = corners[b, :, :n].double().softmax(-1)
        expected = (PREFERENCES.double() @ p).log() + math.log(n)
        torch.testing.assert_close(scores[b, :, :n].double(), expected, rtol=1e-4, atol=1e-4)
    assert (scores.masked_select(~where[:, None]) == 0).all()
    flat = mixture(torch.full((2, OBJECTIVES, 5), 3.7), torch.ones(2, 5, dtype=torch.bool), PREFERENCES[None])
    torch.testing.assert_close(flat, torch.zeros(2, 4, 5), atol=1e-6, rtol=0)


def test_a_mixture_reaches_the_optimum_of_every_preference():
    """Linear net, one-hot features: free scores. Trained at drawn preferences it is log z_w at all others (T1, T2)."""
    from ltr.objectives import arithmetic_mix, list_targets

    torch.manual_seed(0)
    where = torch.ones(1, 6, dtype=torch.bool)
    z = list_targets(torch.randint(0, 5, (1, 6, OBJECTIVES)).float(), eps=0.1)
    net = Conditioned(LinearConfig(), ConditioningConfig("mixture", "scratch"), 6, OBJECTIVES)
    optimiser = torch.optim.LBFGS(net.parameters(), max_iter=500, tolerance_grad=1e-9, line_search_fn="strong_wolfe")
    drawn = torch.distributions.Dirichlet(torch.ones(OBJECTIVES)).sample((8,))

    def distance(w):
        scores = net(torch.eye(6)[None], where, w)[0]
        return -(torch.stack([arithmetic_mix(z[0], each) for each in w]) * scores.log_softmax(-1)).sum()

    def step():
        optimiser.zero_grad()
        loss = distance(drawn)
        loss.backward()
        return loss

    optimiser.step(step)
    for w in PREFERENCES:
        p = net(torch.eye(6)[None], where, w[None])[0, 0].softmax(-1)
        torch.testing.assert_close(p, arithmetic_mix(z[0], w), atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["concat", "film", "head", "mixture"])
def test_temperature_is_a_further_input(batch, device, kind):
    features, where = batch
    net = make(("mlp", kind), device, temperature=True)
    w = PREFERENCES[:2].to(device)
    beta = torch.tensor([0.5, 2.0], device=device)
    scores = net(features, where, w, beta=beta)
    torch.testing.assert_close(scores[:, 1:], net(features, where, w[1:], beta=beta[1:]))
    assert not torch.allclose(scores[0, 0], net(features, where, w[:1], beta=beta[1:])[0, 0])
    by_list = net(features, where, w, beta=beta.expand(3, -1))
    torch.testing.assert_close(by_list, scores)


def test_what_cannot_be_is_said():
    for net, kind in ((LinearConfig(), "concat"), (MLPConfig(hidden=()), "concat"), (MLPConfig(), "prompt"),
                      (DASALCConfig(), "film")):  # fmt: skip
        with pytest.raises(InputError):
            Conditioned(net, ConditioningConfig(kind=kind), FEATURES, OBJECTIVES)
    with pytest.raises(InputError, match="frozen"):
        ConditioningConfig(start="scratch", frozen=True)
    net = Conditioned(MLPConfig(), ConditioningConfig(), FEATURES, OBJECTIVES)
    x, where = torch.zeros(2, 3, FEATURES), torch.ones(2, 3, dtype=torch.bool)
    with pytest.raises(InputError, match="reference"):
        net(x, where, PREFERENCES)
    for wrong in (PREFERENCES[:, :2], PREFERENCES.expand(5, -1, -1), PREFERENCES[0]):
        with pytest.raises(InputError, match="preferences do not fit"):
            net(x, where, wrong, reference=torch.zeros(2, 3))
    with pytest.raises(InputError, match="temperature"):
        net(x, where, PREFERENCES, beta=torch.ones(4), reference=torch.zeros(2, 3))
