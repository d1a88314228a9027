"""The sink on a real Kafka, judged by librdkafka, which has no part in it."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer

from cdc.errors import (
    CheckpointLost,
    CheckpointUnreadable,
    Doubt,
    Fenced,
    HangingTransaction,
    KafkaUnavailable,
)
from cdc.kafka import KafkaAddress, KafkaSink, KafkaTopics, read_checkpoint
from cdc.kafka import sink as sink_module
from cdc.model import Record
from tests.integration.kafka_process import numbered, position
from tests.integration.kafka_sinks import Place, batch, end, fence_when, place
from tests.servers import Kafka, unique

pytestmark = pytest.mark.stack


@pytest.fixture
async def here(kafka: Kafka) -> AsyncIterator[Place]:
    async with place(kafka) as found:
        yield found


async def foreign_open_transaction(kafka: Kafka, topic: str) -> Producer:
    """Somebody else's transaction in the partition, with a record, and not ended."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique("foreign")})
    await asyncio.to_thread(producer.init_transactions, 20)
    producer.begin_transaction()
    producer.produce(topic, key=b"foreign", value=b"x", partition=0)
    await asyncio.to_thread(producer.flush, 20)
    return producer


async def test_records_arrive_as_they_are(here: Place, kafka: Kafka) -> None:
    sink, seen = await here.founded()
    before = int(time.time() * 1000)
    records = [
        Record(here.data, 0, b"\x00key\xff", b"\x00\xff" * 10, [("event_id", b"1"), ("leer", None), ("é", b"")], 1),
        Record(here.data, 0, None, b"", [], None),
        Record(here.data, 0, b"tombstone", None, [("again", b"1"), ("again", b"2")], before + 7_200_000),
        Record(here.data, None, b"", b"x" * 700_000, [], 1_700_000_000_123),
    ]
    await sink.commit(batch(7, *records))
    after = int(time.time() * 1000)
    got = kafka.read_committed(here.data)
    assert [(r.key, r.value, r.headers) for r in got] == [(r.key, r.value, r.headers) for r in records]
    assert [got[0].timestamp, got[3].timestamp] == [1, 1_700_000_000_123]
    assert before <= got[1].timestamp <= after
    assert before <= got[2].timestamp <= after  # never later than now: the broker would refuse it
    assert seen.steps == [
        *("fencing", "fenced", "first_start", "founding", "founded"),
        "expiring",  # said once, though two of the records are older than the topic keeps
        *("beginning", "sending", "sent", "committed"),
    ]


async def test_the_checkpoint_is_committed_with_the_records(here: Place) -> None:
    sink, _ = await here.founded()
    for number in range(1, 4):
        await sink.commit(batch(number, numbered(here.data, number)))
    await sink.close()
    again, _ = here.sink()
    checkpoint = await again.fence()
    assert checkpoint is not None
    assert (checkpoint.position, checkpoint.instance, checkpoint.tables) == (
        position(3),
        sink.instance,
        ("shop.outbox",),
    )
    assert here.committed() == [b"1", b"2", b"3"]
    last = here.checkpoints()[-1]
    assert (last["version"], last["source"], last["released"], last["snapshot"]) == (1, "shop", False, None)
    assert here.geneses() == 1


async def test_order_within_a_partition_over_many_batches(kafka: Kafka) -> None:
    async with place(kafka, 3) as here:
        sink, _ = await here.founded()
        many = [Record(here.data, n % 3, b"k", b"%06d" % n + b"x" * 900, [], None) for n in range(6000)]
        await sink.commit(batch(1, *many))
        got = kafka.read_committed(here.data)
        for partition in range(3):
            values = [int(r.value[:6]) for r in got if r.partition == partition]
            assert values == list(range(partition, 6000, 3))


