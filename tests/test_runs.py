"""The life of a run: what it leaves, what a second call does, and that every number follows from its files."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from warm import Warm

from ltr import metrics
from ltr.atomic import lock
from ltr.cli import main
from ltr.datasets import synthetic
from ltr.datasets.store.convert import convert_folder
from ltr.errors import InputError, MissingExtra
from ltr.methods import METHODS
from ltr.rankers import RANKERS
from ltr.runs import config_hash, execute, read_config, read_record, read_scores, seeds, summarise, verify
from ltr.runs.config import DataConfig, LossChoice, MethodChoice, RankerChoice, RunConfig, differences
from ltr.runs.estimate import _stopped, estimate
from ltr.runs.per_query import join, per_query, read_per_query
from ltr.runs.resolving import command, resolve
from ltr.runs.scores import scores_table, write_scores
from ltr.runs.sizes import sizes_of, sizes_of_task
from ltr.schema import read_toml, write_toml
from ltr.types import Split

DATA = "synthetic:queries=30,features=50,objectives=2"
MLP = {
    "data.name": DATA,
    "ranker.name": "mlp",
    "ranker.params.hidden": [8],
    "loss.name": "listnet",
    "training.epochs": 4,
}


@pytest.fixture(scope="module")
def task():
    return synthetic.from_name(DATA)


@pytest.fixture(scope="module")
def config():
    return read_config(None, {**MLP, "measures": ["nDCG@10", "AP", "RR"]})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, task, config):
    """A finished run; tests copy it before they harm it."""
    folder = tmp_path_factory.mktemp("runs") / "mlp"
    record = execute(config, folder, task=task)
    assert record.done, record
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


# ---------------------------------------------------------------------------------------------------------- config


def test_a_config_is_resolved_and_resolving_again_changes_nothing(config):
    assert config.ranker.params["activation"] == "relu" and config.loss.params["target"] == "gain"
    assert config.measures[0] == "nDCG(gain=exp2,empty=skip)@10" and config.select == config.measures[0]
    assert read_config(None, {"data.name": DATA, **_flat(config)}) == config


def _flat(config):
    return {
        "ranker.name": config.ranker.name,
        "ranker.params": config.ranker.params,
        "loss.name": config.loss.name,
        "loss.params": config.loss.params,
        "training.epochs": config.training.epochs,
        "measures": list(config.measures),
    }


def test_a_toml_file_and_overrides_that_win(tmp_path, config):
    path = tmp_path / "run.toml"
    path.write_text(
        f'seed = 3\n[data]\nname = "{DATA}"\n[ranker]\nname = "mlp"\nparams = {{ hidden = [8] }}\n'
        '[loss]\nname = "ranknet"\n[training]\nepochs = 9\n'
    )
    found = read_config(
        path, {"training.epochs": 4, "loss.name": "listnet", "seed": 0, "measures": ["nDCG@10", "AP", "RR"]}
    )
    assert found == config and config_hash(found) == config_hash(config)


def test_a_parameter_that_is_a_tuple_comes_back_from_toml(tmp_path, config):
    loss = LossChoice("ordinal", {"boundaries": (1, 2.5)})
    resolved = resolve(replace(config, loss=loss))
    write_toml(tmp_path / "config.toml", resolved)
    assert read_config(tmp_path / "config.toml") == resolve(resolved) == resolved
    assert resolved.loss.params["boundaries"] == [1.0, 2.5]


@pytest.mark.parametrize(
    "keys, says",
    [
        ({"loss.name": "ordinal", "loss.params.boundaries": ["a"]}, "of loss 'ordinal' has the wrong type"),
        ({"ranker.name": "mpl"}, "Did you mean 'mlp'"),
        ({"loss.name": "lisnet"}, "Did you mean 'listnet'"),
        ({"ranker.params.hiden": [4]}, "Did you mean 'hidden'"),
        ({"ranker.params.dropout": 1.5}, "dropout is out of range"),
        ({"loss.params.targt": "soft"}, "Did you mean 'target'"),
        ({"loss.params.target": 3}, "expected str"),
        ({"loss.params.target": "sfot"}, "sfot"),
        ({"training.epoch": 3}, "Did you mean 'epochs'"),
        ({"training.epochs": "many"}, "training.epochs has the wrong type"),
        ({"measures": ["nDGC@10"]}, "Did you mean 'nDCG'"),
        ({"measures": []}, "at least one measure"),
        ({"select": "nDCG(gain=ex2)@10"}, "exp2"),
        ({"datta.name": "x"}, "Did you mean 'data'"),
        ({"ranker.name": "lightgbm", "ranker.params": {}}, "brings its own objective"),
    ],
)
def test_a_mistake_in_a_config_is_named_before_anything_runs(keys, says):
    with pytest.raises(InputError, match=says.replace("(", r"\(")):
        read_config(None, {**MLP, **keys})


def test_a_loss_is_asked_for_and_training_settings_of_others_are_refused():
    with pytest.raises(InputError, match="trained with a loss"):
        read_config(None, {"data.name": DATA, "ranker.name": "mlp"})
    with pytest.raises(InputError, match="says nothing to ranker"):
        read_config(None, {"data.name": DATA, "ranker.name": "random", "training.epochs": 3})


def test_what_decides_nothing_does_not_tell_two_runs_apart():
    plain = RunConfig(DataConfig(DATA), RankerChoice("random"))
    from ltr.rankers.config import TrainingConfig
    from ltr.runs import resolve

    assert config_hash(resolve(plain)) == config_hash(resolve(replace(plain, training=TrainingConfig(epochs=3))))
    assert config_hash(resolve(plain)) != config_hash(resolve(replace(plain, seed=1)))


def test_int_and_float_are_one_config():
    one = read_config(None, {**MLP, "loss.params.eps": 0, "training.clip": 1})
    assert config_hash(one) == config_hash(read_config(None, {**MLP, "loss.params.eps": 0.0, "training.clip": 1.0}))


def test_methods_of_a_repetition_share_their_seeds(config):
    other = read_config(
        None, {**MLP, "ranker.name": "linear", "ranker.params": {}, "loss.name": "mse", "data.fold": "Fold1"}
    )
    assert seeds(config) == seeds(other)
    assert seeds(config) != seeds(replace(config, repetition=1)) != seeds(replace(config, seed=1))
    assert len(set(seeds(config).values())) == len(seeds(config))


def test_differences_name_the_keys(config):
    other = replace(config, seed=5, loss=None)
    told = " ".join(differences(config, other))
    assert "seed: 0, not 5" in told and "loss.name: 'listnet', not None" in told


def test_the_command_of_a_run_makes_the_same_config(config, capsys):
    """The words are parsed by a shell and by our own parser, and make the very config."""
    import shlex
    import tomllib

    for each in (
        config,
        replace(config, seed=7, data=DataConfig(DATA, objective="quality", objectives=("relevance",))),
    ):
        words = shlex.split(command(each))
        assert words[0] == "ltr"
        assert main([*words[1:], "--dry-run"]) == 0
        assert not differences(tomllib.loads(capsys.readouterr().out), each)


# --------------------------------------------------------------------------------------------------------- one run


def test_a_finished_run_leaves_its_files_and_nothing_else(finished):
    left = {
        p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file() and not p.name.startswith(".")
    }
    assert {"config.toml", "record.json", "DONE", "ranker/ranker.json", "ranker/training.json"} <= left
    assert {f"{kind}/{split}.parquet" for kind in ("scores", "per_query") for split in ("vali", "test")} <= left
    assert not (finished / "checkpoints").exists()
    assert not [p for p in finished.rglob("*") if p.name.startswith((".partial-", ".replaced-"))]


def test_the_record_tells_all_that_decides_a_number(finished, config, task):
    record = read_record(finished)
    assert record.status == "done" and record.reason == ""
    assert record.config == read_toml(finished / "config.toml") and record.config_hash == config_hash(config)
    assert record.seeds == seeds(config)
    assert len(record.hashes["code"]["sources"]) == 64 and len(record.hashes["store"]) == 64
    assert record.data["fold"] == task.fold and record.data["splits"]["test"]["documents"] == task.test.n_documents
    assert record.environment["python"] and record.environment["libraries"]["torch"] and record.environment["cpu_count"]
    speeds = ("train_documents_per_second", "train_step_seconds", "score_documents_per_second")
    for key in ("fit_seconds", "score_seconds", *speeds):
        assert record.cost[key] > 0
    assert record.cost["peak_memory_bytes"] > 1e7 and record.cost["attempts"] == 1
    assert record.cost["parameters"] == (50 + 1) * 8 + 8 + 1
    assert record.selection["split"] == "vali" and 1 <= record.selection["epoch"] <= 4
    assert record.command.startswith("ltr train --data")


def test_selection_is_the_validation_number(finished):
    record = read_record(finished)
    assert record.selection["value"] == pytest.approx(record.mean(record.selection["measure"], "vali"), abs=1e-12)


def test_every_number_follows_from_the_scores_and_the_labels(finished, task):
    """Measured again from scores.parquet and the task's labels, by the metrics alone."""
    record = read_record(finished)
    for name in ("vali", "test"):
        split = task.split(name)
        scores = pq.read_table(finished / "scores" / f"{name}.parquet")
        assert scores["query"].to_pylist() == np.repeat(split.query_ids, split.lengths).tolist()
        values = metrics.evaluate(["nDCG@10", "AP", "RR"], scores["score"].to_numpy(), split.label(), split.offsets)
        kept = read_per_query(finished / "per_query" / f"{name}.parquet")
        for measure, value in values.items():
            np.testing.assert_array_equal(kept[measure].to_numpy(), value)
            assert record.mean(measure, name) == np.nanmean(value)
            row = next(r for r in record.measures if r["split"] == name and r["measure"] == measure)
            assert (row["queries"], row["blank"]) == (np.isfinite(value).sum(), np.isnan(value).sum())


