"""A downloader for pooch that continues where it stopped.

pooch checks hashes and moves files into place, but starts a broken download again from its first byte, which is no way
to fetch 3.8 GB. This one keeps `NAME.part` and the server's version mark beside the target and asks for the rest
(HTTP Range with If-Range, RFC 9110 13.1.5 and 14.2), so a file that changed meanwhile is fetched whole, never spliced.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from ltr.errors import InputError

__all__ = ["Resuming", "retrieve"]

CHUNK = 1 << 16  # a broken connection loses less than this


class Resuming:
    """Callable as pooch wants its downloaders: `(url, output_file, pooch)`.

    Args:
        part: where the unfinished file is kept between calls.
        progress: a bar on a terminal.
        attempts: tries before giving up; every try continues the last.
        wait: seconds before the second try; doubled each time.
    """

    def __init__(self, part: Path, *, progress: bool = True, attempts: int = 5, wait: float = 1.0):
        self.part, self.progress, self.attempts, self.wait = part, progress, attempts, wait
        self.mark = part.with_name(part.name + ".mark")  # address and ETag or Last-Modified of what `part` holds

    def __call__(self, url: str, output_file: str, pooch: object = None) -> None:
        import requests  # pooch brings it; slow to import

        for attempt in range(self.attempts):
            try:
                self._continue(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if attempt == self.attempts - 1:
                    raise
                time.sleep(self.wait * 2**attempt)
        os.replace(self.part, output_file)
        self.mark.unlink(missing_ok=True)

    def _continue(self, url: str) -> None:
        import requests

        have, mark = self._kept(url)
        # Range counts bytes of the body as sent, so no compression on the way.
        headers = {"User-Agent": "ltr", "Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", "If-Range": mark}
        with requests.get(url, headers=headers, stream=True, timeout=60) as reply:
            if reply.status_code == 416:  # nothing lies after our last byte
                if reply.headers.get("Content-Range") == f"bytes */{have}":
                    return
                self.mark.unlink()  # the next try begins anew
                raise requests.ConnectionError(f"{url} cannot continue at byte {have:,}")
            reply.raise_for_status()
            if "text/html" in reply.headers.get("Content-Type", ""):
                raise InputError("the address answers with a web page, not with the file", file=url)
            resumed = reply.status_code == 206 and reply.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            if not resumed:
                have = 0
            length = reply.headers.get("Content-Length")
            total = have + int(length) if length else None
            self.mark.write_text(f"{url}\n{reply.headers.get('ETag') or reply.headers.get('Last-Modified') or ''}")
            with open(self.part, "ab" if resumed else "wb") as f, self._bar(total, have) as bar:
                for chunk in reply.iter_content(CHUNK):
                    f.write(chunk)
                    bar.update(len(chunk))
            if total is not None and self.part.stat().st_size != total:
                raise requests.ConnectionError(f"{url} broke off at {self.part.stat().st_size:,} of {total:,} bytes")

    def _kept(self, url: str) -> tuple[int, str]:
        """Bytes we may continue after, and the mark that says of which version they are."""
        if not (self.part.is_file() and self.mark.is_file()):
            return 0, ""
        address, _, mark = self.mark.read_text().partition("\n")
        # A weak ETag promises the same meaning, not the same bytes.
        return (self.part.stat().st_size, mark) if address == url and mark and not mark.startswith("W/") else (0, "")

    def _bar(self, total: int | None, have: int):
        from tqdm import tqdm

        quiet = None if self.progress else True  # None: no bar where stderr is not a terminal
        name = self.part.name.removesuffix(".part")
        return tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=name, disable=quiet)


def retrieve(urls, sha256: str, target: Path, *, progress: bool = True, attempts: int = 5, wait: float = 1.0) -> Path:
    """The first of `urls` that gives the file with this hash, at `target`.

    A download that breaks is continued by the next call. A file with the wrong hash is deleted.

    Raises:
        InputError: no address gave it; the reason of each is in the message.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # the bar says it already
    failed = []
    for url in urls:
        downloader = Resuming(target.with_name(target.name + ".part"), progress=progress, attempts=attempts, wait=wait)
        try:
            known = f"sha256:{sha256}" if sha256 else None
            return Path(pooch.retrieve(url, known, fname=target.name, path=target.parent, downloader=downloader))
        except InputError as error:
            failed.append(f"{url}: {error.what}")
        except ValueError as error:  # pooch's word for a wrong hash
            failed.append(f"{url}: {str(error).splitlines()[0]}")
        except (requests.RequestException, OSError) as error:
            failed.append(f"{url}: {error}")
    raise InputError(f"could not download {target.name}", do="; ".join(failed))
