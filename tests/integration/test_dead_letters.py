"""`cdc dead-letters` on a real broker: found, shown, sent again once and only once, put away."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cdc.cli.root import root
from cdc.kafka import KafkaAddress
from cdc.kafka.parked import ParkedCounter
from tests.integration.letters import event_id, letter, put
from tests.running import Ended
from tests.servers import Kafka, unique

ROOT = Path(__file__).parents[2]
MARKED = ("replay", b"true")


class Letters:
    """A configuration whose source is never asked, and its dead-letter topic."""

    def __init__(self, kafka: Kafka, folder: Path, **more: Any) -> None:
        self.kafka, self.prefix = kafka, unique("p").replace("_", "")
        self.topic = kafka.create_topic(f"{self.prefix}.dead-letters")
        self.config = folder / "cdc.yaml"
        self.write(**more)

    def write(self, **more: Any) -> None:
        source = {"url": "mysql://cdc@127.0.0.1:1", "tables": {"shop.outbox": {"layout": "native"}}, "start": "latest"}
        whole = {
            "sources": {"shop": source},
            "kafka": {"bootstrap_servers": [self.kafka.bootstrap], "prefix": self.prefix},
            **more,
        }
        self.config.write_text(json.dumps(whole))

    def cdc(self, command: str, *arguments: str, code: int = 0) -> Ended:
        done = CliRunner().invoke(root, ["dead-letters", command, "-c", str(self.config), *arguments], prog_name="cdc")
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert done.exit_code == code, done.stderr
        return Ended(done.exit_code, done.stdout, done.stderr)

    def listed(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.cdc("list", "-o", "json", *arguments).out)

    def process(self, *arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.integration.letters", str(self.config), *map(str, arguments)]
        return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def letters(kafka: Kafka, tmp_path: Path) -> Iterator[Letters]:
    made = Letters(kafka, tmp_path)
    yield made
    kafka.delete_topic(made.topic)


def ended(process: subprocess.Popen) -> Ended:
    out, err = process.communicate(timeout=120)
    return Ended(process.returncode, out or "", err)


def numbers(kafka: Kafka, topic: str) -> list[int]:
    return sorted(int(record.value or b"-1") for record in kafka.read_committed(topic))


def test_one_record_whoever_is_killed_and_however_many_replay(letters: Letters, new_topic: Callable[..., str]):
    kafka, topic = letters.kafka, new_topic("orders", partitions=3)
    put(kafka, letters.topic, *(letter(n, topic) for n in range(12)))
    put(kafka, letters.topic, letter(3, topic))  # the same row again: one letter
    for step, number in (("read", 1), ("sending", 1), ("sent", 2), ("committed", 1)):
        assert ended(letters.process(step, number)).code == -9
    assert len(numbers(kafka, topic)) == 2 + 2, "two transactions were committed before a kill"
    killed = [letters.process("sent", 1), letters.process("sending", 2)]  # both at once, each of them killed or refused
    assert {ended(one).code for one in killed} <= {-9, 1}
    assert len(numbers(kafka, topic)) in {4, 6}
    at_once = [letters.process() for _ in range(2)]
    both = [ended(one) for one in at_once]
    assert any(one.code == 0 for one in both), both
    assert all(one.code == 0 or "StillAtWork" in one.err for one in both), both
    assert numbers(kafka, topic) == list(range(12))
    assert ended(letters.process()).code == 0
    assert json.loads(letters.cdc("replay", "--yes", "-o", "json").out)["letters"] == []
    assert numbers(kafka, topic) == list(range(12))
    marks = Counter(
        record.key for record in kafka.read_committed(letters.topic) if record.header("mark") == b"replayed"
    )
    assert set(marks.values()) == {1}
    assert len(marks) == 12


def test_filters_plan_replay_and_marks(letters: Letters, new_topic: Callable[..., str]):
    kafka, topic = letters.kafka, new_topic("orders")
    put(
        kafka,
        letters.topic,
        letter(1, topic),
        letter(2, topic, name="order.paid", reason="key_missing"),
        letter(3, "not-there-" + topic),
    )
    found = letters.listed()
    assert [(one["event_name"], one["reason"], one["state"]) for one in found] == [
        ("order.created", "topic_missing", "parked"),
        ("order.paid", "key_missing", "parked"),
        ("order.created", "topic_missing", "parked"),
    ]
    assert len(letters.listed("--event-name", "order.p*", "--since", "1h", "--source", "shop")) == 1
    assert letters.listed("--reason", "unrouted") == letters.listed("--until", "1h") == []
    assert "order.paid" in letters.cdc("list").out

    planned = json.loads(letters.cdc("replay", "-o", "json").out)
    assert [one["to"] for one in planned["letters"]] == [topic, topic, None]
    assert "topic_missing" in planned["letters"][2]["stays_parked"]
    assert kafka.read_committed(topic) == []

    done = letters.cdc("replay", "--yes", "--event-name", "order.paid")
    assert "order is not restored" in done.err
    [record] = kafka.read_committed(topic)
    assert (record.key, record.value) == (b"k2", b"2")
    assert record.header("event_id") == str(event_id(2)).encode()
    assert MARKED in record.headers
    assert [one["event_name"] for one in letters.listed()] == ["order.created"] * 2
    assert [one["state"] for one in letters.listed("--all")] == ["parked", "replayed", "parked"]

    stays = letters.cdc("replay", "--yes", code=1)
    assert "1 stay parked" in stays.err
    assert numbers(kafka, topic) == [1, 2]
    # parked again, behind the mark: a new letter
    put(kafka, letters.topic, letter(2, topic))
    assert len(letters.listed()) == 2

    letters.cdc("dismiss", code=2)
    assert "nothing was changed" in letters.cdc("dismiss", "--all").err
    letters.cdc("dismiss", str(event_id(3)), "--yes", "--note", "a test's")
    letters.cdc("dismiss", "--all", "--yes")
    assert letters.listed() == []
    last = letters.listed("--all")
    assert {one["state"] for one in last} == {"replayed", "dismissed"}
    assert "a test's" in json.dumps(last)
    assert numbers(kafka, topic) == [1, 2]


def test_what_is_too_large_today_too_stays_and_the_rest_goes(letters: Letters, new_topic: Callable[..., str]):
    kafka, topic = letters.kafka, new_topic("small", configs={"max.message.bytes": "20000"})
    large = bytes(range(256)) * 400
    put(kafka, letters.topic, letter(1, topic), letter(2, topic, payload=large), letter(3, topic), limit=30_000)
    done = json.loads(letters.cdc("replay", "--yes", "-o", "json", code=1).out)
    assert done["replayed"] == {topic: 2}
    assert len(done["refused"]) == 1
    assert numbers(kafka, topic) == [1, 3]
    [left] = letters.listed()
    assert left["size"] == len(large)
    shown = letters.cdc("show", left["key"], "-o", "json")
    assert json.loads(shown.out)[0]["row"]["topic"] == topic
    raw = CliRunner().invoke(root, ["dead-letters", "show", "-c", str(letters.config), "--value", left["event_id"]])
    assert raw.stdout_bytes == large
    # a route that leads somewhere else is what a replay goes by
    other = new_topic("other")
    letters.write(routes=[{"match": {"topic": "small*"}, "topic": other}])
    letters.cdc("replay", "--yes")
    assert [record.value for record in kafka.read_committed(other)] == [large]
    assert letters.listed() == []


def test_nothing_there_and_nothing_readable(letters: Letters):
    from confluent_kafka import Producer

    assert letters.listed() == []
    producer = Producer({"bootstrap.servers": letters.kafka.bootstrap, "log_level": 0})
    producer.produce(letters.topic, b"what", b"ever", partition=0)
    assert producer.flush(30) == 0
    assert "offset 0 is passed over" in letters.cdc("list").err
    assert "nothing to do" in letters.cdc("replay", "--yes").err
    assert "there is no dead letter" in letters.cdc("show", "shop/x", code=1).err


async def test_the_parked_are_counted_until_somebody_decides(letters: Letters, new_topic: Callable[..., str]):
    counter = ParkedCounter(KafkaAddress((letters.kafka.bootstrap,)), letters.prefix)
    topic = new_topic("orders")
    try:
        assert await counter.look() == {}
        large = letter(2, topic, payload=bytes(50_000), reason="record_too_large")
        await asyncio.to_thread(
            put, letters.kafka, letters.topic, letter(1, topic), letter(1, topic), large, limit=9000
        )
        found = {("shop", "topic_missing"): 1, ("shop", "record_too_large"): 1}
        assert await counter.look() == found
        assert await counter.look() == found
        await asyncio.to_thread(letters.cdc, "replay", "--reason", "topic_missing", "--yes")
        assert await counter.look() == {("shop", "record_too_large"): 1}
        await asyncio.to_thread(letters.cdc, "dismiss", "--all", "--yes")
        assert await counter.look() == {}
        await asyncio.to_thread(letters.kafka.delete_topic, letters.topic)
        await asyncio.to_thread(letters.kafka.create_topic, letters.topic)
        await asyncio.to_thread(put, letters.kafka, letters.topic, letter(5, topic))
        assert await counter.look() == {("shop", "topic_missing"): 1}
    finally:
        await counter.close()
