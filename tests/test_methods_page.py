"""METHODS.md is what the catalogues say now."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from ltr.losses import LOSSES, PREFERENCE_LOSSES
from ltr.methods import METHODS
from ltr.metrics import MEASURES
from ltr.objectives import AGGREGATORS, SCALARISATIONS
from ltr.rankers import RANKERS

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "python benchmarks/methods.py"


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("methods", ROOT / "benchmarks" / "methods.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def page(script):
    return script.page()


def test_the_committed_page_is_fresh(page):
    committed = (ROOT / "benchmarks" / "METHODS.md").read_text(encoding="utf-8")
    assert committed == page, f"the catalogues have changed; write the page again: {COMMAND}"
    assert COMMAND in page


def test_every_entry_has_its_block(page):
    for name in LOSSES.names():
        assert page.count(f"\n#### {name}\n") == 1
    for name in (*MEASURES.names(), *RANKERS.names()):
        assert page.count(f"\n### {name}\n") == 1
    for entry in (*LOSSES, *MEASURES, *RANKERS):
        assert f"- formula: `{entry.formula}`" in page


@pytest.mark.parametrize(
    ("kind", "catalogue"),
    [
        ("Method", METHODS),
        ("Preference loss", PREFERENCE_LOSSES),
        ("Scalarisation", SCALARISATIONS),
        ("Aggregator", AGGREGATORS),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_rule_for_several_objectives_has_its_block(page, kind, catalogue):
    assert len(catalogue.names()) > 10
    for entry in catalogue:
        block = page.split(f"\n#### {kind}: {entry.name}\n")
        assert len(block) == 2, entry.name
        text = block[1].split("\n#### ")[0]
        assert f"- formula: `{entry.formula}`" in text
        assert "- source: " in text


def test_what_a_method_is_called_in_a_config_and_how_it_trains(page):
    block = page.split("\n#### Method: modpo\n")[1].split("\n#### ")[0]
    assert '- config name: `method = "modpo"`\n' in block
    assert "- trains a model for each preference, starting from a reference ranker\n" in block
    assert "- parameters: those that nets share, and\n" in block
    assert "| beta | `1.0` | how dear it is to leave the reference. |" in block
    assert (
        "- witness: its public formula [read]" in page.split("\n#### Preference loss: modpo\n")[1].split("\n#### ")[0]
    )


def test_a_block_says_what_is_claimed_and_who_vouches(page):
    block = page.split("\n#### listnet\n")[1].split("\n####")[0]
    assert "- claims: needs pair, shift invariant, convex\n" in block
    assert "- parameters: `target = 'gain'`, `eps = 0.0`, `temperature = 1.0`, `gain = None`\n" in block
    golden = json.loads((ROOT / "tests" / "golden" / "losses.json").read_text())["values"]
    (soft,) = (v for v in golden if v["loss"] == "listnet" and v["params"] == {"target": "soft"})
    assert f"- worked value with `target='soft'`: {soft['value']}; agrees: {soft['agrees']}" in block
    assert (
        "- witness: rax 0.4.0, 2 values, with `target='lin'`; converted: divided by sum y: rax takes raw labels"
        in block
    )
    assert "disagrees on other lists: allRank stops Sinkhorn" in page.split("\n#### neuralndcg\n")[1].split("\n####")[0]


def test_every_default_of_a_ranker_stands_in_its_table(page):
    block = page.split("\n### mlp\n")[1].split("\n### ")[0]
    assert "| hidden | `(64, 32)` | width of each hidden layer. |" in block


def test_tables_are_whole_and_words_stay_words(script, page):
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") == 4, line
    assert script._plain("a_b * `c_d*` <e>") == "a\\_b \\* `c_d*` \\<e>"
