"""Conditioned nets: one pass for K preferences, padding and order as in every net, and where each one starts."""

from __future__ import annotations

import math

import pytest
import torch
from battery import about

from ltr import ops
from ltr.errors import InputError
from ltr.rankers.conditional import many_preferences
from ltr.rankers.conditional.config import ConditioningConfig
from ltr.rankers.conditional.nets import Conditioned, mixture
from ltr.rankers.conditional.ranker import ConditionedRanker
from ltr.rankers.config import DASALCConfig, LinearConfig, MLPConfig, TransformerConfig
from ltr.rankers.nets import MaskedBatchNorm, build
from ltr.schema import bind, to_dict

FEATURES, OBJECTIVES = 5, 3
NETS = {
    "linear": LinearConfig(),
    "mlp": MLPConfig(hidden=(8, 4), activation="tanh"),
    "mlp-batch": MLPConfig(hidden=(8, 4), norm="batch"),
    "mlp-layer": MLPConfig(hidden=(8,), norm="layer"),
    "transformer": TransformerConfig(width=8, heads=2, d_ff=12, dropout=0.0),
    "transformer-fc": TransformerConfig(layers=(7,), width=8, heads=1, blocks=1, d_ff=12, dropout=0.0),
}
STEERED, LISTWISE = ("prefix", "prefix/last", "readout"), ("prompt", "prefix", "readout")
POSSIBLE = [
    (net, kind)
    for net in NETS
    for kind in ("none", "concat", "film", "film/last", "prompt", "prompt/last", *STEERED, "head", "mixture", "outputs")
    if not (kind.startswith(LISTWISE) and not net.startswith("transformer"))
    and not (kind == "concat" and net == "linear")
    and not (net == "transformer-fc" and kind in ("prefix/last", "readout", "film/last", "prompt/last"))
]
PREFERENCES = torch.tensor([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0], [0.1, 0.1, 0.8]])


def every_case(holds):
    """One test a property: it holds for each net with each conditioning, and a failure says for which it does not."""

    def test(batch, device):
        for case in POSSIBLE:
            with about(*case):
                holds(case, batch, device)

    test.__doc__ = holds.__doc__
    return test


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
    kind, _, only = case[1].partition("/")
    how = ConditioningConfig(kind=kind, start=start, hidden=(6,), only=only or None, **options)
    net = Conditioned(NETS[case[0]], how, FEATURES, OBJECTIVES)
    if wake:
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        for each in net.modules():
            if isinstance(each, MaskedBatchNorm):
                each.mean.normal_()
                each.variance.uniform_(0.5, 2.0)
    return net.to(device).eval()


def by_document(case):
    return not case[0].startswith("transformer") and case[1] != "mixture"  # which is normalised over the list


@every_case
def test_shapes_and_pads(case, batch, device):
    features, where = batch
    scores = make(case, device)(features, where, PREFERENCES.to(device))
    assert scores.shape == (3, 4, 6)
    assert scores.dtype == torch.float32
    assert torch.isfinite(scores).all()
    assert (scores.masked_select(~where[:, None]) == 0).all()


@every_case
def test_many_preferences_at_once_are_one_by_one(case, batch, device):
    features, where = batch
    net, w = make(case, device), PREFERENCES.to(device)
    alone = torch.cat([net(features, where, each[None]) for each in w], 1)
    torch.testing.assert_close(net(features, where, w), alone)


@every_case
def test_preferences_may_differ_by_list(case, batch, device):
    features, where = batch
    net = make(case, device)
    w = torch.distributions.Dirichlet(torch.ones(OBJECTIVES)).sample((3, 2)).to(device)
    alone = torch.cat([net(features[i : i + 1], where[i : i + 1], w[i]) for i in range(3)])
    torch.testing.assert_close(net(features, where, w), alone)


@every_case
def test_scores_depend_on_the_preference(case, batch, device):
    features, where = batch
    scores = make(case, device)(features, where, PREFERENCES.to(device))[0]
    same = torch.allclose(scores[0] - scores[0].mean(), scores[2] - scores[2].mean(), atol=1e-4)
    assert same == (case[1] == "none")


@every_case
def test_rubbish_in_pads_changes_nothing(case, batch, device):
    features, where = batch
    net = make(case, device).train()
    clean = net(features, where, PREFERENCES.to(device))
    dirty = net(features.masked_fill(~where[..., None], 7.0), where, PREFERENCES.to(device))
    torch.testing.assert_close(dirty, clean)


