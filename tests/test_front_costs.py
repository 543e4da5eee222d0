"""Tables of what fronts cost and of what tuning chose."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_front_results import made_front_results

from ltr.bench.analysis.tuning import edges
from ltr.bench.pages.front_costs import choices_table, costs_table, edges_table

RATE = "training.learning_rate"
GRID = {RATE: [0.1, 0.2, 0.4], "params.start": ["scratch", "augmented"], "params.alpha": [1.0, 2.0]}


@pytest.fixture(scope="module")
def results():
    """Two folds of DPO-LS chose the first and a middle rate; LS has no grid."""
    made = made_front_results(folds=2)
    first, *others = made.suite.systems
    suite = replace(
        made.suite, systems=(replace(first, grid=GRID), *others), tuning=replace(made.suite.tuning, points=3)
    )

    def entry(rate):
        values = {RATE: rate, "params.start": "scratch", "params.alpha": 1.0}
        return {"chosen": values, "candidates": [{"point": 0, "vali": 0.5, "values": values}]}

    chosen = {"systems": {"made-data": {"DPO-LS": {"Fold1": entry(0.1), "Fold2": entry(0.2)}}}}
    runs = made.runs.assign(
        operations=made.runs.system.map({"DPO-LS": 4e9}).fillna(1e9), cpu_seconds=2.0, kept="epoch 3"
    )
    return replace(made, suite=suite, chosen=chosen, runs=runs)


def test_choices_at_the_edges_are_counted(results):
    (row,) = edges([results, results]).to_dict("records")  # two values are no range, words have no order
    assert row == {"key": RATE, "choices": 4, "lowest": 2, "highest": 0, "share": 0.5}
    assert "| training.learning_rate | 4 | 2 | 0 | 50.0% |" in edges_table([results, results])
    assert edges_table([replace(results, chosen={})]) == ""


def test_costs_are_counted_with_their_tuning(results):
    table = costs_table(results, "made-data", "DPO-LS")
    head, _, *body = ([cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines())
    rows = {row[0]: dict(zip(head, row, strict=True)) for row in body}
    shown = ("operations", "times DPO-LS", "with tuning")
    assert [rows["DPO-LS"][name] for name in shown] == ["4e+09", "1.000", "1.6e+10"]  # itself and three points
    assert [rows["LS"][name] for name in shown] == ["1e+09", "0.250", "1e+09"]


def test_what_was_chosen_is_listed(results):
    table = choices_table(results, "made-data")
    assert "learning_rate = 0.1, start = scratch, alpha = 1 | epoch 3" in table
