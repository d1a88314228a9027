"""Before a transaction begins: records packed into batches, and every refusal that can be known without sending.

A refusal by the broker costs the producer and a start from the checkpoint; one that is known here costs
nothing. `Unfit` names all records that Kafka would refuse, by index, each with its own reason, so that what is left
of the batch can come again at once.

    topic      not in the cluster (listed anew if it is not known), or denied to us a moment ago
    partition  not there: first a doubt, because a topic made anew has another count and the rows are routed
               anew; the second time in a row it is the record that is wrong
    key        missing, and the topic is compacted
    form       header names that are no UTF-8, and such
    size       of its batch, compressed as it would be, over the topic's max.message.bytes
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from cdc.errors import Doubt, KeyMissing, RecordTooLarge, RowRefused, TopicMissing, Unfit, ValueInvalid
from cdc.kafka.batches import Parcel, Place, Spread, Unwritable, members, pack
from cdc.kafka.client import BATCH_BYTES
from cdc.kafka.limits import Limits
from cdc.model import Record

_topic = attrgetter("topic")


@dataclass(slots=True)
class Packed:
    """Records in their batches. `chosen` is the partition of each topic's records without one."""

    records: Sequence[Record]
    parcels: list[Parcel]
    chosen: Mapping[str, int]

    def members(self) -> list[list[int]]:
        """The records of each parcel, by index."""
        return members(self.records, self.parcels, self.chosen)


@dataclass(slots=True)
class Fitting:
    """Packs for one producer at a time; remembers partitions that were missing, once."""

    limits: Limits | None
    spread: Spread = field(default_factory=Spread)
    _missing: set[Place] = field(default_factory=set)

    async def pack(self, producer: AIOKafkaProducer, records: Sequence[Record]) -> Packed:
        """Pack them. Raises Unfit, or Doubt for a partition that is not there."""
        topics = set(map(_topic, records))
        if not all(map(producer.client.cluster.partitions_for_topic, topics)):
            await producer.client.force_metadata_update()
        if self.limits is not None:
            await self.limits.look(topics)
        if refusals := self._by_topic(producer, records, topics):
            raise _unfit(refusals)
        chosen = self.spread.turn(records, lambda topic: len(partitions_of(producer, topic)) or 1)
        try:
            parcels = pack(records, lambda topic: builder_of(producer, self._batch_bytes(topic)), chosen)
        except Unwritable as error:
            topic = records[error.index].topic
            why = f"a record for {topic} cannot be written: {error}"
            raise _unfit({error.index: ValueInvalid(why, hint="header names and texts must be UTF-8")}) from error
        packed = Packed(records, parcels, chosen)
        refusals = await self._by_partition(producer, packed) or self._by_size(producer, packed)
        if refusals:
            raise _unfit(refusals)
        return packed

    def _batch_bytes(self, topic: str) -> int:
        largest = None if self.limits is None else self.limits.of(topic).largest
        return BATCH_BYTES if largest is None else min(BATCH_BYTES, largest)

    def _by_topic(
        self, producer: AIOKafkaProducer, records: Sequence[Record], topics: Iterable[str]
    ) -> dict[int, RowRefused]:
        """Topics that are not there or not ours to write, and compacted ones for records without a key."""
        refused: dict[str, RowRefused] = {}
        compacted: set[str] = set()
        for topic in topics:
            if not partitions_of(producer, topic):
                refused[topic] = TopicMissing(
                    f"topic {topic} does not exist", hint="create it, or change the route that leads there"
                )
            elif self.limits is not None:
                if denied := self.limits.denied(topic):
                    refused[topic] = denied
                elif not self.limits.of(topic).keyless:
                    compacted.add(topic)
        found: dict[int, RowRefused] = {}
        if refused:
            found |= {at: refused[record.topic] for at, record in enumerate(records) if record.topic in refused}
        if compacted:
            found |= {
                at: KeyMissing(
                    f"topic {record.topic} is compacted, and the record has no key",
                    hint="give these rows a key (a route's `key`), or send them to a topic that is not compacted",
                )
                for at, record in enumerate(records)
                if record.key is None and record.topic in compacted
            }
        return found

    async def _by_partition(self, producer: AIOKafkaProducer, packed: Packed) -> dict[int, RowRefused]:
        """Partitions that are not there. Raises Doubt the first time: the routes may know another count."""
        before, self._missing = self._missing, set()
        if not _missing(producer, packed):
            return {}
        await producer.client.force_metadata_update()  # it may be younger than the producer's listing
        self._missing = _missing(producer, packed)
        for topic, partition in self._missing - before:
            raise Doubt(f"topic {topic} has no partition {partition}", hint="topics are listed anew, rows routed anew")
        return {
            at: ValueInvalid(
                f"topic {parcel.topic} has no partition {parcel.partition}",
                hint="correct the row's writer or its route",
            )
            for parcel, indexes in zip(packed.parcels, packed.members(), strict=True)
            if (parcel.topic, parcel.partition) in self._missing
            for at in indexes
        }

    def _by_size(self, producer: AIOKafkaProducer, packed: Packed) -> dict[int, RowRefused]:
        """Records that are larger than their topic takes: only alone can a batch be too large."""
        if self.limits is None:
            return {}
        over = [
            number
            for number, parcel in enumerate(packed.parcels)
            if (largest := self.limits.of(parcel.topic).largest) is not None
            and parcel.size > largest
            and _size(producer, packed, number) > largest
        ]
        if not over:
            return {}
        of_parcels = packed.members()
        return {at: self._too_large(packed.parcels[number]) for number in over for at in of_parcels[number]}

    def _too_large(self, parcel: Parcel) -> RecordTooLarge:
        assert self.limits is not None  # noqa: S101 - it was too large by these limits
        largest = self.limits.of(parcel.topic).largest
        return RecordTooLarge(
            f"the record has {parcel.size} bytes, and topic {parcel.topic} takes {largest}",
            hint="raise the topic's max.message.bytes (and what its consumers fetch), or let on_error decide",
        )


def partitions_of(producer: AIOKafkaProducer, topic: str) -> set[int]:
    """The partitions that the producer's last listing showed."""
    return producer.client.cluster.partitions_for_topic(topic) or set()


def _missing(producer: AIOKafkaProducer, packed: Packed) -> set[Place]:
    known = {parcel.topic: partitions_of(producer, parcel.topic) for parcel in packed.parcels}
    places = {(parcel.topic, parcel.partition) for parcel in packed.parcels}
    return {(topic, partition) for topic, partition in places if partition not in known[topic]}


def _unfit(refusals: Mapping[int, RowRefused]) -> Unfit:
    first = next(iter(refusals.values()))
    return Unfit(f"Kafka would refuse {len(refusals)} records; one of them: {first}", refusals=refusals)


def builder_of(producer: AIOKafkaProducer, size: int) -> Any:
    """As the producer's own create_batch(), with a size of its own."""
    accumulator = producer._message_accumulator  # noqa: SLF001
    return BatchBuilder(size, accumulator._compression_type, is_transactional=True)  # noqa: SLF001


def _size(producer: AIOKafkaProducer, packed: Packed, number: int) -> int:
    """The size of a batch as the broker sees it: a twin is built where it is compressed."""
    parcel = packed.parcels[number]
    if not producer._message_accumulator._compression_type:  # noqa: SLF001
        return parcel.size
    twin = builder_of(producer, parcel.size)
    for at in packed.members()[number]:
        record = packed.records[at]
        twin.append(timestamp=record.timestamp or 0, key=record.key, value=record.value, headers=record.headers)
    return len(twin._build())  # noqa: SLF001