@every_case
def test_scores_follow_shuffled_documents(case, batch, device):
    features, where = batch
    net, w = make(case, device), PREFERENCES.to(device)
    order = torch.tensor([3, 0, 5, 1, 4, 2], device=device)
    shuffled = net(features[:, order], where[:, order], w)
    torch.testing.assert_close(shuffled, net(features, where, w)[..., order])


@every_case
def test_documents_see_their_list_only_in_transformers(case, batch, device):
    features, where = batch
    net, w = make(case, device), PREFERENCES.to(device)
    alone = net(features[:1, :1], where[:1, :1], w)
    assert torch.allclose(alone, net(features, where, w)[:1, :, :1], atol=1e-4) == by_document(case)


@every_case
def test_augmented_starts_at_the_reference_exactly(case, batch, device):
    features, where = batch
    for take in (True, False):
        net = make(case, device, start="augmented", wake=False)
        reference = torch.randn(where.shape, device=device)
        if take:
            torch.manual_seed(5)
            net.start_from(build(NETS[case[0]], FEATURES).state_dict())
        scores = net(features, where, PREFERENCES.to(device), reference=reference)
        expected = reference.masked_fill(~where, 0.0)[:, None].expand(-1, 4, -1)
        assert torch.equal(scores, expected), take


def test_from_a_reference_all_preferences_start_at_its_body(batch, device):
    """All but prompts among documents say nothing of w at first: scratch nets given weights score as the plain net."""
    features, where = batch
    for name in ("mlp", "mlp-batch", "transformer"):
        torch.manual_seed(5)
        plain = build(NETS[name], FEATURES).to(device).eval()
        expected = plain(features, where)[:, None].expand(-1, 4, -1)
        kinds = ("none", "concat", "film", "head", "mixture", "outputs")
        for kind in kinds + (STEERED if name == "transformer" else ()):
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


@pytest.mark.parametrize("kind", STEERED)
def test_pairs_and_tokens_are_what_is_written(kind, batch, device):
    """Document by document, head by head and token by token, from the formula."""
    features, where = batch
    net = make(("transformer", kind), device, prompts=2, **({} if kind == "readout" else {"pairs": 3}))
    u, plain, size = OBJECTIVES * PREFERENCES[1].to(device) - 1, net.net, 4
    steered = {"prefix": [0, 1], "prefix/last": [1], "readout": []}[kind]
    if steered:
        pairs = net.steering.pairs(u).view(2, len(steered), 2, 3, size)
    tokens = net.steering.tokens(u).view(2, 8)

    def asked(block, x, others, own):
        """Attention of places `[place, width]` to documents, each perhaps to itself too, and to pairs."""
        q, k, v = block.attend.qkv(block.norm1(x)).view(len(x), 3, 2, size).unbind(1)
        seen_k, seen_v = block.attend.qkv(block.norm1(others)).view(len(others), 3, 2, size)[:, 1:].unbind(1)
        found = torch.empty(len(x), 2, size, device=device)
        for i, h in ((i, h) for i in range(len(x)) for h in range(2)):
            keys, values = seen_k[:, h], seen_v[:, h]
            if own:
                keys, values = torch.cat([keys, k[i : i + 1, h]]), torch.cat([values, v[i : i + 1, h]])
            found[i, h] = (keys @ q[i, h] / 2).softmax(0) @ values
            if own_pairs is not None:
                found[i, h] += (own_pairs[0, h] @ q[i, h] / 2).softmax(0) @ own_pairs[1, h]
        return block.feed(x + block.attend.out(found.flatten(1)))

    for b, n in ((0, 6), (1, 4)):
        x, c = plain.project(features[b, :n]), tokens
        for i, block in enumerate(plain.blocks):
            own_pairs = pairs[:, steered.index(i)] if i in steered else None
            x, c = asked(block, x, x, False), asked(block, c, x, True)
        r = net.steering.out(plain.norm(c).flatten()) / 16**0.5
        h = plain.norm(x)
        expected = plain.head.linear(h).squeeze(-1) + h @ r
        torch.testing.assert_close(net(features, where, PREFERENCES[1:2].to(device))[b, 0, :n], expected)


