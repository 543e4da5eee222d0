"""The house as its imports draw it: modules, rooms, arrows, circles; and the picture of it in CONTRIBUTING.md.

python tests/house.py           writes the picture again
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "ltr"
PAGE = ROOT / "CONTRIBUTING.md"

# Ground floor first; a room imports only from its own floor or below.
FLOORS = [
    ["errors", "catalogue", "lazy", "seeds", "paths", "atomic", "schema", "types", "plot_style", "progress"],
    ["ops", "datasets"],
    ["metrics", "fronts", "losses"],
    ["objectives", "rankers"],
    ["methods"],
    ["runs"],
    ["bench"],
    ["listing", "cli", "sklearn", "lightning", "__main__"],
]
WORDS = {
    "errors": "messages a user can act on",
    "catalogue": "names, sources and claims",
    "lazy": "imported when used",
    "seeds": "from named axes",
    "paths": "where things lie",
    "atomic": "whole files and folders",
    "schema": "TOML to typed values",
    "types": "Task, Split, Batch",
    "plot_style": "the look of pictures",
    "progress": "a bar while something trains",
    "ops": "masked list primitives",
    "datasets": "cards, readers, store, batches, synthetic task",
    "metrics": "measures and their significance",
    "fronts": "dominance, hypervolume, indicators",
    "losses": "pure functions, one value a list",
    "objectives": "preferences, scalarisations, aggregators",
    "rankers": "nets, trees, baselines and their training",
    "methods": "rankers for several objectives",
    "runs": "a config in, a folder out",
    "bench": "suites, execution, analysis, pages",
    "listing": "what there is, by name",
    "cli": "the command line",
    "sklearn": "scikit-learn's verbs",
    "lightning": "for a Trainer of one's own",
    "__main__": "python -m ltr",
}

# What is imported inside functions, and why: these take a tenth of a second to several seconds, and `import ltr`,
# `ltr --help` and the reading of configs need none of them; or they come with an extra.
HEAVY = {
    "torch",
    "lightning",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "numba",
    "pyarrow",
    "moocore",
    "jinja2",
    "rich",
    "pooch",
    "tqdm",
    "jsonargparse",
    "platformdirs",
    "fsspec",
    "tomli_w",
    "IPython",
    "requests",
}
# Standard modules that not every platform has.
PLATFORM = {"fcntl", "resource"}
EXTRAS = {
    "lightgbm",
    "xgboost",
    "catboost",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "torchjd",
    "openpyxl",
    "submitit",
    "distributed",
}


@dataclass(frozen=True)
class Import:
    """One imported module: its dotted name, the line, and whether it is imported inside a function."""

    name: str
    line: int
    deferred: bool


def modules() -> dict[str, Path]:
    """Dotted name -> file, of every module of the package."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in files}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


def _nodes(node: ast.AST, deferred: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    """Import statements below a node; those for type checkers only do not count."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, deferred
        else:
            yield from _nodes(child, deferred or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


@cache
def doors(module: str) -> dict[str, str]:
    """Public name -> the module that a package takes it from when it is first used (`_HOME` of its `__init__.py`)."""
    for node in ast.parse(modules()[module].read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOME":
            home = ast.literal_eval(node.value)
            return {name: f"{module}.{place}" for place, names in home.items() for name in names}
    return {}


@cache
def imports_of(module: str) -> tuple[Import, ...]:
    """What a module imports, wherever in the file; names of a package that are modules count as those modules."""
    known = modules()
    path = known[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = []
    for node, deferred in _nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, deferred) for alias in node.names]
            continue
        base = package.rsplit(".", node.level - 1)[0] if node.level else ""
        stem = ".".join(part for part in (base, node.module) if part)
        for alias in node.names:
            full = f"{stem}.{alias.name}"
            behind = doors(stem).get(alias.name, stem) if stem in known else stem
            found.append(Import(full if full in known else behind, node.lineno, deferred))
    return tuple(found)


def graph(deferred: bool = True) -> dict[str, set[str]]:
    """Module -> the modules of the package it imports; with or without imports inside functions."""
    known = modules()
    return {
        name: {i.name for i in imports_of(name) if i.name in known and (deferred or not i.deferred)} - {name}
        for name in known
    }


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected modules (Tarjan), each sorted; a package that re-exports its own modules is no circle."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in sorted(arrows[name]):
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(arrows):
        if name not in index:
            visit(name)
    return found


@cache
def heavy(module: str) -> bool:
    """Whether importing this module of the package loads something heavy or optional."""
    seen, todo, arrows = {module}, [module], graph(deferred=False)
    while todo:
        name = todo.pop()
        if any(i.name.split(".")[0] in HEAVY | EXTRAS and not i.deferred for i in imports_of(name)):
            return True
        # Importing a.b.c runs a and a.b as well.
        parents = {name.rsplit(".", k)[0] for k in range(1, name.count("."))}
        for other in (arrows[name] | parents) - seen:
            seen.add(other)
            todo.append(other)
    return False


def picture() -> str:
    """The floors with their rooms, top floor first, and beside each room the rooms of lower floors it takes from."""
    rooms: dict[str, set[str]] = {}
    for name, others in graph().items():
        rooms.setdefault(room_of(name), set()).update(room_of(other) for other in others)
    floor = {room: level for level, names in enumerate(FLOORS) for room in names}
    lines = ["```text"]
    for level in reversed(range(len(FLOORS))):
        for room in FLOORS[level]:
            below = sorted(
                (r for r in rooms.get(room, ()) if floor.get(r, level) < level and floor[r] > 0),
                key=lambda r: (floor[r], r),
            )
            takes = f"  <- {', '.join(below)}" if below else ""
            lines.append(f"{level + 1}  {room:<11} {WORDS[room]}{takes}")
    return "\n".join([*lines, "```"]) + "\n"


def written() -> str:
    """The page with the picture of today between its two comments."""
    text = PAGE.read_text()
    head, _, rest = text.partition("<!-- house -->\n")
    _, _, tail = rest.partition("<!-- /house -->")
    return f"{head}<!-- house -->\n{picture()}<!-- /house -->{tail}"


if __name__ == "__main__":
    PAGE.write_text(written())
