"""EventMap: which events there are, of what type, and where they go by default.

`EventMap.register(...)` on the class fills the process's shared map, as python-cqrs does it;
`EventMap()` is one of its own. Only an Outbox that was given a map looks at it. What is
registered is the type of the payload (or of the whole event: python-cqrs's way); topic and
key are for events that bring none.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, overload
from uuid import UUID

from cdc.errors import ConfigError, EventNotRegistered, InvalidEvent

Key: TypeAlias = str | bytes | None
KeyRule: TypeAlias = str | Callable[[Any], Key]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registered:
    """One event name: its type, and what an event of it gets when it brings none itself."""

    event_name: str
    type: Any
    topic: str | None = None
    key: KeyRule | None = None
    version: int = 1

    def key_of(self, payload: Any) -> Key:
        """The key by rule: a function of the payload, or the name of one of its fields."""
        if self.key is None or callable(self.key):
            return self.key(payload) if self.key is not None else None
        value = payload.get(self.key) if isinstance(payload, Mapping) else getattr(payload, self.key, None)
        if isinstance(value, (int, UUID)) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, (str, bytes)):
            return value
        raise InvalidEvent(
            f"event {self.event_name!r}: its key is registered as field {self.key!r}, and that is {value!r}",
            hint="A key field holds str, bytes, int or UUID; for anything else register key=<function of the payload>.",
        )

    def fits(self, event: object) -> bool:
        """Whether the event is what was registered, by its payload or as a whole."""
        kind = typing.get_origin(self.type) or self.type
        return isinstance(getattr(event, "payload", None), kind) or isinstance(event, kind)


class _Register:
    """`register` of one map: called with the type, or used as a decorator above it."""

    def __init__(self, entries: dict[str, Registered]) -> None:
        self._entries = entries

    @overload
    def __call__(
        self, event_name: str, kind: type[T], *, topic: str | None = None, key: KeyRule | None = None, version: int = 1
    ) -> type[T]: ...

    @overload
    def __call__(
        self, event_name: str, *, topic: str | None = None, key: KeyRule | None = None, version: int = 1
    ) -> Callable[[type[T]], type[T]]: ...

    def __call__(
        self,
        event_name: str,
        kind: Any = None,
        *,
        topic: str | None = None,
        key: KeyRule | None = None,
        version: int = 1,
    ) -> Any:
        def enter(kind: Any) -> Any:
            new = Registered(event_name, kind, topic, key, version)
            if (old := self._entries.setdefault(event_name, new)) != new:
                raise ConfigError(
                    f"event {event_name!r} is already registered for {_name(old.type)}",
                    hint="One name, one type: take another name, or use EventMap() for a map of its own.",
                )
            return kind

        return enter if kind is None else enter(kind)


class _Registering:
    """Reads as `register` of the instance, or of the shared map on the class."""

    def __get__(self, instance: EventMap | None, owner: type[EventMap]) -> _Register:
        return _Register((owner.shared() if instance is None else instance).entries)


class EventMap:
    """Event names and what belongs to them."""

    register = _Registering()

    def __init__(self) -> None:
        self.entries: dict[str, Registered] = {}

    @staticmethod
    def shared() -> EventMap:
        """The map behind `EventMap.register` on the class."""
        return _SHARED

    def find(self, event: object) -> Registered:
        """What was registered for this event, if it is of that type."""
        name = getattr(event, "event_name", None)
        found = self.entries.get(name) if isinstance(name, str) else None
        if found is None:
            raise EventNotRegistered(
                f"event {name!r} is not registered (its payload is a {type(getattr(event, 'payload', None)).__name__})",
                hint=f"EventMap.register({name!r}, ...); registered are: {', '.join(sorted(self.entries)) or 'none'}.",
            )
        if not found.fits(event):
            raise EventNotRegistered(
                f"event {name!r} is registered for {_name(found.type)}, "
                f"and this one's payload is a {type(getattr(event, 'payload', None)).__name__}",
                hint="Give the payload as the registered type, or register the event under another name.",
            )
        return found


def _name(kind: Any) -> str:
    return str(getattr(kind, "__qualname__", kind))


_SHARED = EventMap()
