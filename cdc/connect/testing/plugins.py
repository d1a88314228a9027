"""The plug-ins of the fake, and how it judges a configuration by them.

The options are a part of the real ones: enough to be wrong in every way that Connect tells apart (missing, not a
number, too small, not empty, of a transform that has no type).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Values = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Known:
    """An option that a plug-in knows."""

    name: str
    type: str = "STRING"
    default: str | None = None
    required: bool = False
    group: str | None = None
    least: int | None = None

    def body(self, name: str | None = None) -> dict[str, Any]:
        """The definition as Connect sends it."""
        return {
            "name": name or self.name,
            "type": self.type,
            "required": self.required,
            "default_value": self.default,
            "importance": "HIGH" if self.required else "LOW",
            "documentation": "",
            "group": self.group,
            "width": "NONE",
            "display_name": name or self.name,
            "dependents": [],
            "order": -1,
        }

    def errors(self, name: str, values: Values) -> list[str]:
        """What is wrong with its value."""
        value = values.get(name)
        if value is None:
            return [f'Missing required configuration "{name}" which has no default value.'] if self.required else []
        if self.type == "BOOLEAN" and value.lower() not in ("true", "false"):
            return [f"Invalid value {value} for configuration {name}: Expected value to be either true or false"]
        if self.type != "INT":
            return []
        try:
            number = int(value)
        except ValueError:
            wrong = [f"Invalid value {value} for configuration {name}: Not a number of type INT"]
            if self.least is not None:
                wrong.append(f"Invalid value null for configuration {name}: Value must be non-null")
            return wrong
        if self.least is not None and number < self.least:
            return [f"Invalid value {value} for configuration {name}: Value must be at least {self.least}"]
        return []


@dataclass(frozen=True, slots=True)
class FakeTransform:
    """A transform, predicate or converter: a class with options."""

    class_: str
    type: str
    version: str
    options: tuple[Known, ...] = ()


@dataclass(frozen=True, slots=True)
class FakePlugin:
    """A connector's class."""

    class_: str
    type: str
    version: str
    options: tuple[Known, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What it may be called."""
        short = self.class_.rpartition(".")[2]
        return self.class_, short, short.removesuffix("Connector")


_COMMON = (
    Known("name", required=True, group="Common"),
    Known("connector.class", required=True, group="Common"),
    Known("connector.plugin.version", group="Common"),
    Known("tasks.max", "INT", "1", group="Common", least=1),
    Known("key.converter", "CLASS", group="Common"),
    Known("value.converter", "CLASS", group="Common"),
    Known("header.converter", "CLASS", group="Common"),
    Known("transforms", "LIST", "", group="Transforms"),
    Known("predicates", "LIST", "", group="Predicates"),
    Known("errors.tolerance", default="none", group="Error Handling"),
    Known("errors.log.enable", "BOOLEAN", "false", group="Error Handling"),
)
_GROUPS = ("Common", "Transforms", "Predicates", "Error Handling")
_OF_SOURCES = (
    Known("topic.creation.groups", "LIST", "", group="Topic Creation"),
    Known("exactly.once.support", default="requested", group="Exactly Once Support"),
    Known("offsets.storage.topic", group="offsets.topic"),
)
_OF_SINKS = (Known("topics", "LIST", "", group="Common"), Known("topics.regex", default="", group="Common"))
_OF_DATABASES = (
    Known("topic.prefix", required=True),
    Known("database.hostname", required=True),
    Known("database.port", "INT", "3306"),
    Known("database.user", required=True),
    Known("database.password", "PASSWORD"),
    Known("database.server.id", "INT", required=True),
    Known("table.include.list", "LIST"),
    Known("snapshot.mode", default="initial"),
    Known("poll.interval.ms", "INT", "500"),
    Known("heartbeat.interval.ms", "INT", "0"),
    Known("extended.headers.enabled", "BOOLEAN", "true"),
)
_FILE = "org.apache.kafka.connect.file.FileStream"
_ROUTER = (
    Known("table.field.event.id", default="id"),
    Known("table.field.event.key", default="aggregateid"),
    Known("table.expand.json.payload", "BOOLEAN", "false"),
    Known("route.by.field", default="aggregatetype"),
    Known("route.topic.regex", default="(?<routedByValue>.*)"),
    Known("route.topic.replacement", default="outbox.event.${routedByValue}"),
)

PLUGINS: tuple[FakePlugin, ...] = (
    FakePlugin(f"{_FILE}SinkConnector", "sink", "4.1.2", (Known("file"),)),
    FakePlugin("io.debezium.connector.mariadb.MariaDbConnector", "source", "3.4.0.Final", _OF_DATABASES),
    FakePlugin("io.debezium.connector.mysql.MySqlConnector", "source", "3.4.0.Final", _OF_DATABASES),
    FakePlugin(
        f"{_FILE}SourceConnector",
        "source",
        "4.1.2",
        (Known("file"), Known("topic", required=True), Known("batch.size", "INT", "2000")),
    ),
)
OTHERS: tuple[FakeTransform, ...] = (
    FakeTransform("io.debezium.transforms.outbox.EventRouter", "transformation", "3.4.0.Final", _ROUTER),
    FakeTransform(
        "org.apache.kafka.connect.transforms.ExtractField$Value",
        "transformation",
        "4.1.2",
        (Known("field", required=True),),
    ),
    FakeTransform("org.apache.kafka.connect.transforms.predicates.RecordIsTombstone", "predicate", "4.1.2"),
    FakeTransform(
        "org.apache.kafka.connect.storage.StringConverter",
        "converter",
        "4.1.2",
        (Known("converter.type", required=True), Known("converter.encoding", default="UTF-8")),
    ),
)


def validate(plugin: FakePlugin, values: Values) -> dict[str, Any]:
    """What ``PUT .../config/validate`` answers."""
    configs: list[dict[str, Any]] = []
    for name, known in _options(plugin, values):
        wrong = known.errors(name, values)
        if name == "name" and values.get(name) is not None:
            wrong = _of_name(values[name] or "")
        if name in ("topics", "topics.regex") and not (values.get("topics") or values.get("topics.regex")):
            wrong = ["Must configure one of topics or topics.regex"]
        given = values.get(name, known.default)
        value = None if known.type == "PASSWORD" or (wrong and known.type == "INT" and not _whole(given)) else given
        configs.append(
            {
                "definition": known.body(name),
                "value": {"name": name, "value": value, "recommended_values": [], "errors": wrong, "visible": True},
            }
        )
    return {
        "name": plugin.class_,
        "error_count": sum(len(one["value"]["errors"]) for one in configs),
        "groups": [*_GROUPS, *dict.fromkeys(one.group for one in _OF_SOURCES if plugin.type == "source")],
        "configs": configs,
    }


def _options(plugin: FakePlugin, values: Values) -> Iterator[tuple[str, Known]]:
    for known in (*_COMMON, *(_OF_SOURCES if plugin.type == "source" else _OF_SINKS)):
        yield known.name, known
    for kind in ("transforms", "predicates"):
        for alias in filter(None, (values.get(kind) or "").split(",")):
            prefix = f"{kind}.{alias.strip()}."
            yield f"{prefix}type", Known("type", "CLASS", required=True)
            found = next((one for one in OTHERS if one.class_ == values.get(f"{prefix}type")), None)
            for known in found.options if found else ():
                yield prefix + known.name, known
    for known in plugin.options:
        yield known.name, known
    # what has an open end is listed as it is given
    yield from ((name, Known(name)) for name in values if name.startswith(("producer.override.", "consumer.override.")))


def _whole(value: str | None) -> bool:
    return value is not None and value.lstrip("-").isdigit()


def _of_name(name: str) -> list[str]:
    if not name:
        return ["Invalid value  for configuration name: String may not be empty"]
    odd = [str(ord(letter)) for letter in name if ord(letter) < 32]  # noqa: PLR2004 - the control characters
    if odd:
        what = f"String may not contain control sequences but had the following ASCII chars: {', '.join(odd)}"
        return [f"Invalid value {name} for configuration name: {what}"]
    return []
