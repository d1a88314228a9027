"""The port `Parking` on Kafka: the dead-letter topic made and looked after, rows made into letters.

The topic is `<prefix>.dead-letters`, one for all sources of a prefix: one partition, deleted by nobody (retention
without end, unless somebody plans another: a letter is kept until it is replayed or dismissed and that is old
enough for whoever plans) and never compacted, because the parts of a letter and its mark share a key. It is
looked at when a source starts that may park, so that a topic which cannot keep letters is known then, and not
when the first row is refused at night.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdc.errors import DeadLetterRefused, RowRefused
from cdc.kafka.client import FOREIGN, KafkaAddress, explain
from cdc.kafka.cluster import Cluster
from cdc.kafka.dead_letters import SMALLEST_LIMIT, DeadLetter, payload_bytes, to_records, topic_of
from cdc.kafka.limits import Limits
from cdc.model import Observer, Origin, Original, Record

SETTINGS: Mapping[str, str] = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
"""Of a dead-letter topic that we make."""
_DEFAULT_LIMIT = 1_000_000
"""Where we may not ask what the topic takes: just below Kafka's own default."""


class KafkaParking:
    """One source's way to the dead-letter topic. `needed`: does any policy park?"""

    def __init__(
        self,
        address: KafkaAddress,
        source: str,
        *,
        prefix: str = "cdc",
        needed: bool = True,
        create_topics: bool = True,
        replication_factor: int | None = None,
        observer: Observer | None = None,
    ) -> None:
        self.topic, self._source, self._needed = topic_of(prefix), source, needed
        self._create_topics, self._replication_factor = create_topics, replication_factor
        self._say = observer
        self._cluster = Cluster(address)
        self._limits = Limits(self._cluster)

    async def open(self) -> None:
        """Make sure of the topic, where a policy parks. Raises DeadLetterRefused and other SinkErrors."""
        if not self._needed:
            return
        try:
            if self.topic not in await self._cluster.topics():
                await self._make()
            await self._check()
        except FOREIGN as error:
            raise await explain(self._cluster.address, error, f"looking at topic {self.topic}") from error

    async def close(self) -> None:
        """Let go."""
        await self._cluster.close()

    async def park(self, origin: Origin, original: Original, error: RowRefused, record: Record | None) -> list[Record]:
        """The records that keep this row. Raises DeadLetterRefused."""
        row, transaction, number = origin
        letter = DeadLetter(
            source=self._source,
            event_id=original.event_id,
            place=transaction.gtid or f"{transaction.file}:{transaction.position}",
            number=number,
            reason=error.reason,
            error=str(error),
            table=str(row.table),
            position=f"{transaction.file}:{transaction.position}",
            event_name=original.event_name,
            original_topic=original.topic if record is None else record.topic,
            original_key=original.key if record is None else record.key,
            original_headers=original.headers if record is None else tuple(record.headers),
            value=payload_bytes(row.get(original.payload)) if original.payload in row.table.index else None,
            row=row,
        )
        await self._limits.look([self.topic])
        limit = self._limits.of(self.topic).largest or _DEFAULT_LIMIT
        if limit < SMALLEST_LIMIT:
            raise self._too_small(limit)
        return to_records(letter, self.topic, limit, payload=original.payload)

    async def _make(self) -> None:
        if not self._create_topics:
            settings = " ".join(f"--config {name}={value}" for name, value in SETTINGS.items())
            raise DeadLetterRefused(
                f"topic {self.topic} does not exist, on_error or unrouted is dead_letter, and topics.create is none",
                hint=f"kafka-topics.sh --bootstrap-server {self._cluster.address} --create --topic {self.topic} "
                f"--partitions 1 {settings}",
            )
        await self._cluster.create(self.topic, 1, self._replication_factor, SETTINGS)
        await self._cluster.appeared(self.topic)

    async def _check(self) -> None:
        found = (await self._cluster.settings_of([self.topic])).get(self.topic, {})
        if "compact" in found.get("cleanup.policy", ""):
            raise DeadLetterRefused(
                f"topic {self.topic} is compacted: the parts of a letter would be lost",
                hint=f"set cleanup.policy=delete on topic {self.topic} (kafka-configs.sh --alter), then start again",
            )
        limit = found.get("max.message.bytes", "")
        if limit.isdigit() and int(limit) < SMALLEST_LIMIT:
            raise self._too_small(int(limit))
        keeps = found.get("retention.ms", "")
        if keeps.isdigit() and self._say is not None:
            self._say("letters_expire", topic=self.topic, kept_seconds=int(keeps) // 1000)

    def _too_small(self, limit: int) -> DeadLetterRefused:
        return DeadLetterRefused(
            f"topic {self.topic} takes {limit} bytes, and a part of a dead letter needs {SMALLEST_LIMIT}",
            hint=f"raise max.message.bytes of topic {self.topic} (kafka-configs.sh --alter), then start again",
        )
