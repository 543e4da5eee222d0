"""The page on losses: numbers of the leaderboard, an overview that calls nothing better without reason, one picture."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import NDCG, made_results, made_suite

from ltr import paths as places
from ltr.bench import leaderboard
from ltr.bench.pages.losses_page import cells_of, family, losses_page, overview
from ltr.bench.suite import System
from ltr.cli import main
from ltr.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
SUITE = made_suite(
    systems=(
        System("Net", "mlp", losses=("mse", "ranknet", "listnet"), params={"hidden": [7]}),
        System("Big net", "transformer", losses=("mse", "ranknet", "listnet")),
        System("Random", "random", baseline=True),
    ),
    loss_params={"ranknet": {"sigma": 2.0}},
)


def results(lost=None, suite=SUITE):
    """On both nets listnet and ranknet are alike and better than mse, which is random."""
    generator = np.random.default_rng(0)
    base = generator.uniform(0.2, 0.6, (2, 1, 60))
    values = {}
    for net in ("Net", "Big net"):
        for loss, more in (("mse", 0.0), ("ranknet", 0.3), ("listnet", 0.301)):
            values[f"{net} {loss}"] = base + more + generator.normal(0, 0.005, (2, 2, 60))
    values["Random"] = base + generator.normal(0, 0.02, (2, 2, 60))
    return made_results(values, suite, lost)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return results().save(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def page(folder, tmp_path_factory):
    return losses_page([folder], tmp_path_factory.mktemp("page"))


def rows(text, heading):
    """The rows of the first table after a heading, cells by the names of their columns."""
    lines = re.search(rf"^## {re.escape(heading)}$.*?((?:^\|[^\n]*\n)+)", text, flags=re.M | re.S)[1].splitlines()
    heads, *body = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    assert all(len(cells) == len(heads) for cells in body)
    return [dict(zip(heads, cells, strict=True)) for cells in body[1:]]


def test_a_section_for_each_net_with_the_numbers_of_its_leaderboard(page):
    text = page.read_text()
    systems = ["Net mse", "Net ranknet", "Net listnet", "Random"]
    board = leaderboard(results(), systems=systems)
    table = rows(text, "made-data, Net")
    assert [r["nDCG@10"] for r in table] == [r["mean"] for r in board.rows()]
    assert [r["group"] for r in table] == list(board.table.letters) == ["a", "a", "b", "b"]
    assert {r["loss"]: r["family"] for r in table} == {
        "mse": "pointwise",
        "ranknet": "pairwise",
        "listnet": "listwise",
        "(Random)": "",
    }
    # Two measures of one short name keep their conventions apart.
    assert {"AP(empty=skip)", "AP(empty=0,ties=order)"} <= set(table[0])
    assert len(rows(text, "made-data, Big net")) == 4


def test_costs_are_medians_over_runs(page):
    """Made runs cost 1 s a step on Fold1 and 2 s on Fold2, and as many bytes."""
    cell = cells_of(results())[0]
    assert cell.step_ms["Net mse"] == 1500 and cell.peak_mib["Net mse"] == 1.5 / 2**20
    said = {r["loss"]: r["ms/step"] for r in rows(page.read_text(), "made-data, Net")}
    assert said == {"mse": "1500.00", "ranknet": "1500.00", "listnet": "1500.00", "(Random)": ""}


def test_the_overview_says_who_is_below_and_who_equals_the_best(page):
    table = {r["loss"]: r for r in rows(page.read_text(), "All at once")}
    assert set(table) == {"mse", "ranknet", "listnet"}, "baselines have no rank among losses"
    for loss, row in table.items():
        for cell in ("made-data, Net", "made-data, Big net"):
            assert ("below" if loss == "mse" else "**") in row[cell], "listnet is the best, ranknet equals it"
    assert float(table["mse"]["mean rank"]) == 3


def test_a_loss_without_numbers_is_named_and_stands_last(tmp_path):
    lost = {("Net listnet", f, s): ("failed", "the loss is | nan") for f in (0, 1) for s in (0, 1)}
    found = results(lost)
    means = overview(cells_of(found))
    assert (
        list(means.index)[-1] == "listnet" and np.isnan(means["rank"].iloc[-1]) and np.isfinite(means["rank"].iloc[0])
    )
    text = losses_page([found.save(tmp_path / "r")], tmp_path).read_text()
    assert rows(text, "made-data, Net")[-1]["note"] == "4 failed: the loss is \\| nan"
    assert rows(text, "All at once")[-1]["made-data, Net"] == ""


def test_the_page_says_what_was_run(page):
    text = page.read_text()
    assert "3 losses" in text and "`mlp` with hidden = [7]" in text and "`ranknet` sigma = 2.0" in text
    assert "made-data: 120 test queries, 2 folds" in text and "ltr bench run made --out runs/made" in text
    assert "28 of 28 runs finished" in text and NDCG in text


def test_written_again_it_is_the_same(folder, page, tmp_path):
    assert main(["bench", "losses", "--results", str(folder), "--to", str(tmp_path), "--draws", "200"]) == 0
    for path in page.parent.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")


def test_several_suites_stand_side_by_side(folder, tmp_path):
    other = replace(SUITE, datasets=("other",), systems=(System("Net", "mlp", losses=("mse", "nolonger")),))
    values = {f"Net {loss}": np.random.default_rng(1).uniform(size=(1, 1, 30)) for loss in ("mse", "nolonger")}
    made_results(values, other).save(tmp_path / "other")
    text = losses_page([folder, tmp_path / "other"], tmp_path).read_text()
    table = {r["loss"]: r for r in rows(text, "All at once")}
    assert table["nolonger"]["other, Net"] and not table["nolonger"]["made-data, Net"]
    assert family("nolonger") == ""


def test_nothing_to_show(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no results"):
        losses_page([tmp_path], tmp_path)
    monkeypatch.setattr(places, "suites", lambda: tmp_path)
    with pytest.raises(InputError, match="no results of losses"):
        losses_page()
    baselines = made_suite(systems=(System("Random", "random", baseline=True),))
    found = made_results({"Random": np.full((1, 1, 4), 0.5)}, baselines).save(tmp_path / "r")
    with pytest.raises(InputError, match="nothing was trained with a loss"):
        losses_page([found], tmp_path)


@pytest.mark.skipif(not list(ROOT.glob("benchmarks/results/losses-*")), reason="no results of losses in this checkout")
def test_the_committed_page_is_that_of_the_committed_results(tmp_path):
    """Written again by: ltr bench losses"""
    assert losses_page(to=tmp_path).read_text() == (ROOT / "benchmarks" / "LOSSES.md").read_text()
