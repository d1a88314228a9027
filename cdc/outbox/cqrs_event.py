"""An event class for python-cqrs with what a row of ours can hold; got as `cdc.outbox.cqrs.NotificationEvent`.

A module of its own, because only this one needs pydantic, which python-cqrs 5.x does without.
"""

from __future__ import annotations

import typing
import uuid
from typing import TypeVar

import cqrs
import pydantic

from cdc.outbox.event import new_event_id

T = TypeVar("T")


class NotificationEvent(cqrs.PydanticNotificationEvent[T], typing.Generic[T]):  # type: ignore[misc]
    """The library's pydantic event with a UUIDv7, and a key and headers of its own."""

    event_id: uuid.UUID = pydantic.Field(default_factory=new_event_id)
    key: str | bytes | None = pydantic.Field(default=None, exclude=True)
    headers: dict[str, str] | None = pydantic.Field(default=None, exclude=True)
