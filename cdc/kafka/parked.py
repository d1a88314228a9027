"""How many dead letters are parked, kept up to date by reading on from where the last look ended.

Only up to the last stable offset, without waiting: it is a number for a gauge, and the next look is soon. What
is kept in memory is a key's worth for each parked letter. Letters that retention has deleted are no
longer parked; a topic that was made anew is counted from its begin.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from aiokafka.structs import TopicPartition

from cdc.kafka.client import FOREIGN, KafkaAddress, explain, make_consumer, stop_consumer
from cdc.kafka.cluster import Cluster
from cdc.kafka.dead_letters import Collector, Mark, UnreadableLetter, topic_of

_PATIENCE = 30.0
_POLL_MS = 200


class ParkedCounter:
    """look() now and then; close() at the end. Not for concurrent calls."""

    def __init__(self, address: KafkaAddress, prefix: str) -> None:
        self._topic, self._address = topic_of(prefix), address
        self._cluster = Cluster(address)
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._at = 0
        self._collector = Collector()
        self._parked: dict[bytes, tuple[int, str, str]] = {}

    async def close(self) -> None:
        """Let go."""
        await self._cluster.close()

    async def look(self) -> Counter[tuple[str, str]]:
        """Parked letters by source and reason. Raises SinkError."""
        try:
            if self._topic not in await self._cluster.topics():
                self._begin_anew()
                return Counter()
            offsets = await self._cluster.offsets(self._topic)
            if offsets.end < self._at:
                self._begin_anew()
            await self._read(max(self._at, offsets.begin), offsets.stable)
        except FOREIGN as error:
            raise await explain(self._address, error, f"reading topic {self._topic}") from error
        self._parked = {key: one for key, one in self._parked.items() if one[0] >= offsets.begin}
        return Counter((source, reason) for _, source, reason in self._parked.values())

    async def _read(self, begin: int, end: int) -> None:
        if begin >= end:
            return
        partition = TopicPartition(self._topic, 0)
        consumer = make_consumer(self._address, 10.0, committed=True)
        try:
            await consumer.start()
            consumer.assign([partition])
            consumer.seek(partition, begin)
            while self._at < end:
                async with asyncio.timeout(_PATIENCE):
                    records = (await consumer.getmany(partition, timeout_ms=_POLL_MS)).get(partition, ())
                    for record in records:
                        self._take(record.offset, record.key, record.value, record.headers)
                    self._at = await consumer.position(partition)
        finally:
            await stop_consumer(consumer)

    def _take(
        self, offset: int, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
    ) -> None:
        try:
            found = self._collector.add(key, value, headers)
        except UnreadableLetter:
            return  # `cdc dead-letters list` tells of it
        if isinstance(found, Mark):
            self._parked.pop(found.key, None)
        elif found is not None:
            self._parked[found.key] = (offset, found.source, found.reason)
