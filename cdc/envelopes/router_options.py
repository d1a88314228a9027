"""The options of Debezium's Outbox Event Router, spelled as it spells them, checked and made into plain values.

Known here are the transform's own options, the converters', and those of the connector
that change what a record holds. Everything else is refused: options of the connector that
have another place with us say which, and a name nobody knows is a typing mistake, where
the Event Router says nothing. `parse` finds all mistakes, not only the first.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from cdc.envelopes.connect_types import Modes
from cdc.envelopes.converters import AS_IT_IS, SIMPLE_HEADER, BadOption, Converter, converter

CHOICES: Mapping[str, tuple[str, ...]] = {
    "table.op.invalid.behavior": ("warn", "error", "fatal"),
    "table.expand.json.payload": ("true", "false"),
    "table.json.payload.null.behavior": ("ignore", "optional_bytes"),
    "table.fields.additional.error.on.missing": ("true", "false"),
    "route.tombstone.on.empty.payload": ("true", "false"),
    "tracing.with.context.field.only": ("true", "false"),
    "binary.handling.mode": ("bytes", "base64", "base64-url-safe", "hex"),
    "decimal.handling.mode": ("precise", "string", "double"),
    "bigint.unsigned.handling.mode": ("long", "precise"),
    "time.precision.mode": ("adaptive_time_microseconds", "connect", "isostring"),
    "extended.headers.enabled": ("false",),
}
COLUMNS: Mapping[str, str | None] = {
    "table.field.event.id": "id",
    "table.field.event.key": "aggregateid",
    "table.field.event.type": "type",
    "table.field.event.payload": "payload",
    "route.by.field": "aggregatetype",
    "table.field.event.timestamp": None,
    "table.field.event.schema.version": None,
}
"""Options that name a column, with their defaults."""
_TEXTS = (
    "table.fields.additional.placement",
    "route.topic.regex",
    "route.topic.replacement",
    "tracing.span.context.field",
    "tracing.operation.name",
)
KNOWN = (*CHOICES, *COLUMNS, *_TEXTS, "key.converter", "value.converter", "header.converter")
_CONVERTER = re.compile(r"(key|value|header)\.converter(?:\.(.+))?")
ELSEWHERE: Mapping[str, str] = {
    "snapshot.mode": "is `start` of the source here",
    "table.include.list": "is `tables` of the source here",
    "database.include.list": "is `tables` of the source here",
    "database.server.id": "is `server_id` of the source here",
    "topic.prefix": "has no meaning here: no name of ours is made of it",
    "skipped.operations": "has no meaning here: only INSERTs count",
    "tombstones.on.delete": "has no meaning here: only INSERTs count",
    "heartbeat.interval.ms": "is not needed here: the position moves by itself",
    "predicate": "is not needed here: nothing but the rows of this table comes",
    "negate": "is not needed here: nothing but the rows of this table comes",
    "tasks.max": "has no meaning here",
    "errors.tolerance": "is `on_error` here",
    "table.field.additional.missing": "is `table.fields.additional.error.on.missing` in Debezium 3.4",
}
_BEHAVIOURS: Mapping[str, Literal["warn", "error", "fatal"]] = {"warn": "warn", "error": "error", "fatal": "fatal"}
_PLACEMENTS = ("header", "envelope", "partition")
_REGEX, _REPLACEMENT = "(?<routedByValue>.*)", "outbox.event.${routedByValue}"
_GROUP = re.compile(r"\\(.)|\$(\d)|\$\{([a-zA-Z][a-zA-Z0-9]*)\}|([\\$])|([^\\$]+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Placed:
    """A column that goes into the record, and under which name."""

    column: str
    placement: str
    name: str


@dataclass(frozen=True, slots=True)
class TopicRewrite:
    """`route.topic.regex` and `route.topic.replacement`; a value the expression does not match stays as it is."""

    pattern: re.Pattern[str]
    parts: tuple[str | int, ...]

    def __call__(self, value: str) -> str:
        """The topic."""
        if not self.pattern.fullmatch(value):
            return value
        return self.pattern.sub(self._fill, value, count=1)

    def _fill(self, found: re.Match[str]) -> str:
        return "".join(part if isinstance(part, str) else found[part] or "" for part in self.parts)


@dataclass(frozen=True, slots=True)
class RouterOptions:
    """All of it, as plain values; the defaults are the Event Router's."""

    columns: Mapping[str, str] = field(default_factory=dict)
    rewrite: TopicRewrite | None = None
    placed: tuple[Placed, ...] = ()
    missing_is_error: bool = True
    timestamp: str | None = None
    schema_version: str | None = None
    expand: bool = False
    expand_nulls: bool = False
    tombstones: bool = False
    on_update: Literal["warn", "error", "fatal"] | None = None
    modes: Modes = field(default_factory=Modes)
    key: Converter = AS_IT_IS
    value: Converter = AS_IT_IS
    header: Converter = SIMPLE_HEADER
    named: frozenset[str] = frozenset()
    """Options that were given."""

    def needed(self) -> set[str]:
        """Columns beside those of the layout that must be there."""
        must = {one.column for one in self.placed if self.missing_is_error or one.placement == "envelope"}
        return must | {name for name in (self.timestamp, self.schema_version) if name}

    def wanted(self) -> set[str]:
        """Columns beside those of the layout that are read where they are."""
        return self.needed() | {one.column for one in self.placed}


