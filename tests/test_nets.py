"""The nets: what padding may not do, what shuffling must do, and the layers beside an independent form of them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ltr.errors import InputError
from ltr.rankers.config import (
    DASALCConfig,
    LinearConfig,
    MLPConfig,
    TabMConfig,
    TrainingConfig,
    TransformerConfig,
    rate,
)
from ltr.rankers.layers import Dropout, attend, attention_mask
from ltr.rankers.nets import Attention, MaskedBatchNorm, build

CONFIGS = {
    "linear": LinearConfig(noise=0.1),
    "mlp": MLPConfig(hidden=(8, 4), dropout=0.2),
    "mlp-batch": MLPConfig(hidden=(8, 4), norm="batch", activation="gelu"),
    "mlp-layer": MLPConfig(hidden=(8,), norm="layer", output="sigmoid"),
    "mlp-flat": MLPConfig(hidden=()),
    "mlp-piecewise": MLPConfig(hidden=(8,), embeddings="piecewise"),
    "tabm": TabMConfig(hidden=(8, 4), members=3, dropout=0.2),
    "transformer": TransformerConfig(width=8, heads=2, d_ff=12),
    "transformer-fc": TransformerConfig(
        layers=(7,), width=8, heads=1, blocks=1, d_ff=12, attention_dropout=0.2, output="tanh"
    ),
    "transformer-induced": TransformerConfig(width=8, heads=2, d_ff=12, induced=3),
    "dasalc": DASALCConfig(hidden=(8, 6), blocks=2, heads=2, head_size=5, noise=0.3),
}
WHOLE_LIST = {"transformer", "transformer-fc", "transformer-induced", "dasalc"}
FEATURES = 5


@pytest.fixture(params=CONFIGS)
def name(request):
    return request.param


@pytest.fixture
def net(name, device):
    torch.manual_seed(0)
    return build(CONFIGS[name], FEATURES).to(device).eval()


@pytest.fixture
def batch(device):
    """Three lists of 6, 4 and 0 documents."""
    torch.manual_seed(1)
    where = torch.arange(6)[None, :] < torch.tensor([6, 4, 0])[:, None]
    features = torch.randn(3, 6, FEATURES) * where[..., None]
    return features.to(device), where.to(device)


def test_padding_changes_nothing(net, name, batch):
    """More padding, and rubbish in it, leaves the scores and the gradients as they were, in training mode too."""
    net.train()
    for module in net.modules():  # what is random would hide what is compared
        if isinstance(module, Dropout):
            module.p = 0.0
        if hasattr(module, "sd"):
            module.sd = 0.0
        if isinstance(module, Attention):
            module.p = 0.0
    features, where = batch
    wide = torch.full((3, 9, FEATURES), 1e3, device=features.device)
    wide[:, :6][where] = features[where]
    wider = torch.zeros(3, 9, dtype=torch.bool, device=features.device)
    wider[:, :6] = where

    def scores_and_gradients(x, w):
        net.zero_grad()
        scores = net(x, w)
        weights = torch.linspace(-1, 1, 18, device=x.device).view(3, 6)
        (scores[:, :6] * weights).masked_fill(~where, 0.0).sum().backward()
        return scores.detach(), [p.grad.clone() for p in net.parameters()]

    one, gradients = scores_and_gradients(features, where)
    two, others = scores_and_gradients(wide, wider)
    torch.testing.assert_close(two[:, :6], one)
    assert not two[~wider].any(), "padding scores 0"
    for a, b in zip(gradients, others, strict=True):
        assert torch.isfinite(a).all()
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_scores_move_with_their_documents(net, batch):
    features, where = batch
    order = torch.tensor([3, 0, 5, 1, 4, 2], device=features.device)
    torch.testing.assert_close(net(features[:, order], where[:, order]), net(features, where)[:, order])


def test_who_sees_whom(net, name, batch):
    """Another document of the list changes the scores of list-wise nets, and of no other."""
    features, where = batch
    changed = features.clone()
    changed[0, 0] += 1.0
    moved = (net(changed, where) - net(features, where)).abs()[0, 1:].max()
    assert moved > 1e-6 if name in WHOLE_LIST else moved == 0
    assert torch.equal(net(changed, where)[1:], net(features, where)[1:]), "lists never see each other"


def test_empty_lists_are_safe(net, device):
    """A batch without a single document gives zeros and finite gradients."""
    net.train()
    scores = net(torch.zeros(2, 3, FEATURES, device=device), torch.zeros(2, 3, dtype=torch.bool, device=device))
    scores.sum().backward()
    assert not scores.any()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters())


def test_noise_and_dropout_only_in_training(net, name, batch):
    assert torch.equal(net(*batch), net(*batch))
    net.train()
    random = any(getattr(m, "sd", 0) or getattr(m, "p", 0) for m in net.modules())
    assert torch.equal(net(*batch), net(*batch)) != random


@pytest.mark.parametrize(
    ("config", "features", "count"),
    [
        (LinearConfig(), 136, 137),
        (MLPConfig(), 136, 10_881),
        (MLPConfig(norm="batch"), 136, 10_881 + 2 * (64 + 32)),
        (TransformerConfig(), 136, 75_905),
        (
            TransformerConfig(width=96, heads=1, d_ff=384, blocks=2),
            136,
            137 * 96 + 2 * (4 * 96 * 97 + 193 * 384 + 5 * 96) + 3 * 96 + 1,
        ),
        (DASALCConfig(), 136, 987_501),
    ],
)
def test_parameter_counts_are_those_of_the_docs(config, features, count):
    assert sum(p.numel() for p in build(config, features).parameters()) == count


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(p, device):
    x = torch.full((401, 101), 2.0, device=device, requires_grad=True)  # 40,501 values: no multiple of four
    drop = Dropout(p)
    torch.manual_seed(3)
    y = drop(x)
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.012)  # five standard deviations
    assert y[y > 0].unique().numel() == 1 and y.max().item() == pytest.approx(2 / (1 - p), rel=1e-4)
    y.sum().backward()
    torch.testing.assert_close(x.grad, y.detach() / 2)  # what was dropped gets no gradient, the rest its factor
    torch.manual_seed(3)
    assert torch.equal(drop(x), y)
    assert not torch.equal(drop(x), y)
    assert drop.eval()(x) is x


def test_dropped_values_are_not_neighbours(device):
    y = Dropout(0.5)(torch.ones(200, 400, device=device)).reshape(-1, 4) > 0
    together = torch.corrcoef(y.float().T)  # the four values of one draw
    assert (together - torch.eye(4, device=device)).abs().max().item() < 0.05


def test_dropout_after_a_relu_is_relu_then_dropout(device):
    """The same values are dropped, and gradients agree, for p that leaves little as well."""
    z = torch.randn(301, 37, device=device, dtype=torch.float64)
    for activation in (nn.ReLU(), nn.GELU()):
        for p in (0.0, 0.3, 0.9):
            drop, found = Dropout(p), []
            for form in (lambda z, d=drop, a=activation: d.after(a, z), lambda z, d=drop, a=activation: d(a(z))):
                torch.manual_seed(7)
                leaf = z.clone().requires_grad_()
                y = form(leaf)
                y.backward(torch.arange(37.0, device=device).to(y).expand_as(y))
                found.append((y.detach(), leaf.grad))
            torch.testing.assert_close(*found)
            assert torch.equal(drop.eval().after(activation, z), activation(z))


def textbook(qkv, masks=None):
    """softmax(q k / sqrt(d)) v of one list, head by head: [document, 3, head, size] -> [document, head, size]."""
    heads = []
    for h in range(qkv.shape[2]):
        q, k, v = (qkv[:, i, h] for i in range(3))
        weights = ((q @ k.T) / math.sqrt(q.shape[-1])).softmax(-1)
        heads.append((weights if masks is None else weights * masks[h]) @ v)
    return torch.stack(heads, 1)


@pytest.mark.parametrize("lengths", [[3, 1, 0, 4], [2, 300]])  # 300: through torch's fused attention
def test_lists_one_after_another_attend_to_themselves(lengths):
    """Values and gradients beside the formula, list by list, in double precision, with members in front too."""
    torch.manual_seed(5)
    one = torch.randn(sum(lengths), 3, 2, 3, dtype=torch.float64, requires_grad=True)
    expected = torch.cat([textbook(each) for each in one.split(lengths)])
    upstream = torch.randn_like(expected)
    (gradient,) = torch.autograd.grad(expected, one, upstream)
    for fold in (lambda t: t, lambda t: torch.stack([t, 2 * t])):
        mixed = attend(fold(one), lengths)
        torch.testing.assert_close(mixed if mixed.dim() == 3 else mixed[0], expected)
        (ours,) = torch.autograd.grad((mixed if mixed.dim() == 3 else mixed[0]), one, upstream)
        torch.testing.assert_close(ours, gradient)
    doubled = attend(torch.stack([one, 2 * one]), lengths)[1]
    torch.testing.assert_close(doubled, torch.cat([textbook(2 * each) for each in one.split(lengths)]))


def test_attention_weights_are_dropped():
    """The weights that stay are those of the formula times one factor; gradients are those of what was computed."""
    lengths, p = [4, 2], 0.4
    torch.manual_seed(6)
    qkv = torch.randn(6, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        seeing = qkv.detach().clone()
        seeing[:, 2] = 0.0
        seeing[:4, 2], seeing[4:, 2, :, :2] = torch.eye(4)[:, None], torch.eye(2)[:, None]  # v = 1: weights come out
        torch.manual_seed(8)
        weights = attend(seeing, lengths, p)
        factors = weights / attend(seeing, lengths).where(weights > 0, 1.0)
    kept = factors[factors > 0]
    torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - p)), rtol=1e-4, atol=0.0)
    assert 0 < len(kept) < 2 * (16 + 4)
    torch.manual_seed(8)
    ours = attend(qkv, lengths, p)
    masks = factors[:4].transpose(0, 1), factors[4:, :, :2].transpose(0, 1)
    theirs = torch.cat([textbook(each, mask) for each, mask in zip(qkv.split(lengths), masks, strict=True)])
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(ours)
    torch.testing.assert_close(*(torch.autograd.grad(each, qkv, upstream)[0] for each in (ours, theirs)))


@pytest.mark.parametrize("name", sorted(WHOLE_LIST), indirect=True)
def test_documents_alone_score_as_padded_lists(net, batch):
    """What runs on a CPU equals what runs on a GPU: masks and padding, in training without chance too."""
    features, where = (each.cpu() for each in batch)
    net = net.cpu().train()
    for module in net.modules():
        for chance in ("p", "sd"):
            if hasattr(module, chance):
                setattr(module, chance, 0.0)
    found = []
    for form in (net, lambda x, w: net.scores(x, w, attention_mask(w)).masked_fill(~w, 0.0)):
        net.zero_grad()
        scores = form(features, where)
        (scores * torch.arange(6.0)).sum().backward()
        found.append((scores.detach(), [p.grad.clone() for p in net.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(WHOLE_LIST), indirect=True)
def test_mixed_precision_has_gradients(net, batch, device):
    net.train()
    with torch.autocast(device, dtype=torch.bfloat16):
        scores = net(*batch)
    scores.square().sum().backward()
    gradients = [p.grad for p in net.parameters()]
    assert all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in gradients)
    assert any(g.any() for g in gradients)


def test_batch_norm_equals_torch_on_the_documents(device):
    torch.manual_seed(2)
    ours, theirs = MaskedBatchNorm(4).to(device), nn.BatchNorm1d(4).to(device)
    for epoch in range(3):
        x = 3 * torch.randn(5, 7, 4, device=device) + epoch
        where = torch.rand(5, 7, device=device) < 0.6
        torch.testing.assert_close(ours(x, where)[where], theirs(x[where]))
    torch.testing.assert_close(ours.mean, theirs.running_mean)
    torch.testing.assert_close(ours.variance, theirs.running_var)
    ours.eval(), theirs.eval()
    torch.testing.assert_close(ours(x, where)[where], theirs(x[where]))


def test_attention_equals_the_textbook(device):
    """softmax(q k / sqrt(d)) v, head by head, on the real documents only."""
    torch.manual_seed(3)
    attention = Attention(6, heads=2, head_size=4, dropout=0.0).to(device)
    x = torch.randn(1, 5, 6, device=device)
    where = torch.tensor([[True, True, True, False, False]], device=device)
    weight, bias = attention.qkv.weight.view(3, 2, 4, 6), attention.qkv.bias.view(3, 2, 4)
    real = x[0, :3]
    heads = []
    for h in range(2):
        q, k, v = (real @ weight[i, h].T + bias[i, h] for i in range(3))
        heads.append(((q @ k.T) / math.sqrt(4)).softmax(-1) @ v)
    torch.testing.assert_close(attention(x, attention_mask(where))[0, :3], attention.out(torch.cat(heads, -1)))


def test_scores_stay_float32_under_mixed_precision(net, name, device):
    """200 documents get more distinct scores than bfloat16 could tell apart."""
    torch.manual_seed(4)
    features, where = torch.randn(1, 200, FEATURES, device=device), torch.ones(1, 200, dtype=torch.bool, device=device)
    with torch.autocast(device, dtype=torch.bfloat16):
        scores = net(features, where)
    assert scores.dtype == torch.float32
    assert len(scores[0].unique()) > len(scores[0].bfloat16().unique())


def test_output_bounds(device):
    where = torch.ones(1, 9, dtype=torch.bool, device=device)
    features = 100 * torch.randn(1, 9, FEATURES, device=device)
    for output, low in (("tanh", -1), ("sigmoid", 0)):
        scores = build(MLPConfig(hidden=(4,), output=output), FEATURES).to(device)(features, where)
        assert (scores >= low).all() and (scores <= 1).all()


def test_configs_refuse_what_makes_no_net():
    for make in (
        lambda: TransformerConfig(width=10, heads=3),
        lambda: MLPConfig(dropout=1.0),
        lambda: MLPConfig(hidden=(0,)),
        lambda: DASALCConfig(hidden=()),
        lambda: TrainingConfig(learning_rate=0.0),
        lambda: TrainingConfig(epochs=0),
    ):
        with pytest.raises(InputError, match="out of range"):
            make()


def test_learning_rate_over_time():
    """Closed forms of the three schedules, and the published one: times 0.1 after 50 of 100 epochs."""
    constant = TrainingConfig(learning_rate=2.0, warmup=4)
    assert [rate(constant, e) for e in (1, 2, 4, 99)] == [0.5, 1.0, 2.0, 2.0]
    step = TrainingConfig(learning_rate=1e-3, epochs=100, schedule="step", step_at=0.5)
    assert [rate(step, e) for e in (49.99, 50.0, 100.0)] == pytest.approx([1e-3, 1e-4, 1e-4])
    cosine = TrainingConfig(learning_rate=1.0, epochs=10, schedule="cosine", warmup=2)
    assert [rate(cosine, e) for e in (1, 2, 6, 10)] == pytest.approx([0.5, 1.0, 0.5, 0.0])
