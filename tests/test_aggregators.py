"""Aggregators: theorems, claims for the whole catalogue, grids, general solvers and TorchJD as witnesses, spaces."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from scipy.optimize import LinearConstraint, minimize

from ltr.errors import InputError
from ltr.objectives import AGGREGATORS, aggregator, backward, gramian_of, lattice, solvers
from ltr.objectives.multi_backward import separate_gradients
from ltr.objectives.preference_aggregators import nonuniformity

NAMES = AGGREGATORS.names()
GRAM = [n for n in NAMES if not AGGREGATORS[n].claims.get("direction")]
STATELESS = [n for n in GRAM if not AGGREGATORS[n].claims.get("stateful")]
BATCHED = [n for n in STATELESS if n != "epo"]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def jacobians(m=3) -> dict[str, torch.Tensor]:
    """Gradients `[m, n]` by what is special about them."""
    J = normal(m, 8, seed=m)
    twice = J.clone()
    twice[1] = twice[0]
    opposite = J.clone()
    opposite[1] = -opposite[0]
    zero = J.clone()
    zero[0] = 0
    nearly = twice.clone()
    nearly[1] += 1e-6 * normal(8, seed=9)
    return {
        "ordinary": J,
        "orthogonal": torch.eye(m, 8).double() * torch.arange(1, m + 1).double().unsqueeze(-1),
        "agreeing": J.abs(),
        "conflicting": J - 1.2 * J.mean(0),
        "duplicates": twice,
        "all equal": J[:1].expand(m, 8).clone(),
        "opposite": opposite,
        "one zero": zero,
        "all zero": torch.zeros(m, 8).double(),
        "nearly equal": nearly,
        "tiny": 1e-8 * J,
        "huge": 1e8 * J,
        "unlike lengths": J * (10.0 ** torch.arange(m) / 10).unsqueeze(-1).double(),
        "few coordinates": torch.cat([normal(m, 2, seed=4), torch.zeros(m, 6).double()], 1),
    }


CASES = list(jacobians())


def losses_of(m=3, seed=0):
    return 0.1 + torch.rand(m, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def preference_of(f, m=3, seed=0):
    if f.entry.claims["preference"] != "steers":
        return None
    w = 0.1 + torch.rand(m, generator=torch.Generator().manual_seed(seed + 50), dtype=torch.float64)
    return w / w.sum()


def solve(f, J, losses=None, preference=None, seed=0):
    """Coefficients and the step; a fresh copy of a stateful one, so that calls do not depend on each other."""
    f = copy.deepcopy(f)
    losses = losses_of(len(J)) if losses is None else losses
    preference = preference_of(f, len(J)) if preference is None else preference
    generator = torch.Generator().manual_seed(seed)
    if f.makes_direction:
        return None, f(J, preference=preference, generator=generator)
    a = f(J @ J.mT, losses=losses, preference=preference, generator=generator)
    return a, a @ J


# ------------------------------------------------------------------------------------------- what holds for every one


@pytest.mark.parametrize("name", NAMES)
def test_every_case_gives_numbers(name):
    """Zero, equal, opposite, tiny and huge gradients: finite coefficients, and a finite step."""
    for m in (1, 2, 3, 5, 6):
        f = aggregator(name, m)
        for case, J in jacobians(m).items() if m > 1 else {"one": normal(1, 8)}.items():
            a, d = solve(f, J)
            assert d.isfinite().all() and (a is None or (a.shape == (m,) and a.dtype == torch.float64)), (m, case)


@pytest.mark.parametrize("name", GRAM)
def test_one_objective_is_plain_descent(name):
    J = normal(1, 8)
    d = solve(aggregator(name, 1), J)[1]
    assert (d @ J[0] / d.norm() / J.norm()).item() == pytest.approx(1)


@pytest.mark.parametrize("name", GRAM)
def test_gradients_that_agree_wholly_are_followed(name):
    """m copies of one gradient: the step is a positive multiple of it."""
    d = solve(aggregator(name, 3), jacobians()["all equal"])[1]
    g = jacobians()["all equal"][0]
    assert (d @ g / d.norm() / g.norm()).item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", GRAM)
def test_an_objective_without_a_gradient_is_left_out(name):
    """One that is blank on the whole batch: the step is that of the task without it, alone and in a batch of steps; a
    preference that gives it weight loses that weight only where the rule is the weighted sum."""
    J, losses, f = jacobians()["conflicting"], losses_of(), aggregator(name, 3)
    J, w = torch.stack([J[0], 0 * J[1], J[2]]), torch.tensor([0.2, 0.5, 0.3]).double()
    rest = torch.tensor([0, 2])
    steers = f.entry.claims["preference"] == "steers"
    given = [w] if steers else [None, w]
    for preference in given:
        alone = None if preference is None else w[rest] / w[rest].sum()
        scale = 1.0
        if f.entry.claims["preference"] == "scales" and preference is not None:
            alone = w[rest]  # factors of the losses
        if name == "linear":
            scale = 0.5 if preference is not None else 2 / 3
        a = solve(f, J, losses, preference)[0] if preference is not None or not steers else None
        expected = solve(aggregator(name, 2), J[rest], losses[rest], alone)[0]
        torch.testing.assert_close(a[rest], scale * expected, rtol=1e-6, atol=1e-9)
        assert name == "linear" or a[1] == 0
    if not f.entry.claims.get("stateful") and name not in ("epo", "pcgrad"):
        whole = jacobians()["conflicting"]
        both = torch.stack([J @ J.mT, whole @ whole.mT])
        batch = f(both, losses=losses.expand(2, 3), preference=w if steers else None)
        for row, M in zip(batch, both, strict=True):
            torch.testing.assert_close(row, f(M, losses=losses, preference=w if steers else None))


@pytest.mark.parametrize("name", NAMES)
def test_order_of_objectives_is_nothing(name):
    """The step stays when objectives change places (the coefficients may differ between duplicates)."""
    f = aggregator(name, 3)
    shuffle = torch.tensor([2, 0, 1])
    for case, J in jacobians().items():
        if name == "pcgrad" and case not in ("agreeing", "orthogonal"):
            continue  # its orders are drawn by place: equal in distribution only, see the test of its own
        losses, w = losses_of(), preference_of(f)
        d = solve(f, J, losses, w)[1]
        other = solve(f, J[shuffle], losses[shuffle], None if w is None else w[shuffle])[1]
        size = J.norm(dim=1).max()
        loose = case in ("nearly equal", "few coordinates") or name == "nash-mtl" and case == "opposite"
        if name == "epo" or loose:  # many solutions at a corner of a linear program, or to 1e-6 of a singular system
            continue
        torch.testing.assert_close(other, d, rtol=1e-6, atol=1e-7 * size.item(), msg=lambda m, c=case: f"{c}: {m}")


@pytest.mark.parametrize("name", GRAM)
def test_a_common_factor_changes_no_coefficient(name):
    """Gradient scalers and the unit of the losses: M and c^2 M give the same a."""
    f = aggregator(name, 3)
    J = jacobians()["ordinary"]
    a = solve(f, J)[0]
    for factor in (1e-6, 65536.0):
        torch.testing.assert_close(solve(f, factor * J)[0], a, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", BATCHED)
def test_leading_axes_are_batches(name):
    f = aggregator(name, 3)
    J = torch.stack([J for c, J in jacobians().items() if c not in ("nearly equal", "opposite")])
    G = J @ J.mT
    losses = losses_of().expand(len(J), 3)
    if f.entry.claims.get("stochastic"):
        batch = f(G.reshape(2, -1, 3, 3), losses=losses.reshape(2, -1, 3), generator=torch.Generator().manual_seed(0))
        assert batch.shape == (2, len(J) // 2, 3)
        return
    alone = torch.stack([f(g, losses=losses[0]) for g in G])
    batch = f(G.reshape(2, -1, 3, 3), losses=losses.reshape(2, -1, 3)).reshape(-1, 3)
    torch.testing.assert_close(batch @ J.flatten(0, 1).new_ones(3), alone.sum(-1), rtol=1e-6, atol=1e-9)
    for k in range(len(J)):
        torch.testing.assert_close(batch[k] @ J[k], alone[k] @ J[k], rtol=1e-6, atol=1e-9 * J[k].norm().item())


@pytest.mark.parametrize("name", NAMES)
def test_nan_in_nan_out(name):
    """A gradient that is no number never becomes a step that is one, nor spoils the next."""
    f = aggregator(name, 3)
    J = jacobians()["ordinary"]
    w = preference_of(f)
    for bad in (math.nan, math.inf):
        broken = J.clone()
        broken[1, 2] = bad
        given = broken if f.makes_direction else broken @ broken.mT
        state = copy.deepcopy(f.state_dict())
        out = f(given, losses=losses_of(), preference=w, generator=torch.Generator().manual_seed(0))
        assert out.isnan().all()
        assert all(torch.equal(v, state[k]) for k, v in f.state_dict().items())
    assert solve(f, J)[1].isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_inputs_and_the_global_generator_stay(name):
    f = aggregator(name, 3)
    J = jacobians()["ordinary"]
    G, losses, w = J if f.makes_direction else J @ J.mT, losses_of(), preference_of(f)
    kept, state = [t.clone() for t in (G, losses)], torch.get_rng_state()
    first, second = (
        copy.deepcopy(f)(G, losses=losses, preference=w, generator=torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), state)
    assert torch.equal(G, kept[0]) and torch.equal(losses, kept[1])


@pytest.mark.parametrize("name", NAMES)
def test_the_device_changes_nothing(name, device):
    """On an accelerator (LTR_TEST_DEVICE) as on the CPU; state moves with the module, draws come from any generator."""
    J, losses = jacobians()["conflicting"], losses_of()
    f = aggregator(name, 3)
    w = preference_of(f)
    G = J if f.makes_direction else J @ J.mT
    expected = copy.deepcopy(f)(G, losses=losses, preference=w, generator=torch.Generator().manual_seed(0))
    f, w = f.to(device), None if w is None else w.to(device)
    out = f(G.to(device), losses=losses.to(device), preference=w, generator=torch.Generator().manual_seed(0))
    assert out.device.type == torch.device(device).type
    torch.testing.assert_close(out.cpu(), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
def test_preference_rule(name):
    """Steered ones need it; "scales" is the same as losses multiplied beforehand; "optional" equals 1/m at equal w."""
    f = aggregator(name, 3)
    J, losses, w = jacobians()["ordinary"], losses_of(), torch.tensor([0.2, 0.3, 0.5]).double()
    rule = f.entry.claims["preference"]
    if rule == "steers":
        with pytest.raises(InputError, match="needs a preference"):
            f(J @ J.mT, losses=losses)
        assert f.entry.claims["means"] == "balance"
    elif rule == "scales":
        steered, by_hand = solve(f, J, losses, w)[1], solve(f, w.unsqueeze(-1) * J, w * losses)[1]
        torch.testing.assert_close(steered, by_hand)
    else:
        assert rule == "optional" and f.entry.claims["means"] == "importance"
        equal = torch.full((3,), 1 / 3).double()
        torch.testing.assert_close(solve(f, J, losses, equal)[1], solve(f, J, losses)[1])
        orthogonal = jacobians()["orthogonal"]  # nothing to resolve: importance decides
        assert not torch.allclose(solve(f, orthogonal, losses, w)[1], solve(f, orthogonal, losses)[1])


# ------------------------------------------------------------------------------------------------------------- claims


def many(m=3, count=60):
    for seed in range(count):
        n = 2 + seed % 7
        yield normal(m, n, seed=seed) + (seed % 3 - 1) * 0.5


@pytest.mark.parametrize("name", GRAM)
def test_simplex(name):
    f = aggregator(name, 3)
    inside = all(
        (a := solve(f, J)[0]).min() >= -1e-12 and abs(a.sum() - 1) < 1e-9 for J in [*many(), *jacobians().values()]
    )
    assert inside == f.entry.claims.get("simplex", False)


@pytest.mark.parametrize("name", NAMES)
def test_conflict_free(name):
    """No objective gets worse to first order; who does not claim it has a case where one does."""
    f, worst = aggregator(name, 3), 0.0
    cases = [J for J in [*many(), *jacobians().values()]]
    if name == "nash-mtl":  # where gradients cancel there is no solution
        cases = [J for J in cases if solvers.min_norm(J @ J.mT) @ J @ J.mT @ solvers.min_norm(J @ J.mT) > 1e-6]
    for J in cases:
        d = solve(f, J)[1]
        worst = max(worst, (-(J @ d) / (J.norm(dim=1) * d.norm() + 1e-30)).max().item() if d.norm() > 1e-7 else 0.0)
    if f.entry.claims.get("conflict_free"):
        assert worst < 1e-6, worst
    elif name != "epo":  # its balance may raise an objective that is too good, and its descent none
        assert worst > 1e-3


@pytest.mark.parametrize("name", GRAM)
def test_scale_free(name):
    f = aggregator(name, 3, **({"least": 1.0} if name == "wc-mgda" else {}))  # where its Gramian has a say
    unit, worst = torch.tensor([[1.0], [100.0], [0.01]]).double(), 0.0
    for seed in range(40):
        J = normal(3, 5, seed=seed)
        d, other = solve(f, J)[1], solve(f, unit * J)[1]
        worst = max(worst, (d / d.norm() - other / other.norm()).abs().max().item())
    assert (worst < 1e-5) == f.entry.claims.get("scale_free", False), worst


@pytest.mark.parametrize("name", [n for n in NAMES if AGGREGATORS[n].claims.get("stateful")])
def test_state_continues_and_starts_anew(name):
    """A second run of a process does not know the first; a checkpoint continues exactly."""
    f = aggregator(name, 3)
    w, outs = preference_of(f) if name != "sdmgrad" else None, []
    for step in range(6):
        J = normal(3, 8, seed=step)
        if step == 3:
            saved = copy.deepcopy(f.state_dict())
        outs.append(f(J @ J.mT, losses=losses_of(seed=step), preference=w))
    again = aggregator(name, 3)
    J = normal(3, 8, seed=0)
    assert torch.equal(again(J @ J.mT, losses=losses_of(seed=0), preference=w), outs[0])
    again.load_state_dict(saved)
    for step in range(3, 6):
        J = normal(3, 8, seed=step)
        assert torch.equal(again(J @ J.mT, losses=losses_of(seed=step), preference=w), outs[step])


def test_every_entry_says_where_it_is_from():
    known = {
        "preference",
        "means",
        "simplex",
        "conflict_free",
        "scale_free",
        "needs_losses",
        "direction",
        "stochastic",
        "stateful",
    }
    for entry in AGGREGATORS:
        assert entry.formula and entry.source and set(entry.claims) <= known, entry.name


# ----------------------------------------------------------------------------------------------------------- min norm


@pytest.mark.parametrize("m", [2, 3, 5, 6])
def test_min_norm_satisfies_its_conditions(m):
    """g_k . d >= |d|^2, with equality where a_k > 0: necessary and sufficient, degenerate cases included."""
    cases = [*jacobians(m).values(), *many(m)]
    for J in cases:
        J = J / J.norm(dim=1).max().clamp(min=1e-300)
        a = solvers.min_norm(J @ J.mT)
        slack = J @ (a @ J) - (a @ J).square().sum()
        assert a.min() >= 0 and a.sum().item() == pytest.approx(1)
        assert slack.min() > -1e-9 and (a * slack).abs().max() < 1e-9


def test_min_norm_of_two_in_closed_form():
    for J in many(2):
        g, h = J
        t = ((h - g) @ h / (h - g).square().sum()).clamp(0, 1)
        torch.testing.assert_close(solvers.min_norm(J @ J.mT), torch.stack([t, 1 - t]))


def test_min_norm_beats_a_grid():
    grid = torch.as_tensor(lattice(3, 200))
    for J in many(3, 25):
        G = J @ J.mT
        a = solvers.min_norm(G)
        best = ((grid @ G) * grid).sum(-1).min()
        assert a @ G @ a <= best + 1e-12 and best - a @ G @ a < 0.05 * G.diagonal().max()


def test_mgda_is_zero_exactly_where_pareto_stationary():
    """Gradients whose hull holds 0, by construction: the step is 0."""
    for seed in range(20):
        J = normal(4, 8, seed=seed)
        w = torch.rand(4, generator=torch.Generator().manual_seed(seed)).double() + 0.1
        J[3] = -(w[:3] @ J[:3]) / w[3]
        assert solve(aggregator("mgda", 4), J)[1].norm() < 1e-7


def test_mgda_normalised():
    """ "l2" is scale-free; d is the shortest vector between the normalised gradients, whatever the divisor."""
    J, losses = jacobians()["unlike lengths"], losses_of()
    norms = J.norm(dim=1)
    for name, divisor in (("l2", norms), ("loss", losses), ("loss+", norms * losses)):
        f = aggregator("mgda", 3, normalise=name)
        d = solve(f, J, losses)[1]
        torch.testing.assert_close(d, solve(aggregator("mgda", 3), J / divisor.unsqueeze(-1))[1])
        assert (J @ d).min() > 0
    with pytest.raises(InputError, match="looks at the losses"):
        aggregator("mgda", 3, normalise="loss")(J @ J.mT)


# ---------------------------------------------------------------------------------------------------------- dual cone


@pytest.mark.parametrize("m", [1, 2, 3, 6])
def test_dual_cone_is_the_projection(m):
    """Optimality of min |J^T v|^2 over v >= u: v >= u, G v >= 0, and both never loose at once."""
    for J in [*many(m), *(jacobians(m).values() if m > 1 else [])]:
        J = J / J.norm(dim=1).max().clamp(min=1e-300)
        G = J @ J.mT
        U = torch.cat([torch.eye(m).double(), normal(2, m, seed=m)])
        v = solvers.dual_cone(G, U)
        slope = v @ G
        assert (v - U).min() > -1e-9 and slope.min() > -1e-8 and ((v - U) * slope).abs().max() < 1e-8


def test_dual_cone_against_a_general_solver():
    for J in many(3, 12):
        G, u = (J @ J.mT).numpy(), np.array([0.2, 0.3, 0.5])
        found = minimize(
            lambda v, G=G: v @ G @ v, u, jac=lambda v, G=G: 2 * G @ v, bounds=[(x, None) for x in u], tol=1e-14
        )
        v = solvers.dual_cone(torch.as_tensor(G), torch.as_tensor(u)[None])[0].numpy()
        assert v @ G @ v <= found.fun + 1e-9
        np.testing.assert_allclose((v - found.x) @ G @ (v - found.x), 0, atol=1e-5)


def test_upgrad_and_dualproj_leave_harmony_alone():
    J, w = jacobians()["agreeing"], torch.tensor([0.2, 0.3, 0.5]).double()
    for name in ("upgrad", "dualproj"):
        torch.testing.assert_close(solve(aggregator(name, 3), J, preference=w)[0], w)
    # With one conflict between two gradients, each of both is projected off the other.
    J = torch.tensor([[1.0, 0.0], [-1.0, 1.0]]).double()
    assert solve(aggregator("upgrad", 2), J)[0].tolist() == pytest.approx([1.0, 0.75])  # (e1 + .5 e2 + e2 + e1) / 2


# ----------------------------------------------------------------------------------------------------- PCGrad, CAGrad


def test_pcgrad_of_two_in_closed_form():
    """a_1 = 1 - min(0, g.h) / |g|^2, the others alike."""
    for J in many(2):
        g, h = J
        product = (g @ h).clamp(max=0)
        expected = torch.stack([1 - product / g.square().sum(), 1 - product / h.square().sum()])
        torch.testing.assert_close(solve(aggregator("pcgrad", 2), J)[0], expected)


def test_pcgrad_follows_the_algorithm_for_every_order():
    """m = 3: the literal algorithm under all 8 orders; ours draws each of them, and nothing else."""
    J = jacobians()["conflicting"]

    def literal(orders):
        out = torch.zeros(8).double()
        for i, order in enumerate(orders):
            g = J[i].clone()
            for j in order:
                product = g @ J[j]
                if product < 0:
                    g = g - product / J[j].square().sum() * J[j]
            out += g
        return out

    expected = [literal([a, b, c]) for a in ((1, 2), (2, 1)) for b in ((0, 2), (2, 0)) for c in ((0, 1), (1, 0))]
    seen = set()
    for seed in range(80):
        d = solve(aggregator("pcgrad", 3), J, seed=seed)[1]
        near = [k for k, e in enumerate(expected) if (d - e).norm() < 1e-9]
        assert near
        seen.add(near[0])
    assert len(seen) == len({tuple(e.round(decimals=9).tolist()) for e in expected}) > 1


@pytest.mark.parametrize("c", [0.0, 0.4, 0.9, 2.0])
def test_cagrad_against_a_grid(c):
    """The inner problem is solved at least as well as by the best of 20,301 points, and the step obeys its radius."""
    grid = torch.as_tensor(lattice(3, 200))
    for J in [*many(3, 20), *(jacobians()[k] for k in ("conflicting", "duplicates", "opposite", "few coordinates"))]:
        G = J @ J.mT
        mean = G.mean(-1)
        weight = c * J.mean(0).norm()

        def value(w, G=G, mean=mean, weight=weight):
            return w @ mean + weight * ((w @ G) * w).sum(-1).clamp(min=0).sqrt()

        w = solvers.cone_on_simplex(G, mean, weight)
        assert w.min() >= 0 and w.sum().item() == pytest.approx(1)
        assert value(w) <= value(grid).min() + 1e-7
        d = solve(aggregator("cagrad", 3, c=c), J)[1] * (1 + c * c)
        distance = (d - J.mean(0)).norm().item()
        assert distance == pytest.approx(weight.item(), rel=1e-6, abs=1e-6) or distance < 1e-9


def test_cagrad_maximises_the_worst_gain_in_its_ball():
    """Strong duality: min_k g_k . d of our d equals the dual value, and no random d in the ball does better."""
    for J in many(3, 10):
        c, g0 = 0.5, J.mean(0)
        d = solve(aggregator("cagrad", 3, c=c), J)[1] * (1 + c * c)
        if (d - g0).norm() < 1e-9:
            continue
        worst = (J @ d).min()
        z = normal(4000, J.shape[1], seed=1)
        others = g0 + c * g0.norm() * z / z.norm(dim=1, keepdim=True)
        assert worst >= (others @ J.mT).min(-1).values.max() - 1e-6
        w = solvers.cone_on_simplex(J @ J.mT, J @ g0, c * g0.norm())
        assert worst.item() == pytest.approx((w @ J @ g0 + c * g0.norm() * (w @ J).norm()).item(), abs=1e-6)


def test_cone_on_simplex_against_a_general_solver():
    rng = np.random.default_rng(0)
    for m in (2, 4, 6):
        for J in many(m, 8):
            G, b, c = (J @ J.mT).numpy(), rng.normal(size=m), rng.uniform(0, 3)

            def value(a, G=G, b=b, c=c):
                return b @ a + c * np.sqrt(max(a @ G @ a, 0))

            ours = solvers.cone_on_simplex(torch.as_tensor(G), torch.as_tensor(b), c).numpy()
            starts = [np.full(m, 1 / m), *np.eye(m)[:2] * 0.9 + 0.1 / m]
            theirs = min(
                minimize(
                    value, s, bounds=[(0, 1)] * m, constraints=LinearConstraint(np.ones(m), 1, 1), method="SLSQP"
                ).fun
                for s in starts
            )
            assert value(ours) <= theirs + 1e-7


# -------------------------------------------------------------------------------------- Nash-MTL, IMTL-G, Aligned-MTL


@pytest.mark.parametrize("m", [2, 3, 5])
def test_nash_conditions(m):
    """(M / |M|) a = 1 / a with a > 0, so that a_k g_k . d is the same for all and |d|^2 = m |M|."""
    for J in [normal(m, 12, seed=s) for s in range(40)] + [jacobians(m)["unlike lengths"], jacobians(m)["duplicates"]]:
        M = J @ J.mT
        a, d = solve(aggregator("nash-mtl", m), J)
        assert (a > 0).all()
        size = torch.linalg.matrix_norm(M)
        torch.testing.assert_close(a * (M @ a), size.expand(m), rtol=1e-5, atol=0)
        assert d.square().sum().item() == pytest.approx(m * size.item(), rel=1e-5)


def test_nash_of_strong_conflict():
    """Correlation -0.9999: solved in the same number of steps; and by hand for m = 2."""
    for rho in (0.0, -0.9, -0.9999):
        a = solvers.nash(torch.tensor([[1.0, rho], [rho, 1.0]]).double())
        assert a.tolist() == pytest.approx([(1 + rho) ** -0.5] * 2, rel=1e-3)


def test_imtl_g_has_equal_projections():
    """d . g_k / |g_k| is one number for all k, and the coefficients sum to 1."""
    for J in [*(normal(4, 12, seed=s) for s in range(30)), jacobians(4)["unlike lengths"], jacobians(4)["duplicates"]]:
        a, d = solve(aggregator("imtl-g", 4), J)
        projections = J @ d / J.norm(dim=1)
        torch.testing.assert_close(projections, projections[:1].expand(4), rtol=1e-6, atol=1e-9)
        assert a.sum().item() == pytest.approx(1)


def test_imtl_g_may_turn_round():
    """The trap its page states. Three unit gradients at an obtuse triangle: the one at its wide corner needs a negative
    coefficient, and being short a large one. The sum is negative, and the published step goes uphill for everyone."""
    angles = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.2]]).double()
    unit = torch.stack([angles[:, 0].sin(), angles[:, 1].sin(), angles[:, 0].cos() * angles[:, 1].cos()], 1)
    unit = unit / unit.norm(dim=1, keepdim=True)
    even = solve(aggregator("imtl-g", 3), unit)
    uneven = solve(aggregator("imtl-g", 3), unit * torch.tensor([[1.0], [1.0], [0.01]]).double())
    assert even[0][2] < 0 and (unit @ even[1] > 0).all()
    assert (unit @ uneven[1] < 0).all()


def test_aligned_mtl_steps_along_orthogonal_gradients():
    """B M B = lambda_min I: the gradients it sums are orthogonal and of equal length."""
    for seed in range(20):
        J = normal(3, 8, seed=seed)
        M = J @ J.mT
        B = torch.stack([solve(aggregator("aligned-mtl", 3), J, preference=e)[0] for e in torch.eye(3).double()], 1)
        least = torch.linalg.eigvalsh(M)[0]
        torch.testing.assert_close(B @ M @ B, least * torch.eye(3).double(), atol=1e-9, rtol=1e-7)


# -------------------------------------------------------------------------------------------------- GradDrop, SDMGrad


def test_graddrop_keeps_one_sign_a_coordinate():
    J = jacobians()["ordinary"]
    f = aggregator("graddrop", 3)
    up, down = J.clamp(min=0).sum(0), J.clamp(max=0).sum(0)
    draws = torch.stack([solve(f, J, seed=s)[1] for s in range(3000)])
    is_up = (draws - up).abs() < 1e-12
    assert (is_up | ((draws - down).abs() < 1e-12)).all()
    chance = 0.5 * (1 + J.sum(0) / J.abs().sum(0))
    sure = (up == 0) | (down == 0)
    torch.testing.assert_close(is_up.double().mean(0)[~sure], chance[~sure], atol=0.04, rtol=0)
    assert (draws[:, sure] == J.sum(0)[sure]).all()
    torch.testing.assert_close(solve(aggregator("graddrop", 3, leak=1.0), J)[1], J.sum(0))


def test_sdmgrad_converges_to_its_problem():
    """Many small steps on one M end at argmin |J^T a + lambda J^T u|^2 over the simplex, found here on a grid."""
    grid = torch.as_tensor(lattice(3, 200))
    for seed in range(5):
        J = normal(3, 8, seed=seed)
        f = aggregator("sdmgrad", 3, pull=0.3, lr=0.2)
        for _ in range(40):
            out = f(J @ J.mT)
        shifted = grid + 0.3 / 3
        values = ((shifted @ J @ J.mT) * shifted).sum(-1)
        a = out * 1.3 - 0.1
        torch.testing.assert_close(f.weights, a)
        assert (out * 1.3) @ J @ J.mT @ (out * 1.3) <= values.min() + 1e-6


def test_sdmgrad_takes_two_batches():
    """M = J_1 J_2^T need not be symmetric."""
    J, K = normal(3, 8, seed=0), normal(3, 8, seed=1)
    out = aggregator("sdmgrad", 3)((J + 3) @ (K + 3).mT)
    assert out.isfinite().all() and out.sum().item() == pytest.approx(1)


def test_projection_onto_the_simplex():
    x = normal(200, 5) * 2
    p = solvers.onto_simplex(x)
    assert p.min() >= 0 and (p.sum(-1) - 1).abs().max() < 1e-12
    corners = torch.eye(5).double()
    # The variational inequality of a projection: (x - p) . (q - p) <= 0 for every corner q.
    assert ((x - p).unsqueeze(-2) * (corners - p.unsqueeze(-2))).sum(-1).max() < 1e-9


# ------------------------------------------------------------------------------------------------------- EPO, WC-MGDA


class Toy:
    """Two losses of x in R^n, the test problem of EPO's authors: l = 1 - exp(-|x -+ 1/sqrt(n)|^2); front not convex."""

    def __init__(self, n=6, start=0.0):
        self.x = torch.full((n,), float(start), dtype=torch.float64)
        self.x[0] += 0.1
        self.centre = torch.full((n,), n**-0.5, dtype=torch.float64)

    def losses(self, x):
        return torch.stack([1 - torch.exp(-(x - s * self.centre).square().sum()) for s in (1, -1)])

    def gradients(self):
        x = self.x.clone().requires_grad_()
        losses = self.losses(x)
        J = torch.stack([torch.autograd.grad(v, x, retain_graph=True)[0] for v in losses])
        return losses.detach(), J

    def run(self, f, w, lr, steps):
        path = []
        for _ in range(steps):
            losses, J = self.gradients()
            path.append(losses)
            self.x = self.x - lr * (f(J @ J.mT, losses=losses, preference=w) @ J)
        return torch.stack(path)


