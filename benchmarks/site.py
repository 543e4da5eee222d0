"""Writes the documentation site: the Markdown of the repository, docstrings, schema, board, and reports of all results.

    python benchmarks/site.py [--to build/site] [--results mq2008 ...]     (extra docs)

Pages are gathered into build/docs, mkdocs builds them in its strict mode, then every link and picture of every page,
reports included, must lead somewhere. Nothing of it is committed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import typing
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import docstring_parser

from ltr import schema
from ltr.bench import report
from ltr.bench.analysis import submission
from ltr.bench.pages.board_site import build as build_board
from ltr.bench.suite import Suite
from ltr.bench.text import Markdown, markdown_table
from ltr.datasets.cards.card import Card
from ltr.rankers.config import TrainingConfig
from ltr.runs.config import RunConfig

ROOT = Path(__file__).resolve().parent.parent
DOCS, SOURCE = ROOT / "build" / "docs", ROOT / "build" / "source"
# Rooms whose docstrings are pages, and files that pages link to.
ROOMS = (
    "datasets",
    "losses",
    "metrics",
    "rankers",
    "objectives",
    "methods",
    "fronts",
    "runs",
    "bench",
    "sklearn",
    "lightning",
)
COPIED = ("*.md", "*.png", "*.json", "*.toml", "*.py", "*.yml", "*.cff", "*.ipynb")
FILES = {
    "A suite": Suite,
    "A run": RunConfig,
    "Training of nets": TrainingConfig,
    "A dataset's card": Card,
    "A submission to the board": submission.Submission,
    "The board": submission.Board,
}


def schema_page() -> str:
    """Every key of every TOML file, from the dataclasses that read them."""
    lines = [
        "# Every key of every file",
        "",
        "Read strictly: an unknown key is refused with the near miss. Made from the ",
    ]
    lines[-1] += "dataclasses that read the files; a key without a default must be there."
    seen: set[type] = set()
    for title, cls in FILES.items():
        lines += ["", f"## {title}", "", *_tables(cls, "", seen)]
    return "\n".join(lines) + "\n"


def _tables(cls: type, at: str, seen: set[type]) -> Iterator[str]:
    """The table of a dataclass, then those of the dataclasses in it, each once on the page."""
    seen.add(cls)
    doc = docstring_parser.parse(cls.__doc__ or "")
    told: dict[str, str] = {}
    for each in doc.params:  # "a, b: both" says the same of several
        told |= dict.fromkeys(
            (name.strip() for name in each.arg_name.split(",")), " ".join((each.description or "").split())
        )
    hints, rows, inner = typing.get_type_hints(cls), [], []
    for each in dataclasses.fields(cls):
        key = f"{at}.{each.name}" if at else each.name
        rows.append(
            {
                "key": key,
                "type": schema.describe(hints[each.name]),
                "default": _default(each),
                "what": Markdown(told.get(each.name, "").replace("|", r"\|")),
            }
        )
        arms = (hints[each.name], *typing.get_args(hints[each.name]))
        inner += [(key, arm) for arm in arms if dataclasses.is_dataclass(arm) and arm not in seen]
    yield doc.short_description or ""
    yield ""
    yield markdown_table(rows, left=("key", "type", "default", "what"))
    for key, arm in inner:
        if arm not in seen:
            yield f"\n### {key}\n"
            yield from _tables(arm, key, seen)


def _default(each: dataclasses.Field) -> str:
    if each.default_factory is not dataclasses.MISSING:
        return "empty"
    if each.default is dataclasses.MISSING:
        return "required"
    if dataclasses.is_dataclass(each.default):
        return "see below"
    return "" if each.default is None else Markdown(f"`{json.dumps(schema.to_dict({'x': each.default})['x'])}`")


def gather(results: Sequence[Path]) -> None:
    """Fills build/docs."""
    shutil.rmtree(DOCS, ignore_errors=True)
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        path = Path(name)
        if path.parts[0] in ("tests", "ltr", ".ci") or not any(path.match(pattern) for pattern in COPIED):
            continue
        to = DOCS / path
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, to)
    (DOCS / "LICENSE").write_bytes((ROOT / "LICENSE").read_bytes())
    (DOCS / "schema.md").write_text(schema_page())
    shutil.rmtree(SOURCE, ignore_errors=True)
    for path in sorted((ROOT / "ltr").rglob("*.py")):
        to = SOURCE / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_text(fenced(path.read_text(encoding="utf-8")), encoding="utf-8")
    for room in ROOMS:
        page = DOCS / "api" / f"{room}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(f"# ltr.{room}\n\n" + "\n".join(f"::: {module}\n" for module in _modules(room)))
    lines = [
        "# Reports",
        "",
        "Each is one page that needs no network: tables that sort, query by query, and the explorer of fronts.",
        "",
    ]
    lines += ["- [The board](site-of-the-board/index.html)"]
    for folder in results:
        written = report(folder, ROOT / "build" / "reports" / folder.name)
        to = DOCS / "reports" / f"{folder.name}.html"
        to.parent.mkdir(exist_ok=True)
        shutil.copy(written.with_name("report.html"), to)
        title = schema.read_toml(folder / "suite.toml")["title"]
        lines.append(f"- [{title}](reports/{folder.name}.html)")
    build_board(submission.read_board(ROOT / "benchmarks/board/board.toml"), DOCS / "site-of-the-board")
    (DOCS / "reports.md").write_text("\n".join(lines) + "\n")


def fenced(source: str) -> str:
    """Python text whose doctests stand between fences: Markdown would take `>>>` for quotes.

    >>> print(fenced("    >>> 1 + 1\\n    2\\n\\n    text"))
        ```pycon
        >>> 1 + 1
        2
        ```
    <BLANKLINE>
        text
    """
    return re.sub(r'^( *)(>>> (?:(?!^ *(?:"""|$)).*\n?)+)', _fence, source, flags=re.M)


