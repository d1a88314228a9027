"""The whole way, database to Kafka: `cdc tailer run` beside `ordinary`, both as processes.

Each process reads a log that is written already, publishes it and ends. Its time counts from its first record's publish
time to its end; its processor time is less that of a run with next to nothing to do, so its start is no part of either;
memory is its peak, and how far that is above the peak of the run with nothing to do. Records are counted by an
independent consumer.
"""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from cdc.outbox.table import ddl
from tests.bench.measure import Rounds
from tests.bench.reading import LOGS, fill, say
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
class Prepared:
    """A contestant that waits for its log."""

    name: str
    topic: str
    command: list[object]
    idle: Used


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
        """All rounds of a log read the same log; ours from a checkpoint each, made before it was written."""
        out: Rounds = {OURS: {}, THEIRS: {}}
        for log, a_transaction in LOGS.items():
            table = unique("t")
            self.server.run(ddl("mariadb", table, "native"), schema=self.schema)
            with ExitStack() as stack:
                runs = [[self.prepared(name, table, events, stack) for name in (OURS, THEIRS)] for _ in range(rounds)]
                fill(self.server, self.schema, table, events, a_transaction)
                for number, contestants in enumerate(runs):
                    for prepared in contestants:
                        found = self.measured(prepared, events)
                        out[prepared.name].setdefault(log, []).append(found)
                        speed = found["events_per_second"]
                        say(f"round {number + 1}: {prepared.name}, {log}: {speed:,.0f} events/s")
        return out

    def prepared(self, name: str, table: str, events: int, stack: ExitStack) -> Prepared:
        """A contestant that stands at the log's end, and what it costs it to start and end."""
        topic = stack.enter_context(self.topics())
        if name == OURS:
            command = [*self.ours(table, topic), "--until-caught-up"]
            return Prepared(name, topic, command, run(command, self.log))
        lone = unique("lone")
        self.server.run(ddl("mariadb", lone, "native"), schema=self.schema)
        single = self.theirs(lone, f"{topic}-position", 1)
        fill(self.server, self.schema, lone, 1, 1)
        idle = run(single, self.log)
        return Prepared(name, topic, self.theirs(table, topic, events), idle)

    def measured(self, prepared: Prepared, events: int) -> dict[str, float]:
        used = run(prepared.command, self.log)
        seen = self.kafka.read_committed(prepared.topic, seconds=120)
        different = len({record.key for record in seen})
        assert len(seen) == different == events, f"{prepared.name}: {len(seen)} records of {events}"
        return {
            "events_per_second": events / (used.end - min(record.timestamp for record in seen) / 1000),
            "cpu_us_per_event": 1e6 * (used.cpu - prepared.idle.cpu) / events,
            "peak_rss_mb": used.rss_mb,
            "rss_above_idle_mb": used.rss_mb - prepared.idle.rss_mb,
        }
