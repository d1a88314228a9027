"""Dead letters on the wire: rows that could not become their record, kept whole. Pure: no I/O, no client.

The topic is `<prefix>.dead-letters`, never compacted, everything in partition 0, so that there is one
order for all. A letter is written in the Kafka transaction of the records around it.

    key        <source>/<event id>/<gtid or file:position>/<row>     the row's number in its transaction, from 1;
                                                                     an id is cut after 200 characters (the rest is
                                                                     unique without it, and `row` has it whole)
    value      the payload's bytes; text as UTF-8
    headers    version, reason, source, table, position, part, parts
               error, event_name, original_topic, original_key, original_headers, row

`original_*` are the record's where one was made, else the row's own as far as they can be told.
`original_headers` is JSON, `[[name, value], ...]`: text, `{"b64": ...}` where it is not UTF-8, or null. `row` is
JSON, too: every column that was read, so that a replay can route the row anew; the payload stands
there as `{"payload": "bytes" | "text"}`, because the value has it.

NULL is not empty: a NULL payload is a record without value, and a header without value is a key,
topic or name that was not there; empty ones have a value of no bytes.

A letter larger than the topic takes is cut into `parts`, in order, under one key. Everything of any
length is cut, not only the payload: the value and the headers of the second line above. A part
holds the next piece of each; joined in order they are the whole. A header that has nothing in
a part is left out there; a payload that is not NULL gives every part a value, if only an empty one.

A `Mark` under the same key says what became of a letter. It stands behind it, so a letter that is
parked again later (a checkpoint that was set back) is not covered by it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cdc.model import Column, Header, Record, Row, TableSchema, Value

VERSION = 1
SMALLEST_LIMIT = 8192
"""No part is smaller than this: key and fixed headers need up to 3 KiB."""
_ID_IN_KEY = 200
_RECORD_OVERHEAD = 61 + 40
_HEADER_OVERHEAD = 10
_SLICED = ("error", "event_name", "original_topic", "original_key", "original_headers", "row")
_WORD = 300


class UnreadableLetter(ValueError):
    """A record of the topic that is no dead letter and no mark of ours."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One row that was parked. `place` is its transaction's GTID or file:position, `position` always the latter."""

    source: str
    event_id: str
    place: str
    number: int
    reason: str
    error: str
    table: str
    position: str
    event_name: str | None
    original_topic: str | None
    original_key: bytes | None
    original_headers: tuple[Header, ...]
    value: bytes | None
    row: Row | None

    @property
    def key(self) -> bytes:
        """The record's key; of two letters only those of one row have the same."""
        return f"{self.source}/{self.event_id[:_ID_IN_KEY]}/{self.place}/{self.number}".encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Mark:
    """What became of the letters with this key that stand before it. `note` is for people."""

    key: bytes
    what: Literal["replayed", "dismissed"]
    note: Mapping[str, Any]


def topic_of(prefix: str) -> str:
    """The dead-letter topic's name."""
    return f"{prefix}.dead-letters"


# -- rows -----------------------------------------------------------------------------------------


def payload_bytes(value: Value) -> bytes | None:
    """A payload column's value as a letter's value."""
    if value is None or isinstance(value, bytes):
        return value
    return str(value).encode("utf-8", "surrogatepass")


def encode_row(row: Row, payload: str | None) -> bytes:
    """A row as JSON, without the bytes of the column `payload`."""
    table = row.table
    columns = [
        {
            "name": c.name,
            "kind": c.kind,
            "length": c.length,
            "type": c.type,
            "value": _cell(value, is_payload=c.name == payload),
        }
        for c, value in zip(table.columns, row.values, strict=True)
    ]
    return json.dumps({"schema": table.schema, "table": table.table, "columns": columns}).encode()


def _cell(value: Value, *, is_payload: bool) -> object:
    if is_payload and isinstance(value, (bytes, str)):
        return {"payload": "bytes" if isinstance(value, bytes) else "text"}
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def decode_row(data: bytes, payload: bytes | None) -> Row:
    """The row back, with the payload put in. Raises ValueError, KeyError, TypeError."""
    found = json.loads(data)
    columns, values = [], []
    for column in found["columns"]:
        columns.append(Column(column["name"], column["kind"], column["length"], column.get("type", "")))
        values.append(_of_cell(column["value"], payload))
    return Row(TableSchema(found["schema"], found["table"], tuple(columns)), tuple(values))


