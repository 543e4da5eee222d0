"""Errors a user can act on, and the near miss of a mistyped name."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["InputError", "MissingExtra", "check_name", "kept_by_ltr", "near_miss", "renamed", "say_once"]
__all__ += ["quiet", "unknown_name"]

_SHOWN = 200  # known names that a message lists
_SAID: set[str] = set()
_kept = False  # whether what is read was written by ltr itself


class InputError(ValueError):
    """Bad input: a file, a config, an array. The command line prints it as one message and exits with 2.

    Args:
        what: what is wrong, in one sentence.
        file: the file it stands in.
        line: the line there, counted from 1.
        expected: what would have been right.
        came: what came instead (its repr is shown, cut at 80 characters).
        do: what the user can do now.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
        expected: object = "",
        came: object = None,
        do: str = "",
    ) -> None:
        self.what, self.file, self.line, self.expected, self.came, self.do = what, file, line, expected, came, do
        place = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        parts = [place + what]
        if expected != "":
            parts.append(f"expected {expected}")
        if came is not None:
            shown = repr(came.item() if hasattr(came, "item") and getattr(came, "ndim", 1) == 0 else came)
            parts.append(f"came {shown if len(shown) <= 80 else shown[:77] + '...'}")
        message = "; ".join(parts)
        super().__init__(f"{message}. {do}" if do else message)

    def but(self, **changed: Any) -> InputError:
        """The same error with some of its parts said otherwise, by who knows more of where it came from."""
        names = ("what", "file", "line", "expected", "came", "do")
        return InputError(**{name: getattr(self, name) for name in names} | changed)

    def __reduce__(self) -> tuple[Callable[..., InputError], tuple[Any, ...]]:
        # Crosses process borders whole (the launcher runs in worker processes).
        return (_rebuild, (self.what, self.file, self.line, self.expected, self.came, self.do))


def _rebuild(what: str, file: Any, line: int | None, expected: object, came: object, do: str) -> InputError:
    return InputError(what, file=file, line=line, expected=expected, came=came, do=do)


class MissingExtra(InputError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        self.library = library
        self._args = (library, extra, purpose)
        super().__init__(
            f"{purpose} needs {library}, which is not installed",
            do=f"Install it with: pip install 'ltr-suite[{extra}]'",
        )

    def __reduce__(self) -> tuple[Callable[..., InputError], tuple[Any, ...]]:
        return (MissingExtra, self._args)


# What other libraries call what has another name here.
_ELSEWHERE = {
    **dict.fromkeys(("random_state", "random_seed"), "seed"),
    **dict.fromkeys(("n_estimators", "num_boost_round", "num_iterations", "iterations", "num_rounds"), "rounds"),
    **dict.fromkeys(("n_epochs", "num_epochs", "max_epochs", "max_iter"), "epochs"),
    **dict.fromkeys(("lr", "eta", "learning_rate_init"), "learning_rate"),
    **dict.fromkeys(("hidden_layer_sizes", "hidden_units", "layers"), "hidden"),
    **dict.fromkeys(("reg_lambda", "lambda_l2", "l2_leaf_reg"), "l2"),
    **dict.fromkeys(("colsample_bytree", "rsm"), "feature_fraction"),
    **{"num_leaves": "leaves", "max_depth": "depth", "subsample": "bagging_fraction", "lambdamart": "lightgbm"},
}


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` most likely meant, or None.

    >>> near_miss("lamdarank", ["listnet", "lambdarank"])
    'lambdarank'
    """
    known, name = list(known), str(name)
    if _ELSEWHERE.get(name) in known:
        return _ELSEWHERE[name]
    folded = {k.lower().replace("-", "_"): k for k in known}
    hit = difflib.get_close_matches(name.lower().replace("-", "_"), folded, n=1, cutoff=0.6)
    return folded[hit[0]] if hit else None


def unknown_name(
    kind: str, name: str, known: Iterable[str], *, file: str | os.PathLike[str] | None = None
) -> InputError:
    """The error for a name nobody registered; it names the near miss and the choices."""
    known = sorted(set(known))
    hit = near_miss(name, known)
    more = f" and {len(known) - _SHOWN:,} more" if len(known) > _SHOWN else ""
    return InputError(
        f"unknown {kind} {name!r}",
        file=file,
        do=(f"Did you mean {hit!r}? " if hit else "") + f"Known: {', '.join(known[:_SHOWN])}" + more,
    )


def check_name(kind: str, name: object, known: Iterable[object], *, file: str | os.PathLike[str] | None = None) -> None:
    """Refuses a name that is not among the known ones.

    Raises:
        InputError: as `unknown_name` words it.
    """
    known = list(known)
    if name not in known:
        raise unknown_name(kind, str(name), map(str, known), file=file)


def renamed(kind: str, old: str, new: str) -> None:
    """Says, once a process, that a name a user typed has a new one; the old one works for this version."""
    if not _kept:
        say_once(f"{kind} {old!r} is called {new!r} now; the old name works until the next version")


@contextlib.contextmanager
def quiet(*names: str) -> Iterator[None]:
    """These loggers of libraries keep what is no error to themselves."""
    before = {logger: logger.level for logger in map(logging.getLogger, names)}
    try:
        for logger in before:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in before.items():
            logger.setLevel(level)


@contextlib.contextmanager
def kept_by_ltr() -> Iterator[None]:
    """Around the reading of files that ltr wrote earlier: a former name in them is nobody's to mend."""
    global _kept
    before, _kept = _kept, True
    try:
        yield
    finally:
        _kept = before


def say_once(text: str) -> None:
    """Tells the user something on the terminal (stderr), once a process: what is not wrong but should not be quiet."""
    if text not in _SAID:
        _SAID.add(text)
        print(f"ltr: {text}", file=sys.stderr)
