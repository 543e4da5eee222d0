"""A suite's folder over many calls: nothing finished is forgotten, nothing damaged is believed, nothing is done twice,
and what another process does is left to it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from warm import Warm

from ltr.atomic import lock
from ltr.bench import load_results, report, run_suite
from ltr.bench.analysis.oracle import BEST_POSSIBLE
from ltr.bench.suite import load_suite
from ltr.bench.suite.plan import main_jobs
from ltr.cli import main
from ltr.runs import read_record
from ltr.schema import read_toml

pytestmark = pytest.mark.usefixtures("no_pictures")

DATA = "synthetic:queries=30,objectives=1,features=50"
FOLDS = {DATA: ("Fold1",)}
TEXT = f"""
title = "A small suite"
datasets = ["{DATA}"]
seeds = [0, 1]
measures = ["nDCG@10", "AP"]

[training]
epochs = 2

[tuning]
points = 2

[limits]
workers = 1

[[systems]]
label = "Linear"
ranker = "linear"
losses = ["listnet", "ranknet"]
grid = {{ "training.learning_rate" = [0.0001, 0.3] }}

[[systems]]
label = "Feature"
ranker = "feature"
baseline = true
seeds = [0]
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("suite") / "small.toml"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def whole(file, tmp_path_factory):
    """The suite, run by one call."""
    out = tmp_path_factory.mktemp("whole")
    return out, run_suite(file, out, progress=False)


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    shutil.copytree(whole[0], tmp_path / "copy")
    return tmp_path / "copy"


def folder_of(out: Path, system: str, seed: int = 0) -> Path:
    job = next(j for j in main_jobs(load_suite_of(out), FOLDS) if (j.system, j.seed) == (system, seed))
    return out / job.folder


def load_suite_of(out: Path):
    return load_results(out).suite


def rows(results) -> set[tuple[str, int, str]]:
    runs = results.runs[results.runs.status != "truth"]
    return set(zip(runs.system, runs.seed, runs.status, strict=True))


def ordered(values):
    keys = ["system", "fold", "seed", "split", "measure"]
    return values[values.system != BEST_POSSIBLE].sort_values(keys, ignore_index=True)


# ---------------------------------------------------------------------------------------------- nothing is forgotten


def test_a_page_shows_what_earlier_calls_did(file, whole, tmp_path):
    """System by system, seed by seed: what was finished stays on the page, and at the end it is that of one call."""
    out = tmp_path / "out"
    first = run_suite(file, out, only=["Linear listnet"], seeds=[0], progress=False)
    assert rows(first) == {("Linear listnet", 0, "done")} and first.suite.seeds == (0,)
    assert first.environment["command"].endswith("small.toml --seeds 0 --only 'Linear listnet' --out out")
    second = run_suite(file, out, only=["feature"], progress=False)
    assert rows(second) == {("Linear listnet", 0, "done"), ("Feature", 0, "done")}
    assert set(read_toml(out / "chosen.toml")["systems"][DATA]) == {"Linear listnet"}, "what it chose is kept"
    third = run_suite(file, out, seeds=[7], progress=False)
    names = [("Linear listnet", 0), ("Linear listnet", 7), ("Linear ranknet", 7), ("Feature", 0)]
    assert rows(third) == {(*name, "done") for name in names} and third.suite.seeds == (0, 7)
    page = (out / "report" / "report.md").read_text()
    assert "seeds 0, 7" in page and "4 of 4 runs finished" in page
    last = run_suite(file, out, progress=False)
    assert last.suite.seeds == (0, 1, 7), "seeds of the suite first"
    of_suite = last.values[last.values.seed != 7]
    pd.testing.assert_frame_equal(ordered(of_suite), ordered(whole[1].values))
    assert read_toml(out / "chosen.toml") == read_toml(whole[0] / "chosen.toml")


def test_one_call_for_all_says_no_more_than_its_suite(whole):
    out, results = whole
    assert results.suite == load_suite_of(out) and results.environment["not_shown"] == []
    assert results.suite.seeds == (0, 1) and [v.label for v in results.suite.variants()][-1] == "Feature"
    assert " --seeds" not in results.environment["command"] and " --only" not in results.environment["command"]


