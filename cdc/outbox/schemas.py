"""A folder of event schemas as the write library sees it: one file a version, and payloads checked against them.

`<event name>.v<version>.json` is a JSON Schema 2020-12 (`cdc schemas export` writes it; the name is
percent-encoded where a file could not bear it). `SchemaFolder(folder).check(...)` is what
`Outbox(schemas=folder)` does before any SQL: an event without a file is refused, too, because
nobody would notice that it is not checked. What is no JSON (bytes with another content type,
a tombstone) has no schema and passes.

jsonschema is imported when a folder is opened: the bare install does not have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from cdc.errors import ConfigError, InvalidEvent

_FILE = re.compile(r"(.+)\.v([1-9][0-9]*)\.json")
_MOST_SAID = 5


def file_name(event_name: str, version: int) -> str:
    """The file of one version."""
    return f"{quote(event_name, safe='')}.v{version}.json"


def files(folder: Path) -> Iterator[tuple[str, int, Path]]:
    """Event name, version and path of each schema in a folder, in order. Raises ConfigError."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigError(
            f"{folder}: no folder of schemas: {error.strerror}", hint="Make it: cdc schemas export -e MODULE -d FOLDER"
        ) from error
    found = []
    for path in paths:
        if path.suffix == ".json":
            match = _FILE.fullmatch(path.name)
            if match is None:
                raise ConfigError(
                    f"{path}: no schema of an event has such a name",
                    hint="They are named EVENT.vVERSION.json, as in order.created.v1.json; keep other files elsewhere.",
                )
            found.append((unquote(match[1]), int(match[2]), path))
    yield from sorted(found, key=lambda one: one[:2])


def read_schema(path: Path) -> dict[str, Any]:
    """One schema, known to be a valid one. Raises ConfigError."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - not in the bare install
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415

    try:
        schema = json.loads(path.read_bytes())
        if not isinstance(schema, dict):
            raise ConfigError(f"{path}: a schema is a JSON object, and this is a {type(schema).__name__}")
        Draft202012Validator.check_schema(schema)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as JSON: {error}", hint="Take it from version control.") from error
    except SchemaError as error:
        raise ConfigError(
            f"{path}: no JSON Schema at {error.json_path}: {error.message:.200}",
            hint="Take it from version control, or write it anew: cdc schemas export",
        ) from error
    return schema


class SchemaFolder:
    """The validators of a folder's schemas, by event and version."""

    def __init__(self, folder: str | Path) -> None:
        try:
            from jsonschema import Draft202012Validator  # noqa: PLC0415 - not in the bare install
        except ImportError as error:
            raise ConfigError(
                "events cannot be checked against schemas: jsonschema is not installed",
                hint="pip install 'outbox-cdc[schemas]'",
            ) from error
        self.folder = Path(folder)
        self._by_name: dict[str, dict[int, Draft202012Validator]] = {}
        for name, version, path in files(self.folder):
            check = Draft202012Validator.FORMAT_CHECKER
            validator = Draft202012Validator(read_schema(path), format_checker=check)
            self._by_name.setdefault(name, {})[version] = validator

    def check(self, event_name: str, version: int | None, content_type: str, payload: bytes | None) -> None:
        """Refuse a JSON payload that is not what its schema says. Raises InvalidEvent.

        version: the registered one; None for the highest there is.
        """
        if payload is None or not _is_json(content_type):
            return
        versions = self._by_name.get(event_name, {})
        validator = versions.get(max(versions, default=0) if version is None else version)
        if validator is None:
            of = "" if version is None else f" version {version}"
            raise InvalidEvent(
                f"event {event_name!r}{of} has no schema in {self.folder}",
                hint="Write it: cdc schemas export -e MODULE -d FOLDER, or cdc schemas list to see what is there.",
            )
        try:
            value = json.loads(payload)
        except ValueError as error:
            raise InvalidEvent(
                f"event {event_name!r}: its payload is to be {content_type}, and it is no JSON: {error}",
                hint="Give a dict, a model or valid JSON, or say another content_type.",
            ) from error
        wrong = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
        if wrong:
            told = "; ".join(f"{error.json_path}: {error.message:.200}" for error in wrong[:_MOST_SAID])
            more = f"; and {len(wrong) - _MOST_SAID} more" if len(wrong) > _MOST_SAID else ""
            raise InvalidEvent(
                f"event {event_name!r}: its payload is not what its schema says: {told}{more}",
                hint=f"Correct the payload at that path, or the schema in {self.folder} (a new field: "
                "cdc schemas export; another meaning: a new version).",
            )


def _is_json(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")
