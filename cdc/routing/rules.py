"""What a router is told: rules, outbox tables, what it expects of an envelope. Plain values, compiled by `plans`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from cdc.model import Encoding, TableSchema
from cdc.routing import globs
from cdc.routing.headers import HeaderRules
from cdc.routing.keys import KeyRule
from cdc.routing.layouts import Layout
from cdc.routing.templates import Template

Policy = Literal["stop", "skip", "dead_letter"]


class Envelope(Protocol):
    """How a row becomes key, value and headers."""

    def plan(self, table: TableSchema, columns: Mapping[str, str]) -> Encoding:
        """Look the columns of the roles up once. Raises ColumnMissing; the result raises ValueInvalid."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One route: globs, and what to do with the rows they match. `to` None leaves the row's topic.

    `partition` is a column that holds the number of the partition; where it is NULL the key decides.
    """

    event_name: str | None = None
    topic: str | None = None
    to: Template | None = None
    key: KeyRule | None = None
    key_required: bool = True
    partition: str | None = None
    headers: HeaderRules | None = None
    envelope: Envelope | None = None
    on_error: Policy = "stop"

    def matches(self, event_name: str | None, topic: str | None) -> bool:
        """Do both globs fit?"""
        return globs.matches(self.event_name, event_name) and globs.matches(self.topic, topic)

    def covers(self, other: Rule) -> bool:
        """Can no row reach `other` behind this one?"""
        return globs.covers(self.event_name, other.event_name) and globs.covers(self.topic, other.topic)


@dataclass(frozen=True, slots=True)
class OutboxTable:
    """How an outbox table is read: its rules in order, and the envelope where none of them names one.

    `headers` is for rows without a rule.
    `rewrite` makes the row's topic of what stands in its topic column; `on_update` says what an UPDATE of a row
    is: fatal, or something to be told (warn, error); None: nothing.
    """

    layout: Layout
    envelope: Envelope
    rules: tuple[Rule, ...] = ()
    headers: HeaderRules | None = None
    rewrite: Callable[[str], str] | None = None
    on_update: Literal["warn", "error", "fatal"] | None = None
