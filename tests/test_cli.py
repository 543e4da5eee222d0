"""The command line: what people type, what they get, and what they are told when it was wrong."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import numpy as np
import pyarrow.parquet as pq
import pytest
from warm import Warm

from ltr.cli import main
from ltr.datasets import synthetic
from ltr.runs import read_record

pytestmark = pytest.mark.usefixtures("no_pictures")

DATA = "synthetic:queries=30,features=50"
TRAIN = ["train", "--data", DATA, "--ranker", "linear", "--loss", "listnet", "--training.epochs", "2"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Every test has an empty data folder and an empty working folder."""
    monkeypatch.setenv("LTR_DATA", str(tmp_path / "data"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run on LETOR text with document names, its data, and its folder."""
    root = tmp_path_factory.mktemp("cli")
    task = synthetic.from_name(DATA)
    folder = synthetic.write_letor(task, root / "letor")
    for path in folder.rglob("*.txt"):
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line} # docid = D{i:04d}\n" for i, line in enumerate(lines)))
    os.environ["LTR_DATA"], before = str(root / "data"), os.environ.get("LTR_DATA")
    try:
        assert main(["data", "convert", str(folder), "--to", str(root / "store"), "--quiet"]) == 0
        words = [
            "--ranker",
            "linear",
            "--loss",
            "listnet",
            "--training.epochs",
            "2",
            "--out",
            str(root / "run"),
            "--quiet",
        ]
        assert main(["train", "--data", str(root / "store"), *words]) == 0
    finally:
        os.environ.pop("LTR_DATA")
        if before is not None:
            os.environ["LTR_DATA"] = before
    return root


def told(capsys, *words) -> tuple[int, str]:
    """Exit code and what stands on stderr."""
    code = main([str(w) for w in words])
    return code, capsys.readouterr().err


# -------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["train", "--help"], ["data", "convert", "--help"], ["bench", "--help"]]
)
def test_help_is_light(words):
    """Help must not wait for torch: a fact about modules, not a timing."""
    heavy = ["torch", "lightning", "pandas", "sklearn", "matplotlib", "numba", "pyarrow", "scipy", "rich"]
    if words[0] != "train":  # the only command whose options are those of a run's config
        heavy += ["numpy", "ltr.rankers", "ltr.runs"]
    code = f"""
import sys
from ltr.cli import main
code = main({words!r})
print([m for m in {heavy!r} if m in sys.modules], code)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[] 0"


def test_help_of_everything_says_something(capsys):
    from ltr.cli import bench, board, data, evaluate, front, predict, train

    commands = [c for room in (data, train, evaluate, predict, front, bench, board) for c in room.COMMANDS]
    assert main([]) == 0
    top = capsys.readouterr().out
    for command in commands:
        assert command.path[0] in top
        assert main([*command.path, "--help"]) == 0
        text = capsys.readouterr().out
        assert command.summary in " ".join(text.split()) and text.startswith("usage: ltr " + " ".join(command.path))
        assert "null" not in text and "typing" not in text, "types of Python do not belong into a help"


def test_train_help_names_every_setting_with_its_default(capsys):
    from dataclasses import fields

    from ltr.rankers import RANKERS
    from ltr.rankers.config import TrainingConfig

    main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for field in fields(TrainingConfig):
        assert f"--training.{field.name}" in text
        assert field.default is None or f"(default: {field.default})" in text
    for entry in RANKERS:
        assert entry.name in text


def test_python_dash_m(tmp_path):
    out = subprocess.run([sys.executable, "-m", "ltr", "--version"], capture_output=True, text=True, check=True)
    from ltr import __version__

    assert out.stdout.strip() == f"ltr {__version__}"


# ------------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    "line, says",
    [
        ("trian", "no command 'trian'. Did you mean 'train'?"),
        ("data", "`ltr data` needs a command; expected list, info, fetch, convert, verify"),
        ("data inof", "Did you mean 'info'?"),
        ("data info mq208", "unknown dataset 'mq208'. Did you mean 'mq2008'?"),
        ("data fetch synthetic", "there is nothing to fetch"),
        ("data convert mq2008", "Run: ltr data fetch mq2008"),
        ("data convert mq208", "Did you mean 'mq2008'?"),
        ("data verify nothing", "unknown dataset 'nothing'"),
        ("data fetch", "`ltr data fetch` needs NAME"),
        ("train", "what is ranked, and with what?"),
        ("train --data nosuch", "unknown dataset 'nosuch'"),
        ("train --data nosuch --ranker mpl --loss lisnet", "unknown dataset 'nosuch'"),
        ("train --data no/such.csv", "no/such.csv: no such file or folder"),
        ("train --data synthetic", "with what is it ranked?; expected --ranker NAME"),
        ("train --ranker mlp", "what is ranked?; expected --data NAME"),
        ("train --ranker mpl", "unknown ranker 'mpl'. Did you mean 'mlp'?"),
        ("train --data synthetic --loss lisnet", "unknown loss 'lisnet'. Did you mean 'listnet'?"),
        ("train --data synthetic --method hyperdop", "Did you mean 'hyperdpo'?"),
        ("train --data synthetic --ranker mpl", "unknown ranker 'mpl'. Did you mean 'mlp'?"),
        ("train --data synthetic --ranker mlp", "Add one: --loss listnet"),
        ("train --data synthetic --ranker mlp --loss lisnet", "Did you mean 'listnet'?"),
        ("NET --training.epohcs 3", "no option --training.epohcs. Did you mean --training.epochs?"),
        ("NET --training.epochs many", "--training.epochs has the wrong type; expected a whole number; came 'many'"),
        ("NET --training.epochs 0", "epochs is out of range"),
        ("NET --training.optimiser adm", "expected {adam,adamw,sgd}; came 'adm'"),
        ("NET --ranker.params.hiden 3", "Did you mean 'hidden'?"),
        ("NET --ranker.params.hidden x", "has the wrong type (string)"),
        ("NET --ranker.params.hidden", "--ranker.params.hidden needs a value"),
        ("NET --loss.params.targt lin", "Did you mean 'target'?"),
        ("train --data synthetic --ranker random --measures nDGC@10", "Did you mean 'nDCG'?"),
        ("train --data synthetic --ranker random --training.epochs 3", "says nothing to ranker 'random'"),
        ("train --data synthetic --ranker random --fold Fold7", "Did you mean 'Fold1'?"),
        ("train --data synthetic --ranker random --objective qualty", "Did you mean 'quality'?"),
        ("train --data synthetik --ranker random", "Did you mean 'synthetic'?"),
        ("train --data mq2008 --ranker random", "Run: ltr data fetch mq2008 && ltr data convert mq2008"),
        ("train --config nothing.toml", "nothing.toml: no such file"),
        ("evaluate nothing", "no such run"),
        ("evaluate . --split test", "no run"),
        ("evaluate nothing --splt test", "Did you mean --split?"),
        ("evaluate nothing --split tset", "--split has the wrong type; expected {train,vali,test}; came 'tset'"),
        ("evaluate nothing --ranker.params.x 3", "no option --ranker.params.x"),
        ("predict . nothing", "no saved ranker"),
        ("predict . nothing --out x.txt", "expected .csv, .tsv, .parquet or .run"),
        ("export nothing", "no run"),
        (
            "bench",
            "losses, rankers, fronts, reference-points, list, show, compare, add, remove, table, merge",
        ),
        ("bench run nothing.toml", "no such suite file"),
        ("bench run nothing --workers 0", "--workers is out of range"),
        ("bench run nothing --data mq2008", "expected NAME=PATH"),
        ("bench report nothing", "no results of a suite here"),
        ("bench run my/sute.tml", "my/sute.tml: no such suite file"),
        ("bench run quikstart", "Did you mean 'quickstart'?"),
        ("front nothing --preferences 0", "--preferences is out of range"),
        ("bench losses --results nothing", "no results"),
        ("data convert  --to x", "nothing stands after convert. Is a variable of the shell not set?"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(capsys, tmp_path, line, says):
    line = line.replace("NET", "train --data synthetic --ranker mlp --loss listnet")
    code, err = told(capsys, *line.split(" "))
    assert code == 2
    assert says in err
    assert "Traceback" not in err and err.startswith("ltr: ") and err.count("\n") == 1
    assert not list((tmp_path / "work").iterdir()), "a mistake leaves no folder"


def test_a_folder_that_cannot_be_is_named_without_numbers(capsys, tmp_path):
    """A file stands where the folder should go."""
    (tmp_path / "file").touch()
    code, err = told(capsys, "bench", "run", "quickstart", "--out", tmp_path / "file", "-q")
    assert code == 2 and err == f"ltr: {tmp_path / 'file'}: File exists\n"


def test_a_broken_config_names_file_and_line(capsys, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('[data]\nname = "x\n')
    code, err = told(capsys, "train", "--config", path)
    assert code == 2 and f"{path}:2: broken TOML" in err
    path.write_text('[data]\nname = "synthetic"\n[rankr]\nname = "mlp"\n')
    code, err = told(capsys, "train", "--config", path)
    assert code == 2 and "unknown key 'rankr'" in err and "Did you mean 'ranker'?" in err


def test_bad_data_names_file_and_line_and_leaves_no_store(capsys, tmp_path):
    path = tmp_path / "bad" / "train.txt"
    path.parent.mkdir()
    path.write_text("1 qid:1 1:0.5\n0 qid:1 1:abc\n")
    shutil.copy(path, path.with_name("test.txt"))
    code, err = told(capsys, "data", "convert", path.parent, "--to", tmp_path / "store")
    assert code == 2 and "train.txt:2:" in err
    assert not (tmp_path / "store").exists()


def test_debug_shows_where_it_happened():
    from ltr.errors import InputError

    with pytest.raises(InputError):
        main(["train", "--debug", "--data", "synthetic", "--ranker", "mpl"])


def test_a_mistake_of_ours_is_told_and_shown_on_demand(monkeypatch, capsys):
    for room in ("resolving", "execution"):
        monkeypatch.setattr(f"ltr.runs.{room}.resolve", lambda *_: 1 / 0)
    code, err = told(capsys, *TRAIN)
    assert code == 1 and "a mistake of ltr (ZeroDivisionError" in err and "--debug" in err and err.count("\n") == 1
    with pytest.raises(ZeroDivisionError):
        main([*TRAIN, "--debug"])


# --------------------------------------------------------------------------------------------------------------- train


def test_train_then_again_then_other(capsys):
    assert main([*TRAIN, "--out", "r"]) == 0
    first = capsys.readouterr().out
    assert "nDCG(gain=exp2,empty=skip)@10" in first and "skipped" in first and "parameters" in first
    assert main([*TRAIN, "--out", "r"]) == 0
    assert "(done before)" in capsys.readouterr().out
    code, err = told(capsys, *TRAIN, "--seed", 1, "--out", "r")
    assert code == 2 and "seed: 1, not 0" in err


def test_from_the_command_to_the_trainer_in_seven_hops(monkeypatch):
    """Whoever debugs a training steps through so many functions of ours, and no more."""
    from pathlib import Path

    import ltr

    def stop(*_, **__):
        frame, names = sys._getframe(1), []
        while frame is not None and (not names or names[-1] != "ltr.cli.train.train"):
            if Path(frame.f_code.co_filename).is_relative_to(Path(ltr.__file__).parent):
                names.append(f"{frame.f_globals['__name__']}.{frame.f_code.co_name}")
            frame = frame.f_back
        raise RuntimeError(" < ".join(names))

    monkeypatch.setattr("lightning.pytorch.Trainer.fit", stop)
    assert main([*TRAIN, "--out", "r", "--quiet"]) == 1
    path = read_record("r").reason.split(" < ")
    assert path[-1] == "ltr.cli.train.train" and len(path) <= 7, path


def test_the_default_folder_is_the_configs_own(capsys):
    assert main([*TRAIN, "--json"]) == 0
    one = json.loads(capsys.readouterr().out)
    assert main([*TRAIN, "--json", "--seed", "1"]) == 0
    two = json.loads(capsys.readouterr().out)
    assert one["status"] == two["status"] == "done" and one["folder"] != two["folder"]
    assert one["folder"].startswith("runs/synthetic-queries=30,features=50/first/linear-listnet-")
    assert one["measures"] != two["measures"]


def test_the_command_in_the_record_repeats_the_run(capsys, tmp_path):
    import shlex

    assert (
        main([*TRAIN, "--out", "r", "--measures", "nDCG@5", "AP(empty=0)", "--loss.params.target=lin", "--quiet"]) == 0
    )
    words = shlex.split(read_record("r").command)
    assert words[-2:] == ["--out", "RUN"]
    assert main([*words[1:], "--quiet"]) == 0
    one, two = read_record("r"), read_record("RUN")
    assert one.config == two.config and one.measures == two.measures and one.config["loss"]["params"]["target"] == "lin"


def test_a_dry_run_is_a_config_and_trains_nothing(capsys, tmp_path):
    assert main([*TRAIN, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert "# train: 18 queries" in text and "# parameters: 51" in text and "# memory: about" in text
    assert "# time: " in text and " to " in text
    assert not (tmp_path / "work" / "runs").exists()
    config = tmp_path / "run.toml"
    config.write_text(text)
    assert tomllib.loads(text)["training"]["epochs"] == 2
    assert main(["train", "--config", str(config), "--out", "a", "--quiet"]) == 0
    assert main([*TRAIN, "--out", "b", "--quiet"]) == 0
    assert read_record("a").config_hash == read_record("b").config_hash
    assert main([*TRAIN, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["estimate"]["parameters"] == 51


def test_options_win_over_the_file_and_leave_the_rest(tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(
        f'seed = 4\n[data]\nname = "{DATA}"\n[ranker]\nname = "mlp"\n[ranker.params]\nhidden = [8]\ndropout = 0.5\n'
        '[loss]\nname = "mse"\n[training]\nepochs = 7\nlists = 16\n'
    )
    words = ["--training.epochs", "1", "--ranker.params.hidden", "[4, 4]", "--loss", "ranknet"]
    assert main(["train", "--config", str(config), *words, "--dry-run"]) == 0
    found = tomllib.loads(capsys.readouterr().out)
    assert found["seed"] == 4 and found["training"]["epochs"] == 1 and found["training"]["batch_size"] == 16
    assert found["ranker"]["params"]["hidden"] == [4, 4] and found["ranker"]["params"]["dropout"] == 0.5
    assert found["loss"]["name"] == "ranknet"


def test_a_failed_run_says_so_and_is_tried_again(capsys, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ltr.rankers.base.FittedRanker.score", lambda *_: (_ for _ in ()).throw(RuntimeError("boom")))
        code, err = told(capsys, *TRAIN, "--out", "r", "--quiet")
    assert code == 1 and "the run failed: boom" in err and "record.json" in err and "Traceback" not in err
    assert main([*TRAIN, "--out", "r", "--quiet"]) == 0


def test_a_skipped_run_says_what_to_install(capsys, monkeypatch):
    from ltr.errors import MissingExtra

    def missing(*_, **__):
        raise MissingExtra("lightgbm", "trees", "ranker 'lightgbm'")

    monkeypatch.setattr("ltr.rankers.base.FittedRanker.fit", missing)
    code, err = told(capsys, "train", "--data", DATA, "--ranker", "lightgbm", "--out", "r")
    assert code == 2 and "skipped" in err and "pip install 'ltr-suite[trees]'" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_tells_what_was_kept(tmp_path, number):
    """A real signal to a real process, which says what it left; SIGTERM ends a run as Ctrl-C does."""
    words = ["-m", "ltr", *TRAIN[:-1], "100000", "--training.patience", "0", "--out", "r"]
    with Warm(words) as process:
        deadline = time.monotonic() + 300  # of a busy machine
        checkpoints = tmp_path / "work" / "r" / "checkpoints"
        while not (checkpoints / "last.ckpt").is_file():
            assert process.poll() is None, process.said()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(process.pid, number)
        code, _, err = process.end()
    assert code == 128 + number, err
    assert "the last finished epoch is kept" in err and "ltr train --config r/config.toml --out r" in err
    assert "Traceback" not in err
    assert read_record("r").status == "interrupted"


# ------------------------------------------------------------------------------------------- evaluate, predict, export


def test_evaluate_gives_the_numbers_of_the_record(capsys, trained):
    assert main(["evaluate", str(trained / "run"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == [r for r in read_record(trained / "run").measures if r["split"] == "test"]


def test_evaluate_with_other_measures_and_per_query(capsys, trained, tmp_path):
    words = ["evaluate", str(trained / "run"), "--split", "vali", "--measures", "nDCG(gain=linear,empty=0)@3", "P@5"]
    assert main([*words, "--csv", "--per-query", "q.csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [r["measure"] for r in rows] == ["nDCG(gain=linear,empty=0)@3", "P(empty=skip)@5"]
    per_query = list(csv.DictReader(open_text("q.csv")))
    assert float(rows[0]["mean"]) == pytest.approx(np.mean([float(r[rows[0]["measure"]]) for r in per_query]))
    assert main([*words, "--per-query", "q.parquet", "--quiet"]) == 0
    assert pq.read_table("q.parquet")["query"].to_pylist() == [r["query"] for r in per_query]


def test_presets_of_measures_are_their_names(capsys, trained):
    """The published script's names at once; the hand-made list of a preset gives the same numbers."""
    from ltr.metrics.presets import PRESETS

    run = str(trained / "run")
    for preset in ("letor3", "trec_eval"):
        found = []
        for words in ([preset], PRESETS[preset].measures):
            assert main(["evaluate", run, "--measures", *words, "--json"]) == 0
            found.append(json.loads(capsys.readouterr().out))
        assert found[0] == found[1] and len(found[0]) == len(PRESETS[preset].measures)
    assert main([*TRAIN, "--measures", "lightgbm", "RR", "--out", "r", "--quiet"]) == 0
    assert read_record("r").config["measures"] == ["nDCG(gain=exp2,empty=1,ties=order)@10", "RR(empty=skip)"]


def open_text(path) -> io.StringIO:
    with open(path, encoding="utf-8") as file:
        return io.StringIO(file.read())


def test_a_trec_run_is_measured_like_the_run_it_came_from(capsys, trained):
    assert main(["export", str(trained / "run"), "--out", "x.run", "--tag", "mine"]) == 0
    assert main(["evaluate", "x.run", "--data", str(trained / "store"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == [r for r in read_record(trained / "run").measures if r["split"] == "test"]
    code, err = told(capsys, "evaluate", "x.run")
    assert code == 2 and "does not say what it ranks" in err
    code, err = told(capsys, "evaluate", "x.run", "--data", trained / "store", "--split", "vali")
    assert code == 2 and "Another fold or split?" in err


def test_data_of_a_run_that_are_not_here_are_asked_for(capsys, trained, tmp_path, monkeypatch):
    """A run that was trained on a relative path is measured from elsewhere once somebody says where its data lie."""
    monkeypatch.chdir(trained)
    words = ["--ranker", "random", "--out", str(tmp_path / "r"), "--quiet"]
    assert main(["train", "--data", "store", *words]) == 0 and main(["evaluate", str(tmp_path / "r"), "-q"]) == 0
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    for command in ("evaluate", "explain"):
        code, err = told(capsys, command, tmp_path / "r")
        assert code == 2 and "the data of the run, 'store', are not here" in err and "--data PATH" in err
    assert main(["evaluate", str(tmp_path / "r"), "--data", str(trained / "store"), "-q"]) == 0


def test_exports_are_read_by_the_fields_tools(capsys, trained):
    import ir_measures

    run = str(trained / "run")
    assert (
        main(["export", run, "--out", "x.run"]) == 0 and main(["export", run, "--as", "qrels", "--out", "x.qrels"]) == 0
    )
    theirs = ir_measures.calc_aggregate(
        [ir_measures.AP], ir_measures.read_trec_qrels("x.qrels"), ir_measures.read_trec_run("x.run")
    )
    capsys.readouterr()
    assert main(["evaluate", run, "--measures", "AP(empty=0)", "--json"]) == 0
    assert theirs[ir_measures.AP] == pytest.approx(json.loads(capsys.readouterr().out)[0]["mean"], abs=1e-6)


def test_a_table_of_scores_is_what_the_run_holds(trained):
    for form in ("csv", "parquet"):
        assert main(["export", str(trained / "run"), "--as", form, "--split", "vali", "--out", f"x.{form}"]) == 0
    ours = pq.read_table(trained / "run" / "scores" / "vali.parquet")
    assert pq.read_table("x.parquet") == ours
    rows = list(csv.DictReader(open_text("x.csv")))
    assert [np.float32(r["score"]) for r in rows] == ours["score"].to_pylist() and rows[0]["preference"] == ""


def test_predict_writes_a_line_a_row_in_the_order_of_the_input(capsys, trained, tmp_path):
    """Rows shuffled across queries; scores, names and queries follow their rows."""
    lines = (trained / "letor" / "Fold1" / "test.txt").read_text().splitlines()
    known = {
        r["doc"]: (r["query"], r["score"])
        for r in pq.read_table(trained / "run" / "scores" / "test.parquet").to_pylist()
    }
    shuffled = [lines[i] for i in np.random.default_rng(0).permutation(len(lines))]
    (tmp_path / "new.txt").write_text("\n".join(shuffled) + "\n")
    assert main(["predict", str(trained / "run"), str(tmp_path / "new.txt")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [r["doc"] for r in rows] == [line.rsplit(" ", 1)[1] for line in shuffled]
    assert all((r["query"], pytest.approx(np.float32(r["score"]), rel=1e-5)) == known[r["doc"]] for r in rows)


def test_predict_from_a_table_without_labels(trained, tmp_path):
    from ltr.datasets import read_svmlight

    split = read_svmlight(trained / "letor" / "Fold1" / "test.txt", 50)
    import pyarrow as pa

    columns = {f"f{i + 1}": split.features[:, i] for i in reversed(range(50))}  # columns are found by name, not place
    table = pa.table({**columns, "topic": np.repeat(split.query_ids, split.lengths), "url": split.doc_ids})
    pq.write_table(table, tmp_path / "new.parquet")
    assert main(["predict", str(trained / "run"), str(tmp_path / "new.parquet"), "--out", "p.parquet"]) == 0
    found, kept = pq.read_table("p.parquet"), pq.read_table(trained / "run" / "scores" / "test.parquet")
    assert found.column_names == ["query", "doc", "score"] and found["doc"] == kept["doc"]
    np.testing.assert_allclose(found["score"], kept["score"], rtol=1e-6)


@pytest.mark.parametrize("zipped", [False, True])
def test_predict_from_text_without_labels(capsys, trained, tmp_path, zipped):
    import gzip

    lines = (trained / "letor" / "Fold1" / "test.txt").read_text().splitlines()
    text = "# new lists\n\n" + "".join(line.split(" ", 1)[1] + "\n" for line in lines)
    path = tmp_path / ("new.txt.gz" if zipped else "new.txt")
    path.write_bytes(gzip.compress(text.encode()) if zipped else text.encode())
    assert main(["predict", str(trained / "run"), str(path), "--out", "p.parquet"]) == 0
    found, kept = pq.read_table("p.parquet"), pq.read_table(trained / "run" / "scores" / "test.parquet")
    assert found["doc"] == kept["doc"]
    np.testing.assert_allclose(found["score"], kept["score"], rtol=1e-6)
    # Labels that are none are not looked at either.
    (tmp_path / "odd.txt").write_text("-1 qid:1 1:0.1 3:1\nnan qid:1 1:0.2 3:1\n? qid:1 1:0.3 3:1\n")
    (tmp_path / "even.txt").write_text("qid:1 1:0.1 3:1\nqid:1 1:0.2 3:1\nqid:1 1:0.3 3:1\n")
    for name in ("odd", "even"):
        assert main(["predict", str(trained / "run"), str(tmp_path / f"{name}.txt"), "--out", f"{name}.csv"]) == 0
    assert open_text("odd.csv").read() == open_text("even.csv").read()
    path.write_bytes((text + "qid:9 1:x\n").encode())
    code, err = told(capsys, "predict", trained / "run", path)
    assert code == 2 and f"{path}:{len(lines) + 3}:" in err


def test_predict_from_group_files_without_labels(trained, tmp_path):
    rows = [f"1:0.{i} 3:1" for i in range(1, 6)]
    (tmp_path / "new.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "new.txt.query").write_text("2\n3\n")
    assert main(["predict", str(trained / "run"), str(tmp_path / "new.txt"), "--out", "p.csv"]) == 0
    queries = [r["query"] for r in csv.DictReader(open_text("p.csv"))]
    assert len(queries) == 5 and queries[0] == queries[1] != queries[2] == queries[4]


def test_predict_refuses_other_columns(capsys, trained, tmp_path):
    (tmp_path / "wide.txt").write_text("0 qid:1 51:1.0\n")
    code, err = told(capsys, "predict", trained / "run", tmp_path / "wide.txt")
    assert code == 2 and "wide.txt:1:" in err and "50" in err
    (tmp_path / "t.csv").write_text("query,f1,f2\n1,0.5,0.5\n")
    code, err = told(capsys, "predict", trained / "run", tmp_path / "t.csv")
    assert code == 2 and "48 of the ranker's 50 features are not in the table" in err
    code, err = told(capsys, "predict", trained / "run", tmp_path / "t.csv", "--query", "qury")
    assert code == 2 and "Did you mean 'query'?" in err
    code, err = told(capsys, "predict", trained / "run", tmp_path / "t.csv", "--names", "row")
    assert code == 2 and "expected --out FILE.run" in err
    (tmp_path / "t.txt").write_text("".join(f"0 qid:1 1:{k} 2:NaN\n" for k in range(3)))
    code, err = told(capsys, "predict", trained / "run", tmp_path / "t.txt", "--out", tmp_path / "t.csv")
    assert code == 0 and "t.txt: feature f2 has no value in any row" in err


def test_predict_takes_the_inputs_out_of_raw_rows(tmp_path, capsys):
    """A store left columns 2 and 5 out; a raw file still has them, and the right ones are scored."""
    rng = np.random.default_rng(0)
    for name in ("train", "vali", "test"):
        rows = []
        for q in range(12):
            for _ in range(6):
                x = rng.random(6).round(4)
                rows.append(f"{int(x[2] * 3)} qid:{name}{q} " + " ".join(f"{i + 1}:{v}" for i, v in enumerate(x)))
        (tmp_path / f"{name}.txt").write_text("\n".join(rows) + "\n")
    assert main(["data", "convert", str(tmp_path), "--to", "store", "--drop", "2", "5", "--quiet"]) == 0
    assert main(["train", "--data", "./store", "--ranker", "feature", "--out", "r", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["predict", "r", str(tmp_path / "test.txt")]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    third = [float(line.split(" 3:")[1].split()[0]) for line in (tmp_path / "test.txt").read_text().splitlines()]
    np.testing.assert_allclose([float(r["score"]) for r in rows], third, rtol=1e-6)


# ---------------------------------------------------------------------------------------------------------------- data


def test_data_list_and_info(capsys):
    assert main(["data", "list", "--json"]) == 0
    rows = {r["name"]: r for r in json.loads(capsys.readouterr().out)}
    assert {"mslr-web10k", "mslr-web30k", "yahoo-set1", "istella", "mq2008", "ohsumed", "synthetic"} <= set(rows)
    assert rows["mq2008"]["documents"] == 15211 and rows["mq2008"]["here"] == "no"
    assert main(["data", "list"]) == 0 and "MQ2008" in capsys.readouterr().out
    assert main(["data", "info", "mq2008"]) == 0
    text = capsys.readouterr().out
    assert "Fold5" in text and "ltr data fetch mq2008" in text
    assert main(["data", "info", "mq2008", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"]["n_features"] == 46


def test_convert_info_verify_of_ones_own_files(capsys, trained, tmp_path):
    store = shutil.copytree(trained / "store", tmp_path / "store")
    assert main(["data", "info", str(store)]) == 0
    text = capsys.readouterr().out
    assert "Fold1" in text and "50 features" in text
    assert main(["data", "verify", str(store)]) == 0
    part = next(store.rglob("features.npy"))
    with open(part, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    capsys.readouterr()
    assert main(["data", "verify", str(store), "--json"]) == 1
    assert any(r["status"] == "BAD" and "features.npy" in r["file"] for r in json.loads(capsys.readouterr().out))
    code, err = told(capsys, "data", "convert", trained / "letor", "--to", store)
    assert code == 2 and "there already" in err
    assert main(["data", "convert", str(trained / "letor"), "--to", str(store), "--overwrite", "--quiet"]) == 0
    assert main(["data", "verify", str(store)]) == 0


def test_a_table_with_several_labels_from_the_command_line(capsys, tmp_path):
    rng = np.random.default_rng(0)
    lines = ["session,clicked,bought,price,age,link"]
    lines += [
        f"s{q},{rng.integers(2)},{rng.integers(2)},{rng.random():.3f},{rng.random():.3f},u{i}"
        for q in range(25)
        for i in range(4)
    ]
    (tmp_path / "clicks.csv").write_text("\n".join(lines) + "\n")
    words = ["--to", "store", "--query", "session", "--labels", "clicked", "bought", "--document", "link", "--quiet"]
    assert main(["data", "convert", str(tmp_path / "clicks.csv"), *words]) == 0
    words = [
        "--ranker",
        "linear",
        "--loss",
        "mse",
        "--training.epochs",
        "1",
        "--objective",
        "bought",
        "--data.objectives",
        "clicked",
    ]
    assert main(["train", "--data", "./store", *words, "--out", "r", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["measures"]
    assert {r["objective"] for r in rows} == {"bought", "clicked"}


def test_labels_that_a_transform_makes_are_read_back(capsys, tmp_path):
    """A column with negative values under minmax: trained, evaluated and scored anew by the stored transform."""
    rng = np.random.default_rng(0)
    lines = ["query,relevance,margin,a,b"]
    for q in range(30):
        for _ in range(5):
            a, b = rng.normal(size=2)
            lines.append(f"q{q},{int(a > 0)},{b - 5:.3f},{a:.3f},{b:.3f}")
    path = tmp_path / "shop.csv"
    path.write_text("\n".join(lines) + "\n")
    words = ["--data.objectives", "relevance", "margin:minmax", "--method", "ls", "--preferences", "1"]
    words += ["--training.epochs", "1", "--method.params.ranker", "linear"]
    assert main(["train", "--data", str(path), *words, "--out", "r", "--quiet"]) == 0
    record = read_record("r")
    assert main(["evaluate", "r", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == [r for r in record.measures if r["split"] == "test"]
    assert {r["measure"] for r in rows} == {"nDCG(gain=exp2,empty=skip)@10", "nDCG(gain=linear,empty=skip)@10"}
    words = ["--data", str(path), "--fold", record.data["fold"]]
    assert main(["front", "r", *words, "--json"]) == 0
    anew = json.loads(capsys.readouterr().out)
    at = {tuple(r["preference"]): r["mean"] for r in rows if r["objective"] == "margin:minmax"}
    for row in anew:
        w = (row["w_relevance"], row["w_margin:minmax"])
        assert row["test_margin:minmax"] == pytest.approx(at[w], abs=1e-6)
    words = ["--objective", "margin:minmax", "--ranker", "feature", "--measures", "nDCG(gain=linear)@3", "--out", "s"]
    assert main(["train", "--data", str(path), *words, "--quiet"]) == 0
    assert main(["evaluate", "s", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == [r for r in read_record("s").measures if r["split"] == "test"] and rows[0]["mean"] > 0.9


def test_what_a_reader_should_know_is_said_once_and_kept(capsys, tmp_path):
    rows = [f"{7 if d == 0 else d % 2} qid:{q} 1:{d} 2:{q * d % 5}" for q in range(20) for d in range(4)]
    rows += [f"0 qid:{q} 1:1 2:{d}" for q in range(20, 30) for d in range(3)]
    (tmp_path / "x.txt").write_text("\n".join(rows) + "\n")
    words = ["train", "--data", str(tmp_path / "x.txt"), "--ranker", "feature", "--out", "r", "-q"]
    code, err = told(capsys, *words)
    assert code == 0
    notes = read_record("r").notes
    assert any("go up to 7: with gain 2^y - 1 the largest is worth 127" in note for note in notes)
    assert all(f"ltr: note: {note}\n" in err for note in notes)
    assert told(capsys, *words) == (0, ""), "a finished run has said it"
    os.utime(tmp_path / "x.txt", (2**32, 2**32))
    code, err = told(capsys, *words)
    assert code == 0 and f"{tmp_path / 'x.txt'} was written to after the run in r was finished" in err


def test_the_official_files_of_a_card(capsys, real_data):
    """fetch --from, convert, verify and train by the dataset's name."""
    assert main(["data", "fetch", "mq2008", "--from", str(real_data / "MQ2008"), "--quiet"]) == 0
    assert main(["data", "convert", "mq2008", "--quiet"]) == 0
    assert main(["data", "verify", "mq2008"]) == 0
    assert main(["data", "list", "--json"]) == 0
    out = capsys.readouterr().out
    assert {r["name"]: r["here"] for r in json.loads(out[out.index("[\n") :])}["mq2008"] == "store"
    assert main(["train", "--data", "mq2008", "--fold", "Fold2", "--ranker", "feature", "--out", "r", "--quiet"]) == 0
    record = read_record("r")
    assert record.data["splits"]["test"]["documents"] == 2933 and record.hashes["card"]


# --------------------------------------------------------------------------------------------------------------- bench


def test_bench_list(capsys):
    assert main(["bench", "list", "--json"]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), list)


def test_bench_passes_on_what_was_asked(monkeypatch):
    heard = []
    monkeypatch.setattr("ltr.bench.run_suite", lambda *words, **options: heard.append((words, options)), raising=False)
    words = [
        "bench",
        "run",
        "mine.toml",
        "--data",
        "mq2008=a/b",
        "--workers",
        "3",
        "--only",
        "MLP",
        "Linear",
        "--seeds",
        "1",
        "2",
        "-q",
    ]
    assert main([*words, "--dry-run"]) == 0
    [((suite, out), options)] = heard
    assert suite == "mine.toml" and str(out) == "runs/mine" and options["data"] == {"mq2008": "a/b"}
    assert options["workers"] == 3 and options["only"] == ("MLP", "Linear") and options["seeds"] == (1, 2)
    assert options["dry_run"] and not options["progress"] and options["threads"] is None


def test_a_place_that_cannot_be_written_to_is_named_as_it_was_given(capsys):
    from ltr.cli import _told

    for path in ("there/.partial-host-0123abcd.made.run", "there/made.run"):
        assert _told(IsADirectoryError(21, "Is a directory", path)) == (2, "there/made.run: Is a directory")
