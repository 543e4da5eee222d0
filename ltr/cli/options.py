"""The parser: sub-commands, options from typed dataclasses, and errors that name what was meant.

jsonargparse checks types and writes the help; whatever the user did not write stays out of the result, so that a config
file keeps its values. Parameters of rankers and losses (`--ranker.params.KEY VALUE`) are free of type here: their own
dataclass or signature judges them.
"""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from typing import Any

import docstring_parser
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from .. import __version__
from ..errors import InputError, near_miss
from ..strict import parse_value

__all__ = ["Command", "add_fields", "new_parser", "parse"]

Command = Callable[[dict[str, Any]], int | None]

# What people type -> the key it stands for.
SHORT = {
    "--data": "--data.name",
    "--fold": "--data.fold",
    "--objective": "--data.objective",
    "--ranker": "--ranker.name",
    "--loss": "--loss.name",
}
_PARAMS = re.compile(r"--((?:ranker|loss)\.params\.[\w.-]+)(?:=(.*))?", re.DOTALL)


class _Help(DefaultHelpFormatter):
    """Shorter than jsonargparse's own: the default where there is one, and no types that the metavar already says."""

    def __init__(self, prog, **options):
        super().__init__(prog, max_help_position=34, **options)

    def _get_help_string(self, action):
        plain = action.help or ""
        default = action.default
        if not action.option_strings or default in (None, False, "==SUPPRESS==", ()) or "default" in plain:
            return plain
        shown = " ".join(map(str, default)) if isinstance(default, (list, tuple)) else default
        return f"{plain} (default: {shown})".replace("%", "%%")


def new_parser(description: str, usage: str | None = None, epilog: str | None = None) -> ArgumentParser:
    """A parser that raises instead of leaving the process."""
    import argparse

    class Raw(_Help, argparse.RawDescriptionHelpFormatter):
        pass

    return ArgumentParser(
        description=description, usage=usage, epilog=epilog, exit_on_error=False, formatter_class=Raw, default_meta=False,
    )  # fmt: skip


def add_fields(group, cls: type, prefix: str, skip: Sequence[str] = (), default: Any = None) -> None:
    """One option a field of a dataclass, `--PREFIX.FIELD`, with its type, default and the words of the class's docstring."""
    words = {
        p.arg_name: " ".join((p.description or "").split()) for p in docstring_parser.parse(cls.__doc__ or "").params
    }
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if field.name in skip:
            continue
        value = field.default if field.default is not dataclasses.MISSING else None
        if default is not None:
            value = getattr(default, field.name)
        group.add_argument(
            f"--{prefix}{field.name}",
            type=hints[field.name],
            default=value,
            help=words.get(field.name, ""),
            metavar=_metavar(hints[field.name]),
        )


def _metavar(kind) -> str:
    arms = [a for a in typing.get_args(kind) if a is not type(None)]
    if typing.get_origin(kind) is typing.Literal:
        return "{" + ",".join(map(str, arms)) + "}"
    if type(None) in typing.get_args(kind):
        return _metavar(arms[0])
    return {int: "INT", float: "FLOAT", str: "NAME", bool: "BOOL"}.get(kind, "[ITEM,...]")


