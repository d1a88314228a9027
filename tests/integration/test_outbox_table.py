"""The DDL on real servers: what a writer in plain SQL can rely on."""

import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from cdc.outbox.table import ddl, sqlalchemy_table
from tests.integration.outbox_rows import Table, create
from tests.servers import Database

MANY = 10_000
PLAIN = "INSERT INTO outbox (event_name, topic, payload) VALUES "


@pytest.fixture
def table(server: Database, schema: str) -> Table:
    return create(server, schema)


@pytest.fixture
def engine(table: Table) -> Iterator[sa.Engine]:
    engine = sa.create_engine(table.url("pymysql"))
    yield engine
    engine.dispose()


def _ids(table: Table) -> list[uuid.UUID]:
    return [uuid.UUID(bytes=row["event_id"]) for row in table.rows()]


def test_a_plain_insert_gets_id_time_and_content_type(table: Table) -> None:
    before = datetime.now(UTC)
    table.server.run(
        "SET time_zone = '+05:30'", PLAIN + "('n', 't', '{}')", "SET time_zone = '-11:00'", PLAIN + "('n', 't', '{}')",
        schema=table.schema,
    )  # fmt: skip
    rows = table.rows()
    assert len(rows) == 2
    for row in rows:
        event_id = uuid.UUID(bytes=row["event_id"])
        assert (event_id.version, event_id.variant) == (7, uuid.RFC_4122)
        created_at = row["created_at"].replace(tzinfo=UTC)
        assert timedelta(seconds=-2) < created_at - before < timedelta(seconds=60)
        milliseconds = datetime.fromtimestamp((event_id.int >> 80) / 1000, UTC)
        assert abs(milliseconds - created_at) < timedelta(milliseconds=2)
        assert (row["event_key"], row["headers"], row["content_type"]) == (None, None, "application/json")


def test_ids_of_the_server_rise_from_statement_to_statement(table: Table) -> None:
    table.server.run(*[PLAIN + f"('{n}', 't', '')" for n in range(300)], schema=table.schema)
    assert table.names() == [str(n) for n in range(300)]


def test_ids_of_the_server_are_distinct_in_statements_of_many_rows(table: Table) -> None:
    table.server.run(
        PLAIN + ", ".join(["('n', 't', '')"] * MANY),
        PLAIN.replace("VALUES", f"SELECT event_name, topic, payload FROM outbox LIMIT {MANY}"),
        schema=table.schema,
    )
    ids = _ids(table)
    assert len(ids) == len(set(ids)) == 2 * MANY  # the primary key says so, too
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    # all of the 62 random bits and the RFC's variant: every value of the first byte after the time is met
    assert {one.bytes[8] for one in ids} == set(range(0x80, 0xC0))


def test_the_defaults_raise_no_warning_in_a_log_of_rows(table: Table) -> None:
    assert table.server.run(PLAIN + "('n', 't', '')", "SHOW WARNINGS", schema=table.schema) == ()
    assert table.server.run("SELECT @@binlog_format")[0][0] == "ROW"


@pytest.mark.parametrize("names", ["latin1", "utf8mb4", "binary"])
def test_the_defaults_do_not_mind_the_sessions_charset(server: Database, schema: str, names: str) -> None:
    server.run(f"SET NAMES {names}", ddl(server.kind), PLAIN + "('n', 't', '')", schema=schema)
    assert [one.version for one in _ids(Table(server, schema))] == [7]


def test_sqlalchemys_table_is_the_same_table(table: Table, engine: sa.Engine) -> None:
    metadata = sa.MetaData()
    sqlalchemy_table(metadata, "other")
    metadata.create_all(engine)
    mine, others = (
        table.server.run(f"SHOW CREATE TABLE {name}", schema=table.schema)[0][1] for name in ("outbox", "other")
    )
    assert others.replace("`other`", "`outbox`") == mine


def test_the_pages_examples_run(table: Table) -> None:
    page = (Path(__file__).parents[2] / "schemas" / "README.md").read_text()
    examples = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    table.server.run(
        "CREATE TABLE product (id INT, price INT)", "INSERT INTO product VALUES (1, 5), (2, 6)", schema=table.schema
    )
    table.server.run(*examples, schema=table.schema)
    assert len(examples) == 3
    names = ["order.created", "order.created", "order.deleted", "price.changed", "price.changed"]
    assert sorted(table.names()) == names
    assert {row["event_key"] for row in table.rows()} == {b"o-1", b"o-2", b"1", b"2"}


def test_every_value_of_the_limits_fits(table: Table) -> None:
    from cdc.outbox import Event, Outbox

    connection = table.server.connect(database=table.schema)
    largest = Event(
        "n" * 254 + "🎉",
        "t" * 249,
        b"x" * 1_000_000,
        key=b"k" * 1024,
        content_type="c" * 127,
        headers={"h" * 500: "v" * 500},
    )
    Outbox(f"{table.schema}.outbox").add(connection, largest)
    connection.commit()
    connection.close()
    assert [row["event_name"] for row in table.rows()] == [largest.event_name]
