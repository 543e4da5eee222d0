"""Preference losses: the battery with a reference scorer, theorems on free scores, brute force, outside formulas."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import battery
import numpy as np
import properties
import pytest
import torch

from ltr import ops
from ltr.errors import InputError
from ltr.losses import LOSSES, PREFERENCE_LOSSES, dpo, implicit_rewards, loss, preference_loss, preference_losses
from ltr.losses.preference.mallows import (
    dispersion_index,
    kendall_link,
    label_entropy,
    log_normaliser,
    reference_entropy,
)
from ltr.losses.preference.modpo import log_targets, margin_rewards, standardise
from ltr.losses.preference.spo import earlier_rewards

GOLDEN = Path(__file__).with_name("golden")
REF, BETA = torch.tensor([0.5, 0.5, 1.0, 0.0], dtype=torch.float64), 2.0
WORKED = tuple(torch.as_tensor(each, dtype=torch.float64) for each in battery.WORKED)


# ------------------------------------------------------------------------------------------------------ the battery


@dataclass(frozen=True)
class Referenced(battery.Bound):
    """A preference loss with a reference scorer, margins, and every other tensor it takes, made from the labels.

    Elementwise, so that what stands in a pad's label (NaN, inf) stands in the pads of all of them.
    """

    def __call__(self, scores, labels, where=None, **options):
        y = labels.double()
        made = {
            "reference": 0.3 * torch.sin(3 * y),
            "margins": 0.2 * torch.cos(2 * y),
            "reference2": torch.cos(y + 1),
            "auxiliary": torch.sin(y + 2),
            "earlier": torch.stack([torch.sin(y), torch.cos(y)], -1),
        }
        known = battery.inspect.signature(self.entry.function).parameters
        if "earlier" in known:  # its last round is the reference
            del made["reference"]
        given = {"beta": 1.5, "dispersion": 0.7, "share": 0.4} | made
        given = {k: v for k, v in given.items() if k in known}
        return self.entry.function(scores, labels, where, **options, **given, **self.params)

    def __str__(self) -> str:
        return super().__str__() + " from a reference"


def _variants(cls) -> list[battery.Bound]:
    found = []
    composed = [preference_loss(name).entry for name in ("listnet-dpo", "listmle-dpo", "lambdarank-dpo")]
    for entry in [*PREFERENCE_LOSSES, *composed]:
        for f in battery.variants(entry):
            # What every pair loss shares is proven of the first, what comes from another catalogue in its own tests.
            elsewhere = {"target", "eps", "temperature", "gain"}
            elsewhere |= set() if entry.name == "dpo" else {"pairs", "normalise"}
            if elsewhere & set(f.params) or (entry in composed and f.params):
                continue
            found.append(cls(f.entry, f.params))
    return found


@pytest.mark.parametrize("f", _variants(Referenced), ids=str)
def test_properties_from_a_reference(f, device):
    for holds in properties.OF_CHOICES if f.params else properties.UNIVERSAL:
        if holds is not properties.descent_sorts_the_list:  # descends to the order of u, not of the scores: below
            holds(f, device)
    for claim in ("needs", "shift_invariant", "convex"):
        properties.CLAIMS[claim](f, f.entry.claims[claim], device)


@pytest.mark.parametrize("f", _variants(battery.Bound), ids=str)
def test_claims_without_a_reference(f, device):
    """A preference loss without a reference is a loss like any other; the rest of its claims, and which way is down."""
    if f.params.get("pairs", "all") == "all":
        properties.descent_sorts_the_list(f, device)
    for claim in {"ordinal", "stochastic"} & ({"stochastic": False} | f.entry.claims).keys():
        properties.CLAIMS[claim](f, f.entry.claims.get(claim, False), device)
    assert set(f.entry.claims) <= {"needs", "shift_invariant", "convex", "ordinal", "stochastic"}


def test_every_registered_loss_says_what_it_is():
    for entry in PREFERENCE_LOSSES:
        assert entry.formula and entry.source and entry.function.__doc__ and "needs" in entry.claims, entry.name


def test_every_name_depends_on_u_alone():
    """f(s; s_ref, beta, margins) = f(u): of registered losses, of composed ones, of any that joins the catalogue."""
    s, y = battery.tensors(battery.random_list(3, 6, ties=False))
    reference, margins = (torch.linspace(-1, 1, 6, dtype=torch.float64) ** p for p in (1, 2))
    for name in preference_losses():
        f = preference_loss(name)
        generator = [properties.seeded("cpu") for _ in range(2)]
        came = f(s, y, reference=reference, margins=margins, beta=0.7, generator=generator[0])
        on_u = f(0.7 * (s - reference) - margins, y, generator=generator[1])
        if name == "hpo":  # no auxiliary label: one term
            assert f(s, y, auxiliary=y, beta=0.7) != f(0.7 * s, y, auxiliary=y)
        if name == "ipo":  # counts in units of Delta
            on_u = on_u / 0.7**2
        if name == "mrpo":  # its reference is a distribution; without one it is uniform
            came = f(s, y, margins=margins, beta=0.7)
            on_u = f(0.7 * s - margins, y)
        torch.testing.assert_close(came, on_u, msg=lambda text, name=name: f"{name}: {text}")


# -------------------------------------------------------------------------------------------- worked and golden values


@pytest.mark.parametrize(
    ("name", "params", "value"),
    [
        ("listnet-dpo", {"target": "lin"}, 2.50661),
        ("listmle-dpo", {"normalise": "none"}, 6.51886),
        ("dpo", {"normalise": "none"}, 9.95062),
        ("dpo", {"normalise": "none", "pairs": "best_with_others"}, 4.42384),
        ("dpo", {"pairs": "best_with_worst"}, 2.12693),
        ("lipo", {"normalise": "none"}, 1.53566),
        ("lipo", {}, 1.53566 / 6),
    ],
)
def test_worked_values(name, params, value):
    came = preference_loss(name, beta=BETA, **params)(*WORKED, reference=REF).item()
    assert came == pytest.approx(value, abs=1e-5)


def test_worked_values_by_hand():
    """u = (1.4, -.2, 1.8, -.6), labels (1, 3, 0, 2): the best document is the second, the worst the third."""

    def lost(a, b):
        return math.log(1 + math.exp(b - a))

    others = [lost(-0.2, 1.4), lost(-0.2, 1.8), lost(-0.2, -0.6)]
    f = preference_loss("dpo", beta=2.0, pairs="best_with_others")
    assert f(*WORKED, reference=REF).item() == pytest.approx(sum(others) / 3)
    assert preference_loss("dpo", beta=2.0, pairs="best_with_worst")(*WORKED, reference=REF).item() == pytest.approx(
        others[1]
    )
    total = sum(math.exp(v) for v in (1.4, -0.2, 1.8, -0.6))
    expected = math.log(total) - (1 * 1.4 + 3 * -0.2 + 2 * -0.6) / 6
    assert dpo("listnet", beta=2.0, target="lin")(*WORKED, reference=REF).item() == pytest.approx(expected)


def _asked():
    return json.loads((GOLDEN / "preference.json").read_text())["cases"]


def test_the_public_formulas_are_all_asked():
    stated = {row["loss"] for case in _asked() for row in case["answers"]}
    opo = {"dpo", "hinge-dpo", "listmle-dpo", "lipo", "approxndcg-dpo"}
    assert stated == {"modpo", "mallowspo", "mrpo", "ipo", "focalpo", "minordpo"} | opo


@pytest.mark.parametrize("case", _asked(), ids=lambda case: f"{len(case['scores'])} documents")
def test_equals_the_public_formulas(case):
    """tests/golden/ask_preference.py states them."""
    s, y, reference, reference2, preference, rewards = (
        torch.tensor(case[k], dtype=torch.float64)
        for k in ("scores", "labels", "reference", "reference2", "preference", "rewards")
    )
    beside = {
        "modpo": {"margins": margin_rewards(rewards, preference, 0), "share": preference[0], "floor": 1e-9},
        "mrpo": {"reference2": reference2},
    }
    for row in case["answers"]:
        f = preference_loss(row["loss"], beta=case["beta"], **row["params"])
        value = f(s, y, reference=reference, **beside.get(row["loss"], {})).item()
        assert value == pytest.approx(row["value"], rel=1e-7, abs=1e-9), row


# ---------------------------------------------------------------------------------------------- theorems on free scores


def _optimum(f, n=4, start=None):
    """Scores at which `f(scores)` is smallest, by L-BFGS in float64."""
    scores = (torch.zeros(n, dtype=torch.float64) if start is None else start.clone()).requires_grad_()
    steps = {"max_iter": 500, "tolerance_grad": 1e-11, "tolerance_change": 1e-16, "line_search_fn": "strong_wolfe"}
    optimiser = torch.optim.LBFGS([scores], history_size=20, **steps)

    def closure():
        optimiser.zero_grad()
        value = f(scores)
        value.backward()
        return value

    for _ in range(3):
        optimiser.step(closure)
    assert scores.grad.abs().max() < 1e-7, "no optimum was reached"
    return scores.detach()


def _z(labels, target="soft", eps=0.0):
    return ops.list_target(labels, None, target, eps=eps)


Y1 = WORKED[1]
Y2 = torch.tensor([3.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def _near(a, b, tolerance=1e-6):
    torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


@pytest.mark.parametrize("beta", [0.3, 1.0, 2.0])
@pytest.mark.parametrize(("target", "eps"), [("soft", 0.0), ("gain", 0.1), ("lin", 0.0)])
def test_t1_listnet_dpo_ends_at_its_target(beta, target, eps):
    labels = Y1 + (0.5 if target == "lin" else 0)  # a target of 0 has its optimum at minus infinity
    options = {"target": target} | ({"eps": eps} if eps else {})
    f = dpo("listnet", beta=beta, **options)
    s = _optimum(lambda s: f(s, labels, reference=REF))
    _near(torch.softmax(beta * (s - REF), -1), _z(labels, target, eps))


def test_the_gradient_of_listnet_dpo():
    _, gradient = properties.value_and_gradient(dpo("listnet", beta=2.0, target="soft"), *WORKED, reference=REF)
    u = implicit_rewards(WORKED[0], REF, beta=2.0)
    _near(gradient, 2.0 * (u.softmax(-1) - _z(Y1)), 1e-12)


ARITHMETIC = torch.tensor([0.42223, 0.34081, 0.06727, 0.16969], dtype=torch.float64)
GEOMETRIC = torch.tensor([0.41048, 0.24897, 0.09159, 0.24897], dtype=torch.float64)


def test_t2_weighted_sums_end_at_the_arithmetic_mix():
    f = dpo("listnet", beta=2.0, target="soft")
    s = _optimum(lambda s: 0.5 * f(s, Y1, reference=REF) + 0.5 * f(s, Y2, reference=REF))
    mix = 0.5 * _z(Y1) + 0.5 * _z(Y2)
    _near(torch.softmax(2 * (s - REF), -1), mix)
    _near(mix, ARITHMETIC, 5e-6)


def test_t2_the_sum_of_losses_is_the_loss_of_the_mixed_target():
    """At any scores, not only the best: linear scalarisation and mixed targets are one loss surface."""
    w = torch.tensor([0.2, 0.8], dtype=torch.float64)
    f, on_target = dpo("listnet", beta=0.7, target="soft"), dpo("listnet", beta=0.7, target="lin")
    for seed in range(5):
        s = torch.as_tensor(battery.random_list(seed, 4)[0])

        def total(s, labels, where, **o):
            return w[0] * f(s, Y1, **o) + w[1] * f(s, Y2, **o)

        one = properties.value_and_gradient(total, s, None, reference=REF)
        other = properties.value_and_gradient(on_target, s, w[0] * _z(Y1) + w[1] * _z(Y2), reference=REF)
        for a, b in zip(one, other, strict=True):
            _near(a, b, 1e-12)


@pytest.mark.parametrize("main", [0, 1])
@pytest.mark.parametrize("w", [(0.5, 0.5), (0.2, 0.8), (0.9, 0.1)])
def test_t3_modpo_list_ends_at_the_geometric_mix(w, main):
    """Whichever objective is the main one, and so do score ensembles of single-objective models (MOD)."""
    labels, w = torch.stack([Y1, Y2], -1), torch.tensor(w, dtype=torch.float64)
    rewards = torch.stack([log_targets(_z(y)) for y in (Y1, Y2)], -1)
    margins = margin_rewards(rewards, w, main)
    f = preference_loss("modpo-list", beta=2.0, target="soft")
    s = _optimum(lambda s: f(s, labels[:, main], reference=REF, margins=margins, share=w[main]))
    mix = torch.softmax((w * rewards).sum(-1), -1)
    came = torch.softmax(2 * (s - REF), -1)
    _near(came, mix)
    if w[0] == 0.5:
        _near(mix, GEOMETRIC, 5e-6)
    single = [_optimum(lambda s, y=y: dpo("listnet", beta=2.0, target="soft")(s, y, reference=REF)) for y in (Y1, Y2)]
    ensemble = REF + sum(w[k] * (single[k] - REF) for k in (0, 1))
    _near(torch.softmax(2 * (ensemble - REF), -1), mix)


def test_t3_standardised_rewards_tilt_the_target():
    """p ~ (z^k)^{w_k} e^{sum_l w_l R^l}."""
    w = torch.tensor([0.6, 0.4], dtype=torch.float64)
    rewards = torch.stack([standardise(Y1), standardise(Y2)], -1)
    f = preference_loss("modpo-list", beta=0.5, target="soft")
    s = _optimum(lambda s: f(s, Y1, reference=REF, margins=margin_rewards(rewards, w, 0), share=w[0]))
    _near(torch.softmax(0.5 * (s - REF), -1), torch.softmax(w[0] * _z(Y1).log() + w[1] * rewards[:, 1], -1))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_t4_spo_multiplies_targets(alpha):
    """Three rounds: d_t = log z^t + sum_{i<t} a d_i; two give (1+a) log z^1 + log z^2."""
    beta, y3 = 2.0, torch.tensor([0.0, 1.0, 2.0, 1.5], dtype=torch.float64)
    f = preference_loss("spo-list", beta=beta, target="soft", alpha=alpha, beta_earlier=beta)
    rounds, expected = [REF], []
    for y in (Y1, Y2, y3):
        earlier = torch.stack(rounds, -1)
        rounds.append(_optimum(lambda s, y=y, earlier=earlier: f(s, y, earlier=earlier)))
        expected.append(_z(y).log() + alpha * sum(expected))
        _near(torch.softmax(beta * (rounds[-1] - REF), -1), torch.softmax(sum(expected), -1))
    two = torch.softmax((1 + alpha) * _z(Y1).log() + _z(Y2).log(), -1)
    _near(torch.softmax(beta * (rounds[2] - REF), -1), two)


@pytest.mark.parametrize("name", ["spo", "spo-list"])
def test_spo_without_its_past_is_dpo_on_the_last_model(name):
    earlier = torch.stack([REF, REF + Y2, WORKED[0] - Y2], -1)
    plain = "dpo" if name == "spo" else "listnet-dpo"
    last = preference_loss(plain, beta=0.7)(*WORKED, reference=earlier[:, -1])
    torch.testing.assert_close(preference_loss(name, beta=0.7, alpha=0.0)(*WORKED, earlier=earlier), last)
    assert preference_loss(name, beta=0.7, alpha=0.5)(*WORKED, earlier=earlier) != last
    first = preference_loss(name)(*WORKED, earlier=REF[:, None])
    torch.testing.assert_close(first, preference_loss(plain)(*WORKED, reference=REF))


def test_spo_rewards_agreement():
    """A pair the earlier rounds also want has the larger gradient: the sign of the second term."""
    f, s, y = preference_loss("spo"), torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 0.0])
    pull = {}
    for agrees in (1.0, -1.0):
        earlier = torch.stack([torch.zeros(2, dtype=torch.float64), agrees * y.double()], -1)
        pull[agrees] = properties.value_and_gradient(f, s + earlier[:, -1], y, earlier=earlier)[1].abs().max()
    assert pull[1.0] > pull[-1.0]


LAWFUL = [
    ("listnet-dpo", {"target": "soft"}),
    ("ipo", {}),
    ("mallowspo", {"form": "ipo", "dispersion": 0.6}),
    ("modpo-list", {"target": "soft", "share": 0.3}),
    ("spo-list", {"target": "soft"}),
    ("hpo", {"target": "soft", "on": "rewards", "auxiliary": Y2}),
]


@pytest.mark.parametrize(("name", "params"), LAWFUL, ids=lambda x: x if isinstance(x, str) else "")
def test_t6_scaling_law(name, params):
    """Best at c beta: the same direction from the reference, 1/c as far."""
    margins = 0.3 * standardise(Y2)
    f = preference_loss(name, **params)
    near, far = (
        _optimum(lambda s, b=b: f(s, Y1, reference=REF, margins=margins, beta=b), start=REF) for b in (0.5, 1.5)
    )
    step, scaled = (s - REF - (s - REF).mean() for s in (near, far))
    assert step.abs().max() > 0.1
    _near(scaled, step / 3)


def test_t6_is_not_for_losses_that_see_more_than_u():
    f = preference_loss("hpo", target="soft", on="scores", auxiliary=Y2)
    near, far = (_optimum(lambda s, b=b: f(s, Y1, reference=REF, beta=b), start=REF) for b in (0.5, 1.5))
    step, scaled = (s - REF - (s - REF).mean() for s in (near, far))
    assert (scaled - step / 3).abs().max() > 0.05


def test_ipo_spaces_documents_by_how_many_they_beat():
    f = preference_loss("ipo", beta=0.4)
    s = _optimum(lambda s: f(s, Y1, reference=REF))
    u = 0.4 * (s - REF)
    beaten = torch.tensor([1.0, 3.0, 0.0, 2.0], dtype=torch.float64)
    _near(u - u.mean(), (2 * beaten - 3) / 8)


@pytest.mark.parametrize(("gamma", "spread"), [(0.3, 1.0), (2.0, 0.5)])
def test_hpo_ends_at_the_arithmetic_mix(gamma, spread):
    f = preference_loss("hpo", target="soft", on="rewards", gamma=gamma, spread=spread, beta=2.0)
    s = _optimum(lambda s: f(s, Y1, reference=REF, auxiliary=Y2))
    q = torch.softmax(standardise(Y2) / spread, -1)
    _near(torch.softmax(2 * (s - REF), -1), (_z(Y1) + gamma * q) / (1 + gamma))
    plain = preference_loss("hpo", target="soft", gamma=gamma, spread=spread)  # on scores, no reference, beta 1
    _near(torch.softmax(_optimum(lambda s: plain(s, Y1, auxiliary=Y2)), -1), (_z(Y1) + gamma * q) / (1 + gamma))


def test_hpo_without_anything_auxiliary_is_listnet_dpo():
    expected = dpo("listnet", beta=2.0)(*WORKED, reference=REF)
    f = preference_loss("hpo", beta=2.0)
    for auxiliary in (None, torch.full_like(REF, 0.3)):  # a label that is equal everywhere says nothing
        assert f(*WORKED, reference=REF, auxiliary=auxiliary) == expected
    assert preference_loss("hpo", beta=2.0, gamma=0.0)(*WORKED, reference=REF, auxiliary=Y2) == expected


# ------------------------------------------------------------------------------------------------------ at the start


@pytest.mark.parametrize("n", [2, 3, 7, 40])
def test_values_at_the_reference(n):
    s, y = battery.tensors(battery.random_list(1, n, ties=False))
    pairs = n * (n - 1) / 2
    for target in ("lin", "gain", "soft"):
        assert dpo("listnet", beta=0.3, target=target)(s, y, reference=s).item() == pytest.approx(math.log(n))
    assert dpo("listmle", normalise="none")(s, y, reference=s).item() == pytest.approx(math.lgamma(n + 1))
    at_start = {
        "dpo": math.log(2),
        "minordpo": math.log(2),
        "mallowspo": math.log(2),
        "mallowspo-phi": math.log(2),
        "ipo": 1 / 4,
        "modpo": math.log(2),
        "spo": math.log(2),
        "focalpo": math.log(2) / 2**0.05,
    }
    for name, value in at_start.items():
        assert preference_loss(name)(s, y, reference=s).item() == pytest.approx(value), name
        total = preference_loss(name, normalise="none")(s, y, reference=s).item()
        assert total == pytest.approx(pairs * value), name


def test_every_weighting_starts_at_log_n():
    f = dpo("listnet", target="soft")
    for w in (0.0, 0.3, 1.0):
        value = w * f(REF, Y1, reference=REF) + (1 - w) * f(REF, Y2, reference=REF)
        assert value.item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("labels", [[1.0, 0.0], [0.0, 1.0]])
def test_two_documents_are_one_pair(labels):
    s, y, reference = (torch.tensor(v, dtype=torch.float64) for v in ([0.3, 1.7], labels, [0.2, -0.4]))
    pair = preference_loss("dpo", beta=0.8)(s, y, reference=reference).item()
    won, lost = (0, 1) if labels[0] else (1, 0)
    margin = 0.8 * ((s - reference)[won] - (s - reference)[lost])
    assert pair == pytest.approx(math.log(1 + math.exp(-margin)))
    for f in (dpo("listnet", 0.8), dpo("listnet", 0.8, target="lin"), dpo("listmle", 0.8, normalise="none")):
        assert f(s, y, reference=reference).item() == pytest.approx(pair)


# -------------------------------------------------------------------------------------------------------- Mallows


def _inversions(ranking, labels):
    return sum(labels[a] < labels[b] for k, a in enumerate(ranking) for b in ranking[k + 1 :])


@pytest.mark.parametrize("labels", [*(list(range(n)) for n in range(1, 7)), [0, 0, 1], [2, 0, 2, 1, 0, 0], [1, 1, 1]])
@pytest.mark.parametrize("phi", [0.05, math.exp(-0.5), 0.97])
def test_normaliser_by_brute_force(labels, phi):
    """Sum over all rankings; equal labels make groups of rankings that count once."""
    total = sum(phi ** _inversions(r, labels) for r in itertools.permutations(range(len(labels))))
    for grade in set(labels):
        total /= math.factorial(labels.count(grade))
    came = log_normaliser(torch.tensor(labels, dtype=torch.float64), None, -math.log(phi)).item()
    assert came == pytest.approx(math.log(total), abs=1e-10)


@pytest.mark.parametrize("phi", [0.2, 0.6, 0.9])
def test_listwise_mallows_is_a_distribution(phi):
    """e^{-loss} over all labelings of a sharp ranking sums to 1, distinct labels or tied ones."""
    f = preference_loss("mallows", dispersion=-2 * math.log(phi), tau=1e-3, normalise="none")
    s = torch.tensor([3.0, 1.0, 2.0, 0.0, -1.0], dtype=torch.float64)
    for grades in ([0, 1, 2, 3, 4], [0, 0, 1, 1, 2]):
        orders = torch.tensor(sorted(set(itertools.permutations(grades))), dtype=torch.float64)
        assert torch.exp(-f(s.expand(len(orders), 5), orders)).sum().item() == pytest.approx(1.0)


def test_a_learned_dispersion_is_the_likeliest():
    """The normaliser keeps phi from collapsing: at the best D the expected number of inversions is the observed one."""
    labels = torch.tensor([3.0, 2.0, 0.0, 1.0], dtype=torch.float64)  # one inversion against 4 > 3 > 2 > 1
    s = torch.tensor([400.0, 300.0, 200.0, 100.0], dtype=torch.float64)
    f = preference_loss("mallows", normalise="none")
    log_d = _optimum(lambda log_d: f(s, labels, dispersion=log_d.exp()[0]), n=1)
    phi = math.exp(-0.5 * log_d.exp().item())
    rankings = list(itertools.permutations(range(4)))
    chances = np.array([phi ** _inversions(r, [3, 2, 1, 0]) for r in rankings])
    expected = (chances / chances.sum()) @ [_inversions(r, [3, 2, 1, 0]) for r in rankings]
    assert expected == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("phi", [0.1, math.exp(-0.5), 0.9])
def test_kendall_link_by_enumeration(phi):
    """All 720 rankings of six documents: the chance that i stands before j, for every gap in the centre ranking."""
    rankings = [{d: k for k, d in enumerate(r)} for r in itertools.permutations(range(6))]
    chances = np.array([phi ** sum(r[a] > r[b] for a, b in itertools.combinations(range(6), 2)) for r in rankings])
    chances /= chances.sum()
    for i, j in itertools.permutations(range(6), 2):
        exact = chances[[r[i] < r[j] for r in rankings]].sum()
        value, _ = kendall_link(torch.tensor(float(j - i), dtype=torch.float64), -2 * math.log(phi))
        assert math.exp(-value.item()) == pytest.approx(exact, abs=1e-12), (i, j)


def test_kendall_link_is_smooth_and_sane():
    for dispersion in (0.02, 1.0, 6.0):
        t = torch.linspace(-6, 6, 2401, dtype=torch.float64)
        value, slope = kendall_link(t, dispersion)
        numeric = (value[2:] - value[:-2]) / (t[2:] - t[:-2])
        assert (numeric - slope[1:-1]).abs().max() < 0.02 * dispersion
        assert (slope < 0).all(), "more margin always helps"
        won, lost = torch.exp(-value), torch.exp(-kendall_link(-t, dispersion)[0])
        _near(won + lost, torch.ones_like(t), 1e-12)
    far, pull = kendall_link(torch.tensor([-1e7, -1e4, 1e4, math.inf], dtype=torch.float32), 1.0)
    assert far.tolist() == pytest.approx([5e6, 5e3, 0, 0], rel=1e-2) and pull.tolist() == pytest.approx(
        [-0.5, -0.5, 0, 0], abs=1e-3
    )


def test_mallowspo_theta_at_its_ordinary_dispersion_is_dpo():
    d = -2 * math.log(math.exp(-0.5))
    s, y = battery.tensors(battery.random_list(2, 9))
    reference = torch.cos(s)
    expected = preference_loss("dpo", beta=0.6)(s, y, reference=reference)
    for acts in ("temperature", "weight"):
        f = preference_loss("mallowspo", dispersion=d, beta=0.6, acts=acts)
        torch.testing.assert_close(f(s, y, reference=reference), expected)


def test_dispersion_as_temperature_moves_the_optimum_and_as_weight_does_not():
    """A small dispersion as temperature moves the ranking further, although it pulls less."""
    best, pull = {}, {}
    for acts in ("temperature", "weight"):
        f = preference_loss("mallowspo", form="ipo", acts=acts, dispersion=0.25)
        s = _optimum(lambda s, f=f: f(s, Y1, reference=REF), start=REF)
        best[acts] = s - REF - (s - REF).mean()
        pull[acts] = properties.value_and_gradient(f, REF, Y1, reference=REF)[1].abs().max()
    s = _optimum(lambda s: preference_loss("ipo")(s, Y1, reference=REF), start=REF)
    plain, plain_pull = (
        s - REF - (s - REF).mean(),
        properties.value_and_gradient(preference_loss("ipo"), REF, Y1, reference=REF)[1].abs().max(),
    )
    _near(best["weight"], plain)
    _near(best["temperature"], plain / 0.25)
    assert max(pull.values()) < plain_pull
    for name in ("mallowspo", "mallowspo-phi"):
        one, two = (preference_loss(name, acts="weight", dispersion=d)(*WORKED, reference=REF) for d in (1.0, 2.5))
        torch.testing.assert_close(two, 2.5 * one)


def test_entropies():
    where = torch.tensor([[True] * 4, [True, True, False, False], [False] * 4, [True, False, False, False]])
    scores = torch.tensor([[0.0, 0, 0, 0], [1, 0, 9, 9], [0, 0, 0, 0], [5, 1, 1, 1]]).masked_fill(~where, math.nan)
    p = 1 / (1 + math.e)
    two = -(p * math.log(p) + (1 - p) * math.log(1 - p)) / math.log(2)
    assert reference_entropy(scores, where).tolist() == pytest.approx([1, two, 1, 1])
    labels = torch.tensor([[0.0, 0, 1, 3], [2, 1, 9, 9], [0, 0, 0, 0], [4, 0, 0, 0]]).masked_fill(~where, math.nan)
    by_hand = [(0.5 * math.log(2) + 0.5 * math.log(4)) / math.log(5), math.log(2) / math.log(5), 0, 0]
    assert label_entropy(labels, where, grades=5).tolist() == pytest.approx(by_hand, abs=1e-6)
    assert dispersion_index(torch.tensor([0.0, 0.5, 1.0]), scale=2.0).tolist() == pytest.approx(
        [-2 * math.log(0.05), 2 * math.log(2), -2 * math.log(0.99)]
    )


def test_a_dispersion_by_query_is_that_of_the_reference_or_the_labels():
    """The words "reference" and "labels" are the numbers one would hand over; the reference still counts."""
    scores, labels, where = battery.pad([battery.random_list(k, n) for k, n in ((1, 6), (2, 9), (3, 4))])
    reference = torch.sin(3 * labels) * where
    by_hand = {
        "reference": dispersion_index(reference_entropy(reference, where, temperature=0.3), scale=1.7),
        "labels": dispersion_index(label_entropy(labels, where, grades=5), scale=1.7),
    }
    options = {"entropy_temperature": 0.3, "dispersion_scale": 1.7}
    for name in ("mallowspo", "mallowspo-phi", "mallows"):
        for word, number in by_hand.items():
            told = preference_loss(name, beta=0.7, dispersion=word, **options)(
                scores, labels, where, reference=reference
            )
            f = preference_loss(name, beta=0.7)
            torch.testing.assert_close(told, f(scores, labels, where, reference=reference, dispersion=number))
            assert (told != f(scores, labels, where, reference=reference)).any()
    with pytest.raises(InputError, match="Did you mean 'labels'"):
        preference_loss("mallowspo", dispersion="label")


def test_long_lists_need_the_temperature():
    """At T = 1 a thousand documents with ordinary scores leave an index of nothing."""
    scores = torch.as_tensor(np.random.default_rng(0).normal(size=1000))
    flat, sharp = (dispersion_index(reference_entropy(scores, temperature=t)) for t in (1.0, 0.2))
    assert flat < 0.1 < 0.5 < sharp


# ------------------------------------------------------------------------------------------------ one loss at a time


def test_focalpo_trusts_what_is_right_already():
    ratios = []
    for margin in (-4.0, 0.0, 4.0):
        s, y = torch.tensor([margin, 0.0], dtype=torch.float64), torch.tensor([1.0, 0.0])
        focal, plain = (properties.value_and_gradient(preference_loss(n), s, y)[1][0] for n in ("focalpo", "dpo"))
        ratios.append((focal / plain).item())
    assert ratios == pytest.approx([0.65, 0.93, 1.0], abs=5e-3)
    torch.testing.assert_close(preference_loss("focalpo", gamma=0.0)(*WORKED), preference_loss("dpo")(*WORKED))


def test_focalpo_gives_up_beyond_one_over_gamma():
    y = torch.tensor([1.0, 0.0])
    for margin, sign in ((-15.0, -1), (-25.0, 1)):
        s = torch.tensor([margin, 0.0], dtype=torch.float64)
        assert properties.value_and_gradient(preference_loss("focalpo"), s, y)[1][0] * sign > 0


def test_minordpo_stops_at_the_reference():
    """A worse document that already scores below the reference is left alone; one above it is pushed as by DPO."""
    y = torch.tensor([1.0, 0.0])
    for change, pushed in ((-0.5, False), (0.5, True)):
        reference = torch.tensor([0.2, 0.7], dtype=torch.float64)
        s = reference + torch.tensor([0.1, change], dtype=torch.float64)
        minor, plain = (
            properties.value_and_gradient(preference_loss(n, beta=2.0), s, y, reference=reference)
            for n in ("minordpo", "dpo")
        )
        assert (minor[1][1] != 0) == pushed and minor[1][0] < 0
        if pushed:
            _near(minor[1], plain[1], 1e-12)
            _near(minor[0], plain[0], 1e-12)


def test_lipo_is_lambdarank_on_u():
    u = implicit_rewards(WORKED[0], REF, beta=0.7)
    expected = loss("lambdarank", base=math.e)(u, WORKED[1]) / 6
    torch.testing.assert_close(preference_loss("lipo", beta=0.7)(*WORKED, reference=REF), expected)


def test_lipo_needs_a_generator_at_the_reference():
    """All u are 0 there: without one, pairs are weighed by the order of the file."""
    f = preference_loss("lipo")
    s, y = battery.tensors(battery.random_list(4, 8, ties=False))
    drawn = {round(f(s, y, reference=s, generator=properties.seeded("cpu", k)).item(), 9) for k in range(8)}
    assert len(drawn) > 1 and len({round(f(s, y, reference=s).item(), 9) for _ in range(3)}) == 1


def test_modpo_without_others_is_dpo():
    for name, plain in (("modpo", "dpo"), ("modpo-list", "listnet-dpo")):
        f, g = preference_loss(name, beta=0.6), preference_loss(plain, beta=0.6)
        assert f(*WORKED, reference=REF) == g(*WORKED, reference=REF)
    hinge = preference_loss("modpo", curve="hinge")
    torch.testing.assert_close(hinge(*WORKED, reference=REF), dpo("hinge")(*WORKED, reference=REF))


@pytest.mark.parametrize("name", ["modpo", "modpo-list"])
def test_modpo_divides_by_its_share_down_to_a_floor(name):
    f, plain = preference_loss(name), preference_loss({"modpo": "dpo"}.get(name, "listnet-dpo"))
    margins = 0.3 * Y2
    scaled = plain((WORKED[0] - REF - margins) / 0.25, Y1)
    torch.testing.assert_close(f(*WORKED, reference=REF, margins=margins, share=0.25), scaled)
    floored = [f(*WORKED, reference=REF, share=share) for share in (0.05, 0.01, 0.0)]
    assert floored[0] == floored[1] == floored[2] != f(*WORKED, reference=REF, share=0.06)
    assert f(*WORKED, share=0.01, floor=0.01) != f(*WORKED, share=0.01)


def test_mrpo_with_one_reference_is_dpo():
    """From log softmax, so that a constant added to either reference changes nothing."""
    for form in ("mixed", "multi"):
        f = preference_loss("mrpo", form=form, beta=0.7)
        expected = preference_loss("dpo", beta=0.7)(*WORKED, reference=REF)
        torch.testing.assert_close(f(*WORKED, reference=REF, reference2=REF + 3), expected)
        torch.testing.assert_close(f(*WORKED, reference=REF), expected)
        moved = f(*WORKED, reference=REF - 7, reference2=Y2 + 1)
        torch.testing.assert_close(f(*WORKED, reference=REF, reference2=Y2), moved)


def test_mrpo_gives_c_to_different_references():
    """With no clip and c = 1: the first reference in Multi-DPO, the second in MRPO."""
    first, second = (preference_loss("dpo")(*WORKED, reference=r) for r in (REF, Y2))
    wide = {"eta": 1e9, "clipping": "fixed", "reference": REF, "reference2": Y2}
    for mix, multi, mixed in ((1.0, first, second), (0.0, second, first)):
        torch.testing.assert_close(preference_loss("mrpo", mix=mix, form="multi")(*WORKED, **wide), multi)
        torch.testing.assert_close(preference_loss("mrpo", mix=mix, form="mixed")(*WORKED, **wide), mixed)
    narrow = wide | {"eta": 0.0}  # all of the first is clipped away
    torch.testing.assert_close(preference_loss("mrpo")(*WORKED, **narrow), second)


def test_chosen_pairs_descend_to_what_they_ask():
    s, y = battery.tensors((np.array([0.3, 0.1, 0.2, 0.5, 0.4]), np.array([1.0, 3.0, 0.0, 2.0, 1.0])))
    for pairs in ("best_with_others", "best_with_worst"):
        gradient = properties.value_and_gradient(preference_loss("dpo", pairs=pairs), s, y)[1]
        pulled = (gradient != 0).nonzero().squeeze(-1).tolist()
        assert pulled == ([0, 1, 2, 3, 4] if pairs == "best_with_others" else [1, 2])
        assert gradient.argmin() == 1 and gradient[1] < 0


def test_ties_among_the_best_are_a_fair_draw():
    s = torch.tensor([0.3, -0.6, 1.1, 0.2], dtype=torch.float64)
    y = torch.tensor([2.0, 2.0, 0.0, 0.0])
    lost = [math.log(1 + math.exp(s[j] - s[i])) for i in (0, 1) for j in (2, 3)]
    assert preference_loss("dpo", pairs="best_with_worst")(s, y).item() == pytest.approx(sum(lost) / 4)


# ------------------------------------------------------------------------------------------- tensors beside the scores


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("dpo", "beta"),
        ("ipo", "beta"),
        ("listnet-dpo", "beta"),
        ("mrpo", "beta"),
        ("lipo", "beta"),
        ("mallowspo", "dispersion"),
        ("mallowspo-phi", "dispersion"),
        ("mallows", "dispersion"),
        ("modpo", "share"),
        ("modpo-list", "share"),
    ],
)
def test_one_value_a_list(name, given):
    """A tensor [...] of betas, dispersions or shares is each list with its own."""
    for params in ({"acts": acts} for acts in ("temperature", "weight")) if name.startswith("mallowspo") else ({},):
        _each_list_with_its_own(name, given, params)


def _each_list_with_its_own(name, given, params):
    scores, labels, where = battery.pad([battery.random_list(k, 3 + k, ties=False) for k in range(4)], fill=math.nan)
    reference, values = torch.sin(scores), torch.tensor([0.3, 0.9, 1.4, 2.2], dtype=torch.float64)
    values = values.clamp(max=1) if given == "share" else values
    f = preference_loss(name, **params)
    together = f(scores, labels, where, reference=reference, **{given: values})
    alone = [
        f(scores[k, : 3 + k], labels[k, : 3 + k], reference=reference[k, : 3 + k], **{given: values[k].item()})
        for k in range(4)
    ]
    torch.testing.assert_close(together, torch.stack(alone))
    cube = f(
        *(t.expand(2, -1, -1) for t in (scores, labels, where)),
        reference=reference.expand(2, -1, -1),
        **{given: values.expand(2, -1)},
    )
    torch.testing.assert_close(cube, together.expand(2, -1))


def test_the_reference_and_the_margins_are_constants():
    for name in preference_losses():
        reference, margins, s = (
            torch.randn(4, dtype=torch.float64, generator=properties.seeded("cpu", k), requires_grad=True)
            for k in range(3)
        )
        preference_loss(name)(s, Y1, reference=reference, margins=margins).backward()
        assert reference.grad is None and margins.grad is None and s.grad is not None, name


def test_standardise():
    labels = torch.tensor([[1.0, 3.0, math.nan], [0.1, 0.1, 0.1], [math.inf, 2.0, 2.0]])
    where = torch.tensor([[True, True, False], [True, True, True], [False, True, True]])
    assert standardise(labels, where).tolist() == [[-1.0, 1.0, 0.0], [0.0] * 3, [0.0] * 3]
    y = standardise(battery.tensors(battery.random_list(1, 50))[1])
    assert y.mean().item() == pytest.approx(0, abs=1e-12) and y.square().mean().item() == pytest.approx(1)
    assert standardise(torch.zeros(2, 0)).shape == (2, 0)


def test_log_targets():
    where = torch.tensor([True, True, True, False])
    z = torch.tensor([0.6, 0.0, 0.4, math.nan], dtype=torch.float64)
    assert log_targets(z, where, eps=0.01).tolist() == pytest.approx([*np.log([0.61, 0.01, 0.41]), 0.0])
    assert log_targets(torch.zeros(2, 3), eps=0.1).abs().max() == 0  # blank: nothing to say
    assert log_targets(torch.zeros(2, 0)).shape == (2, 0)
    objectives = torch.stack([z, z.flip(0)], -1)
    both = log_targets(objectives.mT, where.flip(0) & where, eps=0.01).mT
    assert both[1].tolist() == pytest.approx([math.log(0.01), math.log(0.41)]) and both[3].tolist() == [0, 0]


def test_rewards_of_several_objectives_at_once():
    labels = torch.stack([Y1, Y2, torch.zeros_like(Y1)], -1)
    where = torch.tensor([True, True, True, False])
    at_once = standardise(labels.mT, where.unsqueeze(-2)).mT
    for k in range(3):
        torch.testing.assert_close(at_once[:, k], standardise(labels[:, k], where))


def test_margins_leave_the_main_objective_out():
    rewards = torch.tensor([[math.nan, 5.0, 1.0], [math.inf, 3.0, 2.0]])
    w = torch.tensor([0.5, 0.3, 0.2])
    assert margin_rewards(rewards, w, 0).tolist() == pytest.approx([1.7, 1.3])
    batch = margin_rewards(rewards.nan_to_num(0, 0).expand(4, 2, 3), w.expand(4, 3), -1)
    assert batch.shape == (4, 2) and batch[0].tolist() == pytest.approx([1.5, 0.9])


def test_earlier_rewards_add_up_the_rounds():
    earlier = torch.tensor([[0.0, 1.0, 4.0], [0.0, 2.0, 0.0]])
    assert earlier_rewards(earlier, torch.tensor([1.0, 0.5]), 2.0).tolist() == [5.0, 2.0]
    assert earlier_rewards(earlier[:, :1]).tolist() == [0.0, 0.0]


# ----------------------------------------------------------------------------------------------- by name, and refusals


def test_a_preference_loss_by_name():
    f = dpo(loss("listnet", target="lin"), beta=2.0)
    assert (f.name, f.needs, repr(f)) == ("listnet-dpo", "pair", "listnet-dpo(beta=2.0, target='lin')")
    assert pickle.loads(pickle.dumps(f)) == f == preference_loss("listnet-dpo", beta=2.0, target="lin")
    assert dpo(loss("listnet", target="lin"), target="soft").params["target"] == "soft"
    code = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).needs)"
    answer = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(f), capture_output=True, check=True)
    assert answer.stdout.split() == [b"pair"]


def test_every_loss_of_the_catalogue_has_a_reference_form():
    assert {n + "-dpo" for n in LOSSES.names()} <= set(preference_losses())
    s, y = battery.tensors(battery.random_list(1, 6, ties=False))
    for name in LOSSES.names():
        torch.testing.assert_close(dpo(name)(s, y), loss(name)(s, y))
        assert "bounds" not in dpo(name).entry.claims


def test_a_wrapped_loss_says_which_lists_count():
    wrappers = [e.name for e in LOSSES if "wraps" in e.claims]
    for name in wrappers:
        assert dpo(name, **{LOSSES[name].claims["wraps"]: "listnet"}).needs == "pair"
        assert dpo(name).needs == LOSSES[name].claims["needs"]


def test_means_are_over_lists_that_count():
    scores, labels, where = battery.pad([battery.WORKED, (np.ones(3), np.zeros(3)), battery.random_list(1, 6)])
    f = preference_loss("dpo")
    values = f(scores, labels, where, reference=scores.square())
    assert values[1] == 0
    assert f.reduce(values, labels, where).item() == pytest.approx((values[0] + values[2]).item() / 2)


def test_mistakes_are_named():
    for name, params, message in (
        ("listnett-dpo", {}, "Did you mean 'listnet-dpo'"),
        ("dppo", {}, "Did you mean 'dpo'"),
        ("dpo", {"pair": "all"}, "Did you mean 'pairs'"),
        ("dpo", {"pairs": "best_with_other"}, "Did you mean 'best_with_others'"),
        ("dpo", {"beta": 0.0}, "beta must be above 0"),
        ("dpo", {"beta": "hot"}, "does not take"),
        ("dpo", {"normalise": "documents"}, "Known: none, pairs"),
        ("listnet-dpo", {"target": "linear"}, "Did you mean 'lin'"),
        ("focalpo", {"gamma": -0.1}, "gamma >= 0"),
        ("hpo", {"spread": 0.0}, "spread > 0"),
        ("hpo", {"on": "score"}, "Did you mean 'scores'"),
        ("modpo", {"floor": 0.0}, "floor in"),
        ("modpo", {"share": math.nan}, "share must be above 0"),
        ("modpo", {"curve": "squared"}, "unknown curve"),
        ("mrpo", {"mix": 2.0}, "mix in"),
        ("mrpo", {"form": "mix"}, "Did you mean 'mixed'"),
        ("mallowspo", {"dispersion": -1.0}, "dispersion must be above 0"),
        ("mallowspo", {"form": "phi"}, "unknown form"),
        ("mallows", {"tau": 0.0}, "tau > 0"),
    ):
        with battery.about(name, params), pytest.raises(InputError, match=message):
            preference_loss(name, **params)


def test_wrong_shapes_are_named():
    s = torch.zeros(2, 3)
    for name in preference_losses():
        f = preference_loss(name)
        for tensor in ("reference", "margins"):
            with pytest.raises(InputError, match=f"{tensor} and scores differ in shape"):
                f(s, s, **{tensor: torch.zeros(3)})
        with pytest.raises(InputError, match="labels and scores differ in shape"):
            f(s, torch.zeros(2, 3, 2), reference=s)
        with pytest.raises(InputError, match="beta does not fit"):
            f(s, s, beta=torch.ones(3))
    with pytest.raises(InputError, match="reference2 and scores"):
        preference_loss("mrpo")(s, s, reference2=torch.zeros(3))
    with pytest.raises(InputError, match="auxiliary and scores"):
        preference_loss("hpo")(s, s + 1, auxiliary=torch.zeros(3))
    with pytest.raises(InputError, match="dispersion does not fit"):
        preference_loss("mallows")(s, s, dispersion=torch.ones(3))
    with pytest.raises(InputError, match="one of the two"):
        preference_loss("spo")(s, s, reference=s, earlier=s[..., None])
    with pytest.raises(InputError, match="finished rounds"):
        earlier_rewards(torch.zeros(2, 3, 3), torch.ones(3))
    with pytest.raises(InputError, match="differ in their objectives"):
        margin_rewards(torch.zeros(2, 3, 4), torch.ones(3), 0)
    with pytest.raises(InputError, match="eps > 0"):
        log_targets(torch.tensor([1.0, 0.0]))
    with pytest.raises(InputError, match="low < high"):
        dispersion_index(s, low=0.5, high=0.2)
    with pytest.raises(InputError, match="grades >= 2"):
        label_entropy(s, grades=1)
    with pytest.raises(InputError, match="temperature > 0"):
        reference_entropy(s, temperature=0.0)
    with pytest.raises(InputError, match="Did you mean 'listnet'"):
        dpo("listnett")


@pytest.mark.parametrize("entry", PREFERENCE_LOSSES, ids=lambda e: e.name)
def test_long_lists_need_no_square_memory(entry, device):
    """2,000 documents have 4 million pairs; no tensor of a forward and backward pass holds more than a block."""
    assert 2000 <= properties.largest(Referenced(entry), 1, 2000, device) <= 100_000
