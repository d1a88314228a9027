"""What is known of Kafka's topics, from listings of all of them.

Asking for one topic by name creates it on a broker with auto-creation, so a row with a
typing error in its topic column would make a topic. A listing of all cannot. The count of
partitions is as old as the last refresh: a key's partition changes when it does, as for
every Kafka client.

With a `Recipe` topics are made: those that are `needed`, and those that somebody asked for and that were
not there at the last listing (a row's topic; the pump lists again and asks once more). Without one a
topic that is needed and missing at the first listing is an error: better at the start than at the first row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from cdc.errors import SinkError
from cdc.kafka.client import FOREIGN, KafkaAddress, explain
from cdc.kafka.cluster import Cluster
from cdc.kafka.limits import FRESH_FOR


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a topic of events is made."""

    partitions: int
    replication_factor: int | None = None


class KafkaTopics:
    """Topics and partition counts. `start()` lists once; `refresh()` again."""

    def __init__(
        self,
        address: KafkaAddress,
        *,
        timeout: float = 10.0,
        recipe: Recipe | None = None,
        needed: Collection[str] = (),
    ) -> None:
        self._cluster = Cluster(address, timeout=timeout)
        self._partitions: Mapping[str, int] = {}
        self._recipe, self._needed = recipe, tuple(needed)
        self._asked: set[str] = set()

    async def start(self) -> None:
        """Connect and list. Raises KafkaUnavailable, KafkaAccessDenied."""
        await self.refresh()

    async def refresh(self) -> None:
        """List all topics again. Raises KafkaUnavailable, KafkaAccessDenied."""
        try:
            self._partitions = await self._cluster.topics()
        except FOREIGN as error:
            raise await explain(self._cluster.address, error, "listing topics") from error
        missing = [topic for topic in (*self._needed, *sorted(self._asked)) if topic not in self._partitions]
        self._asked.clear()
        if self._recipe is not None and missing:
            await self._make(dict.fromkeys(missing), self._recipe)
        elif missing:
            raise SinkError(
                f"{'topic' if len(missing) == 1 else 'topics'} {', '.join(missing)}, which routes lead to, "
                f"{'does' if len(missing) == 1 else 'do'} not exist",
                hint="make what the routes need: cdc topics apply -c FILE; or set topics.create: all",
            )
        self._needed = ()  # one that is deleted later is the rows' and their on_error's matter

    async def _make(self, topics: Collection[str], recipe: Recipe) -> None:
        for topic in topics:
            try:
                await self._cluster.create(topic, recipe.partitions, recipe.replication_factor, {})
            except FOREIGN as error:
                raise await explain(self._cluster.address, error, f"creating topic {topic}") from error
        try:
            self._partitions = await self._cluster.appeared(*topics)
        except FOREIGN as error:
            raise await explain(self._cluster.address, error, "listing topics") from error

    async def keep_fresh(self, every: float = FRESH_FOR) -> None:
        """List until cancelled, so that deleted topics and changed counts are seen while all is well."""
        while True:
            await asyncio.sleep(every)
            try:
                await self.refresh()
            except SinkError:
                pass  # no Kafka, or a topic that is needed is missing: the sources say so

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
        found = self._partitions.get(topic)
        if found is None and self._recipe is not None:
            self._asked.add(topic)
        return found
