"""Layouts: the values of each column, and what a table cannot keep of an event."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from cdc.errors import ConfigError, EventTooLarge, InvalidEvent
from cdc.outbox import Event, Outbox
from cdc.outbox.layouts import LAYOUTS, layout_of

ID = uuid.UUID("01890000-0000-7000-8000-0000000000ff")
AT = datetime(2026, 3, 1, 1, 2, 3, 4, UTC)
OWN = {"id": "uid CHAR(36)", "name": "kind", "payload": "body LONGTEXT NOT NULL"}


def event(**changed: Any) -> Event:
    standard: dict[str, Any] = {"event_name": "order.created", "topic": "orders", "payload": {"a": "ü"}}
    return Event(**{**standard, "event_id": ID, "event_timestamp": AT, **changed})


def values(outbox: Outbox, one: Event) -> dict[str, Any]:
    layout = outbox.destination.layout
    return dict(zip(layout.names, layout.values(outbox.rows([one])[0]), strict=True))


def test_debezium_gets_texts_in_its_own_columns() -> None:
    assert values(Outbox(layout="debezium"), event(key="o-1")) == {
        "id": str(ID),
        "aggregatetype": "orders",
        "aggregateid": "o-1",
        "type": "order.created",
        "payload": '{"a":"ü"}',
    }


def test_debezium_with_columns_beside_its_own() -> None:
    outbox = Outbox(
        layout="debezium",
        columns={"headers": "headers", "payload": "payload LONGBLOB", "key": "customer BINARY(16) NOT NULL"},
    )
    found = values(outbox, event(key=b"\xff" * 16, headers={"a": "b"}))
    assert found["payload"] == '{"a":"ü"}'.encode()
    assert (found["customer"], found["headers"]) == (b"\xff" * 16, '{"a":"b"}')
    assert "aggregateid" not in found


def test_cqrs_gets_the_envelope_its_consumers_read() -> None:
    found = values(Outbox(layout="cqrs"), event())
    assert (found["event_id"], found["event_id_bin"], found["event_status"]) == (ID.bytes, ID.bytes, "NEW")
    assert (found["flush_counter"], found["event_name"], found["topic"]) == (0, "order.created", "orders")
    assert found["created_at"] == AT.astimezone().replace(tzinfo=None, microsecond=0)
    assert list(json.loads(found["payload"]).items()) == [
        ("payload", {"a": "ü"}),
        ("event_id", str(ID)),
        ("event_timestamp", "2026-03-01T01:02:03.000004+00:00"),
        ("event_name", "order.created"),
        ("topic", "orders"),
    ]
    protobuf = event(payload=b"\x08\x01", content_type="application/x-protobuf")
    with pytest.raises(InvalidEvent, match="content_type"):
        Outbox(layout="cqrs").check(protobuf)
    whole = Outbox(layout="cqrs", columns={"content_type": "content_type"})
    assert values(whole, protobuf)["payload"] == b"\x08\x01"


def test_own_columns() -> None:
    outbox = Outbox("crm.events", columns=OWN)
    assert outbox.layout == "columns"
    assert values(outbox, event(topic="")) == {"uid": str(ID), "kind": "order.created", "body": '{"a":"ü"}'}
    binary = Outbox(columns={**OWN, "id": "uid", "payload": "body BLOB", "topic": "t", "key": "k"})
    assert values(binary, event(key="x")) == {
        "uid": ID.bytes,
        "kind": "order.created",
        "t": "orders",
        "k": b"x",
        "body": '{"a":"ü"}'.encode(),
    }


DEBEZIUM, CQRS, COLUMNS = Outbox(layout="debezium"), Outbox(layout="cqrs"), Outbox(columns=OWN)
SMALL = Outbox(layout="debezium", columns={"payload": "payload TEXT", "name": "type VARCHAR(10)"})
AS_JSON = Outbox(layout="debezium", columns={"payload": "payload JSON"})
BAD = [
    (DEBEZIUM, event(), InvalidEvent, "key is None"),
    (DEBEZIUM, event(key=b"\xff"), InvalidEvent, "key is not UTF-8"),
    (DEBEZIUM, event(key="k" * 256), EventTooLarge, "256 characters"),
    (DEBEZIUM, event(key="k", payload=b"\xff"), InvalidEvent, "payload is not UTF-8"),
    (DEBEZIUM, event(key="k", headers={"a": "b"}), InvalidEvent, "no column for its headers"),
    (DEBEZIUM, event(key="k", content_type="text/plain"), InvalidEvent, "no column for its content_type"),
    (DEBEZIUM, event(key="k", topic="t" * 240), InvalidEvent, "more than 249 characters"),
    (SMALL, event(key="k"), EventTooLarge, "13 characters"),
    (SMALL, event(key="k", event_name="n", payload="ü" * 32_768), EventTooLarge, "65,536 bytes"),
    (AS_JSON, event(key="k", payload="no json"), InvalidEvent, "not JSON"),
    (CQRS, event(key="k"), InvalidEvent, "no column for its key"),
    (CQRS, event(headers={"a": "b"}), InvalidEvent, "no column for its headers"),
    (CQRS, event(payload=None), InvalidEvent, "payload is None"),
    (CQRS, event(payload="x" * 65_400), EventTooLarge, "takes 65,535"),
    (COLUMNS, event(), InvalidEvent, "no column for its topic"),
    (COLUMNS, event(topic="", key="k"), InvalidEvent, "no column for its key"),
    (COLUMNS, event(topic="", payload=None), InvalidEvent, "payload is None"),
]


@pytest.mark.parametrize(("outbox", "bad", "error", "says"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_what_a_table_cannot_keep_is_refused_not_dropped(
    outbox: Outbox, bad: Event, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as refused:
        outbox.check(bad)
    assert refused.value.hint  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("layout", "columns", "says"),
    [
        ("debezum", None, "unknown layout"),
        (None, {"id": "uid"}, "columns lacks name, payload"),
        (None, {**OWN, "kye": "k"}, "unknown role 'kye'"),
        (None, {**OWN, "id": "uid INT"}, "a type that id cannot have"),
        (None, {**OWN, "id": "uid CHAR(20)"}, "too short for an id"),
        (None, {**OWN, "id": "uid CHAR"}, "lacks its length"),
        (None, {**OWN, "payload": "body LONGBLOB(5)"}, "a length where none belongs"),
        (None, {**OWN, "payload": "body LONGBLOB UNIQUE"}, "a type that payload cannot have"),
        (None, {**OWN, "timestamp": "at TIMESTAMP"}, "a type that timestamp cannot have"),
        (None, {**OWN, "payload": ""}, "is no column"),
        (None, {**OWN, "topic": "KIND"}, "named twice"),
        ("cqrs", {"id": "uid"}, "two columns"),
    ],
)
def test_a_column_map_that_cannot_work_is_refused(
    layout: str | None, columns: dict[str, str] | None, says: str
) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        Outbox(layout=layout, columns=columns)
    assert refused.value.hint


def test_the_tailer_knows_the_same_columns() -> None:
    from cdc.routing.layouts import LAYOUTS as READ

    for name in set(READ) & set(LAYOUTS):
        written = {column.role: column.name for column in layout_of(name).columns if column.role}
        written.pop("timestamp" if name == "cqrs" else "", None)  # the tailer does not believe its local time
        for role, column in READ[name].columns.items():
            assert written[role] == column, (name, role)
