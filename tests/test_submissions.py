"""The open board: a submission is measured here or refused, and the site comes from files alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from made_fronts import made_fronts, made_samples
from made_results import NDCG, made_results, three_systems
from test_report import Page

from ltr import schema
from ltr.atomic import sha256
from ltr.bench import leaderboard, run_suite
from ltr.bench.analysis import submission
from ltr.bench.analysis.mean_ranks import critical_difference, mean_ranks
from ltr.bench.analysis.results import load_results
from ltr.bench.analysis.samples import write_samples
from ltr.bench.pages.board_site import build
from ltr.bench.pages.explorer import unpack
from ltr.bench.suite import Suite, System
from ltr.bench.suite import check as checked_suite
from ltr.cli import main
from ltr.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
DATA = "synthetic:queries=150,objectives=1,features=50"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A board of two datasets and three systems, and a submission with its config."""
    home = tmp_path_factory.mktemp("board") / "benchmarks" / "board"
    systems = (System("Feature", "feature", baseline=True, seeds=(0,)), System("Random", "random", baseline=True))
    facts = {"name": "board", "seeds": (0, 1), "measures": ("nDCG@10", "AP")}
    suite = checked_suite(Suite("A board", (DATA, DATA.replace("150", "30")), systems, **facts))
    run_suite(suite, home / "out", workers=1, progress=False)
    versions = [{"version": "1.0", "date": "2026-11-30", "what": "Two datasets."}]
    facts = {"title": "A board of <two>", "results": ["out"], "versions": versions}
    schema.write_toml(home / "board.toml", facts)
    folder = home / "submissions" / "net"
    folder.mkdir(parents=True)
    words = ["--data", DATA, "--data.fold", "Fold1", "--ranker", "feature"]
    assert main(["train", *words, "--out", str(home / "run"), "-q"]) == 0
    assert main(["export", str(home / "run"), "--as", "run", "--out", str(folder / "net.run")]) == 0
    shutil.copy(home / "run/config.toml", folder / "net.toml")
    row = {
        "file": "net.run",
        "sha256": sha256(folder / "net.run"),
        "dataset": DATA,
        "fold": "Fold1",
        "config": "net.toml",
    }
    _write(folder, files=[row])
    return home


def _write(folder, **changes):
    facts = {"label": "Entry", "authors": ["A. Author"], "code": "this repository", "trained_on": "train, validation"}
    schema.write_toml(folder / "submission.toml", {**facts, "hardware": "two cores", **changes})


def _row(folder) -> dict:
    return schema.read_toml(folder / "submission.toml")["files"][0]


@pytest.fixture
def copy(home, tmp_path):
    """A copy of the board that a test may change: board.toml, and the submission's folder."""
    shutil.copytree(home, tmp_path / "board")
    return tmp_path / "board" / "board.toml", tmp_path / "board/submissions/net"


def test_a_check_measures_and_compares(home, capsys):
    folder = home / "submissions/net"
    assert main(["board", "check", str(folder), "--board", str(home / "board.toml"), "--repeat"]) == 0
    text = capsys.readouterr().out
    record = json.loads((home / "run/record.json").read_text())
    means = {m["measure"]: m["mean"] for m in record["measures"] if m["split"] == "test"}
    assert f"Entry has {NDCG} {means[NDCG]:.4f}" in text and "verified" in text
    assert [line.split()[0] for line in text.splitlines() if line.startswith(("Feature", "Random"))] and "above" in text


def test_what_does_not_hold_together_is_refused(copy):
    file, folder = copy
    board = submission.read_board(file)
    good = _row(folder)
    run = (folder / "net.run").read_text().splitlines()

    def refused(message: str, lines=None, row=good, more=(), **changes):
        (folder / "net.run").write_text("\n".join(run if lines is None else lines) + "\n")
        row = row if "sha256" in changes else {**row, "sha256": sha256(folder / "net.run")}
        changes.pop("sha256", None)
        _write(folder, files=[row, *more], **changes)
        with pytest.raises(InputError, match=message):
            submission.check(folder, board)

    refused("without a score|not ranked|no score", run[:-1])
    refused("not in the data|unknown|does not have", [*run, run[0].replace(run[0].split()[2], "no-such-document")])
    refused("query", [line.replace("q", "other", 1) if line.startswith("q") else f"other{line}" for line in run])
    refused("hash differs", row={**good, "sha256": "0" * 64}, sha256=True)
    refused("no dataset of the board|dataset of the board", row={**good, "dataset": "mq2008"})
    refused("fold of", row={**good, "fold": "Fold7"})
    refused("a file is named twice", more=[good])
    refused("label is taken", label="random")
    refused("hardware is empty", hardware=" ")
    refused("a name that can be read", label="a\nb")
    refused("cost fit_seconds; expected 0 or more; came nan", cost={"fit_seconds": float("nan")})
    refused("Did you mean 'fit_seconds'", cost={"fit_second": 1.0})
    refused("the seed of a training", row={**good, "seed": -1})
    refused("is not what is measured here", row={**good, "values": {"nDCG@10": 0.99}})
    refused("measure of the board", row={**good, "values": {"RR": 0.5}})
    refused("unknown key", mean=0.7)
    shutil.copy(folder / "net.run", folder / "second.run")
    refused("does not name")
    refused("two files of", more=[{**good, "file": "second.run", "sha256": sha256(folder / "second.run")}])
    (folder / "second.run").unlink()
    _write(folder, files=[{**good, "values": {"nDCG@10": 0.0}, "sha256": sha256(folder / "net.run")}])
    with pytest.raises(InputError) as error:
        submission.check(folder, board)
    _write(folder, files=[{**good, "values": {"nDCG@10": float(error.value.expected)}}])
    submission.check(folder, board)  # what is measured here may be said


