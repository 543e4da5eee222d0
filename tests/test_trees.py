"""The boosters behind our verbs: nothing added, nothing lost beside the library called by hand."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from toy_lists import toy

from ltr import datasets
from ltr.errors import InputError
from ltr.metrics import evaluate, mean
from ltr.rankers import HEADLINE, load_ranker, make_ranker
from ltr.rankers.trees.catboost import _ignored_mode
from ltr.types import Split

LIBRARIES = ("lightgbm", "xgboost", "catboost")
pytestmark = pytest.mark.skipif(
    not all(importlib.util.find_spec(m) for m in LIBRARIES), reason="extra 'trees' is not installed"
)
TRAIN, VALI, TEST = toy(seed=0), toy(30, seed=1), toy(40, seed=2)


def ndcg(scores, split) -> float:
    return mean(evaluate([HEADLINE], scores, split.label(), split.offsets)[HEADLINE])


def lightgbm_by_hand(train: Split, rounds: int, **params):
    """What a user of LightGBM writes: `lightgbm.train` with their own parameters."""
    import lightgbm

    data = lightgbm.Dataset(train.features, train.label().copy(), group=train.lengths)
    settled = {"verbosity": -1, "num_threads": 1, "deterministic": True, "force_row_wise": True, "seed": 0}
    return lightgbm.train({"objective": "lambdarank", **settled, **params}, data, num_boost_round=rounds)


HAND = [
    # ours, and what the same thing is called in LightGBM's documentation
    ({}, {}),
    (
        {"leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 5, "truncation": 10},
        {"num_leaves": 15, "learning_rate": 0.05, "min_data_in_leaf": 5, "lambdarank_truncation_level": 10},
    ),
    (
        {"bagging_fraction": 0.5, "feature_fraction": 0.5, "l2": 2.0, "max_bin": 63, "min_sum_hessian": 0.1},
        {
            "bagging_fraction": 0.5,
            "bagging_freq": 1,
            "bagging_by_query": True,
            "feature_fraction": 0.5,
            "lambda_l2": 2.0,
            "max_bin": 63,
            "min_sum_hessian_in_leaf": 0.1,
        },
    ),
    ({"objective": "rank_xendcg"}, {"objective": "rank_xendcg"}),
    ({"objective": "regression"}, {"objective": "regression"}),
    ({"params": {"max_depth": 3, "lambdarank_norm": False}}, {"max_depth": 3, "lambdarank_norm": False}),
]


@pytest.mark.parametrize(("ours", "theirs"), HAND)
def test_lightgbm_equals_lightgbm_by_hand(ours, theirs, tmp_path):
    ranker = make_ranker("lightgbm", rounds=20, select_rounds=False, **ours).fit(TRAIN, VALI, threads=1)
    expected = lightgbm_by_hand(TRAIN, 20, **theirs)
    assert np.array_equal(ranker.score(TEST), expected.predict(TEST.features, raw_score=True).astype(np.float32))
    assert ranker.model.num_trees() == 20 == ranker.best["epoch"]
    ranker.save(tmp_path / "kept")  # through the text file, too
    assert np.array_equal(load_ranker(tmp_path / "kept").score(TEST), ranker.score(TEST))


@pytest.mark.data
def test_lightgbm_equals_lightgbm_by_hand_on_its_own_example(real_data):
    """The lambdarank example of LightGBM's repository, with leaves large enough for its 201 lists."""
    folder = real_data / "lightgbm-example"
    train, test = (_read(folder / f"rank.{part}", folder / f"rank.{part}.query") for part in ("train", "test"))
    ranker = make_ranker("lightgbm", rounds=30, select_rounds=False, min_data_in_leaf=50, min_sum_hessian=5.0)
    ranker.fit(train, threads=1)
    expected = lightgbm_by_hand(train, 30, min_data_in_leaf=50, min_sum_hessian_in_leaf=5.0)
    assert np.array_equal(ranker.score(test), expected.predict(test.features, raw_score=True).astype(np.float32))


