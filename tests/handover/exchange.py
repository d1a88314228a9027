"""From Debezium to the tailer and back under load, by the commands a person would type, and one judge over all of it."""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml

from tests.connect_workers import Connect, debezium
from tests.handover.judge import judge
from tests.handover.load import TABLES, Load
from tests.running import Ended, Process, Tailing, cdc
from tests.servers import Database, Kafka, unique, until

PARTITIONS = 3


@dataclass
class Exchange:
    """One source, one connector, one load. `steps` says what each handover did."""

    server: Database
    kafka: Kafka
    connect: Connect
    folder: Path
    schema: str
    seed: str = "1"
    rate: float = 300.0
    exactly_once: str = "required"
    steps: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name, self.event = unique("dbz"), unique("event")
        self.topic = f"outbox.event.{self.event}"
        self.kafka.create_topic(self.topic, PARTITIONS)
        table = f"{self.schema}.outbox"
        self.server.run(*TABLES, schema=self.schema)
        self.tailing = Tailing(
            self.folder,
            self.server,
            self.kafka,
            unique("shop"),
            {table: {"layout": "debezium"}},
            "p" + unique("x")[-8:],
            start="latest",
        )
        more = {
            "exactly.once.support": self.exactly_once,
            "heartbeat.interval.ms": "300",
            "poll.interval.ms": "10",
            "max.batch.size": "16",  # small, so that it stops inside of transactions
            "max.queue.size": "64",
            "database.server.id": str(1_000_000 + int(self.name[-6:], 16)),
            "transforms.outbox.predicate": "rows",
            "predicates": "rows",
            "predicates.rows.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
            "predicates.rows.pattern": f"{self.name}[.].*",
        }
        self.config = debezium(self.server.hushed(), self.kafka, self.name, [table], more)
        self.load = Load(self.server, self.schema, self.event, seed=self.seed, rate=self.rate)
        self.tailer: Process | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.tailer is not None:
            self.tailer.stop()
        with contextlib.suppress(AssertionError):
            self.connect.delete(self.name)
        names = (self.topic, self.tailing.checkpoint_topic, self.name, f"{self.name}.history")
        self.kafka.delete_topic(*names, f"__debezium-heartbeat.{self.name}")

    def start_debezium(self) -> None:
        """The connector, running, with an offset."""
        code, body = self.connect.ask("POST", "/connectors", {"name": self.name, "config": self.config})
        assert code == 201, body
        self.connect.await_states(self.name, "RUNNING", "RUNNING")
        until("Debezium stands somewhere", lambda: self.connect.offsets(self.name), seconds=120)

    def command(self, direction: str, *words: object, code: int = 0) -> Ended:
        """`cdc handover`."""
        reach = ("--url", self.connect.url, "-d", self.folder / "manifests", "--patience", "120")
        where = ("-c", self.tailing.config, "--keep", self.folder)
        done = cdc("handover", direction, self.name, *where, *reach, *words, seconds=280)
        assert done.code == code, done.out + done.err
        return done

    def refused(self, direction: str) -> str:
        """It is not done, because somebody works; the connector stays as it is."""
        before = self.connect.states(self.name)
        done = self.command(direction, "--yes", code=1)
        assert self.connect.states(self.name) == before
        return "StillAtWork" if "is at work" in done.err else done.err

    def arrived(self) -> int:
        return sum(self.kafka.ends(self.topic))

    def to_tailer(self) -> dict[str, Any]:
        """Debezium ends, the tailer goes on."""
        done = json.loads(self.command("from-debezium", "--yes", "-o", "json").out)
        self.tailer = self.tailing.run()
        self._flows()
        told = {key: done[key] for key in ("debezium_stood_at", "rows_sent_by_debezium", "rows_sent_here")}
        self.steps.append({"to": "tailer", **told})
        return done

    def to_debezium(self, *, anew: bool = False, killed: bool = False) -> dict[str, Any]:
        """The tailer ends, or is `killed`; Debezium goes on, `anew` with a connector that was not there."""
        if self.tailer is not None:
            if killed:
                self.tailer.kill()
            else:
                assert self.tailer.stop() == 0
            self.tailer = None
        if anew:
            self.connect.delete(self.name)
            self.kafka.delete_topic(f"{self.name}.history")
            manifests = self.folder / "manifests"
            manifests.mkdir(exist_ok=True)
            (manifests / "one.yaml").write_text(yaml.safe_dump({"name": self.name, "config": self.config}))
        done = json.loads(self.command("to-debezium", "--yes", "-o", "json").out)
        self._flows()
        self.steps.append({"to": "debezium", "anew": anew, "killed": killed})
        return done

    def _flows(self) -> None:
        """What is written from now on arrives."""
        before = self.arrived()
        until("records arrive", lambda: self.arrived() > before + 50, seconds=120)

    @contextlib.contextmanager
    def loaded(self, seconds: float) -> Iterator[None]:
        """The load, at least so long before and behind what happens."""
        with self.load:
            time.sleep(seconds)
            yield
            time.sleep(seconds)

    def verdict(self) -> dict[str, list[str]]:
        """Wait for the last row, then judge."""
        ledger = self.load.ledger
        with self.kafka.reader(self.topic) as reader:
            with contextlib.suppress(AssertionError):
                reader.read_until(len(ledger), seconds=120)
            # nothing may come behind the last one: a repetition would
            time.sleep(1.0)
            records = reader.read_to_end()
        return judge(ledger, records, PARTITIONS)
