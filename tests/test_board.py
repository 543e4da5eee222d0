"""The board: rows of results one by one, and systems from outside as rows like ours."""

from __future__ import annotations

import json

import pytest
from made_results import made_results, three_systems

from ltr.bench import load_results, run_suite
from ltr.bench.analysis.paired import compare_systems
from ltr.bench.suite import Suite, System, check
from ltr.cli import main
from ltr.errors import InputError

DATA = "synthetic:queries=30,objectives=1,features=50"


@pytest.fixture(scope="module")
def suite() -> Suite:
    systems = (System("Feature", "feature", baseline=True, seeds=(0,)), System("Random", "random", baseline=True))
    return check(Suite("A board", (DATA,), systems, name="board", seeds=(0, 1), measures=("nDCG@10", "AP")))


@pytest.fixture(scope="module")
def out(suite, tmp_path_factory):
    """Two systems, three runs, in a folder nobody changes."""
    folder = tmp_path_factory.mktemp("board") / "out"
    run_suite(suite, folder, workers=1, progress=False)
    return folder


def told(capsys, *words) -> tuple[int, str, str]:
    code = main(list(map(str, words)))
    return code, *capsys.readouterr()


def runs_of(out):
    return next((out / "runs").iterdir())


def test_show_prints_the_command_of_a_run_and_of_a_row(out, capsys):
    run = runs_of(out) / "random/fold1/seed1"
    code, text, _ = told(capsys, "bench", "show", run)
    assert code == 0 and text.startswith("ltr train --data") and "--ranker random" in text and "--seed 1" in text
    code, rows, _ = told(capsys, "bench", "show", out, "--system", "Random", "--seed", 1)
    assert code == 0 and rows.splitlines() == [f"# {DATA}, Random, Fold1, seed 1", text.strip()]
    assert told(capsys, "bench", "show", out, "--system", "Rndom")[2].count("Did you mean 'Random'?") == 1


def test_compare_says_one_of_four_words():
    """Net mse is 0.3 above; the other two are alike, and a margin tells them equal."""
    results = made_results(three_systems())
    found = compare_systems(results, "Net mse", "Random")
    assert found.difference.verdict == "above" and found.difference.value == pytest.approx(0.3, abs=0.02)
    assert (found.queries, found.ahead, found.behind) == (100, 100, 0) and "is above" in found.sentence()
    assert compare_systems(results, "Random", "Net mse").difference.value == -found.difference.value
    alike = compare_systems(results, "Net listnet", "Random", margin=0.0)
    assert alike.difference.verdict == "cannot tell" and "--margin" in alike.sentence()
    assert (
        compare_systems(results, "Net listnet", "Random", margin=0.05).difference.verdict == "equal within the margin"
    )
    with pytest.raises(InputError, match="Did you mean 'Net mse'"):
        compare_systems(results, "Net mae", "Random")


def test_compare_of_labels_folders_and_files_agree(out, capsys, tmp_path):
    """A system of one training has the same mean, by whichever way it comes."""
    runs, seen = runs_of(out), []
    assert main(["export", str(runs / "feature/fold1/seed0"), "--out", str(tmp_path / "f.run")]) == 0
    assert main(["export", str(runs / "feature/fold1/seed0"), "--as", "csv", "--out", str(tmp_path / "f.csv")]) == 0
    capsys.readouterr()
    ways = [["Feature", "Random", "--results", out], [runs / "feature", runs / "random"]]
    ways += [[tmp_path / name, runs / "random"] for name in ("f.run", "f.csv")]
    for words in ways:
        code, text, err = told(capsys, "bench", "compare", *words, "--json", "--margin", 0.01)
        assert code == 0, err
        seen.append(json.loads(text))
    values = load_results(out).values
    mean = values[(values.system == "Feature") & (values.split == "test")]["mean"].iloc[0]
    for found in seen:
        assert found["mean_a"] == pytest.approx(mean, abs=1e-6)
        assert found["difference"]["value"] == pytest.approx(seen[0]["difference"]["value"], abs=1e-6)
        assert found["queries"] == seen[0]["queries"] and found["ahead"] == seen[0]["ahead"]
    code, text, _ = told(capsys, "bench", "compare", tmp_path / "f.run", runs / "feature")
    assert code == 0 and "difference +0.0000" in text and "Cannot tell" in text
    assert told(capsys, "bench", "compare", "Feature", "Random")[2].endswith("Labels of a suite need --results\n")
    assert "--data NAME" in told(capsys, "bench", "compare", tmp_path / "f.run", tmp_path / "f.csv")[2]
