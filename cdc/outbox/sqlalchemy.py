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
from functools import cache
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event, exc, orm
from sqlalchemy.dialects import mysql

from cdc.errors import NotInTransaction, UnsupportedConnection
from cdc.outbox.columns import Column
from cdc.outbox.drivers import refuse_autocommit
from cdc.outbox.row import NewRow
from cdc.outbox.table import Destination

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_DIALECTS = frozenset({"mysql", "mariadb"})
_REMOVING = "cdc.outbox removes after insert"  # in Session.info: its listener is there


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


def add_to_session(session: orm.Session, to: Destination, rows: Sequence[NewRow]) -> None:
    """Make the rows part of the session's unit of work."""
    mapped = _mapped_now(to)
    _check_bind(session, mapped)
    if to.remove_after_insert and _REMOVING not in session.info:
        session.info[_REMOVING] = True
        event.listen(session, "after_flush", _remove)
    session.add_all(mapped(row) for row in rows)


def write(connection: sa.Connection, to: Destination, rows: Sequence[NewRow]) -> None:
    """Insert at once, in the connection's transaction."""
    _check_dialect(connection.dialect)
    _refuse_autocommit(connection)
    names = to.layout.names
    values = [dict(zip(names, to.layout.values(row), strict=True)) for row in rows]
    table = _table(to)
    connection.execute(sa.insert(table), values)
    if to.remove_after_insert:
        ids = [one[to.layout.id.name] for one in values]
        connection.execute(sa.delete(table).where(table.c[to.layout.id.name].in_(ids)))


async def write_async(connection: AsyncConnection, to: Destination, rows: Sequence[NewRow]) -> None:
    """The same through an AsyncConnection."""
    await connection.run_sync(write, to, rows)


@cache
def _table(to: Destination) -> sa.Table:
    """Columns as they are written: no server defaults, headers as the text they already are.

    The primary key is the event's id in every layout: another one would have to be fetched back after each INSERT.
    """
    key = to.layout.id.name
    columns = [sa.Column(column.name, _type(column), primary_key=column.name == key) for column in to.layout.written]
    return sa.Table(to.table.name, sa.MetaData(), *columns, schema=to.table.schema)


def _type(column: Column) -> Any:
    if column.kind == "DATETIME":
        return mysql.DATETIME(fsp=6)
    if column.is_binary:
        return sa.LargeBinary()
    return sa.Integer() if isinstance(column.constant, int) else sa.Text()


@cache
def _mapped(to: Destination) -> type[Any]:
    values = to.layout.values
    names = to.layout.names

    class OutboxRow:
        """A row waiting in the session; seen in `session.new`, named by its repr."""

        destination = to

        def __init__(self, row: NewRow) -> None:
            for name, value in zip(names, values(row), strict=True):
                setattr(self, name, value)
            self.event_name_ = row.event_name

        def __repr__(self) -> str:
            return f"<OutboxRow {to.table.quoted} {vars(self).get('event_name_')}>"

    orm.registry().map_imperatively(OutboxRow, _table(to))
    event.listen(OutboxRow, "before_insert", _before_insert)
    return OutboxRow


def _remove(session: orm.Session, _context: object) -> None:
    """After the flush that inserted them, in the same transaction: rows of tables that shall stay empty."""
    ids: dict[Destination, list[Any]] = {}
    for new in session.new:
        to = getattr(type(new), "destination", None)
        if isinstance(to, Destination) and to.remove_after_insert:
            ids.setdefault(to, []).append(getattr(new, to.layout.id.name))
    for to, those in ids.items():
        connection = session.connection(bind_arguments={"mapper": sa.inspect(_mapped(to))})
        table = _table(to)
        connection.execute(sa.delete(table).where(table.c[to.layout.id.name].in_(those)))


def _mapped_now(to: Destination) -> type[Any]:
    """Mapped again where the application (its tests, mostly) called clear_mappers()."""
    if not hasattr(_mapped(to), "__mapper__"):
        _mapped.cache_clear()
    return _mapped(to)


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