class BadOptions(ValueError):
    """Mistakes, each the option it is about and a sentence."""

    def __init__(self, found: Iterable[tuple[str, str]]) -> None:
        self.found = tuple(found)
        super().__init__("; ".join(f"{option} {sentence}" for option, sentence in self.found))


def text_of(value: str | bool | int) -> str:  # noqa: FBT001 - what YAML gives
    """An option's value as Debezium's properties have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse(given: Mapping[str, str | bool | int]) -> RouterOptions:
    """Read the options. Raises BadOptions with everything that is wrong."""
    texts = {name: text_of(value) for name, value in given.items()}
    found = [*_wrong(texts)]
    made: dict[str, Converter] = {}
    for which, default in (("key", AS_IT_IS), ("value", AS_IT_IS), ("header", SIMPLE_HEADER)):
        try:
            made[which] = _converter(which, texts, default)
        except BadOption as error:
            prefix = f"{which}.converter"
            found.append((f"{prefix}.{error.option}" if error.option else prefix, str(error)))
    rewrite = placed = None
    for option, read in (("route.topic.regex", _rewrite), ("table.fields.additional.placement", _placed)):
        try:
            if read is _rewrite:
                rewrite = _rewrite(texts)
            else:
                placed = _placed(texts.get(option, ""))
        except ValueError as error:
            found.append((option if option in texts else "route.topic.replacement", str(error)))
    if found or placed is None:
        raise BadOptions(found)
    return RouterOptions(
        columns={name: texts.get(name) or default for name, default in COLUMNS.items() if default},
        rewrite=rewrite,
        placed=placed,
        missing_is_error=texts.get("table.fields.additional.error.on.missing") != "false",
        timestamp=texts.get("table.field.event.timestamp"),
        schema_version=texts.get("table.field.event.schema.version"),
        expand=texts.get("table.expand.json.payload") == "true",
        expand_nulls=texts.get("table.json.payload.null.behavior") == "optional_bytes",
        tombstones=texts.get("route.tombstone.on.empty.payload") == "true",
        on_update=_BEHAVIOURS.get(texts.get("table.op.invalid.behavior", "")),
        modes=Modes(
            binary=texts.get("binary.handling.mode", "bytes"),
            decimal=texts.get("decimal.handling.mode", "precise"),
            unsigned=texts.get("bigint.unsigned.handling.mode", "long"),
            time=texts.get("time.precision.mode", "adaptive_time_microseconds"),
        ),
        key=made["key"],
        value=made["value"],
        header=made["header"],
        named=frozenset(texts),
    )


def _wrong(texts: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    for name, text in texts.items():
        choices = CHOICES.get(name)
        if name in ELSEWHERE:
            yield name, ELSEWHERE[name]
        elif name not in KNOWN and not _CONVERTER.fullmatch(name):
            yield name, ""  # unknown
        elif choices is not None and text not in choices:
            yield name, f"must be {choices[0]}" if len(choices) == 1 else f"must be one of {', '.join(choices)}"
        elif not text.strip() and name != "table.fields.additional.placement":
            yield name, "must not be empty"
    if "table.field.event.timestamp" in texts and texts.get("time.precision.mode", "a")[0] != "a":
        yield "table.field.event.timestamp", f"does not go with time.precision.mode: {texts['time.precision.mode']}"


def _converter(which: str, texts: Mapping[str, str], default: Converter) -> Converter:
    prefix = f"{which}.converter"
    options = {name.removeprefix(f"{prefix}."): text for name, text in texts.items() if name.startswith(f"{prefix}.")}
    if prefix in texts:
        if texts[prefix].endswith("SimpleHeaderConverter") and which != "header":
            raise BadOption("", "takes no SimpleHeaderConverter")
        return converter(texts[prefix], options)
    for option in options:
        raise BadOption(option, f"needs {prefix} beside it")
    return default


def _placed(text: str) -> tuple[Placed, ...]:
    """`column:placement[:name]`, separated by commas."""
    out: list[Placed] = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        column, _, rest = part.partition(":")
        placement, _, name = rest.partition(":")
        word = placement.strip().lower()
        if word not in _PLACEMENTS or not column.strip():
            raise ValueError(f"{part!r} is not column:placement or column:placement:name ({', '.join(_PLACEMENTS)})")
        out.append(Placed(column.strip(), word, name.strip() or column.strip()))
    fields = ["payload", *(one.name for one in out if one.placement == "envelope")]
    if twice := next((name for name in fields if fields.count(name) > 1), None):
        raise ValueError(f"puts {twice!r} into the envelope twice: give one of them another name")
    if sum(one.placement == "partition" for one in out) > 1:
        raise ValueError("names more than one column for the partition")
    return tuple(out)


def _rewrite(texts: Mapping[str, str]) -> TopicRewrite:
    """Java's expression as ours. What both spell in the same way but mean otherwise is refused, too."""
    java = texts.get("route.topic.regex", _REGEX)
    ours = re.sub(r"\(\?<([a-zA-Z][a-zA-Z0-9]*)>", r"(?P<\1>", java)
    ours = re.sub(r"\\k<([a-zA-Z][a-zA-Z0-9]*)>", r"(?P=\1)", ours)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pattern = re.compile(ours, re.ASCII)
    except (re.error, Warning) as error:
        raise ValueError(f"is an expression we cannot read: {error}") from error
    return TopicRewrite(pattern, _parts(texts.get("route.topic.replacement", _REPLACEMENT), pattern))


def _parts(text: str, pattern: re.Pattern[str]) -> tuple[str | int, ...]:
    r"""Java's replacement: `$1`, `${name}`, `\\` before a character that is meant as it is."""
    parts: list[str | int] = []
    at = 0
    while at < len(text):
        found = _GROUP.match(text, at)
        escaped, number, name, lone, plain = found.groups() if found else (None,) * 5
        at = found.end() if found else len(text)
        if lone or not found:
            raise ValueError(f"the replacement has a lone {lone!r}: write \\{lone} for the character")
        if number is not None:
            group = int(number)
            while at < len(text) and text[at].isdigit() and group * 10 + int(text[at]) <= pattern.groups:
                group, at = group * 10 + int(text[at]), at + 1
            if group > pattern.groups:
                raise ValueError(f"the replacement names group {group}, and the expression has {pattern.groups}")
            parts.append(group)
        elif name is not None:
            if name not in pattern.groupindex:
                raise ValueError(f"the replacement names group {name!r}, which the expression has not")
            parts.append(pattern.groupindex[name])
        else:
            parts.append(escaped or plain or "")
    return tuple(parts)
