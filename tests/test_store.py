"""The store: layouts, divisions, objectives, manifest, and that nothing is ever half-written."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from ltr import datasets
from ltr.atomic import sha256
from ltr.cli import main
from ltr.datasets.readers import folder as folders
from ltr.datasets.readers import svmlight
from ltr.datasets.readers.svmlight import read_svmlight
from ltr.datasets.store import shard as parts
from ltr.datasets.store.convert import convert_folder
from ltr.datasets.store.label_columns import Objective
from ltr.datasets.store.store import Store
from ltr.errors import InputError

SPLITS = ("train", "vali", "test")


def text(queries, features=4, seed=0, docs=True, qid=True, base=1):
    rng = np.random.default_rng(seed)
    lines = []
    for q in queries:
        for _ in range(rng.integers(1, 5)):
            pairs = " ".join(f"{k + base}:{rng.integers(1, 1000) / 8}" for k in range(features))
            head = f"{rng.integers(0, 3)} qid:{q}" if qid else f"{rng.integers(0, 3)}"
            lines.append(f"{head} {pairs}{f' # docid = d{len(lines)}' if docs else ''}\n")
    return "".join(lines)


@pytest.fixture
def raw(tmp_path):
    """Five LETOR folds: S_1..S_5, each file in three folds."""
    root = tmp_path / "raw"
    pieces = [text(range(10 * k, 10 * k + 6), seed=k) for k in range(5)]
    for i in range(5):
        fold = root / f"Fold{i + 1}"
        fold.mkdir(parents=True)
        (fold / "train.txt").write_text("".join(pieces[(i + 2 + j) % 5] for j in range(3)))
        (fold / "vali.txt").write_text(pieces[(i + 1) % 5])
        (fold / "test.txt").write_text(pieces[i])
    (root / "README.txt").write_text("train on train, test on test")
    return root


def same(ours, theirs):
    np.testing.assert_array_equal(ours.features, theirs.features)
    np.testing.assert_array_equal(ours.labels, theirs.labels)
    np.testing.assert_array_equal(ours.offsets, theirs.offsets)
    np.testing.assert_array_equal(ours.query_ids, theirs.query_ids)
    np.testing.assert_array_equal(ours.doc_ids, theirs.doc_ids)


def whole(task):
    """query -> its features, over all splits."""
    found = {}
    for split in (task.train, task.vali, task.test):
        for q, name in enumerate(split.query_ids.tolist()):
            assert name not in found
            found[name] = np.asarray(split.features[split.offsets[q] : split.offsets[q + 1]])
    return found


# --- layouts -----------------------------------------------------------------------------------------------------


def test_five_folds(raw, tmp_path):
    store = convert_folder(raw, tmp_path / "store", name="letor")
    assert (store.name, store.folds) == ("letor", [f"Fold{k}" for k in range(1, 6)])
    for fold in store.folds:
        for split in SPLITS:
            ours = store.split(fold, split)
            same(ours, read_svmlight(raw / fold / f"{split}.txt"))
            assert isinstance(ours.features, np.memmap)
            assert (ours.name, ours.row) == (split, None)
    # Equal raw files are stored once: 5 pieces and 5 trains.
    assert len(store.manifest["parts"]) == len(list((tmp_path / "store" / "parts").iterdir())) == 10
    assert store.manifest["folds"]["Fold1"]["vali"]["part"] == store.manifest["folds"]["Fold2"]["test"]["part"]
    assert store.verify() == []


def test_gzip_and_other_names(raw, tmp_path):
    odd = tmp_path / "odd" / "inner"
    for k in (10, 2):  # numeric order, not that of letters
        fold = odd / f"fold_{k}"
        fold.mkdir(parents=True)
        for split, name in (
            ("train", "msn.train.svm.gz"),
            ("vali", "msn.validation.svm.gz"),
            ("test", "msn.test.svm.gz"),
        ):
            (fold / name).write_bytes(gzip.compress((raw / "Fold1" / f"{split}.txt").read_bytes(), mtime=k))
    store = convert_folder(tmp_path / "odd", tmp_path / "store")
    assert store.folds == ["fold_2", "fold_10"]
    for split in SPLITS:
        same(store.split("fold_10", split), read_svmlight(raw / "Fold1" / f"{split}.txt"))


def test_one_width_and_base_for_all_splits(tmp_path):
    (tmp_path / "train.txt").write_text("0 qid:1 1:1\n1 qid:2 2:2\n")
    (tmp_path / "vali.txt").write_text("0 qid:3 5:3\n")
    (tmp_path / "test.txt").write_text("1 qid:4 0:4\n")  # a 0 in any file makes all 0-based
    task = convert_folder(tmp_path, tmp_path / "store").task()
    assert task.train.features.tolist() == [[0, 1, 0, 0, 0, 0], [0, 0, 2, 0, 0, 0]]
    assert task.vali.features.tolist() == [[0, 0, 0, 0, 0, 3]]
    assert task.test.features.tolist() == [[4, 0, 0, 0, 0, 0]]
    assert task.train.feature_names[0] == "f0"


def test_a_missing_vali_is_cut_from_train_by_query(tmp_path):
    (tmp_path / "train.txt").write_text(text(range(30)))
    (tmp_path / "test.txt").write_text(text(range(30, 40)))
    store = convert_folder(tmp_path, tmp_path / "store")
    task = store.task("Fold1")
    assert (task.train.n_queries, task.vali.n_queries, task.test.n_queries) == (24, 6, 10)
    source = read_svmlight(tmp_path / "train.txt")
    for split in (task.train, task.vali):
        assert isinstance(split.features, np.memmap)
        assert sorted(split.query_ids.tolist(), key=int) == split.query_ids.tolist()  # the file's order within
        np.testing.assert_array_equal(split.features, source.features[split.row])
        np.testing.assert_array_equal(split.labels, source.labels[split.row])
        np.testing.assert_array_equal(split.doc_ids, source.doc_ids[split.row])
    assert not set(task.train.query_ids) & set(task.vali.query_ids)
    assert sorted([*task.train.row, *task.vali.row]) == list(range(source.n_documents))
    made = store.manifest["folds"]["Fold1"]
    assert made["vali"]["made"] == "20% of the queries of train.txt, seed_of('vali', sha256 of the file)"
    assert made["test"]["made"] == "its own file"
    again = convert_folder(tmp_path, tmp_path / "again").task()
    np.testing.assert_array_equal(again.vali.query_ids, task.vali.query_ids)


@pytest.mark.parametrize("n", [3, 5, 23])
def test_one_file_becomes_folds_by_query(tmp_path, n):
    path = tmp_path / "all.txt"
    queries = [*range(n), 0]  # the first comes back
    path.write_text("".join(text([q], seed=k) for k, q in enumerate(queries)))
    source = read_svmlight(path)
    store = convert_folder(path, tmp_path / "store")
    assert store.folds == [f"Fold{k + 1}" for k in range(min(5, n))]
    tested = []
    for i, fold in enumerate(store.folds):
        task = store.task(fold)
        lists = whole(task)
        assert len(lists) == n
        for q, name in enumerate(source.query_ids.tolist()):
            np.testing.assert_array_equal(lists[name], source.features[source.offsets[q] : source.offsets[q + 1]])
        tested += task.test.query_ids.tolist()
        following = store.split(store.folds[(i + 1) % len(store.folds)], "test")
        assert task.vali.query_ids.tolist() == following.query_ids.tolist()
        original = np.empty_like(source.labels)
        original[source.row] = source.labels
        for split in (task.train, task.vali, task.test):
            np.testing.assert_array_equal(split.labels, original[split.row])
    assert sorted(tested) == sorted(source.query_ids.tolist())


def test_a_table_with_a_split_column(tmp_path):
    rows = ["1,train,0,1", "2,test,1,2", "3,train,0,3", "4,Dev,1,4", "1,training,2,5"]
    path = tmp_path / "t.csv"
    path.write_text("query,split,label,x\n" + "\n".join(rows) + "\n")
    task = convert_folder(path, tmp_path / "store").task()
    assert [task.split(s).features[:, 0].tolist() for s in SPLITS] == [[1, 5, 3], [4], [2]]
    assert task.train.row.tolist() == [0, 4, 2]

    path.write_text("query,split,label,x\n" + "\n".join([*rows, "2,train,0,1"]) + "\n")
    with pytest.raises(InputError, match="query '2' stands in two splits"):
        convert_folder(path, tmp_path / "other")
    path.write_text("query,split,label,x\n1,train,0,1\n2,nowhere,0,1\n")
    with pytest.raises(InputError, match=r"t.csv:3: row 2: unknown split.*nowhere"):
        convert_folder(path, tmp_path / "other")


def test_a_split_column_without_vali(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "query,split,label,x\n" + "".join(f"{q},{'test' if q > 10 else 'train'},1,{q}\n" for q in range(16))
    )
    store = convert_folder(path, tmp_path / "store")
    task = store.task()
    assert [task.split(s).n_queries for s in SPLITS] == [9, 2, 5]
    assert store.manifest["folds"]["Fold1"]["vali"]["made"].startswith("20% of the queries of train")
    assert store.manifest["folds"]["Fold1"]["test"]["made"] == "column 'split'"


def test_sizes_beside_the_file(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"rank.{split}").write_text("1 1:1\n0 2:1\n2 1:3\n")
    (tmp_path / "rank.train.query").write_text("1\n2\n")
    (tmp_path / "rank.test.query").write_text("2\n1\n")
    store = convert_folder(tmp_path, tmp_path / "store")
    assert len(store.manifest["parts"]) == 2  # the same text with other sizes is another part
    assert store.split("Fold1", "test").offsets.tolist() == [0, 2, 3]
    (tmp_path / "rank.test.query").unlink()
    with pytest.raises(InputError, match=r"rank.test:1: missing qid.*rank.test.query"):
        convert_folder(tmp_path, tmp_path / "other")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "no data found"),
        (["a.bin"], "no data found"),
        (["set1.train.txt", "set2.train.txt", "set1.test.txt"], "two files for the split 'train'"),
        (["train.txt"], "expected train and test"),
        (["train.txt", "vali.txt"], "expected train and test"),
    ],
)
def test_layouts_that_are_refused(tmp_path, names, message):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in names:
        (raw / name).write_text(text(range(4)))
    with pytest.raises(InputError, match=message):
        convert_folder(raw, tmp_path / "store")


def test_named_files(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("set1.train.txt", "set1.valid.txt", "set1.test.txt", "set2.train.txt", "set2.test.txt"):
        (raw / name).write_text(text(range(4), seed=len(name)))
    files = {"train": "set1.train.txt", "vali": "set1.valid.txt", "test": "set1.test.txt"}
    store = convert_folder(raw, tmp_path / "store", files=files)
    same(store.split("Fold1", "vali"), read_svmlight(raw / "set1.valid.txt"))
    with pytest.raises(InputError, match="the file of the split 'test' is missing"):
        convert_folder(raw, tmp_path / "other", files={**files, "test": "set3.test.txt"})
    (raw / "Fold1").mkdir()
    shutil.copy(raw / "set1.train.txt", raw / "Fold1" / "a")
    assert folders.find(raw, {"train": "{fold}/a"}) == {"Fold1": {"train": raw / "Fold1" / "a"}}


# --- objectives --------------------------------------------------------------------------------------------------


def test_a_feature_that_is_an_objective_leaves_the_inputs(raw, tmp_path):
    source = read_svmlight(raw / "Fold1" / "train.txt")
    store = convert_folder(
        raw, tmp_path / "store", objectives={"relevance": {}, "clicks": {"column": 3}, "age": "f1"}, drop=[4]
    )
    train = store.split("Fold1", "train")
    assert store.objectives == train.objectives == ("relevance", "clicks", "age")
    np.testing.assert_array_equal(train.labels, np.column_stack([source.labels[:, 0], source.features[:, [2, 0]]]))
    np.testing.assert_array_equal(train.features, source.features[:, [1]])
    assert train.feature_names == ("f2",)
    assert store.manifest["features"]["left_out"] == ["f1", "f3", "f4"]
    chosen = store.task("Fold1", ["clicks", "relevance"])
    assert chosen.objectives == ("clicks", "relevance")
    np.testing.assert_array_equal(chosen.train.labels, train.labels[:, [1, 0]])
    with pytest.raises(InputError, match="unknown objective 'click'. Did you mean 'clicks'"):
        store.task("Fold1", ["click"])


def test_objectives_of_reordered_and_0_based_files(tmp_path):
    path = tmp_path / "all.txt"
    path.write_text("".join(f"1 qid:{k % 7} 0:{k} 1:{k + 100}\n" for k in range(40)))
    store = convert_folder(path, tmp_path / "store", objectives=["grade", Objective("f", "f0")])
    for split in SPLITS:
        ours = store.split("Fold2", split)
        np.testing.assert_array_equal(ours.labels[:, 1], ours.row)
        np.testing.assert_array_equal(ours.features[:, 0], ours.row + 100)
    by_index = convert_folder(path, tmp_path / "other", objectives={"grade": 0, "second": 1})
    assert by_index.feature_names == ("f0",)
    assert convert_folder(path, tmp_path / "pattern", drop=["f[!0]"]).feature_names == ("f0",)
    with pytest.raises(InputError, match="no features are left.*all 2 leave"):
        convert_folder(path, tmp_path / "none", drop=["*"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": ["a", "b"]}, "two objectives, one label column"),
        ({"objectives": []}, "no objective"),
        ({"objectives": "relevance"}, "objectives; expected a sequence"),
        ({"objectives": {"a": {"colum": 1}}}, "unknown key of the objective 'a'.*Did you mean 'column'"),
        ({"objectives": {"a": {"column": 5}}}, "no such feature; expected an index from 1 to 4"),
        ({"objectives": {"a": {"column": "f9"}}}, "unknown feature 'f9'"),
        ({"objectives": {"a": {"column": 1, "transform": "log"}}}, "unknown key of the objective 'a'.*transform"),
        ({"objectives": {"a": {"column": 1, "raw": "yes"}}}, "raw of the objective 'a'"),
        ({"objectives": {"row": {}}}, "a name of its own"),
        ({"drop": [1, 2, 3, 4]}, "no features are left"),
        ({"drop": [0]}, "no such feature"),
        ({"n_features": 3}, "feature index out of range"),
        ({"index_base": 2}, "index_base"),
    ],
)
def test_objectives_that_are_refused(raw, tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        convert_folder(raw, tmp_path / "store", **options)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]


def test_an_objective_must_be_a_grade(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.txt").write_text("1 qid:1 1:1 2:3\n0 qid:2 1:-2 2:3\n")
    with pytest.raises(InputError, match=r"train.txt: objective 'x', document 2: not a grade.*-2.0"):
        convert_folder(tmp_path, tmp_path / "store", objectives={"relevance": {}, "x": 1})
    store = convert_folder(tmp_path, tmp_path / "store", objectives={"relevance": {}, "x": {"column": 1, "raw": True}})
    assert store.task().test.labels.tolist() == [[1, 1], [0, -2]]
    (tmp_path / "test.txt").write_text("1 qid:1 1:nan 2:3\n")
    with pytest.raises(InputError, match="not a number.*finite"):
        convert_folder(tmp_path, tmp_path / "other", objectives={"relevance": {}, "x": {"column": 1, "raw": True}})


def test_labels_of_a_table_never_leak(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("qid,rel,trust,mine,x\n" + "".join(f"{k},1,2,3,{k}\n" for k in range(9)))
    for objectives in (["trust"], {"mine": {"column": "mine"}}, {"trust": {"column": "trust"}, "mine": "mine"}):
        store = convert_folder(path, tmp_path / f"store{len(objectives)}{list(objectives)[0]}", objectives=objectives)
        assert not {"rel", "trust"} & set(store.feature_names)
        assert ("mine" in store.feature_names) == ("mine" not in objectives)
    store = convert_folder(path, tmp_path / "main", objectives={"main": {}, "m": "mine"})
    assert store.task().train.labels[0].tolist() == [1, 3]


# --- the manifest ------------------------------------------------------------------------------------------------


def test_what_the_manifest_says(tmp_path):
    (tmp_path / "train.txt").write_text(
        "1 qid:1 1:7 2:nan 3:1 4:5\n0 qid:1 1:7 3:2 4:5\n0 qid:2 1:7 2:inf 3:3 4:5\n2 qid:3 1:7 2:-inf 3:4 4:5\n"
    )
    (tmp_path / "vali.txt").write_text("0 qid:9 1:7 4:5\n")
    (tmp_path / "test.txt").write_text("0 qid:8 1:7 4:6 # x\n")
    store = convert_folder(tmp_path, tmp_path / "store", name="small")
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert manifest == store.manifest
    features = manifest["features"]
    assert (features["count"], features["names"], features["index_base"]) == (4, ["f1", "f2", "f3", "f4"], 1)
    assert features["constant"] == ["f1"]  # f4 changes in another file, f2 holds more than one kind of value
    assert features["non_finite"] == {"f2": 3}
    train = manifest["folds"]["Fold1"]["train"]
    assert (train["n_queries"], train["n_documents"], train["made"]) == (3, 4, "its own file")
    assert train["labels"]["relevance"] == {"blank": 1, "counts": {"0": 2, "1": 1, "2": 1}}
    assert train["lengths"] == {"min": 1, "q25": 1, "median": 1, "q75": 1.5, "q95": 1.9, "max": 2, "mean": 4 / 3}
    part = manifest["parts"][train["part"]]
    assert part["sha256"] == sha256(tmp_path / "train.txt")
    assert train["part"] == part["sha256"][:16]
    assert (part["source"], part["doc_ids"], part["reordered"]) == ("train.txt", False, False)
    assert str(tmp_path) not in json.dumps(manifest)
    kept = store.split("Fold1", "train").features[:, 1]
    assert np.isnan(kept[0]) and np.isinf(kept[2])
    with pytest.raises(InputError, match="train.txt:1: the feature is not finite"):
        convert_folder(tmp_path, tmp_path / "strict", non_finite="refuse")


def test_a_spread_where_grades_are_many(tmp_path):
    labels = np.linspace(0, 10, 41)
    facts = parts.label_facts(labels, np.array([0, 1, 41]))
    assert facts == {
        "blank": 1,
        "distinct": 41,
        "spread": {"min": 0, "q25": 2.5, "median": 5, "q75": 7.5, "max": 10},
    }


def test_files_that_any_tool_opens(raw, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    store = convert_folder(raw, tmp_path / "store")
    split = store.split("Fold3", "test")
    folder = tmp_path / "store" / "parts" / store.manifest["folds"]["Fold3"]["test"]["part"]
    np.testing.assert_array_equal(np.load(folder / "features.npy"), split.features)
    documents = pq.read_table(folder / "documents.parquet").to_pandas()
    assert documents.columns.tolist() == ["relevance", "row", "doc_id"]
    assert documents["row"].tolist() == list(range(split.n_documents))
    queries = pq.read_table(folder / "queries.parquet").to_pandas()
    assert queries.columns.tolist() == ["query_id", "offset", "length"]
    assert queries["length"].tolist() == split.lengths.tolist()


def test_verify_names_what_is_wrong(raw, tmp_path):
    store = convert_folder(raw, tmp_path / "store")
    files = sorted((tmp_path / "store" / "parts").rglob("*.npy"))
    blob = bytearray(files[0].read_bytes())
    blob[-1] ^= 1
    files[0].write_bytes(blob)
    files[1].write_bytes(b"short")
    files[2].unlink()
    wrong = store.verify()
    assert len(wrong) == 3
    assert all(sum(sign in line for line in wrong) == 1 for sign in ("sha256", "bytes, came 5", "missing"))
    with pytest.raises(InputError, match="the store is damaged"):
        for fold in Store.open(tmp_path / "store").folds:
            store.task(fold)


def test_stores_that_do_not_open(raw, tmp_path):
    with pytest.raises(InputError, match="no store here"):
        Store.open(tmp_path)
    store = convert_folder(raw, tmp_path / "store")
    for name, call in (("fold", lambda: store.split("Fold9", "test")), ("split", lambda: store.split("Fold1", "tst"))):
        with pytest.raises(InputError, match=f"unknown {name}.*Did you mean"):
            call()
    path = tmp_path / "store" / "manifest.json"
    path.write_text(json.dumps({**store.manifest, "schema": 99}))
    with pytest.raises(InputError, match="a store of another version; expected schema 2; came 99"):
        Store.open(tmp_path / "store")
    path.write_text("{")
    with pytest.raises(InputError, match="broken JSON.*Convert the raw files again"):
        Store.open(tmp_path / "store")


# --- nothing half-written ----------------------------------------------------------------------------------------


def files_of(folder):
    """Path within the folder -> bytes."""
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def small_chunks(monkeypatch):
    """Files of a few hundred bytes become several chunks, as large ones do."""
    monkeypatch.setattr(svmlight, "CHUNK", 150)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_no_byte_of_a_store(raw, tmp_path, small_chunks, threads):
    (raw / "Fold2" / "train.txt").write_text(text(range(90, 99), features=9, docs=False))  # wider than the others
    (raw / "Fold3" / "train.txt").write_text(text([*range(40), 3, 5], base=0))  # an index 0, queries that come back
    (raw / "Fold4" / "train.txt").write_bytes(gzip.compress(text(range(70, 79)).encode(), mtime=0))
    for options in ({}, {"objectives": {"relevance": {}, "x": {"column": 2}}, "drop": [4]}):
        stores = [tmp_path / f"{len(options)}-{n}" for n in (1, threads)]
        for store, n in zip(stores, (1, threads), strict=True):
            convert_folder(raw, store, name="letor", threads=n, **options)
        assert files_of(stores[0]) == files_of(stores[1])


def test_threads_change_no_byte_of_tables(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for seed, split in enumerate(SPLITS):
        rows = np.random.default_rng(seed).integers(0, 9, (400, 4)).tolist()
        body = "".join(f"{split}{q},{y},{a}.5,{b}\n" for q, y, a, b in rows)
        (raw / f"{split}.csv").write_text("qid,label,a,b\n" + body)
    seen = []
    for threads in (1, 3):
        told = seen.append if threads == 3 else lambda call: None
        convert_folder(raw, tmp_path / f"{threads}", threads=threads, progress=lambda *call, told=told: told(call))
    assert files_of(tmp_path / "1") == files_of(tmp_path / "3")
    assert seen[-1][1] == seen[-1][2] == 2 * sum(p.stat().st_size for p in raw.iterdir())


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_of_several_bad_files_the_first_is_named(raw, tmp_path, small_chunks, threads):
    bad = []
    for fold, line in (("Fold1", 7), ("Fold2", 3), ("Fold5", 2)):
        path = raw / fold / "train.txt"
        lines = path.read_text().splitlines()
        lines[line - 1] = f"oops {fold}"
        path.write_text("\n".join(lines))
        bad.append(f"{fold}/train.txt:{line}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=f"{bad[0]}: the label is not a number.*oops"):
        convert_folder(raw, tmp_path / "store", threads=threads)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_real_ctrl_c_while_threads_read_leaves_nothing(raw, tmp_path, small_chunks):
    """The signal reaches the main thread, which waits for the others."""
    before = sorted(tmp_path.rglob("*"))
    began = []

    def progress(what, done, total):
        began.append(what)
        if len(began) == 20:
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.001 if len(began) < 20 else 0.01)

    with pytest.raises(KeyboardInterrupt):
        convert_folder(raw, tmp_path / "store", threads=4, progress=progress)
    assert sorted(tmp_path.rglob("*")) == before
    assert len(began) < 60  # all of it would be more than a hundred
    assert not [t for t in threading.enumerate() if t.name.startswith("ltr-")]


def test_threads_must_be_some(raw, tmp_path):
    with pytest.raises(InputError, match="threads; expected a whole number above 0; came 0"):
        convert_folder(raw, tmp_path / "store", threads=0)
    assert main(["data", "convert", str(raw), "--to", str(tmp_path / "store"), "--threads", "0"]) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["raw"]
    command = ["data", "convert", str(raw), "--to", str(tmp_path / "store"), "--threads", "3", "--quiet"]
    assert main(command) == 0
    assert Store.open(tmp_path / "store").verify() == []


def test_a_bad_line_leaves_nothing(raw, tmp_path):
    with open(raw / "Fold4" / "test.txt", "a") as file:
        file.write("oops\n")
    before = sorted(tmp_path.rglob("*"))
    lines = len((raw / "Fold4" / "test.txt").read_text().splitlines())
    with pytest.raises(InputError, match=rf"Fold4/test.txt:{lines}: the label is not a number.*oops"):
        convert_folder(raw, tmp_path / "store")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("after", [0, 3, 12, 19, 40])
def test_ctrl_c_leaves_nothing(raw, tmp_path, small_chunks, after, threads):
    before = sorted(tmp_path.rglob("*"))
    calls = []

    def progress(what, done, total):
        assert 0 <= done <= total
        calls.append(what)
        if len(calls) > after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_folder(raw, tmp_path / "store", threads=threads, progress=progress)
    assert sorted(tmp_path.rglob("*")) == before
    assert len(calls) == after + 1


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("place", ["write", "sealed", "label_facts"])
def test_an_interrupt_while_writing_leaves_nothing(raw, tmp_path, monkeypatch, place, threads):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(parts, place, interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_folder(raw, tmp_path / "store", threads=threads)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_targets(raw, tmp_path):
    target = tmp_path / "deep" / "store"
    convert_folder(raw, target)
    with pytest.raises(InputError, match="the store is there already"):
        convert_folder(raw, target)
    assert convert_folder(raw, target, objectives=["again"], overwrite=True).objectives == ("again",)
    assert [p.name for p in target.parent.iterdir()] == ["store"]
    with pytest.raises(InputError, match="is no store"):
        convert_folder(raw, raw, overwrite=True)
    with pytest.raises(InputError):  # a failed overwrite keeps what was there
        convert_folder(raw, target, drop=[99], overwrite=True)
    assert Store.open(target).objectives == ("again",)


@pytest.mark.parametrize("threads", [1, 4])
def test_progress_ends_at_the_whole(raw, tmp_path, small_chunks, threads):
    seen = []
    told = lambda what, done, total: seen.append((what, done, total))  # noqa: E731
    convert_folder(raw, tmp_path / "store", threads=threads, progress=told)
    assert seen[-1][1] == seen[-1][2] == 2 * sum(p.stat().st_size for p in raw.glob("Fold*/*.txt"))
    assert [d for _, d, _ in seen] == sorted(d for _, d, _ in seen)


# --- load --------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def test_load_raw_files_once(raw, home, monkeypatch):
    task = datasets.load(raw)
    assert (task.name, task.fold, task.objectives) == ("raw", "Fold1", ("relevance",))
    (store,) = (home / "stores").iterdir()
    monkeypatch.setattr(svmlight, "blocks", None)  # the second time nothing is read
    again = datasets.load(str(raw), "Fold2")
    same(again.vali, datasets.load(store, "Fold3").test)
    monkeypatch.undo()
    monkeypatch.setenv("LTR_DATA", str(home))
    os.utime(raw / "Fold1" / "test.txt", ns=(0, 0))  # other files, another store
    datasets.load(raw)
    both = datasets.load(raw, objectives={"relevance": {}, "x": {"column": 2}})
    assert (both.objectives, both.train.n_features) == (("relevance", "x"), 3)
    assert len(list((home / "stores").iterdir())) == 3


def test_load_a_store(raw, tmp_path, home):
    convert_folder(raw, tmp_path / "store", name="mine", objectives={"a": {}, "b": {"column": 1}})
    task = datasets.load(tmp_path / "store", objectives=["b"])
    assert (task.name, task.objectives, task.facts["store"]) == ("mine", ("b",), str(tmp_path / "store"))
    with pytest.raises(InputError, match="unknown objective"):
        datasets.load(tmp_path / "store", objectives=["c"])
    with pytest.raises(InputError, match="unknown fold 'fold1'. Did you mean 'Fold1'"):
        datasets.load(tmp_path / "store", "fold1")


def test_load_by_name_says_what_to_run(home):
    with pytest.raises(InputError, match="Did you mean 'mq2008'"):
        datasets.load("mq208")
    with pytest.raises(InputError, match="ltr data fetch mq2008 && ltr data convert mq2008"):
        datasets.load("mq2008")
    with pytest.raises(InputError, match="no such file or folder"):
        datasets.load("no/such/folder")


def test_importing_datasets_is_light():
    heavy = "torch numba pandas pyarrow lightning sklearn matplotlib".split()
    code = "import sys, ltr.datasets.store.store, ltr.datasets.readers.svmlight; "
    code += f"print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- real sets, one call each ------------------------------------------------------------------------------------


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "folds", "features", "queries", "blanks", "objectives"),
    [
        ("MQ2008", 5, 46, [156, 157, 157, 157, 157], [51, 52, 45, 35, 37], ("relevance",)),
        ("ClueWeb09", 5, 42, None, None, ("relevance",)),
        ("MSLR-WEB10K-head", 1, 136, [43], None, ("relevance",)),
        ("lightgbm-example", 1, 300, [50], None, ("relevance",)),
        ("clef-ehealth-2016", 5, 38, [10] * 5, [0] * 5, ("rel", "under", "trust")),
    ],
)
def test_real_sets_convert_with_one_call(real_data, tmp_path, name, folds, features, queries, blanks, objectives):
    store = convert_folder(real_data / name, tmp_path / "store")
    assert len(store.folds) == folds
    assert store.objectives == objectives
    tests = [store.manifest["folds"][fold]["test"] for fold in store.folds]
    assert queries is None or [t["n_queries"] for t in tests] == queries
    assert blanks is None or [t["labels"][objectives[0]]["blank"] for t in tests] == blanks
    for fold in store.folds:
        task = store.task(fold)
        assert {task.split(s).n_features for s in SPLITS} == {features}
        ids = [set(task.split(s).query_ids.tolist()) for s in SPLITS]
        if name != "lightgbm-example":  # its queries have no names: each file counts from 1
            assert not (ids[0] & ids[1] or ids[0] & ids[2] or ids[1] & ids[2])
        for split in SPLITS:
            assert np.isfinite(task.split(split).features).all()
    if name == "ClueWeb09":
        assert sum(t["n_queries"] for t in tests) == 61
        assert sum(t["n_documents"] for t in tests) == 26646
        assert sum(t["labels"]["relevance"]["blank"] for t in tests) == 1
    if name == "lightgbm-example":
        assert sum(store.manifest["folds"]["Fold1"][s]["n_queries"] for s in ("train", "vali")) == 201
    assert store.verify() == []


@pytest.mark.data
def test_a_card_converts_its_set(real_data, tmp_path):
    from ltr.datasets.cards.card import load_card

    store = convert_folder(real_data / "MQ2008", tmp_path / "store", card=load_card("mq2008"))
    assert (store.name, len(store.folds), store.objectives) == ("mq2008", 5, ("relevance",))
    assert len(store.manifest["card"]["sha256"]) == 64


@pytest.mark.data
def test_load_a_card_by_name(real_data, home):
    raw = home / "mq2008" / "raw"
    shutil.copytree(real_data / "MQ2008", raw)
    main = datasets.load("mq2008", "Fold2")
    assert (main.name, main.fold, main.objectives, main.train.n_features) == ("mq2008", "Fold2", ("relevance",), 46)
    both = datasets.load("mq2008", objectives=["page-rank", "relevance"])
    assert both.train.n_features == 44  # inlinks is a near copy of page-rank: it leaves too
    convert_folder(raw, home / "mq2008" / "store", name="converted")
    assert datasets.load("mq2008").name == "converted"  # what `ltr data convert` wrote comes first
