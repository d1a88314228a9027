"""The promise end to end, on real servers: what a read_committed consumer gets of what was committed.

Here is one of each kind; `tests/crash` repeats it while everything is killed.
"""

import re
import struct
import time
from datetime import UTC, datetime
from uuid import UUID

import pytest

from cdc.outbox import Event, Outbox
from cdc.outbox.table import ddl
from tests.running import Tailing, cdc
from tests.servers import unique, until


@pytest.fixture
def tailing(server, kafka, schema, tmp_path):
    server.run(ddl(server.kind), schema=schema)
    prefix = unique("p").replace("_", "-")
    made = Tailing(tmp_path, server, kafka, "shop", {f"{schema}.outbox": {"layout": "native"}}, prefix, start="latest")
    yield made
    kafka.delete_topic(made.checkpoint_topic)


def test_a_committed_event_arrives_once_byte_for_byte_and_a_rolled_back_one_never(tailing, server, schema, new_topic):
    topic = new_topic("orders", partitions=3)
    assert tailing.catch_up().code == 0  # the first start: from here on
    outbox = Outbox()
    ids = [UUID(bytes=bytes(6) + bytes([0x70, n, 0x80, *[0] * 7])) for n in range(5)]  # also ids that end in zeros
    then = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    payloads = [bytes(range(256)), b"", None, "grün".encode(), b"\x00" * 70_000]
    db = server.connect(database=schema)
    events = [
        Event(
            "order.created",
            topic,
            payload,
            key=f"o-{n % 2}",
            headers={"zeta": "1", "alpha": "ß"} if n == 0 else None,
            event_id=ids[n],
            event_timestamp=then,
            content_type="application/octet-stream" if payload else "application/json",
        )
        for n, payload in enumerate(payloads)
    ]
    outbox.add(db.cursor(), Event("order.created", topic, b"never", key="o-1"))
    db.rollback()
    with db.cursor() as cursor:
        outbox.add(cursor, events[0])
        cursor.execute("SAVEPOINT here")
        outbox.add(cursor, Event("order.created", topic, b"never either", key="o-1"))
        cursor.execute("ROLLBACK TO SAVEPOINT here")
        outbox.add_all(cursor, events[1:])
    db.commit()
    before = time.time()
    assert tailing.catch_up().code == 0
    records = tailing.kafka.read_committed(topic)
    assert sorted(repr(record.value) for record in records) == sorted(map(repr, payloads))
    by_id = {r.header("event_id").decode(): r for r in records}
    for n, event in enumerate(events):
        record = by_id[str(ids[n])]
        assert (record.key, record.value) == (f"o-{n % 2}".encode(), payloads[n])
        assert record.headers == [
            ("event_id", str(ids[n]).encode()),
            ("event_name", b"order.created"),
            ("content_type", event.content_type.encode()),
            ("created_at", b"2026-01-02T03:04:05.678901Z"),
            *([("alpha", "ß".encode()), ("zeta", b"1")] if n == 0 else []),
        ]
        assert before - 60 < record.timestamp / 1000 < time.time() + 1, "the publish time"
    # within a key, the order of the commits; and a key's partition is Java's
    for key in (b"o-0", b"o-1"):
        mine = [r for r in records if r.key == key]
        assert len({r.partition for r in mine}) == 1
        assert [r.header("event_id") for r in mine] == [
            str(i).encode() for n, i in enumerate(ids) if f"o-{n % 2}".encode() == key
        ]
    assert tailing.catch_up().code == 0
    assert len(tailing.kafka.read_committed(topic)) == len(payloads), "once more changes nothing"


def test_plain_sql_writers_can_rely_on_the_defaults_of_the_table(tailing, server, schema, new_topic):
    topic = new_topic("plain")
    assert tailing.catch_up().code == 0
    sql = f"INSERT INTO outbox (event_name, topic, payload) VALUES ('a.b', '{topic}', '1'), ('a.b', '{topic}', '2')"
    server.run("SET time_zone = '+05:00'", sql, schema=schema)
    assert tailing.catch_up().code == 0
    first, second = tailing.kafka.read_committed(topic)
    assert (first.value, second.value, first.key) == (b"1", b"2", None)
    assert first.header("event_id") != second.header("event_id")
    assert UUID(first.header("event_id").decode()).version == 7
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first.header("created_at"))
    created = datetime.fromisoformat(first.header("created_at").decode())
    assert abs((datetime.now(UTC) - created).total_seconds()) < 300, "UTC, whatever the session's time zone"


@pytest.mark.parametrize("spelling", ["{prefix}.checkpoint.shop", "__consumer_offsets", "__transaction_state"])
def test_a_row_can_never_reach_a_topic_of_our_own(tailing, server, schema, spelling):
    assert tailing.catch_up().code == 0
    topic = spelling.format(prefix=tailing.prefix)
    before = tailing.show()["checkpoint"]
    server.run(f"INSERT INTO outbox (event_name, topic, payload) VALUES ('x', '{topic}', 'evil')", schema=schema)
    ended = tailing.catch_up()
    assert ended.code == 6
    assert "hint:" in ended.err
    assert topic in ended.err
    assert all(r.value != b"evil" for r in tailing.kafka.read_uncommitted(tailing.checkpoint_topic))
    after = tailing.show()["checkpoint"]
    assert (after["file"], after["position"]) >= (before["file"], before["position"])


