"""Runs that train together: every folder is what the run alone would have left, whatever happens on the way."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from ltr.datasets import load
from ltr.errors import InputError
from ltr.rankers.config import TrainingConfig
from ltr.runs import (
    DataConfig,
    LossChoice,
    MethodChoice,
    RankerChoice,
    RunConfig,
    execute,
    read_record,
    resolve,
    train_stacked,
    verify,
)
from ltr.runs.systems import system_of

DATA = "synthetic:queries=30,objectives=1,features=50"
BASE = RunConfig(
    DataConfig(DATA),
    RankerChoice("mlp", {"hidden": (8,), "dropout": 0.2}),
    LossChoice("listnet"),
    TrainingConfig(epochs=6, patience=2, batch_size=8, learning_rate=0.03),
)
CONFIGS = [replace(BASE, seed=seed) for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def task():
    return load(DATA)


@pytest.fixture(scope="module")
def alone(task, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    return [execute(config, out / str(config.seed), task=task, device="cpu") for config in CONFIGS]


def folders(out, configs=CONFIGS):
    return [out / f"{i}" for i in range(len(configs))]


def finish(out, task, configs=CONFIGS):
    return [execute(c, f, task=task, device="cpu") for c, f in zip(configs, folders(out, configs), strict=True)]


def together(out, task, configs=CONFIGS, **options):
    return train_stacked(configs, folders(out, configs), task=task, device="cpu", **options)


def same(record, other):
    """Everything but times, memory and what says that it was stacked."""
    assert record.measures == other.measures and record.selection == other.selection and record.seeds == other.seeds
    assert (record.config, record.config_hash, record.command) == (other.config, other.config_hash, other.command)
    assert set(record.artefacts) == set(other.artefacts) and not verify(record.folder)
    for name in ("scores/vali.parquet", "scores/test.parquet", "per_query/vali.parquet", "per_query/test.parquet"):
        assert pq.read_table(record.folder / name).equals(pq.read_table(other.folder / name)), name
    assert record.cost["parameters"] == other.cost["parameters"]


def test_every_folder_is_that_of_the_run_alone(task, alone, tmp_path):
    heard = []
    assert together(tmp_path, task, progress=lambda *event: heard.append(event)) == (3, "")
    assert any(stage == "fit" and "3 nets together" in note for stage, _, _, note in heard)
    assert all(read_record(f).status == "running" and (f / "ranker").is_dir() for f in folders(tmp_path))
    for record, other in zip(finish(tmp_path, task), alone, strict=True):
        same(record, other)
        assert record.cost["stacked"] == 3 and "stacked" not in other.cost
        assert record.cost["attempts"] == 1 and not (record.folder / "checkpoints").exists()
    assert len({record.cost["fit_seconds"] for record in finish(tmp_path, task)}) == 1  # a third each
    assert together(tmp_path, task) == (0, "")  # nothing waits


def test_only_those_who_are_missing_train(task, alone, tmp_path):
    execute(CONFIGS[1], tmp_path / "1", task=task, device="cpu")
    before = (tmp_path / "1" / "record.json").read_bytes()
    assert together(tmp_path, task) == (2, "")
    records = finish(tmp_path, task)
    assert [r.cost.get("stacked") for r in records] == [2, None, 2]
    assert (tmp_path / "1" / "record.json").read_bytes() == before
    for record, other in zip(records, alone, strict=True):
        same(record, other)


def test_who_began_alone_ends_alone(task, alone, tmp_path):
    def stop(stage, done, *_):
        if stage == "fit" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(CONFIGS[0], tmp_path / "0", task=task, device="cpu", progress=stop)
    assert together(tmp_path, task) == (2, "")
    records = finish(tmp_path, task)
    assert [r.cost.get("stacked") for r in records] == [None, 2, 2]
    same(records[0], alone[0])


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit], ids=["Ctrl-C", "killed"])
def test_a_stopped_stack_continues(task, alone, tmp_path, how):
    def stop(stage, done, *_):
        if stage == "fit" and done == 3:
            raise how

    with pytest.raises(how):
        together(tmp_path, task, progress=stop)
    status = "interrupted" if how is KeyboardInterrupt else "running"
    assert [read_record(f).status for f in folders(tmp_path)] == [status] * 3
    epochs = []
    assert together(tmp_path, task, progress=lambda stage, done, *_: epochs.append(done)) == (3, "")
    assert epochs[0] == 4, "the epochs before it was stopped are not repeated"
    for record, other in zip(finish(tmp_path, task), alone, strict=True):
        same(record, other)


def test_a_stopped_stack_that_lost_a_member_begins_anew(task, alone, tmp_path):
    def stop(stage, done, *_):
        if stage == "fit" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        together(tmp_path, task, progress=stop)
    execute(CONFIGS[2], tmp_path / "2", task=task, device="cpu")
    assert together(tmp_path, task) == (2, "")
    for record, other in zip(finish(tmp_path, task), alone, strict=True):
        same(record, other)


def test_what_makes_no_stack_runs_one_by_one(task, tmp_path):
    rates = (0.001, 1e30)
    wild = [
        replace(c, loss=LossChoice("mse"), training=replace(BASE.training, optimiser="sgd", learning_rate=r))
        for c, r in zip(CONFIGS, rates, strict=False)
    ]
    trained, why = together(tmp_path, task, wild)
    assert trained == 0 and "diverged" in why
    records = finish(tmp_path, task, wild)
    assert [r.status for r in records] == ["done", "failed"] and "diverged" in records[1].reason
    other = [CONFIGS[0], replace(CONFIGS[1], ranker=RankerChoice("mlp", {"hidden": (4,)}))]
    trained, why = together(tmp_path / "b", task, other)
    assert trained == 0 and "config" in why
    assert [r.status for r in finish(tmp_path / "b", task, other)] == ["done", "done"]


def test_a_folder_that_is_no_run_is_left_to_its_own_error(task, tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "notes.txt").write_text("mine")
    trained, why = together(tmp_path, task)
    assert trained == 0 and "no run" in why
    execute(CONFIGS[0], tmp_path / "0", task=task, device="cpu")
    with pytest.raises(InputError, match="no run"):
        execute(CONFIGS[1], tmp_path / "1", task=task, device="cpu")


def test_candidates_are_a_stack_and_their_losses_too(task, tmp_path):
    changed = [{"learning_rate": 0.01}, {"weight_decay": 0.01}, {}]
    configs = [replace(BASE, training=replace(BASE.training, **each)) for each in changed]
    configs[2] = replace(configs[2], loss=LossChoice("ranknet"))
    assert together(tmp_path, task, configs) == (3, "")
    for i, record in enumerate(finish(tmp_path, task, configs)):
        same(record, execute(configs[i], tmp_path / f"alone{i}", task=task, device="cpu"))


def test_which_configs_one_stack_can_train():
    key = lambda **changes: system_of(resolve(replace(BASE, **changes))).stack_key  # noqa: E731
    ours = key()
    training = replace(BASE.training, learning_rate=0.5, weight_decay=0.1)
    assert ours == key(seed=5) == key(training=training) == key(loss=LossChoice("mse"))
    assert ours != key(ranker=RankerChoice("mlp", {"hidden": (9,)}))
    assert ours != key(training=replace(BASE.training, epochs=7))
    assert ours != key(data=DataConfig(DATA, objective="relevance"))
    assert key(ranker=RankerChoice("lightgbm"), loss=None, training=None) is None
    methods = RunConfig(DataConfig(DATA, objectives=("relevance", "quality")), method=MethodChoice("ls"))
    assert system_of(methods).stack_key is None
