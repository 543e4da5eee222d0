"""The strict binder: what it accepts, and what its errors tell the user."""

from __future__ import annotations

import datetime
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ltr.errors import InputError
from ltr.schema import bind, override, parse_value, read_toml, to_dict, write_toml


@dataclass(frozen=True)
class Optimiser:
    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["constant", "cosine", 1] = "constant"


@dataclass(frozen=True)
class Ranker:
    name: str
    hidden: tuple[int, ...] = ()
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Config:
    dataset: str
    rankers: tuple[Ranker, ...]
    optimiser: Optimiser = Optimiser()
    seed: int = 0
    clip: float | None = None
    folder: Path = Path("runs")
    resume: bool = False
    rate: int | float | str = 0
    tags: list[str] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)
    loss: str | Ranker | None = None
    day: datetime.date | None = None

    def __post_init__(self):
        if self.seed < 0:
            raise InputError("seed must not be negative", came=self.seed)


GOOD = {"dataset": "mq2008", "rankers": [{"name": "mlp", "hidden": [8, 4]}]}


def test_binds_nested_tables_arrays_and_defaults():
    config = bind(
        Config,
        {
            **GOOD,
            "optimiser": {"lr": 1, "betas": [0, 0.5], "schedule": "cosine"},
            "clip": 2,
            "folder": "a/b",
            "weights": {"relevance": 1},
            "loss": {"name": "x", "params": {"k": [1]}},
            "day": datetime.date(2021, 1, 2),
        },
    )
    assert config.rankers == (Ranker("mlp", (8, 4)),)
    assert config.optimiser == Optimiser(1.0, (0.0, 0.5), "cosine") and type(config.optimiser.lr) is float
    assert config.clip == 2.0 and config.folder == Path("a/b") and config.weights == {"relevance": 1.0}
    assert config.loss == Ranker("x", params={"k": [1]}) and config.seed == 0 and config.tags == []
    assert bind(Config, config) is config


@pytest.mark.parametrize(
    "change, path, parts",
    [
        ({"optimizer": {}}, "unknown key 'optimizer'", ["Did you mean 'optimiser'?", "Known: clip, dataset"]),
        ({"optimiser": {"rate": 1}}, "unknown key 'rate' in [optimiser]", ["Known: betas, lr, schedule"]),
        ({"rankers": [{"name": "a"}, {"nmae": "b"}]}, "unknown key 'nmae' in [rankers[1]]", ["Did you mean 'name'?"]),
        ({"sed": 1, "clap": 2}, "unknown keys 'sed', 'clap'", ["'sed' -> 'seed'", "'clap' -> 'clip'"]),
        ({"seed": 1.0}, "seed has the wrong type (number)", ["expected an integer", "came 1.0"]),
        ({"seed": True}, "seed has the wrong type (boolean)", ["expected an integer"]),
        ({"clip": True}, "clip has the wrong type (boolean)", ["expected a number"]),
        ({"clip": "2"}, "clip has the wrong type (string)", ["expected a number", "came '2'"]),
        ({"resume": 1}, "resume has the wrong type (integer)", ["expected true or false"]),
        ({"optimiser": {"betas": [0.1]}}, "optimiser.betas has the wrong length", ["an array of 2"]),
        ({"optimiser": {"betas": [0.1, "x"]}}, "optimiser.betas[1] has the wrong type", ["expected a number"]),
        ({"optimiser": {"schedule": "cosinus"}}, "optimiser.schedule is not one", ["'cosine', 1;", "mean 'cosine'"]),
        ({"optimiser": {"schedule": True}}, "optimiser.schedule is not one of its choices", ["came True"]),
        ({"optimiser": 3}, "optimiser has the wrong type (integer)", ["a table (lr, betas, schedule)"]),
        ({"rankers": {"name": "mlp"}}, "rankers has the wrong type (table)", ["an array, each a table"]),
        ({"rankers": [{"hidden": [1]}]}, "missing key 'name' in [rankers[0]]", ["name: a string"]),
        ({"tags": "one"}, "tags has the wrong type (string)", ["an array, each a string"]),
        ({"tags": [1]}, "tags[0] has the wrong type", ["a string"]),
        ({"weights": {"a b": "x"}}, 'weights."a b" has the wrong type', ["a number"]),
        ({"rate": False}, "rate has the wrong type (boolean)", ["an integer or a number or a string"]),
        ({"loss": {"nam": 1}}, "unknown key 'nam' in [loss]", ["'name'"]),
        ({"loss": [1]}, "loss has the wrong type (array)", ["a string or a table"]),
        ({"seed": -1}, "seed must not be negative", ["came -1"]),
    ],
)
def test_errors_name_the_key_what_was_expected_and_what_came(change, path, parts):
    with pytest.raises(InputError) as error:
        bind(Config, {**GOOD, **change}, file="suite.toml")
    text = str(error.value)
    assert text.startswith("suite.toml: ")
    for part in [path, *parts]:
        assert part in text


def test_all_missing_keys_are_named_at_once():
    with pytest.raises(InputError, match="missing keys 'dataset', 'rankers'"):
        bind(Config, {})