def test_runs_of_no_system_are_named(copy, file):
    stranger = copy / "runs" / "other-data" / "gone" / "fold1" / "seed3"
    shutil.copytree(folder_of(copy, "Feature"), stranger)
    results = run_suite(file, copy, progress=False)
    assert results.environment["not_shown"] == ["runs/other-data/gone/fold1/seed3"]
    page = (copy / "report" / "report.md").read_text()
    assert "Not on this page" in page and "runs/other-data/gone/fold1/seed3" in page


# -------------------------------------------------------------------------------------------------- nothing is believed


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def better(path: Path) -> None:
    record = json.loads(path.read_text())
    for row in record["measures"]:
        row["mean"] = 0.999
    path.write_text(json.dumps(record))


HARMS = {
    "edited": ("record.json", better),
    "no JSON": ("record.json", lambda path: path.write_text("{")),
    "types": ("record.json", lambda path: path.write_text('{"format": 1, "status": ["done"]}')),
    "done": ("DONE", lambda path: path.write_text("\x00" * 64)),
    "bit": ("per_query/test.parquet", flip),
    "empty": ("per_query/test.parquet", lambda path: path.write_bytes(b"")),
    "missing": ("per_query/test.parquet", Path.unlink),
    "history": ("ranker/training.json", lambda path: path.write_text("[]")),
}


def test_a_damaged_run_is_named_and_the_rest_of_the_page_is_written(whole, copy, file):
    folder = folder_of(copy, "Linear listnet", 1)
    values = whole[1].values
    others = values[(values.system != "Linear listnet") | (values.seed != 1)]
    for what, (name, harm) in HARMS.items():
        shutil.rmtree(folder)
        shutil.copytree(whole[0] / folder.relative_to(copy), folder)
        harm(folder / name)
        before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
        results = run_suite(file, copy, progress=False)
        assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before, f"{what}: left as it is"
        status = {(system, seed): status for system, seed, status in rows(results)}
        assert status.pop(("Linear listnet", 1)) == "damaged" and set(status.values()) == {"done"}, what
        pd.testing.assert_frame_equal(ordered(results.values), ordered(others))
        page = (copy / "report" / "report.md").read_text()
        assert "Runs without numbers" in page and "| damaged |" in page and "4 of 5 runs finished" in page, what
    shutil.rmtree(folder)
    again = run_suite(file, copy, progress=False)
    pd.testing.assert_frame_equal(ordered(again.values), ordered(values))


def test_the_command_says_that_something_is_damaged(copy, file, capsys):
    better(folder_of(copy, "Feature") / "record.json")
    assert main(["bench", "run", str(file), "--out", str(copy)]) == 1
    told = capsys.readouterr()
    assert "1 damaged" in told.err and "Delete the folder to have it run again" in told.out.replace("\n", " ")


# ------------------------------------------------------------------------------------------------ nothing is done twice


