"""Outbox rows as the table holds them, and the record each must become.

Written from the contracts alone (table layouts, envelopes `plain` and `cqrs`): nothing here
may import the code under test. `expected()` is the only statement of what a record looks like.
"""

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import NamedTuple

Headers = list[tuple[str, bytes | None]]

MAKE_ID = (
    "(UNHEX(CONCAT(LPAD(HEX(FLOOR(UNIX_TIMESTAMP(NOW(6))*1000)),12,'0'),'7',SUBSTR(HEX(RANDOM_BYTES(2)),2),"
    "HEX(128+FLOOR(RAND()*64)),HEX(RANDOM_BYTES(7)))))"
)
DDL = {
    "native": f"""CREATE TABLE {{table}} (
        event_id BINARY(16) NOT NULL DEFAULT {MAKE_ID} PRIMARY KEY,
        event_name VARCHAR(255) NOT NULL,
        topic VARCHAR(249) NOT NULL,
        event_key VARBINARY(1024) NULL,
        payload LONGBLOB NULL,
        content_type VARCHAR(127) NOT NULL DEFAULT 'application/json',
        headers JSON NULL,
        created_at DATETIME(6) NOT NULL DEFAULT (UTC_TIMESTAMP(6))
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
    "cqrs": """CREATE TABLE {table} (
        id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
        event_id BINARY(16) NOT NULL,
        event_id_bin BINARY(16) NOT NULL,
        event_status ENUM('NEW','PRODUCED','NOT_PRODUCED') NOT NULL,
        flush_counter SMALLINT NOT NULL,
        event_name VARCHAR(255) NOT NULL,
        topic VARCHAR(255) NOT NULL,
        created_at DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP,
        payload BLOB NOT NULL,
        UNIQUE KEY event_id_unique_index (event_id_bin, event_name)
    ) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4""",
}
SELECT = {
    "native": "SELECT event_id, event_name, topic, event_key, payload, content_type, headers, created_at FROM {table}",
    "cqrs": "SELECT event_id_bin, event_name, topic, NULL, payload, NULL, NULL, created_at FROM {table}",
}
ID_HEADERS = ("event_id", "message_id")


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of an outbox table. `created_at` is UTC; None in a row to be written leaves a column to the server's default."""

    layout: str
    event_id: bytes | None
    event_name: str
    topic: str
    key: bytes | None
    payload: bytes | None
    content_type: str | None = None
    headers: str | None = None
    created_at: datetime | None = None


class Wanted(NamedTuple):
    """The record a row must become."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


def expected(row: TableRow) -> Wanted:
    """What a read_committed consumer must find for this row."""
    identity = str(uuid.UUID(bytes=row.event_id)).encode()
    if row.layout == "cqrs":
        headers: Headers = [("message_id", identity), ("event_name", row.event_name.encode())]
        return Wanted(row.topic, None, row.payload, headers)
    headers = [
        ("event_id", identity),
        ("event_name", row.event_name.encode()),
        ("content_type", row.content_type.encode()),
        ("created_at", row.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()),
    ]
    extra = json.loads(row.headers) if row.headers else {}
    headers += sorted(((name, text.encode()) for name, text in extra.items()), key=lambda pair: pair[0].encode())
    return Wanted(row.topic, row.key, row.payload, headers)


def digest(part: object) -> bytes:
    """A short stand-in for a value or for headers; the ledger of a long run holds millions."""
    return blake2b(repr(part).encode("utf-8", "surrogatepass"), digest_size=12).digest()


def identity(headers: Headers) -> bytes | None:
    """The event id that a record's headers name; None where they name none."""
    for name, value in headers:
        if name in ID_HEADERS:
            try:
                return uuid.UUID((value or b"").decode()).bytes
            except ValueError:
                return None
    return None
