"""Fetching: local servers that break, lie and move; archives; folders; nothing half-written."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ltr.atomic import sha256
from ltr.datasets.cards import fetch as fetching
from ltr.datasets.cards.card import Card, Download, Files, Fold, Licence, Manual, Objective, load_card
from ltr.datasets.cards.download import Resuming, retrieve
from ltr.datasets.cards.fetch import fetch, raw_folder, verify
from ltr.errors import InputError

TEXT = {f"Fold1/{s}.txt": f"1 qid:{i} 1:0.5\n".encode() * (50_000 + i) for i, s in enumerate(("train", "vali", "test"))}


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def zipped(files=TEXT, prefix="TOY/") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        for name, data in files.items():
            z.writestr(zipfile.ZipInfo(prefix + name), data)  # stored, so that a broken download is long enough
    return buffer.getvalue()


def toy(**changes) -> Card:
    card = Card(
        name="toy",
        title="Toy",
        summary="",
        homepage="http://localhost",
        citation="@misc{}",
        format="svmlight",
        n_features=1,
        licence=Licence("MIT", "Free.", "checked"),
        objectives=(Objective("relevance", 0, "checked", scale="0-1"),),
        folds=(Fold("Fold1", "Fold1/train.txt", "Fold1/test.txt", "Fold1/vali.txt"),),
        files=Files({p: sha(d) for p, d in TEXT.items()}, "test", "checked"),
        manual=Manual(("Open the page.", "Get toy.zip."), "toy.zip", "checked"),
    )
    return replace(card, **changes)


class Handler(BaseHTTPRequestHandler):
    """Serves `server.files`; `server.breaks` replies are cut off in the middle. Logs (path, Range) of every request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.log.append((self.path, asked))
        found = server.files.get(self.path)
        if found is None:
            self.send_error(404)
            return
        data, kind = found
        etag = f'"{sha(data)[:8]}"'
        start = 0
        if asked and server.ranges and self.headers.get("If-Range") == etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        if asked and start >= len(data):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(data)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", kind)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(data) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        body = data[start:]
        if server.breaks:
            server.breaks -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.files, http.log, http.breaks, http.ranges = {}, [], 0, True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    http.url = f"http://127.0.0.1:{http.server_port}"
    yield http
    http.shutdown()
    http.server_close()
    thread.join()


def offer(server, data=None, name="toy.zip", kind="application/zip", **changes) -> Card:
    data = zipped() if data is None else data
    server.files[f"/{name}"] = (data, kind)
    download = Download(name, (f"{server.url}/{name}",), sha(data), len(data), "test", "checked")
    return toy(downloads=(download,), **changes)


def assert_whole(card, root):
    raw = raw_folder(card, root)
    assert {p.relative_to(raw).as_posix(): p.read_bytes() for p in raw.rglob("*") if p.is_file()} == TEXT
    assert os.listdir(raw.parent) == ["raw"], "no downloads, no staging folders"


def assert_nothing(card, root):
    assert [p for p in (root / card.name).rglob("*")] == []


def test_downloads_checks_and_unpacks(server, tmp_path):
    card = offer(server)
    assert fetch(card, tmp_path, progress=False) == tmp_path / "toy" / "raw"
    assert_whole(card, tmp_path)
    assert [c.status for c in verify(card, tmp_path)] == ["OK"] * 3
    fetch(card, tmp_path, progress=False)
    assert len(server.log) == 1, "a second call is a no-op"


def test_a_broken_connection_is_continued_within_one_call(server, tmp_path):
    card = offer(server)
    server.breaks = 2
    target = retrieve(card.downloads[0].urls, card.downloads[0].sha256, tmp_path / "toy.zip", progress=False, wait=0.01)
    assert target.read_bytes() == zipped()
    size = len(zipped())
    starts = [int((asked or "bytes=0-")[6:-1]) for _, asked in server.log]
    assert starts[0] == 0 and 0 < starts[1] < starts[2] < size, "every try asks for the rest only"
    assert os.listdir(tmp_path) == ["toy.zip"]