def test_post_init_errors_get_the_place():
    @dataclass
    class Outer:
        inner: Config

    with pytest.raises(InputError, match=r"x\.toml: \[outer\.inner\] seed must not"):
        bind(Outer, {"inner": {**GOOD, "seed": -1}}, file="x.toml", where="outer")


def test_a_union_keeps_the_values_own_type():
    assert type(bind(Config, {**GOOD, "rate": 1}).rate) is int
    assert type(bind(Config, {**GOOD, "rate": 1.0}).rate) is float
    assert bind(Config, {**GOOD, "rate": "auto"}).rate == "auto"
    assert math.isinf(bind(Config, {**GOOD, "clip": math.inf}).clip)


def test_two_table_arms_take_the_one_that_fits():
    @dataclass
    class Holder:
        part: Optimiser | Ranker

    assert bind(Holder, {"part": {"lr": 0.5}}).part == Optimiser(0.5)
    assert bind(Holder, {"part": {"name": "mlp"}}).part == Ranker("mlp")
    with pytest.raises(InputError, match="part has the wrong type"):
        bind(Holder, {"part": {"neither": 1}})


def test_an_annotation_toml_cannot_carry_is_the_programmers_error():
    @dataclass
    class Odd:
        x: complex

    with pytest.raises(TypeError, match="complex"):
        bind(Odd, {"x": 1})
    with pytest.raises(TypeError, match="needs a dataclass"):
        bind(dict, {})


def test_round_trip_through_a_file(tmp_path):
    config = bind(Config, {**GOOD, "loss": {"name": "x", "params": {"a": [1, 2], "b": {"c": True}}}, "clip": 0.25})
    path = tmp_path / "deep" / "config.toml"
    write_toml(path, config)
    assert bind(Config, read_toml(path), file=path) == config
    assert os.listdir(path.parent) == ["config.toml"]
    assert "None" not in path.read_text() and "day" not in read_toml(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "config.toml"
    write_toml(path, {"a": 1})
    with pytest.raises(InputError, match="hole"):
        write_toml(path, {"a": [1, None]})
    with pytest.raises(TypeError):
        write_toml(path, {"a": object()})
    assert read_toml(path) == {"a": 1} and os.listdir(tmp_path) == ["config.toml"]


def test_read_toml_names_file_and_line(tmp_path):
    path = tmp_path / "suite.toml"
    path.write_text('a = 1\nb = [1,\nc = "x"\n')
    with pytest.raises(InputError, match=r"suite\.toml:3: broken TOML: \S") as error:
        read_toml(path)
    assert error.value.line == 3 and "(at" not in str(error.value)
    path.write_bytes(b"\xef\xbb\xbfa = 1\r\n")  # as Notepad saves it
    assert read_toml(path) == {"a": 1}
    path.write_bytes(b"a = 1\nb = '\xff'\n")
    with pytest.raises(InputError, match=r"suite\.toml:2: is not UTF-8"):
        read_toml(path)
    with pytest.raises(InputError, match=r"suit\.toml: no such file\. Did you mean .*suite\.toml"):
        read_toml(tmp_path / "suit.toml")
    with pytest.raises(InputError, match="is a folder"):
        read_toml(tmp_path)


def test_override_copies_and_makes_tables():
    old = {"a": {"b": 1}, "list": [{"x": 1}]}
    assert override(old, "a.c.d", 2) == {"a": {"b": 1, "c": {"d": 2}}, "list": [{"x": 1}]}
    assert override(old, "list.0.x", 2)["list"] == [{"x": 2}]
    assert old == {"a": {"b": 1}, "list": [{"x": 1}]}
    for path, said in [("a.b.c", "inside a value"), ("list.1.x", "index"), ("list.x", "index"), ("a..b", "empty part")]:
        with pytest.raises(InputError, match=said):
            override(old, path, 0)


@pytest.mark.parametrize(
    "text, value",
    [
        ("1", 1),
        ("1e-3", 1e-3),
        ("true", True),
        ('"1"', "1"),
        ("[1, 'a']", [1, "a"]),
        ("{a = 1}", {"a": 1}),
        ("listnet", "listnet"),
        ("a = b", "a = b"),
        ("1\nw = 2", "1\nw = 2"),
        ("", ""),
    ],
)
def test_parse_value(text, value):
    parsed = parse_value(text)
    assert parsed == value and type(parsed) is type(value)


_leaves = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
_any = st.recursive(
    _leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=4), x, max_size=3), max_leaves=8
)


@settings(deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["seed", "clip", "rate", "loss", "tags", "weights", "optimiser", "x"]), _any))
def test_any_table_binds_or_is_an_input_error(table):
    """No input makes it fail in any other way, and what binds survives the way back."""
    try:
        config = bind(Config, {**GOOD, **table})
    except InputError:
        return
    assert bind(Config, to_dict(config)) == config


def test_importing_it_loads_nothing_heavy():
    code = "import sys, ltr.schema; print([m for m in ('torch', 'pandas', 'numpy', 'lightning') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
