"""The shape of the house: arrows point down, heavy imports stay in their rooms, nothing unfinished is left."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ltr"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Ground floor first; a room imports only from its own floor or below (design: arrows only point down).
FLOORS = [
    {"atomic", "catalogue", "errors", "lazy", "paths", "plot_style", "schema", "seeds", "types"},
    {"ops", "datasets"},
    {"metrics", "fronts"},
    {"losses", "rankers", "objectives"},
    {"methods"},
    {"runs"},
    {"bench"},
    {"cli", "sklearn", "__main__"},
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
LIGHTNING_ROOMS = {"datasets", "rankers"}


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> list[tuple[str, int]]:
    """Absolute dotted names a module imports, wherever in the file, with their lines."""
    package = ["ltr", *path.relative_to(PACKAGE).parts[:-1]]
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            if stem == "ltr":
                found += [(f"ltr.{alias.name}", node.lineno) for alias in node.names]
            else:
                found.append((stem, node.lineno))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_down(path):
    room = room_of(path)
    if room == "__init__":
        return
    assert room in FLOOR, f"room {room!r} has no floor; give it one in FLOORS"
    for name, line in imports(path):
        if name.startswith("ltr."):
            other = name.split(".")[1]
            if other.startswith("_"):
                continue
            assert FLOOR[other] <= FLOOR[room], f"{path.name}:{line}: {room} imports {other}, which lies above it"
            assert {room, other} != {"losses", "rankers"}, (
                f"{path.name}:{line}: losses and rankers meet in a config only"
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_lightning_stays_in_two_rooms(path):
    users = [line for name, line in imports(path) if name.split(".")[0] in {"lightning", "pytorch_lightning"}]
    assert not users or room_of(path) in LIGHTNING_ROOMS, f"{path}:{users[0]} imports lightning"


def test_no_circles():
    """No circle among the modules' imports at import time (function-level imports may close one lazily)."""
    graph = {}
    for path in MODULES:
        name = ".".join(["ltr", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")
        top = ast.parse(path.read_text()).body
        package = ["ltr", *path.relative_to(PACKAGE).parts[:-1]]
        targets = set()
        for node in top:
            if isinstance(node, ast.ImportFrom):
                base = package[: len(package) - node.level + 1] if node.level else []
                stem = ".".join([*base, *([node.module] if node.module else [])])
                targets |= {stem, *(f"{stem}.{alias.name}" for alias in node.names)}
        graph[name] = targets
    state: dict[str, int] = {}

    def visit(name, trail):
        state[name] = 1
        for other in sorted(graph[name] & graph.keys() - {name}):
            assert state.get(other) != 1, " -> ".join([*trail, name, other])
            if other not in state:
                visit(other, [*trail, name])
        state[name] = 2

    for name in sorted(graph):
        if name not in state:
            visit(name, [])


@pytest.mark.parametrize(
    "statement", ["import ltr", "import ltr.cli", "import ltr.types, ltr.datasets, ltr.metrics, ltr.rankers, ltr.bench"]
)
def test_imports_are_light(statement):
    """Nothing heavy is loaded before it is needed (a fact about modules, not a timing)."""
    heavy = ["torch", "lightning", "pandas", "sklearn", "matplotlib", "numba", "lightgbm", "pyarrow", "scipy"]
    code = f"{statement}; import sys; print([m for m in {heavy!r} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_no_unfinished_marks():
    words = ["TO" + "DO", "FIX" + "ME", "X" + "XX"]
    hits = [
        f"{p}:{i}"
        for p in MODULES
        for i, line in enumerate(p.read_text().splitlines(), 1)
        if any(w in line for w in words)
    ]
    assert not hits
