"""Suites: the runs they stand for, one budget for all, choices on validation only, and a launcher nothing stops."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ltr import datasets
from ltr.bench import load_results, load_suite, run_suite
from ltr.bench.analysis.oracle import BEST_POSSIBLE
from ltr.bench.analysis.results import collect
from ltr.bench.execution.display import Display
from ltr.bench.execution.estimate import plan
from ltr.bench.execution.pool import WorkerPool
from ltr.bench.execution.workers import Setting, Worker
from ltr.bench.suite import Limits, Suite, System, Tuning, check, suite_names
from ltr.bench.suite.grids import grid_points
from ltr.bench.suite.plan import SHARED, RunJob, choose, dataset_folds, main_jobs, read_chosen, tuning_jobs
from ltr.datasets import synthetic
from ltr.errors import InputError
from ltr.runs import read_record
from ltr.schema import read_toml

pytestmark = pytest.mark.usefixtures("no_pictures")

DATA = "synthetic:queries=30,objectives=1,features=50"
SYSTEMS = """
[[systems]]
label = "Linear"
ranker = "linear"
losses = ["listnet", "ranknet"]
grid = { "training.learning_rate" = [0.3, 0.0001] }

[[systems]]
label = "Feature"
ranker = "feature"
baseline = true
seeds = [0]
"""


def write(path, text):
    path.write_text(text)
    return path


@pytest.fixture(scope="module")
def suite() -> Suite:
    """Small enough for a test: 4 tuning runs, 5 reported ones."""
    linear = System("Linear", "linear", losses=("listnet", "ranknet"), grid={"training.learning_rate": [0.0001, 0.3]})
    return check(
        Suite(
            "A small suite",
            (DATA,),
            (linear, System("Feature", "feature", baseline=True, seeds=(0,))),
            name="small",
            seeds=(0, 1),
            measures=("nDCG@10", "AP"),
            training={"epochs": 2, "transform": "standardise"},
            tuning=Tuning(points=2),
        )
    )


@pytest.fixture(scope="module")
def finished(suite, tmp_path_factory):
    """The suite, run once in this process."""
    out = tmp_path_factory.mktemp("suite")
    return out, run_suite(suite, out, workers=1, progress=False)


# ---------------------------------------------------------------------------------------------------- suite files


def test_expansion_counts():
    folds = {"a": ("Fold1", "Fold2"), "b": ("Fold1",)}
    systems = (System("Net", "mlp", losses=("mse", "listnet")), System("Random", "random", seeds=(0,)))
    suite = check(Suite("t", ("a", "b"), systems, seeds=(0, 1, 2)))
    jobs = main_jobs(suite, folds)
    assert len(jobs) == (2 * 3 + 1) * (2 + 1)
    assert len({job.folder for job in jobs}) == len(jobs)
    first = next(j for j in jobs if j.system == "Net mse")
    assert first.folder == "runs/a/net-mse/fold1/seed0"
    assert first.config.loss.name == "mse" and first.config.data.fold == "Fold1"


def test_folds_are_chosen_by_name():
    suite = check(Suite("t", ("a",), (System("Random", "random"),), folds=("Fold2",)))
    assert [j.fold for j in main_jobs(suite, {"a": ("Fold1", "Fold2")})] == ["Fold2"]
    with pytest.raises(InputError, match="Did you mean 'Fold2'"):
        main_jobs(replace(suite, folds=("Fold22",)), {"a": ("Fold1", "Fold2")})


def test_every_system_gets_the_same_budget():
    grids = ({"params.depth": [1, 2, 3]}, {"params.a": [1, 2], "training.learning_rate": [0.1, 0.2, 0.3]})
    systems = tuple(System(f"S{i}", "mlp", losses=("mse",), grid=g) for i, g in enumerate(grids))
    suite = check(Suite("t", ("a",), (*systems, System("Random", "random")), tuning=Tuning(points=3, seeds=(0, 1))))
    jobs = tuning_jobs(suite, {"a": ("Fold1", "Fold2")})
    assert pd.Series([job.system for job in jobs]).value_counts().to_dict() == {"S0 mse": 3 * 2, "S1 mse": 3 * 2}
    with pytest.raises(InputError, match="smaller than the budget"):
        check(replace(suite, tuning=Tuning(points=4)))


@pytest.mark.parametrize("name", suite_names())
def test_suites_that_travel_with_the_package(name):
    """They load, every name in them exists, and whoever is tuned gets the same number of points."""
    from ltr.bench.execution.launch import check_jobs

    suite = load_suite(name)
    folds = dict.fromkeys(suite.datasets, suite.folds if suite.folds != ("all",) else ("Fold1",))
    tuning = tuning_jobs(suite, folds)
    check_jobs([*tuning, *main_jobs(suite, folds)])
    assert pd.Series([job.system for job in tuning]).value_counts().nunique() <= 1
    # Fronts are compared with a method that trains a model a preference, rankings with a baseline.
    assert any(s.method in ("dpo-ls", "ls") if suite.of_methods else s.baseline for s in suite.systems)


def test_every_registered_loss(tmp_path):
    from ltr.losses import LOSSES

    text = 'title = "t"\ndatasets = "a"\n[[systems]]\nlabel = "Net"\nranker = "mlp"\nlosses = "all"\n'
    text += "[loss_params]\nbce = { top = 2.0 }\nlambdaprecision = { k = 3, sigma = 2.0 }\n"
    suite = load_suite(write(tmp_path / "s.toml", text))
    assert suite.systems[0].losses == tuple(LOSSES.names())
    variants = {v.loss: v for v in suite.variants()}
    assert variants["bce"].loss_params == {"top": 2.0} and variants["mse"].loss_params == {}
    over = replace(suite, systems=(replace(suite.systems[0], losses=("lambdaprecision",), loss_params={"k": 7}),))
    assert over.variants()[0].loss_params == {"k": 7, "sigma": 2.0}, "those of the system win"
    with pytest.raises(InputError, match="Did you mean 'bce'"):
        load_suite(write(tmp_path / "s.toml", text.replace("bce", "bec")))


def test_grid_points_are_a_seeded_sample_without_repetition():
    grid = {"params.a": [1, 2, 3, 4], "params.b": ["x", "y", "z"]}
    points = grid_points(grid, 5, seed=1)
    assert points == grid_points(grid, 5, seed=1) != grid_points(grid, 5, seed=2)
    assert len({tuple(p.items()) for p in points}) == 5
    assert len(grid_points(grid, 100)) == 12
    assert grid_points({}, 4) == []


def test_extends_merges_tables_and_systems(tmp_path):
    write(tmp_path / "_base.toml", f"training = {{ epochs = 3, batch_size = 8 }}\n{SYSTEMS}\n[tuning]\npoints = 2")
    text = 'title = "t"\nextends = "_base.toml"\ndatasets = "a"\n[training]\nbatch_size = 4\n'
    text += '[[systems]]\nlabel = "Feature"\nparams = { column = 1 }\n[[systems]]\nlabel = "New"\nranker = "random"\n'
    suite = load_suite(write(tmp_path / "s.toml", text))
    assert suite.name == "s" and suite.datasets == ("a",) and suite.tuning.points == 2
    assert suite.training == {"epochs": 3, "batch_size": 4}
    assert [s.label for s in suite.systems] == ["Linear", "Feature", "New"]
    assert suite.systems[1].params == {"column": 1} and suite.systems[1].ranker == "feature"
    write(tmp_path / "_base.toml", 'extends = "s.toml"\ntitle = "loop"')
    with pytest.raises(InputError, match="extends itself"):
        load_suite(tmp_path / "s.toml")


@pytest.mark.parametrize(
    "change, message",
    [
        ("seed = [0]", "Did you mean 'seeds'"),
        ('measures = ["nDGC@10"]', "nDCG"),
        ('per_query = ["RR"]', "not reported"),
        ("folds = [1]", "folds"),
        ("[tuning]\npoints = 3", "smaller than the budget"),
        ('[[systems]]\nlabel = "linear listnet"\nranker = "random"', "share a folder"),
        ('[[systems]]\nlabel = "../../x"\nranker = "random"', "expected a name for tables, no path"),
        ('[[systems]]\nlabel = "X"\nranker = "mlp"\ngrid = { "param.lr" = [1] }', r"Did you mean 'params"),
        ('[[systems]]\nlabel = "X"\nranker = "mlp"\ngrid = { "params.lr" = 1 }', "list of values"),
    ],
)
def test_mistakes_in_a_suite_are_named(tmp_path, change, message):
    path = write(tmp_path / "s.toml", f'title = "t"\ndatasets = ["a"]\n{change}\n{SYSTEMS}')
    with pytest.raises(InputError, match=message):
        load_suite(path)


def test_unknown_suite_names_the_near_miss():
    with pytest.raises(InputError, match="Did you mean 'quickstart'"):
        load_suite("quickstrat")


def test_a_mistyped_parameter_stops_the_suite_before_it_starts(suite, tmp_path):
    wrong = replace(suite, systems=(System("Net", "mlp", losses=("listnet",), params={"hiden": [8]}),))
    with pytest.raises(InputError, match="Did you mean 'hidden'"):
        run_suite(wrong, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------------------------------------- choosing


def test_choose_takes_the_best_mean_and_leaves_out_the_unfinished(suite):
    jobs = tuning_jobs(suite, {DATA: ("Fold1",)})
    values = {("Linear listnet", 0): 0.3, ("Linear listnet", 1): 0.3, ("Linear ranknet", 1): 0.1}

    def vali_of(job: RunJob):
        value = values.get((job.system, job.point))
        return (value, "") if value is not None else (None, "diverged")

    table = choose(suite, jobs, vali_of)
    chosen = read_chosen(table)
    assert chosen[DATA, "Linear listnet", SHARED] == {"training.learning_rate": 0.0001}, "the earlier point wins a tie"
    assert chosen[DATA, "Linear ranknet", SHARED] == {"training.learning_rate": 0.3}, "what did not finish cannot win"
    candidates = [c for scopes in table["systems"][DATA].values() for c in scopes[SHARED]["candidates"]]
    assert [c["reason"] for c in candidates if "vali" not in c] == ["diverged"]


def test_each_fold_may_choose_for_itself(suite):
    """A fold's choice is made by its own validation queries, and used for its own runs."""
    each = replace(suite, tuning=Tuning(points=2, folds=("each",)))
    folds = {DATA: ("Fold1", "Fold2")}
    jobs = tuning_jobs(each, folds)
    assert len(jobs) == 2 * 2 * 2
    table = choose(each, jobs, lambda job: (float(job.point == (job.fold == "Fold2")), ""))
    chosen = read_chosen(table)
    assert chosen[DATA, "Linear listnet", "Fold1"] == {"training.learning_rate": 0.0001}
    assert chosen[DATA, "Linear listnet", "Fold2"] == {"training.learning_rate": 0.3}
    systems = table["systems"][DATA]
    assert {s: entry["chosen"] for s, entry in systems["Linear listnet"].items()} == {
        fold: chosen[DATA, "Linear listnet", fold] for fold in folds[DATA]
    }
    for job in main_jobs(each, folds, chosen):
        if job.config.loss is not None:
            assert job.config.training.learning_rate == (0.3 if job.fold == "Fold2" else 0.0001)


