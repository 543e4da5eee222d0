"""The frontboard on fronts that are known: volumes by hand, verdicts, failures, reference points that do not move."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_front_results import made_front_results, made_points, made_suite

from ltr import paths as places
from ltr.bench.analysis.front_choice import choose_system, few_models
from ltr.bench.analysis.front_leaderboard import _resampled, front_leaderboard
from ltr.bench.analysis.front_questions import ask, load_questions, tally
from ltr.bench.analysis.front_results import load_front_results
from ltr.bench.analysis.reference_points import TaskPoints, make_points, points_of, read_points, update_points
from ltr.bench.pages.front_page import fronts_page
from ltr.bench.suite import load_suite, suite_names
from ltr.cli import main
from ltr.errors import InputError
from ltr.fronts import hypervolume, paired_hypervolumes
from ltr.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
SUITE = made_suite()
QUESTIONS = load_questions()
STUDIES = ("fronts-", "core-", "transformer-", "cosdpo-")  # suites whose systems are compared


@pytest.fixture(scope="module")
def board():
    shift = {"HyperDPO": 0.02, "Soup": -0.03, "LS": -0.015}
    return front_leaderboard(made_front_results(shift=shift), points=made_points(SUITE, truth=0.05), draws=300)


def row(board, system):
    return board.table.set_index("system").loc[system]


def test_volumes_are_those_of_the_known_points():
    """Without noise every seed's front is the known one, seen from each reference point."""
    results = made_front_results(noise=0.0)
    board = front_leaderboard(results, points=made_points(SUITE), draws=20)
    known = 0.2 + 0.4 * np.sqrt(np.linspace(1, 0, 5))
    known = np.stack([known, known[::-1]], axis=1)
    for system in ("DPO-LS", "HyperDPO", "EPO"):
        assert row(board, system).zero == pytest.approx(hypervolume(known, 0), abs=1e-6)
        assert row(board, system).normalised == pytest.approx(hypervolume((known - 0.2) / 0.4, -1 / 4), abs=1e-5)
        assert row(board, system).random == pytest.approx(hypervolume(known, 0.1), abs=1e-6)
        assert row(board, system).front == 5 and row(board, system).beyond == 0
        assert row(board, system).igd == pytest.approx(0, abs=1e-6)
    alone = row(board, "Equal weights")
    assert alone.front == 1 and alone.zero == pytest.approx((0.2 + 0.4 * np.sqrt(0.5)) ** 2, abs=1e-6)


def test_the_larger_front_is_above_and_its_interval_says_so(board):
    assert board.table.system[0] == "HyperDPO" and board.baseline == "DPO-LS"
    found = row(board, "HyperDPO")
    assert 0 < found.low < found.difference < found.high
    assert row(board, "Soup").high < 0 and row(board, "DPO-LS").difference == 0
    assert board.difference("HyperDPO", "DPO-LS").verdict == "above"
    assert board.difference("Soup", "LS").verdict == "below"
    # Nobody is compared on the level of a query: EPO is DPO-LS with other noise.
    assert board.difference("EPO", "DPO-LS").verdict == "cannot tell"


def test_intervals_of_differences_cover():
    """Two systems of one law: an interval of 95 % seldom misses 0."""
    suite = made_suite(systems={"DPO-LS": "dpo-ls", "EPO": "epo"}, partition=2, seeds=(0, 1, 2))
    missed = 0
    for i in range(20):
        results = made_front_results(suite, queries=25, noise=0.05, seed=i)
        gap = front_leaderboard(results, points=made_points(suite), draws=200).difference("EPO", "DPO-LS")
        missed += not gap.low <= 0 <= gap.high
    assert missed <= 4


def test_weighted_and_worst_look_at_compromises_only(board):
    """Of the 5 preferences 3 are no corner."""
    weights = np.array([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]])
    points = 0.2 + 0.4 * np.sqrt(weights)
    assert board.mean("DPO-LS", "weighted") == pytest.approx((weights * points).sum(1).mean(), abs=0.005)
    # Without blanks and levels the worst objective of a list would be the smaller of each point.
    assert board.mean("DPO-LS", "worst") < points.min(1).mean()
    assert board.difference("HyperDPO", "DPO-LS", "worst").verdict == "above"


