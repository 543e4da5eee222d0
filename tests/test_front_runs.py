"""Methods for several objectives through runs, suites and the command line: the machinery of rankers, a front each."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ltr import metrics
from ltr.bench import load_results, load_suite, run_suite
from ltr.bench.analysis.results import collect_fronts, load_front_results
from ltr.bench.suite import Suite, System, Tuning, check
from ltr.bench.suite.narrow import narrowed
from ltr.bench.suite.plan import main_jobs, tuning_jobs
from ltr.cli import main
from ltr.errors import InputError
from ltr.fronts import hypervolume, knee, nondominated
from ltr.methods import METHODS, load_method, make_method, measured
from ltr.objectives import lattice
from ltr.rankers import load_ranker
from ltr.runs import config_hash, execute, load_task, read_config, read_record, read_scores, summarise, verify
from ltr.runs.choice import at_most_loss, choose, choose_on_run, objective_named
from ltr.runs.config import DataConfig, MethodChoice, RankerChoice, RunConfig, differences
from ltr.runs.front import front_of_run
from ltr.runs.front_pipeline import chain_on
from ltr.runs.labels import labelling_of_run
from ltr.runs.per_query import join, join_preference, per_query, read_per_query
from ltr.runs.resolving import command, resolve
from ltr.runs.scores import scores_table, write_scores
from ltr.runs.stated_pairs import explain_choices
from ltr.runs.systems import reference_folder
from ltr.schema import read_toml, to_dict
from ltr.types import Split

pytestmark = pytest.mark.usefixtures("no_pictures")

DATA = "synthetic:queries=30,features=50,objectives=3"
NAMES = ("relevance", "quality")
NDCG = "nDCG(gain=exp2,empty=skip)@10"
TINY = {"ranker_params": {"hidden": [4]}, "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.03}}
METHOD = {"data.name": DATA, "data.objectives": list(NAMES), "method.params": TINY, "preferences": 2}
W = lattice(2, 2)


def config_of(name, **changes):
    return read_config(None, {**METHOD, "method.name": name, **changes})


def test_runs_from_before_a_parameter_was_renamed_are_the_same_runs():
    now = to_dict(resolve(config_of("ls", **{"method.params": {"fleet": False}})))
    params = now["method"]["params"]
    assert params["stacked"] is False and "fleet" not in params
    kept = {**now, "method": {**now["method"], "params": {**params, "fleet": params["stacked"]}}}
    del kept["method"]["params"]["stacked"]
    assert config_hash(kept) == config_hash(now) and differences(kept, now) == []
    kept["method"]["params"]["fleet"] = True
    assert config_hash(kept) != config_hash(now) and differences(now, kept) == ["method.params.fleet: False, not True"]


@pytest.fixture(scope="module")
def config():
    """A model a preference, one after another: what is resumed in the middle."""
    return config_of("dpo-ls", **{"method.params": {**TINY, "stacked": False}})


@pytest.fixture(scope="module")
def task(config):
    return load_task(config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, task, config):
    """A finished run; tests copy it before they harm it."""
    folder = tmp_path_factory.mktemp("fronts") / "dpo-ls"
    record = execute(config, folder, task=task)
    assert record.done, record
    return folder


# ---------------------------------------------------------------------------------------------------------- config


def test_a_method_is_resolved_and_resolving_again_changes_nothing(config):
    params = config.method.params
    assert params["ranker_params"]["activation"] == "relu" and params["training"]["patience"] == 10
    assert params["beta"] == 1.0 and "measures" not in params
    assert config.measures == (NDCG, NDCG) and config.select == "hypervolume" and config.ranker is None
    assert resolve(config) == config
    assert config_of("hyperdpo", preferences=None).preferences == 10


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_of_the_catalogue_resolves(name):
    resolved = read_config(None, {"data.name": DATA, "data.objectives": list(NAMES), "method.name": name})
    assert resolve(resolved) == resolved and resolved.method.name == name


def test_training_beside_a_method_is_a_parameter_of_it(config, tmp_path):
    path = tmp_path / "run.toml"
    text = (
        f'preferences = 2\n[data]\nname = "{DATA}"\nobjectives = ["relevance", "quality"]\n[training]\nbatch_size = 8\n'
    )
    text += 'learning_rate = 0.03\n[method]\nname = "dpo-ls"\n[method.params]\nstacked = false\n'
    path.write_text(text + "ranker_params = { hidden = [4] }\n")
    assert read_config(path, {"training.epochs": 2}) == config
    path.write_text(text + "ranker_params = { hidden = [4] }\ntraining = { epochs = 7, batch_size = 3 }\n")
    found = read_config(path, {"training.epochs": 2})
    assert found.method.params["training"]["epochs"] == 2, "what is said last wins"
    assert found.method.params["training"]["batch_size"] == 3, "in a file what stands among the parameters wins"
    assert read_config(path).method.params["training"]["epochs"] == 7


@pytest.mark.parametrize(
    "keys, says",
    [
        ({"method.name": "hyperdop"}, "Did you mean 'hyperdpo'"),
        ({"method.params.alfa": 2}, "Did you mean 'alpha'"),
        ({"method.params.alpha": -1.0}, "alpha is out of range"),
        ({"method.params.loss": "lisnet"}, "Did you mean 'listnet'"),
        ({"method.params.ranker": "mpl"}, "Did you mean 'mlp'"),
        ({"method.params.ranker_params": {"hiden": [4]}}, "Did you mean 'hidden'"),
        ({"method.params.training": {"epoch": 4}}, "Did you mean 'epochs'"),
        ({"training.epoch": 4}, "Did you mean 'epochs'"),
        ({"training.epochs": "many"}, "method.params.training.epochs has the wrong type"),
        ({"method.params.measures": [NDCG, NDCG]}, "those of the run"),
        ({"data.objectives": ["relevance"]}, "at least two"),
        ({"data.objectives": ["relevance", "relevance"]}, "none twice"),
        ({"data.objectives": ["relevance", "qualty"]}, "Did you mean 'quality'"),
        ({"data.objective": "relevance"}, "trains all of its objectives"),
        ({"measures": ["nDCG@5"]}, "one measure an objective"),
        ({"measures": ["nDGC@5", "AP"]}, "Did you mean 'nDCG'"),
        ({"select": "AP"}, "selected by its front"),
        ({"preferences": 0}, "H of 1 or more"),
        ({"ranker.name": "mlp"}, "a ranker or a method"),
        ({"loss.name": "listnet"}, "method.params.loss"),
    ],
)
def test_a_mistake_is_named_before_anything_runs(keys, says):
    with pytest.raises(InputError, match=says):
        config_of("hyperdpo", **keys)


def test_a_run_has_a_ranker_or_a_method():
    with pytest.raises(InputError, match="a ranker or a method"):
        resolve(RunConfig(DataConfig(DATA)))
    with pytest.raises(InputError, match="belong to a method"):
        resolve(RunConfig(DataConfig(DATA), RankerChoice("random"), preferences=3))
    with pytest.raises(InputError, match="no lattice for so many"):
        resolve(RunConfig(DataConfig("clicks.csv", objectives=tuple("abcdefg")), method=MethodChoice("ls")))


def test_configs_of_rankers_keep_the_hash_they_had():
    """Results are found by it, those committed long ago too."""
    old = resolve(RunConfig(DataConfig("mq2008", "Fold1"), RankerChoice("random"), measures=("nDCG@10",)))
    assert config_hash(old) == "c8551fa5e3df6001"


def test_the_command_of_a_run_makes_the_same_config(config, capsys):
    import shlex
    import tomllib

    for each in (config, config_of("phn", measures=["AP", "nDCG@5"], seed=3, **{"method.params.alpha": 0.5})):
        assert main([*shlex.split(command(each))[1:], "--dry-run"]) == 0
        assert not differences(tomllib.loads(capsys.readouterr().out), each)


# --------------------------------------------------------------------------------------------------------- one run


def test_a_finished_run_leaves_its_files_and_says_what_it_cost(finished):
    assert verify(finished) == [] and not (finished / "checkpoints").exists()
    assert {p.name for p in (finished / "method").iterdir() if p.is_file()} == {
        "method.json",
        "labelling.json",
        "training.json",
    }
    record = read_record(finished)
    assert record.cost["models_trained"] == len(W) + 1
    assert record.cost["seconds_a_point"] == pytest.approx(record.cost["fit_seconds"] / len(W))
    assert record.cost["parameters"] == len(W) * ((50 + 1) * 4 + 4 + 1)
    assert record.config == read_toml(finished / "config.toml")


def test_every_number_follows_from_the_saved_method_and_the_labels(finished, task):
    """Scored and measured again, by method and metrics alone."""
    record, method = read_record(finished), load_method(finished / "method")
    for name in ("vali", "test"):
        split = task.split(name)
        scores = method.score(split, W)
        rankings = join(split, read_scores(finished / "scores" / f"{name}.parquet"))
        table = read_per_query(finished / "per_query" / f"{name}.parquet")
        assert len(table) == len(W) * len(NAMES) * split.n_queries
        for i, (w, kept) in enumerate(rankings):
            np.testing.assert_allclose(w, W[i], atol=1e-7)
            np.testing.assert_array_equal(kept, scores[i])
            for k, objective in enumerate(NAMES):
                values = metrics.evaluate(NDCG, scores[i], split.label(objective), split.offsets)[NDCG]
                mine = join_preference(table, W[i]).to_pandas()
                np.testing.assert_array_equal(mine[mine.objective == objective][NDCG], values)
                assert record.points(name)[i, k] == np.nanmean(values)


def test_selection_is_the_hypervolume_of_the_validation_points(finished):
    record = read_record(finished)
    assert record.selection["measure"] == "hypervolume(reference=0)" and record.selection["split"] == "vali"
    assert record.selection["value"] == hypervolume(record.points("vali"), np.zeros(2))


def test_measures_of_objectives_may_differ(task, tmp_path):
    config = config_of("free", measures=["AP", "nDCG@5"], preferences=1)
    record = execute(config, tmp_path / "run", task=task)
    assert record.done, record
    assert [(r["objective"], r["measure"]) for r in record.measures[:2]] == list(
        zip(NAMES, config.measures, strict=True)
    )
    table = read_per_query(tmp_path / "run" / "per_query" / "test.parquet").to_pandas()
    empty = table.groupby("objective")[list(config.measures)].count()
    assert empty.loc["relevance", config.measures[1]] == empty.loc["quality", config.measures[0]] == 0
    points = record.points()
    assert np.isfinite(points).all() and (points[0] == points[1]).all(), "no preference steers it"


@pytest.mark.parametrize("name", ["hyperdpo", "label-mixing"])
def test_other_kinds_of_methods_run_the_same_way(name, task, tmp_path):
    params = TINY
    if name == "label-mixing":
        pytest.importorskip("lightgbm", reason="extra 'trees' is not installed")
        params = {"lightgbm": {"rounds": 5, "min_data_in_leaf": 5, "leaves": 4}}
    record = execute(config_of(name, **{"method.params": params}), tmp_path / "run", task=task)
    assert record.done and record.points().shape == (3, 2) and verify(tmp_path / "run") == []


def test_a_finished_run_is_a_no_op(finished, config, monkeypatch):
    monkeypatch.setattr("ltr.runs.systems.MethodSystem.load_task", _never)
    monkeypatch.setattr("ltr.methods.base.Method.fit", _never)
    assert execute(config, finished) == read_record(finished)


def _never(*_, **__):
    raise AssertionError("a finished run trains and loads nothing")


def test_interrupted_between_its_models_a_fit_goes_on(finished, task, config, tmp_path):
    """Stopped in the second of three models: what was trained is not trained again, and the scores are the same."""
    folder, heard = tmp_path / "run", []

    def stop(stage, done, total, note):
        heard.append((stage, done, note.split(",")[0]))
        if stage == "fit" and note.startswith("training 3") and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(config, folder, task=task, progress=stop)
    assert read_record(folder).status == "interrupted"
    fits = [(done, note) for stage, done, note in heard if stage == "fit"]
    assert fits == [(1, "training 2"), (2, "training 2"), (1, "training 3")], "the base was the first"
    before = json.loads((folder / "checkpoints" / "seconds.json").read_text())
    heard.clear()
    record = execute(config, folder, task=task, progress=lambda s, d, t, n: heard.append((s, d, n.split(",")[0])))
    fits = [(done, note) for stage, done, note in heard if stage == "fit"]
    assert fits == [(2, "training 3"), (1, "training 4"), (2, "training 4")]
    assert record.done and record.cost["attempts"] == 2 and record.cost["fit_seconds"] > before["seconds"]
    assert record.cost["cpu_seconds"] > before["cpu_seconds"] > 0
    assert record.measures == read_record(finished).measures
    for split in ("vali", "test"):
        path = f"scores/{split}.parquet"
        assert read_scores(folder / path) == read_scores(finished / path)


# ---------------------------------------------------------------------------------------------- a reference scorer


@pytest.fixture(scope="module")
def trees(tmp_path_factory, task):
    """A finished run of trees on the same inputs."""
    pytest.importorskip("lightgbm")
    folder = tmp_path_factory.mktemp("reference") / "trees"
    given = {"data.name": DATA, "data.objectives": list(NAMES), "ranker.name": "lightgbm"}
    record = execute(read_config(None, {**given, "ranker.params": {"rounds": 3}}), folder)
    assert record.done, record
    return folder


def test_any_finished_run_is_a_reference_scorer(trees, task, tmp_path):
    config = config_of("hyperdpo", **{"method.base": str(trees)})
    record = execute(config, tmp_path / "run", task=task)
    assert record.done and record.cost["models_trained"] == 1, "the reference was there already"
    assert len(record.hashes["base"]) == 64
    method = load_method(tmp_path / "run" / "method")
    s_ref = load_ranker(trees / "ranker").score(task.test)
    assert method.base.score(task.test) == pytest.approx(s_ref)
    assert method.score(task.test, W, control=0.0) == pytest.approx(np.tile(s_ref, (len(W), 1)))
    # A saved ranker serves as its run does.
    assert reference_folder(trees / "ranker") == reference_folder(trees) == trees / "ranker"


def test_a_reference_scorer_of_other_inputs_is_refused(trees, tmp_path):
    config = config_of("hyperdpo", **{"method.base": str(trees), "data.name": DATA.replace("50", "60")})
    record = execute(config, tmp_path / "run")
    assert record.status == "failed" and "trained on other inputs" in record.reason


def test_a_wrong_path_is_said_before_anything_is_written(tmp_path):
    config = config_of("hyperdpo", **{"method.base": str(tmp_path / "nothing")})
    with pytest.raises(InputError, match="no reference scorer here"):
        execute(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="starts from no reference scorer"):
        config_of("yoto", **{"method.base": str(tmp_path)})


def test_a_config_without_a_reference_scorer_does_not_speak_of_it(config):
    assert "base" not in to_dict(config)["method"]


def test_a_failure_is_a_record(task, tmp_path):
    wrong = config_of("hyperdpo", **{"method.params": {**TINY, "loss_params": {"targt": "lin"}}})
    record = execute(wrong, tmp_path / "run", task=task)
    assert record.status == "failed" and "Did you mean 'target'" in record.reason and record.error["user"]
    assert not (tmp_path / "run" / "DONE").exists()


def test_an_objective_that_counts_nowhere_leaves_no_selection(task, tmp_path):
    labels = task.vali.labels.copy()
    labels[:, 1] = 0
    poor = replace(task, vali=replace(task.vali, labels=labels))
    record = execute(config_of("hyperdpo"), tmp_path / "run", task=poor)
    assert record.done and record.selection["value"] is None
    assert np.isnan(record.points("vali")[:, 1]).all() and np.isfinite(record.points("test")).all()


# ---------------------------------------------------------------------------------------------- scores of preferences


@pytest.fixture
def lists():
    """Two lists of the hand-worked documents; the second is blank for the second objective."""
    labels = np.array([[1, 0], [3, 1], [0, 2], [2, 0], [0, 0], [1, 0]], np.float32)
    return Split(
        np.zeros((6, 1), np.float32),
        labels,
        np.array([0, 4, 6]),
        np.array(["q1", "q2"]),
        objectives=NAMES,
        doc_ids=np.array([*"abcd", *"ab"]),
        name="test",
    )


def test_scores_of_many_preferences_come_back_in_any_order(lists, tmp_path):
    draw = np.random.default_rng(0)
    points = lattice(2, 10)
    scores = draw.normal(size=(len(points), 6)).astype(np.float32)
    write_scores(tmp_path / "s.parquet", lists, scores, points)
    table = read_scores(tmp_path / "s.parquet")
    assert len(table) == 66 and table.slice(0, 6)["preference"].to_pylist() == [[1.0, 0.0]] * 6
    for given in (table, table.take(draw.permutation(66))):
        found = join(lists, given)
        order = [int(np.abs(points - np.array(w)).max(1).argmin()) for w, _ in found]
        assert sorted(order) == list(range(11))
        for i, (_, aligned) in zip(order, found, strict=True):
            np.testing.assert_array_equal(aligned, scores[i])
    assert [w for w, _ in join(lists, table)][0] == (1.0, 0.0)


def test_a_document_lacking_for_one_preference_is_an_error(lists):
    table = scores_table(lists, np.zeros((3, 6)), W)
    with pytest.raises(InputError, match="1 documents without a score"):
        join(lists, table.take([i for i in range(18) if i != 7]))
    with pytest.raises(InputError, match="one ranking a preference"):
        scores_table(lists, np.zeros((2, 6)), W)
    with pytest.raises(InputError, match="several lengths"):
        join(lists, pa.concat_tables([table, scores_table(lists, np.zeros(6), [0.2, 0.3, 0.5])]))
    with pytest.raises(InputError, match="in query q2"):
        scores_table(lists, np.array([[0] * 6, [0] * 5 + [np.nan]]), W[:2])


def test_rankers_without_preference_may_stand_beside(lists):
    both = pa.concat_tables([scores_table(lists, np.arange(6)), scores_table(lists, -np.arange(6.0), W[0])])
    found = join(lists, both)
    assert [w for w, _ in found] == [None, (1.0, 0.0)]
    np.testing.assert_array_equal(found[0][1], np.arange(6))


def test_measures_of_all_preferences_by_hand(lists):
    scores = np.array([[1.2, 0.4, 1.9, -0.3, 0, 1], [-1.2, -0.4, -1.9, 0.3, 0, 1]], np.float32)
    table = scores_table(lists, scores, W[[0, 2]])
    own = {"relevance": ("nDCG",), "quality": ("nDCG(gain=linear)@1",)}
    rows = summarise(per_query(lists, table, own, NAMES), own)
    assert [(r["objective"], r["preference"]) for r in rows] == [
        ("relevance", [1.0, 0.0]),
        ("quality", [1.0, 0.0]),
        ("relevance", [0.0, 1.0]),
        ("quality", [0.0, 1.0]),
    ]
    assert rows[0]["mean"] == pytest.approx((0.57735 + 1) / 2, abs=1e-5)
    # The list q2 is blank for quality; in q1 document c is its best, first for w = (1, 0) and last for (0, 1).
    assert (rows[1]["mean"], rows[1]["queries"], rows[1]["blank"]) == (1.0, 1, 1)
    assert rows[3]["mean"] == 0.0


# ------------------------------------------------------------------------------------------------- fronts and choices


def test_the_front_of_a_run_is_chosen_on_validation(finished):
    record = read_record(finished)
    front = front_of_run(record)
    np.testing.assert_array_equal(front.member, nondominated(record.points("vali")))
    assert front.hypervolume("test") == hypervolume(record.points("test")[front.member], np.zeros(2))
    assert front.table().column_names == [
        "preference",
        "w_relevance",
        "w_quality",
        "vali_relevance",
        "vali_quality",
        "test_relevance",
        "test_quality",
        "front",
    ]


def test_a_front_scored_anew_is_the_same(finished, task):
    measures = (NDCG, NDCG)
    labelling = labelling_of_run(finished)
    assert labelling.names == NAMES
    found = chain_on(finished / "method", {"vali": task.vali, "test": task.test}, measures).front
    for split in ("vali", "test"):
        np.testing.assert_array_equal(found.points[split], read_record(finished).points(split))


def test_choices_are_feasible_and_best_or_nearest():
    draw = np.random.default_rng(3)
    names = ["a", "b", "c"]
    for _ in range(50):
        points, bounds = draw.random((20, 3)), {"a": draw.random(), "b": draw.random()}
        found = choose(points, names, bounds, "c")
        good = (points[:, 0] >= bounds["a"]) & (points[:, 1] >= bounds["b"])
        assert found.met == good.any()
        lacking = np.maximum([bounds["a"], bounds["b"]] - points[:, :2], 0).max(1)
        if found.met:
            assert good[found.index] and points[found.index, 2] == points[good, 2].max() and found.short == {}
        else:
            assert lacking[found.index] == lacking.min() and max(found.short.values()) == pytest.approx(lacking.min())


def test_a_choice_without_bounds_is_the_largest():
    points = np.array([[0.1, 0.9], [0.5, 0.5], [0.5, 0.7]])
    assert choose(points, NAMES, {}, "relevance").index == 2, "the others tell equal points apart"
    with pytest.raises(InputError, match="Did you mean 'quality'"):
        choose(points, NAMES, {}, "qualty")


def test_a_small_loss_of_one_buys_the_most_of_the_others():
    draw = np.random.default_rng(5)
    for m in (2, 3):
        points, k = draw.random((30, m)), int(draw.integers(m))
        scaled = (points - points.min(0)) / np.ptp(points, axis=0)
        gains = np.delete(scaled, k, 1).mean(1)
        allowed = [i for i in range(30) if points[i, k] >= 0.7 * points[:, k].max()]
        assert at_most_loss(points, k, 0.3) == max(allowed, key=lambda i: gains[i])
        assert at_most_loss(points, k, 0.0) == points[:, k].argmax()


def test_objectives_go_by_their_column():
    known = ("stars:linear", "clicks:grade5:linear", "clicks:minmax", "quality")
    assert objective_named("clicks:minmax", known) == "clicks:minmax" and objective_named("QUAL", known) == "quality"
    assert objective_named("stars", known) == objective_named("St", known) == "stars:linear"
    with pytest.raises(InputError, match="may be several"):
        objective_named("clicks", known)
    with pytest.raises(InputError, match="Did you mean 'quality'"):
        objective_named("qality", known)


def test_the_exposure_of_a_group_is_an_axis_of_a_front(task):
    """Documents of quality 3 and more are the group: its share of the attention rises with its weight."""
    measures = ("nDCG@10", "Exposure(rel=3)@10")
    training = {"epochs": 5, "batch_size": 8, "learning_rate": 0.05}
    method = make_method("soup", ranker="linear", training=training, measures=measures).fit(task, accelerator="cpu")
    points = measured(task.test, method.score(task.test, W), measures)
    assert points[0, 0] > points[-1, 0] and points[0, 1] < points[1, 1] < points[-1, 1]


def likelihood(d, w, beta):
    """Slowly, a choice at a time."""
    return sum(-np.log1p(np.exp(-beta * sum(wk * dk for wk, dk in zip(w, row)))) for row in d)


def test_weights_explain_choices_by_likelihood():
    from scipy.optimize import minimize_scalar

    d = np.random.default_rng(1).normal(size=(12, 2)) * 0.1
    found = explain_choices(d)
    best = {}
    for w in lattice(2, 200):
        least = minimize_scalar(lambda b, w=w: -likelihood(d, w, b), bounds=(0, 2000), method="bounded")  # noqa: B023
        best[tuple(w)] = -least.fun
    top = max(best, key=best.get)
    assert found.weights == pytest.approx(top, abs=0.006)
    assert likelihood(d, found.weights, found.beta) == pytest.approx(best[top], abs=1e-4)
    near = [w for w, value in best.items() if 2 * (best[top] - value) <= 3.8415]
    assert (found.low[0], found.high[0]) == pytest.approx((min(near)[0], max(near)[0]), abs=0.006)
    said = sum((row @ found.weights) > 0 for row in d)
    assert (found.pairs, found.agree) == (12, said)


def test_the_interval_of_weights_covers_the_ones_that_chose():
    generator, truth, inside, told = np.random.default_rng(2), np.array([0.7, 0.3]), 0, 0
    for _ in range(40):
        d = generator.normal(size=(60, 2)) * 0.1
        flip = generator.random(60) > 1 / (1 + np.exp(-30 * d @ truth))
        found = explain_choices(np.where(flip[:, None], -d, d))
        inside += found.low[0] <= truth[0] <= found.high[0]
        told += found.informative
    assert inside >= 34 and told == 40  # 95 % of 40 but for three standard deviations
    sure = explain_choices(np.array([[0.1, -0.1], [0.1, -0.3]]))
    assert np.isinf(sure.beta) and sure.low[0] < sure.weights[0] < sure.high[0] == 1, "the middle of what explains all"
    half = explain_choices(d, sure=np.full(60, 0.5))
    assert not half.informative and (half.low[0], half.high[0]) == (0, 1)
    twice = explain_choices(np.concatenate([d, d]))
    counted = explain_choices(d, counts=np.full(60, 2.0))
    assert (counted.high.tolist(), counted.beta) == (twice.high.tolist(), pytest.approx(twice.beta))
    assert explain_choices(np.tile(d, (1000, 1))).pairs == 60_000, "equal choices are one that counts more"


# ------------------------------------------------------------------------------------------------------------- suites


@pytest.fixture(scope="module")
def suite() -> Suite:
    """4 tuning runs, 3 reported ones."""
    systems = (
        System("HyperDPO", method="hyperdpo", grid={"params.alpha": [0.5, 2.0]}),
        System("LS", method="ls", grid={"training.learning_rate": [0.0001, 0.03]}, seeds=(0,)),
    )
    training = {"epochs": 2, "batch_size": 8, "learning_rate": 0.03}
    params = {"ranker_params": {"hidden": [4]}}
    return check(
        Suite(
            "Two methods",
            (DATA,),
            tuple(replace(s, params=params) for s in systems),
            name="two",
            seeds=(0, 1),
            training=training,
            tuning=Tuning(points=2),
            objectives=NAMES,
            preferences=2,
        )
    )


@pytest.fixture(scope="module")
def ran(suite, tmp_path_factory):
    out = tmp_path_factory.mktemp("suite")
    return out, run_suite(suite, out, workers=1, progress=False)


def test_a_suite_of_methods_stands_for_its_runs(suite):
    folds = {DATA: ("Fold1",)}
    assert check(suite) == suite and suite.of_methods and suite.select == "hypervolume"
    jobs = main_jobs(suite, folds)
    assert [j.folder.split("/")[2] for j in jobs] == ["hyperdpo", "hyperdpo", "ls"]
    assert len(tuning_jobs(suite, folds)) == 4
    first = resolve(jobs[0].config)
    assert (
        first.data.objectives == NAMES and first.method.params["training"]["batch_size"] == 8 and first.preferences == 2
    )
    assert [v.label for v in narrowed(suite, ["hyper"], None).variants()] == ["HyperDPO"]


def test_losses_of_a_method_are_systems_and_trees_take_no_training(suite):
    several = System("LS", method="ls", losses=("listnet", "ranknet"), loss_params={})
    trees = System("Trees", method="label-mixing")
    found = check(replace(suite, systems=(several, trees), tuning=Tuning()))
    configs = [resolve(j.config) for j in main_jobs(found, {DATA: ("Fold1",)}) if j.seed == 0]
    assert [c.method.params.get("loss") for c in configs] == ["listnet", "ranknet", None]
    assert found.variants()[2].training == {}


@pytest.mark.parametrize(
    "text, says",
    [
        ("objectives = ['relevance']", "at least two"),
        ("objectives = ['a', 'b']\nmeasures = ['AP']", "one measure an objective"),
        ("objectives = ['a', 'b']\nheadline = 'AP'", "headline of a suite of methods"),
        ("objectives = ['a', 'b']\npreferences = -1", "H of 1 or more"),
        ("objectives = ['a', 'b']\n[[systems]]\nlabel = 'Net'\nranker = 'mlp'", "either all rankers or all methods"),
        ("objectives = ['a', 'b']\n[[systems]]\nlabel = 'X'", "is a ranker or a method"),
        ("objectives = ['a', 'b']\n[[systems]]\nlabel = 'X'\nmethod = 'ls'\nranker = 'mlp'", "is a ranker or a method"),
        ("objectivs = ['a', 'b']", "Did you mean 'objectives'"),
    ],
)
def test_mistakes_in_a_suite_of_methods_are_named(tmp_path, text, says):
    path = tmp_path / "s.toml"
    path.write_text(f"title = 't'\ndatasets = ['a']\n{text}\n[[systems]]\nlabel = 'LS'\nmethod = 'ls'\n")
    with pytest.raises(InputError, match=says):
        load_suite(path)
    path.write_text(
        "title = 't'\ndatasets = ['a']\nobjectives = ['a', 'b']\n[[systems]]\nlabel = 'R'\nranker = 'random'"
    )
    with pytest.raises(InputError, match="for systems with `method`"):
        load_suite(path)


def test_a_mistyped_method_stops_the_suite_before_it_starts(suite, tmp_path):
    for system in (System("H", method="hyperdop"), System("H", method="hyperdpo", params={"alfa": 1})):
        with pytest.raises(InputError, match="Did you mean"):
            run_suite(replace(suite, systems=(system,), tuning=Tuning()), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_results_of_a_suite_of_methods(ran, suite):
    out, results = ran
    assert (results.runs.status == "done").all() and len(results.runs) == 3
    assert len(results.fronts) == 3 * 2 * len(W) * 2 and results.fronts.preference.dtype == np.int16
    record = read_record(out / main_jobs(suite, {DATA: ("Fold1",)})[2].folder)
    for split in ("vali", "test"):
        points = results.points(DATA, "LS", "Fold1", 0, split)
        np.testing.assert_array_equal(points, record.points(split))
    np.testing.assert_array_equal(results.lattice, W)
    mine = results.per_query[(results.per_query.system == "LS") & (results.per_query.preference == 1)]
    assert len(mine) == 6 and mine[list(NAMES)].dtypes.eq(np.float32).all()
    means = mine[list(NAMES)].astype(float).mean()
    np.testing.assert_allclose(means, results.points(DATA, "LS", "Fold1", 0)[1], rtol=1e-6)
    assert results.runs.set_index("system").models_trained["LS"] == len(W)


def test_tuning_compares_hypervolumes_on_validation(ran):
    out, results = ran
    tried = results.chosen["systems"][DATA]["LS"]["shared"]
    best = max(tried["candidates"], key=lambda c: c["vali"])
    assert best["values"] == tried["chosen"] and results.chosen["budget"]["measure"] == "hypervolume"
    row = results.runs.set_index("system").loc["LS"]
    assert row.selected == best["vali"], "the reported run is the chosen candidate"


def test_a_second_call_trains_nothing(ran, suite, monkeypatch):
    out, results = ran
    monkeypatch.setattr("ltr.runs.execute", None)  # whoever calls it fails
    again = run_suite(suite, out, workers=1, progress=False)
    pd.testing.assert_frame_equal(again.fronts, results.fronts)


def test_fronts_come_back_from_the_files_alone(ran, tmp_path):
    out, results = ran
    shutil.copytree(out / "report", tmp_path / "files")
    again = load_front_results(tmp_path / "files")
    for name in ("fronts", "per_query", "runs"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(results, name), check_dtype=False)
    assert again.suite == results.suite and again.chosen == results.chosen
    with pytest.raises(InputError, match="load_front_results"):
        load_results(out)
    with pytest.raises(InputError, match="no results of a suite here"):
        load_front_results(tmp_path)


def test_runs_that_are_not_there_are_rows_with_a_reason(ran, suite, tmp_path):
    out, _ = ran
    more = replace(suite, tuning=Tuning(), systems=(*suite.systems, System("New", method="ls")))
    found = collect_fronts(more, out, main_jobs(more, {DATA: ("Fold1",)}))
    assert found.runs.set_index("system").status["New"].tolist() == ["missing", "missing"]
    assert set(found.fronts.system) <= {"HyperDPO", "LS"}
    found.save(tmp_path)
    assert len(load_front_results(tmp_path).failures) >= 2


# ---------------------------------------------------------------------------------------------------- the command line


@pytest.fixture
def run(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(finished, tmp_path / "run")


def told(capsys, *words):
    """Exit code, stdout and stderr."""
    code = main([str(w) for w in words])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_train_shows_the_front(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["train", "--data", DATA, "--data.objectives", *NAMES, "--method", "hyperdpo", "--preferences", "2"]
    words += ["--training.epochs", "1", "--method.params.ranker_params.hidden", "[4]", "--out", "r"]
    code, out, _ = told(capsys, *words)
    assert code == 0 and "validation relevance" in out and "hypervolume" in out and "2 trainings" in out
    code, out, _ = told(capsys, *words)
    assert "(done before)" in out
    assert read_record("r").config["method"]["params"]["training"]["epochs"] == 1


def test_front_prints_writes_and_draws(run, capsys):
    code, out, _ = told(capsys, "front", run)
    assert code == 0 and "3 preferences; * not dominated on vali" in out
    code, _, err = told(capsys, "front", run, "--out", "f.csv", "--picture", "f.png", "-q")
    assert code == 0 and "wrote f.csv" in err
    table = pd.read_csv("f.csv")
    np.testing.assert_array_equal(table[["test_relevance", "test_quality"]], read_record(run).points())
    with open("f.png", "rb") as file:
        assert file.read(4) == b"\x89PNG"
    code, out, err = told(capsys, "front", run, "--json", "--data", DATA)
    rows = json.loads(out)
    assert "scored anew on the " in err and "score " in err and "measure " in err
    assert [r["test_relevance"] for r in rows] == read_record(run).points()[:, 0].tolist()
    code, out, _ = told(capsys, "front", run / "method", "--data", DATA, "--split", "train", "--csv")
    assert code == 0 and out.startswith("preference,w_relevance") and "train_quality" in out.splitlines()[0]


def test_choose_says_what_it_found(run, capsys):
    points = read_record(run).points("vali")
    bound = float(np.sort(points[:, 0])[1])
    code, out, _ = told(capsys, "choose", run, "--at-least", f"relevance={bound}", "--maximise", "quality", "--json")
    found = json.loads(out)
    assert code == 0 and found["met"] and found["values"]["relevance"]["vali"] >= bound
    assert found["values"]["quality"]["vali"] == points[points[:, 0] >= bound, 1].max()
    assert found["values"]["quality"]["test"] == read_record(run).points("test")[found["index"], 1]
    assert found["values"]["quality"]["low"] <= found["values"]["quality"]["test"] <= found["values"]["quality"]["high"]
    code, out, _ = told(capsys, "choose", run, "--at-least", f"relevance={bound}")
    assert code == 0 and "quality is largest on vali" in out and "ltr predict" in out
    code, out, err = told(capsys, "choose", run, "--at-least", "relevance=0.99")
    nearest = int(points[:, 0].argmax())
    assert code == 1 and "none of 3 preferences has relevance >= 0.99" in err
    assert f"the nearest is preference {nearest}" in out and f"relevance lacks {0.99 - points[nearest, 0]:.4f}" in out


def test_choose_knows_four_rules(run, capsys):
    points = read_record(run).points("vali")
    code, out, _ = told(capsys, "choose", run, "--knee", "--json")
    assert code == 0 and json.loads(out)["index"] == knee(points)
    code, out, _ = told(capsys, "choose", run, "--at-most-loss", "30%", "--main", "qual")
    index = at_most_loss(points, 1, 0.3)
    said = " ".join(f"{x:g}" for x in W[index])
    assert code == 0 and f"preference {index} ({said})" in out and f"ltr predict {run} FILE --preference {said}" in out
    assert "quality loses at most 30 % of its best" in out
    # Somebody who looks at nothing but relevance.
    best, worst = points[:, 0].argmax(), points[:, 0].argmin()
    (run.parent / "pairs.csv").write_text(f"winner,loser,weight\n{best},{worst},9\n")
    code, out, _ = told(capsys, "choose", run, "--from-pairs", "pairs.csv", "--json")
    found = json.loads(out)
    assert code == 0 and found["explained"]["agree"] == 1
    assert found["index"] == (points @ found["explained"]["weights"]).argmax()
    table = read_per_query(run / "per_query" / "vali.parquet").to_pandas()
    own = table[table.objective == "relevance"].assign(w=lambda t: t.preference.str[0])
    values = own.pivot(index="query", columns="w", values=NDCG)[list(W[:, 0].astype(np.float32))]
    query = (values.iloc[:, 0] - values.iloc[:, 2]).abs().idxmax()
    winner = int(values.loc[query].argmax())
    (run.parent / "lists.csv").write_text(f"query,winner,loser\n{query},{winner},{2 - winner}\n")
    lists = choose_on_run(run, from_pairs=run.parent / "lists.csv").explained
    assert lists.agree == 1 and lists.weights[0] > 0


def test_bounds_and_points_that_say_nothing_are_refused():
    points = np.array([[0.5, 0.1], [0.2, 0.4]])
    for given, at_least, says in (
        (points, {"a": np.nan}, "the bound of a; expected a finite number"),
        (points[:0], {}, "points of a front"),
        (points[:, :1], {}, "objective=2"),
    ):
        with pytest.raises(InputError, match=says):
            choose(given, ["a", "b"], at_least, "b")
    for asked in ((10, 50), (3, 10**9)):  # before anything is allocated
        with pytest.raises(InputError, match="at most 1,000,000 preferences"):
            lattice(*asked)


@pytest.mark.parametrize(
    "line, says",
    [
        ("choose RUN --knee --maximise quality", "one rule chooses"),
        ("choose RUN --at-most-loss much", "e.g. 5% or 0.05"),
        ("choose RUN --at-most-loss 120%", "below 1"),
        ("choose RUN --knee --main quality", "main says what may lose"),
        ("choose RUN --from-pairs nothing.csv", "no such file"),
        ("choose RUN --from-pairs pairs.csv", "pairs.csv: row 1, column 'loser'; expected the number of a preference"),
        ("choose RUN --from-pairs self.csv", "self.csv: row 2, a preference is compared with itself"),
        ("choose RUN --from-pairs none.csv", "one or more of a weight above 0"),
        ("choose RUN --at-least relevance=nan", "expected a finite number; came nan"),
        ("choose RUN --at-least relevance=.5 relevance=.4", "--at-least says relevance twice"),
        ("choose RUN --at-least relevance=.5 Relevance=.4", "relevance has two bounds"),
        ("choose RUN --at-least relevnce=0.4 --maximise quality", "Did you mean 'relevance'?"),
        ("choose RUN --at-least relevance --maximise quality", "expected NAME=NUMBER"),
        ("choose RUN --at-least relevance=x --maximise quality", "--at-least relevance is no number"),
        ("choose RUN --maximise qualty", "Did you mean 'quality'?"),
        ("choose RUN", "which objective decides?"),
        ("choose nothing", "no run"),
        ("front RUN --out f.txt", "expected .csv, .tsv or .parquet"),
        ("front RUN --picture f.gif", "expected .png, .svg or .pdf"),
        ("front RUN --preferences 3", "has one model a preference, and none for this one"),
        ("front RUN/method", "does not say what it ranks"),
        ("front nothing", "no run"),
        ("predict RUN nothing", "asked with a preference for relevance, quality"),
        ("predict RUN x.txt --preference 0.5 0.6", "the weights sum to 1.1"),
        ("export RUN", "one ranking a preference"),
        ("export RUN --preference 0.4 0.6", "The nearest is [0.5, 0.5]"),
        ("evaluate RUN --objective qualty", "Did you mean 'quality'?"),
        ("train --data synthetic --method hyperdpo", "at least two"),
        ("train --data synthetic --data.objectives relevance qualty --method hyperdpo", "Did you mean 'quality'?"),
        ("train --data synthetic --data.objectives relevance quality --method hyperdop", "Did you mean 'hyperdpo'?"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(run, capsys, line, says):
    (run.parent / "pairs.csv").write_text("winner,loser\n0,3\n")
    (run.parent / "self.csv").write_text("winner,loser\n0,1\n2,2\n")
    (run.parent / "none.csv").write_text("winner,loser,weight\n0,1,0\n")
    if "x.txt" in line:
        (run.parent / "x.txt").write_text("0 qid:1 1:0.5\n")
    code, _, err = told(capsys, *line.replace("RUN", str(run)).split())
    assert code == 2 and says in err and "Traceback" not in err and err.count("\n") == 1


def test_predict_asks_with_a_preference(run, task, capsys):
    from ltr.datasets import synthetic

    synthetic.write_letor(task, run.parent / "letor")
    path = run.parent / "letor" / "Fold1" / "test.txt"
    code, out, _ = told(capsys, "predict", run, path, "--preference", 0.5, 0.5)
    scores = [float(line.split(",")[2]) for line in out.splitlines()[1:]]
    assert code == 0
    np.testing.assert_allclose(scores, load_method(run / "method").score(task.test, W[1])[0], rtol=1e-6)


def test_evaluate_and_export_know_preferences(run, task, capsys):
    code, out, _ = told(capsys, "evaluate", run, "--json")
    rows = json.loads(out)
    kept = [r for r in read_record(run).measures if r["split"] == "test"]
    assert code == 0 and rows == kept
    code, out, _ = told(capsys, "evaluate", run, "--measures", "AP", "RR", "--objective", "quality", "--json")
    assert [r["measure"] for r in json.loads(out)] == ["AP(empty=skip)", "RR(empty=skip)"] * 3
    code, _, err = told(capsys, "export", run, "--preference", 0.5, 0.5)
    assert code == 0
    exported = (run / "export" / "test.run").read_text().splitlines()
    assert len(exported) == task.test.n_documents and exported[0].endswith("dpo-ls")
    for words, says in (
        (["--as", "csv", "--preference", 0.5, 0.5], ""),
        (["--as", "csv", "--preference", 0.4, 0.6], "no row has this preference"),
        (["--as", "csv", "--tag", "mine"], "--tag says nothing of --as csv"),
        (["--as", "qrels", "--preference", 0.5, 0.5], "--preference says nothing of --as qrels"),
        (["--as", "onnx", "--objective", "quality"], "--objective says nothing of --as onnx"),
    ):
        code, _, err = told(capsys, "export", run, *words)
        assert code == (2 if says else 0) and says in err, err
    rows = (run / "export" / "test.csv").read_text().splitlines()
    assert len(rows) == task.test.n_documents + 1 and all(row.endswith(",0.5;0.5") for row in rows[1:])
    assert "--missing is for run files" in told(capsys, "evaluate", run, "--missing", "last")[2]


def test_bench_list_says_what_a_suite_trades_off(capsys):
    code, out, _ = told(capsys, "bench", "list", "--json")
    assert code == 0 and all("objectives" in row for row in json.loads(out))


def test_help_of_front_and_choose_is_light():
    code = """
import sys
from ltr.cli import main
for words in (["front", "--help"], ["choose", "--help"], ["train", "--help"]):
    main(words)
print([m for m in ("torch", "pandas", "pyarrow", "matplotlib", "numba") if m in sys.modules])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]" and "--at-least" in out and "--method" in out
