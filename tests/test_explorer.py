"""The page's tools: what is embedded is what the files say, and a real browser does with it what a reader asks."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from battery import about
from chromium import Browser, find
from made_fronts import made_fronts, made_samples
from made_results import NDCG, made_results, three_systems

from ltr.bench import leaderboard, report
from ltr.bench.analysis.results_io import read_frame
from ltr.bench.analysis.samples import best_documents, collect, pick, read_samples
from ltr.bench.pages.explorer import SCALE, _sample_payload, drill, front, unpack
from ltr.bench.pages.front_pictures import fronts_picture
from ltr.bench.pages.report_fronts import _rows, front_section
from ltr.schema import read_toml

# ---------------------------------------------------------------------------------------------------- what is embedded


def test_drill_holds_each_query_averaged_over_seeds():
    cubes = three_systems()
    results = made_results(cubes)
    board = leaderboard(results)
    data = drill(results, board)
    assert data["systems"][0] == "Net mse" and set(data["systems"]) == set(cubes)
    assert data["queries"]["of"] == len(data["queries"]["ids"]) == 100, "120 queries of two folds, one in six left out"
    for system, values in zip(data["systems"], data["values"]):
        for i in (0, 57, 99):
            fold = int(data["queries"]["folds"][data["queries"]["fold"][i]].removeprefix("Fold")) - 1
            query = int(data["queries"]["ids"][i].removeprefix("q"))
            assert values[i] / SCALE == pytest.approx(cubes[system][fold, :, query].mean(), abs=0.6 / SCALE)
    first, second = data["start"]
    assert data["p"][first][second] == round(board.p.loc[data["systems"][first], data["systems"][second]] * SCALE)


def test_drill_of_many_queries_is_a_sample_that_says_so():
    results = made_results(three_systems())
    board = leaderboard(results)
    data = drill(results, board, most=90)
    whole = drill(results, board)
    assert len(data["queries"]["ids"]) == 30 and data["queries"]["of"] == 100
    assert data == drill(results, board, most=90), "the same sample each time"
    names = list(zip(whole["queries"]["fold"], whole["queries"]["ids"]))
    at = [names.index(key) for key in zip(data["queries"]["fold"], data["queries"]["ids"])]
    assert data["values"] == [[values[i] for i in at] for values in whole["values"]]


def test_nothing_to_compare_no_drill():
    results = made_results({"Net mse": three_systems()["Net mse"]})
    assert drill(results, leaderboard(results)) is None


def test_front_holds_the_points_and_their_queries():
    results = made_fronts(systems=3, objectives=3, queries=30, folds=2)
    data = front(results, "made-data")
    assert np.array(data["lattice"]).sum(1).tolist() == [10] * 66 and data["partition"] == 10
    assert [s["name"] for s in data["systems"]] == ["HyperDPO", "DPO-LS", "Soups"]
    table = results.per_query
    values = np.array(data["values"], float)  # [system, preference, objective, query]
    assert values.shape == (3, 66, 3, 60)
    for system in data["systems"][:2]:
        mine = table[table.system == system["name"]]
        # Folds are of one size here, so a mean over rows is the mean over all queries of the seeds' means.
        means = mine.groupby("preference")[data["objectives"]].mean().to_numpy()
        assert np.abs(np.array(system["points"]["test"]) / SCALE - means).max() < 1e-4
        seeds = mine.groupby(["seed", "preference"])[data["objectives"]].mean().to_numpy().reshape(2, 66, 3)
        assert np.abs(np.array(system["sd"]) / SCALE - seeds.std(0, ddof=1)).max() < 1e-4
    key = ("HyperDPO", 7, data["queries"]["ids"][5], data["queries"]["folds"][data["queries"]["fold"][5]])
    rows = table.set_index(["system", "preference", "query", "fold"]).sort_index().loc[[key]]
    assert np.abs(values[0, 7, :, 5] / SCALE - rows[data["objectives"]].mean().to_numpy()).max() < 1e-4


def test_front_marks_what_validation_finds_undominated():
    results = made_fronts(systems=1, objectives=2)
    vali = results.fronts.split == "vali"
    for preference, point in enumerate(np.linspace([0.5, 0.1], [0.1, 0.5], 11)):
        for k, objective in enumerate(results.suite.objectives):
            rows = vali & (results.fronts.preference == preference) & (results.fronts.objective == objective)
            results.fronts.loc[rows, "mean"] = point[k]
    rows = vali & (results.fronts.preference == 4)
    results.fronts.loc[rows, "mean"] = 0.05
    (system,) = front(results, "made-data")["systems"]
    assert system["front"] == [1] * 4 + [0] + [1] * 6


def test_a_query_that_does_not_count_and_a_run_that_is_missing_are_gaps():
    results = made_fronts(systems=2, objectives=2)
    blank = front(results, "made-data")
    number = blank["queries"]["ids"].index("q6")
    assert blank["values"][0][3][1][number] is None and blank["values"][0][3][0][number] is not None
    lost = results.fronts.drop(index=results.fronts.index[results.fronts.system == "DPO-LS"])
    object.__setattr__(results, "fronts", lost)
    assert [s["name"] for s in front(results, "made-data")["systems"]] == ["HyperDPO"]


def test_sample_queries_are_always_among_those_shown():
    results = made_fronts(systems=2, objectives=2, queries=50)
    data = front(results, "made-data", samples=made_samples(results), most=2 * 11 * 2 * 10)
    assert 10 <= len(data["queries"]["ids"]) <= 13 and data["queries"]["of"] == 50
    assert {"q1", "q2", "q3"} <= set(data["queries"]["ids"])


def test_twenty_methods_at_66_preferences_fit_in_three_megabytes(tmp_path):
    """The whole page: tables, pictures as SVG, and values of so many queries that a sample is shown."""
    pages = importlib.import_module("ltr.bench.pages.report")
    results = made_fronts(systems=20, objectives=3, queries=160, seeds=(0, 1))
    samples = made_samples(results, count=5, documents=120)
    section = front_section(results, "made-data", samples, to=tmp_path, draws=10)
    data = unpack(section["payload"])
    assert data == front(results, "made-data", systems=[s["name"] for s in data["systems"]], samples=samples)
    assert len(data["queries"]["ids"]) < data["queries"]["of"] and len(section["pictures"]) == 2
    page = pages.write_page(tmp_path / "report.html", "report.html.j2", pages.page_context(results, [section]))
    assert page.stat().st_size < 3_000_000


def test_samples_name_the_documents_somebody_ranks_first():
    results = made_fronts(systems=2, objectives=2)
    sample = made_samples(results, count=1)[0]
    payload = _sample_payload(sample, ["HyperDPO", "DPO-LS", "lost"])
    assert payload["best"][2] is None and payload["of"] == 24
    best = [[payload["documents"][d] for d in row] for row in payload["best"][0]]
    assert best == [[sample.documents[d] for d in row] for row in sample.best["HyperDPO"]]
    first = payload["best"][0][0][0]
    assert payload["labels"][first] == sample.labels[sample.best["HyperDPO"][0, 0]].tolist()


def test_queries_that_change_most_are_picked():
    still = np.tile(np.arange(3), (5, 1))
    swapped = np.array([[0, 1, 2]] * 4 + [[2, 1, 0]])  # the same documents in another order
    moving = np.array([[0, 1, 2]] * 4 + [[3, 4, 5]])
    assert pick({"a": [still, moving, swapped], "b": [still, swapped, still]}, 2) == [1, 0]
    scores = np.random.default_rng(0).normal(size=(4, 30))
    assert (np.take_along_axis(scores, best_documents(scores), 1) == -np.sort(-scores, 1)[:, :10]).all()


def test_the_table_of_fronts_says_by_how_much_and_how_surely(monkeypatch, tmp_path):
    """With the task's ideal and nadir it is the frontboard's; without them hypervolumes at 0, which are said to be."""
    from ltr.bench.analysis import reference_points
    from ltr.bench.analysis.front_leaderboard import front_leaderboard

    results = made_fronts(systems=3, objectives=2)
    plain = front_section(results, "made-data", to=tmp_path, draws=50)
    assert "nothing is normalised" in plain["caption"] and not [c for c in plain["columns"] if c.startswith("less")]
    assert "hypervolume above 0" in plain["pictures"][0]["text"]
    points = reference_points.TaskPoints(
        "made-data",
        results.suite.objectives,
        (NDCG,) * 2,
        1,
        ideal=(0.7, 0.7),
        nadir=(0.3, 0.3),
        payoff=((0.7, 0.3), (0.3, 0.7)),
        random=(0.2, 0.2),
    )
    monkeypatch.setattr("ltr.bench.analysis.front_leaderboard.points_for", lambda *_: points)
    board = front_leaderboard(results, "made-data", draws=50)
    section = front_section(results, "made-data", to=tmp_path, draws=50)
    assert [row["text"]["system"] for row in section["rows"]] == list(board.table.system)
    for row, facts in zip(section["rows"], board.table.itertuples(), strict=True):
        assert row["text"]["hypervolume"] == f"{facts.normalised:.4f}"
        low = row["text"]["interval"].partition(" ")[0]
        assert low == ("" if facts.system == "DPO-LS" else f"{facts.low:+.4f}")
        assert row["text"]["difference to DPO-LS"] == ("" if facts.system == "DPO-LS" else f"{facts.difference:+.4f}")
    assert "normalised hypervolume" in section["pictures"][0]["text"]
    assert section["of"] == [f"relevance, freshness: {NDCG}"], "one measure, said once"
    assert "The baseline is DPO-LS" in section["caption"]
    lines = [line for line in section["markdown"].splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1 and len(lines) == 5


def test_seeds_without_all_folds_are_left_out(tmp_path):
    """Without reference points too: a mean over fewer queries is not compared with one over all."""
    results = made_fronts(systems=2, objectives=2, folds=2)
    whole = front_section(results, "made-data", to=tmp_path, draws=10)["rows"][0]["text"]
    lost = (results.fronts.system == "HyperDPO") & (results.fronts.seed == 1) & (results.fronts.fold == "Fold2")
    object.__setattr__(results, "fronts", results.fronts[~lost])
    first, second = (row["text"] for row in front_section(results, "made-data", to=tmp_path, draws=10)["rows"])
    assert first["system"] == whole["system"] == "HyperDPO" and whole["seed sd"] and not first["seed sd"]
    assert second["seed sd"], "the other system has both seeds"


@pytest.mark.parametrize("objectives, panels", [(2, 1), (3, 3), (4, 5)])
def test_pictures_show_what_the_table_says(objectives, panels, tmp_path):
    """Five systems: together in the plane, and in every pair, a panel each side by side; and their cost."""
    results = made_fronts(systems=5, objectives=objectives, partition=4)
    section = front_section(results, "made-data", to=tmp_path, draws=10)
    fronts, cost = section["pictures"]
    first = section["rows"][0]["text"]
    assert f"of these: {first['system']}, {first['hypervolume']}." in fronts["text"]
    assert "Nothing cheaper beats HyperDPO." in cost["text"], "the cheapest is the best here"
    for picture in (fronts, cost):
        assert (tmp_path / picture["file"]).read_bytes().startswith(b"\x89PNG")
        assert not re.findall(r"#[0-9a-f]{6}", picture["svg"]), "colours are the style sheet's"
    drawn = fronts_picture(_rows(results, "made-data", 10)[3], "x")
    assert len([ax for ax in drawn.figure.axes if ax.get_visible()]) == panels


SUITE = """
title = "Two methods"
datasets = ["synthetic:queries=24,objectives=2"]
objectives = ["relevance", "freshness"]
preferences = 2
seeds = [0]
training = { epochs = 1 }

