"""EventMap: which events there are, of what type, and where they go by default.

`EventMap.register(...)` on the class fills the process's shared map, as python-cqrs does it;
`EventMap()` is one of its own. Only an Outbox that was given a map looks at it. What is
registered is the type of the payload (or of the whole event: python-cqrs's way); topic and
key are for events that bring none.

A name may have several versions, each of a type of its own: an event is of the highest
version whose type it has. `registered()` lists them all, for schemas and documents.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, overload
from uuid import UUID

from cdc.errors import ConfigError, EventNotRegistered, InvalidEvent, PayloadNotSerializable

Key: TypeAlias = str | bytes | None
T = TypeVar("T")
KeyRule: TypeAlias = str | Callable[[T], Key]
TopicRule: TypeAlias = str | Callable[[T], str]
Codec: TypeAlias = Callable[[T], bytes | None]

_FIELD = re.compile(r"\{([^{}]*)\}")
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")
_MAX_EVENT_NAME = 255


@dataclass(frozen=True, slots=True)
class Registered:
    """One version of an event: its type, and what an event of it gets when it brings none itself."""

    event_name: str
    type: Any
    topic: TopicRule[Any] | None = None
    key: KeyRule[Any] | None = None
    version: int = 1
    codec: Codec[Any] | None = None
    content_type: str | None = None

    def topic_of(self, payload: Any) -> str | None:
        """The topic by rule: a function of the payload, or a text in which {field} stands for one of its fields."""
        if self.topic is None or callable(self.topic):
            return None if self.topic is None else self.topic(payload)
        if "{" not in self.topic:
            return self.topic
        return _FIELD.sub(lambda found: _as_text(self._field("topic", found[1], payload)), self.topic)

    def key_of(self, payload: Any) -> Key:
        """The key by rule: a function of the payload, or the name of one of its fields."""
        if self.key is None or callable(self.key):
            return None if self.key is None else self.key(payload)
        return self._field("key", self.key, payload)

    def _field(self, what: str, name: str, payload: Any) -> str | bytes:
        value = payload.get(name) if isinstance(payload, Mapping) else getattr(payload, name, None)
        if isinstance(value, (int, UUID)) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, (str, bytes)):
            return value
        raise InvalidEvent(
            f"event {self.event_name!r}: its {what} is registered as field {name!r}, and that is {value!r:.80}",
            hint="Such a field holds str, bytes, int or UUID; "
            f"for anything else register {what}=<function of the payload>.",
        )

    def encode(self, payload: Any) -> bytes | None:
        """The payload by its own codec."""
        if self.codec is None or payload is None:
            return None
        try:
            encoded = self.codec(payload)
        except Exception as error:
            raise PayloadNotSerializable(
                f"event {self.event_name!r}: its codec failed on a {type(payload).__name__}: {error}",
                hint="The codec is what EventMap.register(..., codec=...) was given; its own error is the cause.",
            ) from error
        if encoded is None or isinstance(encoded, bytes):
            return encoded
        raise PayloadNotSerializable(
            f"event {self.event_name!r}: its codec gave a {type(encoded).__name__}, not bytes",
            hint="A codec is a function from the payload to bytes, or None for a tombstone.",
        )

    def fits(self, event: object) -> bool:
        """Whether the event is what was registered, by its payload or as a whole."""
        kind = _class_of(self.type)
        return isinstance(getattr(event, "payload", None), kind) or isinstance(event, kind)


class _Register:
    """`register` of one map: called with the type, or used as a decorator above it."""

    def __init__(self, enter: Callable[[Registered], None]) -> None:
        self._enter = enter

    @overload
    def __call__(
        self,
        event_name: str,
        kind: type[T],
        *,
        topic: TopicRule[T] | None = None,
        key: KeyRule[T] | None = None,
        version: int = 1,
        codec: Codec[T] | None = None,
        content_type: str | None = None,
    ) -> type[T]: ...

    @overload
    def __call__(
        self,
        event_name: str,
        *,
        topic: TopicRule[Any] | None = None,
        key: KeyRule[Any] | None = None,
        version: int = 1,
        codec: Codec[Any] | None = None,
        content_type: str | None = None,
    ) -> Callable[[type[T]], type[T]]: ...

    def __call__(
        self,
        event_name: str,
        kind: Any = None,
        *,
        topic: TopicRule[Any] | None = None,
        key: KeyRule[Any] | None = None,
        version: int = 1,
        codec: Codec[Any] | None = None,
        content_type: str | None = None,
    ) -> Any:
        def enter(kind: Any) -> Any:
            self._enter(_checked(Registered(event_name, kind, topic, key, version, codec, content_type)))
            return kind

        return enter if kind is None else enter(kind)


class _Registering:
    """Reads as `register` of the instance, or of the shared map on the class."""

    def __get__(self, instance: EventMap | None, owner: type[EventMap]) -> _Register:
        return _Register((owner.shared() if instance is None else instance).enter)


class EventMap:
    """Event names and what belongs to them."""

    register = _Registering()

    def __init__(self) -> None:
        self._by_name: dict[str, dict[int, Registered]] = {}

    @staticmethod
    def shared() -> EventMap:
        """The map behind `EventMap.register` on the class."""
        return _SHARED

    def registered(self) -> Iterator[Registered]:
        """All of them, by name and version."""
        for name in sorted(self._by_name):
            yield from (self._by_name[name][version] for version in sorted(self._by_name[name]))

    def enter(self, new: Registered) -> None:
        """Take a registration; the same one twice is fine (a module imported twice)."""
        versions = self._by_name.setdefault(new.event_name, {})
        if (old := versions.setdefault(new.version, new)) != new:
            raise ConfigError(
                f"event {new.event_name!r} is already registered for {_name(old.type)}",
                hint="Take another name or version=..., or use EventMap() for a map of its own.",
            )

    def discard(self, event_name: str) -> None:
        """Forget an event in all versions: for tests that register into the shared map."""
        self._by_name.pop(event_name, None)

    def get(self, event_name: str, version: int | None = None) -> Registered | None:
        """One version of an event, or its highest."""
        versions = self._by_name.get(event_name, {})
        return versions.get(max(versions, default=0) if version is None else version)

    def find(self, event: object) -> Registered:
        """What was registered for this event, if it is of that type."""
        name = getattr(event, "event_name", None)
        versions = self._by_name.get(name) if isinstance(name, str) else None
        if not versions:
            raise EventNotRegistered(
                f"event {name!r} is not registered (its payload is a {type(getattr(event, 'payload', None)).__name__})",
                hint=f"EventMap.register({name!r}, ...); registered are: {', '.join(sorted(self._by_name)) or 'none'}.",
            )
        for version in sorted(versions, reverse=True):
            if versions[version].fits(event):
                return versions[version]
        raise EventNotRegistered(
            f"event {name!r} is registered for {' and '.join(_name(one.type) for one in versions.values())}, "
            f"and this one's payload is a {type(getattr(event, 'payload', None)).__name__}",
            hint="Give the payload as the registered type, or register the event under another name or version.",
        )


def _checked(new: Registered) -> Registered:
    """What could never work is refused where it is written down, not at the first event."""
    name: object = new.event_name  # users without a type checker write anything
    version: object = new.version
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_EVENT_NAME:
        raise _mistake(name, "is no event name", f"Names are texts of 1 to {_MAX_EVENT_NAME} characters.")
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise _mistake(name, f"version is {new.version!r}", "Versions are 1, 2, 3, ...")
    if isinstance(new.topic, str):
        if not _TOPIC.fullmatch(_FIELD.sub("x", new.topic)):
            raise _mistake(
                name, f"Kafka refuses the topic name {new.topic!r}", "Topic names are made of a-z A-Z 0-9 . _ -"
            )
    elif new.topic is not None and not callable(new.topic):
        raise _mistake(
            name, f"topic is a {type(new.topic).__name__}", "Give a topic's name, or a function of the payload."
        )
    if new.key is not None and not (isinstance(new.key, str) and new.key) and not callable(new.key):
        raise _mistake(name, f"key is {new.key!r}", "Give the name of a field, or a function of the payload.")
    if new.codec is not None and not callable(new.codec):
        raise _mistake(
            name, f"codec is a {type(new.codec).__name__}", "A codec is a function from the payload to bytes."
        )
    try:
        isinstance(None, _class_of(new.type))
    except TypeError as error:
        raise _mistake(name, f"{new.type!r} is no type that a value can be checked against", "Give a class.") from error
    return new


def _mistake(name: object, what: str, hint: str) -> ConfigError:
    return ConfigError(f"EventMap.register({name!r:.80}, ...): {what}", hint=hint)


def _class_of(kind: Any) -> Any:
    """What isinstance() takes for it: the origin of a generic, dict for a TypedDict."""
    if typing.is_typeddict(kind) or (hasattr(kind, "__total__") and hasattr(kind, "__required_keys__")):
        return dict  # the second is typing_extensions' one, which pydantic asks for before Python 3.12
    return typing.get_origin(kind) or kind


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _name(kind: Any) -> str:
    return str(getattr(kind, "__qualname__", kind))


_SHARED = EventMap()
