"""The threads of a conversion: files side by side, and chunks of one file wherever a thread has nothing to do.

There are `threads` threads, never more. Each takes a file, reads, parses and writes it; one that finds no further file
parses chunks of the files of others. So a single large file and the last of many are parsed by all threads, and what is
held in memory is a few chunks for each thread.

What comes out does not depend on the threads: results stand in the order of the items, and where several items fail the
first of them in that order raises, as if they had been worked off one after another.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from ltr.errors import InputError

__all__ = ["Crew", "Stopped"]

MOST = 4  # threads by default: what they read comes from one disk


class Stopped(BaseException):
    """Raised by the `check` of an item that is no longer wanted; never leaves `Crew.each`."""


class Crew:
    """Threads for `each` and, within one of its items or by itself, for `ahead`.

    Args:
        threads: how many; the processor's by default, at most `MOST`.

    Raises:
        InputError: fewer than one thread.
    """

    def __init__(self, threads: int | None = None):
        if threads is not None and threads < 1:
            raise InputError("threads", expected="a whole number above 0", came=threads)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = threads or min(MOST, cores)
        self._changed = threading.Condition()  # guards what follows
        self._owners = 0  # threads that have an item of their own
        self._helpers = 0  # threads that wait for chunks, or work on one
        self._chunks: deque[_Chunk] = deque()  # that nobody has begun

    def each(
        self,
        work: Callable[[Any, Callable[[], None]], Any],
        items: Iterable,
        size: Callable[[Any], float] = lambda item: 0,
    ) -> list:
        """[work(item, check) for item in items], as many at a time as there are threads.

        Args:
            size: of an item; the largest begin first, so that none is left alone at the end.
            work: calls `check()` every now and then, which raises `Stopped` once nobody wants the item: an item before
                it failed, or somebody was interrupted. Either is raised here when every thread has come to rest.
        """
        items = list(items)
        if self.threads == 1 or not items:
            return [work(item, lambda: None) for item in items]
        return _Items(self, work, items, size).run()

    def ahead(self, work: Callable[[Any], Any], items: Iterable) -> Iterator:
        """work(item) for each item, in order; other threads help where they have nothing else to do."""
        if self._owners or self.threads == 1:
            yield from self._in_order(work, items)
            return
        with ThreadPoolExecutor(self.threads - 1, thread_name_prefix="ltr-chunk") as pool:
            self._count(owners=1, helpers=self.threads - 1)
            try:
                for _ in range(self.threads - 1):
                    pool.submit(self._help)
                yield from self._in_order(work, items)
            finally:
                self._count(owners=-1)

    def _in_order(self, work, items) -> Iterator:
        waiting: deque[_Chunk] = deque()
        items = iter(items)
        try:
            while True:
                try:
                    item = next(items)
                except StopIteration:
                    break
                except Exception:  # what came before it is told before it, as with one thread
                    yield from self._results(waiting, 0)
                    raise
                if not waiting and not self._helpers:
                    yield work(item)
                    continue
                waiting.append(_Chunk(work, item))
                with self._changed:
                    self._chunks.append(waiting[-1])
                    self._changed.notify()
                yield from self._results(waiting, 1 + self.threads // max(1, self._owners))
            yield from self._results(waiting, 0)
        finally:
            for chunk in waiting:  # an error came before them: nobody wants them
                self._withdrawn(chunk)

    def _results(self, waiting: deque[_Chunk], most: int) -> Iterator:
        """What is done, and as much more as leaves at most so many waiting."""
        while waiting and (waiting[0].done() or len(waiting) > most):
            while not waiting[0].done():
                # The helpers are behind: this thread does what none of them has begun.
                own = next((chunk for chunk in waiting if self._withdrawn(chunk)), None)
                if own is None:
                    break
                own.run()
            yield waiting.popleft().result()

    def _withdrawn(self, chunk: _Chunk) -> bool:
        with self._changed:
            if chunk not in self._chunks:
                return False
            self._chunks.remove(chunk)
            return True

    def _count(self, owners: int = 0, helpers: int = 0) -> None:
        with self._changed:
            self._owners += owners
            self._helpers += helpers
            self._changed.notify_all()

    def _help(self) -> None:
        """Works on chunks until nobody has an item any more."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._chunks or not self._owners)
                if not self._chunks:
                    self._helpers -= 1
                    return
                chunk = self._chunks.popleft()
            chunk.run()


class _Chunk(Future):
    """A piece of work that whoever has time does."""

    def __init__(self, work, item):
        super().__init__()
        self.work, self.item = work, item

    def run(self) -> None:
        try:
            self.set_result(self.work(self.item))
        except BaseException as error:  # raised where the result is asked for
            self.set_exception(error)


class _Items:
    """One call of `Crew.each` on several threads."""

    def __init__(self, crew: Crew, work, items: Sequence, size):
        self.crew, self.work, self.items = crew, work, items
        self.lock = threading.Lock()
        self.order = iter(sorted(range(len(items)), key=lambda k: -size(items[k])))
        self.end = len(items)  # items from here on are not wanted any more
        self.results: list[Any] = [None] * len(items)
        self.errors: dict[int, BaseException] = {}

    def run(self) -> list:
        threads = self.crew.threads
        self.crew._count(owners=threads)
        with ThreadPoolExecutor(threads, thread_name_prefix="ltr-file") as pool:  # leaving it waits for all of them
            try:
                at_work = [pool.submit(self.thread) for _ in range(threads)]
                while wait(at_work, timeout=0.1).not_done:
                    pass  # awake now and then: a signal that another thread caught is handled in this one
            except BaseException:  # Ctrl-C
                self.end = 0
                raise
        if self.errors:
            raise self.errors[min(self.errors)]
        return self.results

    def thread(self) -> None:
        while (k := self.take()) is not None:
            try:
                self.results[k] = self.work(self.items[k], lambda k=k: self.check(k))
            except Stopped:
                pass
            except BaseException as error:
                with self.lock:
                    self.errors[k] = error
                    # Items before a bad one may be bad, too; an interrupt is meant for all.
                    self.end = min(self.end, k if isinstance(error, Exception) else 0)
        self.crew._count(owners=-1, helpers=1)
        self.crew._help()

    def take(self) -> int | None:
        with self.lock:
            return next((k for k in self.order if k < self.end), None)

    def check(self, k: int) -> None:
        if k >= self.end:
            raise Stopped
