"""A suite's files in an object store, opened by fsspec: s3://bucket/run, gs://bucket/run, file:///shared/run.

An object store renames nothing, locks nothing and appends to nothing. What it does do, and all that is built on: an
object appears whole or not at all, is listed as soon as it is there, and of many who make the same new one at the same
time, one is told that it did (`create`). S3, GCS and files keep these; a store that lets two make the same is refused.

Work is done in a temporary folder (TMPDIR says where; `working_folder`), and files go to and fro one by one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ltr.errors import InputError

__all__ = ["ObjectStore", "is_url", "named", "working_folder"]


def is_url(out: Path | str) -> bool:
    """Whether a suite's folder is one of an object store."""
    return "://" in os.fspath(out)


def named(text: object, folder: Path | str, url: str) -> str:
    """A path, or a text with paths below `folder`, with the URL it stands for instead; as it is where there is none."""
    return str(text).replace(str(folder), url.rstrip("/")) if url else str(text)


@contextlib.contextmanager
def working_folder(out: Path | str) -> Iterator[Path]:
    """Where a suite is worked on: `out` itself; of a URL an empty temporary folder, gone at the end.

    Messages that leave the block name the URL instead.
    """
    if not is_url(out):
        yield Path(out)
        return
    with tempfile.TemporaryDirectory(prefix="ltr-", ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        except InputError as error:
            if type(error) is not InputError:
                raise
            what, do = (named(text, folder, str(out)) for text in (error.what, error.do))
            file = None if error.file is None else named(error.file, folder, str(out))
            raise error.but(what=what, file=file, do=do) from error


class ObjectStore:
    """The files below a URL, named by their paths relative to it.

    Every method raises `InputError` where the store does not answer (its own library has tried more than once).

    Raises:
        InputError: no protocol fsspec knows, or one whose package is not installed.
    """

    def __init__(self, url: str):
        from fsspec.core import url_to_fs

        self.url = url.rstrip("/")
        protocol = url.partition(":")[0]
        try:
            self.files, self.root = url_to_fs(self.url, **({"auto_mkdir": True} if protocol == "file" else {}))
        except ImportError as error:
            raise InputError(f"{protocol}:// needs a package that is not installed", file=url, do=str(error)) from None
        except ValueError as error:
            known = "s3://, gs://, abfs://, file:// or another that fsspec opens"
            raise InputError("no such object store", file=url, expected=known, came=str(error)) from None
        except Exception as error:  # some log in already here
            raise self._silent(error) from error

    def at(self, name: str) -> str:
        return f"{self.root}/{name}" if name else self.root

    def list(self, under: str = "") -> dict[str, dict[str, Any]]:
        """Every file, or those in a folder (or one file by itself) -> what the store says of it, `size` above all."""
        with self._answering():
            try:
                found = self.files.find(self.at(under), detail=True)
            except FileNotFoundError:
                found = {}
        return {path[len(self.root) + 1 :]: info for path, info in found.items()}

    def exists(self, name: str) -> bool:
        with self._answering():
            return bool(self.files.exists(self.at(name)))

    def read(self, name: str) -> bytes:
        """What a file holds; `FileNotFoundError` is the caller's."""
        with self._answering():
            return bytes(self.files.cat_file(self.at(name)))

    def write(self, name: str, data: bytes) -> None:
        with self._answering(writing=True):
            self.files.pipe_file(self.at(name), data)

    def create(self, name: str, data: bytes) -> bool:
        """Writes a file that must not be there; False where it is."""
        # By `open`, not `pipe_file`: the latter's default looks first and writes then.
        try:
            with self._answering(writing=True), self.files.open(self.at(name), "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        except InputError:  # libraries have more words for it, above all where two are at it at once
            if self.exists(name):
                return False
            raise
        return True

    def remove(self, *names: str) -> None:
        """Removes files; those that are not there are passed over."""
        for name in names:
            with contextlib.suppress(FileNotFoundError), self._answering():
                self.files.rm_file(self.at(name))

    def put(self, path: Path, name: str) -> None:
        """Uploads a file."""
        with self._answering(writing=True):
            self.files.put_file(os.fspath(path), self.at(name))

    def get(self, names: Iterable[str], folder: Path) -> None:
        """Downloads files into a folder; each appears whole, in this order."""
        wanted = [*names]
        if not wanted:
            return
        with tempfile.TemporaryDirectory(dir=folder, prefix=".get-") as aside:
            places = [f"{aside}/{k}" for k in range(len(wanted))]
            with self._answering():
                self.files.get([self.at(name) for name in wanted], places)
            for place, name in zip(places, wanted):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(place, folder / name)

    def check_creation(self) -> None:
        """Refuses a store where two can make the same file: whose a run is could not be settled there."""
        name = f".cells/try-{secrets.token_hex(8)}"
        try:
            safe = self.create(name, b"1") and not self.create(name, b"2")
        finally:
            self.remove(name)
        if not safe:
            what = "this store lets two make the same file, so workers would do each other's runs"
            raise InputError(what, file=self.url, do="Use S3, GCS, Azure, or a folder that all machines see")

    @contextlib.contextmanager
    def _answering(self, writing: bool = False) -> Iterator[None]:
        """Says in one message that the store does not answer: libraries raise hundreds of kinds."""
        self.files.invalidate_cache()  # others write there
        try:
            yield
        except (InputError, FileExistsError):
            raise
        except Exception as error:
            if isinstance(error, FileNotFoundError) and not writing:
                raise
            raise self._silent(error) from error

    def _silent(self, error: Exception) -> InputError:
        what = f"the object store does not answer: {type(error).__name__}: {error}"
        do = "Check the address, the network and the credentials; finished runs are kept, the same command continues"
        return InputError(what, file=self.url, do=do)