[[systems]]
label = "LS"
method = "ls"
params = { ranker = "linear" }

[[systems]]
label = "Soup (DPO)"
method = "soup"
params = { ranker = "linear" }
"""


@pytest.mark.usefixtures("without_pictures")
def test_samples_come_from_run_folders_and_the_data(tmp_path):
    """Scores of the runs, labels of the data; tidy files keep them, and without them there is a page all the same."""
    import ltr
    from ltr.bench import run_suite
    from ltr.bench.analysis.results import load_front_results
    from ltr.runs import load_task
    from ltr.runs.config import RunConfig
    from ltr.schema import bind, read_toml

    task = ltr.load("synthetic:queries=24,objectives=2")
    (tmp_path / "two.toml").write_text(SUITE.replace('["relevance", "freshness"]', str(list(task.objectives))))
    run_suite(tmp_path / "two.toml", tmp_path / "out", progress=False)
    results = load_front_results(tmp_path / "out")
    (dataset,) = results.suite.datasets
    samples = collect(results, tmp_path / "out", dataset, count=2)
    assert len(samples) == 2 and set(samples[0].best) == {"LS", "Soup (DPO)"}
    run = next((tmp_path / "out" / "runs").glob("*/ls/*/seed0"))
    test = load_task(bind(RunConfig, read_toml(run / "config.toml"))).test
    number = [str(q) for q in test.query_ids].index(samples[0].query)
    span = slice(*test.offsets[number : number + 2])
    assert np.array_equal(samples[0].labels, np.stack([test.label(o)[span] for o in task.objectives], 1))
    # A measure of the sample is the one the run recorded for this query and preference.
    mine = results.per_query[(results.per_query.system == "LS") & (results.per_query["query"] == samples[0].query)]
    recorded = mine.sort_values("preference")[list(task.objectives)].to_numpy(float)
    assert np.abs(samples[0].values["LS"] - recorded).max() < 1e-6
    html = (tmp_path / "out" / "report" / "report.html").read_text()
    collected = unpack(re.search(r'class="payload"[^>]*>([^<]+)<', html)[1])["samples"]
    assert [s["query"] for s in collected][:2] == [s.query for s in samples]
    report(tmp_path / "out" / "report", tmp_path / "alone", draws=100)
    page = tmp_path / "alone" / "report.html"
    written = [report(tmp_path / "alone", draws=100) and page.read_bytes() for _ in range(2)]
    assert written[0] == written[1]
    assert unpack(re.search(r'class="payload"[^>]*>([^<]+)<', page.read_text())[1])["samples"] == collected
    (tmp_path / "alone" / "samples.parquet").unlink()
    report(tmp_path / "alone", draws=100)
    data = unpack(re.search(r'class="payload"[^>]*>([^<]+)<', page.read_text())[1])
    assert data["samples"] == [] and len(data["systems"]) == 2


def test_committed_documents_are_of_synthetic_tasks():
    """Labels of real sets are not ours to pass on."""
    files = list((Path(__file__).parent.parent / "benchmarks" / "results").glob("*/samples.parquet"))
    assert files
    for file in files:
        assert all(name.startswith("synthetic:") for name in read_frame(file).dataset.unique()), file
    (dataset,) = read_toml(file.with_name("suite.toml"))["datasets"]
    assert len(read_samples(file, dataset)) == 5


# ------------------------------------------------------------------------------------------------ in a real browser

needs_browser = pytest.mark.skipif(find() is None, reason="no Chromium on this machine")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser.start(find(), tmp_path_factory.mktemp("browser")) as started:
        yield started


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pages of made fronts over two, three and five objectives, and of a suite of rankers; and their payloads."""
    pages = importlib.import_module("ltr.bench.pages.report")
    folder = tmp_path_factory.mktemp("pages")
    for m, systems in ((2, 3), (3, 4), (5, 10)):
        results = made_fronts(systems=systems, objectives=m)
        section = front_section(results, "made-data", made_samples(results), to=folder, draws=100)
        context = pages.page_context(results, [section])
        pages.write_page(folder / f"fronts{m}.html", "report.html.j2", context)
    made_results(three_systems()).save(folder / "rankers")
    report(folder / "rankers", draws=200)
    return folder


