"""README blocks, docstring examples and notebooks are tests."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import house
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
ROOMS = sorted({name.split(".")[1] for name in house.modules() if "." in name})


@pytest.mark.usefixtures("own_entries")
@pytest.mark.parametrize("room", ROOMS)
def test_docstring_examples(room):
    """As the documentation of numpy and torch does, examples take `np` and `torch` as imported."""
    for name in house.modules():
        if house.room_of(name) == room and not name.endswith("__main__"):
            module, options = importlib.import_module(name), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            assert doctest.testmod(module, extraglobs={"np": np, "torch": torch}, optionflags=options).failed == 0, name


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


@pytest.mark.parametrize("number, code", list(enumerate(blocks("python"))))
def test_readme_python(number, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, f"README.md python block {number}", "exec"), {"__name__": "readme"})


def readme_commands() -> list[str]:
    lines = [line.split("&&")[-1].split(" #")[0].strip() for block in blocks("bash") for line in block.splitlines()]
    return [line for line in lines if line.startswith("ltr ")]


def test_readme_commands_exist(capsys):
    """The sub-command of every `ltr ...` line of the README exists, and so does each of its options."""
    from ltr.cli import main

    for line in readme_commands():
        words = line.split()[1:]
        command = words[:2] if words[0] in {"data", "bench", "board"} else words[:1]
        assert main([*command, "--help"]) == 0
        page = capsys.readouterr().out
        for option in (word for word in words if word.startswith("--")):
            assert option in page, f"{' '.join(command)} has no {option}"


def test_ci_runs_the_readme_command():
    command = re.search(r"<!-- test-command -->\s*```bash\n(.*?)```\s*<!-- /test-command -->", README, flags=re.S)
    assert command and "pytest" in command[1] and "[test]" in command[1]
    script = (ROOT / ".ci" / "run").read_text()
    assert "test-command" in script and "pytest" not in script


def test_pinned_versions_satisfy_the_bounds():
    """constraints.txt and pyproject.toml tell one story."""
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = project["dependencies"] + [r for extra in project["optional-dependencies"].values() for r in extra]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    for need in map(Requirement, needs):
        name = re.sub(r"[-_.]+", "-", need.name).lower()
        if name == "ltr-suite" or (need.marker and not need.marker.evaluate({"sys_platform": "linux"})):
            continue
        assert name in pins, f"{need.name} is not pinned in constraints.txt"
        assert need.specifier.contains(pins[name]), f"{need} does not admit the tested {pins[name]}"
