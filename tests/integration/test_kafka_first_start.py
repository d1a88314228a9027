"""A first start is recognised, never assumed; whatever else has no checkpoint stops (DESIGN 4.3)."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from cdc.errors import CheckpointLost, Doubt, Fenced, SinkError
from cdc.kafka import KafkaAddress
from cdc.kafka.cluster import Cluster
from tests.integration.kafka_process import numbered, position
from tests.integration.kafka_sinks import Place, batch, end, place
from tests.servers import Kafka, unique

pytestmark = pytest.mark.stack


@pytest.fixture
async def here(kafka: Kafka) -> AsyncIterator[Place]:
    async with place(kafka) as found:
        yield found


async def known(here: Place) -> bool:
    cluster = Cluster(here.address)
    try:
        return await cluster.knows(here.transactional_id)
    finally:
        await cluster.close()


async def make_known(here: Place) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=here.kafka.bootstrap, transactional_id=here.transactional_id)
    await producer.start()
    await producer.stop()


async def lost(here: Place, says: str, **options: object) -> None:
    sink, seen = here.sink(**options)
    with pytest.raises(CheckpointLost, match=says) as caught:
        await sink.fence()
    assert "--first-start" in caught.value.hint
    assert "cdc checkpoint show" in caught.value.hint
    assert not {"first_start", "founding"} & set(seen.steps)
    await sink.close()


def put(here: Place, key: bytes, value: bytes | None) -> None:
    producer = Producer({"bootstrap.servers": here.kafka.bootstrap})
    producer.produce(here.topic, key=key, value=value, partition=0)
    producer.flush(20)


async def test_whether_a_transactional_id_is_known_is_read_only(here: Place) -> None:
    assert not await known(here)
    assert not await known(here)  # the question has not made it known
    await make_known(here)
    assert await known(here)


async def test_nothing_there_is_a_first_start(here: Place, kafka: Kafka) -> None:
    sink, seen = here.sink()
    assert await sink.fence() is None
    assert seen.steps == ["fencing", "fenced", "first_start"]
    assert "does not know the transactional id" in seen.facts("first_start")["reason"]
    await sink.found(position(4), "latest")
    assert here.geneses() == 1
    configs = kafka.admin.describe_configs([ConfigResource(ResourceType.TOPIC, here.topic)])
    settings = next(iter(configs.values())).result(timeout=20)
    assert settings["cleanup.policy"].value == "compact"
    assert kafka.topics()[here.topic] == 1


async def test_commit_before_found_is_refused(here: Place) -> None:
    sink, _ = here.sink()
    assert await sink.fence() is None
    with pytest.raises(Doubt, match="before found"):
        await sink.commit(batch(1))
    assert await sink.fence() is None
    with pytest.raises(Doubt, match="without a first start"):
        await (await here.founded())[0].found(position(1), "latest")


@pytest.mark.parametrize("step", ["fencing", "fenced", "first_start", "founding", "founded", "beginning", "sent"])
async def test_killed_at_a_step_of_the_first_start_the_next_one_goes_on(here: Place, step: str) -> None:
    code, lines = await end(here.process(batches=3, kill_at=step))
    assert code == -signal.SIGKILL
    assert lines[-1]["step"] == step
    code, lines = await end(here.process(batches=3))
    assert (code, lines[-1]["step"]) == (0, "released")
    assert here.committed() == [b"0", b"1", b"2"]
    assert here.geneses() == 1
    assert ("founded" in [line["step"] for line in lines]) == (step in {"fencing", "fenced", "first_start", "founding"})


async def test_died_between_the_topic_and_the_producer(here: Place, kafka: Kafka) -> None:
    kafka.create_topic(here.topic, configs={"cleanup.policy": "compact"})
    assert not await known(here)
    _, seen = await here.founded()
    assert "empty" in seen.facts("first_start")["reason"]


async def test_died_with_genesis_sent_and_not_committed(here: Place, kafka: Kafka) -> None:
    kafka.create_topic(here.topic, configs={"cleanup.policy": "compact"})
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, transactional_id=here.transactional_id)
    await producer.start()
    await producer.begin_transaction()
    await producer.send_and_wait(here.topic, b"{}", b"shop/genesis", partition=0)
    await producer.abort_transaction()
    await producer.stop()
    await here.founded()
    assert here.geneses() == 1


@pytest.mark.parametrize("names", [("one", "two"), ("same", "same")])
@pytest.mark.parametrize("head_start", [0.0, 0.03, 0.1])
async def test_two_first_starts_at_once_found_once(here: Place, names: tuple[str, str], head_start: float) -> None:
    sinks = [here.sink(name, takeover_after=60.0) for name in names]
    working: list[int] = []

    async def run(number: int) -> BaseException | None:
        """Work as the pump does, until fenced or told to end."""
        sink, _ = sinks[number]
        await asyncio.sleep(number * head_start)
        while True:
            try:
                checkpoint = await sink.fence()
                if checkpoint is None:
                    await sink.found(position(0), "earliest")
                while True:
                    at = len(working)
                    await sink.commit(batch(at + 1, numbered(here.data, at)))
                    working.append(number)
                    await asyncio.sleep(0.02)
            except Doubt:
                continue
            except Fenced as error:
                return error

    tasks = [asyncio.create_task(run(number)) for number in range(2)]
    async with asyncio.timeout(30):
        while len(working) < 50:
            await asyncio.sleep(0.05)
    other = 1 - working[-1]
    assert len(set(working[-20:])) == 1  # no more taking it from each other
    if names[0] == names[1]:  # the older one is taken for a predecessor
        assert "standing_by" in sinks[other][1].steps or isinstance(tasks[other].result(), Fenced)
    else:
        assert not tasks[other].done()
        assert "standing_by" in sinks[other][1].steps
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert here.geneses() == 1
    assert sum("founded" in seen.steps for _, seen in sinks) == 1


async def test_a_deleted_topic_of_a_known_id_is_lost(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded()
    await sink.commit(batch(5, numbered(here.data, 1)))
    await sink.close()
    await asyncio.to_thread(kafka.delete_topic, here.topic)
    await lost(here, f"does not exist, but Kafka knows transactional id {here.transactional_id}")
    assert here.topic not in kafka.topics()
    again, seen = here.sink(first_start=True)
    assert await again.fence() is None
    assert "--first-start" in seen.facts("first_start")["reason"]
    await again.found(position(9), "earliest")
    await again.commit(batch(10))
    await again.close()
    last, _ = here.sink(first_start=True)  # it overrules a loss, never a checkpoint
    assert (await last.fence()).position == position(10)


async def test_an_auto_created_topic_is_lost(here: Place, kafka: Kafka) -> None:
    for first_start in (False, True):
        put(here, b"any", b"x")
        await lost(here, "cleanup.policy is delete instead of compact", first_start=first_start)
    await asyncio.to_thread(kafka.delete_topic, here.topic)
    await here.founded()  # nobody had used the transactional id


async def test_a_topic_of_several_partitions_is_lost(here: Place, kafka: Kafka) -> None:
    kafka.create_topic(here.topic, 3, {"cleanup.policy": "compact"})
    await lost(here, "3 partitions instead of 1", first_start=True)


async def test_a_changed_policy_is_lost_and_comes_back(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded()
    await sink.close()
    for policy in ("compact,delete", "compact"):
        entry = ConfigEntry("cleanup.policy", policy, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, here.topic, incremental_configs=[entry])
        kafka.admin.incremental_alter_configs([resource])[resource].result(timeout=20)
        if policy == "compact":
            assert (await here.sink()[0].fence()).position == position(0)
        else:
            await lost(here, "cleanup.policy is compact,delete instead of compact")


async def test_a_cut_off_begin_is_lost(here: Place, kafka: Kafka) -> None:
    sink, _ = await here.founded()
    await sink.close()
    whole = TopicPartition(here.topic, 0, kafka.ends(here.topic)[0])
    configs = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    for value in ("compact,delete", "compact"):  # DeleteRecords works where the policy has delete in it
        configs = ConfigEntry("cleanup.policy", value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, here.topic, incremental_configs=[configs])
        kafka.admin.incremental_alter_configs([resource])[resource].result(timeout=20)
        if value != "compact":
            kafka.admin.delete_records([whole])[whole].result(timeout=20)
    await lost(here, "its begin was cut off")


async def test_a_checkpoint_deleted_by_a_tombstone_is_lost(here: Place) -> None:
    sink, _ = await here.founded()
    await sink.close()
    put(here, b"shop", None)
    await lost(here, "deleted by a record without value")
    again, seen = here.sink(first_start=True)
    assert await again.fence() is None
    assert "--first-start" in seen.facts("first_start")["reason"]


async def test_somebody_elses_records_are_lost(here: Place, kafka: Kafka) -> None:
    kafka.create_topic(here.topic, configs={"cleanup.policy": "compact"})
    put(here, b"theirs", b"x")
    await lost(here, "records of somebody else")


async def test_a_topic_made_anew_under_a_running_instance_is_lost(here: Place, kafka: Kafka) -> None:
    """Its heartbeat writes on into the new, empty topic: that must not look like a first start that died."""
    sink, _ = await here.founded(heartbeat_every=0.1)
    await asyncio.to_thread(kafka.delete_topic, here.topic)
    await asyncio.to_thread(kafka.create_topic, here.topic, 1, {"cleanup.policy": "compact"})
    async with asyncio.timeout(20):
        while not kafka.read_uncommitted(here.topic):
            await asyncio.sleep(0.1)
    await sink.close()
    await lost(here, "worked here, so there was a checkpoint")


async def test_without_leave_to_create_topics_it_says_how(here: Place, kafka: Kafka) -> None:
    sink, _ = here.sink(create_topics=False)
    with pytest.raises(SinkError, match=r"topics\.create is none") as caught:
        await sink.fence()
    assert f"--create --topic {here.topic}" in caught.value.hint
    assert "cleanup.policy=compact" in caught.value.hint
    kafka.create_topic(here.topic, configs={"cleanup.policy": "compact"})
    assert await sink.fence() is None


async def test_a_first_question_to_a_fresh_broker(start_server) -> None:
    """Looking for a coordinator makes the broker create its own transaction topic: the first answer takes a while."""
    own: Kafka = await asyncio.to_thread(start_server, "kafka")
    cluster = Cluster(KafkaAddress((own.bootstrap,)))
    assert not await cluster.knows(unique("id"))
    await cluster.close()
