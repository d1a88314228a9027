"""What stands in the way of tailing, said by real servers with those very settings."""

from collections.abc import Callable, Iterator

import pytest

from cdc.errors import (
    ColumnMissing,
    LogDisabled,
    LogFormatNotRow,
    RowImageIncomplete,
    RowMetadataNotFull,
    ServerNotReady,
    SourceAccessDenied,
    SourceUnavailable,
    TableMissing,
)
from cdc.model import TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import ServerFacts, check_server
from cdc.mysql.session import Session, ask
from tests.servers import Database, own_server, unique

DDL = "CREATE TABLE outbox (event_id BINARY(16) PRIMARY KEY, topic VARCHAR(249) NOT NULL, payload LONGBLOB NULL)"


def address_of(server: Database, **changes: object) -> ServerAddress:
    values = {"host": server.host, "port": server.port, "user": server.user, "password": server.password}
    return ServerAddress(**{**values, **changes})


def checking(*tables: TableSpec) -> Callable[[Session], ServerFacts]:
    return lambda session: check_server(session, tables)


@pytest.fixture
def outbox(server: Database, schema: str) -> TableSpec:
    server.run(DDL, schema=schema)
    return TableSpec(schema, "outbox", frozenset({"event_id", "topic"}))


async def test_a_server_that_is_ready_says_who_it_is(server: Database, outbox: TableSpec):
    facts = await ask(address_of(server), checking(outbox))
    assert facts.flavour == server.kind
    if server.kind == "mysql":
        assert facts.identity == server.run("SELECT @@server_uuid")[0][0]
        assert facts.gtid_on == (server.run("SELECT @@gtid_mode")[0][0] == "ON")
    else:
        assert facts.identity == str(server.run("SELECT @@server_id")[0][0])
        assert not facts.gtid_on
    assert facts.warnings == ()


async def test_a_wrong_password_is_told_without_the_password(server: Database):
    account = f"'{unique('u')}'@'%'"
    server.run(f"CREATE USER {account} IDENTIFIED BY 'right-horse'")
    try:
        user = account.split("'")[1]
        with pytest.raises(SourceAccessDenied) as caught:
            await ask(address_of(server, user=user, password="hush-marker-wrong"), checking())
        told = f"{caught.value} {caught.value.hint} {caught.value.__cause__!r}"
        assert user in told
        assert "hush-marker-wrong" not in told
        assert "password" in caught.value.hint
    finally:
        server.run(f"DROP USER {account}")


async def test_nobody_there(server: Database):
    with pytest.raises(SourceUnavailable) as caught:
        await ask(address_of(server, port=1), checking())
    assert caught.value.retryable
    assert "127.0.0.1:1" in str(caught.value)


async def test_a_missing_table(server: Database, schema: str):
    with pytest.raises(TableMissing) as caught:
        await ask(address_of(server), checking(TableSpec(schema, "outbox")))
    assert f"{schema}.outbox" in str(caught.value)
    assert "cdc outbox ddl" in caught.value.hint
    with pytest.raises(TableMissing):
        await ask(address_of(server), checking(TableSpec(schema + "_no", "outbox")))


async def test_a_missing_column(server: Database, outbox: TableSpec):
    wants_more = TableSpec(outbox.schema, outbox.name, frozenset({"event_id", "headers", "event_name"}))
    with pytest.raises(ColumnMissing, match="lacks event_name, headers"):
        await ask(address_of(server), checking(wants_more))


async def test_a_table_whose_rows_would_look_like_history(server: Database, schema: str):
    """Two columns at the end are all that tells a versioned table's history rows in the log."""
    server.run("CREATE TABLE plain (id INT, row_start TIMESTAMP(6), row_end TIMESTAMP(6))", schema=schema)
    with pytest.raises(ServerNotReady, match="row_start and row_end") as caught:
        await ask(address_of(server), checking(TableSpec(schema, "plain")))
    assert "rename" in caught.value.hint
    server.run("ALTER TABLE plain ADD COLUMN behind INT", schema=schema)
    await ask(address_of(server), checking(TableSpec(schema, "plain")))
    if server.kind == "mariadb":
        versioned = "CREATE TABLE versioned (id INT PRIMARY KEY) WITH SYSTEM VERSIONING"
        server.run(versioned, schema=schema)
        await ask(address_of(server), checking(TableSpec(schema, "versioned")))


@pytest.fixture
def account(server: Database) -> Iterator[str]:
    user = unique("u")
    server.run(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    yield user
    server.run(f"DROP USER '{user}'@'%'")


async def test_missing_grants_come_with_the_grant_statement(server: Database, outbox: TableSpec, account: str):
    address = address_of(server, user=account, password="pw")
    with pytest.raises(SourceAccessDenied) as caught:
        await ask(address, checking(outbox))
    assert caught.value.hint == f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO '{account}'@'%';"
    server.run(caught.value.hint)
    with pytest.raises(SourceAccessDenied) as caught:
        await ask(address, checking(outbox))
    assert caught.value.hint == f"GRANT SELECT ON `{outbox.schema}`.`outbox` TO '{account}'@'%';"
    server.run(caught.value.hint)
    await ask(address, checking(outbox))


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def own(request: pytest.FixtureRequest) -> Iterator[Database]:
    server = own_server(request.param, options=["--binlog-ignore-db=hidden"])
    yield server
    server.instance.remove()


@pytest.mark.parametrize(
    ("setting", "value", "error", "hint"),
    [
        ("binlog_format", "STATEMENT", LogFormatNotRow, "SET GLOBAL binlog_format = 'ROW'"),
        ("binlog_format", "MIXED", LogFormatNotRow, "Sessions that are connected keep the old format"),
        ("binlog_row_metadata", "MINIMAL", RowMetadataNotFull, "SET GLOBAL binlog_row_metadata = 'FULL'"),
        ("binlog_row_image", "MINIMAL", RowImageIncomplete, "SET GLOBAL binlog_row_image = 'FULL'"),
    ],
)
async def test_settings_that_lose_rows(own: Database, setting: str, value: str, error: type, hint: str):
    right = own.run(f"SELECT @@GLOBAL.{setting}")[0][0]
    own.run(f"SET GLOBAL {setting} = '{value}'")
    try:
        with pytest.raises(error, match=value) as caught:
            await ask(address_of(own), checking())
        assert hint in caught.value.hint
    finally:
        own.run(f"SET GLOBAL {setting} = '{right}'")
    await ask(address_of(own), checking())


async def test_a_schema_the_server_keeps_out_of_its_log(own: Database):
    own.run("CREATE DATABASE IF NOT EXISTS hidden", DDL.replace(" outbox", " IF NOT EXISTS hidden.outbox"))
    with pytest.raises(ServerNotReady, match="hidden"):
        await ask(address_of(own), checking(TableSpec("hidden", "outbox")))


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
async def test_no_log_at_all(kind: str, start_server: Callable[..., Database]):
    # the stack starts its servers with a log; the last option wins
    server = start_server(kind, options=["--skip-log-bin"])
    with pytest.raises(LogDisabled) as caught:
        await ask(address_of(server), checking())
    assert "log_bin" in caught.value.hint


async def test_warnings_name_what_may_lose_events(own: Database):
    own.run("SET GLOBAL sync_binlog = 0")
    try:
        facts = await ask(address_of(own), checking())
        assert ["sync_binlog" in text for text in facts.warnings] == [True]
    finally:
        own.run("SET GLOBAL sync_binlog = 1")
