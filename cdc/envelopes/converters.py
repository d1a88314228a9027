"""Kafka Connect's converters: a Connect value to the bytes of a key, a value or a header.

`converter(name, options)` takes the class as users write it, whole or its last part, and
the options under its prefix. Each converter's `bind(type)` gives a function for one
column, so that nothing about types is decided per row. JsonConverter always writes NULL
as `null`; the others write none.

StringConverter sends bytes as they are, where Java sends the name of a class.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cdc.envelopes.connect_types import Type
from cdc.envelopes.java_text import header_text, json_text, plain_text
from cdc.errors import ValueInvalid

Convert = Callable[[Any], bytes | None]
_KAFKA = "org.apache.kafka.connect."
_NUMBERS = {"Short": ">h", "Integer": ">i", "Long": ">q", "Float": ">f", "Double": ">d"}


@dataclass(frozen=True, slots=True)
class Converter:
    """What `bind` makes of a type is a function from a Connect value, or None, to bytes or None."""

    name: str
    bind: Callable[[Type], Convert]


def _not_null(convert: Callable[[Any], bytes]) -> Convert:
    return lambda value: None if value is None else convert(value)


def _text(text: Callable[[Type, Any], str]) -> Callable[[Type], Convert]:
    return lambda type_: _not_null(str.encode if type_ == "string" else lambda value: text(type_, value).encode())


def _string(type_: Type) -> Convert:
    return _not_null(bytes) if type_ == "bytes" else _text(plain_text)(type_)


def _json(type_: Type) -> Convert:
    return lambda value: json_text(type_, value).encode()


def _refuse(what: str, type_: Type) -> Convert:
    def convert(value: Any) -> bytes | None:
        if value is None:
            return None
        found = type_ if isinstance(type_, str) else "a structure"
        raise ValueInvalid(f"{what} takes no {found}", hint="Choose another converter under the table's `router`.")

    return convert


def _bytes(type_: Type) -> Convert:
    return _not_null(bytes) if type_ == "bytes" else _refuse("ByteArrayConverter", type_)


def _number(name: str) -> Callable[[Type], Convert]:
    code = struct.Struct(_NUMBERS[name])

    def convert(value: Any) -> bytes:
        try:
            return code.pack(value)
        except struct.error as error:
            raise ValueInvalid(
                f"{name}Converter takes no {value!r:.40}", hint="Choose another converter under the table's `router`."
            ) from error

    def bind(type_: Type) -> Convert:
        fits = type_ in ("int16", "int32", "int64") if name in ("Short", "Integer", "Long") else type_ == "float64"
        return _not_null(convert) if fits or type_ == "float32" else _refuse(f"{name}Converter", type_)

    return bind


def _with_delegate(name: str, delegate: Converter | None) -> Converter:
    """Debezium's ByteArrayConverter knows no bytes as its connectors hold them: all goes to the delegate."""

    def bind(type_: Type) -> Convert:
        if delegate is not None and name == "ByteArrayConverter":
            return delegate.bind(type_)
        if type_ == "bytes":
            return _not_null(bytes)
        if delegate is not None:
            return delegate.bind(type_)
        return _refuse(f"{name} without delegate.converter.type", type_)

    return Converter(name, bind)


AS_IT_IS = Converter("as it is", _string)
"""Text as UTF-8 and bytes as they are: what a table without a word about converters has."""
SIMPLE_HEADER = Converter("SimpleHeaderConverter", _text(header_text))

_PLAIN: Mapping[str, Converter] = {
    f"{_KAFKA}storage.StringConverter": Converter("StringConverter", _string),
    f"{_KAFKA}storage.SimpleHeaderConverter": SIMPLE_HEADER,
    f"{_KAFKA}json.JsonConverter": Converter("JsonConverter", _json),
    f"{_KAFKA}converters.ByteArrayConverter": Converter("ByteArrayConverter", _bytes),
    **{f"{_KAFKA}converters.{name}Converter": Converter(f"{name}Converter", _number(name)) for name in _NUMBERS},
}
_DELEGATING = ("io.debezium.converters.BinaryDataConverter", "io.debezium.converters.ByteArrayConverter")
NAMES = (*_PLAIN, *_DELEGATING)
_SCHEMAS = "schemas.enable"
_DELEGATE = "delegate.converter.type"


class BadOption(ValueError):
    """An option of a converter that cannot be; `option` is its name behind the prefix, empty for the class itself."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


def converter(name: str, options: Mapping[str, str]) -> Converter:
    """The converter of that class. Raises BadOption."""
    full = next((known for known in NAMES if name in (known, known.rpartition(".")[2])), None)
    if full is None:
        known = ", ".join(sorted({one.rpartition(".")[2] for one in NAMES}))
        raise BadOption("", f"is no converter we have; known are {known}")
    rest = dict(options)
    if full in _DELEGATING:
        return _delegating(full, rest)
    if full.endswith(".JsonConverter"):
        _without_schemas(rest)
    for option in rest:
        raise BadOption(option, f"is no option of {full.rpartition('.')[2]} we have")
    return _PLAIN[full]


def _without_schemas(options: dict[str, str]) -> None:
    enabled = options.pop(_SCHEMAS, "true")
    if enabled != "false":
        raise BadOption(
            _SCHEMAS if enabled != "true" else "",
            f"writes schemas unless told not to, and we have none: add {_SCHEMAS}: false",
        )


def _delegating(full: str, options: dict[str, str]) -> Converter:
    name = full.rpartition(".")[2]
    delegate = options.pop(_DELEGATE, None)
    below = {
        option.removeprefix(f"{_DELEGATE}."): options.pop(option) for option in list(options) if _DELEGATE in option
    }
    for option in options:
        raise BadOption(option, f"is no option of {name} we have")
    if delegate is None:
        if name == "ByteArrayConverter":
            raise BadOption("", f"takes no column without {_DELEGATE}; BinaryDataConverter passes bytes as they are")
        return _with_delegate(name, None)
    try:
        return _with_delegate(name, converter(delegate, below))
    except BadOption as error:
        option = f"{_DELEGATE}.{error.option}" if error.option else _DELEGATE
        raise BadOption(option, str(error)) from error
