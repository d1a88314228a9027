"""The JSON Schema (2020-12) of an event's payload, as it will stand in Kafka, made from its registered type.

pydantic makes it for its models, dataclasses, TypedDicts and plain types, in the form they are
*written* in (`mode="serialization"`), which is what a consumer meets. A protobuf message's is
the one of its JSON form, with each field's number in `x-number`: the bytes are protobuf's, and
numbers are what they stand on. An event with a codec of its own is described by its type;
`x-codec` says that the bytes are the codec's.

`x-event`, `x-version`, `x-topic` and `x-key` are ours: what belongs to the event beside its payload.
`examples` of a file are its users'; they are kept when it is written again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc.errors import ConfigError
from cdc.outbox.registry import Registered

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NUMBERS = {1: "number", 2: "number", 8: "boolean", 9: "string", 12: "string", 14: "string"}
"""Protobuf's field types that are no integers, as its JSON form has them: double, float, bool, string, bytes, enum."""
_INT64 = (3, 4, 6, 16, 18)
_MESSAGES = (10, 11)
_BYTES, _ENUM, _REPEATED = 12, 14, 3


def schema_of(event: Registered) -> dict[str, Any]:
    """The schema of one version. Raises ConfigError where the type has none."""
    body = _of_type(event)
    title = body.pop("title", None) or getattr(event.type, "__qualname__", event.event_name)
    head: dict[str, Any] = {
        "$schema": DIALECT,
        "$id": f"urn:event:{event.event_name}:{event.version}",
        "title": title,
        "x-event": event.event_name,
        "x-version": event.version,
    }
    rules = (("x-topic", event.topic), ("x-key", event.key))
    head |= {name: rule for name, rule in rules if isinstance(rule, str)}
    if event.content_type is not None:
        head["x-content-type"] = event.content_type
    if event.codec is not None:
        head["x-codec"] = getattr(event.codec, "__qualname__", type(event.codec).__name__)
    return head | body


def _of_type(event: Registered) -> dict[str, Any]:
    descriptor = getattr(event.type, "DESCRIPTOR", None)
    if descriptor is not None and hasattr(event.type, "SerializeToString"):
        return _of_message(descriptor)
    from pydantic import TypeAdapter  # noqa: PLC0415 - only this needs it
    from pydantic.errors import PydanticUserError  # noqa: PLC0415

    try:
        # as the write library writes it: by the fields' own names, unless the model says otherwise
        by_alias = bool(getattr(event.type, "model_config", {}).get("serialize_by_alias", False))
        return dict(TypeAdapter(event.type).json_schema(mode="serialization", by_alias=by_alias))
    except PydanticUserError as error:
        raise ConfigError(
            f"event {event.event_name!r} version {event.version}: no schema can be made of "
            f"{getattr(event.type, '__qualname__', event.type)}: {str(error).splitlines()[0]}",
            hint="Register a pydantic model, a dataclass, a TypedDict or a protobuf message.",
        ) from error


# -- protobuf ------------------------------------------------------------------------------------


def _of_message(descriptor: Any) -> dict[str, Any]:
    defs: dict[str, Any] = {}
    body = _message(descriptor, defs, {descriptor.full_name})
    return {"title": descriptor.name, **body, **({"$defs": defs} if defs else {})}


def _message(descriptor: Any, defs: dict[str, Any], seen: set[str]) -> dict[str, Any]:
    properties = {field.json_name: _field(field, defs, seen) for field in descriptor.fields}
    return {"type": "object", "properties": properties, "x-message": descriptor.full_name}


def _field(field: Any, defs: dict[str, Any], seen: set[str]) -> dict[str, Any]:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        value = _single(kind.fields_by_name["value"], defs, seen)
        return {"type": "object", "additionalProperties": value, "x-number": field.number}
    one = _single(field, defs, seen)
    if _is_repeated(field):
        return {"type": "array", "items": one, "x-number": field.number}
    return {**one, "x-number": field.number}


def _is_repeated(field: Any) -> bool:
    said = getattr(field, "is_repeated", None)
    return bool(said() if callable(said) else said) if said is not None else field.label == _REPEATED


def _single(field: Any, defs: dict[str, Any], seen: set[str]) -> dict[str, Any]:
    if field.type in _MESSAGES:
        name = field.message_type.full_name
        if name not in seen:
            seen.add(name)
            defs[name] = _message(field.message_type, defs, seen)
        root = name not in defs
        return {"$ref": "#" if root and name in seen else f"#/$defs/{name}"}
    if field.type == _ENUM:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    if field.type in _INT64:
        return {"type": "string", "pattern": "^-?[0-9]+$"}  # 64 bits are text in protobuf's JSON
    found: dict[str, Any] = {"type": _NUMBERS.get(field.type, "integer")}
    return found | ({"contentEncoding": "base64"} if field.type == _BYTES else {})


def with_examples(new: Mapping[str, Any], old: Mapping[str, Any] | None) -> dict[str, Any]:
    """The new schema with the examples of the old one, and its own behind them."""
    kept = list((old or {}).get("examples", ()))
    kept += [one for one in new.get("examples", ()) if one not in kept]
    out = {name: value for name, value in new.items() if name != "examples"}
    return out | ({"examples": kept} if kept else {})