def test_nothing_finished_keeps_the_values_as_written(suite):
    table = choose(suite, tuning_jobs(suite, {DATA: ("Fold1",)}), lambda job: (None, "out of memory"))
    assert read_chosen(table) == {}


def test_choice_is_written_with_all_candidates(finished):
    out, results = finished
    table = read_toml(out / "chosen.toml")
    assert table["budget"]["points"] == 2 and table["budget"]["split"] == "vali"
    assert set(table["systems"][DATA]) == {"Linear listnet", "Linear ranknet"}
    for system, scopes in table["systems"][DATA].items():
        point, tried = scopes[SHARED]["chosen"], scopes[SHARED]["candidates"]
        assert len(tried) == 2
        assert max(tried, key=lambda c: c["vali"])["values"] == point
        config = read_record(out / main_folder(system)).config
        assert config["training"]["learning_rate"] == point["training.learning_rate"]
    assert results.chosen == table


def main_folder(system, seed=0):
    from ltr.bench.suite import slug
    from ltr.bench.suite.plan import dataset_slug

    return f"runs/{dataset_slug(DATA)}/{slug(system)}/fold1/seed{seed}"


def test_poisoned_test_labels_change_no_choice(suite, finished, tmp_path, monkeypatch):
    """With the test labels turned upside down everything up to the test measures stays as it was."""
    whole = datasets.load

    def poisoned(name, fold=None, objectives=None):
        task = whole(name, fold, objectives)
        return replace(task, test=replace(task.test, labels=4 - task.test.labels))

    for room in ("bench.execution.workers", "runs.systems.ranker"):
        monkeypatch.setattr(f"ltr.{room}.load", poisoned)
    other = run_suite(suite, tmp_path, workers=1, progress=False)
    out, results = finished
    assert (tmp_path / "chosen.toml").read_bytes() == (out / "chosen.toml").read_bytes()
    ours, theirs = (r.runs[r.runs.system != BEST_POSSIBLE] for r in (results, other))
    pd.testing.assert_frame_equal(ours[["selected", "config_hash"]], theirs[["selected", "config_hash"]])
    test = results.values.split == "test"
    assert not np.allclose(results.values["mean"][test], other.values["mean"][test]), "the poison did reach the test"


