"""`cdc dead-letters`: look at parked rows, send them again through today's routes, or put them away.

Who is chosen is said by filters; all that are given must fit. A replay is planned first: each letter's row goes
through the routes as they are now, and its record bears the header `replay`. Order is not restored: a
replayed record comes after all that was published for its key meanwhile.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from cdc.errors import ConfigError, RowRefused, ValueInvalid
from cdc.kafka import KafkaTopics
from cdc.kafka.dead_letters import DeadLetter, encode_headers
from cdc.kafka.letter_box import Contents, Done, Kept, LetterBox
from cdc.model import Record, Row
from cdc.routing import globs
from cdc.settings import Settings

ORDER = "order is not restored: a replayed record comes after all that was published for its key meanwhile"


class Routes(Protocol):
    """Rows to records; a router of one source."""

    def route(self, row: Row, mark: str | None = None) -> Record | None:
        """The row's record."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Which letters are meant; what is not said matches all. Times in milliseconds, of when a row was parked."""

    source: str | None = None
    reason: str | None = None
    event_name: str | None = None
    since: int | None = None
    until: int | None = None
    keys: frozenset[str] = frozenset()
    """Whole keys, or event ids."""

    def match(self, kept: Kept) -> bool:
        """Is it one of them?"""
        letter = kept.letter
        return (
            self.source in (None, letter.source)
            and self.reason in (None, letter.reason)
            and (self.event_name is None or globs.matches(self.event_name, letter.event_name))
            and (self.since is None or kept.parked_at >= self.since)
            and (self.until is None or kept.parked_at < self.until)
            and (not self.keys or letter.event_id in self.keys or text_of(letter.key) in self.keys)
        )

    @property
    def empty(self) -> bool:
        """Do they match everything?"""
        return self == Filters()


@dataclass(frozen=True, slots=True)
class Fate:
    """What a replay would make of one letter: a topic, or why it stays parked."""

    kept: Kept
    topic: str | None
    stays: str | None = None

    def as_data(self) -> dict[str, Any]:
        """For output."""
        letter = self.kept.letter
        return {
            "key": text_of(letter.key),
            "event_name": letter.event_name,
            "reason": letter.reason,
            "to": self.topic,
            "stays_parked": self.stays,
        }


class DeadLetters:
    """The commands, on one configuration."""

    def __init__(self, settings: Settings, *, say: Callable[[str], None] = lambda _: None) -> None:
        self._settings = settings
        self._box = LetterBox(settings.kafka.address(), settings.kafka.prefix, say=say)
        self._topics = KafkaTopics(settings.kafka.address())
        self._routers: dict[str, Routes] = {}
        self.topic = self._box.topic

    async def close(self) -> None:
        """Let go."""
        await self._box.close()
        await self._topics.close()

    async def contents(self) -> Contents:
        """All that is in the topic."""
        return await self._box.contents()

    async def whole(self, chosen: Iterable[Kept]) -> AsyncIterator[DeadLetter]:
        """The chosen ones with payload and row."""
        wanted = {kept.letter.key: kept.offset for kept in chosen}
        async for letter in self._box.whole(wanted):
            yield letter

    async def plan(self, chosen: Iterable[Kept]) -> list[Fate]:
        """What a replay would do. Sends nothing."""
        await self._topics.start()
        by_key = {kept.letter.key: kept for kept in chosen}
        fates = []
        async for letter in self.whole(by_key.values()):
            kept = by_key[letter.key]
            try:
                record = self._route(letter)
            except RowRefused as error:
                fates.append(Fate(kept, None, f"{error.reason}: {error}"))
            else:
                fates.append(
                    Fate(kept, record.topic)
                    if record
                    else Fate(kept, None, "today's routes pass it over (unrouted: skip)")
                )
        return fates

    async def replay(self, filters: Filters) -> Done:
        """Do it. Raises SinkError."""
        await self._topics.start()
        return await self._box.replay(filters.match, self._route)

    async def dismiss(self, filters: Filters, note: str | None) -> Done:
        """Mark them as dismissed. Raises SinkError."""
        return await self._box.dismiss(filters.match, {"note": note} if note else {})

    def _route(self, letter: DeadLetter) -> Record | None:
        """A letter's record by today's routes."""
        if letter.row is None:
            raise ValueInvalid("the letter does not hold its row", hint="read its value: cdc dead-letters show KEY")
        router = self._routers.get(letter.source)
        if router is None:
            try:
                router = self._settings.router_for(letter.source, self._topics)
            except ConfigError as error:
                raise ValueInvalid(
                    f"its source {letter.source} is not in the configuration", hint=error.hint
                ) from error
            self._routers[letter.source] = router
        return router.route(letter.row, "replay")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[DeadLetters]:
    """The commands, closed at the end."""
    letters = DeadLetters(settings)
    try:
        yield letters
    finally:
        await letters.close()


def as_data(kept: Kept) -> dict[str, Any]:
    """A letter in a list."""
    letter, mark = kept.letter, kept.mark
    return {
        "key": text_of(letter.key),
        "state": mark.what if mark else "parked",
        "parked_at": time_of(kept.parked_at),
        "source": letter.source,
        "event_id": letter.event_id,
        "event_name": letter.event_name,
        "reason": letter.reason,
        "error": letter.error,
        "table": letter.table,
        "position": letter.position,
        "original_topic": letter.original_topic,
        "original_key": _readable(letter.original_key),
        "size": kept.size,
        "mark": dict(mark.note) if mark else None,
    }


def whole_as_data(kept: Kept, letter: DeadLetter) -> dict[str, Any]:
    """A letter with all that was kept."""
    row = letter.row
    return as_data(kept) | {
        "original_headers": encode_headers(letter.original_headers).decode("utf-8", "replace"),
        "row": row and {name: _readable(value) for name, value in row.as_dict().items()},
        "value": _readable(letter.value),
    }


def summary(fates: Iterable[Fate]) -> Mapping[tuple[str, str, str, str], int]:
    """How many of each source, reason, event name and fate."""
    counts: dict[tuple[str, str, str, str], int] = {}
    for fate in fates:
        letter = fate.kept.letter
        what = fate.topic or f"stays parked: {(fate.stays or '').partition(':')[0]}"
        group = (letter.source, letter.reason, letter.event_name or "", what)
        counts[group] = counts.get(group, 0) + 1
    return counts


def text_of(key: bytes) -> str:
    """A key as people write it."""
    return key.decode("utf-8", "replace")


def time_of(milliseconds: int) -> str:
    """RFC 3339, UTC."""
    at = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _readable(value: object) -> object:
    """Text where bytes are text, else base64."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
