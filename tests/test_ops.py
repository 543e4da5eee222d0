"""Masked list primitives against numpy, and the blocks of pair_sum against the whole pair matrix."""

from __future__ import annotations

import itertools
import math

import battery
import numpy as np
import pytest
import reference
import torch

from ltr import ops
from ltr.errors import InputError

LISTS = list(battery.cases().values())


@pytest.fixture(params=[0.0, float("nan"), float("inf"), -1.0], ids=lambda f: f"pads {f}")
def batch(request, device):
    return battery.pad(LISTS, fill=request.param, extra=2, at="scattered", device=device)


def each(batch, *tensors):
    """Rows of a batch without their pads, as numpy."""
    scores, labels, where = batch
    for row, real in enumerate(where):
        yield tuple(t[row, real].detach().cpu().numpy() if t.ndim > 1 else t[row].item() for t in tensors)


def test_random_ties_stay_inside_their_tie(device):
    scores = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0, 9.0], device=device).expand(500, 6)
    where = torch.tensor([True] * 5 + [False], device=device).expand(500, 6)
    ranked = lambda: 1 + ops.order(scores, where, generator=torch.Generator(device).manual_seed(0)).argsort(-1)  # noqa: E731
    r = ranked()
    assert r[:, 0].unique().tolist() == [1] and r[:, 4].unique().tolist() == [5] and r[:, 5].unique().tolist() == [6]
    for tied in r[:, 1:4].T:  # each of ranks 2, 3, 4 about a third of the time
        assert all(abs((tied == rank).float().mean().item() - 1 / 3) < 0.1 for rank in (2, 3, 4))
    assert torch.equal(r, ranked())


def test_order(batch):
    scores, labels, where = batch
    for descending in (True, False):
        index = ops.order(scores, where, descending=descending)
        s, y, real = (x.gather(-1, index) for x in (scores, labels, where))
        assert torch.equal(real, where.sort(dim=-1, descending=True).values), "pads come last"
        for row in range(len(s)):
            key, value = scores[row, where[row]].cpu().numpy(), labels[row, where[row]].cpu().numpy()
            sorted_ = np.argsort(-key if descending else key, kind="stable")
            assert s[row, real[row]].tolist() == key[sorted_].tolist()
            assert y[row, real[row]].tolist() == value[sorted_].tolist()


def test_count_lower(batch):
    _, labels, where = batch
    lower = ops.count_lower(labels, where)
    assert (lower[~where] == 0).all()
    for y, came in each(batch, labels, lower):
        assert came.tolist() == [int((y < v).sum()) for v in y]


