"""Our own contracts as JSON Schemas: what others may read from us, and write for us.

The configuration's schema is made by `cdc config schema`; these are declared here, because the rooms that
write these records (`cdc.kafka`, `cdc.connect`) and this one do not know each other. A test holds
them to the encoders: a field that is written and not named here fails it. `schemas/NAME.schema.json`
are their files: `cdc schemas export --contracts schemas`.

Fields that are not named are allowed where a reader of ours keeps or passes over them.
"""

from __future__ import annotations

from typing import Any

from cdc.outbox import row as limits
from cdc.schema.events import DIALECT

_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_COUNT = {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"}
_SOURCE = {"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,40}$"}
_INSTANCE = {"type": "string", "pattern": "^.+#[0-9a-f]+$", "description": "<name>#<random>: one run of a tailer"}
_VERSION = {"const": 1}
_BASE64 = {"type": "string", "contentEncoding": "base64"}


def contracts() -> dict[str, dict[str, Any]]:
    """Name to schema, all of them."""
    made = {
        "row": _row(),
        "checkpoint": _checkpoint(),
        "genesis": _genesis(),
        "alive": _alive(),
        "dead-letter": _dead_letter(),
        "dead-letter-mark": _mark(),
        "connector": _connector(),
    }
    return {name: {"$schema": DIALECT, "$id": f"urn:cdc:contract:{name}:1", **schema} for name, schema in made.items()}


def _object(title: str, about: str, properties: dict[str, Any], required: list[str], **more: Any) -> dict[str, Any]:
    return {
        "title": title,
        "description": about,
        "type": "object",
        "properties": properties,
        "required": required,
    } | more


def _row() -> dict[str, Any]:
    names = "|".join(sorted(limits.RESERVED_HEADERS))
    return _object(
        "A row of the outbox table, layout native",
        "One INSERT is one event. Columns as text: bytes of payload and key that are no UTF-8 cannot be shown here, "
        "and are as good. Other columns, with defaults of their own, do no harm.",
        {
            "event_id": {**_TEXT, "format": "uuid", "description": "BINARY(16); left out, the server makes a UUIDv7"},
            "event_name": {**_TEXT, "minLength": 1, "maxLength": limits.MAX_EVENT_NAME},
            "topic": {
                **_TEXT,
                "pattern": r"^[a-zA-Z0-9._-]+$",
                "maxLength": limits.MAX_TOPIC,
                "not": {"enum": [".", ".."]},
            },
            "event_key": {**_TEXT_OR_NULL, "maxLength": limits.MAX_KEY, "description": "counted in bytes"},
            "payload": {**_TEXT_OR_NULL, "description": "the record's value, byte for byte; null: a tombstone"},
            "content_type": {**_TEXT, "maxLength": limits.MAX_CONTENT_TYPE, "default": "application/json"},
            "headers": {
                "type": ["object", "null"],
                "additionalProperties": _TEXT,
                "propertyNames": {"not": {"pattern": f"^({names})$"}},
                "description": "names of the envelopes' own headers are dropped from records",
            },
            "created_at": {**_TEXT, "description": "DATETIME(6), UTC; left out, the server's clock"},
        },
        ["event_name", "topic"],
    )


def _checkpoint() -> dict[str, Any]:
    last = _object(
        "The last transaction of ours",
        "tells our history from a reset or restored one; `position` is its end",
        {"gtid": _TEXT_OR_NULL, "position": _COUNT, "commit_time": _COUNT, "length": _COUNT},
        ["gtid", "position", "commit_time", "length"],
    )
    prepared = _object(
        "An open XA transaction",
        "its rows are behind us in the log, its end is not",
        {"xid": _TEXT, "file": _TEXT, "position": _COUNT, "gtid": _TEXT},
        ["xid", "file", "position"],
    )
    return _object(
        "A checkpoint",
        "Value of the record with the source's name as key, in `<prefix>.checkpoint.<source>`. Unknown fields are "
        "kept, a higher version is refused; times are for people.",
        {
            "version": _VERSION,
            "source": _SOURCE,
            "cluster_id": _TEXT,
            "flavour": {"enum": ["mysql", "mariadb"]},
            "server_uuid": {**_TEXT, "description": "of MySQL"},
            "server_id": {**_TEXT, "description": "of MariaDB"},
            "file": _TEXT,
            "file_created": {**_COUNT, "description": "time in the head of that file, seconds since 1970"},
            "position": _COUNT,
            "gtid_set": _TEXT_OR_NULL,
            "last": {"anyOf": [last, {"type": "null"}]},
            "prepared": {"type": "array", "items": prepared},
            "out_of_order": {"type": "array", "items": _COUNT, "description": "MariaDB's domains that are"},
            "log_time": {"type": ["integer", "number", "null"]},
            "tables": {"type": "array", "items": {"type": "string", "pattern": r"^[^.]+\."}},
            "snapshot": {"type": ["object", "null"], "description": "how far a snapshot is; null: there is none to do"},
            "instance": {**_TEXT, "description": "<name>#<random> of the tailer that wrote it, or of a command"},
            "released": {"type": "boolean", "description": "a clean stop: whoever comes next need not wait"},
            "committed_at": _TIME,
        },
        ["version", "source", "cluster_id", "flavour", "file", "position", "gtid_set", "instance", "released"],
        oneOf=[
            {"properties": {"flavour": {"const": "mysql"}}, "required": ["server_uuid"]},
            {"properties": {"flavour": {"const": "mariadb"}}, "required": ["server_id"]},
        ],
    )


def _genesis() -> dict[str, Any]:
    return _object(
        "Genesis",
        "Value of the record `<source>/genesis`, once: this source has begun.",
        {"version": _VERSION, "source": _SOURCE, "cluster_id": _TEXT, "start": _TEXT, "created_at": _TIME},
        ["version", "source", "cluster_id", "start", "created_at"],
    )


def _alive() -> dict[str, Any]:
    epoch = {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "integer"}], "items": False, "minItems": 2}
    return _object(
        "A sign of life",
        "Value of the record `<source>/alive`, every few seconds, not transactional.",
        {
            "instance": _INSTANCE,
            "n": _COUNT,
            "epoch": {**epoch, "description": "producer id and epoch of its Kafka producer"},
            "founded": {"type": "boolean", "description": "it has seen or written a checkpoint"},
            "ordered": {"const": True, "description": "it came by --take-over"},
        },
        ["instance", "n"],
    )


