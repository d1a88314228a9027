"""An AsyncAPI 3.0 document of all topics and events of an EventMap: channels are topics, messages are event versions.

The headers are those of envelope plain, which the native layout has unless told otherwise. A topic by rule,
`orders-{region}`, is a channel with a parameter; one by a function, and one that only the event
itself names, is nothing a document can know: such messages stand under the channel `unknown`, whose
address is null, as AsyncAPI has it for that case. `topics` says where routes send an event.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cdc.outbox.payload import PROTOBUF
from cdc.outbox.registry import EventMap, Registered
from cdc.schema.events import schema_of

VERSION = "3.0.0"
_NO_WORD = re.compile(r"[^a-zA-Z0-9._-]")
_FIELD = re.compile(r"\{([^{}]*)\}")
_TEXT = {"type": "string"}
HEADERS: Mapping[str, Any] = {
    "type": "object",
    "required": ["event_id", "event_name", "content_type", "created_at"],
    "properties": {
        "event_id": {**_TEXT, "format": "uuid", "description": "of the event; a second copy has the same"},
        "event_name": _TEXT,
        "content_type": _TEXT,
        "created_at": {**_TEXT, "format": "date-time", "description": "when the row was written, UTC"},
        "snapshot": {"const": "true", "description": "there if a first start published a row of before"},
        "replay": {"const": "true", "description": "there if it was published again on purpose"},
    },
}
Topics = Callable[[Registered, str | None], str | None]
"""An event and its own topic to the topic it is sent to."""


def document(events: EventMap, *, title: str, version: str, topics: Topics = lambda _, own: own) -> dict[str, Any]:
    """The document, ready to be written as JSON or YAML."""
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    schemas: dict[str, Any] = {"headers": dict(HEADERS)}
    for event in events.registered():
        name = _word(f"{event.event_name}.v{event.version}")
        topic = topics(event, event.topic if isinstance(event.topic, str) else None)
        key = _word(topic) if topic else "unknown"
        channel = channels.setdefault(key, _channel(topic))
        channel["messages"][name] = {"$ref": f"#/components/messages/{name}"}
        schemas[name] = _below(schema_of(event), f"#/components/schemas/{name}")
        messages[name] = _message(event, name)
    operations = {
        f"publish.{key}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{key}"},
            "messages": [{"$ref": f"#/channels/{key}/messages/{name}"} for name in channel["messages"]],
        }
        for key, channel in channels.items()
    }
    return {
        "asyncapi": VERSION,
        "info": {"title": title, "version": version},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _channel(topic: str | None) -> dict[str, Any]:
    if topic is None:
        return {"address": None, "description": "The topic is chosen event by event.", "messages": {}}
    channel: dict[str, Any] = {"address": topic, "messages": {}}
    fields = _FIELD.findall(topic)
    if fields:
        channel["parameters"] = {name: {"description": f"the payload's field {name!r}"} for name in fields}
    else:
        channel["bindings"] = {"kafka": {"topic": topic, "bindingVersion": "0.5.0"}}
    return channel


def _message(event: Registered, name: str) -> dict[str, Any]:
    is_protobuf = hasattr(event.type, "SerializeToString")
    said = event.content_type or (PROTOBUF if is_protobuf else "application/json")
    key: dict[str, Any] = {"type": "string"}
    if isinstance(event.key, str):
        key["description"] = f"the payload's field {event.key!r}"
    return {
        "name": event.event_name,
        "title": f"{event.event_name}, version {event.version}",
        "contentType": said,
        "headers": {"$ref": "#/components/schemas/headers"},
        "payload": {"$ref": f"#/components/schemas/{name}"},
        **({"bindings": {"kafka": {"key": key, "bindingVersion": "0.5.0"}}} if event.key is not None else {}),
    }


def _below(schema: Any, at: str) -> Any:
    """A schema that stands inside another document: its references into itself go there."""
    if isinstance(schema, Mapping):
        return {
            name: f"{at}{value[1:]}" if name == "$ref" and value.startswith("#") else _below(value, at)
            for name, value in schema.items()
            if name not in {"$schema", "$id"}
        }
    return [_below(one, at) for one in schema] if isinstance(schema, list) else schema


def _word(text: str) -> str:
    return _NO_WORD.sub("_", text)
