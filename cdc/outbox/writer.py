"""Outbox: writes events into the outbox table, inside the caller's own transaction.

`add` checks first (`row.py`), then finds out what it was given: a SQLAlchemy Session or
Connection (`sqlalchemy.py`) or a driver's cursor or connection (`drivers.py`). It never
commits, never reads and never opens a connection; only a bound unit commits, when told.
SQLAlchemy is not imported for those who do not use it: an object of its classes can only
exist where the application has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, Any, overload

from cdc.errors import UnsupportedConnection
from cdc.outbox import drivers
from cdc.outbox.registry import EventMap
from cdc.outbox.row import DEFAULT_MAX_BYTES, NewRow, new_row
from cdc.outbox.table import TableName, checked_layout

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session


class Outbox:
    """An outbox table to write events to; make one at start and share it, also between threads.

    table: `outbox` or `shop.outbox`. max_bytes: the largest record, payload, key and headers
    together; brokers take 1 MiB unless told otherwise. event_map: only events registered in
    it are taken; the class EventMap stands for the shared map.
    """

    def __init__(
        self,
        table: str = "outbox",
        layout: str = "native",
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        event_map: EventMap | type[EventMap] | None = None,
    ) -> None:
        self.table = TableName.parse(table)
        self.layout = checked_layout(layout)
        self.max_bytes = max_bytes
        self.event_map = event_map.shared() if isinstance(event_map, type) else event_map

    def add(self, target: Any, event: object) -> None:
        """Write one event through a session, connection or cursor, in its transaction."""
        self.add_all(target, (event,))

    def add_all(self, target: Any, events: Iterable[object]) -> None:
        """Write events in one multi-row INSERT; all are checked before the first is written."""
        rows = self._rows(events)
        if not rows:
            return
        alchemy = _alchemy()
        if alchemy is not None and (session := alchemy.session_of(target)) is not None:
            alchemy.add_to_session(session, self.table, rows)
        elif alchemy is not None and alchemy.is_connection(target):
            alchemy.write(target, self.table, rows)
        else:
            drivers.write(target, self.table, rows)

    async def add_async(self, target: Any, event: object) -> None:
        """Write one event through an awaited cursor or connection (asyncmy, aiomysql, AsyncConnection)."""
        await self.add_all_async(target, (event,))

    async def add_all_async(self, target: Any, events: Iterable[object]) -> None:
        """`add_all` for awaited cursors and connections; an AsyncSession takes the events up as in `add_all`."""
        rows = self._rows(events)
        if not rows:
            return
        alchemy = _alchemy()
        if alchemy is not None and (session := alchemy.session_of(target)) is not None:
            alchemy.add_to_session(session, self.table, rows)
        elif alchemy is not None and alchemy.is_async_connection(target):
            await alchemy.write_async(target, self.table, rows)
        else:
            await drivers.write_async(target, self.table, rows)

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
        self._rows((event,))

    def _rows(self, events: Iterable[object]) -> list[NewRow]:
        if self.event_map is None:
            return [new_row(event, self.max_bytes) for event in events]
        return [new_row(event, self.max_bytes, self.event_map.find(event)) for event in events]


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
