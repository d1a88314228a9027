"""`start: snapshot` on real servers: the rows that are there, then the log, each once."""

import json
import threading
from uuid import UUID

import pytest

from cdc.model import TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import server_facts
from cdc.mysql.places import end_of_log
from cdc.mysql.session import ask
from cdc.mysql.source import MySqlSource
from cdc.mysql.table_rows import ConsistentRead, form_of
from cdc.outbox.table import ddl
from tests.running import Tailing
from tests.servers import own_server, unique, until

INSERT = "INSERT INTO outbox (event_name, topic, event_key, payload, headers) VALUES ('x', %s, %s, %s, %s)"


def tailing_of(folder, server, kafka, schema, layout="native") -> Tailing:
    prefix = unique("p").replace("_", "-")
    return Tailing(folder, server, kafka, "shop", {f"{schema}.outbox": {"layout": layout}}, prefix, start="snapshot")


def checkpoint(tailing) -> dict:
    """The last one, as it is in the topic."""
    records = [r for r in tailing.kafka.read_committed(tailing.checkpoint_topic) if r.key == b"shop"]
    return json.loads(records[-1].value)


@pytest.fixture
def tailing(server, kafka, schema, tmp_path):
    server.run(ddl(server.kind), schema=schema)
    return tailing_of(tmp_path, server, kafka, schema)


def test_rows_that_are_there_then_the_log(tailing, server, schema, new_topic):
    topic = new_topic("snap", partitions=2)
    db = server.connect(database=schema)
    with db.cursor() as cursor:
        for n in range(5_000):
            cursor.execute(INSERT, (topic, b"k%d" % (n % 3), b"%d" % n, '{"a": "1"}' if n % 2 else None))
        db.commit()
        cursor.execute(INSERT, (topic, b"k0", b"rolled back", None))
        db.rollback()
        cursor.execute("DELETE FROM outbox WHERE payload = '17'")  # long gone
        db.commit()
        cursor.execute("SELECT event_id, payload FROM outbox ORDER BY event_id")
        there = [(UUID(bytes=event_id), value) for event_id, value in cursor.fetchall()]
    db.close()
    ended = tailing.catch_up()
    assert ended.code == 0, ended.err
    server.run(f"INSERT INTO outbox (event_name, topic, payload) VALUES ('x', '{topic}', 'later')", schema=schema)
    assert tailing.catch_up().code == 0
    records = tailing.kafka.read_committed(topic)
    assert [r.value for r in records if r.header("snapshot") is None] == [b"later"]
    old = [r for r in records if r.value != b"later"]
    assert sorted(r.value for r in old) == sorted(value for _, value in there)
    for key in (b"k0", b"k1", b"k2"):
        ids = [r.header("event_id").decode() for r in old if r.key == key]
        assert ids == [str(event_id) for event_id, value in there if b"k%d" % (int(value) % 3) == key]
    names = [name for name, _ in next(r for r in old if r.value == b"1").headers]
    assert names == ["event_id", "event_name", "content_type", "created_at", "snapshot", "a"]
    assert checkpoint(tailing)["snapshot"] is None
    assert "all rows of the table are read" in ended.err


def test_the_checkpoint_knows_of_the_snapshot_from_the_first_moment(tailing, server, schema, new_topic):
    topic = new_topic("stop")
    server.run(f"INSERT INTO outbox (event_name, topic, payload) VALUES ('x', '{topic}', '1')", schema=schema)
    tailing.kafka.delete_topic(topic)  # so that nothing can be sent
    until("the topic is gone", lambda: topic not in tailing.kafka.topics())
    assert tailing.catch_up().code == 6
    server.run(f"INSERT INTO outbox (event_name, topic, payload) VALUES ('x', '{topic}', '2')", schema=schema)
    assert checkpoint(tailing)["snapshot"] is not None
    tailing.kafka.create_topic(topic)
    assert tailing.catch_up().code == 0
    assert sorted(r.value for r in tailing.kafka.read_committed(topic)) == [b"1", b"2"]


