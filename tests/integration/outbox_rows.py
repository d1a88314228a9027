"""An outbox table on a real server, and what stands in it, read by PyMySQL."""

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cdc.outbox import Event
from cdc.outbox.table import COLUMNS, ddl
from tests.servers import Database

# Bytes that no charset and no escaping may touch, and text of every plane.
NASTY = bytes(range(256)) + b"'\"\\\\%s%%{}--\x00"
FULL = Event(
    event_name="bestellung.angelegt ✓ 🎉",
    topic="orders.v1",
    payload=NASTY,
    key=b"\x00\xff'k\\",
    headers={"traceparent": "00-x", "ü": "🎉 'quoted' \\ \"", "empty": ""},
    event_id=uuid.UUID("0189f7ea-ae2c-7809-8aeb-b819cf5e9e00"),  # ends in a zero byte
    event_timestamp=datetime(2026, 3, 1, 1, 2, 3, 4, UTC),
    content_type="application/octet-stream",
)
EMPTY = Event("n", "t", None)


@dataclass(frozen=True)
class Table:
    """`outbox` in a schema of one's own."""

    server: Database
    schema: str

    @property
    def connect_options(self) -> dict[str, Any]:
        return {
            "host": self.server.host,
            "port": self.server.port,
            "user": self.server.user,
            "password": self.server.password,
        }

    def url(self, driver: str) -> str:
        user = f"{self.server.user}:{self.server.password}"
        return f"mysql+{driver}://{user}@{self.server.host}:{self.server.port}/{self.schema}?charset=utf8mb4"

    def rows(self) -> list[dict[str, Any]]:
        """In the order of the ids, which is that of making the events."""
        columns = ", ".join(COLUMNS)
        found = self.server.run(f"SELECT {columns} FROM outbox ORDER BY event_id", schema=self.schema)
        return [dict(zip(COLUMNS, row, strict=True)) for row in found]

    def names(self) -> list[str]:
        return [row["event_name"] for row in self.rows()]


def create(server: Database, schema: str) -> Table:
    server.run(
        ddl(server.kind), "CREATE TABLE thing (id INT PRIMARY KEY AUTO_INCREMENT, n INT NOT NULL)", schema=schema
    )
    return Table(server, schema)


def expect(row: dict[str, Any], event: Event) -> None:
    """The row holds this event, byte for byte."""
    key = event.key.encode() if isinstance(event.key, str) else event.key
    assert row["event_id"] == event.event_id.bytes
    assert (row["event_name"], row["topic"], row["event_key"]) == (event.event_name, event.topic, key)
    assert row["payload"] == event.payload
    assert row["content_type"] == event.content_type
    assert (json.loads(row["headers"]) if row["headers"] else None) == event.headers
    assert row["created_at"] == event.event_timestamp.replace(tzinfo=None)
