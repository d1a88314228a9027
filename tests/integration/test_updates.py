"""UPDATEs of outbox rows: what the log says of them, and `table.op.invalid.behavior`."""

import pytest

from cdc.model import TableSpec
from tests.integration.live_log import Case, read
from tests.running import Tailing
from tests.servers import unique

DEBEZIUM = (
    "CREATE TABLE outbox (id CHAR(36) PRIMARY KEY, aggregatetype VARCHAR(100) NOT NULL, "
    "aggregateid VARCHAR(100), type VARCHAR(100), payload JSON NULL)"
)
WIDE = (
    "CREATE TABLE outbox (id BIGINT, n INT, part VARCHAR(20), doc JSON, other JSON, body LONGBLOB, {key}) "
    "CHARACTER SET utf8mb4"
)
BODY = "'a', '{\"x\": 1, \"long\": \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}', '[1]', 'body'"


@pytest.fixture
def wide(server, schema):
    def made(key="PRIMARY KEY (id)", wanted=None):
        server.run("DROP TABLE IF EXISTS outbox", schema=schema)
        case = Case.begin(server, schema, WIDE.format(key=key))
        case.run(*(f"INSERT INTO outbox VALUES ({n}, {n}, {BODY})" for n in (1, 2, 3)))
        case.spec = TableSpec(schema, "outbox", wanted=wanted, updates=True)
        return case

    return made


def changes(case: Case) -> list[list[int]]:
    """The ids of the changed rows, transaction by transaction; INSERTs aside."""
    found = read(case.server, case.start, [case.spec])
    return [
        changed
        for transaction in found
        if (changed := [row.get("id") for row in transaction.rows if row.table.updated])
    ]


def test_rows_come_as_they_were(wide):
    case = wide()
    case.run("UPDATE outbox SET body = 'new', n = n + 10 WHERE id < 3", "DELETE FROM outbox WHERE id = 3")
    found = [row for t in read(case.server, case.start, [case.spec]) for row in t.rows if row.table.updated]
    assert [(row.get("id"), row.get("n"), row.get("body")) for row in found] == [(1, 1, b"body"), (2, 2, b"body")]


@pytest.mark.parametrize("image", ["FULL", "MINIMAL", "NOBLOB"])
def test_whatever_the_session_writes_of_a_row(wide, image):
    case = wide()
    with case.session() as cursor:
        cursor.execute(f"SET SESSION binlog_row_image = {image}")
        if case.server.kind == "mysql":
            cursor.execute("SET SESSION binlog_row_value_options = PARTIAL_JSON")
        cursor.execute("UPDATE outbox SET doc = JSON_SET(doc, '$.x', 2), n = 7 WHERE id = 1")
        cursor.execute("UPDATE outbox SET doc = JSON_SET(doc, '$.x', 3), other = NULL, body = NULL")
        cursor.execute("UPDATE outbox SET other = JSON_ARRAY(2), doc = JSON_REMOVE(doc, '$.x') WHERE id = 2")
        cursor.execute("UPDATE outbox SET n = NULL WHERE id = 3")
        cursor.execute("UPDATE outbox SET id = id + 10 WHERE id = 3")
    assert changes(case) == [[1], [1, 2, 3], [2], [3]]


@pytest.mark.parametrize(
    ("key", "keys"),
    [("PRIMARY KEY (id)", ["id"]), ("PRIMARY KEY (part(3), id)", ["id", "part"]), ("PRIMARY KEY (n, id)", ["id", "n"])],
)
def test_a_changed_key_is_nothing(wide, key, keys):
    case = wide(key)
    case.run(*(f"UPDATE outbox SET {name} = 5 WHERE id = 1" for name in reversed(keys)))
    assert changes(case) == []


def test_without_a_key_any_change_counts(wide):
    case = wide("INDEX (n)")
    case.run("UPDATE outbox SET id = 5 WHERE id = 1")
    assert changes(case) == [[1]]


def test_what_is_rolled_back_never_comes(wide):
    case = wide()
    case.run(
        "START TRANSACTION",
        "UPDATE outbox SET n = 11 WHERE id = 1",
        "SAVEPOINT s",
        "UPDATE outbox SET n = 12 WHERE id = 2",
        "ROLLBACK TO s",
        "UPDATE outbox SET n = 13 WHERE id = 3",
        "COMMIT",
        "START TRANSACTION",
        "UPDATE outbox SET n = 14",
        "ROLLBACK",
    )
    assert changes(case) == [[1, 3]]


