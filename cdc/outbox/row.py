"""An event checked, and turned into the values of one table row.

Everything that Kafka or the table would refuse later is refused here, before any SQL:
by then the business transaction would be gone, or the tailer would stand still at a
row nobody can send. Every error names the event and has a hint.

Any object with the attributes of an Event is taken (python-cqrs's NotificationEvent);
only what it lacks gets a default. A foreign event's time without a zone is local time,
as python-cqrs makes it; our own Event must say its zone.

The size limit is for the whole record, not the payload alone, because that is what a
broker counts (`message.max.bytes`, 1,048,588 by default, batch header included).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from cdc.errors import EventTooLarge, InvalidEvent
from cdc.outbox import trace
from cdc.outbox.event import Event
from cdc.outbox.layouts import NATIVE, Layout
from cdc.outbox.payload import PROTOBUF, is_protobuf, payload_bytes
from cdc.outbox.registry import Registered

DEFAULT_MAX_BYTES = 1024 * 1024
MAX_EVENT_NAME = 255
MAX_TOPIC = 249
MAX_KEY = 1024
MAX_CONTENT_TYPE = 127
_FIRST_YEAR = 1000  # of DATETIME
_JSON = "application/json"
_NO_HEADERS: Mapping[str, str] = {}

# Header names the envelopes write themselves: which envelope a row gets is a route's
# decision, made later, so the names of all of them are kept free.
RESERVED_HEADERS = frozenset(
    {"event_id", "event_name", "content_type", "created_at"}  # plain
    | {"message_id"}  # cqrs
    | {"ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "content-type"}  # cloudevents
    | {"snapshot", "heal", "replay"}  # marks
)

_LEGAL_TOPIC = re.compile(r"[a-zA-Z0-9._-]+")
_PRINTABLE_ASCII = re.compile(r"[ -~]+")
# A batch header (61), a record's lengths, our headers' names (40) and the values of
# those of fixed length (63), and a mark such as `snapshot: true`.
_RECORD_OVERHEAD = 256
_HEADER_OVERHEAD = 6


@dataclass(frozen=True, slots=True)
class NewRow:
    """The checked values of an event; which of them go into which column is the layout's business."""

    event_id: bytes
    event_name: str
    topic: str
    event_key: bytes | None
    payload: bytes | None
    content_type: str
    headers: str | None
    created_at: datetime
    trace: str | None = None


def new_row(
    event: object,
    max_bytes: int = DEFAULT_MAX_BYTES,
    registered: Registered | None = None,
    layout: Layout = NATIVE,
    more_headers: Mapping[str, str] = _NO_HEADERS,
) -> NewRow:
    """The row of an event, or the reason why there can be none.

    `registered` fills in topic and key; `more_headers` are those the event gets beside its own, which win.
    """
    name = _event_name(_needed(event, "event_name"))
    payload = _needed(event, "payload")
    topic, key = _topic_and_key(event, payload, registered)
    traces = more_headers and layout.has("trace")
    row = NewRow(
        event_id=_event_id(name, _needed(event, "event_id")),
        event_name=name,
        topic=_topic(name, topic) if topic or layout.has("topic") else "",
        event_key=_key(name, key),
        payload=payload_bytes(payload)
        if registered is None or registered.codec is None
        else registered.encode(payload),
        content_type=_content_type(name, _content_type_of(event, payload, registered)),
        headers=_headers(name, getattr(event, "headers", None), more_headers if layout.has("headers") else _NO_HEADERS),
        created_at=_created_at(name, _needed(event, "event_timestamp"), local=not isinstance(event, Event)),
        trace=trace.properties(more_headers) if traces else None,
    )
    _check_size(row, max_bytes)
    layout.refuse(row)
    return row


def _topic_and_key(event: object, payload: object, registered: Registered | None) -> tuple[object, object]:
    topic, key = _needed(event, "topic"), getattr(event, "key", None)
    if registered is not None:
        topic = topic or registered.topic_of(payload)
        key = registered.key_of(payload) if key is None else key
    return topic, key


def _content_type_of(event: object, payload: object, registered: Registered | None) -> object:
    said = getattr(event, "content_type", _JSON)
    if said != _JSON:
        return said
    if registered is not None and registered.content_type is not None:
        return registered.content_type
    return PROTOBUF if is_protobuf(payload) else said


def _needed(event: object, attribute: str) -> object:
    try:
        value: object = getattr(event, attribute)
    except AttributeError as error:
        raise InvalidEvent(
            f"a {type(event).__name__} is no event: it has no attribute {attribute}",
            hint="Add a cdc.outbox.Event, or an object with event_name, topic, payload, event_id and event_timestamp.",
        ) from error
    return value


def _text(name: object, what: str, value: object, longest: int) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidEvent(
            f"event {name!r}: {what} is {value!r}, not a text",
            hint=f"Give {what} as a str that is not empty.",
        )
    if len(value) > longest:
        raise InvalidEvent(
            f"event {name!r:.80}: {what} has {len(value)} characters, more than {longest}",
            hint=f"Shorten {what}: its column takes {longest} characters.",
        )
    if not _is_unicode(value):
        raise InvalidEvent(
            f"event {name!r}: {what} {value!r} is not Unicode",
            hint="It holds half a surrogate pair: decode the text it came from with errors='strict'.",
        )
    return value


def _event_name(value: object) -> str:
    return _text(value, "event_name", value, MAX_EVENT_NAME)


