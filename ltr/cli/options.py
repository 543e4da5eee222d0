"""What a command is: a function of a dataclass, and the dataclass is its options.

    @dataclass(frozen=True)
    class Predict:
        '''Scores new lists. ...

        Attributes:
            run: run folder.
            out: file; CSV on stdout by default.
        '''
        run: Path                  # no default: a positional
        out: Path | None = None    # --out

Types, defaults and words stand there once; `parser.py` makes options and help of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ltr.errors import InputError

__all__ = ["Command", "Device", "numbers", "option", "pairs"]

Device = Literal["auto", "cpu", "cuda", "mps"]


def option(default: Any = dataclasses.MISSING, *, flag: str = "", metavar: str = "", short: str = "") -> Any:
    """A field whose option is not named after it (`--from`), has a metavar of its own, or a short form."""
    return field(default=default, metadata={"flag": flag, "metavar": metavar, "short": short})


def pairs(flag: str, words: tuple[str, ...], expected: str = "NAME=VALUE", cut=str.partition) -> dict[str, str]:
    """Name -> value of an option's `NAME=VALUE` words, cut at the first equals sign, or where `cut` says."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = cut(word, "=")
        if not (equals and value):
            raise InputError(f"--{flag} says what for what", expected=expected, came=word)
        if name in found:
            raise InputError(f"--{flag} says {name} twice", came=[found[name], value])
        found[name] = value
    return found


def numbers(flag: str, words: tuple[str, ...]) -> dict[str, float]:
    """Name -> number of an option's `NAME=NUMBER` words."""
    found = {}
    for name, value in pairs(flag, words, "NAME=NUMBER", str.rpartition).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise InputError(f"--{flag} {name} is no number", came=value) from None
    return found


@dataclass(frozen=True)
class Command:
    """A command of the command line.

    Attributes:
        path: its words, e.g. ("data", "list").
        options: dataclass of its options; the first line of its docstring is the help in the list of commands.
        function: takes an instance of `options` (with `config`, also the dotted keys that were written) and returns
            the exit code.
        usage: one line.
        epilog: examples.
        config: gives group title -> (prefix, dataclass, fields left out) of a config whose fields are options, too. A
            function, because only this command's own line has to import them.
        free: what, with `config`, takes keys of any name and type: `--FREE.KEY VALUE` (a pattern).
        alias: gives what people type -> the key of the config it stands for; a function as `config` is.
        former: options as they were called -> as they are called now.
    """

    path: tuple[str, ...]
    options: type
    function: Callable[..., int | None]
    usage: str
    epilog: str | None = None
    config: Callable[[], Mapping[str, tuple[str, type, tuple[str, ...]]]] | None = None
    free: str = r"(?:ranker|loss|method)\.params"
    alias: Callable[[], Mapping[str, str]] = dict
    former: Mapping[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        return (self.options.__doc__ or "").strip().split("\n")[0].rstrip(".")
