"""Which record does the broker not take? A search over batches that it refused; nothing of it is ever committed.

The broker says of a batch only that it will not have it. So its records are sent again in several
smaller batches, the first of those that is refused is cut up in the same way, until one record is
left: 16 pieces a step find one among 4,096 in three steps. Behind a refused batch its partition takes nothing
more (the sequence has a gap), so a step tells of the first culprit of each partition only; others are
found when the batch comes again without this one.

An answer that may be the broker's own trouble (UnknownError: -1, or a code aiokafka has no name for) counts only
when the record is refused alone a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from cdc.errors import KeyMissing, RecordRefused, RecordTooLarge, RowRefused
from cdc.kafka.batches import Parcel, pack
from cdc.kafka.client import BATCH_BYTES
from cdc.kafka.delivery import InvalidRecord, is_refusal
from cdc.kafka.fitting import builder_of
from cdc.model import Record

PIECES = 16


@dataclass(slots=True)
class _Group:
    """Suspects of one partition, one of which at least was refused; `alone` is how often the last one was, alone."""

    suspects: list[int]
    alone: int = 0

    def pieces(self) -> list[list[int]]:
        step = -(-len(self.suspects) // PIECES)
        return [self.suspects[at : at + step] for at in range(0, len(self.suspects), step)]


@dataclass(slots=True)
class Search:
    """Ask `next` for groups of pieces, send each piece as a batch, and tell `learn` which were refused first."""

    groups: list[_Group]
    found: dict[int, RowRefused] = field(default_factory=dict)

    @classmethod
    def among(cls, suspects: Sequence[int], records: Sequence[Record]) -> Search:
        """Begin with what the broker refused."""
        places: dict[tuple[str, int], list[int]] = {}
        for index in suspects:
            places.setdefault(_place(records[index]), []).append(index)
        return cls([_Group(indexes) for indexes in places.values()])

    def next(self) -> list[list[list[int]]]:
        """The pieces to send, by group; nothing when the search is over."""
        return [group.pieces() for group in self.groups]

    def learn(self, records: Sequence[Record], refused: Sequence[tuple[int, BaseException] | None]) -> None:
        """For each group the first piece that was refused, and why; None if all were taken."""
        left: list[_Group] = []
        for group, answer in zip(self.groups, refused, strict=True):
            if answer is None:
                continue  # it does not come again
            number, error = answer
            piece = group.pieces()[number]
            if len(piece) > 1:
                left.append(_Group(piece))
            elif isinstance(error, kafka_errors.UnknownError) and not group.alone:
                left.append(_Group(piece, alone=1))
            else:
                self.found[piece[0]] = verdict(records[piece[0]], error)
        self.groups = left


async def probe(
    producer: AIOKafkaProducer, records: Sequence[Record], groups: Sequence[Sequence[Sequence[int]]]
) -> list[tuple[int, BaseException] | None]:
    """Send the pieces in the open transaction, each as a batch; for each group the first that was refused.

    Raises what is no refusal: then nothing was learnt.
    """
    answers: list[tuple[int, BaseException] | None] = []
    waits: list[list[asyncio.Future[object]]] = []
    for pieces in groups:
        waits.append([])
        for piece in pieces:
            parcel = _parcel(producer, [records[index] for index in piece])
            taken = await producer.send_batch(parcel.builder, parcel.topic, partition=parcel.partition)
            taken.add_done_callback(lambda done: None if done.cancelled() else done.exception())
            waits[-1].append(taken)
    for of_group in waits:
        results = await asyncio.gather(*of_group, return_exceptions=True)
        errors = [(number, error) for number, error in enumerate(results) if isinstance(error, BaseException)]
        answers.append(errors[0] if errors else None)
        if errors and not is_refusal(errors[0][1]):
            raise errors[0][1]
    return answers


def verdict(record: Record, error: BaseException) -> RowRefused:
    """Our error for a record that was refused alone."""
    topic, said = record.topic, f"{type(error).__name__} ({getattr(error, 'errno', '?')})"
    if isinstance(error, (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)):
        return RecordTooLarge(
            f"Kafka says that the record is too large for topic {topic}",
            hint="raise the topic's max.message.bytes (and what its consumers fetch), or let on_error decide",
        )
    if isinstance(error, InvalidRecord) and record.key is None:
        return KeyMissing(
            f"Kafka takes no record without a key for topic {topic}: {said}",
            hint="give these rows a key (a route's `key`), or send them to a topic that is not compacted",
        )
    return RecordRefused(
        f"Kafka refuses the record for topic {topic}: {said}",
        hint="compare the topic's settings (message.timestamp.*, cleanup.policy) and see the broker's log",
    )


def _place(record: Record) -> tuple[str, int]:
    """Records without a partition are as wrong in one as in the other."""
    return record.topic, record.partition or 0


def _parcel(producer: AIOKafkaProducer, records: Sequence[Record]) -> Parcel:
    _, partition = _place(records[0])
    placed = [record._replace(partition=partition) for record in records]
    limit = max(BATCH_BYTES, sum(map(_bytes, placed)))
    [parcel] = pack(placed, lambda _: builder_of(producer, limit), {})
    return parcel


def _bytes(record: Record) -> int:
    """Not less than its size in a batch."""
    headers = sum(len(name.encode()) + len(value or b"") + 10 for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers + 100
