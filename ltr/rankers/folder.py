"""A folder that appears whole or not at all, for things that are kept in more than one file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ltr.errors import InputError

__all__ = ["read_facts", "whole_folder"]


@contextmanager
def whole_folder(folder: Path | str, mark: str) -> Iterator[Path]:
    """A folder to write into, put in place of `folder` when the block ends well.

    Args:
        folder: where it goes; a folder there is replaced if it is empty or holds `mark`: a mistyped path must not cost
            somebody a folder.
        mark: file every folder of this kind holds, e.g. "method.json".
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / mark).is_file())):
        what = f"will not be overwritten, it holds no {mark}"
        raise InputError(what, file=folder, do="Choose another folder")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        yield beside
        if folder.exists():  # a folder cannot be renamed over a full one
            shutil.rmtree(folder)
        os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_facts(folder: Path | str, mark: str, form: int) -> dict[str, Any]:
    """The JSON file `mark` of a folder, of format `form`.

    Raises:
        InputError: no such file, broken JSON, or another format.
    """
    path = Path(folder) / mark
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("nothing saved here", file=folder, expected=f"a folder with a {mark}") from None
    except json.JSONDecodeError as error:
        raise InputError("broken JSON", file=path, line=error.lineno) from None
    if facts.get("format") != form:
        raise InputError("saved in another format", file=path, expected=form, came=facts.get("format"))
    return facts
