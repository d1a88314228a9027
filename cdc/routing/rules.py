"""The router: ordered rules, first match wins, compiled for speed.

How a row becomes a record, and where it is remembered:

    table  -> _Plan   once per form of a table (TableSchema identity): columns found by name
    (event name, topic) -> _Way   once per pair: which rule, its topic or template, key, envelope
    row    -> Record  the only work per row: key, value and headers, partition

Rules see names and topics only, so a pair decides; both memories are bounded. The topic
is judged (`names`) when a way is made, or for each new text a template gives.

A keyed record's partition is Java's; a keyless one has none, the sink spreads those.
`TopicMissing` is not remembered: the pump refreshes `Topics` and asks again. Errors of
parts know no row; `route` adds which row it was, in one place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal, Protocol

from cdc.errors import ColumnMissing, RowRefused, TopicInvalid, TopicMissing, Unrouted, ValueInvalid
from cdc.model import Header, Original, Record, Row, TableSchema, Topics, Value
from cdc.routing import globs
from cdc.routing.keys import KeyOf, KeyRule
from cdc.routing.layouts import NATIVE, REQUIRED_ROLES, Layout
from cdc.routing.marks import marked
from cdc.routing.names import TopicNames, shorten
from cdc.routing.originals import identity, original
from cdc.routing.partitioner import Partitioner
from cdc.routing.templates import Template

Policy = Literal["stop", "skip", "dead_letter"]
Encode = Callable[[tuple[Value, ...]], tuple[bytes | None, list[Header]]]
_MAX_WAYS = 8192
_MAX_PLANS = 256


class Envelope(Protocol):
    """How a row becomes value and headers; `row_key` says whether the row's own key is the record's."""

    row_key: bool

    def plan(self, table: TableSchema, columns: Mapping[str, str]) -> Encode:
        """Look the columns of the roles up once; the result raises ValueInvalid."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One route: globs, and what to do with the rows they match. `to` None leaves the row's topic."""

    event_name: str | None = None
    topic: str | None = None
    to: Template | None = None
    key: KeyRule | None = None
    key_required: bool = True
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
    """How an outbox table is read: its rules in order, and the envelope where none of them names one."""

    layout: Layout
    envelope: Envelope
    rules: tuple[Rule, ...] = ()


class _Plan:
    """One form of a table, its columns looked up."""

    __slots__ = ("facts", "index", "key", "layout", "name", "outbox", "payload", "table", "topic", "ways")

    def __init__(self, table: TableSchema, outbox: OutboxTable) -> None:
        columns = outbox.layout.columns
        for role in REQUIRED_ROLES:
            if columns[role] not in table.index:
                raise ColumnMissing(
                    f"table {table} has no column {columns[role]!r}, which layout {outbox.layout.name} needs",
                    hint="Correct the table's `layout` or `columns` in the configuration.",
                )
        self.table, self.outbox, self.layout, self.index = table, outbox, outbox.layout, table.index
        self.name, self.payload = table.index[columns["name"]], table.index[columns["payload"]]
        self.topic = table.index.get(columns.get("topic", ""))
        self.key = table.index.get(columns.get("key", ""))
        self.facts: Callable[[tuple[Value, ...]], tuple[Value, Value]] = itemgetter(
            self.name, self.name if self.topic is None else self.topic
        )
        self.ways: dict[tuple[Value, Value], _Way | None] = {}

    def names(self, values: tuple[Value, ...]) -> tuple[str | None, str | None]:
        """Event name and topic of a row as text."""
        topic = None if self.topic is None else _text(values[self.topic], "topic")
        return _text(values[self.name], "event name"), topic

    def rule(self, event_name: str | None, topic: str | None) -> Rule | None:
        """The first rule that matches."""
        return next((rule for rule in self.outbox.rules if rule.matches(event_name, topic)), None)


class _Way:
    """What is done with all rows of one event name and topic."""

    __slots__ = ("encode", "fill", "key", "topic")

    def __init__(
        self, topic: str, fill: Callable[[tuple[Value, ...]], str] | None, key: KeyOf | None, encode: Encode
    ) -> None:
        self.topic, self.fill, self.key, self.encode = topic, fill, key, encode