@pytest.mark.parametrize(("w", "start"), [((0.5, 0.5), 0.5), ((0.3, 0.7), -0.3), ((0.8, 0.2), 0.0)])
def test_epo_reaches_its_point(w, start):
    """From either side: first the losses move onto the ray where w_k l_k are equal, then down it to the front."""
    toy, w = Toy(start=start), torch.tensor(w).double()
    path = toy.run(aggregator("epo", 2), w, 0.1, 200)
    nu = nonuniformity(path, w)
    assert nu[-20:].mean() < 5e-3 and nu[-1] <= nu[0] + 5e-3
    losses, J = toy.gradients()
    unit = J / J.norm(dim=1, keepdim=True)
    d = solvers.min_norm(unit @ unit.mT) @ unit
    assert d.norm() < 0.15  # Pareto stationary, within the step length
    # Linear scalarisation ends at an end of this front for every w: what EPO is for.
    ends = Toy(start=start).run(aggregator("linear", 2), w, 0.1, 200)[-1]
    assert nonuniformity(ends, w) > 0.1


def test_epo_solves_its_programs():
    """Constraints hold, no point of a grid on the simplex that obeys them does better; balance lowers nu, as a rule."""
    grid, fell = torch.as_tensor(lattice(3, 60)), []
    for seed in range(60):
        J, losses = normal(3, 8, seed=seed), losses_of(seed=seed)
        w = preference_of(aggregator("epo", 3), seed=seed)
        if seed % 2:
            w = 1 / losses / (1 / losses).sum()  # on the ray
        a, d = solve(aggregator("epo", 3), J, losses, w)
        M, p, nu = J @ J.mT, w * losses / (w * losses).sum(), nonuniformity(losses, w)
        b = w * (torch.log(3 * p) - nu)
        Mb = M @ b
        if nu > 1e-4:
            low = torch.where(Mb > 0, -torch.inf, Mb)
            low[p.argmax()] = 0.0
            low = low if (Mb > 0).any() else torch.zeros(3).double()
            goal = Mb
            x = losses.clone().requires_grad_()
            (slope,) = torch.autograd.grad(nonuniformity(x, w), x)
            torch.testing.assert_close(slope * (w * losses).sum(), b)  # b is the gradient of nu
            fell.append(((J @ d) @ slope).item() > 0)
        else:
            low, goal = torch.zeros(3).double(), M.sum(0)
            grid = grid[grid @ Mb >= min(0.0, Mb.max().item())]
        assert (M @ a - low).min() > -1e-6 * M.abs().max()
        allowed = grid[((grid @ M) >= low).all(-1)]
        assert len(allowed) == 0 or (allowed @ goal).max() <= a @ goal + 1e-6 * M.abs().max()
        grid = torch.as_tensor(lattice(3, 60))
    assert len(fell) == 30 and np.mean(fell) > 0.9


