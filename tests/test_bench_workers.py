"""Many workers on one suite: every run is done once, whoever dies, sleeps or is told to stop, and the tables are those
of one worker, byte for byte."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import Pipe
from pathlib import Path

import pytest
from warm import Warm

from ltr.atomic import lock
from ltr.bench import Engine, run_suite, status, work_suite
from ltr.bench.execution.cells import TRIES, Cells, name_of
from ltr.bench.execution.plan_file import read_plan
from ltr.bench.execution.pool import WorkerPool, environment_of
from ltr.bench.execution.workers import Setting, Worker
from ltr.bench.suite import Limits, Suite, System, Tuning, check
from ltr.bench.suite.plan import main_jobs
from ltr.cli import main
from ltr.errors import InputError
from ltr.runs import execute, read_record

pytestmark = pytest.mark.usefixtures("no_pictures")

DATA = "synthetic:queries=30,objectives=1,features=50"
TABLES = ("results.parquet", "per_query.parquet", "curves.parquet", "suite.toml")


def suite_of(seeds: int = 3, **options) -> Suite:
    systems = (System("Random", "random", baseline=True), System("Feature", "feature", seeds=(0,)))
    limits = Limits(workers=1)
    return check(Suite("W", (DATA,), systems, name="w", seeds=tuple(range(seeds)), limits=limits, **options))


def prepared(suite: Suite, out: Path, lease: float = 60.0) -> list:
    """The jobs of a suite that is prepared in `out`."""
    assert run_suite(suite, out, engine=Engine("local", 0), lease=lease, progress=False) is None
    return main_jobs(suite, {DATA: ("Fold1",)})


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / "report" / name).read_bytes() for name in TABLES}


def left_behind(out: Path) -> list[str]:
    return [path.name for path in (out / ".cells").iterdir() if path.suffix != ".failed" and path.name != "tuned"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The suite, by one worker."""
    out = tmp_path_factory.mktemp("alone")
    run_suite(suite_of(), out, progress=False)
    return out


# ------------------------------------------------------------------------------------------ machines that die or sleep

# A worker that says it is another machine. It stops in its first run until `go` is there.
SCRIPT = """
import os, socket, sys, time
host, ahead, out, here = sys.argv[1], float(sys.argv[2]), sys.argv[3], sys.argv[4]
now, touch = time.time, os.utime
socket.gethostname = lambda: host
if ahead:
    time.time = lambda: now() + ahead
    os.utime = lambda path, *args, **kwargs: touch(path, times=(time.time(), time.time()))
import ltr.runs
from ltr.bench import work_suite
execute, begun = ltr.runs.execute, []

def gated(config, folder, **options):
    if not begun and host != "third":
        begun.append(folder)
        begin = ltr.runs.execution.begun(ltr.runs.resolve(config), folder, "cpu", 1)
        open(f"{here}/{host}.at", "w").close()
        while not os.path.exists(f"{here}/go"):
            time.sleep(0.01)
    return execute(config, folder, **options)

ltr.runs.execute = gated
print(work_suite(out, progress=False), flush=True)
"""


