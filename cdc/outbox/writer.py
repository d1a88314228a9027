"""Outbox: writes events into the outbox table, inside the caller's own transaction.

`add` checks first (`row.py`), then finds out what it was given: a SQLAlchemy Session or
Connection (`sqlalchemy.py`) or a driver's cursor or connection (`drivers.py`). It never
commits, never reads and never opens a connection; only a bound unit commits, when told.
SQLAlchemy is not imported for those who do not use it: an object of its classes can only
exist where the application has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from cdc.errors import ConfigError, UnsupportedConnection
from cdc.outbox import drivers, trace
from cdc.outbox.layouts import layout_of
from cdc.outbox.registry import EventMap, Registered
from cdc.outbox.row import DEFAULT_MAX_BYTES, NewRow, check_header, new_row
from cdc.outbox.table import Destination, TableName

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

    from cdc.outbox.schemas import SchemaFolder


class Outbox:
    """An outbox table to write events to; make one at start and share it, also between threads.

    table: `outbox` or `shop.outbox`. layout: native, debezium or cqrs; columns: role to column, for
    tables of any other form, or to change single roles of the layout. max_bytes: the largest record,
    payload, key and headers together; brokers take 1 MiB unless told otherwise. event_map: only events
    registered in it are taken; the class EventMap stands for the shared map. version_header: the header
    that tells the registered version. schemas: a folder that `cdc schemas export` has written; what an
    event's schema there does not allow is refused (needs jsonschema). trace: whether the active OpenTelemetry
    span is written down.

    remove_after_insert: each row is deleted again in the same transaction, so the table stays empty and
    needs no purge; the tailer reads the INSERT from the log. It costs a second statement, and the second
    copy: `start: snapshot` and a repair after lost logs find nothing in the table.
    """

    def __init__(
        self,
        table: str = "outbox",
        layout: str | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        event_map: EventMap | type[EventMap] | None = None,
        version_header: str | None = None,
        schemas: str | Path | None = None,
        remove_after_insert: bool = False,
        trace: bool = True,
    ) -> None:
        self.destination = Destination(TableName.parse(table), layout_of(layout, columns), remove_after_insert)
        self.max_bytes = max_bytes
        self.event_map = event_map.shared() if isinstance(event_map, type) else event_map
        self.version_header = self._checked(version_header)
        self.schemas = None if schemas is None else _opened(schemas)
        self.trace = trace

    @property
    def table(self) -> TableName:
        """The table events go to."""
        return self.destination.table

    @property
    def layout(self) -> str:
        """The name of its layout."""
        return self.destination.layout.name

    def _checked(self, version_header: str | None) -> str | None:
        if version_header is None:
            return None
        if self.event_map is None or not self.destination.layout.has("headers"):
            lacks = "an event_map" if self.event_map is None else f"a column for headers, which {self.layout} lacks"
            raise ConfigError(
                f"version_header {version_header!r} needs {lacks}",
                hint="Only registered events have a version, and it goes into the row's headers.",
            )
        check_header("version_header", version_header, "1")
        return version_header

    def add(self, target: Any, event: object) -> None:
        """Write one event through a session, connection or cursor, in its transaction."""
        self.add_all(target, (event,))

    def add_all(self, target: Any, events: Iterable[object]) -> None:
        """Write events in one multi-row INSERT; all are checked before the first is written."""
        if rows := self.rows(events):
            self.write(target, rows)

    def write(self, target: Any, rows: Sequence[NewRow]) -> None:
        """Write rows that were checked; `add` and `cdc.outbox.cqrs` end here."""
        alchemy = _alchemy()
        if alchemy is not None and (session := alchemy.session_of(target)) is not None:
            alchemy.add_to_session(session, self.destination, rows)
        elif alchemy is not None and alchemy.is_connection(target):
            alchemy.write(target, self.destination, rows)
        else:
            drivers.write(target, self.destination, rows)

    async def add_async(self, target: Any, event: object) -> None:
        """Write one event through an awaited cursor or connection (asyncmy, aiomysql, AsyncConnection)."""
        await self.add_all_async(target, (event,))

    async def add_all_async(self, target: Any, events: Iterable[object]) -> None:
        """`add_all` for awaited cursors and connections; an AsyncSession takes the events up as in `add_all`."""
        if rows := self.rows(events):
            await self.write_async(target, rows)

    async def write_async(self, target: Any, rows: Sequence[NewRow]) -> None:
        """The same for awaited cursors and connections."""
        alchemy = _alchemy()
        if alchemy is not None and (session := alchemy.session_of(target)) is not None:
            alchemy.add_to_session(session, self.destination, rows)
        elif alchemy is not None and alchemy.is_async_connection(target):
            await alchemy.write_async(target, self.destination, rows)
        else:
            await drivers.write_async(target, self.destination, rows)

    @overload
    def bind(self, session: AsyncSession | async_scoped_session[Any]) -> AsyncUnit: ...

    @overload
    def bind(self, session: Any) -> Unit: ...

    def bind(self, session: Any) -> Unit | AsyncUnit:
        """A unit of work of this outbox on that session: add, add_all, commit, rollback."""
        alchemy = _alchemy()
        if alchemy is not None and alchemy.is_async_session(session):
            return AsyncUnit(self, session)
        if not (hasattr(session, "commit") and hasattr(session, "rollback")):
            raise UnsupportedConnection(
                f"cannot bind to a {type(session).__qualname__}: it has no commit and rollback",
                hint="Bind a SQLAlchemy Session or AsyncSession, or a connection; events go through cursors by add().",
            )
        return Unit(self, session)

    def check(self, event: object) -> None:
        """Raise what `add` would raise about the event itself."""
        self.rows((event,))

    def rows(self, events: Iterable[object]) -> list[NewRow]:
        """The checked values of events, as they would be written now."""
        headers = trace.current() if self.trace else {}
        if self.event_map is None:
            layout, most = self.destination.layout, self.max_bytes
            rows = [new_row(event, most, None, layout, headers) for event in events]
            for row in rows:
                self._fits(row, None)
            return rows
        return [self.row(event, self.event_map.find(event), headers) for event in events]

    def row(self, event: object, registered: Registered, headers: Mapping[str, str] | None = None) -> NewRow:
        """The checked values of an event of which somebody else knows what it is registered as."""
        if headers is None:
            headers = trace.current() if self.trace else {}
        if self.version_header is not None:
            headers = {**headers, self.version_header: str(registered.version)}
        row = new_row(event, self.max_bytes, registered, self.destination.layout, headers)
        self._fits(row, registered.version)
        return row

    def _fits(self, row: NewRow, version: int | None) -> None:
        if self.schemas is not None:
            self.schemas.check(row.event_name, version, row.content_type, row.payload)


def _opened(schemas: str | Path) -> SchemaFolder:
    from cdc.outbox.schemas import SchemaFolder  # noqa: PLC0415 - for those who check, and nobody else

    return SchemaFolder(schemas)


class Unit:
    """Events and commit in one hand, for handlers that get nothing else."""

    def __init__(self, outbox: Outbox, session: Any) -> None:
        self.outbox = outbox
        self.session = session

    def add(self, event: object) -> None:
        """As Outbox.add."""
        self.outbox.add(self.session, event)

    def add_all(self, events: Iterable[object]) -> None:
        """As Outbox.add_all."""
        self.outbox.add_all(self.session, events)

    def commit(self) -> None:
        """Commit the session: the events and all else in its transaction."""
        self.session.commit()

    def rollback(self) -> None:
        """Roll the session back: nothing of its transaction remains."""
        self.session.rollback()


class AsyncUnit:
    """The same on an AsyncSession: adding needs no await, committing does."""

    def __init__(self, outbox: Outbox, session: AsyncSession | async_scoped_session[Any]) -> None:
        self.outbox = outbox
        self.session = session

    def add(self, event: object) -> None:
        """As Outbox.add."""
        self.outbox.add(self.session, event)

    def add_all(self, events: Iterable[object]) -> None:
        """As Outbox.add_all."""
        self.outbox.add_all(self.session, events)

    async def commit(self) -> None:
        """Commit the session: the events and all else in its transaction."""
        await self.session.commit()

    async def rollback(self) -> None:
        """Roll the session back: nothing of its transaction remains."""
        await self.session.rollback()


def _alchemy() -> ModuleType | None:
    """Our SQLAlchemy side, if the application uses SQLAlchemy."""
    if "sqlalchemy" not in sys.modules:
        return None
    from cdc.outbox import sqlalchemy  # noqa: PLC0415  # see the module's docstring

    return sqlalchemy