@pytest.fixture
def fronts(browser, folder):
    """The page of three objectives, fresh, with its payload; nobody complained at the end."""
    page = browser.open(folder / "fronts3.html")
    page.data = unpack(page.run("document.querySelector('script.payload').textContent"))
    yield page
    assert page.complaints() == []
    page.close()


@pytest.fixture
def rankers(browser, folder):
    page = browser.open(folder / "rankers" / "report.html")
    page.data = unpack(page.run("document.querySelector('script.payload').textContent"))
    yield page
    assert page.complaints() == []
    page.close()


def preference(page) -> list[int]:
    return page.run("[...document.querySelectorAll('.slider input[type=range]')].map((s) => +s.value)")


def lit(page, panel: int = 0) -> dict[str, tuple[float, float]]:
    """Where each system's chosen point stands on a projection."""
    found = page.run(
        f"[...document.querySelectorAll('.panel')[{panel}].querySelectorAll('.chosen')]"
        ".map((p) => [p.dataset.system, +p.dataset.x, +p.dataset.y])"
    )
    return {system: (x, y) for system, x, y in found}


def shown(page) -> dict[str, list[str]]:
    rows = page.run(
        "[...document.querySelectorAll('table.chosen tbody tr')]"
        ".map((r) => [...r.cells].slice(1).map((c) => c.textContent))"
    )
    return {row[0]: row[1:] for row in rows}