def _topic(name: str, value: object) -> str:
    topic = _text(name, "topic", value, MAX_TOPIC)
    if topic in {".", ".."} or not _LEGAL_TOPIC.fullmatch(topic):
        raise InvalidEvent(
            f"event {name!r}: Kafka refuses the topic name {topic!r}",
            hint="Topic names are made of a-z A-Z 0-9 . _ - and are neither '.' nor '..'.",
        )
    return topic


def _key(name: str, value: object) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        key = value.encode("utf-8", "surrogatepass")
        if not _is_unicode(value):
            raise InvalidEvent(f"event {name!r}: key {value!r} is not Unicode", hint="Give the key as bytes.")
    elif isinstance(value, (bytes, bytearray, memoryview)):
        key = bytes(value)
    else:
        raise InvalidEvent(
            f"event {name!r}: key is a {type(value).__name__}",
            hint="Keys are str or bytes; write key=str(...): consumers see these very characters.",
        )
    if len(key) > MAX_KEY:
        raise EventTooLarge(
            f"event {name!r}: key has {len(key)} bytes, more than {MAX_KEY}",
            hint="A key only has to tell what belongs together: use an id, or a hash of the long one.",
        )
    return key


def _content_type(name: str, value: object) -> str:
    content_type = _text(name, "content_type", value, MAX_CONTENT_TYPE)
    if not _PRINTABLE_ASCII.fullmatch(content_type):
        raise InvalidEvent(
            f"event {name!r}: content_type {content_type!r} is not printable ASCII",
            hint="Give a media type such as application/json or application/x-protobuf.",
        )
    return content_type


def _headers(name: str, value: object, more: Mapping[str, str]) -> str | None:
    """As JSON in ASCII, so that no connection's charset can alter it."""
    if value is None:
        return _compact(more) if more else None
    if not isinstance(value, Mapping):
        raise InvalidEvent(
            f"event {name!r}: headers is a {type(value).__name__}",
            hint="Headers are a dict of str to str.",
        )
    for header, text in value.items():
        check_header(name, header, text)
    # a traceparent of the event's own is another trace's: no tracestate of ours beside it
    others = {k: v for k, v in more.items() if k not in trace.NAMES} if "traceparent" in value else more
    return _compact({**others, **value}) if value or others else None


def _compact(headers: Mapping[str, str]) -> str:
    return json.dumps(dict(headers), separators=(",", ":"))


def check_header(name: str, header: object, text: object) -> None:
    """Raise InvalidEvent for a header that no event may bring."""
    if not isinstance(header, str) or not header or not _is_unicode(header):
        raise InvalidEvent(f"event {name!r}: header name {header!r} is not a text", hint="Header names are str.")
    if header in RESERVED_HEADERS:
        raise InvalidEvent(
            f"event {name!r}: the header {header!r} is written by the tailer",
            hint=f"Take another name; reserved are: {', '.join(sorted(RESERVED_HEADERS))}.",
        )
    if not isinstance(text, str) or not _is_unicode(text):
        raise InvalidEvent(
            f"event {name!r}: header {header!r} is {text!r}, not a text",
            hint="Header values are str: write str(...) or json.dumps(...).",
        )


def _event_id(name: str, value: object) -> bytes:
    if not isinstance(value, UUID):
        raise InvalidEvent(
            f"event {name!r}: event_id is a {type(value).__name__}, not a uuid.UUID",
            hint="Leave event_id out for a UUIDv7, or give uuid.UUID(str(value)).",
        )
    return value.bytes


def _created_at(name: str, value: object, *, local: bool) -> datetime:
    if not isinstance(value, datetime):
        raise InvalidEvent(
            f"event {name!r}: event_timestamp is a {type(value).__name__}, not a datetime",
            hint="Leave it out for now, or give datetime.now(UTC).",
        )
    if value.utcoffset() is None and not local:
        raise InvalidEvent(
            f"event {name!r}: event_timestamp {value.isoformat()} has no time zone",
            hint="Give an aware datetime: datetime.now(UTC), or value.replace(tzinfo=...).",
        )
    try:
        utc = value.astimezone(UTC).replace(tzinfo=None)
        if utc.year >= _FIRST_YEAR:
            return utc
    except (OverflowError, ValueError, OSError):
        pass  # in UTC it would be before the year 1 or after 9999
    raise InvalidEvent(
        f"event {name!r}: event_timestamp {value.isoformat()} is out of range",
        hint=f"The column takes the years {_FIRST_YEAR} to 9999.",
    )


def _check_size(row: NewRow, max_bytes: int) -> None:
    size = _RECORD_OVERHEAD + len(row.event_name.encode()) + len(row.content_type)
    size += len(row.event_key or b"") + len(row.payload or b"")
    if row.headers is not None:
        for header, text in json.loads(row.headers).items():
            size += len(header.encode()) + len(text.encode()) + _HEADER_OVERHEAD
    if size > max_bytes:
        raise EventTooLarge(
            f"event {row.event_name!r}: the record would have about {size:,} bytes "
            f"(payload {len(row.payload or b''):,}), more than {max_bytes:,}",
            hint="Put the data elsewhere and send a reference; or raise Outbox(max_bytes=...) together with "
            "the topic's max.message.bytes and the database's max_allowed_packet.",
        )


def _is_unicode(text: str) -> bool:
    """Whether it can be encoded: half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
