"""From COMMIT's return in the writer to the record in a read_committed consumer, beside a Kafka transaction alone.

The lone transaction (`lone.py`, a process of its own) is the floor: from its begin to the consumer, with one record and one
position, as the tailer's has. Contestants take turns in every round; the first second of each is not counted.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from cdc.outbox.table import ddl
from tests.bench.measure import Rounds, percentile
from tests.bench.reading import say
from tests.bench.tailing import OURS, PARTITIONS, THEIRS, Bench, ended
from tests.running import CDC, COMPILED
from tests.servers import unique

LONE = "a Kafka transaction alone"
LONE_RATE = 20
"""Far from what would make one wait for the other."""
CONTESTANTS = ((LONE, LONE_RATE), (OURS, 20), (THEIRS, 20), (OURS, 500), (THEIRS, 500))


def at(rate: int) -> str:
    return f"{rate} events/s"


def compare(bench: Bench, seconds: float, rounds: int) -> Rounds:
    out: Rounds = {}
    for number in range(rounds):
        for name, rate in CONTESTANTS:
            waits = lone(bench, seconds) if name == LONE else written(bench, name, rate, seconds)
            figures = {f"latency_ms_{label}": 1000 * percentile(waits, p) for label, p in (("p50", 0.5), ("p99", 0.99))}
            out.setdefault(name, {}).setdefault(at(rate), []).append(figures)
            p50, p99 = figures.values()
            say(f"round {number + 1}: {name} at {rate}/s: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return out


@dataclass
class Watched:
    """When records arrived, by key, and what they held."""

    arrived: dict[bytes, float] = field(default_factory=dict)
    values: dict[bytes, bytes] = field(default_factory=dict)

    def until(self, keys: set[bytes], seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not keys <= self.arrived.keys():
            if time.monotonic() > deadline:
                raise SystemExit(f"{len(keys - self.arrived.keys())} of {len(keys)} records did not come")
            time.sleep(0.02)


@contextmanager
def watching(bench: Bench, topic: str) -> Iterator[Watched]:
    watched, over = Watched(), threading.Event()
    consumer = Consumer({
        "bootstrap.servers": bench.kafka.bootstrap, "group.id": unique("bench"), "isolation.level": "read_committed",
        "enable.auto.commit": False, "fetch.wait.max.ms": 20, "log_level": 0})  # fmt: skip
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(PARTITIONS)])

    def consume() -> None:
        while not over.is_set():
            message = consumer.poll(0.05)
            if message is not None and message.error() is None:
                key = message.key() or b""
                watched.arrived[key], watched.values[key] = time.monotonic(), message.value() or b""
        consumer.close()

    thread = threading.Thread(target=consume)
    thread.start()
    try:
        yield watched
    finally:
        over.set()
        thread.join()


@contextmanager
def running(bench: Bench, command: list[object]) -> Iterator[None]:
    with bench.log.open("ab") as log:
        process = subprocess.Popen(
            list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **COMPILED}
        )
    try:
        yield
    finally:
        process.terminate()
        ended(process, bench.log)


def written(bench: Bench, name: str, rate: int, seconds: float) -> list[float]:
    """Write at a rate, see each record arrive."""
    table = unique("t")
    bench.server.run(ddl("mariadb", table, "native"), schema=bench.schema)
    with bench.topics() as topic:
        command = bench.ours(table, topic) if name == OURS else bench.theirs(table, topic, 0)
        with running(bench, command), watching(bench, topic) as watched, writer(bench, table) as write:
            write(b"first")
            watched.until({b"first"})
            committed = paced(write, rate, seconds)
            watched.until(set(committed))
    return [watched.arrived[key] - moment for key, moment in committed.items()][min(rate, len(committed) // 2) :]


def lone(bench: Bench, seconds: float) -> list[float]:
    with bench.topics() as topic, watching(bench, topic) as watched:
        count = max(2, int(LONE_RATE * seconds))
        command = [sys.executable, "-m", "tests.bench.lone", bench.kafka.bootstrap, topic, LONE_RATE, count]
        with running(bench, command):
            keys = [b"%d" % number for number in range(count)]
            watched.until(set(keys))
    return [watched.arrived[key] - float(watched.values[key]) for key in keys][min(LONE_RATE, count // 2) :]


@contextmanager
def writer(bench: Bench, table: str) -> Iterator[Callable[[bytes], None]]:
    sql = f"INSERT INTO {table}(event_name, topic, event_key, payload) VALUES ('a.b', 'bench', %s, %s)"
    connection = bench.server.connect(database=bench.schema, autocommit=True)
    try:
        with connection.cursor() as cursor:
            yield lambda key: cursor.execute(sql, (key, b'{"order": 1, "note": "some text"}'))
    finally:
        connection.close()


def paced(write: Callable[[bytes], None], rate: int, seconds: float) -> dict[bytes, float]:
    """Keys, and when their COMMIT had returned."""
    committed: dict[bytes, float] = {}
    began = time.monotonic()
    for number in range(max(2, int(rate * seconds))):
        time.sleep(max(0, began + number / rate - time.monotonic()))
        key = b"%d" % number
        write(key)
        committed[key] = time.monotonic()
    return committed


def restart(bench: Bench, rounds: int) -> Rounds:
    """A tailer is stopped, a row is written, the same command starts again: seconds from its start to the record."""
    table = unique("t")
    bench.server.run(ddl("mariadb", table, "native"), schema=bench.schema)
    out: list[dict[str, float]] = []
    with bench.topics() as topic, watching(bench, topic) as watched, writer(bench, table) as write:
        command = bench.ours(table, topic)
        for number in range(rounds + 1):
            key = b"%d" % number
            write(key)
            began = time.monotonic()
            with running(bench, command):
                watched.until({key})
            if number:  # the first one is no restart of a tailer that worked
                out.append({"seconds": watched.arrived[key] - began})
                say(f"round {number}: {CDC.name} works again {out[-1]['seconds']:.2f} s after its start")
    return {OURS: {"restart under the same name": out}}