@needs_browser
def test_a_slider_moves_the_point_on_every_projection(fronts):
    data = fronts.data
    before = [lit(fronts, panel) for panel in range(3)]
    assert sum(preference(fronts)) == 10 and len(before[0]) == 2, "the best and its rival; the others are grey"
    fronts.run("document.querySelector('.slider input[type=range]').focus()")
    fronts.press("ArrowRight", 3)
    now = preference(fronts)
    assert now in data["lattice"], "snapped to the lattice"
    assert now[0] == 7 and now[1:] in ([2, 1], [1, 2])
    after = [lit(fronts, panel) for panel in range(3)]
    assert after[0]["0"][0] > before[0]["0"][0], "more relevance asked for, more given"
    assert all(after[panel] != before[panel] for panel in range(3))
    at = data["lattice"].index(now)
    for system in data["systems"]:
        assert shown(fronts)[system["name"]][:3] == [f"{v / SCALE:.4f}" for v in system["points"]["test"][at]]
    assert (
        fronts.run("document.querySelector('.slider input[type=range]').getAttribute('aria-valuetext')")
        == "0.7 relevance"
    )
    assert "relevance 0.7" in fronts.run("document.querySelector('.words').textContent")


@needs_browser
def test_every_step_of_every_slider_is_a_preference_of_the_lattice(fronts):
    fronts.run("document.querySelectorAll('.slider input[type=range]')[2].focus()")
    seen = set()
    for key, times in (("End", 1), ("ArrowLeft", 10), ("ArrowRight", 4), ("Home", 1)):
        for _ in range(times):
            fronts.press(key)
            assert preference(fronts) in fronts.data["lattice"]
            seen.add(tuple(preference(fronts)))
    assert (0, 0, 10) in seen and len(seen) >= 11
    assert preference(fronts)[2] == 0


