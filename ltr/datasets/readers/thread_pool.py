"""The threads of a conversion: files side by side, and the chunks of each by whoever has time.

Files have threads of their own, which read, hash and write; the chunks of all files are parsed by one pool of as many
threads. So a single large file and the last of many are parsed by all of them, and what is held in memory is a few
chunks for each.

What comes out does not depend on the threads: results stand in the order of the items, and where several items fail the
first of them in that order raises, as if they had been worked off one after another.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from ltr.errors import InputError

__all__ = ["Stopped", "ThreadPool"]

MOST = 4  # threads by default: what they read comes from one disk


class Stopped(BaseException):
    """Raised by the `check` of an item that is no longer wanted; never leaves `ThreadPool.each`."""


class ThreadPool:
    """Threads for `each` and, within one of its items or by itself, for `ahead`.

    Args:
        threads: how many parse; the processor's by default, at most `MOST`.

    Raises:
        InputError: fewer than one thread.
    """

    def __init__(self, threads: int | None = None):
        if threads is not None and threads < 1:
            raise InputError("threads", expected="a whole number above 0", came=threads)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = threads or min(MOST, cores)
        self._chunks: ThreadPoolExecutor | None = None  # during `each`
        self._files = 1  # at work at the same time

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
        end = len(items)  # items from here on are not wanted any more
        results: list[Any] = [None] * end
        errors: dict[int, BaseException] = {}

        def check(k: int) -> None:
            if k >= end:
                raise Stopped

        def run(k: int) -> None:
            nonlocal end
            try:
                check(k)
                results[k] = work(items[k], lambda: check(k))
            except Stopped:
                pass
            except BaseException as error:
                errors[k] = error
                # Items before a bad one may be bad, too; an interrupt is meant for all.
                end = min(end, k if isinstance(error, Exception) else 0)

        try:
            with self._executor() as chunks, self._executor() as pool:  # leaving them waits for all of their work
                self._chunks, self._files = chunks, min(self.threads, len(items))
                try:
                    at_work = [pool.submit(run, k) for k in sorted(range(end), key=lambda k: -size(items[k]))]
                    while wait(at_work, timeout=0.1).not_done:
                        pass  # awake now and then: a signal that another thread caught is handled in this one
                except BaseException:  # Ctrl-C
                    end = 0
                    raise
        finally:
            self._chunks, self._files = None, 1
        if errors:
            raise errors[min(errors)]
        return results

    def ahead(self, work: Callable[[Any], Any], items: Iterable) -> Iterator:
        """work(item) for each item, in order, by the threads for chunks."""
        if self.threads == 1:
            yield from map(work, items)
        elif self._chunks is not None:
            yield from self._in_order(self._chunks, work, items)
        else:
            with self._executor() as pool:
                yield from self._in_order(pool, work, items)

    def _executor(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="ltr")

    def _in_order(self, pool: ThreadPoolExecutor, work: Callable[[Any], Any], items: Iterable) -> Iterator:
        waiting: deque[Future] = deque()
        most, broken = 1 + self.threads // self._files, None
        items = iter(items)
        try:
            while broken is None:
                try:
                    waiting.append(pool.submit(work, next(items)))
                except StopIteration:
                    break
                except Exception as error:  # what came before it is told before it, as with one thread
                    broken = error
                while waiting and (waiting[0].done() or len(waiting) > most):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            if broken is not None:
                raise broken
        finally:
            for chunk in waiting:  # an error came before them: nobody wants them
                chunk.cancel()
