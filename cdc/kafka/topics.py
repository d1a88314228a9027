"""What is known of Kafka's topics, from listings of all of them.

Asking for one topic by name creates it on a broker with auto-creation, so a row with a
typing error in its topic column would make a topic. A listing of all cannot. The count of
partitions is as old as the last refresh: a key's partition changes when it does, as for
every Kafka client.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdc.kafka.client import FOREIGN, KafkaAddress, explain
from cdc.kafka.cluster import Cluster


class KafkaTopics:
    """Topics and partition counts. `start()` lists once; `refresh()` again."""

    def __init__(self, address: KafkaAddress, *, timeout: float = 10.0) -> None:
        self._cluster = Cluster(address, timeout=timeout)
        self._partitions: Mapping[str, int] = {}

    async def start(self) -> None:
        """Connect and list. Raises KafkaUnavailable, KafkaAccessDenied."""
        await self.refresh()

    async def refresh(self) -> None:
        """List all topics again. Raises KafkaUnavailable, KafkaAccessDenied."""
        try:
            self._partitions = await self._cluster.topics()
        except FOREIGN as error:
            raise await explain(self._cluster.address, error, "listing topics") from error

    async def settings(self, topic: str) -> dict[str, str]:
        """The settings of a topic that the last listing showed, the broker's defaults included."""
        try:
            return await self._cluster.settings(topic)
        except FOREIGN as error:
            raise await explain(self._cluster.address, error, f"reading the settings of topic {topic}") from error

    async def close(self) -> None:
        """Let go."""
        await self._cluster.close()

    def partitions(self, topic: str) -> int | None:
        """How many partitions it had at the last listing; None where it was not there."""
        return self._partitions.get(topic)