def test_others_and_those_who_do_not_ask_are_not_looked_at(wide):
    case = wide()
    case.run("CREATE TABLE more LIKE outbox", "INSERT INTO more SELECT * FROM outbox", "UPDATE more SET n = 1")
    case.run("START TRANSACTION", "UPDATE outbox SET n = 9 WHERE id = 1", "UPDATE more SET n = 2", "COMMIT")
    assert changes(case) == [[1]]
    specs = [case.spec, TableSpec(case.schema, "more")]
    updated = [row.table.table for t in read(case.server, case.start, specs) for row in t.rows if row.table.updated]
    assert updated == ["outbox"]


def test_a_payload_compressed_by_mysql(mysql):
    with mysql.fresh_schema("updates") as schema:
        case = Case.begin(mysql, schema, WIDE.format(key="PRIMARY KEY (id)"))
        case.spec = TableSpec(schema, "outbox", updates=True)
        case.run(
            "SET SESSION binlog_transaction_compression = ON",
            f"INSERT INTO outbox VALUES (1, 1, {BODY})",
            "UPDATE outbox SET n = 2",
        )
        assert changes(case) == [[1]]


def test_a_system_versioned_table(mariadb):
    """Its DELETE is logged as an UPDATE that ends the row."""
    with mariadb.fresh_schema("updates") as schema:
        ddl = "CREATE TABLE outbox (id BIGINT PRIMARY KEY, n INT) WITH SYSTEM VERSIONING"
        case = Case.begin(mariadb, schema, ddl)
        case.spec = TableSpec(schema, "outbox", updates=True)
        case.run(
            "INSERT INTO outbox VALUES (1, 1), (2, 2)", "UPDATE outbox SET n = 5 WHERE id = 1", "DELETE FROM outbox"
        )
        assert changes(case) == [[1]]


@pytest.fixture
def tailing(server, kafka, schema, new_topic, tmp_path):
    """With the option left to be said."""
    server.run(DEBEZIUM, schema=schema)
    router = {"route.topic.replacement": new_topic("updates")}
    tables = {f"{schema}.outbox": {"layout": "debezium", "router": router}}
    return Tailing(tmp_path, server, kafka, "shop", tables, "p" + unique("x")[-8:], "latest")


INSERT = "INSERT INTO outbox VALUES ('{0}', 'orders', 'k', 'made', '{{\"n\": {0}}}')"
UPDATE = "UPDATE outbox SET type = 'changed {0}' WHERE id = '{0}'"


def test_each_behaviour(tailing, server, kafka, schema):
    (router,) = (table["router"] for table in tailing.tables.values())
    router["table.op.invalid.behavior"] = "fatal"
    assert tailing.catch_up().code == 0
    server.run(INSERT.format(1), "UPDATE outbox SET id = '5' WHERE id = '1'", "DELETE FROM outbox", schema=schema)
    server.run(INSERT.format(2), UPDATE.format(2), INSERT.format(3), schema=schema)
    stopped = tailing.catch_up()
    assert stopped.code == 6
    assert "UnexpectedUpdate" in stopped.err
    assert f"{schema}.outbox, event 2 ('made')" in stopped.err, "not at the key's UPDATE, and not at the DELETE"
    assert "table.op.invalid.behavior: warn" in stopped.err

    def ids():
        return [dict(record.headers)["id"] for record in kafka.read_committed(router["route.topic.replacement"])]

    assert ids() == [b"1", b"2"], "all before it, nothing behind it"
    for number, behaviour in ((4, "warn"), (5, "error")):
        router["table.op.invalid.behavior"] = behaviour
        server.run(INSERT.format(number), schema=schema)
        ended = tailing.catch_up()
        assert ended.code == 0, ended.err
        (line,) = [line for line in ended.err.splitlines() if "UPDATE of an outbox's row passed over" in line]
        assert ("error" if behaviour == "error" else "warning") in line
        server.run(UPDATE.format(number), schema=schema)
    assert ids() == [b"1", b"2", b"3", b"4", b"5"]
