"""The shape of the house: arrows point down, no circles, heavy imports stay in their rooms, nothing grows too large."""

from __future__ import annotations

import importlib
import subprocess
import sys

import house

FLOOR = {room: level for level, rooms in enumerate(house.FLOORS) for room in rooms}
LIGHTNING_ROOMS = {"datasets", "rankers"}
# Compiled kernels: a branch is an instruction there, and a call would leave the compiled code.
COMPILED = {"ltr/datasets/readers/svmlight_kernel.py", "ltr/rankers/trees/lambda_gradients.py"}


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
        if {room, other} == {"losses", "rankers"}:
            wrong.append(f"{name}:{found.line}: losses and rankers meet in a config only")
    assert not wrong, "\n".join(wrong)


def test_circles_are_seen():
    arrows = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}
    assert house.circles(arrows) == [["a", "b", "c"]]


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


def test_the_picture_is_of_today():
    assert house.PAGE.read_text() == house.written(), "run: python tests/house.py"
