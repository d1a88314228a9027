"""Key rules: where a row that has no key gets one from, a column or a JSON path into its payload.

`$.a.b[0]` and `$["a name"]` walk a JSON document; anything that does not begin with `$`
is a column. Text becomes UTF-8, an integer its decimal digits, bytes of a column stay as
they are; everything else (missing, null, true, 1.5, a list, a payload that is not JSON)
is KeyMissing. The payload is parsed only for a JSON path, and only where the row has no key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from cdc.errors import KeyMissing
from cdc.model import Value

_STEP = re.compile(r"""\.([^.\[\]\s"']+)|\[(\d{1,9})\]|\[("(?:[^"\\]|\\.)*")\]|\['([^']*)'\]""")
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_HINT = "Correct the route's key, or allow records without one with `key_missing: null`."

KeyOf = Callable[[tuple[Value, ...]], bytes | None]


@dataclass(frozen=True, slots=True)
class KeyRule:
    """A column name, or the steps of a JSON path (then `column` is empty)."""

    text: str
    column: str = ""
    steps: tuple[str | int, ...] = ()

    def bind(self, index: Mapping[str, int], column: Callable[[str], str | None], payload: int) -> KeyOf:
        """A function from a row's values to the key; it raises KeyMissing."""
        if not self.column:
            return lambda values: self._from_json(values[payload])
        at = index.get(column(self.column) or "")
        if at is None:
            raise KeyMissing(
                f"the key rule names column {self.column!r}, and the table has no such column",
                hint=f"Columns of the row: {', '.join(index)}.",
            )
        return lambda values: self._key(values[at], f"column {self.column!r}")

    def _from_json(self, payload: Value) -> bytes:
        if not isinstance(payload, str | bytes):
            raise KeyMissing(f"the key rule {self.text!r} looks into the payload, which is NULL", hint=_HINT)
        try:
            found = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            why = "it looks zlib-compressed" if isinstance(payload, bytes) and payload[:2] in _ZLIB else str(error)
            raise KeyMissing(
                f"the key rule {self.text!r} looks into the payload, which is not JSON ({why})",
                hint="A JSON path needs a JSON payload: take the key from a column, or allow `key_missing: null`.",
            ) from error
        for step in self.steps:
            if not _has(found, step):
                raise KeyMissing(f"the key rule {self.text!r} finds nothing in the payload", hint=_HINT)
            found = found[step]
        return self._key(found, f"{self.text!r} in the payload")

    def _key(self, found: object, where: str) -> bytes:
        if isinstance(found, str):
            return found.encode()
        if isinstance(found, bytes):
            return found
        if isinstance(found, int) and not isinstance(found, bool):
            return b"%d" % found
        kind = {type(None): "null", bool: "true or false", float: "a number that is no integer", dict: "an object"}
        what = kind.get(type(found), "a list")
        raise KeyMissing(f"the key rule needs text or an integer, and {where} is {what}", hint=_HINT)


def _has(found: object, step: str | int) -> bool:
    if isinstance(step, int):
        return isinstance(found, list) and step < len(found)
    return isinstance(found, dict) and step in found


def parse(text: str) -> KeyRule:
    """Read a key rule. Raises ValueError that says what is wrong with it."""
    if not text.startswith("$"):
        if not text or text != text.strip() or any(char in text for char in "{}[]"):
            raise ValueError('write a column name, or a JSON path such as "$.customer_id" or "$.items[0].sku"')
        return KeyRule(text, column=text)
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f'JSON path not understood from {text[at:]!r} on: write it like "$.a.b[0]"')
        name, number, quoted, single = step.groups()
        steps.append(int(number) if number is not None else orjson.loads(quoted) if quoted else name or single or "")
        at = step.end()
    if not steps:
        raise ValueError('"$" alone is the whole payload: name a part of it, such as "$.customer_id"')
    return KeyRule(text, steps=tuple(steps))