async def test_records_without_partition_are_spread_over_all(kafka: Kafka) -> None:
    async with place(kafka, 3) as here:
        sink, _ = await here.founded()
        for number in range(6):
            await sink.commit(batch(number, *[Record(here.data, None, None, b"%d" % number, [], None)] * 5))
        got = kafka.read_committed(here.data)
        assert [sum(r.partition == p for r in got) for p in range(3)] == [10, 10, 10]
        assert all(len({r.partition for r in got if r.value == b"%d" % n}) == 1 for n in range(6))


async def test_a_topic_made_while_running_is_found(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded()
    with kafka.fresh_topic("young") as young:
        await sink.commit(batch(1, numbered(young, 1)))
        assert [r.value for r in kafka.read_committed(young)] == [b"1"]


async def test_the_first_of_two_instances_is_fenced_and_says_by_whom(here: Place) -> None:
    first, seen = await here.founded("one")
    await first.commit(batch(1, numbered(here.data, 1)))
    second, _ = here.sink("two", take_over=True)
    assert (await second.fence()).position == position(1)
    with pytest.raises(Doubt):
        await first.commit(batch(2, numbered(here.data, 2)))
    with pytest.raises(Fenced) as caught:
        await first.fence()
    assert second.instance in str(caught.value)
    assert caught.value.hint
    await second.commit(batch(2, numbered(here.data, 2)))
    assert here.committed() == [b"1", b"2"]
    assert "doubt" in seen.steps


async def test_fenced_before_its_first_commit_it_stands_by_instead_of_ending(here: Place) -> None:
    await (await here.founded("zero"))[0].close(release=position(0))
    first, seen = here.sink("one")
    await first.fence()
    second, _ = here.sink("two", take_over=True)
    await second.fence()
    with pytest.raises(Doubt):
        await first.commit(batch(1, numbered(here.data, 1)))
    waiting = asyncio.create_task(first.fence())
    assert second.instance in (await seen.until("standing_by"))["instance"]
    await second.commit(batch(1, numbered(here.data, 1)))
    await second.close(release=position(1))
    assert (await asyncio.wait_for(waiting, 20)).position == position(1)
    assert here.committed() == [b"1"]


async def test_a_frozen_one_with_an_open_transaction_wakes_fenced(here: Place) -> None:
    process = here.process(name="frozen", batches=50, stop_at="sent", from_batch=3)
    try:
        await asyncio.to_thread(_wait_stopped, process.pid)
        second, seen = here.sink("other")
        checkpoint = await fence_when(second)
        assert checkpoint.position == position(4)  # the open fifth was ended as aborted
        assert "standing_by" in seen.steps
        await second.commit(batch(5, numbered(here.data, 4)))
        os.kill(process.pid, signal.SIGCONT)
        code, lines = await end(process)
    finally:
        process.kill()
        process.wait()
    assert code == 5
    assert second.instance in lines[-1]["message"]
    await second.commit(batch(6, numbered(here.data, 5)))
    assert here.committed() == [b"%d" % n for n in range(6)]


def _wait_stopped(pid: int) -> None:
    end_at = time.monotonic() + 30
    while time.monotonic() < end_at:
        if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T":
            return
        time.sleep(0.05)
    raise AssertionError("did not stop itself")


async def test_our_own_timed_out_transaction_is_a_doubt_not_the_end(here: Place) -> None:
    """The coordinator fences a producer whose transaction timed out, with the same error as a newer instance does."""
    sink, _ = await here.founded()
    await sink.commit(batch(1, numbered(here.data, 1)))
    usurper = AIOKafkaProducer(bootstrap_servers=here.kafka.bootstrap, transactional_id=here.transactional_id)
    await usurper.start()  # bumps the epoch as a timeout does, and gives no sign of life
    await usurper.stop()
    with pytest.raises(Doubt):
        await sink.commit(batch(2, numbered(here.data, 2)))
    assert (await sink.fence()).position == position(1)
    await sink.commit(batch(2, numbered(here.data, 2)))
    assert here.committed() == [b"1", b"2"]


async def test_a_foreign_open_transaction_makes_the_reading_wait_and_not_lie(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded()
    await sink.commit(batch(1))
    foreign = await foreign_open_transaction(kafka, here.topic)
    await sink.commit(batch(2))  # committed, and hidden from read_committed consumers by the open one
    assert here.checkpoints()[-1]["position"] == 1
    await sink.close()
    again, _ = here.sink()
    reading = asyncio.create_task(again.fence())
    await asyncio.sleep(2)
    assert not reading.done()
    await asyncio.to_thread(foreign.abort_transaction, 20)
    assert (await asyncio.wait_for(reading, 20)).position == position(2)


async def test_a_transaction_without_end_is_named(here: Place, kafka: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    sink, _ = await here.founded()
    await sink.close()
    foreign = await foreign_open_transaction(kafka, here.topic)
    monkeypatch.setattr(sink_module, "_HANGING_MARGIN", 1.0)
    again, _ = here.sink(transaction_timeout=1.0)
    with pytest.raises(HangingTransaction) as caught:
        await again.fence()
    assert "find-hanging" in caught.value.hint
    await asyncio.to_thread(foreign.abort_transaction, 20)


async def test_unknown_fields_and_the_snapshot_are_written_again(here: Place) -> None:
    sink, _ = await here.founded()
    await sink.close()
    later = here.checkpoints()[-1] | {"position": 5, "of_tomorrow": {"a": [1]}, "snapshot": {"key": "k"}}
    _write(here, json.dumps(later).encode())
    again, _ = here.sink()
    checkpoint = await again.fence()
    assert (checkpoint.position, checkpoint.extra) == (position(5), {"of_tomorrow": {"a": [1]}})
    await again.commit(replace(batch(6), snapshot={"key": "l"}))
    await again.close(release=position(6))
    last = here.checkpoints()[-1]
    assert (last["position"], last["of_tomorrow"], last["snapshot"]) == (6, {"a": [1]}, {"key": "l"})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"version": 2}, "version 2"),
        ({"cluster_id": "elsewhere"}, "cluster 'elsewhere'"),
        ({"source": "other"}, "source 'other'"),
        ({"flavour": "oracle"}, "no readable position"),
        (None, "not a checkpoint"),
    ],
)
async def test_a_checkpoint_that_is_not_understood_stops(here: Place, change: dict | None, says: str) -> None:
    sink, _ = await here.founded()
    await sink.close()
    last = here.checkpoints()[-1]
    _write(here, b"{" if change is None else json.dumps(last | change).encode())
    again, seen = here.sink()
    with pytest.raises(CheckpointUnreadable, match=says) as caught:
        await again.fence()
    assert caught.value.hint
    assert "fencing" not in seen.steps  # a newer program that runs is not disturbed
    with pytest.raises(CheckpointUnreadable):
        await read_checkpoint(here.address, here.source, prefix=here.prefix)