class RuleRouter:
    """The port `Router`, for the tables of one source.

    `tables` maps `(schema, table)`; `unrouted` and `on_error` are for rows without a rule.
    `dropped_headers` is the counter the envelopes were made with: headers of rows that bore a name of ours.
    """

    def __init__(
        self,
        tables: Mapping[tuple[str, str], OutboxTable],
        topics: Topics,
        names: TopicNames,
        *,
        unrouted: Literal["pass", "stop", "skip", "dead_letter"] = "pass",
        on_error: Policy = "stop",
        dropped_headers: Counter[str] | None = None,
    ) -> None:
        self.dropped_headers: Counter[str] = Counter() if dropped_headers is None else dropped_headers
        self._tables, self._names = dict(tables), names
        self._partitions = topics.partitions
        self._unrouted, self._on_error = unrouted, on_error
        self._plans: dict[TableSchema, _Plan] = {}
        self._partition = Partitioner().partition
        self._judged: set[str] = set()

    def route(self, row: Row, mark: str | None = None) -> Record | None:
        """The row's record; None where `unrouted: skip` passes it over. Raises RowRefused."""
        table, values = row
        try:
            plan = self._plans.get(table) or self._plan(table)
            pair = plan.facts(values)
            try:
                way = plan.ways[pair]
            except KeyError:
                way = self._way(plan, values, pair)
            if way is None:
                return None
            topic = way.topic if way.fill is None else self._judge(way.fill(values))
            partitions = self._partitions(topic)
            if partitions is None:
                raise TopicMissing(
                    f"topic {topic!r} does not exist",
                    hint="Create the topic, or route these rows to one that exists; then start again.",
                )
            value, headers = way.encode(values)
            if mark is not None:
                headers = marked(headers, mark)
            key = None if way.key is None else way.key(values)
            partition = None if key is None else self._partition(key, partitions)
            return Record(topic, partition, key, value, headers, None)
        except RowRefused as error:
            raise self._of_row(error, row) from error
        except UnicodeEncodeError as error:
            raise self._of_row(ValueInvalid("a text of the row cannot be written as UTF-8"), row) from error

    def on_error(self, row: Row) -> Policy:
        """The policy for this row's refusal; `unrouted: stop` and `dead_letter` hold whatever `on_error` says."""
        try:
            plan = self._plan(row.table)
            rule = plan.rule(*plan.names(row.values))
        except RowRefused:
            return self._on_error
        if rule is not None:
            return rule.on_error
        return self._unrouted if self._unrouted in {"stop", "dead_letter"} else self._on_error

    def original(self, row: Row) -> Original:
        """What the row says of itself. Never raises."""
        try:
            layout = self._outbox(row.table).layout
        except RowRefused:
            layout = NATIVE
        return original(row, layout)

    def _plan(self, table: TableSchema) -> _Plan:
        plan = self._plans.get(table)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[table] = _Plan(table, self._outbox(table))
        return plan

    def _outbox(self, table: TableSchema) -> OutboxTable:
        """Servers with lower_case_table_names log names in another case than the configuration has."""
        if found := self._tables.get((table.schema, table.table)):
            return found
        name = (table.schema.casefold(), table.table.casefold())
        for (schema, outbox), found in self._tables.items():
            if (schema.casefold(), outbox.casefold()) == name:
                return found
        raise Unrouted(f"table {table} is not one of this source's tables", hint="Add it to the source's `tables`.")

    def _way(self, plan: _Plan, values: tuple[Value, ...], pair: tuple[Value, Value]) -> _Way | None:
        event_name, topic = plan.names(values)
        rule = plan.rule(event_name, topic)
        way = None
        if rule is not None:
            way = self._make(plan, rule, topic)
        elif self._unrouted in {"stop", "dead_letter"}:
            raise Unrouted(
                f"no route matches event name {shorten(event_name or '')} and topic {shorten(topic or '')}",
                hint="Add a route for it, or let such rows pass with `unrouted: pass`.",
            )
        elif self._unrouted == "pass":
            way = self._make(plan, Rule(), topic)
        if len(plan.ways) >= _MAX_WAYS:
            plan.ways.clear()
        plan.ways[pair] = way
        return way

    def _make(self, plan: _Plan, rule: Rule, topic: str | None) -> _Way:
        envelope = rule.envelope or plan.outbox.envelope
        fill = None
        if rule.to is not None and not rule.to.fixed:
            fill, topic = rule.to.bind(plan.index, plan.layout.column), ""
        else:
            topic = self._judge(_required_topic(topic if rule.to is None else rule.to.head, plan))
        own = plan.key if envelope.row_key else None
        key = _key_of(own, rule, plan)
        return _Way(topic, fill, key, envelope.plan(plan.table, plan.layout.columns))

    def _judge(self, topic: str) -> str:
        if topic not in self._judged:
            self._names.check(topic)
            if len(self._judged) >= _MAX_WAYS:
                self._judged.clear()
            self._judged.add(topic)
        return topic

    def _of_row(self, error: RowRefused, row: Row) -> RowRefused:
        """The same error, with the row it is about."""
        what = str(row.table)
        plan = self._plans.get(row.table)
        if plan is not None:
            event_id = identity(row.values[plan.index[plan.layout.columns["id"]]])
            name = row.values[plan.name]
            what += f", event {event_id} ({shorten(str(name))})"
        return type(error)(f"{what}: {error.message}", hint=error.hint)


def _text(value: Value, what: str) -> str | None:
    """Text of a name or topic column; binary columns hold UTF-8."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise ValueInvalid(f"the {what} is not UTF-8 text") from error
    if value is None or isinstance(value, str):
        return value
    return str(value)


def _required_topic(topic: str | None, plan: _Plan) -> str:
    if topic is None:
        why = "the row's topic is NULL" if plan.topic is not None else "the table has no topic column"
        raise TopicInvalid(f"{why}, and no route sets one", hint="Give these rows a topic with a route.")
    return topic


def _key_of(own: int | None, rule: Rule, plan: _Plan) -> KeyOf | None:
    """The row's own key where it has one, else the rule's."""
    by_rule = None if rule.key is None else rule.key.bind(plan.index, plan.layout.column, plan.payload)
    if by_rule is not None and not rule.key_required:
        by_rule = _allowing_none(by_rule)
    if own is None:
        return by_rule

    def key(values: tuple[Value, ...]) -> bytes | None:
        value: Any = values[own]
        if value is None:
            return None if by_rule is None else by_rule(values)
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, int):
            return b"%d" % value
        raise ValueInvalid(
            f"the row's key is a {type(value).__name__}, and a key is text, bytes or an integer",
            hint="Map another column to the role `key`.",
        )

    return key


def _allowing_none(key: KeyOf) -> KeyOf:
    def allowed(values: tuple[Value, ...]) -> bytes | None:
        try:
            return key(values)
        except RowRefused:
            return None

    return allowed
