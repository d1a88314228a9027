"""Columns of an outbox table: what they are called, which role they play, and what fits into them.

A column is said as in SQL, `name` or `name TYPE [NOT NULL]`, so that one text serves the
INSERT, the DDL, `cdc outbox check` and Alembic's table. The type decides how a value is
sent: binary columns get bytes, text columns text, because a JSON column refuses bytes and
a cursor with another charset than utf8mb4 would alter bytes sent as text.

Roles are those of the tailer's `columns` (DESIGN 4.1), and `trace`, which only a writer
knows: Debezium's `tracingspancontext`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from cdc.errors import ConfigError

ROLES = ("id", "name", "topic", "key", "payload", "headers", "content_type", "timestamp", "trace")
REQUIRED = ("id", "name", "payload")

_TEXT_BYTES = {"TINYTEXT": 255, "TEXT": 65_535, "MEDIUMTEXT": 2**24 - 1, "LONGTEXT": 2**32 - 1, "JSON": 2**32 - 1}
_BLOB_BYTES = {"TINYBLOB": 255, "BLOB": 65_535, "MEDIUMBLOB": 2**24 - 1, "LONGBLOB": 2**32 - 1}
_SIZED_TEXT = frozenset({"CHAR", "VARCHAR"})
_SIZED_BYTES = frozenset({"BINARY", "VARBINARY"})
_TEXT = _SIZED_TEXT | {*_TEXT_BYTES} - {"JSON"}
_BYTES = _SIZED_BYTES | {*_BLOB_BYTES}

_KINDS: dict[str, frozenset[str]] = {
    "id": frozenset({"BINARY", "VARBINARY", "CHAR", "VARCHAR", "UUID"}),
    "name": _TEXT,
    "topic": _TEXT,
    "key": _TEXT | _SIZED_BYTES | {"BLOB", "TINYBLOB"},
    "payload": _TEXT | _BYTES | {"JSON"},
    "headers": _TEXT | {"JSON"},
    "content_type": _TEXT,
    "timestamp": frozenset({"DATETIME"}),
    "trace": _TEXT,
}
_ID_LENGTH = {"BINARY": 16, "VARBINARY": 16, "CHAR": 36, "VARCHAR": 36}

_SPEC = re.compile(r"(?P<name>[^\s`]+)(?:\s+(?P<type>[A-Za-z]+)\s*(?:\(\s*(?P<length>\d+)\s*\))?(?P<rest>.*))?")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `type` as in SQL, `role` what `add` writes there (None: the server's business).

    `default` is SQL text; `constant` a value that every row gets.
    """

    name: str
    type: str
    role: str | None = None
    null: bool = False
    default: str | None = None
    constant: str | int | None = None
    auto_increment: bool = False

    @property
    def kind(self) -> str:
        """The type's name alone."""
        return self.type.partition("(")[0]

    @property
    def length(self) -> int | None:
        """The number behind the type's name."""
        digits = self.type.partition("(")[2].rstrip(")")
        return int(digits) if digits.isdigit() else None

    @property
    def is_binary(self) -> bool:
        """Whether its values are sent as bytes."""
        return self.kind in _BYTES

    @property
    def is_written(self) -> bool:
        """Whether an INSERT of ours names it."""
        return self.role is not None or self.constant is not None

    @property
    def most_bytes(self) -> int | None:
        """How many bytes fit, where bytes are what counts."""
        if self.kind in _SIZED_BYTES:
            return self.length
        return _TEXT_BYTES.get(self.kind) or _BLOB_BYTES.get(self.kind)

    @property
    def most_characters(self) -> int | None:
        """How many characters fit, where characters are what counts."""
        return self.length if self.kind in _SIZED_TEXT else None

    @property
    def definition(self) -> str:
        """As in CREATE TABLE, behind the name."""
        parts = [self.type, "NULL" if self.null else "NOT NULL"]
        parts += [f"DEFAULT {self.default}"] if self.default is not None else []
        parts += ["AUTO_INCREMENT"] if self.auto_increment else []
        return " ".join(parts)


def parse(role: str, text: str, standard: Column) -> Column:
    """The column a user means by `name` or `name TYPE [NOT NULL]`; what is not said is the standard's."""
    found = _SPEC.fullmatch(str(text).strip())
    if found is None:
        raise _wrong(role, text, "is no column")
    if found["type"] is None:
        return Column(found["name"], standard.type, role, standard.null, standard.default)
    kind = found["type"].upper()
    rest = " ".join(found["rest"].upper().split())
    if kind not in _KINDS[role] or rest not in {"", "NULL", "NOT NULL"}:
        raise _wrong(role, text, f"has a type that {role} cannot have ({', '.join(sorted(_KINDS[role]))})")
    if (kind in _SIZED_BYTES | _SIZED_TEXT) != (found["length"] is not None) and kind != "DATETIME":
        raise _wrong(role, text, "lacks its length" if found["length"] is None else "has a length where none belongs")
    if role == "id" and int(found["length"] or 36) < _ID_LENGTH.get(kind, 0):
        raise _wrong(role, text, f"is too short for an id ({_ID_LENGTH[kind]} are needed)")
    type_ = f"{kind}({found['length']})" if found["length"] else kind
    return Column(found["name"], type_, role, null=rest == "NULL" or (not rest and standard.null))


def _wrong(role: str, text: object, what: str) -> ConfigError:
    return ConfigError(
        f"columns: {role}: {text!r} {what}",
        hint="Write `name` or `name TYPE`, such as {'id': 'uid CHAR(36)', 'payload': 'body LONGTEXT NOT NULL'}.",
    )
