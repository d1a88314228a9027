"""Through every driver, on real servers: the same row, gone with a rollback, refused in autocommit."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from cdc.errors import NotInTransaction, UnsupportedConnection
from cdc.outbox import Event, Outbox
from tests.integration.outbox_rows import EMPTY, FULL, Table, create, expect
from tests.servers import Database

outbox = Outbox()


def event(name: str) -> Event:
    return Event(name, "t", {"name": name})


def _pymysql(table: Table, *, autocommit: bool) -> Any:
    return table.server.connect(database=table.schema, autocommit=autocommit)


def _mysqlclient(table: Table, *, autocommit: bool) -> Any:
    import MySQLdb

    return MySQLdb.connect(**table.connect_options, database=table.schema, charset="utf8mb4", autocommit=autocommit)


def _connector(table: Table, *, autocommit: bool) -> Any:
    import mysql.connector

    return mysql.connector.connect(**table.connect_options, database=table.schema, autocommit=autocommit)


SYNC = {"pymysql": _pymysql, "MySQLdb": _mysqlclient, "mysql.connector": _connector}


async def _asyncmy(table: Table, *, autocommit: bool) -> Any:
    import asyncmy

    return await asyncmy.connect(**table.connect_options, db=table.schema, autocommit=autocommit)


async def _aiomysql(table: Table, *, autocommit: bool) -> Any:
    import aiomysql

    return await aiomysql.connect(**table.connect_options, db=table.schema, charset="utf8mb4", autocommit=autocommit)


async def _connector_aio(table: Table, *, autocommit: bool) -> Any:
    from mysql.connector.aio import connect

    return await connect(**table.connect_options, database=table.schema, autocommit=autocommit)


ASYNC = {"asyncmy": _asyncmy, "aiomysql": _aiomysql}


@pytest.fixture
def table(server: Database, schema: str) -> Table:
    return create(server, schema)


@pytest.fixture(params=list(SYNC))
def connect(request: pytest.FixtureRequest, table: Table) -> Iterator[Callable[..., Any]]:
    opened = []

    def connect(*, autocommit: bool = False) -> Any:
        opened.append(SYNC[request.param](table, autocommit=autocommit))
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()


@pytest.fixture(params=list(ASYNC))
def connect_async(request: pytest.FixtureRequest, table: Table) -> Callable[..., Awaitable[Any]]:
    return lambda *, autocommit=False: ASYNC[request.param](table, autocommit=autocommit)


def test_a_cursor_and_a_connection_write_the_same_row(table: Table, connect: Callable[..., Any]) -> None:
    connection = connect()
    cursor = connection.cursor()
    outbox.add_all(cursor, [FULL, EMPTY])
    connection.rollback()
    assert table.rows() == []
    outbox.add(cursor, FULL)
    cursor.execute("SAVEPOINT here")
    outbox.add(cursor, event("no"))
    cursor.execute("ROLLBACK TO SAVEPOINT here")
    outbox.add(connection, EMPTY)
    assert table.rows() == []  # it never commits
    connection.commit()
    written = table.rows()
    assert len(written) == 2
    expect(written[0], FULL)
    expect(written[1], EMPTY)


def test_a_thousand_events_are_one_statement(table: Table, connect: Callable[..., Any]) -> None:
    connection = connect()
    cursor = connection.cursor()
    events = [event(str(n)) for n in range(1000)]
    outbox.add_all(cursor, events)
    cursor.execute("SHOW SESSION STATUS LIKE 'Com_insert'")
    assert [int(cursor.fetchall()[0][1])] == [1]
    connection.commit()
    assert table.names() == [str(n) for n in range(1000)]


def test_autocommit_is_refused_and_a_transaction_in_it_taken(table: Table, connect: Callable[..., Any]) -> None:
    connection = connect(autocommit=True)
    cursor = connection.cursor()
    for target in (connection, cursor):
        with pytest.raises(NotInTransaction):
            outbox.add(target, event("no"))
    cursor.execute("START TRANSACTION")
    if type(connection).__module__.startswith("MySQLdb"):  # shows no flag: refused, to be safe
        with pytest.raises(NotInTransaction):
            outbox.add(cursor, event("no"))
        connection.autocommit(False)
    outbox.add(cursor, event("a"))
    connection.rollback()
    assert table.rows() == []


async def test_awaited_cursors_and_connections(table: Table, connect_async: Callable[..., Awaitable[Any]]) -> None:
    connection = await connect_async()
    cursor = connection.cursor()
    cursor = await cursor if hasattr(cursor, "__await__") else cursor
    await outbox.add_all_async(cursor, [FULL, EMPTY])
    await connection.rollback()
    assert table.rows() == []
    await outbox.add_async(cursor, FULL)
    await outbox.add_async(connection, EMPTY)
    for target in (cursor, connection):
        with pytest.raises(UnsupportedConnection, match="awaited"):
            outbox.add(target, event("no"))
    await connection.commit()
    await _end(cursor)
    await _end(connection)
    written = table.rows()
    assert len(written) == 2
    expect(written[0], FULL)
    expect(written[1], EMPTY)


async def test_awaited_autocommit_is_refused(table: Table, connect_async: Callable[..., Awaitable[Any]]) -> None:
    connection = await connect_async(autocommit=True)
    with pytest.raises(NotInTransaction):
        await outbox.add_async(connection, event("no"))
    await _end(connection)
    assert table.rows() == []


async def _end(closable: Any) -> None:
    answer = closable.close()
    if hasattr(answer, "__await__"):
        await answer
    await asyncio.sleep(0)


def _django(table: Table) -> Any:
    """Django's connection `outbox`, outside of a project."""
    import django
    from django.conf import settings
    from django.db import ConnectionHandler, connections

    if not settings.configured:
        settings.configure(USE_TZ=True)
        django.setup()
    options = {name.upper(): str(value) for name, value in table.connect_options.items()}
    database = {"ENGINE": "django.db.backends.mysql", "NAME": table.schema, **options}
    connections.settings["outbox"] = ConnectionHandler({"default": database}).settings["default"]
    return connections["outbox"]


def test_django(table: Table) -> None:
    from django.db import connections
    from django.db.transaction import atomic

    connection = _django(table)
    for target in (connection, connection.cursor()):
        with pytest.raises(NotInTransaction, match="autocommit"):
            outbox.add(target, event("no"))
    with atomic(using="outbox"), connection.cursor() as cursor:
        outbox.add(cursor, FULL)
        with atomic(using="outbox"):  # a SAVEPOINT
            outbox.add(connection, event("no"))
            connection.set_rollback(True)
        outbox.add(connection, EMPTY)
    with atomic(using="outbox"):
        outbox.add(connection, event("no"))
        connection.set_rollback(True)
    connection.close()
    del connections["outbox"]
    expect(table.rows()[0], FULL)
    assert table.names() == [FULL.event_name, EMPTY.event_name]


async def test_awaited_connector(mysql: Database) -> None:  # it cannot connect to MariaDB
    with mysql.fresh_schema() as schema:
        table = create(mysql, schema)
        alone = await _connector_aio(table, autocommit=True)
        with pytest.raises(NotInTransaction):
            await outbox.add_async(alone, event("no"))
        connection = await _connector_aio(table, autocommit=False)
        await outbox.add_async(connection, FULL)
        await outbox.add_async(await connection.cursor(), EMPTY)
        await connection.commit()
        await _end(alone)
        await _end(connection)
        expect(table.rows()[0], FULL)
        expect(table.rows()[1], EMPTY)
