"""The whole way, database to Kafka: `cdc tailer run` beside `ordinary`, both as processes.

Each process reads a log that is written already, publishes it and ends. Its time counts from its first record's publish
time to its end; its processor time is less that of a run with next to nothing to do, so its start is no part of either;
memory is its peak. Records are counted by an independent consumer. Latency is from COMMIT's return in the writer to the record in a read_committed consumer.
"""

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from cdc.outbox.table import ddl
from tests.bench.measure import percentile
from tests.bench.reading import LOGS, Rounds, fill, say
from tests.integration.live_log import place_of
from tests.running import CDC, Tailing
from tests.servers import Database, Kafka, unique

OURS, THEIRS = "cdc tailer", "BinLogStreamReader + send()"
PARTITIONS = 3


@dataclass
class Used:
    """What a process has cost when it ended."""

    end: float
    cpu: float
    rss_mb: float


def run(command: Sequence[object], log: Path) -> Used:
    with log.open("ab") as out:
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    return ended(process, log)


def ended(process: subprocess.Popen[bytes], log: Path) -> Used:
    # VmHWM is looked at while it runs: the ru_maxrss of wait4 begins with the memory of who started it
    most, status = 0, Path(f"/proc/{process.pid}/status")
    while True:
        pid, code, used = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        most = max([most, *(int(line.split()[1]) for line in status.read_text().splitlines() if line[:6] == "VmHWM:")])
        time.sleep(0.02)
    end, process.returncode = time.time(), os.waitstatus_to_exitcode(code)
    if process.returncode not in (0, -15):
        raise SystemExit(f"a contestant ended with {process.returncode}:\n{log.read_text()[-2000:]}")
    return Used(end, used.ru_utime + used.ru_stime, most / 1024)


@dataclass
class Bench:
    """Where contestants run."""

    server: Database
    kafka: Kafka
    schema: str
    folder: Path

    @contextmanager
    def topics(self) -> Iterator[str]:
        with self.kafka.fresh_topic("bench", PARTITIONS) as topic:
            self.kafka.create_topic(f"{topic}-position")
            try:
                yield topic
            finally:
                self.kafka.delete_topic(f"{topic}-position")

    def ours(self, table: str, topic: str) -> list[object]:
        """The command, with a checkpoint at the log's end now."""
        tailing = Tailing(
            self.folder, self.server, self.kafka, f"b{random.randrange(1 << 40):x}", {f"{self.schema}.{table}": {"layout": "native"}},
            "bench", start="latest", more={"routes": [{"match": {"topic": "bench"}, "topic": topic}]},
        )  # fmt: skip
        command = [CDC, "tailer", "run", "-c", tailing.config, "--instance", "bench", "--log-format", "json"]
        run([*command, "--until-caught-up"], self.log)
        return command

    def theirs(self, table: str, topic: str, rows: int) -> list[object]:
        place = place_of(self.server)
        where = [self.server.url, self.kafka.bootstrap, self.schema, table, topic, place.file, place.position, rows]
        return [sys.executable, "-m", "tests.bench.ordinary", *where]

    @property
    def log(self) -> Path:
        return self.folder / "contestants.log"

    def throughput(self, events: int, rounds: int) -> Rounds:
        out: Rounds = {OURS: {}, THEIRS: {}}
        for log, a_transaction in LOGS.items():
            for number in range(rounds):
                for name in (OURS, THEIRS):
                    found = self.one(name, events, a_transaction)
                    out[name].setdefault(log, []).append(found)
                    say(f"round {number + 1}: {name}, {log}: {found['events_per_second']:,.0f} events/s")
        return out

    def one(self, name: str, events: int, a_transaction: int) -> dict[str, float]:
        table = unique("t")
        self.server.run(ddl("mariadb", table, "native"), schema=self.schema)
        with self.topics() as topic:
            if name == OURS:
                command = [*self.ours(table, topic), "--until-caught-up"]
                idle = run(command, self.log)
            else:
                single = self.theirs(table, f"{topic}-position", 1)
                fill(self.server, self.schema, table, 1, 1)
                idle = run(single, self.log)
                command = self.theirs(table, topic, events)
            fill(self.server, self.schema, table, events, a_transaction)
            used = run(command, self.log)
            seen = self.kafka.read_committed(topic, seconds=120)
        assert len(seen) == len({record.key for record in seen}) == events, f"{name}: {len(seen)} records of {events}"
        return {
            "events_per_second": events / (used.end - min(record.timestamp for record in seen) / 1000),
            "cpu_us_per_event": 1e6 * (used.cpu - idle.cpu) / events,
            "peak_rss_mb": used.rss_mb,
        }

    def latency(self, rate: int, seconds: float) -> Rounds:
        out: Rounds = {}
        for name in (OURS, THEIRS):
            table = unique("t")
            self.server.run(ddl("mariadb", table, "native"), schema=self.schema)
            with self.topics() as topic:
                command = self.ours(table, topic) if name == OURS else self.theirs(table, topic, 0)
                with self.log.open("ab") as log:
                    process = subprocess.Popen(
                        list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log
                    )
                try:
                    waits = self.watch(table, topic, rate, seconds)
                finally:
                    process.terminate()
                    ended(process, self.log)
            figures = {f"latency_ms_{label}": 1000 * percentile(waits, p) for label, p in (("p50", 0.5), ("p99", 0.99))}
            out[name] = {f"{rate} events/s": [figures]}
            say(f"{name} at {rate}/s: p50 {figures['latency_ms_p50']:.1f} ms, p99 {figures['latency_ms_p99']:.1f} ms")
        return out

    def watch(self, table: str, topic: str, rate: int, seconds: float) -> list[float]:
        """Write at a rate, see each record arrive: seconds for each, the first ones not counted."""
        arrived: dict[bytes, float] = {}
        over = threading.Event()
        consumer = Consumer({
            "bootstrap.servers": self.kafka.bootstrap, "group.id": unique("bench"), "isolation.level": "read_committed",
            "enable.auto.commit": False, "fetch.wait.max.ms": 20, "log_level": 0})  # fmt: skip
        consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(PARTITIONS)])

        def consume() -> None:
            while not over.is_set():
                message = consumer.poll(0.05)
                if message is not None and message.error() is None:
                    arrived[message.key()] = time.monotonic()
            consumer.close()

        watching = threading.Thread(target=consume)
        watching.start()
        committed: dict[bytes, float] = {}
        connection = self.server.connect(database=self.schema, autocommit=True)
        sql = f"INSERT INTO {table}(event_name, topic, event_key, payload) VALUES ('a.b', 'bench', %s, %s)"
        try:
            with connection.cursor() as cursor:
                cursor.execute(sql, (b"first", b"x"))
                while b"first" not in arrived:
                    time.sleep(0.05)
                began = time.monotonic()
                for number in range(int(rate * seconds)):
                    time.sleep(max(0, began + number / rate - time.monotonic()))
                    key = b"%d" % number
                    cursor.execute(sql, (key, b'{"order": 1, "note": "some text"}'))
                    committed[key] = time.monotonic()
            deadline = time.monotonic() + 60
            while len(arrived) <= len(committed) and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            connection.close()
            over.set()
            watching.join()
        return [arrived[key] - at for key, at in committed.items() if int(key) >= rate]
