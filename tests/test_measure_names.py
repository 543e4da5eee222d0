"""Names of measures: repr is identity, it parses back, and a wrong name says what was meant."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ltr.errors import InputError
from ltr.metrics import MEASURES, PRESETS, Measure, evaluate, measure

VALUES = {
    "gain": st.sampled_from(["exp2", "linear"]),
    "empty": st.sampled_from(["skip", "0", "1"]),
    "ties": st.one_of(
        st.sampled_from(["mean", "order", "worst", "docid"]), st.integers(0, 10**9).map(lambda seed: f"random({seed})")
    ),
    "discount": st.sampled_from(["log2", "letor"]),
    "short": st.sampled_from(["count", "0"]),
    "rel": st.one_of(st.integers(1, 100), st.floats(1e-3, 100)),
    "p": st.floats(0.01, 0.99),
    "max_grade": st.integers(1, 52),
    "alpha": st.floats(0.01, 1),
    "link": st.sampled_from(["sigmoid", "identity"]),
    "bins": st.integers(1, 1000),
}


@st.composite
def measures(draw) -> Measure:
    entry = MEASURES[draw(st.sampled_from(MEASURES.names()))]
    chosen = {a: draw(VALUES[a]) for a in entry.claims["arguments"] if draw(st.booleans())}
    wants = {"none": False, "required": True, "optional": draw(st.booleans())}[entry.claims["cutoff"]]
    if chosen.get("short") == "0":
        wants = True
    return Measure(entry.name, draw(st.integers(1, 10_000)) if wants else None, **chosen)


@settings(deadline=None)
@given(measures())
def test_repr_parses_back_to_the_same_value(m):
    again = measure(repr(m))
    assert again == m and hash(again) == hash(m) and repr(again) == repr(m)
    assert measure(m) is m and pickle.loads(pickle.dumps(m)) == m


@settings(deadline=None)
@given(measures(), st.randoms())
def test_order_of_arguments_and_spaces_do_not_matter(m, random):
    arguments = [f" {k} = {v}" for k, v in m.arguments.items()]
    random.shuffle(arguments)
    cutoff = "" if m.cutoff is None else f" @ {m.cutoff}"
    assert measure(f" {m.name} ({','.join(arguments)}){cutoff} ") == m


@settings(deadline=None)
@given(measures(), measures())
def test_two_measures_are_equal_when_their_names_are(a, b):
    assert (a == b) == (repr(a) == repr(b))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("nDCG@10", "nDCG(gain=exp2,empty=skip)@10"),
        ("nDCG(gain=exp2,empty=skip,ties=mean)@10", "nDCG(gain=exp2,empty=skip)@10"),
        (
            "nDCG( short=0 ,discount=letor, ties=order,empty=0)@10",
            "nDCG(gain=exp2,empty=0,ties=order,discount=letor,short=0)@10",
        ),
        ("AP", "AP(empty=skip)"),
        ("AP(rel=1.0)", "AP(empty=skip)"),
        ("AP(rel=2)@5", "AP(empty=skip,rel=2)@5"),
        ("RBP(p=.95)", "RBP(empty=skip,p=0.95)"),
        ("ERR(max_grade=2)@20", "ERR(empty=skip,max_grade=2)@20"),
        ("MeanNDCG", "MeanNDCG(gain=exp2,empty=skip)"),
        ("OPA(ties=random( 3 ))", "OPA(empty=skip,ties=random(3))"),
        ("NDCG@10", "nDCG(gain=exp2,empty=skip)@10"),
        ("meanndcg", "MeanNDCG(gain=exp2,empty=skip)"),
        ("MAP", "AP(empty=skip)"),
        ("mrr@10", "RR(empty=skip)@10"),
        ("Recall(rel=2)@5", "R(empty=skip,rel=2)@5"),
        ("precision@5", "P(empty=skip)@5"),
    ],
)
def test_names(text, name):
    assert repr(measure(text)) == name == str(measure(text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nDGC", "Did you mean 'nDCG'"),
        ("nDCG(gian=linear)", "Did you mean 'gain'"),
        ("nDCG(gain=exp)", "Did you mean 'exp2'"),
        ("AP(gain=exp2)", "AP has no argument 'gain'"),
        ("MAP(gian=exp2)", "unknown argument of AP 'gian'"),
        ("nDCG(ties=random)", "random(SEED)"),
        ("nDCG(ties=random(SEED))", "random(SEED)"),
        ("nDCG(ties=random(x))", "random(SEED)"),
        ("nDCG(gain)", "name=value"),
        ("nDCG(gain=)", "name=value"),
        ("nDCG(gain=exp2,gain=linear)", "stands twice"),
        ("nDCG(gain=exp2,)", "name=value"),
        ("nDCG@0", "whole number from 1"),
        ("nDCG@ten", "whole number from 1"),
        ("nDCG@-1", "whole number from 1"),
        (f"nDCG@{'9' * 5000}", "whole number from 1"),  # more digits than Python turns into an integer
        (f"nDCG(ties=random({'9' * 5000}))", "random(SEED)"),
        ("nDCG@", "not a measure"),
        ("nDCG(gain=exp2", "not a measure"),
        ("", "not a measure"),
        ("P", "P needs a cut-off"),
        ("R(rel=2)", "R needs a cut-off"),
        ("OPA@10", "OPA takes no cut-off"),
        ("nDCG(short=0)", "cut-off"),
        ("AP(rel=0)", "above 0"),
        ("AP(rel=high)", "a number"),
        ("AP(rel=nan)", "above 0"),
        ("RBP(p=1)", "between 0 and 1"),
        ("ERR(max_grade=2.5)", "whole number"),
        ("alphaNDCG(alpha=1.5)", "at most 1"),
    ],
)
def test_wrong_names_say_what_was_meant(text, says):
    with pytest.raises(InputError) as error:
        measure(text)
    assert says in str(error.value)


def test_not_a_text():
    with pytest.raises(InputError):
        measure(10)


def test_at_changes_the_cut_off_only():
    assert measure("nDCG(gain=linear)@10").at(5) == measure("nDCG(gain=linear)@5")
    assert measure("nDCG@10").at(None) == measure("nDCG")


def test_presets_are_written_in_their_canonical_form():
    for key, preset in PRESETS.items():
        for text in preset.measures:
            assert repr(measure(text)) == text, key
        assert preset.vouched.split(":")[0] in {"test", "measured", "derived"}
    assert "letor4" in PRESETS and "lightgbm" in PRESETS


def test_numpy_is_enough():
    import subprocess
    import sys

    code = (
        "import sys, ltr.metrics as m; m.measure('nDCG@10'); m.evaluate('AP', [1., 2.], [0, 1], [0, 2]); "
        "m.bootstrap_interval([1., 2.]); print({'torch', 'scipy', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_function_is_a_measure_by_its_own_name(monkeypatch):
    monkeypatch.setattr(MEASURES, "_entries", {entry.name: entry for entry in MEASURES})

    def top_two(scores, labels):
        """Mean label of the best two."""
        return labels[np.argsort(-scores)[:2]].mean() if labels.any() else float("nan")

    assert repr(measure(top_two)) == "top_two" and measure("TOP_two") == measure(top_two)
    scores, labels, offsets = [[3.0, 1, 2, 1, 0], [0.0, 1, 2, 1, 0]], [2, 1, 0, 0, 0], [0, 3, 3, 5]
    values = evaluate(["top_two", "AP"], scores, labels, offsets)["top_two"]
    np.testing.assert_array_equal(values, [[1.0, np.nan, np.nan], [0.5, np.nan, np.nan]])
    np.testing.assert_array_equal(evaluate("top_two", scores[1], labels, offsets)["top_two"], values[1])

    def top_two(scores, labels):  # noqa: F811  (the cell of a notebook, run again)
        return 7

    assert evaluate(top_two, scores[0], labels, offsets)["top_two"].tolist()[0] == 7
    with pytest.raises(InputError, match="takes no cut-off"):
        measure("top_two@3")
    top_two.__name__ = "AP"
    with pytest.raises(InputError, match="'AP' is a measure of the suite"):
        measure(top_two)
