"""Suites whose seeds and candidates train together: the same numbers as one by one, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import pandas as pd
import pytest

from ltr.bench import load_suite, run_suite
from ltr.bench.analysis.leaderboard import leaderboard
from ltr.bench.execution.display import Display
from ltr.bench.execution.pool import WorkerPool
from ltr.bench.execution.workers import Setting
from ltr.bench.suite import Limits, Suite, System, Tuning, check
from ltr.bench.suite.plan import main_jobs, stackable, tuning_jobs
from ltr.cli import main
from ltr.runs import read_record

pytestmark = pytest.mark.usefixtures("no_pictures")

DATA = "synthetic:queries=30,objectives=1,features=50"
FOLDS = {DATA: ("Fold1",)}


@pytest.fixture(scope="module")
def suite() -> Suite:
    """12 reported runs and 6 that tune; the nets in groups of 3 and 2 + 1."""
    grid = {"training.learning_rate": [0.0003, 0.03], "training.weight_decay": [0.0, 0.1]}
    systems = (
        System("Linear", "linear", losses=("listnet",), grid=grid),
        System("MLP", "mlp", losses=("ranknet", "listmle"), params={"hidden": [8], "dropout": 0.2}),
        System("Trees", "lightgbm", params={"rounds": 3}, seeds=(0, 1)),
        System("Feature", "feature", baseline=True, seeds=(0,)),
    )
    return check(
        Suite(
            "Fleets",
            (DATA,),
            systems,
            name="stacks",
            seeds=(0, 1, 2),
            measures=("nDCG@10", "AP"),
            training={"epochs": 5, "patience": 2, "batch_size": 8},
            tuning=Tuning(points=3),
            limits=Limits(stacked=True),
        )
    )


@pytest.fixture(scope="module")
def alone(suite, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    return out, run_suite(suite, out, workers=1, stacked=False, progress=False)


def records(out, pattern="**/record.json"):
    return {str(p.parent.relative_to(out)): read_record(p.parent) for p in sorted(out.glob(pattern))}


def same(out, results, alone):
    there, expected = records(out), records(alone[0])
    assert set(there) == set(expected)
    for name, record in there.items():
        other = expected[name]
        assert record.done and record.measures == other.measures and record.selection == other.selection, name
        assert set(record.artefacts) == set(other.artefacts), name
    assert (out / "chosen.toml").read_text() == (alone[0] / "chosen.toml").read_text()
    if results is not None:
        pd.testing.assert_frame_equal(results.values, alone[1].values)


def test_who_trains_together(suite):
    tuned, jobs = (stackable(f(suite, FOLDS)) for f in (tuning_jobs, main_jobs))
    assert [len(group) for group in tuned] == [3]
    assert [(group[0].system, len(group)) for group in jobs] == [
        ("Linear listnet", 3),
        ("MLP ranknet", 3),
        ("MLP listmle", 3),
        ("Trees", 1),
        ("Trees", 1),
        ("Feature", 1),
    ]
    two_folds = main_jobs(suite, {DATA: ("Fold1", "Fold2")})
    assert {tuple({job.fold for job in group}) for group in stackable(two_folds)} == {("Fold1",), ("Fold2",)}
    assert sorted(j.folder for group in stackable(two_folds) for j in group) == sorted(j.folder for j in two_folds)
    wider = replace(suite.systems[0], grid={"params.noise": [0.0, 0.1, 0.2]})
    assert [len(g) for g in stackable(tuning_jobs(replace(suite, systems=(wider,)), FOLDS))] == [1, 1, 1]


def test_a_suite_says_whether_it_stacks(suite, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ltr.errors._SAID", set())
    (tmp_path / "s.toml").write_text(
        f'title = "S"\ndatasets = ["{DATA}"]\n[limits]\nfleet = true\n[[systems]]\nlabel = "R"\nranker = "random"\n'
    )
    assert load_suite(tmp_path / "s.toml").limits.stacked
    assert not load_suite("quickstart").limits.stacked, "costs of single trainings unless a suite says otherwise"
    assert main(["bench", "run", "quickstart", "--fleet", "--no-stacked"]) == 2
    said = capsys.readouterr().err
    assert "key 'fleet' is called 'stacked' now" in said and "option '--fleet' is called '--stacked' now" in said
    assert "--stacked and --no-stacked exclude each other" in said


def test_the_numbers_are_those_of_training_one_by_one(suite, alone, tmp_path):
    results = run_suite(suite, tmp_path, workers=1, progress=False)
    same(tmp_path, results, alone)
    ours, theirs = (leaderboard(each, DATA).table for each in (results, alone[1]))
    columns = ["system", "mean", "low", "high", "letters"]
    pd.testing.assert_frame_equal(ours[columns], theirs[columns])
    sizes = {name: record.cost.get("stacked") for name, record in records(tmp_path).items()}
    # The reported run that tuning has made already is copied, `stacked` and all; the other two train together.
    assert sorted(size for name, size in sizes.items() if "linear" in name and "runs/" in name) == [2, 2, 3]
    assert all(size == 3 for name, size in sizes.items() if "mlp" in name or "tuning" in name)
    assert all(size is None for name, size in sizes.items() if "/trees/" in name or "/feature/" in name)
    assert all("stacked" not in record.cost for record in records(alone[0]).values())
    commands = [
        json.loads((out / "report" / "environment.json").read_text())["command"] for out in (tmp_path, alone[0])
    ]
    assert ["--stacked" in command or "--no-stacked" in command for command in commands] == [False, True]
    notes = [dict(zip(table.system, table.note, strict=True)) for table in (ours, theirs)]
    assert "3 trained together; times are shares" in notes[0]["MLP ranknet"]
    assert not notes[0]["Trees"] and not any(notes[1].values())
    shares = [r.cost["fit_seconds"] for n, r in records(tmp_path).items() if "runs/" in n and "mlp-ranknet" in n]
    assert len(shares) == 3 and len(set(shares)) == 1


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_in_a_stack(suite, alone, tmp_path, monkeypatch, workers):
    shown = Display.__call__

    def stop(display, event):
        shown(display, event)
        together = event.kind == "progress" and event.stage == "fit" and "3 nets together" in event.note
        if together and event.job.point is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(Display, "__call__", stop)
    monkeypatch.setattr("ltr.bench.execution.workers._TELL_EVERY", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run_suite(suite, tmp_path, workers=workers)
    stopped = records(tmp_path, "runs/**/record.json")
    status = {r.status for n, r in stopped.items() if not r.done}
    assert status <= {"interrupted", "running"} and status
    monkeypatch.setattr(Display, "__call__", shown)
    results = run_suite(suite, tmp_path, workers=1, progress=False)
    same(tmp_path, results, alone)


def test_the_death_of_a_worker_leaves_its_group_to_be_trained_one_by_one(suite, alone, tmp_path):
    jobs = [job for job in main_jobs(replace(suite, tuning=Tuning()), FOLDS) if job.system.startswith(("MLP", "Tr"))]
    ends, killed, lost = {}, [], set()

    def tell(event):
        if event.kind == "start" and not killed:
            killed.append(event.job)
            process = next(p for number, p in pool.alive.values() if number == event.worker)
            os.kill(process.pid, signal.SIGKILL)
        if event.kind == "again":
            assert "killed by signal 9" in event.reason
            lost.add(event.job.folder)
        if event.kind == "end":
            ends[event.job.folder] = event

    with WorkerPool(Setting(tmp_path), workers=2) as pool:
        pool.work(stackable(jobs), tell)
    assert set(ends) == {job.folder for job in jobs}
    assert lost == {job.folder for job in jobs if job.system == killed[0].system} and len(lost) == 3
    for job in jobs:
        assert ends[job.folder].status == "done"
        assert read_record(tmp_path / job.folder).measures == read_record(alone[0] / job.folder).measures


def test_a_suite_that_grows_trains_the_missing_seeds(suite, alone, tmp_path):
    run_suite(suite, tmp_path, workers=1, seeds=[1], progress=False)
    one = {n: (tmp_path / n / "record.json").read_bytes() for n in records(tmp_path)}
    results = run_suite(suite, tmp_path, workers=1, progress=False)
    same(tmp_path, results, alone)
    for name, before in one.items():
        assert (tmp_path / name / "record.json").read_bytes() == before
    sizes = {n: r.cost.get("stacked") for n, r in records(tmp_path).items() if "mlp-ranknet" in n}
    assert sorted(map(str, sizes.values())) == ["2", "2", "None"]


def test_dry_run_counts_pieces_of_work(suite, capsys):
    run_suite(suite, "nowhere", dry_run=True, workers=2)
    shown = " ".join(capsys.readouterr().out.split())
    assert "15 runs, trained as 7" in shown and "as if each were trained alone" in shown
