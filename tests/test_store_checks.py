"""A store is never believed further than it was checked, a raw file never taken for what it was."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zlib
from dataclasses import replace

import numpy as np
import pytest

from ltr import datasets, errors
from ltr.datasets.store import checks
from ltr.datasets.store.checks import BLOCK, Blocks
from ltr.datasets.store.convert import convert_folder
from ltr.datasets.store.overlaps import between, document_hashes, list_hashes
from ltr.datasets.store.store import Store
from ltr.errors import InputError
from ltr.types import Split, Task

SPLITS = ("train", "vali", "test")


def letor(queries, seed=0, docs=4, features=6):
    rng = np.random.default_rng(seed)
    lines = []
    for q in queries:
        for d in range(docs):
            pairs = " ".join(f"{k + 1}:{v:.3f}" for k, v in enumerate(rng.normal(size=features)))
            lines.append(f"{rng.integers(0, 3)} qid:{q} {pairs} # docid = d{q}-{d}\n")
    return "".join(lines)


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for k, split in enumerate(SPLITS):
        (folder / f"{split}.txt").write_text(letor(range(10 * k, 10 * k + 5), seed=k))
    return folder


@pytest.fixture(autouse=True)
def _fresh(monkeypatch, tmp_path):
    """Every test is a new process to the checks and to what is said once."""
    monkeypatch.setattr(checks, "_CHECKED", set())
    monkeypatch.setattr(errors, "_SAID", set())
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "home"))


def everything(store):
    """All that a user could train on or report, as bytes."""
    found = []
    for fold in store.folds:
        task = store.task(fold)
        for name in SPLITS:
            s = task.split(name)
            ids = (s.query_ids, s.doc_ids) if s.doc_ids is not None else (s.query_ids,)
            found += [np.asarray(a).tobytes() for a in (s.features, s.labels, s.offsets, *ids)]
            found.append((s.objectives, s.feature_names))
    return found


# ------------------------------------------------------------------------------------------------------------ damage


def test_a_damaged_store_is_refused_or_the_same(raw, tmp_path, monkeypatch):
    """Bits flipped, bytes cut and added anywhere in any file: an InputError that names it, or nothing has changed."""
    store = convert_folder(raw, tmp_path / "store")
    expected = everything(store)
    rng = np.random.default_rng(0)
    files = sorted(p for p in store.folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    assert len(files) == 1 + 3 * 3
    refused = 0
    for path in files:
        original, times = path.read_bytes(), path.stat()
        for kind in ("flip", "flip", "flip", "flip", "flip", "cut", "add", "zero", "empty"):
            blob = bytearray(original)
            at = int(rng.integers(len(blob)))
            if kind == "flip":
                blob[at] ^= 1 << int(rng.integers(8))
            elif kind == "zero":
                blob[at : at + 16] = bytes(len(blob[at : at + 16]))
            blob = {"cut": blob[:at], "add": blob + b"\0", "empty": b""}.get(kind, blob)
            path.write_bytes(blob)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
            try:
                assert everything(Store.open(store.folder)) == expected, (path, kind, at)
            except InputError as error:
                refused += 1
                assert str(path) in str(error) and "Convert the raw files again" in str(error), (path, kind, at)
        path.write_bytes(original)
    assert refused > 8 * len(files)
    assert everything(Store.open(store.folder)) == expected and store.verify(raw=raw) == []
    for path in files:
        original = path.read_bytes()
        path.unlink()
        with pytest.raises(InputError, match="store"):
            everything(Store.open(store.folder))
        path.write_bytes(original)


def test_a_manifest_that_was_edited_well_is_refused_too(raw, tmp_path):
    store = convert_folder(raw, tmp_path / "store")
    path = store.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest))  # the same facts, printed otherwise
    Store.open(store.folder)
    edits = [
        lambda m: m["folds"]["Fold1"].update(vali=m["folds"]["Fold1"]["test"]),
        lambda m: m["features"]["names"].reverse(),
        lambda m: m.pop("sha256"),
        lambda m: m.update(sha256="0" * 64),
        lambda m: m.pop("parts"),
        lambda m: m.update(created=float("inf")),  # no JSON, but Python reads it
    ]
    for edit in edits:
        changed = json.loads(json.dumps(manifest))
        edit(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(InputError, match="the manifest was changed or damaged") as error:
            Store.open(store.folder)
        assert error.value.file == path


def test_the_manifest_of_another_store_is_refused(raw, tmp_path):
    store = convert_folder(raw, tmp_path / "st", say=lambda _: None)
    lines = "".join(f"{k % 2} qid:{k // 4} 1:{k * 3}\n" for k in range(40))
    (tmp_path / "other.txt").write_text(lines)
    other = convert_folder(tmp_path / "other.txt", tmp_path / "st2", say=lambda _: None)
    shutil.copy(other.folder / "manifest.json", store.folder / "manifest.json")
    with pytest.raises(InputError, match="manifest.json: the manifest is that of another store"):
        Store.open(store.folder)


def test_opening_reads_no_feature_and_the_first_look_reads_all(raw, tmp_path, monkeypatch):
    store = convert_folder(raw, tmp_path / "store")
    looked = []
    real = checks.zlib.crc32
    monkeypatch.setattr(checks.zlib, "crc32", lambda *a: (looked.append(len(a[0])), real(*a))[1])
    task = Store.open(store.folder).task()
    cut = task.train.take([0, 2]).having(name="some")
    assert (task.train.n_features, cut.n_documents, task.test.labels.shape) == (6, 8, (20, 1)) and not looked
    size = store.manifest["parts"][store.manifest["folds"]["Fold1"]["train"]["part"]]["files"]["features.npy"]["bytes"]
    np.testing.assert_array_equal(cut.features, task.train.features[[*range(4), *range(8, 12)]])
    assert sum(looked) == size
    Store.open(store.folder).task().train.features.sum()
    assert sum(looked) == size  # once a process


def test_the_block_that_differs_is_named(tmp_path):
    data = np.random.default_rng(0).bytes(2 * BLOCK + 1000)
    blocks = Blocks()
    for a in range(0, len(data), 999_999):
        blocks.see(data[a : a + 999_999])
    facts = blocks.facts()
    expected = [f"{zlib.crc32(data[a : a + BLOCK]):08x}" for a in range(0, len(data), BLOCK)]
    assert facts == {"bytes": BLOCK, "crc32": expected} and len(expected) == 3
    path = tmp_path / "features.npy"
    path.write_bytes(data)
    checks.check_features(path, len(data), facts)
    with open(path, "r+b") as file:
        file.seek(BLOCK + 5)
        file.write(bytes([data[BLOCK + 5] ^ 64]))
    with pytest.raises(
        InputError, match=rf"bytes {BLOCK:,} to {2 * BLOCK:,} were changed; expected CRC-32 {expected[1]}"
    ):
        checks.check_features(path, len(data), facts)


def test_verify_says_what_it_did_not_look_at(raw, tmp_path):
    store = convert_folder(raw, tmp_path / "store")
    assert store.verify(raw=raw) == [] and store.unchecked(raw=raw) == []
    assert "features (0.0 GiB) but for their size" in store.unchecked(check=False, raw=raw)[0]
    assert store.unchecked() == ["raw files that are not here: train.txt, vali.txt, test.txt"]
    features = next((store.folder / "parts").rglob("features.npy"))
    blob = bytearray(features.read_bytes())
    blob[-1] ^= 1
    features.write_bytes(blob)
    assert store.verify(check=False, raw=raw) == [] and len(store.verify(raw=raw)) == 1


# -------------------------------------------------------------------------------------------------- raw files change


def edited(path, keep_time=True):
    """Another label in the first line; size and time stay."""
    before, blob = path.stat(), bytearray(path.read_bytes())
    blob[0] = ord("0") if blob[0] != ord("0") else ord("1")
    path.write_bytes(blob)
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_raw_file_changed_with_its_time_kept_is_read_again(raw, tmp_path):
    first = datasets.load(raw)
    edited(raw / "train.txt")
    second = datasets.load(raw)
    assert first.train.labels[0, 0] != second.train.labels[0, 0]
    np.testing.assert_array_equal(first.train.labels[1:], second.train.labels[1:])
    assert first.facts["store"] == second.facts["store"]  # in the place of the stale one
    store = Store.open(second.facts["store"])
    edited(raw / "vali.txt")
    assert store.verify(raw=raw) == [f"{raw / 'vali.txt'}: was changed after the store was made of it"]
    assert store.touched(raw) == [raw / "vali.txt"]


def test_a_raw_file_that_was_only_touched_costs_one_look(raw, tmp_path, monkeypatch):
    store = convert_folder(raw, tmp_path / "store")
    hashed = []
    real = checks.sha256
    monkeypatch.setattr(checks, "sha256", lambda path: (hashed.append(path), real(path))[1])
    assert store.touched(raw) == [] and hashed == []
    os.utime(raw / "test.txt")
    assert store.touched(raw) == [] and hashed == [raw / "test.txt"]
    assert store.touched(raw) == [] and len(hashed) == 1
    shutil.copytree(raw, tmp_path / "copy")
    assert store.touched(tmp_path / "copy") == [] and len(hashed) == 4
    (raw / "vali.txt").unlink()
    assert store.touched(raw) == []  # nobody's concern


def test_every_name_of_a_raw_file_is_watched(tmp_path):
    """Fold1/test and Fold2/vali hold the same bytes and one part, but they are two files."""
    raw = tmp_path / "raw"
    pieces = [letor(range(10 * k, 10 * k + 3), seed=k) for k in range(3)]
    for i in range(3):
        for k, split in enumerate(SPLITS):
            (raw / f"Fold{i + 1}").mkdir(parents=True, exist_ok=True)
            (raw / f"Fold{i + 1}" / f"{split}.txt").write_text(pieces[(i + k) % 3])
    store = convert_folder(raw, tmp_path / "store")
    assert len(store.manifest["parts"]) == 3 and len(store.manifest["sources"]) == 9
    for path in sorted(raw.rglob("*.txt")):
        original = path.read_bytes()
        edited(path)
        assert store.touched(raw) == [path]
        path.write_bytes(original)


def test_the_sizes_file_is_a_raw_file(tmp_path):
    raw = tmp_path / "raw"
    raw.mkdir()
    for k, split in enumerate(SPLITS):
        text = letor(range(4), seed=k)
        (raw / f"{split}.txt").write_text(
            "".join(f"{line[0]} {line.split(' ', 2)[2]}" for line in text.splitlines(True))
        )
        (raw / f"{split}.txt.query").write_text("4\n4\n3\n5\n")
    store = convert_folder(raw, tmp_path / "store")
    (raw / "train.txt.query").write_text("4\n4\n5\n3\n")
    assert store.touched(raw) == [raw / "train.txt.query"]
    assert store.manifest["notes"] == {}  # lists without names are not the same lists


def test_a_damaged_store_that_ltr_made_by_itself_is_made_again(raw, capsys):
    task = datasets.load(raw)
    manifest = os.path.join(task.facts["store"], "manifest.json")
    with open(manifest, "w") as file:
        file.write("{")
    again = datasets.load(raw)
    np.testing.assert_array_equal(again.train.features, task.train.features)
    assert "it is made again" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- quiet nothing


def test_a_query_in_two_splits_is_said_and_kept(raw, tmp_path, capsys):
    lines = (raw / "train.txt").read_text().splitlines(True)
    one = [line.replace("qid:0 ", "qid:77 ") for line in lines[:4]]
    (raw / "test.txt").write_text((raw / "test.txt").read_text() + "".join(reversed(one)) + "".join(lines[4:8]))
    with open(raw / "vali.txt", "a") as file:
        file.write(f"1 qid:3 {' '.join(f'{k}:1' for k in range(1, 7))}\n")
    store = convert_folder(raw, tmp_path / "store")
    said = capsys.readouterr().err
    same = "2 of 7 queries of test are also in train with the same documents (queries 77, 1): test measures what"
    other = "1 of 6 queries of vali is also in train by query id, with other documents (query 3): a leak, unless"
    assert said.count(same) == said.count(other) == 1 and len(said.splitlines()) == 2
    notes = store.manifest["notes"]["Fold1"]
    assert [n.startswith((other, same)) for n in notes] == [True, True] and store.task().facts["notes"] == notes
    splits = {
        s.name: (s.query_ids, list_hashes(document_hashes(s.features), s.offsets))
        for s in map(store.task().split, ("train", "vali", "test"))
    }
    assert list(between(splits)) == notes


def test_a_test_file_that_is_the_train_file(raw, tmp_path, capsys):
    shutil.copy(raw / "train.txt", raw / "test.txt")
    store = convert_folder(raw, tmp_path / "store")
    (note,) = store.manifest["notes"]["Fold1"]
    assert note.startswith("5 of 5 queries of test are also in train with the same documents (queries 0, 1, 2, ...)")
    assert note in capsys.readouterr().err


def test_a_validation_split_that_nobody_gave_is_said(raw, tmp_path, capsys):
    (raw / "vali.txt").unlink()
    store = convert_folder(raw, tmp_path / "store")
    note = "no validation split was given: 1 of the 5 queries of train serve as one and leave train"
    assert store.manifest["notes"] == {"Fold1": [note]} and capsys.readouterr().err == f"ltr: {note}\n"


def test_clean_splits_are_not_talked_about(raw, tmp_path, capsys):
    store = convert_folder(raw, tmp_path / "store")
    assert store.manifest["notes"] == {} and store.task().facts["notes"] == [] and capsys.readouterr().err == ""


@pytest.mark.parametrize("columns", [1, 2, 5, 136])
def test_hashes_tell_lists_apart_and_not_their_order(columns):
    rng = np.random.default_rng(columns)
    x = rng.normal(size=(300, columns)).astype(np.float32)
    hashes = document_hashes(x)
    assert len(np.unique(hashes)) == 300 and document_hashes(np.zeros((2, columns))).tolist() == [0, 0]
    offsets = np.array([0, 100, 200, 300])
    lists = list_hashes(hashes, offsets)
    order = rng.permutation(100)
    assert list_hashes(document_hashes(x[order]), np.array([0, 100]))[0] == lists[0] and len(set(lists.tolist())) == 3
    for _ in range(50):  # one bit of one value
        y = x[:100].copy()
        bits = y.view(np.uint32)
        bits[rng.integers(100), rng.integers(columns)] ^= np.uint32(1 << int(rng.integers(32)))
        assert list_hashes(document_hashes(y), np.array([0, 100]))[0] != lists[0]


# --------------------------------------------------------------------------------------------------------------- types


def test_splits_and_tasks_are_short_in_a_notebook(raw, tmp_path):
    task = convert_folder(raw, tmp_path / "store").task()
    line = "Split(train: 5 queries, 20 documents, 6 features, objectives relevance)"
    assert repr(task.train) == line
    assert repr(task).startswith("Task(raw, Fold1)\n  Split(train: ") and len(repr(task).splitlines()) == 4
    unjudged = replace(task.test, labels=None, name="")
    assert repr(unjudged) == "Split(unnamed: 5 queries, 20 documents, 6 features, unjudged)"


def test_a_deferred_split_is_a_split(raw, tmp_path):
    split = convert_folder(raw, tmp_path / "store").task().train
    for other in (replace(split), pickle.loads(pickle.dumps(split)), split.having()):
        np.testing.assert_array_equal(other.features, split.features)
        assert type(other) is Split and other.n_features == 6
    with pytest.raises(TypeError, match="a split has no feature"):
        split.having(feature=1)
    with pytest.raises(InputError, match="one query id a list"):
        split.having(query_ids=split.query_ids[:2])
    np.testing.assert_array_equal(split.take(np.array([True, False, False, False, True])).query_ids, ["0", "4"])
    assert Task("t", "f", split, split, split).train is split