# ---------------------------------------------------------------------------------------------------- launching


def test_results_of_a_suite(finished, suite):
    out, results = finished
    named = results.runs[results.runs.system != BEST_POSSIBLE]
    assert (named.status == "done").all() and len(named) == 5
    assert set(results.values.measure) == set(suite.measures) and set(results.values.split) == {"vali", "test"}
    assert len(results.per_query) == (5 + 1) * 6, "test queries of five runs and of the best possible ranker"
    assert list(results.per_query.columns)[-1] == suite.headline
    record = read_record(out / main_folder("Linear listnet"))
    row = results.values.query("system == 'Linear listnet' and seed == 0 and split == 'test'").set_index("measure")
    assert row["mean"][suite.headline] == record.mean("nDCG@10")
    best = results.values.query("system == @BEST_POSSIBLE").set_index("measure")["mean"]
    assert best[suite.headline] > row["mean"][suite.headline]


def test_a_second_call_trains_nothing(suite, finished, monkeypatch):
    out, results = finished
    before = {p: p.stat().st_mtime_ns for p in out.glob("*s/**/*") if p.is_file()}
    assert len(before) > 50
    pages = {p: p.read_bytes() for p in (out / "report").iterdir()}
    monkeypatch.setattr("ltr.runs.execute", None)  # whoever calls it fails
    again = run_suite(suite, out, workers=1, progress=False)
    assert before == {p: p.stat().st_mtime_ns for p in before}
    assert pages == {p: p.read_bytes() for p in (out / "report").iterdir()}
    pd.testing.assert_frame_equal(again.values, results.values)


