"""What stands in the row: payload bytes, key, headers, time; for our events and foreign ones."""

import dataclasses
import enum
import json
import uuid
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pydantic
import pytest

from cdc.outbox import Event
from cdc.outbox.event import new_event_id
from cdc.outbox.payload import payload_bytes
from cdc.outbox.row import new_row


@dataclasses.dataclass
class Line:
    sku: str
    price: Decimal


@dataclasses.dataclass(frozen=True, slots=True)
class Order:
    number: int
    lines: list[Line]


class Colour(enum.Enum):
    RED = "red"


class Model(pydantic.BaseModel):
    number: int
    at: datetime | None = None


ID = uuid.UUID("01890000-0000-7000-8000-0000000000ff")

PAYLOADS = [
    (None, None),
    (b"\x00\xff", b"\x00\xff"),
    (bytearray(b"ab"), b"ab"),
    (memoryview(b"ab"), b"ab"),
    ("grüße", "grüße".encode()),
    ("", b""),
    ({}, b"{}"),
    ({"b": 1, "a": [1.5, None, True]}, b'{"b":1,"a":[1.5,null,true]}'),
    ((1, "ü"), '[1,"ü"]'.encode()),
    ({1: "one"}, b'{"1":"one"}'),
    (MappingProxyType({"a": 1}), b'{"a":1}'),
    (Order(1, [Line("x", Decimal("1.10"))]), b'{"number":1,"lines":[{"sku":"x","price":"1.10"}]}'),
    (Model(number=1), b'{"number":1,"at":null}'),
    ({"m": Model(number=1, at=datetime(2026, 1, 2, tzinfo=UTC))}, b'{"m":{"number":1,"at":"2026-01-02T00:00:00Z"}}'),
    ([ID, Colour.RED, date(2026, 1, 2)], b'["01890000-0000-7000-8000-0000000000ff","red","2026-01-02"]'),
    ([datetime(2026, 1, 2, 3, 4, 5, 6, UTC)], b'["2026-01-02T03:04:05.000006+00:00"]'),
    ([2**70], b"[1180591620717411303424]"),
]


@pytest.mark.parametrize(("payload", "expected"), PAYLOADS, ids=[str(n) for n in range(len(PAYLOADS))])
def test_payload_bytes(payload: object, expected: bytes | None) -> None:
    assert payload_bytes(payload) == expected


def test_a_pydantic_model_that_cannot_be_json_is_refused_with_a_hint() -> None:
    class Bad(pydantic.BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        thing: Any

    from cdc.errors import PayloadNotSerializable

    with pytest.raises(PayloadNotSerializable, match="Bad") as refused:
        payload_bytes(Bad(thing=object()))
    assert refused.value.hint


def test_the_row_of_an_event() -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 7, timezone(timedelta(hours=5)))
    row = new_row(
        Event("n", "t", {}, key="kü", headers={"a": "ü"}, event_id=ID, event_timestamp=at, content_type="x/y")
    )
    assert (row.event_id, row.event_name, row.topic, row.event_key) == (ID.bytes, "n", "t", "kü".encode())
    assert (row.payload, row.content_type, row.created_at) == (b"{}", "x/y", datetime(2026, 3, 1, 7, 0, 0, 7))  # noqa: DTZ001
    assert row.headers is not None
    assert row.headers.isascii()
    assert json.loads(row.headers) == {"a": "ü"}


def test_no_headers_are_null() -> None:
    assert new_row(Event("n", "t", None)).headers is None
    assert new_row(Event("n", "t", None, headers={})).headers is None


def test_defaults() -> None:
    event = Event("n", "t", None)
    assert event.content_type == "application/json"
    assert event.event_id.version == 7
    assert datetime.now(UTC) - event.event_timestamp < timedelta(minutes=1)
    assert event.event_timestamp.utcoffset() == timedelta(0)


def test_an_event_is_a_frozen_value_whose_repr_keeps_the_payload_to_itself() -> None:
    event = Event("n", "t", {"password": "x"})
    assert "password" not in repr(event)
    assert len({event, dataclasses.replace(event)}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.topic = "other"  # type: ignore[misc]
    assert not hasattr(event, "__dict__")


def test_a_foreign_event_brings_local_time_and_what_it_has() -> None:
    local = datetime(2026, 3, 1, 12, 0, 0, 7)  # noqa: DTZ001
    foreign = SimpleNamespace(
        event_name="user_joined",
        topic="user_events",
        payload=Model(number=1),
        event_id=uuid.uuid4(),
        event_timestamp=local,
    )
    row = new_row(foreign)
    assert row.created_at == local.astimezone(UTC).replace(tzinfo=None)
    assert (row.event_key, row.headers, row.content_type) == (None, None, "application/json")
    assert row.payload == b'{"number":1,"at":null}'


def test_ids_rise_within_a_process() -> None:
    ids = [new_event_id() for _ in range(50_000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
