"""The real servers as tests see them: where they are, a schema or a topic of one's own, an independent look at Kafka.

The addresses come from the environment (CDC_TEST_MARIADB, CDC_TEST_MYSQL, CDC_TEST_KAFKA) or from `.stack/env`,
which `make up` writes. Where a server is not up, a test that asks for it fails and says so; it is never skipped.

``Kafka`` and ``Reader`` use confluent-kafka (librdkafka): neither our code nor the client library it uses takes part
in what they read, so they can judge both.
"""

import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import pymysql
from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from infra.stack import Instance, Places

T = TypeVar("T")

HINT = "start the servers with: make up"

_HUSHED_USER, _HUSHED_PASSWORD = "hushed", "hush-marker-of-the-database"
_HUSHED: set[str] = set()
"""Servers that have this user."""


class NotUpError(Exception):
    """A server that a test needs is not there."""


def address(variable: str) -> str:
    """Where a shared server is, or NotUpError."""
    if variable in os.environ:
        return os.environ[variable]
    env = Places.from_environment().env
    lines = env.read_text().splitlines() if env.exists() else []
    known = dict(line.split("=", 1) for line in lines if "=" in line)
    if variable not in known:
        raise NotUpError(f"{variable} is neither in the environment nor in {env}: {HINT}")
    return known[variable]


def until(what: str, probe: Callable[[], T], *, seconds: float = 30.0, every: float = 0.05) -> T:
    """Call ``probe`` until it returns something true, and return that; after ``seconds`` an AssertionError."""
    end = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what} (last: {found!r})")
        time.sleep(every)


def unique(hint: str) -> str:
    """A name nobody else has, right for a schema and for a topic."""
    return f"{hint}_{secrets.token_hex(5)}"