def test_epo_with_a_weight_of_zero_and_no_loss():
    J = normal(3, 8)
    a = solve(aggregator("epo", 3), J, losses_of(), torch.tensor([0.5, 0.5, 0.0]).double())[0]
    assert a.isfinite().all() and a.sum().item() == pytest.approx(1)
    w = torch.tensor([0.2, 0.3, 0.5]).double()
    torch.testing.assert_close(solve(aggregator("epo", 3), J, torch.zeros(3).double(), w)[0], w)
    with pytest.raises(InputError, match="1 - NDCG"):
        solve(aggregator("epo", 3), J, -losses_of(), w)


def test_nonuniformity():
    w = torch.tensor([0.2, 0.3, 0.5]).double()
    assert nonuniformity(1 / w, w).item() == pytest.approx(0, abs=1e-15)
    assert nonuniformity(torch.tensor([1.0, 0.0, 0.0]).double(), w).item() == pytest.approx(math.log(3))


def test_wc_mgda_at_the_ends_of_its_range():
    """c large: MGDA on w_k g_k. c = 0: the worst weighted loss alone. Else: the stated problem, against a grid."""
    grid = torch.as_tensor(lattice(3, 200))
    for seed in range(10):
        J, losses = normal(3, 8, seed=seed), losses_of(seed=seed)
        w = torch.tensor([0.2, 0.3, 0.5]).double()
        a = solve(aggregator("wc-mgda", 3, least=1e5, most=1e5), J, losses, w)[0]
        shortest = solve(aggregator("mgda", 3), J, losses, w)[0]  # scales: its a include w
        torch.testing.assert_close(a, shortest / shortest.sum(), atol=1e-4, rtol=1e-3)
        a = solve(aggregator("wc-mgda", 3, least=0.0, tune=False), J, losses, w)[0]
        assert a.argmax() == (w * losses).argmax() and a.max().item() == pytest.approx(1)
        f = aggregator("wc-mgda", 3, least=0.7, tune=False, ideal=[0.01, 0.0, 0.02])
        a = solve(f, J, losses, w)[0]
        v = w / (w * losses).norm()
        K = v.unsqueeze(-1) * J
        ideal = torch.tensor([0.01, 0.0, 0.02]).double()

        def value(x, v=v, K=K, losses=losses, ideal=ideal):
            return x @ (v * (losses - ideal)) - 0.7 * (x @ K).norm(dim=-1) / K.norm()

        mine = a / v
        assert value(mine / mine.sum()) >= value(grid).max() - 1e-9