def until(true, seconds: float = 250.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def apart() -> bool:
    """Whether the system permits a process a network of its own, with nobody in it."""
    words = ["unshare", "--map-root-user", "--net", "true"]
    return shutil.which("unshare") is not None and subprocess.run(words, capture_output=True).returncode == 0


def test_a_machine_that_dies_and_one_that_sleeps(alone, tmp_path):
    """Of three machines that share a folder and no network, the first dies in its first run (its clock is an hour
    ahead), the second sleeps in its own past the end of its lease, and wakes when the third has done everything."""
    out, script = tmp_path / "out", tmp_path / "worker.py"
    script.write_text(SCRIPT)
    prepared(suite_of(), out, lease=1.0)
    alone_in_it = apart()

    def machine(host, ahead):
        return Warm([script, host, ahead, out, tmp_path], apart=alone_in_it)

    with machine("first", 3600) as first, machine("second", 0) as second:
        until(lambda: (tmp_path / "first.at").is_file() and (tmp_path / "second.at").is_file())
        held = status(out)
        assert held.hosts == {"first": 1, "second": 1} and held.runs["runs"] == {"running": 2, "waiting": 2}
        os.kill(first.pid, signal.SIGKILL)
        os.kill(second.pid, signal.SIGSTOP)
        with machine("third", -3600) as third:
            code, said, err = third.end()
        assert (code, said) == (0, "4\n"), err
        done = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*/*/DONE")}
        assert len(done) == 4
        (tmp_path / "go").touch()
        os.kill(second.pid, signal.SIGCONT)
        assert second.end()[:2] == (0, "0\n"), "what it made is dropped"
    assert done == {path: path.stat().st_mtime_ns for path in out.glob("runs/*/*/*/*/DONE")}
    assert left_behind(out) == [] and status(out).runs == {"runs": {"done": 4}}
    run_suite(suite_of(), out, progress=False)
    assert tables(out) == tables(alone)


def test_a_place_that_passed_to_another_cannot_be_written_to_the_end(tmp_path):
    """Whatever the sleeper does after it woke: nothing of it reaches the run's folder."""
    (job, *_) = prepared(suite_of(), tmp_path)
    sleeper, heir = Cells(tmp_path, 0.5), Cells(tmp_path, 0.5)
    mine = sleeper.take(job.folder)
    (mine.place / "config.toml").write_text("")
    mine.lease._stop_heartbeat()  # asleep
    assert heir.take(job.folder) is None, "not before it was seen to stand still for the whole lease"
    found = []
    until(lambda: found.append(heir.take(job.folder)) or found[-1] is not None)
    assert found[-1].lost and (found[-1].place / "config.toml").is_file()
    assert not mine.place.exists() and not mine.mine()
    (mine.place / "scores").mkdir(parents=True)  # it wakes, and writes on
    assert not mine.put() and not (tmp_path / job.folder).exists() and not mine.place.exists()


def test_a_clock_an_hour_off_takes_and_loses_no_lease(tmp_path, monkeypatch):
    """Whoever holds it writes times of an hour ahead or behind; another sees a living one beat and a dead one stand."""
    (job, *_) = prepared(suite_of(), tmp_path)
    touch = os.utime
    for ahead in (3600, -3600):
        monkeypatch.setattr(os, "utime", lambda file, *_, a=ahead, **__: touch(file, times=(time.time() + a,) * 2))
        holder, other = Cells(tmp_path, 0.6), Cells(tmp_path, 0.6)
        lease = holder.take(job.folder).lease
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            assert other.take(job.folder) is None and lease.mine()
            time.sleep(0.05)
        lease._stop_heartbeat()
        found = []
        until(lambda other=other, found=found: found.append(other.take(job.folder)) or found[-1] is not None)
        assert found[-1].lost and not lease.mine()
        found[-1].put()


# -------------------------------------------------------------------------------------------- failures, and being told


def test_three_failures_are_a_failure_and_come_last(tmp_path, monkeypatch):
    jobs, tried, events = prepared(suite_of(), tmp_path), [], []

    def failing(config, folder, **options):
        tried.append((config.ranker.name, config.seed))
        if tried[-1] == ("random", 1):
            raise OSError("the disk is away")
        if tried[-1] == ("random", 2) and tried.count(tried[-1]) < 3:
            raise RuntimeError("once more")
        if tried[-1] == ("feature", 0):
            raise InputError("this comes again")
        return execute(config, folder, **options)

    monkeypatch.setattr("ltr.runs.execute", failing)
    Worker(Setting(tmp_path, device="cpu"), send=events.append).work([(job,) for job in jobs])
    first = [("random", 0), ("random", 1), ("random", 2), ("feature", 0)]
    assert tried[:4] == first and sorted(tried[4:]) == [("random", 1)] * 2 + [("random", 2)] * 2
    ends = {(e.job.config.ranker.name, e.job.seed): e.status for e in events if e.kind == "end"}
    assert ends == dict(zip(first, ("done", "failed", "done", "failed")))
    assert status(tmp_path).runs == {"runs": {"done": 2, "failed": 2}}
    monkeypatch.undo()
    assert left_behind(tmp_path) == []
    run_suite(suite_of(), tmp_path, progress=False)
    assert status(tmp_path).runs == {"runs": {"done": 4}}, "somebody asked again"


@pytest.mark.parametrize("late", [False, True], ids=["told to stop", "time is up"])
def test_who_is_told_to_stop_has_not_failed(tmp_path, monkeypatch, late):
    jobs = prepared(suite_of(), tmp_path)
    setting = Setting(tmp_path, device="cpu", until=time.monotonic() + 3600)

    def stopped(config, folder, progress, **options):
        if config.seed == 1:
            if not late:
                raise KeyboardInterrupt
            monkeypatch.setattr(Setting, "late", True)
            progress("fit", 0, 1, "")
        return execute(config, folder, progress=progress, **options)

    monkeypatch.setattr("ltr.runs.execute", stopped)
    worker = Worker(setting)
    if late:
        worker.work([(job,) for job in jobs])
    else:
        with pytest.raises(KeyboardInterrupt):
            worker.work([(job,) for job in jobs])
    assert worker.cells.tries(jobs[1].folder) == 0 and left_behind(tmp_path) == []
    assert status(tmp_path).runs["runs"] == {"done": 1, "waiting": 3}


def test_a_run_that_loses_its_workers_fails(tmp_path):
    """The third worker that dies at it leaves a record that says so."""
    (job, *_) = prepared(suite_of(), tmp_path)
    take = "from ltr.bench.execution.cells import Cells; import os, sys; from pathlib import Path\n"
    take += "assert Cells(Path(sys.argv[1])).take(sys.argv[2]) is not None; os._exit(9)"
    events = []
    for turn in range(TRIES):
        subprocess.run([sys.executable, "-c", take, str(tmp_path), job.folder], check=False)
        worker = Worker(Setting(tmp_path, device="cpu"), send=events.append)
        cell = worker._take(job)
        assert (cell is None) == (turn > 0), "alone, from the second time on"
        if cell is not None:
            cell.put()
    assert [event.status for event in events] == ["failed"]
    record = read_record(tmp_path / job.folder)
    assert record.status == "failed" and "3 times" in record.reason and worker.cells.ended(job.folder)


def test_a_run_that_another_process_trains_is_left_to_it(tmp_path):
    (job, *_) = prepared(suite_of(), tmp_path)
    cells = Cells(tmp_path)
    with lock(tmp_path / job.folder):
        assert cells.take(job.folder) is None
    cell = cells.take(job.folder)
    assert cell is not None and cells.owners() == {name_of(job.folder): (os.uname().nodename, os.getpid())}
    assert cell.put() and cells.owners() == {} and not (tmp_path / job.folder / "DONE").exists()


def test_one_worker_closes_tuning(tmp_path, monkeypatch):
    """Whoever comes when tuning is closed reads what was chosen; who comes before waits for its runs."""
    grid = {"training.learning_rate": [0.0001, 0.3]}
    linear = (System("Linear", "linear", losses=("listnet",), grid=grid),)
    suite = check(Suite("T", (DATA,), linear, name="t", training={"epochs": 1}, tuning=Tuning(points=2)))
    assert run_suite(suite, tmp_path, engine=Engine("local", 0), progress=False) is None
    _, pieces = read_plan(tmp_path)
    assert [piece.stage for piece in pieces] == ["tuning", "tuning", "runs"]
    assert work_suite(tmp_path, progress=False) == 2, "the reported run is the chosen one, copied"
    before = (tmp_path / "chosen.toml").read_bytes()
    monkeypatch.setattr("ltr.bench.execution.launch.choose", None)  # whoever chooses again fails
    assert work_suite(tmp_path, progress=False) == 0
    assert (tmp_path / "chosen.toml").read_bytes() == before and status(tmp_path).runs["runs"] == {"done": 1}


def test_what_a_worker_says_of_the_folder_is_said(tmp_path, monkeypatch):
    """Once, and the others are not started again."""
    jobs = prepared(suite_of(), tmp_path)

    def started(pool):
        ours, theirs = Pipe()
        theirs.send(InputError("the store does not answer"))
        pool.alive[ours] = (len(pool.alive), None)
        return ours

    monkeypatch.setattr(WorkerPool, "_start", started)
    pool = WorkerPool(Setting(tmp_path), 2)
    with pytest.raises(InputError, match="^the store does not answer$"):
        pool.work(jobs, print)
    for pipe in pool.alive:
        pipe.close()


# -------------------------------------------------------------------------------------------------------------- engines


def test_workers_of_dask(alone, tmp_path):
    distributed = pytest.importorskip("distributed", reason="needs the extra dask")
    cluster = {"n_workers": 2, "threads_per_worker": 1, "processes": True, "dashboard_address": None}
    with distributed.LocalCluster(**cluster, silence_logs=50) as found:
        engine = Engine("dask", 2, {"address": found.scheduler_address}, {"device": "cpu"})
        run_suite(suite_of(), tmp_path, engine=engine, progress=False)
    assert tables(tmp_path) == tables(alone) and left_behind(tmp_path) == []


def test_workers_of_submitit(alone, tmp_path):
    pytest.importorskip("submitit", reason="needs the extra slurm")
    words = ["--engine", "submitit", "--copies", "2", "--engine.cluster", "local", "--engine.timeout_min", "10"]
    (tmp_path / "w.toml").write_text((alone / "report" / "suite.toml").read_text())
    assert main(["bench", "run", str(tmp_path / "w.toml"), "--out", str(tmp_path / "out"), "-q", *words]) == 0
    assert {n: t for n, t in tables(tmp_path / "out").items() if n != "suite.toml"} == {
        n: t for n, t in tables(alone).items() if n != "suite.toml"
    }
    assert len(list((tmp_path / "out" / ".cells" / "submitit").glob("*_result.pkl"))) == 2


def test_workers_that_all_end_early_are_said(tmp_path, monkeypatch):
    def over(out, engine, work):
        return (lambda: ["no such partition"]), lambda: None

    monkeypatch.setattr("ltr.bench.execution.engines._submitit", over)
    with pytest.raises(InputError, match=r"4 runs have not.*no such partition"):
        run_suite(suite_of(), tmp_path, engine=Engine("submitit", 2), progress=False)


# ---------------------------------------------------------------------------------------------------- the command line


def test_words_of_the_command_line(tmp_path, capsys, monkeypatch):
    asked = {}
    monkeypatch.setattr("ltr.bench.run_suite", lambda suite, out, **options: asked.update(options))
    monkeypatch.setattr("ltr.bench.work_suite", lambda out, **options: asked.update(options) or 0)
    words = "bench run x --engine submitit --copies 3 --engine.slurm_partition cpu --gpus 0 1 --per-gpu 2"
    assert main(words.split()) == 0
    engine = asked["engine"]
    assert (engine.name, engine.copies, engine.options) == ("submitit", 3, {"slurm_partition": "cpu"})
    assert engine.work["gpus"] == ("0", "1", "0", "1")
    assert main("bench run x --copies 2".split()) == 0 and asked["workers"] == 2 and asked["engine"] is None
    assert main("bench work y --until 225m --workers 2".split()) == 0 and asked["until"] == 225 * 60
    for words, said in (
        ("bench run x --engine.slurm_partition cpu", "no such options"),
        ("bench work y --until soon", "90s, 225m or 6h"),
        ("bench run x --per-gpu 0", "--per-gpu is out of range"),
        (f"bench status {tmp_path}", "no plan of a suite"),
    ):
        assert main(words.split()) == 2
        assert said in capsys.readouterr().err


def test_status_on_the_terminal(alone, capsys):
    assert main(["bench", "status", str(alone)]) == 0
    told = capsys.readouterr().out
    assert "done" in told and "runs" in told
    assert main(["bench", "status", str(alone), "--json"]) == 0
    assert '"done": 4' in capsys.readouterr().out


def test_each_worker_sees_its_gpu():
    setting = Setting(Path("out"), threads=3, gpus=("0", "0", "5"))
    seen = [environment_of(setting, number) for number in range(4)]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in seen] == ["0", "0", "5", "0"]
    assert all(each["OMP_NUM_THREADS"] == "3" for each in seen)
    assert "CUDA_VISIBLE_DEVICES" not in environment_of(Setting(Path("out")), 0)