def _of_cell(cell: Any, payload: bytes | None) -> Value:
    if not isinstance(cell, dict):
        value: Value = cell
        return value
    if "b64" in cell:
        return base64.b64decode(cell["b64"], validate=True)
    if payload is None:
        raise ValueError("the payload is missing")
    return payload if cell["payload"] == "bytes" else payload.decode("utf-8", "surrogatepass")


def encode_headers(headers: Sequence[Header]) -> bytes:
    """Headers as JSON, in order, repeated names and missing values kept."""
    return json.dumps([[name, _header_value(value)] for name, value in headers], ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def _header_value(value: bytes | None) -> object:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value or b"").decode()}


def decode_headers(data: bytes) -> tuple[Header, ...]:
    """The headers back. Raises ValueError, KeyError, TypeError."""
    return tuple((name, _header_bytes(value)) for name, value in json.loads(data.decode("utf-8", "surrogatepass")))


def _header_bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else base64.b64decode(value["b64"], validate=True)


# -- to records -----------------------------------------------------------------------------------


def to_records(letter: DeadLetter, topic: str, limit: int, *, payload: str | None = None) -> list[Record]:
    """The letter as the records of `topic`, which takes batches of `limit` bytes. Raises ValueError for a tiny limit.

    `payload` is the column of the row whose bytes the value holds.
    """
    if limit < SMALLEST_LIMIT:
        raise ValueError(f"{limit} bytes are too few for a dead letter: it needs {SMALLEST_LIMIT}")
    whole: list[tuple[str, bytes | None]] = [
        ("error", _utf8(letter.error)),
        ("event_name", _utf8(letter.event_name)),
        ("original_topic", _utf8(letter.original_topic)),
        ("original_key", letter.original_key),
        ("original_headers", encode_headers(letter.original_headers)),
        ("row", None if letter.row is None else encode_row(letter.row, payload)),
    ]
    fixed: list[Header] = [
        ("version", b"%d" % VERSION),
        ("reason", letter.reason.encode()),
        ("source", letter.source.encode()),
        ("table", _utf8(letter.table[:_WORD])),
        ("position", _utf8(letter.position[:_WORD])),
    ]
    sizes = sum(len(name) + len(value or b"") + _HEADER_OVERHEAD for name, value in fixed)
    sizes += sum(len(name) + _HEADER_OVERHEAD for name in ("part", "parts", *_SLICED)) + 2 * len("9999999999")
    room = limit - _RECORD_OVERHEAD - len(letter.key) - sizes
    pieces = list(_cut([*whole, ("value", letter.value)], room))
    return [
        Record(
            topic,
            0,
            letter.key,
            None if letter.value is None else piece.pop("value", b""),
            [*fixed, ("part", b"%d" % n), ("parts", b"%d" % len(pieces)), *_as_headers(piece)],
            None,
        )
        for n, piece in enumerate(pieces, 1)
    ]


def _cut(whole: Sequence[tuple[str, bytes | None]], room: int) -> Iterator[dict[str, bytes | None]]:
    """Pieces of at most `room` bytes: the fields in order, each going on where the piece before ended it."""
    piece: dict[str, bytes | None] = {}
    left = room
    for name, content in whole:
        if content is None:
            piece[name] = None
            continue
        at = 0
        while True:
            step = content[at : at + left]
            piece[name] = step
            at, left = at + len(step), left - len(step)
            if at >= len(content):
                break
            yield piece
            piece, left = {}, room
    yield piece


def _as_headers(piece: Mapping[str, bytes | None]) -> list[Header]:
    return [(name, piece[name]) for name in _SLICED if name in piece]


def _utf8(text: str | None) -> bytes | None:
    return None if text is None else text.encode("utf-8", "surrogatepass")


