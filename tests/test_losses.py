"""Losses: the property battery over the whole catalogue, worked values, brute-force references, outside witnesses."""

from __future__ import annotations

import itertools
import json
import math
import pickle
import subprocess
import sys
from pathlib import Path

import battery
import numpy as np
import properties
import pytest
import reference
import torch

from ltr import ops
from ltr.catalogue import Entry
from ltr.errors import InputError
from ltr.losses import LOSSES, PREFERENCE_LOSSES, counts, describe, loss, reduce
from ltr.losses.plackett import _SampledReward
from ltr.losses.smooth import ranks as smooth
from ltr.losses.sortnet import _sort_gains

GOLDEN = Path(__file__).with_name("golden")
EVERY = pytest.mark.parametrize("entry", LOSSES, ids=lambda entry: entry.name)


# ------------------------------------------------------------------------------------------------------ the battery


@EVERY
def test_every_property_and_every_claim(entry, device):
    properties.prove(entry, device)


@EVERY
def test_equals_the_loops(entry, device):
    """Value by value against tests/reference.py, for every choice, on every case, with and without weights."""
    for f, (name, (s, y)) in itertools.product(battery.variants(entry), battery.cases().items()):
        if not reference.counts(y.tolist(), entry.claims["needs"]):
            continue  # 0 by the rule of `needs`, which the claim proves
        for w in (np.ones(len(s)), np.random.default_rng(1).uniform(0.2, 2, len(s))):
            expected = reference.LOSSES[entry.name](s.tolist(), y.tolist(), w.tolist(), **f.params)
            came = f(*battery.tensors((s, y), device=device), weights=torch.as_tensor(w, device=device)).item()
            assert came == pytest.approx(expected, rel=1e-9, abs=1e-9), (str(f), name)


# ---------------------------------------------------------------------------------- the battery catches what it should


def _mutant(function, name="mutant", **claims) -> Entry:
    return Entry(name, function, claims={"needs": "document"} | claims)


def _mse(scores, labels, where=None, *, weights=None, generator=None):
    return LOSSES["mse"].function(scores, labels, where, weights=weights, generator=generator)


def _ranknet(scores, labels, where=None, *, weights=None, generator=None):
    return LOSSES["ranknet"].function(scores, labels, where, weights=weights, generator=generator)


def _soft01(scores, labels, where=None, *, weights=None, generator=None):
    """Honest and not convex: a saturating function of the squared error."""
    return torch.tanh(_mse(scores, labels, where, weights=weights, generator=generator))


@pytest.mark.parametrize(
    ("function", "claims"),
    [
        (_mse, {"shift_invariant": True}),
        (_ranknet, {"needs": "pair", "shift_invariant": False}),
        (_soft01, {"convex": True}),
        (_mse, {"convex": False}),
        (_mse, {"ordinal": True}),
        (_ranknet, {"needs": "pair", "bounds": "1-ndcg"}),
        (_mse, {"bounds": "1-map"}),
        (_mse, {"stochastic": "label ties"}),
        (_mse, {"stochastic": True}),
        (_mse, {"needs": "gain"}),
        (_mse, {"surrogate": True}),
        (_ranknet, {"needs": "contrast"}),
        (_ranknet, {"needs": "pair", "bounds": "rank sum"}),
        (_ranknet, {"needs": "document"}),
        (LOSSES["listmle"].function, {"needs": "pair"}),  # random, and does not say so
        (_mse, {"gains": "linear"}),
        (_mse, {"tastes": "good"}),
        (_mse, {"needs": None}),
    ],
    ids=lambda x: getattr(x, "__name__", str(x)),
)
def test_a_false_claim_fails(function, claims, device):
    with pytest.raises((AssertionError, KeyError)):
        properties.prove_claims(battery.Bound(_mutant(function, **claims)), device)


def test_a_missing_claim_of_needs_fails(device):
    with pytest.raises(AssertionError, match="which lists count"):
        properties.prove_claims(battery.Bound(Entry("silent", _mse)), device)


def _broken(change):
    """`_mse` with one mistake: `change(scores, labels, where, weights, value)` returns the wrong value."""

    def f(scores, labels, where=None, *, weights=None, generator=None):
        real = torch.ones_like(labels, dtype=torch.bool) if where is None else where
        return change(scores, labels, real, weights, _mse(scores, labels, where, weights=weights))

    return f


def _masked_after(s, y, real, w, value):
    return ((s - y) ** 2 * real * (1 if w is None else w)).nansum(-1) / real.sum(-1).clamp(min=1)