def test_nothing_to_do_is_said_at_once(copy, file, whole):
    """In little processor time, without torch, data or pictures; whatever was changed since is looked at."""
    pages = {p.name: p.read_bytes() for p in (copy / "report").iterdir()}
    code = (
        "import sys, time; from ltr.cli import main; code = main(sys.argv[1:]);"
        "print(code, [m for m in ('torch', 'matplotlib', 'scipy') if m in sys.modules], time.process_time())"
    )
    command = [sys.executable, "-c", code, "bench", "run", str(file), "--out", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said, facts = done.stdout.splitlines()[0], done.stdout.splitlines()[-1]
    assert said.startswith("Nothing to do: all 9 runs are finished. Report: ")
    assert facts.startswith("0 [] ") and float(facts.split()[-1]) < 3
    assert pages == {p.name: p.read_bytes() for p in (copy / "report").iterdir()}
    again = run_suite(file, copy, progress=False)
    pd.testing.assert_frame_equal(again.values, whole[1].values, check_dtype=False)


@pytest.mark.parametrize("change", ["page", "run", "suite", "seeds", "numbers"])
def test_something_to_do_is_done(copy, file, tmp_path, capsys, change):
    other, seeds = file, None
    if change == "page":
        (copy / "report" / "report.html").unlink()
    elif change == "run":
        shutil.rmtree(folder_of(copy, "Feature"))
    elif change == "numbers":  # by hand: the page is made of the runs again
        path = copy / "report" / "results.parquet"
        pd.read_parquet(path).assign(mean=1.5).to_parquet(path)
    elif change == "suite":
        other = tmp_path / "small.toml"
        other.write_text(TEXT.replace("A small suite", "Another title"))
    else:
        seeds = [2]
    results = run_suite(other, copy, seeds=seeds)
    told = capsys.readouterr().out
    assert "Nothing to do" not in told and (copy / "report" / "report.html").is_file()
    assert set(results.runs.status) == {"done", "truth"} and results.values["mean"].max() <= 1
    run_suite(other, copy, seeds=seeds)
    assert "Nothing to do" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------- others are left to it


def test_a_run_that_another_process_holds_is_waited_for(copy, file, monkeypatch):
    """The other process lets go while the rest is worked off: the run is done by this call."""
    from ltr.bench.execution.display import Display

    held, last = folder_of(copy, "Feature"), folder_of(copy, "Linear ranknet", 1)
    for folder in (held, last):
        shutil.rmtree(folder)
    other, shown, ended = lock(held), Display.__call__, []

    def watch(display, event):
        shown(display, event)
        if event.kind == "end":
            ended.append(event.job.system)
        if ended == ["Linear ranknet"]:
            other.__exit__(None, None, None)

    monkeypatch.setattr(Display, "__call__", watch)
    other.__enter__()
    results = run_suite(file, copy, progress=False)
    assert ended == ["Linear ranknet", "Feature"] and set(results.runs.status) == {"done", "truth"}


SCRIPT = """
import multiprocessing, sys
from ltr.bench.execution.display import Display
from ltr.bench import run_suite

def tell(display, event):
    if event.kind == "progress" and event.stage == "fit":
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)

Display.__call__ = tell
if __name__ == "__main__":
    run_suite(sys.argv[1], sys.argv[2], workers=2)
"""


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc to see who is alive")
def test_workers_end_with_their_launcher(tmp_path):
    """Killed without a chance to say goodbye: the workers are gone in seconds, not after their trainings."""
    (tmp_path / "long.toml").write_text(
        f'title = "Long"\ndatasets = ["{DATA}"]\nseeds = [0, 1]\ntraining = {{ epochs = 1_000_000, patience = 0 }}\n'
        '[[systems]]\nlabel = "Linear"\nranker = "linear"\nlosses = ["listnet"]\n'
    )
    (tmp_path / "run.py").write_text(SCRIPT)
    with Warm(["run.py", "long.toml", "out"], cwd=tmp_path) as launcher:
        workers = [int(word) for word in launcher.line().split()]
        os.kill(launcher.pid, signal.SIGKILL)
        assert launcher.end()[0] == -signal.SIGKILL
    until = time.monotonic() + 30
    while any(alive(pid) for pid in workers) and time.monotonic() < until:
        time.sleep(0.1)
    left = [pid for pid in workers if alive(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert len(workers) == 2 and left == []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_report_is_written_from_what_a_call_left(copy, tmp_path):
    report(copy, tmp_path / "again", draws=50)
    assert load_results(tmp_path / "again").suite == load_suite_of(copy)
    assert read_record(folder_of(copy, "Feature")).done and load_suite("quickstart").title


def test_data_that_changed_are_not_mixed_with_those_of_before(tmp_path):
    """New runs on a file that was written to fail with the reason; those that are done keep their numbers."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"query": np.repeat(np.arange(12), 5), "label": rng.integers(0, 3, 60), "x": rng.normal(size=60)}
    )
    for split in ("train", "vali", "test"):
        table.to_csv(tmp_path / f"{split}.csv", index=False)
    (tmp_path / "s.toml").write_text(
        TEXT.replace(DATA, str(tmp_path)).replace('losses = ["listnet", "ranknet"]', 'losses = ["listnet"]')
    )
    run_suite(tmp_path / "s.toml", tmp_path / "out", seeds=[0], workers=1, progress=False)
    before = read_record(next((tmp_path / "out" / "runs").rglob("feature/*/*/DONE")).parent)
    table.assign(label=table.label.to_numpy()[::-1]).to_csv(tmp_path / "train.csv", index=False)
    runs = run_suite(tmp_path / "s.toml", tmp_path / "out", workers=1, progress=False).runs
    failed = runs[runs.status == "failed"]
    assert len(failed) == 1 and failed.seed.item() == 1 and (runs.status == "done").sum() == 2
    assert "holds other data than the run in runs" in failed.reason.item()
    assert read_record(before.folder).measures == before.measures
