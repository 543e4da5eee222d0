"""Suites in object stores: what is uploaded whole is there, and nothing else; every run is done once; tables are those
of a folder, byte for byte."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from fsspec.registry import known_implementations
from test_bench_workers import DATA, SCRIPT, TABLES, prepared, suite_of, tables, until
from warm import Warm

from ltr.bench import run_suite, status, work_suite
from ltr.bench.execution.cells import name_of
from ltr.bench.execution.store_cells import StoreCells
from ltr.bench.object_store import ObjectStore
from ltr.bench.suite import Suite, System, Tuning, check
from ltr.cli import main
from ltr.errors import InputError
from ltr.runs import execute


@pytest.fixture
def url(request) -> str:
    """A store of this process, empty."""
    name = f"memory://{request.node.name}/run"
    yield name
    ObjectStore(name).files.store.clear()


@pytest.fixture(scope="module", autouse=True)
def no_pages():
    """Pages are drawn where a test asks for them: they take most of a small suite's time."""

    def page(out, console=None):
        (out / "report" / "report.md").write_text("")
        return out / "report" / "report.md"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ltr.bench.run.report", page)
        yield


@pytest.fixture(scope="module")
def alone(tmp_path_factory, no_pages) -> Path:
    """The suite in a folder, by one worker."""
    out = tmp_path_factory.mktemp("alone")
    run_suite(suite_of(), out, progress=False)
    return out


def tables_at(url: str) -> dict[str, bytes]:
    return {name: ObjectStore(url).read(f"report/{name}") for name in TABLES}


def claims(url: str) -> list[str]:
    return [name for name in ObjectStore(url).list() if "/claim-" in name]


def test_a_suite_in_a_store(alone, url, monkeypatch, capsys):
    """Run, asked for, reported and run again; in it lies what lies in a folder, file by file."""
    assert run_suite(suite_of(), url, progress=False) is not None
    assert tables_at(url) == tables(alone) and claims(url) == []
    there = {path.relative_to(alone).as_posix() for path in alone.rglob("*") if path.is_file()}
    runs = {name for name in there if name.startswith("runs/") and "/." not in name}
    assert {name for name in ObjectStore(url).list() if name.startswith("runs/")} == runs
    assert main(["bench", "status", url, "--json"]) == 0 and '"done": 4' in capsys.readouterr().out
    assert main(["bench", "report", url, "-q"]) == 0 and f"wrote {url}/report/report.md" in capsys.readouterr().err
    assert b"Random" in ObjectStore(url).read("report/report.md") and ObjectStore(url).exists("report/report.html")
    monkeypatch.setattr("ltr.runs.execute", None)  # whoever runs again fails
    run_suite(suite_of(), url, progress=False)
    assert tables_at(url) == tables(alone)


def test_tuning_in_a_store(url):
    """Closed by one worker; what it chose, and the chosen run that is copied, are there for all."""
    grid = {"training.learning_rate": [0.0001, 0.3]}
    linear = (System("Linear", "linear", losses=("listnet",), grid=grid),)
    suite = check(Suite("T", (DATA,), linear, name="t", training={"epochs": 1}, tuning=Tuning(points=2)))
    prepared(suite, url)
    assert [work_suite(url, progress=False) for _ in range(2)] == [2, 0], "the reported run is the chosen one, copied"
    store = ObjectStore(url)
    assert store.exists("chosen.toml") and claims(url) == []
    runs: dict[str, dict[str, bytes]] = {}
    for name in store.list():
        folder, found, inner = name.partition("/seed0/")
        if found:
            runs.setdefault(folder, {})[inner] = store.read(name)
    (reported,) = [files for folder, files in runs.items() if folder.startswith("runs/")]
    assert "DONE" in reported and len(runs) == 3 and list(runs.values()).count(reported) == 2


def test_two_processes(alone, tmp_path):
    """One is in its first run while the other does the rest. A folder stands for the store: all that is used of it are
    an object store's verbs."""
    url, script = f"file://{tmp_path}/store", tmp_path / "worker.py"
    script.write_text(SCRIPT)
    prepared(suite_of(), url)

    def go():
        until(lambda: status(url).runs["runs"].get("done") == 3)
        (tmp_path / "go").touch()

    with Warm([script, "first", 3600, url, tmp_path]) as other:
        until((tmp_path / "first.at").is_file)
        assert status(url).hosts == {"first": 1} and status(url).runs["runs"] == {"running": 1, "waiting": 3}
        threading.Thread(target=go).start()
        assert work_suite(url, progress=False) == 3
        assert other.end()[:2] == (0, "1\n")
    assert claims(url) == [] and status(url).runs == {"runs": {"done": 4}}
    run_suite(suite_of(), url, progress=False)
    assert tables_at(url) == tables(alone)


