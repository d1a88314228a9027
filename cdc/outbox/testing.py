"""For tests of applications: an Outbox that needs no database, and assertions about what it was given.

    outbox = RecordingOutbox()                    # in place of Outbox(), with the same arguments
    place_order(outbox, session, ...)
    assert_written(outbox, "order.created", topic="orders", key="o-1", payload={"id": 1})

Events are checked as a real Outbox checks them, so a bad one fails the test. Whatever the
code gives as session or cursor is ignored, None is fine; a transaction is known only where
the code uses a bound unit: its rollback takes its events back. The pytest fixtures are in
`cdc.pytest_plugin`.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cdc.outbox.payload import payload_bytes
from cdc.outbox.row import NewRow
from cdc.outbox.writer import Outbox


@dataclass(frozen=True, slots=True)
class Written:
    """An event as its row has it."""

    event_name: str
    topic: str
    key: bytes | None
    payload: bytes | None
    headers: Mapping[str, str]
    content_type: str
    event_id: UUID
    created_at: datetime

    def json(self) -> Any:
        """The payload, read as JSON."""
        return None if self.payload is None else json.loads(self.payload)


class RecordingOutbox(Outbox):
    """An Outbox that keeps what it is given in `written`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.written: list[Written] = []

    def clear(self) -> None:
        """Forget all."""
        self.written.clear()

    def write(self, target: Any, rows: Sequence[NewRow]) -> None:  # noqa: ARG002  # no database
        """Keep the rows."""
        self.written += [_written(row) for row in rows]

    async def write_async(self, target: Any, rows: Sequence[NewRow]) -> None:
        """Keep the rows."""
        self.write(target, rows)

    def bind(self, session: Any = None) -> Any:
        """A unit whose rollback takes its events back; its commit and rollback may be awaited or not."""
        return _Unit(self, session)


class _Unit:
    """A unit of work for both kinds of handlers; a session, where there is one, is told, too."""

    def __init__(self, outbox: RecordingOutbox, session: Any) -> None:
        self.outbox = outbox
        self.session = session
        self._open: list[Written] = []

    def add(self, event: object) -> None:
        self.add_all((event,))

    def add_all(self, events: Any) -> None:
        before = len(self.outbox.written)
        self.outbox.add_all(self.session, events)
        self._open += self.outbox.written[before:]

    def commit(self) -> _Done:
        self._open.clear()
        return _Done(None if self.session is None else self.session.commit())

    def rollback(self) -> _Done:
        undone = {id(one) for one in self._open}
        self.outbox.written[:] = [one for one in self.outbox.written if id(one) not in undone]
        self._open.clear()
        return _Done(None if self.session is None else self.session.rollback())


class _Done:
    """An answer that can be awaited and need not be."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Generator[Any, None, None]:
        if hasattr(self._answer, "__await__"):
            yield from self._answer.__await__()


_ANY: Any = object()


def assert_written(
    outbox: RecordingOutbox,
    event_name: str,
    *,
    topic: str = _ANY,
    key: str | bytes | None = _ANY,
    payload: Any = _ANY,
    headers: Mapping[str, str] | None = None,
    count: int = 1,
) -> Written:
    """That exactly `count` such events were written; the first of them. What is not said may be anything.

    payload is compared as the row would have it, JSON by its values; of headers those that are given.
    """
    __tracebackhide__ = True
    wanted_key = key.encode() if isinstance(key, str) else key
    found = [
        one
        for one in outbox.written
        if one.event_name == event_name
        and topic in {_ANY, one.topic}
        and (key is _ANY or wanted_key == one.key)
        and (payload is _ANY or _same(payload, one))
        and {**one.headers, **(headers or {})} == one.headers
    ]
    if len(found) != count:
        there = "\n".join(f"  {one}" for one in outbox.written) or "  nothing"
        raise AssertionError(f"{len(found)} such events {event_name!r}, not {count}; written were:\n{there}")
    return found[0] if found else None  # type: ignore[return-value]  # count=0 asks for nothing


def assert_nothing_written(outbox: RecordingOutbox) -> None:
    """That no event was written."""
    __tracebackhide__ = True
    if outbox.written:
        raise AssertionError("written were:\n" + "\n".join(f"  {one}" for one in outbox.written))


def _same(payload: Any, one: Written) -> bool:
    wanted = payload_bytes(payload)
    if wanted == one.payload or wanted is None or one.payload is None:
        return wanted == one.payload
    try:
        return bool(json.loads(wanted) == one.json())
    except ValueError:
        return False


def _written(row: NewRow) -> Written:
    return Written(
        event_name=row.event_name,
        topic=row.topic,
        key=row.event_key,
        payload=row.payload,
        headers=json.loads(row.headers) if row.headers else {},
        content_type=row.content_type,
        event_id=UUID(bytes=row.event_id),
        created_at=row.created_at,
    )
