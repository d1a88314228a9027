"""Records of envelope `cloudevents`, read by CloudEvents' own SDK: a valid event, with our attributes and the data."""

from __future__ import annotations

import json
import re
import zlib
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka
from cloudevents.core.formats.json import JSONFormat
from hypothesis import example, given
from hypothesis import strategies as st

from cdc.envelopes.cloudevents import CloudEvents
from cdc.errors import ValueInvalid
from cdc.model import Column, TableSchema
from cdc.outbox.row import RESERVED_HEADERS

COLUMNS = ("event_id", "event_name", "payload", "content_type", "headers", "created_at", "event_key")
TABLE = TableSchema("shop ä", "outbox", tuple(Column(name, "text") for name in COLUMNS))
ROLES = dict(zip(("id", "name", "payload", "content_type", "headers", "timestamp", "key"), COLUMNS, strict=True))
CORE = {"specversion", "id", "type", "source", "time", "datacontenttype"}


class AsItIs(JSONFormat):
    """The data, byte for byte."""

    def read_data(self, body, datacontenttype):
        return body


def event_of(values, *, data=AsItIs, **options):
    """What the SDK reads; its headers must be a map, so no name may come twice."""
    encoding = CloudEvents(source_name="shop", **options).plan(TABLE, ROLES)
    value, headers = encoding.encode(values)
    assert len(dict(headers)) == len({name.lower() for name, _ in headers}) == len(headers), headers
    return from_kafka(KafkaMessage(dict(headers), encoding.key(values), value), data())


def extensions(own):
    """What of a row's headers becomes an attribute: by its name, or by one that says so."""
    out = {}
    for header, value in own.items():
        name = header.removeprefix("ce_")
        if header in RESERVED_HEADERS or not re.fullmatch("[a-z0-9]{1,20}", name) or name in CORE | {"data", "key"}:
            continue
        if (value or name not in {"subject", "dataschema"}) and (header != name or f"ce_{name}" not in own):
            out[name] = value
    return out


own_names = st.text(max_size=10) | st.sampled_from(
    [*sorted(RESERVED_HEADERS), "CE_id", "ce_time", "Ce_Type", "ce_x-y", "ce_", "ce_subject", "subject", "dataschema",
     "traceparent", "tracestate", "tenant", "id", "time", "data", "key", "Content-Type", "ce_datacontenttype", "ce_data"]
)  # fmt: skip


@given(
    st.uuids(),
    st.text(min_size=1, max_size=20),
    st.none() | st.binary(max_size=50),
    st.none() | st.sampled_from(["", "application/json", "text/plain; charset=utf-8", "application/x-protobuf"]),
    st.dictionaries(own_names, st.text(max_size=8), max_size=6),
    st.datetimes(min_value=datetime(1970, 1, 1)),  # noqa: DTZ001 - the column has no zone; it is UTC
    st.none() | st.text(max_size=8),
)
@example(
    event_id=UUID(int=1), name="n", payload=b"", kind="", own={"subject": "", "ce_time": "x"},
    time=datetime(2026, 1, 2), key="k",  # noqa: DTZ001
)  # fmt: skip
def test_the_sdk_reads_every_record(event_id, name, payload, kind, own, time, key):  # noqa: PLR0917
    dropped = Counter()
    text = json.dumps(own)
    values = (event_id.bytes, name, payload, kind, text, time.isoformat(" ", "microseconds"), key and key.encode())
    event = event_of(values, dropped=dropped)
    assert (event.get_id(), event.get_type(), event.get_specversion()) == (str(event_id), name, "1.0")
    assert event.get_source() == "/cdc/shop/shop%20%C3%A4.outbox"
    assert event.get_time() == time.replace(tzinfo=UTC)
    assert event.get_datacontenttype() == (kind or None)
    assert event.get_data() == payload
    found = {name: value for name, value in event.get_attributes().items() if name not in CORE}
    assert found == extensions(own) | ({} if key is None else {"partitionkey": key})
    assert set(dropped) <= {n for n in own if n.lower().startswith("ce_") or n.lower() in RESERVED_HEADERS}


ROW = (bytes(16), "order.created", b'{"n": [1, 2.5]}', "application/json", None, "2026-01-02 03:04:05.678901", None)


def test_json_data_and_what_is_left_out():
    event = event_of(ROW, data=JSONFormat)
    assert event.get_data() == {"n": [1, 2.5]}
    assert event.get_attributes() == {
        "specversion": "1.0",
        "id": "00000000-0000-0000-0000-000000000000",
        "type": "order.created",
        "source": "/cdc/shop/shop%20%C3%A4.outbox",
        "time": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        "datacontenttype": "application/json",
    }
    assert event_of(ROW, source="urn:x").get_source() == "urn:x"


def test_a_trace_context_is_an_extension_and_a_header_as_tracers_read_it():
    own = json.dumps({"traceparent": "00-1-2-01", "tracestate": "a=b", "X-Team": "blue"})
    _, headers = CloudEvents(source_name="shop").plan(TABLE, ROLES).encode((*ROW[:4], own, *ROW[5:]))
    assert headers[6:] == [
        ("X-Team", b"blue"),
        ("traceparent", b"00-1-2-01"),
        ("ce_traceparent", b"00-1-2-01"),
        ("tracestate", b"a=b"),
        ("ce_tracestate", b"a=b"),
    ]


@pytest.mark.parametrize(("at", "value"), [(0, ""), (0, None), (1, ""), (1, None), (5, "0000-00-00 00:00:00")])
def test_what_no_cloudevent_can_be_is_refused(at, value):
    values = [*ROW]
    values[at] = value
    with pytest.raises(ValueInvalid):
        event_of(tuple(values))


def test_headers_none_and_inflate():
    packed = (*ROW[:2], zlib.compress(ROW[2]), *ROW[3:])
    assert event_of(packed, inflate=True).get_data() == ROW[2]
    assert CloudEvents(headers=False).plan(TABLE, ROLES).encode(ROW) == (ROW[2], [])
