"""Exports in the formats of the boosters and of search engines score as we do; small evaluators are the witnesses."""

from __future__ import annotations

import json
import typing
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_export import W, agree, opened, padded

import ltr
from ltr.cli import main
from ltr.cli.predict import Export
from ltr.datasets import load
from ltr.datasets.cards.card import load_card
from ltr.errors import InputError
from ltr.methods import make_method
from ltr.methods.export import fixed
from ltr.methods.export_formats import FORMS, export
from ltr.metrics.significance import bootstrap_interval
from ltr.rankers import make_ranker
from ltr.rankers.trees.forest import Forest, above
from ltr.runs import execute, read_config, read_record, verify
from ltr.runs.model_card import model_card
from ltr.runs.per_query import join_preference, read_per_query

pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")

SMALL = {"lightgbm": {"min_data_in_leaf": 5, "leaves": 7}, "xgboost": {"depth": 3}, "catboost": {"depth": 3}}
MIXED = {"lightgbm": {"rounds": 3, **SMALL["lightgbm"]}}


@pytest.fixture(scope="module")
def task():
    """With holes in the first features; values of the fourth are few, and stand on thresholds."""
    made = load("synthetic:queries=16,features=50,objectives=2")

    def holed(split):
        x = np.array(split.features)[:, :6]
        draw = np.random.default_rng(len(x))
        x[:, 3] = np.round(2 * x[:, 3]) / 8
        x[:, :2][draw.random((len(x), 2)) < 0.3] = np.nan
        return split.having(features=x, feature_names=tuple(f"f{k + 1}" for k in range(6)))

    return type(made)(made.name, made.fold, *(holed(made.split(n)) for n in ("train", "vali", "test")), made.facts)


@pytest.fixture(scope="module")
def trees(task):
    return {name: make_ranker(name, rounds=8, **params).fit(task.train, task.vali) for name, params in SMALL.items()}


def walk(node, x, down):
    """The leaf a document ends in; `down(node)` is the next node, or None."""
    while (to := down(node, x)) is not None:
        node = to
    return node


def lightgbm_json(dump, features):
    def down(node, x):
        if "leaf_value" in node:
            return None
        value = float(x[node["split_feature"]])
        missing = node["missing_type"] == "NaN" and np.isnan(value)
        value = 0.0 if np.isnan(value) else value
        left = node["default_left"] if missing else value <= node["threshold"]
        return node["left_child"] if left else node["right_child"]

    roots = [tree["tree_structure"] for tree in dump["tree_info"]]
    return [sum(walk(root, x, down)["leaf_value"] for root in roots) for x in features]


def solr(model, features, names):
    """As Solr's Java does: float32, a slack on the threshold as it is read, left where x <= threshold."""
    place = {name: k for k, name in enumerate(names)}
    if model["class"].endswith("LinearModel"):
        w = model["params"]["weights"]
        assert [f["name"] for f in model["features"]] == list(w)
        return features.astype(np.float64) @ np.array([w[name] for name in names])

    def down(node, x):
        if "value" in node:
            return None
        threshold = np.float32(node["threshold"]) + np.float32(1e-6)
        return node["left"] if x[place[node["feature"]]] <= threshold else node["right"]

    assert model["class"].endswith("MultipleAdditiveTreesModel")
    declared = {f["name"] for f in model["features"]}
    assert declared <= set(names)
    each = model["params"]["trees"]
    return [sum(float(t["weight"]) * float(walk(t["root"], x, down)["value"]) for t in each) for x in features]


def opensearch(model, features, names):
    """As the plugin's Java does."""
    kind, definition = model["model"]["model"]["type"], json.loads(model["model"]["model"]["definition"])
    if kind == "model/linear":
        return features.astype(np.float64) @ np.array([definition[name] for name in names])

    def down(node, x):
        if "leaf" in node:
            return None
        yes, no = node["children"]
        assert (node["yes"], node["no"]) == (yes["nodeid"], no["nodeid"])
        value, threshold = x[names.index(node["split"])], np.float32(node["split_condition"])
        left = node["missing"] == node["yes"] if np.isnan(value) else threshold > value
        return yes if left else no

    assert kind == "model/xgboost+json"
    return [sum(walk(root, x, down)["leaf"] for root in definition["splits"]) for x in features]


