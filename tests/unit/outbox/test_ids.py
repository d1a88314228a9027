"""UUIDv7: rising in a process, also across threads; never twice, also across forks."""

import multiprocessing
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cdc.outbox.event import new_event_id

# Python 3.12 and later warn of a fork beside threads; pytest-timeout has one.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

CHILDREN = 8
EACH = 62_500


def _make(_: int) -> bytes:
    return b"".join(new_event_id().bytes for _ in range(EACH))


def _cut(packed: bytes) -> list[bytes]:
    return [one for (one,) in struct.iter_unpack("16s", packed)]


def test_half_a_million_over_eight_forked_processes_are_distinct() -> None:
    new_event_id()  # the children inherit a source that was used
    with multiprocessing.get_context("fork").Pool(CHILDREN) as pool:
        parts = [_cut(packed) for packed in pool.map(_make, range(CHILDREN), chunksize=1)]
    assert all(part == sorted(part) for part in parts)
    assert len({one for part in parts for one in part}) == CHILDREN * EACH


def test_children_forked_in_the_same_millisecond_are_distinct() -> None:
    new_event_id()
    pipes = []
    for _ in range(40):
        reading, writing = os.pipe()
        if (child := os.fork()) == 0:
            os.write(writing, b"".join(new_event_id().bytes for _ in range(100)))
            os._exit(0)
        os.close(writing)
        pipes.append((reading, child))
    packed = b""
    for reading, child in pipes:
        with os.fdopen(reading, "rb") as file:
            packed += file.read()
        os.waitpid(child, 0)
    assert len(set(_cut(packed))) == 40 * 100


def test_ids_rise_across_threads() -> None:
    lock, seen = threading.Lock(), []

    def work() -> None:
        for _ in range(5_000):
            with lock:  # the order in which they are made
                seen.append(new_event_id())

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work) for _ in range(8)]:
            done.result()
    assert seen == sorted(seen)
    assert len(set(seen)) == 40_000