def test_wc_mgda_tunes_its_trade():
    """The least c whose value is at most the target; c = 0 would do: c stays and the target falls."""
    f, w = aggregator("wc-mgda", 2), torch.tensor([0.5, 0.5]).double()
    J = torch.tensor([[1.0, 0.2], [0.3, 1.0]]).double()
    for _ in range(2):
        f(J @ J.mT, losses=torch.tensor([1.0, 0.8]), preference=w)
        assert f.c.item() == pytest.approx(0.1)
    target = f.target.clone()
    f(J @ J.mT, losses=torch.tensor([1.1, 0.9]), preference=w)
    assert 0.1 < f.c < 10 and torch.equal(f.target, target)
    v = w / f.loss_norm
    K = v.unsqueeze(-1) * J / f.step_norm
    grid = torch.as_tensor(lattice(2, 20_000))
    reached = [(grid @ (v * torch.tensor([1.1, 0.9])) - c * (grid @ K).norm(dim=1)).max() for c in (f.c, f.c - 0.02)]
    assert reached[0] <= target + 1e-4 and reached[1] > target
    before = f.c.clone()
    f(J @ J.mT, losses=torch.tensor([0.1, 0.1]), preference=w)
    assert torch.equal(f.c, before) and f.target < target


def test_wc_mgda_reaches_its_point():
    """The smaller c, the nearer to the ray where w_k l_k are equal it stops; with c small it gets there."""
    w, nu = torch.tensor([0.35, 0.65]).double(), []
    for c in (1.0, 0.1, 0.01):
        f = aggregator("wc-mgda", 2, least=c, tune=False)
        nu.append(nonuniformity(Toy(start=0.2).run(f, w, 0.05, 400)[-40:].mean(0), w).item())
    assert nu[0] > 3 * nu[1] > 9 * nu[2] and nu[2] < 1e-3


