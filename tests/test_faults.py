"""The short form of `python -m tests.faults`: a few of each kind with fixed seeds, and that the harness can see."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from faults import damage, fuzz, guided, table
from faults.outcomes import MISTAKES, OUTCOMES, Case, Seen, Tally, alarm, look
from faults.subjects import Command
from warm import Warm

ROOT = Path(__file__).resolve().parent.parent
NEVER = float("inf")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    return tmp_path


def outcomes(tally: Tally, kind: str) -> Counter:
    return sum((Counter({o: n}) for (k, _, o), n in tally.counts.items() if k == kind and o in OUTCOMES), Counter())


def test_damaged_files_are_refused_or_do_not_matter(place):
    tally = Tally()
    damage.run(tally, 0, until=NEVER, cases=60, root=place / "damage", kinds=("store", "stopped"))
    assert tally.mistakes == []
    found = outcomes(tally, "damage")
    assert found["refused"] > 15 and found["right"] > 10, found
    groups = {group for kind, group, _ in tally.counts if kind == "damage"}
    assert {"store: manifest.json", "store: features.npy", "stopped: last.ckpt"} <= groups, groups


def test_readers_refuse_or_are_right(place, monkeypatch):
    monkeypatch.setattr(fuzz, "_VARIANTS", 8)
    tally = Tally()
    fuzz.run(tally, 0, until=NEVER, cases=700, root=place)
    assert tally.mistakes == []
    found = outcomes(tally, "fuzz")
    assert found["refused"] > 200 and found["right"] > 100, found
    assert {name for _, name, outcome in tally.counts if outcome == "refused"} == set(fuzz.TARGETS)


def test_kills_and_signals_in_processes_of_their_own(place):
    """Through the command line of the harness, whose process has computed nothing before it forks."""
    words = ["-m", "tests.faults", "--only", "kills", "signals", "--cases", "2", "--seed", "5", "--no-table"]
    with Warm([*words, "--kinds", "net"], cwd=ROOT) as process:
        code, said, err = process.end()
    assert code == 0, said + err
    assert "| kills | " in said and "| signals | 2 |" in said


def test_the_harness_sees_what_is_wrong(place, monkeypatch):
    """Readers without an end, that break and that are wrong; every outcome of a command over a damaged file."""
    folder = place

    def sleeping(*_):
        time.sleep(30)

    def broken(*_):
        raise KeyError("x")

    def wrong(*_):
        raise fuzz.Wrong("3, came 4")

    monkeypatch.setattr(fuzz, "alarm", lambda _: alarm(0.2))
    assert fuzz.one(sleeping, b"", folder)[0] == "hang"
    assert fuzz.one(broken, b"", folder) == ("traceback", "KeyError: 'x' at no frame of ltr")
    assert fuzz.one(wrong, b"", folder) == ("silent wrong", "3, came 4")
    command, names = Command(("evaluate", "run")), ("record.json", "run")
    judge = {
        "right": Seen(0, "1.0"),
        "silent wrong": Seen(0, "2.0"),
        "refused": Seen(2, "", "ltr: run: damaged"),
        "said": Seen(0, "2.0", "ltr: run: record.json was changed"),
        "traceback": Seen(1, "", "ltr: run: damaged, or a mistake of ltr (KeyError: 'x')"),
        "hang": Seen(None, hung=True),
    }
    assert {o: damage.classed(command, seen, (0, "1.0"), names) for o, seen in judge.items()} == {
        o: o for o in OUTCOMES
    }
    assert set(judge) == set(OUTCOMES) and MISTAKES == ("silent wrong", "traceback", "hang")


def test_a_number_that_changed_is_found(place, monkeypatch):
    """Without the hashes of a store, the harness finds numbers that differ and nobody said so."""
    monkeypatch.setattr("ltr.datasets.store.shard.check_features", lambda *_: None)
    tally = Tally()
    damage.run(tally, 0, until=NEVER, cases=12, root=place / "damage", kinds=("store",))
    found = [c for c in tally.mistakes if "features.npy" in c.group]
    assert found and {c.outcome for c in found} <= {"silent wrong", "traceback"}
    assert "then: ltr train" in found[0].repeat and "seed " in found[0].repeat


def test_the_page_is_made_of_the_last_run():
    facts = json.loads((ROOT / "tests" / "faults" / "last.json").read_text())
    assert (ROOT / "tests" / "faults" / "README.md").read_text() == table.page(facts)
    assert set(facts) >= {"kills", "damage", "fuzz", "signals"} and all(its["counts"] for its in facts.values())


def test_the_table_counts(place):
    tally = Tally()
    tally.add(Case("fuzz", "CSV", "right"))
    tally.add(Case("fuzz", "CSV", "traceback", "seed 1", "KeyError | x"))
    facts = table.facts(tally, 3, {"fuzz": 1.2})
    table.write(facts, place)
    text = (place / "README.md").read_text()
    assert "| fuzz | 2 | 0 | 0 | 1 | 0 | **1** | 0 | 1 | 1 | 3 | 20" in text and "KeyError \\| x" in text
    assert json.loads((place / "last.json").read_text()) == facts
    more = Tally()
    more.add(Case("fuzz", "CSV", "right"))
    more.add(Case("fuzz", "TREC run", "refused"))
    table.write(table.facts(more, 4, {"fuzz": 0.8}), place, add=True)
    both = json.loads((place / "last.json").read_text())["fuzz"]
    assert both["counts"] == {"CSV": {"right": 2, "traceback": 1}, "TREC run": {"refused": 1}}
    assert (both["rounds"], both["seconds"], both["seed"], len(both["mistakes"])) == (2, 2.0, 4, 1)


def test_inputs_are_looked_for_by_what_they_reach(place):
    pytest.importorskip("atheris")
    tally = Tally()
    guided.run(tally, 0, until=time.monotonic() + 60, cases=300, root=place, targets=("measure name",))
    assert tally.mistakes == [] and outcomes(tally, "guided").total() == 300


def test_a_command_is_seen_whole(place):
    seen = look(["data", "nonsense"])
    assert (seen.code, seen.broken) == (2, "") and "no command" in seen.err