def test_ids_without_order_are_read_by_time_where_it_is_indexed(server, kafka, schema, new_topic, tmp_path):
    topic = new_topic("time")
    server.run(
        "CREATE TABLE outbox (id VARCHAR(36) PRIMARY KEY, name VARCHAR(20), topic VARCHAR(99), payload BLOB,"
        " at DATETIME(3) NOT NULL, KEY (at)) DEFAULT CHARSET latin1 COLLATE latin1_swedish_ci",
        *(
            f"INSERT INTO outbox VALUES ('{'zYxWvU'[n % 6]}{n}', 'x', '{topic}', '{n}', '2026-01-01 00:00:{n // 3:02}')"
            for n in range(30)
        ),
        schema=schema,
    )
    columns = {"id": "id", "name": "name", "topic": "topic", "payload": "payload", "timestamp": "at"}
    tailing = Tailing(
        tmp_path, server, kafka, "shop", {f"{schema}.outbox": {"columns": columns}}, unique("p").replace("_", "-"),
        start="snapshot",
    )  # fmt: skip
    ended = tailing.catch_up()
    assert ended.code == 0, ended.err
    got = [int(r.value) for r in kafka.read_committed(topic)]
    assert sorted(got) == list(range(30))
    assert [n // 3 for n in got] == [n // 3 for n in range(30)]
    assert "at, id" in ended.err


def test_of_python_cqrs_only_what_its_poller_has_not_published(server, kafka, schema, new_topic, tmp_path):
    topic = new_topic("cqrs")
    server.run(
        "CREATE TABLE outbox (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, event_id BINARY(16) NOT NULL,"
        " event_id_bin BINARY(16) NOT NULL, event_status ENUM('NEW','PRODUCED','NOT_PRODUCED') NOT NULL,"
        " flush_counter SMALLINT NOT NULL, event_name VARCHAR(255) NOT NULL, topic VARCHAR(255) NOT NULL,"
        " created_at DATETIME NOT NULL, payload LONGBLOB NOT NULL)",
        *(
            "INSERT INTO outbox (event_id, event_id_bin, event_status, flush_counter, event_name, topic, created_at,"
            f" payload) VALUES (RANDOM_BYTES(16), event_id, '{status}', {count}, 'x', '{topic}', NOW(), '{status}')"
            for status, count in (("NEW", 0), ("PRODUCED", 0), ("NOT_PRODUCED", 2), ("NOT_PRODUCED", 5))
        ),
        schema=schema,
    )
    tailing = tailing_of(tmp_path, server, kafka, schema, layout="cqrs")
    ended = tailing.catch_up()
    assert ended.code == 0, ended.err
    assert sorted(r.value for r in kafka.read_committed(topic)) == [b"NEW", b"NOT_PRODUCED", b"NOT_PRODUCED"]
    assert '"rows_given_up_by_the_poller": 1' in ended.err


TYPES = (
    "a TINYINT UNSIGNED, b MEDIUMINT, c BIGINT UNSIGNED, d DECIMAL(12,4), e FLOAT, f DOUBLE, g BIT(12), h YEAR,"
    " i CHAR(5), j VARCHAR(40) CHARACTER SET latin1, k TEXT, l ENUM('x','y'), m SET('p','q','r'), n BINARY(6),"
    " o VARBINARY(9), p LONGBLOB, q DATE, r TIME(3), s DATETIME(6), t TIMESTAMP(2) NULL, u JSON, v POINT"
)
VALUES = (
    (
        "(255, -8388608, 18446744073709551615, '-12.3400', 1.1, 1e-7, b'101', 2031, 'ab', 'grün', 'ß😀', 'y', 'p,r',"
        " 'ab', 'x\\0y', REPEAT('z', 70000), '2026-02-03', '-12:34:56.789', '2026-02-03 04:05:06.789012',"
        " '2026-02-03 04:05:06.78', '{\"b\": [1, 2.5, null], \"a\": \"ü\"}', ST_GeomFromText('POINT(1 2)'))"
    ),
    (
        "(0, 0, 0, 0, -3.4e38, 0, 0, 1901, '', '', '', 'x', '', '', '', '', '1000-01-01', '838:59:59', "
        "'1000-01-01 00:00:00', '1970-01-02 00:00:01', '[]', NULL)"
    ),
    f"({', '.join(['NULL'] * 22)})",
)


async def test_a_row_of_the_table_is_as_the_log_has_it(server, schema):
    more = {"mariadb": ", w INET6", "mysql": ", w VECTOR(2)"}[server.kind]
    last = {"mariadb": "'2001:db8::1'", "mysql": "STRING_TO_VECTOR('[1.5, 2]')"}[server.kind]
    address = ServerAddress(server.host, server.port, server.user, server.password)
    spec = TableSpec(schema, "outbox", frozenset({"id"}))
    place = await ask(address, lambda session: end_of_log(session, server_facts(session)))
    server.run(
        f"CREATE TABLE outbox (id INT PRIMARY KEY, {TYPES}{more})",
        "SET time_zone = '+03:00'",
        *(f"INSERT INTO outbox VALUES ({n}, {values[1:-1]}, {last})" for n, values in enumerate(VALUES)),
        schema=schema,
    )
    source = MySqlSource("types", address, [spec], observer=lambda *_, **__: None)
    await source.open(place)
    logged = []
    while len(logged) < len(VALUES):
        logged += [row for transaction in (await source.read()).transactions for row in transaction.rows]
    await source.close()
    read = ConsistentRead(address, timeout=30)
    form = await ask(address, lambda session: form_of(session, spec, None))
    rows, is_last = read.rows(form, None, 100, 1 << 20)
    read.close()
    assert is_last
    for row, log in zip(rows, logged, strict=True):
        assert row.as_dict() == log.as_dict()
        assert [type(value) for value in row.values] == [type(value) for value in log.values]
    assert list(rows[0].table.columns) == list(logged[0].table.columns)


@pytest.mark.parametrize("by", ["insert", "delete"])
async def test_a_commit_that_is_logged_and_not_yet_seen(kafka, tmp_path, by, new_topic):
    """Semi-synchronous replication without a replica: a COMMIT hangs when it is in the log and not in the engine."""
    topic = new_topic("semi")
    own = own_server("mysql")
    try:
        schema = "semi"
        own.run(
            "CREATE DATABASE semi",
            "INSTALL PLUGIN rpl_semi_sync_source SONAME 'semisync_source.so'",
            "SET GLOBAL rpl_semi_sync_source_timeout = 6000",
            "SET GLOBAL rpl_semi_sync_source_enabled = 1",
        )
        own.run("SET GLOBAL rpl_semi_sync_source_enabled = 0", ddl("mysql"), schema=schema)
        one = f"INSERT INTO outbox (event_name, topic, payload) VALUES ('x', '{topic}', '1')"
        own.run(one, schema=schema)
        own.run("SET GLOBAL rpl_semi_sync_source_enabled = 1")
        writer = own.connect(database=schema)
        cursor = writer.cursor()
        cursor.execute(one.replace("'1'", "'2'") if by == "insert" else "DELETE FROM outbox")
        hanging = threading.Thread(target=writer.commit)
        before = int(own.run("SHOW BINARY LOG STATUS")[0][1])
        hanging.start()
        until("the commit is in the log", lambda: int(own.run("SHOW BINARY LOG STATUS")[0][1]) > before, seconds=5)
        seen = own.run("SELECT COUNT(*) FROM outbox", schema=schema)[0][0]
        tailing = tailing_of(tmp_path, own, kafka, schema)
        ended = tailing.catch_up()
        hanging.join()
        assert ended.code == 0, ended.err
        assert tailing.catch_up().code == 0
        assert seen == 1, "the window was met"
        records = sorted(r.value for r in kafka.read_committed(topic))
        assert records == ([b"1", b"2"] if by == "insert" else [b"1"])
    finally:
        own.instance.remove()
