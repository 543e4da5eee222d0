"""The board: rows of results one by one, and systems from outside as rows like ours."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_results import NDCG, made_results, made_suite, three_systems
from rich.console import Console

from ltr import datasets
from ltr.bench import leaderboard, load_results, run_suite
from ltr.bench.analysis import outside
from ltr.bench.analysis.measured_rows import Found, with_row
from ltr.bench.analysis.merging import merged
from ltr.bench.analysis.paired import compare_systems, compare_values, values_of_runs
from ltr.bench.suite import Suite, System, check
from ltr.bench.suite.narrow import restricted
from ltr.cli import main
from ltr.errors import InputError
from ltr.runs.rankings import read_ranking

pytestmark = pytest.mark.usefixtures("no_pictures")

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


def test_what_cannot_be_compared_is_refused_and_not_measured(out, capsys, tmp_path):
    """Other labels, other lists, several systems in a folder; other data with the same lists is told."""
    runs = runs_of(out)
    for name, seed in (("feature", 0), ("random", 1)):
        shutil.copytree(runs / f"{name}/fold1/seed{seed}", tmp_path / f"mixed/{name}")
    assert "runs of several systems" in told(capsys, "bench", "compare", tmp_path / "mixed", runs / "random")[2]
    for words, says in (
        (["Feature", "Random", "--results", out, "--fold", "Fold1"], "--fold says nothing of systems of a suite"),
        ([runs / "feature", runs / "random", "--dataset", DATA], "--dataset says nothing of runs"),
        ([runs / "feature", runs / "random", "--margin", "1e400"], "--margin is out of range"),
        ([runs / "feature", runs / "random", "--margin", "x"], "--margin has the wrong type; expected a number; came"),
    ):
        code, _, err = told(capsys, "bench", "compare", *words)
        assert code == 2 and says in err and err.count("\n") == 1, err
    mine = values_of_runs(runs / "feature")
    longer = mine.documents.copy()
    longer.iloc[0] += 1
    for other, says in (
        (replace(mine, objective="clicks"), "different labels"),
        (replace(mine, documents=longer), "1 "),
    ):
        with pytest.raises(InputError, match=says):
            compare_values(("a", "b"), (mine, other), dataset="d")
    folds = mine.table.rename(columns={"Fold1": "Fold2"}), mine.documents.rename({"Fold1": "Fold2"})
    more = replace(
        mine, table=pd.concat([mine.table, folds[0]], axis=1), documents=pd.concat([mine.documents, folds[1]])
    )
    found = compare_values(("a", "b"), (more, replace(mine, stores={"Fold1": "other"})), dataset="d")
    assert found.difference.value == 0 and found.queries == mine.table.shape[1]
    err = capsys.readouterr().err
    assert "compared on Fold1 only: Fold2 is not of both" in err and "different versions of d" in err


# ----------------------------------------------------------------------------------------- systems from outside


@pytest.fixture
def board(out, tmp_path):
    """A copy of the suite's folder, and the scores of its Feature as files."""
    shutil.copytree(out, tmp_path / "out")
    feature = runs_of(out) / "feature/fold1/seed0"
    for form in ("run", "csv"):
        assert main(["export", str(feature), "--as", form, "--out", str(tmp_path / f"f.{form}")]) == 0
    shutil.copy(feature / "scores/test.parquet", tmp_path / "f.parquet")
    return tmp_path


def test_a_table_of_scores_is_read_in_any_order_and_by_any_name(board):
    """By row, by document, or a line a document: the same scores."""
    split, frame = datasets.load(DATA).test, pd.read_parquet(board / "f.parquet")
    named = replace(split, doc_ids=np.array([f"D{i}" for i in range(split.n_documents)]))
    mixed = frame.sample(frac=1, random_state=0)
    documents = frame[["query", "score"]].assign(document=named.doc_ids).iloc[mixed.index]
    in_order = frame.sort_values("row")[["query", "score"]]
    for data, table in ((split, mixed[["query", "row", "score"]]), (named, documents), (split, in_order)):
        table.to_csv(board / "x.tsv", sep="\t", index=False)
        read = read_ranking(board / "x.tsv", data)["score"].to_numpy()
        np.testing.assert_allclose(read, frame["score"], rtol=1e-6)
    pd.concat([documents, documents[:1]]).to_csv(board / "x.csv", index=False)
    with pytest.raises(InputError, match="1 documents are scored twice"):
        read_ranking(board / "x.csv", named)
    frame[["query", "row", "score", "score"]].to_csv(board / "x.csv", index=False)
    with pytest.raises(InputError, match="column 'score' stands twice"):
        read_ranking(board / "x.csv", split)
    with pytest.raises(InputError, match="no column score"):
        in_order[["query"]].to_csv(board / "x.csv", index=False)
        read_ranking(board / "x.csv", split)


