"""Threads of a conversion: order, bounds, the first error, interrupts."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from ltr.datasets.readers.thread_pool import ThreadPool
from ltr.errors import InputError

SOON = 10  # seconds no wait here should ever take


class Busy:
    """Counts who works at the same time."""

    def __init__(self):
        self.now, self.most, self.names, self.lock = 0, 0, set(), threading.Lock()

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.names.add(threading.current_thread().name)

    def __exit__(self, *problem):
        with self.lock:
            self.now -= 1


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("files", [1, 2, 5])
def test_order_and_bounds(threads, files):
    """Chunks of files come in order, and no more threads work than there are."""
    busy = Busy()

    def parse(chunk):
        with busy:
            time.sleep(0.001 * (chunk % 3))  # later ones are done first
            return chunk * chunk

    def read(file, check):
        check()
        return list(pool.ahead(parse, range(10 * file, 10 * file + 9)))

    pool = ThreadPool(threads)
    for _ in range(2):
        found = pool.each(read, range(files), size=lambda file: file % 2)
        assert found == [[k * k for k in range(10 * f, 10 * f + 9)] for f in range(files)]
    assert busy.most <= threads
    assert threads == 1 or len(busy.names) > 1


def test_a_file_alone_is_parsed_by_all_threads():
    meet = threading.Barrier(3, timeout=SOON)  # passed by three at a time, or the test fails

    def parse(chunk):
        if chunk < 3:
            meet.wait()
        return chunk

    assert list(ThreadPool(3).ahead(parse, range(9))) == list(range(9))


def test_the_last_file_gets_the_threads_of_the_others():
    meet, pool = threading.Barrier(2, timeout=SOON), ThreadPool(2)

    def parse(chunk):
        if chunk < 2:
            meet.wait()
        return chunk

    def read(file, check):
        if file == 0:
            return None
        return list(pool.ahead(parse, range(5)))

    assert pool.each(read, [0, 1])[1] == list(range(5))


def test_a_slow_chunk_holds_back_the_rest():
    """What waits behind it stays a few chunks."""
    taken, free = [], threading.Event()

    def chunks():
        for k in range(100):
            taken.append(k)
            yield k

    def parse(chunk):
        if chunk == 0:
            assert free.wait(SOON)
        return chunk

    found = []

    def run():
        found.extend(ThreadPool(2).ahead(parse, chunks()))

    runner = threading.Thread(target=run)
    runner.start()
    time.sleep(0.1)
    assert len(taken) <= 4
    free.set()
    runner.join(SOON)
    assert found == list(range(100))


def test_the_first_file_with_an_error_is_named():
    """Also where a later one fails first; files behind it are not begun, files before it still are."""
    failed, begun, ended = threading.Event(), [], []

    def read(file, check):
        begun.append(file)
        if file == 2:
            failed.set()
            raise InputError("wrong", came=2)
        if file == 1:
            raise InputError("wrong", came=1)
        assert failed.wait(SOON)
        time.sleep(0.05)
        check()
        ended.append(file)

    with pytest.raises(InputError, match="came 1"):
        ThreadPool(2).each(read, range(9), size=lambda file: file == 2)
    assert ended == [0]
    assert sorted(begun) == [0, 1, 2]


def test_files_behind_a_bad_one_are_stopped():
    second, stopped = threading.Event(), []

    def read(file, check):
        if file == 0:
            assert second.wait(SOON)
            raise InputError("wrong")
        second.set()
        began = time.monotonic()
        try:
            while time.monotonic() < began + SOON:
                check()
                time.sleep(0.001)
        finally:
            stopped.append(time.monotonic() - began < SOON)

    with pytest.raises(InputError, match="wrong"):
        ThreadPool(2).each(read, [0, 1])
    assert stopped == [True]


@pytest.mark.parametrize("where", ["a thread", "the main thread"])
def test_an_interrupt_stops_every_file(where):
    both, ended = threading.Barrier(2, timeout=SOON), []

    def read(file, check):
        both.wait()
        if file == 1 and where == "a thread":
            raise KeyboardInterrupt
        if file == 1:
            signal.raise_signal(signal.SIGINT)  # Python runs its handler in the main thread
        began = time.monotonic()
        while time.monotonic() < began + SOON:
            check()
            time.sleep(0.001)
        ended.append(file)

    with pytest.raises(KeyboardInterrupt):
        ThreadPool(2).each(read, [0, 1])
    assert ended == []


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_what_came_before_a_broken_chunk_is_told_before_it(threads):
    def chunks():
        yield from (3, 2, 1)
        raise InputError("the file is broken")

    def parse(chunk):
        time.sleep(0.01 * chunk)
        return chunk

    found, pool = [], ThreadPool(threads)
    with pytest.raises(InputError, match="the file is broken"):
        for chunk in pool.ahead(parse, chunks()):
            found.append(chunk)
    assert found == [3, 2, 1]


def test_an_error_in_a_chunk_comes_in_its_turn():
    def parse(chunk):
        if chunk == 2:
            raise InputError("wrong chunk")
        time.sleep(0.01 if chunk < 2 else 0)
        return chunk

    found, pool = [], ThreadPool(3)
    with pytest.raises(InputError, match="wrong chunk"):
        for chunk in pool.ahead(parse, range(9)):
            found.append(chunk)
    assert found == [0, 1]


def test_no_threads_at_all():
    with pytest.raises(InputError, match="threads; expected a whole number above 0; came 0"):
        ThreadPool(0)
    assert 1 <= ThreadPool().threads <= 4