def _dead_letter() -> dict[str, Any]:
    cell = {"anyOf": [{"type": ["string", "number", "null", "boolean"]}, {"type": "object"}]}
    column = _object("A column", "", {"name": _TEXT, "kind": _TEXT, "type": _TEXT, "value": cell}, ["name", "value"])
    row = _object("The row", "", {"schema": _TEXT, "table": _TEXT, "columns": {"type": "array", "items": column}}, [])
    header = {"anyOf": [_TEXT, {"type": "null"}, _object("Bytes", "", {"b64": _BASE64}, ["b64"])]}
    headers = {
        "type": "array",
        "items": {"type": "array", "prefixItems": [_TEXT, header], "minItems": 2, "maxItems": 2},
    }
    number = {"type": "string", "pattern": "^[1-9][0-9]*$"}
    return _object(
        "A dead letter",
        "The headers of a record of `<prefix>.dead-letters`, as an object of texts; its value is the payload. A letter "
        "in `parts` has the fields from `error` on, and the value, cut into pieces, in order, under one key.",
        {
            "version": {"const": "1"},
            "reason": {**_TEXT, "pattern": "^[a-z_]+$"},
            "source": _SOURCE,
            "table": _TEXT,
            "position": {**_TEXT, "description": "file:position of its transaction"},
            "part": number,
            "parts": number,
            "error": _TEXT_OR_NULL,
            "event_name": _TEXT_OR_NULL,
            "original_topic": _TEXT_OR_NULL,
            "original_key": _TEXT_OR_NULL,
            "original_headers": {**_TEXT_OR_NULL, "contentMediaType": "application/json", "contentSchema": headers},
            "row": {**_TEXT_OR_NULL, "contentMediaType": "application/json", "contentSchema": row},
        },
        ["version", "reason", "source", "table", "position", "part", "parts"],
        additionalProperties=False,
    )


def _mark() -> dict[str, Any]:
    return _object(
        "What became of a dead letter",
        "The headers of a record with the letter's key, behind it; its value is JSON for people.",
        {"version": {"const": "1"}, "mark": {"enum": ["replayed", "dismissed"]}},
        ["version", "mark"],
        additionalProperties=False,
    )


def _connector() -> dict[str, Any]:
    value = {"type": ["string", "number", "boolean"]}
    return _object(
        "A connector's manifest",
        "A file in connectors/: the keys of Kafka Connect's REST bodies, and ours.",
        {
            "name": {**_TEXT, "minLength": 1},
            "config": {"type": "object", "additionalProperties": value, "required": ["connector.class"]},
            "state": {"enum": ["running", "paused", "stopped"], "description": "what it shall be"},
            "initial_state": {**_TEXT, "description": "RUNNING, PAUSED or STOPPED, at its creation; `state` is better"},
            "unchecked": {"type": "array", "items": _TEXT, "description": "options that are no mistyped ones"},
            "tasks": {"type": "array", "description": "of an answer of Connect; passed over"},
            "type": {**_TEXT, "description": "of an answer of Connect; passed over"},
        },
        ["name", "config"],
        additionalProperties=False,
    )
