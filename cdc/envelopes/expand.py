"""`table.expand.json.payload`: JSON text to a Connect value, by the Event Router's rules.

They are those of a type system: members of an array have one type (an integer of 32 bits
and one of 64 are two), objects in an array have each other's fields as null, fields that
are null or an empty array are dropped (null stays with `optional_bytes`), numbers with a
point are doubles, what stands behind the document is ignored. What breaks a rule is
`NotExpandable`: the text is sent as it is.

An integer beyond 64 bits, with which the Event Router fails for good, refuses the row. Ours goes on where it fails
because of what a document is, such as an array. Fields of objects in arrays stand in the order in which they first
come, where the Event Router's order is chance.
"""

from __future__ import annotations

import json
from typing import Any

from cdc.envelopes.connect_types import Array, Struct, Type
from cdc.errors import ValueInvalid

_INT32, _INT64 = 1 << 31, 1 << 63
_NUMBERS = {"int32", "int64", "float64"}


class NotExpandable(ValueError):
    """The text stays a text."""


def _no_constant(name: str) -> Any:
    raise NotExpandable(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)


def expand(text: str, *, nulls: bool) -> tuple[Type, Any]:
    """The document as type and value. Raises NotExpandable."""
    if not text.startswith(("{", "[")):
        raise NotExpandable("it begins with neither { nor [")
    try:
        value, _ = _DECODER.raw_decode(text)
        found = _type(value, nulls=nulls)
    except (ValueError, RecursionError) as error:
        raise NotExpandable(str(error)) from error
    if found is None:
        raise NotExpandable("it is an empty array")
    return found, value


def _type(value: Any, *, nulls: bool) -> Type | None:
    """None where there is no type to be seen."""
    if value is None:
        return "bytes" if nulls else None
    if isinstance(value, list):
        return Array(_item(value, nulls=nulls)) if value else None
    if isinstance(value, dict):
        return _struct([value], nulls=nulls)
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return _integer(value)
    return "float64" if isinstance(value, float) else "string"


def _integer(value: int) -> Type:
    if not -_INT64 <= value < _INT64:
        raise ValueInvalid(
            "the payload has an integer beyond 64 bits, which no expanded payload can hold",
            hint="Write such numbers as text, or remove table.expand.json.payload from the table's `router`.",
        )
    return "int32" if -_INT32 <= value < _INT32 else "int64"


def _struct(objects: list[dict[str, Any]], *, nulls: bool) -> Struct:
    """The fields of all objects together."""
    fields: dict[str, list[Any]] = {}
    for one in objects:
        for name, value in one.items():
            if not name:
                raise NotExpandable("a field without a name")
            fields.setdefault(name, []).append(value)
    types: dict[str, Type] = {}
    for name, values in fields.items():
        found = _merged(values, nulls=nulls)
        if found is not None:
            types[name] = found
    return Struct(tuple(types.items()))


def _merged(values: list[Any], *, nulls: bool) -> Type | None:
    """The type of a field in several objects of an array; numbers of several types are each what they are."""
    types = [_type(value, nulls=nulls) for value in values]
    real = [found for found in types if found not in (None, "bytes")]
    if not real:
        return next((found for found in types if found is not None), None)
    if all(isinstance(found, Struct) for found in real):
        return _struct([value for value in values if isinstance(value, dict)], nulls=nulls)
    if all(isinstance(found, Array) for found in real):
        return Array(_item([item for value in values if value for item in value], nulls=nulls))
    if len(set(real)) > 1 and not set(real) <= _NUMBERS:
        raise NotExpandable("a field of several types in the objects of an array")
    return real[0]


def _item(items: list[Any], *, nulls: bool) -> Type:
    """The one type of an array's members."""
    members = [item for item in items if item is not None]
    if not members:
        found = _type(None, nulls=nulls)
    elif all(isinstance(item, dict) for item in members):
        return _struct(members, nulls=nulls)
    elif all(isinstance(item, list) for item in members):
        found = _lists(members, nulls=nulls)
    else:
        types = {_type(item, nulls=nulls) for item in members if not isinstance(item, dict | list)}
        if len(types) != 1 or any(isinstance(item, dict | list) for item in members):
            raise NotExpandable("an array of members of several types")
        found = types.pop()
    if found is None:
        raise NotExpandable("an array whose members have no type")
    return found


def _lists(members: list[list[Any]], *, nulls: bool) -> Type | None:
    return Array(_item([item for member in members for item in member], nulls=nulls)) if members[0] else None
