"""A source transaction as one JSON line (a contract), or as one line for people.

    {"gtid":..., "file":..., "position":END, "commit_time":...,
     "rows":[{"table":"shop.outbox","columns":{name: value}}]}

`position` is the byte behind the transaction, `commit_time` seconds since 1970. Values by the
column's type, never by what is in them:

    CHAR, TEXT, ENUM, SET, MariaDB JSON    text
    BINARY, BLOB, VECTOR, spatial          {"b64": ...}, also where it happens to be text
    DATE, TIME, DATETIME, TIMESTAMP        ISO 8601 text with the column's digits of fraction; TIMESTAMP in UTC
    DECIMAL, integers beyond 2^53          text: JSON numbers would lose digits in many readers
    JSON (MySQL)                           JSON, digit for digit as the server's text has it

MariaDB's JSON is LONGTEXT to its log, and UUID and INET columns are BINARY.
"""

from __future__ import annotations

import base64
from typing import Any

import orjson

from cdc.errors import DecodeError
from cdc.model import Column, Row, SourceTransaction, Value

_EXACT = 1 << 53
_SHOWN = 60


def json_line(transaction: SourceTransaction) -> bytes:
    """One line of JSON, with its line feed."""
    try:
        return orjson.dumps(
            {
                "gtid": transaction.gtid,
                "file": transaction.file,
                "position": transaction.position,
                "commit_time": transaction.commit_time,
                "rows": [_row(row) for row in transaction.rows],
            },
            option=orjson.OPT_APPEND_NEWLINE,
        )
    except orjson.JSONEncodeError as error:
        raise DecodeError(
            f"the rows that end at {transaction.file}:{transaction.position} cannot be written as JSON: {error}",
            hint="a text column holds code points that are no characters; look with the server's own mysqlbinlog",
        ) from error


def text_line(transaction: SourceTransaction) -> str:
    """One line for people: place, GTID, and each row's columns cut short."""
    rows = "; ".join(f"{row.table} {_short(row)}" for row in transaction.rows)
    return f"{transaction.file}:{transaction.position} {transaction.gtid or '-'} {rows}"


def _row(row: Row) -> dict[str, Any]:
    pairs = zip(row.table.columns, row.values, strict=True)
    return {"table": str(row.table), "columns": {column.name: _value(column, value) for column, value in pairs}}


def _value(column: Column, value: Value) -> Any:
    if isinstance(value, bytes):
        return {"b64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        if column.kind == "json":
            return orjson.Fragment(value)
        return value.replace(" ", "T") if column.kind == "temporal" else value
    if isinstance(value, int) and not -_EXACT <= value <= _EXACT:
        return str(value)
    return value


def _short(row: Row) -> str:
    return " ".join(
        f"{column.name}={_readable(value)}" for column, value in zip(row.table.columns, row.values, strict=True)
    )


def _readable(value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = ""
        if not text.isprintable() or (value and not text):
            shown = "0x" + value[: _SHOWN // 2].hex()
            return shown if len(value) <= _SHOWN // 2 else f"{shown}... ({len(value)} bytes)"
        value = text
    if isinstance(value, str):
        shown = value if value.isprintable() else repr(value)[1:-1]
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}... ({len(value)} characters)"
        return f"'{shown}'" if not shown or " " in shown else shown
    return str(value)
