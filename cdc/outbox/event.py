"""Event: what an application publishes, and where its id comes from.

An Event is only a value: everything about it is checked when it is added (`row.py`),
because foreign events (python-cqrs's) take the same way and never pass through here.

Ids are UUIDv7 made at construction, so that an event can be named in logs and answers
before it is written. They rise within a process, also across threads; after a fork the
children's stay distinct (tested with 500,000 over 8 processes). The source is the
standard library's where it has one (3.14), else uuid-utils; it is looked up when the
first id is made, which keeps `import cdc.outbox` free of third-party packages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from uuid import UUID


@cache
def _uuid7() -> Callable[[], UUID]:
    try:
        from uuid import uuid7  # type: ignore[attr-defined,unused-ignore]  # noqa: PLC0415  # 3.14 and later
    except ImportError:
        from uuid_utils.compat import uuid7  # noqa: PLC0415  # see the module's docstring
    make: Callable[[], UUID] = uuid7
    return make


def new_event_id() -> UUID:
    """A UUIDv7 higher than every one this process made before."""
    return _uuid7()()


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Event:
    """What happened, and the topic it wants to go to.

    payload: bytes go as they are; str as UTF-8; dict, list, dataclass or pydantic model
    as compact JSON; None is a tombstone. key: the Kafka key; None means no key.
    headers: text to text. event_timestamp must know its time zone.
    """

    event_name: str
    topic: str
    # Not in repr(): events end up in logs, and payloads hold what logs must not.
    payload: object = field(repr=False)
    key: str | bytes | None = field(default=None, kw_only=True)
    headers: Mapping[str, str] | None = field(default=None, kw_only=True)
    event_id: UUID = field(default_factory=new_event_id, kw_only=True)
    event_timestamp: datetime = field(default_factory=_now, kw_only=True)
    content_type: str = field(default="application/json", kw_only=True)

    def __hash__(self) -> int:
        return hash(self.event_id)  # a payload that is a dict could not be hashed
