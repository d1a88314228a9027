"""The router: ordered rules, first match wins, compiled for speed.

How a row becomes a record, and where it is remembered:

    table  -> Plan    once per form of a table (TableSchema identity): columns found by name
    (event name, topic) -> Way   once per pair: which rule, its topic or template, key, envelope
    row    -> Record  the only work per row: key, value and headers, partition; in `route_all` column by
                      column for all rows of a way, where the envelope can do that and no row is unusual

Both memories are bounded. The topic is judged (`names`) when a way is made, or for each
new text a template gives.

A keyed record's partition is Java's, unless the row asks for one; a keyless one has none,
the sink spreads those. `TopicMissing` is not remembered: the pump refreshes `Topics` and
asks again. Errors of parts know no row; `route` adds which row it was, in one place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import itemgetter
from typing import Literal, TypeVar

from cdc.errors import RowRefused, TopicMissing, UnexpectedUpdate, Unrouted, ValueInvalid
from cdc.model import Original, Record, Row, TableSchema, Topics, Value
from cdc.routing.explain import Reason, reason
from cdc.routing.layouts import NATIVE
from cdc.routing.marks import marked
from cdc.routing.names import TopicNames, shorten
from cdc.routing.originals import identity, original
from cdc.routing.partitioner import Partitioner
from cdc.routing.plans import Plan, Way
from cdc.routing.rules import OutboxTable, Policy, Rule

_FEW = 8
"""Rows of one way that are as well routed one by one."""
_MAX_WAYS = 8192
_MAX_PLANS = 256
_Error = TypeVar("_Error", bound=RowRefused)
_new = tuple.__new__
"""Half the time of calling a NamedTuple."""


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
        self._plans: dict[TableSchema, Plan] = {}
        self._partitioner = Partitioner()
        self._partition = self._partitioner.partition
        self._judged: set[str] = set()

    def route_all(self, rows: Sequence[Row], made: list[Record | None], mark: str | None = None) -> None:
        """Add to `made` what `route` gives for each row. Raises RowRefused; then `made` has what came before."""
        records = None if mark is not None or len(rows) < _FEW else self._by_columns(rows)
        if records is not None:
            made += records
            return
        self._expect(rows)
        route = self.route
        for row in rows:
            made.append(route(row, mark))

    def _expect(self, rows: Iterable[Row]) -> None:
        """These rows are routed next: the hashes of their keys cost less for all at once."""
        keys: list[Value] = []
        for table, values in rows:
            plan = self._plans.get(table)
            if plan is not None and plan.key is not None:
                keys.append(values[plan.key])
        self._partitioner.expect([key for key in keys if key.__class__ is bytes])

    def _by_columns(self, rows: Sequence[Row]) -> list[Record | None] | None:
        """The records of rows of one form, made way by way; None where one has to be looked at by itself."""
        table = rows[0].table
        plan = self._plans.get(table)
        tables, values = zip(*rows, strict=True)
        if plan is None or tables.count(table) != len(rows):
            return None
        of_pair: dict[tuple[Value, Value], list[int]] = {}
        for at, pair in enumerate(map(plan.facts, values)):
            of_pair.setdefault(pair, []).append(at)
        if len(of_pair) * _FEW > len(rows):
            return None
        if plan.key is not None:
            keys = map(itemgetter(plan.key), values)
            self._partitioner.expect([key for key in keys if key.__class__ is bytes])
        made: list[Record | None] = [None] * len(rows)
        for pair, places in of_pair.items():
            way = plan.ways.get(pair)
            records = None if way is None else self._of_way(way, [values[at] for at in places])
            if records is None:
                return None
            if len(of_pair) == 1:
                return [*records]
            for at, record in zip(places, records, strict=True):
                made[at] = record
        return made

    def _of_way(self, way: Way, rows: Sequence[tuple[Value, ...]]) -> Iterable[Record] | None:
        """The records of rows of one way; None where one has to be looked at by itself, or is refused."""
        partitions = self._partitions(way.topic)
        encoded = None if way.encode_all is None or partitions is None else way.encode_all(rows)
        if encoded is None or partitions is None:
            return None
        keys: Iterable[bytes | None] = repeat(None)
        chosen: Iterable[int | None] = repeat(None)
        if way.key is not None:
            try:
                keys = found = [*map(way.key, rows)]
            except (RowRefused, UnicodeEncodeError):
                return None
            chosen = self._partitioner.partitions(found, partitions)
        values, headers = encoded
        fields = zip(repeat(way.topic), chosen, keys, values, headers, repeat(None), strict=False)
        return map(_new, repeat(Record), fields)

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
                    hint="Create the topic, or route these rows to one that exists; then start again. "
                    "Kafka does not show a topic that the user has no right to Describe.",
                )
            value, headers = way.encode(values)
            if mark is not None:
                headers = marked(headers, mark)
            key = None if way.key is None else way.key(values)
            rest = way.rest
            if rest is None:
                partition = None if key is None else self._partition(key, partitions)
                return _new(Record, (topic, partition, key, value, headers, None))
            partition = rest.chosen(values, partitions, topic)
            if partition is None and key is not None:
                partition = self._partition(key, partitions)
            time = None if rest.timestamp is None else rest.timestamp(values)
            return Record(topic, partition, key, value, rest.headers(values, headers), time)
        except UnexpectedUpdate:
            raise
        except RowRefused as error:
            raise self._of_row(error, row) from error
        except UnicodeEncodeError as error:
            raise self._of_row(ValueInvalid("a text of the row cannot be written as UTF-8"), row) from error

    def on_error(self, row: Row) -> Policy:
        """The policy for this row's refusal; `unrouted: stop` and `dead_letter` hold whatever `on_error` says."""
        try:
            plan = self._plan(row.table)
            if row.table.updated:
                return "stop" if plan.outbox.on_update == "fatal" else "skip"
            rule = plan.rule(*plan.names(row.values))
        except RowRefused:
            return self._on_error
        if rule is not None:
            return rule.on_error
        return self._unrouted if self._unrouted in {"stop", "dead_letter"} else self._on_error

    def explain(self, row: Row, record: Record | None) -> Reason:
        """Why `route` did what it did with the row. Raises RowRefused where it could ask no rule."""
        return reason(self._plan(row.table), row.values, record, unrouted=self._unrouted)

    def original(self, row: Row) -> Original:
        """What the row says of itself. Never raises."""
        try:
            layout = self._outbox(row.table).layout
        except RowRefused:
            layout = NATIVE
        return original(row, layout)

    def _plan(self, table: TableSchema) -> Plan:
        plan = self._plans.get(table)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[table] = Plan(table, self._outbox(table))
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

    def _way(self, plan: Plan, values: tuple[Value, ...], pair: tuple[Value, Value]) -> Way | None:
        if plan.table.updated:
            raise self._unexpected(Row(plan.table, values), plan.outbox.on_update)
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
            way = self._make(plan, Rule(headers=plan.outbox.headers), topic)
        if len(plan.ways) >= _MAX_WAYS:
            plan.ways.clear()
        plan.ways[pair] = way
        return way

    def _unexpected(self, row: Row, on_update: str | None) -> UnexpectedUpdate:
        update = UnexpectedUpdate(
            "this row was changed by an UPDATE, which makes no event",
            hint="Find who updates the outbox; with table.op.invalid.behavior: warn under the table's `router` "
            "UPDATEs are passed over.",
        )
        named = self._of_row(update, row)
        named.grave = on_update == "error"
        return named

    def _make(self, plan: Plan, rule: Rule, topic: str | None) -> Way:
        way = plan.way(rule, topic)
        if way.fill is None:
            self._judge(way.topic)
        return way

    def _judge(self, topic: str) -> str:
        if topic not in self._judged:
            self._names.check(topic)
            if len(self._judged) >= _MAX_WAYS:
                self._judged.clear()
            self._judged.add(topic)
        return topic

    def _of_row(self, error: _Error, row: Row) -> _Error:
        """The same error, with the row it is about."""
        what = str(row.table)
        plan = self._plans.get(row.table)
        if plan is not None:
            event_id = identity(row.values[plan.index[plan.layout.columns["id"]]])
            what += f", event {event_id}"
            if plan.name is not None:
                what += f" ({shorten(str(row.values[plan.name]))})"
        return type(error)(f"{what}: {error.message}", hint=error.hint)