@needs_browser
def test_the_lit_point_stands_where_its_measures_say(fronts):
    """The scale read off the ticks of the axes gives the payload's numbers back."""
    ticks = fronts.run(
        "[...document.querySelectorAll('.panel')[0].querySelectorAll('.axes text[text-anchor=middle]')]"
        ".map((t) => [+t.textContent, +t.getAttribute('x')])"
    )
    slope, offset = np.polyfit(*zip(*ticks), 1)
    at = fronts.data["lattice"].index(preference(fronts))
    for system, (x, _) in lit(fronts).items():
        value = fronts.data["systems"][int(system)]["points"]["test"][at][0] / SCALE
        assert x == pytest.approx(slope * value + offset, abs=0.5)


@needs_browser
def test_documents_and_measures_change_with_the_preference(fronts):
    def documents():
        return fronts.run(
            "[...document.querySelectorAll('.lists ol')]"
            ".map((l) => [...l.querySelectorAll('.doc')].map((d) => d.textContent))"
        )

    sample = fronts.data["samples"][0]
    seen = []
    for button in range(4):
        fronts.run(f"document.querySelectorAll('.presets button')[{button}].click()")
        at = fronts.data["lattice"].index(preference(fronts))
        expected = [[sample["documents"][d] for d in sample["best"][s][at]] for s in fronts.data["start"]]
        assert documents() == expected
        seen.append(str(expected))
    assert len(set(seen)) == 4
    moves = fronts.run("[...document.querySelectorAll('.move')].map((m) => m.textContent).join('')")
    assert re.search("[▲▼]|new", moves)
    fronts.run("[...document.querySelectorAll('.below select')][0].selectedIndex = 1")
    fronts.run("document.querySelectorAll('.below select')[0].dispatchEvent(new Event('change'))")
    at = fronts.data["lattice"].index(preference(fronts))
    other = fronts.data["samples"][1]
    assert documents()[0] == [other["documents"][d] for d in other["best"][0][at]]


@needs_browser
def test_the_mouse_reads_values_and_chooses_points(fronts):
    """The mark of another preference is found in the payload, pointed at, read and clicked."""
    data = fronts.data
    fronts.run("document.querySelector('.panels').scrollIntoView({block: 'center'})")
    box = fronts.run("(({left, top}) => [left, top])(document.querySelector('.panel svg').getBoundingClientRect())")
    goal = data["lattice"].index([10, 0, 0])
    fronts.run("document.querySelectorAll('.presets button')[1].click()")  # to learn where that mark stands
    x, y = lit(fronts)["0"]
    fronts.run("document.querySelectorAll('.presets button')[0].click()")
    assert preference(fronts) != data["lattice"][goal]
    fronts.mouse("mouseMoved", box[0] + x, box[1] + y)
    said = fronts.run("document.querySelector('.tip').innerText")
    assert not fronts.run("document.querySelector('.tip').hidden")
    assert "HyperDPO" in said and f"{data['systems'][0]['points']['test'][goal][0] / SCALE:.4f}" in said
    fronts.mouse("click", box[0] + x, box[1] + y)
    assert preference(fronts) == data["lattice"][goal]
    fronts.mouse("mouseMoved", 2, 2)
    assert fronts.run("document.querySelector('.tip').hidden")


@needs_browser
def test_systems_look_alike_in_the_explorer_and_in_the_pictures(fronts):
    """Colour and marker by a system's number, for more systems than there are colours."""
    from ltr.fronts.pictures import _marker
    from ltr.plot_style import MARKERS, PALETTE

    assert fronts.run("[...Array(60).keys()].map(shapeOf)") == [MARKERS.index(_marker(n)) for n in range(60)]
    assert fronts.run("[...Array(60).keys()].map(colour)") == [f"var(--c{n % len(PALETTE)})" for n in range(60)]
    assert fronts.run("SHAPES.length") == len(MARKERS)


