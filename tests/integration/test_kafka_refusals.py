"""What a real broker will not take: known before sending where that is possible, else found, record by record."""

import os
import time
from collections.abc import AsyncIterator

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from cdc.errors import (
    Doubt,
    KeyMissing,
    RecordRefused,
    RecordTooLarge,
    Refused,
    TopicMissing,
    Unfit,
    ValueInvalid,
)
from cdc.kafka import delivery
from cdc.model import Record
from tests.integration.kafka_process import numbered, position
from tests.integration.kafka_sinks import Place, batch, place
from tests.servers import Kafka, unique

pytestmark = pytest.mark.stack


@pytest.fixture
async def here(kafka: Kafka) -> AsyncIterator[Place]:
    async with place(kafka) as found:
        yield found


def set_topic(kafka: Kafka, topic: str, **settings: str) -> None:
    entries = [
        ConfigEntry(name.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for name, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    kafka.admin.incremental_alter_configs([resource])[resource].result(timeout=30)


def of(
    topic: str, value: bytes, *, key: bytes | None = b"k", partition: int | None = 0, at: int | None = None
) -> Record:
    return Record(topic, partition, key, value, [], at)


async def unfit(sink, number: int, *records: Record) -> dict[int, Exception]:
    """Commit; the refusals. The sink is as good as before: the rest is committed without a fence."""
    with pytest.raises(Unfit) as caught:
        await sink.commit(batch(number, *records))
    refusals = dict(caught.value.refusals)
    await sink.commit(batch(number, *[record for index, record in enumerate(records) if index not in refusals]))
    return refusals


async def test_a_record_larger_than_its_topic_takes_is_known_before_anything_is_sent(here: Place, kafka: Kafka) -> None:
    sink, seen = await here.founded()
    good = numbered(here.data, 1)
    refusals = await unfit(sink, 1, good, of(here.data, os.urandom(2_000_000)), good)
    assert list(refusals) == [1]
    assert isinstance(refusals[1], RecordTooLarge)
    assert here.data in str(refusals[1])
    assert here.committed() == [b"1", b"1"]
    assert "doubt" not in seen.steps


async def test_the_largest_record_that_a_topic_takes_goes_and_one_byte_more_does_not(kafka: Kafka, here: Place) -> None:
    sink, _ = await here.founded()
    with kafka.fresh_topic("small", configs={"max.message.bytes": "1000"}) as small:
        fitting, over = [], []
        for size in range(900, 960):  # the border is among them: the broker and we must agree on it
            try:
                await sink.commit(batch(size, of(small, b"x" * size)))
                fitting.append(size)
            except Unfit:
                over.append(size)
        assert fitting
        assert over
        assert max(fitting) + 1 == min(over)
        # small ones that only together are too large are no concern of anybody
        await sink.commit(batch(1000, *[of(small, b"y" * 300)] * 20))
        assert len(kafka.read_committed(small)) == len(fitting) + 20


async def test_a_compressed_record_is_judged_as_the_broker_sees_it(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded(compression="zstd")
    refusals = await unfit(sink, 1, of(here.data, b"x" * 3_000_000), of(here.data, os.urandom(3_000_000)))
    assert list(refusals) == [1]
    assert here.committed() == [b"x" * 3_000_000]


async def test_missing_topics_missing_partitions_and_missing_keys(here: Place, kafka: Kafka) -> None:
    sink, seen = await here.founded()
    missing = unique("nosuch")
    with kafka.fresh_topic("compact", configs={"cleanup.policy": "compact"}) as compacted:
        refusals = await unfit(
            sink, 1, of(missing, b"1"), of(compacted, b"2", key=None), of(compacted, b"3"), numbered(here.data, 4)
        )
        assert [(at, type(error)) for at, error in sorted(refusals.items())] == [(0, TopicMissing), (1, KeyMissing)]
        assert [r.value for r in kafka.read_committed(compacted)] == [b"3"]
    assert missing not in kafka.topics()
    assert "doubt" not in seen.steps
    # rows are routed anew before a partition that is not there is blamed on one
    with pytest.raises(Doubt, match="has no partition 5"):
        await sink.commit(batch(2, of(here.data, b"5", partition=5)))
    assert (await sink.fence()).position == position(1)
    refusals = await unfit(sink, 2, numbered(here.data, 6), of(here.data, b"5", partition=5))
    assert [(at, type(error)) for at, error in refusals.items()] == [(1, ValueInvalid)]
    assert here.committed() == [b"4", b"6"]


async def test_a_record_without_a_form_is_named(here: Place) -> None:
    sink, _ = await here.founded()
    bad = Record(here.data, 0, b"k", b"v", [("\ud800", b"x")], None)
    refusals = await unfit(sink, 1, numbered(here.data, 1), bad, numbered(here.data, 2))
    assert [(at, type(error)) for at, error in refusals.items()] == [(1, ValueInvalid)]
    assert here.committed() == [b"1", b"2"]


async def test_what_only_the_broker_knows_is_found_among_thousands(here: Place, kafka: Kafka) -> None:
    """A record from too long ago: nothing but the broker's own validation refuses it."""
    sink, seen = await here.founded()
    now = int(time.time() * 1000)
    with kafka.fresh_topic("young", 2, {"message.timestamp.before.max.ms": "3600000"}) as young:
        records = [of(young, b"%d" % n, partition=n % 2, at=now) for n in range(3000)]
        for old in (1234, 2001):
            records[old] = records[old]._replace(timestamp=now - 7_200_000)
        whole = batch(1, *records, numbered(here.data, 1))
        with pytest.raises(Refused) as caught:
            await sink.commit(whole)
        assert young in str(caught.value)
        found = await sink.examine(whole, caught.value)
        assert sorted(found) == [1234, 2001]  # one in each partition
        assert all(isinstance(error, RecordRefused) for error in found.values())
        assert seen.steps.count("fencing") < 8
        assert (await sink.fence()).position == position(0)
        await sink.commit(batch(1, *[r for n, r in enumerate(records) if n not in found], numbered(here.data, 1)))
        assert len(kafka.read_committed(young)) == 2998
        assert here.committed() == [b"1"]


async def test_a_limit_that_was_lowered_while_we_ran_costs_one_refusal(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded()
    with kafka.fresh_topic("lowered") as lowered:
        await sink.commit(batch(1, of(lowered, b"x" * 5000)))
        set_topic(kafka, lowered, max_message_bytes="2000")
        records = [*[of(lowered, b"x" * 500)] * 50, of(lowered, b"x" * 5000)]
        whole = batch(2, *records)
        with pytest.raises(Refused) as caught:
            await sink.commit(whole)
        await sink.examine(whole, caught.value)
        assert (await sink.fence()).position == position(1)
        refusals = await unfit(sink, 2, *records)
        assert [(at, type(error)) for at, error in refusals.items()] == [(50, RecordTooLarge)]
        assert len(kafka.read_committed(lowered)) == 51


async def test_a_topic_deleted_while_running_is_a_doubt_within_seconds(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded(deadline=60.0)
    gone = kafka.create_topic(unique("gone"))
    await sink.commit(batch(1, numbered(gone, 1)))
    kafka.delete_topic(gone)
    before = time.monotonic()
    with pytest.raises(Doubt, match="deleted"):
        await sink.commit(batch(2, numbered(here.data, 2), numbered(gone, 2)))
    assert time.monotonic() - before < 30
    assert (await sink.fence()).position == position(1)
    refusals = await unfit(sink, 2, numbered(here.data, 2), numbered(gone, 2))
    assert [(at, type(error)) for at, error in refusals.items()] == [(1, TopicMissing)]
    assert here.committed() == [b"2"]
    assert gone not in kafka.topics()


def test_aiokafka_knows_the_refusal_it_has_no_name_for() -> None:
    from aiokafka.errors import for_code

    assert for_code(87) is delivery.InvalidRecord
    assert delivery.is_refusal(for_code(87)())
    assert not delivery.is_refusal(for_code(6)())  # not the leader: tried again
