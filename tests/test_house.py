"""The shape of the house: arrows point down, no circles, heavy imports stay in their rooms, nothing grows too large."""

from __future__ import annotations

import importlib
import re
import statistics
import subprocess
import sys

import house

FLOOR = {room: level for level, rooms in enumerate(house.FLOORS) for room in rooms}
LIGHTNING_ROOMS = {"datasets", "rankers"}


def each_import():
    for name in house.modules():
        for found in house.imports_of(name):
            yield name, found


def test_arrows_point_down():
    wrong = []
    for name, found in each_import():
        room = house.room_of(name)
        if room == "__init__" or not found.name.startswith("ltr.") or found.name.split(".")[1].startswith("_"):
            continue
        assert room in FLOOR, f"room {room!r} has no floor; give it one in tests/house.py"
        other = house.room_of(found.name)
        if FLOOR[other] > FLOOR[room]:
            wrong.append(f"{name}:{found.line}: {room} imports {other}, which lies above it")
        if (room, other) == ("rankers", "losses") and name != "ltr.rankers.base":
            wrong.append(f"{name}:{found.line}: a ranker takes any loss; only base.py looks up a name")
    assert not wrong, "\n".join(wrong)


def test_no_circles():
    """None, imports inside functions counted."""
    assert house.circles(house.graph()) == []


def test_circles_are_seen():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert house.circles(arrows) == [["a", "b", "c"]]


def test_imports_inside_functions_keep_something_cheap():
    """Only what is heavy or optional, or loads such a thing, is imported inside a function (see tests/house.py).

    Commands import their rooms late, all of them: `ltr --help` names every command and waits for none.
    """
    known = house.modules()
    wrong = []
    for name, found in each_import():
        if found.deferred and house.room_of(name) != "cli":
            if found.name in known:
                light = not house.heavy(found.name)
            else:
                light = found.name.split(".")[0] not in house.HEAVY | house.EXTRAS | house.PLATFORM
            if light:
                wrong.append(f"{name}:{found.line}: import {found.name} at the top")
    assert not wrong, "\n".join(wrong)


def test_lightning_stays_in_two_rooms():
    users = {house.room_of(n) for n, i in each_import() if i.name.split(".")[0] in {"lightning", "pytorch_lightning"}}
    assert users <= LIGHTNING_ROOMS


def test_imports_are_light():
    """Nothing heavy is loaded before it is needed (a fact about modules, not a timing)."""
    heavy = sorted(house.HEAVY | house.EXTRAS)
    rooms = "import ltr.types, ltr.datasets, ltr.metrics, ltr.rankers, ltr.bench"
    for statement in ("import ltr", "import ltr.cli", rooms):
        code = f"{statement}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.strip() == "[]", statement


def test_no_unfinished_marks():
    words = ["TO" + "DO", "FIX" + "ME", "X" + "XX", "fmt: " + "skip"]
    hits = [
        f"{p}:{i}"
        for p in house.modules().values()
        for i, line in enumerate(p.read_text().splitlines(), 1)
        if any(w in line for w in words)
    ]
    assert not hits


def test_modules_say_what_they_are():
    for name in house.modules():
        if not name.endswith("__main__"):
            assert (importlib.import_module(name).__doc__ or "").strip(), f"{name} has no docstring"


def test_files_hold_one_idea():
    """No file above 450 lines, half of them at most 160 (functions: ruff's C901, see pyproject.toml)."""
    lengths = {str(p.relative_to(house.ROOT)): len(p.read_text().splitlines()) for p in house.modules().values()}
    assert {f: n for f, n in lengths.items() if n > 450} == {}
    assert statistics.median(lengths.values()) <= 160


def test_the_picture_is_of_today():
    assert house.PAGE.read_text() == house.written(), "run: python tests/house.py"


def test_tests_do_not_ask_for_the_name_of_a_method():
    """What a method is, its claims say; a test that asks for a name will be wrong for the next method."""
    text = (house.ROOT / "tests" / "test_methods.py").read_text()
    assert not re.findall(r"if .*\bname (?:==|!=|in|not in) [\"'({\[]", text)
