"""The face for people who have arrays keeps scikit-learn's promises."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterGrid

from ltr import RankingEstimator
from ltr.errors import InputError


@pytest.fixture(scope="module")
def lists():
    """40 lists; the second of five features carries the label."""
    rng = np.random.default_rng(0)
    group = rng.integers(3, 9, 40)
    X = rng.standard_normal((group.sum(), 5)).astype(np.float32)
    y = np.digitize(X[:, 1] + 0.3 * rng.standard_normal(len(X)), [0.0, 1.0, 1.8]).astype(np.float32)
    return X, y, group


def model(**params):
    return RankingEstimator(
        "linear", **{"loss": "listnet", "epochs": 8, "learning_rate": 0.1, "transform": "none", **params}
    )


def test_it_learns_and_scores_in_the_order_of_the_rows(lists):
    X, y, group = lists
    fitted = model().fit(X, y, group)
    scores = fitted.predict(X, group)
    assert scores.shape == (len(X),) and scores.dtype == np.float32
    assert fitted.score(X, y, group) > 0.9 > model(epochs=1, learning_rate=1e-6).fit(X, y, group).score(X, y, group)
    # Another place in the batch may round the last bit of a sum otherwise.
    np.testing.assert_allclose(fitted.predict(X[::-1])[::-1], scores, rtol=1e-5)
    assert fitted.n_features_in_ == 5 and len(fitted.log_["history"]) == 8


def test_the_same_seed_gives_the_same_scores_and_another_does_not(lists):
    X, y, group = lists
    one, two, other = (model(seed=s, epochs=1).fit(X, y, group).predict(X) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_a_query_column_in_any_order_equals_group_sizes(lists):
    """Rows shuffled within the file; queries keep the order of their first row, documents their order."""
    X, y, group = lists
    qid = np.repeat([f"q{i}" for i in range(len(group))], group)
    rng = np.random.default_rng(1)
    # A random merge of the lists that keeps the order within each list and of the lists' first rows.
    keys = np.concatenate([np.sort(np.concatenate([[i], i + 3 * rng.random(k - 1)])) for i, k in enumerate(group)])
    order = np.argsort(keys, kind="stable")
    by_group = RankingEstimator("transformer", "listnet", epochs=2, width=8, d_ff=8, dropout=0.0).fit(X, y, group)
    by_qid = clone(by_group).fit(X[order], y[order], qid=qid[order])
    np.testing.assert_array_equal(by_qid.predict(X[order], qid=qid[order]), by_group.predict(X, group)[order])


def test_lists_matter_to_rankers_that_look_at_them(lists):
    X, y, group = lists
    fitted = RankingEstimator("transformer", "listnet", epochs=1, width=8, d_ff=8).fit(X, y, group)
    assert not np.allclose(fitted.predict(X, group), fitted.predict(X, single_list=True))
    with pytest.raises(InputError, match="no query came with the rows"):
        fitted.predict(X)


def test_an_evaluation_set_picks_the_epoch(lists):
    X, y, group = lists
    fitted = model(epochs=6).fit(X, y, group, eval_set=(X, y, group))
    values = [h["vali"] for h in fitted.log_["history"]]
    assert fitted.log_["selection"]["value"] == max(values)
    assert fitted.log_["selection"]["epoch"] == int(np.argmax(values)) + 1
    assert fitted.score(X, y, group) == pytest.approx(max(values), abs=1e-9)


def test_parameters_go_in_and_come_out():
    one = RankingEstimator("mlp", "ranknet", seed=3, hidden=(8, 4), epochs=2)
    assert one.get_params()["hidden"] == (8, 4) and one.get_params()["seed"] == 3
    two = clone(one)
    assert two.get_params() == one.get_params() and not hasattr(two, "ranker_")
    assert two.set_params(epochs=5, loss="mse") is two and two.get_params()["epochs"] == 5 and two.loss == "mse"
    assert one.get_params()["epochs"] == 2, "a clone shares nothing"
    for point in ParameterGrid({"hidden": [(4,), (8,)], "loss": ["mse", "listnet"]}):
        assert clone(one).set_params(**point).get_params().items() >= point.items()
    assert "hidden=(8, 4)" in repr(one)


def test_a_clone_of_a_fitted_one_is_not_fitted(lists):
    X, y, group = lists
    fitted = model(epochs=1).fit(X, y, group)
    with pytest.raises(NotFittedError):
        clone(fitted).predict(X)


def test_trees_bring_their_own_objective(lists):
    """The default loss of the estimator is not for them, and does not have to be switched off."""
    pytest.importorskip("lightgbm")
    X, y, group = lists
    fitted = RankingEstimator("lightgbm", rounds=5, min_data_in_leaf=2).fit(X, y, group)
    assert fitted.score(X, y, group) > 0.8


def test_it_survives_a_pickle(lists):
    X, y, group = lists
    fitted = model(epochs=1).fit(X, y, group)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))


def test_what_it_learned_can_be_kept(lists, tmp_path):
    from ltr.rankers import load_ranker
    from ltr.types import Split

    X, y, group = lists
    fitted = model(epochs=1).fit(X, y, group)
    fitted.ranker_.save(tmp_path / "ranker")
    # One list of all rows, or lists by group: batches of other shapes, whose matrix products may round apart.
    back = load_ranker(tmp_path / "ranker").score(Split.from_arrays(X, group=group))
    np.testing.assert_allclose(back, fitted.predict(X), rtol=1e-6)
    np.testing.assert_array_equal(back, fitted.predict(X, group))


@pytest.mark.parametrize(
    "params, says",
    [
        ({"ranker": "liner"}, "Did you mean 'linear'"),
        ({"loss": "listnt"}, "Did you mean 'listnet'"),
        ({"epohcs": 3}, "Did you mean 'epochs'"),
        ({"hiden": (3,)}, "unknown parameter of 'linear'"),
        ({"loss": None}, "needs|trained with a loss"),
        ({"loss_params": {"targt": "soft"}}, "Did you mean 'target'"),
        ({"noise": -1.0}, "out of range"),
    ],
)
def test_a_wrong_parameter_is_named_when_it_is_fitted(lists, params, says):
    with pytest.raises(InputError, match=says):
        model().set_params(**params).fit(*lists)


@pytest.mark.parametrize(
    "harm, says",
    [
        (lambda X, y, g: (X, y, g[:-1]), "group sizes do not cover the rows"),
        (lambda X, y, g: (X, y[:-1], g), "one label a row"),
        (lambda X, y, g: (X, y - 1, g), "grades are 0 and up"),
        (lambda X, y, g: (X, np.where(np.arange(len(y)) == 3, np.nan, y), g), "labels must be finite"),
        (lambda X, y, g: (X[:, 0], y, g), "must be a matrix"),
        (lambda X, y, g: (scipy.sparse.csr_matrix(X), y, g), "sparse matrix.*toarray"),
        (lambda X, y, g: (X + 1j, y, g), "holds no numbers"),
        (lambda X, y, g: (X.astype(str), y, g), "holds no numbers"),
        (lambda X, y, g: (X.astype(np.float64) * 1e300, y, g), "float32 cannot hold"),
        (lambda X, y, g: ([[1.0], [2.0, 3.0]], [0, 1], [2]), "cannot be read as numbers"),
        (lambda X, y, g: (X, ["good"] * len(y), g), "y holds no numbers"),
        (lambda X, y, g: (X, [None, *y[1:]], g), "labels must be finite; came 'nan in row 0'"),
        (lambda X, y, g: (X, y, None), "no query came with the rows"),
        (lambda X, y, g: (X, y, np.repeat(np.arange(len(g)), g)), "Did you mean qid"),
        (lambda X, y, g: (X, y, g + 0.5), "group sizes do not cover the rows"),
        (lambda X, y, g: (X[:0], y[:0], []), "matrix with rows"),
        (lambda X, y, g: (X[:, :0], y, g), "matrix with rows and columns"),
        (lambda X, y, g: ({"a": [1]}, y, g), "X is no array.*came 'dict'"),
        (lambda X, y, g: (None, y, g), "X is no array.*came 'NoneType'"),
        (lambda X, y, g: (X, scipy.sparse.csr_matrix(y[:, None]), g), "y is a sparse matrix"),
        (lambda X, y, g: (X, y, len(y)), "group is no array"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(lists, harm, says):
    with pytest.raises(InputError, match=says):
        model().fit(*harm(*lists))


def test_calls_that_do_not_fit_are_refused(lists):
    X, y, group = lists
    frame = pd.DataFrame(X).assign(qid=1, query_id=1)
    with pytest.raises(InputError, match="two columns of X say the query.*qid.*query_id"):
        model().fit(frame, y)
    with pytest.raises(InputError, match="X has no features beside 'QID'"):
        model().fit(frame[["qid"]].rename(columns=str.upper), y)
    with pytest.raises(InputError, match="same thing twice"):
        model().fit(X, y, group, qid=np.zeros(len(X)))
    with pytest.raises(InputError, match="eval_set is a triple"):
        model().fit(X, y, group, eval_set=(X,))
    fitted = model(epochs=1).fit(X, y, group)
    with pytest.raises(InputError, match="other features"):
        fitted.predict(X[:, :3])
    with pytest.raises(InputError, match="one query a row"):
        fitted.predict(X, qid=[1, 2])
    with pytest.raises(InputError, match="Did you mean qid"):
        model().fit(X, y, groups=np.zeros(len(X)))


# ------------------------------------------------------------------------------------------------------- data frames


@pytest.mark.parametrize(
    "qid, says",
    [
        (lambda n: 2.0**60 + np.arange(n), "came '1.15.* in row 0'"),  # one id for many queries
        (lambda n: [*["q"] * (n - 1), ""], "a row without a query id.*came ' in row"),
        (lambda n: [np.inf] * n, "came 'inf in row 0'"),
        (lambda n: 7, "one query a row.*came 7"),
        (lambda n: "q" * n, "one query a row"),
    ],
)
def test_ids_that_are_none_are_refused(lists, qid, says):
    X, y, _ = lists
    with pytest.raises(InputError, match=says):
        model().fit(X, y, qid=qid(len(X)))


def test_rows_of_frames_go_by_place_and_say_so(lists):
    X, y, group = lists
    frame, back = pd.DataFrame(X), np.arange(len(X))[::-1]
    series = pd.Series(y)
    assert model(epochs=1).fit(frame, series, group).n_features_in_ == X.shape[1]
    for values in ({"y": series.iloc[back]}, {"qid": pd.Series(np.repeat(range(len(group)), group)).iloc[back]}):
        with pytest.raises(InputError, match="rows of .* stand in another order than those of X.*loc"):
            model().fit(frame, **{"y": y, **values})


def test_columns_that_are_numbered_go_by_their_numbers(lists):
    X, y, group = lists
    frame = pd.DataFrame(X, columns=[10 * k for k in range(X.shape[1])])
    fitted = model(epochs=1).fit(frame, y, group)
    assert fitted.feature_names_in_.tolist() == [str(10 * k) for k in range(X.shape[1])]
    np.testing.assert_array_equal(fitted.predict(frame[frame.columns[::-1]]), fitted.predict(frame))


def test_odd_features_are_said(lists, caplog):
    X, y, group = lists
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(X.shape[1])])
    model(epochs=1).fit(frame.assign(n_clicks=np.where(np.arange(len(X)) == 3, np.inf, 1.0)), y, group)
    assert "speak of a judgement or an outcome: 'n_clicks'" in caplog.text
    assert "1 infinite values among the features, the first in row 3, column n_clicks" in caplog.text
    masked = np.ma.masked_greater(X, 0.5)
    other = model(epochs=1).fit(masked, y, group)
    np.testing.assert_array_equal(other.predict(masked), other.predict(masked.filled(np.nan)))


def test_columns_go_by_their_names(lists):
    X, y, group = lists
    frame = pd.DataFrame(X, columns=list("abcde"))
    fitted = model(epochs=2).fit(frame, y, group)
    assert list(fitted.feature_names_in_) == list("abcde") and fitted.n_features_in_ == 5
    expected = model(epochs=2).fit(X, y, group).predict(X, group)
    np.testing.assert_array_equal(fitted.predict(frame, group), expected)
    np.testing.assert_array_equal(fitted.predict(frame[list("edcba")], group), expected)
    np.testing.assert_array_equal(fitted.predict(X, group), expected)  # an array has no names to go by
    for wrong, says in (
        (frame.drop(columns="c"), "without 'c'"),
        (frame.assign(f=0.0), "with 'f'"),
        (frame.rename(columns={"a": "z"}), "without 'a' and with 'z'"),
    ):
        with pytest.raises(InputError, match=says):
            fitted.predict(wrong, group)
    with pytest.raises(InputError, match="two columns of X have one name; came 'a'"):
        model().fit(frame.set_axis(list("aacde"), axis=1), y, group)
    again = fitted.fit(X, y, group)
    assert not hasattr(again, "feature_names_in_")


def test_a_column_of_queries_is_no_feature(lists):
    X, y, group = lists
    frame = pd.DataFrame(X, columns=list("abcde"))
    qid = np.repeat(np.arange(len(group)) + 100, group)
    withal = frame.assign(qid=qid)
    fitted = model(epochs=2).fit(withal, y, eval_set=(withal[[*"cab", "qid", *"ed"]], y))
    assert fitted.n_features_in_ == 5
    expected = model(epochs=2).fit(X, y, group, eval_set=(X, y, group))
    np.testing.assert_array_equal(fitted.predict(withal), expected.predict(X, group))
    assert fitted.score(withal, y) == expected.score(X, y, group) == fitted.score(withal, y, qid=qid)
    with pytest.raises(InputError, match="qid and the column of X that says the query disagree"):
        fitted.predict(withal, qid=np.arange(len(X)))
    with pytest.raises(InputError, match="group and the column of X that says the query disagree"):
        fitted.predict(withal, [len(X)])


def test_missing_values_of_any_library_are_one(lists):
    """NaN, None and pandas.NA in a feature are missing numbers; in a query id they are an error."""
    X, y, group = lists
    frame = pd.DataFrame(X, columns=list("abcde"))
    holes = np.where(np.arange(len(X)) % 7 == 0, np.nan, np.round(X[:, 0]))
    as_int = pd.array(np.where(np.isnan(holes), 0, holes).astype(int), dtype="Int64")
    as_int[np.isnan(holes)] = pd.NA
    kinds = {"float": holes, "nullable": as_int, "object": [None if v != v else v for v in holes]}
    scores = []
    for values in kinds.values():
        changed = frame.assign(a=values)
        scores.append(model(epochs=1).fit(changed, y, group).predict(changed, group))
    for other in scores[1:]:
        np.testing.assert_array_equal(other, scores[0])
    n = len(X)
    for ids in (
        [None] * 3 + ["a"] * (n - 3),
        np.r_[np.nan, np.ones(n - 1)],
        pd.Series(pd.array([None] + [1] * (n - 1), dtype="Int64")),
        pd.Series(["a"] * (n - 1) + [None]),
    ):
        with pytest.raises(InputError, match="a row without a query id"):
            model().fit(X, y, qid=ids)
    with pytest.raises(InputError, match="query ids are text and numbers"):
        model().fit(X, y, qid=["a"] * (n - 1) + [1])


@pytest.mark.parametrize(
    "values, says",
    [
        ("text", "column 'n' of X holds text.*came 'text'"),
        (pd.Timestamp("2020-01-01"), "column 'n' of X holds no numbers"),
    ],
)
def test_a_column_without_numbers_is_named(lists, values, says):
    X, y, group = lists
    frame = pd.DataFrame(X, columns=list("abcde"))
    with pytest.raises(InputError, match=says):
        model().fit(frame.assign(n=values), y, group)
    assert model(epochs=1).fit(frame.assign(n=True), y, group).n_features_in_ == 6


def test_a_search_over_parameters(lists, caplog):
    """scikit-learn hands qid to fit alone; a column of queries reaches the scores, too."""
    X, y, group = lists
    qid = np.repeat(np.arange(len(group)), group)
    grid = {"epochs": [1, 8], "loss": ["listnet", "ranknet"]}
    frame = pd.DataFrame(X, columns=list("abcde")).assign(qid=qid)
    found = GridSearchCV(model(), grid, cv=GroupKFold(3), error_score="raise").fit(frame, y, groups=qid)
    assert np.isfinite(found.cv_results_["mean_test_score"]).all() and found.best_params_["epochs"] == 8
    fold = next(GroupKFold(3).split(frame, y, qid))
    first = model(**found.best_params_).fit(frame.iloc[fold[0]], y[fold[0]]).score(frame.iloc[fold[1]], y[fold[1]])
    assert found.cv_results_["split0_test_score"][found.best_index_] == pytest.approx(first, abs=1e-6)
    plain = GridSearchCV(model(epochs=1), {"loss": ["listnet"]}, cv=GroupKFold(3), error_score="raise")
    assert np.isfinite(plain.fit(X, y, groups=qid, qid=qid).cv_results_["mean_test_score"]).all()
    assert sum("one list" in record.message for record in caplog.records) == 1


def test_what_a_training_has_to_say_is_said_once(lists, caplog):
    X, y, group = lists
    flat = np.where(np.repeat(np.arange(len(group)), group) < 3, 0, y)
    for _ in range(2):
        fitted = RankingEstimator("lightgbm", rounds=3, min_data_in_leaf=len(X)).fit(X, flat, group)
    said = [record.message for record in caplog.records]
    assert len(said) == len(set(said)) == 2
    assert "of 40 training lists hold no relevant document" in said[0]
    assert "lightgbm found no split (lower min_data_in_leaf" in said[1]
    assert fitted.ranker_.notes == [text.removeprefix("ltr: ") for text in said]