def test_an_upload_that_is_stopped_before_done(alone, url, monkeypatch):
    """It does not count, the run is given back, and done again."""
    jobs, put, stopped = prepared(suite_of(), url), ObjectStore.put, []

    def stopping(store, path, name):
        if name.endswith("/DONE") and not stopped:
            stopped.append(name)
            raise KeyboardInterrupt
        put(store, path, name)

    monkeypatch.setattr(ObjectStore, "put", stopping)
    with pytest.raises(KeyboardInterrupt):
        work_suite(url, progress=False)
    folder = stopped[0].removesuffix("/DONE")
    assert ObjectStore(url).exists(f"{folder}/record.json") and folder in {job.folder for job in jobs}
    assert status(url).runs == {"runs": {"waiting": 4}} and claims(url) == []
    run_suite(suite_of(), url, progress=False)
    assert tables_at(url) == tables(alone)


def test_a_claim_whose_heart_stands_still(url, tmp_path, monkeypatch):
    """It passes to another after the length of a lease on that one's clock; who slept drops what it made."""
    (job, *_) = prepared(suite_of(), url)
    sleeper, heir = (StoreCells(tmp_path / name, 0.6, url=url) for name in ("sleeper", "heir"))
    mine = sleeper.take(job.folder)
    (mine.place / "DONE").write_text("the sleeper's")
    assert sleeper.owners()[name_of(job.folder)][1] > 0 and heir.take(job.folder) is None
    monkeypatch.setattr(time, "time", lambda: 0.0)  # no clock of a wall is asked
    time.sleep(1.3)
    assert heir.newly_held(job.folder), "its heart beats"
    mine.lease._over.set()  # asleep
    until, cell = time.monotonic() + 60, None
    while cell is None and time.monotonic() < until:
        time.sleep(0.2)
        cell = heir.take(job.folder)
    assert cell.lost and cell.mine() and not mine.mine()
    assert not mine.put() and not ObjectStore(url).exists(f"{job.folder}/DONE")
    (cell.place / "DONE").write_text("the heir's")
    assert cell.put() and ObjectStore(url).read(f"{job.folder}/DONE") == b"the heir's"
    assert heir.ended(job.folder) and sleeper.take(job.folder) is None
    late = StoreCells(tmp_path / "late", 0.6, url=url)
    assert late.ended(job.folder) and late.hold(name_of(job.folder)).number > 3, "numbers are not used again"


def test_one_of_many_gets_a_run(url, tmp_path, monkeypatch):
    """However old their listings are; a store that gives it to two is refused."""
    (job, *_) = prepared(suite_of(), url)
    several = [StoreCells(tmp_path / str(k), url=url) for k in range(3)]
    assert not any(cells.newly_held(job.folder) for cells in several)  # all have listed
    got = [cells.take(job.folder) for cells in several]
    assert [cell is not None for cell in got] == [True, False, False]
    (got[0].place / "config.toml").write_text("")
    assert got[0].put() and ObjectStore(url).list(job.folder) == {}, "not finished, not uploaded"
    again = several[0].take(job.folder)
    assert (again.place / "config.toml").is_file(), "this machine goes on with what it has"
    again.put()
    monkeypatch.setattr(ObjectStore, "create", lambda *_: True)
    with pytest.raises(InputError, match="lets two make the same file"):
        StoreCells(tmp_path / "other", url=url).take(job.folder)


def test_failures_are_told_to_all(url, monkeypatch):
    jobs = prepared(suite_of(), url)

    def failing(config, folder, **options):
        if config.seed == 1:
            raise OSError("the disk is away")
        if config.ranker.name == "feature":
            return execute(config, folder, **{**options, "task": None, "device": "nowhere"})
        return execute(config, folder, **options)

    monkeypatch.setattr("ltr.runs.execute", failing)
    results = run_suite(suite_of(), url, progress=False)
    assert list(results.failures.status[results.failures.status != "truth"]) == ["failed", "failed"]
    assert status(url).runs == {"runs": {"done": 2, "failed": 2}}
    marks = [name for name in ObjectStore(url).list(".cells") if "again-" in name]
    assert len(marks) == 3 and all(name.startswith(f".cells/{name_of(jobs[1].folder)}/") for name in marks)
    monkeypatch.undo()
    run_suite(suite_of(), url, progress=False)
    assert status(url).runs == {"runs": {"done": 4}}, "somebody asked again"


def test_messages(url, monkeypatch, capsys):
    monkeypatch.setitem(
        known_implementations, "away", {"class": "no_such_package.Away", "err": "Install no_such_package"}
    )
    for words, said in (
        (["status", "away://bucket/run"], ["away:// needs a package that is not installed", "Install no_such_package"]),
        (["status", "nothing://x"], ["no such object store", "s3://"]),
        (["work", url], ["no plan of a suite", url]),
        (["report", url], ["no results of a suite here", url]),
    ):
        assert main(["bench", *words]) == 2
        told = capsys.readouterr().err
        assert all(each in told for each in said) and "/ltr-" not in told, told

    def away(*_, **__):
        raise ConnectionError("connection refused")

    monkeypatch.setattr(type(ObjectStore(url).files), "find", away)
    assert main(["bench", "status", url]) == 2
    assert "does not answer: ConnectionError: connection refused" in capsys.readouterr().err
    with pytest.raises(InputError, match="of one process"):
        monkeypatch.undo()
        run_suite(suite_of(), url, workers=2, progress=False)
