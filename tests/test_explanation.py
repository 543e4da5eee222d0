"""Contributions of features add up to scores, and are what closed forms and the boosters themselves say."""

from __future__ import annotations

import json

import numpy as np
import pytest

import ltr
from ltr.cli import main
from ltr.datasets import load
from ltr.errors import InputError
from ltr.methods import export, make_method
from ltr.rankers import make_ranker
from ltr.runs import execute, read_config

W = [0.7, 0.3]
NET = {"loss": "listnet", "epochs": 2, "batch_size": 8, "learning_rate": 0.03}


@pytest.fixture(scope="module")
def task():
    """Six features, holes in two of them."""
    made = load("synthetic:queries=16,features=50,objectives=2")

    def holed(split):
        x = np.array(split.features)[:, :6]
        x[:, :2][np.random.default_rng(len(x)).random((len(x), 2)) < 0.3] = np.nan
        return split.having(features=x, feature_names=tuple("abcdef"))

    return type(made)(made.name, made.fold, *(holed(made.split(n)) for n in ("train", "vali", "test")), made.facts)


@pytest.fixture(scope="module")
def forest(task):
    pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
    return make_ranker("lightgbm", rounds=6, leaves=7, min_data_in_leaf=5).fit(task.train, task.vali)


def adds_up(model, task, w=None, tolerance=2e-3):
    """Of the best and worst document of two lists, and of one alone; the explanation of the last pair is returned."""
    for q in (0, 1):
        one = task.test.take([q])
        scores = model.score(one) if w is None else model.score(one, w)[0]
        places = [int(scores.argmax()), int(scores.argmin())]
        found = ltr.explain(model, task.test, one.query_ids[0], places, w)
        size = np.abs(found.contributions).sum()
        assert size > 1e-3 and found.total == pytest.approx(
            scores[places[0]] - scores[places[1]], abs=1e-4 * (1 + size)
        )
        assert abs(found.rest) <= tolerance * size
        np.testing.assert_array_equal(found.values, one.features[places])
        back = ltr.explain(model, task.test, one.query_ids[0], places[::-1], w)
        np.testing.assert_allclose(back.contributions, -found.contributions, atol=1e-4 * size)
        alone = ltr.explain(model, task.test, one.query_ids[0], places[:1], w)
        assert abs(alone.rest) <= tolerance * np.abs(alone.contributions).sum() + 1e-6
    return found


def test_a_linear_net_gives_its_weights_times_the_differences(task):
    ranker = make_ranker("linear", transform="standardise", missing="mean", **NET).fit(task.train)
    found = adds_up(ranker, task)
    inputs = ranker.transform.apply(np.array(found.values))
    weights = np.concatenate([p.detach().numpy().ravel() for p in ranker.net.parameters()])[:6]
    np.testing.assert_allclose(found.contributions, weights * (inputs[0] - inputs[1]), atol=1e-5)
    assert [row["feature"] for row in found.rows(2)] == [
        "abcdef"[k] for k in np.abs(found.contributions).argsort()[::-1][:2]
    ]


def test_nets_add_up(task):
    """Missing values, ranks in the list and attention included: columns made of a feature count as the feature."""
    for name, settings in (
        ("mlp", {"hidden": [16], "transform": "log1p-standardise"}),
        ("mlp", {"hidden": [16], "context": "list"}),
        ("transformer", {"width": 8, "d_ff": 8, "heads": 2, "blocks": 1}),
    ):
        adds_up(make_ranker(name, **settings, **NET).fit(task.train), task)


def test_a_column_of_categories_is_a_feature_of_nets_and_no_export_of_trees_for_search(task):
    def coded(split):
        x = np.array(split.features)
        x[:, 5] = np.round(np.abs(x[:, 5])) % 4
        return split.having(features=x, categories=(5,))

    made = type(task)(
        task.name, task.fold, *(coded(task.split(name)) for name in ("train", "vali", "test")), task.facts
    )
    net = make_ranker("linear", transform="standardise", **NET).fit(made.train)
    adds_up(net, made)
    with pytest.raises(InputError, match="Formats that can: onnx, pt2"):
        export(net, "nowhere", "solr")
    trees = make_ranker("lightgbm", rounds=2, leaves=4, min_data_in_leaf=5).fit(made.train)
    with pytest.raises(InputError, match="columns of categories"):
        export(trees, "nowhere", "solr")


def test_trees_say_what_their_library_says(task, forest):
    found = adds_up(forest, task, tolerance=1e-6)
    own = forest.model.predict(found.values, pred_contrib=True)
    np.testing.assert_allclose(found.contributions, (own[0] - own[1])[:-1], atol=1e-12)
    for library in ("xgboost", "catboost"):
        ranker = make_ranker(library, rounds=3, depth=3).fit(task.train, task.vali)
        adds_up(ranker, task, tolerance=1e-5)


def test_methods_add_up(task, forest):
    training = {"epochs": 1, "batch_size": 8}
    # The net adds to trees: SHAP values of the one, gradients of the other.
    mixed = make_method("hyperdpo", ranker_params={"hidden": [4]}, training=training)
    adds_up(mixed.fit(task, forest, accelerator="cpu"), task, W)
    adds_up(make_method("mod", ranker="linear", training=training).fit(task, accelerator="cpu"), task, W)
    small = {"rounds": 3, "leaves": 7, "min_data_in_leaf": 5}
    told = make_method("conditioned-trees", copies=2, lightgbm=small).fit(task)
    adds_up(told, task, W, tolerance=1.0)  # the preference itself has its share
    mapped = make_method("plug-in", ranker="lightgbm", ranker_params=small, form="mixture", loss="lambdarank").fit(task)
    with pytest.raises(InputError, match="go through a map"):
        ltr.explain(mapped, task.test, task.test.query_ids[0], preference=W)


def test_mistakes_are_named(task, forest):
    query = task.test.query_ids[0]
    for given, says in (
        (("no",), "unknown query"),
        ((query, ["0", "0"]), "one document is explained"),
        ((query, ["x", "1"]), "unknown document"),
        ((query, (), W), "takes no preference"),
    ):
        with pytest.raises(InputError, match=says):
            ltr.explain(forest, task.test, *given)


def test_the_command_says_why(tmp_path, capsys, forest):
    data, params = "synthetic:queries=16,features=50", {"rounds": 3, "leaves": 7, "min_data_in_leaf": 5}
    config = read_config(None, {"data.name": data, "ranker.name": "lightgbm", "ranker.params": params})
    assert execute(config, tmp_path / "run").done
    split = load(data).test
    query = str(split.query_ids[1])
    assert main(["explain", str(tmp_path / "run"), "--query", query, "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert f"query {query}: " in out and " above " in out and "47 more features give" in out
    assert main(["explain", str(tmp_path / "run"), "--query", query, "--documents", "4", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    total = sum(row["contribution"] for row in found["features"])
    assert total == pytest.approx(found["scores"][0] - found["scores"][1], abs=1e-5)
    assert main(["explain", str(tmp_path / "run"), "--query", "none"]) == 2
    assert "unknown query" in capsys.readouterr().err