@pytest.mark.parametrize(
    ("prop", "change"),
    [
        ("one_value_per_list", lambda s, y, m, w, v: v.mean()),
        ("one_value_per_list", lambda s, y, m, w, v: v.float()),
        ("pads_change_nothing", _masked_after),
        ("pads_change_nothing", lambda s, y, m, w, v: v * m.shape[-1]),
        ("lists_do_not_meet", lambda s, y, m, w, v: v - v.mean()),
        ("order_of_documents_is_nothing", lambda s, y, m, w, v: v * (1 + s[..., :1].sum(-1).sigmoid())),
        ("always_finite", lambda s, y, m, w, v: v.exp()),
        ("always_finite", lambda s, y, m, w, v: v.detach()),
        ("precision_is_float32_at_least", lambda s, y, m, w, v: v.to(s.dtype).float()),
        ("gradient_is_the_derivative", lambda s, y, m, w, v: v * v.detach()),
        ("weights_are_multipliers", lambda s, y, m, w, v: v if w is None else v / w.nansum(-1).clamp(min=1e-3)),
        ("weights_are_multipliers", lambda s, y, m, w, v: _mse(s, y, m)),
        ("inputs_stay", lambda s, y, m, w, v: (v, y.mul_(2))[0]),
        ("inputs_stay", lambda s, y, m, w, v: v + torch.rand(()).item()),
        ("same_seed_same_value", lambda s, y, m, w, v: v + torch.rand(()).item()),
        ("descent_sorts_the_list", lambda s, y, m, w, v: -v),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_broken_loss_fails(prop, change, device):
    holds = next(p for p in properties.UNIVERSAL if p.__name__ == prop)
    with pytest.raises((AssertionError, RuntimeError)):
        holds(battery.Bound(_mutant(_broken(change))), device)
    holds(battery.Bound(_mutant(_mse)), device)  # and the same property lets the sound one through


def test_every_property_has_a_mutant_that_it_catches():
    mark = next(m for m in test_a_broken_loss_fails.pytestmark if m.name == "parametrize")
    assert {case[0] for case in mark.args[1]} == {p.__name__ for p in properties.UNIVERSAL}


# -------------------------------------------------------------------------------------------------- worked values


def test_every_loss_has_its_golden_value_and_its_loops(device):
    record = json.loads((GOLDEN / "losses.json").read_text())
    worked = battery.tensors((record["list"]["scores"], record["list"]["labels"]), device=device)
    for row in record["values"]:
        value = loss(row["loss"], **row["params"])(*worked).item()
        assert value == pytest.approx(row["value"], abs=1e-5), row
    assert {row["loss"] for row in record["values"]} == set(LOSSES.names()) == set(reference.LOSSES)


@pytest.mark.parametrize("witness", ["rax", "allrank"])
def test_outside_witness(witness, device):
    """tests/golden/ask_rax.py and ask_allrank.py; what they needed to speak our language stands in `converted`."""
    record = json.loads((GOLDEN / f"losses_{witness}.json").read_text())
    assert record["answers"]
    for row in record["answers"]:
        each = record["lists"][row["list"]]
        lists = (torch.tensor(each[name], dtype=torch.float64, device=device) for name in ("scores", "labels"))
        value = loss(row["loss"], **row["params"])(*lists).item()
        assert value == pytest.approx(row["value"], rel=2e-6, abs=2e-6), row


def test_where_a_witness_disagrees_the_slow_formula_decides():
    rows = json.loads((GOLDEN / "losses_allrank.json").read_text())["disagrees"]
    assert rows
    for row in rows:
        s, y = row["list"]["scores"], row["list"]["labels"]
        ours = loss(row["loss"], **row["params"])(torch.tensor(s, dtype=torch.float64), torch.tensor(y)).item()
        assert ours == pytest.approx(reference.LOSSES[row["loss"]](s, y, [1.0] * len(s), **row["params"]), abs=1e-8)
        assert 2e-6 < abs(ours - row["value"]) < 1e-4, row["why"]


def test_hand_formulas():
    """The worked list, s = (1.2, .4, 1.9, -.3), y = (1, 3, 0, 2), written out."""
    s, y = torch.tensor([1.2, 0.4, 1.9, -0.3], dtype=torch.float64), torch.tensor([1, 3, 0, 2])

    def lost(a, b):  # a should beat b
        return math.log(1 + math.exp(-(a - b)))

    six = [(0.4, -0.3), (0.4, 1.2), (0.4, 1.9), (-0.3, 1.2), (-0.3, 1.9), (1.2, 1.9)]
    assert loss("ranknet", normalise="none")(s, y).item() == pytest.approx(sum(lost(a, b) for a, b in six))
    assert loss("ranknet")(s, y).item() == pytest.approx(sum(lost(a, b) for a, b in six) / 6)

    d = [1 / math.log2(1 + r) for r in (1, 2, 3, 4)]  # 1.9, 1.2, 0.4, -0.3 stand at ranks 1 to 4
    ideal = 7 * d[0] + 3 * d[1] + 1 * d[2]
    omega = [
        (7 - 3) * (d[2] - d[3]),
        (7 - 1) * (d[1] - d[2]),
        (7 - 0) * (d[0] - d[2]),
        (3 - 1) * (d[1] - d[3]),
        (3 - 0) * (d[0] - d[3]),
        (1 - 0) * (d[0] - d[1]),
    ]
    expected = sum(w / ideal * lost(a, b) / math.log(2) for w, (a, b) in zip(omega, six, strict=True))
    assert loss("lambdarank")(s, y).item() == pytest.approx(expected)

    total = sum(math.exp(v) for v in (1.2, 0.4, 1.9, -0.3))
    logp = [v - math.log(total) for v in (1.2, 0.4, -0.3)]
    assert loss("listnet")(s, y).item() == pytest.approx(-(1 * logp[0] + 7 * logp[1] + 3 * logp[2]) / 11)
    assert loss("listnet", target="lin")(s, y).item() == pytest.approx(-(1 * logp[0] + 3 * logp[1] + 2 * logp[2]) / 6)

    drawn = [0.4, -0.3, 1.2, 1.9]  # by label
    stages = [math.log(sum(math.exp(v) for v in drawn[t:])) - drawn[t] for t in range(4)]
    assert loss("listmle", normalise="none")(s, y).item() == pytest.approx(sum(stages))
    assert loss("mse")(s, y).item() == pytest.approx((0.2**2 + 2.6**2 + 1.9**2 + 2.3**2) / 4)


def test_lambdarank_equals_lightgbm(device):
    """Gradients of LightGBM's lambdarank (tests/golden/ask_lightgbm.py); it looks its sigmoid up in a table."""
    record = json.loads((GOLDEN / "losses_lightgbm.json").read_text())
    scores = torch.tensor(record["scores"], dtype=torch.float64, device=device).split(record["groups"])
    labels = torch.tensor(record["labels"], dtype=torch.float64, device=device).split(record["groups"])
    for answer in record["answers"]:
        k, sigma = answer["lambdarank_truncation_level"], answer["sigmoid"]
        ours = (
            loss("lambdarank_lightgbm", sigma=sigma, k=k)
            if answer["lambdarank_norm"]
            else loss("lambdarank", base=math.e, sigma=sigma, truncation="either", k=k)
        )
        pulls = [properties.value_and_gradient(ours, s, y)[1] for s, y in zip(scores, labels, strict=True)]
        expected = torch.tensor(answer["gradients"], dtype=torch.float64, device=device)
        torch.testing.assert_close(torch.cat(pulls), expected, rtol=0, atol=1e-5)
        assert expected.abs().max() > 0.1


# ------------------------------------------------------------------------------------------- losses against each other


@pytest.mark.parametrize("labels", [[1.0, 0.0], [0.0, 1.0]])
def test_two_documents_are_one_pair(labels):
    """ListMLE, ListNet and RankNet are one function there, and LambdaRank a multiple: omega = 1 - 1/log2(3)."""
    s, y = torch.tensor([0.3, 1.7], dtype=torch.float64), torch.tensor(labels)
    pair = loss("ranknet")(s, y).item()
    assert loss("listmle", normalise="none")(s, y).item() == pytest.approx(pair)
    assert loss("listnet")(s, y).item() == pytest.approx(pair)
    assert loss("lambdarank")(s, y).item() == pytest.approx(pair * (1 - 1 / math.log2(3)) / math.log(2))


def test_one_relevant_document_is_classification():
    """ListNet with any target of one label above 0 is cross entropy with that class; so is ListMLE's first stage."""
    s, y = battery.tensors(battery.cases()["one relevant among many"])
    expected = torch.nn.functional.cross_entropy(s, y.argmax())
    torch.testing.assert_close(loss("listnet")(s, y), expected)
    torch.testing.assert_close(loss("listnet", target="lin")(s, 3 * y), expected)
    torch.testing.assert_close(loss("listmle", normalise="none")(s, y, weights=y), expected)


def test_listnet_is_smallest_at_its_target():
    """softmax(s) = z: the value is the entropy of z, the gradient 0."""
    _, y = battery.tensors(battery.WORKED)
    for target, z in (("soft", y.softmax(-1)), ("gain", (2**y - 1 + 0.1) / (2**y - 1 + 0.1).sum())):
        f = loss("listnet", target=target, **({"eps": 0.1} if target == "gain" else {}))
        value, gradient = properties.value_and_gradient(f, z.log() + 5.0, y)
        torch.testing.assert_close(value, -(z * z.log()).sum())
        torch.testing.assert_close(gradient, torch.zeros_like(z))
    hot = loss("listnet", target="soft", temperature=2.0)
    assert properties.value_and_gradient(hot, y / 2, y)[1].abs().max() < 1e-12


def test_grades_zero_and_one_need_no_label_differences():
    """With two grades that differ by 1 all weightings of RankNet agree, and gains are linear."""
    s, y = battery.tensors(battery.random_list(5, 20))
    y = (y > 1).double()
    for weighting in ("labeldiff", "squarediff"):
        torch.testing.assert_close(loss("ranknet", weighting=weighting)(s, y), loss("ranknet")(s, y))
    torch.testing.assert_close(loss("lambdarank", gain="linear")(s, y), loss("lambdarank")(s, y))
    torch.testing.assert_close(loss("listnet", target="lin")(s, y), loss("listnet")(s, y))


@pytest.mark.parametrize("k", [None, 1, 3, 5])
def test_the_weight_of_lambdarank_is_the_change_of_ndcg(k):
    """At a pair's own scores: swap the two documents, measure NDCG@k again, and take the difference."""
    s, y = (v.tolist() for v in battery.random_list(11, 7))
    for i, j in reference.pairs(y):
        swapped = list(s)
        swapped[i], swapped[j] = s[j], s[i]
        change = abs(reference.ndcg(swapped, y, k=k) - reference.ndcg(s, y, k=k))
        only = torch.zeros(7, dtype=torch.float64)  # weights leave the pairs in which i is the better one
        only[i] = 1
        scores = torch.tensor(s, dtype=torch.float64)
        gradient = properties.value_and_gradient(loss("lambdarank", k=k), scores, torch.tensor(y), weights=only)[1]
        slope = 1 / (1 + math.exp(s[i] - s[j])) / math.log(2)
        assert gradient[j].item() == pytest.approx(change * slope, abs=1e-12)


def test_truncations_beyond_the_list_cut_nothing():
    batch = battery.pad(battery.cases().values())
    for truncation in ("discount", "either", "both"):
        torch.testing.assert_close(loss("lambdarank", k=100, truncation=truncation)(*batch), loss("lambdarank")(*batch))


def test_truncations_differ():
    s, y = battery.tensors(battery.random_list(3, 12))
    values = {t: loss("lambdarank", k=3, truncation=t)(s, y).item() for t in ("discount", "either", "both")}
    assert values["both"] < values["either"] < values["discount"]


def test_a_lost_pair_keeps_its_pull():
    """However far apart: a clamped sigmoid stops learning exactly where the ranking is worst."""
    for gap in (10.0, 100.0, 1e4):
        scores = torch.tensor([0.0, gap])
        labels = torch.tensor([1.0, 0.0])
        for name in ("ranknet", "listnet"):
            gradient = properties.value_and_gradient(loss(name), scores, labels)[1]
            assert gradient.tolist() == pytest.approx([-1, 1], abs=1e-4)
        omega = (1 - 1 / math.log2(3)) / math.log(2)
        gradient = properties.value_and_gradient(loss("lambdarank"), scores, labels)[1]
        assert gradient.tolist() == pytest.approx([-omega, omega], rel=1e-4)


def test_tied_labels_are_drawn_uniformly():
    """ListMLE over all draws is the mean over the orders of the tied documents."""
    s, y = torch.tensor([0.0, 1.0, 2.5], dtype=torch.float64), torch.tensor([1.0, 1.0, 0.0])
    one, other = (loss("listmle")(s, torch.tensor(t)).item() for t in ([2.0, 1.0, 0.0], [1.0, 2.0, 0.0]))
    generator = torch.Generator().manual_seed(0)
    draws = loss("listmle")(s.expand(4000, 3), y.expand(4000, 3), generator=generator)
    assert sorted(set(draws.round(decimals=9).tolist())) == pytest.approx(sorted([one, other]))
    assert draws.mean().item() == pytest.approx((one + other) / 2, abs=0.02)
    assert loss("listmle")(s, y).item() == pytest.approx(one)  # without a generator: the order of the list


# ----------------------------------------------------------------------------------------- the pair and lambda families


def test_families_are_sums_of_each_other(device):
    s, y, where = battery.pad(battery.cases().values(), device=device)
    for mu in (0.0, 1.0, 10.0):
        both = loss("lambdarank")(s, y, where) + mu * loss("ndcgloss2")(s, y, where)
        torch.testing.assert_close(loss("ndcgloss2pp", mu=mu)(s, y, where), both)
    arp = loss("ranknet", weighting="labeldiff", normalise="none")(s, y, where) / math.log(2)
    torch.testing.assert_close(loss("arploss2")(s, y, where), arp)
    hot = (y > 1).double()  # one threshold: the label is the gain, and Loss1 is ARP-Loss1 with discounts
    torch.testing.assert_close(loss("ndcgloss2", gain="linear")(s, hot, where), loss("ndcgloss2")(s, hot, where))


@pytest.mark.parametrize(
    "name",
    [
        "ranknet",
        "hinge",
        "exponential",
        "softzeroone",
        "lambdarank",
        "ndcgloss2",
        "ndcgloss2pp",
        "lambdarank_lightgbm",
        "lambdamrr",
    ],
)
def test_a_cut_off_beyond_the_list_cuts_nothing(name):
    batch = battery.pad(battery.cases().values())
    truncations = ("either", "both", "rescale") if name.startswith("ndcgloss2") else (None,)
    for truncation in truncations:
        how = {} if truncation is None else {"truncation": truncation}
        torch.testing.assert_close(loss(name, k=100, **how)(*batch), loss(name, k=None)(*batch))


def test_a_cut_off_keeps_the_pairs_with_a_document_above_it():
    """One better document at rank 4 of 5: at k = 2 it is compared with the two above the cut only."""
    s = torch.tensor([5.0, 4.0, 3.0, 2.0, 1.0])
    y = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0])
    assert loss("hinge", k=2, normalise="none")(s, y).item() == 4 + 3
    assert loss("hinge", k=2)(s, y).item() == (4 + 3) / 2
    assert loss("hinge", normalise="none")(s, y).item() == 4 + 3 + 2 + 0


