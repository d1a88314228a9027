"""The whole checker on real servers, with a relay of its own that is right, or wrong in one way.

The relay reads the tables when the writer has ended and publishes with librdkafka's
transactions: what the checker says of it depends on nothing of the code under test.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby

import pymysql
import pytest
from confluent_kafka import Producer

from tests.checker import reader, writer
from tests.checker.judge import FAULTS, Verdict, java_partition, judge
from tests.checker.ledger import Ledger, mark_of, table_rows
from tests.checker.rows import TableRow, Wanted, expected
from tests.servers import Database, Kafka

pytestmark = pytest.mark.stack

LAYOUTS = ("native", "cqrs")
APART = 0.5
Source = list[list[TableRow]]
"""The rows of each transaction, in commit order of each writer."""


class World:
    def __init__(self, server: Database, kafka: Kafka) -> None:
        self.kafka, self.schema = kafka.bootstrap, writer.unique("checker")
        self.topics = {f"check.{self.schema}.{name}": count for name, count in (("a", 3), ("b", 1))}
        self.where = writer.Server(server.host, server.port)
        writer.make_tables(self.where, self.schema, LAYOUTS)
        reader.make_topics(self.kafka, self.topics)
        with writer.Writer(self.where, self.schema, list(self.topics), "x", LAYOUTS, rate=1000) as work:
            work.wait_until(300)
        self.ledger = Ledger.read(self.where, self.schema, LAYOUTS)
        assert self.ledger.compare(work.book) == 0

    def source(self) -> Source:
        rows = sorted(table_rows(self.where, self.schema, LAYOUTS), key=lambda row: mark_of(row).place)
        return [list(group) for _, group in groupby(rows, key=lambda row: mark_of(row)[:2])]

    def publish(self, transactions: Sequence[Sequence[TableRow]], *, abort: bool = False) -> None:
        """One Kafka transaction of all that is given."""
        producer = Producer({"bootstrap.servers": self.kafka, "transactional.id": self.schema})
        producer.init_transactions(60)
        producer.begin_transaction()
        for row in (row for rows in transactions for row in rows):
            send(producer, expected(row), self.topics)
        if abort:
            producer.abort_transaction(60)
        else:
            producer.commit_transaction(60)

    def verdict(self) -> Verdict:
        records = reader.read_to_end(self.kafka, self.topics)
        return judge(self.ledger, records, partitions=self.topics)


def send(producer: Producer, record: Wanted, topics: dict[str, int]) -> None:
    home = 0 if record.key is None else java_partition(record.key, topics[record.topic])
    producer.produce(record.topic, record.value, record.key, home, headers=record.headers)


@pytest.fixture
def world(mariadb: Database, kafka: Kafka) -> Iterator[World]:
    made = World(mariadb, kafka)
    yield made
    reader.delete_topics(made.kafka, list(made.topics))
    mariadb.run(f"DROP DATABASE {made.schema}")


def right(world: World) -> None:
    source = world.source()
    world.publish(source[:50], abort=True)  # aborted records are nothing
    world.publish(source[:50])
    world.publish(source[50:])


def lost(world: World) -> None:
    source = world.source()
    del source[next(at for at, rows in enumerate(source) if at > 40 and len(rows) == 1)]
    world.publish(source)


def doubled(world: World) -> None:
    source = world.source()
    world.publish(source)
    world.publish([next(rows for rows in source[40:] if len(rows) == 1)])


def torn(world: World) -> None:
    source = world.source()
    source[next(at for at, rows in enumerate(source) if at > 40 and len(rows) == 3)].pop()
    world.publish(source)


def apart(world: World) -> None:
    """A transaction whose rows are all there, in two Kafka transactions: torn, and seen so for as long."""
    source = world.source()
    at = next(at for at, rows in enumerate(source) if at > 40 and len(rows) == 2)
    world.publish([*source[:at], source[at][:1]])
    time.sleep(APART)
    world.publish([source[at][1:], *source[at + 1 :]])


def reordered(world: World) -> None:
    source = world.source()
    late = next(at for at, rows in enumerate(source) if at > 3 and len(rows) == 1)  # its writer has many more
    world.publish([*source[:late], *source[late + 1 :]])
    world.publish([source[late]])


FOUND = {apart: "torn"}


@pytest.mark.parametrize("relay", [right, lost, doubled, torn, apart, reordered])
def test_what_a_relay_did_wrong_is_found_and_nothing_else(world: World, relay: Callable[[World], None]) -> None:
    with reader.Watcher(world.kafka, world.topics) as watcher:
        relay(world)
        verdict = world.verdict()
        assert {kind: verdict.counts[kind] for kind in FAULTS if verdict.counts[kind]} == (
            {} if relay is right else {FOUND.get(relay, relay.__name__): 1}
        ), str(verdict)
        assert verdict.clean == (relay is right)
        assert verdict.records > 300
        assert watcher.wait_for(verdict.records, 30)
        assert watcher.spread >= (APART if relay is apart else 0)
        assert bool(watcher.spreads.open) == (relay is torn)
        seen = sorted(record[:3] for record in reader.read_to_end(world.kafka, world.topics))
        assert sorted((*at, offset) for at, offsets in watcher.trail.items() for offset in offsets) == seen


def test_an_end_that_does_not_become_visible_is_said(world: World) -> None:
    right(world)
    producer = Producer({"bootstrap.servers": world.kafka, "transactional.id": f"{world.schema}-hangs"})
    producer.init_transactions(60)
    producer.begin_transaction()
    send(producer, expected(world.source()[0][0]), world.topics)
    producer.flush(30)
    with pytest.raises(reader.EndHidden):
        reader.read_to_end(world.kafka, world.topics, patience=2)
    producer.abort_transaction(60)
    assert world.verdict().clean


def cut_all(killer: pymysql.Connection, schema: str) -> None:
    """Kill every connection of the writer."""
    with killer.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", (schema,))
        for found in cursor.fetchall():
            with suppress(pymysql.err.OperationalError):  # it may have gone by itself
                cursor.execute("KILL %s", found)


def test_commits_whose_answer_was_lost_are_settled_by_the_table(server: Database) -> None:
    schema = writer.unique("checker")
    where = writer.Server(server.host, server.port)
    writer.make_tables(where, schema, LAYOUTS)
    with writer.Writer(where, schema, ["a"], "cut", LAYOUTS) as work:
        killer = server.connect(autocommit=True)
        for _ in range(12):
            time.sleep(0.03)
            cut_all(killer, schema)
        work.wait_until(work.written + 20)
        killer.close()
    ledger = Ledger.read(where, schema, LAYOUTS)
    assert ledger.compare(work.book) > 0
    assert not [xid for xid in server.run("XA RECOVER") if schema in str(xid)]
    server.run(f"DROP DATABASE {schema}")


def test_a_deadlock_undoes_a_transaction_and_the_writer_goes_on(server: Database) -> None:
    schema = writer.unique("checker")
    where = writer.Server(server.host, server.port)
    writer.make_tables(where, schema, LAYOUTS)
    in_the_way = f"CREATE TRIGGER {schema}.refuse BEFORE INSERT ON {schema}.outbox FOR EACH ROW SIGNAL SQLSTATE '40001'"
    with writer.Writer(where, schema, ["a"], "deadlock") as work:
        work.wait_until(100)
        server.run(in_the_way + " SET MYSQL_ERRNO = 1213, MESSAGE_TEXT = 'as a deadlock'")
        work.wait_until(work.written + 30)
        server.run(f"DROP TRIGGER {schema}.refuse")
        work.wait_until(work.written + 30)
    ledger = Ledger.read(where, schema, ["native"])
    assert ledger.compare(work.book) == 0
    assert sum(promise == writer.UNDONE for promise, _ in work.book.values()) > 25
    server.run(f"DROP DATABASE {schema}")
