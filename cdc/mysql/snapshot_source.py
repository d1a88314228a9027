"""A source that publishes the rows of its tables first, then reads the log: `MySqlSource` with a snapshot before it.

`open` with the state of a snapshot (empty: not begun) reads rows until there are none left, then opens
the log where the snapshot began. A slice of it says in `snapshot` how far it is; the first slice
without ends it for good as soon as it is committed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from cdc.model import LogEnd, Observer, Slice, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.snapshot import Snapshot, SnapshotTable
from cdc.mysql.source import MySqlSource
from cdc.position import Position


class SnapshotSource:
    """The port `Source`: first the rows, then the log.

    `second_log` makes the reader of the log that a snapshot needs beside the first one.
    """

    def __init__(
        self,
        log: MySqlSource,
        tables: Sequence[SnapshotTable],
        second_log: Callable[[Sequence[TableSpec]], MySqlSource],
        *,
        observer: Observer,
    ) -> None:
        self._log, self._tables, self._second_log, self._observe = log, tuple(tables), second_log, observer
        self._snapshot: Snapshot | None = None
        self._slices: AsyncIterator[Slice] | None = None
        self._position: Position | None = None
        self._careful = False

    @property
    def address(self) -> ServerAddress:
        """The server as it is to be reached now."""
        return self._log.address

    @property
    def set_aside(self) -> Mapping[str, int]:
        """As the log's."""
        return self._log.set_aside

    async def first_position(self, start: str) -> Position:
        """As the log's; `snapshot` is the end of what is visible now."""
        return await self._log.first_position(start)

    async def open(
        self, position: Position, *, careful: bool = False, snapshot: Mapping[str, Any] | None = None
    ) -> None:
        """Begin behind the position; with the state of a snapshot, with what it has not published yet."""
        await self.close()
        if snapshot is None:
            await self._log.open(position, careful=careful)
            return
        self._position, self._careful = position, careful
        self._snapshot = Snapshot(
            self.address,
            self._tables,
            self._second_log,
            start=position,
            state=snapshot,
            careful=careful,
            observer=self._observe,
        )
        self._slices = self._snapshot.slices()

    async def read(self) -> Slice:
        """Wait for more. One that was cancelled must be followed by close() while a snapshot is under way."""
        if self._slices is None or self._position is None:
            return await self._log.read()
        try:
            return await anext(self._slices)
        except StopAsyncIteration:
            position, careful = self._position, self._careful
            await self._end_snapshot()
            await self._log.open(position, careful=careful)
            return Slice([], position, 0)

    async def log_end(self) -> LogEnd:
        """Where the log ends now."""
        return await self._log.log_end()

    async def close(self) -> None:
        """Let go of the server; open() may follow."""
        await self._end_snapshot()
        await self._log.close()

    async def _end_snapshot(self) -> None:
        snapshot, self._snapshot, self._slices, self._position = self._snapshot, None, None, None
        if snapshot is not None:
            await snapshot.close()