def _write(here: Place, value: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": here.kafka.bootstrap})
    producer.produce(here.topic, key=here.source.encode(), value=value, partition=0)
    producer.flush(20)


async def test_a_producer_is_retired_before_its_sequence_numbers_wrap(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, _ = await here.founded()
    monkeypatch.setattr(sink_module, "RETIRE_AFTER", 3)
    await sink.commit(batch(1, numbered(here.data, 1), numbered(here.data, 1), numbered(here.data, 1)))
    with pytest.raises(Doubt, match="age"):
        await sink.commit(batch(2, numbered(here.data, 2)))
    assert (await sink.fence()).position == position(1)
    await sink.commit(batch(2, numbered(here.data, 2)))
    assert here.committed() == [b"1", b"1", b"1", b"2"]


@pytest.mark.parametrize("step", ["beginning", "sending", "sent"])
async def test_a_cancelled_commit_costs_the_producer_and_nothing_else(here: Place, step: str) -> None:
    sink, seen = await here.founded()
    task = asyncio.create_task(sink.commit(batch(1, *[numbered(here.data, 1)] * 1000)))
    seen.on[step] = task.cancel
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(Doubt):
        await sink.commit(batch(1))
    found = (await sink.fence()).position.position
    assert len(here.committed()) == 1000 * found


async def test_a_broker_that_stops_costs_a_deadline_and_not_more(here: Place, start_server) -> None:
    own: Kafka = await asyncio.to_thread(start_server, "kafka")
    async with place(own) as there:
        sink, _ = await there.founded(deadline=3.0, fence_deadline=5.0)
        await sink.commit(batch(1, numbered(there.data, 1)))
        await asyncio.to_thread(own.instance.kill)
        started = time.monotonic()
        with pytest.raises(Doubt, match="no answer within 3 s"):
            await sink.commit(batch(2, numbered(there.data, 2)))
        with pytest.raises(KafkaUnavailable, match=own.bootstrap) as caught:
            await sink.fence()
        assert time.monotonic() - started < 20
        assert caught.value.retryable
        assert own.bootstrap in caught.value.hint
        await asyncio.to_thread(own.instance.start)
        assert (await sink.fence()).position == position(1)
        await sink.commit(batch(2, numbered(there.data, 2)))
        assert there.committed() == [b"1", b"2"]


async def test_nobody_at_the_address() -> None:
    address = KafkaAddress(("127.0.0.1:1",))
    sink = KafkaSink(address, "shop", instance_name="one", tables=(), observer=lambda *_, **__: None)
    topics = KafkaTopics(address)
    for call in (sink.fence(), topics.start(), read_checkpoint(address, "shop")):
        with pytest.raises(KafkaUnavailable, match=r"127\.0\.0\.1:1 does not answer: Connection refused") as caught:
            await call
        assert caught.value.hint
    await sink.close()
    await topics.close()


async def test_a_deleted_checkpoint_topic_while_running_stops(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded(deadline=3.0, heartbeat_every=0.2)
    await sink.commit(batch(1, numbered(here.data, 1)))
    await asyncio.to_thread(kafka.delete_topic, here.topic)
    with pytest.raises(Doubt):
        await sink.commit(batch(2, numbered(here.data, 2)))
    with pytest.raises(CheckpointLost, match="does not exist"):
        await sink.fence()
    assert here.topic not in kafka.topics()
    assert here.committed() == [b"1"]


async def test_topics_are_listed_and_never_created(kafka: Kafka) -> None:
    topics = KafkaTopics(KafkaAddress((kafka.bootstrap,)))
    missing = unique("nosuch")
    with kafka.fresh_topic("listed", 4) as name:
        await topics.start()
        assert topics.partitions(name) == 4
        assert topics.partitions(missing) is None
        assert (await topics.settings(name))["max.message.bytes"] == "1048588"
    await topics.refresh()
    assert topics.partitions(name) is None
    await topics.close()
    assert missing not in kafka.topics()


async def test_the_view_for_people(here: Place, kafka: Kafka) -> None:
    nothing = await read_checkpoint(here.address, here.source, prefix=here.prefix)
    assert (nothing.exists, nothing.checkpoint, nothing.genesis, nothing.alive_instance) == (False, None, None, None)
    assert here.topic not in kafka.topics()
    sink, seen = await here.founded()
    for number in range(1, 100):
        await sink.commit(batch(number))
    view = await read_checkpoint(here.address, here.source, prefix=here.prefix)
    assert view.checkpoint.position == position(99)
    assert view.genesis["start"] == "earliest"
    assert (view.alive_instance, view.partitions, view.settings["cleanup.policy"]) == (sink.instance, 1, "compact")
    assert 0 <= view.alive_age < 5
    await sink.commit(batch(100))  # nobody was fenced by the look
    assert "doubt" not in seen.steps