def parse(words: Sequence[str]) -> tuple[Command, dict[str, Any]]:
    """The command a line asks for, and its arguments: what was written, by dotted key, and nothing else.

    Raises:
        InputError: an unknown command or option (with its near miss), or a value of the wrong type.
        SystemExit: after `--help` or `--version` was printed.
    """
    from . import bench, data, runs

    short = bool(words) and words[0] in ("train", "evaluate", "export")
    words, params = _take_params([_long(w) if short else w for w in words])
    root = new_parser(
        "Learning-to-rank benchmark suite: data, rankers, runs, leaderboards.",
        usage="ltr [--version] COMMAND ...",
        epilog="`ltr COMMAND --help` tells more. `--debug` anywhere shows the traceback of an error.\n"
        "The two-minute tour: ltr bench quickstart",
    )
    root.add_argument("--version", action="version", version=f"ltr {__version__}")
    commands = root.add_subcommands(required=False, dest="command", metavar="COMMAND", title="commands")
    registered: dict[tuple[str, ...], tuple[ArgumentParser, Command]] = {}
    for room in (data, runs, bench):
        room.register(commands, registered)
    if not words:
        root.print_help()
        raise SystemExit(0)
    path = _path(words, registered)
    parser = registered[path][0] if path in registered else root
    try:
        found = root.parse_args(list(words), defaults=False)
    except ArgumentError as error:
        raise _told(error, words, path, parser, registered) from None
    found = found.as_dict()
    for name in path:
        found = found.get(name) or {}
    if path not in registered:
        raise InputError(f"`ltr {' '.join(path)}` needs a command", expected=", ".join(_below(path, registered)))
    flat = {**_flat(found), **params}
    if params and "train" not in path:
        raise InputError(f"`ltr {' '.join(path)}` takes no {next(iter(params))}")
    return registered[path][1], flat


def _long(word: str) -> str:
    head, equals, rest = word.partition("=")
    return SHORT.get(head, head) + equals + rest


def _take_params(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    rest, params, i = [], {}, 0
    while i < len(words):
        hit = _PARAMS.fullmatch(words[i])
        if hit is None:
            rest.append(words[i])
        else:
            text = hit[2]
            if text is None:
                i += 1
                if i == len(words):
                    raise InputError(f"--{hit[1]} needs a value")
                text = words[i]
            params[hit[1]] = parse_value(text)
        i += 1
    return rest, params


def _path(words: Sequence[str], registered) -> tuple[str, ...]:
    """The command words the line starts with."""
    path: tuple[str, ...] = ()
    for word in words:
        longer = (*path, word)
        if not any(key[: len(longer)] == longer for key in registered):
            break
        path = longer
    return path


def _below(path: tuple[str, ...], registered) -> list[str]:
    return list(
        dict.fromkeys(key[len(path)] for key in registered if key[: len(path)] == path and len(key) > len(path))
    )


def _flat(mapping: dict, at: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in mapping.items():
        flat |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return flat


def _told(error: ArgumentError, words, path, parser, registered) -> InputError:
    """argparse's complaint as one of ours."""
    text = str(error)
    name = f"`ltr {' '.join(path)}`" if path else "`ltr`"
    helps = f"See: ltr {' '.join([*path, '--help'])}"
    if path not in registered:
        came = next((w for w in words[len(path) :] if not w.startswith("-")), None)
        known = _below(path, registered)
        if came is None:
            return InputError(f"{name} needs a command", expected=", ".join(known))
        hit = near_miss(came, known)
        return InputError(
            f"{name} has no command {came!r}",
            do=(f"Did you mean {hit!r}? " if hit else "") + f"Known: {', '.join(known)}",
        )
    if "unrecognized arguments" in text:
        left = text.split("unrecognized arguments:", 1)[1].split()
        option = next((w.split("=")[0] for w in left if w.startswith("-")), None)
        if option is None:
            return InputError(f"{name} does not know what to do with {' '.join(left)!r}", do=helps)
        known = [o for action in parser._actions for o in action.option_strings]
        hit = near_miss(option, [*known, *SHORT])
        return InputError(f"{name} has no option {option}", do=f"Did you mean {hit}?" if hit else helps)
    key = re.search(r'Parser key "([^"]+)"', text)
    if key:
        dest = key[1].rsplit("train.", 1)[-1] if key[1].startswith("train.") else key[1]
        action = next((a for a in parser._actions if a.dest == dest), None)
        expected = _metavar(getattr(action, "_typehint", None) or getattr(action, "type", str) or str)
        came = re.search(r"Got value: (.*)", text)
        what = f"--{dest}" if action is None or action.option_strings else dest
        return InputError(f"{what} has the wrong type", expected=expected, came=came[1] if came else None)
    return InputError(" ".join(text.split()), do=helps)


def stdout_is_terminal() -> bool:
    return sys.stdout.isatty()
