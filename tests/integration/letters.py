"""Dead letters as a tailer leaves them, and a replay as a process that can be killed between two steps.

python -m tests.integration.letters CONFIG [STEP NUMBER]     replay everything, two letters a transaction;
                                                             SIGKILL itself at that step's NUMBERth time
"""

import asyncio
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from uuid import UUID

from confluent_kafka import Producer

from cdc.errors import CdcError
from cdc.kafka import letter_box
from cdc.kafka.dead_letters import DeadLetter, to_records
from cdc.model import Column, Row, TableSchema
from cdc.operations.dead_letters import DeadLetters, Filters
from cdc.settings import load
from tests.servers import Kafka

COLUMNS = (
    Column("event_id", "binary", 16),
    Column("event_name", "text"),
    Column("topic", "text"),
    Column("event_key", "binary"),
    Column("payload", "binary"),
    Column("content_type", "text"),
    Column("headers", "json"),
    Column("created_at", "temporal", None, "datetime(6)"),
)


def event_id(number: int) -> UUID:
    return UUID(int=(7 << 76) | (2 << 62) | number)


def letter(
    number: int, topic: str, *, payload: bytes | None = None, reason: str = "topic_missing", name: str = "order.created"
) -> DeadLetter:
    """A row of layout native that was parked; without a payload it is the number."""
    payload = b"%d" % number if payload is None else payload
    table = TableSchema("shop", "outbox", COLUMNS)
    key = b"k%d" % (number % 3)
    values = (event_id(number).bytes, name, topic, key, payload, "text/plain", None, "2026-01-02 03:04:05.000006")
    return DeadLetter(
        source="shop",
        event_id=str(event_id(number)),
        place=f"0-1-{number}",
        number=1,
        reason=reason,
        error=f"topic {topic!r} did not exist",
        table="shop.outbox",
        position=f"binlog.000001:{number}",
        event_name=name,
        original_topic=topic,
        original_key=key,
        original_headers=(("event_id", str(event_id(number)).encode()),),
        value=payload,
        row=Row(table, values),
    )


def put(kafka: Kafka, topic: str, *letters: DeadLetter, limit: int = 1 << 20) -> None:
    """Into the dead-letter topic, one after the other."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "log_level": 0, "message.max.bytes": 4 << 20})
    for one in letters:
        for record in to_records(one, topic, limit, payload="payload"):
            producer.produce(topic, record.value, record.key, partition=0, headers=list(record.headers))
    assert producer.flush(30) == 0


def main(config: str, step: str = "", number: str = "1") -> int:
    seen: Counter[str] = Counter()
    letter_box.CHUNK_LETTERS = 2

    def say(now: str) -> None:
        seen[now] += 1
        if now == step and seen[now] == int(number):
            os.kill(os.getpid(), signal.SIGKILL)

    async def work() -> None:
        letters = DeadLetters(load(Path(config)), say=say)
        try:
            await letters.replay(Filters())
        finally:
            await letters.close()

    try:
        asyncio.run(work())
    except CdcError as error:
        print(type(error).__name__, error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