@pytest.mark.data
def test_lightgbm_equals_lightgbm_by_hand_on_mq2008(real_data):
    folder = real_data / "MQ2008" / "Fold1"
    train, test = _read(folder / "train.txt"), _read(folder / "test.txt")
    ranker = make_ranker("lightgbm", rounds=50, select_rounds=False).fit(train, threads=1)
    expected = lightgbm_by_hand(train, 50)
    assert np.array_equal(ranker.score(test), expected.predict(test.features, raw_score=True).astype(np.float32))


@pytest.mark.data
@pytest.mark.parametrize(
    ("data", "files", "params", "theirs"),
    [
        ("MQ2008", ("Fold1/train.txt", "Fold1/test.txt"), {}, {}),
        (
            "lightgbm-example",
            ("rank.train", "rank.test"),
            {"min_data_in_leaf": 50, "min_sum_hessian": 5.0},
            {"min_data_in_leaf": 50, "min_sum_hessian_in_leaf": 5.0},
        ),
    ],
)
def test_lightgbm_through_the_suite_equals_lightgbm_by_hand(
    real_data, tmp_path, monkeypatch, data, files, params, theirs
):
    """The whole way: raw files, store, suite, run folder, stored scores, against arrays and `lightgbm.train`."""
    from ltr.bench import run_suite
    from ltr.bench.suite import Suite, System, check
    from ltr.runs import read_scores

    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    system = System("LightGBM", "lightgbm", params={"rounds": 30, "select_rounds": False, **params})
    suite = check(Suite("By hand", (data,), (system,), name="by-hand", folds=("Fold1",), measures=(HEADLINE,)))
    if data == "lightgbm-example":
        suite = replace(suite, folds=("all",))
    results = run_suite(suite, tmp_path / "out", workers=1, progress=False, data={data: str(real_data / data)})

    if data == "MQ2008":
        train, test = (_read(real_data / data / file) for file in files)
    else:  # no validation file: the suite has cut one from train, by query
        task = datasets.load(real_data / data)
        train, test = task.train, task.test
    expected = lightgbm_by_hand(train, 30, **theirs).predict(test.features, raw_score=True).astype(np.float32)
    (folder,) = (path.parent for path in (tmp_path / "out" / "runs").rglob("DONE"))
    scores = read_scores(folder / "scores" / "test.parquet").to_pandas()
    assert np.array_equal(scores.sort_values("row")["score"].to_numpy(np.float32), expected)
    ours = results.values.query("split == 'test' and measure == @HEADLINE")["mean"].item()
    assert ours == pytest.approx(ndcg(expected, test), abs=1e-9)


def _read(path, query=None) -> Split:
    """A svmlight file by scikit-learn, so that this witness does not lean on our reader."""
    from sklearn.datasets import load_svmlight_file

    if query is None:
        X, y, ids = load_svmlight_file(str(path), query_id=True)
        _, first, lengths = np.unique(ids, return_index=True, return_counts=True)
        assert (np.diff(ids) != 0).sum() + 1 == len(lengths), "documents of a query stand together"
        lengths = lengths[np.argsort(first)]
    else:
        X, y = load_svmlight_file(str(path), n_features=301, zero_based=True)
        lengths = np.loadtxt(query, dtype=int)
    return Split.from_arrays(X.toarray(), y, lengths)


def test_xgboost_equals_xgboost_by_hand():
    import xgboost

    ranker = make_ranker("xgboost", rounds=15, depth=4, l2=0.5, truncation=8, select_rounds=False).fit(TRAIN, threads=1)
    data = xgboost.DMatrix(TRAIN.features, TRAIN.label().copy())
    data.set_group(TRAIN.lengths)
    params = {
        "objective": "rank:ndcg",
        "tree_method": "hist",
        "learning_rate": 0.1,
        "max_depth": 4,
        "lambda": 0.5,
        "lambdarank_num_pair_per_sample": 8,
        "seed": 0,
        "nthread": 1,
    }
    expected = xgboost.train(params, data, num_boost_round=15)
    by_hand = expected.predict(xgboost.DMatrix(TEST.features), output_margin=True)
    np.testing.assert_allclose(ranker.score(TEST), by_hand, atol=1e-6)


