"""Columns of categories: codes in the store, one-hot for nets, splits of boosters, and values unseen in training."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

import ltr
from ltr.cli import main
from ltr.datasets import transforms
from ltr.datasets.readers.cells import category_code
from ltr.datasets.transforms import Transform
from ltr.errors import InputError
from ltr.methods import export
from ltr.rankers import load_ranker, make_ranker
from ltr.rankers.training.validation import measure_split
from ltr.runs.input_columns import input_facts, read_lists

KINDS = ("tea", "coffee", "water", "milk", "juice", "soup")
WORTH = dict(zip(KINDS, (3, 0, 2, 0, 3, 0), strict=True))


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Relevance is the kind's, and the codes of kinds say nothing; two kinds stand in the test lists only."""
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    draw, paths = np.random.default_rng(0), {}
    for role, lists, new in (("train", 60, ()), ("vali", 15, ()), ("test", 15, ("cake", "NA"))):
        lines = ["qid,doc,relevance,kind,shop,x"]
        for q in range(lists):
            for k, kind in enumerate(draw.permutation([*KINDS, *new])):
                lines.append(f"{role}{q},d{k},{WORTH.get(kind, 0)},{kind},{draw.integers(1, 4)},{draw.normal():.3f}")
        paths[role] = tmp_path / f"{role}.csv"
        paths[role].write_text("\n".join(lines) + "\n")
    return paths


def ndcg(task, ranker) -> float:
    return measure_split("nDCG@3", ranker.score(task.test), task.test, 0)


def test_from_a_table_to_rankers(files, tmp_path, capsys):
    plain = ltr.load(files)
    assert plain.train.feature_names == ("shop", "x") and plain.train.categories == ()
    task = ltr.load(files, categories=["kind", "shop"])
    assert "feature   kind, shop: categories, as said" in capsys.readouterr().err
    train = task.train
    assert train.feature_names == ("kind", "shop", "x") and train.categories == (0, 1)
    assert set(train.features[:, 0]) == {category_code(kind) for kind in KINDS}
    assert set(train.features[:, 1]) == {category_code(shop) for shop in "123"}  # the same code as of text
    assert np.isnan(task.test.features[:, 0]).sum() == 15 and train.take([1, 0]).categories == (0, 1)
    frames = {role: pytest.importorskip("pandas").read_csv(path) for role, path in files.items()}
    assert np.array_equal(ltr.load(frames, categories=["kind", "shop"]).train.features, train.features)
    how = {"epochs": 25, "learning_rate": 0.1, "batch_size": 16}
    net = make_ranker("linear", loss="listnet", **how).fit(train, task.vali, progress=False)
    assert ndcg(task, net) > 0.95 > ndcg(plain, make_ranker("linear", loss="listnet", **how).fit(plain.train)) + 0.1
    net.save(tmp_path / "net")
    assert np.array_equal(load_ranker(tmp_path / "net").score(task.test), net.score(task.test))
    lists = read_lists(files["test"], input_facts(task))
    assert np.array_equal(lists.features, task.test.features, equal_nan=True)
    for wrong, message in (
        ({"categories": ["kinds"]}, "Did you mean 'kind'"),
        ({"categories": ["qid"]}, "is named as"),
    ):
        with pytest.raises(InputError, match=message):
            ltr.load(files, **wrong)


@pytest.mark.parametrize("name", ["lightgbm", "xgboost", "catboost"])
def test_trees(name, files, tmp_path):
    pytest.importorskip(name)
    task = ltr.load(files, categories=["kind", "shop"])
    own = {"min_data_in_leaf": 5, "params": {"min_data_per_group": 5, "cat_smooth": 1}} if name == "lightgbm" else {}
    ranker = make_ranker(name, rounds=20, **own).fit(task.train, task.vali, progress=False)
    assert ranker.best["vali"] > 0.95
    codes = ranker._coded(task.test.features)
    seen = np.isin(task.test.features[:, 0], task.train.features[:, 0])
    missing = np.isnan(task.test.features[:, 0])
    assert np.isnan(codes[missing, 0]).all() and set(codes[~seen & ~missing, 0]) == {6}
    assert set(codes[seen, 0]) == set(range(6))
    if name == "xgboost":  # told of categories, not of numbers
        trees = json.loads(ranker.model.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]
        assert any(tree["categories"] for tree in trees)
    elif name == "catboost":
        assert ranker.model.get_cat_feature_indices() == [0, 1]
    else:
        assert "cat_boundaries" in ranker.model.model_to_string() and "num_cat=0" not in ranker.model.model_to_string()
    assert ndcg(task, ranker) > 0.9  # values that were not seen are worth nothing there, nor to the rankers
    new = task.test.features[~seen & ~missing]
    others = ltr.Split.from_arrays(np.where(np.arange(3) == 0, np.float32(12345), new))
    assert np.array_equal(ranker.score(others), ranker.score(ltr.Split.from_arrays(new)))  # all new values are alike
    ranker.save(tmp_path / "trees")
    kept = load_ranker(tmp_path / "trees")
    assert np.array_equal(kept.score(task.test), ranker.score(task.test))
    _exported(kept, name, task.test, tmp_path)
    shares = kept.contributions(kept._coded(task.test.features))
    np.testing.assert_allclose(shares.sum(1), kept.score(task.test), atol=1e-4)


