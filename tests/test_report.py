"""The pages: written from files alone, the same bytes each time, and one HTML page that needs nothing but itself."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from made_results import NDCG, made_results, made_suite, three_systems

from ltr.bench import leaderboard, load_results, report
from ltr.bench.pages.pairs_picture import pairs_picture
from ltr.bench.pages.pictures import PALETTE, pictures
from ltr.bench.suite import System
from ltr.errors import InputError

VOID = {"meta", "link", "br", "img", "input", "hr"}


class Page(HTMLParser):
    """Tags in balance, with their attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results with a failed run, a label that needs escaping, and their pages."""
    folder = tmp_path_factory.mktemp("report")
    suite = made_suite(description="A net < another & a baseline | with a bar.")
    lost = {("Net listnet", 1, 1): ("failed", "CUDA <out> of | memory")}
    made_results(three_systems(), suite, lost).save(folder)
    report(folder, draws=200)
    return folder


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "report.html").read_text()


@pytest.fixture(scope="module")
def markdown(folder):
    return (folder / "report.md").read_text()


def test_pages_are_the_same_bytes_each_time(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    for path in (tmp_path / "copy").iterdir():
        if path.suffix in (".md", ".html", ".png"):
            path.unlink()
    report(tmp_path / "copy", draws=200)
    ours = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert {p.name: p.read_bytes() for p in (tmp_path / "copy").iterdir()} == ours


def test_pages_go_elsewhere_with_their_files(folder, tmp_path):
    page = report(folder, tmp_path / "there", draws=200)
    assert page == tmp_path / "there" / "report.md"
    assert {p.name for p in page.parent.iterdir()} == {p.name for p in folder.iterdir()}
    report(tmp_path / "there", draws=200)  # and are complete there


def test_no_results_no_report(tmp_path):
    with pytest.raises(InputError, match="no results"):
        report(tmp_path)


def test_damaged_results_are_named(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "at")
    for path in (p for p in sorted((tmp_path / "at").rglob("*")) if p.suffix in (".parquet", ".json", ".toml")):
        whole = path.read_bytes()
        edited = [whole.replace(b"0.2", b"0.3")] if path.name == "chosen.toml" else []  # what a page would print
        for harmed in (b"", whole[: len(whole) // 2], b"\xff" + whole, *edited):
            path.write_bytes(harmed)
            with pytest.raises(InputError, match=path.name):
                load_results(tmp_path / "at")
        path.write_bytes(whole)
    load_results(tmp_path / "at")


def test_markdown_says_what_was_run_and_what_came_out(folder, markdown):
    assert "# A made suite" in markdown and "ltr bench run made --out runs/made" in markdown
    assert "2 points a system of its grid" in markdown and "training.learning_rate = 0.2" in markdown
    assert f"{leaderboard(made_results(three_systems())).table['mean'][0]:.4f}" in markdown
    for name in re.findall(r"!\[.+?\]\((.+?)\)", markdown):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert len(re.findall(r"!\[", markdown)) == 5


def test_markdown_tables_are_whole(markdown):
    """Every row of a table has as many cells as its head: a bar in a reason is escaped."""
    for table in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.M):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(cells) == 1, table
    assert "CUDA &lt;out&gt; of \\| memory" in markdown


LABEL = "<i>[x](y) *b*|$a$ $\\frac{"
HOSTILE = "<script>alert(1)</script> [x](javascript:alert) ![i](j) **b** `c` _d_ | e & f ~~g~~ \\ # h"


def test_markdown_shows_titles_and_labels_as_they_are(tmp_path):
    """As the HTML page does: no tag, link, emphasis or cell begins in what a user wrote."""
    from markdown_it import MarkdownIt

    systems = (
        System(LABEL, "mlp", losses=("mse",)),
        System("# two", "random", baseline=True),
        System("- three", "random"),
    )
    suite = made_suite(
        title=HOSTILE,
        description=f"# {HOSTILE}\n\n1. {HOSTILE}\n- x",
        systems=systems,
        datasets=("<b>data</b>|*x*$y$",),
    )
    labels = [v.label for v in suite.variants()]
    values = dict(zip(labels, three_systems().values(), strict=True))
    lost = {(labels[0], 1, 1): ("failed", f"{HOSTILE}\n\n# no heading")}
    made_results(values, suite, lost).save(tmp_path)
    text = report(tmp_path, draws=50).read_text()
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    kinds = {token.type for token in [*tokens, *inline]}
    assert not kinds & {"html_block", "html_inline", "link_open", "strong_open", "em_open", "s_open"}
    images = [child.attrs["src"] for child in inline if child.type == "image"]
    assert len(images) == 5 and all(name.endswith(".png") for name in images)
    assert [t.tag for t in tokens if t.type == "heading_open"].count("h1") == 1
    shown = ["".join(c.content for c in token.children) for token in tokens if token.type == "inline"]
    assert HOSTILE in shown and f"# {HOSTILE} 1. {HOSTILE} - x" in shown, "title and description, each on one line"
    assert all(shown.count(label) >= 2 for label in labels), "in the leaderboard and among all measures"
    assert "<b>data</b>|*x*$y$" in shown and f"{HOSTILE} # no heading" in shown
    assert "<script>alert(1)" not in (tmp_path / "report.html").read_text()


def test_draws_mean_what_they_say(tmp_path):
    """Of hypervolumes; means need none."""
    from made_front_results import made_front_results

    from ltr.cli import main

    made_results(three_systems()).save(tmp_path / "one")
    made_front_results(queries=12).save(tmp_path / "two")
    for folder in ("one", "two"):
        assert main(["bench", "report", str(tmp_path / folder), "--draws", "200", "-q"]) == 0
    assert "draws" not in (tmp_path / "one" / "report.md").read_text()
    with pytest.raises(InputError, match="draws"):
        report(tmp_path / "one", draws=0)


def test_pages_say_what_chose(tmp_path):
    from made_front_results import made_front_results

    assert (
        "are chosen by nDCG(gain=exp2,empty=skip)@10 on validation"
        in report(made_results(three_systems()).save(tmp_path / "one"), draws=20).read_text()
    )
    text = report(made_front_results(queries=12).save(tmp_path / "two"), draws=20).read_text()
    assert "Epochs are chosen by the weighted sum" in text and "hyperparameters by the hypervolume" in text


def test_html_needs_nothing_but_itself(html):
    assert "http" not in re.sub(r"<script type=.*?</script>", "", html), "no address, not even of a namespace"
    assert not re.findall(r"@import|url\((?!#)", html)
    page = Page(html)
    assert not page.all("link") and not page.all("iframe") and not page.all("img")
    assert all("src" not in script for script in page.all("script"))
    assert all(a["href"].startswith("#") for a in page.all("a"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)


def test_html_is_well_formed_and_escaped(html):
    page = Page(html)
    assert page.open == []
    assert "CUDA &lt;out&gt; of | memory" in html and "A net &lt; another &amp; a baseline" in html
    assert "made-data" in "".join(page.text)


def test_html_can_be_sorted_by_keyboard_and_read_aloud(html):
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert [h.get("aria-sort") for h in page.all("th")].count("descending") == 1
    # Every head that sorts is a button; every picture says what it shows; what scrolls can be reached.
    heads = re.findall(r"<thead>.*?</thead>", html, flags=re.S)
    assert heads and all(head.count("<th ") - head.count('class="bar"') == head.count("<button") for head in heads)
    images = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(images) == 5 and all(len(svg["aria-label"]) > 20 for svg in images)
    scrolls = [div for div in page.all("div") if "scroll" in div.get("class", "")]
    assert scrolls and all(div.get("tabindex") == "0" and div.get("aria-label") for div in scrolls)


def test_html_is_light_and_dark(html):
    assert "prefers-color-scheme: dark" in html and 'data-theme="dark"' in html
    drawn = "".join(re.findall(r"<svg role.*?</svg>", html, flags=re.S))
    assert "var(--c0)" in drawn and "var(--ink)" in drawn
    assert not re.findall(r"#[0-9a-f]{6}", drawn), "every colour of a picture comes from the style sheet"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_can_be_read(html, theme):
    """WCAG contrast: 4.5 for text, 3 for marks, on the ground of either theme."""
    first, second = re.findall(r"\{\s*(--paper.*?)\}", html, flags=re.S)[:2]
    colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6})", first if theme == "light" else second))
    for name, least in {"ink": 7, "soft": 4.5, "link": 4.5, **{f"c{i}": 3 for i in range(len(PALETTE))}}.items():
        assert contrast(colours[name], colours["paper"]) >= least, name


def contrast(one: str, two: str) -> float:
    def luminance(text):
        text = text[1:] if len(text) == 7 else "".join(2 * c for c in text[1:])
        parts = [int(text[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(two)))
    return (light + 0.05) / (dark + 0.05)


def test_pictures_where_there_is_little_to_draw(tmp_path):
    """One system, one query a fold, no curves: what cannot be drawn is left out, nothing fails."""
    values = three_systems(3)["Net mse"][:, :, 1:2]
    results = made_results({"Net mse": values})
    object.__setattr__(results, "curves", results.curves.iloc[:0])
    drawn = pictures(results, leaderboard(results), "x")
    assert [p.title for p in drawn] == ["Leaderboard", "Quality and cost"]
    assert f"{leaderboard(results).table['mean'][0]:.4f}" in re.sub(r"<[^>]*>", "", drawn[0].svg()), "all four digits"


def test_curves_of_more_losses_than_colours():
    """All are drawn, the best eight are named, and the legend finds room (a picture without room warns)."""
    losses = [f"loss{i}" for i in range(40)]
    suite = made_suite(systems=(System("Net", "mlp", losses=tuple(losses)), System("Random", "random", baseline=True)))
    values = {f"Net {loss}": np.full((1, 1, 5), i / 40) for i, loss in enumerate(losses)}
    results = made_results(values, suite)
    picture = next(p for p in pictures(results, leaderboard(results), "x") if p.title == "Learning curves")
    ax = picture.figure.axes[0]
    assert len(ax.lines) == 40
    assert [text.get_text() for text in ax.get_legend().get_texts()] == losses[:-9:-1]
    assert picture.svg().startswith("<svg")


def test_who_differs_from_whom_is_drawn_for_the_best_and_where_any_do():
    names = [f"s{i}" for i in range(50)]
    p = pd.DataFrame(np.ones((50, 50)), index=names, columns=names)
    assert pairs_picture(p, "nDCG", "t", "x") is None
    p.iloc[0, 1] = p.iloc[1, 0] = 0.04
    p.iloc[0, 49] = p.iloc[49, 0] = 0.0001  # not among the best forty
    picture = pairs_picture(p, "nDCG", "t", "x")
    assert picture.text == "1 pair of 780 differs at p < 0.05, corrected for all of them."
    (patch,) = picture.figure.axes[0].patches
    assert patch.get_path().get_extents().bounds == (0.5, -0.5, 1.0, 1.0)
    assert "the best 40 of 50 systems" in (svg := picture.svg()) and "var(--c0)" in svg
    few = pairs_picture(p.iloc[[0, 1, 49], [0, 1, 49]], "nDCG", "t", "x")
    texts = [text.get_text() for text in few.figure.axes[0].texts]
    assert texts == [".040", "<.001", "1.000"]


def test_learning_curves_have_a_band_over_seeds():
    results = made_results({"Net mse": np.full((1, 2, 5), 0.5)}, made_suite(seeds=(0, 1)))
    results.curves["value"] += 0.1 * results.curves.seed
    picture = next(p for p in pictures(results, leaderboard(results), "x") if p.title == "Learning curves")
    (band,) = picture.figure.axes[0].collections
    assert np.ptp(band.get_paths()[0].vertices[:, 1]) >= 0.1


def test_published_numbers_stand_beside_ours(tmp_path):
    """MQ2008 results get a verdict for each published measure they report, once they are of all its test queries."""
    from ltr.bench.analysis.published import load_expected
    from ltr.datasets.cards.card import load_card

    table = next(t for t in load_expected() if t.dataset == "mq2008")
    suite = made_suite(datasets=("mq2008",), measures=(NDCG, *table.measures))
    five = {s: v.repeat(3, axis=0)[:5] for s, v in three_systems(12).items()}
    results = made_results(five, suite)
    results.save(tmp_path)
    assert "Beside published numbers" not in report(tmp_path, draws=50).read_text(), "12 queries a fold are other data"
    sizes = {fold: load_card("mq2008").splits[f"{fold}/test"].queries for fold in set(results.runs.fold)}
    results.runs["test_queries"] = results.runs.fold.map(sizes)
    results.save(tmp_path)
    page = report(tmp_path, draws=50).read_text()
    said = re.findall(r"^\| (?:nDCG|AP|MeanNDCG).*\| (OK|near|OFF) \|", page, flags=re.M)
    assert "Beside published numbers" in page and len(said) == len(table.measures)
    assert "verdict" in (tmp_path / "report.html").read_text()
