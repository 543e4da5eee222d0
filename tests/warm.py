"""Commands in processes of their own that need not load torch and Lightning again, which takes seven seconds each time.

    process = Warm(["-m", "ltr", "train", ...])      # as subprocess.Popen([sys.executable, "-m", "ltr", ...])
    process.end()                                     # exit code, what it said on stdout and on stderr

They are forked from one process, which has loaded both and in which nothing else happened, as the workers of a suite
are. What a test says of imports, or of warnings while they last, needs a fresh interpreter.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
import time
from pathlib import Path

LOADED = ["torch", "ltr.bench.execution.workers", "ltr.rankers.training.loop"]  # what a pool of the suite loads
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000


class Warm:
    """A process that does what `python *words` does.

    Args:
        words: "-m MODULE ...", "-c CODE ..." or "SCRIPT ...".
        cwd: where; the current folder by default.
        env: variables beside those of this process.
        apart: in a network of its own, with nobody in it.
    """

    def __init__(self, words, cwd=None, env=None, apart=False):
        words, self.folder = [str(word) for word in words], tempfile.TemporaryDirectory()
        self.streams = [Path(self.folder.name) / name for name in ("stdout", "stderr")]
        for stream in self.streams:
            stream.touch()
        if sys.platform == "linux":
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(LOADED)
        else:
            context = multiprocessing.get_context("spawn")
        told = words, str(cwd or Path.cwd()), {**os.environ, **(env or {})}, list(map(str, self.streams)), apart
        self.process = context.Process(target=_become, args=told)
        self.process.start()
        self.pid = self.process.pid

    def said(self) -> list[str]:
        """On stdout and stderr, so far."""
        return [stream.read_text() for stream in self.streams]

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.exitcode

    def end(self, seconds: float = 250.0) -> tuple[int, str, str]:
        """Waits for its end: exit code (the negative number of the signal that ended it), stdout, stderr."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, self.said()
        return self.process.exitcode, *self.said()

    def line(self, seconds: float = 250.0) -> str:
        """The first line it says."""
        until = time.monotonic() + seconds
        while "\n" not in (text := self.said()[0]):
            assert self.poll() is None and time.monotonic() < until, self.said()
            time.sleep(0.02)
        return text.partition("\n")[0]

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_) -> None:
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.folder.cleanup()


def _become(words, folder, environment, streams, apart) -> None:
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, stream in enumerate(streams, 1):
        file = os.open(stream, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, number)
        os.close(file)
    if apart:
        _alone()
    for path in filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)):
        sys.path.insert(0, path)
    if words[0] == "-m":
        sys.path.insert(0, folder)
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.path.insert(0, folder)
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        script = Path(folder, words[0])
        sys.path.insert(0, str(script.parent))
        sys.argv = [str(script), *words[1:]]
        runpy.run_path(str(script), run_name="__main__")


def _alone() -> None:
    """What `unshare --map-root-user --net` does."""
    libc, user, group = ctypes.CDLL(None, use_errno=True), os.getuid(), os.getgid()
    if libc.unshare(_NEW_USER | _NEW_NETWORK):
        raise OSError(ctypes.get_errno(), "no network of its own")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