def test_folds_are_whole_and_alike():
    runs = pd.DataFrame({"dataset": "d", "fold": ["Fold1", "Fold2"]})
    results = type("Some", (), {"runs": runs})
    files = {(f, s): submission.ScoreFile(f"{f}{s}", "", "d", f, s) for f in ("Fold1", "Fold2") for s in (0, 1)}
    submission._check_grid(list(files.values()), results, "d")
    with pytest.raises(InputError, match="no scores of d Fold2"):
        submission._check_grid([files["Fold1", 0]], results, "d")
    with pytest.raises(InputError, match="different seeds"):
        submission._check_grid([files["Fold1", 0], files["Fold2", 1]], results, "d")


def test_measured_rows_are_ours_or_refused_and_the_site_needs_no_data(copy, monkeypatch, tmp_path, capsys):
    file, folder = copy
    words = ["board", "build", "--board", str(file), "--to"]
    reference = submission.read_board(file).reference()
    assert submission.on_board(folder, reference)[2] == "not measured yet"
    check = ["board", "check", str(folder), "--board", str(file)]
    assert main([*check, "--repeat", "--accept"]) == 0
    assert main(check) == 0, "measured rows that are ours are no offence"
    monkeypatch.setattr("ltr.bench.analysis.outside.measured", None)
    assert main([*words, str(tmp_path / "site"), "--freeze"]) == 0
    index = (tmp_path / "site/index.html").read_text()
    page = Page(index)
    assert not page.open and "verified" in index and "A board of &lt;two&gt;" in index and "Entry" in index
    assert "no scores of synthetic:queries=30" in index, "a missing row says so"
    dataset = next((tmp_path / "site").glob("*150*.html"))
    assert "Entry" in dataset.read_text() and "Entry" in dataset.with_suffix(".csv").read_text()
    table = pd.read_csv(dataset.with_suffix(".csv")).set_index("system")
    assert table["mean"]["Entry"] > table["mean"]["Random"]
    # A new version: the old one stays as it was frozen, and is not written again.
    frozen = (file.parent / "archive/1-0.json").read_bytes()
    shutil.rmtree(folder)
    capsys.readouterr()
    assert main([*words, str(tmp_path / "site"), "--freeze"]) == 2 and "frozen with other" in capsys.readouterr().err
    facts = schema.read_toml(file)
    facts["versions"].append({"version": "1.1", "date": "2026-12-01", "what": "Without the entry."})
    schema.write_toml(file, facts)
    assert main([*words, str(tmp_path / "new"), "--freeze"]) == 0
    assert (file.parent / "archive/1-0.json").read_bytes() == frozen
    old = Page((tmp_path / "new/archive/1-0.html").read_text())
    assert not old.open and "Entry" in old.text and "verified" in old.text
    assert "Entry" not in (tmp_path / "new/index.html").read_text()


def test_methods_have_a_table_of_hypervolumes_and_a_page_a_task(copy, tmp_path):
    """Two suites on one task: both have a page, their heads differ, and who ran on both comes first."""
    file, _ = copy
    for name, systems in (("one", 3), ("two", 2)):
        results = made_fronts(systems=systems, objectives=2)
        replace(results, suite=replace(results.suite, name=name)).save(file.parent / name)
    write_samples(
        {"made-data": made_samples(made_fronts(systems=3, objectives=2))}, file.parent / "one/samples.parquet"
    )
    found = replace(submission.read_board(file), fronts=("one", "two"))
    site = tmp_path / "site"
    index = build(found, site, frozen=True).read_text()
    page = Page(index)
    assert not page.open and "made-data, two objectives" in index and "made-data, two objectives (two)" in index
    rows = re.findall(r'<tr><th scope="row">(HyperDPO|DPO-LS|Soups)</th>(.*?)</tr>', index)
    assert [system for system, _ in rows] == ["HyperDPO", "DPO-LS", "Soups"] and rows[2][1].count("–") == 1
    text = " ".join(Page((site / "one-made-data.html").read_text()).text)
    volume = re.search(r"<td>(0\.\d{4})", rows[0][1])[1]
    assert volume in text and (site / "two-made-data.html").is_file() and (site / "one/fronts-made-data.png").is_file()
    shown = [
        re.search(r'class="payload"[^>]*>([^<]+)<', (site / f"{n}-made-data.html").read_text()) for n in ("one", "two")
    ]
    assert [len(unpack(payload[1])["samples"]) for payload in shown] == [3, 0], "documents where the results keep them"
    frozen = json.loads(next((file.parent / found.archive).glob("*.json")).read_text())
    assert frozen["methods"]["HyperDPO"]["made-data, two objectives"].startswith(volume)


