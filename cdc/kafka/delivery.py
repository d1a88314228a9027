"""Getting packed records into an open Kafka transaction, and naming what goes wrong there.

What one must know to change it:

* A refused batch does not fail the transaction: commit_transaction() would return normally
  without it. So every future of every batch is awaited here.
* One produce request holds a batch of each partition; over the broker's
  `socket.request.max.bytes` (100 MiB) it is cut off and retried for ever. So no more than
  `IN_FLIGHT_BYTES` are under way at a time.
* Once fenced, aiokafka's later calls say IllegalOperation or AssertionError; the reason is
  the exception of its sender task.
* A topic that is deleted between two transactions makes the next one wait for ever: its partitions cannot
  be added. So after `WORRY` seconds without an answer the topics are looked for.
* aiokafka knows no name for some refusals, and calls them UnknownError as it calls a broker's own trouble (-1).
  INVALID_RECORD (87: a compacted topic and no key) is made known to it here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka import errors as kafka_errors

from cdc.errors import Doubt, KafkaAccessDenied, Refused, SinkError
from cdc.kafka.batches import Parcel, Spread
from cdc.kafka.fitting import Fitting, Packed, partitions_of
from cdc.kafka.limits import Limits
from cdc.model import Record

IN_FLIGHT_BYTES = 32 << 20
WORRY = 2.0


class InvalidRecord(kafka_errors.BrokerResponseError):  # type: ignore[misc]  # aiokafka has no types
    """The broker does not take a record as it is."""

    errno = 87
    message = "INVALID_RECORD"
    description = "This record has failed the validation on the broker and hence will be rejected."


kafka_errors.kafka_errors.setdefault(InvalidRecord.errno, InvalidRecord)

FENCED = (kafka_errors.ProducerFenced, kafka_errors.InvalidProducerEpoch)
"""By a newer producer, or by the coordinator because the transaction timed out: they look the same."""
_AFTER_ANOTHER = (kafka_errors.OutOfOrderSequenceNumber, kafka_errors.DuplicateSequenceNumber)
"""What the batches behind a refused one get."""


async def deliver(
    producer: AIOKafkaProducer, records: Sequence[Record], spread: Spread, topic: str, *, limits: Limits | None = None
) -> int:
    """Pack and send; the offset behind what went to `topic`, 0 if nothing did. Raises Unfit and Refused."""
    return await send(producer, await Fitting(limits, spread).pack(producer, records), topic, limits=limits)


async def send(producer: AIOKafkaProducer, packed: Packed, topic: str, *, limits: Limits | None = None) -> int:
    """Send all and wait until the broker has all; the offset behind what went to `topic`, 0 if nothing did.

    Raises Refused for batches that it does not take.
    """
    waits: list[asyncio.Future[Any]] = []
    sent, size, end = 0, 0, 0
    for parcel in packed.parcels:
        if size and size + parcel.size > IN_FLIGHT_BYTES:
            await _answered(producer, packed.parcels[sent:], waits, topic, limits=limits)
            end = max(end, await _all_taken(packed, sent, waits, topic, limits=limits))
            sent, size, waits = sent + len(waits), 0, []
        if parcel.partition not in partitions_of(producer, parcel.topic):
            raise Doubt(f"topic {parcel.topic} is gone", hint="topics are listed anew, rows routed anew")
        # no await may come between the look above and this call: it asks for unknown topics by name
        taken = await producer.send_batch(parcel.builder, parcel.topic, partition=parcel.partition)
        taken.add_done_callback(_seen)
        waits.append(taken)
        size += parcel.size
    await _answered(producer, packed.parcels[sent:], waits, topic, limits=limits)
    return max(end, await _all_taken(packed, sent, waits, topic, limits=limits))


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


def _seen(taken: asyncio.Future[Any]) -> None:
    """Look at a batch's fate, so that asyncio does not complain where another one's ended the wait."""
    if not taken.cancelled():
        taken.exception()


async def _all_taken(
    packed: Packed, first: int, waits: Sequence[asyncio.Future[Any]], topic: str, *, limits: Limits | None
) -> int:
    """What came of the batches from `first` on: the offset behind what `topic` got.

    A fenced producer is the reason of everything else; then a topic that is not ours to write; then refusals.
    """
    results = await asyncio.gather(*waits, return_exceptions=True)
    failed = [(number, e) for number, e in enumerate(results, first) if isinstance(e, BaseException)]
    for _, error in failed:
        if isinstance(error, FENCED):
            raise error
    for number, error in failed:
        _denied(packed.parcels[number].topic, error, topic, limits)
    refused = [(number, error) for number, error in failed if is_refusal(error)]
    if refused:
        raise refusal(packed, refused)
    for _, error in failed:
        raise error
    taken = (result for result in results if not isinstance(result, BaseException))
    return max((found.offset + 1 for found in taken if found.topic == topic), default=0)


async def _answered(
    producer: AIOKafkaProducer,
    parcels: Sequence[Parcel],
    waits: Sequence[asyncio.Future[Any]],
    own: str,
    *,
    limits: Limits | None,
) -> None:
    """Wait for all answers. Raises Doubt where none can come."""
    if not waits:
        return
    pending = set(waits)
    while True:
        _, pending = await asyncio.wait(pending, timeout=WORRY)
        if not pending:
            return
        waiter = producer._txn_manager._transaction_waiter  # noqa: SLF001
        if waiter is not None and waiter.done() and (error := waiter.exception()):
            for topic in {parcel.topic for parcel in parcels}:
                if topic in str(error):
                    _denied(topic, error, own, limits)
            raise error
        await producer.client.force_metadata_update()
        for parcel, wait in zip(parcels, waits, strict=False):  # those behind are not sent yet
            if wait in pending and not partitions_of(producer, parcel.topic):
                raise Doubt(
                    f"topic {parcel.topic} was deleted while a Kafka transaction was writing to it",
                    hint="topics are listed anew, and rows for it follow on_error",
                )


def _denied(topic: str, error: BaseException, own: str, limits: Limits | None) -> None:
    """Remember a topic that is not ours to write, so that its records are known to be unfit. Raises Doubt.

    Without `own`, the checkpoint's, nothing goes at all: KafkaAccessDenied.
    """
    if isinstance(error, kafka_errors.TopicAuthorizationFailedError):
        if topic == own:
            raise KafkaAccessDenied(
                f"Kafka does not let us write to topic {topic}",
                hint="the user needs Read, Write, Describe and DescribeConfigs on it (kafka-acls.sh --add)",
            ) from error
        if limits is not None:
            limits.deny(topic, "not authorised")
        raise Doubt(
            f"Kafka does not let us write to topic {topic}", hint="rows for it follow on_error from here on"
        ) from error


def is_refusal(error: BaseException) -> bool:
    """Does this answer say that the broker will never take the batch?"""
    return (
        isinstance(error, kafka_errors.BrokerResponseError)
        and not error.retriable
        and not isinstance(error, (*FENCED, *_AFTER_ANOTHER, kafka_errors.TopicAuthorizationFailedError))
    )


def refusal(packed: Packed, refused: Sequence[tuple[int, BaseException]]) -> Refused:
    """The error for batches that were refused; of each partition the first one counts."""
    indexes = packed.members()
    suspects: list[int] = []
    seen: set[tuple[str, int]] = set()
    for number, _ in refused:
        parcel = packed.parcels[number]
        if (parcel.topic, parcel.partition) not in seen:
            seen.add((parcel.topic, parcel.partition))
            suspects += indexes[number]
    number, error = refused[0]
    parcel = packed.parcels[number]
    found = Refused(
        f"Kafka refuses {parcel.builder.record_count()} records for {parcel.topic}, "
        f"partition {parcel.partition}: {error!r}",
        hint="which of them it is will be found out; then its on_error decides",
        suspects=tuple(suspects),
    )
    found.__cause__ = error
    return found


def true_reason(producer: AIOKafkaProducer, error: BaseException) -> BaseException:
    """The true reason: once fenced, aiokafka's later calls only say that they are not possible."""
    task = producer._sender.sender_task  # noqa: SLF001
    if isinstance(error, Exception) and task is not None and task.done() and not task.cancelled():
        return task.exception() or error
    return error
