"""Scalarisations: claims proven for the whole catalogue, closed forms, where their optima lie, TorchJD as witness."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch

from ltr.errors import InputError
from ltr.objectives import SCALARISATIONS, coefficients, scalarisation

NEEDED = {
    "epsilon-constraint": lambda m: {"bounds": [0.4 + 0.1 * k for k in range(m - 1)]},
    "uw": lambda m: {"start": 0.3},  # at 0 it is half the sum, and has properties it has nowhere else
}
NAMES = SCALARISATIONS.names()


def made(name, m=3, **params):
    return scalarisation(name, m, **{**NEEDED.get(name, lambda m: {})(m), **params})


def inputs(f, m=3, seed=0, lists=()):
    """Losses in (0.05, 2), and a preference where the scalarisation is steered by one."""
    generator = torch.Generator().manual_seed(seed)
    losses = 0.05 + 1.95 * torch.rand(*lists, m, generator=generator, dtype=torch.float64)
    w = torch.rand(*lists, m, generator=generator, dtype=torch.float64) + 0.05
    return losses, (w / w.sum(-1, keepdim=True) if f.entry.claims["preference"] == "steers" else None)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def value(f, losses, w, seed=0):
    return f(losses, w, generator=seeded(seed))


def slopes(f, losses, w, seed=0):
    return coefficients(f, losses, w, generator=seeded(seed))


# ------------------------------------------------------------------------------------------- what holds for every one


@pytest.mark.parametrize("name", NAMES)
def test_one_number_a_vector_of_losses(name):
    """Leading axes are batches: each vector of losses alone gives the same number; float32 stays float32."""
    f = made(name)
    losses, w = inputs(f, lists=(4, 2))
    if f.entry.claims.get("stochastic"):
        assert value(f, losses, w).shape == (4, 2)
    else:
        alone = torch.stack([value(f, row, None if w is None else w[i]) for i, row in enumerate(losses)])
        torch.testing.assert_close(value(f, losses, w), alone)
    assert value(f, losses[0, 0], None if w is None else w[0, 0]).shape == ()
    single = value(f, losses.float(), w)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), value(f, losses, w), rtol=1e-4, atol=1e-4) if not f.draws else None


@pytest.mark.parametrize("name", NAMES)
def test_gradients(name):
    """The gradient is the derivative, for losses and for whatever is learned; detached constants apart."""
    f = made(name)
    losses, w = inputs(f)
    if name == "famo":  # c is a constant of the step: the coefficients of the formula, normalised to sum 1
        a = slopes(f, losses, w)
        torch.testing.assert_close(a, (1 / losses) / (1 / losses).sum(), rtol=1e-6, atol=0)
        return
    if name == "epsilon-constraint":  # its multipliers are constants of the step
        frozen = f._raised(losses) + f.main
        torch.testing.assert_close(slopes(f, losses, w), (frozen / frozen.sum()).double(), rtol=1e-6, atol=0)
        return
    assert torch.autograd.gradcheck(lambda x: value(f, x, w), (losses.requires_grad_(),))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_objectives_is_nothing(name):
    f = made(name)
    if f.entry.claims.get("stochastic"):
        return
    losses, w = inputs(f)
    shuffle = torch.tensor([2, 0, 1])
    other = made(name, bounds=[0.5, 1.0], main=0) if name == "epsilon-constraint" else f
    if other is not f:  # its objectives have roles: bounds move along
        f, other = made(name, bounds=[0.5, 1.0], main=0), made(name, bounds=[1.0, 0.5], main=1)
    a, b = slopes(f, losses, w), slopes(other, losses[shuffle], None if w is None else w[shuffle])
    torch.testing.assert_close(b, a[shuffle])


@pytest.mark.parametrize("name", NAMES)
def test_finite_where_losses_vanish_or_differ_wildly(name):
    """A loss of 0 (an objective blank in the whole batch), equal losses, and nine orders of magnitude."""
    f = made(name)
    w = torch.tensor([0.5, 0.5, 0.0]).double() if f.entry.claims["preference"] == "steers" else None
    for losses in ([0.0, 0.0, 0.0], [0.0, 1.0, 2.0], [1.0, 1.0, 1.0], [1e-6, 1.0, 1e3]):
        losses = torch.tensor(losses).double()
        assert value(f, losses, w).isfinite() and slopes(f, losses, w).isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_inputs_stay(name):
    """No argument is written to, `forward` changes no state, the global generator is left alone."""
    f = made(name)
    losses, w = inputs(f)
    kept, state, before = losses.clone(), torch.get_rng_state(), copy.deepcopy(f.state_dict())
    value(f, losses, w)
    slopes(f, losses, w)
    assert torch.equal(losses, kept) and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in f.state_dict().items())


@pytest.mark.parametrize("name", NAMES)
def test_the_device_changes_nothing(name, device):
    """On an accelerator (LTR_TEST_DEVICE) as on the CPU; state moves with the module, draws come from any generator."""
    f = made(name)
    losses, w = (None if t is None else t.float() for t in inputs(f))
    moved = copy.deepcopy(f).to(device)
    for _ in range(2):
        f.update(losses, after=0.9 * losses)
        moved.update(losses.to(device), after=0.9 * losses.to(device))
    out = value(moved, losses.to(device), None if w is None else w.to(device))
    assert out.device.type == torch.device(device).type
    torch.testing.assert_close(out.cpu(), value(f, losses, w), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_preference_rule(name):
    """Steered ones need a preference; others scale the losses by it first, or say that it cannot steer them."""
    f = made(name)
    losses, _ = inputs(f)
    w = torch.tensor([0.2, 0.3, 0.5]).double()
    rule = f.entry.claims["preference"]
    if rule == "steers":
        assert f.entry.claims["means"] in ("importance", "balance", "direction")
        with pytest.raises(InputError, match="needs a preference"):
            f(losses)
    elif rule == "scales":
        torch.testing.assert_close(f(losses, w, generator=seeded()), f(w * losses, generator=seeded()))
    else:
        assert rule == "none"
        with pytest.raises(InputError, match="cannot be steered"):
            f(losses, w)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_saved_and_a_new_one_starts_anew(name):
    """Run 2 of a process does not depend on run 1; a checkpoint continues exactly."""
    f = made(name, **({"window": 2} if name == "dwa" else {}))
    fresh = copy.deepcopy(f.state_dict())
    w = inputs(f)[1]

    def steps(g, first, last):
        for step in range(first, last):
            losses, _ = inputs(g, seed=step)
            g.update(losses.float(), after=0.9 * inputs(g, seed=step + 50)[0].float())

    steps(f, 0, 5)
    kept = copy.deepcopy(f.state_dict())
    steps(f, 5, 9)
    again = made(name, **({"window": 2} if name == "dwa" else {}))
    assert all(torch.equal(v, fresh[k]) for k, v in again.state_dict().items())
    again.load_state_dict(kept)
    steps(again, 5, 9)
    losses, _ = inputs(f, seed=99)
    assert torch.equal(value(f, losses, w), value(again, losses, w))


# ------------------------------------------------------------------------------------------------------------- claims


def spread(f, count=200):
    for seed in range(count):
        yield inputs(f, seed=seed)


@pytest.mark.parametrize("name", NAMES)
def test_monotone(name):
    f = made(name, **({"penalty": 3.0} if name == "cosmos" else {}))
    least = min(slopes(f, losses, w).min().item() for losses, w in spread(f))
    assert (least >= 0) == f.entry.claims["monotone"], least


@pytest.mark.parametrize("name", NAMES)
def test_homogeneous(name):
    f = made(name)
    worst = max(((value(f, 3 * x, w) - 3 * value(f, x, w)).abs() / value(f, x, w).abs()).item() for x, w in spread(f))
    assert (worst < 1e-9) == f.entry.claims.get("homogeneous", False), worst


@pytest.mark.parametrize("name", NAMES)
def test_scale_free(name):
    """a_k l_k keep their ratios when one loss is measured in another unit."""
    f, unit, worst = made(name), torch.tensor([1.0, 7.0, 0.3]).double(), 0.0
    for losses, w in spread(f, 40):
        a, b = (slopes(f, x, w) * x for x in (losses, unit * losses))
        worst = max(worst, (a / a.sum() - b / b.sum()).abs().max().item())
    assert (worst < 1e-6) == f.entry.claims.get("scale_free", False), worst


@pytest.mark.parametrize("name", [n for n in NAMES if not SCALARISATIONS[n].claims.get("stochastic")])
def test_convex(name):
    """Claimed: never above the chord. Denied in the catalogue by silence, and then some chord is cut or bent."""
    f, worst = made(name), -math.inf
    for (a, w), (b, _) in zip(spread(f), list(spread(f))[::-1], strict=True):
        middle = value(f, (a + b) / 2, w) - (value(f, a, w) + value(f, b, w)) / 2
        worst = max(worst, middle.item())
    if f.entry.claims.get("convex"):
        assert worst < 1e-12
    elif name in ("log-linear", "cosmos"):
        assert worst > 1e-6


def test_positive_is_checked():
    for name in NAMES:
        f = made(name)
        losses, w = inputs(f)
        losses[1] = -0.5
        if f.entry.claims.get("positive"):
            with pytest.raises(InputError, match="1 - NDCG"):
                value(f, losses, w)
        else:
            assert value(f, losses, w).isfinite()


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_says_where_it_is_from(name):
    entry = SCALARISATIONS[name]
    assert entry.formula and entry.source and entry.claims["preference"] in ("steers", "scales", "none")
    known = {
        "preference",
        "means",
        "positive",
        "monotone",
        "homogeneous",
        "scale_free",
        "convex",
        "stochastic",
        "looks_back",
    }
    assert set(entry.claims) <= known


# -------------------------------------------------------------------------------------------------------- closed forms

L, W = torch.tensor([0.9, 0.3, 0.65]).double(), torch.tensor([0.2, 0.5, 0.3]).double()


def test_worked_values():
    assert scalarisation("linear", 3)(L, W).item() == pytest.approx(0.525)
    expected = 0.2 * math.log(0.9) + 0.5 * math.log(0.3) + 0.3 * math.log(0.65)
    assert scalarisation("log-linear", 3)(L, W).item() == pytest.approx(expected)
    assert scalarisation("chebyshev", 3)(L, W).item() == pytest.approx(0.195)
    assert scalarisation("chebyshev", 3, ideal=[0.5, 0.1, 0.5])(L, W).item() == pytest.approx(0.1)
    assert coefficients(scalarisation("chebyshev", 3), L, W).tolist() == pytest.approx([0, 0, 0.3])
    soft = [math.exp(v / 0.5) for v in (0.18, 0.15, 0.195)]
    f = scalarisation("smooth-chebyshev", 3, mu=0.5)
    assert f(L, W).item() == pytest.approx(0.5 * math.log(sum(soft)))
    assert coefficients(f, L, W).tolist() == pytest.approx([w * e / sum(soft) for w, e in zip(W.tolist(), soft)])
    norm = math.sqrt(0.04 + 0.25 + 0.09), math.sqrt(0.81 + 0.09 + 0.4225)
    assert scalarisation("cosmos", 3, penalty=2.0)(L, W).item() == pytest.approx(0.525 - 2 * 0.525 / norm[0] / norm[1])
    d1 = 0.525 / norm[0]
    d2 = math.sqrt(norm[1] ** 2 - d1**2)  # Pythagoras
    assert scalarisation("pbi", 3, theta=4.0)(L, W).item() == pytest.approx(d1 + 4 * d2)


def test_smooth_chebyshev_bounds_chebyshev():
    """Between the maximum and mu log m above it, for every mu."""
    for mu in (1e-3, 0.1, 2.0):
        f, hard = scalarisation("smooth-chebyshev", 3, mu=mu), scalarisation("chebyshev", 3)
        for losses, w in spread(hard, 50):
            gap = (f(losses, w) - hard(losses, w)).item()
            assert -1e-12 <= gap <= mu * math.log(3) + 1e-12
    assert scalarisation("smooth-chebyshev", 2, mu=1e-4)(torch.tensor([1e4, 1.0]), torch.tensor([0.5, 0.5])).isfinite()


def test_random_weights_are_the_mean_in_expectation():
    f = scalarisation("rlw", 3)
    draws = f(L.expand(20_000, 3), generator=seeded(1))
    assert draws.mean().item() == pytest.approx(L.mean().item(), abs=0.005)
    assert draws.std() > 0.05
    assert torch.equal(f(L, generator=seeded(4)), f(L, generator=seeded(4)))


# ----------------------------------------------------------------------------------------------- where the optima lie


def front(x):
    """A convex front of two losses: l = (x^2, (1 - x)^2) + 0.01, x free; both above 0."""
    return torch.stack([x**2, (1 - x) ** 2], -1) + 0.01


def best(f, w):
    x = torch.linspace(-0.5, 1.5, 200_001, dtype=torch.float64)
    return front(x[f(front(x), w.expand(len(x), 2)).argmin()])


@pytest.mark.parametrize("w", [(0.5, 0.5), (0.2, 0.8), (0.9, 0.1)])
def test_what_a_preference_means(w):
    """Importance: w is normal to the front. Balance: the losses lie along 1/w. Direction: along w."""
    w = torch.tensor(w).double()
    x = (1 - w[0]).item()
    torch.testing.assert_close(best(scalarisation("linear", 2), w), front(torch.tensor(x).double()), atol=1e-4, rtol=0)
    balanced = best(scalarisation("chebyshev", 2), w)
    assert (w * balanced)[0].item() == pytest.approx((w * balanced)[1].item(), abs=1e-4)
    smooth = best(scalarisation("smooth-chebyshev", 2, mu=1e-4), w)
    torch.testing.assert_close(smooth, balanced, atol=2e-3, rtol=0)
    for name, params in (("pbi", {"theta": 50.0}), ("cosmos", {"penalty": 100.0})):
        aligned = best(scalarisation(name, 2, **params), w)
        cosine = (aligned @ w / aligned.norm() / w.norm()).item()
        assert cosine > 1 - 1e-4, name


def test_chebyshev_descent_reaches_the_balance():
    """Subgradient steps with coefficient w on the active objective end where w_k l_k are equal."""
    x, w = torch.tensor(0.9, dtype=torch.float64, requires_grad=True), torch.tensor([0.25, 0.75]).double()
    f = scalarisation("chebyshev", 2)
    optimiser = torch.optim.SGD([x], lr=0.5)
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 0.5 / (1 + step / 5)
        optimiser.zero_grad()
        f(front(x), w).backward()
        optimiser.step()
    reached = w * front(x).detach()
    assert reached[0].item() == pytest.approx(reached[1].item(), abs=2e-3)


# ------------------------------------------------------------------------------------------------------- adaptive ones


def test_uncertainty_weighting_is_log_linear_at_its_best():
    f = scalarisation("uw", 3, start=-0.5)
    assert f.log_variance.tolist() == [-0.5] * 3
    optimiser = torch.optim.LBFGS(f.parameters(), max_iter=100)

    def closure():
        optimiser.zero_grad()
        loss = f(L.float())
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(f.log_variance.detach(), L.float().log(), atol=1e-3, rtol=0)
    assert f(L.float()).item() == pytest.approx(0.5 * (3 + L.log().sum().item()), abs=1e-4)


def test_dwa_by_hand():
    """Windows of two steps. Means (1, 4), then (.5, 3): ratios .5 and .75; weights 2 softmax(ratio / 2)."""
    f = scalarisation("dwa", 2, window=2)
    for losses in ([1.5, 3.0], [0.5, 5.0], [0.25, 2.0]):
        f.update(torch.tensor(losses))
        assert f.weights().tolist() == [1, 1]
    f.update(torch.tensor([0.75, 4.0]))
    a, b = math.exp(0.25), math.exp(0.375)
    assert f.weights().tolist() == pytest.approx([2 * a / (a + b), 2 * b / (a + b)])
    assert f(torch.tensor([1.0, 0.0])).item() == pytest.approx(2 * a / (a + b))
    f.update(torch.tensor([9.0, 9.0]))
    assert f.weights().tolist() == pytest.approx([2 * a / (a + b), 2 * b / (a + b)])  # until the window is full


def test_famo_moves_as_adam_does():
    f = scalarisation("famo", 3, lower=[0.0, 0.1, 0.0], decay=1e-2)
    v = torch.zeros(3, requires_grad=True)
    adam = torch.optim.Adam([v], lr=0.025, weight_decay=1e-2)
    for step in range(30):
        before, after = inputs(f, seed=step)[0].float() + 0.2, inputs(f, seed=step + 100)[0].float() + 0.2
        f.update(before, after=after)
        b = torch.tensor([0.0, 0.1, 0.0])
        delta = torch.log(before - b + 1e-8) - torch.log(after - b + 1e-8)
        adam.zero_grad()
        (torch.softmax(v, -1) * delta).sum().backward()
        adam.step()
        torch.testing.assert_close(f.logits, v.detach(), atol=1e-5, rtol=1e-4)
    with pytest.raises(InputError, match="after"):
        f.update(before)


def test_famo_balances_the_rates():
    """One loss falls slowly: learning weights brings the two decreases of log l closer than constant weights do."""

    def decrease(lr):
        f = scalarisation("famo", 2, lr=lr)
        x = torch.ones(2, dtype=torch.float64, requires_grad=True)
        for _ in range(200):
            losses = x**2 ** torch.tensor([1.0, -1.0])  # x_1^2 and the root of x_2
            (step,) = torch.autograd.grad(f(losses), x)
            with torch.no_grad():
                x -= 0.002 * step
                f.update(losses.float().detach(), after=(x**2 ** torch.tensor([1.0, -1.0])).float())
        return -losses.detach().log()

    constant, learned = decrease(0.0), decrease(0.1)
    assert (constant[0] - constant[1]) > 1.5 * (learned[0] - learned[1]).abs() and learned[1] > constant[1]


def test_epsilon_constraint_by_hand():
    f = scalarisation("epsilon-constraint", 3, bounds=[0.5, 2.0], mu=10.0)
    losses = torch.tensor([1.0, 0.6, 1.0])
    assert coefficients(f, losses).tolist() == pytest.approx([1 / 3, 2 / 3, 0])  # 10 (.6 / .5 - 1) = 2
    f.update(losses)
    assert coefficients(f, losses).tolist() == pytest.approx([1 / 5, 4 / 5, 0])  # grows while broken
    assert coefficients(f, torch.tensor([1.0, 0.4, 1.0])).tolist() == [1, 0, 0]  # dropped when kept
    f.update(torch.tensor([1.0, 0.4, 3.0]))
    assert f.multipliers.tolist() == pytest.approx([0, 0, 5])


@pytest.mark.parametrize(("main", "bound"), [(0, 0.3), (1, 0.15)])
def test_epsilon_constraint_reaches_its_bound(main, bound):
    """Descent on the front: the bounded loss settles near its bound, the main one as low as that allows."""
    f = scalarisation("epsilon-constraint", 2, bounds=[bound], main=main, mu=1.0)
    x = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    path = []
    for _ in range(1500):
        losses = front(x)
        (step,) = torch.autograd.grad(f(losses), x)
        with torch.no_grad():
            x -= 0.005 * step
        f.update(losses.float())
        path.append(losses.detach()[1 - main].item())
    assert np.mean(path[-500:]) == pytest.approx(bound, abs=0.02)


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: scalarisation("chebychev", 2), "Did you mean 'chebyshev'"),
        (lambda: scalarisation("pbi", 2, tetha=1.0), "Did you mean 'theta'"),
        (lambda: scalarisation("linear", 2, mu=1.0), "no parameters"),
        (lambda: scalarisation("linear", 0), "at least 1"),
        (lambda: scalarisation("smooth-chebyshev", 2, mu=0.0), "above 0"),
        (lambda: scalarisation("smooth-chebyshev", 2, mu=float("nan")), "above 0"),
        (lambda: scalarisation("cosmos", 2, penalty=-1.0), "at least 0"),
        (lambda: scalarisation("chebyshev", 2, ideal=[0.0]), "[2]"),
        (lambda: scalarisation("chebyshev", 2, ideal="low"), "does not take"),
        (lambda: scalarisation("dwa", 2, window=0), "at least 1"),
        (lambda: scalarisation("famo", 2, lower=[0.0]), "[2]"),
        (lambda: scalarisation("epsilon-constraint", 3), "needs bounds"),
        (lambda: scalarisation("epsilon-constraint", 3, bounds=[0.5]), "2 numbers above 0"),
        (lambda: scalarisation("epsilon-constraint", 2, bounds=[0.0]), "above 0"),
        (lambda: scalarisation("epsilon-constraint", 2, bounds=[1.0], main=2), "0 to 1"),
        (lambda: scalarisation("linear", 2)(torch.ones(3), torch.ones(3) / 3), "[..., 2]"),
    ],
)
def test_errors(call, says):
    with pytest.raises(InputError) as caught:
        call()
    assert says in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- witness


def torchjd():
    return pytest.importorskip("torchjd.scalarization", reason="torchjd is not installed (extra [jd])")


def test_equals_torchjd():
    jd = torchjd()
    for seed in range(20):
        losses, w = inputs(scalarisation("linear", 3), seed=seed)
        ideal = [0.01, 0.02, 0.03]
        zeta = torch.tensor(ideal).double()
        pairs = [
            (scalarisation("cosmos", 3, penalty=0.7), jd.COSMOS(0.7, w)),
            (scalarisation("pbi", 3, theta=2.0, ideal=ideal), jd.PBI(2.0, w, zeta)),
            (scalarisation("smooth-chebyshev", 3, mu=0.2, ideal=ideal), jd.STCH(0.2, w, zeta)),
        ]
        for ours, theirs in pairs:
            x, y = losses.clone().requires_grad_(), losses.clone().requires_grad_()
            a, b = ours(x, w), theirs(y)
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
            torch.testing.assert_close(*torch.autograd.grad(a + b, (x, y)), rtol=1e-6, atol=1e-9)


def test_adaptive_ones_equal_torchjd():
    jd = torchjd()
    famo, famo_jd = scalarisation("famo", 3), jd.FAMO(3)
    dwa, dwa_jd = scalarisation("dwa", 3, window=4), jd.DWA()
    uw, uw_jd = scalarisation("uw", 3), jd.UW(3)
    for step in range(24):
        losses, after = (inputs(famo, seed=step + shift)[0].float() for shift in (0, 1000))
        torch.testing.assert_close(famo(losses), famo_jd(losses), rtol=1e-5, atol=1e-6)
        famo.update(losses, after=after)
        famo_jd.update(after)
        torch.testing.assert_close(famo.logits, famo_jd._w.detach(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(dwa(losses), dwa_jd(losses), rtol=1e-5, atol=1e-6)
        dwa.update(losses)
        if step % 4 == 3:
            dwa_jd.step()
        torch.testing.assert_close(uw(losses), uw_jd(losses))
