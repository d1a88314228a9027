"""Records sent again by a command, in Kafka transactions of their own: no checkpoint, no marks, at least once.

The transactional id is `<prefix>.replay.<source>`, so two replays of one source at the same time are
noticed: the newer one fences the older. A chunk is there whole or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from cdc.errors import CdcError, Doubt, SinkError, StillAtWork
from cdc.kafka.batches import Spread
from cdc.kafka.client import FOREIGN, KafkaAddress, cut, explain, make_producer
from cdc.kafka.delivery import FENCED, deliver, true_reason
from cdc.model import Record


class Resender:
    """start(), send() chunk by chunk, close(). Not for concurrent calls."""

    def __init__(
        self,
        address: KafkaAddress,
        prefix: str,
        source: str,
        *,
        deadline: float = 30.0,
        transaction_timeout: float = 60.0,
    ) -> None:
        self.transactional_id = f"{prefix}.replay.{source}"
        self._address, self._deadline, self._timeout = address, deadline, transaction_timeout
        self._producer: AIOKafkaProducer | None = None
        self._spread = Spread()

    async def start(self) -> None:
        """Connect. Raises SinkError."""
        self._producer = make_producer(
            self._address,
            self._deadline / 3,
            transactional_id=self.transactional_id,
            transaction_timeout_ms=int(self._timeout * 1000),
        )
        try:
            async with asyncio.timeout(self._deadline * 4):
                await self._producer.start()
        except FOREIGN as error:
            raise await explain(self._address, error, "starting a replay") from error

    async def send(self, records: Sequence[Record]) -> None:
        """All of them or none. Raises SinkError; after one nothing more can be sent."""
        producer = self._producer
        if producer is None:
            raise SinkError("a replay that was not started", hint="start() comes before send()")
        try:
            async with asyncio.timeout(self._deadline):
                await producer.begin_transaction()
                await deliver(producer, records, self._spread, "")
                await producer.commit_transaction()
        except (*FOREIGN, CdcError) as error:
            await self.close()
            reason = true_reason(producer, error)
            if isinstance(reason, SinkError):
                raise reason from error
            if isinstance(reason, FENCED):
                raise StillAtWork(
                    "another replay of this source has begun, and this one ends",
                    hint="what was sent stays sent; wait for the other one, then see what is missing",
                ) from error
            raise Doubt(
                f"a chunk of {len(records)} records may or may not have been sent: {reason!r}",
                hint="what came before it was sent; to go on, choose from there (records may come twice)",
            ) from error

    async def close(self) -> None:
        """Let go."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await cut(producer)
