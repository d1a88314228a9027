"""Why a row goes where it goes, in sentences: what `cdc route test` prints beside the record.

Nothing here decides anything: it looks at the same `Plan` and the same rules as the router, in their order, and says
what each of them saw. A row that no rule can be asked about (a name that is no text) raises RowRefused, as there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cdc.errors import RowRefused
from cdc.model import Record
from cdc.routing import globs
from cdc.routing.names import shorten
from cdc.routing.plans import Plan, Values
from cdc.routing.rules import Rule


@dataclass(frozen=True, slots=True)
class Reason:
    """The rule by its number from 0 (None: none matched), what the rules saw of the row, and the sentences."""

    rule: int | None
    event_name: str | None
    topic: str | None
    why: tuple[str, ...]


def reason(plan: Plan, values: Values, record: Record | None, *, unrouted: str) -> Reason:
    """Explain a row; `record` is what became of it, None where it was refused or passed over. Raises RowRefused."""
    event_name, topic = plan.names(values)
    why: list[str] = []
    for number, rule in enumerate(plan.outbox.rules):
        if rule.matches(event_name, topic):
            why.append(f"routes[{number}] matches {_seen(rule, event_name, topic)}")
            why += _consequences(plan, rule, values, record)
            return Reason(number, event_name, topic, tuple(why))
        why.append(f"routes[{number}] does not: {_misses(rule, event_name, topic)}")
    why.append(f"no route matches, and unrouted is {unrouted}")
    if unrouted == "pass":
        why += _consequences(plan, Rule(), values, record)
    return Reason(None, event_name, topic, tuple(why))


def _seen(rule: Rule, event_name: str | None, topic: str | None) -> str:
    parts = [
        f"{what} {_named(text)} ({glob})"
        for what, glob, text in (("event name", rule.event_name, event_name), ("topic", rule.topic, topic))
        if glob is not None
    ]
    return " and ".join(parts) or "every row"


def _misses(rule: Rule, event_name: str | None, topic: str | None) -> str:
    return " and ".join(
        f"{what} {_named(text)} is not like {glob}"
        for what, glob, text in (("event name", rule.event_name, event_name), ("topic", rule.topic, topic))
        if not globs.matches(glob, text)
    )


def _named(text: str | None) -> str:
    return "NULL" if text is None else shorten(text)


def _consequences(plan: Plan, rule: Rule, values: Values, record: Record | None) -> Iterator[str]:
    if rule.to is not None:
        yield f"topic: {'as the route says' if rule.to.fixed else f'by the template {rule.to.text}'}"
    elif plan.outbox.rewrite is not None:
        yield "topic: by route.topic.regex and route.topic.replacement of the table's router"
    else:
        yield "topic: the row's own"
    yield f"key: {_key(plan, rule, values, record)}"
    if record is not None:
        yield f"partition: {_partition(plan, rule, values, record)}"


def _key(plan: Plan, rule: Rule, values: Values, record: Record | None) -> str:
    envelope = rule.envelope or plan.outbox.envelope
    try:
        own = envelope.plan(plan.table, plan.layout.columns).key
        found = None if own is None else own(values)
    except RowRefused as error:
        return error.message
    if found is not None:
        return "the row's own"
    none = "the envelope gives none" if own is None else "the row has none"
    if rule.key is None:
        return f"{none}, and no rule for one"
    where = f"column {rule.key.column}" if rule.key.column else f"{rule.key.text} in the payload"
    if record is not None and record.key is None:
        return f"{none}, {where} gives nothing, and key_missing is null"
    return f"{none}, so from {where}"


def _partition(plan: Plan, rule: Rule, values: Values, record: Record) -> str:
    if record.partition is None:
        return "any, for there is no key: such records are spread"
    encoding = (rule.envelope or plan.outbox.envelope).plan(plan.table, plan.layout.columns)
    if rule.partition is not None:
        at = plan.index.get(plan.layout.column(rule.partition) or "")
        if at is not None and values[at] is not None:
            return f"what column {rule.partition} says"
    elif encoding.partition is not None and encoding.partition(values) is not None:
        return "what the column placed as the partition says"
    return "by murmur2 of the key"
