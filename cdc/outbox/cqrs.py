"""python-cqrs's outbox repository, writing rows for the tailer. For 4.15 and 5.x.

    container.bind(... lambda: OutboxedEventRepository(session=session_factory()) ...)

in place of its own SqlAlchemyOutboxedEventRepository: `add`, `commit` and `rollback` as before,
but the row has a key, headers, trace context and the payload alone, byte for byte what becomes
the record; with `envelope=True` the library's own JSON around it, for consumers that read that.

Types are always checked: by our EventMap where it knows the event's name, by the library's
where that does. The key comes from `keys`, from our map, or from the event. Ids are the
event's own; the library makes version 4, our `NotificationEvent` version 7.

Traps of the library that are refused here instead of being written (facts of 5.x): a pydantic
payload in a dataclass event becomes its repr in the library's JSON; fields that an event class
has beside the payload would be missing from a payload written alone. Its poller must not run
on what the tailer publishes, so what the poller calls raises.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
import uuid
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any, NoReturn

import cqrs

from cdc.errors import EventNotRegistered, InvalidEvent, PayloadNotSerializable, PollingRefused
from cdc.outbox.registry import EventMap, KeyRule, Registered
from cdc.outbox.writer import Outbox

_OURS = frozenset({"event_id", "event_timestamp", "event_name", "topic", "payload", "key", "headers", "content_type"})
_PLAIN = (str, int, float, bool, bytes, date, datetime, time, timedelta, Decimal, Enum, uuid.UUID, type(None))


class OutboxedEventRepository(cqrs.OutboxedEventRepository):  # type: ignore[misc]
    """The repository for a mediator: events go into an Outbox, in the session's transaction.

    outbox: where to, Outbox() if nothing is said; its event_map gives topics and keys. event_map: the
    library's, of which the class is the shared one. keys: by event name, the key as a field of the payload
    or a function of it. envelope: write the library's whole JSON, as its own repository does.
    """

    def __init__(
        self,
        session: Any,
        outbox: Outbox | None = None,
        *,
        event_map: Any = None,
        keys: Mapping[str, KeyRule[Any]] | None = None,
        envelope: bool = False,
    ) -> None:
        self.session = session
        self.outbox = Outbox() if outbox is None else outbox
        self._ours = self.outbox.event_map or EventMap.shared()
        self._theirs = cqrs.OutboxedEventMap if event_map is None else event_map
        self._keys = keys or {}
        self._envelope = envelope

    def add(self, event: Any) -> None:
        """Write an event with the session's next flush; no await needed."""
        registered = self._registered(event)
        codec = self._theirs.get_serializer(registered.event_name)
        if codec is None and not self._envelope:
            _refuse_more_fields(event)
        written = self._as_written(event, registered, codec)
        row = self.outbox.row(written, dataclasses.replace(registered, topic=None, key=None, codec=None))
        self.outbox.write(self.session, [row])

    async def commit(self) -> None:
        """Commit the session: the events and all else in its transaction."""
        await _now(self.session.commit())

    async def rollback(self) -> None:
        """Roll the session back: nothing of its transaction remains."""
        await _now(self.session.rollback())

    async def get_many(self, *_: Any, **__: Any) -> NoReturn:
        """Not here: the tailer reads the database's log."""
        raise _no_polling("get_many")

    async def update_status(self, *_: Any, **__: Any) -> NoReturn:
        """Not here: the tailer's checkpoint says what is published."""
        raise _no_polling("update_status")

    def _registered(self, event: Any) -> Registered:
        """What is known of the event in both maps; raises EventNotRegistered where that is nothing, or another type."""
        name = getattr(event, "event_name", None)
        theirs = self._theirs.get(name)
        ours = self._ours.get(name) if isinstance(name, str) else None
        if theirs is None and ours is None:
            raise EventNotRegistered(
                f"event {name!r} is not registered (it is a {type(event).__name__})",
                hint=f"cqrs.OutboxedEventMap.register({name!r}, {type(event).__name__}), or EventMap.register(...) of "
                "cdc.outbox for its payload, once at start.",
            )
        if theirs is not None and not isinstance(event, typing.get_origin(theirs) or theirs):
            raise EventNotRegistered(
                f"event {name!r} is registered for {getattr(theirs, '__qualname__', theirs)}, "
                f"and this one is a {type(event).__name__}",
                hint="Give the event as the registered class, or register it under another name.",
            )
        found = self._ours.find(event) if ours is not None else Registered(str(name), theirs)
        rule = self._keys.get(str(name))
        return found if rule is None else dataclasses.replace(found, key=rule)

    def _as_written(self, event: Any, registered: Registered, codec: Any) -> SimpleNamespace:
        """The event's attributes, its payload as it shall stand in the row."""
        payload, content_type = getattr(event, "payload", None), getattr(event, "content_type", None)
        key = getattr(event, "key", None)
        if key is None:
            key = registered.key_of(payload)
        topic = (registered.topic_of(payload) if _topic_left_out(event) else None) or event.topic
        if codec is not None or self._envelope:
            if codec is None:
                _refuse_stringified(event)
            codec = codec or cqrs.JsonEventSerializer()
            payload, said = codec.serialize(event), codec.content_type_for(event)
            content_type = content_type or said
        elif registered.codec is not None:
            payload, content_type = registered.encode(payload), content_type or registered.content_type
        return SimpleNamespace(
            event_name=event.event_name,
            topic=topic,
            payload=payload,
            key=key,
            headers=getattr(event, "headers", None),
            event_id=event.event_id,
            event_timestamp=event.event_timestamp,
            **({"content_type": content_type} if content_type else {}),
        )


