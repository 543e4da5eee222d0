"""The parser: the options of a command from its dataclass, and what a line asks for.

jsonargparse checks the types and writes the help. `ltr train` takes the fields of a run's config besides, and of those
only what was written reaches the config: a file keeps its values. Parameters of rankers, losses and methods
(`--ranker.params.KEY VALUE`) are free of type here: their own schema judges them.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import typing
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import docstring_parser
from jsonargparse import ArgumentParser, DefaultHelpFormatter

from ltr import __version__
from ltr.errors import InputError, near_miss, renamed
from ltr.schema import parse_value

from .options import Command

__all__ = ["parse"]


class _Help(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """The default where there is one, and no type: the metavar says it."""

    def __init__(self, prog, **options):
        super().__init__(prog, max_help_position=34, **options)

    def _get_help_string(self, action):
        plain, default = action.help or "", action.default
        if not action.option_strings or default in (None, "", "==SUPPRESS==", ()) or default is False:
            return plain
        shown = " ".join(map(str, default)) if isinstance(default, tuple) else default
        return plain if "default" in plain else f"{plain} (default: {shown})".replace("%", "%%")


def _parser(description: str | None, usage: str, epilog: str | None = None) -> ArgumentParser:
    return ArgumentParser(
        description=description,
        usage=usage,
        epilog=epilog,
        exit_on_error=False,
        formatter_class=_Help,
    )


def _add_fields(group, cls: type, prefix: str = "", skip: Sequence[str] = ()) -> None:
    """One option a field: its type, default and words are those of the dataclass."""
    doc = docstring_parser.parse(cls.__doc__ or "")
    words = {p.arg_name: " ".join((p.description or "").split()).rstrip(".") for p in doc.params}
    hints = typing.get_type_hints(cls)
    for each in dataclasses.fields(cls):
        if each.name in skip:
            continue
        kind, help = hints[each.name], words.get(each.name, "")
        names = [each.metadata.get("flag") or f"--{prefix}{each.name if prefix else each.name.replace('_', '-')}"]
        names += [each.metadata["short"]] if each.metadata.get("short") else []
        if each.default is dataclasses.MISSING and not prefix:
            group.add_argument(
                each.name, type=kind, help=help, metavar=each.metadata.get("metavar") or each.name.upper()
            )
        elif kind is bool and each.default is True:
            off = names[0].replace("--", "--no-", 1)
            group.add_argument(off, dest=each.name, action="store_false", help=help)
        elif kind is bool:
            group.add_argument(*names, action="store_true", help=help)
        else:
            default = None if each.default is dataclasses.MISSING else each.default
            options = {"default": default, "help": help, "metavar": each.metadata.get("metavar") or _metavar(kind)}
            # Many words instead of a bracketed list: measures have commas of their own.
            many = next((a for a in (kind, *typing.get_args(kind)) if typing.get_origin(a) is tuple), None)
            if many is not None and typing.get_args(many) in ((str, ...), (int, ...), (float, ...)):
                options |= {"nargs": "+", "type": typing.get_args(many)[0]}
            group.add_argument(*names, **{"type": kind, **options})


def _metavar(kind) -> str:
    arms = [a for a in typing.get_args(kind) if a is not type(None)]
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(map(str, arms)) + "}"
    if type(None) in typing.get_args(kind) or (typing.get_origin(kind) is tuple and arms[-1] is Ellipsis):
        return _metavar(arms[0])
    return {int: "INT", float: "FLOAT", str: "NAME", bool: "BOOL"}.get(kind, "PATH")


def _expected(kind) -> str:
    """A type in words, for an error."""
    return {"INT": "a whole number", "FLOAT": "a number", "BOOL": "true or false"}.get(_metavar(kind), _metavar(kind))


# ---------------------------------------------------------------------------------------------------------- parsing


def parse(words: Sequence[str], known: Sequence[Command], rooms: Mapping[str, str | None]) -> Callable[[], int | None]:
    """What a line asks for, ready to be called.

    Args:
        words: the line.
        known: every command.
        rooms: word that has commands below it -> docstring of its module, whose first line is its help.

    Raises:
        InputError: an unknown command or option (with its near miss), a missing one, or a value of the wrong type.
        SystemExit: after `--help` or `--version` was printed.
    """
    commands = {command.path: command for command in known}
    _check_not_empty(words)
    path = _path(words, commands)
    command = commands.get(path)
    rest, params = _take_params(words, command)
    root, parsers = _parsers(commands, rooms, path)
    if not words:
        root.print_help()
        raise SystemExit(0)
    try:
        found = root.parse_args(rest, defaults=False).as_dict()
    except ArgumentError as error:
        raise _told(error, rest, path, parsers.get(path), commands) from None
    for name in path:
        found = found.get(name) or {}
    if command is None:
        raise InputError(f"`ltr {' '.join(path)}` needs a command", expected=", ".join(_below(path, commands)))
    flat = {**_flat(found), **params}
    own = {}
    for each in dataclasses.fields(command.options):
        key = (each.metadata.get("flag") or each.name).lstrip("-").replace("-", "_")
        if key in flat:
            value = flat.pop(key)
            own[each.name] = tuple(value) if isinstance(value, list) else value
    options = command.options(**own)
    return (lambda: command.function(options, flat)) if command.config else (lambda: command.function(options))


def _parsers(
    commands: Mapping[tuple[str, ...], Command], rooms: Mapping[str, str | None], wanted: tuple[str, ...]
) -> tuple[ArgumentParser, dict[tuple[str, ...], ArgumentParser]]:
    """The parser of a line and that of its command; the other commands are names, and share a parser nobody asks."""
    root = _parser(
        "Learning-to-rank benchmark suite: data, rankers, methods, runs, leaderboards, fronts.",
        usage="ltr [--version] COMMAND ...",
        epilog="first steps:\n"
        "  ltr train --data synthetic --ranker mlp --loss listnet --out runs/first      train, measure, keep\n"
        "  ltr evaluate runs/first --measures nDCG@10 AP                                measure again, otherwise\n"
        "  ltr bench quickstart                                                         the tour, a minute\n"
        "`ltr COMMAND --help` tells more. `--debug` anywhere shows the traceback of an error.",
    )
    root.add_argument("--version", action="version", version=f"ltr {__version__}")
    below: dict[tuple[str, ...], Any] = {
        (): root.add_subcommands(required=False, dest="command", metavar="COMMAND", title="commands")
    }
    parsers, other = {}, _parser(None, "")
    for path, command in commands.items():
        if path[:-1] not in below:  # jsonargparse wants the outer level first
            words = (rooms[path[0]] or "").split("\n")[0].split(": ", 1)[1]
            room = _parser(words[0].upper() + words[1:], usage=f"ltr {path[0]} COMMAND ...")
            below[()].add_subcommand(path[0], room, help=words[0].upper() + words[1:].rstrip("."))
            below[path[:-1]] = room.add_subcommands(required=False, dest="command", metavar="COMMAND", title="commands")
        parser = other
        if path == wanted:
            description = docstring_parser.parse(command.options.__doc__ or "").description
            parsers[path] = parser = _parser(description, f"ltr {' '.join(path)} {command.usage}", command.epilog)
            _add_fields(parser, command.options)
            for title, (prefix, cls, skip) in (command.config() if command.config else {}).items():
                _add_fields(parser.add_argument_group(title), cls, prefix, skip)
        below[path[:-1]].add_subcommand(path[-1], parser, help=command.summary)
    return root, parsers


def _in_todays_words(words: Sequence[str], command: Command) -> list[str]:
    """The words of a line with options that have another name now under that."""
    former = dict(command.former)
    for prefix, cls, _ in (command.config() if command.config else {}).values():
        former |= {f"--{prefix}{old}": f"--{prefix}{new}" for old, new in getattr(cls, "RENAMED", {}).items()}
    heads = [word.partition("=") for word in words]
    for head in dict.fromkeys(head for head, *_ in heads if head in former):
        renamed("option", head, former[head])
    return [former.get(head, head) + equals + tail for head, equals, tail in heads]


def _take_params(words: Sequence[str], command: Command | None) -> tuple[list[str], dict[str, Any]]:
    """Aliases spelled out, and `--ranker.params.KEY VALUE` taken from the line."""
    if command is None:
        return list(words), {}
    words = _in_todays_words(words, command)
    if not command.config:
        return words, {}
    rest, params, i, alias = [], {}, 0, command.alias()
    while i < len(words):
        head, equals, tail = words[i].partition("=")
        hit = re.fullmatch(rf"--((?:{command.free})\.[\w.-]+)(?:=(.*))?", words[i], re.DOTALL)
        if hit is None:
            rest.append(alias.get(head, head) + equals + tail)
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


def _check_not_empty(words: Sequence[str]) -> None:
    """Refuses '', which a shell makes of a variable that is not set and which would be this folder as a path."""
    option = ""
    for at, word in enumerate(words):
        option = word if word.startswith("-") else option
        if word == "" and option != "--drop":  # a column may have no name
            before = words[at - 1] if at else "ltr"
            raise InputError(f"nothing stands after {before}", do="Is a variable of the shell not set?")


def _path(words: Sequence[str], commands) -> tuple[str, ...]:
    """The command words the line starts with."""
    path: tuple[str, ...] = ()
    for word in words:
        if not any(key[: len(path) + 1] == (*path, word) for key in commands):
            break
        path = (*path, word)
    return path


def _below(path: tuple[str, ...], commands) -> list[str]:
    return list(dict.fromkeys(k[len(path)] for k in commands if k[: len(path)] == path and len(k) > len(path)))


def _flat(mapping: dict, at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= _flat(value, f"{at}{key}.") if isinstance(value, dict) else {f"{at}{key}": value}
    return flat


def _told(error: ArgumentError, words, path, parser, commands) -> InputError:
    """argparse's complaint as one of ours."""
    text = str(error)
    name = f"`ltr {' '.join(path)}`" if path else "`ltr`"
    helps = f"See: ltr {' '.join([*path, '--help'])}"
    if parser is None:
        came = next((w for w in words[len(path) :] if not w.startswith("-")), None)
        known = _below(path, commands)
        if came is None:
            return InputError(f"{name} needs a command", expected=", ".join(known))
        hit = near_miss(came, known)
        meant = f"Did you mean {hit!r}? " if hit else ""
        return InputError(f"{name} has no command {came!r}", do=f"{meant}Known: {', '.join(known)}")
    if "unrecognized arguments" in text:
        left = text.split("unrecognized arguments:", 1)[1].split()
        flag = next((w.split("=")[0] for w in left if w.startswith("-")), None)
        if flag is None:
            return InputError(f"{name} does not know what to do with {' '.join(left)!r}", do=helps)
        known = [o for action in parser._actions for o in action.option_strings] + list(commands[path].alias())
        hit = near_miss(flag, known)
        return InputError(f"{name} has no option {flag}", do=f"Did you mean {hit}?" if hit else helps)
    key, came = re.search(r'Parser key "([^"]+)"', text), re.search(r"(?:Got|Given) value: (.*)", text)
    if key and came:
        dest = key[1].removeprefix(".".join(path) + ".")
        action = next((a for a in parser._actions if a.dest == dest), None)
        kind = getattr(action, "_typehint", None) or getattr(action, "type", None) or str
        what = dest if action is not None and not action.option_strings else f"--{dest.replace('_', '-')}"
        what = next((o for o in getattr(action, "option_strings", ()) if o.startswith("--")), what)
        return InputError(f"{what} has the wrong type", expected=_expected(kind), came=came[1])
    missing = re.search(r'[Kk]ey "([^"]+)" is required|arguments are required: (.+)', text)
    if missing:
        what = (missing[1] or missing[2]).rsplit(".", 1)[-1].upper()
        return InputError(f"{name} needs {what}", do=helps)
    return InputError(f"{name}: {' '.join(text.split())}", do=helps)
