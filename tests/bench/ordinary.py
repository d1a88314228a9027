"""What one would write with BinLogStreamReader and aiokafka: a thread that reads, transactions of send() in the loop.

    python -m tests.bench.ordinary MYSQL_URL KAFKA SCHEMA TABLE TOPIC FILE POSITION ROWS   (ROWS 0: until SIGTERM)

Well meant: up to 500 database transactions share a Kafka transaction, which also takes the position.
"""

import asyncio
import json
import os
import queue
import random
import sys
import threading
import uuid
from typing import Any
from urllib.parse import urlsplit

from aiokafka import AIOKafkaProducer
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.event import GtidEvent, MariadbGtidEvent, QueryEvent, XidEvent
from pymysqlreplication.row_event import WriteRowsEvent

_TOGETHER = 500


def read(arguments: list[str], found: "queue.Queue[tuple[list[dict[str, Any]], int]]") -> None:
    url, _, schema, table, _, file, position, _ = arguments
    parts = urlsplit(url)
    reader = BinLogStreamReader(
        connection_settings={"host": parts.hostname, "port": parts.port, "user": parts.username, "password": ""},
        server_id=random.randint(1 << 31, (1 << 32) - 2), log_file=file, log_pos=int(position), resume_stream=True, blocking=True,
        only_events=[WriteRowsEvent, XidEvent, QueryEvent, GtidEvent, MariadbGtidEvent], only_tables=[table], only_schemas=[schema],
    )  # fmt: skip
    rows: list[dict[str, Any]] = []
    for event in reader:
        if isinstance(event, WriteRowsEvent):
            rows += [row["values"] for row in event.rows]
        elif isinstance(event, XidEvent) and rows:
            found.put((rows, reader.log_pos))
            rows = []


async def publish(arguments: list[str]) -> None:
    _, kafka, _, _, topic, _, _, wanted = arguments
    found: queue.Queue[tuple[list[dict[str, Any]], int]] = queue.Queue(2000)
    threading.Thread(target=read, args=(arguments, found), daemon=True).start()
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"ordinary-{topic}-{uuid.uuid4().hex}")
    await producer.start()
    sent = 0
    while not int(wanted) or sent < int(wanted):
        batch = [await asyncio.to_thread(found.get)]
        while len(batch) < _TOGETHER and not found.empty():
            batch.append(found.get_nowait())
        async with producer.transaction():
            for rows, _ in batch:
                for row in rows:
                    await producer.send(topic, row["payload"], row["event_key"], headers=headers(row))
                    sent += 1
            await producer.send(f"{topic}-position", json.dumps({"position": batch[-1][1]}).encode(), b"position")
    await producer.stop()
    sys.stdout.flush()
    os._exit(0)  # the reading thread waits in a socket


def headers(row: dict[str, Any]) -> list[tuple[str, bytes]]:
    return [
        ("event_id", str(uuid.UUID(bytes=row["event_id"].ljust(16, b"\0"))).encode()),
        ("event_name", row["event_name"].encode()),
        ("content_type", row["content_type"].encode()),
        ("created_at", (row["created_at"].isoformat(timespec="microseconds") + "Z").encode()),
    ]


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1:]))