def test_catboost_equals_catboost_by_hand():
    import catboost

    ranker = make_ranker("catboost", rounds=15, depth=4, objective="QueryRMSE", select_rounds=False)
    ranker.fit(TRAIN, threads=1)
    data = catboost.Pool(TRAIN.features, TRAIN.label().copy(), group_id=np.repeat(np.arange(60), TRAIN.lengths))
    expected = catboost.CatBoost(
        {
            "loss_function": "QueryRMSE",
            "iterations": 15,
            "depth": 4,
            "learning_rate": 0.1,
            "random_seed": 0,
            "thread_count": 1,
            "verbose": False,
            "allow_writing_files": False,
        }
    ).fit(data)
    assert np.array_equal(ranker.score(TEST), expected.predict(TEST.features).astype(np.float32))


@pytest.mark.parametrize("name", LIBRARIES)
def test_the_chosen_round_is_the_best_of_the_grid(name):
    """Retraining with each number of rounds on the grid finds the same best one, with the same measure."""
    grid = range(4, 25, 4)
    ranker = make_ranker(name, rounds=24, select_every=4, patience=0).fit(TRAIN, VALI)
    looked = {e["epoch"]: e["vali"] for e in ranker.history}
    assert list(looked) == list(grid)
    for rounds in grid:
        plain = make_ranker(name, rounds=rounds, select_rounds=False).fit(TRAIN, VALI)
        assert looked[rounds] == pytest.approx(ndcg(plain.score(VALI), VALI), abs=1e-6)
        if rounds == ranker.best["epoch"]:
            np.testing.assert_allclose(ranker.score(TEST), plain.score(TEST), atol=1e-5)
    best = max(looked.values())
    assert ranker.best == {"epoch": min(r for r, v in looked.items() if v == best), "vali": best}


@pytest.mark.parametrize("name", LIBRARIES)
def test_patience_is_the_same_rule_for_all(name):
    """A steep learning rate overfits at once: the choice is made among the looks until patience ran out."""
    full = make_ranker(name, rounds=60, select_every=2, patience=0, learning_rate=1.0).fit(TRAIN, VALI)
    short = make_ranker(name, rounds=60, select_every=2, patience=6, learning_rate=1.0).fit(TRAIN, VALI)
    values = [e["vali"] for e in full.history]
    assert [e["vali"] for e in short.history] == values[: len(short.history)]
    seen = [e["vali"] for e in short.history]
    assert short.best["epoch"] == 2 * (int(np.argmax(seen)) + 1)
    assert short.history[-1]["epoch"] == short.best["epoch"] + 6 < 60


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("lightgbm", "rank_xendcg"),
        ("lightgbm", "regression"),
        ("xgboost", "rank:pairwise"),
        ("xgboost", "rank:map"),
        ("xgboost", "reg:squarederror"),
        ("catboost", "YetiRank:mode=NDCG"),
        ("catboost", "YetiRankPairwise"),
        ("catboost", "PairLogit"),
        ("catboost", "RMSE"),
    ],
)
def test_every_objective_learns(name, objective):
    small = {"min_data_in_leaf": 5} if name == "lightgbm" else {}
    ranker = make_ranker(name, rounds=30, objective=objective, **small)
    assert ndcg(ranker.fit(TRAIN, VALI).score(TEST), TEST) > 0.8


def test_labels_a_library_would_misread():
    def labelled(y):
        return Split.from_arrays(TRAIN.features, y, TRAIN.lengths)

    halves, huge, negative = TRAIN.label() + 0.5, TRAIN.label() * 60, TRAIN.label() - 1
    for name in ("lightgbm", "xgboost"):
        with pytest.raises(InputError, match="takes integer grades .*; came .*.5"):
            make_ranker(name, rounds=2).fit(labelled(halves))
        with pytest.raises(InputError, match=r"takes grades up to 3[01] \(gain 2\^y - 1\) .*; came 60.0"):
            make_ranker(name, rounds=2).fit(labelled(huge))
    for name in LIBRARIES:
        with pytest.raises(InputError, match="no negative labels .*; came -1.0"):
            make_ranker(name, rounds=2).fit(labelled(negative))
    # The ways out that the messages name.
    gains = [float(y) for y in range(241)]
    make_ranker("lightgbm", rounds=2, params={"label_gain": gains}).fit(labelled(huge))
    make_ranker("lightgbm", rounds=2, objective="regression").fit(labelled(halves))
    make_ranker("xgboost", rounds=2, params={"ndcg_exp_gain": False}).fit(labelled(huge))


