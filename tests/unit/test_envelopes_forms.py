"""Envelopes byte for byte: values, header names, order, and what they refuse."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from cdc.envelopes import fields
from cdc.envelopes.cqrs import Cqrs
from cdc.envelopes.plain import Plain
from cdc.errors import ValueInvalid
from cdc.model import Column, TableSchema
from cdc.outbox.row import RESERVED_HEADERS

EVENT_ID = UUID("01047334-ebfd-4843-b115-0ebc4e97ce96")
NATIVE = {"id": "event_id", "name": "event_name", "topic": "topic", "key": "event_key", "payload": "payload",
          "headers": "headers", "content_type": "content_type", "timestamp": "created_at"}  # fmt: skip
ROW = {
    "event_id": EVENT_ID.bytes,
    "event_name": "user_joined",
    "payload": b"\x00\xff raw",
    "content_type": "application/json",
    "headers": None,
    "created_at": "2026-11-23 10:11:12.345678",
}
OURS = [
    ("event_id", b"01047334-ebfd-4843-b115-0ebc4e97ce96"),
    ("event_name", b"user_joined"),
    ("content_type", b"application/json"),
    ("created_at", b"2026-11-23T10:11:12.345678Z"),
]


def encode(envelope, columns=NATIVE, **changes):
    row = {**ROW, **changes}
    table = TableSchema("shop", "outbox", tuple(Column(name, "text") for name in row))
    return envelope.plan(table, columns).encode(tuple(row.values()))


def test_plain():
    assert encode(Plain()) == (b"\x00\xff raw", OURS)


def test_headers_are_what_aiokafka_takes():
    for envelope in (Plain(), Cqrs(), Plain(headers=False), Cqrs(headers=False)):
        value, headers = encode(envelope, headers='{"a": "b"}')
        assert type(headers) is list
        assert all(type(header) is tuple and type(header[0]) is str and type(header[1]) is bytes for header in headers)
        assert type(value) is bytes


def test_each_record_has_its_own_list():
    table = TableSchema("shop", "outbox", tuple(Column(name, "text") for name in ROW))
    for envelope in (Plain(), Plain(headers=False), Cqrs()):
        plan = envelope.plan(table, NATIVE).encode
        assert plan(tuple(ROW.values()))[1] is not plan(tuple(ROW.values()))[1]


@pytest.mark.parametrize("payload", [b"", b"x\x9c\x01", b"{}", b"\xff" * 100_000])
def test_bytes_stay_as_they_are(payload):
    assert encode(Plain(), payload=payload)[0] is payload
    assert encode(Cqrs(), payload=payload)[0] is payload


def test_text_payloads_and_tombstones():
    assert encode(Plain(), payload='{"a": "ö"}')[0] == '{"a": "ö"}'.encode()
    assert encode(Plain(), payload=None) == (None, OURS)
    assert encode(Cqrs(headers=False), payload=None) == (None, [])


@pytest.mark.parametrize("payload", [1, 1.5])
def test_payloads_that_are_no_payload(payload):
    with pytest.raises(ValueInvalid, match="payload column holds"):
        encode(Plain(), payload=payload)


def test_row_headers_follow_in_byte_order_of_their_names():
    text = '{"tracestate": "t", "Z": "1", "\\u00e9": "2", "\\ud83d\\ude00": "3", "a": "", "\\uff5e": "4"}'
    names = ["Z", "a", "tracestate", "é", "\uff5e", "\U0001f600"]
    _, headers = encode(Plain(), headers=text)
    assert headers[:4] == OURS
    assert [name for name, _ in headers[4:]] == names == sorted(names, key=str.encode)
    assert dict(headers)["a"] == b""


def test_names_of_ours_are_dropped_and_counted():
    dropped = Counter()
    text = '{"event_id": "forged", "replay": "true", "mine": "x", "message_id": "y"}'
    for envelope in (Plain(dropped=dropped), Cqrs(dropped=dropped)):
        _, headers = encode(envelope, headers=text)
        assert headers[-1] == ("mine", b"x")
        assert len(dict(headers)) == len(headers)
        assert b"forged" not in dict(headers).values()
    assert dropped == {"event_id": 2, "replay": 2, "message_id": 2}
    assert {name for name, _ in [*OURS, ("message_id", b"")]} <= RESERVED_HEADERS


@pytest.mark.parametrize(
    "headers", ["", "{", "[]", '"a"', "1", '{"a": 1}', '{"a": null}', '{"a": {}}', '{"a": "\\ud800"}', b"\xff"]
)
def test_headers_that_are_no_object_of_text(headers):
    for envelope in (Plain(), Cqrs()):
        with pytest.raises(ValueInvalid, match=r"headers? ") as caught:
            encode(envelope, headers=headers)
        assert "JSON object" in caught.value.hint


@pytest.mark.parametrize("headers", [None, "null", "{}", b"{}"])
def test_no_headers(headers):
    assert encode(Plain(), headers=headers)[1] == OURS


def test_headers_none_sends_the_value_alone():
    for envelope in (Plain(headers=False), Cqrs(headers=False)):
        assert encode(envelope, headers="not even JSON") == (b"\x00\xff raw", [])


def test_cqrs():
    columns = {"id": "event_id", "name": "event_name", "topic": "topic", "payload": "payload"}
    assert encode(Cqrs(), columns)[1] == [("message_id", str(EVENT_ID).encode()), ("event_name", b"user_joined")]
    assert encode(Plain(), columns)[1] == OURS[:2]


def test_a_null_content_type_or_time_leaves_its_header_out():
    assert encode(Plain(), content_type=None, created_at=None)[1] == OURS[:2]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (EVENT_ID.bytes, str(EVENT_ID)),
        (b"\x01" + bytes(15), "01000000-0000-0000-0000-000000000000"),
        (b"\x01", "01000000-0000-0000-0000-000000000000"),
        (b"", "00000000-0000-0000-0000-000000000000"),
        (bytes(20), "00" * 20),
        ("abc", "abc"),
        (2**64 - 1, str(2**64 - 1)),
    ],
)
def test_event_ids(value, text):
    assert fields.event_id(value) == text.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("2026-11-23 10:11:12", "2026-11-23T10:11:12.000000Z"),
        ("2026-11-23 10:11:12.3", "2026-11-23T10:11:12.300000Z"),
        ("2026-11-23 10:11:12.000001", "2026-11-23T10:11:12.000001Z"),
        ("2026-11-23T10:11:12Z", "2026-11-23T10:11:12.000000Z"),
        ("2026-11-23T10:11:12.345678", "2026-11-23T10:11:12.345678Z"),
        ("1000-01-01 00:00:00.000000", "1000-01-01T00:00:00.000000Z"),
    ],
)
def test_instants(value, text):
    assert fields.instant(value) == text.encode()


@pytest.mark.parametrize(
    "value",
    [0, 1763892672, 1.5, "", "now", "2026-11-23", "0000-00-00 00:00:00", "2026-00-23 10:11:12", "2026-11-00 10:11:12.000000",
     "2026-11-23 10:11:12.", "2026-11-23 10:11:12.1234567", "2026-11-23 10:11:12.\u0661", "2026-11-23 10:11:12+02:00", "10:11:12", b"2026-11-23 10:11:12"],
)  # fmt: skip
def test_no_instants(value):
    with pytest.raises(ValueInvalid, match="not a point in time"):
        fields.instant(value)
