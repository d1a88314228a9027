"""Rows through SQLAlchemy 2: a Session takes part in its unit of work, a Connection executes.

For a Session the row is an object like any other: a private class, mapped in a registry and
MetaData of its own, so it meets no Base of the application. The unit of work then does all
that matters, by rules people know: the INSERT goes out at flush, with the routing of
`get_bind`, several events in one statement (the mapper has no server defaults, so nothing
is fetched back and rows of one flush become one executemany, which the drivers send as a
multi-row INSERT); rollback and SAVEPOINT rollback drop the objects; autoflush, two-phase
and AsyncSession work as ever. Nothing here talks to the database at `add`.

Autocommit is refused twice: at `add` where the engine says so, and at flush, before the
statement, by what the driver knows then. SQLAlchemy itself is only imported here, and this
module only once the application has imported it (`writer.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event, exc, orm
from sqlalchemy.dialects import mysql

from cdc.errors import NotInTransaction, UnsupportedConnection
from cdc.outbox.drivers import refuse_autocommit
from cdc.outbox.row import NewRow
from cdc.outbox.table import TableName

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_DIALECTS = frozenset({"mysql", "mariadb"})
_FIELDS = tuple(field.name for field in fields(NewRow))


def session_of(target: Any) -> orm.Session | None:
    """The Session behind a Session, an AsyncSession, or a scoped_session of either."""
    if isinstance(target, orm.scoped_session) or _is_async(target, "async_scoped_session"):
        target = target()  # the session of this scope
    if _is_async(target, "AsyncSession"):
        target = target.sync_session
    return target if isinstance(target, orm.Session) else None


def is_async_session(target: object) -> bool:
    """Whether commit and rollback must be awaited."""
    return _is_async(target, "AsyncSession") or _is_async(target, "async_scoped_session")


def is_connection(target: object) -> bool:
    """Whether it is a Connection; one that is awaited is refused with a hint."""
    if is_async_connection(target):
        raise UnsupportedConnection(
            "an AsyncConnection is awaited: add() cannot wait for it", hint="Write `await outbox.add_async(...)`."
        )
    return isinstance(target, sa.Connection)


def is_async_connection(target: object) -> bool:
    """Whether it is an AsyncConnection."""
    return _is_async(target, "AsyncConnection")


def _is_async(target: object, name: str) -> bool:
    """isinstance() without importing the asyncio side for those who do not use it."""
    module = sys.modules.get("sqlalchemy.ext.asyncio")
    return module is not None and isinstance(target, getattr(module, name))


def add_to_session(session: orm.Session, table: TableName, rows: Sequence[NewRow]) -> None:
    """Make the rows part of the session's unit of work."""
    mapped = _mapped_now(table)
    _check_bind(session, mapped)
    session.add_all(mapped(row) for row in rows)


def write(connection: sa.Connection, table: TableName, rows: Sequence[NewRow]) -> None:
    """Insert at once, in the connection's transaction."""
    _check_dialect(connection.dialect)
    _refuse_autocommit(connection)
    values = [{name: getattr(row, name) for name in _FIELDS} for row in rows]
    connection.execute(sa.insert(_table(table)), values)


async def write_async(connection: AsyncConnection, table: TableName, rows: Sequence[NewRow]) -> None:
    """The same through an AsyncConnection."""
    await connection.run_sync(write, table, rows)


@cache
def _table(table: TableName) -> sa.Table:
    """Columns as they are written: no server defaults, headers as the text they already are."""
    return sa.Table(
        table.name,
        sa.MetaData(),
        sa.Column("event_id", sa.BINARY(16), primary_key=True),
        sa.Column("event_name", sa.String(255)),
        sa.Column("topic", sa.String(249)),
        sa.Column("event_key", sa.VARBINARY(1024)),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("content_type", sa.String(127)),
        sa.Column("headers", sa.Text()),
        sa.Column("created_at", mysql.DATETIME(fsp=6)),
        schema=table.schema,
    )


@cache
def _mapped(table: TableName) -> type[Any]:
    class OutboxRow:
        """A row waiting in the session; seen in `session.new`, named by its repr."""

        def __init__(self, row: NewRow) -> None:
            for name in _FIELDS:
                setattr(self, name, getattr(row, name))

        def __repr__(self) -> str:
            return f"<OutboxRow {table.quoted} {vars(self).get('event_name')} {vars(self).get('event_id', b'').hex()}>"

    orm.registry().map_imperatively(OutboxRow, _table(table))
    event.listen(OutboxRow, "before_insert", _before_insert)
    return OutboxRow


def _mapped_now(table: TableName) -> type[Any]:
    """Mapped again where the application (its tests, mostly) called clear_mappers()."""
    if not hasattr(_mapped(table), "__mapper__"):
        _mapped.cache_clear()
    return _mapped(table)


def _before_insert(_mapper: object, connection: sa.Connection, _target: object) -> None:
    _refuse_autocommit(connection)


def _check_bind(session: orm.Session, mapped: type[Any]) -> None:
    try:
        bind = session.get_bind(mapper=sa.inspect(mapped))
    except exc.UnboundExecutionError as error:
        raise UnsupportedConnection(
            "this session does not know which database the outbox table is in: it binds classes or tables only",
            hint="Give the session a bind for all else, Session(bind=engine, binds=...), or add through the connection "
            "of a class: outbox.add(session.connection(bind_arguments={'mapper': YourModel}), event).",
        ) from error
    _check_dialect(bind.dialect)
    # The second is private, and absent where SQLAlchemy changes it: the check at flush remains.
    levels = {
        bind.get_execution_options().get("isolation_level"),
        getattr(bind.dialect, "_on_connect_isolation_level", None),
    }
    if "AUTOCOMMIT" in levels:
        raise _autocommit()


def _check_dialect(dialect: sa.Dialect) -> None:
    if dialect.name not in _DIALECTS:
        raise UnsupportedConnection(
            f"the session or connection is bound to {dialect.name}, not to MySQL or MariaDB",
            hint="Bind it to an engine of mysql+... or mariadb+...",
        )


def _refuse_autocommit(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT":
        raise _autocommit()
    driver_connection = connection.connection.driver_connection
    if driver_connection is not None:
        refuse_autocommit(driver_connection, may_ask=False)


def _autocommit() -> NotInTransaction:
    return NotInTransaction(
        'isolation_level="AUTOCOMMIT": the event would be committed apart from your changes',
        hint="Use an engine or connection with a transactional isolation level for what writes events.",
    )
