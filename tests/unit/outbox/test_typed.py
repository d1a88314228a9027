"""Typed events: protobuf, codecs, versions, topics and keys by rule; what could never work is refused at register."""

import dataclasses
import json
import operator
from typing import Any, TypedDict

import pydantic
import pytest
from google.protobuf.struct_pb2 import Struct
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import ConfigError, EventNotRegistered, InvalidEvent, PayloadNotSerializable
from cdc.outbox import Event, EventMap, Outbox
from cdc.outbox import payload as payloads


@dataclasses.dataclass
class Order:
    number: str
    region: str = "eu"


class OrderV2(pydantic.BaseModel):
    number: str
    total: int


class Dict(TypedDict):
    number: str


def row(events: EventMap, event: Event, **options: Any) -> Any:
    return Outbox(event_map=events, **options).rows([event])[0]


def test_a_protobuf_message_is_its_bytes() -> None:
    message = Struct()
    message.update({"b": 1, "a": "x"})
    (plain,) = Outbox().rows([Event("n", "t", message)])
    assert (plain.payload, plain.content_type) == (
        message.SerializeToString(deterministic=True),
        "application/x-protobuf",
    )
    events = EventMap()
    events.register("named", StringValue, topic="names", key="value")
    typed = row(events, Event("named", "", StringValue(value="ann")))
    assert (typed.topic, typed.event_key, typed.payload) == ("names", b"ann", b"\n\x03ann")
    with pytest.raises(EventNotRegistered, match="StringValue"):
        row(events, Event("named", "", message))


def test_a_codec_of_the_users_own() -> None:
    events = EventMap()
    events.register(
        "o", Order, codec=lambda order: order.number.encode("utf-16"), content_type="text/plain; charset=utf-16"
    )
    found = row(events, Event("o", "t", Order("7")))
    assert (found.payload, found.content_type) == ("7".encode("utf-16"), "text/plain; charset=utf-16")
    assert row(events, Event("o", "t", Order("7"), content_type="a/b")).content_type == "a/b"
    events.register("bad", Order, codec=lambda order: order.nothing)
    with pytest.raises(PayloadNotSerializable, match="codec failed on a Order"):
        row(events, Event("bad", "t", Order("7")))
    events.register("text", Order, codec=lambda order: order.number)  # type: ignore[arg-type,return-value]
    with pytest.raises(PayloadNotSerializable, match="gave a str, not bytes"):
        row(events, Event("text", "t", Order("7")))


def test_versions_are_told_apart_by_type() -> None:
    events = EventMap()
    events.register("o", Order, topic="orders.v1", key="number")
    events.register("o", OrderV2, topic="orders.v2", key=lambda order: order.number, version=2)
    old = row(events, Event("o", "", Order("7")), version_header="event_version")
    new = row(events, Event("o", "", OrderV2(number="8", total=1)), version_header="event_version")
    assert (old.topic, old.event_key, json.loads(old.headers)) == ("orders.v1", b"7", {"event_version": "1"})
    assert (new.topic, new.event_key, json.loads(new.headers)) == ("orders.v2", b"8", {"event_version": "2"})
    assert [one.version for one in events.registered()] == [1, 2]
    assert events.get("o") is not None
    assert events.get("o").version == 2  # type: ignore[union-attr]
    assert events.get("o", 1).type is Order  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="already registered"):
        events.register("o", Order, version=2)


def test_topics_by_field_and_by_function() -> None:
    events = EventMap()
    events.register("field", Order, topic="orders.{region}", key="number")
    events.register("function", Order, topic=operator.attrgetter("region"))
    events.register("dict", Dict, key="number")
    assert row(events, Event("field", "", Order("7", "us"))).topic == "orders.us"
    assert row(events, Event("function", "", Order("7", "us"))).topic == "us"
    assert row(events, Event("dict", "t", {"number": "7"})).event_key == b"7"
    with pytest.raises(InvalidEvent, match="Kafka refuses"):
        row(events, Event("field", "", Order("7", "a b")))
    with pytest.raises(InvalidEvent, match="its topic is registered as field 'region'"):
        row(events, Event("field", "", Order("7", 1.5)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "kind", "options", "says"),
    [
        ("", Order, {}, "no event name"),
        (7, Order, {}, "no event name"),
        ("n" * 256, Order, {}, "no event name"),
        ("n", Order, {"version": 0}, "version is 0"),
        ("n", Order, {"version": "1"}, "version is '1'"),
        ("n", Order, {"version": True}, "version is True"),
        ("n", Order, {"topic": "a b"}, "Kafka refuses"),
        ("n", Order, {"topic": 7}, "topic is a int"),
        ("n", Order, {"key": ""}, "key is ''"),
        ("n", Order, {"key": 7}, "key is 7"),
        ("n", Order, {"codec": "avro"}, "codec is a str"),
        ("n", "Order", {}, "no type that a value can be checked against"),
    ],
)
def test_what_could_never_work_is_refused_at_register(name: Any, kind: Any, options: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        EventMap().register(name, kind, **options)
    assert refused.value.hint


def test_a_version_header_needs_what_it_needs() -> None:
    for options in ({}, {"event_map": EventMap(), "layout": "debezium"}):
        with pytest.raises(ConfigError, match="version_header"):
            Outbox(version_header="v", **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent, match="written by the tailer"):
        Outbox(version_header="event_id", event_map=EventMap())


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.dates()
    | st.datetimes()
    | st.uuids()
    | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES) | st.lists(VALUES))
def test_json_is_the_same_with_and_without_orjson(value: object) -> None:
    def attempt() -> bytes | str | None:
        try:
            return payloads.payload_bytes(value)
        except PayloadNotSerializable as error:
            return str(error)

    assert payloads._orjson() is not None
    quick = attempt()
    with pytest.MonkeyPatch.context() as without:
        without.setattr(payloads, "_orjson", lambda: None)
        assert quick == attempt()


def test_the_active_span_goes_along() -> None:
    from opentelemetry import trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

    state = TraceState([("vendor", "x")])
    context = SpanContext(
        0x0AF7651916CD43DD8448EB211C80319C,
        0xB7AD6B7169203331,
        is_remote=False,
        trace_flags=TraceFlags(1),
        trace_state=state,
    )
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    event, own = Event("n", "t", {}, headers={"a": "b"}), Event("n", "t", {}, headers={"traceparent": "mine"})
    with trace.use_span(NonRecordingSpan(context)):
        (found, kept) = Outbox().rows([event, own])
        (without,) = Outbox(trace=False).rows([event])
        debezium = Outbox(layout="debezium", columns={"trace": "tracingspancontext"})
        (spans,) = debezium.rows([Event("n", "t", {}, key="k")])
        (homeless,) = Outbox(layout="debezium").rows([Event("n", "t", {}, key="k")])
    assert json.loads(found.headers or "") == {"traceparent": parent, "tracestate": "vendor=x", "a": "b"}
    assert json.loads(kept.headers or "") == {"traceparent": "mine"}
    assert json.loads(without.headers or "") == {"a": "b"}
    assert spans.trace == f"traceparent={parent}\ntracestate=vendor=x\n"
    assert (homeless.trace, homeless.headers) == (None, None)
    (outside,) = Outbox().rows([event])
    assert json.loads(outside.headers or "") == {"a": "b"}
