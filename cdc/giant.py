"""A source transaction that is larger than memory, on its way through the pump: in pieces into one Kafka transaction.

What came before is committed before the first piece is sent, so that nothing else is lost when the whole is
given up. While a piece is sent the next one is read; not more of it is in memory. The piece that ends it comes back
as a batch and is committed as any other, together with what came behind it in the same slice.

Given up means that nothing of it is seen: the log says that it was rolled back, or that it must be read
again; somebody asked us to stop; or an error, after which the pump starts over from the checkpoint.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias

from cdc.errors import RowRefused, SinkError, SourceError, TransactionTooLong
from cdc.model import Batch, Observer, Sink, Slice, Source
from cdc.position import Position

Take: TypeAlias = Callable[[Slice, Batch], Awaitable[None]]
Send: TypeAlias = Callable[[Batch, Callable[[Batch], Awaitable[None]]], Awaitable[None]]


class Giant:
    """One of them. `rows` is how many have been taken so far."""

    def __init__(self, source: Source, sink: Sink, observe: Observer, *, take: Take, send: Send) -> None:
        self._source, self._sink, self._observe, self._take, self._send = source, sink, observe, take, send
        self.rows = 0

    async def carry(self, first: Slice, committed: Position, stopping: asyncio.Future[Any]) -> Slice | Batch | None:
        """From its first slice to its end.

        A batch: to be committed, then all of it is. A slice: it was given up, and this comes after it. None: a
        stop was asked for.
        """
        self._observe("giant_begun", position=first.position)
        await self._sink.begin(committed)
        try:
            return await self._carry(first, committed, stopping)
        except (SourceError, RowRefused, TransactionTooLong):
            with suppress(SinkError):  # readers wait for its end, and nobody knows when we come again
                await self._sink.abandon(committed)
            raise

    async def _carry(self, first: Slice, committed: Position, stopping: asyncio.Future[Any]) -> Slice | Batch | None:
        slice_: Slice | None = first
        while slice_ is not None and slice_.piece == "open":
            batch = await self._batch(slice_)
            slice_ = await self._next(batch, stopping)
        if slice_ is not None and slice_.piece == "last":
            return await self._batch(slice_)
        self._observe("giant_undone", rows=self.rows, position=first.position)
        await self._sink.abandon(committed)
        return slice_

    async def _batch(self, slice_: Slice) -> Batch:
        batch = Batch(slice_.position)
        await self._take(slice_, batch)
        self.rows += sum(len(transaction.rows) for transaction in slice_.transactions)
        return batch

    async def _next(self, batch: Batch, stopping: asyncio.Future[Any]) -> Slice | None:
        """Send a piece, and read the next slice meanwhile; None where a stop was asked for."""
        reading = asyncio.ensure_future(self._source.read())
        try:
            if batch.records:
                await self._send(batch, self._sink.add)
            del batch
            waits: set[asyncio.Future[Any]] = {reading, stopping}
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            return None if stopping.done() else reading.result()
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