def test_stop_comes_before_the_refused_transaction_and_after_all_others(tailing, server, schema, new_topic):
    topic = new_topic("good")
    assert tailing.catch_up().code == 0
    db = server.connect(database=schema)
    insert = "INSERT INTO outbox (event_name, topic, payload) VALUES ('x', %s, %s)"
    with db.cursor() as cursor:
        for n in range(3):
            cursor.execute(insert, (topic, f"before {n}"))
            db.commit()
        cursor.execute(insert, (topic, "with"))
        cursor.execute(insert, ("no_such_topic", "poison"))
        db.commit()
        cursor.execute(insert, (topic, "after"))
        db.commit()
    ended = tailing.catch_up()
    assert ended.code == 6
    assert "no_such_topic" in ended.err
    assert [r.value for r in tailing.kafka.read_committed(topic)] == [b"before 0", b"before 1", b"before 2"]
    assert "no_such_topic" not in tailing.kafka.topics(), "asking for a topic must not create it"
    tailing.kafka.create_topic("no_such_topic")
    try:
        assert tailing.catch_up().code == 0
        values = [r.value for r in tailing.kafka.read_committed(topic)]
        assert values == [b"before 0", b"before 1", b"before 2", b"with", b"after"]
        assert [r.value for r in tailing.kafka.read_committed("no_such_topic")] == [b"poison"]
    finally:
        tailing.kafka.delete_topic("no_such_topic")


def test_the_service_publishes_as_it_happens_and_a_stop_releases_the_checkpoint(tailing, server, schema, new_topic):
    topic = new_topic("live", partitions=2)
    process = tailing.run()
    try:
        process.await_line("reading the log")
        db = server.connect(database=schema, autocommit=False)
        with tailing.kafka.reader(topic) as reader:
            for n in range(20):
                Outbox().add(db, Event("tick", topic, {"n": n}, key="k"))
                db.commit()
                reader.read_until(n + 1)
            assert [r.value for r in reader.records] == [f'{{"n":{n}}}'.encode() for n in range(20)]
        status = tailing.show()
        assert status["state"] == f"instance {status['checkpoint']['instance']} works"
        assert status["checkpoint"]["instance"].startswith("test#")
    finally:
        assert process.stop() == 0
    shown = tailing.show()
    assert shown["state"] == "stopped on purpose"
    assert shown["checkpoint"]["released"] is True
    status = next(line for line in process.said() if line["event"] == "status")
    assert status["events"] == 20


def test_the_position_moves_while_the_outbox_is_idle(tailing, server, schema):
    server.run("CREATE TABLE other (n INT)", schema=schema)
    process = tailing.run()
    try:
        process.await_line("reading the log")
        before = tailing.show()["checkpoint"]
        server.run("INSERT INTO other VALUES (1)", schema=schema)
        until("the checkpoint moves", lambda: tailing.show()["checkpoint"]["position"] != before["position"])
    finally:
        process.stop()


def test_a_route_gives_topic_and_key(tailing, server, schema, new_topic):
    topic = new_topic("in") + ".v1"
    tailing.kafka.create_topic(topic, 3)
    match = {"event_name": "order.*", "topic": topic.removesuffix(".v1")}
    tailing.more = {"routes": [{"match": match, "topic": "{topic}.v1", "key": "$.customer.id"}]}
    assert tailing.catch_up().code == 0
    db = server.connect(database=schema, autocommit=True)
    sql = "INSERT INTO outbox (event_name, topic, event_key, payload) VALUES ('order.paid', %s, %s, %s)"
    with db.cursor() as cursor:
        cursor.execute(sql, (match["topic"], None, '{"customer": {"id": 4711}}'))
        cursor.execute(sql, (match["topic"], b"own", '{"customer": {"id": 1}}'))
    assert tailing.catch_up().code == 0
    assert {r.key for r in tailing.kafka.read_committed(topic)} == {b"4711", b"own"}
    tailing.kafka.delete_topic(topic)


def test_outbox_add_of_the_command_line_arrives(tailing, server, schema, new_topic):
    topic = new_topic("cli")
    assert tailing.catch_up().code == 0
    added = cdc(
        "outbox", "add", "--url", f"{server.url}/{schema}", "--name", "x.y", "--topic", topic, "--payload", '{"a":1}',
        "--key", "k",
    )  # fmt: skip
    assert added.code == 0, added.err
    assert tailing.catch_up().code == 0
    (record,) = tailing.kafka.read_committed(topic)
    assert (record.key, record.value) == (b"k", b'{"a":1}')
    assert record.header("event_id").decode() == added.out.strip()


def test_two_first_starts_at_once_that_shall_only_catch_up(tailing, server, schema, new_topic):
    topic = new_topic("race")
    tailing.start = "earliest"
    sql = "INSERT INTO outbox (event_name, topic, payload) VALUES " + ",".join(
        f"('x', '{topic}', '{n}')" for n in range(100)
    )
    server.run(sql, schema=schema)
    racers = [tailing.run("--until-caught-up", name=name) for name in ("one", "two")]
    assert [racer.popen.wait(60) for racer in racers] == [0, 0], [racer.log.read_text() for racer in racers]
    assert [r.value for r in tailing.kafka.read_committed(topic)] == [b"%d" % n for n in range(100)]


def test_packets_over_16_mib_arrive_whole(tailing, server, schema, new_topic):
    topic = new_topic("large", configs={"max.message.bytes": "40000000"})
    allowed = server.run("SELECT @@max_allowed_packet")[0][0]
    assert tailing.catch_up().code == 0
    chunk = struct.pack("<Q", 0x0123456789ABCDEF) * 128 * 1024
    repeat = min(17, allowed // len(chunk) - 1)
    sql = f"INSERT INTO outbox (event_name, topic, payload) SELECT 'x', '{topic}', REPEAT(UNHEX('{chunk[:8].hex()}'), {128 * 1024 * repeat})"
    server.run(sql, schema=schema)
    assert tailing.catch_up().code == 0
    (record,) = tailing.kafka.read_committed(topic)
    assert record.value == chunk * repeat