def test_margins():
    s, y = torch.tensor([0.0, 0.0]), torch.tensor([3.0, 0.0])
    assert loss("hinge", margin=0.5)(s, y) == 0.5
    assert loss("hinge", margin=0.5, per="grade")(s, y) == 1.5
    assert loss("hinge", margin=0.5, per="grade", power=2)(s, y) == 2.25
    won = torch.tensor([4.0, 0.0])
    assert loss("hinge", per="grade")(won, y) == 0
    assert properties.value_and_gradient(loss("hinge", power=2), won, y)[1].tolist() == [0, 0]


def test_the_maximisation_step_is_convex_and_the_expectation_step_is_the_ranks():
    """LambdaLoss as EM: `at` fixes the ranks; at the scores themselves nothing changes, anywhere else it is convex."""
    a, y = battery.tensors(battery.random_list(1, 9))
    b = torch.as_tensor(battery.random_list(2, 9)[0])
    for name in ("lambdarank", "ndcgloss1", "ndcgloss2", "ndcgloss2pp", "lambdaprecision", "lambdamrr", "lambdamap"):
        f = LOSSES[name].function
        torch.testing.assert_close(f(a, y, at=a), f(a, y))
        torch.testing.assert_close(f(a, y, at=3 * a - 1), f(a, y))  # ranks are all it takes
        assert f(a, y, at=b) != f(a, y)
        for seed in range(20):
            c, d = (torch.as_tensor(battery.random_list(s, 9, spread=3.0)[0]) for s in (seed, seed + 50))
            middle = f((c + d) / 2, y, at=b)
            assert middle <= (f(c, y, at=b) + f(d, y, at=b)) / 2 + 1e-12, name
    with pytest.raises(InputError, match="at and scores"):
        LOSSES["lambdarank"].function(a, y, at=b[:3])