def __getattr__(name: str) -> Any:
    if name == "NotificationEvent":
        from cdc.outbox.cqrs_event import NotificationEvent  # noqa: PLC0415  # 5.x runs without pydantic, too

        return NotificationEvent
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


async def _now(answer: Any) -> None:
    if inspect.isawaitable(answer):  # a plain Session commits at once
        await answer


def _no_polling(method: str) -> PollingRefused:
    return PollingRefused(
        f"{method}() was called on a repository whose events the tailer publishes",
        hint="Stop the poller (EventProducer) for this outbox: `cdc tailer run` publishes its rows. "
        "For what is left in python-cqrs's own table, give the poller its SqlAlchemyOutboxedEventRepository.",
    )


def _topic_left_out(event: Any) -> bool:
    """The library fills in its default topic; whether somebody chose this one."""
    if hasattr(event, "model_fields_set"):
        fields = type(event).model_fields
        inherited = "topic" in fields and fields["topic"].default == event.topic
        return "topic" not in event.model_fields_set and inherited and event.topic == _default_topic()
    return bool(event.topic == _default_topic())


def _default_topic() -> Any:
    return next(one.default for one in dataclasses.fields(cqrs.DCNotificationEvent) if one.name == "topic")


def _fields(event: Any) -> Sequence[str]:
    if hasattr(event, "model_dump_json"):
        return list(type(event).model_fields)
    return [field.name for field in dataclasses.fields(event)] if dataclasses.is_dataclass(event) else []


def _refuse_more_fields(event: Any) -> None:
    if more := [name for name in _fields(event) if name not in _OURS]:
        raise InvalidEvent(
            f"event {event.event_name!r}: {type(event).__name__} has fields beside its payload ({', '.join(more)}), "
            "and only the payload is written",
            hint="Move them into the payload; or have the library's whole JSON written: envelope=True.",
        )


def _refuse_stringified(event: Any) -> None:
    """What the dataclass event of 5.x turns into text on its way to JSON, without a word."""
    if hasattr(event, "model_dump_json"):
        return  # pydantic writes itself
    for name in _fields(event):
        if found := _not_plain(getattr(event, name), f"$.{name}"):
            path, kind = found
            raise PayloadNotSerializable(
                f"event {event.event_name!r}: python-cqrs would write the {kind} at {path} as its repr, not as JSON",
                hint="Take cqrs.PydanticNotificationEvent for pydantic payloads; or leave envelope=True out, "
                "then the payload is written by cdc.",
            )


def _not_plain(value: Any, path: str) -> tuple[str, str] | None:
    if isinstance(value, Mapping):
        parts = [(f"{path}.{name}", part) for name, part in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(f"{path}[{n}]", part) for n, part in enumerate(value)]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(f"{path}.{one.name}", getattr(value, one.name)) for one in dataclasses.fields(value)]
    else:
        return None if isinstance(value, _PLAIN) else (path, type(value).__name__)
    return next((found for where, part in parts if (found := _not_plain(part, where))), None)
