"""The pump's two ends, with somebody who counts: what was read, what was committed, how long that took.

Slices and batches hold payloads, so they are counted here, where nothing is logged, and not
told to observers. A slice is counted as read when it is read, and its rows as published or passed
over when the batch it went into is committed: a batch holds whole slices, in order.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

from cdc.errors import Refused, RowRefused
from cdc.model import Batch, Checkpoint, LogEnd, Sink, Slice, Source
from cdc.position import Position


class Counter(Protocol):
    """Who is told."""

    def opened_anew(self) -> None:
        """Reading begins at the checkpoint: what was read and not committed will come again."""

    def took(self, slice_: Slice) -> None:
        """A slice was read."""

    def published(self, batch: Batch, seconds: float) -> None:
        """A batch is committed, and the pieces before it."""

    def sent(self, batch: Batch) -> None:
        """A piece of a transaction is under way."""


class WatchedSource:
    """A Source that is counted."""

    def __init__(self, source: Source, counter: Counter) -> None:
        self._source, self._counter = source, counter

    async def first_position(self, start: str) -> Position:
        """As the source's."""
        return await self._source.first_position(start)

    async def open(
        self, position: Position, *, careful: bool = False, snapshot: Mapping[str, Any] | None = None
    ) -> None:
        """As the source's."""
        self._counter.opened_anew()
        await self._source.open(position, careful=careful, snapshot=snapshot)

    async def read(self) -> Slice:
        """As the source's; nothing is awaited behind it, so a cancelled read is not counted."""
        slice_ = await self._source.read()
        self._counter.took(slice_)
        return slice_

    async def log_end(self) -> LogEnd:
        """As the source's."""
        return await self._source.log_end()

    async def close(self) -> None:
        """As the source's."""
        await self._source.close()


class WatchedSink:
    """A Sink that is counted."""

    def __init__(self, sink: Sink, counter: Counter) -> None:
        self._sink, self._counter = sink, counter

    async def fence(self) -> Checkpoint | None:
        """As the sink's."""
        return await self._sink.fence()

    async def found(self, position: Position, start: str) -> None:
        """As the sink's."""
        await self._sink.found(position, start)

    async def commit(self, batch: Batch) -> None:
        """As the sink's."""
        began = time.monotonic()
        await self._sink.commit(batch)
        self._counter.published(batch, time.monotonic() - began)

    async def begin(self, position: Position) -> None:
        """As the sink's."""
        await self._sink.begin(position)

    async def add(self, batch: Batch) -> None:
        """As the sink's."""
        await self._sink.add(batch)
        self._counter.sent(batch)

    async def abandon(self, position: Position) -> None:
        """As the sink's."""
        await self._sink.abandon(position)

    async def examine(self, batch: Batch, refused: Refused) -> Mapping[int, RowRefused]:
        """As the sink's."""
        return await self._sink.examine(batch, refused)

    async def close(self, *, release: Position | None = None) -> None:
        """As the sink's."""
        await self._sink.close(release=release)
