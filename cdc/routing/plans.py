"""What is decided before the first row: a table's form once (`Plan`), an event name and topic once (`Way`).

    table               -> Plan   once per form of a table (TableSchema identity): columns found by name
    (event name, topic) -> Way    once per pair: which rule, its topic or template, key, envelope

Rules see names and topics only, so a pair decides. Where the table's layout rewrites
topics (the Event Router's expression), rules, templates and rows without a rule all see
the rewritten one.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import itemgetter

from cdc.errors import ColumnMissing, PartitionInvalid, RowRefused, TopicInvalid, ValueInvalid
from cdc.model import Encoding, Header, TableSchema, Value
from cdc.routing.headers import Adjust
from cdc.routing.keys import KeyOf
from cdc.routing.layouts import REQUIRED_ROLES
from cdc.routing.rules import OutboxTable, Rule

Values = tuple[Value, ...]
_NO_COLUMN_HINT = "Correct the table's `layout` or `columns` in the configuration."


class Plan:
    """One form of a table, its columns looked up. `ways` is the router's memory, by what `facts` gives."""

    __slots__ = ("facts", "index", "key", "layout", "name", "outbox", "payload", "table", "topic", "ways")

    def __init__(self, table: TableSchema, outbox: OutboxTable) -> None:
        layout, index = outbox.layout, table.index
        for role in REQUIRED_ROLES:
            if role not in layout.optional and layout.columns[role] not in index:
                raise ColumnMissing(
                    f"table {table} has no column {layout.columns[role]!r}, which layout {layout.name} needs",
                    hint=_NO_COLUMN_HINT,
                )
        self.table, self.outbox, self.layout, self.index = table, outbox, layout, index
        self.payload = index[layout.columns["payload"]]
        self.name = index.get(layout.columns["name"])
        self.topic = index.get(layout.columns.get("topic", ""))
        self.key = index.get(layout.columns.get("key", ""))
        one, other = self.name if self.name is not None else self.topic, self.topic
        self.facts: Callable[[Values], tuple[Value, Value]] = (
            (lambda _: (None, None)) if one is None else itemgetter(one, one if other is None else other)
        )
        self.ways: dict[tuple[Value, Value], Way | None] = {}

    def names(self, values: Values) -> tuple[str | None, str | None]:
        """Event name and topic of a row as text."""
        event_name = None if self.name is None else _text(values[self.name], "event name")
        topic = None if self.topic is None else _text(values[self.topic], "topic")
        rewrite = self.outbox.rewrite
        return event_name, topic if rewrite is None or topic is None else rewrite(topic)

    def rule(self, event_name: str | None, topic: str | None) -> Rule | None:
        """The first rule that matches."""
        return next((rule for rule in self.outbox.rules if rule.matches(event_name, topic)), None)

    def way(self, rule: Rule, topic: str | None) -> Way:
        """What the rule does with rows of this form that want to go to this topic."""
        encoding = (rule.envelope or self.outbox.envelope).plan(self.table, self.layout.columns)
        fill = None
        if rule.to is not None and not rule.to.fixed:
            fill, topic = self._filler(rule, topic), ""
        elif rule.to is not None:
            topic = rule.to.head
        if topic is None:
            why = "the row's topic is NULL" if self.topic is not None else "the table has no topic column"
            raise TopicInvalid(f"{why}, and no route sets one", hint="Give these rows a topic with a route.")
        partition = encoding.partition if rule.partition is None else self._partition(rule.partition)
        adjust = None if rule.headers is None else rule.headers.bind(self.index, self.layout.column)
        rest = None
        if partition is not None or adjust is not None or encoding.timestamp is not None:
            rest = Rest(partition, encoding.timestamp, adjust)
        return Way(topic, fill, self._key(encoding, rule), encoding, rest)

    def _filler(self, rule: Rule, topic: str | None) -> Callable[[Values], str] | None:
        """A template's function. `{topic}` is the same for all rows of a way, so it is filled in here."""
        to = rule.to
        if to is None:
            return None
        if topic is not None:
            to = to.given("topic", topic)
        return to.bind(self.index, self.layout.column)

    def _key(self, encoding: Encoding, rule: Rule) -> KeyOf | None:
        """The row's own key where it has one, else the rule's."""
        own = encoding.key
        by_rule = None if rule.key is None else rule.key.bind(self.index, self.layout.column, self.payload)
        if by_rule is not None and not rule.key_required:
            by_rule = _allowing_none(by_rule)
        if own is None or by_rule is None:
            return own or by_rule
        either: tuple[KeyOf, KeyOf] = (own, by_rule)

        def key(values: Values) -> bytes | None:
            found = either[0](values)
            return either[1](values) if found is None else found

        return key

    def _partition(self, name: str) -> Callable[[Values], int | None]:
        at = self.index.get(self.layout.column(name) or "")
        if at is None:
            raise PartitionInvalid(
                f"the partition is column {name!r}, and the table has no such column",
                hint=f"Columns of the row: {', '.join(self.index)}.",
            )

        def partition(values: Values) -> int | None:
            value = values[at]
            if value is None or isinstance(value, int):
                return value
            raise PartitionInvalid(
                f"the partition is column {name!r}, which is no integer in this row",
                hint="Correct the row's writer, or the route's `partition`.",
            )

        return partition


class Rest:
    """What only some ways have: a partition the row asks for, a time of its own, rules for headers."""

    __slots__ = ("adjust", "partition", "timestamp")

    def __init__(
        self,
        partition: Callable[[Values], int | None] | None,
        timestamp: Callable[[Values], int | None] | None,
        adjust: Adjust | None,
    ) -> None:
        self.partition, self.timestamp, self.adjust = partition, timestamp, adjust

    def chosen(self, values: Values, partitions: int, topic: str) -> int | None:
        """The partition the row asks for. Raises PartitionInvalid where the topic does not have it."""
        found = None if self.partition is None else self.partition(values)
        if found is not None and not 0 <= found < partitions:
            raise PartitionInvalid(
                f"the row asks for partition {found}, and topic {topic!r} has {partitions} (from 0)",
                hint="Correct the row's writer, or give the topic more partitions.",
            )
        return found

    def headers(self, values: Values, headers: list[Header]) -> list[Header]:
        """As the route wants them."""
        return headers if self.adjust is None else self.adjust(values, headers)


class Way:
    """What is done with all rows of one event name and topic; `fill` where a template needs the row.

    `encode_all` is there where nothing but key, value and headers is asked of a row.
    """

    __slots__ = ("encode", "encode_all", "fill", "key", "rest", "topic")

    def __init__(
        self,
        topic: str,
        fill: Callable[[Values], str] | None,
        key: KeyOf | None,
        encoding: Encoding,
        rest: Rest | None,
    ) -> None:
        self.topic, self.fill, self.key, self.encode, self.rest = topic, fill, key, encoding.encode, rest
        self.encode_all = encoding.encode_all if fill is None and rest is None else None


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


def _allowing_none(key: KeyOf) -> KeyOf:
    def allowed(values: Values) -> bytes | None:
        try:
            return key(values)
        except RowRefused:
            return None

    return allowed