def test_the_scores_are_those_of_the_saved_ranker(finished, task):
    from ltr.rankers import load_ranker

    ranker = load_ranker(finished / "ranker")
    np.testing.assert_array_equal(read_scores(finished / "scores" / "test.parquet")["score"], ranker.score(task.test))


def test_a_finished_run_is_a_no_op(run, config, monkeypatch):
    from ltr.rankers.base import FittedRanker

    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    monkeypatch.setattr(FittedRanker, "fit", _never)
    monkeypatch.setattr("ltr.runs.systems.RankerSystem.load_task", _never)
    assert execute(config, run) == read_record(run)
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before


def _never(*_, **__):
    raise AssertionError("a finished run trains and loads nothing")


def test_the_same_run_twice_gives_the_same_scores(finished, task, config, tmp_path):
    execute(config, tmp_path / "again", task=task)
    for split in ("vali", "test"):
        assert read_scores(finished / "scores" / f"{split}.parquet") == read_scores(
            tmp_path / "again" / "scores" / f"{split}.parquet"
        )


def test_several_objectives_are_measured_and_one_is_trained(task, tmp_path):
    config = read_config(
        None, {**MLP, "training.epochs": 1, "data.objective": "quality", "data.objectives": ["relevance"]}
    )
    record = execute(config, tmp_path / "run")
    assert {r["objective"] for r in record.measures} == {"quality", "relevance"}
    table = read_per_query(tmp_path / "run" / "per_query" / "test.parquet")
    assert len(table) == 2 * task.test.n_queries and table.column_names[:5] == [
        "query",
        "objective",
        "preference",
        "documents",
        "blank",
    ]
    values = metrics.evaluate(
        ["nDCG@10"],
        read_scores(tmp_path / "run" / "scores" / "test.parquet")["score"].to_numpy(),
        task.test.label("relevance"),
        task.test.offsets,
    )
    assert record.mean("nDCG@10", objective="relevance") == np.nanmean(next(iter(values.values())))
    assert json.loads((tmp_path / "run" / "ranker" / "ranker.json").read_text())["objective"] == "quality"