@dataclass(frozen=True)
class Database:
    """A MariaDB or MySQL server, reached as a root-like user."""

    kind: str
    url: str
    instance: Instance | None = None  # for a server of one's own: what can be killed

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or "127.0.0.1"

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 3306

    @property
    def user(self) -> str:
        return unquote(urlsplit(self.url).username or "root")

    @property
    def password(self) -> str:
        return unquote(urlsplit(self.url).password or "")

    def connect(self, **options: Any) -> pymysql.connections.Connection:
        """A PyMySQL connection; as PyMySQL has it, autocommit is off unless asked for."""
        settings = {"host": self.host, "port": self.port, "user": self.user, "password": self.password}
        return pymysql.connect(**{**settings, "charset": "utf8mb4", "connect_timeout": 10, **options})

    def run(self, *statements: str, schema: str | None = None) -> tuple[tuple[Any, ...], ...]:
        """Execute statements, each committed at once; the rows of the last one."""
        rows: tuple[tuple[Any, ...], ...] = ()
        connection = self.connect(autocommit=True, database=schema)
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                    rows = tuple(cursor.fetchall())
        finally:
            connection.close()
        return rows

    def hushed(self) -> "Database":
        """The same server, reached by a user whose password must never be told (tests/hushed.py).

        As it is where that user cannot be made: the server is down, or read-only, or the URL has a password of its own.
        """
        if urlsplit(self.url).password is not None:
            return self
        if self.url not in _HUSHED:
            try:
                self.run(
                    "SET sql_log_bin = 0",
                    f"CREATE USER IF NOT EXISTS '{_HUSHED_USER}'@'%' IDENTIFIED BY '{_HUSHED_PASSWORD}'",
                    f"GRANT ALL ON *.* TO '{_HUSHED_USER}'@'%' WITH GRANT OPTION",
                )
            except pymysql.MySQLError:
                return self
            _HUSHED.add(self.url)
        login = f"{_HUSHED_USER}:{_HUSHED_PASSWORD}"
        return replace(self, url=f"mysql://{login}@{self.host}:{self.port}")

    @contextmanager
    def fresh_schema(self, hint: str = "t") -> Iterator[str]:
        """A schema with a name nobody else has, dropped afterwards."""
        name = unique(hint)
        self.run(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        try:
            yield name
        finally:
            self.run(f"DROP DATABASE IF EXISTS `{name}`")


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as a consumer sees it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    timestamp: int  # ms

    def header(self, name: str) -> bytes | None:
        """The value of the header, None if there is none."""
        return dict(self.headers).get(name)


@dataclass
class Reader:
    """A consumer of all partitions of a topic, from the beginning; ``records`` grows as it reads."""

    kafka: "Kafka"
    topic: str
    partitions: int
    isolation: str = "read_committed"
    records: list[Seen] = field(default_factory=list)
    met: dict[int, int] = field(default_factory=dict)  # by partition: the offset up to which all was read

    def __post_init__(self) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": self.kafka.bootstrap,
                "group.id": unique("reader"),  # librdkafka wants one; nothing is committed to it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": self.isolation,
                "allow.auto.create.topics": False,
                "check.crcs": True,
                "fetch.wait.max.ms": 50,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
                "error_cb": lambda _: None,  # a broker that is killed on purpose is no news
            }
        )
        self._consumer.assign([TopicPartition(self.topic, n, OFFSET_BEGINNING) for n in range(self.partitions)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self, seconds: float) -> None:
        """Take what comes within ``seconds``."""
        for message in self._consumer.consume(num_messages=10_000, timeout=seconds):
            error = message.error()
            if error is None:
                self.records.append(_seen(message))
                self.met[message.partition()] = message.offset() + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                # said once for each end: behind the last record, and behind markers and aborted records after it
                self.met[message.partition()] = message.offset()
            elif error.fatal():
                raise KafkaException(error)

    def read_to_end(self, *, seconds: float = 60.0) -> list[Seen]:
        """Read up to the end as it is now; for read_committed that is the last stable offset."""
        ends = self.kafka.ends(self.topic, stable=self.isolation == "read_committed")
        end = time.monotonic() + seconds
        while missing := [n for n in range(self.partitions) if self.met.get(n, -1) < ends[n]]:
            self.read(0.1)
            if time.monotonic() > end:
                raise AssertionError(f"{self.topic}: the end of partitions {missing} not met in {seconds:g} s")
        return self.records

    def read_until(self, count: int, *, seconds: float = 60.0) -> list[Seen]:
        """Read until there are at least ``count`` records in all."""
        end = time.monotonic() + seconds
        while len(self.records) < count:
            self.read(0.1)
            if len(self.records) < count and time.monotonic() > end:
                raise AssertionError(f"{self.topic}: {len(self.records)} of {count} records after {seconds:g} s")
        return self.records


@dataclass(frozen=True)
class Kafka:
    """A Kafka broker."""

    bootstrap: str
    instance: Instance | None = None  # for a broker of one's own: what can be killed

    @cached_property
    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "error_cb": lambda _: None})

    def topics(self) -> dict[str, int]:
        """All topics and how many partitions they have."""
        return {name: len(topic.partitions) for name, topic in self.admin.list_topics(timeout=15).topics.items()}

    def create_topic(self, name: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Make a topic and return its name when clients can see it."""
        new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=dict(configs or {}))
        self.admin.create_topics([new])[name].result(timeout=30)
        until(f"topic {name} is there", lambda: self.topics().get(name) == partitions)
        return name

    def delete_topic(self, *names: str) -> None:
        """Delete topics, those that are not there too, and wait until they are gone."""
        for future in self.admin.delete_topics(list(names), operation_timeout=30).values():
            try:
                future.result(timeout=30)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        until(f"topics {names} are gone", lambda: not set(names) & set(self.topics()))

    @contextmanager
    def fresh_topic(
        self, hint: str = "t", partitions: int = 1, configs: Mapping[str, str] | None = None
    ) -> Iterator[str]:
        """A topic with a name nobody else has, deleted afterwards."""
        name = self.create_topic(unique(hint), partitions, configs)
        try:
            yield name
        finally:
            self.delete_topic(name)

    def reader(self, topic: str, *, isolation: str = "read_committed") -> Reader:
        """A reader of the topic from its beginning; to be closed (use it as a context)."""
        partitions = until(f"topic {topic} is there", lambda: self.topics().get(topic), seconds=15)
        return Reader(self, topic, partitions, isolation)

    def read_committed(self, topic: str, *, seconds: float = 60.0) -> list[Seen]:
        """All a read_committed consumer is given now, by partition and offset."""
        with self.reader(topic) as reader:
            return sorted(reader.read_to_end(seconds=seconds), key=lambda record: (record.partition, record.offset))

    def read_uncommitted(self, topic: str, *, seconds: float = 60.0) -> list[Seen]:
        """All there is, open and aborted transactions' records too."""
        with self.reader(topic, isolation="read_uncommitted") as reader:
            return sorted(reader.read_to_end(seconds=seconds), key=lambda record: (record.partition, record.offset))

    def await_records(self, topic: str, count: int, *, seconds: float = 60.0) -> list[Seen]:
        """Wait for ``count`` committed records; then all there are (perhaps more)."""
        with self.reader(topic) as reader:
            reader.read_until(count, seconds=seconds)
            return sorted(reader.read_to_end(seconds=seconds), key=lambda record: (record.partition, record.offset))

    def ends(self, topic: str, *, stable: bool = False) -> list[int]:
        """The high watermark of each partition, or the last stable offset."""
        level = IsolationLevel.READ_COMMITTED if stable else IsolationLevel.READ_UNCOMMITTED
        wanted = {TopicPartition(topic, n): OffsetSpec.latest() for n in range(self.topics()[topic])}
        futures = self.admin.list_offsets(wanted, isolation_level=level)
        found = {partition.partition: future.result(timeout=15).offset for partition, future in futures.items()}
        return [found[n] for n in sorted(found)]

    def await_no_open_transaction(self, topic: str, *, seconds: float = 60.0) -> None:
        """Wait until nothing in the topic is hidden from read_committed consumers."""
        until(
            f"{topic} has no open transaction",
            lambda: self.ends(topic) == self.ends(topic, stable=True),
            seconds=seconds,
        )


def _seen(message: Any) -> Seen:
    return Seen(
        topic=message.topic(),
        partition=message.partition(),
        offset=message.offset(),
        key=message.key(),
        value=message.value(),
        headers=list(message.headers() or []),
        timestamp=message.timestamp()[1],
    )


def shared_database(kind: str) -> Database:
    """The stack's MariaDB or MySQL."""
    found = Database(kind, address(f"CDC_TEST_{kind.upper()}"))
    try:
        found.connect(connect_timeout=3).close()
    except pymysql.OperationalError as error:
        raise NotUpError(f"{kind} does not answer at {found.url} ({error}): {HINT}") from error
    return found


def shared_kafka() -> Kafka:
    """The stack's Kafka."""
    found = Kafka(address("CDC_TEST_KAFKA"))
    try:
        found.admin.list_topics(timeout=5)
    except KafkaException as error:
        raise NotUpError(f"Kafka does not answer at {found.bootstrap} ({error}): {HINT}") from error
    return found


def own_server(kind: str, *, options: Sequence[str] = (), initial: Sequence[str] = ()) -> Database | Kafka:
    """Start a server of one's own, with other options or to be killed; end it with ``.instance.remove()``."""
    instance = Instance.extra(unique(kind), kind, options=options, initial=initial)
    try:
        instance.start()
    except BaseException:
        instance.remove()
        raise
    return Kafka(instance.address, instance) if kind == "kafka" else Database(kind, instance.address, instance)
