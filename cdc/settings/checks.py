"""What single options cannot know: contradictions between the parts of a whole configuration.

Each check yields the path and a sentence; `load` adds the places.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cdc.envelopes.router_options import KNOWN, BadOptions
from cdc.routing import templates
from cdc.routing.layouts import WORDS
from cdc.settings.document import Path, spell
from cdc.settings.problems import similar
from cdc.settings.routes import RecordSettings
from cdc.settings.sources import TableSettings, split_table
from cdc.settings.whole import Settings

Finding = tuple[Path, str]
_LOOPBACK = {"localhost": "127.0.0.1", "::1": "127.0.0.1"}
_NEVER_IN_TOPICS = {"event_id", "payload", "headers", "created_at"}


def findings(settings: Settings) -> Iterator[Finding]:
    """All of them."""
    yield from _tables_twice(settings)
    yield from _unreachable(settings)
    yield from _names(settings)
    yield from _topics(settings)
    yield from _routers(settings)
    yield from _wishes(settings)


def _tables_twice(settings: Settings) -> Iterator[Finding]:
    """A row must have one tailer: two would publish it twice."""
    seen: dict[tuple[str, int, str, str], Path] = {}
    for name, source in settings.sources.items():
        address = source.address
        host = address.host.lower()
        for full in source.tables:
            schema, table = split_table(full)
            key = (_LOOPBACK.get(host, host), address.port, schema.casefold(), table.casefold())
            path: Path = ("sources", name, "tables", full)
            if key in seen:
                yield (
                    path,
                    f"this table of {address} is already read as {spell(seen[key])}: its rows would go out twice",
                )
            seen.setdefault(key, path)


def _unreachable(settings: Settings) -> Iterator[Finding]:
    rules = [route.as_rule() for route in settings.routes]
    for at, rule in enumerate(rules):
        earlier = next((i for i in range(at) if rules[i].covers(rule)), None)
        if earlier is not None:
            yield (
                ("routes", at),
                f"can never match: routes[{earlier}] takes all of its rows; put the narrower one first",
            )


def _names(settings: Settings) -> Iterator[Finding]:
    """A column we do not know may be one of the table's own; one letter off a known name is a typing mistake."""
    known = set(WORDS)
    for source in settings.sources.values():
        for table in source.tables.values():
            known |= table.as_layout().known()
    for at, route in enumerate(settings.routes):
        for option, name in route.names():
            path: Path = ("routes", at, option)
            if option == "topic" and name in _NEVER_IN_TOPICS:
                yield path, f"{{{name}}} cannot be part of a topic's name"
            elif name not in known and (meant := next((word for word in sorted(known) if _one_off(name, word)), None)):
                yield path, f'unknown name "{name}"; did you mean "{meant}"?'


def _topics(settings: Settings) -> Iterator[Finding]:
    names = settings.topic_names()
    for at, route in enumerate(settings.routes):
        if route.topic is None:
            continue
        template = templates.parse(route.topic)
        path: Path = ("routes", at, "topic")
        if template.fixed:
            if error := names.verdict(template.head):
                yield path, error.message
        elif names.reserved(template.head):
            yield path, f"begins with {template.head!r}: rows may not address {settings.kafka.prefix}.* or __* topics"
        elif any(
            char
            for text in template.parts[0::2]
            for char in text
            if not (char.isascii() and (char.isalnum() or char in "._-"))
        ):
            yield path, "holds a character that Kafka takes in no topic name: letters, digits, '.', '_' and '-' only"


def _routers(settings: Settings) -> Iterator[Finding]:
    """`router:` of each table, every mistake in it at its own place."""
    for source, full, table in settings.tables():
        path: Path = ("sources", source, "tables", full, "router")
        if table.router and table.layout != "debezium":
            yield path, "belongs to layout debezium"
            continue
        try:
            rewrite = table.router_options().rewrite
        except BadOptions as error:
            for option, sentence in error.found:
                said = sentence or f"unknown option{similar(option, KNOWN) or '; it is none of the Event Router'}"
                yield (*path, option), said
            continue
        head = rewrite.parts[0] if rewrite is not None and rewrite.parts else ""
        if table.router and isinstance(head, str) and settings.topic_names().reserved(head):
            yield (
                (*path, "route.topic.replacement"),
                f"begins with {head!r}: rows may not address {settings.kafka.prefix}.* or __* topics",
            )


def _wishes(settings: Settings) -> Iterator[Finding]:
    """Options of records that their envelope, or the layout, has no use for."""
    everywhere = list(settings.tables())
    for source, full, table in everywhere:
        yield from _of_record(("sources", source, "tables", full), table, {table.envelope_name}, {full: table})
    tables = {full: table for _, full, table in everywhere}
    for at, route in enumerate(settings.routes):
        envelopes: set[str] = {route.envelope or table.envelope_name for table in tables.values()}
        yield from _of_record(("routes", at), route, envelopes, tables)


def _of_record(
    path: Path, record: RecordSettings, envelopes: set[str], tables: Mapping[str, TableSettings]
) -> Iterator[Finding]:
    if record.ce_source and "cloudevents" not in envelopes:
        yield (*path, "ce_source"), "belongs to envelope cloudevents"
    only_debezium = envelopes == {"debezium"}
    if record.inflate and only_debezium:
        yield (*path, "inflate"), "does not go with envelope debezium"
    if record.timestamp == "created_at":
        if only_debezium:
            yield (
                (*path, "timestamp"),
                "does not go with envelope debezium: say table.field.event.timestamp in the table's `router`",
            )
        elif without := [full for full, table in tables.items() if "timestamp" not in table.as_layout().columns]:
            yield (
                (*path, "timestamp"),
                f"needs a time, and {', '.join(without)} has none: map a column, `columns: {{timestamp: ...}}`",
            )


def _one_off(name: str, word: str) -> bool:
    """Is it the same but for one letter too many, too few, wrong, or two exchanged?"""
    if name == word or abs(len(name) - len(word)) > 1:
        return False
    at = next((i for i, (a, b) in enumerate(zip(name, word, strict=False)) if a != b), min(len(name), len(word)))
    rest, other = name[at:], word[at:]
    return (
        rest[1:] == other
        or rest == other[1:]
        or rest[1:] == other[1:]
        or (rest[:2] == other[1::-1] and rest[2:] == other[2:])
    )
