"""Rows through a DB-API cursor or connection, awaited or not.

PyMySQL, mysqlclient, MySQL Connector, Django's wrappers; asyncmy and aiomysql.

One multi-row INSERT for all rows of a call, made here and not by `executemany`: the drivers
cut that at lengths of their own. Past `_ROWS` rows or `_BYTES` of data it becomes several,
because a statement must fit the server's max_allowed_packet (16 MiB on MariaDB), escaped.

No driver is imported; they are told apart by what they offer. Quirks that shaped this:
* Whether the connection commits by itself is known from the status flags of the server's last
  answer, without asking. An explicit START TRANSACTION on an autocommit connection is a
  transaction; mysqlclient shows no flag for that, so there it is refused.
* MySQL Connector's `autocommit` sends a SELECT. It is only asked where nothing else tells: in
  pure Python (or awaited), and no statement of the transaction sent yet.
* aiomysql 0.3 cannot send bytes with PyMySQL 1.2, so it gets them as hexadecimal text.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from cdc.errors import NotInTransaction, UnsupportedConnection
from cdc.outbox.row import NewRow
from cdc.outbox.table import Destination, quote

_ROWS = 1000
_BYTES = 4 * 1024 * 1024
_IN_TRANSACTION, _AUTOCOMMIT = 1, 2  # SERVER_STATUS flags of the protocol
_OTHER_DATABASES = frozenset({"sqlite3", "aiosqlite", "psycopg", "psycopg2", "asyncpg", "pg8000", "pyodbc", "oracledb"})

_ACCEPTED = (
    "Give a SQLAlchemy Session, AsyncSession or Connection, or a MySQL or MariaDB driver's cursor or connection "
    "(PyMySQL, mysqlclient, MySQL Connector, Django's); awaited ones (asyncmy, aiomysql) go to `await add_async(...)`."
)


def write(target: Any, to: Destination, rows: Sequence[NewRow]) -> None:
    """Insert through a cursor, or through a cursor of its own of a connection."""
    if _is_awaited(_checked(target)):
        raise _awaited(target)
    own = not hasattr(target, "execute")
    cursor = target.cursor() if own else target
    try:
        refuse_autocommit(cursor)
        for statement, values in statements(to, rows):
            answer = cursor.execute(statement, values)
            if hasattr(answer, "__await__"):
                answer.close()  # nothing was sent yet, and nothing shall warn about it
                raise _awaited(target)
    finally:
        if own:
            cursor.close()


async def write_async(target: Any, to: Destination, rows: Sequence[NewRow]) -> None:
    """The same where execute() is awaited."""
    own = not hasattr(_checked(target), "execute")
    cursor = await _now(target.cursor()) if own else target
    try:
        if await _commits_alone_awaited(cursor):
            raise _not_in_transaction()
        for statement, values in statements(to, rows, as_hex=type(cursor).__module__.startswith("aiomysql")):
            await _now(cursor.execute(statement, values))
    finally:
        if own:
            await _now(cursor.close())


def statements(
    to: Destination, rows: Sequence[NewRow], *, as_hex: bool = False
) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Multi-row INSERTs and their values, each within what a server takes; DELETEs where rows shall not stay."""
    head, marks = _insert(to, as_hex)
    for part in _parts(rows):
        values = [value for row in part for value in _values(to, row, as_hex=as_hex)]
        yield head + ", ".join([marks] * len(part)), tuple(values)
    if to.remove_after_insert:
        yield from _deletes(to, rows, as_hex=as_hex)


@lru_cache(maxsize=64)
def _insert(to: Destination, as_hex: bool) -> tuple[str, str]:  # noqa: FBT001  # a cache's key
    """The INSERT up to VALUES, and the place-holders of one row."""
    columns = ", ".join(map(quote, to.layout.names))
    # Nothing of an event is in the text: table and columns are quoted.
    head = f"INSERT INTO {to.table.quoted} ({columns}) VALUES ".replace("%", "%%")  # noqa: S608
    marks = ("UNHEX(%s)" if as_hex and column.is_binary else "%s" for column in to.layout.written)
    return head, f"({', '.join(marks)})"


def _deletes(to: Destination, rows: Sequence[NewRow], *, as_hex: bool) -> Iterator[tuple[str, tuple[object, ...]]]:
    column = to.layout.id
    at = to.layout.names.index(column.name)
    head = f"DELETE FROM {to.table.quoted} WHERE {quote(column.name)} IN ".replace("%", "%%")  # noqa: S608
    mark = "UNHEX(%s)" if as_hex and column.is_binary else "%s"
    for start in range(0, len(rows), _ROWS):
        ids = [_values(to, row, as_hex=as_hex)[at] for row in rows[start : start + _ROWS]]
        yield f"{head}({', '.join([mark] * len(ids))})", tuple(ids)


