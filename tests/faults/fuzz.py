"""Inputs nobody meant: valid ones made by hypothesis, then harmed at random; an oracle of its own where there is one.

Each target takes bytes or words and says what came of them: `InputError` is a refusal; an answer is compared with that
of a few slow lines that follow the documented rules, wherever those lines take the input as well.
"""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import random
import re
import time
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ltr.errors import InputError

from .outcomes import Case, Hang, Tally, alarm, keep_parsers, where

_ODD = [
    *(b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\x0b", b"\x0c", b"\x1f\x8b", b"BZh9", b"\r", b"\n", b"\t", b" "),
    *(b"[" * 3000, b"9" * 5000, b"qid:9223372036854775808", "\u00b2\u0661\u2028\u00a0".encode()),
    *b"PAR1 # : qid: nan inf -inf 1e400 -1 0 NULL ? , \" ' = [ ] { } true 0x10 1_000 + . e @ ( ) -- ..".split(),
    *b"2147483648 18446744073709551616 1e-400".split(),
]


class Wrong(Exception):
    """An answer that is not the oracle's."""


# ------------------------------------------------------------------------------------------------------------- seeds


Maker = Callable[[str, int], list[bytes]]  # (seed, how many) -> valid inputs


def _of(strategy: st.SearchStrategy[bytes]) -> Maker:
    """Examples of a strategy."""

    def make(seed: str, count: int) -> list[bytes]:
        found: list[bytes] = []
        quiet = settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate])

        @hypothesis.seed(seed)
        @settings(quiet, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def collect(example: bytes) -> None:
            found.append(example)

        collect()
        return found

    return make


def _each(one: Callable[[random.Random], bytes]) -> Maker:
    return lambda seed, count: [one(random.Random(f"{seed}-{k}")) for k in range(count)]


_number = st.one_of(
    st.integers(-5, 5).map(str),
    st.floats(allow_nan=True, width=32).map(repr),
    st.sampled_from(["nan", "inf", "-inf", "NULL", "NA", "?", "", "1e-45", "3.5e38", "+1", ".5", "1.", "-0", "1e5"]),
)
_plain = st.floats(-100, 100, width=32).map(repr)
_word = st.text(st.characters(codec="utf-8", exclude_characters=' \t\r\n\v\f#:\0,"'), min_size=1, max_size=6)
_grade = st.integers(0, 4).map(str)
_line = st.tuples(
    st.one_of(*[_grade] * 12, _number),
    st.one_of(*[_grade] * 4, _word),
    st.dictionaries(st.integers(0, 6), _number, max_size=4),
    st.one_of(st.just(""), _word.map(lambda w: f" # docid = {w}"), _word.map(lambda w: f" #{w}")),
)
_svmlight = st.lists(_line, min_size=1, max_size=6).map(
    lambda rows: "\n".join(
        f"{y} qid:{q} " + " ".join(f"{k}:{v}" for k, v in x.items()) + c for y, q, x, c in rows
    ).encode()
)
_run_line = st.tuples(_word, _word, st.integers(0, 9).map(str), st.one_of(*[_plain] * 6, _number), _word)
_run = st.lists(_run_line, min_size=1, max_size=6).map(
    lambda rows: "\n".join(f"{q} Q0 {d} {r} {s} {t}" for q, d, r, s, t in rows).encode()
)
_qrels = st.lists(st.tuples(_word, _word, st.integers(-1, 4).map(str)), min_size=1, max_size=6).map(
    lambda rows: "\n".join(f"{q} 0 {d} {g}" for q, d, g in rows).encode()
)
_columns = st.sampled_from([_grade, _plain, _plain, _plain, _number, st.one_of(_plain, _word)])


@st.composite
def _csv(draw) -> bytes:
    names = draw(
        st.sampled_from(
            [["query", "document", "label", "f1", "f2"], ["qid", "relevance", "f1"], ["query", "clicks", "x"]]
        )
    )
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(names)
    kinds = {
        n: draw(_columns) if n[0] in "fx" else draw(st.sampled_from([_grade, _grade, _grade, _number])) for n in names
    }
    for q in range(draw(st.integers(1, 5))):
        fixed = {"query": str(q // 2), "qid": str(q // 2), "document": f"d{q}"}
        rows.writerow([fixed.get(n) or draw(kinds[n]) for n in names])
    return text.getvalue().encode()


_MEASURES = ("nDCG", "DCG", "AP", "RR", "ERR", "P", "Recall", "RBP", "Success", "R", "OPA", "MeanNDCG", "nothing")
_measure = st.builds(
    "{}{}{}".format,
    st.sampled_from(_MEASURES),
    st.one_of(
        st.just(""),
        st.lists(
            st.builds(
                "{}={}".format,
                st.sampled_from(["gain", "empty", "rel", "p", "ties", "max_grade", "missing", "x"]),
                st.one_of(_number, st.sampled_from(["exp2", "linear", "skip", "0", "1", "random(3)", "stable"])),
            ),
            max_size=3,
        ).map(lambda a: f"({','.join(a)})"),
    ),
    st.one_of(st.just(""), st.integers(-1, 30).map(lambda k: f"@{k}"), _word.map(lambda w: f"@{w}")),
).map(str.encode)

_CONFIG = """seed = 3
measures = ["nDCG@10", "AP"]
[data]
name = "synthetic"
[ranker]
name = "mlp"
[ranker.params]
hidden = [4, 4]
[loss]
name = "listnet"
[training]
epochs = 2
learning_rate = 0.01
"""
_WORDS = [
    *"data list info convert verify train evaluate predict export front choose bench run report mlp listnet".split(),
    *"--data --ranker --loss --method --out --config --json --csv --measures --seed --preference --at-least".split(),
    *"--training.epochs --ranker.params.hidden --split --as --draws --help --debug -q -- synthetic mq2008".split(),
    *("1", "-1", "0.5", "[1, 2]", "{", "a=b", "=", ""),
]
_VALUES = [
    *'1 -1 0 1.5 true "x" [] [1] ["a"] 1e400 nan inf 2020-01-01 "" [[1]] "nDCG@10" -0.0 \'\u00b2\''.split(),
    *("9" * 30, '["nDCG@10", 3]', "{a = 1}"),
]


_LINES = (
    "data list --json",
    "data convert raw --to store --labels a b --drop f1 --overwrite",
    "train --data synthetic --ranker mlp --ranker.params.hidden [4,4] --loss listnet --training.epochs 2 --out run",
    "train --data synthetic --data.objectives a b --method ls --preferences 2 --seed 3 -q --json",
    "evaluate run --measures nDCG@10 AP --split vali --csv",
    "predict run lists.csv --preference 0.5 0.5 --out scores.csv",
    "export run --as qrels --out x --split test",
    "choose run --at-least a=0.5 --maximise b --json",
    "bench run suite.toml --out folder --data a=b --workers 2 --seeds 0 1",
    "bench report folder --draws 100 --rule folds",
)


def _toml(text: str) -> Callable[[random.Random], bytes]:
    """Valid TOML of a kind, with a value or key of other sort here and there."""

    def make(rng: random.Random) -> bytes:
        lines = text.splitlines()
        for _ in range(rng.randint(0, 2)):
            k = rng.randrange(len(lines))
            key, equals, _rest = lines[k].partition(" = ")
            kind = rng.random()
            if equals and kind < 0.7:
                lines[k] = f"{key} = {rng.choice(_VALUES)}"
            elif kind < 0.85:
                lines.pop(k)
            else:
                lines.insert(
                    k, f"{rng.choice(['x', 'name', 'params', 'grid', 'seed', 'epochs'])} = {rng.choice(_VALUES)}"
                )
            if not lines:
                break
        return "\n".join(lines).encode()

    return make


def _harm(whole: bytes, rng: random.Random) -> bytes:
    """One to three places changed, or none."""
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        at, end = rng.randint(0, len(whole)), rng.randint(0, len(whole))
        kind = rng.randrange(6)
        if kind == 0:
            whole = whole[:at] + rng.choice(_ODD) + whole[at:]
        elif kind == 1:
            whole = whole[:at] + rng.choice(_ODD) + whole[at + 1 :]
        elif kind == 2 and whole:
            at = rng.randrange(len(whole))
            whole = whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
        elif kind == 3:
            whole = whole[: min(at, end)] + whole[max(at, end) :]
        elif kind == 4:
            whole = whole[:at] + whole[min(at, end) : max(at, end)][:200] + whole[at:]
        else:
            whole = whole[:at] + rng.randbytes(rng.randint(1, 8)) + whole[at:]
    return whole


# ----------------------------------------------------------------------------------------------------------- targets


_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def _svmlight_oracle(text: bytes) -> tuple[list[str], list[float], list[dict[int, float]]] | None:
    """Queries, labels and features of a plain file; None where it is anything but plain."""
    queries, labels, features = [], [], []
    if not text.isascii() or re.search(rb"[^\x20-\x7e\n]", text):
        return None
    for line in text.decode().split("\n"):
        line = line.partition("#")[0].strip()
        if not line:
            continue
        parts = line.split(" ")
        if len(parts) < 2 or not parts[1].startswith("qid:") or len(parts[1]) == 4 or not _DECIMAL.fullmatch(parts[0]):
            return None
        found = {}
        for part in filter(None, parts[2:]):
            index, colon, value = part.partition(":")
            if not colon or not re.fullmatch(r"\d{1,6}", index, re.ASCII) or not _DECIMAL.fullmatch(value):
                return None
            if int(index) in found:
                return None
            found[int(index)] = float(np.float32(float(value)))
        queries.append(parts[1][4:]), labels.append(float(np.float32(float(parts[0])))), features.append(found)
    return queries, labels, features


def _read_svmlight(data: bytes, folder: Path) -> None:
    from ltr.datasets.readers.svmlight import read_svmlight

    (folder / "x.txt").write_bytes(data)
    split = read_svmlight(folder / "x.txt", threads=1)
    expected = _svmlight_oracle(data)
    if expected is None:
        return
    queries, labels, features = expected
    order = sorted(range(len(queries)), key=lambda i: queries.index(queries[i]))
    base = 0 if any(0 in f for f in features) else 1
    came = [dict(enumerate(row.tolist(), base)) for row in np.asarray(split.features)]
    same = [queries[i] for i in order] == np.repeat(split.query_ids, split.lengths).tolist()
    same = same and [labels[i] for i in order] == split.labels[:, 0].tolist()
    if not same or any(c.get(k, 0.0) != v for c, i in zip(came, order) for k, v in features[i].items()):
        raise Wrong(f"expected {expected}, came {split.query_ids} {split.labels.tolist()} {came}")
    if any(v for c, i in zip(came, order) for k, v in c.items() if k not in features[i]):
        raise Wrong(f"a feature that is not there is not 0: {came}")


def _fields(data: bytes, n: int) -> list[list[str]]:
    lines = [line.split() for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return [[part.decode() for part in line] for line in lines if line and len(line) == n]


def _read_run(data: bytes, folder: Path) -> None:
    from ltr.runs.trec import read_run

    (folder / "x.run").write_bytes(data)
    table = read_run(folder / "x.run").to_pydict()
    expected = [(q, d, int(r), float(s), t) for q, _, d, r, s, t in _fields(data, 6)]
    if expected != list(zip(*(table[k] for k in ("query", "doc", "rank", "score", "tag")), strict=True)):
        raise Wrong(f"expected {expected}, came {table}")


def _read_qrels(data: bytes, folder: Path) -> None:
    from ltr.runs.trec import read_qrels

    (folder / "x.qrels").write_bytes(data)
    table = read_qrels(folder / "x.qrels").to_pydict()
    expected = [(q, d, int(g)) for q, _, d, g in _fields(data, 4)]
    if expected != list(zip(table["query"], table["doc"], table["grade"], strict=True)):
        raise Wrong(f"expected {expected}, came {table}")


def _read_csv(data: bytes, folder: Path) -> None:
    from ltr.datasets.readers.tables import read_table

    (folder / "x.csv").write_bytes(data)
    split = read_table(folder / "x.csv")
    if not data.isascii() or b"\0" in data or b"\r" in data.replace(b"\r\n", b""):
        return
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    rows = [row for row in rows if row]
    if not rows or len({len(row) for row in rows}) > 1:
        return
    if len(rows) - 1 != split.n_documents:
        raise Wrong(f"{len(rows) - 1} rows, came {split.n_documents}")
    place = np.arange(split.n_documents) if split.row is None else np.asarray(split.row)
    for k, name in enumerate(split.feature_names):
        if name not in rows[0]:
            continue
        for value, at in zip(np.asarray(split.features)[:, k].tolist(), place.tolist()):
            cell = rows[1 + at][rows[0].index(name)]
            if _DECIMAL.fullmatch(cell) and np.float32(value) != np.float32(float(cell)):
                raise Wrong(f"column {name}, row {at}: cell {cell!r}, came {value}")


def _read_parquet(data: bytes, folder: Path) -> None:
    from ltr.datasets.readers.tables import read_table

    (folder / "x.parquet").write_bytes(data)
    read_table(folder / "x.parquet")


def _parquet(rng: random.Random) -> bytes:
    """A table whose columns are of any type of Arrow."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    n = rng.randint(0, 5)
    kinds: list[Callable[[], object]] = [
        lambda: rng.randint(0, 4),
        lambda: rng.choice([None, 1.5, math.nan, math.inf, 1e300]),
        lambda: rng.choice(["a", "1", "1.5", "", "NA"]),
        lambda: rng.choice([True, False, None]),
        lambda: [1, 2],
        lambda: {"a": 1},
        lambda: b"\xff",
        lambda: None,
        lambda: 2**62,
        lambda: __import__("datetime").datetime(2020, 1, 1),
        lambda: __import__("decimal").Decimal("1.25"),
    ]
    columns = {}
    usual = ["query", "label", "f1"] if rng.random() < 0.7 else []
    for name in usual + rng.sample(
        ["query", "qid", "document", "label", "relevance", "f1", "f2", "", "clicks", "__index_level_0__"],
        rng.randint(1, 6),
    ):
        if name in columns:
            continue
        likely = {"query": 0, "qid": 0, "label": 0, "relevance": 0, "f1": 1, "f2": 1}.get(name)
        kind = kinds[likely] if likely is not None and rng.random() < 0.9 else rng.choice(kinds)
        array = pa.array([kind() for _ in range(n)])
        columns[name] = array.dictionary_encode() if rng.random() < 0.1 and pa.types.is_string(array.type) else array
    out = io.BytesIO()
    try:
        pq.write_table(pa.table(columns), out)
    except pa.ArrowNotImplementedError:
        return b""
    return out.getvalue()


def _measure_name(data: bytes, _: Path) -> None:
    from ltr.metrics import measure

    found = measure(data.decode("utf-8", "surrogateescape"))
    if measure(repr(found)) != found:
        raise Wrong(f"{found!r} reads back as {measure(repr(found))!r}")


def _config_file(data: bytes, folder: Path) -> None:
    from ltr.runs import read_config
    from ltr.runs.config import RunConfig
    from ltr.runs.resolving import resolve
    from ltr.schema import bind, to_dict

    (folder / "x.toml").write_bytes(data)
    config = read_config(folder / "x.toml", {})
    plain = tomllib.loads(data.decode())
    if (seed := plain.get("seed")) is not None and config.seed != seed:
        raise Wrong(f"seed {seed!r} became {config.seed!r}")
    resolved = resolve(config)
    if repr(bind(RunConfig, to_dict(resolved))) != repr(resolved):
        raise Wrong(f"not read back as it was written: {to_dict(resolved)}")


def _suite_file(data: bytes, folder: Path) -> None:
    from ltr.bench import load_suite
    from ltr.bench.suite.suite import Suite
    from ltr.schema import bind, to_dict

    (folder / "x.toml").write_bytes(data)
    suite = load_suite(folder / "x.toml")
    suite.variants()
    if repr(bind(Suite, to_dict(suite))) != repr(suite):
        raise Wrong(f"not read back as it was written: {to_dict(suite)}")


def _command_line(data: bytes, _: Path) -> None:
    """Only what a line asks for, not its doing."""
    from ltr.cli import bench, evaluate, front, predict, train
    from ltr.cli import data as data_commands
    from ltr.cli.parser import parse

    keep_parsers()
    rooms = (data_commands, train, evaluate, predict, front, bench)
    words = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        parse(
            words, [c for room in rooms for c in room.COMMANDS], {"data": data_commands.__doc__, "bench": bench.__doc__}
        )
    except SystemExit as stop:
        if stop.code not in (0, None):
            raise Wrong(f"SystemExit({stop.code})") from None


def _lines(rng: random.Random) -> bytes:
    """A command line as people type it, words of it gone, doubled or of others."""
    words = rng.choice(_LINES).split()
    for _ in range(rng.choice((0, 1, 1, 2))):
        at = rng.randint(0, len(words))
        words[at : at + rng.randint(0, 1)] = [rng.choice(_WORDS)] * rng.randint(0, 2)
    return "\n".join(words).encode()


def _suite(rng: random.Random) -> bytes:
    from .subjects import SUITE

    return _toml(SUITE.format(seed=0))(rng)


# Name -> (makes valid inputs, judges one, valid inputs of a turn: cheap readers get more).
TARGETS: dict[str, tuple[Maker, Callable[[bytes, Path], None], int]] = {
    "svmlight": (_of(_svmlight), _read_svmlight, 12),
    "TREC run": (_of(_run), _read_run, 12),
    "qrels": (_of(_qrels), _read_qrels, 8),
    "CSV": (_of(_csv()), _read_csv, 4),
    "Parquet": (_each(_parquet), _read_parquet, 4),
    "measure name": (_of(_measure), _measure_name, 12),
    "config TOML": (_each(_toml(_CONFIG)), _config_file, 4),
    "suite TOML": (_each(_suite), _suite_file, 2),
    "command line": (_each(_lines), _command_line, 4),
}
_VARIANTS = 24  # harmed forms of each valid input: making one costs more than reading ten


def run(tally: Tally, seed: int, *, until: float, cases: int, root: Path, targets: tuple[str, ...] = ()) -> None:
    """Feeds the readers until the time is over or so many inputs were tried; arguments as `damage.run`."""
    root.mkdir(parents=True, exist_ok=True)
    os.chdir(root)
    for name in targets or TARGETS:  # what is compiled and imported at the first call is nobody's hang
        for whole in TARGETS[name][0]("", 5):
            with contextlib.suppress(Exception):
                TARGETS[name][1](whole, root)
    done, turn, seen = 0, 0, set()
    while done < cases and time.monotonic() < until:
        for name in targets or TARGETS:
            make, judge, count = TARGETS[name]
            for k, whole in enumerate(make(f"{seed}-{turn}-{name}", count)):
                whole_seed = f"{seed}-{turn}-{name}-{k}"
                rng = random.Random(whole_seed)
                for j in range(_VARIANTS):
                    data = whole if j == 0 else _harm(whole, rng)
                    outcome, told = one(judge, data, root)
                    done += 1
                    tally.commands["fuzz"] += 1
                    if told and (name, outcome, re.sub(r"'.*'|\d+", "", told)[:80]) in seen:  # told once is enough
                        tally.counts["fuzz", name, outcome] += 1
                        continue
                    if told:
                        seen.add((name, outcome, re.sub(r"'.*'|\d+", "", told)[:80]))
                    repeat = f"seed {whole_seed!r}: fuzz.one(fuzz.TARGETS[{name!r}][1], {data[:300]!r}, Path('.'))"
                    tally.add(Case("fuzz", name, outcome, repeat if told else "", told))
                    if done >= cases:
                        return
        turn += 1


def one(judge: Callable[[bytes, Path], None], data: bytes, folder: Path) -> tuple[str, str]:
    """Outcome of an input, and what is to be told of a mistake."""
    try:
        with alarm(60), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judge(data, folder)
    except InputError:
        return "refused", ""
    except Wrong as wrong:
        return "silent wrong", str(wrong)[:600]
    except Hang:
        return "hang", "a minute"
    except Exception as error:
        return "traceback", where(error)
    return "right", ""
