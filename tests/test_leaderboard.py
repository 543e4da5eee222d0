"""The leaderboard: means by hand, significance where it is and is not, and the same table from the files."""

from __future__ import annotations

import importlib
import io

import numpy as np
import pandas as pd
import pytest
from made_results import AP, NDCG, made_results, made_suite, three_systems

from ltr.bench import leaderboard, load_results
from ltr.bench.analysis.leaderboard import short_names
from ltr.bench.analysis.oracle import BEST_POSSIBLE
from ltr.errors import InputError


@pytest.fixture(scope="module")
def values():
    return three_systems()


@pytest.fixture(scope="module")
def board(values):
    return leaderboard(made_results(values))


def row(board, system):
    return board.table.set_index("system").loc[system]


def test_mean_pools_queries_or_folds():
    """Two folds of different size: (0 + 0 + 0 + 1) / 4 over queries, (0 + 1) / 2 over folds."""
    cube = np.full((2, 1, 3), np.nan)
    cube[0, 0] = 0.0
    cube[1, 0, 0] = 1.0
    results = made_results({"Net mse": cube})
    assert row(leaderboard(results), "Net mse")["mean"] == pytest.approx(1 / 4)
    assert row(leaderboard(results, rule="folds"), "Net mse")["mean"] == pytest.approx(1 / 2)


def test_mean_is_that_of_the_values_a_query(values, board):
    for system, cube in values.items():
        per_query = cube.mean(1)  # seeds first
        assert row(board, system)["mean"] == pytest.approx(np.nanmean(per_query), abs=1e-6)


def test_seed_sd(values, board):
    means = [np.nanmean(values["Net mse"][:, s]) for s in (0, 1)]
    assert row(board, "Net mse").seed_sd == pytest.approx(np.std(means, ddof=1), abs=1e-9)


def test_counts(board):
    assert (board.queries, board.counted, board.unjudged) == (120, 100, 20)
    assert "120 test queries, 20 of them without relevant documents" in board.caption()


def test_interval_holds_the_mean_and_narrows_with_queries(board):
    assert (board.table.low < board.table["mean"]).all() and (board.table["mean"] < board.table.high).all()
    wide = row(leaderboard(made_results(three_systems(12))), "Net mse")
    narrow = row(leaderboard(made_results(three_systems(600))), "Net mse")
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_letters_separate_what_differs_and_nothing_else(board):
    assert list(board.table.letters) == ["a", "b", "b"] and board.table.system[0] == "Net mse"
    assert board.p.loc["Net mse", "Random"] < 0.05 < board.p.loc["Net listnet", "Random"]


def test_some_of_the_systems(values, board):
    some = leaderboard(made_results(values), systems=["Random", "Net listnet"])
    assert set(some.table.system) == set(some.p.index) == {"Random", "Net listnet"}
    assert (some.table.letters == "a").all() and some.queries == board.queries
    assert row(some, "Random")["mean"] == row(board, "Random")["mean"]


def test_intervals_say_what_they_speak_of():
    """Of one training a system nothing is known of others."""
    generator = np.random.default_rng(0)
    cubes = {f"S{i}": generator.normal(0.1 * i, 0.02, (1, 1, 80)) for i in range(6)}
    board = leaderboard(made_results(cubes))
    assert (
        list(board.table.letters) == list("abcdef")
        and "for these nets: each system was trained once" in board.caption()
    )
    assert board.difference("S1", "S0").scope == "nets" and board.difference("S1", "nobody") is None
    assert board.margin == pytest.approx(0.5 / 50, rel=0.1)
    twice = leaderboard(made_results({s: np.repeat(v, 2, 1) for s, v in cubes.items()}))
    assert "other queries and other trainings" in twice.caption() and twice.difference("S1", "S0").scope == "methods"


def test_trainings_that_differ_widen_what_queries_say():
    """The same queries, apart by what two seeds are apart: a training more would decide otherwise."""
    generator = np.random.default_rng(0)
    base = generator.uniform(0.2, 0.6, (1, 1, 400))
    cubes = {
        label: base + level + np.array([-0.03, 0.03])[None, :, None] + generator.normal(0, 0.01, (1, 2, 400))
        for label, level in (("Net mse", 0.03), ("Net listnet", 0.0))
    }
    cubes["Net listnet"] = cubes["Net listnet"][:, ::-1]
    board = leaderboard(made_results(cubes))
    assert (
        list(board.table.letters) == ["a", "a"] and board.difference("Net mse", "Net listnet").verdict == "cannot tell"
    )
    one = leaderboard(made_results({label: cube[:, :1] for label, cube in cubes.items()}))
    assert list(one.table.letters) == ["a", "b"]


def test_letters_that_are_runs_say_so(monkeypatch):
    """A chain in which only the ends differ needs as many groups as it has pairs that do not."""
    module = importlib.import_module(
        "ltr.bench.analysis.leaderboard"
    )  # whose name in its package is that of its function
    monkeypatch.setattr(module, "_MOST_LETTERS", 2)
    apart = np.array([[1, 1, 0.01, 1], [1, 1, 1, 0.01], [0.01, 1, 1, 1], [1, 0.01, 1, 1]])
    monkeypatch.setattr(module, "holm", lambda p: apart)
    cubes = {f"S{i}": np.full((1, 1, 20), 1 - 0.1 * i) for i in range(4)}
    board = leaderboard(made_results(cubes))
    assert list(board.table.letters) == ["a", "ab", "bc", "c"] and not board.exact, "S0 and S3 share none, yet p = 1"
    assert "systems that share none need not differ" in board.caption()
    monkeypatch.undo()
    assert "share none" not in leaderboard(made_results(three_systems())).caption()


