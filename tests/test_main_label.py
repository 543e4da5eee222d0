"""A main label that is kept apart: what reference rankers learn, measured beside the front, no objective."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ltr.bench import load_suite, run_suite
from ltr.bench.analysis.front_cube import cube, main_of
from ltr.bench.analysis.results import load_front_results
from ltr.cli import main
from ltr.datasets import load
from ltr.errors import InputError
from ltr.losses import loss
from ltr.methods import make_method
from ltr.metrics import evaluate, mean
from ltr.objectives import lattice
from ltr.rankers import load_ranker, make_ranker
from ltr.runs import execute, load_task, read_config
from ltr.runs.front import front_of_run, main_lines
from ltr.runs.per_query import read_per_query
from ltr.runs.resolving import command, resolve
from ltr.schema import to_dict
from ltr.types import Task

pytestmark = pytest.mark.usefixtures("no_pictures")

DATA = "synthetic:queries=30,features=50,objectives=3"
NAMES, MAIN = ("quality", "freshness"), "relevance"
NDCG = "nDCG(gain=exp2,empty=skip)@10"
TINY = {"ranker_params": {"hidden": [4]}, "training": {"epochs": 2, "batch_size": 8, "learning_rate": 0.03}}
W = lattice(2, 2)


def config_of(name, **changes):
    own = {"data.name": DATA, "data.objectives": list(NAMES), "data.main": MAIN, "method.params": TINY}
    return read_config(None, {**own, "preferences": 2, "method.name": name, **changes})


@pytest.fixture(scope="module")
def task():
    return load(DATA)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of a method with a reference ranker."""
    record = execute(config_of("hyperdpo"), tmp_path_factory.mktemp("main") / "run")
    assert record.done, record.reason
    return record


def with_other_main(task: Task) -> Task:
    """The task with the main labels of every split turned round."""
    splits = {}
    for name in ("train", "vali", "test"):
        split = task.split(name)
        labels = split.labels.copy()
        labels[:, 0] = labels[::-1, 0]
        splits[name] = split.having(labels=labels)
    return Task(task.name, task.fold, **splits)


def test_the_reference_ranker_learns_the_main_label_and_the_objectives_are_the_others(task):
    method = make_method("dpo-ls", **TINY).fit(task, main=MAIN, preferences=W)
    alone = make_ranker("mlp", loss=loss("listnet"), hidden=[4], training=method.config.training)
    alone.fit(task.train, task.vali, objective=MAIN, select=NDCG)
    assert method.objectives == NAMES and method.models_trained == 4
    assert np.array_equal(method.base.score(task.test), alone.score(task.test))
    other = make_method("dpo-ls", **TINY).fit(with_other_main(task), main=MAIN, preferences=W)
    assert not np.array_equal(method.base.score(task.test), other.base.score(task.test))


@pytest.mark.parametrize("name", ["ls", "plug-in"])
def test_a_method_without_a_reference_does_not_look_at_the_main_label(task, name):
    found = [make_method(name, **TINY).fit(each, main=MAIN, preferences=W) for each in (task, with_other_main(task))]
    assert found[0].objectives == NAMES
    assert np.array_equal(*(method.score(task.test, W) for method in found))


def test_a_base_that_is_given_is_the_reference_and_a_wrong_main_label_is_named(task, run):
    base = load_ranker(run.folder / "method" / "base")
    method = make_method("soup", **TINY).fit(task, base, main=MAIN)
    assert method.base is base and method.models_trained == 2
    with pytest.raises(InputError, match="Did you mean 'relevance'"):
        make_method("ls").fit(task, main="relevanse")
    with pytest.raises(InputError, match="trades objectives off"):
        make_method("ls").fit(load("synthetic:queries=10,features=50"), main=MAIN)


def test_gains_and_measures_are_those_of_their_label(task):
    facts = {**task.facts, "gains": ("linear", "exp2", "exp2")}  # of relevance, quality, freshness
    mixed = Task(task.name, task.fold, task.train, task.vali, task.test, facts)
    method = make_method("dpo-ls", **TINY, loss="lambdarank").fit(mixed, main=MAIN, preferences=W[:1])
    assert method.gains == ("exp2", "exp2")
    assert method.base.loss.params["gain"] == "linear"


def test_a_run_measures_the_main_label_at_every_preference_and_its_reference_ranker(run):
    assert run.config["measures"] == [NDCG] * 3
    test = load_task(config_of("hyperdpo")).test
    rows = [r for r in run.measures if r["split"] == "test"]
    assert [r["objective"] for r in rows[:3]] == [*NAMES, MAIN] and len(rows) == 3 * len(W)
    front = front_of_run(run)
    assert front.objectives == NAMES and front.points["test"].shape == (3, 2) and front.measures == (NDCG, NDCG)
    base = load_ranker(run.folder / "method" / "base")
    own = mean(evaluate([NDCG], base.score(test), test.label(MAIN), test.offsets)[NDCG])
    assert run.reference == {"objective": MAIN, "measure": NDCG, "vali": run.reference["vali"], "test": own}
    kept = np.mean([r["mean"] for r in rows if r["objective"] == MAIN])
    assert f"{kept:.4f}, mean over preferences; the reference ranker {own:.4f}" in main_lines(run)[0]
    table = read_per_query(run.folder / "per_query" / "test.parquet")
    assert set(table["objective"].to_pylist()) == {*NAMES, MAIN}


