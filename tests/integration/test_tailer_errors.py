"""Each failure of a start is one clear error with the next step, an exit code of its own, and no secret in it."""

import socket

import pytest

from cdc.outbox.table import ddl
from tests.running import Tailing
from tests.servers import Kafka, unique, until

SECRET = "hush-marker-7f1"


@pytest.fixture
def tailing(mariadb, kafka, tmp_path):
    with mariadb.fresh_schema() as schema:
        mariadb.run(ddl("mariadb"), schema=schema)
        prefix = unique("p").replace("_", "-")
        made = Tailing(tmp_path, mariadb, kafka, "shop", {f"{schema}.outbox": {"layout": "native"}}, prefix)
        yield made
        kafka.delete_topic(made.checkpoint_topic)


def refused(tailing, code, *words, arguments=()):
    """Run it; what it said last holds all the words, in error and hint."""
    ended = tailing.catch_up(*arguments)
    assert ended.code == code, ended.err
    last = ended.err[ended.err.index("error: ") :]
    assert "hint:" in last
    for word in words:
        assert word in last, f"{word!r} is not in {last!r}"
    assert SECRET not in ended.err + ended.out
    assert "Traceback" not in ended.err
    return last


def test_wrong_password(tailing):
    tailing.source_more = {"password": SECRET}
    refused(tailing, 1, "root", "password")


def test_database_not_there(tailing):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        tailing.server = type(tailing.server)("mariadb", f"mysql://root:{SECRET}@127.0.0.1:{port}")
        refused(tailing, 1, f"127.0.0.1:{port}")


def test_kafka_not_there(tailing):
    real = tailing.kafka
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        tailing.kafka = Kafka(f"127.0.0.1:{free.getsockname()[1]}")
        refused(tailing, 1, tailing.kafka.bootstrap)
    tailing.kafka = real


def test_table_missing(tailing):
    (table,) = tailing.tables
    tailing.tables = {table.replace(".outbox", ".outbux"): {"layout": "native"}}
    refused(tailing, 1, "outbux", "cdc outbox ddl")


def test_needed_column_missing(tailing):
    (table,) = tailing.tables
    tailing.server.run(f"ALTER TABLE {table} DROP COLUMN content_type")
    refused(tailing, 1, "content_type", table)


def test_unknown_key_in_the_configuration(tailing):
    tailing.source_more = {"tabels": 1}
    ended = tailing.catch_up()
    assert ended.code == 2
    assert "tabels" in ended.err
    assert 'did you mean "tables"' in ended.err


def test_start_must_be_said_where_rows_may_be_published_already(tailing):
    tailing.start = None
    tailing.tables = {name: {"layout": "cqrs"} for name in tailing.tables}
    ended = tailing.catch_up()
    assert ended.code == 2
    assert "start" in ended.err
    assert "earliest" in ended.err


def test_lost_checkpoint_and_the_way_out(tailing):
    assert tailing.catch_up().code == 0
    tailing.kafka.delete_topic(tailing.checkpoint_topic)
    refused(tailing, 6, tailing.checkpoint_topic, "--first-start")
    assert tailing.checkpoint_topic not in tailing.kafka.topics()
    assert tailing.catch_up("--first-start").code == 0
    assert tailing.show()["checkpoint"]["released"] is True


@pytest.fixture(scope="module")
def unready():
    """A MariaDB whose settings may be changed."""
    from tests.servers import own_server

    server = own_server("mariadb")
    yield server
    server.instance.remove()


@pytest.mark.parametrize(
    ("setting", "wrong", "right"), [("binlog_format", "MIXED", "ROW"), ("binlog_row_metadata", "MINIMAL", "FULL")]
)
def test_server_settings_that_do_not_allow_tailing(tailing, unready, setting, wrong, right):
    tailing.server = unready
    unready.run("CREATE DATABASE IF NOT EXISTS shop", "DROP TABLE IF EXISTS shop.outbox")
    unready.run(ddl("mariadb", "shop.outbox"))
    tailing.tables = {"shop.outbox": {"layout": "native"}}
    unready.run(f"SET GLOBAL {setting} = '{wrong}'")
    said = refused(tailing, 1, setting, wrong, f"SET GLOBAL {setting}")
    unready.run(f"SET GLOBAL {setting} = '{right}'")
    tailing.start = "latest"
    assert tailing.catch_up().code == 0, said


def test_a_service_rides_out_what_may_pass_and_says_what_it_waits_for(tailing, start_server):
    own = start_server("mariadb")
    own.run("CREATE DATABASE shop", ddl("mariadb", "shop.outbox"))
    tailing.server, tailing.tables = own, {"shop.outbox": {"layout": "native"}}
    with tailing.kafka.fresh_topic() as topic:
        process = tailing.run()
        try:
            process.await_line("reading the log")
            own.instance.kill()
            line = process.await_line("starting over from the checkpoint")
            assert line["error"] == "SourceUnavailable"
            assert line["hint"]
            own.instance.start()
            own.run(f"INSERT INTO shop.outbox (event_name, topic, payload) VALUES ('x', '{topic}', 'after')")
            until("the event arrives", lambda: [r.value for r in tailing.kafka.read_committed(topic)] == [b"after"])
        finally:
            assert process.stop() == 0


def test_a_statement_in_text_form_stops_unless_its_schema_is_listed(tailing, unready):
    tailing.server, tailing.tables, tailing.start = unready, {"shop.outbox": {"layout": "native"}}, "latest"
    unready.run("CREATE DATABASE IF NOT EXISTS shop", "DROP TABLE IF EXISTS shop.outbox")
    unready.run(ddl("mariadb", "shop.outbox"), "CREATE DATABASE IF NOT EXISTS notes", "CREATE TABLE notes.n (i INT)")
    assert tailing.catch_up().code == 0
    unready.run("SET SESSION binlog_format = STATEMENT", "INSERT INTO notes.n VALUES (1)", schema="notes")
    refused(tailing, 6, "statement", "statements_allowed_in")
    tailing.source_more = {"statements_allowed_in": ["notes"]}
    assert tailing.catch_up().code == 0
