"""The face for people who have arrays keeps scikit-learn's promises."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterGrid, cross_val_score
from sklearn.utils.estimator_checks import check_estimator

from ltr import GroupFolds, RankingEstimator, RankingScorer
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
    for odd in (1.5, -1, None, True, "0"):
        with pytest.raises(InputError, match="seed; expected a whole number from 0"):
            model(seed=odd).fit(*lists)
    with pytest.raises(InputError, match="unknown measure 'nDGC'.*Did you mean 'nDCG'"):
        model(select="nDGC@10").fit(*lists)  # also where there is nothing to select on
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
    with pytest.raises(InputError, match="expecting 5 features"):
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
        (lambda n: np.full(n, 2.0**25, np.float32), "came '33554432.0 in row 0'"),
        (lambda n: [*["q"] * (n - 1), ""], "a row without a query id.*came ' in row"),
        (lambda n: [np.inf] * n, "came 'inf in row 0'"),
        (lambda n: 7, "one query a row.*came 7"),
        (lambda n: "q" * n, "one query a row"),
        (lambda n: dict(enumerate("q" * n)), "one query a row"),  # its keys are no ids
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


@pytest.mark.parametrize("ranker", ["linear", "lightgbm"])
def test_columns_of_type_category_are_categories(ranker):
    own = {"epochs": 30, "learning_rate": 0.1, "batch_size": 8}
    if ranker == "lightgbm":
        pytest.importorskip("lightgbm")
        own = {"rounds": 10, "min_data_in_leaf": 5, "params": {"min_data_per_group": 5, "cat_smooth": 1}}
    draw = np.random.default_rng(0)
    kinds = draw.permuted(np.tile(["tea", "coffee", "water", "milk"], (30, 1)), axis=1).ravel()
    X = pd.DataFrame({"kind": pd.Categorical(kinds), "x": draw.normal(size=120), "qid": np.repeat(np.arange(30), 4)})
    y = 2 * np.isin(kinds, ["tea", "water"])
    model = RankingEstimator(ranker, loss="listnet", **own).fit(X, y)
    assert model.score(X, y, measure="OPA") > 0.95
    text = X.assign(kind=kinds.astype(object))  # a column that is one of categories is read as such from then on
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(text), model.predict(X))
    new = model.predict(X.assign(kind="cake")), model.predict(X.assign(kind=pd.Categorical(["juice"] * 120)))
    np.testing.assert_array_equal(*new)
    with pytest.raises(InputError, match="astype..category"):
        RankingEstimator(ranker, loss="listnet", **own).fit(text, y)


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


REASONS = {
    "check_all_zero_sample_weights_error": "lists of weight 0 teach nothing; that is no error",
    "check_sample_weight_equivalence_on_dense_data": "a loss is a mean over the documents of a list, also of weight 0",
    "check_complex_data": "complex numbers are refused, in our words",
    "check_dtype_object": "what is no number is refused as bad input (a ValueError), not as a TypeError",
    "check_estimators_empty_data_messages": "a matrix without columns is refused, in our words",
    "check_fit2d_predict1d": "a vector is refused, in our words",
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_the_checks_of_scikit_learn_hold_but_for_a_named_list():
    done = check_estimator(
        RankingEstimator("linear", loss="mse", epochs=1, single_list=True),
        expected_failed_checks=REASONS,
        on_fail=None,
        on_skip=None,
    )
    failed = {each["check_name"]: str(each["exception"]) for each in done if each["status"] == "failed"}
    assert failed == {}
    assert {each["check_name"] for each in done if each["status"] == "xfail"} == REASONS.keys()
    assert sum(each["status"] == "passed" for each in done) >= 35


def test_a_search_whose_folds_and_scores_know_the_lists(lists):
    X, y, group = lists
    qid = np.repeat(np.arange(len(group)), group)
    folds, scorer = GroupFolds(4), RankingScorer("NDCG@5")
    frame = pd.DataFrame(X, columns=list("abcde")).assign(qid=qid)
    plain = cross_val_score(model(), frame, y, cv=folds, scoring=scorer)
    with config_context(enable_metadata_routing=True):
        routed = cross_val_score(model(), X, y, cv=folds, scoring=scorer, params={"qid": qid, "groups": qid})
        asked = model().set_fit_request(group=True, qid=True)
        assert asked.get_metadata_routing().fit.requests["group"] is True
        grid = {"epochs": [1, 8], "ranker": ["linear", "mlp"]}
        found = GridSearchCV(model(), grid, cv=folds, scoring=scorer).fit(X, y, qid=qid, groups=qid)
    assert np.array_equal(plain, routed) and len(plain) == 4 and plain.min() > 0.8
    train, test = next(folds.split(X, y, qid))
    by_hand = model().fit(X[train], y[train], qid=qid[train]).score(X[test], y[test], qid=qid[test], measure="NDCG@5")
    assert plain[0] == pytest.approx(by_hand, abs=1e-12) and not set(qid[train]) & set(qid[test])
    assert found.best_params_["epochs"] == 8
    with pytest.raises(InputError, match="2 to 40; came 41"):
        next(GroupFolds(41).split(X, y, qid))


def test_every_parameter_is_known_and_leaves_with_its_ranker():
    assert {
        "hidden",
        "dropout",
        "epochs",
        "learning_rate",
        "loss_params",
        "seed",
    } <= RankingEstimator().get_params().keys()
    assert "rounds" in RankingEstimator("lightgbm").get_params() and repr(RankingEstimator()).count("=") == 3
    moved = clone(RankingEstimator("mlp", epochs=3)).set_params(ranker="lightgbm")
    assert "hidden" not in moved.get_params() and moved._params == {"epochs": 3}
    with pytest.raises(InputError, match="parameter of 'lightgbm' 'epochs'"):
        moved.fit(np.ones((2, 1)), [0, 1], [2])


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_the_call_of_pyterrier_and_what_features_are_worth(lists, name):
    """`pt.ltr.apply_learned_model(learner, form="ltr")` calls fit and predict like this."""
    pytest.importorskip(name)
    X, y, group = lists
    half = int(group[:20].sum())
    learner = RankingEstimator(name, rounds=5)
    learner.fit(
        np.stack(list(X[:half])), y[:half], group=group[:20], eval_set=[(X[half:], y[half:])], eval_group=[group[20:]]
    )
    assert learner.predict(np.stack(list(X[half:]))).shape == (len(X) - half,)
    assert learner.log_["selection"]["value"] > 0
    worth = learner.feature_importances_
    assert worth.shape == (5,) and worth.sum() == pytest.approx(1) and worth.argmax() == 1
    same = RankingEstimator(name, rounds=5).fit(
        X[:half], y[:half], group[:20], eval_set=(X[half:], y[half:], group[20:])
    )
    assert np.array_equal(same.predict(X), learner.predict(X))
    assert not hasattr(model(epochs=1).fit(X, y, group), "feature_importances_")
    with pytest.raises(InputError, match="one eval_set"):
        learner.fit(X, y, group, eval_set=[(X, y), (X, y)], eval_group=[group, group])


def test_ids_without_a_value_and_weights_in_another_order_are_refused(lists):
    X, y, group = lists
    qid = np.repeat(np.arange(len(group)), group)
    for missing in (pd.to_datetime(pd.Series([None] * len(X))), np.ma.array(qid, mask=qid == 0)):
        with pytest.raises(InputError, match="a row without a query id|query ids are text and numbers"):
            model().fit(X, y, qid=missing)
    frame = pd.DataFrame(X, columns=list("abcde"))
    with pytest.raises(InputError, match="the rows of sample_weight stand in another order"):
        model().fit(frame, y, group, sample_weight=pd.Series(np.ones(len(X)))[::-1])
    with pytest.raises(InputError) as refused:
        model().fit(frame, pd.Series(y).astype(str), group)
    assert "category" not in str(refused.value)  # a label is none


def test_columns_that_are_counted_go_by_their_count(lists, caplog):
    X, y, group = lists
    frame, other = pd.DataFrame(X), [3, 1, 0, 4, 2]
    fitted = model(epochs=1).fit(frame, y, group)
    np.testing.assert_array_equal(fitted.predict(frame[other], group), fitted.predict(X, group))
    np.testing.assert_array_equal(
        model(epochs=1).fit(frame[other], y, group).predict(frame, group), fitted.predict(X, group)
    )
    for columns in (frame.set_axis([1, 2, 3, 4, 5], axis=1), frame.set_axis([0, 1, 2, 3, 7], axis=1)):
        with pytest.raises(InputError, match="other columns than the model was fitted on"):
            fitted.predict(columns, group)
        with pytest.raises(InputError, match="other columns than the model was fitted on"):
            model(epochs=1).fit(columns, y, group).predict(frame, group)


def test_features_that_look_like_none_are_said(lists, caplog):
    X, y, group = lists
    qid = np.random.default_rng(0).permutation(np.repeat(np.arange(len(group)), group))
    frame = pd.DataFrame(X, columns=list("abcde")).assign(same=y, docid=np.arange(len(X)))
    model(epochs=1).fit(frame, y, qid=qid).predict(frame.assign(a=np.inf), qid=qid)
    for said in (
        "feature 'same' equals the label",
        "feature 'docid': its name speaks of a document",
        "feature 'docid' counts the rows",
        "infinite values among the features, the first in row 0, column a",
    ):
        assert said in caplog.text


def test_folds_of_rows_that_do_not_fit_are_refused(lists):
    X, y, group = lists
    qid = np.repeat(np.arange(len(group)), group)
    with pytest.raises(InputError, match="one query a row"):
        next(GroupFolds(3).split(X, groups=qid[:-1]))
    with pytest.raises(InputError, match=r"came 2\.5"):
        next(GroupFolds(2.5).split(X, groups=qid))
