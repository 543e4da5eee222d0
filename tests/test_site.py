"""The documentation site: the schema says every key, broken links are found, and the walk from A to Z can be walked."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ltr.bench.pages.facts import put_between
from ltr.bench.suite import Suite
from ltr.cli import main

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def site():
    spec = importlib.util.spec_from_file_location("site_of_docs", ROOT / "benchmarks/site.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_schema_says_every_key(site):
    page = site.schema_page()
    rows: dict[str, str] = {}
    for key, told in re.findall(r"^\| ([\w.]+) \|(.*)\|$", page, flags=re.M):
        rows.setdefault(key, told)  # the suite's come first
    for each in dataclasses.fields(Suite):
        assert each.name in rows and rows[each.name].count("|") == 2, each.name
    assert "required" in rows["datasets"] and "for the report" in rows["title"] and "`[0]`" in rows["seeds"]
    assert {"tuning.points", "limits.workers", "data.name", "files.sha256"} <= set(rows)
    assert all("::: " not in line for line in page.splitlines())


def test_doctests_are_fenced(site):
    source = 'def f():\n    """Text.\n\n    >>> f()\n    1\n    """\n'
    assert site.fenced(source) == 'def f():\n    """Text.\n\n    ```pycon\n    >>> f()\n    1\n    ```\n    """\n'
    for path in sorted((ROOT / "ltr/fronts").glob("*.py")):
        text = path.read_text()
        assert site.fenced(text).count("```pycon") == len(re.findall(r"(?:\n\n|\"\"\"\n) *>>>", text))
        compile(site.fenced(text), path.name, "exec")


def test_links_that_lead_nowhere_are_found(site, tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/index.html").write_text('<p id="here"><a href="../a.html#top">a</a><a href="">self</a>')
    (tmp_path / "a.html").write_text(
        '<h1 id="top"></h1><a href="sub/#here">fine</a><a href="https://example.org/x">elsewhere</a>'
        '<a href="sub/#gone">1</a><img src="no.png"><a href="b.html">3</a><a href="#top">fine</a>'
    )
    assert site.broken_links(tmp_path) == ["a.html: sub/#gone", "a.html: no.png", "a.html: b.html"]


def test_every_page_of_the_navigation_is_gathered(site):
    names = re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), flags=re.M)
    made = {"schema.md", "reports.md", *(f"api/{room}.md" for room in site.ROOMS)}
    missing = [n for n in names if n not in made and not (ROOT / n).is_file()]
    assert len(names) > 10 and missing == []


def test_your_own_data_from_a_to_z(tmp_path, monkeypatch, capsys):
    """The page's own commands, in its order, on a made shop."""
    page = (ROOT / "docs/own-data.md").read_text()
    rng = np.random.default_rng(0)
    n = 60 * 8
    frame = pd.DataFrame(
        {"session": np.repeat([f"s{i}" for i in range(60)], 8), "document": [f"d{i}" for i in range(n)]}
    )
    frame["margin"], frame["price"] = rng.integers(0, 3, n), rng.normal(10, 2, n).round(3)
    frame["rating"], frame["stock"] = rng.normal(4, 1, n).round(3), rng.integers(0, 9, n)
    frame["bought"] = (frame.rating + rng.normal(0, 0.5, n) > 4.3).astype(int)
    monkeypatch.chdir(tmp_path)
    frame.to_csv("shop.csv", index=False)
    Path("shop.toml").write_text(re.search(r"```toml\n(.*?)```", page, flags=re.S)[1])
    commands = [line for block in re.findall(r"```bash\n(.*?)```", page, flags=re.S) for line in block.splitlines()]
    assert len(commands) >= 10
    for line in commands:
        assert main(shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    assert Path("runs/shop/report/report.html").is_file() and len(pd.read_csv("scores.csv")) == n


def test_a_block_of_the_readme_is_written_again(tmp_path):
    file = tmp_path / "README.md"
    file.write_text("# A\n<!-- fronts: written by x -->\nold\n<!-- /fronts -->\nrest\n")
    put_between(file, "fronts", "new \\1 $x")
    put_between(file, "losses", "nobody asked")
    assert file.read_text() == "# A\n<!-- fronts: written by x -->\nnew \\1 $x\n<!-- /fronts -->\nrest\n"
