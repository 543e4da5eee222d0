"""The threads of a conversion: files side by side, and chunks of one file wherever a thread has nothing to do.

One `ThreadPoolExecutor` does both. Files stand first in its queue, so threads take files while there are any and then
chunks of the files of others; a file that waits for a chunk nobody has begun takes it back and does it itself. So a
single large file and the last of many are parsed by all threads, no more threads than asked for ever work, and what is
held in memory is a few chunks for each.

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
        threads: how many; the processor's by default, at most `MOST`.

    Raises:
        InputError: fewer than one thread.
    """

    def __init__(self, threads: int | None = None):
        if threads is not None and threads < 1:
            raise InputError("threads", expected="a whole number above 0", came=threads)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.threads = threads or min(MOST, cores)
        self._pool: ThreadPoolExecutor | None = None  # during `each`
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
            with ThreadPoolExecutor(self.threads, thread_name_prefix="ltr") as pool:  # leaving it waits for all of them
                self._pool, self._files = pool, min(self.threads, len(items))
                try:
                    at_work = [pool.submit(run, k) for k in sorted(range(end), key=lambda k: -size(items[k]))]
                    while wait(at_work, timeout=0.1).not_done:
                        pass  # awake now and then: a signal that another thread caught is handled in this one
                except BaseException:  # Ctrl-C
                    end = 0
                    raise
        finally:
            self._pool, self._files = None, 1
        if errors:
            raise errors[min(errors)]
        return results

    def ahead(self, work: Callable[[Any], Any], items: Iterable) -> Iterator:
        """work(item) for each item, in order; other threads help where they have nothing else to do."""
        if self.threads == 1:
            yield from map(work, items)
        elif self._pool is not None:
            yield from self._in_order(self._pool, work, items)
        else:
            with ThreadPoolExecutor(self.threads - 1, thread_name_prefix="ltr-chunk") as pool:
                yield from self._in_order(pool, work, items)

    def _in_order(self, pool: ThreadPoolExecutor, work, items) -> Iterator:
        waiting: deque[_Chunk] = deque()
        items = iter(items)
        most = 1 + self.threads // self._files
        try:
            while True:
                try:
                    item = next(items)
                except StopIteration:
                    break
                except Exception:  # what came before it is told before it, as with one thread
                    while waiting:
                        yield self._next(waiting)
                    raise
                waiting.append(_Chunk(pool, work, item))
                while waiting and (waiting[0].future.done() or len(waiting) > most):
                    yield self._next(waiting)
            while waiting:
                yield self._next(waiting)
        finally:
            for chunk in waiting:  # an error came before them: nobody wants them
                chunk.take_back()

    def _next(self, waiting: deque[_Chunk]):
        """The first result; while it is not there, this thread does what no other has begun."""
        while not waiting[0].future.done():
            own = next((chunk for chunk in waiting if chunk.take_back()), None)
            if own is None:
                break
            own.do()
        return waiting.popleft().future.result()


class _Chunk:
    """A piece of work that whoever has time does; the pool's queue holds no text of what was taken back."""

    def __init__(self, pool: ThreadPoolExecutor, work, item):
        self.work, self.item = work, item
        self.future: Future = pool.submit(self._run)

    def _run(self):
        item, self.item = self.item, None
        return self.work(item)

    def take_back(self) -> bool:
        """Whether no thread had begun it: then none will."""
        return self.future.cancel()

    def do(self) -> None:
        """Done in this thread, after it was taken back."""
        self.future = Future()
        try:
            self.future.set_result(self._run())
        except BaseException as error:  # raised where the result is asked for
            self.future.set_exception(error)
