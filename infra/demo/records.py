"""What a consumer receives, and whether that is what the tables hold.

``Reader`` is an ordinary ``read_committed`` consumer (librdkafka, another client than the tailer's) of all partitions
from their beginnings. ``to_the_end`` reads up to what is committed now: librdkafka reports the end of a partition at
the last stable offset, so an open transaction of a killed tailer neither counts nor blocks.

``judge`` is pure: rows of the tables on one side, records on the other. It does not trust the tailer for anything:
ids come from the records' headers, rows from SQL.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID, uuid4

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from infra.demo.errors import DemoError, StalledError

_UP = "is Kafka running? `make up` starts what died"
ID_HEADERS = ("event_id", "message_id")
"""Our envelope's header with the event's id, and python-cqrs's."""


@dataclass(frozen=True, slots=True)
class Received:
    """A record as the consumer got it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @classmethod
    def of(cls, message: Message) -> "Received":
        """Take over a message of the client."""
        headers = tuple(message.headers() or ())
        return cls(message.topic(), message.partition(), message.offset(), message.key(), message.value(), headers)

    @property
    def event_id(self) -> UUID | None:
        """The event's id from the headers; None where there is none that can be read."""
        for name, value in self.headers:
            if name in ID_HEADERS and value:
                try:
                    return UUID(value.decode())
                except ValueError:
                    return None
        return None

    @property
    def number(self) -> int:
        """The number the services gave the event within its key; -1, which is in no order, where there is none."""
        try:
            value = json.loads(self.value or b"")
            return int(value.get("payload", value)["number"])
        except (ValueError, KeyError, AttributeError, TypeError):
            return -1


class Reader:
    """A consumer of some topics, from the beginning."""

    def __init__(self, consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._open = {(p.topic, p.partition) for p in partitions}
        consumer.assign(list(partitions))

    def more(self, seconds: float) -> list[Received]:
        """Return what comes within some time."""
        received = []
        for message in self._consumer.consume(1000, seconds):
            error = message.error()
            if error is None:
                received.append(Received.of(message))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public constant, in spite of its name
                self._open.discard((message.topic(), message.partition()))
            else:
                raise DemoError(f"the consumer failed: {error}", _UP)
        return received

    def to_the_end(self, seconds: float = 30.0) -> list[Received]:
        """Return everything up to what is committed now; for a new Reader only."""
        received = []
        deadline = time.monotonic() + seconds
        while self._open:
            received += self.more(0.2)
            if time.monotonic() > deadline:
                raise DemoError(
                    f"the consumer did not reach the end of {sorted(self._open)} within {seconds:.0f} s",
                    "is Kafka overloaded? run the demo again on a quieter machine",
                )
        return received


@contextmanager
def reader(bootstrap: str, topics: Sequence[str]) -> Iterator[Reader]:
    """Open a consumer."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"demo-{uuid4()}",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 0,
        }
    )
    try:
        known = consumer.list_topics(timeout=15).topics
        missing = [topic for topic in topics if topic not in known]
        if missing:
            raise DemoError(
                f"Kafka does not have the topic {missing[0]}", "it was there before: did somebody delete it?"
            )
        partitions = [TopicPartition(topic, number, 0) for topic in topics for number in known[topic].partitions]
        yield Reader(consumer, partitions)
    except KafkaException as error:
        raise DemoError(
            f"the consumer failed: {error.args[0]}", "is Kafka running? `make up` starts what died"
        ) from error
    finally:
        consumer.close()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong, as event ids or keys; nothing if all of it is empty."""

    lost: list[UUID]
    twice: list[UUID]
    never_committed: list[str]
    altered: list[UUID]
    out_of_order: list[str]

    def complaints(self) -> list[str]:
        """Say what is wrong, one sentence each."""
        parts = (
            ("lost: a committed row without a record", self.lost),
            ("twice: a row with several records", self.twice),
            ("a record without a committed row", self.never_committed),
            ("a value that is not the row's payload byte for byte", self.altered),
            ("a key whose records are not in commit order, or in several partitions", self.out_of_order),
        )
        return [f"{len(found):,} x {what}, such as {found[0]}" for what, found in parts if found]


def judge(rows: Mapping[UUID, bytes], records: Sequence[Received]) -> Verdict:
    """Compare the committed rows (id to payload) with all records."""
    times = Counter(record.event_id for record in records)
    return Verdict(
        lost=[event for event in rows if not times[event]],
        twice=[event for event, count in times.items() if event is not None and event in rows and count > 1],
        never_committed=[
            f"{r.topic}/{r.partition}@{r.offset}" for r in records if r.event_id is None or r.event_id not in rows
        ],
        altered=[r.event_id for r in records if r.event_id in rows and r.value != rows[r.event_id]],
        out_of_order=_disorder(records),
    )


def _disorder(records: Sequence[Received]) -> list[str]:
    """Return the keys whose numbers do not rise from offset to offset, or which are in two partitions."""
    last: dict[tuple[str, bytes | None], tuple[int, int]] = {}
    wrong: dict[str, None] = {}
    for record in sorted(records, key=lambda r: (r.topic, r.partition, r.offset)):
        key = (record.topic, record.key)
        partition, number = last.get(key, (record.partition, 0))
        if record.key is None or partition != record.partition or record.number <= number:
            wrong[f"{record.key!r} in {record.topic}"] = None
        last[key] = (record.partition, record.number)
    return list(wrong)


def follow(
    source: Reader, until: Callable[[set[UUID]], bool], *, patience: float, tick: Callable[[int], None]
) -> set[UUID]:
    """Collect event ids until somebody has seen enough; give up after a time in which nothing new came."""
    seen: set[UUID] = set()
    quiet_since = time.monotonic()
    while not until(seen):
        before = len(seen)
        seen.update(record.event_id for record in source.more(0.1) if record.event_id is not None)
        if len(seen) > before:
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > patience:
            raise StalledError(
                f"no new record for {patience:.0f} s; {len(seen):,} have come so far",
                "the tailer's log, .stack/demo/tailer.log, says what it was doing",
            )
        tick(len(seen))
    return seen