def _parts(rows: Sequence[NewRow]) -> Iterator[Sequence[NewRow]]:
    start = size = 0
    for n, row in enumerate(rows):
        length = len(row.payload or b"") + len(row.headers or "")
        if n > start and (n - start == _ROWS or size + length > _BYTES):
            yield rows[start:n]
            start, size = n, 0
        size += length
    if start < len(rows):
        yield rows[start:]


def _values(to: Destination, row: NewRow, *, as_hex: bool) -> Sequence[object]:
    """Of types every driver knows: text, bytes, int and None, in the order of the layout's columns."""
    values = [
        value.isoformat(" ", "microseconds") if isinstance(value, datetime) else value
        for value in to.layout.values(row)
    ]
    return [value.hex() if isinstance(value, bytes) else value for value in values] if as_hex else values


def refuse_autocommit(target: Any, *, may_ask: bool = True) -> None:
    """Raise where the driver can tell that every statement is committed at once."""
    if commits_alone(target, may_ask=may_ask):
        raise _not_in_transaction()


def _not_in_transaction() -> NotInTransaction:
    return NotInTransaction(
        "the connection is in autocommit mode: the event would be committed apart from your changes",
        hint="Switch it off (`connection.autocommit(False)`; Django: `with transaction.atomic():`), "
        "begin a transaction, add the event, then commit.",
    )


def commits_alone(target: Any, *, may_ask: bool = True) -> bool | None:
    """Whether a statement sent now commits by itself; None where that cannot be told."""
    django = getattr(target, "db", target)
    if hasattr(django, "in_atomic_block"):
        return not django.in_atomic_block and bool(django.autocommit)
    connection = target if hasattr(target, "commit") else _connection_of(target)
    if connection is None or getattr(connection, "in_transaction", None) is True:
        return None if connection is None else False
    if callable(get := getattr(connection, "get_autocommit", None)):
        if inspect.iscoroutinefunction(get):
            return None  # MySQL Connector, awaited
        begun = _flags(connection, "server_status") & _IN_TRANSACTION
        return bool(get()) and not begun
    if hasattr(connection, "_server_status"):  # MySQL Connector in C
        return bool(_flags(connection, "_server_status") & _AUTOCOMMIT)
    # __class__, because its cursors hold a weak proxy, and only __class__ looks through that.
    asks = may_ask and isinstance(getattr(connection.__class__, "autocommit", None), property)
    return bool(connection.autocommit) if asks else None


async def _commits_alone_awaited(cursor: Any) -> bool:
    connection = _connection_of(cursor)
    get = getattr(connection, "get_autocommit", None)
    if inspect.iscoroutinefunction(get) and not connection.in_transaction:
        return bool(await get())
    return bool(commits_alone(cursor))


def _connection_of(cursor: Any) -> Any:
    """MySQL Connector's cursors keep it under a private name; all others show it."""
    return getattr(cursor, "connection", None) or getattr(cursor, "_connection", None)


def _flags(connection: Any, name: str) -> int:
    flags = getattr(connection, name, None)
    return flags if isinstance(flags, int) else 0


def _checked(target: Any) -> Any:
    if not hasattr(target, "execute") and not (hasattr(target, "cursor") and hasattr(target, "commit")):
        raise UnsupportedConnection(f"cannot write events through a {type(target).__qualname__}", hint=_ACCEPTED)
    vendor = getattr(getattr(target, "db", target), "vendor", "mysql")  # Django tells
    if type(target).__module__.partition(".")[0] in _OTHER_DATABASES or vendor != "mysql":
        raise UnsupportedConnection(
            f"{type(target).__module__}.{type(target).__qualname__} is not a connection to MySQL or MariaDB",
            hint=_ACCEPTED,
        )
    return target


def _is_awaited(target: Any) -> bool:
    method = getattr(target, "execute", None) or target.commit
    return inspect.iscoroutinefunction(method)


def _awaited(target: Any) -> UnsupportedConnection:
    return UnsupportedConnection(
        f"{type(target).__module__}.{type(target).__qualname__} is awaited: add() cannot wait for it",
        hint="Write `await outbox.add_async(...)`.",
    )


async def _now(answer: Any) -> Any:
    return await answer if hasattr(answer, "__await__") else answer