@every_case
def test_gradients_reach_every_weight(case, batch, device):
    features, where = batch
    net = make(case, device).train()
    scores = net(features, where, PREFERENCES.to(device))
    (scores.log_softmax(-1)[..., 0].sum() + scores.square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@every_case
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
    for kind, ours in (("prompt", {"prompt", "net.head"}), ("prefix", {"steering"}), ("readout", {"steering"})):
        net = make(("transformer", kind), device, start="augmented", frozen=True)
        names = (name for name, p in net.named_parameters() if p.requires_grad)
        assert {"net.head" if name.startswith("net.head.") else name.split(".")[0] for name in names} == ours


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


@pytest.mark.parametrize("case", [("mlp", "film"), ("mlp", "head"), ("transformer", "prefix")], ids="-".join)
def test_a_temperature_an_objective(batch, device, case):
    features, where = batch
    net = make(case, device, temperature=True, temperature_by="objective")
    w, beta = PREFERENCES[:2].to(device), torch.tensor([[0.5, 1.0, 2.0], [2.0, 1.0, 0.5]], device=device)
    scores = net(features, where, w, beta=beta)
    torch.testing.assert_close(net(features, where, w, beta=beta.expand(3, -1, -1)), scores)
    torch.testing.assert_close(net(features, where, w[1:], beta=beta[1:]), scores[:, 1:])
    assert not torch.allclose(net(features, where, w[:1], beta=beta[1:])[0, 0], scores[0, 0])
    fast = net.score_many(features, where, w, beta=beta)
    torch.testing.assert_close(fast, scores.transpose(0, 1)[:, where], rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match="one a preference and objective"):
        net(features, where, w, beta=beta[:, 0])
    with pytest.raises(InputError, match="temperature_by"):
        ConditioningConfig("mixture", temperature=True, temperature_by="objective")


def test_what_cannot_be_is_said():
    for net, kind in (
        (LinearConfig(), "concat"),
        (MLPConfig(hidden=()), "concat"),
        *((MLPConfig(), kind) for kind in LISTWISE),
        (TransformerConfig(blocks=0), "prefix"),
        (DASALCConfig(), "film"),
    ):
        with pytest.raises(InputError):
            Conditioned(net, ConditioningConfig(kind=kind), FEATURES, OBJECTIVES)
    with pytest.raises(InputError, match="pairs"):
        ConditioningConfig("readout", pairs=4)
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


# ------------------------------------------------------------------------------------- many preferences, no gradients

MORE = {
    "linear-deep": MLPConfig(hidden=()),
    "mlp-3": MLPConfig(hidden=(8, 6, 4), activation="gelu", output="tanh"),
    "mlp-layer-2": MLPConfig(hidden=(8, 6), norm="layer", activation="silu"),
    "transformer-0": TransformerConfig(width=8, heads=2, blocks=0),
    "transformer-1": TransformerConfig(width=8, heads=4, blocks=1, d_ff=20, dropout=0.0, output="sigmoid"),
    "transformer-3": TransformerConfig(width=12, heads=3, blocks=3, d_ff=8, dropout=0.3, activation="gelu"),
}
RAGGED = torch.arange(9)[None, :] < torch.tensor([9, 4, 0, 8, 1, 9, 3])[:, None]


def both_ways(net, w, device, **told):
    """(`score_many`, `forward`), both `[preference, document]`, on lists of several lengths, one of them empty."""
    torch.manual_seed(3)
    where = RAGGED.to(device)
    features, reference = torch.randn(*RAGGED.shape, FEATURES).to(device), torch.randn(RAGGED.shape).to(device)
    told |= {"reference": reference} if net.config.start == "augmented" else {}
    slow = net(features, where, w, **told).detach()
    return net.score_many(features, where, w, **told), slow.transpose(0, 1)[:, where]


@pytest.fixture(params=["whole", "pieces"])
def pieces(request, monkeypatch):
    """Rooms so small that every loop runs several times, with odd ends."""
    if request.param == "pieces":
        monkeypatch.setattr(many_preferences, "_ROOM", {"cpu": 600})
        monkeypatch.setattr(many_preferences, "_ROOM_ELSEWHERE", 600)
        monkeypatch.setattr(many_preferences, "_DOCUMENTS", 7)


def lattice_of_21(device):
    from ltr.objectives import lattice

    return torch.as_tensor(lattice(OBJECTIVES, 5), dtype=torch.float32, device=device)


def test_many_preferences_score_as_forward_does(pieces, device):
    for case in POSSIBLE:
        net = make(case, device, start="augmented")
        net.scale = 2.0
        fast, slow = both_ways(net, lattice_of_21(device), device)
        assert fast.shape == (21, int(RAGGED.sum()))
        assert fast.dtype == torch.float32 and not fast.requires_grad
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4, msg=lambda text, case=case: f"{case}: {text}")