def named(split: Split, ids) -> Split:
    return replace(split, query_ids=np.array(ids), feature_names=tuple("abcdef"))


def test_data_a_library_would_die_of_are_refused_before_it_trains():
    """The query, the column and a way out that works are named."""
    lengths = [3, 10_001, 4]
    rng = np.random.default_rng(0)
    long = Split.from_arrays(rng.random((sum(lengths), 2), dtype=np.float32), rng.integers(0, 2, sum(lengths)), lengths)
    long = replace(long, query_ids=np.array(["x", "long", "z"]))
    for objective in ("lambdarank", "rank_xendcg"):
        with pytest.raises(InputError, match=r"up to 10,000 documents \(query long\); came 10001. Split or sample"):
            make_ranker("lightgbm", rounds=2, objective=objective).fit(long)
    make_ranker("lightgbm", rounds=2, objective="regression").fit(long)

    ids = [f"q{i}" for i in range(TRAIN.n_queries)]
    for value in (np.inf, -np.inf):
        features = TRAIN.features.copy()
        features[TRAIN.offsets[5] + 1, 2] = value
        infinite = named(replace(TRAIN, features=features), ids)
        says = r"xgboost takes no infinite feature \(column c, query q5\); came -?inf. Put a missing value"
        with pytest.raises(InputError, match=says):
            make_ranker("xgboost", rounds=2).fit(infinite)
        with pytest.raises(InputError, match=says):
            make_ranker("xgboost", rounds=2).fit(named(TRAIN, ids), infinite)
        fitted = make_ranker("xgboost", rounds=2).fit(TRAIN)
        with pytest.raises(InputError, match=says):
            fitted.score(infinite)
        features[TRAIN.offsets[5] + 1, 2] = np.nan
        make_ranker("xgboost", rounds=2).fit(infinite)
        features[TRAIN.offsets[5] + 1, 2] = value
        for other in ("lightgbm", "catboost"):
            assert np.isfinite(make_ranker(other, rounds=2).fit(infinite, infinite).score(infinite)).all()

    labels = TRAIN.labels.copy()
    labels[TRAIN.offsets[3]] = 40
    for name in ("lightgbm", "xgboost"):
        with pytest.raises(InputError, match=r"\(query q3\); came 40.0. Regrade"):
            make_ranker(name, rounds=2).fit(named(replace(TRAIN, labels=labels), ids))


def test_what_a_library_complains_of_is_one_line():
    flat = replace(TRAIN, features=np.ones_like(TRAIN.features))
    with pytest.raises(InputError, match="catboost cannot be trained on this: .*constant or ignored") as caught:
        make_ranker("catboost", rounds=2).fit(flat)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="lightgbm cannot be trained on this"):
        make_ranker("lightgbm", rounds=2, params={"num_leaves": -3}).fit(TRAIN)
    with pytest.raises(InputError, match="xgboost cannot be trained on this") as caught:
        make_ranker("xgboost", rounds=2, params={"objective": "rank:nosuch"}).fit(TRAIN)
    assert "\n" not in str(caught.value)


def test_trees_without_a_split_say_so():
    small = {"lightgbm": {"min_data_in_leaf": 10**6}, "xgboost": {"min_child_weight": 1e9}}
    for name, params in small.items():
        fitted = make_ranker(name, rounds=3, **params).fit(TRAIN, VALI)
        assert np.unique(fitted.score(TEST)).size == 1
        assert any(f"{name} found no split (lower" in note for note in fitted.notes)
        assert not any("split" in note for note in make_ranker(name, rounds=3).fit(TRAIN, VALI).notes)