@needs_browser
def test_systems_can_be_hidden_chosen_and_sorted(fronts):
    row = "[...document.querySelectorAll('table.chosen tbody tr')].find((r) => r.textContent.includes('Soups'))"
    for expected in (3, 2):
        fronts.run(f"{row}.querySelector('input').click()")
        assert len(lit(fronts)) == expected
    fronts.run("[...document.querySelectorAll('table.chosen .name')].find((b) => b.textContent === 'Soups').focus()")
    fronts.press("Enter")
    assert fronts.run("document.querySelector('.words b').textContent") == "Soups"
    assert fronts.run("document.querySelector('table.chosen [aria-pressed=true]').textContent") == "Soups"
    for column, name in ((0, "relevance"), (2, "clicks")):
        for order in ("descending", "ascending"):
            fronts.run(f"document.querySelectorAll('table.chosen thead button')[{column}].click()")
            values = [row[column] for row in shown(fronts).values()]
            assert values == sorted(values, reverse=order == "descending"), (name, order)
            head = f"document.querySelectorAll('table.chosen thead th')[{column + 2}].getAttribute('aria-sort')"
            assert fronts.run(head) == order


@needs_browser
def test_a_few_systems_are_lit_and_the_address_keeps_the_choice(fronts, browser, folder):
    """Grey but for the best and its rival; a row that is pointed at lights up; bounds, command and address agree."""
    greys = "document.querySelectorAll('.panel:first-child path[fill=\"var(--faint)\"].full').length"
    assert fronts.run(greys) == len(fronts.data["systems"]) - 2
    rows = "[...document.querySelectorAll('table.chosen tbody tr')]"
    fronts.run(f"{rows}.find((r) => r.textContent.includes('Soups')).dispatchEvent(new PointerEvent('pointerenter'))")
    assert fronts.run(greys) == len(fronts.data["systems"]) - 3
    fronts.run(f"{rows}.find((r) => r.textContent.includes('Soups')).dispatchEvent(new PointerEvent('pointerleave'))")
    axis = fronts.run("[...document.querySelectorAll('.panel:first-child .axis')].map((t) => t.textContent).join()")
    assert "nDCG@10" in axis and "test" in axis
    first = fronts.data["systems"][0]
    vali = np.array(first["points"]["vali"]) / SCALE
    bound = round(float(np.median(vali[:, 0])), 2)
    fronts.run(f"document.querySelector('.bound').value = {bound}")
    fronts.run("document.querySelector('.bound').dispatchEvent(new Event('input'))")
    meets = int((vali[:, 0] >= bound).sum())
    words = fronts.run("document.querySelectorAll('.tool .words')[1].textContent")
    assert words.startswith(f"{meets} of 66 preferences of HyperDPO keep relevance at {bound} or more")
    fronts.run("document.querySelectorAll('.tool .words')[1].querySelector('button').click()")
    best = max((i for i in range(66) if vali[i, 0] >= bound), key=lambda i: (vali[i, 1], -i))
    assert preference(fronts) == fronts.data["lattice"][best]
    command = fronts.run("document.querySelector('.command code').textContent")
    assert command == f"ltr choose {first['run']} --at-least relevance={bound} --maximise freshness"
    fronts.run("document.querySelector('.toggles input').click()")
    fronts.run("document.querySelectorAll('table.chosen .name')[2].click()")
    looked, address = fronts.run("document.querySelector('.words b').textContent"), fronts.run("location.href")
    again = browser.open(folder / "fronts3.html")
    again.run(f"location.hash = {address.partition('#')[2]!r}; location.reload()")
    again.wait_for("document.querySelector('.words b')?.textContent")
    again.settle()
    assert again.run("document.querySelector('.words b').textContent") == looked
    assert preference(again) == preference(fronts)
    assert again.run("document.querySelector('.bound').value") == str(bound)
    again.close()