def test_the_hypervolume_that_chooses_is_that_of_the_objectives(run):
    front = front_of_run(run, "vali")
    assert run.selection["value"] == pytest.approx(front.hypervolume("vali"))


def test_configs_say_it_and_those_without_keep_their_hash(run):
    config = config_of("hyperdpo")
    assert resolve(config) == config and config.measures == (NDCG,) * 3
    assert "--data.objectives quality freshness --main relevance" in command(config)
    without = read_config(None, {"data.name": DATA, "data.objectives": list(NAMES), "method.name": "ls"})
    assert "main" not in to_dict(without)["data"], "tables of other configs, and so their hashes, are what they were"
    own = config_of("hyperdpo", measures=["nDCG@5", "nDCG@5"])
    assert own.measures[2] == NDCG and own.measures[0].endswith("@5")
    with pytest.raises(InputError, match="kept apart"):
        config_of("hyperdpo", **{"data.main": "quality"})
    with pytest.raises(InputError, match="learns one label"):
        read_config(None, {"data.name": DATA, "ranker.name": "random", "data.main": MAIN})


def test_commands_work_on_such_a_run(run, tmp_path, capsys):
    folder = str(run.folder)

    def said(*words):
        assert main([*words]) == 0
        return capsys.readouterr().out

    assert json.loads(said("evaluate", folder, "--json")) == [r for r in run.measures if r["split"] == "test"]
    found = json.loads(said("evaluate", folder, "--objective", MAIN, "--json"))
    assert {row["objective"] for row in found} == {MAIN}
    anew = json.loads(said("front", folder, "--preferences", "2", "--json"))
    assert anew == json.loads(said("front", folder, "--json"))
    assert json.loads(said("front", f"{folder}/method", "--data", DATA, "--preferences", "2", "--json")) == anew
    assert MAIN not in said("choose", folder, "--at-least", "quality=0.0")
    lists = tmp_path / "new.csv"
    columns = ",".join(f"f{k}" for k in range(1, 51))
    names = load(DATA).train.feature_names
    assert len(columns.split(",")) == len(names)
    lists.write_text("query," + ",".join(names) + "\n" + f"1,{','.join('1' * 50)}\n")
    assert "score" in said("predict", folder, str(lists), "--preference", "0.5", "0.5")
    assert f"main label, kept apart: {MAIN}" in said("train", "--config", f"{folder}/config.toml", "--out", folder)


SUITE = f"""
title = "A main label apart"
datasets = ["{DATA}"]
objectives = ["quality", "freshness"]
main = "relevance"
preferences = 2
training = {{ epochs = 1, batch_size = 8 }}
systems = [
  {{ label = "DPO-LS", method = "dpo-ls", params = {{ ranker_params = {{ hidden = [4] }} }} }},
  {{ label = "LS", method = "ls", params = {{ ranker_params = {{ hidden = [4] }} }} }},
]
limits = {{ workers = 1, threads = 1 }}
"""


def test_a_suite_ranks_by_the_objectives_and_shows_the_main_label_beside(tmp_path):
    path = tmp_path / "apart.toml"
    path.write_text(SUITE)
    out = tmp_path / "out"
    assert run_suite(load_suite(path), out).failures.empty
    found = load_front_results(out)
    assert set(found.fronts.objective) == {*NAMES, MAIN} and MAIN in found.per_query.columns
    assert cube(found, DATA).objectives == NAMES
    shown = main_of(found, DATA)
    rows = found.fronts[(found.fronts.objective == MAIN) & (found.fronts.split == "test")]
    assert shown.shape == (2, 1, 3) and shown[0, 0] == pytest.approx(rows[rows.system == "DPO-LS"]["mean"].to_numpy())
    reference = found.runs.set_index("system").reference
    assert np.isfinite(reference["DPO-LS"]) and np.isnan(reference["LS"])
    page = (out / "report" / "report.md").read_text()
    assert "main: relevance nDCG@10" in page and f"{reference['DPO-LS']:.4f}" in page
    again = found.save(tmp_path / "again")
    assert load_front_results(again).suite.main == MAIN
    path.write_text(SUITE.replace('main = "relevance"', 'main = "quality"'))
    with pytest.raises(InputError, match="kept apart"):
        load_suite(path)
