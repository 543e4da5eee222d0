"""Multi-objective tasks: what a card declares becomes labels, and what leaves the inputs leaves them everywhere."""

from __future__ import annotations

import dataclasses
import sys
from typing import get_args

import numpy as np
import pytest

from ltr import datasets
from ltr.datasets.cards import card as cards
from ltr.datasets.cards.card import load_card
from ltr.datasets.store.convert import convert_folder
from ltr.errors import InputError
from ltr.objectives import Objective, blank_lists, load_multi, task_objectives
from ltr.objectives.label_transforms import NAMES

REAL = {
    "mq2008": "MQ2008",
    "clueweb09": "ClueWeb09",
    "mslr-head": "MSLR-WEB10K-head",
    "clef-ehealth-2016": "clef-ehealth-2016",
}


@pytest.fixture(scope="session")
def home(tmp_path_factory, real_data):
    """A data root with the real files under the names of their cards."""
    root = tmp_path_factory.mktemp("data")
    for name, folder in REAL.items():
        (root / name).mkdir()
        (root / name / "raw").symlink_to(real_data / folder)
    return root


@pytest.fixture
def real(home, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(home))
    return home


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A dataset with a card, MQ2008's columns, and 12 lists of 6 documents; feature 41 falls as the label grows."""
    monkeypatch.setenv("LTR_DATA", str(tmp_path))
    draw = np.random.default_rng(0)
    card = load_card("mq2008")
    for fold in card.folds:
        for split, path in fold.files().items():
            file = tmp_path / "mq2008" / "raw" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            rows = []
            for q in range(12):
                for d in range(6):
                    y = draw.integers(0, 3) if q else 0
                    cells = " ".join(f"{c}:{draw.random():.3f}" for c in range(1, 41))
                    rows.append(f"{y} qid:{split}{q} {cells} 41:{2 - y - d / 10:.2f} 42:1 43:2 44:3 45:4 46:5\n")
            file.write_text("".join(rows))
    return tmp_path


def declare(monkeypatch, name, objective, **changes):
    """Changes what the card of `name` says about one of its objectives."""
    card = load_card(name)
    objectives = tuple(dataclasses.replace(o, **changes) if o.name == objective else o for o in card.objectives)
    changed = dataclasses.replace(card, objectives=objectives)
    for module in [m for n, m in sys.modules.items() if n.startswith("ltr.") and "load_card" in vars(m)]:
        monkeypatch.setattr(module, "load_card", lambda asked: changed if asked == name else load_card(asked))


# ---------------------------------------------------------------------------------------------- what a card declares


def test_cards_and_labellings_know_the_same_transforms():
    (annotation,) = [f.type for f in dataclasses.fields(cards.Objective) if f.name == "transform"]
    assert get_args(eval(annotation, vars(cards))) == NAMES


@pytest.mark.parametrize("name", cards.cards())
def test_every_declared_objective_can_be_asked_for(name):
    card = load_card(name)
    asked = [o.name for o in card.objectives]
    for declared, objective in zip(card.objectives, task_objectives(name, asked), strict=True):
        assert (objective.column, objective.transform) == (declared.name, declared.transform)
        if isinstance(declared.column, int) and declared.column:
            assert declared.column in declared.leaves
            assert declared.transform != "identity", "a feature holds a quantity, not grades"


def test_another_transform_belongs_to_the_name():
    page_rank = task_objectives("clueweb09", ["page-rank:log-minmax"])[0]
    assert page_rank == Objective("page-rank:log-minmax", "page-rank", transform="log-minmax")
    assert page_rank.measure(5) == "nDCG(gain=linear,empty=skip)@5"
    for words in ("grade5:linear", "linear:grade5"):  # the gain behind a name goes over that of its transform
        (made,) = task_objectives("clueweb09", [f"page-rank:{words}"])
        assert (made.transform, made.gain, made.column) == ("grade5", "linear", page_rank.column)
    assert task_objectives("shop.csv", ["stars:linear"])[0].gain == "linear"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["relevance", "page-rnk"], "unknown objective of mq2008 'page-rnk'. Did you mean 'page-rank'"),
        (["page-rank:minmx"], "unknown transform of the objective 'page-rank' 'minmx'. Did you mean 'minmax'"),
        (["page-rank:linear:exp2"], "objective 'page-rank:linear:exp2'; expected at most one transform and one gain"),
        (["relevance", "relevance"], "none twice"),
        ([], "at least one"),
        ("relevance", "none twice"),
    ],
)
def test_names_that_are_refused(names, message):
    with pytest.raises(InputError, match=message):
        task_objectives("mq2008", names)