def test_a_tuned_run_is_not_trained_twice(finished):
    """The chosen point on the tuning fold and seed is the reported run: same record, hashes and all."""
    out, _ = finished
    point = read_toml(out / "chosen.toml")["systems"][DATA]["Linear listnet"][SHARED]
    number = next(c["point"] for c in point["candidates"] if c["values"] == point["chosen"])
    tuned = out / main_folder("Linear listnet").replace("runs/", "tuning/").replace("/fold1", f"/point{number}/fold1")
    assert read_record(tuned).artefacts == read_record(out / main_folder("Linear listnet")).artefacts


def test_results_come_back_from_the_files_alone(finished, tmp_path):
    out, results = finished
    shutil.copytree(out / "report", tmp_path / "files")
    again = load_results(tmp_path / "files")
    for name in ("values", "runs", "per_query", "curves"):
        pd.testing.assert_frame_equal(getattr(again, name), getattr(results, name), check_dtype=False)
    assert again.suite == results.suite and again.environment == results.environment


def test_an_edited_suite_takes_no_number_of_the_old_one(suite, finished):
    out, _ = finished
    edited = replace(suite, training={**suite.training, "epochs": 1}, tuning=Tuning())
    with pytest.raises(InputError, match=r"another config.*training\.epochs: 1, not 2"):
        run_suite(edited, out, workers=1, progress=False)
    status = collect(edited, out, main_jobs(edited, {DATA: ("Fold1",)})).runs.set_index("system").status
    assert (status[["Linear listnet", "Linear ranknet"]] == "stale").all() and status["Feature"] == "done"