def _exported(ranker, name, split, folder):
    """The boosters' own formats hold categories, and the codes whose places they are; the others say so."""
    with pytest.raises(InputError, match="columns of categories"):
        export(ranker, folder / "solr.json", "solr", names=split.feature_names)
    if name == "catboost":
        return
    form = {"lightgbm": "lightgbm-json", "xgboost": "xgboost-ubj"}[name]
    found = export(ranker, folder / form, form, names=split.feature_names)
    assert "kind, shop: give the place" in found.notes[-1]
    if name == "lightgbm":
        codes = json.loads(found.path.read_text())["category_codes"]
        assert '"decision_type": "=="' in found.path.read_text()
    else:
        import xgboost

        booster = xgboost.Booster(model_file=str(found.path))
        codes = json.loads(booster.attr("category_codes"))
    x = split.features.copy()
    for k, column in enumerate(("kind", "shop")):
        place = {code: at for at, code in enumerate(codes[column])}
        x[:, k] = [np.nan if v != v else place.get(int(v), len(place)) for v in x[:, k]]
    assert np.array_equal(x, ranker._coded(split.features), equal_nan=True)
    if name == "xgboost":
        data = xgboost.DMatrix(x, feature_types=["c", "c", "q"], enable_categorical=True)
        np.testing.assert_allclose(booster.predict(data, output_margin=True), ranker.score(split), atol=1e-6)


def test_the_transform(tmp_path):
    x = np.array([[5.0, 1.0], [7.0, 2.0], [7.0, 3.0], [np.nan, 4.0]], np.float32)
    unseen = np.array([[9.0, 1.0], [np.nan, 1.0]], np.float32)
    for name in transforms.NAMES:
        fitted = transforms.fit(name, x, categories=(0,))
        out = fitted.apply(x)
        assert out.shape == (4, fitted.width(2)) == (4, 4) and not out[:, 0].any()
        assert out[:, 2:].tolist() == [[0, 1], [1, 0], [1, 0], [0, 0]]  # the most frequent first; no indicator
        assert not fitted.apply(unseen)[:, 2:].any()
        assert np.array_equal(out[:, 1], transforms.fit(name, x[:, 1:]).apply(x[:, 1:])[:, 0])
        fitted.save(tmp_path / "t.npz")
        again = Transform.load(tmp_path / "t.npz")
        assert again.same(fitted) and torch.equal(again.apply(torch.from_numpy(x)), torch.from_numpy(out))
        assert not fitted.same(transforms.fit(name, x[1:], categories=(0,)))
    many = np.arange(1000, dtype=np.float32)[:, None]
    assert transforms.fit("none", many, categories=(0,)).width(1) == 1 + transforms.LEVELS


def test_a_run_and_its_predictions(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ltr.errors._SAID", set())
    store = ["data", "convert", str(files["train"]), "--to", str(tmp_path / "st"), "--categories", "kind", "shop", "-q"]
    assert main(store) == 0 and ltr.load(tmp_path / "st").test.categories == (0, 1)
    shared = ["--ranker", "linear", "--loss", "listnet", "--training.epochs", "2", "-q", "--out", str(tmp_path / "run")]
    assert main(["train", "--data", str(files["train"]), "--categories", "kind", "shop", *shared]) == 0
    assert "--categories kind shop" in ltr.runs.read_record(tmp_path / "run").command
    assert main(["predict", str(tmp_path / "run"), str(files["test"]), "--out", str(tmp_path / "scores.csv")]) == 0
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 1 + 15 * 8
    assert "feature 'kind': 15 of 120 cells are no category that training has a place for" in capsys.readouterr().err
