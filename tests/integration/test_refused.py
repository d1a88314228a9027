"""What Kafka itself refuses, and what the log never names: the source stops and says so, with all before it published."""

import pytest

from cdc.outbox.table import ddl
from tests.running import Tailing
from tests.servers import unique


@pytest.fixture
def tailing(mariadb, kafka, tmp_path):
    with mariadb.fresh_schema() as schema:
        mariadb.run(ddl("mariadb"), schema=schema)
        prefix = unique("p").replace("_", "-")
        made = Tailing(
            tmp_path, mariadb, kafka, "shop", {f"{schema}.outbox": {"layout": "native"}}, prefix, start="latest"
        )
        yield made
        kafka.delete_topic(made.checkpoint_topic)


def insert(tailing, topic, *payloads):
    (table,) = tailing.tables
    for payload in payloads:
        tailing.server.run(f"INSERT INTO {table} (event_name, topic, payload) VALUES ('x', '{topic}', '{payload}')")


def test_a_record_the_broker_refuses_stops_the_source_behind_all_before_it(tailing, new_topic):
    topic = new_topic("small", configs={"max.message.bytes": "1000"})
    assert tailing.catch_up().code == 0
    insert(tailing, topic, "1", "2", "x" * 5000, "3")
    ended = tailing.catch_up()
    assert ended.code == 6, ended.err
    assert topic in ended.err
    assert "hint:" in ended.err
    assert [r.value for r in tailing.kafka.read_committed(topic)] == [b"1", b"2"]


def test_what_was_read_before_the_log_stopped_us_is_published(tailing, new_topic):
    topic = new_topic("before")
    own = type(tailing)(**{name: getattr(tailing, name) for name in tailing.__dataclass_fields__})
    assert own.catch_up().code == 0
    (table,) = own.tables
    insert(own, topic, *map(str, range(200)))
    own.server.run(f"ALTER TABLE {table} DROP COLUMN content_type")
    insert(own, topic, "without")
    own.server.run(f"ALTER TABLE {table} ADD COLUMN content_type VARCHAR(127) NOT NULL DEFAULT 'text/plain'")
    ended = own.catch_up()
    assert ended.code == 1, ended.err
    assert "content_type" in ended.err
    assert [r.value for r in own.kafka.read_committed(topic)] == [b"%d" % n for n in range(200)]


def test_a_view_is_no_outbox(tailing):
    (table,) = tailing.tables
    tailing.server.run(f"CREATE VIEW {table}_view AS SELECT * FROM {table}")
    tailing.tables = {f"{table}_view": {"layout": "native"}}
    ended = tailing.catch_up()
    assert ended.code == 1
    assert "view" in ended.err


def test_a_name_in_another_case_than_the_log_has_is_refused(tailing, start_server):
    own = start_server("mariadb", options=["--lower-case-table-names=1"], initial=["--lower-case-table-names=1"])
    own.run("CREATE DATABASE shop", ddl("mariadb", "shop.outbox"))
    tailing.server, tailing.tables = own, {"Shop.Outbox": {"layout": "native"}}
    ended = tailing.catch_up()
    assert ended.code == 1, ended.err
    assert "shop.outbox" in ended.err
    tailing.tables = {"shop.outbox": {"layout": "native"}}
    assert tailing.catch_up().code == 0


def test_a_table_added_later_is_read_from_here_on_and_that_is_said(tailing, new_topic):
    topic = new_topic("later")
    assert tailing.catch_up().code == 0
    (table,) = tailing.tables
    added = f"{table}2"
    tailing.server.run(f"CREATE TABLE {added} LIKE {table}")
    tailing.server.run(f"INSERT INTO {added} (event_name, topic, payload) VALUES ('x', '{topic}', 'old')")
    assert tailing.catch_up().code == 0
    tailing.tables = {table: {"layout": "native"}, added: {"layout": "native"}}
    ended = tailing.catch_up()
    assert ended.code == 0
    assert "unpublished" in ended.err
    assert added in ended.err
    tailing.server.run(f"INSERT INTO {added} (event_name, topic, payload) VALUES ('x', '{topic}', 'new')")
    again = tailing.catch_up()
    assert "unpublished" not in again.err
    assert [r.value for r in tailing.kafka.read_committed(topic)] == [b"new"]