def test_sums_of_exponentials(batch):
    scores, _, where = batch
    p, logp = ops.softmax(scores, where), ops.log_softmax(scores, where)
    assert (p[~where] == 0).all() and (logp[~where] == 0).all()
    for s, a, b in each(batch, scores, p, logp):
        expected = np.logaddexp.reduce(s)
        np.testing.assert_allclose(b, s - expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(a, np.exp(s - expected), rtol=1e-9, atol=1e-12)


def test_reversed_logcumsumexp(batch):
    scores, _, where = batch
    index = ops.order(torch.zeros_like(scores), where)  # pads to the end, order kept
    s, real = scores.gather(-1, index), where.gather(-1, index)
    came = ops.reversed_logcumsumexp(s, real)
    assert (came[~real] == 0).all()
    for row in range(len(s)):
        x = s[row, real[row]].cpu().numpy()
        expected = [np.logaddexp.reduce(x[t:]) for t in range(len(x))]
        np.testing.assert_allclose(came[row, real[row]].cpu().numpy(), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("function", [ops.softmax, ops.log_softmax, ops.reversed_logcumsumexp])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_gradients_of_sums_of_exponentials(function, scale, device):
    """Numbers at +-1e4 and for a list of pads, nothing at pads, equal to central differences."""
    nan = float("nan")
    scores = torch.tensor([[0.3, -1.0, 0.9, nan], [nan] * 4, [1.0, -1.0, 0.5, 0.2]], dtype=torch.float64)
    scores = (scores * scale).to(device).requires_grad_()
    where = ~scores.isnan()
    out = function(scores, where)
    out.where(out.isfinite(), 0.0).square().sum().backward()
    assert scores.grad.isfinite().all() and (scores.grad[~where] == 0).all()
    if scale == 1.0:
        rows = scores.detach()[[0, 2]].nan_to_num(0.0).requires_grad_()
        assert torch.autograd.gradcheck(lambda s: function(s, where[[0, 2]]), rows)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    x = torch.tensor([[1.5, -2.0, 300.0]], dtype=dtype)
    for function in (ops.softmax, ops.log_softmax, ops.reversed_logcumsumexp, ops.gains, ops.exact):
        assert function(x).dtype == torch.float32
    assert ops.exact(x.double()).dtype == torch.float64


def test_gains_discounts_and_the_ideal(batch):
    scores, labels, where = batch
    for gain in ("exp2", "linear"):
        for k in (None, 1, 3, 100):
            ideal = ops.ideal_dcg(labels.masked_fill(~where, 0.0), where, gain=gain, k=k)
            for y, came in each(batch, labels, ideal):
                assert came == pytest.approx(reference.ideal_dcg(y.tolist(), gain, k))
    d = ops.discounts(torch.arange(1, 6), k=3)
    assert d.tolist() == pytest.approx([1, 1 / math.log2(3), 0.5, 0, 0])
    with pytest.raises(InputError, match="unknown gain"):
        ops.gains(labels, "cubic")


# ------------------------------------------------------------------------------------------------------------- pairs


def _cubic(x, i, j):
    return x**3, 3 * x**2


@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (4, 1), (0, 6), (4, 0)])
def test_blocks_add_up_to_the_pair_matrix(shape):
    for cells, rows in itertools.product((1, 7, 40, None), (None, 1, 3, 99)):
        with battery.about(f"cells={cells}", f"rows={rows}"):
            _adds_up(cells, rows, shape)


def _adds_up(cells, rows, shape):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.rand(shape, generator=generator, dtype=torch.float64)

    def term(x, i, j):
        w = i(weight) * (1 + j(weight))
        return w * x.square(), 2 * w * x

    value = ops.pair_sum(scores, term, rows=rows, cells=cells)
    whole = weight.unsqueeze(-1) * (1 + weight).unsqueeze(-2) * (scores.unsqueeze(-1) - scores.unsqueeze(-2)).square()
    whole = whole[..., :rows, :].sum((-2, -1))
    torch.testing.assert_close(value, whole)
    cotangent = torch.rand(value.shape, generator=generator, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(v, scores, cotangent)[0] for v in (value, whole))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("cells", [1, 11, None])