def test_a_killed_download_is_continued_by_the_next_call(server, tmp_path):
    card = offer(server)
    downloads, url, hashed = tmp_path / "toy" / "downloads", card.downloads[0].urls, card.downloads[0].sha256
    server.breaks = 1
    with pytest.raises(InputError, match="broke off|IncompleteRead|Connection"):
        retrieve(url, hashed, downloads / "toy.zip", progress=False, attempts=1)
    kept = (downloads / "toy.zip.part").stat().st_size
    assert 0 < kept < len(zipped())
    fetch(card, tmp_path, progress=False)
    assert server.log[-1] == ("/toy.zip", f"bytes={kept}-")
    assert_whole(card, tmp_path)


def test_a_complete_part_needs_no_second_download(server, tmp_path):
    card = offer(server)
    (tmp_path / "toy.zip.part").write_bytes(zipped())
    (tmp_path / "toy.zip.part.mark").write_text(f'{card.downloads[0].urls[0]}\n"{sha(zipped())[:8]}"')
    retrieve(card.downloads[0].urls, card.downloads[0].sha256, tmp_path / "toy.zip", progress=False, wait=0.01)
    assert [asked for _, asked in server.log] == [f"bytes={len(zipped())}-"]


@pytest.mark.parametrize("ranges", [True, False], ids=["changed-file", "server-without-ranges"])
def test_what_cannot_be_continued_is_fetched_whole(server, tmp_path, ranges):
    """A file that changed meanwhile (other ETag) and a server that ignores Range both send it all."""
    card = offer(server)
    server.ranges = ranges
    mark = "old" if ranges else f"{sha(zipped())[:8]}"
    (tmp_path / "toy.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "toy.zip.part.mark").write_text(f'{card.downloads[0].urls[0]}\n"{mark}"')
    retrieve(card.downloads[0].urls, card.downloads[0].sha256, tmp_path / "toy.zip", progress=False)
    assert (tmp_path / "toy.zip").read_bytes() == zipped()


def test_a_part_of_another_address_is_not_continued(server, tmp_path):
    card = offer(server)
    (tmp_path / "toy.zip.part").write_bytes(b"x" * 1000)
    (tmp_path / "toy.zip.part.mark").write_text('http://elsewhere\n"abc"')
    downloader = Resuming(tmp_path / "toy.zip.part", progress=False)
    downloader(card.downloads[0].urls[0], str(tmp_path / "out"))
    assert server.log == [("/toy.zip", None)] and (tmp_path / "out").read_bytes() == zipped()


def test_a_wrong_hash_leaves_nothing_behind(server, tmp_path):
    card = offer(server)
    server.files["/toy.zip"] = (zipped(prefix="OTHER/"), "application/zip")
    with pytest.raises(InputError, match="could not download toy.zip.*hash.*By hand: .1. Open the page") as error:
        fetch(card, tmp_path, progress=False)
    assert "ltr data fetch toy --from toy.zip" in str(error.value)
    assert_nothing(card, tmp_path)


def test_mirrors_are_tried_in_order(server, tmp_path):
    card = offer(server)
    server.files["/page"] = (b"<html>sign in</html>", "text/html; charset=utf-8")
    urls = (f"{server.url}/gone", f"{server.url}/page", *card.downloads[0].urls)
    fetch(replace(card, downloads=(replace(card.downloads[0], urls=urls),)), tmp_path, progress=False)
    assert [path for path, _ in server.log] == ["/gone", "/page", "/toy.zip"]
    assert_whole(card, tmp_path)


def test_when_all_addresses_fail_each_reason_is_told(server, tmp_path):
    server.files["/page"] = (b"<html>sign in</html>", "text/html")
    card = toy(downloads=(Download("toy.zip", (f"{server.url}/gone", f"{server.url}/page")),))
    with pytest.raises(InputError, match=r"/gone: 404.*/page: the address answers with a web page.*By hand"):
        fetch(card, tmp_path, progress=False)
    assert_nothing(card, tmp_path)


def test_files_published_one_by_one(server, tmp_path):
    downloads = []
    for path, data in TEXT.items():
        server.files[f"/{path}"] = (data, "text/plain")
        downloads.append(Download(path, (f"{server.url}/{path}",), sha(data), len(data), "test", "checked"))
    card = toy(downloads=tuple(downloads))
    fetch(card, tmp_path, progress=False)
    assert_whole(card, tmp_path)


def test_a_licence_is_asked_for_before_anything_is_loaded(server, tmp_path):
    card = offer(server, licence=Licence("Owner's agreement", "Read it.", "read", "http://owner/licence", accept=True))
    with pytest.raises(InputError, match="Owner's agreement.*http://owner/licence.*--accept-licence"):
        fetch(card, tmp_path, progress=False)
    assert server.log == []
    fetch(card, tmp_path, progress=False, accept=True)
    assert_whole(card, tmp_path)


def test_by_hand_only(tmp_path):
    with pytest.raises(InputError, match=r"cannot be downloaded by a program\. By hand: \(1\) Open the page") as error:
        fetch(toy(), tmp_path)
    assert "(3) ltr data fetch toy --from toy.zip" in str(error.value)
    with pytest.raises(InputError, match="huggingface.co.*dataset.tgz.*--from ltrc_yahoo.tar.bz2"):
        fetch(load_card("yahoo-set1"), tmp_path)
    with pytest.raises(InputError, match="generated"):
        fetch(load_card("synthetic"), tmp_path)


# ------------------------------------------------------------------------------------------------ --from


def tar(tmp_path, kind="gz", files=TEXT, prefix="./TOY/"):
    path = tmp_path / f"toy.tar.{kind}"
    with tarfile.open(path, f"w:{kind}") as t:
        for name, data in files.items():
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    return path


def folder(tmp_path, files=TEXT, name="mine"):
    for path, data in files.items():
        (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / path).write_bytes(data)
    return tmp_path / name


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.bz2", "tar.xz", "folder", "folder-above", "folder-inside"])
def test_from_what_one_has(tmp_path, kind):
    if kind == "zip":
        source = tmp_path / "x.zip"
        source.write_bytes(zipped())
    elif kind.startswith("tar"):
        source = tar(tmp_path, kind.removeprefix("tar."))
    else:
        source = folder(tmp_path)
        source = {"folder": source, "folder-above": tmp_path, "folder-inside": source / "Fold1"}[kind]
    root = tmp_path / "data"
    fetch(toy(), root, source)
    assert_whole(toy(), root)


def test_a_folder_is_linked_not_copied_where_possible(tmp_path):
    source = folder(tmp_path)
    os.symlink(source / "Fold1" / "test.txt", tmp_path / "link.txt")
    fetch(toy(), tmp_path / "data", source)
    assert os.path.samefile(source / "Fold1/test.txt", tmp_path / "data/toy/raw/Fold1/test.txt")


@pytest.mark.parametrize("kind", ["zip", "folder", "tar"])
def test_a_wrong_file_is_refused_and_nothing_stays(tmp_path, kind):
    files = {**TEXT, "Fold1/vali.txt": b"tampered\n"}
    source = folder(tmp_path, files) if kind == "folder" else tar(tmp_path, files=files)
    if kind == "zip":
        source = tmp_path / "x.zip"
        source.write_bytes(zipped(files))
    with pytest.raises(InputError, match="Fold1/vali.txt: not the file the card knows; expected sha256"):
        fetch(toy(), tmp_path / "data", source)
    assert_nothing(toy(), tmp_path / "data")


def test_missing_doubled_and_absent_sources(tmp_path):
    root = tmp_path / "data"
    with pytest.raises(InputError, match="no such file or folder; expected toy.zip"):
        fetch(toy(), root, tmp_path / "nowhere")
    some = folder(tmp_path, {k: v for k, v in TEXT.items() if "vali" not in k}, "some")
    with pytest.raises(InputError, match="missing here; expected Fold1/vali.txt"):
        fetch(toy(), root, some)
    twice = folder(tmp_path, {f"{a}/{k}": v for k, v in TEXT.items() for a in "ab"}, "twice")
    with pytest.raises(InputError, match="more than once"):
        fetch(toy(), root, twice)
    assert_nothing(toy(), root)


def test_broken_archives(tmp_path):
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(tar(tmp_path).read_bytes()[:2000])
    text = tmp_path / "text.zip"
    text.write_text("not an archive")
    rar = tmp_path / "MQ2008.rar"
    rar.write_bytes(b"Rar!\x1a\x07\x00")
    for source, said in ((cut, "broken or unknown archive"), (text, "broken or unknown archive"), (rar, "Unpack it")):
        with pytest.raises(InputError, match=said):
            fetch(toy(), tmp_path / "data", source)
    assert_nothing(toy(), tmp_path / "data")


def test_names_come_from_the_card_not_from_the_archive(tmp_path):
    """Members that climb out of the folder, and links, are nobody's data."""
    source = tmp_path / "evil.tar.gz"
    with tarfile.open(source, "w:gz") as t:
        climbing = {f"../../{name}": data for name, data in TEXT.items()}
        for name, data in {**climbing, "../../evil.txt": b"x", "/abs.txt": b"y"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("TOY/Fold1/train.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        t.addfile(link)
    fetch(toy(), tmp_path / "data", source)
    assert_whole(toy(), tmp_path / "data")
    assert not list(tmp_path.rglob("evil.txt")) and not os.path.exists("/abs.txt")


def test_only_what_is_missing_is_filled_in(tmp_path):
    root = tmp_path / "data"
    fetch(toy(), root, folder(tmp_path))
    raw = raw_folder(toy(), root)
    (raw / "notes.md").write_text("mine")
    (raw / "Fold1/vali.txt").unlink()
    fetch(toy(), root, folder(tmp_path))
    assert (raw / "notes.md").read_text() == "mine" and (raw / "Fold1/vali.txt").read_bytes() == TEXT["Fold1/vali.txt"]


def test_an_archives_hash_stands_in_for_unknown_file_hashes(tmp_path):
    data = zipped()
    card = toy(
        files=Files(dict.fromkeys(TEXT, "")), downloads=(Download("toy.zip", (), sha(data), None, "test", "checked"),)
    )
    source = tmp_path / "toy.zip"
    source.write_bytes(zipped(prefix="CHANGED/"))
    with pytest.raises(InputError, match="not the file the card knows"):
        fetch(card, tmp_path / "data", source)
    source.write_bytes(data)
    fetch(card, tmp_path / "data", source)
    assert_whole(card, tmp_path / "data")


def test_verify_tells_the_four_states(tmp_path):
    hashes = {**toy().files.sha256, "Fold1/test.txt": ""}
    card = toy(files=Files({**hashes, "more.txt": ""}, "test", "checked"))
    raw = folder(tmp_path, {k: v for k, v in TEXT.items()}, "toy/raw")
    (raw / "Fold1/vali.txt").write_bytes(b"changed")
    checks = {c.path: c for c in verify(card, tmp_path)}
    assert {p: c.status for p, c in checks.items()} == {
        "Fold1/train.txt": "OK",
        "Fold1/vali.txt": "BAD",
        "Fold1/test.txt": "unknown",
        "more.txt": "missing",
    }
    assert checks["Fold1/test.txt"].sha256 == sha(TEXT["Fold1/test.txt"]) == sha256(raw / "Fold1/test.txt")
    assert checks["Fold1/vali.txt"].expected == sha(TEXT["Fold1/vali.txt"])


@pytest.mark.data
def test_the_real_mq2008_goes_in_by_its_folder(real_data, tmp_path):
    card = load_card("mq2008")
    fetch(card, tmp_path, real_data / "MQ2008")
    assert {c.status for c in verify(card, tmp_path)} == {"OK"}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(fetching, "PACKED_FROM", 1 << 20)
    source, big = tmp_path / f"toy.{kind}", b"0" * (8 << 20)
    if kind == "zip":
        with zipfile.ZipFile(source, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("Fold1/train.txt", big)
    else:
        with tarfile.open(source, "w:gz") as archive:
            info = tarfile.TarInfo("not/wanted.bin")
            info.size = len(big)
            archive.addfile(info, io.BytesIO(big))
    with pytest.raises(InputError, match="unpacks to far more than it can hold; expected at most 200 times its size"):
        fetch(toy(), tmp_path / "data", source)
    assert not (tmp_path / "data" / "toy" / "raw").exists()
