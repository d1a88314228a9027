"""Payload to bytes, and when there is no way: where in the payload the trouble is.

bytes as they are, text as UTF-8, None stays None (a tombstone); dict, list, tuple and
dataclass become compact JSON, pydantic models and protobuf messages write themselves
(recognised by their methods: neither is imported here).

JSON is made by orjson where it is installed, else by the standard library. The same payload
always gives the same bytes, whatever is installed: the value in Kafka must not depend on that.
orjson writes some numbers in other words (1e16 for 1e+16), and null for NaN, so where its
text could hold one of these the standard library makes it again (`_DOUBTFUL`; a test compares
both for whatever hypothesis finds).

Inside JSON also: datetime, date, time (ISO 8601), UUID, Decimal (as text, so that no
digit is lost), Enum (its value). Refused on purpose: sets (no order), bytes (no text),
NaN and Infinity (no JSON).

The path is searched only after the encoder has failed; the normal way stays one call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import cache
from uuid import UUID

from cdc.errors import PayloadNotSerializable

_HINT = (
    "Payloads are bytes, str, dict, list, a dataclass, a pydantic model, a protobuf message or None (a tombstone); "
    "inside JSON also datetime, UUID, Decimal and Enum. Convert the value first, or pass bytes with their content_type."
)
PROTOBUF = "application/x-protobuf"
# An exponent, a number below 0.0001, or a null that may have been NaN.
_DOUBTFUL = re.compile(rb"null|[0-9][eE]|0\.000").search
# The encoder gives up at the interpreter's recursion limit, 1000 frames unless changed.
_DEEPEST = 500


def payload_bytes(payload: object) -> bytes | None:
    """The payload as it will stand in the table and in Kafka."""
    if payload is None or isinstance(payload, bytes):
        return payload
    if isinstance(payload, (bytearray, memoryview)):
        return bytes(payload)
    if isinstance(payload, str):
        return _utf8(payload)
    if _is_pydantic(payload):
        return _pydantic_json(payload)
    if is_protobuf(payload):
        return _protobuf(payload)
    if isinstance(payload, (Mapping, list, tuple)) or _is_dataclass_value(payload):
        return _json(payload)
    raise PayloadNotSerializable(f"payload is {_kind(payload)}: there is no way to bytes at $", hint=_HINT)


def _json(payload: object) -> bytes:
    if (quick := _orjson()) is not None and (done := quick(payload)) is not None and not _DOUBTFUL(done):
        return done
    try:
        text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
        return text.encode()
    except (TypeError, ValueError, RecursionError, AttributeError) as error:
        path, what = _culprit(payload) or ("$", str(error))
        raise PayloadNotSerializable(f"payload cannot become JSON at {path}: {what}", hint=_HINT) from error


@cache
def _orjson() -> Callable[[object], bytes | None] | None:
    """Dumps by orjson, with the standard library's ideas of what is JSON; None where the latter shall decide."""
    try:
        import orjson  # noqa: PLC0415  # not in the bare install
    except ImportError:
        return None
    options = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS

    def dumps(payload: object) -> bytes | None:
        try:
            return orjson.dumps(payload, _plain, options)
        except (TypeError, ValueError, RecursionError, AttributeError):
            return None

    return dumps


def _protobuf(message: object) -> bytes:
    try:
        done: bytes = message.SerializeToString(deterministic=True)  # type: ignore[attr-defined]
    except Exception as error:  # its own EncodeError, which nobody can name without importing it
        raise PayloadNotSerializable(f"{_kind(message)} cannot become bytes at $: {error}", hint=_HINT) from error
    return done


def is_protobuf(value: object) -> bool:
    """Whether it is a protobuf message."""
    return hasattr(value, "SerializeToString") and hasattr(value, "DESCRIPTOR") and not isinstance(value, type)


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise PayloadNotSerializable(f"payload cannot become UTF-8 at $: {error.reason}", hint=_HINT) from error


def _pydantic_json(model: object) -> bytes:
    try:
        text: str = model.model_dump_json()  # type: ignore[attr-defined]
        return text.encode()
    except (TypeError, ValueError) as error:  # pydantic's own serialisation error is a ValueError
        path, what = _culprit(model) or ("$", str(error))
        raise PayloadNotSerializable(f"{_kind(model)} cannot become JSON at {path}: {what}", hint=_HINT) from error


def _plain(value: object) -> object:
    """What the encoder asks for values that JSON does not know."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, UUID) or (isinstance(value, Decimal) and value.is_finite()):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if _is_pydantic(value):
        return value.model_dump(mode="json")  # type: ignore[attr-defined]
    if isinstance(value, Mapping):
        return dict(value)
    if _is_dataclass_value(value):
        return {one.name: getattr(value, one.name) for one in fields(value)}  # type: ignore[arg-type]
    raise TypeError(f"{_kind(value)} is not JSON")


def _culprit(payload: object) -> tuple[str, str] | None:
    """The first place that JSON cannot hold: its path and what is wrong there."""
    stack: list[tuple[str, object, tuple[int, ...]]] = [("$", payload, ())]
    while stack:
        path, value, above = stack.pop()
        if id(value) in above:
            return path, "the value contains itself"
        if len(above) > _DEEPEST:
            return f"{path[:40]}...", f"it is nested more than {_DEEPEST} deep"
        if (wrong := _wrong(value)) is not None:
            return path, wrong
        inside = (*above, id(value))
        parts = [(f"{path}{step}", part, inside) for step, part in _parts(value)]
        stack.extend(reversed(parts))
    return None


def _wrong(value: object) -> str | None:
    if isinstance(value, str):
        return _not_unicode(value)
    if isinstance(value, Mapping):
        return next((wrong for name in value if (wrong := _wrong_name(name))), None)
    if isinstance(value, float):
        return None if value - value == 0 else f"{value} has no JSON form"
    try:
        if value is not None and not isinstance(value, (int, list, tuple)):
            _plain(value)
    except (TypeError, ValueError, AttributeError) as error:
        return str(error)
    return None


def _not_unicode(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return f"text that is not Unicode ({error.reason})"
    return None


def _wrong_name(name: object) -> str | None:
    if name is None or isinstance(name, (str, int, float)):
        wrong = _wrong(name)
        return f"the name {name!r}: {wrong}" if wrong else None
    return f"the name {name!r} is {_kind(name)}; JSON's names are text"


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, (list, tuple)):
        yield from ((f"[{n}]", part) for n, part in enumerate(value))
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield (f".{name}" if str(name).isidentifier() else f"[{name!r}]"), part
    elif isinstance(value, Enum):
        yield "", value.value
    elif _is_dataclass_value(value):
        yield from ((f".{one.name}", getattr(value, one.name)) for one in fields(value))  # type: ignore[arg-type]


def _is_pydantic(value: object) -> bool:
    return hasattr(value, "model_dump_json") and not isinstance(value, type)


def _is_dataclass_value(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