def test_upper_skips_only_what_is_zero(cells):
    scores = torch.randn(3, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    place = torch.arange(9).expand(3, 9)

    def term(x, i, j):
        above = i(place) < j(place)
        return x.square() * above, 2 * x * above

    upper, full = (ops.pair_sum(scores, term, upper=flag, cells=cells) for flag in (True, False))
    torch.testing.assert_close(upper, full)
    torch.testing.assert_close(*(torch.autograd.grad(v.sum(), scores)[0] for v in (upper, full)))
    assert full.min() > 0


def test_blocks_keep_their_size():
    seen = []

    def term(x, i, j):
        seen.append(x.numel())
        return x, torch.ones_like(x)

    ops.pair_sum(torch.zeros(2, 100), term, cells=1000)
    assert sum(seen) == 2 * 100 * 100 and max(seen) <= 1000 and len(seen) == 20


def test_pair_sum_is_not_differentiated_twice():
    scores = torch.randn(4, dtype=torch.float64).requires_grad_()
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(ops.pair_sum(scores, _cubic), scores, create_graph=True)


def test_pair_sum_without_gradient():
    with torch.no_grad():
        assert not ops.pair_sum(torch.zeros(4, requires_grad=True), _cubic).requires_grad
    assert not ops.pair_sum(torch.zeros(4), _cubic).requires_grad


def test_logistic():
    x = torch.tensor([-1e4, -30.0, 0.0, 30.0, 1e4, math.inf], dtype=torch.float64)
    value, slope = ops.logistic(x)
    assert value.tolist() == pytest.approx([1e4, 30.0, math.log(2), math.exp(-30), 0, 0])
    assert slope.tolist() == pytest.approx([-1, -1, -0.5, -math.exp(-30), 0, 0])


# -------------------------------------------------------------------------------------------------------- soft ranks

LOGISTIC = ops.Step(0.5, torch.tanh, 0.5, -0.5, lambda x: torch.tanh(x).square(), -0.25, 0.25)


@pytest.mark.parametrize("cells", [1, 17, None])
@pytest.mark.parametrize("shape", [(6,), (4, 6), (2, 3, 6), (4, 1), (0, 6)])
def test_soft_ranks_are_sums_over_the_pair_matrix(cells, shape):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()
    among = torch.rand(shape, generator=generator) > 0.3
    came = ops.soft_ranks(scores, among, LOGISTIC, cells=cells)
    others = among.unsqueeze(-2) & ~torch.eye(shape[-1], dtype=torch.bool)
    whole = 1 + (torch.sigmoid(scores.unsqueeze(-2) - scores.unsqueeze(-1)) * others).sum(-1)
    torch.testing.assert_close(came, whole)
    cotangent = torch.rand(shape, generator=generator, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(r, scores, cotangent)[0] for r in (came, whole))
    torch.testing.assert_close(ours, theirs)


def test_soft_ranks_become_ranks():
    scores = torch.tensor([1.2, 0.4, 1.9, -0.3])
    assert ops.soft_ranks(1e4 * scores, None, LOGISTIC).tolist() == [2, 3, 1, 4]
    among = torch.tensor([True, False, False, True])  # the others are ranked among these two
    assert ops.soft_ranks(1e4 * scores, among, LOGISTIC).tolist() == [1, 2, 1, 2]


def test_soft_ranks_are_not_differentiated_twice():
    scores = torch.randn(4, dtype=torch.float64).requires_grad_()
    with pytest.raises(RuntimeError, match="differentiated once"):
        torch.autograd.grad(ops.soft_ranks(scores, None, LOGISTIC).sum(), scores, create_graph=True)


def test_gumbel_noise():
    noise = ops.gumbel((200_000,), torch.Generator().manual_seed(0)).double()
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)  # Euler's constant
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "soft"},
        {"kind": "soft", "temperature": 0.5},
        {"kind": "lin"},
        {"kind": "gain"},
        {"kind": "gain", "eps": 0.1},
    ],
)
def test_no_mask_is_a_mask_of_documents_only(options):
    """Without a mask the passes that apply one are left out: the same numbers, and pads in front of none."""
    labels = torch.tensor([[1.0, 3.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0], [4.0, 0.0, 0.0, 1.0]])
    every = torch.ones_like(labels, dtype=torch.bool)
    bare = ops.list_target(labels, **options)
    assert torch.equal(bare, ops.list_target(labels, every, **options))
    assert not bare[1].any(), "nothing to aim at"
    wide = torch.cat([torch.full((3, 2), float("nan")), labels], -1)
    where = torch.cat([torch.zeros_like(every[:, :2]), every], -1)
    padded = ops.list_target(wide, where, **options)
    torch.testing.assert_close(padded[:, 2:], bare)
    assert not padded[:, :2].any()
    torch.testing.assert_close(ops.log_softmax(wide, where)[:, 2:], ops.log_softmax(labels))
    assert torch.equal(ops.log_softmax(labels, every), ops.log_softmax(labels))