def test_a_system_that_lost_a_fold_is_shown_without_letters(values):
    lost = {("Net mse", 1, s): ("failed", "out of memory") for s in (0, 1)}
    board = leaderboard(made_results(values, lost=lost))
    mine = row(board, "Net mse")
    assert mine.letters == "" and mine.done == 2 and mine.planned == 4
    assert "2 failed: out of memory" in mine.note and mine.note in board.to_markdown()
    assert set(board.p.index) == {"Net listnet", "Random"}
    assert mine["mean"] > row(board, "Net listnet")["mean"], "of the queries that are left"
    assert board.table.system.iloc[-1] == "Net mse" and board.rows()[-1]["#"] == "" and board.rows()[1]["#"] == "2"
    assert "not ranked" in board.rows()[-1]["note"]
    lost = {(system, 1, s): ("missing", "not run yet") for system in values for s in (0, 1)}
    assert [text["#"] for text in leaderboard(made_results(values, lost=lost)).rows()] == ["1", "2", "3"]


def test_a_system_without_any_number_stands_last(values):
    lost = {("Net mse", f, s): ("skipped", "needs a library") for f in (0, 1) for s in (0, 1)}
    board = leaderboard(made_results(values, lost=lost))
    assert board.table.system.iloc[-1] == "Net mse" and np.isnan(board.table["mean"].iloc[-1])
    assert board.rows()[-1]["mean"] == "" and board.rows()[-1]["#"] == ""


def test_regret_to_the_best_possible(values):
    cube = {**values, BEST_POSSIBLE: values["Net mse"][:, :1] + 0.05}
    board = leaderboard(made_results(cube))
    best = np.nanmean(cube[BEST_POSSIBLE])
    assert row(board, "Random").regret == pytest.approx(best - np.nanmean(values["Random"]), abs=1e-9)
    assert row(board, BEST_POSSIBLE).regret == 0
    assert board.rows()[0]["#"] == "" and board.rows()[1]["#"] == "1", "the best possible ranker takes no rank"
    assert "regret" not in leaderboard(made_results(values)).rows()[0]


def test_labelled_lists_are_said_where_systems_have_more_or_less_of_them(values, board):
    assert "labelled" not in board.rows()[0]
    results = made_results(values)
    results.runs.loc[results.runs.system == "Net mse", "train_queries"] = 7
    found = {text["system"]: text["labelled"] for text in leaderboard(results).rows()}
    assert found.pop("Net mse") == "7" and set(found.values()) == {"180"}


def test_tables_from_files_are_equal(values, board, tmp_path):
    made_results(values).save(tmp_path)
    again = leaderboard(load_results(tmp_path))
    pd.testing.assert_frame_equal(again.table, board.table, check_dtype=False)
    pd.testing.assert_frame_equal(again.p, board.p)
    assert again.to_markdown() == board.to_markdown()
    assert again.measures_markdown() == board.measures_markdown()


def test_results_take_little_room(tmp_path):
    """20 systems, 5 folds, 3 seeds, 784 queries, two measures a query: what MQ2008 has, under 2 MB."""
    generator = np.random.default_rng(0)
    grades = np.round(generator.beta(2, 2, (5, 3, 157)), 2)
    results = made_results({f"System {i}": np.roll(grades, i, axis=2) for i in range(20)})
    frame = results.per_query.assign(**{AP: results.per_query[NDCG].sample(frac=1, random_state=0).to_numpy()})
    object.__setattr__(results, "per_query", frame)
    results.save(tmp_path)
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) < 2e6


def test_other_measures_and_unknown_ones(values):
    results = made_results(values)
    board = leaderboard(results, measure="AP")
    assert board.measure == AP and np.isnan(board.table.low).all() and (board.table.letters == "").all()
    with pytest.raises(InputError, match="RR"):
        leaderboard(results, measure="RR")
    with pytest.raises(InputError, match="made-data"):
        leaderboard(results, dataset="mdae-data")
    with pytest.raises(InputError, match="rule"):
        leaderboard(results, rule="median")


def test_missing_results_are_named(tmp_path):
    made_results(three_systems(6)).save(tmp_path)
    (tmp_path / "runs.parquet").unlink()
    with pytest.raises(InputError, match=r"no runs\.parquet"):
        load_results(tmp_path)


def test_short_names_keep_conventions_apart():
    short, legend = short_names([NDCG, AP, "AP(empty=0,ties=order)"])
    assert list(short.values()) == ["nDCG@10 [1]", "AP [2]", "AP [3]"]
    assert legend[2] == "[3] `AP(empty=0,ties=order)`"


def test_terminal_table_fits(values):
    from rich.console import Console

    lost = {("Net listnet", 0, 0): ("skipped", "pip install 'ltr-suite[trees]'")}
    board = leaderboard(made_results(values, made_suite(), lost))
    for width in (60, 80, 200):
        console = Console(width=width, record=True, file=io.StringIO())
        console.print(board.to_rich(width))
        text = console.export_text()
        assert "Net listnet" in text and "…" not in text and max(map(len, text.splitlines())) <= width
    assert "ltr-suite[trees]" in text, "what stands in brackets is text"


def test_long_labels_cut_no_number():
    from rich.console import Console

    from ltr.bench.text import terminal_table

    row = {"system": "Denoising + transformer lambdarank, 100 % labelled", "mean": "0.7012", "interval": "0.654–0.731"}
    console = Console(width=44, record=True, file=io.StringIO())
    console.print(terminal_table("mq2008", [row], list(row), ["system", "mean", "interval"], 44, left=("system",)))
    text = console.export_text()
    assert "0.7012" in text and "0.654–0.731" in text and "labelled" in text