# ------------------------------------------------------------------------------------------------------------- spaces


def scene(seed=0, m=3):
    """A small scorer of lists and one cross entropy an objective."""
    generator = torch.Generator().manual_seed(seed)
    net = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 1)).double()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    x = torch.randn(4, 6, 5, generator=generator, dtype=torch.float64)
    z = torch.randn(4, 6, m, generator=generator, dtype=torch.float64).softmax(1)
    scores = net(x).squeeze(-1)
    losses = [-(z[..., k] * scores.log_softmax(-1)).sum(-1).mean() for k in range(m)]
    return net, scores, losses


def grads(net):
    return torch.cat([p.grad.flatten() for p in net.parameters()])


@pytest.mark.parametrize("space", ["scores", "parameters"])
def test_linear_backward_is_backward_of_the_sum(space):
    """With a = w both spaces give the gradient of sum_k w_k l_k, added to what was there."""
    w = torch.tensor([0.2, 0.3, 0.5])
    net, _, losses = scene()
    sum(a * b for a, b in zip(w.tolist(), losses)).backward()
    expected = grads(net)
    for given in ("list", "vector"):
        net, scores, losses = scene()
        losses = losses if given == "list" else torch.stack(losses)
        step = backward(losses, scores, net.parameters(), aggregator("linear", 3), w, space=space)
        torch.testing.assert_close(grads(net), expected)
        torch.testing.assert_close(step.coefficients, w.double())
    net, scores, losses = scene()
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    backward(losses, scores, net.parameters(), aggregator("linear", 3), w, space=space)
    torch.testing.assert_close(grads(net), expected + 1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("space", ["scores", "parameters"])
def test_backward_descends_the_stated_combination(name, space):
    """.grad is sum_k a_k of the parameter gradients, in both spaces; the Gramian is that of the space."""
    f = aggregator(name, 3)
    w = preference_of(f)
    net, scores, losses = scene()
    parameters = list(net.parameters())
    J = torch.cat([g.flatten(1) for g in separate_gradients(losses, parameters)], 1)
    net, scores, losses = scene()
    S = separate_gradients(losses, [scores])[0].flatten(1)
    net, scores, losses = scene()
    generator = torch.Generator().manual_seed(0)
    step = backward(losses, scores, net.parameters(), f, w, space=space, generator=generator)
    torch.testing.assert_close(step.gramian, (S if space == "scores" else J) @ (S if space == "scores" else J).mT)
    if f.makes_direction:
        assert step.coefficients is None and grads(net).isfinite().all()
        if space == "parameters":
            torch.testing.assert_close(grads(net), solve(f, J)[1])
    else:
        torch.testing.assert_close(grads(net), step.coefficients @ J)


def test_the_spaces_agree_for_free_scores():
    """Scores that are the parameters themselves: one space, one step."""
    for name in GRAM:
        out = []
        for space in ("scores", "parameters"):
            s = normal(2, 6).requires_grad_()
            z = normal(2, 6, 3, seed=1).softmax(1)
            losses = [-(z[..., k] * s.log_softmax(-1)).sum() for k in range(3)]
            f, generator = aggregator(name, 3), torch.Generator().manual_seed(0)
            backward(losses, s, [s], f, preference_of(f), space=space, generator=generator)
            out.append(s.grad)
        torch.testing.assert_close(*out)


def test_the_network_is_walked_back_once_in_score_space():
    walked = []
    for space in ("scores", "parameters"):
        net, scores, losses = scene()
        x = torch.zeros(4, 6, 5, dtype=torch.float64, requires_grad=True)
        hidden = net[0](x)
        count = []
        hidden.register_hook(lambda g, c=count: c.append(1))
        scores = net[2](net[1](hidden)).squeeze(-1)
        z = normal(4, 6, 3).softmax(1)
        losses = [-(z[..., k] * scores.log_softmax(-1)).sum(-1).mean() for k in range(3)]
        backward(losses, scores, net.parameters(), aggregator("mgda", 3), space=space)
        walked.append(len(count))
    assert walked == [1, 3]


@pytest.mark.parametrize("space", ["scores", "parameters"])
def test_blank_objectives_and_several_scores(space):
    """An objective without a graph counts as gradient 0; scores may come in several tensors; unused ones get 0."""
    net, _, _ = scene()
    x = normal(2, 4, 5)
    first, second, unused = net(x[0]), net(x[1]), net(x[1] + 1)
    losses = [first.square().mean(), torch.zeros(()).double(), second.square().mean()]
    step = backward(losses, [first, second, unused], net.parameters(), aggregator("upgrad", 3), space=space)
    assert (step.gramian[1] == 0).all() and step.gramian[0, 0] > 0 and grads(net).isfinite().all()


def test_frozen_parameters_are_left_out():
    net, scores, losses = scene()
    net[0].requires_grad_(False)
    net_scores = net(normal(4, 6, 5)).squeeze(-1)
    losses = [net_scores.square().mean(), (net_scores - 1).square().mean()]
    backward(losses, None, net.parameters(), aggregator("mgda", 2), space="parameters")
    assert net[0].weight.grad is None and net[2].weight.grad is not None


def test_half_precision_scores():
    """Gramians in float64, steps in the type of the scores."""
    s = normal(2, 6).bfloat16().requires_grad_()
    losses = [s.float().square().sum(), (s.float() - 1).square().sum()]
    step = backward(losses, s, None, aggregator("mgda", 2))
    assert step.gramian.dtype == torch.float64 and s.grad.dtype == torch.bfloat16


def test_descent_with_mgda_lowers_every_loss():
    """Free scores, three targets: all losses fall at every step until the point is Pareto stationary."""
    s = normal(6, seed=2).requires_grad_()
    z = normal(6, 3, seed=3).softmax(0)
    f, before = aggregator("mgda", 3), None
    for _ in range(300):
        losses = -(z * s.log_softmax(-1).unsqueeze(-1)).sum(0)
        if before is not None:
            assert (losses.detach() <= before + 1e-9).all()
        before = losses.detach()
        s.grad = None
        backward(losses, s, None, f)
        with torch.no_grad():
            s -= 0.2 * s.grad
    assert s.grad.norm() < 1e-2


# -------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: aggregator("mdga", 2), "Did you mean 'mgda'"),
        (lambda: aggregator("cagrad", 2, C=0.4), "Did you mean 'c'"),
        (lambda: aggregator("upgrad", 2, c=0.4), "no parameters"),
        (lambda: aggregator("cagrad", 2, c=-1.0), "at least 0"),
        (lambda: aggregator("mgda", 2, normalise="l1"), "l2"),
        (lambda: aggregator("graddrop", 2, leak=1.5), "at most 1"),
        (lambda: aggregator("sdmgrad", 2, lr=0.0), "above 0"),
        (lambda: aggregator("wc-mgda", 2, least=2.0, most=1.0), "at least 2"),
        (lambda: aggregator("wc-mgda", 2, ideal=[0.0]), "[2]"),
        (lambda: aggregator("mgda", 0), "at least 1"),
        (lambda: aggregator("mgda", 12), "at most 8"),
        (lambda: aggregator("mgda", 2)(torch.eye(3)), "[..., 2, 2]"),
        (lambda: aggregator("mgda", 2)(torch.ones(2)), "[..., 2, 2]"),
        (lambda: aggregator("graddrop", 2)(torch.ones(3, 4)), "[2, n]"),
        (lambda: aggregator("mgda", 2)(torch.eye(2), preference=torch.ones(3)), "preference"),
        (lambda: aggregator("epo", 2)(torch.eye(2), preference=torch.ones(2) / 2), "looks at the losses"),
        (
            lambda: aggregator("epo", 2)(
                torch.eye(2).expand(3, 2, 2), losses=torch.ones(3, 2), preference=torch.ones(2) / 2
            ),
            "not a batch",
        ),
        (lambda: backward([torch.ones(())], None, None, aggregator("mgda", 1)), "no scores"),
        (lambda: backward([torch.ones(())], torch.ones(3), None, aggregator("mgda", 1)), "require gradients"),
        (lambda: backward([torch.ones(())], None, [], aggregator("mgda", 1), space="parameters"), "no parameters"),
        (lambda: backward([torch.ones(())], None, [], aggregator("mgda", 1), space="score"), "Did you mean 'scores'"),
    ],
)
def test_errors(call, says):
    with pytest.raises(InputError) as caught:
        call()
    assert says in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- witness


