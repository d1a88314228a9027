"""The same INSERTs through Debezium 3.4 on a real Connect and through our tailer: the same records.

Keys, values, headers, partitions, timestamps and the order in each partition are compared. Debezium writes to topics of
its own (``dbz.<type>``), ours to the ones both have by default; everything else is configured alike. Each transaction
is known to have reached Debezium by a last row, whose record is waited for.
"""

import json
from collections.abc import Iterator

import pytest

from tests.connect_workers import debezium
from tests.running import Tailing
from tests.servers import unique, until

pytestmark = pytest.mark.stack

PARTITIONS = 3
TABLE = """
    CREATE TABLE outbox (
      id CHAR(36) PRIMARY KEY, aggregatetype VARCHAR(100) NOT NULL, aggregateid VARCHAR(100), type VARCHAR(100),
      payload LONGTEXT, made DATETIME(3) NOT NULL, tenant VARCHAR(20), weight BIGINT
    ) CHARACTER SET utf8mb4
"""
ROUTER = {
    "table.field.event.timestamp": "made",
    "table.fields.additional.placement": "type:header:eventType,tenant:header,weight:header",
}
PAYLOADS = ['{"n": 1}', '{"grün": "Zoë 😀", "list": [1, 2.50, null]}', "no JSON at all", "", '"', "x" * 5000, None]


class Inserts:
    """Rows by number, so that both sides and a failure's text can name them."""

    def __init__(self, server, schema, event):
        self.server, self.schema, self.event = server, schema, event
        self.count = 0

    def values(self, payload) -> tuple:
        self.count += 1
        n = self.count
        tenant = None if n % 3 == 0 else f"t{n % 2}é"
        moment = f"2026-11-{1 + n % 20:02} 10:00:{n % 60:02}.{n % 1000:03}"
        return (f"{n:036}", self.event, f"k{n % 5}", "made", payload, moment, tenant, n * -7_000_000_000)

    def transaction(self, *payloads, end="COMMIT", rows_at_once=False):
        """One transaction; with ``rows_at_once`` one INSERT of all rows."""
        statement = "INSERT INTO outbox VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        connection = self.server.connect(database=self.schema)
        try:
            with connection.cursor() as cursor:
                rows = [self.values(payload) for payload in payloads]
                if rows_at_once:
                    cursor.executemany(statement, rows)
                else:
                    for row in rows:
                        cursor.execute(statement, row)
                cursor.execute(end)
        finally:
            connection.close()


@pytest.fixture
def topics(kafka) -> Iterator[tuple[str, str, str]]:
    """The event's type, our topic, Debezium's."""
    event = unique("event")
    names = (f"outbox.event.{event}", f"dbz.{event}")
    for name in names:
        kafka.create_topic(name, PARTITIONS)
    yield event, *names
    kafka.delete_topic(*names)


def seen(record):
    return {
        "key": record.key,
        "value": record.value,
        "headers": record.headers,
        "timestamp": record.timestamp,
    }


def test_the_same_records(connect, debezium_server, kafka, topics, tmp_path):
    server, (event, ours, theirs) = debezium_server, topics
    name, source, prefix = unique("dbz"), unique("shop"), "p" + unique("x")[-8:]
    with server.fresh_schema("live") as schema:
        server.run(TABLE, schema=schema)
        rows = Inserts(server, schema, event)
        tailing = Tailing(
            tmp_path,
            server,
            kafka,
            source,
            {f"{schema}.outbox": {"layout": "debezium", "router": ROUTER}},
            prefix,
            start="latest",
        )
        more = {f"transforms.outbox.{option}": value for option, value in ROUTER.items()}
        more |= {"transforms.outbox.route.topic.replacement": "dbz.${routedByValue}", "heartbeat.interval.ms": "300"}
        more |= {
            "transforms.outbox.predicate": "rows",
            "predicates": "rows",
            "predicates.rows.type": "org.apache.kafka.connect.transforms.predicates.TopicNameMatches",
            "predicates.rows.pattern": f"{name}[.].*",
        }
        config = debezium(server, kafka, name, [f"{schema}.outbox"], more)
        try:
            begun = tailing.catch_up()
            assert begun.code == 0, begun.err
            with connect.create(name, config):
                until("Debezium stands somewhere", lambda: connect.offsets(name), seconds=120)
                for payload in PAYLOADS:
                    rows.transaction(payload)
                rows.transaction("a", "b", "c", rows_at_once=True)
                rows.transaction("lost", end="ROLLBACK")
                rows.transaction(*(json.dumps({"n": n}) for n in range(60)))
                server.run("UPDATE outbox SET type = 'changed' LIMIT 2", "DELETE FROM outbox LIMIT 1", schema=schema)
                rows.transaction("the last one")
                expected = rows.count - 1  # all but the one that was rolled back
                kafka.await_records(theirs, expected, seconds=120)
                done = tailing.catch_up()
                assert done.code == 0, done.err
                wanted, got = kafka.read_committed(theirs), kafka.read_committed(ours)
        finally:
            kafka.delete_topic(f"{name}.history", f"__debezium-heartbeat.{name}", name, tailing.checkpoint_topic)
    assert len(wanted) == len(got) == expected
    for partition in range(PARTITIONS):
        assert [seen(one) for one in got if one.partition == partition] == [
            seen(one) for one in wanted if one.partition == partition
        ]