@pytest.mark.parametrize(("name", "params"), [("lambdamap", {}), ("lambdaprecision", {"k": 4})])
def test_measures_of_relevance_bring_all_relevant_documents_up(name, params):
    scores = torch.linspace(1, 0, 9, dtype=torch.float64).requires_grad_()
    labels = torch.tensor([0, 1, 0, 0, 2, 0, 1, 0, 1])
    optimiser = torch.optim.Adam([scores], lr=0.05)
    for _ in range(100):
        optimiser.zero_grad()
        loss(name, **params)(scores, labels).backward()
        optimiser.step()
    assert set(scores.argsort(descending=True)[:4].tolist()) == {1, 4, 6, 8}


def _plackett_luce(s, order):
    """The chance of one ranking."""
    return math.prod(math.exp(s[i]) / sum(math.exp(s[j]) for j in order[t:]) for t, i in enumerate(order))


@pytest.mark.parametrize("y", [[2, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 0, 0, 0, 0], [0, 3, 3, 1, 1], [4, 3, 2, 1, 0]])
def test_plackett_luce_with_ties_is_the_sum_over_all_orders_within_the_grades(y):
    for spread in (0.01, 1.0, 8.0):
        _is_the_sum_over_orders(y, spread)


def _is_the_sum_over_orders(y, spread):
    s = (battery.random_list(3, 5)[0] * spread).tolist()
    chance = sum(
        _plackett_luce(s, order)
        for order in itertools.permutations(range(5))
        if all(y[a] >= y[b] for a, b in itertools.pairwise(order))
    )
    value = loss("plackettluce", normalise="none")(torch.tensor(s, dtype=torch.float64), torch.tensor(y))
    assert value.item() == pytest.approx(-math.log(chance), rel=1e-11)