def on_the_edge(forest, features, below=np.nextafter):
    """Documents whose values stand on thresholds, just below and just above."""
    x = np.repeat(features[:40], 3, axis=0).copy()
    inner = np.flatnonzero(forest.left != np.arange(len(forest.left)))
    draw = np.random.default_rng(0)
    for row in x:
        for at in draw.choice(inner, 4):
            t = forest.threshold[at]
            row[forest.feature[at]] = draw.choice([t, below(t, np.float32(-9e9)), np.nextafter(t, np.float32(9e9))])
    return x


@pytest.mark.parametrize("library", SMALL)
def test_trees_are_the_same_without_their_library(trees, task, library):
    ranker = trees[library]
    module, forest = fixed(ranker), ranker.forest()
    assert forest.depth <= 7 and len(forest.roots) == 8 or library != "catboost"
    features, where = padded(task.test)
    with torch.no_grad():
        agree(module(features, where), ranker.score(task.test), where)
    edge = on_the_edge(forest, task.test.features)
    split = ltr.Split.from_arrays(edge)
    with torch.no_grad():
        found = module(torch.from_numpy(edge)[None], torch.ones(1, len(edge), dtype=torch.bool))[0]
    np.testing.assert_allclose(found, ranker.score(split), atol=2e-6)


def test_above_is_strict_for_float32():
    draw = np.random.default_rng(0)
    for t in [0.0, 0.1, 1e-35, -0.3, 1e300, *draw.normal(size=200) * 10.0 ** draw.integers(-6, 6, 200)]:
        near = np.float32(min(t, 3e38))
        for x in (near, np.nextafter(near, np.float32(9e9)), np.nextafter(near, np.float32(-9e9))):
            assert (x < above(t)) == (float(x) <= t)


def test_told_features_are_decided():
    nodes = [(2, np.float32(0.5), False, 1, 2), (0, np.float32(0.0), True, 3, 4), (3.0,), (1.0,), (2.0,)]
    forest = Forest.of_nodes([nodes, [(10.0,)]], 0.5, 3)
    low, high = forest.given([0.2]), forest.given([0.7])
    assert low.n_features == 2 and low.roots.tolist() == [1, 5] and high.roots.tolist() == [2, 5]
    assert (low.depth, high.depth, forest.depth) == (1, 0, 2)
    both = Forest.sum([(2.0, low), (-1.0, high)])
    assert both.bias == 0.5 and both.value[both.roots[1]] == 20.0 and both.value[both.roots[2]] == -3.0


def read(path, form, features, names):
    if form == "xgboost-ubj":
        import xgboost

        return xgboost.Booster(model_file=str(path)).predict(xgboost.DMatrix(features), output_margin=True)
    model = json.loads(path.read_text())
    if form == "lightgbm-json":
        assert model["feature_names"] == names
        return lightgbm_json(model, features)
    return {"solr": solr, "opensearch": opensearch}[form](model, features, names)


def check(model, task, form, path, w=None):
    names = list(task.test.feature_names)
    found = export(model, path, form, w, names)
    assert found.path == path and [p.name for p in path.parent.iterdir()] == [path.name]
    split = task.test
    if form == "solr":
        assert any("missing values" in note or "every feature" in note for note in found.notes)
        split = split.having(features=np.nan_to_num(split.features))
    ours = model.score(split) if w is None else model.score(split, w)[0]
    theirs = np.asarray(read(path, form, split.features, names))
    if any("constant" in note for note in found.notes):
        theirs, ours = theirs - theirs.mean(), ours - ours.mean()
    assert np.ptp(ours) > 1e-3
    np.testing.assert_allclose(theirs, ours, atol=3e-5 * max(1.0, np.abs(ours).max()))


CASES = [("lightgbm", "lightgbm-json"), ("xgboost", "xgboost-ubj")]
CASES += [(library, form) for library in SMALL for form in ("solr", "opensearch")]


@pytest.mark.parametrize("library, form", CASES)
def test_a_format_scores_as_the_trees(trees, task, library, form, tmp_path):
    check(trees[library], task, form, tmp_path / "model")