def mark_record(mark: Mark, topic: str) -> Record:
    """The mark as a record of `topic`."""
    headers: list[Header] = [("version", b"%d" % VERSION), ("mark", mark.what.encode())]
    return Record(topic, 0, mark.key, json.dumps(dict(mark.note)).encode(), headers, None)


# -- from records ---------------------------------------------------------------------------------


class Collector:
    """Letters and marks out of the topic's records, to be added in the order of their offsets.

    What is left in `torn` when all was read are keys of letters with missing parts: retention has cut
    off the first ones.
    """

    def __init__(self) -> None:
        self._open: dict[bytes, list[tuple[dict[str, bytes | None], bytes | None]]] = {}
        self.torn: set[bytes] = set()

    def add(
        self, key: bytes | None, value: bytes | None, headers: Sequence[tuple[str, bytes | None]]
    ) -> DeadLetter | Mark | None:
        """The letter that this record completes, or the mark it is; None: more parts come. Raises UnreadableLetter."""
        found = dict(headers)
        version = _number(found, "version")
        if key is None or version < 1:
            raise UnreadableLetter("no dead letter: it has no key or version")
        if version > VERSION:
            raise UnreadableLetter(f"a dead letter of version {version}; this program knows {VERSION}")
        try:
            if "mark" in found:
                return _mark(key, value, found)
            parts = self._parts(key, value, found)
            return None if parts is None else _join(key, parts)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableLetter(f"a dead letter that cannot be read: {error!r}") from error

    def _parts(
        self, key: bytes, value: bytes | None, headers: dict[str, bytes | None]
    ) -> list[tuple[dict[str, bytes | None], bytes | None]] | None:
        """All parts, when this is the last one."""
        part, parts = _number(headers, "part"), _number(headers, "parts")
        if part == 1:
            self._open[key] = []
        before = self._open.setdefault(key, [])
        if part != len(before) + 1 or part > parts:
            del self._open[key]
            self.torn.add(key)
            return None
        before.append((headers, value))
        if part < parts:
            return None
        self.torn.discard(key)
        return self._open.pop(key)

    @property
    def unfinished(self) -> set[bytes]:
        """Keys whose last parts have not come (yet)."""
        return set(self._open)


def _number(headers: Mapping[str, bytes | None], name: str) -> int:
    value = headers.get(name)
    return int(value) if value is not None and value.isdigit() else 0


def _mark(key: bytes, value: bytes | None, headers: Mapping[str, bytes | None]) -> Mark:
    what = (headers["mark"] or b"").decode()
    note = json.loads(value or b"{}")
    if what == "replayed":
        return Mark(key, "replayed", note)
    if what == "dismissed":
        return Mark(key, "dismissed", note)
    raise ValueError(f"mark {what!r}")


def _join(key: bytes, parts: Sequence[tuple[dict[str, bytes | None], bytes | None]]) -> DeadLetter:
    def joined(name: str) -> bytes | None:
        pieces = [headers[name] for headers, _ in parts if name in headers]
        return None if not pieces or pieces[0] is None else b"".join(piece or b"" for piece in pieces)

    def text(name: str) -> str | None:
        found = joined(name)
        return None if found is None else found.decode("utf-8", "surrogatepass")

    head = parts[0][0]
    value = None if parts[0][1] is None else b"".join(piece or b"" for _, piece in parts)
    source, _, rest = key.decode("utf-8", "surrogatepass").partition("/")
    event_id, place, number = rest.rsplit("/", 2)
    row = joined("row")
    return DeadLetter(
        source=source,
        event_id=event_id,
        place=place,
        number=int(number),
        reason=(head["reason"] or b"").decode(),
        error=text("error") or "",
        table=(head["table"] or b"").decode("utf-8", "surrogatepass"),
        position=(head["position"] or b"").decode("utf-8", "surrogatepass"),
        event_name=text("event_name"),
        original_topic=text("original_topic"),
        original_key=joined("original_key"),
        original_headers=decode_headers(joined("original_headers") or b"[]"),
        value=value,
        row=None if row is None else decode_row(row, value),
    )