@needs_browser
def test_points_are_reached_by_keyboard_and_two_objectives_have_one_slider(browser, folder):
    page = browser.open(folder / "fronts2.html")
    data = unpack(page.run("document.querySelector('script.payload').textContent"))
    assert page.run("document.querySelectorAll('.slider input[type=range]').length") == 1
    page.run("document.querySelectorAll('.presets button')[2].click()")
    page.run("document.querySelector('.panel svg').focus()")
    first = np.array(data["systems"][data["start"][0]]["points"]["test"])
    along = sorted(range(len(first)), key=lambda i: (first[i, 0], i))
    at = along.index(data["lattice"].index([0, 10]))
    for step in (1, 2):
        page.press("ArrowRight")
        wanted = data["lattice"][along[at + step]]
        assert page.run("+document.querySelector('.slider input[type=range]').value") == wanted[1]
    page.press("ArrowDown")
    assert page.run("document.querySelector('.words b').textContent") == data["systems"][data["start"][1]]["name"]
    assert page.run("document.activeElement.tagName") == "svg"
    for toggle in range(page.run("document.querySelectorAll('.toggles input').length")):
        page.run(f"document.querySelectorAll('.toggles input')[{toggle}].click()")
    assert page.run("document.querySelectorAll('.panel .spot').length") == 1, "the knee is drawn"
    # A part of the picture is enlarged with the mouse.
    ticks = "[...document.querySelectorAll('.panel .axes text')].map((t) => t.textContent).join()"
    before = page.run(ticks)
    page.run("document.querySelector('.panel').scrollIntoView({block: 'center'})")
    box = page.run("(({left, top}) => [left, top])(document.querySelector('.panel svg').getBoundingClientRect())")
    send = lambda kind, x, y: page.ask(  # noqa: E731
        "Input.dispatchMouseEvent", type=kind, x=box[0] + x, y=box[1] + y, button="left", buttons=1, clickCount=1
    )
    send("mousePressed", 100, 60)
    send("mouseMoved", 200, 160)
    send("mouseReleased", 200, 160)
    page.settle()
    assert page.run(ticks) != before
    page.run("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Whole picture').click()")
    assert page.run(ticks) == before
    assert page.complaints() == []
    page.close()


@needs_browser
def test_print_is_light_and_whole(browser, folder):
    """On paper: no controls, no dark ground, nothing cut at the side."""
    page = browser.open(folder / "fronts5.html", width=720, height=1000, dark=True)
    page.ask("Emulation.setEmulatedMedia", media="print")
    page.settle()
    assert page.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.run("[...document.querySelectorAll('select, #theme, nav, .more')].every((e) => !e.checkVisibility())")
    assert page.run("document.documentElement.scrollWidth") <= 720
    page.close()


@needs_browser
def test_validation_points_are_other_points(fronts):
    test = shown(fronts)
    fronts.run(
        "(() => { const s = [...document.querySelectorAll('.field')].find((f) => f.textContent.includes('Points of'))"
        ".querySelector('select'); s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })()"
    )
    at = fronts.data["lattice"].index(preference(fronts))
    first = fronts.data["systems"][0]
    assert shown(fronts)["HyperDPO"][0] == f"{first['points']['vali'][at][0] / SCALE:.4f}" != test["HyperDPO"][0]


def counted(page) -> tuple[int, int, int]:
    """Better, equal, worse as the words of the drill-down say."""
    text = page.run("document.querySelector('[id^=drill] .words').textContent")
    return tuple(map(int, re.search(r"better on (\d+), equal on (\d+) and worse on (\d+)", text).groups()))


@needs_browser
def test_the_drill_down_of_fronts_follows_the_preference(fronts):
    values = fronts.data["values"]

    def expected(a, b, k):
        at = fronts.data["lattice"].index(preference(fronts))
        pairs = [(x, y) for x, y in zip(values[a][at][k], values[b][at][k]) if x is not None and y is not None]
        return sum(x > y for x, y in pairs), sum(x == y for x, y in pairs), sum(x < y for x, y in pairs)

    found = set()
    for button in range(4):
        fronts.run(f"document.querySelectorAll('.presets button')[{button}].click()")
        assert counted(fronts) == expected(0, 1, 0)
        found.add(counted(fronts))
    assert len(found) > 1
    for place, number in ((1, 3), (2, 1)):
        fronts.run(
            f"(() => {{ const s = document.querySelectorAll('[id^=drill] select')[{place}]; s.selectedIndex = {number};"
            " s.dispatchEvent(new Event('change')); })()"
        )
    assert counted(fronts) == expected(0, 3, 1)


