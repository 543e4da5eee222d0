"""The facts of a folder that holds what was trained, sealed when they are written and looked through when read.

They carry the digest of every file beside them and of their own contents, so that damage, or files of another folder,
are noticed before anything is scored. Folders of earlier versions carry none and are read as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ltr.atomic import read_facts, sha256
from ltr.errors import InputError

__all__ = ["broken_facts", "read_sealed", "seal"]

_WAY_OUT = "Train it anew, or take the folder from a copy"


def seal(folder: Path, mark: str, facts: Mapping[str, Any]) -> None:
    """Writes the file `mark`: the facts, the digests of all files that lie in the folder, and the digest of these."""
    files = {p.relative_to(folder).as_posix(): sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    facts = {**facts, "files": files}
    text = json.dumps({**facts, "sha256": _digest(facts)}, indent=1)
    (folder / mark).write_text(text + "\n", encoding="utf-8")


def read_sealed(folder: Path | str, mark: str, form: int) -> dict[str, Any]:
    """The facts of a folder, of format `form`.

    Raises:
        InputError: no such file, damage to it or to a file beside it, or another format.
    """
    folder = Path(folder)
    facts = read_facts(folder, mark, form)
    own = facts.pop("sha256", None)
    if own is not None and own != _digest(facts):
        raise InputError("changed after it was written, or damaged", file=folder / mark, do=_WAY_OUT)
    for name, digest in facts.get("files", {}).items() if own is not None else ():
        if not (folder / name).is_file():
            raise InputError("this file is missing", file=folder / name, do=_WAY_OUT)
        if sha256(folder / name) != digest:
            what = f"changed after it was written, or damaged: {mark} holds another digest"
            raise InputError(what, file=folder / name, do=_WAY_OUT)
    return facts


@contextmanager
def broken_facts(path: Path) -> Iterator[None]:
    """Facts without a seal may hold anything: a key that is missing or of another kind is said with the file."""
    try:
        yield
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        what = f"damaged: a key is missing or of another kind ({type(error).__name__}: {error})"
        raise InputError(what, file=path, do=_WAY_OUT) from None


def _digest(facts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
