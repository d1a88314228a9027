"""Reads Kafka as any consumer would: librdkafka, read_committed, assigned partitions, no group.

The end is the high watermark of a read_uncommitted look, never the last stable offset: what an
open transaction hides must be waited for, or a loss would look like the end. A transaction that
never ends makes that wait too long, and is said.
"""

import threading
import time
from collections.abc import Iterable
from typing import Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from tests.checker import marks
from tests.checker.judge import Seen
from tests.checker.marks import HEADER, Mark

HIDDEN_FOR = 150.0
"""Longer than a transaction's timeout at its default of 60 s and the coordinator's look every 10 s."""


class EndHidden(AssertionError):
    """The end of a partition does not become visible: a transaction without end."""


def admin(bootstrap: str) -> AdminClient:
    """To be kept until the answers are there: its end cuts them off."""
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0, "error_cb": lambda _: None})


def make_topics(bootstrap: str, topics: dict[str, int]) -> None:
    """Topics that keep everything, with so many partitions each."""
    config = {"retention.ms": "-1", "cleanup.policy": "delete"}
    wanted = [
        NewTopic(name, num_partitions=count, replication_factor=1, config=config) for name, count in topics.items()
    ]
    client = admin(bootstrap)
    for done in client.create_topics(wanted).values():
        done.result(60)
    while not topics.keys() <= client.list_topics(timeout=60).topics.keys():
        time.sleep(0.05)


def delete_topics(bootstrap: str, topics: list[str]) -> None:
    client = admin(bootstrap)
    for done in client.delete_topics(topics).values():
        done.result(60)


def topic_names(bootstrap: str) -> set[str]:
    """All topics, without asking for one by its name (which could create it)."""
    return set(admin(bootstrap).list_topics(timeout=60).topics)


def partitions_of(bootstrap: str, topics: Iterable[str]) -> list[tuple[str, int]]:
    known = admin(bootstrap).list_topics(timeout=60).topics
    return [(topic, partition) for topic in topics if topic in known for partition in known[topic].partitions]


def ends_of(bootstrap: str, partitions: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
    """The high watermarks."""
    asked = {TopicPartition(*partition): OffsetSpec.latest() for partition in partitions}
    client = admin(bootstrap)
    answers = client.list_offsets(asked, request_timeout=60)
    return {(at.topic, at.partition): answer.result(60).offset for at, answer in answers.items()}


def consumer(bootstrap: str, partitions: list[tuple[str, int]]) -> Consumer:
    made = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "checker",  # demanded by the client; nothing is ever committed or subscribed
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "allow.auto.create.topics": False,
            "reconnect.backoff.max.ms": 500,
            "log_level": 0,
            "error_cb": lambda _: None,  # a broker that is killed on purpose is no news
        }
    )
    made.assign([TopicPartition(topic, partition, 0) for topic, partition in partitions])
    return made


def read_to_end(bootstrap: str, topics: Iterable[str], *, patience: float = HIDDEN_FOR) -> list[Seen]:
    """Everything a read_committed consumer sees up to the high watermarks of now."""
    partitions = partitions_of(bootstrap, topics)
    if not partitions:
        return []
    ends = {at: end for at, end in ends_of(bootstrap, partitions).items() if end > 0}
    found: list[Seen] = []
    reader = consumer(bootstrap, list(ends))
    moved = time.monotonic()
    try:
        while ends:
            for message in reader.consume(1000, 0.2):
                at = message.topic(), message.partition()
                if (error := message.error()) is None:
                    moved = time.monotonic()
                    found.append(seen(message))
                elif error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                elif at in ends and message.offset() >= ends[at]:
                    del ends[at]
            if time.monotonic() - moved > patience:
                raise EndHidden(f"hidden for {patience} s before the high watermark: {ends}")
    finally:
        reader.close()
    return found


def seen(message: object) -> Seen:
    return Seen(
        message.topic(),
        message.partition(),
        message.offset(),
        message.key(),
        message.value(),
        list(message.headers() or ()),
        message.timestamp()[1],
    )


class Spreads:
    """For how long parts of source transactions were visible without the rest; `open` ones still are."""

    def __init__(self) -> None:
        self.largest = 0.0
        self.open: dict[tuple[int, int], tuple[float, set[int]]] = {}

    def note(self, mark: Mark, now: float) -> None:
        """A row became visible."""
        if mark.count < 2:
            return
        transaction = mark.writer, mark.number
        first, rows = self.open.setdefault(transaction, (now, set()))
        rows.add(mark.index)  # one that comes twice completes nothing
        if len(rows) == mark.count:
            del self.open[transaction]
            self.largest = max(self.largest, now - first)


class Watcher:
    """A consumer that is there the whole time: when do records come, and does it see what a later reader sees?

    `trail` holds the offsets it saw, by partition, in the order it saw them. `spread` is the longest
    time between the first and the last visible row of one source transaction, `newest` the
    last transaction seen of each writer.
    """

    def __init__(self, bootstrap: str, topics: Iterable[str]) -> None:
        self.trail: dict[tuple[str, int], list[int]] = {at: [] for at in partitions_of(bootstrap, topics)}
        self.count = 0
        self.arrived = 0.0
        self.spreads = Spreads()
        self.newest: dict[int, int] = {}
        self.failure: BaseException | None = None
        self._consumer = consumer(bootstrap, list(self.trail))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    @property
    def spread(self) -> float:
        return self.spreads.largest

    def wait_for(self, count: int, seconds: float) -> bool:
        """Wait until so many records were seen in all."""
        end = time.monotonic() + seconds
        while self.count < count:
            self.check()
            if time.monotonic() > end:
                return False
            time.sleep(0.01)
        return True

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _watch(self) -> None:
        try:
            while not self._stop.is_set():
                for message in self._consumer.consume(500, 0.1):
                    self._take(message)
        except BaseException as error:  # noqa: BLE001 - raised again by check(), in the test's own thread
            self.failure = error

    def _take(self, message: object) -> None:
        if (error := message.error()) is not None:
            # brokers are killed on purpose: anything that passes by itself is waited out
            if error.fatal():
                raise KafkaException(error)
            return
        now = time.monotonic()
        self.trail[message.topic(), message.partition()].append(message.offset())
        self.count += 1
        self.arrived = now
        mark = marks.parse(message.value()) or marks.parse(dict(message.headers() or ()).get(HEADER))
        if mark is None:
            return
        self.newest[mark.writer] = max(mark.number, self.newest.get(mark.writer, 0))
        self.spreads.note(mark, now)
