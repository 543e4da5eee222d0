"""Gets the files of a dataset into `DATA/NAME/raw`: downloaded where that is allowed, else from what the user has.

Nothing half-written is ever seen: files are gathered in a folder beside `raw`, checked against the card's hashes, and
moved in one step. Names of the files come from the card, never from an archive, so an archive cannot write elsewhere.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

from ltr import paths
from ltr.atomic import scratch_folder, sha256
from ltr.errors import InputError

from .card import Card
from .download import retrieve

__all__ = ["Check", "fetch", "raw_folder", "verify"]

CHUNK = 1 << 20
_BROKEN = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # NotImplementedError among them, of a way of packing that zipfile does not know
)
PACKED, PACKED_FROM = 200, 256 << 20  # an archive may grow by this factor, once it has grown to so many bytes


def raw_folder(card: Card, root: Path | None = None) -> Path:
    """`ROOT/NAME/raw`; root is `paths.data_root()` by default."""
    return (paths.data_root() if root is None else Path(root)) / card.name / "raw"


def fetch(
    card: Card, root: Path | None = None, source: Path | None = None, progress: bool = True, *, accept: bool = False
) -> Path:
    """The raw folder of a dataset, with all its files.

    Files that are there already are kept; a second call is a no-op.

    Args:
        card: the dataset.
        root: folder of the data, `paths.data_root()` by default.
        source: an archive (zip, tar, tar.gz, tar.bz2, tar.xz) or a folder that holds the files, at any depth; hard
            links where the file system allows, else copies.
        progress: a bar while downloading.
        accept: the user has read and accepts the licence, where the card says its owner asks for that.

    Raises:
        InputError: the licence is not accepted, no address works (with the steps to get the files by hand), files are
            missing from the source, or a hash differs from the card's. Nothing of ours is left behind then but the
            part of a download that can be continued.
    """
    if card.format == "generated":
        raise InputError(f"{card.name} is generated, there is nothing to fetch", do=f"Use it as it is: {card.name}")
    raw = raw_folder(card, root)
    missing = [path for path in card.paths if not (raw / path).is_file()]
    if not missing:
        return raw
    raw.parent.mkdir(parents=True, exist_ok=True)
    if source is not None:
        _place(card, Path(source), raw, missing)
        return raw
    if not any(d.urls for d in card.downloads):
        raise InputError(f"{card.name} cannot be downloaded by a program", do=_by_hand(card))
    if card.licence.accept and not accept:
        raise InputError(
            f"the owner of {card.name} asks you to accept a licence first: {card.licence.name}",
            do=f"{card.licence.terms} See {card.licence.url or card.homepage}; then fetch with --accept-licence",
        )
    downloads = raw.parent / "downloads"
    offered = [d for d in card.downloads if d.urls]
    try:
        for d in offered:
            if not (downloads / d.name).is_file():
                retrieve(d.urls, d.sha256, downloads / d.name, progress=progress)
    except InputError as error:
        if downloads.is_dir() and not any(downloads.iterdir()):
            downloads.rmdir()
        raise InputError(error.what, do=f"{error.do}. {_by_hand(card)}") from None
    # Files published one by one are a folder already; otherwise there is one archive.
    plain = all(d.name in card.paths for d in offered)
    _place(card, downloads if plain else downloads / offered[0].name, raw, missing)
    shutil.rmtree(downloads)
    return raw


def _by_hand(card: Card) -> str:
    steps = " ".join(f"({i}) {step}" for i, step in enumerate(card.by_hand.steps, 1))
    return f"By hand: {steps} ({len(card.by_hand.steps) + 1}) ltr data fetch {card.name} --from {card.by_hand.expects}"


# ------------------------------------------------------------------------------------------------ from what one has


def _place(card: Card, source: Path, raw: Path, wanted: list[str]) -> None:
    """The wanted files from a folder or archive into `raw`, checked, in one step."""
    if not source.exists():
        raise InputError("no such file or folder", file=source, expected=card.by_hand.expects)
    known = next((d for d in card.downloads if d.name == source.name and d.sha256), None)
    if known and source.is_file() and not all(card.hashes[path] for path in wanted):
        _same(source, sha256(source), known.sha256)  # the files' own hashes are unknown: the archive's must do
    with scratch_folder(raw) as staging:
        found = set()
        room = _Room(source)
        with _opened(source, room) as members:
            for name, take in members:
                path = _which(name, wanted)
                if path is None:
                    continue
                if path in found:
                    raise InputError(f"{path} is there more than once", file=source, came=name, do="Give one copy")
                found.add(path)
                target = staging / path
                target.parent.mkdir(parents=True, exist_ok=True)
                _same(f"{source}: {name}", take(target), card.hashes[path])
        absent = [path for path in wanted if path not in found]
        if absent:
            raise InputError(
                "files of the dataset are missing here",
                file=source,
                expected=", ".join(absent),
                do=f"{card.name} is {card.by_hand.expects}",
            )
        if raw.exists():
            for path in wanted:
                (raw / path).parent.mkdir(parents=True, exist_ok=True)
                os.replace(staging / path, raw / path)
        else:
            os.rename(staging, raw)


def _which(name: str, wanted: Iterable[str]) -> str | None:
    """The card's path that this member stands for: its own, or below any folder. The longest wins."""
    return max((w for w in wanted if f"/{name}".endswith(f"/{w}")), key=len, default=None)


