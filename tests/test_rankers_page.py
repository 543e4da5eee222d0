"""The page on rankers: boards, costs, sizes of one task, and what was not run; all of it from the tidy files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_results import made_results, made_suite

from ltr import paths as places
from ltr.bench import leaderboard
from ltr.bench.analysis.rankers import boards_of, curves, sizes_of_task
from ltr.bench.analysis.results import Results
from ltr.bench.pages.ranker_parts import PARTS, parts_table
from ltr.bench.pages.rankers_page import rankers_page
from ltr.bench.suite import System, load_suite
from ltr.cli import main

SIZES = {"synthetic:queries=100": 60, "synthetic:queries=1000": 600}
SYSTEMS = (
    System("MLP", "mlp", losses=("mse", "listnet")),
    System("LightGBM", "lightgbm"),
    System("Random", "random", baseline=True),
)


def one(dataset: str, queries: int) -> Results:
    """Nets gain more by size than trees do; listnet is the better loss."""
    draw = np.random.default_rng(queries)
    base = draw.uniform(0.2, 0.4, (1, 1, 50))
    more = {"MLP mse": 0.05, "MLP listnet": 0.1 if queries < 100 else 0.4, "LightGBM": 0.2, "Random": 0.0}
    values = {label: base + gain + draw.normal(0, 0.01, (1, 2, 50)) for label, gain in more.items()}
    found = made_results(values, made_suite(name="rankers-made", datasets=(dataset,), systems=SYSTEMS))
    counted = {"operations": 2e9, "cpu_seconds": 3.0, "latency_seconds": 0.004, "train_queries": queries}
    return replace(found, runs=found.runs.assign(**counted))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    each = [one(*size) for size in SIZES.items()]
    whole = replace(
        each[0],
        suite=replace(each[0].suite, datasets=tuple(SIZES)),
        **{key: pd.concat([getattr(r, key) for r in each]) for key in ("values", "runs", "per_query", "curves")},
    )
    return whole.save(tmp_path_factory.mktemp("results") / "r")


def test_a_page_of_all_boards(folder, tmp_path):
    assert main(["bench", "rankers", "--results", str(folder), "--to", str(tmp_path)]) == 0
    text = (tmp_path / "RANKERS.md").read_text()
    small, large = boards_of(one("synthetic:queries=100", 60)), boards_of(one("synthetic:queries=1000", 600))
    for board in (*small, *large):
        for row in leaderboard(one(board.dataset, SIZES[board.dataset])).rows():
            assert f"| {row['mean']} | {row['interval']} |" in text
    assert "| MLP | listnet |" in text and "| (Random) |" in text and "| LightGBM |" in text
    assert "| 2.0 | 3.0 | 4.00 |" in text, "operations, processor time and latency of those who learn"
    assert "60 training queries: the best net, MLP listnet, less the best trees, LightGBM: -0." in text
    assert text.count("the trees are better") == 1 and text.count("the net is better") == 1
    assert "ltr bench run rankers-synthetic`" in text, "what was not run is said with its command"
    assert (tmp_path / "rankers-sizes.png").read_bytes().startswith(b"\x89PNG")
    again = rankers_page([folder], tmp_path / "again") if (tmp_path / "again").mkdir() is None else None
    assert again.read_text() == text


def test_sizes_are_of_one_task():
    boards = [board for size in reversed(SIZES.items()) for board in boards_of(one(*size))]
    other = boards_of(one("made-data", 10))
    (group,) = sizes_of_task([*boards, *other])
    assert [board.train_queries for board in group] == [60, 600]
    lines = curves(group)
    assert set(lines) == {"MLP mse", "MLP listnet", "LightGBM"}
    assert [x for x, *_ in lines["LightGBM"]] == [60, 600]
    for board, (_, mean, low, high) in zip(group, lines["LightGBM"], strict=True):
        assert low < mean < high and mean == pytest.approx(board.board.table.set_index("system").at["LightGBM", "mean"])
    assert sizes_of_task(other) == []


def test_parts_are_compared_with_the_same_loss():
    draw = np.random.default_rng(0)
    systems = (
        System("MLP", "mlp", losses=("mse", "listnet")),
        System("MLP, piecewise", "mlp", losses=("listnet",), params={"embeddings": "piecewise"}),
        System("LightGBM", "lightgbm"),
        System("LightGBM, an MLP on its residual", "residual", losses=("mse",)),
    )
    base = draw.uniform(0.2, 0.4, (1, 3, 50))
    labels = {"MLP mse": 0.0, "MLP listnet": 0.1, "MLP, piecewise listnet": 0.3, "LightGBM": 0.2}
    values = {
        label: base + gain + draw.normal(0, 0.01, base.shape)
        for label, gain in (labels | {"LightGBM, an MLP on its residual mse": 0.2}).items()
    }
    found = made_results(values, made_suite(name="rankers-made", systems=systems))
    runs = found.runs.assign(operations=np.where(found.runs.system == "MLP listnet", 2e9, 3e9))
    (board,) = boards_of(replace(found, runs=runs.assign(cpu_seconds=1.0, latency_seconds=0.1, train_queries=50)))
    lines = [line for line in parts_table([board]).splitlines()[2:]]
    gap = board.board.difference("MLP, piecewise listnet", "MLP listnet")
    assert len(lines) == 2 and lines[0] == (
        f"| piecewise embeddings, MLP | MLP, piecewise less MLP | listnet | above: {gap}; 1.5 x |"
    )
    assert "| mse | " in lines[1] and "LightGBM, an MLP on its residual less LightGBM" in lines[1]
    assert parts_table(boards_of(one("made-data", 10))) == ""


def test_a_part_of_a_suite_says_what_is_left(folder, tmp_path):
    """Results called like a suite that comes with ltr name the systems and seeds they lack."""
    found = one("mq2008", 471)
    part = replace(found, suite=replace(found.suite, name="rankers-mq2008-small", systems=SYSTEMS[1:]))
    text = rankers_page([part.save(tmp_path / "part")], tmp_path).read_text()
    assert "which `ltr bench run rankers-mq2008-small` would add: " in text and "TabM listnet" in text
    assert "Seeds not run: 2." in text


def test_parts_are_systems_of_the_suites():
    labels = {system.label for system in load_suite("rankers-mq2008").systems}
    assert {name for _, *pair in PARTS for name in pair} <= labels


def test_the_page_in_the_repository_is_that_of_its_results(tmp_path):
    """Written again by: ltr bench rankers"""
    assert rankers_page(to=tmp_path).read_text() == (places.suites() / "RANKERS.md").read_text()


def test_a_table_of_shares_of_labels(tmp_path):
    """Systems by share, and each pretrained net beside the same net from scratch; no part of the tables of all."""
    nets = (
        System("MLP", "mlp", losses=("mse",), params={"hidden": [8]}),
        System("Contrast", "pretrained", losses=("mse",), params={"base_params": {"hidden": [8]}}),
    )
    suite = made_suite(name="pretraining-made", datasets=("synthetic",), systems=nets)
    suite = replace(suite, labelled=(0.1, 1.0))
    draw = np.random.default_rng(0)
    base = draw.uniform(0.2, 0.4, (1, 1, 50))
    gains = dict(zip([v.label for v in suite.variants()], (0.1, 0.3, 0.2, 0.3), strict=True))
    found = made_results({v: base + gain + draw.normal(0, 0.01, (1, 2, 50)) for v, gain in gains.items()}, suite)
    lists = found.runs.system.map(lambda label: 6 if "10 %" in label and "100" not in label else 60)
    counted = {"operations": 2e9, "cpu_seconds": 3.0, "latency_seconds": 0.004, "train_queries": lists}
    folder = replace(found, runs=found.runs.assign(**counted)).save(tmp_path / "r")
    text = rankers_page([folder], tmp_path).read_text()
    assert "| ranker | 10 %, 6 lists | 100 %, 60 lists |" in text and "| MLP mse | 0.4" in text
    board = leaderboard(replace(found, runs=found.runs.assign(**counted)))
    gap = board.difference("Contrast mse, 10 % labelled", "MLP mse, 10 % labelled")
    assert f"- Contrast mse: {gap.value:+.4f} ({gap.low:+.4f} to {gap.high:+.4f}) with 10 %" in text
    assert "Gop |" not in text
