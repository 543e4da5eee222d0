"""TOML to typed dataclasses and back, strictly: a mistyped key is an error that names the near miss.

Cards, run configs, suites and expected numbers are all read through `bind`. The dataclass is the schema: its fields are
the only keys, its annotations the only types, its defaults the only defaults. What a key means stands in the docstring
of its class, once.

    @dataclass(frozen=True)
    class Optimiser:
        lr: float = 1e-3
        betas: tuple[float, float] = (0.9, 0.999)

    bind(Optimiser, {"lr": 1})            # Optimiser(lr=1.0, betas=(0.9, 0.999))
    bind(Optimiser, {"learning_rate": 1}) # InputError: unknown key 'learning_rate' ... Known: betas, lr

Understood annotations: str, int, float, bool, None, Path, date, Any, Literal, X | Y, list[X], tuple[X, ...],
tuple[X, Y], dict[str, X], and dataclasses of these. Rules: an int is accepted where a float is asked for; a bool is
never a number; a float is never an int, not even 1.0; nothing is parsed out of a string, except a Path.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from .atomic import write_text
from .errors import InputError, near_miss, renamed

__all__ = [
    "bind",
    "changed",
    "describe",
    "in_todays_words",
    "override",
    "parse_value",
    "read_toml",
    "to_dict",
    "unknown_keys",
    "write_toml",
]

T = TypeVar("T")

_PLAIN = {str: "a string", int: "an integer", float: "a number", bool: "true or false", Path: "a path (string)"}
_CAME = {str: "string", int: "integer", float: "number", bool: "boolean", dict: "table", list: "array"}


def bind(cls: type[T], mapping: Mapping[str, Any], *, file: Path | str | None = None, where: str = "") -> T:
    """An instance of the dataclass `cls` from a table of plain values, or an error that says which key is wrong.

    Args:
        cls: a dataclass; a field without a default is a required key.
        mapping: what TOML or JSON parsing gave.
        file: where it was read, for messages.
        where: key path of this table in the file, "" at the top.

    Raises:
        InputError: unknown key (with the near miss and the known keys), missing key, wrong type (key path, what was
            expected, what came), or what the class's own `__post_init__` objects to.
    """
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        raise TypeError(f"bind needs a dataclass, not {cls!r}")
    if isinstance(mapping, cls):
        return mapping
    if not isinstance(mapping, Mapping):
        raise InputError(f"{where or 'the file'} is not a table", file=file, expected=describe(cls), came=mapping)
    mapping = in_todays_words(cls, mapping)
    hints = _hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    unknown = [key for key in mapping if key not in fields]
    if unknown:
        raise unknown_keys(unknown, fields, file, where)
    missing = [
        name
        for name, f in fields.items()
        if name not in mapping and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        wanted = ", ".join(f"{name}: {describe(hints[name])}" for name in missing)
        raise InputError(f"missing {_keys(missing)}{_in(where)}", file=file, expected=wanted)
    values = {key: _value(hints[key], value, file, _join(where, key)) for key, value in mapping.items()}
    try:
        return cls(**values)
    except InputError as e:  # the class knows what is wrong with its values, not where they were written
        if e.file is not None or (file is None and not where):
            raise
        what = f"[{where}] {e.what}" if where else e.what
        raise InputError(what, file=file, line=e.line, expected=e.expected, came=e.came, do=e.do) from None


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def in_todays_words(cls: type, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The table with former keys under their names of today; the class lists them in `RENAMED`, old name -> new."""
    former = {old: new for old, new in getattr(cls, "RENAMED", {}).items() if old in mapping}
    for old, new in former.items():
        if new in mapping:
            raise InputError(f"{old} and {new} are given", expected=f"{new}, of which {old} is the former name")
        renamed("key", old, new)
    return {former.get(key, key): value for key, value in mapping.items()}


