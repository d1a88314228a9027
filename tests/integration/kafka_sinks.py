"""Sinks for tests: unique sources, observers that remember, and everything closed at the end."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cdc.kafka import KafkaAddress, KafkaSink
from cdc.model import Batch, Checkpoint, Record
from tests.integration.kafka_process import position
from tests.servers import Kafka, unique

ROOT = Path(__file__).parents[2]


class Remembered(list):
    """An observer: the steps and their facts, in order; `on` is what to call at a step."""

    def __init__(self) -> None:
        super().__init__()
        self.on: dict[str, Callable[[], object]] = {}

    def __call__(self, step: str, /, **facts: Any) -> None:
        self.append((step, facts))
        self.on.get(step, lambda: None)()

    @property
    def steps(self) -> list[str]:
        return [step for step, _ in self]

    def facts(self, step: str) -> dict[str, Any]:
        return next(facts for found, facts in self if found == step)

    async def until(self, step: str, *, seconds: float = 20.0) -> dict[str, Any]:
        async with asyncio.timeout(seconds):
            while step not in self.steps:
                await asyncio.sleep(0.02)
        return self.facts(step)


class Place:
    """One source in one Kafka."""

    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.address = KafkaAddress((kafka.bootstrap,))
        self.prefix = unique("p").replace("_", "-")[:20]
        self.source = "shop"
        self.topic = f"{self.prefix}.checkpoint.{self.source}"
        self.transactional_id = f"{self.prefix}.source.{self.source}"
        self.data = f"{self.prefix}-data"
        self.sinks: list[KafkaSink] = []

    def sink(self, name: str = "one", **options: Any) -> tuple[KafkaSink, Remembered]:
        seen = Remembered()
        settings = {"heartbeat_every": 0.5, "takeover_after": 2.0, "deadline": 10.0} | options
        sink = KafkaSink(
            settings.pop("address", self.address),
            self.source,
            prefix=self.prefix,
            instance_name=name,
            tables=("shop.outbox",),
            observer=seen,
            **settings,
        )
        self.sinks.append(sink)
        return sink, seen

    async def founded(self, name: str = "one", **options: Any) -> tuple[KafkaSink, Remembered]:
        sink, seen = self.sink(name, **options)
        assert await sink.fence() is None
        await sink.found(position(0), "earliest")
        return sink, seen

    def process(self, **options: Any) -> subprocess.Popen:
        settings = {
            "bootstrap": self.kafka.bootstrap,
            "source": self.source,
            "prefix": self.prefix,
            "name": "one",
            "topic": self.data,
        }
        command = [sys.executable, "-m", "tests.integration.kafka_process", json.dumps(settings | options)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    def committed(self, topic: str | None = None) -> list[bytes | None]:
        return [record.value for record in self.kafka.read_committed(topic or self.data)]

    def checkpoints(self) -> list[dict]:
        key = self.source.encode()
        return [json.loads(r.value) for r in self.kafka.read_committed(self.topic) if r.key == key and r.value]

    def geneses(self) -> int:
        return sum(r.key == b"shop/genesis" for r in self.kafka.read_committed(self.topic))


@asynccontextmanager
async def place(kafka: Kafka, partitions: int = 1) -> AsyncIterator[Place]:
    found = Place(kafka)
    await asyncio.to_thread(kafka.create_topic, found.data, partitions)
    try:
        yield found
    finally:
        for sink in found.sinks:
            await sink.close()
        await asyncio.to_thread(kafka.delete_topic, found.data, found.topic)


async def fence_when(sink: KafkaSink, seconds: float = 30.0) -> Checkpoint | None:
    async with asyncio.timeout(seconds):
        return await sink.fence()


def batch(number: int, *records: Record) -> Batch:
    return Batch(position(number), list(records))


async def end(process: subprocess.Popen, seconds: float = 60.0) -> tuple[int, list[dict]]:
    """Wait for a process; its exit code and the lines it wrote."""
    out, _ = await asyncio.to_thread(process.communicate, None, seconds)
    return process.returncode, [json.loads(line) for line in out.splitlines()]