def test_a_group_is_the_mean_of_its_systems(board):
    both = board.difference(("HyperDPO", "LS"), ("DPO-LS", "EPO")).value
    single = [board.difference(a, b).value for a in ("HyperDPO", "LS") for b in ("DPO-LS", "EPO")]
    assert both == pytest.approx(np.mean(single))
    assert board.difference("HyperDPO", "nobody") is None and board.difference((), "LS") is None
    with pytest.raises(InputError, match="quantity"):
        board.difference("HyperDPO", "LS", "hypervolumes")


def test_control_is_for_those_who_are_steered(board):
    assert row(board, "DPO-LS").spearman > 0.9 and row(board, "DPO-LS").switching < 0.02
    assert np.isnan(row(board, "Equal weights")[["spearman", "regret", "switching"]].to_numpy(float)).all()
    # Balance is asked for by EPO alone.
    assert np.isfinite(row(board, "EPO").nonuniformity) and np.isnan(row(board, "DPO-LS").nonuniformity)


def test_folds_are_pooled_over_queries():
    """Fold 2 has twice the queries: a point is the mean over all of them, not over folds."""
    results = made_front_results(folds=2, noise=0.0)
    fronts = results.fronts.copy()
    second = fronts.fold == "Fold2"
    fronts.loc[second, "mean"] += 0.03
    board = front_leaderboard(replace(results, fronts=fronts), points=made_points(SUITE), draws=10)
    known = 0.2 + 0.4 * np.sqrt(np.linspace(1, 0, 5))
    counts = fronts[(fronts.split == "test") & (fronts.objective == "relevance")].groupby("fold").queries.first()
    share = counts["Fold2"] / counts.sum()
    assert share == pytest.approx(2 / 3)
    assert board.cube.test[0, 0, :, 0] == pytest.approx(known + 0.03 * share, abs=1e-6)
    assert board.queries == 120 and board.unjudged == {"relevance": 0, "freshness": 21}


def test_membership_is_decided_on_validation():
    """A point that validation finds dominated stays out, whatever test says of it."""
    results = made_front_results(noise=0.0)
    fronts = results.fronts.copy()
    fronts.loc[(fronts.split == "vali") & (fronts.preference == 2), "mean"] = 0.01
    fronts.loc[(fronts.split == "test") & (fronts.preference == 2), "mean"] = 0.9
    board = front_leaderboard(replace(results, fronts=fronts), points=made_points(SUITE), draws=10)
    assert not board.members[:5, :, 2].any() and board.members[:5, :, [0, 1, 3, 4]].all()
    assert row(board, "DPO-LS").zero < 0.5


def test_failures_are_rows_with_reasons():
    lost = {("Soup", 0, 0): ("failed", "the loss is nan"), ("Soup", 0, 1): ("failed", "the loss is nan")}
    lost |= {("EPO", 0, 1): ("skipped", "no time")}
    board = front_leaderboard(made_front_results(lost=lost), points=made_points(SUITE), draws=50)
    soup = row(board, "Soup")
    assert soup.note == "2 failed: the loss is nan" and np.isnan(soup.normalised) and soup.done == 0
    assert board.table.system.iloc[-1] == "Soup" and not board.has("Soup")
    epo = row(board, "EPO")
    assert epo.note == "1 skipped: no time" and np.isfinite(epo.difference) and epo.planned == 2
    assert board.difference("Soup", "EPO") is None


def test_a_fold_that_is_missing_leaves_the_seed_out():
    results = made_front_results(folds=2, lost={("LS", 1, 0): ("failed", "out of memory")})
    board = front_leaderboard(results, points=made_points(SUITE), draws=50)
    ls = board.cube.systems.index("LS")
    assert board.cube.complete[ls].tolist() == [False, True]
    assert np.isfinite(board.mean("LS"))


def test_a_hole_in_a_front_is_an_error():
    results = made_front_results(noise=0.0)
    fronts = results.fronts[~((results.fronts.system == "LS") & (results.fronts.preference == 3))]
    with pytest.raises(InputError, match="hole: LS, seed 0, vali"):
        front_leaderboard(replace(results, fronts=fronts), points=made_points(SUITE), draws=10)


