"""A headless Chromium on a pipe, spoken to in its DevTools protocol: no driver, no port, no library.

    with Browser.start(find(), folder) as browser:
        page = browser.open(path, width=1200, height=900)
        page.run("document.title")

Keys and the mouse reach the page as a person's do; what it complains of or asks the network for can be read back.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# The protocol's pipe is file descriptors 3 (in) and 4 (out): ours are put there, then the browser takes over.
LAUNCH = "import os, sys; os.dup2(0, 3); os.dup2(1, 4); os.dup2(2, 1); os.execv(sys.argv[1], sys.argv[1:])"
KEYS = {
    "Tab": 9,
    "Enter": 13,
    " ": 32,
    "End": 35,
    "Home": 36,
    "ArrowLeft": 37,
    "ArrowUp": 38,
    "ArrowRight": 39,
    "ArrowDown": 40,
}


def find() -> str | None:
    """The browser of this machine, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    def __init__(self, process: subprocess.Popen):
        self.process = process
        self.number, self.answers, self.events, self.rest = 0, {}, [], b""

    @classmethod
    def start(cls, program: str, folder: Path) -> Browser:
        """Starts it with a profile of its own in `folder`; its sandbox wants privileges that containers do not give."""
        options = [
            "--headless=new",
            "--remote-debugging-pipe",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-extensions",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}",
            "--disable-background-networking",
            "--disable-component-update",
            "--force-color-profile=srgb",
            "about:blank",
        ]
        log = open(folder / "browser.log", "wb")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
        process = subprocess.Popen([sys.executable, "-c", LAUNCH, program, *options], **pipes)
        log.close()
        return cls(process)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        try:
            self.ask("Browser.close", wait=10)
        except (OSError, TimeoutError):
            self.process.kill()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def ask(self, method: str, session: str | None = None, wait: float = 60, **params) -> dict[str, Any]:
        """Sends a command and returns its result."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        os.write(self.process.stdin.fileno(), json.dumps(message).encode() + b"\0")
        until = time.monotonic() + wait
        while self.number not in self.answers:
            self._read(until)
        answer = self.answers.pop(self.number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    def _read(self, until: float) -> None:
        """Takes in what the browser says next."""
        ready, _, _ = select.select([self.process.stdout], [], [], max(0, until - time.monotonic()))
        if not ready:
            raise TimeoutError("the browser does not answer")
        more = os.read(self.process.stdout.fileno(), 1 << 20)
        if not more:
            raise OSError(f"the browser is gone, exit status {self.process.poll()}")
        *whole, self.rest = (self.rest + more).split(b"\0")
        for text in whole:
            message = json.loads(text)
            if "id" in message:
                self.answers[message["id"]] = message
            else:
                self.events.append(message)

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> Page:
        """Loads a file in a new tab of this size, and waits until its tools are there."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        page.size(width, height)
        page.ask(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}],
        )
        page.ask("Page.navigate", url=path.resolve().as_uri())
        page.wait_for("document.readyState === 'complete'")
        page.wait_for("[...document.querySelectorAll('.tool')].every((tool) => tool.children.length)")
        page.settle()
        return page


class Page:
    def __init__(self, browser: Browser, session: str, target: str):
        self.browser, self.session, self.target = browser, session, target

    def ask(self, method: str, **params) -> dict[str, Any]:
        return self.browser.ask(method, self.session, **params)

    def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        found = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            details = found["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description", details["text"]))
        return found["result"].get("value")

    def wait_for(self, script: str, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < until, f"never true: {script}"
            time.sleep(0.02)

    def settle(self) -> None:
        """Waits until what was asked for is drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")

    def size(self, width: int, height: int) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def press(self, key: str, times: int = 1) -> None:
        """A key of the keyboard, as a person presses it."""
        text = {"Enter": "\r", " ": " "}.get(key)
        for _ in range(times):
            facts = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": KEYS[key]}
            self.ask(
                "Input.dispatchKeyEvent",
                type="keyDown" if text else "rawKeyDown",
                **facts,
                **({"text": text} if text else {}),
            )
            self.ask("Input.dispatchKeyEvent", type="keyUp", **facts)
        self.settle()

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Moves the mouse ("mouseMoved"), or clicks ("click"), at a point of the window."""
        if kind != "click":
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y)
        else:
            for each in ("mousePressed", "mouseReleased"):
                self.ask("Input.dispatchMouseEvent", type=each, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def picture(self, path: Path, whole: bool = True) -> Path:
        """A screenshot of the window or of the whole page."""
        found = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
        return path

    def complaints(self) -> list[str]:
        """Exceptions, console errors and warnings, and what was asked of the network."""
        self.settle()
        said = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            name, facts = event["method"], event["params"]
            if name == "Runtime.exceptionThrown":
                said.append(facts["exceptionDetails"].get("exception", {}).get("description", "exception"))
            elif name == "Runtime.consoleAPICalled" and facts["type"] in ("error", "warning", "assert"):
                said.append(str([a.get("value") for a in facts["args"]]))
            elif name == "Log.entryAdded" and facts["entry"]["level"] in ("error", "warning"):
                said.append(facts["entry"]["text"])
            elif name == "Network.requestWillBeSent" and not facts["request"]["url"].startswith(("file:", "data:")):
                said.append(f"asks for {facts['request']['url']}")
        return said

    def close(self) -> None:
        self.browser.ask("Target.closeTarget", targetId=self.target)