def test_own_labels_with_a_transform_are_what_a_suite_ranks_by(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    n = 60
    rows = {"qid": [k // 5 for k in range(n)], "relevance": [k % 2 for k in range(n)], "a": np.arange(n) % 7}
    pd.DataFrame({**rows, "clicks": (np.arange(n) * 37) % 101}).to_csv("shop.csv", index=False)
    feature = (System("Feature", "feature", baseline=True),)
    suite = check(Suite("Own", ("shop.csv",), feature, name="own", folds=("Fold1",), objective="clicks:grade5"))
    (job,) = main_jobs(suite, {"shop.csv": ["Fold1"]})
    worker = Worker(Setting(tmp_path, device="cpu"))
    status, reason, _ = worker.one(job, tmp_path / job.folder, lambda *_: None)
    assert status == "done", reason
    record = read_record(tmp_path / job.folder)
    assert record.config["data"]["objective"] == "clicks:grade5" and 0 < record.mean("nDCG@10") < 1
    assert set(np.unique(worker.task(job).train.labels)) == {0, 1, 2, 3, 4}


def test_a_failing_and_a_missing_system_are_records(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "catboost", None)
    systems = (
        System("Cat", "catboost", params={"rounds": 2}),
        System("Wrong", "lightgbm", params={"rounds": 2, "params": {"label_gain": [0, 1]}}),
        System("Feature", "feature", baseline=True),
    )
    results = run_suite(check(Suite("t", (DATA,), systems, name="t")), tmp_path, workers=1)
    status = results.runs.set_index("system").status
    assert (status["Cat"], status["Wrong"], status["Feature"]) == ("skipped", "failed", "done")
    assert read_record(tmp_path / main_folder("Cat")).status == "skipped"
    shown = capsys.readouterr().out
    assert "1 failed" in shown and "1 skipped" in shown
    page = (tmp_path / "report" / "report.md").read_text()
    assert "Runs without numbers" in page and "pip install 'ltr-suite[trees]'" in page and "label_gain" in page


def test_a_system_whose_library_is_missing_is_asked_again_when_it_is_there(tmp_path, monkeypatch, capsys):
    """Until then a second call has nothing to do, and says what is left out."""
    systems = (System("Cat", "catboost", params={"rounds": 2}), System("Feature", "feature", baseline=True))
    suite = check(Suite("t", (DATA,), systems, name="t"))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "catboost", None)
        run_suite(suite, tmp_path, workers=1)
        page, pages = tmp_path / "report" / "report.md", capsys.readouterr().out
        before = page.stat().st_mtime_ns
        run_suite(suite, tmp_path, workers=1)
        said = capsys.readouterr().out
        assert "1 skipped" in pages and page.stat().st_mtime_ns == before
        assert said.startswith("Nothing to do: 1 run is finished, 1 skipped whose libraries are not installed")
    found = run_suite(suite, tmp_path, workers=1, progress=False).runs
    assert set(found.status[found.system == "Cat"]) == {"done"}


def test_stopped_suites_continue(suite, finished, tmp_path, monkeypatch, capsys):
    shown = Display.__call__

    def stop(display, event):
        shown(display, event)
        if event.kind == "start" and display.done == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Display, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path / "out", workers=1)
    assert "the same command continues" in capsys.readouterr().out.replace("\n", " ")
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path / "part", workers=1, seeds=[7], only=["Linear"])
    words = f"ltr bench run small --seeds 7 --only Linear --out {tmp_path / 'part'}"
    assert words in capsys.readouterr().out.replace("\n", " "), "what was typed, on this machine"
    (tmp_path / "own.toml").write_text(
        f'title = "Own"\ndatasets = ["{DATA}"]\n[[systems]]\nlabel = "Feature"\nranker = "feature"\n'
        '[[systems]]\nlabel = "Random"\nranker = "random"\n[[systems]]\nlabel = "Best"\nranker = "feature"\n'
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run_suite("own.toml", "out2", workers=1)
    assert "continues: ltr bench run own.toml --out out2" in capsys.readouterr().out.replace("\n", " ")
    monkeypatch.setattr(Display, "__call__", shown)
    results = run_suite(suite, tmp_path / "out", workers=1, progress=False)
    pd.testing.assert_frame_equal(results.values, finished[1].values)


@pytest.mark.parametrize("deaths, status", [(1, "done"), (3, "failed")])
def test_a_run_whose_worker_dies_is_tried_again_at_the_end(suite, finished, tmp_path, deaths, status):
    """Of two spawned workers the one is killed that starts a certain run, once or always: it is begun again after all
    others, and in the end it fails. A run whose worker dies once gives the numbers it always gives."""
    jobs = main_jobs(replace(suite, tuning=Tuning()), {DATA: ("Fold1",)})[-3:]
    ends, killed, lost, starts = {}, [], [], []

    def tell(event):
        if event.kind == "start":
            starts.append(event.job.folder)
        first = not killed or event.job.folder == killed[0].folder
        if event.kind == "start" and first and len(killed) < deaths:
            killed.append(event.job)
            process = next(p for number, p in pool.alive.values() if number == event.worker)
            os.kill(process.pid, signal.SIGKILL)
        if event.kind == "again":
            lost.append(event.reason)
        if event.kind == "end":
            ends[event.job.folder] = event

    with WorkerPool(Setting(tmp_path), workers=2) as pool:
        pool.work(jobs, tell)
    assert set(ends) == {job.folder for job in jobs} and len(lost) == min(deaths, 2)
    died = killed[0].folder
    assert starts[-1] == died and ends[died].status == status
    assert all("killed by signal 9" in reason for reason in lost)
    if deaths == 3:
        assert "killed by signal 9" in ends[died].reason
    for job in jobs:
        if job.folder != died or deaths == 1:
            assert ends[job.folder].status == "done"
            there = finished[0] / job.folder
            if read_record(there).config_hash == read_record(tmp_path / job.folder).config_hash:
                assert read_record(tmp_path / job.folder).measures == read_record(there).measures


def test_only_and_seeds_narrow_a_suite(suite, tmp_path):
    from ltr.bench.suite.narrow import narrowed

    exact = narrowed(suite, ["Linear ListNet"])
    assert [v.label for v in exact.variants()] == ["Linear listnet"]
    narrow = narrowed(suite, ["linear list", "feat"], [1])
    assert [v.label for v in narrow.variants()] == ["Linear listnet", "Feature"]
    assert [v.seeds for v in narrow.variants()] == [(1,), (0,)]
    with pytest.raises(InputError, match="Linear ranknet"):
        narrowed(suite, ["Transformer"], None)


def test_data_from_elsewhere_leaves_no_path_behind(tmp_path, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    raw = synthetic.write_letor(synthetic.make(12, 1, n_features=50), tmp_path / "raw")
    suite = check(Suite("t", ("mq2008",), (System("Random", "random"),), name="t"))
    assert dataset_folds(str(raw)) == ("Fold1",)
    results = run_suite(suite, tmp_path / "out", data={"mq2008": raw}, workers=1, progress=False)
    assert (results.runs.status == "done").all() and (results.values.dataset == "mq2008").all()
    written = [p for p in (tmp_path / "out").rglob("*") if p.suffix in (".toml", ".json", ".md", ".html")]
    assert written and not [p for p in written if str(tmp_path) in p.read_text()]
    assert "--data mq2008=PATH" in results.environment["command"]
    with pytest.raises(InputError, match="Did you mean 'mq2008'"):
        run_suite(suite, tmp_path / "out", data={"mq208": raw})


# ---------------------------------------------------------------------------------------------------- dry run


def test_dry_run_counts_and_trains_nothing(suite, tmp_path, capsys, monkeypatch):
    for room in ("bench.execution.workers", "bench.analysis.oracle", "runs.sizes", "runs.systems.ranker"):
        monkeypatch.setattr(f"ltr.{room}.load", None)  # nor opens it any data
    assert run_suite(suite, tmp_path / "out", dry_run=True, workers=2) is None
    shown = " ".join(capsys.readouterr().out.split())
    assert "9 runs" in shown and "estimate" in shown and "Linear ranknet" in shown and " to " in shown
    assert not (tmp_path / "out").exists()


def test_an_absent_dataset_is_estimated_from_its_card(tmp_path, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(tmp_path))
    systems = (System("Linear", "linear", losses=("listnet",)), System("LightGBM", "lightgbm", params={"rounds": 50}))
    found = plan(check(Suite("t", ("mq2008",), systems, seeds=(0, 1), training={"epochs": 5})), workers=2)
    assert [c.runs for c in found.costs] == [10, 10] and "card" in found.sources["mq2008"]
    assert all(0 < c.seconds[0] <= c.seconds[1] and c.memory > 4e8 for c in found.costs)


def test_a_plan_is_the_sum_of_its_runs(suite):
    """Times add over runs and are shared by workers; memory is what meets at one time."""
    found = plan(suite, workers=1)
    assert [(c.system, c.tuning, c.runs) for c in found.costs] == [
        ("Linear listnet", 2, 2),
        ("Linear ranknet", 2, 2),
        ("Feature", 0, 1),
    ]
    assert found.runs == found.pieces == 9
    for end in (0, 1):
        assert found.seconds[end] == pytest.approx(sum(c.all_seconds[end] for c in found.costs))
        assert replace(found, workers=3).seconds[end] == pytest.approx(found.seconds[end] / 3)
    largest = max(c.memory for c in found.costs)
    assert found.memory == pytest.approx(4e8 + largest)
    assert found.memory < replace(found, workers=2).memory < found.memory + largest + 1
    together = plan(replace(suite, limits=Limits(stacked=True)), workers=1)
    assert together.runs == 9 and together.pieces == 5, "seeds, and candidates that differ in learning rate"


def test_the_whole_of_a_large_suite_is_priced_in_seconds(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LTR_DATA", str(tmp_path))
    began = time.process_time()
    run_suite("losses-mq2008", "nowhere", dry_run=True)
    assert time.process_time() - began < 60
    assert "on its card" in capsys.readouterr().out


def test_a_mistyped_synthetic_task_is_named_before_anything_runs(suite, tmp_path):
    wrong = replace(suite, datasets=("synthetic:quereis=30",))
    with pytest.raises(InputError, match="Did you mean 'queries'"):
        run_suite(wrong, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
