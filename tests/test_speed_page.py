"""SPEED.md is what the results files say, and the files are what the measuring room writes. Nothing is timed here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.speed import measure, page  # noqa: E402

FILES = [path for path in sorted(measure.RESULTS.glob("*.json")) if path.stem != page.DEVICE]


@pytest.fixture
def typed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/benchmarks/speed/made.py", "--quick"])


def made(**changes):
    return measure.row("a case", "ms", 2.0, {"a": 6.0, "b": 3.0}, lower=True, name="made", **changes)


def test_the_committed_page_is_what_the_files_say():
    assert page.PAGE.read_text(encoding="utf-8") == page.page(), "write it again: python -m benchmarks.speed --page"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_holds_rows(path):
    for each in measure.read(path):
        assert each["command"].startswith("python -m benchmarks.speed.")
        assert each["threads"] >= 1 and each["versions"]["python"]
        assert (each["met"] is None) or each["target"]
        numbers = [v for v in each["peers"].values() if not isinstance(v, str)]
        if each["ratio_to_best_peer"] is not None:
            ours, ratio = each["ours"], each["ratio_to_best_peer"]
            assert ratio == pytest.approx(min(numbers) / ours, rel=2e-3) or ratio == pytest.approx(
                ours / max(numbers), rel=2e-3
            )


def test_every_script_is_on_the_page():
    scripts = {path.stem for path in measure.RESULTS.parent.glob("*.py")} - {"measure", "page", "__main__", "__init__"}
    assert {name for name in scripts if not name.startswith(page.DEVICE)} == set(page.NAMES)  # that one: a section


def test_a_row_says_who_is_faster_and_whether_that_is_enough(typed):
    each = made()
    assert each["ratio_to_best_peer"] == 1.5 and each["met"] is None and each["target"] is None
    assert each["command"] == "python -m benchmarks.speed.made --quick"
    assert made(target=2.0)["met"] is True and made(target=1.9)["met"] is False
    assert made(target_ratio=1.5)["met"] is True and made(target_ratio=1.6)["met"] is False
    against_a = made(target_ratio=3, target_peer="a")
    assert against_a["met"] is True and against_a["target"] == "3 x a" and page.against(against_a) == "3 x"
    more = measure.row("a case", "MB/s", 8.0, {"a": 4.0, "b": "not installed"}, target_ratio=2)
    assert more["ratio_to_best_peer"] == 2.0 and more["met"] is True
    alone = measure.row("a case", "MB/s", 8.0, {"b": "not installed"}, target_ratio=2)
    assert alone["ratio_to_best_peer"] is None and alone["met"] is None
    assert page.verdict(alone) == "not measured"


def test_a_quick_run_never_replaces_results(typed, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "RESULTS", tmp_path)
    monkeypatch.setattr(measure, "ROOT", tmp_path)
    assert measure.write("made", [made()], quick=True) == tmp_path / "quick" / "made.json"
    assert not (tmp_path / "made.json").exists()
    assert measure.write("made", [made()]) == tmp_path / "made.json"
    assert measure.read(tmp_path / "made.json") == [made()]
    text = page.page(tmp_path)
    assert "\n## made\n" in text and "a 6; b 3" in text
    assert "Not measured yet: ingest, " in text


def test_rows_of_another_form_are_refused(typed, tmp_path):
    for rows in ([], {}, [{"case": 1}], [made(), made()], [made() | {"ours": True}]):
        with pytest.raises(ValueError, match="x.json"):
            measure.check(rows, tmp_path / "x.json")


def test_a_race_takes_turns():
    order = []
    times = measure.race({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "b"] * 4  # one warm-up each
    assert len(times["a"].walls) == len(times["b"].cpus) == 3


def test_a_side_answers_and_says_what_it_cannot(tmp_path):
    with measure.Side("scale", "open") as side:
        answer = side.ask({"folder": str(tmp_path)}, warm=False)
    assert "no store here" in answer["missing"]