def test_plackett_luce_without_ties_is_listmle(device):
    for case in battery.cases(ties=False).values():
        scores, labels = battery.tensors(case, device=device)
        for normalise in ("documents", "none"):
            ours, theirs = (
                properties.value_and_gradient(loss(name, normalise=normalise), scores, labels)
                for name in ("plackettluce", "listmle")
            )
            for a, b in zip(ours, theirs, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


def test_listmle_spends_more_than_ties_ask_for():
    """Every order within the grades is one of those the tied likelihood adds up."""
    for case in battery.cases().values():
        scores, labels = battery.tensors(case)
        assert loss("plackettluce")(scores, labels) <= loss("listmle")(scores, labels) + 1e-9


@pytest.mark.parametrize("k", [1, 3, None])
def test_policy_gradient_is_unbiased_by_the_sum_over_all_rankings(k):
    """The mean of PL-Rank's estimate over all 120 rankings, by their chances, is the gradient of E[NDCG@k]."""
    s, y = battery.tensors(battery.random_list(9, 5, ties=False))
    where = torch.ones(5, dtype=torch.bool)
    worth = (2**y - 1) / reference.ideal_dcg(y.tolist(), k=k)
    d = [1 / math.log2(2 + t) if t < (k or 5) else 0.0 for t in range(5)]
    estimate, expected = torch.zeros(5, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    exact = s.clone().requires_grad_()
    for order in itertools.permutations(range(5)):
        chance = _plackett_luce(s.tolist(), order)
        noise = torch.empty(1, 5, dtype=torch.float64)
        noise[0, list(order)] = 1000.0 * torch.arange(5, 0, -1, dtype=torch.float64)  # forces this ranking
        scores = s.clone().requires_grad_()
        value = _SampledReward.apply(scores, noise, worth, where, k)
        gradient = torch.autograd.grad(value, scores)[0]
        estimate += chance * gradient
        reward = sum(worth[i] * d[t] for t, i in enumerate(order))
        assert value.item() == pytest.approx(reward.item())
        logs = [exact[i] - exact[list(order[t:])].logsumexp(0) for t, i in enumerate(order)]
        expected = expected + sum(logs).exp() * reward
    torch.testing.assert_close(estimate, torch.autograd.grad(expected, exact)[0])
    # And the sampler draws what it should: the mean over many draws comes near.
    wide = s.expand(400, 5).clone().requires_grad_()
    values = loss("plrank", k=k, samples=50)(wide, y.expand(400, 5), generator=properties.seeded("cpu"))
    assert values.mean().item() == pytest.approx(1 - expected.item(), abs=0.01)
    drawn = torch.autograd.grad(values.sum(), wide)[0].mean(0)
    torch.testing.assert_close(-drawn, estimate, rtol=0, atol=0.01)


def test_position_aware_listmle_is_not_unique_softmax():
    """They agree where the labels are n-1..0, as on the worked list, and nowhere else."""
    s, y = battery.tensors(battery.WORKED)
    a, b = loss("plistmle", normalise="none"), loss("uniquesoftmax", normalise="none")
    torch.testing.assert_close(a(s, y), b(s, y))
    assert (a(s, 2 * y) - b(s, 2 * y)).abs() > 1
    with pytest.raises(InputError, match="overflows"):
        a(torch.zeros(121), torch.arange(121.0))
    assert loss("plistmle")(torch.zeros(2000), torch.arange(2000.0)).isfinite()


def test_xendcg_draws_between_its_ends():
    """Every draw lies between the values at the corners of the cube that c is drawn from."""
    s, y = battery.tensors(battery.WORKED)
    assert loss("xendcg")(s, y).item() == pytest.approx(2.1431, abs=1e-4)
    generator = properties.seeded("cpu")
    draws = loss("xendcg")(s.expand(2000, 4), y.expand(2000, 4), generator=generator)
    logp = s.log_softmax(-1)
    corners = (2**y - torch.tensor(c) for c in itertools.product((0.0, 1.0), repeat=4))
    ends = [-(phi / phi.sum() * logp).sum().item() for phi in corners]
    assert min(ends) - 1e-9 <= draws.min().item() and draws.max().item() <= max(ends) + 1e-9
    assert draws.std() > 0.02


# --------------------------------------------------------------------------------------------------- smooth measures


SMOOTH = [
    ("approxndcg", "temperature", 1e-5),
    ("softrank", "deviation", 1e-5),
    ("neuralndcg", "temperature", 1e-4),
    ("pirank", "temperature", 1e-4),
    ("sortnetndcg", "steepness", 1e9),
]


@pytest.mark.parametrize(("name", "scale", "sharp"), SMOOTH)
@pytest.mark.parametrize("k", [None, 2])
def test_sharp_smooth_measures_are_the_measure(name, scale, sharp, k):
    cases = [battery.random_list(seed, n, ties=seed % 2 == 0) for seed in range(6) for n in (2, 3, 5, 8, 13, 16, 17)]
    cases = [(s, y) for s, y in cases if len(set(y)) > 1]
    cut = {"cut": 1e-3} if "cut" in describe_parameters(name) else {}
    values = loss(name, k=k, **{scale: sharp}, **cut)(*battery.pad(cases))
    for value, (s, y) in zip(values, cases, strict=True):
        missed = 1 - reference.ndcg(s.tolist(), y.tolist(), k=k)
        assert value.item() == pytest.approx(missed, abs=1e-5)


def describe_parameters(name):
    return next(row for row in describe() if row["name"] == name)["parameters"]


def test_measures_of_exact_ranks_are_the_measures():
    """The functions that smooth ranks are given to, at ranks that are ranks."""
    for seed in range(20):
        s, y = battery.random_list(seed, 3 + seed % 9)
        scores, labels = battery.tensors((s, y))
        where, s, y = torch.ones(len(s), dtype=torch.bool), s.tolist(), y.tolist()
        if not any(y):
            continue
        among = lambda mask, scores=scores: 1 + ((scores > scores[:, None]) & mask).sum(1).to(scores.dtype)  # noqa: E731
        ranks, r = smooth.Ranks(among, lambda rank, k: (rank <= k).to(rank.dtype)), reference.ranks(s)
        for k in (None, 3):
            added, share = smooth.ndcg(ranks, labels, where, k=k)
            assert added.sum().item() == pytest.approx(reference.ndcg(s, y, k=k))
            assert share.sum().item() == pytest.approx(1)
        added, _ = smooth.average_precision(ranks, labels, where)
        assert added.sum().item() == pytest.approx(reference.average_precision(r, y))
        first = torch.zeros_like(labels)
        first[scores.argmin()] = 1  # one relevant document: the reciprocal rank
        added, _ = smooth.reciprocal_rank(ranks, first, where)
        assert added.sum().item() == pytest.approx(reference.reciprocal_rank(r, first.tolist()))


def test_bounds_hold_with_a_cut_off():
    for kind in ("hinge", "logistic"):
        for seed in range(60):
            s, y = battery.random_list(seed, 3 + seed % 9, spread=10.0 ** (seed % 3 - 1))
            if len(set(y)) > 1:
                scores, labels = battery.tensors((s, y))
                ranks, where = smooth.bound_ranks(scores, kind=kind), torch.ones(len(s), dtype=torch.bool)
                for k in (1, 3, None):
                    value = smooth.missed(smooth.ndcg, ranks, labels, where, None, k=k)
                    assert value.item() >= 1 - reference.ndcg(s.tolist(), y.tolist(), k=k) - 1e-12


def test_neural_ndcg_read_from_both_ends():
    """Expected gains per rank and expected discounts per document: d'S g, once; the paper's two variants."""
    s, y = (v.tolist() for v in battery.random_list(3, 20))
    matrix = reference.sinkhorn(reference.neural_sort(s))
    assert np.abs(matrix.sum(0) - 1).max() < 1e-11 and np.abs(matrix.sum(1) - 1).max() < 1e-11
    g, d = np.array(reference.gains(y)), 1 / np.log2(np.arange(2, 22))
    ideal = reference.ideal_dcg(y)
    per_rank, per_document = d @ (matrix @ g) / ideal, g @ (matrix.T @ d) / ideal
    value = 1 - loss("neuralndcg")(torch.tensor(s), torch.tensor(y)).item()
    assert per_rank == pytest.approx(per_document, abs=1e-12) and value == pytest.approx(per_rank, abs=1e-6)


def test_neural_ndcg_is_converged_on_long_lists():
    """float32 on 240 documents is float64 to 1e-6, where 50 rounds of Sinkhorn are not."""
    rng = np.random.default_rng(1)
    scores = torch.tensor(rng.normal(size=(1, 240)))
    labels = torch.tensor(rng.choice(5, size=(1, 240), p=[0.52, 0.32, 0.13, 0.02, 0.01]), dtype=torch.float64)
    ours, slope = properties.value_and_gradient(loss("neuralndcg"), scores.float(), labels.float())
    exact, exact_slope = properties.value_and_gradient(loss("neuralndcg"), scores, labels)
    torch.testing.assert_close(ours.double(), exact, rtol=0, atol=2e-6)
    assert exact_slope.abs().max() > 1e-3
    torch.testing.assert_close(slope.double(), exact_slope, rtol=0, atol=1e-5)
    sinkhorn = reference.sinkhorn(reference.neural_sort(scores[0].tolist()))
    value = reference._sorted_ndcg(sinkhorn, labels[0].tolist(), [1.0] * 240, "exp2", None)
    assert exact[0].item() == pytest.approx(value, abs=1e-9)


def test_neural_ndcg_ignores_what_column_scaling_absorbs():
    """Any offset per column of NeuralSort's logits is undone: the value has no say of sum_l |s_j - s_l|."""
    s, y = (v.tolist() for v in battery.random_list(5, 9))
    log_p = reference.neural_sort(s) + np.random.default_rng(0).normal(size=9)[None, :]
    value = reference._sorted_ndcg(reference.sinkhorn(log_p), y, [1.0] * 9, "exp2", None)
    assert loss("neuralndcg")(*battery.tensors((s, y))).item() == pytest.approx(value, abs=1e-9)


def test_pirank_straight_through():
    """The value of the sorted list, the gradient of the soft one."""
    s, y = battery.tensors(battery.random_list(3, 9))
    for k in (None, 3):
        hard, soft = (
            properties.value_and_gradient(loss("pirank", k=k, straight_through=how), s, y) for how in (True, False)
        )
        assert hard[0].item() == pytest.approx(1 - reference.ndcg(s.tolist(), y.tolist(), k=k))
        torch.testing.assert_close(hard[1], soft[1])


def test_a_sorting_network_conserves_gains_and_sorts_scores():
    scores, labels, where = battery.pad([battery.random_list(seed, n) for seed in range(3) for n in range(1, 20)])
    gains = torch.rand(scores.shape, generator=properties.seeded("cpu"), dtype=scores.dtype) * where
    out = _sort_gains(scores, where, gains, 10.0, "cauchy")
    torch.testing.assert_close(out.sum(-1), gains.sum(-1))
    carried = _sort_gains(scores, where, scores, 1e12, "logistic")  # the scores as their own gains
    for row, real in enumerate(where):
        torch.testing.assert_close(carried[row, real], scores[row, real].sort(descending=True).values)


def test_expected_ranks_under_normal_noise():
    """SoftRank's ranks are what the ranks of noisy scores average to."""
    s, y = battery.tensors(battery.random_list(3, 6))
    noisy = s + 0.7 * torch.randn(40_000, 6, generator=properties.seeded("cpu"), dtype=s.dtype)
    mean = (1 + ops.order(noisy).argsort(-1)).double().mean(0)
    g = 2**y - 1
    value = 1 - (g / torch.log2(1 + mean)).sum() / reference.ideal_dcg(y.tolist())
    assert loss("softrank", deviation=0.7)(s, y).item() == pytest.approx(value.item(), abs=5e-3)


def test_gumbel_copies_average_to_the_expectation_over_rankings():
    """A measure of sharp ranks of noisy scores: its mean is the sum over all 24 rankings by their chances."""
    s, y = (v.tolist() for v in battery.random_list(8, 4, ties=False))
    exact = sum(
        _plackett_luce(s, order) * (1 - reference.ndcg([-order.index(i) for i in range(4)], y))
        for order in itertools.permutations(range(4))
    )
    sharp = loss("gumbel", of="approxndcg", samples=20_000, params={"temperature": 1e-4})
    value = sharp(*battery.tensors((s, y)), generator=properties.seeded("cpu"))
    assert value.item() == pytest.approx(exact, abs=5e-3)


def test_gumbel_wraps_every_loss(device):
    scores, labels, where = battery.pad(battery.cases().values(), device=device)
    for name in LOSSES.names():
        if name == "gumbel":
            continue
        f = loss("gumbel", of=name, samples=3)
        assert f.needs == loss(name).needs
        values, gradient = properties.value_and_gradient(f, scores, labels, where, generator=properties.seeded(device))
        assert values.isfinite().all() and gradient.isfinite().all()
    with pytest.raises(InputError, match="Did you mean 'ranknet'"):
        loss("gumbel", of="ranknett")
    with pytest.raises(InputError, match="not itself"):
        loss("gumbel", of="gumbel")


def test_grades_as_classes():
    """With the default boundaries the classes of gradedce are a normal curve around the score, read at the grades."""
    s = torch.tensor([0.3, 2.2, 3.9], dtype=torch.float64)
    grades = torch.arange(5.0, dtype=torch.float64)
    curve = torch.softmax(-((s.unsqueeze(-1) - grades) ** 2) / 2, -1)
    for i, grade in enumerate((1, 0, 4)):
        expected = -curve[i, grade].log()
        torch.testing.assert_close(loss("gradedce")(s[i : i + 1], torch.tensor([grade])), expected)
    half = loss("gradedce")(s[:1], torch.tensor([1.5]))
    ends = [loss("gradedce")(s[:1], torch.tensor([g])) for g in (1.0, 2.0)]
    torch.testing.assert_close(half, (ends[0] + ends[1]) / 2)


# ------------------------------------------------------------------------------------------------------- means


REGRESSIONS = {"mse", "mae", "huber", "bce", "ordinal", "gradedce", "pairwisemse", "calibratedsoftmax", "rcr"}


def test_lists_whose_labels_are_all_equal_teach_nothing(device):
    """No ranking of such a list is better than another: value 0 and gradient 0, whatever the grade, for every loss of
    both catalogues but regressions, which estimate labels or their differences; and it leaves the mean."""
    scores = torch.randn(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0.0, 1.0, 3.0]).repeat_interleave(6).view(3, 6)
    where = torch.arange(6) < torch.tensor([6, 4, 5])[:, None]
    other = torch.arange(6.0).expand(2, 6) % 4
    y, w = torch.cat([labels, other]).double().to(device), torch.cat([where, where[:1], where[:1]]).to(device)
    y[:3] += 0.5 * ~w[:3]  # what stands in a pad is no label
    for entry in (*LOSSES, *PREFERENCE_LOSSES):
        s = scores.to(device).requires_grad_()
        extra = {"auxiliary": y.flip(-1) * w} if entry.name == "hpo" else {}
        values = entry.function(s, y, w, generator=properties.seeded(device), **extra)
        gradient = torch.autograd.grad(values.sum(), s)[0]
        learns = (values[:3] != 0).any() or (gradient[:3] != 0).any()
        assert bool(learns) == (entry.name in REGRESSIONS), entry.name
        assert (entry.claims["needs"] == "document") == (entry.name in REGRESSIONS), entry.name
        assert (gradient[3:] != 0).any(), entry.name
        mean = reduce(values, y, w, entry.claims["needs"])
        torch.testing.assert_close(mean, (values if entry.name in REGRESSIONS else values[3:]).mean())


def test_reduce_is_the_mean_over_lists_that_count():
    scores, labels, where = battery.pad([battery.WORKED, (np.ones(3), np.zeros(3)), battery.random_list(1, 6)])
    f = loss("ranknet", normalise="none")
    values = f(scores, labels, where)
    assert values[1] == 0
    assert f.reduce(values, labels, where).item() == pytest.approx((values[0] + values[2]).item() / 2)
    assert reduce(values, labels, where).item() == pytest.approx(values.sum().item() / 3)
    assert counts(labels, where, "pair").tolist() == [True, False, True]
    with pytest.raises(InputError, match="Did you mean 'pair'"):
        counts(labels, where, "pairs")


def test_a_batch_that_counts_nothing_still_trains():
    """Zero, finite, and connected: a step with it leaves the weights where they are."""
    net = torch.nn.Linear(3, 1)
    for entry in LOSSES:
        f = loss(entry.name)
        net.zero_grad()
        scores = net(torch.randn(2, 5, 3)).squeeze(-1)
        labels, where = torch.zeros(2, 5), torch.zeros(2, 5, dtype=torch.bool)
        f.reduce(f(scores, labels, where), labels, where).backward()
        assert all((p.grad == 0).all() for p in net.parameters()), entry.name


# ----------------------------------------------------------------------------------------------- by name, and refusals


def test_a_loss_by_name():
    f = loss("listnet", target="lin")
    assert (f.name, f.needs, repr(f)) == ("listnet", "pair", "listnet(target='lin')")
    assert pickle.loads(pickle.dumps(f)) == f
    s, y = battery.tensors(battery.WORKED)
    assert f(s, y) == LOSSES["listnet"].function(s, y, target="lin")


def test_a_loss_crosses_into_a_fresh_process():
    code = "import pickle, sys; print(pickle.loads(sys.stdin.buffer.read()).needs)"
    sent = pickle.dumps(loss("listmle"))
    answer = subprocess.run([sys.executable, "-c", code], input=sent, capture_output=True, check=True)
    assert answer.stdout.split() == [b"pair"]


def test_mistakes_are_named():
    for name, params, message in (
        ("lamdarank", {}, "Did you mean 'lambdarank'"),
        ("ranknet", {"weigthing": "none"}, "Did you mean 'weighting'"),
        ("mse", {"k": 3}, "no parameters"),
        ("ranknet", {"weighting": "label_diff"}, "Did you mean 'labeldiff'"),
        ("listnet", {"target": "linear"}, "Did you mean 'lin'"),
        ("listnet", {"eps": -1.0}, "eps"),
        ("listnet", {"target": "lin", "eps": 0.1}, "gain target"),
        ("listnet", {"temperature": 2.0}, "soft target"),
        ("listmle", {"normalise": "pairs"}, "Known: documents, none"),
        ("lambdarank", {"sigma": 0.0}, "sigma > 0"),
        ("lambdarank", {"k": 0}, "k >= 1"),
        ("lambdarank", {"gain": "exp"}, "Did you mean 'exp2'"),
        ("lambdarank", {"sigma": "steep"}, "does not take"),
        ("ranknet", {"sigma": -1.0}, "sigma > 0"),
        ("ranknet", {"k": 0}, "k >= 1"),
        ("hinge", {"per": "list"}, "unknown per"),
        ("hinge", {"power": 3}, "power 1 or 2"),
        ("huber", {"delta": 0.0}, "delta > 0"),
        ("bce", {"top": 0}, "top > 0"),
        ("ordinal", {"boundaries": [1.0, 1.0]}, "increasing"),
        ("gradedce", {"boundaries": []}, "at least one"),
        ("ndcgloss2", {"truncation": "discount"}, "unknown truncation"),
        ("ndcgloss2pp", {"mu": -1.0}, "mu >= 0"),
        ("polysoftmax", {"eps": -2.0}, "eps >= -1"),
        ("plrank", {"samples": 0}, "samples >= 1"),
        ("approxndcg", {"temperature": 0.0}, "temperature > 0"),
        ("approxndcg", {"k": 0}, "k >= 1"),
        ("boundndcg", {"kind": "square"}, "unknown kind"),
        ("neuralndcg", {"temperature": -1.0}, "temperature > 0"),
        ("sortnetndcg", {"swap": "hard"}, "unknown swap"),
    ):
        with battery.about(name, params), pytest.raises(InputError, match=message):
            loss(name, **params)


def test_describe_lists_the_catalogue():
    rows = {row["name"]: row for row in describe()}
    assert set(rows) == set(LOSSES.names())
    for row in rows.values():
        assert row["formula"] and row["source"] and row["summary"].endswith(".") and row["claims"]["needs"], row
    assert rows["lambdarank"]["parameters"]["truncation"] == "discount"


def test_wrong_shapes_are_refused():
    s = torch.zeros(2, 3)
    for f in map(loss, LOSSES.names()):
        for message, given, weights in (
            ("labels and scores differ in shape.*one column at a time", (s, torch.zeros(2, 3, 4)), None),
            ("where and scores differ in shape", (s, s, torch.ones(3, dtype=torch.bool)), None),
            ("weights and scores differ in shape", (s, s), torch.ones(2, 1)),
            ("where must be boolean", (s, s, torch.ones(2, 3)), None),
            ("floating point", (s.long(), s), None),
            ("no list axis", (s[0, 0], s[0, 0]), None),
        ):
            with battery.about(f), pytest.raises(InputError, match=message):
                f(*given, weights=weights)


@pytest.mark.parametrize("name", ["lambdarank", "listnet"])
def test_labels_that_are_no_gains_are_refused(name):
    s = torch.zeros(1, 3)
    with pytest.raises(InputError, match="never by a label of -1"):
        loss(name)(s, torch.tensor([[1.0, 0.0, -1.0]]))
    where = torch.tensor([[True, True, False]])
    assert loss(name)(s, torch.tensor([[1.0, 0.0, -1.0]]), where).isfinite().all()  # what stands in a pad is nothing
    with pytest.raises(InputError, match="linear gain"):
        loss(name)(s, torch.tensor([[500.0, 0.0, 1.0]]))


def test_standardised_objectives_are_fine_where_only_order_counts():
    s, y = battery.tensors(battery.random_list(2, 9, ties=False))
    for name in ("ranknet", "listmle"):
        torch.testing.assert_close(loss(name)(s, y - 5.0), loss(name)(s, y))


# ------------------------------------------------------------------------------------------------------------ cost


@pytest.mark.parametrize("entry", [e for e in LOSSES if e.claims.get("memory") != "square"], ids=lambda e: e.name)
def test_long_lists_need_no_square_memory(entry, device):
    """4,000 documents have 16 million pairs; no tensor of a forward and backward pass holds more than a block."""
    assert 4000 <= properties.largest(loss(entry.name), 1, 4000, device) <= 140_000


def test_names_cost_no_torch():
    code = "import sys, ltr.losses; assert 'torch' not in sys.modules; assert 'loss' in dir(ltr.losses)"
    subprocess.run([sys.executable, "-c", code], check=True)