def test_lower_is_better_needs_a_transform():
    card = load_card("mslr-web10k")
    worse = dataclasses.replace(card.objective("quality2"), direction="min")
    dataclasses.replace(card, objectives=(*card.objectives[:2], worse))
    with pytest.raises(InputError, match="'quality2' is better when lower and no label by itself.*grade5"):
        dataclasses.replace(card, objectives=(card.objectives[0], dataclasses.replace(worse, transform="identity")))


# ------------------------------------------------------------------------------------------------- made-up data


def test_the_order_of_the_names_is_the_order_of_the_labels(made_up):
    one, labelling = load_multi("mq2008", ["relevance", "page-rank"])
    two, _ = load_multi("mq2008", ["page-rank", "relevance"])
    assert one.objectives == labelling.names == ("relevance", "page-rank")
    np.testing.assert_array_equal(one.test.labels, two.test.labels[:, ::-1])
    assert one.facts["gains"] == labelling.gains == ("exp2", "exp2")
    assert len(list((made_up / "stores").iterdir())) == 1, "one store, whatever the order"


def test_near_copies_leave_with_an_objective(made_up):
    task, _ = load_multi("mq2008", ["relevance", "page-rank"])
    assert task.train.n_features == 44
    assert not {"page_rank", "inlinks"} & set(task.train.feature_names)


def test_what_leaves_does_not_depend_on_the_store_that_lies_there(made_up):
    raw = made_up / "mq2008" / "raw"
    card = load_card("mq2008")
    convert_folder(raw, made_up / "mq2008" / "store", card=card, objectives=["relevance", "page-rank"])
    single, _ = load_multi("mq2008", ["relevance"])
    assert single.train.n_features == 46
    assert load_multi("mq2008", ["relevance", "inlinks:minmax"])[0].train.n_features == 44
    assert datasets.load("mq2008", objectives=["relevance"]).train.n_features == 44, "not exact: what was converted"
    used = load_multi("mq2008", ["page-rank", "relevance"])[0].facts["store"]
    assert used == str(made_up / "mq2008" / "store"), "a store that fits is used"


def test_a_store_that_does_not_fit_and_no_raw_files(made_up):
    raw = made_up / "mq2008" / "raw"
    convert_folder(raw, made_up / "mq2008" / "store", card=load_card("mq2008"))
    raw.rename(made_up / "elsewhere")
    assert load_multi("mq2008", ["relevance"])[0].train.n_features == 46
    with pytest.raises(InputError, match="'mq2008' was not made for these objectives.*ltr data fetch mq2008"):
        load_multi("mq2008", ["relevance", "page-rank"])


def test_an_edited_card_does_not_find_the_store_of_yesterday(made_up, monkeypatch):
    assert load_multi("mq2008", ["relevance", "page-rank"])[0].train.n_features == 44
    declare(monkeypatch, "mq2008", "page-rank", leaves=(41,))
    assert load_multi("mq2008", ["relevance", "page-rank"])[0].train.n_features == 45


def test_lower_is_better_is_turned_round_in_the_task_and_not_in_the_store(made_up, monkeypatch):
    declare(monkeypatch, "mq2008", "page-rank", direction="min")
    task, labelling = load_multi("mq2008", ["relevance", "page-rank"])
    assert (labelling.objectives[1].direction, labelling.transforms[1].rule) == ("min", "all")
    relevance, turned = task.train.labels.T
    assert np.corrcoef(relevance, turned)[0, 1] > 0.5
    stored = datasets.load("mq2008", objectives=["relevance", "page-rank"], exact=True).train.labels
    assert np.corrcoef(*stored.T)[0, 1] < -0.5
    assert stored[:, 1].min() < 0, "a raw column may hold what no grade is"


def test_quantiles_are_those_of_train(made_up):
    task, labelling = load_multi("mq2008", ["relevance", "page-rank"])
    raw = datasets.load("mq2008", objectives=["page-rank"], exact=True)
    positive = raw.train.labels[raw.train.labels > 0]
    want = np.quantile(positive.astype(np.float64), (0.25, 0.5, 0.75), method="inverted_cdf")
    assert labelling.transforms[0 + 1].thresholds == pytest.approx(want)
    for name in ("vali", "test"):
        x = raw.split(name).label()
        np.testing.assert_array_equal(task.split(name).labels[:, 1], np.where(x > 0, 1 + (x[:, None] > want).sum(1), 0))


