"""The sign of life of a working instance: a plain record every few seconds.

Plain, because a checkpoint cannot move while a long transaction is open: a standby that
watched checkpoints alone would shoot the working tailer in every large transaction. Its
producer is its own, is not transactional, and cannot disturb the work: whatever happens
to it is answered by a new one. It says nothing about health, only that somebody of this
name and epoch is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from cdc.errors import CdcError
from cdc.kafka.checkpoints import Alive, Names
from cdc.kafka.client import FOREIGN, KafkaAddress, cut, make_producer


class Heartbeat:
    """Writes `<source>/alive` from start() to stop()."""

    def __init__(
        self, address: KafkaAddress, names: Names, instance: str, every: float, *, ordered: bool = False
    ) -> None:
        self.founded, self._ordered = False, ordered
        self._address, self._names, self._instance, self._every = address, names, instance, every
        self._epoch = (-1, -1)
        self._n = 0
        self._task: asyncio.Task[None] | None = None

    def start(self, epoch: tuple[int, int]) -> None:
        """Begin, or go on with the epoch of a new producer; the next sign comes at once."""
        self._epoch = epoch
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._run(self._task), name=f"heartbeat of {self._names.source}")

    async def stop(self) -> None:
        """End; no sign comes after it."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await _to_its_end(asyncio.wait([before]))
        while True:
            producer = make_producer(self._address, self._every)
            try:
                async with asyncio.timeout(self._every * 2):
                    await producer.start()
                await self._beat(producer.send_and_wait)
            except (*FOREIGN, CdcError):
                pass  # no broker, or it went away: the work itself reports that
            finally:
                await _to_its_end(cut(producer))
            await asyncio.sleep(min(1.0, self._every))

    async def _beat(self, send: Callable[..., object]) -> None:
        while True:
            self._n += 1
            sign = Alive(self._instance, self._n, self._epoch, self.founded, self._ordered)
            async with asyncio.timeout(self._every * 2):
                await send(self._names.topic, sign.to_bytes(), self._names.alive_key, partition=0)  # type: ignore[misc]
            await asyncio.sleep(self._every)


async def _to_its_end(work: Coroutine[Any, Any, Any]) -> None:
    """Await bounded work that a cancellation must not cut short: it would leave a connection open."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