@pytest.mark.parametrize("name", LIBRARIES)
def test_lists_without_documents_and_missing_values(name):
    lengths = np.insert(TRAIN.lengths, [0, 30, 60], 0)
    features = TRAIN.features.copy()
    features[::7, 2] = np.nan
    split = Split.from_arrays(features, TRAIN.label(), lengths)
    ranker = make_ranker(name, rounds=20, select_every=5).fit(split, split)
    without = Split.from_arrays(features, TRAIN.label(), TRAIN.lengths)
    same = make_ranker(name, rounds=20, select_every=5).fit(without, without)
    assert np.array_equal(ranker.score(split), same.score(split))


@pytest.mark.parametrize("name", LIBRARIES)
def test_leaves_are_counted(name):
    """Trees without a limit in the way of their size: leaves = 2^depth each, or as many as allowed."""
    params = {
        "lightgbm": {"leaves": 4, "min_data_in_leaf": 1},
        "xgboost": {"depth": 2, "min_child_weight": 0.0, "l2": 0.0},
        "catboost": {"depth": 2},
    }[name]
    ranker = make_ranker(name, rounds=5, select_rounds=False, **params).fit(TRAIN)
    assert ranker.n_parameters == 5 * 4


@pytest.mark.parametrize("name", LIBRARIES)
def test_progress_hears_the_rounds(name):
    heard = []
    make_ranker(name, rounds=20, select_every=5).fit(TRAIN, VALI, progress=heard.append)
    assert sorted({event.epoch for event in heard if event.vali is not None}) == [5, 10, 15, 20]
    assert {event.epochs for event in heard} == {20}


def test_a_missing_library_is_named():
    code = (
        "import sys; sys.modules['lightgbm'] = None\n"
        "from toy_lists import toy; from ltr.rankers import make_ranker; from ltr.errors import MissingExtra\n"
        "try: make_ranker('lightgbm').fit(toy())\n"
        "except MissingExtra as error: print(error)"
    )
    here = str(pytest.importorskip("toy_lists").__file__).rsplit("/", 1)[0]
    out = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {here!r}); " + code], capture_output=True, text=True
    )
    assert "needs lightgbm, which is not installed. Install it with: pip install 'ltr-suite[trees]'" in out.stdout


def test_settings_without_a_field_reach_xgboost():
    plain = make_ranker("xgboost", rounds=5).fit(TRAIN).score(TEST)
    for name, value in (("lambdarank_unbiased", True), ("lambdarank_score_normalization", False)):
        assert not np.array_equal(make_ranker("xgboost", rounds=5, params={name: value}).fit(TRAIN).score(TEST), plain)


def test_modes_of_yetirank_that_a_gpu_ignores_are_said():
    for objective, more, said in (
        ("YetiRank:mode=NDCG;top=5", {"task_type": "GPU"}, ["catboost ignores mode=NDCG of YetiRank on a GPU"]),
        ("YetiRankPairwise:mode=Classic", {"task_type": "GPU"}, []),
        ("YetiRank:mode=NDCG", {}, []),
        ("YetiRank", {"task_type": "GPU"}, []),
    ):
        notes = _ignored_mode(make_ranker("catboost", objective=objective, params=more).native())
        assert [note.split(" and ")[0] for note in notes] == said


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_normal_run_is_silent(name, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_ranker(name, rounds=10).fit(TRAIN, VALI).score(TEST)
    assert capfd.readouterr() == ("", "")
    assert not list(tmp_path.iterdir()), "no log folders"


@pytest.mark.parametrize(("name", "rate"), [("lightgbm", "shrinkage_rate"), ("xgboost", "eta")])
def test_params_that_a_library_would_pass_over_are_refused(name, rate):
    """A second name of a parameter wins over ours as the first does; one that nobody knows is no parameter."""
    pytest.importorskip(name)
    split = toy(30)
    scores = lambda **params: make_ranker(name, rounds=2, params=params).fit(split, None).score(split)  # noqa: E731
    np.testing.assert_array_equal(scores(**{rate: 0.9}), scores(learning_rate=0.9))
    assert not np.array_equal(scores(**{rate: 0.9}), scores())
    with pytest.raises(InputError, match="unknown parameter of .*lamda_l1"):
        scores(lamda_l1=1.0)
    with pytest.raises(InputError, match="n_estimators"):
        scores(n_estimators=50)