def test_blank_lists_are_counted_by_objective(made_up):
    task, _ = load_multi("mq2008", ["relevance", "page-rank"])
    assert blank_lists(task.train)["relevance"] >= 1
    whole = {
        o: sum(not (task.train.labels[a:b, k] > 0).any() for a, b in zip(task.train.offsets, task.train.offsets[1:]))
        for k, o in enumerate(task.objectives)
    }
    assert blank_lists(task.train) == whole


def test_raw_files_and_stores_without_a_card(tmp_path, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "root"))
    (tmp_path / "raw").mkdir()
    for split in ("train", "test"):
        rows = [f"{k % 3} qid:{k // 6} 1:{-k % 5 - 2} 2:{k}\n" for k in range(60)]
        (tmp_path / "raw" / f"{split}.txt").write_text("".join(rows))
    task, labelling = load_multi(tmp_path / "raw", ["relevance", "f1:minmax"])
    assert task.objectives == ("relevance", "f1:minmax")
    assert task.train.feature_names == ("f2",)
    assert labelling.gains == ("exp2", "linear")
    assert task.train.labels[:, 1].min() == 0 and task.train.labels[:, 1].max() == 1
    with pytest.raises(InputError, match="not a grade"):
        load_multi(tmp_path / "raw", ["relevance", "f1"])
    spec = {"relevance": {}, "f1": {"column": 1, "raw": True}}
    store = convert_folder(tmp_path / "raw", tmp_path / "store", objectives=spec)
    again, _ = load_multi(store.folder, ["relevance", "f1:minmax"])
    np.testing.assert_array_equal(again.test.labels, task.test.labels)


def test_a_store_remembers_its_card(made_up):
    raw, card = made_up / "mq2008" / "raw", load_card("mq2008")
    store = convert_folder(raw, made_up / "any" / "where", card=card, objectives=["relevance", "page-rank"])
    assert task_objectives(str(store.folder), ["page-rank"])[0].transform == "grade5"
    assert load_multi(str(store.folder), ["page-rank"])[1].transforms[0].name == "grade5"


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_synthetic(m):
    names = [o.name for o in load_card("synthetic").objectives][:m]
    dataset = f"synthetic:queries=10,features=50,objectives={m}"
    task, labelling = load_multi(dataset, names)
    plain = datasets.load(dataset)
    assert task.objectives == plain.objectives == tuple(names)
    np.testing.assert_array_equal(task.test.labels, plain.test.labels)
    assert labelling.measures() == ("nDCG(gain=exp2,empty=skip)@10",) * m
    assert "truth" in task.facts


def test_the_truth_of_the_synthetic_task_is_about_its_own_labels():
    dataset = "synthetic:queries=10,features=50,objectives=2"
    assert "truth" not in load_multi(dataset, ["relevance", "quality:minmax"])[0].facts


# --------------------------------------------------------------------------------------------------- the real files


@pytest.mark.parametrize(
    ("dataset", "names", "inputs", "blank"),
    [
        (
            "mslr-head",
            ["relevance", "quality", "query-url-clicks", "url-clicks"],
            131,
            {"train": (2, 0, 15, 0), "vali": (0, 0, 3, 0), "test": (0, 0, 16, 0)},
        ),
        ("mslr-head", ["relevance", "url-clicks:minmax"], 131, {"train": (2, 0), "test": (0, 0)}),
        ("clueweb09", ["relevance", "page-rank", "not-spam"], 40, {"train": (1, 0, 0), "test": (0, 0, 0)}),
        ("mq2008", ["relevance", "page-rank"], 44, {"train": (132, 0), "vali": (37, 0), "test": (51, 0)}),
        ("clef-ehealth-2016", ["relevance", "understandability", "trust"], 38, {"test": (0, 0, 0)}),
    ],
)
def test_real_tasks(real, dataset, names, inputs, blank):
    task, labelling = load_multi(dataset, names)
    assert task.objectives == tuple(names)
    assert task.train.n_features == inputs
    for split, counts in blank.items():
        assert tuple(blank_lists(task.split(split)).values()) == counts
    for k, objective in enumerate(labelling.objectives):
        values = np.unique(task.train.labels[:, k])
        if objective.transform == "grade5":
            assert values.tolist() == [0, 1, 2, 3, 4]
        assert task.test.labels[:, k].max() <= (1 if objective.gain == "linear" else 4)


def test_objectives_left_the_inputs_of_mslr(real):
    task, _ = load_multi("mslr-head", ["relevance", "url-clicks"])
    gone = ["quality_score", "quality_score2", "query_url_clicks", "url_clicks", "url_dwell"]
    assert not {*gone, *(f"f{k}" for k in range(132, 137))} & set(task.train.feature_names)
    assert task.train.feature_names[-1] in ("site_rank", "f131")
