"""Two instances of one source: one works, the other stands by, and nobody is shot who lives."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest

from tests.integration.kafka_process import numbered, position
from tests.integration.kafka_sinks import Place, batch, end, fence_when, place
from tests.servers import Kafka

pytestmark = pytest.mark.stack


@pytest.fixture
async def here(kafka: Kafka) -> AsyncIterator[Place]:
    async with place(kafka) as found:
        yield found


async def test_it_waits_while_the_other_lives_and_takes_over_after_its_silence(here: Place) -> None:
    process = here.process(name="one", batches=1, stop_at="committed")
    try:
        os.kill(process.pid, 0)
        await asyncio.to_thread(_until_line, process, "committed")  # frozen now: no more signs of life
        second, seen = here.sink("two", takeover_after=3.0)
        started = time.monotonic()
        checkpoint = await fence_when(second)
        assert 3.0 <= time.monotonic() - started < 10
        assert seen.steps[:2] == ["standing_by", "fencing"]
        assert seen.facts("standing_by")["instance"].startswith("one#")
        assert checkpoint.position == position(1)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _until_line(process: object, step: str) -> None:
    for line in process.stdout:
        if f'"{step}"' in line:
            return
    raise AssertionError("ended before")


async def test_an_idle_one_and_one_in_a_long_transaction_are_alive(here: Place) -> None:
    first, _ = await here.founded("one", heartbeat_every=0.5)
    second, seen = here.sink("two", takeover_after=1.5)
    waiting = asyncio.create_task(second.fence())
    await seen.until("standing_by")
    await asyncio.sleep(2.5)  # idle
    producer = first._producer
    await producer.begin_transaction()
    await producer.send_and_wait(here.topic, b"{}", b"open", partition=0)
    await asyncio.sleep(3)  # open: read_committed sees nothing of its signs
    assert not waiting.done()
    await producer.abort_transaction()
    await first.commit(batch(1))
    assert not waiting.done()
    await first.close()  # without a goodbye
    assert (await asyncio.wait_for(waiting, 20)).position == position(1)


async def test_released_it_is_taken_over_at_once(here: Place) -> None:
    first, _ = await here.founded("one")
    second, seen = here.sink("two", takeover_after=60.0)
    waiting = asyncio.create_task(second.fence())
    await seen.until("standing_by")
    await first.commit(batch(1, numbered(here.data, 1)))
    await first.close(release=position(2))
    started = time.monotonic()
    checkpoint = await asyncio.wait_for(waiting, 20)
    assert time.monotonic() - started < 5
    assert (checkpoint.position, checkpoint.released) == (position(2), True)
    await second.commit(batch(3))
    assert here.checkpoints()[-1]["released"] is False


async def test_released_before_it_comes_there_is_no_waiting(here: Place) -> None:
    first, seen = await here.founded("one")
    await first.close(release=position(2))
    assert seen.steps[-1] == "released"
    second, seen = here.sink("two", takeover_after=60.0)
    assert (await fence_when(second, 5)).position == position(2)
    assert "standing_by" not in seen.steps


async def test_under_the_same_name_there_is_no_waiting(here: Place) -> None:
    code, _ = await end(here.process(name="one", batches=1, kill_at="committed"))
    assert code == -signal.SIGKILL
    again, seen = here.sink("one", takeover_after=60.0)
    started = time.monotonic()
    assert (await again.fence()).position == position(1)
    assert time.monotonic() - started < 2
    assert "standing_by" not in seen.steps


async def test_take_over_does_not_wait(here: Place) -> None:
    first, _ = await here.founded("one")
    await first.commit(batch(1))
    second, seen = here.sink("two", take_over=True, takeover_after=60.0)
    assert (await fence_when(second, 5)).position == position(1)
    assert "standing_by" not in seen.steps


async def test_a_standby_is_cancelled_cleanly(here: Place) -> None:
    await here.founded("one")
    second, seen = here.sink("two")
    waiting = asyncio.create_task(second.fence())
    await seen.until("standing_by")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await second.close()


async def test_an_outage_of_kafka_makes_nobody_take_over(start_server) -> None:
    own: Kafka = await asyncio.to_thread(start_server, "kafka")
    async with place(own) as there:
        first, _ = await there.founded("one", deadline=30.0)
        await first.commit(batch(1))
        second, seen = there.sink("two", takeover_after=3.0, deadline=6.0)
        waiting = asyncio.create_task(second.fence())
        await seen.until("standing_by")
        await asyncio.sleep(1)  # one that is only about to look raises KafkaUnavailable, and the pump comes again
        await asyncio.to_thread(own.instance.kill)
        await asyncio.sleep(5)
        await asyncio.to_thread(own.instance.start)
        await asyncio.sleep(5)
        assert not waiting.done()
        assert "fencing" not in seen.steps
        await first.commit(batch(2))
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