@pytest.mark.parametrize("ranker", ["random", "feature", "lightgbm"])
def test_rankers_without_a_loss_run_the_same_way(ranker, task, tmp_path):
    keys = {"ranker.params.rounds": 5} if ranker == "lightgbm" else {}
    record = execute(read_config(None, {"data.name": DATA, "ranker.name": ranker, **keys}), tmp_path / "run", task=task)
    assert record.done and "training" not in record.config and 0 < record.mean("nDCG@10") < 1
    assert verify(tmp_path / "run") == []


# ------------------------------------------------------------------------------------------------- trouble on the way


def test_another_config_is_refused(run, config):
    with pytest.raises(InputError, match=r"another config \(1 keys differ; seed: 1, not 0\)"):
        execute(replace(config, seed=1), run)
    with pytest.raises(InputError, match="measures"):
        execute(replace(config, measures=("nDCG@5",)), run)


def test_a_folder_that_is_no_run_is_refused(tmp_path, config):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is no run"):
        execute(config, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_bad_config_writes_nothing(tmp_path, config):
    with pytest.raises(InputError):
        execute(replace(config, ranker=RankerChoice("mpl")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_ctrl_c_continues_to_the_same_result(finished, task, config, tmp_path):
    """Stopped after two epochs, the run goes on from its checkpoint and ends with the very scores."""
    folder = tmp_path / "run"

    def stop_after_two(stage, done, total, note):
        if stage == "fit" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(config, folder, task=task, progress=stop_after_two)
    record = read_record(folder)
    assert record.status == "interrupted" and not (folder / "DONE").exists() and not (folder / "ranker").exists()
    epochs = []
    record = execute(
        config, folder, task=task, progress=lambda stage, done, *_: epochs.append(done) if stage == "fit" else None
    )
    assert record.done and record.cost["attempts"] == 2
    assert min(epochs) == 3, "epochs that were done are not done again"
    for split in ("vali", "test"):
        assert read_scores(folder / "scores" / f"{split}.parquet") == read_scores(
            finished / "scores" / f"{split}.parquet"
        )
    assert record.measures == read_record(finished).measures and record.selection == read_record(finished).selection


def test_a_killed_run_continues(finished, config, tmp_path):
    """SIGKILL leaves no chance to tidy up; what was whole before is whole after."""
    folder = tmp_path / "run"
    code = f"""
import os, signal
from ltr.runs import execute, read_config
def kill(stage, done, *_):
    if stage == "fit" and done == 3: os.kill(os.getpid(), signal.SIGKILL)
execute(read_config({str(finished / "config.toml")!r}), {str(folder)!r}, progress=kill)
"""
    with Warm(["-c", code]) as process:
        assert process.end()[0] == -9
    assert read_record(folder).status == "running"
    assert execute(config, folder).done
    assert read_scores(folder / "scores" / "test.parquet") == read_scores(finished / "scores" / "test.parquet")


def test_stopped_while_scoring_the_ranker_is_not_trained_again(finished, task, config, tmp_path, monkeypatch):
    folder = tmp_path / "run"

    def stop_at_scoring(stage, *_):
        if stage == "score":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(config, folder, task=task, progress=stop_at_scoring)
    assert (folder / "ranker" / "ranker.json").is_file()
    monkeypatch.setattr("ltr.rankers.base.FittedRanker.fit", _never)
    assert execute(config, folder, task=task).done
    assert read_scores(folder / "scores" / "test.parquet") == read_scores(finished / "scores" / "test.parquet")


def test_a_record_without_done_is_not_finished(run, config, task):
    (run / "DONE").unlink()
    assert read_record(run).status == "running"
    assert execute(config, run, task=task).done and (run / "DONE").is_file() and verify(run) == []


def test_a_failure_is_recorded_and_tried_again(task, config, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            "ltr.rankers.base.FittedRanker.score", lambda *_: (_ for _ in ()).throw(RuntimeError("no more memory"))
        )
        record = execute(config, folder, task=task)
    assert record.status == "failed" and record.reason == "no more memory" and not (folder / "DONE").exists()
    assert record.error["type"] == "RuntimeError" and not record.error["user"]
    assert any("no more memory" in line for line in record.error["traceback"])
    assert read_record(folder) == record
    assert execute(config, folder, task=task).done


def test_scores_that_are_no_numbers_are_a_failure(task, config, tmp_path, monkeypatch):
    monkeypatch.setattr("ltr.rankers.base.FittedRanker.score", lambda _, split: np.full(split.n_documents, np.nan))
    record = execute(config, tmp_path / "run", task=task)
    assert record.status == "failed" and "not finite" in record.reason and record.error["user"]


def test_data_that_is_not_there_is_a_failure_with_its_reason(tmp_path):
    config = read_config(None, {"data.name": str(tmp_path / "nothing"), "ranker.name": "random"})
    record = execute(config, tmp_path / "run")
    assert record.status == "failed" and "no such file or folder" in record.reason and record.error["user"]


def test_a_missing_library_skips_the_run(task, tmp_path, monkeypatch):
    def without(*_, **__):
        raise MissingExtra("lightgbm", "trees", "ranker 'lightgbm'")

    monkeypatch.setattr("ltr.rankers.base.FittedRanker.fit", without)
    record = execute(read_config(None, {"data.name": DATA, "ranker.name": "lightgbm"}), tmp_path / "run", task=task)
    assert record.status == "skipped" and "pip install 'ltr-suite[trees]'" in record.reason
    assert not (tmp_path / "run" / "DONE").exists()


def test_two_processes_do_not_share_a_folder(task, config, tmp_path):
    code = f"""
import sys
from ltr.atomic import lock
with lock({str(tmp_path / "run")!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process"):
            execute(config, tmp_path / "run", task=task)
        holder.stdin.close()
    with lock(tmp_path / "run"):
        pass


def test_verify_names_what_was_touched(run):
    assert verify(run) == []
    table = pq.read_table(run / "scores" / "test.parquet")
    pq.write_table(
        table.set_column(3, "score", pa.array(np.zeros(len(table), np.float32))), run / "scores" / "test.parquet"
    )
    (run / "per_query" / "vali.parquet").unlink()
    (run / "ranker" / "extra.txt").write_text("")
    wrong = " ".join(verify(run))
    assert "scores/test.parquet was changed" in wrong and "per_query/vali.parquet is missing" in wrong
    assert "ranker/extra.txt does not belong" in wrong
    (run / "record.json").write_text((run / "record.json").read_text() + " ")
    assert "record.json was changed after the run" in verify(run)


def test_a_broken_record_says_so(run):
    (run / "record.json").write_text("{")
    with pytest.raises(InputError, match="broken JSON"):
        read_record(run)


# ---------------------------------------------------------------------------------------------------- scores and joins


@pytest.fixture
def lists():
    """Two lists; their documents stood in another order in the source."""
    return Split(
        np.zeros((4, 1), np.float32),
        np.array([[1], [3], [0], [2]], np.float32),
        np.array([0, 3, 4]),
        np.array(["q1", "q2"]),
        doc_ids=np.array(["a", "b", "c", "a"]),
        row=np.array([0, 2, 3, 1]),
        name="test",
    )


def test_the_order_of_a_scores_file_does_not_matter(lists):
    table = scores_table(lists, [1.2, 0.4, 1.9, -0.3])
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        [(preference, aligned)] = join(lists, table.take(order))
        assert preference is None
        np.testing.assert_array_equal(aligned, np.float32([1.2, 0.4, 1.9, -0.3]))


@pytest.mark.parametrize(
    "harm, says",
    [
        (lambda t: t.slice(0, 3), "1 documents without a score, 0 unknown, 0 scored twice"),
        (lambda t: pa.concat_tables([t, t.slice(0, 1)]), "0 documents without a score, 0 unknown, 1 scored twice"),
        (lambda t: t.set_column(2, "row", pa.array([0, 2, 3, 9])), "1 documents without a score, 1 unknown"),
        (lambda t: t.set_column(0, "query", pa.array(["q1", "q1", "q1", "q1"])), "another query"),
        (lambda t: t.set_column(1, "doc", pa.array(["a", "b", "d", "a"])), "another doc"),
        (lambda t: t.set_column(1, "doc", pa.nulls(4, pa.string())), "another doc"),
        (lambda t: t.slice(0, 0), "scores are empty"),
    ],
)
def test_scores_of_other_documents_are_refused(lists, harm, says):
    with pytest.raises(InputError, match=says):
        join(lists, harm(scores_table(lists, [1.2, 0.4, 1.9, -0.3])))


def test_scores_must_be_one_finite_number_a_document(lists, tmp_path):
    with pytest.raises(InputError, match=r"expected \[documents=4\]"):
        write_scores(tmp_path / "s.parquet", lists, [1.0, 2.0])
    with pytest.raises(InputError, match="1 of 4 scores are not finite, the first in query q2"):
        write_scores(tmp_path / "s.parquet", lists, [1.0, 2.0, 3.0, math.inf])
    assert list(tmp_path.iterdir()) == []


def test_a_scores_file_is_checked_when_read(lists, tmp_path):
    path = tmp_path / "s.parquet"
    with pytest.raises(InputError, match="no scores"):
        read_scores(path)
    path.write_text("not parquet")
    with pytest.raises(InputError, match="broken scores"):
        read_scores(path)
    pq.write_table(scores_table(lists, [1.0, 2, 3, 4]).drop_columns(["preference"]), path)
    with pytest.raises(InputError, match="lack preference"):
        read_scores(path)


def test_preferences_are_rankings_of_their_own(lists):
    one, two = scores_table(lists, [1, 2, 3, 4], (0.25, 0.75)), scores_table(lists, [4, 3, 2, 1], (1.0, 0.0))
    both = pa.concat_tables([one, two]).take([7, 0, 5, 2, 1, 4, 6, 3])
    found = dict(join(lists, both))
    np.testing.assert_array_equal(found[0.25, 0.75], [1, 2, 3, 4])
    np.testing.assert_array_equal(found[1.0, 0.0], [4, 3, 2, 1])
    table = per_query(lists, both, ["nDCG@10"])
    assert len(table) == 4
    rows = {tuple(r["preference"]): r["mean"] for r in summarise(table)}
    alone = summarise(per_query(lists, scores_table(lists, [1, 2, 3, 4]), ["nDCG@10"]))
    assert rows[0.25, 0.75] == alone[0]["mean"] and alone[0]["preference"] is None


def test_blank_lists_are_counted_beside_the_mean():
    """s = (1.2, 0.4, 1.9, -0.3), y = (1, 3, 0, 2) has NDCG .57735; a second list is blank, a third has no documents."""
    split = Split(
        np.zeros((6, 1), np.float32),
        np.array([[1], [3], [0], [2], [0], [0]], np.float32),
        np.array([0, 4, 6, 6]),
        np.array(["worked", "blank", "empty"]),
        name="test",
    )
    table = per_query(
        split, scores_table(split, [1.2, 0.4, 1.9, -0.3, 0.0, 1.0]), ["nDCG", "nDCG(empty=0)", "nDCG(empty=1)"]
    )
    assert table["query"].to_pylist() == ["worked", "blank"] and table["blank"].to_pylist() == [False, True]
    skip, zero, one = summarise(table)
    assert (skip["mean"], skip["queries"], skip["blank"]) == (pytest.approx(0.57735, abs=1e-5), 1, 1)
    assert (zero["mean"], zero["queries"], zero["blank"]) == (pytest.approx(0.57735 / 2, abs=1e-5), 2, 0)
    assert one["mean"] == pytest.approx(1.57735 / 2, abs=1e-5)
    frame = table.to_pandas()
    assert np.isnan(frame["nDCG(gain=exp2,empty=skip)"][1]) and frame["documents"].tolist() == [4, 2]


def test_a_mean_over_no_query_is_no_number(task, tmp_path):
    blank = replace(task.test, labels=np.zeros_like(task.test.labels))
    config = read_config(None, {"data.name": DATA, "ranker.name": "random", "measures": ["nDCG@10"]})
    record = execute(config, tmp_path / "run", task=replace(task, test=blank))
    assert record.done and math.isnan(record.mean("nDCG@10"))
    row = next(r for r in record.measures if r["split"] == "test")
    assert row["mean"] is None and row["queries"] == 0 and row["blank"] == blank.n_queries
    with pytest.raises(InputError, match="did not report"):
        record.mean("AP")


def test_every_ranker_of_the_catalogue_resolves():
    for entry in RANKERS:
        loss = {"loss.name": "listnet"} if entry.claims["needs_loss"] else {}
        config = read_config(None, {"data.name": DATA, "ranker.name": entry.name, **loss})
        assert (config.training is not None) == bool(entry.claims.get("training"))


# -------------------------------------------------------------------------------------------------------- the estimate


def test_the_estimate_is_near_what_a_run_took(finished, task, config):
    """Sizes are those of the run; its time lies in the range or near it (a small run is mostly its start)."""
    found, record = estimate(config, sizes_of_task(task)), read_record(finished)
    assert found.parameters == record.cost["parameters"] and found.epochs == 4
    assert found.documents["train"] == task.train.n_documents and found.batches >= 1
    assert found.cells >= task.train.n_documents * 0.9
    low, high = found.seconds
    assert 0 < low < high and found.memory_bytes > 4 * task.train.features.size
    assert found.course[2] == 1.0 and high == pytest.approx(3 * low) and found.of(7)[1] == pytest.approx(7 * high)
    trees = estimate(read_config(None, {"data.name": DATA, "ranker.name": "lightgbm"}), sizes_of_task(task))
    assert 0 < trees.seconds[0] < trees.seconds[1] and trees.parameters == 500 * 31


def test_many_trainings_that_stop_early_are_known_better_than_one():
    """The mean of a log-uniform share between .1 and 1 is .9 / ln 10, its standard deviation .2494."""
    assert _stopped(1.0, 1) == (1.0, 1.0)
    low, high = _stopped(0.1, 1)
    assert low == 0.1 and high == pytest.approx(0.390865 + 1.64 * 0.2494, abs=1e-4)
    low, high = _stopped(0.1, 100)
    assert (low, high) == pytest.approx((0.390865 - 0.164 * 0.2494, 0.390865 + 0.164 * 0.2494), abs=1e-5)
    stops = read_config(None, {**MLP, "data.name": DATA, "training.epochs": 30, "training.patience": 2})
    found = estimate(stops)
    assert found.course[2] == 0.1 and found.facts()["seconds"] == found.seconds
    (low, high), (least, most) = found.of(100), found.seconds
    assert 100 * least < low < high < 100 * most and high < 4 * low


def test_members_of_a_stack_share_what_a_step_costs():
    asked = {"data.name": DATA, "data.objectives": ["relevance", "quality"], "method.name": "ls", "preferences": 6}
    params = {"training": {"epochs": 5, "patience": 0}}
    config = read_config(None, asked)
    times = {
        stacked: estimate(replace(config, method=MethodChoice("ls", {**params, "stacked": stacked}))).course[0]
        for stacked in (True, False)
    }
    assert times[True] < 0.8 * times[False]
    copies = [MethodChoice("conditioned-trees", {"copies": c}) for c in (1, 8)]
    once, often = (estimate(replace(config, method=method)).course[0] for method in copies)
    assert 2 * once < often < 9 * once


def test_an_estimate_opens_no_data(monkeypatch):
    """Made-up queries, and a dataset that is not here: sizes come from the name and from the card."""
    monkeypatch.setattr("ltr.datasets.synthetic.task.make", _never)
    monkeypatch.setattr("ltr.runs.sizes.load", _never)
    large = read_config(None, {**MLP, "data.name": "synthetic:queries=30000,features=50"})
    found, small = (
        estimate(large),
        estimate(read_config(None, {**MLP, "data.name": "synthetic:queries=1000,features=50"})),
    )
    assert found.queries["train"] == 18_000 and found.memory_bytes > 30_000 * 100 * 50 * 4
    assert found.seconds[0] > 3 * small.seconds[0]
    absent = estimate(read_config(None, {**MLP, "data.name": "mslr-web30k"}))
    assert absent.documents["train"] > 2e6 and absent.features == 136
    method = read_config(
        None,
        {"data.name": DATA, "data.objectives": ["relevance", "quality"], "method.name": "ls", "preferences": 4},
    )
    assert estimate(method).trainings == 5
    # A pay-off table trains a net an objective before, a soup one an objective after its base.
    more = {"chebyshev": 5 + 2, "dpo-ls": 5 + 1, "hyperdpo": 1 + 1, "soup": 2 + 1, "plug-in": 2}
    for name in (entry.name for entry in METHODS):
        found = estimate(replace(method, method=MethodChoice(name)))
        assert found.trainings == more.get(name, found.trainings), name
        assert METHODS[name].claims.get("learns", True) == bool(found.parameters), name
    for name, key, given in (("label-mixing", "lightgbm", {}), ("plug-in", "ranker_params", {"ranker": "lightgbm"})):
        trees = replace(method, method=MethodChoice(name, {key: {"rounds": 30, "leaves": 15}, **given}))
        assert estimate(trees).parameters == 30 * 15
    for params, models in (({"form": "validation"}, 4 * 2), ({"form": ["mixture", "isotonic"], "nets": "one"}, 1)):
        assert estimate(replace(method, method=MethodChoice("plug-in", params))).trainings == models


def _stored(task, folder):
    """A task as the store of svmlight files."""
    folder.mkdir()
    for name in ("train", "vali", "test"):
        split = task.split(name)
        queries = np.repeat(np.arange(split.n_queries), split.lengths)
        rows = [
            f"{label:g} qid:{q} " + " ".join(f"{k}:{v:.9g}" for k, v in enumerate(row, 1))
            for label, q, row in zip(split.label(), queries, split.features, strict=True)
        ]
        (folder / f"{name}.txt").write_text("\n".join(rows) + "\n")
    return convert_folder(folder, folder / "store").folder


def test_an_estimate_counts_the_columns_of_missing_values(tmp_path, task):
    """The net of a store with holes is as wide as the run's: an indicator a column that misses values."""
    x = task.train.features.copy()
    x[::5, 2], x[3, 4], x[1, 7] = np.nan, np.nan, np.inf
    holes = replace(task, train=replace(task.train, features=x))
    store = _stored(holes, tmp_path / "raw")
    config = read_config(None, {**MLP, "data.name": str(store), "training.epochs": 1})
    assert (sizes_of(store).missing, sizes_of_task(holes).missing) == (2, 2)
    found = estimate(config)
    assert found == replace(found, parameters=execute(config, tmp_path / "run").cost["parameters"])
    plain = estimate(read_config(None, {**MLP, "data.name": str(store), "training.missing": "mean"}))
    assert found.parameters == plain.parameters + 2 * 8
    with pytest.raises(InputError, match="unknown fold 'Fold9'"):
        sizes_of(store, "Fold9")


def test_a_real_run_equals_its_store(real_data, tmp_path, monkeypatch):
    """MQ2008 fold 1 through store, run and evaluation: the record names the store, and the numbers are its labels'."""
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    folder = real_data / "MQ2008"
    config = read_config(
        None, {"data.name": str(folder), "ranker.name": "feature", "measures": ["nDCG@10", "AP(empty=0)"]}
    )
    record = execute(config, tmp_path / "run")
    assert record.done and record.data["splits"]["test"] == {"queries": 156, "documents": 2874}
    rows = {r["measure"]: r for r in record.measures if r["split"] == "test"}
    assert rows["nDCG(gain=exp2,empty=skip)@10"]["blank"] == 51 and rows["AP(empty=0)"]["queries"] == 156
    moved = shutil.copytree(Path(folder), tmp_path / "elsewhere")
    again = execute(replace(config, data=DataConfig(str(moved))), tmp_path / "run2")
    assert again.hashes["store"] == record.hashes["store"] and again.measures == record.measures