def test_the_true_front_is_a_share(board):
    assert row(board, "DPO-LS").share_zero < row(board, "HyperDPO").share_zero < 1


def test_what_to_take():
    """The largest front is bought dearly; another one is not below it by more than the margin, and cheap."""
    results = made_front_results(shift={"HyperDPO": 0.05, "Soup": 0.0499, "LS": -0.05, "EPO": -0.05}, noise=0.001)
    operations = results.runs.system.map({"DPO-LS": 1e9, "LS": 1e9, "HyperDPO": 5e8, "Soup": 1e7, "EPO": 2e9})
    results = replace(results, runs=results.runs.assign(operations=operations))
    board = front_leaderboard(results, points=made_points(SUITE, truth=0.1), draws=100)
    choice = choose_system(results, board)
    assert choice.best == "HyperDPO" and choice.level == ("Soup", "HyperDPO")
    assert choice.times("Soup") == pytest.approx(0.01) and choice.share("HyperDPO") < 1
    assert choice.below == ("DPO-LS", "LS", "EPO") and choice.models["DPO-LS"] == "preference"
    reached, came = few_models(choice)
    assert reached and came.startswith("Soup to DPO-LS: +") and came.endswith("0.01 times the operations")
    dear = replace(choice, operations={**choice.operations, "Soup": 2e8})
    assert few_models(dear) == (False, "nothing costs a tenth of DPO-LS")
    blank = replace(results, fronts=results.fronts.iloc[:0], per_query=results.per_query.iloc[:0])
    blank = replace(blank, runs=blank.runs.assign(status="failed", reason="x"))
    assert choose_system(blank, replace(board, cube=replace(board.cube, complete=board.cube.complete & False))) is None


def test_ranks_that_depend_on_the_reference_are_counted():
    """A wide front and a narrow one that is high: from far away the wide one is larger, from nearby the narrow one."""
    weights = np.linspace(1, 0, 5)[:, None]
    wide = 0.2 + 0.4 * np.concatenate([weights, 1 - weights], axis=1)
    narrow = np.full((5, 2), 0.495) + np.linspace(0.001, -0.001, 5)[:, None] * [1, -1]
    results = made_front_results(noise=0.0, points={"LS": wide, "Soup": narrow})
    board = front_leaderboard(results, points=made_points(SUITE), draws=10)
    ls, soup = row(board, "LS"), row(board, "Soup")
    assert (ls.normalised - soup.normalised) * (ls.zero - soup.zero) < 0
    assert ls.flips >= 1 and soup.flips >= 1


@pytest.mark.parametrize("objectives, partition", [(3, 2), (5, 2)])
def test_more_objectives(objectives, partition):
    suite = made_suite(objectives, partition)
    results = made_front_results(suite, {"HyperDPO": 0.03}, queries=20)
    board = front_leaderboard(results, points=made_points(suite), draws=50)
    assert board.difference("HyperDPO", "DPO-LS").verdict == "above"
    assert board.table.system.iloc[0] == "HyperDPO"


# ------------------------------------------------------------------------------------------------------ questions


def test_questions_are_answered_where_both_sides_are(board):
    asked = next(q for q in QUESTIONS if q.title.startswith("Does one conditioned model"))
    found = ask(asked, [board])
    assert {f.comparison.text for f in found} == {
        "HyperDPO above DPO-LS, normalised hypervolume",
        "HyperDPO above DPO-LS, mean weighted sum",
    }
    assert tally(found) == "above on 2 of 2 tasks" and found[0].text.startswith("+0.")
    assert tally([]) == ""


def test_questions_name_systems_of_the_suites():
    """A label that no suite has would never be answered, and nobody would notice."""
    labels = {v.label for name in suite_names() if name.startswith(STUDIES) for v in load_suite(name).variants()}
    for question in QUESTIONS:
        for comparison in question.comparisons:
            assert {*comparison.a, *comparison.b} <= labels, comparison.text


