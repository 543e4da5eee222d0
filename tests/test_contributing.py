"""The worked examples of CONTRIBUTING.md, applied to a scratch copy of the project and tested there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys

import house
import pytest

BLOCK = re.compile(r"<!-- (append|new|row|value): (\S+) -->\n```\w+\n(.*?)^```", re.M | re.S)
# The tests that walk the catalogues, and what of them the examples meet.
WALKS = ["losses", "metrics", "rankers", "methods", "cards", "methods_page"]
MEETS = "logcosh or every_loss or every_measure or deepsets or extrapolated or toy or methods_page"


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """A copy of the project with every example in it."""
    root = tmp_path_factory.mktemp("scratch")
    for folder in ("ltr", "tests", "data", "benchmarks"):
        data = ("raw", "store", "stores") if folder == "data" else ()
        # What is compiled is valid where its file stays as it is; the examples change a few.
        skip = shutil.ignore_patterns(*data, "*.parquet", "*.png", "*.html")
        shutil.copytree(house.ROOT / folder, root / folder, ignore=skip)
    for file in ("pyproject.toml", "README.md", "CONTRIBUTING.md"):
        shutil.copy(house.ROOT / file, root / file)
    for how, name, text in BLOCK.findall(house.PAGE.read_text()):
        path = root / name
        if how == "append":
            path.write_text(path.read_text().rstrip("\n") + "\n\n\n" * name.endswith(".py") + "\n" + text)
        elif how == "row":  # under the last one of its table
            head, bar, tail = path.read_text().rpartition("\n|")
            line, end, rest = tail.partition("\n")
            path.write_text(head + bar + line + end + text + rest)
        elif how == "new":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        else:
            golden = json.loads(path.read_text())
            golden["values"].append(json.loads(text))
            path.write_text(json.dumps(golden))
    return root


def run(scratch, *words):
    environment = {**os.environ, "PYTHONPATH": str(scratch)}
    done = subprocess.run([sys.executable, *words], cwd=scratch, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


def test_each_example_names_its_file():
    kinds = {name.split("/")[0] + "/" + name.split("/")[1] for _, name, _ in BLOCK.findall(house.PAGE.read_text())}
    assert {"ltr/losses", "ltr/metrics", "ltr/rankers", "ltr/methods", "data/toy"} <= kinds


@pytest.mark.timeout(600)
def test_the_examples_pass_what_the_catalogues_demand(scratch):
    """One file a seam (with its witness), the page of methods written again: everything else follows."""
    run(scratch, "benchmarks/methods.py")
    page = (scratch / "benchmarks" / "METHODS.md").read_text()
    for name in ("logcosh", "F1", "deepsets", "mod-extrapolated"):
        assert name in page
    files = [f"tests/test_{name}.py" for name in WALKS]
    out = run(scratch, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", *files, "-k", MEETS)
    for name in ("logcosh", "every_measure", "deepsets", "extrapolated", "toy"):
        assert re.search(rf"PASSED .*{name}", out), name