def _value(kind: Any, value: Any, file, path: str) -> Any:
    """`value` as annotation `kind` asks for it."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin is typing.Annotated:
        return _value(args[0], value, file, path)
    if origin in (Union, types.UnionType):
        return _union(kind, args, value, file, path)
    if origin is Literal:
        # True == 1 in Python, not in a config.
        if any(value == a and type(value) is type(a) for a in args):
            return value
        hit = near_miss(value, [a for a in args if isinstance(a, str)]) if isinstance(value, str) else None
        do = f"Did you mean {hit!r}?" if hit else ""
        raise InputError(f"{path} is not one of its choices", file=file, expected=describe(kind), came=value, do=do)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        if isinstance(value, kind):
            return value
        if not isinstance(value, Mapping):
            raise _wrong(kind, value, file, path)
        return bind(kind, value, file=file, where=path)
    if kind is None or kind is type(None):
        if value is None:
            return None
    elif origin in (list, Sequence) or kind is list:
        if _is_array(value):
            return [_value(args[0] if args else Any, v, file, f"{path}[{i}]") for i, v in enumerate(value)]
    elif origin is tuple or kind is tuple:
        if _is_array(value):
            return _tuple(kind, args, value, file, path)
    elif origin in (dict, Mapping) or kind is dict:
        if isinstance(value, Mapping):
            inner = args[1] if args else Any
            return {_key(k, file, path): _value(inner, v, file, _join(path, k)) for k, v in value.items()}
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif kind is Path:
        if isinstance(value, str | Path):
            return Path(value)
    elif kind in (str, bool, datetime.date, datetime.datetime):
        if isinstance(value, kind):
            return value
    else:
        raise TypeError(f"{path}: annotation {kind!r} is not one that TOML can carry")
    raise _wrong(kind, value, file, path)


def _union(kind, arms, value, file, path):
    # A table is for the table arms, an array for the array arms, so that a lone arm can say what is wrong inside it.
    table, array = isinstance(value, Mapping), _is_array(value)
    fitting = [arm for arm in arms if arm is Any or (_takes_tables(arm) == table and _takes_arrays(arm) == array)]
    # The arm of the value's own type goes first: 1 stays an int under `float | int`.
    fitting.sort(key=lambda arm: arm is not type(value))
    for arm in fitting:
        try:
            return _value(arm, value, file, path)
        except InputError:
            if len(fitting) == 1 and (table or array):
                raise
    raise _wrong(kind, value, file, path)


def _tuple(kind, args, value, file, path):
    if not args or args[-1] is Ellipsis:
        inner = args[0] if args else Any
        return tuple(_value(inner, v, file, f"{path}[{i}]") for i, v in enumerate(value))
    if len(value) != len(args):
        raise InputError(f"{path} has the wrong length", file=file, expected=describe(kind), came=list(value))
    return tuple(_value(a, v, file, f"{path}[{i}]") for i, (a, v) in enumerate(zip(args, value, strict=True)))


def _takes_tables(arm) -> bool:
    return arm is dict or dataclasses.is_dataclass(arm) or typing.get_origin(arm) in (dict, Mapping)


def _takes_arrays(arm) -> bool:
    return arm in (list, tuple) or typing.get_origin(arm) in (list, tuple, Sequence)


def _is_array(value) -> bool:
    return isinstance(value, list | tuple)


def _key(key, file, path):
    if not isinstance(key, str):
        raise InputError(f"{path} has a key that is not a string", file=file, came=key)
    return key


def _join(where: str, key: str) -> str:
    key = key if re.fullmatch(r"[\w-]+", str(key)) else f'"{key}"'
    return f"{where}.{key}" if where else key


def _in(where: str) -> str:
    return f" in [{where}]" if where else ""


def _keys(names: Sequence[str]) -> str:
    return ("key " if len(names) == 1 else "keys ") + ", ".join(repr(n) for n in names)


def unknown_keys(unknown: Sequence[str], known: Iterable[str], file: Path | str | None, where: str) -> InputError:
    """The error for keys that a table has not, with their near misses."""
    known = sorted(known)
    hits = [(key, near_miss(str(key), known)) for key in unknown]
    meant = ", ".join(f"{key!r} -> {hit!r}" if len(unknown) > 1 else repr(hit) for key, hit in hits if hit)
    return InputError(
        f"unknown {_keys(unknown)}{_in(where)}",
        file=file,
        do=(f"Did you mean {meant}? " if meant else "") + f"Known: {', '.join(known) or 'no key at all'}",
    )


def _wrong(kind, value, file, path):
    came = next((name for t, name in _CAME.items() if type(value) is t), type(value).__name__)
    # The value is shown by InputError; its type is what surprised us, so it stands in the sentence.
    return InputError(f"{path} has the wrong type ({came})", file=file, expected=describe(kind), came=value)


def describe(kind) -> str:
    """The annotation in the words of a user of TOML."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind is Any:
        return "anything"
    if kind is None or kind is type(None):
        return "nothing"
    if origin is Literal:
        return "one of " + ", ".join(repr(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(a) for a in args if a is not type(None))  # TOML cannot write a None
    if dataclasses.is_dataclass(kind):
        return f"a table ({', '.join(f.name for f in dataclasses.fields(kind) if f.init)})"
    if origin in (list, Sequence) or (origin is tuple and args[-1] is Ellipsis):
        return f"an array, each {describe(args[0])}"
    if origin is tuple:
        return f"an array of {len(args)}: " + ", ".join(describe(a) for a in args)
    if origin in (dict, Mapping):
        return f"a table, each value {describe(args[1])}"
    return getattr(kind, "__name__", str(kind))


def read_toml(path: Path | str) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        InputError: no such file (naming a near miss beside it), not UTF-8, or broken TOML with its line.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        beside = [p.name for p in path.parent.glob("*.toml")] if path.parent.is_dir() else []
        hit = near_miss(path.name, beside)
        raise InputError("no such file", file=path, do=f"Did you mean {path.parent / hit}?" if hit else "") from None
    except IsADirectoryError:
        raise InputError("is a folder", file=path, expected="a TOML file") from None
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError("is not UTF-8 text", file=path, line=line, expected="TOML") from None
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        at = re.search(r"\(at line (\d+), column (\d+)\)", message)
        # "at end of document" carries no number; the last line it is.
        line = int(at.group(1)) if at else data.count(b"\n") + 1
        raise InputError(f"broken TOML: {re.sub(r' *[(]at .*[)]$', '', message)}", file=path, line=line) from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, thousands of brackets
        raise InputError(
            "broken TOML", file=path, expected="numbers and nesting of a sane size", came=str(error)
        ) from None


def to_dict(instance: Any) -> dict[str, Any]:
    """A dataclass (or mapping) as plain tables that TOML and JSON can carry: no None, tuples as lists, paths as text.

    `bind(type(x), to_dict(x)) == x` for every x that `bind` can make, as long as no field has a default other than
    None and holds None.
    """
    if dataclasses.is_dataclass(instance) and not isinstance(instance, type):
        # Not dataclasses.asdict: that copies deeply and keeps the None that TOML cannot write.
        instance = {f.name: getattr(instance, f.name) for f in dataclasses.fields(instance) if f.init}
    if isinstance(instance, Mapping):
        return {str(k): _plain(v) for k, v in instance.items() if v is not None}
    raise TypeError(f"to_dict needs a dataclass instance or a mapping, not {type(instance).__name__}")


def changed(instance: Any) -> str:
    """The fields of a dataclass that are not at their default, as `name=value, ...`: what a short repr shows."""
    shown = []
    for each in dataclasses.fields(instance):
        value = getattr(instance, each.name)
        made = each.default_factory() if each.default_factory is not dataclasses.MISSING else each.default
        if value != made:
            shown.append(f"{each.name}={value!r}")
    return ", ".join(shown)


def _plain(value):
    if isinstance(value, Mapping) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return to_dict(value)
    if isinstance(value, list | tuple):
        if any(v is None for v in value):
            raise InputError("an array with a hole cannot be written as TOML", came=value)
        return [_plain(v) for v in value]
    return value.as_posix() if isinstance(value, Path) else value


def write_toml(path: Path | str, data: Any) -> None:
    """Writes a dataclass or mapping as TOML, atomically: the file is the old one or the new one, never half of one."""
    import tomli_w  # only the writer needs it

    text = tomli_w.dumps(to_dict(data))
    write_text(path, text)


def override(mapping: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of nested tables with one value replaced; `path` is dotted, digits index arrays. Missing tables are made.

    >>> override({"train": {"lr": 0.1}}, "train.lr", 0.2)
    {'train': {'lr': 0.2}}
    >>> override({"rankers": [{"name": "mlp"}]}, "rankers.0.name", "linear")
    {'rankers': [{'name': 'linear'}]}
    """
    keys = path.split(".")
    if not all(keys):
        raise InputError("a key path has an empty part", expected="a.b.c", came=path)
    return _set(mapping, keys, value, path)


def _set(node, keys, value, path):
    head, rest = keys[0], keys[1:]
    if isinstance(node, list | tuple):
        if not (head.isdecimal() and len(head) < 10) or int(head) >= len(node):
            raise InputError(f"{path}: {head!r} does not index the array", expected=f"0 to {len(node) - 1}", came=head)
        copy = list(node)
        copy[int(head)] = _set(copy[int(head)], rest, value, path) if rest else value
        return copy
    if not isinstance(node, Mapping):
        raise InputError(f"{path}: {head!r} would stand inside a value", expected="a table", came=node)
    copy = dict(node)
    copy[head] = _set(copy.get(head, {}), rest, value, path) if rest else value
    return copy


def parse_value(text: str) -> Any:
    """A command-line value read as TOML would read it, and as a plain string where it is not TOML.

    >>> parse_value("0.1"), parse_value("true"), parse_value("[1, 2]"), parse_value("listnet")
    (0.1, True, [1, 2], 'listnet')
    """
    try:
        parsed = tomllib.loads(f"v = {text}")
    except (ValueError, RecursionError):
        return text
    return parsed["v"] if parsed.keys() == {"v"} else text