def test_every_suite_of_fronts_gives_all_the_same_budget():
    for name in (n for n in suite_names() if n.startswith(STUDIES[:3])):
        suite = load_suite(name)
        variants = suite.variants()
        assert suite.of_methods
        learning = [v for v in variants if METHODS[v.method].claims.get("learns", True)]
        assert {bool(v.grid) for v in learning} == {suite.tuning.points > 0}, "all are tuned, or none"
        baselines = ("LS", "DPO-LS, one by one")  # of the reference points, of cost
        assert len({v.seeds for v in variants if v.label not in baselines}) == 1
        assert len({str(sorted(v.training.items())) for v in variants if v.training}) == 1
        assert {v.label for v in variants if v.method == "ls"} == {"LS"}


# ----------------------------------------------------------------------------------------------- reference points


@pytest.fixture(scope="module")
def known():
    """Results on a task whose law is known."""
    suite = made_suite(dataset="synthetic:queries=20,objectives=2")
    suite = replace(suite, objectives=("relevance", "quality"))
    return made_front_results(suite, noise=0.0)


def test_reference_points_are_the_payoff_of_the_corners(known):
    points = make_points(known, known.suite.datasets[0])
    assert points.payoff == ((0.59, 0.19), (0.19, 0.59))  # validation, which is test less .01
    assert points.ideal == (0.59, 0.59) and points.nadir == (0.19, 0.19)
    assert all(0 < r < 0.6 for r in points.random)
    assert len(points.truth) == 5 and points.truth_partition == 4
    assert points.truth[0][0] > points.truth[-1][0]
    assert "seeds 0, 1" in points.source


def test_a_suite_on_own_data_has_points_of_its_own(tmp_path):
    """Without a committed task they come from the suite's single-objective models, and say so; else nothing is made."""
    systems = {"DPO-LS": "dpo-ls", "HyperDPO": "hyperdpo", "Alone": "single-objective"}
    suite = made_suite(dataset="synthetic:queries=21,objectives=2", systems=systems)
    results = made_front_results(replace(suite, objectives=("relevance", "quality")), {"HyperDPO": 0.05}, noise=0.0)
    board = front_leaderboard(results, draws=20)
    assert board.points.ideal == (0.59, 0.59) and board.points.source.startswith("Alone at the corners")
    # The floor: no nadir below a random ranking.
    assert all(n == max(0.19, r) for n, r in zip(board.points.nadir, board.points.random, strict=True))
    assert board.mean("HyperDPO") > board.mean("DPO-LS")
    suite = made_suite(dataset="synthetic:queries=21,objectives=2", systems={"DPO-LS": "dpo-ls", "LS": "ls"})
    with pytest.raises(InputError, match="no reference points for synthetic:queries=21"):
        front_leaderboard(made_front_results(replace(suite, objectives=("relevance", "quality"))), draws=20)


def test_the_file_is_read_strictly_and_changes_only_when_asked(tmp_path):
    file = tmp_path / "points.toml"
    points = made_points(SUITE)
    assert update_points([points], file) == {"made-data": "added as version 1"}
    assert points_of("made-data", SUITE.objectives, points.measures, file) == points
    before = file.read_bytes()
    assert update_points([points], file)["made-data"].startswith("version 1 stays")
    moved = replace(points, ideal=(0.7, 0.6))
    with pytest.raises(InputError, match="came out differently from version 1"):
        update_points([moved], file)
    assert file.read_bytes() == before
    assert "version 2, was 1" in update_points([moved], file, new_version=True)["made-data"]
    assert read_points(file)[0].version == 2
    file.write_text(file.read_text().replace("ideal", "idael", 1))
    with pytest.raises(InputError, match="Did you mean 'ideal'"):
        read_points(file)


def test_reference_points_that_cannot_be(tmp_path):
    with pytest.raises(InputError, match="no reference points for made-data"):
        points_of("made-data", ("a", "b"), (), tmp_path / "none.toml")
    points = made_points(SUITE)
    with pytest.raises(InputError, match="not above its nadir"):
        replace(points, ideal=(0.2, 0.6))
    with pytest.raises(InputError, match="wrong length"):
        replace(points, random=(0.1,))
    alone = made_suite(systems={"DPO-LS": "dpo-ls"})
    with pytest.raises(InputError, match="single-objective models"):
        make_points(made_front_results(alone), "made-data")


