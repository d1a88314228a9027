"""EventMap: types, topics and keys by event name; looked at by an Outbox that was given one."""

import dataclasses
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cdc.errors import ConfigError, EventNotRegistered, InvalidEvent
from cdc.outbox import Event, EventMap, Outbox
from cdc.outbox.row import new_row


@dataclasses.dataclass
class Joined:
    user_id: Any
    meeting: str = "m"


@pytest.fixture
def events() -> EventMap:
    return EventMap()


@pytest.fixture(autouse=True)
def _shared_map_as_before() -> Iterator[None]:
    yield
    EventMap.shared().discard("left")


def _row(events: EventMap, event: Any) -> Any:
    return new_row(event, registered=events.find(event))


def test_topic_and_key_come_from_the_map_where_the_event_has_none(events: EventMap) -> None:
    assert events.register("joined", Joined, topic="users", key="user_id", version=2) is Joined
    row = _row(events, Event("joined", "", Joined("u-1")))
    assert (row.topic, row.event_key) == ("users", b"u-1")
    row = _row(events, Event("joined", "others", Joined("u-1"), key="k"))
    assert (row.topic, row.event_key) == ("others", b"k")
    (joined,) = events.registered()
    assert joined.version == 2


@pytest.mark.parametrize(
    ("rule", "payload", "key"),
    [
        ("user_id", Joined(7), b"7"),
        ("user_id", Joined(uuid.UUID(int=1)), b"00000000-0000-0000-0000-000000000001"),
        (lambda payload: f"{payload.user_id}/{payload.meeting}", Joined(7), b"7/m"),
        (lambda payload: None, Joined(7), None),
        (None, Joined(7), None),
    ],
)
def test_key_rules(events: EventMap, rule: Any, payload: Joined, key: bytes | None) -> None:
    events.register("joined", Joined, key=rule)
    assert _row(events, Event("joined", "users", payload)).event_key == key


def test_a_key_of_a_dict(events: EventMap) -> None:
    events.register("joined", dict, key="user_id")
    assert _row(events, Event("joined", "users", {"user_id": "u"})).event_key == b"u"


@pytest.mark.parametrize("value", [None, True, 1.5, ["a"]])
def test_a_key_field_without_a_key_is_refused(events: EventMap, value: object) -> None:
    events.register("joined", Joined, key="user_id")
    with pytest.raises(InvalidEvent, match="user_id") as refused:
        _row(events, Event("joined", "users", Joined(value)))
    assert refused.value.hint


def test_used_as_a_decorator_and_on_the_class() -> None:
    @EventMap.register("left", topic="users")
    @dataclasses.dataclass
    class Left:
        user_id: str

    assert Outbox(event_map=EventMap).event_map is EventMap.shared()
    Outbox(event_map=EventMap).check(Event("left", "", Left("u")))
    assert list(EventMap().registered()) == []


def test_a_whole_event_class_may_be_registered(events: EventMap) -> None:
    events.register("joined", SimpleNamespace)
    events.find(SimpleNamespace(event_name="joined", payload=b""))


def test_a_generic_type_is_checked_by_its_origin(events: EventMap) -> None:
    events.register("joined", dict[str, int])
    events.find(Event("joined", "t", {"a": 1}))


def test_unregistered_and_wrong_types_are_named(events: EventMap) -> None:
    events.register("joined", Joined)
    outbox = Outbox(event_map=events)
    with pytest.raises(EventNotRegistered, match="'jioned' is not registered") as refused:
        outbox.check(Event("jioned", "t", Joined("u")))
    assert "joined" in str(refused.value.hint)
    with pytest.raises(EventNotRegistered, match="registered for Joined, and this one's payload is a dict"):
        outbox.check(Event("joined", "t", {}))
    Outbox().check(Event("anything", "t", {}))


def test_one_name_has_one_type(events: EventMap) -> None:
    events.register("joined", Joined)
    events.register("joined", Joined)  # a module imported twice
    with pytest.raises(ConfigError, match="already registered for Joined"):
        events.register("joined", dict)