def test_a_system_from_outside_is_a_row_like_ours(board, capsys):
    """The suite's own scores under another name have its numbers, over later runs and reports too, until removed."""
    out = board / "out"
    words = ["--label", "BM25", "--cost", "fit_seconds=12"]
    code, text, err = told(capsys, "bench", "add", out, board / "f.run", *words)
    assert code == 0 and "BM25" in text, err
    rows = leaderboard(load_results(out)).table.set_index("system")
    for column in ("mean", "low", "high", "letters", "done", "planned"):
        assert rows.loc["BM25", column] == pytest.approx(rows.loc["Feature", column]) or column == "letters"
    assert rows.loc["BM25", "letters"] == rows.loc["Feature", "letters"] and rows.loc["BM25", "fit_seconds"] == 12
    assert "BM25" in (out / "report/report.md").read_text()
    code, text, _ = told(capsys, "bench", "show", out, "--system", "BM25")
    assert code == 0 and "ltr bench add FOLDER f.run --label BM25" in text and "--cost fit_seconds=12" in text
    assert "has a row" in told(capsys, "bench", "add", out, board / "f.run", *words)[2]
    suite = load_results(out).suite
    again = run_suite(suite, out, workers=1, seeds=[0, 1, 2], progress=False)  # one more run: all is read again
    assert leaderboard(again).table.set_index("system").loc["BM25", "mean"] == pytest.approx(rows.loc["BM25", "mean"])
    assert (again.runs[again.runs.system == "Random"].status == "done").sum() == 3
    assert told(capsys, "bench", "remove", out, "Random")[2].count("a system of the suite") == 1
    assert told(capsys, "bench", "remove", out, "BM25", "--dataset", "mq2008")[0] == 2
    assert told(capsys, "bench", "remove", out, "BM25", "-q")[0] == 0
    assert "BM25" not in (out / "report/report.md").read_text() and not list(out.glob("outside/*/bm25"))


def test_what_no_row_can_be_made_of_is_refused_in_one_message(board, capsys):
    out, lines = board / "out", (board / "f.run").read_text().splitlines(keepends=True)
    before = (out / "report/results.parquet").read_bytes()
    (board / "short.run").write_text("".join(lines[1:]))
    (board / "other.run").write_text("".join(lines).replace(lines[0], lines[0].replace(" row", " rowx", 1)))
    rows = (board / "f.csv").read_text().splitlines(keepends=True)
    (board / "nan.csv").write_text("".join([*rows[:-1], rows[-1].replace(rows[-1].split(",")[3], "nan")]))
    (board / "twice.csv").write_text("".join([*rows, rows[-1]]))
    (board / "lines.csv").write_text("query,score\nq1,0.5\n")
    (board / "text.csv").write_text("query,row,score\n\nq1,0,0.5\nq1,1,high\n")
    (board / "rows.csv").write_text("query,row,score\nq1,first,0.5\n")
    (board / "none.csv").write_text("query,row,score\n")
    for words, says in (
        ("short.run --label X", "1 of "),
        ("other.run --label X", "does not have"),
        ("nan.csv --label X", "column 'score'; expected a finite number; came 'nan'"),
        ("text.csv --label X", "text.csv:4: row 2, column 'score'; expected a finite number; came 'high'"),
        ("rows.csv --label X", "rows.csv:2: row 1, column 'row'; expected a whole number; came 'first'"),
        ("none.csv --label X", "a table of scores without scores"),
        ("f.run --label X --seed -1", "the seed of a training; expected 0 or more"),
        ("f.run --label X --cost fit_seconds=1 fit_seconds=2", "--cost says fit_seconds twice"),
        ("twice.csv --label X", "1 scored twice"),
        ("lines.csv --label X", "one a document"),
        ("f.run --label random", "the label is taken"),
        ("f.run", "--label NAME"),
        ("f.run --label X --fold Fold2", "unknown fold of the results 'Fold2'"),
        ("f.run --label X --cost fit_second=3", "Did you mean 'fit_seconds'?"),
        ("f.run --label X --data mq2008=there", "unknown dataset of the results 'mq2008'"),
    ):
        file, *rest = words.split()
        code, _, err = told(capsys, "bench", "add", out, board / file, *rest)
        assert code == 2 and says in err and err.count("\n") == 1 and "--missing" not in err, (words, err)
    with pytest.raises(InputError, match="is not what these results were made on"):
        outside.add(out, board / "f.run", "X", data={DATA: "synthetic:queries=31,objectives=1,features=50"})
    assert (out / "report/results.parquet").read_bytes() == before and not list(out.glob("outside/*/*/*/*"))


