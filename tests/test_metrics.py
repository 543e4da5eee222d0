"""Measures against a slow witness, against the libraries that compute them too, and against their own claims."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import reference_metrics as witness
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.errors import InputError
from ltr.metrics import MEASURES, PRESETS, Judgements, count, count_blank, evaluate, mean, measure
from ltr.metrics.backends import Lists, NumpyBackend, TorchBackend
from ltr.types import Split

HAND = ([1.2, 0.4, 1.9, -0.3], [1, 3, 0, 2], [0, 4])

# Another value than the default of every argument, so that each one of each measure is looked at.
OTHER = {"gain": "linear", "discount": "letor", "short": "0", "rel": 2, "p": 0.5, "max_grade": 6, "alpha": 0.8}
OTHER |= {"link": "identity", "bins": 3}


def variants(name: str) -> list[str]:
    """A measure of the catalogue at several cut-offs, and with each of its arguments changed."""
    claims = MEASURES[name].claims
    cuts = {"required": ["@1", "@2", "@5", "@100"], "optional": ["", "@1", "@2", "@5", "@100"], "none": [""]}
    cut = {"required": "@3", "optional": "@3", "none": ""}[claims["cutoff"]]
    changed = [f"{name}({key}={OTHER[key]}){cut}" for key in claims["arguments"] if key in OTHER]
    return [name + each for each in cuts[claims["cutoff"]]] + changed


EVERY = [text for entry in MEASURES for text in variants(entry.name)]
# Labels are grades there: more is better, and the labels themselves are the best scores.
# Only the order of the scores counts there.
ORDERS = [text for text in EVERY if not MEASURES[measure(text).name].claims.get("scale")]
GRADED = [text for text in ORDERS if not MEASURES[measure(text).name].claims.get("categories")]


def flat(lists):
    offsets = np.cumsum([0] + [len(s) for s, _ in lists])
    scores = np.concatenate([s for s, _ in lists]) if lists else np.zeros(0)
    labels = np.concatenate([y for _, y in lists]) if lists else np.zeros(0)
    return scores, labels, offsets


def with_rule(text, **rules):
    """The measure with some arguments changed, where it has them."""
    m = measure(text)
    return measure(
        f"{m.name}({','.join(f'{k}={v}' for k, v in {**m.arguments, **rules}.items() if k in m.arguments)})"
        + ("" if m.cutoff is None else f"@{m.cutoff}")
    )


@pytest.fixture(params=["numpy", "torch"])
def arrays(request, device):
    """Both kinds of arrays; tensors on the device of the tests."""
    if request.param == "numpy":
        return NumpyBackend()
    pytest.importorskip("torch")
    return TorchBackend(device)


# -- the hand-worked list ------------------------------------------------------------------------------------------


def test_hand_worked_list():
    """s = (1.2, .4, 1.9, -.3), y = (1, 3, 0, 2): labels stand in the order 0 1 3 2."""
    l2, l3, l5 = math.log2(2), math.log2(3), math.log2(5)
    best = 7 / l2 + 3 / l3 + 1 / 2
    hand = {
        "nDCG": (1 / l3 + 7 / 2 + 3 / l5) / best,
        "nDCG@2": (1 / l3) / (7 + 3 / l3),
        "DCG(gain=linear)": 1 / l3 + 3 / 2 + 2 / l5,
        "DCG(discount=letor)": 1 / 1 + 7 / l3 + 3 / 2,
        "ERR": (1 / 16) / 2 + (15 / 16) * (7 / 16) / 3 + (15 / 16) * (9 / 16) * (3 / 16) / 4,
        "AP": (1 / 2 + 2 / 3 + 3 / 4) / 3,
        "AP(rel=2)": (1 / 3 + 2 / 4) / 2,
        "RR": 1 / 2,
        "RR@1": 0,
        "P@2": 1 / 2,
        "P@8": 3 / 8,
        "R@2": 1 / 3,
        "RBP(p=0.5)": 0.5 * (1 / 2 + 1 / 4 + 1 / 8),
        "OPA": 1 / 6,
    }
    for name, value in hand.items():
        assert evaluate(name, *HAND)[repr(measure(name))][0] == pytest.approx(value, rel=1e-14), name
    assert evaluate("nDCG", *HAND)[repr(measure("nDCG"))][0] == pytest.approx(0.57735, abs=5e-6)
    assert evaluate("nDCG@2", *HAND)[repr(measure("nDCG@2"))][0] == pytest.approx(0.07095, abs=5e-6)


# -- the witness ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["mean", "order", "worst", "docid"])
@pytest.mark.parametrize("empty", ["skip", "0", "1"])
def test_every_measure_equals_the_witness(rule, empty, arrays):
    """Lists of up to 6 documents on 4 score levels: nearly all tied; the expectation is over all permutations."""
    lists = witness.random_lists(seed=1, n=60 if rule == "mean" else 120, longest=6)
    lists += witness.random_lists(seed=2, n=30, longest=5, levels=2)  # groups of four and five, cut in the middle
    scores, labels, offsets = flat(lists)
    ids = np.array([f"d{i * 7919 % 1000:03d}" for i in range(len(scores))])
    wanted = [with_rule(text, ties=rule, empty=empty) for text in EVERY]
    values = evaluate(wanted, scores, Judgements(labels, offsets, ids, device=arrays))
    for m in wanted:
        expected = [witness.reference(m, s, y, ids[a:]) for (s, y), a in zip(lists, offsets, strict=False)]
        np.testing.assert_allclose(values[repr(m)], expected, rtol=1e-12, atol=1e-14, err_msg=repr(m))


def test_every_measure_has_a_witness():
    missing = set(MEASURES.names()) - set(witness.WITNESSES)
    assert not missing, f"tests/reference_metrics.py needs a slow function for {sorted(missing)}"


def test_the_battery_finds_a_measure_that_is_wrong_under_ties(monkeypatch):
    """Success as min(1, expected relevant documents in the first k) is right without ties; nobody tests it by hand."""

    def wrong(ranked, m):
        top = ranked.lists.top(m.cutoff)
        return top.sum(ranked.expected(("rel", m.rel), top)).clip(max=1)

    monkeypatch.setitem(MEASURES._entries, "Success", dataclasses.replace(MEASURES["Success"], function=wrong))
    with pytest.raises(AssertionError, match="Success"):
        test_every_measure_equals_the_witness("mean", "skip", NumpyBackend())


def test_leading_axes_are_rankings():
    rng = np.random.default_rng(8)
    labels, offsets = rng.integers(0, 4, 40), [0, 15, 15, 40]
    scores = rng.normal(size=(2, 3, 40)).round(1)
    together = evaluate(EVERY, scores, labels, offsets)
    for name, values in together.items():
        assert values.shape == (2, 3, 3)
        alone = [[evaluate(name, s, labels, offsets)[name] for s in row] for row in scores]
        np.testing.assert_array_equal(values, alone, err_msg=name)


def test_long_lists_without_ties_equal_the_witness(arrays):
    rng = np.random.default_rng(3)
    lists = [(rng.permutation(n).astype(float), rng.integers(0, 5, n)) for n in (300, 1, 129, 64, 65)]
    scores, labels, offsets = flat(lists)
    values = evaluate(EVERY, scores, Judgements(labels, offsets, device=arrays))
    for m in map(measure, EVERY):
        np.testing.assert_allclose(
            values[repr(m)], [witness.reference(m, s, y) for s, y in lists], rtol=1e-11, err_msg=repr(m)
        )


@pytest.mark.parametrize("digits", [1, 12])
def test_long_lists_have_the_same_bits_alone(digits, arrays):
    rng = np.random.default_rng(9)
    lists = [(rng.normal(size=n).round(digits), rng.integers(0, 5, n)) for n in (7, 500, 129, 1, 33, 260)]
    scores, labels, offsets = flat(lists)
    together = evaluate(EVERY, scores, Judgements(labels, offsets, device=arrays))
    for q, (s, y) in enumerate(lists):
        alone = evaluate(EVERY, np.array(s), Judgements(y, [0, len(y)], device=arrays))
        for name, value in alone.items():
            np.testing.assert_array_equal(value[0], together[name][q], err_msg=name)


def test_expectation_of_large_tie_groups_against_random_orders():
    """Groups far too large for all permutations: the mean over 400 random tie orders must lie within 5 errors."""
    rng = np.random.default_rng(4)
    lists = [(np.round(rng.normal(0, 1, 60) * 1.2) / 2, rng.integers(0, 5, 60)) for _ in range(3)]
    scores, labels, offsets = flat(lists)
    names = [
        "alphaNDCG",
        "alphaNDCG(alpha=0.9)@10",
        "Exposure(rel=3)",
        "ERR-IA@10",
        "nDCG-IA@10",
        "nDCG@10",
        "AP",
        "AP@10",
        "RR",
        "RR@3",
        "ERR",
        "ERR@5",
        "OPA",
        "MeanNDCG",
        "RBP",
        "P@10",
    ]
    exact = evaluate(names, scores, labels, offsets)
    draws = {name: [] for name in exact}
    for _ in range(400):
        order = np.concatenate([a + rng.permutation(60) for a in offsets[:-1]])
        once = evaluate([with_rule(n, ties="order") for n in names], scores[order], labels[order], offsets)
        for name, value in zip(exact, once.values(), strict=True):
            draws[name].append(value)
    for name, sample in draws.items():
        error = np.std(sample, axis=0) / math.sqrt(len(sample))
        assert (abs(np.mean(sample, axis=0) - exact[name]) <= 5 * error + 1e-12).all(), name


@pytest.mark.parametrize("rule", ["random(0)", "random(7)"])
def test_random_ties_are_one_seeded_order(rule):
    scores, labels, offsets = flat(witness.random_lists(seed=5, n=50, longest=30))
    wanted = [with_rule(text, ties=rule) for text in GRADED]
    once, again = (evaluate(wanted, scores, labels, offsets) for _ in range(2))
    low = evaluate([with_rule(text, ties="worst") for text in GRADED], scores, labels, offsets)
    for (name, value), worst in zip(once.items(), low.values(), strict=True):
        np.testing.assert_array_equal(value, again[name])
        assert (np.nan_to_num(value) >= np.nan_to_num(worst) - 1e-12).all()
    other = evaluate(with_rule("nDCG@5", ties="random(99)"), scores, labels, offsets)
    assert not np.array_equal(*other.values(), once[repr(with_rule("nDCG@5", ties=rule))], equal_nan=True)


def test_letor_scripts_rule():
    """LETOR 4.0: discount 1 at ranks 1 and 2, blanks 0, lists shorter than k 0, ties in the order of the file."""
    lists = witness.random_lists(seed=6, n=80, longest=15, grades=3)
    lists = [(s, y) for s, y in lists if s]
    scores, labels, offsets = flat(lists)
    values = evaluate(PRESETS["letor4"].measures, scores, labels, offsets)
    for q, (s, y) in enumerate(lists):
        order = sorted(range(len(s)), key=lambda i: -s[i])
        for k in (1, 3, 5, 10):
            at_k, mean_ndcg, ap = witness.letor4_script([y[i] for i in order], k)
            name = f"nDCG(gain=exp2,empty=0,ties=order,discount=letor,short=0)@{k}"
            assert values[name][q] == pytest.approx(at_k, rel=1e-12)
        assert values["MeanNDCG(gain=exp2,empty=0,ties=order,discount=letor)"][q] == pytest.approx(mean_ndcg, rel=1e-12)
        assert values["AP(empty=0,ties=order)"][q] == pytest.approx(ap, rel=1e-12)


# -- claims of the catalogue, and what holds for all measures ------------------------------------------------------

lists_of_grades = st.lists(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 4)), min_size=0, max_size=25), min_size=1, max_size=8
)


@settings(max_examples=60, deadline=None)
@given(lists_of_grades)
def test_bounds_and_ideal(drawn):
    """Every measure but DCG lies in [0, 1]; those that claim `ideal` give exactly that to the labels as scores."""
    scores, labels, offsets = flat([([s for s, _ in x], [y for _, y in x]) for x in drawn])
    values, best = evaluate(ORDERS, scores, labels, offsets), evaluate(ORDERS, labels, labels, offsets)
    graded = {repr(measure(text)) for text in GRADED}
    for m in map(measure, ORDERS):
        value, top = values[repr(m)], best[repr(m)]
        assert (np.isnan(value) == np.isnan(top)).all()
        counted = ~np.isnan(value)
        assert (value[counted] >= 0).all()
        if m.name != "DCG":
            assert (value[counted] <= 1 + 1e-12).all(), m
        assert (value[counted] <= top[counted] + 1e-12).all() or repr(m) not in graded, m
        ideal = MEASURES[m.name].claims.get("ideal")
        if ideal is not None and m.cutoff is None:
            np.testing.assert_allclose(top[counted], ideal, rtol=1e-13, err_msg=repr(m))
        if m.name == "nDCG" and m.short == "count":
            assert (top[counted] == 1.0).all()  # to the bit: the same sums above and below


@settings(max_examples=40, deadline=None)
@given(lists_of_grades, st.randoms(use_true_random=False))
def test_rows_in_another_order_change_nothing(drawn, random):
    """The default tie rule does not know the order of the rows; a constant scorer gains nothing from it."""
    shuffled = [random.sample(x, len(x)) for x in drawn]
    ways = [flat([([s for s, _ in x], [y for _, y in x]) for x in lists]) for lists in (drawn, shuffled)]
    a, b = (evaluate(EVERY, *way) for way in ways)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=1e-12, atol=1e-14, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(lists_of_grades, st.integers(0, 7))
def test_a_list_has_the_same_bits_alone_and_in_company(drawn, q):
    lists = [([s for s, _ in x], [y for _, y in x]) for x in drawn]
    scores, labels, offsets = flat(lists)
    q = q % len(lists)
    together, alone = evaluate(EVERY, scores, labels, offsets), evaluate(EVERY, *flat([lists[q]]))
    for name in EVERY:
        single = evaluate(name, *flat([lists[q]]))
        name = repr(measure(name))
        np.testing.assert_array_equal(together[name][q], alone[name][0])
        np.testing.assert_array_equal(single[name][0], alone[name][0])


@settings(max_examples=40, deadline=None)
@given(lists_of_grades)
def test_worst_order_is_the_lowest(drawn):
    scores, labels, offsets = flat([([s for s, _ in x], [y for _, y in x]) for x in drawn])
    low = evaluate([with_rule(t, ties="worst") for t in GRADED], scores, labels, offsets)
    for rule in ("mean", "order"):
        other = evaluate([with_rule(t, ties=rule) for t in GRADED], scores, labels, offsets)
        for a, b in zip(low.values(), other.values(), strict=True):
            assert (np.nan_to_num(a) <= np.nan_to_num(b) + 1e-12).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "bool"])
def test_every_type_of_score_orders_the_same(dtype, arrays):
    rng = np.random.default_rng(7)
    scores = rng.integers(-40, 40, 500).astype(dtype)
    labels, offsets = rng.integers(0, 5, 500), np.arange(0, 501, 25)
    judged = Judgements(labels, offsets, device=arrays)
    a, b = evaluate(ORDERS, scores, judged), evaluate(ORDERS, scores.astype(np.float64) * np.pi, judged)
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_scores_that_differ_only_in_float64_are_not_ties():
    scores = 1 + np.array([0, 1, 2]) * 1e-12
    assert evaluate("RR", scores, [1, 0, 0], [0, 3])["RR(empty=skip)"] == [1 / 3]
    assert evaluate("RR", scores.astype(np.float32), [1, 0, 0], [0, 3])["RR(empty=skip)"] == pytest.approx(11 / 18)


def test_negative_zero_ties_with_zero_and_extremes_are_ordered(arrays):
    judged = Judgements([1, 0, 1, 0], [0, 2, 4], device=arrays)
    assert evaluate("RR", np.array([-0.0, 0.0, 3e38, -3e38]), judged)["RR(empty=skip)"].tolist() == [0.75, 1]
    assert evaluate("RR", np.array([-0.0, 0.0, -1e300, 1e300]), judged)["RR(empty=skip)"].tolist() == [0.75, 0.5]


def test_very_many_lists_beside_a_long_one(arrays):
    """Query, float32 and place no longer fit into 63 bits: the dense rank of the value takes fewer."""
    rng = np.random.default_rng(8)
    lengths = np.concatenate([np.ones(140_000, int), [20_000]])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    scores, labels = rng.integers(0, 9000, offsets[-1]).astype(np.float32), rng.integers(0, 3, offsets[-1])
    values = evaluate(["nDCG@10", "AP"], scores, Judgements(labels, offsets, device=arrays))
    last = slice(offsets[-2], offsets[-1])
    alone = evaluate(["nDCG@10", "AP"], scores[last], Judgements(labels[last], [0, 20_000], device=arrays))
    for name, value in values.items():
        assert value[-1] == alone[name][0] and set(value[:-1][~np.isnan(value[:-1])]) == {1.0}


def test_more_than_a_key_can_hold_is_refused():
    lists = Lists(NumpyBackend(), np.array([0, 2]))
    lists._key_bits = (40, 30)
    with pytest.raises(InputError, match="Evaluate the queries in several parts"):
        lists.descending(np.array([1.0, 2.0]))


def test_long_tied_list_underflows_gracefully():
    """All survivals beyond some slot are 0 in float64; the value is still the mean over orders."""
    n = 700
    labels = np.where(np.arange(n) % 2, 4, 3)
    value = evaluate("ERR", np.zeros(n), labels, [0, n])["ERR(empty=skip)"][0]
    rng = np.random.default_rng(0)
    sample = [
        evaluate("ERR(ties=order)", np.zeros(n), rng.permutation(labels), [0, n])["ERR(empty=skip,ties=order)"][0]
        for _ in range(400)
    ]
    assert abs(value - np.mean(sample)) < 5 * np.std(sample) / 20


# -- other libraries -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ragged():
    """Random lists with ties, blank lists and lists of one document."""
    return [x for x in witness.random_lists(seed=11, n=90, longest=25, levels=8) if x[0]]


def ours(text, lists, ids=None):
    scores, labels, offsets = flat(lists)
    return evaluate(text, scores, labels, offsets, doc_ids=ids)[repr(measure(text))]


@pytest.mark.parametrize("k", [1, 3, 10, None])
def test_scikit_learn(ragged, k):
    skmetrics = pytest.importorskip("sklearn.metrics")
    ndcg, dcg = (measure(t).at(k) for t in PRESETS["sklearn"].measures)
    lists = [x for x in ragged if len(x[0]) > 1]  # scikit-learn refuses lists of one document
    for m, theirs in ((ndcg, skmetrics.ndcg_score), (dcg, skmetrics.dcg_score)):
        np.testing.assert_allclose(ours(m, lists), [theirs([y], [s], k=k) for s, y in lists], rtol=1e-12, atol=1e-15)
    exp2 = with_rule(repr(ndcg), gain="exp2")
    theirs = [skmetrics.ndcg_score([2.0 ** np.array(y) - 1], [s], k=k) for s, y in lists]
    np.testing.assert_allclose(ours(exp2, lists), theirs, rtol=1e-12, atol=1e-15)


TREC_NAMES = {"nDCG": "ndcg", "AP": "map", "RR": "recip_rank", "P": "P", "R": "recall"}


def trec_dicts(lists):
    ids = [[f"d{q}-{i * 37 % 101:03d}" for i in range(len(s))] for q, (s, _) in enumerate(lists)]
    qrel = {str(q): dict(zip(ids[q], map(int, y), strict=True)) for q, (_, y) in enumerate(lists)}
    run = {str(q): dict(zip(ids[q], map(float, s), strict=True)) for q, (s, _) in enumerate(lists)}
    return [i for x in ids for i in x], qrel, run


def test_pytrec_eval(ragged):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    ids, qrel, run = trec_dicts(ragged)
    for text in PRESETS["trec_eval"].measures:
        m = measure(text)
        name = TREC_NAMES[m.name] + {None: "", "AP": "_cut", "nDCG": "_cut"}.get(m.cutoff and m.name, "")
        asked = name if m.cutoff is None else f"{name}.{m.cutoff}"
        theirs = pytrec_eval.RelevanceEvaluator(qrel, {asked}).evaluate(run)
        key = name if m.cutoff is None else f"{name}_{m.cutoff}"
        np.testing.assert_allclose(
            ours(m, ragged, ids),
            [theirs[str(q)][key] for q in range(len(ragged))],
            rtol=1e-12,
            atol=1e-12,
            err_msg=text,
        )


def test_ir_measures(ragged):
    ir_measures = pytest.importorskip("ir_measures")
    ids, qrel, run = trec_dicts(ragged)
    for text in PRESETS["ir_measures"].measures:
        m = measure(text)
        name = m.name if m.cutoff is None else f"{m.name}@{m.cutoff}"
        theirs = {x.query_id: x.value for x in ir_measures.iter_calc([ir_measures.parse_measure(name)], qrel, run)}
        np.testing.assert_allclose(
            ours(m, ragged, ids), [theirs[str(q)] for q in range(len(ragged))], rtol=1e-12, atol=1e-12
        )


@pytest.mark.parametrize(("action", "empty"), [("neg", "0"), ("pos", "1")])
def test_torchmetrics(ragged, action, empty):
    torch = pytest.importorskip("torch")
    retrieval = pytest.importorskip("torchmetrics.retrieval")
    m = with_rule(PRESETS["torchmetrics"].measures[0], empty=empty).at(5)
    theirs = []
    for s, y in ragged:
        metric = retrieval.RetrievalNormalizedDCG(empty_target_action=action, top_k=5)
        metric.update(torch.tensor(s), torch.tensor(y), indexes=torch.zeros(len(s), dtype=torch.long))
        theirs.append(metric.compute().item())
    np.testing.assert_allclose(ours(m, ragged), theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("k", [2, 10])
def test_lightgbm(ragged, k):
    lightgbm = pytest.importorskip("lightgbm")
    quiet = {"verbose": -1, "min_data_in_bin": 1, "min_data_in_leaf": 1}
    train = lightgbm.Dataset(np.arange(20.0)[:, None], label=np.arange(20) % 2, group=[20], params=quiet)
    valid = [
        lightgbm.Dataset(np.zeros((len(s), 1)), label=y, group=[len(s)], init_score=s, reference=train)
        for s, y in ragged
    ]
    seen: dict = {}
    still = {"objective": lambda p, _: (np.zeros(len(p)), np.ones(len(p))), "metric": "ndcg", "eval_at": [k], **quiet}
    # Zero gradients grow no tree, so each list keeps its init_score as its score.
    lightgbm.train(
        still,
        train,
        1,
        valid_sets=valid,
        valid_names=[str(q) for q in range(len(valid))],
        callbacks=[lightgbm.record_evaluation(seen)],
    )
    theirs = [seen[str(q)][f"ndcg@{k}"][0] for q in range(len(valid))]
    np.testing.assert_allclose(ours(measure(PRESETS["lightgbm"].measures[0]).at(k), ragged), theirs, rtol=1e-12)


@pytest.mark.parametrize(
    ("metric", "options", "rules"),
    [
        ("ndcg@5", {}, {}),
        ("ndcg@5-", {}, {"empty": "0"}),
        ("ndcg@5", {"ndcg_exp_gain": False}, {"gain": "linear"}),
    ],
)
def test_xgboost(ragged, metric, options, rules):
    xgboost = pytest.importorskip("xgboost")
    m = with_rule(repr(measure(PRESETS["xgboost"].measures[0]).at(5)), **rules)
    asked = {"objective": "rank:ndcg", "eval_metric": metric, "verbosity": 0, **options}
    theirs = []
    for s, y in ragged:
        data = xgboost.DMatrix(np.zeros((len(s), 1)), label=y, base_margin=s, group=[len(s)])
        theirs.append(float(xgboost.train(asked, data, 0).eval(data).rsplit(":", 1)[1]))
    np.testing.assert_allclose(ours(m, ragged), theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("kind", "gain"), [("Base", "linear"), ("Exp", "exp2")])
def test_catboost(ragged, kind, gain):
    utils = pytest.importorskip("catboost.utils")
    m = with_rule(repr(measure(PRESETS["catboost"].measures[0]).at(5)), gain=gain)
    theirs = [
        utils.eval_metric(
            np.array(y, float), np.array(s, float), f"NDCG:top=5;type={kind}", group_id=np.zeros(len(s), int)
        )[0]
        for s, y in ragged
    ]
    np.testing.assert_allclose(ours(m, ragged), theirs, rtol=1e-6, atol=1e-7)


def test_one_case_of_each_convention():
    """The same five documents under the conventions of the field: .2015 with exp2 gain, .2650 with linear."""
    y, s = [3, 2, 0, 1, 0], [0.1, 0.5, 0.3, 0.2, 0.9]
    assert ours("nDCG@3", [(s, y)])[0] == pytest.approx(0.2015, abs=5e-5)
    assert ours("nDCG(gain=linear)@3", [(s, y)])[0] == pytest.approx(0.2650, abs=5e-5)
    for first, last, rule, gain in (
        (1, 0, "order", "exp2"),
        (0.465, 0.465, "mean", "linear"),
        (0, 0, "worst", "linear"),
    ):
        name = f"nDCG(gain={gain},ties={rule})@2"
        assert ours(name, [([0.5] * 4, [2, 1, 0, 0])])[0] == pytest.approx(first, abs=5e-4)
        assert ours(name, [([0.5] * 4, [0, 0, 1, 2])])[0] == pytest.approx(last, abs=5e-4)
    for empty, value in (("0", 0.0), ("1", 1.0)):
        assert ours(f"nDCG(empty={empty})@3", [([3, 2, 1], [0, 0, 0])])[0] == value
        assert ours(f"nDCG(empty={empty})@3", [([3], [0])])[0] == value
    assert ours("nDCG@10", [([0.9, 0.5, 0.7], [0, 2, 1])])[0] == pytest.approx(0.5869, abs=5e-5)
    assert ours("nDCG(gain=linear)@10", [([0.9, 0.5, 0.7], [0, 2, 1])])[0] == pytest.approx(0.6199, abs=5e-5)


# -- input that does not fit ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "labels", "offsets", "says"),
    [
        ([1, 2, float("nan")], [0, 1, 0], [0, 1, 3], "score of document 1 of query 1"),
        ([1, float("inf"), 2], [0, 1, 0], [0, 1, 3], "score of document 0 of query 1"),
        ([1, 2, 3], [0, 1, -1], [0, 1, 3], "label of document 1 of query 1"),
        ([1, 2, 3], [0, float("nan"), 1], [0, 1, 3], "label of document 0 of query 1"),
        ([1, 2, 3], [0, 1, 53], [0, 0, 3], "too large for gain=exp2"),
        ([1, 2], [0, 1, 0], [0, 1, 3], "one score a document"),
        ([[1, 2], [3, 4]], [0, 1, 0], [0, 1, 3], "scores of the wrong shape"),
        ([1, 2, 3], [[0, 1, 0]], [0, 1, 3], "labels of the wrong shape"),
        (["a", "b", "c"], [0, 1, 0], [0, 1, 3], "scores are not numbers"),
        ([1, 2, 3], [0, 1, 0], [0, 1, 2], "offsets do not cover"),
        ([1, 2, 3], [0, 1, 0], [1, 3], "offsets do not cover"),
        ([1, 2, 3], [0, 1, 0], [0, 2, 1, 3], "list 1 ends before it starts"),
        ([1, 2, 3], [0, 1, 0], [0.0, 3.0], "offsets of the wrong kind"),
        ([1, 2, 3], [0, 1, 0], [], "offsets of the wrong kind"),
        ([1, 2, 3], [0, 1, 0], None, "labels need offsets"),
    ],
)
def test_bad_input_says_where(scores, labels, offsets, says):
    with pytest.raises(InputError) as error:
        evaluate("nDCG@10", scores, labels, offsets)
    assert says in str(error.value)


def test_labels_above_the_grade_of_err_and_missing_ids():
    with pytest.raises(InputError, match="max_grade"):
        evaluate("ERR", [1, 2], [5, 0], [0, 2])
    assert evaluate("nDCG(gain=linear)", [1, 2], [500, 0], [0, 2])["nDCG(gain=linear,empty=skip)"] < 1
    with pytest.raises(InputError, match="ids"):
        evaluate("AP(ties=docid)", [1, 2], [1, 0], [0, 2])
    with pytest.raises(InputError, match="one document id"):
        evaluate("AP(ties=docid)", [1, 2], [1, 0], [0, 2], doc_ids=["a"])
    with pytest.raises(InputError, match="belong to the Judgements"):
        evaluate("AP", [1, 2], Judgements([1, 0], [0, 2]), [0, 2])


def test_nothing_at_all(arrays):
    for offsets in ([0], [0, 0, 0]):
        values = evaluate(EVERY, np.zeros(0), Judgements(np.zeros(0), offsets, device=arrays))
        assert all(
            v.shape == (len(offsets) - 1,) and np.isnan(v).all() and v.dtype == np.float64 for v in values.values()
        )


def test_mean_count_and_blank():
    values = evaluate("nDCG@10", [3, 2, 1, 0.5, 0.2], [0, 1, 0, 0, 2], [0, 2, 4, 5])["nDCG(gain=exp2,empty=skip)@10"]
    assert np.isnan(values[1]) and count(values) == 2
    assert mean(values) == pytest.approx((1 / math.log2(3) + 1) / 2)
    assert math.isnan(mean([float("nan")])) and math.isnan(mean([])) and count([]) == 0
    assert count_blank([0, 1, 0, 0, 2], [0, 2, 4, 5]) == 1
    assert count_blank([0, 1, 0, 0, 2], [0, 2, 4, 5], rel=2) == 2
    assert count_blank([0, 1, 0, 0, 2], [0, 2, 2, 4, 5]) == 2


# -- tensors -------------------------------------------------------------------------------------------------------


def test_tensors_and_arrays_agree(device):
    torch = pytest.importorskip("torch")
    scores, labels, offsets = flat(witness.random_lists(seed=12, n=200, longest=40))
    expected = evaluate(EVERY, scores, labels, offsets)
    as_tensors = torch.tensor(scores, device=device), torch.tensor(labels, device=device), torch.tensor(offsets)
    tensors = evaluate(EVERY, *as_tensors)
    forced = evaluate(EVERY, scores, Judgements(labels, offsets, device=TorchBackend(device)))
    for name, value in expected.items():
        np.testing.assert_allclose(tensors[name], value, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(forced[name], value, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensor_types(device, dtype):
    torch = pytest.importorskip("torch")
    scores = torch.tensor([3.0, 1.0, 2.0], dtype=getattr(torch, dtype), device=device, requires_grad=True)
    value = evaluate("AP", scores, torch.tensor([1, 0, 1], device=device), torch.tensor([0, 3]))
    assert value["AP(empty=skip)"] == [1.0]


# -- real lists ----------------------------------------------------------------------------------------------------


def test_blank_and_short_lists_of_mq2008(real_data):
    """Counts that decide the numbers: 220 of 784 lists are blank, 403 have fewer than 9 documents."""
    folder = real_data / "MQ2008"
    if not folder.is_dir():
        pytest.skip("MQ2008 is not in the real data folder")
    blank, lists, short = [], 0, 0
    for fold in range(1, 6):
        rows = [line.split(maxsplit=2)[:2] for line in (folder / f"Fold{fold}" / "test.txt").read_text().splitlines()]
        labels = np.array([int(label) for label, _ in rows])
        query = np.array([q for _, q in rows])
        offsets = np.concatenate([[0], np.flatnonzero(query[1:] != query[:-1]) + 1, [len(query)]])
        blank.append(count_blank(labels, offsets))
        lists, short = lists + len(offsets) - 1, short + int((np.diff(offsets) < 9).sum())
        best = evaluate("nDCG(empty=0,ties=order,discount=letor,short=0)@10", labels, labels, offsets)
        reached = (np.diff(offsets) >= 10) & (np.add.reduceat(labels, offsets[:-1]) > 0)
        np.testing.assert_array_equal(*best.values(), reached)  # a perfect ranking scores 0 on every shorter list
    assert blank == [51, 52, 45, 35, 37] and lists == 784 and short == 403


def test_scores_that_a_double_cannot_tell_apart_are_ranked_as_they_are():
    for scores in (
        np.array([2**53 + 1, 2**53]),
        np.array([2**64 - 1, 2**64 - 2], np.uint64),
        np.array([1, 1], np.longdouble) + np.array([1e-18, 0], np.longdouble),
    ):
        if scores[0] != scores[1]:  # some machines' long double is a double
            assert evaluate("nDCG@1", scores, [0, 1], [0, 2])["nDCG(gain=exp2,empty=skip)@1"].tolist() == [0.0]


def test_what_is_masked_or_in_another_order_is_no_number():
    pandas = pytest.importorskip("pandas")
    masked = np.ma.array([1.0, 2, 3], mask=[False, True, False])
    for scores, labels in ((masked, [0, 1, 2]), ([1.0, 2, 3], masked)):
        with pytest.raises(InputError, match=r"of document 1 of query 0; .* came nan"):
            evaluate("nDCG@2", scores, labels, [0, 3])
    labels = pandas.Series([0, 1, 2])
    with pytest.raises(InputError, match="stand in another order"):
        evaluate("nDCG@2", pandas.Series([3.0, 2, 1], index=[2, 1, 0]), labels, [0, 3])
    assert evaluate("nDCG@2", pandas.Series([3.0, 2, 1], index=[7, 8, 9]), labels, [0, 3])


def test_labels_and_weights_that_overflow_or_are_no_numbers_are_refused():
    with pytest.raises(InputError, match=r"from 0 to 3.4e\+38; came 1e\+300"):
        evaluate("nDCG(gain=linear)@3", [1, 2], [1e300, 1e308], [0, 2])
    for weights in ([np.inf, 1], [1e308, 1e308], [1, -1], ["1", "2"], [[1], [2]], [1]):
        with pytest.raises(InputError, match="weights of the lists"):
            evaluate("nDCG(weights=query)@1", [1, 2, 1, 2], [0, 1, 1, 0], [0, 2, 4], weights=weights)
        with pytest.raises(InputError, match="weights of the lists"):
            mean([1, 0], weights)
    with pytest.raises(InputError, match="a mean is of the values of one measure"):
        mean(evaluate("nDCG@1", [1, 2], [0, 1], [0, 2]))


def test_arrays_with_a_mask_and_tables_in_another_order_are_no_split():
    pandas = pytest.importorskip("pandas")
    X, y = np.ma.array([[1.0], [2.0]], mask=[[False], [True]]), pandas.Series([0, 1])
    assert np.isnan(Split.from_arrays(X, [0, 1]).features[:, 0]).tolist() == [False, True]
    with pytest.raises(InputError, match="labels must be finite"):
        Split.from_arrays([[1.0], [2.0]], np.ma.array([0, 1], mask=[False, True]))
    with pytest.raises(InputError, match="the rows of y stand in another order"):
        Split.from_arrays(pandas.DataFrame({"a": [1.0, 2.0]}), y[::-1])