@pytest.mark.skipif(not (ROOT / "benchmarks" / "reference_points.toml").is_file(), reason="none in this checkout")
def test_the_committed_reference_points_are_sound():
    found = read_points()
    assert found and all(isinstance(each, TaskPoints) for each in found)


# ------------------------------------------------------------------------------------------------------- the page


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two suites: two objectives with a failure, and three objectives; and their reference points."""
    root = tmp_path_factory.mktemp("fronts")
    seeds = range(4)  # of two, six systems cannot tell
    lost = {("Soup", 0, seed): ("failed", "the loss is | nan") for seed in seeds}
    two = made_front_results(made_suite(seeds=seeds), shift={"HyperDPO": 0.03, "LS": -0.03}, lost=lost)
    suite = made_suite(3, 2, dataset="other-data")
    three = made_front_results(replace(suite, name="fronts-three"), queries=20)
    update_points([made_points(SUITE, truth=0.05), made_points(suite)], root / "points.toml")
    return [two.save(root / "two"), three.save(root / "three")]


@pytest.fixture(scope="module")
def page(folders, tmp_path_factory):
    return fronts_page(folders, tmp_path_factory.mktemp("page"), draws=100, points=folders[0].parent / "points.toml")


def rows(text, heading, number=0):
    """The rows of a table after a heading, cells by the names of their columns."""
    part = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#|\Z)", text, flags=re.M | re.S)[1]
    lines = re.findall(r"(?:^\|[^\n]*\n)+", part, flags=re.M)[number].splitlines()
    heads, *body = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines)
    assert all(len(cells) == len(heads) for cells in body)
    return [dict(zip(heads, cells, strict=True)) for cells in body[1:]]


def test_the_page_has_the_numbers_of_its_boards(page, folders):
    text = page.read_text()
    points = made_points(SUITE, truth=0.05)
    board = front_leaderboard(load_front_results(folders[0]), points=points, draws=100)
    table = {r["system"]: r for r in rows(text, "made-data, m = 2")}
    for row in board.table.itertuples():
        if np.isfinite(row.normalised):
            assert table[row.system]["hypervolume"] == f"{row.normalised:.4f}"
            assert table[row.system]["of true, above 0"] == f"{row.share_zero:.1%}"
    gap = board.difference("HyperDPO", "DPO-LS")
    assert table["HyperDPO"]["interval"] == f"{gap.low:+.4f} – {gap.high:+.4f}"
    assert table["Soup"]["note"] == "4 failed: the loss is \\| nan" and not table["Soup"]["hypervolume"]
    control = {r["system"]: r for r in rows(text, "made-data, m = 2", 1)}
    costs = {r["system"]: r for r in rows(text, "made-data, m = 2", 2)}
    assert costs["HyperDPO"]["models"] == "2" and control["EPO"]["w asks for"] == "balance"
    assert "of true" not in rows(text, "other-data, m = 3")[0]


def test_the_overview_says_who_is_above_and_below(page):
    table = {r["system"]: r for r in rows(page.read_text(), "All at once")}
    column = "made-data, m = 2"
    assert table["HyperDPO"][column].startswith("**") and table["HyperDPO"][column].endswith(" above")
    assert table["LS"][column].endswith(" below") and not table["LS"][column].startswith("**")
    assert table["DPO-LS"][column].replace(".", "").isdigit(), "the baseline has no verdict"
    assert table["Soup"][column] == "" == table["Soup"]["mean rank"]
    assert list(table)[-1] == "Soup"
    assert {r["tasks"] for r in table.values()} == {"2"}
    assert "One seed was run" not in page.read_text()


def test_the_overview_says_who_ran_on_fewer_tasks_and_where_one_seed_was_run(folders, tmp_path):
    results = load_front_results(folders[0])
    suite = replace(results.suite, seeds=(0,), systems=results.suite.systems[:3])
    fewer = {name: getattr(results, name) for name in ("fronts", "per_query", "runs")}
    kept = {v.label for v in suite.variants()}
    fewer = {name: t[(t.seed == 0) & t.system.isin(kept)] for name, t in fewer.items()}
    replace(results, suite=suite, **fewer).save(tmp_path / "one")
    points = folders[0].parent / "points.toml"
    text = fronts_page([tmp_path / "one", folders[1]], tmp_path, draws=20, points=points).read_text()
    table = {r["system"]: r for r in rows(text, "All at once")}
    assert all(r["tasks"] == ("2" if system in kept else "1") for system, r in table.items()) and len(table) > 3
    # A task of few systems decides no order; of the others, who missed one comes last.
    assert [r["tasks"] for r in table.values() if r["mean rank"]][: len(kept) - 1] == ["2"] * (len(kept) - 1)
    assert "One seed was run on made-data, m = 2: intervals and verdicts there speak of these nets" in text


def test_the_page_answers_from_the_intervals(page):
    text = page.read_text()
    found = rows(text, "Does one conditioned model match one model per preference?")
    assert found[0]["made-data, m = 2"].startswith("above: +") and found[0]["other-data, m = 3"].startswith("cannot")
    assert "HyperDPO above DPO-LS, normalised hypervolume: above on 1 of 2 tasks, cannot tell on 1." in text
    shown = rows(text, "What to take")
    assert {r["task"] for r in shown} == {"made-data, m = 2", "other-data, m = 3"}
    assert any(r["goal"].startswith("97% of the true front on made-data") for r in rows(text, "What was to be shown"))
    # MODPO ran in neither suite: nothing is said of it.
    assert "MODPO above" not in text and "above MODPO" not in text


def test_the_page_says_what_was_run(page):
    text = page.read_text()
    assert "6 systems on 2 tasks" in text and "20 of 24 runs finished" in text and "ltr bench run made" in text
    assert "queries without relevant documents, which are skipped: 7 for freshness" in text
    assert "version 1, from made by hand" in text
    for name in re.findall(r"!\[.+\]\((.+?)\)", text):
        assert (page.parent / name).read_bytes().startswith(b"\x89PNG")
    assert len(re.findall(r"!\[", text)) == 4


def test_written_again_it_is_the_same(page, folders, tmp_path, monkeypatch):
    monkeypatch.setattr("ltr.bench.analysis.reference_points._path", lambda file: folders[0].parent / "points.toml")
    assert main(["bench", "fronts", "--results", *map(str, folders), "--to", str(tmp_path), "--draws", "100"]) == 0
    for path in page.parent.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_nothing_to_show(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "suites", lambda: tmp_path)
    for command in ("fronts", "reference-points"):
        assert main(["bench", command]) == 2


def test_the_command_of_reference_points(known, tmp_path, capsys):
    folder, file = known.save(tmp_path / "r"), tmp_path / "points.toml"
    words = ["bench", "reference-points", "--results", str(folder), "--file", str(file)]
    assert main(words) == 0 and "added as version 1" in capsys.readouterr().err
    assert main(words) == 0 and "version 1 stays" in capsys.readouterr().err
    moved = known.fronts.assign(mean=known.fronts["mean"] * 0.9)
    replace(known, fronts=moved).save(folder)
    assert main(words) == 2 and "--new-version" in capsys.readouterr().err
    assert main([*words, "--new-version"]) == 0 and read_points(file)[0].version == 2


@pytest.mark.skipif(not list(ROOT.glob("benchmarks/results/core-*")), reason="no results of fronts in this checkout")
def test_the_committed_page_is_that_of_the_committed_results(tmp_path):
    """Written again by: ltr bench fronts"""
    assert fronts_page(to=tmp_path).read_text() == (ROOT / "benchmarks" / "FRONTS.md").read_text()


def test_means_and_hypervolumes_see_the_same_resamples():
    """One point: its hypervolume above 0 is the product of its means, draw by draw."""
    rng = np.random.default_rng(3)
    values = rng.uniform(0.1, 0.9, size=(1, 1, 40, 2))
    values[..., :3, 1] = np.nan  # blank lists of one objective
    volumes = paired_hypervolumes(values, np.ones((1, 1), bool), 0.0, draws=50, seed=7)
    means = _resampled(values[0, 0].T, 50, 7)
    assert volumes[:, 0] == pytest.approx(means.prod(1), rel=1e-12)