@pytest.mark.parametrize("name", MORE)
def test_many_preferences_of_other_nets(name, pieces, device, monkeypatch):
    monkeypatch.setitem(NETS, name, MORE[name])
    kinds = ["none", "film", "film/last", "head", "mixture"]
    kinds += ["concat"] if name != "linear-deep" else []
    kinds += ["prompt", "prompt/last", "readout"] if name.startswith("transformer") else []
    kinds += ["prefix", "prefix/last"] if name in ("transformer-1", "transformer-3") else []
    for kind in kinds:
        fast, slow = both_ways(make((name, kind), device), lattice_of_21(device), device)
        torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4, msg=lambda text, kind=kind: f"{kind}: {text}")


@pytest.mark.parametrize("kind", ["concat", "film", "film/last", "prompt/last", *STEERED, "head", "mixture"])
def test_many_preferences_with_a_temperature(kind, device):
    net = make(("transformer" if kind.startswith(LISTWISE) else "mlp", kind), device, temperature=True)
    w = lattice_of_21(device)
    fast, slow = both_ways(net, w, device, beta=torch.linspace(0.2, 5.0, len(w), device=device))
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("loud", [1.0, 10.0, 100.0])
def test_prompts_that_outshout_the_list(loud, device):
    """Attention to prompts from none to all of it; the witness is the net itself in float64."""
    net = make(("transformer", "prompt/last"), device)
    with torch.no_grad():
        net.net.blocks[-1].attend.qkv.weight.mul_(loud**0.5)
    w, where = lattice_of_21(device), RAGGED.to(device)
    fast, _ = both_ways(net, w, device)
    torch.manual_seed(3)
    features = torch.randn(*RAGGED.shape, FEATURES).to(device).double()
    net.double()
    prompts = net.prompt(OBJECTIVES * w.double() - 1).unflatten(-1, (net.config.prompts, -1))[None]
    x = net._prompted(net.shared(features, where), where.unsqueeze(1), prompts)
    exact = net.net.head.linear(x).squeeze(-1).transpose(0, 1)[:, where]
    torch.testing.assert_close(fast.double(), exact, rtol=1e-3, atol=1e-3)