def _fence(found: re.Match) -> str:
    body = found[2] if found[2].endswith("\n") else found[2] + "\n"
    return f"{found[1]}```pycon\n{found[1]}{body}{found[1]}```\n"


def _modules(room: str) -> list[str]:
    """Modules of a room that say what is public in them."""
    home = ROOT / "ltr" / room
    files = sorted(home.rglob("*.py")) if home.is_dir() else [home.with_suffix(".py")]
    public = [f for f in files if "__all__ = [" in f.read_text() and not f.name.startswith("_")]
    return [".".join(f.relative_to(ROOT).with_suffix("").parts) for f in public]


class Links(HTMLParser):
    """Addresses and ids of a page."""

    def __init__(self, page: Path):
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        facts = dict(attributes)
        self.ids |= {value for name in ("id", "name") if (value := facts.get(name))}
        self.addresses += [value for name in ("href", "src") if (value := facts.get(name))]


def broken_links(site: Path) -> list[str]:
    """`page: address` of what leads nowhere inside the site. Addresses elsewhere are not asked for."""
    pages = {page.resolve(): Links(page) for page in sorted(site.rglob("*.html"))}
    found = []
    for page, links in pages.items():
        for address in links.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or page.name == "404.html":
                continue
            to = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            to = to / "index.html" if to.is_dir() else to
            fragment = unquote(parts.fragment)
            missing = not to.is_file() or fragment and to in pages and fragment not in pages[to].ids
            if missing and not (fragment.startswith("__") and to.is_file()):
                found.append(f"{page.relative_to(site.resolve())}: {address}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=ROOT / "build" / "site")
    parser.add_argument("--results", nargs="*", help="folders of benchmarks/results; all by default")
    options = parser.parse_args()
    everything = sorted(path.parent for path in (ROOT / "benchmarks/results").glob("*/suite.toml"))
    gather([folder for folder in everything if options.results is None or folder.name in options.results])
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(options.to.resolve())]
    if subprocess.run(words, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}).returncode:
        return 1
    broken = broken_links(options.to)
    print("\n".join(broken) or f"wrote {options.to / 'index.html'}; every link leads somewhere")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