def test_measured_rows_that_somebody_changed_are_refused(copy):
    file, folder = copy
    board = submission.read_board(file)
    place = submission.accept(submission.check(folder, board), board)
    results = load_results(next(place.iterdir()))
    results.per_query.iloc[0, -1] += 0.01
    results.save(next(place.iterdir()))
    with pytest.raises(InputError, match="not computed here"):
        submission.check(folder, board)
    results.values.assign(mean=1.5).to_parquet(next(place.iterdir()) / "results.parquet")  # by hand, not by `save`
    found = submission.on_board(folder, board.reference())
    assert not found[1] and "is not the one these results were written with" in found[2]
    with pytest.raises(InputError, match=r"results.parquet: the file is not the one.*Remove the folder measured"):
        submission.check(folder, board)
    _write(folder, files=[{**_row(folder), "config": ""}])
    (folder / "net.toml").unlink()
    shutil.rmtree(place)
    checked = submission.check(folder, board)
    assert submission.repeat(checked) == ["net.run: no config of ltr repeats it"]
    submission.accept(checked, board)
    (folder / "net.run").write_text((folder / "net.run").read_text() + "\n")
    _write(folder, files=[{**_row(folder), "sha256": sha256(folder / "net.run"), "config": ""}])
    assert "changed since" in submission.on_board(folder, board.reference())[2]


def test_mean_ranks():
    assert critical_difference(4, 14) == pytest.approx(2.569 * (20 / 84) ** 0.5, abs=1e-3)  # Demsar 2006, p. 12
    found = mean_ranks([leaderboard(made_results(three_systems(seed=s))) for s in range(3)])
    assert found.table.system[0] == "Net mse" and found.table["rank"][0] == 1.0
    assert (found.table.low <= found.table["rank"]).all() and found.table.high[0] == 1.0
    assert found.table["rank"].sum() == pytest.approx(6.0)
    assert found.groups() == [(0, 2)] or found.difference < 2


def test_the_workflow_checks_a_pull_request(home, tmp_path):
    """Its own steps, in a repository where a branch adds a submission; and one that touches more than that."""
    steps = yaml.safe_load((ROOT / "benchmarks/board/submission.yml").read_text())["jobs"]["check"]["steps"]
    script = {step["name"]: step["run"] for step in steps if "run" in step}
    repository = tmp_path / "repository"
    shutil.copytree(home, repository / "benchmarks/board", ignore=shutil.ignore_patterns("submissions", "run", "runs"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ltr").write_text(f'#!/bin/sh\nexec {sys.executable} -m ltr "$@"\n')
    (tmp_path / "bin/ltr").chmod(0o755)
    search = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    who = {f"GIT_{role}_{what}": "a@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}

    def run(command: str, **environment):
        words = ["bash", "-eo", "pipefail", "-c", command]
        environment = {**os.environ, **search, **who, **environment}
        return subprocess.run(words, cwd=repository, env=environment, capture_output=True, text=True, timeout=200)

    assert run("git init -q && git add -A && git commit -qm base").returncode == 0
    base = run("git rev-parse HEAD").stdout.strip()
    shutil.copytree(home / "submissions/net", repository / "benchmarks/board/submissions/net")
    assert run("git add -A && git commit -qm net").returncode == 0
    found = run(script["Check what the pull request changes"], BASE=base)
    assert found.returncode == 0 and "Entry has nDCG" in found.stdout, found.stderr
    assert run(script["Build the site"]).returncode == 0
    assert (repository / "site/index.html").is_file()
    with open(repository / "benchmarks/board/submissions/net/net.run", "a") as file:
        file.write("one more line\n")
    assert run("git add benchmarks && git commit -qm worse").returncode == 0
    found = run(script["Check what the pull request changes"], BASE=base)
    assert found.returncode == 2 and "the hash differs" in found.stderr
    (repository / "benchmarks/board/submissions/net/measured").mkdir()
    (repository / "benchmarks/board/submissions/net/measured/environment.json").write_text('{"verified": true}')
    assert run("git add benchmarks && git commit -qm forged").returncode == 0
    found = run(script["Check what the pull request changes"], BASE=base)
    assert found.returncode == 1 and "written where a submission is accepted" in found.stdout
    (repository / "other.txt").write_text("x")
    assert run("git add other.txt && git commit -qm other").returncode == 0
    found = run(script["Check what the pull request changes"], BASE=base)
    assert found.returncode == 1 and "nothing else" in found.stdout


def test_the_board_of_the_repository_can_be_read():
    board = submission.read_board(ROOT / "benchmarks/board/board.toml")
    assert len(board.reference()) == len(board.results) == 3