def test_solr_splits_where_we_do(trees, task, tmp_path):
    """At every threshold itself, where a booster's value and Solr's slack might part."""
    for ranker in (trees["xgboost"], trees["lightgbm"]):
        below = lambda t, _: t - np.float32(1e-6) * abs(t) - np.float32(1e-12)  # noqa: E731 (float32 says no more there)
        x = np.nan_to_num(on_the_edge(ranker.forest(), task.test.features, below))
        export(ranker, tmp_path / "model", "solr")
        theirs = solr(json.loads((tmp_path / "model").read_text()), x, [f"f{k + 1}" for k in range(6)])
        np.testing.assert_allclose(theirs, ranker.score(ltr.Split.from_arrays(x)), atol=1e-5)


@pytest.fixture(scope="module")
def methods(task):
    plug_in = {"ranker": "lightgbm", "ranker_params": {"rounds": 3, **SMALL["lightgbm"]}}
    net = {
        "ranker": "linear",
        "training": {"epochs": 1, "batch_size": 8, "transform": "standardise", "missing": "mean"},
    }
    made = {
        "label-mixing": make_method("label-mixing", **MIXED),
        "conditioned-trees": make_method("conditioned-trees", copies=2, **MIXED),
        "plug-in": make_method("plug-in", **plug_in),
        "isotonic": make_method("plug-in", form="isotonic", **plug_in),
        "soup": make_method("soup", **net),
    }
    fixed_ones = {"label-mixing": {"preferences": W}}
    return {name: each.fit(task, accelerator="cpu", **fixed_ones.get(name, {})) for name, each in made.items()}


def test_methods_come_as_sums_of_trees_and_as_linear_models(methods, task, tmp_path):
    holds = {
        "label-mixing": ("lightgbm-json", "solr", "opensearch"),
        "conditioned-trees": ("solr", "opensearch"),
        "plug-in": ("solr", "opensearch"),
        "soup": ("solr", "opensearch"),
    }
    features, where = padded(task.test)
    for name, method in methods.items():
        for form in holds.get(name, ()):
            (tmp_path / name / form).mkdir(parents=True)
            if name != "soup":
                check(method, task, form, tmp_path / name / form / "model", W[1])
            else:  # missing values are the mean of train here, and nothing there
                whole = task.test.having(features=np.nan_to_num(task.test.features))
                check(
                    method, type(task)("t", "f", task.train, task.vali, whole), form, tmp_path / name / form / "m", W[1]
                )
        with torch.no_grad():
            agree(fixed(method, W[1])(features, where), method.score(task.test, W[1])[0], where)
        for form in set(FORMS) - {"onnx", "pt2", *holds.get(name, ())}:
            with pytest.raises(InputError, match="Formats that can: onnx, pt2"):
                export(method, tmp_path / "refused", form, W[1])
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("form", ["pt2", "onnx"])
def test_trees_and_their_maps_run_as_programs(methods, trees, task, form, tmp_path):
    if form == "onnx":
        pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    features, where = padded(task.test)
    cases = [("isotonic", methods["isotonic"], W[1]), ("lightgbm", trees["lightgbm"], None)]
    for name, model, w in cases[: 2 if form == "pt2" else 1]:  # ONNX is made of the other form
        path = export(model, tmp_path / f"{name}.{form}", form, w).path
        run, facts = opened(path)
        ours = model.score(task.test) if w is None else model.score(task.test, w)[0]
        agree(run(features, where), ours, where)
        assert facts["feature_names"] == [f"f{k + 1}" for k in range(6)]


def test_trees_may_be_the_reference_of_nets(task, trees):
    training = {"epochs": 1, "batch_size": 8}
    method = make_method("hyperdpo", ranker_params={"hidden": [4]}, training=training)
    method.fit(task, trees["lightgbm"], accelerator="cpu")
    features, where = padded(task.test)
    with torch.no_grad():
        agree(fixed(method, W[1])(features, where), method.score(task.test, W[1])[0], where)


def test_what_a_format_cannot_hold_is_refused(trees, task, tmp_path):
    with pytest.raises(InputError, match="cannot hold 'xgboost'.*onnx, pt2, solr, opensearch"):
        export(trees["xgboost"], tmp_path / "x", "lightgbm-json")
    net = make_ranker("linear", loss=ltr.loss("listnet"), epochs=1, transform="log1p-standardise").fit(task.train)
    with pytest.raises(InputError, match="neither a sum of trees nor linear"):
        export(net, tmp_path / "x", "solr")
    with pytest.raises(InputError, match="Did you mean 'opensearch'"):
        export(net, tmp_path / "x", "open-search")
    with pytest.raises(InputError, match="features of one name"):
        export(trees["xgboost"], tmp_path / "x", "solr", names=["a"] * 6)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- the command and the card

