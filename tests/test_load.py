"""The door of the datasets: tables in memory, splits of them, columns by name, cards of one's own."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

import ltr
from ltr import errors
from ltr.cli import main
from ltr.datasets.cards.card import card_file, card_home, cards, load_card
from ltr.datasets.opening import is_raw, known_card, load, open_store
from ltr.datasets.store.store import Store
from ltr.errors import InputError
from ltr.objectives.tasks import load_multi, task_objectives
from ltr.types import Split

pd = pytest.importorskip("pandas")
pa = pytest.importorskip("pyarrow")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    n = 60
    return pd.DataFrame(
        {
            "session": np.repeat([f"q{k}" for k in range(12)], 5),
            "bought": rng.integers(0, 2, n),
            "clicks": rng.integers(0, 50, n),
            "margin": rng.normal(size=n),
            "a": rng.random(n),
            "b": pd.array([None, *range(1, n)], dtype="Int64"),
            "title": "words",
        },
        index=rng.permutation(n),
    )


def test_a_table_in_memory_is_a_task(home, frame, capsys):
    task = load(frame, query="session", labels=["bought"])
    assert task.train.feature_names == ("margin", "a", "b") and task.objectives == ("bought",)
    assert sum(s.n_queries for s in (task.train, task.vali, task.test)) == 12
    err = capsys.readouterr().err
    assert "ltr: columns of the table\n" in err and "left out  title: text" in err
    assert "__index_level_0__: a row index" in err and "clicks: its name speaks of" in err
    # The same table again opens the store; another is another one.
    load(frame, query="session", labels=["bought"])
    assert "columns of" not in capsys.readouterr().err
    assert len(list((home / "stores").iterdir())) == 1
    load(frame.assign(a=1.0), query="session", labels=["bought"])
    assert len(list((home / "stores").iterdir())) == 2


def test_every_kind_of_table_is_the_same_data(home, frame):
    asked = {"query": "session", "labels": ["bought"], "drop": "margin"}
    frame = frame.reset_index(drop=True)
    tables = [
        frame,
        pa.Table.from_pandas(frame),
        SimpleNamespace(__arrow_c_stream__=pa.table(frame).__arrow_c_stream__),
    ]
    found = [load({"train": t, "test": t[:10] if t is frame else frame[:10]}, **asked) for t in tables]
    for task in found:
        assert task.train.feature_names == ("a", "b")
        np.testing.assert_array_equal(task.train.features, found[0].train.features)
        assert (task.test.n_queries, task.train.n_queries + task.vali.n_queries) == (2, 12)


def test_splits_may_be_files_and_tables(home, frame, tmp_path):
    frame.to_csv(tmp_path / "train.csv", index=False)
    task = load(
        {"train": tmp_path / "train.csv", "vali": frame[:10], "test": frame[10:20]}, query="session", labels="bought"
    )
    assert (task.train.n_queries, task.vali.n_queries, task.test.n_queries) == (12, 2, 2)
    np.testing.assert_array_equal(task.train.features[:10], np.asarray(task.vali.features))
    (tmp_path / "train.csv").write_text((tmp_path / "train.csv").read_text().replace("words", "WORDS"))
    assert load({"train": tmp_path / "train.csv", "test": frame[:10]}, query="session", labels="bought").fold == "Fold1"


def test_mixed_columns_and_other_trouble_of_tables(home, frame):
    asked = {"query": "session", "labels": ["bought"]}
    task = load({"train": frame.assign(a=[1, "2.5", None] * 20), "test": frame}, **asked)
    rows = np.concatenate([task.train.features, task.vali.features])[:, 1]
    assert {*rows[~np.isnan(rows)].tolist()} == {1.0, 2.5} and np.isnan(rows).sum() == 20
    cases = {
        "the table of test: row 3, column 'a': not a number.*'n.v.t.'": {"a": ["1", "2", "n.v.t.", *["4"] * 57]},
        "the table of test: column 'a' of the table of train is not here": None,
    }
    for message, change in cases.items():
        test = frame.drop(columns="a") if change is None else frame.assign(**change)
        with pytest.raises(InputError, match=message) as error:
            load({"train": frame, "test": test}, **asked)
        assert error.value.file is None  # the file it was written to is gone
    odd = load(frame.assign(span=pd.cut(frame.index, 3), month=pd.period_range("2020", periods=60)), **asked)
    assert odd.train.feature_names == load(frame, **asked).train.feature_names
    with pytest.raises(InputError, match="column 'a' stands twice in the table"):
        load(pd.concat([frame, frame[["a"]]], axis=1), **asked)
    with pytest.raises(InputError, match="unknown split 'valid'. Did you mean 'vali'"):
        load({"train": frame, "valid": frame})
    for big in (2**70, -(2**70)):  # beyond 64 bits a number is rounded, an id is text
        task = load(frame.assign(b=big, session=[big + k // 5 for k in range(60)]), **asked)
        assert task.train.features[0, -1] == np.float32(big) and str(big) in {*map(str, task.train.query_ids)} | {
            *map(str, task.vali.query_ids),
            *map(str, task.test.query_ids),
        }
    with pytest.raises(InputError, match="what is the data of test.*came 'int'"):
        load({"train": frame, "test": 3})
    with pytest.raises(InputError, match="what is this data.*came 'ndarray'"):
        load(np.zeros((3, 3)))


def test_options_are_refused_where_nothing_is_read(home, frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    assert load(tmp_path / "t.csv", query="session", labels=["bought"], features=["a"]).train.feature_names == ("a",)
    store = open_store(tmp_path / "t.csv", query="session", labels=["bought"])
    with pytest.raises(InputError, match="labels, drop: .* is a store, its columns are decided"):
        load(store.folder, labels=["bought"], drop=["a"])
    with pytest.raises(InputError, match="query: a synthetic task has no files"):
        load("synthetic:queries=20,features=3", query="x")
    with pytest.raises(InputError, match="features: the card of mq2008 says what its columns are"):
        load("mq2008", features=["f1"])
    with pytest.raises(InputError, match="unknown argument 'lables'. Did you mean 'labels'"):
        load(tmp_path / "t.csv", lables=["bought"])
    (tmp_path / "a.txt").write_text("".join(f"{k % 2} qid:{k // 4} 1:{k} 2:1\n" for k in range(40)))
    with pytest.raises(InputError, match="labels: svmlight text has no columns with names"):
        load(tmp_path / "a.txt", labels=["x"])
    for option, value in (("n_features", 3), ("index_base", 0)):
        with pytest.raises(InputError, match=f"t.csv: {option} is of svmlight text"):
            load(tmp_path / "t.csv", query="session", labels=["bought"], **{option: value})
    for value in (0, -1, "3", 2.0):
        with pytest.raises(InputError, match="n_features; expected a whole number above 0"):
            load(tmp_path / "a.txt", n_features=value)
    for option in ("labels", "features"):
        with pytest.raises(InputError, match=f"{option} names no column"):
            load(tmp_path / "t.csv", query="session", **{option: []})
    with pytest.raises(InputError, match="unknown fold '1'"):
        load(tmp_path / "a.txt", fold=1)
    assert load(tmp_path / "a.txt", drop=["f1"], n_features=3).train.feature_names == ("f2", "f3")


def test_outcomes_are_labels_where_they_are_asked_for(home, frame, tmp_path):
    frame.to_csv(tmp_path / "t.csv", index=False)
    asked = {"query": "session", "labels": ["bought"]}
    task = load(tmp_path / "t.csv", objectives=["bought", "clicks"], **asked)
    assert task.objectives == ("bought", "clicks") and task.train.feature_names == ("margin", "a", "b")
    task, labelling = load_multi(tmp_path / "t.csv", ["bought", "clicks:grade5", "margin:minmax"], **asked)
    assert task.objectives == ("bought", "clicks:grade5", "margin:minmax") and task.train.feature_names == ("a", "b")
    assert set(np.unique(task.train.labels[:, 1])) <= {0, 1, 2, 3, 4}
    assert 0 == task.train.labels[:, 2].min() and task.train.labels[:, 2].max() == 1  # negative margins, too
    assert [o.measure() for o in labelling.objectives][2] == "nDCG(gain=linear,empty=skip)@10"
    with pytest.raises(InputError, match="label column 'margin': not a grade.*NAME:minmax"):
        load(tmp_path / "t.csv", objectives=["bought", "margin"], **asked)


def test_columns_of_a_frame_may_be_numbers(home):
    plain = pd.DataFrame([[k // 5, k % 2, k, 1.0] for k in range(40)])
    task = load(plain, query=0, labels=[1], features=2)
    assert (task.objectives, task.train.feature_names) == (("1",), ("2",))
    with pytest.raises(InputError, match="the name of a column; expected text; came True"):
        load(plain, query=True)
    # A number is the column of that name; where there is none, it counts features.
    many = pd.DataFrame({0: [k // 5 for k in range(40)], 1: 1, 2: range(40), 3: 2.0, 4: range(1, 41)})
    assert load(many, query=0, labels=[1], drop=[3]).train.feature_names == ("2", "4")
    named = many.set_axis(["qid", "label", "a", "b", "c"], axis=1)
    assert load(named, drop=[3]).train.feature_names == ("a", "b")


def test_arrays_that_do_not_fit_are_no_split():
    x, y = np.zeros((4, 2)), [0, 1, 0, 1]
    for sizes in ([1.9, 2.9], [2**62, 2**62, 4], np.array([2**63 - 1, 2**63 - 1, 6]), [-1, 5], [[4]]):
        with pytest.raises(InputError, match="whole sizes that sum to 4"):
            Split.from_arrays(x, y, sizes)
    with pytest.raises(InputError, match="features must be a matrix"):
        Split.from_arrays(np.zeros(4), y)
    split = Split.from_arrays(x, y, [2, 2])
    for wrong, message in (
        ({"offsets": np.array([0, 3, 2, 4]), "query_ids": np.array(["a", "b", "c"])}, "ends before it starts"),
        ({"doc_ids": np.array(["a"])}, "doc_ids do not fit"),
        ({"row": np.arange(3)}, "row do not fit"),
    ):
        with pytest.raises(InputError, match=message):
            split.having(**wrong)
    assert load("synthetic:queries=10,features=50", objectives="quality").objectives == ("quality",)
    with pytest.raises(InputError, match="option 'queries' of the synthetic task stands twice"):
        load("synthetic:queries=10,queries=20")


def test_a_feature_that_counts_rows_or_repeats_the_label_is_said(home, capsys, monkeypatch):
    table = pd.DataFrame({"qid": [k // 5 for k in range(40)], "label": [k % 3 for k in range(40)]})
    load(table.assign(a=1.5, zeile=range(7, 47), truth_of_it=table.label))
    said = capsys.readouterr().err
    assert "feature 'zeile' counts the rows, as a row index does: --drop 'zeile'" in said
    assert "feature 'truth_of_it' equals the label: --drop 'truth_of_it'" in said
    load(table.assign(a=1.5, zeile=[*range(39), 1], truth_of_it=[*table.label[:39], 1], b=2.5)[::-1])
    assert "feature" not in capsys.readouterr().err.replace("feature   ", "")
    load(
        table.assign(
            a=range(0, 80, 2), c=range(2**24 - 10, 2**24 + 30), d=2.0**60, e=np.arange(40.0) + 72048431380967004
        )
    )
    said = capsys.readouterr().err
    assert "feature 'c' holds whole numbers that float32 rounds (row 12: 16777217): --drop 'c'" in said
    assert "feature 'e' holds whole numbers that float32 rounds (row 1: 72048431380967008)" in said
    assert "'a'" not in said and "'d'" not in said
    load(table.assign(a=1.6e9 + 0.5 + np.arange(40) / 100, label=1 + np.arange(40) * 1e-9))
    said = capsys.readouterr().err
    assert "feature 'a' holds numbers that float32 hardly tells apart (row 1: 1600000000.5): --drop 'a'" in said
    assert "label 'label' holds numbers that float32 hardly tells apart (row 2: 1.0000000010000001): take its" in said
    load(table.assign(a=1.5, b=0.1 + np.arange(40) * 1e-4))
    assert "apart" not in capsys.readouterr().err
    load(table.assign(a=1.5, label=table.label + 2**24))
    assert (
        "labels 'label' reach 16,777,218; above 16,777,216 float32 makes some of them equal" in capsys.readouterr().err
    )
    with pytest.raises(InputError, match="an empty name of data"):
        load("")
    load(table.assign(a=1.5, b=range(2**60 + 1, 2**60 + 81, 2)))
    assert f"(row 1: {2**60 + 1})" in capsys.readouterr().err  # doubles do not tell it from 2**60
    monkeypatch.setattr(errors, "_SAID", set())
    load(table.assign(a=1.5, b=2.5))
    assert "every feature is constant" in capsys.readouterr().err


def test_roles_stand_in_the_manifest_and_are_shown(home, frame, tmp_path, capsys):
    frame.to_csv(tmp_path / "t.csv")
    options = ["--query", "session", "--labels", "bought", "--drop", "mar*"]
    assert main(["data", "convert", str(tmp_path / "t.csv"), "--to", str(tmp_path / "st"), *options]) == 0
    said = capsys.readouterr()
    assert (
        "left out  '': a column without a name, as a row index is" in said.err
        and "margin: dropped, as said" in said.err
    )
    assert "1 with missing values: b (1)" in said.out
    roles = {row["column"]: row for row in Store.open(tmp_path / "st").manifest["roles"]}
    assert roles["bought"] == {"column": "bought", "role": "label", "why": "as said"}
    assert {c for c, row in roles.items() if row["role"] == "left out"} == {"", "clicks", "margin", "title"}
    assert main(["data", "info", str(tmp_path / "st")]) == 0
    assert re.search(r"feature   a, b\n  left out  '': a column without", capsys.readouterr().out)
    assert main(["data", "convert", str(tmp_path / "t.csv"), "--to", str(tmp_path / "q"), *options, "-q"]) == 0
    assert "columns of" not in capsys.readouterr().err
    assert main(["data", "info", str(tmp_path / "t.csv")]) == 2
    assert "ltr data convert" in capsys.readouterr().err


def test_infinities_and_files_beside_are_said(home, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("".join(f"{k % 2} {k + 1}:inf 30:{k}\n" for k in range(20)))
    (tmp_path / "a.txt.query").write_text("4\n" * 5)
    (tmp_path / "a.txt.weight").write_text("1\n" * 5)
    assert main(["data", "convert", str(tmp_path / "a.txt"), "--to", str(tmp_path / "st")]) == 0
    said = capsys.readouterr()
    assert "weights of queries of a.txt from a.txt.weight (losses weigh by them)" in said.err
    assert "20 infinite values among the features, the first at a.txt:1, feature 1" in said.err
    assert "20 with infinite values: f1 (1), f2 (1)" in said.out
    noted = Store.open(tmp_path / "st").task().facts["notes"]
    assert "20 infinite values among the features, of f1, f2, f3, f4, f5, ..." in noted
    again = ["data", "convert", str(tmp_path / "a.txt"), "--to", str(tmp_path / "no"), "--non-finite", "refuse"]
    assert main(again) == 2 and "a.txt:1: the feature is not finite" in capsys.readouterr().err


# --- cards of one's own --------------------------------------------------------------------------------------------

CARD = """
name = "shop"
title = "Shop"
summary = "Sessions."
homepage = ""
citation = ""
format = "table"
n_features = 2
[licence]
name = "ours"
terms = "ours"
certainty = "read"
[table]
query = "session"
features = ["a", "b"]
[[objectives]]
name = "sale"
column = "bought"
certainty = "read"
[[objectives]]
name = "attention"
column = "clicks"
certainty = "read"
transform = "grade5"
[[folds]]
name = "Fold1"
train = "train.csv"
test = "test.csv"
[files.sha256]
"train.csv" = ""
"test.csv" = ""
[manual]
steps = ["Copy them."]
expects = "a folder"
certainty = "read"
"""


def own_card(folder, frame):
    (folder / "raw").mkdir(parents=True)
    (folder / "card.toml").write_text(CARD)
    frame[:40].to_csv(folder / "raw" / "train.csv", index=False)
    frame[40:].to_csv(folder / "raw" / "test.csv", index=False)
    return folder


@pytest.mark.parametrize("where", ["by name", "by file", "by folder"])
def test_a_card_of_ones_own_works_like_those_of_the_package(home, frame, tmp_path, capsys, where):
    folder = own_card((home if where == "by name" else tmp_path / "elsewhere") / "shop", frame)
    name = {"by name": "shop", "by file": str(folder / "card.toml"), "by folder": str(folder)}[where]
    assert ("shop" in cards()) == (where == "by name")
    assert load_card(name).title == "Shop" and card_home(name) == folder and not is_raw(name)
    assert [o.transform for o in task_objectives(name, ["sale", "attention"])] == ["identity", "grade5"]
    task, _ = load_multi(name, ["sale", "attention"])
    assert (task.name, task.train.feature_names) == ("shop", ("a", "b"))
    assert set(np.unique(task.train.labels[:, 1])) <= {0, 1, 2, 3, 4}
    assert main(["data", "info", name]) == 0 and "# Shop (`shop`)" in capsys.readouterr().out
    assert main(["data", "convert", name, "--objectives", "sale", "attention", "-q"]) == 0
    store = folder / "store"
    assert Store.open(store).objectives == ("sale", "attention") and known_card(store).name == "shop"
    assert main(["data", "verify", name]) == 0
    assert ltr.load(name).objectives[0] == "sale"
    (folder / "raw" / "test.csv").write_text((folder / "raw" / "train.csv").read_text())
    capsys.readouterr()
    assert main(["data", "verify", name]) == 1 and "test.csv" in capsys.readouterr().out


def test_broken_and_ambiguous_cards_are_named(home, frame, capsys):
    own_card(home / "shop", frame)
    (home / "broken").mkdir()
    (home / "broken" / "card.toml").write_text("name = 'broken'\ntitel = 'x'\n")
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    assert "shop" in out and "broken card" in out and "mq2008" in out
    (home / "mq2008").mkdir()
    (home / "mq2008" / "card.toml").write_text(CARD)
    with pytest.raises(InputError, match="two different cards are named 'mq2008'.*Give your own another name"):
        card_file("mq2008")
    with pytest.raises(InputError, match="unknown dataset 'shopp'. Did you mean 'shop'"):
        load("shopp")


def test_chunks_with_categories_of_their_own(home):
    """Two tables put together keep a dictionary each, which no Arrow file holds."""
    parts = []
    for q, kind in ((0, "tea"), (2, "milk")):
        rows = {"qid": [q, q, q + 1, q + 1], "label": [0, 1, 0, 1], "x": [1.0, 2, 3, 4]}
        parts.append(pa.table({**rows, "k": pa.array([kind] * 4).dictionary_encode()}))
    task = ltr.load(pa.concat_tables(parts), categories=["k"])
    assert task.train.n_documents + task.vali.n_documents + task.test.n_documents == 8
    assert len({*task.train.features[:, 1], *task.vali.features[:, 1], *task.test.features[:, 1]}) == 2