def test_folds_without_scores_are_rows_without_numbers():
    results = made_results(three_systems())
    key = {"dataset": "made-data", "system": "BM25", "seed": 0}
    table = results.per_query[(results.per_query.system == "Random") & (results.per_query.seed == 0)]
    for fold, missing in (("Fold1", 1), ("Fold2", 0)):
        frame = table[table.fold == fold].assign(**key)
        value = {**key, "fold": fold, "split": "test", "measure": NDCG, "mean": 0.4, "queries": 50, "blank": 10}
        results = with_row(results, Found({**key, "fold": fold, "status": "done", "reason": ""}, [value], frame, None))
        mine = results.runs[results.runs.system == "BM25"]
        assert (mine.status == "missing").sum() == missing and len(mine) == 2
        assert ("BM25" in leaderboard(results).p) == (fold == "Fold2")
        assert results.runs.fit_seconds.dtype == "float64"


def test_merge_takes_the_rows_of_both(tmp_path, capsys):
    cubes = three_systems()
    whole = made_results(cubes)
    parts = []
    for name, systems in (("a", ["Net mse", "Random"]), ("b", ["Net listnet", "Random"])):
        part = made_results({s: cubes[s] for s in systems}, restricted(whole.suite, systems))
        parts.append(part.save(tmp_path / name))
    code, _, err = told(capsys, "bench", "merge", *parts, "--to", tmp_path / "both", "-q")
    assert code == 0, err
    found = load_results(tmp_path / "both")
    assert sorted(found.systems) == sorted(cubes) and len(found.runs) == len(whole.runs)
    ours, theirs = (leaderboard(each).table.set_index("system")["mean"] for each in (found, whole))
    assert ours.to_dict() == pytest.approx(theirs.to_dict())
    assert (tmp_path / "both/report.md").is_file()
    changed = made_results({**cubes, "Random": cubes["Random"] + 0.1})
    with pytest.raises(InputError, match="both have a run of made-data, Random, Fold1, 0"):
        merged(whole, changed)
    values, mine = whole.values.copy(), whole.per_query.copy()
    values.loc[[0, 1], "mean"] += [0.01, -0.01]  # nothing of a sum
    mine.loc[[0, 1], NDCG] = mine.loc[[1, 0], NDCG].to_numpy()  # nothing of a mean
    for changed in (replace(whole, values=values), replace(whole, per_query=mine)):
        with pytest.raises(InputError, match="both have a run of made-data, Net mse, Fold1, 0"):
            merged(whole, changed)
    for changed in ({"measures": (NDCG,)}, {"training": {"epochs": 3}}):
        with pytest.raises(InputError, match=f"suites differ in {next(iter(changed))}"):
            merged(whole, made_results(cubes, made_suite(**changed)))
    fewer = made_results({s: cube[..., 1:] for s, cube in cubes.items()})
    for name in ("values", "runs", "per_query", "curves"):
        getattr(fewer, name)["seed"] += 2
    with pytest.raises(InputError, match="made on different data: made-data Fold1"):
        merged(whole, fewer)


def test_tables_leave_in_four_forms(tmp_path, capsys):
    folder = made_results(three_systems()).save(tmp_path)
    forms = {form: told(capsys, "bench", "table", folder, "--as", form)[1] for form in ("latex", "csv", "json")}
    forms["markdown"] = told(capsys, "bench", "table", folder)[1]
    assert all("Net mse" in text for text in forms.values())
    assert "\\toprule" in forms["latex"] and forms["latex"].count(" \\\\\n") == 4
    rows = json.loads(forms["json"])
    assert [row["system"] for row in rows] == [line.split(",")[0] for line in forms["csv"].splitlines()[1:]]
    assert f"| {rows[0]['mean']:.4f} |" in forms["markdown"]
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(leaderboard(load_results(folder)).to_rich(60))
    assert "no room for" in console.export_text() and "parameters" in forms["markdown"]
