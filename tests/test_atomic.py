"""One writer: whole or absent, whoever fails or is killed when; litter goes, work of the living stays."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time

import pytest

from ltr import atomic
from ltr.atomic import Busy, lock, read_facts, read_json, scratch_folder, sha256, sweep, whole_file, whole_folder
from ltr.errors import InputError
from ltr.schema import parse_value, read_toml


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_file_that_failed_half_way_is_not_there(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(RuntimeError), whole_file(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert names(tmp_path) == []
    with whole_file(path) as beside:
        assert beside.suffix == ".txt" and beside.parent == tmp_path
        beside.write_text("whole")
    with pytest.raises(RuntimeError), whole_file(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert path.read_text() == "whole" and names(tmp_path) == ["a.txt"]


def test_a_folder_that_failed_half_way_is_not_there(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(KeyboardInterrupt), whole_folder(path) as beside:
        (beside / "x").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == []
    with whole_folder(path) as beside:
        (beside / "x").write_text("old")
    with whole_folder(path) as beside:
        (beside / "y").write_text("new")
    assert names(path) == ["y"] and names(tmp_path) == ["a"]


def test_a_folder_without_its_mark_is_nobody_s_to_replace(tmp_path):
    path = tmp_path / "a"
    path.mkdir()
    with whole_folder(path, "mark.json") as beside:  # an empty one is
        (beside / "mark.json").write_text("{}")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear")
    (tmp_path / "file").write_text("")
    for wrong in ("other", "file"):
        with (
            pytest.raises(InputError, match=r"will not be overwritten, it holds no mark\.json"),
            whole_folder(tmp_path / wrong, "mark.json"),
        ):
            pytest.fail("nothing is written")
    with pytest.raises(InputError, match="will not"), whole_folder(tmp_path / "late", "mark.json"):
        (tmp_path / "late").mkdir()  # it comes while we write
        (tmp_path / "late" / "letter.txt").write_text("dear")
    assert names(tmp_path) == ["a", "file", "late", "other"] and names(tmp_path / "late") == ["letter.txt"]


def test_folders_within_a_folder_are_whole_with_it(tmp_path):
    with whole_folder(tmp_path / "method") as outer:
        with whole_folder(outer / "model0", "ranker.json") as inner:
            (inner / "ranker.json").write_text("{}")
            assert inner == outer / "model0"
        with whole_folder(outer, "ranker.json") as same:
            assert same == outer
    assert names(tmp_path / "method") == ["model0"] and names(tmp_path) == ["method"]


def test_two_temporaries_of_one_place_never_meet(tmp_path):
    with whole_file(tmp_path / "a") as one, whole_file(tmp_path / "a") as two:
        assert one != two and str(os.getpid()) not in (one.name.split("-")[-1], two.name.split("-")[-1])
        one.write_text("1")
        two.write_text("2")
    assert (tmp_path / "a").read_text() == "1" and names(tmp_path) == ["a"]  # the outer one ends last


KILLED = """
import os, signal, sys, pathlib
from ltr.atomic import whole_file, whole_folder
place = pathlib.Path(sys.argv[1])
with whole_file(place / "f.json") as a, whole_folder(place / "d") as b:
    a.write_text("half"); (b / "x").write_text("half")
    print("writing", flush=True)
    sys.stdin.read()