@needs_browser
def test_the_drill_down_is_worked_by_keyboard(rankers):
    data = rankers.data
    a, b = (np.array([np.nan if v is None else v for v in data["values"][s]], float) for s in data["start"])
    d = a - b
    assert counted(rankers) == ((d > 0).sum(), (d == 0).sum(), (d < 0).sum())
    bars = "[...document.querySelectorAll('.histogram rect')]"
    rankers.run(f"{bars}.find((r) => r.tabIndex === 0).focus()")
    rankers.press("ArrowRight")
    label = rankers.run("document.activeElement.getAttribute('aria-label')")
    queries, low, high = re.fullmatch(r"(\d+) queries, difference (-?[\d.]+) to (-?[\d.]+)", label).groups()
    rankers.press("Enter")
    caption = rankers.run("document.querySelector('.queries caption').textContent")
    assert f"of {queries} queries that differ in the chosen bar" in caption
    listed = rankers.run("[...document.querySelectorAll('.queries tbody tr')].map((r) => r.cells[4].textContent)")
    listed = [float(text.replace("−", "-")) for text in listed]
    assert listed and all(float(low) - 1e-3 <= v <= float(high) + 1e-3 for v in listed)
    assert rankers.run("document.activeElement.getAttribute('aria-pressed')") == "true", "the focus stays on the bar"
    total = rankers.run(f"{bars}.reduce((n, r) => n + parseInt(r.getAttribute('aria-label')), 0)")
    assert total == (d != 0).sum()
    rankers.press("Enter")
    assert "chosen bar" not in rankers.run("document.querySelector('.queries caption').textContent")
    better, equal, worse = counted(rankers)
    rankers.run("[...document.querySelectorAll('button')].find((b) => b.textContent === 'Swap').click()")
    assert counted(rankers) == (worse, equal, better)
    assert NDCG == data["measure"]


@needs_browser
@pytest.mark.parametrize("page", ["fronts", "rankers"])
def test_the_leaderboard_sorts_by_keyboard(page, request):
    page = request.getfixturevalue(page)
    heads = page.run("[...document.querySelector('table.sortable').tHead.rows[0].cells].map((h) => h.textContent)")
    for name in ("system", "fit s"):
        column = heads.index(name)
        cells = (
            f"[...document.querySelector('table.sortable').tBodies[0].rows].map((r) => r.cells[{column}].textContent)"
        )
        page.run(
            f"document.querySelector('table.sortable').tHead.rows[0].cells[{column}].querySelector('button').focus()"
        )
        orders = []
        for _ in range(2):
            page.press("Enter")
            values = [v for v in page.run(cells) if v]
            keyed = values if name == "system" else [float(v.replace(",", "")) for v in values]
            head = f"document.querySelector('table.sortable').tHead.rows[0].cells[{column}].getAttribute('aria-sort')"
            orders.append(page.run(head))
            key = str.lower if name == "system" else None
            assert keyed == sorted(keyed, key=key, reverse=orders[-1] == "descending")
        assert set(orders) == {"ascending", "descending"}


@needs_browser
@pytest.mark.parametrize("name", ["fronts2.html", "fronts5.html", "rankers/report.html"])
def test_pages_fit_any_width_and_theme(browser, folder, name):
    """Nothing sticks out sideways, the ground takes the theme, no exception, nothing from the network."""
    for width, dark in ((1280, False), (360, False), (320, False), (320, True)):
        with about(width, "dark" if dark else "light"):
            _fits(browser.open(folder / name, width=width, height=844, dark=dark), width, dark)


def _fits(page, width, dark):
    page.settle()
    assert page.run("document.documentElement.scrollWidth") <= width
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(22, 22, 24)") == dark
    page.run("document.getElementById('theme').click()")
    assert (page.run("getComputedStyle(document.body).backgroundColor") == "rgb(22, 22, 24)") != dark
    assert page.run("[...document.querySelectorAll('.tool svg text')].every((t) => !t.textContent.includes('NaN'))")
    assert page.complaints() == []
    page.close()


@needs_browser
def test_everything_that_can_be_worked_is_reached_by_tab(fronts):
    """One round of the Tab key passes every slider, choice, button and check box, and each has a name."""
    wanted = fronts.run(
        "[...document.querySelectorAll('button, select, input')]"
        ".filter((e) => e.checkVisibility() && !e.disabled).length"
    )
    fronts.run("document.body.focus()")
    seen = []
    for _ in range(wanted + 60):
        fronts.press("Tab")
        seen.append(
            fronts.run(
                "(() => { const e = document.activeElement; if (['BUTTON', 'SELECT', 'INPUT'].includes(e.tagName)) {"
                " e.dataset.reached = 1; return (e.labels && e.labels[0] ? e.labels[0].textContent : '')"
                " + (e.getAttribute('aria-label') || '') + e.textContent; } return 'other'; })()"
            )
        )
        if fronts.run("document.querySelectorAll('[data-reached]').length") == wanted:
            break
    assert fronts.run("document.querySelectorAll('[data-reached]').length") == wanted
    assert all(seen)