def _same(what: Path | str, sha256: str, expected: str) -> None:
    if expected and sha256 != expected:
        raise InputError(
            f"{what}: not the file the card knows",
            expected=f"sha256 {expected}",
            came=sha256,
            do="It is another version, or it was changed or cut off; fetch it again",
        )


class _Room:
    """What an archive may unpack to; files of a folder are only linked and take none."""

    def __init__(self, source: Path):
        self.source, self.total = source, 0
        self.most = max(PACKED_FROM, PACKED * source.stat().st_size) if source.is_file() else 0

    def take(self, size: int) -> None:
        self.total += size
        if self.total > self.most:
            raise InputError(
                "the archive unpacks to far more than it can hold",
                file=self.source,
                expected=f"at most {PACKED} times its size",
                came=f"more than {self.most >> 20} MB",
                do="If this is right, unpack it yourself and give the folder to --from",
            )


@contextmanager
def _opened(source: Path, room: _Room) -> Iterator[Iterator]:
    """(name, take) of every file in a folder or archive; `take(target)` writes it there and returns its sha256."""
    try:
        if source.is_dir():
            yield _folder(source)
        elif zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as archive:
                yield _zip(archive, room)
        elif source.suffix.lower() in (".rar", ".7z"):
            raise InputError(
                f"{source.suffix} archives are not unpacked here",
                file=source,
                do="Unpack it (unrar, 7z or bsdtar do) and give the folder to --from",
            )
        else:
            with tarfile.open(source, "r|*") as archive:  # a stream: one pass, no list of members first
                yield _tar(archive, room)
    except (*_BROKEN, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # disk full, no permission: not the archive's fault
            raise
        expected = "zip, tar, tar.gz, tar.bz2, tar.xz or a folder"
        raise InputError(f"broken or unknown archive ({error})", file=source, expected=expected) from None


def _folder(source: Path) -> Iterator:
    base = source.resolve()  # names count the folders above too: --from .../QueryLevelNorm is as good as its parent
    for at, folders, files in os.walk(base):
        folders.sort()
        for file in sorted(files):
            path = Path(at, file)
            yield path.as_posix(), lambda target, path=path: _link(path, target)


def _zip(archive: zipfile.ZipFile, room: _Room) -> Iterator:
    for info in archive.infolist():
        if not info.is_dir():

            def take(target: Path, info: zipfile.ZipInfo = info) -> str:
                room.take(info.file_size)  # no more is ever read of it
                return _write(archive.open(info), target)

            yield info.filename.replace("\\", "/"), take


def _tar(archive: tarfile.TarFile, room: _Room) -> Iterator:
    for member in archive:
        room.take(member.size)  # what is passed over is unpacked, too
        if member.isfile():  # links and devices are nobody's data
            yield member.name, lambda target, member=member: _write(archive.extractfile(member), target)


def _link(path: Path, target: Path) -> str:
    try:
        os.link(path.resolve(), target)  # the file, not a symbolic link to it
    except OSError:  # another file system, or not ours to link
        shutil.copyfile(path, target)
    return sha256(target)


def _write(reader: IO[bytes] | None, target: Path) -> str:
    assert reader is not None  # a plain file
    digest = hashlib.sha256()
    with reader, open(target, "wb") as f:
        while chunk := reader.read(CHUNK):
            digest.update(chunk)
            f.write(chunk)
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------------ verify


@dataclass(frozen=True)
class Check:
    """A file of a dataset against its card.

    Attributes:
        path: below `raw/`.
        status: "OK" as the card says, "BAD" another hash, "unknown" the card has no hash, "missing" no such file.
        sha256: of the user's file, "" when missing; expected: the card's, "" when unknown.
    """

    path: str
    status: Literal["OK", "BAD", "unknown", "missing"]
    sha256: str
    expected: str


def verify(card: Card, root: Path | None = None) -> list[Check]:
    """Every file of the dataset, hashed and compared, in the card's order."""
    raw, checks = raw_folder(card, root), []
    for path in card.paths:
        expected = card.hashes[path]
        if not (raw / path).is_file():
            checks.append(Check(path, "missing", "", expected))
            continue
        ours = sha256(raw / path)
        checks.append(Check(path, "unknown" if not expected else "OK" if ours == expected else "BAD", ours, expected))
    return checks
