"""Files of a run are not believed: what was edited, damaged or swapped is named, and nothing is measured with it."""

from __future__ import annotations

import json
import os
import shutil
import signal

import numpy as np
import pyarrow.parquet as pq
import pytest

from ltr.cli import main
from ltr.errors import InputError
from ltr.runs import check, execute, open_run, read_config, read_record, verify

DATA = "synthetic:queries=20,features=50"
LINEAR = {"data.name": DATA, "ranker.name": "linear", "loss.name": "listnet", "training.epochs": 1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs of rankers that differ in their seed, a run of a method, and lists to score."""
    root = tmp_path_factory.mktemp("damage")
    for seed in (0, 1):
        assert execute(read_config(None, {**LINEAR, "seed": seed}), root / f"run{seed}").done
    method = {"data.name": DATA, "data.objectives": ["relevance", "quality"], "method.name": "ls", "preferences": 1}
    method |= {"method.params.ranker": "linear", "training.epochs": 1}
    assert execute(read_config(None, method), root / "method").done
    rows = [f"qid:{q} " + " ".join(f"{k}:{(q * k + d) % 7}" for k in range(1, 51)) for q in range(3) for d in range(4)]
    (root / "new.txt").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture
def place(runs, tmp_path, monkeypatch):
    shutil.copytree(runs, tmp_path / "at", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path / "at")
    return tmp_path / "at"


def told(capsys, *words) -> tuple[int, str]:
    capsys.readouterr()
    code = main([str(w) for w in words])
    return code, capsys.readouterr().err


def test_a_run_as_it_was_left_is_done(place):
    for name in ("run0", "method"):
        every = ("per_query", "scores", "ranker", "method")
        found = check(place / name, *every)
        assert (found.status, found.reason, found.usable) == ("done", "", True) and found.record.done
        assert open_run(place / name, *every) == read_record(place / name)
    assert check(place / "nothing").status == "missing" and not check(place / "nothing").usable


def test_an_edited_record_is_found_by_everyone(place, capsys):
    """The number on a leaderboard is one edit away; DONE knows the record it was written for."""
    path = place / "run0" / "record.json"
    record = json.loads(path.read_text())
    record["measures"][0]["mean"] = 0.999
    path.write_text(json.dumps(record, indent=1) + "\n")
    found = check(place / "run0")
    assert found.status == "damaged" and "record.json is not the one DONE was written for" in found.reason
    for words in (["evaluate", "run0"], ["predict", "run0", "new.txt"], ["export", "run0"]):
        code, err = told(capsys, *words)
        assert code == 2 and "run0: the run is damaged: record.json" in err and "Restore" in err, err
    with pytest.raises(InputError, match="damaged"):
        execute(read_config(None, LINEAR), place / "run0")
    assert verify(place / "run0") == ["record.json was changed after the run"]


def test_what_another_run_left_is_not_taken_for_ones_own(place, capsys):
    one, two = place / "run0", place / "run1"
    for part in ("per_query", "scores", "ranker"):
        mine = shutil.copytree(one / part, place / "kept")
        shutil.rmtree(one / part)
        shutil.copytree(two / part, one / part)
        assert check(one).status == "done", "only what is used is hashed"
        found = check(one, part)
        assert found.status == "damaged" and f"{part}/" in found.reason and "was changed after the run" in found.reason
        words = {"scores": ["evaluate", "run0"], "ranker": ["predict", "run0", "new.txt"]}.get(part)
        if words:
            code, err = told(capsys, *words)
            assert code == 2 and f"{part}/" in err and "damaged" in err
        shutil.rmtree(one / part)
        shutil.move(mine, one / part)
    # A whole record with its DONE: it is a record, of another config.
    for name in ("record.json", "DONE"):
        shutil.copy(two / name, one / name)
    with pytest.raises(InputError, match="config.toml was changed|that of another config"):
        execute(read_config(None, LINEAR), one)


def test_choose_and_front_use_no_damaged_file(place, capsys):
    path = place / "method" / "per_query" / "test.parquet"
    table = pq.read_table(path)
    pq.write_table(table.slice(0, len(table) - 1), path)
    code, err = told(capsys, "choose", "method", "--maximise", "quality")
    assert code == 2 and "per_query/test.parquet was changed after the run" in err
    model = next((place / "method" / "method" / "model0").glob("*.json"))
    model.write_text(model.read_text() + " ")
    code, err = told(capsys, "front", "method", "--preferences", "1")
    assert code == 2 and f"method/model0/{model.name} was changed" in err
    assert told(capsys, "front", "method")[0] == 0, "its own points stand in the record"


def test_runs_that_kept_no_hashes_open_and_say_so(place, capsys):
    folder = place / "run0"
    record = json.loads((folder / "record.json").read_text())
    del record["artefacts"], record["notes"]
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "DONE").write_text("")
    found = check(folder, "per_query")
    assert found.status == "not checked" and found.usable
    code, err = told(capsys, "evaluate", folder)
    assert code == 0 and "kept no hashes of its files; they are not checked" in err
    assert execute(read_config(None, LINEAR), folder).done


def test_a_flipped_byte_anywhere_is_a_message(place, capsys):
    """Every file of both kinds of run, a byte changed or the end cut off: what is printed is as before, or a message
    that names a file; never a traceback, never another number."""
    lines = {
        "run0": (["evaluate", "run0", "--csv"], ["predict", "run0", "new.txt"]),
        "method": (["choose", "method", "--maximise", "quality", "--json"], ["front", "method", "--csv"]),
    }
    before = {}
    for words in (w for several in lines.values() for w in several):
        assert main(words) == 0
        before[tuple(words)] = capsys.readouterr().out
    rng, messages = np.random.default_rng(0), 0
    for name, several in lines.items():
        for path in sorted(p for p in (place / name).rglob("*") if p.is_file() and not p.name.startswith(".")):
            whole = path.read_bytes()
            at = int(rng.integers(max(1, len(whole))))
            for harmed in (whole[:at] + bytes([whole[at] ^ 1 << int(rng.integers(8))]) + whole[at + 1 :], whole[:at]):
                path.write_bytes(harmed)
                for words in several:
                    code = main(words)
                    out, err = capsys.readouterr()
                    assert "Traceback" not in err and code in (0, 2), (path, words, err)
                    if code == 0:
                        assert out == before[tuple(words)], (path, words)
                    else:
                        messages += 1
                        assert err.startswith("ltr: ") and err.count("\n") == 1 and name in err, err
            path.write_bytes(whole)
    assert messages > 20


NO_RECORDS = ["", "[]", "nonsense", '{"format": 1, "status": 3}', '{"format": 1, "status": "done", "cost": []}']


@pytest.mark.parametrize("text", [*NO_RECORDS, "[" * 9999])
def test_a_record_that_is_none_names_its_file(place, text):
    for done in (True, False):
        (place / "run0" / "record.json").write_text(text)
        if not done:
            (place / "run0" / "DONE").unlink()
        assert check(place / "run0").status == "damaged"
        with pytest.raises(InputError, match="record.json.*(Restore|Delete record.json)"):
            read_record(place / "run0")


def test_what_training_left_is_read_with_care(place):
    """Stopped between training and scores, damaged, and continued: the file is named, and the way out works."""
    folder, config = place / "run0", read_config(None, LINEAR)
    kept = read_record(folder).measures
    (folder / "DONE").unlink()
    log = folder / "ranker" / "training.json"
    for text in ("{", "[]", '{"inputs": 3}', '{"inputs": {"width": "x"}, "selection": {}, "seconds": 1}'):
        log.write_text(text)
        record = execute(config, folder)
        assert record.status == "failed" and record.error["user"] and "training.json" in record.reason, record.reason
        assert f"Delete {folder / 'ranker'}" in record.reason
    shutil.rmtree(folder / "ranker")
    assert execute(config, folder).measures == kept


# --------------------------------------------------------------------------------------------- what ends a command


def test_other_signals_end_a_command_as_ctrl_c_does(monkeypatch, capsys):
    import ltr.datasets.cards.card as card

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)  # nohup, under which the tests may run, takes SIGHUP away
        with monkeypatch.context() as patch:
            patch.setattr(card, "cards", lambda number=number: os.kill(os.getpid(), number) or [])
            code, err = told(capsys, "data", "list")
        assert code == 128 + number and err == "\nltr: stopped\n"
        assert signal.getsignal(number) is signal.SIG_DFL, "what was there before is there again"
    with monkeypatch.context() as patch:  # a second one while the first is told
        patch.setattr(card, "cards", lambda: os.kill(os.getpid(), signal.SIGINT) or [])
        patch.setattr(
            "builtins.print", lambda *_, **__: [os.kill(os.getpid(), n) for n in (signal.SIGINT, signal.SIGTERM)]
        )
        assert told(capsys, "data", "list") == (130, "")
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["data", "list", "--json"]) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, "nohup stays nohup"
    finally:
        signal.signal(signal.SIGHUP, old)


def test_the_last_line_of_defence_names_the_file(place, monkeypatch, capsys):
    def broken(*_, **__):
        raise KeyError("offsets")

    monkeypatch.setattr("pyarrow.parquet.ParquetFile", broken)
    code, err = told(capsys, "evaluate", "run0")
    assert code == 1 and err.startswith("ltr: run0/scores/test.parquet: ") and err.count("\n") == 1
    assert "KeyError: 'offsets'" in err and "--debug" in err
    with pytest.raises(KeyError):
        main(["evaluate", "run0", "--debug"])


def test_a_full_disk_names_the_path(place, monkeypatch, capsys):
    import errno

    def full(self, *_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    shutil.rmtree("run1")
    code, err = told(capsys, "train", "--config", "run0/config.toml", "--seed", "1", "--out", "run1", "-q")
    assert code == 2 and "run1/scores/vali.parquet" in err and "No space left" in err and "Traceback" not in err


def test_the_size_of_a_damaged_store_is_not_told(place, capsys):
    (place / "raw").mkdir()
    for split in ("train", "vali", "test"):
        shutil.copy("new.txt", place / "raw" / f"{split}.txt")
        text = (place / "raw" / f"{split}.txt").read_text()
        (place / "raw" / f"{split}.txt").write_text("".join(f"1 {line}\n" for line in text.splitlines()))
    assert told(capsys, "data", "convert", "raw", "--to", "store", "-q")[0] == 0
    manifest = place / "store" / "manifest.json"
    line, whole = ("train", "--data", "store", "--ranker", "feature", "--dry-run"), manifest.read_text()
    for text in (whole[:-20], whole.replace('"n_queries": 3', '"n_queries": 4', 1)):
        manifest.write_text(text)
        code, err = told(capsys, *line)
        assert code == 2 and "store/manifest.json" in err and "Convert the raw files again" in err, err
