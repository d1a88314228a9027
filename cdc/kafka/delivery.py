"""Getting records into an open Kafka transaction, and naming what goes wrong there.

What one must know to change it:

* A refused batch does not fail the transaction: commit_transaction() would return normally
  without it. So every future of every batch is awaited here.
* One produce request holds a batch of each partition; over the broker's
  `socket.request.max.bytes` (100 MiB) it is cut off and retried for ever. So no more than
  `IN_FLIGHT_BYTES` are under way at a time.
* Once fenced, aiokafka's later calls say IllegalOperation or AssertionError; the reason is
  the exception of its sender task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from cdc.errors import Doubt, KafkaAccessDenied, Refused, SinkError
from cdc.kafka.batches import Parcel, Spread, pack
from cdc.model import Record

IN_FLIGHT_BYTES = 32 << 20

FENCED = (kafka_errors.ProducerFenced, kafka_errors.InvalidProducerEpoch)
"""By a newer producer, or by the coordinator because the transaction timed out: they look the same."""
_REFUSALS = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTimestampError,
    kafka_errors.InvalidTopicError,
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.UnknownTopicOrPartitionError,
)


async def deliver(producer: AIOKafkaProducer, records: Sequence[Record], spread: Spread, topic: str) -> int:
    """Send all and wait until the broker has all; the offset behind what went to `topic`, 0 if nothing did.

    Raises Refused for a batch that it does not take.
    """
    chosen = spread.turn(records, lambda name: len(_partitions(producer, name)) or 1)
    waits: list[asyncio.Future[Any]] = []
    parcels = pack(records, producer.create_batch, chosen)
    sent, size, end = 0, 0, 0
    for parcel in parcels:
        if size and size + parcel.size > IN_FLIGHT_BYTES:
            end = max(end, await _all_taken(parcels[sent : sent + len(waits)], waits, topic))
            sent, size, waits = sent + len(waits), 0, []
        known = _partitions(producer, parcel.topic)
        if parcel.partition not in known:
            known = await _missing(producer, parcel)
        # no await may come between the look above and this call: it asks for unknown topics by name
        taken = await producer.send_batch(parcel.builder, parcel.topic, partition=parcel.partition)
        taken.add_done_callback(_seen)
        waits.append(taken)
        size += parcel.size
    return max(end, await _all_taken(parcels[sent:], waits, topic))


async def _missing(producer: AIOKafkaProducer, parcel: Parcel) -> set[int]:
    """List topics again, for a topic or partition that is younger than the last listing. Raises Refused."""
    await producer.client.force_metadata_update()
    known = _partitions(producer, parcel.topic)
    if parcel.partition not in known:
        what = f"has no partition {parcel.partition}" if known else "does not exist"
        raise Refused(f"topic {parcel.topic} {what}", hint="create it, or change the route that leads there")
    return known


def doubt(what: str, reason: BaseException, transactional_id: str, deadline: float) -> SinkError:
    """Our error for a transaction that may or may not have happened."""
    if isinstance(reason, kafka_errors.TransactionalIdAuthorizationFailed):
        return KafkaAccessDenied(
            f"Kafka does not let us use transactional id {transactional_id}",
            hint="the user needs Write and Describe on this transactional id",
        )
    if isinstance(reason, FENCED):
        why = "a newer producer has fenced us, or the transaction timed out"
    elif isinstance(reason, TimeoutError):
        why = f"no answer within {deadline:.0f} s"
    else:
        why = repr(reason)
    return Doubt(
        f"a Kafka transaction ({what}) may or may not have happened: {why}",
        hint="nothing to do: the checkpoint is read again and tells",
    )


def _partitions(producer: AIOKafkaProducer, topic: str) -> set[int]:
    """The partitions that the last listing showed."""
    return producer.client.cluster.partitions_for_topic(topic) or set()


def _seen(taken: asyncio.Future[Any]) -> None:
    """Look at a batch's fate, so that asyncio does not complain where another one's ended the wait."""
    if not taken.cancelled():
        taken.exception()


async def _all_taken(parcels: Sequence[Parcel], waits: Sequence[asyncio.Future[Any]], topic: str) -> int:
    """Wait for all batches; the offset behind what `topic` got.

    A fenced producer is the reason of everything else; else the first refusal counts.
    """
    results = await asyncio.gather(*waits, return_exceptions=True)
    failed = [(p, e) for p, e in zip(parcels, results, strict=True) if isinstance(e, BaseException)]
    stored = [r for r in results if not isinstance(r, BaseException)]
    for _, error in failed:
        if isinstance(error, FENCED):
            raise error
    for parcel, error in failed:
        if isinstance(error, _REFUSALS):
            raise Refused(
                f"Kafka refuses {parcel.builder.record_count()} records for {parcel.topic}, "
                f"partition {parcel.partition}: {error!r}",
                hint="compare the topic's settings (max.message.bytes, message.timestamp.*) and the user's rights",
            ) from error
    for _, error in failed:
        raise error
    return max((taken.offset + 1 for taken in stored if taken.topic == topic), default=0)


def true_reason(producer: AIOKafkaProducer, error: BaseException) -> BaseException:
    """The true reason: once fenced, aiokafka's later calls only say that they are not possible."""
    task = producer._sender.sender_task  # noqa: SLF001
    if isinstance(error, Exception) and task is not None and task.done() and not task.cancelled():
        return task.exception() or error
    return error