"""


def test_litter_of_the_killed_goes_and_the_work_of_the_living_stays(tmp_path):
    (tmp_path / "f.json").write_text("old")
    writers = [
        subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"writing\n"
        assert len(names(tmp_path)) == 5 and sweep(tmp_path) == 0
        writers[0].kill()
        writers[0].communicate()
        assert len(names(tmp_path)) == 5  # that is the litter
        assert sweep(tmp_path) == 2 and len(names(tmp_path)) == 3
        writers[1].communicate()  # its input ends, and so does it
        assert writers[1].returncode == 0
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
    assert (tmp_path / "f.json").read_text() == "half" and names(tmp_path / "d") == ["x"]
    assert names(tmp_path) == ["d", "f.json"]


def test_the_next_writer_and_the_next_lock_sweep(tmp_path):
    for folder in (tmp_path / "a", tmp_path / "b", tmp_path / "b" / "deep"):
        folder.mkdir()
        (folder / f".partial-{atomic.HOST}-0123abcd.x.json").write_text("")
    with whole_file(tmp_path / "a" / "y.json") as beside:
        beside.write_text("")
    assert names(tmp_path / "a") == ["y.json"]
    with lock(tmp_path / "b"):
        assert names(tmp_path / "b") == [".lock", "deep"] and names(tmp_path / "b" / "deep") == []


def test_a_folder_that_had_stepped_aside_comes_back(tmp_path):
    for name in ("gone", "there"):
        aside = tmp_path / f".replaced-{atomic.HOST}-0123abcd.{name}"
        aside.mkdir()
        (aside / "old").write_text("")
    (tmp_path / "there").mkdir()
    sweep(tmp_path)
    assert names(tmp_path) == ["gone", "there"] and names(tmp_path / "gone") == ["old"]


def test_what_is_not_certainly_litter_stays(tmp_path):
    old = time.time() - 2 * 86_400
    kept = ["data.zip.part", ".hidden", ".partial", ".partial-elsewhere-0123abcd.x", ".f.17.part"]
    for name in [*kept, ".g.17.part"]:
        (tmp_path / name).write_text("")
    for name in ("data.zip.part", ".g.17.part", ".partial-elsewhere-0123abcd.x"):
        os.utime(tmp_path / name, (old, old))
    assert sweep(tmp_path) == 1 and names(tmp_path) == sorted(kept)
    assert sweep(tmp_path / "nowhere") == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_names_the_file(tmp_path, code):
    (tmp_path / "a").write_text("old")
    for writer in (whole_file, whole_folder, scratch_folder):
        with pytest.raises(InputError, match=f"{tmp_path}/a: cannot be written: {os.strerror(code)}.*Free"):
            with writer(tmp_path / "a"):
                raise OSError(code, "no name here")
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_a_library_that_hides_the_full_disk(tmp_path, monkeypatch):
    hidden = RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file data/0")
    with pytest.raises(RuntimeError, match="Pytorch"), whole_file(tmp_path / "a"):
        raise hidden  # there is room: it is something else
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(InputError, match="a: cannot be written: No space left"), whole_file(tmp_path / "a"):
        raise hidden


def test_what_matters_is_on_the_disk_before_it_takes_its_place(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda handle: seen.append(os.readlink(f"/proc/self/fd/{handle}")))
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("rename"), replace(a, b)))
    with whole_file(tmp_path / "a") as beside:
        beside.write_text("")
    assert seen == [str(beside), "rename", str(tmp_path)]
    seen.clear()
    with whole_folder(tmp_path / "d") as inner:
        (inner / "x").write_text("")
    assert seen == [str(inner / "x"), str(inner), str(tmp_path)]
    seen.clear()
    with whole_file(tmp_path / "page", durable=False) as beside:
        beside.write_text("")
    assert seen == ["rename"]


def test_a_second_holder_is_refused_or_waits(tmp_path):
    code = f"""
import sys
from ltr.atomic import lock
with lock({str(tmp_path)!r}):
    print("held", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with (
            pytest.raises(Busy, match="another process is converting"),
            lock(tmp_path, what="another process is converting"),
        ):
            pytest.fail("held by two")
        holder.kill()
    with lock(tmp_path, wait=True):
        pass


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{\n,", ":2: broken JSON"),
        (b"\xff\xfe", "broken JSON"),
        (b"[1]", "expected a table"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_damaged_json_is_one_clear_line(tmp_path, text, says):
    (tmp_path / "m.json").write_bytes(text)
    for read in (lambda: read_json(tmp_path / "m.json"), lambda: read_facts(tmp_path, "m.json", 1)):
        with pytest.raises(InputError, match=says) as error:
            read()
        assert error.value.file == tmp_path / "m.json"


def test_facts_have_a_form(tmp_path):
    with pytest.raises(InputError, match=r"nothing saved here.*a folder with a m\.json"):
        read_facts(tmp_path, "m.json", 1)
    (tmp_path / "m.json").write_text('{"format": 2}')
    with pytest.raises(InputError, match="saved in another format; expected 1; came 2"):
        read_facts(tmp_path, "m.json", 1)
    assert read_facts(tmp_path, "m.json", 2) == {"format": 2}


def test_the_hash_is_the_file_s(tmp_path):
    (tmp_path / "a").write_bytes(b"abc" * 1_000_000)
    told = []
    assert sha256(tmp_path / "a", told.append) == sha256(tmp_path / "a")
    assert told[-1] == 3_000_000 and len(told) == 4
    (tmp_path / "b").write_bytes(b"abc")
    assert sha256(tmp_path / "b") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_numbers_and_brackets_beyond_the_parsers_are_broken_files(tmp_path):
    """Python refuses integers of 4,301 digits and nesting of a thousand levels, each with an error of its own."""
    for text in ("9" * 5000, "[" * 9999):
        (tmp_path / "x.json").write_text(f'{{"a": {text}}}')
        (tmp_path / "x.toml").write_text(f"a = {text}")
        for read, file in ((read_json, "x.json"), (read_toml, "x.toml")):
            with pytest.raises(InputError, match=f"{file}.*broken"):
                read(tmp_path / file)
        assert parse_value(text) == text