def torchjd():
    return pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed (extra [jd])")


def test_equals_torchjd():
    jd = torchjd()
    w = torch.tensor([0.2, 0.3, 0.5]).double()
    pairs = [
        ("imtl-g", {}, jd.IMTLG(), None, 1e-6),
        ("aligned-mtl", {}, jd.AlignedMTL(), None, 1e-6),
        ("aligned-mtl", {}, jd.AlignedMTL(pref_vector=w), w, 1e-6),
    ]
    for seed in range(30):
        J = normal(3, 8, seed=seed)
        for name, params, theirs, preference, tolerance in pairs:
            d = solve(aggregator(name, 3, **params), J, preference=preference)[1]
            torch.testing.assert_close(d, theirs(J), rtol=tolerance, atol=tolerance)


def test_mgda_is_never_longer_than_torchjds():
    jd = torchjd()
    longer = []
    for seed in range(30):
        J = normal(5, 8, seed=seed)
        ours, theirs = solve(aggregator("mgda", 5), J)[1].norm(), jd.MGDA()(J).norm()
        assert ours <= theirs + 1e-9
        longer.append(((theirs - ours) / ours.clamp(min=1e-9)).item())
    assert max(longer) > 1e-3  # Frank-Wolfe stops early


def test_upgrad_and_dualproj_equal_torchjd_with_our_projector():
    """Their aggregators around our exact projection; their own default needs a GPL solver."""
    jd = torchjd()
    from torchjd.aggregation._upgrad import DualConeProjector

    class Ours(DualConeProjector):
        def __call__(self, U, G):
            return solvers.dual_cone(G, U if U.ndim == 2 else U[None]).reshape(U.shape).to(G.dtype)

    w = torch.tensor([0.2, 0.3, 0.5]).double()
    for J in many(3, 20):
        for preference in (None, w):
            for name, make in (("upgrad", jd.UPGrad), ("dualproj", jd.DualProj)):
                theirs = make(pref_vector=preference, projector=Ours())(J)
                torch.testing.assert_close(solve(aggregator(name, 3), J, preference=preference)[1], theirs)


def test_sdmgrad_equals_torchjd():
    jd = torchjd()
    theirs, ours = jd.SDMGradWeighting(lr=5.0, momentum=0.5, n_iter=20, lambda_=0.3), aggregator("sdmgrad", 3, lr=5.0)
    for seed in range(10):
        J = normal(3, 8, seed=seed)
        torch.testing.assert_close(ours(J @ J.mT), theirs(J @ J.mT).double(), rtol=1e-5, atol=1e-6)


def test_gramian_of_several_inputs():
    a, b = normal(3, 2, 4), normal(3, 5, seed=1)
    whole = torch.cat([a.flatten(1), b], 1)
    torch.testing.assert_close(gramian_of([a, b]), whole @ whole.mT)