DATA = "synthetic:queries=16,features=50,objectives=2"
CONFIGS = {
    "trees": {"ranker.name": "lightgbm", "ranker.params": {"rounds": 3, **SMALL["lightgbm"]}},
    "front": {
        "data.objectives": ["relevance", "quality"],
        "method.name": "ls",
        "method.params": {"ranker": "linear", "training": {"epochs": 1, "batch_size": 8, "transform": "standardise"}},
        "preferences": 2,
    },
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    for name, config in CONFIGS.items():
        assert execute(read_config(None, {"data.name": DATA, **config}), root / name).done
    return root


def test_the_command_leaves_a_model_and_its_card(runs, capsys):
    split = load(DATA).test
    assert main(["export", str(runs / "trees"), "--as", "opensearch", "--tag", "titles"]) == 0
    model = runs / "trees" / "export" / "opensearch.json"
    assert "missing values" in capsys.readouterr().err and json.loads(model.read_text())["model"]["name"] == "titles"
    theirs = opensearch(json.loads(model.read_text()), split.features, list(split.feature_names))
    ours = ltr.load_ranker(runs / "trees" / "ranker").score(split)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    card = (model.parent / "opensearch.json.md").read_text()
    record = read_record(runs / "trees")
    for said in (
        f"# lightgbm, trained on {record.data['name']}",
        f"ltr export {runs / 'trees'} --as opensearch",
        f"`{record.command}`",
        f"| relevance | nDCG(gain=exp2,empty=skip)@10 | {record.mean('nDCG@10'):.4f} |",
        f"train {record.data['splits']['train']['queries']} queries",
        "No card says what the owner of these data allows",
        "50 features a document, float32, in this order",
        split.feature_names[-1],
        "the model transforms nothing",
        "do not know the direction of missing values",
    ):
        assert said in card, said
    assert verify(runs / "trees") == [], "what was exported does not belong to the run"


def test_a_card_says_preference_interval_and_licence(runs, capsys):
    out = runs / "m.pt2"
    words = ["export", str(runs / "front"), "--as", "pt2", "--preference", "0.5", "0.5", "--out", str(out)]
    assert main(words) == 0
    capsys.readouterr()
    card = (runs / "m.pt2.md").read_text()
    assert "relevance 0.5, quality 0.5" in card and "the transform (standardise) is inside" in card
    table = join_preference(read_per_query(runs / "front" / "per_query" / "test.parquet"), [0.5, 0.5]).to_pandas()
    for objective, own in table.groupby("objective"):
        values = own["nDCG(gain=exp2,empty=skip)@10"].dropna()
        low, high = bootstrap_interval(values)
        assert f"| {objective} | nDCG(gain=exp2,empty=skip)@10 | {values.mean():.4f} | {low:.4f} to {high:.4f}" in card
    record = read_record(runs / "front")
    licensed = replace(record, data={**record.data, "name": "mq2008"})
    told = {"file": out, "form": "x", "command": "y", "names": ["a"], "preference": (0.4, 0.6)}
    card = model_card(licensed, **told)
    assert load_card("mq2008").licence.terms in card and "not measured at this preference; at the nearest" in card
    for line, says in (
        (["--as", "solr"], "a method needs the preference to fix"),
        (["--as", "solr", "--preference", "0.4", "0.6"], "the nearest: [0.5, 0.5]"),
        (["--as", "lightgbm-json", "--preference", "0.5", "0.5"], "Formats that can: onnx, pt2"),
        (["--as", "solar"], "solr"),
    ):
        assert main(["export", str(runs / "front"), *line]) == 2 and says in capsys.readouterr().err
    assert not (runs / "front" / "export").exists()


def test_the_command_line_knows_every_form():
    words = typing.get_args(typing.get_type_hints(Export)["form"])
    assert [w for w in words if w not in ("run", "qrels", "csv", "parquet")] == list(FORMS)