def test_a_mixture_of_corners_far_apart(device):
    """A preference without the objective that prefers a document: its share is below what float32 holds."""
    net = make(("linear", "mixture"), device)
    with torch.no_grad():
        net.corners.weight.mul_(100)
    fast, slow = both_ways(net, lattice_of_21(device), device)
    assert slow.min() < -100  # e^-100 is none of float32's normal numbers
    torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("case", "once", "never"),
    [
        (("mlp", "head"), ["tower.linears.0", "tower.linears.1"], []),
        (("mlp", "mixture"), ["tower.linears.0", "tower.linears.1"], []),
        (("mlp", "film"), ["tower.linears.0"], ["tower.linears.1"]),
        (("mlp", "film/last"), ["tower.linears.0", "tower.linears.1"], []),
        (("mlp", "concat"), ["tower.linears.0"], []),
        (("transformer", "film"), ["project", "blocks.0"], []),
        (("transformer", "film/last"), ["project", "blocks.0", "blocks.1"], []),
        (("transformer", "prompt"), ["project"], []),
        (("transformer", "prompt/last"), ["project", "blocks.0", "blocks.1.norm1"], ["blocks.1"]),
        (("transformer", "prefix"), ["project"], []),
        (("transformer", "head"), ["project", "blocks.0", "blocks.1"], []),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else None,
)
def test_what_no_preference_changes_is_computed_once(case, once, never, device):
    net, rows = make(case, device), {}

    def count(name):
        return lambda module, given, result: rows.update({name: rows.get(name, 0) + result.numel() // result.shape[-1]})

    for name in (*once, *never):
        net.net.get_submodule(name).register_forward_hook(count(name))
    where = torch.ones(4, 6, dtype=torch.bool, device=device)
    w = lattice_of_21(device)
    net.score_many(torch.randn(4, 6, FEATURES, device=device), where, w)
    prompts = net.config.prompts * len(w)  # the last block's first norm sees each prompt of each preference once
    assert rows == {name: 24 + (prompts if name == "blocks.1.norm1" else 0) for name in once}


def test_tokens_of_all_preferences_read_documents_once(device):
    net, w = make(("transformer", "readout"), device), lattice_of_21(device)
    rows = []
    for block in net.net.blocks:
        block.attend.qkv.register_forward_hook(lambda module, given, result: rows.append(result.shape[:3].numel()))
    net.score_many(torch.randn(4, 6, FEATURES, device=device), torch.ones(4, 6, dtype=torch.bool, device=device), w)
    first, later = len(w) * 4, 4 * len(w) * 4  # tokens are the same for all lists until they have read one
    assert rows == [24, first, 24, later]


def test_film_of_the_last_place_only(batch, device):
    """The plain net, FiLM written out behind its last block or in front of its last activation."""
    features, where = batch
    w = PREFERENCES.to(device)
    net = make(("transformer", "film/last"), device)
    gamma, delta = net.film(OBJECTIVES * w[1] - 1).chunk(2)
    x, keys = net.net.project(features), (where | ~where.any(-1, keepdim=True))[:, None, None, :]
    for block in net.net.blocks:
        x = block(x, keys)
    expected = net.net.head(net.net.norm((1 + gamma) * x + delta), where)
    torch.testing.assert_close(net(features, where, w)[:, 1], expected)
    net = make(("mlp", "film/last"), device)
    gamma, delta = net.film(OBJECTIVES * w[1] - 1).chunk(2)
    first, second = net.net.tower.linears
    expected = net.net.head(torch.tanh((1 + gamma) * second(torch.tanh(first(features))) + delta), where)
    torch.testing.assert_close(net(features, where, w)[:, 1], expected)


def test_prompts_of_the_last_block_only(batch, device):
    features, where = batch
    net = make(("transformer", "prompt/last"), device, prompts=2)
    w = PREFERENCES[1:2].to(device)
    tokens, plain = net.prompt(OBJECTIVES * w - 1).reshape(2, 8), net.net
    x = plain.blocks[0](plain.project(features), (where | ~where.any(-1, keepdim=True))[:, None, None, :])
    keys = torch.cat([torch.ones(3, 2, dtype=torch.bool, device=device), where], 1)[:, None, None, :]
    x = plain.blocks[1](torch.cat([tokens.expand(3, -1, -1), x], 1), keys)
    torch.testing.assert_close(net(features, where, w)[:, 0], plain.head(plain.norm(x)[:, 2:], where))


def test_only_stays_out_of_tables_unless_it_is_said():
    """So that runs and suites from before it have the hash they had."""
    assert "only" not in to_dict(ConditioningConfig())
    last = ConditioningConfig("prompt", only="last")
    assert bind(ConditioningConfig, to_dict(last)) == last
    with pytest.raises(InputError, match="only"):
        ConditioningConfig("head", only="last")


def test_a_ranker_scores_a_split_in_its_order(device):
    from ltr.datasets import load, transforms

    split = load("synthetic:queries=12,objectives=3").test
    ranker = ConditionedRanker("mlp", conditioning=ConditioningConfig("film", "scratch"))
    ranker.n_features = split.n_features
    torch.manual_seed(0)
    ranker.net = Conditioned(ranker.config, ranker.conditioning, split.n_features, 3).to(device)
    torch.nn.init.normal_(ranker.net.film.layers[-1].weight)
    ranker.transform = transforms.fit("log1p-standardise", split.features)
    w = lattice_of_21(device)
    scores = ranker.score(split, w.cpu().numpy())
    x = ranker.transform.apply(torch.as_tensor(split.features).clone())[None].to(device)
    with torch.no_grad():
        expected = ranker.net(x, torch.ones(x.shape[:2], dtype=torch.bool, device=device), w)[0]
    torch.testing.assert_close(torch.as_tensor(scores), expected.cpu(), rtol=1e-4, atol=1e-4)
